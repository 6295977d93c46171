//! Mistakes in norms.

use std::borrow::Cow;

use ndarray::{Array1, Axis};

use super::{Scene, Suspect, Variant, fit};
use crate::engine::{Activation as A, Input, Op, Site, Step};
use crate::ops::{Form, Rotation, Rounding};

const NORMS: &[A] = &[A::InputNorm, A::PostAttentionNorm, A::FinalNorm, A::QNorm, A::KNorm];

pub(super) const SUSPECTS: &[Suspect] = &[
    Suspect {
        id: "final_norm_missing",
        summary: "the residual stream reaches the head without the final norm",
        ops: &[A::FinalNorm, A::LmHead],
        symptom: "every block agrees, logits are off in size and in order",
        cause: "the norm after the last block is left out, or the head reads the tensor before it",
        fix: "normalise the last block's output with model.norm.weight before the head",
        seen: "keys_values #141, speculators #313, vllm-mlx #657",
        variants: final_norm_missing,
    },
    Suspect {
        id: "qk_norm_after_rope",
        summary: "queries and keys are normalised after the rotation",
        ops: &[A::QNorm, A::KNorm, A::QRope, A::KRope],
        symptom: "q and k are off from the norm on, in a model whose norm weights differ inside rotated pairs",
        cause: "norm and rotation stand in the other order",
        fix: "normalise each head of q and k first, then rotate",
        seen: "vLLM #16311, unsloth #2427",
        variants: qk_norm_after_rope,
    },
    Suspect {
        id: "qk_norm_missing",
        summary: "queries or keys are not normalised per head",
        ops: &[A::QNorm, A::KNorm, A::QRope, A::KRope],
        symptom: "scores are far too large or too small; a relative error near 97 % was reported",
        cause: "the port was written for an architecture without q/k norms, or the weight's name was not found",
        fix: "apply self_attn.q_norm and self_attn.k_norm to each head before the rotation",
        seen: "vllm-metal #659, vLLM #16311, gpt-neox #1367",
        variants: qk_norm_missing,
    },
    Suspect {
        id: "norm_weight_missing",
        summary: "the row is normalised but not multiplied by the weight",
        ops: NORMS,
        symptom: "channels are off by a constant factor each",
        cause: "the weight was not loaded and kept its initial value of one",
        fix: "multiply by the norm's weight",
        seen: "larql #253, Megatron-Bridge #4201",
        variants: |_| {
            vec![weight("no weight", |w| {
                w.fill(1.0);
            })]
        },
    },
    Suspect {
        id: "norm_offset_one",
        summary: "one is added to the norm's weight, or taken off it",
        ops: NORMS,
        symptom: "channels are off by a factor of (1 + w) / w",
        cause: "Gemma's convention, in which the weight is stored minus one, is applied to a model that has another",
        fix: "multiply by the weight as it is stored",
        seen: "Liger #74, mistral.rs c23e3d0a0, candle 9a0ced10d",
        variants: |_| {
            vec![
                weight("1 + weight", |w| *w += 1.0),
                weight("weight - 1", |w| *w -= 1.0),
                weight("2 + weight", |w| *w += 2.0),
            ]
        },
    },
    Suspect {
        id: "norm_layernorm",
        summary: "LayerNorm in the place of RMSNorm: the mean is taken off",
        ops: NORMS,
        symptom: "a small error everywhere, as large as the rows' mean",
        cause: "the library's layer norm was used",
        fix: "divide by the root of the mean square, without taking the mean off",
        seen: "omniserve #32",
        variants: |_| vec![how("the mean taken off", |how| how.form = Form::Centred)],
    },
    Suspect {
        id: "norm_eps",
        summary: "another eps in the norm",
        ops: NORMS,
        symptom: "rows are off by a factor each, most where the stream is small; the first layers and the first token suffer",
        cause: "a default of 1e-5 or 1e-6 in the place of rms_norm_eps, or eps added outside of the root",
        fix: "add rms_norm_eps of config.json to the mean square, under the root",
        seen: "candle #271, tvm #15856, lit-llama #322, HF #48762, TransformerEngine #364",
        variants: norm_eps,
    },
    Suspect {
        id: "norm_wrong_weight",
        summary: "a norm with the weight of another norm",
        ops: NORMS,
        symptom: "channels are off by a factor each, the ratio of two weights of the checkpoint",
        cause: "two norms of a layer exchanged, or a layer's index off by one",
        fix: "load the weight of this norm",
        seen: "Megatron-Bridge #4201, NeMo #11951, torchtune #1835",
        variants: norm_wrong_weight,
    },
    Suspect {
        id: "low_precision_norm",
        summary: "the mean square of the norm is computed in bf16 or f16",
        ops: NORMS,
        symptom: "rows of a finer dump are off by one factor each, up to 0.4 %",
        cause: "the input is not widened before it is squared",
        fix: "widen the row to f32 before squaring, and round only the result",
        seen: "sglang #27540, llama #1048",
        variants: |_| {
            vec![
                how("mean square in bf16", |how| how.variance = Rounding::Bf16),
                how("mean square in f16", |how| how.variance = Rounding::F16),
            ]
        },
    },
];

fn weight(words: &str, change: fn(&mut Array1<f32>)) -> Variant {
    Variant::new(words, move |step| {
        if let Some(Op::Norm { weight, .. }) = step.ops.first_mut() {
            change(weight.to_mut());
        }
    })
}

fn how(words: impl Into<String>, change: impl Fn(&mut crate::ops::Normalisation) + Send + Sync + 'static) -> Variant {
    Variant::new(words, move |step| {
        if let Some(Op::Norm { how, .. }) = step.ops.first_mut() {
            change(how);
        }
    })
}

/// Leaves a norm out: its output is its input.
fn leave_out(step: &mut Step) {
    if let Some(Op::Norm { weight, how, .. }) = step.ops.first_mut() {
        how.form = Form::Identity;
        weight.to_mut().fill(1.0);
    }
}

fn final_norm_missing(scene: &Scene) -> Vec<Variant> {
    let last = Site::new(scene.config().num_hidden_layers - 1, A::Block);
    let skipped = Variant::new("the last block's output as it is", move |step| match step.site.activation {
        A::LmHead => step.inputs = vec![Input::Site(last)],
        _ => leave_out(step),
    });
    vec![skipped]
}

fn is_query(activation: A) -> bool {
    matches!(activation, A::QNorm | A::QRope)
}

fn qk_norm_missing(scene: &Scene) -> Vec<Variant> {
    if !scene.config().qk_norm {
        return Vec::new();
    }
    vec![Variant::new("not normalised", |step| match step.site.activation {
        A::QNorm | A::KNorm => leave_out(step),
        activation => {
            let from = if is_query(activation) { A::QProj } else { A::KProj };
            step.inputs = vec![Input::Site(Site::new(step.site.layer, from))];
        }
    })]
}

fn qk_norm_after_rope(scene: &Scene) -> Vec<Variant> {
    if !scene.config().qk_norm {
        return Vec::new();
    }
    vec![Variant::new("rotated first, then normalised", |step| {
        let query = is_query(step.site.activation);
        let layer = &step.model.layers[step.site.layer];
        let weight = if query { &layer.q_norm } else { &layer.k_norm };
        let Some(weight) = weight else { return };
        let config = &step.model.config;
        let rotation = Rotation::new(config.frequencies.clone(), step.span.first, step.span.ids.len());
        let norm = Op::Norm {
            weight: Cow::Borrowed(weight),
            how: crate::ops::Normalisation::rms(config.rms_norm_eps),
            per_head: true,
        };
        let from = if query { A::QProj } else { A::KProj };
        step.inputs = vec![Input::Site(Site::new(step.site.layer, from))];
        step.ops = vec![Op::Rope(rotation), norm];
    })]
}

fn norm_eps(scene: &Scene) -> Vec<Variant> {
    const USUAL: [f32; 7] = [1e-5, 1e-6, 0.0, f32::EPSILON, 1e-3, 1e-8, 1e-12];
    let own = scene.config().rms_norm_eps;
    let with = |eps: f32| how(format!("eps {eps:e} where the model has {own:e}"), move |how| how.eps = eps);
    let outside = |eps: f32| {
        how(format!("eps {eps:e} added outside of the root"), move |how| {
            (how.eps, how.form) = (eps, Form::EpsOutside);
        })
    };
    let mut variants: Vec<Variant> = USUAL.into_iter().filter(|eps| (eps - own).abs() > 0.0).map(with).collect();
    variants.extend([own, 1e-6, 1e-5].map(outside));
    if let Some(eps) = fitted_eps(scene) {
        variants.extend([with(fit::rounded(eps, 1) as f32), with(fit::rounded(eps, 2) as f32), with(eps as f32)]);
    }
    variants
}

/// The eps that the rows' factors tell, if they tell one: `y = c x w` with `c = 1 / sqrt(mean(x²) + eps)`.
fn fitted_eps(scene: &Scene) -> Option<f64> {
    let (y, x) = (scene.dumped()?, scene.input(0)?);
    let (f, own) = (scene.exact()?, f64::from(scene.config().rms_norm_eps));
    if y.ndim() != x.ndim() || y.len_of(Axis(0)) < 2 {
        return None;
    }
    let (mut sum, mut weights) = (0.0, 0.0);
    for ((y, f), x) in y.rows().into_iter().zip(f.rows()).zip(x.rows()) {
        let factor = fit::factor(y.iter().zip(f))?;
        let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
        // A factor is known to the same relative error in every row: small rows tell eps best.
        let weight = ((mean + own) / (factor * factor)).powi(-2);
        sum += weight * ((mean + own) / (factor * factor) - mean);
        weights += weight;
    }
    let eps = sum / weights;
    (eps.is_finite() && eps > 0.0).then_some(eps)
}

fn norm_wrong_weight(scene: &Scene) -> Vec<Variant> {
    let model = &scene.model;
    let mut norms: Vec<(String, Array1<f32>)> = vec![("model.norm".into(), model.norm.clone())];
    for (index, layer) in model.layers.iter().enumerate() {
        let name = |activation| Site::new(index, activation).to_string();
        norms.push((name(A::InputNorm), layer.input_layernorm.clone()));
        norms.push((name(A::PostAttentionNorm), layer.post_attention_layernorm.clone()));
        norms.extend(layer.q_norm.clone().map(|norm| (name(A::QNorm), norm)));
        norms.extend(layer.k_norm.clone().map(|norm| (name(A::KNorm), norm)));
    }
    let own = scene.site.to_string();
    let width = match scene.activation() {
        A::QNorm | A::KNorm => scene.config().head_dim,
        _ => scene.config().hidden_size,
    };
    norms.retain(|(name, norm)| *name != own && norm.len() == width);
    let borrowed = |(name, norm): (String, Array1<f32>)| {
        Variant::new(format!("the weight of {name}"), move |step| {
            if let Some(Op::Norm { weight, .. }) = step.ops.first_mut() {
                *weight = Cow::Owned(norm.clone());
            }
        })
    };
    norms.into_iter().map(borrowed).collect()
}
