"""Datasets on disk for the tests of the layout: PASTIS's own, and one that we write."""

from __future__ import annotations

import numpy as np
import pytest

from cropzoo.data.pastis.schema import PatchRecord, make_rotations
from cropzoo.data.pastis.writer import DatasetTables, write_patch, write_tables
from cropzoo.data.running_stats import RunningStats
from cropzoo.data.sample import LabelClass, Sample
from cropzoo.data.statistics import add_sample


@pytest.fixture(scope="session")
def pastis(generator):
    """The generator of a tiny PASTIS."""
    return generator("pastis")


CLASSES = (LabelClass("maize", 1200, "#ffcc00"), LabelClass("beans, dry", 20, "#00aa00"))
BANDS = ("B03", "B04", "B08")


@pytest.fixture
def write(tmp_path):
    """`write(clear=True, parcels=True, label_scale=2)`: a dataset of ours in `tmp_path` and its samples by id."""

    def make(*, clear=True, parcels=True, labels=True, label_scale=2, dtype="uint16", folds=3, bands=BANDS, **tables):
        rng = np.random.default_rng(0)
        samples, patches, moments = {}, [], {}
        for number in range(6):
            length, fine = 3 + number % 2, 8 * label_scale
            classes = rng.integers(0, 2, (fine, fine)).astype(np.uint8)
            classes[0, :3] = 255
            sample = Sample(
                series=rng.integers(0, 9000, (length, len(bands), 8, 8)).astype(dtype),
                dates=np.arange(length, dtype=np.int32) * 7 + 17600,
                labels=classes if labels else None,
                parcels=rng.integers(0, 5, (fine, fine)).astype(np.int32) if parcels else None,
                clear=rng.random((length, 8, 8)) < 0.7 if clear else None,
                name=str(number),
                place={"crs": "EPSG:32631", "transform": [10.0, 0.0, 500000.0, 0.0, -10.0, 5600000.0 - 80 * number]},
            )
            fold = number % folds + 1
            write_patch(tmp_path, sample.name, sample, len(CLASSES))
            days = tuple(sample.dates.tolist())
            patches.append(PatchRecord(sample.name, fold, days, (8, 8), sample.place, "31UFS", 2018, 4, 0.5))
            add_sample(moments.setdefault(fold, RunningStats(len(bands))), sample)
            samples[sample.name] = sample
        given = {
            "patches": patches,
            "classes": CLASSES if labels else (),
            "sources": ["1201;1202", "20"] if labels else None,
            "bands": list(bands),
            "scale": 1e-4,
            "label_scale": label_scale,
            "citation": "Who made it",
            "license": "CC-BY-4.0",
            "made_from": {"images": "S2_*.tif"},
            "rotations": make_rotations(folds),
            "moments": moments,
        }
        write_tables(tmp_path, DatasetTables(**(given | tables)))
        return tmp_path, samples

    return make
