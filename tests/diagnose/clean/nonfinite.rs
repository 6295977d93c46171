//! Values that are not finite: the first is named, with what it should be and why; what follows accuses nobody.

use std::collections::BTreeMap;
use std::fs;

use layerstep::diagnose::{Culprit, Verdict};
use layerstep::engine::Graph;
use layerstep::formats::{Archive, write_safetensors};
use layerstep::model::Model;
use layerstep::ops::Rounding;
use ndarray::{ArrayD, ArrayViewD, Axis, Ix2};

use super::coverages;
use super::planted::key;
use super::subject::{Format, Subject};
use crate::fixture::{Tensors, prefill, tiny};

/// What is not finite, and what has to be said of it.
struct Case {
    what: &'static str,
    /// Changes the weights that both have.
    weights: fn(&str, &mut ArrayD<f32>),
    /// Made in the run: what follows is computed from it.
    run: fn(&str, &mut ArrayD<f32>),
    /// Made in the dump alone.
    dump: fn(&str, &mut ArrayD<f32>),
    coverage: fn(&Tensors, &Graph) -> Tensors,
    verdict: Verdict,
    /// Every divergence, in short names.
    names: &'static [&'static str],
    cause: Option<&'static str>,
    says: &'static [&'static str],
}

const CASE: Case = Case {
    what: "",
    weights: |_, _| (),
    run: |_, _| (),
    dump: |_, _| (),
    coverage: coverages::all,
    verdict: Verdict::Diverged,
    names: &["1.down_proj"],
    cause: None,
    says: &["first non-finite: model.layers.1.mlp.down_proj, token "],
};

/// Makes the values of one activation infinite where `which` holds of row and channel.
fn infinite(name: &str, values: &mut ArrayD<f32>, short: &str, which: impl Fn(usize, usize) -> bool) {
    if name == key(short) {
        for ((row, channel), value) in values.view_mut().into_dimensionality::<Ix2>().expect("rows").indexed_iter_mut()
        {
            *value = if which(row, channel) { f32::INFINITY.copysign(*value) } else { *value };
        }
    }
}

/// One row of the output of `up_proj` in layer 1 is large: its products are beyond f16's range.
fn loud(name: &str, values: &mut ArrayD<f32>) {
    if name == "model.layers.1.mlp.up_proj.weight" {
        values.index_axis_mut(Axis(0), 7).mapv_inplace(|v| v * 1e9);
    }
    if name == "model.layers.1.mlp.down_proj.weight" {
        values.index_axis_mut(Axis(1), 7).mapv_inplace(|v| v * 1e-9);
    }
}

const CASES: &[Case] = &[
    Case {
        what: "an input of the product is beyond f16's range, and half of the rows overflow",
        weights: loud,
        run: |name, values| infinite(name, values, "1.down_proj", |row, _| row % 2 == 0),
        cause: Some("overflow_f16"),
        says: &["first non-finite: model.layers.1.mlp.down_proj, token 0, channel 0: ", "inf; the right value is "],
        ..CASE
    },
    Case {
        what: "the same, and only blocks were dumped",
        weights: loud,
        run: |name, values| infinite(name, values, "1.down_proj", |row, _| row == 2),
        coverage: coverages::blocks,
        names: &["1"],
        cause: Some("overflow_f16"),
        says: &["first non-finite: model.layers.1, token 2, channel 0: "],
        ..CASE
    },
    Case {
        what: "the result itself is beyond it",
        weights: |name, values| {
            if name == "model.layers.1.mlp.down_proj.weight" {
                values.index_axis_mut(Axis(0), 5).mapv_inplace(|v| v * 1e6);
            }
        },
        run: |name, values| {
            if name == key("1.down_proj") {
                values.mapv_inplace(|v| if v.abs() > 65504.0 { f32::INFINITY.copysign(v) } else { v });
            }
        },
        cause: Some("overflow_f16"),
        says: &["channel 5: ", ", beyond f16's 65,504"],
        ..CASE
    },
    Case {
        what: "a channel is NaN in every row",
        run: |name, values| infinite(name, values, "1.down_proj", |_, channel| channel == 5 || channel == 9),
        cause: Some("nan_weights"),
        says: &["token 0, channel 5: "],
        ..CASE
    },
    Case {
        what: "a row of a softmax is NaN",
        run: |name, values| {
            if name == key("1.probs") {
                values.index_axis_mut(Axis(1), 0).fill(f32::NAN);
            }
        },
        names: &["1.probs"],
        cause: Some("nan_from_masked_row"),
        says: &[
            "first non-finite: model.layers.1.self_attn.probs, token 0, head 0, key 0: NaN; the right value is 1.00",
        ],
        ..CASE
    },
    Case {
        what: "single values are infinite without a reason",
        run: |name, values| infinite(name, values, "1.down_proj", |row, channel| (row, channel) == (3, 4)),
        cause: Some("unknown"),
        ..CASE
    },
    Case {
        what: "what is finite is wrong, too",
        run: |name, values| {
            if name == key("1.down_proj") {
                *values *= 1.5;
            }
            infinite(name, values, "1.down_proj", |row, channel| (row, channel) == (3, 4));
        },
        cause: Some("unknown"),
        says: &["what is finite is off, too: error 5.0e-1"],
        ..CASE
    },
    Case {
        what: "only the dump has it",
        dump: |name, values| infinite(name, values, "1.down_proj", |row, channel| (row, channel) == (3, 4)),
        verdict: Verdict::Mislabelled,
        says: &["token 3, channel 4", "the dump is damaged there, not the engine"],
        ..CASE
    },
];

/// A tiny model with other weights.
fn with_weights(change: fn(&str, &mut ArrayD<f32>)) -> Model {
    let folder = tempfile::tempdir().expect("a folder");
    let mut tensors = Vec::new();
    for shard in ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] {
        let archive = Archive::open(&tiny("llama").join(shard)).expect("a shard");
        for entry in archive.entries() {
            let mut values = archive.read(&entry.name).expect("a tensor").into_f32();
            change(&entry.name, &mut values);
            tensors.push((entry.name.clone(), values));
        }
    }
    let views: Vec<(String, ArrayViewD<f32>)> = tensors.iter().map(|(name, v)| (name.clone(), v.view())).collect();
    write_safetensors(&folder.path().join("model.safetensors"), &views, &BTreeMap::new()).expect("written");
    fs::copy(tiny("llama").join("config.json"), folder.path().join("config.json")).expect("copied");
    Model::load(folder.path()).expect("a model")
}

#[test]
fn the_first_value_that_is_not_finite_is_named() {
    for case in CASES {
        let dump = prefill("llama");
        let subject = Subject::with(with_weights(case.weights), dump.ids(), dump.steps());
        let mut dump = subject.recorded(Rounding::None, case.run);
        dump.tensors.iter_mut().for_each(|(name, values)| (case.dump)(name, values));
        check(case, &subject, &(case.coverage)(&dump, &subject.model.graph));
    }
}

fn check(case: &Case, subject: &Subject, dump: &Tensors) {
    let report = subject.report(None, Some(dump), Format::Safetensors);
    let what = format!("{}: {}", case.what, report.sentence);
    assert_eq!(report.verdict, case.verdict, "{what}");
    let names: Vec<&str> = report.divergences.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(names, case.names.iter().map(|name| key(name)).collect::<Vec<_>>(), "{what}");
    let first = report.first_divergence().expect("a divergence");
    assert_eq!(first.culprit, Culprit::Candidate, "{what}");
    if let Some(cause) = case.cause {
        assert_eq!(first.suspects.first().map(|suspect| suspect.id), Some(cause), "{what}");
    }
    for words in case.says {
        assert!(first.summary.contains(words), "{words:?} is not in {what}");
    }
    let everything = [std::slice::from_ref(&first.summary), &report.notes[..]].concat().join("\n");
    assert!(!everything.contains("error inf") && !everything.contains("error NaN"), "{everything}");
    let json = report.to_json();
    let nonfinite = &json["first_divergence"]["nonfinite"];
    assert!(nonfinite["value"].is_string() && nonfinite["right_value"].is_number(), "{what}: {nonfinite}");
    let row = report.activations.iter().find(|row| row.name == first.name).expect("its row");
    assert!(row.nonfinite > 0 && row.error.is_finite(), "{what}: {row:?}");
}
