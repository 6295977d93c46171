//! What is read from config.json, and what is refused. Expected values are those of transformers 5.23.

mod defaults;
mod kinds;
mod mixers;
mod rope;
mod wrapped;

use layerstep::model::Spec;
use layerstep::model::spec::{Experts, Feed, GateUp, Mlp, Rope, Router};
use layerstep::ops::Activation;
use serde_json::{Value, json};

/// A small config of this type with `changes` on top; a change to `"-"` removes the key.
fn text(model_type: &str, changes: &Value) -> String {
    let mut keys = json!({"model_type": model_type, "hidden_size": 64, "num_attention_heads": 4,
        "num_key_value_heads": 2, "num_hidden_layers": 4, "head_dim": 16});
    for (key, value) in changes.as_object().expect("an object of changes") {
        if value == "-" {
            keys.as_object_mut().expect("an object").remove(key);
        } else {
            keys[key] = value.clone();
        }
    }
    keys.to_string()
}

#[expect(clippy::needless_pass_by_value, reason = "callers write the value on the spot")]
fn read(model_type: &str, changes: Value) -> (Spec, Vec<String>) {
    Spec::from_json(&text(model_type, &changes), "DIR/config.json").unwrap_or_else(|error| panic!("{changes}: {error}"))
}

/// The file is refused, and the message names the file and holds every fragment.
#[expect(clippy::needless_pass_by_value, reason = "callers write the value on the spot")]
fn check(model_type: &str, changes: Value, fragments: &[&str]) {
    let message = match Spec::from_json(&text(model_type, &changes), "DIR/config.json") {
        Ok(_) => panic!("{changes} was accepted"),
        Err(error) => error.to_string(),
    };
    for fragment in fragments.iter().chain(&["DIR/config.json"]) {
        assert!(message.contains(fragment), "{changes}: `{fragment}` is not in `{message}`");
    }
}

#[test]
fn missing_keys_have_the_defaults_of_transformers() {
    let absent = json!({"num_key_value_heads": "-", "head_dim": "-", "num_attention_heads": 32});
    for (name, kv, head_dim, vocab, wide, positions, windows) in [
        ("llama", 32, 2, 32_000, 11_008, 2048, None),
        ("mistral", 8, 2, 32_000, 14_336, 131_072, Some(4096)),
        ("qwen2", 32, 2, 151_936, 22_016, 32_768, None),
        ("qwen3", 32, 128, 151_936, 22_016, 32_768, None),
    ] {
        let (spec, notes) = read(name, absent.clone());
        let (layer, attn) = (&spec.layers[0], &spec.layers[0].attn);
        assert_eq!(spec.family, name);
        assert_eq!((attn.kv_heads, attn.head_dim), (kv, head_dim), "{name}");
        assert_eq!((spec.vocab, feed(&layer.mlp).width), (vocab, wide), "{name}");
        assert_eq!((spec.positions, rope(&spec).theta), (positions, 10_000.0), "{name}");
        assert_eq!(
            (spec.norm.map(|norm| norm.eps), spec.head.map(|head| head.tied)),
            (Some(1e-6), Some(false)),
            "{name}"
        );
        assert_eq!(windows_of(&spec), [windows; 4], "{name}");
        assert_eq!(attn.qkv_bias, name == "qwen2");
        assert_eq!((attn.o_bias, feed(&layer.mlp).bias, attn.qk_norm.is_some()), (false, false, name == "qwen3"));
        assert_eq!(notes, Vec::<String>::new());
    }
    let attn = |name: &str, changes: Value| read(name, changes).0.layers[0].attn.clone();
    assert_eq!(attn("qwen3", json!({"num_key_value_heads": null})).kv_heads, 4);
    assert_eq!(attn("mistral", json!({"head_dim": null})).head_dim, 16);
    assert_eq!(attn("llama", json!({"head_dim": 24})).head_dim, 24);
}

/// `Gemma2Config`, `GPT2Config`, `Qwen3MoeConfig` and `MixtralConfig` with nothing but their `model_type`.
#[test]
fn families_have_the_defaults_of_their_own_classes() {
    let bare = |name: &str| {
        let (spec, notes) = Spec::from_json(&format!("{{\"model_type\": \"{name}\"}}"), "f").expect("defaults");
        assert_eq!(notes, Vec::<String>::new());
        spec
    };
    let sizes = |spec: &Spec| {
        let attn = &spec.layers[0].attn;
        (spec.vocab, spec.hidden, spec.layers.len(), attn.heads, attn.kv_heads, attn.head_dim, spec.positions)
    };
    let gemma = bare("gemma2");
    assert_eq!(sizes(&gemma), (256_000, 2304, 26, 8, 4, 256, 8192));
    assert_eq!(windows_of(&gemma)[..3], [Some(4096), None, Some(4096)]);
    assert_eq!(
        (gemma.layers[0].attn.cap, gemma.head.expect("it has one").cap, gemma.head.expect("it has one").tied),
        (Some(50.0), Some(30.0), true)
    );
    assert_eq!((gemma.layers[0].attn.scale, gemma.embed.scale), (1.0 / 16.0, Some(48.0)));
    assert_eq!(
        *feed(&gemma.layers[0].mlp),
        Feed {
            width: 9216,
            act: Activation::GeluTanh,
            bias: false,
            fused: GateUp::Apart,
            clamp: None,
            xielu: false,
            factors: [1.0; 2]
        }
    );
    assert_eq!((gemma.norm.expect("it has one").offset, gemma.layers[0].mlp_norms.post.is_some()), (1.0, true));

    let gpt2 = bare("gpt2");
    assert_eq!(sizes(&gpt2), (50_257, 768, 12, 12, 12, 64, 1024));
    assert_eq!(
        *feed(&gpt2.layers[0].mlp),
        Feed {
            width: 3072,
            act: Activation::GeluNew,
            bias: true,
            fused: GateUp::Apart,
            clamp: None,
            xielu: false,
            factors: [1.0; 2]
        }
    );
    assert_eq!(
        (gpt2.norm.expect("it has one").eps, gpt2.norm.expect("it has one").bias, gpt2.embed.learned),
        (1e-5, true, Some(1024))
    );
    assert!(gpt2.layers.iter().all(|layer| layer.attn.rope.is_none() && layer.attn.fused == Some(1)));
    let by_layer = json!({"model_type": "gpt2", "scale_attn_by_inverse_layer_idx": true}).to_string();
    let (by_layer, _) = Spec::from_json(&by_layer, "f").expect("a config");
    assert_eq!(by_layer.layers.iter().map(|l| 0.125 / l.attn.scale).collect::<Vec<_>>()[..3], [1.0, 2.0, 3.0]);

    let moe = bare("qwen3_moe");
    assert_eq!(sizes(&moe), (151_936, 2048, 24, 32, 4, 64, 32_768));
    let router = Router::new(8);
    let feed = Feed {
        width: 768,
        act: Activation::Silu,
        bias: false,
        fused: GateUp::Apart,
        clamp: None,
        xielu: false,
        factors: [1.0; 2],
    };
    assert_eq!(
        moe.layers[0].mlp,
        Mlp::Experts(Experts {
            gated: true,
            feed,
            count: 128,
            router,
            router_bias: false,
            choice_bias: false,
            fine: false,
            weighs_input: false,
            router_norm: None,
            scaled: false,
            shared: None
        })
    );
    let mixed = json!({"model_type": "qwen3_moe", "decoder_sparse_step": 2, "mlp_only_layers": [3]}).to_string();
    let (mixed, _) = Spec::from_json(&mixed, "f").expect("a config");
    let sparse: Vec<bool> = mixed.layers.iter().map(|layer| matches!(layer.mlp, Mlp::Experts(_))).collect();
    assert_eq!(sparse[..6], [false, true, false, false, false, true]);
}

fn feed(mlp: &Mlp) -> &Feed {
    match mlp {
        Mlp::Plain(feed) | Mlp::Gated(feed) => feed,
        Mlp::Experts(experts) => &experts.feed,
    }
}

fn rope(spec: &Spec) -> &Rope {
    spec.layers[0].attn.rope.as_ref().expect("it rotates")
}

fn windows_of(spec: &Spec) -> Vec<Option<usize>> {
    spec.layers.iter().map(|layer| layer.attn.window).collect()
}

#[test]
fn windows_are_those_of_transformers() {
    let windows = |name: &str, changes: Value| windows_of(&read(name, changes).0);
    let none = [None; 4];
    assert_eq!(windows("mistral", json!({"sliding_window": null})), none);
    assert_eq!(windows("mistral", json!({"sliding_window": 6})), [Some(6); 4]);
    assert_eq!(windows("qwen2", json!({"sliding_window": 5, "max_window_layers": 2})), none);
    let on = |extra: Value| {
        let mut keys = json!({"use_sliding_window": true, "sliding_window": 5});
        keys.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        keys
    };
    assert_eq!(windows("qwen2", on(json!({"max_window_layers": 2}))), [None, None, Some(5), Some(5)]);
    assert_eq!(windows("qwen3", on(json!({"max_window_layers": 0}))), [Some(5); 4]);
    assert_eq!(windows("qwen3", on(json!({}))), none, "28 layers are full by default");
    let types = json!({"layer_types": ["full_attention", "sliding_attention", "attention", "full_attention"]});
    assert_eq!(windows("qwen2", on(types.clone())), [None, Some(5), None, None]);
    check("qwen2", types.clone(), &["layer_types has sliding_attention", "use_sliding_window"]);
    check("llama", types, &["layer_types", "model_type llama"]);
    check("llama", json!({"sliding_window": 5}), &["sliding_window", "model_type llama"]);
    check(
        "mistral",
        json!({"layer_types": ["full_attention", "full_attention", "full_attention", "full_attention"]}),
        &["layer_types"],
    );
    check(
        "qwen2",
        json!({"layer_types": ["full_attention"]}),
        &["layer_types lists 1 layers", "num_hidden_layers is 4"],
    );
    check("qwen3", json!({"layer_types": ["mamba", "mamba", "mamba", "mamba"]}), &["layer_types", "mamba"]);
    check("mistral", json!({"sliding_window": 0}), &["sliding_window", "an integer from 1"]);
}

#[test]
fn keys_that_change_the_mathematics_are_refused_unless_neutral() {
    for (key, value, neutral) in [
        ("hidden_act", json!("gelu_fast"), json!("swish")),
        ("hidden_act", json!("xielu"), json!("gelu_pytorch_tanh")),
        ("quantization_config", json!({"quant_method": "gptq"}), json!(null)),
        ("quantization", json!({"bits": 4}), json!(null)),
        ("partial_rotary_factor", json!(0.5), json!(1)),
        ("num_local_experts", json!(8), json!(0)),
        ("num_experts", json!(64), json!(null)),
        ("attn_logit_softcapping", json!(50.0), json!(null)),
        ("final_logit_softcapping", json!(30.0), json!(null)),
        ("query_pre_attn_scalar", json!(256), json!(null)),
        ("embedding_multiplier", json!(12.0), json!(1.0)),
        ("residual_multiplier", json!(0.22), json!(1)),
        ("attention_multiplier", json!(0.015), json!(null)),
        ("logits_scaling", json!(8.0), json!(1.0)),
        ("pretraining_tp", json!(2), json!(1)),
        ("rope_interleaved", json!(true), json!(false)),
        ("is_causal", json!(false), json!(true)),
        ("no_rope_layers", json!([1, 0]), json!([])),
        ("text_config", json!({"hidden_size": 1}), json!(null)),
    ] {
        check("llama", json!({key: value}), &[key]);
        let (_, notes) = read("llama", json!({key: neutral}));
        assert_eq!(notes, Vec::<String>::new(), "{key}");
    }
    check("mistral", json!({"attention_bias": true}), &["attention_bias", "model_type mistral"]);
    check("qwen3", json!({"mlp_bias": true}), &["mlp_bias"]);
    let biases = |name: &str, changes: Value| {
        let layer = read(name, changes).0.layers[0].clone();
        (layer.attn.qkv_bias, layer.attn.o_bias, feed(&layer.mlp).bias)
    };
    assert_eq!(biases("llama", json!({"attention_bias": true, "mlp_bias": true})), (true, true, true));
    assert_eq!(biases("qwen3", json!({"attention_bias": true})), (true, true, false));
}

#[test]
fn unknown_keys_are_noted() {
    let (_, notes) =
        read("llama", json!({"foo": 3, "bar": "text", "baz": null, "use_sliding_window": false, "\u{1b}]0;": true}));
    assert_eq!(notes.len(), 3, "{notes:?}");
    assert!(notes[0].contains("`foo`: 3, which layerstep does not know"), "{notes:?}");
    assert!(notes[1].contains("`use_sliding_window`: false, which model_type llama does not read"), "{notes:?}");
    assert!(!notes[2].contains('\u{1b}'), "{notes:?}");
    let (_, notes) = read("llama", json!({"auto_map": {"AutoModel": "x.Y"}}));
    assert!(notes[0].contains("is not run"), "{notes:?}");
}

#[test]
fn sizes_are_checked() {
    for (key, value) in [
        ("hidden_size", json!(0)),
        ("hidden_size", json!(-1)),
        ("hidden_size", json!(2.5)),
        ("hidden_size", json!(u64::MAX)),
        ("num_hidden_layers", json!(null)),
        ("num_hidden_layers", json!(1_000_000)),
        ("vocab_size", json!("many")),
        ("rms_norm_eps", json!(-1e-6)),
        ("rms_norm_eps", json!(null)),
        ("tie_word_embeddings", json!(1)),
        ("head_dim", json!(15)),
        ("num_key_value_heads", json!(3)),
    ] {
        check("qwen2", json!({key: value}), &[key]);
    }
    check("llama", json!({"num_attention_heads": 6, "num_key_value_heads": 6, "head_dim": "-"}), &["not a multiple"]);
    check("llama", json!({"hidden_size": 6, "num_attention_heads": 2, "head_dim": "-"}), &["is 3", "even"]);
    check("qwen2", json!({"hidden_size": 4, "num_attention_heads": 8, "head_dim": "-"}), &["is 0"]);
}

#[test]
fn other_files_and_models_are_refused() {
    check(
        "mpt",
        json!({}),
        &["model_type `mpt`", "layerstep runs llama, mistral, mixtral, qwen2, qwen3, gemma2, gpt2"],
    );
    check("t5", json!({}), &["model_type `t5`"]);
    check("llama", json!({"model_type": "-"}), &["no `model_type`"]);
    check("llama", json!({"model_type": 3}), &["model_type", "a string"]);
    for text in ["", "[]", "{", "3", "null", "{\"model_type\": \"llama\",}", &"[".repeat(100_000)] {
        let error = Spec::from_json(text, "f").expect_err("no object").to_string();
        assert!(error.starts_with("f is not a JSON object"), "{error}");
    }
}
