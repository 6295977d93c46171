//! Two dumps without their model on the screen: the demo's, of which the candidate turns q and k in the wrong pairs.

use layerstep::debugger::TwoDumps;
use layerstep::dump::{Options, Pair};
use layerstep::tui::Screen;

use crate::FULL;
use crate::support::repository;

fn screen(columns: u16, rows: u16) -> Screen<TwoDumps> {
    let file = |name: &str| repository(&format!("reference/demo/{name}.safetensors"));
    let open = move || {
        Pair::open(&file("reference"), &file("candidate"), &Options::default(), None)
            .map(|pair| (pair, None))
            .map_err(|error| error.to_string())
    };
    let (pair, _) = open().expect("the demo's dumps are dumps");
    let two = TwoDumps::new(pair, None, Some(Box::new(open))).expect("they can be read");
    let outlook = two.outlook();
    let mut screen = Screen::headless(two, columns, rows, FULL);
    screen.ahead(outlook);
    screen
}

#[test]
fn it_says_what_to_do_and_goes_to_the_difference() {
    let mut screen = screen(80, 24);
    insta::assert_snapshot!("two_dumps_start_80x24", screen.text());
    insta::assert_snapshot!("two_dumps_difference_80x24", screen.keys("c").text());
    insta::assert_snapshot!("two_dumps_why_80x24", screen.keys("d").text());
}

/// What is typed, one after the other, and what the screen then says somewhere.
#[test]
fn commands_without_an_engine() {
    const CASES: &[(&str, &[&str])] = &[
        ("step", &["at embed_tokens"]),
        ("goto 2.mlp", &["at 2.down_proj"]),
        ("goto 1.k_rope", &["at 1.k_rope"]),
        ("next", &["at 2.k_rope", "DIVERGED"]),
        ("next", &["at 3.k_rope"]),
        ("next", &["at norm"]),
        ("back next", &["at layer 3"]),
        ("finish", &["at lm_head"]),
        ("restart", &["not started"]),
        ("finish 2", &["at layer 1"]),
        ("continue", &["at 2.q_rope", "first divergence at 2.q_rope"]),
        ("continue", &["at 2.k_rope", "divergence at 2.k_rope"]),
        ("back continue", &["at 2.q_rope"]),
        ("until *.down_proj", &["at 2.down_proj"]),
        ("info divergences", &["2.q_rope: error 8.6e-1", "2.k_rope: error"]),
        ("info verdict", &["diverged: model.layers.2.self_attn.q_rope is the first", "compared without a model"]),
        ("escape", &["at 2.down_proj"]),
        ("goto 2.down_prj", &["neither dump has", "is it 2.down_proj?"]),
        ("patch 2.q_rope zero", &["this computes, and needs the model: layerstep debug MODEL"]),
        ("print rms(ref)", &["an expression needs the model"]),
        ("break *.probs", &["nothing runs here that could be stopped: c goes to the next difference"]),
        ("pane lens", &["the logit lens needs the model"]),
        ("pane tensor", &["at 2.down_proj"]),
        ("pane histogram", &["2.mlp.down_proj", "median channel"]),
        ("show difference", &["candidate − reference"]),
        ("reload", &["reloaded: diverged: "]),
        ("run", &["the end of the last forward"]),
        ("back forward 3", &["nothing lies before the first op"]),
    ];
    let mut screen = screen(100, 30);
    for (line, says) in CASES {
        screen.obey(line);
        let text = screen.text();
        for said in *says {
            let joined = text.split('\n').map(|line| line.trim_matches(['│', ' '])).collect::<Vec<_>>().join(" ");
            assert!(text.contains(said) || joined.contains(said), "{line}: no {said:?} in\n{text}");
        }
    }
}
