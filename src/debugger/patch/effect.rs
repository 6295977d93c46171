//! What the patches do to the model's answer: the last token's logits with them and without.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::counted;
use crate::debugger::state::Debugger;
use crate::debugger::view::{Chance, Effect, PatchOutcome, Stop};
use crate::engine::{LogitRows, Role, Run};

/// Tokens named of each distribution, and those said in a line.
const TOP: usize = 5;
const SAID: usize = 3;

/// Our own run as it would be without patches: as far as it was asked for, and what it said at the end of each forward.
#[derive(Debug)]
pub(in crate::debugger) struct Unpatched {
    run: Run,
    logits: Vec<Vec<f32>>,
}

impl Debugger {
    /// What the patches do to the logits of the current forward's last token; `None` when interrupted. Our run and one
    /// without patches are taken to the end of the forward; the debugger stays where it stands.
    ///
    /// # Errors
    /// One sentence.
    pub fn effect(&mut self, interrupt: &AtomicBool) -> Result<Option<Effect>, String> {
        let forward = self.run.forward();
        let Some(before) = self.unpatched_logits(forward, interrupt) else { return Ok(None) };
        let mut run = self.run.clone();
        if let Some(head) = run.graph().whole(Role::LmHead).filter(|head| head.index() < run.counter()) {
            // Logits of one row, whether they are computed already or not: then equal inputs give equal bits.
            run.rewind(head.index());
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

    /// What is said after the patches have changed.
    pub(in crate::debugger) fn patched(
        &mut self,
        outcome: PatchOutcome,
        interrupt: &AtomicBool,
    ) -> Result<Stop, String> {
        let PatchOutcome::Changed { sentence, notes, .. } = outcome else { return Ok(Stop::Interrupted) };
        let mut lines = vec![sentence];
        lines.extend(notes.into_iter().map(|note| format!("note: {note}")));
        lines.extend(self.effect_line(interrupt)?);
        Ok(Stop::Patched(lines))
    }

    /// The lines of `info patches`.
    pub(in crate::debugger) fn info_patches(&mut self, interrupt: &AtomicBool) -> Result<Vec<String>, String> {
        let mut lines: Vec<String> = self
            .patches()
            .into_iter()
            .map(|patch| {
                let ahead = if patch.applies { "" } else { "  not computed yet" };
                format!("{:>3}  {}  {}{ahead}", patch.number, patch.text, counted(patch.activations, "activation"))
            })
            .collect();
        if lines.is_empty() {
            return Ok(vec!["no patches".into()]);
        }
        lines.extend(self.effect_line(interrupt)?);
        Ok(lines)
    }

    /// `logits: "Paris" 61.2 %, ... became ...; KL 0.53 nat`; nothing without patches.
    fn effect_line(&mut self, interrupt: &AtomicBool) -> Result<Option<String>, String> {
        if self.patches().is_empty() {
            return Ok(None);
        }
        let Some(effect) = self.effect(interrupt)? else { return Ok(None) };
        let said = |chances: &[Chance]| {
            let one = |chance: &Chance| format!("{} {:.1} %", self.token_text(chance.id), chance.probability * 100.0);
            chances.iter().take(SAID).map(one).collect::<Vec<_>>().join(", ")
        };
        let rank = match (effect.rank, effect.before.first()) {
            (1, _) | (_, None) => String::new(),
            (rank, Some(first)) => {
                let name = self.token_text(first.id);
                format!("; {name} is now number {rank} with {:.1} %", effect.probability * 100.0)
            }
        };
        Ok(Some(format!(
            "last token: {} became {}; KL {:.3} nats{rank}",
            said(&effect.before),
            said(&effect.after),
            effect.kl
        )))
    }

    fn chance(&self, id: usize, probability: f64) -> Chance {
        let id = id as u32;
        let text = self.piece(id);
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
