#!/usr/bin/env python3
"""Write every activation of a PyTorch forward pass to one .safetensors file, for layerstep to compare with.

    # prefill a prompt, then four greedy steps with the key/value cache
    python capture.py ./SmolLM2-135M-Instruct --prompt "The capital of France is" --decode 4 -o ref.safetensors

    # the tokens that another engine chose, one by one
    python capture.py ./SmolLM2-135M-Instruct --ids 504,3575,282 --force-ids 6,42 -o ref.safetensors

    # in your own script, around any call of any causal language model of transformers
    from capture import capture
    with capture(model, "ref.safetensors", only=["*.q_rope", "model.layers.3*"]):
        model(input_ids)

Names are Hugging Face module paths (`model.layers.3.mlp.down_proj`), plus the values that have no module:

    self_attn.q_rope, k_rope    [head, token, head_dim]  what attention is given; k_rope holds the new tokens only
    attn.q, k, v                [token, head * head_dim] queries, keys and values where one matrix gives all three: its
                                                         columns in the order of heads (GPT-2, GPT-NeoX, Falcon, Phi-3)
    mlp.gate_proj, up_proj      [token, intermediate]    the same of gate and up (Phi-3, GLM)
    self_attn.queries, keys     [head, token, channel]   the same where only a part of each head is rotated (DeepSeek): q_rope and
                                                         k_rope are that part, q_rope_input and k_rope_input what it was
    self_attn.kv_latent, k_nope, v                       columns of kv_a_proj_with_mqa and of kv_b_proj, of which the rows
                                                         of new tokens are written
    self_attn.scores            [head, query, key]       input of the softmax: scaled, capped, and masked (with
                                                         finfo.min, as eager does)
    self_attn.probs             [head, query, key]       its output
    self_attn.context           [token, head * head_dim] input of o_proj
    resid_mid                   [token, hidden]          residual stream between attention and MLP, where there is one
    mlp.act_mul                 [token, intermediate]    input of down_proj
    transformer.embeddings      [token, hidden]          what enters the first block, where it is not what the embedding
                                                         of the token gives (GPT-2 adds wpe, Granite multiplies)
    logits                      [token, vocab]           what the model returns, where it is not the output of the head
                                                         (Gemma 2 caps that)
    output.sum                  [token, hidden]          what a norm behind a sum reads (BERT; also of its embeddings)

and, of an embedder, whose folder has a modules.json of sentence-transformers, behind the last layer:

    pooled, 2_Dense, normalized [1, channel]             one row of all, through a matrix, of length 1

and, in layers with experts, beside `mlp.gate` (the router's logits) and `mlp.experts` (the weighted sum):

    mlp.routing                 [token, expert]          the weight each expert is given, 0 where it is not chosen
    mlp.experts.gate_up         [token, slot, channel]   where channels of gate and up stand in turn (GPT-OSS)
    mlp.experts.gate, up, act, act_mul, down
                                [token, slot, channel]   what the chosen experts compute, by rising id of the expert;
                                                         down is not yet multiplied by its weight
    router.scaled               [token, hidden]          what the router reads, where it scales that itself (Gemma 4)
    routing_scaled              [token, expert]          mlp.routing times the scale of each expert
    mlp_out                     [token, hidden]          MLP and experts together, where they stand side by side
    mlp.shared_weight           [token, 1]               how much a shared expert counts, where a sigmoid says it
    mlp.shared                  [token, hidden]          what the shared expert gives times that
    mlp                         [token, hidden]          experts and shared expert together

in layers in which something else stands in the place of attention:

    conv.B, C, x, Bx, conv_out, y
                                [token, hidden]          LFM2: the gates and what they gate, B * x, the convolution, C times that
    linear_attn.mixed_qkv       [token, channel]         Qwen3-Next: what the convolution is over, its columns in order
    linear_attn.conv1d, conv_act
                                [token, channel]         the convolution, and its activation function
    linear_attn.query, key, value, z, b, a
                                [token, head * channel]  its parts, and what stands beside them
    linear_attn.query_norm, key_norm
                                [token, head * key_dim]  of length 1, in f32; once for each key head
    linear_attn.beta, g         [token, head]            how much is written, and the logarithm of what is left, in f32
    linear_attn.core_attn_out   [token, head * head_dim] what the state gives
    linear_attn.normed          [head, token, head_dim]  normed; linear_attn.norm [token, head * head_dim] is that times silu(z)
    mamba.gate, hidden_states_B_C, dt
                                [token, channel]         Granite 4, Bamba: the columns of in_proj
    mamba.conv1d, conv_act      [token, channel]         the convolution, and its activation function
    mamba.hidden_states, B, C   [token, head * channel]  its parts
    mamba.time_step, dA         [token, head]            softplus(dt + bias), and the logarithm of what is left
    mamba.scan_output, gated, norm
                                [token, head * channel]  what the state gives, that times silu(gate), and its norm
    mixer.time_step_clamped     [token, head]            the step, no shorter than a constant (Nemotron-H, whose `gate` is a router's and
                                                         gate_of_state that of the state)
    mamba.gate_act              [token, head * channel]  silu(gate), where nothing is normed (Falcon-H1)
    mamba.scaled_input, in_proj_scaled, self_attn.scaled_input, k_scaled, feed_forward.gate_scaled, scaled
                                [token, channel]         Falcon-H1: what is multiplied by a constant other than 1
    mixed_sum                   [token, hidden]          mamba and self_attn together, each times a constant (Falcon-H1)
    mlp_out                     [token, hidden]          experts and shared_mlp together (Granite 4)
    self_attn.q, gate, gate_weight, gated
                                [token, head * head_dim] queries and gate out of q_proj, σ of the gate, the context times that

Forwards after the first carry the suffix @1, @2 ... and hold only their new tokens. Their key axis is right-aligned:
its last column is the newest token, and a sliding-window cache has already dropped the oldest. A batch of one is
dropped from the shapes. Values keep the dtype they were computed in. Nothing is patched: the attention function, its
mask and the loop over experts are registered through transformers' own interfaces and do what "eager" does. The
command proves it: it runs the model once without any hook and once with, and refuses to write unless all logits agree
bit for bit.
"""

import argparse
import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from fnmatch import fnmatchcase
from inspect import signature
from pathlib import Path

import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AttentionInterface,
    AttentionMaskInterface,
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    PreTrainedConfig,
    StaticCache,
)
from transformers.integrations.moe import ExpertsInterface
from transformers.masking_utils import eager_mask

from embedder import Stages, is_encoder, is_headless, without_pooler

ATTENTION = EXPERTS = "layerstep_eager"
# What has no module and goes into one (Gemma 4).
NAMED_INPUTS = {
    "per_layer_input_gate": "resid_mlp",
    "per_layer_projection": "per_layer_mul",
    "per_layer_projection_norm": "per_layer_scaled",
}
COUNTING_ANEW = ("bamba",)  # positions of a forward are counted from 0 unless they are given
BEHIND_ROPE = {"query_layernorm": "q_rope", "key_layernorm": "k_rope"}  # norms of what was rotated (Hunyuan)
DTYPES = {name: getattr(torch, name) for name in ("float32", "bfloat16", "float16", "float64")}


class CaptureError(Exception):
    """Something the caller can mend; the message says what."""


# --- attention ------------------------------------------------------------------------------------------------------

_recorders: dict[nn.Module, tuple["Recorder", str]] = {}  # the modules being recorded, with their names


class _SoftmaxInput(TorchFunctionMode):
    """Keeps the argument of the last softmax: the scores exactly as eager attention has them, soft cap included; or what sinks are
    put beside before it."""

    scores: Tensor | None = None
    has_sinks = False

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.cat and len(args[0]) == 2 and args[0][1].shape[-1] == 1:
            self.scores, self.has_sinks = args[0][0], True
        elif func is nn.functional.softmax and not self.has_sinks:
            self.scores = args[0]
        return func(*args, **(kwargs or {}))


def _attention(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs):
    """The model's own eager attention; what goes in and comes out is recorded if `module` is being captured."""
    files = (sys.modules[cls.__module__] for cls in type(module).__mro__)
    eager = next(file.eager_attention_forward for file in files if hasattr(file, "eager_attention_forward"))
    if module not in _recorders:
        return eager(module, query, key, value, attention_mask, **kwargs)
    with _SoftmaxInput() as softmax:
        output, probs = eager(module, query, key, value, attention_mask, **kwargs)  # output: [batch, token, head, dim]
    recorder, name = _recorders[module]
    if hasattr(module, "c_attn"):  # nothing stands between its columns and attention: what attention is given is written
        for point, heads in zip("qkv", (query, key, value)):
            recorder.put(f"{name}.{point}", heads[:, :, -query.shape[2] :].transpose(1, 2).flatten(2))
    recorder.put_attention(name, query, key, softmax.scores, probs, repeats=1)
    recorder.put(f"{name}.context", output.flatten(2))
    return output, probs


class _Clipped(TorchFunctionMode):
    """What queries, keys and values are clipped to: one after the other, in place (OLMo), or side by side (DBRX)."""

    def __init__(self, recorder: "Recorder", name: str):
        super().__init__()
        self.recorder, self.name, self.points = recorder, name, list("qkv")

    def __torch_function__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        if func is Tensor.clamp_ and self.points:
            self.recorder.put(f"{self.name}.{self.points.pop(0)}_clip", output)
        elif func is Tensor.clamp and self.points and (split := _split("Wqkv", self.recorder.config)):
            self.points.clear()
            for point, part in split(output).items():
                self.recorder.put(f"{self.name}.{point}_clip", part)
        return output

    @classmethod
    def attach(cls, recorder: "Recorder", module: nn.Module, name: str) -> list:
        """Hooks that run `module` under it."""
        return _hooks_under(lambda: cls(recorder, name), module)


class _OwnAttention(TorchFunctionMode):
    """Attention of a class that does not take it from transformers' interface (GPT-J, Falcon, BLOOM): its two products of
    activations, and the softmax between them."""

    PRODUCTS = (torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, torch.baddbmm, Tensor.baddbmm)

    def __init__(self, recorder: "Recorder", name: str):
        super().__init__()
        self.recorder, self.name = recorder, name
        self.query = self.key = self.scores = None

    def __torch_function__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        if func is nn.functional.softmax:
            self.scores = args[0]
        elif func in self.PRODUCTS:
            a, b = [value for value in (*args, *(kwargs or {}).values()) if isinstance(value, Tensor)][-2:]
            if a.dim() > 2 and b.dim() > 2 and self.scores is None:
                self.query, self.key = a, b.transpose(-1, -2)
            elif a.dim() > 2 and b.dim() > 2:
                whole = [self.recorder.heads_apart(value) for value in (self.query, self.key, self.scores, a)]
                heads = whole[1].shape[1]
                self.recorder.put_attention(self.name, *whole, heads // min(key_heads(self.recorder.config), heads))
        return output

    @classmethod
    def attach(cls, recorder: "Recorder", module: nn.Module, name: str) -> list:
        """Hooks that run `module` under it."""
        out = next(child for path, child in module.named_children() if path in ("out_proj", "dense"))
        context = out.register_forward_pre_hook(recorder.input_hook(f"{name}.context"))
        return [*_hooks_under(lambda: cls(recorder, name), module), context]


def _has_own_attention(module: nn.Module) -> bool:
    """Whether this is attention of a class that does not take it from transformers' interface."""
    file = sys.modules[type(module).__module__]
    is_model = file.__name__.startswith("transformers.models.") and not hasattr(file, "eager_attention_forward")
    return is_model and "Attention" in type(module).__name__ and any(module.children())


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, eager_mask)


# --- experts --------------------------------------------------------------------------------------------------------


class _ExpertValues(TorchFunctionMode):
    """Keeps what each expert computes. Which one it is, and which of its matrices, the place of the weight tells."""

    def __init__(self, experts: nn.Module):
        super().__init__()
        self.experts, self.expert = experts, -1
        self.stacks = _stacks(experts)
        self.rows: dict[str, dict[int, Tensor]] = {}
        self.product, self.sigmoid = None, None  # a product that waits for its bias, and what gates

    def __torch_function__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        if func is nn.functional.linear or func in _OwnAttention.PRODUCTS:
            found = ((point, _row_of(stack, args[1])) for point, stack in self.stacks.items())
            point, expert = next(((point, row) for point, row in found if row is not None), ("", -1))
            if not point:
                return output
            self.expert = expert
            if point == "down" and set(self.stacks) != {"up", "down"}:  # else it is what `act` is
                self.put("act_mul", args[0])
            if hasattr(self.experts, "gate_up_proj_bias"):
                self.product = output, point
            else:
                self.put(point, output)
        elif self.product is not None and any(value is self.product[0] for value in args):
            point, self.product = self.product[1], None
            self.put(point, output)
        elif func is nn.functional.silu:
            self.put("act", output)
        elif func in (torch.sigmoid, nn.functional.sigmoid, Tensor.sigmoid):
            self.sigmoid = output
        elif self.sigmoid is not None and any(value is self.sigmoid for value in args):
            self.sigmoid = None
            self.put("act", output)
        return output

    def put(self, point: str, output: Tensor) -> None:
        """What the expert at hand gives; gate and up stand side by side, or in turn."""
        if point == "gate_up":
            in_turn = hasattr(self.experts, "gate_up_proj_bias")
            gate, up = (output[..., ::2], output[..., 1::2]) if in_turn else output.chunk(2, dim=-1)
            parts = {"gate": gate, "up": up} | ({"gate_up": output} if in_turn else {})
        else:
            parts = {point: output}
        for name, part in parts.items():
            self.rows.setdefault(name, {})[self.expert] = part

    def activated(self, module: nn.Module, args: tuple, output: Tensor) -> None:
        self.put("act", output)

    def record(self, recorder: "Recorder", name: str, chosen: Tensor, weights: Tensor) -> None:
        """Everything, by token and slot, of experts that were `chosen` [token, place]."""
        none = weights.new_zeros(len(weights), len(self.stacks["down"]))
        point = f"{name.removesuffix('experts')}routing"
        is_scaled = recorder.of_experts.pop("is_scaled", None) is not None
        recorder.put_rows(f"{point}_scaled" if is_scaled else point, none.scatter(1, chosen, weights))
        for point, rows in self.rows.items():
            if len(rows) == len(chosen.unique()):  # fewer where a model has a loop of another kind
                recorder.put_rows(f"{name}.{point}", _in_slots(rows, chosen))


class _ExpertsBelow(_ExpertValues):
    """Experts whose matrices stand below each other, of a class that does not take its loop from transformers' interface (DBRX)."""

    @classmethod
    def attach(cls, recorder: "Recorder", module: nn.Module, name: str) -> list:
        """Hooks that run `module` under it."""
        running = []

        def begin(module, args):
            running.append(cls(module))
            running[-1].__enter__()

        def end(module, args, output):
            values = running.pop()
            values.__exit__(None, None, None)
            values.record(recorder, name, *args[1:])
            recorder.put(name, output)

        return [module.register_forward_pre_hook(begin), module.register_forward_hook(end)]


class _ExpertScale(TorchFunctionMode):
    """The weights of the chosen experts before each is multiplied by the scale of its expert (Gemma 4)."""

    def __init__(self, recorder: "Recorder", name: str, scale: Tensor):
        super().__init__()
        self.recorder, self.name, self.scale, self.chosen, self.own = recorder, name, scale, None, None

    def __torch_function__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        if func in (torch.topk, Tensor.topk):
            self.chosen = output.indices
        elif func is Tensor.__getitem__ and args[0] is self.scale:
            self.own = output
        elif self.own is not None and any(value is self.own for value in args):
            self.own, (weights, *_) = None, args
            none = weights.new_zeros(len(weights), len(self.scale))
            self.recorder.put_rows(f"{self.name}.routing", none.scatter(1, self.chosen, weights))
            self.recorder.of_experts["is_scaled"] = output
        return output

    @classmethod
    def attach(cls, recorder: "Recorder", module: nn.Module, name: str) -> list:
        """Hooks that run `module` under it."""
        return _hooks_under(lambda: cls(recorder, name, module.per_expert_scale), module)


class _SharedWeight(TorchFunctionMode):
    """The weight of a shared expert, a sigmoid, and what it gives times that."""

    def __init__(self, recorder: "Recorder", name: str):
        super().__init__()
        self.recorder, self.name, self.weight = recorder, name, None

    def __torch_function__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        if func in (torch.sigmoid, nn.functional.sigmoid, Tensor.sigmoid):
            self.weight = output
            self.recorder.put_rows(f"{self.name}.shared_weight", output)
        elif self.weight is not None and any(value is self.weight for value in args):
            self.recorder.put_rows(f"{self.name}.shared", output)
        return output

    @classmethod
    def attach(cls, recorder: "Recorder", module: nn.Module, name: str) -> list:
        """Hooks that run `module` under it."""
        return _hooks_under(lambda: cls(recorder, name), module)


class _WeighedInput(TorchFunctionMode):
    """Experts that compute all tokens, each times its weight, which is 0 where they are not chosen (Llama 4). What the chosen
    ones give is kept."""

    def __init__(self, recorder: "Recorder", name: str, chosen: int):
        super().__init__()
        self.recorder, self.name, self.chosen, self.summed = recorder, name, chosen, False

    def __torch_function__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        if func in _OwnAttention.PRODUCTS and output.dim() == 3:
            if "gate_up" in self.recorder.of_experts:
                self.recorder.of_experts |= {"act_mul": args[0], "down": output}
            else:
                gate, up = output.chunk(2, dim=-1)
                self.recorder.of_experts |= {"input": args[0], "gate_up": output, "gate": gate, "up": up}
        elif func is nn.functional.silu and "gate_up" in self.recorder.of_experts and output.dim() == 3:
            self.recorder.of_experts["act"] = output
        elif func is Tensor.sum and "down" in self.recorder.of_experts:
            self.put(output)
        return output

    def put(self, total: Tensor) -> None:
        """Everything, by token and slot, once all of it is there."""
        values = self.recorder.of_experts
        slots = values.pop("routing").topk(self.chosen).indices.sort(-1).values
        for point, every in values.items():
            rows = every.transpose(0, 1).gather(1, slots[..., None].expand(-1, -1, every.shape[-1]))
            self.recorder.put_rows(f"{self.name}.experts.{point}", rows)
        self.recorder.put_rows(f"{self.name}.experts", total)
        values.clear()

    @classmethod
    def attach(cls, recorder: "Recorder", module: nn.Module, name: str) -> list:
        """Hooks that run `module` under it."""
        return _hooks_under(lambda: cls(recorder, name, module.top_k), module)


class _Activated(TorchFunctionMode):
    """The activation function of an MLP that has no module for it (LFM2)."""

    def __init__(self, recorder: "Recorder", name: str):
        super().__init__()
        self.recorder, self.name = recorder, name

    def __torch_function__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        if func is nn.functional.silu:
            self.recorder.put(f"{self.name}.act_fn", output)
        return output

    @classmethod
    def attach(cls, recorder: "Recorder", module: nn.Module, name: str) -> list:
        """Hooks that run `module` under it."""
        return _hooks_under(lambda: cls(recorder, name), module)


class _ShortConvolution(TorchFunctionMode):
    """What LFM2's convolution is over, what it gives, and that times the gate behind it."""

    PRODUCTS = (torch.mul, Tensor.mul, Tensor.__mul__)

    def __init__(self, recorder: "Recorder", name: str):
        super().__init__()
        self.recorder, self.name, self.parts = recorder, name, ()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        if func in (torch.chunk, Tensor.chunk) and not self.parts:
            self.parts = output
            for point, part in zip("BCx", output):
                self.put(point, part)
        elif func in self.PRODUCTS and self.parts and args[0] is self.parts[0]:
            self.put("Bx", output)
        elif func in self.PRODUCTS and self.parts and args[0] is self.parts[1]:
            self.put("conv_out", args[1])
            self.put("y", output)
        return output

    def put(self, point: str, value: Tensor) -> None:
        """[batch, channel, token]."""
        self.recorder.put(f"{self.name}.{point}", value.transpose(1, 2))

    @classmethod
    def attach(cls, recorder: "Recorder", module: nn.Module, name: str) -> list:
        """Hooks that run `module` under it."""
        return _hooks_under(lambda: cls(recorder, name), module)


class _AttentionGate(TorchFunctionMode):
    """The weight of a gate of attention, a sigmoid (Qwen3-Next)."""

    def __init__(self, recorder: "Recorder", name: str):
        super().__init__()
        self.recorder, self.name = recorder, name

    def __torch_function__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        if func in (torch.sigmoid, nn.functional.sigmoid, Tensor.sigmoid):
            self.recorder.put(f"{self.name}.gate_weight", output)
        return output

    @classmethod
    def attach(cls, recorder: "Recorder", module: nn.Module, name: str) -> list:
        """Hooks that run `module` under it."""
        return [
            *_hooks_under(lambda: cls(recorder, name), module),
            module.o_proj.register_forward_pre_hook(recorder.input_hook(f"{name}.gated")),
        ]


class _DeltaNet(TorchFunctionMode):
    """What a gated delta net computes between its modules (Qwen3-Next, Qwen3.5), in the order in which its class does."""

    FUNCTIONS = (nn.functional.silu, nn.functional.gelu, nn.functional.relu, torch.sigmoid, torch.tanh)
    PRODUCTS = (torch.mul, Tensor.mul, Tensor.__mul__)

    def __init__(self, recorder: "Recorder", name: str, module: nn.Module):
        super().__init__()
        self.recorder, self.name, self.module = recorder, name, module
        self.is_woven = hasattr(module, "in_proj_qkvz")
        self.lengths: list[Tensor] = []  # inverse ones, of queries, keys, and what the norm is given
        self.decays, self.filters = None, False  # the convolution waits for its function

    def __torch_function__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        if func is torch.split and len(output) == 3:
            for point, part in zip(("query", "key", "value"), output):
                self.put(point, part)
        elif func is torch.split and self.is_woven:
            points = ("b", "a") if len(output) == 2 else ("", "", "", "z")
            for point, part in zip(points, output):
                if point:
                    self.put(point, part.flatten(2))
        elif func is torch.cat and len(args[0]) == 3:
            self.put("mixed_qkv", output)
        elif func is nn.functional.conv1d:
            self.filters = True
        elif func in self.FUNCTIONS and self.filters:
            self.filters = False
            tokens = self.recorder.steps[-1]
            self.put("conv1d", args[0][..., -tokens:].transpose(1, 2))
            self.put("conv_act", output[..., -tokens:].transpose(1, 2))
        elif func is Tensor.sigmoid:
            self.put("beta", output)
        elif func is nn.functional.softplus:
            self.decays = output
        elif func is torch.rsqrt:
            self.lengths.append(output)
        elif func in self.PRODUCTS:
            self.product(args, output)
        return output

    def product(self, args: tuple, output: Tensor) -> None:
        if args[1] is self.decays:
            self.put("g", output)
        elif len(self.lengths) in (1, 2) and args[1] is self.lengths[-1]:
            repeats = self.module.num_v_heads // self.module.num_k_heads
            self.put(("query_norm", "key_norm")[len(self.lengths) - 1], output[:, ::repeats].transpose(1, 2).flatten(2))
        elif args[0] is self.module.norm.weight:
            self.put("normed", self.by_head(output).transpose(1, 2))

    def put(self, point: str, value: Tensor) -> None:
        self.recorder.put(f"{self.name}.{point}", value)

    def by_head(self, value: Tensor) -> Tensor:
        """[batch * token * head, channel] as [batch, token, head, channel]."""
        return value.reshape(-1, self.recorder.steps[-1], self.module.num_v_heads, value.shape[-1])

    @classmethod
    def attach(cls, recorder: "Recorder", module: nn.Module, name: str) -> list:
        """Hooks that run `module` under it."""

        def given(norm: nn.Module, args: tuple) -> None:
            rows = args[0].reshape(-1, recorder.steps[-1], module.num_v_heads * args[0].shape[-1])
            recorder.put(f"{name}.core_attn_out", rows)

        return [
            *_hooks_under(lambda: cls(recorder, name, module), module),
            module.norm.register_forward_pre_hook(given),
            module.out_proj.register_forward_pre_hook(recorder.input_hook(f"{name}.norm")),
        ]


class _Mamba2(TorchFunctionMode):
    """What a selective state space computes between its modules (Bamba, Granite 4), in the order in which its class does."""

    PRODUCTS = (torch.mul, Tensor.mul, Tensor.__mul__)

    def __init__(self, recorder: "Recorder", name: str, module: nn.Module):
        super().__init__()
        self.recorder, self.name, self.module = recorder, name, module
        self.filters = False  # the convolution waits for its function
        self.steps = self.weight = None  # of time; of the gate
        self.decays = False
        self.norm_first = getattr(module.norm, "norm_before_gate", False)
        self.has_floor = (module.time_step_limit or (0.0,))[0] > 0.0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        tokens = self.recorder.steps[-1]
        if func is Tensor.split and len(output) == 3:
            for point, part in zip(("gate", "hidden_states_B_C", "dt"), output):
                self.put("gate_of_state" if point == "gate" and self.name.endswith(".mixer") else point, part)
        elif func is torch.split and len(output) == 3:
            for point, part in zip(("hidden_states", "B", "C"), output):
                self.put(point, part)
        elif func is nn.functional.conv1d:
            self.filters = True
        elif func is nn.functional.softplus:
            self.steps = output
            steps = output[:, None, :, 0] if self.is_recurrent() else output
            self.put("time_step", steps)
            if self.is_recurrent() and self.has_floor:
                self.put("time_step_clamped", steps)
        elif func is torch.clamp and self.steps is not None and self.has_floor:
            self.put("time_step_clamped", output)
        elif func in self.PRODUCTS and self.steps is not None and not self.decays and output.dim() == (4 if self.is_recurrent() else 3):
            self.decays = True
            self.put("dA", output[:, None, :, 0, 0] if self.is_recurrent() else output)
        elif func in self.PRODUCTS and args[1] is getattr(self.module, "mup_vector", self) and not torch.equal(output, args[0]):
            self.put("in_proj_scaled", output)
        elif func in self.PRODUCTS and self.weight is not None and args[1] is self.weight:
            self.product(args[0], output)
        elif func in _DeltaNet.FUNCTIONS and self.filters:
            self.filters = False
            self.put("conv1d", args[0][..., -tokens:].transpose(1, 2))
            self.put("conv_act", output[..., -tokens:].transpose(1, 2))
        elif func is nn.functional.silu:
            self.weight = output
        return output

    def product(self, given: Tensor, output: Tensor) -> None:
        """What is gated, and the result."""
        if isinstance(self.module.norm, nn.Identity):
            rows = lambda value: value.reshape(value.shape[0], -1, self.module.intermediate_size)
            self.put("scan_output", rows(given))
            self.put("gate_act", rows(self.weight))
        elif self.norm_first:
            self.put("norm", given)
        else:
            self.put("gated", output)

    def is_recurrent(self) -> bool:
        """Whether steps of time are [batch, head, channel], those of one token."""
        return self.recorder.steps[-1] == 1 and self.steps.shape[1] == self.module.num_heads

    def put(self, point: str, value: Tensor) -> None:
        self.recorder.put(f"{self.name}.{point}", value)

    @classmethod
    def attach(cls, recorder: "Recorder", module: nn.Module, name: str) -> list:
        """Hooks that run `module` under it."""
        return [
            *_hooks_under(lambda: cls(recorder, name, module), module),
            module.norm.register_forward_pre_hook(recorder.input_hook(f"{name}.scan_output")),
            module.out_proj.register_forward_pre_hook(recorder.input_hook(f"{name}.{cls.last(module.norm)}")),
        ]

    @staticmethod
    def last(norm: nn.Module) -> str:
        """What out_proj reads."""
        return "gated" if isinstance(norm, nn.Identity) or getattr(norm, "norm_before_gate", False) else "norm"


class _Abreast(TorchFunctionMode):
    """A state and attention together, each times a constant, of a block that adds them (Falcon-H1)."""

    def __init__(self, recorder: "Recorder", name: str):
        super().__init__()
        self.recorder, self.name, self.own = recorder, name, None

    def __torch_function__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        if func in _Mamba2.PRODUCTS and args[0] is self.recorder.attended:
            self.own = output
        elif func in _SharedSum.SUMS and self.own is not None and args[1] is self.own:
            self.recorder.put(f"{self.name}.mixed_sum", output)
        return output

    @classmethod
    def attach(cls, recorder: "Recorder", block: nn.Module, name: str) -> list:
        """Hooks that run a block under it, and that record what stands before its matrices where a constant multiplies it."""

        def attended(module: nn.Module, args: tuple, output: tuple) -> None:
            recorder.attended = output[0]

        state, attention, mlp = block.mamba, block.self_attn, block.feed_forward
        hooks = [attention.register_forward_hook(attended), *_hooks_under(lambda: cls(recorder, name), block)]
        inputs = (
            (state.ssm_in_multiplier, state.in_proj, "mamba.scaled_input"),
            (block.attention_in_multiplier, attention.q_proj, "self_attn.scaled_input"),
            (mlp.gate_multiplier, mlp.act_fn, "feed_forward.gate_scaled"),
        )
        hooks += [
            module.register_forward_pre_hook(recorder.input_hook(f"{name}.{point}")) for factor, module, point in inputs if factor != 1.0
        ]
        if mlp.down_multiplier != 1.0:
            hooks.append(mlp.register_forward_hook(recorder.output_hook(f"{name}.feed_forward.scaled")))
        if attention.key_multiplier != 1.0:
            hooks += _hooks_under(lambda: _ScaledKeys(recorder, f"{name}.self_attn", attention.key_multiplier), attention)
        return hooks


class _ScaledKeys(TorchFunctionMode):
    """Keys times a constant (Falcon-H1)."""

    def __init__(self, recorder: "Recorder", name: str, factor: float):
        super().__init__()
        self.recorder, self.name, self.factor = recorder, name, factor

    def __torch_function__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        if func in _Mamba2.PRODUCTS and args[1] is self.factor:
            self.recorder.put(f"{self.name}.k_scaled", output.transpose(1, 2).flatten(2))
        return output


class _SharedSum(TorchFunctionMode):
    """Experts and the one that every token has together, of a block that adds them itself (Granite 4)."""

    SUMS = (torch.add, Tensor.add, Tensor.__add__)

    def __init__(self, recorder: "Recorder", name: str):
        super().__init__()
        self.recorder, self.name = recorder, name

    def __torch_function__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        if func in self.SUMS and args[1] is self.recorder.newest:
            self.recorder.put(f"{self.name}.mlp_out", output)
        return output

    @classmethod
    def attach(cls, recorder: "Recorder", module: nn.Module, name: str) -> list:
        """Hooks that run `module` under it."""
        return _hooks_under(lambda: cls(recorder, name), module)


def _hooks_under(mode: Callable[[], TorchFunctionMode], module: nn.Module) -> list:
    """Hooks that run `module` under a mode of its own each time."""
    running = []

    def begin(module, args, kwargs):
        running.append(mode())
        running[-1].__enter__()

    def end(module, args, output):
        running.pop().__exit__(None, None, None)

    return [
        module.register_forward_pre_hook(begin, with_kwargs=True),
        module.register_forward_hook(end, always_call=True),
    ]


def _shared_expert(module: nn.Module) -> nn.Module | None:
    """The expert that every token has, of a block that adds it to those that are chosen."""
    names = ("shared_expert", "shared_experts", "shared_mlp")
    return next((expert for name in names if (expert := getattr(module, name, None)) is not None), None)


def _row_of(stack: Tensor, matrix: Tensor) -> int | None:
    """Which of the matrices of a stack this is a view of."""
    place = (matrix.data_ptr() - stack.data_ptr()) // (stack.stride(0) * stack.element_size())
    return place if 0 <= place < len(stack) and matrix.data_ptr() == stack[place].data_ptr() else None


def _stacks(experts: nn.Module) -> dict[str, Tensor]:
    """The matrices of all experts, by what they give: [expert, ...]."""
    if not _are_below(experts):
        first = {"gate_up": experts.gate_up_proj} if hasattr(experts, "gate_up_proj") else {"up": experts.up_proj}
        return first | {"down": experts.down_proj}
    parts = {"gate": experts.mlp.w1, "up": experts.mlp.v1, "down": experts.mlp.w2}
    return {point: matrix.unflatten(0, (experts.num_experts, -1)) for point, matrix in parts.items()}


def _are_below(module: nn.Module) -> bool:
    """Whether this is a module that holds the matrices of all experts below each other (DBRX)."""
    return all(isinstance(getattr(getattr(module, "mlp", None), name, None), nn.Parameter) for name in ("w1", "v1", "w2"))


def _experts(module: nn.Module, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
    """The model's own loop over experts; what goes on in it is recorded if `module` is being captured."""
    loop = type(module).forward.__wrapped__
    if module not in _recorders or not _has_experts(module):
        return loop(module, hidden_states, top_k_index, top_k_weights)
    values = _ExpertValues(module)
    function = getattr(module, "act_fn", None)
    is_module = isinstance(function, nn.Module)
    with function.register_forward_hook(values.activated) if is_module else nullcontext(), values:
        output = loop(module, hidden_states, top_k_index, top_k_weights)
    values.record(*_recorders[module], top_k_index, top_k_weights)
    return output


def _in_slots(rows: dict[int, Tensor], chosen: Tensor) -> Tensor:
    """The rows of each expert as [token, slot, channel]. `chosen` [token, place] has the experts by falling weight."""
    rising, (some, *_) = chosen.sort(-1).values, rows.values()
    slots = some.new_empty(*chosen.shape, some.shape[-1])
    for expert, values in rows.items():
        _, token = torch.where(chosen.T == expert)  # the loop takes its tokens in this order
        slots[token, (rising[token] == expert).int().argmax(-1)] = values
    return slots


ExpertsInterface.register(EXPERTS, _experts)


# --- recording ------------------------------------------------------------------------------------------------------


class Recorder:
    """Collects the activations of one model, forward by forward."""

    def __init__(self, model: nn.Module, only: Iterable[str], layers: Iterable[int] | None, save_as: torch.dtype | None):
        self.model, self.save_as = model, save_as
        self.config = model.config.get_text_config()
        self.only, self.layers = list(only), None if layers is None else set(layers)
        self.unmatched = {f"pattern {glob}" for glob in self.only} | {f"layer {n}" for n in self.layers or ()}
        # GPT-J's table of angles is a buffer.
        is_rotary = any(map(_is_rotary, model.modules()))
        self.rotates = is_rotary or getattr(self.config, "rotary_dim", None) is not None
        self.tensors: dict[str, Tensor] = {}
        self.ids: list[Tensor] = []
        self.positions: list[Tensor] = []
        self.mask: Tensor | None = None  # of all positions so far, where pads are among them
        self.steps: list[int] = []
        self._batch = 1
        self._last: dict[nn.Module, Tensor] = {}  # what the token embedding and the head gave in this forward
        self.newest: Tensor | None = None  # what the last module gave
        self.attended: Tensor | None = None  # what the last attention gave
        self._entering: dict[nn.Module, Tensor] = {}  # what each block was given
        self.of_experts: dict[str, Tensor] = {}  # what goes on in experts that compute all tokens
        self._queries: dict[str, Tensor] = {}  # what projections and norms of queries gave
        self._key = ""  # of what was recorded last
        self.stages = Stages(Path(model.config.name_or_path))
        # The base of a model with a head is called as in that.
        bare = model.get_output_embeddings() is None and not is_encoder(model.config)
        self.base = f"{model.base_model_prefix}." if bare else ""

    def attach(self) -> list:
        """Hooks every leaf module and every block; returns the handles."""
        handles = [
            self.model.register_forward_pre_hook(self._begin_forward, with_kwargs=True),
            self.model.register_forward_hook(self._end_forward),
        ]
        embedding = self.model.get_input_embeddings()
        base = next((path for path, module in self.model.named_modules() if module is embedding), "").rpartition(".")[0]
        for path, module in self.model.named_modules():
            parent, _, name = path.rpartition(".")
            _recorders[module] = self, path
            by_head = isinstance(getattr(module, "norms", None), nn.ModuleList)  # StableLM's norm of each head
            leaf = by_head or not any(module.children()) and not isinstance(module, (nn.Dropout, nn.Identity))
            block = name.isdigit() and any(module.children())
            # What runs once per expert, which `_experts` records, or once per head.
            inside = parent.endswith((".experts", ".experts.mlp", "_layernorm.norms")) or name == "moe_statics"
            leaf = leaf or "Router" in type(module).__name__ and not any(isinstance(child, nn.Linear) for child in module.children())
            # Its rows are heads of tokens; what reads it has them as tokens.
            leaf = leaf and not type(module).__name__.endswith("RMSNormGated")
            sums = _shared_expert(module) is not None
            # A pooler stands beside what embedders read.
            inside = inside or path.startswith("pooler.")
            if (leaf and not _is_rotary(module) and not inside) or block or _has_experts(module) or sums:
                named = path
                if name == "act_fn" and hasattr(self.model.get_submodule(parent), "per_layer_input_gate"):
                    named = f"{parent}.per_layer_act"  # not that of the MLP
                handles.append(module.register_forward_hook(self._output_hook(named)))
            if name in NAMED_INPUTS:
                input_name = f"{parent}.{NAMED_INPUTS[name]}".lstrip(".")
                handles.append(module.register_forward_pre_hook(self.input_hook(input_name)))
            if name == "proj" and hasattr(self.model.get_submodule(parent), "per_expert_scale"):
                handles.append(module.register_forward_pre_hook(self.input_hook(f"{parent}.scaled")))
            if name == "post_feedforward_layernorm" and hasattr(self.model.get_submodule(parent), "post_feedforward_layernorm_1"):
                handles.append(module.register_forward_pre_hook(self.input_hook(f"{parent}.mlp_out")))
            if hasattr(module, "per_expert_scale"):
                handles += _ExpertScale.attach(self, module, parent)
            if block and hasattr(module, "per_layer_input_gate"):
                hook = self._per_layer_hook(f"{path}.per_layer_input")
                handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))
            if name in BEHIND_ROPE:
                handles.append(module.register_forward_pre_hook(self.input_hook(f"{parent}.{BEHIND_ROPE[name]}")))
            if name == "qk_norm":
                handles.append(module.register_forward_pre_hook(self._qk_norm_hook(parent)))
            if split := _split(name, self.config):
                handles.append(module.register_forward_hook(self._parts_hook(parent, split)))
            clips = (getattr(owner, "clip_qkv", None) for owner in (self.config, module))
            if name in ("self_attn", "attn") and any(limit is not None for limit in clips):
                handles += _Clipped.attach(self, module, path)
            if _has_own_attention(module):
                handles += _OwnAttention.attach(self, module, path)
            if _are_below(module):
                handles += _ExpertsBelow.attach(self, module, path)
            if type(module).__name__ == "Llama4TextMoe":
                handles += _WeighedInput.attach(self, module, path)
            if name == "q_proj" and (gate := _split_gate(self.model.get_submodule(parent), self.config)):
                handles.append(module.register_forward_hook(self._parts_hook(parent, gate)))
                handles += _AttentionGate.attach(self, self.model.get_submodule(parent), parent)
            if hasattr(module, "A_log") and hasattr(module, "num_v_heads"):
                handles += _DeltaNet.attach(self, module, path)
            if hasattr(module, "A_log") and hasattr(module, "ssm_state_size"):
                handles += _Mamba2.attach(self, module, path)
            if block and hasattr(module, "ssm_out_multiplier"):
                handles += _Abreast.attach(self, module, path)
            if block and sums and getattr(module, "block_sparse_moe", None) is not None:
                handles += _SharedSum.attach(self, module, path)
            if isinstance(getattr(module, "conv", None), nn.Conv1d):
                handles += _ShortConvolution.attach(self, module, path)
            if sums and hasattr(module, "shared_expert_gate"):
                handles += _SharedWeight.attach(self, module, path)
            if block and re.fullmatch(rf"{re.escape(base)}\.\w+\.0", path):
                hook = self._embeddings_hook(f"{base}.embeddings", embedding)
                handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))
            if all(hasattr(module, matrix) for matrix in ("w1", "w2", "w3")):
                handles += _Activated.attach(self, module, path)
            gated = ("gate_proj", "gate_up_proj", "w1")
            if name == "LayerNorm":
                handles.append(module.register_forward_pre_hook(self.input_hook(f"{parent}.sum")))
            if (name == "Wo" and parent.endswith(".mlp")) or name == "output_linear":
                handles.append(module.register_forward_pre_hook(self.input_hook(f"{parent}.act_mul")))
            if name in ("down_proj", "w2") and any(hasattr(self.model.get_submodule(parent), gate) for gate in gated):
                handles.append(module.register_forward_pre_hook(self.input_hook(f"{parent}.act_mul")))
            if block and getattr(module, "do_layer_norm_before", True) is False:  # OPT 350M
                for norm, point in ((module.self_attn_layer_norm, "attn_sum"), (module.final_layer_norm, "mlp_sum")):
                    handles.append(norm.register_forward_pre_hook(self.input_hook(f"{path}.{point}")))
            elif block and (norm := _norm_before_mlp(module)):
                handles.append(module.register_forward_pre_hook(self._entering_hook, with_kwargs=True))
                handles.append(norm.register_forward_pre_hook(self._mid_hook(f"{path}.resid_mid", module)))
        return handles

    def _begin_forward(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        given = signature(module.forward).bind_partial(*args, **kwargs).arguments
        given |= given.pop("kwargs", {})
        ids, cache, positions = (given.get(name) for name in ("input_ids", "past_key_values", "position_ids"))
        if isinstance(cache, StaticCache):
            raise CaptureError("a static cache hides which keys are new; use the default one")
        self._batch, tokens = (given["inputs_embeds"] if ids is None else ids).shape[:2]
        embeddings = getattr(module, "embeddings", None)
        if positions is None and ids is not None and hasattr(embeddings, "create_position_ids_from_input_ids"):
            positions = (ids != embeddings.padding_idx).cumsum(1) - 1  # RoBERTa counts no pads
            positions = positions.clamp(min=0)
        if positions is None:
            past = cache.get_seq_length() if cache is not None else 0
            positions = torch.arange(past, past + tokens)[None]
        if ids is not None:
            self.ids.append(ids.cpu())
        self.positions.append(positions.cpu())
        mask = given.get("attention_mask")
        self.mask = mask.cpu() if isinstance(mask, Tensor) and mask.dim() == 2 else self.mask
        self.steps.append(tokens)

    def _end_forward(self, module: nn.Module, args: tuple, output: object) -> None:
        logits, head = getattr(output, "logits", None), module.get_output_embeddings()
        if logits is not None and logits is not self._last.get(head):
            self.put("logits", logits)
        rows = getattr(output, "last_hidden_state", None)
        base, self.base = self.base, ""
        for name, row in self.stages.of(rows, self.mask) if rows is not None else ():
            self.put(name, row[:, None])
        self.base = base
        self._last.clear()
        self._entering.clear()
        self._queries.clear()

    def _output_hook(self, path: str):
        def hook(module, args, output):
            if type(module).__name__ == "Llama4Router":  # it gives weights first, then logits
                self.of_experts = {"routing": output[0]}
                self.put_rows(f"{path.rpartition('.')[0]}.routing", output[0])
                output = output[1]
            output = output[0] if isinstance(output, tuple) else output
            if not isinstance(output, Tensor):
                return
            if output is self.newest and path.rpartition(".")[2].isdigit() and self._wants(path, path):
                self.tensors.pop(self._key, None)  # a block that ends in its last module has the name of the block
            self.newest = output
            own_path = path
            if path.endswith(".qk_norm"):  # one module for both
                own_path = f"{path[:-7]}{'k' if f'{path[:-7]}q_norm' in self._queries else 'q'}_norm"
                self._queries.setdefault(own_path, output)
            if path.endswith(".kv_b_proj"):  # it makes the keys and values of all positions again
                output = output.reshape(self._batch, -1, output.shape[-1])[:, -self.steps[-1] :]
            of_projection = path.endswith(".q_norm") and self._is_projection(path.rpartition(".")[0], args[0])
            if of_projection or path.endswith((".q_proj", ".query_layernorm")):
                self._queries[path] = output
            if module in (self.model.get_input_embeddings(), self.model.get_output_embeddings()):
                self._last[module] = output
            behind = path.rpartition(".")[2] in BEHIND_ROPE
            self._put_stream(own_path, self._heads_first(output) if output.dim() == 4 and not behind else output)

        return hook

    def _embeddings_hook(self, name: str, embedding: nn.Module):
        def hook(block, args, kwargs):
            entering = args[0] if args else kwargs["hidden_states"]
            if entering is not self._last.get(embedding) and entering is not self.newest:
                self.put(name, entering)

        return hook

    def input_hook(self, path: str):
        def hook(module, args):
            if args:
                self._put_stream(path, args[0].flatten(2) if args[0].dim() == 4 and path.endswith("scaled") else args[0])

        return hook

    def output_hook(self, path: str):
        return lambda module, args, output: self._put_stream(path, output)

    def _per_layer_hook(self, path: str):
        def hook(block, args, kwargs):
            given = args[1] if len(args) > 1 else kwargs.get("per_layer_input")
            if given is not None:
                self.put(path, given)

        return hook

    def _entering_hook(self, block: nn.Module, args: tuple, kwargs: dict) -> None:
        self._entering[block] = args[0] if args else kwargs["hidden_states"]

    def _mid_hook(self, path: str, block: nn.Module):
        """What the MLP's half of a block reads, where that is not what the block was given: not in parallel ones."""
        return lambda module, args: None if args[0] is self._entering[block] else self._put_stream(path, args[0])

    def _qk_norm_hook(self, parent: str):
        """What one norm of queries and of keys is given, queries first: both rotated."""
        return lambda module, args: self.put(
            f"{parent}.{'k' if f'{parent}.q_norm' in self._queries else 'q'}_rope", self._heads_first(args[0])
        )

    def _parts_hook(self, parent: str, split: Callable[[Tensor], dict[str, Tensor]]):
        def hook(module, args, output):
            for point, part in split(output).items():
                part = part.reshape(self._batch, -1, part.shape[-1])[:, -self.steps[-1] :] if point in ("k_nope", "v") else part
                self._put_stream(f"{parent}.{point}", part)

        return hook

    def put_attention(self, name: str, query: Tensor, key: Tensor, scores: Tensor, probs: Tensor, repeats: int) -> None:
        """Records what attention computes of [batch, head, token, dim]; keys are those of all positions, each head so many
        times."""
        if _is_latent(self.model.config):
            own, new = self.model.config.qk_nope_head_dim, key[:, :, -query.shape[2] :]
            self.put(f"{name}.q_rope", query[..., own:])
            self.put(f"{name}.k_rope", new[:, :1, :, own:])
            self.put(f"{name}.queries", query)
            self.put(f"{name}.keys", new)
        elif not getattr(self.model.get_submodule(name), "use_rope", True):
            if not self._is_projection(name, query):
                self.put(f"{name}.q_tempered", query.transpose(1, 2).flatten(2))
        elif self.rotates and not self._is_projection(name, query):
            self.put(f"{name}.q_rope", query)
            if not getattr(self.model.get_submodule(name), "is_kv_shared_layer", False):  # else they are another layer's
                self.put(f"{name}.k_rope", key[:, ::repeats, -query.shape[2] :])
        self.put(f"{name}.scores", scores)
        self.put(f"{name}.probs", probs)

    def _is_projection(self, name: str, query: Tensor) -> bool:
        """Whether queries are what their projection gave, or the last norm: some layers rotate nothing, or before it."""
        given = (self._queries.get(f"{name}.{point}") for point in ("q_proj", "q_norm", "query_layernorm"))
        return any(one is not None and one.untyped_storage().data_ptr() == query.untyped_storage().data_ptr() for one in given)

    def heads_apart(self, value: Tensor) -> Tensor:
        """[batch * head, token, dim] as [batch, head, token, dim]."""
        return value.unflatten(0, (self._batch, -1)) if value.dim() == 3 else value

    def _heads_first(self, value: Tensor) -> Tensor:
        """q_norm and k_norm: [batch, token, head, dim] in some models, [batch, head, token, dim] in others. The sizes
        tell, or, if there are as many heads as tokens, the strides: q_proj wrote token by token."""
        tokens = self.steps[-1]
        by_token = value.shape[1] == tokens and (value.shape[2] != tokens or value.stride(1) > value.stride(2))
        return value.transpose(1, 2) if by_token else value

    def _put_stream(self, name: str, value: Tensor) -> None:
        """Records what may have the tokens of all sequences in one axis: a router sees no sequences, nor does OPT's MLP."""
        rows = value.dim() == 2 and len(value) == self._batch * self.steps[-1]
        self.put_rows(name, value) if rows else self.put(name, value)

    def put_rows(self, name: str, value: Tensor) -> None:
        """Records a value that has the tokens of all sequences of the batch in one axis."""
        self.put(name, value.unflatten(0, (self._batch, -1)))

    def put(self, name: str, value: Tensor) -> None:
        """Records a copy of `value`. A module that runs again within the same forward gets `name~2`, `name~3` ..."""
        step = f"@{len(self.steps) - 1}" if len(self.steps) > 1 else ""
        name = self.base + name
        if not self._wants(name, name + step):
            return
        key, again = name + step, 1
        while key in self.tensors:
            again += 1
            key = f"{name}~{again}{step}"
        value = value.detach().to("cpu", self.save_as or value.dtype, copy=True, memory_format=torch.contiguous_format)
        self._key = key
        self.tensors[key] = value[0] if value.dim() > 2 and value.shape[0] == 1 else value

    def _wants(self, name: str, key: str) -> bool:
        globs = [glob for glob in self.only if fnmatchcase(key, glob) or fnmatchcase(name, glob)]
        layer = re.search(r"\.(\d+)(?:\.|$)", name)
        self.unmatched -= {f"pattern {glob}" for glob in globs} | {f"layer {layer[1]}" if layer else ""}
        return bool(globs or not self.only) and (self.layers is None or not layer or int(layer[1]) in self.layers)

    def metadata(self) -> dict[str, str]:
        def joined(parts: list[Tensor]) -> str:
            rows = torch.cat(parts, dim=-1).tolist()
            return json.dumps(rows[0] if len(rows) == 1 else rows)

        source = self.model.config.name_or_path or type(self.model).__name__
        ids = {"input_ids": joined(self.ids)} if len(self.ids) == len(self.steps) else {}
        mask = {} if self.mask is None else {"attention_mask": joined([self.mask.long()])}
        return ids | mask | {
            "positions": joined(self.positions),
            "steps": json.dumps(self.steps),
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "saved_as": str(self.save_as or "as computed").removeprefix("torch."),
            "framework": f"torch {torch.__version__.split('+')[0]}, transformers {transformers.__version__}",
            "model": Path(source).resolve().name if Path(source).is_dir() else source,
        }

    def save(self, path: Path) -> None:
        """Writes beside `path` and renames, so that a reader never sees half a file."""
        if not self.steps:
            raise CaptureError("the model was not called, so there is nothing to write")
        if self.unmatched:
            raise CaptureError(f"no activation matches {', '.join(sorted(self.unmatched))}")
        if not self.tensors:
            raise CaptureError("no activation matches both a pattern and a layer")
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            save_file(self.tensors, part, self.metadata())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _is_rotary(module: nn.Module) -> bool:
    """Whether this is a table of angles, whatever it is called."""
    return "RotaryEmbedding" in type(module).__name__


def _norm_before_mlp(block: nn.Module) -> nn.Module | None:
    """Its input is resid_mid: the MLP's own where nothing is normed before it. In models that norm after each half,
    post_attention_layernorm is another thing."""
    if hasattr(block, "norm_attn_norm"):
        return block.norm_attn_norm.norm_2
    if hasattr(block, "pre_feedforward_layernorm"):
        return block.pre_feedforward_layernorm
    if hasattr(block, "post_feedforward_layernorm"):
        return block.mlp
    names = ("feedforward_layernorm", "post_attention_layernorm", "pre_ff_layernorm", "ln_2", "final_layer_norm", "mlp_norm", "ffn_norm")
    return next((norm for name in names if (norm := getattr(block, name, None))), None)


def key_heads(config: PreTrainedConfig) -> int:
    """Heads of keys. Falcon's older classes have one, or as many as queries."""
    if config.model_type == "falcon" and not config.new_decoder_architecture:
        return 1 if config.multi_query else config.num_attention_heads
    names = ("num_key_value_heads", "num_kv_heads")
    return next((count for name in names if (count := getattr(config, name, None))), config.num_attention_heads)


def _is_latent(config: PreTrainedConfig) -> bool:
    """Whether keys and values of all heads are made of one narrow row."""
    return getattr(config, "kv_lora_rank", None) is not None


def _split_latent(name: str, config: PreTrainedConfig) -> Callable[[Tensor], dict[str, Tensor]] | None:
    """The same in latent attention: the rotated part of each head, the narrow row of keys and values, and what is made of it."""
    own, turned = config.qk_nope_head_dim, config.qk_rope_head_dim

    def parts(points: Sequence[str], sizes: Sequence[int]):
        def split(output: Tensor) -> dict[str, Tensor]:
            apart = output.unflatten(-1, (-1, sum(sizes))).split(list(sizes), -1)
            return {point: part.flatten(-2) for point, part in zip(points, apart) if point}

        return split

    if name in ("q_proj", "q_b_proj"):
        return parts(("", "q_rope_input"), (own, turned))
    if name == "kv_a_proj_with_mqa":
        return parts(("kv_latent", "k_rope_input"), (config.kv_lora_rank, turned))
    return parts(("k_nope", "v"), (own, config.v_head_dim)) if name == "kv_b_proj" else None


def _split(name: str, config: PreTrainedConfig) -> Callable[[Tensor], dict[str, Tensor]] | None:
    """How the columns of a module that gives several things at once are told apart, by the name of the module."""
    if _is_latent(config) and (split := _split_latent(name, config)):
        return split
    if name in ("gate_up_proj", "Wi", "input_linear"):
        return lambda output: dict(zip(("gate_proj", "up_proj"), output.chunk(2, -1)))
    if name not in ("qkv_proj", "query_key_value", "Wqkv"):
        return None
    keys = key_heads(config)
    queries = config.num_attention_heads // keys  # of each key head
    blocks = name != "query_key_value"  # else the queries of a key head, its key and its value, then those of the next

    def split(output: Tensor) -> dict[str, Tensor]:
        sizes = [queries * keys, keys, keys] if blocks else [queries, 1, 1]
        heads = output.unflatten(-1, (1 if blocks else keys, sum(sizes), -1)).split(sizes, -2)
        return {point: part.flatten(-3) for point, part in zip("qkv", heads)}

    return split


def _split_gate(attention: nn.Module, config: PreTrainedConfig) -> Callable[[Tensor], dict[str, Tensor]] | None:
    """How queries are told from the gate that q_proj gives beside those of each head."""
    given, taken = (getattr(getattr(attention, name, None), size, 0) for name, size in (("q_proj", "out_features"), ("o_proj", "in_features")))
    if not taken or given != 2 * taken:
        return None
    heads = config.num_attention_heads
    width = taken // heads

    def split(output: Tensor) -> dict[str, Tensor]:
        parts = output.unflatten(-1, (heads, 2 * width)).chunk(2, dim=-1)
        return {point: part.flatten(-2) for point, part in zip(("q", "gate"), parts)}

    return split


def _has_experts(module: nn.Module) -> bool:
    """Whether this is a module that holds the matrices of all experts as stacks, gate and up in one where there is a gate."""
    has = lambda *names: all(isinstance(getattr(module, name, None), nn.Parameter) for name in names)
    stacks = has("gate_up_proj", "down_proj") or has("up_proj", "down_proj")  # Nemotron-H's have no gate
    has_function = callable(getattr(module, "act_fn", None)) or hasattr(module, "_apply_gate")
    return stacks and has_function and not type(module).__name__.startswith("Llama4")  # see _WeighedInput


@contextmanager
def capture(
    model: transformers.PreTrainedModel,
    path: str | os.PathLike,
    *,
    only: Iterable[str] = (),
    layers: Iterable[int] | None = None,
    save_as: torch.dtype | None = None,
) -> Iterator[Recorder]:
    """Records every forward of `model` made inside the `with`, and writes them to `path` when it ends well.

    The model computes with eager attention, and one expert after the other, meanwhile; whatever it had before is
    restored afterwards. `only` takes globs over names (with or without the step suffix), `layers` keeps the blocks
    named (and what is in no block).
    """
    recorder = Recorder(model, only, layers, save_as)
    before, experts_before = model.config._attn_implementation, model.get_experts_implementation()
    model.set_attn_implementation(ATTENTION)
    model.set_experts_implementation(EXPERTS)
    if model.config._attn_implementation != ATTENTION and not any(map(_has_own_attention, model.modules())):
        warnings.warn(f"{type(model).__name__} has its own attention code: no q_rope, k_rope, scores, probs, context")
    handles = recorder.attach()
    try:
        yield recorder
    finally:
        for handle in handles:
            handle.remove()
        for module in model.modules():
            _recorders.pop(module, None)
        model.set_attn_implementation(before)
        model.set_experts_implementation(experts_before)
    recorder.save(Path(path))


# --- running --------------------------------------------------------------------------------------------------------


def placed(model: nn.Module, first: int, count: int) -> dict[str, Tensor]:
    """The positions of a forward, for classes that count from 0 in each where they are not told: `generate` tells them."""
    if model.config.model_type not in COUNTING_ANEW:
        return {}
    return {"position_ids": torch.arange(first, first + count, device=model.device)[None]}


@torch.inference_mode()
def run_steps(
    model: nn.Module, ids: Sequence[int], decode: int = 0, forced: Sequence[int] = ()
) -> tuple[list[int], list[Tensor]]:
    """Prefills `ids`, then makes `decode` greedy steps with the cache; before these, one step for each token of `forced`.
    Returns all ids fed, and each forward's logits; of a model without a head the rows of its last layer."""
    fed, new, cache, logits = list(ids), list(ids), None, []
    steps = len(forced) + decode
    if model.get_output_embeddings() is None:
        if steps:
            raise CaptureError(f"{type(model).__name__} has no head that predicts a next token: it is captured without decode steps")
        return fed, [model(input_ids=torch.tensor([new], device=model.device)).last_hidden_state[0]]
    for step in range(steps + 1):
        positions = placed(model, len(fed) - len(new), len(new))
        out = model(input_ids=torch.tensor([new], device=model.device), past_key_values=cache, use_cache=True, **positions)
        logits.append(out.logits[0])
        cache = getattr(out, "past_key_values", None)
        if step < steps:
            if cache is None:
                raise CaptureError(f"{type(model).__name__} returns no key/value cache, so it cannot decode")
            new = [forced[step] if step < len(forced) else int(out.logits[0, -1].argmax())]
            fed += new
    return fed, logits


def greedy(model: nn.Module, ids: Sequence[int], count: int) -> list[int]:
    """The first `count` greedy tokens after `ids`, end-of-sequence ignored."""
    fed, logits = run_steps(model, ids, count - 1)
    return fed[len(ids) :] + [int(logits[-1][-1].argmax())]


def capture_run(
    model: transformers.PreTrainedModel,
    ids: Sequence[int],
    path: str | os.PathLike,
    decode: int = 0,
    forced: Sequence[int] = (),
    **options,
) -> Recorder:
    """Captures a prefill, a step for each token of `forced`, and `decode` greedy steps; fails unless the same run without
    hooks gives the same bits."""
    model.set_attn_implementation("eager")
    model.set_experts_implementation("eager")
    _, plain = run_steps(model, ids, decode, forced)
    with capture(model, path, **options) as recorder:
        _, hooked = run_steps(model, ids, decode, forced)
        for step, (a, b) in enumerate(zip(plain, hooked)):
            if not torch.equal(a.view(torch.uint8), b.view(torch.uint8)):
                raise CaptureError(f"logits of forward {step} differ between the plain and the recorded run")
    return recorder


def class_of(config: PreTrainedConfig, folder: Path) -> type:
    """The class that loads a language model, or one of several parts whose language model is fed alone; of an encoder or an
    embedder that without a head."""
    if is_headless(config, folder):
        return AutoModel
    # Of Qwen3.5 there is a class for the language model alone as well, which reads the same files under other names.
    is_language_model = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING and not hasattr(config, "vision_config")
    return AutoModelForCausalLM if is_language_model else AutoModelForImageTextToText


def load_model(path: str, dtype: str = "auto", device: str = "cpu") -> transformers.PreTrainedModel:
    """A model directory, or a repository id in the local Hugging Face cache; never the network."""
    transformers.utils.logging.disable_progress_bar()
    try:
        config = AutoConfig.from_pretrained(path, local_files_only=True)
        model = class_of(config, Path(path)).from_pretrained(
            path,
            dtype=DTYPES.get(dtype, dtype),
            attn_implementation="eager",
            experts_implementation="eager",
            local_files_only=True,
            **without_pooler(config, Path(path)),
        )
        return model.to(device).eval()
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CaptureError(f"cannot load {path}: {error}") from error


def read_ids(
    path: str, *, prompt: str | None = None, ids: str | None = None, chat: bool = False, option: str = "--ids"
) -> list[int]:
    """The tokens to feed, from text or from a comma-separated list, checked against the model's vocabulary."""
    if Path(path).is_dir() and not Path(path, "config.json").is_file():
        raise CaptureError(f"{path} has no config.json")
    try:
        vocab = AutoConfig.from_pretrained(path, local_files_only=True).get_text_config().vocab_size
    except (OSError, ValueError) as error:
        what = f"cannot be read: {error}" if Path(path).exists() else "is no directory, nor a repository in the cache"
        raise CaptureError(f"{path} {what}") from error
    if ids is not None:
        if not re.fullmatch(r"\s*\d+\s*(,\s*\d+\s*)*", ids):
            raise CaptureError(f"{option} wants numbers with commas between them, not {ids!r}")
        tokens = [int(part) for part in ids.split(",")]
    else:
        tokens = _tokenize(path, prompt or "", chat)
    if not tokens:
        raise CaptureError("the prompt has no tokens")
    if beyond := [token for token in tokens if token >= vocab]:
        raise CaptureError(f"token {beyond[0]} is outside the vocabulary (0 to {vocab - 1})")
    return tokens


def _tokenize(path: str, prompt: str, chat: bool) -> list[int]:
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    except Exception as error:  # transformers raises anything from OSError to AttributeError here
        reason = str(error).partition("\n")[0]
        raise CaptureError(f"{path} has no usable tokenizer, give --ids ({reason})") from error
    if not chat:
        return tokenizer(prompt).input_ids
    if not tokenizer.chat_template:
        raise CaptureError(f"the tokenizer of {path} has no chat template")
    message = [{"role": "user", "content": prompt}]
    return tokenizer.apply_chat_template(message, add_generation_prompt=True, return_dict=True)["input_ids"]


# --- command line ---------------------------------------------------------------------------------------------------


def parse_layers(text: str) -> list[int]:
    """`0,3,5-7` is 0 3 5 6 7."""
    layers: list[int] = []
    for part in text.split(","):
        if not (found := re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)):
            raise argparse.ArgumentTypeError(f"{text!r} is not like 0,3,5-7")
        layers += range(int(found[1]), int(found[2] or found[1]) + 1)
    return layers


def parse_count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of steps")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write every activation of a PyTorch forward pass to a .safetensors file.")
    parser.add_argument("model", metavar="MODEL", help="model directory, or repository id in the local Hugging Face cache")
    parser.add_argument("-o", "--output", metavar="OUT.safetensors", type=Path, required=True)
    tokens = parser.add_mutually_exclusive_group(required=True)
    tokens.add_argument("--prompt", help="text to feed")
    tokens.add_argument("--ids", help="token ids to feed: 1,2,3")
    parser.add_argument("--chat", action="store_true", help="put --prompt into the model's chat template")
    parser.add_argument("--decode", metavar="N", type=parse_count, default=0, help="greedy steps after the prompt")
    parser.add_argument("--force-ids", metavar="IDS", help="tokens to feed one by one after the prompt: 1,2,3")
    parser.add_argument("--dtype", choices=["auto", *DTYPES], default="auto", help="compute in (default: as stored)")
    parser.add_argument("--as", dest="save_as", choices=DTYPES, help="save tensors as (default: as computed)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", metavar="GLOB", action="append", default=[], help="save matching names; repeatable")
    parser.add_argument("--layers", type=parse_layers, help="save only these blocks: 0,3,5-7")
    args = parser.parse_args(argv)
    if args.chat and args.ids is not None:
        parser.error("--chat needs --prompt")
    try:
        if not args.output.absolute().parent.is_dir():
            raise CaptureError(f"no folder {args.output.absolute().parent} to write into")
        ids = read_ids(args.model, prompt=args.prompt, ids=args.ids, chat=args.chat)
        forced = read_ids(args.model, ids=args.force_ids, option="--force-ids") if args.force_ids is not None else []
        model = load_model(args.model, args.dtype, args.device)
        save_as = DTYPES.get(args.save_as)
        recorder = capture_run(
            model, ids, args.output, args.decode, forced, only=args.only, layers=args.layers, save_as=save_as
        )
    except (CaptureError, OSError) as error:
        print(f"capture.py: {error}", file=sys.stderr)
        return 2
    megabytes = args.output.stat().st_size / 1e6
    print(f"{args.output}: {len(recorder.tensors)} tensors, {megabytes:.1f} MB, forwards of {recorder.steps} tokens;")
    print(f"{'logits' if model.get_output_embeddings() else 'the last rows'} equal the run without hooks, bit for bit")
    return 0


if __name__ == "__main__":
    sys.exit(main())
