//! The logit lens: the final norm and the head on the residual stream after each block.
//!
//! nostalgebraist, "interpreting GPT: the logit lens" (2020). All rows that are new go through the head in one product,
//! which reads the head's weights once; what it gives is kept, so that another choice of tokens costs no product.

use std::sync::Arc;

use ndarray::{Array2, ArrayView1, Axis, Ix2};
use rayon::iter::{IntoParallelIterator, IntoParallelRefIterator, ParallelIterator};

use super::attention::others;
use super::memo::{Origin, Reading};
use super::page::Request;
use super::state::Debugger;
use super::view::{LensBeside, LensPage, LensRequest, LensRow, Token, TokenLine, Witness};
use crate::dump::Aligned;
use crate::engine::{Role, Site, Span, evaluate};
use crate::metrics::{Softmax, divergence, rank, top};

/// What a witness says at one place, or why not.
type Found = Result<Arc<Reading>, String>;

/// Where a reading comes from.
enum Source {
    Known(Arc<Reading>),
    /// A row of the residual stream, which has to go through the head.
    Residual(Vec<f32>),
    Missing(String),
}

impl Request for LensRequest {
    type Page = LensPage;

    fn page(&self, debugger: &Debugger) -> Result<LensPage, String> {
        if let Some(recorded) = &debugger.pass.recorded {
            return recorded.lens(self, debugger.position());
        }
        let page = debugger.captured.unseen(|| made(debugger, self))?;
        debugger.captured.look_at_lens(debugger.position(), self, &page);
        Ok(page)
    }
}

/// What the model would say after each block.
fn made(debugger: &Debugger, request: &LensRequest) -> Result<LensPage, String> {
    debugger.graph().needs_logits()?;
    let vocab = debugger.session.model.spec.vocab;
    if let Some(id) = request.chosen.filter(|id| *id as usize >= vocab) {
        return Err(format!("there is no token {id}: the vocabulary has ids 0 to {}", vocab - 1));
    }
    let token = request.token.min(debugger.pass.run.forward_ids().len() - 1);
    let places = places(debugger, request.mid);
    let against = others(request.shown).into_iter().find(|other| debugger.has(*other));
    let witnesses: Vec<Witness> = [Some(request.shown), against].into_iter().flatten().collect();
    let mut read = read(debugger, &places, token, &witnesses);
    let beside = if against.is_some() { read.pop() } else { None };
    let own = read.pop().unwrap_or_default();
    let there: Vec<usize> = (0..places.len()).filter(|place| own[*place].is_ok()).collect();
    let Some(last) = there.last().and_then(|last| own[*last].as_ref().ok()) else {
        return Err(own.into_iter().find_map(Result::err).unwrap_or_default());
    };
    let first = || top(&last.logits, 1).first().map_or(0, |id| *id as u32);
    let chosen = request.chosen.unwrap_or_else(first);
    // The last block's output says what the model says, where the logits are not there.
    let complete = there.iter().any(|place| *place + 2 >= places.len());
    let end = complete.then(|| (last, last.softmax.probabilities(&last.logits)));

    let graph = debugger.graph();
    let row = |place: &usize| {
        let reading = own[*place].as_ref().ok()?;
        let other = beside.as_ref().and_then(|beside| beside[*place].as_ref().ok());
        let (rank, probability, logit) = reading.of(chosen);
        let beside = |other: &Arc<Reading>| {
            let (rank, probability, _) = other.of(chosen);
            LensBeside { top: other.top(1).pop(), rank, probability }
        };
        let divergence = end.as_ref().map(|(last, probabilities)| {
            divergence((&last.logits, last.softmax, probabilities), (&reading.logits, reading.softmax))
        });
        Some(LensRow {
            row: places[*place].index(),
            name: graph.short(places[*place]).to_string(),
            layer: graph[places[*place]].layer,
            top: reading.top(request.top),
            rank,
            probability,
            logit,
            entropy: reading.softmax.entropy,
            divergence,
            against: other.map(beside),
        })
    };
    let mut rows: Vec<LensRow> = there.par_iter().filter_map(row).collect();
    for row in &mut rows {
        let beside = row.against.as_mut().and_then(|beside| beside.top.as_mut());
        for line in row.top.iter_mut().chain(beside) {
            line.token = debugger.token(line.token.id);
        }
    }
    let missing: Vec<&String> = own.iter().filter_map(|reading| reading.as_ref().err()).collect();
    let dumped = request.shown != Witness::Engine;
    let notes = missing.first().filter(|_| dumped).map(|first| match missing.len() {
        1 => (*first).clone(),
        more => format!("{first}, and {} more", more - 1),
    });
    Ok(LensPage {
        token,
        position: debugger.pass.run.first_position() + token,
        shown: request.shown,
        against,
        chosen: debugger.token(chosen),
        rows,
        vocab,
        notes: notes.into_iter().collect(),
    })
}

/// The places of the residual stream, in order, and the logits.
fn places(debugger: &Debugger, mid: bool) -> Vec<Site> {
    let graph = debugger.graph();
    let wanted = |site: &Site| {
        graph.is_stream(*site) || graph.logits() == Some(*site) || (mid && graph.is(*site, Role::ResidMid))
    };
    graph.sites().filter(wanted).collect()
}

/// What each witness says at each place.
fn read(debugger: &Debugger, places: &[Site], token: usize, witnesses: &[Witness]) -> Vec<Vec<Found>> {
    let forward = debugger.pass.run.forward();
    let keys = witnesses
        .iter()
        .flat_map(|witness| places.iter().map(|site| (debugger.origin(forward, *site, *witness), token)));
    let source = |key: (Origin, usize)| {
        if let Some(reading) = debugger.memos.lens.get(&key) {
            return (key, Source::Known(reading));
        }
        let source = match values(debugger, &key.0, token) {
            Ok(logits) if Some(key.0.site) == debugger.graph().logits() => {
                Source::Known(Arc::new(Reading { softmax: Softmax::of(&logits), logits }))
            }
            Ok(values) => Source::Residual(values),
            Err(error) => Source::Missing(error),
        };
        (key, source)
    };
    let sources: Vec<_> = keys.map(source).collect();
    let residuals = sources.iter().filter_map(|(_, source)| match source {
        Source::Residual(values) => Some(values.as_slice()),
        _ => None,
    });
    let mut readings = head(debugger, &residuals.collect::<Vec<_>>()).into_iter();
    let mut found = sources.into_iter().map(|(key, source)| {
        let reading = match source {
            Source::Known(reading) => reading,
            Source::Residual(_) => readings.next().expect("there is one for each"),
            Source::Missing(error) => return Err(error),
        };
        debugger.memos.lens.keep(key, Arc::clone(&reading));
        Ok(reading)
    });
    witnesses.iter().map(|_| found.by_ref().take(places.len()).collect()).collect()
}

/// The row of a token.
fn values(debugger: &Debugger, origin: &Origin, token: usize) -> Result<Vec<f32>, String> {
    let Origin { site, witness, .. } = *origin;
    if let (Witness::Engine, Some(ours)) = (witness, &origin.ours) {
        return Ok(ours.index_axis(Axis(0), token).iter().copied().collect());
    }
    let Aligned { part, .. } = debugger.seen(origin.forward, site, witness)?;
    let (place, name) = (part.rows.binary_search(&token), debugger.graph().short(site));
    let place = place.map_err(|_| format!("the {} does not have this token of {name}", witness.name()))?;
    Ok(part.values.index_axis(Axis(0), place).iter().copied().collect())
}

/// The logits of rows of the residual stream, as if each were the last block's: all that is behind it, in order.
fn head(debugger: &Debugger, residuals: &[&[f32]]) -> Vec<Arc<Reading>> {
    if residuals.is_empty() {
        return Vec::new();
    }
    let model = &debugger.session.model;
    let rows = Array2::from_shape_vec((residuals.len(), model.spec.hidden), residuals.concat());
    let rows = rows.expect("rows of the residual stream have one length").into_dyn().into_shared();
    let (graph, span) = (debugger.graph(), Span { ids: &[], first: 0 });
    let behind = (graph.tail().unwrap_or(graph.len())..graph.len()).map(Site::at);
    let logits = behind.fold(rows, |x, site| evaluate(model, site, span, &[x.view()], debugger.pass.run.compute()));
    let reading = |row: ArrayView1<f32>| {
        let logits = row.to_vec();
        Arc::new(Reading { softmax: Softmax::of(&logits), logits })
    };
    let logits = logits.view().into_dimensionality::<Ix2>().expect("logits have two axes");
    logits.outer_iter().into_par_iter().map(reading).collect()
}

impl Reading {
    /// Rank, probability and logit of a token.
    fn of(&self, id: u32) -> (usize, f64, f64) {
        let logit = self.logits[id as usize];
        (rank(&self.logits, id as usize), self.softmax.probability(logit), f64::from(logit))
    }

    /// The most probable tokens, without their texts.
    fn top(&self, count: usize) -> Vec<TokenLine> {
        let line = |id: usize| {
            let (logit, token) = (self.logits[id], Token { id: id as u32, ..Token::default() });
            TokenLine { token, probability: self.softmax.probability(logit), logit: f64::from(logit) }
        };
        top(&self.logits, count).into_iter().map(line).collect()
    }
}
