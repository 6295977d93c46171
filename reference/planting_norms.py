"""Mistakes in norms, for planting.py. All change the model they are given. What takes a path is a norm of a layer, or the
final norm, which is in none."""

from collections.abc import Callable
from types import MethodType

import torch
from torch import Tensor, nn

from planting_layers import borrow, edit, exchange, module_of


def _weight(change: Callable[[Tensor], Tensor]) -> Callable[[str], Callable]:
    """Mistakes in the weight of the norm at a path."""

    def at(path: str) -> Callable:
        def plant(model, layer):
            weight = module_of(model, layer, path).weight
            edit(weight, change(weight.data))

        return plant

    return at


offset_norm = _weight(lambda weight: 1 + weight)
offset_norm_twice = _weight(lambda weight: 2 + weight)
offset_norm_back = _weight(lambda weight: weight - 1)
unweight_norm = _weight(torch.ones_like)


def norm_eps(path: str) -> Callable:
    def plant(model, layer, eps):
        module_of(model, layer, path).variance_epsilon = eps

    return plant


def bare_norm(model, layer):
    """Neither weight nor eps."""
    unweight_norm("input_layernorm")(model, layer)
    norm_eps("input_layernorm")(model, layer, 0.0)


def center_norm(path: str) -> Callable:
    def plant(model, layer):
        norm = module_of(model, layer, path)
        forward = norm.forward
        norm.forward = lambda x: forward(x - x.mean(-1, keepdim=True))

    return plant


def _by_scale(scale: Callable[[nn.Module, Tensor], Tensor]) -> Callable:
    """The norm before attention with another factor for each row: of the module and the float32 row."""

    def forward(self, x):
        wide = x.float()
        return self.weight * (wide * scale(self, wide)).to(x.dtype)

    def plant(model, layer):
        norm = module_of(model, layer, "input_layernorm")
        norm.forward = MethodType(forward, norm)

    return plant


def _mean_square(wide: Tensor) -> Tensor:
    return wide.pow(2).mean(-1, keepdim=True)


round_variance = _by_scale(
    lambda norm, wide: torch.rsqrt(wide.bfloat16().pow(2).mean(-1, keepdim=True).float() + norm.variance_epsilon)
)
eps_outside = _by_scale(lambda norm, wide: 1 / (_mean_square(wide).sqrt() + norm.variance_epsilon))
sum_for_mean = _by_scale(lambda norm, wide: torch.rsqrt(wide.pow(2).sum(-1, keepdim=True) + norm.variance_epsilon))
half_of_the_channels = _by_scale(
    lambda norm, wide: torch.rsqrt(_mean_square(wide[..., : wide.shape[-1] // 2]) + norm.variance_epsilon)
)


def skip_norm(path: str) -> Callable:
    def plant(model, layer):
        module_of(model, layer, path).forward = lambda x: x.clone()

    return plant


def norm_twice(model, layer):
    norm = model.model.norm
    forward = norm.forward
    norm.forward = lambda x: forward(forward(x))


def exchange_final_norm(model, layer):
    edit(model.model.norm.weight, model.model.layers[-1].post_attention_layernorm.weight.data)


def exchange_norms(model, layer):
    exchange(module_of(model, layer, "input_layernorm"), module_of(model, layer, "post_attention_layernorm"))


def borrow_norm(model, layer):
    borrow("post_attention_layernorm")(model, layer)


# --- of queries and keys --------------------------------------------------------------------------------------------


def skip_qk_norm(model, layer):
    for name in ("q_norm", "k_norm"):
        module_of(model, layer, f"self_attn.{name}").forward = lambda x: x


def exchange_qk_norm(model, layer):
    exchange(module_of(model, layer, "self_attn.q_norm"), module_of(model, layer, "self_attn.k_norm"))


def offset_qk_norm(model, layer):
    for name in ("q_norm", "k_norm"):
        offset_norm(f"self_attn.{name}")(model, layer)


def norm_heads_together(model, layer):
    """One mean square for all heads of a token."""

    def forward(self, x):
        wide = x.float()
        scale = torch.rsqrt(wide.pow(2).mean((-2, -1), keepdim=True) + self.variance_epsilon)
        return self.weight * (wide * scale).to(x.dtype)

    for name in ("q_norm", "k_norm"):
        norm = module_of(model, layer, f"self_attn.{name}")
        norm.forward = MethodType(forward, norm)


def scale_key_heads(model, layer):
    """The norm of the keys times another constant in each head."""
    norm = module_of(model, layer, "self_attn.k_norm")
    norm.register_forward_hook(lambda module, args, out: out * (1 + 0.1 * torch.arange(out.shape[2]))[:, None].to(out.dtype))
