"""Mistakes in what stands in the place of attention, for planting.py: convolutions, states and their gates. All change the
model they are given."""

import sys
from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from planting_layers import module_of


def _with_others(module: nn.Module, **others: Callable) -> None:
    """Functions of the module's file are other ones while it runs."""
    file, usual = sys.modules[type(module).__module__], module.forward

    def forward(*args, **kwargs):
        own = {name: getattr(file, name) for name in others}
        try:
            for name, other in others.items():
                setattr(file, name, other)
            return usual(*args, **kwargs)
        finally:
            for name, function in own.items():
                setattr(file, name, function)

    module.forward = forward


class _Torch(SimpleNamespace):
    """torch, but for what is given."""

    def __getattr__(self, name: str):
        return getattr(torch, name)


class _Functional(SimpleNamespace):
    """torch.nn.functional, but for what is given."""

    def __getattr__(self, name: str):
        return getattr(nn.functional, name)


def open_gate(model, layer):
    """What attention gives is multiplied by one."""
    _with_others(module_of(model, layer, "self_attn"), torch=_Torch(sigmoid=torch.ones_like))


def keep_lengths(model, layer):
    """Queries and keys as they are; the root is computed, and is that of one."""

    def unchanged(x: Tensor, dim: int = -1, eps: float = 1e-6) -> Tensor:
        return x * torch.rsqrt(torch.ones_like(x[..., :1]))

    _with_others(module_of(model, layer, "linear_attn"), l2norm=unchanged)


def divide_by_mean(model, layer):
    """The mean of the squares in the place of their sum."""

    def normed(x: Tensor, dim: int = -1, eps: float = 1e-6) -> Tensor:
        return x * torch.rsqrt((x * x).mean(dim=dim, keepdim=True) + eps)

    _with_others(module_of(model, layer, "linear_attn"), l2norm=normed)


def grow(model, layer):
    """What is left of the state is more than it was."""

    def softplus(x: Tensor) -> Tensor:
        return nn.functional.softplus(x).neg_()

    _with_others(module_of(model, layer, "linear_attn"), F=_Functional(softplus=softplus))


def _before(module: nn.Module, change: Callable) -> None:
    """Changes what a cache keeps for this module before each forward of one token."""

    def begin(module, args, kwargs):
        cache = kwargs.get("cache_params", kwargs.get("past_key_values"))
        if cache is not None and kwargs["hidden_states"].shape[1] == 1:
            change(cache)

    module.register_forward_pre_hook(begin, with_kwargs=True)


def _zero(state: Tensor | None) -> None:
    if state is not None:
        state.zero_()


def forget_window(path: str) -> Callable:
    """A decode step's convolution sees zeros before its token."""

    def plant(model, layer):
        module = module_of(model, layer, path)
        _before(module, lambda cache: _zero(cache.get_conv_state(module.layer_idx, state_idx=0)))

    return plant


def forget_state(model, layer):
    """A decode step's state starts anew."""
    module = module_of(model, layer, "linear_attn")
    _before(module, lambda cache: _zero(cache.get_recurrent_state(module.layer_idx, state_idx=0)))
