"""Mistakes that no suspect of the catalogue stands for, for planting.py: a program must say that it does not know them."""

from collections.abc import Callable
from types import MethodType

import torch
from torch import Tensor

from planting_attention import mistake
from planting_layers import change_output, module_of


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def change(path: str, wrong: Callable[..., Tensor]) -> Callable:
    """Changes what the module at a path puts out; the mistake's amount goes to `wrong`, too."""

    def plant(model, layer, *amount):
        change_output(module_of(model, layer, path), lambda out: wrong(out, *amount).to(out.dtype))

    return plant


def rolled(out: Tensor) -> Tensor:
    """Every channel in the place of the next."""
    return out.roll(1, -1)


def noisy(out: Tensor, amount: float) -> Tensor:
    """Random errors, relative to each value."""
    return out.double() * (1 + amount * torch.randn(out.shape, generator=_seeded()))


def shuffled(out: Tensor) -> Tensor:
    """The channels in a random order."""
    return out[..., torch.randperm(out.shape[-1], generator=_seeded())]


def tail_unwritten(out: Tensor) -> Tensor:
    """The last channels are 0, as if a kernel had left out an incomplete tile."""
    return out * (torch.arange(out.shape[-1]) < out.shape[-1] - 8)


def dropped_out(out: Tensor, share: float) -> Tensor:
    """Dropout left on: a share of the values is 0, the others are larger by as much."""
    kept = torch.rand(out.shape, generator=_seeded()) >= share
    return out * kept / (1 - share)


def double_bias(model, layer):
    bias = module_of(model, layer, "self_attn.v_proj").bias
    bias.data = bias.data * 2


def wrong_embedding_row(model, layer):
    """The row of one token has its halves exchanged."""

    def wrong(module, args, out):
        ids = args[0]
        if ids.shape[1] < 3:
            return out
        return torch.where((ids == ids[:, 2:3])[..., None], out.roll(out.shape[-1] // 2, -1), out)

    model.model.embed_tokens.register_forward_hook(wrong)


def zero_head_row(model, layer):
    change_output(model.lm_head, lambda out: out * (torch.arange(out.shape[-1]) != 7))


def _mlp_input(model, layer, wrong: Callable[[Tensor], Tensor]) -> None:
    """Changes act(gate) * up."""

    def forward(self, x):
        return self.down_proj(wrong(self.act_fn(self.gate_proj(x)) * self.up_proj(x)))

    mlp = module_of(model, layer, "mlp")
    mlp.forward = MethodType(forward, mlp)


def clip_product(model, layer, limit):
    _mlp_input(model, layer, lambda product: product.clamp(-limit, limit))


def drop_out_block(model, layer, share):
    model.model.layers[layer].register_forward_hook(lambda module, args, out: dropped_out(out, share).to(out.dtype))


def exchange_heads(model, layer):
    mistake(model, layer, "context", lambda output: torch.cat((output[:, 1:2], output[:, :1], output[:, 2:]), 1))


def heat_head(model, layer, factor):
    """The softmax of one head with a temperature."""

    def wrong(probs: Tensor, scores: Tensor) -> Tensor:
        probs = probs.clone()
        probs[:, 1] = (scores[:, 1].float() * factor).softmax(-1)
        return probs

    mistake(model, layer, "probs", wrong)


def see_prefix(model, layer):
    """The first tokens see each other, as in a model with a bidirectional prefix."""

    def wrong(mask: Tensor) -> Tensor:
        mask = mask.clone()
        mask[..., :4, :4] = 0.0
        return mask

    mistake(model, layer, "mask", wrong)
