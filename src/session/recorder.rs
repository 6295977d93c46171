//! A debugger whose commands are recorded: every line with its answers, where the debugger then stood, and what was looked
//! at.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::backend::Backend;
use super::file::{Answer, Line};
use super::header::Header;
use super::journal::{self, Journal};
use super::pack::free;
use super::replay::Replay;
use super::sources::Places;
use super::values::Event;
use crate::debugger::messages::describe;
use crate::debugger::view::{self, Curve, Listing, Page, PageRequest, Stop};
use crate::debugger::{Command, Debugger, Moment};
use crate::diagnose::{ActivationRow, Local, Status};
use crate::model::Fingerprint;

/// Bytes of tensors that a session keeps, where nothing else was said.
pub const DEFAULT_BUDGET: usize = 64_000_000;

/// How a recording replaces another session.
const REPLACE: &str = "--replace records in its place";

/// What may change of a comparison; numbers by their bits, so that NaN is itself.
type Judged = (Status, u64, Option<[u64; 3]>);

fn judged(row: &ActivationRow) -> Judged {
    let local = |local: Local| [local.error, local.floor, local.propagated.unwrap_or_default()].map(f64::to_bits);
    (row.status, row.error.to_bits(), row.local.map(local))
}

/// A debugger, and what became of it so far.
#[derive(Debug)]
pub struct Recorder {
    pub(super) debugger: Debugger,
    pub(super) places: Places,
    /// What the header has from the start: arithmetic, screen, id.
    pub(super) header: Header,
    pub(super) lines: Vec<Line>,
    pub(super) events: Vec<Event>,
    pub(super) start: view::Header,
    /// What the comparisons were that events hold.
    judged: Vec<Judged>,
    pub(super) fingerprint: Option<Fingerprint>,
    journal: Option<Journal>,
    /// Where it is to be saved, or was.
    pub(super) target: Option<PathBuf>,
    /// Whether it is saved when it ends, and may then replace another session.
    records: Option<bool>,
    /// A script says what is done, and can say it again.
    scripted: bool,
    /// Lines that the file has.
    pub(super) saved: usize,
    /// Bytes of tensors that it keeps.
    pub(super) budget: usize,
    /// What it is compared with, where a recording is played.
    pub(super) replay: Replay,
}

impl Recorder {
    /// Records what is done with a debugger that stands at its start, so many bytes of tensors at most.
    pub fn new(mut debugger: Debugger, places: Places, budget: usize) -> Self {
        debugger.keep_looks(budget);
        Self {
            places,
            header: Header::new(),
            lines: Vec::new(),
            events: Vec::new(),
            start: debugger.header(),
            judged: Vec::new(),
            fingerprint: None,
            journal: None,
            target: None,
            records: None,
            scripted: false,
            saved: 0,
            budget,
            replay: Replay::default(),
            debugger,
        }
    }

    /// Writes every line to a journal in a folder as well, so that nothing is lost when the program dies. A journal that
    /// cannot be written is no reason not to debug: the sentence says why there is none.
    pub fn keep_journal(&mut self, folder: &Path) -> Result<(), String> {
        let header = self.header_at(None);
        let name: String = header.model.name.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
        let file = format!("{name}-{}.{}", &header.id[..8], journal::EXTENSION);
        self.journal = Some(Journal::create(&folder.join(file), &header).map_err(|error| error.to_string())?);
        Ok(())
    }

    /// Saves it there when it ends, in the place of another session where `replace` says so.
    ///
    /// # Errors
    /// One sentence: what is there already.
    pub fn record_to(&mut self, path: PathBuf, replace: bool) -> Result<(), String> {
        free(&path, replace, REPLACE)?;
        (self.target, self.records) = (Some(path), Some(replace));
        Ok(())
    }

    /// A script says what is done: what it does not save is not missed at its end.
    pub fn obey_a_script(&mut self) {
        self.scripted = true;
    }

    /// The name of the file that it goes to when it ends, without its ending.
    pub fn name(&self) -> Option<String> {
        Some(self.target.as_ref().filter(|_| self.records.is_some())?.file_stem()?.to_string_lossy().into_owned())
    }

    /// The debugger.
    pub fn debugger(&self) -> &Debugger {
        &self.debugger
    }

    /// The debugger, for whoever shows it: what is done to it is not recorded.
    pub fn debugger_mut(&mut self) -> &mut Debugger {
        &mut self.debugger
    }

    /// What was typed and answered so far.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Does what `line` says, and takes it down.
    pub(super) fn record(
        &mut self,
        command: &Command,
        line: &str,
        interrupt: &AtomicBool,
        progress: &mut dyn FnMut(Listing),
    ) -> Result<Stop, String> {
        if let Command::Save { name, replace } = command {
            return self.save(name.as_deref().map(Path::new), *replace, interrupt).map(Stop::Said);
        }
        let stop = self.debugger.execute(command, interrupt, progress);
        self.take_down(command, line, &stop);
        stop
    }

    /// Takes down what a command has come to.
    pub(super) fn take_down(&mut self, command: &Command, line: &str, stop: &Result<Stop, String>) {
        let answers = self.answers(command, stop);
        self.push(Line { text: line.to_string(), answers });
        let (forward, counter) = self.debugger.position();
        let rows = self.changed_rows();
        self.events.push(Event {
            line: self.lines.len() - 1,
            text: line.to_string(),
            forward,
            counter,
            variant: self.debugger.variant(),
            reads: self.debugger.reads(),
            stop: stop.clone(),
            header: (command.changes_header() && stop.is_ok()).then(|| self.debugger.header()),
            patched: self.debugger.patched_rows().into_iter().collect(),
            rows,
        });
    }

    /// What a command says, line by line.
    pub fn answers(&self, command: &Command, stop: &Result<Stop, String>) -> Vec<Answer> {
        let of = |text: String, error| Answer { text, error };
        match stop {
            Err(sentence) => vec![of(sentence.clone(), true)],
            // Their text is in the line.
            Ok(_) if matches!(command, Command::Mark(_) | Command::Note(_)) => Vec::new(),
            Ok(Stop::Done) if command.stays() => Vec::new(),
            Ok(stop) => describe(&self.debugger, stop).into_iter().map(|line| of(line, false)).collect(),
        }
    }

    fn push(&mut self, line: Line) {
        if let Some(journal) = &mut self.journal {
            // Said once, when it fails first; the session itself is not hurt.
            if let Err(sentence) = journal.append(&line) {
                self.lines.push(Line { text: format!("# {sentence}"), answers: Vec::new() });
            }
        }
        self.lines.push(line);
    }

    /// The comparisons that are new since they were last asked for, or judged anew.
    fn changed_rows(&mut self) -> Vec<(usize, ActivationRow)> {
        let now = self.debugger.compared();
        let mut changed = Vec::new();
        for (index, row) in now.iter().enumerate() {
            let judged = judged(row);
            if self.judged.get(index) != Some(&judged) {
                changed.push((index, row.clone()));
                match self.judged.get_mut(index) {
                    Some(before) => *before = judged,
                    None => self.judged.push(judged),
                }
            }
        }
        changed
    }

    /// Ends the recording: saves it where that was asked for at the start. What is not saved and was marked stays in the
    /// journal. Returns what is to be said.
    ///
    /// # Errors
    /// Of the disk: the journal then stays.
    pub fn finish(&mut self) -> Result<Vec<String>, String> {
        let unsaved = self.lines.len() > self.saved;
        let mut said = Vec::new();
        if let Some(replace) = self.records.filter(|_| unsaved) {
            let saved = self.save(None, replace, &AtomicBool::new(false));
            // Another session may have come there meanwhile, or the disk is full.
            said = saved.map_err(|sentence| match &self.journal {
                Some(_) => format!("{sentence}; nothing is lost: layerstep debug --recover goes on with it"),
                None => sentence,
            })?;
        } else if unsaved && !self.scripted && self.is_marked() {
            // The lock goes with the process; the file stays.
            return Ok(vec![
                "the marks and notes of this session were not saved: layerstep debug --recover brings it back".into(),
            ]);
        }
        if let Some(journal) = self.journal.take() {
            journal.finish().map_err(|error| error.to_string())?;
        }
        Ok(said)
    }

    fn is_marked(&self) -> bool {
        let marks = |line: &Line| matches!(Command::parse(&line.text), Ok(Some(Command::Mark(_) | Command::Note(_))));
        self.journal.is_some() && self.lines[self.saved..].iter().any(marks)
    }
}

impl Backend for Recorder {
    fn execute(
        &mut self,
        command: &Command,
        line: &str,
        interrupt: &AtomicBool,
        progress: &mut dyn FnMut(Listing),
    ) -> Result<Stop, String> {
        match self.replay.next(command, line) {
            Some(next) => self.play(command, line, next, interrupt, progress),
            None => self.record(command, line, interrupt, progress),
        }
    }

    fn header(&self) -> view::Header {
        view::Header { recording: self.name(), ..self.debugger.header() }
    }

    fn listing(&self) -> Listing {
        self.debugger.listing()
    }

    fn page(&self, request: &PageRequest) -> Result<Page, String> {
        self.debugger.page(request)
    }

    fn curve(&self) -> Curve {
        self.debugger.curve()
    }

    fn obeyed(&mut self, line: &str) {
        self.push(Line { text: line.to_string(), answers: Vec::new() });
    }

    fn reset(&mut self) -> Result<(), String> {
        self.debugger.reset();
        self.debugger.keep_looks(self.budget);
        self.lines.clear();
        self.events.clear();
        self.judged.clear();
        self.saved = 0;
        self.replay.begin();
        if self.debugger.is_taped() {
            self.debugger.wind(Moment { header: self.replay.header.clone(), ..Moment::default() });
        }
        Ok(())
    }

    fn replayed(&mut self) -> Option<String> {
        self.replay.remark.take()
    }

    fn shown_on(&mut self, columns: u16, rows: u16) {
        // A recording that is played keeps the size of its own screen.
        if self.replay.recording.text.lines.is_empty() {
            self.header.screen = Some(super::header::Screen { columns, rows });
        }
    }

    fn live(&mut self) {
        self.replay.left = true;
    }
}
