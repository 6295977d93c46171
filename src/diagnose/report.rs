//! What a comparison found: plain data, that a session keeps and every report shows.
//!
//! Read from the header of a session, a [`Report`] has what stands there: verdict, sentence, and of the divergences what
//! can be told without the dumps.

mod covered;
mod json;
mod words;

pub use words::{Label, Line};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::effect::Effect;
use super::fed::Apart;
use super::finding::{all_ranges, numbers};
use super::nonfinite::NonFinite;
use super::part::Worst;
use super::suspects::search::Accused;
use crate::dump::{Coverage, Dump};
use crate::metrics::Comparison;

/// The answer in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything compared agrees as f32 computations do.
    Match,
    /// Every difference is explained by a precision.
    Rounding,
    /// A wrong value was computed.
    Diverged,
    /// The values are right but stand under a wrong name or row.
    Mislabelled,
    /// The token ids are not the same.
    InputsDiffer,
    /// A difference that the evidence does not settle.
    #[default]
    #[serde(other)]
    Inconclusive,
}

impl Verdict {
    /// The word of the JSON contract.
    pub fn name(self) -> &'static str {
        match self {
            Self::Match => "match",
            Self::Rounding => "rounding",
            Self::Diverged => "diverged",
            Self::Mislabelled => "mislabelled",
            Self::InputsDiffer => "inputs_differ",
            Self::Inconclusive => "inconclusive",
        }
    }

    /// Whether the two sides agree: exit status 0.
    pub fn agrees(self) -> bool {
        matches!(self, Self::Match | Self::Rounding)
    }
}

/// Whose tensor is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Culprit {
    /// The reference dump: its tensor is not what its own inputs give.
    Reference,
    /// The candidate dump: its tensor is not what its own inputs give.
    Candidate,
    /// Ours: both dumps agree on something else, so the model has something that our engine does not know.
    Engine,
    /// The evidence does not tell.
    #[default]
    #[serde(other)]
    Unknown,
}

impl Culprit {
    /// The word of the JSON contract.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Candidate => "candidate",
            Self::Engine => "engine",
            Self::Unknown => "unknown",
        }
    }
}

/// What is known about one activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// Within f32 rounding.
    Ok,
    /// Within the rounding of a coarser precision.
    Rounding,
    /// Another layout of the same values.
    Equivalent,
    /// Not what its own inputs give.
    Bad,
    /// What its own inputs give; those were wrong.
    Propagated,
    /// Not in the dump.
    Missing,
}

impl Status {
    /// The word of the JSON contract.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Rounding => "rounding",
            Self::Equivalent => "equivalent",
            Self::Bad => "bad",
            Self::Propagated => "propagated",
            Self::Missing => "missing",
        }
    }
}

/// One row of the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActivationRow {
    /// Canonical name; decode steps carry `@1`, `@2`, ...
    pub name: String,
    /// Its layer.
    pub layer: Option<usize>,
    /// Which forward: 0 is the prefill.
    pub step: usize,
    /// Relative L2 error, of the elements that are finite on both sides; NaN when there are none, or it is missing.
    pub error: f64,
    /// Cosine of the angle; NaN when missing.
    pub cosine: f64,
    /// Largest absolute difference; NaN when missing.
    pub max_abs: f64,
    /// Where that is.
    pub worst: Worst,
    /// Elements that are finite on one side only.
    #[serde(default, skip_serializing_if = "is_none")]
    pub nonfinite: usize,
    /// What it means.
    pub status: Status,
    /// The measurement on the dump's own inputs; of two dumps, that of the one further out of order.
    pub local: Option<Local>,
}

/// An op on a dump's own inputs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Local {
    /// Relative L2 error of the dump's output.
    pub error: f64,
    /// The same of correct programs of the dump's precision.
    pub floor: f64,
    /// What the errors of its inputs make of an exact op; none without a second witness.
    pub propagated: Option<f64>,
}

/// Where an error originates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Divergence {
    /// The first wrong activation that was dumped; its forward is part of it.
    pub name: String,
    /// Whose tensor is wrong.
    pub culprit: Culprit,
    /// The mistakes that make it, best first; equally good ones side by side. A session keeps their ids.
    #[serde(serialize_with = "ids", deserialize_with = "by_id")]
    pub suspects: Vec<Accused>,
    /// Which layers have it, its own first; none where it lies in no layer.
    #[serde(serialize_with = "as_ranges", deserialize_with = "of_ranges")]
    pub layers: Vec<usize>,
    /// The last activation before it that agrees.
    #[serde(serialize_with = "or_empty", deserialize_with = "not_empty")]
    pub last_good: Option<String>,
    /// Whether all its inputs were dumped.
    pub exact: bool,
    /// One sentence: what is wrong, how much, where in the tensor.
    pub summary: String,
    /// Position in the sequence of the first wrong row.
    #[serde(skip)]
    pub token: Option<usize>,
    /// Its first element that is not finite where it should be.
    #[serde(skip)]
    pub nonfinite: Option<NonFinite>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "so serde gives a field")]
fn is_none(count: &usize) -> bool {
    *count == 0
}

fn ids<S: Serializer>(suspects: &[Accused], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(suspects.iter().map(|suspect| suspect.id))
}

fn by_id<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Accused>, D::Error> {
    Ok(Vec::<String>::deserialize(from)?.iter().map(|id| Accused::of_id(id)).collect())
}

fn as_ranges<S: Serializer>(layers: &[usize], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&all_ranges(layers))
}

fn of_ranges<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<usize>, D::Error> {
    Ok(numbers(&String::deserialize(from)?))
}

#[expect(clippy::ref_option, reason = "so serde gives a field")]
fn or_empty<S: Serializer>(name: &Option<String>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(name.as_deref().unwrap_or_default())
}

fn not_empty<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Some(String::deserialize(from)?).filter(|name| !name.is_empty()))
}

/// Something that the dump cannot show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BlindSpot {
    /// Stable id.
    pub id: &'static str,
    /// What cannot be seen.
    pub summary: String,
    /// A command that makes a dump that shows it.
    pub remedy: String,
}

/// Everything that was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// The answer in one word.
    #[serde(rename = "word")]
    pub verdict: Verdict,
    /// The answer in one sentence.
    pub sentence: String,
    /// Where it starts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub divergences: Vec<Divergence>,
    /// What the dumps cannot show.
    #[serde(skip)]
    pub blind_spots: Vec<BlindSpot>,
    /// Every activation, in program order.
    #[serde(skip)]
    pub activations: Vec<ActivationRow>,
    /// What the differences do to the output, where there are logits.
    #[serde(skip)]
    pub effect: Option<Effect>,
    /// Where the two sides went apart: what is compared ends there.
    #[serde(skip)]
    pub apart: Option<Apart>,
    /// What confirms the causes: our engine with the mistakes gives the rest of the dump.
    #[serde(skip)]
    pub proofs: Vec<String>,
    /// What the user should know.
    #[serde(skip)]
    pub notes: Vec<String>,
    /// Who was compared.
    #[serde(skip)]
    pub sources: Vec<Source>,
}

/// One witness.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Source {
    /// `engine`, `reference` or `candidate`.
    pub role: &'static str,
    /// Directory or file.
    pub path: String,
    /// Precision, as its bits tell.
    pub dtype: String,
    /// Token ids.
    pub ids: Vec<u32>,
    /// How its tensors were read, one line each; empty for the engine.
    pub plan: Vec<String>,
    /// How much of it is compared.
    #[serde(skip)]
    pub coverage: Option<Coverage>,
}

impl Report {
    /// What confirms the causes, and what the user should know besides.
    pub fn all_notes(&self) -> impl Iterator<Item = &String> {
        self.proofs.iter().chain(&self.notes)
    }

    /// The first of the divergences.
    pub fn first_divergence(&self) -> Option<&Divergence> {
        self.divergences.first()
    }
}

impl Divergence {
    /// Its layer.
    pub fn layer(&self) -> Option<usize> {
        self.layers.first().copied()
    }

    /// Which forward.
    pub fn step(&self) -> usize {
        bare(&self.name).1
    }

    /// Between which activations it is made, in words.
    pub fn bracket(&self) -> String {
        let made = if self.exact { "in this op: all its inputs were dumped" } else { "somewhere between" };
        format!("after {}, {made}", self.last_good.as_deref().unwrap_or("the start"))
    }

    /// The mistake that makes it, where one is known.
    pub fn cause(&self) -> Option<&Accused> {
        self.suspects.first().filter(|suspect| suspect.id != "unknown" && !suspect.refuted)
    }
}

/// The name without the forward that it ends in, and that forward: 0 is the prefill.
pub fn bare(name: &str) -> (&str, usize) {
    let step = name.rsplit_once('@').and_then(|(bare, step)| Some((bare, step.parse().ok()?)));
    step.unwrap_or((name, 0))
}

impl ActivationRow {
    /// What was made here, where that is a size: not where elements are finite on one side only, as the rest may be right.
    pub fn made(&self) -> Option<Local> {
        self.local.filter(|_| self.nonfinite == 0)
    }

    /// The row of an activation; NaN where nothing was compared.
    pub fn of(
        (name, layer, step): (String, Option<usize>, usize),
        compared: Option<(&Comparison, Worst)>,
        status: Status,
        local: Option<Local>,
    ) -> Self {
        let figure = |of: fn(&Comparison) -> f64| compared.map_or(f64::NAN, |(comparison, _)| of(comparison));
        Self {
            name,
            layer,
            step,
            error: figure(|found| found.finite_error),
            cosine: figure(|found| found.cosine),
            max_abs: figure(|found| found.max_abs),
            worst: compared.map(|(_, worst)| worst).unwrap_or_default(),
            nonfinite: compared.map_or(0, |(comparison, _)| comparison.unequal_specials),
            status,
            local,
        }
    }

    /// The error, where two sides were compared.
    pub fn compared(&self) -> Option<f64> {
        (self.status != Status::Missing).then_some(self.error)
    }

    /// The error where every element counts: infinite where one is finite on one side only.
    pub fn strict(&self) -> f64 {
        if self.nonfinite > 0 { f64::INFINITY } else { self.error }
    }

    /// The error, where two sides were compared that may not differ.
    pub fn weight(&self) -> Option<f64> {
        self.compared().filter(|_| self.status != Status::Equivalent)
    }
}

impl Local {
    /// Error over floor.
    pub fn ratio(&self) -> f64 {
        if self.error == 0.0 { 0.0 } else { self.error / self.floor }
    }
}

impl Source {
    /// Our engine, and the tokens that it was fed.
    pub fn engine(model: &str, ids: &[u32]) -> Self {
        Self { role: "engine", path: model.into(), dtype: "f32".into(), ids: ids.to_vec(), ..Self::default() }
    }

    /// A dump of this precision.
    pub fn dump(role: &'static str, dump: &Dump, dtype: &str) -> Self {
        Self {
            role,
            path: dump.path().display().to_string(),
            dtype: dtype.into(),
            ids: dump.ids().map(|ids| ids.ids.clone()).unwrap_or_default(),
            plan: dump.plan().to_string().lines().map(str::to_string).collect(),
            coverage: Some(dump.coverage()),
        }
    }
}
