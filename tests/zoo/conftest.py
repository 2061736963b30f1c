"""A tiny backbone as a plugin, for tests of what is done with models, and a small dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from rasterio.crs import CRS

from cropzoo.data.sample import LabelClass, Sample
from cropzoo.errors import UnknownName
from cropzoo.geo.raster.grid import Grid
from cropzoo.geo.vector.parcel_table import ParcelTable
from cropzoo.geo.vector.polygons import extract_polygons
from cropzoo.plugins.registry import load_zoo

from .small_maps import make_map as make_map
from .small_maps import make_parcels as make_parcels

BODY = """
import torch
from torch import nn

from cropzoo.models.base import Backbone


class Tiny(Backbone):
    def __init__(self, in_channels, classes, image_size, length, width=3, multiple=1):
        super().__init__()
        self.out_channels, self.size_multiple = width, multiple
        self.look = nn.Conv2d(in_channels, width, 1)
        self.tokens = nn.Parameter(torch.randn(classes, width))

    def forward(self, series, dates, valid):
        seen = torch.where(valid[:, :, None, None, None], series, 0.0).sum(1) / valid.sum(1)[:, None, None, None]
        return self.look(seen) + self.tokens.sum(0)[:, None, None]


class NoBackbone(nn.Module):
    def __init__(self, in_channels, classes, image_size, length):
        super().__init__()


def convert(state):
    return {key.replace("old.", "backbone."): value for key, value in state.items()}


class Made:
    bands, scale, mean, std, citation = ("red", "nir"), 0.5, (1.0, 2.0), (1.0, 4.0), "Someone 2020"

    def __init__(self, **changes):
        from cropzoo.data.sample import LabelClass

        self.classes = (LabelClass("wheat", 1, "#ff0000"), LabelClass("maize", 2, "#00ff00"))

    def split(self, name):
        return []


@hookimpl
def cropzoo_backbones():
    return [
        backbone("tiny", f"{__name__}:Tiny", convert=f"{__name__}:convert"),
        backbone("other", f"{__name__}:Tiny"),
        backbone("fixed", f"{__name__}:Tiny", fixed_length=True),
        backbone("wrong", f"{__name__}:NoBackbone"),
    ]


@hookimpl
def cropzoo_datasets():
    return [dataset("made", f"{__name__}:Made")]
"""


@pytest.fixture
def tiny_zoo(make_plugin):
    """A zoo with backbones `tiny`, `other`, `fixed` and `wrong`, and dataset `made` of two bands and classes."""
    return load_zoo([make_plugin("tiny-plugin", BODY)])


class Fields:
    """Samples of 8 x 12 pixels, wheat in the left half and maize in the right, with the top row ignored.

    Args:
        counts: samples by split.
        labeled, masked, placed: whether samples have labels and parcels, clear, place.
        label_scale: of the labels.
        days: of the first sample of a split; each further one is a year later.
    """

    bands = ("B04", "B08")
    scale, mean, std, citation = 1e-4, (0.1, 0.3), (0.05, 0.1), "Somebody (2020), Fields."
    classes = (
        LabelClass("wheat", 1, "#e6c229"),
        LabelClass("<b>maize</b> & | co", 26, "#f17105"),
        LabelClass("hop", 8, "#aa3366"),
    )

    def __init__(
        self,
        counts: dict[str, int] | None = None,
        *,
        labeled: bool = True,
        masked: bool = True,
        placed: bool = True,
        label_scale: int = 1,
        days: tuple[int, ...] = (17700, 17710, 17720),
    ) -> None:
        self.counts = {"train": 3, "val": 2, "test": 1} if counts is None else counts
        self.labeled, self.masked, self.placed = labeled, masked, placed
        self.label_scale, self.days = label_scale, days
        self.read: list[str] = []
        if not labeled:
            self.classes = ()

    def split(self, name: str) -> Any:
        if name not in self.counts:
            raise UnknownName("split", name, self.counts)
        return _Rows(self, name)

    def sample(self, split: str, index: int) -> Sample:
        name = f"{split}-{index}"
        self.read.append(name)
        length = len(self.days)
        series = np.full((length, 2, 8, 12), 1000, np.uint16)
        series[:, 1, :, :6], series[:, 1, :, 6:] = 3000, 1000  # NDVI .5 of wheat, 0 of maize
        clear = np.ones((length, 8, 12), bool)
        clear[0] = False
        series[0] = 9999
        labels = np.zeros((8, 12), np.uint8)
        labels[:, 6:] = 1
        labels[0] = 255
        labels = labels.repeat(self.label_scale, 0).repeat(self.label_scale, 1)
        column = list(self.counts).index(split) * 200 + index * 120
        place = {"crs": "EPSG:32631", "transform": [10.0, 0.0, 500000.0 + column, 0.0, -10.0, 5600000.0]}
        return Sample(
            series=series,
            dates=np.array(self.days, np.int32) + 365 * index,
            labels=labels if self.labeled else None,
            parcels=(labels.astype(np.int32) + 1) * (labels != 255) if self.labeled else None,
            clear=clear if self.masked else None,
            name=name,
            place=place if self.placed else {},
        )


class _Rows(Sequence[Sample]):
    def __init__(self, fields: Fields, split: str) -> None:
        self.fields, self.name = fields, split

    def __len__(self) -> int:
        return self.fields.counts[self.name]

    def __getitem__(self, index: Any) -> Any:
        return self.fields.sample(self.name, range(len(self))[index])


@pytest.fixture
def make_fields() -> type[Fields]:
    """`make_fields(...)`: a small dataset whose numbers can be counted by hand."""
    return Fields


WEST, NORTH = 500_000, 5_600_000


@pytest.fixture(scope="session")
def make_grid() -> Callable[..., Grid]:
    """`make_grid(height, width, east=0)`; `east` is where it begins, in pixels."""

    def make(height: int = 4, width: int = 4, east: int = 0) -> Grid:
        return Grid(height, width, Affine(10, 0, WEST + 10 * east, 0, -10, NORTH), CRS.from_epsg(32631))

    return make


@pytest.fixture(scope="session")
def on_ground() -> Callable[[Any], Any]:
    """`on_ground(polygon)` brings a polygon of columns and rows to coordinates in EPSG:32631."""

    def bring(polygon: Any) -> Any:
        return shapely.transform(polygon, lambda points: points * (10, -10) + (WEST, NORTH))

    return bring


@pytest.fixture(scope="session")
def make_table(on_ground: Callable[[Any], Any]) -> Callable[..., ParcelTable]:
    """`make_table(polygons, crops=None)`: parcels of polygons in columns and rows, cleaned as those of files are."""

    def make(polygons: Sequence[Any], crops: Sequence[Any] | None = None) -> ParcelTable:
        shapes = extract_polygons(np.array([on_ground(polygon) for polygon in polygons], object)).geometry
        found = tuple(crops or range(1, len(shapes) + 1))
        ids = np.arange(1, len(shapes) + 1, dtype=np.int32)
        return ParcelTable(shapes, pyproj.CRS(32631), ids, found, ("",) * len(shapes))

    return make
