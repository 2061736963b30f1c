"""Handling of padded dates in batches of series of different lengths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from cropzoo import UnknownName

Padding = Literal["masked", "published"]
"""Treatment of padding: "masked" uses the mask of valid dates, "published" reproduces the published code, which treats
zeros at the end of a series as padding."""


def check_padding(padding: str, backbone: str) -> None:
    """Raise `UnknownName` if a value of the option `padding` does not exist."""
    if not isinstance(padding, str) or padding not in get_args(Padding):
        raise UnknownName(f"padding of {backbone!r}:", padding, get_args(Padding))


_traced = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)


def is_exporting() -> bool:
    """Whether `torch.export` is tracing the network; the graph must then not depend on values."""
    return bool(_traced())


def all_valid(valid: Tensor) -> bool:
    """Whether a batch has no padding.

    True on the meta device, which has no values; False in an export, whose graph must also support padded batches.
    """
    return valid.device.type == "meta" or (not is_exporting() and bool(valid.all()))


def zero_invalid(series: Tensor, valid: Tensor) -> Tensor:
    """Set the series, (B, T, ...), to zero at invalid dates, (B, T)."""
    return series.masked_fill(~valid.reshape(*valid.shape, *(1 for _ in series.shape[2:])), 0)


def find_nonzero_dates(series: Tensor) -> Tensor:
    """Mask of the dates with non-zero values, (B, T), bool, by which published networks detect padding."""
    return series.flatten(2).ne(0).any(2)


@dataclass(frozen=True)
class Frames:
    """List of the valid dates of a batch, for networks that process dates independently; padding is not computed.

    In an export, the list contains all dates, and `scatter` sets the invalid ones to zero, because the number of valid
    dates depends on values.

    Args:
        valid: Mask of valid dates, (B, T), bool.
        index: Positions of the valid dates in the flattened B * T dates, (N,), int64; None if the list contains all.
        blanked: Whether `scatter` sets invalid dates to zero.
    """

    valid: Tensor
    index: Tensor | None
    blanked: bool = False

    @classmethod
    def of(cls, valid: Tensor) -> Frames:
        """Create the list from the mask of valid dates."""
        if is_exporting():
            return cls(valid, None, blanked=True)
        return cls(valid, None if all_valid(valid) else valid.flatten().nonzero()[:, 0])

    def gather(self, series: Tensor) -> Tensor:
        """Select the dates of the list, (B, T, ...) to (N, ...)."""
        flat = series.flatten(0, 1)
        return flat if self.index is None else flat[self.index]

    def scatter(self, frames: Tensor) -> Tensor:
        """Write (N, ...) back to (B, T, ...), with zeros at invalid dates."""
        if self.index is not None:
            zeros = frames.new_zeros(self.valid.numel(), *frames.shape[1:])
            frames = zeros.index_copy(0, self.index, frames)
        series = frames.reshape(*self.valid.shape, *frames.shape[1:])
        return zero_invalid(series, self.valid) if self.blanked else series


def valid_first(valid: Tensor) -> tuple[Tensor, Tensor]:
    """Permutation that moves valid dates to the front in order, (B, T), int64, and their number, (B,), int64.

    Apply it with `torch.take_along_dim`.
    """
    order = torch.argsort(valid.logical_not().to(torch.uint8), dim=1, stable=True)
    return order, valid.sum(1)
