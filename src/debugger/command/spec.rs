//! What a command is: its words, what it takes, its keys.

use super::argument::{Arguments, listed, nearest};
use super::{COMMANDS, Command};

/// One row of [`COMMANDS`].
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Its word, as gdb has it.
    pub name: &'static str,
    /// Other words for it.
    pub short: &'static [&'static str],
    /// What it takes, for people: `[N]`.
    pub arguments: &'static str,
    /// Whether a number may stand before it: `10s`.
    pub takes_count: bool,
    /// What its first argument is completed with.
    pub completes: Completes,
    /// Its keys on the screen.
    pub keys: &'static [Key],
    /// Where help lists it.
    pub group: Group,
    /// One sentence.
    pub doc: &'static str,
    /// Lines that can be typed, some with what they do as a comment.
    pub examples: &'static [&'static str],
    pub(super) parse: fn(&Arguments) -> Result<Command, String>,
}

/// A key of the screen, and the line it stands for.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name: `s`, `C-d`, `ret`.
    pub key: &'static str,
    /// What it does; `%` is the selected op.
    pub line: &'static str,
    /// The word for it among the hints of the bottom line; empty if it does not belong there.
    pub hint: &'static str,
}

/// What an argument is completed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completes {
    /// Nothing.
    Nothing,
    /// Names of activations.
    Activations,
    /// One of these words.
    Words(&'static [&'static str]),
    /// Settings, and then what they may be.
    Settings,
    /// Commands.
    Commands,
    /// Files.
    Files,
    /// Marks of the recording.
    Marks,
}

/// Where help lists a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Going through the pass.
    Moving,
    /// Where to stop.
    Stopping,
    /// Changing what is computed.
    Patching,
    /// Looking into things.
    Looking,
    /// Keeping what was seen.
    Recording,
    /// Seeing it again.
    Replaying,
    /// The screen.
    Screen,
}

impl Group {
    /// In the order of help, with titles.
    pub const ALL: &[(Self, &'static str)] = &[
        (Self::Moving, "Moving"),
        (Self::Stopping, "Stopping"),
        (Self::Patching, "Patching"),
        (Self::Looking, "Looking"),
        (Self::Recording, "Recording"),
        (Self::Replaying, "Replaying"),
        (Self::Screen, "The screen"),
    ];
}

impl Spec {
    /// The command that a word means: its name, another word for it, or the beginning of just one name.
    ///
    /// # Errors
    /// One sentence, with the nearest name.
    pub fn find(word: &str) -> Result<&'static Self, String> {
        let exact = COMMANDS.iter().find(|spec| spec.name == word || spec.short.contains(&word));
        let begins: Vec<&Self> =
            COMMANDS.iter().filter(|spec| !word.is_empty() && spec.name.starts_with(word)).collect();
        match (exact, &begins[..]) {
            (Some(spec), _) => Ok(spec),
            (None, [spec]) => Ok(*spec),
            (None, []) => {
                let near = nearest(word, COMMANDS.iter().map(|spec| spec.name));
                let hint = near.map_or("help lists them".to_string(), |near| format!("is it {near}?"));
                Err(format!("there is no command {word}: {hint}"))
            }
            (None, several) => {
                let names: Vec<&str> = several.iter().map(|spec| spec.name).collect();
                Err(format!("{word} is the beginning of {}: which?", listed(&names, "and")))
            }
        }
    }
}
