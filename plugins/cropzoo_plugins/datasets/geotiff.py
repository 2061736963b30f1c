"""Your own fields: a folder per site with one GeoTIFF a date and a label raster or parcel file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from cropzoo import CropzooError, LabelClass, Sample, UnknownName
from cropzoo.data.splits import SPLITS, blocks, halves
from cropzoo.data.statistics import Statistics, WithStatistics, band_statistics
from cropzoo.geo.raster.grid import Window
from cropzoo_plugins.datasets.options import need_root, whole_numbers
from cropzoo_plugins.datasets.sites.bands import choose_bands
from cropzoo_plugins.datasets.sites.legend import make_legend
from cropzoo_plugins.datasets.sites.site import Site, find_sites, have_labels

_log = logging.getLogger("cropzoo")


class GeoTIFF(WithStatistics):
    """Sites on disk as a dataset; obeys `cropzoo.Dataset`.

    The root holds a folder per site, or is one itself. A site has a multi-band GeoTIFF for each date, its date in its
    name, and `labels.tif` (crop codes), `parcels.*` (polygons with a crop column), or both: then the raster gives the
    labels and the polygons the parcel ids. A parcel file at the root serves all sites. Sites may all be without labels,
    for an objective that needs none: then there are no classes. Each site is split in space on its own. A site is read
    whole when one of its samples is first asked for, and kept: T * C * H * W * 2 bytes for 16-bit images, once a
    process.

    A class counts only if it has a training pixel: any other is 255 in val and test, has no index, and is named in
    `ignored` and in a warning. With classes.csv (code, name, color) at the root its order is the order of the classes;
    without it the codes' order.

    Args:
        root: the folder.
        bands: names and order of the bands to use; names for all bands of files whose bands have no description.
        crop_column: column of the parcel file with the crop.
        name_column: column of the parcel file with the crop's name; need not exist.
        clear_scl: classes of an SCL band that are clear; a number, several, or a text such as "4,5".
        ignore_codes: crop codes to ignore, such as 0 for undeclared land; given like clear_scl.
        split: "halves" or "blocks", see `cropzoo.data.splits`.
        axis: of halves: "columns" for west and east, "rows" for north and south.
        gap: pixels between the splits.
        val_share: of halves: val's share of the first half.
        block_size: of blocks: side in pixels.
        shares: of blocks: of train, val and test.
        split_seed: of blocks.
        scale: reflectance of one stored unit.
        citation: who made the data, for the model card.

    Attributes:
        ignored: names of the classes without a training pixel.

    Raises:
        CropzooError: files that do not fit, each named, with what to do.
        UsageError: options that do not fit.
    """

    def __init__(
        self,
        root: str | Path = "",
        *,
        bands: str | Sequence[str] = (),
        crop_column: str = "crop_code",
        name_column: str = "crop_name",
        clear_scl: int | str | Sequence[int] = (4, 5, 6),
        ignore_codes: int | str | Sequence[int] = (),
        split: str = "halves",
        axis: str = "columns",
        gap: int = 2,
        val_share: float = 0.25,
        block_size: int = 32,
        shares: Sequence[float] = (0.6, 0.2, 0.2),
        split_seed: int = 0,
        scale: float = 1e-4,
        citation: str = "",
    ) -> None:
        folder = need_root("geotiff", root)
        asked = tuple(bands.split(",")) if isinstance(bands, str) and bands else tuple(bands)
        clear = whole_numbers("geotiff", "clear_scl", clear_scl)
        codes = whole_numbers("geotiff", "ignore_codes", ignore_codes)
        self.scale, self.citation = scale, citation
        self._sites = [Site(site, folder, crop_column, name_column) for site in find_sites(folder)]
        self.bands = choose_bands(self._sites[0].images[0], asked)
        for site in self._sites:
            site.select(self.bands, asked, clear)
        self._regions = []
        for index, site in enumerate(self._sites):
            size = site.grid.height, site.grid.width
            if split == "halves":
                self._regions.append(halves(*size, axis=axis, gap=gap, val_share=val_share))
            elif split == "blocks":
                seed = (split_seed, index)
                self._regions.append(blocks(*size, size=block_size, gap=gap, seed=seed, shares=shares))
            else:
                raise UnknownName("way to split", split, ("halves", "blocks"))
        self.classes: tuple[LabelClass, ...] = ()
        self.ignored: tuple[str, ...] = ()
        self._labels: Sequence[NDArray[np.uint8] | None] = [None] * len(self._sites)
        if have_labels(self._sites):
            train = [regions["train"] for regions in self._regions]
            self.classes, self.ignored, self._labels = make_legend(folder, self._sites, train, codes)
        else:
            _log.warning("no labels.tif and no parcel file in %s: series without labels", str(folder))
        if self.ignored:
            _log.warning("no training pixel, so ignored in val and test: %s", ", ".join(self.ignored))

    def find_statistics(self) -> Statistics:
        """As `mean` and `std`."""
        try:
            return band_statistics(self.split("train"), self.scale)
        except CropzooError as error:
            raise CropzooError(f"{error} (the bands are {', '.join(self.bands)})") from error

    def split(self, name: str) -> Sequence[Sample]:
        """A sample for each site and window of "train", "val" or "test".

        Raises:
            UnknownName: for another split.
        """
        if name not in SPLITS:
            raise UnknownName("split", name, SPLITS, "dataset 'geotiff'")
        return _Windows(self, name)

    def places(self, split: str) -> list[tuple[int, Window, str]]:
        """Of each sample of a split: which site, which window, what name."""
        found = []
        for index, (site, regions) in enumerate(zip(self._sites, self._regions, strict=True)):
            windows = regions[split]
            for number, window in enumerate(windows):
                name = f"{site.name}/{split}" + (f"-{number}" if len(windows) > 1 else "")
                found.append((index, window, name))
        return found

    def sample(self, site: int, window: Window, name: str) -> Sample:
        """A window of a site; the site's pixels are read if they are not yet."""
        return self._sites[site].sample(window, self._labels[site], name)


class _Windows(Sequence[Sample]):
    """One split; nothing is read before an item is asked for."""

    def __init__(self, dataset: GeoTIFF, split: str) -> None:
        self._dataset = dataset
        self._places = dataset.places(split)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, item: int) -> Sample: ...
    @overload
    def __getitem__(self, item: slice) -> list[Sample]: ...
    def __getitem__(self, item: int | slice) -> Sample | list[Sample]:
        if isinstance(item, slice):
            return [self._dataset.sample(*place) for place in self._places[item]]
        return self._dataset.sample(*self._places[item])
