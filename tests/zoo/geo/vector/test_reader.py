"""Parcels of files: formats, shapes, columns, and files that do not fit."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from shapely import GeometryCollection, LineString, MultiPoint, MultiPolygon, Point, Polygon, box

from cropzoo import CropzooError
from cropzoo.geo.raster.grid import Grid
from cropzoo.geo.vector.parcel_table import ParcelTable
from cropzoo.geo.vector.reader import read_parcels

FOUR = (box(0, 0, 2, 2), box(2, 0, 4, 2), box(0, 2, 2, 4), box(500, 0, 510, 4))
"""The last one is 5 km from the images."""

Write = Callable[..., Path]
Read = Callable[..., ParcelTable]


@pytest.fixture
def write(tmp_path: Path, on_ground: Callable[[Any], Any]) -> Write:
    """`write(name, polygons, crs="EPSG:32631", **columns)` writes polygons of columns and rows."""

    def write_file(
        name: str,
        polygons: Sequence[Any] = FOUR,
        *,
        crs: str | None = "EPSG:32631",
        height: float | None = None,
        **columns: Sequence[Any],
    ) -> Path:
        shapes = [None if polygon is None else on_ground(polygon) for polygon in polygons]
        shapes = shapes if height is None else [*shapely.force_3d(shapes, height)]
        columns = {"crop": range(11, 11 + len(shapes)), **columns}
        frame = geopandas.GeoDataFrame(columns, geometry=shapes, crs="EPSG:32631")
        frame = frame.set_crs(None, allow_override=True) if crs is None else frame.to_crs(crs)
        if name.endswith(".zip"):
            inner = tmp_path / "inner"
            inner.mkdir()
            frame.to_file(inner / "parcels.shp")
            with zipfile.ZipFile(tmp_path / name, "w") as archive:
                for path in inner.iterdir():
                    archive.write(path, path.name)
        else:
            frame.to_file(tmp_path / name, **({"driver": "OpenFileGDB"} if name.endswith(".gdb") else {}))
        return tmp_path / name

    return write_file


@pytest.fixture
def read(make_grid: Callable[..., Grid]) -> Read:
    """`read(*paths, **options)` reads parcels around a grid of 4 x 4 pixels."""

    def read_files(*paths: Path, **options: Any) -> ParcelTable:
        return read_parcels(paths, **{"crop_column": "crop", "around": [make_grid()], **options})

    return read_files


@pytest.mark.parametrize("crs", ["EPSG:32631", "EPSG:4326", "EPSG:3035", "EPSG:2154"])
@pytest.mark.parametrize("name", ["p.gpkg", "p.geojson", "p.shp", "p.zip", "p.fgb", "p.gdb"])
def test_formats_and_projections(
    write: Write, read: Read, on_ground: Callable[[Any], Any], name: str, crs: str
) -> None:
    table = read(write(name, crs=crs))
    assert sorted(table.crops) == [11, 12, 13]
    assert table.names == ("", "", "")
    assert table.ids.tolist() == [1, 2, 3]
    assert table.ids.dtype == np.int32
    assert (table.years, table.splits, table.notes) == (None, None, [])
    back = table.to_crs("EPSG:32631").geometry
    for shape, crop in zip(back, table.crops, strict=True):  # FlatGeobuf has an order of its own
        assert shapely.hausdorff_distance(shape, on_ground(FOUR[crop - 11])) < 0.02


def test_what_lies_elsewhere_is_not_read(write: Write, read: Read, make_grid: Callable[..., Grid]) -> None:
    path = write("p.gpkg")
    assert read(path, around=[make_grid(east=500)]).crops == (14,)
    assert read(path, around=[make_grid(4, 1), make_grid(1, 4, east=500)]).crops == (11, 12, 13, 14)
    # Two grids that both see a parcel give it once, in the order of the file.
    assert read(path, around=[make_grid(east=500), make_grid(), make_grid()]).crops == (11, 12, 13, 14)


def test_a_slanted_box_is_no_reason_to_read_a_parcel(write: Write, read: Read, make_grid: Callable[..., Grid]) -> None:
    # In the European grid north is turned, so that the box around the images holds this parcel.
    far = Polygon([(-8, 900), (-7, 990), (-7, 900), (-8, 990)])
    table = read(write("p.gpkg", [box(0, 0, 2, 2), far], crs="EPSG:3035"), around=[make_grid(1000, 1000)])
    assert table.crops == (11,)
    assert table.repaired == 0


def test_shapes_that_are_no_plain_polygons(write: Write, read: Read) -> None:
    square = box(0, 0, 2, 2)
    shapes = [
        square,
        MultiPolygon([box(0, 0, 1, 1), box(2, 2, 3, 3)]),
        Polygon(box(0, 0, 4, 4).exterior, [box(1, 1, 2, 2).exterior]),
        GeometryCollection([Point(1, 1), square, GeometryCollection([box(2, 2, 3, 3), LineString([(0, 0), (1, 1)])])]),
        Polygon([(0, 0), (4, 4), (4, 0), (0, 4)]),
        MultiPolygon([box(0, 0, 2, 2), box(1, 1, 3, 3)]),
        LineString([(0, 0), (3, 3)]),
        MultiPoint([(1, 1), (2, 2)]),
        GeometryCollection([Point(1, 1)]),
        Polygon([(0, 0), (1, 1), (2, 2)]),
        None,
        Polygon(),
    ]
    table = read(write("p.geojson", shapes, height=7.0))
    assert table.crops == (11, 12, 13, 14, 15, 16)
    assert table.ids.tolist() == [1, 2, 3, 4, 5, 6]
    assert not shapely.has_z(table.geometry).any()
    assert shapely.is_valid(table.geometry).all()
    areas = shapely.area(table.to_crs("EPSG:32631").geometry) / 100
    np.testing.assert_allclose(areas, [4, 2, 15, 5, 8, 7], rtol=1e-3)
    assert (table.left_out, table.repaired) == (4, 2)
    assert table.notes == [
        "4 shape(s) near the images are not polygons and were left out",
        "2 polygon(s) were invalid and were repaired",
    ]


def test_crops_are_numbers_or_texts(write: Write, read: Read) -> None:
    assert read(write("a.gpkg", crop=["11", " 12 ", "13", "14"])).crops == ("11", "12", "13")
    assert read(write("b.gpkg", crop=["11", "WHT", "007", "x"])).crops == ("11", "WHT", "007")
    assert read(write("c.gpkg", crop=[11.0, None, 13.0, 14.0])).crops == (11, None, 13)
    assert read(write("d.gpkg", crop=["a", None, " ", "b"])).crops == ("a", None, None)
    assert read(write("e.gpkg", crop=["1e3", "inf", "1_0", "b"])).crops == ("1e3", "inf", "1_0")
    # What is elsewhere does not decide: the same column has texts everywhere.
    assert read(write("f.gpkg", crop=["1", "2", "-3", "b"])).crops == ("1", "2", "-3")
    assert read(write("g.gpkg", crop=[1.5, 2.0, 3.0, 4.0])).crops == ("1.5", "2", "3")
    assert read(write("h.gpkg", crop=["a", None, None, "b"])).notes == [
        "2 parcel(s) have no crop; their pixels are ignored"
    ]


def test_files_are_one_table_in_the_crs_of_the_first(write: Write, read: Read) -> None:
    first = write("a.gpkg", [FOUR[1]], crs="EPSG:3035", crop=["12"], crop_name=["maize"])
    second = write("b.geojson", FOUR[::2], crs="EPSG:4326", crop=["x", "y"])
    elsewhere = write("c.gpkg", FOUR[3:])
    table = read(first, elsewhere, second)
    assert table.crops == ("12", "x", "y")
    assert table.names == ("maize", "", "")
    assert table.ids.tolist() == [1, 2, 3]
    assert table.crs.to_epsg() == 3035
    areas = shapely.area(table.to_crs("EPSG:32631").geometry)
    np.testing.assert_allclose(areas, [400, 400, 400], rtol=1e-3)


def test_names_ids_years_and_splits(write: Write, read: Read) -> None:
    path = write(
        "p.gpkg",
        crop_name=["wheat", None, "hop ", "x"],
        number=["40", "7", "2147483647", "1"],
        year=["2018", "2019", "2018", "none"],
        day=[date(2018, 5, 1), date(2019, 5, 1), date(2018, 1, 1), date(2018, 1, 1)],
        time=np.array(["2018-05-01", "2019-05-01", "2018-01-01", "2018-01-01"], "datetime64[ms]"),
        part=["train", " test", None, "x"],
    )
    columns = {"id_column": "number", "year_column": "year", "split_column": "part"}
    table = read(path, **columns)
    assert table.names == ("wheat", "", "hop")
    assert table.ids.tolist() == [40, 7, 2147483647]
    assert table.years == (2018, 2019, 2018)
    assert table.splits == ("train", "test", "")
    assert read(path, year_column="day").years == (2018, 2019, 2018)
    assert read(path, year_column="time").years == (2018, 2019, 2018)
    assert read(path, name_column="part").names == ("train", "test", "")


@pytest.mark.parametrize("option", ["crop_column", "id_column", "year_column", "split_column"])
def test_a_column_that_is_missing(write: Write, read: Read, option: str) -> None:
    path = write("p.gpkg", crops=["a", "b", "c", "d"])
    with pytest.raises(CropzooError, match=r"p.gpkg'; they have no column 'crps'; did you mean 'crops'.*by --"):
        read(path, **{option: "crps"})


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        ("0", "'0'"),
        ("-3", "'-3'"),
        ("x", "'x'"),
        (None, "''"),
        ("2147483648", "'2147483648'"),
        ("1.5", "'1.5'"),
        ("9" * 5000, r"'9{80}'\.\.\. \(5000 characters\)"),
    ],
)
def test_ids_that_are_none(write: Write, read: Read, field: Any, problem: str) -> None:
    path = write("p.gpkg", number=["1", field, "3", "4"])
    with pytest.raises(CropzooError, match=rf"p.gpkg'; column 'number' contains {problem}; parcel ids are integers"):
        read(path, id_column="number")


@pytest.mark.parametrize("year", ["9" * 5000, "0" * 5000, "-" + "2" * 60_000])
def test_a_year_of_thousands_of_digits_is_refused(write: Write, read: Read, year: str) -> None:
    path = write("p.geojson", year=["2019", year, "2019", "2019"])
    with pytest.raises(
        CropzooError, match=r"column 'year' contains '[-029]{80}'\.\.\. \(\d+ characters\), which is not a y"
    ):
        read(path, year_column="year")


def test_crops_of_thousands_of_digits_are_texts(write: Write, read: Read) -> None:
    path = write("p.geojson", crops=["9" * 5000, "1", "9" * 25, "2"])
    assert read(path, crop_column="crops").crops == ("9" * 5000, "1", "9" * 25)


def test_an_id_twice(write: Write, read: Read) -> None:
    path = write("p.gpkg", number=[5, 5, 6, 5], year=[2018, 2019, 2018, 2018])
    assert read(path, id_column="number", year_column="year").ids.tolist() == [5, 5, 6]
    with pytest.raises(CropzooError, match=r"p.gpkg'; id 5 of column 'number' occurs twice; choose a column"):
        read(path, id_column="number")
    again = write("q.gpkg", number=[5, 5, 6, 5], year=[2018, 2018, 2018, 2018])
    with pytest.raises(CropzooError, match="occurs twice in 2018"):
        read(again, id_column="number", year_column="year")


@pytest.mark.parametrize("field", ["soon", None, "1800", "20190501"])
def test_years_that_are_none(write: Write, read: Read, field: Any) -> None:
    path = write("p.gpkg", year=["2018", field, "2018", "2018"])
    with pytest.raises(CropzooError, match=r"p.gpkg'; column 'year' contains '.*', which is not a year; set a year"):
        read(path, year_column="year")


def test_parcels_of_another_place(write: Write, read: Read, make_grid: Callable[..., Grid]) -> None:
    path = write("p.gpkg", crs="EPSG:3035")
    wanted = (
        r"p.gpkg' covers longitude 2.9999 to 3.0720, latitude 50.5472 to 50.5563; the images cover longitude 4.4113 to "
        r"4.4119, latitude 50.5430 to 50.5434, and no parcel intersects them; use parcels and images of the same"
    )
    with pytest.raises(CropzooError, match=wanted):
        read(path, around=[make_grid(east=10_000)])
    points = write("q.geojson", [Point(1, 1), Point(2, 2)])
    with pytest.raises(CropzooError, match=r"no parcel intersects them \(2 shapes near them are not polygons\)"):
        read(points)
    with pytest.raises(CropzooError, match=r"p.gpkg' covers longitude.*q.geojson' covers longitude"):
        read(path, points, around=[make_grid(east=10_000)])
    empty = write("r.gpkg", [])
    with pytest.raises(CropzooError, match=r"r.gpkg' covers nothing"):
        read(empty)


def test_files_that_cannot_be_read(write: Write, read: Read, tmp_path: Path, make_grid: Callable[..., Grid]) -> None:
    with pytest.raises(CropzooError, match=r"no.gpkg'; there is no such file; check its name"):
        read(tmp_path / "no.gpkg")
    (tmp_path / "text.gpkg").write_text("no vector data")
    with pytest.raises(CropzooError, match=r"text.gpkg'; the file cannot be read as vector data, .*; copy it again"):
        read(tmp_path / "text.gpkg")
    whole = write("p.gpkg").read_bytes()
    (tmp_path / "half.gpkg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CropzooError, match=r"half.gpkg'; the file cannot be read as vector data"):
        read(tmp_path / "half.gpkg")
    (tmp_path / "table.csv").write_text("crop\n1\n")
    with pytest.raises(CropzooError, match=r"table.csv'; it is a table without geometries"):
        read(tmp_path / "table.csv")
    two = write("two.gpkg")
    geopandas.read_file(two).to_file(two, layer="second")
    with pytest.raises(CropzooError, match=r"two.gpkg'; it has 2 layers with geometries \(two, second\)"):
        read(two)
    with pytest.raises(CropzooError, match=r"bare.shp'; it has no CRS; add it to the file"):
        read(write("bare.shp", crs=None))
    grid = make_grid()
    with pytest.raises(CropzooError, match=r"p.gpkg'; the images have no CRS"):
        read(tmp_path / "p.gpkg", around=[Grid(4, 4, grid.transform, None)])
    with pytest.raises(CropzooError, match="no file is given"):
        read()
