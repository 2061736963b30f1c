"""Picture of a dataset: samples of each split, and class curves over time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.dates
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch as Box
from numpy.typing import NDArray

from cropzoo.data.boundary import CLASS_BOUNDARY, PARCEL_BOUNDARY, boundary_bits
from cropzoo.data.sample import IGNORE, Dataset, LabelClass, Sample
from cropzoo.errors import CropzooError
from cropzoo.io import atomic_write
from cropzoo.reports.patches import AT_CLASS, AT_PARCEL, IGNORED, Picture, ReportPatch, draw_panels, safe_color
from cropzoo.reports.thumbnails import crop_center, get_orientation, rgb_image, spread

STEP = 10
"""Days per point of a curve. Sentinel-2 revisits a place every five days, half of them cloudy."""

_RED, _NEAR_INFRARED = ("b04", "b4", "red"), ("b08", "b8", "nir")


@dataclass(frozen=True)
class ClassCurves:
    """Mean of the clear pixels of each class over time.

    Args:
        title: Name of the quantity.
        days: Middle of each period of `STEP` days with an acquisition, (N,), datetime64[D].
        values: Means, (classes, N), float; NaN without clear pixels of the class.
        samples: Number of samples that were read.
    """

    title: str
    days: NDArray[np.datetime64]
    values: NDArray[np.float64]
    samples: int


def class_curves(samples: Iterable[Sample], bands: Sequence[str], scale: float, classes: int) -> ClassCurves | None:
    """Mean NDVI of each class over time, or of the first band if there are no B04 and B08; None without labels.

    Samples are read one at a time, two bands of a date at a time. Labels finer than the images are read at the center
    of a pixel. Without a cloud mask, all pixels are used.

    Args:
        samples: Samples; those without labels are skipped.
        bands: Names of their bands.
        scale: Reflectance of one stored unit.
        classes: Number of classes.
    """
    names = [band.lower() for band in bands]
    pair = [next((names.index(name) for name in choices if name in names), None) for choices in (_RED, _NEAR_INFRARED)]
    red, near_infrared = pair
    sums: dict[int, NDArray[np.float64]] = {}
    counts: dict[int, NDArray[np.int64]] = {}
    read = 0
    for sample in samples:
        if sample.labels is None:
            continue
        read += 1
        step = sample.label_scale
        labels = np.asarray(sample.labels[step // 2 :: step, step // 2 :: step])
        for position, day in enumerate(sample.dates.tolist()):
            if red is not None and near_infrared is not None:
                values = _ndvi(sample.series[position, red], sample.series[position, near_infrared])
            else:
                values = np.asarray(sample.series[position, 0], np.float64) * scale
            used = (labels != IGNORE) & np.isfinite(values)
            if sample.clear is not None:
                used &= np.asarray(sample.clear[position])
            found = labels[used].astype(np.int64)
            span = day // STEP
            known = sums.setdefault(span, np.zeros(classes)), counts.setdefault(span, np.zeros(classes, np.int64))
            np.add(known[0], np.bincount(found, weights=values[used], minlength=classes), out=known[0])
            np.add(known[1], np.bincount(found, minlength=classes), out=known[1])
    if not sums:
        return None
    spans = sorted(sums)
    total = np.stack([sums[span] for span in spans], axis=1)
    number = np.stack([counts[span] for span in spans], axis=1)
    days = (np.array(spans) * STEP + STEP // 2).astype("datetime64[D]")
    curves = np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)
    has_both = red is not None and near_infrared is not None
    return ClassCurves("NDVI" if has_both else f"{bands[0]}, scaled", days, curves, read)


def _ndvi(red: NDArray[Any], near_infrared: NDArray[Any]) -> NDArray[np.float64]:
    """NDVI, (NIR - red) / (NIR + red); NaN where both are zero."""
    low, high = np.asarray(red, np.float64), np.asarray(near_infrared, np.float64)
    both = high + low
    index: NDArray[np.float64] = np.divide(high - low, both, out=np.full(low.shape, np.nan), where=both > 0)
    return index


_EACH = 2
"""Samples shown per split."""

_CURVES_FROM = 24
"""Samples that curves are the mean of, at most half of them from one split."""

_LARGEST = 512
"""Largest side of a panel in pixels; of larger samples, the center is shown."""

_SIDE, _CURVES_HEIGHT = 2.1, 2.6
_SMOOTH = 3
"""Missing points that a curve bridges. A month without clear pixels stays a gap."""


@dataclass(frozen=True)
class _SamplePanels:
    """Panels of a sample with their titles, and its patch if it has labels."""

    panels: list[tuple[str, Picture]]
    patch: ReportPatch | None


def save_dataset_figure(path: Path, dataset: Dataset, splits: Sequence[str]) -> None:
    """Write a PNG: image, labels and boundaries of two samples per split, and the NDVI of the classes over time.

    Args:
        path: Path of the file, which is replaced.
        dataset: Dataset, of which a few samples are read, one at a time.
        splits: Names of its splits; empty ones are skipped.

    Raises:
        CropzooError: If no split has a sample, or if the file cannot be written.
    """
    rows = [row for name in splits if (row := _row(dataset, name))]
    if not rows:
        raise CropzooError(f"picture {str(path)!r}; no split has a sample ({', '.join(splits)}); open another dataset")
    curves = class_curves(_sampled(dataset, splits), dataset.bands, dataset.scale, len(dataset.classes))
    boxes = _legend([shown.patch for row in rows for shown in row if shown.patch], dataset.classes, curves)
    each = max(len(shown.panels) for row in rows for shown in row)
    columns = each * max(len(row) for row in rows)
    width = max(_SIDE * columns, 6.3)
    per_row = max(1, int(width / (0.6 + 0.085 * max((len(name) for name, _ in boxes), default=1))))
    legend = 0.15 + 0.22 * -(-len(boxes) // per_row) if boxes else 0.0
    below = legend + (_CURVES_HEIGHT if curves else 0.0)
    height = (_SIDE + 0.3) * len(rows) + below
    figure = Figure(figsize=(width, height), dpi=144, facecolor="white")
    FigureCanvasAgg(figure)
    edges = {"left": 0.01, "right": 0.99, "bottom": below / height, "top": 1 - 0.3 / height}
    grid = figure.add_gridspec(len(rows), columns, **edges, wspace=0.04, hspace=0.3 / _SIDE)
    for number, row in enumerate(rows):
        for place, shown in enumerate(row):
            for offset, (title, picture) in enumerate(shown.panels):
                axes = figure.add_subplot(grid[number, place * each + offset])
                axes.set_axis_off()
                axes.imshow(picture, interpolation="nearest")
                axes.set_title(title, fontsize=8, color="#333333", loc="center" if offset else "left", pad=3)
    if curves:
        inside = (0.6 / width, (legend + 0.35) / height, 1 - 0.8 / width, (_CURVES_HEIGHT - 0.75) / height)
        _draw_curves(figure.add_axes(inside), curves, dataset.classes)
    handles = [Box(facecolor=color, edgecolor="#999999", linewidth=0.5, label=text) for text, color in boxes]
    if handles:
        figure.legend(handles=handles, loc="lower center", ncols=per_row, frameon=False, fontsize=9, handlelength=1.2)
    with atomic_write(path) as scratch:
        figure.savefig(scratch, format="png")


def _row(dataset: Dataset, split: str) -> list[_SamplePanels]:
    samples = dataset.split(split)
    return [_sample_panels(samples[index], dataset, split) for index in spread(len(samples), _EACH)]


def _sample_panels(sample: Sample, dataset: Dataset, split: str) -> _SamplePanels:
    sample = crop_center(sample, _LARGEST)
    name = _short(f"{split}: {sample.name}")
    turn = get_orientation(sample).turn
    image = turn(rgb_image(sample, dataset.bands, dataset.scale), (0, 1))
    labels = np.full(image.shape[:2], IGNORE, np.uint8)
    if sample.labels is not None:
        labels = turn(np.asarray(sample.labels).astype(np.uint8))
    parcels = None if sample.parcels is None or sample.labels is None else turn(np.asarray(sample.parcels))
    patch = ReportPatch(name, image, labels, labels, boundary_bits(labels, parcels))
    pictures = dict(draw_panels(patch, dataset.classes))
    shown = [(name, pictures["Image"])]
    if sample.labels is None:
        return _SamplePanels(shown, None)
    return _SamplePanels([*shown, ("labels", pictures["Labels"]), ("boundary", pictures["Boundary"])], patch)


def _sampled(dataset: Dataset, splits: Sequence[str]) -> Iterator[Sample]:
    for name in splits:
        samples = dataset.split(name)
        for index in spread(len(samples), _CURVES_FROM // 2 if len(splits) > 1 else _CURVES_FROM):
            yield crop_center(samples[index], _LARGEST)


def _legend(
    patches: Sequence[ReportPatch], classes: Sequence[LabelClass], curves: ClassCurves | None
) -> list[tuple[str, str]]:
    """Name and color of the classes that occur, then of the marks."""
    seen = {int(value) for patch in patches for value in np.unique(patch.labels)}
    if curves:
        seen |= set(np.flatnonzero(np.isfinite(curves.values).any(axis=1)).tolist())
    boxes = [(item.name, safe_color(item.color)) for index, item in enumerate(classes) if index in seen]
    if any((patch.boundary & CLASS_BOUNDARY).any() for patch in patches):
        boxes.append(("class boundary", AT_CLASS))
    both = CLASS_BOUNDARY | PARCEL_BOUNDARY
    if any((patch.boundary & both == PARCEL_BOUNDARY).any() for patch in patches):
        boxes.append(("parcel boundary only", AT_PARCEL))
    if any((patch.labels == IGNORE).any() for patch in patches):
        boxes.append(("ignored", IGNORED))
    return boxes


def _draw_curves(axes: Any, curves: ClassCurves, classes: Sequence[LabelClass]) -> None:
    for item, values in zip(classes, curves.values, strict=True):
        known = np.flatnonzero(np.isfinite(values))
        parts = np.split(known, np.flatnonzero(np.diff(known) > _SMOOTH) + 1)
        for part in parts:
            mark = "." if len(part) == 1 else ""
            axes.plot(curves.days[part], values[part], color=safe_color(item.color), linewidth=1.6, marker=mark)
    axes.set_title(
        f"{curves.title}: mean of the clear pixels of each class, in {curves.samples} samples",
        fontsize=9,
        color="#333333",
        loc="left",
    )
    locator = matplotlib.dates.AutoDateLocator(minticks=4, maxticks=12)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(matplotlib.dates.ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.tick_params(labelsize=8, colors="#555555")
    axes.grid(axis="y", color="#e5e5e5", linewidth=0.7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _short(text: str, most: int = 34) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
