#!/usr/bin/env python3
"""Continue prompts greedily with PyTorch, in float32 and with the cache: what an engine must say, token for token.

    python greedy.py ./smollm2 --prompt "The capital of France is" --prompt "def fib(n):" -n 64 -o greedy.json

Writes [{"prompt", "ids", "greedy"}]. End-of-sequence tokens do not stop it.
"""

import argparse
import json
import sys
from pathlib import Path

from capture import DTYPES, CaptureError, greedy, load_model, read_ids


def main() -> int:
    parser = argparse.ArgumentParser(description="Continue prompts greedily with PyTorch.")
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--prompt", action="append", required=True, help="text; repeatable")
    parser.add_argument("--chat", action="store_true", help="put each prompt into the model's chat template")
    parser.add_argument("-n", type=int, default=64, help="tokens to generate")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, help="default: standard output")
    args = parser.parse_args()
    try:
        prompts = [(prompt, read_ids(args.model, prompt=prompt, chat=args.chat)) for prompt in args.prompt]
        model = load_model(args.model, args.dtype)
    except CaptureError as error:
        print(f"greedy.py: {error}", file=sys.stderr)
        return 2
    runs = [{"prompt": prompt, "ids": ids, "greedy": greedy(model, ids, args.n)} for prompt, ids in prompts]
    text = "[\n" + ",\n".join("  " + json.dumps(run, ensure_ascii=False) for run in runs) + "\n]\n"
    if args.output:
        args.output.write_text(text)
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
