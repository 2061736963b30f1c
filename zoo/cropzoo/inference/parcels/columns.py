"""Columns written for each parcel; their names have at most ten letters, the limit of shapefiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.parcel_majority import ParcelMajority
from cropzoo.data.sample import LabelClass

COLUMNS = {
    "map_crop": "crop with the most pixels in the parcel",
    "map_code": "code of map_crop; empty if the training data name the crops by texts",
    "map_prec": "precision of map_crop on the model's test split; requires a map with test scores",
    "map_share": "share of pixels with map_crop",
    "map_crop2": "crop with the second most pixels",
    "map_share2": "share of pixels with map_crop2",
    "mean_crop": "crop with the highest mean probability; requires probabilities",
    "mean_prob": "mean probability of mean_crop",
    "map_conf": "mean confidence of the pixels",
    "map_pixels": "number of pixels used; pixels on the edge count by their share in the parcel",
    "map_inside": "number of pixels completely inside the parcel",
    "map_inner": "whether only pixels completely inside were used",
    "map_nodata": "share of the parcel without data in the map",
    "map_region": "region that contains a point inside the parcel; requires regions (`--by`)",
    "decl_crop": "class of the declared crop; empty if the map has no such class",
    "agrees": "whether decl_crop is map_crop",
    "decl_prob": "mean probability of decl_crop, or its share of pixels without probabilities",
    "suspect": "rank among suspicious declarations; 1 is the least likely",
}
"""Descriptions of the columns. All but the counts are empty where the map has no data."""

COLUMN_TYPES = {"map_code": "Int64", "agrees": "boolean", "suspect": "Int64"}
"""Nullable pandas types of the columns of integers and booleans."""

_DIGITS = 4


def is_statistics_column(column: str) -> bool:
    """Whether a column has a name in `COLUMNS`, ignoring case as databases do."""
    return column.lower() in COLUMNS


@dataclass(frozen=True)
class ParcelStatistics:
    """Statistics of n parcels without the fields per class; see `ParcelMajority` for the fields not listed here.

    Args:
        hectares: (n,), area of the parcel, ha.
        region: (n,), index of the region, -1 in no region; None without regions.
        declared: (n,), class index of the declared crop, negative for none of the map's classes; None without a crop
            column.
        probability: (n,), probability of the declared crop, NaN where it cannot be compared; None without a crop
            column.
    """

    crop: NDArray[np.intp]
    share: NDArray[np.float64]
    second: NDArray[np.intp]
    second_share: NDArray[np.float64]
    likely: NDArray[np.intp] | None
    likely_probability: NDArray[np.float64] | None
    confidence: NDArray[np.float64] | None
    pixels: NDArray[np.float64]
    inside: NDArray[np.float64]
    interior: NDArray[np.bool_]
    nodata: NDArray[np.float64]
    hectares: NDArray[np.float64]
    region: NDArray[np.int64] | None = None
    declared: NDArray[np.intp] | None = None
    probability: NDArray[np.float64] | None = None

    @property
    def agrees(self) -> NDArray[np.bool_]:
        """(n,), whether the majority in the map is the declared crop; False where they cannot be compared."""
        assert self.declared is not None
        same: NDArray[np.bool_] = (self.declared == self.crop) & (self.crop >= 0)
        return same

    @property
    def compared(self) -> NDArray[np.bool_]:
        """(n,), whether the declared crop is a class of the map and the map has data there."""
        assert self.declared is not None
        both: NDArray[np.bool_] = (self.declared >= 0) & (self.crop >= 0)
        return both

    def select(self, start: int, count: int) -> ParcelStatistics:
        """The statistics of `count` parcels from position `start`."""
        return _map_fields(lambda arrays: arrays[0][start : start + count], [self])


def collect_statistics(
    majority: ParcelMajority,
    hectares: NDArray[np.float64],
    region: NDArray[np.int64] | None,
    declared: NDArray[np.intp] | None,
    probability: NDArray[np.float64] | None,
) -> ParcelStatistics:
    """The statistics of a piece of the parcels; no field grows with the number of classes."""
    own = ("hectares", "region", "declared", "probability")
    fields: dict[str, Any] = {
        name: getattr(majority, name) for name in ParcelStatistics.__dataclass_fields__ if name not in own
    }
    return ParcelStatistics(**fields, hectares=hectares, region=region, declared=declared, probability=probability)


def concatenate_statistics(pieces: Sequence[ParcelStatistics]) -> ParcelStatistics:
    """The statistics of all parcels of several pieces."""
    return _map_fields(np.concatenate, pieces)


def _map_fields(function: Any, pieces: Sequence[ParcelStatistics]) -> ParcelStatistics:
    """Apply a function to the list of arrays of each field that is not None."""
    fields = {name: [getattr(piece, name) for piece in pieces] for name in ParcelStatistics.__dataclass_fields__}
    joined: dict[str, Any] = {name: None if arrays[0] is None else function(arrays) for name, arrays in fields.items()}
    return ParcelStatistics(**joined)


def make_columns(
    found: ParcelStatistics,
    rank: NDArray[np.int64] | None,
    classes: Sequence[LabelClass],
    precision: Mapping[str, float],
    regions: Sequence[str] = (),
) -> Mapping[str, Any]:
    """The columns of n parcels by name (see `COLUMNS`), not yet of the types in `COLUMN_TYPES`.

    Args:
        found: Statistics of the parcels.
        rank: (n,), rank among suspicious declarations; None without declared crops.
        classes: Classes of the map.
        precision: Test precision of each class by name, 0..1; empty if unknown.
        regions: Names of the regions.
    """
    names = np.array([*(each.name for each in classes), None], object)  # indices -1 and -2 mean none
    codes = np.array([*(np.nan if each.code is None else each.code for each in classes), np.nan])
    precisions = np.array([*(precision.get(each.name, np.nan) for each in classes), np.nan])
    made: dict[str, Any] = {
        "map_crop": names[np.maximum(found.crop, -1)],
        "map_code": codes[np.maximum(found.crop, -1)],
        **({"map_prec": precisions[np.maximum(found.crop, -1)].round(_DIGITS)} if precision else {}),
        "map_share": found.share.round(_DIGITS),
        "map_crop2": names[np.maximum(found.second, -1)],
        "map_share2": found.second_share.round(_DIGITS),
    }
    if found.likely is not None and found.likely_probability is not None:
        made |= {"mean_crop": names[found.likely], "mean_prob": found.likely_probability.round(_DIGITS)}
    if found.confidence is not None:
        made["map_conf"] = found.confidence.round(_DIGITS)
    made |= {
        "map_pixels": found.pixels.round(2),
        "map_inside": found.inside.astype(np.int32),
        "map_inner": found.interior,
        "map_nodata": found.nodata.round(_DIGITS),
    }
    if found.region is not None:
        made["map_region"] = np.array([*regions, None], object)[found.region]
    if found.declared is not None and found.probability is not None and rank is not None:
        made |= {
            "decl_crop": names[np.maximum(found.declared, -1)],
            "agrees": np.where(found.compared, found.agrees, np.nan),
            "decl_prob": found.probability.round(_DIGITS),
            "suspect": np.where(rank > 0, rank, np.nan),
        }
    return made
