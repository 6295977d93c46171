//! Families of models, one row each: which keys of config.json it reads, the defaults of transformers' configuration class,
//! what its modules and tensors are called, and which parts of the one block it has.
//!
//! A family is its parent with a difference, by struct update, as in transformers' `modular_*.py`. What a row says becomes
//! a [`Spec`](super::spec::Spec) in `config/spec.rs`.

mod gemma2;
mod gpt2;
mod llama;
mod mistral;
mod mixtral;
mod qwen2;
mod qwen3;
mod qwen3_moe;

use super::role::Names;
use crate::ops::{Form, Inside, Pairs};

/// A family of models.
#[expect(clippy::struct_excessive_bools, reason = "they are independent facts")]
#[derive(Debug)]
pub struct Family {
    /// Its `model_type` in config.json.
    pub name: &'static str,
    /// What the sizes are called in config.json.
    pub keys: Keys,
    /// Keys that it reads, beside those that the fields of this row name.
    pub reads: &'static [&'static str],
    /// What a missing key stands for.
    pub defaults: Defaults,
    /// How its norms compute, but for their eps.
    pub norm: NormRow,
    /// The norms around attention and around the MLP: on what it reads, on what it gives.
    pub around: (bool, bool),
    /// Whether its class checks that the hidden size is a whole number of heads.
    pub whole_heads: bool,
    /// Biases of q, k and v.
    pub qkv_bias: Switch,
    /// The bias of the output projection.
    pub o_bias: Switch,
    /// Biases of the MLP.
    pub mlp_bias: Switch,
    /// Whether q, k and v come out of one matrix.
    pub fused: bool,
    /// Whether q and k are normalised per head.
    pub qk_norm: bool,
    /// How a query and its keys are rotated; `None`: positions are learned.
    pub rope: Option<RopeRow>,
    /// The key under which the square of the inverse scale of scores stands; else it is the width of a head.
    pub scale: Option<(&'static str, f64)>,
    /// A key for a further division of the scale by the layer's number, counted from 1.
    pub scale_by_layer: Option<&'static str>,
    /// The key under which the cap of scores stands, and its default.
    pub score_cap: Option<(&'static str, f64)>,
    /// The key under which the cap of logits stands, and its default.
    pub logit_cap: Option<(&'static str, f64)>,
    /// Whether embeddings are multiplied by the root of their width.
    pub embed_scale: bool,
    /// Which layers have a window.
    pub windows: Windows,
    /// Whether the MLP has a gate.
    pub gated: bool,
    /// Its experts.
    pub experts: Option<ExpertsRow>,
    /// Names of modules.
    pub names: &'static Names,
    /// What stands before the names of all tensors but the head's, and may be left away in a checkpoint.
    pub base: &'static str,
    /// Where tensors lie that are not under their modules' names.
    pub stored: &'static [Stored],
}

/// What the sizes are called in config.json.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "each is named as in Llama's config.json")]
pub struct Keys {
    pub hidden_size: &'static str,
    pub intermediate_size: &'static str,
    pub num_hidden_layers: &'static str,
    pub num_attention_heads: &'static str,
    pub num_key_value_heads: Option<&'static str>,
    pub head_dim: Option<&'static str>,
    pub max_position_embeddings: &'static str,
    pub eps: &'static str,
    pub act: &'static str,
}

/// What a missing key stands for, in transformers' configuration class.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "each is named as in Llama's config.json")]
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
#[derive(Clone, Copy, Debug)]
pub struct NormRow {
    /// Root mean square, or `LayerNorm`.
    pub form: Form,
    /// Added to the weight.
    pub offset: f32,
    /// Whether a bias is added.
    pub bias: bool,
    /// Whether it is rounded once, at the end.
    pub rounded_once: bool,
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
}

/// How a query and its keys are rotated, beside what `rope_scaling` or `rope_parameters` say.
#[derive(Clone, Copy, Debug)]
pub struct RopeRow {
    /// Which channels form a pair.
    pub pairs: Pairs,
    /// What is rounded inside a rotation.
    pub inside: Inside,
    /// The key of the base; its default is one of [`Defaults`].
    pub theta: &'static str,
    /// The key of the share of a head that is rotated, and its default; `None`: the class rotates whole heads.
    pub share: Option<(&'static str, f64)>,
    /// Layers whose type is `sliding_attention` have a RoPE of their own: the key of its base, if it has one, and the default.
    /// Scaling is that of the other layers only, unless `rope_parameters` has an entry for each type.
    pub sliding: Option<(Option<&'static str>, f64)>,
    /// Which layers are rotated.
    pub layers: Rotated,
    /// What `original_max_position_embeddings` is where it does not stand beside `rope_scaling`; `None`: what is inside, else
    /// `max_position_embeddings`.
    pub original: Option<usize>,
    /// The types that the class takes, and what each is computed as; empty: all, as they are called.
    pub types: &'static [(&'static str, &'static str)],
}

impl RopeRow {
    /// Llama's.
    pub const HALVES: Self = Self {
        pairs: Pairs::Halves,
        inside: Inside::Products,
        theta: "rope_theta",
        share: None,
        sliding: None,
        layers: Rotated::All,
        original: None,
        types: &[],
    };

    fn reads(&self, key: &str) -> bool {
        const ALL: [&str; 3] = ["rope_scaling", "rope_parameters", "original_max_position_embeddings"];
        let sliding = self.sliding.and_then(|(own, _)| own);
        let listed = ["no_rope_layers", "no_rope_layer_interval"];
        ALL.contains(&key)
            || key == self.theta
            || [self.share.map(|(own, _)| own), sliding].contains(&Some(key))
            || (matches!(self.layers, Rotated::Listed { .. }) && listed.contains(&key))
    }
}

/// Which layers are rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// All.
    All,
    /// Those with a window: Cohere 2.
    Windowed,
    /// Those with a window, where any has one: EXAONE 4.
    WindowedIfAny,
    /// Those for which `no_rope_layers` has a 1; without it all but every `no_rope_layer_interval`-th: `SmolLM3`.
    Listed {
        /// The default of `no_rope_layer_interval`.
        interval: usize,
    },
}

/// Which layers have a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Windows {
    /// None.
    None,
    /// All, of `sliding_window`.
    All,
    /// All, where `use_sliding_window` is true.
    AllIfUsed,
    /// As `layer_types` says, else from `max_window_layers` on, where `use_sliding_window` is true.
    ByLayer,
    /// As `layer_types` says, else every second, from the first on.
    Alternate,
}

/// A mixture of experts.
#[derive(Clone, Copy, Debug)]
pub struct ExpertsRow {
    /// Keys under which their number may stand, and its default.
    pub count: (&'static [&'static str], usize),
    /// The default of `num_experts_per_tok`.
    pub top_k: usize,
    /// The key of their width, and its default.
    pub width: (&'static str, usize),
    /// Whether the weights of the chosen ones are divided by their sum.
    pub renormalise: Switch,
    /// Whether weights are rounded to the dtype of the logits.
    pub rounded: bool,
    /// Whether `decoder_sparse_step` and `mlp_only_layers` say which layers have them.
    pub some_layers: bool,
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
    /// Of every expert, one part of so many that its rows are divided into: `[expert, part * out, in]`.
    Stacked {
        /// Which.
        part: usize,
        /// Of how many.
        of: usize,
    },
}

impl Family {
    /// Every family, in the order in which messages list them.
    pub const ALL: &'static [&'static Self] = &[
        &llama::LLAMA,
        &mistral::MISTRAL,
        &mixtral::MIXTRAL,
        &qwen2::QWEN2,
        &qwen3::QWEN3,
        &gemma2::GEMMA2,
        &gpt2::GPT2,
        &qwen3_moe::QWEN3_MOE,
    ];

    /// The family whose `model_type` is `name`.
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().copied().find(|family| family.name == name)
    }

    /// The one whose names stand in for those of a model that is not known.
    pub fn of_unknown() -> &'static Self {
        &llama::LLAMA
    }

    /// `llama, mistral and qwen2`.
    pub fn listed() -> String {
        let names: Vec<&str> = Self::ALL.iter().map(|family| family.name).collect();
        match names.split_last() {
            Some((last, [])) => (*last).to_string(),
            Some((last, first)) => format!("{} and {last}", first.join(", ")),
            None => String::new(),
        }
    }

    /// Whether it reads a key of config.json.
    pub fn reads(&self, key: &str) -> bool {
        const ALL: [&str; 4] = ["model_type", "vocab_size", "tie_word_embeddings", "layer_types"];
        let keys = self.keys;
        let sizes = [
            keys.hidden_size,
            keys.intermediate_size,
            keys.num_hidden_layers,
            keys.num_attention_heads,
            keys.max_position_embeddings,
            keys.eps,
            keys.act,
        ];
        let switched = |switch: Switch| if let Switch::Key(own) = switch { own == key } else { false };
        let of_windows: &[&str] = match self.windows {
            Windows::None => &[],
            Windows::All | Windows::Alternate => &["sliding_window"],
            Windows::AllIfUsed => &["sliding_window", "use_sliding_window"],
            Windows::ByLayer => &["sliding_window", "use_sliding_window", "max_window_layers"],
        };
        let named = [self.scale, self.score_cap, self.logit_cap].into_iter().flatten().map(|(own, _)| own);
        ALL.contains(&key)
            || sizes.contains(&key)
            || [keys.num_key_value_heads, keys.head_dim, self.scale_by_layer].contains(&Some(key))
            || self.rope.is_some_and(|rope| rope.reads(key))
            || of_windows.contains(&key)
            || named.into_iter().any(|own| own == key)
            || [self.qkv_bias, self.o_bias, self.mlp_bias].into_iter().any(switched)
            || self.experts.is_some_and(|experts| experts.reads(key))
            || self.reads.contains(&key)
    }
}

/// A name without what the names of all modules of its family begin with: `layers.3.mlp` of `model.layers.3.mlp`.
pub fn without_base(name: &str) -> &str {
    Family::ALL.iter().find_map(|family| name.strip_prefix(family.base)).unwrap_or(name)
}

impl ExpertsRow {
    fn reads(&self, key: &str) -> bool {
        let by_layer = self.some_layers && ["decoder_sparse_step", "mlp_only_layers"].contains(&key);
        self.count.0.contains(&key)
            || key == "num_experts_per_tok"
            || key == self.width.0
            || self.renormalise == Switch::Key("norm_topk_prob") && key == "norm_topk_prob"
            || by_layer
    }
}
