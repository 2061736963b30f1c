"""Tables of a dataset that are broken: patches, statistics, description, classes; each error names the file."""

from __future__ import annotations

import json

import pytest

from cropzoo import CropzooError, UnknownName
from cropzoo.data.pastis.metadata import read_classes
from cropzoo.data.pastis.reader import PastisFolder


def edit(folder, name, change):
    """Change a JSON file of a dataset."""
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))


def properties(number, **values):
    """A change of the properties of one patch."""
    return lambda content: content["features"][number]["properties"].update(values)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"dates-S2": {"0": 20190231}}, "dates-S2 cannot be read"),
        ({"dates-S2": {}}, "it is not a table of dates"),
        ({"dates-S2": "{"}, "dates-S2 cannot be read"),
        ({"dates-S2": {"0": 10**30}}, "dates-S2 cannot be read"),
        ({"dates-S2": {"0": float("inf")}}, "dates-S2 cannot be read"),
        ({"dates-S2": {"0": 20190301.5}}, "dates-S2 cannot be read"),
        ({"ID_PATCH": "a" * 300}, "not a valid file name"),
        ({"dates-S2": {"0": 20190301, "1": 20190301}}, "contains 2019-03-01 twice"),
        ({"Fold": "x"}, "properties are not valid"),
        ({"ID_PATCH": 10000}, "patch '10000' occurs twice"),
        ({"ID_PATCH": "../../etc"}, "not a valid file name"),
        ({"Fold": 0}, "properties are not valid"),
        ({"size": [16]}, "properties are not valid"),
        ({"size": [-16, 16]}, "properties are not valid"),
        ({"size": [16, 0]}, "properties are not valid"),
        ({"crs": "EPSG:1", "transform": [float("nan")] * 6}, "properties are not valid"),
        ({"crs": "EPSG:1", "transform": [1, 2]}, "properties are not valid"),
    ],
)
def test_a_wrong_table_of_patches_is_named(pastis, tmp_path, values, match):
    pastis.make_pastis(tmp_path)
    edit(tmp_path, "metadata.geojson", properties(1, **values))
    with pytest.raises(CropzooError, match=match) as error:
        PastisFolder(tmp_path)
    assert "metadata.geojson" in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"features": []}', '{"features": [3]}'])
def test_a_file_that_is_no_table_of_patches_is_named(pastis, tmp_path, text):
    pastis.make_pastis(tmp_path)
    (tmp_path / "metadata.geojson").write_text(text)
    with pytest.raises(CropzooError, match=r"metadata\.geojson"):
        PastisFolder(tmp_path)


def test_pastis_without_radar_says_so(pastis, tmp_path):
    pastis.make_pastis(tmp_path, sensors=("S2",))
    with pytest.raises(CropzooError, match="no dates-S1A; only PASTIS-R has"):
        PastisFolder(tmp_path, "S1A")
    with pytest.raises(UnknownName, match="sensor 'S3'"):
        PastisFolder(tmp_path, "S3")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda norm: norm.pop("Fold_2"), "'Fold_2' cannot be used; it is missing"),
        (lambda norm: norm["Fold_2"]["mean"].pop(), "9 bands and the dataset has 10"),
        (lambda norm: norm["Fold_2"].pop("std"), "Fold_2"),
        (lambda norm: norm["Fold_2"]["std"].__setitem__(0, -1), "not valid statistics"),
        (lambda norm: norm["Fold_2"]["std"].__setitem__(0, float("nan")), "not valid statistics"),
        (lambda norm: [norm[fold]["std"].__setitem__(3, 0) or norm[fold]["mean"].__setitem__(3, 5) for fold in norm],
         "folds 1, 2, 3; B05 have the same value in every clear pixel"),
        (lambda norm: [norm[fold].__setitem__("count", 0) for fold in norm], "no pixel is clear"),
    ],
)  # fmt: skip
def test_wrong_statistics_are_named(pastis, tmp_path, change, match):
    pastis.make_pastis(tmp_path)
    edit(tmp_path, "NORM_S2_patch.json", change)
    with pytest.raises(CropzooError, match=match) as error:
        PastisFolder(tmp_path).statistics([1, 2, 3])
    assert "NORM_S2_patch.json" in str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("format", 2, "its format is 2"),
        ("bands", ["B03", "B03", "B04"], "distinct names"),
        ("bands", "B03", "distinct names"),
        ("scale", 0, "a number above 0"),
        ("scale", "1e-4", "a number above 0"),
        pytest.param("scale", 10**400, "a number above 0", id="scale-of-400-digits"),
        ("label_scale", 1.5, "an integer >= 1"),
        ("rotations", [], "folds"),
        ("rotations", [{"train": [1, 2], "val": [2], "test": [3]}], "disjoint folds"),
        ("rotations", [{"train": [1], "val": [2]}], "folds"),
        ("rotations", [{"train": ["1"], "val": [2], "test": [3]}], "folds"),
        ("citation", 3, "a text"),
    ],
)
def test_a_wrong_description_is_named(write, key, value, match):
    folder, _ = write()
    edit(folder, "dataset.json", lambda content: content.update({key: value}))
    with pytest.raises(CropzooError, match=match) as error:
        PastisFolder(folder)
    assert "dataset.json" in str(error.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0,1200,", "1,1200,"),
        ("0,1200,", "0,x,"),
        pytest.param("0,1200,", f"0,{'9' * 5000},", id="code-of-5000-digits"),
        ("#ffcc00", "yellow"),
        ('"beans, dry"', "maize"),
        ("2,,void", "2,9,void"),
        ("index,code", "number,code"),
        ("2,,void,#ffffff,\n", ""),
    ],
)
def test_a_wrong_table_of_classes_is_named(write, old, new):
    folder, _ = write()
    path = folder / "classes.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(CropzooError, match=r"classes\.csv"):
        PastisFolder(folder)


def test_numbers_that_an_older_version_gave_to_texts_are_no_codes(write):
    folder, _ = write()
    (folder / "classes.csv").write_text(
        "index,code,name,color,sources\n0,0,none,#000000,\n1,10,cereals,#111111,10;11\n2,2,maize,#222222,MAI\n"
        "3,,rye,#333333,0101\n4,1,hop,#444444,7\n5,,void,#ffffff,\n"
    )
    assert [each.code for each in read_classes(folder)] == [0, None, None, None, None]
    numbered = "index,code,name,color,sources\n0,0,none,#000000,\n1,10,cereals,#111111,10;11\n2,,void,#ffffff,\n"
    (folder / "classes.csv").write_text(numbered)
    assert [each.code for each in read_classes(folder)] == [0, 10]
