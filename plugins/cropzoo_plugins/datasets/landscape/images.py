"""The landscape as files that a mapping agency would have: an image a date, parcels, and the true classes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.windows import Window

from cropzoo import CropzooError, UsageError
from cropzoo.parallel import run_jobs
from cropzoo_plugins.datasets.landscape.curves import BANDS, curve_table
from cropzoo_plugins.datasets.landscape.outlines import ParcelFile
from cropzoo_plugins.datasets.landscape.tiles import SIDE, Area, Tile, make_tile

_UNFINISHED = ".unfinished"
"""Folder, in the one that is asked for, in which files lie until all are whole."""

_LABELS, _LAST = "labels.tif", "README.md"

_CACHE = 64
"""Megabytes that GDAL may hold back of what is written; it would take a twentieth of the machine's memory."""

_README = """# A generated landscape as Sentinel-2 images and declared parcels

{size} x {size} pixels of 10 m, {crs}, {dates} dates of {year}, made by cropzoo's dataset `synthetic`.

- `S2_{year}-MM-DD.tif`: bands {bands}, reflectance = number * 0.0001; SCL 4 is clear, 9 cloud, 3 shadow.
- `parcels.gpkg`: what farmers declared; parcel_id, crop_code, crop_name.
- `labels.tif`: the truth, crop codes on pixels of {pixel:g} m, 0 where nothing is declared.

    cropzoo prepare --parcels parcels.gpkg --crop-column crop_code --images 'S2_*.tif' --out DATASET

Crop curves measured over Flanders: contains modified Copernicus Sentinel data; parcels: Bron: Dept. LV; from
WorldCereal/worldcereal-classification (MIT).
"""


def write_images(area: Area, folder: Path, tell: Callable[[str], None], workers: int) -> None:
    """Fill an empty folder with `S2_DATE.tif` for each date, `parcels.gpkg`, `labels.tif` and `README.md`.

    All is made in a folder `.unfinished` inside and moved when it is whole, README.md last. What a killed run left
    there is thrown away by the next. The same area gives the same pixels, however many workers there are.

    Args:
        area: of the landscape.
        folder: made if need be.
        tell: is called with a line now and then, for each row of tiles' worth.
        workers: processes; up to 1 works in this one.

    Raises:
        UsageError: the folder holds something, or is a file.
        CropzooError: it can't be written; it is as empty as before.
    """
    with _unfinished(folder) as scratch:
        _write_tiles(area, scratch, tell, workers)
        (scratch / _LAST).write_text(_readme(area), encoding="utf-8")
        names = [path.name for path in scratch.iterdir()]
        for name in sorted(names, key=lambda name: (name == _LAST, name)):
            _flush(scratch / name)
            (scratch / name).replace(folder / name)


@contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """A folder inside an empty one to work in, gone when the block ends; errors of the disk in the user's words."""
    scratch = folder / _UNFINISHED
    try:
        if folder.exists() and (not folder.is_dir() or any(path.name != _UNFINISHED for path in folder.iterdir())):
            raise UsageError(
                f"images of the generated landscape into {str(folder)!r}; there is something already; "
                "name a folder that is empty or new"
            )
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        reason = error.strerror or str(error.__cause__ or error)
        raise CropzooError(
            f"images of the generated landscape into {str(folder)!r}; they cannot be written ({reason}); "
            "free some space or name another folder, then run it again"
        ) from error


def _write_tiles(area: Area, folder: Path, tell: Callable[[str], None], workers: int) -> None:
    names = [f"S2_{day}.tif" for day in np.array(area.days).astype("datetime64[D]").tolist()]
    tiles = folder / "tiles"
    tiles.mkdir()
    # Processes start with the first tile: no pixel of these files is in GDAL's cache, which they inherit, by then.
    with ExitStack() as stack:
        stack.enter_context(rasterio.Env(GDAL_CACHEMAX=_CACHE))
        images = [stack.enter_context(_create(area, folder / name, (*BANDS, "SCL"))) for name in names]
        labels = stack.enter_context(_create(area, folder / _LABELS, ("crop_code",), area.label_scale))
        parcels = ParcelFile(folder / "parcels.gpkg", area)
        made = run_jobs(make_tile, (area, tiles), area.corners, workers)
        stack.enter_context(closing(made))
        for count, tile in enumerate(made, 1):
            _write_tile(tile, images, labels, area.label_scale)
            parcels.add(tile)
            if count % area.across == 0:
                tell(f"made {count} of {len(area.corners)} tiles of {SIDE} x {SIDE} pixels, {len(names)} dates")
    tiles.rmdir()
    for _ in run_jobs(_check, folder, [*names, _LABELS], workers):
        pass


def _create(area: Area, path: Path, bands: Sequence[str], scale: int = 1) -> Any:
    """An empty raster of the area, open for writing."""
    raster = rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=scale * area.size,
        height=scale * area.size,
        count=len(bands),
        dtype="uint16",
        crs=area.crs,
        transform=area.transform(scale),
        compress="deflate",
        predictor=2,
        tiled=True,
        blockxsize=SIDE,
        blockysize=SIDE,
        bigtiff="if_safer",
    )
    raster.descriptions = bands
    return raster


def _write_tile(tile: Tile, images: Sequence[Any], labels: Any, scale: int) -> None:
    codes = np.array([each.code for each in curve_table().classes], np.uint16)
    row, column = tile.corner
    height, width = tile.labels.shape
    labels.write(codes[tile.labels], 1, window=Window(scale * column, scale * row, width, height))
    stored = np.load(tile.images, mmap_mode="r", allow_pickle=False)
    for image, pixels in zip(images, stored, strict=True):
        image.write(pixels, window=Window(column, row, width // scale, height // scale))
    tile.images.unlink()


def _check(folder: Path, name: str) -> None:
    """Read a raster back: a disk that fills up while a file is closed makes no error, but no pixel of an image is 0."""
    with rasterio.open(folder / name) as image:
        for _, window in image.block_windows(1):
            if not image.read(window=window).all() and name != _LABELS:
                raise OSError(f"pixels of {name} are missing")


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _readme(area: Area) -> str:
    return _README.format(
        size=area.size,
        crs=area.crs,
        dates=len(area.days),
        year=area.scene.year,
        bands=", ".join(BANDS),
        pixel=10 / area.label_scale,
    )
