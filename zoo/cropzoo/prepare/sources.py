"""Datasets that can also be written as images and parcels, the input of `cropzoo prepare`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable


@runtime_checkable
class ImageSource(Protocol):
    """What a dataset offers for `cropzoo prepare --from NAME`, where it has images and parcels to give."""

    def write_images(self, folder: Path, tell: Callable[[str], None], workers: int) -> None:
        """Fill an empty folder with an image a date, `S2_2018-05-16.tif`, and the parcels, `parcels.gpkg`.

        Args:
            folder: made if need be.
            tell: is called with a line on how far it got, now and then.
            workers: processes; up to 1 works in this one.

        Raises:
            UsageError: the folder holds something.
            CropzooError: it can't be written.
        """
        ...
