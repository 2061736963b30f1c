"""What a reader must know of a dataset: notes of who made it, and what its numbers tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cropzoo.descriptions import DatasetDescription, SplitDescription

_FEW = 100
"""Training pixels, about one hectare of 10 m: too few to learn a crop from, and one field at most."""


def caveats(found: DatasetDescription, facts: Mapping[str, Any]) -> list[str]:
    """Sentences: the notes among the facts, then what follows from the counts of classes."""
    notes = facts.get("notes") or ()
    lines = [notes] if isinstance(notes, str) else [str(note) for note in notes]
    splits = {split.name: split for split in found.splits if split.classes}
    train = splits.get("train")
    if train:
        none = _classes(found, train, 0, 0)
        if none:
            lines.append(f"No training pixel of: {', '.join(none)}.")
        few = _classes(found, train, 1, _FEW - 1)
        if few:
            lines.append(f"Fewer than {_FEW} training pixels of: {', '.join(few)}.")
    for name, split in splits.items():
        missing = [
            label for label in _classes(found, split, 0, 0) if not (train and label in _classes(found, train, 0, 0))
        ]
        if missing:
            lines.append(f"No {name} pixel, so no {name} score, of: {', '.join(missing)}.")
    for split in found.splits:
        if not split.samples:
            lines.append(f"The {split.name} split is empty.")
    if found.splits and all(split.clear is None for split in found.splits if split.samples):
        lines.append("There is no cloud mask: clouds are among the values.")
    return lines


def _classes(found: DatasetDescription, split: SplitDescription, low: int, high: int) -> list[str]:
    """Names of the classes that have so many pixels in a split."""
    return [label.name for label, count in zip(found.classes, split.classes, strict=True) if low <= count <= high]
