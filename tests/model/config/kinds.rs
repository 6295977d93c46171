//! Kinds of layers of one model: windows by rotation, heads of two widths, keys that layers share.

use layerstep::model::Spec;
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
    check("gemma4_text", json!({"enable_moe_block": true}), &["enable_moe_block"]);
    check("gemma4_text", json!({"use_bidirectional_attention": "all"}), &["use_bidirectional_attention", "all"]);
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
