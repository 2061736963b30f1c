"""Patches as one picture file, for the README and for slides."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib.image
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch as Box

from cropzoo.files import replacing
from cropzoo.report.panels import Patch, Picture, classes_in, marks, panels, safe_colour
from cropzoo.samples import LabelClass

_SIDE = 2.3
"""Inches that a panel is high."""

_LEAST_WIDTH = 9.0
"""Inches, for the legend."""


def save_patches(path: Path, patches: Sequence[Patch], classes: Sequence[LabelClass]) -> None:
    """Write a PNG: a row for each patch, its panels side by side, one legend below.

    Args:
        path: the file; what stood there is replaced as a whole.
        patches: one or more.
        classes: by label index.

    Raises:
        CropzooError: when the file cannot be written.
        ValueError: without a patch.
    """
    if not patches:
        raise ValueError("a picture needs at least one patch")
    rows = [panels(patch, classes) for patch in patches]
    columns = max(len(row) for row in rows)
    boxes = [(item.name, safe_colour(item.colour)) for item in classes_in(patches, classes)] + marks(patches)
    side = _SIDE * min(max(patch.labels.shape[1] / patch.labels.shape[0] for patch in patches), 2.0)
    width = max((side + 0.1) * columns, _LEAST_WIDTH)
    beside = max(1, int(width / (0.5 + 0.085 * max(len(name) for name, _ in boxes))))
    legend = 0.3 + 0.22 * -(-len(boxes) // beside)
    height = (_SIDE + 0.1) * len(rows) + 0.3 + legend
    # A figure of its own canvas: pyplot would keep state between calls and pick a window system.
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
    handles = [Box(facecolor=colour, edgecolor="#999999", linewidth=0.5, label=name) for name, colour in boxes]
    figure.legend(handles=handles, loc="lower center", ncols=beside, frameon=False, fontsize=9, handlelength=1.2)
    figure.subplots_adjust(0.01, legend / height, 0.99, 1 - 0.3 / height, wspace=0.04, hspace=0.04)
    with replacing(path) as scratch:
        figure.savefig(scratch, format="png")


def png(picture: Picture) -> bytes:
    """The picture as a PNG, a pixel for a pixel."""
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, picture, format="png")
    return buffer.getvalue()
