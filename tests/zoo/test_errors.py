"""The words of errors."""

from __future__ import annotations

import pytest

from cropzoo import CropzooError, UnknownName, UsageError
from cropzoo.errors import describe_error, suggest


@pytest.mark.parametrize(
    ("name", "known", "says"),
    [
        ("tsvti", ["tsvit", "utae"], "did you mean 'tsvit'?"),
        ("unet3", ["unet3d", "unet3df", "tsvit"], "did you mean 'unet3d' or 'unet3df'?"),
        ("x", ["b", "a", "b"], "known: a, b"),
        ("TSViT", ["tsvit", "utae"], "did you mean 'tsvit'?"),
        ("b04", ["B04", "B02", "SCL"], "did you mean 'B04' or 'B02'?"),
        (
            "convlstm",
            ["unet2d-convlstm-small", "fpn-convlstm", "tsvit"],
            "did you mean 'fpn-convlstm' or 'unet2d-convlstm-small'?",
        ),
        ("gee", ["timm", "geefoodatasetx"], "did you mean 'geefoodatasetx'?"),
        ("x", [], "known: none"),
    ],
)
def test_suggest(name, known, says):
    assert suggest(name, known) == says


def test_unknown_name_is_wrong_use():
    error = UnknownName("band", "B2", ["B02", "B03"], "bands are listed in the spec")
    assert isinstance(error, UsageError)
    assert isinstance(error, CropzooError)
    assert str(error) == "unknown band 'B2'; did you mean 'B02'?; bands are listed in the spec"


def test_a_long_list_of_known_names_is_cut_and_any_value_can_be_unknown() -> None:
    messages = str(UnknownName("network", None, [f"net{number:04}" for number in range(1000)]))
    assert "unknown network None; known: net0000, " in messages
    assert messages.endswith("net0011 and 988 more")


@pytest.mark.parametrize("problem", [RuntimeError, SystemExit, GeneratorExit])
def test_an_error_whose_text_raises_is_described(problem):
    class Odd(Exception):
        def __str__(self):
            raise problem(9)

    assert describe_error(Odd()) == "Odd: no message"
