"""A site: labels and parcels are read at once, pixels on first access."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo import CropzooError, Sample
from cropzoo.geo.raster.discover import find_images
from cropzoo.geo.raster.grid import Grid, Window, format_crs, open_raster, read_grid
from cropzoo.geo.raster.naming import RASTER_SUFFIXES
from cropzoo.geo.raster.notes import ImageNotes
from cropzoo.geo.raster.reader import StackReader
from cropzoo.geo.raster.scene import ImageStack
from cropzoo.geo.vector.aoi import AreaOfInterest
from cropzoo.geo.vector.fields import Crop
from cropzoo_plugins.datasets.sites.class_table import MISSING
from cropzoo_plugins.datasets.sites.parcels import Parcels, find_parcels, read_parcels

LABELS = "labels"
"""Stem of the label raster, `labels.tif`, which is not an image."""

_PRODUCT_SUFFIX = ".safe"
"""Suffix of the folder of a Sentinel-2 product."""


def find_sites(root: Path) -> list[Path]:
    """Return the folders with images: the root if it has images, otherwise its subfolders, sorted by name.

    Raises:
        CropzooError: The root does not exist or is not a folder, or there is no image.
    """
    if not root.is_dir():
        raise CropzooError(f"dataset root {str(root)!r}; there is no such folder; check option 'root'")
    if _list_image_patterns(root):
        return [root]
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    sites = [path for path in folders if _list_image_patterns(path)]
    if not sites:
        raise CropzooError(
            f"dataset root {str(root)!r}; neither it nor a subfolder contains an image "
            f"({', '.join(RASTER_SUFFIXES)}, .SAFE); create a folder per site with a file per date, like "
            "SITE/S2_2019-05-16.tif"
        )
    return sites


def _list_image_patterns(folder: Path) -> list[str]:
    """Return patterns of the images directly in a folder, one for each suffix; empty without an image."""
    suffixes = {
        path.suffix
        for path in folder.iterdir()
        if path.suffix.lower() in (*RASTER_SUFFIXES, _PRODUCT_SUFFIX)
        and not path.name.startswith(".")
        and path.stem.lower() != LABELS
    }
    return [f"{glob.escape(str(folder))}/*{suffix}" for suffix in sorted(suffixes)]


def _find_stack(folder: Path, bands: Sequence[str], notes: ImageNotes) -> ImageStack:
    """Return the images directly in a folder, which have one grid."""
    first, *others = find_images(_list_image_patterns(folder), bands, notes=notes)
    if others:
        here, there = (stack.acquisitions[0].files[stack.bands[0]][0].path for stack in (first, others[0]))
        raise CropzooError(
            f"site {str(folder)!r}; the grid of {str(there)!r} differs from that of {str(here)!r} "
            f"({first.grid.difference(others[0].grid) or 'their tile names differ'}); warp all images of a site to one "
            "grid, or move the images of each area into a folder of its own"
        )
    return first


class Site:
    """A folder of images with optional labels.

    Args:
        folder: Folder with the images, and with `labels.tif`, a parcel file, both or neither.
        root: Folder of the parcel file for sites without one.
        bands: Bands to use, see `find_images`; all bands if empty.
        clear_scl: Classes of the SCL band that are clear.
        crop_column: Column of the parcel file with the crop.
        name_column: Column of the parcel file with the name of the crop; optional.
        notes: Where decisions about the images are added that the user should know.
        encoding: Encoding of the texts in the parcel file; "" to find it out.

    Attributes:
        images: Images of the site, on one grid.
        bands: Names of the bands of the series, in order.
        parcels: Parcels; None without a parcel file.
        labeled: Whether the site has a label raster or a parcel file.

    Raises:
        CropzooError: A file is missing or not valid; the message names it.
        UsageError: Bands that no image has, or that are named twice.
    """

    def __init__(
        self,
        folder: Path,
        root: Path,
        bands: Sequence[str],
        clear_scl: Sequence[int],
        crop_column: str,
        name_column: str,
        notes: ImageNotes,
        encoding: str = "",
    ) -> None:
        self.name = folder.resolve().name
        self.images = _find_stack(folder, bands, notes)
        self.bands = self.images.bands
        self._clear_scl = clear_scl
        labels, parcels = _find_labels(folder), find_parcels(folder) or find_parcels(root)
        self.labeled = labels is not None or parcels is not None
        self._raster = None if labels is None else _read_labels(labels, self.grid)
        self.parcels: Parcels | None = None
        if parcels is not None:
            self.parcels = read_parcels(parcels, self.grid, crop_column, name_column, labels is None, encoding)

    def set_ground(self, complete: AreaOfInterest | None) -> None:
        """Ignore ground without a parcel outside the area in which parcels are complete; everywhere if it is None."""
        if self.parcels is not None:
            size = self.grid.height, self.grid.width
            inside = np.zeros(size, np.bool_) if complete is None else complete.mask(self.grid, Window(0, 0, *size))
            self.parcels = replace(self.parcels, complete=inside)

    def match_bands(self, first: Site) -> None:
        """Use the bands in the order of the first site.

        Raises:
            CropzooError: The site has other bands than the first one, or one has integers and the other floats.
        """
        if set(self.bands) != set(first.bands):
            raise CropzooError(
                f"site {self.name!r}; its images have the bands {', '.join(self.bands)}, and those of site "
                f"{first.name!r} have {', '.join(first.bands)}; choose bands that every image has by option 'bands'"
            )
        if (np.dtype(self.images.dtype).kind == "f") != (np.dtype(first.images.dtype).kind == "f"):
            raise CropzooError(
                f"site {self.name!r}; its images store {self.images.dtype}, and those of site {first.name!r} store "
                f"{first.images.dtype}; store all images in one data type and one unit"
            )
        self.bands = first.bands

    @property
    def grid(self) -> Grid:
        """Grid of the series and the labels."""
        return self.images.grid

    @property
    def has_raster(self) -> bool:
        """Whether a label raster gives the labels."""
        return self._raster is not None

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

    @cached_property
    def pixels(self) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Series (T, C, H, W) and where it is clear (T, H, W), as `predict` reads them; read on first access and kept.

        The offsets that the files declare are subtracted; pixels without data are 0 and not clear.
        """
        # Each file is read once, so that none needs to stay open.
        with StackReader(self.images, bands=self.bands, clear_scl=self._clear_scl, open_files=1) as reader:
            return reader.read(Window(0, 0, self.grid.height, self.grid.width))

    def sample(self, window: Window, labels: NDArray[np.uint8] | None, name: str) -> Sample:
        """Return a window of the site; `labels` are the label indices of the complete site, if any."""
        series, clear = self.pixels
        ids = None if self.parcels is None else self.parcels.ids
        return Sample(series, self.images.dates, labels, ids, clear, name, self.place).crop(*window)

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


def _find_labels(folder: Path) -> Path | None:
    """Return the label raster of a folder; None if there is none."""
    found = (path for path in sorted(folder.iterdir()) if path.stem.lower() == LABELS)
    return next((path for path in found if path.suffix.lower() in (".tif", ".tiff")), None)


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
