"""Early-season scores: a checkpoint on series that end before the season does."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cropzoo.data.datamodule import DataModule
from cropzoo.data.dates import EPOCH, Day, count_until, parse_day
from cropzoo.data.sample import Sample
from cropzoo.errors import UsageError
from cropzoo.evaluation.evaluate import evaluate
from cropzoo.io import Log, atomic_write, write_text
from cropzoo.models.base import Model
from cropzoo.runtime import Runtime

_log = logging.getLogger("cropzoo")


@dataclass(frozen=True)
class SeasonPoint:
    """Scores on series that end on a day.

    Args:
        until: day as the user wrote it, "06-15" or "2019-06-15"; None for complete series.
        dates_left: fraction of all dates that is left, 0..1.
        scores: scores as `evaluate` returns them.
    """

    until: str | None
    dates_left: float
    scores: dict[str, Any]


def truncate_data(data: DataModule, split: str, text: str, day: Day) -> DataModule:
    """Truncate the series of a split on a day, written as `text`; warn if all of them end before it.

    Raises:
        UsageError: the day is before the first date of a sample.
    """
    left, total = _count_dates(data.split(split), {text: day})
    if left[text] == total:
        _warn_complete(text)
    return data.truncate(day)


def score_season(
    model: Model, data: DataModule, split: str, days: Mapping[str, Day], runtime: Runtime, log: Log
) -> list[SeasonPoint]:
    """Score a model on series that end on each of some days, and last on complete series.

    The model is not trained again. Only dates after the day are left out: the date encoding "days" still counts from
    the first date of the complete series, and a fixed-length network gets padding.

    Args:
        model: the model.
        data: data module with the split.
        split: name of the split.
        days: days by their spelling, as `parse_days` returns them.
        runtime: device and workers.
        log: takes a line before each scoring.

    Raises:
        UsageError: a day is before the first date of a sample.
        CropzooError: as `evaluate`.
    """
    left, total = _count_dates(data.split(split), days)
    log("scoring complete series")
    last = SeasonPoint(None, 1.0, evaluate(model, data, split, runtime))
    points = []
    for text, day in days.items():
        if left[text] == total:
            _warn_complete(text)
            points.append(SeasonPoint(text, 1.0, last.scores))
            continue
        log(f"scoring until {text}, {100 * left[text] / total:.0f} % of the dates")
        points.append(SeasonPoint(text, left[text] / total, evaluate(model, data.truncate(day), split, runtime)))
    return [*points, last]


def _warn_complete(day: str) -> None:
    _log.warning("--until %s: no series has a date after it; its scores are those of complete series", day)


def _count_dates(samples: Sequence[Sample], days: Mapping[str, Day]) -> tuple[dict[str, int], int]:
    """Count the dates up to each day, and all dates, over the samples; each sample is read once.

    Raises:
        UsageError: a day leaves a sample without a date.
    """
    left, total = dict.fromkeys(days, 0), 0
    for number in range(len(samples)):
        sample = samples[number]
        total += len(sample.dates)
        for text, day in days.items():
            found = count_until(sample.dates, day)
            if not found and len(sample.dates):
                first, last = (EPOCH + timedelta(days=int(sample.dates[end])) for end in (0, -1))
                raise UsageError(
                    f"--until {text}; sample {sample.name!r} has no date by then, its series goes from {first} to "
                    f"{last}; give a later day"
                )
            left[text] += found
    return left, total


_COLUMNS = ("oa", "miou", "macro_f1")


def write_season_table(path: Path, points: Sequence[SeasonPoint]) -> None:
    """Write a CSV file with one row per day and the complete series last, with an empty day; scores from 0 to 1.

    Raises:
        CropzooError: the file cannot be written.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["until", "dates_left", *_COLUMNS, "boundary_miou", "interior_miou", "parcel_accuracy", "ece"])
    for point in points:
        scores = point.scores
        regions = [(scores["boundary"] or {}).get("miou"), (scores["interior"] or {}).get("miou")]
        parcels = (scores["parcels"] or {}).get("accuracy")
        rows.writerow(
            [point.until, point.dates_left, *(scores[key] for key in _COLUMNS), *regions, parcels, scores["ece"]]
        )
    write_text(path, text.getvalue())


_LINES = (("oa", "overall accuracy", "#23704c"), ("miou", "mean IoU", "#b4560f"), ("macro_f1", "macro F1", "#2f7fd6"))

_WIDTH, _HEIGHT = 8.0, 4.2
"""Inches."""

_LEAP_YEAR = 2000
"""Year in which days without a year are drawn."""

_LABEL_WIDTH = 0.09
"""Width of a tick label as a fraction of the axis."""


def save_season_curve(path: Path, points: Sequence[SeasonPoint], title: str) -> None:
    """Write a PNG chart of overall accuracy, mean IoU and macro F1 by the last day of the series, %.

    Dashed lines show the scores on complete series. Tick labels show the fraction of the dates that is left.

    Args:
        path: path of the file.
        points: one or more days in order, then the complete series.
        title: title of the chart.

    Raises:
        CropzooError: the file cannot be written.
    """
    *early, complete = points
    days, texts = zip(*(_day(point) for point in early), strict=True)
    figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=144, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    numbers = [day.toordinal() for day in days]
    for key, name, color in _LINES:
        end = 100 * complete.scores[key]
        label = f"{name} (complete series {end:.1f})"
        axes.plot(numbers, [100 * p.scores[key] for p in early], color=color, linewidth=2, marker="o", label=label)
        axes.axhline(end, color=color, linewidth=1, linestyle=(0, (5, 4)), alpha=0.8)
    shown = _labeled_days(numbers)
    axes.set_xticks(
        [numbers[index] for index in shown],
        [f"{texts[index]}\n{100 * early[index].dates_left:.0f} %" for index in shown],
    )
    axes.set_xlabel("last day of the series, with the share of dates that is left", fontsize=9, color="#555555")
    axes.set_title(f"{title}, %", fontsize=10, color="#333333", loc="left")
    axes.tick_params(labelsize=8, colors="#555555")
    axes.grid(axis="y", color="#e5e5e5", linewidth=0.7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.legend(loc="lower center", ncols=len(_LINES), frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    with atomic_write(path) as scratch:
        figure.savefig(scratch, format="png")


def _day(point: SeasonPoint) -> tuple[date, str]:
    """Position of a point on the axis, and its tick label."""
    parsed = parse_day("--until", point.until or "")
    day = parsed.in_year(parsed.year or _LEAP_YEAR)
    return day, f"{day.day} {day:%b %Y}" if parsed.year else f"{day.day} {day:%b}"


def _labeled_days(numbers: Sequence[int]) -> list[int]:
    """Indices of the days whose tick labels do not overlap, from the first on."""
    room = _LABEL_WIDTH * max(numbers[-1] - numbers[0], 1)
    shown = [0]
    for index in range(1, len(numbers)):
        if numbers[index] - numbers[shown[-1]] >= room:
            shown.append(index)
    return shown
