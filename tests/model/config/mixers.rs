//! What stands in the place of attention, and in which layers.

use layerstep::model::Spec;
use layerstep::model::spec::Mixer;
use serde_json::json;

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
fn other_words_are_refused() {
    check("lfm2", json!({"layer_types": ["conv", "mamba", "conv", "conv"]}), &["layer_types", "mamba", "conv"]);
    check("llama", json!({"layer_types": vec!["linear_attention"; 4]}), &["layer_types", "linear_attention"]);
    check("qwen3_next", json!({"linear_num_key_heads": 3}), &["linear_num_value_heads", "linear_num_key_heads (3)"]);
    check("qwen3_next", json!({"attn_output_gate": false}), &["attn_output_gate"]);
    check("lfm2_moe", json!({"use_expert_bias": false}), &["use_expert_bias"]);
}
