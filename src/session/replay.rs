//! A recorded session, gone through again: computed anew and compared with what was recorded, or played from what was
//! recorded alone. This is how far it has come.

use std::collections::BTreeMap;

use super::recording::{Obeyed, Recording};
use super::values::Event;
use crate::debugger::view::{self, Stop, Witness};
use crate::debugger::{Command, Debugger, Look};
use crate::diagnose::ActivationRow;
use crate::engine::arithmetic;

/// A recording that is played, and how far it has come; an empty one where nothing is.
#[derive(Debug, Default)]
pub(super) struct Replay {
    pub(super) recording: Recording,
    /// The debugger's lines.
    pub(super) commands: Vec<Obeyed>,
    /// How many of them were played.
    at: usize,
    /// The user has gone on by himself.
    pub(super) left: bool,
    /// Whether equal bits are to be expected.
    pub(super) same_build: bool,
    /// What a tape knows at this moment.
    pub(super) rows: Vec<ActivationRow>,
    pub(super) header: view::Header,
    /// Activations of our engine that were recorded and not compared yet, by variant.
    pending: BTreeMap<usize, Vec<Look>>,
    pub(super) inexact: Vec<Look>,
    pub(super) tally: Tally,
    pub(super) remark: Option<String>,
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
    /// At its start, by a recorder of this program.
    pub(super) fn of(recording: Recording, program: &str) -> Self {
        let header = &recording.text.header;
        let same_build = header.arithmetic == arithmetic() && header.program == program;
        let mut replay = Self { commands: recording.commands(), same_build, recording, ..Self::default() };
        replay.begin();
        replay
    }

    /// Goes back to the start.
    pub(super) fn begin(&mut self) {
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

    /// Where the next line of the recording stands, and what came of it, if this is the one; with any other one the user
    /// leaves the recording.
    pub(super) fn next(&mut self, command: &Command, line: &str) -> Option<(usize, Option<Event>)> {
        let next = self.commands.get(self.at).filter(|_| !self.left);
        let next = next.filter(|next| self.recording.text.lines[next.line].text == line);
        let next = next.map(|next| (next.line, next.event.clone()));
        self.at += usize::from(next.is_some());
        self.left |= next.is_none() && !matches!(command, Command::Save { .. });
        next
    }

    /// What was answered when it was recorded.
    pub(super) fn answered(&self, place: usize) -> Stop {
        let answers = &self.recording.text.lines[place].answers;
        Stop::Said(answers.iter().map(|answer| answer.text.clone()).collect())
    }

    pub(super) fn differs(&mut self, sentence: String) {
        self.remark = Some(sentence.clone());
        self.tally.differences.push(sentence);
    }

    /// Compares the recorded activations that are computed by now.
    pub(super) fn compare_values(&mut self, debugger: &Debugger) {
        let Some(values) = &self.recording.values else { return };
        let Some(looks) = self.pending.get_mut(&debugger.variant()) else { return };
        let (mut identical, mut other) = (0, Vec::new());
        looks.retain(|look| {
            let Some(now) = debugger.ours(look.forward, look.site) else { return true };
            let then = &values.seen[look].part.values;
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
            for look in other {
                let name = debugger.model().graph.short(look.site);
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
