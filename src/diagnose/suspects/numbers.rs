//! What makes numbers that are not finite: [`super::super::nonfinite`] recognises it by the right values.

use super::Suspect;
use super::suspect::none;

/// They have no changed op to try: the repaired op is the model's own.
pub(super) const SUSPECTS: &[Suspect] = &[
    Suspect {
        id: "overflow_f16",
        summary: "a number beyond f16's range, 65,504, became infinite",
        ops: &[],
        symptom: "inf, then NaN, from some layer and token on; in bf16 and f32 the same model is right",
        cause: "an activation, or what enters a product, is cast to f16, or summed up in it",
        fix: "compute this op in bf16 or f32, or scale what enters it",
        seen: "llama.cpp #27016, llama.cpp #8412, llama.cpp #7805, Qwen3 #826",
        variants: none,
    },
    Suspect {
        id: "nan_from_masked_row",
        summary: "a softmax over keys that are all masked",
        ops: &[],
        symptom: "whole rows are NaN, often those of padding",
        cause: "-inf less -inf: the mask hides every key of a query",
        fix: "give such rows zeros, or mask with the least finite number",
        seen: "HF #27114, HF #27179, Automodel #2658",
        variants: none,
    },
    Suspect {
        id: "nan_weights",
        summary: "weights that are not finite",
        ops: &[],
        symptom: "the same channels are NaN in every token",
        cause: "a damaged file, weights cast to f16 beyond its range, or a block of quantised weights without a scale",
        fix: "convert or load the weights of these channels again",
        seen: "AutoAWQ #670",
        variants: none,
    },
];
