"""A small map with a known truth, and samples of it with labels, drawn in a few lines of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from numpy.typing import NDArray

from cropzoo.data.classified_map import class_tags
from cropzoo.evaluation.area.design import SamplingDesign, Stratum
from cropzoo.evaluation.area.points import Points, write_points
from cropzoo.io import sha256_of

from ...small_maps import CLASSES, PLACE

NAMES = tuple(each.name for each in CLASSES)
HEIGHT, WIDTH = 60, 80
AREA_HA = HEIGHT * WIDTH / 100


def make_truth(seed: int = 0) -> NDArray[np.uint8]:
    """Fields of 10 x 10 pixels of the three classes, (60, 80)."""
    fields = np.random.default_rng(seed).choice(3, (HEIGHT // 10, WIDTH // 10), p=[0.5, 0.3, 0.2])
    return np.kron(fields, np.ones((10, 10))).astype(np.uint8)


def confuse(truth: NDArray[np.uint8], share: float, seed: int = 1) -> NDArray[np.uint8]:
    """The truth with a share of the pixels replaced by any class."""
    generator = np.random.default_rng(seed)
    return np.where(generator.random(truth.shape) < share, generator.integers(0, 3, truth.shape), truth).astype(
        np.uint8
    )


def write_map(path: Path, labels: NDArray[np.uint8], **changed: Any) -> Path:
    profile = {"driver": "GTiff", "dtype": "uint8", "nodata": 255, "crs": "EPSG:32631", "transform": PLACE, **changed}
    with rasterio.open(path, "w", count=1, height=labels.shape[0], width=labels.shape[1], **profile) as file:
        file.write(labels, 1)
        file.update_tags(**class_tags(CLASSES))
    return path


def draw(
    path: Path,
    truth: NDArray[np.uint8],
    groups: NDArray[np.int64],
    counts: Sequence[int],
    *,
    kind: str = "stratified",
    regions: Sequence[str | None] = (),
    seed: int = 2,
) -> tuple[Points, SamplingDesign]:
    """Pixels drawn at random from groups of pixels (-1 for none), labeled with their true class.

    Groups are numbered by class of the map, or by region and class if there are regions.
    """
    generator = np.random.default_rng(seed)
    numbers = generator.permutation(len(counts)) + 1
    drawn = [generator.choice(np.flatnonzero(groups == group), count, False) for group, count in enumerate(counts)]
    pixels = np.concatenate(drawn)
    group = np.repeat(np.arange(len(counts)), counts)
    units = np.array([(groups == each).sum() for each in range(len(counts))])
    order = generator.permutation(len(pixels))
    pixels, group = pixels[order], group[order]
    rows, columns = np.unravel_index(pixels, truth.shape)
    points = Points(
        ids=np.arange(1, len(pixels) + 1),
        geometry=shapely.points(PLACE.c + 10 * (columns + 0.5), PLACE.f - 10 * (rows + 0.5)),
        strata=numbers[group],
        probabilities=(np.array(counts) / units)[group],
        areas=np.full(len(pixels), 100.0),
        reference=tuple(NAMES[each] for each in truth.ravel()[pixels]),
    )
    strata = [
        Stratum(
            int(numbers[each]),
            int(units[each]),
            int(counts[each]),
            100.0 * int(units[each]),
            each % 3 if kind == "stratified" else None,
            regions[each // 3] if regions else None,
        )
        for each in range(len(counts))
    ]
    design = SamplingDesign(
        kind=kind,
        unit="pixel",
        seed=seed,
        map_name=path.name,
        map_sha256=sha256_of(path),
        classes=NAMES,
        crs="EPSG:32631",
        shape=truth.shape,
        transform=tuple(PLACE)[:6],
        strata=tuple(sorted(strata, key=lambda each: each.number)),
    )
    return points, design


class Study:
    """A folder with map.tif and a labeled stratified sample points.gpkg of 40 points of each class.

    Attributes:
        truth: (60, 80), true classes.
        labels: (60, 80), classes of the map.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.truth = make_truth()
        self.labels = confuse(self.truth, 0.3)
        self.map = write_map(folder / "map.tif", self.labels)
        self.drawn, self.design = draw(self.map, self.truth, self.labels.astype(np.int64), (40, 40, 40))
        self.points = folder / "points.gpkg"
        self.write()

    def write(self, design: SamplingDesign | None = None, **changed: Any) -> Path:
        """Write the points with changed fields."""
        write_points(self.points, replace(self.drawn, **changed), design or self.design)
        return self.points

    def relabel(self, labels: dict[int, str]) -> Path:
        """Write the points with other labels by position."""
        return self.write(reference=tuple(labels.get(at, text) for at, text in enumerate(self.drawn.reference)))

    def label(self, points: Path) -> Path:
        """Write the true classes at the points of a file as CSV."""
        frame = geopandas.read_file(points, layer="points")
        places = frame.geometry.representative_point()
        rows, columns = ((PLACE.f - places.y) // 10).astype(int), ((places.x - PLACE.c) // 10).astype(int)
        frame["reference"] = [NAMES[each] for each in self.truth[rows, columns]]
        path = points.with_suffix(".csv")
        frame[["point_id", "reference"]].to_csv(path, index=False)
        return path

    def write_regions(self, boxes: dict[str, tuple[float, float, float, float]]) -> Path:
        """Write boxes in columns and rows (left, top, right, bottom) as regions."""
        shapes = [
            shapely.box(PLACE.c + 10 * left, PLACE.f - 10 * bottom, PLACE.c + 10 * right, PLACE.f - 10 * top)
            for left, top, right, bottom in boxes.values()
        ]
        path = self.folder / "regions.gpkg"
        path.unlink(missing_ok=True)
        geopandas.GeoDataFrame({"name": list(boxes)}, geometry=shapes, crs="EPSG:32631").to_file(path)
        return path

    def write_parcels(self, name: str = "parcels.gpkg", wrong: Sequence[int] = (), inset: float = 0.0) -> Path:
        """Write the fields of 10 x 10 pixels as parcels with their true crop, some with a wrong one."""
        rows, columns = np.indices((HEIGHT // 10, WIDTH // 10)).reshape(2, -1)
        shapes = [
            shapely.box(
                PLACE.c + 100 * c + inset,
                PLACE.f - 100 * r - 100 + inset,
                PLACE.c + 100 * c + 100 - inset,
                PLACE.f - 100 * r - inset,
            )
            for r, c in zip(rows.tolist(), columns.tolist(), strict=True)
        ]
        crops = self.truth[::10, ::10].ravel().astype(int)
        crops[list(wrong)] = (crops[list(wrong)] + 1) % 3
        path = self.folder / name
        path.unlink(missing_ok=True)
        frame = geopandas.GeoDataFrame({"crop": [NAMES[each] for each in crops]}, geometry=shapes, crs="EPSG:32631")
        frame.to_file(path)
        return path


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A map with a known truth and a labeled sample of it."""
    return Study(tmp_path)


Draw = Callable[..., tuple[Points, SamplingDesign]]
