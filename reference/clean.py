"""The clean part of the corpus: correct runs in every precision, length and coverage. None of them may accuse anyone."""

import json
from functools import cache
from pathlib import Path

import numpy as np
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel

from capture import capture_run, load_model
from casebook import CLEAN, Casebook, cut, read_dump, write_dump
from make_tiny import MODELS, TINY

DEMO = Path(__file__).resolve().parent / "demo" / "model"
PRECISIONS = ("float32", "bfloat16", "float16")
COVERAGES = ("all", "blocks", "third", "logits")
LENGTHS = (1, 12, 64)
DECODED = "12+4"  # tokens of the prefill, then decode steps
TEXT = (
    "The lighthouse keeper wrote three letters that winter. In the first, dated 4 December 1871, he asked for lamp oil, "
    "flour and a new barometer; in the second he described a wreck, and the third he never sent. "
    "It was found in the clock, years later, by a boy who could not read."
)


@cache
def model_of(folder: Path, precision: str) -> PreTrainedModel:
    """A loaded model. It is shared: who changes it changes a copy."""
    return load_model(str(folder), precision)


@cache
def layers_of(folder: Path) -> int:
    return AutoConfig.from_pretrained(folder).num_hidden_layers


def tokens_of(folder: Path, count: int) -> list[int]:
    """The first `count` tokens of this model's input: random ones, or a text if it can read."""
    if (folder / "tokenizer.json").is_file():
        tokens = AutoTokenizer.from_pretrained(folder)(TEXT)["input_ids"]
    else:
        vocabulary = AutoConfig.from_pretrained(folder).vocab_size
        tokens = np.random.Generator(np.random.PCG64(7)).integers(3, vocabulary, max(LENGTHS)).tolist()
        tokens[9] = tokens[2]  # one token twice
    if len(tokens) < count:
        raise ValueError(f"{folder.name}: the text has only {len(tokens)} tokens")
    return tokens[:count]


class CleanDumps:
    """Writes each correct run once, whole, and cuts the parts of it that are asked for."""

    def __init__(self, book: Casebook):
        self.book = book
        self._written: set[Path] = set()
        self._read = cache(read_dump)

    def whole(self, folder: Path, precision: str, tokens: str) -> Path:
        """All of a run. `tokens` is `12`, or `12+4` for twelve and four greedy steps."""
        path = self.book.path(f"clean/{folder_name(folder)}/{precision}/all/{tokens}.safetensors")
        if path not in self._written:
            prompt, _, decode = tokens.partition("+")
            ids = tokens_of(folder, int(prompt))
            model = model_of(folder, precision)
            recorder = capture_run(model, ids, path, int(decode or 0))
            bad = [name for name, tensor in recorder.tensors.items() if not tensor.isfinite().all() and "scores" not in name]
            if bad:
                raise ValueError(f"{path}: {bad[0]} is not finite")
            self._written.add(path)
        return path

    def tensors(self, folder: Path, precision: str, tokens: str) -> tuple[dict[str, Tensor], dict[str, str]]:
        return self._read(self.whole(folder, precision, tokens))

    def part(self, folder: Path, precision: str, tokens: str, kind: str) -> Path:
        """The file of one coverage of a run."""
        if kind == "all":
            return self.whole(folder, precision, tokens)
        path = self.book.path(f"clean/{folder_name(folder)}/{precision}/{kind}/{tokens}.safetensors")
        if path not in self._written:
            tensors, metadata = self.tensors(folder, precision, tokens)
            write_dump(path, cut(tensors, kind, layers_of(folder)), metadata)
            self._written.add(path)
        return path

    def ids(self, folder: Path, precision: str, tokens: str) -> list[int]:
        """Every token of a run, those it decoded too."""
        return json.loads(self.tensors(folder, precision, tokens)[1]["input_ids"])

    def forget(self) -> None:
        """Frees what was read."""
        self._read.cache_clear()


def folder_name(folder: Path) -> str:
    return "demo" if folder == DEMO else folder.name


def tiny_folders() -> list[Path]:
    return [TINY / name for name in MODELS]


def add_clean(book: Casebook, dumps: CleanDumps, folder: Path) -> None:
    """Adds every clean case of a model."""
    name = folder_name(folder)
    for precision in PRECISIONS:
        for tokens in (*map(str, LENGTHS), DECODED):
            for kind in COVERAGES if tokens != DECODED else ("all", "blocks"):
                case = f"clean/{name}/{precision}/{kind}/{tokens}"
                for role in ("reference", "candidate") if tokens in ("12", DECODED) else ("reference",):
                    titled = case if role == "reference" else f"{case}/candidate"
                    if book.wants(titled):
                        book.add(titled, folder, CLEAN, **{role: dumps.part(folder, precision, tokens, kind)})
        dumps.forget()
    for tokens in ("12", "64"):
        for kind in ("all", "blocks"):
            for precision in ("bfloat16", "float16"):
                case = f"clean/{name}/float32-{precision}/{kind}/{tokens}"
                if book.wants(case):
                    book.add(
                        case,
                        folder,
                        CLEAN,
                        reference=dumps.part(folder, "float32", tokens, kind),
                        candidate=dumps.part(folder, precision, tokens, kind),
                    )
    dumps.forget()
