"""Sentences about an assessment: notes on what limits it, and a paragraph for a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cropzoo.evaluation.area.design import PARCEL, SIMPLE, STRATIFIED, SamplingDesign
from cropzoo.evaluation.area.intervals import NORMAL
from cropzoo.evaluation.area.record import FEW, AreaResult, Measure, StratumResult

_NONRESPONSE = 0.02
"""Share of points without a label from which the stratum with the most of them is named."""


def make_notes(
    design: SamplingDesign,
    strata: Sequence[StratumResult],
    total: AreaResult,
    regions: Sequence[AreaResult],
    *,
    missing: Sequence[str],
    same_map: bool,
    covers: bool,
    shown: bool,
    freedom: int,
) -> tuple[str, ...]:
    """Notes on what limits an assessment, full sentences.

    Args:
        design: Design of the sample.
        strata: Answers by stratum.
        total: Results of the map.
        regions: Results of regions.
        missing: Classes that only labels have.
        same_map: Whether the map is the one from which the points were drawn.
        covers: Whether the map has the area of the sampled one.
        shown: Whether the interpreter saw the map's class.
        freedom: Number of clusters minus strata.
    """
    return (
        *_answer_notes(design, strata, total, shown),
        *_map_notes(design, missing, same_map, covers),
        *_number_notes(total, regions, missing),
        *_unit_notes(design, len(strata), freedom),
    )


def _answer_notes(
    design: SamplingDesign, strata: Sequence[StratumResult], total: AreaResult, shown: bool
) -> Iterator[str]:
    """Notes on the labels."""
    drawn = sum(each.drawn for each in strata)
    silent = drawn - total.points
    if silent:
        yield (
            f"{silent:,} of {drawn:,} {design.unit}s ({_percent(silent / drawn)}) have no label. The estimates assume "
            f"that they are like the labeled ones of their stratum.{_worst_stratum(strata)}"
        )
    if shown:
        yield "The class of the map was shown to the interpreter, which tends to make a map look more accurate."


def _map_notes(design: SamplingDesign, missing: Sequence[str], same_map: bool, covers: bool) -> Iterator[str]:
    """Notes on a map that is not the sampled one, or lacks classes."""
    if not same_map:
        yield (
            f"The points were drawn from another map ({design.map_name}), whose classes are the strata. The estimates "
            "are unbiased also for this map (Stehman 2014), and less precise than those from points drawn from it."
        )
    if not covers:
        yield (
            "The map does not have data in the same area as the map from which the points were drawn. Accuracies and "
            "shares are those of the area of the sampled map, and mapped areas those of this map."
        )
    if missing:
        yield (
            f"The map lacks {_join(missing)}, which labels have. {'They are' if len(missing) > 1 else 'It is'} counted "
            "as omitted by the map."
        )


def _number_notes(total: AreaResult, regions: Sequence[AreaResult], missing: Sequence[str]) -> Iterator[str]:
    """Notes on classes and regions with few points."""
    if few := [each.name for each in total.classes if each.notes and each.name not in missing]:
        yield (
            f"Fewer than {FEW} points are the basis of an accuracy or area of {_join(few)}. Their intervals are "
            "wide, and may cover the truth less often than they say."
        )
    for each in regions:
        if not each.points:
            yield f"Region {each.name} has no point with a label, so nothing is estimated for it."
    if few := [each.name for each in regions if 0 < each.points < FEW]:
        yield f"Fewer than {FEW} points are in {_join(few)}."


def _unit_notes(design: SamplingDesign, strata: int, freedom: int) -> Iterator[str]:
    """Notes on parcels and blocks."""
    if design.unit == PARCEL:
        yield (
            "The units are parcels. The class of a parcel in the map is that of the majority of its pixels, and every "
            "parcel counts with its area. Ground outside parcels is not part of the result."
        )
    if design.block_side is not None and freedom < FEW:
        yield (
            f"The points are in {freedom + strata} blocks. The standard errors rest on {freedom} degrees of freedom."
        )


def _worst_stratum(strata: Sequence[StratumResult]) -> str:
    worst = max(strata, key=lambda each: (each.drawn - each.answered) / max(each.drawn, 1))
    missing = worst.drawn - worst.answered
    if len(strata) < 2 or missing < _NONRESPONSE * worst.drawn:
        return ""
    return f" The largest part is missing in the stratum {worst.name}: {missing:,} of {worst.drawn:,}."


def make_statement(
    map_name: str,
    design: SamplingDesign,
    total: AreaResult,
    drawn: int,
    level: float,
    method: str,
    same_map: bool,
) -> str:
    """Paragraph about the result that can be pasted into a report.

    Args:
        map_name: File name of the map.
        design: Design of the sample.
        total: Results of the map.
        drawn: Number of drawn units.
        level: Confidence level.
        method: Method of the intervals.
        same_map: Whether the map is the one from which the points were drawn.
    """
    interval, digits = f"{100 * level:g} % confidence interval", area_digits(total.area_ha)
    labeled = "All of them have" if total.points == drawn else f"{total.points:,} of them have"
    accuracy = total.overall
    origin = "" if same_map else f", drawn from another map ({design.map_name})"
    parts = [
        f"The accuracy of the map {map_name} and the areas of its classes were estimated from "
        f"{_design_text(design, drawn)}{origin}. {labeled} a reference label.",
        f"The overall accuracy is {_percent(accuracy.value)} ({interval} {_range(accuracy, 100, 1)} %, standard error "
        f"{_number(accuracy.error, 100, 1)} percentage points).",
    ]
    areas = [
        f"{each.name} {_number(each.area_ha.value, 1, digits)} ha ({_range(each.area_ha, 1, digits)} ha"
        f"{'' if each.mapped_ha is None else f'; mapped {each.mapped_ha:,.{digits}f} ha'})"
        for each in sorted(total.classes, key=lambda each: -(each.area_ha.value or 0))
        if each.points_reference or each.mapped_ha
    ]
    parts.append(
        f"Estimated areas, with {interval}s in parentheses, are: {'; '.join(areas)}. Mapped areas count the "
        f"{'parcels' if design.unit == PARCEL else 'pixels'} of the map, and contain its errors."
    )
    estimator = (
        "the stratified estimators of Olofsson et al. (2014)"
        if same_map and design.kind == STRATIFIED and design.unit != PARCEL
        else "ratio estimators for stratified samples (Stehman 2014)"
    )
    limits = (
        "the estimate plus and minus a multiple of the standard error"
        if method == NORMAL
        else "Wilson intervals with the effective sample size"
    )
    parts.append(f"The estimates are {estimator}. Confidence intervals are {limits}.")
    return " ".join(parts)


def _design_text(design: SamplingDesign, drawn: int) -> str:
    """Description of how the units were drawn."""
    units, regions = f"{drawn:,} {design.unit}s", len({each.region for each in design.strata if each.region})
    if design.kind == SIMPLE:
        return f"a simple random sample of {units}"
    if design.kind == STRATIFIED:
        by = f"{len({each.map_class for each in design.strata})} classes of the map"
        return (
            f"a stratified random sample of {units} (strata: the {by}{f' in {regions} regions' if regions else ''}; "
            f"{design.allocation} allocation)"
        )
    blocks = sum(each.sampled_blocks or 0 for each in design.strata)
    strata = f" within {regions} regions" if regions else ""
    side = f" of {design.block_side} x {design.block_side} pixels" if design.block_side else ""
    return f"a two-stage random sample of {units} in {blocks:,} randomly drawn blocks{side}{strata}"


def area_digits(hectares: float) -> int:
    """Decimals of areas of classes in an area of a size."""
    return next((digits for digits, least in ((0, 1000), (1, 10)) if hectares >= least), 2)


def _percent(value: float | None) -> str:
    return f"{_number(value, 100, 1)} %"


def _number(value: float | None, factor: float, digits: int) -> str:
    return "unknown" if value is None else f"{factor * value:,.{digits}f}"


def _range(measure: Measure, factor: float, digits: int) -> str:
    return f"{_number(measure.lower, factor, digits)} to {_number(measure.upper, factor, digits)}"


def _join(names: Sequence[str]) -> str:
    """Names as in a sentence: "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
