//! What the files of a session hold.

use std::sync::Arc;

use super::file::{Line, Text};
use super::pack;
use super::values::{self, Event, Values};
use crate::debugger::{Command, Debugger, Moment, Tape};
use crate::diagnose::{ActivationRow, Report, Source};
use crate::model::Model;

/// What a session's files hold.
#[derive(Debug, Default)]
pub struct Recording {
    /// Its name.
    pub name: String,
    /// NAME.session.
    pub text: Text,
    /// NAME.safetensors, where it is there.
    pub values: Option<Values>,
}

/// A recording, as a screen plays it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Its name.
    pub title: String,
    /// Where its values come from: `recorded values: the weights are not here`.
    pub source: String,
    /// Columns and rows of the screen it was made on.
    pub size: Option<(u16, u16)>,
    /// What was typed, in order.
    pub lines: Vec<Line>,
}

impl Recording {
    /// What was opened, with its values read.
    ///
    /// # Errors
    /// One sentence: the values cannot be read, or belong to another session.
    pub fn of(opened: pack::Opened) -> Result<Self, String> {
        let text = &opened.text;
        let mut values =
            opened.values.as_deref().map(values::read).transpose().map_err(|damaged| damaged.to_string())?;
        let strange = values.as_ref().is_some_and(|values| values.views.id != text.header.id);
        // A kill while another session was put in its place.
        let before = opened.values.as_deref().map(pack::before).filter(|before| strange && before.exists());
        if let Some(before) = before {
            values = Some(values::read(&before).map_err(|damaged| damaged.to_string())?);
        }
        if let Some(values) = values.as_ref().filter(|values| values.views.id != text.header.id) {
            let (own, other) = (&text.header.id, &values.views.id);
            return Err(format!(
                "the values of {} belong to another session: their id is {other}, that of the session is {own}",
                opened.name
            ));
        }
        Ok(Self { name: opened.name.clone(), text: text.clone(), values })
    }

    /// Lines that the debugger obeys, with what came of them if the values know it; the others are the screen's, or tell
    /// the story.
    pub(super) fn commands(&self) -> Vec<Obeyed> {
        let lines = &self.text.lines;
        let parsed = |line: usize| lines.get(line).and_then(|line| Command::parse(&line.text).ok().flatten());
        let events = self.values.as_ref().map_or(&[][..], |values| &values.views.events);
        // The text may have been edited since.
        let word = |text: &str| text.split_whitespace().next().map(str::to_string);
        // A kill between the two files leaves a text that ends before its values.
        let events: Vec<&Event> = events.iter().filter(|event| event.line < lines.len()).collect();
        let fits = |event: &&Event| lines.get(event.line).is_some_and(|line| word(&line.text) == word(&event.text));
        if !events.is_empty() && events.iter().all(fits) {
            let obeyed = |event: &&Event| {
                Some(Obeyed { line: event.line, command: parsed(event.line)?, event: Some((*event).clone()) })
            };
            return events.iter().filter_map(obeyed).collect();
        }
        let of_debugger = |line: usize| {
            let command = parsed(line)?;
            let other = matches!(
                command,
                Command::Screen(_) | Command::Source(_) | Command::Quit | Command::Save { .. } | Command::Help(None)
            );
            (!other).then_some(Obeyed { line, command, event: None })
        };
        (0..lines.len()).filter_map(of_debugger).collect()
    }

    /// What the screen plays; `source` says where its values come from.
    pub fn shown(&self, source: String) -> Shown {
        let size = self.text.header.screen.map(|screen| (screen.columns, screen.rows));
        Shown { title: self.name.clone(), source, size, lines: self.text.lines.clone() }
    }

    /// A debugger that needs no weights: it shows what was recorded.
    ///
    /// # Errors
    /// One sentence: there are no values, or their configuration cannot be read.
    pub fn debugger(&self) -> Result<Debugger, String> {
        let values = self.values.as_ref().ok_or("the values of the session, its .safetensors file, are not there")?;
        let mut model = Model::without_weights(&values.views.config).map_err(|error| error.to_string())?;
        model.name.clone_from(&values.views.start.model);
        let lens =
            values.views.lens.iter().flat_map(|seen| &seen.page.rows).flat_map(|row| &row.top).map(|line| &line.token);
        let headers = values.views.events.iter().filter_map(|event| event.header.as_ref()).chain([&values.views.start]);
        let known = headers.flat_map(|header| &header.tokens).chain(lens).chain(&values.views.tokens);
        let texts = known.filter(|token| !token.text.is_empty()).map(|token| (token.id, token.text.clone())).collect();
        let tape = Tape { seen: values.seen.clone(), lens: values.views.lens.clone(), texts };
        let start = Moment { header: values.views.start.clone(), ..Moment::default() };
        Ok(Debugger::of_tape(Arc::new(model), Arc::new(tape), start))
    }
}

impl Recording {
    /// The report of the comparison as far as it was recorded: its verdict and its rows, without what the dumps could not
    /// show. `None` where the comparison had not reached its end.
    pub fn report(&self) -> Option<Report> {
        let header = &self.text.header;
        let mut report = header.verdict.clone()?;
        for event in self.values.iter().flat_map(|values| &values.views.events) {
            set_rows(&mut report.activations, event.rows.clone());
        }
        report.notes = vec!["made from the recording alone: the model or the dumps are not here".into()];
        let engine =
            Source { dtype: header.engine.precision.clone(), ..Source::engine(&header.model.name, &header.tokens.ids) };
        let dump = |source: &super::header::Source| {
            let role = ["reference", "candidate"].into_iter().find(|role| *role == source.role)?;
            Some(Source { role, path: source.file.clone(), dtype: source.dtype.clone(), ..engine.clone() })
        };
        report.sources = [engine.clone()].into_iter().chain(header.sources.iter().filter_map(dump)).collect();
        Some(report)
    }
}

/// Takes over comparisons that are new, or judged anew.
pub(super) fn set_rows(known: &mut Vec<ActivationRow>, rows: Vec<(usize, ActivationRow)>) {
    for (row, value) in rows {
        match known.get_mut(row) {
            Some(known) => *known = value,
            None => known.push(value),
        }
    }
}

/// A line that the debugger obeyed.
#[derive(Clone, Debug)]
pub(super) struct Obeyed {
    pub(super) line: usize,
    pub(super) command: Command,
    pub(super) event: Option<Event>,
}
