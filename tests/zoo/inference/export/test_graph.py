"""Dates within a graph are those that the loader encodes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cropzoo.data.dates import encode_dates
from cropzoo.inference.export.graph import encode_days

DAYS = np.arange(1, np.datetime64("2101-01-01", "D").astype(int), dtype=np.int32)


def test_day_of_year_of_every_day_until_2100() -> None:
    days = torch.from_numpy(DAYS.astype(np.int64))[None]
    found = encode_days(days, torch.ones_like(days, dtype=torch.bool), "doy")
    assert (found[0].numpy() == encode_dates(DAYS, "doy")).all()
    assert found.dtype == torch.int64


def test_days_since_september_from_every_first_day() -> None:
    pairs = torch.from_numpy(DAYS.astype(np.int64))[:, None] + torch.tensor([0, 500])
    found = encode_days(pairs, torch.ones_like(pairs, dtype=torch.bool), "days").numpy()
    step = 7  # days, and a leap day every four years: all weekdays and all years are met
    wanted = [encode_dates(np.array([day, day + 500], np.int32), "days") for day in DAYS[::step]]
    assert (found[::step] == np.stack(wanted)).all()


def test_a_date_that_is_not_used_is_counted_from_and_padding_is_not() -> None:
    days = torch.tensor([[0, 17700, 17900, 18100]])  # 2018-06-18, 2019-01-04, 2019-07-23
    valid = torch.tensor([[False, False, True, True]])
    wanted = encode_dates(np.array([17900, 18100], np.int32), "days", first=17700)
    assert encode_days(days, valid, "days").tolist() == [[0, 0, *wanted]]
    without = encode_days(torch.where(valid, days, 0), valid, "days")
    assert without.tolist() == [[0, 0, *encode_dates(np.array([17900, 18100], np.int32), "days")]]


@pytest.mark.parametrize("encoding", ["doy", "none"])
def test_zero_at_padding(encoding: str) -> None:
    found = encode_days(torch.tensor([[17900, 18000]]), torch.tensor([[True, False]]), encoding)  # type: ignore[arg-type]
    assert found.tolist() == [[4 if encoding == "doy" else 0, 0]]
