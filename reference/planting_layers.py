"""Mistakes in weights, MLP, residual stream and head, for planting.py. All change the model they are given."""

from collections.abc import Callable
from types import MethodType

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


def blocks_of(model: PreTrainedModel) -> nn.ModuleList:
    return model.transformer.h if hasattr(model, "transformer") else model.model.layers


def attention_of(model: PreTrainedModel, layer: int) -> nn.Module:
    block = blocks_of(model)[layer]
    return block.attn if hasattr(block, "attn") else block.self_attn


def module_of(model: PreTrainedModel, layer: int | None, path: str) -> nn.Module:
    """A part of a layer, or, if that is None, of what is in no layer."""
    if layer is None:
        return model.get_submodule(path)
    return blocks_of(model)[layer].get_submodule(path)


def other_layer(model: PreTrainedModel, layer: int) -> int:
    """The next layer, or the first if it is the last."""
    return (layer + 1) % len(blocks_of(model))


def edit(parameter: nn.Parameter, value: Tensor) -> None:
    """Gives a parameter another value."""
    parameter.data = value.to(parameter.dtype).clone()


def exchange(a: nn.Module, b: nn.Module) -> None:
    """Exchanges all parameters of two modules."""
    for (_, x), (_, y) in zip(a.named_parameters(), b.named_parameters(), strict=True):
        x.data, y.data = y.data, x.data


def change_output(module: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
    """Changes what a module puts out."""
    module.register_forward_hook(lambda module, args, output: change(output))


# --- embedding and head ---------------------------------------------------------------------------------------------


def scale_embeddings(power: float) -> Callable:
    """The embeddings times a power of their size."""
    return lambda model, layer: change_output(model.model.embed_tokens, lambda out: out * model.config.hidden_size**power)


def tie_head(model, layer):
    model.lm_head.weight = nn.Parameter(model.model.embed_tokens.weight.data.clone())


def randomize_head(model, layer):
    weight = model.lm_head.weight.data
    noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    model.lm_head.weight = nn.Parameter((noise * weight.float().std()).to(weight.dtype))


def unnormed_head(model, layer):
    """The head reads what the final norm reads."""
    kept: list[Tensor] = []
    model.model.norm.register_forward_pre_hook(lambda module, args: kept.append(args[0]))
    model.lm_head.register_forward_pre_hook(lambda module, args: (kept.pop(),))


def cap_logits(model, layer, cap):
    change_output(model.lm_head, lambda out: cap * torch.tanh(out / cap))


def scale_logits(model, layer, factor):
    change_output(model.lm_head, lambda out: (out.double() * factor).to(out.dtype))


# --- projections ----------------------------------------------------------------------------------------------------


def drop_bias(*paths: str) -> Callable:
    def plant(model, layer):
        for path in paths:
            module_of(model, layer, path).bias = None

    return plant


def drop_bias_channel(model, layer, rank):
    """Sets the channel to 0 that has this rank by size: 0 is the smallest, -1 the largest."""
    bias = module_of(model, layer, "self_attn.v_proj").bias
    edit(bias, bias.data.index_fill(0, bias.data.abs().argsort()[rank], 0.0))


def exchange_kv(model, layer):
    exchange(module_of(model, layer, "self_attn.k_proj"), module_of(model, layer, "self_attn.v_proj"))


def borrow(*paths: str) -> Callable:
    """Uses the parameters of the next layer, in the last one those of the first."""

    def plant(model, layer):
        for path in paths:
            theirs = module_of(model, other_layer(model, layer), path)
            for ours, other in zip(module_of(model, layer, path).parameters(), theirs.parameters(), strict=True):
                edit(ours, other.data)

    return plant


def exchange_gate_up(model, layer):
    exchange(module_of(model, layer, "mlp.gate_proj"), module_of(model, layer, "mlp.up_proj"))


def scale(path: str) -> Callable:
    """The output times a constant, so that rounding of the weights has no part in it."""

    def plant(model, layer, factor):
        change_output(module_of(model, layer, path), lambda out: (out.double() * factor).to(out.dtype))

    return plant


def quantise(path: str) -> Callable:
    def plant(model, layer, bits):
        weight = module_of(model, layer, path).weight
        step = weight.data.float().abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
        edit(weight, (weight.data.float() / step).round() * step)

    return plant


def zero_channel(model, layer):
    change_output(module_of(model, layer, "mlp.down_proj"), lambda out: out * (torch.arange(out.shape[-1]) != 7))


def scale_late_rows(model, layer, factor):
    """Changes the tokens from the seventh on, of a prefill."""

    def late(out: Tensor) -> Tensor:
        return torch.cat((out[:, :6], (out[:, 6:].double() * factor).to(out.dtype)), 1)

    change_output(module_of(model, layer, "mlp.up_proj"), late)


def to_bfloat16(value: Tensor) -> Tensor:
    """The nearest values of bf16."""
    return value.bfloat16().to(value.dtype)


def to_tf32(value: Tensor) -> Tensor:
    """Float32 values with the 10 bits of mantissa that a GPU's TF32 keeps."""
    bits = value.float().contiguous().view(torch.int32)
    return ((bits + 0xFFF + ((bits >> 13) & 1)) & ~0x1FFF).view(torch.float32)


def round_operands(rounded: Callable[[Tensor], Tensor], *paths: str) -> Callable:
    """Products of rounded inputs and weights, which are added up without rounding."""

    def plant(model, layer):
        for path in paths:
            module = module_of(model, layer, path)
            edit(module.weight, rounded(module.weight.data))
            forward = module.forward
            module.forward = lambda x, forward=forward: forward(rounded(x))

    return plant


def read_stale(reader: str, source: str) -> Callable:
    """A module reads what the module `source` put out, or read if it is the reader itself, in the layer before."""

    def plant(model, layer):
        kept: list[Tensor] = []
        before = module_of(model, layer - 1, source)
        if source == reader:
            before.register_forward_pre_hook(lambda module, args: kept.append(args[0]))
        else:
            before.register_forward_hook(lambda module, args, out: kept.append(out))
        module_of(model, layer, reader).register_forward_pre_hook(lambda module, args: (kept.pop(),))

    return plant


# --- MLP ------------------------------------------------------------------------------------------------------------


def activation(function: Callable[[], nn.Module], name: str = "act_fn") -> Callable:
    """Another activation function."""

    def plant(model, layer):
        setattr(module_of(model, layer, "mlp"), name, function())

    return plant


class SquaredRelu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(x).square()


class Unchanged(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.clone()


class _Sharper(nn.Module):
    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        wide = x.double()
        return (wide * torch.sigmoid(self.factor * wide)).to(x.dtype)


def sharpen(model, layer, factor):
    module_of(model, layer, "mlp").act_fn = _Sharper(factor)


def activate_up(model, layer):
    def forward(self, x):
        gate, up = self.gate_proj(x), self.up_proj(x)
        return self.down_proj(self.act_fn(up) * gate)

    mlp = module_of(model, layer, "mlp")
    mlp.forward = MethodType(forward, mlp)


def add_gate(model, layer):
    def forward(self, x):
        return self.down_proj(self.act_fn(self.gate_proj(x)) + self.up_proj(x))

    mlp = module_of(model, layer, "mlp")
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


def drop_attention(model, layer):
    _rewire(model, layer, middle=lambda stream, normed, added: stream.clone())


def drop_residual(model, layer):
    _rewire(model, layer, middle=lambda stream, normed, added: added)


def scale_residual(model, layer, factor):
    _rewire(model, layer, middle=lambda stream, normed, added: (stream.double() + added.double() * factor).to(stream.dtype))


def scale_mlp_residual(model, layer, factor):
    _rewire(model, layer, end=lambda stream, normed, added: (stream.double() + added.double() * factor).to(stream.dtype))


def scale_sum(model, layer, factor):
    _rewire(model, layer, middle=lambda stream, normed, added: ((stream.double() + added.double()) * factor).to(stream.dtype))


def norm_what_is_added(model, layer):
    """What attention adds is normed, by a weight of ones."""
    eps = module_of(model, layer, "input_layernorm").variance_epsilon

    def middle(stream, normed, added):
        wide = added.float()
        return stream + (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)).to(stream.dtype)

    _rewire(model, layer, middle)


def parallel(model, layer):
    """Both halves read the block's input, and both are added at the end."""
    attention: list[Tensor] = []

    def middle(stream, normed, added):
        attention.append(added)
        return stream.clone()  # a value of its own in a dump

    _rewire(model, layer, middle, end=lambda stream, normed, added: stream + attention.pop() + added)


def skip_layer(model, layer):
    model.model.layers[layer].forward = lambda hidden_states, **kwargs: hidden_states.clone()
