//! What a family of encoders has: every token sees those behind it as well, and no head follows.

use super::Switch;

/// An encoder, beside what it has of a decoder.
#[derive(Clone, Copy, Debug)]
pub struct EncoderRow {
    /// Whether the first block lacks the norm before attention: ModernBERT, whose embeddings are normed.
    pub first_unnormed: bool,
    /// Whether norms have biases, beside what the row of norms says.
    pub norm_bias: Switch,
    /// How many types of tokens there are by default, where there are such.
    pub types: Option<usize>,
    /// Whether positions are counted from behind the id of the pad, with its default: `RoBERTa`.
    pub behind_pad: Option<usize>,
    /// The key of the length of windows; half of it is seen to each side.
    pub window: &'static str,
}

impl EncoderRow {
    /// A decoder that sees both ways: embedders made of one.
    pub const DECODER: Self = Self {
        first_unnormed: false,
        norm_bias: Switch::Never,
        types: None,
        behind_pad: None,
        window: "sliding_window",
    };

    pub(super) fn reads(&self, key: &str) -> bool {
        key == self.window
            || matches!(self.norm_bias, Switch::Key(own) | Switch::Unless(own) if own == key)
            || (self.types.is_some() && ["type_vocab_size", "position_embedding_type"].contains(&key))
    }
}
