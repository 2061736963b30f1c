"""README.md of a prepared dataset: what it is, how it was made, how to use it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cropzoo import __version__
from cropzoo.descriptions import DatasetDescription
from cropzoo.files import write_text
from cropzoo.report.caveats import caveats
from cropzoo.report.templates import environment, markdown_text

_OWN_PLACE = ("title", "summary", "command", "split", "rotations", "void", "licence", "citation", "notes")
"""Facts that have a place of their own on the card; all others are listed."""

_NOTHING: tuple[Any, ...] = ("", None, (), [], {})


def write_dataset_card(path: Path, description: DatasetDescription, facts: Mapping[str, Any]) -> None:
    """Write the card of a dataset in the layout of `cropzoo.layout`.

    Args:
        path: README.md in the dataset's folder; what stood there is replaced as a whole.
        description: of the dataset, with the splits of its first rotation.
        facts: what is known beyond it; each may be missing. `title` and `summary` (a sentence); `command` that made it;
            `split`, how samples came to folds; `rotations`, folds of "train", "val" and "test" for each choice of fold;
            `void`, which pixels are ignored, a sentence; `licence` and `citation` of the sources; `notes`, sentences
            that a user must know. All else is listed by name under how it was made.

    Raises:
        CropzooError: when the file cannot be written.
    """
    templates = environment()
    templates.filters |= {"text": markdown_text, "code": _code, "sentence": _sentence}
    listed = {key: value for key, value in facts.items() if key not in _OWN_PLACE and value not in _NOTHING}
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
