//! Multi-head latent attention: queries, keys and values that are made of narrow rows.

use super::{Build, per_head};
use crate::model::graph::{Axis, Site};
use crate::model::op::Op;
use crate::model::role::Role as R;
use crate::model::spec::{Attn, Latent};

/// Queries and keys as scores take them, and values: `q = up(norm(down(h)))`, of keys and values a narrow row and what all
/// keys have rotated out of one matrix, `k` and `v` of each head out of the row. DeepSeek-AI, arXiv 2405.04434, 2.1.2 and 2.1.3.
///
/// Keys and values are cached as they are here. What of them is a row of the narrow width, and what is not, a cache may
/// keep instead, and multiply later: row by row that is the same.
pub(super) fn of_narrow_rows(g: &mut Build, a: &Attn, latent: &Latent, h: Site) -> (Site, Site, Site) {
    let Latent { query, width, own, turned, value, .. } = *latent;
    let heads = a.heads;
    let joined = |width| Axis::joined("head*head_dim", heads, width);
    let low = query.map_or(h, |width| {
        let low = g.linear(R::QDown, h, Axis::channels("latent", width), a.qkv_bias);
        narrow_norm(g, R::QDownNorm, low, latent)
    });
    let q = g.linear(R::QProj, low, joined(own + turned), false);
    let q_turned = of_heads(g, R::QRopeInput, q, (heads, own + turned), own..own + turned, joined(turned));

    let both = g.linear(R::KvDown, h, Axis::channels("latent+head_dim", width + turned), a.qkv_bias);
    let low = of_heads(g, R::Latent, both, (1, width + turned), 0..width, Axis::channels("latent", width));
    let one = Axis::joined("kv_head*head_dim", 1, turned);
    let k_turned = of_heads(g, R::KRopeInput, both, (1, width + turned), width..width + turned, one);
    let low = narrow_norm(g, R::LatentNorm, low, latent);
    let (mut q_rope, mut k_rope) = (q_turned, k_turned);
    if let Some(rope) = &a.rope {
        q_rope = g.rotated(R::QRope, q_turned, rope, per_head("head", heads, turned));
        k_rope = g.rotated(R::KRope, k_turned, rope, per_head("kv_head", 1, turned));
    }
    let op = Op::Beside { width: own + turned, own };
    let q = g.node(R::Queries, op, [q, q_rope], per_head("head", heads, own + turned));

    let kv = g.linear(R::KvUp, low, joined(own + value), false);
    let k = of_heads(g, R::KProj, kv, (heads, own + value), 0..own, Axis::joined("kv_head*head_dim", heads, own));
    let values = Axis::joined("kv_head*head_dim", heads, value);
    let v = of_heads(g, R::VProj, kv, (heads, own + value), own..own + value, values);
    let op = Op::Beside { width: own, own };
    let k = g.node(R::Keys, op, [k, k_rope], per_head("kv_head", heads, own + turned));
    (q, k, v)
}

/// These channels of each head.
fn of_heads(
    g: &mut Build,
    role: R,
    x: Site,
    (heads, width): (usize, usize),
    channels: std::ops::Range<usize>,
    axis: Axis,
) -> Site {
    let columns = (0..heads).flat_map(|head| channels.clone().map(move |channel| head * width + channel));
    g.node(role, Op::Columns(columns.collect()), [x], vec![Axis::TOKEN, axis])
}

fn narrow_norm(g: &mut Build, role: R, x: Site, latent: &Latent) -> Site {
    let axes = g.nodes[x.index()].axes.clone();
    let op = g.norm_op(role, &latent.norm, g.width(x), None);
    g.node(role, op, [x], axes)
}
