//! Mistakes in linear layers: their weights, their biases, and what they read.

use std::borrow::Cow;

use ndarray::{Array1, Array2, ArrayView2, Axis, Ix2, concatenate};

use super::{Scene, Suspect, Variant};
use crate::engine::{Activation as A, Input, Op, Site, Step};
use crate::model::{Layer, Linear, Tensor};
use crate::ops::Operands;

const LINEAR: &[A] = &[A::QProj, A::KProj, A::VProj, A::OProj, A::GateProj, A::UpProj, A::DownProj];

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
        id: "weight_transposed",
        summary: "a weight matrix is read as [in, out] instead of [out, in]",
        ops: LINEAR,
        symptom: "noise of about the right size; no shape error where the matrix is square",
        cause: "the layout of Conv1D or of another framework, or a reshape in the place of a transposition",
        fix: "weights are stored [out, in]: y = x Wᵀ",
        seen: "aprender #1466, nntile #370, AutoGPTQ #139, candle #321",
        variants: transposed,
    },
    Suspect {
        id: "qk_permuted",
        summary: "rows of q and k are permuted for another RoPE than the one in use",
        ops: &[A::QProj, A::KProj],
        symptom: "q and k hold the right numbers in another order, and scores are wrong",
        cause: "weights converted to GGUF (or from Meta's format) keep pairs side by side, RoPE rotates halves, or the reverse",
        fix: "undo the permutation of q_proj and k_proj when loading, or rotate the pairs that it makes",
        seen: "AiDotNet #2074, TinyLlama #24, HF #31788, llama.cpp #15852",
        variants: permuted,
    },
    Suspect {
        id: "fused_order",
        summary: "a fused matrix is split in another order",
        ops: &[A::QProj, A::KProj, A::VProj, A::GateProj, A::UpProj],
        symptom: "fluent nonsense without a shape error: rows of q, k and v (or gate and up) are mixed",
        cause: "q, k, v as three blocks, per head or per group, gate and up as blocks or row by row: conventions differ",
        fix: "split the matrix as the file was written: blocks [q | k | v], blocks [gate | up]",
        seen: "mlxcel #928, NeMo-RL #2802, Megatron-LLM #45, HF #35088",
        variants: fused,
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

/// Puts a changed linear layer in the place of an op; `change` is given the layer that the model has there.
fn with(
    words: impl Into<String>,
    change: impl Fn(&Step, &Linear) -> Option<Linear> + Send + Sync + 'static,
) -> Variant {
    Variant::new(words, move |step| {
        let own = step.model.layers.get(step.site.layer).and_then(|layer| of(layer, step.site.activation));
        let Some(changed) = own.and_then(|own| change(step, own)) else { return };
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

fn own(scene: &Scene) -> Option<&Linear> {
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

fn transposed(scene: &Scene) -> Vec<Variant> {
    let Some(linear) = own(scene) else { return Vec::new() };
    let words = format!("its words read as [{}, {}]", linear.weight.shape[1], linear.weight.shape[0]);
    vec![with(words, |_, own| {
        let matrix = rows(&own.weight);
        let (out, inner) = matrix.dim();
        let read = matrix.into_shape_with_order((inner, out)).ok()?.reversed_axes();
        Some(Linear { weight: matrix_of(&read.view()), bias: own.bias.clone() })
    })]
}

fn rows(weight: &Tensor) -> Array2<f32> {
    let words = weight.vector();
    words.into_shape_with_order((weight.shape[0], weight.shape[1])).expect("a matrix of its shape")
}

fn matrix_of(rows: &ArrayView2<f32>) -> Tensor {
    Tensor::of_rows("changed", rows)
}

fn selected(linear: &Linear, order: &[usize], with_bias: bool) -> Linear {
    let bias = linear.bias.as_ref().map(|bias| if with_bias { bias.select(Axis(0), order) } else { bias.clone() });
    Linear { weight: matrix_of(&rows(&linear.weight).select(Axis(0), order).view()), bias }
}

fn permuted(scene: &Scene) -> Vec<Variant> {
    let Some(linear) = own(scene) else { return Vec::new() };
    let config = scene.config();
    let (features, half) = (linear.weight.shape[0], config.head_dim / 2);
    let mut variants = Vec::new();
    for heads in [features / config.head_dim, config.num_attention_heads, config.num_key_value_heads] {
        // A wrong number of heads permutes within wider or narrower blocks.
        let width = features / heads;
        if features % heads != 0 || width % 2 != 0 || (width / 2 != half && heads == features / config.head_dim) {
            continue;
        }
        let to_pairs = |row: usize| (row / width) * width + (row % width) / 2 + (row % 2) * (width / 2);
        let to_halves = |row: usize| (row / width) * width + 2 * (row % (width / 2)) + (row % width) / (width / 2);
        let of_heads = if heads == features / config.head_dim { String::new() } else { format!(", as {heads} heads") };
        let orders: [(&str, Vec<usize>); 2] = [
            ("rows in pairs (2i, 2i + 1) where RoPE takes halves", (0..features).map(to_pairs).collect()),
            ("rows in halves where they were in pairs: permuted back twice", (0..features).map(to_halves).collect()),
        ];
        for (words, order) in orders {
            for with_bias in [true, false] {
                let without = if with_bias || linear.bias.is_none() { "" } else { ", the bias not" };
                let order = order.clone();
                variants.push(with(format!("{words}{of_heads}{without}"), move |_, own| {
                    (own.weight.shape[0] == order.len()).then(|| selected(own, &order, with_bias))
                }));
            }
        }
    }
    variants
}

/// The rows of a fused matrix in the order of the file, and where an engine looks for those of one part.
fn fused(scene: &Scene) -> Vec<Variant> {
    let Some(layer) = scene.model.layers.get(scene.site.layer) else { return Vec::new() };
    let config = scene.config();
    let (parts, at) = parts_of(layer, scene.activation());
    let sizes: Vec<usize> = parts.iter().map(|part| part.weight.shape[0]).collect();
    let picked = |words: String, order: &[usize]| {
        let order = order.to_vec();
        with(words, move |step, _| Some(stacked(step.model.layers.get(step.site.layer)?, step.site.activation, &order)))
    };
    let start: usize = sizes[..at].iter().sum();
    let right: Vec<usize> = (start..start + sizes[at]).collect();
    let names: &[&str] = if parts.len() == 3 { &["q", "k", "v"] } else { &["gate", "up"] };
    let mut variants = Vec::new();
    for order in orders(parts.len()) {
        let begin: usize = order.iter().take_while(|part| **part != at).map(|part| sizes[*part]).sum();
        let rows: Vec<usize> = (begin..begin + sizes[at]).collect();
        let words = order.iter().map(|part| names[*part]).collect::<Vec<_>>().join(" | ");
        if rows != right {
            variants.push(picked(format!("split as [{words}]"), &rows));
        }
    }
    // Groups in turn: [q q k v] of the first key head, then of the second.
    let groups = if parts.len() == 3 { config.num_key_value_heads } else { sizes[0] };
    let share: Vec<usize> = sizes.iter().map(|size| size / groups).collect();
    let group: usize = share.iter().sum();
    let before: usize = share[..at].iter().sum();
    let in_turn: Vec<usize> = (0..groups)
        .flat_map(|g| (0..share[at]).map(move |row| (g, row)))
        .map(|(g, row)| g * group + before + row)
        .collect();
    variants.push(picked(format!("split as if {} stood group by group", names.join(", ")), &in_turn));
    // The reverse: a matrix in turns, split in blocks.
    let row_in_turns: Vec<usize> = (0..groups)
        .flat_map(|g| (0..parts.len()).map(move |part| (g, part)))
        .flat_map(|(g, part)| {
            let begin: usize = sizes[..part].iter().sum();
            (0..share[part]).map(move |row| (begin, g, part, row)).collect::<Vec<_>>()
        })
        .map(|(begin, g, part, row)| begin + g * share[part] + row)
        .collect();
    variants.push(picked(
        format!("{} stand group by group, and are split as blocks", names.join(", ")),
        &row_in_turns[start..start + sizes[at]],
    ));
    variants
}

/// The matrices that may be fused with that of `activation`, and its place among them.
fn parts_of(layer: &Layer, activation: A) -> (Vec<&Linear>, usize) {
    let attention = vec![&layer.q_proj, &layer.k_proj, &layer.v_proj];
    match activation {
        A::QProj => (attention, 0),
        A::KProj => (attention, 1),
        A::VProj => (attention, 2),
        A::GateProj => (vec![&layer.gate_proj, &layer.up_proj], 0),
        _ => (vec![&layer.gate_proj, &layer.up_proj], 1),
    }
}

/// Rows of the fused matrix of `activation`.
fn stacked(layer: &Layer, activation: A, order: &[usize]) -> Linear {
    let (parts, _) = parts_of(layer, activation);
    let matrices: Vec<Array2<f32>> = parts.iter().map(|part| rows(&part.weight)).collect();
    let views: Vec<ArrayView2<f32>> = matrices.iter().map(|matrix| matrix.view()).collect();
    let all = concatenate(Axis(0), &views).expect("parts of one width");
    let biases: Option<Vec<&Array1<f32>>> = parts.iter().map(|part| part.bias.as_ref()).collect();
    let bias = biases.map(|biases| {
        let views: Vec<_> = biases.iter().map(|bias| bias.view()).collect();
        concatenate(Axis(0), &views).expect("vectors").select(Axis(0), order)
    });
    Linear { weight: matrix_of(&all.select(Axis(0), order).view()), bias }
}

/// Every order of two or three parts.
fn orders(parts: usize) -> Vec<Vec<usize>> {
    if parts == 2 {
        return vec![vec![0, 1], vec![1, 0]];
    }
    vec![vec![0, 1, 2], vec![0, 2, 1], vec![1, 0, 2], vec![1, 2, 0], vec![2, 0, 1], vec![2, 1, 0]]
}

fn wrong_layer(scene: &Scene) -> Vec<Variant> {
    let layers = scene.model.layers.iter().enumerate().filter(|(index, _)| *index != scene.site.layer);
    let of_layer = |(index, layer): (usize, &Layer)| {
        let words = format!("the weights of {}", Site::new(index, scene.activation()));
        let norm = match scene.activation() {
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
    let Some(before) = scene.site.layer.checked_sub(1) else { return Vec::new() };
    let earlier = move |input: Input| match input {
        Input::Keys(_) => Some(Input::Keys(before)),
        Input::Values(_) => Some(Input::Values(before)),
        Input::Site(site) if site.activation == A::Block => Some(Input::Site(match site.layer {
            0 => Site::whole(A::EmbedTokens),
            layer => Site::new(layer - 1, A::Block),
        })),
        Input::Site(site) => site.in_layer().map(|_| Input::Stale(Site::new(before, site.activation))),
        Input::Stale(_) => None,
    };
    let inputs = crate::engine::inputs(scene.site, scene.config());
    let replaced = |(index, input): (usize, Input)| {
        let words = format!("reads {}", earlier(input)?.site());
        Some(Variant::new(words, move |step: &mut Step| {
            if let Some(stale) = earlier(step.inputs[index]) {
                step.inputs[index] = stale;
            }
        }))
    };
    inputs.into_iter().enumerate().filter_map(replaced).collect()
}
