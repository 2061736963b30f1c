"""Declared crops of all parcels as auxiliary data: their total areas, and the declared crop of each sampled unit."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from cropzoo.data.classified_map import MapFile
from cropzoo.data.declared_crops import CropMatcher
from cropzoo.data.legend import read_crop_table
from cropzoo.data.map_parcels import PIECE, read_map_parcels
from cropzoo.data.mapped_areas import row_hectares
from cropzoo.data.parcel_majority import find_majority
from cropzoo.data.zonal_stats import sum_over_parcels
from cropzoo.errors import CropzooError
from cropzoo.evaluation.area.design import PARCEL, SamplingDesign
from cropzoo.evaluation.area.reference import Observations, locate_pixels
from cropzoo.evaluation.area.strata import open_map_pixels, split_grid
from cropzoo.geo.raster.grid import Window
from cropzoo.geo.vector.fields import format_field
from cropzoo.geo.vector.rasterize import rasterize_shapes, to_cell_shapes
from cropzoo.geo.vector.reader import require_column
from cropzoo.geo.vector.source import VectorSource, open_source
from cropzoo.geo.vector.writer import split_range
from cropzoo.io import ProgressCallback

_log = logging.getLogger("cropzoo")

_SIDE = 2048
_SQUARE_METERS = 1e4
_SHOWN = 5
_SAME_AREA = 0.01
"""Relative difference of the areas of two sets of parcels that different rounding explains."""


@dataclass(frozen=True)
class Census:
    """Declared crops of all parcels on a map.

    Args:
        areas: (K,), float64, declared area of each class of the map, square meters, of what belongs to the sampled
            population.
        declared: (n,), int64, declared class at each observation; negative without one of the map's classes.
    """

    areas: NDArray[np.float64]
    declared: NDArray[np.int64]


@dataclass(frozen=True)
class CensusFile:
    """File of the census and how crops are matched to classes.

    Args:
        path: Vector file of all parcels.
        crop_column: Column of the declared crop.
        name_column: Column of its name; may be missing from the file.
        classes: Table of crops and classes, see `read_crop_table`; None matches crops by name and code.
        encoding: Encoding of the texts; "" to find it out.
    """

    path: Path
    crop_column: str
    name_column: str = "crop_name"
    classes: Path | None = None
    encoding: str = ""


def read_census(
    source: MapFile,
    file: CensusFile,
    design: SamplingDesign,
    observations: Observations,
    advance: ProgressCallback = lambda done, total: None,
) -> Census:
    """Declared areas and the declared crop of each observation.

    Args:
        source: The map.
        file: The census.
        design: Design of the sample. Pixels belong to the parcel that contains their center, the later one in the file
            where parcels overlap; parcels are found by a point inside them.
        observations: The sample.
        advance: Called with (parts read, total).

    Raises:
        CropzooError: The file cannot be read, lacks the column, has no crop that is a class of the map, or has other
            parcels than those that were sampled.
    """
    vectors = open_source(file.path, encoding=file.encoding or None)
    require_column(file.path, file.crop_column, vectors.columns, "declared crop", "--crop-column")
    matcher = CropMatcher(source.classes, None if file.classes is None else read_crop_table(file.classes))
    read = _ByParcel if design.unit == PARCEL else _ByPixel
    census = read(source, vectors, file, matcher).read(observations, advance)
    if not census.areas.any():
        raise CropzooError(
            f"parcels {str(file.path)!r}; no declared crop of column {file.crop_column!r} on the map is a class of the "
            f"map ({', '.join(each.name for each in source.classes)}); choose the column with names or codes of the "
            "classes by --crop-column, or assign crops to classes by --classes"
        )
    if matcher.unknown:
        common = ", ".join(f"{crop} x {count}" for crop, count in matcher.unknown.most_common(_SHOWN))
        more = f" and {len(matcher.unknown) - _SHOWN} more" if len(matcher.unknown) > _SHOWN else ""
        _log.warning("declared crops without a class in the map are not used: %s%s", common, more)
    if design.unit == PARCEL and (observations.sample.stratum_areas.sum() > 0):
        _check_population(file, design, census)
    return census


def _check_population(file: CensusFile, design: SamplingDesign, census: Census) -> None:
    if census.areas.sum() > design.area * (1 + _SAME_AREA):
        raise CropzooError(
            f"parcels {str(file.path)!r}; they declare {census.areas.sum() / _SQUARE_METERS:,.0f} ha, and the parcels "
            f"from which the sample was drawn have {design.area / _SQUARE_METERS:,.0f} ha; give the file of parcels "
            "from which the sample was drawn"
        )


@dataclass(frozen=True)
class _Reader:
    source: MapFile
    vectors: VectorSource
    file: CensusFile
    matcher: CropMatcher

    @property
    def columns(self) -> list[str]:
        name = self.file.name_column
        return list(dict.fromkeys([self.file.crop_column, *([name] if name in self.vectors.columns else [])]))

    def match(self, frame: Any) -> NDArray[np.int64]:
        """Class of each parcel, negative without one."""
        crops = frame[self.file.crop_column].tolist()
        names = frame[self.file.name_column].tolist() if self.file.name_column in self.vectors.columns else crops
        plain = [None if format_field(each) in ("", "<NA>") else each for each in crops]
        return self.matcher.indices(plain, names).astype(np.int64)


class _ByParcel(_Reader):
    """Reads the parcels from which a sample of parcels was drawn."""

    def read(self, observations: Observations, advance: ProgressCallback) -> Census:
        areas = np.zeros(len(self.source.classes))
        declared = np.full(len(observations.places), -1, np.int64)
        found = np.zeros(len(declared), np.bool_)
        for start, count in split_range(self.vectors.count, PIECE):
            parcels = read_map_parcels(self.source, self.vectors, start, count, self.columns)
            classes = self.match(parcels.frame)
            in_frame = find_majority(sum_over_parcels(self.source, parcels.shapes)).crop >= 0
            use = (classes >= 0) & in_frame
            areas += np.bincount(classes[use], parcels.hectares[use] * _SQUARE_METERS, len(areas))
            place, parcel = shapely.STRtree(parcels.shapes).query(observations.places, "within")
            declared[place], found[place] = classes[parcel], True
            advance(start + count, self.vectors.count)
        if not found.all():
            raise CropzooError(
                f"parcels {str(self.file.path)!r}; {int((~found).sum())} of {len(found)} sampled parcels are not among "
                "them; give the file of parcels from which the sample was drawn"
            )
        return Census(areas, declared)


class _ByPixel(_Reader):
    """Rasterizes parcels window by window of the map; their polygons are held in memory."""

    def read(self, observations: Observations, advance: ProgressCallback) -> Census:
        grid, areas = self.source.grid, np.zeros(len(self.source.classes) + 1)
        declared = np.full(len(observations.places), -1, np.int64)
        rows, columns = locate_pixels(grid, observations.places)
        hectares = row_hectares(grid) * _SQUARE_METERS
        shapes, classes = self._polygons()
        tree = shapely.STRtree(shapes)
        windows = list(split_grid(grid, _SIDE))
        with open_map_pixels(self.source) as raster:
            for number, window in enumerate(windows, start=1):
                near = np.sort(tree.query(shapely.Polygon(grid.window_corners(window)), "intersects"))
                crops = self._rasterize(shapes[near], classes[near], window)
                row, column, height, width = window
                labels = raster.read(1, window=((row, row + height), (column, column + width)))
                counted = np.where(labels < len(self.source.classes), crops, 0)
                weights = np.broadcast_to(hectares[row : row + height, None], counted.shape)
                areas += np.bincount(counted.ravel(), weights.ravel(), len(areas))
                here = (rows >= row) & (rows < row + height) & (columns >= column) & (columns < column + width)
                declared[here] = crops[rows[here] - row, columns[here] - column] - 1
                advance(number, len(windows))
        return Census(areas[1:], declared)

    def _polygons(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Polygons with a declared crop of the map, and their classes plus 1; 0 for other crops."""
        shapes, classes = [], []
        for start, count in split_range(self.vectors.count, PIECE):
            parcels = read_map_parcels(self.source, self.vectors, start, count, self.columns)
            there = ~shapely.is_missing(parcels.shapes)
            shapes.append(parcels.shapes[there])
            classes.append(np.maximum(self.match(parcels.frame)[there], -1) + 1)
        return np.concatenate(shapes), np.concatenate(classes)

    def _rasterize(self, shapes: NDArray[Any], classes: NDArray[np.int64], window: Window) -> NDArray[np.int32]:
        """Class plus 1 of the parcel that contains the center of each pixel, (h, w); 0 for none."""
        cells = to_cell_shapes(shapes, classes.tolist(), self.source.grid, window, 1)
        return rasterize_shapes(cells, window.height, window.width)
