"""Labels of a torchgeo dataset: the area and time that they cover, and the protocol of their readers."""

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
from cropzoo_plugins.datasets.geo.imagery import to_day
from cropzoo_plugins.datasets.geo.windows import Bounds

NO_LABEL = -1
"""Value of pixels without a label."""
_STEPS = 64
"""Segments per side of a border that is transformed to another CRS, where straight lines become curves."""


@dataclass(frozen=True)
class LabelPeriod:
    """A period that labels cover, such as a year.

    Args:
        rows: Rows of the index of the labels.
        start, end: First and last day, in days since 1970-01-01.
        name: Year of the labels; "" if unknown.
    """

    rows: tuple[int, ...]
    start: int
    end: int
    name: str


class LabelSource(Protocol):
    """Protocol of readers of a vector or raster dataset of labels, in the CRS of the images.

    Attributes:
        codes: Crop code of each value that torchgeo can return.
        names: Names of codes, as far as the files contain them.
    """

    codes: dict[int, int]
    names: dict[int, str]

    def read_values(
        self, bounds: Bounds, size: tuple[int, int], rows: Sequence[int]
    ) -> tuple[NDArray[np.int64], NDArray[np.int32] | None]:
        """Return values (H, W), `NO_LABEL` for nodata, and parcel ids (H, W) or None, from rows of the index."""
        ...


def find_coverage(labels: Any, area: Any, crs: Any) -> Any:
    """Return the index of the labels in the area and CRS of the images.

    torchgeo transforms the four corners of a file to the CRS of the images, which fails for the corners of a country.
    Here the area of the images is transformed to the CRS of the labels, and the intersection is transformed back.

    Args:
        labels: Label dataset of torchgeo.
        area: Area of the images, a polygon or multi-polygon.
        crs: CRS of the images.

    Raises:
        CropzooError: No file overlaps the images.
    """
    index = labels.index
    there = _densify(geopandas.GeoSeries([area], crs=crs)).to_crs(index.crs).make_valid().iloc[0]
    shared = geopandas.GeoSeries(index.geometry.intersection(there).to_numpy(), crs=index.crs)
    here = _densify(shared).to_crs(crs).make_valid().intersection(area)
    found = geopandas.GeoDataFrame(
        {"filepath": index["filepath"].to_numpy()}, index=index.index, geometry=here.to_numpy(), crs=crs
    )
    found = found[shapely.area(found.geometry.to_numpy()) > 0]
    if found.empty:
        west, south, east, north = index.total_bounds.tolist()
        raise CropzooError(
            f"labels of torchgeo's {type(labels).__name__} in {str(labels.paths)!r}; no file overlaps the "
            f"images; labels are in {west:g}..{east:g}, {south:g}..{north:g} ({index.crs.name}), the images in "
            f"{', '.join(f'{each:g}' for each in there.bounds)}; use images and labels of the same region"
        )
    return found


def _densify(shapes: Any) -> Any:
    """Return the same borders with more points."""
    extent = max(shapes.total_bounds[2] - shapes.total_bounds[0], shapes.total_bounds[3] - shapes.total_bounds[1])
    return shapes.segmentize(extent / _STEPS) if extent > 0 else shapes


def find_periods(index: Any) -> list[LabelPeriod]:
    """Return the periods of the labels in order, each with its rows of the index."""
    rows: dict[tuple[Any, Any], list[int]] = {}
    for number, time in enumerate(index.index):
        rows.setdefault((time.left, time.right), []).append(number)
    found = []
    for (left, right), numbers in sorted(rows.items()):
        dated = left.year > 1900
        name = str(left.year) if dated else ""
        found.append(LabelPeriod(tuple(numbers), to_day(left), to_day(right), name))
    return found


def mask_outside(shapes: Any, bounds: Bounds, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return where pixel centers of a window are outside all shapes, (H, W)."""
    if shapely.union_all(shapes).buffer(1e-6).covers(shapely.box(*bounds)):
        return np.zeros(size, np.bool_)
    missing: NDArray[np.bool_] = geometry_mask(list(shapes), size, make_transform(bounds, size))
    return missing


def make_transform(bounds: Bounds, size: tuple[int, int]) -> Any:
    """Return the rasterio transform of a window."""
    west, south, east, north = bounds
    return Affine((east - west) / size[1], 0, west, 0, -(north - south) / size[0], north)
