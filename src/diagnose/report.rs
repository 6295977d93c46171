//! What a comparison found: plain data, and its JSON (`layerstep.diff/1`, a stable contract).

use serde_json::{Value, json};

use super::part::Worst;

/// The answer in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything compared agrees as f32 computations do.
    Match,
    /// Every difference is explained by a precision.
    Rounding,
    /// A wrong value was computed.
    Diverged,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Culprit {
    /// The reference dump: our engine agrees with the candidate.
    Reference,
    /// The candidate dump: our engine agrees with the reference.
    Candidate,
    /// Two witnesses cannot tell, or all three disagree.
    Unknown,
}

impl Culprit {
    /// The word of the JSON contract.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Candidate => "candidate",
            Self::Unknown => "unknown",
        }
    }
}

/// What is known about one activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Within f32 rounding.
    Ok,
    /// Within the rounding of a coarser precision.
    Rounding,
    /// The first one out of line.
    Bad,
    /// Wrong, after the first one.
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
            Self::Bad => "bad",
            Self::Propagated => "propagated",
            Self::Missing => "missing",
        }
    }
}

/// One row of the report.
#[derive(Clone, Debug)]
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
}

/// Where an error originates.
#[derive(Clone, Debug)]
pub struct Divergence {
    /// The first wrong activation that was dumped.
    pub name: String,
    /// Its layer.
    pub layer: Option<usize>,
    /// Which forward.
    pub step: usize,
    /// Position in the sequence of the first wrong row.
    pub token: Option<usize>,
    /// The last activation before it that agrees.
    pub last_good: Option<String>,
    /// Whether everything between the two was compared.
    pub exact: bool,
    /// Whose tensor is wrong.
    pub culprit: Culprit,
    /// Its error.
    pub error: f64,
    /// The largest error before it.
    pub error_before: f64,
}

/// Everything that was found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The answer in one word.
    pub verdict: Verdict,
    /// The answer in one sentence.
    pub sentence: String,
    /// Where it starts.
    pub first_divergence: Option<Divergence>,
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
    /// The document of `diff --json`. Local errors, noise floors, suspects and blind spots are not computed yet: null or
    /// empty.
    pub fn to_json(&self) -> Value {
        let divergence = self.first_divergence.as_ref().map(Divergence::to_json);
        let mut with_suspects = divergence.clone();
        if let Some(Value::Object(object)) = &mut with_suspects {
            object.insert("suspects".into(), json!([]));
        }
        json!({
            "schema": "layerstep.diff/1",
            "verdict": self.verdict.name(),
            "first_divergence": divergence,
            "suspects": [],
            "divergences": with_suspects.into_iter().collect::<Vec<_>>(),
            "activations": self.activations.iter().map(ActivationRow::to_json).collect::<Vec<_>>(),
            "blind_spots": [],
            "notes": self.notes,
            "sources": self.sources.iter().map(|source| (source.role.to_string(), source.to_json()))
                .collect::<serde_json::Map<_, _>>(),
        })
    }
}

impl Divergence {
    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "origin": self.name,
            "layer": self.layer,
            "layers": self.layer.into_iter().collect::<Vec<_>>(),
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
        let number = |value| if self.status == Status::Missing { Value::Null } else { number(value) };
        json!({
            "name": self.name,
            "error": number(self.error),
            "local_error": null,
            "propagated_error": null,
            "noise_floor": null,
            "ratio": null,
            "cosine": number(self.cosine),
            "max_abs": number(self.max_abs),
            "worst": {
                "token": self.worst.token, "head": self.worst.head, "key": self.worst.key, "channel": self.worst.channel,
            },
            "status": self.status.name(),
        })
    }
}

impl Source {
    fn to_json(&self) -> Value {
        json!({ "path": self.path, "dtype": self.dtype, "ids": self.ids, "plan": self.plan.lines().collect::<Vec<_>>() })
    }
}
