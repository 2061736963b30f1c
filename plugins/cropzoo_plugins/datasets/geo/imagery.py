"""Images of a torchgeo dataset: dates, grid, and the series of a window."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from cropzoo import CropzooError
from cropzoo.geo.raster.dates import days_since_epoch
from cropzoo.geo.raster.fill import find_fill
from cropzoo.geo.raster.grid import open_raster
from cropzoo.geo.raster.metadata import Header, HeaderReader, header_offset
from cropzoo.geo.raster.naming import find_baseline, path_names
from cropzoo.geo.raster.notes import ImageNotes
from cropzoo.geo.raster.scene import signed_dtype
from cropzoo_plugins.datasets.geo.windows import Bounds, Frame

_TWIN_BAND = "B05"
"""A 20 m band: the scene classification of Sentinel-2 has the same resolution and folder."""
_MAX_OFFSET = 2**15 - 1
"""Largest offset that fits into 16 bits."""
_MAX_SPAN = timedelta(days=366)
"""Maximum time span of an image of a series."""


def query_window(dataset: Any, index: Any, bounds: Bounds, frame: Frame) -> dict[str, Any]:
    """Query a torchgeo dataset for a window, restricted to the given rows of its index.

    A query by time would also find images with overlapping time spans, and a query by location neighbors that only
    touch the window.
    """
    part = copy.copy(dataset)
    part.index = index
    west, south, east, north = bounds
    start, end = index.index.left.min(), index.index.right.max()
    if start == end:  # an empty interval overlaps nothing
        end += timedelta(microseconds=1)
    found: dict[str, Any] = part[west : east : frame.xres, south : north : frame.yres, start:end:1]
    return found


def to_day(time: Any) -> int:
    """Convert a pandas time to days since 1970-01-01."""
    return days_since_epoch(date(time.year, time.month, time.day))


class Imagery:
    """Raster dataset of torchgeo as series; images of one day are mosaicked by torchgeo.

    Args:
        images: Raster dataset of torchgeo; its index has the location and time of each file.
        clear_scl: Classes of the Sentinel-2 scene classification that are clear, if its files are next to the bands.

    Attributes:
        bands: Names of the bands.
        days: Middle of the time span of each row of the index, in days since 1970-01-01.
        crs: CRS of the index (pyproj).

    Raises:
        CropzooError: A file has no date, or a date lacks the file of a band.
    """

    def __init__(self, images: Any, clear_scl: Sequence[int] = ()) -> None:
        self.images, self._clear_scl = images, tuple(clear_scl)
        self.crs = images.index.crs
        self.kind = type(images).__name__
        with open_raster(Path(images.index["filepath"].iloc[0])) as source:
            self._dtype = np.dtype(source.dtypes[0])
            declared, described, origin = source.nodata, source.descriptions, source.transform
            rectilinear = source.crs == self.crs and origin.is_rectilinear
        override = getattr(images, "nodata", None)  # since torchgeo 0.10
        self._nodata: float | None = declared if override is None else override
        names = tuple(images.bands or ()) or tuple(
            name or f"band {number}" for number, name in enumerate(described, start=1)
        )
        self.bands = tuple(map(str, names))
        xres, yres = (abs(float(each)) for each in images.res)
        self.frame = Frame(origin.c, origin.f, xres, yres) if rectilinear else Frame(0.0, 0.0, xres, yres)
        self.days = self._read_days()
        self._scene: Any = None
        locate = getattr(images, "_update_filepath", None) if images.separate_files else None
        if locate is not None:
            self._check_files(locate)
            if clear_scl and self.kind == "Sentinel2":
                self._scene = self._find_scene(locate)
        self._offsets = self._find_offsets(locate)

    @property
    def has_scene(self) -> bool:
        """Whether a scene classification masks clouds."""
        return self._scene is not None

    @property
    def area(self) -> Any:
        """Union of the footprints of all images, in their CRS."""
        return shapely.union_all(self.images.index.geometry.to_numpy())

    def acquisitions(self, bounds: Bounds, start: int, end: int) -> list[tuple[int, tuple[int, ...]]]:
        """Return the days from `start` to `end` with an image of the window, and the rows of the index of each."""
        box = shapely.box(*bounds)
        shapes = self.images.index.geometry
        rows = np.sort(shapes.sindex.query(box, predicate="intersects"))
        rows = rows[shapely.area(shapely.intersection(shapes.to_numpy()[rows], box)) > 0]
        found: dict[int, list[int]] = {}
        for row in rows.tolist():
            if start <= self.days[row] <= end:
                found.setdefault(int(self.days[row]), []).append(row)
        return [(day, tuple(found[day])) for day in sorted(found)]

    def read(
        self, bounds: Bounds, size: tuple[int, int], dates: Sequence[Sequence[int]]
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read the series (T, C, H, W) and the mask of clear pixels (T, H, W) of a window.

        torchgeo returns float32, which is converted back to stored 8 and 16 bit integers exactly. Pixels without data
        are 0 and not clear: those with nodata in any band, undeclared fill as of `cropzoo.geo.raster.fill`, 0 where a
        file declares no nodata, as in mosaics of torchgeo, and 0 in any band with an offset. The scene classification,
        if there is one, decides which of the other pixels are clear. Offsets that files declare are subtracted, so
        that unsigned integers become signed ones.

        Args:
            bounds: Bounds of the window, in the CRS of the images.
            size: Height and width of the window.
            dates: Rows of the index of each date.

        Raises:
            CropzooError: A file cannot be read; the message includes the error of torchgeo.
        """
        stack = np.stack([self._read_date(self.images, bounds, size, rows) for rows in dates])
        missing: NDArray[np.bool_] = np.logical_not(np.isfinite(stack).all(axis=1))
        if self._nodata is None:
            missing |= (stack == 0).all(axis=1)
        elif not math.isnan(self._nodata):
            missing |= (stack == np.float32(self._nodata)).any(axis=1)
        fill = find_fill(stack.swapaxes(0, 1), self._dtype, is_declared=self._nodata is not None)
        if fill is not None:
            missing |= fill
        offsets = np.stack([self._date_offsets(rows) for rows in dates])[:, :, None, None]
        missing |= ((stack == 0) & (offsets > 0)).any(axis=1)
        stack = np.where(missing[:, None], np.float32(0), stack - offsets.astype(np.float32))
        clear: NDArray[np.bool_] = ~missing
        if self._scene is not None:
            scenes = np.stack([self._read_date(self._scene, bounds, size, rows) for rows in dates])
            clear &= np.isin(scenes, self._clear_scl)
        if self._dtype.kind in "iu" and self._dtype.itemsize <= 2:
            dtype = np.dtype(signed_dtype(self._dtype.name)) if self._offsets.any() else self._dtype
            limits = np.iinfo(dtype)
            stored = np.clip(stack, limits.min, limits.max).astype(dtype)
            if self._offsets.any() or np.array_equal(stored, stack):  # classes of torchgeo may scale the values
                return stored, clear
        return stack, clear

    def _date_offsets(self, rows: Sequence[int]) -> NDArray[np.int64]:
        """Offset of each band (C,) of the files of one date.

        Raises:
            CropzooError: They differ, so that torchgeo's mosaic of these files has no single offset.
        """
        offsets = self._offsets[list(rows)]
        if (offsets != offsets[0]).any():
            other = int(np.flatnonzero((offsets != offsets[0]).any(axis=1))[0])
            first, second = (str(self.images.index["filepath"].iloc[rows[number]]) for number in (0, other))
            raise CropzooError(
                f"images {first!r} and {second!r}; torchgeo merges them into one date and they declare different "
                f"offsets ({offsets[0].tolist()} and {offsets[other].tolist()}); remove one of them"
            )
        return np.asarray(offsets[0])

    def _read_date(self, images: Any, bounds: Bounds, size: tuple[int, int], rows: Sequence[int]) -> NDArray[Any]:
        """Read the bands (C, H, W) of one date, or the band (H, W) of a dataset that is not an image."""
        index = images.index.iloc[list(rows)]
        try:
            read = query_window(images, index, bounds, self.frame)
        except (OSError, RuntimeError, ValueError, LookupError) as error:
            raise CropzooError(
                f"image {str(index['filepath'].iloc[0])!r}; it, or another file of its date, cannot be read "
                f"({error.__cause__ or error}); replace it or remove the date"
            ) from error
        image: NDArray[Any] = read["image" if images.is_image else "mask"].numpy()
        if image.shape != ((len(self.bands), *size) if images.is_image else size):
            raise CropzooError(
                f"images of torchgeo's {self.kind}; a date has shape {image.shape} for the {len(self.bands)} bands and "
                f"{size} pixels of its window; this class has no image (C, H, W) per date; use another class"
            )
        return image

    def _read_days(self) -> NDArray[np.int32]:
        spans = self.images.index.index
        for path, left, right in zip(self.images.index["filepath"], spans.left, spans.right, strict=True):
            if left.year < 1900 or right - left > _MAX_SPAN:
                raise CropzooError(
                    f"image {str(path)!r}; torchgeo finds no date in its name, or a period of over a year; define the "
                    "date with option 'image_options' (filename_regex with a group 'date', and date_format)"
                )
        middles = (left + (right - left) / 2 for left, right in zip(spans.left, spans.right, strict=True))
        return np.array([to_day(each) for each in middles], np.int32)

    def _find_offsets(self, locate: Callable[[str, str], str] | None) -> NDArray[np.int64]:
        """Return the offset that each file declares for each band, (rows of the index, C); torchgeo ignores it."""
        reader, notes = HeaderReader(), ImageNotes()
        numbers = getattr(self.images, "band_indexes", None) or range(1, len(self.bands) + 1)
        offsets = np.zeros((len(self.days), len(self.bands)), np.int64)
        for row, path in enumerate(map(Path, self.images.index["filepath"])):
            product, baseline = reader.read_product_metadata(path), find_baseline(path_names(path.absolute()))
            headers: dict[Path, Header] = {}
            for column, (band, number) in enumerate(zip(self.bands, numbers, strict=True)):
                file = path if locate is None else Path(locate(band, str(path)))
                header = headers[file] if file in headers else headers.setdefault(file, reader.read(file))
                index = number - 1 if locate is None else 0
                if index >= len(header.names):
                    continue  # torchgeo reports it when it reads the band
                found = header_offset(header, index, band, product, baseline)
                if abs(found.value) > _MAX_OFFSET:
                    raise CropzooError(
                        f"image {str(file)!r}; its metadata declare an offset of {found.value} for band {band!r}; "
                        "correct its tags or its scale and offset"
                    )
                notes.add_band(file, found)
                offsets[row, column] = found.value
        notes.log()
        return offsets

    def _check_files(self, locate: Callable[[str, str], str]) -> None:
        """Raise an error if the file of a band is missing; torchgeo only looks for the file of the first band."""
        for path, day in zip(map(str, self.images.index["filepath"]), self.days.tolist(), strict=True):
            for band in self.bands:
                file = locate(band, path)
                if not os.path.exists(file):
                    raise CropzooError(
                        f"image {path!r}; band {band!r} of {np.datetime64(day, 'D')} is missing, it would be {file!r}; "
                        "add it, remove this date, or choose bands that every date has with option 'bands'"
                    )

    def _find_scene(self, locate: Callable[[str, str], str]) -> Any:
        """Return the scene classification as a separate dataset; None if it has no files."""
        twins = (Path(locate(_TWIN_BAND, str(path))) for path in self.images.index["filepath"])
        files = [path.with_name(path.name.replace(_TWIN_BAND, "SCL")) for path in twins]
        found = sum(path.exists() for path in files)
        if not found:
            return None
        if found < len(files):
            raise CropzooError(
                f"images of torchgeo's {self.kind} in {str(self.images.paths)!r}; {found} of {len(files)} have a scene "
                "classification (SCL); add the missing ones, or use none with option clear_scl=[]"
            )
        for path in files:
            with open_raster(path):  # torchgeo lets GDAL choose the driver
                pass
        scene = copy.copy(self.images)
        scene.index = self.images.index.assign(filepath=list(map(str, files)))
        scene.separate_files, scene.band_indexes = False, None
        scene.is_image = False  # read with nearest neighbor resampling, as these are class numbers
        return scene
