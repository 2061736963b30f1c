"""Generator of tiny files for torchgeo: Sentinel-2 granules with a file per band, EuroCrops, and a CDL raster."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio import Affine
from shapely.geometry import box

WEST, NORTH, SIDE = 500_000, 5_600_000, 96
"""Corner of the images, and their side in pixels of 10 m."""
CRS = "EPSG:32631"
DAYS = ("20210301", "20210516", "20210720")
BANDS = ("B02", "B04", "B08", "B11")
METERS = {"B02": 10, "B04": 10, "B08": 10, "B11": 20, "SCL": 20}
CROPS = (
    ("3301010101", "winter_common_soft_wheat"),
    ("3301060401", "winter_barley"),
    ("3301010600", "grain_maize_corn_popcorn"),
    ("3302000000", "pasture_meadow_grassland_grass"),
)
"""HCAT codes and names."""


def parcels() -> list[tuple[int, int, int, int, int]]:
    """Return first row and column, end row and column, and position in `CROPS` of squares of 12 px, 2 px apart."""
    corners = [(row, column) for row in range(1, SIDE - 12, 14) for column in range(1, SIDE - 12, 14)]
    return [(row, column, row + 12, column + 12, number % 4) for number, (row, column) in enumerate(corners)]


def write_raster(path: Path, values: NDArray[Any], meters: float = 10, **profile: Any) -> None:
    """Write a raster (C, H, W) at the corner of the images; lossless JPEG 2000 if the name ends in .jp2."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = {"count": values.shape[0], "height": values.shape[1], "width": values.shape[2], "dtype": values.dtype}
    place = {"crs": CRS, "transform": Affine(meters, 0, WEST, 0, -meters, NORTH)}
    jp2 = path.suffix == ".jp2"
    driver = {"driver": "JP2OpenJPEG", "QUALITY": 100, "REVERSIBLE": "YES"} if jp2 else {"driver": "GTiff"}
    with rasterio.open(path, "w", **{**driver, **shape, **place, **profile}) as target:
        target.write(values)


def make_images(
    folder: Path,
    *,
    days: Sequence[str] = DAYS,
    bands: Sequence[str] = BANDS,
    level: str = "L2A",
    ending: str = ".tif",
    tile: str = "31UFS",
    side: int = SIDE,
    shift: int = 0,
    seed: int = 0,
    **profile: Any,
) -> dict[str, NDArray[np.uint16]]:
    """Write Sentinel-2 granules with the official file names.

    Args:
        level: "L2A", R10m/T31UFS_20210301T105031_B02_10m, or "L1C", T31UFS_20210301T105031_B02.
        shift: pixels of 10 m to the east of the corner.

    Returns:
        By band, what was written, (T, H, W), 20 m bands at 20 m.
    """
    generator = np.random.default_rng(seed)
    found: dict[str, NDArray[np.uint16]] = {}
    for band in bands:
        meters = METERS[band]
        shape = (len(days), side * 10 // meters, side * 10 // meters)
        found[band] = generator.integers(1, 12 if band == "SCL" else 9000, shape).astype(np.uint16)
        for day, image in zip(days, found[band], strict=True):
            stem = f"T{tile}_{day}T105031_{band}"
            granule = folder / f"S2A_{day}_{tile}" / "IMG_DATA"
            path = (
                granule / f"R{meters}m" / f"{stem}_{meters}m{ending}" if level == "L2A" else granule / f"{stem}{ending}"
            )
            move = {"transform": Affine(meters, 0, WEST + 10 * shift, 0, -meters, NORTH)}
            write_raster(path, image[None], meters, **{**move, **profile})
    return found


def make_parcels(
    folder: Path,
    *,
    year: int = 2021,
    crs: str = CRS,
    crops: Sequence[str | None] = tuple(code for code, _ in CROPS),
    names: bool = True,
    last: Sequence[Any] = (),
    **columns: Sequence[Any],
) -> NDArray[np.int64]:
    """Write the shapefile of a country and the HCAT table of EuroCrops; return position in `CROPS` plus 1 per pixel.

    Args:
        crops: codes, by the position in `CROPS`.
        last: parcels after the others, over them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = [*parcels(), *last]
    burnt = np.zeros((SIDE, SIDE), np.int64)
    for row, column, row_end, column_end, crop in found:
        burnt[row:row_end, column:column_end] = crop + 1
    shapes = [
        box(WEST + 10 * column, NORTH - 10 * row_end, WEST + 10 * column_end, NORTH - 10 * row)
        for row, column, row_end, column_end, _ in found
    ]
    table: dict[str, Any] = {"EC_hcat_c": [crops[parcel[4]] for parcel in found]}
    if names:
        table["EC_hcat_n"] = [CROPS[parcel[4]][1] for parcel in found]
    frame = geopandas.GeoDataFrame({**table, **columns}, geometry=shapes, crs=CRS).to_crs(crs)
    frame.to_file(folder / f"BE_VLG_{year}_EC21.shp")
    with (folder / "HCAT2.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["HCAT2_code"])
        writer.writerows([code] for code in ("3301010000", *(code for code, _ in CROPS)))
    return burnt


def make_cdl(
    folder: Path,
    codes: NDArray[np.uint8] | None = None,
    *,
    year: int = 2021,
    meters: float = 30,
    profile: Mapping[str, Any] | None = None,
) -> NDArray[np.uint8]:
    """Write a Cropland Data Layer with corn, soybeans, winter wheat and background in squares of 240 m; return it."""
    if codes is None:
        side = round(SIDE * 10 / meters)
        row, column = np.indices((side, side)) * round(meters) // 240
        codes = np.array([0, 1, 5, 24], np.uint8)[(row + 2 * column) % 4]
    write_raster(folder / f"{year}_30m_cdls.tif", codes[None], meters, **(profile or {}))
    return codes


def days_since_1970(days: Sequence[str] = DAYS) -> list[int]:
    """Return days since 1970-01-01."""
    return [(date(int(day[:4]), int(day[4:6]), int(day[6:])) - date(1970, 1, 1)).days for day in days]


def build(root: Path, labels: str = "EuroCrops", **options: Any) -> Any:
    """Open the dataset of the files in a folder."""
    folder = root / {"EuroCrops": "crops", "CDL": "cdl"}.get(labels, "labels")
    given = {"image_root": root / "images", "labels": labels, "label_root": folder, "bands": ["B02"], "window": 24}
    from cropzoo_plugins.datasets.torchgeo import TorchGeo

    return TorchGeo(**{**given, "split_seed": 1, **options})


def everything(dataset: Any) -> list[Any]:
    """Return all samples."""
    return [sample for split in ("train", "val", "test") for sample in dataset.split(split)]


def corner(sample: Any) -> tuple[slice, slice]:
    """Return the rows and columns of a sample in the complete raster."""
    a, b, west, d, e, north = sample.place["transform"]
    assert (a, b, d, e) == (10, 0, 0, -10)
    row, column = (NORTH - north) / 10, (west - WEST) / 10
    height, width = sample.series.shape[2:]
    return np.s_[int(row) : int(row) + height, int(column) : int(column) + width]
