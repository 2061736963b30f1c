"""A site: labels and parcels are read at once, pixels on first access."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo import CropzooError, Sample
from cropzoo.geo.raster.grid import Grid, Window, format_crs, open_raster, read_grid
from cropzoo.geo.vector.parcel_table import Crop
from cropzoo_plugins.datasets.sites.image_headers import (
    SCL,
    ImageHeader,
    find_images,
    find_labels,
    locate_bands,
    number_bands,
    read_image_headers,
)
from cropzoo_plugins.datasets.sites.parcels import MISSING, Parcels, find_parcels, read_parcels


def find_sites(root: Path) -> list[Path]:
    """Return the folders with images: the root if it has images, otherwise its subfolders, sorted by name.

    Raises:
        CropzooError: The root does not exist or is not a folder, or there is no image.
    """
    if not root.is_dir():
        raise CropzooError(f"dataset root {str(root)!r}; there is no such folder; check option 'root'")
    if find_images(root):
        return [root]
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    sites = [path for path in folders if find_images(path)]
    if not sites:
        raise CropzooError(
            f"dataset root {str(root)!r}; neither it nor a subfolder contains a GeoTIFF image; "
            "create a folder per site with a file per date, like SITE/S2_2019-05-16.tif"
        )
    return sites


class Site:
    """A folder of images with optional labels.

    Args:
        folder: Folder with the images, and with `labels.tif`, a parcel file, both or neither.
        root: Folder of the parcel file for sites without one.
        crop_column: Column of the parcel file with the crop.
        name_column: Column of the parcel file with the name of the crop; optional.

    Attributes:
        images: Headers of the images, sorted by date.
        grid: Grid of all rasters of the site.
        parcels: Parcels; None without a parcel file.
        labeled: Whether the site has a label raster or a parcel file.

    Raises:
        CropzooError: A file is missing or not valid; the message names it.
    """

    def __init__(self, folder: Path, root: Path, crop_column: str, name_column: str) -> None:
        self.name = folder.resolve().name
        self.images = read_image_headers(folder)
        self.grid: Grid = self.images[0].grid
        labels, parcels = find_labels(folder), find_parcels(folder) or find_parcels(root)
        self.labeled = labels is not None or parcels is not None
        self._raster = None if labels is None else _read_labels(labels, self.grid)
        self.parcels: Parcels | None = None
        if parcels is not None:
            self.parcels = read_parcels(parcels, self.grid, crop_column, name_column, needs_crops=labels is None)
        self._stack_options: tuple[Sequence[str], Sequence[str], Sequence[int]] = ((), (), ())

    @property
    def label_crops(self) -> tuple[Crop, ...]:
        """Crops of the parcels if these give the labels, otherwise empty."""
        return () if self._raster is not None or self.parcels is None else self.parcels.crops or ()

    @property
    def label_file(self) -> str:
        """File of the labels, for messages."""
        if self._raster is not None or self.parcels is None:
            return f"{self.name}/labels.tif"
        return str(self.parcels.path)

    def make_codes(self, numbers: Mapping[str, int]) -> NDArray[np.int64]:
        """Return crop codes, (H, W), `MISSING` where unknown; `numbers` maps crops given as text to codes."""
        if self._raster is not None or self.parcels is None:
            return np.asarray(self._raster)
        return self.parcels.make_codes(numbers)

    def select_bands(self, bands: Sequence[str], requested: Sequence[str], clear_scl: Sequence[int]) -> None:
        """Set the options of `read_stack`."""
        self._stack_options = (bands, requested, clear_scl)

    @cached_property
    def stack(self) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Series (T, C, H, W) and cloud mask (T, H, W), read on first access and kept."""
        return read_stack(self.images, *self._stack_options)

    @cached_property
    def dates(self) -> NDArray[np.int32]:
        """Days since 1970-01-01, increasing, (T,)."""
        return np.array([image.day for image in self.images], np.int32)

    def sample(self, window: Window, labels: NDArray[np.uint8] | None, name: str) -> Sample:
        """Return a window of the site; `labels` are the label indices of the complete site, if any."""
        series, clear = self.stack
        ids = None if self.parcels is None else self.parcels.ids
        return Sample(series, self.dates, labels, ids, clear, name, self.place).crop(*window)

    @property
    def place(self) -> dict[str, Any]:
        """Georeference of the site; empty without a CRS."""
        if not self.grid.crs:
            return {}
        return {"crs": format_crs(self.grid.crs), "transform": [float(each) for each in tuple(self.grid.transform)[:6]]}


def have_labels(sites: Sequence[Site]) -> bool:
    """Return whether the sites have labels.

    Raises:
        CropzooError: Only some of them have labels.
    """
    without = [site.name for site in sites if not site.labeled]
    if without and len(without) < len(sites):
        raise CropzooError(
            f"site {without[0]!r}; it has no labels and other sites have; add a raster of crop codes 'labels.tif' or a "
            "parcel file 'parcels.gpkg' to it, or a parcel file of all sites to the root; put sites without labels "
            "into a separate dataset"
        )
    return not without


def _read_labels(path: Path, grid: Grid) -> NDArray[np.int64]:
    """Read the crop codes of a label raster; nodata becomes `MISSING`, except 0, which is a valid code."""
    with open_raster(path) as source:
        different = grid.difference(read_grid(source))
        if different:
            raise CropzooError(
                f"labels {str(path)!r}; their grid differs from that of the images ({different}); "
                "warp the labels to the images' grid by nearest neighbor"
            )
        if source.count != 1 or np.dtype(source.dtypes[0]).kind not in "iu":
            raise CropzooError(
                f"labels {str(path)!r}; they have {source.count} band(s) of {source.dtypes[0]}; "
                "store crop codes as one band of integers"
            )
        codes: NDArray[np.int64] = source.read(1).astype(np.int64)
        if source.nodata:
            codes[codes == source.nodata] = MISSING
    return codes


def read_stack(
    images: Sequence[ImageHeader], bands: Sequence[str], requested: Sequence[str], clear_scl: Sequence[int]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read series and cloud mask of a site.

    Needs T * C * H * W * (bytes of the data type) + T * H * W bytes of memory. Pixels with nodata in any band are not
    clear, and nodata becomes 0, because NaN or 65535 would distort the inputs of a network.

    Args:
        images: Headers of the images, sorted by date, on one grid.
        bands: Names of the bands of the series.
        requested: Option `bands` of the user, which names bands without descriptions.
        clear_scl: Classes of the SCL band that are clear; without that band all pixels except nodata are clear.

    Returns:
        Series (T, C, H, W) as stored except for nodata, and the mask of clear pixels (T, H, W), bool.

    Raises:
        CropzooError: A file is truncated, lacks a band, or contains NaN that is not its nodata value.
    """
    first = images[0]
    shape = (len(images), len(bands), first.grid.height, first.grid.width)
    series = np.empty(shape, first.dtype)
    clear = np.ones((shape[0], *shape[2:]), np.bool_)
    mask = SCL in number_bands(first, requested)
    for date, image in enumerate(images):
        numbers, scl = locate_bands(image, bands, requested, mask)
        with open_raster(image.path) as source:
            source.read(numbers, out=series[date])
            if scl is not None:
                clear[date] = np.isin(source.read(scl), list(clear_scl))
        clear[date] &= ~_clear_nodata(series[date], [image.nodata[number - 1] for number in numbers])
        if not np.isfinite(series[date]).all():
            raise CropzooError(
                f"image {str(image.path)!r}; it contains undeclared NaN or infinity; "
                "set the nodata of the file to NaN, so that those pixels are masked, or fill them"
            )
    return series, clear


def _clear_nodata(values: NDArray[Any], nodata: Sequence[float | None]) -> NDArray[np.bool_]:
    """Set nodata in the bands (C, H, W) to 0, and return where any band has nodata, (H, W)."""
    missing = np.zeros(values.shape[1:], np.bool_)
    for band, value in zip(values, nodata, strict=True):
        if value is None:
            continue
        here = np.isnan(band) if math.isnan(value) else band == float(value)
        band[here] = 0
        missing |= here
    return missing
