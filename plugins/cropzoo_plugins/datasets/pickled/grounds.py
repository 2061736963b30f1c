"""Which blocks of T31TFM-1618 lie on the same ground: each year has a grid of blocks of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations

_BLOCK = re.compile(r"W(-?[0-9]+)_N(-?[0-9]+)_E(-?[0-9]+)_S(-?[0-9]+)")

Box = tuple[int, int, int, int]
"""West, north, east and south, in meters."""


def grounds(blocks: Sequence[str]) -> list[str]:
    """For each block's name the name of its ground: one name for all blocks that share over half of their area.

    A block of one year lies a few hundred meters beside that of another, so it shares most of its area with one block
    of that year, and a strip with its neighbors. Names without the four sides are grounds by themselves.

    Args:
        blocks: such as "W799943_N6568107_E827372_S6540681".
    """
    boxes = {name: _box(name) for name in dict.fromkeys(blocks)}
    of = {name: name for name in boxes}
    for (first, box), (second, other) in combinations(boxes.items(), 2):
        if box and other and 2 * _shared(box, other) > min(_area(box), _area(other)):
            joined, left = of[first], of[second]
            of = {name: joined if ground == left else ground for name, ground in of.items()}
    return [of[name] for name in blocks]


def _box(name: str) -> Box | None:
    found = _BLOCK.fullmatch(name)
    return (int(found[1]), int(found[2]), int(found[3]), int(found[4])) if found else None


def _area(box: Box) -> int:
    west, north, east, south = box
    return max(east - west, 0) * max(north - south, 0)


def _shared(first: Box, second: Box) -> int:
    west, north = max(first[0], second[0]), min(first[1], second[1])
    east, south = min(first[2], second[2]), max(first[3], second[3])
    return _area((west, north, east, south))
