//! Mistakes made on purpose are named: where, whose, how much of it is certain, and in which words.

use std::sync::{Arc, LazyLock};

use layerstep::diagnose::{Culprit, Report, Verdict};
use layerstep::engine::Graph;
use layerstep::ops::Rounding;
use ndarray::{ArrayD, Axis, Slice};

use super::coverages;
use super::subject::{Format, Subject};
use crate::fixture::{Tensors, graph_of, prefill};

/// A mistake, and what has to be said of it.
struct Planted {
    what: &'static str,
    model: &'static str,
    rounding: Rounding,
    /// Made in the run: what follows is computed from it.
    run: fn(&str, &mut ArrayD<f32>),
    /// Made in the dump alone.
    dump: fn(&mut Tensors),
    coverage: fn(&Tensors, &Graph) -> Tensors,
    verdict: Verdict,
    /// Every divergence, in short names.
    names: &'static [&'static str],
    /// Of the first one.
    last_good: Option<&'static str>,
    exact: bool,
    token: usize,
    layers: &'static [usize],
    says: &'static [&'static str],
}

/// What most of them have in common.
const PLANTED: Planted = Planted {
    what: "",
    model: "llama",
    rounding: Rounding::None,
    run: |_, _| (),
    dump: |_| (),
    coverage: coverages::all,
    verdict: Verdict::Diverged,
    names: &[],
    last_good: None,
    exact: true,
    token: 0,
    layers: &[],
    says: &["is not what its own inputs give", "times the noise"],
};

/// Names of all models that mistakes are made in.
static NAMES: LazyLock<Arc<Graph>> = LazyLock::new(|| graph_of("qwen3"));

fn is(name: &str, short: &str) -> bool {
    let (base, forward) = name.split_once('@').unwrap_or((name, ""));
    let (short, wanted) = short.split_once('@').unwrap_or((short, ""));
    forward == wanted && NAMES.parse(base) == NAMES.parse(short)
}

/// Multiplies an activation.
pub(crate) fn scale(name: &str, values: &mut ArrayD<f32>, short: &str, by: f32) {
    if is(name, short) {
        *values *= by;
    }
}

fn swap(dump: &mut Tensors, one: &str, other: &str) {
    let at = |short| dump.tensors.iter().position(|(name, _)| is(name, short)).expect("an activation");
    let (one, other) = (at(one), at(other));
    let kept = dump.tensors[one].1.clone();
    dump.tensors[one].1 = std::mem::replace(&mut dump.tensors[other].1, kept);
}

/// The key of a dump, from a short name with its step.
pub(crate) fn key(short: &str) -> String {
    let (short, forward) = short.split_once('@').map_or((short, None), |(short, forward)| (short, Some(forward)));
    let name = NAMES.name(NAMES.parse(short).expect("a short name"));
    forward.map_or_else(|| name.to_string(), |forward| format!("{name}@{forward}"))
}

const CASES: &[Planted] = &[
    Planted {
        what: "one tensor is scaled",
        run: |name, values| scale(name, values, "1.q_proj", 1.01),
        names: &["1.q_proj"],
        last_good: Some("1.input_layernorm"),
        layers: &[1],
        ..PLANTED
    },
    Planted {
        what: "the same in bf16",
        model: "qwen2",
        rounding: Rounding::Bf16,
        run: |name, values| scale(name, values, "1.q_proj", 1.1),
        names: &["1.q_proj"],
        last_good: Some("1.input_layernorm"),
        layers: &[1],
        ..PLANTED
    },
    Planted {
        what: "the same in f16, and only blocks were dumped",
        model: "qwen3",
        rounding: Rounding::F16,
        run: |name, values| scale(name, values, "1.v_proj", 1.3),
        coverage: coverages::blocks,
        names: &["1"],
        last_good: Some("0"),
        exact: false,
        layers: &[1],
        says: &["model.layers.1 is not what model.layers.0 gives: the error is made between them"],
        ..PLANTED
    },
    Planted {
        what: "only every second block was dumped",
        model: "mistral",
        run: |name, values| scale(name, values, "1.gate_proj", 1.1),
        coverage: coverages::second_blocks,
        names: &["2"],
        last_good: Some("0"),
        exact: false,
        layers: &[2],
        says: &["model.layers.2 is not what model.layers.0 gives: the error is made between them"],
        ..PLANTED
    },
    Planted {
        what: "only logits were dumped",
        run: |name, values| scale(name, values, "1.o_proj", 0.5),
        coverage: coverages::logits,
        names: &["lm_head"],
        exact: false,
        says: &["lm_head is not what the start gives: the error is made between them"],
        ..PLANTED
    },
    Planted {
        what: "embeddings are scaled",
        model: "llama_bias",
        run: |name, values| scale(name, values, "embed_tokens", 8.0),
        names: &["embed_tokens"],
        ..PLANTED
    },
    Planted {
        what: "one channel is NaN",
        model: "qwen3",
        run: |name, values| {
            if is(name, "1.gate_proj") {
                values.slice_axis_mut(Axis(1), Slice::from(5..6)).fill(f32::NAN);
            }
        },
        names: &["1.gate_proj"],
        last_good: Some("1.post_attention_layernorm"),
        layers: &[1],
        says: &["first non-finite: model.layers.1.mlp.gate_proj, token 0, channel 5: NaN; the right value is "],
        ..PLANTED
    },
    Planted {
        what: "one head is zero",
        run: |name, values| {
            if is(name, "1.context") {
                values.slice_axis_mut(Axis(1), Slice::from(2 * 16..3 * 16)).fill(0.0);
            }
        },
        names: &["1.context"],
        last_good: Some("1.probs"),
        layers: &[1],
        says: &["is not what its own inputs give", "only head 2"],
        ..PLANTED
    },
    Planted {
        what: "late rows",
        model: "qwen2",
        run: |name, values| {
            if is(name, "2.v_proj") {
                values.slice_axis_mut(Axis(0), Slice::from(7..)).mapv_inplace(|value| value * 1.1);
            }
        },
        names: &["2.v_proj"],
        last_good: Some("2.k_proj"),
        token: 7,
        layers: &[2],
        says: &["tokens up to 6 are right, later tokens are wrong"],
        ..PLANTED
    },
    Planted {
        what: "two mistakes",
        run: |name, values| {
            scale(name, values, "0.act_fn", 1.2);
            scale(name, values, "2.scores", 0.5);
        },
        names: &["0.act_fn", "2.scores"],
        last_good: Some("0.up_proj"),
        layers: &[0],
        ..PLANTED
    },
    Planted {
        what: "the same mistake in every layer",
        model: "mistral",
        run: |name, values| (0..3).for_each(|layer| scale(name, values, &format!("{layer}.down_proj"), 0.9)),
        names: &["0.down_proj"],
        last_good: Some("0.act_mul"),
        layers: &[0, 1, 2],
        ..PLANTED
    },
    Planted {
        what: "two blocks are exchanged",
        dump: |dump| swap(dump, "0", "1"),
        verdict: Verdict::Mislabelled,
        names: &["0"],
        last_good: Some("0.down_proj"),
        layers: &[0, 1],
        says: &["model.layers.0 is not what its name says", "its values are those of model.layers.1"],
        ..PLANTED
    },
    Planted {
        what: "two blocks are exchanged, and nothing else was dumped",
        dump: |dump| swap(dump, "0", "1"),
        coverage: coverages::blocks,
        verdict: Verdict::Mislabelled,
        names: &["0"],
        exact: false,
        layers: &[0, 1],
        says: &["layers 0 and 1 stand under each other's names"],
        ..PLANTED
    },
    Planted {
        what: "the last block is after the final norm",
        model: "qwen2",
        dump: |dump| {
            let normed = dump.get("model.norm").clone();
            dump.tensors
                .iter_mut()
                .filter(|(name, _)| is(name, "2"))
                .for_each(|(_, values)| values.clone_from(&normed));
        },
        coverage: coverages::blocks,
        verdict: Verdict::Mislabelled,
        names: &["2"],
        last_good: Some("1"),
        exact: false,
        layers: &[2],
        says: &["model.layers.2 is not what its name says", "its values are those of model.norm"],
        ..PLANTED
    },
    Planted {
        what: "a tensor is wrong in the dump only",
        model: "llama_bias",
        dump: |dump| dump.tensors.iter_mut().for_each(|(name, values)| scale(name, values, "1.up_proj", 2.0)),
        verdict: Verdict::Mislabelled,
        names: &["1.up_proj"],
        last_good: Some("1.gate_proj"),
        layers: &[1],
        says: &["what follows was computed from the right value"],
        ..PLANTED
    },
    Planted {
        what: "all of it is zero",
        dump: |dump| dump.tensors.iter_mut().for_each(|(_, values)| values.fill(0.0)),
        names: &["embed_tokens"],
        says: &["tensors of the dump are zeros"],
        ..PLANTED
    },
    Planted {
        what: "two layers stand under each other's names",
        dump: |dump| {
            for (name, _) in &mut dump.tensors {
                *name = match name.strip_prefix("model.layers.") {
                    Some(rest) if rest.starts_with('0') => format!("model.layers.1{}", &rest[1..]),
                    Some(rest) if rest.starts_with('1') => format!("model.layers.0{}", &rest[1..]),
                    _ => name.clone(),
                };
            }
        },
        verdict: Verdict::Mislabelled,
        names: &["0.input_layernorm"],
        last_good: Some("embed_tokens"),
        layers: &[0, 1],
        says: &["layers 0 and 1 stand under each other's names"],
        ..PLANTED
    },
];

#[test]
fn mistakes_are_named() {
    for case in CASES {
        let subject = Subject::of(case.model, &prefill(case.model));
        let mut dump = subject.recorded(case.rounding, case.run);
        (case.dump)(&mut dump);
        check(case, &subject, &dump);
    }
}

fn check(case: &Planted, subject: &Subject, dump: &Tensors) {
    let dump = (case.coverage)(dump, &subject.model.graph);
    for culprit in [Culprit::Candidate, Culprit::Reference] {
        let (reference, candidate) =
            if culprit == Culprit::Reference { (Some(&dump), None) } else { (None, Some(&dump)) };
        let report = subject.report(reference, candidate, Format::Safetensors);
        says(case, &report, culprit);
    }
}

fn says(case: &Planted, report: &Report, culprit: Culprit) {
    let what = format!("{}: {}", case.what, report.sentence);
    assert_eq!(report.verdict, case.verdict, "{what}");
    let names: Vec<&str> = report.divergences.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(names, case.names.iter().map(|name| key(name)).collect::<Vec<_>>(), "{what}");
    let first = report.first_divergence().expect("a divergence");
    assert_eq!(first.last_good, case.last_good.map(key), "{what}");
    assert_eq!((first.exact, first.token), (case.exact, Some(case.token)), "{what}");
    assert_eq!(first.layers, case.layers, "{what}");
    assert!(report.divergences.iter().all(|found| found.culprit == culprit), "{what}");
    assert!(report.sentence.starts_with(&format!("{}: ", culprit.name())), "{what}");
    for words in case.says {
        assert!(first.summary.contains(words), "{words:?} is not in {what}");
    }
}
