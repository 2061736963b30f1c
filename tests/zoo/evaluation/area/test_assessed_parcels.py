"""Assessments of samples whose units are parcels."""

from __future__ import annotations

from dataclasses import replace

import geopandas
import numpy as np
import pytest

from cropzoo.errors import CropzooError, UsageError
from cropzoo.evaluation.area.assessment import AssessmentOptions, assess
from cropzoo.evaluation.area.census import CensusFile
from cropzoo.evaluation.area.design import Stratum

from .assessed import NAMES, Study


@pytest.fixture
def parcels(study: Study) -> Study:
    """A stratified sample of 30 of the 48 parcels; the class of a parcel is the truth in this map."""
    frame = geopandas.read_file(study.write_parcels())
    truth = study.truth[::10, ::10].ravel()
    generator = np.random.default_rng(6)
    counts = [min(10, int((truth == each).sum())) for each in range(3)]
    drawn = np.concatenate(
        [generator.choice(np.flatnonzero(truth == each), count, False) for each, count in enumerate(counts)]
    )
    units = [int((truth == each).sum()) for each in range(3)]
    strata = tuple(Stratum(each + 1, units[each], counts[each], 10_000.0 * units[each], each) for each in range(3))
    labels = [NAMES[each] for each in truth[drawn]]
    labels[0] = NAMES[1]
    study.drawn = replace(
        study.drawn,
        ids=np.arange(1, len(drawn) + 1),
        geometry=np.array(frame.geometry)[drawn],
        strata=truth[drawn].astype(np.int64) + 1,
        probabilities=np.array([counts[each] / units[each] for each in truth[drawn]]),
        areas=np.full(len(drawn), 10_000.0),
        reference=tuple(labels),
    )
    study.design = replace(study.design, unit="parcel", strata=strata, parcels="parcels.gpkg")
    study.write()
    return study


def test_parcels_are_units(parcels: Study) -> None:
    found = assess(parcels.map, parcels.points)
    truth = parcels.truth[::10, ::10].ravel()
    weight = (truth == 0).sum() / min(10, (truth == 0).sum())
    assert found.total.overall.value == pytest.approx(1 - weight / 48)
    assert [each.mapped_ha for each in found.total.classes] == [
        pytest.approx((truth == each).sum()) for each in range(3)
    ]
    assert any("The units are parcels" in note for note in found.notes)


def test_parcels_by_region_need_all_parcels(parcels: Study) -> None:
    regions = parcels.write_regions({"west": (0, 0, 40, 60), "east": (40, 0, 80, 60)})
    with pytest.raises(UsageError, match="--parcels"):
        assess(parcels.map, parcels.points, AssessmentOptions(by=regions))
    options = AssessmentOptions(by=regions, parcels=parcels.folder / "parcels.gpkg")
    found = assess(parcels.map, parcels.points, options)
    assert [each.area_ha for each in found.regions] == [24.0, 24.0]
    assert sum(each.points for each in found.regions) == found.total.points
    half = geopandas.read_file(parcels.folder / "parcels.gpkg").iloc[:30]
    half.to_file(parcels.folder / "half.gpkg")
    with pytest.raises(CropzooError, match=r"from which the sample was drawn"):
        assess(parcels.map, parcels.points, replace(options, parcels=parcels.folder / "half.gpkg"))


def test_parcels_of_pixels_are_a_contradiction(study: Study) -> None:
    with pytest.raises(UsageError, match="pixels and not parcels"):
        assess(study.map, study.points, AssessmentOptions(parcels=study.write_parcels()))


def test_declared_crops_of_sampled_parcels(parcels: Study) -> None:
    path = parcels.write_parcels(wrong=[5])
    found = assess(parcels.map, parcels.points, AssessmentOptions(census=CensusFile(path, "crop")))
    declared = geopandas.read_file(path)["crop"].value_counts()
    assert [each.census_ha for each in found.assisted] == [pytest.approx(declared[each]) for each in NAMES]
    for each in found.assisted:
        assert each.difference_ha.value is not None
    few = geopandas.read_file(path).iloc[:20]
    few.to_file(parcels.folder / "few.gpkg")
    with pytest.raises(CropzooError, match="from which the sample was drawn"):
        assess(parcels.map, parcels.points, AssessmentOptions(census=CensusFile(parcels.folder / "few.gpkg", "crop")))
