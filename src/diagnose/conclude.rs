//! From findings to a verdict: which belong together, whose they are, and one sentence.

use std::sync::atomic::AtomicBool;

use super::exchange::say_once;
use super::finding::{Finding, Harmless, Kind};
use super::harmless::ties;
use super::nonfinite::NonFinite;
use super::precision::Precision;
use super::report::{ActivationRow, Culprit, Divergence, Status, Verdict};
use super::suspects::search::Accused;
use super::suspects::search::find;
use super::witnesses::{CANDIDATE, REFERENCE};
use crate::engine::{Class, Graph, Product};

/// What is said where nothing was compared.
pub(super) const NOTHING: &str = "no activation could be compared: the two sides have none in common";

/// An error of this size is no agreement, whatever explains it.
const AGREES: f64 = 0.05;

/// What is said where all is well.
pub(super) fn agreement(compared: usize, coarsest: Precision, largest: f64) -> String {
    if largest > AGREES {
        let are = if compared == 1 { "activation is" } else { "activations are" };
        return format!("{compared} {are} as far off as rounding makes them: largest error {largest:.1e}");
    }
    let allowed = match coarsest {
        Precision::F32 => String::new(),
        coarse => format!(" as far as {} allows", coarse.name()),
    };
    let agree = if compared == 1 { "activation agrees" } else { "activations agree" };
    format!("{compared} {agree}{allowed}: largest error {largest:.1e}")
}

/// Which of several findings decides: a wrong value before a wrong name, and that before what nothing settles.
pub(super) fn deciding<F>(found: &[F], kind: impl Fn(&F) -> Kind) -> Option<(usize, Verdict)> {
    let first = |wanted| found.iter().position(|finding| kind(finding) == wanted);
    let wrong = first(Kind::Wrong).map(|index| (index, Verdict::Diverged));
    let named = || first(Kind::Mislabelled).map(|index| (index, Verdict::Mislabelled));
    wrong.or_else(named).or_else(|| (!found.is_empty()).then_some((0, Verdict::Inconclusive)))
}

/// One cause over many layers or steps is one entry: findings with one key are that of the first.
pub(super) fn merged<F, K: PartialEq>(
    found: &[F],
    key: impl Fn(&F) -> Option<K>,
    entry: impl Fn(&F) -> Divergence,
) -> Vec<(&F, Divergence)> {
    let mut merged: Vec<(&F, Divergence)> = Vec::new();
    for finding in found {
        let (own, divergence) = (key(finding), entry(finding));
        match merged.iter_mut().find(|(known, _)| own.is_some() && key(known) == own) {
            Some((_, known)) => {
                known.layers.extend(divergence.layers.first().filter(|layer| !known.layers.contains(layer)).copied());
            }
            None => merged.push((finding, divergence)),
        }
    }
    merged
}

/// What is known of a comparison beside its findings.
pub(super) struct Beside<'a> {
    /// What most tensors of each dump were computed in.
    pub(super) precisions: [Option<Precision>; 2],
    /// What was recognised of weights and products, in words.
    pub(super) hidden: Option<&'a str>,
    /// Tokens that the two sides give other experts, each as its own logits say.
    pub(super) flips: usize,
}

/// The verdict, its sentence, and every independent divergence in program order.
pub(super) fn conclude(
    found: &[Vec<Finding>; 2],
    shared: &[[usize; 2]],
    beside: &Beside,
    compared: usize,
    rows: &[ActivationRow],
    graph: &Graph,
) -> (Verdict, String, Vec<Divergence>) {
    let Beside { precisions, hidden, flips } = *beside;
    let both = precisions.iter().flatten().count() == 2;
    let ours = |role: usize, index: usize| both && shared.iter().any(|pair| pair[role] == index);
    let ties: usize = found.iter().flatten().map(|finding| ties(&[finding]).len()).sum::<usize>() + flips;
    let mut found: Vec<(usize, &Finding)> = [REFERENCE, CANDIDATE]
        .into_iter()
        .flat_map(|role| found[role].iter().enumerate().map(move |(index, finding)| (role, index, finding)))
        .filter(|(role, index, finding)| finding.kind != Kind::Equivalent && !ours(*role, *index))
        .map(|(role, _, finding)| (role, finding))
        .collect();
    let place = |row: &str| rows.iter().position(|known| known.name == row).unwrap_or(usize::MAX);
    found.sort_by_key(|(_, finding)| place(&graph.key(finding.site, finding.step)));
    let divergences = by_cause(&found, graph);
    if let Some((index, verdict)) = deciding(&divergences, |(_, kind)| *kind) {
        // What decides is told first, and is the first divergence everywhere.
        let mut divergences: Vec<Divergence> = divergences.into_iter().map(|(divergence, _)| divergence).collect();
        divergences[..=index].rotate_right(1);
        return (verdict, divergences[0].head(), divergences);
    }
    if compared == 0 {
        return (Verdict::Inconclusive, NOTHING.into(), Vec::new());
    }
    let largest = rows.iter().filter_map(ActivationRow::weight).fold(0.0, f64::max);
    let coarsest = precisions.into_iter().flatten().max().unwrap_or(Precision::F32);
    let equivalent = rows.iter().filter(|row| row.status == Status::Equivalent).count();
    let mut sentence = agreement(compared, coarsest, largest);
    if equivalent > 0 {
        let words = format!("; {equivalent} of them stand in another layout, which changes nothing");
        sentence.push_str(&words);
    }
    if let Some(words) = hidden {
        sentence += "; ";
        sentence += words;
    }
    match ties {
        0 => {}
        1 => sentence += "; one token is given other experts, which is a tie",
        more => {
            let words = format!("; {more} times a token is given other experts, which is a tie");
            sentence.push_str(&words);
        }
    }
    let rounded = rows.iter().any(|row| row.status == Status::Rounding);
    let verdict = if coarsest == Precision::F32 && equivalent == 0 && hidden.is_none() && ties == 0 && !rounded {
        Verdict::Match
    } else {
        Verdict::Rounding
    };
    (verdict, sentence, Vec::new())
}

/// The first sentence, once the proof of some sides' mistakes has `failed`: a mistake that makes a tensor, and not what
/// follows, names nothing.
pub(super) fn refuted(sentence: String, divergences: &mut [Divergence], failed: &[&str]) -> String {
    for divergence in divergences.iter_mut().filter(|divergence| failed.contains(&divergence.culprit.name())) {
        divergence.suspects.iter_mut().for_each(|suspect| suspect.refuted = suspect.edit.is_some());
    }
    divergences.first().filter(|_| !failed.is_empty()).map_or(sentence, Divergence::head)
}

/// Findings of one kind in the same op have one cause.
fn by_cause(found: &[(usize, &Finding)], graph: &Graph) -> Vec<(Divergence, Kind)> {
    // Ops that share their code in any engine, and have no matrices of their own: a mistake in one is in the other.
    let class = |finding: &Finding| match graph.class(finding.site) {
        Class::Role(role) if graph[finding.site].op.facts().product == Product::No => Class::Role(role.of_queries()),
        other => other,
    };
    // Over spans, one op stands for many.
    let cause = |finding: &Finding| {
        let first = finding.suspects.first().map_or("unknown", |suspect| suspect.id);
        (!finding.exact && finding.kind == Kind::Wrong).then_some(first)
    };
    let key = |(role, finding): &(usize, &Finding)| {
        Some((*role, finding.kind, class(finding), cause(finding), finding.nonfinite.is_some()))
    };
    let entries = merged(found, key, |(role, finding)| divergence(*role, finding, graph)).into_iter();
    let with_suspects = |((_, finding), divergence): (&(usize, &Finding), Divergence)| {
        (Divergence { suspects: suspects(finding, &AtomicBool::new(false)), ..divergence }, finding.kind)
    };
    let mut merged: Vec<(Divergence, Kind)> = entries.map(with_suspects).collect();
    prefer_whole_layers(&mut merged);
    say_once(&mut merged, found, graph);
    merged
}

/// A norm with the weight of another layer's norm, in a layer whose matrices are another layer's, too, has it for the
/// same reason.
fn prefer_whole_layers(divergences: &mut [(Divergence, Kind)]) {
    const WHOLE: &str = "wrong_layer_weight";
    let layers: Vec<Option<usize>> = divergences
        .iter()
        .filter(|(divergence, _)| divergence.suspects.first().is_some_and(|suspect| suspect.id == WHOLE))
        .map(|(divergence, _)| divergence.layer())
        .collect();
    for (divergence, _) in divergences.iter_mut().filter(|(divergence, _)| layers.contains(&divergence.layer())) {
        if let Some(at) = divergence.suspects.iter().position(|suspect| suspect.id == WHOLE) {
            divergence.suspects[..=at].rotate_right(1);
        }
    }
}

/// Which mistakes make the tensor.
pub(super) fn suspects(finding: &Finding, interrupt: &AtomicBool) -> Vec<Accused> {
    match (&finding.kind, &finding.scene) {
        (Kind::Wrong | Kind::Open, Some(scene)) if finding.suspects.is_empty() => find(scene, interrupt),
        (Kind::Wrong | Kind::Open | Kind::Mislabelled, _) => finding.suspects.clone(),
        _ => Vec::new(),
    }
}

fn divergence(role: usize, finding: &Finding, graph: &Graph) -> Divergence {
    let name = graph.key(finding.site, finding.step);
    let noise = &finding.noise;
    let mut summary = match (finding.kind, finding.label) {
        (Kind::Mislabelled, Some(label)) => {
            format!("{name} is not what its name says: its values are those of {}", graph.key(label, finding.step))
        }
        (Kind::Mislabelled, None) => {
            format!("{name} is not what its name says: what follows was computed from the right value")
        }
        (Kind::Unsettled, _) => format!(
            "{name} is as far off as low-precision products make it, or as a mistake of that size: dump more activations"
        ),
        _ if finding.exact => format!("{name} is not what its own inputs give"),
        _ => {
            let from = finding.last_good.as_deref().unwrap_or("the start");
            format!("{name} is not what {from} gives: the error is made between them")
        }
    };
    let mut layers: Vec<usize> = graph[finding.site].layer.into_iter().collect();
    if let Some((words, of)) = &finding.instead {
        summary.clone_from(words);
        layers.extend(of.iter().filter(|layer| !layers.contains(layer)).copied().collect::<Vec<usize>>());
    } else if let Some(found) = &finding.nonfinite {
        summary = nonfinite(found, finding, graph);
    }
    // Scores from before the mask differ only where the mask hides, which is not compared.
    else if finding.harmless != Some(Harmless::Unmasked) && noise.finite_score > 1.0 {
        let (error, floor) = noise.telling();
        let size = format!(": error {error:.1e}, {} times the noise", times(error / floor));
        summary.push_str(&size);
        summary.push_str(&finding.group());
    }
    let place = finding.place();
    let told = finding.instead.is_some() || (finding.nonfinite.is_some() && finding.rows.len() == 1);
    if !place.is_empty() && !told {
        summary.push_str("; ");
        summary.push_str(&place);
    }
    Divergence {
        name,
        layers,
        token: finding
            .nonfinite
            .as_ref()
            .map_or_else(|| finding.rows.first().copied(), |found| found.at.token)
            .or(Some(finding.tokens.start)),
        nonfinite: finding.nonfinite.clone(),
        last_good: finding.last_good.clone(),
        exact: finding.exact,
        culprit: if finding.kind == Kind::Unsettled {
            Culprit::Unknown
        } else if role == REFERENCE {
            Culprit::Reference
        } else {
            Culprit::Candidate
        },
        summary,
        suspects: Vec::new(),
    }
}

/// The first element that is not finite, what it should be, and what else is known.
fn nonfinite(found: &NonFinite, finding: &Finding, graph: &Graph) -> String {
    let first = found.describe(&graph.key(finding.site, finding.step));
    if finding.kind == Kind::Mislabelled {
        return format!(
            "first non-finite: {first}; what follows was computed from the right value: the dump is damaged there, not \
             the engine"
        );
    }
    let mut words = format!("first non-finite: {first}");
    if finding.noise.finite > 0 && !found.rest_is_right {
        let size = format!(
            "; what is finite is off, too: error {:.1e}, {} times the noise",
            finding.noise.telling().0,
            times(finding.noise.telling().0 / finding.noise.telling().1)
        );
        words.push_str(&size);
    }
    words
}

/// `0.8`, `31`, `2.6e6`.
pub fn times(ratio: f64) -> String {
    match ratio {
        ratio if ratio < 10.0 => format!("{ratio:.1}"),
        ratio if ratio < 10_000.0 => format!("{ratio:.0}"),
        ratio => format!("{ratio:.1e}"),
    }
}
