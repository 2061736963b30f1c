"""Pictures of images for pages, and the vegetation index of their time series."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

from cropzoo.geo.raster.naming import sentinel2_band

_NDVI_RANGE = (-0.2, 1.0)


def as_png(values: NDArray[np.uint8]) -> str:
    """A grayscale picture as a lossless data URI."""
    return _uri(values[None], "PNG")


def as_jpeg(colors: NDArray[np.uint8]) -> str:
    """A color picture (h, w, 3) as a data URI; imagery takes a fifth of the size of a PNG."""
    return _uri(np.moveaxis(colors, -1, 0), "JPEG", quality=85)


def _uri(bands: NDArray[np.uint8], driver: str, **options: Any) -> str:
    count, height, width = bands.shape
    profile = {"driver": driver, "dtype": "uint8", "count": count, "height": height, "width": width, **options}
    with rasterio.MemoryFile() as memory:
        with warnings.catch_warnings(), rasterio.Env(GDAL_PAM_ENABLED=False):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with memory.open(**profile) as target:
                target.write(bands)
        content = memory.read()
    return f"data:image/{driver.lower()};base64,{base64.b64encode(content).decode('ascii')}"


def _find(bands: Sequence[str], *wanted: str) -> str | None:
    known = {sentinel2_band(band) or band.upper(): band for band in bands}
    return next((known[name] for name in wanted if name in known), None)


def find_index_bands(bands: Sequence[str]) -> tuple[tuple[str, ...], str, float, float]:
    """Return the bands of a time series, its name and its range: NDVI, or the reflectance of the first band."""
    red, infrared = _find(bands, "B04", "RED"), _find(bands, "B08", "B8A", "NIR")
    if red and infrared:
        return (red, infrared), "NDVI", *_NDVI_RANGE
    return (bands[0],), f"reflectance of {bands[0]}", 0.0, 0.6


def compute_index(reflectance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the values of a time series, (...), from the reflectance of its bands, (C, ...); NaN where unknown."""
    red: NDArray[np.float32] = reflectance[0]
    infrared: NDArray[np.float32] = reflectance[-1]
    if len(reflectance) == 1:
        return red
    total = red + infrared
    with np.errstate(divide="ignore", invalid="ignore"):
        ndvi: NDArray[np.float32] = np.where(total > 0, (infrared - red) / total, np.nan)
    return ndvi


def find_color_bands(bands: Sequence[str]) -> tuple[str, str, str]:
    """Return the bands shown as red, green and blue; the first three if these are not known by their names."""
    red, green, blue = _find(bands, "B04", "RED"), _find(bands, "B03", "GREEN"), _find(bands, "B02", "BLUE")
    if red and green and blue:
        return red, green, blue
    first = [bands[min(number, len(bands) - 1)] for number in range(3)]
    return first[0], first[1], first[2]
