"""What a study file and flags may say."""

from __future__ import annotations

import re
from datetime import date

import pytest

from cropzoo.errors import UsageError
from cropzoo.evaluation.compare.config import objectives_of, read_study


def study(file=None, flags=None, *settings):
    return read_study({"backbones": ["net"], **(file or {})}, flags or {}, settings, "study.yaml")


def test_short_forms_are_written_out():
    found = study({"backbones": "net, other-net,net", "pretrain": ["none", " cscl + mtm", "cscl+mtm"], "seeds": 3})
    assert found.backbones == ("net", "other-net")
    assert found.pretrain == ("none", "cscl+mtm")
    assert found.seeds == (0, 1, 2)
    assert study({"seeds": [7, 3, 7], "folds": 4, "label_fractions": 0.1, "baseline": "cscl"}).to_mapping() == {
        **study().to_mapping(),
        "seeds": [7, 3],
        "folds": [4],
        "label_fractions": [0.1],
        "baseline": {"pretrain": "cscl", "variant": None},
    }


def test_the_mapping_form_gives_the_same_study():
    found = study({"seeds": 2, "variants": {"wide": {"backbone": {"dim": 9}}}, "recipe": {"batch_size": 4}})
    assert read_study(found.to_mapping(), {}, [], "again") == found


def test_flags_go_over_the_file_and_the_last_settings_win():
    found = study(
        {"seeds": 5, "recipe": {"batch_size": 2, "lr": 0.5, "cscl.window": 5}},
        {"seeds": [1]},
        ("a.yaml", {"batch_size": 3, "min_clear": 0.5}),
        ("--set", {"batch_size": 4, "cscl.dilation": 2}),
    )
    assert found.seeds == (1,)
    assert found.recipe == {
        "batch_size": 4, "lr": 0.5, "objectives": {"cscl": {"options": {"window": 5, "dilation": 2}}},
        "dataset": {"min_clear": 0.5},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("file", "messages"),
    [
        ({"backbone": ["net"]}, r"study.yaml: unknown key 'backbone'; did you mean 'backbones'"),
        ({"baseline": {"variants": "a"}}, r"unknown key 'baseline.variants'; did you mean 'variant'"),
        ({"backbones": []}, "the grid is empty: no backbones; give at least one"),
        ({"pretrain": "", "seeds": 0}, "no pretrain and no seeds"),
        ({"seeds": "many"}, "key 'seeds' is 'many'"),
        ({"seeds": "010"}, "key 'seeds' is '010'; it must be a list"),
        ({"seeds": True}, "key 'seeds' is True"),
        ({"seeds": 20240601}, "an integer is the number of seeds, at most 1000; give a list to name seeds"),
        ({"folds": [1.5]}, r"key 'folds.0' is 1.5"),
        ({"epochs": 0}, "key 'epochs' is 0; input should be greater than or equal to 1"),
        ({"budget": "half"}, "key 'budget' is 'half'; input should be 'total' or 'finetune'"),
        ({"split": "train"}, "key 'split' is 'train'"),
        ({"variants": {"a/b": {}}}, "variant 'a/b' is not a valid folder name"),
        ({"variants": {"a": 3}}, r"key 'variants.a' is 3"),
        ({"recipe": {"seed": 1}}, "recipe: seed is an axis of the study; set seeds of the study"),
        ({"recipe": {"pretrain": "cscl"}}, "pretrain is an axis of the study; set pretrain of"),
        (
            {"variants": {"a": {"label_fraction": 0.1}}},
            "variant 'a': label_fraction is an axis.*label_fractions of",
        ),
        ({"recipe": {"backbone": "net"}}, "recipe: backbone is an axis of the study; set backbones"),
        ({"recipe": {"backbone": 3}}, "recipe: backbone is 3; it must be a name or a mapping"),
    ],
)
def test_what_is_wrong_is_named(file, messages):
    with pytest.raises(UsageError, match=messages):
        study(file)


@pytest.mark.parametrize(
    ("text", "names"), [("none", ()), ("cscl", ("cscl",)), ("cscl+none+mtm", ("cscl", "mtm")), ("", ())]
)
def test_objectives_of_an_item(text, names):
    assert objectives_of(text) == names


def test_days_and_named_scorings_are_other_ways_to_score():
    found = study(
        {"until": "07-15, 06-15", "scorings": {"x 4": {"upsample": "nearest", "dataset": {"label_scale": 4}}}}
    )
    assert found.until == ("06-15", "07-15")
    assert list(found.all_scorings) == ["until 06-15", "until 07-15", "x 4"]
    assert found.all_scorings["until 06-15"].changes("test") == {}
    assert found.all_scorings["x 4"].changes("val") == {"dataset": {"label_scale": 4}}
    assert read_study(found.to_mapping(), {}, [], "again") == found
    dated = study({"until": date(2019, 6, 15), "scorings": {"other": {"until": date(2019, 7, 1)}}})
    assert [each.until for each in dated.all_scorings.values()] == ["2019-06-15", "2019-07-01"]


def test_years_and_sites_of_a_scoring_are_those_of_the_split():
    found = study({"scorings": {"one": {"years": 2020, "sites": "T31*, T32ABC"}, "all": {"years": []}}})
    assert found.scorings["one"].changes("test") == {"test_years": [2020], "test_sites": ["T31*", "T32ABC"]}
    assert found.scorings["one"].changes("val") == {"train_years": [2020], "train_sites": ["T31*", "T32ABC"]}
    assert found.scorings["all"].changes("test") == {"test_years": []}
    assert read_study(found.to_mapping(), {}, [], "again") == found


@pytest.mark.parametrize(
    ("file", "messages"),
    [
        ({"until": "6-15"}, "study.yaml: key 'until' is '6-15'; it must be a day such as 2019-03-01 or 03-01"),
        ({"scorings": {"a": {"until": "June"}}}, "study.yaml: key 'scorings.a.until' is 'June'; it must be a day"),
        ({"until": ["06-15", "2019-07-15"]}, "some days have a year and some do not"),
        ({"until": 615}, "key 'until' is 615; it must be a day"),
        ({"scorings": {"a": {"upsampel": "nearest"}}}, "unknown key 'scorings.a.upsampel'; did you mean 'upsample'"),
        ({"scorings": {"fine": {"upsample": "cubic"}}}, "key 'scorings.fine.upsample' is 'cubic'"),
        ({"scorings": {"same": {}}}, "key 'scorings.same' is {}; the scoring changes nothing"),
        ({"scorings": {"a/b": {"until": "06-15"}}}, "scoring 'a/b' is not a valid folder name"),
        ({"scorings": {"as trained": {"until": "06-15"}}}, "scoring 'as trained' has a reserved name"),
        ({"until": "06-15", "scorings": {"until 06-15": {"sites": "a"}}}, "scoring 'until 06-15' has a reserved name"),
        ({"scorings": {"a": {"years": "last"}}}, "key 'scorings.a.years' is 'last'; it must be whole numbers"),
    ],
)  # fmt: skip
def test_scorings_that_cannot_be(file, messages):
    with pytest.raises(UsageError, match=re.escape(messages)):
        study(file)
