//! Mistakes in the residual stream: what is added to what.

use std::borrow::Cow;

use super::{Scene, Suspect, Variant, fit};
use crate::engine::{Activation as A, Input, Op, Site, Step};
use crate::ops::Normalisation;

const ADDS: &[A] = &[A::ResidMid, A::Block];

pub(super) const SUSPECTS: &[Suspect] = &[
    Suspect {
        id: "residual_after_norm",
        summary: "the sum takes the normed stream instead of the stream itself",
        ops: ADDS,
        symptom: "the residual stream loses its size at every sum",
        cause: "the norm overwrites the buffer that is added later",
        fix: "keep the stream from before the norm for the sum",
        seen: "nano-vllm #170, OLMo #680, flax #4567",
        variants: residual_after_norm,
    },
    Suspect {
        id: "parallel_residual",
        summary: "attention and MLP read the same stream and are added side by side",
        ops: &[A::ResidMid, A::PostAttentionNorm, A::Block],
        symptom: "the stream between attention and MLP lacks attention's part",
        cause: "the block of GPT-J and GPT-NeoX, where the model has one after the other",
        fix: "add attention to the stream before the MLP's norm reads it",
        seen: "HF #18695, TransformerLens #1644, ferrox #233",
        variants: parallel_residual,
    },
    Suspect {
        id: "residual_scale",
        summary: "a part of the sum is multiplied by a constant",
        ops: ADDS,
        symptom: "the stream is off by a share of what was added",
        cause: "a multiplier of another architecture (Granite, MiniCPM)",
        fix: "add attention and MLP as they are",
        seen: "nnterp #54, exllamav3 #218, CTranslate2 #1882",
        variants: residual_scale,
    },
];

fn here(step: &Step, activation: A) -> Input {
    Input::Site(Site::new(step.site.layer, activation))
}

fn normed(step: &Step) -> Input {
    here(step, if step.site.activation == A::ResidMid { A::InputNorm } else { A::PostAttentionNorm })
}

fn residual_after_norm(_: &Scene) -> Vec<Variant> {
    let weight_of_next = |step: &Step| {
        let layer = &step.model.layers[step.site.layer];
        match step.site.activation {
            A::ResidMid => layer.post_attention_layernorm.clone(),
            _ => step.model.layers.get(step.site.layer + 1).map_or(&step.model.norm, |l| &l.input_layernorm).clone(),
        }
    };
    let norm = move |step: &Step| Op::Norm {
        weight: Cow::Owned(weight_of_next(step)),
        how: Normalisation::rms(step.model.config.rms_norm_eps),
        per_head: false,
    };
    vec![
        Variant::new("the norm's output and what was added to it", |step| step.inputs[0] = normed(step)),
        Variant::new("what is added is normed", move |step| step.prepare = vec![(1, norm(step))]),
        Variant::new("what is added is normed, without a weight", move |step| {
            let mut norm = norm(step);
            if let Op::Norm { weight, .. } = &mut norm {
                weight.to_mut().fill(1.0);
            }
            step.prepare = vec![(1, norm)];
        }),
        Variant::new("the sum is normed", move |step| step.ops.push(norm(step))),
    ]
}

fn parallel_residual(_: &Scene) -> Vec<Variant> {
    let reads_block_input =
        Variant::new("attention is added at the end of the block", |step| match step.site.activation {
            A::ResidMid => step.ops = vec![Op::Sum { factors: vec![1.0, 0.0] }],
            A::Block => {
                let attention = here(step, A::OProj);
                step.inputs.insert(1, attention);
                step.ops = vec![Op::Sum { factors: vec![1.0; 3] }];
            }
            _ => {}
        });
    let norm_reads_block_input = Variant::new("the MLP's norm reads the block's input", |step| {
        if step.site.activation == A::PostAttentionNorm {
            step.inputs = vec![residual(step)];
        }
    });
    vec![reads_block_input, norm_reads_block_input]
}

/// The stream at the entry of the step's layer.
pub(super) fn residual(step: &Step) -> Input {
    Input::Site(match step.site.layer {
        0 => Site::whole(A::EmbedTokens),
        layer => Site::new(layer - 1, A::Block),
    })
}

fn residual_scale(scene: &Scene) -> Vec<Variant> {
    let Some(fitted) = fitted(scene) else { return Vec::new() };
    let with = |factors: Vec<f64>| {
        let words = match factors[..] {
            [1.0, c] => format!("what is added times {c:.6}"),
            [c, 1.0] => format!("the stream times {c:.6}"),
            _ => format!("the sum times {:.6}", factors[0]),
        };
        Variant::new(words, move |step| step.ops = vec![Op::Sum { factors: factors.clone() }])
    };
    fitted.into_iter().map(with).collect()
}

/// The factors of stream, of addend and of both that come nearest to what was dumped.
fn fitted(scene: &Scene) -> Option<Vec<Vec<f64>>> {
    const NOTHING: f64 = 1e-3;
    let (y, x, o) = (scene.dumped()?, scene.input(0)?, scene.input(1)?);
    let (without_x, without_o) = (&y - &x, &y - &o);
    let addend = fit::factor(without_x.iter().zip(&o))?;
    let stream = fit::factor(without_o.iter().zip(&x))?;
    let both = fit::factor(y.iter().zip(&(&x + &o)))?;
    let factors = [vec![1.0, addend], vec![stream, 1.0], vec![both, both]];
    let is_told = |factors: &Vec<f64>| factors.iter().all(|c| c.is_finite() && c.abs() > NOTHING);
    Some(factors.into_iter().filter(is_told).collect())
}
