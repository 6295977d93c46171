//! A recording that is played: how far it has come, and what it does now. Plain data; `playing` obeys the lines.

use std::time::Duration;

use super::settings::Settings;
use crate::debugger::command::{Completes, Place, Speed};
use crate::debugger::completion::Completions;
use crate::debugger::{Command, Spec};
use crate::session::Shown;

/// How long a line stays at the usual speed, at least and at most.
const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(12);
/// How long a character of a text takes to be read, and one of an answer, which is looked through.
const READ: Duration = Duration::from_millis(50);
const SKIMMED: Duration = Duration::from_millis(10);
/// The usual speed, the slowest and the fastest, in hundredths.
const SPEEDS: (u32, u32, u32) = (100, 10, 6400);

/// The state of the player.
#[derive(Debug)]
pub(crate) struct Player {
    /// What is played.
    pub(crate) recording: Shown,
    /// Lines played.
    pub(crate) played: usize,
    /// What it does.
    pub(crate) doing: Doing,
    /// Hundredths of the usual speed.
    pub(crate) speed: u32,
    /// Which lines have been answered otherwise than recorded.
    pub(crate) differing: Vec<usize>,
    /// What is to be read about the last line.
    pub(crate) card: Option<Card>,
    /// The user has left: what is on the screen is his own.
    pub(crate) live: bool,
    /// A line was interrupted: what is on the screen is not what was recorded.
    pub(crate) torn: bool,
    /// A line of the recording is being obeyed, not one of the user.
    pub(crate) feeds: bool,
    /// What the user has set: lines of the recording change that, and going back takes it back.
    pub(crate) settings: Settings,
    /// The marks, and how many lines are played where one is reached.
    pub(crate) marks: Vec<(usize, String)>,
}

/// What a player does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Nothing.
    Paused,
    /// One line after the other, with time to see each.
    Playing,
    /// Goes to where so many lines are played, as fast as it can.
    Seeking(usize),
}

/// What is to be read about a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Card {
    /// What it is.
    pub(crate) kind: CardKind,
    /// What it says; not yet made harmless.
    pub(crate) text: String,
}

/// What a card is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CardKind {
    /// A comment line.
    Story,
    /// A note.
    Note,
    /// How an answer differs from what was recorded.
    Difference,
}

impl Player {
    /// At the start of a recording.
    pub(crate) fn new(recording: Shown, settings: Settings) -> Self {
        let mark = |(index, line): (usize, &str)| match Command::parse(line) {
            Ok(Some(Command::Mark(text))) => Some((index + 1, text)),
            _ => None,
        };
        let lines = recording.lines.iter().map(|line| line.text.as_str());
        let marks = lines.enumerate().filter_map(mark).collect();
        Self {
            recording,
            played: 0,
            doing: Doing::Paused,
            speed: SPEEDS.0,
            differing: Vec::new(),
            card: None,
            live: false,
            torn: false,
            feeds: false,
            settings,
            marks,
        }
    }

    /// How many lines there are.
    pub(crate) fn lines(&self) -> usize {
        self.recording.lines.len()
    }

    /// The mark at or before the place.
    pub(crate) fn mark(&self) -> Option<&str> {
        self.marks.iter().rev().find(|(at, _)| *at <= self.played).map(|(_, text)| text.as_str())
    }

    /// Stands at the start again, where nothing is played.
    pub(crate) fn rewind(&mut self) {
        (self.played, self.live, self.torn, self.card) = (0, false, false, None);
        self.differing.clear();
    }

    /// How many lines are played at a place; or a sentence why there is no such place.
    pub(crate) fn lines_at(&self, place: &Place) -> Result<usize, String> {
        match place {
            Place::Line(count) => {
                let target = count.of(self.played, self.lines() + 1);
                match target {
                    _ if target != self.played || self.live || self.torn => Ok(target),
                    0 => Err("this is the start of the recording".into()),
                    _ if target == self.lines() => Err("this is the end of the recording".into()),
                    _ => Ok(target),
                }
            }
            Place::End => Ok(self.lines()),
            Place::Mark(text) => {
                let wanted = text.to_lowercase();
                let found = |fits: &dyn Fn(&str) -> bool| {
                    self.marks.iter().find(|(_, mark)| fits(&mark.to_lowercase())).map(|(at, _)| *at)
                };
                found(&|mark| mark == wanted)
                    .or_else(|| found(&|mark| mark.starts_with(&wanted)))
                    .or_else(|| found(&|mark| mark.contains(&wanted)))
                    .ok_or_else(|| format!("no mark is called {text}: :to and Tab list them"))
            }
            Place::Marks(by) => {
                let steps = by.unsigned_abs().saturating_sub(1);
                let mut after = self.marks.iter().map(|(at, _)| *at).filter(|at| *at > self.played);
                let mut before = self.marks.iter().rev().map(|(at, _)| *at).filter(|at| *at < self.played);
                let found = if *by > 0 { after.nth(steps) } else { before.nth(steps) };
                found.ok_or_else(|| format!("no mark lies {} this place", if *by > 0 { "after" } else { "before" }))
            }
        }
    }

    /// What a half-typed `to` may go on with: marks, which hold spaces; those that begin with the text come before those
    /// that contain it.
    pub(crate) fn completions(&self, line: &str) -> Option<Completions> {
        let spec = Spec::find(line.split_whitespace().next()?).ok()?;
        let (before, text) = line.split_once(char::is_whitespace).filter(|_| spec.completes == Completes::Marks)?;
        let begin = self.marks.iter().filter(|(_, mark)| mark.starts_with(text));
        let contain = self.marks.iter().filter(|(_, mark)| !mark.starts_with(text) && mark.contains(text));
        let words = begin.chain(contain).map(|(_, mark)| mark.clone()).collect();
        Some(Completions { start: before.len() + 1, words })
    }

    /// Plays faster or slower.
    pub(crate) fn set_speed(&mut self, speed: Speed) {
        let (_, least, most) = SPEEDS;
        self.speed = match speed {
            Speed::Hundredths(speed) => speed,
            Speed::Doubled(times) if times >= 0 => self.speed.saturating_mul(2),
            Speed::Doubled(_) => self.speed / 2,
        }
        .clamp(least, most);
    }

    /// How long the last line is to be seen before the next.
    pub(crate) fn pause(&self) -> Duration {
        let last = self.played.checked_sub(1).and_then(|last| self.recording.lines.get(last));
        let letters = |text: &str| u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
        let answers =
            last.map_or(0, |last| last.answers.iter().map(|answer| letters(&answer.text)).fold(0, u32::saturating_add));
        let card = self.card.as_ref().map_or(0, |card| letters(&card.text));
        let time = SHORTEST + READ.saturating_mul(card) + SKIMMED.saturating_mul(answers);
        time.min(LONGEST) * 100 / self.speed.max(1)
    }
}
