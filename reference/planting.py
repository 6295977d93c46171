"""Mistakes that people make when they port a transformer, planted into a copy of a PyTorch model.

`BUGS` is the table. Each mistake names the suspect it stands for, the activations that it makes wrong although their
inputs are right (in program order), and the tiny models on which it shows. What computes attention, RoPE and the cache
wrongly is in planting_attention.py, all else in planting_layers.py.

    model = planted(clean, [Plant("rope_interleaved", 1), Plant("final_norm_missing")])
    with capture(model, "candidate.safetensors"):
        model(input_ids)
"""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from transformers import PreTrainedModel

import planting_attention as attention
import planting_layers as layers

EVERY = ("llama", "llama_bias", "mistral", "qwen2", "qwen3")
GROUPED = ("llama", "mistral", "qwen2", "qwen3")  # fewer key heads than query heads
UNTIED = ("llama", "mistral", "qwen3")
TIED = ("qwen2", "llama_bias")
FULL = ("llama", "llama_bias", "qwen2", "qwen3")  # attention without a window
ROPE = ("self_attn.q_rope", "self_attn.k_rope")
SCORES = ("self_attn.scores",)
PROBS = "self_attn.probs"  # where a wrong mask is seen by who compares only the scores that the right one leaves
CONTEXT = ("self_attn.context",)
NORM = ("input_layernorm",)
QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")


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
    float32_only: bool = False  # in less precision it is no larger than the rounding
    amount: float | None = None  # given to `plant` where a mistake has a size
    instead: str | None = None  # the site that another right reading names first
    verdicts: tuple[str, ...] = ("diverged",)

    @cached_property
    def in_layer(self) -> bool:
        return not self.sites[0].startswith(("model", "lm_head"))

    def wrong(self, layer: int | None, steps: int) -> list[str]:
        """Every activation of a run of `steps` forwards that it computes wrongly from right inputs, in program order."""
        names = [site if not self.in_layer else f"model.layers.{layer}.{site}".rstrip(".") for site in self.sites]
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
    a, w = attention, layers
    return [
        # embedding, head, final norm
        Bug("embed_scaled", "embed_scale", "embeddings times sqrt(hidden)", ("model.embed_tokens",), EVERY, w.scale_embeddings),
        Bug("head_untied", "head_untied", "the embedding matrix as the head of a model that has its own", ("lm_head",), UNTIED, w.tie_head),
        Bug("head_random", "head_untied", "a head that was never tied", ("lm_head",), TIED, w.randomize_head),
        Bug("final_norm_missing", "final_norm_missing", "no final norm", ("model.norm",), EVERY, w.skip_final_norm),
        Bug("final_norm_wrong_weight", "norm_wrong_weight", "final norm with the last layer's norm weight", ("model.norm",), EVERY, w.exchange_final_norm),
        Bug("final_norm_eps", "norm_eps", "final norm with another eps", ("model.norm",), EVERY, w.final_norm_eps, amount=0.3),
        Bug("logit_softcap", "logit_softcap", "logits capped by tanh", ("lm_head",), EVERY, w.cap_logits, amount=5.0),
        Bug("logits_scaled", "unknown", "logits times a constant", ("lm_head",), EVERY, w.scale_logits, amount=1.5),
        # norms
        Bug("norm_eps", "norm_eps", "another eps", NORM, EVERY, w.norm_eps, amount=0.5),
        Bug("norm_offset_one", "norm_offset_one", "1 + weight", NORM, EVERY, w.offset_norm),
        Bug("norm_weight_missing", "norm_weight_missing", "no weight", NORM, EVERY, w.unweight_norm),
        Bug("norm_layernorm", "norm_layernorm", "the mean taken off, as LayerNorm does", NORM, EVERY, w.center_norm),
        Bug("norms_exchanged", "norm_wrong_weight", "the weights of the layer's two norms exchanged", (*NORM, "post_attention_layernorm"), EVERY, w.exchange_norms),
        Bug("norm_wrong_layer", "norm_wrong_weight", "another layer's norm weight", ("post_attention_layernorm",), EVERY, w.borrow_norm),
        Bug("norm_missing", "norm_weight_missing", "no norm before the MLP", ("post_attention_layernorm",), EVERY, w.skip_norm),
        Bug("low_precision_norm", "low_precision_norm", "variance in bf16", NORM, EVERY, w.round_variance, float32_only=True),
        Bug("qk_norm_missing", "qk_norm_missing", "no norm on q and k", ("self_attn.q_norm", "self_attn.k_norm"), ("qwen3",), w.skip_qk_norm),
        Bug("qk_norm_exchanged", "norm_wrong_weight", "the norm weights of q and k exchanged", ("self_attn.q_norm", "self_attn.k_norm"), ("qwen3",), w.exchange_qk_norm),
        # projections
        Bug("q_bias_missing", "bias_missing", "no bias on q", ("self_attn.q_proj",), ("qwen2", "llama_bias"), w.drop_bias("self_attn.q_proj")),
        Bug("k_bias_missing", "bias_missing", "no bias on k", ("self_attn.k_proj",), ("qwen2", "llama_bias"), w.drop_bias("self_attn.k_proj")),
        Bug("v_bias_missing", "bias_missing", "no bias on v", ("self_attn.v_proj",), ("qwen2", "llama_bias"), w.drop_bias("self_attn.v_proj")),
        Bug("qkv_bias_missing", "bias_missing", "no bias on q, k and v", QKV, ("qwen2", "llama_bias"), w.drop_bias(*QKV)),
        Bug("o_bias_missing", "bias_missing", "no bias on o_proj", ("self_attn.o_proj",), ("llama_bias",), w.drop_bias("self_attn.o_proj")),
        Bug("down_bias_missing", "bias_missing", "no bias on down_proj", ("mlp.down_proj",), ("llama_bias",), w.drop_bias("mlp.down_proj")),
        Bug("bias_channel_missing", "bias_missing", "one channel of v's bias missing", ("self_attn.v_proj",), ("qwen2", "llama_bias"), w.drop_bias_channel, amount=-1),
        Bug("o_transposed", "weight_transposed", "o_proj transposed", ("self_attn.o_proj",), TIED, w.transpose_o),
        Bug("kv_order", "fused_order", "k and v in the other order", ("self_attn.k_proj", "self_attn.v_proj"), EVERY, w.exchange_kv),
        Bug("qk_permuted", "qk_permuted", "rows of q and k permuted, RoPE not", ("self_attn.q_proj", "self_attn.k_proj"), EVERY, w.permute_qk, instead=ROPE[0]),
        Bug("k_wrong_layer", "wrong_layer_weight", "another layer's k_proj", ("self_attn.k_proj",), EVERY, w.borrow("self_attn.k_proj")),
        Bug("mlp_wrong_layer", "wrong_layer_weight", "another layer's MLP", ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"), EVERY, w.borrow("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")),
        Bug("gate_up_swapped", "gate_up_swapped", "gate and up exchanged", ("mlp.gate_proj", "mlp.up_proj"), EVERY, w.exchange_gate_up),
        Bug("q_scaled", "unknown", "q_proj times a constant", ("self_attn.q_proj",), EVERY, w.scale("self_attn.q_proj"), amount=1.1),
        Bug("up_scaled", "unknown", "up_proj times a constant", ("mlp.up_proj",), EVERY, w.scale("mlp.up_proj"), amount=0.9),
        Bug("down_quantised", "unknown", "down_proj in 4 bits", ("mlp.down_proj",), EVERY, w.quantise("mlp.down_proj"), amount=4),
        Bug("channel_zero", "unknown", "one channel of down_proj is 0", ("mlp.down_proj",), EVERY, w.zero_channel),
        Bug("late_rows", "unknown", "up_proj wrong from token 6 on", ("mlp.up_proj",), EVERY, w.scale_late_rows, amount=1.2),
        Bug("stale_layer_state", "stale_layer_state", "up_proj reads the norm of the layer before", ("mlp.up_proj",), EVERY, w.read_stale, layers=(1, 2)),
        # MLP and residual
        Bug("activation_gelu", "activation_function", "gelu for silu", ("mlp.act_fn",), EVERY, w.gelu),
        Bug("activation_sharper", "activation_function", "x * sigmoid(c x)", ("mlp.act_fn",), EVERY, w.sharpen, amount=1.702),
        Bug("activation_on_up", "gate_up_swapped", "act(up) * gate", ("mlp.act_fn", "mlp.act_mul"), EVERY, w.activate_up),
        Bug("act_added", "unknown", "act(gate) + up", ("mlp.act_mul",), EVERY, w.add_gate),
        Bug("residual_after_norm", "residual_after_norm", "the attention residual taken after the norm", ("resid_mid",), EVERY, w.residual_after_norm),
        Bug("residual_missing", "unknown", "no residual around attention", ("resid_mid",), EVERY, w.drop_residual),
        Bug("residual_scaled", "residual_scale", "attention added times a constant", ("resid_mid",), EVERY, w.scale_residual, amount=0.7),
        Bug("mlp_residual_after_norm", "residual_after_norm", "the MLP residual taken after the norm", ("",), EVERY, w.mlp_residual_after_norm),
        Bug("parallel_residual", "parallel_residual", "attention and MLP side by side", ("resid_mid", ""), EVERY, w.parallel),
        Bug("layer_skipped", "unknown", "a whole layer left out", ("",), EVERY, w.skip_layer),
        # RoPE
        Bug("rope_interleaved", "rope_interleaved", "pairs (2i, 2i + 1)", ROPE, EVERY, a.rotate_interleaved),
        Bug("rope_interleaved_q", "rope_interleaved", "pairs (2i, 2i + 1), in q only", ROPE[:1], EVERY, a.rotate_interleaved_q),
        Bug("rope_theta", "rope_theta", "another theta", ROPE, EVERY, a.rope_theta, amount=4.0),
        Bug("rope_scaling_missing", "rope_scaling_missing", "no llama3 scaling", ROPE, ("llama",), a.rope_unscaled),
        Bug("rope_position_offset", "rope_position_offset", "positions from 1, which scores do not feel", ROPE, EVERY, a.offset_positions),
        Bug("rope_position_offset_q", "rope_position_offset", "positions from 1, in q only", ROPE[:1], EVERY, a.offset_queries),
        Bug("rope_partial", "rope_partial", "half of each head not turned", ROPE, EVERY, a.rope_partial),
        Bug("rope_missing", "rope_missing", "nothing turned", ROPE, EVERY, a.rope_missing),
        Bug("rope_direction", "rope_direction", "turned the other way", ROPE, EVERY, a.rope_backwards),
        Bug("rope_low_precision", "rope_low_precision", "frequencies in bf16", ROPE, EVERY, a.round_frequencies, float32_only=True),
        Bug("rope_table_low_precision", "rope_low_precision", "cos and sin in bf16", ROPE, EVERY, a.round_table, float32_only=True),
        # scores, mask, heads
        Bug("softmax_scale_missing", "softmax_scale", "no scale", SCORES, EVERY, a.unscaled),
        Bug("softmax_scale_squared", "softmax_scale", "1 / d", SCORES, EVERY, a.scaled_twice),
        Bug("scores_scaled", "softmax_scale", "scores times a constant", SCORES, EVERY, a.scale_scores, amount=1.2),
        Bug("attention_softcap", "unknown", "scores capped by tanh", SCORES, EVERY, a.cap_scores, amount=2.0),
        Bug("low_precision_scores", "low_precision_scores", "scores in bf16", SCORES, EVERY, a.round_scores, float32_only=True, verdicts=("diverged", "rounding")),
        Bug("causal_mask_missing", "causal_mask_missing", "no mask", SCORES, FULL, a.no_mask, instead=PROBS),
        Bug("mask_off_by_one", "mask_off_by_one", "the next token is seen", SCORES, FULL, a.see_next, instead=PROBS),
        Bug("window_off_by_one", "sliding_window", "a window of one token more", SCORES, ("mistral",), a.window, amount=7, instead=PROBS),
        Bug("window_short", "sliding_window", "a window of one token less", SCORES, ("mistral",), a.window, amount=5, instead=PROBS),
        Bug("window_ignored", "sliding_window", "no window", SCORES, ("mistral",), a.window, amount=10**6, instead=PROBS),
        Bug("window_invented", "sliding_window", "a window where there is none", SCORES, FULL, a.window, amount=4, instead=PROBS),
        Bug("softmax_plus_one", "unknown", "1 added to the denominator of the softmax", ("self_attn.probs",), EVERY, a.softmax_plus_one),
        Bug("gqa_tile", "gqa_tile", "query head h reads key head h % G", (*SCORES, *CONTEXT), GROUPED, a.tile_both),
        Bug("gqa_tile_v", "gqa_tile", "the same, of v only", CONTEXT, GROUPED, a.tile_values),
        Bug("head_merge_order", "head_merge_order", "heads joined without transposing back", CONTEXT, EVERY, a.join_untransposed),
        Bug("head_scaled", "unknown", "one head times a constant", CONTEXT, EVERY, a.scale_head, amount=0.0),
        # cache
        Bug("decode_position_offset", "kv_cache_position", "positions one too high while decoding", ROPE, EVERY, a.offset_decode, from_step=1),
        Bug("decode_position_stuck", "kv_cache_position", "positions stay at the first decoded one", ROPE, EVERY, a.stick_decode, from_step=2),
        Bug("decode_position_restarted", "kv_cache_position", "positions start again at 0", ROPE, EVERY, a.restart_decode, from_step=1),
        Bug("cache_zero_k", "kv_cache_stale", "a slot of the key cache holds zeros", SCORES, FULL, a.stale_keys(None), from_step=1),
        Bug("cache_other_k", "kv_cache_stale", "a slot of the key cache holds another token", SCORES, FULL, a.stale_keys(2), from_step=1),
        Bug("cache_zero_v", "kv_cache_stale", "a slot of the value cache holds zeros", CONTEXT, FULL, a.stale_values(None), from_step=1),
    ]  # fmt: skip


BUGS = {bug.id: bug for bug in _table()}
