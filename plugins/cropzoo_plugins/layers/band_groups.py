"""Groups of Sentinel-2 bands that pretrained networks read together."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cropzoo import UsageError
from cropzoo_plugins.layers.bands import name_bands

_log = logging.getLogger("cropzoo")

SENTINEL2_GROUPS = {
    "S2_RGB": ("B02", "B03", "B04"),
    "S2_Red_Edge": ("B05", "B06", "B07"),
    "S2_NIR_10m": ("B08",),
    "S2_NIR_20m": ("B8A",),
    "S2_SWIR": ("B11", "B12"),
}
"""Groups of Presto and Galileo, and their bands."""


class BandGroups(NamedTuple):
    """The bands of a series that a network reads.

    Args:
        bands: Names of the bands that are read.
        picks: Position of each of them in the series.
        groups: Groups of the network, with the positions of their bands in `bands`.
    """

    bands: tuple[str, ...]
    picks: tuple[int, ...]
    groups: dict[str, list[int]]


def find_groups(
    backbone: str,
    bands: Sequence[str] | None,
    in_channels: int,
    *,
    indices: Mapping[str, tuple[str, ...]] | None = None,
    report: bool,
) -> BandGroups:
    """Find the complete groups of `SENTINEL2_GROUPS`, and the positions of their bands.

    Args:
        backbone: Name of the backbone, for messages.
        bands: Names of the bands of the series, in any spelling; None as in `name_bands`.
        in_channels: Number of bands of the series.
        indices: Further groups that are computed from bands, and are left out without one of them.
        report: Whether to log a warning that names missing and unused bands.

    Raises:
        UsageError: If the names are not those of the bands, or no group is complete.
    """
    given = name_bands(backbone, bands, in_channels)
    found = {name: needed for name, needed in SENTINEL2_GROUPS.items() if set(needed) <= set(given)}
    if not found:
        raise UsageError(
            f"bands={list(given)} for {backbone!r}; no group of its bands is complete "
            f"({', '.join('+'.join(group) for group in SENTINEL2_GROUPS.values())}); "
            "give images with these bands of Sentinel-2, or name the bands accordingly"
        )
    if report:
        _report_groups(backbone, given, found)
    found |= {name: needed for name, needed in (indices or {}).items() if set(needed) <= set(given)}
    used = tuple(dict.fromkeys(band for needed in found.values() for band in needed))
    places = {name: [used.index(band) for band in needed] for name, needed in found.items()}
    return BandGroups(used, tuple(given.index(band) for band in used), places)


def _report_groups(backbone: str, bands: Sequence[str], groups: Mapping[str, Sequence[str]]) -> None:
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
