"""An exported ONNX file as what maps ask: it answers as the checkpoint does."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from cropzoo.errors import CropzooError, UsageError
from cropzoo.inference.export.export import export_model
from cropzoo.inference.export.formats import ExportFormat
from cropzoo.inference.predictor import open_predictor
from cropzoo.models.checkpoint import read_metadata
from cropzoo.plugins.registry import load_zoo

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

LTAE = {"width": 8, "heads": 2, "model_dim": 8}


@pytest.fixture(scope="module")
def pair(scenes: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint that counts dates from a September, and its ONNX file."""
    folder = tmp_path_factory.mktemp("onnx")
    checkpoint = scenes.save_checkpoint(
        folder / "model.safetensors", "ltae", options=LTAE, temperature=2.0, recipe={"dataset": {"min_clear": 0.3}}
    )
    export_model(
        checkpoint,
        folder / "model.onnx",
        ExportFormat.ONNX,
        read_metadata(checkpoint),
        load_zoo(),
        lambda messages: None,
    )
    return checkpoint, folder / "model.onnx"


@pytest.fixture
def window(scenes: ModuleType) -> tuple[Any, ...]:
    """Two windows, the second with a date less."""
    series = np.stack([scenes.random_series(8, 8), scenes.random_series(8, 8, seed=1)])
    dates, valid = np.tile(scenes.days_of(), (2, 1)), np.ones((2, 5), bool)
    series[1, 4], dates[1, 4], valid[1, 4] = 0, 0, False
    return series, dates, valid


@pytest.mark.parametrize("earlier", [0, 100, 300])
def test_it_answers_as_the_checkpoint_does(pair: tuple[Path, Path], window: tuple[Any, ...], earlier: int) -> None:
    """Also where the series began before its first used date, in another September's year."""
    series, dates, valid = window
    first = int(dates[0, 0]) - earlier
    torch_net, onnx_net = (open_predictor(path, load_zoo(), "cpu") for path in pair)
    wanted = torch_net.probabilities(series, dates, valid, first)
    assert np.abs(onnx_net.probabilities(series, dates, valid, first) - wanted).max() < 1e-5
    if earlier == 300:
        assert np.abs(onnx_net.probabilities(series, dates, valid, int(dates[0, 0])) - wanted).max() > 1e-4


def test_it_knows_the_same_of_itself(pair: tuple[Path, Path]) -> None:
    ours, theirs = (open_predictor(path, load_zoo(), "cpu").facts for path in pair)
    messages = {"sha256", "source"}
    assert {k: v for k, v in vars(ours).items() if k not in messages} == {
        k: v for k, v in vars(theirs).items() if k not in messages
    }
    assert theirs.min_clear == 0.3
    assert len({ours.sha256, theirs.sha256}) == 2


def test_what_is_no_graph_of_cropzoo_and_devices(pair: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(CropzooError, match="is not a valid ONNX file"):
        open_predictor(tmp_path / "text.onnx", load_zoo())
    with pytest.raises(UsageError, match="'mps' for an ONNX file"):
        open_predictor(pair[1], load_zoo(), "mps")
    with pytest.raises(UsageError, match="precision 'bf16' for an ONNX file, which computes in 32 bits"):
        open_predictor(pair[1], load_zoo(), precision="bf16")
    assert open_predictor(pair[1], load_zoo(), precision="32").precision == "32-true"
