"""Reading vector files without changing a value: integers, lists, archives, encodings, GeoParquet."""

from __future__ import annotations

import io
import json
import logging
import sqlite3
import struct
import subprocess
import sys
import zipfile
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
from shapely import box

from cropzoo.errors import CropzooError, UsageError
from cropzoo.geo.vector.encoding import find_utf8
from cropzoo.geo.vector.source import open_source

BOXES = [box(i, 0, i + 0.5, 1) for i in range(4)]
LARGE = (9007199254740993, 9007199254740995, 2**63 - 1, 5)


def write_geojson(path: Path, **columns: list[Any]) -> Path:
    features = [
        {
            "type": "Feature",
            "properties": dict(zip(columns, row, strict=True)),
            "geometry": shapely.geometry.mapping(shape),
        }
        for row, shape in zip(zip(*columns.values(), strict=True), BOXES, strict=True)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def make_frame(**columns: Any) -> geopandas.GeoDataFrame:
    return geopandas.GeoDataFrame(columns, geometry=BOXES, crs="EPSG:4326")


def fields(column: Any) -> list[Any]:
    return [None if missing else value for value, missing in zip(column.tolist(), pd.isna(column), strict=True)]


def write(path: Path, frame: geopandas.GeoDataFrame) -> Path:
    if path.suffix == ".parquet":
        pytest.importorskip("pyarrow")
        frame.to_parquet(path)
    else:
        frame.to_file(path)
    return path


@pytest.mark.parametrize("name", ["p.gpkg", "p.geojson", "p.fgb", "p.parquet"])
@pytest.mark.parametrize("column", ["pid", 'a "b" \\c', "größe"])
def test_integers_next_to_empty_fields_are_exact(tmp_path: Path, name: str, column: str) -> None:
    for hole in range(4):
        ids = [None if position == hole else value for position, value in enumerate(LARGE)]
        (tmp_path / name).unlink(missing_ok=True)
        source = open_source(write(tmp_path / name, make_frame(**{column: pd.array(ids, "Int64")})))
        whole, near = source.read_range(0, 4), source.read_near([None], [column])
        assert sorted(fields(whole[column]), key=str) == sorted(ids, key=str)
        assert fields(near[column]) == fields(whole[column])
        if name != "p.fgb":  # whose index reorders the features
            assert fields(source.read_range(1, 2, [column])[column]) == ids[1:3]
            assert fields(source.read_near([(1.6, 0, 2.2, 1), (0, 0, 0.1, 1)], [column])[column]) == [ids[0], ids[2]]


@pytest.mark.parametrize("name", ["p.gpkg", "p.parquet"])
def test_negative_integers_are_exact(tmp_path: Path, name: str) -> None:
    ids = [None, 1 - 2**63, -(2**53) - 1, 5]
    source = open_source(write(tmp_path / name, make_frame(id=pd.array(ids, "Int64"))))
    assert fields(source.read_range(0, 4)["id"]) == ids


def test_integers_of_19_digits_in_a_shapefile_are_exact(tmp_path: Path) -> None:
    ids = [None, 2**53 + 1, 2**63 - 1, 5]
    path = write(tmp_path / "p.shp", make_frame(pid=pd.array(ids, "Int64"), share=[0.5, 1e17, 2.0, 3.0]))
    source = open_source(path)
    assert fields(source.read_range(0, 4)["pid"]) == ids
    assert fields(source.read_range(1, 2, ["pid"])["pid"]) == ids[1:3]
    assert fields(source.read_near([(1.6, 0, 2.2, 1), (0, 0, 0.1, 1)], ["pid"])["pid"]) == [None, 2**63 - 1]
    assert source.problems == {}


def test_integers_that_cannot_be_exact_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        CropzooError, match=r"p.geojson'; the file cannot be read .*Unrecognized number: 9223372036854775808"
    ):
        open_source(write_geojson(tmp_path / "p.geojson", id=[1, 2, 3, 2**63]))
    make_frame(id=[1.0, 2.0**53, 3.0, None], share=[0.5, 2.0**60, 1, 2]).to_file(tmp_path / "p.gpkg")
    source = open_source(tmp_path / "p.gpkg")
    source.read_range(0, 4)
    assert "last digits are lost above 2^53" in source.problems["id"]
    assert "share" not in source.problems
    # GDAL reads a column with large negative integers as floating-point numbers.
    source = open_source(write_geojson(tmp_path / "q.geojson", id=[None, 2**53 + 1, -(2**62) - 1, 5]))
    source.read_range(0, 4)
    assert "last digits are lost above 2^53" in source.problems["id"]


def test_lists_objects_and_bytes_are_texts(tmp_path: Path) -> None:
    columns = {
        "words": [["main", "catch"], None, ["ä"], []],
        "numbers": [[1, 2], [3], None, [2**53 + 1]],
        "object": [{"a": 1}, None, {"b": ["x"]}, {}],
        "mixed": ["a", ["b"], 3, None],
        "yes": [True, None, False, True],
        "day": ["2021-04-10", None, "2021-04-11", "2021-04-12"],
    }
    source = open_source(write_geojson(tmp_path / "p.geojson", **columns))
    frame = source.read_range(0, 4)
    assert [text and json.loads(text) for text in fields(frame.words)] == columns["words"]
    assert [text and json.loads(text) for text in fields(frame.numbers)] == columns["numbers"]
    assert [text and json.loads(text) for text in fields(frame.object)] == columns["object"]
    assert fields(frame.yes) == columns["yes"]
    assert {"words", "numbers", "object"} <= source.problems.keys()
    assert not {"yes", "day"} & source.problems.keys()
    frame.to_file(tmp_path / "again.gpkg")


@pytest.mark.parametrize("inner", ["AT/AT_2021.shp", "a b/ü/p.gpkg", "p.geojson", "x/y.gdb"])
def test_an_archive_with_folders_is_read(tmp_path: Path, inner: str) -> None:
    target = tmp_path / "made" / inner
    target.parent.mkdir(parents=True)
    make_frame(crop=[1, 2, 3, 4]).to_file(target, **({"driver": "OpenFileGDB"} if inner.endswith("gdb") else {}))
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        for path in sorted((tmp_path / "made").rglob("*")):
            archive.write(path, path.relative_to(tmp_path / "made"))
        archive.writestr("__MACOSX/AT/._AT_2021.shp", b"x")
        archive.writestr("README.txt", b"x")
    source = open_source(tmp_path / "p.zip")
    assert source.path == tmp_path / "p.zip"
    assert fields(source.read_range(0, 4)["crop"]) == [1, 2, 3, 4]


def test_an_archive_of_several_files_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        for name in ("a/AT.shp", "a/BE.shp"):
            archive.writestr(name, b"x")
    with pytest.raises(CropzooError, match=r"p.zip'; it contains 2 vector files \(a/AT.shp, a/BE.shp\); extract"):
        open_source(tmp_path / "p.zip")
    (tmp_path / "q.zip").write_bytes(b"PK no archive")
    with pytest.raises(CropzooError, match=r"q.zip'; it is not a valid archive"):
        open_source(tmp_path / "q.zip")


NAMES = ["Řepka", "Pšenice", "Žito", "Řepka"]


def write_shapefile(path: Path, encoding: str, declared: str | None) -> Path:
    make_frame(crop=NAMES).to_file(path, encoding=encoding)
    path.with_suffix(".cpg").unlink()
    if declared:
        path.with_suffix(".cpg").write_text(declared)
    return path


@pytest.mark.parametrize("declared", [None, "ISO-8859-1", "1252"])
def test_utf8_is_recognized_whatever_is_declared(tmp_path: Path, caplog: Any, declared: str | None) -> None:
    path = write_shapefile(tmp_path / "p.shp", "UTF-8", declared)
    with caplog.at_level(logging.WARNING, "cropzoo"):
        assert fields(open_source(path).read_range(0, 4)["crop"]) == NAMES
    (record,) = caplog.records
    assert "p.shp': the texts are UTF-8 and are read as such, although" in record.getMessage()


def test_a_declared_encoding_is_used(tmp_path: Path, caplog: Any) -> None:
    for encoding, declared in (("UTF-8", "UTF-8"), ("CP1250", "1250"), ("CP1250", "CP1250")):
        path = write_shapefile(tmp_path / "p.shp", encoding, declared)
        assert fields(open_source(path).read_near([None], ["crop"])["crop"]) == NAMES
    make_frame(crop=["a", "b", "c", "d"]).to_file(tmp_path / "ascii.shp", encoding="CP1250")
    (tmp_path / "ascii.cpg").unlink()
    open_source(tmp_path / "ascii.shp")
    assert not caplog.records


def test_an_encoding_that_nothing_declares_is_warned_about(tmp_path: Path, caplog: Any) -> None:
    path = write_shapefile(tmp_path / "p.shp", "CP1250", None)
    with caplog.at_level(logging.WARNING, "cropzoo"):
        open_source(path).read_range(0, 4)
    (record,) = caplog.records
    assert "no .cpg file declares the encoding of the texts, and ISO-8859-1 is assumed" in record.getMessage()
    assert "--encoding cp1250" in record.getMessage()
    caplog.clear()
    assert fields(open_source(path, encoding="cp1250").read_range(0, 4)["crop"]) == NAMES
    assert not caplog.records


def test_an_encoding_that_is_declared_and_wrong_is_an_error(tmp_path: Path) -> None:
    path = write_shapefile(tmp_path / "p.shp", "CP1250", "UTF-8")
    with pytest.raises(CropzooError, match=r"p.shp'; its .cpg file declares the encoding 'UTF-8', .*--encoding cp1250"):
        open_source(path)
    assert fields(open_source(path, encoding="CP1250").read_near([None], ["crop"])["crop"]) == NAMES
    with pytest.raises(CropzooError, match=r"p.shp'; a text in it is not valid UTF-8; .*--encoding cp1250"):
        open_source(path, encoding="utf-8").read_range(0, 4)
    with pytest.raises(UsageError, match="--encoding is 'cp12500'; it is unknown"):
        open_source(path, encoding="cp12500")


def test_the_encoding_of_a_shapefile_in_an_archive_is_found(tmp_path: Path) -> None:
    write_shapefile(tmp_path / "p.shp", "UTF-8", None)
    with zipfile.ZipFile(tmp_path / "p.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in tmp_path.glob("p.*"):
            if path.suffix != ".zip":
                archive.write(path, f"AT/{path.stem}{path.suffix.upper() if path.suffix == '.dbf' else path.suffix}")
    assert fields(open_source(tmp_path / "p.zip").read_range(0, 4)["crop"]) == NAMES


def test_a_last_letter_that_the_field_cuts_is_no_evidence() -> None:
    def make_dbf(text: bytes, width: int) -> io.BytesIO:
        description = b"crop".ljust(11, b"\0") + b"C" + bytes(4) + bytes([width, 0]) + bytes(14)
        header = bytes(4) + (1).to_bytes(4, "little") + (65).to_bytes(2, "little") + (width + 1).to_bytes(2, "little")
        return io.BytesIO(header.ljust(32, b"\0") + description + b"\r" + b" " + text.ljust(width) + b"\x1a")

    assert find_utf8(make_dbf("café".encode("latin-1"), 4)) is None
    assert find_utf8(make_dbf("café".encode("latin-1"), 5)) is False
    assert find_utf8(make_dbf("café".encode(), 5)) is True
    assert find_utf8(make_dbf("é café".encode()[:-1], 7)) is None
    assert find_utf8(make_dbf(b"cafe", 9)) is None
    assert find_utf8(io.BytesIO(b"no table")) is None


@pytest.mark.parametrize("covering", [True, False])
def test_geoparquet_is_read_and_filtered(tmp_path: Path, covering: bool) -> None:
    pytest.importorskip("pyarrow")
    frame = make_frame(
        code=pd.Categorical(["0101", "101", "0101", "00"]),
        big=pd.array([2**63, None, 1, 2**64 - 1], "UInt64"),
        tags=[["a"], None, [], ["b", "c"]],
        day=[date(2021, 4, 10)] * 4,
    )
    frame.to_parquet(tmp_path / "p.parquet", write_covering_bbox=covering, row_group_size=3)
    source = open_source(tmp_path / "p.parquet")
    assert (source.count, source.columns) == (4, ("code", "big", "tags", "day"))
    assert source.geometry_type == "Polygon"
    assert source.crs.to_epsg() == 4326
    assert np.allclose(source.total_bounds, (0, 0, 3.5, 1))
    whole = source.read_range(0, 4)
    assert fields(whole["code"]) == ["0101", "101", "0101", "00"]
    assert fields(whole["big"]) == [2**63, None, 1, 2**64 - 1]
    assert fields(whole["tags"]) == ['["a"]', None, "[]", '["b", "c"]']
    assert source.problems.keys() == {"tags"}
    for start, count in ((0, 2), (2, 2), (3, 5), (4, 1), (1, 0)):
        part = source.read_range(start, count, ["code"])
        assert fields(part["code"]) == fields(whole["code"])[start : start + count]
        assert list(part.columns) == ["code", "geometry"]
    near = source.read_near([(2.1, 0, 2.2, 1), (0, 0, 0.1, 1)], ["code", "big"])
    assert fields(near["big"]) == [2**63, 1]
    assert len(source.read_near([(50, 50, 51, 51)], ["code"])) == 0


def test_parquet_that_is_no_geoparquet_is_named(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "table.parquet")
    with pytest.raises(CropzooError, match=r"table.parquet'; it is a Parquet file without geometries"):
        open_source(tmp_path / "table.parquet")
    make_frame().set_crs(None, allow_override=True).to_parquet(tmp_path / "bare.parquet")
    with pytest.raises(CropzooError, match=r"bare.parquet'; it has no CRS"):
        open_source(tmp_path / "bare.parquet")
    (tmp_path / "text.parquet").write_text("no parquet")
    with pytest.raises(CropzooError, match=r"text.parquet'; the file cannot be read as GeoParquet"):
        open_source(tmp_path / "text.parquet")


def test_without_pyarrow_the_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "p.parquet").write_text("")
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from pathlib import Path\n"
        "from cropzoo.geo.vector.source import open_source\n"
        f"open_source(Path({str(tmp_path / 'p.parquet')!r}))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pyarrow is not installed; run `pip install 'cropzoo[parquet]'`" in ended.stderr


def break_rings(path: Path, changes: dict[int, str]) -> None:
    """Change features, by their position, of a file of `make_frame`: "open" moves the last point of the ring, "cut"
    leaves a single point of it.
    """

    def break_wkb(wkb: bytes, how: str) -> bytes:
        start = len(wkb) - 5 * 16
        opened = wkb[: start + 4 * 16] + struct.pack("<2d", *struct.unpack("<2d", wkb[start + 3 * 16 : start + 4 * 16]))
        return opened if how == "open" else wkb[: start - 4] + struct.pack("<I", 1) + wkb[start : start + 16]

    if path.suffix == ".geojson":
        content = json.loads(path.read_text())
        for position, how in changes.items():
            [ring] = content["features"][position]["geometry"]["coordinates"]
            del ring[4 if how == "open" else 1 :]
        path.write_text(json.dumps(content))
    elif path.suffix == ".gpkg":
        with closing(sqlite3.connect(path)) as file, file:
            for (trigger,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                file.execute(f"DROP TRIGGER {trigger}")  # they call functions of GDAL
            for position, how in changes.items():
                (blob,) = file.execute("SELECT geom FROM p WHERE fid = ?", [position + 1]).fetchone()
                header = len(blob) - 93  # a polygon of five points has 93 bytes
                file.execute(
                    "UPDATE p SET geom = ? WHERE fid = ?",
                    [blob[:header] + break_wkb(blob[header:], how), position + 1],
                )
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pq.read_table(path)
        wkb = [
            break_wkb(each, changes[position]) if position in changes else each
            for position, each in enumerate(table["geometry"].to_pylist())
        ]
        place = table.column_names.index("geometry")
        pq.write_table(table.set_column(place, table.schema.field("geometry"), [pa.array(wkb, pa.binary())]), path)


@pytest.mark.parametrize("name", ["p.gpkg", "p.geojson", "p.parquet"])
def test_an_open_ring_is_closed_and_a_broken_geometry_left_out_with_a_warning(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / name, make_frame(crop=["a", "b", "c", "d"]))
    break_rings(path, {1: "open", 2: "open", 3: "cut"})
    frame = open_source(path).read_near([None], ["crop"])
    assert list(frame.crop) == ["a", "b", "c", "d"]
    assert [None if shape is None else shape.area for shape in frame.geometry] == [0.5, 0.5, 0.5, None]
    assert frame.crs == "EPSG:4326"
    ids = {
        "p.gpkg": (" (feature ids 2, 3)", " (feature ids 4)"),
        "p.geojson": (" (feature ids 1, 2)", " (feature ids 3)"),
    }
    closed, left_out = ids.get(name, ("", ""))
    assert [record.getMessage() for record in caplog.records] == [
        f"parcels {str(path)!r}: 2 geometries have rings that are not closed; the rings are closed{closed}",
        f"parcels {str(path)!r}: 1 geometries are broken and are left out; repair them in the file{left_out}",
    ]
    assert open_source(path).read_range(1, 2, ()).geometry.area.tolist() == [0.5, 0.5]
