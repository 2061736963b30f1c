"""report.html: one file that tells of a run and opens without a network."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cropzoo import __version__
from cropzoo.config.short_forms import DEFAULT_OBJECTIVE
from cropzoo.config.upgrade import upgrade_recipe
from cropzoo.data.sample import LabelClass
from cropzoo.errors import CropzooError
from cropzoo.io import read_json, write_text
from cropzoo.reports.charts import Chart, line_chart
from cropzoo.reports.metrics_table import by_distance, confusion_rows, regions, tiles, with_all_keys
from cropzoo.reports.patches import ReportPatch, classes_in, marks, panels, png, safe_color, save_patches
from cropzoo.reports.render import make_environment


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
        recipe=upgrade_recipe(_mapping(settings, recipe)),
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


FILE = "report.html"

_CURVES = (
    ("Loss", {"train_loss": "training", "val_loss": "validation"}, 1.0),
    ("Validation scores, %", {"val_oa": "overall accuracy", "val_miou": "mean IoU"}, 100.0),
)


def write_report(run_folder: Path, patches: Sequence[ReportPatch] = (), classes: Sequence[LabelClass] = ()) -> Path:
    """Write the report of a run, and its patches as figures/patches.png.

    Args:
        run_folder: with recipe.yaml, and what there is of metrics.jsonl, metrics.json, environment.json, split.json.
        patches: places to show.
        classes: by label index, for colors and codes.

    Returns:
        The path of report.html.

    Raises:
        CropzooError: when the folder is none of a run, a file in it cannot be read, or the report cannot be written.
    """
    run_folder = Path(run_folder)
    run = read_run(run_folder)
    if patches:
        save_patches(run_folder / "figures" / "patches.png", patches, classes)
    html = make_environment().get_template("report.html.j2").render(**_context(run, patches, classes))
    write_text(run_folder / FILE, html)
    return run_folder / FILE


def _context(run: RunFiles, patches: Sequence[ReportPatch], classes: Sequence[LabelClass]) -> dict[str, Any]:
    split = next((name for name in ("test", "val") if run.metrics.get(name)), "")
    scores = with_all_keys(run.metrics.get(split))
    objectives = _objectives(run.recipe)
    return {
        "run": run,
        "title": _title(run),
        "pretrain": objectives[:-1],
        "objective": objectives[-1],
        "seed": run.recipe.get("seed"),
        "split": split,
        "scores": scores,
        "validation": run.metrics.get("val") if split == "test" else None,
        "tiles": tiles(scores),
        "regions": regions(scores),
        "distance": by_distance(scores),
        "confusion": confusion_rows(scores) if scores else [],
        "codes": {item.name: item.code for item in classes},
        "colors": {item.name: safe_color(item.color) for item in classes},
        "stages": [_stage(name, records) for name, records in run.stages.items()],
        "patches": [_patch(patch, classes) for patch in patches],
        "legend": [(item.name, safe_color(item.color)) for item in classes_in(patches, classes)],
        "marks": marks(patches) if patches else [],
        "version": __version__,
    }


def _objectives(recipe: Mapping[str, Any]) -> list[str]:
    """The objectives of the stages; a recipe that somebody changed by hand may hold anything."""
    stages = recipe.get("stages")
    named = [stage for stage in stages if isinstance(stage, dict)] if isinstance(stages, list) else []
    return [str(stage.get("objective")) for stage in named] or [DEFAULT_OBJECTIVE]


def _title(run: RunFiles) -> str:
    """What was trained on what."""
    names = []
    for part in ("backbone", "dataset"):
        section = run.recipe.get(part)
        name = section.get("name") if isinstance(section, dict) else section
        names.append(str(name or f"unnamed {part}"))
    return " on ".join(names)


def _stage(name: str, records: list[dict[str, Any]]) -> dict[str, Any]:
    epochs = [int(record["epoch"]) + 1 for record in records]
    columns = list(dict.fromkeys(key for record in records for key in record if key not in ("stage", "epoch")))
    return {
        "name": name,
        "charts": [chart for chart in (_chart(records, epochs, *curve) for curve in _CURVES) if chart],
        "best": _best(records),
        "epochs": epochs,
        "columns": columns,
        "rows": [[epoch, *(record.get(key) for key in columns)] for epoch, record in zip(epochs, records, strict=True)],
    }


def _chart(
    records: list[dict[str, Any]], epochs: list[int], title: str, keys: dict[str, str], unit: float
) -> Chart | None:
    curves = {}
    for key, name in keys.items():
        values = [record.get(key) for record in records]
        curves[name] = [value * unit if isinstance(value, int | float) else None for value in values]
    return line_chart(title, epochs, curves)


def _best(records: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Epoch and value of the highest validation mIoU."""
    known = [record for record in records if isinstance(record.get("val_miou"), int | float)]
    if not known:
        return None
    best = max(known, key=lambda record: float(record["val_miou"]))
    return {"epoch": int(best["epoch"]) + 1, "miou": best["val_miou"]}


def _patch(patch: ReportPatch, classes: Sequence[LabelClass]) -> dict[str, Any]:
    pictures = [
        {"title": title, "data": base64.b64encode(png(picture)).decode("ascii")}
        for title, picture in panels(patch, classes)
    ]
    return {"name": patch.name, "accuracy": patch.accuracy, "panels": pictures}
