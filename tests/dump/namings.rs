//! The same prefill as other programs name and shape it.

use std::sync::Arc;

use layerstep::engine::{Graph, Op, Role as A};
use ndarray::{ArrayD, Axis};

use crate::fixture::{Tensors, at, by_token, parsed};

/// What llama.cpp writes, in its order, with the repeats of its names.
pub(crate) fn ggml(original: &Tensors, graph: &Arc<Graph>) -> Tensors {
    let mut out = Tensors { tensors: Vec::new(), metadata: original.metadata.clone() };
    let mut put = |name: String, values: ArrayD<f32>| out.tensors.push((name, values));
    let biased = matches!(graph[at(graph, 0, A::QProj)].op, Op::Linear { bias: Some(_), .. });
    put("embd".into(), original.get("model.embed_tokens").clone());
    for layer in 0..graph.layers() {
        let of = |activation| original.get(graph.name(at(graph, layer, activation)));
        let n = |name: &str| format!("{name}-{layer}");
        let (q, k) = (by_token(of(A::QRope), graph), by_token(of(A::KRope), graph));
        put(n("norm"), of(A::InputNorm).clone());
        put(n("attn_norm"), of(A::InputNorm).clone());
        for (cur, projection, rotated) in [("Qcur", A::QProj, q), ("Kcur", A::KProj, k)] {
            put(n(cur), if biased { of(projection) - 1.0 } else { of(projection).clone() });
            if biased {
                put(n(cur) + "~2", of(projection).clone());
            }
            put(format!("{cur}-{layer} (reshaped)"), by_token(of(projection), graph));
            if graph.has(A::QNorm) {
                let norm = if cur == "Qcur" { A::QNorm } else { A::KNorm };
                put(n(&format!("{cur}_normed")), by_token(of(norm), graph));
            }
            put(n(cur) + if biased { "~3" } else { "~2" }, rotated);
        }
        put(n("Vcur"), if biased { of(A::VProj) - 1.0 } else { of(A::VProj).clone() });
        if biased {
            put(n("Vcur") + "~2", of(A::VProj).clone());
        }
        put(n("kq_soft_max"), of(A::Probs).clone());
        let names = [
            ("kqv_out", A::Context),
            ("attn_out", A::OProj),
            ("ffn_inp", A::ResidMid),
            ("ffn_norm", A::MlpNorm),
            ("ffn_gate", A::GateProj),
            ("ffn_up", A::UpProj),
            ("ffn_silu", A::ActFn),
            ("ffn_swiglu", A::ActMul),
            ("ffn_out", A::DownProj),
            ("l_out", A::Block),
        ];
        for (name, activation) in names {
            put(n(name), of(activation).clone());
        }
    }
    put("result_norm".into(), original.get("model.norm").clone());
    put("result_output".into(), original.get("lm_head").clone());
    out
}

/// The name of a hook; `None` where `TransformerLens` keeps something else.
fn hook(layer: Option<usize>, role: A) -> Option<String> {
    let within = match role {
        A::EmbedTokens => return Some("hook_embed".into()),
        A::LmHead => return Some("logits".into()),
        A::QProj => "attn.hook_q",
        A::KProj => "attn.hook_k",
        A::VProj => "attn.hook_v",
        A::QRope => "attn.hook_rot_q",
        A::KRope => "attn.hook_rot_k",
        A::Scores => "attn.hook_attn_scores",
        A::Probs => "attn.hook_pattern",
        A::Context => "attn.hook_z",
        A::OProj => "hook_attn_out",
        A::ResidMid => "hook_resid_mid",
        A::GateProj => "mlp.hook_pre",
        A::UpProj => "mlp.hook_pre_linear",
        A::ActMul => "mlp.hook_post",
        A::DownProj => "hook_mlp_out",
        A::Block => "hook_resid_post",
        _ => return None,
    };
    Some(format!("blocks.{}.{within}", layer?))
}

/// What `TransformerLens` writes: a batch axis, heads apart, no norms.
pub(crate) fn transformer_lens(original: &Tensors, graph: &Arc<Graph>) -> Tensors {
    original.rewritten(|name, values| {
        let (_, site) = parsed(name, graph);
        let values = match graph[site].role.expect("known") {
            A::QProj | A::KProj | A::VProj | A::QRope | A::KRope | A::Context => by_token(values, graph),
            _ => values.clone().insert_axis(Axis(0)),
        };
        Some((hook(graph[site].layer, graph[site].role?)?, values))
    })
}

/// What Hugging Face returns with `output_hidden_states=True`: the last one is after the final norm.
pub(crate) fn hidden_states(original: &Tensors, graph: &Arc<Graph>) -> Tensors {
    original.rewritten(|name, values| {
        let (_, site) = parsed(name, graph);
        let index = match (graph[site].layer, graph[site].role.expect("known")) {
            (_, A::EmbedTokens) => 0,
            (_, A::FinalNorm) => graph.layers(),
            (Some(layer), A::Block) if layer + 1 < graph.layers() => layer + 1,
            _ => return None,
        };
        Some((format!("hidden_states.{index}"), values.clone().insert_axis(Axis(0))))
    })
}

/// What a small engine of one's own writes.
pub(crate) fn after_layers(original: &Tensors, graph: &Arc<Graph>) -> Tensors {
    original.rewritten(|name, values| {
        let (_, site) = parsed(name, graph);
        let name = match (graph[site].layer, graph[site].role.expect("known")) {
            (_, A::EmbedTokens) => "after_embeddings".into(),
            (Some(layer), A::Block) => format!("after_layer_{layer}"),
            (_, A::FinalNorm) => "after_final_norm".into(),
            (_, A::LmHead) => "final_logits".into(),
            _ => return None,
        };
        Some((name, values.clone()))
    })
}
