"""Maps of the samples of a dataset, as geometry that the template draws.

Not drawn by matplotlib: a map may have 20,000 windows, which take 25 bytes each as a path with one decimal, and every
outlined window is a link that the keyboard reaches.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cropzoo.data.sample import Sample
from cropzoo.data.summary import tile_of

_SIDE = 320
"""Length of the longer side of a map in pixels."""

_MAX_MAPS = 12
_MAX_WINDOWS = 20_000
"""Largest number of windows on all maps."""

_GAP = 20
"""Empty space between two sites, in widths of a window, from which they get separate maps."""

_DEGREE = 111_320.0
"""Meters per degree of latitude."""

Ring = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class MapWindow:
    """Location of a sample.

    Args:
        tile: Tile of the sample.
        crs: CRS of the corners.
        ring: Its four corners.
        group: Group that determines its color.
        name: Name of the sample.
        anchor: Anchor of the sample on the page; empty if it is not shown.
    """

    tile: str
    crs: str
    ring: Ring
    group: str
    name: str
    anchor: str


@dataclass(frozen=True)
class SiteMap:
    """A map of a tile or site.

    Args:
        title: Tile or CRS.
        width: Width in pixels.
        height: Height in pixels.
        paths: (group, path of all its windows).
        marks: (anchor, name, path) of each window whose sample is shown on the page.
        bar: Length of the scale bar in pixels and its text; None if the unit of the CRS is unknown.
    """

    title: str
    width: float
    height: float
    paths: tuple[tuple[str, str], ...]
    marks: tuple[tuple[str, str, str], ...]
    bar: tuple[float, str] | None


@dataclass
class MapBuilder:
    """Collects windows of samples and builds the maps."""

    windows: list[MapWindow] = field(default_factory=list)

    def add(self, sample: Sample, group: str, anchor: str = "") -> None:
        """Add a sample, with its anchor if it is shown on the page; samples without a place are skipped."""
        if not sample.place:
            return
        a, b, c, d, e, f = sample.place["transform"]
        height, width = sample.series.shape[2:]
        corners = ((0, 0), (0, width), (height, width), (height, 0))
        ring = tuple((a * column + b * row + c, d * column + e * row + f) for row, column in corners)
        self.windows.append(MapWindow(tile_of(sample), str(sample.place["crs"]), ring, group, sample.name, anchor))

    def build(self) -> tuple[list[SiteMap], str]:
        """A map of each tile and remote site, and a note on what is left out."""
        step = max(1, math.ceil(len(self.windows) / _MAX_WINDOWS))
        kept = [w for number, w in enumerate(self.windows) if number % step == 0 or w.anchor]
        by_tile: dict[tuple[str, str], list[MapWindow]] = defaultdict(list)
        for window in kept:
            by_tile[window.tile, window.crs].append(window)
        sites = [titled for (tile, _), windows in sorted(by_tile.items()) for titled in _sites(tile, windows)]
        sites.sort(key=lambda site: -len(site[1]))
        left = [f"only every {step}th window is drawn"] if step > 1 else []
        left += [f"{len(sites) - _MAX_MAPS} smaller sites have no map"] if len(sites) > _MAX_MAPS else []
        return [_build_map(tile, windows) for tile, windows in sites[:_MAX_MAPS]], "; ".join(left)


def _sites(tile: str, windows: Sequence[MapWindow]) -> list[tuple[str, list[MapWindow]]]:
    """Title and windows of each site: windows are split at wide gaps along x, then along y."""
    parts = [part for strip in _split_at_gaps(windows, 0) for part in _split_at_gaps(strip, 1)]
    if len(parts) == 1:
        return [(tile, parts[0])]
    return [(f"{tile}, site {number} of {len(parts)}", part) for number, part in enumerate(parts, start=1)]


def _split_at_gaps(windows: Sequence[MapWindow], axis: int) -> list[list[MapWindow]]:
    spans = sorted(
        (min(p[axis] for p in w.ring), max(p[axis] for p in w.ring), number) for number, w in enumerate(windows)
    )
    apart = _GAP * sum(high - low for low, high, _ in spans) / len(spans)
    parts: list[list[MapWindow]] = [[]]
    reached = spans[0][1]
    for low, high, number in spans:
        if low - reached > apart:
            parts.append([])
        parts[-1].append(windows[number])
        reached = max(reached, high)
    return parts


def _build_map(tile: str, windows: Sequence[MapWindow]) -> SiteMap:
    xs = [x for window in windows for x, _ in window.ring]
    ys = [y for window in windows for _, y in window.ring]
    unit = _meters_per_unit(windows[0].crs)
    # Degrees of longitude are shorter than those of latitude, except at the equator.
    longitude_scale = math.cos(math.radians((min(ys) + max(ys)) / 2)) if unit == _DEGREE else 1.0
    wide, high = (max(xs) - min(xs)) * longitude_scale, max(ys) - min(ys)
    scale = (_SIDE - 4) / max(wide, high, 1e-9)

    def path(window: MapWindow) -> str:
        places = [(2 + (x - min(xs)) * longitude_scale * scale, 2 + (max(ys) - y) * scale) for x, y in window.ring]
        return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places) + "Z"

    groups: dict[str, list[str]] = defaultdict(list)
    for window in windows:
        groups[window.group].append(path(window))
    return SiteMap(
        title=tile,
        width=round(wide * scale + 4, 1),
        height=round(high * scale + 4, 1),
        paths=tuple((group, "".join(paths)) for group, paths in sorted(groups.items())),
        marks=tuple((window.anchor, window.name, path(window)) for window in windows if window.anchor),
        bar=_scale_bar(wide * unit, scale / unit) if unit else None,
    )


def _meters_per_unit(crs: str) -> float | None:
    """Meters per unit of the CRS; None if unknown."""
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        found: Any = CRS.from_user_input(crs)
        return _DEGREE if found.is_geographic else float(found.linear_units_factor[1])
    except CRSError:
        return None


def _scale_bar(meters: float, scale: float) -> tuple[float, str]:
    """A round length of at most about a third of `meters`: its drawn length and its text."""
    power = 10 ** math.floor(math.log10(max(meters / 3, 1e-9)))
    length = next(power * step for step in (5, 2, 1) if power * step <= meters / 3 or step == 1)
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    return round(length * scale, 1), text
