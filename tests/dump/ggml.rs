//! Names of ggml: repeats, copies, unscaled scores.

use layerstep::engine::Role as A;

use crate::fixture::{TINY, Tensors, at, bits, by_token, check, graph_of, head_dim, parsed, prefill};
use crate::namings::ggml;

#[test]
fn ggml_is_read_with_its_repeats() {
    for name in TINY {
        let (graph, original) = (graph_of(name), prefill(name));
        let dump = check(&original, &ggml(&original, &graph), &graph, &[A::Scores]);
        assert!(dump.unmatched().is_empty(), "{name}: {:?}", dump.unmatched());
    }
}

#[test]
fn ggml_scores_get_their_scale_and_mask() {
    let (graph, original) = (graph_of("mistral"), prefill("mistral"));
    let scale = (head_dim(&graph) as f32).sqrt();
    let unscaled = original.rewritten(|name, values| {
        let (_, site) = parsed(name, &graph);
        let raw = values.mapv(|v| if v < -1e30 { 7.5 } else { v * scale });
        let layer = graph[site].layer.filter(|_| graph.is(site, A::Scores))?;
        Some((format!("kq-{layer}"), raw))
    });
    let (dump, _written) = unscaled.bound(&graph);
    for layer in 0..3 {
        let site = at(&graph, layer, A::Scores);
        let read = dump.read(0, site, None).expect("read").expect("kq is known");
        let exact = original.get(graph.name(site)).mapv(|v| if v < -1e30 { f32::NEG_INFINITY } else { v });
        assert!(bits(&read.part.values) == bits(&exact), "layer {layer}");
    }
}

#[test]
fn a_ggml_name_without_repeats_is_told_by_its_shape() {
    let (graph, original) = (graph_of("llama"), prefill("llama"));
    let rotated = at(&graph, 0, A::QRope);
    let mut one = Tensors { metadata: original.metadata.clone(), ..Tensors::default() };
    one.tensors.push(("Qcur-0".into(), by_token(original.get(graph.name(rotated)), &graph)));
    one.tensors.push(("Kcur-0".into(), original.get("model.layers.0.self_attn.k_proj").clone()));
    let (dump, _written) = one.bound(&graph);
    assert_eq!(dump.planned(0, rotated).map(|p| p.name.as_str()), Some("Qcur-0"));
    assert_eq!(dump.planned(0, at(&graph, 0, A::KProj)).map(|p| p.name.as_str()), Some("Kcur-0"));
    assert!(dump.planned(0, at(&graph, 0, A::KRope)).is_none());
}
