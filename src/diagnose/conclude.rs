//! From findings to a verdict: which belong together, whose they are, and one sentence.

use std::sync::atomic::AtomicBool;

use super::finding::{Finding, Harmless, Kind};
use super::precision::Precision;
use super::report::{ActivationRow, Culprit, Divergence, Status, Verdict};
use super::span::key;
use super::suspects::search::{Accused, search};
use super::witnesses::{CANDIDATE, REFERENCE};
use crate::engine::Activation;

/// The verdict, its sentence, and every independent divergence in program order.
pub(super) fn conclude(
    found: &[Vec<Finding>; 2],
    shared: &[[usize; 2]],
    precisions: [Option<Precision>; 2],
    hidden_arithmetic: bool,
    compared: usize,
    rows: &[ActivationRow],
) -> (Verdict, String, Vec<Divergence>) {
    let both = precisions.iter().flatten().count() == 2;
    let ours = |role: usize, index: usize| both && shared.iter().any(|pair| pair[role] == index);
    let mut found: Vec<(usize, &Finding)> = [REFERENCE, CANDIDATE]
        .into_iter()
        .flat_map(|role| found[role].iter().enumerate().map(move |(index, finding)| (role, index, finding)))
        .filter(|(role, index, finding)| finding.kind != Kind::Equivalent && !ours(*role, *index))
        .map(|(role, _, finding)| (role, finding))
        .collect();
    let place = |row: &str| rows.iter().position(|known| known.name == row).unwrap_or(usize::MAX);
    found.sort_by_key(|(_, finding)| place(&key(finding.site, finding.step)));
    let divergences = merged(&found);
    let whose = |culprit: Culprit| match culprit {
        Culprit::Unknown => String::new(),
        culprit => format!("{}: ", culprit.name()),
    };
    if let Some((first, verdict)) = divergences
        .iter()
        .find(|(_, kind)| *kind == Kind::Wrong)
        .map(|(d, _)| (d, Verdict::Diverged))
        .or_else(|| {
            divergences.iter().find(|(_, kind)| *kind == Kind::Mislabelled).map(|(d, _)| (d, Verdict::Mislabelled))
        })
        .or_else(|| divergences.first().map(|(d, _)| (d, Verdict::Inconclusive)))
    {
        let sentence = format!("{}{}", whose(first.culprit), first.summary);
        return (verdict, sentence, divergences.into_iter().map(|(divergence, _)| divergence).collect());
    }
    if compared == 0 {
        let sentence = "no activation could be compared: the two sides have none in common";
        return (Verdict::Inconclusive, sentence.into(), Vec::new());
    }
    let plain = |row: &&ActivationRow| !matches!(row.status, Status::Missing | Status::Equivalent);
    let largest = rows.iter().filter(plain).map(|row| row.error).fold(0.0, f64::max);
    let coarsest = precisions.into_iter().flatten().max().unwrap_or(Precision::F32);
    let equivalent = rows.iter().filter(|row| row.status == Status::Equivalent).count();
    let mut sentence = match coarsest {
        Precision::F32 => format!("{compared} activations agree: largest error {largest:.1e}"),
        coarse => {
            format!("{compared} activations agree as far as {} allows: largest error {largest:.1e}", coarse.name())
        }
    };
    if equivalent > 0 {
        let words = format!("; {equivalent} of them stand in another layout, which changes nothing");
        sentence.push_str(&words);
    }
    if hidden_arithmetic {
        sentence += "; products are rounded as the notes say";
    }
    let verdict = if coarsest == Precision::F32 && equivalent == 0 && !hidden_arithmetic {
        Verdict::Match
    } else {
        Verdict::Rounding
    };
    (verdict, sentence, Vec::new())
}

/// What is harmless, one line for each kind.
pub(super) fn harmless(findings: &[Finding]) -> Vec<String> {
    let mut kinds: Vec<(Harmless, Vec<&Finding>)> = Vec::new();
    for finding in findings.iter().filter(|finding| finding.kind == Kind::Equivalent) {
        let Some(harmless) = finding.harmless else { continue };
        match kinds.iter_mut().find(|(kind, _)| *kind == harmless) {
            Some((_, of_kind)) => of_kind.push(finding),
            None => kinds.push((harmless, vec![finding])),
        }
    }
    let line = |(harmless, findings): (Harmless, Vec<&Finding>)| {
        let first = key(findings[0].site, findings[0].step);
        let which = match findings.len() {
            1 => first,
            more => format!("{first} and {} more", more - 1),
        };
        match harmless {
            Harmless::Permuted(pairs) => format!("{which}: {}, and what follows agrees", pairs.describe()),
            Harmless::Unmasked => format!("{which}: from before the mask, and what follows agrees"),
            Harmless::Unnormed => format!("{which}: the last hidden state is from before the final norm here"),
            Harmless::CoarseWeights => format!("{which}: as far off as weights of fewer bits make it"),
            Harmless::LowPrecision => format!("{which}: as far off as the products' rounding makes it"),
        }
    };
    kinds.into_iter().map(line).collect()
}

/// One cause over many layers or steps is one entry: findings of one kind in the same op.
fn merged(found: &[(usize, &Finding)]) -> Vec<(Divergence, Kind)> {
    let mut merged: Vec<((usize, Kind, Activation), Divergence)> = Vec::new();
    for (role, finding) in found {
        let what = (*role, finding.kind, family(finding.site.activation));
        if let Some((_, divergence)) = merged.iter_mut().find(|(known, _)| *known == what) {
            if let Some(layer) = finding.site.in_layer().filter(|layer| !divergence.layers.contains(layer)) {
                divergence.layers.push(layer);
            }
            continue;
        }
        merged.push((
            what,
            Divergence { suspects: suspects(finding, &AtomicBool::new(false)), ..divergence(*role, finding) },
        ));
    }
    let mut merged: Vec<(Divergence, Kind)> =
        merged.into_iter().map(|((_, kind, _), divergence)| (divergence, kind)).collect();
    prefer_whole_layers(&mut merged);
    merged
}

/// A norm with the weight of another layer's norm, in a layer whose matrices are another layer's, too, has it for the
/// same reason.
fn prefer_whole_layers(divergences: &mut [(Divergence, Kind)]) {
    const WHOLE: &str = "wrong_layer_weight";
    let layers: Vec<Option<usize>> = divergences
        .iter()
        .filter(|(divergence, _)| divergence.suspects.first().is_some_and(|suspect| suspect.id == WHOLE))
        .map(|(divergence, _)| divergence.layer)
        .collect();
    for (divergence, _) in divergences.iter_mut().filter(|(divergence, _)| layers.contains(&divergence.layer)) {
        if let Some(at) = divergence.suspects.iter().position(|suspect| suspect.id == WHOLE) {
            divergence.suspects[..=at].rotate_right(1);
        }
    }
}

/// Which mistakes make the tensor.
pub(super) fn suspects(finding: &Finding, interrupt: &AtomicBool) -> Vec<Accused> {
    match (&finding.kind, &finding.scene) {
        (Kind::Wrong | Kind::Open, Some(scene)) if finding.suspects.is_empty() => search(scene, interrupt),
        (Kind::Wrong | Kind::Open | Kind::Mislabelled, _) => finding.suspects.clone(),
        _ => Vec::new(),
    }
}

/// Ops that share their code in any engine: a mistake in one is in the other.
fn family(activation: Activation) -> Activation {
    match activation {
        Activation::KRope => Activation::QRope,
        Activation::KNorm => Activation::QNorm,
        other => other,
    }
}

fn divergence(role: usize, finding: &Finding) -> Divergence {
    let name = key(finding.site, finding.step);
    let noise = &finding.noise;
    let mut summary = match (finding.kind, finding.label) {
        (Kind::Mislabelled, Some(label)) => {
            format!("{name} is not what its name says: its values are those of {}", key(label, finding.step))
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
    // Scores from before the mask differ only where the mask hides, which is not compared.
    if finding.harmless != Some(Harmless::Unmasked) {
        let size = format!(": error {:.1e}, {} times the noise", noise.local_error, times(noise.ratio()));
        summary.push_str(&size);
    }
    let place = finding.place();
    if !place.is_empty() {
        summary.push_str("; ");
        summary.push_str(&place);
    }
    Divergence {
        name,
        layers: finding.site.in_layer().into_iter().collect(),
        layer: finding.site.in_layer(),
        step: finding.step,
        token: finding.rows.first().copied().or(Some(finding.tokens.start)),
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

/// `0.8`, `31`, `2.6e6`.
pub fn times(ratio: f64) -> String {
    match ratio {
        ratio if ratio < 10.0 => format!("{ratio:.1}"),
        ratio if ratio < 10_000.0 => format!("{ratio:.0}"),
        ratio => format!("{ratio:.1e}"),
    }
}
