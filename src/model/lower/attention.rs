//! Attention: from what it reads to what its last matrix gives.

use super::{Build, R, latent, per_head};
use crate::model::graph::{Axis, Read, Site};
use crate::model::op::{Op, Places, Scoring, Vector};
use crate::model::spec::{Attn, Over, QkNorm, Rope};
use crate::ops::{Activation, Join, Rounding, grouped, slopes};

/// `o(softmax(scale q kᵀ + mask) v)`, with q and k normed and rotated. Vaswani et al., arXiv 1706.03762.
pub(super) fn attention(g: &mut Build, a: &Attn, h: Site) -> Site {
    let groups = grouped(a.heads, a.kv_heads);
    let h = g.times(R::AttnInput, h, a.input_factor);
    let (q, k, v, gate) = match (&a.latent, a.from) {
        (Some(rows), _) => {
            let (q, k, v) = latent::of_narrow_rows(g, a, rows, h);
            (q, k, v, None)
        }
        (None, None) => {
            let (q, k, v, gate) = queries_keys_values(g, a, h);
            let (q, k, v) = clipped(g, a, q, k, v);
            let k = g.times(R::KScaled, k, a.key_factor);
            let (q, k) = placed(g, a, q, k);
            (q, k, v_norm(g, a, v), gate)
        }
        (None, Some(other)) => {
            let query = Axis::joined("head*head_dim", a.heads, a.head_dim);
            let (k, v) = g.kept[other];
            let q = g.linear(R::QProj, h, query, a.qkv_bias);
            let (q, k) = placed(g, a, q, k);
            (q, k, v, None)
        }
    };
    g.kept.push((k, v));
    let scoring = Scoring {
        scale: a.scale,
        cap: a.cap,
        window: a.window,
        chunk: a.chunk,
        slopes: a.alibi.then(|| slopes(a.heads).into()),
        // A window is as wide to both sides.
        ahead: if a.both_ways { a.window.map(|window| window.cast_signed() - 1) } else { Some(0) },
        groups: groups.clone().into(),
        format: Rounding::None,
        places: Places::Own,
        length: None,
        held: Vec::new(),
    };
    let pattern = vec![Axis::heads("head", a.heads), Axis::QUERY, Axis::KEY];
    let all = |site| if a.both_ways { Read::Whole(site) } else { Read::Past(site) };
    let s = g.push(R::Scores, Op::Scores(scoring), vec![Read::Node(q), all(k)], pattern.clone());
    let sinks = a.sinks.then(|| Vector::Param(g.param(R::Probs, "sinks", &[a.heads], None)));
    let p = g.node(R::Probs, Op::Softmax { sinks }, [s], pattern);
    let joined = Axis::joined("head*head_dim", a.heads, a.latent.map_or(a.head_dim, |latent| latent.value));
    let op = Op::Context { groups: groups.into(), join: Join::Heads, held: Vec::new() };
    let c = g.push(R::Context, op, vec![Read::Node(p), all(v)], vec![Axis::TOKEN, joined]);
    let c = gate.map_or(c, |gate| {
        let weight = Op::Activate(Activation::Sigmoid);
        let weight = g.node(R::AttnGateWeight, weight, [gate], vec![Axis::TOKEN, joined]);
        g.node(R::AttnGated, Op::Multiply, [c, weight], vec![Axis::TOKEN, joined])
    });
    g.linear(R::OProj, c, g.hidden(), a.o_bias)
}

/// Queries and keys, normed and rotated; keys of another layer are that already.
fn placed(g: &mut Build, a: &Attn, mut q: Site, mut k: Site) -> (Site, Site) {
    let own = a.from.is_none();
    let norm = |g: &mut Build, q: &mut Site, k: &mut Site, after_rope: bool| {
        let Some(norm) = a.qk_norm.filter(|norm| norm.after_rope == after_rope) else { return };
        *q = one_of_qk(g, R::QNorm, *q, norm, a.heads, a.head_dim);
        if own {
            *k = one_of_qk(g, R::KNorm, *k, norm, a.kv_heads, a.head_dim);
        }
    };
    norm(g, &mut q, &mut k, false);
    if let Some(rope) = &a.rope {
        q = g.rotated(R::QRope, q, rope, per_head("head", a.heads, a.head_dim));
        if own {
            let of_keys = Rope { growth: None, ..rope.clone() };
            k = g.rotated(R::KRope, k, &of_keys, per_head("kv_head", a.kv_heads, a.head_dim));
        }
    }
    norm(g, &mut q, &mut k, true);
    if let Some(growth) = a.growth {
        let axes = g.nodes[q.index()].axes.clone();
        q = g.node(R::QTempered, Op::Grow(growth), [q], axes);
    }
    (q, k)
}

fn clipped(g: &mut Build, a: &Attn, q: Site, k: Site, v: Site) -> (Site, Site, Site) {
    let Some(limit) = a.clip else { return (q, k, v) };
    let mut clip = |role, site: Site| {
        let axes = g.nodes[site.index()].axes.clone();
        g.node(role, Op::Clip(limit), [site], axes)
    };
    (clip(R::QClip, q), clip(R::KClip, k), clip(R::VClip, v))
}

fn v_norm(g: &mut Build, a: &Attn, v: Site) -> Site {
    let Some(norm) = a.v_norm else { return v };
    let norm = QkNorm { norm, over: Over::Head, after_rope: false };
    one_of_qk(g, R::VNorm, v, norm, a.kv_heads, a.head_dim)
}

/// Queries, keys, values, and the gate of what attention gives.
fn queries_keys_values(g: &mut Build, a: &Attn, h: Site) -> (Site, Site, Site, Option<Site>) {
    let (q, kv) = (a.heads * a.head_dim, a.kv_heads * a.head_dim);
    let query = Axis::joined("head*head_dim", a.heads, a.head_dim);
    let key = Axis::joined("kv_head*head_dim", a.kv_heads, a.head_dim);
    let Some(groups) = a.fused else {
        let (q, gate) = if a.gate {
            let all = g.linear(R::QGateProj, h, Axis::channels("q+gate", 2 * q), a.qkv_bias);
            let (heads, width) = (a.heads, a.head_dim);
            let half = |start: usize| {
                (0..heads).flat_map(move |head| (0..width).map(move |channel| (2 * head + start) * width + channel))
            };
            (g.columns(R::QProj, all, half(0), query), Some(g.columns(R::AttnGate, all, half(1), query)))
        } else {
            (g.linear(R::QProj, h, query, a.qkv_bias), None)
        };
        let mut linear = |role| g.linear(role, h, key, a.qkv_bias);
        let k = linear(R::KProj);
        return (q, k, if a.values_are_keys { k } else { linear(R::VProj) }, gate);
    };
    let all = g.linear(R::QkvProj, h, Axis::channels("q+k+v", q + 2 * kv), a.qkv_bias);
    let (own, shared) = (q / groups, kv / groups);
    let mut part = |role, start: usize, width: usize, axis| {
        let columns = (0..groups).flat_map(|group| {
            let first = group * (own + 2 * shared) + start;
            first..first + width
        });
        g.node(role, Op::Columns(columns.collect()), [all], vec![Axis::TOKEN, axis])
    };
    let q = part(R::QProj, 0, own, query);
    (q, part(R::KProj, own, shared, key), part(R::VProj, own + shared, shared, key), None)
}

fn one_of_qk(g: &mut Build, role: R, x: Site, QkNorm { norm, over, .. }: QkNorm, heads: usize, width: usize) -> Site {
    let (name, joined) = if role == R::QNorm { ("head", "head*head_dim") } else { ("kv_head", "kv_head*head_dim") };
    let (weights, head_dim, axes) = match over {
        Over::Head => (width, Some(width), per_head(name, heads, width)),
        Over::OwnHead => (heads * width, Some(width), per_head(name, heads, width)),
        Over::Row => (heads * width, None, vec![Axis::TOKEN, Axis::joined(joined, heads, width)]),
    };
    let op = g.norm_op(role, &norm, weights, head_dim);
    g.node(role, op, [x], axes)
}
