//! A recorder plays a recording: its lines are obeyed again, or shown from a tape, and what comes of them is compared.

use std::sync::atomic::{AtomicBool, Ordering};

use super::file::Answer;
use super::recorder::Recorder;
use super::recording::{Recording, set_rows};
use super::replay::{Replay, Tally};
use super::values::Event;
use crate::debugger::view::{Listing, Stop};
use crate::debugger::{Command, Moment};

impl Recorder {
    /// Plays a recording with a debugger that stands at the start: one with the model and the dumps, or
    /// [`Recording::debugger`]. What is obeyed is recorded anew, and compared.
    #[must_use]
    pub fn replaying(mut self, recording: Recording) -> Self {
        self.replay = Replay::of(recording, &self.header.program);
        self
    }

    /// What is played; empty where nothing is.
    pub fn recording(&self) -> &Recording {
        &self.replay.recording
    }

    /// What was compared so far.
    pub fn tally(&self) -> &Tally {
        &self.replay.tally
    }

    /// Does the line of the recording that stands at `place`, and compares what comes of it with what came of it then.
    pub(super) fn play(
        &mut self,
        command: &Command,
        line: &str,
        (place, event): (usize, Option<Event>),
        interrupt: &AtomicBool,
        progress: &mut dyn FnMut(Listing),
    ) -> Result<Stop, String> {
        let taped = self.debugger.is_taped();
        let stop = match event {
            Some(event) if taped => self.show(command, line, event),
            event => self.repeat(command, line, place, event, interrupt, progress),
        };
        self.replay.tally.commands += 1;
        // Interrupted by the user now, not when it was recorded: what comes is no longer what was recorded.
        if stop == Ok(Stop::Interrupted) && interrupt.load(Ordering::Relaxed) {
            self.replay.left = true;
            return stop;
        }
        self.compare_answers(place);
        if !taped {
            self.replay.compare_values(&self.debugger);
        }
        match stop {
            // To whoever plays it this is an answer like any other.
            Ok(Stop::Interrupted) => Ok(self.replay.answered(place)),
            stop => stop,
        }
    }

    /// What was recorded, from the tape.
    fn show(&mut self, command: &Command, line: &str, event: Event) -> Result<Stop, String> {
        use Command as C;
        let Self { debugger, replay, .. } = self;
        set_rows(&mut replay.rows, event.rows);
        replay.header = event.header.unwrap_or_else(|| std::mem::take(&mut replay.header));
        let calm = AtomicBool::new(false);
        if matches!(command, C::Break { .. } | C::Watch(_) | C::Toggle(_) | C::Delete(_)) {
            // What it says is compared below, by way of the line it is taken down with.
            drop(debugger.execute(command, &calm, &mut |_| {}));
        } else if let Ok(stop) = &event.stop {
            debugger.hit_again(stop);
        }
        debugger.wind(Moment {
            forward: event.forward,
            counter: event.counter,
            variant: event.variant,
            reads: event.reads,
            header: replay.header.clone(),
            patched: event.patched,
            rows: replay.rows.clone(),
        });
        let mut stop = event.stop;
        if matches!(command, C::Print(_))
            && let Ok(again) = debugger.execute(command, &calm, &mut |_| {})
        {
            stop = Ok(again);
        }
        self.take_down(command, line, &stop);
        stop.map(heard)
    }

    /// The same again, computed.
    fn repeat(
        &mut self,
        command: &Command,
        line: &str,
        place: usize,
        event: Option<Event>,
        interrupt: &AtomicBool,
        progress: &mut dyn FnMut(Listing),
    ) -> Result<Stop, String> {
        if command.changes_values() {
            self.judge();
        }
        let stop = match (command, event) {
            // A replay writes no files, and files that were written again in between are no longer what they were.
            (Command::Export { .. } | Command::Reload, _) => Ok(self.replay.answered(place)),
            // Where it was interrupted then, it stops now.
            (_, Some(Event { stop: Ok(Stop::Interrupted), forward, counter, .. })) => {
                let gone = self.debugger.go_to_position(forward, counter, interrupt, progress);
                gone.map(|_| Stop::Interrupted)
            }
            _ => return self.record(command, line, interrupt, progress).map(heard),
        };
        self.take_down(command, line, &stop);
        stop.map(heard)
    }

    fn compare_answers(&mut self, place: usize) {
        let Self { debugger, replay, lines, .. } = self;
        let (Some(now), Some(then)) = (lines.last(), replay.recording.text.lines.get(place)) else { return };
        if let Some((was, is)) = difference(&then.answers, &now.answers, replay.same_build || debugger.is_taped()) {
            replay.differs(format!("{}: recorded {was:?}, now {is:?}", then.text));
        }
    }
}

/// A replay does not touch the clipboard.
fn heard(stop: Stop) -> Stop {
    match stop {
        Stop::Yanked(lines) => Stop::Said(lines),
        other => other,
    }
}

/// The first line in which two answers differ. Where the arithmetic may be another one, numbers are left to the activations
/// that they were made from.
fn difference(then: &[Answer], now: &[Answer], exact: bool) -> Option<(String, String)> {
    let numeric = |word: &str| {
        word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '.').parse::<f64>().is_ok()
    };
    let alike = |a: &str, b: &str| {
        let (a, b): (Vec<&str>, Vec<&str>) = (a.split_whitespace().collect(), b.split_whitespace().collect());
        a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a == b || (numeric(a) && numeric(b)))
    };
    let same = |a: &Answer, b: &Answer| a.error == b.error && (a.text == b.text || (!exact && alike(&a.text, &b.text)));
    let place = (0..then.len().max(now.len())).find(|place| match (then.get(*place), now.get(*place)) {
        (Some(a), Some(b)) => !same(a, b),
        _ => true,
    })?;
    let text = |answers: &[Answer]| answers.get(place).map_or_else(|| "nothing".into(), |answer| answer.text.clone());
    Some((text(then), text(now)))
}
