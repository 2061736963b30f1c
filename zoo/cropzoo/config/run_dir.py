"""The run folder: what is in it and when it may be written."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from cropzoo.config.recipe import Recipe
from cropzoo.config.schema import read_mapping
from cropzoo.config.upgrade import upgrade_recipe
from cropzoo.errors import CropzooError, UsageError
from cropzoo.io import read_json, write_json, write_text

_CONTENTS = (
    "recipe.yaml", "model.safetensors", "metrics.jsonl", "metrics.json", "report.html", "split.json",
    "environment.json", "figures", "checkpoints",
)  # fmt: skip


@dataclass(frozen=True)
class RunFolder:
    """The folder that one recipe's run fills."""

    path: Path

    @property
    def recipe(self) -> Path:
        """recipe.yaml: written first; a folder with it is a run."""
        return self.path / "recipe.yaml"

    @property
    def model(self) -> Path:
        """model.safetensors: the checkpoint, written when training has ended."""
        return self.path / "model.safetensors"

    @property
    def epochs(self) -> Path:
        """metrics.jsonl: a line an epoch."""
        return self.path / "metrics.jsonl"

    @property
    def metrics(self) -> Path:
        """metrics.json: the scores of the chosen weights, by split."""
        return self.path / "metrics.json"

    @property
    def report(self) -> Path:
        """report.html: the last file that a run writes."""
        return self.path / "report.html"

    @property
    def environment(self) -> Path:
        """environment.json: machine, versions, and what training took."""
        return self.path / "environment.json"

    @property
    def last(self) -> Path:
        """checkpoints/last.ckpt: the state to resume from."""
        return self.path / "checkpoints" / "last.ckpt"

    def best(self, stage: int) -> Path:
        """The weights of a stage's best epoch."""
        return self.path / "checkpoints" / f"best-{stage + 1}.safetensors"

    def check(self, overwrite: bool) -> None:
        """Refuse a place where a new run cannot go.

        Raises:
            UsageError: when a run is there already and `overwrite` is not asked for, or another thing is.
        """
        there = next(path for path in (self.path, *self.path.parents, Path()) if path.exists())
        if not there.is_dir():
            what = "is a file" if there == self.path else f"cannot be made, since {str(there)!r} is a file"
            raise UsageError(f"run folder {str(self.path)!r} {what}; choose another --out or --name")
        scratch = f".{self.recipe.name}."  # of a run that was killed while it wrote its recipe
        if self.path.is_dir() and any(not path.name.startswith(scratch) for path in self.path.iterdir()):
            if not self.recipe.is_file():
                raise UsageError(
                    f"run folder {str(self.path)!r} is not empty and holds no run; choose another --out or --name"
                )
            if not overwrite:
                raise UsageError(
                    f"run folder {str(self.path)!r} holds a run already; "
                    "continue it with --resume, replace it with --overwrite, or choose another --name"
                )

    def prepare(self, recipe: Recipe, overwrite: bool) -> None:
        """Make the folder for a new run and write its recipe; errors as in `check`."""
        self.check(overwrite)
        if overwrite:
            self._clear()
        write_text(self.recipe, yaml.safe_dump(recipe.to_mapping(), sort_keys=False))

    def _clear(self) -> None:
        """Remove what a run writes, and nothing else; recipe.yaml last, so that a folder cut short is still a run."""
        scratch = [path for name in _CONTENTS for path in self.path.glob(f".{name}.????????")]
        for target in [*scratch, *(self.path / name for name in reversed(_CONTENTS))]:
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)

    def stored_recipe(self) -> dict[str, Any]:
        """The recipe of the run that is here, in mapping form.

        Raises:
            UsageError: when there is no run.
        """
        if not self.recipe.is_file():
            raise UsageError(f"there is no run to resume in {str(self.path)!r}; start one without --resume")
        return upgrade_recipe(read_mapping(self.recipe))

    @property
    def finished(self) -> bool:
        """Whether training, scoring and reporting have ended."""
        return self.model.is_file() and self.metrics.is_file() and self.report.is_file()

    def scores(self, split: str = "test") -> dict[str, Any]:
        """The stored scores of a split; none after an objective without a head."""
        metrics = read_json(self.metrics)
        if split not in metrics:
            raise CropzooError(f"{str(self.metrics)!r} has no scores of split {split!r}")
        scores: dict[str, Any] = metrics[split]
        return scores

    def write_environment(self, device: str, processes: int, packages: Iterable[str]) -> None:
        """environment.json: what the run is computed with; what its training took is added at the end."""
        environment = {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "device": device,
            "processes": processes,
            "versions": versions(packages),
        }
        write_json(self.environment, environment)


def versions(packages: Iterable[str] = ()) -> dict[str, str]:
    """Versions of cropzoo, of what it computes with, and of further packages."""
    found = {}
    for name in dict.fromkeys(("cropzoo", "torch", "lightning", "numpy", *packages)):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
