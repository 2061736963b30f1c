"""A validation split held out of training samples, by place."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from cropzoo import CropzooError, UsageError


def hold_out(entries: Sequence[str], groups: Sequence[str], share: float, dataset: str) -> tuple[list[str], list[str]]:
    """Train and val of the samples: whole groups go to val, in the order of their hashes, until it has its share.

    The same lists give the same division everywhere and always; a group is a place whose samples look alike, so that
    none has neighbors on both sides. Where all samples are of one group, each is a group of its own.

    Args:
        entries: paths of samples.
        groups: the group of each.
        share: val's share of the samples, above 0 and below 1.
        dataset: its name, for messages.

    Raises:
        UsageError: a share that is none.
        CropzooError: too few samples for two splits.
    """
    if not isinstance(share, int | float) or isinstance(share, bool) or not 0 < share < 1:
        raise UsageError(f"dataset {dataset!r}; val_share is {share!r}; it must be above 0 and below 1, such as 0.1")
    if len(set(groups)) == 1:
        groups = entries
    if len(entries) < 2:
        raise CropzooError(
            f"dataset {dataset!r}; its training list has {len(entries)} samples that do not test; train and val need "
            "one each; copy the list again"
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
