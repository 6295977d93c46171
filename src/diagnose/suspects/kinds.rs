//! Layers that are taken for others: with a window, rotated by other speeds, not rotated, or with the keys of another layer.

use super::masks::{masks, scoring};
use super::{Scene, Suspect, Variant};
use crate::engine::{Edit, Field, Op, Read, Role as A};
use crate::model::op::{Content, Held, Rotate, Slots};
use crate::ops::Frequencies;

pub(super) const SUSPECTS: &[Suspect] = &[
    Suspect {
        id: "layer_pattern",
        summary: "a layer of full attention has the window of others",
        ops: &[A::Scores, A::Probs],
        symptom: "tokens up to the window are right, later ones are wrong, in layers that have none",
        cause: "layer_types is not read, or counted from another layer",
        fix: "give windows to the layers that layer_types names, and to no others",
        seen: "TransformerLens #693, vLLM #39407",
        variants: pattern,
    },
    Suspect {
        id: "rope_layer_type",
        summary: "a layer is rotated as layers of another kind are",
        ops: &[A::QRope, A::KRope],
        symptom: "token 0 is right; layers of one kind agree, those of the other drift with the position",
        cause: "one theta, or one scaling, for all layers, where each kind has its own",
        fix: "rotate each layer by the theta and the scaling of its kind (rope_parameters, rope_local_base_freq)",
        seen: "candle #2917, mlx-vlm #1709, mlxcel #1340, mlxcel #1386",
        variants: of_another_kind,
    },
    Suspect {
        id: "nope_layers",
        summary: "a layer is rotated that must not be, or the reverse",
        ops: &[A::QRope, A::KRope, A::Scores],
        symptom: "token 0 is right; layers of one kind agree",
        cause: "no_rope_layers of config.json is not read, or read the other way round (1 is rotated)",
        fix: "rotate the layers that the model rotates, and no others",
        seen: "no public thread is known to us",
        variants: not_rotated,
    },
    Suspect {
        id: "kv_shared_layer",
        summary: "a layer reads the keys or values of another layer than it should",
        ops: &[A::Scores, A::Context],
        symptom: "layers that have their own keys agree; one of those that share them does not, or the reverse",
        cause: "the cache that layers share is found by another rule: the last layer of the same kind that has its own is meant",
        fix: "let the last num_kv_shared_layers layers read the keys and values of the last layer before them of the same kind",
        seen: "vLLM #55559",
        variants: of_another_layer,
    },
];

fn pattern(scene: &Scene) -> Vec<Variant> {
    if scoring(scene).is_none_or(|how| how.window.is_some()) {
        return Vec::new();
    }
    let of_node = |op: &Op| if let Op::Scores(how) = op { how.window } else { None };
    let mut widths: Vec<usize> = scene.graph().nodes().iter().filter_map(|node| of_node(&node.op)).collect();
    widths.sort_unstable();
    widths.dedup();
    // One that would have shown in the forwards before is none.
    widths.retain(|width| *width >= scene.right_until);
    let with = |width: usize| (format!("a window of {width} where the model has none"), Field::Window(Some(width)));
    masks(scene, widths.into_iter().map(with))
}

/// The rotations of the model's other layers, each once.
fn rotations(scene: &Scene, role: A) -> Vec<(usize, &Rotate)> {
    let graph = scene.graph();
    let mut found: Vec<(usize, &Rotate)> = Vec::new();
    for layer in 0..graph.layers() {
        if let Some(Op::Rope(rotate)) = graph.in_layer(layer, role).map(|site| &graph[site].op)
            && !found.iter().any(|(_, known)| known.rope == rotate.rope && known.head_dim == rotate.head_dim)
        {
            found.push((layer, rotate));
        }
    }
    found
}

fn of_another_kind(scene: &Scene) -> Vec<Variant> {
    let (Op::Rope(own), Some(role)) = (scene.op(), scene.role()) else { return Vec::new() };
    let others = rotations(scene, role).into_iter().filter(|(_, other)| {
        other.rope != own.rope && other.head_dim == own.head_dim && other.rope.dims <= own.head_dim
    });
    let as_there = |(layer, other): (usize, &Rotate)| {
        let words =
            format!("as in layer {layer}, by theta {}, {} scaling", other.rope.theta, other.rope.scaling.name());
        Variant::new(words, Edit::Set(Field::Rope(other.rope.clone())))
    };
    others.map(as_there).collect()
}

fn not_rotated(scene: &Scene) -> Vec<Variant> {
    let graph = scene.graph();
    let is_rotated = |layer: usize| graph.in_layer(layer, A::QRope).is_some();
    match scene.op() {
        Op::Rope(_) => {
            let Some(other) = (0..graph.layers()).find(|layer| !is_rotated(*layer)) else { return Vec::new() };
            let words = format!("not rotated, as layer {other} is not");
            vec![Variant::new(words, Edit::Set(Field::Frequencies(Frequencies::of_speeds([]))))]
        }
        Op::Scores(_) if scene.node().layer.is_some_and(|layer| !is_rotated(layer)) => {
            let width = scene.read(0).and_then(|(_, node)| node.heads()).map(|(_, width)| width);
            let others = rotations(scene, A::QRope).into_iter();
            let others = others.filter(|(_, other)| Some(other.head_dim) == width && other.factor == 1.0);
            others.map(|(layer, other)| rotated(scene, layer, other)).collect()
        }
        _ => Vec::new(),
    }
}

/// Keys, or values, of other layers, where some layers of the model read those of others.
fn of_another_layer(scene: &Scene) -> Vec<Variant> {
    let (graph, node) = (scene.graph(), scene.node());
    let (Some(role), Some(own)) = (scene.role(), node.reads.get(1)) else { return Vec::new() };
    let read = |layer: usize| graph.in_layer(layer, role).and_then(|site| graph[site].reads.get(1).copied());
    let shares = |layer: usize| read(layer).is_some_and(|read| graph[read.site()].layer != Some(layer));
    if !(0..graph.layers()).any(shares) {
        return Vec::new();
    }
    let what = if role == A::Scores { "keys" } else { "values" };
    let of = |read: Read| graph[read.site()].layer.unwrap_or_default();
    // Those of layers in between are the nearest.
    let mut others: Vec<Read> = (0..graph.layers()).rev().filter_map(read).collect();
    others.dedup();
    let is_other =
        |other: &Read| other != own && graph[other.site()].axes == graph[own.site()].axes && other.site() < scene.site;
    let as_there = |read: Read| {
        let words = format!("{what} of layer {} where the model reads those of layer {}", of(read), of(*own));
        Variant::new(words, Edit::Read { index: 1, read })
    };
    others.into_iter().filter(is_other).map(as_there).collect()
}

/// Queries and keys that are rotated as in another layer, before they meet.
fn rotated(scene: &Scene, layer: usize, rotate: &Rotate) -> Variant {
    let content = Content::Turned {
        frequencies: rotate.frequencies(scene.first + scene.tokens),
        pairs: rotate.pairs,
        times: 1,
        by: 0,
    };
    let held = Held { slots: Slots::All, head: None, content };
    let queries = Edit::Prepare { index: 0, op: Op::Rope(rotate.clone()) };
    let words = format!("rotated as layer {layer} is, where the model does not rotate this layer");
    Variant::new(words, Edit::All(vec![queries, Edit::Set(Field::Held(held))]))
}
