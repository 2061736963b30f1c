"""Assessments of a small map with a known truth: what is estimated, noted and refused."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely

from cropzoo.errors import CropzooError
from cropzoo.evaluation.area.assessment import AssessmentOptions, assess
from cropzoo.evaluation.area.census import CensusFile
from cropzoo.evaluation.area.design import Stratum
from cropzoo.evaluation.area.record import Measure

from .assessed import AREA_HA, NAMES, PLACE, Study, confuse, draw, make_truth, write_map


def covers(measure: Measure, value: float) -> bool:
    assert measure.lower is not None
    assert measure.upper is not None
    return measure.lower <= value <= measure.upper


def test_estimates_cover_the_truth(study: Study) -> None:
    found = assess(study.map, study.points).total
    assert covers(found.overall, float((study.labels == study.truth).mean()))
    for index, each in enumerate(found.classes):
        of_map, of_truth = study.labels == index, study.truth == index
        assert each.name == NAMES[index]
        assert each.mapped_ha == pytest.approx(of_map.sum() / 100)
        assert covers(each.area_ha, of_truth.sum() / 100)
        assert covers(each.users, float((of_map & of_truth).sum() / of_map.sum()))
        assert covers(each.producers, float((of_map & of_truth).sum() / of_truth.sum()))
        assert each.points_mapped == 40
        assert each.notes == ()
    assert sum(each.area_ha.value or 0 for each in found.classes) == pytest.approx(AREA_HA)
    np.testing.assert_allclose(np.sum(found.matrix), 1)
    assert np.sum(found.counts) == 120


def test_results_survive_json_and_csv(study: Study) -> None:
    found = assess(study.map, study.points, AssessmentOptions(by=study.write_regions({"west": (0, 0, 40, 60)})))
    values = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert values["total"]["overall"]["value"] == found.total.overall.value
    assert [each["name"] for each in values["regions"]] == ["west", "outside"]
    rows = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert {row["region"] for row in rows} == {"", "west", "outside"}
    maize = next(
        row for row in rows if (row["region"], row["class"], row["measure"]) == ("", "maize", "estimated_area_ha")
    )
    assert float(maize["estimate"]) == pytest.approx(found.total.classes[1].area_ha.value, rel=1e-5)
    assert float(maize["lower"]) < float(maize["estimate"]) < float(maize["upper"])
    assert {"overall_accuracy", "users_accuracy", "producers_accuracy", "f1", "area_share", "mapped_area_ha"} < {
        row["measure"] for row in rows
    }


def test_normal_intervals_and_other_levels(study: Study) -> None:
    usual, narrow = (
        assess(study.map, study.points, AssessmentOptions(level=level, method="normal")).total.overall
        for level in (0.95, 0.8)
    )
    assert (usual.upper or 0) - (usual.value or 0) == pytest.approx(1.959964 * (usual.error or 0))
    assert (narrow.upper or 0) - (narrow.value or 0) == pytest.approx(1.281552 * (narrow.error or 0))


@pytest.mark.parametrize(
    "spelling", [str.upper, lambda text: f" {text} ", {"grass": "60", "maize": "201", "winter wheat": "311"}.get]
)
def test_labels_are_names_or_codes(study: Study, spelling: Callable[[str], str]) -> None:
    expected = assess(study.map, study.points).total
    study.write(reference=tuple(spelling(each) for each in study.drawn.reference))
    assert assess(study.map, study.points).total == expected


def test_points_without_a_label_are_counted_and_left_out(study: Study) -> None:
    silent = dict.fromkeys(range(12), "")
    study.relabel(silent)
    found = assess(study.map, study.points)
    assert (found.drawn, found.answered, found.total.points) == (120, 108, 108)
    assert sum(each.answered for each in found.strata) == 108
    assert "12 of 120 pixels (10.0 %) have no label" in found.notes[0]
    assert covers(found.total.overall, float((study.labels == study.truth).mean()))
    # Weights grow by stratum: what is left of a stratum stands for all of it.
    assert sum(each.area_ha.value or 0 for each in found.total.classes) == pytest.approx(AREA_HA)


def test_a_class_that_the_map_lacks_is_an_omission(study: Study, caplog: pytest.LogCaptureFixture) -> None:
    study.relabel({0: "hops", 1: "Hops", 2: "weeds"})
    found = assess(study.map, study.points)
    names = [each.name for each in found.total.classes]
    assert names == [*NAMES, "hops", "weeds"]
    hops = found.total.classes[3]
    assert (hops.mapped_ha, hops.points_reference, hops.points_mapped) == (0.0, 2, 0)
    assert hops.producers.value == 0
    assert hops.users == Measure()
    assert (hops.area_ha.value or 0) > 0
    assert any("lacks hops and weeds" in note for note in found.notes)
    assert "2 point(s) have the label 'hops'" in caplog.text
    assert "known: grass, maize, winter wheat" in caplog.text


def test_few_points_are_noted(study: Study) -> None:
    study.drawn, study.design = draw(study.map, study.truth, study.labels.astype(np.int64), (20, 60, 20))
    study.write()
    found = assess(study.map, study.points)
    assert "too few points: 20 points in the map" in found.total.classes[0].notes[0]
    assert found.total.classes[1].notes == ()
    assert any("Fewer than 30 points are the basis of an accuracy or area of" in note for note in found.notes)


# Regions


def test_regions_are_domains(study: Study) -> None:
    regions = study.write_regions({"west": (0, 0, 40, 60), "east": (40, 0, 80, 60)})
    found = assess(study.map, study.points, AssessmentOptions(by=regions))
    west, east = found.regions
    assert (west.name, east.name) == ("west", "east")
    assert west.points + east.points == 120
    assert west.area_ha == east.area_ha == AREA_HA / 2
    for region, columns in ((west, slice(0, 40)), (east, slice(40, 80))):
        correct = study.labels[:, columns] == study.truth[:, columns]
        assert covers(region.overall, float(correct.mean()))
        for index, each in enumerate(region.classes):
            assert each.mapped_ha == pytest.approx((study.labels[:, columns] == index).sum() / 100)
            difference = (each.area_ha.value or 0) - (study.truth[:, columns] == index).sum() / 100
            assert abs(difference) < 3 * (each.area_ha.error or 0)
    alone = assess(study.map, study.points).total
    assert (found.total.overall, found.total.counts) == (alone.overall, alone.counts)


def test_regions_that_are_strata_keep_their_area(study: Study) -> None:
    """With strata of classes within regions, a region's estimate uses its own points alone."""
    groups = study.labels.astype(np.int64) + 3 * (np.arange(80) >= 40)
    study.drawn, study.design = draw(study.map, study.truth, groups, (25, 25, 25, 30, 30, 30), regions=("west", "east"))
    study.write()
    regions = study.write_regions({"west": (0, 0, 40, 60), "east": (40, 0, 80, 60)})
    found = assess(study.map, study.points, AssessmentOptions(by=regions))
    assert [each.points for each in found.regions] == [75, 90]
    assert {each.name for each in found.strata} >= {"grass, west", "maize, east"}
    whole, parts = found.total.classes[1].area_ha, [each.classes[1].area_ha for each in found.regions]
    assert sum(each.value or 0 for each in parts) == pytest.approx(whole.value)
    assert sum((each.error or 0) ** 2 for each in parts) == pytest.approx((whole.error or 0) ** 2)
    assert "3 classes of the map in 2 regions" in found.statement


def test_a_region_without_points_has_no_estimate(study: Study) -> None:
    row, column = (int(each) for each in np.argwhere(~_has_point(study))[0])
    regions = study.write_regions({"dot": (column, row, column + 1, row + 1), "far": (200, 0, 210, 10)})
    found = assess(study.map, study.points, AssessmentOptions(by=regions))
    dot, far, outside = found.regions
    assert (dot.points, dot.area_ha, far.area_ha, outside.points) == (0, 0.01, 0.0, 120)
    assert dot.overall == dot.classes[0].area_ha == Measure()
    assert dot.notes == ("no point with a label: nothing can be estimated",)
    assert any("Region dot has no point" in note for note in found.notes)


def _has_point(study: Study) -> Any:
    found = np.zeros(study.truth.shape, np.bool_)
    x, y = shapely.get_x(study.drawn.geometry), shapely.get_y(study.drawn.geometry)
    found[((PLACE.f - y) // 10).astype(int), ((x - PLACE.c) // 10).astype(int)] = True
    return found


def test_regions_that_overlap_are_refused(study: Study) -> None:
    regions = study.write_regions({"west": (0, 0, 50, 60), "east": (40, 0, 80, 60)})
    with pytest.raises(CropzooError, match="overlap"):
        assess(study.map, study.points, AssessmentOptions(by=regions))


# Other maps


def test_a_changed_map_is_refused(study: Study) -> None:
    write_map(study.map, confuse(study.labels, 0.05, seed=9))
    with pytest.raises(CropzooError, match=r"not the map 'map\.tif' from which .*`cropzoo sample`.*--other-map"):
        assess(study.map, study.points)


def test_another_map_is_assessed_by_the_strata_of_the_first(study: Study) -> None:
    labels = confuse(study.truth, 0.2, seed=5)
    other = write_map(study.folder / "remade.tif", labels)
    found = assess(other, study.points, AssessmentOptions(other_map=True))
    assert not found.same_map
    assert covers(found.total.overall, float((labels == study.truth).mean()))
    for index, each in enumerate(found.total.classes):
        assert each.mapped_ha == pytest.approx((labels == index).sum() / 100)
        assert covers(each.area_ha, (study.truth == index).sum() / 100)
    assert any("drawn from another map (map.tif)" in note for note in found.notes)
    assert "Stehman" in found.statement
    assert [each.name for each in found.strata] != []
    direct = assess(study.map, study.points).total
    assert [each.share for each in found.total.classes] == [each.share for each in direct.classes]


def test_another_map_must_cover_the_points(study: Study) -> None:
    labels = study.labels.copy()
    labels[:, 70:] = 255
    other = write_map(study.folder / "remade.tif", labels)
    with pytest.raises(CropzooError, match="where the map has no data"):
        assess(other, study.points, AssessmentOptions(other_map=True))
    smaller = write_map(study.folder / "smaller.tif", study.labels[:, :70])
    with pytest.raises(CropzooError, match="outside the map"):
        assess(smaller, study.points, AssessmentOptions(other_map=True))


def test_another_map_of_a_larger_area_is_noted(study: Study) -> None:
    labels = np.pad(study.labels, ((0, 0), (0, 20)), mode="edge")
    other = write_map(study.folder / "larger.tif", labels)
    found = assess(other, study.points, AssessmentOptions(other_map=True))
    assert any("does not have data in the same area" in note for note in found.notes)
    assert sum(each.area_ha.value or 0 for each in found.total.classes) == pytest.approx(AREA_HA)
    assert found.assisted == ()


def test_another_map_may_have_another_crs(study: Study) -> None:
    """The map in degrees: points are transformed to it."""
    from rasterio.warp import Resampling, calculate_default_transform, reproject

    place, width, height = calculate_default_transform(
        "EPSG:32631", "EPSG:4326", 80, 60, *(PLACE.c, PLACE.f - 600, PLACE.c + 800, PLACE.f)
    )
    labels = np.full((height, width), 255, np.uint8)
    reproject(
        study.labels, labels, src_transform=PLACE, src_crs="EPSG:32631", dst_transform=place, dst_crs="EPSG:4326",
        src_nodata=255, dst_nodata=255, resampling=Resampling.nearest,
    )  # fmt: skip
    other = write_map(study.folder / "degrees.tif", labels, crs="EPSG:4326", transform=place)
    inside = shapely.box(PLACE.c + 10, PLACE.f - 590, PLACE.c + 790, PLACE.f - 10).contains(study.drawn.geometry)
    study.relabel(dict.fromkeys(np.flatnonzero(~inside).tolist(), ""))
    found = assess(other, study.points, AssessmentOptions(other_map=True))
    assert found.total.overall.value == pytest.approx(0.8, abs=0.1)


# Other designs


def test_simple_random_samples(study: Study) -> None:
    groups = np.zeros(study.truth.shape, np.int64)
    study.drawn, study.design = draw(study.map, study.truth, groups, (300,), kind="simple")
    study.write()
    found = assess(study.map, study.points)
    assert "a simple random sample of 300 pixels" in found.statement
    assert covers(found.total.overall, float((study.labels == study.truth).mean()))
    # The map is auxiliary: its total areas are known, and the regression estimator is more precise.
    assert found.auxiliary == "the map"
    for index, each in enumerate(found.assisted):
        assert covers(each.regression_ha, (study.truth == index).sum() / 100)
        assert (each.regression_ha.error or 1) < 0.8 * (each.direct_ha.error or 0)
        assert each.direct_ha.value == pytest.approx(found.total.classes[index].area_ha.value)


def test_two_stage_samples(study: Study) -> None:
    generator = np.random.default_rng(4)
    blocks = (np.arange(60) // 10)[:, None] * 8 + np.arange(80) // 10
    taken = generator.choice(48, 16, False)
    pixels = np.concatenate([generator.choice(np.flatnonzero(blocks == each), 8, False) for each in taken])
    rows, columns = np.unravel_index(pixels, blocks.shape)
    stratum = Stratum(1, 4800, 128, 480_000.0, blocks=48, sampled_blocks=16)
    study.drawn = replace(
        study.drawn,
        ids=np.arange(1, 129),
        geometry=shapely.points(PLACE.c + 10 * (columns + 0.5), PLACE.f - 10 * (rows + 0.5)),
        strata=np.ones(128, int),
        probabilities=np.full(128, 16 / 48 * 8 / 100),
        areas=np.full(128, 100.0),
        blocks=blocks.ravel()[pixels],
        reference=tuple(NAMES[each] for each in study.truth.ravel()[pixels]),
    )
    study.write(replace(study.design, kind="two-stage", strata=(stratum,), block_side=10))
    found = assess(study.map, study.points)
    assert "two-stage random sample of 128 pixels in 16 randomly drawn blocks of 10 x 10 pixels" in found.statement
    assert any("15 degrees of freedom" in note for note in found.notes)
    grass = found.total.classes[0]
    assert covers(grass.area_ha, (study.truth == 0).sum() / 100)
    binomial = AREA_HA * np.sqrt((grass.share.value or 0) * (1 - (grass.share.value or 0)) / 128)
    assert (grass.area_ha.error or 0) > 2 * binomial  # a block is one field, so that its points are alike


# Census


def test_declared_crops_make_areas_more_precise(study: Study) -> None:
    parcels = study.write_parcels(wrong=[3, 17, 30])
    options = AssessmentOptions(census=CensusFile(parcels, "crop"))
    found = assess(study.map, study.points, options)
    assert found.auxiliary == "the declared crops"
    declared = geopandas.read_file(parcels)["crop"].value_counts()
    for index, each in enumerate(found.assisted):
        assert each.census_ha == pytest.approx(declared[NAMES[index]])
        truth = (study.truth == index).sum() / 100
        for measure in (each.difference_ha, each.regression_ha):
            assert covers(measure, truth)
            assert (measure.error or 1) < (each.direct_ha.error or 0)
    assert found.total == assess(study.map, study.points).total


def test_right_declarations_leave_a_bound_from_the_number_of_points(study: Study) -> None:
    parcels = study.write_parcels()
    found = assess(study.map, study.points, AssessmentOptions(census=CensusFile(parcels, "crop")))
    for index, each in enumerate(found.assisted):
        assert each.difference_ha.value == pytest.approx((study.truth == index).sum() / 100)
        assert (each.difference_ha.upper or 0) - (each.difference_ha.value or 0) == pytest.approx(
            AREA_HA * 0.031, rel=0.1
        )


@pytest.mark.parametrize(
    ("column", "problem"), [("kind", "no column 'kind'"), ("number", "no declared crop .* is a class of the map")]
)
def test_a_census_without_crops_of_the_map_is_refused(study: Study, column: str, problem: str) -> None:
    path = study.write_parcels()
    geopandas.read_file(path).assign(number=7).to_file(path)
    with pytest.raises(CropzooError, match=problem):
        assess(study.map, study.points, AssessmentOptions(census=CensusFile(path, column)))


def test_seen_classes_are_noted(study: Study) -> None:
    study.write(map_classes=tuple("grass" for _ in range(120)))
    assert any("was shown to the interpreter" in note for note in assess(study.map, study.points).notes)


def test_maps_of_other_years_have_a_truth_of_their_own() -> None:
    """The helper's fields: two seeds give two truths, so that tests of other maps compare different ground."""
    assert (make_truth(0) != make_truth(1)).mean() > 0.3
