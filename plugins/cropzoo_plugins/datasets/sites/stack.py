"""The pixels of a site: all dates in one array, and where they are clear."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo import CropzooError
from cropzoo.geo.raster.grid import open_raster
from cropzoo_plugins.datasets.sites.bands import SCL, band_numbers, locate_bands
from cropzoo_plugins.datasets.sites.scanning import Image


def read_stack(
    images: Sequence[Image], bands: Sequence[str], asked: Sequence[str], clear_scl: Sequence[int]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Series and cloud mask of a site.

    Takes T * C * H * W * (bytes of the data type) + T * H * W bytes of memory. A pixel with nodata in any band is not
    clear, and nodata itself becomes 0: NaN or 65535 would reach the network as such and drown the bands' range.

    Args:
        images: in order of their dates, on one grid.
        bands: names of the series' bands.
        asked: the user's option `bands`, names for bands without description.
        clear_scl: classes of an SCL band that are clear; without that band all but nodata is clear.

    Returns:
        (T, C, H, W) as stored but for nodata, and (T, H, W) bool.

    Raises:
        CropzooError: a file that is truncated, lacks a band, or holds NaN where that is not its nodata.
    """
    first = images[0]
    shape = (len(images), len(bands), first.grid.height, first.grid.width)
    series = np.empty(shape, first.dtype)
    clear = np.ones((shape[0], *shape[2:]), np.bool_)
    mask = SCL in band_numbers(first, asked)
    for date, image in enumerate(images):
        numbers, scl = locate_bands(image, bands, asked, mask)
        with open_raster(image.path) as source:
            source.read(numbers, out=series[date])
            if scl is not None:
                clear[date] = np.isin(source.read(scl), list(clear_scl))
        clear[date] &= ~_no_data(series[date], [image.nodata[number - 1] for number in numbers])
        if not np.isfinite(series[date]).all():
            raise CropzooError(
                f"image {str(image.path)!r}; it holds NaN or infinity that is not declared; "
                "set the file's nodata to NaN, so that those pixels are masked, or fill them"
            )
    return series, clear


def _no_data(values: NDArray[Any], nodata: Sequence[float | None]) -> NDArray[np.bool_]:
    """Where any band (C, H, W) has its nodata value, (H, W); it is set to 0 there."""
    missing = np.zeros(values.shape[1:], np.bool_)
    for band, value in zip(values, nodata, strict=True):
        if value is None:
            continue
        here = np.isnan(band) if math.isnan(value) else band == float(value)
        band[here] = 0
        missing |= here
    return missing
