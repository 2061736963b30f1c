"""README.md of a prepared dataset: description, provenance and usage."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cropzoo import __version__
from cropzoo.data.summary import DatasetDescription, SplitDescription
from cropzoo.io import write_text
from cropzoo.reports.render import make_environment, markdown_text

_FEW_PIXELS = 100
"""Training pixels of a class, about a hectare at 10 m, below which the card warns."""


def list_limitations(found: DatasetDescription, facts: Mapping[str, Any]) -> list[str]:
    """Limitations as sentences: the notes among the facts, then those that follow from the counts of classes."""
    notes = facts.get("notes") or ()
    lines = [notes] if isinstance(notes, str) else [str(note) for note in notes]
    splits = {split.name: split for split in found.splits if split.classes}
    train = splits.get("train")
    if train:
        none = _classes(found, train, 0, 0)
        if none:
            lines.append(f"No training pixels of: {', '.join(none)}.")
        few = _classes(found, train, 1, _FEW_PIXELS - 1)
        if few:
            lines.append(f"Fewer than {_FEW_PIXELS} training pixels of: {', '.join(few)}.")
    for name, split in splits.items():
        missing = [
            label for label in _classes(found, split, 0, 0) if not (train and label in _classes(found, train, 0, 0))
        ]
        if missing:
            lines.append(f"No {name} pixels, so no {name} scores, of: {', '.join(missing)}.")
    for split in found.splits:
        if not split.samples:
            lines.append(f"The {split.name} split is empty.")
    if found.splits and all(split.clear is None for split in found.splits if split.samples):
        lines.append("There is no cloud mask; the series contain clouds.")
    return lines


def _classes(found: DatasetDescription, split: SplitDescription, low: int, high: int) -> list[str]:
    """Names of the classes with `low` to `high` pixels in a split."""
    return [label.name for label, count in zip(found.classes, split.classes, strict=True) if low <= count <= high]


_SECTIONS = ("title", "summary", "command", "split", "rotations", "void", "license", "citation", "notes")
"""Facts with their own place on the card; all others are listed."""

EMPTY: tuple[Any, ...] = ("", None, (), [], {})
"""Values of facts that are not listed."""


def write_dataset_card(path: Path, description: DatasetDescription, facts: Mapping[str, Any]) -> None:
    """Write the card of a dataset in the layout of `cropzoo.data.pastis`.

    Args:
        path: Path of README.md in the dataset's folder, which is replaced.
        description: Description of the dataset, with the splits of its first rotation.
        facts: Further facts, all optional: `title`; `summary`, a sentence; `command`, the command line that made it;
            `split`, how samples were assigned to folds; `rotations`, folds of "train", "val" and "test" for each choice
            of fold; `void`, a sentence on the ignored pixels; `license` and `citation` of the sources; `notes`,
            limitations as sentences. All others are listed by name.

    Raises:
        CropzooError: If the file cannot be written.
    """
    templates = make_environment()
    templates.filters |= {"text": markdown_text, "code": _code, "sentence": _sentence}
    listed = {key: value for key, value in facts.items() if key not in _SECTIONS and value not in EMPTY}
    known = {key: facts.get(key) or "" for key in _SECTIONS}
    card = templates.get_template("dataset_card.md.j2").render(
        **known | {"title": known["title"] or path.resolve().parent.name},
        found=description,
        folder=shlex.quote(path.resolve().parent.name + "/"),
        counted=[split for split in description.splits if split.classes],
        has_clear=any(split.clear is not None for split in description.splits),
        listed=listed,
        limitations=[_sentence(line) for line in list_limitations(description, facts)],
        version=__version__,
    )  # fmt: skip
    write_text(path, card)


def _sentence(text: str) -> str:
    """A text with a capital letter and a period."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _code(text: object) -> str:
    """A line of code that cannot end its block."""
    return " ".join(str(text).split()).replace("```", "` ` `")
