//! The verdict on two dumps, and its report.

use super::survey::{Node, Survey};
use super::trace::{Finding, State, Trace};
use crate::diagnose::conclude::{NOTHING, agreement, deciding, merged};
use crate::diagnose::finding::Kind;
use crate::diagnose::nonfinite::{F16_MAX, NonFinite, amount, listed};
use crate::diagnose::precision::Precision;
use crate::diagnose::report::{ActivationRow, Culprit, Divergence, Report, Source, Status, Verdict};
use crate::diagnose::suspects::search::Accused;
use crate::dump::{Dump, Pair};
use crate::engine::Op;

/// A chained error above this is more than f32 rounding.
const UNEXPLAINED: f64 = 1e-3;

/// A chained error above this is more than bf16 or f16 rounding.
const COARSE_UNEXPLAINED: f64 = 0.25;

/// Findings that are told one by one, at most.
const TOLD: usize = 8;

const SIDES: [&str; 2] = ["reference", "candidate"];

/// Makes the report.
pub(super) fn conclude(typed: Option<&[u32]>, trace: &Trace) -> Report {
    let (survey, pair) = (trace.survey, trace.survey.pair);
    let (equivalent, counted): (Vec<&Finding>, Vec<&Finding>) =
        trace.findings.iter().partition(|finding| finding.kind == Kind::Equivalent);
    // What nothing settles is told beside what is settled.
    let settled = counted.iter().any(|finding| finding.kind != Kind::Open);
    let (mut counted, open): (Vec<&Finding>, Vec<&Finding>) =
        counted.into_iter().partition(|finding| !settled || finding.kind != Kind::Open);
    // What decides is told first, and is the first divergence everywhere.
    if let Some((index, _)) = deciding(&counted, |finding| finding.kind) {
        counted[..=index].rotate_right(1);
    }
    let mut notes = notes_of_dumps(pair);
    notes.extend(survey.notes.iter().take(TOLD).cloned());
    for (side, forward, two) in survey.doubles.iter().take(TOLD) {
        let [a, b] = two.map(|site| pair.graph().name(site));
        let at = if *forward > 0 { format!("@{forward}") } else { String::new() };
        notes.push(format!("{}: {a}{at} and {b}{at} hold the same bits", SIDES[*side]));
    }
    notes.extend(other_forms(survey, &equivalent).into_iter().take(TOLD));
    notes.extend(open.iter().take(TOLD).map(|finding| sentence(trace, finding)));
    notes.push(
        "compared without a model: products with weights were not done again; --model names the culprit and the cause"
            .into(),
    );
    let (verdict, sentence) = verdict(trace, &counted, equivalent.len());
    // One cause over many layers is one entry: tensors of one activation that have one fate and one culprit.
    let key = |finding: &&Finding| Some((survey.nodes[finding.at].class?, finding.kind, finding.culprit));
    let entries = merged(&counted, key, |finding| divergence(trace, finding));
    let mut divergences: Vec<Divergence> = entries.into_iter().map(|(_, divergence)| divergence).collect();
    if let Some((at, _)) = trace.noise.filter(|_| divergences.is_empty()) {
        let (kind, culprit) = (Kind::Open, Culprit::Unknown);
        let noisy = Finding { at, kind, disguise: None, culprit, exact: false, said: Vec::new() };
        divergences.push(Divergence { summary: sentence.clone(), ..divergence(trace, &noisy) });
    }
    Report {
        verdict,
        sentence,
        divergences,
        activations: rows(trace, &equivalent, &[counted, open].concat()),
        notes,
        sources: sources(pair, typed, Some(survey.coarsest)),
        ..Report::default()
    }
    .with_coverage()
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
        let name = survey.nodes[first.at].row.name.clone();
        let name = if more > 0 { format!("{name} and {more} more") } else { name };
        format!("{name}: {}; what follows agrees", first.said.join("; "))
    });
    told.collect()
}

fn verdict(trace: &Trace, counted: &[&Finding], equivalent: usize) -> (Verdict, String) {
    let survey = trace.survey;
    let compared = survey.nodes.iter().filter(|node| node.found.is_some()).count();
    if compared == 0 {
        return (Verdict::Inconclusive, NOTHING.into());
    }
    if let Some((index, verdict)) = deciding(counted, |finding| finding.kind) {
        let first = counted[index];
        return other_tokens(survey, first)
            .map_or_else(|| (verdict, sentence(trace, first)), |tokens| (Verdict::InputsDiffer, tokens));
    }
    let (largest, coarsest) = (trace.curve.largest(), trace.curve.coarsest());
    if let Some((at, error)) = trace.noise {
        return (
            Verdict::Inconclusive,
            format!(
                "from {} on, the first product, errors of {error:.1e} and more without a pattern: quantised weights or \
                 low-precision products on one side look like that, and so may weights that are a little wrong; --model tells",
                survey.nodes[at].row.name
            ),
        );
    }
    let coarse = coarsest != Precision::F32;
    if largest > if coarse { COARSE_UNEXPLAINED } else { UNEXPLAINED } {
        let worst = survey.nodes.iter().find(|node| node.row.error == largest).map_or("", |node| &node.row.name);
        let precision = coarsest.name();
        let sentence = format!(
            "errors grow to {largest:.1e} at {worst}, more than {precision} rounding, without a step that names a culprit"
        );
        return (Verdict::Inconclusive, sentence);
    }
    let forms = match equivalent {
        0 => String::new(),
        1 => "; one is the same in another form, which changes nothing".into(),
        many => format!("; {many} are the same in another form, which changes nothing"),
    };
    let verdict = if coarse || equivalent > 0 { Verdict::Rounding } else { Verdict::Match };
    (verdict, agreement(compared, coarsest, largest) + &forms + &alone(survey))
}

/// What only one dump has, and nothing was compared with.
fn alone(survey: &Survey) -> String {
    let last = survey.nodes.iter().filter(|node| node.found.is_some()).map(|node| node.row.step).max().unwrap_or(0);
    let forwards = [&survey.pair.reference, &survey.pair.candidate].map(|dump| dump.steps().len());
    let side = SIDES[usize::from(forwards[1] > forwards[0])];
    let end = forwards.into_iter().max().unwrap_or(0);
    let steps = match end.saturating_sub(last + 1) {
        0 => String::new(),
        1 => format!("; decode step {} is in the {side} only, and not judged", last + 1),
        _ => format!("; decode steps {} to {} are in the {side} only, and not judged", last + 1, end - 1),
    };
    match survey.nodes.iter().filter(|node| node.found.is_none() && node.row.step <= last).count() {
        0 => steps,
        1 => format!("; one more is in one dump only{steps}"),
        more => format!("; {more} more are in one dump only{steps}"),
    }
}

/// What stands out, in one sentence.
fn sentence(trace: &Trace, finding: &Finding) -> String {
    let node = &trace.survey.nodes[finding.at];
    if let Some(found) = special(node) {
        return nonfinite(node, &found, finding);
    }
    let (name, error) = (&node.row.name, node.row.error);
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
    let mut sentence = match finding.kind {
        Kind::Wrong => {
            let whose = match finding.culprit {
                Culprit::Unknown => String::new(),
                culprit => format!("; the {}'s does not follow from its own inputs", culprit.name()),
            };
            format!("{name} is the first activation out of line: error {error:.1e}{from}, where {before}{whose}")
        }
        Kind::Mislabelled => format!(
            "{name} is not what its name says {whose}: error {error:.1e}{from}, where what is computed from it agrees"
        ),
        _ => format!(
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

/// The first element of a node that is finite on one side only, and on which side it is not.
fn special(node: &Node) -> Option<(NonFinite, usize)> {
    let sides = node.found.as_ref()?.special?;
    let odd = sides.iter().position(|value| !value.is_finite())?;
    let (value, right) = (sides[odd] as f32, sides[1 - odd]);
    let found = NonFinite { at: node.row.worst, value, right, count: node.row.nonfinite, of: 0, rest_is_right: true };
    Some((found, odd))
}

/// The first element that is finite on one side only, in one sentence.
fn nonfinite(node: &Node, (found, side): &(NonFinite, usize), finding: &Finding) -> String {
    let [own, other] = [SIDES[*side], SIDES[1 - side]];
    let beyond = if found.right.abs() > F16_MAX { ", beyond f16's 65,504" } else { "" };
    let what = format!(
        "first non-finite: {}, {}: {} in the {own}; the {other} has {}{beyond}",
        node.row.name,
        listed(&found.at),
        found.word(),
        amount(found.right)
    );
    match finding.kind {
        Kind::Mislabelled => {
            format!("{what}; what is computed from it agrees: the dump is damaged there, not the engine")
        }
        _ => what,
    }
}

/// The position of the first row that is wrong.
fn first_wrong(node: &Node) -> Option<usize> {
    node.found.as_ref().and_then(|found| found.wrong_rows().first().copied())
}

/// Embeddings that agree in some rows and have nothing in common in others are those of other tokens.
fn other_tokens(survey: &Survey, finding: &Finding) -> Option<String> {
    let embed = matches!(survey.op(finding.at), Some(Op::Embed { .. }));
    let known = survey.pair.reference.ids().is_some() && survey.pair.candidate.ids().is_some();
    let found = survey.nodes[finding.at].found.as_ref().filter(|_| embed && !known)?;
    let errors = &found.row_errors;
    let wrong: Vec<usize> =
        found.positions.iter().zip(errors).filter(|(_, error)| **error > 0.5).map(|(place, _)| *place).collect();
    let equal = errors.iter().filter(|error| **error < 1e-2).count();
    (equal > 0 && !wrong.is_empty() && equal + wrong.len() == errors.len()).then(|| {
        format!(
            "the embeddings of tokens {wrong:?} have nothing in common, where all others agree: other tokens were fed"
        )
    })
}

fn divergence(trace: &Trace, finding: &Finding) -> Divergence {
    let nodes = &trace.survey.nodes;
    let node = &nodes[finding.at];
    let good = (0..finding.at).rev().find(|place| trace.states[*place] == State::InLine);
    let special = special(node);
    let overflows = special.as_ref().filter(|(found, _)| found.right.abs() > F16_MAX).map(|(found, _)| {
        let words = format!("the other dump has {}", amount(found.right));
        Accused { explained: 0.0, ..Accused::of_label("overflow_f16", &node.row.name, words) }
    });
    Divergence {
        name: node.row.name.clone(),
        layers: node.row.layer.into_iter().collect(),
        token: first_wrong(node),
        last_good: good.map(|place| nodes[place].row.name.clone()),
        exact: finding.exact,
        culprit: match (&special, finding.culprit) {
            (Some((_, 0)), Culprit::Unknown) => Culprit::Reference,
            (Some(_), Culprit::Unknown) => Culprit::Candidate,
            (_, culprit) => culprit,
        },
        summary: sentence(trace, finding),
        suspects: overflows.into_iter().collect(),
        nonfinite: special.map(|(found, _)| found),
    }
}

fn rows(trace: &Trace, equivalent: &[&Finding], counted: &[&Finding]) -> Vec<ActivationRow> {
    let among = |findings: &[&Finding], at: usize| findings.iter().any(|finding| finding.at == at);
    let exact = trace.curve.coarsest() == Precision::F32 && trace.noise.is_none();
    let row = |(at, node): (usize, &Node)| {
        let status = match trace.states[at] {
            State::NotCompared => Status::Missing,
            State::InLine if exact => Status::Ok,
            State::InLine => Status::Rounding,
            _ if among(equivalent, at) => Status::Equivalent,
            _ if among(counted, at) || trace.reads_what_agrees(at) => Status::Bad,
            _ => Status::Propagated,
        };
        ActivationRow { status, ..node.row.clone() }
    };
    trace.survey.nodes.iter().enumerate().map(row).collect()
}

/// What the dumps have to say, by side.
pub(super) fn notes_of_dumps(pair: &Pair) -> Vec<String> {
    let said = |(side, dump): (&str, &Dump)| -> Vec<String> {
        dump.notes().into_iter().map(|note| format!("{side}: {note}")).collect()
    };
    SIDES.into_iter().zip([&pair.reference, &pair.candidate]).flat_map(said).collect()
}

/// Who was compared.
pub(super) fn sources(pair: &Pair, typed: Option<&[u32]>, coarsest: Option<[Precision; 2]>) -> Vec<Source> {
    let sides = [&pair.reference, &pair.candidate].into_iter().zip(SIDES).enumerate();
    let source = |(side, (dump, role)): (usize, (&Dump, &'static str))| {
        let source = Source::dump(role, dump, coarsest.map_or("not read", |coarsest| coarsest[side].name()));
        let ids = typed.filter(|_| dump.ids().is_none()).map_or_else(|| source.ids.clone(), <[u32]>::to_vec);
        Source { ids, ..source }
    };
    sides.map(source).collect()
}
