"""`cropzoo parcels`: what is printed, and exit codes; the numbers are tested with `cropzoo.inference.parcels`."""

from __future__ import annotations

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine

from cropzoo.data.classified_map import class_tags
from cropzoo.data.model_scores import read_model_scores
from cropzoo.data.sample import LabelClass

CLASSES = (LabelClass("grass", 60, "#33aa33"), LabelClass("maize", 201, "#ddbb22"))
CHECK = ("parcels", "map.tif", "--parcels", "in.gpkg", "--crop-column", "crop", "--id-column", "farm")


@pytest.fixture
def folder(tmp_path):
    """A map of two crops, west and east, and four parcels; one lies outside, one declares the wrong crop."""
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "nodata": 255, "height": 20, "width": 20}
    place = {"crs": "EPSG:32631", "transform": Affine(10, 0, 600_000, 0, -10, 5_650_000)}
    with rasterio.open(tmp_path / "map.tif", "w", **profile, **place) as file:
        file.write(np.repeat([[0, 1]], 10, axis=1).repeat(20, axis=0).astype(np.uint8)[None])
        file.update_tags(**class_tags(CLASSES))
    corners = [(600_010, 5_649_850), (600_120, 5_649_850), (600_120, 5_649_940), (700_000, 5_649_850)]
    shapes = [shapely.box(x, y, x + 60, y + 50) for x, y in corners]
    frame = geopandas.GeoDataFrame({"crop": ["60", "201", "60", "60"], "farm": list("abcd")}, geometry=shapes)
    frame.set_crs("EPSG:32631").to_file(tmp_path / "in.gpkg")
    return tmp_path


def test_declarations_are_checked_and_the_rest_is_reported(command, folder):
    ended = command(*CHECK, "--out", "out.gpkg", folder=folder, plugin=False)
    assert ended.code == 0, ended.err
    assert "1 parcel(s) are outside the map" in ended.err
    assert "agreement  2 of 3 parcels (66.7 %), 0.6 of 0.9 ha (66.7 %)" in ended.out
    rows = [line.split() for line in ended.out.splitlines()]
    assert ["grass", "2", "0.6", "50.0", "maize", "1"] in rows
    assert ["c", "grass", "0.000", "maize", "100", "30", "0.30"] in rows
    assert geopandas.read_file(folder / "out.gpkg").suspect.fillna(0).tolist() == [0, 0, 1, 0]
    reported = command(*CHECK, "--out", "out.gpkg", "--overwrite", "--json", folder=folder, plugin=False).json
    assert reported["confusion"] == [[1, 1], [0, 1]]
    assert reported["suspects"][0]["name"] == "c"


def test_numbers_are_not_compared_with_a_map_of_names(command, folder):
    named = [LabelClass("grass", None, "#33aa33"), LabelClass("maize", None, "#ddbb22")]
    with rasterio.open(folder / "map.tif", "r+") as file:
        tags = {**dict.fromkeys(file.tags(), ""), **class_tags(named)}
        file.update_tags(**tags)
    frame = geopandas.read_file(folder / "in.gpkg").assign(crop=[1, 2, 1, 1], name=["grass", "maize", "grass", "grass"])
    frame.to_file(folder / "in.gpkg")
    words = ("parcels", "map.tif", "--parcels", "in.gpkg", "--out", "out.gpkg", "--crop-column")
    ended = command(*words, "crop", folder=folder, plugin=False)
    assert ended.code == 1
    assert "whose classes have names and no codes of a register" in ended.err
    assert "--name-column" in ended.err
    assert not (folder / "out.gpkg").exists()
    for more in (("name",), ("crop", "--name-column", "name", "--overwrite")):
        assert "agreement  2 of 3 parcels" in command(*words, *more, folder=folder, plugin=False).out
    (folder / "t.csv").write_text("code,name\n1,grass\n2,maize\n")
    translated = command(*words, "crop", "--classes", "t.csv", "--overwrite", folder=folder, plugin=False)
    assert "agreement  2 of 3 parcels" in translated.out


def test_the_encoding_of_a_shapefile_may_be_given(command, folder):
    frame = geopandas.read_file(folder / "in.gpkg").assign(crop=["Řepka", "Žito", "Řepka", "Řepka"])
    frame.to_file(folder / "in.shp", encoding="cp1250")
    (folder / "in.cpg").unlink()
    (folder / "t.csv").write_text("code,name\nŘepka,grass\nŽito,maize\n", encoding="utf-8")
    words = ("parcels", "map.tif", "--parcels", "in.shp", "--out", "out.gpkg", "--crop-column", "crop")
    guessed = command(*words, "--classes", "t.csv", folder=folder, plugin=False)
    assert "ISO-8859-1 is assumed; if names look wrong, give the encoding by --encoding" in guessed.err
    assert "no parcel has both" in guessed.out or guessed.code == 1
    more = ("--classes", "t.csv", "--overwrite", "--encoding")
    reported = command(*words, *more, "cp1250", folder=folder, plugin=False)
    assert "agreement  2 of 3 parcels" in reported.out
    wrong = command(*words, *more, "cp12500", folder=folder, plugin=False)
    assert (wrong.code, "--encoding is 'cp12500'; it is unknown" in wrong.err) == (2, True)


def test_without_a_crop_column_areas_are_printed(command, folder):
    ended = command("parcels", "map.tif", "--parcels", "in.gpkg", "--out", "o.geojson", folder=folder, plugin=False)
    rows = [line.split() for line in ended.out.splitlines()]
    assert rows[rows.index(["crop", "mapped", "ha"]) + 1 :][:2] == [["grass", "0.3"], ["maize", "0.6"]]


def test_wrong_use_is_a_line(command, folder):
    words = ("parcels", "map.tif", "--parcels", "in.gpkg", "--out")
    assert "must end in .gpkg" in command(*words, "out.xlsx", folder=folder, plugin=False).error
    assert "it is the input file of the parcels" in command(*words, "in.gpkg", folder=folder, plugin=False).error
    error = command(*words, "out.gpkg", "--crop-column", "corp", folder=folder, plugin=False).error
    assert "no column 'corp'; did you mean 'crop'?" in error
    assert not (folder / "out.gpkg").exists()


def test_a_full_disk_leaves_no_table(command, folder):
    words = ("parcels", "map.tif", "--parcels", "in.gpkg", "--out", "out.gpkg")
    assert "cannot write 'out.gpkg'" in command(*words, folder=folder, plugin=False, file_size=20_000).error
    assert {path.name for path in folder.iterdir()} == {"map.tif", "in.gpkg"}


def test_disagreements_have_the_test_precision_of_the_mapped_crop(command, folder):
    scores = {"oa": 0.35, "miou": 0.1, "baseline": {"name": "knn", "oa": 0.8, "miou": 0.6}}
    scores["per_class"] = {"grass": {"precision": None}, "maize": {"precision": 0.25}}
    with rasterio.open(folder / "map.tif", "r+") as file:
        file.update_tags(**read_model_scores(scores, "tsvit", "fields").as_tags([each.name for each in CLASSES]))
    ended = command(*CHECK, "--out", "out.gpkg", folder=folder, plugin=False)
    assert ended.code == 0, ended.err
    assert "model: tsvit, test OA 35.0 %, mIoU 10.0 % (knn baseline 80.0 %, 60.0 %), dataset fields" in ended.err
    assert "warning: the model scores below its knn baseline in mIoU (10.0 against 60.0 %) and OA" in ended.err
    rows = [line.split() for line in ended.out.splitlines()]
    assert ["c", "grass", "0.000", "maize", "100", "30", "0.30", "25.0"] in rows
    assert "of the test pixels that the model mapped as this crop" in ended.out
    table = geopandas.read_file(folder / "out.gpkg")
    assert dict(zip(table.farm, table.map_prec.fillna(-1), strict=True)) == {"a": -1, "b": 0.25, "c": 0.25, "d": -1}
    reported = command(*CHECK, "--out", "out.gpkg", "--overwrite", "--json", folder=folder, plugin=False).json
    assert reported["suspects"][0]["precision"] == 0.25
    assert (reported["scores"]["miou"], reported["scores"]["baseline_miou"]) == (0.1, 0.6)


def test_a_map_without_scores_says_so(command, folder):
    words = ("parcels", "map.tif", "--parcels", "in.gpkg", "--crop-column", "crop", "--out", "out.gpkg")
    ended = command(*words, folder=folder, plugin=False)
    assert "model: unknown, no test scores are stored" in ended.err
    assert "test precision" not in ended.out
    assert "map_prec" not in geopandas.read_file(folder / "out.gpkg")


@pytest.mark.parametrize("column", [(), ("--crop-column", "crop")])
def test_mapped_areas_by_region_are_no_estimates(command, folder, column):
    halves = [shapely.box(600_000 + 100 * k, 5_649_800, 600_100 + 100 * k, 5_650_000) for k in range(2)]
    frame = geopandas.GeoDataFrame({"kreis": ["Nord", "Süd"]}, geometry=halves, crs="EPSG:32631")
    frame.to_crs("EPSG:4326").to_file(folder / "districts.gpkg")
    words = ("parcels", "map.tif", "--parcels", "in.gpkg", "--out", "out.gpkg", "--by", "districts.gpkg", *column)
    ended = command(*words, "--region-column", "kreis", folder=folder, plugin=False)
    assert ended.code == 0, ended.err
    rows = [line.split() for line in ended.out.splitlines()]
    assert ["region", "crop", "mapped", "ha"] in rows
    assert ["Nord", "grass", "0.3"] in rows
    assert ["Süd", "maize", "0.6"] in rows
    assert "Areas are mapped, not estimated" in ended.out
    # The last parcel is in no region, and the map has no data there.
    assert geopandas.read_file(folder / "out.gpkg").map_region.fillna("").tolist() == ["Nord", "Süd", "Süd", ""]
    again = command(*words, "--overwrite", "--json", folder=folder, plugin=False).json
    assert again["regions"] == {"1": {"grass": 0.3, "maize": 0.0}, "2": {"grass": 0.0, "maize": 0.6}}


def test_areas_without_regions_are_no_estimates(command, folder):
    ended = command("parcels", "map.tif", "--parcels", "in.gpkg", "--out", "out.gpkg", folder=folder, plugin=False)
    assert "mapped ha" in ended.out
    assert "Areas are mapped, not estimated" in ended.out
    wrong = ("parcels", "map.tif", "--parcels", "in.gpkg", "--out", "new.gpkg", "--region-column", "kreis")
    ended = command(*wrong, folder=folder, plugin=False)
    assert ended.code == 2
    assert "give their file by --by" in ended.err
