from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest

from cropzoo.data.declared_crops import EMPTY, UNKNOWN, CropMatcher
from cropzoo.data.legend import read_crop_table
from cropzoo.data.sample import LabelClass
from cropzoo.errors import CropzooError

from ..small_maps import CLASSES


def test_names_come_before_codes_and_their_case_does_not_count() -> None:
    matching = CropMatcher(CLASSES)
    # Code 60 is grass, but the parcel file calls its 60 maize.
    found = matching.indices([60, 201.0, "Winter Wheat", None, np.nan, 7], ["Maize", "", "", "", "", "hops"])
    assert found.tolist() == [1, 1, 2, EMPTY, EMPTY, UNKNOWN]
    assert matching.unknown == {"7 (hops)": 1}


def test_texts_of_digits_are_compared_as_they_are_written() -> None:
    assert CropMatcher(CLASSES).indices(["0060", "60", "60.0", "+60"], [""] * 4).tolist() == [
        UNKNOWN,
        0,
        UNKNOWN,
        UNKNOWN,
    ]
    named = [LabelClass("none declared", 0, "#808080"), LabelClass("0101", None, "#808080")]
    assert CropMatcher(named).indices(["0101", "101", None], [""] * 3).tolist() == [1, UNKNOWN, EMPTY]
    assert CropMatcher(named).indices([101, None], [""] * 2).tolist() == [UNKNOWN, EMPTY]


def test_numbers_are_not_compared_with_classes_that_have_no_codes() -> None:
    names = ("none declared", "Grass", "Maize", "Blé")
    matching = CropMatcher([LabelClass(name, 0 if name == names[0] else None, "#808080") for name in names])
    assert not matching.has_codes
    assert matching.indices([1, 0, 2], ["", "", "grass"]).tolist() == [UNKNOWN, UNKNOWN, 1]
    assert matching.indices([unicodedata.normalize("NFD", "BLÉ ")], [""]).tolist() == [3]


def test_a_code_of_a_table_is_a_number_where_the_crops_are(tmp_path: Path) -> None:
    path = tmp_path / "classes.csv"
    path.write_text("code,name,class\n0101,wheat,winter wheat\n101,maize,maize\n0007,sun,grass\n")
    matching = CropMatcher(CLASSES, read_crop_table(path))
    assert matching.indices(["0101", "101", "7"], [""] * 3).tolist() == [2, 1, UNKNOWN]
    with pytest.raises(CropzooError, match="codes '0101' and '101' are one crop"):
        matching.indices([101, 7], [""] * 2)


def test_a_table_merges_crops_into_the_classes_of_the_map(tmp_path: Path) -> None:
    path = tmp_path / "classes.csv"
    path.write_text("code,name,class\n1,wheat,winter wheat\n0002,spelt,winter wheat\n3,sun,ignore\n*,,grass\n")
    matching = CropMatcher(CLASSES, read_crop_table(path))
    assert matching.indices([1, "0002", 3, 99, ""], [""] * 5).tolist() == [2, 2, UNKNOWN, 0, EMPTY]


def test_crops_that_a_table_keeps_are_matched_by_name_and_code(tmp_path: Path) -> None:
    path = tmp_path / "classes.csv"
    path.write_text("code,name,class\n1,wheat,winter wheat\n*,,keep\n")
    found = CropMatcher(CLASSES, read_crop_table(path)).indices([1, 201, 8, 9], ["", "", "grass", ""])
    assert found.tolist() == [2, 1, 0, UNKNOWN]


def test_the_classes_of_a_prepared_dataset_are_a_table(tmp_path: Path) -> None:
    path = tmp_path / "classes.csv"
    path.write_text("index,code,name,color,sources\n0,60,grass,#33aa33,60;61;62\n1,201,maize,#ddbb22,201\n2,,void,,\n")
    assert CropMatcher(CLASSES, read_crop_table(path)).indices([61, 201, 5], [""] * 3).tolist() == [0, 1, UNKNOWN]


def test_a_table_of_another_map_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "classes.csv"
    path.write_text("code,name\n1,rice\n")
    with pytest.raises(CropzooError, match=r"classes\.csv.*none of its classes.*grass, maize"):
        CropMatcher(CLASSES, read_crop_table(path))
