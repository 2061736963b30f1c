"""Samples that are planned and drawn: they are random with the stated probabilities, and keep what they promise."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray

from cropzoo.errors import CropzooError, UnknownName, UsageError
from cropzoo.evaluation.area import draw as drawing
from cropzoo.evaluation.area import sampling
from cropzoo.evaluation.area.design import SamplingDesign
from cropzoo.evaluation.area.estimate import Sample, estimate_classes
from cropzoo.evaluation.area.points import Points, read_points, write_points
from cropzoo.evaluation.area.sampling import SampleOptions, SamplePlan, draw_sample, plan_sample
from cropzoo.io import sha256_of

from ...small_maps import NORTH, PLACE, WEST

SIZE = 60, 80


def make_labels(height: int = SIZE[0], width: int = SIZE[1], patch: int = 6) -> NDArray[np.uint8]:
    """Patches of three classes, and a border without data."""
    rng = np.random.default_rng(1)
    shape = -(-height // patch), -(-width // patch)
    labels = rng.choice([0, 1, 2], shape, p=[0.6, 0.28, 0.12]).repeat(patch, 0).repeat(patch, 1)[:height, :width]
    labels[:, :3] = 255
    return labels.astype(np.uint8)


class _Raster:
    """Labels in memory that are read as a raster: a hundred times faster than a file."""

    def __init__(self, labels: NDArray[np.uint8]) -> None:
        self.labels = labels

    def read(self, band: int, window: tuple[tuple[int, int], tuple[int, int]]) -> NDArray[np.uint8]:
        return self.labels[slice(*window[0]), slice(*window[1])]


@pytest.fixture
def draw_again(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Points, SamplingDesign]]:
    """`draw_again(plan, labels, seed)`: a sample of a plan by another seed, without reading the file of the map."""

    def redraw(plan: SamplePlan, labels: NDArray[np.uint8], seed: int) -> tuple[Points, SamplingDesign]:
        with monkeypatch.context() as patch:
            patch.setattr(drawing, "open_map_pixels", lambda source: nullcontext(_Raster(labels)))
            patch.setattr(sampling, "sha256_of", lambda path: "0" * 64)
            return draw_sample(replace(plan, options=replace(plan.options, seed=seed)))

    return redraw


@pytest.fixture
def path(make_map: Callable[..., Path]) -> Path:
    return make_map(make_labels())


def _pixels(points: Points) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of points of a map at `PLACE`."""
    x, y = shapely.get_x(points.geometry), shapely.get_y(points.geometry)
    columns, rows = (x - WEST) / 10 - 0.5, (NORTH - y) / 10 - 0.5
    assert (columns % 1 == 0).all()
    assert (rows % 1 == 0).all()
    return rows.astype(np.int64), columns.astype(np.int64)


def draw(path: Path, **options: Any) -> tuple[Points, SamplingDesign]:
    return draw_sample(plan_sample(path, SampleOptions(**options)))


def test_points_are_pixels_of_their_stratum_and_each_occurs_once(path: Path) -> None:
    points, design = draw(path, size=200, minimum=30)
    rows, columns = _pixels(points)
    assert len(set(zip(rows.tolist(), columns.tolist(), strict=True))) == 200
    labels = make_labels()
    of_class = {each.number: each.map_class for each in design.strata}
    assert labels[rows, columns].tolist() == [of_class[number] for number in points.strata.tolist()]
    for each in design.strata:
        own = points.strata == each.number
        assert own.sum() == each.sampled >= 30
        assert each.units == (labels == each.map_class).sum()
        assert each.area == pytest.approx(100 * each.units)
        assert points.probabilities[own] == pytest.approx(each.sampled / each.units)
    assert (points.areas == 100).all()
    assert (design.sampled, design.units) == (200, (labels < 255).sum())


def test_the_design_is_complete_and_survives_the_file(path: Path, tmp_path: Path) -> None:
    points, design = draw(path, size=160, minimum=40, seed=7)
    write_points(tmp_path / "p.gpkg", points, design)
    read, stored = read_points(tmp_path / "p.gpkg")
    assert stored == design
    assert (design.map_sha256, design.map_name, design.seed) == (sha256_of(path), "map.tif", 7)
    assert (design.classes, design.crs) == (("grass", "maize", "winter wheat"), "EPSG:32631")
    assert (design.shape, Affine(*design.transform)) == (SIZE, PLACE)
    assert read.probabilities == pytest.approx(points.probabilities)
    assert "map_class" not in geopandas.read_file(tmp_path / "p.gpkg", layer="points")


def test_the_class_in_the_map_is_shown_on_request(path: Path, tmp_path: Path) -> None:
    points, design = draw_sample(plan_sample(path, SampleOptions(size=150)), show_map_class=True)
    names = np.array(["grass", "maize", "winter wheat"])
    assert points.map_classes is not None
    assert list(points.map_classes) == names[make_labels()[_pixels(points)]].tolist()
    write_points(tmp_path / "p.gpkg", points, design)
    assert set(geopandas.read_file(tmp_path / "p.gpkg", layer="points")["map_class"]) == set(names)


def test_neither_order_nor_numbers_reveal_the_class(path: Path) -> None:
    numbers = set()
    for seed in range(12):
        points, design = draw(path, size=150, seed=seed)
        numbers.add(tuple(each.map_class for each in design.strata))
        assert len(set(points.strata[:25].tolist())) > 1
    assert len(numbers) > 2


def test_a_seed_gives_a_sample_and_another_seed_another(path: Path) -> None:
    first, again, other = (draw(path, size=150, seed=seed)[0] for seed in (0, 0, 1))
    assert shapely.equals(first.geometry, again.geometry).all()
    assert not shapely.equals(first.geometry, other.geometry).all()


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "stratified", "size": 150, "minimum": 20},
        {"kind": "simple", "size": 150},
        {"kind": "two-stage", "size": 150, "blocks": 9, "block_side": 16},
    ],
    ids=lambda each: each["kind"],
)
def test_pixels_are_drawn_with_the_stated_probabilities(
    path: Path, draw_again: Callable[..., Any], options: dict[str, Any]
) -> None:
    plan = plan_sample(path, SampleOptions(**options))
    labels, repetitions = make_labels(), 250
    tolerance = 0.1 if options["kind"] == "two-stage" else 0.05  # three standard errors of the mean
    drawn, weight = np.zeros(SIZE), np.zeros(SIZE)
    for seed in range(repetitions):
        points, _ = draw_again(plan, labels, seed)
        place = _pixels(points)
        drawn[place] += 1
        weight[place] += 1 / points.probabilities
    assert (drawn[labels == 255] == 0).all()
    # With weights, every pixel counts once on average; a quarter of the map has about 1200 pixels.
    for part in (np.s_[:30, :40], np.s_[30:, :40], np.s_[:30, 40:], np.s_[30:, 40:]):
        pixels = (labels[part] < 255).sum()
        assert weight[part].sum() / repetitions == pytest.approx(pixels, rel=tolerance)
    for kind in range(3):
        assert weight[labels == kind].sum() / repetitions == pytest.approx((labels == kind).sum(), rel=tolerance)


def _truth(plan: SamplePlan, labels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Reference classes as they are expected: errors of a class belong to the others in proportion to their areas."""
    rng = np.random.default_rng(5)
    mapped = plan.frame.units / plan.frame.units.sum()
    accuracy = [0.9, 0.75, 0.6]
    chance, other = rng.random((2, *labels.shape))
    truth = labels.astype(np.int64)
    for kind in range(3):
        others = [each for each in range(3) if each != kind]
        first = mapped[others[0]] / mapped[others].sum()
        wrong = (labels == kind) & (chance > accuracy[kind])
        truth[wrong] = np.where(other[wrong] < first, others[0], others[1])
    return truth


def _sample(points: Points, design: SamplingDesign) -> Sample:
    strata = sorted(design.strata, key=lambda each: each.number)
    return Sample(
        strata=points.strata - 1,
        clusters=points.ids if points.blocks is None else points.blocks,
        weights=1 / points.probabilities,
        areas=points.areas,
        stratum_areas=np.array([each.area for each in strata]),
        fractions=np.array([0.0 if points.blocks is not None else each.sampled / each.units for each in strata]),
    )


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "stratified", "size": 400, "minimum": 50},
        {"kind": "stratified", "size": 300, "minimum": 0, "allocation": "proportional"},
        {"kind": "simple", "size": 300},
        # The errors of this map are not correlated in blocks.
        {"kind": "two-stage", "size": 320, "blocks": 40, "block_side": 16, "correlation": 0.0},
    ],
    ids=str,
)
def test_planned_standard_errors_are_reached(
    make_map: Callable[..., Path], draw_again: Callable[..., Any], options: dict[str, Any]
) -> None:
    """The standard deviation of the estimates of 300 samples is within 10 % of the planned standard error."""
    labels = make_labels(240, 320, patch=1)
    path = make_map(labels)
    with rasterio.open(path, "r+") as file:
        file.update_tags(PRECISION_0="0.9", PRECISION_1="0.75", PRECISION_2="0.6")
    plan = plan_sample(path, SampleOptions(**options))
    truth = _truth(plan, labels)
    overall, shares = [], []
    for seed in range(300):
        points, design = draw_again(plan, labels, seed)
        place = _pixels(points)
        found = estimate_classes(_sample(points, design), labels[place].astype(np.int64), truth[place], 3)
        overall.append(float(found.overall.value))
        shares.append(found.share.value)
    known = labels < 255
    assert np.mean(overall) == pytest.approx((truth == labels)[known].mean(), abs=0.005)
    assert np.std(overall) == pytest.approx(plan.errors.overall_error, rel=0.1)
    assert np.std(shares, axis=0) == pytest.approx(plan.errors.share_error, rel=0.1)
    assert plan.errors.share == pytest.approx(np.bincount(truth[known]) / known.sum(), abs=0.01)


def test_the_planned_standard_error_of_correlated_blocks_is_reached(
    make_map: Callable[..., Path], draw_again: Callable[..., Any]
) -> None:
    """Errors in patches of eight pixels are alike in a block of 16, and the plan is told by how much."""
    height, width, side = 240, 320, 16
    labels = np.random.default_rng(2).integers(0, 3, (height, width)).astype(np.uint8)
    wrong = np.random.default_rng(3).random((height // 8, width // 8)).repeat(8, 0).repeat(8, 1) > 0.8
    truth = np.where(wrong, (labels + 1) % 3, labels).astype(np.int64)
    blocks = wrong.reshape(height // side, side, width // side, side).swapaxes(1, 2).reshape(-1, side * side)
    between, within = side * side * blocks.mean(axis=1).var(ddof=1), blocks.var(axis=1, ddof=1).mean()
    correlation = (between - within) / (between + (side * side - 1) * within)
    assert correlation > 0.15
    options = SampleOptions(
        kind="two-stage", size=400, blocks=40, block_side=side, accuracy=0.8, correlation=correlation
    )
    plan = plan_sample(make_map(labels), options)
    found = []
    for seed in range(300):
        points, design = draw_again(plan, labels, seed)
        place = _pixels(points)
        estimates = estimate_classes(_sample(points, design), labels[place].astype(np.int64), truth[place], 3)
        found.append(float(estimates.overall.value))
    assert np.std(found) == pytest.approx(plan.errors.overall_error, rel=0.1)
    independent = plan_sample(plan.source.path, replace(options, correlation=0.0))
    assert plan.errors.overall_error > 1.4 * independent.errors.overall_error


def test_two_stages_draw_blocks_and_pixels_in_all_of_them(path: Path) -> None:
    points, design = draw(path, kind="two-stage", size=120, blocks=8, block_side=16)
    rows, columns = _pixels(points)
    (stratum,) = design.strata
    assert (stratum.blocks, stratum.sampled_blocks, design.block_side) == (20, 8, 16)
    assert points.blocks is not None
    assert (points.blocks - 1).tolist() == (rows // 16 * 5 + columns // 16).tolist()
    assert len(set(points.blocks.tolist())) == 8
    valid = make_labels() < 255
    for block in set(points.blocks.tolist()):
        row, column = divmod(block - 1, 5)
        available = valid[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16].sum()
        own = points.blocks == block
        assert points.probabilities[own] == pytest.approx(8 / 20 * own.sum() / available)


def test_regions_cross_the_strata_of_every_design(path: Path, make_parcels: Callable[..., Path]) -> None:
    halves = make_parcels([shapely.box(0, 0, 40, 60), shapely.box(40, 0, 80, 60)], name=["west", "east"])
    for kind, strata in (("stratified", 6), ("simple", 2), ("two-stage", 2)):
        side = {"block_side": 16} if kind == "two-stage" else {}
        points, design = draw(path, kind=kind, size=200, regions=halves, minimum=20, **side)
        assert len(design.strata) == strata
        assert design.regions == "parcels.gpkg"
        west = {each.number for each in design.strata if each.region == "west"}
        assert ((_pixels(points)[1] < 40) == np.isin(points.strata, list(west))).all()


def test_parcels_are_drawn_with_their_polygons(
    make_map: Callable[..., Path], make_parcels: Callable[..., Path]
) -> None:
    labels = np.array([[0, 1, 2, 255]], np.uint8).repeat(5, 1).repeat(80, 0)
    shapes = [shapely.box(x, y, x + 5, y + 1 + y % 3) for x in (0, 5, 10, 15) for y in range(0, 80, 4)]
    fields = make_parcels(shapes, crs="EPSG:4326")
    points, design = draw(make_map(labels), parcels=fields, size=30, minimum=8)
    assert (design.unit, design.parcels, design.units) == ("parcel", "parcels.gpkg", 60)
    kinds = {each.number: each.map_class for each in design.strata}
    for shape, area, number in zip(points.geometry, points.areas.tolist(), points.strata.tolist(), strict=True):
        assert int((shape.centroid.x - WEST) // 50) == kinds[number]
        assert area == pytest.approx(shape.area)
    assert len({shape.wkt for shape in points.geometry}) == 30


@pytest.mark.parametrize(
    ("options", "error", "problem"),
    [
        ({}, UsageError, "none of them is given; give the number of units by --n"),
        ({"size": 99, "overall_error": 0.01}, UsageError, "exclude each other"),
        ({"size": 5}, UsageError, "the 3 strata need 6 units"),
        ({"size": 99, "kind": "systematic"}, UnknownName, "unknown design 'systematic'"),
        ({"size": 99, "allocation": "nyman"}, UnknownName, "did you mean 'neyman'"),
        ({"share_errors": ["maize"]}, UsageError, "must be CLASS:SE, such as maize:0.01"),
        ({"share_errors": ["maize:0"]}, UsageError, "must be CLASS:SE"),
        ({"share_errors": ["maize:-3%"]}, UsageError, "must be CLASS:SE"),
        ({"share_errors": ["mais:0.1"]}, UnknownName, "unknown class of the map 'mais'; did you mean 'maize'"),
        ({"size": 99, "blocks": 4}, UsageError, "only the two-stage design has blocks"),
        ({"size": 99, "outside": True}, UsageError, "there are no regions; give their file by --strata"),
        ({"size": 99, "kind": "two-stage", "blocks": 3}, UsageError, "have 1 blocks with data"),
        ({"size": 9, "kind": "two-stage", "blocks": 10, "block_side": 16}, UsageError, "need 10 units"),
        ({"size": 999, "kind": "two-stage", "blocks": 2, "block_side": 16}, UsageError, "to be drawn from 2 blocks"),
        ({"overall_error": 1e-4, "kind": "two-stage", "blocks": 2, "block_side": 16}, UsageError, "raise --blocks"),
        ({"size": 99, "kind": "two-stage", "parcels": Path("p.gpkg")}, UsageError, "it draws pixels in blocks"),
    ],
    ids=str,
)
def test_options_that_cannot_be_met(
    path: Path, options: dict[str, Any], error: type[CropzooError], problem: str
) -> None:
    with pytest.raises(error, match=problem):
        draw(path, **options)


def test_targets_are_reached_as_planned(path: Path) -> None:
    plan = plan_sample(
        path, SampleOptions(overall_error=0.02, share_errors=["maize:0.02", "winter wheat:20%"], minimum=9)
    )
    wheat = (make_labels() == 2).sum() / (make_labels() < 255).sum()
    assert plan.targets == pytest.approx({"overall": 0.02, "maize": 0.02, "winter wheat": 0.2 * wheat})
    assert plan.errors.overall_error <= 0.02
    assert plan.errors.share_error[1] <= 0.02
    assert plan.errors.share_error[2] <= 0.2 * wheat
    assert plan.as_dict()["size"] == plan.sampled.sum()


def test_expected_accuracies_come_from_the_map_or_the_user(path: Path) -> None:
    assert "no test precision of any class" in plan_sample(path, SampleOptions(size=150)).notes[0]
    given = plan_sample(path, SampleOptions(size=150, accuracy=0.9))
    assert given.notes == ()
    assert given.errors.accuracy == pytest.approx(0.9)
    with rasterio.open(path, "r+") as file:
        file.update_tags(PRECISION_0="0.91", PRECISION_2="0.7")
    plan = plan_sample(path, SampleOptions(size=150))
    assert "no test precision of maize" in plan.notes[0]
    assert plan.errors.accuracy.tolist() == [0.91, 0.8, 0.7]


def test_a_raster_without_classes_is_no_map(path: Path) -> None:
    with rasterio.open(path.with_name("plain.tif"), "w", **rasterio.open(path).profile) as file:
        file.write(make_labels()[None])
    with pytest.raises(CropzooError, match="its tags hold no classes"):
        draw(path.with_name("plain.tif"), size=150)


def test_a_region_without_pixels_is_said(path: Path, make_parcels: Callable[..., Path]) -> None:
    shapes = [shapely.box(0, 0, 80, 60), shapely.box(0, 60, 80, 90)]
    plan = plan_sample(
        path, SampleOptions(size=150, accuracy=0.8, regions=make_parcels(shapes, name=["here", "there"]))
    )
    assert plan.notes == ("region 'there' has no pixel with a class in the map",)
