//! What is refused, and in which words.

use layerstep::dump::{Dump, Options};
use layerstep::engine::{Role as A, Site};
use ndarray::ArrayD;
use proptest::prelude::*;

use crate::fixture::{Tensors, at, graph_of, made_up, numbers, prefill};

#[test]
fn shapes_that_fit_no_reading_are_refused() {
    let (graph, original) = (graph_of("llama"), prefill("llama"));
    let cases: &[(&str, &[usize], &str)] = &[
        (
            "model.norm",
            &[13, 47],
            "has shape [13, 47], which does not fit model.norm: expected [13, 48] for 13 tokens ([token, hidden]); check the ids",
        ),
        (
            "after_layer_1",
            &[14, 48],
            "has shape [14, 48], which does not fit model.layers.1: expected [13, 48] for 13 tokens",
        ),
        ("lm_head", &[13, 0], "has shape [13, 0], which does not fit lm_head"),
        (
            "0.q_rope",
            &[4, 13, 8],
            "expected [4, 13, 16], [13, 4, 16] or [13, 64] for 13 tokens ([head, token, head_dim])",
        ),
        (
            "0.k_proj",
            &[13, 48],
            "expected [2, 13, 16], [13, 2, 16] or [13, 32] for 13 tokens ([token, kv_head*head_dim])",
        ),
        ("0.scores", &[4, 13, 12], "expected [4, 13, 13] for 13 tokens ([head, query, key])"),
        ("lm_head", &[0, 13, 192], "has shape [0, 13, 192], which does not fit lm_head"),
        ("0.scores", &[3, 13, 13], "expected [4, 13, 13]"),
    ];
    for (name, shape, expected) in cases {
        let one = Tensors { tensors: vec![((*name).into(), numbers(shape, 1))], metadata: original.metadata.clone() };
        let (mut dump, _written) = one.open(&graph);
        let error = dump.bind(&original.ids(), &[13]).expect_err(name).to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains(&format!("dump.safetensors: tensor \"{name}\"")), "{error}");
    }
}

#[test]
fn a_batch_is_refused_until_one_sequence_is_chosen() {
    let (graph, original) = (graph_of("llama"), prefill("llama"));
    let one =
        Tensors { tensors: vec![("lm_head".into(), numbers(&[3, 13, 192], 1))], metadata: original.metadata.clone() };
    let written = one.write();
    let bind = |batch| {
        let mut dump = Dump::open(&written.path, &graph, &Options { batch, map: None }).expect("a dump");
        dump.bind(&original.ids(), &[13]).map_err(|e| e.to_string())
    };
    let error = bind(None).expect_err("a batch");
    assert!(
        error.ends_with(
            "tensor \"lm_head\" holds a batch of 3 sequences (shape [3, 13, 192]); choose one with --batch 0 to 2"
        ),
        "{error}"
    );
}

#[test]
fn ids_and_forwards_must_agree() {
    let (graph, original) = (graph_of("llama"), prefill("llama"));
    let (mut dump, _written) = original.open(&graph);
    for steps in [&[12][..], &[], &[13, 0], &[usize::MAX, 14]] {
        let error = dump.bind(&original.ids(), steps).expect_err("they do not").to_string();
        assert!(error.contains("do not add up to 13 ids"), "{error}");
    }
}

#[test]
fn tensors_of_forwards_that_were_not_run_are_set_aside() {
    let (graph, original) = (graph_of("llama"), crate::fixture::reference("llama"));
    let (mut dump, _written) = original.open(&graph);
    dump.bind(&original.ids()[..14], &[13, 1]).expect("bound");
    assert!(dump.planned(1, at(&graph, 0, A::LmHead)).is_some() && dump.planned(2, at(&graph, 0, A::LmHead)).is_none());
    assert!(dump.unused().iter().any(|unused| unused.to_string() == "lm_head@2 [1, 192]: forward 2 was not run"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any name and any shape: a plan or an error, and what is read has the shape of the table.
    #[test]
    fn nothing_panics(
        name in prop_oneof!["[a-zA-Z0-9_.~@ -]{0,24}", "model\\.layers\\.[0-4]\\.(self_attn\\.(q_rope|k_rope|scores|context)|mlp|input_layernorm)(@[0-2])?", "(Qcur|Kcur|kq|l_out)-[0-3](~[0-9])?", "\\PC{0,12}"],
        shape in prop::collection::vec(prop_oneof![Just(1usize), Just(2), Just(4), Just(6), Just(13), Just(16), Just(32), Just(48), Just(64), 0usize..9], 0..4),
        batch in prop::option::of(0usize..3),
        split in any::<bool>(),
    ) {
        let graph = graph_of("llama");
        let mut all = made_up(&graph, &[1, 2, 3, 4]);
        all.tensors.truncate(1);
        all.tensors.push((format!("{name} "), numbers(&shape, 3)));
        all.tensors.push((name, numbers(&shape, 4)));
        let written = all.write();
        let Ok(mut dump) = Dump::open(&written.path, &graph, &Options { batch, map: None }) else { return Ok(()) };
        let _ = dump.plan().to_string();
        if dump.bind(&[1, 2, 3, 4], if split { &[3, 1] } else { &[4] }).is_err() {
            return Ok(());
        }
        let shape = |forward: usize, site: Site| {
            let tokens = dump.steps()[forward];
            let first: usize = dump.steps()[..forward].iter().sum();
            graph[site].shape(tokens, first + tokens)
        };
        for planned in dump.all_planned() {
            let ours: ArrayD<f32> = numbers(&shape(planned.forward, planned.site), 9);
            for ours in [None, Some(ours.view())] {
                if let Ok(Some(read)) = dump.read(planned.forward, planned.site, ours) {
                    prop_assert!(read.part.values.ndim() == graph[planned.site].axes.len());
                    prop_assert!(read.part.rows.windows(2).all(|pair| pair[0] < pair[1]));
                }
            }
        }
    }
}
