"""Generator of tiny sites for the `geotiff` dataset: random pixels, six parcels, and a table of their crops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio import Affine
from shapely.geometry import box

HEIGHT, WIDTH = 24, 32
DAYS = ("2019-03-01", "2019-05-16", "2019-07-20")
BANDS = ("B04", "B08", "SCL")
CRS = "EPSG:32631"
PARCELS = (
    (0, 0, 11, 7, 10, "wheat"),
    (0, 8, 11, 15, 20, "maize"),
    (12, 0, 24, 15, 30, "grass"),
    (0, 18, 11, 32, 10, "wheat"),
    (12, 18, 24, 25, 20, "maize"),
    (12, 26, 24, 32, 40, "hop"),
)
"""First row and column, end row and column, code, name. With the default split only the test half has hop."""


@dataclass
class Made:
    """Written site: pixels (T, C, H, W) including the SCL band, labels and parcel ids (H, W)."""

    folder: Path
    pixels: NDArray[Any]
    labels: NDArray[np.uint16]
    ids: NDArray[np.int32]


def write_raster(path: Path, values: NDArray[Any], names: Sequence[str] = (), **profile: Any) -> None:
    """Write a GeoTIFF of values (C, H, W)."""
    shape = {"count": values.shape[0], "height": values.shape[1], "width": values.shape[2], "dtype": values.dtype}
    place = {"crs": CRS, "transform": Affine(10, 0, 500_000, 0, -10, 5_600_000)}
    with rasterio.open(path, "w", driver="GTiff", compress="deflate", **{**shape, **place, **profile}) as target:
        target.write(values)
        for number, name in enumerate(names, start=1):
            target.set_band_description(number, name)


def write_parcels(path: Path, *, crs: str = CRS, **columns: Sequence[Any]) -> None:
    """Return the six parcels as polygons in a CRS; `columns` replaces or adds columns."""
    x, y = 500_000, 5_600_000
    shapes = [
        box(x + 10 * west, y - 10 * south, x + 10 * east, y - 10 * north) for north, west, south, east, *_ in PARCELS
    ]
    table = {"crop_code": [parcel[4] for parcel in PARCELS], "crop_name": [parcel[5] for parcel in PARCELS], **columns}
    geopandas.GeoDataFrame(table, geometry=shapes, crs=CRS).to_crs(crs).to_file(path)


def rewrite(
    path: Path, change: Callable[[NDArray[Any]], NDArray[Any]] = np.copy, names: Sequence[str] = BANDS, **profile: Any
) -> None:
    """Rewrite a raster with other pixels, bands or georeference."""
    with rasterio.open(path) as source:
        values = source.read()
    path.unlink()
    write_raster(path, change(values), names, **profile)


def make_site(
    folder: Path,
    *,
    days: Sequence[str] = DAYS,
    bands: Sequence[str] = BANDS,
    named: bool = True,
    labels: bool = True,
    parcels: bool = True,
    dtype: str = "uint16",
    seed: int = 0,
) -> Made:
    """Write a site; `named` adds band descriptions."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    pixels = generator.integers(1, 9000, (len(days), len(bands), HEIGHT, WIDTH)).astype(dtype)
    if "SCL" in bands:
        pixels[:, bands.index("SCL")] = generator.choice([0, 3, 4, 5, 6, 9], (len(days), HEIGHT, WIDTH))
    for day, image in zip(days, pixels, strict=True):
        write_raster(folder / f"S2_{day}.tif", image, bands if named else ())
    codes, ids = np.zeros((HEIGHT, WIDTH), np.uint16), np.zeros((HEIGHT, WIDTH), np.int32)
    for number, (row, column, row_end, column_end, code, _) in enumerate(PARCELS, start=1):
        codes[row:row_end, column:column_end] = code
        ids[row:row_end, column:column_end] = number
    if labels:
        write_raster(folder / "labels.tif", codes[None], nodata=0)
    if parcels:
        write_parcels(folder / "parcels.gpkg")
    return Made(folder, pixels, codes, ids)
