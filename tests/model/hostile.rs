//! Files with every byte changed in turn are read or refused, and nothing panics.

use layerstep::model::{ChatTemplate, GenerationDefaults, Message, Model, Spec, Tokenizer};

use crate::load::{CONFIG, bytes, good};

/// `text` cut off at every place, and with every byte replaced by each of a few.
fn mutations(text: &[u8], upto: usize) -> impl Iterator<Item = Vec<u8>> {
    let cut = (0..text.len()).map(|end| text[..end].to_vec());
    let replaced = (0..upto.min(text.len())).flat_map(move |at| {
        [0, b'"', b'-', b'9', b'[', b'{', b'}', 0xFF].map(|byte| {
            let mut text = text.to_vec();
            text[at] = byte;
            text
        })
    });
    cut.chain(replaced)
}

#[test]
fn weights() {
    let whole = bytes(&good());
    let header = 8 + u64::from_le_bytes(*whole.first_chunk().expect("a length")) as usize;
    let mut refused = 0;
    for file in mutations(&whole, header) {
        refused += usize::from(Model::from_bytes(CONFIG, &file).is_err());
    }
    assert!(refused > whole.len(), "{refused}");
}

#[test]
fn configurations() {
    let text = r#"{"model_type": "qwen3", "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2,
        "num_hidden_layers": 2, "head_dim": 16, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1,
        "high_freq_factor": 4, "original_max_position_embeddings": 8192}, "layer_types": ["full_attention",
        "sliding_attention"], "use_sliding_window": true, "sliding_window": 5, "eos_token_id": [1, 2], "temperature": 0.6}"#;
    assert!(Spec::from_json(text, "f").is_ok());
    for text in mutations(text.as_bytes(), usize::MAX) {
        let text = String::from_utf8_lossy(&text);
        for message in [
            Spec::from_json(&text, "f").map_err(|error| error.to_string()).err(),
            GenerationDefaults::from_json(&text, "f").map_err(|error| error.to_string()).err(),
        ] {
            assert!(message.is_none_or(|message| message.starts_with("f ") && !message.contains(char::is_control)));
        }
    }
}

#[test]
fn tokenizers() {
    let text = include_bytes!("../fixtures/model/byte_level.json");
    for text in mutations(text, usize::MAX).step_by(7) {
        if let Ok(tokenizer) = Tokenizer::from_bytes(&text, "f") {
            let ids = tokenizer.encode("the cat 🦀\n<|end|>", true).unwrap_or_default();
            let _ = tokenizer.decode(&ids, false);
            assert!(ids.iter().all(|id| !tokenizer.piece(*id).starts_with("<id ")));
        }
    }
}

#[test]
fn templates() {
    let text = "{% set ns = namespace(n=0) %}{%- for m in messages[::-1] -%}{% generation %}{{ m['content'][1:] | tojson(indent=2) }}\
        {% endgeneration %}{% set ns.n = ns.n + 1 %}{{ strftime_now('%d') }}{% endfor %}{{ ns.n }}";
    for text in mutations(text.as_bytes(), usize::MAX) {
        let text = String::from_utf8_lossy(&text);
        if let Ok(template) = ChatTemplate::from_text(&text, "{}", "f") {
            let _ = template.render(&[Message::new("user", "Hé")], true);
        }
    }
}
