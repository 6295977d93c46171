"""What stands behind the last layer of an embedder: the modules of sentence-transformers, as its folder lists them.

`modules.json` names them; `1_Pooling/config.json` says how rows become one, `2_Dense` holds a matrix, and Normalize has no folder.
They compute what sentence-transformers does, step by step, in the dtype of the model.
"""

import json
from collections.abc import Callable, Iterator
from inspect import signature
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import MODEL_FOR_MASKED_LM_MAPPING, MODEL_MAPPING, PreTrainedConfig

FUNCTIONS = {"Identity": nn.Identity, "Tanh": nn.Tanh, "ReLU": nn.ReLU, "GELU": nn.GELU, "SiLU": nn.SiLU}
MODES = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean", "pooling_mode_lasttoken": "lasttoken"}


def is_encoder(config: PreTrainedConfig) -> bool:
    """Whether it is of a class that predicts masked tokens: every token sees those behind it."""
    return type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False)


def is_headless(config: PreTrainedConfig, folder: Path) -> bool:
    """Whether it predicts no next token: an encoder, or published as an embedder."""
    both_ways = getattr(config, "use_bidirectional_attention", False) is True
    return is_encoder(config) or both_ways or (folder / "modules.json").is_file()


def without_pooler(config: PreTrainedConfig, folder: Path) -> dict[str, bool]:
    """How a model is loaded so that it has a pooler only where its files have one: nothing of an embedder reads it."""
    files = folder.glob("*.safetensors") if is_encoder(config) else ()
    names = {name for file in files for name in safe_open(file, "pt").keys()}
    takes = "add_pooling_layer" in signature(MODEL_MAPPING[type(config)].__init__).parameters if names else False
    return {"add_pooling_layer": False} if takes and not any("pooler." in name for name in names) else {}


def pooled(rows: Tensor, mask: Tensor, mode: str) -> Tensor:
    """[batch, token, channel] as [batch, channel], as `Pooling.forward` has it."""
    if mode == "cls":
        return rows[:, 0]
    if mode == "lasttoken":
        last = mask.shape[1] - 1 - mask.flip(1).argmax(1)  # padding may stand at either end
        return rows[torch.arange(len(rows)), last]
    weights = mask[:, :, None].expand_as(rows).to(rows.dtype)
    return (rows * weights).sum(1) / weights.sum(1).clamp(min=1e-9)


def mode_of(config: dict) -> str:
    chosen = [mode for key, mode in MODES.items() if config.get(key) or config.get("pooling_mode") == mode]
    if len(chosen) != 1:
        raise ValueError(f"one of {', '.join(MODES.values())} is wanted, not {chosen or config.get('pooling_mode')}")
    return chosen[0]


class Stages:
    """The modules behind the last layer of the model in `folder`; none where it is no embedder. Rows are pooled in another
    `mode` than its own where one is given."""

    def __init__(self, folder: Path, mode: str | None = None):
        self.steps: list[tuple[str, Callable[[Tensor, Tensor], Tensor]]] = []
        listed = folder / "modules.json"
        for module in json.loads(listed.read_text()) if listed.is_file() else []:
            kind, path = module["type"].rpartition(".")[2], folder / module["path"]
            if kind == "Pooling":
                mode = mode or mode_of(json.loads((path / "config.json").read_text()))
                self.steps.append(("pooled", lambda rows, mask, mode=mode: pooled(rows, mask, mode)))
            elif kind == "Normalize":
                self.steps.append(("normalized", lambda row, mask: nn.functional.normalize(row, p=2, dim=1)))
            elif kind == "Dense":
                config, weights = json.loads((path / "config.json").read_text()), load_file(path / "model.safetensors")
                name, function = path.name, config["activation_function"].rpartition(".")[2]
                self.steps.append((name, lambda row, mask, weights=weights: linear(row, weights)))
                if function != "Identity":
                    self.steps.append((f"{name}.act", lambda row, mask, apply=FUNCTIONS[function](): apply(row)))

    def of(self, rows: Tensor, mask: Tensor | None) -> Iterator[tuple[str, Tensor]]:
        """What each gives, with its name, of the rows of the last layer."""
        value, mask = rows, torch.ones(rows.shape[:2], dtype=torch.long) if mask is None else mask
        for name, step in self.steps:
            value = step(value, mask.to(rows.device))
            yield name, value


def linear(row: Tensor, weights: dict[str, Tensor]) -> Tensor:
    own = {name.removeprefix("linear."): weight.to(row) for name, weight in weights.items()}
    return nn.functional.linear(row, own["weight"], own.get("bias"))
