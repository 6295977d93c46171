"""The cases of the corpus: where their dumps lie, and the manifest that lists them.

A case is one run of `layerstep diff` and what it has to say. `corpus.json` is the list of them:

    name        clean/llama/bfloat16/blocks/12
    group       clean (accuse nobody) | planted (name the mistake) | founding (name the mislabelled reference)
    model       folder of the model
    reference   dump or null, candidate: dump or null
    ids         the tokens, where the dump itself does not say; else null
    batch       the sequence that is read, of a batch
    control     true where something was changed that is no mistake
    expect      verdicts, and what planted.py, mislabelled.py and founding.py say about the mistake; of a clean run
                also flips, if there are any: rows that rounding sends to other experts than float32 does; and note: what
                one of the notes has to say

Paths are relative to the manifest inside the repository, absolute outside of it.
"""

import json
import os
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

REPOSITORY = Path(__file__).resolve().parents[1]
JOINED = ("joined", "untold")
UNSCORED = ("unscored", *JOINED)
HEADS = ("lm_head", "logits")
CLEAN = {"verdicts": ["match", "rounding"]}


class Casebook:
    """Gathers cases under a folder; only those whose name matches one of the globs are wanted."""

    def __init__(self, folder: Path, *only: str):
        self.folder, self.only = folder.resolve(), only or ("*",)
        self.cases: list[dict] = []
        self.whole: Casebook | None = None

    def wants(self, name: str) -> bool:
        return any(fnmatchcase(name, glob) for glob in self.only) and (self.whole is None or self.whole.wants(name))

    def part(self, *only: str) -> "Casebook":
        """The same book for those cases only whose name matches one of these globs, too."""
        part = Casebook(self.folder, *only)
        part.whole, part.cases = self, self.cases
        return part

    def path(self, name: str) -> Path:
        """A place to write to, its folder made."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def add(self, name: str, model: Path, expect: dict, *, reference: Path | None = None, candidate: Path | None = None,
            ids: list[int] | None = None, batch: int | None = None, control: bool = False) -> None:
        """Adds a case if it is wanted. Its group is the first part of its name; a control is clean."""
        if not self.wants(name):
            return
        case = {
            "name": name,
            "group": "clean" if control else name.split("/")[0],
            "model": self._written(model),
            "reference": self._written(reference),
            "candidate": self._written(candidate),
            "ids": ids,
            "expect": expect,
        }
        picked = {} if batch is None else {"batch": batch}
        self.cases.append(case | picked | ({"control": True} if control else {}))

    def _written(self, path: Path | None) -> str | None:
        if path is None:
            return None
        path = path.resolve()
        if self.folder.is_relative_to(REPOSITORY) and path.is_relative_to(REPOSITORY):
            return Path(os.path.relpath(path, self.folder)).as_posix()
        return str(path)

    def save(self) -> Path:
        """Writes the manifest, one case a line."""
        names = [case["name"] for case in self.cases]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two cases of one name: {', '.join(twice)}")
        path = self.path("corpus.json")
        path.write_text("[\n" + ",\n".join(json.dumps(case) for case in self.cases) + "\n]\n")
        return path

    def size(self) -> int:
        """Bytes of all dumps that a case names."""
        dumps = {self.folder / case[role] for case in self.cases for role in ("reference", "candidate") if case[role]}
        files = {file for dump in dumps for file in (dump.rglob("*") if dump.is_dir() else [dump]) if file.is_file()}
        return sum(file.stat().st_size for file in files)


# --- parts of a dump ------------------------------------------------------------------------------------------------


def read_dump(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a dump."""
    with safe_open(path, "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()


def write_dump(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata)
    return path


BLOCKS = ("model.layers", "transformer.h", "transformer.blocks", "gpt_neox.layers", "model.decoder.layers", "model.language_model.layers", "encoder.layer", "layers")
ATTENTION = tuple(f".{attn}.{out}" for attn in ("self_attn", "attn", "attention", "self_attention") for out in ("o_proj", "c_proj", "out_proj", "dense"))


def _blocks(layers: Iterable[int]) -> Callable[[str], bool]:
    names = {f"{blocks}.{n}" for n in layers for blocks in BLOCKS}
    return lambda name: name in names


def coverage(kind: str, layers: int) -> Callable[[str], bool]:
    """Which activations, the step suffix aside, a dump of this coverage holds, in a model of `layers` layers.

    all; blocks: every block's output; second, third: every second or third block's, of up to four layers the second's
    and the logits; logits: before and after a cap; attention: what attention adds to the stream; unnormed: all but the
    norms of q and k; unscored: all but scores and probs; joined, untold: the same, which has rows of tokens (see
    `cut`); around-N: all of the layers N - 1 to N + 1.
    """
    if kind.startswith("around-"):
        at = int(kind.removeprefix("around-"))
        near = tuple(f"{blocks}.{n}." for n in (at - 1, at, at + 1) for blocks in BLOCKS)
        return lambda name: f"{name}.".startswith(near)
    middle, third = _blocks([1]), _blocks(range(2, layers, 3))
    return {
        "all": lambda name: True,
        "blocks": _blocks(range(layers)),
        "second": _blocks(range(0, layers, 2)),
        "third": third if layers > 4 else lambda name: middle(name) or name in HEADS,
        "logits": lambda name: name in HEADS,
        "attention": lambda name: name.endswith(ATTENTION),
        "unnormed": lambda name: not name.endswith((".q_norm", ".k_norm")),
        **dict.fromkeys(UNSCORED, lambda name: not name.endswith((".scores", ".probs"))),
    }[kind]


def cut(tensors: dict[str, Tensor], kind: str, layers: int) -> dict[str, Tensor]:
    """The part of a dump that a coverage holds. In joined and untold, the rows of all forwards are in one tensor."""
    held = coverage(kind, layers)
    part = {name: tensor for name, tensor in tensors.items() if held(name.split("@")[0])}
    if kind not in JOINED:
        return part
    forwards = 1 + max(int(name.partition("@")[2] or 0) for name in part)
    names = [name for name in part if "@" not in name]
    rows = {name: [part[name], *(part[f"{name}@{n}"] for n in range(1, forwards))] for name in names}
    return {name: torch.cat(parts, token_axis(name)) for name, parts in rows.items()}


def token_axis(name: str) -> int:
    """The axis of an activation that has the tokens: those of experts have another one between tokens and channels."""
    return 0 if ".experts." in name else -2


def told(metadata: dict[str, str], kind: str) -> dict[str, str]:
    """What a dump of this coverage says of its run; in untold, not that there were several forwards."""
    return {key: value for key, value in metadata.items() if kind != "untold" or key not in ("steps", "positions")}


def named(name: str, kind: str) -> str:
    """The name by which a program that reads a dump of this coverage knows an activation."""
    return name.partition("@")[0] if kind == "untold" else name
