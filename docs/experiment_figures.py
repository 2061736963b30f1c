"""The two figures of docs/experiments.md."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

COLORS = {"none": "#6b6b6b", "cscl": "#d11149", "supcon": "#2a6fdb", "boundary": "#e69f00", "mtm": "#00876c"}
REGIONS = {"miou": "everywhere", "boundary_miou": "at boundaries", "interior_miou": "inside"}

Row = dict[str, str]


def draw_distances(rows: list[Row], path: Path) -> None:
    """Draw accuracy by distance to the boundary, a panel for each backbone, a line for each pre-training."""
    backbones = list(dict.fromkeys(row["backbone"] for row in rows))
    figure = Figure(figsize=(3.6 * len(backbones), 3.4), layout="constrained")
    panels = figure.subplots(1, len(backbones), sharey=True, squeeze=False)[0]
    for panel, backbone in zip(panels, backbones, strict=True):
        for pretrain in dict.fromkeys(row["pretrain"] for row in rows):
            points = [row for row in rows if (row["backbone"], row["pretrain"]) == (backbone, pretrain)]
            shares = [100 * int(row["right"]) / int(row["pixels"]) for row in points]
            distances = [int(row["px"]) for row in points]
            panel.plot(distances, shares, "o-", color=COLORS[pretrain], markersize=4, linewidth=1.6, label=pretrain)
        panel.set(title=backbone, xlabel="distance to the parcel boundary, px")
        _style(panel)
    panels[0].set_ylabel("correct pixels, %")
    panels[-1].legend(frameon=False, loc="lower right")
    _save(figure, path)


def draw_differences(rows: list[Row], path: Path) -> None:
    """Draw differences in mean IoU to no pre-training, a panel for each region, a row for each configuration."""
    rows = [row for row in rows if row["miou_difference"]]
    figure = Figure(figsize=(11, 0.36 * len(rows) + 1.0), layout="constrained")
    panels = figure.subplots(1, len(REGIONS), sharex=True, sharey=True)
    for panel, (measure, title) in zip(panels, REGIONS.items(), strict=True):
        for place, row in enumerate(rows):
            mean, low, high = (100 * float(row[f"{measure}_{end}"]) for end in ("difference", "low", "high"))
            color = COLORS[row["pretrain"]]
            panel.plot([low, high], [place, place], color=color, linewidth=2)
            panel.plot(mean, place, "o", color=color, markersize=6)
        panel.axvline(0, color="#6b6b6b", linewidth=1)
        panel.set(title=f"mIoU {title}", xlabel="percentage points")
        _style(panel)
    panels[0].set_yticks(range(len(rows)), [f"{row['backbone']}, {row['pretrain']}" for row in rows])
    panels[0].invert_yaxis()
    _save(figure, path)


def _style(panel: mpl.axes.Axes) -> None:
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(color="#e3e3e3", linewidth=0.8)
    panel.set_axisbelow(True)


def _save(figure: Figure, path: Path) -> None:
    """Write a figure, the same bytes for the same numbers."""
    with mpl.rc_context({"svg.hashsalt": "cropzoo"}):
        figure.savefig(path, metadata={"Date": None})
