//! Mistakes in norms.

use ndarray::Array1;

use super::scene::width;
use super::{Scene, Suspect, Variant, knobs};
use crate::engine::{Edit, Field, Graph, Node, Op, Read, Role as A, Site};
use crate::model::op::Vector;
use crate::ops::{Form, Normalisation, Rounding, Spread};

/// The last three are norms in some models only.
#[rustfmt::skip]
const NORMS: &[A] = &[
    A::InputNorm, A::MlpNorm, A::FinalNorm, A::QNorm, A::KNorm, A::AttnOutNorm, A::MlpOutNorm, A::PerLayerNorm,
    A::PerLayerOutNorm, A::QDownNorm, A::LatentNorm, A::MlpBesideNorm, A::ExpertsNorm, A::ExpertsOutNorm, A::Embeddings,
    A::ResidMid, A::Block,
];

/// Those that no other suspect stands for.
#[rustfmt::skip]
const MISSED: &[A] = &[
    A::InputNorm, A::MlpNorm, A::AttnOutNorm, A::MlpOutNorm, A::VNorm, A::PerLayerNorm, A::PerLayerOutNorm, A::QDownNorm,
    A::LatentNorm, A::MlpBesideNorm, A::RouterNorm, A::ExpertsNorm, A::ExpertsOutNorm, A::Embeddings, A::ResidMid, A::Block,
];

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
        id: "norm_missing",
        summary: "a norm is left out",
        ops: MISSED,
        symptom: "the norm's output is its input; with norms behind attention and MLP, the stream grows from block to block",
        cause: "the port was written for an architecture without this norm, or its weight's name was not found",
        fix: "apply every norm that the model has, also those behind attention and MLP",
        seen: "no public thread is known to us",
        variants: norm_missing,
    },
    Suspect {
        id: "qk_norm_scope",
        summary: "queries or keys are normalised over all heads together where the model takes each head, or the reverse",
        ops: &[A::QNorm, A::KNorm],
        symptom: "each head of each token is off by one factor",
        cause: "q/k norms of OLMo 2 or MiniMax (over the whole row) taken for those of Qwen 3 (each head), or the reverse",
        fix: "take the mean square over what the norm's weight spans",
        seen: "vllm-metal #692, vllm-metal #768, MAX #5824, Megatron-Bridge #3698",
        variants: qk_norm_scope,
    },
    Suspect {
        id: "norm_site",
        summary: "norms stand on the other side of attention and MLP",
        ops: SITES,
        symptom: "what attention and MLP read is off, and what they add",
        cause: "a block with norms before attention and MLP where the model has them behind, or the reverse",
        fix: "normalise what the model normalises: x + f(norm(x)), or x + norm(f(x))",
        seen: "gpt-neox #1408, flax #4567, nnterp #53",
        variants: norm_site,
    },
    Suspect {
        id: "norm_weight_missing",
        summary: "the row is normalised but not multiplied by the weight",
        ops: NORMS,
        symptom: "channels are off by a constant factor each",
        cause: "the weight was not loaded and kept its initial value of one",
        fix: "multiply by the norm's weight",
        seen: "larql #253, Megatron-Bridge #4201",
        variants: |scene| match scene.op() {
            Op::Norm { weight: Vector::Param(_), .. } => {
                vec![Variant::new("no weight", Edit::NormWeight(ones(scene.graph(), scene.node())))]
            }
            _ => Vec::new(),
        },
    },
    Suspect {
        id: "norm_bias",
        summary: "the bias of a norm is not added",
        ops: NORMS,
        symptom: "every token is off by the same vector behind the norm",
        cause: "an RMSNorm in the place of a LayerNorm, or a bias that was not loaded",
        fix: "add the norm's bias after its weight",
        seen: "no public thread is known to us",
        variants: |scene| match scene.op() {
            Op::Norm { bias: Some(_), .. } => vec![Variant::new("no bias", Edit::Bias(None))],
            _ => Vec::new(),
        },
    },
    Suspect {
        id: "norm_offset_one",
        summary: "one is added to the norm's weight, or taken off it",
        ops: NORMS,
        symptom: "channels are off by a factor of (1 + w) / w, or its inverse",
        cause: "Gemma's convention, in which the weight is stored minus one, is applied to a model that has another, or not to one that has it",
        fix: "multiply by the weight as it is stored",
        seen: "Liger #74, mistral.rs c23e3d0a0, candle 9a0ced10d",
        variants: knobs::norm_offset,
    },
    Suspect {
        id: "norm_layernorm",
        summary: "LayerNorm in the place of RMSNorm: the mean is taken off",
        ops: NORMS,
        symptom: "a small error everywhere, as large as the rows' mean",
        cause: "the library's layer norm was used, or its RMS norm for a LayerNorm",
        fix: "divide by the root of the mean square, without taking the mean off",
        seen: "omniserve #32",
        variants: knobs::norm_form,
    },
    Suspect {
        id: "norm_eps",
        summary: "another eps in the norm",
        ops: NORMS,
        symptom: "rows are off by a factor each, most where the stream is small; the first layers and the first token suffer",
        cause: "a default of 1e-5 or 1e-6 in the place of rms_norm_eps, or eps added outside of the root",
        fix: "add rms_norm_eps of config.json to the mean square, under the root",
        seen: "candle #271, tvm #15856, lit-llama #322, HF #48762, TransformerEngine #364",
        variants: knobs::norm_eps,
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
        variants: |scene| {
            if !is_norm(scene.op()) {
                return Vec::new();
            }
            let formats = [(Rounding::Bf16, "mean square in bf16"), (Rounding::F16, "mean square in f16")];
            let narrow =
                [(Rounding::Bf16, "the row rounded to bf16 first"), (Rounding::F16, "the row rounded to f16 first")];
            let first = |(format, words)| Variant::new(words, Edit::Prepare { index: 0, op: Op::Round(format) });
            let mut variants = knobs::others(scene, formats.map(|(format, words)| (Field::Variance(format), words)));
            variants.extend(narrow.map(first));
            variants
        },
    },
];

/// The weight with which a norm multiplies by one.
fn ones(graph: &Graph, node: &Node) -> Vector {
    let (offset, length) = match &node.op {
        // Heads may have a weight each.
        Op::Norm { how, weight: Vector::Param(param), .. } => (how.offset, graph.params()[param.index()].shape[0]),
        Op::Norm { how, weight: Vector::Other(weight), .. } => (how.offset, weight.len()),
        _ => (0.0, width(node)),
    };
    Vector::Other(Array1::from_elem(length, 1.0 - offset).into())
}

/// The same norm without its weight.
pub(super) fn unweighted(graph: &Graph, node: &Node) -> Op {
    let mut op = node.op.clone();
    if let Op::Norm { weight, bias, .. } = &mut op {
        (*weight, *bias) = (ones(graph, node), None);
    }
    op
}

/// Leaves a norm out: its output is its input.
pub(super) fn left_out(graph: &Graph, node: &Node) -> Edit {
    let mut op = unweighted(graph, node);
    if let Op::Norm { how, .. } = &mut op {
        *how = Normalisation { form: Form::Identity, ..*how };
    }
    Edit::Put(vec![op])
}

fn norm_missing(scene: &Scene) -> Vec<Variant> {
    // The norms of q and k, and the last, have suspects of their own.
    let own = [A::QNorm, A::KNorm, A::FinalNorm];
    if !is_norm(scene.op()) || scene.role().is_some_and(|role| own.contains(&role)) {
        return Vec::new();
    }
    vec![Variant::new("not normalised", left_out(scene.graph(), scene.node()))]
}

fn is_norm(op: &Op) -> bool {
    matches!(op, Op::Norm { .. })
}

fn final_norm_missing(scene: &Scene) -> Vec<Variant> {
    let edit = match (scene.op(), scene.read(0)) {
        (Op::Norm { .. }, _) => left_out(scene.graph(), scene.node()),
        (_, Some((_, norm))) if is_norm(&norm.op) => Edit::Reads(norm.reads.clone()),
        _ => return Vec::new(),
    };
    vec![Variant::new("the last block's output as it is", edit)]
}

/// The norm of queries or keys that is or is read by this op, and the rotation that follows it.
fn norm_and_rotation(scene: &Scene) -> Option<(&Node, &Node)> {
    let graph = scene.graph();
    let turns = |site: &Site| matches!(graph[*site].op, Op::Rope(_));
    match scene.op() {
        Op::Norm { .. } => Some((scene.node(), &graph[graph.readers(scene.site).find(turns)?])),
        _ => scene.read(0).filter(|(_, norm)| is_norm(&norm.op)).map(|(_, norm)| (norm, scene.node())),
    }
}

fn qk_norm_missing(scene: &Scene) -> Vec<Variant> {
    let edit = match scene.op() {
        Op::Norm { .. } => left_out(scene.graph(), scene.node()),
        _ => match norm_and_rotation(scene) {
            Some((norm, _)) => Edit::Reads(norm.reads.clone()),
            None => return Vec::new(),
        },
    };
    vec![Variant::new("not normalised", edit)]
}

fn qk_norm_scope(scene: &Scene) -> Vec<Variant> {
    let Op::Norm { head_dim, how, .. } = scene.op() else { return Vec::new() };
    if how.form != Form::Rms {
        return Vec::new();
    }
    let other = match (head_dim, scene.node().heads()) {
        (Some(_), _) => (Field::Spread(Spread::Heads), "one mean square for all heads of a token"),
        (None, Some((_, width))) => (Field::Spread(Spread::Parts(width)), "a mean square for each head"),
        (None, None) => return Vec::new(),
    };
    knobs::others(scene, [other])
}

/// Norms of the block, what reads them, and what adds.
#[rustfmt::skip]
const SITES: &[A] = &[
    A::InputNorm, A::MlpNorm, A::AttnOutNorm, A::MlpOutNorm, A::QProj, A::KProj, A::VProj, A::QkvProj, A::GateProj,
    A::UpProj, A::GateUpProj, A::ResidMid, A::Block,
];

/// The norm that stands before a half of the block put behind it, or the reverse: the same weights on the other side.
fn norm_site(scene: &Scene) -> Vec<Variant> {
    let (before, behind) = ([A::InputNorm, A::MlpNorm], [A::AttnOutNorm, A::MlpOutNorm]);
    let is_behind =
        matches!(scene.role(), Some(A::MlpNorm | A::MlpOutNorm | A::GateProj | A::UpProj | A::GateUpProj | A::Block));
    let half = usize::from(is_behind);
    let norm = |roles: [A; 2]| scene.beside(roles[half]).map(|site| scene.graph()[site].op.clone());
    let is_sequential = scene.beside(A::ResidMid).is_some();
    let edit = match (scene.op(), norm(before), norm(behind)) {
        _ if !is_sequential => return Vec::new(),
        (_, Some(_), Some(_)) | (_, None, None) => return Vec::new(),
        (Op::Norm { .. }, ..) => left_out(scene.graph(), scene.node()),
        (Op::Sum { factors }, Some(op), None) if factors.len() == 2 => Edit::Prepare { index: 1, op },
        (Op::Linear { .. }, None, Some(op)) => Edit::Prepare { index: 0, op },
        _ => return Vec::new(),
    };
    vec![Variant::new("on the other side", edit)]
}

fn qk_norm_after_rope(scene: &Scene) -> Vec<Variant> {
    let Some((norm, rotation)) = norm_and_rotation(scene).filter(|(norm, rotation)| norm.axes == rotation.axes) else {
        // A norm over all heads together takes rows.
        return Vec::new();
    };
    let ops = Edit::Put(vec![rotation.op.clone(), norm.op.clone()]);
    vec![Variant::new("rotated first, then normalised", Edit::All(vec![Edit::Reads(norm.reads.clone()), ops]))]
}

fn norm_wrong_weight(scene: &Scene) -> Vec<Variant> {
    const IN_LAYER: [A; 10] = [
        A::InputNorm,
        A::MlpNorm,
        A::QNorm,
        A::KNorm,
        A::AttnOutNorm,
        A::MlpOutNorm,
        A::QDownNorm,
        A::LatentNorm,
        A::ResidMid,
        A::Block,
    ];
    let graph = scene.graph();
    let of_layer = |layer: usize| IN_LAYER.into_iter().filter_map(move |role| graph.in_layer(layer, role));
    let norms = graph.whole(A::FinalNorm).into_iter().chain((0..graph.layers()).flat_map(of_layer));
    // The norm beside it first: two that are exchanged have each other's weight, and are tried together.
    let beside = [(A::InputNorm, A::MlpNorm), (A::QNorm, A::KNorm), (A::ResidMid, A::Block)].into_iter().find_map(
        |(one, other)| match scene.role() {
            Some(role) if role == one => scene.beside(other),
            Some(role) if role == other => scene.beside(one),
            _ => None,
        },
    );
    let others = beside.into_iter().chain(norms.filter(|site| Some(*site) != beside));
    let others = others.filter(|site| *site != scene.site && width(&graph[*site]) == scene.width());
    let borrowed = |site: Site| {
        let edit = norm_of(scene.op(), &graph[site].op)?;
        // Queries may have more heads with a weight of their own than keys.
        edit.check(&scene.model, scene.site).ok()?;
        Some(Variant::new(format!("the weight of {}", graph.name(site)), edit))
    };
    others.filter_map(borrowed).collect()
}

/// A norm with what another one multiplies by, and adds, if both add something.
pub(super) fn norm_of(own: &Op, other: &Op) -> Option<Edit> {
    let (
        Op::Norm { bias: own, weight: Vector::Param(_), .. },
        Op::Norm { weight: weight @ Vector::Param(_), bias, .. },
    ) = (own, other)
    else {
        return None;
    };
    let weight = Edit::NormWeight(weight.clone());
    Some(match bias {
        Some(_) if own.is_some() => Edit::All(vec![weight, Edit::Bias(bias.clone())]),
        _ => weight,
    })
}

/// The norm of the same layer that reads a node.
pub(super) fn norm_beside(scene: &Scene, read: Read) -> Option<Site> {
    let graph = scene.graph();
    let layer = scene.node().layer;
    graph.readers(read.site()).find(|reader| is_norm(&graph[*reader].op) && graph[*reader].layer == layer)
}
