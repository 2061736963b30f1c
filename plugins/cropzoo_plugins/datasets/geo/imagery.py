"""The images of a torchgeo dataset: its days, its grid, and the series of a window."""

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
from cropzoo.geo.raster.grid import open_raster
from cropzoo_plugins.datasets.geo.windows import Bounds, Frame

_TWIN = "B05"
"""A band of 20 m, as is the scene classification beside it in Sentinel-2's surface reflectance."""
_LONGEST = timedelta(days=366)
"""An image of a longer time than this is no member of a series."""


def query(dataset: Any, index: Any, bounds: Bounds, frame: Frame) -> dict[str, Any]:
    """What torchgeo's dataset returns for a window, from these rows of an index and nothing else.

    A query by time alone would also meet images whose time spans overlap, and a query by place the neighbors that
    only touch the window.
    """
    part = copy.copy(dataset)
    part.index = index
    west, south, east, north = bounds
    start, end = index.index.left.min(), index.index.right.max()
    if start == end:  # an interval without length overlaps nothing
        end += timedelta(microseconds=1)
    found: dict[str, Any] = part[west : east : frame.xres, south : north : frame.yres, start:end:1]
    return found


def day_of(time: Any) -> int:
    """Days since 1970-01-01 of a time of pandas."""
    return (date(time.year, time.month, time.day) - date(1970, 1, 1)).days


class Imagery:
    """A raster dataset of torchgeo as series: images of one day are one date, mosaicked as torchgeo does.

    Args:
        images: the dataset; its index says which file shows what place when.
        clear_scl: classes of Sentinel-2's scene classification that are clear, where its file lies beside the bands.

    Attributes:
        bands: names.
        days: of each row of the index, days since 1970-01-01; the middle of its time span.
        crs: pyproj's CRS of the index.

    Raises:
        CropzooError: files without a date, or a date that lacks the file of a band.
    """

    def __init__(self, images: Any, clear_scl: Sequence[int] = ()) -> None:
        self.images, self._clear_scl = images, tuple(clear_scl)
        self.crs = images.index.crs
        self.kind = type(images).__name__
        with open_raster(Path(images.index["filepath"].iloc[0])) as source:
            self._dtype = np.dtype(source.dtypes[0])
            declared, described, origin = source.nodata, source.descriptions, source.transform
            mine = source.crs == self.crs and origin.is_rectilinear
        override = getattr(images, "nodata", None)  # since torchgeo 0.10
        self._nodata: float | None = declared if override is None else override
        names = tuple(images.bands or ()) or tuple(
            name or f"band {number}" for number, name in enumerate(described, start=1)
        )
        self.bands = tuple(map(str, names))
        xres, yres = (abs(float(each)) for each in images.res)
        self.frame = Frame(origin.c, origin.f, xres, yres) if mine else Frame(0.0, 0.0, xres, yres)
        self.days = self._read_days()
        self._scene: Any = None
        locate = getattr(images, "_update_filepath", None)
        if images.separate_files and locate is not None:
            self._check_files(locate)
            if clear_scl and self.kind == "Sentinel2":
                self._scene = self._find_scene(locate)

    @property
    def area(self) -> Any:
        """What all images cover together, in their CRS."""
        return shapely.union_all(self.images.index.geometry.to_numpy())

    def acquisitions(self, bounds: Bounds, start: int, end: int) -> list[tuple[int, tuple[int, ...]]]:
        """The days from `start` to `end` on which an image shows part of a window, with the rows of the index."""
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
        """Series (T, C, H, W) and mask (T, H, W) of a window.

        torchgeo hands out float32; 8 and 16 bit integers come back from it exactly as stored. A pixel without data is
        0 and not clear: it holds the files' nodata in a band, or, of files that declare none, 0 in all bands, as
        Sentinel-2's products and torchgeo's own mosaics do. Of the others those are clear whose scene classification,
        if there is one, says so.

        Args:
            bounds: of the window, in the CRS of the images.
            size: its height and width.
            dates: for each date the rows of the index.

        Raises:
            CropzooError: a file that cannot be read, with torchgeo's words.
        """
        stack = np.stack([self._read_date(self.images, bounds, size, rows) for rows in dates])
        missing: NDArray[np.bool_] = np.logical_not(np.isfinite(stack).all(axis=1))
        if self._nodata is None:
            missing |= (stack == 0).all(axis=1)
        elif not math.isnan(self._nodata):
            missing |= (stack == np.float32(self._nodata)).any(axis=1)
        stack = np.where(missing[:, None], np.float32(0), stack)
        clear: NDArray[np.bool_] = ~missing
        if self._scene is not None:
            scenes = np.stack([self._read_date(self._scene, bounds, size, rows) for rows in dates])
            clear &= np.isin(scenes, self._clear_scl)
        if self._dtype.kind in "iu" and self._dtype.itemsize <= 2:
            stored = stack.astype(self._dtype)
            if np.array_equal(stored, stack):  # a class of torchgeo may scale what it read
                return stored, clear
        return stack, clear

    def _read_date(self, images: Any, bounds: Bounds, size: tuple[int, int], rows: Sequence[int]) -> NDArray[Any]:
        """The bands (C, H, W) of one date, or, of a dataset that is no image, its band (H, W)."""
        index = images.index.iloc[list(rows)]
        try:
            read = query(images, index, bounds, self.frame)
        except (OSError, RuntimeError, ValueError, LookupError) as error:
            raise CropzooError(
                f"image {str(index['filepath'].iloc[0])!r}; it, or another file of its date, cannot be read "
                f"({error.__cause__ or error}); replace it or remove the date"
            ) from error
        image: NDArray[Any] = read["image" if images.is_image else "mask"].numpy()
        if image.shape != ((len(self.bands), *size) if images.is_image else size):
            raise CropzooError(
                f"images of torchgeo's {self.kind}; a date has shape {image.shape} for the {len(self.bands)} bands and "
                f"{size} pixels of its window; this class does not give one image (C, H, W) a date; use another"
            )
        return image

    def _read_days(self) -> NDArray[np.int32]:
        spans = self.images.index.index
        for path, left, right in zip(self.images.index["filepath"], spans.left, spans.right, strict=True):
            if left.year < 1900 or right - left > _LONGEST:
                raise CropzooError(
                    f"image {str(path)!r}; torchgeo reads no date from its name, or one of more than a year; say where "
                    "it stands by option 'image_options' (filename_regex with a group 'date', and date_format)"
                )
        middles = (left + (right - left) / 2 for left, right in zip(spans.left, spans.right, strict=True))
        return np.array([day_of(each) for each in middles], np.int32)

    def _check_files(self, locate: Callable[[str, str], str]) -> None:
        """Of bands in files of their own torchgeo looks for the first alone until it reads; here all must be there."""
        for path, day in zip(map(str, self.images.index["filepath"]), self.days.tolist(), strict=True):
            for band in self.bands:
                file = locate(band, path)
                if not os.path.exists(file):
                    raise CropzooError(
                        f"image {path!r}; band {band!r} of {np.datetime64(day, 'D')} is missing, it would be {file!r}; "
                        "add it, remove this date, or choose bands that every date has by option 'bands'"
                    )

    def _find_scene(self, locate: Callable[[str, str], str]) -> Any:
        """The scene classification as a dataset of its own; None without its files."""
        beside = (Path(locate(_TWIN, str(path))) for path in self.images.index["filepath"])
        files = [path.with_name(path.name.replace(_TWIN, "SCL")) for path in beside]
        there = sum(path.exists() for path in files)
        if not there:
            return None
        if there < len(files):
            raise CropzooError(
                f"images of torchgeo's {self.kind} in {str(self.images.paths)!r}; {there} of {len(files)} have a scene "
                "classification (SCL); give every one of them one, or use none by option clear_scl=[]"
            )
        scene = copy.copy(self.images)
        scene.index = self.images.index.assign(filepath=list(map(str, files)))
        scene.separate_files, scene.band_indexes = False, None
        scene.is_image = False  # then it is read by nearest neighbor, for these are class numbers
        return scene
