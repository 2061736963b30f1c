"""What is told of a table of parcels: how many, how far declarations and map agree, where to look first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cropzoo.geo.vector.writer import VectorFile
from cropzoo.inference.mapping.map_file import MapFile
from cropzoo.inference.parcels.columns import Found, is_ours
from cropzoo.inference.parcels.declared import EMPTY, UNKNOWN
from cropzoo.inference.parcels.majority import confusion


@dataclass(frozen=True)
class Suspect:
    """A declaration that the map finds unlikely; `pixels` are those that count."""

    name: str
    declared: str
    mapped: str
    chance: float
    share: float
    pixels: float
    hectares: float


@dataclass(frozen=True)
class Summary:
    """What the parcels came to.

    Args:
        parcels: all of them.
        mapped: those of which the map shows something.
        unseen: those of which it shows nothing: outside it, or without a clear date.
        no_polygon: of the unseen, those that have no polygon.
        hectares: area of the mapped parcels by class of their majority.
        without_crop: parcels that declare none.
        unknown: declared crops that the map has no class for, and how many parcels declare each.
        compared, agreeing: parcels; compared_hectares, agreeing_hectares: their area.
        confusion: parcels by declared (row) and mapped class, over `classes`; confusion_hectares: their area.
        classes: names.
        edge_only: with --interior, parcels without a pixel wholly inside, decided by their edge.
        suspects: the first ones.
        replaced: columns of the parcels that the new ones took the place of.
        changed: what the format of the output could not hold as it is, a line each.
    """

    SUSPECTS: ClassVar[int] = 10

    parcels: int
    mapped: int
    unseen: int
    no_polygon: int
    hectares: Mapping[str, float]
    classes: tuple[str, ...]
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
    suspects: tuple[Suspect, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return asdict(self)


def summarize(
    source: MapFile,
    vectors: VectorFile,
    found: Found,
    rank: NDArray[np.int64] | None,
    names: Sequence[str],
    unknown: Mapping[str, int],
    no_polygon: int,
) -> Summary:
    """The summary of a table.

    Args:
        source, vectors: what it was made of.
        found: what the map says of each parcel.
        rank: of the suspects; None if nothing was declared.
        names: of the first suspects, in their order.
        unknown: declared crops without a class.
        no_polygon: parcels without one.
    """
    classes = tuple(each.name for each in source.classes)
    seen = found.crop >= 0
    area = np.bincount(found.crop[seen], found.hectares[seen], len(classes))
    told: dict[str, Any] = {
        "parcels": len(seen),
        "mapped": int(seen.sum()),
        "unseen": int((~seen).sum()),
        "no_polygon": no_polygon,
        "hectares": {name: round(float(value), 2) for name, value in zip(classes, area, strict=True)},
        "classes": classes,
        "replaced": tuple(name for name in vectors.columns if is_ours(name)),
    }
    if rank is None or found.declared is None or found.chance is None:
        return Summary(**told)
    counts = confusion(found.declared, found.crop, len(classes), np.ones(len(seen)))
    areas = confusion(found.declared, found.crop, len(classes), found.hectares)
    return Summary(
        **told,
        without_crop=int((found.declared == EMPTY).sum()),
        unknown=dict(unknown) if (found.declared == UNKNOWN).any() else {},
        compared=int(found.compared.sum()),
        agreeing=int(found.agrees.sum()),
        compared_hectares=round(float(found.hectares[found.compared].sum()), 2),
        agreeing_hectares=round(float(found.hectares[found.agrees].sum()), 2),
        confusion=counts.astype(int).tolist(),
        confusion_hectares=areas.round(2).tolist(),
        suspects=tuple(_suspects(found, rank, names, classes)),
    )


def _suspects(found: Found, rank: NDArray[np.int64], names: Sequence[str], classes: Sequence[str]) -> list[Suspect]:
    assert found.declared is not None
    assert found.chance is not None
    position = {int(rank[at]): int(at) for at in np.flatnonzero((rank > 0) & (rank <= len(names)))}
    return [
        Suspect(
            name=name,
            declared=classes[found.declared[at]],
            mapped=classes[found.crop[at]],
            chance=round(float(found.chance[at]), 4),
            share=round(float(found.share[at]), 4),
            pixels=round(float(found.pixels[at]), 1),
            hectares=round(float(found.hectares[at]), 2),
        )
        for name, at in ((name, position[number]) for number, name in enumerate(names, start=1))
    ]
