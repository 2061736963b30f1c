"""README.md of a prepared dataset: what it is, how it was made, how to use it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cropzoo import __version__
from cropzoo.data.summary import DatasetDescription, SplitDescription
from cropzoo.io import write_text
from cropzoo.reports.render import make_environment, markdown_text

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


_OWN_PLACE = ("title", "summary", "command", "split", "rotations", "void", "license", "citation", "notes")
"""Facts that have a place of their own on the card; all others are listed."""

EMPTY: tuple[Any, ...] = ("", None, (), [], {})
"""Values of facts that are not listed."""


def write_dataset_card(path: Path, description: DatasetDescription, facts: Mapping[str, Any]) -> None:
    """Write the card of a dataset in the layout of `cropzoo.data.pastis`.

    Args:
        path: README.md in the dataset's folder; what stood there is replaced as a whole.
        description: of the dataset, with the splits of its first rotation.
        facts: what is known beyond it; each may be missing. `title` and `summary` (a sentence); `command` that made it;
            `split`, how samples came to folds; `rotations`, folds of "train", "val" and "test" for each choice of fold;
            `void`, which pixels are ignored, a sentence; `license` and `citation` of the sources; `notes`, sentences
            that a user must know. All else is listed by name under how it was made.

    Raises:
        CropzooError: when the file cannot be written.
    """
    templates = make_environment()
    templates.filters |= {"text": markdown_text, "code": _code, "sentence": _sentence}
    listed = {key: value for key, value in facts.items() if key not in _OWN_PLACE and value not in EMPTY}
    known = {key: facts.get(key) or "" for key in _OWN_PLACE}
    card = templates.get_template("dataset_card.md.j2").render(
        **known | {"title": known["title"] or path.resolve().parent.name},
        found=description,
        folder=shlex.quote(path.resolve().parent.name + "/"),
        counted=[split for split in description.splits if split.classes],
        has_clear=any(split.clear is not None for split in description.splits),
        listed=listed,
        caveats=[_sentence(line) for line in caveats(description, facts)],
        version=__version__,
    )  # fmt: skip
    write_text(path, card)


def _sentence(text: str) -> str:
    """A note with a capital and a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _code(text: object) -> str:
    """A line of code that cannot end the block it stands in."""
    return " ".join(str(text).split()).replace("```", "` ` `")
