"""Files of parcels that are not as simple as a layer of polygons with a few short columns."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely

from cropzoo.errors import CropzooError
from cropzoo.geo.vector.source import open_source
from cropzoo.inference.parcels.run import ZonalOptions, map_parcels

from ...small_maps import NORTH, WEST

LABELS = np.repeat([[0, 1]], 6, axis=1).repeat(6, axis=0)
BOXES = [shapely.box(1, 1, 5, 5), shapely.box(7, 1, 11, 5), shapely.box(6, 0, 9, 3)]
AWAY = shapely.box(100, 100, 104, 104)


def _placed(shapes: list[Any], **columns: Any) -> geopandas.GeoDataFrame:
    """Shapes of columns and rows as a frame on the map."""

    def move(points: Any) -> Any:
        return np.concatenate([points[:, :2] * (10, -10) + (WEST, NORTH), points[:, 2:]], axis=1)

    on_map = [
        None if shape is None else shapely.transform(shape, move, include_z=bool(shape.has_z)) for shape in shapes
    ]
    return geopandas.GeoDataFrame(columns, geometry=on_map, crs="EPSG:32631")


@pytest.mark.parametrize("piece", [100, 1])
def test_numbers_in_geojson_do_not_depend_on_what_stands_before_them(
    make_map: Callable[..., Path], tmp_path: Path, piece: int
) -> None:
    numbers = {"id": pd.array([1, None, 2**40], "Int64"), "one": pd.array([None, None, 7], "Int64")}
    _placed([AWAY, *BOXES[:2]], **numbers, crop=["grass"] * 3, name=["ä", None, 'x "y"']).to_file(tmp_path / "in.gpkg")
    options = ZonalOptions(crop_column="crop")
    map_parcels(make_map(LABELS), tmp_path / "in.gpkg", tmp_path / "out.geojson", options, piece=piece)
    features = json.loads((tmp_path / "out.geojson").read_text("utf-8"))["features"]
    fields = [feature["properties"] for feature in features]
    assert [each["id"] for each in fields] == [1, None, 2**40]
    assert [each["one"] for each in fields] == [None, None, 7]
    assert [each["name"] for each in fields] == ["ä", None, 'x "y"']
    assert [each["map_code"] for each in fields] == [None, 60, 201]
    assert [each["agrees"] for each in fields] == [None, True, False]
    assert [each["suspect"] for each in fields] == [None, None, 1]
    assert features[1]["geometry"]["coordinates"][0][0] == pytest.approx([4.42, 50.99], abs=0.01)


def test_yes_and_no_stay_so_where_some_are_empty(make_map: Callable[..., Path], tmp_path: Path) -> None:
    _placed(BOXES, organic=pd.array([True, None, False], "boolean")).to_file(tmp_path / "in.gpkg")
    map_parcels(make_map(LABELS), tmp_path / "in.gpkg", tmp_path / "out.gpkg")
    info = pyogrio.read_info(tmp_path / "out.gpkg")
    assert dict(zip(info["fields"], info["dtypes"], strict=True))["organic"] == "bool"
    assert geopandas.read_file(tmp_path / "out.gpkg").organic.isna().tolist() == [False, True, False]


LIST = {"crops": [["main", "catch"], ["ä"], []], "pid": [2**53 + 1, None, 2**63 - 1]}


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".fgb", ".shp", ".csv", ".parquet"])
def test_columns_of_every_type_are_written(
    make_map: Callable[..., Path], tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    frame = _placed(BOXES).to_crs("EPSG:4326")
    others = {
        "day": ["2021-04-10", None, "2021-04-11"],
        "time": ["2021-04-10T10:00:00Z", None, "2021-04-11T10:00:00Z"],
        "yes": [True, None, False],
        "object": [{"a": 1}, None, {}],
    }
    rows = [dict(zip((*LIST, *others), row, strict=True)) for row in zip(*LIST.values(), *others.values(), strict=True)]
    features = [
        {"type": "Feature", "properties": row, "geometry": shape.__geo_interface__}
        for row, shape in zip(rows, frame.geometry, strict=True)
    ]
    (tmp_path / "in.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    out = tmp_path / f"out{suffix}"
    map_parcels(make_map(LABELS), tmp_path / "in.geojson", out)
    assert [line for line in caplog.messages if "'crops' has lists or objects, which become JSON texts" in line]
    if suffix == ".parquet":
        table = geopandas.read_parquet(out)
    else:
        table = pd.read_csv(out, dtype="string") if suffix == ".csv" else open_source(out).read_range(0, 3)
    assert {json.dumps(json.loads(text)) for text in table.crops} == {json.dumps(value) for value in LIST["crops"]}
    assert set(table.yes.astype("string").dropna()) <= {"True", "False", "1", "0"}
    if suffix != ".shp":  # whose numbers have 18 digits
        assert {int(value) for value in table.pid.dropna()} == {2**53 + 1, 2**63 - 1}


def test_a_column_of_lists_is_no_crop(make_map: Callable[..., Path], tmp_path: Path) -> None:
    frame = _placed(BOXES).to_crs("EPSG:4326")
    features = [
        {"type": "Feature", "properties": {"crops": ["grass"]}, "geometry": shape.__geo_interface__}
        for shape in frame.geometry
    ]
    (tmp_path / "in.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    with pytest.raises(CropzooError, match=r"in.geojson'; column 'crops' has lists or objects.*; choose a column of"):
        map_parcels(make_map(LABELS), tmp_path / "in.geojson", tmp_path / "out.gpkg", ZonalOptions(crop_column="crops"))


@pytest.mark.parametrize("piece", [100, 1])
def test_columns_of_the_users_may_have_any_name(make_map: Callable[..., Path], tmp_path: Path, piece: int) -> None:
    """A GeoPackage has columns of its own, and tells none apart by capitals."""
    names = {"FID": ["x", "x", "z"], "geom": ["a", "b", "c"], "Map_Crop": [1, 2, 3], "MAP_CONF": [1.5] * 3}
    _placed(BOXES, **names).to_file(tmp_path / "in.geojson")
    summary = map_parcels(make_map(LABELS), tmp_path / "in.geojson", tmp_path / "out.gpkg", piece=piece)
    table = geopandas.read_file(tmp_path / "out.gpkg")
    assert set(summary.replaced) == {"Map_Crop", "MAP_CONF"}
    assert table.FID.tolist() == ["x", "x", "z"]
    assert table.geom.tolist() == ["a", "b", "c"]
    assert table.map_crop.tolist() == ["grass", "maize", "maize"]
    assert "Map_Crop" not in table.columns


@pytest.mark.parametrize("missing", [None, shapely.Polygon()])
def test_parcels_without_geometry_are_kept_in_flatgeobuf(
    make_map: Callable[..., Path], tmp_path: Path, missing: Any
) -> None:
    _placed([missing, *BOXES], number=[1, 2, 3, 4]).to_file(tmp_path / "in.gpkg")
    map_parcels(make_map(LABELS), tmp_path / "in.gpkg", tmp_path / "out.fgb")
    table = geopandas.read_file(tmp_path / "out.fgb").sort_values("number")
    assert table.map_crop.isna().tolist() == [True, False, False, False]


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".geojson"])
@pytest.mark.parametrize("piece", [100, 1])
def test_layers_of_several_kinds_of_geometry(
    make_map: Callable[..., Path], tmp_path: Path, suffix: str, piece: int
) -> None:
    both = shapely.multipolygons(BOXES[:2])
    shapes = [BOXES[0], shapely.Point(1, 1), both, shapely.geometrycollections([BOXES[1], shapely.Point(2, 2)])]
    _placed(shapes, number=[1, 2, 3, 4]).to_file(tmp_path / "in.gpkg")
    summary = map_parcels(make_map(LABELS), tmp_path / "in.gpkg", tmp_path / f"out{suffix}", piece=piece)
    table = geopandas.read_file(tmp_path / f"out{suffix}").sort_values("number")
    assert summary.no_polygon == 1
    assert table.map_crop.isna().tolist() == [False, True, False, False]
    assert table.geom_type.tolist() == ["Polygon", "Point", "MultiPolygon", "GeometryCollection"]


def test_a_format_that_cannot_hold_a_geometry_is_named_with_one_that_can(
    make_map: Callable[..., Path], tmp_path: Path
) -> None:
    _placed([BOXES[0], shapely.Point(1, 1)]).to_file(tmp_path / "in.gpkg")
    with pytest.raises(CropzooError, match=r"out\.shp.*POINT.*choose a \.gpkg.*an existing file is unchanged"):
        map_parcels(make_map(LABELS), tmp_path / "in.gpkg", tmp_path / "out.shp")
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize("suffix", [".shp", ".gpkg", ".fgb", ".geojson"])
def test_heights_are_kept(make_map: Callable[..., Path], tmp_path: Path, suffix: str) -> None:
    shapes = [shapely.force_3d(shape, 120.0) for shape in [shapely.multipolygons(BOXES[:2]), *BOXES]]
    _placed(shapes).to_file(tmp_path / "in.gpkg")
    map_parcels(make_map(LABELS), tmp_path / "in.gpkg", tmp_path / f"out{suffix}", piece=1)
    points = shapely.get_coordinates(geopandas.read_file(tmp_path / f"out{suffix}").geometry, include_z=True)
    assert (points[:, 2] == 120).all()


def test_a_shapefile_is_whole_and_says_what_it_could_not_hold(make_map: Callable[..., Path], tmp_path: Path) -> None:
    _placed(BOXES, name_of_the_farm=["a", "b", "c" * 300]).to_file(tmp_path / "in.gpkg")
    (tmp_path / "made").mkdir()
    stale, out = tmp_path / "made" / "out.qix", tmp_path / "made" / "out.SHP"
    stale.write_text("where the features of an older file lay")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        summary = map_parcels(make_map(LABELS), tmp_path / "in.gpkg", out, piece=2)
    table = geopandas.read_file(out)
    assert table.name_of_th.tolist() == ["a", "b", "c" * 254]
    assert table.map_crop.tolist() == ["grass", "maize", "maize"]
    renamed, cut = summary.changed
    assert "'name_of_the_farm' to 'name_of_th'" in renamed
    assert "c" * 100 in cut
    assert len(cut) < 210
    assert not stale.exists()


def test_ids_of_features_that_repeat_are_passed_over(make_map: Callable[..., Path], tmp_path: Path) -> None:
    frame = _placed(BOXES, id=[5, 5, 6]).to_crs("EPSG:4326")
    collection = json.loads(frame.to_json())
    for feature in collection["features"]:
        feature["id"] = 5
    (tmp_path / "in.geojson").write_text(json.dumps(collection))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        map_parcels(make_map(LABELS), tmp_path / "in.geojson", tmp_path / "out.geojson", piece=2)
    features = json.loads((tmp_path / "out.geojson").read_text())["features"]
    assert [feature["properties"]["id"] for feature in features] == [5, 5, 6]


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".fgb", ".csv"])
def test_equal_parcels_make_equal_bytes(make_map: Callable[..., Path], tmp_path: Path, suffix: str) -> None:
    _placed(BOXES, crop=["grass"] * 3).to_file(tmp_path / "in.gpkg")
    map_path, written = make_map(LABELS), []
    for number in range(2):
        out = tmp_path / str(number) / f"out{suffix}"
        map_parcels(map_path, tmp_path / "in.gpkg", out)
        written.append(out.read_bytes())
        time.sleep(0.01)
    assert written[0] == written[1]
    if suffix == ".gpkg":
        assert b"2000-01-01T00:00:00.000Z" in written[0]
    assert [path.name for path in (tmp_path / "1").iterdir()] == [f"out{suffix}"]
