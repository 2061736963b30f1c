"""Planning and drawing a reference sample of a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from cropzoo import __version__
from cropzoo.data.classified_map import MapFile, open_map
from cropzoo.data.map_parcels import PIECE, read_map_parcels
from cropzoo.data.mapped_areas import row_hectares
from cropzoo.data.regions import read_regions
from cropzoo.errors import UnknownName, UsageError
from cropzoo.evaluation.area.allocation import (
    ACCURACY,
    ALLOCATIONS,
    MINIMUM,
    NEYMAN,
    ExpectedErrors,
    Targets,
    allocate,
    divide,
    expect,
    expected_errors,
    find_size,
)
from cropzoo.evaluation.area.design import (
    KINDS,
    PARCEL,
    PIXEL,
    STRATIFIED,
    TWO_STAGE,
    SamplingDesign,
    Stratum,
)
from cropzoo.evaluation.area.draw import DrawnUnits, draw_parcels, draw_pixels
from cropzoo.evaluation.area.points import Points
from cropzoo.evaluation.area.strata import (
    SIDE,
    SQUARE_METERS,
    Frame,
    ParcelFrame,
    PixelFrame,
    Strata,
    count_parcels,
    count_pixels,
    make_strata,
)
from cropzoo.geo.raster.grid import Grid, format_crs
from cropzoo.geo.vector.source import VectorSource, open_source
from cropzoo.geo.vector.writer import split_range
from cropzoo.io import ProgressCallback, sha256_of

_BLOCKS = 50
"""Number of drawn blocks, if there are that many."""

_OVERALL = "overall"
"""Name of the target of the overall accuracy."""


@dataclass(frozen=True)
class SampleOptions:
    """Options of a reference sample.

    Args:
        kind: "stratified" by the classes of the map, "simple", or "two-stage".
        size: Number of units; None to find it from the targets.
        overall_error: Requested standard error of the overall accuracy; None for no such target.
        share_errors: Requested standard errors of shares of the area, such as "maize:0.01" (one percent of the map) or
            "maize:5%" (five percent of the mapped area of maize).
        allocation: "neyman" or "proportional".
        minimum: Smallest number of units of a class.
        accuracy: Expected user's accuracy of every class; None for the test precision in the map, or 0.8 without one.
        parcels: File of parcels, to draw parcels instead of pixels.
        regions: File of regions that cross the strata.
        region_column: Column with the names of the regions; "" for `name`, or their numbers.
        outside: Whether units in no region form a region of their own.
        blocks: Number of blocks of a two-stage design; None for 50, or all of fewer.
        block_side: Side of the blocks in pixels.
        correlation: Expected correlation of the units of a block.
        seed: Seed of the random numbers.
    """

    kind: str = STRATIFIED
    size: int | None = None
    overall_error: float | None = None
    share_errors: Sequence[str] = ()
    allocation: str = NEYMAN
    minimum: int = MINIMUM
    accuracy: float | None = None
    parcels: Path | None = None
    regions: Path | None = None
    region_column: str = ""
    outside: bool = False
    blocks: int | None = None
    block_side: int = 256
    correlation: float = 0.1
    seed: int = 0


@dataclass(frozen=True, eq=False)
class SamplePlan:
    """A sample before it is drawn.

    Args:
        options: Its options.
        strata: Strata of the map.
        sampled: (S,), int64, number of units of each stratum.
        errors: Standard errors that the sample promises.
        targets: Requested standard errors by name; empty if the number of units was given.
        notes: What the user should know, one sentence each.
    """

    options: SampleOptions
    strata: Strata
    sampled: NDArray[np.int64]
    errors: ExpectedErrors
    targets: dict[str, float]
    notes: tuple[str, ...]

    @property
    def frame(self) -> Frame:
        """The units of the map."""
        return self.strata.frame

    @property
    def source(self) -> MapFile:
        """The map."""
        return self.frame.source

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain data for JSON."""
        rows = zip(
            self.strata.labels,
            self.strata.units.tolist(),
            (self.strata.area / SQUARE_METERS).tolist(),
            self.sampled.tolist(),
            strict=True,
        )
        found, total = self.errors, float(self.frame.area.sum()) / SQUARE_METERS
        names = [each.name for each in self.source.classes]
        return {
            "design": self.options.kind,
            "unit": PIXEL if self.options.parcels is None else PARCEL,
            "size": found.size,
            "strata": [
                {"stratum": name, "units": units, "mapped_hectares": hectares, "sampled": sampled}
                for name, units, hectares, sampled in rows
            ],
            "targets": self.targets,
            "expected": {
                "overall_accuracy": found.overall,
                "overall_accuracy_se": found.overall_error,
                "classes": [
                    {
                        "name": name,
                        "share": share,
                        "share_se": error,
                        "hectares_se": error * total,
                        "users_accuracy": _number(accuracy),
                        "users_accuracy_se": _number(accuracy_error),
                    }
                    for name, share, error, accuracy, accuracy_error in zip(
                        names,
                        found.share.tolist(),
                        found.share_error.tolist(),
                        found.accuracy.tolist(),
                        found.accuracy_error.tolist(),
                        strict=True,
                    )
                ],
            },
            "notes": list(self.notes),
        }


def check_outputs(out: Path, inputs: Sequence[Path | None], overwrite: bool) -> None:
    """Check that a points file can be written.

    Args:
        out: Path of the points file.
        inputs: Paths of the files that are read.
        overwrite: Whether an existing file may be replaced.

    Raises:
        UsageError: The name does not end in .gpkg, or the path is a folder, an input file, or an existing file.
    """
    if out.suffix.lower() != ".gpkg":
        raise UsageError(f"--out {str(out)!r}; the points are written as a GeoPackage; give a name that ends in .gpkg")
    if out.is_dir():
        raise UsageError(f"--out {str(out)!r}; it is a folder; name a file, such as {str(out / 'points.gpkg')!r}")
    if out.exists() and any(each is not None and each.exists() and out.samefile(each) for each in inputs):
        raise UsageError(f"--out {str(out)!r}; it is an input file; choose another name")
    if out.exists() and not overwrite:
        raise UsageError(
            f"--out {str(out)!r}; it exists already, perhaps with labels; pass --overwrite to replace it, or choose "
            "another name"
        )


def plan_sample(
    map_path: Path, options: SampleOptions, advance: ProgressCallback = lambda done, total: None
) -> SamplePlan:
    """Count the strata of a map and allocate the units of a sample to them; nothing is drawn.

    Args:
        map_path: Path of a class map that `cropzoo predict` wrote.
        options: Options of the sample.
        advance: Called with (windows or parcels counted, total).

    Raises:
        UsageError: The options contradict each other, or the number of units is too small or too large.
        CropzooError: A file cannot be read, or the regions overlap or leave a gap.
    """
    _check_options(options)
    source = open_map(map_path)
    frame = _count_units(source, options, advance)
    strata = make_strata(frame, by_class=options.kind == STRATIFIED)
    if isinstance(frame, PixelFrame) and options.kind == TWO_STAGE:
        strata = _allocate_blocks(frame, strata, options.blocks)
    accuracy, notes = _expect_accuracy(source, frame, options.accuracy)
    expected = expect(strata, accuracy, options.correlation)
    targets = _parse_targets(options, source, frame)
    size = options.size or find_size(expected, targets, options.allocation, options.minimum)
    sampled = allocate(expected, size, options.allocation, options.minimum, targets)
    names = [each.name for each in source.classes]
    requested = {} if targets.overall is None else {_OVERALL: targets.overall}
    for name in frame.empty_regions:
        notes.append(f"region {name!r} has no {'parcel' if options.parcels else 'pixel'} with a class in the map")
    return SamplePlan(
        options=options,
        strata=strata,
        sampled=sampled,
        errors=expected_errors(expected, sampled),
        targets=requested | {names[kind]: error for kind, error in targets.shares.items()},
        notes=tuple(notes),
    )


def draw_sample(
    plan: SamplePlan, *, show_map_class: bool = False, advance: ProgressCallback = lambda done, total: None
) -> tuple[Points, SamplingDesign]:
    """Draw the units of a plan.

    Args:
        plan: The plan.
        show_map_class: Whether the points name the class that the map has there.
        advance: Called with (windows read, total).

    Returns:
        The units, numbered in random order, and the design.

    Raises:
        UsageError: The drawn blocks have too few pixels.
        CropzooError: A file cannot be read.
    """
    rng = np.random.default_rng(plan.options.seed)
    frame, strata, source = plan.frame, plan.strata, plan.source
    if isinstance(frame, PixelFrame):
        units = draw_pixels(frame, strata, plan.sampled, rng, advance)
        geometry, areas = _locate_pixels(units, source.grid)
    else:
        assert isinstance(frame, ParcelFrame)
        units = draw_parcels(frame, strata, plan.sampled, rng)
        geometry, areas = _read_parcels(units, source, frame.vectors)
    numbers = rng.permutation(len(strata)) + 1
    names = [each.name for each in source.classes]
    points = Points(
        ids=np.arange(1, len(units.strata) + 1),
        geometry=geometry,
        strata=numbers[units.strata],
        probabilities=units.probabilities,
        areas=areas,
        blocks=units.blocks,
        map_classes=tuple(names[cell % len(names)] for cell in units.cells) if show_map_class else None,
    )
    pixels = units.rows * source.grid.width + units.columns if isinstance(frame, PixelFrame) else np.zeros(0, np.int64)
    return points, replace(_describe(plan, numbers.tolist()), pixels=tuple(pixels.tolist()))


def _check_options(options: SampleOptions) -> None:
    for what, value, known in (("design", options.kind, KINDS), ("allocation", options.allocation, ALLOCATIONS)):
        if value not in known:
            raise UnknownName(what, value, known)
    has_targets = options.overall_error is not None or bool(options.share_errors)
    if (options.size is not None) == has_targets:
        both = "they exclude each other" if has_targets else "none of them is given"
        raise UsageError(
            f"--n, --target-se and --target; {both}; give the number of units by --n, or the standard errors that it "
            "must reach by --target-se and --target"
        )
    if options.kind == TWO_STAGE and options.parcels is not None:
        raise UsageError("--design two-stage; it draws pixels in blocks; leave --parcels out, or use another design")
    if options.kind != TWO_STAGE and options.blocks is not None:
        raise UsageError("--blocks; only the two-stage design has blocks; pass --design two-stage, or leave it out")
    if options.regions is None and (options.outside or options.region_column):
        raise UsageError("--outside or --region-column; there are no regions; give their file by --strata")


def _count_units(source: MapFile, options: SampleOptions, advance: ProgressCallback) -> Frame:
    regions = None
    if options.regions is not None:
        regions = read_regions(options.regions, source.grid, options.region_column)
    if options.parcels is not None:
        vectors = open_source(options.parcels, encoding="latin-1")  # reads any texts, of which none is used
        return count_parcels(source, vectors, regions, outside=options.outside, advance=advance)
    side = options.block_side if options.kind == TWO_STAGE else SIDE
    return count_pixels(source, regions, outside=options.outside, side=side, advance=advance)


def _allocate_blocks(frame: PixelFrame, strata: Strata, blocks: int | None) -> Strata:
    """The strata with the numbers of their blocks and of those to draw."""
    own = np.unique(np.stack([strata.of_cell[frame.cell], frame.window]), axis=1)[0]
    total = np.bincount(own, minlength=len(strata)).astype(np.int64)
    low = np.minimum(2, total)
    size = min(_BLOCKS, int(total.sum())) if blocks is None else blocks
    if not low.sum() <= size <= total.sum():
        raise UsageError(
            f"--blocks {size}; the strata have {int(total.sum())} blocks with data, and at least {int(low.sum())} must "
            "be drawn, two of each stratum; choose a number between, or another --block-side"
        )
    return replace(strata, blocks=total, drawn_blocks=divide(size, total.astype(np.float64), low, total))


def _expect_accuracy(source: MapFile, frame: Frame, given: float | None) -> tuple[NDArray[np.float64], list[str]]:
    """Expected user's accuracy of each class, (K,), and where it is from."""
    names = [each.name for each in source.classes]
    if given is not None:
        return np.full(len(names), given), []
    known = source.scores.precision
    mapped = frame.units.reshape(-1, len(names)).sum(axis=0) > 0
    lacking = [name for name, used in zip(names, mapped.tolist(), strict=True) if used and name not in known]
    notes = []
    if lacking:
        which = "of any class" if len(lacking) == mapped.sum() else f"of {', '.join(lacking)}"
        notes.append(
            f"the map holds no test precision {which}, so that a user's accuracy of {ACCURACY:g} is expected; pass "
            "--expected-accuracy if you know better"
        )
    return np.array([known.get(name, ACCURACY) for name in names]), notes


def _parse_targets(options: SampleOptions, source: MapFile, frame: Frame) -> Targets:
    """The requested standard errors.

    Raises:
        UsageError: A target is not CLASS:SE.
        UnknownName: The map has no such class.
    """
    names = [each.name for each in source.classes]
    mapped = frame.area.reshape(-1, len(names)).sum(axis=0) / frame.area.sum()
    shares: dict[int, float] = {}
    for text in options.share_errors:
        name, _, value = text.rpartition(":")
        try:
            number = float(value.removesuffix("%"))
        except ValueError:
            number = np.nan
        if not (name and 0 < number < np.inf):
            raise UsageError(
                f"--target {text!r}; it must be CLASS:SE, such as maize:0.01 (a standard error of one percent of the "
                "map's area) or maize:5% (of five percent of the mapped area of maize)"
            )
        if name not in names:
            raise UnknownName("class of the map", name, names)
        kind = names.index(name)
        if value.endswith("%") and not mapped[kind]:
            raise UsageError(
                f"--target {text!r}; the map has no pixel of this class; request a share of the map's area"
            )
        shares[kind] = number / 100 * float(mapped[kind]) if value.endswith("%") else number
    return Targets(options.overall_error, shares)


def _locate_pixels(units: DrawnUnits, grid: Grid) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Points at the centers of pixels, and their areas in square meters."""
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    row, column = units.rows + 0.5, units.columns + 0.5
    geometry = shapely.points(a * column + b * row + c, d * column + e * row + f)
    return geometry, row_hectares(grid)[units.rows] * SQUARE_METERS


def _read_parcels(
    units: DrawnUnits, source: MapFile, vectors: VectorSource
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Polygons of drawn parcels, and their areas in square meters."""
    shapes, areas = np.empty(len(units.rows), object), np.zeros(len(units.rows))
    for start, count in split_range(vectors.count, PIECE):
        here = np.flatnonzero((units.rows >= start) & (units.rows < start + count))
        if len(here):
            read = read_map_parcels(source, vectors, start, count)
            shapes[here] = read.shapes[units.rows[here] - start]
            areas[here] = read.hectares[units.rows[here] - start] * SQUARE_METERS
    return shapes, areas


def _describe(plan: SamplePlan, numbers: Sequence[int]) -> SamplingDesign:
    strata, source, options = plan.strata, plan.source, plan.options
    regions, classes = plan.frame.region_names, strata.map_class.tolist()
    blocks, drawn = (
        [None] * len(strata) if each is None else each.tolist() for each in (strata.blocks, strata.drawn_blocks)
    )
    described = [
        Stratum(
            number=number,
            units=units,
            sampled=sampled,
            area=area,
            map_class=classes[index] if classes[index] >= 0 else None,
            region=regions[strata.region[index]],
            blocks=blocks[index],
            sampled_blocks=drawn[index],
        )
        for index, (number, units, sampled, area) in enumerate(
            zip(numbers, strata.units.tolist(), plan.sampled.tolist(), strata.area.tolist(), strict=True)
        )
    ]
    grid = source.grid
    return SamplingDesign(
        kind=options.kind,
        unit=PIXEL if options.parcels is None else PARCEL,
        seed=options.seed,
        map_name=source.path.name,
        map_sha256=sha256_of(source.path),
        classes=tuple(each.name for each in source.classes),
        crs=format_crs(grid.crs),
        shape=(grid.height, grid.width),
        transform=tuple(grid.transform)[:6],
        strata=tuple(sorted(described, key=lambda each: each.number)),
        allocation=options.allocation,
        targets=plan.targets,
        regions=None if options.regions is None else options.regions.name,
        parcels=None if options.parcels is None else options.parcels.name,
        block_side=options.block_side if options.kind == TWO_STAGE else None,
        version=__version__,
    )


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
