"""What GDAL complains about while it writes, also without failing."""

from __future__ import annotations

import logging
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from rasterio._err import CPLE_BaseError  # what GDAL's errors in copying and overviews are raised as
from rasterio.errors import RasterioError

from cropzoo.errors import CropzooError


@contextmanager
def writing(path: Path, out: Path) -> Iterator[None]:
    """Whatever GDAL fails at becomes one error, also what it only logs, such as a disk that is full at the end.

    Args:
        path: that is written.
        out: the class map that it belongs to, by which `cropzoo mosaic` knows both.
    """
    errors = _Logged()
    try:
        with errors:
            yield
    except (RasterioError, CPLE_BaseError, OSError) as error:
        raise _unwritten(path, out, errors.first or _reason(error)) from error
    if errors.first:
        raise _unwritten(path, out, errors.first)


def _reason(error: BaseException) -> str:
    """What the deepest of the errors that led to one says; rasterio's own only points there."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)


def _unwritten(path: Path, out: Path, reason: str) -> CropzooError:
    free = shutil.disk_usage(path.parent).free
    return CropzooError(
        f"cannot write {str(path)!r}; writing failed as it does on a full disk ({reason}; {free / 1e9:.2f} GB are free "
        "there); nothing that stood there was changed, and the parts are kept: make room, then "
        f"`cropzoo mosaic {shlex.quote(str(out))}`"
    )


class _Logged(logging.Filter):
    """While it is entered, keeps what GDAL logs as errors from the screen and remembers the first.

    GDAL writes a tile when its cache is full or the file is closed; if the disk is full then, a log line is all there
    is.
    """

    _LOGGER = "rasterio._env"

    def __init__(self) -> None:
        super().__init__()
        self.first = ""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.ERROR:
            return True
        self.first = self.first or record.getMessage()
        return False

    def __enter__(self) -> _Logged:
        logging.getLogger(self._LOGGER).addFilter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        logging.getLogger(self._LOGGER).removeFilter(self)
