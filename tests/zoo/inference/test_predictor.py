"""The network of a checkpoint as maps ask it: what evaluation scores is what a map shows."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from cropzoo.config.recipe import Recipe
from cropzoo.data.datamodule import DataModule, ModelInputs
from cropzoo.data.sample import Sample
from cropzoo.errors import CropzooError, UsageError
from cropzoo.evaluation.evaluate import predict_sample
from cropzoo.geo.raster.discover import find_images
from cropzoo.inference.mapping.chunks import ChunkReader, make_chunk
from cropzoo.inference.mapping.options import MapOptions
from cropzoo.inference.mapping.plan import make_plan
from cropzoo.inference.predictor import TorchPredictor, open_predictor
from cropzoo.models.checkpoint import read_metadata
from cropzoo.models.factory import load_model
from cropzoo.plugins.registry import load_zoo
from cropzoo.runtime import choose_device

RECIPE = {"dataset": {"name": "synthetic", "min_clear": 0.5}, "max_dates": 4, "batch_size": 3}


@pytest.fixture(scope="module")
def checkpoint(scenes: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """`checkpoint(backbone, **changes)` writes one; returns its path."""

    def make(backbone: str = "tsvit", **changes: Any) -> Path:
        return Path(
            scenes.save_checkpoint(tmp_path_factory.mktemp("weights") / "model.safetensors", backbone, **changes)
        )

    return make


def batch(scenes: ModuleType) -> tuple[Any, ...]:
    """Two windows, the second with a date less."""
    series = np.stack([scenes.random_series(8, 8), scenes.random_series(8, 8, seed=1)])
    dates, valid = np.tile(scenes.days_of(), (2, 1)), np.ones((2, 5), bool)
    series[1, 4], dates[1, 4], valid[1, 4] = 0, 0, False
    return series, dates, valid, int(dates[0, 0])


def test_probabilities_are_the_network_s(scenes: ModuleType, checkpoint: Any) -> None:
    predictor = TorchPredictor(checkpoint(), load_zoo(), "cpu")
    series, dates, valid, first = batch(scenes)
    found = predictor.probabilities(series, dates, valid, first)
    assert found.shape == (2, 3, 8, 8)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    alone = predictor.probabilities(series[1:, :4], dates[1:, :4], valid[1:, :4], first)
    np.testing.assert_allclose(found[1:], alone, atol=1e-5)


def test_days_count_from_the_first_of_the_whole_series(scenes: ModuleType, checkpoint: Any) -> None:
    predictor = TorchPredictor(
        checkpoint("utae", options={"encoder_widths": [16, 16], "decoder_widths": [16, 16]}), load_zoo(), "cpu"
    )
    series, dates, valid, first = batch(scenes)
    assert predictor.facts.dates == "days"
    here, earlier = (predictor.probabilities(series, dates, valid, day) for day in (first, first - 365))
    assert np.abs(here - earlier).max() > 1e-4


def test_temperature_divides_the_logits(scenes: ModuleType, checkpoint: Any) -> None:
    sharp, soft = (TorchPredictor(checkpoint(temperature=t), load_zoo(), "cpu") for t in (1.0, 2.0))
    one, two = (np.log(predictor.probabilities(*batch(scenes))) for predictor in (sharp, soft))
    np.testing.assert_allclose((one - one[:, :1]) / 2, two - two[:, :1], atol=1e-4)


@pytest.mark.parametrize("sampling", ["uniform", "clearest", "random"])
@pytest.mark.parametrize(("backbone", "length"), [("tsvit", None), ("tsvit", 3), ("unet3df", 8)])
def test_a_map_shows_what_evaluation_scores(
    scenes: ModuleType, checkpoint: Any, tmp_path: Path, sampling: str, backbone: str, length: int | None
) -> None:
    path = checkpoint(backbone, length=length, recipe={**RECIPE, "date_sampling": sampling})
    series, clear = scenes.random_series(16, 24), np.random.default_rng(3).random((5, 16, 24)) < 0.8
    clear[2, :8, :8] = clear[1, 8:, 8:16] = False
    images = scenes.write_images(tmp_path / "images", series, clear)
    predictor = TorchPredictor(path, load_zoo(), "cpu")
    options = MapOptions((images,), overlap=0, outputs=("class", "confidence"))
    plan = make_plan(find_images(images), predictor.facts, options)
    made = make_chunk(predictor, ChunkReader(plan), plan.chunks[0])

    metadata = read_metadata(path)
    recipe = Recipe.from_mapping(
        {**RECIPE, "backbone": backbone, "image_size": 8, "length": length, "date_sampling": sampling}, "test"
    )
    dataset: Any = SimpleNamespace(
        bands=metadata.bands, scale=1e-4, mean=metadata.mean, std=metadata.std, classes=metadata.classes
    )
    data = DataModule(dataset, recipe, ModelInputs(metadata.dates))
    sample = Sample(series, scenes.days_of().astype(np.int32), clear=clear)
    classes, confidence = predict_sample(load_model(path), data, sample)
    seen = clear.any(axis=0)
    np.testing.assert_array_equal(made["class"][0][seen], classes[seen])
    assert np.abs(made["confidence"][0][seen] - 250 * confidence[seen]).max() <= 1


def test_blending_makes_the_seams_of_a_far_seeing_network_smaller(
    scenes: ModuleType, checkpoint: Any, tmp_path: Path
) -> None:
    """TSViT sees its whole window. What a dense overlap says is the measure, compared with the seams of no overlap."""
    coarse = scenes.random_series(10, 10)
    images = scenes.write_images(tmp_path / "images", coarse.repeat(5, axis=2).repeat(5, axis=3))
    predictor = TorchPredictor(checkpoint(image_size=16), load_zoo(), "cpu")

    def probabilities(overlap: int) -> Any:
        options = MapOptions((images,), overlap=overlap, outputs=("probabilities",))
        plan = make_plan(find_images(images), predictor.facts, options)
        return make_chunk(predictor, ChunkReader(plan), plan.chunks[0])["probabilities"].astype(float)

    dense = probabilities(14)
    at_seams = np.s_[:, [14, 15, 16, 17, 30, 31, 32, 33], 8:-8]
    off = {overlap: np.abs(probabilities(overlap) - dense)[at_seams].mean() for overlap in (0, 4, 8)}
    assert off[0] > off[4] > off[8], off


def test_what_a_checkpoint_says(checkpoint: Any) -> None:
    path = checkpoint(recipe={**RECIPE, "date_sampling": "clearest"}, length=30, upsample=2)
    facts = TorchPredictor(path, load_zoo(), "cpu").facts
    assert (facts.min_clear, facts.max_dates, facts.batch_size, facts.date_sampling) == (0.5, 4, 3, "clearest")
    assert (facts.length, facts.upsample, facts.image_size, facts.size_multiple, facts.dates) == (30, 2, 8, 2, "doy")
    assert len(facts.sha256) == 64
    assert facts.source == "model.safetensors (tsvit)"
    bare = TorchPredictor(checkpoint(), load_zoo(), "cpu").facts
    assert (bare.min_clear, bare.max_dates, bare.batch_size) == (0, None, 16)


def test_a_finer_network_gives_finer_probabilities(scenes: ModuleType, checkpoint: Any) -> None:
    predictor = TorchPredictor(checkpoint(upsample=2), load_zoo(), "cpu")
    assert predictor.probabilities(*batch(scenes)).shape == (2, 3, 16, 16)


def test_precision_is_that_of_the_training_unless_asked(checkpoint: Any) -> None:
    path = checkpoint(recipe={**RECIPE, "precision": "bf16-mixed"})
    assert TorchPredictor(path, load_zoo(), "cpu").precision == "bf16-mixed"
    assert TorchPredictor(path, load_zoo(), "cpu", "32").precision == "32-true"
    half = checkpoint(recipe={**RECIPE, "precision": "16-mixed"})
    assert TorchPredictor(half, load_zoo(), "cpu").precision == "32-true"
    with pytest.raises(UsageError, match="precision '16-mixed' needs a GPU"):
        TorchPredictor(half, load_zoo(), "cpu", "16")
    with pytest.raises(UsageError, match="--precision"):
        TorchPredictor(half, load_zoo(), "cpu", "8")


def test_half_precision_is_near(scenes: ModuleType, checkpoint: Any) -> None:
    path = checkpoint()
    full, half = (
        TorchPredictor(path, load_zoo(), "cpu", each).probabilities(*batch(scenes)) for each in ("32", "bf16")
    )
    assert half.dtype == np.float32
    assert 0 < np.abs(full - half).max() < 0.1


def test_a_checkpoint_without_statistics_makes_no_map(checkpoint: Any) -> None:
    with pytest.raises(UsageError, match="has no band statistics, so it can only start a training"):
        open_predictor(checkpoint(mean=(), std=()), load_zoo(), "cpu")


@pytest.mark.parametrize("name", ["gpu", "cpu:", "cuda:x", "auto:1"])
def test_a_device_that_is_none(name: str) -> None:
    with pytest.raises(UsageError, match=f"device '{name}' is not known"):
        choose_device(name)


def test_a_device_that_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="device 'cuda:0' is not available"):
        choose_device("cuda:0")
    assert choose_device("cpu").type == "cpu"


def test_memory_that_is_too_small_is_reported(
    scenes: ModuleType, checkpoint: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = TorchPredictor(checkpoint(), load_zoo(), "cpu")

    def full(*_: Any, **inputs: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(predictor._model, "forward", full)
    with pytest.raises(CropzooError, match=r"2 windows of 8 pixels and 5 dates.*--batch-size"):
        predictor.probabilities(*batch(scenes))
