"""Panels of a patch: image, labels, prediction, errors, boundary pixels and confidence."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.image
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch as Box
from numpy.typing import NDArray

from cropzoo.data.boundary import CLASS_BOUNDARY, PARCEL_BOUNDARY
from cropzoo.data.sample import HEX_COLOR, IGNORE, LabelClass
from cropzoo.io import atomic_write

Picture = NDArray[np.uint8]
"""An RGB picture, (H, W, 3), uint8."""

IGNORED = "#e4e4e0"
WRONG = "#d62f5f"
AT_CLASS = "#f2a51a"
AT_PARCEL = "#2f7fd6"
CONFIDENCE = "cividis"

_SPARE = "#8a8a8a"


@dataclass(frozen=True)
class ReportPatch:
    """Image, labels and prediction of a place.

    Args:
        name: Title.
        image: Red, green and blue, (H, W, 3), float in [0, 1]; may be coarser than the labels by an integer factor.
        labels: Labels, (H, W), uint8, 255 = ignore.
        prediction: Predicted labels, (H, W), uint8.
        boundary: Result of `cropzoo.data.boundary.boundary_bits`, (H, W), uint8.
        confidence: Probability of the predicted class, (H, W), float in [0, 1]; None for no such panel.
    """

    name: str
    image: NDArray[Any]
    labels: NDArray[np.uint8]
    prediction: NDArray[np.uint8]
    boundary: NDArray[np.uint8]
    confidence: NDArray[Any] | None = None

    @property
    def accuracy(self) -> float | None:
        """Share of correct pixels among the labeled ones; None without labeled pixels."""
        known = self.labels != IGNORE
        return float((self.prediction == self.labels)[known].mean()) if known.any() else None


def safe_color(color: str) -> str:
    """The color if it is "#rrggbb", else gray. Nothing else from a file may get into a style attribute."""
    return color if HEX_COLOR.fullmatch(color) else _SPARE


def draw_panels(patch: ReportPatch, classes: Sequence[LabelClass]) -> list[tuple[str, Picture]]:
    """Title and picture of each panel."""
    colors = class_colors(classes)
    height, width = patch.labels.shape
    scale = max(height // patch.image.shape[0], 1)
    image = np.repeat(np.repeat(patch.image, scale, axis=0), scale, axis=1)[:height, :width]
    pale = _make_background(image)
    shown = [
        ("Image", _to_uint8(image)),
        ("Labels", colors[patch.labels]),
        ("Prediction", colors[patch.prediction]),
        ("Errors", _draw_errors(patch, pale)),
        ("Boundary", _draw_boundary(patch, pale)),
    ]
    if patch.confidence is not None:
        shown.append(("Confidence", _to_uint8(mpl.colormaps[CONFIDENCE](np.clip(patch.confidence, 0, 1))[..., :3])))
    return shown


def class_colors(classes: Sequence[LabelClass]) -> Picture:
    """Color table of all labels, (256, 3), uint8, with colors for ignored and unknown ones."""
    table = np.tile(_rgb(_SPARE), (256, 1))
    for index, item in enumerate(classes):
        table[index] = _rgb(safe_color(item.color))
    table[IGNORE] = _rgb(IGNORED)
    return table


def classes_in(patches: Sequence[ReportPatch], classes: Sequence[LabelClass]) -> list[LabelClass]:
    """Classes that occur in labels or predictions."""
    values = {int(v) for patch in patches for field in (patch.labels, patch.prediction) for v in np.unique(field)}
    return [item for index, item in enumerate(classes) if index in values]


def marks(patches: Sequence[ReportPatch]) -> list[tuple[str, str]]:
    """Name and color of the marks in the panels other than classes."""
    found = [("wrong", WRONG), ("class boundary", AT_CLASS)]
    if any((patch.boundary & PARCEL_BOUNDARY).any() for patch in patches):
        found.append(("parcel boundary only", AT_PARCEL))
    if any((patch.labels == IGNORE).any() for patch in patches):
        found.append(("not scored", IGNORED))
    return found


def _draw_errors(patch: ReportPatch, pale: Picture) -> Picture:
    out = pale.copy()
    out[patch.prediction != patch.labels] = _rgb(WRONG)
    out[patch.labels == IGNORE] = _rgb(IGNORED)
    return out


def _draw_boundary(patch: ReportPatch, pale: Picture) -> Picture:
    out = pale.copy()
    out[(patch.boundary & PARCEL_BOUNDARY) != 0] = _rgb(AT_PARCEL)
    out[(patch.boundary & CLASS_BOUNDARY) != 0] = _rgb(AT_CLASS)
    out[patch.labels == IGNORE] = _rgb(IGNORED)
    return out


def _make_background(image: NDArray[Any]) -> Picture:
    """A light gray copy as background of marks."""
    gray = 0.45 + 0.5 * image.mean(axis=-1, keepdims=True)
    return _to_uint8(np.repeat(gray, 3, axis=-1))


def _to_uint8(values: NDArray[Any]) -> Picture:
    scaled: Picture = np.round(255 * np.clip(np.nan_to_num(values), 0, 1)).astype(np.uint8)
    return scaled


def _rgb(color: str) -> Picture:
    return np.frombuffer(bytes.fromhex(color[1:]), np.uint8)


_SIDE = 2.3
"""Height of a panel in inches."""

_LEAST_WIDTH = 9.0
"""Smallest width of a figure in inches, for its legend."""


def save_patches(path: Path, patches: Sequence[ReportPatch], classes: Sequence[LabelClass]) -> None:
    """Write a PNG with a row of panels for each patch and a legend.

    Args:
        path: Path of the file, which is replaced.
        patches: At least one patch.
        classes: Classes by label index.

    Raises:
        CropzooError: If the file cannot be written.
        ValueError: If there is no patch.
    """
    if not patches:
        raise ValueError("a picture needs at least one patch")
    rows = [draw_panels(patch, classes) for patch in patches]
    columns = max(len(row) for row in rows)
    boxes = [(item.name, safe_color(item.color)) for item in classes_in(patches, classes)] + marks(patches)
    side = _SIDE * min(max(patch.labels.shape[1] / patch.labels.shape[0] for patch in patches), 2.0)
    width = max((side + 0.1) * columns, _LEAST_WIDTH)
    per_row = max(1, int(width / (0.5 + 0.085 * max(len(name) for name, _ in boxes))))
    legend = 0.3 + 0.22 * -(-len(boxes) // per_row)
    height = (_SIDE + 0.1) * len(rows) + 0.3 + legend
    # Without pyplot, which keeps state between calls and may open a window system.
    figure = Figure(figsize=(width, height), dpi=144, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for number, row in enumerate(rows):
        for column in range(columns):
            axes[number][column].set_axis_off()
        for column, (title, picture) in enumerate(row):
            axes[number][column].imshow(picture, interpolation="nearest")
            if number == 0:
                axes[number][column].set_title(title, fontsize=11, color="#333333")
    handles = [Box(facecolor=color, edgecolor="#999999", linewidth=0.5, label=name) for name, color in boxes]
    figure.legend(handles=handles, loc="lower center", ncols=per_row, frameon=False, fontsize=9, handlelength=1.2)
    figure.subplots_adjust(0.01, legend / height, 0.99, 1 - 0.3 / height, wspace=0.04, hspace=0.04)
    with atomic_write(path) as scratch:
        figure.savefig(scratch, format="png")


def encode_png(picture: Picture) -> bytes:
    """PNG file of a picture at its own resolution."""
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, picture, format="png")
    return buffer.getvalue()
