//! How a family rotates queries and keys.

use crate::ops::{Inside, Pairs};

/// How a query and its keys are rotated, beside what `rope_scaling` or `rope_parameters` say.
#[expect(clippy::struct_excessive_bools, reason = "they are independent facts")]
#[derive(Clone, Copy, Debug)]
pub struct RopeRow {
    /// Which channels form a pair.
    pub pairs: Pairs,
    /// A flag that is true where it is missing, and where it is false the pairs are those of two halves.
    pub unless: Option<&'static str>,
    /// Whether what is turned is written in two halves, wherever it stood.
    pub parted: bool,
    /// What is rounded inside a rotation.
    pub inside: Inside,
    /// The key of the base; its default is one of [`Defaults`].
    pub theta: &'static str,
    /// A key of a base that nothing is rotated by, and that has to be the base where it stands: DBRX.
    pub idle: Option<&'static str>,
    /// The key of the share of a head that is rotated, and its default; `None`: the class rotates whole heads.
    pub share: Option<(&'static str, f64)>,
    /// The key of the channels of a head that are rotated, and its default, where no share says it.
    pub dims: Option<(&'static str, usize)>,
    /// Layers whose type is `sliding_attention` have a RoPE of their own: the key of its base, if it has one, and the default.
    /// Scaling is that of the other layers only, unless `rope_parameters` has an entry for each type.
    pub sliding: Option<(Option<&'static str>, f64)>,
    /// Whether `rope_scaling` is that of the layers with a window, too.
    pub scales_all: bool,
    /// Which layers are rotated.
    pub layers: Rotated,
    /// What `original_max_position_embeddings` is where it does not stand beside `rope_scaling`; `None`: what is inside, else
    /// `max_position_embeddings`.
    pub original: Option<usize>,
    /// The types that the class takes, and what each is computed as; empty: all, as they are called.
    pub types: &'static [(&'static str, &'static str)],
    /// Whether `mrope_section` may say which pairs turn by which axis of a position: all axes are one for text.
    pub sections: bool,
    /// What missing `rope_parameters` stand for, as JSON; empty: plain RoPE.
    pub missing: &'static str,
    /// Whether `alpha` beside the type `dynamic` stretches the base for all lengths alike: Hunyuan.
    pub alpha: bool,
    /// The key, among the parameters, of how much queries grow with their position: Ministral 3.
    pub growth: Option<&'static str>,
    /// Whether `longrope` has `short_mscale` and `long_mscale` in the place of its factor, and one table: the class does not
    /// say how long the sequence is.
    pub mscales: bool,
}

impl RopeRow {
    /// Llama's.
    pub const HALVES: Self = Self {
        pairs: Pairs::Halves,
        unless: None,
        parted: false,
        inside: Inside::Products,
        theta: "rope_theta",
        idle: None,
        share: None,
        dims: None,
        sliding: None,
        scales_all: false,
        layers: Rotated::All,
        original: None,
        types: &[],
        sections: false,
        missing: "",
        alpha: false,
        growth: None,
        mscales: false,
    };

    pub(super) fn reads(&self, key: &str) -> bool {
        const ALL: [&str; 3] = ["rope_scaling", "rope_parameters", "original_max_position_embeddings"];
        let sliding = self.sliding.and_then(|(own, _)| own);
        let listed = ["no_rope_layers", "no_rope_layer_interval"];
        ALL.contains(&key)
            || key == self.theta
            || [self.unless, self.idle].contains(&Some(key))
            || [self.share.map(|(own, _)| own), self.dims.map(|(own, _)| own), sliding].contains(&Some(key))
            || (matches!(self.layers, Rotated::Listed { .. }) && listed.contains(&key))
            || (self.layers == Rotated::IfSaid && key == POSITIONS)
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
    /// All, where `position_embedding_type` is `rope`; else none: Granite 4.
    IfSaid,
    /// None, and no position is added either: Nemotron-H.
    Never,
}

/// What says whether any layer is rotated.
pub(in crate::model) const POSITIONS: &str = "position_embedding_type";
