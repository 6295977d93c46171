//! Models of several parts: the keys of the language model, wherever they stand.

use layerstep::model::Spec;
use serde_json::{Value, json};

fn whole(keys: &Value) -> Result<(Spec, Vec<String>), String> {
    Spec::from_json(&keys.to_string(), "DIR/config.json").map_err(|error| error.to_string())
}

const VISION: &str = "vision_config";

#[test]
fn keys_of_the_language_model_stand_inside_or_among_the_others() {
    let rope = json!({"type": "mrope", "mrope_section": [2, 3, 3]});
    let text = json!({"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2,
        "rope_theta": 5e5, "rope_scaling": rope, "tie_word_embeddings": true});
    let mut flat = text.clone();
    for (key, value) in [("model_type", json!("qwen2_vl")), (VISION, json!({"depth": 1})), ("image_token_id", json!(3))]
    {
        flat[key] = value;
    }
    let nested = json!({"model_type": "qwen2_vl", "text_config": text, VISION: {"depth": 1}, "image_token_id": 3});
    let (flat, nested) = (whole(&flat).expect("flat"), whole(&nested).expect("nested"));
    assert_eq!(flat, nested);
    let (spec, notes) = flat;
    assert_eq!((spec.family, spec.is_wrapped, spec.head.is_some_and(|head| head.tied)), ("qwen2_vl_text", true, true));
    assert_eq!(notes, Vec::<String>::new());
    let rope = spec.layers[0].attn.rope.as_ref().expect("it rotates");
    assert_eq!((rope.theta, rope.scaling.name(), rope.dims), (5e5, "default", 16));
}

#[test]
fn what_the_whole_says_of_the_head_wins() {
    let tied = |outer: Value, inner: Value| {
        let mut keys = json!({"model_type": "gemma3", "text_config": {"model_type": "gemma3_text"}});
        for (key, value) in outer.as_object().expect("an object") {
            keys[key] = value.clone();
        }
        keys["text_config"]["tie_word_embeddings"] = inner;
        whole(&keys).expect("read").0.head.is_some_and(|head| head.tied)
    };
    assert!(tied(json!({}), json!(true)));
    assert!(!tied(json!({}), json!(false)));
    assert!(!tied(json!({"tie_word_embeddings": false}), json!(true)));
    let bare = json!({"model_type": "mistral3", "text_config": {}});
    assert!(
        whole(&bare).expect("read").0.head.is_some_and(|head| head.tied),
        "the class of the whole has another default than Mistral"
    );
}

#[test]
fn what_is_not_a_language_model_that_runs_is_refused() {
    let refused = |keys: Value, words: &[&str]| {
        let message = whole(&keys).expect_err("refused");
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    };
    refused(json!({"model_type": "mistral3"}), &["text_config", "the keys of the language model"]);
    refused(json!({"model_type": "mistral3", "text_config": {"model_type": "foo"}}), &["model_type `foo`"]);
    let wide = json!({"model_type": "gemma3", "text_config": {"hidden_size": "wide"}});
    refused(wide, &["text_config.hidden_size", "wide"]);
    let quantised = json!({"model_type": "gemma3", "text_config": {}, "quantization_config": {"bits": 4}});
    refused(quantised, &["quantization_config", "gemma3"]);
    refused(json!({"model_type": "llama", "rope_scaling": {"type": "mrope", "factor": 2.0}}), &["mrope"]);
}
