//! A recorded session, gone through again: computed anew and compared with what was recorded, or played from what was
//! recorded alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::file::Answer;
use super::recorder::Recorder;
use super::recording::{Obeyed, Recording};
use super::values::Event;
use crate::debugger::view::{self, Listing, Stop, Witness};
use crate::debugger::{Command, Look, Moment};
use crate::diagnose::ActivationRow;
use crate::engine::arithmetic;

/// A recording that is played.
#[derive(Debug)]
pub struct Replay {
    recorder: Recorder,
    recording: Recording,
    /// The debugger's lines.
    commands: Vec<Obeyed>,
    /// How many of them were played.
    at: usize,
    /// The user has gone on by himself.
    left: bool,
    /// Whether equal bits are to be expected.
    same_build: bool,
    /// What a tape knows at this moment.
    rows: Vec<ActivationRow>,
    header: view::Header,
    /// Activations of our engine that were recorded and not compared yet, by variant.
    pending: BTreeMap<usize, Vec<Look>>,
    pub(super) inexact: Vec<Look>,
    pub(super) tally: Tally,
    remark: Option<String>,
}

/// What was compared with the recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Commands that were played.
    pub commands: usize,
    /// Activations that have the same bits.
    pub identical: usize,
    /// Activations that differ as two correct computations do.
    pub within: usize,
    /// What is not as recorded.
    pub differences: Vec<String>,
}

impl Replay {
    /// Plays a recording with a recorder whose debugger stands at the start: one with the model and the dumps, or
    /// [`Recording::debugger`].
    pub fn new(recorder: Recorder, recording: Recording) -> Self {
        let commands = recording.commands();
        let header = &recording.text.header;
        let same_build = header.arithmetic == arithmetic() && header.program == recorder.header.program;
        let mut replay = Self {
            commands,
            at: 0,
            left: false,
            same_build,
            rows: Vec::new(),
            header: recording.values.as_ref().map(|values| values.views.start.clone()).unwrap_or_default(),
            pending: BTreeMap::new(),
            inexact: Vec::new(),
            tally: Tally::default(),
            remark: None,
            recorder,
            recording,
        };
        replay.begin();
        replay
    }

    fn begin(&mut self) {
        (self.at, self.left, self.remark) = (0, false, None);
        (self.tally, self.rows) = (Tally::default(), Vec::new());
        self.inexact.clear();
        self.pending.clear();
        let Some(values) = &self.recording.values else { return };
        self.header.clone_from(&values.views.start);
        for look in values.seen.keys().filter(|look| look.witness == Witness::Engine) {
            self.pending.entry(look.variant).or_default().push(*look);
        }
        for looks in self.pending.values_mut() {
            looks.sort_unstable();
        }
    }

    /// What is recorded anew while it is played.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// The same, to be shown and saved.
    pub fn recorder_mut(&mut self) -> &mut Recorder {
        &mut self.recorder
    }

    /// What is played.
    pub fn recording(&self) -> &Recording {
        &self.recording
    }

    /// Every line that the debugger is to obey.
    pub(super) fn script(&self) -> Vec<(Command, String)> {
        let line = |obeyed: &Obeyed| (obeyed.command.clone(), self.recording.text.lines[obeyed.line].text.clone());
        self.commands.iter().map(line).collect()
    }

    /// What was compared so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// What the last command did otherwise than recorded.
    pub fn remark(&mut self) -> Option<String> {
        self.remark.take()
    }

    /// What comes now is the user's own.
    pub fn leave(&mut self) {
        self.left = true;
    }

    /// Goes back to the start.
    pub fn reset(&mut self) {
        self.recorder.reset();
        self.begin();
        if self.recorder.debugger.is_taped() {
            let start = Moment { header: self.header.clone(), ..Moment::default() };
            self.recorder.debugger.wind(start);
        }
    }

    /// Does what `line` says: the next line of the recording is compared with it; with any other one the user leaves it.
    ///
    /// # Errors
    /// As [`Recorder::execute`].
    pub fn execute(
        &mut self,
        command: &Command,
        line: &str,
        interrupt: &AtomicBool,
        progress: &mut dyn FnMut(Listing),
    ) -> Result<Stop, String> {
        let next = self.commands.get(self.at).filter(|_| !self.left);
        let Some(Obeyed { line: place, event, .. }) =
            next.filter(|next| self.recording.text.lines[next.line].text == line)
        else {
            if !matches!(command, Command::Save { .. }) {
                self.left = true;
            }
            return self.recorder.execute(command, line, interrupt, progress);
        };
        let (place, event) = (*place, event.clone());
        self.at += 1;
        let stop = match event {
            Some(event) if self.recorder.debugger.is_taped() => self.play(command, line, event),
            event => self.repeat(command, line, place, event, interrupt, progress),
        };
        self.tally.commands += 1;
        // Interrupted by the user now, not when it was recorded: what comes is no longer what was recorded.
        if stop == Ok(Stop::Interrupted) && interrupt.load(Ordering::Relaxed) {
            self.left = true;
            return stop;
        }
        self.compare_answers(place);
        if !self.recorder.debugger.is_taped() {
            self.compare_values();
        }
        match stop {
            // To whoever plays it this is an answer like any other.
            Ok(Stop::Interrupted) => Ok(self.answered(place)),
            stop => stop,
        }
    }

    /// What was answered when it was recorded.
    fn answered(&self, place: usize) -> Stop {
        let answers = &self.recording.text.lines[place].answers;
        Stop::Said(answers.iter().map(|answer| answer.text.clone()).collect())
    }

    /// What was recorded, from the tape.
    fn play(&mut self, command: &Command, line: &str, event: Event) -> Result<Stop, String> {
        use Command as C;
        for (row, value) in event.rows {
            if row < self.rows.len() {
                self.rows[row] = value;
            } else {
                self.rows.push(value);
            }
        }
        self.header = event.header.unwrap_or_else(|| std::mem::take(&mut self.header));
        let debugger = &mut self.recorder.debugger;
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
            header: self.header.clone(),
            patched: event.patched,
            rows: self.rows.clone(),
        });
        let mut stop = event.stop;
        if matches!(command, C::Print(_))
            && let Ok(again) = debugger.execute(command, &calm, &mut |_| {})
        {
            stop = Ok(again);
        }
        self.recorder.take_down(command, line, &stop);
        unheard(stop)
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
            (Command::Export { .. } | Command::Reload, _) => Ok(self.answered(place)),
            // Where it was interrupted then, it stops now.
            (_, Some(Event { stop: Ok(Stop::Interrupted), forward, counter, .. })) => {
                let gone = self.recorder.debugger.go_to_position(forward, counter, interrupt, progress);
                gone.map(|_| Stop::Interrupted)
            }
            _ => return self.recorder.execute(command, line, interrupt, progress).map(heard),
        };
        self.recorder.take_down(command, line, &stop);
        unheard(stop)
    }

    fn compare_answers(&mut self, place: usize) {
        let (Some(now), Some(then)) = (self.recorder.lines.last(), self.recording.text.lines.get(place)) else {
            return;
        };
        let exact = self.same_build || self.recorder.debugger.is_taped();
        if let Some((was, is)) = difference(&then.answers, &now.answers, exact) {
            self.differs(format!("{}: recorded {was:?}, now {is:?}", then.text));
        }
    }

    pub(super) fn differs(&mut self, sentence: String) {
        self.remark = Some(sentence.clone());
        self.tally.differences.push(sentence);
    }

    /// Compares the recorded activations that are computed by now.
    fn compare_values(&mut self) {
        let debugger = &self.recorder.debugger;
        let Some(values) = &self.recording.values else { return };
        let Some(looks) = self.pending.get_mut(&debugger.variant()) else { return };
        let (mut identical, mut other) = (0, Vec::new());
        looks.retain(|look| {
            let Some(now) = debugger.ours(look.forward, look.site) else { return true };
            let then = &values.seen[look].values;
            let same = now.shape() == then.shape() && now.iter().zip(then).all(|(a, b)| a.to_bits() == b.to_bits());
            if same {
                identical += 1;
            } else {
                other.push(*look);
            }
            false
        });
        self.tally.identical += identical;
        if self.same_build {
            let graph = Arc::clone(&debugger.model().graph);
            for look in other {
                let name = graph.short(look.site);
                self.differs(format!(
                    "{name} has other bits than recorded, by the same build on the same kind of processor"
                ));
            }
        } else {
            self.inexact.extend(other);
        }
    }

    /// What was recorded and never computed.
    pub(super) fn never_computed(&self) -> usize {
        self.pending.values().map(Vec::len).sum()
    }
}

/// A replay does not touch the clipboard.
fn heard(stop: Stop) -> Stop {
    match stop {
        Stop::Yanked(lines) => Stop::Said(lines),
        other => other,
    }
}

fn unheard(stop: Result<Stop, String>) -> Result<Stop, String> {
    stop.map(heard)
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
