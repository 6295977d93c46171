//! Mistakes in what stands in the place of attention: convolutions, states and their gates.

use ndarray::Array1;

use super::{Scene, Suspect, Variant};
use crate::engine::{Edit, Field, Op, Rates, Role as A};
use crate::model::op::{Content, Held, Slots, Vector};
use crate::ops::Activation;

pub(super) const SUSPECTS: &[Suspect] = &[
    Suspect {
        id: "output_gate_missing",
        summary: "what attention, a state or a convolution gives is not gated",
        ops: &[A::AttnGated, A::Mixed],
        symptom: "what enters the last matrix of the layer is what the gate was to multiply",
        cause: "the gate that comes out of the projection of queries, or beside what is mixed, is dropped",
        fix: "multiply by the gate before the last matrix of the layer",
        seen: "no public thread is known to us",
        variants: without_gate,
    },
    Suspect {
        id: "l2norm_missing",
        summary: "queries or keys of a state, or an embedding, are not of length 1; or an embedding is that must not be",
        ops: &[A::StateQueryNorm, A::StateKeyNorm, A::Unit, A::Pooled],
        symptom: "rows point the right way and have the wrong length; what a state gives grows with the sequence",
        cause: "a kernel that does not normalise, or divides by the root of the mean square; the Normalize of modules.json left out, or added",
        fix: "divide by the root of the sum of squares: each head of q and k of a state, and embeddings where modules.json lists Normalize",
        seen: "1bit-MONSTER #2134, HF #40842, Qwen3-Embedding #91",
        variants: |scene| match scene.role() {
            Some(A::Unit | A::Pooled) => super::pooling::length(scene),
            _ => not_of_length_one(scene),
        },
    },
    Suspect {
        id: "decay_sign",
        summary: "the logarithm of what is left of a state has the other sign",
        ops: &[A::StateDecay],
        symptom: "the state grows where it should fade: errors become larger with every token",
        cause: "-exp(A_log) is read as exp(A_log)",
        fix: "g = -exp(A_log) * softplus(a + dt_bias), which is never above 0",
        seen: "no public thread is known to us",
        variants: |scene| {
            let Op::Decay { bias, .. } = scene.op() else { return Vec::new() };
            let step = if bias.is_some() { "softplus(a + bias)" } else { "Δ" };
            vec![Variant::new(format!("exp(A) {step} where the model has it negative"), Edit::times(-1.0))]
        },
    },
    Suspect {
        id: "decay_scale",
        summary: "the rates of a state are read otherwise than as the logarithms that they are",
        ops: &[A::StateDecay],
        symptom: "the first token is right, later ones are off by how fast the state fades",
        cause: "a converter has computed -exp(A_log) already, or the exponential is left out",
        fix: "take -exp(A_log) once",
        seen: "candle 6e3bcaabc",
        variants: rates,
    },
    Suspect {
        id: "skip_missing",
        summary: "what a selective state space gives lacks D times its input",
        ops: &[A::StateOut],
        symptom: "every token is off, the first one too, by its own input times a constant of each head",
        cause: "D is not loaded, or the kernel is called without it",
        fix: "add D x to what the state gives",
        seen: "no public thread is known to us",
        variants: |scene| match scene.op() {
            Op::SelectiveScan { skip, .. } => {
                let zeros = scene.vector(skip).map(|skip| Vector::Other(Array1::zeros(skip.len()).into()));
                zeros.map(|zeros| Variant::new("without D x", Edit::Bias(Some(zeros)))).into_iter().collect()
            }
            _ => Vec::new(),
        },
    },
    Suspect {
        id: "conv_kernel_reversed",
        summary: "the filters of a convolution are read from the other end",
        ops: &[A::ConvOut],
        symptom: "the first token sees the tap of the oldest position",
        cause: "a mathematical convolution in the place of the correlation that PyTorch computes, or taps stored newest first",
        fix: "multiply the newest token by the last tap",
        seen: "no public thread is known to us",
        variants: |scene| match scene.op() {
            Op::Convolve { .. } => vec![Variant::new("the newest token by the first tap", Edit::Taps)],
            _ => Vec::new(),
        },
    },
    Suspect {
        id: "gate_activation_missing",
        summary: "a gate of a state, or of attention, is taken as it is, or through another function",
        ops: &[A::Mixed, A::StateWrite, A::AttnGateWeight],
        symptom: "what is gated is right, what the gate makes of it is not",
        cause: "silu or sigmoid of the gate is left to the kernel, which does not compute it",
        fix: "silu of z where a state is read, sigmoid of what says how much is written, sigmoid of the gate of attention",
        seen: "no public thread is known to us",
        variants: other_gate,
    },
    Suspect {
        id: "gate_norm_order",
        summary: "what a state gives is gated on the other side of its norm",
        ops: &[A::StateNorm, A::Mixed],
        symptom: "what the norm of a state gives is off, and so is the input of the last matrix of the layer",
        cause: "the gated norm of Mamba 2, which takes what is gated, is taken for that of gated delta nets, or the reverse",
        fix: "norm(y * silu(z)) where a selective state space gives y; norm(o) * silu(z) where a delta rule gives o",
        seen: "no public thread is known to us",
        variants: other_side,
    },
    Suspect {
        id: "conv_state_stale",
        summary: "a decode step's convolution does not see the tokens before",
        ops: &[A::ConvOut],
        symptom: "the prefill is right, decode steps are off from the convolution on",
        cause: "the last positions are not kept between forwards, or are those of a token earlier",
        fix: "keep the last positions that the convolution is over, the newest among them",
        seen: "no public thread is known to us",
        variants: |scene| stale(scene, &[(Content::Zeros, "zeros"), (Content::Moved(-1), "those of a token earlier")]),
    },
    Suspect {
        id: "delta_state_stale",
        summary: "a decode step's state is not that of the tokens before",
        ops: &[A::StateOut],
        symptom: "the prefill is right, decode steps are off from what the state gives on",
        cause: "the state is not kept between forwards, or what decode steps write to it is not",
        fix: "keep the state of the last token, and write it back after every forward",
        seen: "HF #46190",
        variants: stale_state,
    },
];

/// The value that is gated is the first that a product reads, or the second, where the first is the gate.
fn without_gate(scene: &Scene) -> Vec<Variant> {
    let reads = &scene.node().reads;
    let gated = match scene.op() {
        Op::Gate(_) => 0,
        Op::Multiply => usize::from(scene.beside(A::ConvC).is_some()),
        _ => return Vec::new(),
    };
    let Some(read) = reads.get(gated) else { return Vec::new() };
    let alone = Edit::Reads(vec![*read]);
    let edit = if let Op::Gate(_) = scene.op() { alone } else { Edit::All(vec![alone, Edit::identity()]) };
    vec![Variant::new("no gate", edit)]
}

/// Rates that were computed already, or that nothing is computed of.
fn rates(scene: &Scene) -> Vec<Variant> {
    let Op::Decay { .. } = scene.op() else { return Vec::new() };
    let ways = [
        ("-exp(exp(A_log)): the exponential twice", Rates::Twice),
        ("-A_log: without the exponential", Rates::AsStored),
        ("-1 in the place of -exp(A_log)", Rates::One),
    ];
    ways.map(|(words, rates)| Variant::new(words, Edit::Rates(rates))).into()
}

/// A gate through another function.
fn other_gate(scene: &Scene) -> Vec<Variant> {
    let (Op::Gate(own) | Op::Activate(own)) = scene.op() else { return Vec::new() };
    let others = [Activation::Identity, Activation::Sigmoid, Activation::Silu].into_iter().filter(|other| other != own);
    let with = |other: Activation| {
        Variant::new(format!("{} for {}", other.name(), own.name()), Edit::Set(Field::Function(other)))
    };
    others.map(with).collect()
}

/// The norm and the gate of what a state gives, in the other order.
fn other_side(scene: &Scene) -> Vec<Variant> {
    let (Some(norm), Some(gated)) = (scene.beside(A::StateNorm), scene.beside(A::Mixed)) else { return Vec::new() };
    let graph = scene.graph();
    let (is_first, reads) = (gated < norm, &scene.node().reads);
    let edit = match scene.op() {
        Op::Norm { .. } if is_first => super::norms::left_out(graph, scene.node()),
        Op::Gate(_) if is_first => Edit::Prepare { index: 0, op: graph[norm].op.clone() },
        // What it gates, and the gate.
        own @ Op::Norm { .. } => {
            let reads = reads.iter().copied().chain(graph[gated].reads.get(1).copied()).collect();
            Edit::All(vec![Edit::Reads(reads), Edit::Put(vec![graph[gated].op.clone(), own.clone()])])
        }
        Op::Gate(_) => Edit::Reads(reads[..1].to_vec()),
        _ => return Vec::new(),
    };
    let words = if is_first {
        "norm(y) * silu(z) where the model has norm(y * silu(z))"
    } else {
        "norm(o * silu(z)) where the model has norm(o) * silu(z)"
    };
    vec![Variant::new(words, edit)]
}

fn not_of_length_one(scene: &Scene) -> Vec<Variant> {
    let Op::UnitLength { width, eps } = *scene.op() else { return Vec::new() };
    let of_mean = [Edit::Set(Field::Eps((eps * width as f64) as f32)), Edit::times((width as f64).sqrt())];
    vec![
        Variant::new("as they are", Edit::identity()),
        Variant::new("divided by the root of the mean square", Edit::All(of_mean.into())),
    ]
}

/// What is kept of the forwards before is something else.
fn stale(scene: &Scene, contents: &[(Content, &str)]) -> Vec<Variant> {
    if scene.step == 0 && scene.tokens > 0 {
        return Vec::new();
    }
    let of = |(content, words): &(Content, &str)| {
        let held = Held { slots: Slots::Before, head: None, content: content.clone() };
        Variant::new(format!("what is kept of the tokens before is {words}"), Edit::Set(Field::Held(held)))
    };
    contents.iter().map(of).collect()
}

fn stale_state(scene: &Scene) -> Vec<Variant> {
    let mut variants = stale(scene, &[(Content::Zeros, "nothing: the state starts anew")]);
    // Decode steps of one token each, as nearly all are.
    let prefill =
        (scene.first + 1).checked_sub(scene.step * scene.tokens).filter(|_| scene.step > 1 && scene.tokens == 1);
    if let Some(prefill) = prefill {
        let held = Held { slots: Slots::Since(prefill), head: None, content: Content::Zeros };
        let words = format!("the state is that of token {}: decode steps do not change it", prefill.saturating_sub(1));
        variants.push(Variant::new(words, Edit::Set(Field::Held(held))));
    }
    variants
}
