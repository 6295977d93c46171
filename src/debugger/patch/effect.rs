//! What the patches do to the model's answer: the last token's logits with them and without.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::debugger::state::Debugger;
use crate::debugger::view::{Chance, Effect};
use crate::engine::{Activation, LogitRows, Run, Site};
use crate::model::Tokenizer;

/// Tokens named of each distribution.
const TOP: usize = 5;

/// Our own run as it would be without patches: as far as it was asked for, and what it said at the end of each forward.
#[derive(Debug)]
pub(in crate::debugger) struct Unpatched {
    run: Run,
    logits: Vec<Vec<f32>>,
}

impl Debugger {
    /// Gives the debugger the tokenizer, to name tokens that were not fed.
    pub fn name_tokens(&mut self, tokenizer: Arc<Tokenizer>) {
        self.tokenizer = Some(tokenizer);
    }

    /// What the patches do to the logits of the current forward's last token; `None` when interrupted. Our run and one
    /// without patches are taken to the end of the forward; the debugger stays where it stands.
    ///
    /// # Errors
    /// One sentence.
    pub fn effect(&mut self, interrupt: &AtomicBool) -> Result<Option<Effect>, String> {
        let forward = self.run.forward();
        let Some(before) = self.unpatched_logits(forward, interrupt) else { return Ok(None) };
        let mut run = self.run.clone();
        if let Some(head) = run.program().position(Site::whole(Activation::LmHead)).filter(|head| *head < run.counter())
        {
            // Logits of one row, whether they are computed already or not: then equal inputs give equal bits.
            run.rewind(head);
        }
        let Some(after) = last_logits(&mut run, interrupt) else { return Ok(None) };
        let (p, q) = (log_softmax(&before), log_softmax(&after));
        let order = ranked(&before);
        let first = *order.first().ok_or("the model has no tokens")?;
        let patched = ranked(&after);
        let top = |order: &[usize], chances: &[f64]| {
            order.iter().take(TOP).map(|id| self.chance(*id, chances[*id].exp())).collect()
        };
        Ok(Some(Effect {
            forward,
            before: top(&order, &p),
            after: top(&patched, &q),
            kl: divergence(&p, &q),
            rank: patched.iter().position(|id| *id == first).map_or(patched.len(), |place| place + 1),
            probability: q[first].exp(),
        }))
    }

    fn chance(&self, id: usize, probability: f64) -> Chance {
        let id = id as u32;
        let fed =
            || self.session.ids.iter().position(|fed| *fed == id).and_then(|at| self.session.pieces.get(at).cloned());
        let text = self.tokenizer.as_ref().map(|tokenizer| tokenizer.piece(id)).or_else(fed);
        Chance { id, text: text.unwrap_or_default(), probability }
    }

    /// The last logits of a forward without patches; `None` when interrupted.
    fn unpatched_logits(&mut self, forward: usize, interrupt: &AtomicBool) -> Option<Vec<f32>> {
        let session = &self.session;
        let unpatched = self.unpatched.get_or_insert_with(|| {
            let mut run = Run::new(Arc::clone(&session.model), &session.ids[..session.steps[0]], LogitRows::Last);
            run.alter(self.switched.as_ref().map(|switched| switched.alterations.clone()).unwrap_or_default());
            Unpatched { run, logits: Vec::new() }
        });
        while unpatched.logits.len() <= forward {
            let next = unpatched.logits.len();
            if unpatched.run.forward() < next {
                let first = session.steps[..next].iter().sum::<usize>();
                unpatched.run.begin_forward(&session.ids[first..first + session.steps[next]]);
            }
            let logits = last_logits(&mut unpatched.run, interrupt)?;
            unpatched.logits.push(logits);
        }
        Some(unpatched.logits[forward].clone())
    }
}

/// Takes the run to the end of its forward; `None` when interrupted.
fn last_logits(run: &mut Run, interrupt: &AtomicBool) -> Option<Vec<f32>> {
    run.set_logit_rows(LogitRows::Last);
    while !run.is_complete() {
        if interrupt.load(Ordering::Relaxed) {
            return None;
        }
        run.step();
    }
    run.last_logits().map(|logits| logits.to_vec())
}

/// Logarithms of the probabilities.
fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().map(f64::from).fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|logit| (f64::from(*logit) - largest).exp()).sum();
    logits.iter().map(|logit| f64::from(*logit) - largest - sum.ln()).collect()
}

/// `Σ p (log p - log q)`, from logarithms; what has no probability adds nothing.
fn divergence(p: &[f64], q: &[f64]) -> f64 {
    let terms = p.iter().zip(q).filter(|(p, _)| **p > f64::NEG_INFINITY || p.is_nan());
    let sum: f64 = terms.map(|(p, q)| p.exp() * (p - q)).sum();
    // Rounding can leave less than nothing.
    if sum < 0.0 { 0.0 } else { sum }
}

/// Ids, the likeliest first; of equal ones the smaller, as an argmax has it. NaN is the least likely.
fn ranked(logits: &[f32]) -> Vec<usize> {
    let weight = |id: &usize| if logits[*id].is_nan() { f32::NEG_INFINITY } else { logits[*id] };
    let mut ids: Vec<usize> = (0..logits.len()).collect();
    ids.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
    ids
}
