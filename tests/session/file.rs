//! Session files: what is printed comes back, and bytes of any kind give a session or one sentence.

use std::fs;

use layerstep::diagnose::suspects::all;
use layerstep::diagnose::suspects::search::Accused;
use layerstep::diagnose::{Culprit, Divergence, Report, Verdict};
use layerstep::session::header::{Engine, ModelFacts, Screen, Source, Tokens, Values};
use layerstep::session::{Answer, Header, Line, Text, save};
use proptest::prelude::*;

mod journal;
mod pack;

/// A session with everything in it.
fn example() -> Text {
    let divergence = |name: &str| Divergence {
        name: name.into(),
        culprit: Culprit::Candidate,
        suspects: vec![Accused::of_id("rope_interleaved")],
        layers: (0..30).collect(),
        summary: "it is wrong: \"here\"".into(),
        exact: true,
        ..Divergence::default()
    };
    let header = Header {
        format: "1.0".into(),
        program: "layerstep 0.1.0".into(),
        arithmetic: "0123456789abcdef".into(),
        id: "00ff".into(),
        model: ModelFacts {
            name: "demo".into(),
            facts: "qwen2, 4 layers, bf16".into(),
            repository: Some("org/demo".into()),
            path: Some("../demo".into()),
            config_sha256: "aa".into(),
            weights_sha256: "bb".into(),
        },
        tokens: Tokens {
            ids: (0..60).map(|k| k * 991).collect(),
            steps: vec![58, 1, 1],
            texts: vec![
                " The".into(),
                "\n".into(),
                "\u{1b}[31m\"\\\u{202e}\t\u{7f}e\u{301}\u{e0001}".into(),
                " 猫".into(),
            ],
        },
        sources: vec![Source {
            role: "reference".into(),
            file: "ref.safetensors".into(),
            sha256: "cc".into(),
            dtype: "bf16".into(),
            map: Some("names.toml".into()),
            batch: Some(0),
        }],
        engine: Engine { precision: "f32".into(), suspect: Some("rope_theta:2@0-2".into()) },
        screen: Some(Screen { columns: 120, rows: 40 }),
        verdict: Some(Report {
            verdict: Verdict::Diverged,
            sentence: "candidate: 2.q_rope is \"wrong\"".into(),
            divergences: vec![divergence("2.q_rope"), divergence("3.q_rope")],
            ..Report::default()
        }),
        values: Some(Values { file: "demo.safetensors".into(), tensors: 3, bytes: 4096, left_out: Some(2) }),
    };
    let answer = |text: &str| Answer { text: text.into(), error: false };
    let lines = vec![
        Line { text: "# why the port is wrong".into(), answers: vec![] },
        Line::default(),
        Line {
            text: "continue   # to the first".into(),
            answers: vec![answer("2.q_rope  diverges"), answer(""), answer("---")],
        },
        Line {
            text: "goto 99".into(),
            answers: vec![Answer { text: "there is no \u{1b}[31m\\u{1b}\r\n".into(), error: true }],
        },
        Line { text: "#= no answer".into(), answers: vec![] },
        Line { text: "#!".into(), answers: vec![] },
        Line { text: "---".into(), answers: vec![] },
    ];
    Text { header, lines }
}

fn parse(text: &str) -> Text {
    Text::parse(text, "x.session").unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_session_is_printed_so_that_a_diff_of_it_can_be_read() {
    let text = example().to_string();
    assert_eq!(parse(&text), example());
    insta::assert_snapshot!("session", text);
    assert!(text.lines().all(|line| line.len() <= 130), "{text}");
}

#[test]
fn ids_that_are_added_change_only_the_last_line_of_the_array() {
    let mut text = example();
    let before = text.to_string();
    text.header.tokens.ids.push(7);
    let after = text.to_string();
    let changed = before.lines().zip(after.lines()).filter(|(a, b)| a != b).count();
    assert_eq!(changed, 1);
}

#[test]
fn a_new_header_says_what_writes_it() {
    let (one, two) = (Header::new(), Header::new());
    assert_eq!(one.format, "1.0");
    assert_eq!((one.arithmetic.len(), one.id.len()), (16, 32));
    assert_ne!(one.id, two.id);
    assert_eq!(Header { id: String::new(), ..one }, Header { id: String::new(), ..two });
}

#[test]
fn the_body_is_a_script() {
    let text = example().to_string();
    let (_, body) = text.split_once("\n---\n").expect("a body");
    let commands: Vec<&str> = body.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).collect();
    assert_eq!(commands, ["continue   # to the first", "goto 99", "---"]);
}

/// What is read though this program would have written it otherwise.
#[test]
fn other_hands_may_write_sessions_too() {
    let plain = "format = \"1.0\"\n---\nstep\n#= done\n";
    let step = |answers: &[&str]| Line {
        text: "step".into(),
        answers: answers.iter().map(|text| Answer { text: (*text).into(), error: false }).collect(),
    };
    let comment = |text: &str| Line { text: text.into(), answers: vec![] };
    for (text, lines) in [
        (plain.to_string(), vec![step(&["done"])]),
        (format!("\u{feff}{plain}"), vec![step(&["done"])]),
        (plain.replace('\n', "\r\n"), vec![step(&["done"])]),
        (plain.trim_end().to_string(), vec![step(&["done"])]),
        // a newer minor version, with keys of its own
        (plain.replace("1.0\"", "1.7\"\nnew = { a = 1 }\n[model]\ncolour = 3"), vec![step(&["done"])]),
        ("format='1.0'\n---".to_string(), vec![]),
        ("  format=\"1.0\"\n--- \n".to_string(), vec![]),
        // an empty answer whose blank an editor took away; a comment among answers; comments that are no answers
        (plain.replace("= done", "=\n# so\n#= then"), vec![step(&["", "then"]), comment("# so")]),
        (plain.replace("#= done", "#=done\n  #= x"), vec![step(&[]), comment("#=done"), comment("  #= x")]),
        (
            plain.replace("#= done", "\\u{} \\u{110000} \\u{+41} \\u{41"),
            vec![step(&[]), comment("\\u{} \\u{110000} \\u{+41} \\u{41")],
        ),
    ] {
        let read = parse(&text);
        assert_eq!(read.lines, lines, "{text:?}");
        assert_eq!(parse(&read.to_string()), read);
    }
}

#[test]
fn errors_are_sentences_with_file_and_line() {
    for (text, sentence) in [
        ("", "x.session is no session: it begins with nothing where the header with `format = \"1.0\"` was expected"),
        (
            "debug demo\nstep\n",
            "x.session is no session: it begins with \"debug demo\" where the header with `format = \"1.0\"` was expected",
        ),
        (
            "# \u{1b}[31m\nprogram = \"layerstep\"\n---\n",
            "x.session is no session: it begins with \"# \\u{1b}[31m\" where the header with `format = \"1.0\"` was expected",
        ),
        (
            "format = \"2.3\"\nids: none of our business",
            "x.session is a session of format 2.3, this program reads 1.x: a newer layerstep opens it",
        ),
        (
            "format = '2.3'\n---\n",
            "x.session is a session of format 2.3, this program reads 1.x: a newer layerstep opens it",
        ),
        (
            "# comment\nformat = \"1.0\"\nprogram = \"lay",
            "x.session is cut off: after line 3 the line --- was expected, which ends the header of a session",
        ),
        (
            "# comment\nformat = \"1.0\"\nprogram = 7\n---\n",
            "x.session, line 3: the header of a session is TOML, and here invalid type: integer `7`, expected a string",
        ),
        (
            "format = \"1.0\"\n[tokens]\nids = [1,\n-2]\n---\n",
            "x.session, line 4: the header of a session is TOML, and here invalid value: integer `-2`, expected u32",
        ),
        (
            "\nformat = \"one\"\n---\n",
            "x.session, line 2: the header of a session is TOML, and here the format is \"one\" where \"1.0\" was expected",
        ),
        (
            "format = \"1.0\"\n---\n# so\n#= done\n",
            "x.session, line 4: an answer was found where the command that it answers was expected",
        ),
    ] {
        let error = Text::parse(text, "x.session").expect_err(text).to_string();
        assert_eq!(error, sentence);
    }
}

#[test]
fn files_are_refused_before_they_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.session");
    let refusal = |path: &std::path::Path| Text::read(path).expect_err("refused").to_string();
    assert!(refusal(&path).contains("x.session cannot be read: No such file"), "{}", refusal(&path));
    assert!(refusal(folder.path()).ends_with("cannot be read: it is not a regular file"));
    fs::write(&path, b"format = \"1.0\"\n---\nstep\n\xff\n").expect("written");
    assert!(
        refusal(&path).ends_with("x.session, line 4: a session is UTF-8 text, and this line has a byte that is not")
    );
    let file = fs::File::create(&path).expect("made");
    file.set_len((256 << 20) + 1).expect("holes take no space");
    let sentence = "the session is 268435457 bytes long, and at most 268435456 are read";
    assert!(refusal(&path).ends_with(sentence), "{}", refusal(&path));
}

#[test]
fn saving_replaces_the_file_or_leaves_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.session");
    save(&path, &Text::default()).expect("saved");
    save(&path, &example()).expect("saved again");
    assert_eq!(Text::read(&path).expect("read"), example());
    let error = save(&folder.path().join("no/x.session"), &example()).expect_err("no folder").to_string();
    assert!(error.contains("cannot write"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1);
}

/// A session or one sentence that names the file; and what is read can be printed and read again.
fn check(bytes: &[u8]) {
    match Text::from_bytes(bytes, "hostile\u{1b}.session") {
        Ok(read) => {
            let printed = read.to_string();
            assert!(!printed.contains(|c: char| c.is_control() && c != '\n' && c != '\t'), "{printed:?}");
            assert_eq!(Text::parse(&printed, "again").expect("what was printed is read"), read);
        }
        Err(error) => {
            let error = error.to_string();
            assert!(error.starts_with("hostile\\u{1b}.session") && error.len() < 400, "{error:?}");
            assert!(!error.contains(char::is_control), "{error:?}");
        }
    }
}

#[test]
fn a_session_cut_anywhere_is_read_or_refused() {
    let text = example().to_string();
    for end in 0..text.len() {
        check(&text.as_bytes()[..end]);
    }
}

#[test]
fn a_session_with_any_bit_flipped_is_read_or_refused() {
    let text = example().to_string().into_bytes();
    for at in 0..text.len() {
        let mut flipped = text.clone();
        flipped[at] ^= 1 << (at % 8);
        check(&flipped);
    }
}

fn words() -> impl Strategy<Value = String> {
    // Any text; and text of what the format is made of.
    prop_oneof![any::<String>(), "[#=! \\\\u{}0-9a\\-\\[\\]\"'\\n\\r\\t\u{1b}\u{202e}\u{85}]{0,12}"]
}

prop_compose! {
    fn headers()(
        words in prop::collection::vec(words(), 26),
        ids in prop::collection::vec(any::<u32>(), 0..40),
        texts in prop::collection::vec(words(), 0..20),
        numbers in any::<(u16, u16, u32, u32, bool, bool)>(),
    ) -> Header {
        let mut words = words.into_iter();
        let mut word = || words.next().expect("enough of them");
        let (columns, rows, bytes, count, some, other) = numbers;
        let suspects = all().skip(count as usize % 50).step_by(3).take(2).map(|suspect| Accused::of_id(suspect.id));
        let divergence = Divergence {
            name: word(),
            culprit: [Culprit::Reference, Culprit::Candidate, Culprit::Engine, Culprit::Unknown][columns as usize % 4],
            suspects: suspects.chain([Accused::of_id(&word())]).collect(),
            layers: (0..rows as usize % 40).filter(|layer| layer % 3 < columns as usize % 4).collect(),
            summary: word(),
            last_good: Some(word()).filter(|name| !name.is_empty()),
            exact: some,
            ..Divergence::default()
        };
        let verdicts = [Verdict::Match, Verdict::Rounding, Verdict::Diverged, Verdict::Mislabelled, Verdict::InputsDiffer, Verdict::Inconclusive];
        let verdict = verdicts[count as usize % 6];
        Header {
            format: "1.4".into(),
            program: word(),
            arithmetic: word(),
            id: word(),
            model: ModelFacts {
                name: word(),
                facts: word(),
                repository: some.then(&mut word),
                path: other.then(&mut word),
                config_sha256: word(),
                weights_sha256: word(),
            },
            tokens: Tokens { ids, steps: vec![columns as usize; rows as usize % 30], texts },
            sources: vec![
                Source { role: word(), file: word(), sha256: word(), dtype: word(), map: None, batch: None },
                Source { map: some.then(&mut word), batch: other.then_some(count as usize), ..Source::default() },
            ],
            engine: Engine { precision: word(), suspect: other.then(&mut word) },
            screen: some.then_some(Screen { columns, rows }),
            verdict: other.then(|| Report { verdict, sentence: word(), divergences: vec![divergence], ..Report::default() }),
            values: some.then(|| Values { file: word(), tensors: count as usize, bytes: bytes.into(), left_out: Some(1) }),
        }
    }
}

fn lines() -> impl Strategy<Value = Vec<Line>> {
    let answers = prop::collection::vec((words(), any::<bool>()), 0..3);
    let line = (words(), answers).prop_map(|(text, answers)| {
        let mut line = Line { text, answers: Vec::new() };
        if !line.is_comment() {
            line.answers = answers.into_iter().map(|(text, error)| Answer { text, error }).collect();
        }
        line
    });
    prop::collection::vec(line, 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_comes_back(header in headers(), lines in lines()) {
        let text = Text { header, lines };
        let printed = text.to_string();
        prop_assert!(!printed.contains(|c: char| c.is_control() && c != '\n' && c != '\t'), "{:?}", printed);
        prop_assert_eq!(Text::parse(&printed, "x").expect("read"), text);
    }

    #[test]
    fn bytes_of_any_kind_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), text in words()) {
        check(&bytes);
        check(&[b"format = \"1.0\"\n", bytes.as_slice()].concat());
        check(&[b"format = \"1.0\"\n---\n", bytes.as_slice()].concat());
        check(format!("format = \"1.0\"\n{text}\n---\n{text}").as_bytes());
    }
}
