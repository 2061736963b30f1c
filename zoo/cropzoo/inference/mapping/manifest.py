"""The manifest of a map: everything needed to check, resume and assemble its chunks, stored as JSON with them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rasterio import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError

from cropzoo.data.legend import drop_made_up_codes
from cropzoo.data.model_scores import is_score_tag
from cropzoo.data.sample import HEX_COLOR, LabelClass
from cropzoo.errors import CropzooError
from cropzoo.geo.raster.grid import Grid, Window
from cropzoo.inference.mapping.outputs import check_outputs

_VERSION = 1


class PlacedChunk(Protocol):
    """A chunk of a plan: its number, from 0, and its window in the map's grid."""

    @property
    def number(self) -> int: ...

    @property
    def map_window(self) -> Window: ...


class PlannedMap(Protocol):
    """A plan of a map: its grid, its chunks and its digest. Where chunks overlap, the first one with data counts."""

    @property
    def grid(self) -> Grid: ...

    @property
    def chunks(self) -> Sequence[PlacedChunk]: ...

    @property
    def digest(self) -> str: ...


@dataclass(frozen=True)
class ManifestChunk:
    """A chunk of a map.

    Args:
        number: Number of the chunk, from 0.
        map_window: Window in the map's grid.
    """

    number: int
    map_window: Window


@dataclass(frozen=True)
class MapManifest:
    """A map in progress; assembles chunks without images and checkpoint.

    Args:
        grid: Grid of the map.
        chunks: Chunks of the map; where they overlap, the first one with data counts.
        digest: Digest of the plan and the settings.
        outputs: Names of the outputs, in the order of `OUTPUTS`.
        classes: Classes by label index.
        tags: Tags of the map's files.
        settings: Everything else that determines the bytes of the map, by the names that messages show.
    """

    grid: Grid
    chunks: tuple[ManifestChunk, ...]
    digest: str
    outputs: tuple[str, ...]
    classes: tuple[LabelClass, ...]
    tags: dict[str, str]
    settings: dict[str, Any]

    @classmethod
    def from_plan(
        cls,
        plan: PlannedMap,
        *,
        outputs: Sequence[str],
        classes: Sequence[LabelClass],
        tags: Mapping[str, str],
        settings: Mapping[str, Any] | None = None,
    ) -> MapManifest:
        """The manifest of a plan.

        Raises:
            UsageError: An unknown output, or too many classes.
        """
        return cls(
            grid=plan.grid,
            chunks=tuple(ManifestChunk(chunk.number, Window(*chunk.map_window)) for chunk in plan.chunks),
            digest=_digest(plan.digest, settings or {}),
            outputs=check_outputs(outputs, len(classes)),
            classes=tuple(classes),
            tags=dict(tags),
            settings=dict(settings or {}),
        )

    def as_dict(self) -> dict[str, Any]:
        """The manifest as plain data for JSON; the keys are those of earlier versions, so that their maps resume."""
        return {
            "version": _VERSION,
            "digest": self.digest,
            "decides": self.settings,
            "outputs": list(self.outputs),
            "codes": "source",
            "classes": [[each.name, each.code, each.color] for each in self.classes],
            "tags": self.tags,
            "grid": {
                "size": [self.grid.height, self.grid.width],
                "transform": list(self.grid.transform)[:6],
                "crs": self.grid.crs.to_wkt() if self.grid.crs else None,
            },
            "chunks": [[chunk.number, *chunk.map_window] for chunk in self.chunks],
        }

    @classmethod
    def from_dict(cls, value: Any, path: Path) -> MapManifest:
        """Parse and validate the data of a manifest file.

        Raises:
            CropzooError: The data are not valid; the message names the file.
        """
        try:
            value = upgrade_manifest(value)
            if value["version"] != _VERSION:
                raise ValueError(f"its version is {value['version']!r}, not {_VERSION}")
            return cls._parse(value)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, CRSError, CropzooError) as error:
            raise CropzooError(
                f"{str(path)!r} is not a valid map manifest ({error}); remove its folder and predict again"
            ) from error

    @classmethod
    def _parse(cls, value: Any) -> MapManifest:
        height, width = map(_integer, value["grid"]["size"])
        crs = value["grid"]["crs"]
        grid = Grid(height, width, Affine(*map(float, value["grid"]["transform"])), crs and CRS.from_wkt(crs))
        chunks = tuple(
            ManifestChunk(_integer(number), Window(*map(_integer, window))) for number, *window in value["chunks"]
        )
        for chunk in chunks:
            row, column, rows, columns = chunk.map_window
            if min(chunk.number, row, column) < 0 or min(rows, columns) < 1:
                raise ValueError(f"chunk {chunk.number} has the window {tuple(chunk.map_window)}")
            if row + rows > height or column + columns > width:
                raise ValueError(f"chunk {chunk.number} exceeds the map")
        classes = tuple(
            LabelClass(str(name), None if code is None else _integer(code), str(color))
            for name, code, color in value["classes"]
        )
        if not classes or not all(HEX_COLOR.fullmatch(each.color) for each in classes):
            raise ValueError("its classes must have colors such as '#aa33ff'")
        return cls(
            grid=grid,
            chunks=chunks,
            digest=str(value["digest"]),
            outputs=check_outputs([str(name) for name in value["outputs"]], len(classes)),
            classes=classes,
            tags={str(key): str(text) for key, text in value["tags"].items()},
            settings=dict(value["decides"]),
        )


def upgrade_manifest(value: Any) -> Any:
    """The data of a manifest file; without the codes that cropzoo may have made up if it was written before 0.2."""
    if not isinstance(value, dict) or "codes" in value:
        return value
    try:
        classes = drop_made_up_codes([LabelClass(name, code, color) for name, code, color in value["classes"]])
    except (KeyError, TypeError, ValueError):  # a damaged file, which the caller reports
        return value
    return {**value, "codes": "source", "classes": [[each.name, each.code, each.color] for each in classes]}


def list_differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Names of the differences between two manifests as dictionaries; settings and tags are named one by one.

    Tags of scores are not: they differ if the checkpoint does.
    """
    return list(dict.fromkeys(_differences(found, wanted))) or ["images"]


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    for group in ("decides", "tags"):
        former = found.get(group)
        former = former if isinstance(former, dict) else {}
        for key in (*wanted[group], *(each for each in former if each not in wanted[group])):
            if former.get(key) != wanted[group].get(key) and not is_score_tag(key):
                yield key.lower()
    for key in ("outputs", "classes", "grid"):
        if found.get(key) != wanted[key]:
            yield key


def _digest(plan: str, settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps([plan, settings]).encode()).hexdigest()


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise ValueError(f"{value!r} is not an integer")
    return value
