//! What the screen says before anybody asks: what one can do, what lies ahead, where a tensor is worst.

use layerstep::debugger::Outlook;
use layerstep::tui::Screen;

use super::fake::Fake;
use super::{FULL, screen};

#[test]
fn the_first_screen_says_what_to_do() {
    let there = |columns, rows, keys: &str, words: &[&str]| {
        let text = screen(columns, rows, keys).text();
        for words in words {
            assert!(text.contains(words), "{keys}: {words}: {text}");
        }
    };
    there(80, 24, "", &["The candidate is compared with the", "c  runs to the first difference", "?  helps"]);
    there(40, 12, "", &["The candidate is compared with the", "c runs to the first"]);
    there(80, 24, "j", &["d  says why"]);
    there(80, 24, "cr", &["d  says why"]);
    assert!(!screen(80, 24, "s").text().contains("says why"));
    let mut alone = Screen::headless(Fake::alone(4), 80, 24, FULL);
    assert!(alone.keys("j").text().contains("n  goes on to the next layer"), "{}", alone.text());
}

#[test]
fn what_lies_ahead_stands_at_the_top_until_it_is_met() {
    let top = |screen: &mut Screen<Fake>, keys: &str| {
        screen.keys(keys).text().lines().next().map(str::to_string).unwrap_or_default()
    };
    let outlook = |verdict: &str, place: Option<&str>, agrees| Outlook {
        verdict: verdict.into(),
        place: place.map(String::from),
        stops: place.is_some(),
        agrees,
    };
    let mut wrong = screen(80, 24, "");
    wrong.ahead(outlook("first divergence", Some("2.q_rope"), false));
    for (keys, expected) in [
        ("", "first divergence: 2.q_rope (c goes there)"),
        ("s", "first divergence: 2.q_rope (c goes there)"),
        ("c", "DIVERGED here"),
        ("s", "DIVERGED at 2.q_rope"),
        // The dumps are not what they were: nothing is known until they are compared again.
        ("r", "first divergence: 2.q_rope (c goes there)"),
        ("R", "comparing the dumps"),
    ] {
        assert!(top(&mut wrong, keys).contains(expected), "{keys}: {}", wrong.text());
    }
    let mut named = screen(80, 24, "");
    named.ahead(outlook("mislabelled", Some("2.q_rope"), false));
    assert!(top(&mut named, "").contains("mislabelled: 2.q_rope (c goes there)"), "{}", named.text());
    assert!(top(&mut named, "c").ends_with("mislabelled: 2.q_rope"), "not a wrong value: {}", named.text());
    let mut right = screen(80, 24, "");
    right.ahead(outlook("match", None, true));
    assert!(top(&mut right, "").ends_with("match") && top(&mut right, "s").ends_with("match"), "{}", right.text());
}

#[test]
fn a_divergence_begins_with_the_difference_where_it_is_worst() {
    for (keys, words) in [
        ("c", "candidate−reference"),
        ("c", "head 2 of 9"),
        ("ct", "candidate/reference"),
        ("ctt", "▪ program"),
        ("c]", "head 3 of 9"),
        ("c:show engine<ret>", "engine"),
        // Elsewhere, nothing is chosen.
        ("cs", "head 0 of 3"),
        ("cs", "engine"),
        ("g2.q_proj<ret>", "engine"),
    ] {
        let text = screen(110, 30, keys).text();
        assert!(
            text.contains(words) || text.contains(&words.replace('−', " − ").replace('/', " / ")),
            "{keys}: {words}: {text}"
        );
    }
}

#[test]
fn a_head_that_is_not_there_is_refused() {
    let text = |keys: &str| screen(110, 30, keys).text();
    assert!(text("c:head 99<ret>").contains("there is no head 99: the 9 heads are 0 to 8"));
    assert!(text("c:head 8<ret>").contains("head 8 of 9"));
    assert!(text("c99]").contains("head 8 of 9"), "keys stop at the last");
    assert!(text("c:token 99<ret>").contains("token 99 is not fed here: this forward has 0 to 4"));
    assert!(!text("c:token 4<ret>99{99}").contains("not fed here"));
}

#[test]
fn other_layers_are_looked_at_without_going_there() {
    let text = |keys: &str| screen(110, 30, keys).text();
    assert!(text("cv").contains("3.self_attn.q_rope") && text("cv").contains("at 2.q_rope"), "{}", text("cv"));
    assert!(text("cVV").contains("0.self_attn.q_rope") && text("c9V").contains("0.self_attn.q_rope"));
    assert!(text("c:layer 99<ret>").contains("there is no layer 99: the layers are 0 to 29"));
    assert!(text("ca").contains("the attention of layer 2 is not computed yet: Enter computes"), "{}", text("ca"));
    assert!(text("ca<ret>").contains("at 2.probs"), "{}", text("ca<ret>"));
    assert!(text("glm_head<ret>a").contains("29.probs") && text("glm_head<ret>aV").contains("28.probs"));
}

#[test]
fn pasted_lines_are_obeyed_one_by_one() {
    let mut screen = screen(100, 30, "");
    for (keys, pasted, words) in [
        ("", "step 2\rgoto 1.probs\r\n\n", ["at 1.probs", "▪ program"]),
        // What is not ended is typed, no more.
        ("", "step\ngoto 2.q_pr", ["at 1.context", ":goto 2.q_pr"]),
        ("oj<ret>", "", ["at 2.q_proj", "▪ program"]),
        (":goto ", "norm\nstep\n", ["at lm_head", "▪ program"]),
        (":<up><up>", "", ["at lm_head", ":goto norm"]),
        // The first that fails ends it.
        ("<esc>", "nonsense\nrestart\n", ["there is no command nonsense", "at lm_head"]),
    ] {
        let text = screen.keys(keys).paste(pasted).text();
        for words in words {
            assert!(text.contains(words), "{keys} {pasted:?}: {words}: {text}");
        }
    }
}
