//! Pure maths: arrays in, arrays out. No model, no state, no names of layers.
//!
//! Every function is deterministic: sums are split in a fixed way, so results have the same bits for any number of
//! threads. The order of operations follows Hugging Face's eager code, which is what references are computed with.

pub mod activation;
pub mod attention;
pub mod clamp;
mod exp;
pub mod experts;
pub mod heads;
pub mod linear;
pub mod mixers;
pub mod norm;
pub mod operand;
pub mod pool;
pub mod real;
pub mod rope;
pub mod router;

pub use activation::{Activation, Xielu, add, cap, gated, multiply, scaled, weighted_sum, xielu};
pub use attention::{
    Join, Mask, Scoring, context, context_in_f16_sums, grouped, scores, slopes, softmax, softmax_in_steps,
    softmax_with_sinks,
};
pub use clamp::{clamped_product, clamped_swish, clipped};
pub use experts::{ExpertWeights, chosen, combine, expert_linear, total, weigh};
pub use heads::{beside, by_head, join_heads, split_heads};
pub use linear::{Format, Matrix, Words, embed, linear};
pub use mixers::{Brought, causal_convolution, decay, delta_rule, selective_scan, time_step, unit_length};
pub use norm::{Form, Normalisation, Spread, normalise};
pub use operand::{Few, Operands};
pub use pool::{Pooling, pool, unit};
pub use real::{Real, Rounding};
pub use rope::{Frequencies, Inside, Pairs, Rotation, Yarn, rope};
pub use router::{Groups, Router, Score};
