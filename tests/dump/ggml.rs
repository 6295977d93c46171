//! Names of ggml: repeats, copies, unscaled scores.

use layerstep::engine::{Activation as A, Site};
use layerstep::model::Config;
use ndarray::ArrayD;

use crate::fixture::{TINY, Tensors, bits, by_token, check, config, parsed, prefill};

/// What llama.cpp writes, in its order, with the repeats of its names.
fn ggml(original: &Tensors, config: &Config) -> Tensors {
    let mut out = Tensors { tensors: Vec::new(), metadata: original.metadata.clone() };
    let mut put = |name: String, values: ArrayD<f32>| out.tensors.push((name, values));
    put("embd".into(), original.get("model.embed_tokens").clone());
    for layer in 0..config.num_hidden_layers {
        let of = |activation| original.get(&Site::new(layer, activation).to_string());
        let n = |name: &str| format!("{name}-{layer}");
        let (q, k) = (by_token(of(A::QRope), config), by_token(of(A::KRope), config));
        put(n("norm"), of(A::InputNorm).clone());
        put(n("attn_norm"), of(A::InputNorm).clone());
        for (cur, projection, rotated) in [("Qcur", A::QProj, q), ("Kcur", A::KProj, k)] {
            put(n(cur), if config.qkv_bias { of(projection) - 1.0 } else { of(projection).clone() });
            if config.qkv_bias {
                put(n(cur) + "~2", of(projection).clone());
            }
            put(format!("{cur}-{layer} (reshaped)"), by_token(of(projection), config));
            if config.qk_norm {
                let norm = if cur == "Qcur" { A::QNorm } else { A::KNorm };
                put(n(&format!("{cur}_normed")), by_token(of(norm), config));
            }
            put(n(cur) + if config.qkv_bias { "~3" } else { "~2" }, rotated);
        }
        put(n("Vcur"), if config.qkv_bias { of(A::VProj) - 1.0 } else { of(A::VProj).clone() });
        if config.qkv_bias {
            put(n("Vcur") + "~2", of(A::VProj).clone());
        }
        put(n("kq_soft_max"), of(A::Probs).clone());
        let names = [
            ("kqv_out", A::Context),
            ("attn_out", A::OProj),
            ("ffn_inp", A::ResidMid),
            ("ffn_norm", A::PostAttentionNorm),
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

#[test]
fn ggml_is_read_with_its_repeats() {
    for name in TINY {
        let (config, original) = (config(name), prefill(name));
        let dump = check(&original, &ggml(&original, &config), &config, &[A::Scores]);
        let unmatched: Vec<&str> = dump.unmatched().iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(unmatched, ["norm-0", "norm-1", "norm-2"], "{name}");
    }
}

#[test]
fn ggml_scores_get_their_scale_and_mask() {
    let (config, original) = (config("mistral"), prefill("mistral"));
    let scale = (config.head_dim as f32).sqrt();
    let unscaled = original.rewritten(|name, values| {
        let (_, site) = parsed(name);
        let raw = values.mapv(|v| if v < -1e30 { 7.5 } else { v * scale });
        (site.activation == A::Scores).then(|| (format!("kq-{}", site.layer), raw))
    });
    let (dump, _written) = unscaled.bound(&config);
    for layer in 0..3 {
        let site = Site::new(layer, A::Scores);
        let read = dump.read(0, site, None).expect("read").expect("kq is known");
        let exact = original.get(&site.to_string()).mapv(|v| if v < -1e30 { f32::NEG_INFINITY } else { v });
        assert!(bits(&read.values) == bits(&exact), "layer {layer}");
    }
}

#[test]
fn a_ggml_name_without_repeats_is_told_by_its_shape() {
    let (config, original) = (config("llama"), prefill("llama"));
    let rotated = Site::new(0, A::QRope);
    let mut one = Tensors { metadata: original.metadata.clone(), ..Tensors::default() };
    one.tensors.push(("Qcur-0".into(), by_token(original.get(&rotated.to_string()), &config)));
    one.tensors.push(("Kcur-0".into(), original.get("model.layers.0.self_attn.k_proj").clone()));
    let (dump, _written) = one.bound(&config);
    assert_eq!(dump.planned(0, rotated).map(|p| p.name.as_str()), Some("Qcur-0"));
    assert_eq!(dump.planned(0, Site::new(0, A::KProj)).map(|p| p.name.as_str()), Some("Kcur-0"));
    assert!(dump.planned(0, Site::new(0, A::KRope)).is_none());
}
