#!/usr/bin/env python3
"""Parts left out and logits attributed, by PyTorch in float64 with hooks: ../tests/fixtures/ablation.json.

    python ablation.py                  # write it
    python ablation.py --check          # make it again and compare

For the prompts of four tiny models: what becomes of the last token's distribution when a head gives nothing to the output
projection, when a block gives what it is given, when an MLP gives zero: KL(with || without) in nats, and the change of the
likeliest token's logit. And what each part adds to that logit, with the final norm's divisor as it is (Elhage et al., "A
Mathematical Framework for Transformer Circuits", 2021): the difference that taking the part away would make, were the
divisor the same.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from capture import load_model
from lens import rounded

TINY = Path(__file__).parent / "tiny"
FIXTURE = Path(__file__).parent.parent / "tests/fixtures/ablation.json"
MODELS = ("qwen2", "qwen3", "gemma2", "gpt2")


class Parts:
    """Where a family keeps its parts."""

    def __init__(self, model: PreTrainedModel):
        gpt2 = hasattr(model, "transformer")
        body = model.transformer if gpt2 else model.model
        self.blocks: list[nn.Module] = list(body.h if gpt2 else body.layers)
        self.final: nn.Module = body.ln_f if gpt2 else body.norm
        self.embeddings: list[nn.Module] = [body.wte, body.wpe] if gpt2 else [body.embed_tokens]
        self.projections = [block.attn.c_proj if gpt2 else block.self_attn.o_proj for block in self.blocks]
        sandwich = hasattr(self.blocks[0], "post_feedforward_layernorm")
        self.mlps = [block.post_feedforward_layernorm if sandwich else block.mlp for block in self.blocks]
        self.attentions = [
            block.post_attention_layernorm if sandwich else projection
            for block, projection in zip(self.blocks, self.projections)
        ]
        config = model.config
        self.heads = config.num_attention_heads
        self.width = getattr(config, "head_dim", None) or config.hidden_size // self.heads


def first(output):
    return output[0] if isinstance(output, tuple) else output


def with_first(output, value):
    return (value, *output[1:]) if isinstance(output, tuple) else value


def logits(model: PreTrainedModel, ids: list[int], hooks: list[Callable]) -> Tensor:
    handles = [hook() for hook in hooks]
    try:
        return model(torch.tensor([ids])).logits[0, -1]
    finally:
        for handle in handles:
            handle.remove()


def without_head(projection: nn.Module, head: int, width: int) -> Callable:
    def hook(module, args):
        context = args[0].clone()
        context[..., head * width : (head + 1) * width] = 0
        return (context, *args[1:])

    return lambda: projection.register_forward_pre_hook(hook)


def passing(block: nn.Module) -> Callable:
    def hook(module, args, kwargs, output):
        return with_first(output, args[0] if args else kwargs["hidden_states"])

    return lambda: block.register_forward_hook(hook, with_kwargs=True)


def zeroed(module: nn.Module) -> Callable:
    return lambda: module.register_forward_hook(lambda m, a, output: with_first(output, torch.zeros_like(first(output))))


def effect(whole: Tensor, part: Tensor, token: int) -> list[float]:
    log, other = whole.log_softmax(-1), part.log_softmax(-1)
    return [float((log.exp() * (log - other)).sum()), float(part[token] - whole[token])]


def attributed(model: PreTrainedModel, parts: Parts, ids: list[int], token: int) -> dict:
    """What each part adds: the linear function that final norm and head are around the residual stream, on each part."""
    kept: dict[str, Tensor] = {}

    def keep(key: str, of_input: bool = False) -> Callable:
        def hook(module, args, output):
            kept[key] = first(args if of_input else output).reshape(-1, first(args if of_input else output).shape[-1])[-1]

        return hook

    handles = [parts.final.register_forward_hook(keep("stream", True))]
    for index, module in enumerate(parts.embeddings):
        handles.append(module.register_forward_hook(keep(f"embedding.{index}")))
    for index, (attention, projection, mlp) in enumerate(zip(parts.attentions, parts.projections, parts.mlps)):
        handles.append(attention.register_forward_hook(keep(f"{index}.attention")))
        handles.append(attention.register_forward_hook(keep(f"{index}.before", True)))
        handles.append(projection.register_forward_hook(keep(f"{index}.context", True)))
        handles.append(mlp.register_forward_hook(keep(f"{index}.mlp")))
    model(torch.tensor([ids]))
    for handle in handles:
        handle.remove()

    def frozen(norm: nn.Module, at: Tensor, part: Tensor) -> Tensor:
        """The norm of `part`, divided by what `at` is divided by."""
        if isinstance(norm, nn.LayerNorm):
            centred = part - part.mean()
            return centred / torch.sqrt(at.var(correction=0) + norm.eps) * norm.weight
        eps = getattr(norm, "variance_epsilon", None) or norm.eps
        weight = norm.weight + 1 if "Gemma" in type(norm).__name__ else norm.weight
        return part / torch.sqrt(at.square().mean() + eps) * weight

    row = model.lm_head.weight[token]
    add = lambda part: float(row @ frozen(parts.final, kept["stream"], part))
    layers = []
    for index, (attention, projection) in enumerate(zip(parts.attentions, parts.projections)):
        heads = []
        for head in range(parts.heads):
            own = torch.zeros_like(kept[f"{index}.context"])
            part = slice(head * parts.width, (head + 1) * parts.width)
            own[part] = kept[f"{index}.context"][part]
            bias = projection(torch.zeros_like(own)[None])[0]
            given = projection(own[None])[0] - bias
            if attention is not projection:
                given = frozen(attention, kept[f"{index}.before"], given)
            heads.append(add(given))
        layers.append(
            {"attention": add(kept[f"{index}.attention"]), "heads": heads, "mlp": add(kept[f"{index}.mlp"])}
        )
    norm_bias = getattr(parts.final, "bias", None)
    return {
        "logit": float(row @ parts.final(kept["stream"][None])[0]),
        "embedding": [add(kept[f"embedding.{index}"]) for index in range(len(parts.embeddings))],
        "layers": layers,
        "bias": 0.0 if norm_bias is None else float(row @ norm_bias),
    }


@torch.no_grad()
def of_model(name: str) -> dict:
    model = load_model(str(TINY / name), "float64")
    ids = json.loads((TINY / name / "greedy.json").read_text())["prompt"]
    parts = Parts(model)
    whole = logits(model, ids, [])
    token = int(whole.argmax())
    run = lambda hook: effect(whole, logits(model, ids, [hook]), token)
    return {
        "ids": ids,
        "token": token,
        "heads": [
            [run(without_head(projection, head, parts.width)) for head in range(parts.heads)]
            for projection in parts.projections
        ],
        "layers": [run(passing(block)) for block in parts.blocks],
        "mlp": [run(zeroed(mlp)) for mlp in parts.mlps],
        "attribution": attributed(model, parts, ids, token),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the fixture of ablation and attribution.")
    parser.add_argument("--check", action="store_true", help="compare with the committed file")
    torch.set_num_threads(1)
    check = parser.parse_args().check
    lines = [f'  "{name}": {json.dumps(rounded(of_model(name)))}' for name in MODELS]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    if check:
        same = text == FIXTURE.read_text()
        print("as committed" if same else "differs")
        return 0 if same else 1
    FIXTURE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
