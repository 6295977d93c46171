//! GPT-OSS: each head has a sink beside its keys, every second layer a window; experts with biases, gate and up of each in turn
//! out of one matrix, stored `[in, out]`, and clamped. `GptOssConfig` and `modeling_gpt_oss.py`.

use super::llama::{LLAMA, PATHS};
use super::olmo2::OLMO2;
use super::qwen3_moe::{EXPERTS, MODULES};
use super::{Defaults, ExpertsRow, Family, GateUp, RopeRow, Stored, Switch, View, Windows};
use crate::model::role::{Names, Role};

const OWN: &[(Role, &str)] = &[(Role::RouterLogits, "mlp.router"), (Role::ExpertGateUp, "mlp.experts.gate_up")];

const NAMES: Names = Names { layers: "model.layers", paths: &[OWN, EXPERTS, PATHS], modules: MODULES };

const fn stack(of: &'static str, at: &'static [&'static str]) -> Stored {
    Stored { of, at, view: View::StackedTransposed }
}

pub(super) const GPT_OSS: Family = Family {
    name: "gpt_oss",
    reads: &["initial_context_length", "experts_per_token"],
    defaults: Defaults {
        vocab_size: 201_088,
        hidden_size: 2880,
        intermediate_size: Some(2880),
        num_hidden_layers: 36,
        num_attention_heads: 64,
        num_key_value_heads: Some(8),
        head_dim: Some(64),
        max_position_embeddings: 131_072,
        eps: 1e-5,
        rope_theta: 150_000.0,
        sliding_window: Some(128),
        ..LLAMA.defaults
    },
    norm: OLMO2.norm,
    whole_heads: false,
    qkv_bias: Switch::Unless("attention_bias"),
    o_bias: Switch::Unless("attention_bias"),
    mlp_bias: Switch::Never,
    rope: Some(RopeRow {
        missing: r#"{"rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": false,
            "original_max_position_embeddings": 4096}"#,
        ..RopeRow::HALVES
    }),
    sinks: true,
    windows: Windows::AllBut { key: None, every: 2 },
    fused_mlp: GateUp::InTurn,
    experts: Some(ExpertsRow {
        count: (&["num_local_experts", "num_experts"], 128),
        top_k: (&["num_experts_per_tok"], 4),
        width: ("intermediate_size", 2880),
        renormalise: Switch::Never,
        rounded: true,
        softmax_after: true,
        router_bias: true,
        bias: true,
        clamp: Some([("swiglu_alpha", 1.702), ("swiglu_limit", 7.0)]),
        ..ExpertsRow::ALL_LAYERS
    }),
    names: &NAMES,
    stored: &[
        Stored { of: "self_attn.probs.sinks", at: &["self_attn.sinks"], view: View::Whole },
        stack("mlp.experts.gate_up.weight", &["mlp.experts.gate_up_proj"]),
        stack("mlp.experts.gate_up.bias", &["mlp.experts.gate_up_proj_bias"]),
        stack("mlp.experts.down.weight", &["mlp.experts.down_proj"]),
        stack("mlp.experts.down.bias", &["mlp.experts.down_proj_bias"]),
    ],
    ..LLAMA
};
