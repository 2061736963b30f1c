"""The labels of a torchgeo dataset: where and when they hold, and their values in a window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import geopandas
import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.features import geometry_mask

from cropzoo import CropzooError
from cropzoo_plugins.datasets.geo.imagery import day_of
from cropzoo_plugins.datasets.geo.windows import Bounds

NOWHERE = -1
"""The value of a pixel of which the labels say nothing."""
_STEPS = 64
"""A border is bent by another CRS; its sides are cut into this many pieces before."""


@dataclass(frozen=True)
class Span:
    """A time that labels hold for, such as a year: the rows of their index, first and last day since 1970-01-01."""

    rows: tuple[int, ...]
    start: int
    end: int
    name: str


class Labels(Protocol):
    """Values of a vector or a raster dataset, in the images' CRS.

    Attributes:
        codes: the crop code of each value that torchgeo may give.
        names: of codes, as far as the files tell.
    """

    codes: dict[int, int]
    names: dict[int, str]

    def values(
        self, bounds: Bounds, size: tuple[int, int], rows: Sequence[int]
    ) -> tuple[NDArray[np.int64], NDArray[np.int32] | None]:
        """Values (H, W), `NOWHERE` for nodata, and parcel ids (H, W) if there are any, from these rows of the index."""
        ...


def coverage(labels: Any, area: Any, crs: Any) -> Any:
    """The labels' index in the images' CRS: which file holds within the images' area, where and when.

    torchgeo moves the four corners of a file into the images' CRS, which sends the corners of a country to nowhere;
    here the images' area goes to the labels' CRS, and what is common comes back.

    Args:
        labels: torchgeo's dataset.
        area: of the images, a polygon or several.
        crs: of the images.

    Raises:
        CropzooError: no file shares a place with the images.
    """
    index = labels.index
    there = _bent(geopandas.GeoSeries([area], crs=crs)).to_crs(index.crs).make_valid().iloc[0]
    shared = geopandas.GeoSeries(index.geometry.intersection(there).to_numpy(), crs=index.crs)
    here = _bent(shared).to_crs(crs).make_valid().intersection(area)
    found = geopandas.GeoDataFrame(
        {"filepath": index["filepath"].to_numpy()}, index=index.index, geometry=here.to_numpy(), crs=crs
    )
    found = found[shapely.area(found.geometry.to_numpy()) > 0]
    if found.empty:
        west, south, east, north = index.total_bounds.tolist()
        raise CropzooError(
            f"labels of torchgeo's {type(labels).__name__} in {str(labels.paths)!r}; no file shares a place with the "
            f"images; they lie in {west:g}..{east:g}, {south:g}..{north:g} ({index.crs.name}), the images in "
            f"{', '.join(f'{each:g}' for each in there.bounds)}; give images and labels of one region"
        )
    return found


def _bent(shapes: Any) -> Any:
    """The same borders with more points."""
    extent = max(shapes.total_bounds[2] - shapes.total_bounds[0], shapes.total_bounds[3] - shapes.total_bounds[1])
    return shapes.segmentize(extent / _STEPS) if extent > 0 else shapes


def spans(index: Any) -> list[Span]:
    """The times that the labels hold for, in order; rows of one time belong together."""
    rows: dict[tuple[Any, Any], list[int]] = {}
    for number, time in enumerate(index.index):
        rows.setdefault((time.left, time.right), []).append(number)
    found = []
    for (left, right), mine in sorted(rows.items()):
        dated = left.year > 1900
        name = str(left.year) if dated else ""
        found.append(Span(tuple(mine), day_of(left), day_of(right), name))
    return found


def outside(shapes: Any, bounds: Bounds, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Where a window's pixels have their center in none of these shapes, (H, W)."""
    if shapely.union_all(shapes).buffer(1e-6).covers(shapely.box(*bounds)):
        return np.zeros(size, np.bool_)
    missing: NDArray[np.bool_] = geometry_mask(list(shapes), size, transform_of(bounds, size))
    return missing


def transform_of(bounds: Bounds, size: tuple[int, int]) -> Any:
    """The transform of a window, as rasterio has it."""
    west, south, east, north = bounds
    return Affine((east - west) / size[1], 0, west, 0, -(north - south) / size[0], north)
