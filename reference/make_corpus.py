#!/usr/bin/env python3
"""Write the corpus: dumps of which it is known what layerstep must say about them, and corpus.json, which lists them.

    python make_corpus.py                                  # the tiny models and the demo, into reference/corpus
    python make_corpus.py --smollm2 models/smollm2 -o DIR  # SmolLM2 too
    python make_corpus.py --smollm2 models/smollm2 --only '*/smollm2/*' -o DIR
    python make_corpus.py --smollm2 models/smollm2 --brief -o DIR  # a part of SmolLM2's, and nothing else: BRIEF below
    python make_corpus.py --only 'clean/llama/float32/*/12'

What a case holds is in the head of casebook.py.
"""

import argparse
import sys
import time
from pathlib import Path

import torch

from caches import add_caches
from fewer_bits import add_fewer_bits
from capture import CaptureError
from casebook import Casebook
from clean import DEMO, CleanDumps, add_clean, add_long, family_folders, tiny_folders
from encoders import add_encoders
from equivalent import add_equivalents, of_smollm2
from finer import add_finer
from flips import add_flips
from founding import add_founding
from knobs import add_knobs, idle_knobs
from make_tiny import TINY
from mislabelled import add_labels, add_other_tokens
from packed import add_as_packed
from planted_runs import add_planted, family_runs, one_by_one_runs, other_runs, second_runs, single_runs, small_runs, smollm2_runs
from stored import add_stored


# Of models that differ from the first ones by their family's row: each way of computing, storing and dumping, but not each with
# each.
OF_FAMILIES = (
    "clean/*/float32/all/12+4/candidate",
    "clean/*/bfloat16/all/12",
    "clean/*/float16/all/12/candidate",
    "clean/*/blocks/12+4/candidate",
    "clean/*/*float*/third/12/candidate",
    "clean/*/float32/all/1+11",
    "clean/*/bfloat16/blocks/1+11",
    "clean/*/bfloat16/logits/12",
    "clean/*/*float*/joined/12+4",
    "clean/*/*float*/untold/12+4",
    "clean/*/float32-*float16/all/12",
    "clean/*/float32-bfloat16/blocks/12",
    "clean/*/bfloat16-as-float32/*/12",
    "clean/*/float32-as-float16/*/12+4",
    "clean/*/float32-as-mixed/all/12",
    "clean/*/float32/rows-last/*",
    "clean/*/float32/padded-left/told",
    "clean/*/float32/packed-steps",
    "clean/*/float32/weights-q8_0/*/12+4",
)

# Of SmolLM2, what is made and compared within minutes: clean runs, the founding story, mistakes in single layers.
BRIEF = (
    "clean/smollm2/*/all/12",
    "clean/smollm2/*/blocks/64",
    "clean/smollm2/*/logits/1",
    "clean/smollm2/float32-as-*/all/12",
    "clean/smollm2/bfloat16-as-float32/blocks/12",
    "clean/smollm2/float32/cache-*/blocks/*",
    "clean/smollm2/float32/cache-q8_0/all/*",
    "clean/smollm2/float32/weights-q4_0/blocks/*",
    "clean/smollm2/float32/padded-left/*",
    "clean/smollm2/float32/padded-right/told",
    "clean/smollm2/float32/rows-*/inside",
    "clean/smollm2/float32/packed-*",
    "founding/smollm2/*",
    "planted/smollm2/float32/rope_interleaved-0/blocks/*",
    "planted/smollm2/float32/rope_theta-12/around-12/*",
    "planted/smollm2/float32/gate_up_swapped-29/*",
    "planted/smollm2/float32/gqa_tile-9/attention/*",
    "planted/smollm2/float32/layer_skipped-11/*",
    "planted/smollm2/float32/cache_zero_k-15/blocks/*",
    "planted/smollm2/bfloat16/softmax_scale_missing-5/around-5/*",
    "planted/smollm2/bfloat16/mlp_wrong_layer-17/*",
    "planted/smollm2/bfloat16/norm_offset_one-28/*",
    "planted/smollm2/bfloat16/channel_zero-26/*",
)


def make(book: Casebook, smollm2: Path | None) -> None:
    """Writes the wanted cases of every part."""
    dumps = CleanDumps(book)
    for folder in tiny_folders():
        add_clean(book, dumps, folder)
    for folder in family_folders():
        add_clean(book.part(*OF_FAMILIES), dumps, folder, lengths=(12,))
        add_as_people_do(book.part(*OF_FAMILIES), dumps, folder)
    add_clean(book, dumps, DEMO, lengths=(12,))
    add_long(book, dumps)
    for folder in (*tiny_folders(), DEMO):
        add_as_people_do(book, dumps, folder)
    for folder in (TINY / "qwen2", DEMO):
        add_founding(book, dumps, folder)
    add_equivalents(book, dumps)
    add_labels(book, dumps)
    add_other_tokens(book, dumps)
    for folder in (TINY / "gemma2", *family_folders()):
        add_knobs(book, dumps, folder)
    add_flips(book, dumps)
    add_finer(book, dumps)
    add_encoders(book, dumps)
    add_planted(book, dumps, (*single_runs(), *other_runs(), *small_runs(), *one_by_one_runs(), *family_runs(), *second_runs()))
    if smollm2:
        add_clean(book, dumps, smollm2)
        add_as_people_do(book, dumps, smollm2)
        add_founding(book, dumps, smollm2)
        add_equivalents(book, dumps, of_smollm2(smollm2))
        add_planted(book, dumps, smollm2_runs(smollm2))


def add_as_people_do(book: Casebook, dumps: CleanDumps, folder: Path) -> None:
    """Adds right runs packed, stored and cached in the ways of engines."""
    add_as_packed(book, dumps, folder)
    add_stored(book, dumps, folder)
    add_caches(book, dumps, folder)
    add_fewer_bits(book, dumps, folder)


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the corpus of clean dumps, planted mistakes and the founding story.")
    parser.add_argument("--smollm2", metavar="DIR", type=Path, help="folder of get_smollm2.py")
    parser.add_argument("--only", metavar="GLOB", action="append", default=[], help="cases whose name matches; repeatable")
    parser.add_argument("--brief", action="store_true", help="write a part of SmolLM2's cases, and nothing else")
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, default=Path(__file__).parent / "corpus")
    args = parser.parse_args()
    if args.brief and not args.smollm2:
        parser.error("--brief is a part of --smollm2")
    torch.set_num_threads(1)  # a clean and a planted run must round alike
    begun = time.monotonic()
    book = Casebook(args.output, *args.only, *(BRIEF if args.brief else ()))
    try:
        make(book, args.smollm2 and args.smollm2.resolve())
    except (CaptureError, OSError) as error:
        print(f"make_corpus.py: {error}", file=sys.stderr)
        return 2
    if not book.cases:
        print(f"make_corpus.py: no case matches {' or '.join(book.only)}", file=sys.stderr)
        return 2
    if not (args.only or args.brief) and (idle := idle_knobs(book)):
        print(f"make_corpus.py: no tiny model shows {', '.join(idle)}", file=sys.stderr)
        return 2
    print(f"{book.save()}: {len(book.cases)} cases, {book.size() / 1e6:.0f} MB, {time.monotonic() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
