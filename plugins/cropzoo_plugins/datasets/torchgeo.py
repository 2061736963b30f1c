"""Geo-datasets of torchgeo as series with labels: images of many dates meet a vector or a raster dataset of crops."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
import shapely
from numpy.typing import NDArray

from cropzoo import CropzooError, Sample, UnknownName
from cropzoo.data.splits import SPLITS
from cropzoo.data.statistics import Statistics, WithStatistics, band_statistics
from cropzoo.geo.raster.grid import Window
from cropzoo_plugins.datasets.geo.imagery import Imagery
from cropzoo_plugins.datasets.geo.known import NO_DATA, class_names
from cropzoo_plugins.datasets.geo.labels import NOWHERE, Labels, Span, coverage, outside, spans
from cropzoo_plugins.datasets.geo.legend import Legend
from cropzoo_plugins.datasets.geo.opening import open_images, open_labels
from cropzoo_plugins.datasets.geo.polygons import PolygonLabels
from cropzoo_plugins.datasets.geo.rasters import RasterLabels
from cropzoo_plugins.datasets.geo.windows import cut_windows, deal_windows
from cropzoo_plugins.datasets.options import at_least, whole_numbers

_log = logging.getLogger("cropzoo")


class Place(NamedTuple):
    """One sample: its window, and the time of its labels."""

    window: Window
    span: Span


class TorchGeo(WithStatistics):
    """Images of torchgeo where its labels lie, cut into windows; obeys `cropzoo.Dataset`.

    torchgeo finds the files, and reads the place and the date of each from its header and its name; this dataset cuts
    what images and labels have in common into windows on the images' grid, and stacks all dates of a window. A window
    is read when it is asked for, T * C files of it for classes with a file a band: to train for long, convert the
    dataset once by `cropzoo prepare --from torchgeo`. All label windows are read once when the dataset is opened.

    A sample's dates are those in the time that its labels hold for, by torchgeo the calendar year of CDL, NCCM and
    EuroCrops; `time="all"` takes every date of the images, as winter crops sown the year before need. Where labels of
    two years lie on one place, each year is a sample, and both are in one split.

    Values that torchgeo gives to background (0: no parcel, or no class of option `classes`) are the first class, unless
    `ignore_codes` names 0. A class counts only if it has a training pixel: any other is 255 in val and test, has no
    index, and is named in `ignored` and in a warning. A table classes.csv (code, name, color) in the labels' folder
    names the classes and gives their order.

    Args:
        images: a raster class of `torchgeo.datasets`.
        image_root: the folder of its files.
        labels: a vector class, or a raster class whose `is_image` is False.
        label_root: the folder of its files.
        bands: names and order of the bands; of Sentinel-2 those of 10 and 20 m, of others torchgeo's choice if empty.
        image_options: of the class's constructor, or filename_glob, filename_regex, date_format and the like.
        label_options: as `image_options`; for EuroCrops for example classes, the HCAT codes to tell apart.
        window: side of a window in pixels.
        time: "labels" for the dates in the labels' time, "all" for all.
        clear_scl: classes of the scene classification of Sentinel-2's L2A that are clear, used where its files are
            there; given like ignore_codes.
        ignore_codes: crop codes to ignore; a number, several, or a text such as "0,81".
        block: windows a side that go to one split together.
        gap: windows between two blocks, which are in no split.
        shares: of train, val and test.
        split_seed: of the blocks, and of `max_windows`.
        max_windows: use this many windows, drawn at random; 0 for all.
        scale: reflectance of one stored unit.
        citation: who made the data, for the model card.

    Attributes:
        ignored: names of the classes without a training pixel.

    Raises:
        UnknownName: no such class, band or option.
        UsageError: options that do not fit.
        CropzooError: files that do not fit, with what to do.
    """

    def __init__(
        self,
        *,
        images: str = "Sentinel2",
        image_root: str | Path = "",
        labels: str = "EuroCrops",
        label_root: str | Path = "",
        bands: str | Sequence[str] = (),
        image_options: Mapping[str, Any] | None = None,
        label_options: Mapping[str, Any] | None = None,
        window: int = 128,
        time: str = "labels",
        clear_scl: int | str | Sequence[int] = (4, 5, 6),
        ignore_codes: int | str | Sequence[int] = (),
        block: int = 4,
        gap: int = 0,
        shares: Sequence[float] = (0.6, 0.2, 0.2),
        split_seed: int = 0,
        max_windows: int = 0,
        scale: float = 1e-4,
        citation: str = "",
    ) -> None:
        for option, value, least in (("window", window, 1), ("block", block, 1), ("gap", gap, 0)):
            at_least("torchgeo", option, value, least)
        at_least("torchgeo", "max_windows", max_windows, 0)
        if time not in ("labels", "all"):
            raise UnknownName("choice of option 'time':", time, ("labels", "all"))
        asked = tuple(bands.split(",")) if isinstance(bands, str) and bands else tuple(bands)
        ignored = {*whole_numbers("torchgeo", "ignore_codes", ignore_codes), *NO_DATA.get(str(labels), ())}
        self.scale, self.citation = scale, citation
        self._all_dates = time == "all"
        clear = whole_numbers("torchgeo", "clear_scl", clear_scl)
        self._imagery = Imagery(open_images(images, image_root, asked, image_options or {}), clear)
        self.bands = self._imagery.bands
        source = open_labels(labels, label_root, label_options or {}, self._imagery.crs)
        self._coverage = coverage(source, self._imagery.area, self._imagery.crs)
        area = shapely.union_all(self._coverage.geometry.to_numpy())
        self._frame, windows = cut_windows(area, self._imagery.frame, window)
        if max_windows and len(windows) > max_windows:
            drawn = np.random.default_rng(split_seed).choice(len(windows), max_windows, replace=False)
            windows = [windows[number] for number in sorted(drawn.tolist())]
        self._labels: Labels = (
            PolygonLabels(source, self._coverage)
            if hasattr(source, "get_label")
            else RasterLabels(source, self._coverage, self._frame)
        )
        places, values = self._scan(windows)
        dealt = deal_windows([window for window, _ in places], window, block, gap, shares, split_seed)
        self._places = {
            split: [Place(places[number][0], span) for number in mine for span in places[number][1]]
            for split, mine in dealt.items()
        }
        seen = {split: set().union(*(values[number] for number in mine)) for split, mine in dealt.items()}
        names = class_names(labels, source) or self._labels.names
        self._legend = Legend(
            Path(label_root).expanduser(),
            self._labels.codes,
            names,
            seen["train"],
            set().union(*seen.values()),
            ignored,
        )
        self.classes, self.ignored = self._legend.classes, self._legend.ignored
        if self.ignored:
            _log.warning("no training pixel, so ignored in val and test: %s", ", ".join(self.ignored))
        self._kept: tuple[Place, Sample] | None = None

    def find_statistics(self) -> Statistics:
        """As `mean` and `std`."""
        return band_statistics(self.split("train"), self.scale)

    def split(self, name: str) -> Sequence[Sample]:
        """A sample for each window, and time of labels, of "train", "val" or "test".

        Raises:
            UnknownName: for another split.
        """
        if name not in SPLITS:
            raise UnknownName("split", name, SPLITS, "dataset 'torchgeo'")
        return _Windows(self, self._places[name])

    def sample(self, place: Place) -> Sample:
        """One sample, read now; the last one is kept, for the tiles of a window are asked for one after another."""
        if self._kept is not None and self._kept[0] == place:
            return self._kept[1]
        window, span = place
        bounds, size = self._frame.bounds(window), (window.height, window.width)
        dates = self._dates(window, span)
        series, clear = self._imagery.read(bounds, size, [rows for _, rows in dates])
        values, parcels = self._values(window, span)
        crs = self._imagery.crs
        code = crs.to_epsg()
        sample = Sample(
            series,
            np.array([day for day, _ in dates], np.int32),
            self._legend.labels(values),
            parcels,
            clear,
            f"r{window.row:05d}-c{window.column:05d}" + (f"-{span.name}" if span.name else ""),
            {"crs": f"EPSG:{code}" if code else crs.to_wkt(), "transform": self._frame.transform(window)},
        )
        self._kept = (place, sample)
        return sample

    def __getstate__(self) -> dict[str, Any]:
        """All but the kept sample: what goes to another process should be small."""
        return {**self.__dict__, "_kept": None}

    def _dates(self, window: Window, span: Span) -> list[tuple[int, tuple[int, ...]]]:
        limits = np.iinfo(np.int32)
        start, end = (limits.min, limits.max) if self._all_dates else (span.start, span.end)
        return self._imagery.acquisitions(self._frame.bounds(window), int(start), int(end))

    def _values(self, window: Window, span: Span) -> tuple[NDArray[np.int64], NDArray[np.int32] | None]:
        """Values of a window, `NOWHERE` outside the labels' files, and parcel ids; the span's files hold there."""
        bounds, size = self._frame.bounds(window), (window.height, window.width)
        rows = self._rows(window, span)
        values, parcels = self._labels.values(bounds, size, rows)
        values[outside(self._coverage.geometry.to_numpy()[rows], bounds, size)] = NOWHERE
        return values, parcels

    def _rows(self, window: Window, span: Span) -> list[int]:
        """The rows of a span that hold in a window."""
        rows = np.array(span.rows)
        box = shapely.box(*self._frame.bounds(window))
        found: list[int] = rows[
            shapely.area(shapely.intersection(self._coverage.geometry.to_numpy()[rows], box)) > 0
        ].tolist()
        return found

    def _scan(self, windows: Sequence[Window]) -> tuple[list[tuple[Window, list[Span]]], list[set[int]]]:
        """The windows that have dates and a labeled pixel, with their times, and the values of each."""
        found: list[tuple[Window, list[Span]]] = []
        values: list[set[int]] = []
        times = spans(self._coverage)
        for window in windows:
            here: list[Span] = []
            held: set[int] = set()
            for span in times:
                if self._rows(window, span) and self._dates(window, span):
                    mine = set(np.unique(self._values(window, span)[0]).tolist()) - {NOWHERE}
                    if mine:
                        here.append(span)
                        held |= mine
            if here:
                found.append((window, here))
                values.append(held)
        if not found:
            days = self._imagery.days
            raise CropzooError(
                f"images and labels of 'torchgeo'; they share a region, but no window has both a date and a label: "
                f"labels are of {', '.join(span.name or 'any time' for span in times)}, images from "
                f"{np.datetime64(int(days.min()), 'D')} to {np.datetime64(int(days.max()), 'D')}; give images of the "
                "labels' time, or all dates by option time=all"
            )
        return found, values


class _Windows(Sequence[Sample]):
    """The samples of one split."""

    def __init__(self, dataset: TorchGeo, places: Sequence[Place]) -> None:
        self._dataset, self._places = dataset, places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, item: int) -> Sample: ...
    @overload
    def __getitem__(self, item: slice) -> list[Sample]: ...
    def __getitem__(self, item: int | slice) -> Sample | list[Sample]:
        if isinstance(item, slice):
            return [self._dataset.sample(place) for place in self._places[item]]
        return self._dataset.sample(self._places[item])
