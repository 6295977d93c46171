"""Mistakes in RoPE and in positions, for planting.py. All change the model they are given."""

import copy
import math
import sys
from collections.abc import Callable

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from demo.make_dumps import interleaved_rope
from planting_attention import mistake


def usual_rotation(model: PreTrainedModel) -> Callable:
    """The rotation as transformers has it: (q, k, cos, sin) to (q, k)."""
    return sys.modules[type(model).__module__].apply_rotary_pos_emb


def frequencies_of(model: PreTrainedModel, change: Callable[[Tensor], Tensor]) -> Callable:
    """The model's cos and sin with other frequencies."""
    rotary = copy.deepcopy(model.model.rotary_emb)
    rotary.inv_freq = change(rotary.inv_freq)
    return rotary


# --- frequencies ----------------------------------------------------------------------------------------------------


def _frequencies(model, layer, change: Callable[[Tensor], Tensor]) -> None:
    mistake(model, layer, "angles", frequencies_of(model, change))


def rope_theta(model, layer, factor):
    """Theta times a constant; what scales the frequencies of it is as it should be."""
    config = copy.deepcopy(model.config)
    config.rope_parameters["rope_theta"] *= factor
    mistake(model, layer, "angles", type(model.model.rotary_emb)(config))


def rope_base(model, layer, theta):
    _frequencies(model, layer, lambda f: theta ** (-torch.arange(len(f)) / len(f)))


def rope_exponent(model, layer):
    """theta^(-i / d), not theta^(-2i / d)."""
    _frequencies(model, layer, torch.sqrt)


def rope_linear(model, layer, factor):
    _frequencies(model, layer, lambda f: f / factor)


def rope_unscaled(model, layer):
    rotary = model.model.rotary_emb
    _frequencies(model, layer, lambda f: rotary.compute_default_rope_parameters(model.config)[0])


def rope_missing(model, layer):
    _frequencies(model, layer, torch.zeros_like)


def rope_backwards(model, layer):
    _frequencies(model, layer, torch.neg)


def round_frequencies(model, layer):
    _frequencies(model, layer, lambda f: f.bfloat16().float())


def round_table(model, layer):
    rotary = model.model.rotary_emb
    mistake(model, layer, "angles", lambda x, at: tuple(part.to(x.dtype) for part in rotary(x.bfloat16(), at)))


def amplify(model, layer, factor):
    """cos and sin times a constant, as scaling by YaRN wants it."""
    rotary = model.model.rotary_emb
    mistake(model, layer, "angles", lambda x, at: tuple(part * factor for part in rotary(x, at)))


# --- scaling --------------------------------------------------------------------------------------------------------


def _scaled(model, layer, change: Callable[[dict, PreTrainedConfig], dict]) -> None:
    """The rotation of a model of the same sizes whose config.json has other RoPE parameters."""
    config = copy.deepcopy(model.config)
    theta = config.rope_parameters["rope_theta"]
    config.rope_parameters = {"rope_theta": theta, **change(dict(config.rope_parameters), config)}
    mistake(model, layer, "angles", type(model.model.rotary_emb)(config))


def rope_unscaled_whole(model, layer):
    """Plain RoPE: neither speeds nor cosines and sines are scaled."""
    _scaled(model, layer, lambda own, config: {"rope_type": "default"})


def rope_yarn(model, layer, factor):
    """YaRN, of a model that was trained with the positions of this one."""
    parameters = {"rope_type": "yarn", "factor": factor}
    _scaled(model, layer, lambda own, config: parameters | {"original_max_position_embeddings": config.max_position_embeddings})


def rope_ramp(model, layer, factor):
    """Slow pairs are divided by a factor, fast ones are not, by a ramp that no type has; rows become longer."""
    slow = lambda f: torch.linspace(-0.5, 1.5, len(f)).clamp(0, 1)  # noqa: E731
    rotary = frequencies_of(model, lambda f: f / (1 + (factor - 1) * slow(f)))
    longer = 0.1 * math.log(factor) + 1
    mistake(model, layer, "angles", lambda x, at: tuple(part * longer for part in rotary(x, at)))


def rope_llama3(model, layer, factor):
    parameters = {"rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    _scaled(model, layer, lambda own, config: parameters | {"original_max_position_embeddings": 32})


def rope_as_linear(model, layer, factor):
    """Linear scaling by the factor of another type."""
    _scaled(model, layer, lambda own, config: {"rope_type": "linear", "factor": factor})


def rope_table(table: str) -> Callable:
    """One table of longrope for all lengths."""
    both = lambda own, config: own | {"short_factor": own[table], "long_factor": own[table]}  # noqa: E731
    return lambda model, layer: _scaled(model, layer, both)


def rope_by(model, layer, factor):
    """The model's type of scaling by another factor."""
    _scaled(model, layer, lambda own, config: own | {"factor": factor})


def rope_factor(model, layer, factor):
    """The model's speeds, with another attention factor."""
    _scaled(model, layer, lambda own, config: own | {"attention_factor": factor})


def scale_by_factor_twice(model, layer):
    """The square of the attention factor on the scale of scores, too."""
    mistake(model, layer, "scale", lambda scale: scale * model.model.rotary_emb.attention_scaling**2)


# --- pairs ----------------------------------------------------------------------------------------------------------


def rotate_interleaved(model, layer):
    mistake(model, layer, "rotation", interleaved_rope)


def rotate_interleaved_q(model, layer):
    usual = usual_rotation(model)
    mistake(model, layer, "rotation", lambda q, k, *angles: (interleaved_rope(q, k, *angles)[0], usual(q, k, *angles)[1]))


def _turn_a_part(model, layer) -> None:
    """Only as many channels of each head are turned as there are angles."""
    usual = usual_rotation(model)

    def wrong(q, k, cos, sin):
        turned = usual(*(part[..., : cos.shape[-1]] for part in (q, k)), cos, sin)
        return tuple(torch.cat((new, old[..., cos.shape[-1] :]), -1) for new, old in zip(turned, (q, k)))

    mistake(model, layer, "rotation", wrong)


def rope_partial(model, layer):
    """Only the first half of each head is turned, with the frequencies of a head of that size."""
    _frequencies(model, layer, lambda f: f[::2])
    _turn_a_part(model, layer)


def rope_partial_first(model, layer):
    """Only the first half of each head is turned, with the fastest frequencies of the whole one."""
    _frequencies(model, layer, lambda f: f[: len(f) // 2])
    _turn_a_part(model, layer)


# --- one of q and k, or some heads ----------------------------------------------------------------------------------


def _queries_by(model, layer, other: Callable) -> None:
    """Queries by other angles than keys."""
    _by_other_angles(model, layer, other, lambda usual, others: (others[0], usual[1]))


def _keys_by(model, layer, other: Callable) -> None:
    _by_other_angles(model, layer, other, lambda usual, others: (usual[0], others[1]))


def _by_other_angles(model, layer, other: Callable, choose: Callable) -> None:
    """Turns q and k by the usual angles and by those of `other`, and takes of both what `choose` says."""
    usual, rotary, others = usual_rotation(model), model.model.rotary_emb, []

    def angles(x, at):
        others[:] = other(x, at)
        return rotary(x, at)

    mistake(model, layer, "angles", angles)
    mistake(model, layer, "rotation", lambda q, k, *angles: choose(usual(q, k, *angles), usual(q, k, *others)))


def offset_queries(model, layer):
    _queries_by(model, layer, lambda x, at: model.model.rotary_emb(x, at + 1))


def offset_keys(model, layer):
    _keys_by(model, layer, lambda x, at: model.model.rotary_emb(x, at + 1))


def rope_missing_k(model, layer):
    _keys_by(model, layer, frequencies_of(model, torch.zeros_like))


def rope_backwards_k(model, layer):
    _keys_by(model, layer, frequencies_of(model, torch.neg))


def rope_odd_heads(model, layer):
    """Every second query head is turned by the sum of two tables, one of them with its frequencies in reverse."""

    def every_second(usual, others):
        odd = (torch.arange(usual[0].shape[1]) % 2 == 1)[:, None, None]
        return torch.where(odd, others[0], usual[0]), usual[1]

    _by_other_angles(model, layer, frequencies_of(model, lambda f: f + f.flip(0)), every_second)


# --- positions ------------------------------------------------------------------------------------------------------


def _positions(model, layer, change: Callable[[Tensor], Tensor]) -> None:
    rotary = model.model.rotary_emb
    mistake(model, layer, "angles", lambda x, at: rotary(x, change(at)))


def offset_positions(model, layer):
    _positions(model, layer, lambda at: at + 1)


def offset_decode(model, layer):
    _positions(model, layer, lambda at: at + (at[:, :1] > 0))


def restart_decode(model, layer):
    _decode_positions(model, layer, lambda at, first: at - first)


def stick_decode(model, layer):
    _decode_positions(model, layer, lambda at, first: at.clamp(max=first))


def _decode_positions(model, layer, change: Callable[[Tensor, int], Tensor]) -> None:
    """Changes positions after the prefill; `first` is the first of them."""
    first = 0

    def moved(at: Tensor) -> Tensor:
        nonlocal first
        if at[0, 0] == 0:
            first = at.shape[1]
            return at
        return change(at, first)

    _positions(model, layer, moved)


# --- beside the norms of q and k ------------------------------------------------------------------------------------


def norm_after_rope(model, layer):
    """Turns what the projections put out, and norms that. What is called q_norm is what attention is given."""
    usual, rotary, angles = usual_rotation(model), model.model.rotary_emb, []

    def remember(x, at):
        angles[:] = rotary(x, at)
        return tuple(angles)

    def after(norm) -> Callable:
        forward = norm.forward
        return lambda x: forward(usual(x, x, *angles, unsqueeze_dim=2)[0])

    attention = model.model.layers[layer].self_attn
    for norm in (attention.q_norm, attention.k_norm):
        norm.forward = after(norm)
    mistake(model, layer, "angles", remember)
    mistake(model, layer, "rotation", lambda q, k, cos, sin: (q.clone(), k.clone()))
