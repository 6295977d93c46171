"""Models stored in float32 and loaded in fewer bits: every parameter is rounded when it is read, also those that are computed
with in float32 afterwards. The tiny models themselves are stored in bfloat16, where loading rounds nothing.
"""

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from casebook import Casebook
from clean import CleanDumps, family_folders, folder_name, model_of, tiny_folders

BETWEEN = 2.0**-9  # a weight moves by at most this part of itself, to anywhere between two numbers of bfloat16
CASES = (
    ("bfloat16", "all", "12+4"),
    ("bfloat16", "third", "12"),
    ("bfloat16", "blocks", "12"),
    ("float16", "all", "12"),
)


def with_all_bits(folder: Path, made: Path) -> None:
    """Writes the model with weights that need all bits of float32."""
    random = torch.Generator().manual_seed(3)

    def finer(weight: Tensor) -> Tensor:
        weight = weight.float()
        return weight * (1 + BETWEEN * (2 * torch.rand(weight.shape, generator=random) - 1))

    shutil.copytree(folder, made, dirs_exist_ok=True, ignore=shutil.ignore_patterns("reference*", "greedy*"))
    for path in made.glob("model*.safetensors"):
        tensors = load_file(path)
        finest = {name: finer(tensor) if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
        save_file(finest, path, {"format": "pt"})


def add_finer(book: Casebook, dumps: CleanDumps) -> None:
    """Adds right runs of such models."""
    for folder in (*tiny_folders(), *family_folders()):
        made = book.folder / "models" / f"finer-{folder_name(folder)}"
        cases = {f"clean/{made.name}/{precision}/{kind}/{tokens}": (precision, kind, tokens) for precision, kind, tokens in CASES}
        wanted = [name for name in cases if book.wants(name)]
        if wanted:
            with_all_bits(folder, made)
        for name in wanted:
            precision, kind, tokens = cases[name]
            expect = dumps.expect(made, precision, tokens)
            book.add(name, made, expect, candidate=dumps.part(made, precision, tokens, kind))
        model_of.cache_clear()
        dumps.forget()
