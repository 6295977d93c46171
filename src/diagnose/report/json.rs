//! What a comparison found, as JSON: `layerstep.diff/1`, a stable contract.

use serde_json::{Value, json};

use super::{ActivationRow, Divergence, Local, Report, Source};
use crate::diagnose::effect::{Effect, OtherToken};
use crate::diagnose::nonfinite::NonFinite;
use crate::diagnose::suspects::search::Accused;

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
            "output": self.effect.as_ref().and_then(Effect::to_json),
            "fed_until": self.apart.as_ref().map(|apart| apart.step),
            "blind_spots": self.blind_spots,
            "notes": self.notes,
            "coverage": self.sources.iter().filter_map(|of| Some((of.role.to_string(), json!(of.coverage.as_ref()?))))
                .collect::<serde_json::Map<_, _>>(),
            "notes": self.all_notes().collect::<Vec<_>>(),
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
    /// The op that the error is made in, as far as it is known: where inputs were not dumped, that of the first suspect.
    fn origin(&self) -> &str {
        let inner = self.suspects.first().filter(|suspect| !self.exact && suspect.edit.is_some());
        inner.map_or(&self.name, |suspect| &suspect.name)
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
            "nonfinite": self.nonfinite.as_ref().map(NonFinite::to_json),
        })
    }
}

impl Effect {
    fn to_json(&self) -> Option<Value> {
        let token = |other: &OtherToken| {
            json!({
                "position": other.position,
                "reference": other.reference,
                "candidate": other.candidate,
                "margin": number(other.margin),
            })
        };
        (self.positions > 0).then(|| {
            json!({
                "kl_nats": number(self.kl()),
                "top1_agreement": number(self.agreement()),
                "first_other_token": self.other.as_ref().map(token),
            })
        })
    }
}

impl NonFinite {
    fn to_json(&self) -> Value {
        json!({
            "value": self.word(),
            "right_value": number(self.right),
            "at": self.at,
            "count": self.count,
        })
    }
}

impl ActivationRow {
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
            "nonfinite": self.nonfinite,
            "status": self.status.name(),
        })
    }
}

impl Source {
    fn to_json(&self) -> Value {
        json!({ "path": self.path, "dtype": self.dtype, "ids": self.ids, "plan": self.plan })
    }
}
