"""Pool of open rasters with a bounded size."""

from __future__ import annotations

import os
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any

import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window as RasterWindow

from cropzoo.geo.raster.grid import RASTER_FAILURES, Window, unreadable_error
from cropzoo.geo.raster.virtual import raster_driver

MAX_OPEN_FILES = 1024


def default_open_limit() -> int:
    """Number of files that a process may keep open: half of the system limit, so that others can open files too."""
    try:
        import resource
    except ImportError:  # Windows has no such limit on files that GDAL opens
        return MAX_OPEN_FILES
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_OPEN_FILES if allowed == resource.RLIM_INFINITY else min(MAX_OPEN_FILES, max(1, allowed // 2))


class FilePool:
    """Reads windows of many files and keeps the most recently used files open.

    Opening a file takes as long as reading a small window, and closing it empties its cache. A copy in another process,
    pickled or forked, opens its own files: two processes sharing a file would move each other's file position.

    Args:
        limit: Number of files to keep open; the least recently used one is closed first. None for
            `default_open_limit()`.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit = default_open_limit() if limit is None else max(1, limit)
        self._open: OrderedDict[Path, Any] = OrderedDict()
        self._process = os.getpid()

    def read(self, path: Path, numbers: list[int], window: Window, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Bands of a window, (N, h, w), written to `out` if given.

        Raises:
            CropzooError: The file cannot be read.
        """
        try:
            values: NDArray[Any] = self._get(path).read(numbers, window=_as_rasterio(window), out=out)
        except RASTER_FAILURES as error:
            raise unreadable_error(path, error) from error
        return values

    def read_masks(self, path: Path, numbers: list[int], window: Window) -> NDArray[Any]:
        """Mask of each band in a window, (N, h, w), 0 where there is no data."""
        try:
            values: NDArray[Any] = self._get(path).read_masks(numbers, window=_as_rasterio(window))
        except RASTER_FAILURES as error:
            raise unreadable_error(path, error) from error
        return values

    def close(self) -> None:
        """Close all files; the next read reopens them."""
        while self._open:
            self._open.popitem()[1].close()

    def __len__(self) -> int:
        return len(self._open)

    def __getstate__(self) -> int:
        return self._limit

    def __setstate__(self, limit: int) -> None:
        self.__init__(limit)  # type: ignore[misc]

    def _get(self, path: Path) -> Any:
        if self._process != os.getpid():
            self.close()
            self._process = os.getpid()
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        while len(self._open) >= self._limit:
            self._open.popitem(last=False)[1].close()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            self._open[path] = rasterio.open(path, driver=raster_driver(path))
        return self._open[path]


def _as_rasterio(window: Window) -> RasterWindow:
    return RasterWindow(window.column, window.row, window.width, window.height)
