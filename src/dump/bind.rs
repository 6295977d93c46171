//! Once the ids are known, every tensor's shape is proved to be readable as the activation that its name says.

use std::collections::HashSet;
use std::sync::Mutex;

use super::Dump;
use super::error::Error;
use super::name::Flavour;
use super::plan::{Planned, Unmatched, expected};
use super::shape::{Fit, Frame, Kind, Rows, Wanted, readings};
use crate::engine::{Class, Site};

impl Dump {
    /// Fixes the ids: `steps` tokens in each forward. A tensor whose shape fits no reading of its name is set aside, unless
    /// most are such, or the same ops in all layers, or it is named by a map: then ids, model or map are wrong.
    pub fn bind(&mut self, ids: &[u32], steps: &[usize]) -> Result<(), Error> {
        let total = steps.iter().try_fold(0usize, |sum, n| sum.checked_add(*n));
        if total != Some(ids.len()) || steps.is_empty() || steps.contains(&0) {
            let problem = format!("forwards of {steps:?} tokens do not add up to {} ids", ids.len());
            return Err(self.ids_error(problem));
        }
        if steps.len() > 1 && !self.graph.is_causal() {
            let problem = format!("has {} forwards, where an encoder has one", steps.len());
            return Err(self.ids_error(problem));
        }
        let mut misfits: Vec<(Planned, Error)> = Vec::new();
        self.bind_each(steps, |planned, error| {
            let is_wrong = planned.mapped || !matches!(error, Error::Shape { .. });
            if is_wrong {
                return Err(error);
            }
            misfits.push((planned.clone(), error));
            Ok(())
        })?;
        // An op that fits in no layer, under its own name, is of another model.
        let class = |planned: &Planned| self.graph.class(planned.site);
        let fits: HashSet<Class> = self.planned.iter().map(class).collect();
        // But a cache may be laid out in ways of its own.
        let of_cache = |planned: &Planned| {
            let row = planned.wanted.heads * planned.wanted.channels;
            planned.wanted.cached && planned.stored.iter().product::<usize>().is_multiple_of(row.max(1))
        };
        let own = misfits.iter().filter(|(planned, _)| planned.flavour == Flavour::Canonical && !of_cache(planned));
        let nowhere: HashSet<Site> =
            own.filter(|(planned, _)| !fits.contains(&class(planned))).map(|(planned, _)| planned.site).collect();
        let doubtful = misfits.iter().filter(|(planned, _)| !of_cache(planned)).count();
        if doubtful > self.planned.len() || nowhere.len() > 1 || self.planned.is_empty() && !misfits.is_empty() {
            return Err(misfits.swap_remove(0).1);
        }
        for (planned, error) in misfits {
            let reason = if let Error::Shape { problem, .. } = error { problem } else { error.to_string() };
            let (name, shape) = (planned.name, planned.stored);
            self.set_aside.push(Unmatched { name, shape, reason: Some(reason), guesses: Vec::new() });
        }
        Ok(())
    }

    /// The same for sizes that are only guessed: a tensor whose shape fits no reading is returned instead.
    pub(super) fn bind_what_fits(&mut self, steps: &[usize]) -> Result<Vec<Planned>, Error> {
        let mut misfits = Vec::new();
        self.bind_each(steps, |planned, _| {
            misfits.push(planned.clone());
            Ok(())
        })?;
        for planned in &misfits {
            let reason =
                Some(format!("does not fit {}, as far as the sizes of the model can be told", planned.activation));
            let (name, shape) = (planned.name.clone(), planned.stored.clone());
            self.unneeded.push(Unmatched { name, shape, reason, guesses: Vec::new() });
        }
        Ok(misfits)
    }

    fn bind_each(
        &mut self,
        steps: &[usize],
        mut misfit: impl FnMut(&Planned, Error) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (given, mut stored) = (steps, steps.to_vec());
        if let (Some(pads), Some(first)) = (self.pads, stored.first_mut()) {
            *first += pads.count();
        }
        let steps = &stored[..];
        let mut planned = Vec::new();
        let (mut unneeded, mut set_aside) = (Vec::new(), Vec::new());
        for named in &self.named {
            let Some(frame) = frame(named.forward, steps, false) else {
                let reason = format!("forward {} was not run", named.forward);
                let (name, shape) = (named.name.clone(), named.stored.clone());
                unneeded.push(Unmatched { name, shape, reason: Some(reason), guesses: Vec::new() });
                continue;
            };
            // A tensor without suffix may hold the rows of all forwards, unless others hold those of the later ones.
            let alone = !self.named.iter().any(|other| other.site == named.site && other.forward > 0);
            let joined = alone && named.forward == 0 && steps.len() > 1;
            let frame = if joined { self::frame(0, steps, true).unwrap_or(frame) } else { frame };
            let first = match self.fitted(named, frame) {
                Ok(first) => first,
                Err(error) => {
                    if let Some(slots) = self.other_slots(named, frame) {
                        let reason = format!(
                            "holds {slots} {} for each token, where the model chooses {}",
                            if slots == 1 { "expert" } else { "experts" },
                            named.wanted.heads
                        );
                        let (name, shape) = (named.name.clone(), named.stored.clone());
                        set_aside.push(Unmatched { name, shape, reason: Some(reason), guesses: Vec::new() });
                    } else {
                        misfit(named, error)?;
                    }
                    continue;
                }
            };
            let split = first.readings.first().is_some_and(|reading| reading.holds == Rows::Joined);
            planned.push(first);
            if split {
                for later in (1..steps.len()).filter_map(|forward| self::frame(forward, steps, true)) {
                    planned.push(self.fitted(named, later)?);
                }
            }
        }
        self.planned = planned;
        self.cut_at_the_end();
        self.unneeded = unneeded;
        self.set_aside = set_aside;
        self.steps = given.to_vec();
        self.settled = Mutex::default();
        self.index();
        Ok(())
    }

    /// Behind the last block only the last row is needed: where the other tensors of a forward hold all rows, fewer of
    /// those are the last ones, whatever their values.
    fn cut_at_the_end(&mut self) {
        let (graph, tail) = (&self.graph, self.graph.tail().unwrap_or(usize::MAX));
        let last = graph.entering(graph.layers());
        let at_end = |planned: &Planned| planned.site.index() >= tail || Some(planned.site) == last;
        let holds = |planned: &Planned, rows: Rows| planned.readings.first().is_some_and(|first| first.holds == rows);
        let whole = self.planned.iter().filter(|planned| !at_end(planned) && holds(planned, Rows::All));
        let whole: HashSet<usize> = whole.map(|planned| planned.forward).collect();
        let cut = |planned: &&mut Planned| at_end(planned) && whole.contains(&planned.forward) && planned.is_partial();
        for reading in self.planned.iter_mut().filter(cut).flat_map(|planned| &mut planned.readings) {
            reading.holds = Rows::Last;
        }
    }

    /// The plan of one tensor in one forward.
    pub(super) fn fitted(&self, named: &Planned, frame: Frame) -> Result<Planned, Error> {
        let pooled = self.graph[named.site].is_pooled();
        // One row of all tokens, pads or not.
        let (frame, pads) =
            if pooled { (Frame { tokens: 1, first: 0, joined: None, ..frame }, None) } else { (frame, self.pads) };
        let (shape, flat) = match &named.expression {
            Some(expression) => {
                (expression.shape(&named.stored).map_err(|p| self.tensor_error(&named.name, p))?, false)
            }
            None => (named.stored.clone(), named.flat),
        };
        let batch = |of: usize, remedy: String| format!("holds a batch of {of} sequences (shape {shape:?}); {remedy}");
        let problem = match readings(&shape, flat, &named.wanted, frame, self.batch) {
            Fit::Readings(readings) => {
                return Ok(Planned { forward: frame.forward, frame: Some(frame), pads, readings, ..named.clone() });
            }
            Fit::Batch(of) if self.is_of_one(frame) => {
                let problem = format!(
                    "has shape {shape:?}: {of} of what {} is, where the dump is of one sequence",
                    named.activation
                );
                return Err(self.shape_error(&named.name, problem));
            }
            Fit::Batch(of) => batch(of, format!("choose one with --batch 0 to {}", of - 1)),
            Fit::NoSuchRow(of) => {
                let pick = self.batch.unwrap_or(0);
                batch(of, format!("there is no sequence {pick}, the last is {}", of - 1))
            }
            Fit::None => return Err(self.shape_error(
                &named.name,
                format!(
                    "has shape {shape:?}, which does not fit {}: expected {}; check the ids (--ids, --prompt) and the \
                 model, or say in a --map file what it is, or \"ignore\"",
                    named.activation,
                    expected(&self.graph[named.site], &named.wanted, frame)
                ),
            )),
        };
        Err(self.tensor_error(&named.name, problem))
    }

    /// Whether other tensors of the forward hold one sequence, so that this one holds no batch.
    fn is_of_one(&self, frame: Frame) -> bool {
        let plain = |named: &&Planned| named.forward == frame.forward && named.wanted.kind == Kind::Rows && !named.flat;
        let fits = |named: &Planned| {
            let found = readings(&named.stored, false, &named.wanted, frame, None);
            matches!(found, Fit::Readings(found) if found.iter().all(|reading| reading.holds == Rows::All))
        };
        self.named.iter().filter(plain).any(fits)
    }

    /// How many experts a tensor has values of for each token, where the model chooses another number. Such values have no
    /// counterpart; the router, of which every expert has a value, still shows who chooses otherwise.
    fn other_slots(&self, named: &Planned, frame: Frame) -> Option<usize> {
        let [.., slots, width] = *named.stored.as_slice() else { return None };
        if named.wanted.kind != Kind::Slots || width != named.wanted.channels || slots == named.wanted.heads {
            return None;
        }
        let wanted = Wanted { heads: slots, ..named.wanted };
        let Fit::Readings(found) = readings(&named.stored, named.flat, &wanted, frame, self.batch) else { return None };
        found.iter().any(|reading| matches!(reading.holds, Rows::All | Rows::Joined)).then_some(slots)
    }

    pub(super) fn tensor_error(&self, name: &str, problem: String) -> Error {
        let entry = self.archive.entries().iter().find(|entry| entry.name == name);
        let file = entry.map_or_else(|| self.archive.path().to_owned(), |entry| entry.file.clone());
        Error::Tensor { file, name: name.to_string(), problem }
    }

    fn shape_error(&self, name: &str, problem: String) -> Error {
        match self.tensor_error(name, problem) {
            Error::Tensor { file, name, problem } => Error::Shape { file, name, problem },
            other => other,
        }
    }

    pub(super) fn ids_error(&self, problem: String) -> Error {
        Error::Ids { file: self.archive.path().to_owned(), problem }
    }
}

pub(super) fn frame(forward: usize, steps: &[usize], joined: bool) -> Option<Frame> {
    let tokens = *steps.get(forward)?;
    let first = steps.iter().take(forward).sum();
    Some(Frame { forward, tokens, first, joined: joined.then(|| steps.iter().sum()) })
}
