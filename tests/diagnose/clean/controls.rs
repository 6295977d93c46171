//! Dumps in which nothing is wrong accuse nobody, whatever they are called, hold, and were computed in.

use std::sync::Arc;

use layerstep::diagnose::scheme::Scheme;
use layerstep::diagnose::{Report, Status, Verdict};
use layerstep::engine::Graph;
use layerstep::model::Model;
use layerstep::ops::Rounding;
use ndarray::ArrayD;

use super::subject::{Format, Subject};
use super::{coverages, layouts};
use crate::fixture::{OTHERS, TINY, Tensors, graph_of, prefill, reference};
use crate::namings;

type Rewrite = fn(&Tensors, &Arc<Graph>) -> Tensors;
type Coverage = fn(&Tensors, &Graph) -> Tensors;

const COVERAGES: &[(&str, Coverage)] = &[
    ("all", coverages::all),
    ("blocks", coverages::blocks),
    ("every second block", coverages::second_blocks),
    ("a block and the logits", coverages::middle_block_and_logits),
    ("logits", coverages::logits),
    ("attention", coverages::attention),
    ("the last row and the cache", coverages::last_rows),
    ("the last row", coverages::last_rows_only),
];

const NAMINGS: &[(&str, Rewrite)] = &[
    ("ggml", namings::ggml),
    ("TransformerLens", namings::transformer_lens),
    ("hidden states", namings::hidden_states),
    ("after_layer_N", namings::after_layers),
];

const LAYOUTS: &[(&str, Rewrite)] = &[
    ("masked by -inf", layouts::masked_by_infinity),
    ("masked by the least f32", layouts::masked_by_the_least),
    ("masked by -1e9", layouts::masked_by_a_large_number),
    ("padded", layouts::padded),
];

/// Nothing is accused, and something was compared.
#[track_caller]
fn accuses_nobody(report: &Report, what: &str) {
    assert!(report.verdict.agrees() && report.divergences.is_empty(), "{what}: {}", report.sentence);
    let wrong = |status| matches!(status, Status::Bad | Status::Propagated);
    let accused = report.activations.iter().find(|row| wrong(row.status));
    assert!(accused.is_none(), "{what}: {accused:?}");
    assert!(report.activations.iter().any(|row| row.status != Status::Missing), "{what}: nothing was compared");
}

/// The dump as reference.
#[track_caller]
fn check(subject: &Subject, dump: &Tensors, format: Format, what: &str) -> Report {
    let report = subject.report(Some(dump), None, format);
    accuses_nobody(&report, what);
    report
}

#[test]
fn whole_sessions_match() {
    for name in TINY.iter().chain(OTHERS) {
        let dump = reference(name);
        let subject = Subject::of(name, &dump);
        for report in [
            subject.report(Some(&dump), None, Format::Safetensors),
            subject.report(None, Some(&dump), Format::Safetensors),
            subject.report(Some(&dump), Some(&dump), Format::Safetensors),
        ] {
            accuses_nobody(&report, name);
            assert_eq!(report.verdict, Verdict::Match, "{name}: {}", report.sentence);
            assert!(report.activations.iter().all(|row| row.status == Status::Ok), "{name}");
        }
    }
}

/// What a pass in f32 is stored in, tensor by tensor: each in the next of them.
const STORED: &[(&str, &[Rounding])] = &[
    ("f16", &[Rounding::F16]),
    ("bf16", &[Rounding::Bf16]),
    ("f32, bf16 and f16", &[Rounding::None, Rounding::Bf16, Rounding::F16]),
];

#[test]
fn a_pass_that_is_stored_in_fewer_bits_is_rounding() {
    for name in TINY.iter().chain(OTHERS) {
        let dump = reference(name);
        let subject = Subject::of(name, &dump);
        for (stored, formats) in STORED {
            let rounded = |(index, (name, values)): (usize, &(String, ArrayD<f32>))| {
                let mut values = values.as_standard_layout().into_owned();
                formats[index % formats.len()].round(values.as_slice_mut().expect("standard layout"));
                (name.clone(), values)
            };
            let narrow = Tensors { tensors: dump.tensors.iter().enumerate().map(rounded).collect(), ..dump.clone() };
            let report = subject.report(None, Some(&narrow), Format::Safetensors);
            accuses_nobody(&report, &format!("{name} in {stored}"));
            assert_eq!(report.verdict, Verdict::Rounding, "{name} in {stored}: {}", report.sentence);
        }
    }
}

/// Every rewriting, of two of the models in turn.
fn in_turn<'a, T>(table: &'a [(&'static str, T)]) -> impl Iterator<Item = (&'static str, &'static str, &'a T)> {
    let models = |index: usize| [TINY[index % TINY.len()], TINY[(index + 2) % TINY.len()]];
    table
        .iter()
        .enumerate()
        .flat_map(move |(index, (what, rewrite))| models(index).map(move |model| (model, *what, rewrite)))
}

#[test]
fn formats_change_nothing() {
    let dump = prefill("llama");
    let subject = Subject::of("llama", &dump);
    let expected = subject.report(Some(&dump), None, Format::Safetensors);
    for format in Format::ALL {
        let report = check(&subject, &dump, format, &format!("{format:?}"));
        assert_eq!(report.verdict, Verdict::Match, "{format:?}");
        let errors = |report: &Report| report.activations.iter().map(|row| row.error.to_bits()).collect::<Vec<_>>();
        assert_eq!(errors(&report), errors(&expected), "{format:?}");
    }
}

#[test]
fn names_change_nothing() {
    for (model, naming, rename) in in_turn(NAMINGS) {
        let dump = rename(&prefill(model), &graph_of(model));
        let subject = Subject::of(model, &dump);
        let report = check(&subject, &dump, Format::Safetensors, &format!("{model}, {naming}"));
        assert_eq!(report.verdict, Verdict::Match, "{model}, {naming}");
    }
}

#[test]
fn parts_of_a_dump_are_enough() {
    for (model, coverage, part) in in_turn(COVERAGES) {
        let dump = part(&reference(model), &graph_of(model));
        let report = check(&Subject::of(model, &dump), &dump, Format::Safetensors, &format!("{model}, {coverage}"));
        assert_eq!(report.verdict, Verdict::Match, "{model}, {coverage}");
    }
}

#[test]
fn precisions_are_told_by_their_bits() {
    for rounding in [Rounding::None, Rounding::Bf16, Rounding::F16] {
        for (model, coverage, part) in in_turn(&COVERAGES[..6]) {
            let subject = Subject::of(model, &prefill(model));
            let dump = part(&subject.recorded(rounding, |_, _| ()), &subject.model.graph);
            let what = format!("{model}, {coverage}, {rounding:?}");
            let report = subject.report(None, Some(&dump), Format::Safetensors);
            accuses_nobody(&report, &what);
            let expected = if rounding == Rounding::None { Verdict::Match } else { Verdict::Rounding };
            assert_eq!(report.verdict, expected, "{what}: {}", report.sentence);
        }
    }
}

/// A reference in f32 beside a candidate in bf16, and the other way round.
#[test]
fn two_precisions_agree() {
    for (model, rounding) in [("llama", Rounding::Bf16), ("mistral", Rounding::F16), ("qwen3", Rounding::Bf16)] {
        let dump = prefill(model);
        let subject = Subject::of(model, &dump);
        let coarse = subject.recorded(rounding, |_, _| ());
        for (reference, candidate) in [(&dump, &coarse), (&coarse, &dump)] {
            let report = subject.report(Some(reference), Some(candidate), Format::Safetensors);
            accuses_nobody(&report, model);
            assert_eq!(report.verdict, Verdict::Rounding, "{model}: {}", report.sentence);
        }
    }
}

#[test]
fn masks_and_padding_change_nothing() {
    for (model, layout, rewrite) in in_turn(LAYOUTS) {
        let dump = rewrite(&prefill(model), &graph_of(model));
        let subject = Subject::of(model, &dump);
        let report = check(&subject, &dump, Format::Safetensors, &format!("{model}, {layout}"));
        assert_eq!(report.verdict, Verdict::Match, "{model}, {layout}");
    }
}

/// llama.cpp keeps the channels of queries and keys in an order of its own.
#[test]
fn another_order_of_channels_is_equivalent() {
    let orders: [(&str, Rewrite); 2] =
        [("side by side", layouts::pairs_side_by_side), ("twice apart", layouts::pairs_twice_apart)];
    for model in ["llama", "qwen2"] {
        for (order, rewrite) in orders {
            let dump = rewrite(&prefill(model), &graph_of(model));
            let what = format!("{model}, {order}");
            let report = check(&Subject::of(model, &dump), &dump, Format::Safetensors, &what);
            assert_eq!(report.verdict, Verdict::Rounding, "{what}: {}", report.sentence);
            let equivalent = report.activations.iter().filter(|row| row.status == Status::Equivalent).count();
            assert_eq!(equivalent, 3 * 4, "{what}");
            assert!(report.sentence.contains("which changes nothing"), "{what}: {}", report.sentence);
        }
    }
}

#[test]
fn scores_from_before_scale_and_mask_are_equivalent() {
    for model in ["llama", "mistral"] {
        let dump = layouts::before_scale_and_mask(&prefill(model), &graph_of(model));
        let report = check(&Subject::of(model, &dump), &dump, Format::Safetensors, model);
        assert_eq!(report.verdict, Verdict::Rounding, "{model}: {}", report.sentence);
        let said = report.notes.iter().any(|note| note.contains("from before the scale of the scores"));
        assert!(said, "{model}: {:?}", report.notes);
    }
}

/// The model with the matrices of its layers in fewer bits; what chooses experts is kept.
fn in_fewer_bits(model: &Model, scheme: Scheme) -> Model {
    let params = model.graph.params().iter().enumerate();
    let matrices = params.filter(|(_, param)| {
        param.layer.is_some() && param.shape.len() == 2 && !param.name.ends_with("mlp.gate.weight")
    });
    let rounded = matrices
        .map(|(index, _)| (index, model.matrices_at(index).iter().map(|tensor| scheme.rounded(tensor).0).collect()));
    model.with_matrices(rounded.collect())
}

#[test]
fn weights_of_fewer_bits_are_rounding() {
    for (at, name) in TINY.iter().chain(OTHERS).enumerate() {
        let dump = prefill(name);
        let subject = Subject::of(name, &dump);
        for format in [["q8_0", "uint4:32"], ["int8", "q4_0"], ["fp8", "nf4"]][at % 3] {
            let scheme = Scheme::parse(format).expect("a format");
            let engine = Subject::with(in_fewer_bits(&subject.model, scheme), dump.ids(), dump.steps());
            let whole = engine.recorded(Rounding::None, |_, _| ());
            for (coverage, part) in &COVERAGES[..2] {
                let what = format!("{name} in {format}, {coverage}");
                let report = subject.report(None, Some(&part(&whole, &subject.model.graph)), Format::Safetensors);
                accuses_nobody(&report, &what);
                assert_eq!(report.verdict, Verdict::Rounding, "{what}: {}", report.sentence);
                let said = format!("its weights are in {}", scheme.describe());
                assert!(report.sentence.contains(&said), "{what}: {}", report.sentence);
            }
        }
    }
}

/// What such an engine does wrong is said beside it.
#[test]
fn a_mistake_of_an_engine_with_fewer_bits_is_found() {
    let dump = prefill("llama");
    let subject = Subject::of("llama", &dump);
    let scheme = Scheme::parse("q4_0").expect("a format");
    let engine = Subject::with(in_fewer_bits(&subject.model, scheme), dump.ids(), dump.steps());
    let wrong = engine.recorded(Rounding::None, |name, values| {
        if name.ends_with("layers.1.mlp.down_proj") {
            values.mapv_inplace(|value| value * 1.1);
        }
    });
    let report = subject.report(None, Some(&wrong), Format::Safetensors);
    assert_eq!(report.verdict, Verdict::Diverged, "{}", report.sentence);
    assert!(report.sentence.contains("model.layers.1.mlp.down_proj"), "{}", report.sentence);
    assert!(report.notes.iter().any(|note| note.contains("in q4_0")), "{:?}", report.notes);
}
