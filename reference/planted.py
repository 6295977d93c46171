"""The planted part of the corpus: every mistake of planting.py in dumps of several precisions, layers and coverages.

Each planted run is checked before it is written: all that is computed before the first mistake equals the clean run bit for
bit, the activation of the mistake differs, and, op by op in float64, exactly the planted activations disagree with their
own inputs. What the manifest says of a planted case, besides the verdict:

    bug, suspect   ids of planting.py, and of the suspect the mistake stands for ("unknown" if there is none), without
                   mistakes behind the last tensor of the dump, which nothing of it shows
    fair           other suspects that compute the same numbers
    name           the first activation, in program order, that is wrong although its inputs are right
    or             activations that another right reading may name instead: probs for a mask, if masked scores are not compared
    all            every such activation that shows (ratio over 3), those of a second mistake and of decode steps too
    first          the first activation of this dump that differs from the clean run
    effect, noise  there: its relative L2 from the clean run, and that of the clean run from float64
    ratio          at `name`: its error over the largest clean error of that op, each against float64 on its own inputs
    logits         relative L2 of the logits from the clean run's, in the worst forward: near 0 if the mistake cancels out
    precision, coverage, culprit
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from casebook import HEADS, Casebook, cut, named, told, write_dump
from clean import DECODED, ONE_BY_ONE, CleanDumps, Dump, fed, folder_name, layers_of, model_of
from oracle import Oracle, order_in, relative_error, split_name
from planting import Plant, planted

SHOWS = 3.0  # an op is wrong if its error is above this many times the largest clean error of its kind
CLEAR = 4.0  # an effect that a sparse dump must show, over the noise
ROUNDING = {"float32": 2**-24, "bfloat16": 2**-9, "float16": 2**-12}


@dataclass(frozen=True)
class Run:
    """A model with mistakes in it, and what of its run is written."""

    folder: Path
    precision: str
    plants: tuple[Plant, ...]
    coverages: tuple[str, ...]
    tokens: str = "12"
    small: bool = False  # below the noise that comes in
    any_of: bool = False  # not each of the sparse coverages, but the first that shows it clearly
    beside_float32: bool = False  # a case with a float32 reference, too
    of_reference: bool = False  # it is the reference that has the mistakes
    suspect: str | None = None  # where these mistakes together are another than each alone

    @property
    def id(self) -> str:
        """The mistakes with their layers: `rope_theta-2`; a mistake in every layer is `rope_theta-every`."""
        bugs = list(dict.fromkeys(plant.id for plant in self.plants))
        places = {bug: [plant.layer for plant in self.plants if plant.id == bug] for bug in bugs}
        parts = (f"{bug}-{'every' if len(at) > 1 else at[0]}".removesuffix("-None") for bug, at in places.items())
        fed = "-one-by-one" if self.tokens == ONE_BY_ONE else ""
        return "+".join(parts) + fed + ("-small" if self.small else "") + ("-in-reference" if self.of_reference else "")

    @property
    def name(self) -> str:
        return f"planted/{folder_name(self.folder)}/{self.precision}/{self.id}"


@dataclass(frozen=True)
class Finding:
    """What is true of a planted run."""

    name: str
    all: list[str]
    ratio: float


class PlantedDumps:
    """Makes planted runs and knows the clean ones beside them."""

    def __init__(self, dumps: CleanDumps):
        self.dumps = dumps
        self.exact = cache(self._exact)
        self.floors = cache(self._floors)

    def run(self, run: Run) -> Dump:
        """What the model with the mistakes computes for the tokens of the clean run."""
        clean = self.dumps.dump(run.folder, run.precision, run.tokens)
        return fed(planted(model_of(run.folder, run.precision), run.plants), clean)

    def _exact(self, folder: Path, precision: str, tokens: str) -> Dump:
        """The clean run of these tokens in float64."""
        return fed(model_of(folder, "float64"), self.dumps.dump(folder, precision, tokens))

    def _floors(self, folder: Path, precision: str, tokens: str) -> dict[str, float]:
        """The largest error that each kind of op makes in the clean run."""
        floors: dict[str, float] = {}
        clean = self.dumps.dump(folder, precision, tokens)
        for name, error in Oracle(model_of(folder, precision), clean.tensors, clean.ids, clean.steps).local_errors().items():
            op = split_name(name)[2]
            floors[op] = max(floors.get(op, ROUNDING[precision]), error)
        return floors

    def examine(self, run: Run, dump: Dump) -> Finding:
        """Checks that the mistakes are where they are said to be, and nowhere else."""
        clean = self.dumps.dump(run.folder, run.precision, run.tokens)
        claimed = {name for plant in run.plants for name in plant.bug.wrong(plant.layer, len(clean.steps))}
        order = order_in(clean.tensors)
        expected = sorted(claimed, key=order)
        first = first_difference(dump.tensors, clean.tensors)
        if run.tokens == ONE_BY_ONE:  # nothing is rotated at position 0, no window is full
            expected = expected[expected.index(first) :] if first in claimed else expected
        assert first == expected[0], f"{run.name}: the first to differ is {first}, not {expected[0]}"
        floors = self.floors(run.folder, run.precision, run.tokens)
        errors = Oracle(model_of(run.folder, run.precision), dump.tensors, dump.ids, dump.steps).local_errors()
        ratios = {name: error / floors[split_name(name)[2]] for name, error in errors.items()}
        wrong = sorted((name for name, ratio in ratios.items() if ratio > SHOWS), key=order)
        assert set(wrong) <= claimed, f"{run.name}: {sorted(set(wrong) - claimed)} are wrong, too"
        if any(plant.id == "layer_skipped" for plant in run.plants):  # what is inside is not there to be computed
            wrong, ratios = expected, ratios | {first: float("inf")}
        assert wrong and wrong[0] == first, f"{run.name}: {first} has a ratio of {ratios[first]:.2g}"
        for plant in run.plants:
            sites = set(plant.bug.wrong(plant.layer, len(clean.steps)))
            assert sites & set(wrong), f"{run.name}: {plant.id} does not show"
        return Finding(first, wrong, ratios[first])


def seen_in(part: dict[str, Tensor], run: Run, dump: Dump) -> list[Plant]:
    """The mistakes that do not lie behind the last tensor of a part of a dump."""
    order = order_in(dump.tensors)
    joined = not any("@" in name for name in part)  # each tensor has the rows of all forwards
    last = max(order(name) for name in dump.tensors if (name.partition("@")[0] if joined else name) in part)
    return [plant for plant in run.plants if min(map(order, plant.bug.wrong(plant.layer, len(dump.steps)))) <= last]


def first_difference(tensors: dict[str, Tensor], clean: dict[str, Tensor]) -> str | None:
    """The first activation, in program order, that two dumps share and that has not the same bits."""
    names = tensors.keys() & clean.keys()
    shared = sorted(names, key=order_in(names))
    return next((name for name in shared if not torch.equal(tensors[name], clean[name])), None)


def logits_effect(tensors: dict[str, Tensor], clean: dict[str, Tensor]) -> float:
    """How far the logits of any forward are from the clean run's."""
    returned = HEADS["logits" in clean]
    return max(relative_error(tensors[name], clean[name]) for name in clean if name.startswith(returned))


def rounded(value: float) -> float | None:
    return float(f"{value:.3g}") if value < float("inf") else None


def add_run(book: Casebook, made: PlantedDumps, run: Run) -> None:
    """Adds the cases of a planted run: each coverage alone, and beside a clean reference."""
    wants = lambda kind: any(book.wants(f"{run.name}/{kind}/{role}") for role in ("alone", "pair", "pair-float32"))  # noqa: E731
    if not any(map(wants, run.coverages)):
        return
    dump, clean = made.run(run), made.dumps.dump(run.folder, run.precision, run.tokens)
    finding = made.examine(run, dump)
    exact = made.exact(run.folder, run.precision, run.tokens).tensors
    found_sparse = False
    for kind in run.coverages:
        part, right, ideal = (cut(tensors, kind, layers_of(run.folder)) for tensors in (dump.tensors, clean.tensors, exact))
        first = first_difference(part, right)
        if first is None or (run.any_of and kind != "all" and found_sparse):
            continue
        effect, noise = relative_error(part[first], right[first]), relative_error(right[first], ideal[first])
        if kind != "all" and not kind.startswith("around") and effect < CLEAR * noise:
            continue
        if run.small:
            assert effect < noise, f"{run.name}: an effect of {effect:.2g} is seen above noise of {noise:.2g}"
            assert 3.5 <= finding.ratio <= 10, f"{run.name}: a ratio of {finding.ratio:.2g}"
            print(f"{run.name:70} ratio {finding.ratio:4.1f}  effect {effect:.1e}  noise {noise:.1e}")
        found_sparse |= kind != "all"
        if not wants(kind):
            continue
        planted_part = write_dump(book.path(f"{run.name}/{kind}.safetensors"), part, told(dump.metadata, kind))
        clean_part = made.dumps.part(run.folder, run.precision, run.tokens, kind)
        expect = {
            "verdicts": list(dict.fromkeys(verdict for plant in run.plants for verdict in plant.bug.verdicts)),
            "bug": "+".join(dict.fromkeys(plant.id for plant in run.plants)),
            "suspect": run.suspect or "+".join(dict.fromkeys(plant.bug.suspect for plant in seen_in(part, run, dump))),
            "name": named(finding.name, kind),
            "fair": list(dict.fromkeys(suspect for plant in run.plants for suspect in plant.bug.fair)),
            "or": [plant.bug.name(plant.bug.instead, plant.layer) for plant in run.plants[:1] if plant.bug.instead],
            "all": list(dict.fromkeys(named(name, kind) for name in finding.all)),
            "culprit": "reference" if run.of_reference else "candidate",
            "precision": run.precision,
            "coverage": kind,
            "first": first,
            "effect": rounded(effect),
            "noise": rounded(noise),
            "ratio": rounded(finding.ratio),
            "logits": rounded(logits_effect(dump.tensors, clean.tensors)),
        }
        blamed, other = ("reference", "candidate") if run.of_reference else ("candidate", "reference")
        book.add(f"{run.name}/{kind}/alone", run.folder, expect, **{blamed: planted_part})
        book.add(f"{run.name}/{kind}/pair", run.folder, expect, **{blamed: planted_part, other: clean_part})
        if run.beside_float32 and run.tokens != DECODED:
            reference = made.dumps.part(run.folder, "float32", run.tokens, kind)
            book.add(f"{run.name}/{kind}/pair-float32", run.folder, expect, reference=reference, candidate=planted_part)
