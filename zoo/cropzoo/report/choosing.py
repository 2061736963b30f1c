"""Which samples stand for many, and which part of a large one is shown."""

from __future__ import annotations

from collections.abc import Mapping

from cropzoo.samples import Sample


def spread(count: int, most: int) -> list[int]:
    """At most so many positions of `count`, evenly spread and increasing."""
    if count <= most:
        return list(range(count))
    return [int((place + 0.5) * count / most) for place in range(most)]


def shares(counts: Mapping[str, int], most: int) -> dict[str, int]:
    """How many of each group to take, `most` in all: equal parts, what one does not fill goes to the others."""
    taken = dict.fromkeys(counts, 0)
    while sum(taken.values()) < min(most, sum(counts.values())):
        for name, count in counts.items():
            if taken[name] < count and sum(taken.values()) < most:
                taken[name] += 1
    return taken


def middle(sample: Sample, largest: int) -> Sample:
    """The middle of a sample, at most so many pixels of the series on a side."""
    height, width = sample.series.shape[2:]
    if max(height, width) <= largest:
        return sample
    rows, columns = min(height, largest), min(width, largest)
    return sample.crop((height - rows) // 2, (width - columns) // 2, rows, columns)
