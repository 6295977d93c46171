"""The founding story of layerstep: a reference that was right but for one label, and an engine that was right.

Qwen2.5-0.5B's hidden states had been saved by index, one token, in bf16, as `after_layer_N.bin`. The last of them is not
after the last layer: transformers puts the final norm on it.
"""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from casebook import CLEAN, Casebook
from clean import CleanDumps, folder_name, layers_of, model_of, tokens_of

VARIANTS = ("one-token", "without-the-last", "right-label", "twelve-tokens", "engine-beside-it")


@torch.inference_mode()
def story(folder: Path, precision: str, count: int) -> tuple[dict[str, Tensor], Tensor]:
    """The files as the team wrote them, by name, and what the last of the blocks really put out."""
    model, last = model_of(folder, precision), layers_of(folder) - 1
    blocks: list[Tensor] = []
    handle = model.model.layers[last].register_forward_hook(
        lambda module, args, output: blocks.append(output[0] if isinstance(output, tuple) else output)
    )
    out = model(input_ids=torch.tensor([tokens_of(folder, count)]), output_hidden_states=True)
    handle.remove()
    states = out.hidden_states
    assert len(states) == last + 2, "one state for the embeddings and one for each layer"
    assert torch.equal(states[-1], model.model.norm(blocks[0])), "the last state is after the final norm"
    assert not torch.equal(states[-1], blocks[0])
    files = {"after_embeddings": states[0]} | {f"after_layer_{n}": states[n + 1] for n in range(last + 1)}
    files["final_logits"] = out.logits
    return {name: value[0].float() for name, value in files.items()}, blocks[0][0].float()


def write_bin(folder: Path, name: str, value: Tensor) -> None:
    """A count, then the floats, little endian."""
    data = value.numpy().astype("<f4").tobytes()
    (folder / f"{name}.bin").write_bytes(struct.pack("<i", value.numel()) + data)


def write_npy(folder: Path, name: str, value: Tensor) -> None:
    np.save(folder / f"{name}.npy", value.numpy())


def write_files(folder: Path, files: dict[str, Tensor], write: Callable[[Path, str, Tensor], None]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        write(folder, name, value)
    return folder


def add_founding(book: Casebook, dumps: CleanDumps, folder: Path) -> None:
    """Adds the story of one model, and the stories that must not be taken for it."""
    root, last = f"founding/{folder_name(folder)}", f"after_layer_{layers_of(folder) - 1}"
    blamed = {
        "verdicts": ["mislabelled"],
        "suspect": "ref_post_final_norm",
        "name": f"model.layers.{layers_of(folder) - 1}",
        "label": "model.norm",
        "culprit": "reference",
    }
    if not any(book.wants(f"{root}/{variant}") for variant in VARIANTS):
        return
    one, real = story(folder, "bfloat16", 1)
    twelve, _ = story(folder, "float32", 12)
    stories = {
        "one-token": (one, write_bin, blamed, 1),
        "without-the-last": ({name: value for name, value in one.items() if name != last}, write_bin, CLEAN, 1),
        "right-label": (one | {last: real}, write_bin, CLEAN, 1),
        "twelve-tokens": (twelve, write_npy, blamed, 12),
    }
    for variant, (files, write, expect, count) in stories.items():
        if book.wants(f"{root}/{variant}"):
            reference = write_files(book.folder / root / variant, files, write)
            book.add(f"{root}/{variant}", folder, expect, reference=reference, ids=tokens_of(folder, count))
    name = f"{root}/engine-beside-it"  # the team's own engine, which was right, as the candidate
    if book.wants(name):
        reference = write_files(book.folder / root / "one-token", one, write_bin)
        engine = dumps.part(folder, "float32", "1", "blocks")
        book.add(name, folder, blamed, reference=reference, candidate=engine, ids=tokens_of(folder, 1))
