"""Parts of models that ports leave out, or take for others: changed modules and weights, where no key of config.json says so.

A part is changed in the first layer that has it; what differs first is where the mistake is. `PARTS` is the table.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import MethodType

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


@dataclass(frozen=True)
class Part:
    """A change of a model, which says whether it has what is changed."""

    id: str
    suspect: str
    change: Callable[[PreTrainedModel], bool]
    fair: tuple[str, ...] = ()


def owners(model: nn.Module, *names: str) -> Iterator[tuple[nn.Module, str]]:
    """Modules that have one of these, and its name."""
    for module in model.modules():
        yield from ((module, name) for name in names if getattr(module, name, None) is not None)


def weight(name: str, change: Callable[[Tensor], Tensor]) -> Callable[[PreTrainedModel], bool]:
    """Another value for the first weight or buffer of this name."""

    def plant(model: PreTrainedModel) -> bool:
        for module, _ in owners(model, name):
            with torch.no_grad():
                value = getattr(module, name)
                value.copy_(change(value.clone()))
            return True
        return False

    return plant


def replaced(names: tuple[str, ...], forward: Callable) -> Callable[[PreTrainedModel], bool]:
    """Another forward for the first module of one of these names."""

    def plant(model: PreTrainedModel) -> bool:
        for module, name in owners(model, *names):
            child = getattr(module, name)
            if isinstance(child, nn.Module):
                child.forward = MethodType(forward, child)
                return True
        return False

    return plant


def behind(*names: str) -> Callable[[PreTrainedModel], bool]:
    """The norm of this name left out, where it stands behind attention or an MLP."""

    def plant(model: PreTrainedModel) -> bool:
        # Elsewhere post_attention_layernorm stands before the MLP.
        marks = ("post_feedforward_layernorm", "post_self_attn_layernorm", "post_mlp_layernorm")
        if not any(True for _ in owners(model, *marks)):
            return False
        return replaced(names, lambda self, x: x.clone())(model)

    return plant


def silent(model: PreTrainedModel) -> bool:
    """The expert that every token has gives zeros, where it is not the only one."""
    for module, name in owners(model, *SHARED):
        if any(getattr(module, others, None) is not None for others in ("experts", "block_sparse_moe")):
            expert = getattr(module, name)
            expert.forward = MethodType(lambda self, x: torch.zeros_like(x), expert)
            return True
    return False


def without_gate(model: PreTrainedModel) -> bool:
    def forward(self, hidden_states: Tensor) -> Tensor:
        x = hidden_states.flatten(0, -2)
        _, weights, chosen = self.gate(x)
        return (self.experts(x, chosen, weights) + self.shared_expert(x)).view(hidden_states.shape)

    for module, _ in owners(model, "shared_expert_gate"):
        module.forward = MethodType(forward, module)
        return True
    return False


def bias_that_weighs(model: PreTrainedModel) -> bool:
    """GLM-4.5's router, whose weights are gathered from what it compares."""
    if model.config.model_type != "glm4_moe":
        return False
    gate = next(module for module, _ in owners(model, "e_score_correction_bias"))
    usual = gate.forward

    def forward(hidden: Tensor):
        logits, _, chosen = usual(hidden)
        scores = (logits.float().sigmoid() + gate.e_score_correction_bias).gather(-1, chosen)
        if model.config.norm_topk_prob:
            scores = scores / (scores.sum(-1, keepdim=True) + 1e-20)
        return logits, scores * model.config.routed_scaling_factor, chosen

    gate.forward = forward
    return True


def heads_normed_apart(model: PreTrainedModel) -> bool:
    """The norm of a row of all heads, with a mean square for each."""
    config = model.config.get_text_config().to_dict()
    width = config.get("head_dim") or config.get("hidden_size", 0) // config.get("num_attention_heads", 1)

    def forward(self, x: Tensor) -> Tensor:
        heads = x.float().unflatten(-1, (-1, width))
        heads = heads * torch.rsqrt(heads.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return (self.weight.float() * heads.flatten(-2)).to(x.dtype)

    for module, name in owners(model, "q_norm"):
        norm = getattr(module, name)
        if hasattr(norm, "variance_epsilon") and norm.weight.dim() == 1 and norm.weight.numel() > width:
            norm.forward = MethodType(forward, norm)
            return True
    return False


def slopes(change: Callable[[Tensor], Tensor]) -> Callable[[PreTrainedModel], bool]:
    """BLOOM's slopes, of all layers: `alibi` [batch and head, 1, key] as its attention reads it."""

    def given(_, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        return args, kwargs | {"alibi": change(kwargs["alibi"])}

    def plant(model: PreTrainedModel) -> bool:
        found = [module for module in model.modules() if type(module).__name__ == "BloomAttention"]
        for module in found:
            module.register_forward_pre_hook(given, with_kwargs=True)
        return bool(found)

    return plant


def one_rope(model: PreTrainedModel) -> bool:
    """Layers with a window are rotated as those without one are."""
    for module, own in owners(model, "sliding_attention_inv_freq"):
        speeds, others = getattr(module, own), getattr(module, "full_attention_inv_freq", None)
        if others is not None and speeds.shape == others.shape and not torch.equal(speeds, others):
            speeds.copy_(others)
            module.sliding_attention_attention_scaling = module.full_attention_attention_scaling
            return True
    return False


def rows_from_the_first(model: PreTrainedModel) -> bool:
    """OPT's positions without the two rows before them."""
    for module, _ in owners(model, "embed_positions"):
        if getattr(module.embed_positions, "offset", 0):
            module.embed_positions.offset = 0
            return True
    return False


def router_wide(model: PreTrainedModel) -> bool:
    """Gemma 4's router, whose input is not divided by the root of how wide it is."""
    for module, _ in owners(model, "scalar_root_size"):
        module.scalar_root_size = 1.0
        return True
    return False


def router_scale_one(model: PreTrainedModel) -> bool:
    for module, _ in owners(model, "per_expert_scale"):
        with torch.no_grad():
            module.scale.fill_(1.0)
        return True
    return False


def router_unnormed(model: PreTrainedModel) -> bool:
    for module, _ in owners(model, "per_expert_scale"):
        module.norm.forward = MethodType(lambda self, x: x.clone(), module.norm)
        return True
    return False


def constant(name: str, change: Callable[[nn.Module, float], float]) -> Callable[[PreTrainedModel], bool]:
    """Another value for the first constant of this name."""

    def plant(model: PreTrainedModel) -> bool:
        for module, _ in owners(model, name):
            setattr(module, name, change(module, getattr(module, name)))
            return True
        return False

    return plant


def parts_exchanged(model: PreTrainedModel) -> bool:
    """Falcon-H1's constants of B and of C, each in the place of the other."""
    for module, name in owners(model, "mup_vector"):
        start, width = 2 * module.intermediate_size, module.groups_time_state_size
        b, c = (slice(start + part * width, start + (part + 1) * width) for part in (0, 1))
        own = module.mup_vector.clone()
        module.mup_vector[..., b], module.mup_vector[..., c] = own[..., c], own[..., b]
        return True
    return False


SHARED = ("shared_expert", "shared_experts", "shared_mlp")

PARTS = (
    Part("sinks_none", "sinks_missing", weight("sinks", lambda sinks: torch.full_like(sinks, -1e9))),
    Part("sinks_reversed", "sinks_order", weight("sinks", lambda sinks: sinks.flip(0))),
    Part("shared_silent", "shared_expert_missing", silent),
    Part("shared_ungated", "shared_gate_missing", without_gate),
    Part("choice_bias_zero", "router_bias_missing", weight("e_score_correction_bias", torch.zeros_like)),
    Part("choice_bias_weighs", "router_bias_in_weights", bias_that_weighs),
    Part("behind_attention", "norm_missing", behind("post_self_attn_layernorm", "post_attention_layernorm")),
    Part("behind_mlp", "norm_missing", behind("post_feedforward_layernorm", "post_mlp_layernorm")),
    Part("values_unnormed", "norm_missing", replaced(("v_norm",), lambda self, x: x.clone())),
    Part("embeddings_unnormed", "norm_missing", replaced(("word_embeddings_layernorm",), lambda self, x: x.clone())),
    Part("heads_apart", "qk_norm_scope", heads_normed_apart),
    Part("slopes_reversed", "alibi_slopes", slopes(lambda alibi: alibi.flip(0))),
    Part("slopes_none", "alibi_missing", slopes(torch.zeros_like)),
    Part("one_rope", "rope_layer_type", one_rope, fair=("rope_theta", "rope_scaling_missing", "layer_pattern")),
    Part("positions_from_zero", "position_embedding_offset", rows_from_the_first),
    Part("router_unscaled", "router_input_scale", router_scale_one),
    Part("router_wide", "router_input_scale", router_wide),
    Part("router_unnormed", "norm_missing", router_unnormed),
    Part("expert_scale_one", "expert_scale_missing", weight("per_expert_scale", torch.ones_like)),
    Part("experts_unnormed", "norm_missing", replaced(("pre_feedforward_layernorm_2",), lambda self, x: x.clone())),
    Part("behind_experts", "norm_missing", replaced(("post_feedforward_layernorm_2",), lambda self, x: x.clone())),
    Part("behind_mlp_beside", "norm_missing", replaced(("post_feedforward_layernorm_1",), lambda self, x: x.clone())),
    Part("mlp_unscaled", "multiplier_missing", constant("down_multiplier", lambda mlp, own: 1.0)),
    Part("attention_scaled_as_the_state", "multiplier_missing", constant("attention_in_multiplier", lambda block, own: block.mamba.ssm_in_multiplier)),
    Part("parts_exchanged", "multiplier_missing", parts_exchanged),
    Part("scalar_one", "residual_scale", weight("layer_scalar", torch.ones_like)),
)
