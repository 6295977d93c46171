#!/usr/bin/env python3
"""Patch activations in PyTorch with hooks, and write the logits that come of it: what layerstep's patches must give.

    python patching.py                 # write patched/NAME.safetensors for every model
    python patching.py --check         # make them again and compare

A file holds the last token's logits of each case after the 13 tokens of the tiny model's prompt, and, under `NAME@1`,
after one more token, which is fed with the cache. tests/debugger/patch.rs has the commands that stand for the cases.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import eager_mask

from capture import load_model
from make_tiny import PROMPT, TINY

PATCHED = Path(__file__).resolve().parent / "patched"
DENSE = ("llama", "llama_bias", "mistral", "qwen2", "qwen3")  # whose layers have the same parts
SPARSE = ("qwen3_moe",)
MODELS = (*DENSE, *SPARSE)
ATTENTION = "layerstep_patched"
INSIDE = ("q_rope", "scores", "probs")  # what attention has no module for

Change = Callable[[Tensor], object]  # in place: [token, channel], or with heads as PyTorch has them there
Choice = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]  # logits, weights and experts of each token, to the latter


@dataclass(frozen=True)
class Edit:
    """A change to what a module gives; `:in` changes what it is given, `:choice` the weights and experts of a router, from
    its logits. In every forward, or in one."""

    where: str
    change: Change | Choice
    forward: int | None = None


@dataclass(frozen=True)
class Case:
    edits: list[Edit]
    forwards: int = 1
    models: tuple[str, ...] = DENSE
    token: int | None = None  # fed in the place of token 8


def cases(model: PreTrainedModel, clean: dict[str, Tensor]) -> dict[str, Case]:
    """All of them, by name. `clean` is the model's dump."""
    config = model.config
    d = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    block = "model.layers.{}".format

    def put(x: Tensor) -> None:
        x[8] = clean["model.layers.1"][8]

    def mean(x: Tensor) -> None:
        x[:] = x.mean(0)

    def without(expert: int) -> Choice:
        return lambda logits, weights, chosen: (weights * (chosen != expert), chosen)

    def forced(expert: int, tokens: slice) -> Choice:
        def choice(logits: Tensor, weights: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
            chosen = chosen.clone()  # by falling weight
            here = chosen[tokens]
            here[:, -1] = torch.where((here == expert).any(-1), here[:, -1], expert)
            shares = logits.float().softmax(-1).gather(-1, chosen)
            return shares / shares.sum(-1, keepdim=True) if config.norm_topk_prob else shares, chosen

        return choice

    return {
        "head": Case([Edit(f"{block(1)}.self_attn.o_proj:in", lambda x: x[:, 2 * d : 3 * d].zero_())], forwards=2),
        "heads": Case(
            [
                Edit(f"{block(0)}.self_attn.o_proj:in", lambda x: x[:, : 2 * d].zero_(), 0),
                Edit(f"{block(2)}.self_attn.o_proj:in", lambda x: x[:, 3 * d : 4 * d].zero_(), 0),
            ]
        ),
        "mlp": Case([Edit(f"{block(0)}.mlp", lambda x: x.zero_())], forwards=2),
        "mlp_mean": Case([Edit(f"{block(2)}.mlp", mean)]),
        "mlp_mean_of_some": Case([Edit(f"{block(1)}.mlp", lambda x: mean(x[7:11]))]),
        "channel": Case([Edit(block(1), lambda x: x[:, 7].zero_())], forwards=2),
        "set": Case([Edit(f"{block(0)}.mlp.up_proj", lambda x: x[-1, :8].fill_(1.5))]),
        "scale": Case([Edit(f"{block(1)}.mlp.down_proj:in", lambda x: x.mul_(-2.0))]),
        "add": Case([Edit(block(0), lambda x: x[3].add_(1.0), 0)], forwards=2),
        # What is added to attention's output is added to the residual stream behind it.
        "resid_mid": Case([Edit(f"{block(1)}.self_attn.o_proj", lambda x: x[6:10].add_(0.25))]),
        "key": Case([Edit(f"{block(1)}.self_attn.k_proj", lambda x: x[9].zero_(), 0)], forwards=2),
        "value": Case([Edit(f"{block(0)}.self_attn.v_proj", lambda x: x[3, d : 2 * d].mul_(4.0), 0)], forwards=2),
        "values_of_all": Case(
            [Edit(f"{block(n)}.self_attn.v_proj", lambda x: x[10].zero_(), 0) for n in range(3)], forwards=2
        ),
        "later": Case([Edit(f"{block(1)}.mlp", lambda x: x.zero_(), 1)], forwards=2),
        "queries": Case([Edit(f"{block(1)}.self_attn:q_rope", lambda x: x[1].zero_())]),
        "scores": Case([Edit(f"{block(1)}.self_attn:scores", lambda x: x[:, 4:, 2].fill_(-torch.inf))]),
        "probs": Case([Edit(f"{block(2)}.self_attn:probs", lambda x: x[:2].mul_(0.5))]),
        "embedding": Case([Edit("model.embed_tokens", lambda x: x[5].mul_(0.5))]),
        "norm": Case([Edit("model.norm", lambda x: x[-1, :10].neg_())]),
        "logits": Case([Edit("lm_head", lambda x: x[:, 5].add_(3.0))]),
        "two": Case([Edit(f"{block(0)}.mlp", lambda x: x.zero_()), Edit(block(1), lambda x: x[8:10].mul_(2.0))]),
        # The classic: another token is fed, and the right one's residual stream put back.
        "other_token": Case([], token=7),
        "put": Case([Edit(block(1), put)], token=7),
        "q_norm": Case([Edit(f"{block(1)}.self_attn.q_norm", lambda x: x[5:, 1].zero_())], models=("qwen3",)),
        "expert": Case([Edit(f"{block(0)}.mlp.gate:choice", without(3))], forwards=2, models=SPARSE),
        "forced": Case([Edit(f"{block(0)}.mlp.gate:choice", forced(1, slice(5, 13)), 0)], forwards=2, models=SPARSE),
        "k_norm": Case([Edit(f"{block(0)}.self_attn.k_norm", lambda x: x[2, :, 4:6].mul_(3.0))], models=("qwen3",)),
    }


# --- attention ------------------------------------------------------------------------------------------------------

_editing: dict[nn.Module, dict[str, Callable[[Tensor], Tensor]]] = {}  # attention modules, and what is edited in them


class _Softmax(TorchFunctionMode):
    """Edits what every softmax is given, and what it gives."""

    def __init__(self, edits: dict[str, Callable[[Tensor], Tensor]]):
        super().__init__()
        self.edits = edits

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is not nn.functional.softmax:
            return func(*args, **(kwargs or {}))
        return self.edits["probs"](func(self.edits["scores"](args[0]), *args[1:], **(kwargs or {})))


def _attention(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs):
    """The model's own eager attention, edited."""
    eager = sys.modules[type(module).__module__].eager_attention_forward
    if module not in _editing:
        return eager(module, query, key, value, attention_mask, **kwargs)
    edits = _editing[module]
    with _Softmax(edits):
        return eager(module, edits["q_rope"](query), key, value, attention_mask, **kwargs)


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, eager_mask)


# --- running --------------------------------------------------------------------------------------------------------


@contextmanager
def edited(model: PreTrainedModel, edits: list[Edit]) -> Iterator[None]:
    """The model with the edits, within the `with`."""
    forwards = []
    handles = [model.register_forward_pre_hook(lambda *_: forwards.append(None))]
    modules = dict(model.named_modules())

    def changed(edit: Edit, value: Tensor) -> Tensor:
        if edit.forward not in (None, len(forwards) - 1):
            return value
        value = value.clone()
        edit.change(value[0])  # of a batch of one
        return value

    def hook_input(edit: Edit):
        return lambda module, args: (changed(edit, args[0]), *args[1:])

    def hook_output(edit: Edit):
        def hook(module, args, output):
            return (changed(edit, output[0]), *output[1:]) if isinstance(output, tuple) else changed(edit, output)

        return hook

    def hook_choice(edit: Edit):
        def hook(module, args, output):
            if edit.forward in (None, len(forwards) - 1):
                return output[0], *edit.change(*output)

        return hook

    def of_attention(edit: Edit):
        return lambda value: changed(edit, value)

    for edit in edits:
        path, _, point = edit.where.partition(":")
        module = modules[path]
        if point in INSIDE:
            _editing.setdefault(module, dict.fromkeys(INSIDE, lambda value: value))[point] = of_attention(edit)
        elif point == "choice":
            handles.append(module.register_forward_hook(hook_choice(edit)))
        elif point == "in":
            handles.append(module.register_forward_pre_hook(hook_input(edit)))
        else:
            handles.append(module.register_forward_hook(hook_output(edit)))
    try:
        yield
    finally:
        _editing.clear()
        for handle in handles:
            handle.remove()


@torch.inference_mode()
def last_logits(model: PreTrainedModel, ids: list[int], forwards: int) -> list[Tensor]:
    """The last token's logits of the prompt, and of as many single tokens after it as are wanted."""
    cache, logits = None, []
    for step in range(forwards):
        new = ids[:PROMPT] if step == 0 else ids[PROMPT + step - 1 : PROMPT + step]
        out = model(input_ids=torch.tensor([new]), past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        logits.append(out.logits[0, -1].clone())
    return logits


def patched_logits(name: str) -> dict[str, Tensor]:
    """The logits of every case of a tiny model."""
    path = TINY / name / "reference.safetensors"
    with safe_open(path, "pt") as file:
        ids = json.loads(file.metadata()["input_ids"])
    model = load_model(str(TINY / name), "float32")
    model.set_attn_implementation(ATTENTION)
    found = {}
    for key, case in cases(model, load_file(path)).items():
        if name not in case.models:
            continue
        fed = ids if case.token is None else [*ids[:8], case.token, *ids[9:]]
        with edited(model, case.edits):
            for step, logits in enumerate(last_logits(model, fed, case.forwards)):
                found[f"{key}@{step}" if step else key] = logits
    return found


def difference(made: dict[str, Tensor], kept: dict[str, Tensor]) -> float:
    """The largest relative L2 difference; infinite unless both have the same cases."""
    if made.keys() != kept.keys():
        return float("inf")
    return max(float((made[key].double() - kept[key].double()).norm() / kept[key].double().norm()) for key in made)


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the logits of patched tiny models.")
    parser.add_argument("--check", action="store_true", help="compare with the committed files")
    check = parser.parse_args().check
    torch.set_num_threads(1)  # for models this small, threads only wait for each other
    wrong = 0
    for name in MODELS:
        made, path = patched_logits(name), PATCHED / f"{name}.safetensors"
        if check:
            apart = difference(made, load_file(path))
            wrong += not apart <= 1e-6
            print(f"{name}: logits differ by {apart:.1e}")
        else:
            PATCHED.mkdir(exist_ok=True)
            save_file(made, path)
            print(f"{path}: {len(made)} rows of logits")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
