"""The class table: from a file or made, and its colors."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from cropzoo import CropzooError
from cropzoo.data.crop_colors import find_crop_color
from cropzoo.data.legend import NO_PARCEL
from cropzoo_plugins.datasets.geotiff import GeoTIFF
from cropzoo_plugins.datasets.sites.class_table import make_table, read_table

TABLE = "code,name,color\n30,Meadow,#00FF00\n10,Wheat,\n20,Maize,#ffff00\n40,Hop,#123456\n0,Other,#000000\n77,Rice,\n"


def test_a_table_gives_names_colors_and_order(geotiff: ModuleType, tmp_path: Path) -> None:
    made = geotiff.make_site(tmp_path / "a")
    (tmp_path / "classes.csv").write_text(TABLE)
    dataset = GeoTIFF(tmp_path)
    assert [(c.name, c.code) for c in dataset.classes] == [("Meadow", 30), ("Wheat", 10), ("Maize", 20), ("Other", 0)]
    assert [c.color for c in dataset.classes if c.code != 10] == ["#00ff00", "#ffff00", "#000000"]
    assert dataset.ignored == ("Hop",)
    labels = dataset.split("train")[0].labels
    np.testing.assert_array_equal(np.array([30, 10, 20, 0])[labels], made.labels[:16, :15])


def test_a_code_that_the_table_lacks_is_named(geotiff: ModuleType, tmp_path: Path) -> None:
    geotiff.make_site(tmp_path / "a")
    (tmp_path / "classes.csv").write_text("code,name\n0,Other\n10,Wheat\n20,Maize\n")
    with pytest.raises(CropzooError, match=r"a/labels.tif'; they contain 30, 40, which .*classes.csv' lacks"):
        GeoTIFF(tmp_path)
    assert len(GeoTIFF(tmp_path, ignore_codes=(30, 40)).classes) == 3


def test_crops_as_texts_are_found_by_the_table_s_names(geotiff: ModuleType, tmp_path: Path) -> None:
    made = geotiff.make_site(tmp_path / "a", labels=False, parcels=False)
    geotiff.write_parcels(made.folder / "parcels.gpkg", crop_code=["Wheat", "Maize", "Meadow", "Wheat", "Maize", "Hop"])
    (tmp_path / "classes.csv").write_text(TABLE)
    labels = GeoTIFF(tmp_path).split("train")[0].labels
    np.testing.assert_array_equal(np.array([30, 10, 20, 0])[labels], made.labels[:16, :15])
    (tmp_path / "classes.csv").write_text(TABLE.replace("Hop", "Hops"))
    with pytest.raises(CropzooError, match="no class with the code or name 'Hop', a crop of the parcels"):
        GeoTIFF(tmp_path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("id,name\n1,a\n", "line 2; 'code' or 'name' is missing; the header is: code,name,color"),
        ("code,name\n1\n", "line 2; 'code' or 'name' is missing"),
        ("code,name\n1,a\nx,b\n", "line 3; the code is 'x'; it must be an integer"),
        (
            "code,name\n" + "9" * 5000 + ",a\n",
            r"line 2; the code is '9{80}'\.\.\. \(5000 characters\); it must be an inte",
        ),
        ("code,name\n-" + "9" * 19 + ",a\n", "line 2; the code is '-9{19}'; it must be an integer of 64 bits"),
        ("code,name\n1," + "n" * 5000 + "\n2," + "n" * 5000, r"name 'n{80}'\.\.\. \(5000 characters\) occurs twice"),
        ("code,name\n1,\n", "line 2; the name is empty"),
        ("code,name,color\n1,a,red\n", "line 2; the color is 'red'; use a color like"),
        ("code,name\n1,a\n1,b\n", "line 3; code '1' or name 'b' occurs twice"),
        ("code,name\n1,a\n2,a\n", "line 3; code '2' or name 'a' occurs twice"),
        ("code,name\n1,\xff\n", "not a CSV file in UTF-8"),
    ],
)
def test_a_table_that_does_not_hold_is_named_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "classes.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(CropzooError, match=f"classes.csv'.*{problem}"):
        read_table(path)


def test_made_tables_name_each_class_once() -> None:
    table = make_table([20, 0, 10, 30, 20], {10: "grass", 30: "grass"})
    assert [(entry.code, entry.name) for entry in table] == [
        (0, "none declared"),
        (10, "grass"),
        (20, "20"),
        (30, "grass (30)"),
    ]


def test_crops_without_a_color_have_the_usual_one(tmp_path: Path) -> None:
    path = tmp_path / "classes.csv"
    path.write_text("code,name,color\n1,Wheat,\n2,Winter wheat,\n3,Grass,#e8c547\n4,Rice,\n")
    colors = {entry.name: entry.color for entry in read_table(path)}
    assert colors["Grass"] == find_crop_color("wheat")
    assert colors["Rice"] == find_crop_color("rice")
    assert len(set(colors.values())) == 4
    assert [entry.color for entry in make_table([0, 1, 2], {1: "tarwe", 2: "maïs"})] == [
        NO_PARCEL.color,
        find_crop_color("wheat"),
        find_crop_color("maize"),
    ]
