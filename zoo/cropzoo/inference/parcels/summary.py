"""Summary of zonal statistics: counts, areas, agreement of declarations with the map, and suspicious parcels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.classified_map import MapFile
from cropzoo.data.declared_crops import EMPTY, UNKNOWN
from cropzoo.data.model_scores import ModelScores
from cropzoo.data.parcel_majority import confusion
from cropzoo.data.regions import OUTSIDE
from cropzoo.geo.vector.source import VectorSource
from cropzoo.inference.parcels.columns import ParcelStatistics, is_statistics_column


@dataclass(frozen=True)
class SuspiciousParcel:
    """A declaration that is unlikely according to the map.

    Args:
        name: Name or number of the parcel.
        declared: Class of the declared crop.
        mapped: Majority class in the map.
        probability: Probability of the declared crop.
        share: Share of pixels of the majority class.
        pixels: Number of pixels used.
        hectares: Area of the parcel, ha.
        precision: Precision of `mapped` on the test split of the model, 0..1; None if unknown.
    """

    name: str
    declared: str
    mapped: str
    probability: float
    share: float
    pixels: float
    hectares: float
    precision: float | None = None


@dataclass(frozen=True)
class ParcelSummary:
    """Summary of the statistics of a file of parcels.

    Args:
        parcels: Number of parcels.
        mapped: Number of parcels where the map has data.
        unseen: Number of parcels outside the map or without data.
        no_polygon: Number of parcels without a polygon; they count as unseen.
        hectares: Area of the mapped parcels by majority class, ha.
        classes: Class names of the map.
        scores: Test scores of the model that predicted the map.
        edge_only: Number of parcels without a pixel completely inside, where only those were requested.
        replaced: Columns of the input that were replaced.
        changed: Changes that the output format made necessary, one line each.
        without_crop: Number of parcels without a declared crop.
        unknown: Number of parcels by declared crop that is none of the map's classes.
        compared: Number of parcels with a declared and a mapped crop.
        agreeing: Number of compared parcels whose crops are the same.
        compared_hectares: Area of the compared parcels, ha.
        agreeing_hectares: Area of the agreeing parcels, ha.
        confusion: Number of parcels by declared (row) and mapped class, in the order of `classes`.
        confusion_hectares: Area of parcels by declared (row) and mapped class, ha.
        suspects: The least likely declarations, at most `SUSPECTS`.
        regions: Area of the mapped parcels by region and majority class, ha; "outside" for parcels in no region. Empty
            without regions.
    """

    SUSPECTS: ClassVar[int] = 10

    parcels: int
    mapped: int
    unseen: int
    no_polygon: int
    hectares: Mapping[str, float]
    classes: tuple[str, ...]
    scores: ModelScores = field(default_factory=ModelScores)
    edge_only: int = 0
    replaced: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    without_crop: int = 0
    unknown: Mapping[str, int] | None = None
    compared: int = 0
    agreeing: int = 0
    compared_hectares: float = 0.0
    agreeing_hectares: float = 0.0
    confusion: Sequence[Sequence[int]] = ()
    confusion_hectares: Sequence[Sequence[float]] = ()
    suspects: tuple[SuspiciousParcel, ...] = ()
    regions: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The summary as plain data for JSON."""
        return asdict(self)


def summarize_parcels(
    source: MapFile,
    vectors: VectorSource,
    found: ParcelStatistics,
    rank: NDArray[np.int64] | None,
    names: Sequence[str],
    unknown: Mapping[str, int],
    no_polygon: int,
    regions: Sequence[str] = (),
) -> ParcelSummary:
    """Summarize the statistics of a file of parcels.

    Args:
        source: The map.
        vectors: The parcels.
        found: Statistics of each parcel.
        rank: Rank of suspicious parcels; None without declared crops.
        names: Names of the first suspicious parcels in order of their rank.
        unknown: Number of parcels by declared crop without a class.
        no_polygon: Number of parcels without a polygon.
        regions: Names of the regions.
    """
    classes = tuple(each.name for each in source.classes)
    seen = found.crop >= 0
    area = np.bincount(found.crop[seen], found.hectares[seen], len(classes))
    common: dict[str, Any] = {
        "parcels": len(seen),
        "mapped": int(seen.sum()),
        "unseen": int((~seen).sum()),
        "no_polygon": no_polygon,
        "hectares": {name: round(float(value), 2) for name, value in zip(classes, area, strict=True)},
        "classes": classes,
        "scores": source.scores,
        "regions": _sum_by_region(found, regions, classes),
        "replaced": tuple(name for name in vectors.columns if is_statistics_column(name)),
    }
    if rank is None or found.declared is None or found.probability is None:
        return ParcelSummary(**common)
    counts = confusion(found.declared, found.crop, len(classes), np.ones(len(seen)))
    areas = confusion(found.declared, found.crop, len(classes), found.hectares)
    return ParcelSummary(
        **common,
        without_crop=int((found.declared == EMPTY).sum()),
        unknown=dict(unknown) if (found.declared == UNKNOWN).any() else {},
        compared=int(found.compared.sum()),
        agreeing=int(found.agrees.sum()),
        compared_hectares=round(float(found.hectares[found.compared].sum()), 2),
        agreeing_hectares=round(float(found.hectares[found.agrees].sum()), 2),
        confusion=counts.astype(int).tolist(),
        confusion_hectares=areas.round(2).tolist(),
        suspects=tuple(_suspects(found, rank, names, classes, source.scores.precision)),
    )


def _sum_by_region(
    found: ParcelStatistics, regions: Sequence[str], classes: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Area of the mapped parcels by region and majority class, ha."""
    if found.region is None:
        return {}
    seen = found.crop >= 0
    region = np.where(found.region < 0, len(regions), found.region)[seen]
    names = [*regions, *([OUTSIDE] if (region == len(regions)).any() else [])]
    cells = np.bincount(region * len(classes) + found.crop[seen], found.hectares[seen], len(names) * len(classes))
    areas = cells.reshape(len(names), len(classes)).round(2).tolist()
    return {name: dict(zip(classes, row, strict=True)) for name, row in zip(names, areas, strict=True)}


def _suspects(
    found: ParcelStatistics,
    rank: NDArray[np.int64],
    names: Sequence[str],
    classes: Sequence[str],
    precision: Mapping[str, float],
) -> list[SuspiciousParcel]:
    assert found.declared is not None
    assert found.probability is not None
    position = {int(rank[at]): int(at) for at in np.flatnonzero((rank > 0) & (rank <= len(names)))}
    return [
        SuspiciousParcel(
            name=name,
            declared=classes[found.declared[at]],
            mapped=classes[found.crop[at]],
            probability=round(float(found.probability[at]), 4),
            share=round(float(found.share[at]), 4),
            pixels=round(float(found.pixels[at]), 1),
            hectares=round(float(found.hectares[at]), 2),
            precision=precision.get(classes[found.crop[at]]),
        )
        for name, at in ((name, position[number]) for number, name in enumerate(names, start=1))
    ]
