#!/usr/bin/env python3
"""Measure PyTorch eager in float32 on the processor, as the yardstick for `layerstep bench`.

    python bench_torch.py ./smollm2

Prints JSON with the keys of `layerstep bench --json`, times in milliseconds: load_ms, first_token_ms (loading and one
forward of one token, both cold), prefill_ms of 1, 32 and 128 tokens and decode_ms after 128 tokens (medians of warm
runs). Nothing else should run on the machine.
"""

import argparse
import json
import os
import resource
import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter

import torch

from capture import CaptureError, load_model

PREFILL = (1, 32, 128)


def milliseconds(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return 1000 * (perf_counter() - start)


@torch.inference_mode()
def measure(path: str, repeat: int) -> dict:
    start = perf_counter()
    model = load_model(path, "float32")
    load = 1000 * (perf_counter() - start)
    ids = torch.randint(0, model.config.vocab_size, (1, max(PREFILL)), generator=torch.Generator().manual_seed(0))

    first = milliseconds(lambda: model(input_ids=ids[:, :1]))
    prefill = {}
    for tokens in PREFILL:
        model(input_ids=ids[:, :tokens])
        prefill[tokens] = median(milliseconds(lambda: model(input_ids=ids[:, :tokens])) for _ in range(repeat))

    cache = model(input_ids=ids, use_cache=True).past_key_values

    def decode() -> None:
        model(input_ids=ids[:, :1], past_key_values=cache, use_cache=True)

    decode()
    return {
        "load_ms": load,
        "first_token_ms": load + first,
        "prefill_ms": prefill,
        "decode_ms": median(milliseconds(decode) for _ in range(4 * repeat)),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "threads": torch.get_num_threads(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure PyTorch eager in float32 on the processor.")
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--repeat", type=int, default=5, help="runs per prefill; four times as many decode steps")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    try:
        print(json.dumps(measure(args.model, args.repeat), indent=2))
    except CaptureError as error:
        print(f"bench_torch.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
