//! Mistakes in linear layers: their weights, their biases, and what they read.

use std::borrow::Cow;

use ndarray::Ix2;

use super::{Scene, Suspect, Variant};
use crate::engine::{Activation as A, Input, Op, Site, Step};
use crate::model::{Layer, Linear};
use crate::ops::Operands;

pub(super) const LINEAR: &[A] = &[A::QProj, A::KProj, A::VProj, A::OProj, A::GateProj, A::UpProj, A::DownProj];

const NORMS: &[A] = &[A::InputNorm, A::PostAttentionNorm, A::QNorm, A::KNorm];

pub(super) const SUSPECTS: &[Suspect] = &[
    Suspect {
        id: "bias_missing",
        summary: "the bias of a linear layer is not added",
        ops: LINEAR,
        symptom: "every token is off by the same vector; Qwen2 fails where Llama works",
        cause: "the port was written for a model without biases, or a bias was not loaded",
        fix: "add the bias after the product",
        seen: "ANEForge #253, candle-vllm #167, mlc-llm #3494, nntile #370",
        variants: bias_missing,
    },
    Suspect {
        id: "wrong_layer_weight",
        summary: "a linear layer, or a whole layer, with the weights of another layer",
        ops: &[
            A::InputNorm,
            A::QProj,
            A::KProj,
            A::VProj,
            A::QNorm,
            A::KNorm,
            A::OProj,
            A::PostAttentionNorm,
            A::GateProj,
            A::UpProj,
            A::DownProj,
        ],
        symptom: "noise of about the right size in one layer",
        cause: "an index off by one when loading, or a pointer that is not advanced",
        fix: "load the weights of this layer",
        seen: "1bit-MONSTER #1058, safetensors #448",
        variants: wrong_layer,
    },
    Suspect {
        id: "low_precision_matmul",
        summary: "operands of a product are rounded to a coarser format",
        ops: &[A::QProj, A::KProj, A::VProj, A::OProj, A::GateProj, A::UpProj, A::DownProj, A::LmHead],
        symptom: "an unstructured error of 0.01 to 1 % in a finer dump",
        cause: "TF32 or half-precision tensor cores, int8 activations",
        fix: "harmless if it is meant; else switch the reduced precision of products off",
        seen: "tensorflow #127577, pytorch #53635, FastNN #10",
        variants: |_| [Operands::Bf16, Operands::F16, Operands::Tf32, Operands::Q8_0].map(low_precision).into(),
    },
];

/// Tried last: an earlier layer's value explains much by chance in a model whose layers are alike.
pub(super) const STALE: &[Suspect] = &[Suspect {
    id: "stale_layer_state",
    summary: "an op reads what an earlier layer left behind",
    ops: &[
        A::InputNorm,
        A::QProj,
        A::KProj,
        A::VProj,
        A::QRope,
        A::KRope,
        A::Scores,
        A::Probs,
        A::Context,
        A::OProj,
        A::ResidMid,
        A::PostAttentionNorm,
        A::GateProj,
        A::UpProj,
        A::ActFn,
        A::ActMul,
        A::DownProj,
        A::Block,
    ],
    symptom: "layer 0 agrees, every later one is wrong; alone, each layer is right",
    cause: "a buffer, a cache or a shared state is not overwritten when the next layer starts",
    fix: "give every layer its own buffers, or clear them on entering it",
    seen: "realizar #94, mistral.rs 1a41a4def, candle #1991",
    variants: stale,
}];

/// Puts a changed linear layer in the place of an op; `change` is given the one that is there.
pub(super) fn with(
    words: impl Into<String>,
    change: impl Fn(&Step, &Linear) -> Option<Linear> + Send + Sync + 'static,
) -> Variant {
    Variant::new(words, move |step| {
        let Some(Op::Linear { weight, bias, .. }) = step.ops.first() else { return };
        let own = Linear { weight: weight.clone().into_owned(), bias: bias.clone().map(Cow::into_owned) };
        let changed = change(step, &own).filter(|new| new.weight.shape == own.weight.shape);
        // What is said of one matrix may make no sense of another.
        let Some(changed) = changed else { return };
        if let Some(Op::Linear { weight, bias, .. }) = step.ops.first_mut() {
            *weight = Cow::Owned(changed.weight);
            *bias = changed.bias.map(Cow::Owned);
        }
    })
}

fn of(layer: &Layer, activation: A) -> Option<&Linear> {
    Some(match activation {
        A::QProj => &layer.q_proj,
        A::KProj => &layer.k_proj,
        A::VProj => &layer.v_proj,
        A::OProj => &layer.o_proj,
        A::GateProj => &layer.gate_proj,
        A::UpProj => &layer.up_proj,
        A::DownProj => &layer.down_proj,
        _ => return None,
    })
}

pub(super) fn own(scene: &Scene) -> Option<&Linear> {
    of(scene.model.layers.get(scene.site.layer)?, scene.activation())
}

fn low_precision(operands: Operands) -> Variant {
    Variant::new(operands.describe(), move |step| {
        if let Some(Op::Linear { operands: of_op, .. }) = step.ops.first_mut() {
            *of_op = Some(operands);
        }
    })
}

fn bias_missing(scene: &Scene) -> Vec<Variant> {
    let Some(bias) = own(scene).and_then(|linear| linear.bias.as_ref()) else { return Vec::new() };
    let mut variants = vec![with("no bias", |_, own| Some(Linear { bias: None, ..own.clone() }))];
    let channels = |x: ndarray::ArrayD<f64>| x.into_dimensionality::<Ix2>().ok();
    if let (Some(y), Some(exact)) =
        (scene.dumped().and_then(channels), scene.exact().and_then(|x| channels(x.to_owned())))
    {
        let lacks = |channel: usize| {
            let missing = (&exact.column(channel) - &y.column(channel)).mean().unwrap_or_default();
            let bias = f64::from(bias[channel]);
            (missing - bias).abs() < 0.1 * bias.abs()
        };
        let channels: Vec<usize> = (0..bias.len()).filter(|channel| lacks(*channel)).collect();
        if !channels.is_empty() && channels.len() < bias.len() {
            let words = format!("no bias in channels {}", crate::diagnose::finding::ranges(&channels));
            variants.push(with(words, move |_, own| {
                let mut partial = own.bias.clone()?;
                for channel in &channels {
                    *partial.get_mut(*channel)? = 0.0;
                }
                Some(Linear { bias: Some(partial), ..own.clone() })
            }));
        }
    }
    variants
}

fn wrong_layer(scene: &Scene) -> Vec<Variant> {
    let layers = scene.model.layers.iter().enumerate().filter(|(index, _)| *index != scene.site.layer);
    let of_layer = |(index, layer): (usize, &Layer)| {
        let words = format!("the weights of {}", Site::new(index, scene.activation()));
        let norm = match scene.activation() {
            // Over a span a norm alone is a norm with another weight.
            _ if scene.part.is_none() && NORMS.contains(&scene.activation()) => None,
            A::InputNorm => Some(&layer.input_layernorm),
            A::PostAttentionNorm => Some(&layer.post_attention_layernorm),
            A::QNorm => layer.q_norm.as_ref(),
            A::KNorm => layer.k_norm.as_ref(),
            _ => {
                let ahead = index.cast_signed() - scene.site.layer.cast_signed();
                return Some(with(words, move |step, _| {
                    let other = step.site.layer.checked_add_signed(ahead).filter(|l| *l < step.model.layers.len());
                    of(&step.model.layers[other.unwrap_or(index)], step.site.activation).cloned()
                }));
            }
        };
        let norm = norm?.clone();
        Some(Variant::new(words, move |step| {
            if let Some(Op::Norm { weight, .. }) = step.ops.first_mut() {
                *weight = Cow::Owned(norm.clone());
            }
        }))
    };
    layers.filter_map(of_layer).collect()
}

fn stale(scene: &Scene) -> Vec<Variant> {
    if scene.site.layer == 0 {
        return Vec::new();
    }
    let inputs = crate::engine::inputs(scene.site, scene.config());
    let replaced = |(index, input): (usize, Input)| {
        let words = format!("reads {}", earlier(input, scene.site.layer)?.site());
        Some(Variant::new(words, move |step: &mut Step| {
            let layer = step.site.layer;
            if let Some(input) = step.inputs.get_mut(index)
                && let Some(stale) = earlier(*input, layer)
            {
                *input = stale;
            }
        }))
    };
    inputs.into_iter().enumerate().filter_map(replaced).collect()
}

/// What an op of `layer` reads where it should read `input`, if that was left behind by the layer before.
fn earlier(input: Input, layer: usize) -> Option<Input> {
    let before = layer.checked_sub(1)?;
    match input {
        Input::Keys(_) => Some(Input::Keys(before)),
        Input::Values(_) => Some(Input::Values(before)),
        Input::Site(site) if site.activation == A::Block => Some(Input::Site(match site.layer {
            0 => Site::whole(A::EmbedTokens),
            layer => Site::new(layer - 1, A::Block),
        })),
        Input::Site(site) => site.in_layer().map(|_| Input::Stale(Site::new(before, site.activation))),
        Input::Stale(_) => None,
    }
}
