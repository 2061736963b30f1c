"""Groups of Sentinel-2 bands that pretrained networks read together."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from cropzoo import UsageError

_log = logging.getLogger("cropzoo")

SENTINEL2_GROUPS = {
    "S2_RGB": ("B02", "B03", "B04"),
    "S2_Red_Edge": ("B05", "B06", "B07"),
    "S2_NIR_10m": ("B08",),
    "S2_NIR_20m": ("B8A",),
    "S2_SWIR": ("B11", "B12"),
}
"""Groups of Presto and Galileo, and their bands."""


def find_groups(backbone: str, bands: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Complete groups of `SENTINEL2_GROUPS`, and their bands.

    Raises:
        UsageError: If no group is complete.
    """
    groups = {name: needed for name, needed in SENTINEL2_GROUPS.items() if set(needed) <= set(bands)}
    if not groups:
        raise UsageError(
            f"bands={list(bands)} for {backbone!r}; no group of its bands is complete "
            f"({', '.join('+'.join(group) for group in SENTINEL2_GROUPS.values())}); "
            "give images with these bands of Sentinel-2, or name the bands accordingly"
        )
    return groups


def report_groups(backbone: str, bands: Sequence[str], groups: Mapping[str, Sequence[str]]) -> None:
    """Log which bands are missing, and which ones are in no complete group."""
    lacking = {
        name: [band for band in needed if band not in bands]
        for name, needed in SENTINEL2_GROUPS.items()
        if name not in groups
    }
    if lacking:
        described = "; ".join(f"{name} without {', '.join(missing)}" for name, missing in lacking.items())
        _log.warning("backbone %r ignores incomplete groups of bands: %s", backbone, described)
    used = {band for needed in groups.values() for band in needed}
    if unused := [band for band in bands if band not in used]:
        _log.warning("backbone %r does not use the bands %s", backbone, ", ".join(unused))
