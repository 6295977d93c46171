#!/usr/bin/env python3
"""Run two builds of layerstep on whole corpora, or one now and one later, and print everything they answer differently.

    python compare_answers.py corpus corpus-smollm2 --before OLD --after NEW
    python compare_answers.py corpus corpus-smollm2 --before OLD --record answers.jsonl
    python compare_answers.py corpus corpus-smollm2 --after NEW --against answers.jsonl

A corpus is a folder of make_corpus.py. Each of its cases is run as tests/corpus does it, and in other ways:

    model   as the case says
    pair    both dumps without the model, where there are two
    map     of every 10th case: the dumps rewritten with names of their own, and a map that tells them
    ids     of every 10th case: the dumps rewritten without their tokens, and the tokens on the command line
    self    the check of the engine itself, once for each model

Figures may move within a tolerance, and do not count: they are summed up at the end, as is where a difference is worst.
Exit status: 0 where the builds answer alike, 1 where they do not, 2 where nothing could be compared.
"""

import argparse
import json
import math
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROLES = ("reference", "candidate")
EVERY = 10
SECONDS = 1800
FIGURE = re.compile(r"\d+\.\d+(?:e[-+]?\d+)?|\d+e[-+]?\d+|\bNaN\b|\binf\b")
PLAIN = 12  # so many names are printed of one change


# --- the runs -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One way to run a case of a corpus."""

    way: str
    name: str
    model: Path
    dumps: dict[str, Path]
    ids: tuple[int, ...] | None = None

    @property
    def title(self) -> str:
        return f"{self.name} [{self.way}]"

    def paths(self, folder: Path) -> dict[str, Path]:
        """What stands on the command line, as --model and so on. Files that have to be made are written to `folder`."""
        dumps = self.dumps
        if self.way in ("map", "ids"):
            dumps = {role: folder / f"{role}.safetensors" for role in dumps}
            suffixes = {suffix for role, path in dumps.items() for suffix in self._rewrite(self.dumps[role], path)}
            if self.way == "map":
                (folder / "map.toml").write_text("".join(rules(suffix) for suffix in sorted(suffixes)))
                dumps |= {"map": folder / "map.toml"}
        return ({} if self.way == "pair" else {"model": self.model}) | dumps

    def _rewrite(self, dump: Path, path: Path) -> set[str]:
        header, values = read_header(dump)
        metadata = header.pop("__metadata__")
        own = set(header)
        if self.way == "map":
            header = {own_name(name): entry for name, entry in header.items()}
        else:
            metadata = {key: value for key, value in metadata.items() if key not in ("input_ids", "steps", "positions")}
        text = json.dumps(header | {"__metadata__": metadata}).encode()
        text += b" " * (-len(text) % 8)
        path.write_bytes(len(text).to_bytes(8, "little") + text + values)
        return {re.sub(r"^model\.layers\.\d+", "model.layers.{N}", name.partition("@")[0]) for name in own}

    def answer(self, program: Path) -> dict[str, Any]:
        """What the program says: exit status, and a document or why there is none. Roles stand for the paths."""
        with TemporaryDirectory() as folder:
            paths = self.paths(Path(folder))
            itself = self.way == "self"  # one thread against several
            command = [str(program), "--threads", "2" if itself else "1", "diff", "--json", *["--self"] * itself]
            command += [word for role, path in paths.items() for word in (f"--{role}", str(path))]
            command += ["--ids", ",".join(map(str, self.ids))] if self.ids else []
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
            except subprocess.TimeoutExpired:
                return {"status": None, "document": None, "error": f"no answer within {SECONDS} seconds"}
        named = partial(without_paths, paths={str(path): f"<{role}>" for role, path in paths.items()})
        try:
            return {"status": done.returncode, "document": named(json.loads(done.stdout)), "error": None}
        except json.JSONDecodeError:
            return {"status": done.returncode, "document": None, "error": named(done.stderr.strip())}


def own_name(name: str) -> str:
    """The name of an activation, as the rewritten dumps have it: layers are counted from 1."""
    name, _, step = name.partition("@")
    layer = re.match(r"model\.layers\.(\d+)", name)
    own = f"enc{int(layer[1]) + 1}/own{name[layer.end():]}" if layer else f"own/{name}"
    return f"step{step}/{own}" if step else own


def rules(name: str) -> str:
    """The lines of a map for an activation of each layer, or of none."""
    own, layers = "own/" + name, name
    if name.startswith("model.layers.{N}"):
        own, layers = name.replace("model.layers.{N}", "enc{N}/own", 1), name.replace("{N}", "{N-1}", 1)
    lines = ((own, layers), ("step{K}/" + own, layers + "@{K}"))
    return "".join(f"{json.dumps(pattern)} = {json.dumps(name)}\n" for pattern, name in lines)


def read_header(dump: Path) -> tuple[dict[str, Any], bytes]:
    """The header of a .safetensors file, and all that follows it."""
    content = dump.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def told_ids(dumps: dict[str, Path]) -> tuple[int, ...] | None:
    """The tokens of dumps that can be rewritten: all of them say what was fed."""
    told = []
    for dump in dumps.values():
        if dump.suffix != ".safetensors":
            return None
        told.append(json.loads(read_header(dump)[0].get("__metadata__", {}).get("input_ids", "null")))
    return tuple(max(told, key=len)) if all(told) else None


def runs_of(folder: Path) -> Iterator[Run]:
    """Every run of a corpus."""
    models, number = set(), 0
    for case in json.loads((folder / "corpus.json").read_text()):
        model = folder / case["model"]
        dumps = {role: folder / case[role] for role in ROLES if case[role]}
        given = tuple(case["ids"]) if case["ids"] else None
        if model not in models:
            models.add(model)
            yield Run("self", model.name if model.name != "model" else model.parent.name, model, {})
        yield Run("model", case["name"], model, dumps, given)
        if len(dumps) == 2:
            yield Run("pair", case["name"], model, dumps, given)
        if given:
            continue
        if number % EVERY == 0 and (ids := told_ids(dumps)):
            yield Run("map", case["name"], model, dumps)
            yield Run("ids", case["name"], model, dumps, ids)
        number += 1


def without_paths(value: Any, paths: dict[str, str]) -> Any:
    """A document with each of the paths replaced by its role."""
    if isinstance(value, str):
        for path, role in sorted(paths.items(), key=lambda item: -len(item[0])):
            value = value.replace(path, role)
        return value
    if isinstance(value, list):
        return [without_paths(one, paths) for one in value]
    return {key: without_paths(one, paths) for key, one in value.items()} if isinstance(value, dict) else value


# --- the comparison -------------------------------------------------------------------------------------------------


@dataclass
class Figures:
    """The figures of one kind: how many, how many moved further than they may, and the one that moved furthest."""

    count: int = 0
    moved: int = 0
    worst: float = 0.0
    where: str = ""


@dataclass
class Comparison:
    """Collects what differs."""

    tolerance: float
    every_figure: bool = False
    lines: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    figures: dict[str, Figures] = field(default_factory=lambda: defaultdict(Figures))
    places: int = 0

    def answers(self, title: str, before: dict[str, Any], after: dict[str, Any]) -> bool:
        """Compares two answers; whether they are alike."""
        known = len(self.lines)
        for key in ("status", "error"):
            self.values(f"{title}: {key}", before[key], after[key])
        a, b = before["document"], after["document"]
        if a is None or b is None:
            self.plain(f"{title}: document", *("none" if one is None else "there" for one in (a, b)))
            return len(self.lines) == known
        for key in [*a, *(key for key in b if key not in a)]:
            at = f"{title}: {key}"
            one, other = a.get(key), b.get(key)
            if key == "activations":
                self.activations(at, one or [], other or [])
            elif key in ("suspects", "notes", "blind_spots"):
                self.listed(at, one or [], other or [])
            elif key == "divergences":  # the first is told by first_divergence and suspects
                self.listed(f"{title}: later divergences", (one or [])[1:], (other or [])[1:])
            else:
                self.values(at, one, other)
        return len(self.lines) == known

    def activations(self, at: str, before: list[dict], after: list[dict]) -> None:
        a, b = ({row["name"]: row for row in rows} for rows in (before, after))
        if list(a) != list(b):
            gone, new = [name for name in a if name not in b], [name for name in b if name not in a]
            self.lines.append(f"{at}: gone: {some(gone)}; new: {some(new)}" if gone or new else f"{at}: another order")
        changes = defaultdict(list)
        for name in (name for name in a if name in b):
            row, other = dict(a[name]), dict(b[name])
            if row.get("status") != other.get("status"):
                changes[row.pop("status", None), other.pop("status", None)].append(name)
            self.places += row.pop("worst", None) != other.pop("worst", None)
            self.values(f"{at}, {name}", row, other)
        for (status, other), names in changes.items():
            self.lines.append(f"{at}: {status} -> {other}: {some(names)}")

    def listed(self, at: str, before: list, after: list) -> None:
        """Things that are told apart by their id, their name or their words, in order."""
        def label(one: Any) -> str:
            return FIGURE.sub("#", one if isinstance(one, str) else str(one.get("id") or one.get("name")))

        if [label(one) for one in before] != [label(one) for one in after]:
            if all(isinstance(one, str) for one in (*before, *after)):
                gone = [one for one in before if label(one) not in map(label, after)]
                new = [one for one in after if label(one) not in map(label, before)]
                self.plain(at, gone, new) if gone or new else self.lines.append(f"{at}: another order")
            else:
                self.plain(at, [label(one) for one in before], [label(one) for one in after])
            return
        for one, other in zip(before, after, strict=True):
            self.values(at if isinstance(one, str) else f"{at}, {label(one)}", one, other)

    def values(self, at: str, before: Any, after: Any) -> None:
        """Any two values."""
        figures = [figure(one) for one in (before, after)]
        if None not in figures:
            self.figure(at.rpartition(".")[2], at, *figures)
        elif isinstance(before, dict) and isinstance(after, dict):
            for key in [*before, *(key for key in after if key not in before)]:
                if key == "suspects":
                    self.listed(f"{at}.{key}", before.get(key) or [], after.get(key) or [])
                else:
                    self.values(f"{at}.{key}", before.get(key), after.get(key))
        elif isinstance(before, str) and isinstance(after, str):
            if FIGURE.sub("#", before) != FIGURE.sub("#", after):
                self.plain(at, before, after)
                return
            for one, other in zip(FIGURE.findall(before), FIGURE.findall(after), strict=True):
                self.figure("in words", f"{at} {after!r}", float(one), float(other))
        elif before != after or type(before) is not type(after):
            self.plain(at, before, after)

    def figure(self, kind: str, at: str, before: float, after: float) -> None:
        kept = self.figures[kind]
        kept.count += 1
        share = moved_by(before, after)
        if share > self.tolerance:
            kept.moved += 1
            if self.every_figure:
                self.moved.append(f"{at}: {before:.6g} -> {after:.6g}")
        if share > kept.worst:
            kept.worst, kept.where = share, f"{before:.4g} -> {after:.4g}, {at}"

    def plain(self, at: str, before: Any, after: Any) -> None:
        if before != after:
            self.lines.append(f"{at}: {json.dumps(before)} -> {json.dumps(after)}")


def figure(value: Any) -> float | None:
    """A number that is measured: whole ones count something, NaN and infinities are strings."""
    if isinstance(value, float) or value in ("NaN", "inf", "-inf"):
        return float(value)
    return None


def moved_by(before: float, after: float) -> float:
    """The difference as a share of the larger one."""
    if before == after or (math.isnan(before) and math.isnan(after)):
        return 0.0
    if not (math.isfinite(before) and math.isfinite(after)):
        return math.inf
    return abs(before - after) / max(abs(before), abs(after))


def some(names: list[str]) -> str:
    more = f" and {len(names) - PLAIN} more" if len(names) > PLAIN else ""
    return ", ".join(names[:PLAIN]) + more if names else "none"


# --- the command ----------------------------------------------------------------------------------------------------


def read_answers(path: Path) -> dict[str, str]:
    """The lines of a recording, by the titles of their runs; they are parsed when they are compared."""
    with path.open() as file:
        return {json.loads(line[:line.index(', "status"')] + "}")["run"]: line for line in file}


def answered(run: Run, programs: list[Path]) -> tuple[Run, list[dict[str, Any]]]:
    return run, [run.answer(program) for program in programs]


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Print everything that two builds of layerstep answer differently.")
    parser.add_argument("corpora", metavar="CORPUS", nargs="+", type=Path, help="folder of make_corpus.py")
    parser.add_argument("--before", metavar="BIN", type=Path, help="the program whose answers are the measure")
    parser.add_argument("--after", metavar="BIN", type=Path, help="the program that is compared with them")
    parser.add_argument("--record", metavar="FILE", type=Path, help="write the answers of --before, one a line")
    parser.add_argument("--against", metavar="FILE", type=Path, help="compare with the answers of a --record")
    parser.add_argument("--only", metavar="GLOB", action="append", help="runs whose name matches; repeatable")
    parser.add_argument("--tolerance", metavar="SHARE", type=float, default=1e-3,
                        help="how far a figure may move, as a share of it [default: 1e-3]")
    parser.add_argument("--figures", action="store_true", help="print each figure that moved further")
    parser.add_argument("--jobs", metavar="N", type=int, default=2, help="runs at a time [default: 2]")
    args = parser.parse_args()
    if args.record:
        if not args.before or args.after or args.against:
            parser.error("--record wants --before, and nothing to compare with")
    elif not args.after or bool(args.before) == bool(args.against):
        parser.error("give --after, and either --before or --against; or --before and --record")
    return args


def main() -> int:
    args = parsed()
    try:
        runs = [run for folder in args.corpora for run in runs_of(folder)]
        if len({run.title for run in runs}) < len(runs):
            raise ValueError("two runs of one name: one corpus after the other, please")
        known = read_answers(args.against) if args.against else {}
        for program in filter(None, (args.before, args.after)):
            subprocess.run([program, "--version"], check=True, capture_output=True)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        print(f"compare_answers.py: {error}", file=sys.stderr)
        return 2
    absent = set(known) - {run.title for run in runs}
    runs = [run for run in runs if any(fnmatchcase(run.name, glob) for glob in args.only or ("*",))]
    if not runs:
        print("compare_answers.py: no case matches", file=sys.stderr)
        return 2
    programs = [program.resolve() for program in (args.before, args.after) if program]
    comparison = Comparison(args.tolerance, args.figures)
    alike = 0
    with ThreadPoolExecutor(args.jobs) as pool:
        answers = pool.map(partial(answered, programs=programs), runs)
        if args.record:
            with args.record.open("w") as file:
                for run, (answer,) in told(answers, len(runs)):
                    file.write(json.dumps({"run": run.title} | answer) + "\n")
            print(f"{args.record}: {len(runs)} answers")
            return 0
        for run, given in told(answers, len(runs)):
            shown = len(comparison.lines)
            if args.against and run.title in known:
                given.insert(0, json.loads(known[run.title]))
            if len(given) == 2:
                alike += comparison.answers(run.title, *given)
            else:
                comparison.lines.append(f"{run.title}: not recorded")
            for line in comparison.lines[shown:]:
                print(line, flush=True)
    if absent and not args.only:
        comparison.lines.append(f"recorded, and in no corpus: {some(sorted(absent))}")
        print(comparison.lines[-1])
    for line in comparison.moved:
        print(f"figure: {line}")
    print_figures(comparison)
    print(f"{alike} of {len(runs)} runs are answered alike; {len(comparison.lines)} differences")
    return 1 if comparison.lines else 0


def told(answers: Iterator[tuple[Run, list]], count: int) -> Iterator[tuple[Run, list]]:
    """The same, with a word on stderr now and then."""
    for number, answer in enumerate(answers, 1):
        yield answer
        if number % 200 == 0:
            print(f"{number} of {count} runs", file=sys.stderr, flush=True)


def print_figures(comparison: Comparison) -> None:
    print(f"figures that moved by more than {comparison.tolerance:g}, and of each kind the one that moved furthest:")
    for kind, kept in sorted(comparison.figures.items()):
        worst = f"worst {kept.worst:.1e}: {kept.where}" if kept.worst else "all the same"
        print(f"  {kind:<17} {kept.moved:>7} of {kept.count:>8}  {worst}")
    print(f"activations that differ most at another place: {comparison.places}")


if __name__ == "__main__":
    sys.exit(main())
