"""How good a checkpoint is while the season still grows: its scores on series that end early."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cropzoo.data.dates import EPOCH, Day, parse_day
from cropzoo.data.sample import Sample
from cropzoo.errors import CropzooError, UsageError
from cropzoo.evaluation.evaluate import Trial, score_trial
from cropzoo.io import Log, atomic_write, write_text
from cropzoo.runtime import Runtime

_log = logging.getLogger("cropzoo")


@dataclass(frozen=True)
class SeasonPoint:
    """The scores of series that end on a day.

    Args:
        until: the day as it was asked for, "06-15" or "2019-06-15"; None for the whole series.
        dates_left: dates that are left, of all that the samples have, 0..1.
        scores: as `Scorer.compute` returns them.
    """

    until: str | None
    dates_left: float
    scores: dict[str, Any]


class Until(Sequence[Sample]):
    """Samples without their dates after a day.

    Args:
        samples: of a split.
        day: the last one that counts; without a year, that of the year in which a sample's own series ends.
    """

    def __init__(self, samples: Sequence[Sample], day: Day) -> None:
        self.samples, self.day = samples, day

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, number: Any) -> Any:
        sample = self.samples[number]
        return sample.take_dates(np.arange(count_until(sample.dates, self.day)))


def count_until(dates: NDArray[np.int32], day: Day) -> int:
    """How many of a series' dates, (T,), days since 1970-01-01, lie on the day or before it."""
    if not len(dates):
        return 0
    year = day.year or (EPOCH + timedelta(days=int(dates[-1]))).year
    return int(np.searchsorted(dates, (day.in_year(year) - EPOCH).days, side="right"))


def trial_until(trial: Trial, text: str, day: Day) -> Trial:
    """The same model on series that end on a day, which is written as `text`; warns if all end before it.

    Raises:
        UsageError: the day lies before the first date of a sample.
        CropzooError: there is no sample.
    """
    left, whole = _count(trial.samples, {text: day})
    if left[text] == whole:
        _warn(text)
    return replace(trial, samples=Until(trial.samples, day))


def score_season(trial: Trial, days: Mapping[str, Day], runtime: Runtime, tell: Log) -> list[SeasonPoint]:
    """The scores of one model on series that end on each of these days, and on the whole series, which comes last.

    The model is not trained again. Dates after the day are left out and all else stays: what "days" count from is the
    first date of the whole series, and a fixed-length network gets padding.

    Args:
        trial: model and split.
        days: by how they are written, as `parse_days` returns them.
        runtime: device and workers.
        tell: takes a line before each scoring.

    Raises:
        UsageError: a day lies before the first date of a sample.
        CropzooError: as `evaluate`.
    """
    left, whole = _count(trial.samples, days)
    tell("scoring the whole series")
    last = SeasonPoint(None, 1.0, score_trial(trial, runtime))
    points = []
    for text, day in days.items():
        if left[text] == whole:
            _warn(text)
            points.append(SeasonPoint(text, 1.0, last.scores))
            continue
        tell(f"scoring until {text}, {100 * left[text] / whole:.0f} % of the dates")
        scores = score_trial(replace(trial, samples=Until(trial.samples, day)), runtime)
        points.append(SeasonPoint(text, left[text] / whole, scores))
    return [*points, last]


def _warn(day: str) -> None:
    _log.warning("--until %s: no series has a date after it; its scores are those of the whole series", day)


def _count(samples: Sequence[Sample], days: Mapping[str, Day]) -> tuple[dict[str, int], int]:
    """The dates up to each day and all dates, summed over the samples, each read once.

    Raises:
        UsageError: a day leaves a sample without a date.
        CropzooError: there is no sample.
    """
    if not len(samples):
        raise CropzooError("scoring a split; it has no sample; choose another split")
    left, whole = dict.fromkeys(days, 0), 0
    for number in range(len(samples)):
        sample = samples[number]
        whole += len(sample.dates)
        for text, day in days.items():
            found = count_until(sample.dates, day)
            if not found and len(sample.dates):
                first, last = (EPOCH + timedelta(days=int(sample.dates[end])) for end in (0, -1))
                raise UsageError(
                    f"--until {text}; sample {sample.name!r} has no date by then, its series goes from {first} to "
                    f"{last}; give a later day"
                )
            left[text] += found
    return left, whole


_COLUMNS = ("oa", "miou", "macro_f1")


def write_season_table(path: Path, points: Sequence[SeasonPoint]) -> None:
    """Write a CSV file with a row for each day, the whole series last, its day empty; scores from 0 to 1.

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


if TYPE_CHECKING:
    pass

_LINES = (("oa", "overall accuracy", "#23704c"), ("miou", "mean IoU", "#b4560f"), ("macro_f1", "macro F1", "#2f7fd6"))

_WIDTH, _HEIGHT = 8.0, 4.2
"""Inches."""

_LEAP_YEAR = 2000
"""Where days of any year are drawn."""

_ROOM = 0.09
"""Share of the axis that a tick's text needs."""


def save_season_curve(path: Path, points: Sequence[SeasonPoint], title: str) -> None:
    """Write a PNG: overall accuracy, mean IoU and macro F1 by the day that the series end on, %.

    Dashed lines show what the whole series gives. Under each day stands the share of the dates that is left.

    Args:
        path: the file; what stood there is replaced as a whole.
        points: one or more days in order, then the whole series.
        title: what was scored on what.

    Raises:
        CropzooError: when the file cannot be written.
    """
    *grown, whole = points
    days, texts = zip(*(_day(point) for point in grown), strict=True)
    figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=144, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    numbers = [day.toordinal() for day in days]
    for key, name, color in _LINES:
        end = 100 * whole.scores[key]
        label = f"{name} (whole series {end:.1f})"
        axes.plot(numbers, [100 * p.scores[key] for p in grown], color=color, linewidth=2, marker="o", label=label)
        axes.axhline(end, color=color, linewidth=1, linestyle=(0, (5, 4)), alpha=0.8)
    shown = _apart(numbers)
    axes.set_xticks(
        [numbers[index] for index in shown],
        [f"{texts[index]}\n{100 * grown[index].dates_left:.0f} %" for index in shown],
    )
    axes.set_xlabel("last day of the series; below it the share of the dates that is left", fontsize=9, color="#555555")
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
    """Where a point stands, and the text below it."""
    asked = parse_day("--until", point.until or "")
    day = asked.in_year(asked.year or _LEAP_YEAR)
    return day, f"{day.day} {day:%b %Y}" if asked.year else f"{day.day} {day:%b}"


def _apart(numbers: Sequence[int]) -> list[int]:
    """Positions of the days whose texts do not run into each other, from the first on."""
    room = _ROOM * max(numbers[-1] - numbers[0], 1)
    shown = [0]
    for index in range(1, len(numbers)):
        if numbers[index] - numbers[shown[-1]] >= room:
            shown.append(index)
    return shown
