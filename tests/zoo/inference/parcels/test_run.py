from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine
from pyproj import Transformer

from cropzoo.errors import CropzooError, UsageError
from cropzoo.geo.vector import writer as vectors
from cropzoo.geo.vector.longitudes import cut_at_180
from cropzoo.geo.vector.source import PARQUET
from cropzoo.inference.parcels.run import ZonalOptions, map_parcels

LABELS = np.repeat(np.repeat([[0, 1], [2, 255]], 6, axis=0), 6, axis=1)
BOXES = [shapely.box(1, 1, 5, 5), shapely.box(7, 1, 11, 5), shapely.box(1, 7, 5, 11), shapely.box(8, 8, 10, 10)]
AWAY = shapely.box(100, 100, 104, 104)


def _texts(column: Any) -> list[str | None]:
    return [text if isinstance(text, str) else None for text in column]


def _read(path: Path) -> geopandas.GeoDataFrame:
    return geopandas.read_file(path)


def test_every_parcel_is_kept_with_its_columns(
    make_map: Callable[..., Path], make_parcels: Callable[..., Path], tmp_path: Path
) -> None:
    parcels = make_parcels([*BOXES, AWAY, None], farm=["a", "b", "c", "d", "e", None], size=[1, 2, 3, None, 5, 6])
    summary = map_parcels(make_map(LABELS), parcels, tmp_path / "out.gpkg")
    table = _read(tmp_path / "out.gpkg")
    assert _texts(table.map_crop) == ["grass", "maize", "winter wheat", None, None, None]
    assert table.map_code[:3].tolist() == [60, 201, 311]
    assert table.map_nodata.tolist() == [0, 0, 0, 1, 1, 1]
    assert _texts(table.farm) == ["a", "b", "c", "d", "e", None]
    assert (summary.parcels, summary.mapped, summary.unseen, summary.no_polygon) == (6, 3, 3, 1)
    assert summary.hectares == {"grass": 0.16, "maize": 0.16, "winter wheat": 0.16}
    assert not {"decl_crop", "agrees", "mean_crop", "map_conf"} & set(table.columns)
    for mine, theirs in zip(table.geometry[:5], _read(parcels).geometry[:5], strict=True):
        assert mine.equals(theirs)


def test_areas_in_web_mercator_are_those_on_the_ground(
    make_map: Callable[..., Path], make_parcels: Callable[..., Path], tmp_path: Path
) -> None:
    """Web Mercator stretches lengths by 1 / cos(latitude): areas at 50 degrees are 2.4 times too large in it."""
    x, y = Transformer.from_crs(4326, 3857, always_xy=True).transform(3.0, 50.0)
    path = make_map(LABELS, transform=Affine(10, 0, x, 0, -10, y), crs="EPSG:3857")
    boxes = geopandas.GeoSeries([shapely.box(x + 10, y - 50, x + 50, y - 10)], crs="EPSG:3857")
    boxes.to_file(tmp_path / "parcels.gpkg")
    summary = map_parcels(path, tmp_path / "parcels.gpkg", tmp_path / "out.gpkg")
    projected = boxes.to_crs("EPSG:32631").area.sum() / 1e4
    assert summary.hectares["grass"] == pytest.approx(projected, abs=0.005)
    assert summary.hectares["grass"] < 0.5 * 0.16


def test_whole_numbers_stay_whole_where_some_are_empty(
    make_map: Callable[..., Path], make_parcels: Callable[..., Path], tmp_path: Path
) -> None:
    frame = _read(make_parcels(BOXES, code=[4, 5, 6, 7]))
    frame["code"] = frame.code.astype("Int64").mask(frame.code == 5)
    frame.to_file(tmp_path / "in.gpkg")
    map_parcels(make_map(LABELS), tmp_path / "in.gpkg", tmp_path / "out.gpkg", piece=2)
    info = pyogrio.read_info(tmp_path / "out.gpkg")
    kinds = dict(zip(info["fields"], info["dtypes"], strict=True))
    assert kinds["code"] == "int64"
    assert kinds["map_code"] == "int64"
    assert kinds["map_inner"] == "bool"
    assert _read(tmp_path / "out.gpkg").code.isna().tolist() == [False, True, False, False]


@pytest.mark.parametrize("suffix", sorted(vectors.DRIVERS.keys() - {".csv"}))
@pytest.mark.parametrize("piece", [100, 2])
def test_every_format_says_the_same(
    make_map: Callable[..., Path], make_parcels: Callable[..., Path], tmp_path: Path, suffix: str, piece: int
) -> None:
    if suffix in PARQUET:
        pytest.importorskip("pyarrow")
    both = shapely.multipolygons([BOXES[0], shapely.box(1, 7, 2, 8)])
    parcels = make_parcels(
        [both, *BOXES[1:], AWAY], crs="EPSG:3035", crop=["grass", "grass", "grass", "maize", "maize"]
    )
    out = tmp_path / "made" / f"out{suffix}"
    probabilities = np.stack([k == LABELS for k in range(3)]) * 0.8 + 0.05
    options = ZonalOptions(crop_column="crop", min_pixels=2)
    map_parcels(make_map(LABELS, probabilities), parcels, out, options, piece=piece)
    table = geopandas.read_parquet(out) if suffix in PARQUET else _read(out)
    if suffix == ".fgb":  # whose index reorders the parcels
        table = table.set_index(table.geometry.to_crs("EPSG:3035").map(_key)).loc[_read(parcels).geometry.map(_key)]
    assert _texts(table.map_crop) == ["grass", "maize", "winter wheat", None, None]
    np.testing.assert_allclose(table.map_share[:3], [16 / 17, 1, 1], atol=0.01)
    np.testing.assert_allclose(table.decl_prob[:3], [(16 * 0.85 + 0.05) / 17, 0.05, 0.05], atol=0.01)
    assert [bool(value) for value in table.agrees[:3]] == [True, False, False]
    assert sorted(table.suspect.dropna().astype(int)) == [1, 2]
    assert {path.name.partition(".")[0] for path in out.parent.iterdir()} == {"out"}
    if suffix in (".geojson", ".json"):
        assert table.crs == "EPSG:4326"
    else:
        assert table.crs == "EPSG:3035"


@pytest.mark.parametrize("form", ["utm", "jump", "cut"])
@pytest.mark.parametrize("degrees", [False, True])
def test_parcels_across_180_degrees(make_map: Callable[..., Path], tmp_path: Path, form: str, degrees: bool) -> None:
    x, y = (round(value) for value in Transformer.from_crs(4326, 32701, always_xy=True).transform(-180, -16.8))
    if degrees:
        map_path = make_map(LABELS, transform=Affine(1e-4, 0, 179.9994, 0, -1e-4, -16.8), crs="EPSG:4326")
        left, right = (
            shapely.box(180 - e, -16.8005, 180 - w, -16.8001) for w, e in ((0.0001, 0.0005), (-0.0005, -1e-4))
        )
        across = shapely.box(179.9998, -16.8011, 180.0002, -16.8007)
        frame = geopandas.GeoDataFrame(geometry=[left, right, across], crs="EPSG:4326")
    else:
        map_path = make_map(LABELS, transform=Affine(10, 0, x - 60, 0, -10, y), crs="EPSG:32701")
        shapes = [shapely.box(x - 50, y - 50, x - 10, y - 10), shapely.box(x + 10, y - 50, x + 50, y - 10)]
        across = shapely.box(x - 20, y - 110, x + 20, y - 70)
        frame = geopandas.GeoDataFrame(geometry=[*shapes, across], crs="EPSG:32701")
    if form != "utm":
        frame = frame.to_crs("EPSG:4326") if not degrees else frame
        frame = frame.set_geometry([cut_at_180(shape) for shape in frame.geometry]) if form == "cut" else frame
    elif degrees:
        frame = frame.to_crs("EPSG:32701")
    frame.to_file(tmp_path / "in.gpkg")
    summary = map_parcels(map_path, tmp_path / "in.gpkg", tmp_path / "out.gpkg")
    table = _read(tmp_path / "out.gpkg")
    assert summary.mapped == 3
    assert table.map_crop.tolist() == ["grass", "maize", "winter wheat"]
    assert table.map_pixels[:2].tolist() == pytest.approx([16, 16], rel=0.1)
    assert table.map_nodata[2] == pytest.approx(0.5, abs=0.02)
    assert table.geometry.iloc[0].equals(_read(tmp_path / "in.gpkg").geometry.iloc[0])


def test_csv_is_a_table_without_geometries(
    make_map: Callable[..., Path], make_parcels: Callable[..., Path], tmp_path: Path
) -> None:
    parcels = make_parcels(BOXES, code=["0101", "02", None, "x,y"], number=[2**63 - 1, 2**53 + 1, 5, 6])
    for piece in (100, 2):
        map_parcels(make_map(LABELS), parcels, tmp_path / "out.csv", overwrite=True, piece=piece)
        rows = list(csv.DictReader((tmp_path / "out.csv").open(encoding="utf-8")))
        assert [row["code"] for row in rows] == ["0101", "02", "", "x,y"]
        assert [row["number"] for row in rows] == ["9223372036854775807", "9007199254740993", "5", "6"]
        assert [row["map_crop"] for row in rows] == ["grass", "maize", "winter wheat", ""]
        assert "geometry" not in rows[0]


def _key(shape: Any) -> tuple[int, int]:
    return round(shape.centroid.x), round(shape.centroid.y)


def test_suspects_are_ranked_by_how_unlikely_their_crop_is(
    make_map: Callable[..., Path], make_parcels: Callable[..., Path], tmp_path: Path
) -> None:
    probabilities = np.full((3, 12, 12), 0.1)
    probabilities[0, :6, :6], probabilities[1, :6, 6:], probabilities[2, 6:, :6] = 0.8, 0.6, 0.8
    probabilities[2, :6, 6:] = 0.3
    sliver = shapely.box(1, 1, 1.5, 2)
    parcels = make_parcels([*BOXES, sliver], crop_code=[60, 311, 60, 60, 201], name=["w", "x", "y", "z", "s"])
    options = ZonalOptions(crop_column="crop_code", id_column="name")
    summary = map_parcels(make_map(LABELS, probabilities), parcels, tmp_path / "out.gpkg", options)
    assert [each.name for each in summary.suspects] == ["y", "x"]  # .1 for grass on wheat, .3 for wheat on maize
    assert [each.probability for each in summary.suspects] == pytest.approx([0.1, 0.3])
    assert (summary.compared, summary.agreeing) == (4, 1)
    assert summary.confusion == [[1, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert np.sum(summary.confusion_hectares) == pytest.approx(summary.compared_hectares, abs=0.02)
    table = _read(tmp_path / "out.gpkg")
    assert table.suspect.fillna(0).astype(int).tolist() == [0, 2, 1, 0, 0]
    assert json.loads(json.dumps(summary.as_dict()))["suspects"][0]["declared"] == "grass"


def test_an_output_may_be_the_input_of_another_round(
    make_map: Callable[..., Path], make_parcels: Callable[..., Path], tmp_path: Path
) -> None:
    path = make_map(LABELS)
    map_parcels(path, make_parcels(BOXES), tmp_path / "one.gpkg")
    summary = map_parcels(path, tmp_path / "one.gpkg", tmp_path / "two.gpkg")
    assert "map_crop" in summary.replaced
    assert list(_read(tmp_path / "two.gpkg").columns) == list(_read(tmp_path / "one.gpkg").columns)


def test_parcels_decided_by_their_edge_are_counted_also_where_all_are(
    make_map: Callable[..., Path], make_parcels: Callable[..., Path], tmp_path: Path
) -> None:
    narrow = [shapely.box(1.2, 1, 1.8, 5), shapely.box(2.2, 1, 2.8, 5)]
    path, interior = make_map(LABELS), ZonalOptions(interior=True)
    assert map_parcels(path, make_parcels(narrow), tmp_path / "one.gpkg", interior).edge_only == 2
    assert map_parcels(path, make_parcels([*narrow, *BOXES]), tmp_path / "two.gpkg", interior).edge_only == 2
    assert map_parcels(path, make_parcels(narrow), tmp_path / "three.gpkg").edge_only == 0


def test_no_parcel_at_all_gives_an_empty_table(
    make_map: Callable[..., Path], make_parcels: Callable[..., Path], tmp_path: Path
) -> None:
    empty = _read(make_parcels(BOXES, farm=["a"] * 4)).iloc[:0]
    empty.to_file(tmp_path / "empty.gpkg")
    summary = map_parcels(make_map(LABELS), tmp_path / "empty.gpkg", tmp_path / "out.gpkg")
    assert summary.parcels == 0
    assert {"farm", "map_crop"} <= set(_read(tmp_path / "out.gpkg").columns)


def test_what_stood_there_stays_until_the_table_is_whole(
    make_map: Callable[..., Path],
    make_parcels: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parcels, path, out = make_parcels(BOXES), make_map(LABELS), tmp_path / "made" / "out.gpkg"
    out.parent.mkdir()
    out.write_text("mine")
    with pytest.raises(UsageError, match=r"out\.gpkg.*exists already; pass --overwrite"):
        map_parcels(path, parcels, out)

    def fail(*args: Any, append: bool, **options: Any) -> None:
        if append:
            raise pyogrio.errors.DataSourceError("no space left on device")
        write(*args, append=append, **options)

    write = pyogrio.write_dataframe
    monkeypatch.setattr(vectors.pyogrio, "write_dataframe", fail)
    with pytest.raises(CropzooError, match=r"cannot write .*out\.gpkg.*no space left"):
        map_parcels(path, parcels, out, overwrite=True, piece=2)
    assert out.read_text() == "mine"
    assert [file.name for file in out.parent.iterdir()] == ["out.gpkg"]
    monkeypatch.setattr(vectors.pyogrio, "write_dataframe", write)
    map_parcels(path, parcels, out, overwrite=True, piece=2)
    assert len(_read(out)) == 4


def test_parcels_that_did_not_arrive_are_an_error(
    make_map: Callable[..., Path], make_parcels: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "split_range", lambda count, size: iter([(0, count)]))
    monkeypatch.setattr("cropzoo.inference.parcels.run.split_range", lambda count, size: iter([(0, count - 1)]))
    with pytest.raises(CropzooError, match="3 of 4 parcels arrived"):
        map_parcels(make_map(LABELS), make_parcels(BOXES), tmp_path / "out.gpkg")
    assert not (tmp_path / "out.gpkg").exists()


def test_bad_input_names_the_file(
    make_map: Callable[..., Path], make_parcels: Callable[..., Path], tmp_path: Path
) -> None:
    path, parcels, out = make_map(LABELS), make_parcels(BOXES, crop=["hops", "hops", "", "rice"]), tmp_path / "o.gpkg"
    asked = ZonalOptions
    cases: list[tuple[tuple[Any, ...], type[CropzooError], str]] = [
        ((tmp_path / "no.tif", parcels, out), CropzooError, r"no\.tif.*there is no such file"),
        ((tmp_path, parcels, out), CropzooError, "it is a folder"),
        ((path, tmp_path / "no.gpkg", out), CropzooError, r"no\.gpkg.*there is no such file"),
        ((path, path, out), CropzooError, r"map\.tif.*(vector|geometries)"),
        ((path, parcels, tmp_path / "o.xlsx"), UsageError, r"o\.xlsx.*must end in \.gpkg"),
        ((path, parcels, parcels), UsageError, "it is the input file of the parcels"),
        ((path, parcels, out, asked(crop_column="crp")), CropzooError, "no column 'crp'; did you mean 'crop'"),
        ((path, parcels, out, asked(crop_column="crop")), CropzooError, r"\('hops', 'rice'\).*grass.*--classes"),
        ((path, parcels, out, asked(id_column="farm")), CropzooError, r"no column 'farm'.*--id-column"),
        ((path, parcels, out, asked(classes=tmp_path / "c.csv")), UsageError, "give --crop-column"),
    ]
    for arguments, kind, words in cases:
        with pytest.raises(kind, match=words):
            map_parcels(*arguments)
        assert not out.exists()


@pytest.mark.filterwarnings("ignore:.crs. was not provided")
def test_parcels_without_crs_or_a_map_that_is_none_are_refused(
    make_map: Callable[..., Path], make_parcels: Callable[..., Path], tmp_path: Path
) -> None:
    path, parcels = make_map(LABELS, confidence=LABELS * 0 + 0.5), make_parcels(BOXES)
    _read(parcels).set_crs(None, allow_override=True).to_file(tmp_path / "bare.shp")
    with pytest.raises(CropzooError, match=r"bare\.shp.*no CRS"):
        map_parcels(path, tmp_path / "bare.shp", tmp_path / "out.gpkg")
    confidence_file = tmp_path / "map_confidence.tif"
    confidence_file.write_bytes(confidence_file.read_bytes()[:200])
    with pytest.raises(CropzooError, match=r"map_confidence\.tif"):
        map_parcels(path, parcels, tmp_path / "out.gpkg")
