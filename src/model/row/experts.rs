//! A mixture of experts, as a family has it.

use super::{GateUp, Switch};

/// A mixture of experts.
#[expect(clippy::struct_excessive_bools, reason = "they are independent facts")]
#[derive(Clone, Copy, Debug)]
pub struct ExpertsRow {
    /// Where there are any.
    pub at: Switch,
    /// Whether they stand beside the MLP, not in its place.
    pub beside: bool,
    /// Keys under which their number may stand, and its default.
    pub count: (&'static [&'static str], usize),
    /// Keys under which the number of those that are chosen may stand, and its default.
    pub top_k: (&'static [&'static str], usize),
    /// The key of their width, and its default.
    pub width: (&'static str, usize),
    /// Whether the weights of the chosen ones are divided by their sum.
    pub renormalise: Switch,
    /// Added to that sum.
    pub renormalise_eps: f64,
    /// Whether weights are rounded to the dtype of the logits.
    pub rounded: bool,
    /// Which layers have them.
    pub layers: SparseLayers,
    /// What logits become.
    pub score: ScoreRow,
    /// Whether the softmax is over the chosen logits only.
    pub softmax_after: bool,
    /// The keys of how many groups there are, and of how many are kept; and how many of its best a group is judged by.
    pub groups: Option<GroupsRow>,
    /// The key of a factor of the weights, and its default.
    pub factor: Option<(&'static str, f64)>,
    /// Whether the router's logits have a bias.
    pub router_bias: bool,
    /// Whether a bias is added to what experts are compared by.
    pub choice_bias: bool,
    /// Whether logits are computed in f32, whatever the model computes in.
    pub fine: bool,
    /// Whether the experts' matrices have biases.
    pub bias: bool,
    /// The keys of the two constants of a clamped gate, and their defaults.
    pub clamp: Option<[(&'static str, f64); 2]>,
    /// The expert that every token has.
    pub shared: Option<SharedRow>,
    /// Whether 0 experts leave that one alone, as an MLP: Granite 4.
    pub may_be_none: bool,
    /// Whether what an expert reads is weighted, not what it gives.
    pub weighs_input: bool,
    /// Whether what the router reads is normed, without a weight, and scaled.
    pub router_norm: bool,
    /// Whether the weight of each expert is multiplied by one that the expert has.
    pub scaled: bool,
    /// Where gate and up of an expert come from, where that is not as in other MLPs.
    pub fused: Option<GateUp>,
}

/// Groups of experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupsRow {
    /// The key of how many there are, and its default.
    pub count: (&'static str, usize),
    /// The key of how many are kept, and its default.
    pub kept: (&'static str, usize),
    /// A key, and the word under it without which there are none.
    pub only: Option<(&'static str, &'static str)>,
    /// A group is as good as so many of its best experts together.
    pub best: usize,
}

impl GroupsRow {
    fn reads(&self, key: &str) -> bool {
        [self.count.0, self.kept.0].contains(&key) || self.only.is_some_and(|(own, _)| own == key)
    }
}

impl ExpertsRow {
    /// Mixtral's.
    pub const ALL_LAYERS: Self = Self {
        at: Switch::Always,
        beside: false,
        count: (&["num_local_experts", "num_experts"], 8),
        top_k: (&["num_experts_per_tok"], 2),
        width: ("intermediate_size", 14_336),
        renormalise: Switch::Always,
        renormalise_eps: 0.0,
        rounded: false,
        layers: SparseLayers::All,
        score: ScoreRow::Softmax,
        softmax_after: false,
        groups: None,
        factor: None,
        router_bias: false,
        choice_bias: false,
        fine: false,
        bias: false,
        clamp: None,
        shared: None,
        may_be_none: false,
        weighs_input: false,
        router_norm: false,
        scaled: false,
        fused: None,
    };
}

/// Which layers have experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SparseLayers {
    /// All.
    All,
    /// Every `decoder_sparse_step`-th, but for those that `mlp_only_layers` lists.
    Stepped,
    /// All but the first so many.
    From {
        /// The key of how many.
        key: &'static str,
        /// And its default.
        default: usize,
    },
    /// Those that `moe_layers` lists; without it every `interleave_moe_layer_step`-th.
    Numbered,
    /// Those that `mlp_layer_types` calls sparse; without it all but the first.
    Listed,
    /// Every `moe_layer_interval`-th from `moe_layer_start_index` through `moe_layer_end_index`.
    Between,
    /// Those whose one part they are.
    Blocks,
}

/// What a router's logits become.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScoreRow {
    /// Their softmax.
    Softmax,
    /// The sigmoid of each.
    Sigmoid,
    /// The softmax of those that are nearly as large; the key of how near, and its default.
    Mixer(&'static str, f64),
}

/// An expert that every token has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedRow {
    /// How wide it is.
    pub width: SharedWidth,
    /// Whether what it gives is weighted by a sigmoid.
    pub weighed: bool,
}

/// How wide the expert is that every token has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedWidth {
    /// As a key says, with its default.
    Own(&'static str, usize),
    /// So many times as wide as the others, with the default; 0: there is none.
    Times(&'static str, usize),
}

impl ExpertsRow {
    pub(super) fn reads(&self, key: &str) -> bool {
        let of_layers: &[&str] = match self.layers {
            SparseLayers::All | SparseLayers::Blocks => &[],
            SparseLayers::Stepped => &["decoder_sparse_step", "mlp_only_layers"],
            SparseLayers::Numbered => &["moe_layers", "interleave_moe_layer_step"],
            SparseLayers::Listed => &["mlp_layer_types"],
            SparseLayers::From { key: own, .. } => return own == key || self.reads_beside(key),
            SparseLayers::Between => &["moe_layer_start_index", "moe_layer_end_index", "moe_layer_interval"],
        };
        of_layers.contains(&key) || self.reads_beside(key)
    }

    fn reads_beside(&self, key: &str) -> bool {
        self.count.0.contains(&key)
            || self.top_k.0.contains(&key)
            || self.width.0 == key
            || self.factor.is_some_and(|(own, _)| own == key)
            || self.groups.is_some_and(|groups| groups.reads(key))
            || self.clamp.is_some_and(|clamp| clamp.iter().any(|(own, _)| *own == key))
            || matches!(self.at, Switch::Key(own) if own == key)
            || matches!(self.renormalise, Switch::Key(own) | Switch::Unless(own) | Switch::One(own) if own == key)
            || matches!(self.score, ScoreRow::Mixer(own, _) if own == key)
            || self.shared.is_some_and(|shared| match shared.width {
                SharedWidth::Own(own, _) | SharedWidth::Times(own, _) => own == key,
            })
    }
}
