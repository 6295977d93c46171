//! Whatever is typed, clicked and scrolled is recorded as lines, and the lines alone give the same screen.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;

use layerstep::debugger::Command;
use layerstep::debugger::view::{Curve, Header, Listing, Page, PageRequest, Stop};
use layerstep::session::Backend;
use layerstep::tui::Screen;
use proptest::prelude::*;
use ratatui::crossterm::event::MouseEventKind;

use super::anything::KEYS;
use super::fake::Fake;
use super::player::recording;
use super::support::sessions::{Plain, demo};
use super::{FULL, click};

/// Keeps every line that reaches the debugger beneath it.
pub(super) struct Recorder<B> {
    backend: B,
    lines: Rc<RefCell<Vec<String>>>,
}

impl<B: Backend> Backend for Recorder<B> {
    fn execute(
        &mut self,
        command: &Command,
        line: &str,
        interrupt: &AtomicBool,
        progress: &mut dyn FnMut(Listing),
    ) -> Result<Stop, String> {
        self.lines.borrow_mut().push(line.to_string());
        self.backend.execute(command, line, interrupt, progress)
    }

    fn header(&self) -> Header {
        self.backend.header()
    }

    fn listing(&self) -> Listing {
        self.backend.listing()
    }

    fn page(&self, request: &PageRequest) -> Result<Page, String> {
        self.backend.page(request)
    }

    fn curve(&self) -> Curve {
        self.backend.curve()
    }

    fn obeyed(&mut self, line: &str) {
        self.lines.borrow_mut().push(line.to_string());
    }

    fn reset(&mut self) -> Result<(), String> {
        self.lines.borrow_mut().push("(reset)".to_string());
        self.backend.reset()
    }

    fn replayed(&mut self) -> Option<String> {
        self.backend.replayed()
    }

    fn live(&mut self) {
        self.lines.borrow_mut().push("(live)".to_string());
    }
}

impl<B: Backend> Recorder<B> {
    /// One with the list that its lines are kept in.
    pub(super) fn new(backend: B) -> (Self, Rc<RefCell<Vec<String>>>) {
        let lines = Rc::new(RefCell::new(Vec::new()));
        (Self { backend, lines: Rc::clone(&lines) }, lines)
    }
}

/// A screen that is recorded, and the lines so far.
fn recorded<B: Backend>(backend: B, (columns, rows): (u16, u16)) -> (Screen<Recorder<B>>, Rc<RefCell<Vec<String>>>) {
    let (recorder, lines) = Recorder::new(backend);
    (Screen::headless(recorder, columns, rows, FULL), lines)
}

fn lines(keys: &str) -> Vec<String> {
    let (mut screen, lines) = recorded(Fake::new(4), (80, 24));
    screen.keys(keys);
    lines.take()
}

#[test]
fn keys_are_recorded_as_what_they_did() {
    for (keys, expected) in [
        ("s2n", "step; next 2"),
        ("bg1.scores<ret>", "toggle embed_tokens; goto 1.scores"),
        (":goto norm<ret>:nonsense<ret>:<ret>g<ret>gq<esc>", "goto norm"),
        ("jj<ret>j<ret>", "down; down; enter; down; goto 1.input_layernorm"),
        ("cd<ret>G<ret>d", "continue; diagnose 2.q_rope; try 1; edge bottom; enter; escape"),
        ("?jjq", "help; down; down; escape"),
        ("?:pane lens<ret>", "help; escape; pane lens"),
        ("i<esc><esc>z<esc>", "information; escape; zoom; escape"),
        ("/k_rope<ret>/<ret>", "search k_rope; search k_rope"),
        ("/q_r<tab><tab><ret>", "select 2.q_rope"),
        ("/q_r<esc>/nonsense<ret>", ""),
        (":search rope<ret>", "search rope"),
        ("glm_head<ret>L3k<ret>", "goto lm_head; pane lens; up 3; goto 1"),
        ("y", "yank embed_tokens"),
        ("éé<C-z>:source no such file<ret>q", ""),
    ] {
        assert_eq!(lines(keys).join("; "), expected, "{keys}");
    }
}

#[test]
fn the_mouse_is_recorded_as_lines() {
    let check = |keys: &str, kind, column, row, expected: &str| {
        let (mut screen, lines) = recorded(Fake::new(4), (132, 40));
        screen.keys(keys);
        lines.borrow_mut().clear();
        screen.mouse(kind, column, row);
        assert_eq!(lines.borrow().join("; "), expected, "{}", screen.text());
    };
    check("", click(), 5, 2, "");
    check("", click(), 5, 3, "select layer 0");
    check("jj", click(), 5, 4, "enter");
    check("jl", click(), 5, 5, "select 0.q_proj");
    check("", click(), 60, 5, "focus tensor");
    check("", MouseEventKind::ScrollDown, 60, 5, "scroll tensor down 3");
    check("", MouseEventKind::ScrollLeft, 5, 5, "scroll program left 3");
    check("c", MouseEventKind::ScrollUp, 120, 35, "scroll program up 3");
    check("?", MouseEventKind::ScrollDown, 5, 5, "down 3");
    check("?", click(), 5, 5, "escape");
    check("/rope", click(), 60, 5, "search rope");
    check("glm_head<ret>L", click(), 60, 4, "scroll lens up 4");
    check("glm_head<ret>L<home>", click(), 60, 3, "");
}

#[test]
fn a_script_is_recorded_by_its_lines() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("some.txt");
    std::fs::write(&file, "# the way to the divergence\ncontinue\n\npane lens\nnonsense\nstep\n").expect("written");
    let path = file.to_str().expect("a name");
    let source = format!(":source {path}<ret>");
    assert_eq!(lines(&source).join("; "), format!("# source {path}; continue; pane lens"));
}

/// What is used: a key or several; the mouse somewhere.
#[derive(Clone, Debug)]
enum Use {
    Keys(usize),
    Mouse(MouseEventKind, u16, u16),
    Paste,
    Changed,
}

impl Use {
    fn on<B: Backend>(&self, screen: &mut Screen<B>) {
        match self {
            Self::Keys(key) => screen.keys(KEYS[*key]),
            Self::Mouse(kind, column, row) => screen.mouse(*kind, *column, *row),
            Self::Paste => screen.paste("a\u{1b}b\n2.q"),
            Self::Changed => screen.changed(),
        };
    }
}

fn uses() -> impl Strategy<Value = Vec<Use>> {
    let place = || (0u16..140, 0u16..45);
    let one = prop_oneof![
        8 => (0..KEYS.len()).prop_map(Use::Keys),
        3 => place().prop_map(|(column, row)| Use::Mouse(click(), column, row)),
        1 => place().prop_map(|(column, row)| Use::Mouse(MouseEventKind::ScrollDown, column, row)),
        1 => place().prop_map(|(column, row)| Use::Mouse(MouseEventKind::ScrollUp, column, row)),
        1 => place().prop_map(|(column, row)| Use::Mouse(MouseEventKind::ScrollRight, column, row)),
        1 => Just(Use::Paste),
        1 => Just(Use::Changed),
    ];
    proptest::collection::vec(one, 1..60)
}

const SIZES: [(u16, u16); 4] = [(80, 24), (132, 40), (40, 12), (18, 4)];

/// Uses a screen that is recorded, obeys the lines on another one, and compares.
fn check<B: Backend>(make: impl Fn() -> B, size: (u16, u16), uses: &[Use]) {
    let (mut screen, lines) = recorded(make(), size);
    for one in uses {
        one.on(&mut screen);
    }
    // What is half typed was not meant yet; a message goes with the next key.
    screen.keys("<esc>é");
    let lines = lines.take();
    let mut again = Screen::headless(make(), size.0, size.1, FULL);
    for line in &lines {
        again.obey(line);
    }
    again.keys("é");
    screen.redraw();
    again.redraw();
    let (text, expected) = (again.text(), screen.text());
    assert!(text == expected, "{}\n{text}\ninstead of\n{expected}", lines.join("; "));
    assert!(again.buffer() == screen.buffer(), "other styles after {}\n{text}", lines.join("; "));
}

/// Uses a screen, and plays what was recorded: to the end, to somewhere before, and to the end again.
fn check_player<B: Backend>(make: impl Fn() -> B, size: (u16, u16), uses: &[Use], part: usize) {
    let (mut screen, lines) = recorded(make(), size);
    for one in uses {
        one.on(&mut screen);
    }
    screen.keys("<esc>é");
    let lines = lines.take();
    let mut before = Screen::headless(make(), size.0, size.1, FULL);
    let part = part.min(lines.len());
    for line in &lines[..part] {
        before.obey(line);
    }
    let mut player = Screen::replaying(make(), size.0, size.1, FULL, recording(&lines));
    player.played(lines.len());
    same(&mut player, &mut screen, &lines);
    player.played(part);
    same(&mut player, &mut before, &lines[..part]);
    player.played(lines.len());
    same(&mut player, &mut screen, &lines);
}

/// Nothing but the bottom line, where the player says where it stands, is another.
fn same<A: Backend, B: Backend>(player: &mut Screen<A>, screen: &mut Screen<B>, lines: &[String]) {
    let (text, expected) = (player.keys("é").redraw().text(), screen.keys("é").redraw().text());
    let panes = |text: &str| text.lines().rev().skip(1).map(str::to_string).collect::<Vec<_>>();
    assert!(panes(&text) == panes(&expected), "{}\n{text}\ninstead of\n{expected}", lines.join("; "));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_player_shows_what_was_recorded_and_goes_back(
        size in 0..3usize, uses in uses(), part in 0..40usize
    ) {
        check_player(|| Fake::new(4), SIZES[size], &uses, part);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_lines_give_the_same_screen(size in 0..SIZES.len(), uses in uses()) {
        check(|| Fake::new(4), SIZES[size], &uses);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 15, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_lines_give_the_same_screen_of_the_demo(size in 0..SIZES.len(), uses in uses()) {
        check(|| Plain(demo()), SIZES[size], &uses);
    }
}
