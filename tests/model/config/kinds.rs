//! Kinds of layers of one model: windows by rotation, heads of two widths, keys that layers share.

use layerstep::model::Spec;
use layerstep::model::spec::Mlp;
use layerstep::ops::Activation;
use serde_json::{Value, json};

use super::{check, feed, read, windows_of};

#[test]
fn windows_are_where_lists_and_rotations_say() {
    let types = json!(["sliding_attention", "full_attention", "full_attention", "sliding_attention"]);
    let ministral = |changes: Value| windows_of(&read("ministral", changes).0);
    assert_eq!(ministral(json!({"sliding_window": 5})), [Some(5); 4]);
    assert_eq!(ministral(json!({"sliding_window": 5, "layer_types": types})), [Some(5), None, None, Some(5)]);
    check("ministral", json!({"sliding_window": null, "layer_types": types}), &["layer_types has sliding_attention"]);
    let on = |changes: Value| {
        let mut keys = json!({"use_sliding_window": true, "sliding_window": 5});
        keys.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
        windows_of(&read("smollm3", keys).0)
    };
    assert_eq!(on(json!({})), [None, None, None, Some(5)]);
    assert_eq!(on(json!({"no_rope_layers": [0, 1, 1, 0]})), [Some(5), None, None, Some(5)]);
    assert_eq!(on(json!({"layer_types": types})), [Some(5), None, None, Some(5)]);
    assert_eq!(on(json!({"use_sliding_window": false})), [None; 4]);
}

/// Width of heads, key heads, and whose keys are read.
fn heads(spec: &Spec) -> Vec<(usize, usize, Option<usize>)> {
    spec.layers.iter().map(|layer| (layer.attn.head_dim, layer.attn.kv_heads, layer.attn.from)).collect()
}

#[test]
fn layers_without_a_window_have_heads_of_their_own() {
    let gemma4 = |changes: Value| read("gemma4_text", changes).0;
    let usual = (16, 2, None);
    assert_eq!(heads(&gemma4(json!({}))), [usual, usual, usual, (512, 2, None)], "the last has no window");
    let old = json!({"global_head_dim": 32, "num_global_key_value_heads": 1, "attention_k_eq_v": true});
    let new = json!({"per_layer_config": {"3": {"head_dim": 32, "num_key_value_heads": 1}}, "attention_k_eq_v": true});
    let spec = gemma4(old);
    assert_eq!(heads(&spec), [usual, usual, usual, (32, 1, None)]);
    assert_eq!(spec, gemma4(new));
    assert!(spec.layers[3].attn.values_are_keys && !spec.layers[2].attn.values_are_keys);
    let other = json!({"per_layer_config": {"2": {"head_dim": 32}}});
    check("gemma4_text", other, &["per_layer_config", "without a window"]);
    check("gemma4_text", json!({"global_head_dim": 33}), &["33 channels"]);
    check("gemma4_text", json!({"use_bidirectional_attention": "all"}), &["use_bidirectional_attention", "all"]);
}

#[test]
fn experts_stand_beside_the_mlp_where_a_flag_says_so() {
    let keys =
        |on: bool| json!({"enable_moe_block": on, "num_experts": 6, "top_k_experts": 2, "moe_intermediate_size": 24});
    let (spec, notes) = read("gemma4_text", keys(true));
    assert_eq!(notes, Vec::<String>::new());
    for layer in &spec.layers {
        let beside = layer.beside.as_ref().expect("experts");
        let experts = &beside.experts;
        assert_eq!((experts.count, experts.router.top_k, experts.feed.width), (6, 2, 24));
        assert!(experts.router.renormalise && experts.scaled && experts.router_norm.is_some_and(|norm| !norm.weight));
        assert_eq!(feed(&layer.mlp).width, 9216, "the MLP is there, too");
    }
    assert!(read("gemma4_text", keys(false)).0.layers.iter().all(|layer| layer.beside.is_none()));
    check(
        "gemma4_text",
        json!({"enable_moe_block": true, "num_experts": 2, "top_k_experts": 3}),
        &["top_k_experts (3)"],
    );
    let whole = json!({"model_type": "gemma4", "text_config": {"model_type": "gemma4_text", "enable_moe_block": true,
        "num_experts": 6, "top_k_experts": 2, "moe_intermediate_size": 24}});
    let (wrapped, _) = Spec::from_json(&whole.to_string(), "f").expect("a config");
    assert!(wrapped.is_wrapped && wrapped.layers[0].beside == spec.layers[0].beside);
}

/// `DbrxConfig` of transformers.
#[test]
fn keys_stand_in_objects_of_their_own() {
    let keys = |attention: Value, experts: Value| {
        json!({"d_model": 64, "n_heads": 4, "n_layers": 2, "attn_config": attention, "ffn_config": experts,
            "hidden_size": "-", "num_attention_heads": "-", "num_hidden_layers": "-", "num_key_value_heads": "-",
            "head_dim": "-"})
    };
    let dbrx = |attention: Value, experts: Value| read("dbrx", keys(attention, experts));
    let experts = json!({"moe_num_experts": 6, "moe_top_k": 3, "ffn_hidden_size": 24, "ffn_act_fn": {"name": "gelu"},
        "moe_jitter_eps": 0.01, "model_type": "", "hidden_size": 6144});
    let (spec, notes) = dbrx(json!({"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 1e4, "attn_pdrop": 0.1}), experts);
    assert_eq!(notes, Vec::<String>::new());
    let attn = &spec.layers[0].attn;
    assert_eq!((spec.hidden, attn.heads, attn.kv_heads, attn.clip), (64, 4, 2, Some(8.0)));
    let Mlp::Experts(experts) = &spec.layers[0].mlp else { panic!("it has experts") };
    assert_eq!((experts.count, experts.router.top_k, experts.feed.width), (6, 3, 24));
    assert_eq!((experts.feed.act, experts.router.renormalise), (Activation::Gelu, true));
    let (plain, _) = dbrx(Value::Null, json!({"moe_normalize_expert_weights": null}));
    let Mlp::Experts(experts) = &plain.layers[0].mlp else { panic!("it has experts") };
    assert!(!experts.router.renormalise && plain.layers[0].attn.kv_heads == 1);
    let check = |attention: Value, experts: Value, fragments: &[&str]| {
        check("dbrx", keys(attention, experts), fragments);
    };
    check(json!({"kv_n_heads": 3}), Value::Null, &["attn_config.kv_n_heads (3)"]);
    check(
        json!({"rope_theta": 5e5}),
        Value::Null,
        &["attn_config.rope_theta is 500000.0", "rope_theta, which is 10000"],
    );
    check(Value::Null, json!({"moe_normalize_expert_weights": 2.0}), &["moe_normalize_expert_weights", "2.0"]);
    check(json!([1]), Value::Null, &["attn_config", "an object"]);
}

#[test]
fn layers_read_the_keys_of_the_last_of_their_kind() {
    let types = json!(["sliding_attention", "full_attention", "sliding_attention", "full_attention"]);
    let keys = json!({"layer_types": types, "num_kv_shared_layers": 2, "use_double_wide_mlp": true});
    let (spec, _) = read("gemma4_text", keys);
    let from: Vec<Option<usize>> = heads(&spec).into_iter().map(|(.., from)| from).collect();
    assert_eq!(from, [None, None, Some(0), Some(1)]);
    let wide: Vec<usize> = spec.layers.iter().map(|layer| feed(&layer.mlp).width).collect();
    assert_eq!(wide, [9216, 9216, 18_432, 18_432]);
    check("gemma4_text", json!({"num_kv_shared_layers": 2}), &["num_kv_shared_layers (2)", "layer 3 no keys"]);
}

#[test]
fn inputs_of_layers_are_there_unless_their_width_is_zero() {
    let of = |width: Value| {
        let keys = json!({"hidden_size_per_layer_input": width});
        read("gemma4_text", keys).0.per_layer.map(|per_layer| per_layer.width)
    };
    assert_eq!((of(json!("-")), of(json!(8)), of(json!(0)), of(Value::Null)), (Some(256), Some(8), None, None));
}
