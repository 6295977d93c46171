//! Mistakes of decode steps where only the blocks were dumped, beside a cache of f16 or of f32.

use std::sync::Arc;

use layerstep::diagnose::{Culprit, Verdict};
use layerstep::engine::{Alteration, Edit, Field, Role};
use layerstep::model::op::Places;
use layerstep::ops::Rounding;
use ndarray::ArrayD;

use super::coverages;
use super::subject::{Format, Subject};
use crate::fixture::reference;

/// What is done to keys and values on their way into the cache; they are not dumped.
type Cache = fn(&str, &mut ArrayD<f32>);

fn exact(_: &str, _: &mut ArrayD<f32>) {}

fn in_f16(name: &str, values: &mut ArrayD<f32>) {
    if name.contains(".k_rope") || name.contains(".v_proj") {
        Rounding::F16.round(values.as_slice_mut().expect("contiguous"));
    }
}

/// From the second decode step on, values are not written.
fn values_unwritten(name: &str, values: &mut ArrayD<f32>) {
    let step: usize = name.split_once('@').map_or(0, |(_, step)| step.parse().expect("a step"));
    if name.contains(".v_proj") && step >= 2 {
        values.fill(0.0);
    }
}

struct Decoded {
    what: &'static str,
    models: &'static [&'static str],
    /// Whether positions are one too high from the second decode step on.
    shifted: bool,
    cache: Cache,
    /// The verdict, the id of the cause and words of it; none where nothing is wrong.
    named: Option<(&'static str, &'static str)>,
}

const BOTH: &[&str] = &["llama", "qwen2"];

const CASES: &[Decoded] = &[
    Decoded { what: "a cache of f16", models: BOTH, shifted: false, cache: in_f16, named: None },
    Decoded {
        what: "positions, a cache of f32",
        models: BOTH,
        shifted: true,
        cache: exact,
        named: Some(("kv_cache_position", "stands at position")),
    },
    Decoded {
        what: "positions, a cache of f16",
        models: BOTH,
        shifted: true,
        cache: in_f16,
        named: Some(("kv_cache_position", "stands at position")),
    },
    Decoded {
        what: "values that are not written",
        models: &["llama"],
        shifted: false,
        cache: values_unwritten,
        named: Some(("kv_cache_stale", "hold zeros")),
    },
];

#[test]
fn mistakes_of_decode_steps_are_named_over_spans() {
    for case in CASES {
        case.models.iter().for_each(|model| check(model, case));
    }
}

fn check(model: &str, case: &Decoded) {
    let original = reference(model);
    let subject = Subject::of(model, &original);
    let graph = &subject.model.graph;
    let at: usize = original.steps()[..2].iter().sum();
    let edit = Edit::Set(Field::Places(Places::From { at, to: i64::try_from(at).expect("a position") + 1 }));
    let rotated = |layer: usize| [Role::QRope, Role::KRope].map(|role| subject.site(layer, role));
    let sites = (0..graph.layers()).flat_map(rotated).collect();
    let wrong = if case.shifted { vec![Alteration { sites, edit }] } else { Vec::new() };
    let dump = coverages::blocks(&subject.altered(Rounding::None, wrong, case.cache), &Arc::clone(graph));
    let report = subject.report(None, Some(&dump), Format::Safetensors);
    let what = format!("{model}, {}: {}", case.what, report.sentence);
    let Some((id, says)) = case.named else {
        assert!(report.verdict.agrees(), "{what}");
        return;
    };
    assert_eq!(report.verdict, Verdict::Diverged, "{what}");
    let first = report.first_divergence().expect("a divergence");
    let names: Vec<&String> = report.divergences.iter().map(|found| &found.name).collect();
    let what = format!("{what}: {names:?}");
    assert_eq!((first.culprit, first.step(), first.layer()), (Culprit::Candidate, 2, Some(0)), "{what}");
    let cause = first.cause().map(|cause| (cause.id, cause.summary.clone())).unwrap_or_default();
    assert!(cause.0 == id && cause.1.contains(says), "{what}: {cause:?}");
    assert!(report.proofs.iter().any(|proof| proof.contains("gives all")), "{what}: {:?}", report.proofs);
}
