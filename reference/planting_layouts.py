"""Mistakes in how weights are laid out, for planting.py: transposed, split in another order, of another layer.

A fused matrix is what a converter makes of several projections: their rows one below the other, or woven into each other.
A port that splits it in another order than it was put together gets rows of the wrong projection, and no shape tells.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import PreTrainedModel

from planting_layers import borrow, edit, module_of

QKV = tuple(f"self_attn.{name}_proj" for name in "qkv")
GATE_UP = ("mlp.gate_proj", "mlp.up_proj")


def transpose_o(model, layer):
    weight = module_of(model, layer, "self_attn.o_proj").weight
    edit(weight, weight.data.T.contiguous())


def reshape(path: str) -> Callable:
    """Reads the numbers of a matrix of [out, in] as [in, out], and transposes that."""

    def plant(model, layer):
        weight = module_of(model, layer, path).weight
        edit(weight, weight.data.reshape(weight.shape[1], weight.shape[0]).T.contiguous())

    return plant


# --- rows of queries and keys ---------------------------------------------------------------------------------------


def to_interleaved(rows: Tensor, head_dim: int) -> Tensor:
    """Rows of q or k from pairs (i, i + d/2) to pairs (2i, 2i + 1), as the conversion to GGUF does."""
    return rows.unflatten(0, (-1, 2, head_dim // 2)).transpose(1, 2).flatten(0, 2)


def from_interleaved(rows: Tensor, head_dim: int) -> Tensor:
    """The other way."""
    return rows.unflatten(0, (-1, head_dim // 2, 2)).transpose(1, 2).flatten(0, 2)


def permute(order: Callable[[Tensor, int], Tensor], *paths: str) -> Callable:
    """Puts the rows of each head into another order."""

    def plant(model, layer):
        for path in paths:
            for parameter in module_of(model, layer, path).parameters():
                edit(parameter, order(parameter.data, model.model.layers[layer].self_attn.head_dim))

    return plant


# --- fused matrices -------------------------------------------------------------------------------------------------


def _split(paths: tuple[str, ...], order: Callable[[PreTrainedModel, list[int]], Tensor]) -> Callable:
    """Gives each projection the rows of all of them, one below the other, that `order` has in its place."""

    def plant(model, layer):
        modules = [module_of(model, layer, path) for path in paths]
        sizes = [module.out_features for module in modules]
        rows = order(model, sizes)
        for name in ("weight", "bias"):
            if getattr(modules[0], name) is None:
                continue
            fused = torch.cat([getattr(module, name).data for module in modules])[rows]
            for module, part in zip(modules, fused.split(sizes), strict=True):
                edit(getattr(module, name), part)

    return plant


def _by_group(model: PreTrainedModel, sizes: list[int]) -> Tensor:
    """The row of [q | k | v] that is at each place of [q .. q k v] of one group after the other."""
    groups = model.config.num_key_value_heads
    q, k, v = (part.reshape(groups, -1) for part in torch.arange(sum(sizes)).split(sizes))
    return torch.cat((q, k, v), 1).flatten()


def _from_groups(model: PreTrainedModel, sizes: list[int]) -> Tensor:
    """The places of the rows of q, then k, then v in a matrix whose rows go group by group."""
    groups = model.config.num_key_value_heads
    parts = torch.arange(sum(sizes)).reshape(groups, -1).split([size // groups for size in sizes], 1)
    return torch.cat([part.flatten() for part in parts])


def _keys_first(model: PreTrainedModel, sizes: list[int]) -> Tensor:
    """[k | q | v] is read, where [q | k | v] was written."""
    q, k, _ = sizes
    places = torch.arange(sum(sizes))
    return torch.cat((places[k : k + q], places[:k], places[k + q :]))


fused_by_group = _split(QKV, _by_group)
fused_from_groups = _split(QKV, _from_groups)
fused_keys_first = _split(QKV, _keys_first)
gate_up_woven = _split(GATE_UP, lambda model, sizes: torch.arange(sum(sizes)).reshape(2, -1).T.flatten())
gate_up_unwoven = _split(GATE_UP, lambda model, sizes: torch.arange(sum(sizes)).reshape(-1, 2).T.flatten())


def borrow_layer(model, layer):
    """A whole layer with the weights of another."""
    block = model.model.layers[layer]
    borrow(*(path for path, module in block.named_modules() if path and not any(module.children())))(model, layer)
