"""The `Dataset` protocol and its `Sample`: NumPy arrays as stored, without torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from cropzoo.plugins.renamed import CLASS_FIELDS, check_renamed

IGNORE = 255
"""Label of pixels that losses and scores ignore."""

HEX_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
"""Pattern of a color, "#rrggbb"."""


@dataclass(frozen=True)
class LabelClass:
    """One class of a dataset.

    Args:
        name: Name of the class.
        code: Code in the source data; None if the source names its crops by texts, which have no code.
        color: Color, "#rrggbb".
    """

    name: str
    code: int | None
    color: str

    def __new__(cls, *values: Any, **fields: Any) -> Self:
        """Create a class; an old field name raises an error that names the new one."""
        check_renamed(fields, CLASS_FIELDS, "LabelClass")
        return super().__new__(cls)


def format_code(label: LabelClass, missing: str = "") -> str:
    """Code of a class as text, `missing` if it has none."""
    return missing if label.code is None else str(label.code)


@dataclass(frozen=True)
class Sample:
    """One item of a dataset. Arrays may be memory-mapped: pixels are read when they are sliced.

    Args:
        series: (T, C, H, W), integer or float, as stored.
        dates: (T,), int32, days since 1970-01-01, increasing.
        labels: (H, W), uint8 or int64, 255 = ignore; (sH, sW) when labels are s times finer.
        parcels: (H, W) like labels, int32 parcel ids, 0 = none.
        clear: (T, H, W), bool, False = cloud, shadow or no data.
        name: Name of the sample, for messages and figures.
        place: Georeference, {"crs": "EPSG:32631", "transform": [a, b, c, d, e, f]}; empty if unknown. The upper left
            corner of the pixel (row, column) of the series has the coordinates x = a * column + b * row + c and
            y = d * column + e * row + f, as in rasterio. "tile" optionally names the tile of the images and their year.
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
        """Ratio of the label resolution to the resolution of the series."""
        return 1 if self.labels is None else self.labels.shape[0] // self.series.shape[2]

    def crop(self, row: int, column: int, height: int, width: int) -> Sample:
        """Return the window that starts at (row, column), in pixels of the series."""
        scale = self.label_scale
        coarse = np.s_[..., row : row + height, column : column + width]
        fine = np.s_[scale * row : scale * (row + height), scale * column : scale * (column + width)]
        return replace(
            self,
            series=self.series[coarse],
            labels=None if self.labels is None else self.labels[fine],
            parcels=None if self.parcels is None else self.parcels[fine],
            clear=None if self.clear is None else self.clear[coarse],
            place=_shift_place(self.place, row, column),
        )

    def take_dates(self, keep: NDArray[np.intp]) -> Sample:
        """Return the sample at the given dates.

        Args:
            keep: Increasing positions of the dates to keep. Nothing is copied if all dates are kept.
        """
        if len(keep) == len(self.dates):
            return self
        return replace(
            self,
            series=self.series[keep],
            dates=self.dates[keep],
            clear=None if self.clear is None else self.clear[keep],
        )


def _shift_place(place: dict[str, Any], row: int, column: int) -> dict[str, Any]:
    """Return the georeference of a window that starts at (row, column)."""
    if not place:
        return place
    a, b, c, d, e, f = place["transform"]
    return {**place, "transform": [a, b, c + a * column + b * row, d, e, f + d * column + e * row]}


class Dataset(Protocol):
    """Protocol of the object that the factory of a `DatasetSpec` returns.

    Attributes:
        bands: Names of the bands of `series`, in order.
        classes: Classes by label index; empty for unlabeled series.
        scale: Reflectance (or the unit of the statistics) of one stored unit.
        mean, std: Statistics of the scaled values of each band, computed from the training split only.
        citation: Citation of the data, for the model card; empty if none is needed.

    A dataset may have two further attributes, which checkpoints store for `cropzoo predict`; both are None if unknown.
    `clear_scl` are the classes of an SCL band that are clear. `offset` is the offset that was subtracted from all
    images, whatever they declare.
    """

    bands: tuple[str, ...]
    classes: tuple[LabelClass, ...]
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    citation: str

    def split(self, name: str) -> Sequence[Sample]:
        """Return the samples of one split; `__getitem__` reads a sample.

        Raises:
            UnknownName: The dataset has no such split.
        """
        ...
