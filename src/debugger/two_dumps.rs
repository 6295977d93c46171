//! A debugger of two dumps without their model: nothing is computed. It steps through what they hold, in the order of the
//! program, and stops where the comparison of the two says that one is wrong.

mod motion;
mod values;

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

use self::values::Held;
use super::command::{Command, Topic};
use super::comparison::verdict;
use super::listing::label;
use super::messages::help;
use super::outlook::Outlook;
use super::view::{Curve, Header, LayerErrors, Listing, ListingRow, Page, PageRequest, Status, Stop, Token, Witness};
use crate::diagnose::{self, ActivationRow, Report, without_model};
use crate::dump::{Error, Pair, Subject};
use crate::model::graph::in_layers;

/// What two dumps cannot show alone.
const NEEDS_MODEL: &str = "needs the model: layerstep debug MODEL --reference DUMP --candidate DUMP";

/// Opens the two dumps again.
pub type Reread = Box<dyn Fn() -> Result<(Pair, Option<Vec<u32>>), String> + Send>;

/// Two dumps, what their comparison has found, and how far one has stepped through them.
pub struct TwoDumps {
    pair: Pair,
    report: Report,
    /// What either dump holds, in the order of the program: its forward, what it is, how it compares.
    rows: Vec<(usize, Subject, ActivationRow)>,
    /// Rows that lie behind.
    done: usize,
    reread: Option<Reread>,
    /// What was read last.
    held: RefCell<Option<Held>>,
}

impl fmt::Debug for TwoDumps {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("TwoDumps").field("done", &self.done).finish_non_exhaustive()
    }
}

impl TwoDumps {
    /// Compares two dumps, and stands before the first thing that they hold. `typed` are ids that a user says were fed to
    /// both.
    ///
    /// # Errors
    /// A dump that cannot be read.
    pub fn new(pair: Pair, typed: Option<&[u32]>, reread: Option<Reread>) -> Result<Self, Error> {
        let report = without_model(&pair, typed)?;
        let mut compared = report.activations.iter().cloned();
        // From where other tokens were fed, nothing is compared.
        let rows = pair.subjects().into_iter().map(|(forward, subject)| {
            let step = if forward == 0 { String::new() } else { format!("@{forward}") };
            let place = (pair.name(&subject) + &step, subject.layer(pair.graph()), forward);
            let row = compared.next();
            let row = row.unwrap_or_else(|| ActivationRow::of(place, None, diagnose::Status::Missing, None));
            (forward, subject, row)
        });
        let rows = rows.collect();
        Ok(Self { pair, report, rows, done: 0, reread, held: RefCell::default() })
    }

    /// What the comparison has found.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The same in a few words.
    pub fn outlook(&self) -> Outlook {
        let first = self.rows.iter().position(|(.., row)| row.status == diagnose::Status::Bad);
        Outlook::of(&self.report, first.map(|row| self.called(row)))
    }

    /// What changes only when the dumps are read again.
    pub fn header(&self) -> Header {
        let ids = self.pair.reference.ids().or(self.pair.candidate.ids());
        let tokens =
            ids.map_or_else(Vec::new, |ids| ids.ids.iter().map(|id| Token { id: *id, text: String::new() }).collect());
        Header {
            model: format!("{} against {}", self.pair.candidate.name(), self.pair.reference.name()),
            facts: "two dumps, no model".into(),
            tokens,
            forwards: self.pair.steps().to_vec(),
            witnesses: vec![Witness::Reference, Witness::Candidate],
            notes: self.report.notes.clone(),
            ..Header::default()
        }
    }

    /// The forward in which one stands.
    fn forward(&self) -> usize {
        self.done.checked_sub(1).map_or(0, |at| self.rows[at].0)
    }

    /// The rows of a forward.
    fn rows_of(&self, forward: usize) -> Range<usize> {
        let first = self.rows.partition_point(|(of, ..)| *of < forward);
        first..self.rows.partition_point(|(of, ..)| *of <= forward)
    }

    /// What the forward holds in which one stands, as far as one has come.
    pub fn listing(&self) -> Listing {
        let forward = self.forward();
        let rows = self.rows_of(forward);
        let behind = rows.start..self.done.max(rows.start);
        let bad = |row: usize| self.rows[row].2.status == diagnose::Status::Bad;
        Listing {
            forward,
            at: self.done.checked_sub(rows.start + 1),
            first_divergence: behind.clone().find(|row| bad(*row)).map(|row| row - rows.start),
            rows: rows.map(|row| self.line(row)).collect(),
            compared: true,
            done: None,
        }
    }

    fn line(&self, row: usize) -> ListingRow {
        let (_, subject, compared) = &self.rows[row];
        let (graph, name) = (self.pair.graph(), self.pair.name(subject));
        let (short, label) = match subject {
            Subject::Site(site) => (graph.short(*site).to_string(), label(&graph[*site])),
            Subject::Named { layer, .. } => {
                let short = in_layers(&name).unwrap_or(&name).to_string();
                let label = layer.and_then(|layer| short.strip_prefix(&format!("{layer}.")).map(str::to_string));
                (short.clone(), label.unwrap_or(short))
            }
        };
        let computed = row < self.done;
        ListingRow {
            name,
            short,
            label,
            layer: compared.layer,
            status: if computed { compared.status.into() } else { Status::Ahead },
            error: Some(compared).filter(|_| computed).and_then(|row| LayerErrors::of(row).error),
            local: compared.made().filter(|_| computed),
            breakpoint: false,
            patched: false,
            computed,
        }
    }

    /// The errors of each layer, as far as one has come.
    pub fn curve(&self) -> Curve {
        let mut layers = vec![LayerErrors::default(); self.pair.graph().layers()];
        for (.., row) in &self.rows[self.rows_of(self.forward()).start..self.done] {
            let Some(errors) = row.layer.and_then(|layer| layers.get_mut(layer)) else { continue };
            *errors = errors.worst(LayerErrors::of(row));
        }
        Curve { layers }
    }

    /// The page that a pane wants.
    ///
    /// # Errors
    /// One sentence for the user: what it shows needs the model.
    pub fn page(&self, request: &PageRequest) -> Result<Page, String> {
        let what = match request {
            PageRequest::Tensor(request) => return self.tensor(request).map(Page::Tensor),
            PageRequest::Histogram(request) => return self.histogram(request).map(Page::Histogram),
            PageRequest::Attention(_) => "the attention of heads, beside the tensors of scores and probs,",
            PageRequest::Lens(_) => "the logit lens",
            PageRequest::Cache(_) => "the KV cache",
            PageRequest::Experts(_) => "who is given which expert",
        };
        Err(format!("{what} {NEEDS_MODEL}"))
    }

    /// Does what `command` says.
    ///
    /// # Errors
    /// One sentence for the user; it then stands where it stood.
    pub fn execute(&mut self, command: &Command) -> Result<Stop, String> {
        let last = self.rows.len();
        match command {
            Command::Step(count) => Ok(self.go(self.done + count)),
            Command::Next(count) => Ok(self.go((0..*count).fold(self.done, |at, _| self.layer_on(at)))),
            Command::Forward(count) => {
                let rows = self.rows_of(self.forward());
                let next = self.rows_of(self.forward() + count);
                if next.is_empty() {
                    return Err(format!("there is no decode step {}", self.forward() + count));
                }
                Ok(self.go((next.start + self.done.max(1) - rows.start).min(next.end)))
            }
            Command::Finish(count) => Ok(self.go((0..*count).fold(self.done, |at, _| self.block_on(at)))),
            Command::Continue(count) => Ok(self.go_on(*count)),
            Command::Until(pattern) => {
                let found = self.matching(pattern)?.into_iter().find(|row| *row >= self.done);
                Ok(self.go(found.map_or(last + 1, |row| row + 1)))
            }
            Command::Run => Ok(self.go(last + 1)),
            Command::Back(motion, count) => Ok(self.back(*motion, *count)),
            Command::Goto(name) => self.goto(name),
            Command::Restart => Ok(self.go(0)),
            Command::Info(topic) => self.info(*topic).map(Stop::Said),
            Command::Diagnose(name) => self.why(name).map(Stop::Said),
            Command::Help(name) => help(name.as_deref()).map(Stop::Said),
            Command::Reload => self.reload(),
            Command::Screen(_) | Command::Source(_) | Command::Quit => Ok(Stop::Done),
            Command::Break { .. } | Command::Watch(_) | Command::Toggle(_) | Command::Delete(_) => {
                Err("nothing runs here that could be stopped: c goes to the next difference, g NAME to a tensor"
                    .to_string())
            }
            Command::Mark(_) | Command::Note(_) | Command::Save { .. } => Err(format!("a recording {NEEDS_MODEL}")),
            Command::Print(_) | Command::Yank(_) | Command::Export { .. } => {
                Err(format!("an expression {NEEDS_MODEL}"))
            }
            Command::Generate(_)
            | Command::Patch(_)
            | Command::Unpatch(_)
            | Command::Undo
            | Command::Redo
            | Command::Sweep(..)
            | Command::Attribution(_)
            | Command::Switch(_) => Err(format!("this computes, and {NEEDS_MODEL}")),
        }
    }

    /// `2.q_rope`, `2.q_rope@1` in a decode step.
    fn called(&self, row: usize) -> String {
        let line = self.line(row);
        match (self.rows[row].0, line.label.starts_with("layer ")) {
            (0, true) => line.label,
            (0, false) => line.short,
            (step, _) => format!("{}@{step}", line.short),
        }
    }

    /// Why a tensor is wrong: what the comparison says of it, or else of the whole.
    fn why(&self, name: &str) -> Result<Vec<String>, String> {
        let forward = self.forward();
        let rows = self.matching(name)?;
        let row = rows.iter().copied().find(|row| self.rows[*row].0 == forward).unwrap_or(rows[0]);
        let own = self.report.divergences.iter().find(|found| found.name == self.rows[row].2.name);
        let Some(own) = own else {
            let mut lines = vec![format!("nothing is said of {} by itself; of the whole:", self.called(row))];
            lines.extend(verdict(&self.report));
            return Ok(lines);
        };
        let mut lines = vec![own.summary.clone()];
        lines.extend(own.suspects.iter().map(|suspect| format!("{}: {}", suspect.id, suspect.summary)));
        lines.push(format!("which mistake makes it {NEEDS_MODEL}"));
        Ok(lines)
    }

    fn info(&self, topic: Topic) -> Result<Vec<String>, String> {
        match topic {
            Topic::Place => Ok(vec![self.done.checked_sub(1).map_or_else(
                || "not started: s goes to the first tensor".into(),
                |at| format!("{}: error {:.1e}", self.called(at), self.rows[at].2.error),
            )]),
            Topic::Tokens => {
                let header = self.header();
                Ok(header.tokens.iter().enumerate().map(|(at, token)| format!("{at:>5}  {:>7}", token.id)).collect())
            }
            Topic::Model => {
                let header = self.header();
                Ok([format!("{}: {}", header.model, header.facts)].into_iter().chain(header.notes).collect())
            }
            Topic::Divergences => {
                let bad = (0..self.rows.len()).filter(|row| self.rows[*row].2.status == diagnose::Status::Bad);
                let lines: Vec<String> =
                    bad.map(|row| format!("{}: error {:.1e}", self.called(row), self.rows[row].2.error)).collect();
                Ok(if lines.is_empty() { vec!["nothing diverges".into()] } else { lines })
            }
            Topic::Verdict => Ok(verdict(&self.report)),
            Topic::Breakpoints | Topic::Patches => Err(format!("what stops or changes a run {NEEDS_MODEL}")),
            Topic::Experts => Err(format!("who is given which expert {NEEDS_MODEL}")),
        }
    }

    /// Reads the dumps again, and stays where it stands.
    fn reload(&mut self) -> Result<Stop, String> {
        let reread = self.reread.as_ref().ok_or("nothing can be read again")?;
        let stays = |error: String| format!("not reloaded, the old comparison stays: {error}");
        let (pair, typed) = reread().map_err(stays)?;
        let new = Self::new(pair, typed.as_deref(), None).map_err(|error| stays(error.to_string()))?;
        let at = self.done.checked_sub(1).map(|at| self.rows[at].2.name.clone());
        let found = at.and_then(|name| new.rows.iter().position(|(.., row)| row.name == name));
        let done = found.map_or(self.done.min(new.rows.len()), |row| row + 1);
        let reread = self.reread.take();
        *self = Self { done, reread, ..new };
        let sentence = format!("reloaded: {}: {}", self.report.verdict.name(), self.report.sentence);
        Ok(Stop::Reloaded { sentence, changed: true })
    }
}
