"""One site: its labels and parcels at once, its pixels when they are first asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo import CropzooError, Sample
from cropzoo.geo.raster.grid import Grid, Window, format_crs, open_raster, read_grid
from cropzoo.geo.vector.parcel_table import Crop
from cropzoo_plugins.datasets.sites.parcels import MISSING, Parcels, find_parcels, read_parcels
from cropzoo_plugins.datasets.sites.scanning import image_paths, label_path, scan_images
from cropzoo_plugins.datasets.sites.stack import read_stack


def find_sites(root: Path) -> list[Path]:
    """The folders with images: the root itself if it has some, else those directly in it, by name.

    Raises:
        CropzooError: the root is missing or no folder, or there is no image.
    """
    if not root.is_dir():
        raise CropzooError(f"dataset root {str(root)!r}; there is no such folder; check option 'root'")
    if image_paths(root):
        return [root]
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    sites = [path for path in folders if image_paths(path)]
    if not sites:
        raise CropzooError(
            f"dataset root {str(root)!r}; neither it nor a folder in it holds a GeoTIFF image; "
            "make a folder per site with a file per date, like SITE/S2_2019-05-16.tif"
        )
    return sites


class Site:
    """One folder of images with its labels, if it has any.

    Args:
        folder: with the images, and with `labels.tif`, a parcel file, both or neither.
        root: its parcel file serves the sites that have none of their own.
        crop_column: of the parcel file, holds the crop.
        name_column: of the parcel file, holds the crop's name; need not exist.

    Attributes:
        images: headers, in order of their dates.
        grid: the grid of all its rasters.
        parcels: None without a parcel file.
        labeled: whether it has a label raster or a parcel file.

    Raises:
        CropzooError: naming the file and what to do.
    """

    def __init__(self, folder: Path, root: Path, crop_column: str, name_column: str) -> None:
        self.name = folder.resolve().name
        self.images = scan_images(folder)
        self.grid: Grid = self.images[0].grid
        labels, parcels = label_path(folder), find_parcels(folder) or find_parcels(root)
        self.labeled = labels is not None or parcels is not None
        self._raster = None if labels is None else _read_labels(labels, self.grid)
        self.parcels: Parcels | None = None
        if parcels is not None:
            self.parcels = read_parcels(parcels, self.grid, crop_column, name_column, needs_crops=labels is None)
        self._stack_options: tuple[Sequence[str], Sequence[str], Sequence[int]] = ((), (), ())

    @property
    def label_crops(self) -> tuple[Crop, ...]:
        """The crops of the parcels, where these give the labels."""
        return () if self._raster is not None or self.parcels is None else self.parcels.crops or ()

    @property
    def label_file(self) -> str:
        """What the labels come from, for messages."""
        if self._raster is not None or self.parcels is None:
            return f"{self.name}/labels.tif"
        return str(self.parcels.path)

    def codes(self, numbers: Mapping[str, int]) -> NDArray[np.int64]:
        """Crop codes, (H, W), `MISSING` where unknown; `numbers` gives the parcels' texts a code."""
        if self._raster is not None or self.parcels is None:
            return np.asarray(self._raster)
        return self.parcels.codes(numbers)

    def select(self, bands: Sequence[str], asked: Sequence[str], clear_scl: Sequence[int]) -> None:
        """Say how `stack` is to be read; see `read_stack`."""
        self._stack_options = (bands, asked, clear_scl)

    @cached_property
    def stack(self) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Series (T, C, H, W) and cloud mask (T, H, W), read at the first access and kept."""
        return read_stack(self.images, *self._stack_options)

    @cached_property
    def dates(self) -> NDArray[np.int32]:
        """(T,), days since 1970-01-01, increasing."""
        return np.array([image.day for image in self.images], np.int32)

    def sample(self, window: Window, labels: NDArray[np.uint8] | None, name: str) -> Sample:
        """The part of the site in a window; `labels` are class indices of the whole site, if it has any."""
        series, clear = self.stack
        ids = None if self.parcels is None else self.parcels.ids
        return Sample(series, self.dates, labels, ids, clear, name, self.place).crop(*window)

    @property
    def place(self) -> dict[str, Any]:
        """Where the site lies on Earth; empty without a CRS."""
        if not self.grid.crs:
            return {}
        return {"crs": format_crs(self.grid.crs), "transform": [float(each) for each in tuple(self.grid.transform)[:6]]}


def have_labels(sites: Sequence[Site]) -> bool:
    """Whether sites have labels: all of them, or none.

    Raises:
        CropzooError: some of them have, which looks like a file that was forgotten.
    """
    without = [site.name for site in sites if not site.labeled]
    if without and len(without) < len(sites):
        raise CropzooError(
            f"site {without[0]!r}; it has no labels and other sites have; put a raster of crop codes 'labels.tif' or a "
            "parcel file 'parcels.gpkg' there, or a parcel file of all sites into the root; sites without labels go "
            "into a folder of their own"
        )
    return not without


def _read_labels(path: Path, grid: Grid) -> NDArray[np.int64]:
    """Crop codes of a label raster; its nodata is `MISSING`, unless that is 0, which is a code like any other."""
    with open_raster(path) as source:
        different = grid.difference(read_grid(source))
        if different:
            raise CropzooError(
                f"labels {str(path)!r}; their grid is not that of the images beside them ({different}); "
                "warp the labels to the images' grid by nearest neighbor"
            )
        if source.count != 1 or np.dtype(source.dtypes[0]).kind not in "iu":
            raise CropzooError(
                f"labels {str(path)!r}; they hold {source.count} band(s) of {source.dtypes[0]}; "
                "store crop codes as one band of integers"
            )
        codes: NDArray[np.int64] = source.read(1).astype(np.int64)
        if source.nodata:
            codes[codes == source.nodata] = MISSING
    return codes
