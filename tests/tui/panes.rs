//! Every pane at the sizes people have, with all colours and with none: a row of the table each.

use layerstep::tui::Screen;
use ratatui::style::Color;

use super::fake::Fake;
use super::{FULL, PLAIN, styles};

/// What is looked at, and the keys that lead there.
const PANES: &[(&str, &str)] = &[
    ("program", "cg2.v_proj<ret>b"),
    ("tensor", "cg2.v_proj<ret><M-2>lj"),
    ("histogram", "cH"),
    ("histogram_of_a_head", "g2.v_proj<ret>Hg2.q_rope<ret>]]]"),
    ("attention", "glm_head<ret>ajjlllll"),
    ("attention_not_computed", "ca"),
    ("divergence", "ce"),
    ("divergence_alone", "cez"),
    ("lens", "glm_head<ret>L"),
    ("lens_scrolled", "glm_head<ret>Lt<pgup>kk"),
    ("lens_of_another_token", "c:follow 314<ret>L{"),
    ("cache", "glm_head<ret>Kjl"),
    ("cache_half_filled", "cKt"),
    ("tokens", "co{"),
    ("diagnosis", "cd"),
    ("log", "c:goto nonsense<ret>:info model<ret><esc>m"),
    ("help", "?"),
    ("information", "i"),
    ("completions", "cg2.q"),
    ("layout_of_attention", "glm_head<ret>ww"),
];

#[test]
fn every_pane_looks_as_it_did() {
    for (name, keys) in PANES {
        for (columns, rows) in [(80, 24), (160, 50)] {
            let mut screen = Screen::headless(Fake::new(30), columns, rows, FULL);
            screen.keys(keys);
            let looks = format!("{}\n{}", screen.text(), styles(screen.buffer()));
            insta::assert_snapshot!(format!("{name}_{columns}x{rows}"), looks);
        }
    }
}

#[test]
fn no_pane_needs_colours_or_unicode() {
    for (name, keys) in PANES {
        for (columns, rows) in [(80, 24), (160, 50)] {
            let mut screen = Screen::headless(Fake::new(30), columns, rows, PLAIN);
            let text = screen.keys(keys).text();
            assert!(text.is_ascii(), "{name}: {text}");
            let colourless = |color: Color| color == Color::Reset;
            let cells = &screen.buffer().content;
            assert!(cells.iter().all(|cell| colourless(cell.fg) && colourless(cell.bg)), "{name} has colours: {text}");
            if columns == 80 {
                insta::assert_snapshot!(format!("{name}_plain"), text);
            }
        }
    }
}

#[test]
fn the_lens_goes_to_ops_and_follows_tokens() {
    let text = |keys: &str| {
        let mut screen = Screen::headless(Fake::new(30), 132, 40, FULL);
        screen.keys(keys);
        screen.text()
    };
    assert!(text("glm_head<ret>L5k<ret>").contains("at layer 25"));
    assert!(text("glm_head<ret>L<home><ret>").contains("at embed_tokens"));
    assert!(text("glm_head<ret>L:follow 314<ret>").contains("follows #314"));
    assert!(text("glm_head<ret>L:follow Paris<ret>").contains("follows \" Paris\""));
    assert!(text("glm_head<ret>L:follow nothing<ret>").contains("no token on the screen is nothing"));
    assert!(text("glm_head<ret>Ltj").contains("reference does not have layer 5"));
    assert!(text("L").contains("not computed yet"));
    let mut screen = Screen::headless(Fake::new(30), 132, 40, FULL);
    screen.keys("glm_head<ret>L").mouse(super::click(), 50, 4);
    assert!(screen.keys("<ret>").text().contains("at layer 0"), "{}", screen.text());
}

#[test]
fn the_histogram_is_of_all_heads_or_one() {
    let text = |keys: &str| {
        let mut screen = Screen::headless(Fake::new(30), 132, 40, FULL);
        screen.keys(keys);
        screen.text()
    };
    assert!(text("cH").contains("all 9 heads [ ]"));
    assert!(text("cH]").contains("head 0 of 9"));
    assert!(text("cH]]").contains("head 1 of 9"));
    assert!(text("cH99]").contains("head 8 of 9"));
    assert!(text("cH]][[").contains("all 9 heads"));
    assert!(text("g2.v_proj<ret>H").contains("nan 2  inf 1"));
    assert!(!text("g2.v_proj<ret>H").contains("heads ["));
}

#[test]
fn the_cache_shows_layers_and_heads() {
    let text = |keys: &str| {
        let mut screen = Screen::headless(Fake::new(30), 132, 40, FULL);
        screen.keys(keys);
        screen.text()
    };
    assert!(text("K").contains("nothing written yet"));
    assert!(text("cK").contains("filled to layer 1 of 30"));
    assert!(text("glm_head<ret>K").contains("all 30 layers filled"));
    assert!(text("cK").contains("layer 2 kv head 0 of 3") && text("cKk").contains("layer 1 kv head 0 of 3"));
    assert!(text("cKkl").contains("layer 1 kv head 1 of 3  read by heads 3-5"));
    assert!(text("cK99l").contains("kv head 2 of 3") && text("cK99lh").contains("kv head 1 of 3"));
    assert!(text("cK").contains("[keys]") && text("cKt").contains("[values]"));
    assert!(text("glm_head<ret>K").contains("8.7e-1"));
}

#[test]
fn the_tokens_scroll_and_one_is_chosen() {
    let text = |keys: &str| {
        let mut screen = Screen::headless(Fake::new(30), 132, 14, FULL);
        screen.keys(keys);
        screen.text()
    };
    assert!(text("co").contains("│>  4"), "{}", text("co"));
    assert!(text("co{").contains("│>  3"));
    assert!(text("co").contains("prefill") && text("coj").contains("decode 1"), "{}", text("coj"));
}
