//! What stands in the place of attention, and in which layers.

use layerstep::model::Spec;
use layerstep::model::spec::{Layer, Mixer, Mlp, Wiring};
use layerstep::ops::Activation;
use serde_json::{Value, json};

use super::{check, feed, read};

/// Which layers have no attention.
fn mixed(spec: &Spec) -> Vec<bool> {
    spec.layers.iter().map(|layer| layer.mixer.is_some()).collect()
}

#[test]
fn layers_are_listed_or_counted() {
    let types = json!({"layer_types": ["full_attention", "conv", "conv", "full_attention"]});
    assert_eq!(mixed(&read("lfm2", types).0), [false, true, true, false]);
    assert_eq!(mixed(&read("lfm2", json!({"full_attn_idxs": [1, 3]})).0), [true, false, true, false]);
    assert_eq!(mixed(&read("lfm2", json!({})).0), [false; 4], "a class without either has attention everywhere");
    assert_eq!(mixed(&read("qwen3_next", json!({})).0), [true, true, true, false]);
    assert_eq!(mixed(&read("qwen3_5_text", json!({"full_attention_interval": 2})).0), [true, false, true, false]);
}

#[test]
fn a_width_is_made_of_the_keys() {
    let width = |changes| feed(&read("lfm2", changes).0.layers[0].mlp).width;
    assert_eq!(width(json!({"block_ff_dim": 6656})), 4608);
    assert_eq!(
        width(json!({"intermediate_size": 6656, "block_ffn_dim_multiplier": 1.3, "block_multiple_of": 100})),
        5800
    );
    assert_eq!(width(json!({"intermediate_size": 6656, "block_auto_adjust_ff_dim": false})), 6656);
}

#[test]
fn sizes_are_read() {
    let sizes = json!({"linear_num_value_heads": 8, "linear_num_key_heads": 4, "linear_conv_kernel_dim": 3});
    let Some(Mixer::Delta(delta)) = read("qwen3_next", sizes).0.layers[0].mixer else { panic!("a delta rule") };
    assert_eq!((delta.heads, delta.key_heads, delta.taps, delta.key_dim, delta.head_dim), (8, 4, 3, 128, 128));
    assert_eq!((delta.norm.offset, delta.norm.rounded_once), (0.0, false), "its norm is plain");
    let layers = json!({"full_attn_idxs": [], "conv_L_cache": 5, "conv_bias": true});
    let Some(Mixer::ShortConvolution(found)) = read("lfm2", layers).0.layers[3].mixer else { panic!("a convolution") };
    assert_eq!((found.taps, found.bias), (5, true));
}

#[test]
fn selective_state_spaces_are_read() {
    let mamba = |name, changes: Value| match read(name, changes).0.layers[0].mixer {
        Some(Mixer::Mamba2(mamba)) => mamba,
        other => panic!("{other:?}"),
    };
    let sizes = |extra: Value| {
        let mut sizes = json!({"mamba_n_heads": 8, "mamba_n_groups": 2, "mamba_d_state": 16, "mamba_d_conv": 3});
        for (key, value) in extra.as_object().expect("an object") {
            sizes[key] = value.clone();
        }
        sizes
    };
    let found = mamba("bamba", sizes(json!({"mamba_d_head": "auto", "mamba_proj_bias": true})));
    assert_eq!((found.heads, found.head_dim, found.groups, found.state, found.taps), (8, 16, 2, 16, 3));
    assert!(found.taps_bias && found.biases == [true; 2] && found.norm.is_some_and(|norm| norm.weight));
    let found = mamba("granitemoehybrid", sizes(json!({"mamba_expand": 1, "mamba_conv_bias": false})));
    assert_eq!((found.head_dim, found.taps_bias, found.biases), (8, false, [false; 2]));
    let changed = sizes(json!({"mamba_d_head": 12}));
    check("bamba", changed, &["8 heads (mamba_n_heads) of 12 channels (mamba_d_head)", "mamba_expand (2)"]);
    check("bamba", sizes(json!({"mamba_n_groups": 3})), &["in 3 groups (mamba_n_groups)"]);
}

#[test]
fn steps_of_time_have_no_limit() {
    let sizes = json!({"mamba_n_heads": 8, "time_step_limit": [0.0, {"__float__": "Infinity"}]});
    let (spec, notes) = read("bamba", sizes.clone());
    assert!(notes.is_empty() && spec.layers[0].mixer.is_some(), "{notes:?}");
    // As Python's own json writes it, beside a text that says the same.
    let text =
        r#"{"model_type": "bamba", "mamba_n_heads": 128, "time_step_limit": [0.0, Infinity], "note": "\"Infinity"}"#;
    let (plain, notes) = Spec::from_json(text, "f").unwrap_or_else(|error| panic!("{error}"));
    assert!(notes.is_empty() && plain.layers[0].mixer.is_some(), "{notes:?}");
    check("bamba", json!({"mamba_n_heads": 8, "time_step_limit": [0.001, 0.1]}), &["time_step_limit", "infinity"]);
}

#[test]
fn a_state_space_stands_beside_attention() {
    let keys = |extra: Value| {
        let mut keys = json!({
            "mamba_n_heads": 8, "mamba_d_ssm": 48, "ssm_in_multiplier": 1.25, "ssm_out_multiplier": 0.5,
            "attention_in_multiplier": 2.0, "attention_out_multiplier": 0.9, "key_multiplier": 0.4,
            "ssm_multipliers": [0.5, 0.25, 0.75, 2, 0.125], "mlp_multipliers": [0.8, 0.6], "projectors_bias": true,
        });
        for (key, value) in extra.as_object().expect("an object") {
            keys[key] = value.clone();
        }
        keys
    };
    let (spec, notes) = read("falcon_h1", keys(json!({})));
    let layer = &spec.layers[0];
    let Some(Mixer::Mamba2(found)) = layer.mixer else { panic!("a selective state space") };
    assert!(notes.is_empty(), "{notes:?}");
    assert_eq!((layer.abreast, found.head_dim, found.biases), (Some([0.5, 0.9]), 6, [false, true]));
    assert_eq!((found.input_factor, found.factors), (1.25, [0.5, 0.25, 0.75, 2.0, 0.125]));
    assert_eq!((layer.attn.input_factor, layer.attn.key_factor, feed(&layer.mlp).factors), (2.0, 0.4, [0.8, 0.6]));
    assert!(found.norm.is_none(), "nothing is normed unless a key says so");
    let mamba = |extra| match read("falcon_h1", keys(extra)).0.layers[3].mixer {
        Some(Mixer::Mamba2(mamba)) => mamba,
        other => panic!("{other:?}"),
    };
    let normed = mamba(json!({"mamba_rms_norm": true, "ssm_multipliers": null, "mlp_multipliers": null}));
    assert!(normed.norm_first && normed.norm.is_some_and(|norm| norm.rounded_once) && normed.factors == [1.0; 5]);
    assert!(!mamba(json!({"mamba_rms_norm": true, "mamba_norm_before_gate": false})).norm_first);
    let expanded = mamba(json!({"mamba_d_ssm": null, "mamba_expand": 3}));
    assert_eq!(expanded.heads * expanded.head_dim, 3 * spec.hidden);
    check("falcon_h1", keys(json!({"ssm_multipliers": [1.0, 1.0]})), &["ssm_multipliers", "a list of 5"]);
    check("falcon_h1", keys(json!({"mlp_multipliers": [1.0, -1.0]})), &["mlp_multipliers", "above 0"]);
    check("falcon_h1", keys(json!({"mamba_d_head": 5})), &["5 channels (mamba_d_head)", "mamba_d_ssm (48)"]);
}

#[test]
fn blocks_have_one_part_each() {
    let parts = |keys: Value| {
        let spec = read("nemotron_h", keys).0;
        let part = |layer: &Layer| match (layer.wiring, &layer.mixer, &layer.mlp) {
            (Wiring::MixerOnly, Some(Mixer::Mamba2(_)), _) => 'M',
            (Wiring::MixerOnly, None, _) => '*',
            (Wiring::MlpOnly, _, Mlp::Plain(_)) => '-',
            (Wiring::MlpOnly, _, Mlp::Experts(experts)) if !experts.gated => 'E',
            other => panic!("{other:?}"),
        };
        spec.layers.iter().map(part).collect::<String>()
    };
    assert_eq!(parts(json!({})), "ME*-", "whatever num_hidden_layers says");
    assert_eq!(parts(json!({"hybrid_override_pattern": "M-M*-E"})), "M-M*-E");
    let words =
        json!({"layers_block_type": ["full_attention", "moe", "linear_attention", "mamba", "attention", "mlp"]});
    assert_eq!(parts(words), "*EMM*-");
    let both = json!({"layers_block_type": ["mlp", "moe"], "hybrid_override_pattern": "MM"});
    assert_eq!(parts(both), "-E", "the list wins");
    let sizes = json!({"hybrid_override_pattern": "M", "mamba_num_heads": 8, "mamba_head_dim": 6, "n_groups": 2,
        "time_step_min": 0.01, "use_bias": true, "mamba_hidden_act": "gelu"});
    let (spec, notes) = read("nemotron_h", sizes);
    let Some(Mixer::Mamba2(found)) = spec.layers[0].mixer else { panic!("a selective state space") };
    assert!(notes.is_empty() && spec.layers[0].attn.rope.is_none() && spec.embed.learned.is_none(), "{notes:?}");
    assert_eq!((found.heads, found.head_dim, found.groups, found.state, found.taps), (8, 6, 2, 128, 4));
    assert_eq!((found.least_step, found.biases, found.act), (Some(0.01), [true; 2], Activation::Gelu));
    assert!(found.norm.is_some_and(|norm| !norm.rounded_once) && spec.norm.is_some_and(|norm| norm.rounded_once));
    check("nemotron_h", json!({"hybrid_override_pattern": "M+"}), &["hybrid_override_pattern", "letters M*-E"]);
    check("nemotron_h", json!({"layers_block_type": ["conv"]}), &["layers_block_type", "linear_attention"]);
    check("nemotron_h", json!({"moe_latent_size": 16}), &["moe_latent_size"]);
}

#[test]
fn layers_of_state_spaces_are_listed_or_all() {
    let some = |keys: Value| {
        let mut keys = keys;
        keys["mamba_n_heads"] = json!(8);
        keys
    };
    let types = some(json!({"layer_types": ["mamba", "attention", "linear_attention", "full_attention"]}));
    assert_eq!(mixed(&read("granitemoehybrid", types).0), [true, false, true, false]);
    assert_eq!(mixed(&read("granitemoehybrid", some(json!({}))).0), [true; 4]);
    assert_eq!(mixed(&read("bamba", some(json!({"attn_layer_indices": [1]}))).0), [true, false, true, true]);
    assert_eq!(mixed(&read("bamba", some(json!({}))).0), [true; 4], "without the key all layers have one");
    let rotated = |word: &str| {
        let keys = some(json!({"layer_types": vec!["attention"; 4], "position_embedding_type": word}));
        read("granitemoehybrid", keys).0.layers[3].attn.rope.is_some()
    };
    assert!(rotated("rope") && !rotated("nope"));
    let alone = some(json!({"num_local_experts": 0, "shared_intermediate_size": 48}));
    assert_eq!(
        feed(&read("granitemoehybrid", alone).0.layers[0].mlp).width,
        48,
        "the MLP of every token is the only one"
    );
}

#[test]
fn other_words_are_refused() {
    check("lfm2", json!({"layer_types": ["conv", "mamba", "conv", "conv"]}), &["layer_types", "mamba", "conv"]);
    check("llama", json!({"layer_types": vec!["linear_attention"; 4]}), &["layer_types", "linear_attention"]);
    check("qwen3_next", json!({"linear_num_key_heads": 3}), &["linear_num_value_heads", "linear_num_key_heads (3)"]);
    check("qwen3_next", json!({"attn_output_gate": false}), &["attn_output_gate"]);
    check("lfm2_moe", json!({"use_expert_bias": false}), &["use_expert_bias"]);
}
