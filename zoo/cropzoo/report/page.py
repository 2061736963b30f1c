"""report.html: one file that tells of a run and opens without a network."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cropzoo import __version__
from cropzoo.files import write_text
from cropzoo.report.charts import Chart, line_chart
from cropzoo.report.figures import png, save_patches
from cropzoo.report.panels import Patch, classes_in, marks, panels, safe_colour
from cropzoo.report.run_files import RunFiles, read_run
from cropzoo.report.scores_view import by_distance, confusion_rows, regions, tiles, with_all_keys
from cropzoo.report.templates import environment
from cropzoo.samples import LabelClass

FILE = "report.html"

_CURVES = (
    ("Loss", {"train_loss": "training", "val_loss": "validation"}, 1.0),
    ("Validation scores, %", {"val_oa": "overall accuracy", "val_miou": "mean IoU"}, 100.0),
)


def write_report(run_folder: Path, patches: Sequence[Patch] = (), classes: Sequence[LabelClass] = ()) -> Path:
    """Write the report of a run, and its patches as figures/patches.png.

    Args:
        run_folder: with recipe.yaml, and what there is of metrics.jsonl, metrics.json, environment.json, split.json.
        patches: places to show.
        classes: by label index, for colours and codes.

    Returns:
        The path of report.html.

    Raises:
        CropzooError: when the folder is none of a run, a file in it cannot be read, or the report cannot be written.
    """
    run_folder = Path(run_folder)
    run = read_run(run_folder)
    if patches:
        save_patches(run_folder / "figures" / "patches.png", patches, classes)
    html = environment().get_template("report.html.j2").render(**_context(run, patches, classes))
    write_text(run_folder / FILE, html)
    return run_folder / FILE


def _context(run: RunFiles, patches: Sequence[Patch], classes: Sequence[LabelClass]) -> dict[str, Any]:
    split = next((name for name in ("test", "val") if run.metrics.get(name)), "")
    scores = with_all_keys(run.metrics.get(split))
    return {
        "run": run,
        "title": _title(run),
        "pretrain": [str(name) for name in run.recipe.get("pretrain") or ()],
        "objective": str(run.recipe.get("objective") or "segmentation"),
        "seed": run.recipe.get("seed"),
        "split": split,
        "scores": scores,
        "validation": run.metrics.get("val") if split == "test" else None,
        "tiles": tiles(scores),
        "regions": regions(scores),
        "distance": by_distance(scores),
        "confusion": confusion_rows(scores) if scores else [],
        "codes": {item.name: item.code for item in classes},
        "colours": {item.name: safe_colour(item.colour) for item in classes},
        "stages": [_stage(name, records) for name, records in run.stages.items()],
        "patches": [_patch(patch, classes) for patch in patches],
        "legend": [(item.name, safe_colour(item.colour)) for item in classes_in(patches, classes)],
        "marks": marks(patches) if patches else [],
        "version": __version__,
    }


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


def _patch(patch: Patch, classes: Sequence[LabelClass]) -> dict[str, Any]:
    pictures = [
        {"title": title, "data": base64.b64encode(png(picture)).decode("ascii")}
        for title, picture in panels(patch, classes)
    ]
    return {"name": patch.name, "accuracy": patch.accuracy, "panels": pictures}
