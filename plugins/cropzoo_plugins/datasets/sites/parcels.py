"""Parcels of a site, rasterized on its grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cropzoo import CropzooError
from cropzoo.geo.raster.grid import Grid, Window
from cropzoo.geo.vector.fields import Crop, format_field, parse_crops
from cropzoo.geo.vector.layer import read_layer
from cropzoo.geo.vector.parcel_table import ParcelTable
from cropzoo.geo.vector.rasterize import rasterize_centers
from cropzoo.geo.vector.reader import require_column
from cropzoo_plugins.datasets.sites.class_table import MISSING

STEM = "parcels"
"""Stem of a parcel file, such as `parcels.gpkg`."""

_SIDE_FILES = (".shx", ".dbf", ".prj", ".cpg", ".sbn", ".sbx", ".qix", ".qpj", ".qmd", ".xml", ".gfs")


@dataclass(frozen=True)
class Parcels:
    """Parcels on a grid.

    Args:
        path: Path of the parcel file.
        ids: Parcel ids, 1..n in the order of the file; 0 = no parcel; (H, W), int32.
        crops: Crop of each id, from 1; None if the file has no crop column.
        names: Name of the crop of each id, from 1; "" if unknown.
        complete: Pixels where the parcels are complete, (H, W); None if they are everywhere.
    """

    path: Path
    ids: NDArray[np.int32]
    crops: tuple[Crop, ...] | None
    names: tuple[str, ...]
    complete: NDArray[np.bool_] | None = None

    def make_codes(self, numbers: Mapping[str, int]) -> NDArray[np.int64]:
        """Return crop codes, (H, W).

        They are 0 outside parcels where these are complete, and `MISSING` elsewhere and where a parcel has no crop.

        Args:
            numbers: Codes of crops given as text.
        """
        crops = self.crops or ()
        table = [MISSING if crop is None else numbers.get(str(crop), crop) for crop in crops]
        codes: NDArray[np.int64] = np.array([0, *table], np.int64)[self.ids]
        if self.complete is not None:
            codes[(self.ids == 0) & ~self.complete] = MISSING
        return codes


def find_parcels(folder: Path) -> Path | None:
    """Return the parcel file of a folder; None if there is none.

    Raises:
        CropzooError: The folder has several parcel files.
    """
    found = [path for path in sorted(folder.iterdir()) if path.stem.lower() == STEM and path.suffix]
    found = [path for path in found if path.suffix.lower() not in _SIDE_FILES]
    if len(found) > 1:
        raise CropzooError(
            f"site {str(folder)!r}; it has several parcel files ({', '.join(path.name for path in found)}); keep one"
        )
    return found[0] if found else None


def read_parcels(
    path: Path, grid: Grid, crop_column: str, name_column: str, needs_crops: bool, encoding: str = ""
) -> Parcels:
    """Read the parcels of a file that touch a grid; a pixel belongs to the parcel that contains its center.

    Where parcels overlap, the later one in the file wins.

    Args:
        path: Path of a vector file with one layer of geometries. Only the area of the grid is read.
        grid: Grid with a CRS.
        crop_column: Column with the code or text of the crop.
        name_column: Column with the name of the crop; optional.
        needs_crops: Whether the labels come from this file, so that the crop column must exist.
        encoding: Encoding of the texts; "" to find it out.

    Raises:
        CropzooError: The file cannot be read, or has several layers, no CRS or no crop column. The message names it.
    """

    def select_columns(columns: Sequence[str]) -> list[str]:
        if needs_crops:
            require_column(path, crop_column, columns, "crop", "option 'crop_column'")
        return [column for column in dict.fromkeys((crop_column, name_column)) if column in columns]

    layer = read_layer(path, [grid], select_columns, encoding)
    count = len(layer.geometry)
    crops = parse_crops(layer.columns[crop_column]) if crop_column in layer.columns else None
    names = tuple(map(format_field, layer.columns.get(name_column, [None] * count)))
    ids = np.arange(1, count + 1, dtype=np.int32)
    table = ParcelTable(layer.geometry, layer.crs, ids, crops or (), names, longitude=layer.longitude)
    return Parcels(path, rasterize_centers(table, grid, Window(0, 0, grid.height, grid.width)), crops, names)
