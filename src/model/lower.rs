//! The page of maths: from the description of a model to its graph. The only place that knows how a block goes.
//!
//! Equations are those of `modeling_*.py` of transformers; a family's row says which of them apply.

mod attention;
mod ends;
mod latent;
mod mixer;
mod mlp;
mod per_layer;

use std::collections::HashMap;

use ndarray::Array1;

use super::graph::{Axis, Graph, Node, Parameter, Read, Site};
use super::op::{Op, Param, Rotate, Vector, Weight};
use super::role::{ROLES, Role as R};
use super::row::Wrapped;
use super::spec::{Layer, Norm, Rope, Spec, Term, Wiring};
use crate::ops::Normalisation;

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
            Wiring::MixerOnly | Wiring::MlpOnly => return self.alone(layer, x),
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

    /// `x + scale * attn(norm(x))`, or `x + scale * mlp(norm(x))`
    fn alone(&mut self, layer: &Layer, x: Site) -> Site {
        if layer.wiring == Wiring::MlpOnly {
            let h = self.maybe_norm(R::MlpNorm, x, layer.mlp_norms.pre);
            let f = self.mlp(&layer.mlp, h);
            return self.end(layer, x, f);
        }
        let h = self.maybe_norm(R::InputNorm, x, layer.attn_norms.pre);
        let o = mixer::mixed(self, layer, h);
        self.end(layer, x, o)
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

    fn norm_op(&mut self, role: R, norm: &Norm, width: usize, head_dim: Option<usize>) -> Op {
        let Norm { form, eps, offset, weight, bias, rounded_once } = *norm;
        let how = Normalisation { form, offset, rounded_once, ..Normalisation::rms(eps) };
        let weight =
            if weight { Vector::Param(self.weight(role, &[width])) } else { Vector::Other(Array1::ones(width).into()) };
        let bias = bias.then(|| Vector::Param(self.param(role, "bias", &[width], None)));
        Op::Norm { weight, bias, how, head_dim }
    }

    fn rotated(&mut self, role: R, x: Site, rope: &Rope, axes: Vec<Axis>) -> Site {
        let rotate = Rotate::new(rope, axes[2].length(0, 0));
        self.node(role, Op::Rope(rotate), [x], axes)
    }

    /// The same times a constant, as an op of its own; itself, where that is 1.
    fn times(&mut self, role: R, x: Site, factor: f64) -> Site {
        if factor == 1.0 {
            return x;
        }
        let axes = self.nodes[x.index()].axes.clone();
        self.node(role, Op::Sum { factors: vec![factor] }, [x], axes)
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
