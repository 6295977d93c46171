//! Mistakes in how the rows and columns of weight matrices are laid out.

use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate};

use super::projections::{LINEAR, own, with};
use super::{Scene, Suspect, Variant};
use crate::engine::Activation as A;
use crate::model::{Layer, Linear, Tensor};

pub(super) const SUSPECTS: &[Suspect] = &[
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
];

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
