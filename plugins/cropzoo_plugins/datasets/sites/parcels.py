"""A site's parcels: read around the site, brought to its CRS, burnt into its grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
from numpy.typing import NDArray
from pyogrio.errors import DataSourceError
from rasterio.features import rasterize
from shapely.geometry import Polygon

from cropzoo import CropzooError
from cropzoo.errors import suggest
from cropzoo.images.rasters import Grid

STEM = "parcels"
"""The stem of a parcel file, `parcels.gpkg` or any other vector format."""

MISSING = int(np.iinfo(np.int64).min)
"""The code of a pixel whose crop nobody knows; it is ignored."""

_SIDE_FILES = (".shx", ".dbf", ".prj", ".cpg", ".sbn", ".sbx", ".qix", ".qpj", ".qmd", ".xml", ".gfs")

Crop = int | str | None
"""A crop as the file writes it; digits are a number; None where the field is empty."""


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
    """The parcels of a file that touch a grid; a pixel belongs to the parcel that holds its centre.

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
    if not grid.crs:
        raise CropzooError(
            f"parcels {str(path)!r}; the images beside them have no CRS, so that they cannot be laid on one another; "
            "write the CRS into the images"
        )
    frame = _read_around(path, grid)
    if needs_crops and crop_column not in frame.columns:
        columns = [name for name in frame.columns if name != frame.geometry.name]
        raise CropzooError(
            f"parcels {str(path)!r}; they have no column {crop_column!r}; {suggest(crop_column, columns)}; "
            "say which column holds the crop by option 'crop_column'"
        )
    shapes = list(zip(frame.geometry, range(1, len(frame) + 1), strict=True))
    ids = np.zeros((grid.height, grid.width), np.int32)
    if shapes:
        rasterize(shapes, out=ids, transform=grid.transform)
    crops = tuple(_crop(value) for value in frame[crop_column]) if crop_column in frame.columns else None
    names = frame[name_column] if name_column in frame.columns else [None] * len(frame)
    return Parcels(path, ids, crops, tuple(str(_crop(name) or "") for name in names))


def _read_around(path: Path, grid: Grid) -> Any:
    """The polygons near the grid as a frame in its CRS."""
    outline = Polygon(grid.corners())
    # A straight edge bends in another CRS: with points along it the box around it still holds the whole site.
    outline = outline.segmentize(outline.length / 40)
    try:
        layers = [name for name, kind in pyogrio.list_layers(path) if kind is not None]
        if len(layers) != 1:
            raise CropzooError(
                f"parcels {str(path)!r}; it has {len(layers)} layers with geometries ({', '.join(layers)}); "
                "write the parcels to a file of one layer"
            )
        if not pyogrio.read_info(path, layer=layers[0])["crs"]:
            raise CropzooError(f"parcels {str(path)!r}; they have no CRS; write it into the file")
        frame = geopandas.read_file(path, layer=layers[0], bbox=geopandas.GeoSeries([outline], crs=grid.crs))
    except DataSourceError as error:
        raise CropzooError(
            f"parcels {str(path)!r}; the file cannot be read as vector data; "
            "write it as a GeoPackage, GeoJSON or shapefile, or move it elsewhere"
        ) from error
    frame = frame[frame.geometry.geom_type.isin(["Polygon", "MultiPolygon"]) & ~frame.geometry.is_empty]
    return frame.to_crs(grid.crs)


def _crop(value: Any) -> Crop:
    """A number for numbers and digits, None for an empty field, else the text."""
    if value is None or value != value:
        return None
    text = str(value).strip()
    try:
        number = float(text)
    except ValueError:
        return text or None
    return int(number) if number.is_integer() else text
