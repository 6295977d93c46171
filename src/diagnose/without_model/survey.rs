//! The first pass: everything that both dumps hold is compared once, and only numbers are kept.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::diagnose::curve::Curve;
use crate::diagnose::equivalent::is_query_or_key;
use crate::diagnose::outputs::Outputs;
use crate::diagnose::part::{Part, Worst, compare_parts};
use crate::diagnose::precision::Precision;
use crate::diagnose::report::{ActivationRow, Status};
use crate::dump::{self, Aligned, Pair, Subject, Twins};
use crate::engine::{Class, Graph, Keyed, Op, Site, Value};
use crate::metrics::{self, Comparison};

/// Scores below this are masked: engines use -1e4 and less, up to the lowest number there is.
const MASKED: f32 = -5e3;

/// One subject of one forward.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) subject: Subject,
    /// What the report has of it, but for its status.
    pub(super) row: ActivationRow,
    /// What it is in every layer, if it is an activation.
    pub(super) class: Option<Class>,
    /// `None` when only one dump has it, or when its shapes cannot be compared.
    pub(super) found: Option<Found>,
}

/// The comparison of one subject.
#[derive(Debug)]
pub(super) struct Found {
    /// The rows compared, as positions of the sequence, and the error of each.
    pub(super) positions: Vec<usize>,
    pub(super) row_errors: Vec<f64>,
    /// What the bits tell: reference, candidate.
    pub(super) precisions: [Option<Precision>; 2],
    /// The first element that is finite on one side only: what the reference has, what the candidate has. Scores are
    /// hidden by masks.
    pub(super) special: Option<[f64; 2]>,
}

/// Everything compared, in the order of the program.
#[derive(Debug)]
pub(super) struct Survey<'a> {
    pub(super) pair: &'a Pair,
    pub(super) nodes: Vec<Node>,
    index: HashMap<(usize, Site), usize>,
    /// The coarsest precision of each dump.
    pub(super) coarsest: [Precision; 2],
    /// Activations of one dump that hold the same bits, where those of the other do not: side, forward, both.
    pub(super) doubles: Vec<(usize, usize, [Site; 2])>,
    /// What was said while reading.
    pub(super) notes: Vec<String>,
    /// Why something could not be read once more.
    pub(super) failed: RefCell<Option<dump::Error>>,
}

impl Found {
    /// The coarser of the two precisions.
    pub(super) fn precision(&self) -> Precision {
        self.precisions.into_iter().flatten().max().unwrap_or(Precision::F32)
    }

    /// Rows with an error of a tenth of the largest or more.
    pub(super) fn wrong_rows(&self) -> Vec<usize> {
        let errors = &self.row_errors;
        let largest = errors.iter().copied().fold(0.0, f64::max);
        let wrong = |error: &f64| error.is_nan() || (*error > 0.0 && *error >= 0.1 * largest);
        self.positions.iter().zip(errors).filter(|(_, error)| wrong(error)).map(|(position, _)| *position).collect()
    }

    /// The median error of some rows; `None` when one of them was not compared.
    pub(super) fn error_of(&self, rows: &[usize]) -> Option<f64> {
        let place = |row: &usize| self.positions.iter().position(|have| have == row);
        let error = |row: &usize| self.row_errors.get(place(row)?).copied();
        let mut errors = rows.iter().map(error).collect::<Option<Vec<f64>>>()?;
        errors.sort_by(f64::total_cmp);
        errors.get(errors.len() / 2).copied()
    }
}

impl<'a> Survey<'a> {
    /// Compares everything, up to this forward where one is given.
    pub(super) fn take(pair: &'a Pair, until: Option<usize>) -> Result<Self, dump::Error> {
        let mut survey = Self {
            pair,
            nodes: Vec::new(),
            index: HashMap::new(),
            coarsest: [Precision::F32; 2],
            doubles: Vec::new(),
            notes: Vec::new(),
            failed: RefCell::default(),
        };
        let mut prints = Prints::new();
        let subjects = pair.subjects().into_iter();
        for (forward, subject) in subjects.filter(|(forward, _)| until.is_none_or(|until| *forward < until)) {
            let sides = read(pair, forward, &subject)?;
            let compared = compare(pair, forward, &subject, &sides);
            let (comparison, found) = compared.unzip();
            for (coarsest, found) in survey.coarsest.iter_mut().zip(found.iter().flat_map(|found| found.precisions)) {
                *coarsest = (*coarsest).max(found.unwrap_or(Precision::F32));
            }
            if let Some(site) = subject.site() {
                survey.index.insert((forward, site), survey.nodes.len());
                survey.note_doubles(&mut prints, forward, site, &sides.parts);
            }
            survey.notes.extend(sides.notes);
            // The key of a dump: the name, with the decode step.
            let step = if forward == 0 { String::new() } else { format!("@{forward}") };
            let place = (pair.name(&subject) + &step, subject.layer(pair.graph()), forward);
            let comparison = comparison.as_ref().map(|(comparison, worst)| (comparison, *worst));
            let row = ActivationRow::of(place, comparison, Status::Missing, None);
            let class = subject.site().map(|site| pair.graph().class(site));
            survey.nodes.push(Node { subject, row, class, found });
        }
        survey.doubles.sort();
        Ok(survey)
    }

    /// Notes an activation of one side with the bits of another, where those of the other side differ.
    fn note_doubles(&mut self, prints: &mut Prints, forward: usize, site: Site, parts: &[Option<Part>; 2]) {
        let own = parts.each_ref().map(|part| part.as_ref().filter(|part| part.values.len() >= FEW).map(print));
        for side in 0..2 {
            let (Some(print), other) = (own[side], own[1 - side]) else { continue };
            if let Some((before, Some(others))) = prints.insert((side, forward, print), (site, other))
                && other.is_some_and(|other| other != others)
            {
                self.doubles.push((side, forward, [before, site]));
            }
        }
    }

    /// The place of an activation, if it was compared.
    pub(super) fn compared(&self, forward: usize, site: Site) -> Option<usize> {
        self.index.get(&(forward, site)).copied().filter(|place| self.nodes[*place].found.is_some())
    }

    /// Whether a dump has an activation.
    pub(super) fn has(&self, forward: usize, site: Site) -> bool {
        self.index.contains_key(&(forward, site))
    }

    /// The model, as far as names and shapes tell.
    pub(super) fn graph(&self) -> &'a Graph {
        self.pair.graph()
    }

    /// The op that makes a node, if it is an activation.
    pub(super) fn op(&self, at: usize) -> Option<&'a Op> {
        self.nodes[at].subject.site().map(|site| &self.graph()[site].op)
    }

    /// Whether a node only reaches the stream through a softmax: queries, keys and scores.
    pub(super) fn is_before_softmax(&self, node: &Node) -> bool {
        let graph = self.graph();
        node.subject.site().is_some_and(|site| is_query_or_key(site, graph) || is_scores(site, graph))
    }

    /// Whether a node is a norm of whole rows.
    pub(super) fn is_of_norm(&self, at: usize) -> bool {
        let op = self.nodes[at].subject.site().map(|site| &self.graph()[site].op);
        matches!(op, Some(Op::Norm { head_dim: None, .. }))
    }

    /// Both sides once more: what could be read before can be read again; if not, the comparison ends with that.
    pub(super) fn parts(&self, forward: usize, subject: &Subject) -> [Option<Part>; 2] {
        read(self.pair, forward, subject).map_or_else(
            |error| {
                self.failed.borrow_mut().get_or_insert(error);
                [None, None]
            },
            |sides| sides.parts,
        )
    }

    /// The logits of all forwards that were compared.
    pub(super) fn outputs(&self, outputs: &mut Outputs) {
        let Some(site) = self.graph().logits() else { return };
        let forwards = self.nodes.iter().map(|node| node.row.step + 1).max().unwrap_or(0);
        let steps = self.pair.steps();
        for (forward, tokens) in steps.iter().copied().enumerate().take(forwards) {
            let first: usize = steps[..forward].iter().sum();
            if let Some(fed) = self.pair.reference.ids().filter(|_| forward > 0).and_then(|ids| ids.ids.get(first)) {
                outputs.begin_forward(forward, *fed);
            }
            let parts = self.parts(forward, &Subject::Site(site));
            let [reference, candidate] = parts.each_ref().map(Option::as_ref);
            outputs.look((first, tokens), [candidate, reference], [reference, candidate]);
        }
    }

    /// The values of both sides of a node: reference, candidate.
    pub(super) fn values(&self, at: usize) -> Option<[Value; 2]> {
        let [reference, candidate] = self.parts(self.nodes[at].row.step, &self.nodes[at].subject);
        Some([reference?.values, candidate?.values])
    }
}

fn is_scores(site: Site, graph: &Graph) -> bool {
    graph[site].op.facts().keyed == Keyed::Scores
}

/// Both sides of a subject, masked scores made equal.
struct Sides {
    /// Reference, candidate.
    parts: [Option<Part>; 2],
    /// Whether they stand in the layout of the activation table.
    laid_out: bool,
    /// What was said while reading.
    notes: Vec<String>,
}

/// Reads a subject from both dumps.
fn read(pair: &Pair, forward: usize, subject: &Subject) -> Result<Sides, dump::Error> {
    let Twins { sides: [reference, candidate], laid_out } = pair.read(forward, subject)?;
    let scores = subject.site().is_some_and(|site| is_scores(site, pair.graph()));
    let name = pair.name(subject);
    let mut notes = Vec::new();
    let mut part = |aligned: Aligned, side: &str| {
        notes.extend(aligned.notes.iter().map(|note| format!("{side}: {name}: {note}")));
        let mut part = aligned.part;
        if scores {
            part.values.mapv_inplace(|value| if value <= MASKED { f32::NEG_INFINITY } else { value });
        }
        part
    };
    let parts = [reference.map(|a| part(a, "reference")), candidate.map(|a| part(a, "candidate"))];
    Ok(Sides { parts, laid_out, notes })
}

fn compare(pair: &Pair, forward: usize, subject: &Subject, sides: &Sides) -> Option<((Comparison, Worst), Found)> {
    let [Some(reference), Some(candidate)] = &sides.parts else { return None };
    let first: usize = pair.steps().iter().take(forward).sum();
    let (comparison, worst, rows) = match subject.site().filter(|_| sides.laid_out) {
        Some(site) => {
            let (comparison, mut worst, rows) = compare_parts(site, pair.graph(), first, candidate, reference)?;
            if !pair.heads_known()
                && let (Some(head), Some(channel)) = (worst.head.take(), worst.channel)
            {
                worst.channel = Some(head * pair.head_dim() + channel);
            }
            (comparison, worst, rows)
        }
        None => as_stored(&candidate.values, &reference.values, first)?,
    };
    let tell = |part: &Part| Precision::detect(part.values.view());
    let told = [tell(reference), tell(candidate)];
    // An embedding is a copy: its bits are those of the weights, and tell something only when one side rounded them.
    let copied = subject.site().is_some_and(|site| pair.graph().is_copy(site));
    let silent = copied && (told[0] == told[1] || comparison.error <= Curve::rounding(Precision::F32));
    let scores = subject.site().is_some_and(|site| is_scores(site, pair.graph()));
    let special = comparison.worst_pair.filter(|_| comparison.unequal_specials > 0 && !scores);
    let found = Found {
        special: special.map(|(candidate, reference)| [reference, candidate]),
        positions: rows.into_iter().map(|row| first + row).collect(),
        row_errors: comparison.row_errors.clone(),
        precisions: if silent { [None, None] } else { told },
    };
    Some(((comparison, worst), found))
}

/// Tensors of which nothing is known but that their axes are as long.
fn as_stored(values: &Value, expected: &Value, first: usize) -> Option<(Comparison, Worst, Vec<usize>)> {
    if values.shape() != expected.shape() {
        return None;
    }
    let comparison = metrics::compare(values.view(), expected.view(), |_, _| true);
    let mut worst = Worst::default();
    if let Some([row, channel]) = comparison.worst.as_deref() {
        (worst.token, worst.channel) = (Some(first + row), Some(*channel));
    }
    let rows = (0..comparison.row_errors.len()).collect();
    Some((comparison, worst, rows))
}

/// Tensors with fewer values than this may be equal by chance.
const FEW: usize = 16;

/// By side, forward and hash of its bits: the last tensor, and the hash of the other side's.
type Prints = HashMap<(usize, usize, u64), (Site, Option<u64>)>;

fn print(part: &Part) -> u64 {
    let mut hasher = DefaultHasher::new();
    part.values.iter().for_each(|value| value.to_bits().hash(&mut hasher));
    hasher.finish()
}
