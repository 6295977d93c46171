"""What a tiny model of tiny/ is made from."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

Weights = dict[str, Tensor]


@dataclass
class Tiny:
    """A config.json, and how random weights for it are made."""

    seed: int
    config: dict
    dtype: torch.dtype = torch.float32
    shards: int = 1
    generation: dict = field(default_factory=dict)
    published: Callable[[Weights], Weights] | None = None  # names and parts of the weights, where files have others
    files: dict[str, dict | list] = field(default_factory=dict)  # what a folder of an embedder has beside
    decode: int = 4  # forwards of one token that are captured
    norm: float = 1.0  # what the weights of norms are near to: 0 where one is added to them
    embedding: float | None = None  # the size of embeddings, where the usual one makes a tied head repeat what it is given
    query_key: float = 1.5  # the size of the projections of queries and keys
