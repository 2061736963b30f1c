"""Small maps as `cropzoo predict` writes them, and parcels on them whose corners are given in pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine

from cropzoo.data.classified_map import class_tags
from cropzoo.data.sample import LabelClass

CLASSES = (
    LabelClass("grass", 60, "#33aa33"),
    LabelClass("maize", 201, "#ddbb22"),
    LabelClass("winter wheat", 311, "#aa6622"),
)
WEST, NORTH = 600_000, 5_650_000
PLACE = Affine(10, 0, WEST, 0, -10, NORTH)


@pytest.fixture
def make_map(tmp_path: Path) -> Callable[..., Path]:
    """`make_map(labels, probabilities=None, confidence=None, transform=PLACE)`: a class map and its outputs."""

    def make(
        labels: Any,
        probabilities: Any = None,
        confidence: Any = None,
        transform: Affine = PLACE,
        crs: str = "EPSG:32631",
    ) -> Path:
        path = tmp_path / "map.tif"
        layers = {"map": np.asarray(labels, np.uint8)[None]}
        for name, values in (("map_probabilities", probabilities), ("map_confidence", confidence)):
            if values is not None:
                bands = np.asarray(values, float).reshape(-1, *np.shape(labels))
                layers[name] = np.where(layers["map"] == 255, 255, np.rint(250 * bands)).astype(np.uint8)
        for name, bands in layers.items():
            count, height, width = bands.shape
            profile = {"driver": "GTiff", "dtype": "uint8", "nodata": 255, "crs": crs, "transform": transform}
            target = tmp_path / f"{name}.tif"
            with rasterio.open(target, "w", count=count, height=height, width=width, **profile) as file:
                file.write(bands)
                file.update_tags(**class_tags(CLASSES))
        return path

    return make


@pytest.fixture
def make_parcels(tmp_path: Path) -> Callable[..., Path]:
    """`make_parcels(polygons, crs=..., file="parcels.gpkg", **columns)`: polygons of columns and rows, as a file."""

    def make(polygons: Sequence[Any], crs: str = "EPSG:32631", file: str = "parcels.gpkg", **columns: Any) -> Path:
        def move(points: Any) -> Any:
            return points * (10, -10) + (WEST, NORTH)

        shapes = [None if polygon is None else shapely.transform(polygon, move) for polygon in polygons]
        frame = geopandas.GeoDataFrame(columns, geometry=shapes, crs="EPSG:32631")
        frame.to_crs(crs).to_file(tmp_path / file)
        return tmp_path / file

    return make
