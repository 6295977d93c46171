//! MiniMax-M2: experts that a sigmoid scores and a bias chooses; norms over all heads of q, and of k, together; a part of each
//! head rotated. `MiniMaxM2Config` and `modeling_minimax_m2.py`.

use super::llama::LLAMA;
use super::mixtral::MIXTRAL;
use super::qwen3::QK_NORM;
use super::{Defaults, ExpertsRow, Family, QkNormRow, RopeRow, ScoreRow, Stored, Switch, View};
use crate::model::spec::Over;

pub(super) const MINIMAX_M2: Family = Family {
    name: "minimax_m2",
    reads: &["use_qk_norm"],
    defaults: Defaults {
        vocab_size: 200_064,
        hidden_size: 3072,
        intermediate_size: Some(1536),
        num_hidden_layers: 62,
        num_attention_heads: 48,
        num_key_value_heads: Some(8),
        head_dim: Some(128),
        max_position_embeddings: 196_608,
        rope_theta: 5e6,
        ..LLAMA.defaults
    },
    whole_heads: false,
    qkv_bias: Switch::Never,
    o_bias: Switch::Never,
    mlp_bias: Switch::Never,
    qk_norm: Some(QkNormRow { over: Over::Row, ..QK_NORM }),
    rope: Some(RopeRow {
        share: Some(("partial_rotary_factor", 1.0)),
        dims: Some(("rotary_dim", 0)),
        ..RopeRow::HALVES
    }),
    experts: Some(ExpertsRow {
        count: (&["num_local_experts", "num_experts"], 256),
        top_k: (&["num_experts_per_tok"], 8),
        width: ("intermediate_size", 1536),
        score: ScoreRow::Sigmoid,
        choice_bias: true,
        ..ExpertsRow::ALL_LAYERS
    }),
    names: MIXTRAL.names,
    stored: &[
        Stored {
            of: "mlp.routing.bias",
            at: &["block_sparse_moe.e_score_correction_bias", "mlp.e_score_correction_bias"],
            view: View::Whole,
        },
        MIXTRAL.stored[0],
        MIXTRAL.stored[1],
        MIXTRAL.stored[2],
        MIXTRAL.stored[3],
    ],
    ..LLAMA
};
