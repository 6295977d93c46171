"""What each head of the demo model looks at.

    python heads.py [model]

Random tokens, repeated once, leave a head nothing to go by but position and repetition. Two scores, both a mean
attention weight between 0 and 1:

    previous token   from a token to the one before it
    induction        from a token to the one *after* its earlier occurrence: what to say next, if text repeats itself
"""

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

PERIOD, BATCH, SEED = 40, 32, 7


def load(path):
    """The model in float32, with attention that returns its weights."""
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()


@torch.inference_mode()
def attention(model, ids):
    """The attention weights of all layers: [layer, sequence, head, query, key]."""
    return torch.stack(model(input_ids=ids, output_attentions=True).attentions)


def head_scores(model):
    """{"previous_token": [layer, head], "induction": [layer, head]}"""
    draw = torch.Generator().manual_seed(SEED)
    ids = torch.randint(1, model.config.vocab_size, (BATCH, PERIOD), generator=draw).repeat(1, 2)
    weights = attention(model, ids)
    second = range(PERIOD, 2 * PERIOD)
    return {
        "previous_token": weights.diagonal(-1, 3, 4).mean((1, 3)),
        "induction": torch.stack([weights[:, :, :, i, i - PERIOD + 1] for i in second]).mean((0, 2)),
    }


def best(scores):
    """(layer, head, score) of the highest score."""
    layer, head = divmod(int(scores.argmax()), scores.shape[1])
    return layer, head, float(scores.max())


def main():
    model = load(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "model")
    scores = head_scores(model)
    heads = range(model.config.num_attention_heads)
    print("| layer |" + "".join(f" head {h}: previous, induction |" for h in heads))
    print("|---|" + "---|" * len(heads))
    for layer in range(model.config.num_hidden_layers):
        cells = (f" {scores['previous_token'][layer, h]:.2f}, {scores['induction'][layer, h]:.2f} |" for h in heads)
        print(f"| {layer} |" + "".join(cells))
    for name, values in scores.items():
        print("best {}: {}.{} with {:.2f}".format(name, *best(values)))


if __name__ == "__main__":
    main()
