"""Sampling designs: how the points of a reference sample were drawn, as needed to estimate from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from cropzoo.errors import CropzooError

FORMAT = 1
"""Version of the stored design; a reader refuses newer ones."""

STRATIFIED, SIMPLE, TWO_STAGE = "stratified", "simple", "two-stage"
KINDS = (STRATIFIED, SIMPLE, TWO_STAGE)
PIXEL, PARCEL = "pixel", "parcel"
UNITS = (PIXEL, PARCEL)


@dataclass(frozen=True)
class Stratum:
    """Part of the map from which a known number of units was drawn at random.

    In a two-stage design, blocks were drawn from the stratum with equal probabilities, and units from the blocks.

    Args:
        number: Number from 1. Numbers are shuffled, so that they do not reveal the class.
        units: Number of pixels or parcels in the map, N.
        sampled: Number of drawn pixels or parcels, n.
        area: Area of all units, square meters.
        map_class: Label index of the class that the map has in all units; None if the stratum has several classes.
        region: Name of the region; None without regions.
        blocks: Number of blocks; None unless the design has two stages.
        sampled_blocks: Number of drawn blocks; None unless the design has two stages.
    """

    number: int
    units: int
    sampled: int
    area: float
    map_class: int | None = None
    region: str | None = None
    blocks: int | None = None
    sampled_blocks: int | None = None


@dataclass(frozen=True)
class SamplingDesign:
    """All that is known about how a reference sample was drawn.

    Args:
        kind: "stratified" (strata are classes of the map, or classes within regions), "simple" (one stratum) or
            "two-stage" (blocks, then units in the blocks; strata are regions, or there is one).
        unit: "pixel" or "parcel".
        seed: Seed of the random numbers.
        map_name: File name of the map.
        map_sha256: SHA-256 of the map, 64 hexadecimal digits.
        classes: Names of the map's classes by label index.
        crs: CRS of the map and of the points, as a text that pyproj reads.
        shape: Rows and columns of the map.
        transform: First six coefficients of the map's affine transform.
        strata: All strata, also those from which nothing was drawn.
        allocation: How the units were allocated to the strata, such as "neyman".
        targets: Requested standard errors by name, such as {"overall": 0.015, "maize": 0.05}.
        regions: File name of the regions that cross the strata; None without regions.
        parcels: File name of the parcels that are the units; None for pixels.
        block_side: Side of the blocks in pixels; None unless the design has two stages.
        version: Version of cropzoo that drew the sample.
        pixels: Numbers of the drawn pixels, row * columns + column, by number of the point from 1; empty for parcels.

    Raises:
        CropzooError: The values contradict each other.
    """

    kind: str
    unit: str
    seed: int
    map_name: str
    map_sha256: str
    classes: tuple[str, ...]
    crs: str
    shape: tuple[int, int]
    transform: tuple[float, float, float, float, float, float]
    strata: tuple[Stratum, ...]
    allocation: str = "proportional"
    targets: Mapping[str, float] = field(default_factory=dict)
    regions: str | None = None
    parcels: str | None = None
    block_side: int | None = None
    version: str = ""
    pixels: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if problem := _find_problem(self):
            raise CropzooError(
                f"sampling design of the map {self.map_name!r}; {problem}; use the points file as `cropzoo sample` "
                "wrote it"
            )

    @property
    def units(self) -> int:
        """Number of units in the map."""
        return sum(each.units for each in self.strata)

    @property
    def sampled(self) -> int:
        """Number of drawn units."""
        return sum(each.sampled for each in self.strata)

    @property
    def area(self) -> float:
        """Area of all units, square meters."""
        return sum(each.area for each in self.strata)

    def stratum(self, number: int) -> Stratum:
        """Stratum of a number; raises KeyError if there is none."""
        for each in self.strata:
            if each.number == number:
                return each
        raise KeyError(number)

    def to_json(self) -> dict[str, Any]:
        """The design as values of JSON by name."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], subject: str) -> SamplingDesign:
        """Design from `to_json`.

        Args:
            values: Values by name; unknown names are ignored.
            subject: The file, for messages.

        Raises:
            CropzooError: A value is missing, has a wrong type, or contradicts another one.
        """
        stored = values.get("format")
        if not isinstance(stored, int) or stored > FORMAT:
            raise CropzooError(
                f"{subject}; its sampling design has the format {stored!r}, and this version of cropzoo reads formats "
                f"up to {FORMAT}; update cropzoo"
            )
        try:
            strata = tuple(Stratum(**_pick(Stratum, each)) for each in values["strata"])
            known = {
                **_pick(cls, values),
                "strata": strata,
                "classes": tuple(values["classes"]),
                "shape": tuple(values["shape"]),
                "transform": tuple(values["transform"]),
                "pixels": tuple(values.get("pixels", ())),
            }
            return cls(**known)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CropzooError(
                f"{subject}; its sampling design cannot be read ({type(error).__name__}: {error}); use the points file "
                "as `cropzoo sample` wrote it"
            ) from error


def _pick(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    names = {each.name for each in fields(cls)}
    return {name: value for name, value in values.items() if name in names}


def _find_problem(design: SamplingDesign) -> str:
    """Contradiction in a design; empty if there is none."""
    if design.kind not in KINDS:
        return f"its kind is {design.kind!r}, which is none of {', '.join(KINDS)}"
    if design.unit not in UNITS:
        return f"its unit is {design.unit!r}, which is none of {', '.join(UNITS)}"
    if len(design.map_sha256) != 64:
        return "its checksum of the map is no SHA-256"
    if not design.classes or not all(isinstance(name, str) for name in design.classes):
        return "it has no names of classes"
    if len(design.shape) != 2 or len(design.transform) != 6:
        return "it has no grid"
    if not design.strata:
        return "it has no strata"
    if len({each.number for each in design.strata}) < len(design.strata):
        return "two of its strata have one number"
    if design.pixels and len(design.pixels) != design.sampled:
        return f"it has {len(design.pixels)} pixels of {design.sampled} points"
    for each in design.strata:
        if problem := _find_stratum_problem(each, design):
            return f"stratum {each.number!r} {problem}"
    return ""


def _find_stratum_problem(stratum: Stratum, design: SamplingDesign) -> str:
    for name in ("number", "units", "sampled"):
        if not isinstance(value := getattr(stratum, name), int):
            return f"has {value!r} as {name}, which is no integer"
    if not 0 <= stratum.sampled <= stratum.units:
        return f"has {stratum.sampled} drawn of {stratum.units} units"
    if not (math.isfinite(stratum.area) and stratum.area > 0):
        return f"has an area of {stratum.area} square meters"
    if stratum.map_class is not None and not 0 <= stratum.map_class < len(design.classes):
        return f"has the class {stratum.map_class}, of {len(design.classes)} classes"
    if (stratum.map_class is None) == (design.kind == STRATIFIED):
        return "has no class" if design.kind == STRATIFIED else f"has a class in a {design.kind} design"
    if design.kind == TWO_STAGE:
        blocks, sampled = stratum.blocks, stratum.sampled_blocks
        if not (isinstance(blocks, int) and isinstance(sampled, int) and 0 <= sampled <= blocks):
            return f"has {sampled} drawn of {blocks} blocks"
    return ""
