"""Assessment of a map by a reference sample: accuracy and areas of the map and of regions, with intervals."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cropzoo import __version__
from cropzoo.data.classified_map import MapFile, open_map
from cropzoo.data.regions import Regions, read_regions
from cropzoo.errors import CropzooError, UsageError
from cropzoo.evaluation.area.assisted import difference_estimate, regression_estimate
from cropzoo.evaluation.area.census import CensusFile, read_census
from cropzoo.evaluation.area.design import PARCEL, STRATIFIED, SamplingDesign, Stratum
from cropzoo.evaluation.area.estimate import estimate_classes
from cropzoo.evaluation.area.intervals import WILSON
from cropzoo.evaluation.area.points import REFERENCE, Points, read_points
from cropzoo.evaluation.area.record import (
    AreaResult,
    Assessment,
    AssistedResult,
    ClassResult,
    StratumResult,
    make_measures,
)
from cropzoo.evaluation.area.reference import Observations, observe
from cropzoo.evaluation.area.statement import make_notes, make_statement
from cropzoo.evaluation.area.strata import Frame, count_parcels, count_pixels
from cropzoo.geo.vector.source import open_source
from cropzoo.io import ProgressCallback, sha256_of

_SQUARE_METERS = 1e4
"""Square meters of a hectare."""

_HECTARES = 1 / _SQUARE_METERS

_SAME_AREA = 1e-3
"""Relative difference of the area of another map from the sampled one that does not matter."""


@dataclass(frozen=True)
class AssessmentOptions:
    """Options of `assess`.

    Args:
        label_column: Column of the labels.
        design: Points file as `cropzoo sample` wrote it, if the labels are in another file.
        other_map: Whether the map may differ from the one from which the points were drawn.
        by: Vector file of regions to estimate for; None for none.
        region_column: Column of their names; "" for `name`.
        parcels: All parcels from which a sample of parcels was drawn; None if they are not needed.
        census: Declared crops of all parcels, for model-assisted areas; None without.
        level: Confidence level.
        method: Method of the confidence intervals, "wilson" or "normal".
    """

    label_column: str = REFERENCE
    design: Path | None = None
    other_map: bool = False
    by: Path | None = None
    region_column: str = ""
    parcels: Path | None = None
    census: CensusFile | None = None
    level: float = 0.95
    method: str = WILSON


def assess(
    map_path: Path,
    points_path: Path,
    options: AssessmentOptions | None = None,
    *,
    advance: ProgressCallback = lambda done, total: None,
) -> Assessment:
    """Estimate the accuracy of a map and the areas of its classes.

    Args:
        map_path: Path of the class map.
        points_path: Path of the labeled points.
        options: Options.
        advance: Called with (parts of the map read, total).

    Raises:
        UsageError: Options contradict each other or the design.
        CropzooError: A file cannot be read, the points are no probability sample of this map, or too few have a label.
    """
    options = options or AssessmentOptions()
    source = open_map(map_path)
    points, design = read_points(points_path, label_column=options.label_column, design=options.design)
    checksum = sha256_of(map_path)
    same_map = checksum == design.map_sha256
    _check_options(map_path, design, options, same_map)
    regions = None if options.by is None else read_regions(options.by, source.grid, options.region_column)
    observations = observe(source, points, design, same_map=same_map)
    frame = _count(source, design, regions, _parcels_of(design, options), advance)
    total, by_region = _estimate(source, design, observations, regions, frame, options, same_map)
    covers = frame is not None and abs(frame.area.sum() / design.area - 1) < _SAME_AREA
    use_map = covers and not (same_map and design.kind == STRATIFIED)  # otherwise the map is constant in each stratum
    assisted, auxiliary = _assist(source, design, observations, total, frame if use_map else None, options)
    strata = _count_answers(design, points, observations)
    missing = observations.classes[len(source.classes) :]
    notes = make_notes(
        design,
        strata,
        total,
        by_region,
        missing=missing,
        same_map=same_map,
        covers=covers or frame is None,
        shown=points.map_classes is not None,
        freedom=observations.sample.degrees_of_freedom,
    )
    return Assessment(
        map_name=map_path.name,
        map_sha256=checksum,
        sampled_map_name=design.map_name,
        same_map=same_map,
        points_name=points_path.name,
        label_column=options.label_column,
        kind=design.kind,
        unit=design.unit,
        level=options.level,
        method=options.method,
        drawn=len(points),
        answered=len(observations.kept),
        strata=strata,
        total=total,
        regions=by_region,
        assisted=assisted,
        auxiliary=auxiliary,
        notes=notes,
        statement=make_statement(map_path.name, design, total, len(points), options.level, options.method, same_map),
        version=__version__,
    )


def _check_options(map_path: Path, design: SamplingDesign, options: AssessmentOptions, same_map: bool) -> None:
    """Check that the map and the options fit the design.

    Raises:
        CropzooError: The map is another one than the sampled one.
        UsageError: Files of parcels are missing, or given for pixels.
    """
    if not same_map and not options.other_map:
        raise CropzooError(
            f"map {str(map_path)!r}; it is not the map {design.map_name!r} from which the points were drawn, or it has "
            "changed since; give that map, draw points from this one with `cropzoo sample`, or pass --other-map to "
            "assess this map with those points (possible, but less precise)"
        )
    if design.unit == PARCEL and options.by is not None and _parcels_of(design, options) is None:
        raise UsageError(
            f"--by {str(options.by)!r}; the points are parcels, and the areas of regions are those of all their "
            "parcels; give the file from which the sample was drawn by --parcels"
        )
    if design.unit != PARCEL and options.parcels is not None:
        raise UsageError(
            f"--parcels {str(options.parcels)!r}; the points are pixels and not parcels; leave it out, or pass "
            "--census for declared crops"
        )


def _parcels_of(design: SamplingDesign, options: AssessmentOptions) -> Path | None:
    """The file of all parcels from which a sample of parcels was drawn; None without one."""
    return options.parcels or (options.census.path if options.census and design.unit == PARCEL else None)


def _count(
    source: MapFile,
    design: SamplingDesign,
    regions: Regions | None,
    parcels: Path | None,
    advance: ProgressCallback,
) -> Frame | None:
    """Units of the map by class and region; None for parcels whose file was not given."""
    if design.unit != PARCEL:
        return count_pixels(source, regions, outside=True, advance=advance)
    if parcels is None:
        return None
    frame = count_parcels(source, open_source(parcels), regions, outside=True, advance=advance)
    there, drawn = frame.area.sum() / _SQUARE_METERS, design.area / _SQUARE_METERS
    if abs(there / drawn - 1) > _SAME_AREA:
        raise CropzooError(
            f"parcels {str(parcels)!r}; they have {there:,.1f} ha on the map, and those from which the sample was "
            f"drawn have {drawn:,.1f} ha; give the file {design.parcels!r} from which the sample was drawn"
        )
    return frame


def _estimate(
    source: MapFile,
    design: SamplingDesign,
    observations: Observations,
    regions: Regions | None,
    frame: Frame | None,
    options: AssessmentOptions,
    same_map: bool,
) -> tuple[AreaResult, tuple[AreaResult, ...]]:
    """Results of all of the map, and of its regions."""
    classes = len(source.classes)
    mapped = _mapped_areas(design, classes, same_map) if frame is None else frame.area.reshape(-1, classes).sum(axis=0)
    total = _make_result("", design.area, mapped, source, observations, None, options)
    if regions is None or frame is None:
        return total, ()
    region = regions.locate(observations.places)
    by_region, names = frame.area.reshape(-1, classes), frame.region_names
    results = []
    for index, name in enumerate(names):
        inside = region == (index if index < len(regions.names) else -1)
        area = float(by_region[index].sum())
        if area or inside.any() or index < len(regions.names):
            results.append(_make_result(str(name), area, by_region[index], source, observations, inside, options))
    return total, tuple(results)


def _mapped_areas(design: SamplingDesign, classes: int, same_map: bool) -> NDArray[np.float64] | None:
    """Mapped areas by the strata of the design, square meters; None if they do not say them."""
    if design.kind != STRATIFIED or not same_map:
        return None
    areas = np.zeros(classes)
    for each in design.strata:
        areas[each.map_class] += each.area
    return areas


def _make_result(
    name: str,
    area: float,
    mapped: NDArray[np.float64] | None,
    source: MapFile,
    observations: Observations,
    inside: NDArray[np.bool_] | None,
    options: AssessmentOptions,
) -> AreaResult:
    """Results of a part of the map; `area` and `mapped` are in square meters."""
    names, hectares = observations.classes, area / _SQUARE_METERS
    found = estimate_classes(observations.sample, observations.mapped, observations.reference, len(names), inside)
    share, users, producers, f1 = (
        make_measures(each, options.level, options.method)
        for each in (found.share, found.users, found.producers, found.f1)
    )
    pairs = observations.mapped * len(names) + observations.reference
    counts = np.bincount(pairs if inside is None else pairs[inside], minlength=len(names) ** 2)
    known = [*([None] * len(names) if mapped is None else (mapped / _SQUARE_METERS).tolist())]
    known += [0.0] * (len(names) - len(known))  # classes that the map lacks
    return AreaResult(
        name=name,
        area_ha=hectares,
        points=found.points,
        overall=make_measures(found.overall, options.level, options.method)[0],
        classes=tuple(
            ClassResult(
                name=each,
                color=source.classes[index].color if index < len(source.classes) else "",
                mapped_ha=known[index],
                area_ha=share[index].scaled(hectares),
                share=share[index],
                users=users[index],
                producers=producers[index],
                f1=f1[index],
                points_mapped=int(found.mapped[index]),
                points_reference=int(found.reference[index]),
            )
            for index, each in enumerate(names)
        ),
        counts=tuple(map(tuple, counts.reshape(len(names), -1).tolist())),
        matrix=tuple(map(tuple, np.nan_to_num(found.matrix.value).tolist())),
    )


def _assist(
    source: MapFile,
    design: SamplingDesign,
    observations: Observations,
    total: AreaResult,
    frame: Frame | None,
    options: AssessmentOptions,
) -> tuple[tuple[AssistedResult, ...], str]:
    """Model-assisted areas, and what they use; nothing without data beyond the strata."""
    census = None if options.census is None else read_census(source, options.census, design, observations)
    if census is None and frame is None:
        return (), ""
    classes, sample = len(source.classes), observations.sample
    mapped = None if frame is None else frame.area.reshape(-1, classes).sum(axis=0)
    known = [
        (each, values)
        for each, values in (
            (None if census is None else census.areas, None if census is None else census.declared),
            (mapped, observations.mapped),
        )
        if each is not None and values is not None
    ]
    results = []
    for index, (name, found) in enumerate(zip(observations.classes, total.classes, strict=True)):
        y, inside = observations.reference == index, index < classes
        x = np.stack([values == index for _, values in known], axis=1)
        totals = np.array([areas[index] if inside else 0.0 for areas, _ in known])
        results.append(
            AssistedResult(
                name=name,
                census_ha=None if census is None or not inside else float(census.areas[index]) / _SQUARE_METERS,
                mapped_ha=None if mapped is None or not inside else float(mapped[index]) / _SQUARE_METERS,
                direct_ha=found.area_ha,
                difference_ha=difference_estimate(sample, y, x[:, 0], totals[0], options.level).scaled(_HECTARES),
                regression_ha=regression_estimate(sample, y, x, totals, options.level).scaled(_HECTARES),
            )
        )
    parts = [*(["the declared crops"] if census is not None else []), *(["the map"] if frame is not None else [])]
    return tuple(results), " and ".join(parts)


def _count_answers(design: SamplingDesign, points: Points, observations: Observations) -> tuple[StratumResult, ...]:
    answered = Counter(points.strata[observations.kept].tolist())
    return tuple(
        StratumResult(
            _stratum_name(each, design), each.units, each.area / _SQUARE_METERS, each.sampled, answered[each.number]
        )
        for each in sorted(design.strata, key=lambda each: (each.region or "", -each.area))
    )


def _stratum_name(stratum: Stratum, design: SamplingDesign) -> str:
    parts = [*([design.classes[stratum.map_class]] if stratum.map_class is not None else [])]
    parts += [stratum.region] if stratum.region else []
    return ", ".join(parts) or "all of the map"
