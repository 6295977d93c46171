//! What stands in the place of attention in some layers, as a family has it.

use super::Switch;

/// What stands in the place of attention.
#[derive(Clone, Copy, Debug)]
pub struct MixerRow {
    /// What it is.
    pub kind: MixerKind,
    /// What `layer_types` calls its layers.
    pub word: &'static str,
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
}

/// Which layers have it.
#[derive(Clone, Copy, Debug)]
pub enum MixerLayers {
    /// All but those that this key lists; none, where it is missing.
    AllButListed(&'static str),
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

impl MixerRow {
    pub(super) fn reads(&self, key: &str) -> bool {
        let of_kind = match self.kind {
            MixerKind::ShortConvolution { taps, bias } => {
                taps.0 == key || matches!(bias, Switch::Key(own) | Switch::Unless(own) if own == key)
            }
            MixerKind::Delta { .. } => DELTA.iter().any(|(own, _)| *own == key),
        };
        of_kind
            || matches!(self.layers, MixerLayers::AllButListed(own) | MixerLayers::AllButEvery(own, _) if own == key)
    }
}
