//! Any keys at any size: nothing breaks the screen.

use layerstep::tui::Screen;
use proptest::prelude::*;
use ratatui::crossterm::event::MouseEventKind;

use super::fake::Fake;
use super::{FULL, PLAIN, click};

#[test]
fn every_size_can_be_drawn() {
    for theme in [FULL, PLAIN] {
        let mut screen = Screen::headless(Fake::new(30), 80, 24, theme);
        for keys in [
            "c<tab>",
            "jjl",
            "g2.scores<ret>",
            "?",
            "<esc>i",
            "<esc>g2.q",
            "<esc>gnonsense<ret>",
            "rcd",
            "<ret>",
            "<esc>H]",
            "Kj",
            "oj",
            "m",
            "glm_head<ret>L",
            "K",
            "a",
            "ww",
            "L",
        ] {
            screen.keys(keys);
            for columns in (1..=250).step_by(13).chain([2, 19, 20, 59, 60, 89, 90, 119, 120]) {
                for rows in (1..=80).step_by(9).chain([4, 5, 14, 15, 22, 24]) {
                    screen.resize(columns, rows);
                }
            }
        }
    }
}

pub(super) const KEYS: &[&str] = &[
    "s",
    "S",
    "n",
    "N",
    "f",
    "c",
    "b",
    "g",
    "R",
    "r",
    "e",
    "d",
    "j",
    "k",
    "h",
    "l",
    "t",
    "T",
    "[",
    "]",
    "/",
    "?",
    "i",
    "B",
    "0",
    "9",
    "$",
    "G",
    "<tab>",
    "<ret>",
    "<esc>",
    "<pgup>",
    "<pgdn>",
    "<home>",
    "<end>",
    "<up>",
    "<left>",
    "<backspace>",
    "2.q",
    "layers",
    "é",
    "日",
    "<C-u>",
    "<C-w>",
    "<del>",
    "<space>",
    "<backtab>",
    "a",
    "L",
    "K",
    "H",
    "o",
    "m",
    "w",
    "z",
    "{",
    "}",
    "+",
    "-",
    "glm_head<ret>",
    ":follow 日本<ret>",
    ":follow 314<ret>",
    "<M-2>",
    "/q_r<tab><ret>",
    "/rope<ret>",
    ":source no such file<ret>",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn no_keys_break_it(keys in proptest::collection::vec((0..KEYS.len(), 0u16..250, 0u16..80), 1..60)) {
        let mut screen = Screen::headless(Fake::new(4), 80, 24, FULL);
        for (key, column, row) in keys {
            screen.keys(KEYS[key]);
            match (column + row) % 9 {
                0 => { screen.mouse(click(), column, row); }
                1 => { screen.mouse(MouseEventKind::ScrollDown, column, row); }
                2 => { screen.mouse(MouseEventKind::ScrollUp, column, row); }
                3 => { screen.resize(column + 1, row + 1); }
                4 => { screen.paste("a\u{1b}b\n2.q"); }
                _ => {}
            }
        }
    }
}
