"""Makes the two dumps of the demo: PyTorch's activations, and those of a port with a bug in it.

    python make_dumps.py

Both are of the same tokens: the prompt of demo.json, then its decode steps. Everything is computed in float32 on the
bfloat16 weights. The port is PyTorch, too, with one mistake in one layer: RoPE turns the pairs (2i, 2i + 1) where Qwen2
has (i, i + head_dim / 2), in q and k of layer 2. That is the commonest way a port goes wrong, and it is silent: at
position 0 nothing is turned, all shapes and norms are right, and what comes out is still words.
"""

import copy
import json
import sys
from pathlib import Path
from unittest.mock import patch

import torch
from tokenizers import Tokenizer
from transformers.models.qwen2 import modeling_qwen2

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from capture import capture, greedy, load_model, placed, run_steps  # noqa: E402

DECODE = 2
CONTINUATION = 24
BUG_LAYER = 2


def interleaved_rope(q, k, cos, sin, unsqueeze_dim=1):
    """RoPE as GPT-J has it, on weights that want the other."""
    cos, sin = (part[..., : part.shape[-1] // 2].unsqueeze(unsqueeze_dim) for part in (cos, sin))

    def turn(x):
        even, odd = x[..., 0::2], x[..., 1::2]
        return torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1).flatten(-2)

    return turn(q), turn(k)


class InterleavedAttention(modeling_qwen2.Qwen2Attention):
    def forward(self, *args, **kwargs):
        with patch.object(modeling_qwen2, "apply_rotary_pos_emb", interleaved_rope):
            return super().forward(*args, **kwargs)


def buggy_port(model):
    """A copy of the model with the bug in it."""
    port = copy.deepcopy(model)
    port.model.layers[BUG_LAYER].self_attn.__class__ = InterleavedAttention
    return port


@torch.inference_mode()
def feed(model, ids, steps):
    """The forwards of a run whose tokens are known: a prefill, then decode steps. Returns each one's logits."""
    cache, at, logits = None, 0, []
    for count in steps:
        tokens = torch.tensor([ids[at : at + count]])
        out = model(input_ids=tokens, past_key_values=cache, use_cache=True, **placed(model, at, count))
        cache, at = out.past_key_values, at + count
        logits.append(out.logits[0])
    return logits


def settle(path):
    """Puts the metadata in order: safetensors writes it as its hash table falls, and equal dumps should be equal files."""
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[end:])


def main():
    torch.set_num_threads(1)
    demo = json.loads((HERE / "demo.json").read_text())
    tokenizer = Tokenizer.from_file(str(HERE / "model" / "tokenizer.json"))
    prompt = tokenizer.encode(demo["prompt"]).ids
    model = load_model(str(HERE / "model"), "float32")
    port = buggy_port(model)

    ids, plain = run_steps(model, prompt, DECODE)
    steps = [len(prompt)] + [1] * DECODE
    for name, witness in (("reference", model), ("candidate", port)):
        with capture(witness, HERE / f"{name}.safetensors"):
            logits = feed(witness, ids, steps)
        settle(HERE / f"{name}.safetensors")
        if witness is model:
            assert all(torch.equal(a, b) for a, b in zip(plain, logits)), "recording changed the logits"

    demo |= {
        "prompt_ids": prompt,
        "tokens": [tokenizer.decode([i]) for i in prompt],
        "decode_ids": ids[len(prompt) :],
        "reference_continuation_ids": greedy(model, prompt, CONTINUATION),
        "candidate_continuation_ids": greedy(port, prompt, CONTINUATION),
        "bug": {"suspect": "rope_interleaved", "layer": BUG_LAYER, "first_wrong": f"model.layers.{BUG_LAYER}.self_attn.q_rope"},
    }
    for name in ("reference", "candidate"):
        demo[f"{name}_continuation"] = tokenizer.decode(demo[f"{name}_continuation_ids"])
    (HERE / "demo.json").write_text(json.dumps(demo, indent=2, ensure_ascii=False) + "\n")
    print(demo["prompt"], "|", demo["reference_continuation"], "|", demo["candidate_continuation"])


if __name__ == "__main__":
    main()
