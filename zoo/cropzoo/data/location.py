"""Geographic location of samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pyproj import Transformer
from pyproj.exceptions import ProjError

UNKNOWN = (math.nan, math.nan)
"""Latitude and longitude of an unknown location."""


def find_center(place: Mapping[str, Any], height: int, width: int) -> tuple[float, float]:
    """Latitude and longitude of the center of an image, degrees; NaN if its georeference is unknown.

    Args:
        place: Georeference as in `Sample.place`.
        height: Height of the image, px.
        width: Width of the image, px.
    """
    if not place.get("crs") or not place.get("transform"):
        return UNKNOWN
    a, b, c, d, e, f = place["transform"]
    x, y = c + a * width / 2 + b * height / 2, f + d * width / 2 + e * height / 2
    return to_degrees(str(place["crs"]), x, y)


def to_degrees(crs: str, x: float, y: float) -> tuple[float, float]:
    """Latitude and longitude of a point in degrees; NaN if its CRS is local."""
    try:
        longitude, latitude = _make_transformer(crs).transform(x, y)
    except ProjError:
        return UNKNOWN
    return (latitude, longitude) if math.isfinite(latitude) and math.isfinite(longitude) else UNKNOWN


@lru_cache(maxsize=64)
def _make_transformer(crs: str) -> Transformer:
    return Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
