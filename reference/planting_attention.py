"""Mistakes in RoPE, attention and the cache, for planting.py.

An attention module that has one gets a class of its own, whose forward and whose attention function are those of
transformers with some steps replaced. capture.py looks for `eager_attention_forward` beside the class, and finds this one.
"""

import copy
import sys
from collections.abc import Callable
from unittest.mock import patch

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from demo.make_dumps import interleaved_rope

STALE_SLOT = 5


def eager_attention_forward(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor, **kwargs):
    """Eager attention as transformers has it, but for the steps in `module.mistakes`."""
    if whole := module.mistakes.get("whole"):
        return whole(module, query, key, value, attention_mask, kwargs["scaling"])
    step = lambda name, usual: module.mistakes.get(name, usual)  # noqa: E731
    tokens, same = query.shape[2], lambda tensor, *_: tensor
    groups = module.num_key_value_groups
    keys = step("spread_keys", _spread)(step("keys", same)(key, tokens), groups)
    values = step("spread_values", _spread)(step("values", same)(value, tokens), groups)
    scores = step("scores", same)(torch.matmul(query, keys.transpose(2, 3)) * step("scale", same)(kwargs["scaling"]))
    scores = scores + step("mask", same)(attention_mask)
    probs = nn.functional.softmax(scores, dim=-1, dtype=torch.float32)
    probs = step("probs", same)(probs, scores).to(query.dtype)
    output = step("context", same)(torch.matmul(probs, values))
    return step("join", _join)(output), probs


def _spread(tensor: Tensor, groups: int) -> Tensor:
    return tensor.repeat_interleave(groups, 1)


def _join(output: Tensor) -> Tensor:
    return output.transpose(1, 2).contiguous()


def _forward(self, *args, **kwargs):
    """The module's own forward, with other angles or another rotation."""
    usual = type(self).__mro__[1]
    file = sys.modules[usual.__module__]
    if angles := self.mistakes.get("angles"):
        kwargs["position_embeddings"] = angles(kwargs["hidden_states"], kwargs["position_ids"])
    with patch.object(file, "apply_rotary_pos_emb", self.mistakes.get("rotation", file.apply_rotary_pos_emb)):
        return usual.forward(self, *args, **kwargs)


def mistake(model: PreTrainedModel, layer: int, step: str, wrong: Callable) -> None:
    """Replaces one step of a layer's attention."""
    module = model.model.layers[layer].self_attn
    if not hasattr(module, "mistakes"):
        module.mistakes = {}
        module.__class__ = type("Planted", (type(module),), {"__module__": __name__, "forward": _forward})
    module.mistakes[step] = wrong


# --- RoPE -----------------------------------------------------------------------------------------------------------


def rotate_interleaved(model, layer):
    mistake(model, layer, "rotation", interleaved_rope)


def rotate_interleaved_q(model, layer):
    usual = sys.modules[type(model).__module__].apply_rotary_pos_emb
    mistake(model, layer, "rotation", lambda q, k, *angles: (interleaved_rope(q, k, *angles)[0], usual(q, k, *angles)[1]))


def _frequencies(model, layer, change: Callable[[Tensor], Tensor]) -> None:
    rotary = copy.deepcopy(model.model.rotary_emb)
    rotary.inv_freq = change(rotary.inv_freq)
    mistake(model, layer, "angles", rotary)


def rope_theta(model, layer, factor):
    half = model.model.rotary_emb.inv_freq.numel()
    _frequencies(model, layer, lambda f: f * factor ** (-torch.arange(half) / half))


def rope_unscaled(model, layer):
    rotary = model.model.rotary_emb
    _frequencies(model, layer, lambda f: rotary.compute_default_rope_parameters(model.config)[0])


def rope_partial(model, layer):
    """Only the first half of each head is turned, with the frequencies of a head of that size."""
    usual = sys.modules[type(model).__module__].apply_rotary_pos_emb

    def wrong(q, k, cos, sin):
        turned = usual(*(part[..., : cos.shape[-1]] for part in (q, k)), cos, sin)
        return tuple(torch.cat((new, old[..., cos.shape[-1] :]), -1) for new, old in zip(turned, (q, k)))

    _frequencies(model, layer, lambda f: f[::2])
    mistake(model, layer, "rotation", wrong)


def rope_missing(model, layer):
    _frequencies(model, layer, torch.zeros_like)


def rope_backwards(model, layer):
    _frequencies(model, layer, torch.neg)


def round_frequencies(model, layer):
    _frequencies(model, layer, lambda f: f.bfloat16().float())


def round_table(model, layer):
    rotary = model.model.rotary_emb
    mistake(model, layer, "angles", lambda x, at: tuple(part.to(x.dtype) for part in rotary(x.bfloat16(), at)))


def _positions(model, layer, change: Callable[[Tensor], Tensor]) -> None:
    rotary = model.model.rotary_emb
    mistake(model, layer, "angles", lambda x, at: rotary(x, change(at)))


def offset_positions(model, layer):
    _positions(model, layer, lambda at: at + 1)


def offset_queries(model, layer):
    usual = sys.modules[type(model).__module__].apply_rotary_pos_emb
    rotary, moved = model.model.rotary_emb, []

    def angles(x, at):
        moved[:] = rotary(x, at + 1)
        return rotary(x, at)

    mistake(model, layer, "angles", angles)
    mistake(model, layer, "rotation", lambda q, k, *angles: (usual(q, k, *moved)[0], usual(q, k, *angles)[1]))


def offset_decode(model, layer):
    _positions(model, layer, lambda at: at + (at[:, :1] > 0))


def restart_decode(model, layer):
    _decode_positions(model, layer, lambda at, first: at - first)


def stick_decode(model, layer):
    _decode_positions(model, layer, lambda at, first: at.clamp(max=first))


def _decode_positions(model, layer, change: Callable[[Tensor, int], Tensor]) -> None:
    """Changes positions after the prefill; `first` is the first of them."""
    first = 0

    def moved(at: Tensor) -> Tensor:
        nonlocal first
        if at[0, 0] == 0:
            first = at.shape[1]
            return at
        return change(at, first)

    _positions(model, layer, moved)


# --- scores, mask, softmax ------------------------------------------------------------------------------------------


def unscaled(model, layer):
    mistake(model, layer, "scale", lambda scale: 1.0)


def scaled_twice(model, layer):
    mistake(model, layer, "scale", lambda scale: scale * scale)


def scale_scores(model, layer, factor):
    mistake(model, layer, "scale", lambda scale: scale * factor)


def cap_scores(model, layer, cap):
    mistake(model, layer, "scores", lambda scores: cap * torch.tanh(scores / cap))


def round_scores(model, layer):
    mistake(model, layer, "scores", lambda scores: scores.bfloat16().to(scores.dtype))


def no_mask(model, layer):
    mistake(model, layer, "mask", torch.zeros_like)


def see_next(model, layer):
    _mask(model, layer, lambda query, key: key <= query + 1)


def window(model, layer, width):
    _mask(model, layer, lambda query, key: (key <= query) & (key > query - width))


def _mask(model, layer, seen: Callable[[Tensor, Tensor], Tensor]) -> None:
    def wrong(mask: Tensor) -> Tensor:
        queries, keys = mask.shape[-2:]
        visible = seen(torch.arange(keys - queries, keys)[:, None], torch.arange(keys)[None])
        return torch.where(visible, 0.0, torch.finfo(mask.dtype).min).to(mask.dtype).expand_as(mask)

    mistake(model, layer, "mask", wrong)


def softmax_plus_one(model, layer):
    def wrong(probs: Tensor, scores: Tensor) -> Tensor:
        return probs / (1 + (-scores.float().logsumexp(-1, keepdim=True)).exp())

    mistake(model, layer, "probs", wrong)


# --- heads ----------------------------------------------------------------------------------------------------------


def _tile(tensor: Tensor, groups: int) -> Tensor:
    return tensor.repeat(1, groups, 1, 1)


def tile_both(model, layer):
    mistake(model, layer, "spread_keys", _tile)
    tile_values(model, layer)


def tile_values(model, layer):
    mistake(model, layer, "spread_values", _tile)


def join_untransposed(model, layer):
    def wrong(output: Tensor) -> Tensor:
        batch, heads, tokens, dim = output.shape
        return output.reshape(batch, tokens, heads, dim)

    mistake(model, layer, "join", wrong)


def scale_head(model, layer, factor):
    def wrong(output: Tensor) -> Tensor:
        return torch.cat((output[:, :1], output[:, 1:2] * factor, output[:, 2:]), 1)

    mistake(model, layer, "context", wrong)


# --- cache ----------------------------------------------------------------------------------------------------------


def _stale(step: str, other: int | None) -> Callable:
    """While decoding, one slot holds zeros, or what belongs to the slot `other`."""

    def wrong(cached: Tensor, tokens: int) -> Tensor:
        if tokens == cached.shape[2]:
            return cached
        cached = cached.clone()
        cached[:, :, STALE_SLOT] = 0 if other is None else cached[:, :, other]
        return cached

    return lambda model, layer: mistake(model, layer, step, wrong)


def stale_keys(other: int | None) -> Callable:
    return _stale("keys", other)


def stale_values(other: int | None) -> Callable:
    return _stale("values", other)
