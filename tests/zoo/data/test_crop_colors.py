"""Colors of classes by their names."""

from __future__ import annotations

import numpy as np
import pytest

from cropzoo.data import crop_colors
from cropzoo.data.crop_colors import color_classes, find_crop_color, make_palette
from cropzoo.data.sample import HEX_COLOR, LabelClass


def colors_of(*names: str, **given: str) -> dict[str, str]:
    """Colors by name; `given` are set already."""
    classes = [LabelClass(name, number, given.get(name, "")) for number, name in enumerate(names)]
    return {each.name: each.color for each in color_classes(classes)}


@pytest.mark.parametrize(
    ("names", "crop"),
    [
        (("Wheat", "winter wheat", "Common soft wheat, winter", "Blé tendre d'hiver", "Froment d'hiver"), "wheat"),
        (("Tarwe", "wintertarwe", "Tarwe, winter-", "Weizen", "Winterweizen", "WINTERWEICHWEIZEN"), "wheat"),
        (("Spring wheat", "Wheat (spring)", "Sommerweizen", "zomertarwe", "Blé tendre de printemps"), "spring wheat"),
        (("durum wheat", "Winter durum wheat", "Blé dur d'hiver", "Hartweizen"), "durum"),
        (
            ("Maize", "corn", "Grain maize", "Maïs ensilage", "snijmaïs", "Silomais", "Ma\N{COMBINING DIAERESIS}is"),
            "maize",
        ),
        (("barley", "Winter barley", "Orge d'hiver", "wintergerst", "Wintergerste"), "barley"),
        (("rape", "winter rapeseed", "Oilseed rape", "Colza", "Winterraps", "koolzaad, winter-"), "rape"),
        (("Potatoes", "potato", "Pommes de terre de consommation", "consumptieaardappelen", "Kartoffeln"), "potato"),
        (("sugar beet", "Beets", "Betterave sucrière", "suikerbieten", "Zuckerrüben", "Zuckerrueben"), "beet"),
        (("sunflower", "Tournesol", "zonnebloemen", "Sonnenblumen"), "sunflower"),
        (
            ("grass", "Permanent grassland", "Prairie permanente", "blijvend grasland", "Dauergrünland", "Wiesen"),
            "grass",
        ),
        (("forest", "Coniferous forest", "Forêt", "Bois", "Laubwald"), "forest"),
        (("water", "Lakes and rivers", "Oberflächenwasser"), "water"),
        (("built-up", "Built up area", "urban", "Siedlung"), "built"),
        (("grapevine", "Vineyards", "Vignes", "Weinreben"), "vine"),
        (("soybeans", "Soja", "Sojabohnen"), "soy"),
    ],
)
def test_names_of_a_crop_have_its_color(names: tuple[str, ...], crop: str) -> None:
    assert {name: find_crop_color(name) for name in names} == dict.fromkeys(names, find_crop_color(crop))
    assert HEX_COLOR.fullmatch(find_crop_color(crop))


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("grape", "rape"),
        ("buckwheat", "wheat"),
        ("Buchweizen", "wheat"),
        ("sweet potato", "potato"),
        ("apples", "potato"),
        ("pears", "pea"),
        ("sunflower", "flower"),
        ("ryegrass", "rye"),
        ("soybeans", "bean"),
    ],
)
def test_a_piece_of_a_word_is_no_crop(name: str, other: str) -> None:
    assert find_crop_color(name) != find_crop_color(other)


def test_a_code_or_an_unknown_name_is_no_crop() -> None:
    assert [find_crop_color(name) for name in ("", "101", "code 7", "Phacelia", "none declared", "小麦")] == [""] * 6


def test_colors_of_the_table_can_be_reported_apart() -> None:
    table = [line.split(" ")[0] for line in crop_colors._TABLE.strip().splitlines()]
    rgb = np.array([list(bytes.fromhex(color[1:])) for color in table])
    distance = np.sqrt(((rgb[:, None] - rgb) ** 2).sum(-1)) + 1000 * np.eye(len(rgb))
    near = [(table[i], table[j]) for i, j in np.argwhere(distance < 24)]
    assert near == []


def test_given_colors_win_and_are_taken() -> None:
    wheat = find_crop_color("wheat")
    found = colors_of("maize", "wheat", "rye", maize=wheat, rye="#123456")
    assert (found["maize"], found["rye"]) == (wheat, "#123456")
    assert found["wheat"] not in (wheat, "")


def test_no_color_occurs_twice() -> None:
    names = ["none declared", "grass", "grass, temporary", "meadow", "prairie", "Wiese", "hay grass", "wheat", "tarwe"]
    names += [f"crop {number}" for number in range(240)]
    found = colors_of(*names)
    assert len(set(found.values())) == len(names)
    assert all(HEX_COLOR.fullmatch(color) for color in found.values())


def test_a_list_of_more_classes_than_colors_has_a_color_each() -> None:
    few, many = (colors_of(*(f"crop {number}" for number in range(count))) for count in (255, 20_000))
    assert list(many.items())[:255] == list(few.items())
    assert all(HEX_COLOR.fullmatch(color) for color in many.values())
    assert colors_of(*map(str, range(300)), **{"299": "#123456"})["299"] == "#123456"


def test_the_color_of_another_class_depends_on_its_name_alone() -> None:
    alone = colors_of("phacelia")["phacelia"]
    assert colors_of("wheat", "phacelia", "grass")["phacelia"] == alone
    assert colors_of("phacelia", "teff", "quinoa") == colors_of("quinoa", "teff", "phacelia")
    assert len({*colors_of("phacelia", "teff", "quinoa", "camelina").values()}) == 4


def test_the_palette_stays_when_colors_are_added() -> None:
    colors = make_palette(60)
    assert len(set(colors)) == 60
    assert make_palette(10) == colors[:10]
