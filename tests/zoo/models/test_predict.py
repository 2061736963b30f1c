"""`Model.predict`: stored values and calendar dates in, calibrated probabilities out, or an error."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cropzoo.config.recipe import PluginChoice
from cropzoo.data.dates import encode_dates
from cropzoo.data.sample import LabelClass
from cropzoo.errors import UsageError, warn_once
from cropzoo.inference.export.export import export_model
from cropzoo.inference.export.formats import ExportFormat
from cropzoo.inference.export.onnx import OnnxSession
from cropzoo.inference.export.torch_export import read_pt2
from cropzoo.inference.predictor import TorchPredictor
from cropzoo.models.base import Model
from cropzoo.models.checkpoint import Metadata, read_metadata, save_checkpoint
from cropzoo.models.factory import create_model, load_model
from cropzoo.plugins.registry import load_zoo

BANDS = ("B02", "B04", "B08")
MEAN, STD = (0.1, 0.12, 0.3), (0.05, 0.06, 0.1)
OPTIONS: dict[str, dict[str, Any]] = {
    "tsvit": {"dim": 8, "temporal_depth": 1, "spatial_depth": 1, "heads": 2, "head_dim": 4},
    "ltae": {"width": 8, "heads": 2, "model_dim": 8},
}
DAYS = np.array(["2021-03-01", "2021-04-10", "2021-05-16", "2021-06-20", "2021-07-20"], "datetime64[D]")
EPOCH_DAYS = DAYS.astype(np.int64)


def save_model(path: Path, backbone: str = "tsvit", **changes: Any) -> Path:
    """A checkpoint with random weights."""
    torch.manual_seed(0)
    model = create_model(backbone, in_channels=3, classes=4, image_size=8, **OPTIONS[backbone])
    values: dict[str, Any] = {
        "backbone": PluginChoice(name=backbone, options=OPTIONS[backbone]),
        "in_channels": 3,
        "image_size": 8,
        "classes": tuple(LabelClass(name, code, "#000000") for code, name in enumerate("abcd")),
        "bands": BANDS,
        "scale": 1e-4,
        "mean": MEAN,
        "std": STD,
        "dates": load_zoo().backbones[backbone].spec.dates,
    }
    save_checkpoint(path, model.state_dict(), Metadata(**{**values, **changes}))
    return path


def stored(batch: int = 2, dates: int = 5, side: int = 8, dtype: str = "uint16") -> np.ndarray[Any, Any]:
    """Digital numbers, (B, T, C, H, W)."""
    return np.random.default_rng(1).integers(300, 4000, (batch, dates, 3, side, side)).astype(dtype)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(save_model(tmp_path_factory.mktemp("weights") / "model.safetensors"))


def by_hand(model: Model, values: Any, encoding: Any = "doy") -> torch.Tensor:
    """Probabilities from normalized values and encoded dates."""
    mean, std = (torch.tensor(each)[:, None, None] for each in (MEAN, STD))
    series = (torch.from_numpy(values.astype("float32")) * 1e-4 - mean) / std
    dates = torch.from_numpy(encode_dates(EPOCH_DAYS.astype(np.int32), encoding)).expand(len(values), -1)
    with torch.no_grad():
        logits: torch.Tensor = model(series, dates)
        return logits.softmax(1)


@pytest.mark.parametrize("backbone", ["tsvit", "ltae"])
def test_predict_scales_normalizes_and_encodes(tmp_path: Path, backbone: str) -> None:
    model = load_model(save_model(tmp_path / "m.safetensors", backbone))
    for side in (8, 12):  # tsvit is trained on 8
        values = stored(side=side)
        found = model.predict(values, DAYS)
        assert (found.shape, found.dtype) == ((2, 4, side, side), torch.float32)
        wanted = by_hand(model, values, model.dates)
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
        assert float(wanted.std(dim=(0, 2, 3)).max()) > 1e-3, "the network gives one answer everywhere"


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64", ">i2"])
def test_all_stored_types_give_the_same_probabilities(model: Model, dtype: str) -> None:
    values = (stored() // 16).clip(max=255) if dtype == "uint8" else stored()
    torch.testing.assert_close(model.predict(values.astype(dtype), DAYS), model.predict(values.astype("float32"), DAYS))


@pytest.mark.parametrize(
    "dates",
    [
        DAYS.astype("datetime64[ns]"),
        EPOCH_DAYS,
        EPOCH_DAYS.astype(np.int32),
        [int(day) for day in EPOCH_DAYS],
        torch.from_numpy(EPOCH_DAYS),
        DAYS.tolist(),
        [datetime(day.year, day.month, day.day, 10, 56) for day in DAYS.tolist()],
        np.stack([DAYS, DAYS]),
    ],
)
def test_all_kinds_of_dates_give_the_same_probabilities(model: Model, dates: Any) -> None:
    assert isinstance(DAYS.tolist()[0], date)
    assert torch.equal(model.predict(stored(), dates), model.predict(stored(), DAYS))


def test_one_series_is_a_batch_of_one(model: Model) -> None:
    assert torch.equal(model.predict(stored(1)[0], DAYS), model.predict(stored(1), DAYS))
    assert torch.equal(model.predict(torch.from_numpy(stored(1, dtype="int16")), DAYS), model.predict(stored(1), DAYS))


def test_series_of_different_lengths_are_padded_with_nat(model: Model) -> None:
    values, days = stored(), np.stack([DAYS, DAYS])
    days[1, 3:] = "NaT"
    found = model.predict(values, days)
    torch.testing.assert_close(found[:1], model.predict(values[:1], DAYS), atol=1e-5, rtol=0)
    torch.testing.assert_close(found[1:], model.predict(values[1:, :3], DAYS[:3]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("backbone", ["tsvit", "ltae"])
def test_dates_are_chosen_as_in_a_map(tmp_path: Path, backbone: str) -> None:
    """Cloudy dates and dates beyond the maximum are left out; the first day of the series stays the origin."""
    recipe = {"dataset": {"name": "none", "min_clear": 0.5}, "max_dates": 3}
    path = save_model(tmp_path / "m.safetensors", backbone, recipe=recipe)
    model, mapper = load_model(path), TorchPredictor(path, load_zoo(), "cpu")
    values, clear = stored(1), np.ones((1, 5, 8, 8), bool)
    clear[0, 0] = False
    kept = [1, 3, 4]  # three of the four clear dates, evenly spaced
    wanted = mapper.probabilities(values[:, kept], EPOCH_DAYS[None, kept], np.ones((1, 3), bool), int(EPOCH_DAYS[0]))
    np.testing.assert_allclose(model.predict(values, DAYS, clear), wanted, atol=1e-6)
    assert torch.equal(model.predict(values[0], DAYS, clear[0]), model.predict(values, DAYS, clear))


def test_a_network_of_fixed_length_gets_padded_series(tmp_path: Path) -> None:
    model = load_model(save_model(tmp_path / "m.safetensors", length=7))
    torch.testing.assert_close(model.predict(stored(), DAYS), by_hand(model, stored()), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("dates", "message"),
    [
        (np.arange(60, 65), "from 60 to 64 days since 1970-01-01, outside the years 1972 to 2099"),
        ([20210301, 20210410, 20210516, 20210620, 20210720], "outside the years 1972 to 2099"),
        (["2021-03-01"] * 5, "dates of type <U10; give datetime64"),
        (EPOCH_DAYS.astype(float), "dates of type float64; give datetime64"),
        ([*DAYS.tolist()[:4], "soon"], "dates of mixed types"),
        (DAYS[::-1], "dates that do not increase"),
        (DAYS[[0, 0, 1, 2, 3]], "dates that do not increase"),
        (DAYS[:4], r"dates of shape \(4,\) for values of 2 series with 5 dates"),
        (np.stack([DAYS] * 3), r"dates of shape \(3, 5\) for values of 2 series"),
        (np.full(5, "NaT", "datetime64[D]"), "a series without a date"),
    ],
)
def test_dates_that_cannot_be_right_are_refused(model: Model, dates: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        model.predict(stored(), dates)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values[:, :, :2], "values of 2 bands.*takes 3: B02, B04, B08"),
        (lambda values: values.swapaxes(2, 4), "values of 8 bands"),
        (lambda values: values[0, 0], r"values of shape \(3, 8, 8\)"),
        (lambda values: values[:0], r"values of shape \(0, 5, 3, 8, 8\)"),
        (lambda values: values[..., :7], "images of 8 x 7 pixels; this network takes multiples of 2"),
        (lambda values: values > 500, "values of type bool"),
        (lambda values: np.where(values < 400, np.nan, values), "values that are NaN or infinite"),
        (lambda values: values * 1e-4, "about 10000 times smaller.*multiply the values by 10000"),
        (lambda values: values.astype("uint32") * 1000, "times larger than those of the training data"),
        (
            lambda values: (values * 1e-4 - np.array(MEAN)[:, None, None]) / np.array(STD)[:, None, None] - 1,
            "values that look normalized",
        ),
        (  # below clouds all bands are bright, and their normalized values positive and of different size
            lambda values: np.broadcast_to(np.array([0.02, 0.4, 3.3])[:, None, None], values.shape),
            "values that look normalized",
        ),
        (lambda values: np.stack([values[0], values[1] * 1e-4]), "about 10000 times smaller"),
        (lambda values: values[..., :2, :2] * 1e-4, "about 10000 times smaller"),
        (lambda values: np.ma.masked_less(values, 400), r"values that are masked.*values\.filled\(0\).*clear"),
    ],
)
def test_values_that_cannot_be_right_are_refused(model: Model, change: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        model.predict(change(stored()), DAYS)


def test_values_of_water_shadow_and_no_data_are_accepted(tmp_path: Path, model: Model) -> None:
    for values in (0, [[[100]], [[60]], [[40]]], [[[400]], [[100]], [[-15]]]):
        assert model.predict(stored(dtype="int16") * 0 + np.array(values, "int16"), DAYS).isfinite().all()
    assert model.predict(np.ma.masked_less(stored(), 0), DAYS).equal(model.predict(stored(), DAYS))
    changes = {"in_channels": 1, "bands": ("B08",), "mean": (0.3,), "std": (0.1,)}
    torch.manual_seed(0)
    new = create_model("ltae", in_channels=1, classes=4, image_size=8, **OPTIONS["ltae"])
    path = tmp_path / "m.safetensors"
    save_checkpoint(path, new.state_dict(), read_metadata(save_model(path, "ltae")).model_copy(update=changes))
    assert load_model(path).predict(np.full((5, 1, 8, 8), 60), DAYS).isfinite().all()
    with pytest.raises(UsageError, match="about 10000 times smaller"):
        load_model(path).predict(np.full((5, 1, 8, 8), 0.3), DAYS)


@pytest.mark.parametrize(
    "clear", [np.ones((2, 5, 8, 8), np.uint8), np.ones((2, 8, 8), bool), np.ones((2, 5, 8, 4), bool)]
)
def test_a_mask_that_does_not_fit_is_refused(model: Model, clear: Any) -> None:
    with pytest.raises(UsageError, match=r"give booleans of shape \(2, 5, 8, 8\)"):
        model.predict(stored(), DAYS, clear)


def test_a_model_without_statistics_or_in_training_is_refused(tmp_path: Path) -> None:
    new = create_model("tsvit", in_channels=3, classes=4, image_size=8, **OPTIONS["tsvit"])
    with pytest.raises(UsageError, match="a model without band statistics; load a trained model"):
        new.predict(stored(), DAYS)
    path = save_model(tmp_path / "m.safetensors", bands=(), mean=(), std=(), scale=None)
    with pytest.raises(UsageError, match="the checkpoint has no band statistics"):
        load_model(path).predict(stored(), DAYS)
    with pytest.raises(UsageError, match=r"in training mode.*call model\.eval\(\)"):
        load_model(save_model(tmp_path / "n.safetensors")).train().predict(stored(), DAYS)


def test_series_that_are_not_normalized_are_refused(model: Model) -> None:
    values, doy = torch.from_numpy(stored(dtype="int16")), torch.full((2, 5), 100)
    with pytest.raises(UsageError, match=r"a series of int16; it takes normalized floats.*model\.predict"):
        model(values, doy)
    with pytest.raises(UsageError, match="dates of float32; encoded dates are integers"):
        model(values.float(), doy.float())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_series_of_stored_floats_are_warned_about(model: Model, dtype: str, caplog: pytest.LogCaptureFixture) -> None:
    warn_once.cache_clear()
    values, doy = torch.from_numpy(stored(dtype="int16")), torch.full((2, 5), 100)
    network = create_model("tsvit", in_channels=3, classes=4, image_size=8, **OPTIONS["tsvit"])
    network.to(getattr(torch, dtype)).eval()
    for series in (values * 1e-4, (values * 1e-4 - 0.1) / 0.01):
        network(series.to(getattr(torch, dtype)), doy)
    assert caplog.records == []
    for _ in range(2):
        network(values.to(getattr(torch, dtype)), doy)
    [line] = [each.getMessage() for each in caplog.records]
    assert line.startswith("model(series, dates) with most values beyond 100, which are not normalized")
    assert "model.predict(values, dates)" in line


@pytest.mark.parametrize(("backbone", "low", "high"), [("tsvit", 0, 366), ("ltae", 0, 3660)])
def test_dates_outside_the_encoding_are_refused(tmp_path: Path, backbone: str, low: int, high: int) -> None:
    new = create_model(backbone, in_channels=3, classes=4, image_size=8, **OPTIONS[backbone])
    for model in (new, load_model(save_model(tmp_path / "m.safetensors", backbone))):
        series = torch.zeros(1, 5, 3, 8, 8)
        for day in (low, high):
            model(series, torch.full((1, 5), day))
        for dates in (EPOCH_DAYS, [low - 1] * 5, [high + 1] * 5):
            with pytest.raises(UsageError, match=r"this network takes days .* model\.predict"):
                model(series, torch.as_tensor(dates)[None])


def test_the_temperature_is_applied_once_in_every_form(tmp_path: Path) -> None:
    """The model, `predict`, maps, ONNX and torch.export agree; the logits are those of the network over it."""
    pytest.importorskip("onnxruntime")
    plain = load_model(save_model(tmp_path / "plain.safetensors"))
    path = save_model(tmp_path / "model.safetensors", temperature=2.5)
    model, values = load_model(path), stored()
    wanted = torch.log(by_hand(plain, values)).div(2.5).softmax(1)
    assert float((wanted - by_hand(plain, values)).abs().max()) > 0.01
    torch.testing.assert_close(by_hand(model, values), wanted)
    torch.testing.assert_close(model.predict(values, DAYS), wanted)

    days, valid = np.stack([EPOCH_DAYS] * 2), np.ones((2, 5), bool)
    mapped = TorchPredictor(path, load_zoo(), "cpu").probabilities(values, days, valid, int(days[0, 0]))
    np.testing.assert_allclose(mapped, wanted, atol=1e-5)
    inputs = {"series": values.astype(np.float32), "dates": days, "valid": valid}
    expected = wanted.numpy()
    for kind in (ExportFormat.ONNX, ExportFormat.PT2):
        out = tmp_path / f"model.{kind.value}"
        export_model(path, out, kind, read_metadata(path), load_zoo(), lambda line: None)
        if kind is ExportFormat.ONNX:
            logits, probabilities = OnnxSession(out).compute(inputs)
        else:
            logits, probabilities = read_pt2(out).module()(*map(torch.from_numpy, inputs.values()))
        np.testing.assert_allclose(probabilities, expected, atol=1e-5)
        np.testing.assert_allclose(torch.as_tensor(logits).softmax(1), expected, atol=1e-5)
