//! Every command, with its keys.

use super::super::patch::{PatchRequest, Unpatch};
use super::argument::Arguments;
use super::spec::{Completes, Group, Key, Spec};
use super::words::{MOTIONS, PANES, REVERSED, TOPICS, WHOSE, breakpoint, exported, scrolled, slice};
use super::{Command, Direction, Extent, Layout, Motion, Pane, SETTINGS, ScreenCommand};

const fn key(key: &'static str, line: &'static str) -> Key {
    Key { key, line, hint: "" }
}

const fn hint(key: &'static str, line: &'static str, hint: &'static str) -> Key {
    Key { key, line, hint }
}

const PLAIN: Spec = Spec {
    name: "",
    short: &[],
    arguments: "",
    takes_count: false,
    completes: Completes::Nothing,
    keys: &[],
    group: Group::Moving,
    doc: "",
    parse: |a| Err(a.word.to_string()),
};

const COUNTED: Spec = Spec { arguments: "[N]", takes_count: true, ..PLAIN };
const OF_ACTIVATION: Spec = Spec { arguments: "ACTIVATION", completes: Completes::Activations, ..PLAIN };
const SCREEN: Spec = Spec { group: Group::Screen, ..PLAIN };

const fn scroll(
    name: &'static str,
    keys: &'static [Key],
    doc: &'static str,
    parse: fn(&Arguments) -> Result<Command, String>,
) -> Spec {
    Spec { name, keys, doc, parse, arguments: "[N]", takes_count: true, ..SCREEN }
}

/// Every command.
#[rustfmt::skip]
pub const COMMANDS: &[Spec] = &[
    Spec {
        name: "step", short: &["s"], keys: &[hint("s", "step", "step")],
        doc: "Compute the next op.",
        parse: |a| Ok(Command::Step(a.count()?)), ..COUNTED
    },
    Spec {
        name: "next", short: &["n"], keys: &[hint("n", "next", "next")],
        doc: "Go on to the same op of the next layer.",
        parse: |a| Ok(Command::Next(a.count()?)), ..COUNTED
    },
    Spec {
        name: "forward", short: &["fo"], keys: &[key("F", "forward")],
        doc: "Go on to the same op of the next forward: of the next decode step.",
        parse: |a| Ok(Command::Forward(a.count()?)), ..COUNTED
    },
    Spec {
        name: "finish", short: &["fin", "f"], keys: &[hint("f", "finish", "finish")],
        doc: "Go on to the end of the block.",
        parse: |a| Ok(Command::Finish(a.count()?)), ..COUNTED
    },
    Spec {
        name: "continue", short: &["c"], keys: &[hint("c", "continue", "continue")],
        doc: "Go on to a breakpoint, a watch, the next divergence, or the end.",
        parse: |a| Ok(Command::Continue(a.count()?)), ..COUNTED
    },
    Spec {
        name: "until", short: &["u"], keys: &[key("u", "until %")],
        doc: "Go on to an activation, in this forward or a later one; breakpoints stop on the way.",
        parse: |a| Ok(Command::Until(a.something("an activation")?)), ..OF_ACTIVATION
    },
    Spec {
        name: "run", short: &["r"], keys: &[key("E", "run")],
        doc: "Go on to the end of the last forward, whatever lies between.",
        parse: |a| a.none().map(|()| Command::Run), ..PLAIN
    },
    Spec {
        name: "back", short: &["rs", "rn", "rc", "reverse-step", "reverse-next", "reverse-continue"],
        arguments: "[step|next|forward|continue] [N]", takes_count: true,
        completes: Completes::Words(&["step", "next", "forward", "continue"]),
        keys: &[hint("S", "back", "back"), key("N", "back next"), key("C", "back continue")],
        doc: "Go back one op; or undo next, forward or continue.",
        parse: |a| {
            if let Some((_, motion)) = REVERSED.iter().find(|(words, _)| words.contains(&a.word)) {
                return Ok(Command::Back(*motion, a.count()?));
            }
            if a.text.starts_with(|c: char| c.is_ascii_alphabetic()) {
                let (motion, rest) = a.choice(MOTIONS)?;
                return Ok(Command::Back(motion, rest.count()?));
            }
            Ok(Command::Back(Motion::Step, a.count()?))
        }, ..PLAIN
    },
    Spec {
        name: "goto", short: &["g"], keys: &[hint("g", "prompt goto ", "goto")],
        doc: "Go to an activation, forwards or backwards: 3.q_rope, norm, 5, 3.q_rope@2 in decode step 2.",
        parse: |a| Ok(Command::Goto(a.something("an activation")?)), ..OF_ACTIVATION
    },
    Spec {
        name: "restart", keys: &[key("r", "restart")],
        doc: "Go back to the start.",
        parse: |a| a.none().map(|()| Command::Restart), ..PLAIN
    },
    Spec {
        name: "generate", short: &["gen"],
        doc: "Go on to the end, then feed the likeliest token and compute, N times.",
        parse: |a| Ok(Command::Generate(a.count()?)), ..COUNTED
    },
    Spec {
        name: "break", short: &["b"], arguments: "ACTIVATION|GLOB [if CONDITION]", group: Group::Stopping,
        keys: &[key("B", "prompt break ")],
        doc: "Stop at ops, by name or pattern: *.q_rope; or only where a condition holds.",
        parse: |a| breakpoint(a, false), ..OF_ACTIVATION
    },
    Spec {
        name: "tbreak", short: &["tb"], arguments: "ACTIVATION|GLOB [if CONDITION]", group: Group::Stopping,
        doc: "Stop at ops once: the breakpoint goes away when it is hit.",
        parse: |a| breakpoint(a, true), ..OF_ACTIVATION
    },
    Spec {
        name: "watch", arguments: "CONDITION", group: Group::Stopping,
        doc: "Stop wherever a condition holds: nan, inf, max > 30, ratio > 3, err > 1e-3.",
        parse: |a| Ok(Command::Watch(a.something("a condition")?)), ..PLAIN
    },
    Spec {
        name: "toggle", arguments: "ACTIVATION|GLOB", group: Group::Stopping, keys: &[hint("b", "toggle %", "break")],
        doc: "Set breakpoints, or clear them where they are set.",
        parse: |a| Ok(Command::Toggle(a.something("an activation")?)), ..OF_ACTIVATION
    },
    Spec {
        name: "delete", short: &["d"], arguments: "[NUMBER]", group: Group::Stopping,
        doc: "Clear a breakpoint or watch; all of them without a number.",
        parse: |a| Ok(Command::Delete(a.number()?)), ..PLAIN
    },
    Spec {
        name: "patch", arguments: "ACTIVATION [token=N|A-B] [head=N|A-B] [key=N] [channel=N|A:B] [step=N] CHANGE", group: Group::Patching,
        keys: &[key("p", "prompt patch % ")],
        doc: "Change an activation wherever it is computed: zero, mean, scale K, set V, add V, from reference|candidate|FILE.",
        parse: |a| PatchRequest::parse_patch(a.text).map(Command::Patch), ..OF_ACTIVATION
    },
    Spec {
        name: "ablate", arguments: "head LAYER.HEAD ...|ACTIVATION", group: Group::Patching,
        doc: "Set heads or an activation to zero: ablate head 3.5, ablate 3.mlp.",
        parse: |a| PatchRequest::parse_ablate(a.text).map(Command::Patch), ..OF_ACTIVATION
    },
    Spec {
        name: "heal", arguments: "ACTIVATION [token=N] [head=N] [channel=N]", group: Group::Patching,
        doc: "Put the reference's values in the place of ours.",
        parse: |a| PatchRequest::parse_heal(a.text).map(Command::Patch), ..OF_ACTIVATION
    },
    Spec {
        name: "unpatch", arguments: "NUMBER|ACTIVATION|all", group: Group::Patching,
        doc: "Take patches away, by number or by activation.",
        parse: |a| Unpatch::parse(a.text).map(Command::Unpatch), ..OF_ACTIVATION
    },
    Spec {
        name: "undo", group: Group::Patching, keys: &[key("U", "undo")],
        doc: "Take the last change of the patches back.",
        parse: |a| a.none().map(|()| Command::Undo), ..PLAIN
    },
    Spec {
        name: "redo", group: Group::Patching, keys: &[key("C-r", "redo")],
        doc: "Make the change again that undo took back.",
        parse: |a| a.none().map(|()| Command::Redo), ..PLAIN
    },
    Spec {
        name: "print", short: &["p"], arguments: "EXPRESSION", group: Group::Looking, keys: &[key("P", "prompt print ")],
        doc: "Print the value of an expression: 3.q_rope[0, :, 0:8], rms(3.q_rope, token), err(3.mlp, ref:3.mlp), $ for the op here.",
        parse: |a| Ok(Command::Print(a.something("an expression")?)), ..OF_ACTIVATION
    },
    Spec {
        name: "export", arguments: "EXPRESSION FILE", group: Group::Looking,
        doc: "Write the value of an expression: .npy, .safetensors, .csv; .png and .svg draw it.",
        parse: |a| exported(a, false), ..OF_ACTIVATION
    },
    Spec {
        name: "export!", arguments: "EXPRESSION FILE", group: Group::Looking,
        doc: "Write the value of an expression in the place of a file that is there.",
        parse: |a| exported(a, true), ..OF_ACTIVATION
    },
    Spec {
        name: "yank", short: &["y"], arguments: "EXPRESSION", group: Group::Looking, keys: &[key("y", "yank %")],
        doc: "Copy the value of an expression to the clipboard, by way of the terminal.",
        parse: |a| Ok(Command::Yank(a.something("an expression")?)), ..OF_ACTIVATION
    },
    Spec {
        name: "info", short: &["i"], arguments: "breakpoints|divergences|model|patches|place|tokens", group: Group::Looking,
        completes: Completes::Words(&["breakpoints", "divergences", "model", "patches", "place", "tokens"]),
        doc: "Print what is known of something.",
        parse: |a| {
            let (topic, rest) = a.choice(TOPICS)?;
            rest.none().map(|()| Command::Info(topic))
        }, ..PLAIN
    },
    Spec {
        name: "diagnose", short: &["why"], group: Group::Looking, keys: &[hint("d", "diagnose %", "diagnose")],
        doc: "Say which known mistakes make an activation that is wrong by itself; try them.",
        parse: |a| Ok(Command::Diagnose(a.something("an activation")?)), ..OF_ACTIVATION
    },
    Spec {
        name: "try", arguments: "NUMBER", group: Group::Looking,
        doc: "Switch a suspect of the last diagnosis on in our engine, or off: 1 is the first.",
        parse: |a| match a.number()? {
            Some(number) if number > 0 => Ok(Command::Switch(number - 1)),
            _ => Err("try needs the number of a suspect: 1 is the first".into()),
        }, ..PLAIN
    },
    Spec {
        name: "reload", group: Group::Looking, keys: &[key("R", "reload")],
        doc: "Read the dumps again, stay here, and say what has changed.",
        parse: |a| a.none().map(|()| Command::Reload), ..PLAIN
    },
    Spec {
        name: "source", arguments: "FILE", completes: Completes::Files, group: Group::Looking,
        doc: "Run the commands of a file, one a line.",
        parse: |a| Ok(Command::Source(a.something("a file")?)), ..PLAIN
    },
    Spec {
        name: "help", short: &["h"], arguments: "[COMMAND]", completes: Completes::Commands, group: Group::Looking,
        keys: &[hint("?", "help", "help"), key("F1", "help")],
        doc: "Explain a command; list all without one.",
        parse: |a| Ok(Command::Help(a.optional())), ..PLAIN
    },
    scroll("down", &[key("j", "down"), key("down", "down")], "Move the selection, or scroll; 10j moves ten.", |a| scrolled(a, Direction::Down)),
    scroll("up", &[key("k", "up"), key("up", "up")], "The same, upwards.", |a| scrolled(a, Direction::Up)),
    scroll("left", &[key("h", "left"), key("left", "left")], "Close the layer, or scroll the numbers.", |a| scrolled(a, Direction::Left)),
    scroll("right", &[key("l", "right"), key("right", "right")], "Open the layer, or scroll the numbers.", |a| scrolled(a, Direction::Right)),
    Spec {
        name: "page", arguments: "down|up [N]", takes_count: false, completes: Completes::Words(&["down", "up"]),
        keys: &[key("pgdn", "page down"), key("C-d", "page down"), key("pgup", "page up"), key("C-u", "page up")],
        doc: "A page down or up.",
        parse: |a| {
            let (direction, rest) = a.choice(&[("down", Direction::Down), ("up", Direction::Up)])?;
            Ok(Command::Screen(ScreenCommand::Scroll(direction, Extent::Page, rest.count()?)))
        }, ..SCREEN
    },
    Spec {
        name: "edge", arguments: "top|bottom|left|right", completes: Completes::Words(&["top", "bottom", "left", "right"]),
        keys: &[key("home", "edge top"), key("end", "edge bottom"), key("G", "edge bottom"), key("0", "edge left"), key("^", "edge left"), key("$", "edge right")],
        doc: "To the first or last row or column.",
        parse: |a| {
            let edges = [("top", Direction::Up), ("bottom", Direction::Down), ("left", Direction::Left), ("right", Direction::Right)];
            let (direction, rest) = a.choice(&edges)?;
            rest.none().map(|()| Command::Screen(ScreenCommand::Scroll(direction, Extent::End, 1)))
        }, ..SCREEN
    },
    Spec {
        name: "enter", keys: &[key("ret", "enter"), key("space", "enter")],
        doc: "Go to the selected op, open the layer, or try the suspect.",
        parse: |a| a.none().map(|()| Command::Screen(ScreenCommand::Enter)), ..SCREEN
    },
    Spec {
        name: "focus", arguments: "N|next|previous", completes: Completes::Words(&["next", "previous"]),
        keys: &[
            hint("tab", "focus next", "pane"), key("backtab", "focus previous"),
            key("M-1", "focus 1"), key("M-2", "focus 2"), key("M-3", "focus 3"), key("M-4", "focus 4"),
        ],
        doc: "Give the keys to another pane: the next one, or by its number on the screen.",
        parse: |a| {
            let next = Arguments { text: "next", ..*a };
            let count = if a.text.is_empty() { next.to_or_on() } else { a.to_or_on() };
            Ok(Command::Screen(ScreenCommand::Focus(count?)))
        }, ..SCREEN
    },
    Spec {
        name: "pane", arguments: "NAME", completes: Completes::Words(PANES),
        keys: &[
            hint("e", "pane divergence", "errors"), hint("a", "pane attention", "attention"), hint("L", "pane lens", "lens"),
            key("K", "pane cache"), key("H", "pane histogram"), key("o", "pane tokens"), key("m", "pane log"),
        ],
        doc: "Show a pane in the large place, or the tensor again: program, tensor, histogram, attention, divergence, lens, cache, tokens, log.",
        parse: |a| {
            let (pane, rest) = a.choice(Pane::NAMED)?;
            rest.none().map(|()| Command::Screen(ScreenCommand::Pane(pane)))
        }, ..SCREEN
    },
    Spec {
        name: "layout", arguments: "[stepping|comparing|attention]", completes: Completes::Words(&["stepping", "comparing", "attention"]),
        keys: &[key("w", "layout")],
        doc: "Arrange the panes; without a name, the next way.",
        parse: |a| {
            if a.text.is_empty() {
                return Ok(Command::Screen(ScreenCommand::Layout(None)));
            }
            let (layout, rest) = a.choice(Layout::NAMED)?;
            rest.none().map(|()| Command::Screen(ScreenCommand::Layout(Some(layout))))
        }, ..SCREEN
    },
    Spec {
        name: "zoom", keys: &[key("z", "zoom")],
        doc: "Show the pane that has the keys alone, or all again.",
        parse: |a| a.none().map(|()| Command::Screen(ScreenCommand::Zoom)), ..SCREEN
    },
    Spec {
        name: "resize", arguments: "wider|narrower [N]", completes: Completes::Words(&["wider", "narrower"]),
        keys: &[key("+", "resize wider"), key("-", "resize narrower")],
        doc: "Make the pane that has the keys larger or smaller.",
        parse: |a| {
            let (sign, rest) = a.choice(&[("wider", 1), ("narrower", -1)])?;
            Ok(Command::Screen(ScreenCommand::Resize(rest.count()?.cast_signed() * sign)))
        }, ..SCREEN
    },
    Spec {
        name: "head", arguments: "N|next|previous", completes: Completes::Words(&["next", "previous"]),
        keys: &[key("]", "head next"), key("[", "head previous")],
        doc: "Show another head.",
        parse: |a| Ok(Command::Screen(ScreenCommand::Head(a.to_or_on()?))), ..SCREEN
    },
    Spec {
        name: "token", arguments: "N|next|previous", completes: Completes::Words(&["next", "previous"]),
        keys: &[key("}", "token next"), key("{", "token previous")],
        doc: "Choose another token: the query of the attention pane, the position of the lens.",
        parse: |a| Ok(Command::Screen(ScreenCommand::Token(a.to_or_on()?))), ..SCREEN
    },
    Spec {
        name: "show", arguments: "engine|reference|candidate|difference|ratio|next|previous",
        completes: Completes::Words(&["engine", "reference", "candidate", "difference", "ratio", "next", "previous"]),
        keys: &[hint("t", "show next", "who"), key("T", "show previous")],
        doc: "Show the values of the engine, the reference or the candidate, their difference or ratio.",
        parse: |a| {
            let (whose, rest) = a.choice(WHOSE)?;
            rest.none().map(|()| Command::Screen(ScreenCommand::Show(whose)))
        }, ..SCREEN
    },
    Spec {
        name: "slice", arguments: "[HEAD, TOKEN, CHANNEL]",
        doc: "Show the tensor from an index on: [3, :, 8:16].",
        parse: |a| slice(a.text).map(|parts| Command::Screen(ScreenCommand::Slice(parts))), ..SCREEN
    },
    Spec {
        name: "magnify", arguments: "N|next|previous", completes: Completes::Words(&["next", "previous"]),
        keys: &[key(">", "magnify next"), key("<", "magnify previous")],
        doc: "Magnify heatmaps so many times, from where the numbers begin.",
        parse: |a| Ok(Command::Screen(ScreenCommand::Magnify(a.to_or_on()?))), ..SCREEN
    },
    Spec {
        name: "follow", arguments: "[ID|TEXT]",
        doc: "Follow a token through the layers of the lens; without one, the likeliest.",
        parse: |a| Ok(Command::Screen(ScreenCommand::Follow(a.optional()))), ..SCREEN
    },
    Spec {
        name: "set", arguments: "NAME VALUE", completes: Completes::Settings,
        doc: "Set theme, colors, ascii, mouse or layout until the end; `layerstep config` explains them.",
        parse: |a| {
            let names: Vec<_> = SETTINGS.iter().map(|spec| (spec.name, spec)).collect();
            let (spec, rest) = a.choice(&names)?;
            let (setting, rest) = rest.choice_for(spec.name, spec.values)?;
            rest.none().map(|()| Command::Screen(ScreenCommand::Set(setting)))
        }, ..SCREEN
    },
    Spec {
        name: "search", arguments: "[TEXT]", keys: &[hint("/", "search", "search")],
        doc: "Search the program; n steps, so / and Enter again finds the next.",
        parse: |a| Ok(Command::Screen(ScreenCommand::Search(a.optional()))), ..SCREEN
    },
    Spec {
        name: "select", completes: Completes::Activations, arguments: "ACTIVATION",
        doc: "Select an op without going there.",
        parse: |a| Ok(Command::Screen(ScreenCommand::Select(a.something("an activation")?))), ..SCREEN
    },
    Spec {
        name: "prompt", arguments: "[TEXT]", keys: &[hint(":", "prompt ", "command")],
        doc: "Open the command line.",
        parse: |a| Ok(Command::Screen(ScreenCommand::Prompt(a.text.to_string()))), ..SCREEN
    },
    Spec {
        name: "information", keys: &[key("i", "information")],
        doc: "Show model, tokens and notes.",
        parse: |a| a.none().map(|()| Command::Screen(ScreenCommand::Information)), ..SCREEN
    },
    Spec {
        name: "escape", keys: &[key("esc", "escape")],
        doc: "Interrupt what runs; else close what is open.",
        parse: |a| a.none().map(|()| Command::Screen(ScreenCommand::Escape)), ..SCREEN
    },
    Spec {
        name: "interrupt", keys: &[key("C-c", "interrupt")],
        doc: "Interrupt what runs; else quit.",
        parse: |a| a.none().map(|()| Command::Screen(ScreenCommand::Interrupt)), ..SCREEN
    },
    Spec {
        name: "suspend", keys: &[key("C-z", "suspend")],
        doc: "Give the terminal to the shell; fg comes back.",
        parse: |a| a.none().map(|()| Command::Screen(ScreenCommand::Suspend)), ..SCREEN
    },
    Spec {
        name: "quit", short: &["q", "exit"], keys: &[hint("q", "quit", "quit")],
        doc: "Quit, without asking.",
        parse: |a| a.none().map(|()| Command::Quit), ..SCREEN
    },
];
