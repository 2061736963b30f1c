"""What is written of each parcel, a column each; names of at most ten letters, which is all that a shapefile keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.sample import LabelClass
from cropzoo.inference.parcels.majority import Crops

COLUMNS = {
    "map_crop": "crop that most of the parcel's pixels show",
    "map_code": "its code",
    "map_share": "its share of the pixels",
    "map_crop2": "crop with most pixels after it",
    "map_share2": "its share",
    "mean_crop": "crop with the highest mean probability; only with probabilities",
    "mean_prob": "that probability",
    "map_conf": "mean confidence of the pixels",
    "map_pixels": "pixels that count, those at the edge by their share",
    "map_inside": "pixels that lie wholly in the parcel",
    "map_inner": "whether only those were used",
    "map_nodata": "share of the parcel that the map does not show",
    "decl_crop": "class of the declared crop; empty where the map has no such class",
    "agrees": "whether it is map_crop",
    "decl_prob": "its mean probability, its share of the pixels without probabilities",
    "suspect": "1 for the declaration that the map finds least likely, 2 for the next",
}
"""Each column and what it holds. All but the counts are empty where the map shows nothing."""


def is_ours(column: str) -> bool:
    """Whether a column of parcels has the name of one in `COLUMNS`; databases do not tell capitals apart."""
    return column.lower() in COLUMNS


KINDS = {"map_code": "Int64", "agrees": "boolean", "suspect": "Int64"}
"""Types of pandas that hold empty fields beside whole numbers."""

_DIGITS = 4


@dataclass(frozen=True)
class Found:
    """What is kept of n parcels until all are known; see `Crops` for the fields of the map.

    Args:
        crop, share, second, second_share, likely, likely_chance, confidence, pixels, inside, interior, nodata: (n,).
        hectares: (n,), area of the parcel.
        declared: (n,), class index, negative for none that the map tells; None if nothing was asked.
        chance: (n,), of the declared crop, NaN where nothing is compared; None if nothing was asked.
    """

    crop: NDArray[np.intp]
    share: NDArray[np.float64]
    second: NDArray[np.intp]
    second_share: NDArray[np.float64]
    likely: NDArray[np.intp] | None
    likely_chance: NDArray[np.float64] | None
    confidence: NDArray[np.float64] | None
    pixels: NDArray[np.float64]
    inside: NDArray[np.float64]
    interior: NDArray[np.bool_]
    nodata: NDArray[np.float64]
    hectares: NDArray[np.float64]
    declared: NDArray[np.intp] | None = None
    chance: NDArray[np.float64] | None = None

    @property
    def agrees(self) -> NDArray[np.bool_]:
        """(n,), whether the map's majority is the declared crop; False where nothing is compared."""
        assert self.declared is not None
        same: NDArray[np.bool_] = (self.declared == self.crop) & (self.crop >= 0)
        return same

    @property
    def compared(self) -> NDArray[np.bool_]:
        """(n,), whether a crop is declared that the map tells, and the map shows something there."""
        assert self.declared is not None
        both: NDArray[np.bool_] = (self.declared >= 0) & (self.crop >= 0)
        return both

    def part(self, start: int, count: int) -> Found:
        """Some of the parcels."""
        return _each(lambda arrays: arrays[0][start : start + count], [self])


def take(
    crops: Crops,
    hectares: NDArray[np.float64],
    declared: NDArray[np.intp] | None,
    chance: NDArray[np.float64] | None,
) -> Found:
    """What is kept of a piece of the parcels: no field grows with the number of classes."""
    names = [name for name in Found.__dataclass_fields__ if name not in ("hectares", "declared", "chance")]
    fields: dict[str, Any] = {name: getattr(crops, name) for name in names}
    return Found(**fields, hectares=hectares, declared=declared, chance=chance)


def join(pieces: Sequence[Found]) -> Found:
    """All parcels of several pieces."""
    return _each(np.concatenate, pieces)


def _each(function: Any, pieces: Sequence[Found]) -> Found:
    fields = {name: [getattr(piece, name) for piece in pieces] for name in Found.__dataclass_fields__}
    joined: dict[str, Any] = {name: None if arrays[0] is None else function(arrays) for name, arrays in fields.items()}
    return Found(**joined)


def columns_of(found: Found, rank: NDArray[np.int64] | None, classes: Sequence[LabelClass]) -> Mapping[str, Any]:
    """The columns of n parcels by name, see `COLUMNS`; those of `KINDS` are to become that type of pandas."""
    names = np.array([*(each.name for each in classes), None], object)  # -1 and -2 mean none
    codes = np.array([*(each.code for each in classes), np.nan])
    made: dict[str, Any] = {
        "map_crop": names[np.maximum(found.crop, -1)],
        "map_code": codes[np.maximum(found.crop, -1)],
        "map_share": found.share.round(_DIGITS),
        "map_crop2": names[np.maximum(found.second, -1)],
        "map_share2": found.second_share.round(_DIGITS),
    }
    if found.likely is not None and found.likely_chance is not None:
        made |= {"mean_crop": names[found.likely], "mean_prob": found.likely_chance.round(_DIGITS)}
    if found.confidence is not None:
        made["map_conf"] = found.confidence.round(_DIGITS)
    made |= {
        "map_pixels": found.pixels.round(2),
        "map_inside": found.inside.astype(np.int32),
        "map_inner": found.interior,
        "map_nodata": found.nodata.round(_DIGITS),
    }
    if found.declared is not None and found.chance is not None and rank is not None:
        made |= {
            "decl_crop": names[np.maximum(found.declared, -1)],
            "agrees": np.where(found.compared, found.agrees, np.nan),
            "decl_prob": found.chance.round(_DIGITS),
            "suspect": np.where(rank > 0, rank, np.nan),
        }
    return made
