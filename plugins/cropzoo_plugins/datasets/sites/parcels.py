"""A site's parcels: read around the site, brought to its CRS, burnt into its grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cropzoo import CropzooError
from cropzoo.geo.raster.grid import Grid, Window
from cropzoo.geo.vector.layer import read_layer
from cropzoo.geo.vector.parcel_table import Crop, ParcelTable, format_field, parse_crop
from cropzoo.geo.vector.rasterize import rasterize_centers
from cropzoo.geo.vector.reader import require_column

STEM = "parcels"
"""The stem of a parcel file, `parcels.gpkg` or any other vector format."""

MISSING = int(np.iinfo(np.int64).min)
"""The code of a pixel whose crop nobody knows; it is ignored."""

_SIDE_FILES = (".shx", ".dbf", ".prj", ".cpg", ".sbn", ".sbx", ".qix", ".qpj", ".qmd", ".xml", ".gfs")


@dataclass(frozen=True)
class Parcels:
    """Parcels on a grid.

    Args:
        path: their file.
        ids: (H, W), int32, 1..n in the file's order; 0 = no parcel.
        crops: of each id, from 1; None where the file has no crop column.
        names: of each id, from 1, empty where unknown.
    """

    path: Path
    ids: NDArray[np.int32]
    crops: tuple[Crop, ...] | None
    names: tuple[str, ...]

    def codes(self, numbers: Mapping[str, int]) -> NDArray[np.int64]:
        """Crop codes, (H, W): 0 outside the parcels, `MISSING` in one without crop; `numbers` gives texts a code."""
        crops = self.crops or ()
        table = [MISSING if crop is None else numbers.get(str(crop), crop) for crop in crops]
        codes: NDArray[np.int64] = np.array([0, *table], np.int64)[self.ids]
        return codes


def find_parcels(folder: Path) -> Path | None:
    """The parcel file of a folder, None without one.

    Raises:
        CropzooError: several of them.
    """
    found = [path for path in sorted(folder.iterdir()) if path.stem.lower() == STEM and path.suffix]
    found = [path for path in found if path.suffix.lower() not in _SIDE_FILES]
    if len(found) > 1:
        raise CropzooError(
            f"site {str(folder)!r}; it has several parcel files ({', '.join(path.name for path in found)}); keep one"
        )
    return found[0] if found else None


def read_parcels(path: Path, grid: Grid, crop_column: str, name_column: str, needs_crops: bool) -> Parcels:
    """The parcels of a file that touch a grid; a pixel belongs to the parcel that holds its center.

    Where parcels overlap, the one that comes later in the file wins.

    Args:
        path: a file that pyogrio reads, with one layer of geometries, of any size: what lies elsewhere is not read.
        grid: with a CRS.
        crop_column: column with the crop's code or text.
        name_column: column with the crop's name; need not exist.
        needs_crops: the labels come from this file, so that the crop column must exist.

    Raises:
        CropzooError: naming the file: unreadable, several layers, no CRS, no crop column.
    """

    def wanted(columns: list[str]) -> list[str]:
        if needs_crops:
            require_column(path, crop_column, columns, "crop", "option 'crop_column'")
        return [column for column in dict.fromkeys((crop_column, name_column)) if column in columns]

    layer = read_layer(path, [grid], wanted)
    count = len(layer.geometry)
    crops = tuple(map(parse_crop, layer.columns[crop_column])) if crop_column in layer.columns else None
    names = tuple(map(format_field, layer.columns.get(name_column, [None] * count)))
    table = ParcelTable(layer.geometry, layer.crs, np.arange(1, count + 1, dtype=np.int32), crops or (), names)
    return Parcels(path, rasterize_centers(table, grid, Window(0, 0, grid.height, grid.width)), crops, names)
