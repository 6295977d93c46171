//! What a model computes, as plain data: one value per model, one per layer. Nothing about runs, files or names of tensors.
//!
//! A family's row (`families/NAME.rs`) makes it from config.json, and [`lower`](super::lower) makes the graph of it.

mod latent;
mod mixer;
mod rope;

use crate::ops::{self, Form};

use super::role::Names;
pub use crate::ops::{Activation, Pooling, Router};
pub use latent::Latent;
pub use mixer::{Delta, Mamba2, Mixer, ShortConvolution};
pub use rope::{Growth, Rope, Scaling};

/// What a model computes.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// The `model_type` of config.json.
    pub family: &'static str,
    /// What transformers calls its modules.
    pub names: &'static Names,
    /// Whether it is the language model of several: its modules lie under [`Wrapped::ROOT`](super::row::Wrapped::ROOT) then.
    pub is_wrapped: bool,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Rows of the embedding table.
    pub vocab: usize,
    /// The longest sequence that the model was trained for: a longer one is legal unless positions are learned.
    pub positions: usize,
    /// From ids to the residual stream.
    pub embed: Embed,
    /// Inputs of each layer, beside the stream: Gemma 4.
    pub per_layer: Option<PerLayer>,
    /// The blocks, in order.
    pub layers: Vec<Layer>,
    /// Behind the last block; BERT has none, whose blocks end in one.
    pub norm: Option<Norm>,
    /// From the residual stream to logits; encoders and embedders have none.
    pub head: Option<Head>,
    /// From the rows of the last layer to an embedding, where the model is published with that.
    pub embedding: Vec<Stage>,
}

/// A step from the rows of the last layer to an embedding.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// One row of all.
    Pool(Pooling),
    /// A matrix, and a function of what it gives.
    Dense(Dense),
    /// To length 1, unless it is shorter than `eps`.
    Unit {
        /// The shortest length that is divided by.
        eps: f64,
    },
}

/// A matrix behind the pooling.
#[derive(Clone, Debug, PartialEq)]
pub struct Dense {
    /// Its folder, which its weights are named by: `2_Dense`.
    pub folder: String,
    /// Channels of its result.
    pub width: usize,
    /// Whether it has a bias.
    pub bias: bool,
    /// The function behind it.
    pub act: ops::Activation,
}

/// From ids to the residual stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Embed {
    /// The table's own width, where a matrix leads from it to the stream, and another one back before the head: OPT 350M.
    pub width: Option<usize>,
    /// Rows of the table are multiplied by this, which is rounded to the dtype of the weights first; `None` takes them as
    /// they are.
    pub scale: Option<f32>,
    /// What enters the first block is these rows times this, as an op of its own: Granite.
    pub factor: Option<f64>,
    /// They are normed before they enter the first block, behind all sums: BLOOM, BERT.
    pub norm: Option<Norm>,
    /// A row of a table of token types is added, that of type 0: so many types.
    pub types: Option<usize>,
    /// Learned positions are added: so many.
    pub learned: Option<usize>,
    /// Rows of their table before that of position 0: OPT has two, RoBERTa one more than the id of its pad.
    pub rows_before: usize,
}

/// Inputs of each layer: rows of a table by id, to which a projection of the embeddings is added. What leaves the MLP is
/// gated with them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PerLayer {
    /// Channels for each layer.
    pub width: usize,
    /// Rows of the table.
    pub vocab: usize,
    /// The function of the gate.
    pub act: ops::Activation,
}

/// One block.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Attention, as the model has it in the layers that have it.
    pub attn: Attn,
    /// What stands in the place of attention, if something does.
    pub mixer: Option<Mixer>,
    /// Where attention stands beside the mixer, not in its place: what the mixer gives and what attention gives are multiplied
    /// by these before they are added, and both read the same. Falcon-H1.
    pub abreast: Option<[f64; 2]>,
    /// What follows it.
    pub mlp: Mlp,
    /// Experts beside it: Gemma 4.
    pub beside: Option<Beside>,
    /// The norms around attention.
    pub attn_norms: Around,
    /// The norms around the MLP.
    pub mlp_norms: Around,
    /// What follows what.
    pub wiring: Wiring,
    /// What attention and the MLP give is multiplied by this before it is added: Granite; else 1.
    pub scale: f64,
    /// Whether what leaves the block is multiplied by a weight: Gemma 4.
    pub scalar: bool,
}

/// What the MLP of a block reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wiring {
    /// The stream to which attention has been added.
    Sequential,
    /// Nothing: the block is attention, or what stands in its place. Nemotron-H.
    MixerOnly,
    /// The stream: the block is an MLP. Nemotron-H.
    MlpOnly,
    /// The same, and the norms behind attention and the MLP are of the sums: BERT.
    PostNorm,
    /// What attention reads, normed by a norm of its own or, without one, by attention's. The three are added in this order,
    /// each sum rounded.
    Parallel([Term; 3]),
}

/// What the sum at the end of a parallel block adds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term {
    /// The residual stream that entered the block.
    Stream,
    /// What attention gives.
    Attention,
    /// What the MLP gives.
    Mlp,
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
    /// Whether it multiplies by a weight: not in OLMo.
    pub weight: bool,
    /// Whether a bias is added.
    pub bias: bool,
    /// Whether the result is rounded once, at the end, and not before it meets the weight, too.
    pub rounded_once: bool,
}

/// Attention.
#[expect(clippy::struct_excessive_bools, reason = "they are independent facts")]
#[derive(Clone, Debug, PartialEq)]
pub struct Attn {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; a divisor of the query heads.
    pub kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Whether queries, keys and values are made of narrow rows, and how; then there are as many key heads as query heads.
    pub latent: Option<Latent>,
    /// Whether q, k and v come out of one matrix: in how many groups of heads, each with its queries, then its keys, then its
    /// values. One group is three blocks side by side; as many as key heads is a weave.
    pub fused: Option<usize>,
    /// Whether each head's context is multiplied by `σ` of as many channels as it has, which the matrix of its queries gives
    /// beside these: Qwen3-Next.
    pub gate: bool,
    /// Whether q, k and v have biases; with narrow rows, whether these have.
    pub qkv_bias: bool,
    /// Whether the output projection has one.
    pub o_bias: bool,
    /// What q, k and v are clipped to: OLMo.
    pub clip: Option<f64>,
    /// What it reads is multiplied by this first: Falcon-H1; else 1.
    pub input_factor: f64,
    /// Keys are multiplied by this before they are rotated: Falcon-H1; else 1.
    pub key_factor: f64,
    /// The norm of q and k.
    pub qk_norm: Option<QkNorm>,
    /// The norm of each head of v: Gemma 4.
    pub v_norm: Option<Norm>,
    /// Whether values are what the projection of keys gives.
    pub values_are_keys: bool,
    /// The layer whose keys and values are read; `None`: its own.
    pub from: Option<usize>,
    /// How q and k are rotated.
    pub rope: Option<Rope>,
    /// What products of queries and keys are multiplied by.
    pub scale: f64,
    /// Scores pass through `c tanh(s / c)`.
    pub cap: Option<f64>,
    /// How many positions a query sees, itself counted; `None` sees all.
    pub window: Option<usize>,
    /// Whether it sees as far ahead: an encoder.
    pub both_ways: bool,
    /// Chunks of so many positions: a query sees the keys of its own.
    pub chunk: Option<usize>,
    /// What queries that are not rotated are multiplied by.
    pub growth: Option<Growth>,
    /// Whether each head has a score beside those of the keys, which takes its share of the softmax: GPT-OSS.
    pub sinks: bool,
    /// Whether the position of a key times a slope that its head has is added to scores: Press et al., arXiv 2108.12409.
    pub alibi: bool,
}

/// The norm of queries and keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QkNorm {
    /// How it computes.
    pub norm: Norm,
    /// What it is over.
    pub over: Over,
    /// Whether it stands behind the rotation, not before it.
    pub after_rope: bool,
}

/// What the norm of queries or of keys is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Each head; all have one weight: Qwen3.
    Head,
    /// Each head; every one has a weight of its own: Cohere.
    OwnHead,
    /// All heads together: OLMo 2.
    Row,
}

/// The second half of a block.
#[derive(Clone, Debug, PartialEq)]
pub enum Mlp {
    /// `down(act(up(x)))`
    Plain(Feed),
    /// `down(act(gate(x)) * up(x))`
    Gated(Feed),
    /// Several gated ones, of which a router chooses some for each token.
    Experts(Experts),
}

/// A mixture of experts.
#[expect(clippy::struct_excessive_bools, reason = "they are independent facts")]
#[derive(Clone, Debug, PartialEq)]
pub struct Experts {
    /// How each computes.
    pub feed: Feed,
    /// Whether each has a gate, and the one that every token has: not in Nemotron-H.
    pub gated: bool,
    /// How many there are.
    pub count: usize,
    /// Who chooses.
    pub router: Router,
    /// Whether its logits have a bias.
    pub router_bias: bool,
    /// Whether a bias is added to what experts are compared by, and not to what they weigh.
    pub choice_bias: bool,
    /// Whether its logits are computed in f32, whatever the model computes in.
    pub fine: bool,
    /// What computes for every token as well; it is added.
    pub shared: Option<Shared>,
    /// Whether what an expert reads is weighted, not what it gives: Llama 4.
    pub weighs_input: bool,
    /// The norm of what the router reads, which is then multiplied by a weight of each channel and divided by the root of
    /// how many there are: Gemma 4.
    pub router_norm: Option<Norm>,
    /// Whether the weight of each expert is multiplied by one that the expert has: Gemma 4.
    pub scaled: bool,
}

/// Experts beside an MLP, which read the stream themselves.
#[derive(Clone, Debug, PartialEq)]
pub struct Beside {
    /// How they compute.
    pub experts: Experts,
    /// The norms of what they read and give, and of what the MLP gives, before both are added.
    pub norm: Norm,
}

/// An expert that every token has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shared {
    /// How it computes.
    pub feed: Feed,
    /// Whether what it gives is multiplied by `σ(w x)`: Qwen2-MoE.
    pub weighed: bool,
}

/// The sizes of an MLP.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Feed {
    /// Channels inside.
    pub width: usize,
    /// The activation function.
    pub act: ops::Activation,
    /// Whether it is xIELU instead, whose constants are weights: Apertus.
    pub xielu: bool,
    /// Whether its matrices have biases.
    pub bias: bool,
    /// Whether gate and up come out of one matrix.
    pub fused: GateUp,
    /// What stands in the place of the activation function and the product.
    pub clamp: Option<Clamp>,
    /// What a gate is multiplied by before its function, and what the MLP gives: Falcon-H1; else 1.
    pub factors: [f64; 2],
}

/// Where gate and up come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateUp {
    /// A matrix each.
    Apart,
    /// One matrix, side by side.
    Halves,
    /// One matrix, a channel of each in turn: GPT-OSS.
    InTurn,
}

/// `(u + 1) g σ(alpha g)`, of a gate that is at most `limit` and what it lets through between `-limit` and `limit`: GPT-OSS.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "they are the constants of the formula")]
pub struct Clamp {
    pub alpha: f64,
    pub limit: f64,
}

/// From the residual stream to logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Head {
    /// Whether it is the embedding table.
    pub tied: bool,
    /// Whether it has a bias.
    pub bias: bool,
    /// What the model returns is what the head gives times this: Granite, Cohere.
    pub factor: Option<f64>,
    /// Logits pass through `c tanh(z / c)`.
    pub cap: Option<f64>,
}
