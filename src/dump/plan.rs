//! What was taken for what: one line per tensor, with every reshape, transpose, squeeze and selection that is made.

use std::fmt;

use super::error::shown;
use super::map::Expression;
use super::name::Flavour;
use super::pads::Pads;
use super::part::Part;
use super::shape::{Frame, Kind, Layout, Reading, Role, Rows, Wanted};
use crate::engine::{Graph, Node, Site};
use crate::formats::{Dtype, Entry};

/// A tensor taken for an activation.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The tensor's name, as stored: escape it before it reaches a terminal.
    pub name: String,
    /// The activation.
    pub site: Site,
    /// Its canonical name.
    pub activation: String,
    /// The forward.
    pub forward: usize,
    /// Its type on disk.
    pub dtype: Dtype,
    /// Its shape on disk.
    pub stored: Vec<usize>,
    /// It is Hugging Face's last `hidden_states`, taken for the final norm by convention; newer versions can make it the
    /// last block's output.
    pub by_convention: bool,
    /// Which piece of the stored tensor it is, where that holds several activations; `stored` is the shape of the piece.
    pub(super) part: Option<Part>,
    /// A map says what it is.
    pub(super) mapped: bool,
    pub(super) flat: bool,
    pub(super) flavour: Flavour,
    pub(super) expression: Option<Expression>,
    /// The tensor that tells which experts were chosen, in the order of its slots.
    pub(super) chosen: Option<String>,
    pub(super) wanted: Wanted,
    /// The forward as it is stored.
    pub(super) frame: Option<Frame>,
    /// The pads that it is stored with.
    pub(super) pads: Option<Pads>,
    pub(super) readings: Vec<Reading>,
}

impl Planned {
    /// A tensor that is taken for an activation as it stands.
    pub(super) fn of(entry: &Entry, site: Site, forward: usize, graph: &Graph) -> Self {
        Self {
            name: entry.name.clone(),
            site,
            activation: graph.name(site).to_string(),
            forward,
            dtype: entry.dtype,
            stored: entry.shape.clone(),
            by_convention: false,
            part: None,
            mapped: false,
            flat: entry.flat,
            flavour: Flavour::Alias,
            expression: None,
            chosen: None,
            wanted: Wanted::new(site, graph),
            frame: None,
            pads: None,
            readings: Vec::new(),
        }
    }

    /// Whether several readings of the shape fit, and the values must decide.
    pub fn is_ambiguous(&self) -> bool {
        self.readings.len() > 1
    }

    /// Bits of significand of a file's number, where that is a float of 16 bits.
    pub fn few_bits(&self) -> Option<u32> {
        match self.dtype {
            Dtype::F16 => Some(11),
            Dtype::Bf16 => Some(8),
            _ => None,
        }
    }

    /// Whether the values are the activation itself: not scores before their scale, nor a norm before its weight.
    pub(super) fn is_the_activation(&self) -> bool {
        !matches!(self.flavour, Flavour::Unscaled | Flavour::BeforeWeight)
    }

    /// What a reading does to the tensor, in words.
    pub(super) fn described(&self, reading: &Reading, frame: Frame) -> Vec<String> {
        let mapped = self.expression.as_ref().and_then(|expression| expression.shape(&self.stored).ok());
        describe(reading, &self.wanted, frame, mapped.as_deref().unwrap_or(&self.stored), self.flat)
    }

    /// Readings that are as plain as the best of them.
    pub(super) fn equally_plain(&self) -> usize {
        let turned = self.readings.first().is_some_and(|reading| reading.turned);
        self.readings.iter().filter(|reading| reading.turned == turned).count()
    }

    /// Whether the tensor holds only some of the forward's rows.
    pub fn is_partial(&self) -> bool {
        self.readings.first().is_some_and(|reading| reading.holds == Rows::Some)
    }

    /// Rows of this forward that the tensor holds, once the ids are known.
    pub fn rows(&self) -> Option<usize> {
        let (reading, frame) = (self.readings.first()?, self.own_frame()?);
        Some(if matches!(reading.holds, Rows::Some | Rows::Last) { reading.rows } else { frame.tokens })
    }

    /// The forward without pads.
    pub(super) fn own_frame(&self) -> Option<Frame> {
        self.frame.map(|frame| self.pads.map_or(frame, |pads| pads.without(frame)))
    }

    /// What is done to the tensor, in order, for people. Empty when it stands as the table has it.
    pub fn steps(&self) -> Vec<String> {
        let mut steps = Vec::new();
        if let Some(expression) = &self.expression {
            steps.extend(expression.describe());
        }
        match self.flavour {
            Flavour::Unscaled => steps.push("times 1/sqrt(head_dim), masked".into()),
            Flavour::LastHiddenState => steps.push("after the final norm by convention".into()),
            Flavour::BeforeWeight => steps.push("left out if it is before the norm's weight".into()),
            Flavour::Ranked => steps.push("slots sorted by expert".into()),
            Flavour::Canonical | Flavour::Alias => {}
        }
        if let (Some(reading), Some(frame)) = (self.readings.first(), self.frame) {
            steps.extend(self.described(reading, frame));
            if let Some(pads) = self.pads.filter(|_| frame.forward == 0) {
                steps.push(format!("{} rows of padding cut", pads.count()));
            }
            if self.equally_plain() > 1 {
                steps.push(format!("{} readings fit: the values decide", self.equally_plain()));
            }
        }
        steps
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = self.part.map(|part| part.to_string()).unwrap_or_default();
        write!(f, "{}{part} {} {:?}", shown(&self.name), self.dtype.name(), self.stored)?;
        let at = if self.forward > 0 { format!("@{}", self.forward) } else { String::new() };
        write!(f, " -> {}{at}", self.activation)?;
        let steps = self.steps();
        if steps.is_empty() { Ok(()) } else { write!(f, ": {}", steps.join(", ")) }
    }
}

/// The name of a role in an activation of this kind.
fn role(role: Role, wanted: &Wanted) -> &'static str {
    match (role, wanted.kind) {
        (Role::Head, Kind::Slots) => "slot",
        (Role::Head, _) => "head",
        (Role::Token, Kind::Scores) => "query",
        (Role::Token, _) => "token",
        (Role::Channel, Kind::Rows | Kind::Slots) => "channel",
        (Role::Channel, _) => "head_dim",
        (Role::Key, _) => "key",
    }
}

/// `[token, head * head_dim]`.
fn axes(layout: Layout, wanted: &Wanted) -> String {
    let axis = |roles: &&[Role]| roles.iter().map(|r| role(*r, wanted)).collect::<Vec<_>>().join(" * ");
    format!("[{}]", layout.iter().map(axis).collect::<Vec<_>>().join(", "))
}

/// One reading, in words.
fn describe(reading: &Reading, wanted: &Wanted, frame: Frame, stored: &[usize], flat: bool) -> Vec<String> {
    let mut steps = Vec::new();
    let stored_axes = stored.iter().filter(|n| **n != 1).count();
    let read_axes = reading.order.iter().filter(|(_, length)| *length != 1).count();
    if let Some((pick, of)) = reading.batch {
        steps.push(format!("sequence {pick} of a batch of {of}"));
    } else if !flat && stored.len() > reading.layout.len() && stored.contains(&1) {
        steps.push("squeezed".into());
    }
    let merged = reading.layout.iter().any(|axis| axis.len() > 1);
    if reading.reversed {
        steps.push("sizes reversed".into());
    }
    if flat || (stored_axes < 2 && reading.rows > 1) {
        steps.push(format!("reshaped to {}", axes(reading.layout, wanted)));
    } else if wanted.kind == Kind::PerHead && merged && read_axes > 1 {
        steps.push("split into heads".into());
    }
    if !reading.is_table_layout(wanted) {
        steps.push(format!("transposed from {}", axes(reading.layout, wanted)));
    }
    if wanted.kind == Kind::Merged && !merged && wanted.heads > 1 {
        steps.push("heads joined".into());
    }
    if reading.heads > wanted.heads {
        steps.push(format!("one of every {} repeated heads", reading.heads / wanted.heads.max(1)));
    }
    let (from, to) = (frame.first, frame.first + frame.tokens);
    match reading.holds {
        Rows::All => {}
        Rows::Joined => steps.push(format!("rows {from}..{to} of the {} of all forwards", reading.rows)),
        Rows::Cache => steps.push(format!("rows {from}..{to} of a cache of {}", reading.rows)),
        Rows::Some => steps.push(format!("{} of {} rows: the values decide which", reading.rows, frame.tokens)),
        Rows::Last => steps.push(format!("the last {} of {} rows", reading.rows, frame.tokens)),
        Rows::Padded => steps.push(format!("{} rows of padding cut", reading.rows - frame.tokens)),
    }
    if wanted.kind == Kind::Scores && reading.holds != Rows::Joined {
        match reading.keys.cmp(&to) {
            std::cmp::Ordering::Equal => {}
            std::cmp::Ordering::Greater => steps.push(format!("{} keys of padding cut", reading.keys - to)),
            std::cmp::Ordering::Less => steps.push(format!("the last {} of {to} keys", reading.keys)),
        }
    }
    steps
}

/// The shapes that would have done, for an error.
pub(super) fn expected(node: &Node, wanted: &Wanted, frame: Frame) -> String {
    let (t, h, d) = (frame.tokens, wanted.heads, wanted.channels);
    let keys = frame.first + t;
    let shapes = match wanted.kind {
        Kind::Rows => format!("[{t}, {d}]"),
        Kind::PerHead | Kind::Merged => format!("[{h}, {t}, {d}], [{t}, {h}, {d}] or [{t}, {}]", h * d),
        Kind::Slots => format!("[{t}, {h}, {d}]"),
        Kind::Scores => format!("[{h}, {t}, {keys}]"),
    };
    let axes: Vec<&str> = node.axes.iter().map(|axis| axis.name).collect();
    let joined =
        frame.joined.map(|all| format!(", or {all} tokens with those of the decode steps")).unwrap_or_default();
    format!("{shapes} for {t} tokens ([{}]){joined}", axes.join(", "))
}

/// A tensor that no rule matched, or that was not needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmatched {
    /// Its name, as stored: escape it before it reaches a terminal.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Why it was not taken, if more is known than that no rule matches.
    pub reason: Option<String>,
    /// Names it may have been meant for, nearest first.
    pub guesses: Vec<String>,
}

impl fmt::Display for Unmatched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", shown(&self.name), self.shape)?;
        match (&self.reason, self.guesses.as_slice()) {
            (Some(reason), _) => write!(f, ": {reason}"),
            (None, []) => Ok(()),
            (None, guesses) => write!(f, ": perhaps {}?", guesses.join(" or ")),
        }
    }
}

/// The printed plan.
#[derive(Debug)]
pub struct Plan<'a> {
    pub(super) taken: &'a [Planned],
    pub(super) unmatched: &'a [Unmatched],
    pub(super) unused: Vec<&'a Unmatched>,
}

impl fmt::Display for Plan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for planned in self.taken {
            writeln!(f, "{planned}")?;
        }
        for unused in &self.unused {
            writeln!(f, "not used: {unused}")?;
        }
        for unmatched in self.unmatched {
            writeln!(f, "no rule matches: {unmatched}")?;
        }
        Ok(())
    }
}
