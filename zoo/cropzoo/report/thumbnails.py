"""A sample in two small pictures: its imagery, and its labels to lie over it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.describing import iso_day
from cropzoo.report.choosing import middle
from cropzoo.report.figures import png
from cropzoo.report.imagery import rgb_image
from cropzoo.report.panels import class_colours
from cropzoo.samples import IGNORE, Dataset, LabelClass, Sample

_LARGEST = 256
"""Pixels of the images on a side; of larger samples the middle is shown."""

_FINE = 192
"""Pixels that labels are drawn with at least, so that lines and hatching are finer than they."""

_LINE = (20, 24, 21, 170)
_HATCH = (90, 96, 92, 230)
_HATCH_BACK = (235, 236, 232, 130)


@dataclass(frozen=True)
class Thumbnail:
    """A sample's pictures as base64 of PNG; `labels` is empty where there are none, clear where nothing covers."""

    name: str
    group: str
    image: str
    labels: str
    facts: str


def thumbnail(sample: Sample, dataset: Dataset, group: str) -> Thumbnail:
    """The pictures of a sample and a line of facts; only a few of its dates are read."""
    whole = sample.series.shape[2:]
    sample = middle(sample, _LARGEST)
    image = rgb_image(sample, dataset.bands, dataset.scale)
    labels = ""
    if sample.labels is not None:
        parcels = None if sample.parcels is None else np.asarray(sample.parcels)
        labels = _text(label_picture(np.asarray(sample.labels), parcels, dataset.classes))
    facts = [f"{whole[0]} × {whole[1]} px"]
    if tuple(sample.series.shape[2:]) != tuple(whole):
        facts.append("its middle")
    if len(sample.dates):
        facts.append(f"{len(sample.dates)} dates {iso_day(sample.dates[0])} to {iso_day(sample.dates[-1])}")
    return Thumbnail(sample.name, group, _text(np.round(255 * image).astype(np.uint8)), labels, ", ".join(facts))


def label_picture(
    labels: NDArray[Any], parcels: NDArray[Any] | None, classes: Sequence[LabelClass]
) -> NDArray[np.uint8]:
    """Labels in the colours of their classes, ignored pixels hatched, a dark line between parcels.

    Returns:
        (k * H, k * W, 4), uint8, red green blue and opacity, k whole and 2 or more.
    """
    factor = max(2, -(-_FINE // max(labels.shape)))
    fine = labels.repeat(factor, axis=0).repeat(factor, axis=1)
    out = np.full((*fine.shape, 4), 255, np.uint8)
    out[..., :3] = class_colours(classes)[fine]
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


def _text(picture: NDArray[np.uint8]) -> str:
    return base64.b64encode(png(picture)).decode("ascii")
