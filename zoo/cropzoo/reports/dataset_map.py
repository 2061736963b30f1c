"""Maps of where the samples of a dataset lie, as geometry that a page draws."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cropzoo.data.sample import Sample
from cropzoo.data.summary import tile_of

_SIDE = 320
"""Units of the drawing that the longer side of a map has."""

_MOST_MAPS = 12
_MOST_WINDOWS = 20_000
"""On all maps: 25 bytes of the page each."""

_APART = 20
"""Sites with more empty land between them than so many of their windows are wide have maps of their own."""

_EARTH = 111_320.0
"""Meters of a degree of latitude."""

Ring = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class MapWindow:
    """Where a sample lies: its four corners in units of its CRS, the group that colors it, what a mark leads to."""

    tile: str
    crs: str
    ring: Ring
    group: str
    name: str
    anchor: str


@dataclass(frozen=True)
class SiteMap:
    """A map of `width` x `height`.

    Args:
        title: tile or CRS.
        paths: (group, path of all its windows).
        marks: (anchor, name, path) of each window whose sample the page shows.
        bar: length of the scale bar and its text; None where the unit is not known.
    """

    title: str
    width: float
    height: float
    paths: tuple[tuple[str, str], ...]
    marks: tuple[tuple[str, str, str], ...]
    bar: tuple[float, str] | None


@dataclass
class MapBuilder:
    """Gathers windows, then makes the maps."""

    windows: list[MapWindow] = field(default_factory=list)

    def add(self, sample: Sample, group: str, anchor: str = "") -> None:
        """Take in a sample, with its anchor on the page if it is shown there; one without a place is passed over."""
        if not sample.place:
            return
        a, b, c, d, e, f = sample.place["transform"]
        height, width = sample.series.shape[2:]
        corners = ((0, 0), (0, width), (height, width), (height, 0))
        ring = tuple((a * column + b * row + c, d * column + e * row + f) for row, column in corners)
        self.windows.append(MapWindow(tile_of(sample), str(sample.place["crs"]), ring, group, sample.name, anchor))

    def maps(self) -> tuple[list[SiteMap], str]:
        """A map for each tile, and each site that lies far from others; and what is left out, in words."""
        step = max(1, math.ceil(len(self.windows) / _MOST_WINDOWS))
        kept = [w for number, w in enumerate(self.windows) if number % step == 0 or w.anchor]
        by_tile: dict[tuple[str, str], list[MapWindow]] = defaultdict(list)
        for window in kept:
            by_tile[window.tile, window.crs].append(window)
        sites = [titled for (tile, _), windows in sorted(by_tile.items()) for titled in _sites(tile, windows)]
        sites.sort(key=lambda site: -len(site[1]))
        left = [f"every {step}th window is drawn"] if step > 1 else []
        left += [f"{len(sites) - _MOST_MAPS} smaller sites have no map"] if len(sites) > _MOST_MAPS else []
        return [_map(tile, windows) for tile, windows in sites[:_MOST_MAPS]], "; ".join(left)


def _sites(tile: str, windows: Sequence[MapWindow]) -> list[tuple[str, list[MapWindow]]]:
    """The windows parted where a strip of land without any is wide, along x, then along y; each with a title."""
    parts = [part for strip in _parted(windows, 0) for part in _parted(strip, 1)]
    if len(parts) == 1:
        return [(tile, parts[0])]
    return [(f"{tile}, site {number} of {len(parts)}", part) for number, part in enumerate(parts, start=1)]


def _parted(windows: Sequence[MapWindow], axis: int) -> list[list[MapWindow]]:
    spans = sorted(
        (min(p[axis] for p in w.ring), max(p[axis] for p in w.ring), number) for number, w in enumerate(windows)
    )
    apart = _APART * sum(high - low for low, high, _ in spans) / len(spans)
    parts: list[list[MapWindow]] = [[]]
    reached = spans[0][1]
    for low, high, number in spans:
        if low - reached > apart:
            parts.append([])
        parts[-1].append(windows[number])
        reached = max(reached, high)
    return parts


def _map(tile: str, windows: Sequence[MapWindow]) -> SiteMap:
    xs = [x for window in windows for x, _ in window.ring]
    ys = [y for window in windows for _, y in window.ring]
    unit = _meters(windows[0].crs)
    # Degrees of longitude are shorter than those of latitude, except at the equator.
    squeeze = math.cos(math.radians((min(ys) + max(ys)) / 2)) if unit == _EARTH else 1.0
    wide, high = (max(xs) - min(xs)) * squeeze, max(ys) - min(ys)
    scale = (_SIDE - 4) / max(wide, high, 1e-9)

    def path(window: MapWindow) -> str:
        places = [(2 + (x - min(xs)) * squeeze * scale, 2 + (max(ys) - y) * scale) for x, y in window.ring]
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
        bar=_bar(wide * unit, scale / unit) if unit else None,
    )


def _meters(crs: str) -> float | None:
    """Meters of a unit of the CRS; None where that is not known."""
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        found: Any = CRS.from_user_input(crs)
        return _EARTH if found.is_geographic else float(found.linear_units_factor[1])
    except CRSError:
        return None


def _bar(meters: float, scale: float) -> tuple[float, str]:
    """A round length, about a third of so many meters at most, as drawn and in words."""
    power = 10 ** math.floor(math.log10(max(meters / 3, 1e-9)))
    length = next(power * step for step in (5, 2, 1) if power * step <= meters / 3 or step == 1)
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    return round(length * scale, 1), text
