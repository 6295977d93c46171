"""Mistakes in weights, norms, MLP, residual stream and head, for planting.py. All change the model they are given."""

from collections.abc import Callable
from types import MethodType

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


def _module(model: PreTrainedModel, layer: int, path: str) -> nn.Module:
    return model.model.layers[layer].get_submodule(path)


def _other(model: PreTrainedModel, layer: int) -> int:
    return (layer + 1) % len(model.model.layers)


def _edit(parameter: nn.Parameter, value: Tensor) -> None:
    parameter.data = value.to(parameter.dtype).clone()


def _exchange(a: nn.Module, b: nn.Module) -> None:
    for (_, x), (_, y) in zip(a.named_parameters(), b.named_parameters(), strict=True):
        x.data, y.data = y.data, x.data


def _output(module: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
    module.register_forward_hook(lambda module, args, output: change(output))


# --- embedding, head, final norm ------------------------------------------------------------------------------------


def scale_embeddings(model, layer):
    _output(model.model.embed_tokens, lambda out: out * model.config.hidden_size**0.5)


def tie_head(model, layer):
    model.lm_head.weight = nn.Parameter(model.model.embed_tokens.weight.data.clone())


def randomize_head(model, layer):
    weight = model.lm_head.weight.data
    noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    model.lm_head.weight = nn.Parameter((noise * weight.float().std()).to(weight.dtype))


def skip_final_norm(model, layer):
    model.model.norm.forward = lambda x: x.clone()


def exchange_final_norm(model, layer):
    _edit(model.model.norm.weight, model.model.layers[-1].post_attention_layernorm.weight.data)


def final_norm_eps(model, layer, eps):
    model.model.norm.variance_epsilon = eps


def cap_logits(model, layer, cap):
    _output(model.lm_head, lambda out: cap * torch.tanh(out / cap))


def scale_logits(model, layer, factor):
    _output(model.lm_head, lambda out: (out.double() * factor).to(out.dtype))


# --- norms ----------------------------------------------------------------------------------------------------------


def norm_eps(model, layer, eps):
    _module(model, layer, "input_layernorm").variance_epsilon = eps


def offset_norm(model, layer):
    norm = _module(model, layer, "input_layernorm")
    _edit(norm.weight, 1 + norm.weight.data)


def unweight_norm(model, layer):
    norm = _module(model, layer, "input_layernorm")
    _edit(norm.weight, torch.ones_like(norm.weight))


def center_norm(model, layer):
    norm = _module(model, layer, "input_layernorm")
    norm.register_forward_pre_hook(lambda module, args: (args[0] - args[0].mean(-1, keepdim=True),))


def exchange_norms(model, layer):
    _exchange(_module(model, layer, "input_layernorm"), _module(model, layer, "post_attention_layernorm"))


def borrow_norm(model, layer):
    borrow("post_attention_layernorm")(model, layer)


def skip_norm(model, layer):
    _module(model, layer, "post_attention_layernorm").forward = lambda x: x.clone()


def round_variance(model, layer):
    def forward(self, x):
        variance = x.bfloat16().pow(2).mean(-1, keepdim=True).float()
        return self.weight * (x.float() * torch.rsqrt(variance + self.variance_epsilon)).to(x.dtype)

    norm = _module(model, layer, "input_layernorm")
    norm.forward = MethodType(forward, norm)


def skip_qk_norm(model, layer):
    for name in ("q_norm", "k_norm"):
        _module(model, layer, f"self_attn.{name}").forward = lambda x: x


def exchange_qk_norm(model, layer):
    _exchange(_module(model, layer, "self_attn.q_norm"), _module(model, layer, "self_attn.k_norm"))


# --- projections ----------------------------------------------------------------------------------------------------


def drop_bias(*paths: str) -> Callable:
    def plant(model, layer):
        for path in paths:
            _module(model, layer, path).bias = None

    return plant


def drop_bias_channel(model, layer, rank):
    """Sets the channel to 0 that has this rank by size: 0 is the smallest, -1 the largest."""
    bias = _module(model, layer, "self_attn.v_proj").bias
    _edit(bias, bias.data.index_fill(0, bias.data.abs().argsort()[rank], 0.0))


def transpose_o(model, layer):
    weight = _module(model, layer, "self_attn.o_proj").weight
    _edit(weight, weight.data.T.contiguous())


def exchange_kv(model, layer):
    _exchange(_module(model, layer, "self_attn.k_proj"), _module(model, layer, "self_attn.v_proj"))


def to_interleaved(rows: Tensor, head_dim: int) -> Tensor:
    """Rows of q or k from pairs (i, i + d/2) to pairs (2i, 2i + 1), as the conversion to GGUF does."""
    return rows.unflatten(0, (-1, 2, head_dim // 2)).transpose(1, 2).flatten(0, 2)


def permute_qk(model, layer):
    for name in ("q_proj", "k_proj"):
        for parameter in _module(model, layer, f"self_attn.{name}").parameters():
            _edit(parameter, to_interleaved(parameter.data, model.model.layers[layer].self_attn.head_dim))


def borrow(*paths: str) -> Callable:
    """Uses the parameters of the next layer, in the last one those of the first."""

    def plant(model, layer):
        for path in paths:
            theirs = _module(model, _other(model, layer), path)
            for ours, other in zip(_module(model, layer, path).parameters(), theirs.parameters(), strict=True):
                _edit(ours, other.data)

    return plant


def exchange_gate_up(model, layer):
    _exchange(_module(model, layer, "mlp.gate_proj"), _module(model, layer, "mlp.up_proj"))


def scale(path: str) -> Callable:
    """The output times a constant, so that rounding of the weights has no part in it."""

    def plant(model, layer, factor):
        _output(_module(model, layer, path), lambda out: (out.double() * factor).to(out.dtype))

    return plant


def quantise(path: str) -> Callable:
    def plant(model, layer, bits):
        weight = _module(model, layer, path).weight
        step = weight.data.float().abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
        _edit(weight, (weight.data.float() / step).round() * step)

    return plant


def zero_channel(model, layer):
    _output(_module(model, layer, "mlp.down_proj"), lambda out: out * (torch.arange(out.shape[-1]) != 7))


def scale_late_rows(model, layer, factor):
    """Changes the tokens from the seventh on, of a prefill."""

    def late(out: Tensor) -> Tensor:
        return torch.cat((out[:, :6], (out[:, 6:].double() * factor).to(out.dtype)), 1)

    _output(_module(model, layer, "mlp.up_proj"), late)


def read_stale(model, layer):
    kept: list[Tensor] = []
    _module(model, layer - 1, "post_attention_layernorm").register_forward_hook(lambda module, args, out: kept.append(out))
    _module(model, layer, "mlp.up_proj").register_forward_pre_hook(lambda module, args: (kept.pop(),))


# --- MLP ------------------------------------------------------------------------------------------------------------


def gelu(model, layer):
    _module(model, layer, "mlp").act_fn = nn.GELU()


class _Sharper(nn.Module):
    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        wide = x.double()
        return (wide * torch.sigmoid(self.factor * wide)).to(x.dtype)


def sharpen(model, layer, factor):
    _module(model, layer, "mlp").act_fn = _Sharper(factor)


def activate_up(model, layer):
    def forward(self, x):
        gate, up = self.gate_proj(x), self.up_proj(x)
        return self.down_proj(self.act_fn(up) * gate)

    mlp = _module(model, layer, "mlp")
    mlp.forward = MethodType(forward, mlp)


def add_gate(model, layer):
    def forward(self, x):
        return self.down_proj(self.act_fn(self.gate_proj(x)) + self.up_proj(x))

    mlp = _module(model, layer, "mlp")
    mlp.forward = MethodType(forward, mlp)


# --- residual stream ------------------------------------------------------------------------------------------------


def _usual(stream: Tensor, normed: Tensor, added: Tensor) -> Tensor:
    return stream + added


def _rewire(model: PreTrainedModel, layer: int, middle: Callable = _usual, end: Callable = _usual) -> None:
    """Replaces the two additions of a block. Each is given the stream, what its norm made of it, and what is added."""

    def forward(self, hidden_states, **kwargs):
        normed = self.input_layernorm(hidden_states)
        added, _ = self.self_attn(hidden_states=normed, **kwargs)
        stream = middle(hidden_states, normed, added)
        normed = self.post_attention_layernorm(stream)
        return end(stream, normed, self.mlp(normed))

    block = model.model.layers[layer]
    block.forward = MethodType(forward, block)


def residual_after_norm(model, layer):
    _rewire(model, layer, middle=lambda stream, normed, added: normed + added)


def mlp_residual_after_norm(model, layer):
    _rewire(model, layer, end=lambda stream, normed, added: normed + added)


def drop_residual(model, layer):
    _rewire(model, layer, middle=lambda stream, normed, added: added)


def scale_residual(model, layer, factor):
    _rewire(model, layer, middle=lambda stream, normed, added: (stream.double() + added.double() * factor).to(stream.dtype))


def parallel(model, layer):
    """Both halves read the block's input, and both are added at the end."""
    attention: list[Tensor] = []

    def middle(stream, normed, added):
        attention.append(added)
        return stream

    _rewire(model, layer, middle, end=lambda stream, normed, added: stream + attention.pop() + added)


def skip_layer(model, layer):
    model.model.layers[layer].forward = lambda hidden_states, **kwargs: hidden_states.clone()
