"""What a dataset hands out: numpy arrays as stored, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from cropzoo.plugins.renamed import CLASS_FIELDS, check_renamed

IGNORE = 255
"""The label of a pixel that no loss and no score looks at."""


@dataclass(frozen=True)
class LabelClass:
    """One class of a dataset: `code` is what the source data call it, `color` is "#rrggbb"."""

    name: str
    code: int
    color: str

    def __new__(cls, *values: Any, **fields: Any) -> Self:
        """A new class; an old name of a field is an error that says the new one."""
        check_renamed(fields, CLASS_FIELDS, "LabelClass")
        return super().__new__(cls)


@dataclass(frozen=True)
class Sample:
    """One item of a dataset. Arrays may be memory-mapped: nothing is read until it is sliced.

    Args:
        series: (T, C, H, W), integer or float, as stored.
        dates: (T,), int32, days since 1970-01-01, increasing.
        labels: (H, W), uint8 or int64, 255 = ignore; (sH, sW) when labels are s times finer.
        parcels: (H, W) like labels, int32 parcel ids, 0 = none.
        clear: (T, H, W), bool, False = cloud, shadow or no data.
        name: which sample this is, for messages and figures.
        place: how to find it on Earth, {"crs": "EPSG:32631", "transform": [a, b, c, d, e, f]}; empty if unknown. The
            pixel of the series whose upper left corner is at (row, column) lies at
            x = a * column + b * row + c, y = d * column + e * row + f, as in rasterio. "tile" may name the
            images and their year.
    """

    series: NDArray[Any]
    dates: NDArray[np.int32]
    labels: NDArray[Any] | None = None
    parcels: NDArray[np.int32] | None = None
    clear: NDArray[np.bool_] | None = None
    name: str = ""
    place: dict[str, Any] = field(default_factory=dict)

    @property
    def label_scale(self) -> int:
        """How many times finer the labels are than the series."""
        return 1 if self.labels is None else self.labels.shape[0] // self.series.shape[2]

    def crop(self, row: int, column: int, height: int, width: int) -> Sample:
        """The window of pixels that starts at (row, column), in pixels of the series."""
        scale = self.label_scale
        coarse = np.s_[..., row : row + height, column : column + width]
        fine = np.s_[scale * row : scale * (row + height), scale * column : scale * (column + width)]
        return replace(
            self,
            series=self.series[coarse],
            labels=None if self.labels is None else self.labels[fine],
            parcels=None if self.parcels is None else self.parcels[fine],
            clear=None if self.clear is None else self.clear[coarse],
            place=_moved(self.place, row, column),
        )

    def take_dates(self, keep: NDArray[np.intp]) -> Sample:
        """The same place at some of its dates; `keep` holds increasing positions, and all of them copy nothing."""
        if len(keep) == len(self.dates):
            return self
        return replace(
            self,
            series=self.series[keep],
            dates=self.dates[keep],
            clear=None if self.clear is None else self.clear[keep],
        )


def _moved(place: dict[str, Any], row: int, column: int) -> dict[str, Any]:
    """The place of a window of another that starts at (row, column)."""
    if not place:
        return place
    a, b, c, d, e, f = place["transform"]
    return {**place, "transform": [a, b, c + a * column + b * row, d, e, f + d * column + e * row]}


class Dataset(Protocol):
    """What the factory of a `DatasetSpec` returns.

    Attributes:
        bands: names of the bands of `series`, in order.
        classes: by label index; none for unlabeled series.
        scale: reflectance (or the unit that statistics are in) of one stored unit.
        mean, std: per band, of scaled values, from the training split alone.
        citation: who made the data, for the model card; empty if nobody need be cited.
    """

    bands: tuple[str, ...]
    classes: tuple[LabelClass, ...]
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    citation: str

    def split(self, name: str) -> Sequence[Sample]:
        """The samples of one split; reading happens in `__getitem__`.

        Raises:
            UnknownName: for a split that the dataset does not have.
        """
        ...
