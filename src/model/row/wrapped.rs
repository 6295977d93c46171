//! Checkpoints of several models, of which one is a language model.

/// A model of several parts, of which the language model is run.
#[derive(Debug)]
pub struct Wrapped {
    /// Its `model_type` in config.json.
    pub name: &'static str,
    /// That of its `text_config`, where it does not say it.
    pub text: &'static str,
    /// Whether keys of the language model may stand in config.json itself, as transformers 4 wrote them.
    pub flat: bool,
    /// What a missing `tie_word_embeddings` stands for.
    pub tied: bool,
    /// Keys of the language model that the class of the whole does not read.
    pub without: &'static [&'static str],
}

impl Wrapped {
    /// What the names of the language model's modules begin with.
    pub const ROOT: &'static str = "model.language_model.";

    /// What they begin with in checkpoints, beside that.
    pub const ROOTS: &'static [&'static str] = &["language_model.model.", "model.", ""];

    /// The head's beginning in checkpoints, beside its own.
    pub const HEADS: &'static [&'static str] = &["language_model.lm_head.", "model.language_model.lm_head."];

    /// What the names of the other parts' tensors begin with, with `model.` before it or without.
    pub const OTHERS: &'static [&'static str] = &[
        "visual.",
        "vision_tower.",
        "vision_model.",
        "multi_modal_projector.",
        "embed_vision.",
        "audio_tower.",
        "embed_audio.",
    ];

    /// Keys of config.json that are about the other parts.
    pub const KEYS: &'static [&'static str] = &["text_config", "vision_config", "audio_config"];

    /// Whether a tensor is one of the other parts.
    pub fn is_other(name: &str) -> bool {
        let name = name.strip_prefix("model.").unwrap_or(name);
        Self::OTHERS.iter().any(|other| name.starts_with(other))
    }
}
