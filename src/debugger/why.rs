//! Why an op is wrong: the known mistakes that make its tensor, and any of them switched on in our own engine.

use std::mem::replace;

use super::state::{Caller, Debugger};
use super::suspected::{Diagnosed, Switched};
use super::view::{Diagnosis, Stop, SuspectLine};
use crate::diagnose::suspects::named;
use crate::diagnose::suspects::search::Accused;
use crate::diagnose::suspects::switch::spread;
use crate::diagnose::{ActivationRow, Status};
use crate::engine::{Product, Role, Site};

/// Tries every known mistake on an op that is wrong by itdebugger.
pub(super) fn diagnose(debugger: &mut Debugger, name: &str, caller: &mut Caller) -> Result<Stop, String> {
    let row = debugger.row_of(name)?;
    let (site, graph) = (Site::at(row), debugger.graph());
    let short = graph.short(site);
    let bad = |status| status == Status::Bad;
    let compared = debugger.current_rows().get(row);
    if compared.is_none() && debugger.has_dumps() {
        return Err(format!("{short} is not computed yet: s steps, g goes there"));
    }
    if !compared.is_some_and(|row| bad(row.status)) {
        let first = debugger.first_divergence().map(|row| graph.short(Site::at(row)));
        let hint = first.map_or_else(String::new, |first| format!("; the first divergence is {first}"));
        return Err(format!("{short} does not diverge by itself: there is nothing to diagnose{hint}"));
    }
    (caller.progress)(debugger.listing());
    let forward = debugger.position().0;
    let key = graph.key(site, forward);
    let accused = debugger.comparison.suspects(&key, caller.interrupt);
    if caller.interrupts() {
        return Ok(Stop::Interrupted);
    }
    debugger.suspected.diagnosed = Some(Diagnosed { row, forward, accused });
    Ok(Stop::Diagnosed(diagnosis(debugger)?))
}

/// Switches a mistake of the last diagnosis on where it was found, or off, and computes up to where the run stands.
pub(super) fn switch(debugger: &mut Debugger, index: usize, caller: &mut Caller) -> Result<Stop, String> {
    let diagnosed =
        debugger.suspected.diagnosed.as_ref().ok_or("nothing is diagnosed yet: diagnose ACTIVATION does that")?;
    let accused = diagnosed.accused.get(index).ok_or("there is no such suspect")?;
    let site = Site::at(diagnosed.row);
    let on = debugger.suspected.is_on(accused);
    let switched = if on {
        None
    } else {
        let alterations = spread(&debugger.session.model, accused, &elsewhere(debugger, site, &accused.sites));
        if alterations.is_empty() {
            return Err(format!("{} cannot be switched on: it is not a change of one op", accused.id));
        }
        Some(Switched { id: accused.id, words: accused.summary.clone(), alterations })
    };
    let before = (replace(&mut debugger.suspected.on, switched), debugger.pass.clone());
    debugger.begin_again();
    let outcome = debugger.compute_again(before.1.ops(), caller);
    if outcome == Ok(true) {
        return Ok(Stop::Diagnosed(diagnosis(debugger)?));
    }
    (debugger.suspected.on, debugger.pass) = before;
    outcome.map(|_| Stop::Interrupted)
}

/// Where else a mistake at `made`, which makes `site` wrong, is made: in every layer in which the same op, or its twin
/// for the keys, is known to be wrong by itdebugger.
fn elsewhere(debugger: &Debugger, site: Site, made: &[Site]) -> Vec<Site> {
    let graph = debugger.graph();
    // Where no weights are multiplied, engines have one code for queries and keys.
    let twin = |site: Site| match graph[site].op.facts().product {
        Product::No => graph[site].role.map(Role::of_queries),
        _ => graph[site].role,
    };
    let wrong = |other: Site| {
        let rows = debugger.compared().iter().enumerate().filter(|(_, row)| row.status == Status::Bad);
        rows.map(|(row, _)| row % graph.len()).any(|bad| bad == other.index())
    };
    let same = |other: Site| twin(site).is_some() && twin(other) == twin(site);
    let others = graph.sites().filter(|other| *other != site && same(*other) && wrong(*other));
    if made == [site] {
        return others.collect();
    }
    // Over a span the mistake lies as far before the other tensor as before this one.
    let moved = |made: Site, other: Site| {
        let layer = |site: Site| graph[site].layer;
        graph.twin(made, (layer(made)? + layer(other)?).checked_sub(layer(site)?)?)
    };
    others.flat_map(|other| made.iter().filter_map(move |made| moved(*made, other))).collect()
}

fn diagnosis(debugger: &Debugger) -> Result<Diagnosis, String> {
    let Diagnosed { row, forward, accused } =
        debugger.suspected.diagnosed.as_ref().ok_or("nothing is diagnosed yet")?;
    let graph = debugger.graph();
    let line = |accused: &Accused| SuspectLine {
        id: accused.id.into(),
        explained: accused.explained,
        residual: accused.residual,
        summary: accused.summary.clone(),
        fix: accused.fix.into(),
        symptom: named(accused.id).map_or("", |suspect| suspect.symptom).into(),
        can_be_switched: accused.edit.is_some(),
        on: debugger.suspected.is_on(accused),
    };
    Ok(Diagnosis {
        row: *row,
        forward: *forward,
        name: graph.short(Site::at(*row)).to_string(),
        local: debugger.compared().get(forward * graph.len() + row).and_then(ActivationRow::made),
        suspects: accused.iter().map(line).collect(),
    })
}
