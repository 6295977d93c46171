#!/usr/bin/env python3
"""What the logit lens shows of two tiny models, by PyTorch in float64: ../tests/fixtures/lens.json.

    python lens.py                      # write it
    python lens.py --check              # make it again and compare

The logit lens (nostalgebraist, "interpreting GPT: the logit lens", 2020) reads the residual stream after every block as if
it were the last: the final norm, the head, a softmax. Hooks take the blocks' outputs, so that no convention about
hidden_states plays a part.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from torch import Tensor

from capture import load_model

TINY = Path(__file__).parent / "tiny"
FIXTURE = Path(__file__).parent.parent / "tests/fixtures/lens.json"
MODELS, TOKENS, TOP = ("llama", "qwen2"), (0, 6, 12), 5


@torch.no_grad()
def points(name: str) -> list[tuple[str, Tensor]]:
    """The logits [token, vocab] of every point of the lens, the model's own last."""
    model = load_model(str(TINY / name), "float64")
    ids = json.loads((TINY / name / "greedy.json").read_text())["prompt"]
    found: dict[str, Tensor] = {}

    def keep(key: str, of_input: bool = False):
        def hook(module, args, output):
            value = args[0] if of_input else output
            found[key] = (value[0] if isinstance(value, tuple) else value).clone()

        return hook

    model.model.embed_tokens.register_forward_hook(keep("embed_tokens"))
    for index, block in enumerate(model.model.layers):
        block.post_attention_layernorm.register_forward_hook(keep(f"{index}.resid_mid", of_input=True))
        block.register_forward_hook(keep(str(index)))
    own = model(torch.tensor([ids])).logits
    lens = [(key, model.lm_head(model.model.norm(value))[0]) for key, value in found.items()]
    return [*lens, ("lm_head", own[0])]


def read(logits: Tensor, final: Tensor, chosen: int) -> dict:
    """One row: `kl` is KL(final || here), in nats; `rank` counts from 1."""
    log, last = logits.log_softmax(-1), final.log_softmax(-1)
    return {
        "top": logits.topk(TOP).indices.tolist(),
        "probabilities": log.exp()[logits.topk(TOP).indices].tolist(),
        "entropy": float(-(log.exp() * log).sum()),
        "kl": float((last.exp() * (last - log)).sum()),
        "rank": 1 + int((logits > logits[chosen]).sum()),
        "probability": float(log.exp()[chosen]),
        "logit": float(logits[chosen]),
    }


def make() -> dict:
    fixture = {}
    for name in MODELS:
        lens = points(name)
        final = lens[-1][1]
        fixture[name] = {
            str(token): {key: read(logits[token], final[token], int(final[token].argmax())) for key, logits in lens}
            for token in TOKENS
        }
    return fixture


def rounded(value):
    """Eight digits: more than float32 has."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.8g}") if isinstance(value, float) else value


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the fixture of the logit lens.")
    parser.add_argument("--check", action="store_true", help="compare with the committed file")
    torch.set_num_threads(1)
    check = parser.parse_args().check
    lines = [f'  "{name}": {json.dumps(tokens)}' for name, tokens in rounded(make()).items()]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    if check:
        same = text == FIXTURE.read_text()
        print("as committed" if same else "differs")
        return 0 if same else 1
    FIXTURE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
