"""What GDAL and QGIS read next to a map."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine

from cropzoo.data.classified_map import sidecar_paths
from cropzoo.data.mapped_areas import MappedAreas
from cropzoo.data.sample import LabelClass
from cropzoo.inference.mapping.sidecars import format_attributes, format_style

CLASSES = (
    LabelClass("none declared", 0, "#c9c9c4"),
    LabelClass('<maize> & "é"', 201, "#f08a24"),
    LabelClass("grass\x07\ud800", 60, "#7fb069"),
)
CLEAN_NAMES = ["none declared", '<maize> & "é"', "grass\ufffd\ufffd"]
AREAS = MappedAreas(np.array([5, 3_000_000_000, 0]), np.array([0.05, 3e7, 0.0]), 7)


def read_table(text: str) -> tuple[dict[str, tuple[str, str]], list[dict[str, str]]]:
    """Type and usage of the columns of a raster attribute table, and its rows by column."""
    table = ElementTree.fromstring(text).find("PAMRasterBand[@band='1']/GDALRasterAttributeTable")
    assert table is not None
    fields = {each.findtext("Name", ""): each for each in table.iterfind("FieldDefn")}
    columns = {name: (each.findtext("Type", ""), each.findtext("Usage", "")) for name, each in fields.items()}
    rows = [[each.text or "" for each in row.iterfind("F")] for row in table.iterfind("Row")]
    assert [each.get("index") for each in table.iterfind("Row")] == [str(number) for number in range(len(rows))]
    return columns, [dict(zip(columns, row, strict=True)) for row in rows]


def test_the_attribute_table_has_a_row_for_each_class() -> None:
    columns, rows = read_table(format_attributes(CLASSES, AREAS))
    usages = {name: usage for name, (_, usage) in columns.items()}
    assert list(usages.items()) == [
        ("Value", "5"),
        ("Class", "2"),
        ("Code", "0"),
        ("Count", "1"),
        ("Mapped_ha", "0"),
        ("Red", "6"),
        ("Green", "7"),
        ("Blue", "8"),
    ]
    assert [row["Class"] for row in rows] == CLEAN_NAMES
    assert rows[1] == {
        "Value": "1",
        "Class": '<maize> & "é"',
        "Code": "201",
        "Count": "3000000000",
        "Mapped_ha": "30000000.0000",
        "Red": "240",
        "Green": "138",
        "Blue": "36",
    }


def test_a_count_that_fits_is_an_integer() -> None:
    assert read_table(format_attributes(CLASSES, AREAS))[0]["Count"][0] == "1"
    small = MappedAreas(np.array([5, 2**31 - 1, 0]), np.zeros(3), 0)
    assert read_table(format_attributes(CLASSES, small))[0]["Count"][0] == "0"


def test_codes_that_are_unknown_are_left_out() -> None:
    some = (CLASSES[0], CLASSES[1], LabelClass("grass", None, "#7fb069"))
    assert [row["Code"] for row in read_table(format_attributes(some, AREAS))[1]] == ["0", "201", ""]
    none = tuple(LabelClass(each.name, None, each.color) for each in CLASSES)
    columns, rows = read_table(format_attributes((CLASSES[0], *none[1:]), AREAS))
    assert "Code" not in columns
    assert rows[1]["Count"] == "3000000000"


def test_an_area_that_is_unknown_is_left_out() -> None:
    columns, _ = read_table(format_attributes(CLASSES, MappedAreas(np.zeros(3, np.int64), np.full(3, np.nan), 0)))
    assert "Mapped_ha" not in columns


def test_the_style_has_the_classes_and_no_other_value() -> None:
    """The structure that QgsPalettedRasterRenderer of QGIS 3.22 writes."""
    root = ElementTree.fromstring(format_style(CLASSES))
    assert root.tag == "qgis"
    renderer = root.find("pipe/rasterrenderer")
    assert renderer is not None
    assert (renderer.get("type"), renderer.get("band"), renderer.get("opacity")) == ("paletted", "1", "1")
    entries = [dict(each.attrib) for each in renderer.iterfind("colorPalette/paletteEntry")]
    assert entries == [
        {"value": str(value), "color": each.color, "alpha": "255", "label": name}
        for value, (each, name) in enumerate(zip(CLASSES, CLEAN_NAMES, strict=True))
    ]


@pytest.mark.parametrize("name", ["map.tif", "map.v2.tiff", "MAP.TIF"])
def test_gdal_reads_the_table_that_is_next_to_a_map(tmp_path: Path, name: str) -> None:
    """GDAL copies a table that it understands to a VRT, with the types of its columns."""
    path = tmp_path / name
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": 4, "width": 4, "crs": "EPSG:32631"}
    with rasterio.open(path, "w", transform=Affine(10, 0, 0, 0, -10, 0), **profile) as file:
        file.write(np.zeros((1, 4, 4), np.uint8))
    sidecars = sidecar_paths(path)
    assert sidecars["style"].name == f"{name.rpartition('.')[0]}.qml"
    sidecars["attributes"].write_text(format_attributes(CLASSES, AREAS), encoding="utf-8")
    with rasterio.open(path) as file:
        assert file.colormap(1) == {
            0: (0xC9, 0xC9, 0xC4, 255),
            1: (0xF0, 0x8A, 0x24, 255),
            2: (0x7F, 0xB0, 0x69, 255),
        }
    rasterio.shutil.copy(path, tmp_path / "copy.vrt", driver="VRT")
    root = ElementTree.parse(tmp_path / "copy.vrt").getroot()
    assert [each.text for each in root.iterfind("VRTRasterBand/CategoryNames/Category")] == CLEAN_NAMES
    table = root.find("VRTRasterBand/GDALRasterAttributeTable")
    assert table is not None
    names = [each.findtext("Name") for each in table.iterfind("FieldDefn")]
    assert names == ["Value", "Class", "Code", "Count", "Mapped_ha", "Red", "Green", "Blue"]
    assert [each.text for each in table.findall("Row")[1].iterfind("F")][3:5] == ["3000000000", "30000000"]
