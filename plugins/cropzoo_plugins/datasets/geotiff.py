"""The `geotiff` dataset: one folder per site with images and a label raster or parcel file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from cropzoo import CropzooError, LabelClass, Sample, UnknownName
from cropzoo.data.splits import SPLITS, split_blocks, split_halves
from cropzoo.data.statistics import Statistics, WithStatistics, band_statistics
from cropzoo.data.units import default_scale
from cropzoo.geo.raster.grid import Window
from cropzoo.geo.raster.notes import ImageNotes
from cropzoo_plugins.datasets.options import need_root, whole_numbers
from cropzoo_plugins.datasets.sites.ground import set_background
from cropzoo_plugins.datasets.sites.legend import make_site_legend
from cropzoo_plugins.datasets.sites.site import Site, find_sites, have_labels

_log = logging.getLogger("cropzoo")


class GeoTIFF(WithStatistics):
    """Sites on disk as a dataset; implements `cropzoo.Dataset`.

    The root contains one folder per site, or is a site itself. A site has the images of one area directly in its
    folder, in any layout of `cropzoo.geo.raster.discover.find_images`: a multi-band GeoTIFF for each date, a file for
    each band and date, or Sentinel-2 products (.SAFE). They are read as by `prepare` and `predict`: declared offsets
    are subtracted, and pixels without data are 0 and not clear. A site also has `labels.tif` (crop codes), `parcels.*`
    (polygons with a crop column), or both: then the raster gives the labels and the polygons the parcel ids. A parcel
    file at the root is used for all sites without one. If no site has labels, for objectives that need none, there are
    no classes. Each site is split in space separately. A site is read completely at the first access to one of its
    samples and kept in memory: T * C * H * W * 2 bytes for 16-bit images, in each process.

    Classes without a training pixel have no index and are set to 255 in val and test; a warning and `ignored` name
    them. The classes are in the order of classes.csv (code, name, color) at the root, or of their codes.

    Args:
        root: Folder of the dataset.
        bands: Names of the bands to use, in order; they also name the bands of files without descriptions. All bands
            if empty.
        crop_column: Column of the parcel file with the crop.
        name_column: Column of the parcel file with the name of the crop; optional.
        encoding: Encoding of the texts in the parcel file, such as "cp1250"; empty to find it out.
        clear_scl: Classes of the SCL band that are clear: one or more integers, or a text such as "4,5".
        ignore_codes: Crops to ignore, such as 0 for undeclared land: one or more codes, or a text such as "0,30". Crops
            that are texts are compared as they are written: "0101" is not "101".
        background: Ground without a parcel in sites whose parcels give the labels: "class" for code 0, "ignore" to
            ignore it; "" for code 0 with a warning if the parcels look incomplete.
        aoi: File of the polygons in which these parcels are complete; outside, ground without a parcel is ignored.
        split: "halves" or "blocks", see `cropzoo.data.splits`.
        axis: Axis that "halves" divides: "columns" for west and east, "rows" for north and south.
        gap: Pixels between the splits.
        val_share: Share of val in the first half, for "halves".
        block_size: Side of a block in pixels, for "blocks".
        shares: Shares of train, val and test, for "blocks".
        split_seed: Random seed of "blocks".
        scale: Reflectance of one stored unit, the offset of the files subtracted; None for 1e-4 for integers
            (Sentinel-2) and 1 for floats, as in `prepare`.
        citation: Citation of the data, for the model card.

    Attributes:
        ignored: Names of the classes without a training pixel.

    Raises:
        CropzooError: Files are missing or not valid; the message names the file.
        UsageError: Options are not valid.
    """

    def __init__(
        self,
        root: str | Path = "",
        *,
        bands: str | Sequence[str] = (),
        crop_column: str = "crop_code",
        name_column: str = "crop_name",
        encoding: str = "",
        clear_scl: int | str | Sequence[int] = (4, 5, 6),
        ignore_codes: int | str | Sequence[int | str] = (),
        background: str = "",
        aoi: str | Path = "",
        split: str = "halves",
        axis: str = "columns",
        gap: int = 2,
        val_share: float = 0.25,
        block_size: int = 32,
        shares: Sequence[float] = (0.6, 0.2, 0.2),
        split_seed: int = 0,
        scale: float | None = None,
        citation: str = "",
    ) -> None:
        folder = need_root("geotiff", root)
        requested = tuple(bands.split(",")) if isinstance(bands, str) and bands else tuple(bands)
        self.clear_scl = whole_numbers("geotiff", "clear_scl", clear_scl)
        self.citation = citation
        notes = ImageNotes()
        self._sites = [
            Site(site, folder, requested, self.clear_scl, crop_column, name_column, notes, encoding)
            for site in find_sites(folder)
        ]
        notes.log()
        set_background(self._sites, background, aoi)
        for site in self._sites[1:]:
            site.match_bands(self._sites[0])
        self.bands = self._sites[0].bands
        self.scale = default_scale(self._sites[0].images.dtype) if scale is None else scale
        self._regions = []
        for index, site in enumerate(self._sites):
            size = site.grid.height, site.grid.width
            if split == "halves":
                self._regions.append(split_halves(*size, axis=axis, gap=gap, val_share=val_share))
            elif split == "blocks":
                seed = (split_seed, index)
                self._regions.append(split_blocks(*size, size=block_size, gap=gap, seed=seed, shares=shares))
            else:
                raise UnknownName("kind of split", split, ("halves", "blocks"))
        self.classes: tuple[LabelClass, ...] = ()
        self.ignored: tuple[str, ...] = ()
        self._labels: Sequence[NDArray[np.uint8] | None] = [None] * len(self._sites)
        if have_labels(self._sites):
            train = [regions["train"] for regions in self._regions]
            self.classes, self.ignored, self._labels = make_site_legend(folder, self._sites, train, ignore_codes)
        else:
            _log.warning("no labels.tif and no parcel file in %s: the series have no labels", str(folder))
        if self.ignored:
            _log.warning("classes without a training pixel are ignored in val and test: %s", ", ".join(self.ignored))

    def find_statistics(self) -> Statistics:
        """Return mean and std of the training split."""
        try:
            return band_statistics(self.split("train"), self.scale)
        except CropzooError as error:
            raise CropzooError(f"{error} (the bands are {', '.join(self.bands)})") from error

    def split(self, name: str) -> Sequence[Sample]:
        """Return one sample per site and window of "train", "val" or "test".

        Raises:
            UnknownName: There is no such split.
        """
        if name not in SPLITS:
            raise UnknownName("split", name, SPLITS, "dataset 'geotiff'")
        return _SiteWindows(self, name)

    def find_windows(self, split: str) -> list[tuple[int, Window, str]]:
        """Return the site, window and name of each sample of a split."""
        found = []
        for index, (site, regions) in enumerate(zip(self._sites, self._regions, strict=True)):
            windows = regions[split]
            for number, window in enumerate(windows):
                name = f"{site.name}/{split}" + (f"-{number}" if len(windows) > 1 else "")
                found.append((index, window, name))
        return found

    def sample(self, site: int, window: Window, name: str) -> Sample:
        """Return a window of a site; the pixels of the site are read on first access."""
        return self._sites[site].sample(window, self._labels[site], name)


class _SiteWindows(Sequence[Sample]):
    """Samples of one split, read on access."""

    def __init__(self, dataset: GeoTIFF, split: str) -> None:
        self._dataset = dataset
        self._windows = dataset.find_windows(split)

    def __len__(self) -> int:
        return len(self._windows)

    @overload
    def __getitem__(self, item: int) -> Sample: ...
    @overload
    def __getitem__(self, item: slice) -> list[Sample]: ...
    def __getitem__(self, item: int | slice) -> Sample | list[Sample]:
        if isinstance(item, slice):
            return [self._dataset.sample(*place) for place in self._windows[item]]
        return self._dataset.sample(*self._windows[item])
