//! The experts of a layer, of tiny models with experts beside a dump that chooses others for one token.

use layerstep::tui::Screen;

use super::support::sessions::{Plain, changed, demo};
use super::{FULL, PLAIN};

#[test]
fn tokens_are_shown_with_their_experts_and_where_the_reference_chooses_others() {
    let session = changed("qwen3_moe", |name, mut values| {
        if name.ends_with("layers.0.mlp.routing") {
            // Token 4 goes to its two experts' neighbours.
            let row = values.index_axis(ndarray::Axis(0), 4).to_owned();
            let experts = row.len();
            for expert in 0..experts {
                values[[4, (expert + 1) % experts]] = row[expert];
            }
        }
        Some(values)
    });
    let mut screen = Screen::headless(Plain(session), 80, 24, FULL);
    screen.keys("g0.routing<ret>O");
    insta::assert_snapshot!("experts_80x24", screen.text());
}

#[test]
fn a_model_without_experts_says_so() {
    let mut screen = Screen::headless(Plain(demo()), 80, 24, PLAIN);
    screen.keys("O");
    assert!(screen.text().contains("this model has no experts"), "{}", screen.text());
}
