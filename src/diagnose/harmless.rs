//! What was found and is not wrong, in words.

use super::finding::{Finding, Harmless, Kind};
use super::tie::Tie;
use crate::engine::{Graph, Op, Site};

/// What is harmless, one line for each kind.
pub(super) fn harmless(findings: &[Finding], graph: &Graph) -> Vec<String> {
    let mut kinds: Vec<(Harmless, Vec<&Finding>)> = Vec::new();
    for finding in findings.iter().filter(|finding| finding.kind == Kind::Equivalent) {
        let Some(harmless) = finding.harmless else { continue };
        let alike =
            |kind: Harmless| kind == harmless || matches!((kind, harmless), (Harmless::Tie(_), Harmless::Tie(_)));
        match kinds.iter_mut().find(|(kind, _)| alike(*kind)) {
            Some((_, of_kind)) => of_kind.push(finding),
            None => kinds.push((harmless, vec![finding])),
        }
    }
    let line = |(harmless, findings): (Harmless, Vec<&Finding>)| {
        let first = graph.key(findings[0].site, findings[0].step);
        let which = match findings.len() {
            1 => first,
            more => format!("{first} and {} more", more - 1),
        };
        match harmless {
            Harmless::Permuted(pairs) => format!("{which}: {}, and what follows agrees", pairs.describe()),
            Harmless::Unmasked => format!("{which}: from before the mask, and what follows agrees"),
            Harmless::Folded if matches!(graph[findings[0].site].op, Op::Scores(_)) => {
                format!("{which}: from before the scale of the scores, and what follows agrees")
            }
            Harmless::Folded if !matches!(graph[findings[0].site].op, Op::Norm { .. }) => {
                format!("{which}: carries the scale of the scores, or its root, and what follows agrees")
            }
            Harmless::Folded => format!(
                "{which}: each channel is off by a factor of its own, and what follows agrees: a scale folded into the \
                 weights that read it"
            ),
            Harmless::Unnormed => format!("{which}: the last hidden state is from before the final norm here"),
            Harmless::CoarseWeights => format!("{which}: as far off as weights of fewer bits make it"),
            Harmless::LowPrecision => format!("{which}: as far off as the products' rounding makes it"),
            Harmless::Tie(tie) => {
                let more = ties(&findings).len().saturating_sub(1);
                format!("{}, within the noise {:.1e}{}", tied(graph, findings[0].site, &tie), tie.noise, and_more(more))
            }
        }
    };
    kinds.into_iter().map(line).collect()
}

/// What is left of a difference of two equal numbers.
const EQUAL: f64 = 1e-12;

/// `routing of token 9 in layer 1 is a tie: experts 3 and 7 lie 2.0e-4 apart`
pub(super) fn tied(graph: &Graph, site: Site, tie: &Tie) -> String {
    let [taken, lost] = tie.experts;
    let layer = graph[site].layer.map_or_else(String::new, |layer| format!(" in layer {layer}"));
    let (label, token, apart) = (&graph[site].label, tie.token, tie.apart);
    let lie = if apart < EQUAL { "are equal".into() } else { format!("lie {apart:.1e} apart") };
    format!("{label} of token {token}{layer} is a tie: experts {taken} and {lost} {lie}")
}

pub(super) fn and_more(more: usize) -> String {
    if more == 0 { String::new() } else { format!(", and {more} more") }
}

/// Every tie of these findings, by its token.
pub(super) fn ties(findings: &[&Finding]) -> Vec<usize> {
    let tied = findings.iter().filter(|finding| matches!(finding.harmless, Some(Harmless::Tie(_))));
    tied.flat_map(|finding| finding.rows.iter().copied()).collect()
}
