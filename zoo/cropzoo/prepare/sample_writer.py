"""Writing the samples of a preparation: series, cloud mask and labels of each window."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from cropzoo.data.pastis.schema import clear_file, series_file
from cropzoo.data.pastis.writer import SeriesWriter, write_labels
from cropzoo.data.running_stats import RunningStats
from cropzoo.geo.raster.reader import StackReader, reading_environment
from cropzoo.prepare.inputs import PrepareInputs
from cropzoo.prepare.journal import Journal
from cropzoo.prepare.plan import PreparePlan
from cropzoo.prepare.windows import SampleWindow, bounding_window

SampleRecord = dict[str, Any]
"""What the journal stores about a written sample, as JSON."""

_CACHE_MB = 64
"""GDAL's cache of decoded pixels. Neighbors are read together, so only the border of their region is read again."""


def write_samples(shared: tuple[PreparePlan, Journal], numbers: Sequence[int]) -> list[SampleRecord]:
    """Write neighboring samples, and record each in the journal when it is complete.

    The images are read once for all samples, one date at a time, so that no block of a compressed file is decoded again
    for a neighbor, and memory holds one date.

    Args:
        shared: Plan, and journal of the output folder.
        numbers: Positions in the plan of neighboring samples of one stack and year.

    Returns:
        Journal record of each sample.

    Raises:
        CropzooError: A file that cannot be read, or a full disk.
    """
    plan, journal = shared
    statistics = _write_series(plan.inputs, [plan.samples[number] for number in numbers], journal.folder)
    records = []
    for number, found in zip(numbers, statistics, strict=True):
        record = _finish_sample(plan, number, found, journal.folder)
        journal.add_sample(record)
        records.append(record)
    return records


def _write_series(inputs: PrepareInputs, samples: Sequence[SampleWindow], folder: Path) -> list[RunningStats]:
    """Write series and cloud mask of each sample; returns statistics of their clear pixels, in stored units."""
    reader = _open_reader(inputs, samples[0].stack)
    dates = inputs.dates(samples[0])
    region = bounding_window([sample.window for sample in samples])
    bands = len(reader.bands)
    statistics = [RunningStats(bands) for _ in samples]
    with ExitStack() as stack, reading_environment(_CACHE_MB):
        writers = []
        for sample in samples:
            shape = (len(dates), bands, sample.window.height, sample.window.width)
            writers.append(stack.enter_context(SeriesWriter(folder, sample.id, shape, reader.dtype)))
        for date in dates:
            values, clear = reader.read_date(int(date), region)
            for sample, writer, found in zip(samples, writers, statistics, strict=True):
                row, column = sample.window.row - region.row, sample.window.column - region.column
                part = np.s_[..., row : row + sample.window.height, column : column + sample.window.width]
                writer.add(values[part], clear[part])
                found.add(values[part], clear[part])
    return statistics


def _finish_sample(plan: PreparePlan, number: int, statistics: RunningStats, folder: Path) -> SampleRecord:
    """Write the labels of a sample whose series is written; a sample without any clear pixel is removed."""
    sample, inputs = plan.samples[number], plan.inputs
    dates = inputs.stacks[sample.stack].dates[inputs.dates(sample)]
    record: SampleRecord = {"id": sample.id, "dates": dates.tolist(), "empty": statistics.count == 0}
    if statistics.count == 0:
        for path in (series_file(folder, sample.id), clear_file(folder, sample.id)):
            path.unlink()
        return record
    found = plan.labels(number)
    write_labels(folder, sample.id, found.labels, found.parcels, void=len(plan.legend.classes))
    positions, pixels = inputs.parcel_pixels(sample, found)
    return {
        **record,
        "moments": statistics.as_dict(),
        "conflicts": found.conflicts,
        "parcels": dict(zip(map(str, positions.tolist()), pixels.tolist(), strict=True)),
        "cover": float((found.parcels > 0).mean()),
    }


@lru_cache(maxsize=2)
def _open_reader(inputs: PrepareInputs, stack: int) -> StackReader:
    """Reader of a stack, cached with its open files for the next region."""
    return inputs.open_reader(stack)
