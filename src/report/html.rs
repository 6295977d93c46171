//! A page that needs nothing else: no network, no fonts, no second file.

use std::collections::HashSet;

use minijinja::Value;
use minijinja::value::Serde;

use super::curve::{self, Curve};
use super::document::Document;
use super::template::{context, render, table};
use crate::diagnose::{ActivationRow, Source, Status};

/// Rows of the large table at most: beyond, those that tell most.
const MOST_ROWS: usize = 4000;
/// Decode steps whose curves are drawn.
const MOST_STEPS: usize = 6;
/// Tokens whose texts are shown.
const MOST_TOKENS: usize = 512;
/// What rows can be chosen by.
const STATUSES: [Status; 6] =
    [Status::Bad, Status::Propagated, Status::Rounding, Status::Equivalent, Status::Ok, Status::Missing];

/// The page of a document.
pub fn html(document: &Document) -> String {
    let report = &document.report;
    let (prefill, mut steps): (Vec<_>, Vec<_>) =
        curve::curves(&report.activations).into_iter().partition(|curve| curve.step == 0);
    // Steps in which something diverges are drawn before others.
    steps.sort_by_key(|curve| (!report.divergences.iter().any(|found| found.step() == curve.step), curve.step));
    let hidden = steps.len().saturating_sub(MOST_STEPS);
    steps.truncate(MOST_STEPS);
    steps.sort_by_key(|curve| curve.step);
    let drawn = |curve: &Curve| {
        let svg = curve::svg(curve, &report.divergences, &format!("curve-{}", curve.step));
        context([("step", Value::from(curve.step)), ("svg", Value::from_safe_string(svg))])
    };
    let rows = rows(document);
    let count = |status: &Status| {
        let count = report.activations.iter().filter(|row| row.status == *status).count();
        context([("status", Value::from(status.name())), ("count", Value::from(count))])
    };
    // Those who fed fewer decode steps fed the same.
    let fed = |source: &Source| source.ids.iter().zip(&document.tokens).all(|(id, token)| *id == token.id);
    let unlike = !report.sources.iter().all(fed);
    let values = [
        ("agrees", Value::from(report.verdict.agrees())),
        ("telling", table(&document.telling())),
        ("all", Value::from(report.activations.len())),
        ("rows", table(&rows)),
        ("left_out", Value::from(report.activations.len() - rows.len())),
        ("statuses", STATUSES.iter().map(count).collect()),
        ("curves", prefill.iter().map(drawn).collect()),
        ("step_curves", steps.iter().map(drawn).collect()),
        ("steps_hidden", Value::from(hidden)),
        ("tokens", Value::from(Serde(&document.tokens[..document.tokens.len().min(MOST_TOKENS)]))),
        ("ids_differ", Value::from(unlike)),
        ("style", Value::from_safe_string(include_str!("page.css").into())),
        ("script", Value::from_safe_string(include_str!("page.js").into())),
    ];
    render("page.html", include_str!("page.html"), document, values)
}

/// All rows, or those that tell most, in program order.
fn rows(document: &Document) -> Vec<&ActivationRow> {
    let all = &document.report.activations;
    if all.len() <= MOST_ROWS {
        return all.iter().collect();
    }
    let mut chosen: Vec<&ActivationRow> = document.telling();
    chosen.extend(document.worst_of_each());
    chosen.extend(all.iter().filter(|row| row.status == Status::Bad));
    let chosen: HashSet<*const ActivationRow> = chosen.into_iter().take(MOST_ROWS).map(std::ptr::from_ref).collect();
    all.iter().filter(|row| chosen.contains(&std::ptr::from_ref(*row))).collect()
}
