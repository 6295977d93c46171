"""The clean part of the corpus: correct runs in every precision, length and coverage. None of them may accuse anyone."""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel

from capture import capture, capture_run, load_model
from casebook import CLEAN, JOINED, Casebook, cut, read_dump, told, write_dump
from demo.make_dumps import feed
from make_tiny import ENCODERS, MODELS, TINY, VARIANTS

DEMO = Path(__file__).resolve().parent / "demo" / "model"
PRECISIONS = ("float32", "bfloat16", "float16")
COVERAGES = ("all", "blocks", "third", "logits")
LENGTHS = (1, 12, 64)
DECODED = "12+4"  # tokens of the prefill, then decode steps
ONE_BY_ONE = "1+11"  # as small engines feed them
PARTS = "4,4,4"  # a prompt in parts
LONG = "400"  # enough for rounded RoPE speeds to stand out of the rounding of a bf16 run
TEXT = (
    "The lighthouse keeper wrote three letters that winter. In the first, dated 4 December 1871, he asked for lamp oil, "
    "flour and a new barometer; in the second he described a wreck, and the third he never sent. "
    "It was found in the clock, years later, by a boy who could not read."
)


@cache
def model_of(folder: Path, precision: str) -> PreTrainedModel:
    """A loaded model. It is shared: who changes it changes a copy.

    It is itself a copy: products of single rows depend on how the weights lie in memory, and those that are mapped from a
    file lie otherwise than those of a changed model.
    """
    return copy.deepcopy(load_model(str(folder), precision))


@cache
def layers_of(folder: Path) -> int:
    return AutoConfig.from_pretrained(folder).get_text_config().num_hidden_layers


def tokens_of(folder: Path, count: int) -> list[int]:
    """The first `count` tokens of this model's input: random ones, or a text if it can read."""
    if (folder / "tokenizer.json").is_file():
        tokens = AutoTokenizer.from_pretrained(folder)(TEXT)["input_ids"]
    else:
        vocabulary = AutoConfig.from_pretrained(folder).get_text_config().vocab_size
        tokens = np.random.Generator(np.random.PCG64(7)).integers(3, vocabulary, int(LONG)).tolist()
        tokens[9] = tokens[2]  # one token twice
    if len(tokens) < count:
        raise ValueError(f"{folder.name}: the text has only {len(tokens)} tokens")
    return tokens[:count]


@dataclass(frozen=True)
class Dump:
    """What one run computed."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]

    @property
    def ids(self) -> list[int]:
        return json.loads(self.metadata["input_ids"])

    @property
    def steps(self) -> list[int]:
        return json.loads(self.metadata["steps"])


def recorded(run: Callable[[Path], object]) -> Dump:
    """What `run` writes to the path it is given."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "dump.safetensors")
        run(path)
        return Dump(*read_dump(path))


def fed(model: PreTrainedModel, like: Dump) -> Dump:
    """What a model computes for the tokens of another run, in the same forwards."""

    def run(path: Path) -> None:
        with capture(model, path):
            feed(model, like.ids, like.steps)

    return recorded(run)


class CleanDumps:
    """Makes each correct run once, and writes the parts of it that are asked for."""

    def __init__(self, book: Casebook):
        self.book = book
        self._written: set[Path] = set()
        self.dump = cache(self._run)
        self.flips = cache(self._flips)

    def _run(self, folder: Path, precision: str, tokens: str) -> Dump:
        """All of a run. `tokens` is `12`, `12+4` for twelve and four greedy steps, or `4,4,4` for a prompt in parts."""
        if "," in tokens:
            steps = [int(part) for part in tokens.split(",")]
            told = {"input_ids": tokens_of(folder, sum(steps)), "steps": steps}
            return fed(model_of(folder, precision), Dump({}, {key: json.dumps(value) for key, value in told.items()}))
        prompt, _, decode = tokens.partition("+")
        ids, model = tokens_of(folder, int(prompt)), model_of(folder, precision)
        dump = recorded(lambda path: capture_run(model, ids, path, int(decode or 0)))
        if bad := [name for name, tensor in dump.tensors.items() if "scores" not in name and not tensor.isfinite().all()]:
            raise ValueError(f"{folder.name} in {precision}: {bad[0]} is not finite")
        return dump

    def _flips(self, folder: Path, precision: str, tokens: str) -> int:
        """How many rows of a run are routed to other experts than in float32, for the same tokens."""
        ours = self.dump(folder, precision, tokens)
        routed = [name for name in ours.tensors if name.split("@")[0].endswith(".mlp.routing")]
        if not routed:
            return 0
        theirs = fed(model_of(folder, "float32"), ours)
        return sum(int(((ours.tensors[name] > 0) != (theirs.tensors[name] > 0)).any(-1).sum()) for name in routed)

    def expect(self, folder: Path, precision: str, tokens: str) -> dict:
        """What is to be said of a correct run."""
        flips = self.flips(folder, precision, tokens)
        return CLEAN | {"flips": flips} if flips else CLEAN

    def part(self, folder: Path, precision: str, tokens: str, kind: str) -> Path:
        """The file of one coverage of a run."""
        path = self.book.path(f"clean/{folder_name(folder)}/{precision}/{kind}/{tokens}.safetensors")
        if path not in self._written:
            dump = self.dump(folder, precision, tokens)
            write_dump(path, cut(dump.tensors, kind, layers_of(folder)), told(dump.metadata, kind))
            self._written.add(path)
        return path

    def forget(self) -> None:
        """Frees the runs."""
        self.dump.cache_clear()
        self.flips.cache_clear()


def folder_name(folder: Path) -> str:
    return "demo" if folder == DEMO else folder.name


def tiny_folders() -> list[Path]:
    """Models that all parts of the corpus have."""
    return [TINY / name for name in MODELS if name not in VARIANTS | ENCODERS]


def family_folders() -> list[Path]:
    """Those of which it has a prompt of 12 tokens, and decode steps."""
    return [TINY / name for name in VARIANTS]


def add_clean(book: Casebook, dumps: CleanDumps, folder: Path, lengths: tuple[int, ...] = LENGTHS) -> None:
    """Adds every clean case of a model, for prompts of these lengths."""
    name = folder_name(folder)
    for precision in PRECISIONS:
        for tokens in (*map(str, lengths), DECODED, ONE_BY_ONE):
            for kind in COVERAGES if tokens.isdecimal() else ("all", "blocks"):
                case = f"clean/{name}/{precision}/{kind}/{tokens}"
                for role in ("reference", "candidate") if tokens in ("12", DECODED, ONE_BY_ONE) else ("reference",):
                    titled = case if role == "reference" else f"{case}/candidate"
                    if book.wants(titled):
                        expect = dumps.expect(folder, precision, tokens)
                        book.add(titled, folder, expect, **{role: dumps.part(folder, precision, tokens, kind)})
        dumps.forget()
    for kind, precision in zip(JOINED, ("float32", "bfloat16"), strict=True):
        case = f"clean/{name}/{precision}/{kind}/{DECODED}"
        if book.wants(case):
            expect = dumps.expect(folder, precision, DECODED)
            book.add(case, folder, expect, candidate=dumps.part(folder, precision, DECODED, kind))
    for tokens in (str(length) for length in lengths if length > 1):
        for kind in ("all", "blocks"):
            for precision in ("bfloat16", "float16"):
                case = f"clean/{name}/float32-{precision}/{kind}/{tokens}"
                if book.wants(case):
                    book.add(
                        case,
                        folder,
                        dumps.expect(folder, precision, tokens),
                        reference=dumps.part(folder, "float32", tokens, kind),
                        candidate=dumps.part(folder, precision, tokens, kind),
                    )
    dumps.forget()


def add_long(book: Casebook, dumps: CleanDumps) -> None:
    """Adds the controls of a long prompt: a bf16 run in each role, and beside a float32 one.

    They have no scores and probs, which would be three quarters of the dump. The prompt is longer than the model's context:
    no activation depends on that.
    """
    folder, kind = TINY / "llama", "unscored"
    rounding = {"verdicts": ["rounding"]}
    case = f"clean/llama/bfloat16/{kind}/{LONG}"
    cases = {
        case: {"reference": "bfloat16"},
        f"{case}/candidate": {"candidate": "bfloat16"},
        f"clean/llama/float32-bfloat16/{kind}/{LONG}": {"reference": "float32", "candidate": "bfloat16"},
    }
    for name, roles in cases.items():
        if book.wants(name):
            parts = {role: dumps.part(folder, precision, LONG, kind) for role, precision in roles.items()}
            book.add(name, folder, rounding, **parts)
    dumps.forget()
