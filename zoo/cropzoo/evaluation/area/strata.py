"""Sampling frames: the pixels of a map, or parcels on it, counted by class and region, and their strata."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from cropzoo.data.classified_map import MapFile
from cropzoo.data.map_parcels import PIECE, read_map_parcels
from cropzoo.data.mapped_areas import row_hectares
from cropzoo.data.parcel_majority import find_majority
from cropzoo.data.regions import OUTSIDE, Regions
from cropzoo.data.zonal_stats import sum_over_parcels
from cropzoo.errors import CropzooError
from cropzoo.geo.raster.grid import RASTER_FAILURES, Grid, Window, open_raster, unreadable_error
from cropzoo.geo.raster.reader import reading_environment
from cropzoo.geo.vector.source import VectorSource
from cropzoo.geo.vector.writer import split_range
from cropzoo.io import ProgressCallback

SIDE = 512
"""Side of the windows in which a map is read, in pixels: the tile size of a map file."""

SQUARE_METERS = 1e4
"""Square meters of a hectare."""

_CACHE_MB = 64


@dataclass(frozen=True, eq=False)
class Frame:
    """Units of a map by cell. There are R regions, one if no file of them is given, K classes, and R * K cells.

    The cell of class k in region r has the number r * K + k.

    Args:
        source: The map.
        regions: Regions of the cells; None without a file.
        outside: Whether units in no region form a region of their own, the last one.
        units: (R * K,), int64, number of units of each cell.
        area: (R * K,), float64, area of the units, square meters.
        spread: (R * K,), float64, mean of the squared areas of the units, divided by the square of their mean; 1 for
            units of one size.
        skipped: Number of units without a class in the map, which are not part of the frame.
    """

    source: MapFile
    regions: Regions | None
    outside: bool
    units: NDArray[np.int64]
    area: NDArray[np.float64]
    spread: NDArray[np.float64]
    skipped: int

    @property
    def region_names(self) -> tuple[str | None, ...]:
        """Names of the regions; (None,) without a file of them."""
        return (None,) if self.regions is None else (*self.regions.names, *([OUTSIDE] if self.outside else []))

    @property
    def empty_regions(self) -> tuple[str, ...]:
        """Names of the regions without a unit."""
        counts = self.units.reshape(len(self.region_names), -1).sum(axis=1)
        named = zip(self.region_names, counts.tolist(), strict=True)
        return tuple(name for name, count in named if not count and name is not None)


@dataclass(frozen=True, eq=False)
class PixelFrame(Frame):
    """Pixels of a map by cell.

    Args:
        windows: Windows that cover the map; the blocks of a two-stage design.
        window: (m,), int64, position in `windows` of each pair of a window and a cell that occurs in it.
        cell: (m,), int64, cell of each pair.
        count: (m,), int64, number of pixels of each pair.
    """

    windows: tuple[Window, ...]
    window: NDArray[np.int64]
    cell: NDArray[np.int64]
    count: NDArray[np.int64]

    def read_cells(self, raster: Any, window: Window) -> NDArray[Any]:
        """Cell of each pixel of a window of the open map, (h * w,), any integer; R * K outside the frame."""
        return _read_cells(self.source, self.regions, self.outside, raster, window)[0]


@dataclass(frozen=True, eq=False)
class ParcelFrame(Frame):
    """Parcels by cell: the class of the majority of their pixels, and the region of a point inside them.

    Args:
        vectors: File of the parcels.
        cells: (n,), int64, cell of each parcel in the file; -1 outside the frame.
    """

    vectors: VectorSource
    cells: NDArray[np.int64]


def count_pixels(
    source: MapFile,
    regions: Regions | None = None,
    *,
    outside: bool = False,
    side: int = SIDE,
    advance: ProgressCallback = lambda done, total: None,
) -> PixelFrame:
    """Count the pixels of a map by class and region; memory holds a window and the counts.

    Args:
        source: The map.
        regions: Regions that cross the classes; None for one region.
        outside: Whether pixels in no region form a region of their own; otherwise they are an error.
        side: Side of the windows in pixels.
        advance: Called with (windows read, total).

    Raises:
        CropzooError: The map cannot be read or has no pixel with a class, or the regions overlap or leave a gap.
    """
    grid = source.grid
    windows = tuple(split_grid(grid, side))
    hectares = row_hectares(grid)
    constant = bool(np.ptp(hectares) == 0)
    cells = (1 if regions is None else len(regions.names) + outside) * len(source.classes)
    area, pairs, skipped, gap = np.zeros(cells), list[tuple[NDArray[np.int64], NDArray[np.int64]]](), 0, 0
    with open_map_pixels(source) as raster:
        for number, window in enumerate(windows, start=1):
            found, without_class, without_region = _read_cells(source, regions, outside, raster, window)
            skipped, gap = skipped + without_class, gap + without_region
            counts = np.bincount(found, minlength=cells + 1)[:cells]
            if constant:
                area += counts * hectares[0]
            else:
                rows = hectares[window.row : window.row + window.height].repeat(window.width)
                area += np.bincount(found, rows, minlength=cells + 1)[:cells]
            present = np.flatnonzero(counts)
            pairs.append((present, counts[present]))
            advance(number, len(windows))
    cell = np.concatenate([cells for cells, _ in pairs])
    count = np.concatenate([counts for _, counts in pairs])
    units = np.bincount(cell, count, minlength=cells).astype(np.int64)
    _check_frame(source, regions, units, gap, "pixels")
    return PixelFrame(
        source=source,
        regions=regions,
        outside=outside,
        units=units,
        area=area * SQUARE_METERS,
        spread=np.ones(cells),
        skipped=skipped,
        windows=windows,
        window=np.repeat(np.arange(len(windows)), [len(cells) for cells, _ in pairs]),
        cell=cell,
        count=count,
    )


def count_parcels(
    source: MapFile,
    vectors: VectorSource,
    regions: Regions | None = None,
    *,
    outside: bool = False,
    advance: ProgressCallback = lambda done, total: None,
) -> ParcelFrame:
    """Count parcels by the class of the majority of their pixels, as `cropzoo parcels` finds it, and by region.

    Args:
        source: The map.
        vectors: The parcels, in any CRS.
        regions: Regions that cross the classes, by a point inside each parcel; None for one region.
        outside: Whether parcels in no region form a region of their own; otherwise they are an error.
        advance: Called with (parcels read, total).

    Raises:
        CropzooError: A file cannot be read, no parcel has a class in the map, or the regions overlap or leave a gap.
    """
    classes = len(source.classes)
    found, hectares, gap = [np.zeros(0, np.int64)], [np.zeros(0)], 0
    for start, length in split_range(vectors.count, PIECE):
        read = read_map_parcels(source, vectors, start, length)
        crop = find_majority(sum_over_parcels(source, read.shapes)).crop.astype(np.int64)
        region = np.zeros(len(crop), np.int64)
        if regions is not None:
            region = regions.locate(shapely.point_on_surface(read.shapes))
            region = np.where((region < 0) & outside, len(regions.names), region)
        gap += int(((crop >= 0) & (region < 0)).sum())
        found.append(np.where((crop >= 0) & (region >= 0), region * classes + crop, -1))
        hectares.append(read.hectares)
        advance(start + length, vectors.count)
    cell, area = np.concatenate(found), np.concatenate(hectares) * SQUARE_METERS
    seen = cell >= 0
    cells = (1 if regions is None else len(regions.names) + outside) * classes
    units = np.bincount(cell[seen], minlength=cells)
    total, squares = (
        np.bincount(cell[seen], area[seen] ** power, minlength=cells).astype(np.float64) for power in (1, 2)
    )
    _check_frame(source, regions, units, gap, "parcels")
    with np.errstate(invalid="ignore"):
        spread = np.where(units > 0, squares * units / total**2, 1.0)
    skipped = int((~seen).sum()) - gap
    return ParcelFrame(source, regions, outside, units, total, spread, skipped, vectors, cell)


def split_grid(grid: Grid, side: int) -> Iterator[Window]:
    """Windows that cover a grid, row by row; those at the right and lower edge may be smaller."""
    for row in range(0, grid.height, side):
        for column in range(0, grid.width, side):
            yield Window(row, column, min(side, grid.height - row), min(side, grid.width - column))


@contextmanager
def open_map_pixels(source: MapFile) -> Iterator[Any]:
    """Open a map for `PixelFrame.read_cells`.

    Raises:
        CropzooError: It cannot be read.
    """
    try:
        with open_raster(source.path) as raster, reading_environment(_CACHE_MB):
            yield raster
    except RASTER_FAILURES as error:
        raise unreadable_error(source.path, error) from error


def _read_cells(
    source: MapFile, regions: Regions | None, outside: bool, raster: Any, window: Window
) -> tuple[NDArray[Any], int, int]:
    """Cell of each pixel, R * K outside the frame, and the numbers of pixels without a class, and without a region."""
    row, column, height, width = window
    classes = len(source.classes)
    labels = raster.read(1, window=((row, row + height), (column, column + width))).ravel()
    if regions is None:
        cells = np.minimum(labels, classes)
        return cells, int((cells == classes).sum()), 0
    region = regions.rasterize(window).ravel()
    if outside:
        region[region < 0] = len(regions.names)
    known, placed = labels < classes, region >= 0
    cells = np.where(known & placed, region * classes + labels, (len(regions.names) + outside) * classes)
    return cells, int((~known).sum()), int((known & ~placed).sum())


def _check_frame(source: MapFile, regions: Regions | None, units: NDArray[np.int64], gap: int, what: str) -> None:
    if regions is not None and gap:
        raise CropzooError(
            f"regions {str(regions.path)!r}; {gap:,} of {gap + int(units.sum()):,} {what} of the map "
            f"{str(source.path)!r} are in no region, and would not be part of the sample; extend the regions, or pass "
            "--outside to make what is outside a region of its own"
        )
    if not units.sum():
        raise CropzooError(
            f"map {str(source.path)!r}; none of its {what} has a class; check the map"
            if what == "pixels"
            else f"parcels on the map {str(source.path)!r}; none of them has a pixel with a class; use parcels and a "
            "map of the same area, or correct the CRS of either"
        )


@dataclass(frozen=True, eq=False)
class Strata:
    """Strata of a frame, S of them: non-empty cells, or non-empty regions.

    Args:
        frame: The frame.
        by_class: Whether a stratum is a cell; otherwise it is a region with all classes.
        of_cell: (R * K,), int64, stratum of each cell; -1 for empty ones.
        map_class: (S,), int64, class of each stratum; -1 if it has several.
        region: (S,), int64, index of the region of each stratum.
        units: (S,), int64, number of units.
        area: (S,), float64, area of the units, square meters.
        blocks: (S,), int64, number of blocks with a unit of the stratum; None unless the design has two stages.
        drawn_blocks: (S,), int64, number of them to draw; None unless the design has two stages.
    """

    frame: Frame
    by_class: bool
    of_cell: NDArray[np.int64]
    map_class: NDArray[np.int64]
    region: NDArray[np.int64]
    units: NDArray[np.int64]
    area: NDArray[np.float64]
    blocks: NDArray[np.int64] | None = None
    drawn_blocks: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.units)

    @property
    def labels(self) -> list[str]:
        """Class and region of each stratum, for tables and messages."""
        names, regions = [each.name for each in self.frame.source.classes], self.frame.region_names
        pairs = zip(self.map_class.tolist(), self.region.tolist(), strict=True)
        parts = ([*([names[kind]] if kind >= 0 else []), regions[region]] for kind, region in pairs)
        return [", ".join(part for part in each if part) or "the map" for each in parts]


def make_strata(frame: Frame, by_class: bool) -> Strata:
    """Return the strata of a frame: classes within regions, or regions."""
    classes = len(frame.source.classes)
    cells = np.arange(len(frame.units))
    group = cells if by_class else cells // classes
    present = np.unique(group[frame.units > 0])
    position = np.searchsorted(present, group).clip(max=len(present) - 1)
    of_cell = np.where((frame.units > 0) & (present[position] == group), position, -1)
    use = of_cell >= 0
    return Strata(
        frame=frame,
        by_class=by_class,
        of_cell=of_cell,
        map_class=present % classes if by_class else np.full(len(present), -1),
        region=present // classes if by_class else present,
        units=np.bincount(of_cell[use], frame.units[use], minlength=len(present)).astype(np.int64),
        area=np.bincount(of_cell[use], frame.area[use], minlength=len(present)).astype(np.float64),
    )
