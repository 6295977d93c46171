//! Whether a dump's engine has weights of fewer bits: what it has is then compared with what these give, and of a mistake that
//! it has as well, the rest is said.

use std::sync::Arc;

use super::arithmetic::{Fit, is_kept_fine, is_projection};
use super::fewer::{Fewer, given, matrices};
use super::finding::{Finding, Harmless, Kind};
use super::noise::Expected;
use super::part::{Part, compare_parts};
use super::report::ActivationRow;
use super::scheme::Scheme;
use super::trail::{Look, Trail};
use crate::dump;
use crate::engine::{LogitRows, Op, Run, Site, Value};
use crate::model::Model;

/// Weights that are rounded at most: 4 GiB of them in f32.
const MOST: usize = 1 << 30;

/// Rounding errors of two formats have nothing in common: of an error that one makes, its own format leaves next to nothing,
/// and no more than this where activations are rounded as well.
const LEFT: f64 = 0.8;

/// What is left where the format is exactly this one: nearly all that others leave is a number of the next step here and there.
const EXACT: f64 = 2e-3;

/// What is left where the format is this one, and some numbers are that of the next step.
const CLOSE: f64 = 0.4;

/// How far the size of an error may be from what the bits of a format make.
const APART: f64 = 8.0;

/// Which weights make the first tensor of a dump that is not what the model's own give; `None` where no known format does.
fn recognised(trail: &Trail, ids: &[u32], site: Site, part: &Part) -> Option<Fewer> {
    let (model, node) = (&trail.model, &trail.model.graph[site]);
    let exact = given(Arc::clone(model), ids, site, None)?;
    let exact = exact.mapv(f64::from).into_shared();
    let expected = Expected { exact: &exact, draws: &[], more: &[] };
    let mut best: Option<(Fewer, Fit)> = None;
    let mut weigh = |fewer: Fewer| -> Option<f64> {
        let found = Fit::of(part, expected, &fewer.gives(model, ids, site)?, node)?;
        if found.is_of_size(APART) && best.is_none_or(|(_, known)| found.left() < known.left()) {
            best = Some((fewer, found));
        }
        Some(found.left())
    };
    for scheme in Scheme::known() {
        // The embedding may be in fewer bits or not: the one that leaves less is right.
        for whole in [false, true] {
            let left = weigh(Fewer { scheme, whole }).unwrap_or(f64::INFINITY);
            if (EXACT..CLOSE).contains(&left) {
                scheme.written_otherwise().for_each(|scheme| _ = weigh(Fewer { scheme, whole }));
            }
        }
    }
    best.filter(|(_, fit)| fit.left() < LEFT).map(|(fewer, _)| fewer)
}

/// Whether weights of fewer bits may be why a finding, the first of a trail, is none: no product before it was in order.
fn may_be(trail: &Trail, first: &Finding) -> bool {
    let graph = &trail.model.graph;
    let product = graph.sites().find(|site| is_projection(&graph[*site].op));
    let mut before = graph.sites().skip_while(|site| Some(*site) != product).take_while(|site| *site < first.site);
    let plain = matches!(first.harmless, None | Some(Harmless::CoarseWeights | Harmless::LowPrecision));
    plain && first.step == 0 && first.nonfinite.is_none() && !before.any(|site| trail.dump.planned(0, site).is_some())
}

/// Whether its engine has weights of fewer bits than the model's.
pub(super) fn has_fewer_bits(trail: &Trail) -> bool {
    trail.fewer.is_some() || trail.coarse.describe(&trail.model.graph).is_some()
}

/// What no tensor shows of how its engine computes; in words.
pub(super) fn hidden(trail: &Trail) -> Option<String> {
    let arithmetic = || !trail.arithmetic().describe(&trail.model.graph).is_empty() || has_fewer_bits(trail);
    let weights = trail.fewer.map(|fewer| format!("its weights are in {}", fewer.scheme.describe()));
    weights.or_else(|| arithmetic().then(|| "products are rounded as the notes say".into()))
}

/// At the first finding of a dump: the dump followed with weights of fewer bits through `at`, if these make its tensor, and
/// what it has there.
pub(super) fn with_fewer_bits(
    trail: &Trail,
    ids: &[u32],
    at: Site,
    look: &Look,
) -> Result<Option<(Trail, Look)>, dump::Error> {
    let (model, Some(first)) = (&trail.model, trail.findings().first()) else { return Ok(None) };
    let weights = |params: Vec<usize>| -> usize {
        let tensors = params.iter().flat_map(|param| model.matrices_at(*param));
        tensors.map(|tensor| tensor.shape.iter().product::<usize>()).sum()
    };
    if !may_be(trail, first) || weights(matrices(&model.graph, None, true)) > MOST {
        return Ok(None);
    }
    let fewer = look.part.as_ref().and_then(|part| recognised(trail, ids, at, part));
    let Some(fewer) = fewer else { return Ok(None) };
    let mut other = Trail::new(&Arc::new(fewer.of(model, None)), &trail.dump, ids, trail.is_reference)?;
    other.fewer = Some(fewer);
    while let Some((site, found)) = other.step()? {
        if site == at {
            let explained = other
                .findings()
                .iter()
                .all(|finding| finding.kind == Kind::Equivalent && finding.harmless != Some(Harmless::CoarseWeights));
            return Ok(explained.then_some((other, found)));
        }
    }
    Ok(None)
}

/// Tensors that must be as far off as weights of fewer bits make them: fewer could as well hold a mistake.
const ENOUGH: usize = 3;

/// Errors of two formats of as many bits are alike within this factor, in any tensor.
const ALIKE: f64 = 4.0;

/// Weights of hardly any bits make no larger error.
const LARGEST: f64 = 0.35;

/// Of what is off by itself, the least is no more than so many times smaller than the first.
const APART_EACH: f64 = 16.0;

/// How many bits weights have, and in how many tensors it shows, if all of the prefill is as far off as these make it, though
/// no known format makes these numbers.
fn unknown_format(
    trail: &Trail,
    ids: &[u32],
    first: Site,
    rows: &[ActivationRow],
) -> Result<Option<(u32, usize)>, dump::Error> {
    let (model, graph) = (&trail.model, &trail.model.graph);
    let Ok(eight) = Scheme::parse("int8:32") else { return Ok(None) };
    let apart = |site: Site, a: &Part, b: &Value<f32>| {
        let whole = Part::whole(b.clone(), &graph[site], ids.len());
        compare_parts(site, graph, 0, a, &whole).map(|(found, ..)| found.error)
    };
    let dumped = |site: Site, ours: &Value<f32>| -> Result<Option<Part>, dump::Error> {
        let Some(planned) = trail.dump.planned(0, site) else { return Ok(None) };
        let unclear = planned.is_ambiguous() || planned.is_partial();
        Ok(trail.dump.read(0, site, unclear.then(|| ours.view()))?.map(|aligned| aligned.part))
    };
    let start = |model: &Arc<Model>| -> Run { Run::new(Arc::clone(model), ids, LogitRows::All) };
    // Whether the rows of the embedding are rounded, too, shows where they are dumped: it hardly matters elsewhere.
    let embeds = matches!(graph[first].op, Op::Embed { .. });
    let exact = given(Arc::clone(model), ids, first, None);
    let rounded = Fewer { scheme: eight, whole: embeds }.gives(model, ids, first);
    let (Some(exact), Some(rounded)) = (exact, rounded) else { return Ok(None) };
    let Some(part) = dumped(first, &exact)? else { return Ok(None) };
    let whole = Part::whole(rounded, &graph[first], ids.len());
    let (Some(own), Some(of_eight)) = (apart(first, &part, &exact), apart(first, &whole, &exact)) else {
        return Ok(None);
    };
    let bits = 8.0 - (own / of_eight).log2().round();
    if own > LARGEST || !(2.0..=8.0).contains(&bits) {
        return Ok(None);
    }
    let Ok(scheme) = Scheme::parse(&format!("int{bits}:32")) else { return Ok(None) };
    let rounded = Arc::new(Fewer { scheme, whole: embeds }.of(model, None));
    let (mut exact, mut rounded, mut tensors) = (start(model), start(&rounded), 0);
    let (mut has_product, mut least) = (false, None);
    while let (Some(site), Some(_)) = (exact.step(), rounded.step()) {
        has_product |= is_projection(&graph[site].op) && !is_kept_fine(site, graph);
        let (Some(ours), Some(theirs)) = (exact.get(site), rounded.get(site)) else { continue };
        let Some(part) = dumped(site, ours)? else { continue };
        let theirs = Part::whole(theirs.clone(), &graph[site], ids.len());
        let (Some(own), Some(made)) = (apart(site, &part, ours), apart(site, &theirs, ours)) else { continue };
        // A head in more bits than the rest, and what chooses, are less off.
        let kept_fine = is_kept_fine(site, graph);
        if !(own <= ALIKE * made && (kept_fine || made <= ALIKE * own)) {
            return Ok(None);
        }
        // What only follows from an error is none of its own: a mistake of one layer.
        if std::mem::take(&mut has_product) {
            let Some(local) = rows.get(site.index()).and_then(|row| row.local) else { return Ok(None) };
            if local.error < local.floor || local.error < *least.get_or_insert(local.error / APART_EACH) {
                return Ok(None);
            }
        }
        tensors += usize::from(own > 0.0);
    }
    Ok(Some((bits as u32, tensors)).filter(|(_, tensors)| *tensors >= ENOUGH))
}

/// Findings that nothing explains, of a dump that is as far off everywhere as weights of fewer bits make it: it may have
/// these, or a mistake of that size. `findings` are this trail's, with what is known of them; `ids` are those of the prefill,
/// and `rows` those of the comparison, which begins with it.
pub(super) fn unsettle(trail: &mut Trail, findings: &mut [Finding], ids: &[u32], rows: &[ActivationRow]) {
    let open = |finding: &&Finding| finding.kind != Kind::Equivalent;
    let known = |finding: &Finding| finding.suspects.iter().any(|suspect| suspect.edit.is_some());
    let unknown = findings.iter().any(|finding| open(&finding)) && !findings.iter().filter(open).any(known);
    let is_alike = |first: &&Finding| {
        // Rounded weights reach every row, and what has a name of its own has another reason.
        first.kind != Kind::Mislabelled && first.instead.is_none() && first.rows.len() == first.judged.len()
    };
    let first = findings.first().filter(|first| unknown && trail.fewer.is_none() && may_be(trail, first));
    let Some(first) = first.filter(is_alike) else { return };
    // What could be read before can be read again; if not, the findings stay.
    let Ok(Some((bits, tensors))) = unknown_format(trail, ids, first.site, rows) else { return };
    let words = format!(
        "all {tensors} tensors are as far off as weights of about {bits} bits make them, or as a mistake of that size: \
         give --model the weights that the engine has"
    );
    for findings in [&mut trail.findings[..], findings] {
        let mut first = true;
        for finding in findings.iter_mut().filter(|finding| finding.kind != Kind::Equivalent) {
            finding.suspects.clear();
            finding.scene = None;
            if std::mem::take(&mut first) {
                finding.kind = Kind::Unsettled;
                finding.instead = Some((words.clone(), Vec::new()));
            } else {
                (finding.kind, finding.harmless) = (Kind::Equivalent, Some(Harmless::CoarseWeights));
            }
        }
    }
}
