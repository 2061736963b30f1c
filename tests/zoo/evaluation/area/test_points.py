"""The points file: labels come back from several formats, and what is no complete sample is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely

from cropzoo.errors import CropzooError, UsageError
from cropzoo.evaluation.area.design import SamplingDesign, Stratum
from cropzoo.evaluation.area.points import Points, read_points, write_points

BLANK = ("",) * 5


@pytest.fixture
def file(tmp_path: Path, points: Points, design: SamplingDesign) -> Path:
    write_points(tmp_path / "points.gpkg", points, design)
    return tmp_path / "points.gpkg"


@pytest.fixture
def blank(tmp_path: Path, points: Points, design: SamplingDesign) -> Path:
    write_points(tmp_path / "blank.gpkg", replace(points, reference=()), design)
    return tmp_path / "blank.gpkg"


def edit(file: Path, change: Callable[[geopandas.GeoDataFrame], Any]) -> None:
    """Rewrite the layer of points as a GIS would, the design next to it."""
    frame, table = geopandas.read_file(file, layer="points"), pyogrio.read_dataframe(file, layer="design")
    file.unlink()
    change(frame).to_file(file, layer="points", driver="GPKG")
    pyogrio.write_dataframe(table, file, layer="design", driver="GPKG", append=True)


def test_points_survive_the_file(file: Path, points: Points, design: SamplingDesign) -> None:
    found, stored = read_points(file)
    assert stored == design
    for name in ("ids", "strata", "probabilities", "areas"):
        np.testing.assert_array_equal(getattr(found, name), getattr(points, name))
    assert shapely.equals(found.geometry, points.geometry).all()
    assert (found.reference, found.notes, found.blocks) == (points.reference, BLANK, None)


def test_blocks_survive_the_file(tmp_path: Path, points: Points, make_design: Callable[..., SamplingDesign]) -> None:
    stratum = Stratum(1, units=600, sampled=5, area=60_000.0, blocks=6, sampled_blocks=2)
    design = make_design(kind="two-stage", strata=(stratum,), block_side=10)
    blocks = np.array([4, 2, 4, 2, 2])
    write_points(tmp_path / "p.gpkg", replace(points, strata=np.ones(5, int), blocks=blocks), design)
    np.testing.assert_array_equal(read_points(tmp_path / "p.gpkg")[0].blocks, blocks)


def test_parcels_are_units_too(tmp_path: Path, points: Points, make_design: Callable[..., SamplingDesign]) -> None:
    parcels = replace(points, geometry=shapely.buffer(points.geometry, 30.0), areas=shapely.area(points.geometry) + 9.0)
    write_points(tmp_path / "p.gpkg", parcels, make_design(unit="parcel", parcels="parcels.gpkg"))
    found, _ = read_points(tmp_path / "p.gpkg")
    assert shapely.equals(found.geometry, parcels.geometry).all()
    np.testing.assert_array_equal(found.areas, parcels.areas)


def test_class_of_the_map_is_hidden_unless_given(tmp_path: Path, points: Points, design: SamplingDesign) -> None:
    names = ("wheat", "maize", "wheat", "wheat", "maize")
    for shown, columns in ((None, set()), (names, {"map_class"})):
        write_points(tmp_path / "p.gpkg", replace(points, map_classes=shown), design)
        layer = geopandas.read_file(tmp_path / "p.gpkg", layer="points")
        assert set(layer.columns) & {"map_class", "class"} == columns


def test_equal_points_make_equal_files(tmp_path: Path, points: Points, design: SamplingDesign) -> None:
    for name in ("a.gpkg", "b.gpkg"):
        write_points(tmp_path / name, points, design)
    assert (tmp_path / "a.gpkg").read_bytes() == (tmp_path / "b.gpkg").read_bytes()
    assert {path.name for path in tmp_path.iterdir() if path.suffix} == {"a.gpkg", "b.gpkg"}


def test_points_in_another_crs_are_transformed_back(file: Path, points: Points) -> None:
    edit(file, lambda frame: frame.to_crs("EPSG:4326"))
    found, _ = read_points(file)
    assert shapely.distance(found.geometry, points.geometry).max() < 1e-3


@pytest.mark.parametrize("name", ["labels.csv", "labels.geojson", "labels.gpkg", "semicolons.csv"])
def test_labels_are_joined_by_point(tmp_path: Path, blank: Path, points: Points, name: str) -> None:
    frame = geopandas.GeoDataFrame(
        {"point_id": points.ids, "crop": points.reference}, geometry=list(points.geometry), crs="EPSG:32632"
    ).iloc[::-1]
    table = pd.DataFrame(frame.drop(columns="geometry"))
    if name.endswith(".csv"):
        table.to_csv(tmp_path / name, index=False, sep=";" if "semi" in name else ",", encoding="utf-8-sig")
    else:
        frame.to_crs("EPSG:4326").to_file(tmp_path / name)
    found, _ = read_points(tmp_path / name, label_column="crop", design=blank)
    assert found.reference == points.reference


def test_points_without_a_row_of_labels_have_no_answer(tmp_path: Path, blank: Path) -> None:
    (tmp_path / "labels.csv").write_text("point_id,crop\n2,maize\n5,wheat\n")
    found, _ = read_points(tmp_path / "labels.csv", label_column="crop", design=blank)
    assert found.reference == ("", "maize", "", "", "wheat")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("point_id,crop\n1,maize\n1,wheat\n", "point 1 is there more than once"),
        ("point_id,crop\n1,maize\n9,wheat\n8,wheat\n", "points 9, 8 are not in the sample"),
        ("point_id,crop\none,maize\n", "has 'one'"),
        ("id,crop\n1,maize\n", "no column 'point_id'"),
        ("point_id,ref\n1,maize\n", "no column 'crop'; .*--label-column"),
        ("", "no column 'point_id'"),
    ],
)
def test_labels_that_fit_no_sample_are_refused(tmp_path: Path, blank: Path, text: str, problem: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(CropzooError, match=problem):
        read_points(tmp_path / "labels.csv", label_column="crop", design=blank)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda frame: frame.iloc[1:], "stratum 1 has 2 points, and 3 were drawn, so points were removed"),
        (lambda frame: pd.concat([frame, frame.iloc[:1].assign(point_id=6)]), "so points were added"),
        (lambda frame: pd.concat([frame, frame.iloc[:1]]), "point 1 is there more than once"),
        (lambda frame: frame.assign(stratum=7), "stratum 1 has 0 points"),
        (lambda frame: frame.assign(stratum=[1, 2, 1, 1, None]), "column 'stratum' has empty fields"),
        (lambda frame: frame.assign(stratum="a"), "no longer numeric"),
        (lambda frame: frame.drop(columns="inclusion_probability"), "no column 'inclusion_probability'"),
        (lambda frame: frame.rename(columns={"reference": "crop"}), "no column 'reference'"),
    ],
)
def test_edited_samples_are_refused(file: Path, change: Callable[[Any], Any], problem: str) -> None:
    edit(file, change)
    with pytest.raises(CropzooError, match=problem):
        read_points(file)


def test_points_without_a_design_are_no_sample(tmp_path: Path, points: Points) -> None:
    frame = geopandas.GeoDataFrame({"reference": points.reference}, geometry=list(points.geometry), crs="EPSG:32632")
    for name in ("test_split.gpkg", "test_split.geojson"):
        frame.to_file(tmp_path / name)
        with pytest.raises(CropzooError, match=r"no sampling design.*`cropzoo sample`.*--design"):
            read_points(tmp_path / name)
    with pytest.raises(CropzooError, match="no such file"):
        read_points(tmp_path / "missing.gpkg")


def test_broken_design_is_refused(file: Path) -> None:
    frame = geopandas.read_file(file, layer="points")
    file.unlink()
    frame.to_file(file, layer="points", driver="GPKG")
    table = pd.DataFrame({"key": ["format"], "value": ["{"]})
    pyogrio.write_dataframe(table, file, layer="design", driver="GPKG", append=True)
    with pytest.raises(CropzooError, match="design cannot be read"):
        read_points(file)


def test_points_are_a_geopackage(tmp_path: Path, points: Points, design: SamplingDesign) -> None:
    with pytest.raises(UsageError, match=r"\.gpkg"):
        write_points(tmp_path / "points.geojson", points, design)


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.drop(columns="geometry").assign(stratum=3 - table.stratum),
        lambda table: table[["point_id", "reference", "geometry"]].set_geometry(table.geometry.translate(10, 0)),
    ],
)
def test_labels_of_another_sample_are_refused(tmp_path: Path, file: Path, blank: Path, change: Any) -> None:
    table = change(geopandas.read_file(file, layer="points"))
    path = tmp_path / ("labels.geojson" if "geometry" in table else "labels.csv")
    table.to_file(path) if "geometry" in table else table.to_csv(path, index=False)
    with pytest.raises(CropzooError, match="labels belong to another sample"):
        read_points(path, design=blank)
