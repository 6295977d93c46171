//! Mistakes of a dump: its tensors are right, and stand under wrong names or in wrong rows.

use super::Suspect;
use super::suspect::none;

/// They have no op: [`super::super::label`] recognises them by their values.
pub(super) const SUSPECTS: &[Suspect] = &[
    Suspect {
        id: "ref_post_final_norm",
        summary: "a block's output that is after the final norm",
        ops: &[],
        symptom: "only the last layer diverges, and its numbers have another size",
        cause: "the last entry of Hugging Face's hidden_states is after the final norm",
        fix: "hook the last block itself, or compare that tensor with model.norm",
        seen: "almostrealism/common, hipfire #258, HF #26142, HF #48087",
        variants: none,
    },
    Suspect {
        id: "ref_layer_off_by_one",
        summary: "a layer's tensor under the name of its neighbour",
        ops: &[],
        symptom: "every layer is wrong by one block's worth",
        cause: "hidden_states[0] is the embedding: layer i is entry i + 1",
        fix: "shift the indices by one",
        seen: "TorchSpec #87, BaldEagle #18, HF #2461",
        variants: none,
    },
    Suspect {
        id: "ref_token_rows",
        summary: "the rows are those of other tokens",
        ops: &[],
        symptom: "values are right, rows are not: the last row only, shifted, or in another order",
        cause: "only the last token is kept, padding is counted, or a batch is flattened",
        fix: "dump all rows of the sequence in its order",
        seen: "aprender #1064, unsloth #3795, nnsight #673",
        variants: none,
    },
    Suspect {
        id: "ref_wrong_point",
        summary: "another quantity of the same layer: before or after residual, norm, rotation or softmax",
        ops: &[],
        symptom: "one kind of tensor is wrong in every layer, and what follows is right",
        cause: "the hook is before or after the point that the name says",
        fix: "hook the module whose output the name says",
        seen: "nnterp #53, nnterp #54, TransformerLens #1648",
        variants: none,
    },
    Suspect {
        id: "duplicate_tensor",
        summary: "one tensor under several names",
        ops: &[],
        symptom: "two names hold the same bits, and what follows one of them was computed from something else",
        cause: "the buffer is overwritten before it is written out, or a hook fires twice",
        fix: "copy the tensor when it is computed",
        seen: "imp #1275, aprender #2091",
        variants: none,
    },
    Suspect {
        id: "input_ids_differ",
        summary: "the two sides were fed other tokens",
        ops: &[],
        symptom: "everything differs from the embeddings on",
        cause: "a BOS token, a system prompt or a template on one side only",
        fix: "feed both the same ids, with --ids",
        seen: "lm-eval #1465, lm-eval #2049, aprender #3990, llama.cpp #21500",
        variants: none,
    },
];
