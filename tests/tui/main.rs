//! The screen without a terminal: keys in, glyphs and styles out.

mod anything;
mod experts;
#[expect(unreachable_pub, reason = "a test's modules have no readers outside")]
#[path = "../support/fake.rs"]
mod fake;
mod first;
mod panes;
mod player;
#[cfg(target_os = "linux")]
#[expect(unreachable_pub, reason = "a test's modules have no readers outside")]
#[path = "../support/pty.rs"]
mod pty;
mod recorded;
#[path = "../support/mod.rs"]
mod support;
#[cfg(target_os = "linux")]
mod terminal;
mod two_dumps;

use fake::Fake;
use layerstep::tui::{Colors, Palette, Screen, Theme};
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{MouseButton, MouseEventKind};
use ratatui::style::Color;

const FULL: Theme = Theme { palette: Palette::Dark, colors: Colors::Full, ascii: false };
const PLAIN: Theme = Theme { palette: Palette::Dark, colors: Colors::None, ascii: true };

fn screen(columns: u16, rows: u16, keys: &str) -> Screen<Fake> {
    let mut screen = Screen::headless(Fake::new(30), columns, rows, FULL);
    screen.keys(keys);
    screen
}

fn click() -> MouseEventKind {
    MouseEventKind::Down(MouseButton::Left)
}

const LETTERS: [char; 26] = [
    'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p', 'q', 'r', 's', 't', 'u', 'v', 'w',
    'x', 'y', 'z',
];

/// A letter for each style, and what the letters mean; all shades of a heatmap are one.
fn styles(buffer: &Buffer) -> String {
    let mut known: Vec<String> = Vec::new();
    let mut dump = String::new();
    for row in buffer.content.chunks(usize::from(buffer.area.width)) {
        for cell in row {
            let color = |color: Color| if matches!(color, Color::Rgb(..)) { "heat".into() } else { format!("{color}") };
            let style = format!("{} on {} {:?}", color(cell.fg), color(cell.bg), cell.modifier);
            let index = known.iter().position(|other| *other == style).unwrap_or_else(|| {
                known.push(style);
                known.len() - 1
            });
            dump.push(LETTERS[index % LETTERS.len()]);
        }
        dump.push('\n');
    }
    for (index, style) in known.iter().enumerate() {
        dump.extend([LETTERS[index % LETTERS.len()], ' ']);
        dump.push_str(style);
        dump.push('\n');
    }
    dump
}

#[test]
fn the_start_at_80x24() {
    insta::assert_snapshot!(screen(80, 24, "").text());
}

#[test]
fn the_first_divergence_at_80x24() {
    let screen = screen(80, 24, "cc");
    insta::assert_snapshot!("divergence_80x24", screen.text());
    insta::assert_snapshot!("divergence_80x24_styles", styles(screen.buffer()));
}

#[test]
fn every_look_has_its_styles() {
    let look = |palette, colors, keys: &str| {
        let mut screen = Screen::headless(Fake::new(30), 80, 24, Theme { palette, colors, ascii: false });
        styles(screen.keys(keys).buffer())
    };
    insta::assert_snapshot!("styles_light", look(Palette::Light, Colors::Full, "cc"));
    insta::assert_snapshot!("styles_high_contrast", look(Palette::HighContrast, Colors::Full, "cc"));
    insta::assert_snapshot!("styles_256", look(Palette::Dark, Colors::Indexed, "ce"));
    insta::assert_snapshot!("styles_16", look(Palette::Dark, Colors::Basic, "ce"));
    insta::assert_snapshot!("styles_no_color", look(Palette::Dark, Colors::None, "cc"));
    // No look changes what is written, and none but that of no colours how.
    let text = |palette, colors| {
        let mut screen = Screen::headless(Fake::new(30), 100, 30, Theme { palette, colors, ascii: false });
        screen.keys("cd").text()
    };
    for palette in [Palette::Light, Palette::HighContrast] {
        for colors in [Colors::Full, Colors::Indexed, Colors::Basic, Colors::None] {
            assert_eq!(text(palette, colors), text(Palette::Dark, colors));
        }
    }
}

#[test]
fn settings_are_changed_by_commands() {
    let mut screen = screen(80, 24, "c:set theme light<ret>");
    assert!(screen.text().contains("theme is light"));
    let mut untouched = Screen::headless(Fake::new(30), 80, 24, FULL);
    let light = Theme { palette: Palette::Light, ..FULL };
    let mut other = Screen::headless(Fake::new(30), 80, 24, light);
    assert_eq!(screen.keys("j").buffer(), other.keys("cj").buffer());
    assert_eq!(
        screen.keys(":set theme auto<ret>j").buffer(),
        untouched.keys("cjj").buffer(),
        "back to what was detected"
    );
    assert!(screen.keys(":set co<tab> 16<ret>").text().contains("colors is 16"));
    assert!(screen.keys(":set ascii on<ret>j").text().is_ascii());
    assert!(screen.keys(":set layout comparing<ret>").text().contains("layout is comparing"));
    assert!(screen.keys(":set mouse off<ret>").text().contains("mouse is off"));
    assert!(screen.keys(":set mouse maybe<ret>").text().contains("mouse takes off or on, not maybe"));
    assert!(screen.keys(":set nonsense<ret>").text().contains("set takes ascii, colors, layout, mouse or theme"));
}

#[test]
fn the_first_divergence_at_160x50() {
    insta::assert_snapshot!(screen(160, 50, "c").text());
}

#[test]
fn small_terminals_show_the_pane_that_has_the_keys() {
    insta::assert_snapshot!("small_program", screen(40, 12, "c").text());
    insta::assert_snapshot!("small_tensor", screen(40, 12, "c<tab>").text());
    assert_eq!(
        screen(19, 4, "c").text(),
        "DIVERGED at 2.q_ro…\n\n\n\n"
            .replace("DIVERGED at 2.q_ro…", screen(19, 4, "c").text().lines().next().unwrap_or(""))
    );
}

#[test]
fn the_errors_stand_in_the_place_of_the_tensor() {
    insta::assert_snapshot!("errors_80x24", screen(80, 24, "ce").text());
    insta::assert_snapshot!("errors_132x40", screen(132, 40, "cse").text());
    let mut plain = Screen::headless(Fake::new(30), 80, 24, PLAIN);
    insta::assert_snapshot!("errors_plain", plain.keys("ce").text());
    assert!(screen(110, 30, "cee").text().contains("head 2 of 9"));
    assert!(screen(80, 24, "ceG").text().contains("lm_head"), "ops of no layer are listed, too");
    let moved = screen(80, 24, "ce<tab>k");
    assert!(moved.text().contains("2.v_proj: "), "{}", moved.text());
    let mut alone = Screen::headless(Fake::alone(4), 80, 24, FULL);
    assert!(alone.keys("e").text().contains("nothing to compare with"));
}

#[test]
fn a_diagnosis_names_suspects_and_tries_them() {
    insta::assert_snapshot!("diagnosis_80x24", screen(80, 24, "cd").text());
    insta::assert_snapshot!("diagnosis_132x40", screen(132, 40, "cdj<ret>").text());
    let mut plain = Screen::headless(Fake::new(30), 80, 24, PLAIN);
    insta::assert_snapshot!("diagnosis_plain", plain.keys("cd<ret>").text());
    assert!(plain.text().is_ascii());

    let text = |keys: &str| screen(100, 30, keys).text();
    let off = text("cd");
    assert!(off.contains("▪ why 2.q_rope") && off.contains("Enter: try it"), "{off}");
    assert!(off.contains("d why"), "the key is named where an error is made: {off}");
    let on = text("cd<ret>");
    for words in ["at 2.q_rope   with rope_interleaved in layers 2, 5", "1 rope_interleaved ON", "engine with bug"] {
        assert!(on.contains(words), "{words}: {on}");
    }
    assert!(text("cd<ret><ret>").contains("our engine computes as the model says"));
    assert!(text("cd<ret>j<ret>").contains("2 rope_theta ON"));
    assert!(text("cdjj<ret>").contains("unknown cannot be tried"));
    assert!(text("cdG").contains("3 unknown") && !text("cdG").contains("Enter: try it"));
    for closed in ["cdd", "cd<esc>"] {
        assert!(!text(closed).contains("why 2.q_rope") && text(closed).contains("▪ program"), "{closed}");
    }
    assert!(text("cd<ret><esc>").contains("with rope_interleaved"), "what is on stays on");
    assert!(text("cd<ret><esc>ttttt").contains("cand−bug"), "{}", text("cd<ret><esc>ttttt"));
    assert!(text("cd<tab>").contains("▪ program") && text("cd<tab><tab><tab>").contains("▪ why"));
    assert!(text("csd").contains("nothing to diagnose"));
    assert!(screen(40, 12, "cd").text().contains("why 2.q_rope"));
    assert!(screen(40, 12, "cdd").text().contains("program"));
    let scrolled = screen(40, 12, "cdGjjjjjjjj").text();
    assert!(scrolled.contains("no known mistake"), "{scrolled}");
    let mut alone = Screen::headless(Fake::alone(4), 80, 24, FULL);
    assert!(alone.keys("sd").text().contains("nothing to diagnose"));
}

#[test]
fn a_reload_says_what_has_changed_and_moves_nothing() {
    let mut screen = screen(80, 24, "c]]g0.scores<ret>jj<tab>");
    let before = screen.text();
    // The message covers two rows above the keys.
    let body = |text: &str| text.lines().take(21).map(str::to_string).collect::<Vec<_>>();
    let reloaded = screen.keys("R").text();
    assert!(reloaded.contains(" reloaded candidate: 2.q_rope was bad, agrees now;"), "{reloaded}");
    assert!(
        reloaded.contains("moves from\n 2.q_rope to 5.down_proj"),
        "a second line where one is too short: {reloaded}"
    );
    assert_eq!(body(&reloaded), body(&before));
    screen.keys("<esc>");
    assert_eq!(screen.text(), before, "the message goes with the next key");
    assert!(screen.changed().text().contains("reloaded candidate"));
}

#[test]
fn nothing_is_lost_without_colours_and_unicode() {
    let mut screen = Screen::headless(Fake::new(30), 80, 24, PLAIN);
    screen.keys("cg2.v_proj<ret>");
    assert!(screen.text().is_ascii(), "{}", screen.text());
    insta::assert_snapshot!("plain_80x24", screen.text());
    assert!(screen.buffer().content.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
}

#[test]
fn help_and_information() {
    insta::assert_snapshot!("help", screen(80, 50, "?").text());
    insta::assert_snapshot!("information", screen(80, 24, "i").text());
    assert!(screen(80, 24, "?q").text().contains("program"));
    assert!(screen(80, 24, "?<end>").text().contains("relative L2"));
}

#[test]
fn steps_are_followed_by_the_selection() {
    let text = |keys: &str| screen(100, 30, keys).text();
    assert!(text("s").contains("at embed_tokens"));
    assert!(text("3s").contains("at 0.q_proj"));
    assert!(text("3sn").contains("at 1.q_proj"));
    assert!(text("3snN").contains("at 0.q_proj"));
    assert!(text("3sS").contains("at 0.input_layernorm"));
    assert!(text("3sf").contains("at layer 0"));
    assert!(text("cr").contains("not started"));
    assert!(text("S").contains("nothing lies before"));
    assert!(text("5g").contains("at layer 5"));
}

#[test]
fn breakpoints_stop_the_run() {
    let text = screen(80, 24, "g1.scores<ret>brc").text();
    assert!(text.contains("stopped at 1.scores by 1") && text.contains("●"), "{text}");
    assert!(screen(80, 24, "g1.scores<ret>b").text().contains("breakpoint set: 1.scores"));
    assert!(screen(80, 24, "g1.scores<ret>bb").text().contains("breakpoint cleared: 1.scores"));
    assert!(screen(80, 24, "B*.scores<ret>").text().contains("breakpoint 1: break *.scores (30 ops)"));
}

#[test]
fn clicks_into_the_errors_lead_to_their_layer_and_op() {
    let mut screen = screen(132, 40, "ce");
    let find = |screen: &Screen<Fake>, text: &str| {
        let lines: Vec<String> = screen.text().lines().map(str::to_string).collect();
        let right = |line: &String| line.chars().skip(42).collect::<String>();
        let row = lines.iter().position(|line| right(line).contains(text)).expect("a line");
        row as u16
    };
    let row = find(&screen, "v_proj    ");
    screen.mouse(click(), 60, row);
    assert!(screen.text().contains("2.v_proj: "), "{}", screen.text());
    let row = find(&screen, "v_proj    ");
    screen.mouse(click(), 60, row);
    assert!(screen.text().contains("at 2.v_proj"), "once more goes there: {}", screen.text());
    // A column of the chart: its labels stand below it.
    let row = find(&screen, " 0 2  5") - 2;
    screen.mouse(click(), 48, row);
    assert!(!screen.text().contains("2.v_proj: "), "another layer: {}", screen.text());
}

#[test]
fn every_answer_stands_in_the_log_once() {
    let text = screen(132, 40, "cb:break *.scores<ret>m").text();
    for answer in ["first divergence at 2.q_rope", "breakpoint set: 2.q_rope", "breakpoint 1: break *.scores"] {
        assert_eq!(text.matches(answer).count(), 1, "{answer}: {text}");
    }
}

#[test]
fn names_are_completed() {
    let text = screen(80, 24, "g1.q").text();
    assert!(text.contains("goto 1.q  1.q_proj  1.q_rope"), "{text}");
    assert!(screen(80, 24, "g1.q<tab><tab><tab><ret>").text().contains("at 1.q_rope"));
    let text = screen(80, 24, "gnonsense<ret>").text();
    assert!(text.contains("no activation is called nonsense"), "{text}");
    assert!(!screen(80, 24, "gnonsense<ret>j").text().contains("no activation"));
    assert!(screen(80, 24, "gq<esc>").text().contains("not started"));
}

#[test]
fn search_finds_the_next_and_cancelling_returns() {
    let selected = |keys: &str| {
        let screen = screen(80, 24, keys);
        let text = screen.text();
        let row = (1..23).find(|row| screen.buffer()[(10, *row)].modifier.contains(ratatui::style::Modifier::REVERSED));
        text.lines().nth(usize::from(row.unwrap_or(0))).unwrap_or("").to_string()
    };
    assert!(selected("/k_rope<ret>").contains("k_rope"));
    assert!(screen(80, 24, "/k_rope<ret>/<ret>").text().contains("▾ layer 1"));
    assert!(selected("/k_rope<esc>").contains("embed_tokens"));
    assert!(screen(80, 24, "/zzz<ret>").text().contains("no op is called like this: zzz"));
    assert!(selected("jj").contains("layer 1"));
    assert!(selected("jjl").contains("layer 1"));
    assert!(selected("jjlj").contains("input_layernorm"));
    assert!(selected("jjljh").contains("layer 1"));
    assert!(selected("G").contains("lm_head"));
    assert!(selected("2j<ret>").contains("layer 1"));
}

#[test]
fn the_tensor_scrolls_and_turns() {
    let text = |keys: &str| screen(110, 30, keys).text();
    assert!(text("c").contains("head 2 of 9"), "where it is worst");
    assert!(text("c]]").contains("head 4 of 9"));
    assert!(text("c99]").contains("head 8 of 9"));
    assert!(text("c99][").contains("head 7 of 9"));
    assert!(text("c<tab>3l").contains("head_dim 20-"), "{}", text("c<tab>3l"));
    assert!(text("c<tab>$").contains("-63 of 64"));
    assert!(text("c<tab>$0").contains("head_dim 0-"));
    assert!(text("c").contains("candidate − reference") || text("c").contains("cand−ref"));
    assert!(text("ctt").contains("engine") && text("cttt").contains("reference"));
    assert!(text("cttttt").contains("candidate − reference") || text("cttttt").contains("cand−ref"));
    assert!(text("c99]j").contains("kv_head 2 of 3") || text("c99]s").contains("kv_head 2 of 3"));
}

#[test]
fn the_mouse_selects_opens_and_scrolls() {
    let mut screen = screen(100, 30, "s");
    screen.mouse(click(), 5, 4);
    assert!(screen.text().contains("▸ layer 1"));
    screen.mouse(click(), 5, 4);
    assert!(screen.text().contains("▾ layer 1"), "{}", screen.text());
    screen.mouse(click(), 70, 4).keys("t");
    assert!(screen.text().contains("▪"), "{}", screen.text());
    for _ in 0..50 {
        screen.mouse(MouseEventKind::ScrollDown, 5, 4);
    }
    assert!(screen.text().contains("lm_head"));
}

#[test]
fn a_panic_of_the_debugger_is_a_sentence() {
    let text = screen(100, 30, "sgpanic<ret>").text();
    assert!(text.contains("this is a bug in layerstep"), "{text}");
}

#[test]
fn nothing_quits_by_accident() {
    assert!(screen(80, 24, "q").has_quit());
    assert!(screen(80, 24, "<C-c>").has_quit());
    assert!(!screen(80, 24, "?q").has_quit());
    assert!(!screen(80, 24, "gq<esc>").has_quit());
    let mut pasted = screen(80, 24, "");
    assert!(!pasted.paste("sqc").has_quit());
    assert!(pasted.text().contains("not started"));
}

#[test]
fn a_resize_loses_nothing() {
    let mut screen = screen(160, 50, "c]]<tab>3l");
    let before = screen.text();
    for (columns, rows) in [(1, 1), (80, 24), (40, 12), (200, 60), (19, 4)] {
        screen.resize(columns, rows);
    }
    assert_eq!(screen.resize(160, 50).text(), before);
}

#[test]
fn a_model_without_dumps_or_layers_can_be_looked_at() {
    let mut alone = Screen::headless(Fake::alone(4), 80, 24, FULL);
    alone.keys("3s");
    insta::assert_snapshot!("alone_80x24", alone.text());
    Screen::headless(Fake::new(0), 80, 24, FULL).keys("jkslhnNfcgG<ret>bt[]?i<esc>/x<ret>");
}
