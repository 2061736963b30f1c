"""All that the parts of a map and their assembling need to know, as JSON beside the parts."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rasterio import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError

from cropzoo.data.sample import LabelClass
from cropzoo.errors import CropzooError
from cropzoo.geo.raster.grid import Grid, Window
from cropzoo.inference.mapping.outputs import check_outputs

_VERSION = 1
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


class Placed(Protocol):
    """A chunk: its number in the plan, from 0, and its window in the map's grid."""

    @property
    def number(self) -> int: ...

    @property
    def place(self) -> Window: ...


class Planned(Protocol):
    """A plan of a map: its grid, its chunks in the order in which they count where they overlap, and its digest."""

    @property
    def grid(self) -> Grid: ...

    @property
    def chunks(self) -> Sequence[Placed]: ...

    @property
    def digest(self) -> str: ...


@dataclass(frozen=True)
class Cell:
    """A chunk as far as assembling needs it."""

    number: int
    place: Window


@dataclass(frozen=True)
class Order:
    """A map that is being made; serves as its plan where parts are assembled without images and checkpoint.

    Args:
        grid: of the map.
        chunks: cells of it, in the order in which they count where they overlap.
        digest: of the plan and of all that decides.
        outputs: names, in the order of `OUTPUTS`.
        classes: by label index.
        tags: for the files of the map.
        decides: everything else that decides the bytes, by the name that a message may show.
    """

    grid: Grid
    chunks: tuple[Cell, ...]
    digest: str
    outputs: tuple[str, ...]
    classes: tuple[LabelClass, ...]
    tags: dict[str, str]
    decides: dict[str, Any]

    @classmethod
    def of(
        cls,
        plan: Planned,
        *,
        outputs: Sequence[str],
        classes: Sequence[LabelClass],
        tags: Mapping[str, str],
        decides: Mapping[str, Any] | None = None,
    ) -> Order:
        """The order of a plan.

        Raises:
            UsageError: an output that is none, or too many classes.
        """
        return cls(
            grid=plan.grid,
            chunks=tuple(Cell(chunk.number, Window(*chunk.place)) for chunk in plan.chunks),
            digest=_digest(plan.digest, decides or {}),
            outputs=check_outputs(outputs, len(classes)),
            classes=tuple(classes),
            tags=dict(tags),
            decides=dict(decides or {}),
        )

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "version": _VERSION,
            "digest": self.digest,
            "decides": self.decides,
            "outputs": list(self.outputs),
            "classes": [[each.name, each.code, each.color] for each in self.classes],
            "tags": self.tags,
            "grid": {
                "size": [self.grid.height, self.grid.width],
                "transform": list(self.grid.transform)[:6],
                "crs": self.grid.crs.to_wkt() if self.grid.crs else None,
            },
            "chunks": [[chunk.number, *chunk.place] for chunk in self.chunks],
        }

    @classmethod
    def from_dict(cls, value: Any, path: Path) -> Order:
        """What `as_dict` made, read from a file that anybody may have changed.

        Raises:
            CropzooError: naming the file.
        """
        try:
            if value["version"] != _VERSION:
                raise ValueError(f"its version is {value['version']!r}, not {_VERSION}")
            return cls._parse(value)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, CRSError, CropzooError) as error:
            raise CropzooError(
                f"{str(path)!r} is no order of a map ({error}); remove its folder and predict again"
            ) from error

    @classmethod
    def _parse(cls, value: Any) -> Order:
        height, width = map(_whole, value["grid"]["size"])
        crs = value["grid"]["crs"]
        grid = Grid(height, width, Affine(*map(float, value["grid"]["transform"])), crs and CRS.from_wkt(crs))
        cells = tuple(Cell(_whole(number), Window(*map(_whole, place))) for number, *place in value["chunks"])
        for cell in cells:
            row, column, rows, columns = cell.place
            if min(cell.number, row, column) < 0 or min(rows, columns) < 1:
                raise ValueError(f"chunk {cell.number} is {tuple(cell.place)}")
            if row + rows > height or column + columns > width:
                raise ValueError(f"chunk {cell.number} reaches beyond the map")
        classes = tuple(LabelClass(str(name), _whole(code), str(color)) for name, code, color in value["classes"])
        if not classes or not all(_COLOR.fullmatch(each.color) for each in classes):
            raise ValueError("its classes need colors like '#aa33ff'")
        return cls(
            grid=grid,
            chunks=cells,
            digest=str(value["digest"]),
            outputs=check_outputs([str(name) for name in value["outputs"]], len(classes)),
            classes=classes,
            tags={str(key): str(text) for key, text in value["tags"].items()},
            decides=dict(value["decides"]),
        )


def differing(found: Mapping[str, Any], order: Mapping[str, Any]) -> list[str]:
    """The names of what differs between two orders as dicts, those of `decides` and `tags` one by one."""
    return list(dict.fromkeys(_differing(found, order))) or ["images"]


def _differing(found: Mapping[str, Any], order: Mapping[str, Any]) -> Iterator[str]:
    for group in ("decides", "tags"):
        former = found.get(group)
        for key, value in order[group].items():
            if not isinstance(former, dict) or former.get(key) != value:
                yield key.lower()
    for key in ("outputs", "classes", "grid"):
        if found.get(key) != order[key]:
            yield key


def _digest(plan: str, decides: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps([plan, decides]).encode()).hexdigest()


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise ValueError(f"{value!r} is no whole number")
    return value
