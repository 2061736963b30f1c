"""What is known of a patch without its pixels, and which folds train, choose and test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cropzoo.errors import UsageError


@dataclass(frozen=True)
class Patch:
    """One square of a dataset on disk.

    Args:
        id: names its files, DATA_S2/S2_{id}.npy and so on.
        fold: which part of a cross-validation it belongs to, from 1.
        dates: days since 1970-01-01, increasing.
        size: height and width of the series in pixels.
        place: where it lies, as in `cropzoo.Sample`; empty if unknown.
        tile: the tile of its images, such as "31UFS"; empty if unknown.
        year: of the harvest; None if unknown.
        parcels: parcels that it has a part of.
        cover: share of its pixels that a parcel holds, 0 to 1.
    """

    id: str
    fold: int
    dates: tuple[int, ...]
    size: tuple[int, int]
    place: dict[str, Any] = field(default_factory=dict)
    tile: str = ""
    year: int | None = None
    parcels: int = 0
    cover: float = 0.0


Rotation = dict[str, list[int]]
"""The folds of "train", "val" and "test"."""


def rotations(folds: int) -> list[Rotation]:
    """The ways to deal folds 1 to `folds`: the k-th trains from k on, the last two in the circle are val and test.

    With five folds these are the rotations of PASTIS: 123/4/5, 234/5/1, 345/1/2, 451/2/3, 512/3/4.

    Raises:
        UsageError: fewer than three folds, too few for three splits.

    Source: Garnot and Landrieu 2021, arXiv:2107.07933.
    """
    if folds < 3:
        raise UsageError(f"rotations of {folds!r} folds; train, val and test need one each; use 3 folds or more")
    circles = [[(first + step) % folds + 1 for step in range(folds)] for first in range(folds)]
    return [{"train": circle[:-2], "val": circle[-2:-1], "test": circle[-1:]} for circle in circles]
