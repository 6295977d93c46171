//! A page that needs nothing else: no network, no fonts, no second file.

use std::collections::HashSet;

use minijinja::Value;
use minijinja::value::Serde;

use super::curve;
use super::document::{Document, Source};
use super::row::Row;
use super::template::{context, render};

/// Rows of the large table at most: beyond, those that tell most.
const MOST_ROWS: usize = 4000;
/// Decode steps whose curves are drawn.
const MOST_STEPS: usize = 6;
/// Tokens whose texts are shown.
const MOST_TOKENS: usize = 512;
/// Words of `layerstep.diff/1` for a row.
const STATUSES: [&str; 6] = ["bad", "propagated", "rounding", "equivalent", "ok", "missing"];

/// The page of a document.
pub fn html(document: &Document) -> String {
    let (prefill, steps): (Vec<_>, Vec<_>) = document.curves.iter().partition(|curve| curve.step == 0);
    // Steps in which something diverges are drawn before others.
    let mut steps = steps;
    steps.sort_by_key(|curve| (!document.divergences.iter().any(|found| found.step == curve.step), curve.step));
    let hidden = steps.len().saturating_sub(MOST_STEPS);
    steps.truncate(MOST_STEPS);
    steps.sort_by_key(|curve| curve.step);
    let drawn = |curve: &&super::Curve| {
        let svg = curve::svg(curve, document, &format!("curve-{}", curve.step));
        context([("step", Value::from(curve.step)), ("svg", Value::from_safe_string(svg))])
    };
    let rows = rows(document);
    let count = |status: &str| {
        let count = document.rows.iter().filter(|row| row.status == status).count();
        context([("status", Value::from(status)), ("count", Value::from(count))])
    };
    // Those who fed fewer decode steps fed the same.
    let fed = |source: &Source| source.ids.iter().zip(&document.tokens).all(|(id, token)| *id == token.id);
    let unlike = !document.sources.iter().all(fed);
    let values = [
        ("document", Value::from(Serde(document))),
        ("telling", Value::from(Serde(document.telling()))),
        ("rows", Value::from(Serde(&rows))),
        ("left_out", Value::from(document.rows.len() - rows.len())),
        ("statuses", STATUSES.iter().map(|status| count(status)).collect()),
        ("curves", prefill.iter().map(drawn).collect()),
        ("step_curves", steps.iter().map(drawn).collect()),
        ("steps_hidden", Value::from(hidden)),
        ("tokens", Value::from(Serde(&document.tokens[..document.tokens.len().min(MOST_TOKENS)]))),
        ("ids_differ", Value::from(unlike)),
        ("style", Value::from_safe_string(include_str!("page.css").into())),
        ("script", Value::from_safe_string(include_str!("page.js").into())),
    ];
    render("page.html", include_str!("page.html"), context(values))
}

/// All rows, or those that tell most, in program order.
fn rows(document: &Document) -> Vec<&Row> {
    if document.rows.len() <= MOST_ROWS {
        return document.rows.iter().collect();
    }
    let mut chosen: Vec<&Row> = document.telling();
    chosen.extend(document.worst_of_each());
    chosen.extend(document.rows.iter().filter(|row| row.status == "bad"));
    let chosen: HashSet<*const Row> = chosen.into_iter().take(MOST_ROWS).map(std::ptr::from_ref).collect();
    document.rows.iter().filter(|row| chosen.contains(&std::ptr::from_ref(*row))).collect()
}
