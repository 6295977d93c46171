"""Mistakes in attention and the cache, for planting.py.

An attention module that has one gets a class of its own, whose forward and whose attention function are those of
transformers with some steps replaced. capture.py looks for `eager_attention_forward` beside the class, and finds this one.
"""

import sys
from collections.abc import Callable
from unittest.mock import patch

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from planting_layers import attention_of

STALE_SLOT = 5


def eager_attention_forward(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor, **kwargs):
    """Eager attention as transformers has it, but for the steps in `module.mistakes`."""
    if whole := module.mistakes.get("whole"):
        return whole(module, query, key, value, attention_mask, kwargs["scaling"])
    step = lambda name, usual: module.mistakes.get(name, usual)  # noqa: E731
    tokens, same = query.shape[2], lambda tensor, *_: tensor
    groups = getattr(module, "num_key_value_groups", 1)
    keys = step("spread_keys", _spread)(step("keys", same)(key, tokens), groups)
    values = step("spread_values", _spread)(step("values", same)(value, tokens), groups)
    scores = step("scores", same)(torch.matmul(query, keys.transpose(2, 3)) * step("scale", same)(kwargs["scaling"]))
    if cap := step("cap", same)(kwargs.get("softcap")):
        scores = torch.tanh(scores / cap) * cap
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
    if "rotation" not in self.mistakes:
        return usual.forward(self, *args, **kwargs)
    with patch.object(file, "apply_rotary_pos_emb", self.mistakes["rotation"]):
        return usual.forward(self, *args, **kwargs)


def mistake(model: PreTrainedModel, layer: int, step: str, wrong: Callable) -> None:
    """Replaces one step of a layer's attention."""
    module = attention_of(model, layer)
    if not hasattr(module, "mistakes"):
        module.mistakes = {}
        module.__class__ = type("Planted", (type(module),), {"__module__": __name__, "forward": _forward})
    module.mistakes[step] = wrong


# --- scores, mask, softmax ------------------------------------------------------------------------------------------


def unscaled(model, layer):
    mistake(model, layer, "scale", lambda scale: 1.0)


def scaled_twice(model, layer):
    mistake(model, layer, "scale", lambda scale: scale * scale)


def scaled_by_hidden(model, layer):
    mistake(model, layer, "scale", lambda scale: model.config.hidden_size**-0.5)


def scaled_by_heads(model, layer):
    mistake(model, layer, "scale", lambda scale: model.config.num_attention_heads**-0.5)


def scaled_up(model, layer):
    mistake(model, layer, "scale", lambda scale: 1 / scale)


def scale_scores(model, layer, factor):
    mistake(model, layer, "scale", lambda scale: scale * factor)


def cap_scores(model, layer, cap):
    mistake(model, layer, "scores", lambda scores: cap * torch.tanh(scores / cap))


def round_scores(model, layer):
    mistake(model, layer, "scores", lambda scores: scores.bfloat16().to(scores.dtype))


def no_mask(model, layer):
    mistake(model, layer, "mask", torch.zeros_like)


def see_next(model, layer):
    mask(model, layer, lambda query, key: key <= query + 1)


def see_not_itself(model, layer):
    mask(model, layer, lambda query, key: key < query)


def window(model, layer, width):
    mask(model, layer, lambda query, key: (key <= query) & (key > query - width))


def mask(model, layer, seen: Callable[[Tensor, Tensor], Tensor]) -> None:
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


def _first(tensor: Tensor, groups: int) -> Tensor:
    return tensor[:, :1].repeat(1, tensor.shape[1] * groups, 1, 1)


def _by_groups(tensor: Tensor, groups: int) -> Tensor:
    """Query head h reads key head h / (number of key heads), or the last."""
    heads = torch.arange(tensor.shape[1] * groups) // tensor.shape[1]
    return tensor[:, heads.clamp(max=tensor.shape[1] - 1)]


def spread(keys: Callable | None, values: Callable | None) -> Callable:
    """Another map of query heads to key heads, for keys, values, or both."""

    def plant(model, layer):
        for step, wrong in (("spread_keys", keys), ("spread_values", values)):
            if wrong:
                mistake(model, layer, step, wrong)

    return plant


tile_both, tile_keys, tile_values = spread(_tile, _tile), spread(_tile, None), spread(None, _tile)
first_both, first_values, by_groups = spread(_first, _first), spread(None, _first), spread(_by_groups, _by_groups)


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


def _stale(step: str, slot: int, other: int | None, after: int = 0) -> Callable:
    """While decoding, `after` so many steps, a slot holds zeros, or what belongs to the slot `other`."""

    def plant(model, layer):
        steps = 0

        def wrong(cached: Tensor, tokens: int) -> Tensor:
            nonlocal steps
            steps = 0 if tokens == cached.shape[2] else steps + 1
            if steps <= after:
                return cached
            cached = cached.clone()
            cached[:, :, slot] = 0 if other is None else cached[:, :, other]
            return cached

        mistake(model, layer, step, wrong)

    return plant


def stale_keys(other: int | None) -> Callable:
    return _stale("keys", STALE_SLOT, other)


def stale_values(other: int | None) -> Callable:
    return _stale("values", STALE_SLOT, other)


late_stale_keys = _stale("keys", STALE_SLOT, None, after=1)
newest_keys_unwritten = _stale("keys", -1, None)
newest_values_unwritten = _stale("values", -1, None)
newest_values_late = _stale("values", -1, -2)
