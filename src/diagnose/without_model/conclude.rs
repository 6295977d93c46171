//! The verdict on two dumps, and its report.

use super::finding::Finding;
use super::flow::{Fate, State};
use super::survey::{Node, Survey};
use super::trace::Trace;
use crate::diagnose::part::Worst;
use crate::diagnose::precision::Precision;
use crate::diagnose::report::{ActivationRow, Culprit, Divergence, Report, Source, Status, Verdict};
use crate::dump::{self, Pair};
use crate::engine::Op;

/// A chained error above this is more than f32 rounding.
const UNEXPLAINED: f64 = 1e-3;

/// A chained error above this is more than bf16 or f16 rounding.
const COARSE_UNEXPLAINED: f64 = 0.25;

/// Findings that are told one by one, at most.
const TOLD: usize = 8;

const SIDES: [&str; 2] = ["reference", "candidate"];

/// Makes the report.
pub(super) fn conclude(pair: &Pair, typed: Option<&[u32]>, survey: &Survey, trace: &Trace) -> Report {
    let harmless = |finding: &Finding| {
        let node = &survey.nodes[finding.at];
        finding.fate == Fate::Heals && finding.disguise.as_ref().is_some_and(|found| found.harmless(node))
    };
    let (equivalent, counted): (Vec<&Finding>, Vec<&Finding>) = trace.findings.iter().partition(|f| harmless(f));
    // What nothing settles is told beside what is settled.
    let settled = counted.iter().any(|finding| finding.fate != Fate::Open);
    let (counted, open): (Vec<&Finding>, Vec<&Finding>) =
        counted.into_iter().partition(|finding| !settled || finding.fate != Fate::Open);
    let deciding = counted.iter().find(|finding| finding.fate == Fate::GoesOn).or(counted.first()).copied();
    let mut notes = notes_of_dumps(pair);
    notes.extend(survey.notes.iter().take(TOLD).cloned());
    for (side, forward, two) in survey.doubles.iter().take(TOLD) {
        let [a, b] = two.map(|site| pair.graph().name(site));
        let at = if *forward > 0 { format!("@{forward}") } else { String::new() };
        notes.push(format!("{}: {a}{at} and {b}{at} hold the same bits", SIDES[*side]));
    }
    notes.extend(other_forms(survey, &equivalent).into_iter().take(TOLD));
    for finding in open.iter().take(TOLD) {
        notes.push(sentence(survey, trace, finding));
    }
    notes.push(
        "compared without a model: products with weights were not done again; --model names the culprit and the cause"
            .into(),
    );
    let (verdict, sentence) = verdict(pair, survey, trace, deciding, equivalent.len());
    let mut divergences = divergences(survey, trace, &counted);
    if let Some((at, _)) = trace.noise.filter(|_| divergences.is_empty()) {
        divergences.push(noisy(survey, trace, at, &sentence));
    }
    Report {
        verdict,
        sentence,
        divergences,
        activations: rows(pair, survey, trace, &equivalent, &[counted, open].concat()),
        notes,
        sources: sources(pair, typed, Some(survey.coarsest)),
        ..Report::default()
    }
}

/// What harmless disguises there are, each told once.
fn other_forms(survey: &Survey, equivalent: &[&Finding]) -> Vec<String> {
    let mut alike: Vec<(&Finding, usize)> = Vec::new();
    for finding in equivalent {
        match alike.iter_mut().find(|(first, _)| first.disguise == finding.disguise) {
            Some((_, more)) => *more += 1,
            None => alike.push((finding, 0)),
        }
    }
    let told = alike.into_iter().map(|(first, more)| {
        let name = survey.nodes[first.at].name();
        let name = if more > 0 { format!("{name} and {more} more") } else { name };
        format!("{name}: {}; what follows agrees", first.said.join("; "))
    });
    told.collect()
}

fn verdict(
    pair: &Pair,
    survey: &Survey,
    trace: &Trace,
    deciding: Option<&Finding>,
    equivalent: usize,
) -> (Verdict, String) {
    let compared = survey.nodes.iter().filter(|node| node.found.is_some()).count();
    if compared == 0 {
        return (Verdict::Inconclusive, "no activation could be compared: the two sides have none in common".into());
    }
    if let Some(first) = deciding {
        let verdict = match first.fate {
            Fate::GoesOn => Verdict::Diverged,
            Fate::Heals => Verdict::Mislabelled,
            Fate::Open => Verdict::Inconclusive,
        };
        if let Some(tokens) = other_tokens(pair, survey, first) {
            return (Verdict::InputsDiffer, tokens);
        }
        return (verdict, sentence(survey, trace, first));
    }
    let (largest, coarsest) = (trace.curve.largest(), trace.curve.coarsest());
    if let Some((at, error)) = trace.noise {
        return (
            Verdict::Inconclusive,
            format!(
                "from {} on, the first product, errors of {error:.1e} and more without a pattern: quantised weights or \
                 low-precision products on one side look like that, and so may weights that are a little wrong; --model tells",
                survey.nodes[at].name()
            ),
        );
    }
    let coarse = coarsest != Precision::F32;
    if largest > if coarse { COARSE_UNEXPLAINED } else { UNEXPLAINED } {
        let worst = survey.nodes.iter().find(|node| node.error() == largest).map_or_else(String::new, Node::name);
        let precision = coarsest.name();
        let sentence = format!(
            "errors grow to {largest:.1e} at {worst}, more than {precision} rounding, without a step that names a culprit"
        );
        return (Verdict::Inconclusive, sentence);
    }
    let allowed = if coarse { format!(" as far as {} allows", coarsest.name()) } else { String::new() };
    let forms = match equivalent {
        0 => String::new(),
        1 => "; one is the same in another form, which changes nothing".into(),
        many => format!("; {many} are the same in another form, which changes nothing"),
    };
    let sentence = format!("{compared} activations agree{allowed}: largest error {largest:.1e}{forms}");
    (if coarse || equivalent > 0 { Verdict::Rounding } else { Verdict::Match }, sentence)
}

/// What stands out, in one sentence.
fn sentence(survey: &Survey, trace: &Trace, finding: &Finding) -> String {
    let node = &survey.nodes[finding.at];
    let (name, error) = (node.name(), node.error());
    let whose = match finding.culprit {
        Culprit::Unknown => "in one of the dumps".into(),
        culprit => format!("in the {}", culprit.name()),
    };
    let before = trace.before[finding.at];
    let before = if before == 0.0 {
        "everything in line before it is equal".to_string()
    } else {
        format!("nothing in line before it exceeds {before:.1e}")
    };
    let from = first_wrong(node).map_or_else(String::new, |token| format!(", from token {token} on"));
    let mut sentence = match finding.fate {
        Fate::GoesOn => {
            let whose = match finding.culprit {
                Culprit::Unknown => String::new(),
                culprit => format!("; the {}'s does not follow from its own inputs", culprit.name()),
            };
            format!("{name} is the first activation out of line: error {error:.1e}{from}, where {before}{whose}")
        }
        Fate::Heals => format!(
            "{name} is not what its name says {whose}: error {error:.1e}{from}, where what is computed from it agrees"
        ),
        Fate::Open => format!(
            "{name} stands out: error {error:.1e}{from}, where {before}, but nothing that follows from it was dumped by \
             both"
        ),
    };
    for said in &finding.said {
        sentence.push_str("; ");
        sentence.push_str(said);
    }
    sentence
}

/// The position of the first row that is wrong.
fn first_wrong(node: &Node) -> Option<usize> {
    node.found.as_ref().and_then(|found| found.wrong_rows().first().copied())
}

/// Embeddings that agree in some rows and have nothing in common in others are those of other tokens.
fn other_tokens(pair: &Pair, survey: &Survey, finding: &Finding) -> Option<String> {
    let node = &survey.nodes[finding.at];
    let embed = matches!(node.op(pair.graph()), Some(Op::Embed { .. }));
    let known = pair.reference.ids().is_some() && pair.candidate.ids().is_some();
    let found = node.found.as_ref().filter(|_| embed && !known)?;
    let errors = &found.comparison.row_errors;
    let wrong: Vec<usize> =
        found.positions.iter().zip(errors).filter(|(_, error)| **error > 0.5).map(|(place, _)| *place).collect();
    let equal = errors.iter().filter(|error| **error < 1e-2).count();
    (equal > 0 && !wrong.is_empty() && equal + wrong.len() == errors.len()).then(|| {
        format!(
            "the embeddings of tokens {wrong:?} have nothing in common, where all others agree: other tokens were fed"
        )
    })
}

/// One cause over many layers is one entry: tensors of one activation that have one fate and one culprit.
fn divergences(survey: &Survey, trace: &Trace, findings: &[&Finding]) -> Vec<Divergence> {
    let mut merged: Vec<(&Finding, Divergence)> = Vec::new();
    for finding in findings {
        let node = &survey.nodes[finding.at];
        let same = |(first, _): &&mut (&Finding, Divergence)| {
            let known = survey.nodes[first.at].class;
            let one = first.fate == finding.fate && first.culprit == finding.culprit;
            known.is_some() && known == node.class && one
        };
        if let Some((_, divergence)) = merged.iter_mut().find(same) {
            divergence.layers.extend(node.layer.filter(|layer| !divergence.layers.contains(layer)));
        } else {
            merged.push((finding, divergence(survey, trace, finding, sentence(survey, trace, finding))));
        }
    }
    merged.into_iter().map(|(_, divergence)| divergence).collect()
}

fn divergence(survey: &Survey, trace: &Trace, finding: &Finding, summary: String) -> Divergence {
    let node = &survey.nodes[finding.at];
    let good = (0..finding.at).rev().find(|place| trace.states[*place] == State::InLine);
    Divergence {
        name: node.name(),
        layers: node.layer.into_iter().collect(),
        token: first_wrong(node),
        last_good: good.map(|place| survey.nodes[place].name()),
        exact: finding.exact,
        culprit: finding.culprit,
        summary,
        suspects: Vec::new(),
    }
}

/// The place where noise begins, when nothing else stands out.
fn noisy(survey: &Survey, trace: &Trace, at: usize, sentence: &str) -> Divergence {
    let finding =
        Finding { at, fate: Fate::Open, disguise: None, culprit: Culprit::Unknown, exact: false, said: Vec::new() };
    divergence(survey, trace, &finding, sentence.to_string())
}

fn rows(
    pair: &Pair,
    survey: &Survey,
    trace: &Trace,
    equivalent: &[&Finding],
    counted: &[&Finding],
) -> Vec<ActivationRow> {
    let among = |findings: &[&Finding], at: usize| findings.iter().any(|finding| finding.at == at);
    let exact = trace.curve.coarsest() == Precision::F32 && trace.noise.is_none();
    let row = |(at, node): (usize, &Node)| {
        let status = match trace.states[at] {
            State::NotCompared => Status::Missing,
            State::InLine if exact => Status::Ok,
            State::InLine => Status::Rounding,
            _ if among(equivalent, at) => Status::Equivalent,
            _ if among(counted, at) || trace.reads_what_agrees(pair, survey, at) => Status::Bad,
            _ => Status::Propagated,
        };
        let found = node.found.as_ref();
        ActivationRow {
            name: node.name(),
            layer: node.layer,
            step: node.forward,
            error: node.error(),
            cosine: found.map_or(f64::NAN, |found| found.comparison.cosine),
            max_abs: found.map_or(f64::NAN, |found| found.comparison.max_abs),
            worst: found.map_or_else(Worst::default, |found| found.worst),
            status,
            local: None,
        }
    };
    survey.nodes.iter().enumerate().map(row).collect()
}

/// What the dumps have to say, by side.
pub(super) fn notes_of_dumps(pair: &Pair) -> Vec<String> {
    let named = [&pair.reference, &pair.candidate].into_iter().zip(SIDES);
    named.flat_map(|(dump, side)| dump.notes().into_iter().map(move |note| format!("{side}: {note}"))).collect()
}

/// Who was compared.
pub(super) fn sources(pair: &Pair, typed: Option<&[u32]>, coarsest: Option<[Precision; 2]>) -> Vec<Source> {
    let sides = [&pair.reference, &pair.candidate].into_iter().zip(SIDES).enumerate();
    let source = |(side, (dump, role)): (usize, (&dump::Dump, &'static str))| {
        let source = Source::dump(role, dump, coarsest.map_or("not read", |coarsest| coarsest[side].name()));
        let ids = typed.filter(|_| dump.ids().is_none()).map_or_else(|| source.ids.clone(), <[u32]>::to_vec);
        Source { ids, ..source }
    };
    sides.map(source).collect()
}
