//! Whose mistake it is, of two dumps; when it was made, in a session; and the story that layerstep began with.

use layerstep::diagnose::{Culprit, Divergence, Report, Verdict};
use layerstep::ops::Rounding;

use super::planted::{key, scale};
use super::subject::{Format, Subject};
use crate::fixture::{prefill, reference};
use crate::namings;

fn shorts(report: &Report) -> Vec<(String, Culprit)> {
    report.divergences.iter().map(|found| (found.name.clone(), found.culprit)).collect()
}

/// Each dump is judged on its own inputs, whatever the other one has.
#[test]
fn of_two_dumps_each_is_accused_of_its_own() {
    let subject = Subject::of("qwen2", &prefill("qwen2"));
    let right = subject.recorded(Rounding::Bf16, |_, _| ());
    let early = subject.recorded(Rounding::None, |name, values| scale(name, values, "0.up_proj", 1.1));
    let late = subject.recorded(Rounding::None, |name, values| scale(name, values, "2.o_proj", 1.1));
    let (up, o) = (key("0.up_proj"), key("2.o_proj"));
    let cases = [
        (&right, &early, vec![(up.clone(), Culprit::Candidate)]),
        (&early, &right, vec![(up.clone(), Culprit::Reference)]),
        (&early, &late, vec![(up.clone(), Culprit::Reference), (o.clone(), Culprit::Candidate)]),
        (&late, &early, vec![(up, Culprit::Candidate), (o, Culprit::Reference)]),
    ];
    for (reference, candidate, expected) in cases {
        let report = subject.report(Some(reference), Some(candidate), Format::Safetensors);
        assert_eq!((report.verdict, shorts(&report)), (Verdict::Diverged, expected), "{}", report.sentence);
    }
}

#[test]
fn a_mistake_of_a_decode_step_is_named_with_its_step() {
    let subject = Subject::of("llama", &reference("llama"));
    let dump = subject.recorded(Rounding::None, |name, values| scale(name, values, "1.k_rope@2", 1.1));
    let report = subject.report(None, Some(&dump), Format::Safetensors);
    let first = report.first_divergence().expect("a divergence");
    assert_eq!((report.verdict, &first.name), (Verdict::Diverged, &key("1.k_rope@2")), "{}", report.sentence);
    assert_eq!((first.step(), first.token, first.exact), (2, Some(14), true));
    assert_eq!(report.divergences.len(), 1, "what is kept of it is no mistake of the steps after it");
}

/// How layerstep began: files of an engine in bf16, one token, and a last layer that stood for another thing.
#[test]
fn the_founding_story() {
    let subject = Subject::fed("qwen2", vec![17], vec![1]);
    let clean = namings::after_layers(&subject.recorded(Rounding::Bf16, |_, _| ()), &subject.model.graph);
    let mut files = clean.clone();
    let norm = files.get("after_final_norm").clone();
    files.tensors.retain(|(name, _)| !["after_final_norm", "final_logits"].contains(&name.as_str()));
    let last = files.tensors.iter_mut().find(|(name, _)| name == "after_layer_2").expect("the last layer");
    last.1 = norm;
    for format in [Format::Bin { counted: true }, Format::Npy] {
        let report = subject.report(Some(&files), None, format);
        assert_eq!(report.verdict, Verdict::Mislabelled, "{}", report.sentence);
        assert_eq!(shorts(&report), [(key("2"), Culprit::Reference)], "{}", report.sentence);
        assert!(report.sentence.contains("its values are those of model.norm"), "{}", report.sentence);
        assert!(subject.report(Some(&clean), None, format).divergences.is_empty());
    }
}

/// Two dumps with one and the same error: it is our engine that does something else.
#[test]
fn an_error_of_both_dumps_is_not_theirs() {
    let subject = Subject::of("llama", &prefill("llama"));
    let dump = subject.recorded(Rounding::None, |name, values| scale(name, values, "1.q_proj", 1.1));
    let report = subject.report(Some(&dump), Some(&dump), Format::Safetensors);
    let theirs = |found: &Divergence| matches!(found.culprit, Culprit::Reference | Culprit::Candidate);
    assert!(!report.divergences.iter().any(theirs), "{}", report.sentence);
}
