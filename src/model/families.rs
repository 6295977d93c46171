//! Families of models, one row each: which keys of config.json it reads, the defaults of transformers' configuration class,
//! what its modules and tensors are called, and which parts of the one block it has.
//!
//! A family is its parent with a difference, by struct update, as in transformers' `modular_*.py`. What a row says becomes
//! a [`Spec`](super::spec::Spec) in `config/spec.rs`.

mod apertus;
mod arcee;
mod bamba;
mod bert;
mod bloom;
mod cohere;
mod cohere2;
mod dbrx;
mod deepseek_v2;
mod deepseek_v3;
mod ernie4_5;
mod ernie4_5_moe;
mod exaone4;
mod falcon;
mod falcon_h1;
mod gemma;
mod gemma2;
mod gemma3_text;
mod gemma4_text;
mod glm;
mod glm4;
mod glm4_moe;
mod glm4_moe_lite;
mod gpt2;
mod gpt_neox;
mod gpt_oss;
mod gptj;
mod granite;
mod granitemoe;
mod granitemoehybrid;
mod helium;
mod hunyuan_v1_dense;
mod hunyuan_v1_moe;
mod kimi_k2;
mod lfm2;
mod lfm2_moe;
mod llama;
mod llama4_text;
mod minimax_m2;
mod ministral;
mod ministral3;
mod mistral;
mod mixtral;
mod modernbert;
mod nemotron;
mod nemotron_h;
mod olmo;
mod olmo2;
mod olmo3;
mod olmoe;
mod opt;
mod phi;
mod phi3;
mod phimoe;
mod qwen2;
mod qwen2_5_vl_text;
mod qwen2_moe;
mod qwen2_vl_text;
mod qwen3;
mod qwen3_5_moe_text;
mod qwen3_5_text;
mod qwen3_moe;
mod qwen3_next;
mod qwen3_vl_text;
mod roberta;
mod seed_oss;
mod smollm3;
mod stablelm;
mod starcoder2;
mod youtu;

pub use super::row::{
    BlockPart, BlocksRow, Defaults, EncoderRow, ExpertsRow, FactorsRow, Family, Fused, GateUp, GlobalRow, GroupsRow,
    Keys, LatentRow, LogitFactor, Mamba2Row, MixerKind, MixerLayers, MixerRow, NormRow, PerLayerRow, QkNormRow,
    RopeRow, Rotated, ScaleRow, ScoreRow, SharedRow, SharedWidth, SharingRow, SparseLayers, Stored, Switch, View, When,
    Windows, WiringRow, Wrapped,
};

impl Family {
    /// Every family, in the order in which messages list them.
    pub const ALL: &'static [&'static Self] = &[
        &llama::LLAMA,
        &mistral::MISTRAL,
        &mixtral::MIXTRAL,
        &qwen2::QWEN2,
        &qwen3::QWEN3,
        &gemma2::GEMMA2,
        &gpt2::GPT2,
        &qwen3_moe::QWEN3_MOE,
        &gemma::GEMMA,
        &granite::GRANITE,
        &olmo::OLMO,
        &olmo2::OLMO2,
        &starcoder2::STARCODER2,
        &seed_oss::SEED_OSS,
        &arcee::ARCEE,
        &opt::OPT,
        &bloom::BLOOM,
        &cohere::COHERE,
        &gpt_neox::GPT_NEOX,
        &phi::PHI,
        &gptj::GPTJ,
        &falcon::FALCON,
        &stablelm::STABLELM,
        &nemotron::NEMOTRON,
        &helium::HELIUM,
        &phi3::PHI3,
        &glm::GLM,
        &glm4::GLM4,
        &cohere2::COHERE2,
        &smollm3::SMOLLM3,
        &olmo3::OLMO3,
        &exaone4::EXAONE4,
        &gemma3_text::GEMMA3,
        &olmoe::OLMOE,
        &qwen2_moe::QWEN2_MOE,
        &granitemoe::GRANITEMOE,
        &dbrx::DBRX,
        &phimoe::PHIMOE,
        &gpt_oss::GPT_OSS,
        &glm4_moe::GLM4_MOE,
        &ernie4_5_moe::ERNIE4_5_MOE,
        &minimax_m2::MINIMAX_M2,
        &hunyuan_v1_moe::HUNYUAN_V1_MOE,
        &deepseek_v2::DEEPSEEK_V2,
        &deepseek_v3::DEEPSEEK_V3,
        &kimi_k2::KIMI_K2,
        &youtu::YOUTU,
        &glm4_moe_lite::GLM4_MOE_LITE,
        &llama4_text::LLAMA4,
        &gemma4_text::GEMMA4,
        &ministral::MINISTRAL,
        &ministral3::MINISTRAL3,
        &hunyuan_v1_dense::HUNYUAN_DENSE,
        &ernie4_5::ERNIE4_5,
        &apertus::APERTUS,
        &qwen2_vl_text::QWEN2_VL,
        &qwen2_5_vl_text::QWEN2_5_VL,
        &qwen3_vl_text::QWEN3_VL,
        &bert::BERT,
        &roberta::ROBERTA,
        &modernbert::MODERNBERT,
        &lfm2::LFM2,
        &lfm2_moe::LFM2_MOE,
        &qwen3_next::QWEN3_NEXT,
        &qwen3_5_text::QWEN3_5_TEXT,
        &qwen3_5_moe_text::QWEN3_5_MOE_TEXT,
        &granitemoehybrid::GRANITEMOEHYBRID,
        &bamba::BAMBA,
        &falcon_h1::FALCON_H1,
        &nemotron_h::NEMOTRON_H,
    ];

    /// Models of several parts whose language model is of a family.
    pub const WRAPPED: &'static [Wrapped] = &[
        Wrapped { name: "mistral3", text: "mistral", flat: false, tied: true, without: &[] },
        Wrapped { name: "llama4", text: "llama4_text", flat: false, tied: false, without: &[] },
        Wrapped { name: "gemma3", text: "gemma3_text", flat: false, tied: true, without: &["final_logit_softcapping"] },
        Wrapped { name: "gemma4", text: "gemma4_text", flat: false, tied: true, without: &[] },
        Wrapped { name: "qwen2_vl", text: "qwen2_vl_text", flat: true, tied: false, without: &[] },
        Wrapped { name: "qwen2_5_vl", text: "qwen2_5_vl_text", flat: true, tied: false, without: &[] },
        Wrapped { name: "qwen3_vl", text: "qwen3_vl_text", flat: false, tied: false, without: &[] },
        Wrapped { name: "qwen3_5", text: "qwen3_5_text", flat: false, tied: false, without: &[] },
        Wrapped { name: "qwen3_5_moe", text: "qwen3_5_moe_text", flat: false, tied: false, without: &[] },
    ];

    /// The family whose `model_type` is `name`.
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().copied().find(|family| family.name == name)
    }

    /// The one whose names stand in for those of a model that is not known.
    pub fn of_unknown() -> &'static Self {
        &llama::LLAMA
    }

    /// `llama, mistral and qwen2`.
    pub fn listed() -> String {
        let wrapped = Self::WRAPPED.iter().map(|wrapped| wrapped.name);
        let names: Vec<&str> = Self::ALL.iter().map(|family| family.name).chain(wrapped).collect();
        match names.split_last() {
            Some((last, [])) => (*last).to_string(),
            Some((last, first)) => format!("{} and {last}", first.join(", ")),
            None => String::new(),
        }
    }
}

/// A name without what the names of all modules of its family begin with: `layers.3.mlp` of `model.layers.3.mlp`.
pub fn without_base(name: &str) -> &str {
    let own = |family: &&'static Family| [family.base].into_iter().chain(family.roots.iter().copied());
    let bases = [Wrapped::ROOT].into_iter().chain(Family::ALL.iter().flat_map(own));
    { bases }.filter(|base| !base.is_empty()).find_map(|base| name.strip_prefix(base)).unwrap_or(name)
}
