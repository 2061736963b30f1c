"""The parcels of a region, of one file or several."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from cropzoo.errors import CropzooError

Crop = int | str | None
"""A crop as the file writes it; digits are a number; None where the field is empty."""

_NUMBER = re.compile(r"[+-]?\d+(\.0*)?")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_YEARS = range(1900, 2101)


def parse_crop(value: Any) -> Crop:
    """A number for a whole number or digits, None for an empty field, else the text without spaces around it."""
    text = format_field(value)
    if _NUMBER.fullmatch(text):
        return int(text.partition(".")[0])
    return text or None


def format_field(value: Any) -> str:
    """The text of a field without spaces around it, empty for an empty field; whole numbers have no decimals."""
    # NaN, and the day that is none, differ from themselves.
    if value is None or (isinstance(value, float | date) and value != value):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def parse_crops(values: Sequence[Any]) -> tuple[Crop, ...]:
    """The crops of a column: numbers, or texts if any of them is one; digits are texts then."""
    crops = tuple(map(parse_crop, values))
    if any(isinstance(crop, str) for crop in crops):
        return tuple(format_field(value) or None for value in values)
    return crops


def parse_years(values: Iterable[Any], path: Path, column: str) -> tuple[int, ...]:
    """The years of a column that holds years or days.

    Raises:
        CropzooError: naming the file: a field that is empty or no year from 1900 to 2100.
    """
    years = []
    for value in values:
        text = format_field(value)
        year = parse_crop(text[:4] if _DAY.match(text) else text)
        if not isinstance(year, int) or year not in _YEARS:
            raise CropzooError(
                f"parcels {str(path)!r}; column {column!r} holds {text!r}, which is no year; "
                "write a year like 2019 for every parcel, or remove those without"
            )
        years.append(year)
    return tuple(years)


def parse_ids(values: Iterable[Any], path: Path, column: str) -> NDArray[np.int32]:
    """The parcel ids of a column.

    Raises:
        CropzooError: naming the file: a field that is no whole number from 1 to 2147483647.
    """
    ids = []
    for value in values:
        number = parse_crop(value)
        if not isinstance(number, int) or not 1 <= number <= np.iinfo(np.int32).max:
            raise CropzooError(
                f"parcels {str(path)!r}; column {column!r} holds {format_field(value)!r}; ids of parcels are "
                "whole numbers from 1 to 2147483647; name another column, or none, and the parcels are numbered"
            )
        ids.append(number)
    return np.array(ids, np.int32)


@dataclass(frozen=True, eq=False)
class ParcelTable:
    """n parcels; every field but the CRS and the counts has one entry each.

    Args:
        geometry: (n,) objects of shapely, valid polygons and multi-polygons in two dimensions.
        crs: of the geometry, a CRS of pyproj.
        ids: (n,), int32, from 1; 1..n in the order of the files unless a column gave them.
        crops: numbers or texts, never both; None in a parcel without crop.
        names: of the crops, empty where unknown.
        years: None without a column of years.
        splits: texts as in the file, empty where it is; None without a column of splits.
        left_out: shapes near the images that are no polygons.
        repaired: polygons that were invalid, such as those that cross themselves.
    """

    geometry: NDArray[Any]
    crs: Any
    ids: NDArray[np.int32]
    crops: tuple[Crop, ...]
    names: tuple[str, ...]
    years: tuple[int, ...] | None = None
    splits: tuple[str, ...] | None = None
    left_out: int = 0
    repaired: int = 0
    _projected: dict[Any, ParcelTable] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.geometry)

    def to_crs(self, crs: Any) -> ParcelTable:
        """The same parcels in another CRS of pyproj, of rasterio or by its name; made once and kept."""
        if crs not in self._projected:
            found = pyproj.CRS.from_user_input(crs)
            table = self
            if found != self.crs:
                geometry = geopandas.GeoSeries(self.geometry, crs=self.crs).to_crs(found).to_numpy()
                table = replace(self, geometry=geometry, crs=found)
            self._projected[crs] = table
        return self._projected[crs]

    def within(self, area: Any) -> NDArray[np.intp]:
        """Positions of the parcels that touch an area, (k,), increasing.

        Args:
            area: a polygon, its corners, or bounds (west, south, east, north), in the CRS of this table.
        """
        positions: NDArray[np.intp] = np.sort(self._tree.query(_outline(area), predicate="intersects"))
        return positions

    def areas_within(self, area: Any) -> list[tuple[int, float]]:
        """Position of each parcel that touches an area, given as to `within`, and what it covers of it in CRS units."""
        positions = self.within(area)
        covered = shapely.area(shapely.intersection(self.geometry[positions], _outline(area)))
        return list(zip(positions.tolist(), covered.tolist(), strict=True))

    def subset(self, mask: NDArray[Any]) -> ParcelTable:
        """The parcels where a mask (n,) is true, or at positions (k,); they keep their ids."""
        positions = np.arange(len(self))[mask]
        return replace(
            self,
            geometry=self.geometry[positions],
            ids=self.ids[positions],
            crops=tuple(self.crops[i] for i in positions),
            names=tuple(self.names[i] for i in positions),
            years=None if self.years is None else tuple(self.years[i] for i in positions),
            splits=None if self.splits is None else tuple(self.splits[i] for i in positions),
        )

    @property
    def notes(self) -> list[str]:
        """What a user should know of these parcels, a sentence each."""
        without = sum(crop is None for crop in self.crops)
        told = {
            "shape(s) near the images are no polygons and were left out": self.left_out,
            "polygon(s) were invalid and were repaired": self.repaired,
            "parcel(s) have no crop; their pixels are ignored": without,
        }
        return [f"{count} {text}" for text, count in told.items() if count]

    @cached_property
    def _tree(self) -> Any:
        return shapely.STRtree(self.geometry)


def _outline(area: Any) -> Any:
    if isinstance(area, shapely.Geometry):
        return area
    return shapely.box(*area) if np.ndim(area) == 1 else shapely.Polygon(area)
