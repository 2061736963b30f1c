"""Series of several lengths in one batch: invalid dates blanked, left out, or moved behind the valid ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from cropzoo import UnknownName

Padding = Literal["masked", "published"]
"""What a network does about padding: "masked" reads `valid`, "published" does what the published code did with zeros at
the end of a series."""


def check_padding(padding: str, backbone: str) -> None:
    """Raise `UnknownName` for a padding that does not exist."""
    if not isinstance(padding, str) or padding not in get_args(Padding):
        raise UnknownName(f"padding of {backbone!r}:", padding, get_args(Padding))


_traced = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)


def exporting() -> bool:
    """Whether `torch.export` records the network: one graph for all inputs, so no choice may follow from values."""
    return bool(_traced())


def all_valid(valid: Tensor) -> bool:
    """Whether a batch has no padding; taken as given where there are shapes alone, as when costs are counted.

    Never in an export, whose graph must hold for padded batches as well.
    """
    return valid.device.type == "meta" or (not exporting() and bool(valid.all()))


def blank(series: Tensor, valid: Tensor) -> Tensor:
    """The series, (B, T, ...), with zeros at invalid dates, (B, T)."""
    return series.masked_fill(~valid.reshape(*valid.shape, *(1 for _ in series.shape[2:])), 0)


def filled(series: Tensor) -> Tensor:
    """Dates that hold any number but zero, (B, T), bool: how published networks tell padding from data."""
    return series.flatten(2).ne(0).any(2)


@dataclass(frozen=True)
class Frames:
    """The valid dates of a batch as one list, for networks that look at single dates: padding costs nothing.

    In an export the list holds all dates, and `scatter` blanks the invalid ones: how many are valid is a value.

    Args:
        valid: (B, T), bool.
        index: (N,), int64, where in the flat B * T dates each valid one stands; None where the list holds all.
        blanked: whether `scatter` has invalid dates to blank.
    """

    valid: Tensor
    index: Tensor | None
    blanked: bool = False

    @classmethod
    def of(cls, valid: Tensor) -> Frames:
        """The frames of these valid dates."""
        if exporting():
            return cls(valid, None, blanked=True)
        return cls(valid, None if all_valid(valid) else valid.flatten().nonzero()[:, 0])

    def gather(self, series: Tensor) -> Tensor:
        """(B, T, ...) to (N, ...), the dates of the list alone."""
        flat = series.flatten(0, 1)
        return flat if self.index is None else flat[self.index]

    def scatter(self, frames: Tensor) -> Tensor:
        """(N, ...) back to (B, T, ...), zero at invalid dates."""
        if self.index is not None:
            whole = frames.new_zeros(self.valid.numel(), *frames.shape[1:])
            frames = whole.index_copy(0, self.index, frames)
        series = frames.reshape(*self.valid.shape, *frames.shape[1:])
        return blank(series, self.valid) if self.blanked else series


def valid_first(valid: Tensor) -> tuple[Tensor, Tensor]:
    """The order that moves valid dates, kept in order, to the front, (B, T), int64, and their number, (B,), int64.

    `torch.take_along_dim` applies it. Recurrent networks need it: a date that is left out leaves no gap.
    """
    order = torch.argsort(valid.logical_not().to(torch.uint8), dim=1, stable=True)
    return order, valid.sum(1)
