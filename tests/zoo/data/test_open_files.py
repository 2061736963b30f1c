"""A dataset of many patches under the usual limits on open files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from rasterio import Affine
from shapely import box

from cropzoo.data.pastis.reader import PastisFolder
from cropzoo.data.pastis.schema import clear_file
from cropzoo.errors import CropzooError, find_open_limit_error
from cropzoo.geo.raster.grid import open_raster
from cropzoo.geo.vector.source import open_source
from cropzoo.io import read_json
from cropzoo.models.checkpoint import Metadata, read_metadata, save_checkpoint

resource = pytest.importorskip("resource")

PATCHES = 640

SCRIPT = """
import json, resource, sys
from unittest.mock import Mock
from cropzoo.data.datamodule import DataModule, ModelInputs
from cropzoo.data.dates import DateOptions, date_warnings
from cropzoo.evaluation.baselines import predict_nearest_neighbors
from cropzoo_plugins.datasets.prepared import Prepared

folder, workers, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
recipe = Mock(image_size=4, length=None, max_dates=None, date_sampling="uniform", min_clear=0, batch_size=batch,
    label_parcels=None, label_pixels=None, crops_per_tile=1, val_fraction=1,
    flip_rotate=True, temporal_dropout=0, end_early=0, label_fraction=1, seed=0, train_years=(), train_sites=(),
    test_years=(), test_sites=())
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
data = DataModule(Prepared(folder), recipe, ModelInputs("doy"), workers=workers)
train = data.split("train")
date_warnings({"train": train}, DateOptions(2, None, "uniform", 0))
crops = sum(len(batch.series) for batch in data.train_dataloader())
tiles = sum(len(batch.series) for batch in data.val_dataloader())
maps = predict_nearest_neighbors(train, data.split("test"))
print(json.dumps([crops, tiles, len(maps)]))
"""


@pytest.fixture(scope="module")
def folder(generator, tmp_path_factory):
    """A dataset of 640 patches of 4 x 4 pixels with parcels and a cloud mask."""
    folder = tmp_path_factory.mktemp("many") / "data"
    made = generator("pastis").make_pastis(folder, PATCHES, 4, dates=2, sensors=("S2",))
    (folder / "DATA_CLEAR").mkdir()
    for name, days in made.days["S2"].items():
        np.save(clear_file(folder, name), np.ones((len(days), 4, 4), bool))
    return folder


@pytest.mark.parametrize(("workers", "batch"), [(0, 128), (2, 100)])
def test_more_patches_than_open_files_are_read(folder, tmp_path, workers, batch):
    environment = {**os.environ, "CROPZOO_CACHE": str(tmp_path), "OMP_NUM_THREADS": "1"}
    args = [sys.executable, "-c", SCRIPT, str(folder), str(workers), str(batch)]
    ended = subprocess.run(args, capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == [384, 128, 128]


@pytest.mark.parametrize("read", ["sample", "table", "raster", "parcels", "checkpoint"])
def test_lack_of_descriptors_is_not_blamed_on_the_file(folder, tmp_path, read):
    layout, limit = PastisFolder(folder), resource.getrlimit(resource.RLIMIT_NOFILE)
    held: list[Any] = []
    metadata = {"backbone": {"name": "utae"}, "in_channels": 1, "image_size": 8, "classes": (), "head": False}
    save_checkpoint(tmp_path / "a.safetensors", {}, Metadata.parse({**metadata, "dates": "doy"}, "a test"))
    profile = {"driver": "GTiff", "width": 4, "height": 4, "count": 1, "dtype": "uint8"}
    with rasterio.open(tmp_path / "a.tif", "w", crs="EPSG:32631", transform=Affine(1, 0, 0, 0, -1, 0), **profile):
        pass
    geopandas.GeoDataFrame({"crop": ["rye"]}, geometry=[box(0, 0, 1, 1)], crs=4326).to_file(tmp_path / "a.gpkg")

    def read_once() -> None:
        if read == "sample":
            held.append(layout.sample(layout.patches[len(held)]))
            return
        held.append(os.open(os.devnull, os.O_RDONLY))
        if read == "table":
            read_json(Path(folder) / "metadata.geojson")
        elif read == "raster":
            with open_raster(tmp_path / "a.tif"):
                pass
        elif read == "parcels":
            open_source(tmp_path / "a.gpkg")
        else:
            read_metadata(tmp_path / "a.safetensors")

    def hold_all() -> None:
        while True:
            read_once()

    with ExitStack() as stack:
        stack.callback(lambda: [os.close(each) for each in held if isinstance(each, int)])
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limit)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, limit[1]))
        with pytest.raises(CropzooError, match=r"too many open files, and nothing is wrong with the file; .*ulimit -n"):
            hold_all()


def test_other_errors_are_not_a_lack_of_descriptors():
    assert find_open_limit_error(FileNotFoundError(2, "No such file")) is None
    error = RuntimeError("reading")
    error.__cause__ = OSError(24, "Too many open files")
    assert find_open_limit_error(error) is not None
