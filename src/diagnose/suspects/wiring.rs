//! Mistakes in what is connected to what: blocks and ops that are fed another tensor, or left out.

use super::{Scene, Suspect, Variant};
use crate::engine::{Edit, Field, Op, Read, Role as A, Site};

/// Ops that may be fed another tensor: those that read the stream, and products.
#[rustfmt::skip]
const FED: &[A] = &[
    A::InputNorm, A::ResidMid, A::QProj, A::KProj, A::VProj, A::QkvProj, A::OProj, A::GateProj, A::UpProj, A::DownProj,
];

pub(super) const SUSPECTS: &[Suspect] = &[
    Suspect {
        id: "attention_gives_nothing",
        summary: "what attention gives is zero, or is not added to the stream",
        ops: &[A::Context, A::OProj, A::ResidMid, A::AttnSum],
        symptom: "the stream between attention and MLP is what entered the layer",
        cause: "weights of zeros, a kernel that returns an empty buffer, or a residual that is taken from the wrong place",
        fix: "load the weights of attention, and add what o_proj gives to the stream",
        seen: "no public thread is known to us",
        variants: |scene| match scene.op() {
            Op::Sum { factors } if factors.len() == 2 => {
                vec![Variant::new("attention is not added", Edit::Set(Field::Factors(vec![1.0, 0.0])))]
            }
            Op::Sum { .. } | Op::Norm { .. } => Vec::new(),
            _ => vec![Variant::new("zeros", Edit::times(0.0))],
        },
    },
    Suspect {
        id: "block_missing",
        summary: "a block, or its MLP, is left out",
        ops: &[A::Block],
        symptom: "a layer's output is its input, or the stream from before its MLP",
        cause: "a loop over layers that ends early or skips one, or a branch that is never taken",
        fix: "run every block of the model, attention and MLP",
        seen: "no public thread is known to us",
        variants: left_out,
    },
    Suspect {
        id: "block_input",
        summary: "a block or an op is fed another tensor",
        ops: FED,
        symptom: "the op is right on another tensor than the one that it should read",
        cause: "a stage that is handed the last sublayer's output without the residual stream, or the wrong buffer",
        fix: "feed it what the model feeds it",
        seen: "prime-rl #354",
        variants: fed,
    },
];

fn left_out(scene: &Scene) -> Vec<Variant> {
    let graph = scene.graph();
    let Some(layer) = scene.node().layer else { return Vec::new() };
    let as_it_is = |read: Read| Edit::All(vec![Edit::Reads(vec![read]), Edit::identity()]);
    let entering = graph.entering(layer).map(|stream| {
        Variant::new(format!("layer {layer} is left out: its output is its input"), as_it_is(Read::Node(stream)))
    });
    let mid = scene
        .node()
        .reads
        .first()
        .filter(|read| graph.is(read.site(), A::ResidMid))
        .map(|mid| Variant::new(format!("the MLP of layer {layer} is left out"), as_it_is(*mid)));
    entering.into_iter().chain(mid).collect()
}

fn fed(scene: &Scene) -> Vec<Variant> {
    let graph = scene.graph();
    let Some(layer) = scene.node().layer else { return Vec::new() };
    let stream = graph.entering(layer);
    let of_stream = |read: &Read| stream == Some(read.site());
    if let Some(index) = scene.node().reads.iter().position(of_stream) {
        let fed = |read: Read| {
            let words = format!("layer {layer} is fed {}", graph.name(read.site()));
            Variant::new(words, Edit::Read { index, read })
        };
        return streams(scene, layer).into_iter().map(fed).collect();
    }
    let [own @ Read::Node(source)] = scene.node().reads[..] else { return Vec::new() };
    // Over a span, too much would have to be tried: only what the norm before it reads.
    if scene.part.is_none() && scene.tokens == 0 {
        return Vec::new();
    }
    if scene.part.is_none() {
        let before = match (&graph[source].op, &graph[source].reads[..]) {
            (Op::Norm { .. }, [read]) if graph[read.site()].axes == graph[source].axes => *read,
            _ => return Vec::new(),
        };
        let words = format!("it reads {}", graph.name(before.site()));
        return vec![Variant::new(words, Edit::Read { index: 0, read: before })];
    }
    let alike = |site: &Site| {
        graph[*site].axes == graph[source].axes
            && graph[*site].layer == Some(layer)
            && *site < scene.site
            && Read::Node(*site) != own
    };
    let fed = |site: Site| {
        let words = format!("it reads {}", graph.name(site));
        Variant::new(words, Edit::Read { index: 0, read: Read::Node(site) })
    };
    let stream = stream.filter(|stream| graph[*stream].axes == graph[source].axes);
    graph.sites().filter(alike).chain(stream).map(fed).collect()
}

/// What may be taken for the stream that enters a layer: what the layer before has computed, or what entered it or one
/// before.
fn streams(scene: &Scene, layer: usize) -> Vec<Read> {
    let graph = scene.graph();
    let Some(own) = graph.entering(layer) else { return Vec::new() };
    let before = layer.checked_sub(1);
    let inside = |site: &Site| {
        before.is_some() && graph[*site].layer == before && *site != own && graph[*site].axes == graph[own].axes
    };
    let left_behind = graph.sites().filter(inside).map(Read::Stale);
    let entered = (0..layer).rev().filter_map(|layer| graph.entering(layer)).map(Read::Node);
    left_behind.chain(entered).collect()
}
