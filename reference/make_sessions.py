#!/usr/bin/env python3
"""Make the dumps of the worked examples in sessions/: PyTorch's, and those of ports with a mistake in them, or with none.

    python make_sessions.py            # into sessions/dumps
    python make_sessions.py --check    # make them in a temporary folder and compare

`CASES` is the table. A port is PyTorch, too, with mistakes of planting.py in every layer: a port has one function for all of
them. It is fed what the reference was fed, in the same forwards. Both dumps hold the activations that somebody who is
after such a mistake would write.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, PreTrainedModel

from capture import ATTENTION, capture, capture_run, greedy, read_ids
from casebook import REPOSITORY, read_dump
from clean import DEMO, Dump, model_of, tokens_of
from demo.make_dumps import feed, settle
from equivalent import interleave
from founding import story
from make_tiny import TINY, difference
from planting import Plant, planted
from planting_attention import newest_keys_unwritten, newest_values_unwritten

DUMPS = REPOSITORY / "sessions" / "dumps"
BLOCKS = ("model.embed_tokens", "model.layers.?", "lm_head")
TEXT = 14  # tokens of a continuation
SAME = {"float32": 1e-5, "bfloat16": 2e-2}  # how far dumps made on two machines may be apart

Port = Callable[[PreTrainedModel], PreTrainedModel]


def in_every_layer(*bugs: str) -> Port:
    """A copy of a model with these mistakes in each of its layers."""
    return lambda model: planted(model, [Plant(bug, n) for n in range(model.config.num_hidden_layers) for bug in bugs])


def attend_before_append(model: PreTrainedModel) -> PreTrainedModel:
    """Decodes as if attention read the cache before the new key and value are in it: their slot holds zeros."""
    port = planted(model, [])
    for layer in range(port.config.num_hidden_layers):
        newest_keys_unwritten(port, layer)
        newest_values_unwritten(port, layer)
    return port


@dataclass(frozen=True)
class Case:
    """A reference and a port. Without a prompt, the reference is the one that is committed beside the model."""

    name: str
    folder: Path
    port: Port
    only: tuple[str, ...]
    prompt: str | None = None
    decode: int = 0
    precision: str = "float32"  # in which the reference was computed; ports compute in float32

    def reference(self, folder: Path) -> Path:
        return folder / f"{self.name}-reference.safetensors" if self.prompt else self.folder / "reference.safetensors"

    def candidate(self, folder: Path) -> Path:
        return folder / f"{self.name}-candidate.safetensors"

    def ids(self) -> list[int]:
        return read_ids(str(self.folder), prompt=self.prompt)

    def ported(self) -> PreTrainedModel:
        """The port, with the attention in which its mistakes take effect."""
        port = self.port(model_of(self.folder, "float32"))
        port.set_attn_implementation(ATTENTION)
        return port

    def make(self, folder: Path) -> None:
        """Writes what of the two dumps is not committed elsewhere."""
        if self.prompt:
            model = model_of(self.folder, self.precision)
            capture_run(model, self.ids(), self.reference(folder), self.decode, only=self.only)
            settle(self.reference(folder))
        fed = Dump({}, read_dump(self.reference(folder))[1])
        with capture(port := self.ported(), self.candidate(folder), only=self.only):
            feed(port, fed.ids, fed.steps)
        settle(self.candidate(folder))

    def texts(self) -> tuple[str, str]:
        """How PyTorch and the port go on after the prompt."""
        decode = AutoTokenizer.from_pretrained(self.folder).decode
        right = model_of(self.folder, self.precision)
        return tuple(decode(greedy(model, self.ids(), TEXT)) for model in (right, self.ported()))


ATTENTION_OPS = tuple(f"*.self_attn.{op}" for op in ("v_proj", "q_rope", "k_rope", "scores", "probs", "context", "o_proj"))
CASES = (
    Case(
        "clean", DEMO, interleave,
        (*BLOCKS, "*.q_rope", "*.k_rope", "*.v_proj", "*.context", "*.o_proj", "*.down_proj", "model.norm"),
        prompt="Emma could not forgive", precision="bfloat16",
    ),
    Case(
        "interleaved", DEMO, in_every_layer("rope_interleaved"),
        (*BLOCKS, "*.q_proj", "*.k_proj", "*.q_rope", "*.k_rope", "*.probs"),
        prompt="Elinor and Marianne, Elinor and",
    ),
    Case("gqa", DEMO, in_every_layer("gqa_tile"), (*BLOCKS, *ATTENTION_OPS), prompt="I am sure I am"),
    Case(
        "stale-cache", DEMO, attend_before_append,
        (*BLOCKS[:2], "model.layers.?@?", "*.k_rope", "*.v_proj", *(f"{op}@?" for op in ATTENTION_OPS), "lm_head@?"),
        prompt="Mr. Bennet and Mr.", decode=2,
    ),
    Case(
        "two-bugs", TINY / "qwen3", in_every_layer("qk_norm_missing", "rope_theta_1e4"),
        (*BLOCKS, *(f"*.self_attn.{part}_{op}" for part in "qk" for op in ("proj", "norm", "rope")), "*.o_proj"),
    ),
)  # fmt: skip


def make_founding(folder: Path) -> None:
    """The founding story on the demo: PyTorch's hidden states of one token, by index, and an engine that is right."""
    files, _ = story(DEMO, "bfloat16", 1)
    save_file({name: value.contiguous() for name, value in files.items()}, folder / "founding-reference.safetensors")
    path, engine = folder / "founding-candidate.safetensors", model_of(DEMO, "float32")
    with capture(engine, path, only=BLOCKS):
        feed(engine, tokens_of(DEMO, 1), [1])
    settle(path)


def make(folder: Path) -> list[Path]:
    """Writes all dumps; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    make_founding(folder)
    for case in CASES:
        case.make(folder)
    return sorted(folder.iterdir())


def precision_of(path: Path) -> str:
    """In which precision a dump was computed. The founding reference, which does not say so, is stored in another."""
    _, metadata = read_dump(path)
    return metadata["dtype"] if metadata else "bfloat16"


def ids_of(path: Path) -> list[int]:
    """The tokens of a dump, if it says them."""
    return json.loads((read_dump(path)[1] or {}).get("input_ids", "[]"))


def compare(made: Path, kept: Path) -> list[str]:
    """What is not the same in two folders of dumps."""
    names = {path.name for path in made.iterdir()}
    if wrong := names ^ {path.name for path in kept.iterdir()}:
        return [f"{name} is in one of the folders only" for name in sorted(wrong)]
    apart = {name: difference(made / name, kept / name) for name in sorted(names)}
    allowed = {name: SAME[precision_of(kept / name)] for name in apart}
    wrong = [f"{name} differs by {error:.1e}" for name, error in apart.items() if not error <= allowed[name]]
    return wrong + [f"{name} is of other tokens" for name in apart if ids_of(made / name) != ids_of(kept / name)]


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the dumps of the worked examples in sessions/.")
    parser.add_argument("--check", action="store_true", help="make them in a temporary folder and compare")
    torch.set_num_threads(1)  # for models this small, threads only wait for each other
    if parser.parse_args().check:
        with tempfile.TemporaryDirectory() as temporary:
            make(Path(temporary))
            wrong = compare(Path(temporary), DUMPS)
        print(*(wrong or ["all as committed"]), sep="\n")
        return 1 if wrong else 0
    for path in make(DUMPS):
        print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")
    for case in CASES:
        if case.prompt:
            print(case.name, *map(repr, (case.prompt, *case.texts())), sep="\n    ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
