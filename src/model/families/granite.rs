//! Granite 3: Llama with a factor of the embeddings, of what is added to the stream, of scores and of logits.
//! `GraniteConfig` and `modeling_granite.py`.

use super::llama::LLAMA;
use super::{Family, LogitFactor, ScaleRow};

pub(super) const GRANITE: Family = Family {
    name: "granite",
    whole_heads: false,
    scale: ScaleRow::Own("attention_multiplier", 1.0),
    embed_factor: Some("embedding_multiplier"),
    residual_factor: Some("residual_multiplier"),
    logit_factor: Some(LogitFactor { key: "logits_scaling", default: 1.0, divides: true }),
    ..LLAMA
};
