"""Colors of classes: those that maps usually give a crop, by its name, and distinct ones for other classes."""

from __future__ import annotations

import colorsys
import re
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.sample import LabelClass

_TABLE = """
#e8c547 wheat, ble, froment, *tarwe, *weizen
#f2dc8c spring wheat, summer wheat, ble printemps, zomertarwe, sommerweizen
#b5651d durum, ble dur, harde tarwe, hartweizen, durumweizen
#bd8f3c spelt, epeautre, *dinkel
#c9a227 barley, orge, *gerst, *gerste
#dfc98a spring barley, summer barley, orge printemps, zomergerst, sommergerste
#b06d38 rye, seigle, *rogge, *roggen
#94863a triticale
#e3bfa0 oat, avoine, *haver, *hafer
#cf9f97 cereal, cereale, *graan, *granen, *getreide
#f08a24 maize, corn, *mais
#f7b765 sweet corn, sweetcorn, sweet maize, mais doux, suikermais, zuckermais
#a3402a sorghum, sorgho
#c98b5e millet, gierst, *hirse
#3fb6d8 rice, riz, rijst, reis
#7a6a5a buckwheat, sarrasin, boekweit, buchweizen
#f6e71d rape, rapeseed, canola, colza, *koolzaad, *raps
#cfcf1a mustard, moutarde, *mosterd, *senf
#ffb000 sunflower, tournesol, zonnebloem, zonnebloemen, sonnenblume, sonnenblumen
#1f6f54 soy, soya, soybean, soja, sojaboon, sojabonen, sojabohne, sojabohnen
#7aa6d8 flax, linseed, lin, vlas, *lein, flachs
#5a8f1f hemp, chanvre, hennep, *hanf
#c2407a beet, beetroot, sugarbeet, betterave, *biet, *bieten, *rube, *ruben, *ruebe, *rueben
#8a5a44 potato, potatoes, pomme terre, pommes terre, *aardappel, *aardappelen, *kartoffel, *kartoffeln
#a3716b sweet potato, sweet potatoes, patate douce, bataat, susskartoffel, susskartoffeln
#ff6f3c carrot, carotte, *wortel, *wortelen, *mohre, *mohren, karotte, karotten
#c58fb0 onion, oignon, ui, uien, *zwiebel, *zwiebeln
#9fb8ad chicory, chicoree, cichorei, witloof, *zichorie
#e0526a vegetable, legumes frais, groente, groenten, *gemuse, *gemuese
#9ccf5f pea, pois, *erwt, *erwten, *erbse, *erbsen
#4f7f3f bean, feve, feverole, haricot, *boon, *bonen, *bohne, *bohnen
#93a83a lentil, lentille, linze, linzen, *linse, *linsen
#5e8c61 pulse, leguminous, legumineuse, proteagineux, peulvruchten, *leguminosen
#3f9c6d alfalfa, lucerne, luzerne
#5fb58a clover, trefle, *klaver, *klee
#7fb069 grass, grassland, ryegrass, meadow, pasture, prairie, *gras, *grasland, *wiese, *wiesen, *weide, *grunland
#a9d18e temporary grass, temporary grassland, prairie temporaire, tijdelijk grasland, ackergras
#c8b98a fallow, jachere, braak, *brache
#7b2d5b vine, vineyard, grape, grapevine, vigne, wijngaard, wijnstok, druiven, *reben
#c4566a orchard, fruit, apple, pomme, verger, boomgaard, appel, *obst, *apfel
#6f7d3c olive, olivier, olijf, olijven, oliven
#e23b4e strawberry, strawberries, fraise, aardbei, aardbeien, erdbeere, erdbeeren
#2f8f5b hop, houblon, hopfen
#8f7fc0 asparagus, asperge, *spargel
#6b5a2e tobacco, tabac, tabak
#e6dcf2 cotton, coton, katoen, baumwolle
#38c9a8 sugarcane, sugar cane, canne sucre, suikerriet, zuckerrohr
#d87ac0 flower, tulip, tulp, tulpen, fleur, bloem, bloemen, *blume, *blumen
#1b5e20 forest, wood, woodland, tree, foret, bois, bos, *wald
#8a9a5b shrub, shrubland, heath, lande, heide
#3a7bd5 water, lake, river, eau, *wasser
#6fa8a0 wetland, marsh, swamp, marais, moeras, *moor
#d7301f built up, built, urban, settlement, artificial, building, road, bati, bebouwd, *siedlung
#b4a794 bare soil, bare ground, bare land, bare, sol nu, kale grond
#eef3fa snow, ice, glacier, neige, sneeuw, schnee
#efe3c2 cropland, arable
#4d4a44 background
"""
"""Color of the classes whose names hold all words of one of the names after it; `*` matches any start of a word."""

_GOLDEN = 0.618033988749895
"""Step between hues: multiples of the golden ratio keep any number of hues apart."""

_MIN_DISTANCE = 24.0
"""Least distance in RGB of two colors that readers of a map and its legend distinguish."""

_GOOD_DISTANCE = 60.0
"""Distance in RGB of colors that nobody takes for one another, used as long as there are such colors."""

_CANDIDATES = 600
"""Colors of the palette to choose from: more than a map has classes, without those that are close to the table's."""

_DISTINCT = 255
"""Number of classes whose colors differ; a map has no more, but a table may list all crops of a country."""

_SHADES = ((255, 0.4), (0, 0.25), (255, 0.65), (0, 0.45))
"""Shades of a color for further classes of the same crop: gray value and its share."""


def make_palette(count: int) -> list[str]:
    """Return distinct colors of medium lightness, "#rrggbb"; the first colors are the same for every count."""
    colors = []
    for i in range(count):
        hue = (0.11 + i * _GOLDEN) % 1
        red, green, blue = colorsys.hls_to_rgb(hue, (0.52, 0.38, 0.68)[i % 3], (0.62, 0.55, 0.7)[i % 3])
        colors.append(f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}")
    return colors


def color_classes(classes: Sequence[LabelClass]) -> tuple[LabelClass, ...]:
    """Return classes with a color each; none of the first 255 occurs twice, except those that are set already.

    Crops have the color that maps usually give them, by their name in English, Dutch, French or German; further classes
    of the same crop have lighter and darker shades of it. Other classes have a color that depends on their name alone,
    unless it would be similar to that of another class. From the 256th class on, it depends on the name in any case.

    Args:
        classes: Classes; "" is no color yet.
    """
    colors = {index: each.color for index, each in enumerate(classes[:_DISTINCT]) if each.color}
    known = [find_crop_color(each.name) for each in classes[:_DISTINCT]]
    crops = [index for index, color in enumerate(known) if color]
    # By name, so that the colors of other classes do not depend on the order of the legend.
    others = sorted((index for index, color in enumerate(known) if not color), key=lambda index: classes[index].name)
    for index in [*crops, *others]:
        if index not in colors:
            colors[index] = _first_free(known[index], classes[index].name, tuple(colors.values()))
    further = (each.color or _spare_colors()[_first_choice(each.name)] for each in classes[_DISTINCT:])
    found = [*(colors[index] for index in range(len(known))), *further]
    return tuple(replace(each, color=color) for each, color in zip(classes, found, strict=True))


def find_crop_color(name: str) -> str:
    """Return the color of a crop or land cover in the table; "" if it is not there.

    The entry with the most words that all occur in the name is used, and of several the one that occurs first.
    """
    plain = unicodedata.normalize("NFKD", name.casefold())
    words = re.findall(r"[a-z]+", "".join(letter for letter in plain if not unicodedata.combining(letter)))
    best, color = (0, 0, 0), ""
    for entry, entry_color in _entries():
        places = [_find_word(word, words) for word in entry]
        if any(place is None for place in places):
            continue
        exact = sum(not word.startswith("*") for word in entry)
        rank = (len(entry), exact, -min(place for place in places if place is not None))
        if not color or rank > best:
            best, color = rank, entry_color
    return color


@cache
def _entries() -> tuple[tuple[tuple[str, ...], str], ...]:
    """Words and color of each name in the table."""
    lines = (line.partition(" ") for line in _TABLE.strip().splitlines())
    return tuple((tuple(name.split()), color) for color, _, names in lines for name in names.split(","))


def _find_word(wanted: str, words: Sequence[str]) -> int | None:
    """Position of a word, or of its plural with s; None if it does not occur."""
    for place, word in enumerate(words):
        if word.endswith(wanted[1:]) if wanted.startswith("*") else word in (wanted, f"{wanted}s"):
            return place
    return None


def _first_free(known: str, name: str, taken: Sequence[str]) -> str:
    """The first color for a class that differs visibly from those that are taken, or at least differs."""
    if known:
        shades = tuple(_shades(known))
        for color, distance in zip(shades, _nearest(shades, taken), strict=True):
            if distance >= _MIN_DISTANCE:
                return color
    spare = _spare_colors()
    distances = _nearest(spare, taken)
    order = np.roll(np.arange(len(spare)), -_first_choice(name))
    least = next(least for least in (_GOOD_DISTANCE, _MIN_DISTANCE, 1) if distances.max() >= least)
    return spare[next(index for index in order if distances[index] >= least)]


def _first_choice(name: str) -> int:
    """Position in the palette of the color of a class, if it is free."""
    return zlib.crc32(name.encode()) % len(_spare_colors())


def _shades(color: str) -> Iterator[str]:
    """A color, then lighter and darker ones of its hue."""
    yield color
    for gray, share in _SHADES:
        mixed = (round(value + share * (gray - value)) for value in bytes.fromhex(color[1:]))
        yield "#{:02x}{:02x}{:02x}".format(*mixed)


@cache
def _spare_colors() -> tuple[str, ...]:
    """The colors of the palette that no crop has."""
    colors = make_palette(_CANDIDATES)
    distances = _nearest(tuple(colors), [color for _, color in _entries()])
    return tuple(color for color, distance in zip(colors, distances, strict=True) if distance >= _MIN_DISTANCE)


def _nearest(colors: tuple[str, ...], others: Sequence[str]) -> NDArray[np.float64]:
    """Distance of each color to the nearest of others, (n,), in RGB of 0 to 255; infinite without others."""
    if not others:
        return np.full(len(colors), np.inf)
    difference = _to_rgb(colors)[:, None] - _to_rgb(tuple(others))
    nearest: NDArray[np.float64] = np.sqrt(np.einsum("nmk,nmk->nm", difference, difference).min(axis=1))
    return nearest


@lru_cache(maxsize=4)
def _to_rgb(colors: tuple[str, ...]) -> NDArray[np.float64]:
    """Red, green and blue of colors, (n, 3)."""
    return np.array([list(bytes.fromhex(color[1:])) for color in colors], np.float64)
