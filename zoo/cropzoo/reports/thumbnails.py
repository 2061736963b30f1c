"""Thumbnails of a sample: its imagery, and its labels as an overlay."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.sample import IGNORE, Dataset, LabelClass, Sample
from cropzoo.data.summary import iso_day
from cropzoo.geo.raster.orientation import Orientation
from cropzoo.reports.patches import class_colors, encode_png

_COLORS = (("b04", "b4", "red"), ("b03", "b3", "green"), ("b02", "b2", "blue"))
_SUMMER = (6, 7, 8)
_DATES = 3
"""Number of clearest dates in a picture. The median of three drops a cloud that one of them has."""

_CLEAR = 0.5
"""Share of clear pixels that the best summer date needs; otherwise other seasons are used."""

_LEAST_RANGE = 0.02
"""Smallest range of reflectance that is stretched. In smaller ones, noise would look like fields."""


def rgb_image(sample: Sample, bands: Sequence[str], scale: float) -> NDArray[np.float32]:
    """Red, green and blue of the clearest summer dates, each stretched from its 2nd to its 98th percentile.

    Bands are B04, B03 and B02 if they exist, else the first three (the last one is repeated in a shorter series). Dates
    are ranked by their clear pixels; without a cloud mask by the darkness of the last channel, since clouds and haze
    are bright in blue. Summer is June to August, south of the equator December to February. A series without clear
    summer dates shows its clearest dates.

    Args:
        sample: Sample to show.
        bands: Names of its bands.
        scale: Reflectance of one stored unit.

    Returns:
        Picture, (H, W, 3), float32 in [0, 1].
    """
    channels = _channels(bands, sample.series.shape[1])
    candidates = _summer(sample)
    best = _clearest(sample, candidates, channels[-1])[:_DATES]
    images: NDArray[np.float32] = np.stack([np.asarray(sample.series[t][channels], np.float32) for t in best]) * scale
    seen = np.isfinite(images)
    if sample.clear is not None:
        seen &= np.stack([sample.clear[t] for t in best])[:, None]
    # Pixels without a clear date show clouds rather than a hole.
    seen |= ~seen.any(axis=0, keepdims=True) & np.isfinite(images)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        image = np.nan_to_num(np.nanmedian(np.where(seen, images, np.nan), axis=0))
    return np.stack([_stretch(channel) for channel in image], axis=-1)


def _channels(bands: Sequence[str], count: int) -> list[int]:
    names = [band.lower() for band in bands]
    found = [next((names.index(name) for name in choices if name in names), None) for choices in _COLORS]
    known = [index for index in found if index is not None]
    return known if len(known) == 3 else [min(index, count - 1) for index in range(3)]


def _summer(sample: Sample) -> list[int]:
    wanted = tuple((month + 5) % 12 + 1 for month in _SUMMER) if _is_southern(sample.place) else _SUMMER
    months = [(date(1970, 1, 1) + timedelta(days=int(day))).month for day in sample.dates]
    found = [t for t, month in enumerate(months) if month in wanted]
    if sample.clear is not None and not any(np.mean(sample.clear[t]) > _CLEAR for t in found):
        return list(range(len(months)))
    return found or list(range(len(months)))


def _is_southern(place: dict[str, Any]) -> bool:
    """Whether a place is south of the equator, by its UTM zone or its latitude."""
    crs = str(place.get("crs", "")).upper()
    origin_y = float((place.get("transform") or [0.0] * 6)[5])
    return crs.startswith("EPSG:327") or (crs == "EPSG:4326" and origin_y < 0)


def _clearest(sample: Sample, dates: list[int], blue: int) -> list[int]:
    if sample.clear is not None:
        shares: list[float] = np.mean(sample.clear, axis=(1, 2)).tolist()
        return sorted(dates, key=lambda t: -shares[t])

    def haze(t: int) -> float:
        values = np.asarray(sample.series[t][blue], np.float32)
        mean = float(np.mean(values))
        # an empty date is dark, but shows nothing
        return mean if np.isfinite(mean) and bool((values > 0).any()) else float("inf")

    return sorted(dates, key=haze)


def _stretch(channel: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = np.percentile(channel, (2, 98))
    stretched: NDArray[np.float32] = ((channel - low) / max(high - low, _LEAST_RANGE)).astype(np.float32)
    return np.clip(stretched, 0.0, 1.0)


def spread(count: int, most: int) -> list[int]:
    """At most `most` of `count` positions, evenly spaced and increasing."""
    if count <= most:
        return list(range(count))
    return [int((place + 0.5) * count / most) for place in range(most)]


def allocate(counts: Mapping[str, int], most: int) -> dict[str, int]:
    """Number of members of each group, `most` in total: equal shares, unused ones go to other groups."""
    taken = dict.fromkeys(counts, 0)
    while sum(taken.values()) < min(most, sum(counts.values())):
        for name, count in counts.items():
            if taken[name] < count and sum(taken.values()) < most:
                taken[name] += 1
    return taken


def crop_center(sample: Sample, largest: int) -> Sample:
    """Center crop of a sample with at most `largest` pixels per side."""
    height, width = sample.series.shape[2:]
    if max(height, width) <= largest:
        return sample
    rows, columns = min(height, largest), min(width, largest)
    return sample.crop((height - rows) // 2, (width - columns) // 2, rows, columns)


def get_orientation(sample: Sample) -> Orientation:
    """How pictures of a sample are turned to have north on top; not at all if its place is unknown."""
    return Orientation.of(sample.place["transform"]) if sample.place.get("transform") else Orientation()


_LARGEST = 256
"""Largest side of a thumbnail in pixels; of larger samples, the center is shown."""

_FINE = 192
"""Smallest side of a label picture, so that lines and hatching are finer than pixels of labels."""

_LINE = (20, 24, 21, 170)
_HATCH = (90, 96, 92, 230)
_HATCH_BACK = (235, 236, 232, 130)


@dataclass(frozen=True)
class Thumbnail:
    """The pictures of a sample.

    Args:
        name: Name of the sample.
        group: Split or fold.
        image: PNG of the imagery in base64.
        labels: PNG of the labels in base64; empty without labels.
        facts: Size and dates.
    """

    name: str
    group: str
    image: str
    labels: str
    facts: str


def make_thumbnail(sample: Sample, dataset: Dataset, group: str) -> Thumbnail:
    """Thumbnail of a sample; only a few of its dates are read."""
    size = sample.series.shape[2:]
    sample = crop_center(sample, _LARGEST)
    turn = get_orientation(sample).turn
    image = turn(rgb_image(sample, dataset.bands, dataset.scale), (0, 1))
    labels = ""
    if sample.labels is not None:
        parcels = None if sample.parcels is None else turn(np.asarray(sample.parcels))
        labels = _encode(draw_labels(turn(np.asarray(sample.labels)), parcels, dataset.classes))
    facts = [f"{size[0]} × {size[1]} px"]
    if tuple(sample.series.shape[2:]) != tuple(size):
        facts.append("center shown")
    if len(sample.dates):
        facts.append(f"{len(sample.dates)} dates {iso_day(sample.dates[0])} to {iso_day(sample.dates[-1])}")
    return Thumbnail(sample.name, group, _encode(np.round(255 * image).astype(np.uint8)), labels, ", ".join(facts))


def draw_labels(labels: NDArray[Any], parcels: NDArray[Any] | None, classes: Sequence[LabelClass]) -> NDArray[np.uint8]:
    """Picture of labels in class colors, with hatched ignored pixels and dark lines between parcels.

    Returns:
        RGBA picture, (k * H, k * W, 4), uint8, with an integer k of at least 2.
    """
    factor = max(2, -(-_FINE // max(labels.shape)))
    fine = labels.repeat(factor, axis=0).repeat(factor, axis=1)
    out = np.full((*fine.shape, 4), 255, np.uint8)
    out[..., :3] = class_colors(classes)[fine]
    rows, columns = np.indices(fine.shape)
    ignored = fine == IGNORE
    out[ignored] = _HATCH_BACK
    out[ignored & ((rows + columns) % 8 < 2)] = _HATCH
    edges = labels if parcels is None else parcels
    edges = edges.repeat(factor, axis=0).repeat(factor, axis=1)
    line = np.zeros(fine.shape, bool)
    line[1:] |= edges[1:] != edges[:-1]
    line[:, 1:] |= edges[:, 1:] != edges[:, :-1]
    out[line] = _LINE
    return out


def _encode(picture: NDArray[np.uint8]) -> str:
    return base64.b64encode(encode_png(picture)).decode("ascii")
