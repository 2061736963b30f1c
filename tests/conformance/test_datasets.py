"""Every registered dataset obeys the contract; a new one is a row in tests/data/options.py."""

from __future__ import annotations

import pytest

from cropzoo import load_zoo
from cropzoo.testing import check_dataset


@pytest.mark.parametrize("name", load_zoo().datasets)
def test_dataset(name, dataset_options, tmp_path, monkeypatch):
    monkeypatch.setenv("CROPZOO_CACHE", str(tmp_path / "cache"))
    check_dataset(name, **dataset_options(name, tmp_path))
