"""Clean runs that were computed in one precision and stored in another. None of them may accuse anyone."""

from pathlib import Path

import torch
from torch import Tensor

from casebook import CLEAN, Casebook, cut, told, write_dump
from clean import DECODED, DEMO, CleanDumps, folder_name, layers_of

KINDS = ("all", "blocks", "unscored", "third")
WIDE_RUNS = ("12", "64", DECODED)
FORMS = {
    "float16": (torch.float16,),
    "bfloat16": (torch.bfloat16,),
    "mixed": (torch.float32, torch.bfloat16, torch.float16),
}


def stored(tensors: dict[str, Tensor], form: str) -> dict[str, Tensor]:
    """The same in other precisions, each tensor in the next one of the form. What f16 cannot hold stays as it is."""
    types = FORMS[form]

    def cast(index: int, tensor: Tensor) -> Tensor:
        narrow = tensor.to(types[index % len(types)])
        return narrow if narrow.isfinite().all() or not tensor.isfinite().all() else tensor

    return {name: cast(index, tensor) for index, (name, tensor) in enumerate(sorted(tensors.items()))}


def add_stored(book: Casebook, dumps: CleanDumps, folder: Path) -> None:
    """Adds float32 runs stored in fewer bits, and bfloat16 runs stored in more."""
    name = folder_name(folder)
    runs = [("float32", form, tokens) for form in FORMS for tokens in WIDE_RUNS]
    runs += [("bfloat16", "float32", "12"), ("float16", "float32", DECODED)]
    for precision, form, tokens in runs:
        if folder == DEMO and tokens == "64":
            continue
        for kind in KINDS if form != "float32" else ("all", "blocks"):
            case = f"clean/{name}/{precision}-as-{form}/{kind}/{tokens}"
            if not book.wants(case):
                continue
            dump = dumps.dump(folder, precision, tokens)
            tensors = cut(dump.tensors, kind, layers_of(folder))
            if form == "float32":
                tensors = {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in tensors.items()}
            else:
                tensors = stored(tensors, form)
            path = write_dump(book.path(f"{case}.safetensors"), tensors, told(dump.metadata, kind))
            expect = dumps.expect(folder, precision, tokens) if form == "float32" else CLEAN
            book.add(case, folder, expect, candidate=path)
    dumps.forget()
