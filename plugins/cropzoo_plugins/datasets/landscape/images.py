"""The landscape as files of a mapping project: an image per date, declared parcels, and true labels."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.windows import Window

from cropzoo import CropzooError, UsageError
from cropzoo.io import Log
from cropzoo.parallel import run_jobs
from cropzoo_plugins.datasets.landscape.curves import BANDS, read_curves
from cropzoo_plugins.datasets.landscape.parcel_file import ParcelFile
from cropzoo_plugins.datasets.landscape.tiles import SIDE, LandscapeArea, LandscapeTile, make_tile

_UNFINISHED = ".unfinished"
"""Subfolder of the files until all are complete."""

_LABELS, _LAST = "labels.tif", "README.md"

_CACHE_MB = 64
"""Write cache of GDAL in megabytes; the default is a twentieth of the memory."""

_README = """# A generated landscape as Sentinel-2 images and declared parcels

{size} x {size} pixels of 10 m, {crs}, {dates} dates of {year}, made by cropzoo's dataset `synthetic`.

- `S2_{year}-MM-DD.tif`: bands {bands}, reflectance = value * 0.0001; SCL 4 is clear, 9 cloud, 3 shadow.
- `parcels.gpkg`: declared parcels with the columns parcel_id, crop_code, crop_name.
- `labels.tif`: true crop codes on pixels of {pixel:g} m, 0 outside declared parcels.

    cropzoo prepare --parcels parcels.gpkg --crop-column crop_code --images 'S2_*.tif' --out DATASET

Crop curves measured over Flanders: contains modified Copernicus Sentinel data; parcels: Bron: Dept. LV; from
WorldCereal/worldcereal-classification (MIT).
"""


def write_images(area: LandscapeArea, folder: Path, log: Log, workers: int) -> None:
    """Fill an empty folder with `S2_DATE.tif` for each date, `parcels.gpkg`, `labels.tif` and `README.md`.

    The files are written to the subfolder `.unfinished` and moved when all are complete, README.md last. Remains of an
    interrupted run are removed. The pixels do not depend on the number of workers.

    Args:
        area: Area of the landscape.
        folder: Folder of the files; created if necessary.
        log: Function that is called with a line for each row of tiles.
        workers: Number of processes; 0 and 1 use the current process.

    Raises:
        UsageError: The folder is not empty, or is a file.
        CropzooError: The files cannot be written; the folder is then as empty as before.
    """
    with _unfinished(folder) as scratch:
        _write_tiles(area, scratch, log, workers)
        (scratch / _LAST).write_text(_format_readme(area), encoding="utf-8")
        names = [path.name for path in scratch.iterdir()]
        for name in sorted(names, key=lambda name: (name == _LAST, name)):
            _flush(scratch / name)
            (scratch / name).replace(folder / name)


@contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """Context manager of a temporary subfolder of an empty folder; converts errors of the disk."""
    scratch = folder / _UNFINISHED
    try:
        if folder.exists() and (not folder.is_dir() or any(path.name != _UNFINISHED for path in folder.iterdir())):
            raise UsageError(
                f"images of the generated landscape into {str(folder)!r}; the folder is not empty; "
                "use an empty or new folder"
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
            "free some space or use another folder, then run it again"
        ) from error


def _write_tiles(area: LandscapeArea, folder: Path, log: Log, workers: int) -> None:
    names = [f"S2_{day}.tif" for day in np.array(area.days).astype("datetime64[D]").tolist()]
    tiles = folder / "tiles"
    tiles.mkdir()
    # Processes start with the first tile: the cache of GDAL, which they inherit, has no pixels of these files then.
    with ExitStack() as stack:
        stack.enter_context(rasterio.Env(GDAL_CACHEMAX=_CACHE_MB))
        images = [stack.enter_context(_create_raster(area, folder / name, (*BANDS, "SCL"))) for name in names]
        labels = stack.enter_context(_create_raster(area, folder / _LABELS, ("crop_code",), area.label_scale))
        parcels = ParcelFile(folder / "parcels.gpkg", area)
        made = run_jobs(make_tile, (area, tiles), area.corners, workers)
        stack.enter_context(closing(made))
        for count, tile in enumerate(made, 1):
            _write_tile(tile, images, labels, area.label_scale)
            parcels.add_tile(tile)
            if count % area.across == 0:
                log(f"made {count} of {len(area.corners)} tiles of {SIDE} x {SIDE} pixels, {len(names)} dates")
    tiles.rmdir()
    for _ in run_jobs(_check_raster, folder, [*names, _LABELS], workers):
        pass


def _create_raster(area: LandscapeArea, path: Path, bands: Sequence[str], scale: int = 1) -> Any:
    """Create an empty raster of the area, open for writing."""
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


def _write_tile(tile: LandscapeTile, images: Sequence[Any], labels: Any, scale: int) -> None:
    codes = np.array([each.code for each in read_curves().classes], np.uint16)
    row, column = tile.corner
    height, width = tile.labels.shape
    labels.write(codes[tile.labels], 1, window=Window(scale * column, scale * row, width, height))
    stored = np.load(tile.images, mmap_mode="r", allow_pickle=False)
    for image, pixels in zip(images, stored, strict=True):
        image.write(pixels, window=Window(column, row, width // scale, height // scale))
    tile.images.unlink()


def _check_raster(folder: Path, name: str) -> None:
    """Read a raster again: a disk that fills up when a file is closed raises no error, but images have no pixel 0."""
    with rasterio.open(folder / name) as image:
        for _, window in image.block_windows(1):
            if not image.read(window=window).all() and name != _LABELS:
                raise OSError(f"pixels of {name} are missing")


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _format_readme(area: LandscapeArea) -> str:
    return _README.format(
        size=area.size,
        crs=area.crs,
        dates=len(area.days),
        year=area.scene.year,
        bands=", ".join(BANDS),
        pixel=10 / area.label_scale,
    )
