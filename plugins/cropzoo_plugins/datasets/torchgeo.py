"""The `torchgeo` dataset: images of many dates and crop labels from geospatial datasets of torchgeo."""

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
from cropzoo_plugins.datasets.geo.factory import NO_DATA, find_class_names, open_images, open_labels
from cropzoo_plugins.datasets.geo.imagery import Imagery
from cropzoo_plugins.datasets.geo.labels import (
    NO_LABEL,
    LabelPeriod,
    LabelSource,
    find_coverage,
    find_periods,
    mask_outside,
)
from cropzoo_plugins.datasets.geo.legend import ValueLegend
from cropzoo_plugins.datasets.geo.polygon_labels import PolygonLabels
from cropzoo_plugins.datasets.geo.raster_labels import RasterLabels
from cropzoo_plugins.datasets.geo.windows import make_windows, split_windows
from cropzoo_plugins.datasets.options import at_least, whole_numbers

_log = logging.getLogger("cropzoo")


class LabeledWindow(NamedTuple):
    """One sample: its window and the period of its labels."""

    window: Window
    period: LabelPeriod


class TorchGeo(WithStatistics):
    """Images and labels of torchgeo in windows; implements `cropzoo.Dataset`.

    torchgeo finds the files and reads the location and date of each from its header and name. The area that images and
    labels share is divided into windows on the grid of the images, and all dates of a window are stacked. A window is
    read on access, from T * C files for classes with a file per band: for long training, convert the dataset once with
    `cropzoo prepare --from torchgeo`. All labels are read once when the dataset is opened.

    The dates of a sample are those in the period of its labels, which torchgeo sets to the calendar year for CDL, NCCM
    and EuroCrops. `time="all"` uses all dates of the images, as needed for winter crops sown in the year before. If an
    area has labels of two years, each year is a sample, and both are in the same split.

    Pixels that torchgeo assigns to background (0: no parcel, or not in option `classes`) are the first class, unless
    `ignore_codes` contains 0. Classes without a training pixel have no index and are set to 255 in val and test; a
    warning and `ignored` name them. A table classes.csv (code, name, color) in the folder of the labels names and
    orders the classes.

    Args:
        images: Name of a raster class in `torchgeo.datasets`.
        image_root: Folder of its files.
        labels: Name of a vector class, or of a raster class with `is_image` False.
        label_root: Folder of its files.
        bands: Names of the bands in order; if empty, the 10 and 20 m bands of Sentinel-2, or the default of torchgeo.
        image_options: Arguments of the constructor, or filename_glob, filename_regex, date_format and similar.
        label_options: As `image_options`; for EuroCrops for example classes, the HCAT codes to distinguish.
        window: Side of a window in pixels.
        time: "labels" for the dates in the period of the labels, "all" for all dates.
        clear_scl: Clear classes of the scene classification of Sentinel-2 L2A, used if its files exist; in the format
            of ignore_codes.
        ignore_codes: Crop codes to ignore: one or more integers, or a text such as "0,81".
        block: Side of a block in windows; a block is assigned to one split.
        gap: Windows between two blocks, which are in no split.
        shares: Shares of train, val and test.
        split_seed: Random seed of the split and of `max_windows`.
        max_windows: Number of windows to use, drawn at random; 0 for all.
        scale: Reflectance of one stored unit.
        citation: Citation of the data, for the model card.

    Attributes:
        ignored: Names of the classes without a training pixel.

    Raises:
        UnknownName: There is no such class, band or option.
        UsageError: Options are not valid.
        CropzooError: Files are missing or not valid.
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
            raise UnknownName("value of option 'time':", time, ("labels", "all"))
        requested = tuple(bands.split(",")) if isinstance(bands, str) and bands else tuple(bands)
        ignored = {*whole_numbers("torchgeo", "ignore_codes", ignore_codes), *NO_DATA.get(str(labels), ())}
        self.scale, self.citation = scale, citation
        self._all_dates = time == "all"
        clear = whole_numbers("torchgeo", "clear_scl", clear_scl)
        self._imagery = Imagery(open_images(images, image_root, requested, image_options or {}), clear)
        self.clear_scl = clear if self._imagery.has_scene else None
        self.bands = self._imagery.bands
        source = open_labels(labels, label_root, label_options or {}, self._imagery.crs)
        self._coverage = find_coverage(source, self._imagery.area, self._imagery.crs)
        area = shapely.union_all(self._coverage.geometry.to_numpy())
        self._frame, windows = make_windows(area, self._imagery.frame, window)
        if max_windows and len(windows) > max_windows:
            drawn = np.random.default_rng(split_seed).choice(len(windows), max_windows, replace=False)
            windows = [windows[number] for number in sorted(drawn.tolist())]
        self._labels: LabelSource = (
            PolygonLabels(source, self._coverage)
            if hasattr(source, "get_label")
            else RasterLabels(source, self._coverage, self._frame)
        )
        found, values = self._scan_labels(windows)
        assigned = split_windows([each for each, _ in found], window, block, gap, shares, split_seed)
        self._samples = {
            split: [LabeledWindow(found[number][0], period) for number in numbers for period in found[number][1]]
            for split, numbers in assigned.items()
        }
        seen = {split: set().union(*(values[number] for number in numbers)) for split, numbers in assigned.items()}
        names = find_class_names(labels, source) or self._labels.names
        self._legend = ValueLegend(
            Path(label_root).expanduser(),
            self._labels.codes,
            names,
            seen["train"],
            set().union(*seen.values()),
            ignored,
        )
        self.classes, self.ignored = self._legend.classes, self._legend.ignored
        if self.ignored:
            _log.warning("classes without a training pixel are ignored in val and test: %s", ", ".join(self.ignored))
        self._kept: tuple[LabeledWindow, Sample] | None = None

    def find_statistics(self) -> Statistics:
        """Return mean and std of the training split."""
        return band_statistics(self.split("train"), self.scale)

    def split(self, name: str) -> Sequence[Sample]:
        """Return one sample per window and period of labels of "train", "val" or "test".

        Raises:
            UnknownName: There is no such split.
        """
        if name not in SPLITS:
            raise UnknownName("split", name, SPLITS, "dataset 'torchgeo'")
        return _LabeledWindows(self, self._samples[name])

    def sample(self, place: LabeledWindow) -> Sample:
        """Read a sample; the last one is kept, because patches of a window are read one after another."""
        if self._kept is not None and self._kept[0] == place:
            return self._kept[1]
        window, period = place
        bounds, size = self._frame.bounds(window), (window.height, window.width)
        dates = self._find_dates(window, period)
        series, clear = self._imagery.read(bounds, size, [rows for _, rows in dates])
        values, parcels = self._read_values(window, period)
        crs = self._imagery.crs
        code = crs.to_epsg()
        sample = Sample(
            series,
            np.array([day for day, _ in dates], np.int32),
            self._legend.to_labels(values),
            parcels,
            clear,
            f"r{window.row:05d}-c{window.column:05d}" + (f"-{period.name}" if period.name else ""),
            {"crs": f"EPSG:{code}" if code else crs.to_wkt(), "transform": self._frame.transform(window)},
        )
        self._kept = (place, sample)
        return sample

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the kept sample, to keep the state small that is sent to another process."""
        return {**self.__dict__, "_kept": None}

    def _find_dates(self, window: Window, period: LabelPeriod) -> list[tuple[int, tuple[int, ...]]]:
        limits = np.iinfo(np.int32)
        start, end = (limits.min, limits.max) if self._all_dates else (period.start, period.end)
        return self._imagery.acquisitions(self._frame.bounds(window), int(start), int(end))

    def _read_values(self, window: Window, period: LabelPeriod) -> tuple[NDArray[np.int64], NDArray[np.int32] | None]:
        """Return the values of a window, `NO_LABEL` outside the files of the labels, and parcel ids."""
        bounds, size = self._frame.bounds(window), (window.height, window.width)
        rows = self._find_rows(window, period)
        values, parcels = self._labels.read_values(bounds, size, rows)
        values[mask_outside(self._coverage.geometry.to_numpy()[rows], bounds, size)] = NO_LABEL
        return values, parcels

    def _find_rows(self, window: Window, period: LabelPeriod) -> list[int]:
        """Return the rows of a period that cover part of a window."""
        rows = np.array(period.rows)
        box = shapely.box(*self._frame.bounds(window))
        found: list[int] = rows[
            shapely.area(shapely.intersection(self._coverage.geometry.to_numpy()[rows], box)) > 0
        ].tolist()
        return found

    def _scan_labels(self, windows: Sequence[Window]) -> tuple[list[tuple[Window, list[LabelPeriod]]], list[set[int]]]:
        """Return the windows with dates and a labeled pixel, with their periods, and the values of each."""
        found: list[tuple[Window, list[LabelPeriod]]] = []
        values: list[set[int]] = []
        periods = find_periods(self._coverage)
        for window in windows:
            covered: list[LabelPeriod] = []
            present: set[int] = set()
            for period in periods:
                if self._find_rows(window, period) and self._find_dates(window, period):
                    labels = set(np.unique(self._read_values(window, period)[0]).tolist()) - {NO_LABEL}
                    if labels:
                        covered.append(period)
                        present |= labels
            if covered:
                found.append((window, covered))
                values.append(present)
        if not found:
            days = self._imagery.days
            raise CropzooError(
                f"images and labels of 'torchgeo'; they share a region, but no window has both a date and a label: "
                f"labels are of {', '.join(period.name or 'any time' for period in periods)}, images from "
                f"{np.datetime64(int(days.min()), 'D')} to {np.datetime64(int(days.max()), 'D')}; use images in "
                "the period of the labels, or all dates with option time=all"
            )
        return found, values


class _LabeledWindows(Sequence[Sample]):
    """Samples of one split, read on access."""

    def __init__(self, dataset: TorchGeo, windows: Sequence[LabeledWindow]) -> None:
        self._dataset, self._windows = dataset, windows

    def __len__(self) -> int:
        return len(self._windows)

    @overload
    def __getitem__(self, item: int) -> Sample: ...
    @overload
    def __getitem__(self, item: slice) -> list[Sample]: ...
    def __getitem__(self, item: int | slice) -> Sample | list[Sample]:
        if isinstance(item, slice):
            return [self._dataset.sample(place) for place in self._windows[item]]
        return self._dataset.sample(self._windows[item])
