//! The table of config.json's keys: what happens to each, so that nothing that changes the mathematics is ignored.

use serde_json::Value;

use super::ConfigError;
use super::read::{Reader, shown};
use crate::model::families::{Family, Wrapped};

/// What a key means to a family that does not read it.
#[derive(Clone, Copy, Debug)]
enum Rule {
    /// No influence on the forward pass.
    Harmless,
    /// No influence on the forward pass, but worth a note.
    Note(&'static str),
    /// Refused unless it has one of these values; a null is always one.
    Only(&'static [Neutral]),
}

/// A value that leaves the mathematics as it is.
#[derive(Clone, Copy, Debug)]
enum Neutral {
    Number(f64),
    Flag(bool),
    Text(&'static str),
    /// An empty list or object.
    Empty,
}

impl Neutral {
    fn matches(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Number(neutral), value) => value.as_f64() == Some(neutral),
            (Self::Flag(neutral), Value::Bool(flag)) => *flag == neutral,
            (Self::Text(neutral), Value::String(text)) => text == neutral,
            (Self::Empty, Value::Array(items)) => items.is_empty(),
            (Self::Empty, Value::Object(keys)) => keys.is_empty(),
            _ => false,
        }
    }
}

const OFF: &[Neutral] = &[Neutral::Flag(false)];
const ON: &[Neutral] = &[Neutral::Flag(true)];
const ONE: &[Neutral] = &[Neutral::Number(1.0)];
const NONE: &[Neutral] = &[];
const FEW: &[Neutral] = &[Neutral::Number(0.0), Neutral::Number(1.0), Neutral::Empty, Neutral::Flag(false)];

/// Every key layerstep knows that no family reads, and what those mean that some do; spaces stand between them. A key that is
/// not here, that no family reads, and that is neither text nor null, gets a note.
const KEYS: &[(Rule, &str)] = &[
    (Rule::Only(ON), "use_expert_bias attn_output_gate"),
    (Rule::Harmless, "mtp_num_hidden_layers mtp_use_dedicated_embeddings"),
    (Rule::Only(NONE), "sliding_window"),
    (Rule::Only(OFF), "attention_bias mlp_bias"),
    // Read elsewhere in layerstep: by the tokenizer, the chat template and the sampler.
    (
        Rule::Harmless,
        "bos_token_id eos_token_id pad_token_id unk_token_id sep_token_id decoder_start_token_id tokenizer_class \
         do_sample temperature top_k top_p min_p typical_p repetition_penalty length_penalty no_repeat_ngram_size \
         encoder_no_repeat_ngram_size num_beams num_beam_groups diversity_penalty early_stopping max_length \
         max_new_tokens min_length bad_words_ids exponential_decay_length_penalty forced_bos_token_id \
         forced_eos_token_id suppress_tokens begin_suppress_tokens remove_invalid_values num_return_sequences \
         return_dict_in_generate output_scores",
    ),
    // Training, bookkeeping, other software.
    (
        Rule::Harmless,
        "_name_or_path name_or_path _commit_hash architectures transformers_version transformers.js_config dtype \
         torch_dtype use_bfloat16 torchscript tf_legacy_loss initializer_range attention_dropout \
         attention_probs_dropout_prob hidden_dropout hidden_dropout_prob classifier_dropout resid_pdrop \
         embd_pdrop attn_pdrop gradient_checkpointing use_cache output_attentions output_hidden_states \
         tie_last_hidden_states _sliding_window_pattern return_dict use_return_dict chunk_size_feed_forward _attn_implementation \
         _attn_implementation_autoset attn_implementation _flash_attn_2_enabled use_flash_attn id2label label2id \
         num_labels problem_type finetuning_task task_specific_params prefix model_max_length max_sequence_length \
         seq_length n_ctx summary_type summary_use_proj summary_activation summary_proj_to_labels \
         summary_first_dropout output_router_logits router_aux_loss_coef router_jitter_noise input_jitter_noise cache_implementation \
         dropout activation_dropout residual_dropout embedding_dropout layerdrop init_std offset_alibi skip_bias_add \
         skip_bias_add_qkv masked_softmax_fusion bias_dropout_fusion attention_softmax_in_fp32 \
         scale_attention_softmax_in_fp32 is_llama_config unsloth_version unsloth_fixed unsloth_training_args \
         aux_loss_alpha seq_aux ep_size mamba_chunk_size num_logits_to_keep z_loss_coefficient emb_pdrop moe_jitter_eps \
         moe_loss_weight time_step_min time_step_max time_step_floor time_step_rank \
         chunk_size use_mamba_kernels mamba_ssm_cache_dtype rescale_prenorm_residual",
    ),
    (Rule::Note("the Python code it names is not run: the mathematics is that of transformers' own class"), "auto_map"),
    // The weights are not what their names say.
    (Rule::Only(NONE), "quantization_config quantization compression_config"),
    // RoPE of another kind.
    (Rule::Only(ONE), "partial_rotary_factor rotary_pct rope_pct"),
    (Rule::Only(NONE), "rotary_dim rope_local_base_freq qk_rope_head_dim mrope_section"),
    (Rule::Only(OFF), "rope_interleaved rope_interleave rotary_interleaved alibi use_alibi"),
    (Rule::Only(&[Neutral::Text("rope"), Neutral::Text("rotary")]), "position_embedding_type"),
    (Rule::Only(&[Neutral::Empty]), "no_rope_layers nope_layers"),
    (Rule::Only(&[Neutral::Number(0.0)]), "no_rope_layer_interval nope_layer_interval"),
    // Attention of another kind.
    (
        Rule::Only(NONE),
        "query_pre_attn_scalar attn_logit_softcapping final_logit_softcapping attention_chunk_size \
         sliding_window_pattern interleaved_sliding_window kv_lora_rank q_lora_rank qk_nope_head_dim v_head_dim \
         index_topk clip_qkv num_kv_shared_layers moe_latent_size",
    ),
    (
        Rule::Only(OFF),
        "_remove_final_layer_norm apply_residual_connection_post_layernorm slow_but_exact attn_temperature_tuning use_qk_norm qk_layernorm use_parallel_residual parallel_attn \
         use_bidirectional_attention is_encoder_decoder add_cross_attention reorder_and_upcast_attn use_mla \
         use_mrope",
    ),
    (Rule::Only(ON), "is_causal scale_attn_weights do_layer_norm_before layer_norm_elementwise_affine"),
    (Rule::Only(OFF), "attention_out_bias o_proj_bias use_bias lm_head_bias"),
    // Constant factors.
    (
        Rule::Only(ONE),
        "embedding_multiplier residual_multiplier logits_scaling logit_scale scale_emb scale_embeddings \
         lm_head_multiplier key_multiplier attention_out_multiplier attention_in_multiplier",
    ),
    (
        Rule::Only(NONE),
        "attention_multiplier scale_depth dim_model_base mup_width_scale mlp_multipliers hidden_activation",
    ),
    // Sums of another order, and experts.
    (Rule::Only(ONE), "pretraining_tp moe_layer_freq"),
    (
        Rule::Only(FEW),
        "num_experts num_local_experts n_routed_experts n_shared_experts num_experts_per_tok \
         moe_intermediate_size moe_layers mlp_only_layers shared_expert_intermediate_size decoder_sparse_step",
    ),
    // More, or less, than one stack of equal blocks.
    (Rule::Only(&[Neutral::Empty]), "pruned_heads per_layer_config text_config vision_config audio_config"),
    (Rule::Only(&[Neutral::Number(0.0)]), "num_nextn_predict_layers num_mtp_layers"),
];

fn rule(key: &str) -> Option<Rule> {
    KEYS.iter().find(|(_, names)| names.split(' ').any(|name| name == key)).map(|(rule, _)| *rule)
}

/// Checks the keys beside the `text_config` of a model of several parts: what is known to change the mathematics is refused.
pub(super) fn check_whole(reader: &Reader, row: &Wrapped) -> Result<(), ConfigError> {
    for (key, value) in reader.keys.iter().filter(|(key, value)| !value.is_null() && !Wrapped::KEYS.contains(&&key[..]))
    {
        if let Some(Rule::Only(neutral)) = rule(key)
            && !neutral.iter().any(|neutral| neutral.matches(value))
        {
            return Err(reader.unsupported(key, value, format!(" for model_type {}", row.name)));
        }
    }
    Ok(())
}

/// Checks every key of the file; returns the notes.
pub(super) fn check(reader: &Reader, family: &Family) -> Result<Vec<String>, ConfigError> {
    let mut notes = Vec::new();
    let note = |key: &str, value: &Value, what: &str| {
        format!("{} has `{}`: {}, {what}", reader.file, key.escape_debug(), shown(value))
    };
    for (key, value) in &reader.keys {
        let name = family.name;
        // What stands in an object means what it means elsewhere.
        match rule(key.rsplit('.').next().unwrap_or(key)) {
            Some(Rule::Harmless) => {}
            _ if value.is_null() || family.reads(key) => {}
            Some(Rule::Note(what)) => notes.push(note(key, value, what)),
            Some(Rule::Only(neutral)) => {
                if !neutral.iter().any(|neutral| neutral.matches(value)) {
                    return Err(reader.unsupported(key, value, format!(" for model_type {name}")));
                }
            }
            None if Family::ALL.iter().any(|other| other.reads(key)) => {
                notes.push(note(key, value, &format!("which model_type {name} does not read")));
            }
            None if value.is_string() => {}
            None => notes.push(note(key, value, "which layerstep does not know; it is not used")),
        }
    }
    Ok(notes)
}
