"""Clean runs of engines whose key/value cache keeps few bits, everything else as it is. None of them may accuse anyone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from transformers import cache_utils

from casebook import CLEAN, Casebook, cut, told, write_dump
from clean import DECODED, CleanDumps, Dump, fed, folder_name, layers_of, model_of

KINDS = ("all", "unscored", "blocks")
BLOCK = 32


def in_blocks(levels: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Rounds blocks along the channels of a head, each by itself."""

    def rounded(x: Tensor) -> Tensor:
        blocks = x.float().reshape(*x.shape[:-1], -1, min(BLOCK, x.shape[-1]))
        return levels(blocks).reshape(x.shape).to(x.dtype)

    return rounded


def q8_0(blocks: Tensor) -> Tensor:
    """ggml's: `scale = max |x| / 127`, kept in f16."""
    scale = blocks.abs().amax(-1, keepdim=True) / 127
    inverse = torch.where(scale > 0, 1 / scale, 0.0)
    return (blocks * inverse).round() * scale.half().float()


def q4_0(blocks: Tensor) -> Tensor:
    """ggml's: the number of largest size becomes level 0 of 16, and 0 level 8."""
    largest = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True))
    scale = largest / -8
    inverse = torch.where(scale != 0, 1 / scale, 0.0)
    return ((blocks * inverse + 8.5).floor().clamp(0, 15) - 8) * scale.half().float()


def through(dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    return lambda x: x.to(dtype).to(x.dtype)


FORMATS: dict[str, Callable[[Tensor], Tensor]] = {
    "f16": through(torch.float16),
    "bf16": through(torch.bfloat16),
    "e4m3": through(torch.float8_e4m3fn),
    "e5m2": through(torch.float8_e5m2),
    "q8_0": in_blocks(q8_0),
    "q4_0": in_blocks(q4_0),
}


@contextmanager
def cache_in(rounded: Callable[[Tensor], Tensor], late: bool) -> Iterator[list[Tensor]]:
    """Every cache keeps rounded keys and values; gives the keys of before, layer by layer in each forward.

    `late`: a prefill computes with those that it has, not with the kept ones.
    """
    kinds = [cache_utils.DynamicLayer, cache_utils.DynamicSlidingWindowLayer]
    updates, before = [kind.update for kind in kinds], []

    def replaced(update: Callable) -> Callable:
        def wrapped(self, keys: Tensor, values: Tensor, *args, **kwargs):
            is_prefill = not self.is_initialized or self.get_seq_length() == 0
            before.append(keys.clone())
            all_keys, all_values = update(self, rounded(keys), rounded(values), *args, **kwargs)
            return (keys, values) if late and is_prefill else (all_keys, all_values)

        return wrapped

    try:
        for kind, update in zip(kinds, updates, strict=True):
            kind.update = replaced(update)
        yield before
    finally:
        for kind, update in zip(kinds, updates, strict=True):
            kind.update = update


def cached(folder: Path, dumps: CleanDumps, precision: str, form: str) -> Dump:
    """A run with such a cache, over the tokens of the run with an exact one. Its keys are those of before the cache, unless
    the form says that they are as it keeps them."""
    like = dumps.dump(folder, precision, DECODED)
    name, _, how = form.partition("-")
    with cache_in(FORMATS[name], how == "late") as before:
        run = fed(model_of(folder, precision), like)
    if how != "kept":
        layers = layers_of(folder)
        for at, keys in enumerate(before):
            step, layer = divmod(at, layers)
            kept = run.tensors[key_of(run, layer, step)]
            kept.copy_(keys[0] if kept.ndim == 3 else keys[0].transpose(0, 1).flatten(1))
    return run


def key_of(run: Dump, layer: int, step: int) -> str:
    """The name of the keys that a layer hands to the cache."""
    suffix = f"@{step}" if step else ""
    names = (f"model.layers.{layer}.self_attn.k_rope{suffix}", f"transformer.h.{layer}.attn.k{suffix}")
    return next(name for name in names if name in run.tensors)


def add_caches(book: Casebook, dumps: CleanDumps, folder: Path) -> None:
    """Adds them: each format; a prefill that does not read the cache; keys as the cache keeps them."""
    runs = [("float32", form) for form in (*FORMATS, "q8_0-late", "q8_0-kept", "e4m3-kept")] + [("bfloat16", "q8_0")]
    for precision, form in runs:
        run: Dump | None = None
        for kind in KINDS:
            case = f"clean/{folder_name(folder)}/{precision}/cache-{form}/{kind}/{DECODED}"
            if not book.wants(case):
                continue
            run = run or cached(folder, dumps, precision, form)
            tensors = cut(run.tensors, kind, layers_of(folder))
            path = write_dump(book.path(f"{case}.safetensors"), tensors, told(run.metadata, kind))
            book.add(case, folder, CLEAN, candidate=path)
    dumps.forget()
