//! The walk: our engine computes the pass, op by op, and every activation is compared as soon as it is there.
//!
//! Errors are chained here: each is that of the whole computation up to that op. What is named is the first activation
//! whose error is out of line with those before it.

use std::sync::Arc;

use super::judge::{Judge, Judgement};
use super::part::{Part, Worst, compare_parts};
use super::precision::Precision;
use super::report::{ActivationRow, Culprit, Divergence, Report, Source, Status, Verdict};
use crate::dump::{self, Dump};
use crate::engine::{Activation, LogitRows, Run, Site};
use crate::metrics::Comparison;
use crate::model::Model;

/// The dumps to compare; at least one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Witnesses<'a> {
    /// PyTorch's.
    pub reference: Option<&'a Dump>,
    /// The engine under suspicion.
    pub candidate: Option<&'a Dump>,
}

/// One activation, compared in every way there is.
#[derive(Clone, Debug)]
pub struct Compared {
    /// Candidate (else engine) against reference (else engine): the error of the report.
    pub error: Option<(Comparison, Worst)>,
    /// First row, as a position of the sequence, whose own error is at least a tenth of the largest.
    pub first_wrong_token: Option<usize>,
    /// Engine against reference, with three witnesses.
    pub engine_reference: Option<f64>,
    /// Engine against candidate, with three witnesses.
    pub engine_candidate: Option<f64>,
    /// What the bits of the dumped values tell: reference, candidate. Copies of weights tell nothing.
    pub precisions: [Option<Precision>; 2],
}

impl Compared {
    /// The coarser of the two precisions.
    pub fn precision(&self) -> Option<Precision> {
        self.precisions.into_iter().flatten().max()
    }
}

/// Reads what the dumps have of `site` and compares it with `ours` and with each other.
pub fn compare_site(run: &Run, site: Site, witnesses: Witnesses) -> Result<Compared, dump::Error> {
    let ours = run.get(site).map(|value| Part::whole(value.to_owned(), site, run.forward_ids().len()));
    let read = |dump: Option<&Dump>| -> Result<Option<Part>, dump::Error> {
        let Some(dump) = dump else { return Ok(None) };
        let aligned = dump.read(run.forward(), site, ours.as_ref().map(|ours| ours.values.view()))?;
        Ok(aligned.map(|a| Part { values: a.values, rows: a.rows, first_key: a.first_key }))
    };
    let (reference, candidate) = (read(witnesses.reference)?, read(witnesses.candidate)?);
    let config = &run.model().config;
    let first = run.first_position();
    let between = |a: &Option<Part>, b: &Option<Part>| match (a, b) {
        (Some(a), Some(b)) => compare_parts(site, config, first, a, b),
        _ => None,
    };
    let error = match (witnesses.reference, witnesses.candidate) {
        (Some(_), Some(_)) => between(&candidate, &reference),
        (Some(_), None) => between(&ours, &reference),
        (None, _) => between(&candidate, &ours),
    };
    let both = witnesses.reference.is_some() && witnesses.candidate.is_some();
    let against_engine = |part: &Option<Part>| both.then(|| between(part, &ours).map(|(c, _, _)| c.error)).flatten();
    // An embedding is a copy: its bits are those of the weights, and tell something only when the weights are finer.
    let copied = ours.as_ref().filter(|_| site.activation == Activation::EmbedTokens);
    let weights = copied.and_then(|ours| Precision::detect(ours.values.view()));
    let tell = |part: &Part| Precision::detect(part.values.view()).filter(|found| Some(*found) != weights);
    let precisions = [&reference, &candidate].map(|part| part.as_ref().and_then(tell));
    let first_wrong_token = error.as_ref().and_then(|(comparison, _, rows)| {
        let largest = comparison.row_errors.iter().copied().fold(0.0, f64::max);
        let row = comparison.row_errors.iter().position(|error| *error >= 0.1 * largest || error.is_nan())?;
        Some(first + rows[row])
    });
    Ok(Compared {
        engine_reference: against_engine(&reference),
        engine_candidate: against_engine(&candidate),
        error: error.map(|(comparison, worst, _)| (comparison, worst)),
        first_wrong_token,
        precisions,
    })
}

/// Compares a whole session: the prefill of `ids` and its decode steps, `steps` tokens per forward.
///
/// `progress` is called after every op with the number of ops done and to do.
pub fn walk(
    model: &Arc<Model>,
    ids: &[u32],
    steps: &[usize],
    witnesses: Witnesses,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Report, dump::Error> {
    let mut run = Run::new(Arc::clone(model), &ids[..steps[0]], LogitRows::All);
    let total = run.program().sites().len() * steps.len();
    let (mut judge, mut rows, mut compared) = (Judge::default(), Vec::with_capacity(total), 0);
    let mut first: Option<Divergence> = None;
    let mut last_good: Option<String> = None;
    let mut gap = false;
    let mut engine_judges = [Judge::default(), Judge::default()];
    let mut coarsest = [Precision::F32; 2];
    let mut fed = steps[0];
    for (step, tokens) in steps.iter().enumerate() {
        if step > 0 {
            run.begin_forward(&ids[fed..fed + tokens]);
            fed += tokens;
        }
        while let Some(site) = run.step() {
            progress(rows.len(), total);
            let found = compare_site(&run, site, witnesses)?;
            for (coarsest, precision) in coarsest.iter_mut().zip(found.precisions) {
                *coarsest = (*coarsest).max(precision.unwrap_or(Precision::F32));
            }
            let name = dump_key(site, step);
            let Some((comparison, worst)) = &found.error else {
                gap = true;
                rows.push(missing_row(name, site, step));
                continue;
            };
            compared += 1;
            let judgement = judge.judge(comparison.error, found.precision());
            let aside =
                |judge: &mut Judge, error: Option<f64>| error.map(|error| judge.judge(error, found.precision()));
            let engine_reference = aside(&mut engine_judges[0], found.engine_reference);
            let engine_candidate = aside(&mut engine_judges[1], found.engine_candidate);
            if judgement == Judgement::OutOfLine {
                first = Some(Divergence {
                    name: name.clone(),
                    layer: site.in_layer(),
                    step,
                    token: found.first_wrong_token,
                    last_good: last_good.clone(),
                    exact: !gap,
                    culprit: culprit(engine_reference, engine_candidate),
                    error: comparison.error,
                    error_before: judge.largest_in_line(),
                });
            } else if judgement == Judgement::InLine {
                (last_good, gap) = (Some(name.clone()), false);
            }
            rows.push(ActivationRow {
                name,
                layer: site.in_layer(),
                step,
                error: comparison.error,
                cosine: comparison.cosine,
                max_abs: comparison.max_abs,
                worst: *worst,
                status: match judgement {
                    Judgement::OutOfLine => Status::Bad,
                    Judgement::Follows => Status::Propagated,
                    Judgement::InLine if judge.coarsest() == Precision::F32 => Status::Ok,
                    Judgement::InLine => Status::Rounding,
                },
            });
        }
    }
    let (verdict, sentence) = conclude(first.as_ref(), &judge, compared, &rows);
    Ok(Report {
        verdict,
        sentence,
        first_divergence: first,
        activations: rows,
        notes: notes(witnesses),
        sources: sources(model, ids, witnesses, coarsest),
    })
}

/// The key of an activation in a dump: the canonical name, with the decode step.
fn dump_key(site: Site, step: usize) -> String {
    if step == 0 { site.to_string() } else { format!("{site}@{step}") }
}

fn missing_row(name: String, site: Site, step: usize) -> ActivationRow {
    let nan = f64::NAN;
    let (layer, worst, status) = (site.in_layer(), Worst::default(), Status::Missing);
    ActivationRow { name, layer, step, error: nan, cosine: nan, max_abs: nan, worst, status }
}

/// With three witnesses, the one that our engine disagrees with.
fn culprit(reference: Option<Judgement>, candidate: Option<Judgement>) -> Culprit {
    match (reference, candidate) {
        (Some(Judgement::InLine), Some(Judgement::OutOfLine)) => Culprit::Candidate,
        (Some(Judgement::OutOfLine), Some(Judgement::InLine)) => Culprit::Reference,
        _ => Culprit::Unknown,
    }
}

/// A chained f32 error above this is more than rounding: the largest measured on a correct engine is 5.4e-6, over 30
/// layers of SmolLM2.
const UNEXPLAINED: f64 = 1e-3;

fn conclude(first: Option<&Divergence>, judge: &Judge, compared: usize, rows: &[ActivationRow]) -> (Verdict, String) {
    if let Some(d) = first {
        let whose = match d.culprit {
            Culprit::Unknown => String::new(),
            culprit => format!("; our engine disagrees with the {} only", culprit.name()),
        };
        let before = if d.error_before == 0.0 {
            "everything before it is equal".to_string()
        } else {
            format!("none before it exceeds {:.1e}", d.error_before)
        };
        let from = d.token.map_or_else(String::new, |token| format!(", from token {token} on"));
        let sentence = format!(
            "{} is the first activation out of line: error {:.1e}{from}, where {before}{whose}",
            d.name, d.error
        );
        return (Verdict::Diverged, sentence);
    }
    if compared == 0 {
        return (Verdict::Inconclusive, "no activation could be compared: the two sides have none in common".into());
    }
    let largest = judge.largest_in_line();
    if judge.coarsest() != Precision::F32 {
        let precision = judge.coarsest().name();
        return (
            Verdict::Rounding,
            format!("{compared} activations agree as far as {precision} allows: largest error {largest:.1e}"),
        );
    }
    if largest > UNEXPLAINED {
        let worst = rows.iter().find(|row| row.error == largest).map_or("", |row| &row.name);
        return (
            Verdict::Inconclusive,
            format!(
                "errors grow to {largest:.1e} at {worst}, more than f32 rounding, without a step that names a culprit"
            ),
        );
    }
    (Verdict::Match, format!("{compared} activations agree: largest error {largest:.1e}"))
}

fn notes(witnesses: Witnesses) -> Vec<String> {
    let named = |role, dump: Option<&Dump>| {
        dump.map(Dump::notes).unwrap_or_default().into_iter().map(move |note| format!("{role}: {note}"))
    };
    named("reference", witnesses.reference).chain(named("candidate", witnesses.candidate)).collect()
}

fn sources(model: &Model, ids: &[u32], witnesses: Witnesses, coarsest: [Precision; 2]) -> Vec<Source> {
    let mut sources = vec![Source {
        role: "engine",
        path: model.name.clone(),
        dtype: "f32".into(),
        ids: ids.to_vec(),
        plan: String::new(),
    }];
    let dumps = [("reference", witnesses.reference), ("candidate", witnesses.candidate)];
    for ((role, dump), coarsest) in dumps.into_iter().zip(coarsest) {
        if let Some(dump) = dump {
            sources.push(Source {
                role,
                path: dump.path().display().to_string(),
                dtype: coarsest.name().into(),
                ids: dump.ids().map(|ids| ids.ids.clone()).unwrap_or_default(),
                plan: dump.plan().to_string(),
            });
        }
    }
    sources
}
