//! What the patches do to the model's answer: the last token's logits with them and without.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::counted;
use super::list::{Unpatched, last_logits};
use crate::debugger::state::Debugger;
use crate::debugger::view::{Chance, Effect, PatchLine, Token};
use crate::engine::{LogitRows, Role, Run};
use crate::metrics::{Softmax, divergence};

/// Tokens named of each distribution, and those said in a line.
const TOP: usize = 5;
const SAID: usize = 3;

/// What the patches do to the logits of the current forward's last token: see [`Debugger::effect`].
pub(in crate::debugger) fn effect(debugger: &mut Debugger, interrupt: &AtomicBool) -> Result<Option<Effect>, String> {
    debugger.graph().needs_logits()?;
    let Debugger { pass, patches, suspected, .. } = debugger;
    let forward = pass.run.forward();
    let unpatched = patches.unpatched.get_or_insert_with(|| {
        let mut run = Run::new(Arc::clone(pass.run.model()), pass.fed.span(0).ids, LogitRows::Last);
        run.alter(suspected.alterations());
        Unpatched { run, logits: Vec::new() }
    });
    let Some(before) = unpatched.logits(&pass.fed, forward, interrupt) else { return Ok(None) };
    let mut run = pass.run.clone();
    if let Some(head) = run.graph().whole(Role::LmHead).filter(|head| head.index() < run.counter()) {
        // Logits of one row, whether they are computed already or not: then equal inputs give equal bits.
        run.rewind(head.index());
    }
    let Some(after) = last_logits(&mut run, interrupt) else { return Ok(None) };
    let (p, q) = (Softmax::of(&before), Softmax::of(&after));
    let (chances, patched_chances) = (p.probabilities(&before), q.probabilities(&after));
    let order = ranked(&before);
    let first = *order.first().ok_or("the model has no tokens")?;
    let patched = ranked(&after);
    let top = |order: &[usize], chances: &[f64]| {
        let chance = |id: &usize| {
            let Token { id: token, text } = debugger.token(*id as u32);
            Chance { id: token, text, probability: chances[*id] }
        };
        order.iter().take(TOP).map(chance).collect()
    };
    Ok(Some(Effect {
        forward,
        before: top(&order, &chances),
        after: top(&patched, &patched_chances),
        kl: divergence((&before, p, &chances), (&after, q)),
        rank: patched.iter().position(|id| *id == first).map_or(patched.len(), |place| place + 1),
        probability: patched_chances[first],
    }))
}

/// The lines of `info patches`.
pub(in crate::debugger) fn info(debugger: &mut Debugger, interrupt: &AtomicBool) -> Result<Vec<String>, String> {
    let line = |patch: PatchLine| {
        let ahead = if patch.applies { "" } else { "  not computed yet" };
        format!("{:>3}  {}  {}{ahead}", patch.number, patch.text, counted(patch.activations, "activation"))
    };
    let mut lines: Vec<String> = debugger.patches().into_iter().map(line).collect();
    if lines.is_empty() {
        return Ok(vec!["no patches".into()]);
    }
    lines.extend(effect_line(debugger, interrupt)?);
    Ok(lines)
}

/// `logits: "Paris" 61.2 %, ... became ...; KL 0.53 nat`; nothing without patches, and of a model without a head.
pub(super) fn effect_line(debugger: &mut Debugger, interrupt: &AtomicBool) -> Result<Option<String>, String> {
    if debugger.patches().is_empty() || debugger.graph().logits().is_none() {
        return Ok(None);
    }
    let Some(effect) = effect(debugger, interrupt)? else { return Ok(None) };
    let said = |chances: &[Chance]| {
        let one = |chance: &Chance| format!("{} {:.1} %", debugger.token_text(chance.id), chance.probability * 100.0);
        chances.iter().take(SAID).map(one).collect::<Vec<_>>().join(", ")
    };
    let rank = match (effect.rank, effect.before.first()) {
        (1, _) | (_, None) => String::new(),
        (rank, Some(first)) => {
            let name = debugger.token_text(first.id);
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

/// Ids, the likeliest first; of equal ones the smaller, as an argmax has it. NaN is the least likely.
fn ranked(logits: &[f32]) -> Vec<usize> {
    let weight = |id: &usize| if logits[*id].is_nan() { f32::NEG_INFINITY } else { logits[*id] };
    let mut ids: Vec<usize> = (0..logits.len()).collect();
    ids.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
    ids
}
