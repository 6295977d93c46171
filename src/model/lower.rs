//! The page of maths: from the description of a model to its graph. The only place that knows how a block goes.
//!
//! Equations are those of `modeling_*.py` of transformers; a family's row says which of them apply.

use std::collections::HashMap;

use super::graph::{Axis, Graph, Node, Parameter, Read, Site};
use super::op::{Op, Param, Places, Rotate, Scoring, Vector, Weight};
use super::role::Role as R;
use super::spec::{Attn, Feed, Layer, Mlp, Norm, Rope, Spec};
use crate::ops::{Join, Normalisation, Rounding, grouped};

/// The graph of a model.
pub fn lower(spec: &Spec) -> Graph {
    let mut g = Build { spec, layer: None, nodes: Vec::new(), params: Vec::new() };
    let mut x = g.embed();
    for (index, layer) in spec.layers.iter().enumerate() {
        g.layer = Some(index);
        x = g.block(layer, x);
    }
    g.layer = None;
    let h = g.norm(R::FinalNorm, x, &spec.norm);
    let z = g.head(h);
    if let Some(cap) = spec.head.cap {
        g.node(R::Logits, Op::Cap(cap), [z], vocab(spec));
    }
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
}

impl Build<'_> {
    /// `x = table[id] * scale`, `+ positions[position]`
    fn embed(&mut self) -> Site {
        let (spec, embed) = (self.spec, self.spec.embed);
        let table = Weight::Param(self.weight(R::EmbedTokens, &[spec.vocab, spec.hidden]));
        let factor = embed.scale.map_or(1.0, f64::from);
        let op = Op::Embed { table, factor, rounded: embed.scale.is_some() };
        let tokens = self.node(R::EmbedTokens, op, [], self.stream());
        let Some(rows) = embed.learned else { return tokens };
        let table = Weight::Param(self.weight(R::EmbedPositions, &[rows, spec.hidden]));
        let positions = self.node(R::EmbedPositions, Op::EmbedPositions { table, offset: 0 }, [], self.stream());
        self.sum(R::Embeddings, tokens, positions)
    }

    /// `x' = x + post(attn(pre(x)))`, `x'' = x' + post(mlp(pre(x')))`
    fn block(&mut self, layer: &Layer, x: Site) -> Site {
        let h = self.maybe_norm(R::InputNorm, x, layer.attn_norms.pre);
        let o = self.attention(&layer.attn, h);
        let o = self.maybe_norm(R::AttnOutNorm, o, layer.attn_norms.post);
        let mid = self.sum(R::ResidMid, x, o);
        let h = self.maybe_norm(R::MlpNorm, mid, layer.mlp_norms.pre);
        let f = match &layer.mlp {
            Mlp::Plain(feed) => self.plain(*feed, h),
            Mlp::Gated(feed) => self.gated(*feed, h),
            Mlp::Experts { feed, count, router } => {
                let (gate, up) = (R::ExpertGate, R::ExpertUp);
                let logits = self.linear(R::RouterLogits, h, Axis::channels("expert", *count), false);
                let axes = vec![Axis::TOKEN, Axis::channels("expert", *count)];
                let routing = self.node(R::Routing, Op::Route(*router), [logits], axes);
                let wide = [*count, router.top_k, feed.width];
                let (gate, up) = (self.experts(gate, h, routing, wide), self.experts(up, h, routing, wide));
                let axes = self.nodes[gate.index()].axes.clone();
                let act = self.node(R::ExpertAct, Op::Activate(feed.act), [gate], axes.clone());
                let mul = self.node(R::ExpertActMul, Op::Multiply, [act, up], axes);
                let down = self.experts(R::ExpertDown, mul, routing, [*count, router.top_k, self.spec.hidden]);
                self.node(R::Experts, Op::Combine, [down, routing], self.stream())
            }
        };
        let f = self.maybe_norm(R::MlpOutNorm, f, layer.mlp_norms.post);
        self.sum(R::Block, mid, f)
    }

    /// `o(softmax(scale q kᵀ + mask) v)`, with q and k normed and rotated. Vaswani et al., arXiv 1706.03762.
    fn attention(&mut self, a: &Attn, h: Site) -> Site {
        let (d, groups) = (a.head_dim, grouped(a.heads, a.kv_heads));
        let (mut q, mut k, v) = self.queries_keys_values(a, h);
        if let Some(norm) = &a.qk_norm {
            q = self.head_norm(R::QNorm, q, norm, a.heads, d);
            k = self.head_norm(R::KNorm, k, norm, a.kv_heads, d);
        }
        if let Some(rope) = &a.rope {
            q = self.rope(R::QRope, q, rope, per_head("head", a.heads, d));
            k = self.rope(R::KRope, k, rope, per_head("kv_head", a.kv_heads, d));
        }
        let scoring = Scoring {
            scale: a.scale,
            cap: a.cap,
            window: a.window,
            ahead: Some(0),
            groups: groups.clone().into(),
            format: Rounding::None,
            places: Places::Own,
            length: None,
            held: Vec::new(),
        };
        let pattern = vec![Axis::heads("head", a.heads), Axis::QUERY, Axis::KEY];
        let s = self.push(R::Scores, Op::Scores(scoring), vec![Read::Node(q), Read::Past(k)], pattern.clone());
        let p = self.node(R::Probs, Op::Softmax, [s], pattern);
        let joined = Axis::joined("head*head_dim", a.heads, d);
        let op = Op::Context { groups: groups.into(), join: Join::Heads, held: Vec::new() };
        let c = self.push(R::Context, op, vec![Read::Node(p), Read::Past(v)], vec![Axis::TOKEN, joined]);
        self.linear(R::OProj, c, self.hidden(), a.o_bias)
    }

    fn queries_keys_values(&mut self, a: &Attn, h: Site) -> (Site, Site, Site) {
        let (q, kv) = (a.heads * a.head_dim, a.kv_heads * a.head_dim);
        let query = Axis::joined("head*head_dim", a.heads, a.head_dim);
        let key = Axis::joined("kv_head*head_dim", a.kv_heads, a.head_dim);
        if !a.fused {
            let mut linear = |role, axis| self.linear(role, h, axis, a.qkv_bias);
            return (linear(R::QProj, query), linear(R::KProj, key), linear(R::VProj, key));
        }
        let all = self.linear(R::QkvProj, h, Axis::channels("q+k+v", q + 2 * kv), a.qkv_bias);
        let mut part = |role, columns, axis| self.node(role, Op::Columns(columns), [all], vec![Axis::TOKEN, axis]);
        (part(R::QProj, 0..q, query), part(R::KProj, q..q + kv, key), part(R::VProj, q + kv..q + 2 * kv, key))
    }

    /// `down(act(up(x)))`
    fn plain(&mut self, feed: Feed, h: Site) -> Site {
        let wide = Axis::channels("intermediate", feed.width);
        let up = self.linear(R::UpProj, h, wide, feed.bias);
        let act = self.node(R::ActFn, Op::Activate(feed.act), [up], vec![Axis::TOKEN, wide]);
        self.linear(R::DownProj, act, self.hidden(), feed.bias)
    }

    /// `down(act(gate(x)) * up(x))`. Shazeer, arXiv 2002.05202.
    fn gated(&mut self, feed: Feed, h: Site) -> Site {
        let wide = Axis::channels("intermediate", feed.width);
        let gate = self.linear(R::GateProj, h, wide, feed.bias);
        let up = self.linear(R::UpProj, h, wide, feed.bias);
        let act = self.node(R::ActFn, Op::Activate(feed.act), [gate], vec![Axis::TOKEN, wide]);
        let mul = self.node(R::ActMul, Op::Multiply, [act, up], vec![Axis::TOKEN, wide]);
        self.linear(R::DownProj, mul, self.hidden(), feed.bias)
    }

    /// Each chosen expert's `x Wᵀ`.
    fn experts(&mut self, role: R, x: Site, routing: Site, [count, top_k, out]: [usize; 3]) -> Site {
        let inner = self.width(x);
        let param = self.param(role, "weight", &[out, inner], Some(count));
        let name = if out == self.spec.hidden { "hidden" } else { "intermediate" };
        let axes = vec![Axis::TOKEN, Axis::channels("slot", top_k), Axis::channels(name, out)];
        self.node(role, Op::Experts { weights: Weight::Param(param), top_k }, [x, routing], axes)
    }

    fn head(&mut self, h: Site) -> Site {
        let spec = self.spec;
        let weight = self.weight(R::LmHead, &[spec.vocab, spec.hidden]);
        if spec.head.tied {
            // The first weight of all is the embedding table.
            self.params[weight.index()].tied = Some(Param(0));
        }
        self.node(R::LmHead, Op::Linear { weight: Weight::Param(weight), bias: None, operands: None }, [h], vocab(spec))
    }

    fn linear(&mut self, role: R, x: Site, out: Axis, bias: bool) -> Site {
        let (width, inner) = (out.length(0, 0), self.width(x));
        let weight = Weight::Param(self.weight(role, &[width, inner]));
        let bias = bias.then(|| Vector::Param(self.param(role, "bias", &[width], None)));
        self.node(role, Op::Linear { weight, bias, operands: None }, [x], vec![Axis::TOKEN, out])
    }

    fn maybe_norm(&mut self, role: R, x: Site, norm: Option<Norm>) -> Site {
        norm.map_or(x, |norm| self.norm(role, x, &norm))
    }

    fn norm(&mut self, role: R, x: Site, norm: &Norm) -> Site {
        let (op, axes) = (self.norm_op(role, norm, self.spec.hidden, None), self.stream());
        self.node(role, op, [x], axes)
    }

    fn head_norm(&mut self, role: R, x: Site, norm: &Norm, heads: usize, width: usize) -> Site {
        let name = if role == R::QNorm { "head" } else { "kv_head" };
        let op = self.norm_op(role, norm, width, Some(width));
        self.node(role, op, [x], per_head(name, heads, width))
    }

    fn norm_op(&mut self, role: R, norm: &Norm, width: usize, head_dim: Option<usize>) -> Op {
        let Norm { form, eps, offset, bias, rounded_once } = *norm;
        let how = Normalisation { form, eps, offset, rounded_once, variance: Rounding::None };
        let weight = Vector::Param(self.weight(role, &[width]));
        let bias = bias.then(|| Vector::Param(self.param(role, "bias", &[width], None)));
        Op::Norm { weight, bias, how, head_dim }
    }

    fn rope(&mut self, role: R, x: Site, rope: &Rope, axes: Vec<Axis>) -> Site {
        let rotate = Rotate::new(rope, axes[2].length(0, 0));
        self.node(role, Op::Rope(rotate), [x], axes)
    }

    fn sum(&mut self, role: R, x: Site, y: Site) -> Site {
        let axes = self.stream();
        self.node(role, Op::Sum { factors: vec![1.0, 1.0] }, [x, y], axes)
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
        let (name, layer) = (format!("{}.{what}", self.name(role)), self.layer);
        self.params.push(Parameter { name, layer, shape: shape.to_vec(), experts, tied: None });
        Param(u32::try_from(self.params.len() - 1).expect("a model has fewer weights than a u32 counts"))
    }

    /// The canonical name of a role here.
    fn name(&self, role: R) -> String {
        let (names, path) = (self.spec.names, self.spec.names.path(role));
        match self.layer {
            None => path.to_string(),
            Some(layer) if path.is_empty() => format!("{}.{layer}", names.layers),
            Some(layer) => format!("{}.{layer}.{path}", names.layers),
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
        let names = self.spec.names;
        let mut modules = HashMap::new();
        // `c_proj` alone is not enough where attention and MLP have one each.
        let inner = |path: &'static str| path.split_once('.').map_or(path, |(_, inner)| inner);
        let roles: Vec<(Option<usize>, Option<R>)> = self.nodes.iter().map(|node| (node.layer, node.role)).collect();
        let mut start = 0;
        for (index, node) in self.nodes.iter_mut().enumerate() {
            let Some(role) = node.role else { continue };
            let path = names.path(role);
            let Some(layer) = node.layer else {
                node.label = path.rsplit('.').next().unwrap_or(path).to_string();
                node.short.clone_from(&node.label);
                continue;
            };
            if role == R::Block {
                (node.label, node.short) = ("block".into(), layer.to_string());
                continue;
            }
            if index == 0 || roles[index - 1].0 != Some(layer) {
                start = index;
            }
            let own = roles[start..].iter().take_while(|(of, _)| *of == Some(layer));
            let same = |(_, other): &&(Option<usize>, Option<R>)| {
                other.is_some_and(|other| inner(names.path(other)) == inner(path))
            };
            let alone = own.filter(same).count() == 1;
            node.label = if alone { inner(path) } else { path }.to_string();
            node.short = format!("{layer}.{}", node.label);
            let wrapping = names.modules.iter().filter(|(of, _)| *of == role);
            modules.extend(wrapping.map(|(_, path)| (format!("{}.{layer}.{path}", names.layers), Site::at(index))));
        }
        Graph::new(self.nodes, self.params, modules)
    }
}

fn per_head(name: &'static str, heads: usize, width: usize) -> Vec<Axis> {
    vec![Axis::heads(name, heads), Axis::TOKEN, Axis::channels("head_dim", width)]
}
