//! What mixes tokens in the place of attention.

use super::Norm;
use crate::ops;

/// What mixes tokens in the place of attention.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mixer {
    /// `C * conv(B * x)`: LFM2.
    ShortConvolution(ShortConvolution),
    /// A gated delta rule: Qwen3-Next.
    Delta(Delta),
    /// A selective state space: Mamba 2.
    Mamba2(Mamba2),
}

/// A convolution over the last positions between two gates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortConvolution {
    /// How many positions it sees, the token itself counted.
    pub taps: usize,
    /// Whether it and the matrices around it have biases.
    pub bias: bool,
}

/// A state that every token decays and writes to, asked by queries: Yang et al., arXiv 2412.06464.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Delta {
    /// Heads of queries and keys; a divisor of those of values.
    pub key_heads: usize,
    /// Heads of values: as many states.
    pub heads: usize,
    /// Channels of a query and of a key.
    pub key_dim: usize,
    /// Channels of a value.
    pub head_dim: usize,
    /// How many positions the convolution over queries, keys and values sees.
    pub taps: usize,
    /// Its activation function; that of the gate of what the state gives is always silu.
    pub act: ops::Activation,
    /// Added to the square of the length of queries and keys.
    pub eps: f64,
    /// The norm of each head of what the state gives, before its gate.
    pub norm: Norm,
    /// Whether queries, keys, values and gates come out of one matrix and the rest out of another, by key head, and not out of
    /// one matrix for each of four.
    pub woven: bool,
}

/// A state that every token decays and adds to, by a step of time that it says: Dao and Gu, arXiv 2405.21060.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mamba2 {
    /// Heads: as many states.
    pub heads: usize,
    /// Channels of a head's value, `x`.
    pub head_dim: usize,
    /// Groups of heads that share `B` and `C`; a divisor of the heads.
    pub groups: usize,
    /// Channels of `B` and `C`.
    pub state: usize,
    /// How many positions the convolution over `x`, `B` and `C` sees.
    pub taps: usize,
    /// Whether it has a bias.
    pub taps_bias: bool,
    /// Its activation function; that of the gate of what the state gives is always silu.
    pub act: ops::Activation,
    /// Whether the matrix before it has a bias, and the one behind it.
    pub biases: [bool; 2],
    /// The shortest step of time, in forwards that begin a sequence or have several tokens: Nemotron-H.
    pub least_step: Option<f64>,
    /// What it reads is multiplied by this first: Falcon-H1; else 1.
    pub input_factor: f64,
    /// What `z`, `x`, `B`, `C` and `Δ` are multiplied by as they come out of one matrix: Falcon-H1; else 1.
    pub factors: [f64; 5],
    /// The norm of each group of heads of what the state gives; without one it is only gated.
    pub norm: Option<Norm>,
    /// Whether that norm stands before the gate, and not behind it.
    pub norm_first: bool,
}

impl Mamba2 {
    /// How many channels `z`, `x`, `B`, `C` and `Δ` have, side by side as they come out of one matrix.
    pub fn parts(&self) -> [usize; 5] {
        let (values, shared) = (self.heads * self.head_dim, self.groups * self.state);
        [values, values, shared, shared, self.heads]
    }
}
