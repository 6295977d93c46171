"""Routers that nearly tie, made so: a token's last expert and the first that it is not given lie so near that another rounding
chooses the other one. That is no mistake, and has to be said as a tie. Beside them the same models whose router gives that
token an expert that lies far off, which is one.
"""

import copy
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from casebook import Casebook, write_dump
from clean import CleanDumps, folder_name, model_of, tokens_of
from knobs import in_order
from make_tiny import TINY

FAMILIES = (
    "mixtral", "qwen3_moe", "qwen2_moe", "olmoe", "gpt_oss", "granitemoe", "phimoe", "deepseek_v3", "glm4_moe", "ernie4_5_moe",
    "minimax_m2", "hunyuan_v1_moe", "lfm2_moe",
)
TOKEN = 7
APART = 2e-4  # what a logit lies beyond the other: less than bf16 moves it
FURTHEST = 64.0  # more than any logit of a tiny model


@dataclass(frozen=True)
class Router:
    """The last router of a model, and what it does for a token."""

    model: PreTrainedModel
    path: str
    ids: list[int]

    @classmethod
    def of(cls, model: PreTrainedModel, ids: list[int]) -> "Router":
        blocks = [path for path, module in model.named_modules() if getattr(module, "experts", None) is not None]
        inside = dict(model.get_submodule(blocks[-1]).named_children())
        return cls(model, f"{blocks[-1]}.{'gate' if 'gate' in inside else 'router'}", ids)

    @property
    def matrix(self) -> tuple[str, Tensor]:
        """Its weights [expert, channel], and their name."""
        named = dict(self.model.get_submodule(self.path).named_parameters())
        name = next(name for name, weight in named.items() if weight.dim() == 2)
        return f"{self.path}.{name}", named[name]

    def seen(self) -> tuple[Tensor, Tensor]:
        """What it reads, and the experts that it gives, by falling weight: of every token."""
        read, given = [], []
        hooks = [
            self.model.get_submodule(self.path).register_forward_pre_hook(lambda _, args: read.append(args[0])),
            self.model.get_submodule(self.path.rpartition(".")[0]).experts.register_forward_pre_hook(
                lambda _, args: given.append(args[1]), with_kwargs=False
            ),
        ]
        with torch.no_grad():
            self.model(torch.tensor([self.ids]))
        for hook in hooks:
            hook.remove()
        return read[-1].flatten(0, -2), given[-1].flatten(0, -2)


def set_of(experts: Tensor) -> frozenset[int]:
    return frozenset(experts.tolist())


def raised(router: Router, expert: int, reads: Tensor, by: float) -> frozenset[int]:
    """What the token is given where its logit of an expert is so much larger."""
    changed = Router(copy.deepcopy(router.model), router.path, router.ids)
    with torch.no_grad():
        changed.matrix[1][expert] += by * reads / reads.pow(2).sum()
    return set_of(changed.seen()[1][TOKEN])


def nearly_tied(folder: Path, made: Path, side: int) -> None:
    """Writes a model whose last router nearly ties for the token: to one side, or to the other."""
    router = Router.of(model_of(folder, "float32"), tokens_of(folder, TOKEN + 5))
    reads, given = (of_all[TOKEN] for of_all in router.seen())
    name, matrix = router.matrix
    others = [expert for expert in range(len(matrix)) if expert not in set_of(given)]
    others.sort(key=lambda expert: (matrix[expert] @ reads).item(), reverse=True)
    # A bias or another group may keep the nearest one out, however large its logit is.
    expert = next(expert for expert in others if raised(router, expert, reads, FURTHEST) != set_of(given))
    low, high = 0.0, FURTHEST
    while high - low > APART / 100:
        middle = (low + high) / 2
        low, high = (middle, high) if raised(router, expert, reads, middle) == set_of(given) else (low, middle)
    by = high + side * APART
    shutil.copytree(folder, made, dirs_exist_ok=True, ignore=shutil.ignore_patterns("reference*", "greedy*"))
    tensors = load_file(folder / "model.safetensors")
    stored = next(key for key, tensor in tensors.items() if tensor.shape == matrix.shape and tensor.float().equal(matrix))
    changed = matrix.detach().clone()
    changed[expert] += by * reads / reads.pow(2).sum()
    save_file(tensors | {stored: changed}, made / "model.safetensors", {"format": "pt"})


def sends_elsewhere(path: str, model: PreTrainedModel) -> bool:
    """The last expert of the token becomes, of those that it is not given, the one of the smallest logit; whether the router
    can be changed so."""
    router: nn.Module = model.get_submodule(path)
    usual, can = router.forward, []

    def forward(*args, **kwargs):
        logits, weights, chosen = usual(*args, **kwargs)
        chosen = chosen.clone()
        chosen[TOKEN, -1] = logits.flatten(0, -2)[TOKEN].index_fill(0, chosen[TOKEN], torch.inf).argmin()
        return logits, weights, chosen

    with torch.no_grad():
        hook = router.register_forward_hook(lambda _, args, output: can.append(isinstance(output, tuple) and len(output) == 3))
        model(torch.arange(TOKEN + 2)[None])
        hook.remove()
    router.forward = forward
    return can[-1]


def add_flips(book: Casebook, dumps: CleanDumps) -> None:
    """Adds both sides' dumps of models that nearly tie, and those of a router that is wrong."""
    for folder in (TINY / name for name in FAMILIES):
        made = book.folder / "models" / f"tied-{folder_name(folder)}"
        if not any(book.wants(name.format(made.name)) for name in NAMES):
            continue
        add_ties(book, dumps, folder, made)
        add_wrong_choice(book, dumps, made)
        dumps.forget()


NAMES = (
    *(f"clean/{{}}/{precision}/{kind}/12" for precision in ("float32-bfloat16", "bfloat16") for kind in ("all", "blocks")),
    *(f"planted/{{}}/float32/expert_far_off/all/{role}" for role in ("alone", "pair")),
)


def add_ties(book: Casebook, dumps: CleanDumps, folder: Path, made: Path) -> None:
    precisions = ("float32", "bfloat16")
    for side in (1, -1):
        nearly_tied(folder, made, side)
        model_of.cache_clear()
        dumps.forget()
        routers = [Router.of(model_of(made, precision), tokens_of(made, 12)) for precision in precisions]
        exact, rounded = (router.seen()[1] for router in routers)
        flipped = [token for token in range(len(exact)) if set_of(exact[token]) != set_of(rounded[token])]
        if TOKEN in flipped:
            break
    else:
        raise ValueError(f"{folder.name}: bf16 chooses as f32 does")
    [layer] = [int(part) for part in routers[0].path.split(".") if part.isdigit()]
    tie = f"routing of token {min(flipped)} in layer {layer} is a tie: experts"
    for kind, told in (("all", {"note": tie}), ("blocks", {})):
        expect = {"verdicts": ["rounding"], **told}
        part = partial(dumps.part, made, tokens="12", kind=kind)
        roles = {"reference": part("float32"), "candidate": part("bfloat16")}
        book.add(f"clean/{made.name}/float32-bfloat16/{kind}/12", made, expect, **roles)
        book.add(f"clean/{made.name}/bfloat16/{kind}/12", made, expect, candidate=roles["candidate"])


def add_wrong_choice(book: Casebook, dumps: CleanDumps, made: Path) -> None:
    clean = dumps.dump(made, "float32", "12")
    model = copy.deepcopy(model_of(made, "float32"))
    path = Router.of(model, clean.ids).path
    if not sends_elsewhere(path, model):
        return
    root = f"planted/{made.name}/float32/expert_far_off/all"
    planted = write_dump(book.path(f"{root}.safetensors"), in_order(model, clean).tensors, clean.metadata)
    expect = {
        "verdicts": ["diverged"],
        "bug": "expert_far_off",
        "name": f"{path.rpartition('.')[0]}.routing",
        "culprit": "candidate",
        "precision": "float32",
        "coverage": "all",
    }
    book.add(f"{root}/alone", made, expect, candidate=planted)
    book.add(f"{root}/pair", made, expect, candidate=planted, reference=dumps.part(made, "float32", "12", "all"))
