//! The commands that only a screen obeys.

use super::super::argument::Arguments;
use super::super::spec::{Completes, Group, Key, Spec};
use super::super::words::{DIRECTIONS, WHOSE, mark, played, scrolled, slice, speed};
use super::super::{Command, Direction, Extent, Layout, Pane, SETTINGS, ScreenCommand};
use super::{PLAIN, hint, key};

const OF_SCREEN: Spec = Spec { group: Group::Screen, ..PLAIN };
const OF_RECORDING: Spec = Spec { group: Group::Replaying, ..PLAIN };

const fn scroll(
    name: &'static str,
    keys: &'static [Key],
    doc: &'static str,
    parse: fn(&Arguments) -> Result<Command, String>,
) -> Spec {
    Spec { name, keys, doc, parse, arguments: "[N]", takes_count: true, ..OF_SCREEN }
}

/// All of them.
#[rustfmt::skip]
pub(super) const SCREEN: &[Spec] = &[
    scroll("down", &[key("j", "down"), key("down", "down")], "Move the selection, or scroll; 10j moves ten.", |a| scrolled(a, Direction::Down)),
    scroll("up", &[key("k", "up"), key("up", "up")], "The same, upwards.", |a| scrolled(a, Direction::Up)),
    scroll("left", &[key("h", "left"), key("left", "left")], "Close the layer, or scroll the numbers.", |a| scrolled(a, Direction::Left)),
    scroll("right", &[key("l", "right"), key("right", "right")], "Open the layer, or scroll the numbers.", |a| scrolled(a, Direction::Right)),
    Spec {
        name: "page", arguments: "down|up [N]", takes_count: false, completes: Completes::Words(&["down", "up"]),
        keys: &[key("pgdn", "page down"), key("C-d", "page down"), key("pgup", "page up"), key("C-u", "page up")],
        doc: "A page down or up.",
        examples: &["page down"],
        parse: |a| {
            let (direction, rest) = a.choice(&[("down", Direction::Down), ("up", Direction::Up)])?;
            Ok(Command::Screen(ScreenCommand::Scroll(direction, Extent::Page, rest.count()?)))
        }, ..OF_SCREEN
    },
    Spec {
        name: "edge", arguments: "top|bottom|left|right", completes: Completes::Words(&["top", "bottom", "left", "right"]),
        keys: &[key("home", "edge top"), key("end", "edge bottom"), key("G", "edge bottom"), key("0", "edge left"), key("^", "edge left"), key("$", "edge right")],
        doc: "To the first or last row or column.",
        examples: &["edge bottom"],
        parse: |a| {
            let edges = [("top", Direction::Up), ("bottom", Direction::Down), ("left", Direction::Left), ("right", Direction::Right)];
            let (direction, rest) = a.choice(&edges)?;
            rest.none().map(|()| Command::Screen(ScreenCommand::Scroll(direction, Extent::End, 1)))
        }, ..OF_SCREEN
    },
    Spec {
        name: "scroll", arguments: "PANE down|up|left|right [N]", completes: Completes::Words(Pane::SHOWN),
        doc: "Scroll a pane, whether it has the keys or not, as the wheel does.",
        examples: &["scroll lens up 3"],
        parse: |a| {
            let (pane, rest) = a.choice(Pane::NAMED)?;
            let (direction, rest) = rest.choice(DIRECTIONS)?;
            Ok(Command::Screen(ScreenCommand::ScrollPane(pane, direction, rest.count()?)))
        }, ..OF_SCREEN
    },
    Spec {
        name: "enter", keys: &[key("ret", "enter"), key("space", "enter")],
        doc: "Go to the selected op, open the layer, or try the suspect.",
        parse: |a| a.none().map(|()| Command::Screen(ScreenCommand::Enter)), ..OF_SCREEN
    },
    Spec {
        name: "focus", arguments: "N|next|previous|PANE", completes: Completes::Words(&["next", "previous"]),
        keys: &[
            hint("tab", "focus next", "pane"), key("backtab", "focus previous"),
            key("M-1", "focus 1"), key("M-2", "focus 2"), key("M-3", "focus 3"), key("M-4", "focus 4"),
        ],
        doc: "Give the keys to another pane: the next one, or by its number on the screen, or its name.",
        examples: &["focus 2", "focus tensor"],
        parse: |a| {
            if let Some((_, pane)) = Pane::NAMED.iter().find(|(name, _)| *name == a.text) {
                return Ok(Command::Screen(ScreenCommand::FocusOn(*pane)));
            }
            let next = Arguments { text: "next", ..*a };
            let count = if a.text.is_empty() { next.to_or_on() } else { a.to_or_on() };
            Ok(Command::Screen(ScreenCommand::Focus(count?)))
        }, ..OF_SCREEN
    },
    Spec {
        name: "pane", arguments: "NAME", completes: Completes::Words(Pane::SHOWN),
        keys: Pane::KEYS, doc: Pane::DOC,
        examples: &["pane attention", "pane histogram"],
        parse: |a| {
            let (pane, rest) = a.choice(Pane::NAMED)?;
            rest.none().map(|()| Command::Screen(ScreenCommand::Pane(pane)))
        }, ..OF_SCREEN
    },
    Spec {
        name: "layout", arguments: "[stepping|comparing|attention]", completes: Completes::Words(&["stepping", "comparing", "attention"]),
        keys: &[key("w", "layout")],
        doc: "Arrange the panes; without a name, the next way.",
        examples: &["layout comparing"],
        parse: |a| {
            if a.text.is_empty() {
                return Ok(Command::Screen(ScreenCommand::Layout(None)));
            }
            let (layout, rest) = a.choice(Layout::NAMED)?;
            rest.none().map(|()| Command::Screen(ScreenCommand::Layout(Some(layout))))
        }, ..OF_SCREEN
    },
    Spec {
        name: "zoom", keys: &[key("z", "zoom")],
        doc: "Show the pane that has the keys alone, or all again.",
        parse: |a| a.none().map(|()| Command::Screen(ScreenCommand::Zoom)), ..OF_SCREEN
    },
    Spec {
        name: "resize", arguments: "wider|narrower [N]", completes: Completes::Words(&["wider", "narrower"]),
        keys: &[key("+", "resize wider"), key("-", "resize narrower")],
        doc: "Make the pane that has the keys larger or smaller.",
        examples: &["resize wider 4"],
        parse: |a| {
            let (sign, rest) = a.choice(&[("wider", 1), ("narrower", -1)])?;
            Ok(Command::Screen(ScreenCommand::Resize(rest.count()?.cast_signed() * sign)))
        }, ..OF_SCREEN
    },
    Spec {
        name: "head", arguments: "N|next|previous", completes: Completes::Words(&["next", "previous"]),
        keys: &[key("]", "head next"), key("[", "head previous")],
        doc: "Show another head.",
        examples: &["head 3", "head next"],
        parse: |a| Ok(Command::Screen(ScreenCommand::Head(a.to_or_on()?))), ..OF_SCREEN
    },
    Spec {
        name: "layer", arguments: "N|next|previous", completes: Completes::Words(&["next", "previous"]),
        keys: &[key("v", "layer next"), key("V", "layer previous")],
        doc: "Look at another layer, without going there: its attention, or the same op.",
        examples: &["layer 5", "layer next"],
        parse: |a| Ok(Command::Screen(ScreenCommand::Layer(a.to_or_on()?))), ..OF_SCREEN
    },
    Spec {
        name: "token", arguments: "N|next|previous", completes: Completes::Words(&["next", "previous"]),
        keys: &[key("}", "token next"), key("{", "token previous")],
        doc: "Choose another token: the query of the attention pane, the position of the lens.",
        examples: &["token 0", "token previous"],
        parse: |a| Ok(Command::Screen(ScreenCommand::Token(a.to_or_on()?))), ..OF_SCREEN
    },
    Spec {
        name: "show", arguments: "engine|reference|candidate|difference|ratio|next|previous",
        completes: Completes::Words(&["engine", "reference", "candidate", "difference", "ratio", "next", "previous"]),
        keys: &[hint("t", "show next", "who"), key("T", "show previous")],
        doc: "Show the values of the engine, the reference or the candidate, their difference or ratio.",
        examples: &["show candidate", "show difference"],
        parse: |a| {
            let (whose, rest) = a.choice(WHOSE)?;
            rest.none().map(|()| Command::Screen(ScreenCommand::Show(whose)))
        }, ..OF_SCREEN
    },
    Spec {
        name: "slice", arguments: "[HEAD, TOKEN, CHANNEL]",
        doc: "Show the tensor from an index on: [3, :, 8:16].",
        examples: &["slice [3, :, 8:16]"],
        parse: |a| slice(a.text).map(|parts| Command::Screen(ScreenCommand::Slice(parts))), ..OF_SCREEN
    },
    Spec {
        name: "magnify", arguments: "N|next|previous", completes: Completes::Words(&["next", "previous"]),
        keys: &[key(">", "magnify next"), key("<", "magnify previous")],
        doc: "Magnify heatmaps so many times, from where the numbers begin.",
        examples: &["magnify 4"],
        parse: |a| Ok(Command::Screen(ScreenCommand::Magnify(a.to_or_on()?))), ..OF_SCREEN
    },
    Spec {
        name: "follow", arguments: "[ID|TEXT]",
        doc: "Follow a token through the layers of the lens; without one, the likeliest.",
        examples: &["follow Paris", "follow 314", "follow  # the likeliest"],
        parse: |a| Ok(Command::Screen(ScreenCommand::Follow(a.optional()))), ..OF_SCREEN
    },
    Spec {
        name: "set", arguments: "NAME VALUE", completes: Completes::Settings,
        doc: "Set theme, colors, ascii, mouse or layout until the end; `layerstep config` explains them.",
        examples: &["set theme light", "set ascii on"],
        parse: |a| {
            let names: Vec<_> = SETTINGS.iter().map(|spec| (spec.name, spec)).collect();
            let (spec, rest) = a.choice(&names)?;
            let (setting, rest) = rest.choice_for(spec.name, spec.values)?;
            rest.none().map(|()| Command::Screen(ScreenCommand::Set(setting)))
        }, ..OF_SCREEN
    },
    Spec {
        name: "search", arguments: "[TEXT]", keys: &[hint("/", "search", "search")],
        doc: "Search the program; n steps, so / and Enter again finds the next.",
        examples: &["search rope"],
        parse: |a| Ok(Command::Screen(ScreenCommand::Search(a.optional()))), ..OF_SCREEN
    },
    Spec {
        name: "select", completes: Completes::Activations, arguments: "ACTIVATION|layer N",
        doc: "Select an op, or the line of a layer, without going there.",
        examples: &["select 3.q_rope", "select layer 2"],
        parse: |a| Ok(Command::Screen(ScreenCommand::Select(a.something("an activation")?))), ..OF_SCREEN
    },
    Spec {
        name: "play", keys: &[hint("x", "play", "play")],
        doc: "Play the recording, or pause; it pauses by itself at marks and where an answer differs.",
        parse: |a| a.none().map(|()| Command::Screen(ScreenCommand::Play)), ..OF_RECORDING
    },
    Spec {
        name: "played", arguments: "N|next|previous|start|end", completes: Completes::Words(&["next", "previous", "start", "end"]),
        keys: &[hint(".", "played next", "next"), hint(",", "played previous", "back")],
        doc: "Go to where N lines of the recording have been played, or one line on or back.",
        examples: &["played 12", "played end"],
        parse: played, ..OF_RECORDING
    },
    Spec {
        name: "to", arguments: "MARK|next|previous", completes: Completes::Marks,
        keys: &[hint(")", "to next", "mark"), key("(", "to previous")],
        doc: "Go to a mark of the recording.",
        examples: &["to two heads", "to next"],
        parse: mark, ..OF_RECORDING
    },
    Spec {
        name: "speed", arguments: "N|faster|slower", completes: Completes::Words(&["faster", "slower"]),
        keys: &[key("*", "speed faster"), key("&", "speed slower")],
        doc: "Play the recording N times as fast: 0.5, 1, 4; at 1, some two lines a second.",
        examples: &["speed 0.5", "speed faster"],
        parse: speed, ..OF_RECORDING
    },
    Spec {
        name: "live", keys: &[hint("X", "live", "leave")],
        doc: "Leave the recording and go on from here; any command of the debugger does that, too.",
        parse: |a| a.none().map(|()| Command::Screen(ScreenCommand::Live)), ..OF_RECORDING
    },
    Spec {
        name: "prompt", arguments: "[TEXT]", keys: &[hint(":", "prompt ", "command")],
        doc: "Open the command line.",
        examples: &["prompt goto 3."],
        parse: |a| Ok(Command::Screen(ScreenCommand::Prompt(a.text.to_string()))), ..OF_SCREEN
    },
    Spec {
        name: "information", keys: &[key("i", "information")],
        doc: "Show model, tokens and notes.",
        parse: |a| a.none().map(|()| Command::Screen(ScreenCommand::Information)), ..OF_SCREEN
    },
    Spec {
        name: "escape", keys: &[key("esc", "escape")],
        doc: "Interrupt what runs; else close what is open.",
        parse: |a| a.none().map(|()| Command::Screen(ScreenCommand::Escape)), ..OF_SCREEN
    },
    Spec {
        name: "interrupt", keys: &[key("C-c", "interrupt")],
        doc: "Interrupt what runs; else quit.",
        parse: |a| a.none().map(|()| Command::Screen(ScreenCommand::Interrupt)), ..OF_SCREEN
    },
    Spec {
        name: "suspend", keys: &[key("C-z", "suspend")],
        doc: "Give the terminal to the shell; fg comes back.",
        parse: |a| a.none().map(|()| Command::Screen(ScreenCommand::Suspend)), ..OF_SCREEN
    },
    Spec {
        name: "quit", short: &["q", "exit"], keys: &[hint("q", "quit", "quit")],
        doc: "Quit, without asking.",
        parse: |a| a.none().map(|()| Command::Quit), ..OF_SCREEN
    },
];
