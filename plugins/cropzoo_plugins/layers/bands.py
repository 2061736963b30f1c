"""Bands of the series by their names, for networks with pretrained weights."""

from __future__ import annotations

from collections.abc import Sequence

from cropzoo import UsageError
from cropzoo.geo.raster.naming import standard_name

SENTINEL2 = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
"""Bands of Sentinel-2 at 10 and 20 m, in the order of PASTIS and of prepared datasets."""


def name_bands(backbone: str, bands: Sequence[str] | None, in_channels: int) -> tuple[str, ...]:
    """Standard names of the bands of the series.

    Args:
        backbone: Name of the backbone, for error messages.
        bands: Names of the bands, in any spelling; if None, a series of ten bands has those of `SENTINEL2`.
        in_channels: Number of bands of the series.

    Raises:
        UsageError: If there is not one name for each band, or two of them mean the same band.
    """
    if bands is None and in_channels == len(SENTINEL2):
        return SENTINEL2
    if not isinstance(bands, (list, tuple)) or not all(isinstance(name, str) for name in bands):
        raise UsageError(
            f"bands={bands!r} for {backbone!r}; a pretrained network finds bands by their names; "
            "give a list of names such as ['B02', 'B03', 'B04', 'B08']"
        )
    names = tuple(map(standard_name, bands))
    if len(names) != in_channels or len(set(names)) != len(names):
        raise UsageError(
            f"bands={list(bands)} for {backbone!r}; the data has {in_channels} bands; "
            "give one name for each, all different, in the data's order"
        )
    return names
