//! What dumps of the tiny models cannot show, read from the dumps themselves.

use crate::fixture::{Tensors, graph_of, model, parsed, prefill, reference};
use layerstep::diagnose::{Coverage, blind_spots};
use layerstep::engine::{Counts, Role};
use ndarray::{Axis, Slice};

/// The blind spots of a comparison, each as `id: remedy`.
fn blind(name: &str, reference: &Tensors, candidate: Option<&Tensors>) -> Vec<String> {
    let model = model(name);
    let (first, _folder) = reference.bound(&model.graph);
    let second = candidate.map(|candidate| candidate.bound(&model.graph));
    let coverage = Coverage::between(Some(&first), second.as_ref().map(|(dump, _)| dump));
    let found = blind_spots(&model, "MODEL", &reference.ids(), &reference.steps(), &coverage);
    found.into_iter().map(|spot| format!("{}: {}", spot.id, spot.remedy)).collect()
}

#[track_caller]
fn check(found: &[String], expected: &[&str]) {
    let matches = found.len() == expected.len() && found.iter().zip(expected).all(|(f, e)| f.starts_with(e));
    assert!(matches, "{found:#?}, expected {expected:#?}");
}

#[test]
fn dumps_of_the_tiny_models() {
    for model in crate::fixture::TINY.iter().chain(crate::fixture::OTHERS) {
        check(&blind(model, &reference(model), None), &[]);
        let prefill_only = "prefill_only: python reference/capture.py MODEL --ids ";
        // Their other table is for more than 14 or 15 tokens, of which the decode steps have one.
        let expected = if ["llama_longrope", "phi3"].contains(model) {
            &["few_tokens", prefill_only][..]
        } else {
            &[prefill_only]
        };
        check(&blind(model, &prefill(model), None), expected);
    }
    // 13 + 4 tokens are more than mistral's window of 6; five are not.
    let mistral = graph_of("mistral");
    let cut = |tokens: usize| {
        let mut short = prefill("mistral").rewritten(|name, values| {
            let (_, site) = parsed(name, &mistral);
            let mut values = values.clone();
            for (at, axis) in mistral[site].axes.iter().enumerate() {
                if matches!(axis.counts, Counts::Rows | Counts::Keys) {
                    values.slice_axis_inplace(Axis(at), Slice::from(..tokens));
                }
            }
            Some((name.to_string(), values.as_standard_layout().into_owned()))
        });
        short.metadata.insert("input_ids".into(), format!("{:?}", &short.ids()[..tokens]));
        short.metadata.insert("steps".into(), format!("[{tokens}]"));
        short
    };
    check(&blind("mistral", &cut(7), None), &["prefill_only"]);
    check(&blind("mistral", &cut(5), None), &["few_tokens", "prefill_only"]);
    check(&blind("mistral", &cut(1), None), &["one_token", "prefill_only"]);
}

#[test]
fn what_the_candidate_lacks_is_for_its_engine_to_write() {
    let (whole, graph) = (reference("qwen3"), graph_of("qwen3"));
    let blocks = whole.rewritten(|name, values| {
        graph.is(parsed(name, &graph).1, Role::Block).then(|| (name.to_string(), values.clone()))
    });
    // Of its 64 positions, no text shows more of RoPE.
    let spots = ["no_attention_internals: layerstep inspect MODEL --names", "sparse: layerstep"];
    check(&blind("qwen3", &whole, Some(&blocks)), &spots);
    let spots = ["no_attention_internals: python", "sparse: python"];
    check(&blind("qwen3", &blocks, Some(&whole)), &spots);
    let last = whole.rewritten(|name, values| {
        let (forward, site) = parsed(name, &graph);
        let last = values.slice_axis(Axis(graph[site].row_axis()), Slice::from(-1..)).as_standard_layout().into_owned();
        Some((name.to_string(), if forward == 0 { last } else { values.clone() }))
    });
    check(&blind("qwen3", &whole, Some(&last)), &["last_row_only: layerstep inspect"]);
}
