//! The strongest evidence for a suspect: our engine with the mistakes switched on, run freely from the tokens on, gives
//! the dump's later activations and its logits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::arithmetic::Arithmetic;
use super::equivalent::is_query_or_key;
use super::finding::{Finding, Harmless, Kind, ranges};
use super::part::{Part, compare_parts};
use super::precision::Precision;
use super::suspects::{self, search::Accused};
use crate::dump::{self, Dump};
use crate::engine::{Alteration, Compute, Graph, Keyed, LogitRows, Node, Run, Site, Value};
use crate::model::Model;

/// What a run with the mistakes gives.
#[derive(Clone, Debug, Default)]
struct Confirmation {
    /// Activations from the first mistake on that the dump has.
    later: usize,
    /// Those that the altered run reproduces.
    agree: usize,
    /// Relative error of the last logits: of the right engine, of the altered one.
    logits: Option<(f64, f64)>,
}

/// What the run with the mistakes shows.
#[derive(Clone, Debug)]
pub(super) struct Proof {
    /// In one sentence.
    pub(super) sentence: String,
    /// Whether all of the dump from the first mistake on is what the run gives: nothing else is wrong there.
    pub(super) is_whole: bool,
    /// It proves nothing: it is no nearer to the dump than a run without them.
    pub(super) fails: bool,
    /// The forward and the op of the first mistake.
    pub(super) from: (usize, Site),
    /// Activations of the dump that the run gives.
    agree: usize,
}

/// Proves the suspects of `findings`. Of the ways in which a mistake gives the same in its first forward, it is the one that
/// gives more of what follows; and it may be in all layers, where it is large enough to be seen only in some.
pub(super) fn prove(
    model: &Arc<Model>,
    dump: &Dump,
    tokens: (&[u32], &[usize]),
    findings: &mut Vec<Finding>,
    computes: (Precision, &Arithmetic),
) -> Result<Option<Proof>, dump::Error> {
    let Some(mut proof) = confirm(model, dump, tokens, findings, computes)? else { return Ok(None) };
    let ways =
        [in_another_way(findings).filter(|_| !proof.is_whole), in_all_layers(findings, model).filter(|_| proof.fails)];
    for others in ways.into_iter().flatten() {
        if let Some(other) = confirm(model, dump, tokens, &others, computes)?
            && other.agree > proof.agree
        {
            (*findings, proof) = (others, other);
        }
    }
    Ok(Some(proof))
}

/// The same findings with their first mistake made in all layers, where one change makes it in each.
fn in_all_layers(findings: &[Finding], model: &Model) -> Option<Vec<Finding>> {
    let first = |finding: &Finding| finding.suspects.first().filter(|suspect| suspect.edit.is_some()).cloned();
    let own = findings.iter().filter(|finding| finding.kind == Kind::Wrong).find_map(first)?;
    let layer = model.graph[*own.sites.first()?].layer?.cast_signed();
    let layers = 0..model.graph.layers().cast_signed();
    let moved = layers.map(|to| own.moved(model, to - layer)).filter(|moved| moved.edit == own.edit);
    let sites: BTreeSet<Site> = moved.flat_map(|moved| moved.sites).collect();
    let mut others = findings.to_vec();
    for finding in others.iter_mut().filter(|finding| finding.kind == Kind::Wrong) {
        for suspect in finding.suspects.iter_mut().filter(|suspect| suspect.id == own.id) {
            suspect.sites = sites.iter().copied().collect();
        }
    }
    (sites.len() > own.sites.len()).then_some(others)
}

/// The same findings with their first mistake made in another way, in all forwards.
fn in_another_way(findings: &[Finding]) -> Option<Vec<Finding>> {
    let wrong = |finding: &&Finding| finding.kind == Kind::Wrong;
    let first = |finding: &Finding| finding.suspects.first().and_then(suspects::in_another_way);
    let other = findings.iter().filter(wrong).find_map(first)?;
    let mut others = findings.to_vec();
    for finding in others.iter_mut().filter(|finding| finding.kind == Kind::Wrong) {
        if let Some(own) = finding.suspects.first().filter(|own| own.id == other.id) {
            let own = Accused { sites: own.sites.clone(), name: own.name.clone(), ..other.clone() };
            finding.suspects.retain(|suspect| suspect.id != other.id);
            finding.suspects.insert(0, own);
        }
    }
    Some(others)
}

/// Runs our engine with the suspects of `findings` switched on, and says what of the dump it reproduces. `None` where no
/// suspect has an op to switch on. `steps` are the tokens of each forward.
fn confirm(
    model: &Arc<Model>,
    dump: &Dump,
    (ids, steps): (&[u32], &[usize]),
    findings: &[Finding],
    (precision, arithmetic): (Precision, &Arithmetic),
) -> Result<Option<Proof>, dump::Error> {
    let wrong: Vec<&Finding> = findings.iter().filter(|finding| finding.kind == Kind::Wrong).collect();
    let (Some(first), false) = (wrong.first(), alterations(&wrong, 0).is_empty()) else { return Ok(None) };
    let other_layout = findings.iter().any(|finding| matches!(finding.harmless, Some(Harmless::Permuted(_))));
    let from = (first.step, first.site);
    let found = run(model, dump, (ids, steps), from, &wrong, (precision, arithmetic), other_layout)?;
    let is_whole = found.later > 0 && found.agree == found.later;
    // What follows a mistake that nobody knows proves nothing.
    let known = |finding: &&Finding| finding.suspects.first().is_some_and(|suspect| suspect.edit.is_some());
    let fails = wrong.iter().all(known) && found.fails();
    let sentence = found.sentence(&switched_on(&wrong, &model.graph), fails);
    Ok(Some(Proof { sentence, is_whole, fails, from, agree: found.agree }))
}

/// Findings without a mistake of their own that a run with the mistakes of others gives are no findings: forward and op of
/// each.
pub(super) fn explained(findings: &mut [Finding], proof: &Proof) -> Vec<(usize, Site)> {
    let mut gone = Vec::new();
    for finding in findings.iter_mut().filter(|_| proof.is_whole) {
        let made = finding.suspects.first().is_some_and(|suspect| suspect.edit.is_some());
        let later = (finding.step, finding.site) >= proof.from;
        if later && !made && finding.kind != Kind::Equivalent {
            finding.kind = Kind::Equivalent;
            finding.harmless = None;
            gone.push((finding.step, finding.site));
        }
    }
    gone
}

/// The mistakes of a forward. One that is found again in a later forward is made there as it is found there: positions
/// that are stuck are shifted by more each time.
fn alterations(wrong: &[&Finding], forward: usize) -> Vec<Alteration> {
    let mut made: Vec<&Accused> = Vec::new();
    for finding in wrong {
        let Some(suspect) = finding.suspects.first().filter(|suspect| suspect.edit.is_some()) else { continue };
        match made.iter_mut().find(|known| known.id == suspect.id && known.sites == suspect.sites) {
            Some(known) if finding.step <= forward => *known = suspect,
            Some(_) => {}
            None => made.push(suspect),
        }
    }
    let alteration =
        |suspect: &Accused| Some(Alteration { sites: Arc::from(&suspect.sites[..]), edit: suspect.edit.clone()? });
    made.into_iter().filter_map(alteration).collect()
}

fn run(
    model: &Arc<Model>,
    dump: &Dump,
    (ids, steps): (&[u32], &[usize]),
    from: (usize, Site),
    wrong: &[&Finding],
    (precision, arithmetic): (Precision, &Arithmetic),
    other_layout: bool,
) -> Result<Confirmation, dump::Error> {
    let (compute, graph) = (Compute::rounded(precision.rounding()), &model.graph);
    let start =
        |nudge| Run::with_compute(Arc::clone(model), &ids[..steps[0]], LogitRows::All, Compute { nudge, ..compute });
    let (mut right, mut altered, mut again): (Run, Run, Run) = (start(None), start(None), start(Some(1)));
    let mut found = Confirmation::default();
    let (mut fed, mut behind) = (0, false);
    for (forward, tokens) in steps.iter().enumerate() {
        if forward > 0 {
            for run in [&mut right, &mut altered, &mut again] {
                run.begin_forward(&ids[fed..fed + tokens]);
            }
        }
        for run in [&mut altered, &mut again] {
            run.alter(alterations(wrong, forward));
        }
        fed += tokens;
        while let Some(site) = altered.next() {
            for (run, nudge) in [(&mut right, None), (&mut altered, None), (&mut again, Some(1))] {
                run.set_compute(Compute { operands: arithmetic.of(graph.class(site)), nudge, ..compute });
                run.step();
            }
            behind |= (forward, site) == from;
            // Queries and keys in another layout are not compared: what is made of them is.
            if !behind || (other_layout && is_query_or_key(site, graph)) {
                continue;
            }
            let Some(dumped) = dump.read(forward, site, None)? else { continue };
            let node = &graph[site];
            let seen = |part: Part| Part { values: seen(node, part.values), ..part };
            let dumped = seen(dumped.part);
            let whole = |run: &Run| Some(seen(Part::whole(run.get(site)?.clone(), node, *tokens)));
            let apart = |a: &Part, b: &Part| {
                let (comparison, ..) = compare_parts(site, graph, fed - tokens, a, b)?;
                Some(comparison.error)
            };
            let (Some(ours), Some(other), Some(plain)) = (whole(&altered), whole(&again), whole(&right)) else {
                continue;
            };
            let (Some(error), Some(noise)) = (apart(&dumped, &ours), apart(&other, &ours)) else { continue };
            found.later += 1;
            found.agree += usize::from(error <= allowed(noise, precision));
            if graph.logits() == Some(site) {
                found.logits = apart(&dumped, &plain).map(|before| (before, error));
            }
        }
    }
    Ok(found)
}

/// Scores that a mistaken mask hides have no size: all of them are the same.
fn seen(node: &Node, mut values: Value) -> Value {
    const HIDDEN: f32 = -1e4;
    if node.op.facts().keyed == Keyed::Scores {
        values.mapv_inplace(|v| if v <= HIDDEN { HIDDEN } else { v });
    }
    values
}

/// Over many layers two correct programs differ by more than two draws of one do.
fn allowed(noise: f64, precision: Precision) -> f64 {
    8.0 * noise.max(precision.unit())
}

/// `rope_interleaved in layers 0-2`, and what else there is.
fn switched_on(wrong: &[&Finding], graph: &Graph) -> String {
    let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for finding in wrong {
        if let Some(suspect) = finding.suspects.first().filter(|suspect| suspect.edit.is_some()) {
            places.entry(suspect.id).or_default().extend(suspect.sites.iter().filter_map(|site| graph[*site].layer));
        }
    }
    let place = |(id, mut layers): (&str, Vec<usize>)| {
        layers.sort_unstable();
        layers.dedup();
        match layers.len() {
            0 => id.to_string(),
            1 => format!("{id} in layer {}", layers[0]),
            _ => format!("{id} in layers {}", ranges(&layers)),
        }
    };
    places.into_iter().map(place).collect::<Vec<_>>().join(" and ")
}

impl Confirmation {
    /// Whether the mistakes explain next to nothing of what follows, and bring the logits no nearer.
    fn fails(&self) -> bool {
        let is_nearer = self.logits.is_some_and(|(before, after)| after < 0.5 * before);
        2 * self.agree < self.later && !is_nearer
    }

    fn sentence(&self, on: &str, fails: bool) -> String {
        let Self { later, agree, .. } = self;
        if fails {
            let logits = self.logits.map_or_else(String::new, |(before, after)| {
                format!(": its logits are {after:.1e} away, {before:.1e} without")
            });
            return format!(
                "{on} is not proved: switched on, our engine gives {agree} of {later} activations from there on{logits}"
            );
        }
        let all = if agree == later { format!("all {later}") } else { format!("only {agree} of {later}") };
        let logits = self.logits.map_or_else(String::new, |(before, after)| {
            format!("; its logits are {after:.1e} away, {before:.1e} without")
        });
        format!("with {on} switched on, our engine gives {all} activations from there on{logits}")
    }
}
