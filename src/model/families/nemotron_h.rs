//! Nemotron-H, Nemotron 3 Nano: blocks of one part each: a selective state space, attention that nothing rotates, an MLP without a
//! gate, or experts without one, in groups, beside one that every token has. `NemotronHConfig` and `modeling_nemotron_h.py`.

use super::bamba::SPACE;
use super::glm4_moe::ROUTED;
use super::llama::LLAMA;
use super::{
    BlockPart, BlocksRow, Defaults, ExpertsRow, Family, Keys, Mamba2Row, MixerKind, MixerLayers, MixerRow, NormRow,
    RopeRow, Rotated, SharedRow, SharedWidth, SparseLayers, Stored, Switch, View,
};
use crate::model::role::{Names, Role};

/// Every part is called `mixer`.
const OWN: &[(Role, &str)] = &[
    (Role::EmbedTokens, "model.embeddings"),
    (Role::InputNorm, "norm"),
    (Role::MlpNorm, "norm"),
    (Role::QProj, "mixer.q_proj"),
    (Role::KProj, "mixer.k_proj"),
    (Role::VProj, "mixer.v_proj"),
    (Role::Scores, "mixer.scores"),
    (Role::Probs, "mixer.probs"),
    (Role::Context, "mixer.context"),
    (Role::OProj, "mixer.o_proj"),
    (Role::UpProj, "mixer.up_proj"),
    (Role::ActFn, "mixer.act_fn"),
    (Role::DownProj, "mixer.down_proj"),
    (Role::RouterLogits, "mixer.gate"),
    (Role::Routing, "mixer.routing"),
    (Role::ExpertUp, "mixer.experts.up"),
    (Role::ExpertAct, "mixer.experts.act"),
    (Role::ExpertDown, "mixer.experts.down"),
    (Role::Experts, "mixer.experts"),
    (Role::SharedUpProj, "mixer.shared_experts.up_proj"),
    (Role::SharedActFn, "mixer.shared_experts.act_fn"),
    (Role::SharedDownProj, "mixer.shared_experts.down_proj"),
    (Role::MlpOut, "mixer"),
    (Role::MixIn, "mixer.in_proj"),
    (Role::StateZ, "mixer.gate_of_state"),
    (Role::ConvIn, "mixer.hidden_states_B_C"),
    (Role::StateA, "mixer.dt"),
    (Role::ConvOut, "mixer.conv1d"),
    (Role::ConvAct, "mixer.conv_act"),
    (Role::StateValue, "mixer.hidden_states"),
    (Role::StateKey, "mixer.B"),
    (Role::StateQuery, "mixer.C"),
    (Role::TimeStep, "mixer.time_step"),
    (Role::TimeStepFloor, "mixer.time_step_clamped"),
    (Role::StateDecay, "mixer.dA"),
    (Role::StateOut, "mixer.scan_output"),
    (Role::Mixed, "mixer.gated"),
    (Role::StateNorm, "mixer.norm"),
    (Role::MixOut, "mixer.out_proj"),
    (Role::Block, ""),
    (Role::FinalNorm, "model.norm_f"),
];

const NAMES: Names = Names {
    layers: "model.layers",
    paths: &[OWN],
    modules: &[
        (Role::OProj, "mixer"),
        (Role::MixOut, "mixer"),
        (Role::DownProj, "mixer"),
        (Role::SharedDownProj, "mixer.shared_experts"),
    ],
};

const fn stored(of: &'static str, at: &'static [&'static str], view: View) -> Stored {
    Stored { of, at, view }
}

const EVERY: View = View::Stacked { part: 0, of: 1 };

pub(super) const NEMOTRON_H: Family = Family {
    name: "nemotron_h",
    keys: Keys { eps: Some("layer_norm_epsilon"), act: Some("mlp_hidden_act"), ..LLAMA.keys },
    // What its class has in its configuration, and what published files have beside, and nothing reads.
    reads: &[
        "attention_bias",
        "expand",
        "mamba_proj_bias",
        "moe_shared_expert_overlap",
        "mtp_layers_block_type",
        "mtp_hybrid_override_pattern",
        "n_shared_experts",
        "residual_in_fp32",
    ],
    defaults: Defaults {
        vocab_size: 131_072,
        intermediate_size: Some(21_504),
        num_hidden_layers: 4,
        num_key_value_heads: Some(8),
        head_dim: Some(128),
        max_position_embeddings: 4096,
        eps: 1e-5,
        act: "relu2",
        ..LLAMA.defaults
    },
    norm: NormRow { rounded_once: true, ..LLAMA.norm },
    whole_heads: false,
    qkv_bias: Switch::Never,
    o_bias: Switch::Never,
    rope: Some(RopeRow { layers: Rotated::Never, ..RopeRow::HALVES }),
    gated: false,
    mixer: Some(MixerRow {
        kind: MixerKind::Mamba2(&Mamba2Row {
            sizes: [("mamba_num_heads", 128), ("n_groups", 8), ("ssm_state_size", 128), ("conv_kernel", 4)],
            expand: None,
            head_dim: ("mamba_head_dim", Some(64)),
            act: Some(("mamba_hidden_act", "silu")),
            least_step: Some(("time_step_min", 0.001)),
            taps_bias: Switch::Unless("use_conv_bias"),
            biases: [Switch::Key("use_bias"); 2],
            ..SPACE
        }),
        words: &["linear_attention", "mamba"],
        layers: MixerLayers::All,
        abreast: false,
    }),
    blocks: Some(BlocksRow {
        lists: &["layers_block_type", "layer_types"],
        pattern: "hybrid_override_pattern",
        words: &[
            ("linear_attention", 'M', BlockPart::Mixer),
            ("full_attention", '*', BlockPart::Attention),
            ("mlp", '-', BlockPart::Mlp),
            ("moe", 'E', BlockPart::Experts),
            ("mamba", 'M', BlockPart::Mixer),
            ("attention", '*', BlockPart::Attention),
        ],
        default: "ME*-",
    }),
    predicts_further: true,
    experts: Some(ExpertsRow {
        count: (&["n_routed_experts", "num_local_experts"], 8),
        top_k: (&["num_experts_per_tok"], 2),
        width: ("moe_intermediate_size", 7688),
        layers: SparseLayers::Blocks,
        shared: Some(SharedRow {
            width: SharedWidth::Own("moe_shared_expert_intermediate_size", 7688),
            weighed: false,
        }),
        ..ROUTED
    }),
    names: &NAMES,
    roots: &["", "backbone."],
    stored: &[
        stored("mixer.conv1d.weight", &["mixer.conv1d.weight"], View::Filters),
        stored("mixer.time_step.bias", &["mixer.dt_bias"], View::Whole),
        stored("mixer.dA.rate", &["mixer.A_log"], View::Whole),
        stored("mixer.scan_output.skip", &["mixer.D"], View::Whole),
        stored("mixer.routing.bias", &["mixer.gate.e_score_correction_bias"], View::Whole),
        stored("mixer.experts.up.weight", &["mixer.experts.{}.up_proj.weight", "mixer.experts.up_proj"], EVERY),
        stored("mixer.experts.down.weight", &["mixer.experts.{}.down_proj.weight", "mixer.experts.down_proj"], EVERY),
    ],
    ..LLAMA
};
