//! Parts of the model left out, one at a time: heads, layers, MLPs.
//!
//! Zero ablation, as in Olsson et al., "In-context Learning and Induction Heads" (2022). All layers before the part are
//! computed once; from there on the runs of a layer go on together, so that each weight is read once for several of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ndarray::Ix3;

use super::patch::last_logits;
use super::state::{Caller, Debugger};
use super::view::{Listing, Stop, Sweep, Swept, SweptPart};
use crate::engine::{Change, Graph, LogitRows, Part, Patch, Role, Run, Sequence, Site};
use crate::metrics::{HeadNumbers, Softmax, divergence, head_numbers, top};

/// Rows that go through the weights together: more are no faster, and every run of them holds a layer's activations.
const ROWS: usize = 256;

/// Parts named of a long list.
const NAMED: usize = 10;

/// Parts that stand side by side on 80 columns, three each.
const COLUMNS: usize = 24;

/// A part, and the patches that leave it out.
struct Unit {
    layer: usize,
    head: Option<usize>,
    patches: Vec<Patch>,
}

/// The command.
pub(super) fn command(
    debugger: &mut Debugger,
    of: Swept,
    token: Option<&str>,
    caller: &mut Caller,
) -> Result<Stop, String> {
    let (interrupt, listing) = (caller.interrupt, debugger.listing());
    let mut progress = |done, total| (caller.progress)(Listing { done: Some((done, total)), ..listing.clone() });
    let swept = sweep(debugger, of, token, interrupt, &mut progress)?;
    Ok(swept.map_or(Stop::Interrupted, |sweep| Stop::Said(told(debugger, &sweep))))
}

/// Leaves out each part of a kind, one at a time, for all tokens fed up to the end of this forward; patches and suspects
/// stay. `token`, an id or a text, is watched; without one, the likeliest. `progress` is called with the parts done
/// and to do; `None` when interrupted. The debugger stays where it stands.
///
/// # Errors
/// One sentence: there is no such token or no such part, or no logit is a number.
pub fn sweep(
    debugger: &Debugger,
    of: Swept,
    token: Option<&str>,
    interrupt: &AtomicBool,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Option<Sweep>, String> {
    let (graph, forward) = (debugger.graph(), debugger.pass.run.forward());
    graph.needs_logits()?;
    let units: Vec<Vec<Unit>> = (0..graph.layers()).map(|layer| units(graph, layer, of)).collect();
    let total = units.iter().map(Vec::len).sum();
    if total == 0 {
        return Err(format!("the model has no {}", of.name()));
    }
    let fed = &debugger.pass.fed;
    let mut base = Run::new(Arc::clone(debugger.model()), fed.span(0).ids, LogitRows::Last);
    base.alter(debugger.suspected.alterations());
    base.patch(debugger.patches.of_the_run());
    let Some(before) = finished(vec![base.clone()], fed, forward, interrupt).and_then(|mut all| all.pop()) else {
        return Ok(None);
    };
    let watched = debugger.token_or_likeliest(token, &before)?;
    let softmax = Softmax::of(&before);
    let chances = softmax.probabilities(&before);
    let mut parts = Vec::with_capacity(total);
    let together = (ROWS / fed.span(0).ids.len()).clamp(1, 16);
    for units in units {
        let Some(first) = units.iter().flat_map(|unit| &unit.patches).map(|patch| patch.site.index()).min() else {
            continue;
        };
        while base.counter() < first {
            base.step();
        }
        let numbers = units.first().filter(|unit| unit.head.is_some()).map(|unit| patterns(&base, unit.layer));
        for units in units.chunks(together) {
            let runs = units.iter().map(|unit| without(&base, unit)).collect();
            let Some(found) = finished(runs, fed, forward, interrupt) else { return Ok(None) };
            parts.extend(units.iter().zip(found).map(|(unit, after)| SweptPart {
                layer: unit.layer,
                head: unit.head,
                kl: divergence((&before, softmax, &chances), (&after, Softmax::of(&after))),
                change: f64::from(after[watched]) - f64::from(before[watched]),
                likeliest: debugger.token(top(&after, 1).first().map_or(0, |id| *id as u32)),
                numbers: unit.head.zip(numbers.as_ref()).and_then(|(head, numbers)| numbers.get(head).copied()),
            }));
            for done in parts.len() - units.len() + 1..=parts.len() {
                progress(done, total);
            }
        }
    }
    Ok(Some(Sweep {
        of,
        token: debugger.token(watched as u32),
        logit: f64::from(before[watched]),
        probability: chances[watched],
        parts,
    }))
}

/// What a sweep has found, in lines.
pub fn told(debugger: &Debugger, sweep: &Sweep) -> Vec<String> {
    let what = match sweep.of {
        Swept::Heads => "head",
        Swept::Layers => "layer",
        Swept::Mlp => "MLP",
    };
    let (token, logit) = (debugger.token_text(sweep.token.id), sweep.logit);
    let columns = if sweep.of == Swept::Heads { "  previous induction duplicate" } else { "" };
    let mut lines = vec![
        format!("without one {what} at a time: what becomes of the token after the last"),
        format!("with all of them: {token} has logit {logit:.3} and {:.1} %", sweep.probability * 100.0),
        format!("{what:>7}    KL nats      logit{columns}  likeliest then"),
    ];
    let ranked = sweep.ranked();
    for part in ranked.iter().take(NAMED) {
        let share = |value: f64| if value.is_nan() { "-".to_string() } else { format!("{value:.2}") };
        let pattern = part.numbers.map_or_else(String::new, |n| {
            format!("{:>10} {:>9} {:>9}", share(n.previous), share(n.induction), share(n.duplicate))
        });
        let likeliest = debugger.token_text(part.likeliest.id);
        lines.push(format!("{:>7} {:>10.4} {:>+10.3}{pattern}  {likeliest}", part.name(), part.kl, part.change));
    }
    if ranked.len() > NAMED {
        lines.push(format!("{:>7} more, with less", ranked.len() - NAMED));
    }
    lines.extend(grid(sweep, ranked.first().map_or(0.0, |part| part.kl)));
    lines
}

/// The parts of a layer.
fn units(graph: &Graph, layer: usize, of: Swept) -> Vec<Unit> {
    let zero = |site: Site, part: Part| Patch { site, forward: None, part, change: Change::Zero };
    let unit = |head, patches: Vec<Patch>| Unit { layer, head, patches };
    let added = graph.added(layer);
    match of {
        Swept::Heads => {
            let context = graph.in_layer(layer, Role::Context);
            let heads = context.and_then(|site| Some((site, graph[site].heads()?.0)));
            let of_head = |(site, count): (Site, usize)| {
                (0..count).map(move |head| {
                    let part = Part { heads: Some(head..=head), ..Part::default() };
                    unit(Some(head), vec![zero(site, part)])
                })
            };
            heads.into_iter().flat_map(of_head).collect()
        }
        Swept::Layers if !added.is_empty() => {
            vec![unit(None, added.into_iter().map(|site| zero(site, Part::default())).collect())]
        }
        Swept::Mlp => added.last().map(|site| unit(None, vec![zero(*site, Part::default())])).into_iter().collect(),
        Swept::Layers => Vec::new(),
    }
}

/// What the patterns of a layer's heads say, where a run has just computed them.
fn patterns(run: &Run, layer: usize) -> Vec<HeadNumbers> {
    let graph = run.graph();
    let Some((site, probs)) = graph.in_layer(layer, Role::Probs).and_then(|site| Some((site, run.get(site)?))) else {
        return Vec::new();
    };
    let (mask, rows) = (graph.mask(site, run.first_position()), (0..probs.shape()[1]).collect::<Vec<_>>());
    let planes = probs.view().into_dimensionality::<Ix3>().expect("patterns have three axes");
    planes.outer_iter().map(|head| head_numbers(head, &rows, mask, run.ids())).collect()
}

/// The run without a part, behind its own patches.
fn without(base: &Run, unit: &Unit) -> Run {
    let mut run = base.clone();
    let patches: Vec<Patch> = base.patches().iter().chain(&unit.patches).cloned().collect();
    run.patch(patches);
    run
}

/// Takes runs that stand side by side to the end of a forward: the last logits of each; `None` when interrupted.
fn finished(mut runs: Vec<Run>, fed: &Sequence, forward: usize, interrupt: &AtomicBool) -> Option<Vec<Vec<f32>>> {
    loop {
        while !runs[0].is_complete() {
            if interrupt.load(Ordering::Relaxed) {
                return None;
            }
            Run::step_in_rows(&mut runs, None);
        }
        let next = runs[0].forward() + 1;
        if next > forward {
            return runs.iter_mut().map(|run| last_logits(run, interrupt)).collect();
        }
        for run in &mut runs {
            run.begin_forward(fed.span(next).ids);
        }
    }
}

/// Every part as a digit: layers down and heads across; layers alone stand side by side.
fn grid(sweep: &Sweep, largest: f64) -> Vec<String> {
    // Divergences lie orders of magnitude apart.
    let digit = |part: &SweptPart| {
        let halvings = if part.kl == largest { 0.0 } else { (largest / part.kl).log2().floor() };
        match 9.0 - halvings {
            _ if part.kl.is_nan() => "?".to_string(),
            _ if part.kl == 0.0 => ".".to_string(),
            digit if digit >= 1.0 => format!("{digit:.0}"),
            _ => ".".to_string(),
        }
    };
    let scale = format!("9 is {largest:.4} nats, a digit less is half of that");
    let (rows, across, mut lines): (Vec<&[SweptPart]>, _, _) = match sweep.of {
        Swept::Heads => {
            let rows = sweep.parts.chunk_by(|a, b| a.layer == b.layer).collect();
            (rows, "head ", vec![format!("layers down, heads across: {scale}")])
        }
        Swept::Layers | Swept::Mlp => {
            (sweep.parts.chunks(COLUMNS).collect(), "layer", vec![format!("layers across: {scale}")])
        }
    };
    let columns = rows.iter().map(|row| row.len()).max().unwrap_or(0);
    // Of more, the last digit of their number is what there is room for.
    let (width, shown) = if columns > COLUMNS { (2, 10) } else { (3, usize::MAX) };
    let cells = |cells: Vec<String>| cells.iter().map(|cell| format!("{cell:>width$}")).collect::<Vec<_>>().concat();
    let header = cells((0..columns).map(|column| (column % shown).to_string()).collect());
    lines.push(format!("{across} {header}"));
    for row in rows {
        let first = row.first().map_or(0, |part| part.layer);
        lines.push(format!("{first:>5} {}", cells(row.iter().map(digit).collect())));
    }
    lines
}
