"""Mistakes that only some families of models can have, for planting.py: Gemma 2, GPT-2, and models with experts. All
change the model they are given."""

from collections.abc import Callable
from types import MethodType

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from planting_attention import mistake
from planting_layers import attention_of, change_output, edit, module_of

# --- Gemma 2 --------------------------------------------------------------------------------------------------------


def plain_norm(path: str) -> Callable:
    """The weight as it is stored, without the 1 that belongs to it."""

    def forward(self, x):
        return (self._norm(x.float()) * self.weight.float()).type_as(x)

    def plant(model, layer):
        norm = module_of(model, layer, path)
        norm.forward = MethodType(forward, norm)

    return plant


def unscale_embeddings(model, layer):
    scale = model.model.embed_tokens.embed_scale
    scale.copy_(torch.ones_like(scale))


def uncap_scores(model, layer):
    mistake(model, layer, "cap", lambda cap: None)


def uncap_logits(model, layer):
    """What the head puts out is returned. It is a copy, as it is a value of its own in a dump."""
    kept: list[Tensor] = []

    def end(module, args, output):
        output.logits = kept.pop().clone()

    model.lm_head.register_forward_hook(lambda module, args, out: kept.append(out))
    model.register_forward_hook(end)


def scale_by_head_dim(model, layer):
    mistake(model, layer, "scale", lambda scale: model.config.head_dim**-0.5)


# --- GPT-2 ----------------------------------------------------------------------------------------------------------


def shift_positions(model, layer):
    """Positions from 1."""
    model.transformer.wpe.register_forward_pre_hook(lambda module, args: (args[0] + 1,))


def restart_positions(model, layer):
    """Every forward begins at position 0 again."""
    model.transformer.wpe.register_forward_pre_hook(lambda module, args: (args[0] - args[0][:, :1],))


def zero_positions(model, layer):
    change_output(model.transformer.wpe, torch.zeros_like)


def leave_positions_out(model, layer):
    """The embeddings of the positions are there, but not added."""
    kept: list[Tensor] = []
    model.transformer.wte.register_forward_hook(lambda module, args, out: kept.append(out))
    model.transformer.drop.register_forward_pre_hook(lambda module, args: (kept.pop().clone(),))


def norm_by_square(model, layer):
    """The mean is not taken off, as in RMSNorm."""

    def forward(self, x):
        wide = x.float()
        normed = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return (normed * self.weight.float() + self.bias.float()).to(x.dtype)

    norm = module_of(model, layer, "ln_2")
    norm.forward = MethodType(forward, norm)


def layer_norm_eps(path: str) -> Callable:
    def plant(model, layer, eps):
        module_of(model, layer, path).eps = eps

    return plant


def zero_bias(path: str) -> Callable:
    def plant(model, layer):
        bias = module_of(model, layer, path).bias
        edit(bias, torch.zeros_like(bias))

    return plant


class _SplitOtherwise(Conv1D):
    """What comes out is right, but is then split in another order than the columns have."""

    def __call__(self, x: Tensor) -> Tensor:
        return super().__call__(x)[..., self.order]


def split_keys_first(model, layer):
    """[k | q | v] is read where [q | k | v] was written."""
    q, k, v = torch.arange(3 * model.config.n_embd).chunk(3)
    _split(model, layer, torch.cat((k, q, v)))


def split_by_head(model, layer):
    """The q, k and v of one head after the other are read, as in GPT-NeoX."""
    columns = torch.arange(3 * model.config.n_embd).reshape(model.config.n_head, 3, -1)
    _split(model, layer, columns.transpose(0, 1).flatten())


def _split(model, layer, order: Tensor) -> None:
    fused = attention_of(model, layer).c_attn
    fused.__class__ = _SplitOtherwise
    fused.order = order


def join_by_head(model, layer):
    """The columns are written one head after the other, and read as [q | k | v]."""
    columns = torch.arange(3 * model.config.n_embd).reshape(3, model.config.n_head, -1).transpose(0, 1).flatten()
    for parameter in attention_of(model, layer).c_attn.parameters():
        edit(parameter, parameter.data[..., columns])


def transpose_projection(model, layer):
    weight = attention_of(model, layer).c_proj.weight
    edit(weight, weight.data.T)


# --- Gemma 4 --------------------------------------------------------------------------------------------------------


def share_the_first(model, layer):
    """A layer that shares keys and values reads those of the first layer of its kind, not of the last."""
    layers = model.model.layers
    kind = layers[layer].self_attn.layer_type
    alike = [one.self_attn for one in layers[:layer] if one.self_attn.layer_type == kind]
    for attention in alike:
        attention.store_full_length_kv = attention is alike[0]


def share_its_own(model, layer):
    """A layer that has its own keys and values reads those of the layer of its kind before it, as do those that shared them."""
    before, own = (model.model.layers[at].self_attn for at in (layer - 1, layer))
    before.store_full_length_kv, own.store_full_length_kv, own.is_kv_shared_layer = True, False, True


# --- DBRX -----------------------------------------------------------------------------------------------------------


def clip_wide(model, layer):
    """What q, k and v are clipped to is out of reach."""
    model.transformer.blocks[layer].norm_attn_norm.attn.clip_qkv = 1e6


# --- latent attention -----------------------------------------------------------------------------------------------


def scale_of_width(model, layer):
    """The scale of heads without the square of mscale."""
    attention_of(model, layer).scaling = model.config.qk_head_dim**-0.5


def scale_of_part(model, layer):
    """The scale of the part of a head that is not rotated."""
    module = attention_of(model, layer)
    module.scaling *= (model.config.qk_head_dim / model.config.qk_nope_head_dim) ** 0.5


def latent_eps(path: str, eps: float) -> Callable:
    def plant(model, layer):
        module_of(model, layer, path).variance_epsilon = eps

    return plant


# --- experts --------------------------------------------------------------------------------------------------------


def _weigh(weights_of: Callable[[Tensor, int], Tensor]) -> Callable:
    """Other weights for the experts that are chosen, from the router's logits, which are right."""

    def plant(model, layer):
        gate = module_of(model, layer, "mlp.gate")
        usual = gate.forward

        def forward(hidden):
            logits, weights, chosen = usual(hidden)
            return logits, weights_of(logits.float(), gate.top_k).to(weights.dtype), chosen

        gate.forward = forward

    return plant


def _shares(logits: Tensor, chosen: int) -> Tensor:
    return logits.softmax(-1).topk(chosen, -1).values


use_shares = _weigh(_shares)
make_shares_sum_to_one = _weigh(lambda logits, chosen: F.normalize(_shares(logits, chosen), 1, -1))
choose_first = _weigh(lambda logits, chosen: logits.topk(chosen, -1).values.softmax(-1))


def top_k(model, layer, chosen):
    module_of(model, layer, "mlp.gate").top_k = chosen


def exchange_gate_up(model, layer):
    """Every expert's gate in the place of its up."""
    stack = module_of(model, layer, "mlp.experts").gate_up_proj
    edit(stack, torch.cat(stack.data.chunk(2, 1)[::-1], 1))


def neighbour(*names: str) -> Callable:
    """Matrices of one expert are those of the next, or, of the last, of the first."""

    def plant(model, layer, expert):
        experts = module_of(model, layer, "mlp.experts")
        for name in names:
            stack = getattr(experts, name)
            wrong = stack.data.clone()
            wrong[expert] = stack.data[(expert + 1) % len(wrong)]
            edit(stack, wrong)

    return plant


def weigh_by_sigmoid(model, layer):
    """The same experts, weighed by sigmoids of their logits where the model takes a softmax."""
    gate = module_of(model, layer, "mlp.gate")
    usual = gate.forward

    def forward(hidden: Tensor):
        logits, weights, chosen = usual(hidden)
        scores = logits.float().sigmoid().gather(-1, chosen)
        if gate.norm_topk_prob:
            scores = scores / scores.sum(-1, keepdim=True)
        return logits, scores.to(weights.dtype), chosen

    gate.forward = forward


def norms_behind(model, layer):
    """The norms before attention and MLP stand behind them."""
    for norm, half in (("input_layernorm", "self_attn"), ("post_attention_layernorm", "mlp")):
        norm, half = module_of(model, layer, norm), module_of(model, layer, half)
        normed, norm.forward = norm.forward, lambda x: x.clone()

        def behind(module, args, output, normed=normed):
            return (normed(output[0]), *output[1:]) if isinstance(output, tuple) else normed(output)

        half.register_forward_hook(behind)


def norms_before(model, layer):
    """The norms behind attention and MLP stand before them."""
    for norm, half in (("post_attention_layernorm", "self_attn"), ("post_feedforward_layernorm", "mlp")):
        norm, half = module_of(model, layer, norm), module_of(model, layer, half)
        normed, norm.forward = norm.forward, lambda x: x.clone()

        def before(module, args, kwargs, normed=normed):
            if args:
                return (normed(args[0]), *args[1:]), kwargs
            return args, kwargs | {"hidden_states": normed(kwargs["hidden_states"])}

        half.register_forward_pre_hook(before, with_kwargs=True)


def exchange_experts(path: str, name: str) -> Callable:
    """Experts 0 and 1 have each other's matrices of this name."""

    def plant(model, layer):
        matrices = getattr(module_of(model, layer, path), name)
        with torch.no_grad():
            matrices[:2] = matrices[:2].flip(0)

    return plant


def number_from_one(model, layer):
    """Every expert's matrices are those of the one before."""
    experts = module_of(model, layer, "mlp.experts")
    for stack in (experts.gate_up_proj, experts.down_proj):
        edit(stack, stack.data.roll(1, 0))
