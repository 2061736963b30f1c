"""Calendar of days since 1970-01-01: months and dekads equal those of NumPy, also in an exported graph."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cropzoo_plugins.layers.dates import dekads_of, months_of

EVERY = np.arange(np.datetime64("1970-01-01"), np.datetime64("2101-01-01"))
"""Each day from 1970 to 2100, whose February has no leap day."""


def numpy_months(dates: np.ndarray) -> np.ndarray:
    return dates.astype("datetime64[M]").astype(np.int64)


def numpy_dekads(dates: np.ndarray) -> np.ndarray:
    day = (dates - dates.astype("datetime64[M]")).astype(np.int64)
    return 3 * numpy_months(dates) + np.minimum(day // 10, 2)


def as_tensor(dates: np.ndarray) -> Tensor:
    return torch.from_numpy(dates.astype(np.int64))


def test_months_and_dekads_of_each_day_until_2100() -> None:
    days = as_tensor(EVERY)
    assert torch.equal(months_of(days), torch.from_numpy(numpy_months(EVERY)))
    assert torch.equal(dekads_of(days), torch.from_numpy(numpy_dekads(EVERY)))
    assert months_of(days).dtype == dekads_of(days).dtype == torch.int64


@pytest.mark.parametrize(
    ("date", "month", "dekad"),
    [
        ("1970-01-01", 0, 0),
        ("1970-01-10", 0, 0),
        ("1970-01-11", 0, 1),
        ("1970-12-31", 11, 35),
        ("2000-02-29", 361, 1085),
        ("2024-02-20", 649, 1948),
        ("2024-02-21", 649, 1949),
        ("2100-02-28", 1561, 4685),
        ("2100-03-01", 1562, 4686),
    ],
)
def test_days_at_the_ends_of_months_and_dekads(date: str, month: int, dekad: int) -> None:
    days = as_tensor(np.array([[date]], dtype="datetime64[D]"))
    assert months_of(days).tolist() == [[month]]
    assert dekads_of(days).tolist() == [[dekad]]


def test_the_calendar_can_be_exported_for_any_number_of_dates() -> None:
    class Calendar(nn.Module):
        def forward(self, dates: Tensor) -> tuple[Tensor, Tensor]:
            return months_of(dates), dekads_of(dates)

    length = torch.export.Dim("length", min=2, max=10**6)
    program = torch.export.export(Calendar(), (as_tensor(EVERY[:9])[None],), dynamic_shapes={"dates": {1: length}})
    days = as_tensor(EVERY)[None]
    months, dekads = program.module()(days)
    assert torch.equal(months, months_of(days))
    assert torch.equal(dekads, dekads_of(days))
