//! The table of aliases: what other programs call the activations, declared once.
//!
//! What a family itself calls its modules comes before it. A word may stand in several rows: it means the first role that
//! the layer has, so that `mlp` is the sum of the experts where there are any, and `post_attention_layernorm` is the norm
//! behind attention where attention's output has one.
//!
//! Names are compared in a normal form: lower case, with `_` for every `.`, `/`, `-`, `[`, `]`, `:` and blank, so that
//! `Qcur-3`, `hidden_states[3]` and `layers/3/q` need no rows of their own.

use crate::engine::Role;

/// What a word says about the values beneath it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// An activation of the table.
    Is(Role),
    /// The residual stream as it enters the layer: the block before it, or the embeddings.
    Entering,
    /// `q kᵀ` before the scale and the mask, as ggml keeps it.
    Unscaled,
    /// A norm before its weight, as `TransformerLens` keeps it.
    BeforeWeight(Role),
    /// Rows of the embedding table, before the factor that some models give them.
    BeforeFactor,
    /// What each chosen expert computes, as ggml keeps it: in the order in which the router chose them.
    Ranked(Role),
    /// Which experts were chosen, in that order: ids.
    Chosen,
    /// A name that ggml gives to a projection, to the projection plus bias, and to its rotation: the repeats decide.
    Repeated(Role, Role),
}

use Role as A;
use Word::{BeforeFactor, BeforeWeight, Chosen, Entering, Is, Ranked, Repeated, Unscaled};

/// Activations that no layer owns.
#[rustfmt::skip]
pub(super) const WHOLE: &[(Word, &[&str])] = &[
    (Is(A::Embeddings), &["embeddings", "after_embeddings", "after_embedding", "after_embed", "inp_scaled", "inpl"]),
    (Is(A::EmbedTokens), &["model_embed_tokens", "embed_tokens", "hook_embed", "embeddings",
        "embedding", "after_embeddings", "after_embedding", "after_embed", "wte", "transformer_wte", "tok_embeddings",
        "embed", "token_embd", "token_embeddings", "inp_scaled"]),
    (BeforeFactor, &["embd", "inp_embd", "inputs_embeds", "input_embeds"]),
    (Is(A::EmbedPositions), &["embed_positions", "model_embed_positions", "wpe", "transformer_wpe", "hook_pos_embed",
        "pos_embd", "pos_embed", "position_embd"]),
    (Is(A::FinalNorm), &["model_norm", "norm", "final_norm", "result_norm", "ln_f", "transformer_ln_f",
        "final_layernorm", "output_norm", "final_rmsnorm", "after_final_norm", "after_norm", "last_hidden_state",
        "rms_final", "ln_final"]),
    (BeforeWeight(A::FinalNorm), &["ln_final_hook_normalized"]),
    (Is(A::Logits), &["logits", "final_logits", "result_output", "output_logits", "lm_logits", "after_logits"]),
    (Is(A::LmHead), &["lm_head", "logits", "final_logits", "result_output", "output_logits", "unembed",
        "after_lm_head", "lm_logits", "after_logits"]),
];

/// Activations of a layer: what stands before or behind its number, without a leading `after_`, `hook_`,
/// or the name of the sublayer (`self_attn_`, `mlp_` ...).
#[rustfmt::skip]
pub(super) const LAYER: &[(Word, &[&str])] = &[
    (Is(A::InputNorm), &["input_layernorm", "input_norm", "attn_norm", "attention_norm", "ln1", "ln_1", "norm1",
        "pre_attn_norm", "pre_attention_norm", "rmsnorm_pre_attn", "attn_rmsnorm", "input_rmsnorm", "rms_att",
        "attn_layernorm"]),
    (BeforeWeight(A::InputNorm), &["ln1_hook_normalized"]),
    (Is(A::QkvProj), &["qkv_proj", "qkv", "c_attn", "bqkv", "query_key_value"]),
    (Is(A::QProj), &["q_proj", "q", "wq", "query", "q_linear"]),
    (Is(A::KProj), &["k_proj", "k", "wk", "key", "k_linear"]),
    (Is(A::VProj), &["v_proj", "v", "wv", "value", "v_linear", "v_expanded", "value_expanded",
        "v_cache", "value_cache", "cache_v"]),
    (Repeated(A::QProj, A::QRope), &["qcur"]),
    (Repeated(A::KProj, A::KRope), &["kcur"]),
    (Repeated(A::VProj, A::VProj), &["vcur"]),
    (Is(A::QNorm), &["q_norm", "qk_norm_q", "q_normed", "qcur_normed", "q_layernorm"]),
    (Is(A::KNorm), &["k_norm", "qk_norm_k", "k_normed", "kcur_normed", "k_layernorm"]),
    (Is(A::QRope), &["q_rope", "rope_q", "rot_q", "q_rot", "q_rotary", "q_embed", "q_roped", "q_rotated", "qcur_rope",
        "q_post_rope", "query_rope"]),
    (Is(A::KRope), &["k_rope", "rope_k", "rot_k", "k_rot", "k_rotary", "k_embed", "k_roped", "k_rotated", "kcur_rope",
        "k_post_rope", "key_rope", "k_cache", "key_cache", "cache_k", "k_expanded", "key_expanded", "k_rope_expanded"]),
    (Is(A::Scores), &["scores", "attn_scores", "attention_scores", "attn_logits", "kq_scaled", "scores_masked",
        "masked_scores"]),
    (Unscaled, &["kq", "qk"]),
    (Is(A::Probs), &["probs", "pattern", "attn_probs", "attention_probs", "attn_pattern", "attn_weights",
        "attention_weights", "kq_soft_max", "kq_soft_max_ext", "softmax", "attn_softmax"]),
    (Is(A::Context), &["context", "z", "kqv", "kqv_out", "kqv_merged", "kqv_merged_cont", "attn_context", "ctx",
        "attn_concat", "o_proj_in"]),
    (Is(A::AttnOutNorm), &["attn_out_norm", "attn_post_norm", "post_attention_layernorm", "post_attention_norm",
        "post_attn_norm", "post_attn_layernorm", "ln1_post", "hook_attn_out"]),
    (BeforeWeight(A::AttnOutNorm), &["ln1_post_hook_normalized"]),
    (Is(A::OProj), &["o_proj", "self_attn", "attn", "attn_out", "attn_output", "attention", "attention_output",
        "attention_out", "self_attention", "o", "wo", "out_proj"]),
    (Is(A::ResidMid), &["resid_mid", "ffn_inp", "attn_residual", "post_attn_residual", "residual_mid", "mid_residual",
        "resid_attn", "attn_resid", "hook_mlp_in", "sa_out"]),
    (Is(A::MlpNorm), &["post_attention_layernorm", "post_attention_norm", "post_attn_norm", "ffn_norm",
        "mlp_norm", "ln2", "ln_2", "norm2", "pre_mlp_norm", "pre_ffn_norm", "rmsnorm_pre_mlp", "rmsnorm_pre_ffn",
        "rms_ffn", "post_attn_layernorm", "mlp_layernorm"]),
    (BeforeWeight(A::MlpNorm), &["ln2_hook_normalized"]),
    (Is(A::MlpOutNorm), &["mlp_out_norm", "ffn_post_norm", "post_ffw_norm", "post_ffn_norm", "post_mlp_norm",
        "post_feedforward_layernorm", "ln2_post", "hook_mlp_out"]),
    (BeforeWeight(A::MlpOutNorm), &["ln2_post_hook_normalized"]),
    (Is(A::GateProj), &["gate_proj", "gate", "w1", "ffn_gate", "mlp_pre"]),
    (Is(A::UpProj), &["up_proj", "up", "w3", "ffn_up", "pre_linear", "c_fc", "mlp_pre"]),
    (Is(A::ActFn), &["act_fn", "act", "silu", "ffn_silu", "ffn_act", "gate_act", "act_gate", "silu_gate", "ffn_gelu"]),
    (Is(A::ActMul), &["act_mul", "ffn_swiglu", "swiglu", "ffn_gate_par", "ffn_geglu", "geglu", "mlp_post", "gated",
        "silu_mul", "gate_up"]),
    (Is(A::ActFn), &["mlp_post"]),
    (Is(A::RouterLogits), &["router_logits", "router", "gate_logits", "ffn_moe_logits", "gate"]),
    (Is(A::Routing), &["routing"]),
    (Chosen, &["ffn_moe_topk", "ffn_moe_argsort"]),
    (Is(A::ExpertGate), &["expert_gate", "experts_gate"]),
    (Is(A::ExpertUp), &["expert_up", "experts_up"]),
    (Is(A::ExpertAct), &["expert_act", "experts_act"]),
    (Is(A::ExpertActMul), &["expert_act_mul", "experts_act_mul"]),
    (Is(A::ExpertDown), &["expert_down", "experts_down"]),
    (Ranked(A::ExpertGate), &["ffn_moe_gate"]),
    (Ranked(A::ExpertUp), &["ffn_moe_up"]),
    (Ranked(A::ExpertAct), &["ffn_moe_silu", "ffn_moe_gelu"]),
    (Ranked(A::ExpertActMul), &["ffn_moe_swiglu", "ffn_moe_geglu", "ffn_moe_gate_par"]),
    (Ranked(A::ExpertDown), &["ffn_moe_down"]),
    (Is(A::MlpOut), &["mlp_out", "mlp", "ffn", "ffn_out", "ffn_output", "mlp_output", "feed_forward", "moe",
        "block_sparse_moe"]),
    (Is(A::SharedDownProj), &["shared_expert", "shared_experts", "ffn_shexp"]),
    (Is(A::SharedGate), &["shared_expert_gate"]),
    (Is(A::SharedWeight), &["shared_expert_gate_sigmoid"]),
    (Is(A::Shared), &["ffn_shexp_gated"]),
    (Is(A::Experts), &["experts", "ffn_moe_out", "moe_out", "mlp", "ffn", "ffn_out", "ffn_output", "mlp_out",
        "mlp_output", "feed_forward", "moe", "block_sparse_moe"]),
    (Is(A::DownProj), &["down_proj", "down", "w2", "mlp", "ffn", "ffn_out", "ffn_down", "ffn_output", "mlp_out",
        "mlp_output", "feed_forward"]),
    (Is(A::Block), &["", "block", "l_out", "resid_post", "layer_out", "layer_output", "block_out", "block_output",
        "after", "out", "output", "hidden_states", "post_mlp_residual", "mlp_residual", "resid_ffn"]),
    (Entering, &["resid_pre", "inp", "layer_in", "layer_input", "block_in", "block_input"]),
];

/// Names of one sublayer's result: `after_attn` may as well be the residual stream after it, so these never follow
/// an `after_`.
pub(super) const SUBLAYERS: &[&str] =
    &["attn", "self_attn", "attention", "self_attention", "mlp", "ffn", "feed_forward", "block_sparse_moe", "moe"];

/// What may stand before a layer's number; `""` is the short form, `3.q_rope`.
pub(super) const BEFORE: &[&str] = &[
    "model_layers_",
    "model_decoder_layers_",
    "decoder_layers_",
    "transformer_h_",
    "transformer_layers_",
    "transformer_blocks_",
    "gpt_neox_layers_",
    "layers_",
    "layer_",
    "layers",
    "layer",
    "blocks_",
    "block_",
    "block",
    "blk_",
    "blk",
    "h_",
    "l",
    "",
];

/// What may stand between a word and the layer's number behind it: `l_out-3`, `after_layer_3`, `resid_mid_l3`.
pub(super) const BETWEEN: &[&str] = &["_layer_", "_layer", "_block_", "_block", "_l", "_"];

/// Names that hold an index of their own, in place of `{}`.
#[rustfmt::skip]
pub(super) const INDEXED: &[(Indexed, &[&str])] = &[
    (Indexed::HiddenState, &["hidden_states_{}", "all_hidden_states_{}", "output_hidden_states_{}",
        "decoder_hidden_states_{}", "outputs_hidden_states_{}"]),
    (Indexed::Layer(A::Probs), &["attentions_{}", "all_attentions_{}", "output_attentions_{}", "outputs_attentions_{}"]),
    (Indexed::Layer(A::RouterLogits), &["output_router_logits_{}", "outputs_router_logits_{}", "all_router_logits_{}"]),
    (Indexed::Layer(A::KRope), &["past_key_values_{}_key", "past_key_values_{}_keys", "past_key_values_{}_k",
        "past_key_values_{}_0", "past_key_values_layers_{}_keys", "past_key_values_key_cache_{}", "key_cache_{}",
        "k_cache_{}", "present_{}_key", "past_{}_key"]),
    (Indexed::Layer(A::VProj), &["past_key_values_{}_value", "past_key_values_{}_values", "past_key_values_{}_v",
        "past_key_values_{}_1", "past_key_values_layers_{}_values", "past_key_values_value_cache_{}", "value_cache_{}",
        "v_cache_{}", "present_{}_value", "past_{}_value"]),
];

/// Arrays of two that hold the keys and the values of a layer.
pub(super) const KEYS_AND_VALUES: &[&str] = &[
    "past_key_values_{}",
    "past_key_value_{}",
    "past_kv_{}",
    "kv_cache_{}",
    "cache_{}",
    "present_{}",
    "kv_{}",
    "layers_{}_kv_cache",
    "model_layers_{}_kv_cache",
    "layer_{}_kv_cache",
    "blk_{}_kv_cache",
];

/// What `generate` gives for every step beside the hidden states: a name, and the name of that tensor of one forward.
pub(super) const PER_STEP: &[(&str, &str)] = &[("logits", "logits"), ("scores", "next_token_scores")];

/// What the index of an [`INDEXED`] name counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Indexed {
    /// `hidden_states`: 0 is the embeddings, `i` the output of block `i - 1`, the last is after the final norm.
    HiddenState,
    /// Layers.
    Layer(Role),
}

/// Integer tensors that hold the ids fed.
pub(super) const IDS: &[&str] = &["input_ids", "inp_tokens", "ids", "tokens", "token_ids", "prompt_ids", GENERATED];

/// The ids that `generate` of transformers returns: those fed, and the last one, which was not.
pub(super) const GENERATED: &str = "sequences";

/// Tensors that are no activations, and why they are passed over without a word to the user.
#[rustfmt::skip]
pub(super) const IGNORED: &[(&str, &str)] = &[
    ("position_ids", "positions"), ("positions", "positions"), ("inp_pos", "positions"), ("cache_position", "positions"),
    ("attention_mask", "the mask"), ("next_token_scores", "logits as generate changed them"), ("inp_out_ids", "rows that llama.cpp keeps"), ("kq_mask", "the mask"),
];

/// What wrappers put before every name.
pub(super) const WRAPPERS: &[&str] = &["module_", "orig_mod_", "base_model_model_", "language_model_"];

/// What hooks append for a module's result.
pub(super) const OUTPUTS: &[&str] = &["_data", "_outputs_0", "_output_0", "_outputs", "_output", "_out", "_result"];

/// What hooks append for what a module was given.
pub(super) const INPUTS: &[&str] = &["_inputs_args_0", "_inputs_0", "_input_0", "_inputs", "_input", "_in"];

/// Marks of ggml on nodes that only view or copy another node.
pub(super) const COPIES: &[&str] =
    &[" (view)", " (reshaped)", " (permuted)", " (transposed)", " (cont)", " (copy)", " (copy of"];
