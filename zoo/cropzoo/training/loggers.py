"""Loggers of Lightning, which show the metrics of a run in other programs. Their files are in the run folder."""

from __future__ import annotations

import csv
import json
import logging
import os
import secrets
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from cropzoo.config.recipe import Recipe, flat_settings
from cropzoo.config.run_dir import RunFolder
from cropzoo.errors import CropzooError, UnknownName, UsageError, describe_error
from cropzoo.io import write_text
from cropzoo.parallel import is_rank_zero

if TYPE_CHECKING:  # the command line reads the names
    from lightning.pytorch.loggers import Logger

_log = logging.getLogger("cropzoo")

LoggerName = Literal["csv", "mlflow", "tensorboard", "wandb"]
"""Name of a logger; all but csv need the package of this name, and the extra."""

_PROJECT = "cropzoo"
"""Project of wandb and experiment of mlflow, unless an environment variable names another one."""


def check_loggers(names: Sequence[str], offline: bool) -> None:
    """Check that loggers can be used, without importing their packages.

    Raises:
        UsageError: a name is unknown, a package is not installed, or mlflow's server cannot be used offline.
    """
    known = get_args(LoggerName)
    for name in names:
        if name not in known:
            raise UnknownName("logger", name, known)
        if name != "csv" and find_spec(name) is None:
            raise UsageError(
                f"--logger {name}; the package {name} is not installed; run `pip install 'cropzoo[{name}]'`, or use "
                "--logger csv, which needs no package"
            )
    if offline and "mlflow" in names and _tracking_uri().startswith("http"):
        raise UsageError(
            f"--logger mlflow with --offline; MLFLOW_TRACKING_URI is the server {_tracking_uri()}; unset it, so that "
            "mlflow writes to the run folder, or run without --offline"
        )


def find_loggers(folder: RunFolder) -> tuple[str, ...]:
    """Names of the loggers that a run has used, which a resumed run continues."""
    return tuple(name for name in get_args(LoggerName) if (folder.logs / name).is_dir())


@dataclass
class RunLoggers:
    """The loggers of a run.

    csv and tensorboard have a folder for each stage. wandb and mlflow have one run, whose metrics start with the name
    of the stage if there are several.

    Args:
        names: names of the loggers.
        folder: run folder; their files are in its folder `logs`.
        recipe: recipe of the run, whose settings are logged.
        offline: whether to never access the network; wandb then keeps the metrics for `wandb sync`.
    """

    names: Sequence[str]
    folder: RunFolder
    recipe: Recipe
    offline: bool
    _open: list[Logger] = field(default_factory=list, init=False)
    _wandb_run: Any = field(default=None, init=False)

    def open(self, number: int) -> list[Logger]:
        """Loggers of a stage, which continue the logs that exist.

        Args:
            number: index of the stage.

        Raises:
            CropzooError: a logger cannot be started, such as one without a login.
        """
        makers = {"csv": self._csv, "mlflow": self._mlflow, "tensorboard": self._tensorboard, "wandb": self._wandb}
        self._open = []
        for name in self.names:
            (self.folder.logs / name).mkdir(parents=True, exist_ok=True)
            try:
                logger = makers[name](self._name_stage(number))
                logger.log_hyperparams(flat_settings(self.recipe))  # opens files and connections
            except Exception as error:  # the errors of the packages have no common base class
                raise CropzooError(
                    f"--logger {name}; it cannot be started ({describe_error(error)[:200]}); check its login and its "
                    "server, or leave it out"
                ) from error
            self._open.append(logger)
        return self._open

    def close(self, scores: Mapping[str, Any] | None) -> None:
        """Log the scores of the test split, and end the logs; what fails is reported, since the training is over.

        Args:
            scores: scores of the test split; None for a run that failed or was interrupted.
        """
        try:
            self._close(scores)
        except Exception as error:  # as in `open`
            _log.warning("the logs of this run are incomplete: %s", describe_error(error))

    def _close(self, scores: Mapping[str, Any] | None) -> None:
        if scores and is_rank_zero():
            loggers = self._open or self.open(len(self.recipe.stages) - 1)
            last = json.loads(self.folder.epochs.read_text(encoding="utf-8").splitlines()[-1])
            metrics = {f"test_{name}": float(scores[name]) for name in ("oa", "miou", "macro_f1")}
            for logger in loggers:
                logger.log_metrics(metrics, step=(last["epoch"] + 1) * last["steps"])
                logger.save()
        for logger in self._open:
            logger.finalize("failed" if scores is None else "success")
        if self._wandb_run is not None:
            self._wandb_run.finish(exit_code=1 if scores is None else 0)
        self._open, self._wandb_run = [], None

    def _name_stage(self, number: int) -> str:
        """Name of a stage: its objective, with a number where the recipe has the objective twice."""
        objectives = [stage.objective for stage in self.recipe.stages]
        name = objectives[number]
        return name if objectives.count(name) == 1 else f"{name}-{number + 1}"

    def _prefix(self, stage: str) -> str:
        return stage if len(self.recipe.stages) > 1 else ""

    def _csv(self, stage: str) -> Logger:
        from lightning.pytorch.loggers import CSVLogger

        logger = CSVLogger(self.folder.logs, name="csv", version=stage)
        path = Path(logger.log_dir) / "metrics.csv"
        if is_rank_zero() and path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                rows = [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Experiment logs directory .* exists")
                logger.experiment.metrics = rows  # the logger deletes the file of before when it is started
            logger.save()
        return logger

    def _tensorboard(self, stage: str) -> Logger:
        from lightning.pytorch.loggers import TensorBoardLogger

        return TensorBoardLogger(self.folder.logs, name="tensorboard", version=stage, default_hp_metric=False)

    def _mlflow(self, stage: str) -> Logger:
        from lightning.pytorch.loggers import MLFlowLogger

        logging.getLogger("lightning.pytorch.loggers.mlflow").setLevel(logging.ERROR)  # "Experiment not found"
        logger = MLFlowLogger(
            os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT),
            run_name=self.folder.path.resolve().name,
            tracking_uri=_tracking_uri() or f"sqlite:///{(self.folder.logs / 'mlflow' / 'mlflow.db').resolve()}",
            prefix=self._prefix(stage),
            run_id=self._read_id("mlflow"),
        )
        if is_rank_zero():
            self._write_id("mlflow", str(logger.run_id))
        return logger

    def _wandb(self, stage: str) -> Logger:
        from lightning.pytorch.loggers import WandbLogger

        if is_rank_zero() and self._read_id("wandb") is None:
            self._write_id("wandb", secrets.token_hex(4))
        logger = WandbLogger(
            name=self.folder.path.resolve().name,
            save_dir=self.folder.logs,
            id=self._read_id("wandb"),
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            prefix=self._prefix(stage),
            offline=self.offline,
            experiment=self._wandb_run,
        )
        if is_rank_zero():
            self._wandb_run = logger.experiment
        return logger

    def _read_id(self, name: str) -> str | None:
        """Id of the run in a program, by which a resumed run continues it."""
        path = self._id_path(name)
        return path.read_text(encoding="utf-8").strip() if path.is_file() else None

    def _write_id(self, name: str, value: str) -> None:
        write_text(self._id_path(name), f"{value}\n")

    def _id_path(self, name: str) -> Path:
        return self.folder.logs / f"{name}-run.txt"


def _tracking_uri() -> str:
    """Server of mlflow that the user has set; empty for files in the run folder."""
    return os.environ.get("MLFLOW_TRACKING_URI", "")
