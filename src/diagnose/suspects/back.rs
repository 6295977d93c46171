//! What is said of a mistake where the model has the constant, or the wiring, that most models have not.

use super::{Scene, knobs, layouts, residual, rope};
use crate::engine::{Op, Role};
use crate::ops::{Activation, Form, Pairs};

/// What is said of models that have a constant the other way round than most.
#[derive(Debug)]
pub struct Back {
    /// The suspect.
    pub id: &'static str,
    /// Which ops have it so.
    pub of: fn(&Scene) -> bool,
    /// What it is there.
    pub summary: &'static str,
    /// What to do there.
    pub fix: &'static str,
}

/// Suspects of which a model's own constant decides what is wrong and what is to be done.
pub(super) const BACK: &[Back] = &[
    Back {
        id: "embed_scale",
        of: |scene| matches!(scene.op(), Op::Embed { rounded: true, .. }),
        summary: "embeddings are multiplied by another constant than the model's, or by none",
        fix: "multiply the rows of the table by the model's constant, rounded to the dtype of the weights",
    },
    Back {
        id: "embed_scale",
        of: |scene| knobs::factor_of(scene).is_some(),
        summary: "embeddings are multiplied by another constant than the model's, or by none",
        fix: "multiply the rows of the table by the constant of config.json (embedding_multiplier) before the first block",
    },
    Back {
        id: "logit_scale",
        of: |scene| knobs::factor_of(scene).is_some(),
        summary: "logits are multiplied by another constant than the model's, or by none",
        fix: "divide logits by logits_scaling of config.json, or multiply them by its logit_scale or lm_head_multiplier, as the model has it",
    },
    Back {
        id: "residual_scale",
        of: |scene| {
            scene.role() != Some(Role::MixSum)
                && matches!(scene.op(), Op::Sum { factors } if factors.iter().any(|factor| *factor != 1.0))
        },
        summary: "what attention or the MLP give is multiplied by another constant than the model's, or by none",
        fix: "multiply what attention gives, and what the MLP gives, by residual_multiplier of config.json before it is added",
    },
    Back {
        id: "residual_scale",
        of: |scene| scene.role() == Some(Role::MixSum),
        summary: "what the mixer or attention give is multiplied by another constant than the model's, or by none",
        fix: "multiply what the mixer gives by ssm_out_multiplier of config.json, and what attention gives by attention_out_multiplier, before they are added",
    },
    Back {
        id: "rope_interleaved",
        of: |scene| matches!(scene.op(), Op::Rope(rotate) if rotate.pairs == Pairs::Adjacent),
        summary: "channels (i, i + d/2) are rotated together where the model pairs (2i, 2i + 1)",
        fix: "rotate channel 2i with channel 2i + 1",
    },
    Back {
        id: "parallel_residual",
        of: residual::is_parallel,
        summary: "the MLP reads the stream to which attention has been added",
        fix: "attention and MLP read the same stream, and are added to it side by side",
    },
    Back {
        id: "fused_order",
        of: layouts::is_woven,
        summary: "a fused matrix is split in another order",
        fix: "split the matrix as the file was written: the queries of a key head, its key, its value, then those of the next",
    },
    Back {
        id: "logit_softcap",
        of: |scene| matches!(scene.op(), Op::Cap(_)),
        summary: "logits are capped by another constant than the model's, or not at all",
        fix: "logits pass through c tanh(z / c), with c = final_logit_softcapping of config.json",
    },
    Back {
        id: "norm_offset_one",
        of: |scene| matches!(scene.op(), Op::Norm { how, .. } if how.offset != 0.0),
        summary: "the norm multiplies by the weight as it is stored, or by another sum than 1 + weight",
        fix: "multiply by 1 + weight: the weight is stored minus one",
    },
    Back {
        id: "norm_layernorm",
        of: |scene| matches!(scene.op(), Op::Norm { how, .. } if how.form == Form::Centred),
        summary: "RMSNorm in the place of LayerNorm: the mean is not taken off",
        fix: "take the mean of the row off, and divide by the root of the variance",
    },
    Back {
        id: "norm_eps",
        of: |scene| matches!(scene.op(), Op::Norm { how, .. } if how.form == Form::Centred),
        summary: "another eps in the norm",
        fix: "add the eps of config.json to the variance, under the root",
    },
    Back {
        id: "softmax_scale",
        of: |scene| knobs::scale_of(scene).is_some_and(|(own, of_width, _)| !knobs::is_same(own, of_width)),
        summary: "scores are multiplied by another constant",
        fix: "multiply by the constant of the model, once",
    },
    Back {
        id: "rope_attention_factor",
        of: rope::multiplies,
        summary: "rotated queries and keys are not multiplied by the model's attention factor, or by another",
        fix: "multiply cosines and sines by the factor of rope_scaling: attention_factor, else what its type gives",
    },
    Back {
        id: "activation_function",
        of: |scene| !matches!(scene.op(), Op::Activate(Activation::Silu)),
        summary: "another activation function in the MLP",
        fix: "use the function that config.json names (hidden_act, hidden_activation or activation_function)",
    },
];
