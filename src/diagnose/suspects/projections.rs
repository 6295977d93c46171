//! Mistakes in linear layers: their weights, their biases, and what they read.

use ndarray::{Array1, Ix2};

use super::norms::norm_of;
use super::{Scene, Suspect, Variant, knobs};
use crate::engine::{Edit, Field, Graph, Op, Read, Role as A, Site};
use crate::model::op::Vector;
use crate::ops::Operands;

#[rustfmt::skip]
pub(super) const LINEAR: &[A] = &[
    A::QProj, A::KProj, A::VProj, A::OProj, A::GateProj, A::UpProj, A::DownProj, A::QkvProj, A::RouterLogits,
    A::QDown, A::KvDown, A::KvUp,
];

/// Ops that add a vector of the model.
#[rustfmt::skip]
const BIASED: &[A] = &[
    A::QProj, A::KProj, A::VProj, A::OProj, A::GateProj, A::UpProj, A::DownProj, A::QkvProj, A::RouterLogits,
    A::QDown, A::KvDown, A::KvUp, A::MixIn, A::ConvOut, A::TimeStep, A::StateDecay, A::MixOut,
    A::ExpertGateUp, A::ExpertGate, A::ExpertUp, A::ExpertDown,
];

/// Ops of a layer that have weights.
#[rustfmt::skip]
const WEIGHTS: &[A] = &[
    A::InputNorm, A::QProj, A::KProj, A::VProj, A::QNorm, A::KNorm, A::OProj,
    A::MlpNorm, A::GateProj, A::UpProj, A::DownProj, A::QkvProj, A::AttnOutNorm, A::MlpOutNorm,
    A::RouterLogits, A::ExpertGate, A::ExpertUp, A::ExpertDown,
    A::QDown, A::QDownNorm, A::KvDown, A::LatentNorm, A::KvUp,
];

/// Products of rows with one matrix.
#[rustfmt::skip]
const PRODUCTS: &[A] = &[
    A::QProj, A::KProj, A::VProj, A::OProj, A::GateProj, A::UpProj, A::DownProj, A::LmHead, A::QkvProj, A::RouterLogits,
    A::QDown, A::KvDown, A::KvUp,
];

/// Ops of a layer that may read what the one before it left behind.
#[rustfmt::skip]
const LAYER: &[A] = &[
    A::InputNorm, A::QProj, A::KProj, A::VProj, A::QRope, A::KRope, A::Scores, A::Probs, A::Context, A::OProj,
    A::ResidMid, A::MlpNorm, A::GateProj, A::UpProj, A::ActFn, A::ActMul, A::DownProj, A::Block, A::QkvProj,
    A::AttnOutNorm, A::MlpOutNorm, A::RouterLogits, A::Routing, A::ExpertGate, A::ExpertUp, A::ExpertAct,
    A::ExpertActMul, A::ExpertDown, A::Experts, A::QDown, A::QDownNorm, A::KvDown, A::LatentNorm, A::KvUp, A::Keys,
];

pub(super) const SUSPECTS: &[Suspect] = &[
    Suspect {
        id: "bias_missing",
        summary: "the bias of a linear layer, of experts, a convolution or a step of time is not added",
        ops: BIASED,
        symptom: "every token is off by the same vector; Qwen2 fails where Llama works",
        cause: "the port was written for a model without biases, or a bias was not loaded",
        fix: "add the bias after the product",
        seen: "ANEForge #253, candle-vllm #167, mlc-llm #3494, nntile #370",
        variants: bias_missing,
    },
    Suspect {
        id: "wrong_layer_weight",
        summary: "a linear layer, or a whole layer, with the weights of another layer",
        ops: WEIGHTS,
        symptom: "noise of about the right size in one layer",
        cause: "an index off by one when loading, or a pointer that is not advanced",
        fix: "load the weights of this layer",
        seen: "1bit-MONSTER #1058, safetensors #448",
        variants: wrong_layer,
    },
    Suspect {
        id: "low_precision_matmul",
        summary: "operands of a product are rounded to a coarser format",
        ops: PRODUCTS,
        symptom: "an unstructured error of 0.01 to 1 % in a finer dump",
        cause: "TF32 or half-precision tensor cores, int8 activations",
        fix: "harmless if it is meant; else switch the reduced precision of products off",
        seen: "tensorflow #127577, pytorch #53635, FastNN #10",
        variants: |scene| {
            let formats = [Operands::Bf16, Operands::F16, Operands::Tf32, Operands::Q8_0];
            knobs::others(scene, formats.map(|operands| (Field::Operands(operands), operands.describe())))
        },
    },
];

/// Tried last: an earlier layer's value explains much by chance in a model whose layers are alike.
pub(super) const STALE: &[Suspect] = &[Suspect {
    id: "stale_layer_state",
    summary: "an op reads what an earlier layer, or an earlier forward, left behind",
    ops: LAYER,
    symptom: "layer 0 agrees, every later one is wrong; alone, each layer is right",
    cause: "a buffer, a cache or a shared state is not overwritten when the next layer starts",
    fix: "give every layer its own buffers, or clear them on entering it",
    seen: "realizar #94, mistral.rs 1a41a4def, candle #1991",
    variants: stale,
}];

fn bias_missing(scene: &Scene) -> Vec<Variant> {
    let bias = match scene.op() {
        Op::Experts { biases: Some(_), .. } => return vec![Variant::new("no bias", Edit::Bias(None))],
        Op::Linear { bias: Some(bias), .. } | Op::Convolve { bias: Some(bias), .. } => bias,
        Op::TimeStep { bias } | Op::Decay { bias: Some(bias), .. } => {
            let Some(own) = scene.vector(bias) else { return Vec::new() };
            return vec![Variant::new("no bias", Edit::Bias(Some(Vector::Other(Array1::zeros(own.len()).into()))))];
        }
        _ => return Vec::new(),
    };
    let Some(bias) = scene.vector(bias) else { return Vec::new() };
    let mut variants = vec![Variant::new("no bias", Edit::Bias(None))];
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
            let mut partial = bias;
            for channel in channels {
                partial[channel] = 0.0;
            }
            variants.push(Variant::new(words, Edit::Bias(Some(Vector::Other(partial.into())))));
        }
    }
    variants
}

fn wrong_layer(scene: &Scene) -> Vec<Variant> {
    let graph = scene.graph();
    let twins = (0..graph.layers()).filter_map(|layer| graph.twin(scene.site, layer));
    let of_twin = |twin: Site| {
        let edit = match (scene.op(), &graph[twin].op) {
            (own @ Op::Norm { .. }, other) => norm_of(own, other)?,
            (Op::Linear { .. }, Op::Linear { weight, bias, .. }) => {
                Edit::All(vec![Edit::Weight(weight.clone()), Edit::Bias(bias.clone())])
            }
            (Op::Experts { .. }, Op::Experts { weights, .. }) => Edit::Weight(weights.clone()),
            _ => return None,
        };
        // Layers of some models are of other sizes.
        edit.check(&scene.model, scene.site).ok()?;
        Some(Variant::new(format!("the weights of {}", graph.name(twin)), edit))
    };
    twins.filter(|twin| *twin != scene.site).filter_map(of_twin).collect()
}

fn stale(scene: &Scene) -> Vec<Variant> {
    let mut variants = of_layer_before(scene);
    variants.extend(of_forward_before(scene));
    variants
}

/// What an op reads where it takes the rows of other tokens: the first of its buffer, or those of the forward before.
fn of_forward_before(scene: &Scene) -> Vec<Variant> {
    let graph = scene.graph();
    let mut starts = vec![0, scene.first.saturating_sub(scene.tokens)];
    starts.dedup();
    let mut variants = Vec::new();
    for (index, read) in scene.node().reads.iter().enumerate() {
        let Read::Node(site) = *read else { continue };
        for start in starts.iter().copied().filter(|start| scene.has_earlier(site, *start)) {
            let last = start + scene.tokens - 1;
            let tokens =
                if last == start { format!("row of token {start}") } else { format!("rows of tokens {start}-{last}") };
            let words = format!("reads the {tokens} of {}, from an earlier forward", graph.name(site));
            variants.push(Variant::new(words, Edit::Read { index, read: Read::Earlier(site, start) }));
        }
    }
    variants
}

fn of_layer_before(scene: &Scene) -> Vec<Variant> {
    let graph = scene.graph();
    let Some(before) = scene.node().layer.and_then(|layer| layer.checked_sub(1)) else { return Vec::new() };
    let replaced = |(index, read): (usize, &Read)| {
        let read = earlier(graph, *read, before)?;
        Some(Variant::new(format!("reads {}", graph.name(read.site())), Edit::Read { index, read }))
    };
    scene.node().reads.iter().enumerate().filter_map(replaced).collect()
}

/// What an op reads where it should read `read`, if that was left behind by the layer `before`.
fn earlier(graph: &Graph, read: Read, before: usize) -> Option<Read> {
    // What a layer shares with the one before is that one's own.
    let alike = |site: Site| graph.twin(site, before).filter(|twin| *twin != site && graph.are_alike(*twin, site));
    match read {
        Read::Past(site) => alike(site).map(Read::Past),
        Read::Node(site) if graph.is_stream(site) => graph.entering(graph[site].layer?).map(Read::Node),
        Read::Node(site) => alike(site).map(Read::Stale),
        // What a layer leaves behind is not kept by position.
        Read::Whole(_) | Read::Stale(_) | Read::Earlier(..) => None,
    }
}
