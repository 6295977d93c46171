//! Reports: whatever was found, they say it, and they stand alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Output;

use crate::support::repository;
use layerstep::diagnose::suspects::search::Accused;
use layerstep::diagnose::{ActivationRow, BlindSpot, Divergence, Local, Report, Status, Verdict, Worst};
use layerstep::formats::{Archive, write_safetensors};
use layerstep::report::{Document, Passage, html, junit, markdown};
use ndarray::{ArrayD, ArrayViewD, IxDyn};
use scraper::{Html, Selector};

const DEMO: [&str; 2] = ["--model", "reference/demo/model"];
const REFERENCE: [&str; 2] = ["--reference", "reference/demo/reference.safetensors"];
const CANDIDATE: [&str; 2] = ["--candidate", "reference/demo/candidate.safetensors"];

fn run(args: &[&str]) -> Output {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_layerstep"));
    command.env("HF_HUB_CACHE", "/nowhere").current_dir(env!("CARGO_MANIFEST_DIR")).args(args);
    command.output().expect("the program runs")
}

/// The three reports of one comparison.
struct Reports {
    html: String,
    markdown: String,
    junit: String,
}

/// What a comparison must report.
struct Expected<'a> {
    verdict: &'a str,
    /// Stands in each of the three.
    words: &'a [&'a str],
    /// Pictures of the page, bars not counted.
    pictures: usize,
    /// Tests that fail: the verdict, and each activation that is bad.
    failures: usize,
}

/// Compares, and holds the three reports against everything that is promised of every report.
#[track_caller]
fn check(args: &[&str], expected: Expected) -> Reports {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (page, text, suite) = (file("a page.html"), file("issue.md"), file("suite.xml"));
    let mut all = vec!["diff"];
    all.extend(args);
    all.extend(["--html", &page, "--markdown", &text, "--junit", &suite]);
    let output = run(&all);
    let agrees = ["match", "rounding"].contains(&expected.verdict);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(i32::from(!agrees)), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.starts_with(expected.verdict), "the usual text is printed, too: {said}");
    let left: Vec<_> = fs::read_dir(folder.path()).expect("a folder").collect();
    assert_eq!(left.len(), 3, "{left:?}");
    let read = |name: &str| fs::read_to_string(name).expect("a report");
    let reports = Reports { html: read(&page), markdown: read(&text), junit: read(&suite) };
    for (kind, text) in [("html", &reports.html), ("markdown", &reports.markdown), ("junit", &reports.junit)] {
        is_discreet(kind, text);
        assert!(text.contains(expected.verdict), "{kind} does not say {}", expected.verdict);
    }
    let words = stands_alone(&reports.html);
    is_markdown(&reports.markdown);
    let (failures, attributes) = is_junit(&reports.junit);
    for word in expected.words {
        assert!(words.contains(word), "{word} is not on the page:\n{words}");
        assert!(reports.markdown.contains(word), "{word} is not in the text:\n{}", reports.markdown);
        assert!(attributes.contains(word), "{word} is not in the suite:\n{attributes}");
    }
    assert_eq!(failures, expected.failures, "{attributes}");
    assert_eq!(reports.html.matches("class=\"axes\"").count(), expected.pictures, "pictures");
    reports
}

/// No folder of this computer.
fn is_discreet(kind: &str, text: &str) {
    let here = [env!("CARGO_MANIFEST_DIR").to_string(), std::env::temp_dir().display().to_string() + "/"];
    let home = std::env::var("HOME").ok().filter(|home| home.len() > 1).map(|home| home + "/");
    for path in here.iter().chain(&home) {
        assert!(!text.contains(path.as_str()), "{kind} names {path}");
    }
}

/// A page that a browser reads without a complaint, and without asking for anything. Returns its text.
#[track_caller]
fn stands_alone(text: &str) -> String {
    let page = Html::parse_document(text);
    assert!(page.errors.is_empty(), "{:?}", page.errors);
    assert!(text.len() < 2_000_000, "{} bytes", text.len());
    for asks in ["http:", "https:", "url(", "@import", "file:"] {
        assert!(!text.contains(asks), "{asks}");
    }
    let all = |what: &str| page.select(&Selector::parse(what).expect("a selector")).collect::<Vec<_>>();
    for element in all("*") {
        for (name, value) in element.value().attrs() {
            let loads = ["src", "href", "srcset", "action", "data", "poster"].contains(&name);
            assert!(!loads || value.starts_with("data:"), "{name} = {value}");
            assert!(!name.starts_with("on"), "{name} = {value}");
        }
    }
    assert_eq!((all("script").len(), all("h1").len()), (1, 1));
    assert!(!all("head > title").is_empty());
    for picture in all("img") {
        assert!(picture.attr("alt").is_some(), "a picture without words");
    }
    let ids: Vec<&str> = all("[id]").iter().filter_map(|element| element.attr("id")).collect();
    for label in all("[aria-labelledby]").iter().filter_map(|element| element.attr("aria-labelledby")) {
        assert_eq!(ids.iter().filter(|id| **id == label).count(), 1, "{label}");
    }
    all("body").iter().flat_map(scraper::ElementRef::text).collect::<Vec<_>>().concat()
}

/// Tables whose rows have one number of cells; nothing that GitHub takes for HTML but what is folded.
#[track_caller]
fn is_markdown(text: &str) {
    assert!(text.len() < 60_000, "{} bytes", text.len());
    assert!(!text.contains("\n\n\n") && text.ends_with('\n'));
    let lines: Vec<&str> = text.lines().collect();
    for table in lines.split(|line| !line.starts_with('|')).filter(|table| !table.is_empty()) {
        let cells = |line: &&str| line.replace("\\|", "").matches('|').count();
        assert!(table.iter().all(|line| cells(line) == cells(&table[0]) && line.ends_with('|')), "{table:#?}");
        assert!(table[1].chars().all(|c| "|-:".contains(c)), "{table:#?}");
    }
    assert_eq!(text.matches("<details>").count(), text.matches("</details>").count());
    let mut code = false;
    for line in &lines {
        code ^= line.starts_with("```");
        let outside = outside_code(line);
        let rest =
            ["<details>", "</details>", "<summary>", "</summary>"].iter().fold(outside, |l, tag| l.replace(tag, ""));
        assert!(code || !rest.contains('<'), "{line}");
    }
}

/// A line without its code: what stands between two runs of as many backticks, none of them escaped.
fn outside_code(line: &str) -> String {
    let line = line.replace("\\`", "");
    let mut outside = String::new();
    let mut rest = line.as_str();
    while let Some(start) = rest.find('`') {
        let run = rest[start..].chars().take_while(|c| *c == '`').count();
        outside.push_str(&rest[..start]);
        rest = &rest[start + run..];
        let mut from = 0;
        while let Some(at) = rest[from..].find('`').map(|at| from + at) {
            let other = rest[at..].chars().take_while(|c| *c == '`').count();
            from = at + other;
            if other == run {
                rest = &rest[from..];
                break;
            }
        }
    }
    outside + rest
}

/// What Jenkins' schema wants. Returns the number of failures, and all attributes and texts.
#[track_caller]
fn is_junit(text: &str) -> (usize, String) {
    let document = roxmltree::Document::parse(text).expect("XML");
    let root = document.root_element();
    let suites: Vec<_> = root.children().filter(roxmltree::Node::is_element).collect();
    assert_eq!((root.tag_name().name(), suites.len(), suites[0].tag_name().name()), ("testsuites", 1, "testsuite"));
    let of = |name: &str| suites[0].children().filter(|node| node.has_tag_name(name)).count();
    let order: Vec<&str> =
        suites[0].children().filter(roxmltree::Node::is_element).map(|node| node.tag_name().name()).collect();
    let place = |name: &&str| ["properties", "testcase", "system-out"].iter().position(|known| known == name);
    assert!(order.iter().all(|name| place(name).is_some()) && order.is_sorted_by_key(place), "{order:?}");
    assert!(of("properties") == 1 && of("system-out") < 2);
    let count = |name: &str| suites[0].descendants().filter(|node| node.has_tag_name(name)).count();
    for (attribute, found) in [("tests", of("testcase")), ("failures", count("failure")), ("skipped", count("skipped"))]
    {
        assert_eq!(suites[0].attribute(attribute), Some(found.to_string().as_str()), "{attribute}");
    }
    assert_eq!(suites[0].attribute("errors"), Some("0"));
    let mut names: Vec<_> = suites[0]
        .children()
        .filter(|node| node.has_tag_name("testcase"))
        .map(|node| (node.attribute("classname").expect("a class"), node.attribute("name").expect("a name")))
        .collect();
    assert!(names.iter().all(|(class, name)| !class.is_empty() && !name.is_empty()));
    let tests = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), tests, "every test has a name of its own");
    let attributes = document.descendants().flat_map(|node| node.attributes().map(|attribute| attribute.value()));
    let texts = document.descendants().filter_map(|node| node.text());
    (count("failure"), attributes.chain(texts).collect::<Vec<_>>().join("\n"))
}

/// A dump, rewritten; `change` may drop a tensor or give it another name.
fn rewrite(
    from: &str,
    to: &Path,
    meta: Option<(&str, &str)>,
    change: impl Fn(&str, ArrayD<f32>) -> Option<(String, ArrayD<f32>)>,
) -> String {
    let archive = Archive::open(&repository(from)).expect("a dump");
    let read = |name: &str| archive.read(name).expect("a tensor").into_f32();
    let kept: Vec<(String, ArrayD<f32>)> =
        archive.entries().iter().filter_map(|entry| change(&entry.name, read(&entry.name))).collect();
    let views: Vec<(String, ArrayViewD<f32>)> = kept.iter().map(|(name, v)| (name.clone(), v.view())).collect();
    let mut metadata = archive.metadata().clone();
    metadata.extend(meta.map(|(key, value)| (key.to_string(), value.to_string())));
    write_safetensors(to, &views, &metadata).expect("written");
    to.display().to_string()
}

#[test]
fn a_bug_with_a_known_cause() {
    let words = ["model.layers.2.self_attn.q_rope", "rope_interleaved", "rotate channel i with channel i + d/2"];
    let expected = Expected { verdict: "diverged", words: &words, pictures: 20, failures: 7 };
    let reports = check(&[&DEMO[..], &REFERENCE, &CANDIDATE].concat(), expected);
    assert!(reports.html.contains("<q class=\"token\">arriet</q>") && reports.html.contains("decode step 2"));
    for line in ["--html 'a page.html' --markdown issue.md", "--reference reference.safetensors"] {
        assert!(reports.markdown.contains(line), "{}", reports.markdown);
    }
}

#[test]
fn a_clean_comparison() {
    let args = ["--model", "reference/tiny/qwen2", "--reference", "reference/tiny/qwen2/reference.safetensors"];
    let words = ["everything compared agrees"];
    let reports = check(&args, Expected { verdict: "match", words: &words[..0], pictures: 0, failures: 0 });
    assert!(reports.html.contains(words[0]) && !reports.html.contains("Diagnosis"));
}

#[test]
fn other_tokens_were_fed() {
    let folder = tempfile::tempdir().expect("a folder");
    let ids = ("input_ids", "[40,920,393,314,518,7,361,14,844,917,710,12,283,361,14,844,917]");
    let dump = rewrite(REFERENCE[1], &folder.path().join("others.safetensors"), Some(ids), |name, values| {
        Some((name.to_string(), values))
    });
    let args = [&DEMO[..], &REFERENCE, &["--candidate", &dump]].concat();
    let words = ["the token ids differ"];
    let reports = check(&args, Expected { verdict: "inputs_differ", words: &words, pictures: 0, failures: 1 });
    assert!(!reports.html.contains("<svg") && reports.html.contains("ids of the reference"));
}

#[test]
fn two_dumps_without_their_model() {
    let args = [&REFERENCE[..], &CANDIDATE].concat();
    let words = ["model.layers.2.self_attn.q_rope", "compared without a model"];
    check(&args, Expected { verdict: "diverged", words: &words, pictures: 0, failures: 7 });
}

#[test]
fn our_own_engine() {
    let args = ["--self", "--model", "reference/tiny/llama"];
    check(&args, Expected { verdict: "match", words: &[], pictures: 0, failures: 0 });
}

#[test]
fn what_is_not_finite_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let dump = rewrite(REFERENCE[1], &folder.path().join("broken.safetensors"), None, |name, mut values| {
        if name == "model.layers.1.mlp.up_proj" {
            values.slice_each_axis_mut(|_| (..1).into()).fill(f32::NAN);
        }
        if name == "model.layers.3.mlp.act_mul" {
            values.fill(f32::INFINITY);
        }
        Some((name.to_string(), values))
    });
    let args = [&DEMO[..], &REFERENCE, &["--candidate", &dump]].concat();
    let words = ["model.layers.1.mlp.up_proj", "model.layers.3.mlp.act_mul"];
    let reports = check(&args, Expected { verdict: "mislabelled", words: &words, pictures: 20, failures: 3 });
    assert!(
        reports.html.contains(">NaN<")
            && !reports.html.contains("error NaN")
            && !reports.html.contains("NaNe")
            && !reports.html.contains("nan\"")
    );
}

/// One token shows little: the report says what to do, without saying where the model lies.
#[test]
fn a_dump_of_one_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let dump = folder.path().join("one.safetensors").display().to_string();
    let model = repository("reference/demo/model").display().to_string();
    let captured = run(&["capture", &model, "--ids", "7", "-o", &dump]);
    assert!(captured.status.success());
    let args = ["--model", &model, "--reference", &dump];
    let remedy = "python reference/capture.py model --prompt";
    let reports = check(&args, Expected { verdict: "match", words: &[remedy], pictures: 0, failures: 0 });
    assert!(reports.html.contains("What this dump cannot show"));
}

#[test]
fn hostile_names_are_only_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let name = "ref`<img src=x onerror=alert(1)>|\"&'_*.safetensors";
    let tensor = "<script>alert(1)</script>|`]]>\u{1b}[31m";
    let dump = rewrite(REFERENCE[1], &folder.path().join(name), None, |known, values| match known {
        "model.norm" => Some((tensor.to_string(), values)),
        "lm_head" => Some((known.to_string(), ArrayD::ones(IxDyn(values.shape())))),
        _ => Some((known.to_string(), values)),
    });
    let args = [&DEMO[..], &["--reference", &dump]].concat();
    let reports = check(&args, Expected { verdict: "diverged", words: &[], pictures: 3, failures: 2 });
    let words = stands_alone(&reports.html);
    assert!(words.contains(name) && words.contains("<script>alert(1)</script>|`]]>\\u{1b}[31m"), "{words}");
}

/// What `layerstep report` adds to a comparison: a story, whose words may be anything.
#[test]
fn a_document_of_words_alone() {
    let hostile = "</pre><script>`|*_";
    let suspect = || Accused { id: hostile, explained: f64::NAN, summary: hostile.into(), ..Accused::default() };
    let document = Document {
        title: hostile.into(),
        verdict: "diverged",
        report: Report {
            verdict: Verdict::Diverged,
            sentence: hostile.into(),
            divergences: vec![Divergence {
                name: hostile.into(),
                suspects: vec![suspect(), suspect()],
                ..Default::default()
            }],
            blind_spots: vec![BlindSpot { id: "x", summary: hostile.into(), remedy: "layerstep".into() }],
            ..Report::default()
        },
        story: vec![
            Passage::Command { line: "step".into(), answer: vec![hostile.into(), "two".into()] },
            Passage::Mark { place: "3.q_rope".into(), text: hostile.into() },
            Passage::Note { text: hostile.into() },
        ],
        ..Document::default()
    };
    let words = stands_alone(&html(&document));
    assert!(words.contains("The session") && words.matches(hostile).count() > 6, "{words}");
    is_markdown(&markdown(&document));
    assert_eq!(is_junit(&junit(&document)).0, 1);
    stands_alone(&html(&Document::default()));
    is_markdown(&markdown(&Document::default()));
    is_junit(&junit(&Document::default()));
}

/// A hundred decode steps of a deep model are too much for one page.
#[test]
fn long_comparisons_make_short_reports() {
    let row = |step: usize, layer: usize, op: &str| ActivationRow {
        name: format!("model.layers.{layer}.mlp.{op}@{step}"),
        layer: Some(layer),
        step,
        error: f64::INFINITY,
        cosine: f64::NAN,
        max_abs: f64::INFINITY,
        worst: Worst::default(),
        nonfinite: 1,
        status: Status::Bad,
        local: Some(Local { error: f64::NAN, floor: 1e-300, propagated: None }),
    };
    let all = (1..100).flat_map(|step| (0..60).map(move |layer| (step, layer)));
    let activations = all.flat_map(|(step, layer)| ["up_proj", "act_mul"].map(|op| row(step, layer, op))).collect();
    let document = Document { report: Report { activations, ..Report::default() }, ..Document::default() };
    let words = stands_alone(&html(&document));
    assert!(words.contains("more are left out here"), "{}", &words[words.len() - 300..]);
    is_markdown(&markdown(&document));
    assert_eq!(is_junit(&junit(&document)).0, 1 + document.report.activations.len());
}

#[test]
fn what_cannot_be_written_is_said_before_the_work() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().display().to_string();
    // There is no such model: who complains of the file has not begun to work.
    let diff = ["diff", "--model", "/nowhere/model", "--reference", "/nowhere/dump"];
    for (args, words) in [
        (vec!["--html", "/nowhere/page.html"], "/nowhere/page.html"),
        (vec!["--junit", &folder], "not a regular file"),
        (vec!["--markdown", "-", "--junit", "-"], "one report"),
        (vec!["--markdown", "-", "--json"], "--json"),
        (vec!["--markdown", "same", "--junit", "same"], "same"),
    ] {
        let output = run(&[&diff[..], &args].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{said}");
        assert!(said.starts_with("error: ") && said.lines().count() == 1 && said.contains(words), "{said}");
    }
}

/// A report on standard output, noise left out: its digits differ from processor to processor.
fn printed(option: &str) -> String {
    let output = run(&[&["diff"], &DEMO[..], &REFERENCE, &CANDIDATE, &[option, "-"]].concat());
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).expect("text");
    let noise = |word: &str| {
        let bare = word.trim_end_matches([',', '<', '"']);
        let number: Option<f64> = bare.parse().ok().filter(|_| bare.contains('.'));
        match number {
            Some(number) if number > 0.0 && (number < 1e-4 || !bare.contains('e')) => word.replace(bare, "(noise)"),
            Some(number) if number > 1e3 => word.replace(bare, "(many)"),
            _ => word.to_string(),
        }
    };
    let line = |line: &str| line.split(' ').map(noise).collect::<Vec<_>>().join(" ");
    text.lines().map(line).collect::<Vec<_>>().join("\n").replace(env!("CARGO_PKG_VERSION"), "VERSION")
}

#[test]
fn the_text_of_the_demo() {
    insta::assert_snapshot!(printed("--markdown"));
}

#[test]
fn the_suite_of_the_demo() {
    // The middle is more of the same.
    let text = printed("--junit");
    let lines: Vec<&str> = text.lines().collect();
    let middle = lines.iter().position(|line| line.contains("layers.2.self_attn\" name=\"v_proj")).expect("a test");
    let shown = [&lines[..16], &["[...]"], &lines[middle..middle + 14], &["[...]"], &lines[lines.len() - 8..]].concat();
    insta::assert_snapshot!(shown.join("\n"));
}

/// Numbers by name: what the attributes of the suite say is what `--json` says.
#[test]
fn the_three_say_the_same() {
    let args = [&DEMO[..], &REFERENCE, &CANDIDATE].concat();
    let suite = String::from_utf8(run(&[&["diff"], &args[..], &["--junit", "-"]].concat()).stdout).expect("text");
    let json = run(&[&["diff"], &args[..], &["--json"]].concat()).stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    let rows = json["activations"].as_array().expect("rows");
    let count = |status: &str| rows.iter().filter(|row| row["status"] == status).count();
    let document = roxmltree::Document::parse(&suite).expect("XML");
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    for node in document.descendants().filter(roxmltree::Node::is_element) {
        *found.entry(node.tag_name().name()).or_default() += 1;
    }
    assert_eq!(found["testcase"], rows.len() + 1);
    assert_eq!(found["failure"], count("bad") + 1);
    assert_eq!(found["skipped"], count("propagated") + count("missing"));
}
