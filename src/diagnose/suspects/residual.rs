//! Mistakes in the residual stream: what is added to what.

use super::norms::{norm_beside, unweighted};
use super::{Scene, Suspect, Variant, fit};
use crate::engine::{Edit, Field, Op, Read, Role as A, Site};

const ADDS: &[A] = &[A::ResidMid, A::Block, A::AttnSum, A::MlpSum];

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
        ops: &[A::ResidMid, A::MlpNorm, A::Block, A::GateProj, A::UpProj, A::GateUpProj],
        symptom: "the stream between attention and MLP lacks attention's part",
        cause: "the block of GPT-J and GPT-NeoX, where the model has one after the other",
        fix: "add attention to the stream before the MLP's norm reads it",
        seen: "HF #18695, TransformerLens #1644, ferrox #233",
        variants: parallel_residual,
    },
    Suspect {
        id: "residual_scale",
        summary: "a part of the sum is multiplied by a constant",
        ops: &[A::ResidMid, A::Block, A::AttnSum, A::MlpSum, A::MixSum],
        symptom: "the stream is off by a share of what was added",
        cause: "a multiplier of another architecture (Granite, MiniCPM)",
        fix: "add attention and MLP as they are",
        seen: "nnterp #54, exllamav3 #218, CTranslate2 #1882",
        variants: residual_scale,
    },
];

fn residual_after_norm(scene: &Scene) -> Vec<Variant> {
    let graph = scene.graph();
    let mut variants = Vec::new();
    if let Some(normed) = scene.node().reads.first().and_then(|stream| norm_beside(scene, *stream)) {
        let edit = Edit::Read { index: 0, read: Read::Node(normed) };
        variants.push(Variant::new("the norm's output and what was added to it", edit));
    }
    let is_norm = |site: &Site| matches!(graph[*site].op, Op::Norm { .. });
    if let Some(next) = graph.readers(scene.site).find(is_norm) {
        let norm = &graph[next];
        let prepared = |op: Op| Edit::Prepare { index: 1, op };
        variants.push(Variant::new("what is added is normed", prepared(norm.op.clone())));
        variants.push(Variant::new("what is added is normed, without a weight", prepared(unweighted(graph, norm))));
        variants.push(Variant::new("the sum is normed", Edit::Then(norm.op.clone())));
    }
    variants
}

/// What attention adds to which stream, seen from an op of the MLP's half of the layer or from their sum itself.
fn parts(scene: &Scene) -> Option<(Read, Read)> {
    let graph = scene.graph();
    let sum = scene.beside(A::ResidMid)?;
    match graph[sum].reads[..] {
        [stream, attention] => Some((stream, attention)),
        _ => None,
    }
}

/// Whether attention and MLP of a layer read the same stream.
pub(super) fn is_parallel(scene: &Scene) -> bool {
    scene.node().layer.is_some() && scene.beside(A::ResidMid).is_none()
}

/// The other way round: the first op of the MLP's half reads the norm of the sum of stream and attention.
fn sequential_residual(scene: &Scene) -> Vec<Variant> {
    let graph = scene.graph();
    let Some(layer) = scene.node().layer else { return Vec::new() };
    // Of a block of one part, what is added is computed from this.
    let added = graph.added(layer).first().copied().filter(|added| *added < scene.site);
    let (Some(stream), Some(attention)) = (graph.entering(layer), added) else {
        return Vec::new();
    };
    let read = scene.node().reads.first().map(|read| read.site());
    let normed = read.filter(|read| graph.is(*read, A::InputNorm));
    let ops = match (scene.role(), normed) {
        (Some(A::MlpNorm), _) => vec![scene.op().clone()],
        (Some(A::GateProj | A::UpProj | A::GateUpProj), Some(norm)) => vec![graph[norm].op.clone(), scene.op().clone()],
        _ => return Vec::new(),
    };
    let sum = Op::Sum { factors: vec![1.0; 2] };
    let edits = vec![
        Edit::Reads(vec![Read::Node(stream), Read::Node(attention)]),
        Edit::Put([sum].into_iter().chain(ops).collect()),
    ];
    vec![Variant::new("the MLP reads the stream to which attention has been added", Edit::All(edits))]
}

/// Ways of one mistake in three ops: in each way some of them stay as they are.
fn parallel_residual(scene: &Scene) -> Vec<Variant> {
    if is_parallel(scene) {
        return sequential_residual(scene);
    }
    let Some((stream, attention)) = parts(scene) else { return Vec::new() };
    let (at_the_end, of_input) = match (scene.role(), &scene.node().reads[..]) {
        (Some(A::ResidMid), _) => (Edit::Set(Field::Factors(vec![1.0, 0.0])), Edit::Keep),
        (Some(A::Block), [mid, mlp]) => {
            let sum = Op::Sum { factors: vec![1.0; 3] };
            (Edit::All(vec![Edit::Reads(vec![*mid, attention, *mlp]), Edit::Put(vec![sum])]), Edit::Keep)
        }
        (Some(A::MlpNorm), _) => (Edit::Keep, Edit::Reads(vec![stream])),
        // Without a norm before it, the MLP reads the stream itself.
        (Some(A::GateProj | A::UpProj | A::GateUpProj), [mid]) if scene.beside(A::ResidMid) == Some(mid.site()) => {
            (Edit::Keep, Edit::Reads(vec![stream]))
        }
        _ => return Vec::new(),
    };
    vec![
        Variant::new("attention is added at the end of the block", at_the_end),
        Variant::new("the MLP's half reads the block's input", of_input),
    ]
}

fn residual_scale(scene: &Scene) -> Vec<Variant> {
    let own = match scene.op() {
        Op::Sum { factors } => factors,
        Op::ScaledSum { .. } => {
            let sum = Op::Sum { factors: vec![1.0; 2] };
            return vec![Variant::new("not multiplied by the layer's own scalar", Edit::Put(vec![sum]))];
        }
        _ => return Vec::new(),
    };
    if own.len() != 2 {
        return one_left_out(scene, own);
    }
    if scene.role() == Some(A::MixSum) {
        return side_by_side(scene, own);
    }
    let mut fitted = fitted(scene).unwrap_or_default();
    if scene.tokens > 0 {
        fitted.insert(0, vec![0.0, 1.0]);
    }
    if own[1] != 1.0 {
        fitted.insert(0, vec![1.0, 1.0]);
    }
    let with = |factors: Vec<f64>| {
        let words = match factors[..] {
            [0.0, 1.0] => "the stream is not added".to_string(),
            [1.0, 1.0] => format!("what is added is not multiplied by {}", own[1]),
            [1.0, c] => format!("what is added times {c:.6}"),
            [c, 1.0] => format!("the stream times {c:.6}"),
            _ => format!("the sum times {:.6}", factors[0]),
        };
        Variant::new(words, Edit::Set(Field::Factors(factors)))
    };
    fitted.into_iter().map(with).collect()
}

/// Each of two parts that have a factor of their own without it, with that of the other, and left out.
fn side_by_side(scene: &Scene, own: &[f64]) -> Vec<Variant> {
    let mut variants = Vec::new();
    for (index, read) in scene.node().reads.iter().enumerate() {
        let name = scene.graph().name(read.site());
        let mut with = |factor: f64, words: String| {
            let mut factors = own.to_vec();
            factors[index] = factor;
            variants.push((Field::Factors(factors), words));
        };
        with(1.0, format!("{name} is not multiplied by {:.4}", own[index]));
        with(0.0, format!("{name} is not added"));
    }
    variants.push((Field::Factors(vec![1.0; 2]), "the sum of both as they are".to_string()));
    variants
        .push((Field::Factors(vec![own[1], own[0]]), "each is multiplied by the constant of the other".to_string()));
    super::knobs::others(scene, variants)
}

/// A part of a sum of several is not added.
fn one_left_out(scene: &Scene, own: &[f64]) -> Vec<Variant> {
    let without = |(index, read): (usize, &Read)| {
        let mut factors = own.to_vec();
        *factors.get_mut(index)? = 0.0;
        let words = format!("{} is not added", scene.graph().name(read.site()));
        Some(Variant::new(words, Edit::Set(Field::Factors(factors))))
    };
    scene.node().reads.iter().enumerate().filter_map(without).collect()
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
