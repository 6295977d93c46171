"""Each op of a dump again, in float64, from the dump's own inputs: where a run disagrees with itself, it has a mistake.

This shares no code with the model, so that a planted mistake cannot hide in it: only the weights and the config are read.
"""

import re
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

OPS = (
    "input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.q_norm", "self_attn.k_norm",
    "self_attn.q_rope", "self_attn.k_rope", "self_attn.scores", "self_attn.probs", "self_attn.context", "self_attn.o_proj",
    "resid_mid", "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.act_fn", "mlp.act_mul", "mlp.down_proj",
    "",
)  # fmt: skip
MASKED = -1e4  # scores at or below it are not looked at


def split_name(name: str) -> tuple[int, int, str]:
    """(step, layer, op) of a name; before all layers -1, after them 10**6."""
    name, _, step = name.partition("@")
    if found := re.fullmatch(r"model\.layers\.(\d+)\.?(.*)", name):
        return int(step or 0), int(found[1]), found[2]
    return int(step or 0), -1 if name == "model.embed_tokens" else 10**6, name


def program_order(name: str) -> tuple[int, int, int]:
    """A key that sorts names as they are computed."""
    step, layer, op = split_name(name)
    return step, layer, OPS.index(op) if op in OPS else ("model.embed_tokens", "model.norm", "lm_head").index(op)


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
        last = self.config.num_hidden_layers - 1
        get = lambda key: self.tensors[key + at].double()
        if op == "model.embed_tokens":
            past = sum(self.steps[:step])
            return self._weight(op, "weight")[self.ids[past : past + self.steps[step]]]
        if op == "model.norm":
            return self._norm(op, get(f"model.layers.{last}"))
        if op == "lm_head":
            return self._linear(op, get("model.norm"))
        here = f"model.layers.{layer}"
        before = f"model.layers.{layer - 1}" if layer else "model.embed_tokens"
        near = lambda key: get(f"{here}.{key}")  # noqa: E731
        match op:
            case "input_layernorm":
                return self._norm(f"{here}.{op}", get(before))
            case "self_attn.q_proj" | "self_attn.k_proj" | "self_attn.v_proj":
                return self._linear(f"{here}.{op}", near("input_layernorm"))
            case "self_attn.q_norm" | "self_attn.k_norm":
                return self._norm(f"{here}.{op}", self._heads(near(op.replace("norm", "proj"))))
            case "self_attn.q_rope" | "self_attn.k_rope":
                source = op.replace("rope", "norm" if f"{here}.self_attn.q_norm" in self.modules else "proj")
                value = near(source)
                return self._rope(value if source.endswith("norm") else self._heads(value), step)
            case "self_attn.scores":  # a window's cache has dropped the oldest keys
                keys = self._cached(f"{here}.self_attn.k_rope", step)
                return self._scores(near("self_attn.q_rope"), keys, step)[..., -near(op).shape[-1] :]
            case "self_attn.probs":
                return near("self_attn.scores").softmax(-1)
            case "self_attn.context":
                probs = near("self_attn.probs")
                values = self._cached(f"{here}.self_attn.v_proj", step)[:, -probs.shape[-1] :]
                return (probs @ values.repeat_interleave(probs.shape[0] // values.shape[0], 0)).transpose(0, 1).flatten(1)
            case "self_attn.o_proj":
                return self._linear(f"{here}.{op}", near("self_attn.context"))
            case "resid_mid":
                return get(before) + near("self_attn.o_proj")
            case "post_attention_layernorm":
                return self._norm(f"{here}.{op}", near("resid_mid"))
            case "mlp.gate_proj" | "mlp.up_proj":
                return self._linear(f"{here}.{op}", near("post_attention_layernorm"))
            case "mlp.act_fn":
                return F.silu(near("mlp.gate_proj"))
            case "mlp.act_mul":
                return near("mlp.act_fn") * near("mlp.up_proj")
            case "mlp.down_proj":
                return self._linear(f"{here}.{op}", near("mlp.act_mul"))
            case "":
                return near("resid_mid") + near("mlp.down_proj")
        raise KeyError(name)

    def _weight(self, path: str, name: str) -> Tensor:
        return getattr(self.modules[path], name).detach().double()

    def _linear(self, path: str, value: Tensor) -> Tensor:
        out = value @ self._weight(path, "weight").T
        return out if self.modules[path].bias is None else out + self._weight(path, "bias")

    def _norm(self, path: str, value: Tensor) -> Tensor:
        scale = (value.square().mean(-1, keepdim=True) + self.config.rms_norm_eps).rsqrt()
        return value * scale * self._weight(path, "weight")

    def _heads(self, value: Tensor) -> Tensor:
        return value.unflatten(-1, (-1, self.head_dim)).transpose(0, 1)

    @cached_property
    def _frequencies(self) -> Tensor:
        return self.modules["model.rotary_emb"].inv_freq.double()

    def _rope(self, value: Tensor, step: int) -> Tensor:
        past = sum(self.steps[:step])
        angle = torch.arange(past, past + self.steps[step]).double()[:, None] * self._frequencies
        x, y = value.chunk(2, -1)
        return torch.cat((x * angle.cos() - y * angle.sin(), y * angle.cos() + x * angle.sin()), -1)

    def _cached(self, path: str, step: int) -> Tensor:
        """The keys or values of all forwards up to this one: [head, token, dim]."""
        parts = [self.tensors[path + (f"@{n}" if n else "")].double() for n in range(step + 1)]
        if path.endswith("v_proj"):
            parts = [self._heads(part) for part in parts]
        return torch.cat(parts, 1)

    def _scores(self, queries: Tensor, keys: Tensor, step: int) -> Tensor:
        keys = keys.repeat_interleave(queries.shape[0] // keys.shape[0], 0)
        scores = queries @ keys.transpose(1, 2) / self.head_dim**0.5
        past = sum(self.steps[:step])
        query, key = torch.arange(past, past + queries.shape[1])[:, None], torch.arange(keys.shape[1])[None]
        hidden = key > query
        if getattr(self.config, "use_sliding_window", True) and (window := getattr(self.config, "sliding_window", None)):
            hidden |= key <= query - window
        return scores.masked_fill(hidden, float("-inf"))
