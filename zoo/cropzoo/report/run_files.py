"""What a run folder holds, read for its report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cropzoo.errors import CropzooError
from cropzoo.files import read_json


@dataclass(frozen=True)
class RunFiles:
    """A run's files: what is not there is empty.

    Args:
        name: of the folder.
        recipe: in mapping form; `recipe_text` as it stands in the file.
        stages: records of metrics.jsonl by stage and in order of epochs.
        metrics: scores by split.
    """

    name: str
    recipe: dict[str, Any]
    recipe_text: str
    stages: dict[str, list[dict[str, Any]]]
    metrics: dict[str, Any]
    environment: dict[str, Any]
    split: dict[str, Any]


def read_run(folder: Path) -> RunFiles:
    """The files of a run.

    Raises:
        CropzooError: when the folder is none of a run, or a file in it cannot be read.
    """
    recipe = folder / "recipe.yaml"
    if not recipe.is_file():
        raise CropzooError(f"reporting on {str(folder)!r}; it holds no recipe.yaml; give the folder of a run")
    text = recipe.read_text(encoding="utf-8")
    try:
        settings = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CropzooError(f"{str(recipe)!r} cannot be read; {error}") from error
    return RunFiles(
        name=folder.resolve().name,
        recipe=_mapping(settings, recipe),
        recipe_text=text,
        stages=_read_stages(folder / "metrics.jsonl"),
        metrics=_read(folder / "metrics.json"),
        environment=_read(folder / "environment.json"),
        split=_read(folder / "split.json"),
    )


def _read(path: Path) -> dict[str, Any]:
    return _mapping(read_json(path), path) if path.exists() else {}


def _mapping(value: Any, path: Path) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise CropzooError(f"{str(path)!r} holds {type(value).__name__}; it must be a mapping of names to values")
    return dict(value)


def _read_stages(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The records of each stage; of an epoch that a resumed run did again, the last."""
    stages: dict[str, dict[int, dict[str, Any]]] = {}
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            stages.setdefault(str(record["stage"]), {})[int(record["epoch"])] = record
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):  # a run that was killed may have left half a line
                continue
            raise CropzooError(f"{str(path)!r}, line {number}: not a record of an epoch; {error!r}") from error
    return {stage: [records[epoch] for epoch in sorted(records)] for stage, records in stages.items()}
