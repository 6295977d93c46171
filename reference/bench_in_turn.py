#!/usr/bin/env python3
"""Measure layerstep and PyTorch f32 in turn, on the same machine in one run, and print both and their ratio.

    python bench_in_turn.py ./models/qwen-shape --layerstep ../target/release/layerstep

Each round starts either program afresh, layerstep first in odd rounds, so that a machine whose speed drifts treats both
alike. A ratio below 1 means that layerstep is faster. Nothing else should run on the machine.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median

FIGURES = ("load_ms", "first_token_ms", "prefill 1", "prefill 32", "prefill 128", "decode_ms", "peak_rss_mb")


def figures(command: list[str]) -> dict[str, float]:
    document = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    document |= {f"prefill {tokens}": ms for tokens, ms in document.pop("prefill_ms").items()}
    return document


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure layerstep and PyTorch f32 in turn.")
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--layerstep", default="layerstep", help="the program [default: the one on the PATH]")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch = [sys.executable, str(Path(__file__).with_name("bench_torch.py")), args.model]
    ours = [args.layerstep, "bench", args.model, "--json"]
    rounds = []
    for number in range(args.rounds):
        first, second = (ours, torch) if number % 2 == 0 else (torch, ours)
        results = {command[0]: figures(command) for command in (first, second)}
        rounds.append((results[ours[0]], results[torch[0]]))
    print(f"{'medians of ' + str(args.rounds) + ' rounds':<18}{'layerstep':>11}{'PyTorch':>11}{'ratio':>8}   ratios of the rounds")
    for name in FIGURES:
        ratios = [a[name] / b[name] for a, b in rounds]
        ours_median, torch_median = (median(pair[side][name] for pair in rounds) for side in (0, 1))
        every = " ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"{name:<18}{ours_median:>11.1f}{torch_median:>11.1f}{median(ratios):>8.2f}   {every}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
