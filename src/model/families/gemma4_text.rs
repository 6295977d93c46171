//! Gemma 4, text: Gemma 3 with norms of plain weights, also of values, without a scale of scores; layers without a window
//! have wider heads, of which a share turns, and some layers read the keys and values of others. Small ones have inputs for
//! each layer, others experts beside the MLP, whose router norms and scales what it reads. `Gemma4TextConfig` and
//! `modeling_gemma4.py`.

use super::gemma2::{GEMMA2, OWN as OF_GEMMA2};
use super::gemma3_text::GEMMA3;
use super::llama::{LLAMA, PATHS};
use super::qwen3::QK_NORM;
use super::qwen3_moe::experts;
use super::{
    Defaults, ExpertsRow, Family, GlobalRow, NormRow, PerLayerRow, QkNormRow, RopeRow, ScaleRow, SharingRow, Stored,
    Switch, View, Windows,
};
use crate::model::role::{Names, Role};

const OWN: &[(Role, &str)] = &[
    (Role::PerLayerEmbed, "model.embed_tokens_per_layer"),
    (Role::PerLayerModel, "model.per_layer_model_projection"),
    (Role::PerLayerScaled, "model.per_layer_scaled"),
    (Role::PerLayerNorm, "model.per_layer_projection_norm"),
    (Role::VNorm, "self_attn.v_norm"),
    (Role::PerLayerGate, "per_layer_input_gate"),
    (Role::PerLayerProj, "per_layer_projection"),
    (Role::PerLayerOutNorm, "post_per_layer_input_norm"),
    (Role::MlpBesideNorm, "post_feedforward_layernorm_1"),
    (Role::RouterNorm, "router.norm"),
    (Role::RouterInput, "router.scaled"),
    (Role::RouterLogits, "router.proj"),
    (Role::ExpertsNorm, "pre_feedforward_layernorm_2"),
    (Role::ExpertGate, "experts.gate"),
    (Role::ExpertUp, "experts.up"),
    (Role::ExpertAct, "experts.act"),
    (Role::ExpertActMul, "experts.act_mul"),
    (Role::ExpertDown, "experts.down"),
    (Role::ExpertsOutNorm, "post_feedforward_layernorm_2"),
];

const STACK: &[&str] = &["experts.gate_up_proj"];

/// `act_fn` of a block is another one than that of its MLP.
const MODULES: &[(Role, &str)] = &[(Role::OProj, "self_attn"), (Role::DownProj, "mlp"), (Role::PerLayerAct, "act_fn")];

const NAMES: Names = Names { layers: "model.layers", paths: &[OWN, OF_GEMMA2, PATHS], modules: MODULES };

const NORM: NormRow = NormRow { rounded_once: true, ..LLAMA.norm };

pub(super) const GEMMA4: Family = Family {
    name: "gemma4_text",
    only: &[("use_bidirectional_attention", &["vision"])],
    defaults: Defaults {
        vocab_size: 262_144,
        num_hidden_layers: 30,
        max_position_embeddings: 131_072,
        sliding_window: Some(512),
        ..GEMMA3.defaults
    },
    norm: NORM,
    whole_heads: false,
    qk_norm: Some(QkNormRow { norm: NORM, ..QK_NORM }),
    v_norm: Some(NormRow { weight: false, ..NORM }),
    rope: Some(RopeRow {
        sliding: Some((None, 1e4)),
        missing: r#"{"sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1e6}}"#,
        ..RopeRow::HALVES
    }),
    scale: ScaleRow::Fixed(1.0),
    logit_cap: GEMMA3.logit_cap,
    windows: Windows::AllButLast { every: 6 },
    global: Some(GlobalRow {
        head_dim: ("global_head_dim", 512),
        values_are_keys: "attention_k_eq_v",
        key_heads: "num_global_key_value_heads",
    }),
    sharing: Some(SharingRow { layers: "num_kv_shared_layers", wide: "use_double_wide_mlp" }),
    per_layer: Some(PerLayerRow {
        width: ("hidden_size_per_layer_input", 256),
        vocab: ("vocab_size_per_layer_input", 262_144),
    }),
    layer_scalar: true,
    experts: Some(ExpertsRow {
        at: Switch::Key("enable_moe_block"),
        beside: true,
        // The class has no defaults.
        count: (&["num_experts"], 1),
        top_k: (&["top_k_experts"], 1),
        width: ("moe_intermediate_size", 1),
        router_norm: true,
        scaled: true,
        ..ExpertsRow::ALL_LAYERS
    }),
    names: &NAMES,
    stored: &[
        Stored { of: "router.scaled.scale", at: &["router.scale"], view: View::Whole },
        Stored { of: "routing_scaled.scale", at: &["router.per_expert_scale"], view: View::Whole },
        experts("experts.gate.weight", STACK, 0, 2),
        experts("experts.up.weight", STACK, 1, 2),
        experts("experts.down.weight", &["experts.down_proj"], 0, 1),
    ],
    score_cap: None,
    ..GEMMA2
};
