//! What a comparison found: plain data, and its JSON (`layerstep.diff/1`, a stable contract).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::part::Worst;
use super::suspects::search::Accused;

/// The answer in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

    /// The verdict that a word of the JSON contract means.
    pub fn of(word: &str) -> Option<Self> {
        use Verdict as V;
        [V::Match, V::Rounding, V::Diverged, V::Mislabelled, V::InputsDiffer, V::Inconclusive]
            .into_iter()
            .find(|verdict| verdict.name() == word)
    }

    /// Whether the two sides agree: exit status 0.
    pub fn agrees(self) -> bool {
        matches!(self, Self::Match | Self::Rounding)
    }
}

/// Whose tensor is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Culprit {
    /// The reference dump: its tensor is not what its own inputs give.
    Reference,
    /// The candidate dump: its tensor is not what its own inputs give.
    Candidate,
    /// Ours: both dumps agree on something else, so the model has something that our engine does not know.
    Engine,
    /// The evidence does not tell.
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

    /// The one that a word of the JSON contract means.
    pub fn of(word: &str) -> Option<Self> {
        [Self::Reference, Self::Candidate, Self::Engine, Self::Unknown].into_iter().find(|one| one.name() == word)
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
#[derive(Clone, Debug, Serialize, Deserialize)]
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
#[derive(Clone, Debug)]
pub struct Divergence {
    /// The first wrong activation that was dumped.
    pub name: String,
    /// Which layers have it.
    pub layers: Vec<usize>,
    /// Its layer.
    pub layer: Option<usize>,
    /// Which forward.
    pub step: usize,
    /// Position in the sequence of the first wrong row.
    pub token: Option<usize>,
    /// The last activation before it that agrees.
    pub last_good: Option<String>,
    /// Whether all its inputs were dumped.
    pub exact: bool,
    /// Whose tensor is wrong.
    pub culprit: Culprit,
    /// One sentence: what is wrong, how much, where in the tensor.
    pub summary: String,
    /// The mistakes that make it, best first; equally good ones side by side.
    pub suspects: Vec<Accused>,
}

/// Something that the dump cannot show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlindSpot {
    /// Stable id.
    pub id: &'static str,
    /// What cannot be seen.
    pub summary: String,
    /// A command that makes a dump that shows it.
    pub remedy: String,
}

/// Everything that was found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The answer in one word.
    pub verdict: Verdict,
    /// The answer in one sentence.
    pub sentence: String,
    /// Where it starts.
    pub divergences: Vec<Divergence>,
    /// What the dumps cannot show.
    pub blind_spots: Vec<BlindSpot>,
    /// Every activation, in program order.
    pub activations: Vec<ActivationRow>,
    /// What the user should know.
    pub notes: Vec<String>,
    /// Who was compared.
    pub sources: Vec<Source>,
}

/// One witness.
#[derive(Clone, Debug)]
pub struct Source {
    /// `engine`, `reference` or `candidate`.
    pub role: &'static str,
    /// Directory or file.
    pub path: String,
    /// Precision, as its bits tell.
    pub dtype: String,
    /// Token ids.
    pub ids: Vec<u32>,
    /// How its tensors were read; empty for the engine.
    pub plan: String,
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
            if let Value::Object(object) = &mut value {
                object.insert("suspects".into(), suspects(Some(divergence)));
            }
            value
        };
        let blind_spot = |spot: &BlindSpot| json!({ "id": spot.id, "summary": spot.summary, "remedy": spot.remedy });
        json!({
            "schema": "layerstep.diff/1",
            "verdict": self.verdict.name(),
            "first_divergence": self.first_divergence().map(Divergence::to_json),
            "suspects": suspects(self.first_divergence()),
            "divergences": self.divergences.iter().map(with_suspects).collect::<Vec<_>>(),
            "activations": self.activations.iter().map(ActivationRow::to_json).collect::<Vec<_>>(),
            "blind_spots": self.blind_spots.iter().map(blind_spot).collect::<Vec<_>>(),
            "notes": self.notes,
            "sources": self.sources.iter().map(|source| (source.role.to_string(), source.to_json()))
                .collect::<serde_json::Map<_, _>>(),
        })
    }
}

fn suspects(divergence: Option<&Divergence>) -> Value {
    divergence.into_iter().flat_map(|divergence| &divergence.suspects).map(Accused::to_json).collect()
}

impl Accused {
    fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "explained": number(self.explained),
            "residual": number(self.residual),
            "summary": self.summary,
        })
    }
}

impl Divergence {
    /// The op that the error is made in, as far as it is known: where inputs were not dumped, that of the first suspect.
    fn origin(&self) -> &str {
        let inner = self.suspects.first().filter(|suspect| !self.exact && suspect.edit.is_some());
        inner.map_or(&self.name, |suspect| &suspect.name)
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "origin": self.origin(),
            "layer": self.layer,
            "layers": self.layers,
            "token": self.token,
            "step": self.step,
            "bracket": [self.last_good, self.name],
            "exact": self.exact,
            "culprit": self.culprit.name(),
        })
    }
}

impl ActivationRow {
    fn to_json(&self) -> Value {
        let compared = |value| if self.status == Status::Missing { Value::Null } else { number(value) };
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
            "worst": {
                "token": self.worst.token, "head": self.worst.head, "key": self.worst.key, "channel": self.worst.channel,
            },
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
    fn to_json(&self) -> Value {
        json!({ "path": self.path, "dtype": self.dtype, "ids": self.ids, "plan": self.plan.lines().collect::<Vec<_>>() })
    }
}
