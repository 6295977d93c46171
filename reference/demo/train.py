"""Trains the demo model: a small Qwen2 that has read Jane Austen.

    python train.py [--out model] [--corpus ../corpus] [--steps 3200]

Everything is drawn from one seed. The text is fetched by corpus.py; nothing else is downloaded. README.md says what came
out. Checkpoints go to --work, and a run that finds one there goes on from it.
"""

import argparse
import json
import math
import re
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import Qwen2Config, Qwen2ForCausalLM

import corpus

SEED = 20240615
END = "<|endoftext|>"
VOCABULARY = 1024
CONTEXT = 128
BATCH = 16
HELD_OUT = 0.04  # of each novel, its end
REPEATED = 0.15  # of the sequences: a segment over and over, half of them with its tokens shuffled first
PARAGRAPH_STARTS = 0.4  # of the others: begin where a paragraph does, as a prompt does

# The split of Qwen2's own tokenizer.
SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

CONFIG = {
    "architectures": ["Qwen2ForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "hidden_act": "silu",
    "hidden_size": 128,
    "initializer_range": 0.04,
    "intermediate_size": 512,
    "max_position_embeddings": CONTEXT,
    "max_window_layers": 4,
    "model_type": "qwen2",
    "num_attention_heads": 4,
    "num_hidden_layers": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_theta": 10000.0,
    "sliding_window": CONTEXT,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": VOCABULARY,
}

GENERATION = {"bos_token_id": 0, "eos_token_id": 0, "do_sample": False}

TOKENIZER = {
    "add_prefix_space": False,
    "bos_token": None,
    "clean_up_tokenization_spaces": False,
    "eos_token": END,
    "model_max_length": CONTEXT,
    "pad_token": END,
    "tokenizer_class": "PreTrainedTokenizerFast",
    "unk_token": None,
}


def texts(folder):
    """The novels, each as (text to learn from, text held out); a chapter begins with the end-of-text mark."""
    for paragraphs in corpus.fetch(folder).values():
        chapter = re.compile(r"(chapter|volume)\b", re.IGNORECASE)
        first = next(i for i, paragraph in enumerate(paragraphs) if chapter.match(paragraph))
        paragraphs = [END if chapter.match(paragraph) else paragraph for paragraph in paragraphs[first:]]
        cut = int(len(paragraphs) * (1 - HELD_OUT))
        yield tuple("\n".join(part).replace(END + "\n", END) for part in (paragraphs[:cut], paragraphs[cut:]))


def train_tokenizer(learn):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(SPLIT), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[END], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([part for text in learn for part in text.replace(END, "\n").split("\n")], trainer)
    return tokenizer


class Sequences:
    """Draws training sequences from one long row of token ids."""

    def __init__(self, ids, starts, seed):
        self.ids, self.starts, self.random = ids, starts, np.random.default_rng(seed)

    def one(self):
        draw, length = self.random, CONTEXT + 1
        if draw.random() < REPEATED:
            period = int(draw.integers(6, 49))
            at = int(draw.integers(0, len(self.ids) - period))
            segment = self.ids[at : at + period].copy()
            if draw.random() < 0.5:
                draw.shuffle(segment)
            return np.resize(segment, length)
        if draw.random() < PARAGRAPH_STARTS:
            at = int(self.starts[draw.integers(0, len(self.starts))])
        else:
            at = int(draw.integers(0, len(self.ids) - length))
        return self.ids[at : at + length]

    def batch(self):
        return torch.from_numpy(np.stack([self.one() for _ in range(BATCH)]).astype(np.int64))


def loss_of(model, batch):
    logits = model(input_ids=batch[:, :-1], use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())


@torch.no_grad()
def held_out_loss(model, ids):
    """Nats a token over the held-out text, in windows of the context."""
    windows = torch.from_numpy(ids[: (len(ids) - 1) // CONTEXT * CONTEXT + 1].astype(np.int64))
    windows = windows.unfold(0, CONTEXT + 1, CONTEXT)
    losses = [loss_of(model, part) * len(part) for part in windows.split(64)]
    return float(sum(losses) / len(windows))


def new_model():
    model = Qwen2ForCausalLM(Qwen2Config(**CONFIG)).float()
    for name, parameter in model.named_parameters():
        if name.endswith(".bias"):  # zero otherwise, and a bias that is zero hides a port that forgot it
            torch.nn.init.normal_(parameter, std=0.1)
    return model


class Optimizer:
    """Muon for the matrices inside the blocks, AdamW for the embedding, the biases and the norms."""

    def __init__(self, model):
        inside = [p for name, p in model.named_parameters() if p.dim() == 2 and "layers" in name]
        outside = [p for name, p in model.named_parameters() if p.dim() < 2 or "layers" not in name]
        self.parts = [
            torch.optim.Muon(inside, lr=1.0, momentum=0.95, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(outside, lr=1.0, betas=(0.9, 0.95), weight_decay=0.0),
        ]

    def step(self, rate):
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = rate
            part.step()
            part.zero_grad(set_to_none=True)

    def state_dict(self):
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states):
        for part, state in zip(self.parts, states):
            part.load_state_dict(state)


def rate(step, steps, peak=4e-3, warm=150):
    """Linear warm-up, then a cosine down to a fiftieth of the peak."""
    if step < warm:
        return peak * (step + 1) / warm
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm))))


def save(model, tokenizer, out):
    """The weights rounded to bfloat16, the tied head left out, as Qwen2's own checkpoints are."""
    out.mkdir(parents=True, exist_ok=True)
    weights = {k: v.detach().to(torch.bfloat16).contiguous() for k, v in model.state_dict().items() if k != "lm_head.weight"}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save(str(out / "tokenizer.json"))
    files = {"config": CONFIG, "generation_config": GENERATION, "tokenizer_config": TOKENIZER}
    for name, value in files.items():
        (out / f"{name}.json").write_text(json.dumps(value, indent=2) + "\n")


def main():
    here = Path(__file__).resolve().parent
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, default=here / "model")
    arguments.add_argument("--corpus", type=Path, default=here.parent / "corpus")
    arguments.add_argument("--work", type=Path, default=Path("/tmp/layerstep-demo-training"))
    arguments.add_argument("--steps", type=int, default=3200)
    arguments.add_argument("--threads", type=int, default=1)
    options = arguments.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(SEED)
    torch.set_num_threads(options.threads)

    learn, check = zip(*texts(options.corpus))
    tokenizer = train_tokenizer(learn)
    ids, held_out = (np.concatenate([tokenizer.encode(text).ids for text in part]).astype(np.int32) for part in (learn, check))
    newline = tokenizer.token_to_id("Ċ")
    starts = np.flatnonzero((ids == newline) | (ids == 0)) + 1
    starts = starts[starts < len(ids) - CONTEXT - 1]
    print(f"{len(ids)} tokens to learn from, {len(held_out)} held out, {sum(map(len, learn)) / len(ids):.2f} characters a token")

    model = new_model()
    print(sum(p.numel() for p in model.parameters()), "parameters")
    optimizer = Optimizer(model)
    checkpoint, first = options.work / "checkpoint.pt", 0
    if checkpoint.exists():
        kept = torch.load(checkpoint)
        first = kept["step"]
        model.load_state_dict(kept["model"])
        optimizer.load_state_dict(kept["optimizer"])

    began, recent = time.time(), None
    for step in range(first, options.steps):
        sequences = Sequences(ids, starts, [SEED, step])  # of its own seed, so that a run can go on where it stopped
        loss = loss_of(model, sequences.batch())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step(rate(step, options.steps))
        recent = loss.item() if recent is None else 0.98 * recent + 0.02 * loss.item()
        if (step + 1) % 250 == 0 or step + 1 == options.steps:
            held = held_out_loss(model, held_out[:40000])
            print(f"step {step + 1} loss {recent:.3f} held out {held:.3f} {time.time() - began:.0f} s", flush=True)
        if (step + 1) % 250 == 0:
            torch.save({"step": step + 1, "model": model.state_dict(), "optimizer": optimizer.state_dict()}, checkpoint)

    save(model, tokenizer, options.out)
    model.load_state_dict({k: v.to(torch.bfloat16).float() for k, v in model.state_dict().items()})
    print(f"held out, weights rounded to bfloat16: {held_out_loss(model, held_out):.4f} nats a token")


if __name__ == "__main__":
    main()
