"""Opening a map and the files next to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from cropzoo.data.classified_map import class_tags, color_table, open_map
from cropzoo.data.mapped_areas import MappedAreas
from cropzoo.data.sample import LabelClass
from cropzoo.errors import CropzooError
from cropzoo.inference.mapping.sidecars import format_attributes

CLASSES = (LabelClass("grass & herbs", 60, "#33aa33"), LabelClass("maize", 201, "#ddbb22"))


def _write(path: Path, bands: int = 1, tags: bool = True, width: int = 5, **profile: Any) -> Path:
    shape = {"driver": "GTiff", "dtype": "uint8", "count": bands, "height": 4, "width": width}
    place = {"crs": "EPSG:32631", "transform": Affine(10, 0, 600_000, 0, -10, 5_650_000)}
    with rasterio.open(path, "w", **{**shape, **place, **profile}) as file:
        file.write(np.zeros((bands, 4, width), file.dtypes[0]))
        if tags:
            file.update_tags(**class_tags(CLASSES), CHECKPOINT="mine")
        elif bands == 1:
            file.write_colormap(1, color_table(CLASSES))
    return path


def test_tags_tell_classes_and_files_beside_are_found(tmp_path: Path) -> None:
    path = _write(tmp_path / "map.tif")
    assert (open_map(path).classes, open_map(path).confidence, open_map(path).probabilities) == (CLASSES, None, None)
    _write(tmp_path / "map_confidence.tif")
    _write(tmp_path / "map_probabilities.tif", bands=2)
    found = open_map(path)
    assert found.confidence == tmp_path / "map_confidence.tif"
    assert found.probabilities == tmp_path / "map_probabilities.tif"
    assert found.tags["CHECKPOINT"] == "mine"


def test_codes_are_those_of_the_training_data_or_none(tmp_path: Path) -> None:
    for classes in (
        tuple(LabelClass(name, code, "#808080") for code, name in enumerate(("none declared", "Grass", "Maize"))),
        (LabelClass("none declared", 0, "#808080"), LabelClass("0101", None, "#808080")),
    ):
        path = _write(tmp_path / "map.tif", tags=False)
        with rasterio.open(path, "r+") as file:
            file.update_tags(**class_tags(classes))
        assert open_map(path).classes == classes


def test_codes_of_an_older_map_that_may_be_made_up_are_dropped(tmp_path: Path) -> None:
    for codes, expected in (((0, 1, 2), [0, None, None]), ((0, 10, 20), [0, 10, 20]), ((1, 2, 3), [1, 2, 3])):
        path = _write(tmp_path / "map.tif", tags=False)
        with rasterio.open(path, "r+") as file:
            for index, (name, code) in enumerate(zip(("none declared", "Grass", "Maize"), codes, strict=True)):
                tags = {f"CLASS_{index}": name, f"CODE_{index}": str(code), f"COLOUR_{index}": "#808080"}
                file.update_tags(**tags)
        assert [each.code for each in open_map(path).classes] == expected


def test_names_and_colors_of_gdal_stand_in_for_lost_tags(tmp_path: Path) -> None:
    path = _write(tmp_path / "map.tif", tags=False)
    with pytest.raises(CropzooError, match="tags hold no classes"):
        open_map(path)
    names = tmp_path / "map.tif.aux.xml"
    attributes = format_attributes(CLASSES, MappedAreas(np.zeros(2, np.int64), np.zeros(2), 0))
    names.write_text(attributes)
    assert open_map(path).classes == (
        LabelClass("grass & herbs", None, "#33aa33"),
        LabelClass("maize", None, "#ddbb22"),
    )
    names.write_text('<!DOCTYPE x [<!ENTITY a "b">]>' + attributes)
    with pytest.raises(CropzooError, match="tags hold no classes"):
        open_map(path)


def test_what_is_no_map_or_does_not_fit_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path / "map.tif")
    for name, problem, profile in (
        ("many.tif", r"many\.tif.*2 band\(s\) of uint8", {"bands": 2}),
        ("wide.tif", r"wide\.tif.*1 band\(s\) of uint16", {"dtype": "uint16"}),
        ("bare.tif", r"bare\.tif.*no CRS", {"crs": None}),
    ):
        other = _write(tmp_path / name, **profile)
        with pytest.raises(CropzooError, match=problem):
            open_map(other)
    with rasterio.open(_write(tmp_path / "sure.tif"), "r+") as file:
        file.update_tags(CROPZOO_OUTPUT="confidence")
    with pytest.raises(CropzooError, match=r"sure\.tif.*it holds the confidence of a map; give the class map"):
        open_map(tmp_path / "sure.tif")
    with pytest.raises(CropzooError, match="there is no such file"):
        open_map(tmp_path / "none.tif")
    confidence_file = _write(tmp_path / "map_confidence.tif", width=6)
    with pytest.raises(
        CropzooError, match=r"map_confidence\.tif.*does not fit the map.*4 x 6 pixels against 4 x 5|4 x 5"
    ):
        open_map(path)
    confidence_file.unlink()
    _write(tmp_path / "map_probabilities.tif", bands=3)
    with pytest.raises(CropzooError, match=r"map_probabilities\.tif.*3 band\(s\) of uint8 against 2"):
        open_map(path)
