"""Loggers of a run that need packages or servers of their own, with stand-ins for these."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import CSVLogger

from cropzoo.config.recipe import Recipe
from cropzoo.config.run_dir import RunFolder
from cropzoo.errors import CropzooError, UnknownName, UsageError
from cropzoo.training import loggers
from cropzoo.training.loggers import RunLoggers, check_loggers, find_loggers

TWICE = {
    "backbone": "any",
    "dataset": "any",
    "stages": [{"objective": "cscl"}, {"objective": "segmentation"}, {"objective": "segmentation"}],
}


def open_loggers(folder: Path, *names: str, recipe: dict[str, Any] = TWICE) -> RunLoggers:
    return RunLoggers(names, RunFolder(folder), Recipe.from_mapping(recipe, "a test"), offline=False)


@pytest.mark.parametrize("name", ["mlflow", "tensorboard", "wandb"])
def test_a_missing_package_is_reported_with_its_extra(monkeypatch, name):
    monkeypatch.setattr(loggers, "find_spec", lambda package: None)
    check_loggers(["csv"], offline=True)
    with pytest.raises(UsageError, match=rf"--logger {name}; .* run `pip install 'cropzoo\[{name}\]'`"):
        check_loggers(["csv", name], offline=False)
    with pytest.raises(UnknownName, match="did you mean 'tensorboard'"):
        check_loggers(["tensorbord"], offline=False)


def test_every_logger_has_an_extra_of_its_own():
    text = (Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8")
    for name in ("mlflow", "tensorboard", "wandb"):
        assert f"\n{name} = [\n" in text


def test_a_server_of_mlflow_is_refused_offline(monkeypatch):
    monkeypatch.setattr(loggers, "find_spec", lambda package: object())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://tracking.example.org")
    check_loggers(["mlflow"], offline=False)
    with pytest.raises(UsageError, match=r"MLFLOW_TRACKING_URI is the server https://tracking.example.org"):
        check_loggers(["mlflow"], offline=True)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    check_loggers(["mlflow"], offline=True)


def test_two_stages_of_one_objective_have_logs_of_their_own(tmp_path):
    run = open_loggers(tmp_path, "csv")
    for number in range(3):
        run.open(number)
    assert sorted(path.name for path in (tmp_path / "logs" / "csv").iterdir()) == [
        "cscl",
        "segmentation-2",
        "segmentation-3",
    ]
    assert find_loggers(RunFolder(tmp_path)) == ("csv",)


def test_a_logger_that_does_not_start_is_reported(tmp_path, monkeypatch):
    def fail(*_: Any) -> None:
        raise ConnectionError("no login\nsee https://example.org")

    monkeypatch.setattr(CSVLogger, "log_hyperparams", fail)
    with pytest.raises(CropzooError, match=r"--logger csv; it cannot be started \(ConnectionError: no login\); check"):
        open_loggers(tmp_path, "csv").open(0)


def test_a_logger_that_fails_at_the_end_does_not_end_a_finished_training(tmp_path, monkeypatch, caplog):
    run = open_loggers(tmp_path, "csv")
    run.open(0)

    def fail(*_: Any) -> None:
        raise ConnectionError("the server is gone")

    monkeypatch.setattr(CSVLogger, "finalize", fail)
    with caplog.at_level(logging.WARNING, "cropzoo"):
        run.close({})
    assert caplog.messages == ["the logs of this run are incomplete: ConnectionError: the server is gone"]
