//! Rotary positions as a model has them: a base, how the speeds that follow from it are changed, and what is turned.
//!
//! # Lengths
//!
//! The speeds of two types depend on how long the sequence is: those of `dynamic` and of `longrope`. In transformers
//! (`dynamic_rope_update`) a forward turns its own queries and keys by the speeds of the length that the sequence has at its
//! end, and leaves cached keys as they are. A prefill has one set of speeds for all its tokens; a decode step that crosses the
//! limit turns its token by other speeds than the cached ones were turned by, so that it is not what a prefill of the same
//! tokens gives. A run does the same: what a forward computes depends on where it ends, and on nothing else. Two things that
//! transformers does beside are not done: `dynamic` keeps the speeds of a longer sequence that the same module has seen before
//! for as long as a sequence is above the limit, and `generate` of Phi-3 drops the cache where a sequence crosses it.

use std::sync::Arc;

use crate::ops::{Frequencies, Inside, Pairs, Yarn};

/// How queries and keys are rotated.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Base of the rotation speeds.
    pub theta: f64,
    /// How they are changed.
    pub scaling: Scaling,
    /// Channels of a head that are rotated.
    pub dims: usize,
    /// What cosines and sines are multiplied by.
    pub factor: f64,
    /// Which channels form a pair.
    pub pairs: Pairs,
    /// Whether the turned channels of pair `i` of `n` are written to `(i, i + n)`, wherever they stood: DeepSeek-V3.
    pub parted: bool,
    /// What is rounded inside a rotation.
    pub inside: Inside,
    /// What queries, but not keys, are multiplied by behind the rotation.
    pub growth: Option<Growth>,
}

/// A factor that grows with the position: `1 + by ln(1 + floor((position + ahead) / every))`, in f32. Ministral 3, Llama 4.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "the formula says what the fields are")]
pub struct Growth {
    pub by: f64,
    pub every: f64,
    pub ahead: usize,
}

impl Growth {
    /// The factor of a query at a position.
    pub fn of(self, position: usize) -> f32 {
        let steps = ((position + self.ahead) as f32 / self.every as f32).floor();
        1.0 + self.by as f32 * (1.0 + steps).ln()
    }
}

/// How the rotation speeds are changed.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "fields are named as the keys of config.json")]
pub enum Scaling {
    /// Not at all.
    Default,
    /// All divided by one factor.
    Linear { factor: f32 },
    /// By a base that grows with the sequence, once that is longer than so many positions.
    Dynamic { factor: f64, positions: usize },
    /// Slow ones divided, fast ones kept, with a ramp over the pairs.
    Yarn(Yarn),
    /// Each divided by a number of its own: of a second table once the sequence is longer than `original`.
    LongRope { short: Arc<[f32]>, long: Arc<[f32]>, original: usize },
    /// Slow ones divided, fast ones kept, with a ramp over the wavelengths.
    Llama3 { factor: f32, low: f32, high: f32, original: f32 },
    /// By a base that is larger for all lengths alike: Hunyuan.
    Ntk { alpha: f64 },
    /// Those of so many pairs of a whole head divided by one factor; the other pairs stand still.
    Proportional { factor: f32, turned: usize },
}

impl Scaling {
    /// The `rope_type` of config.json.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Linear { .. } => "linear",
            Self::Dynamic { .. } | Self::Ntk { .. } => "dynamic",
            Self::Yarn(_) => "yarn",
            Self::LongRope { .. } => "longrope",
            Self::Llama3 { .. } => "llama3",
            Self::Proportional { .. } => "proportional",
        }
    }

    /// The longest sequence whose speeds are not yet those of longer ones; `None` where all lengths have the same.
    pub fn limit(&self) -> Option<usize> {
        match self {
            Self::Dynamic { positions: limit, .. } => Some(*limit),
            Self::LongRope { short, long, original } if short != long => Some(*original),
            _ => None,
        }
    }
}

impl Rope {
    /// The rotation speeds in a forward after which the sequence has `length` tokens.
    pub fn frequencies(&self, length: usize) -> Frequencies {
        let (theta, dims) = (self.theta, self.dims);
        let plain = || Frequencies::new(theta, dims);
        match &self.scaling {
            Scaling::Default => plain(),
            Scaling::Linear { factor } => plain().linear(*factor),
            Scaling::Dynamic { factor, positions } => Frequencies::dynamic(theta, dims, *factor, *positions, length),
            Scaling::Yarn(how) => Frequencies::yarn(theta, dims, how),
            Scaling::LongRope { short, long, original } => {
                Frequencies::divided(theta, dims, if length > *original { long } else { short })
            }
            Scaling::Llama3 { factor, low, high, original } => plain().llama3(*factor, *low, *high, *original),
            Scaling::Ntk { alpha } => {
                let width = dims as f64;
                Frequencies::new(theta * alpha.powf(width / (width - 2.0)), dims)
            }
            Scaling::Proportional { factor, turned } => Frequencies::proportional(theta, dims, *turned, *factor),
        }
    }

    /// The same without scaling, and without the factor that belongs to it.
    #[must_use]
    pub fn plain(&self) -> Self {
        Self { scaling: Scaling::Default, factor: 1.0, ..self.clone() }
    }
}
