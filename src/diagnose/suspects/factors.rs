//! Mistakes in constants of a model that parts of a block are multiplied by.

use ndarray::Array1;

use super::{Scene, Suspect, Variant, knobs};
use crate::engine::{Edit, Op, Role as A};
use crate::model::op::Vector;
use crate::model::spec::Mixer;

pub(super) const SUSPECTS: &[Suspect] = &[Suspect {
    id: "multiplier_missing",
    summary: "what a part of a block reads or gives is not multiplied by the constant that the model has for it",
    ops: &[A::MixInput, A::MixScaled, A::AttnInput, A::KScaled, A::GateScaled, A::MlpScaled],
    symptom: "a value points the right way and has the wrong length",
    cause: "a multiplier of config.json is not read, is applied twice, or stands in the place of another one",
    fix: "multiply where the model does, by the constant that config.json has under a key that ends in multiplier or multipliers",
    seen: "no public thread is known to us",
    variants: other_factors,
}];

fn other_factors(scene: &Scene) -> Vec<Variant> {
    match scene.op() {
        Op::Sum { factors } if factors.len() == 1 => knobs::factor(scene, factors[0]),
        Op::Scaled { .. } => of_parts(scene),
        _ => Vec::new(),
    }
}

/// Of what a state is made from, parts without their constants, or with those of others.
fn of_parts(scene: &Scene) -> Vec<Variant> {
    const NAMES: [&str; 5] = ["z", "x", "B", "C", "dt"];
    let layer = scene.node().layer.and_then(|layer| scene.model.spec.layers.get(layer));
    let Some(Mixer::Mamba2(mamba)) = layer.and_then(|layer| layer.mixer) else { return Vec::new() };
    let own = mamba.factors;
    let with = |words: String, factors: [f64; 5]| {
        let channels = factors.iter().zip(mamba.parts()).flat_map(|(factor, width)| vec![*factor as f32; width]);
        let weight = Vector::Other(Array1::from_iter(channels).into());
        (factors != own).then(|| Variant::new(words, Edit::NormWeight(weight)))
    };
    let without = |part: usize| {
        let mut factors = own;
        factors[part] = 1.0;
        with(format!("{} as it is where the model multiplies it by {:.4}", NAMES[part], own[part]), factors)
    };
    let [z, x, b, c, dt] = own;
    let others = [
        ("as they are where the model multiplies z, x, B, C and dt".to_string(), [1.0; 5]),
        ("the constants of z and x exchanged".to_string(), [x, z, b, c, dt]),
        ("the constants of B and C exchanged".to_string(), [z, x, c, b, dt]),
        ("the constants in the order x, B, C, z, dt".to_string(), [c, z, x, b, dt]),
        ("z, x, B, C and dt multiplied by their constants twice".to_string(), own.map(|factor| factor * factor)),
    ];
    (0..own.len())
        .filter_map(without)
        .chain(others.into_iter().filter_map(|(words, factors)| with(words, factors)))
        .collect()
}
