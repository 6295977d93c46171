"""Differences from PyTorch that are no mistakes: the part of the clean corpus that looks as if something were wrong.

Some change the model (into one that computes the same by another way), some only what the dump holds of a right run.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import MethodType

import torch
from torch import Tensor
from transformers import PreTrainedModel

from casebook import CLEAN, Casebook, cut, write_dump
from clean import DEMO, CleanDumps, Dump, fed, folder_name, layers_of, model_of
from make_tiny import TINY
from oracle import relative_error
from planted import PlantedDumps
from planting import Plant, planted
from planting_attention import mistake

Tensors = dict[str, Tensor]
TOKENS = "12"


# --- other ways to the same values ----------------------------------------------------------------------------------


def interleave(model: PreTrainedModel) -> PreTrainedModel:
    """Rows of q and k, and RoPE, in pairs (2i, 2i + 1): what the conversion of Llama to GGUF does."""
    layers = range(model.config.num_hidden_layers)
    return planted(model, [Plant(bug, layer) for layer in layers for bug in ("qk_permuted", "rope_interleaved")])


def reorder_neurons(model: PreTrainedModel) -> PreTrainedModel:
    """The MLP's neurons in the opposite order: other sums of the same terms."""
    model = planted(model, [])
    for layer in model.model.layers:
        for module in (layer.mlp.gate_proj, layer.mlp.up_proj):
            for parameter in module.parameters():
                parameter.data = parameter.data.flip(0)
        layer.mlp.down_proj.weight.data = layer.mlp.down_proj.weight.data.flip(1)
    return model


def quantised(bits: int) -> Callable[[PreTrainedModel], PreTrainedModel]:
    """All linear weights in so many bits, in blocks of at most 32 with a scale each: what quantised files hold."""

    def quantise(model: PreTrainedModel) -> PreTrainedModel:
        model = planted(model, [])
        for layer in model.model.layers:
            for module in (m for m in layer.modules() if isinstance(m, torch.nn.Linear)):
                width = math.gcd(32, module.in_features)
                blocks = module.weight.data.float().unflatten(1, (-1, width))
                step = blocks.abs().amax(-1, keepdim=True) / (2 ** (bits - 1) - 1)
                module.weight.data = ((blocks / step).round() * step).flatten(1).to(module.weight.dtype)
        return model

    return quantise


def norm_in_float32(model: PreTrainedModel) -> PreTrainedModel:
    """Norms rounded once, after their weight, not before it, too."""

    def forward(self, x):
        wide = x.float()
        scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return (self.weight.float() * (wide * scale)).to(x.dtype)

    model = planted(model, [])
    for path, module in model.named_modules():
        if path.endswith("norm"):
            module.forward = MethodType(forward, module)
    return model


def multiply_in_bfloat16(model: PreTrainedModel) -> PreTrainedModel:
    """Every product of a projection and of the head with rounded operands, as fast kernels do in a float32 run."""
    layers = range(model.config.num_hidden_layers)
    return planted(model, [*(Plant("low_precision_layer", layer) for layer in layers), Plant("low_precision_head")])


def square_in_bfloat16(model: PreTrainedModel) -> PreTrainedModel:
    """The mean squares of the norms before attention in bf16: in a bf16 run no more than the rounding of its output."""
    return planted(model, [Plant("low_precision_norm", layer) for layer in range(model.config.num_hidden_layers)])


def fuse_attention(model: PreTrainedModel) -> PreTrainedModel:
    """Scores and probs never rounded, as in a fused kernel."""

    def fused(module, query, key, value, mask, scaling):
        keys, values = (x.float().repeat_interleave(module.num_key_value_groups, 1) for x in (key, value))
        scores = torch.matmul(query.float(), keys.transpose(2, 3)) * scaling + mask.float()
        probs = torch.nn.functional.softmax(scores, dim=-1)
        return torch.matmul(probs, values).to(query.dtype).transpose(1, 2).contiguous(), probs

    model = planted(model, [])
    for layer in range(model.config.num_hidden_layers):
        mistake(model, layer, "whole", fused)
    return model


# --- other ways to write the same run -------------------------------------------------------------------------------


def _change(op: str, change: Callable[[Tensor], Tensor]) -> Callable[[Tensors, int], Tensors]:
    return lambda tensors, layers: {k: change(v) if k.split("@")[0].endswith(op) else v for k, v in tensors.items()}


def _masked_as(value: float) -> Callable[[Tensors, int], Tensors]:
    return _change(".scores", lambda scores: scores.masked_fill(scores < -1e4, value))


def _padded_by(value: float) -> Callable[[Tensors, int], Tensors]:
    """Scores with five columns more, probs with as many zeros."""
    scores = _change(".scores", lambda x: torch.nn.functional.pad(x, (0, 5), value=value))
    probs = _change(".probs", lambda x: torch.nn.functional.pad(x, (0, 5)))
    return lambda tensors, layers: probs(scores(tensors, layers), layers)


def last_row_at_the_end(tensors: Tensors, layers: int) -> Tensors:
    """Only the last token after the attention of the last layer, as engines do that want one row of logits."""
    end = f"model.layers.{layers - 1}"
    rest = (f"{end}.resid_mid", f"{end}.post_attention_layernorm", f"{end}.mlp.", "model.norm", "lm_head")
    return {name: value[-1:] if name == end or name.startswith(rest) else value for name, value in tensors.items()}


def without_scores(tensors: Tensors, layers: int) -> Tensors:
    """A fused kernel has neither scores nor probs to dump."""
    return {name: value for name, value in tensors.items() if not name.split("@")[0].endswith((".scores", ".probs"))}


def as_run(tensors: Tensors, layers: int) -> Tensors:
    return tensors


@dataclass(frozen=True)
class Equivalent:
    """One difference, the runs it is made of, and what of them is written."""

    id: str
    models: tuple[Path, ...]
    precisions: tuple[str, ...]
    coverages: tuple[str, ...]
    model: Callable[[PreTrainedModel], PreTrainedModel] | None = None
    dump: Callable[[Tensors, int], Tensors] = as_run
    within: float = 3.0  # its logits are as near to float64 as the clean ones, but for this factor


LLAMA, BIAS, MISTRAL, QWEN2, QWEN3 = (TINY / name for name in ("llama", "llama_bias", "mistral", "qwen2", "qwen3"))
TABLE = (
    Equivalent("qk_interleaved", (LLAMA, MISTRAL), ("float32", "bfloat16"), ("all", "blocks"), interleave),
    Equivalent("qk_interleaved", (QWEN2,), ("float32",), ("all",), interleave),
    Equivalent("neurons_reordered", (BIAS, QWEN3, DEMO), ("float32", "bfloat16"), ("blocks", "third", "logits"), reorder_neurons),
    Equivalent("weights_8_bits", (LLAMA, BIAS, QWEN3), ("float32",), ("all",), quantised(8), within=1e7),
    Equivalent("weights_4_bits", (LLAMA, MISTRAL, QWEN2, DEMO), ("float32",), ("all",), quantised(4), within=1e7),
    Equivalent("norm_in_float32", (LLAMA, QWEN3), ("bfloat16", "float16"), ("all", "blocks"), norm_in_float32),
    Equivalent("mean_square_bfloat16", (LLAMA, QWEN3), ("bfloat16",), ("all", "blocks"), square_in_bfloat16),
    Equivalent("attention_fused", (MISTRAL, DEMO), ("bfloat16", "float16"), ("all", "blocks"), fuse_attention, without_scores),
    Equivalent("matmul_bfloat16", (LLAMA, QWEN2), ("float32",), ("all", "blocks"), multiply_in_bfloat16, within=1e5),
    Equivalent("masked_1e9", (LLAMA, MISTRAL), ("float32", "bfloat16"), ("all",), dump=_masked_as(-1e9)),
    Equivalent("masked_inf", (QWEN2, MISTRAL), ("float32", "float16"), ("all",), dump=_masked_as(float("-inf"))),
    Equivalent("padded_zeros", (LLAMA, QWEN3), ("float32", "bfloat16"), ("all",), dump=_padded_by(0.0)),
    Equivalent("padded_inf", (BIAS, MISTRAL), ("float32", "bfloat16"), ("all",), dump=_padded_by(float("-inf"))),
    Equivalent("last_row", (LLAMA, QWEN2), ("float32", "bfloat16"), ("all", "blocks"), dump=last_row_at_the_end),
)


def of_smollm2(folder: Path) -> Iterable[Equivalent]:
    """The same of the real model: its GGUF file, for one, holds q and k interleaved."""
    yield Equivalent("qk_interleaved", (folder,), ("float32",), ("around-11", "blocks"), interleave)
    yield Equivalent("neurons_reordered", (folder,), ("float32", "bfloat16"), ("blocks", "third", "logits"), reorder_neurons)
    yield Equivalent("attention_fused", (folder,), ("bfloat16",), ("around-11", "blocks"), fuse_attention, without_scores)
    yield Equivalent("norm_in_float32", (folder,), ("bfloat16",), ("around-11", "blocks"), norm_in_float32)
    yield Equivalent("last_row", (folder,), ("float32",), ("blocks",), dump=last_row_at_the_end)


def add_equivalents(book: Casebook, dumps: CleanDumps, table: Iterable[Equivalent] = TABLE) -> None:
    """Adds the cases: each alone, and beside PyTorch's own dump."""
    made = PlantedDumps(dumps)
    for row in table:
        for folder in row.models:
            for precision in row.precisions:
                name = f"control/{folder_name(folder)}/{precision}/{row.id}"
                roles = [(kind, f"{name}/{kind}/{role}") for kind in row.coverages for role in ("alone", "pair")]
                wanted = dict.fromkeys(kind for kind, case in roles if book.wants(case))
                dump = _run(row, made, folder, precision) if wanted else None
                for kind in wanted:
                    part = cut(dump.tensors, kind, layers_of(folder))
                    candidate = write_dump(book.path(f"{name}/{kind}.safetensors"), part, dump.metadata)
                    reference = dumps.part(folder, precision, TOKENS, kind)
                    book.add(f"{name}/{kind}/alone", folder, CLEAN, candidate=candidate, control=True)
                    book.add(f"{name}/{kind}/pair", folder, CLEAN, reference=reference, candidate=candidate, control=True)


def _run(row: Equivalent, made: PlantedDumps, folder: Path, precision: str) -> Dump:
    """What is written; a changed model's logits must be as near to float64 as the clean ones are."""
    clean = made.dumps.dump(folder, precision, TOKENS)
    dump = fed(row.model(model_of(folder, precision)), clean) if row.model else clean
    exact = made.exact(folder, precision, TOKENS).tensors["lm_head"]
    error, usual = (relative_error(run.tensors["lm_head"], exact) for run in (dump, clean))
    assert error < row.within * usual, f"{row.id} of {folder.name} in {precision}: {error:.2g} from float64, not {usual:.2g}"
    return Dump(row.dump(dump.tensors, layers_of(folder)), dump.metadata)
