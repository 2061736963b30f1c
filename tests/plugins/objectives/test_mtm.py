"""Objective mtm: hidden values do not affect the features, and only they affect the loss."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cropzoo import Backbone, Batch, UsageError
from cropzoo.testing.subjects import random_batch
from cropzoo_plugins.objectives.mtm import MaskedTime, embed_days, get_days, hide_dates, hide_patches, pick_dates


class Mean(Backbone):
    """Mean of each pixel and of its days over the valid dates; stores its inputs."""

    def __init__(self, channels: int = 3, finer: int = 1) -> None:
        super().__init__()
        self.out_channels, self.finer = channels + 1, finer
        self.scale = nn.Parameter(torch.ones(()))
        self.given: tuple[Tensor, Tensor, Tensor] | None = None

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
        self.given = series, dates, valid
        count = valid.sum(1)[:, None, None, None]
        mean = (series * valid[:, :, None, None, None]).sum(1) / count
        days = ((dates * valid).sum(1)[:, None, None, None] / count).expand_as(mean[:, :1])
        features = torch.cat((mean, days), 1) * self.scale
        return features.repeat_interleave(self.finer, 2).repeat_interleave(self.finer, 3)


def masks(batch: Batch, size: int = 3) -> tuple[Tensor, Tensor]:
    """Masks of hidden dates and patches, as drawn in a step."""
    dates = hide_dates(batch.valid, 0.4, None)
    patches = hide_patches(batch.series, 0.3, size, None) & (batch.valid & ~dates)[:, :, None, None]
    return dates, patches


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.4, 0.99])
def test_hides_that_share_of_the_dates_and_leaves_one(ratio: float) -> None:
    torch.manual_seed(0)
    lengths = torch.tensor([1, 2, 3, 10, 28])
    valid = torch.arange(28) < lengths[:, None]
    valid[3] = valid[3].flip(0)  # padding may lie anywhere
    hidden = torch.stack([hide_dates(valid, ratio, None) for _ in range(500)])
    assert not (hidden & ~valid).any()
    counts = hidden.sum(2)
    assert (counts == counts[0]).all()
    least = 1 if ratio else 0
    wanted = [min(max(round(ratio * length), least), length - 1) for length in lengths.tolist()]
    assert counts[0].tolist() == wanted
    share = hidden.float().mean(0)[4]
    assert share.max() - share.min() < 0.15  # each date has the same chance


@pytest.mark.parametrize(("height", "width", "size"), [(12, 12, 6), (7, 10, 3), (5, 5, 99)])
def test_patches_are_squares_of_a_lattice(height: int, width: int, size: int) -> None:
    torch.manual_seed(0)
    hidden = hide_patches(torch.zeros(40, 20, 2, height, width), 0.3, size, None)
    assert hidden.shape == (40, 20, height, width)
    for row in range(0, height, size):
        for column in range(0, width, size):
            square = hidden[..., row : row + size, column : column + size].flatten(2)
            assert (square == square[..., :1]).all()
            assert square.float().mean().item() == pytest.approx(0.3, abs=0.07)


@pytest.mark.parametrize("finer", [1, 2])
def test_what_is_hidden_never_reaches_the_features(finer: int) -> None:
    torch.manual_seed(0)
    objective, batch = MaskedTime(Mean(finer=finer), 4), random_batch(4, length=7, size=12)
    dates, patches = masks(batch)
    features = objective.visible_features(batch, dates, patches)
    assert features.shape == (2, 4, 12, 12)
    hidden = (patches | dates[:, :, None, None])[:, :, None]
    moved = replace(
        batch,
        series=torch.where(hidden, torch.randn(batch.series.shape) * 99, batch.series),
        dates=torch.where(dates, 200, batch.dates),
    )
    assert torch.equal(objective.visible_features(moved, dates, patches), features)
    seen = replace(batch, series=torch.where(hidden, batch.series, batch.series + 1))
    assert not torch.equal(objective.visible_features(seen, dates, patches), features)


def test_a_step_shows_the_backbone_zeros_and_invalid_dates() -> None:
    """Published padding reads invalid dates, which must be zeros on day 0."""
    torch.manual_seed(0)
    backbone, batch = Mean(), random_batch(4, length=9, size=12)
    MaskedTime(backbone, 4, patch_size=4)(batch)
    assert backbone.given is not None
    series, dates, valid = backbone.given
    assert not (valid & ~batch.valid).any()
    assert valid.any(1).all()
    assert not series[~valid].any()
    assert not dates[~valid].any()
    changed = (series != batch.series).all(2)  # all bands of a pixel, or none
    assert torch.equal((series != batch.series).any(2), changed)
    share = changed[valid].float().mean().item()
    assert 0.05 < share < 0.4
    assert (batch.valid & ~valid).sum(1).tolist() == [3, 4]  # 0.4 of 8 and of 9 dates


def brute_force(objective: MaskedTime, batch: Batch, dates: Tensor, patches: Tensor) -> tuple[float, int]:
    """Mean Huber loss value by value over what was hidden at clear pixels, every date decoded; and of how many pixels.

    The decoder written out: features and day through one hidden layer.
    """
    features = objective.visible_features(batch, dates, patches).detach()
    bands = batch.series.shape[2]
    read, day, out = objective.read, objective.day, objective.bands
    losses = []
    for b, t, y, x in (patches | dates[:, :, None, None]).nonzero().tolist():
        if batch.clear is not None and not batch.clear[b, t, y, x]:
            continue
        inner = F.gelu(read.weight[:, :, 0, 0] @ features[b, :, y, x] + read.bias + day(embed_days(batch.dates[b, t])))
        error = (out(inner)[:bands] - batch.series[b, t, :, y, x]).abs()
        losses.append(torch.where(error < 1, error.square() / 2, error - 0.5).mean().item())
    return sum(losses) / len(losses), len(losses)


@pytest.mark.parametrize("clouds", [True, False])
def test_loss_is_the_mean_over_what_was_hidden_and_is_clear(clouds: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    objective, batch = MaskedTime(Mean(), 4, targets=9, patch_size=3), random_batch(4, length=6)
    batch = batch if clouds else replace(batch, clear=None)
    dates, drawn = hide_dates(batch.valid, 0.4, None), hide_patches(batch.series, 0.3, 3, None)
    monkeypatch.setattr("cropzoo_plugins.objectives.mtm.hide_dates", lambda *_: dates)
    monkeypatch.setattr("cropzoo_plugins.objectives.mtm.hide_patches", lambda *_: drawn.clone())
    patches = drawn & (batch.valid & ~dates)[:, :, None, None]  # a hidden date counts as such alone, padding not at all
    losses = objective(batch)
    total, pixels = brute_force(objective, batch, dates, patches)
    assert losses.total.item() == pytest.approx(total, rel=1e-5)
    counts = []
    for name, hidden in (("dates", dates[:, :, None, None].expand_as(patches)), ("patches", patches)):
        alone = replace(batch, clear=hidden if batch.clear is None else batch.clear & hidden)
        part, count = brute_force(objective, alone, dates, patches)
        assert losses.parts[name].item() == pytest.approx(part, rel=1e-5)
        counts.append(count)
    assert sum(counts) == pixels
    assert min(counts) > 0


def test_values_that_are_cloudy_or_were_not_hidden_do_not_enter_the_loss() -> None:
    """Only the clear pixels of a hidden date affect the loss; the features do not see it."""
    torch.manual_seed(0)
    objective = MaskedTime(Mean(), 4, patch_ratio=0.0).eval()
    batch = random_batch(4, length=6)
    assert batch.clear is not None
    total = objective(batch).total
    dates = hide_dates(batch.valid, 0.4, torch.Generator().manual_seed(0))  # what evaluation draws first
    cloudy = (dates[:, :, None, None] & ~batch.clear)[:, :, None]
    noise = torch.randn(batch.series.shape) * 9
    assert objective(replace(batch, series=torch.where(cloudy, noise, batch.series))).total == total
    clear = (dates[:, :, None, None] & batch.clear)[:, :, None]
    assert objective(replace(batch, series=torch.where(clear, noise, batch.series))).total != total


def test_without_a_clear_pixel_the_loss_is_zero_with_gradients(check_nothing_learnt) -> None:
    torch.manual_seed(0)
    objective, batch = MaskedTime(Mean(), 4), random_batch(4, length=6)
    losses = objective(replace(batch, clear=torch.zeros_like(batch.clear)))
    check_nothing_learnt(objective, losses)


@pytest.mark.parametrize("length", [1, 2])
@pytest.mark.parametrize("size", [3, 99])
def test_very_short_series_train(length: int, size: int) -> None:
    """A single date is never hidden completely, but patches of it are."""
    torch.manual_seed(0)
    series = torch.randn(64, length, 3, 8, 8)
    dates = torch.arange(1, length + 1).repeat(64, 1)
    objective = MaskedTime(Mean(), 4, patch_size=size)
    losses = objective(Batch(series, dates, dates > 0))
    losses.total.backward()
    assert losses.parts["dates"].item() == 0 if length == 1 else losses.parts["dates"].item() > 0
    assert losses.parts["patches"].item() > 0
    assert objective.backbone.scale.grad.any()


def test_decodes_hidden_dates_before_others() -> None:
    some = torch.tensor([[False, True, False, True, False], [False] * 5])
    torch.manual_seed(0)
    drawn = torch.stack([pick_dates(some, 2, None) for _ in range(300)])
    assert (drawn[:, 0].sort(1).values == torch.tensor([1, 3])).all()
    assert drawn[:, 1].unique().tolist() == [0, 1, 2, 3, 4]
    assert pick_dates(some, 99, None).sort(1).values.tolist() == [[0, 1, 2, 3, 4]] * 2


def test_dates_that_are_not_read_become_positions() -> None:
    dates = torch.tensor([[0, 0, 0], [0, 5, 9]])
    assert get_days(dates).tolist() == [[0, 1, 2], [0, 5, 9]]
    days = embed_days(torch.arange(431))
    apart = torch.cdist(days, days).fill_diagonal_(9)
    assert apart.min() > 0.3  # each day of a season has an embedding of its own


def test_training_hides_anew_and_evaluation_does_not() -> None:
    torch.manual_seed(0)
    objective, batch = MaskedTime(Mean(), 4), random_batch(4, length=8)
    assert objective(batch).total != objective(batch).total
    objective.eval()
    first = objective(batch).total
    torch.rand(7)
    assert objective(batch).total == first


def test_labels_are_not_looked_at() -> None:
    torch.manual_seed(0)
    objective, batch = MaskedTime(Mean(), 0).eval(), random_batch(4, length=5)
    assert objective(replace(batch, labels=None, parcels=None)).total == objective(batch).total


def test_autocast_compares_in_float32() -> None:
    torch.manual_seed(0)
    objective, batch = MaskedTime(Mean(), 4).eval(), random_batch(4, length=6)
    wanted = objective(batch).total.item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total = objective(batch).total
    total.backward()
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(wanted, rel=2e-2)
    assert objective.backbone.scale.grad.isfinite()


def test_learns_to_tell_hidden_dates() -> None:
    """Series that increase with the day from a level per pixel: predicting a date needs both pixel and day."""
    torch.manual_seed(0)
    objective = MaskedTime(Mean(1), 0, width=32)
    optimizer = torch.optim.Adam(objective.parameters(), 3e-3)
    days = torch.linspace(0, 3, 10)[None, :, None, None, None]
    for step in range(300):
        level = torch.randn(8, 1, 1, 6, 6)
        dates = torch.linspace(1, 300, 10).long().repeat(8, 1)
        losses = objective(Batch(level + days - 1.5, dates, dates > 0))
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        if step == 0:
            first = losses.parts["dates"].item()
    assert losses.parts["dates"].item() < first / 5


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("date_ratio", 1.0),
        ("date_ratio", -0.1),
        ("patch_ratio", float("nan")),
        ("patch_size", 0),
        ("targets", 0),
        ("width", 0),
    ],
)
def test_numbers_that_cannot_be_are_refused(option: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{option}={value!r}"):
        MaskedTime(Mean(), 2, **{option: value})


def test_hiding_nothing_and_too_many_bands_are_refused() -> None:
    with pytest.raises(UsageError, match="nothing is hidden"):
        MaskedTime(Mean(), 2, date_ratio=0.0, patch_ratio=0.0)
    with pytest.raises(UsageError, match=r"257 bands.* at most 256"):
        MaskedTime(Mean(257), 2)(random_batch(2, channels=257, size=3))
