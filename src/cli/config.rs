//! `layerstep config`: what the user has chosen once and for all, and the file that says so. `debug`, `run` and the demo read
//! it.

mod bytes;
mod reader;

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use super::places;
use crate::debugger::DEFAULT_MEMORY;
use crate::debugger::command::SETTINGS;
use crate::session::DEFAULT_BUDGET;
use crate::tui::{Keymap, Settings};

/// Print the configuration in effect, as a file that can be read back.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Another file than the one in the usual place.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only print where the file is, or would be.
    #[arg(long)]
    path: bool,
}

/// What the user has chosen.
pub(super) struct Config {
    /// Of the screen.
    pub(super) settings: Settings,
    /// What the keys do.
    pub(super) keys: Keymap,
    /// Bytes of activations that the debugger keeps.
    pub(super) memory: usize,
    /// Bytes of tensors that a session keeps.
    pub(super) session: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { settings: Settings::default(), keys: Keymap::default(), memory: DEFAULT_MEMORY, session: DEFAULT_BUDGET }
    }
}

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let file = match &args.config {
        Some(file) => file.clone(),
        None => places::config().context("there is no place for it: neither XDG_CONFIG_HOME nor HOME is set")?,
    };
    let text = if args.path {
        format!("{}\n", file.display())
    } else {
        let config = Config::load(args.config.as_deref())?;
        let there = if file.exists() { "" } else { "# There is no such file yet: these are the defaults.\n" };
        format!("# {}\n{there}\n{}", file.display(), config.written())
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

impl Config {
    /// Reads the file that was given, else the one in its usual place, if it is there.
    pub(super) fn load(given: Option<&Path>) -> anyhow::Result<Self> {
        let usual = if given.is_none() { places::config() } else { None };
        let Some(file) = given.or(usual.as_deref()) else { return Ok(Self::default()) };
        let name = file.display().to_string();
        match std::fs::read_to_string(file) {
            Ok(text) => reader::read(&name, &text),
            Err(error) if given.is_none() && error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("{name} cannot be read")),
        }
    }

    /// As TOML, with what everything means.
    fn written(&self) -> String {
        let mut text = String::from(
            "[keys]\n# A key, and the line it stands for, as : takes it; % is the selected op, \"\" takes the key away. \
             By default:\n",
        );
        let mut add = |line: String| writeln!(text, "{line}").expect("a String takes it");
        let usual = Keymap::default();
        for (key, line) in usual.lines() {
            add(format!("# {} = {}", quoted(key), quoted(line)));
        }
        let gone = usual.lines().filter(|(key, _)| self.keys.lines().all(|(bound, _)| bound != *key));
        let changed = self.keys.lines().filter(|binding| usual.lines().all(|known| known != *binding));
        for (key, line) in changed.chain(gone.map(|(key, _)| (key, ""))) {
            add(format!("{} = {}", quoted(key), quoted(line)));
        }
        add("\n[screen]".to_string());
        for (spec, now) in SETTINGS.iter().zip(self.settings.all()) {
            let words: Vec<String> = spec.words().map(reader::written).collect();
            add(format!("# {}", spec.doc));
            add(format!("# {}; default {}.", words.join(", "), words[0]));
            add(format!("{} = {}", spec.name, reader::written(now.words().1)));
        }
        let [memory, usual] = [self.memory, DEFAULT_MEMORY].map(bytes::written);
        let [session, most] = [self.session, DEFAULT_BUDGET].map(bytes::written);
        let [history, lines] = [self.settings.history, Settings::default().history];
        add(format!(
            "\n[limits]\n# How much the debugger keeps of what it has computed, newest first; g computes the rest again. \
             Default \"{usual}\".\nmemory = \"{memory}\"\n# How much a session file keeps of the tensors that were looked at. Default \
             \"{most}\".\nsession = \"{session}\"\n# Command lines kept from run to run. Default \
             {lines}.\nhistory = {history}",
        ));
        text
    }
}

/// As TOML quotes text.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => {
                write!(quoted, "\\u{:04X}", u32::from(control)).expect("a String takes it");
            }
            other => quoted.push(other),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let text = "[keys]\nx = 'goto \"\\ \\u0007'\nF5 = \"continue\"\ns = ''\n\"\\\\\" = \"step 2\"\n\
                    [screen]\ntheme = 'light'\ncolors = '256'\nascii = false\nmouse = false\nlayout = 'comparing'\n\
                    [limits]\nmemory = '64 MiB'\nsession = '1 GB'\nhistory = 5\n";
        let config = reader::read("config.toml", text).expect("a configuration");
        let written = config.written();
        let again = reader::read("config.toml", &written).expect("the same configuration");
        assert_eq!((again.settings, again.memory, again.session), (config.settings, 64 << 20, 1_000_000_000));
        let lines = |config: &Config| {
            let mut lines: Vec<(String, String)> =
                config.keys.lines().map(|(key, line)| (key.to_string(), line.to_string())).collect();
            lines.sort();
            lines
        };
        assert_eq!(lines(&again), lines(&config));
        assert!(lines(&again).contains(&("F5".to_string(), "continue".to_string())));
        assert_eq!(again.written(), written);
    }
}
