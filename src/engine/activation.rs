//! The table of activations: everything that is known about an activation is declared here, once.

use crate::model::Config;

/// What one op of the program writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant is described by its row of ACTIVATIONS")]
pub enum Activation {
    EmbedTokens,
    InputNorm,
    QProj,
    KProj,
    VProj,
    QNorm,
    KNorm,
    QRope,
    KRope,
    Scores,
    Probs,
    Context,
    OProj,
    ResidMid,
    PostAttentionNorm,
    GateProj,
    UpProj,
    ActFn,
    ActMul,
    DownProj,
    Block,
    FinalNorm,
    LmHead,
}

/// One axis of an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Rows of the current forward.
    Token,
    /// Channels of the residual stream.
    Hidden,
    /// Query heads side by side: `heads * head_dim`.
    QueryFeature,
    /// Key or value heads side by side: `kv_heads * head_dim`.
    KeyFeature,
    /// Query heads.
    Head,
    /// Key and value heads.
    KeyHead,
    /// Channels of one head.
    HeadDim,
    /// Rows of the current forward, as queries.
    Query,
    /// All positions so far, as keys.
    Key,
    /// Channels of the MLP.
    Intermediate,
    /// Token ids.
    Vocab,
}

impl Axis {
    /// The name shown beside the axis.
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Hidden => "hidden",
            Self::QueryFeature => "head*head_dim",
            Self::KeyFeature => "kv_head*head_dim",
            Self::Head => "head",
            Self::KeyHead => "kv_head",
            Self::HeadDim => "head_dim",
            Self::Query => "query",
            Self::Key => "key",
            Self::Intermediate => "intermediate",
            Self::Vocab => "vocab",
        }
    }

    /// Whether it counts the rows of a forward.
    pub fn is_row(self) -> bool {
        matches!(self, Self::Token | Self::Query)
    }

    /// Its length in a forward of `tokens` rows that sees `keys` positions.
    pub fn length(self, config: &Config, tokens: usize, keys: usize) -> usize {
        match self {
            Self::Token | Self::Query => tokens,
            Self::Hidden => config.hidden_size,
            Self::QueryFeature => config.num_attention_heads * config.head_dim,
            Self::KeyFeature => config.num_key_value_heads * config.head_dim,
            Self::Head => config.num_attention_heads,
            Self::KeyHead => config.num_key_value_heads,
            Self::HeadDim => config.head_dim,
            Self::Key => keys,
            Self::Intermediate => config.intermediate_size,
            Self::Vocab => config.vocab_size,
        }
    }
}

/// One row of [`ACTIVATIONS`].
#[derive(Debug)]
pub struct Row {
    /// Which activation.
    pub activation: Activation,
    /// Hugging Face module path: the whole name, or what follows `model.layers.N.` (empty for the block itself).
    pub path: &'static str,
    /// The short form: `3.q_rope`, `norm`.
    pub short: &'static str,
    /// Whether every layer has one.
    pub per_layer: bool,
    /// Names of the axes, outermost first.
    pub axes: &'static [Axis],
    /// One line for people.
    pub meaning: &'static str,
}

const fn layer(
    activation: Activation,
    path: &'static str,
    short: &'static str,
    axes: &'static [Axis],
    meaning: &'static str,
) -> Row {
    Row { activation, path, short, per_layer: true, axes, meaning }
}

const fn whole(
    activation: Activation,
    path: &'static str,
    short: &'static str,
    axes: &'static [Axis],
    meaning: &'static str,
) -> Row {
    Row { activation, path, short, per_layer: false, axes, meaning }
}

const RESIDUAL: &[Axis] = &[Axis::Token, Axis::Hidden];
const QUERY_ROWS: &[Axis] = &[Axis::Token, Axis::QueryFeature];
const KEY_ROWS: &[Axis] = &[Axis::Token, Axis::KeyFeature];
const QUERY_HEADS: &[Axis] = &[Axis::Head, Axis::Token, Axis::HeadDim];
const KEY_HEADS: &[Axis] = &[Axis::KeyHead, Axis::Token, Axis::HeadDim];
const PATTERN: &[Axis] = &[Axis::Head, Axis::Query, Axis::Key];
const MLP: &[Axis] = &[Axis::Token, Axis::Intermediate];

/// All activations, in the order of the forward pass; those of a layer are repeated for each layer.
#[rustfmt::skip]
pub const ACTIVATIONS: &[Row] = &[
    whole(Activation::EmbedTokens, "model.embed_tokens", "embed_tokens", RESIDUAL, "rows of the embedding table: the residual stream at its start"),
    layer(Activation::InputNorm, "input_layernorm", "input_layernorm", RESIDUAL, "the residual stream, normalised for attention"),
    layer(Activation::QProj, "self_attn.q_proj", "q_proj", QUERY_ROWS, "queries"),
    layer(Activation::KProj, "self_attn.k_proj", "k_proj", KEY_ROWS, "keys"),
    layer(Activation::VProj, "self_attn.v_proj", "v_proj", KEY_ROWS, "values"),
    layer(Activation::QNorm, "self_attn.q_norm", "q_norm", QUERY_HEADS, "queries, normalised per head"),
    layer(Activation::KNorm, "self_attn.k_norm", "k_norm", KEY_HEADS, "keys, normalised per head"),
    layer(Activation::QRope, "self_attn.q_rope", "q_rope", QUERY_HEADS, "queries, rotated by their position"),
    layer(Activation::KRope, "self_attn.k_rope", "k_rope", KEY_HEADS, "keys, rotated by their position: what the cache keeps"),
    layer(Activation::Scores, "self_attn.scores", "scores", PATTERN, "q kᵀ / sqrt(head_dim), -inf where masked"),
    layer(Activation::Probs, "self_attn.probs", "probs", PATTERN, "softmax of the scores: the attention pattern"),
    layer(Activation::Context, "self_attn.context", "context", QUERY_ROWS, "values summed by the pattern: the input of o_proj"),
    layer(Activation::OProj, "self_attn.o_proj", "o_proj", RESIDUAL, "what attention adds to the residual stream"),
    layer(Activation::ResidMid, "resid_mid", "resid_mid", RESIDUAL, "the residual stream between attention and MLP"),
    layer(Activation::PostAttentionNorm, "post_attention_layernorm", "post_attention_layernorm", RESIDUAL, "the residual stream, normalised for the MLP"),
    layer(Activation::GateProj, "mlp.gate_proj", "gate_proj", MLP, "gate of the MLP"),
    layer(Activation::UpProj, "mlp.up_proj", "up_proj", MLP, "what the gate lets through"),
    layer(Activation::ActFn, "mlp.act_fn", "act_fn", MLP, "activation function of the gate"),
    layer(Activation::ActMul, "mlp.act_mul", "act_mul", MLP, "act(gate) * up: the input of down_proj"),
    layer(Activation::DownProj, "mlp.down_proj", "down_proj", RESIDUAL, "what the MLP adds to the residual stream"),
    layer(Activation::Block, "", "block", RESIDUAL, "the residual stream after the block"),
    whole(Activation::FinalNorm, "model.norm", "norm", RESIDUAL, "the residual stream, normalised for the head"),
    whole(Activation::LmHead, "lm_head", "lm_head", &[Axis::Token, Axis::Vocab], "logits: one score per token id"),
];

impl Activation {
    /// Its row of the table.
    pub fn row(self) -> &'static Row {
        &ACTIVATIONS[self as usize]
    }

    /// Whether a model has it: only models with q/k norms have `q_norm` and `k_norm`.
    pub fn exists(self, config: &Config) -> bool {
        config.qk_norm || !matches!(self, Self::QNorm | Self::KNorm)
    }

    /// Its shape in a forward of `tokens` rows that sees `keys` positions.
    pub fn shape(self, config: &Config, tokens: usize, keys: usize) -> Vec<usize> {
        self.row().axes.iter().map(|axis| axis.length(config, tokens, keys)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_the_order_of_the_enum() {
        for (index, row) in ACTIVATIONS.iter().enumerate() {
            assert_eq!(row.activation as usize, index, "{}", row.path);
        }
    }
}
