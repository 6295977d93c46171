//! What a model computes, as plain data: one value per model, one per layer. Nothing about runs, files or names of tensors.
//!
//! A family's row (`families/NAME.rs`) makes it from config.json, and [`lower`](super::lower) makes the graph of it.

mod rope;

use crate::ops::{self, Form};

use super::role::Names;
pub use rope::{Rope, Scaling};

/// What a model computes.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// The `model_type` of config.json.
    pub family: &'static str,
    /// What transformers calls its modules.
    pub names: &'static Names,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Rows of the embedding table.
    pub vocab: usize,
    /// The longest sequence that the model was trained for: a longer one is legal unless positions are learned.
    pub positions: usize,
    /// From ids to the residual stream.
    pub embed: Embed,
    /// The blocks, in order.
    pub layers: Vec<Layer>,
    /// Before the head.
    pub norm: Norm,
    /// From the residual stream to logits.
    pub head: Head,
}

/// From ids to the residual stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Embed {
    /// Rows of the table are multiplied by this, which is rounded to the dtype of the weights first; `None` takes them as
    /// they are.
    pub scale: Option<f32>,
    /// Learned positions are added: rows of their table.
    pub learned: Option<usize>,
}

/// One block.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Attention.
    pub attn: Attn,
    /// What follows it.
    pub mlp: Mlp,
    /// The norms around attention.
    pub attn_norms: Around,
    /// The norms around the MLP.
    pub mlp_norms: Around,
}

/// The norms around a part of a block: on what it reads, and on what it gives before that is added to the stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Around {
    /// On what it reads: Llama.
    pub pre: Option<Norm>,
    /// On what it gives: OLMo 2; both is Gemma 2's sandwich.
    pub post: Option<Norm>,
}

/// How a norm computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// Root mean square, or the mean taken off as well: `LayerNorm`.
    pub form: Form,
    /// Added to the mean square.
    pub eps: f32,
    /// Added to the weight: 1 in Gemma.
    pub offset: f32,
    /// Whether a bias is added.
    pub bias: bool,
    /// Whether the result is rounded once, at the end, and not before it meets the weight, too.
    pub rounded_once: bool,
}

/// Attention.
#[derive(Clone, Debug, PartialEq)]
pub struct Attn {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; a divisor of the query heads.
    pub kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Whether q, k and v come out of one matrix, as blocks side by side.
    pub fused: bool,
    /// Whether q, k and v have biases.
    pub qkv_bias: bool,
    /// Whether the output projection has one.
    pub o_bias: bool,
    /// The norm of each head of q and k before the rotation.
    pub qk_norm: Option<Norm>,
    /// How q and k are rotated.
    pub rope: Option<Rope>,
    /// What products of queries and keys are multiplied by.
    pub scale: f64,
    /// Scores pass through `c tanh(s / c)`.
    pub cap: Option<f64>,
    /// How many positions a query sees, itself counted; `None` sees all.
    pub window: Option<usize>,
}

/// The second half of a block.
#[derive(Clone, Debug, PartialEq)]
pub enum Mlp {
    /// `down(act(up(x)))`
    Plain(Feed),
    /// `down(act(gate(x)) * up(x))`
    Gated(Feed),
    /// Several gated ones, of which a router chooses some for each token.
    Experts {
        /// How each computes.
        feed: Feed,
        /// How many there are.
        count: usize,
        /// Who chooses.
        router: Router,
    },
}

/// The sizes of an MLP.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Feed {
    /// Channels inside.
    pub width: usize,
    /// The activation function.
    pub act: ops::Activation,
    /// Whether its matrices have biases.
    pub bias: bool,
}

/// How experts are chosen and weighted, from the router's logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Router {
    /// How many are chosen.
    pub top_k: usize,
    /// Whether the weights of the chosen ones are divided by their sum.
    pub renormalise: bool,
    /// Whether the softmax is over the chosen logits only.
    pub softmax_after: bool,
    /// Whether weights are rounded to the dtype of the logits.
    pub rounded: bool,
}

/// From the residual stream to logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Head {
    /// Whether it is the embedding table.
    pub tied: bool,
    /// Logits pass through `c tanh(z / c)`.
    pub cap: Option<f64>,
}
