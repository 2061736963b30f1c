"""A zoo of names to plan with, and runs that nobody trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from cropzoo.config.catalog import Catalog
from cropzoo.evaluation.compare.config import read_study
from cropzoo.evaluation.compare.folder import StudyFolder
from cropzoo.evaluation.compare.grid import PlannedRun, StudyPlan, make_plan
from cropzoo.evaluation.compare.results import collect_scores, collect_scorings
from cropzoo.evaluation.compare.summary import summarize
from cropzoo.plugins.registry import load_zoo

BODY = """
from cropzoo import ObjectiveSpec


class Whole:
    def __init__(self, *, root="", scale=1):
        pass


class Folded:
    def __init__(self, *, fold=1):
        pass


def Net(*, in_channels, classes, image_size, length, dim=8):
    pass


def Loss(backbone, classes, *, window=3):
    pass


@hookimpl
def cropzoo_backbones():
    return [backbone(name, f"{__name__}:Net") for name in ("net", "other-net")]


@hookimpl
def cropzoo_datasets():
    return [dataset("synthetic", f"{__name__}:Whole"), dataset("folded", f"{__name__}:Folded")]


@hookimpl
def cropzoo_objectives():
    common = dict(build=f"{__name__}:Loss", summary="a test", source="a test", license="MIT", needs_labels=True)
    return [ObjectiveSpec(name=name, **common) for name in ("cscl", "mtm", "segmentation")]
"""

GRID = {"backbones": ["net"], "pretrain": ["none", "cscl"], "epochs": 10, "pretrain_epochs": 3}


@pytest.fixture
def zoo(make_plugin):
    """Backbones `net` and `other-net`, datasets `synthetic` and `folded`, objectives `cscl`, `mtm`, `segmentation`."""
    return load_zoo([make_plugin("names", BODY)])


@pytest.fixture
def plan(zoo) -> Callable[..., StudyPlan]:
    """`plan(**study)`: net, none and cscl, 3 of 10 epochs, unless the study says otherwise."""
    return lambda **study: make_plan(read_study({**GRID, **study}, {}, [], "the test"), zoo, Catalog({}, {}))


@pytest.fixture
def folder(tmp_path) -> StudyFolder:
    return StudyFolder(tmp_path / "study")


@pytest.fixture
def finish() -> Callable[..., None]:
    """`finish(folder, run, confusion, ...)` leaves the files of a run with that confusion matrix of every region."""
    return write_run


def write_run(
    folder: StudyFolder,
    run: PlannedRun,
    confusion: Any = ((8, 2), (1, 9)),
    *,
    edge: Any = None,
    parcels: tuple[int, int] | None = (3, 4),
    distance: tuple[list[int], list[int]] | None = ([4, 6], [2, 5]),
    training: dict[str, Any] | None = None,
    classes: str | None = None,
    split: str = "test",
) -> None:
    """`edge` is the matrix at boundaries; `distance` pixels and right ones; `parcels` right ones and all."""
    whole = np.array(confusion)
    at_edge = whole // 2 if edge is None else np.array(edge)
    scores = {
        "miou": 0.5,
        "confusion": whole.tolist(),
        "per_class": dict.fromkeys("abcd"[: len(whole)] if classes is None else classes),
        "boundary": {"confusion": at_edge.tolist()},
        "interior": {"confusion": (whole - at_edge).tolist()},
        "parcels": parcels and {"accuracy": parcels[0] / parcels[1], "count": parcels[1]},
        "distance": distance and {"of": "parcels", "pixels": distance[0], "correct": distance[1]},
    }
    path: Path = folder.run(run).path
    path.mkdir(parents=True, exist_ok=True)
    folder.run(run).recipe.write_text(yaml.safe_dump(run.recipe.to_mapping()))
    folder.run(run).metrics.write_text(json.dumps({split: scores}))
    training = {"seconds": 60.0, "steps": 50, "peak_memory": 2 * 10**9} if training is None else training
    folder.run(run).environment.write_text(json.dumps({"training": training}))
    folder.run(run).model.touch()
    folder.run(run).report.touch()


@pytest.fixture
def study(plan, folder, finish):
    """`study(**settings)`: plan and summaries of runs that are finished, but the last one."""

    def make(**settings):
        found = plan(**settings)
        for run in found.runs[:-1]:
            hits = 80 + 2 * run.seed + 5 * (run.cell.pretrain == "cscl")
            finish(folder, run, [[hits, 100 - hits], [0, 100]])
        return found, summarize(found, collect_scores(found, folder))

    return make


@pytest.fixture
def other_scores(folder):
    """`other_scores(plan)` of a study with `until: [06-15]`: all right without pre-training, all wrong with.

    One run of cscl alone has been scored so, and none by any other scoring.
    """

    def make(plan):
        for run in plan.runs[:-1]:
            if run.cell.pretrain == "none":
                write_scoring(folder, plan, run, [[100, 0], [0, 100]])
        write_scoring(folder, plan, plan.runs[1], [[50, 50], [50, 50]])
        return {name: summarize(plan, found) for name, found in collect_scorings(plan, folder).items()}

    return make


def write_scoring(folder, plan, run, confusion, name="until 06-15"):
    folder.write_scoring(run, name, plan.study, {"confusion": confusion, "per_class": dict.fromkeys("ab")})
