"""Long batches of short sequences through a transformer in pieces that stay in the processor's cache."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

TOKENS = 2528
"""Tokens of a chunk: of 316, 632, 1264, 2528 and 5056 at width 128, 2528 ran the forward pass fastest."""


def pays(tensor: Tensor) -> bool:
    """Whether chunks are faster than the whole: a GPU wants it whole, and so does the compiler."""
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()


def in_chunks(encode: Callable[..., Tensor], sequences: Tensor, *shared: Tensor, length: int, dim: int = 0) -> Tensor:
    """`encode(sequences, *shared)`, computed for some of the sequences at a time.

    Args:
        encode: maps the sequences to as many results along `dim`, each on its own.
        sequences: any shape; `dim` counts sequences.
        shared: further arguments that every chunk needs whole.
        length: tokens of everything that stands at one position of `dim`.
        dim: which dimension to cut.
    """
    size, count = max(1, TOKENS // length), sequences.shape[dim]
    chunks = [sequences.narrow(dim, start, min(size, count - start)) for start in range(0, count, size)]
    return torch.cat([encode(chunk, *shared) for chunk in chunks], dim)
