//! A recording is played: forwards, backwards, from mark to mark, until the user leaves it.

use layerstep::session::{Backend, Line, Shown};
use layerstep::tui::{Screen, Theme};

use super::fake::Fake;
use super::recorded::Recorder;
use super::{FULL, PLAIN, styles};

/// A recording of these lines.
pub(super) fn recording<S: AsRef<str>>(lines: &[S]) -> Shown {
    let recorded = |line: &S| Line { text: line.as_ref().to_string(), ..Line::default() };
    Shown {
        title: "ablation".into(),
        source: "recorded values: the weights are not here".into(),
        size: None,
        lines: lines.iter().map(recorded).collect(),
    }
}

const LINES: &[&str] = &[
    "# A port of the demo goes wrong somewhere.",
    "# We run it until the first activation that is not what its inputs give.",
    "continue",
    "mark the divergence",
    "diagnose 2.q_rope",
    "note channels 2i and 2i + 1 are rotated together where the model pairs i and i + d/2: that is how GPT-J does it, and a \
     port that has read the wrong file. Token 0 is right, because it is rotated by nothing; from token 1 on every head is wrong.",
    "try 1",
    "escape",
    "mark the suspect is on",
    "pane attention",
    "head next 3",
    "restart",
];

fn open(columns: u16, rows: u16, theme: Theme, lines: &[&str]) -> Screen<Fake> {
    let mut fake = Fake::new(30);
    fake.differing = &["try 1"];
    Screen::replaying(fake, columns, rows, theme, recording(lines))
}

fn bar<B: Backend>(screen: &Screen<B>) -> String {
    screen.text().lines().last().unwrap_or_default().to_string()
}

#[test]
fn it_looks_as_it_did() {
    for (name, played) in [("start", 0), ("story", 2), ("mark", 4), ("note", 6), ("difference", 7), ("end", 12)] {
        for (columns, rows) in [(80, 24), (160, 50)] {
            let mut screen = open(columns, rows, FULL, LINES);
            screen.played(played);
            let looks = format!("{}\n{}", screen.text(), styles(screen.buffer()));
            insta::assert_snapshot!(format!("player_{name}_{columns}x{rows}"), looks);
        }
        let mut plain = open(80, 24, PLAIN, LINES);
        let text = plain.played(played).text();
        assert!(text.is_ascii(), "{text}");
        insta::assert_snapshot!(format!("player_{name}_plain"), text);
    }
}

#[test]
fn every_size_has_a_bar() {
    let mut bars = String::new();
    for columns in [20, 25, 30, 40, 50, 60, 70, 80, 100, 120, 160, 200] {
        let mut screen = open(columns, 24, FULL, LINES);
        screen.played(7);
        assert!(screen.text().lines().all(|line| line.chars().count() <= usize::from(columns)));
        bars.push_str(&bar(&screen));
        bars.push('\n');
        for rows in [1, 4, 5, 6, 10, 14] {
            screen.resize(columns, rows);
        }
    }
    insta::assert_snapshot!("player_bars", bars);
}

/// Keys, the end of the bar's place, and what is then on the screen or not (`!`).
#[test]
fn keys_move_through_the_recording() {
    let check = |keys: &str, place: &str, seen: &[&str]| {
        let mut screen = open(100, 30, FULL, LINES);
        screen.keys(keys);
        let bar = bar(&screen);
        assert!(bar.contains(&format!(" {place}/12 ")) || place.is_empty(), "{keys}: {bar}");
        for words in seen {
            let wanted = !words.starts_with('!');
            let text = screen.text();
            assert_eq!(text.contains(words.trim_start_matches('!')), wanted, "{keys}: {words}: {text}");
        }
    };
    check("", "0", &["paused", "not started", "x play"]);
    check("x", "1", &["playing", "x pause", "A port of the demo"]);
    check("xx", "1", &["paused"]);
    check("..", "2", &["A port of the demo goes wrong somewhere. We run it"]);
    check("3.", "3", &["DIVERGED here", "!A port of"]);
    check("3.,", "2", &["not started", "A port of the demo goes wrong somewhere. We run it"]);
    check(",", "0", &["this is the start of the recording"]);
    check(")", "4", &["mark: the divergence", "paused"]);
    check("))", "9", &["mark: the suspect is on", "engine with bug"]);
    check(")))", "9", &["no mark lies after this place"]);
    check("))(", "4", &["mark: the divergence", "!engine with bug"]);
    check("(", "0", &["no mark lies before this place"]);
    check("2)", "9", &["paused"]);
    check(":to the sus<ret>", "9", &["engine with bug"]);
    check(":to DIVER<ret>", "4", &["DIVERGED here"]);
    check(":to nonsense<ret>", "0", &["no mark is called nonsense"]);
    check(":to the <tab>", "", &["the divergence  the suspect is on"]);
    check(":played end<ret>", "12", &["not started", "the end"]);
    check(":played end<ret>x", "12", &["this is the end of the recording"]);
    check(":played end<ret>.", "12", &["this is the end of the recording"]);
    check(":played end<ret>:played start<ret>", "0", &["paused", "▪ program"]);
    check(":played 900<ret>", "12", &["the end"]);
    check("**x", "1", &["playing ×4"]);
    check("&", "0", &["paused ×0.5"]);
    check(":speed 0.25<ret>x", "1", &["playing ×0.25"]);
    check("6.", "6", &["┌ note "]);
    check("6.<esc>", "6", &["!┌ note "]);
    check("7.", "7", &["differs from the recording", "1 differs", "token 3 has 0.12345"]);
    check("7.:played start<ret>", "0", &["!1 differs"]);
    // Looking around leaves nothing; the next line comes on top of it.
    check("3.zjj<esc>.", "4", &["!left the recording"]);
    check("3.s", "", &["left the recording at line 3 of 12", "!paused", "! play"]);
    check("3.s.", "", &["the recording was left: played 3 goes back to it"]);
    check("3.s:played 3<ret>", "3", &["DIVERGED here"]);
    check("3.s)", "", &["the recording was left"]);
    check("3.s:to suspect<ret>", "9", &["engine with bug"]);
    check("3.X", "", &["left the recording at line 3 of 12: what follows is your own", "DIVERGED here"]);
    check("3.j<ret>", "", &["left the recording at line 3 of 12"]);
}

#[test]
fn it_plays_by_itself_and_pauses_at_marks_differences_and_the_end() {
    let mut screen = open(100, 30, FULL, LINES);
    assert_eq!(screen.pause(), None);
    let first = screen.keys("x").pause().expect("it plays");
    assert!(screen.keys("*").pause().expect("it plays") < first);
    for stop in ["4/12  paused", "7/12  paused", "9/12  paused", "12/12  the end"] {
        let mut ticks = 0;
        while screen.pause().is_some() {
            screen.tick();
            ticks += 1;
            assert!(ticks < 20, "it does not stop");
        }
        assert!(bar(&screen).contains(stop), "{stop}: {}", bar(&screen));
        screen.keys("x");
    }
    let mut covered = open(100, 30, FULL, &["help", "down 3", "step"]);
    assert!(covered.keys("..").text().contains("help: j k scroll"), "its keys close nothing that belongs to it");
    let mut typing = open(100, 30, FULL, LINES);
    assert_eq!(typing.keys("x:").pause(), None, "not while something is typed");
    assert!(typing.keys("<esc>").pause().is_some());
    assert_eq!(typing.keys("s").pause(), None, "not when it was left");
}

#[test]
fn long_texts_stay_longer() {
    let pause = |played: usize| {
        let mut screen = open(100, 30, FULL, LINES);
        screen.played(played).keys("x");
        screen.pause().expect("it plays")
    };
    assert!(pause(5) > 4 * pause(2), "{:?} {:?}", pause(5), pause(2));
}

#[test]
fn the_debugger_hears_lines_resets_and_that_it_is_left() {
    let check = |keys: &str, expected: &str| {
        let (recorder, lines) = Recorder::new(Fake::new(4));
        let lines_of =
            ["step", "# story", "head next", "quit", "suspend", ":", "yank 0.q_proj", "mark a", "play", "next"];
        let mut screen = Screen::replaying(recorder, 80, 24, FULL, recording(&lines_of));
        screen.keys(keys);
        assert!(!screen.has_quit());
        assert_eq!(lines.borrow().join("; "), expected, "{keys}");
    };
    check("...", "step; head next");
    check("...,", "step; head next; (reset); step");
    check(":played end<ret>", "step; head next; yank 0.q_proj; mark a; next");
    check(".jS", "step; down; (live); back");
    check(".X", "step; (live)");
    check(".SX:played 1<ret>", "step; (live); back; (reset); step");
}

#[test]
fn going_back_takes_back_what_the_recording_has_set() {
    let lines = ["set theme light", "set mouse off", "layout attention", "zoom", "step"];
    let mut screen = open(100, 30, FULL, &lines);
    let start = screen.text();
    screen.played(5).played(0);
    assert_eq!(screen.text(), start);
    assert_eq!(screen.buffer(), open(100, 30, FULL, &lines).buffer());
    let mut own = open(100, 30, FULL, &lines);
    own.keys(":set ascii on<ret>").played(5).played(0);
    assert!(own.text().is_ascii(), "what the user has set stays");
}

#[test]
fn recordings_may_be_empty_short_wrong_or_hostile() {
    let mut empty = open(80, 24, FULL, &[]);
    assert!(empty.keys("x.,)(X").text().contains("left the recording at line 0 of 0"), "{}", empty.text());
    assert!(bar(&open(80, 24, FULL, &[])).contains("0/0  the end"));
    let mut one = open(80, 24, FULL, &["step"]);
    assert!(one.keys("x").text().contains("at embed_tokens") && bar(&one).contains("1/1  the end"));
    let mut wrong = open(80, 24, FULL, &["stpe", "step"]);
    assert!(wrong.keys(".").text().contains("there is no command stpe"), "{}", wrong.text());
    assert!(bar(&wrong).contains("1 differs"));
    assert!(wrong.keys(".").text().contains("at embed_tokens"));
    let hostile = "\u{1b}]0;owned\u{7}\u{202e}cipot\u{200b}".repeat(60);
    for line in ["note ", "mark ", "# ", ""] {
        let line = format!("{line}{hostile}");
        for (columns, rows) in [(80, 24), (20, 5), (40, 12)] {
            let mut screen = open(columns, rows, FULL, &[&line]);
            let text = screen.keys(".").text();
            assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}', '\u{200b}']), "{text}");
        }
    }
    let mut elsewhere = recording(&["step"]);
    elsewhere.size = Some((132, 40));
    let screen = Screen::replaying(Fake::new(4), 80, 24, FULL, elsewhere);
    assert!(screen.text().contains("recorded on 132x40, seen on 80x24"), "{}", screen.text());
}

#[test]
fn without_a_recording_there_is_nothing_to_play() {
    let mut screen = Screen::headless(Fake::new(4), 80, 24, FULL);
    for key in ["x", ".", ",", ")", "(", "*", "X"] {
        assert!(screen.keys(key).text().contains("no recording is open"), "{key}: {}", screen.text());
    }
}

#[test]
fn the_top_line_names_what_is_recorded() {
    let top = |columns: u16, keys: &str| {
        let mut screen = Screen::headless(Fake::new(4), columns, 24, FULL);
        screen.keys(keys);
        screen.text().lines().next().unwrap_or_default().to_string()
    };
    assert!(!top(132, "c").contains("REC"));
    assert!(top(132, "c:save runs/ablation<ret>").contains("   REC ablation   at 2.q_rope"));
    assert!(
        top(80, "c:save runs/abl\u{1b}ation<ret>").contains("REC ablation"),
        "{}",
        top(80, "c:save runs/ablation<ret>")
    );
}

#[test]
fn marks_and_notes_stand_in_the_log() {
    let mut screen = Screen::headless(Fake::new(4), 100, 24, FULL);
    let text = screen.keys("Mhere<ret>;two heads give nothing<ret>m").text();
    for line in [":mark here", ":note two heads give nothing", " two heads give nothing "] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let mut played =
        Screen::replaying(Fake::new(4), 100, 24, FULL, recording(&["mark here", "note two heads", "pane log"]));
    let text = played.played(3).text();
    assert_eq!(text.matches(" two heads ").count(), 2, "{text}");
}
