"""The pickled datasets, converted once, are the same in the layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from cropzoo.prepare.convert import convert
from cropzoo_plugins.datasets.mtlcc import MTLCC
from cropzoo_plugins.datasets.pastis24 import Pastis24
from cropzoo_plugins.datasets.prepared import Prepared
from cropzoo_plugins.datasets.t31tfm import T31TFM


@pytest.mark.parametrize(
    ("name", "build"), [("mtlcc", MTLCC), ("pastis24", Pastis24), ("t31tfm", lambda root: T31TFM(root, label_scale=4))]
)
def test_there_and_back(
    generator: Callable[[str], ModuleType], tmp_path: Path, name: str, build: Callable[[Path], Any]
) -> None:
    getattr(generator(name), f"make_{name}")(tmp_path / "source")
    source = build(tmp_path / "source")
    convert(source, ("train", "val", "test"), tmp_path / "ds", lambda line: None, lambda done, total: None)
    found = Prepared(tmp_path / "ds")
    assert (found.bands, found.classes, found.citation) == (source.bands, source.classes, source.citation)
    np.testing.assert_allclose((found.mean, found.std), (source.mean, source.std), rtol=1e-12)
    for split in ("train", "val", "test"):
        assert len(found.split(split)) == len(source.split(split))
        for one, other in zip(found.split(split), source.split(split), strict=True):
            for part in ("series", "dates", "labels", "parcels", "clear"):
                first, second = getattr(one, part), getattr(other, part)
                assert (first is None) == (second is None)
                if first is not None:
                    assert first.dtype == second.dtype
                    np.testing.assert_array_equal(first, second)
