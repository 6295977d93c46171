//! The commands: one table, from which the parser, keys, completion, help, the book and the script language are derived.

mod argument;
mod screen;
mod setting;
mod spec;
mod table;
mod words;

pub use screen::{Count, Direction, Extent, Layout, Pane, Place, ScreenCommand, Speed, Whose};
pub use setting::{Colors, Palette, SETTINGS, Setting, SettingSpec};
pub use spec::{Completes, Group, Key, Spec};
pub use table::COMMANDS;

use super::patch::{PatchRequest, Unpatch};
use super::view::Swept;
use argument::Arguments;
pub use argument::{listed, nearest};

/// What the user asks of the debugger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The next op, this many times.
    Step(usize),
    /// The same op one layer on, this many times.
    Next(usize),
    /// The same op of the next forward, this many times.
    Forward(usize),
    /// To the end of the block, this many times.
    Finish(usize),
    /// To the next breakpoint, watch, divergence, or the end; this many times.
    Continue(usize),
    /// On to the next op that a name or pattern means, in this forward or a later one.
    Until(String),
    /// To the end of the last forward, whatever lies between.
    Run,
    /// Backwards, this many times.
    Back(Motion, usize),
    /// To an activation, by name; forwards or backwards: `3.q_rope`, `norm`, `3.q_rope@2`.
    Goto(String),
    /// To the start.
    Restart,
    /// Feeds the likeliest token, this many times.
    Generate(usize),
    /// Stops at the ops that a name or pattern means.
    Break {
        /// The name or pattern.
        pattern: String,
        /// Stops only where this holds.
        condition: Option<String>,
        /// Goes away when it is hit.
        once: bool,
    },
    /// Stops wherever a condition holds.
    Watch(String),
    /// Sets the breakpoints on the ops that a name or pattern means, or clears them.
    Toggle(String),
    /// Clears a breakpoint or watch by its number; all of them without one.
    Delete(Option<usize>),
    /// Changes an activation wherever it is computed.
    Patch(PatchRequest),
    /// Takes patches away.
    Unpatch(Unpatch),
    /// Takes the last change of the patches back.
    Undo,
    /// Makes it again.
    Redo,
    /// Prints the value of an expression.
    Print(String),
    /// Copies the value of an expression to the terminal's clipboard.
    Yank(String),
    /// Writes the value of an expression to a file.
    Export {
        /// The expression.
        expression: String,
        /// The file; what it is called decides how it is written.
        file: String,
        /// Whether a file that is there may be replaced.
        replace: bool,
    },
    /// Prints what is known of something.
    Info(Topic),
    /// Reads the dumps again, and stays where it stands.
    Reload,
    /// Says which known mistakes make an activation that is wrong by itself, by name.
    Diagnose(String),
    /// Leaves out each part of a kind, one at a time, and says what that does to the last token's distribution, and to the
    /// logit of a token, given by id or text; without one, of the likeliest.
    Sweep(Swept, Option<String>),
    /// Says what each part adds to the logit of a token at the last position.
    Attribution(Option<String>),
    /// Switches a suspect of the last diagnosis on in our own engine, or off.
    Switch(usize),
    /// Runs the commands of a file.
    Source(String),
    /// Gives this place of the recording a name.
    Mark(String),
    /// Writes a remark into the recording.
    Note(String),
    /// Writes the session so far.
    Save {
        /// Where; to where it was saved last without it.
        name: Option<String>,
        /// Whether another session that is there may be replaced.
        replace: bool,
    },
    /// Explains a command; all of them without one.
    Help(Option<String>),
    /// What only a screen does.
    Screen(ScreenCommand),
    /// Leaves.
    Quit,
}

/// Which way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motion {
    /// One op.
    Step,
    /// The same op one layer back.
    Next,
    /// The same op of the forward before.
    Forward,
    /// To the breakpoint, watch or divergence before.
    Continue,
}

/// What `info` tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Where the debugger stands.
    Place,
    /// Breakpoints and watches.
    Breakpoints,
    /// The tokens, and what is fed when.
    Tokens,
    /// Model and dumps.
    Model,
    /// What diverges by itself so far.
    Divergences,
    /// Who is given which experts.
    Experts,
    /// Patches, and what they do to the logits.
    Patches,
    /// What the comparison has found, once it has reached the end.
    Verdict,
}

impl Command {
    /// Reads a line: `step 10`, `10s`, `break *.probs if nan`. `None` for an empty line and for a comment,
    /// which begins with `#`, or with ` # ` behind a command.
    ///
    /// # Errors
    /// One sentence: there is no such command, or its arguments are not what it takes.
    pub fn parse(line: &str) -> Result<Option<Self>, String> {
        let line = line.split(" # ").next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let digits = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (count, line) = line.split_at(digits);
        let line = line.trim_start();
        let end = line.find(|c: char| c.is_whitespace() || c == '[').unwrap_or(line.len());
        let (word, rest) = line.split_at(end);
        if word.is_empty() && !count.is_empty() {
            return Err(format!("{count} is a number without a command: {count}s steps {count} times"));
        }
        let spec = Spec::find(word)?;
        let mut rest = rest.trim().to_string();
        if !count.is_empty() {
            if !spec.takes_count {
                return Err(format!("{word} does not take a number before it: help {} shows what it takes", spec.name));
            }
            // `3 back next` is `back next 3`.
            rest = format!("{rest} {count}").trim_start().to_string();
        }
        (spec.parse)(&Arguments { spec, word, text: &rest }).map(Some)
    }

    /// Whether our engine may compute something else after it.
    pub fn changes_values(&self) -> bool {
        use Command as C;
        matches!(self, C::Reload | C::Switch(_) | C::Patch(_) | C::Unpatch(_) | C::Undo | C::Redo)
    }

    /// Whether a recording alone cannot obey it.
    pub fn needs_weights(&self) -> bool {
        use Command as C;
        self.changes_values()
            || matches!(self, C::Generate(_) | C::Diagnose(_) | C::Info(Topic::Patches | Topic::Verdict))
            || matches!(self, C::Sweep(..) | C::Attribution(_))
    }

    /// Whether tokens, witnesses, suspect, patches or the name of the recording may be others after it.
    pub fn changes_header(&self) -> bool {
        self.changes_values() || matches!(self, Self::Generate(_) | Self::Save { .. })
    }

    /// Whether the debugger stands after it where it stood before.
    pub fn stays(&self) -> bool {
        use Command as C;
        let asks =
            matches!(self, C::Info(_) | C::Help(_) | C::Print(_) | C::Yank(_) | C::Export { .. } | C::Diagnose(_));
        let sets = matches!(self, C::Break { .. } | C::Watch(_) | C::Toggle(_) | C::Delete(_));
        let keeps = matches!(self, C::Mark(_) | C::Note(_) | C::Save { .. });
        let weighs = matches!(self, C::Sweep(..) | C::Attribution(_));
        asks || weighs || sets || keeps || self.changes_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &str) {
        let parsed = Command::parse(line).map_or_else(|error| error, |command| format!("{command:?}"));
        assert_eq!(parsed, expected, "{line}");
    }

    #[test]
    fn lines_are_read_as_in_gdb() {
        for (line, expected) in [
            ("", "None"),
            ("  # a comment", "None"),
            ("step 3  # a comment", "Some(Step(3))"),
            ("s", "Some(Step(1))"),
            ("step 10", "Some(Step(10))"),
            ("10s", "Some(Step(10))"),
            ("ste 2", "Some(Step(2))"),
            ("fin", "Some(Finish(1))"),
            ("b 3.q_rope", "Some(Break { pattern: \"3.q_rope\", condition: None, once: false })"),
            (
                "tbreak *.probs if nan > 0",
                "Some(Break { pattern: \"*.probs\", condition: Some(\"nan > 0\"), once: true })",
            ),
            ("back", "Some(Back(Step, 1))"),
            ("back next 3", "Some(Back(Next, 3))"),
            ("rc", "Some(Back(Continue, 1))"),
            ("rs 4", "Some(Back(Step, 4))"),
            ("delete", "Some(Delete(None))"),
            ("d 2", "Some(Delete(Some(2)))"),
            ("info b", "Some(Info(Breakpoints))"),
            ("pane attention", "Some(Screen(Pane(Attention)))"),
            ("head 3", "Some(Screen(Head(To(3))))"),
            ("head next", "Some(Screen(Head(On(1))))"),
            ("set theme light", "Some(Screen(Set(Theme(Some(Light)))))"),
            ("set mo of", "Some(Screen(Set(Mouse(false))))"),
            ("set", "set takes ascii, colors, layout, mouse or theme"),
            ("set thme dark", "set takes ascii, colors, layout, mouse or theme, not thme"),
            ("set theme", "theme takes auto, dark, high-contrast or light"),
            ("set ascii yes", "ascii takes auto, off or on, not yes"),
            ("until 5", "Some(Until(\"5\"))"),
            ("goto", "goto needs an activation: goto ACTIVATION"),
            ("step x", "step takes a number, not x: step [N]"),
            ("step 1 2", "step takes a number, not 1 2: step [N]"),
            ("stpe", "there is no command stpe: is it step?"),
            ("rel", "Some(Reload)"),
            ("fo", "Some(Forward(1))"),
            ("3 back next", "Some(Back(Next, 3))"),
            ("3 step 4", "step takes a number, not 4 3: step [N]"),
            ("5", "5 is a number without a command: 5s steps 5 times"),
            ("$", "there is no command $: help lists them"),
            ("focus", "Some(Screen(Focus(On(1))))"),
            ("focus tensor", "Some(Screen(FocusOn(Tensor)))"),
            ("scroll lens up 3", "Some(Screen(ScrollPane(Lens, Up, 3)))"),
            ("played 12", "Some(Screen(Seek(Line(To(12)))))"),
            ("played previous", "Some(Screen(Seek(Line(On(-1)))))"),
            ("played start", "Some(Screen(Seek(Line(To(0)))))"),
            ("to next 2", "Some(Screen(Seek(Marks(2))))"),
            ("to two heads", "Some(Screen(Seek(Mark(\"two heads\"))))"),
            ("speed 0.5", "Some(Screen(Speed(Hundredths(50))))"),
            ("speed slower", "Some(Screen(Speed(Doubled(-1))))"),
            ("speed 0", "speed takes faster, slower or a number such as 0.5 or 4, not 0"),
            ("scroll lens", "scroll takes down, left, right or up"),
            ("info tokens 3", "info takes nothing more, not 3"),
            ("restart 3", "restart takes nothing, not 3"),
            ("break norm if", "break needs a condition after if: break ACTIVATION|GLOB [if CONDITION]"),
            ("tb if nan", "tbreak needs an activation before if: tbreak ACTIVATION|GLOB [if CONDITION]"),
            ("5 goto norm", "goto does not take a number before it: help goto shows what it takes"),
            (
                "info nonsense",
                "info takes breakpoints, divergences, experts, model, patches, place, tokens or verdict, not nonsense",
            ),
            ("step 99999999999999999999999", "step takes a number, not 99999999999999999999999: step [N]"),
        ] {
            check(line, expected);
        }
    }

    #[test]
    fn names_and_keys_are_unique_and_every_key_is_a_line_that_can_be_read() {
        let mut words: Vec<&str> = COMMANDS.iter().flat_map(|spec| [&[spec.name], spec.short].concat()).collect();
        let mut keys: Vec<&str> = COMMANDS.iter().flat_map(|spec| spec.keys).map(|key| key.key).collect();
        for list in [&mut words, &mut keys] {
            let count = list.len();
            list.sort_unstable();
            list.dedup();
            assert_eq!(list.len(), count, "{list:?}");
        }
        for spec in COMMANDS {
            assert!(spec.doc.ends_with('.') && spec.doc.len() > 12, "{}", spec.name);
            let explained = !spec.examples.is_empty() || ["", "[N]"].contains(&spec.arguments);
            assert!(explained, "{} takes something, and has no example", spec.name);
            for example in spec.examples {
                let read = Command::parse(example).unwrap_or_else(|error| panic!("{example}: {error}"));
                assert!(read.is_some(), "{example}");
            }
            for key in spec.keys {
                let line = key.line.replace('%', "3.q_rope");
                assert!(Command::parse(&line).is_ok_and(|command| command.is_some()), "{}: {line}", key.key);
            }
        }
    }
}
