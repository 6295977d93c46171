//! What a comparison found: plain data, that a session keeps and every report shows; and its JSON (`layerstep.diff/1`, a
//! stable contract).
//!
//! Read from the header of a session, a [`Report`] has what stands there: verdict, sentence and divergences. Written, it is
//! what templates of reports take.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::finding::numbers;
use super::part::Worst;
use super::suspects::search::Accused;
use crate::dump::Dump;

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
    /// Relative L2 error; NaN when missing.
    pub error: f64,
    /// Cosine of the angle; NaN when missing.
    pub cosine: f64,
    /// Largest absolute difference; NaN when missing.
    pub max_abs: f64,
    /// Where that is.
    pub worst: Worst,
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
    /// The first wrong activation that was dumped.
    pub name: String,
    /// Which layers have it, its own first; none where it lies in no layer.
    #[serde(deserialize_with = "layers")]
    pub layers: Vec<usize>,
    /// Position in the sequence of the first wrong row.
    #[serde(skip_deserializing)]
    pub token: Option<usize>,
    /// The last activation before it that agrees.
    #[serde(deserialize_with = "not_empty")]
    pub last_good: Option<String>,
    /// Whether all its inputs were dumped.
    pub exact: bool,
    /// Whose tensor is wrong.
    pub culprit: Culprit,
    /// One sentence: what is wrong, how much, where in the tensor.
    pub summary: String,
    /// The mistakes that make it, best first; equally good ones side by side.
    #[serde(deserialize_with = "by_id")]
    pub suspects: Vec<Accused>,
}

fn layers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<usize>, D::Error> {
    Ok(numbers(&String::deserialize(from)?))
}

fn not_empty<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Some(String::deserialize(from)?).filter(|name| !name.is_empty()))
}

fn by_id<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Accused>, D::Error> {
    Ok(Vec::<String>::deserialize(from)?.iter().map(|id| Accused::of_id(id)).collect())
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
    pub divergences: Vec<Divergence>,
    /// What the dumps cannot show.
    #[serde(skip_deserializing)]
    pub blind_spots: Vec<BlindSpot>,
    /// Every activation, in program order.
    #[serde(skip)]
    pub activations: Vec<ActivationRow>,
    /// What the user should know.
    #[serde(skip_deserializing)]
    pub notes: Vec<String>,
    /// Who was compared.
    #[serde(skip_deserializing)]
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
}

/// A number of the JSON contract: NaN and infinities are strings.
fn number(value: f64) -> Value {
    if value.is_finite() {
        json!(value)
    } else if value.is_nan() {
        json!("NaN")
    } else {
        json!(if value > 0.0 { "inf" } else { "-inf" })
    }
}

impl Report {
    /// The first of the divergences.
    pub fn first_divergence(&self) -> Option<&Divergence> {
        self.divergences.first()
    }

    /// The document of `diff --json`.
    pub fn to_json(&self) -> Value {
        let with_suspects = |divergence: &Divergence| {
            let mut value = divergence.to_json();
            value["suspects"] = suspects(Some(divergence));
            value
        };
        json!({
            "schema": "layerstep.diff/1",
            "verdict": self.verdict,
            "first_divergence": self.first_divergence().map(Divergence::to_json),
            "suspects": suspects(self.first_divergence()),
            "divergences": self.divergences.iter().map(with_suspects).collect::<Vec<_>>(),
            "activations": self.activations.iter().map(ActivationRow::to_json).collect::<Vec<_>>(),
            "blind_spots": self.blind_spots,
            "notes": self.notes,
            "sources": self.sources.iter().map(|source| (source.role.to_string(), source.to_json()))
                .collect::<serde_json::Map<_, _>>(),
        })
    }
}

fn suspects(divergence: Option<&Divergence>) -> Value {
    let suspect = |accused: &Accused| {
        json!({
            "id": accused.id,
            "name": accused.name,
            "explained": number(accused.explained),
            "residual": number(accused.residual),
            "summary": accused.summary,
        })
    };
    divergence.into_iter().flat_map(|divergence| &divergence.suspects).map(suspect).collect()
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

    /// The op that the error is made in, as far as it is known: where inputs were not dumped, that of the first suspect.
    fn origin(&self) -> &str {
        let inner = self.suspects.first().filter(|suspect| !self.exact && suspect.edit.is_some());
        inner.map_or(&self.name, |suspect| &suspect.name)
    }

    /// Which mistakes make it and what to do, in lines; `share` says what is printed of how much one explains.
    pub fn reasons(&self, share: impl Fn(&Accused) -> String) -> Vec<String> {
        let reason = |(index, suspect): (usize, &Accused)| {
            let word = if index == 0 { "why:" } else { "  or:" };
            let why = format!("{word} {}: {}{}", suspect.id, suspect.summary, share(suspect));
            [why].into_iter().chain((!suspect.fix.is_empty()).then(|| format!(" fix: {}", suspect.fix)))
        };
        self.suspects.iter().enumerate().flat_map(reason).collect()
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "origin": self.origin(),
            "layer": self.layer(),
            "layers": self.layers,
            "token": self.token,
            "step": self.step(),
            "bracket": [self.last_good, self.name],
            "exact": self.exact,
            "culprit": self.culprit,
        })
    }
}

/// The name without the forward that it ends in, and that forward: 0 is the prefill.
pub fn bare(name: &str) -> (&str, usize) {
    let step = name.rsplit_once('@').and_then(|(bare, step)| Some((bare, step.parse().ok()?)));
    step.unwrap_or((name, 0))
}

impl ActivationRow {
    /// The error, where two sides were compared.
    pub fn compared(&self) -> Option<f64> {
        (self.status != Status::Missing).then_some(self.error)
    }

    fn to_json(&self) -> Value {
        let compared = |value| self.compared().map(|_| number(value));
        let local = |of: fn(&Local) -> f64| self.local.as_ref().map(|local| number(of(local)));
        json!({
            "name": self.name,
            "error": compared(self.error),
            "local_error": local(|local| local.error),
            "propagated_error": self.local.and_then(|local| local.propagated).map(number),
            "noise_floor": local(|local| local.floor),
            "ratio": local(Local::ratio),
            "cosine": compared(self.cosine),
            "max_abs": compared(self.max_abs),
            "worst": self.worst,
            "status": self.status.name(),
        })
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
        Self { role: "engine", path: model.into(), dtype: "f32".into(), ids: ids.to_vec(), plan: Vec::new() }
    }

    /// A dump of this precision.
    pub fn dump(role: &'static str, dump: &Dump, dtype: &str) -> Self {
        Self {
            role,
            path: dump.path().display().to_string(),
            dtype: dtype.into(),
            ids: dump.ids().map(|ids| ids.ids.clone()).unwrap_or_default(),
            plan: dump.plan().to_string().lines().map(str::to_string).collect(),
        }
    }

    fn to_json(&self) -> Value {
        json!({ "path": self.path, "dtype": self.dtype, "ids": self.ids, "plan": self.plan })
    }
}
