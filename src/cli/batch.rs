//! Commands without a screen: lines in, lines out. `debug --batch` reads them from standard input, `run` from a file.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use anyhow::{Context, bail};

use super::progress::with_place;
use crate::debugger::Command;
use crate::session::{Answer, Backend, Recorder, held};
use crate::tui::{Screen, Theme};

/// Columns and rows of the screen that a recorded script is obeyed on.
const SHOWN: (u16, u16) = (132, 40);

/// Obeys commands; prints what comes of them.
pub(super) struct Batch<W> {
    recorder: Arc<Mutex<Recorder>>,
    /// Where a session is to be saved, a screen that nobody sees: what its panes show is then recorded as well.
    screen: Option<Screen<Recorder>>,
    out: W,
    /// The scripts that are being read, the innermost last.
    open: Vec<PathBuf>,
}

/// Whether more lines are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Line,
    Quit,
}

impl<W: Write> Batch<W> {
    /// Prints to `out`.
    pub(super) fn new(recorder: Arc<Mutex<Recorder>>, out: W) -> Self {
        let named = held(&recorder).name().is_some();
        let screen = named.then(|| Screen::of(Arc::clone(&recorder), SHOWN, Theme::from_environment(), None));
        Self { recorder, screen, out, open: Vec::new() }
    }

    /// Obeys the commands of the command line, then the lines of `script`, which has this name and may be a file; the
    /// first that fails ends it.
    pub(super) fn run(
        mut self,
        commands: &[String],
        script: Option<(&str, &mut dyn BufRead)>,
    ) -> anyhow::Result<ExitCode> {
        for line in commands {
            if self.line(line, Path::new(""))? == Next::Quit {
                return Ok(ExitCode::SUCCESS);
            }
        }
        if let Some((name, lines)) = script {
            self.open.extend(Path::new(name).canonicalize());
            self.script(name, lines, folder_of(Path::new(name)))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn script(&mut self, name: &str, lines: &mut dyn BufRead, folder: &Path) -> anyhow::Result<Next> {
        for (number, line) in lines.lines().enumerate() {
            let line = line.with_context(|| format!("{name} cannot be read"))?;
            let next =
                self.line(&line, folder).with_context(|| format!("{name}, line {}: {}", number + 1, line.trim()))?;
            if next == Next::Quit {
                return Ok(Next::Quit);
            }
        }
        Ok(Next::Line)
    }

    fn line(&mut self, line: &str, folder: &Path) -> anyhow::Result<Next> {
        let command = match Command::parse(line) {
            Ok(Some(command)) => command,
            Ok(None) => {
                self.comment(line);
                return Ok(Next::Line);
            }
            Err(error) => bail!("{error}"),
        };
        match &command {
            Command::Quit => return Ok(Next::Quit),
            Command::Source(path) => {
                // Scripts that a script calls are seen from where it lies.
                let path = folder.join(path);
                let name = path.display().to_string();
                let unreadable = || format!("{name} cannot be read");
                let file = std::fs::File::open(&path).with_context(unreadable)?;
                let found = path.canonicalize().with_context(unreadable)?;
                if self.open.contains(&found) {
                    bail!("{name} calls itself");
                }
                self.open.push(found);
                let next = self.script(&name, &mut std::io::BufReader::new(file), folder_of(&path))?;
                self.open.pop();
                return Ok(next);
            }
            Command::Screen(_) if self.screen.is_none() => {
                held(&self.recorder).obeyed(line.trim());
                return Ok(Next::Line);
            }
            _ => {}
        }
        // What saving says is no part of what is saved.
        let saves = matches!(command, Command::Save { .. });
        if let Some(screen) = self.screen.as_mut().filter(|_| !saves) {
            let before = held(&self.recorder).lines().len();
            screen.obey(line.trim());
            let recorder = held(&self.recorder);
            let said = recorder.lines().get(before..).and_then(<[_]>::last).map(|line| line.answers.clone());
            drop(recorder);
            return self.print(&said.unwrap_or_default());
        }
        let mut recorder = held(&self.recorder);
        let word = line.split_whitespace().next().unwrap_or_default();
        let stop =
            with_place(word, |progress| recorder.execute(&command, line.trim(), &AtomicBool::new(false), progress));
        let said = recorder.answers(&command, &stop);
        drop(recorder);
        self.print(&said)
    }

    fn print(&mut self, said: &[Answer]) -> anyhow::Result<Next> {
        if let Some(answer) = said.iter().find(|answer| answer.error) {
            bail!("{}", answer.text);
        }
        for answer in said {
            writeln!(self.out, "{}", answer.text)?;
        }
        self.out.flush()?;
        Ok(Next::Line)
    }

    /// Comments tell the story of a recording; the first line of a program and the output that a test expects do not.
    fn comment(&mut self, line: &str) {
        let mut recorder = held(&self.recorder);
        let begins = recorder.lines().is_empty();
        let untold = line.starts_with("#!") || line.starts_with("#>") || (begins && line.trim().is_empty());
        if !untold {
            recorder.obeyed(line.trim_end());
        }
    }
}

fn folder_of(script: &Path) -> &Path {
    script.parent().unwrap_or(Path::new(""))
}
