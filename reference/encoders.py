"""Encoders and embedders in the corpus: right runs, whose one forward nothing follows, and mistakes of their ports."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MethodType

import torch
from torch import nn
from transformers import PreTrainedModel

from capture import capture
from casebook import CLEAN, Casebook, cut, told, write_dump
from clean import PRECISIONS, CleanDumps, Dump, layers_of, model_of, recorded
from embedder import Stages
from make_tiny import TINY
from planting_layers import edit
from tiny_encoders import ENCODERS

TOKENS = "12"


@dataclass(frozen=True)
class Port:
    """A mistake of a port, the suspect that it is, and where it is seen first."""

    id: str
    suspect: str
    name: str
    models: tuple[str, ...]
    plant: Callable[[PreTrainedModel], None]
    fair: tuple[str, ...] = ()


def causal(attention: nn.Module) -> None:
    """A query sees no key behind it."""

    def hide(module, args, kwargs):
        rows = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        hidden = torch.full((rows.shape[1], rows.shape[1]), torch.finfo(rows.dtype).min, dtype=rows.dtype).triu(1)[None, None]
        mask = kwargs.get("attention_mask")
        return args, kwargs | {"attention_mask": hidden if mask is None else torch.minimum(mask, hidden)}

    attention.register_forward_pre_hook(hide, with_kwargs=True)


def shifted(by: int) -> Callable[[PreTrainedModel], None]:
    def plant(model: PreTrainedModel) -> None:
        model.embeddings.position_embeddings.register_forward_pre_hook(lambda module, args: (args[0] + by,))

    return plant


def without_types(model: PreTrainedModel) -> None:
    """The row of the type is there, and is not added."""
    kept: list[torch.Tensor] = []
    own = model.embeddings
    own.token_type_embeddings.register_forward_hook(lambda module, args, out: kept.append(out))
    own.LayerNorm.register_forward_pre_hook(lambda module, args: (args[0] - kept.pop(),))


def module(path: str, change: Callable[[nn.Module], None]) -> Callable[[PreTrainedModel], None]:
    return lambda model: change(model.get_submodule(path))


def other_eps(norm: nn.LayerNorm) -> None:
    norm.eps = 1e-2


def no_bias(one: nn.Module) -> None:
    edit(one.bias, torch.zeros_like(one.bias))


def exchanged(mlp: nn.Module) -> None:
    """The activation function is of what the class calls `gate`."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        one, other = self.Wi(hidden).chunk(2, dim=-1)
        return self.Wo(self.act(other) * one)

    mlp.forward = MethodType(forward, mlp)


ALL = tuple(ENCODERS)
BERTS, GEMMA, MODERN = ("bert", "roberta"), ("gemma_embedding",), ("modernbert",)

PORTS = (
    Port("causal", "causal_on_encoder", "encoder.layer.1.attention.self.scores", BERTS, module("encoder.layer.1.attention.self", causal)),
    Port("causal", "causal_on_encoder", "layers.0.attn.scores", MODERN, module("layers.0.attn", causal)),
    Port("causal", "causal_on_encoder", "model.layers.2.self_attn.scores", GEMMA, module("layers.2.self_attn", causal)),
    Port("positions_from_0", "position_embedding_offset", "embeddings.position_embeddings", ("roberta",), shifted(-2)),
    Port("positions_from_1", "position_embedding_offset", "embeddings.position_embeddings", ("bert",), shifted(1)),
    Port("types_not_added", "token_types_missing", "embeddings.sum", BERTS, without_types),
    Port("norm_eps", "norm_eps", "encoder.layer.0.attention.output.LayerNorm", BERTS, module("encoder.layer.0.attention.output.LayerNorm", other_eps)),
    Port("block_norm_eps", "norm_eps", "encoder.layer.0", BERTS, module("encoder.layer.0.output.LayerNorm", other_eps)),
    Port("norm_bias", "norm_bias", "encoder.layer.1", BERTS, module("encoder.layer.1.output.LayerNorm", no_bias)),
    Port("bias_missing", "bias_missing", "encoder.layer.1.attention.output.dense", BERTS, module("encoder.layer.1.attention.output.dense", no_bias)),
    Port("gate_up_swapped", "gate_up_swapped", "layers.1.mlp.act", MODERN, module("layers.1.mlp", exchanged)),
)


def changed(model: PreTrainedModel, port: Port) -> PreTrainedModel:
    wrong = copy.deepcopy(model)
    port.plant(wrong)
    return wrong


def fed(model: PreTrainedModel, like: Dump, stages: Stages | None = None) -> Dump:
    """What a model computes for the tokens of another run."""

    def run(path: Path) -> None:
        with capture(model, path) as recorder:
            recorder.stages = stages or recorder.stages
            with torch.inference_mode():
                model(input_ids=torch.tensor([like.ids]))

    return recorded(run)


def other_stages(folder: Path) -> dict[str, tuple[str, str, Stages]]:
    """What ports do otherwise behind the last layer: the suspect, and where it is seen first."""
    found = {}
    own = Stages(folder)
    names = [name for name, _ in own.steps]
    if "normalized" in names:
        without = Stages(folder)
        without.steps = [(name, step) if name != "normalized" else (name, lambda row, mask: row.clone()) for name, step in own.steps]
        found["not_normalized"] = ("l2norm_missing", "normalized", without)
    if names:
        for mode in ("mean", "cls", "lasttoken"):
            other = Stages(folder, mode)
            found[f"pooling_{mode}"] = ("pooling_wrong", "pooled", other)
    return found


def add_encoders(book: Casebook, dumps: CleanDumps) -> None:
    """Adds every case of every encoder."""
    for name in ENCODERS:
        folder = TINY / name
        add_right(book, dumps, folder)
        clean = dumps.dump(folder, "float32", TOKENS)
        wrong = {port.id: (port.suspect, port.name, port.fair, fed(changed(model_of(folder, "float32"), port), clean)) for port in PORTS if name in port.models}
        for id, (suspect, first, stages) in other_stages(folder).items():
            dump = fed(model_of(folder, "float32"), clean, stages)
            if not torch.equal(dump.tensors[first], clean.tensors[first]):
                wrong[f"embedding-{id}"] = suspect, first, (), dump
        for id, (suspect, first, fair, dump) in wrong.items():
            add_wrong(book, dumps, folder, f"planted/{name}/float32/encoder-{id}", (suspect, first, fair), dump)
        dumps.forget()


def add_right(book: Casebook, dumps: CleanDumps, folder: Path) -> None:
    for precision in PRECISIONS:
        for kind in ("all", "blocks"):
            case = f"clean/{folder.name}/{precision}/{kind}/{TOKENS}"
            for role in ("reference", "candidate"):
                titled = case if role == "reference" else f"{case}/candidate"
                if book.wants(titled):
                    book.add(titled, folder, CLEAN, **{role: dumps.part(folder, precision, TOKENS, kind)})
            beside = f"clean/{folder.name}/float32-{precision}/{kind}/{TOKENS}"
            if precision != "float32" and book.wants(beside):
                pair = {"reference": dumps.part(folder, "float32", TOKENS, kind), "candidate": dumps.part(folder, precision, TOKENS, kind)}
                book.add(beside, folder, CLEAN, **pair)


def add_wrong(book: Casebook, dumps: CleanDumps, folder: Path, root: str, expected: tuple, dump: Dump) -> None:
    suspect, first, fair = expected
    clean = dumps.dump(folder, "float32", TOKENS)
    for kind in ("all", "blocks"):
        if not any(book.wants(f"{root}/{kind}/{role}") for role in ("alone", "pair")):
            continue
        part, right = (cut(tensors, kind, layers_of(folder)) for tensors in (dump.tensors, clean.tensors))
        if all(torch.equal(tensor, right[name]) for name, tensor in part.items()):
            continue
        planted = write_dump(book.path(f"{root}/{kind}.safetensors"), part, told(clean.metadata, kind))
        expect = {
            "verdicts": ["diverged"],
            "bug": root.rpartition("/")[2],
            "suspect": suspect,
            "fair": list(fair),
            "name": first if kind == "all" or first in part else next(name for name, tensor in part.items() if not torch.equal(tensor, right[name])),
            "culprit": "candidate",
            "precision": "float32",
            "coverage": kind,
        }
        book.add(f"{root}/{kind}/alone", folder, expect, candidate=planted)
        book.add(f"{root}/{kind}/pair", folder, expect, candidate=planted, reference=dumps.part(folder, "float32", TOKENS, kind))
