//! What a row of the table of families says: one value per family, made by struct update of another.

mod blocks;
mod encoder;
mod experts;
mod factors;
mod kinds;
mod latent;
mod mixer;
mod reads;
mod rope;
mod wrapped;

use super::role::Names;
pub use super::spec::GateUp;
use super::spec::{Over, Term};
use crate::ops::Form;
pub use blocks::{BlockPart, BlocksRow};
pub use encoder::EncoderRow;
pub use experts::{ExpertsRow, GroupsRow, ScoreRow, SharedRow, SharedWidth, SparseLayers};
pub use factors::FactorsRow;
pub use kinds::{GlobalRow, PerLayerRow, SharingRow};
pub use latent::LatentRow;
pub(in crate::model) use mixer::{DELTA, TIME_STEP_LIMIT};
pub use mixer::{Mamba2Row, MixerKind, MixerLayers, MixerRow};
pub(in crate::model) use rope::POSITIONS;
pub use rope::{RopeRow, Rotated};
pub use wrapped::Wrapped;

/// A family of models.
#[expect(clippy::struct_excessive_bools, reason = "they are independent facts")]
#[derive(Debug)]
pub struct Family {
    /// Its `model_type` in config.json.
    pub name: &'static str,
    /// What the sizes are called in config.json.
    pub keys: Keys,
    /// Keys of sizes that may stand under another name as well, with that name, which wins.
    pub others: &'static [(&'static str, &'static str)],
    /// Rows that stand in for this one.
    pub variants: &'static [(When, &'static Self)],
    /// Keys of objects whose keys are read as if they stood among the others, as `object.key`.
    pub nested: &'static [&'static str],
    /// The key of a width of the table of embeddings, which matrices lead from to the stream and back.
    pub embed_width: Option<&'static str>,
    /// Keys of flags that change the mathematics in a way that is not implemented.
    pub never: &'static [&'static str],
    /// Keys that it reads, beside those that the fields of this row name.
    pub reads: &'static [&'static str],
    /// What a missing key stands for.
    pub defaults: Defaults,
    /// Names of activation functions that mean another one in its files.
    pub acts: &'static [(&'static str, &'static str)],
    /// Whether `xielu` is a function that it has.
    pub xielu: bool,
    /// How its norms compute, but for their eps.
    pub norm: NormRow,
    /// The norms around attention and around the MLP: on what it reads, on what it gives.
    pub around: (bool, bool),
    /// Whether its class checks that the hidden size is a whole number of heads.
    pub whole_heads: bool,
    /// What the MLP of a block reads.
    pub wiring: WiringRow,
    /// Where there is one key head; else as many as the key says, or as query heads.
    pub one_key_head: Switch,
    /// Biases of q, k and v.
    pub qkv_bias: Switch,
    /// The bias of the output projection.
    pub o_bias: Switch,
    /// Biases of the MLP.
    pub mlp_bias: Switch,
    /// The bias of the head.
    pub head_bias: Switch,
    /// Whether q, k and v come out of one matrix.
    pub fused: Fused,
    /// The key of what q, k and v are clipped to; null is nothing.
    pub clip: Option<&'static str>,
    /// Whether queries, keys and values are made of narrow rows.
    pub latent: Option<LatentRow>,
    /// The norm of q and k.
    pub qk_norm: Option<QkNormRow>,
    /// How a query and its keys are rotated; `None`: positions are learned.
    pub rope: Option<RopeRow>,
    /// Whether positions are a slope for each head that is added to scores; then none are learned.
    pub alibi: bool,
    /// Rows of the table of learned positions before that of position 0.
    pub rows_before: usize,
    /// Whether embeddings are normed before the first block.
    pub embed_norm: bool,
    /// What queries of layers that are not rotated are multiplied by: the flag that says whether, true where it is missing, and the
    /// keys of the two constants, with their defaults.
    pub growth: Option<(&'static str, [(&'static str, f64); 2])>,
    /// What stands in the place of attention in some layers.
    pub mixer: Option<MixerRow>,
    /// Which part each block has, where it has one: the number of layers follows from it.
    pub blocks: Option<BlocksRow>,
    /// Whether what attention gives is gated by what the matrix of queries gives beside these.
    pub attn_gate: bool,
    /// Whether each head has a score beside those of the keys.
    pub sinks: bool,
    /// Whether its files have layers behind the last, which predict further tokens; they are not read.
    pub predicts_further: bool,
    /// What products of queries and keys are multiplied by.
    pub scale: ScaleRow,
    /// A key for a further division of the scale by the layer's number, counted from 1.
    pub scale_by_layer: Option<&'static str>,
    /// The key under which the cap of scores stands, and its default.
    pub score_cap: Option<(&'static str, Option<f64>)>,
    /// The key under which the cap of logits stands, and its default.
    pub logit_cap: Option<(&'static str, Option<f64>)>,
    /// Whether embeddings are multiplied by the root of their width.
    pub embed_scale: bool,
    /// The key of a factor of the embeddings.
    pub embed_factor: Option<&'static str>,
    /// The key of a factor of what attention and the MLP add to the stream.
    pub residual_factor: Option<&'static str>,
    /// A factor of the logits.
    pub logit_factor: Option<LogitFactor>,
    /// Factors of parts of a block.
    pub factors: Option<FactorsRow>,
    /// Which layers have a window.
    pub windows: Windows,
    /// What layers without a window have of their own.
    pub global: Option<GlobalRow>,
    /// Layers that read the keys and values of others.
    pub sharing: Option<SharingRow>,
    /// The norm of values, over each head.
    pub v_norm: Option<NormRow>,
    /// Inputs of each layer, beside the stream.
    pub per_layer: Option<PerLayerRow>,
    /// Whether what leaves a block is multiplied by a weight.
    pub layer_scalar: bool,
    /// Keys whose text changes the mathematics, but for this one.
    pub only: &'static [(&'static str, &'static [&'static str])],
    /// Whether the MLP has a gate.
    pub gated: bool,
    /// Whether the width of the MLP is made of the key's, unless a key says otherwise: LFM2.
    pub adjusts_width: bool,
    /// Whether gate and up come out of one matrix.
    pub fused_mlp: GateUp,
    /// Its experts.
    pub experts: Option<ExpertsRow>,
    /// What it has as an encoder, where it is one.
    pub encoder: Option<EncoderRow>,
    /// Names of modules.
    pub names: &'static Names,
    /// What stands before the names of all tensors but the head's.
    pub base: &'static str,
    /// What stands there in some checkpoints; empty: nothing.
    pub roots: &'static [&'static str],
    /// Where tensors lie that are not under their modules' names.
    pub stored: &'static [Stored],
}

/// What the sizes are called in config.json.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "each is named as its key in most files")]
pub struct Keys {
    pub hidden_size: &'static str,
    pub intermediate_size: &'static str,
    pub num_hidden_layers: &'static str,
    pub num_attention_heads: &'static str,
    pub num_key_value_heads: Option<&'static str>,
    pub head_dim: Option<&'static str>,
    pub max_position_embeddings: &'static str,
    /// `None`: no key says it.
    pub eps: Option<&'static str>,
    /// `None`: no key says it.
    pub act: Option<&'static str>,
}

/// What a missing key stands for, in transformers' configuration class.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "each is named as its key in most files")]
pub struct Defaults {
    pub vocab_size: usize,
    pub hidden_size: usize,
    /// `None`: four times the hidden size.
    pub intermediate_size: Option<usize>,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    /// `None`: as many as query heads.
    pub num_key_value_heads: Option<usize>,
    /// `None`: `hidden_size / num_attention_heads`.
    pub head_dim: Option<usize>,
    pub max_position_embeddings: usize,
    pub eps: f64,
    pub act: &'static str,
    pub rope_theta: f64,
    /// `None`: none.
    pub sliding_window: Option<usize>,
    pub tie_word_embeddings: bool,
}

/// How norms compute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormRow {
    /// Root mean square, or `LayerNorm`.
    pub form: Form,
    /// Added to the weight.
    pub offset: f32,
    /// Whether it multiplies by one.
    pub weight: bool,
    /// Whether a bias is added.
    pub bias: bool,
    /// Whether it is rounded once, at the end.
    pub rounded_once: bool,
}

/// Where another row stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Where this key is true.
    Flag(&'static str),
    /// Where this key is false.
    Off(&'static str),
    /// Where this key is this number.
    Number(&'static str, u64),
    /// Where this key is null.
    Null(&'static str),
}

/// The norm of q and k.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QkNormRow {
    /// Where it is there.
    pub at: Switch,
    /// How it computes.
    pub norm: NormRow,
    /// What it is over.
    pub over: Over,
    /// Whether it stands behind the rotation.
    pub after_rope: bool,
    /// Whether layers that are not rotated have none.
    pub rotated_only: bool,
}

/// What the MLP of a block reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WiringRow {
    /// Whether attention and the MLP are normed with what they are added to, and none stands behind the last block: BERT.
    pub post_norm: bool,
    /// Where it reads what attention reads.
    pub parallel: Switch,
    /// Whether a norm of its own stands before it there.
    pub two_norms: bool,
    /// In which order the parts are added there.
    pub order: [Term; 3],
}

/// How q, k and v come out of one matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fused {
    /// They do not.
    No,
    /// As three blocks.
    Blocks,
    /// The queries of the first key head, its key, its value, then those of the second.
    ByKeyHead,
}

/// The scale of scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScaleRow {
    /// The inverse root of the width of a head.
    OfWidth,
    /// The inverse root of what stands under a key, with its default.
    InverseRoot(&'static str, f64),
    /// A number that no key says.
    Fixed(f64),
    /// What stands under a key, with its default.
    Own(&'static str, f64),
}

/// A factor of the logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogitFactor {
    /// Its key.
    pub key: &'static str,
    /// What a missing key stands for.
    pub default: f64,
    /// Whether logits are divided by it.
    pub divides: bool,
}

/// Whether something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// In no model of the family.
    Never,
    /// In all.
    Always,
    /// Where this key is true.
    Key(&'static str),
    /// Where this key is true or missing.
    Unless(&'static str),
    /// Where this key is the number 1 or missing; null is nowhere, and other numbers are refused.
    One(&'static str),
}

/// Which layers have a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Windows {
    /// None.
    None,
    /// Chunks of `attention_chunk_size`, of which the default is given: a query sees the keys of its own. Those that are rotated,
    /// unless `layer_types` says others.
    Chunks(usize),
    /// All, of `sliding_window`.
    All,
    /// All, where `use_sliding_window` is true.
    AllIfUsed,
    /// As `layer_types` says, else from `max_window_layers` on, where `use_sliding_window` is true.
    ByLayer {
        /// The default of `max_window_layers`.
        first: u64,
    },
    /// As `layer_types` says, else all.
    AsListed,
    /// As `layer_types` says, else those that are not rotated, where `use_sliding_window` is true.
    NotRotated,
    /// As `layer_types` says, else all but the first of every so many.
    AllButFirst {
        /// The key of how many.
        key: &'static str,
        /// And its default.
        every: usize,
    },
    /// As `layer_types` says, else all but every so many.
    AllBut {
        /// The key of how many.
        key: Option<&'static str>,
        /// And its default.
        every: usize,
    },
    /// The same, without a key, and never the last.
    AllButLast {
        /// How many.
        every: usize,
    },
}

/// Where a tensor lies in checkpoints.
#[derive(Clone, Copy, Debug)]
pub struct Stored {
    /// How its canonical name ends: behind the layer's number where it has one.
    pub of: &'static str,
    /// Names under which it may lie, behind the layer's number; `{}` is the number of an expert.
    pub at: &'static [&'static str],
    /// What of the stored tensor it is.
    pub view: View,
}

/// What of a stored tensor a weight is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// All of it.
    Whole,
    /// All of it, stored as `[in, out]`.
    Transposed,
    /// All of it, read as one vector: a row for each head.
    Flat,
    /// All of it, a filter for each channel: `[channel, 1, tap]`.
    Filters,
    /// Several vectors one after the other, `{}` being their numbers.
    Joined,
    /// Of every expert, a matrix that is stored as `[in, out]`: `[expert, in, out]`.
    StackedTransposed,
    /// Of every expert, a matrix below that of the one before: `[expert * out, in]`, or `[expert * in, out]`.
    Below {
        /// Whether it is stored as `[in, out]`.
        transposed: bool,
    },
    /// Of every expert, one part of so many that its rows are divided into: `[expert, part * out, in]`.
    Stacked {
        /// Which.
        part: usize,
        /// Of how many.
        of: usize,
    },
}
