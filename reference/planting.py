"""Mistakes that people make when they port a transformer, planted into a copy of a PyTorch model.

`BUGS` is the table. Each mistake names the suspect it stands for, the activations that it makes wrong although their
inputs are right (in program order), and the tiny models on which it shows. What computes RoPE, attention and the cache
wrongly is in planting_rope.py and planting_attention.py, norms and the layout of weights have a file each, what only
some families can have is in planting_families.py, what no suspect stands for in planting_unnamed.py, and all else in
planting_layers.py.

    model = planted(clean, [Plant("rope_interleaved", 1), Plant("final_norm_missing")])
    with capture(model, "candidate.safetensors"):
        model(input_ids)
"""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from torch import nn
from transformers import PreTrainedModel

import planting_attention as attention
import planting_families as families
import planting_layers as layers
import planting_layouts as layouts
import planting_norms as norms
import planting_rope as rope
import planting_second as second
import planting_unnamed as unnamed
from clean import DECODED, PARTS

EVERY = ("llama", "llama_bias", "mistral", "qwen2", "qwen3")
GROUPED = ("llama", "mistral", "qwen2", "qwen3")  # fewer key heads than query heads
UNTIED = ("llama", "mistral", "qwen3")
TIED = ("qwen2", "llama_bias")
PLAIN = ("llama_bias", "mistral", "qwen2", "qwen3")  # RoPE that is not scaled
FULL = ("llama", "llama_bias", "qwen2", "qwen3")  # attention without a window
ROPE = ("self_attn.q_rope", "self_attn.k_rope")
SCORES = ("self_attn.scores",)
PROBS = "self_attn.probs"  # where a wrong mask is seen by who compares only the scores that the right one leaves
CONTEXT = ("self_attn.context",)
NORM = ("input_layernorm",)
QK_NORM = ("self_attn.q_norm", "self_attn.k_norm")
LINEAR = (*layouts.QKV, "self_attn.o_proj", *layouts.GATE_UP, "mlp.down_proj")
QKV = layouts.QKV
GEMMA, GPT2, QWEN_MOE, PLAIN_MOE = ("gemma2",), ("gpt2",), ("qwen3_moe",), ("qwen3_moe_plain",)
EXPERTS = tuple(f"mlp.experts.{name}" for name in ("gate", "up", "down"))
ROUTING = ("mlp.routing",)


@dataclass(frozen=True)
class Bug:
    """A kind of mistake. `sites` are names inside a layer ("" is the block's output), or whole names outside of all."""

    id: str
    suspect: str
    summary: str
    sites: tuple[str, ...]
    models: tuple[str, ...]
    plant: Callable[..., None]
    layers: tuple[int, ...] = (0, 1, 2)  # where it can be planted in three layers
    from_step: int = 0  # the first forward in which it shows
    parts: bool = False  # it takes a later forward of several tokens
    float32_only: bool = False  # in less precision it is no larger than the rounding, at 12 tokens (at more, see LONG_RUNS)
    amount: float | None = None  # given to `plant` where a mistake has a size
    instead: str | None = None  # the site that another right reading names first
    fair: tuple[str, ...] = ()  # suspects that compute the same numbers, so that naming them is right, too
    verdicts: tuple[str, ...] = ("diverged",)

    @property
    def tokens(self) -> str:
        """How it is fed."""
        return PARTS if self.parts else DECODED if self.from_step else "12"

    @cached_property
    def in_layer(self) -> bool:
        return not self.sites[0].startswith(("model", "transformer", "lm_head", "logits"))

    def name(self, site: str, layer: int | None) -> str:
        """The whole name of a site."""
        blocks = "transformer.h" if "gpt2" in self.models else "model.layers"
        return f"{blocks}.{layer}.{site}".rstrip(".") if self.in_layer else site

    def wrong(self, layer: int | None, steps: int) -> list[str]:
        """Every activation of a run of `steps` forwards that it computes wrongly from right inputs, in program order."""
        names = [self.name(site, layer) for site in self.sites]
        return [name + (f"@{step}" if step else "") for step in range(self.from_step, steps) for name in names]


@dataclass(frozen=True)
class Plant:
    """One mistake in one place: a layer, or, for what is in no layer, None."""

    id: str
    layer: int | None = None
    amount: float | None = None

    @property
    def bug(self) -> Bug:
        return BUGS[self.id]

    def apply(self, model: PreTrainedModel) -> None:
        amount = self.bug.amount if self.amount is None else self.amount
        self.bug.plant(model, self.layer, *([] if amount is None else [amount]))


def planted(model: PreTrainedModel, plants: Iterable[Plant]) -> PreTrainedModel:
    """A copy of the model with the mistakes in it."""
    model = copy.deepcopy(model)
    for plant in plants:
        plant.apply(model)
    return model


def _table() -> list[Bug]:
    a, w, n, r, o = attention, layers, norms, rope, layouts
    return [
        # embedding, head, final norm
        Bug("embed_scaled", "embed_scale", "embeddings times sqrt(hidden)", ("model.embed_tokens",), EVERY, w.scale_embeddings(0.5)),
        Bug("head_untied", "head_untied", "the embedding matrix as the head of a model that has its own", ("lm_head",), UNTIED, w.tie_head),
        Bug("head_random", "unknown", "a head that was never tied", ("lm_head",), TIED, w.randomize_head),
        Bug("final_norm_missing", "final_norm_missing", "no final norm", ("model.norm",), EVERY, n.skip_norm("model.norm")),
        Bug("final_norm_wrong_weight", "norm_wrong_weight", "final norm with the last layer's norm weight", ("model.norm",), EVERY, n.exchange_final_norm),
        Bug("final_norm_eps", "norm_eps", "final norm with another eps", ("model.norm",), EVERY, n.norm_eps("model.norm"), amount=0.3),
        Bug("logit_softcap", "logit_softcap", "logits capped by tanh", ("lm_head",), EVERY, w.cap_logits, amount=5.0),
        Bug("logits_scaled", "logit_scale", "logits times a constant", ("lm_head",), EVERY, w.scale_logits, amount=1.5),
        # norms
        Bug("norm_eps", "norm_eps", "another eps", NORM, EVERY, n.norm_eps(*NORM), amount=0.5),
        Bug("norm_offset_one", "norm_offset_one", "1 + weight", NORM, EVERY, n.offset_norm(*NORM)),
        Bug("norm_weight_missing", "norm_weight_missing", "no weight", NORM, EVERY, n.unweight_norm(*NORM)),
        Bug("norm_layernorm", "norm_layernorm", "the mean taken off, as LayerNorm does", NORM, EVERY, n.center_norm(*NORM)),
        Bug("norms_exchanged", "norm_wrong_weight", "the weights of the layer's two norms exchanged", (*NORM, "post_attention_layernorm"), EVERY, n.exchange_norms),
        Bug("norm_wrong_layer", "norm_wrong_weight", "another layer's norm weight", ("post_attention_layernorm",), EVERY, n.borrow_norm),
        Bug("norm_missing", "norm_missing", "no norm before the MLP", ("post_attention_layernorm",), EVERY, n.skip_norm("post_attention_layernorm")),
        Bug("low_precision_norm", "low_precision_norm", "variance in bf16", NORM, EVERY, n.round_variance, float32_only=True),
        Bug("qk_norm_missing", "qk_norm_missing", "no norm on q and k", QK_NORM, ("qwen3",), n.skip_qk_norm),
        Bug("qk_norm_exchanged", "norm_wrong_weight", "the norm weights of q and k exchanged", QK_NORM, ("qwen3",), n.exchange_qk_norm),
        # projections
        Bug("q_bias_missing", "bias_missing", "no bias on q", ("self_attn.q_proj",), ("qwen2", "llama_bias"), w.drop_bias("self_attn.q_proj")),
        Bug("k_bias_missing", "bias_missing", "no bias on k", ("self_attn.k_proj",), ("qwen2", "llama_bias"), w.drop_bias("self_attn.k_proj")),
        Bug("v_bias_missing", "bias_missing", "no bias on v", ("self_attn.v_proj",), ("qwen2", "llama_bias"), w.drop_bias("self_attn.v_proj")),
        Bug("qkv_bias_missing", "bias_missing", "no bias on q, k and v", QKV, ("qwen2", "llama_bias"), w.drop_bias(*QKV)),
        Bug("o_bias_missing", "bias_missing", "no bias on o_proj", ("self_attn.o_proj",), ("llama_bias",), w.drop_bias("self_attn.o_proj")),
        Bug("down_bias_missing", "bias_missing", "no bias on down_proj", ("mlp.down_proj",), ("llama_bias",), w.drop_bias("mlp.down_proj")),
        Bug("bias_channel_missing", "bias_missing", "one channel of v's bias missing", ("self_attn.v_proj",), ("qwen2", "llama_bias"), w.drop_bias_channel, amount=-1),
        Bug("o_transposed", "weight_transposed", "o_proj transposed", ("self_attn.o_proj",), TIED, o.transpose_o),
        Bug("kv_order", "fused_order", "k and v in the other order", ("self_attn.k_proj", "self_attn.v_proj"), EVERY, w.exchange_kv),
        Bug("qk_permuted", "qk_permuted", "rows of q and k permuted, RoPE not", ("self_attn.q_proj", "self_attn.k_proj"), EVERY, o.permute(o.to_interleaved, *QKV[:2]), instead=ROPE[0]),
        Bug("k_wrong_layer", "wrong_layer_weight", "another layer's k_proj", ("self_attn.k_proj",), EVERY, w.borrow("self_attn.k_proj")),
        Bug("mlp_wrong_layer", "wrong_layer_weight", "another layer's MLP", ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"), EVERY, w.borrow("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")),
        Bug("gate_up_swapped", "gate_up_swapped", "gate and up exchanged", ("mlp.gate_proj", "mlp.up_proj"), EVERY, w.exchange_gate_up),
        Bug("q_scaled", "unknown", "q_proj times a constant", ("self_attn.q_proj",), EVERY, w.scale("self_attn.q_proj"), amount=1.1),
        Bug("up_scaled", "unknown", "up_proj times a constant", ("mlp.up_proj",), EVERY, w.scale("mlp.up_proj"), amount=0.9, fair=("residual_scale",)),
        Bug("down_quantised", "unknown", "down_proj in 4 bits", ("mlp.down_proj",), EVERY, w.quantise("mlp.down_proj"), amount=4),
        Bug("channel_zero", "unknown", "one channel of down_proj is 0", ("mlp.down_proj",), EVERY, w.zero_channel),
        Bug("late_rows", "unknown", "up_proj wrong from token 6 on", ("mlp.up_proj",), EVERY, w.scale_late_rows, amount=1.2),
        Bug("stale_layer_state", "stale_layer_state", "up_proj reads the norm of the layer before", ("mlp.up_proj",), EVERY, w.read_stale("mlp.up_proj", "post_attention_layernorm"), layers=(1, 2)),
        # MLP and residual
        Bug("activation_gelu", "activation_function", "gelu for silu", ("mlp.act_fn",), EVERY, w.activation(nn.GELU)),
        Bug("activation_sharper", "activation_function", "x * sigmoid(c x)", ("mlp.act_fn",), EVERY, w.sharpen, amount=1.702),
        Bug("activation_on_up", "gate_up_swapped", "act(up) * gate", ("mlp.act_fn", "mlp.act_mul"), EVERY, w.activate_up),
        Bug("act_added", "unknown", "act(gate) + up", ("mlp.act_mul",), EVERY, w.add_gate),
        Bug("residual_after_norm", "residual_after_norm", "the attention residual taken after the norm", ("resid_mid",), EVERY, w.residual_after_norm),
        Bug("residual_missing", "residual_scale", "no residual around attention", ("resid_mid",), EVERY, w.drop_residual),
        Bug("residual_scaled", "residual_scale", "attention added times a constant", ("resid_mid",), EVERY, w.scale_residual, amount=0.7),
        Bug("mlp_residual_after_norm", "residual_after_norm", "the MLP residual taken after the norm", ("",), EVERY, w.mlp_residual_after_norm),
        Bug("parallel_residual", "parallel_residual", "attention and MLP side by side", ("resid_mid", ""), EVERY, w.parallel),
        Bug("layer_skipped", "block_missing", "a whole layer left out", ("",), EVERY, w.skip_layer),
        # RoPE
        Bug("rope_interleaved", "rope_interleaved", "pairs (2i, 2i + 1)", ROPE, EVERY, r.rotate_interleaved),
        Bug("rope_interleaved_q", "rope_interleaved", "pairs (2i, 2i + 1), in q only", ROPE[:1], EVERY, r.rotate_interleaved_q),
        Bug("rope_theta", "rope_theta", "another theta", ROPE, EVERY, r.rope_theta, amount=4.0),
        Bug("rope_scaling_missing", "rope_scaling_missing", "no llama3 scaling", ROPE, ("llama",), r.rope_unscaled),
        Bug("rope_position_offset", "rope_position_offset", "positions from 1, which scores do not feel", ROPE, EVERY, r.offset_positions),
        Bug("rope_position_offset_q", "rope_position_offset", "positions from 1, in q only", ROPE[:1], EVERY, r.offset_queries),
        Bug("rope_partial", "rope_partial", "half of each head not turned", ROPE, EVERY, r.rope_partial),
        Bug("rope_missing", "rope_missing", "nothing turned", ROPE, EVERY, r.rope_missing),
        Bug("rope_direction", "rope_direction", "turned the other way", ROPE, EVERY, r.rope_backwards),
        Bug("rope_low_precision", "rope_low_precision", "frequencies in bf16", ROPE, EVERY, r.round_frequencies, float32_only=True),
        Bug("rope_table_low_precision", "rope_low_precision", "cos and sin in bf16", ROPE, EVERY, r.round_table, float32_only=True),
        # scores, mask, heads
        Bug("softmax_scale_missing", "softmax_scale", "no scale", SCORES, EVERY, a.unscaled),
        Bug("softmax_scale_squared", "softmax_scale", "1 / d", SCORES, EVERY, a.scaled_twice),
        Bug("scores_scaled", "unknown", "scores times a constant", SCORES, EVERY, a.scale_scores, amount=1.2),
        Bug("attention_softcap", "attn_softcap", "scores capped by tanh", SCORES, EVERY, a.cap_scores, amount=2.0),
        Bug("low_precision_scores", "low_precision_scores", "scores in bf16", SCORES, EVERY, a.round_scores, float32_only=True, verdicts=("diverged", "rounding")),
        Bug("causal_mask_missing", "causal_mask_missing", "no mask", SCORES, FULL, a.no_mask, instead=PROBS),
        Bug("mask_off_by_one", "mask_off_by_one", "the next token is seen", SCORES, FULL, a.see_next, instead=PROBS),
        Bug("window_off_by_one", "mask_off_by_one", "a window of one token more", SCORES, ("mistral",), a.window, amount=7, instead=PROBS),
        Bug("window_short", "mask_off_by_one", "a window of one token less", SCORES, ("mistral",), a.window, amount=5, instead=PROBS),
        Bug("window_ignored", "sliding_window", "no window", SCORES, ("mistral",), a.window, amount=10**6, instead=PROBS),
        Bug("window_invented", "sliding_window", "a window where there is none", SCORES, FULL, a.window, amount=4, instead=PROBS),
        Bug("softmax_plus_one", "sinks_missing", "1 added to the denominator of the softmax", ("self_attn.probs",), EVERY, a.softmax_plus_one),
        Bug("gqa_tile", "gqa_tile", "query head h reads key head h % G", (*SCORES, *CONTEXT), GROUPED, a.tile_both),
        Bug("gqa_tile_v", "gqa_tile", "the same, of v only", CONTEXT, GROUPED, a.tile_values),
        Bug("head_merge_order", "head_merge_order", "heads joined without transposing back", CONTEXT, EVERY, a.join_untransposed),
        Bug("head_scaled", "unknown", "one head times a constant", CONTEXT, EVERY, a.scale_head, amount=0.0),
        # cache
        Bug("decode_position_offset", "kv_cache_position", "positions one too high while decoding", ROPE, EVERY, r.offset_decode, from_step=1),
        Bug("decode_position_stuck", "kv_cache_position", "positions stay at the first decoded one", ROPE, EVERY, r.stick_decode, from_step=2),
        Bug("decode_position_restarted", "kv_cache_position", "positions start again at 0", ROPE, EVERY, r.restart_decode, from_step=1),
        Bug("cache_zero_k", "kv_cache_stale", "a slot of the key cache holds zeros", SCORES, FULL, a.stale_keys(None), from_step=1),
        Bug("cache_other_k", "kv_cache_stale", "a slot of the key cache holds another token", SCORES, FULL, a.stale_keys(2), from_step=1),
        Bug("cache_zero_v", "kv_cache_stale", "a slot of the value cache holds zeros", CONTEXT, FULL, a.stale_values(None), from_step=1),
    ]  # fmt: skip


def _variants() -> list[Bug]:
    """Other values of the parameters of the mistakes above, and other places of them."""
    a, w, n, r, o = attention, layers, norms, rope, layouts
    return [
        # embedding, head, final norm
        Bug("embed_scaled_down", "embed_scale", "embeddings divided by sqrt(hidden)", ("model.embed_tokens",), EVERY, w.scale_embeddings(-0.5)),
        Bug("head_unnormed", "final_norm_missing", "the head reads what the final norm reads", ("lm_head",), EVERY, w.unnormed_head),
        Bug("final_norm_offset", "norm_offset_one", "1 + weight in the final norm", ("model.norm",), EVERY, n.offset_norm("model.norm")),
        Bug("final_norm_unweighted", "norm_weight_missing", "no weight in the final norm", ("model.norm",), EVERY, n.unweight_norm("model.norm")),
        # norms
        Bug("norm_eps_outside", "norm_eps", "x / (rms + eps)", NORM, ("llama", "mistral"), n.eps_outside, float32_only=True),
        Bug("norm_eps_usual", "norm_eps", "1e-5 where it is 1e-6", ("post_attention_layernorm",), ("llama_bias", "qwen2", "qwen3"), n.norm_eps("post_attention_layernorm"), amount=1e-5, float32_only=True),
        Bug("norm_eps_zero", "norm_eps", "no eps", NORM, ("llama", "mistral"), n.norm_eps(*NORM), amount=0.0, float32_only=True),
        Bug("norm_offset_back", "norm_offset_one", "weight - 1", NORM, EVERY, n.offset_norm_back(*NORM)),
        Bug("norm_offset_twice", "norm_offset_one", "2 + weight", ("post_attention_layernorm",), EVERY, n.offset_norm_twice("post_attention_layernorm")),
        Bug("norm_bare", "norm_weight_missing", "neither weight nor eps", NORM, EVERY, n.bare_norm),
        Bug("mlp_norm_layernorm", "norm_layernorm", "the mean taken off before the MLP", ("post_attention_layernorm",), EVERY, n.center_norm("post_attention_layernorm")),
        Bug("qk_norm_after_rope", "qk_norm_after_rope", "q and k turned, then normed", (*QK_NORM, *ROPE), ("qwen3",), r.norm_after_rope),
        Bug("qk_norm_offset", "norm_offset_one", "1 + weight in the norms of q and k", QK_NORM, ("qwen3",), n.offset_qk_norm),
        # projections
        Bug("up_bias_missing", "bias_missing", "no bias on up_proj", ("mlp.up_proj",), ("llama_bias",), w.drop_bias("mlp.up_proj")),
        Bug("every_bias_missing", "bias_missing", "no bias in the layer", LINEAR, ("llama_bias",), w.drop_bias(*LINEAR)),
        Bug("q_reshaped", "weight_transposed", "q_proj's numbers as [in, out]", QKV[:1], ("llama", "mistral", "qwen3"), o.reshape(QKV[0])),
        Bug("gate_reshaped", "weight_transposed", "gate_proj's numbers as [in, out]", o.GATE_UP[:1], EVERY, o.reshape(o.GATE_UP[0])),
        Bug("fused_by_group", "fused_order", "q, k, v read group by group", QKV, EVERY, o.fused_by_group),
        Bug("fused_from_groups", "fused_order", "q, k, v written group by group, read as blocks", QKV, EVERY, o.fused_from_groups),
        Bug("fused_keys_first", "fused_order", "[k | q | v] read, [q | k | v] written", QKV[:2], EVERY, o.fused_keys_first),
        Bug("gate_up_woven", "fused_order", "gate and up read row by row", o.GATE_UP, EVERY, o.gate_up_woven),
        Bug("gate_up_unwoven", "fused_order", "gate and up written row by row, read as halves", o.GATE_UP, EVERY, o.gate_up_unwoven),
        Bug("k_permuted", "qk_permuted", "rows of k alone permuted", QKV[1:2], EVERY, o.permute(o.to_interleaved, QKV[1]), instead=ROPE[1]),
        Bug("qk_permuted_back", "qk_permuted", "rows of q and k permuted the other way", QKV[:2], EVERY, o.permute(o.from_interleaved, *QKV[:2]), instead=ROPE[0]),
        Bug("down_wrong_layer", "wrong_layer_weight", "another layer's down_proj", ("mlp.down_proj",), EVERY, w.borrow("mlp.down_proj")),
        Bug("layer_wrong", "wrong_layer_weight", "a whole layer with another's weights", (*NORM, *LINEAR[:4], "post_attention_layernorm", *LINEAR[4:]), ("llama", "llama_bias", "mistral", "qwen2"), o.borrow_layer),
        Bug("low_precision_matmul", "low_precision_matmul", "o_proj multiplies in bf16", ("self_attn.o_proj",), EVERY, w.round_operands(w.to_bfloat16, "self_attn.o_proj"), float32_only=True),
        Bug("low_precision_layer", "low_precision_matmul", "all projections multiply in bf16", LINEAR, EVERY, w.round_operands(w.to_bfloat16, *LINEAR), float32_only=True),
        Bug("low_precision_head", "low_precision_matmul", "the head multiplies in bf16", ("lm_head",), EVERY, w.round_operands(w.to_bfloat16, "lm_head"), float32_only=True, verdicts=("diverged", "rounding")),
        Bug("matmul_tf32", "low_precision_matmul", "down_proj multiplies with 10 bits of mantissa", ("mlp.down_proj",), EVERY, w.round_operands(w.to_tf32, "mlp.down_proj"), float32_only=True),
        Bug("stale_context", "stale_layer_state", "o_proj reads the context of the layer before", ("self_attn.o_proj",), EVERY, w.read_stale("self_attn.o_proj", "self_attn.o_proj"), layers=(1, 2)),
        # MLP and residual
        Bug("activation_gelu_tanh", "activation_function", "gelu by tanh", ("mlp.act_fn",), EVERY, w.activation(lambda: nn.GELU(approximate="tanh"))),
        Bug("activation_relu", "activation_function", "relu", ("mlp.act_fn",), EVERY, w.activation(nn.ReLU)),
        Bug("activation_relu_squared", "activation_function", "relu squared", ("mlp.act_fn",), EVERY, w.activation(w.SquaredRelu)),
        Bug("activation_missing", "activation_function", "none", ("mlp.act_fn",), EVERY, w.activation(w.Unchanged)),
        Bug("added_normed", "residual_after_norm", "what attention adds is normed", ("resid_mid",), EVERY, w.norm_what_is_added),
        Bug("sum_scaled", "residual_scale", "the stream after attention times a constant", ("resid_mid",), EVERY, w.scale_sum, amount=1.4),
        Bug("mlp_residual_scaled", "residual_scale", "what the MLP adds times a constant", ("",), EVERY, w.scale_mlp_residual, amount=0.22),
        # RoPE
        Bug("rope_theta_1e4", "rope_theta", "theta is 1e4", ROPE, ("qwen2", "qwen3"), r.rope_base, amount=1e4),
        Bug("rope_theta_5e5", "rope_theta", "theta is 5e5", ROPE, ("llama_bias", "mistral", "qwen2"), r.rope_base, amount=5e5),
        Bug("rope_theta_1e6", "rope_theta", "theta is 1e6", ROPE, ("mistral", "llama_bias"), r.rope_base, amount=1e6),
        Bug("rope_exponent", "rope_theta", "theta^(-i / d), the square root of theta", ROPE, ("llama_bias", "mistral", "qwen2", "qwen3"), r.rope_exponent),
        Bug("rope_scaling_invented", "rope_scaling_missing", "linear scaling where there is none", ROPE, ("llama_bias", "mistral", "qwen2", "qwen3"), r.rope_linear, amount=4.0),
        Bug("rope_position_offset_k", "rope_position_offset", "positions from 1, in k only", ROPE[1:], EVERY, r.offset_keys),
        Bug("rope_partial_first", "rope_partial", "half of each head not turned, the other as in a whole one", ROPE, EVERY, r.rope_partial_first),
        Bug("rope_missing_k", "rope_missing", "k not turned", ROPE[1:], EVERY, r.rope_missing_k),
        Bug("rope_direction_k", "rope_direction", "k turned the other way", ROPE[1:], EVERY, r.rope_backwards_k),
        # scores, mask, heads
        Bug("softmax_scale_hidden", "softmax_scale", "1 / sqrt(hidden)", SCORES, EVERY, a.scaled_by_hidden),
        Bug("softmax_scale_heads", "softmax_scale", "1 / sqrt(heads)", SCORES, EVERY, a.scaled_by_heads),
        Bug("softmax_scale_inverted", "softmax_scale", "times sqrt(d)", SCORES, EVERY, a.scaled_up),
        Bug("mask_without_itself", "mask_off_by_one", "a token does not see itself", SCORES, FULL, a.see_not_itself, instead=PROBS),
        Bug("window_half", "sliding_window", "a window of half the length", SCORES, ("mistral",), a.window, amount=3, instead=PROBS),
        Bug("gqa_tile_k", "gqa_tile", "query head h reads key head h % G, of k only", SCORES, GROUPED, a.tile_keys),
        Bug("gqa_first", "gqa_tile", "every head reads the first k and v", (*SCORES, *CONTEXT), GROUPED, a.first_both),
        Bug("gqa_first_v", "gqa_tile", "every head reads the first v", CONTEXT, GROUPED, a.first_values),
        Bug("gqa_ratio", "gqa_tile", "query head h reads key head h / G", (*SCORES, *CONTEXT), ("mistral",), a.by_groups),
        # cache
        Bug("cache_other_v", "kv_cache_stale", "a slot of the value cache holds another token", CONTEXT, FULL, a.stale_values(2), from_step=1),
        Bug("cache_late_k", "kv_cache_stale", "a slot of the key cache is cleared while decoding", SCORES, FULL, a.late_stale_keys, from_step=2),
        Bug("cache_newest_k", "kv_cache_stale", "the newest key is not written", SCORES, EVERY, a.newest_keys_unwritten, from_step=1),
        Bug("cache_newest_v", "kv_cache_stale", "the newest value is that of the token before", CONTEXT, EVERY, a.newest_values_late, from_step=1),
    ]  # fmt: skip


def _unnamed() -> list[Bug]:
    """What no suspect stands for."""
    n, r, u = norms, rope, unnamed
    return [
        Bug("embedding_row", "unknown", "the row of one token has its halves exchanged", ("model.embed_tokens",), EVERY, u.wrong_embedding_row),
        Bug("head_row_zero", "unknown", "one row of the head is 0", ("lm_head",), EVERY, u.zero_head_row),
        Bug("final_norm_twice", "unknown", "the final norm of the final norm", ("model.norm",), EVERY, n.norm_twice),
        Bug("norm_sum", "unknown", "the sum of squares for their mean", NORM, EVERY, n.sum_for_mean),
        Bug("norm_half", "unknown", "the mean square of half of the channels", NORM, EVERY, n.half_of_the_channels),
        Bug("qk_norm_together", "qk_norm_scope", "one mean square for all heads", QK_NORM, ("qwen3",), n.norm_heads_together),
        Bug("k_norm_heads_scaled", "unknown", "the norm of k times another constant in each head", QK_NORM[1:], ("qwen3",), n.scale_key_heads),
        Bug("bias_doubled", "unknown", "v's bias added twice", QKV[2:], ("qwen2", "llama_bias"), u.double_bias),
        Bug("v_noisy", "unknown", "random errors of 3 % in v_proj", QKV[2:], EVERY, u.change(QKV[2], u.noisy), amount=0.03),
        Bug("o_rolled", "unknown", "every channel of o_proj in the place of the next", ("self_attn.o_proj",), EVERY, u.change("self_attn.o_proj", u.rolled)),
        Bug("gate_shuffled", "unknown", "gate_proj's channels in a random order", ("mlp.gate_proj",), EVERY, u.change("mlp.gate_proj", u.shuffled)),
        Bug("up_tail_zero", "weights_zero_from", "the last 8 channels of up_proj are 0", ("mlp.up_proj",), EVERY, u.change("mlp.up_proj", u.tail_unwritten)),
        Bug("product_clipped", "unknown", "act(gate) * up clipped", ("mlp.act_mul",), EVERY, u.clip_product, amount=0.3),
        Bug("dropout_left_on", "unknown", "dropout of the block's output", ("",), EVERY, u.drop_out_block, amount=0.1),
        Bug("rope_odd_heads", "unknown", "every second query head turned by other angles", ROPE[:1], EVERY, r.rope_odd_heads),
        Bug("rope_amplified", "rope_attention_factor", "cos and sin times a constant", ROPE, EVERY, r.amplify, amount=1.2),
        Bug("prefix_seen", "unknown", "the first 4 tokens see each other", SCORES, FULL, u.see_prefix, instead=PROBS),
        Bug("head_temperature", "unknown", "the softmax of one head with a temperature", (PROBS,), EVERY, u.heat_head, amount=1.4),
        Bug("heads_exchanged", "unknown", "two heads exchanged", CONTEXT, EVERY, u.exchange_heads),
    ]  # fmt: skip


def _second() -> list[Bug]:
    """Caches, masks of later parts, wiring and shards."""
    s, w = second, layers
    stream = ("input_layernorm", "resid_mid")
    decoding = {"from_step": 1}
    return [
        Bug("part_mask_restarted", "mask_alignment", "queries of a later part see keys 0 to j", SCORES, FULL, s.restart_mask, from_step=1, parts=True, instead=PROBS),
        Bug("decode_mask_restarted", "mask_alignment", "a decoded token sees key 0 only", SCORES, FULL, s.restart_mask, **decoding, instead=PROBS),
        Bug("part_mask_short", "mask_alignment", "later parts see the keys of the parts before only", SCORES, FULL, s.miss_newest_key, from_step=1, parts=True, instead=PROBS),
        Bug("cached_keys_not_rotated", "keys_not_rotated", "cached keys from before RoPE", SCORES, FULL, s.turn_cached(-1), **decoding, float32_only=True),
        Bug("cached_keys_rotated_twice", "keys_rotated_twice", "cached keys turned twice", SCORES, FULL, s.turn_cached(1), **decoding, float32_only=True),
        Bug("cache_zero_both", "kv_cache_stale", "a slot of keys and values holds zeros", (*SCORES, *CONTEXT), FULL, s.both_zero, **decoding),
        Bug("cache_zero_head", "kv_cache_stale", "a slot of one key head holds zeros", SCORES, ("llama", "qwen2", "qwen3"), s.head_zero, **decoding),
        Bug("cache_shifted_k", "kv_cache_stale", "every slot of the key cache holds the token before", SCORES, FULL, s.shifted_keys, **decoding),
        Bug("cache_shifted_v", "kv_cache_stale", "every slot of the value cache holds the token before", CONTEXT, FULL, s.shifted_values, **decoding),
        Bug("first_rows_read", "stale_layer_state", "later parts read the first rows of the buffer", layouts.GATE_UP, EVERY, s.read_first_rows(*layouts.GATE_UP), from_step=1, parts=True),
        Bug("fed_without_residual", "block_input", "a block is fed the MLP's output without the stream", stream, EVERY, s.feed_without_residual, layers=(1, 2)),
        Bug("gate_fed_unnormed", "block_input", "gate_proj reads the stream before its norm", ("mlp.gate_proj",), EVERY, s.feed_before_norm("mlp.gate_proj", "post_attention_layernorm")),
        Bug("attention_silent", "attention_gives_nothing", "o_proj gives zeros", ("self_attn.o_proj",), EVERY, s.silence_attention),
        Bug("attention_not_added", "attention_gives_nothing", "attention is not added to the stream", ("resid_mid",), EVERY, w.drop_attention),
        Bug("o_joined_across", "shards_joined_wrong", "two shards of o_proj's columns joined as rows", ("self_attn.o_proj",), EVERY, s.join_across("self_attn.o_proj", 2)),
        Bug("down_shards_exchanged", "shards_joined_wrong", "two shards of down_proj in the other order", ("mlp.down_proj",), EVERY, s.join_in_order("mlp.down_proj", 1, (1, 0))),
        Bug("gate_shards_reversed", "shards_joined_wrong", "four shards of gate_proj in the order of a listing", ("mlp.gate_proj",), EVERY, s.join_in_order("mlp.gate_proj", 0, (2, 0, 3, 1))),
        Bug("down_columns_zero", "weights_zero_from", "the last columns of down_proj are zero", ("mlp.down_proj",), EVERY, s.zero_columns("mlp.down_proj", 24)),
        Bug("probs_rounded", "low_precision_softmax", "probabilities in bf16", (PROBS,), EVERY, s.round_probs, float32_only=True, verdicts=("diverged", "rounding")),
        Bug("softmax_of_rounded", "low_precision_softmax", "the softmax of scores in bf16", (PROBS,), EVERY, s.softmax_of_rounded, float32_only=True),
        Bug("softmax_in_half", "low_precision_softmax", "every step of the softmax in f16", (PROBS,), EVERY, s.softmax_in_half, float32_only=True, verdicts=("diverged", "rounding")),
        Bug("rope_yarn", "rope_scaling_missing", "YaRN where there is none", ROPE, PLAIN, rope.rope_yarn, amount=4.0, float32_only=True),
    ]  # fmt: skip


def _of_families() -> list[Bug]:
    """What Gemma 2, GPT-2 and models with experts have, and other models have not."""
    a, f, n, w = attention, families, norms, layers
    offset, missing, stuck = (f"position_embedding_{what}" for what in ("offset", "missing", "stuck"))
    return [
        # Gemma 2
        Bug("norm_plain", "norm_offset_one", "weight for 1 + weight", NORM, GEMMA, f.plain_norm(*NORM)),
        Bug("post_norm_plain", "norm_offset_one", "weight for 1 + weight behind the MLP", ("post_feedforward_layernorm",), GEMMA, f.plain_norm("post_feedforward_layernorm")),
        Bug("final_norm_plain", "norm_offset_one", "weight for 1 + weight in the final norm", ("model.norm",), GEMMA, f.plain_norm("model.norm")),
        Bug("scores_uncapped", "attn_softcap", "no cap of the scores", SCORES, GEMMA, f.uncap_scores),
        Bug("logits_uncapped", "logit_softcap", "no cap of the logits", ("logits",), GEMMA, f.uncap_logits),
        Bug("embed_unscaled", "embed_scale", "embeddings not times sqrt(hidden)", ("model.embed_tokens",), GEMMA, f.unscale_embeddings),
        Bug("scale_of_head_dim", "softmax_scale", "1 / sqrt(head_dim), whatever query_pre_attn_scalar says", SCORES, GEMMA, f.scale_by_head_dim),
        Bug("window_everywhere", "layer_pattern", "a window in a layer of full attention", SCORES, GEMMA, a.window, layers=(1,), amount=6, instead=PROBS),
        Bug("window_nowhere", "sliding_window", "no window in a layer that has one", SCORES, GEMMA, a.window, layers=(0, 2), amount=10**6, instead=PROBS),
        Bug("gelu_exact", "activation_function", "gelu by erf for gelu by tanh", ("mlp.act_fn",), GEMMA, w.activation(nn.GELU), float32_only=True),
        Bug("gelu_silu", "activation_function", "silu for gelu", ("mlp.act_fn",), GEMMA, w.activation(nn.SiLU)),
        Bug("post_attention_norm_missing", "norm_missing", "what attention adds is not normed", ("post_attention_layernorm",), GEMMA, n.skip_norm("post_attention_layernorm")),
        Bug("post_mlp_norm_missing", "norm_missing", "what the MLP adds is not normed", ("post_feedforward_layernorm",), GEMMA, n.skip_norm("post_feedforward_layernorm")),
        # GPT-2
        Bug("positions_from_one", offset, "positions from 1", ("transformer.wpe",), GPT2, f.shift_positions),
        Bug("positions_zero", missing, "no embeddings of positions", ("transformer.wpe",), GPT2, f.zero_positions),
        Bug("positions_left_out", missing, "positions not added", ("transformer.embeddings",), GPT2, f.leave_positions_out),
        Bug("positions_restarted", stuck, "positions start again at 0 while decoding", ("transformer.wpe",), GPT2, f.restart_positions, from_step=1, fair=("kv_cache_position",)),
        Bug("ln_bias_missing", "norm_bias", "no bias in the norm", ("ln_1",), GPT2, w.drop_bias("ln_1")),
        Bug("final_ln_bias_missing", "norm_bias", "no bias in the final norm", ("transformer.ln_f",), GPT2, w.drop_bias("transformer.ln_f")),
        Bug("ln_rms", "norm_layernorm", "the mean not taken off", ("ln_2",), GPT2, f.norm_by_square),
        Bug("ln_eps", "norm_eps", "1e-6 where it is 1e-5", ("ln_1",), GPT2, f.layer_norm_eps("ln_1"), amount=1e-6, float32_only=True),
        Bug("gelu_new_exact", "activation_function", "gelu by erf for gelu by tanh", ("mlp.act",), GPT2, w.activation(nn.GELU, "act"), float32_only=True),
        Bug("c_attn_keys_first", "fused_order", "[k | q | v] read", ("attn.q", "attn.k"), GPT2, f.split_keys_first),
        Bug("c_attn_by_head", "fused_order", "q, k, v read head by head", ("attn.q", "attn.k", "attn.v"), GPT2, f.split_by_head),
        Bug("c_attn_from_heads", "fused_order", "q, k, v written head by head, read as thirds", ("attn.c_attn",), GPT2, f.join_by_head),
        Bug("c_attn_bias_missing", "bias_missing", "no bias on c_attn", ("attn.c_attn",), GPT2, f.zero_bias("attn.c_attn")),
        Bug("c_proj_bias_missing", "bias_missing", "no bias on the MLP's c_proj", ("mlp.c_proj",), GPT2, f.zero_bias("mlp.c_proj")),
        Bug("c_proj_transposed", "weight_transposed", "[in, out] read as [out, in]", ("attn.c_proj",), GPT2, f.transpose_projection),
        Bug("gpt2_mask_missing", "causal_mask_missing", "no mask", ("attn.scores",), GPT2, a.no_mask, instead="attn.probs"),
        # experts
        Bug("router_shares", "router_renorm", "the chosen weights do not sum to 1", ROUTING, (*QWEN_MOE, "mixtral"), f.use_shares, layers=(0,)),
        Bug("router_sum_to_one", "router_renorm", "the chosen weights sum to 1", ROUTING, PLAIN_MOE, f.make_shares_sum_to_one, layers=(1,), fair=("router_order",)),
        Bug("router_chosen_first", "router_order", "softmax of the chosen logits", ROUTING, PLAIN_MOE, f.choose_first, layers=(1,), fair=("router_renorm",)),
        Bug("router_top_1", "router_top_k", "one expert for each token", ROUTING, (*QWEN_MOE, "mixtral"), f.top_k, layers=(0,), amount=1),
        Bug("router_top_2", "router_top_k", "two experts where it is three", ROUTING, PLAIN_MOE, f.top_k, layers=(1,), amount=2),
        Bug("experts_gate_up", "gate_up_swapped", "every expert's gate and up exchanged", EXPERTS[:2], (*QWEN_MOE, "mixtral"), f.exchange_gate_up, layers=(0,)),
        Bug("expert_neighbour", "experts_permuted", "one expert with the next one's matrices", EXPERTS, (*QWEN_MOE, "mixtral"), f.neighbour("gate_up_proj", "down_proj"), layers=(0,), amount=1),
        Bug("expert_neighbour_down", "experts_permuted", "one expert with the next one's down", EXPERTS[2:], QWEN_MOE, f.neighbour("down_proj"), layers=(0, 2), amount=4),
        Bug("experts_from_one", "experts_permuted", "every expert with the matrices of the one before", EXPERTS, (*PLAIN_MOE, "mixtral"), f.number_from_one, layers=(1,)),
        Bug("moe_qk_norm_missing", "qk_norm_missing", "no norm on q and k", QK_NORM, QWEN_MOE, n.skip_qk_norm),
    ]  # fmt: skip


def _of_scaling() -> list[Bug]:
    """RoPE of a type that scales, where the model has another one or none, and the other way round."""
    r, two, scaling = rope, {"layers": (0, 1)}, "rope_scaling_missing"
    yarn, dynamic, longrope = ("llama_yarn",), ("llama_dynamic",), ("llama_longrope",)
    return [
        Bug("rope_ramp", scaling, "slow pairs divided by 4 in a way of its own, rows longer", ROPE, PLAIN, r.rope_ramp, amount=4.0, float32_only=True),
        Bug("rope_llama3", scaling, "llama3 scaling where there is none", ROPE, PLAIN, r.rope_llama3, amount=8.0, float32_only=True),
        Bug("yarn_missing", scaling, "plain RoPE for YaRN", ROPE, yarn, r.rope_unscaled_whole, **two),
        Bug("yarn_speeds_missing", scaling, "the factor of YaRN without its speeds", ROPE, yarn, r.rope_unscaled, **two),
        Bug("yarn_as_linear", scaling, "linear scaling for YaRN", ROPE, yarn, r.rope_as_linear, amount=4.0, **two),
        Bug("yarn_by_8", scaling, "YaRN by 8 where it is 4", ROPE, yarn, r.rope_by, amount=8.0, float32_only=True, **two),
        Bug("yarn_factor_missing", "rope_attention_factor", "cos and sin without YaRN's factor", ROPE, yarn, r.rope_factor, amount=1.0, **two),
        Bug("yarn_factor_on_scale", "softmax_scale", "YaRN's factor on the scale of scores, too", SCORES, yarn, r.scale_by_factor_twice, **two),
        Bug("dynamic_missing", scaling, "plain RoPE for dynamic scaling", ROPE, dynamic, r.rope_unscaled_whole, from_step=3, **two),
        Bug("longrope_missing", scaling, "plain RoPE for longrope", ROPE, longrope, r.rope_unscaled_whole, **two),
        Bug("longrope_short", scaling, "always the short table of longrope", ROPE, longrope, r.rope_table("short_factor"), from_step=4, **two),
        Bug("longrope_long", scaling, "always the long table of longrope", ROPE, longrope, r.rope_table("long_factor"), float32_only=True, **two),
    ]  # fmt: skip


BASIC = [bug.id for bug in _table()]
FAMILY = [bug.id for bug in _of_families()]
SECOND = _second()
SCALING = _of_scaling()
BUGS = {bug.id: bug for bug in (*_table(), *_variants(), *_unnamed(), *_of_families(), *SECOND, *SCALING)}
