//! What stands in the place of attention in some layers, as a family has it.

use super::Switch;

/// What stands in the place of attention.
#[derive(Clone, Copy, Debug)]
pub struct MixerRow {
    /// What it is.
    pub kind: MixerKind,
    /// What `layer_types` calls its layers: the names of transformers 5 and 4.
    pub words: &'static [&'static str],
    /// Which layers have it where there is no `layer_types`.
    pub layers: MixerLayers,
}

/// What stands in the place of attention.
#[derive(Clone, Copy, Debug)]
pub enum MixerKind {
    /// A convolution between two gates.
    ShortConvolution {
        /// The key of how many positions it sees, and its default.
        taps: (&'static str, usize),
        /// Its biases.
        bias: Switch,
    },
    /// A gated delta rule, whose sizes stand under keys that begin with `linear_`.
    Delta {
        /// Whether what it reads comes out of two matrices, not four.
        woven: bool,
    },
    /// A selective state space, whose sizes stand under keys that begin with `mamba_`.
    Mamba2,
}

/// Which layers have it.
#[derive(Clone, Copy, Debug)]
pub enum MixerLayers {
    /// All.
    All,
    /// All but those that this key lists.
    AllButListed {
        /// The key.
        key: &'static str,
        /// Whether all have it where the key is missing; else none.
        alone: bool,
    },
    /// All but every so many.
    AllButEvery(&'static str, usize),
}

/// Keys of a gated delta rule, and their defaults: heads and channels of keys and of values, and how many positions the
/// convolution sees.
pub(in crate::model) const DELTA: [(&str, usize); 5] = [
    ("linear_num_key_heads", 16),
    ("linear_num_value_heads", 32),
    ("linear_key_head_dim", 128),
    ("linear_value_head_dim", 128),
    ("linear_conv_kernel_dim", 4),
];

/// Keys of a selective state space, and their defaults: heads, groups of them, channels of the state, and how many positions
/// the convolution sees; the width of all heads is so many times the hidden size.
pub(in crate::model) const MAMBA2: [(&str, usize); 5] =
    [("mamba_n_heads", 128), ("mamba_n_groups", 1), ("mamba_d_state", 256), ("mamba_d_conv", 4), ("mamba_expand", 2)];

/// The key of the width of a head; `auto` is what the other sizes say.
pub(in crate::model) const MAMBA2_HEAD: &str = "mamba_d_head";

/// The keys of its biases: of the convolution, and of the matrices around it.
pub(in crate::model) const MAMBA2_BIASES: [Switch; 2] =
    [Switch::Unless("mamba_conv_bias"), Switch::Key("mamba_proj_bias")];

/// What steps of time are clamped to: in forwards of several tokens only, so that it has to be nothing.
pub(in crate::model) const TIME_STEP_LIMIT: &str = "time_step_limit";

impl MixerRow {
    pub(super) fn reads(&self, key: &str) -> bool {
        let of_kind = match self.kind {
            MixerKind::ShortConvolution { taps, bias } => {
                taps.0 == key || matches!(bias, Switch::Key(own) | Switch::Unless(own) if own == key)
            }
            MixerKind::Delta { .. } => DELTA.iter().any(|(own, _)| *own == key),
            MixerKind::Mamba2 => {
                let biases = MAMBA2_BIASES.iter();
                MAMBA2.iter().any(|(own, _)| *own == key) || [MAMBA2_HEAD, TIME_STEP_LIMIT].contains(&key) || { biases }
                    .any(|bias| matches!(bias, Switch::Key(own) | Switch::Unless(own) if *own == key))
            }
        };
        let listed = match self.layers {
            MixerLayers::All => None,
            MixerLayers::AllButListed { key, .. } | MixerLayers::AllButEvery(key, _) => Some(key),
        };
        of_kind || listed == Some(key)
    }
}
