"""report.html: a run in one file that opens without a network."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cropzoo import __version__
from cropzoo.config.run_dir import RunFolder
from cropzoo.config.schema import parse_yaml
from cropzoo.config.short_forms import DEFAULT_OBJECTIVE
from cropzoo.config.upgrade import upgrade_recipe
from cropzoo.data.model_scores import baseline_of, read_model_scores
from cropzoo.data.sample import LabelClass
from cropzoo.errors import CropzooError
from cropzoo.io import read_json, write_text
from cropzoo.reports.charts import Chart, line_chart
from cropzoo.reports.metrics_table import by_distance, confusion_rows, regions, tiles, with_all_keys
from cropzoo.reports.patches import ReportPatch, classes_in, draw_panels, encode_png, marks, safe_color, save_patches
from cropzoo.reports.render import flat, make_environment


@dataclass(frozen=True)
class RunFiles:
    """Content of a run's files; missing files are empty.

    Args:
        name: Name of the folder.
        recipe: Recipe in mapping form.
        recipe_text: Text of recipe.yaml.
        stages: Records of metrics.jsonl by stage, in the order of epochs.
        metrics: Scores by split.
        environment: Content of environment.json.
        split: Content of split.json.
    """

    name: str
    recipe: dict[str, Any]
    recipe_text: str
    stages: dict[str, list[dict[str, Any]]]
    metrics: dict[str, Any]
    environment: dict[str, Any]
    split: dict[str, Any]


def read_run(folder: Path) -> RunFiles:
    """Read the files of a run.

    Raises:
        CropzooError: If the folder is not a run, or a file in it cannot be read.
    """
    run = RunFolder(folder)
    if not run.recipe.is_file():
        raise CropzooError(f"report of {str(folder)!r}; it has no recipe.yaml; give the folder of a run")
    text = run.recipe.read_text(encoding="utf-8")
    settings = parse_yaml(text, str(run.recipe))
    return RunFiles(
        name=folder.resolve().name,
        recipe=upgrade_recipe(_as_mapping(settings, run.recipe)),
        recipe_text=text,
        stages=_read_stages(run.epochs),
        metrics=_read(run.metrics),
        environment=_read(run.environment),
        split=_read(run.split),
    )


def _read(path: Path) -> dict[str, Any]:
    return _as_mapping(read_json(path), path) if path.exists() else {}


def _as_mapping(value: Any, path: Path) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise CropzooError(f"{str(path)!r} contains a {type(value).__name__}; expected a mapping of names to values")
    return dict(value)


def _read_stages(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Records of each stage; the last one of an epoch that a resumed run repeated."""
    stages: dict[str, dict[int, dict[str, Any]]] = {}
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            stages.setdefault(str(record["stage"]), {})[int(record["epoch"])] = record
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):  # a killed run may have left a partial line
                continue
            raise CropzooError(f"{str(path)!r}, line {number}: not a valid record of an epoch; {error!r}") from error
    return {stage: [records[epoch] for epoch in sorted(records)] for stage, records in stages.items()}


_CURVES = (
    ("Loss", {"train_loss": "training", "val_loss": "validation"}, 1.0),
    ("Validation scores, %", {"val_oa": "overall accuracy", "val_miou": "mean IoU"}, 100.0),
)


def write_report(run_folder: Path, patches: Sequence[ReportPatch] = (), classes: Sequence[LabelClass] = ()) -> Path:
    """Write the report of a run, and its patches as figures/patches.png.

    Args:
        run_folder: Folder with recipe.yaml and, as far as they exist, the other files of a run.
        patches: Places to show.
        classes: Classes by label index.

    Returns:
        Path of report.html.

    Raises:
        CropzooError: If the folder is not a run, a file in it cannot be read, or the report cannot be written.
    """
    folder = RunFolder(Path(run_folder))
    run = read_run(folder.path)
    if patches:
        save_patches(folder.figures / "patches.png", patches, classes)
    html = make_environment().get_template("report.html.j2").render(**_context(run, patches, classes))
    write_text(folder.report, html)
    return folder.report


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
        "below": read_model_scores(scores),
        "baseline_iou": {name: each.get("iou") for name, each in baseline_of(scores).get("per_class", {}).items()},
        "regions": regions(scores),
        "distance": by_distance(scores),
        "confusion": confusion_rows(scores) if scores else [],
        "codes": {item.name: item.code for item in classes if item.code is not None},
        "colors": {item.name: safe_color(item.color) for item in classes},
        "stages": [_describe_stage(name, records) for name, records in run.stages.items()],
        "patches": [_encode_patch(patch, classes) for patch in patches],
        "legend": [(item.name, safe_color(item.color)) for item in classes_in(patches, classes)],
        "marks": marks(patches) if patches else [],
        "environment": [(_UNITS.get(name, name), value) for name, value in flat(run.environment)],
        "version": __version__,
    }


_UNITS = {"training.seconds": "training time, s", "training.peak_memory": "training.peak_memory, bytes"}
"""Names of quantities of environment.json that have a unit."""


def _objectives(recipe: Mapping[str, Any]) -> list[str]:
    """The objectives of the stages; a recipe that somebody changed by hand may hold anything."""
    stages = recipe.get("stages")
    named = [stage for stage in stages if isinstance(stage, dict)] if isinstance(stages, list) else []
    return [str(stage.get("objective")) for stage in named] or [DEFAULT_OBJECTIVE]


def _title(run: RunFiles) -> str:
    """Names of the backbone and the dataset."""
    names = []
    for part in ("backbone", "dataset"):
        section = run.recipe.get(part)
        name = section.get("name") if isinstance(section, dict) else section
        names.append(str(name or f"unnamed {part}"))
    return " on ".join(names)


def _describe_stage(name: str, records: list[dict[str, Any]]) -> dict[str, Any]:
    epochs = [int(record["epoch"]) + 1 for record in records]
    keys = dict.fromkeys(key for record in records for key in record if key not in ("stage", "epoch"))
    columns = [_COLUMNS.get(key, (key, 1)) for key in keys]
    return {
        "name": name,
        "charts": [chart for chart in (_chart(records, epochs, *curve) for curve in _CURVES) if chart],
        "best": _find_best(records),
        "epochs": epochs,
        "columns": columns,
        "rows": [
            [epoch, *(_scaled(record.get(key), unit) for key, (_, unit) in zip(keys, columns, strict=True))]
            for epoch, record in zip(epochs, records, strict=True)
        ],
    }


_COLUMNS = {
    "train_loss": ("training loss", 1),
    "val_loss": ("validation loss", 1),
    "val_oa": ("validation OA, %", 100),
    "val_miou": ("validation mIoU, %", 100),
    "lr": ("learning rate", 1),
    "seconds": ("time, s", 1),
}
"""Heading and factor of the metrics of an epoch, by their key in metrics.jsonl."""


def _scaled(value: Any, factor: float) -> Any:
    return value * factor if factor != 1 and isinstance(value, int | float) else value


def _chart(
    records: list[dict[str, Any]], epochs: list[int], title: str, keys: dict[str, str], unit: float
) -> Chart | None:
    curves = {}
    for key, name in keys.items():
        values = [record.get(key) for record in records]
        curves[name] = [value * unit if isinstance(value, int | float) else None for value in values]
    return line_chart(title, epochs, curves)


def _find_best(records: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Epoch and value of the best validation mIoU."""
    known = [record for record in records if isinstance(record.get("val_miou"), int | float)]
    if not known:
        return None
    best = max(known, key=lambda record: float(record["val_miou"]))
    return {"epoch": int(best["epoch"]) + 1, "miou": best["val_miou"]}


def _encode_patch(patch: ReportPatch, classes: Sequence[LabelClass]) -> dict[str, Any]:
    pictures = [
        {"title": title, "data": base64.b64encode(encode_png(picture)).decode("ascii")}
        for title, picture in draw_panels(patch, classes)
    ]
    return {"name": patch.name, "accuracy": patch.accuracy, "panels": pictures}
