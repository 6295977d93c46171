#!/usr/bin/env python3
"""Make a random model of exactly Qwen2.5-0.5B's shape, in bf16 (988 MB), to measure speed and memory with.

    python make_qwen_shape.py ./qwen-shape

It says nothing sensible, but it computes what the real one computes: the config is Qwen2.5-0.5B's own.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

CONFIG = {
    "architectures": ["Qwen2ForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151643,
    "hidden_act": "silu",
    "hidden_size": 896,
    "initializer_range": 0.02,
    "intermediate_size": 4864,
    "max_position_embeddings": 32768,
    "max_window_layers": 24,
    "model_type": "qwen2",
    "num_attention_heads": 14,
    "num_hidden_layers": 24,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "sliding_window": 32768,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.40.1",
    "use_cache": True,
    "use_mrope": False,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
GENERATION = {"bos_token_id": 151643, "do_sample": False, "eos_token_id": 151643, "max_new_tokens": 2048}
SEED = 0


def weights() -> dict[str, Tensor]:
    """Every tensor of the model, random in bf16; scaled so that activations keep their size from layer to layer."""
    random = torch.Generator().manual_seed(SEED)
    hidden, mlp = CONFIG["hidden_size"], CONFIG["intermediate_size"]
    kv = hidden // CONFIG["num_attention_heads"] * CONFIG["num_key_value_heads"]

    def noise(*shape: int, scale: float) -> Tensor:
        return torch.empty(shape, dtype=torch.bfloat16).normal_(0.0, scale, generator=random)

    def norm() -> Tensor:
        return 1 + noise(hidden, scale=0.3)

    made = {"model.embed_tokens.weight": noise(CONFIG["vocab_size"], hidden, scale=0.1), "model.norm.weight": norm()}
    for layer in range(CONFIG["num_hidden_layers"]):
        path = f"model.layers.{layer}"
        made[f"{path}.input_layernorm.weight"] = norm()
        made[f"{path}.post_attention_layernorm.weight"] = norm()
        for name, rows in (("q", hidden), ("k", kv), ("v", kv)):
            made[f"{path}.self_attn.{name}_proj.weight"] = noise(rows, hidden, scale=hidden**-0.5)
            made[f"{path}.self_attn.{name}_proj.bias"] = noise(rows, scale=0.2)
        made[f"{path}.self_attn.o_proj.weight"] = noise(hidden, hidden, scale=0.2 * hidden**-0.5)
        made[f"{path}.mlp.gate_proj.weight"] = noise(mlp, hidden, scale=hidden**-0.5)
        made[f"{path}.mlp.up_proj.weight"] = noise(mlp, hidden, scale=hidden**-0.5)
        made[f"{path}.mlp.down_proj.weight"] = noise(hidden, mlp, scale=0.2 * mlp**-0.5)
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description="Make a random model of Qwen2.5-0.5B's shape.")
    parser.add_argument("out", metavar="OUT_DIR", type=Path)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    made = weights()
    save_file(made, out / "model.safetensors", {"format": "pt"})
    (out / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    (out / "generation_config.json").write_text(json.dumps(GENERATION, indent=2) + "\n")
    print(f"{out}: {sum(w.numel() for w in made.values()):,} parameters, {sum(w.nbytes for w in made.values()) / 1e6:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
