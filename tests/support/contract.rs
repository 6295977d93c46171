//! The promises of `layerstep.diff/1`, whatever the verdict.

use serde_json::Value;

const DOCUMENT: &[&str] = &[
    "schema",
    "verdict",
    "first_divergence",
    "suspects",
    "divergences",
    "activations",
    "output",
    "fed_until",
    "blind_spots",
    "notes",
    "sources",
];
const VERDICTS: &[&str] = &["match", "rounding", "diverged", "mislabelled", "inputs_differ", "inconclusive"];
const STATUSES: &[&str] = &["ok", "rounding", "equivalent", "bad", "propagated", "missing"];
const CULPRITS: &[&str] = &["reference", "candidate", "engine", "unknown"];
const DIVERGENCE: &[&str] = &["name", "origin", "layer", "layers", "token", "step", "bracket", "exact", "culprit"];
const FIGURES: &[&str] = &["error", "local_error", "propagated_error", "noise_floor", "ratio", "cosine", "max_abs"];

/// A number of the document: NaN and infinities are strings. `None` for null and whatever else it is.
pub(crate) fn number(value: &Value) -> Option<f64> {
    match value.as_str() {
        Some(text @ ("NaN" | "inf" | "-inf")) => text.parse().ok(),
        _ => value.as_f64(),
    }
}

/// Every promise that `document` breaks.
pub(crate) fn broken(document: &Value) -> Vec<String> {
    let mut broken = Vec::new();
    broken.extend(lacks(document, DOCUMENT));
    broken.extend(is_one_of(&document["verdict"], VERDICTS));
    if document["schema"] != "layerstep.diff/1" {
        broken.push(format!("the schema is {}", document["schema"]));
    }
    for key in ["suspects", "divergences", "activations", "blind_spots", "notes"] {
        if !document[key].is_array() {
            broken.push(format!("{key} is no list: {}", document[key]));
        }
    }
    let list = |key: &str| document[key].as_array().into_iter().flatten();
    let divergences = list("divergences").chain(Some(&document["first_divergence"]).filter(|first| !first.is_null()));
    divergences.for_each(|found| broken.extend(divergence(found)));
    list("divergences").for_each(|found| broken.extend(lacks(found, &["suspects"])));
    broken.extend(first(document));
    list("activations").for_each(|row| broken.extend(activation(row)));
    for spot in list("blind_spots") {
        broken.extend(lacks(spot, &["id", "summary", "remedy"]));
        if spot.as_object().is_some_and(|spot| spot.values().any(|text| text.as_str().is_none_or(str::is_empty))) {
            broken.push(format!("a blind spot without words: {spot}"));
        }
    }
    match document["sources"].as_object() {
        Some(sources) => sources.values().for_each(|s| broken.extend(lacks(s, &["path", "dtype", "ids", "plan"]))),
        None => broken.push(format!("the sources are {}", document["sources"])),
    }
    broken
}

fn lacks(value: &Value, keys: &[&str]) -> Option<String> {
    let missing = keys.iter().find(|key| value.get(**key).is_none())?;
    Some(format!("{missing} is missing: {value}"))
}

fn is_one_of(value: &Value, words: &[&str]) -> Option<String> {
    let known = value.as_str().is_some_and(|word| words.contains(&word));
    (!known).then(|| format!("{value} is none of {}", words.join(", ")))
}

fn divergence(found: &Value) -> Vec<String> {
    let mut broken: Vec<String> =
        lacks(found, DIVERGENCE).into_iter().chain(is_one_of(&found["culprit"], CULPRITS)).collect();
    let bracket = found["bracket"].as_array().map_or(&[][..], Vec::as_slice);
    if bracket.len() != 2 || bracket[1] != found["name"] {
        broken.push(format!("the bracket does not end at the name: {found}"));
    }
    broken
}

/// The first divergence is the first of the list, without its suspects; there is one unless the two sides agree.
fn first(document: &Value) -> Option<String> {
    let mut first = document["divergences"].get(0).cloned().unwrap_or_default();
    if let Some(first) = first.as_object_mut() {
        first.remove("suspects");
    }
    (first != document["first_divergence"]).then(|| format!("the first divergence is not {first}"))
}

fn activation(row: &Value) -> Vec<String> {
    let mut broken: Vec<String> = lacks(row, &["name", "worst", "status"])
        .into_iter()
        .chain(lacks(row, FIGURES))
        .chain(lacks(&row["worst"], &["token", "head", "key", "channel"]))
        .chain(is_one_of(&row["status"], STATUSES))
        .collect();
    if FIGURES.iter().any(|key| !row[*key].is_null() && number(&row[*key]).is_none()) {
        broken.push(format!("a figure that is no number: {row}"));
    }
    let [error, floor, ratio] = ["local_error", "noise_floor", "ratio"].map(|key| number(&row[key]));
    let expected = error.zip(floor).map(|(error, floor)| if error == 0.0 { 0.0 } else { error / floor });
    let equal = |(a, b): (f64, f64)| a == b || (a - b).abs() <= 1e-12 * b.abs() || (a.is_nan() && b.is_nan());
    if ratio.is_some() != expected.is_some() || !ratio.zip(expected).is_none_or(equal) {
        broken.push(format!("the ratio is not error over floor: {row}"));
    }
    broken
}
