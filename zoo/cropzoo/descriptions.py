"""What there is to tell of a dataset, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cropzoo.samples import LabelClass


@dataclass(frozen=True)
class SplitDescription:
    """One split. What needs samples is None, or empty, where they were not read or there are none.

    Args:
        name: of the split.
        samples: how many it has.
        pixels: of the labels, ignored ones included; of the images where nothing is labelled.
        classes: labelled pixels by class, in the order of the dataset's classes; empty without labels.
        dates: the fewest, the median and the most dates of a sample.
        first, last: the first and the last day, "YYYY-MM-DD".
        clear: share of clear pixels over all dates; None where there is no cloud mask.
    """

    name: str
    samples: int
    pixels: int | None = None
    classes: tuple[int, ...] = ()
    dates: tuple[int, float, int] | None = None
    first: str = ""
    last: str = ""
    clear: float | None = None

    @property
    def ignored(self) -> int | None:
        """Pixels that no loss and no score looks at; None without labels."""
        return self.pixels - sum(self.classes) if self.classes and self.pixels is not None else None


@dataclass(frozen=True)
class Acquisition:
    """One day over one tile: share of clear pixels (None without a cloud mask), and how many samples have that day."""

    day: str
    clear: float | None
    samples: int


@dataclass(frozen=True)
class DatasetDescription:
    """What there is to tell of a dataset; every field is plain data.

    Args:
        bands: names in order; `mean` and `std` of their scaled values, empty where no sample was read.
        scale: reflectance of one stored unit.
        stored: type of the stored numbers, such as "uint16".
        classes: by label index.
        label_scale: how many times finer than the images the labels are; None without labels.
        sizes: (height, width, samples), the most frequent first.
        crs: of the samples that say where they lie.
        citation: who made the data.
        splits: in the order that was asked for.
        acquisitions: by tile, by day; the tile is the CRS where samples name none, empty where they have no place.
    """

    bands: tuple[str, ...]
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    stored: str
    classes: tuple[LabelClass, ...]
    label_scale: int | None
    sizes: tuple[tuple[int, int, int], ...]
    crs: tuple[str, ...]
    citation: str
    splits: tuple[SplitDescription, ...]
    acquisitions: Mapping[str, tuple[Acquisition, ...]]

    @property
    def samples(self) -> int:
        """How many samples all splits have."""
        return sum(split.samples for split in self.splits)

    def as_dict(self) -> dict[str, Any]:
        """Everything, for `--json`."""
        return asdict(self)
