"""Classes of crops: as they are, by a table, without rare ones."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cropzoo import CropzooError, LabelClass, UnknownName
from cropzoo.data.legend import Legend, drop_made_up_codes, make_legend, read_crop_table

Made = Callable[..., Legend]
NAMES = {1: "wheat", 2: "maize", 3: "grass", 4: "hop", 5: ""}


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """`made(text, crops=..., **options)`: the legend of crops by a table of these lines."""

    def make(text: str, crops: Any = (3, 1, 2, 5, None), **options: Any) -> Legend:
        (tmp_path / "classes.csv").write_text(text, encoding="utf-8")
        names = [NAMES.get(crop, "") for crop in crops]
        return make_legend(crops, names, read_crop_table(tmp_path / "classes.csv"), **options)

    return make


def rows(legend: Legend) -> list[tuple[str, int | None, str]]:
    """Name, code and sources of each class."""
    return [(entry.name, entry.code, source) for entry, source in zip(legend.classes, legend.sources, strict=True)]


def test_each_crop_is_a_class_in_the_order_of_the_codes() -> None:
    legend = make_legend([30, 10, 20, 10, None], ["grass", "", "maize", "wheat", "x"])
    assert rows(legend) == [("none declared", 0, ""), ("wheat", 10, "10"), ("maize", 20, "20"), ("grass", 30, "30")]
    assert legend.index_of == {10: 1, 20: 2, 30: 3, None: 255}
    assert legend.indices([20, None, 10]).tolist() == [2, 255, 1]
    assert (legend.background, legend.rare) == (0, {})
    assert legend.classes[0] == LabelClass("none declared", 0, "#c9c9c4")
    assert len({entry.color for entry in legend.classes}) == 4
    assert make_legend([7, 8], ["grass", "grass"]).classes[2].name == "grass (8)"


def test_texts_are_in_sorted_order_and_have_no_codes() -> None:
    legend = make_legend(["WHT", "MAI", "7", "0"], ["wheat", "", "", ""])
    assert rows(legend) == [("none declared", 0, "0"), ("7", None, "7"), ("MAI", None, "MAI"), ("wheat", None, "WHT")]
    assert legend.index_of == {"0": 0, "7": 1, "MAI": 2, "WHT": 3, None: 255}


def test_texts_of_digits_are_compared_as_they_are_written(made: Made) -> None:
    crops = ("0101", "101", "02", "00")
    legend = make_legend(crops)
    assert rows(legend) == [("none declared", 0, "")] + [(crop, None, crop) for crop in ("00", "0101", "02", "101")]
    assert legend.indices(crops).tolist() == [2, 4, 3, 1]
    table = "code,name\n0101,Winter wheat\n101,Maize\n02,Grass\n00,Fallow\n"
    legend = made(table, crops=crops)
    assert [entry.name for entry in legend.classes] == ["none declared", "Winter wheat", "Maize", "Grass", "Fallow"]
    assert legend.index_of == {"0101": 1, "101": 2, "02": 3, "00": 4, None: 255}
    with pytest.raises(CropzooError, match="it lacks '101', crops of the parcels"):
        made("code\n0101\n", crops=("101", "0101"))
    # Plain numbers in a column of texts keep their codes and their order.
    assert rows(make_legend(["11", "9", "101"]))[1:] == [("9", 9, "9"), ("11", 11, "11"), ("101", 101, "101")]


def test_a_code_of_the_table_is_a_number_where_the_crops_are(made: Made) -> None:
    assert made("code,name\n0101,wheat\n+2,maize\n00,village\n", crops=(101, 2)).index_of == {101: 1, 2: 2, None: 255}
    with pytest.raises(CropzooError, match=r"codes '0101' and '101' are one crop, since the crops .* are numbers"):
        made("code,name\n0101,wheat\n101,maize\n", crops=(101, 2))


def test_forms_of_a_letter_and_surrounding_space_make_no_difference(made: Made) -> None:
    legend = made(f"code,name,class\n 1 ,{unicodedata.normalize('NFD', 'Blé')},\n2, Blé ,Blé\n", crops=(1, 2))
    assert [entry.name for entry in legend.classes] == ["none declared", "Blé"]
    assert legend.sources == ("", "1;2")


def test_codes_that_may_be_made_up_are_dropped() -> None:
    old = [LabelClass(name, code, "#808080") for code, name in enumerate(("none declared", "Grass", "Maize"))]
    assert [entry.code for entry in drop_made_up_codes(old)] == [0, None, None]
    for kept in (
        [replace(old[1], code=10), replace(old[2], code=20)],
        [old[0], replace(old[1], name="1"), replace(old[2], name="2")],
        [old[0], old[2]],
    ):
        assert drop_made_up_codes(kept) == tuple(kept)


def test_crop_0_is_ground_without_parcel() -> None:
    legend = make_legend([0, 5, -1], ["fallow", "hop", "odd"])
    assert rows(legend) == [("none declared", 0, "0"), ("odd", -1, "-1"), ("hop", 5, "5")]


def test_a_table_gives_order_names_colors_and_classes(made: Made) -> None:
    legend = made(
        "code,name,class,color\n3,meadow,,#00FF00\n1,winter wheat,cereals,\n2,,,\n9,spelt,cereals,#ffff00\n"
        "5,rye,cereals,\n8,rice,,\n"
    )
    assert rows(legend) == [("none declared", 0, ""), ("meadow", 3, "3"), ("cereals", 1, "1;5"), ("maize", 2, "2")]
    assert [entry.color for entry in legend.classes][1:3] == ["#00ff00", "#ffff00"]
    assert legend.index_of == {1: 2, 2: 3, 3: 1, 5: 2, None: 255}


def test_a_crop_is_merged_into_another_by_its_name(made: Made) -> None:
    legend = made("code,name,class\n1,wheat,\n2,maize,\n3,meadow,wheat\n5,,\n")
    assert rows(legend)[1:] == [("wheat", 1, "1;3"), ("maize", 2, "2"), ("5", 5, "5")]


def test_crops_of_one_name_in_the_parcel_file_stay_apart(made: Made) -> None:
    legend = made("code\n1\n6\n2\n", crops=(1, 6, 2))
    assert len(legend.classes) == 4
    assert len(made("code,class\n1,a\n6,a\n2,\n", crops=(1, 6, 2)).classes) == 3


def test_ignored_crops_and_ground(made: Made) -> None:
    legend = made("code,name,class,color\n0,village,,#000000\n1,,,\n2,,ignore,\n3,,Ignore,\n5,,,\n")
    assert rows(legend) == [("village", 0, ""), ("wheat", 1, "1"), ("5", 5, "5")]
    assert legend.classes[0].color == "#000000"
    assert legend.index_of == {1: 1, 2: 255, 3: 255, 5: 2, None: 255}
    assert legend.background == 0
    legend = made("code,class\n0,ignore\n1,\n2,\n", crops=(0, 1, 2))
    assert rows(legend) == [("wheat", 1, "1"), ("maize", 2, "2")]
    assert legend.background == 255
    assert legend.index_of == {0: 255, 1: 0, 2: 1, None: 255}


def test_crops_that_are_as_good_as_ground(made: Made) -> None:
    legend = made("code,name,class\n0,other,\n1,,\n2,,other\n3,,\n5,,other\n")
    assert rows(legend) == [("other", 0, "2;5"), ("wheat", 1, "1"), ("grass", 3, "3")]
    assert legend.index_of[2] == legend.index_of[5] == 0


@pytest.mark.parametrize("crops", [(0, 4, 2), ("0", "hop", "corn")])
def test_ignored_ground_is_no_class(crops: Any) -> None:
    legend = make_legend(crops, ["fallow", "hop", "corn"], ignore_background=True)
    assert [entry.name for entry in legend.classes] == ["corn", "hop"]
    assert [entry.code for entry in legend.classes] == ([2, 4] if crops[0] == 0 else [None, None])
    assert (legend.background, legend.index_of[crops[0]], legend.index_of[crops[1]]) == (255, 255, 1)
    assert legend.indices(crops).tolist() == [255, 1, 0]


def test_crops_in_the_class_of_ignored_ground_remain_a_class(made: Made) -> None:
    legend = made("code,name,class\n0,other,\n1,,\n2,,other\n3,,\n5,,other\n", ignore_background=True)
    assert rows(legend) == [("other", 2, "2;5"), ("wheat", 1, "1"), ("grass", 3, "3")]
    assert (legend.background, legend.index_of[2], legend.index_of[5]) == (255, 0, 0)


def test_crops_without_a_row_are_kept_as_they_are(made: Made) -> None:
    text = "code,name,class,color\n1,,cereals,\n*,,keep,\n9,rye,cereals,\n2,corn,,#ffff00\n"
    legend = made(text, crops=(3, 1, 2, 5, 9, None))
    expected = [("none declared", 0, ""), ("cereals", 1, "1;9"), ("grass", 3, "3"), ("5", 5, "5"), ("corn", 2, "2")]
    assert rows(legend) == expected
    assert legend.index_of == {1: 1, 9: 1, 3: 2, 5: 3, 2: 4, None: 255}
    assert len({entry.color for entry in legend.classes}) == 5
    kept = made("code,class\n*,Keep\n")
    assert (kept.classes, kept.index_of) == (made("code\n1\n2\n3\n5\n").classes, make_legend((3, 1, 2, 5)).index_of)


def test_kept_crops_of_one_name_stay_apart(made: Made) -> None:
    """Also from a class of the table with that name."""
    legend = made("code,name,class\n1,,hop\n*,,keep\n", crops=(1, 4, 6))
    assert rows(legend)[1:] == [("hop", 1, "1"), ("hop (4)", 4, "4"), ("6", 6, "6")]


def test_kept_texts_and_rare_crops(made: Made) -> None:
    assert rows(made("code,class\nWHT,keep\n*,keep\n", crops=("MAI", "WHT", "007")))[1:] == [
        ("WHT", None, "WHT"),
        ("007", None, "007"),
        ("MAI", None, "MAI"),
    ]
    pixels = {1: 50, 2: 7, 3: 9, 5: 8}
    legend = made("code,class\n*,keep\n", pixels=pixels, min_pixels=9, rare="merge")
    assert rows(legend)[1:] == [("wheat", 1, "1"), ("grass", 3, "3"), ("other crops", 2, "2;5")]


def test_crops_that_the_table_lacks(made: Made) -> None:
    with pytest.raises(
        CropzooError, match=r"classes.csv'; it lacks 2, 5, crops of the parcels; add a row for each, .*keep"
    ):
        made("code\n1\n3\n")
    legend = made("code,class\n3,\n*,\n1,\n")
    assert rows(legend)[1:] == [("grass", 3, "3"), ("other crops", 2, "2;5"), ("wheat", 1, "1")]
    assert made("code,class\n1,\n*,ignore\n").index_of == {1: 1, 2: 255, 3: 255, 5: 255, None: 255}
    assert rows(made("code,class\n1,\n*,rest\n"))[2:] == [("rest", 2, "2;3;5")]


def test_texts_are_found_in_the_table_as_they_stand(made: Made) -> None:
    legend = made("code,name\nMAI,maize\n007,bond\nWHT,wheat\n", crops=("WHT", "007", "MAI"))
    assert rows(legend)[1:] == [("maize", None, "MAI"), ("bond", None, "007"), ("wheat", None, "WHT")]
    with pytest.raises(CropzooError, match="it lacks 'Mai'"):
        made("code,name\nMAI,maize\n", crops=("Mai",))
    assert rows(made("code,name\n0,village\nMAI,maize\n", crops=("MAI",)))[0] == ("village", 0, "")


def test_the_table_of_a_prepared_dataset_gives_the_same_classes(made: Made) -> None:
    legend = made(
        "index,code,name,color,sources\n0,0,village,#111111,\n1,2,maize,#222222,MAI\n2,1,cereals,#333333,WHT;RYE\n"
        "3,,void,,\n",
        crops=("RYE", "MAI", "WHT"),
    )
    assert [(entry.name, entry.color) for entry in legend.classes] == [
        ("village", "#111111"),
        ("maize", "#222222"),
        ("cereals", "#333333"),
    ]
    assert legend.sources == ("", "MAI", "WHT;RYE")


def test_a_class_without_pixels_is_left_out() -> None:
    legend = make_legend([1, 2, 3], pixels={1: 5, 3: 1})
    assert legend.index_of == {1: 1, 2: 255, 3: 2, None: 255}
    assert legend.rare == {"2": 0}


def test_rare_classes(made: Made) -> None:
    pixels = {1: 50, 2: 7, 3: 9, 5: 8}
    legend = make_legend([1, 2, 3, 5, 6], pixels=pixels, min_pixels=9)
    assert legend.index_of == {1: 1, 2: 255, 3: 2, 5: 255, 6: 255, None: 255}
    assert legend.rare == {"2": 7, "5": 8, "6": 0}
    legend = make_legend([1, 2, 3, 5, 6], pixels=pixels, min_pixels=9, rare="merge")
    assert rows(legend)[1:] == [("1", 1, "1"), ("3", 3, "3"), ("other crops", 2, "2;5;6")]
    assert make_legend([1, 2, 3, 5], pixels=pixels, min_pixels=16, rare="merge").index_of[3] == 2
    # Too few even together.
    assert make_legend([1, 2, 6], pixels=pixels, min_pixels=9, rare="merge").index_of == {
        1: 1,
        2: 255,
        6: 255,
        None: 255,
    }
    # Classes count, not crops.
    legend = made("code,class\n1,\n2,a\n3,\n5,a\n", pixels=pixels, min_pixels=10)
    assert [entry.name for entry in legend.classes] == ["none declared", "wheat", "a"]
    # What the table calls so takes the rare ones in.
    legend = made("code,class\n1,other crops\n2,\n3,\n5,\n", pixels=pixels, min_pixels=9, rare="merge")
    assert rows(legend)[1:] == [("other crops", 1, "1;2;5"), ("grass", 3, "3")]


def test_too_many_classes_or_none() -> None:
    assert len(make_legend(range(1, 254)).classes) == 254
    with pytest.raises(CropzooError, match=r"255 classes are more than 254; merge or ignore .*--classes.*--min-pixels"):
        make_legend(range(1, 255))
    assert len(make_legend(range(1, 400), pixels=dict.fromkeys(range(1, 20), 5)).classes) == 20
    with pytest.raises(CropzooError, match="no class has a pixel"):
        make_legend([1, 2], pixels={})
    with pytest.raises(CropzooError, match="no class has a pixel"):
        make_legend([None])
    with pytest.raises(UnknownName, match="unknown treatment of rare classes 'drop'"):
        make_legend([1], rare="drop")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name\nx\n", "line 2; column 'code' is missing; the header is: code,name,class,color"),
        ("code,name\n1,a\n,b\n", "line 3; the code is empty"),
        ("code,name\n1,a\n1,b\n", "line 3; code '1' occurs twice"),
        ("code,name\n1,a\n2,a\n", "line 3; name 'a' occurs twice; rename one crop, or enter the same class"),
        ("code,color\n1,red\n", "line 2; the color is 'red'; use a color like"),
        ("code,name\n", "it has no rows"),
        ("", "it has no rows"),
    ],
)
def test_tables_that_do_not_hold(made: Made, text: str, problem: str) -> None:
    with pytest.raises(CropzooError, match=f"classes.csv'.*{problem}"):
        made(text)


def test_tables_of_spreadsheets(tmp_path: Path, made: Made) -> None:
    assert rows(made('\ufeffcode; name; class\n1; "wheat, winter";\n2;maize;\n*;;ignore\n'))[1:] == [
        ("wheat, winter", 1, "1"),
        ("maize", 2, "2"),
    ]
    (tmp_path / "latin.csv").write_bytes("code,name\n1,blé\n".encode("latin-1"))
    with pytest.raises(CropzooError, match=r"latin.csv'; it is not a CSV file in UTF-8"):
        read_crop_table(tmp_path / "latin.csv")
    with pytest.raises(CropzooError, match=r"none.csv'; No such file or directory; check its name"):
        read_crop_table(tmp_path / "none.csv")


@pytest.mark.parametrize("digits", ["9" * 20, "-" + "1" * 5000, "9" * 120_000])
def test_a_code_of_thousands_of_digits_is_a_text(made: Made, digits: str) -> None:
    names = [entry.name for entry in made(f"code,name,class\n{digits},none,\n*,,keep\n").classes]
    assert names == ["none declared", "wheat", "maize", "grass", "5"]
    legend = made(f"code,name\n{digits},long\n1,wheat\n", crops=(digits, "1"))
    assert [(entry.name, entry.code) for entry in legend.classes[1:]] == [("long", None), ("wheat", None)]


def test_zeros_in_front_of_a_code_are_no_digits(made: Made) -> None:
    assert made("code,name\n" + "0" * 5000 + "2,corn\n*,,\n", crops=(1, 2)).classes[1].name == "corn"


def test_a_lacking_crop_of_thousands_of_letters_is_shortened(made: Made) -> None:
    with pytest.raises(CropzooError, match=r"lacks 'x{80}'\.\.\. \(5000 characters\), crops of the parcels; add"):
        made("code,name\nbeet,\n", crops=("x" * 5000, "beet"))


def test_a_table_of_all_crops_of_a_country_is_read_in_linear_time(made: Made) -> None:
    text = "code,name\n" + "".join(f"{number},crop {number}\n" for number in range(1, 50_001))
    assert [entry.name for entry in made(text, crops=(7, 40_000)).classes[1:]] == ["crop 7", "crop 40000"]
