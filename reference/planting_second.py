"""Mistakes of caches, masks of later parts, wiring and shards, for planting.py. All change the model they are given."""

from collections.abc import Callable

import torch
from torch import Tensor

from planting_attention import STALE_SLOT, mask, mistake
from planting_layers import blocks_of, change_output, edit, module_of
from planting_rope import usual_rotation

# --- masks of forwards behind the first -----------------------------------------------------------------------------


def restart_mask(model, layer):
    """Query j of every forward sees keys 0 to j."""
    mask(model, layer, lambda query, key: key <= query - query.min())


def miss_newest_key(model, layer):
    """Behind the first forward, the key length is that of the forward before."""
    mask(model, layer, lambda query, key: (key <= query) & ((query.min() == 0) | (key < query.min())))


# --- cache ----------------------------------------------------------------------------------------------------------


def change_cached(change: Callable[[Tensor, int], Tensor], *steps: str) -> Callable:
    """Changes keys, values or both of `[batch, head, slot, channel]`, where so many slots are of forwards before."""

    def plant(model, layer):
        def wrong(cached: Tensor, tokens: int) -> Tensor:
            old = cached.shape[2] - tokens
            return change(cached.clone(), old) if old else cached

        for step in steps:
            mistake(model, layer, step, wrong)

    return plant


def _slot_zero(cached: Tensor, old: int) -> Tensor:
    cached[:, :, STALE_SLOT] = 0
    return cached


def _head_zero(cached: Tensor, old: int) -> Tensor:
    cached[:, 0, STALE_SLOT] = 0
    return cached


def _shifted(cached: Tensor, old: int) -> Tensor:
    cached[:, :, 1:old] = cached[:, :, : old - 1].clone()
    return cached


both_zero = change_cached(_slot_zero, "keys", "values")
head_zero = change_cached(_head_zero, "keys")
shifted_keys = change_cached(_shifted, "keys")
shifted_values = change_cached(_shifted, "values")


def turn_cached(sign: int) -> Callable:
    """Keys of the forwards before are turned once more by their position, or back."""

    def plant(model, layer):
        usual, rotary = usual_rotation(model), model.model.rotary_emb

        def change(cached: Tensor, old: int) -> Tensor:
            cos, sin = rotary(cached, torch.arange(old)[None])
            cached[:, :, :old] = usual(cached[:, :, :old], cached[:, :, :old], cos, sign * sin)[1]
            return cached

        change_cached(change, "keys")(model, layer)

    return plant


# --- wiring ---------------------------------------------------------------------------------------------------------


def read_first_rows(*paths: str) -> Callable:
    """Behind the first forward, modules read the first rows of what they read in it."""

    def plant(model, layer):
        for path in paths:
            kept: list[Tensor] = []

            def first(module, args, kept=kept):
                kept.append(args[0])
                return (kept[0][:, : args[0].shape[1]],)

            module_of(model, layer, path).register_forward_pre_hook(first)

    return plant


def feed_without_residual(model, layer):
    """A block is fed what the MLP before it gave, without the stream."""
    kept: list[Tensor] = []
    module_of(model, layer - 1, "mlp").register_forward_hook(lambda module, args, out: kept.append(out))
    blocks_of(model)[layer].register_forward_pre_hook(lambda module, args: (kept.pop(), *args[1:]))


def feed_before_norm(path: str, norm: str) -> Callable:
    """A module reads what the norm before it reads."""

    def plant(model, layer):
        kept: list[Tensor] = []
        module_of(model, layer, norm).register_forward_pre_hook(lambda module, args: kept.append(args[0]))
        module_of(model, layer, path).register_forward_pre_hook(lambda module, args: (kept.pop(),))

    return plant


def silence_attention(model, layer):
    change_output(module_of(model, layer, "self_attn.o_proj"), torch.zeros_like)


# --- weights --------------------------------------------------------------------------------------------------------


def join_across(path: str, count: int) -> Callable:
    """Shards of the columns, joined as rows."""

    def plant(model, layer):
        weight = module_of(model, layer, path).weight
        edit(weight, torch.cat(weight.data.chunk(count, 1)).reshape(weight.shape))

    return plant


def join_in_order(path: str, axis: int, order: tuple[int, ...]) -> Callable:
    """Shards along an axis in another order."""

    def plant(model, layer):
        weight = module_of(model, layer, path).weight
        shards = weight.data.chunk(len(order), axis)
        edit(weight, torch.cat([shards[shard] for shard in order], axis))

    return plant


def zero_columns(path: str, count: int) -> Callable:
    """The last columns are zero."""

    def plant(model, layer):
        weight = module_of(model, layer, path).weight
        edit(weight, weight.data * (torch.arange(weight.shape[1]) < weight.shape[1] - count))

    return plant


# --- precision and positions ----------------------------------------------------------------------------------------


def round_probs(model, layer):
    mistake(model, layer, "probs", lambda probs, scores: probs.bfloat16().to(probs.dtype))


def softmax_of_rounded(model, layer):
    mistake(model, layer, "probs", lambda probs, scores: scores.bfloat16().float().softmax(-1))


def softmax_in_half(model, layer):
    def narrow(probs, scores):
        powers = (scores - scores.amax(-1, keepdim=True)).half().exp()
        return (powers / powers.sum(-1, keepdim=True)).to(probs.dtype)

    mistake(model, layer, "probs", narrow)
