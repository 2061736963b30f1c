"""Validation splits held out of training samples by location."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from itertools import combinations

from cropzoo import CropzooError, UsageError

_BLOCK = re.compile(r"W(-?[0-9]+)_N(-?[0-9]+)_E(-?[0-9]+)_S(-?[0-9]+)")

Box = tuple[int, int, int, int]
"""West, north, east and south, in meters."""


def hold_out(entries: Sequence[str], groups: Sequence[str], share: float, dataset: str) -> tuple[list[str], list[str]]:
    """Divide samples into train and val: complete groups go to val, in the order of their hashes.

    The division depends only on the lists. A group is a location whose samples are correlated, so it is never divided.
    If all samples belong to one group, each sample is a group.

    Args:
        entries: Paths of the samples.
        groups: Group of each sample.
        share: Share of val in the samples, above 0 and below 1.
        dataset: Name of the dataset, for messages.

    Raises:
        UsageError: The share is outside (0, 1).
        CropzooError: There are too few samples for two splits.
    """
    if not isinstance(share, int | float) or isinstance(share, bool) or not 0 < share < 1:
        raise UsageError(f"dataset {dataset!r}; val_share is {share!r}; it must be above 0 and below 1, such as 0.1")
    if len(set(groups)) == 1:
        groups = entries
    if len(entries) < 2:
        raise CropzooError(
            f"dataset {dataset!r}; its training list has {len(entries)} samples outside test; train and val need one "
            "each; copy the list again"
        )
    sizes: dict[str, int] = {}
    for group in groups:
        sizes[group] = sizes.get(group, 0) + 1
    order = sorted(sizes, key=lambda group: hashlib.sha256(group.encode()).digest())
    chosen: set[str] = set()
    held = 0
    for group in order[:-1]:
        if held >= share * len(entries):
            break
        chosen.add(group)
        held += sizes[group]
    pairs = list(zip(entries, groups, strict=True))
    return [e for e, group in pairs if group not in chosen], [e for e, group in pairs if group in chosen]


def group_blocks(blocks: Sequence[str]) -> list[str]:
    """Return a group name for each block of T31TFM-1618: blocks that share more than half of their area are one group.

    Each year has its own grid of blocks. A block is a few hundred meters off the block of another year, so it shares
    most of its area with one block of that year and a strip with its neighbors. Names without the four sides are
    groups of their own.

    Args:
        blocks: Names of the blocks, such as "W799943_N6568107_E827372_S6540681".
    """
    boxes = {name: _parse_box(name) for name in dict.fromkeys(blocks)}
    group_of = {name: name for name in boxes}
    for (first, box), (second, other) in combinations(boxes.items(), 2):
        if box and other and 2 * _intersect(box, other) > min(_area(box), _area(other)):
            joined, merged = group_of[first], group_of[second]
            group_of = {name: joined if group == merged else group for name, group in group_of.items()}
    return [group_of[name] for name in blocks]


def _parse_box(name: str) -> Box | None:
    found = _BLOCK.fullmatch(name)
    return (int(found[1]), int(found[2]), int(found[3]), int(found[4])) if found else None


def _area(box: Box) -> int:
    west, north, east, south = box
    return max(east - west, 0) * max(north - south, 0)


def _intersect(first: Box, second: Box) -> int:
    west, north = max(first[0], second[0]), min(first[1], second[1])
    east, south = min(first[2], second[2]), max(first[3], second[3])
    return _area((west, north, east, south))
