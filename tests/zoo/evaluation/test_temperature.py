"""The temperature: found exactly on logits whose truth is known, and the same whatever came first."""

from __future__ import annotations

import pytest
import torch

from cropzoo.errors import CropzooError, UsageError
from cropzoo.evaluation.temperature import LogitSample, fit_temperature
from cropzoo.models.checkpoint import Metadata


def _drawn(count: int, scale: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that are `scale` times those by which the labels were drawn."""
    random = torch.Generator().manual_seed(seed)
    honest = 2 * torch.randn(count, 5, generator=random)
    labels = torch.multinomial(honest.softmax(dim=1), 1, generator=random)[:, 0]
    return scale * honest, labels


@pytest.mark.parametrize("scale", [0.25, 1.0, 3.0])
def test_the_temperature_that_the_labels_were_drawn_with_is_found(scale: float) -> None:
    found = fit_temperature(*_drawn(200_000, scale))
    assert found.temperature == pytest.approx(scale, rel=0.02)
    assert found.ece < 0.01
    assert found.loss <= found.loss_before
    assert found.ece_before > 0.05 or scale == 1
    assert not found.at_end


def test_no_other_temperature_makes_the_labels_likelier() -> None:
    logits, labels = _drawn(3000, 2.0)
    found = fit_temperature(logits, labels)
    losses = [
        float(torch.nn.functional.cross_entropy(logits.double() / (found.temperature * factor), labels))
        for factor in (0.99, 1.0, 1.01)
    ]
    assert losses[1] == min(losses)
    assert found.loss == pytest.approx(losses[1], abs=1e-6)


def test_a_model_that_is_always_right_has_no_temperature() -> None:
    labels = torch.arange(6) % 3
    found = fit_temperature(torch.nn.functional.one_hot(labels, 3).float(), labels)
    assert found.at_end


def test_nothing_to_calibrate_on_and_broken_logits_are_errors() -> None:
    with pytest.raises(CropzooError, match="no labeled pixel"):
        fit_temperature(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(CropzooError, match="NaN or infinity"):
        fit_temperature(torch.tensor([[0.0, float("nan")]]), torch.tensor([1]))


def test_a_draw_is_bounded_fair_and_the_same_every_time() -> None:
    def draw() -> tuple[torch.Tensor, torch.Tensor, int]:
        drawn = LogitSample(1000)
        for start in range(0, 50_000, 500):
            numbers = torch.arange(start, start + 500)
            drawn.add(numbers[:, None].float(), numbers)
            assert sum(len(each[2]) for each in drawn._kept) <= 2500
        return drawn.compute()

    logits, labels, seen = draw()
    assert (len(labels), seen) == (1000, 50_000)
    assert torch.equal(logits[:, 0], labels.float())
    assert len(labels.unique()) == 1000
    counts = torch.bincount(labels // 5000, minlength=10)
    assert counts.min() > 60  # 100 each on average, 9 the deviation
    assert counts.max() < 140
    assert torch.equal(draw()[1], labels)


def test_a_draw_of_less_than_it_may_keep_keeps_all() -> None:
    drawn = LogitSample(10)
    drawn.add(torch.zeros(7, 2), torch.arange(7))
    assert sorted(drawn.compute()[1].tolist()) == list(range(7))
    assert LogitSample(10).compute()[2] == 0


def test_a_checkpoint_without_temperature_has_one_and_zero_is_refused() -> None:
    plain = {
        "backbone": {"name": "tsvit"},
        "in_channels": 2,
        "image_size": 24,
        "classes": [{"name": "a", "code": 0, "color": "#000000"}],
        "dates": "doy",
    }
    assert Metadata.parse(plain, "a file").temperature == 1
    with pytest.raises(UsageError, match="'temperature' is 0"):
        Metadata.parse({**plain, "temperature": 0}, "a file")
