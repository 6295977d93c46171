"""Each op of a dump again, in float64, from the dump's own inputs: where a run disagrees with itself, it has a mistake.

This shares no code with the model, so that a planted mistake cannot hide in it: only the weights and the config are read.
"""

import re
from collections.abc import Callable, Iterable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

BEFORE = ("model.embed_tokens", "transformer.wte", "transformer.wpe", "transformer.embeddings")
AFTER = ("model.norm", "transformer.ln_f", "lm_head", "logits")
OPS = (
    "input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.q_norm", "self_attn.k_norm",
    "self_attn.q_rope", "self_attn.k_rope", "self_attn.scores", "self_attn.probs", "self_attn.context", "self_attn.o_proj",
    "resid_mid", "post_attention_layernorm", "pre_feedforward_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.act_fn",
    "mlp.act_mul", "mlp.down_proj", "mlp.gate", "mlp.routing", "mlp.experts.gate", "mlp.experts.up", "mlp.experts.act",
    "mlp.experts.act_mul", "mlp.experts.down", "mlp.experts", "post_feedforward_layernorm", "",
)  # fmt: skip
OPS_OF_GPT2 = (
    "ln_1", "attn.c_attn", "attn.q", "attn.k", "attn.v", "attn.scores", "attn.probs", "attn.context", "attn.c_proj",
    "resid_mid", "ln_2", "mlp.c_fc", "mlp.act", "mlp.c_proj", "",
)  # fmt: skip
MASKED = -1e4  # scores at or below it are not looked at


def split_name(name: str) -> tuple[int, int, str]:
    """(step, layer, op) of a name; before all layers -1, after them 10**6."""
    name, _, step = name.partition("@")
    if found := re.fullmatch(r"(?:model\.layers|transformer\.h)\.(\d+)\.?(.*)", name):
        return int(step or 0), int(found[1]), found[2]
    return int(step or 0), -1 if name in BEFORE else 10**6, name


def program_order(name: str, normed_twice: bool = False) -> tuple[int, int, int]:
    """A key that sorts names as they are computed. Models that norm what attention adds do so before they add it."""
    step, layer, op = split_name(name)
    if normed_twice and op == "post_attention_layernorm":
        return step, layer, 2 * OPS.index("self_attn.o_proj") + 1
    ops = {-1: BEFORE, 10**6: AFTER}.get(layer, OPS_OF_GPT2 if name.startswith("transformer") else OPS)
    return step, layer, 2 * ops.index(op)


def order_in(names: Iterable[str]) -> Callable[[str], tuple[int, int, int]]:
    """The key that sorts the names of this dump."""
    return partial(program_order, normed_twice=any("pre_feedforward_layernorm" in name for name in names))


def relative_error(value: Tensor, right: Tensor) -> float:
    """L2 of the difference over L2 of the right value, in float64, but for what is masked in both."""
    a, b = value.double(), right.double()
    seen = (a > MASKED) | (b > MASKED)
    a, b = (tensor[seen].clamp(min=-1e3) for tensor in (a, b))
    return float((a - b).norm() / b.norm().clamp(min=1e-300))


class Oracle:
    """One dump, and the right model, of any precision: its weights are what the ops are computed with."""

    def __init__(self, model: PreTrainedModel, tensors: dict[str, Tensor], ids: list[int], steps: list[int]):
        self.modules, self.config = dict(model.named_modules()), model.config
        self.tensors, self.ids, self.steps = tensors, torch.tensor(ids), steps
        self.head_dim = getattr(self.config, "head_dim", None) or self.config.hidden_size // self.config.num_attention_heads
        self.family = self.config.model_type

    def local_errors(self) -> dict[str, float]:
        """The error of every activation whose inputs are in the dump."""
        errors = {}
        for name in self.tensors:
            try:
                right = self.compute(name)
            except KeyError:
                continue
            errors[name] = relative_error(self.tensors[name], right)
        return errors

    def compute(self, name: str) -> Tensor:
        """The op of `name`, from its inputs in the dump; KeyError if one is missing."""
        step, layer, op = split_name(name)
        at = f"@{step}" if step else ""
        blocks = "transformer.h" if self.family == "gpt2" else "model.layers"
        last = self.config.num_hidden_layers - 1
        get = lambda key: self.tensors[key + at].double()  # noqa: E731
        if layer in (-1, 10**6):
            return self._outside(op, step, get, f"{blocks}.{last}")
        here = f"{blocks}.{layer}"
        first = "transformer.embeddings" if self.family == "gpt2" else "model.embed_tokens"
        before = f"{blocks}.{layer - 1}" if layer else first
        near = lambda key: get(f"{here}.{key}")  # noqa: E731
        if "attn" in op:
            return self._attention(f"{here}.{op}", here, op.partition("attn.")[2], step, near)
        if op.startswith("mlp."):
            return self._mlp(f"{here}.{op}", op.removeprefix("mlp."), near)
        twice = self.family == "gemma2"
        match op:
            case "input_layernorm" | "ln_1":
                return self._norm(f"{here}.{op}", get(before))
            case "resid_mid":
                added = "attn.c_proj" if self.family == "gpt2" else "self_attn.o_proj"
                return get(before) + near("post_attention_layernorm" if twice else added)
            case "post_attention_layernorm":
                return self._norm(f"{here}.{op}", near("self_attn.o_proj" if twice else "resid_mid"))
            case "pre_feedforward_layernorm" | "ln_2":
                return self._norm(f"{here}.{op}", near("resid_mid"))
            case "post_feedforward_layernorm":
                return self._norm(f"{here}.{op}", near("mlp.down_proj"))
            case "":
                return near("resid_mid") + near("post_feedforward_layernorm" if twice else self._end_of_mlp(here))
        raise KeyError(name)

    def _outside(self, op: str, step: int, get: Callable[[str], Tensor], last: str) -> Tensor:
        """What is in no layer."""
        past = sum(self.steps[:step])
        new = slice(past, past + self.steps[step])
        match op:
            case "model.embed_tokens" | "transformer.wte":
                scale = self.config.hidden_size**0.5 if self.family == "gemma2" else 1.0
                return self._weight(op, "weight")[self.ids[new]] * scale
            case "transformer.wpe":
                return self._weight(op, "weight")[new]
            case "transformer.embeddings":
                return get("transformer.wte") + get("transformer.wpe")
            case "model.norm" | "transformer.ln_f":
                return self._norm(op, get(last))
            case "lm_head":
                return self._linear(op, get("transformer.ln_f" if self.family == "gpt2" else "model.norm"))
            case "logits":
                return self._capped(get("lm_head"), self.config.final_logit_softcapping)
        raise KeyError(op)

    def _attention(self, path: str, here: str, op: str, step: int, near: Callable[[str], Tensor]) -> Tensor:
        attention = "attn" if self.family == "gpt2" else "self_attn"
        inside = lambda key: near(f"{attention}.{key}")  # noqa: E731
        keys, values = ("k", "v") if self.family == "gpt2" else ("k_rope", "v_proj")
        match op:
            case "q_proj" | "k_proj" | "v_proj":
                return self._linear(path, near("input_layernorm"))
            case "c_attn":
                return self._linear(path, near("ln_1"))
            case "q" | "k" | "v":
                return inside("c_attn").chunk(3, -1)["qkv".index(op)]
            case "q_norm" | "k_norm":
                return self._norm(path, self._heads(inside(op.replace("norm", "proj"))))
            case "q_rope" | "k_rope":
                source = op.replace("rope", "norm" if f"{here}.self_attn.q_norm" in self.modules else "proj")
                value = inside(source)
                return self._rope(value if source.endswith("norm") else self._heads(value), step)
            case "scores":  # a window's cache has dropped the oldest keys
                queries = self._heads(inside("q")) if self.family == "gpt2" else inside("q_rope")
                cached = self._cached(f"{here}.{attention}.{keys}", step)
                return self._scores(queries, cached, step, int(split_name(here)[1]))[..., -inside(op).shape[-1] :]
            case "probs":
                return inside("scores").softmax(-1)
            case "context":
                probs = inside("probs")
                cached = self._cached(f"{here}.{attention}.{values}", step)[:, -probs.shape[-1] :]
                cached = cached.repeat_interleave(probs.shape[0] // cached.shape[0], 0)
                return (probs @ cached).transpose(0, 1).flatten(1)
            case "o_proj" | "c_proj":
                return self._linear(path, inside("context"))
        raise KeyError(path)

    def _mlp(self, path: str, op: str, near: Callable[[str], Tensor]) -> Tensor:
        normed = "pre_feedforward_layernorm" if self.family == "gemma2" else "post_attention_layernorm"
        inside = lambda key: near(f"mlp.{key}")  # noqa: E731
        match op:
            case "gate_proj" | "up_proj" | "gate":
                return self._linear(path, near(normed))
            case "c_fc":
                return self._linear(path, near("ln_2"))
            case "act_fn":
                return self._activated(inside("gate_proj"))
            case "act":
                return self._activated(inside("c_fc"))
            case "act_mul":
                return inside("act_fn") * inside("up_proj")
            case "down_proj":
                return self._linear(path, inside("act_mul"))
            case "c_proj":
                return self._linear(path, inside("act"))
            case "routing":
                return self._routing(inside("gate"))
            case "experts.act":
                return self._activated(inside("experts.gate"))
            case "experts.act_mul":
                return inside("experts.act") * inside("experts.up")
            case "experts.gate" | "experts.up" | "experts.down":
                rows = inside("experts.act_mul") if op == "experts.down" else near(normed)[:, None]
                matrices = self._of_experts(path, self._chosen(inside("routing"))[1])
                return torch.einsum("tsoi,tsi->tso", matrices, rows.expand(-1, matrices.shape[1], -1))
            case "experts":
                weights, _ = self._chosen(inside("routing"))
                return (weights[..., None] * inside("experts.down")).sum(1)
        raise KeyError(path)

    def _end_of_mlp(self, here: str) -> str:
        """What the MLP of a layer adds to the stream."""
        if self.family == "gpt2":
            return "mlp.c_proj"
        return "mlp.experts" if f"{here}.mlp.experts" in self.modules else "mlp.down_proj"

    def _weight(self, path: str, name: str) -> Tensor:
        return getattr(self.modules[path], name).detach().double()

    def _linear(self, path: str, value: Tensor) -> Tensor:
        weight = self._weight(path, "weight")  # GPT-2's are [in, out], but for the head's
        out = value @ (weight if self.family == "gpt2" and path != "lm_head" else weight.T)
        return out if getattr(self.modules[path], "bias", None) is None else out + self._weight(path, "bias")

    def _norm(self, path: str, value: Tensor) -> Tensor:
        weight = self._weight(path, "weight")
        if self.family == "gpt2":
            value = value - value.mean(-1, keepdim=True)
            eps, bias = self.config.layer_norm_epsilon, self._weight(path, "bias")
        else:
            eps, bias = self.config.rms_norm_eps, 0.0
            weight = 1 + weight if self.family == "gemma2" else weight
        return value * (value.square().mean(-1, keepdim=True) + eps).rsqrt() * weight + bias

    def _activated(self, value: Tensor) -> Tensor:
        return F.gelu(value, approximate="tanh") if self.family in ("gemma2", "gpt2") else F.silu(value)

    @staticmethod
    def _capped(value: Tensor, cap: float) -> Tensor:
        return cap * torch.tanh(value / cap)

    def _routing(self, logits: Tensor) -> Tensor:
        """The weights of the chosen experts, 0 for the others."""
        weights, chosen = logits.softmax(-1).topk(self.config.num_experts_per_tok, -1)
        if getattr(self.config, "norm_topk_prob", True):
            weights = weights / weights.sum(-1, keepdim=True)
        return torch.zeros_like(logits).scatter(-1, chosen, weights)

    @staticmethod
    def _chosen(routing: Tensor) -> tuple[Tensor, Tensor]:
        """Weights and ids of the experts that the dump has chosen: [token, slot], by rising id."""
        experts = routing.nonzero()[:, 1].reshape(len(routing), -1)
        return routing.gather(-1, experts), experts

    def _of_experts(self, path: str, chosen: Tensor) -> Tensor:
        """The matrices of these experts: [token, slot, out, in]."""
        stack, _, part = path.rpartition(".")
        if part == "down":
            return self._weight(stack, "down_proj")[chosen]
        return self._weight(stack, "gate_up_proj").chunk(2, 1)[part == "up"][chosen]

    def _heads(self, value: Tensor) -> Tensor:
        return value.unflatten(-1, (-1, self.head_dim)).transpose(0, 1)

    def _turns(self, length: int) -> tuple[Tensor, float]:
        """Speeds of a sequence of this length, and the factor of cosines and sines, of a module that has seen nothing else."""
        rotary = type(self.modules["model.rotary_emb"])(self.config)
        rotary(torch.zeros(1), torch.arange(length)[None])
        return rotary.inv_freq.double(), rotary.attention_scaling

    def _rope(self, value: Tensor, step: int) -> Tensor:
        past = sum(self.steps[:step])
        speeds, factor = self._turns(past + self.steps[step])
        angle = torch.arange(past, past + self.steps[step]).double()[:, None] * speeds
        x, y = value.chunk(2, -1)
        cos, sin = angle.cos() * factor, angle.sin() * factor
        return torch.cat((x * cos - y * sin, y * cos + x * sin), -1)

    def _cached(self, path: str, step: int) -> Tensor:
        """The keys or values of all forwards up to this one: [head, token, dim]."""
        parts = [self.tensors[path + (f"@{n}" if n else "")].double() for n in range(step + 1)]
        if not path.endswith("k_rope"):
            parts = [self._heads(part) for part in parts]
        return torch.cat(parts, 1)

    def _scores(self, queries: Tensor, keys: Tensor, step: int, layer: int) -> Tensor:
        keys = keys.repeat_interleave(queries.shape[0] // keys.shape[0], 0)
        scores = queries @ keys.transpose(1, 2) / getattr(self.config, "query_pre_attn_scalar", self.head_dim) ** 0.5
        if cap := getattr(self.config, "attn_logit_softcapping", None):
            scores = self._capped(scores, cap)
        past = sum(self.steps[:step])
        query, key = torch.arange(past, past + queries.shape[1])[:, None], torch.arange(keys.shape[1])[None]
        hidden = key > query
        if window := self._window(layer):
            hidden |= key <= query - window
        return scores.masked_fill(hidden, float("-inf"))

    def _window(self, layer: int) -> int | None:
        if not getattr(self.config, "use_sliding_window", True):
            return None
        if self.family == "gemma2" and self.config.layer_types[layer] == "full_attention":
            return None
        return getattr(self.config, "sliding_window", None)
