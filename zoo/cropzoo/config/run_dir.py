"""Run folders: their files, and the checks before a run writes to one."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cropzoo import __version__
from cropzoo.config.plugin_records import PluginRecord, format_recipe
from cropzoo.config.recipe import Recipe
from cropzoo.config.schema import read_mapping
from cropzoo.config.upgrade import upgrade_recipe
from cropzoo.errors import CropzooError, UsageError
from cropzoo.io import LOCK_NAME, read_json, write_json, write_text

_CONTENTS = (
    "recipe.yaml", "model.safetensors", "metrics.jsonl", "metrics.json", "report.html", "split.json",
    "environment.json", "figures", "logs", "checkpoints",
)  # fmt: skip


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run."""

    path: Path

    @property
    def recipe(self) -> Path:
        """recipe.yaml, the first file that a run writes; it marks a folder as a run."""
        return self.path / "recipe.yaml"

    @property
    def model(self) -> Path:
        """model.safetensors, the checkpoint, written at the end of training."""
        return self.path / "model.safetensors"

    @property
    def epochs(self) -> Path:
        """metrics.jsonl, one line per epoch."""
        return self.path / "metrics.jsonl"

    @property
    def metrics(self) -> Path:
        """metrics.json, the scores of the selected weights by split."""
        return self.path / "metrics.json"

    @property
    def report(self) -> Path:
        """report.html, the last file that a run writes."""
        return self.path / "report.html"

    @property
    def environment(self) -> Path:
        """environment.json, with machine, versions and training time."""
        return self.path / "environment.json"

    @property
    def split(self) -> Path:
        """split.json: the samples of each split."""
        return self.path / "split.json"

    @property
    def figures(self) -> Path:
        """figures: pictures of the report."""
        return self.path / "figures"

    @property
    def logs(self) -> Path:
        """logs: files of `cropzoo train --logger`, a folder for each logger."""
        return self.path / "logs"

    @property
    def last(self) -> Path:
        """checkpoints/last.ckpt, the training state to resume from."""
        return self.path / "checkpoints" / "last.ckpt"

    def best(self, stage: int) -> Path:
        """Path of the weights of a stage's best epoch."""
        return self.path / "checkpoints" / f"best-{stage + 1}.safetensors"

    def check(self, overwrite: bool) -> None:
        """Check that a new run can be written to the folder.

        Args:
            overwrite: whether an existing run may be replaced.

        Raises:
            UsageError: the folder has a run and `overwrite` is False, or it has other files, or it is a file.
        """
        there = next(path for path in (self.path, *self.path.parents, Path()) if path.exists())
        if not there.is_dir():
            what = "is a file" if there == self.path else f"cannot be created because {str(there)!r} is a file"
            raise UsageError(f"run folder {str(self.path)!r} {what}; choose another --out or --name")
        left = (f".{self.recipe.name}.", LOCK_NAME)  # by a run that was killed while it wrote its recipe
        if self.path.is_dir() and any(not path.name.startswith(left) for path in self.path.iterdir()):
            if not self.recipe.is_file():
                raise UsageError(
                    f"run folder {str(self.path)!r} is not empty and has no run; choose another --out or --name"
                )
            if not overwrite:
                raise UsageError(
                    f"run folder {str(self.path)!r} already has a run; "
                    "resume it with --resume, replace it with --overwrite, or choose another --name"
                )

    def prepare(self, recipe: Recipe, overwrite: bool, plugins: Sequence[PluginRecord] = ()) -> None:
        """Create the folder of a new run and write its recipe with its plugins; raises as `check` does."""
        self.check(overwrite)
        if overwrite:
            self._clear()
        write_text(self.recipe, format_recipe(recipe, plugins))

    def _clear(self) -> None:
        """Remove the files of a run, recipe.yaml last, so that an interrupted removal still leaves a run."""
        for target in (self.path / name for name in reversed(_CONTENTS)):
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)

    def stored_recipe(self) -> dict[str, Any]:
        """The recipe of the run, in mapping form.

        Raises:
            UsageError: the folder has no run.
        """
        if not self.recipe.is_file():
            raise UsageError(f"{str(self.path)!r} has no run to resume; start one without --resume")
        return upgrade_recipe(read_mapping(self.recipe))

    @property
    def finished(self) -> bool:
        """Whether training, scoring and reporting are complete."""
        return self.model.is_file() and self.metrics.is_file() and self.report.is_file()

    def scores(self, split: str = "test") -> dict[str, Any]:
        """The stored scores of a split; empty after an objective without a head."""
        metrics = read_json(self.metrics)
        if split not in metrics:
            raise CropzooError(f"{str(self.metrics)!r} has no scores of split {split!r}")
        scores: dict[str, Any] = metrics[split]
        return scores

    def write_environment(self, device: str, processes: int, packages: Iterable[str]) -> None:
        """Write environment.json with machine and versions; the training time is added at the end of the run."""
        environment = {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "device": device,
            "processes": processes,
            "versions": versions(packages),
        }
        write_json(self.environment, environment)


def versions(packages: Iterable[str] = ()) -> dict[str, str]:
    """Versions of cropzoo, torch, lightning, numpy and further packages."""
    found = {}
    for name in dict.fromkeys(("cropzoo", "torch", "lightning", "numpy", *packages)):
        try:
            found[name] = __version__ if name == "cropzoo" else version(name)
        except PackageNotFoundError:
            continue
    return found
