"""Clean runs of engines that hold the weights in fewer bits, and compute with them in f32. None of them may accuse anyone."""

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from caches import q4_0
from casebook import CLEAN, Casebook, cut, told, write_dump
from clean import DECODED, CleanDumps, Dump, fed, folder_name, layers_of, model_of

KINDS = ("all", "blocks")
BLOCK = 32


def symmetric(bits: int) -> Callable[[Tensor], Tensor]:
    """`scale = max |w| / (2^(bits - 1) - 1)`, in f32."""
    steps = 2 ** (bits - 1) - 1

    def rounded(blocks: Tensor) -> Tensor:
        scale = blocks.abs().amax(-1, keepdim=True) / steps
        return (blocks / scale).round() * scale

    return rounded


def affine(bits: int) -> Callable[[Tensor], Tensor]:
    """From the least weight to the largest, in equal steps: what HQQ, GPTQ and AWQ begin with."""

    def rounded(blocks: Tensor) -> Tensor:
        least, largest = blocks.amin(-1, keepdim=True), blocks.amax(-1, keepdim=True)
        scale = (largest - least) / (2**bits - 1)
        zero = (-least / scale).round()
        return (((blocks / scale).round() + zero).clamp(0, 2**bits - 1) - zero) * scale

    return rounded


def q8_0(blocks: Tensor) -> Tensor:
    """ggml's, as its reference writes weights: what lies between two levels goes to the larger one."""
    scale = blocks.abs().amax(-1, keepdim=True) / 127
    levels = blocks * (1 / scale)
    return (levels.abs() + 0.5).floor() * levels.sign() * scale.half().float()


def e4m3(blocks: Tensor) -> Tensor:
    """The largest weight becomes the largest number."""
    scale = blocks.abs().amax(-1, keepdim=True) / 448
    return (blocks / scale).to(torch.float8_e4m3fn).float() * scale


def levels_of_our_own(blocks: Tensor) -> Tensor:
    """Levels that lie as those of a normal distribution: a format that is known to nobody."""
    at = torch.linspace(0.03, 0.97, 16)
    levels = torch.distributions.Normal(0, 1).icdf(at)
    levels = levels / levels.abs().max()
    scale = blocks.abs().amax(-1, keepdim=True)
    return levels[((blocks / scale).unsqueeze(-1) - levels).abs().argmin(-1)] * scale


# How blocks of inputs are rounded, and how long they are: 0 is a row, -1 the matrix.
FORMATS: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "f16": (lambda x: x.half().float(), 0),
    "e4m3": (e4m3, 0),
    "int8": (symmetric(8), 0),
    "int8-whole": (symmetric(8), -1),
    "uint4": (affine(4), BLOCK),
    "q8_0": (q8_0, BLOCK),
    "q4_0": (q4_0, BLOCK),
    "unknown": (levels_of_our_own, BLOCK),
}
# Those that keep embedding and head whole, too.
HALF_WHOLE = ("int8",)


def rounded(weight: Tensor, form: str, turned: bool) -> Tensor:
    """`weight` in this format; `turned` where its inputs are the rows."""
    levels, length = FORMATS[form]
    matrix = weight.data.float()
    matrix = matrix.transpose(-1, -2) if turned else matrix
    if length < 0:
        again = levels(matrix.flatten()).reshape(matrix.shape)
    else:
        again = torch.cat([levels(block) for block in matrix.split(length or matrix.shape[-1], -1)], -1)
    return (again.transpose(-1, -2) if turned else again).contiguous().to(weight.dtype)


def in_fewer_bits(model: PreTrainedModel, form: str, every: bool) -> PreTrainedModel:
    """A copy whose layers have such weights; `every`: embedding and head as well. What chooses experts, tables of positions,
    norms and biases are kept."""
    model = copy.deepcopy(model)
    done: set[int] = set()  # a tied head is the embedding
    for name, module in model.named_modules():
        inside = any(blocks in name for blocks in (".layers.", ".h.", ".blocks."))
        own = name.replace("norm_attn_norm.attn.", "attn.")  # DBRX: a norm is around it
        if not inside and not (every and isinstance(module, (nn.Linear, nn.Embedding))):
            continue
        if name.endswith(("mlp.gate", "feed_forward.gate", "mixer.gate", "gate.wg")) or any(kept in own for kept in ("router", "wpe", "embed_positions", "norm")):
            continue
        if isinstance(module, nn.Conv1d):
            continue  # engines keep a filter for each channel as it is
        for own, parameter in module.named_parameters(recurse=False):
            if parameter.ndim < 2 or own.endswith("bias") or id(parameter) in done:
                continue  # a stack of biases has two axes, and is kept as each of them is
            done.add(id(parameter))
            stack = parameter.data
            if name.endswith("ffn.experts.mlp"):  # below each other
                stack = stack.unflatten(0, (module.moe_num_experts, -1))
            experts = stack.ndim > 2
            # Gate and up of an expert lie in one tensor here; elsewhere they are two.
            turned = isinstance(module, Conv1D) or experts and model.config.model_type in ("gpt_oss", "llama4_text")
            turned = turned or parameter is getattr(module, "w2", None) and stack.ndim > parameter.ndim
            halves = 2 if experts and not turned and parameter is getattr(module, "gate_up_proj", None) else 1
            parts = [half for part in (stack if experts else [stack]) for half in part.chunk(halves)]
            again = torch.cat([rounded(part, form, turned) for part in parts])
            parameter.data = again.reshape(parameter.shape)
    return model


def add_fewer_bits(book: Casebook, dumps: CleanDumps, folder: Path) -> None:
    """Adds them: each format, in parts of the dump."""
    for form in FORMATS:
        for every in (True, False) if form in HALF_WHOLE else (True,):
            run: Dump | None = None
            for kind in KINDS:
                named = form if every else f"{form}-layers"
                case = f"clean/{folder_name(folder)}/float32/weights-{named}/{kind}/{DECODED}"
                if not book.wants(case):
                    continue
                like = dumps.dump(folder, "float32", DECODED)
                run = run or fed(in_fewer_bits(model_of(folder, "float32"), form, every), like)
                tensors = cut(run.tensors, kind, layers_of(folder))
                path = write_dump(book.path(f"{case}.safetensors"), tensors, told(run.metadata, kind))
                # Nothing tells numbers of a format that nobody knows from a mistake of their size.
                expect = {"verdicts": ["rounding", "inconclusive"]} if form == "unknown" else CLEAN
                book.add(case, folder, expect, candidate=path)
    dumps.forget()
