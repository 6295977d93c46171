"""Clean dumps as people pack them: padded batches, some rows of a prompt, a file for each tensor with a counter before its
name, folders of forwards, what `generate` returns. None of them may accuse anyone.
"""

import shutil
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from capture import capture
from casebook import Casebook, write_dump
from clean import DECODED, CleanDumps, Dump, folder_name, model_of, recorded, tokens_of

PROMPT = 9  # the padded one; the other prompt of its batch has three tokens more
PADS = 3
PAD = 0
SIDES = ("left", "right")
ROWS = {"suffix": (8, 9, 10, 11), "last": (11,), "third": (2, 5, 8, 11)}


def padded(folder: Path, precision: str, side: str) -> Dump:
    """A batch of two prompts, the first with pads on one side."""
    ids, other = tokens_of(folder, PROMPT), tokens_of(folder, PROMPT + PADS)[::-1]
    pads = [PAD] * PADS
    first, mask = (pads + ids, [0] * PADS + [1] * PROMPT) if side == "left" else (ids + pads, [1] * PROMPT + [0] * PADS)
    batch, seen = torch.tensor([first, other]), torch.tensor([mask, [1] * len(other)])
    positions = (seen.cumsum(-1) - 1).masked_fill(seen == 0, 0)
    model = model_of(folder, precision)

    def run(path: Path) -> None:
        with torch.inference_mode(), capture(model, path):
            model(input_ids=batch, attention_mask=seen, position_ids=positions)

    return recorded(run)


def add_padded(book: Casebook, dumps: CleanDumps, folder: Path) -> None:
    """Adds padded batches: as capture.py says of them, without a word, and beside the prompt alone."""
    name = folder_name(folder)
    for precision in ("float32", "bfloat16"):
        for side in SIDES:
            root = f"clean/{name}/{precision}/padded-{side}"
            if not any(book.wants(f"{root}/{what}") for what in ("told", "pair", "bare", "blocks")):
                continue
            dump = padded(folder, precision, side)
            told = write_dump(book.path(f"{root}/told.safetensors"), dump.tensors, dump.metadata)
            bare = write_dump(book.path(f"{root}/bare.safetensors"), dump.tensors, {})
            blocks = {key: value for key, value in dump.tensors.items() if not any(map(key.endswith, ("scores", "probs")))}
            unscored = write_dump(book.path(f"{root}/unscored.safetensors"), blocks, {})
            expect = dumps.expect(folder, precision, str(PROMPT))
            alone = dumps.part(folder, precision, str(PROMPT), "all")
            pads, ids = [PAD] * PADS, tokens_of(folder, PROMPT)
            ids = pads + ids if side == "left" else ids + pads
            book.add(f"{root}/told", folder, expect, candidate=told, batch=0)
            book.add(f"{root}/pair", folder, expect, reference=alone, candidate=bare, batch=0)
            book.add(f"{root}/bare", folder, expect, candidate=bare, ids=ids, batch=0)
            book.add(f"{root}/unscored", folder, expect, reference=alone, candidate=unscored, ids=ids, batch=0)
            book.add(f"{root}/unscored-alone", folder, expect, candidate=unscored, ids=ids, batch=0)
    dumps.forget()


def rows_of(dump: Dump, rows: tuple[int, ...]) -> dict[str, Tensor]:
    """Some rows of every activation."""
    axis = lambda name: 0 if ".experts." in name else -2
    return {name: tensor.index_select(axis(name), torch.tensor(rows)) for name, tensor in dump.tensors.items()}


def add_rows(book: Casebook, dumps: CleanDumps, folder: Path) -> None:
    """Adds dumps of some rows of a prompt of 12: with the embeddings, and without."""
    name = folder_name(folder)
    for what, rows in ROWS.items():
        for kind in ("all", "inside"):
            case = f"clean/{name}/float32/rows-{what}/{kind}"
            if not book.wants(case):
                continue
            dump = dumps.dump(folder, "float32", "12")
            part = rows_of(dump, rows)
            if kind == "inside":
                part = {key: value for key, value in part.items() if ".0." in key or ".1." in key}
            path = write_dump(book.path(f"{case}.safetensors"), part, {})
            book.add(case, folder, dumps.expect(folder, "float32", "12"), candidate=path, ids=dump.ids)
    dumps.forget()


def add_packed(book: Casebook, dumps: CleanDumps, folder: Path) -> None:
    """Adds folders of one file for each tensor, and the hidden states that `generate` returns."""
    name = folder_name(folder)
    root = f"clean/{name}/float32/packed"
    if not any(book.wants(f"{root}-{what}") for what in ("counter", "steps", "generated")):
        return
    dump = dumps.dump(folder, "float32", DECODED)
    expect = dumps.expect(folder, "float32", DECODED)
    forward = lambda key: int(key.partition("@")[2] or 0)
    keys = sorted(dump.tensors, key=forward)
    counted = {f"{at:05}__{key}": dump.tensors[key] for at, key in enumerate(keys)}
    placed = {f"step{forward(key)}/{key.partition('@')[0]}": dump.tensors[key] for key in keys}
    for what, tensors in (("counter", counted), ("steps", placed)):
        if not book.wants(f"{root}-{what}"):
            continue
        path = book.path(f"{root}-{what}")
        shutil.rmtree(path, ignore_errors=True)
        for key, tensor in tensors.items():
            file = path / f"{key}.npy"
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, tensor.numpy())
        book.add(f"{root}-{what}", folder, expect, candidate=path, ids=dump.ids)
    if book.wants(f"{root}-generated"):
        path = write_dump(book.path(f"{root}-generated.safetensors"), generated(folder, dump), {})
        book.add(f"{root}-generated", folder, expect, candidate=path, ids=dump.ids)
    dumps.forget()


def generated(folder: Path, dump: Dump) -> dict[str, Tensor]:
    """`hidden_states[step][state]` and `logits[step]`, as generate gives them for the same tokens."""
    model, states, cache, at = model_of(folder, "float32"), {}, None, 0
    for step, tokens in enumerate(dump.steps):
        new = torch.tensor([dump.ids[at : at + tokens]])
        at += tokens
        with torch.inference_mode():
            out = model(input_ids=new, past_key_values=cache, use_cache=True, output_hidden_states=True)
        cache = out.past_key_values
        states |= {f"hidden_states.{step}.{n}": state for n, state in enumerate(out.hidden_states)}
        states[f"logits.{step}"] = out.logits[:, -1]
    return states


def add_as_packed(book: Casebook, dumps: CleanDumps, folder: Path) -> None:
    """Adds all of a model."""
    add_padded(book, dumps, folder)
    add_rows(book, dumps, folder)
    add_packed(book, dumps, folder)
