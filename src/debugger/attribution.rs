//! Direct logit attribution: what each part of the model adds to the logit of a token.
//!
//! Elhage et al., "A Mathematical Framework for Transformer Circuits" (2021). The logit is `W[t] · norm(x)` of the last
//! position's residual stream `x`, a sum of what the embedding, attention and MLPs have written. With what the norm divides
//! by taken as it is, that is `g · x + b`, and each part `v` of `x` adds `g · v`. A head's part goes through the output
//! projection, and through the norm behind it where there is one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use ndarray::Axis;

use super::state::{Caller, Debugger};
use super::view::{Attribution, Contribution, LayerParts, Stop};
use crate::engine::{Graph, LogitRows, Op, Role, Site};
use crate::model::Model;
use crate::ops::{Form, Rounding, embed};

/// Heads named of a long list.
const NAMED: usize = 5;

/// A linear function of a row of numbers, and a constant.
#[derive(Clone)]
struct Linear {
    factors: Vec<f64>,
    constant: f64,
}

/// What the last position has of the activations that are asked for.
type Rows = BTreeMap<Site, Vec<f64>>;

/// The command.
pub(super) fn command(debugger: &mut Debugger, token: Option<&str>, caller: &mut Caller) -> Result<Stop, String> {
    let found = attribution(debugger, token, caller.interrupt)?;
    Ok(found.map_or(Stop::Interrupted, |found| Stop::Said(told(debugger, &found))))
}

/// What each part adds to the logit of a token, an id or a text, at the last position of this forward; without one, of
/// the likeliest. Our run is taken to the end of the forward; the debugger stays where it stands. `None` when
/// interrupted.
///
/// # Errors
/// One sentence: there is no such token, no logit is a number, or the model does not end in a norm and a head.
pub fn attribution(
    debugger: &Debugger,
    token: Option<&str>,
    interrupt: &AtomicBool,
) -> Result<Option<Attribution>, String> {
    let (model, graph) = (&**debugger.model(), debugger.graph());
    graph.needs_logits()?;
    let (Some(head), Some(norm)) = (graph.whole(Role::LmHead), graph.whole(Role::FinalNorm)) else {
        return Err("the model does not end in a norm and a head".into());
    };
    let Some(rows) = last_rows(debugger, interrupt) else { return Ok(None) };
    let row = |site: Site| rows.get(&site).map_or(&[][..], Vec::as_slice);
    let logits: Vec<f32> = row(head).iter().map(|logit| *logit as f32).collect();
    let id = debugger.token_or_likeliest(token, &logits)?;
    let of_head = match &graph[head].op {
        Op::Linear { weight, bias, .. } => {
            let factors = embed::<f64>(&[id as u32], &model.matrix(weight).matrix(), Rounding::None);
            let constant = bias.as_ref().map_or(0.0, |bias| f64::from(model.vector(bias)[id]));
            Linear { factors: factors.into_raw_vec_and_offset().0, constant }
        }
        _ => return Err("the model does not end in a head".into()),
    };
    let stream = graph[norm].reads[0].site();
    let of_stream = before_norm(model, norm, row(stream), &of_head);
    let of_start = of_stream.times(grown(model, 0));
    let contribution = |site: Site| Contribution { name: graph.short(site).into(), value: of_start.of(row(site)) };
    let layer = |layer: usize| {
        let added = graph.added(layer);
        let attention = added.first().filter(|_| added.len() > 1);
        let grown = grown(model, layer);
        let of_sum = |site: Site| of_stream.times(grown * factor(graph, layer, site));
        LayerParts {
            attention: attention.map_or(0.0, |site| of_sum(*site).of(row(*site))),
            heads: attention.map_or_else(Vec::new, |site| heads(model, *site, &rows, of_sum(*site))),
            mlp: added.iter().skip(usize::from(attention.is_some())).map(|site| of_sum(*site).of(row(*site))).sum(),
        }
    };
    let mut found = Attribution {
        token: debugger.token(id as u32),
        position: debugger.pass.run.first_position() + debugger.pass.run.forward_ids().len() - 1,
        logit: row(head)[id],
        embedding: starts(graph).into_iter().map(contribution).collect(),
        layers: (0..graph.layers()).map(layer).collect(),
        bias: of_stream.constant,
        rest: 0.0,
    };
    found.rest = found.logit - found.sum();
    Ok(Some(found))
}

/// The rows of the last position that attribution reads, from this forward computed to its end.
fn last_rows(debugger: &Debugger, interrupt: &AtomicBool) -> Option<Rows> {
    let graph = debugger.graph();
    let mut wanted: Vec<Site> = starts(graph);
    wanted.extend([Role::LmHead, Role::FinalNorm].into_iter().filter_map(|role| graph.whole(role)));
    for layer in 0..graph.layers() {
        wanted.extend(graph.added(layer).iter().flat_map(|site| chain(graph, *site)));
    }
    let read = |site: Site| graph[site].reads.first().map(|read| read.site());
    wanted.extend(graph.whole(Role::FinalNorm).and_then(read));
    let mut run = debugger.pass.run.clone();
    run.rewind(0);
    run.set_logit_rows(LogitRows::Last);
    let mut rows = Rows::new();
    while let Some(site) = run.next() {
        if interrupt.load(Ordering::Relaxed) {
            return None;
        }
        run.step();
        if let Some(value) = run.get(site).filter(|_| wanted.contains(&site)) {
            let last = value.len_of(Axis(0)) - 1;
            rows.insert(site, value.index_axis(Axis(0), last).iter().map(|v| f64::from(*v)).collect());
        }
    }
    Some(rows)
}

/// What was attributed, in lines.
pub fn told(debugger: &Debugger, found: &Attribution) -> Vec<String> {
    let token = debugger.token_text(found.token.id);
    let mut lines = vec![format!(
        "{token} has logit {:.3} after position {}; what each part adds to it:",
        found.logit, found.position
    )];
    lines.extend(found.embedding.iter().map(|part| format!("{:>12} {:>+9.3}", part.name, part.value)));
    lines.push(format!("{:>12} {:>9} {:>9}", "layer", "attention", "mlp"));
    for (index, layer) in found.layers.iter().enumerate() {
        lines.push(format!("{index:>12} {:>+9.3} {:>+9.3}", layer.attention, layer.mlp));
    }
    if found.bias != 0.0 {
        lines.push(format!("{:>12} {:>+9.3}", "norm's bias", found.bias));
    }
    if found.rest.abs() > 1e-3 * found.logit.abs().max(1.0) {
        lines.push(format!("{:>12} {:>+9.3}  what patches and suspects add elsewhere", "rest", found.rest));
    }
    let of_layer = |(layer, parts): (usize, &LayerParts)| {
        parts.heads.iter().enumerate().map(|(head, value)| (layer, head, *value)).collect::<Vec<_>>()
    };
    let mut heads: Vec<(usize, usize, f64)> = found.layers.iter().enumerate().flat_map(of_layer).collect();
    heads.sort_by(|a, b| b.2.abs().total_cmp(&a.2.abs()));
    let named = heads.iter().take(NAMED).map(|(layer, head, value)| format!("{layer}.{head} {value:+.3}"));
    lines.push(format!("most of heads: {}", named.collect::<Vec<_>>().join(", ")));
    lines
}

/// What the residual stream is at its start: the embedding, or the two tables that are added.
fn starts(graph: &Graph) -> Vec<Site> {
    let is_sum = |site: &Site| matches!(&graph[*site].op, Op::Sum { factors } if factors.len() == 2);
    match graph.entering(0) {
        Some(site) if is_sum(&site) => graph[site].reads.iter().map(|read| read.site()).collect(),
        site => site.into_iter().collect(),
    }
}

/// What the stream is multiplied by from a layer on: the weights of blocks that have one.
fn grown(model: &Model, layer: usize) -> f64 {
    let graph = &model.graph;
    let blocks = (layer..graph.layers()).filter_map(|layer| graph.in_layer(layer, Role::Block));
    let scalar = |site: Site| match &graph[site].op {
        Op::ScaledSum { scalar } => f64::from(model.vector(scalar)[0]),
        _ => 1.0,
    };
    blocks.map(scalar).product()
}

/// What a part is multiplied by where it is added to the stream of a layer.
fn factor(graph: &Graph, layer: usize, site: Site) -> f64 {
    let sum = graph.readers(site).find(|reader| graph[*reader].layer == Some(layer));
    let found = sum.and_then(|sum| match &graph[sum].op {
        Op::Sum { factors } => factors.get(graph[sum].reads.iter().position(|read| read.site() == site)?),
        _ => None,
    });
    found.copied().unwrap_or(1.0)
}

/// What is added to the stream, what that is the norm of, and what the projection before it reads.
fn chain(graph: &Graph, added: Site) -> Vec<Site> {
    let mut chain = vec![added];
    while let (Some(last), true) = (chain.last().copied(), chain.len() < 3) {
        match (&graph[last].op, graph[last].reads.first()) {
            (Op::Norm { .. } | Op::Linear { .. }, Some(read)) => chain.push(read.site()),
            _ => break,
        }
    }
    chain
}

/// What each head adds: of what attention adds to the stream at `added`.
fn heads(model: &Model, added: Site, rows: &Rows, mut of: Linear) -> Vec<f64> {
    let (graph, mut at) = (&model.graph, added);
    let row = |site: Site| rows.get(&site).map_or(&[][..], Vec::as_slice);
    if let (Op::Norm { .. }, Some(read)) = (&graph[at].op, graph[at].reads.first()) {
        of = before_norm(model, at, row(read.site()), &of);
        at = read.site();
    }
    let (Op::Linear { weight, .. }, Some(read)) = (&graph[at].op, graph[at].reads.first()) else { return Vec::new() };
    let Some((_, width)) = graph[read.site()].heads() else { return Vec::new() };
    let matrix = model.matrix(weight).rows();
    let mut factors = vec![0.0; matrix.ncols()];
    for (row, factor) in matrix.outer_iter().zip(&of.factors) {
        for (sum, weight) in factors.iter_mut().zip(row) {
            *sum += factor * f64::from(*weight);
        }
    }
    let products: Vec<f64> = factors.iter().zip(row(read.site())).map(|(factor, value)| factor * value).collect();
    products.chunks(width).map(|head| head.iter().sum()).collect()
}

/// A function of what a norm gives for `x`, as one of what it reads: what it divides by stays as it is.
fn before_norm(model: &Model, site: Site, x: &[f64], of: &Linear) -> Linear {
    let Op::Norm { weight, bias, how, .. } = &model.graph[site].op else { return of.clone() };
    let count = x.len() as f64;
    let mean = if how.form == Form::Centred { x.iter().sum::<f64>() / count } else { 0.0 };
    let square = x.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / count;
    let eps = f64::from(how.eps);
    let scale = match how.form {
        Form::Rms | Form::Centred => 1.0 / (square + eps).sqrt(),
        Form::EpsOutside => 1.0 / (square.sqrt() + eps),
        Form::Identity => 1.0,
    };
    let weight = model.vector(weight);
    let scaled = |(factor, weight): (&f64, &f32)| factor * f64::from(*weight + how.offset) * scale;
    let mut factors: Vec<f64> = of.factors.iter().zip(&weight).map(scaled).collect();
    if how.form == Form::Centred {
        // The mean is taken off every channel.
        let mean = factors.iter().sum::<f64>() / count;
        for factor in &mut factors {
            *factor -= mean;
        }
    }
    let added = bias.as_ref().map_or(0.0, |bias| {
        of.factors.iter().zip(&model.vector(bias)).map(|(factor, bias)| factor * f64::from(*bias)).sum()
    });
    Linear { factors, constant: of.constant + added }
}

impl Linear {
    /// The same times a constant.
    fn times(&self, constant: f64) -> Self {
        Self {
            factors: self.factors.iter().map(|factor| factor * constant).collect(),
            constant: self.constant * constant,
        }
    }

    /// What a part adds; the constant belongs to none.
    fn of(&self, part: &[f64]) -> f64 {
        self.factors.iter().zip(part).map(|(factor, value)| factor * value).sum()
    }
}
