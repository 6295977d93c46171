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
        rows = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        if cache is not None and rows.shape[1] == 1:
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


def forget_state(path: str) -> Callable:
    """A decode step's state starts anew."""

    def plant(model, layer):
        module = module_of(model, layer, path)
        _before(module, lambda cache: _zero(cache.get_recurrent_state(module.layer_idx, state_idx=0)))

    return plant


def grow_in_time(model, layer):
    """What is left of a selective state space is more than it was: its rates, the only exponential of a vector, have the other
    sign."""

    def exp(x: Tensor) -> Tensor:
        return torch.exp(x).neg() if x.dim() == 1 else torch.exp(x)

    _with_others(module_of(model, layer, "mamba"), torch=_Torch(exp=exp))


def norm_before_gate(model, layer):
    """The norm of Mamba 2 before its gate, as in gated delta nets."""
    norm = module_of(model, layer, "mamba.norm")

    def forward(hidden_states: Tensor, gate: Tensor) -> Tensor:
        groups = hidden_states.float().unflatten(-1, (-1, norm.group_size))
        scale = torch.rsqrt(groups.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon)
        normed = norm.weight * (groups * scale).flatten(-2).to(hidden_states.dtype)
        return normed * nn.functional.silu(gate.float())

    norm.forward = forward


def gate_before_norm(model, layer):
    """The gate of a gated delta net before its norm, as in Mamba 2."""
    norm = module_of(model, layer, "linear_attn.norm")

    def forward(hidden_states: Tensor, gate: Tensor) -> Tensor:
        gated = hidden_states * nn.functional.silu(gate.float())
        scaled = gated * torch.rsqrt(gated.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon)
        return norm.weight * scaled

    norm.forward = forward


def reverse_taps(path: str) -> Callable:
    """The newest token is multiplied by the first tap."""

    def plant(model, layer):
        filters = module_of(model, layer, path).weight
        with torch.no_grad():
            filters.copy_(filters.flip(-1))

    return plant


def rates_twice(path: str) -> Callable:
    """The exponential of the rates, twice."""

    def plant(model, layer):
        rates = module_of(model, layer, path).A_log
        with torch.no_grad():
            rates.exp_()

    return plant


def gate_as_it_is(model, layer):
    """What a gated delta net gives is multiplied by its gate, through no function."""
    module_of(model, layer, "linear_attn.norm").activation = "linear"


def space_gate_as_it_is(model, layer):
    """What a selective state space gives is multiplied by its gate, through no function."""
    _with_others(module_of(model, layer, "mamba.norm"), nn=SimpleNamespace(functional=_Functional(silu=lambda x: x)))


def gate_before_norm_of_groups(model, layer):
    """The norm of Falcon-H1 behind its gate, as in Mamba 2."""
    norm = module_of(model, layer, "mamba.norm")

    def forward(hidden_states: Tensor, gate: Tensor) -> Tensor:
        gated = torch.multiply(hidden_states, nn.functional.silu(gate.float()))
        groups = gated.unflatten(-1, (norm.n_groups, -1))
        scale = torch.rsqrt(groups.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon)
        return (norm.weight * (groups * scale).flatten(-2)).to(hidden_states.dtype)

    norm.forward = forward


def no_bias(path: str, name: str = "bias") -> Callable:
    """A bias that is zero."""

    def plant(model, layer):
        with torch.no_grad():
            getattr(module_of(model, layer, path), name).zero_()

    return plant
