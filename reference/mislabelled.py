"""References that are right but for a label, and runs of other tokens: what is wrong is the dump, not what was computed.

In a mislabelled reference some activations are replaced by others of the same run, while all that follows in it was
computed from the right values. What the manifest says of such a case, besides what planted.py says:

    label   the activation whose value it is that stands under `name`; null for rows in another order
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from casebook import Casebook, cut, write_dump
from clean import DECODED, CleanDumps, Dump, fed, folder_name, layers_of, model_of
from make_tiny import TINY
from oracle import program_order, relative_error
from planted import CLEAR, ROUNDING
from planting import EVERY, TIED

Names = dict[str, str | None]  # the activation whose value each name gets; None where the name is left out
Rows = Callable[[Tensor], Tensor]
UNNORMED = ("llama", "llama_bias", "mistral", "qwen2")  # no norms of q and k


@dataclass(frozen=True)
class Label:
    """One way to write a wrong label; `names` is given the number of layers."""

    id: str
    suspect: str
    names: Callable[[int], Names]
    models: tuple[str, ...] = EVERY
    coverages: tuple[str, ...] = ("all",)
    rows: Rows | None = None
    tokens: str = "12"


def site(layer: int, op: str) -> str:
    return f"model.layers.{layer}.{op}".rstrip(".")


def every(op: str, source: str) -> Callable[[int], Names]:
    """In each layer, one op's name for another op's value."""
    return lambda layers: {site(n, op): site(n, source) for n in range(layers)}


def one(op: str, source: str, layer: int = 1, of: int | None = None) -> Callable[[int], Names]:
    """In one layer, a name for a value of the same layer, or of the layer `of`."""
    return lambda layers: {site(layer, op): site(layer if of is None else of, source)}


def exchanged(a: str, b: str) -> Callable[[int], Names]:
    return lambda layers: {site(1, a): site(1, b), site(1, b): site(1, a)}


def earlier(op: str) -> Callable[[int], Names]:
    """Each layer has the value of the layer before; the first has none, or the embeddings if it is the stream."""
    first = None if op else "model.embed_tokens"
    return lambda layers: {site(n, op): site(n - 1, op) if n else first for n in range(layers)}


def later(op: str) -> Callable[[int], Names]:
    """Each layer has the value of the next; the last has none."""
    return lambda layers: {site(n, op): site(n + 1, op) if n + 1 < layers else None for n in range(layers)}


def same(*names: str) -> Callable[[int], Names]:
    """Other rows under the right name."""
    return lambda layers: {name: name for name in names}


def from_the_next(rows: Tensor) -> Tensor:
    return rows[[*range(1, len(rows)), -1]]


def from_the_one_before(rows: Tensor) -> Tensor:
    return rows[[0, *range(len(rows) - 1)]]


def only_the_last(rows: Tensor) -> Tensor:
    return rows[-1:].expand_as(rows)


def reversed_rows(rows: Tensor) -> Tensor:
    return rows.flip(0)


OFF, POINT, ROWS, TWICE = "ref_layer_off_by_one", "ref_wrong_point", "ref_token_rows", "duplicate_tensor"
STREAM = ("all", "blocks")
LABELS = (
    # the neighbour's
    Label("blocks_of_the_layer_before", OFF, earlier(""), coverages=STREAM),
    Label("blocks_of_the_next_layer", OFF, later(""), coverages=STREAM),
    Label("attention_of_the_next_layer", OFF, later("self_attn.o_proj"), coverages=("all", "attention")),
    Label("down_of_the_layer_before", OFF, earlier("mlp.down_proj")),
    Label("norm_of_the_next_layer", OFF, later("input_layernorm")),
    # before and after a residual
    Label("block_without_residual", POINT, every("", "mlp.down_proj"), coverages=STREAM),
    Label("block_before_mlp", POINT, one("", "resid_mid"), coverages=STREAM),
    Label("down_with_residual", POINT, one("mlp.down_proj", "")),
    Label("attention_with_residual", POINT, every("self_attn.o_proj", "resid_mid"), coverages=("all", "attention")),
    Label("middle_without_residual", POINT, one("resid_mid", "self_attn.o_proj")),
    # before and after a norm
    Label("norm_not_yet", POINT, one("input_layernorm", "", layer=1, of=0)),
    Label("mlp_norm_not_yet", POINT, every("post_attention_layernorm", "resid_mid")),
    Label("middle_normed", POINT, one("resid_mid", "post_attention_layernorm")),
    Label("block_normed", POINT, one("", "input_layernorm", layer=0, of=1), coverages=STREAM),
    Label("last_block_normed", "ref_post_final_norm", lambda layers: {site(layers - 1, ""): "model.norm"}, coverages=STREAM),
    Label("final_norm_not_yet", POINT, lambda layers: {"model.norm": site(layers - 1, "")}),
    Label("k_norm_not_yet", POINT, one("self_attn.k_norm", "self_attn.k_proj"), ("qwen3",)),
    # before and after RoPE, softmax, activation
    Label("q_not_turned", POINT, one("self_attn.q_rope", "self_attn.q_proj"), UNNORMED),
    Label("q_not_turned_normed", POINT, every("self_attn.q_rope", "self_attn.q_norm"), ("qwen3",)),
    Label("k_turned", POINT, every("self_attn.k_proj", "self_attn.k_rope"), UNNORMED),
    Label("probs_are_scores", POINT, one("self_attn.probs", "self_attn.scores")),
    Label("scores_are_probs", POINT, one("self_attn.scores", "self_attn.probs")),
    Label("context_projected", POINT, one("self_attn.context", "self_attn.o_proj"), TIED),
    Label("act_not_yet", POINT, every("mlp.act_fn", "mlp.gate_proj")),
    Label("product_not_yet", POINT, one("mlp.act_mul", "mlp.act_fn")),
    Label("gate_up_exchanged", POINT, exchanged("mlp.gate_proj", "mlp.up_proj")),
    Label("k_v_exchanged", POINT, exchanged("self_attn.k_proj", "self_attn.v_proj")),
    # other rows
    Label("rows_of_the_next_token", ROWS, same("model.layers.1"), coverages=STREAM, rows=from_the_next),
    Label("rows_of_the_token_before", ROWS, same("model.layers.1.mlp.down_proj"), rows=from_the_one_before),
    Label("last_row_repeated", ROWS, same("model.layers.0"), coverages=STREAM, rows=only_the_last),
    Label("rows_reversed", ROWS, same("model.layers.2.input_layernorm"), rows=reversed_rows),
    Label("row_of_the_step_before", ROWS, lambda layers: {"model.layers.1@2": "model.layers.1@1"}, tokens=DECODED),
    # one tensor under several names
    Label("down_twice", TWICE, one("mlp.down_proj", "mlp.down_proj", layer=1, of=2)),
    Label("v_twice", TWICE, one("self_attn.v_proj", "self_attn.v_proj", layer=0, of=1)),
    Label("mlp_norm_twice", TWICE, one("post_attention_layernorm", "post_attention_layernorm", layer=2, of=1)),
    Label("blocks_all_the_last", TWICE, lambda layers: {site(n, ""): site(layers - 1, "") for n in range(layers - 1)}, coverages=STREAM),
)  # fmt: skip


def shaped(value: Tensor, like: Tensor) -> Tensor:
    """Heads beside each other or one after the other, as the tensor has them whose name it gets."""
    if value.dim() == 2 and like.dim() == 3:
        return value.unflatten(1, (-1, like.shape[2])).transpose(0, 1)
    return value.transpose(0, 1).flatten(1) if value.dim() == 3 and like.dim() == 2 else value


def relabelled(tensors: dict[str, Tensor], label: Label, layers: int) -> dict[str, Tensor]:
    """The dump with the wrong labels."""
    edited = dict(tensors)
    for name, source in label.names(layers).items():
        if source is None:
            del edited[name]
            continue
        value = shaped(tensors[source], tensors[name])
        assert value.shape == tensors[name].shape, f"{label.id}: {source} has not the shape of {name}"
        edited[name] = (label.rows(value) if label.rows else value).clone()
    return edited


def add_labels(book: Casebook, dumps: CleanDumps, labels: Iterable[Label] = LABELS) -> None:
    """Adds the cases: each alone in float32, and beside a right candidate in bf16 or float32."""
    for index, label in enumerate(labels):
        model = label.models[index % len(label.models)]
        _add_label(book, dumps, label, TINY / model, "float32", "alone")
        model = label.models[(index + 1) % len(label.models)]
        _add_label(book, dumps, label, TINY / model, "float32" if index % 3 == 0 else "bfloat16", "pair")


def _add_label(book: Casebook, dumps: CleanDumps, label: Label, folder: Path, precision: str, role: str) -> None:
    root = f"planted/{folder_name(folder)}/{precision}/{label.id}"
    if not any(book.wants(f"{root}/{kind}/{role}") for kind in label.coverages):
        return
    clean, layers = dumps.dump(folder, precision, label.tokens), layers_of(folder)
    edited = relabelled(clean.tensors, label, layers)
    names = {name: source for name, source in label.names(layers).items() if source is not None}
    name = min(names, key=program_order)
    for changed in names:
        error = relative_error(edited[changed], clean.tensors[changed])
        assert error > CLEAR * ROUNDING[precision], f"{root}: {changed} is not changed"
    for kind in label.coverages:
        part = cut(edited, kind, layers)
        assert name in part, f"{root}: {kind} has no {name}"
        expect = {
            "verdicts": ["mislabelled"],
            "bug": label.id,
            "suspect": label.suspect,
            "name": name,
            "label": None if label.rows else names[name],
            "all": sorted(names, key=program_order),
            "culprit": "reference",
            "precision": precision,
            "coverage": kind,
        }
        reference = write_dump(book.path(f"{root}/{kind}.safetensors"), part, clean.metadata)
        candidate = dumps.part(folder, precision, label.tokens, kind) if role == "pair" else None
        book.add(f"{root}/{kind}/{role}", folder, expect, reference=reference, candidate=candidate)


# --- other tokens ---------------------------------------------------------------------------------------------------


def replaced(at: int) -> Callable[[list[int]], list[int]]:
    """Another token at one place."""
    return lambda ids: [token if n != at % len(ids) else token ^ 1 for n, token in enumerate(ids)]


# Whether the dump says of itself what it was fed, or claims the reference's ids.
TOKENS = (
    ("ids_one_other", replaced(4), True, ("llama", "float32"), ("qwen2", "bfloat16")),
    ("ids_last_other", replaced(-1), True, ("mistral", "float32")),
    ("ids_with_bos", lambda ids: [0, *ids], True, ("qwen3", "float32"), ("llama", "bfloat16")),
    ("ids_cut", lambda ids: ids[:8], True, ("llama_bias", "float32")),
    ("ids_claimed", replaced(4), False, ("qwen2", "float32"), ("mistral", "bfloat16")),
    ("ids_claimed_with_bos", lambda ids: [0, *ids[:-1]], False, ("llama_bias", "float32"), ("qwen3", "bfloat16")),
)  # fmt: skip


def add_other_tokens(book: Casebook, dumps: CleanDumps) -> None:
    """Adds the cases of a candidate that was fed other tokens than the reference, or than it says."""
    for bug, change, honest, *runs in TOKENS:
        for model, precision in runs:
            folder, root = TINY / model, f"planted/{model}/{precision}/{bug}/all"
            if not any(book.wants(f"{root}/{role}") for role in ("alone", "pair")):
                continue
            clean = dumps.dump(folder, precision, "12")
            ids = change(clean.ids)
            assert ids != clean.ids and max(ids) < len(model_of(folder, precision).model.embed_tokens.weight)
            like = Dump({}, {"input_ids": json.dumps(ids), "steps": json.dumps([len(ids)])})
            other = fed(model_of(folder, precision), like)
            metadata = other.metadata if honest else clean.metadata
            candidate = write_dump(book.path(f"{root}.safetensors"), other.tensors, metadata)
            expect = {
                "verdicts": ["inputs_differ"],
                "bug": bug,
                "suspect": "input_ids_differ",
                "precision": precision,
                "coverage": "all",
            }
            if not honest:
                book.add(f"{root}/alone", folder, expect, candidate=candidate)
            reference = dumps.part(folder, precision, "12", "all")
            book.add(f"{root}/pair", folder, expect, reference=reference, candidate=candidate)
