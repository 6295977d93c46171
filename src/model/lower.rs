//! The page of maths: from the description of a model to its graph. The only place that knows how a block goes.
//!
//! Equations are those of `modeling_*.py` of transformers; a family's row says which of them apply.

mod ends;
mod latent;
mod mixer;
mod mlp;
mod per_layer;

use std::collections::HashMap;

use ndarray::Array1;

use super::graph::{Axis, Graph, Node, Parameter, Read, Site};
use super::op::{Op, Param, Places, Rotate, Scoring, Vector, Weight};
use super::role::{ROLES, Role as R};
use super::row::Wrapped;
use super::spec::{Attn, Layer, Norm, Over, QkNorm, Rope, Spec, Term, Wiring};
use crate::ops::{Activation, Join, Normalisation, Rounding, grouped, slopes};

/// The graph of a model.
pub fn lower(spec: &Spec) -> Graph {
    let mut g = Build { spec, layer: None, nodes: Vec::new(), params: Vec::new(), kept: Vec::new(), inputs: None };
    let mut x = g.embed();
    g.inputs = spec.per_layer.map(|per_layer| g.inputs(per_layer, x));
    for (index, layer) in spec.layers.iter().enumerate() {
        g.layer = Some(index);
        x = g.block(layer, x);
    }
    g.layer = None;
    let h = g.maybe_norm(R::FinalNorm, x, spec.norm);
    if let Some(head) = &spec.head {
        g.head(head, h);
    }
    g.embedding(h);
    g.finish()
}

fn vocab(spec: &Spec) -> Vec<Axis> {
    vec![Axis::TOKEN, Axis::channels(Axis::VOCABULARY, spec.vocab)]
}

/// A graph being built.
struct Build<'a> {
    spec: &'a Spec,
    /// Nodes are of this layer.
    layer: Option<usize>,
    nodes: Vec<Node>,
    params: Vec<Parameter>,
    /// Keys and values of the layers so far.
    kept: Vec<(Site, Site)>,
    /// Inputs of all layers: of the embeddings, and of the tokens.
    inputs: Option<(Site, Site)>,
}

impl Build<'_> {
    /// A block, by what follows what. Of parallel ones `x + scale * attn(pre(x)) + scale * mlp(pre(x))`, where the MLP's norm may
    /// be attention's.
    fn block(&mut self, layer: &Layer, x: Site) -> Site {
        let terms = match layer.wiring {
            Wiring::Sequential => return self.sequential(layer, x),
            Wiring::PostNorm => return self.post_normed(layer, x),
            Wiring::Parallel(terms) => terms,
        };
        let h = self.maybe_norm(R::InputNorm, x, layer.attn_norms.pre);
        let o = mixer::mixed(self, layer, h);
        let o = self.maybe_norm(R::AttnOutNorm, o, layer.attn_norms.post);
        let h = if layer.mlp_norms.pre.is_some() { self.maybe_norm(R::MlpNorm, x, layer.mlp_norms.pre) } else { h };
        let f = self.mlp(&layer.mlp, h);
        let f = self.maybe_norm(R::MlpOutNorm, f, layer.mlp_norms.post);
        let of = |term: Term| match term {
            Term::Stream => (x, 1.0),
            Term::Attention => (o, layer.scale),
            Term::Mlp => (f, layer.scale),
        };
        let (reads, factors) = (terms.map(|term| of(term).0), terms.map(|term| of(term).1));
        let axes = self.stream();
        self.node(R::Block, Op::Sum { factors: factors.into() }, reads, axes)
    }

    /// `x' = x + scale * post(attn(pre(x)))`, `x'' = x' + scale * post(mlp(pre(x')))`
    fn sequential(&mut self, layer: &Layer, x: Site) -> Site {
        let h = self.maybe_norm(R::InputNorm, x, layer.attn_norms.pre);
        let o = mixer::mixed(self, layer, h);
        let o = self.maybe_norm(R::AttnOutNorm, o, layer.attn_norms.post);
        let mid = self.sum(R::ResidMid, x, o, layer.scale);
        let h = self.maybe_norm(R::MlpNorm, mid, layer.mlp_norms.pre);
        let f = self.mlp(&layer.mlp, h);
        let f = self.with_beside(layer, mid, f);
        let f = self.maybe_norm(R::MlpOutNorm, f, layer.mlp_norms.post);
        self.end(layer, mid, f)
    }

    /// `x' = norm(x + scale * attn(x))`, `x'' = norm(x' + scale * mlp(x'))`. Vaswani et al., arXiv 1706.03762.
    fn post_normed(&mut self, layer: &Layer, x: Site) -> Site {
        let o = mixer::mixed(self, layer, x);
        let sum = self.sum(R::AttnSum, x, o, layer.scale);
        let mid = self.maybe_norm(R::ResidMid, sum, layer.attn_norms.post);
        let f = self.mlp(&layer.mlp, mid);
        let sum = self.sum(R::MlpSum, mid, f, layer.scale);
        let Some(norm) = layer.mlp_norms.post else { return sum };
        // The block is what its last module gives; the weights are that module's.
        let (op, axes) = (self.norm_op(R::MlpOutNorm, &norm, self.spec.hidden, None), self.stream());
        self.node(R::Block, op, [sum], axes)
    }

    /// `o(softmax(scale q kᵀ + mask) v)`, with q and k normed and rotated. Vaswani et al., arXiv 1706.03762.
    fn attention(&mut self, a: &Attn, h: Site) -> Site {
        let groups = grouped(a.heads, a.kv_heads);
        let (q, k, v, gate) = match (&a.latent, a.from) {
            (Some(rows), _) => {
                let (q, k, v) = latent::of_narrow_rows(self, a, rows, h);
                (q, k, v, None)
            }
            (None, None) => {
                let (q, k, v, gate) = self.queries_keys_values(a, h);
                let (q, k, v) = self.clipped(a, q, k, v);
                let (q, k) = self.placed(a, q, k);
                (q, k, self.v_norm(a, v), gate)
            }
            (None, Some(other)) => {
                let query = Axis::joined("head*head_dim", a.heads, a.head_dim);
                let (k, v) = self.kept[other];
                let q = self.linear(R::QProj, h, query, a.qkv_bias);
                let (q, k) = self.placed(a, q, k);
                (q, k, v, None)
            }
        };
        self.kept.push((k, v));
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
        let s = self.push(R::Scores, Op::Scores(scoring), vec![Read::Node(q), all(k)], pattern.clone());
        let sinks = a.sinks.then(|| Vector::Param(self.param(R::Probs, "sinks", &[a.heads], None)));
        let p = self.node(R::Probs, Op::Softmax { sinks }, [s], pattern);
        let joined = Axis::joined("head*head_dim", a.heads, a.latent.map_or(a.head_dim, |latent| latent.value));
        let op = Op::Context { groups: groups.into(), join: Join::Heads, held: Vec::new() };
        let c = self.push(R::Context, op, vec![Read::Node(p), all(v)], vec![Axis::TOKEN, joined]);
        let c = gate.map_or(c, |gate| {
            let weight = Op::Activate(Activation::Sigmoid);
            let weight = self.node(R::AttnGateWeight, weight, [gate], vec![Axis::TOKEN, joined]);
            self.node(R::AttnGated, Op::Multiply, [c, weight], vec![Axis::TOKEN, joined])
        });
        self.linear(R::OProj, c, self.hidden(), a.o_bias)
    }

    /// Queries and keys, normed and rotated; keys of another layer are that already.
    fn placed(&mut self, a: &Attn, mut q: Site, mut k: Site) -> (Site, Site) {
        let own = a.from.is_none();
        let norm = |g: &mut Self, q: &mut Site, k: &mut Site, after_rope: bool| {
            let Some(norm) = a.qk_norm.filter(|norm| norm.after_rope == after_rope) else { return };
            *q = g.one_of_qk(R::QNorm, *q, norm, a.heads, a.head_dim);
            if own {
                *k = g.one_of_qk(R::KNorm, *k, norm, a.kv_heads, a.head_dim);
            }
        };
        norm(self, &mut q, &mut k, false);
        if let Some(rope) = &a.rope {
            q = self.rope(R::QRope, q, rope, per_head("head", a.heads, a.head_dim));
            if own {
                let of_keys = Rope { growth: None, ..rope.clone() };
                k = self.rope(R::KRope, k, &of_keys, per_head("kv_head", a.kv_heads, a.head_dim));
            }
        }
        norm(self, &mut q, &mut k, true);
        if let Some(growth) = a.growth {
            let axes = self.nodes[q.index()].axes.clone();
            q = self.node(R::QTempered, Op::Grow(growth), [q], axes);
        }
        (q, k)
    }

    fn clipped(&mut self, a: &Attn, q: Site, k: Site, v: Site) -> (Site, Site, Site) {
        let Some(limit) = a.clip else { return (q, k, v) };
        let mut clip = |role, site: Site| {
            let axes = self.nodes[site.index()].axes.clone();
            self.node(role, Op::Clip(limit), [site], axes)
        };
        (clip(R::QClip, q), clip(R::KClip, k), clip(R::VClip, v))
    }

    fn v_norm(&mut self, a: &Attn, v: Site) -> Site {
        let Some(norm) = a.v_norm else { return v };
        let norm = QkNorm { norm, over: Over::Head, after_rope: false };
        self.one_of_qk(R::VNorm, v, norm, a.kv_heads, a.head_dim)
    }

    /// Queries, keys, values, and the gate of what attention gives.
    fn queries_keys_values(&mut self, a: &Attn, h: Site) -> (Site, Site, Site, Option<Site>) {
        let (q, kv) = (a.heads * a.head_dim, a.kv_heads * a.head_dim);
        let query = Axis::joined("head*head_dim", a.heads, a.head_dim);
        let key = Axis::joined("kv_head*head_dim", a.kv_heads, a.head_dim);
        let Some(groups) = a.fused else {
            let (q, gate) = if a.gate {
                let all = self.linear(R::QGateProj, h, Axis::channels("q+gate", 2 * q), a.qkv_bias);
                let (heads, width) = (a.heads, a.head_dim);
                let half = |start: usize| {
                    (0..heads).flat_map(move |head| (0..width).map(move |channel| (2 * head + start) * width + channel))
                };
                (self.columns(R::QProj, all, half(0), query), Some(self.columns(R::AttnGate, all, half(1), query)))
            } else {
                (self.linear(R::QProj, h, query, a.qkv_bias), None)
            };
            let mut linear = |role| self.linear(role, h, key, a.qkv_bias);
            let k = linear(R::KProj);
            return (q, k, if a.values_are_keys { k } else { linear(R::VProj) }, gate);
        };
        let all = self.linear(R::QkvProj, h, Axis::channels("q+k+v", q + 2 * kv), a.qkv_bias);
        let (own, shared) = (q / groups, kv / groups);
        let mut part = |role, start: usize, width: usize, axis| {
            let columns = (0..groups).flat_map(|group| {
                let first = group * (own + 2 * shared) + start;
                first..first + width
            });
            self.node(role, Op::Columns(columns.collect()), [all], vec![Axis::TOKEN, axis])
        };
        let q = part(R::QProj, 0, own, query);
        (q, part(R::KProj, own, shared, key), part(R::VProj, own + shared, shared, key), None)
    }

    fn linear(&mut self, role: R, x: Site, out: Axis, bias: bool) -> Site {
        let (width, inner) = (out.length(0, 0), self.width(x));
        let weight = Weight::Param(self.weight(role, &[width, inner]));
        let bias = bias.then(|| Vector::Param(self.param(role, "bias", &[width], None)));
        self.node(role, Op::Linear { weight, bias, operands: None, fine: false }, [x], vec![Axis::TOKEN, out])
    }

    /// Some columns of a row.
    fn columns(&mut self, role: R, x: Site, columns: impl IntoIterator<Item = usize>, axis: Axis) -> Site {
        self.node(role, Op::Columns(columns.into_iter().collect()), [x], vec![Axis::TOKEN, axis])
    }

    fn maybe_norm(&mut self, role: R, x: Site, norm: Option<Norm>) -> Site {
        norm.map_or(x, |norm| self.norm(role, x, &norm))
    }

    fn norm(&mut self, role: R, x: Site, norm: &Norm) -> Site {
        let (op, axes) = (self.norm_op(role, norm, self.spec.hidden, None), self.stream());
        self.node(role, op, [x], axes)
    }

    fn one_of_qk(&mut self, role: R, x: Site, QkNorm { norm, over, .. }: QkNorm, heads: usize, width: usize) -> Site {
        let (name, joined) = if role == R::QNorm { ("head", "head*head_dim") } else { ("kv_head", "kv_head*head_dim") };
        let (weights, head_dim, axes) = match over {
            Over::Head => (width, Some(width), per_head(name, heads, width)),
            Over::OwnHead => (heads * width, Some(width), per_head(name, heads, width)),
            Over::Row => (heads * width, None, vec![Axis::TOKEN, Axis::joined(joined, heads, width)]),
        };
        let op = self.norm_op(role, &norm, weights, head_dim);
        self.node(role, op, [x], axes)
    }

    fn norm_op(&mut self, role: R, norm: &Norm, width: usize, head_dim: Option<usize>) -> Op {
        let Norm { form, eps, offset, weight, bias, rounded_once } = *norm;
        let how = Normalisation { form, offset, rounded_once, ..Normalisation::rms(eps) };
        let weight =
            if weight { Vector::Param(self.weight(role, &[width])) } else { Vector::Other(Array1::ones(width).into()) };
        let bias = bias.then(|| Vector::Param(self.param(role, "bias", &[width], None)));
        Op::Norm { weight, bias, how, head_dim }
    }

    fn rope(&mut self, role: R, x: Site, rope: &Rope, axes: Vec<Axis>) -> Site {
        let rotate = Rotate::new(rope, axes[2].length(0, 0));
        self.node(role, Op::Rope(rotate), [x], axes)
    }

    fn sum(&mut self, role: R, x: Site, y: Site, scale: f64) -> Site {
        let axes = self.stream();
        self.node(role, Op::Sum { factors: vec![1.0, scale] }, [x, y], axes)
    }

    /// The sum of several, added in this order, each sum rounded.
    fn add(&mut self, role: R, terms: &[Site]) -> Site {
        let (factors, axes) = (vec![1.0; terms.len()], self.stream());
        self.push(role, Op::Sum { factors }, terms.iter().copied().map(Read::Node).collect(), axes)
    }

    fn hidden(&self) -> Axis {
        Axis::channels("hidden", self.spec.hidden)
    }

    fn stream(&self) -> Vec<Axis> {
        vec![Axis::TOKEN, self.hidden()]
    }

    /// Channels of a row.
    fn width(&self, x: Site) -> usize {
        self.nodes[x.index()].axes.last().map_or(0, |axis| axis.length(0, 0))
    }

    fn weight(&mut self, role: R, shape: &[usize]) -> Param {
        self.param(role, "weight", shape, None)
    }

    fn param(&mut self, role: R, what: &str, shape: &[usize], experts: Option<usize>) -> Param {
        self.named(format!("{}.{what}", self.name(role)), shape, experts)
    }

    fn named(&mut self, name: String, shape: &[usize], experts: Option<usize>) -> Param {
        let layer = self.layer;
        self.params.push(Parameter { name, layer, shape: shape.to_vec(), experts, tied: None });
        Param(u32::try_from(self.params.len() - 1).expect("a model has fewer weights than a u32 counts"))
    }

    /// The canonical name of a role here.
    fn name(&self, role: R) -> String {
        let path = self.spec.names.path(role);
        match self.layer {
            None => self.rooted(path),
            Some(layer) if path.is_empty() => format!("{}.{layer}", self.rooted(self.spec.names.layers)),
            Some(layer) => format!("{}.{layer}.{path}", self.rooted(self.spec.names.layers)),
        }
    }

    /// The whole path of a module.
    fn rooted(&self, path: &str) -> String {
        match path.strip_prefix("model.").filter(|_| self.spec.is_wrapped) {
            Some(inner) => format!("{}{inner}", Wrapped::ROOT),
            None => path.to_string(),
        }
    }

    fn node<const N: usize>(&mut self, role: R, op: Op, reads: [Site; N], axes: Vec<Axis>) -> Site {
        self.push(role, op, reads.map(Read::Node).to_vec(), axes)
    }

    fn push(&mut self, role: R, op: Op, reads: Vec<Read>, axes: Vec<Axis>) -> Site {
        let (name, layer, meaning) = (self.name(role), self.layer, role.row().meaning);
        let (short, label) = (String::new(), String::new());
        self.nodes.push(Node { role: Some(role), layer, name, short, label, meaning, op, reads, axes });
        Site::at(self.nodes.len() - 1)
    }

    /// Gives every node its short name, and modules that wrap an op the name of it.
    fn finish(mut self) -> Graph {
        let (names, layers) = (self.spec.names, self.rooted(self.spec.names.layers));
        let mut modules = HashMap::new();
        // `c_proj` alone is not enough where attention and MLP have one each, nor what lies in a router.
        let inner = |path: &'static str| match path.split_once('.') {
            Some((module, inner)) if module != "router" => inner,
            _ => path,
        };
        let roles: Vec<(Option<usize>, Option<R>)> = self.nodes.iter().map(|node| (node.layer, node.role)).collect();
        let mut start = 0;
        for (index, node) in self.nodes.iter_mut().enumerate() {
            let Some(role) = node.role else { continue };
            let path = names.path(role);
            let Some(layer) = node.layer else {
                let last = path.rsplit('.').next().unwrap_or(path);
                // The word of another role would be taken for that.
                let others = || ROLES.iter().any(|row| !row.per_layer && row.short == last && row.role != role);
                let own = if path.contains('.') && !others() { last } else { &node.name };
                node.label = own.to_string();
                node.short.clone_from(&node.label);
                continue;
            };
            let wrapping = names.modules.iter().filter(|(of, _)| *of == role);
            modules.extend(wrapping.map(|(_, path)| (format!("{layers}.{layer}.{path}"), Site::at(index))));
            if role == R::Block {
                (node.label, node.short) = ("block".into(), layer.to_string());
                continue;
            }
            if index == 0 || roles[index - 1].0 != Some(layer) {
                start = index;
            }
            let own = roles[start..].iter().take_while(|(of, _)| *of == Some(layer));
            let same = |(_, other): &&(Option<usize>, Option<R>)| {
                let other = other.map(|other| names.path(other));
                other.is_some_and(|other| inner(other) == inner(path) || other == inner(path))
            };
            // Nor is a name that is the word of another role here.
            let taken = own
                .clone()
                .any(|(_, other)| *other != Some(role) && other.is_some_and(|other| other.short() == inner(path)));
            let alone = !taken && own.filter(same).count() == 1;
            node.label = if alone { inner(path) } else { path }.to_string();
            node.short = format!("{layer}.{}", node.label);
        }
        Graph::new(self.nodes, self.params, modules)
    }
}

fn per_head(name: &'static str, heads: usize, width: usize) -> Vec<Axis> {
    vec![Axis::heads(name, heads), Axis::TOKEN, Axis::channels("head_dim", width)]
}
