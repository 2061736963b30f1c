"""Lists of the valid dates of a batch, and of all dates in an export."""

from __future__ import annotations

import pytest
import torch

from cropzoo_plugins.layers import padding
from cropzoo_plugins.layers.padding import Frames, all_valid

VALID = torch.tensor([[True, True, False], [True, False, False]])


@pytest.mark.parametrize("exporting", [False, True])
def test_what_is_put_back_is_zero_at_invalid_dates(monkeypatch: pytest.MonkeyPatch, exporting: bool) -> None:
    monkeypatch.setattr(padding, "is_exporting", lambda: exporting)
    series = torch.arange(1.0, 7).reshape(2, 3, 1)
    frames = Frames.of(VALID)
    listed = frames.gather(series)
    assert listed.flatten().tolist() == ([1, 2, 3, 4, 5, 6] if exporting else [1, 2, 4])
    assert frames.scatter(listed).flatten().tolist() == [1, 2, 0, 4, 0, 0]


def test_an_export_takes_no_batch_for_one_without_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = torch.ones_like(VALID)
    assert all_valid(whole)
    assert not all_valid(VALID)
    monkeypatch.setattr(padding, "is_exporting", lambda: True)
    assert not all_valid(whole)
