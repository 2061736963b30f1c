"""Series to compare networks on: random ones of many shapes, and real ones of the data that a model was trained on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.checkpoint import Metadata
from cropzoo.data.items import Item, Key, Tiles
from cropzoo.errors import CropzooError
from cropzoo.opening import open_dataset, open_split
from cropzoo.scoring import scoring_recipe
from cropzoo.zoo import Zoo

SPRING_2018 = 17600
"""A day, since 1970-01-01."""


@dataclass(frozen=True)
class Given:
    """What a graph is given.

    Args:
        series: (B, T, C, H, W), float32, as stored; zero at padding.
        dates: (B, T), int64, days since 1970-01-01; 0 at padding.
        valid: (B, T), bool.
    """

    series: NDArray[np.float32]
    dates: NDArray[np.int64]
    valid: NDArray[np.bool_]

    def by_name(self) -> dict[str, NDArray[Any]]:
        """The inputs by their names."""
        return {"series": self.series, "dates": self.dates, "valid": self.valid}


def random_series(metadata: Metadata, batch: int, length: int, height: int, width: int, seed: int = 0) -> Given:
    """Whole numbers that spread as the model's bands do, at dates that none shares; two in five dates are padding.

    The first sample's dates are all valid where it is not alone. What stands at padding is random too.
    """
    rng = np.random.default_rng((seed, batch, length, height, width))
    shape = (batch, length, metadata.in_channels, height, width)
    mean, std = (np.array(values)[:, None, None] for values in (metadata.mean, metadata.std))
    stored = rng.normal(mean, std, shape) / (metadata.scale or 1.0)
    series = np.rint(stored).astype(np.float32) if (metadata.scale or 1.0) < 0.1 else stored.astype(np.float32)
    days = SPRING_2018 + rng.integers(0, 300) + rng.integers(1, 12, (batch, length)).cumsum(1)
    valid = rng.random((batch, length)) < 0.6
    valid[np.arange(batch), rng.integers(0, length, batch)] = True
    if batch > 1:
        valid[0] = True
    return Given(series, np.where(valid, days, 0), valid)


def random_trials(metadata: Metadata, dynamic: Collection[str], multiple: int) -> list[Given]:
    """Random series of shapes that use what is dynamic: single and many dates, one and several samples, other sizes."""
    side, usual = metadata.image_size, metadata.length or 12
    shapes = [(1, usual, side, side)]
    if "dates" in dynamic:
        shapes += [(1, length, side, side) for length in (1, 5)]
    if "batch" in dynamic:
        shapes.append((3, usual, side, side))
    if "size" in dynamic:
        shapes.append((2, usual, side + multiple, side + 2 * multiple))
    return [random_series(metadata, *shape, seed=number) for number, shape in enumerate(shapes)]


def real_series(metadata: Metadata, zoo: Zoo, split: str = "test", most: int = 4) -> Given:
    """Tiles, spread over a split of the data that a model was trained on, at the dates that scoring would use.

    Raises:
        CropzooError: when the data cannot be had or are not those of the model.
    """
    recipe = scoring_recipe(metadata, zoo, {})
    dataset = open_dataset(zoo, recipe.dataset.name, recipe.dataset.options)
    missing = [band for band in metadata.bands if band not in dataset.bands]
    if missing:
        raise CropzooError(f"the data lack the bands {', '.join(missing)}")
    samples = open_split(dataset, split, zoo.datasets[recipe.dataset.name].spec.splits)
    tiles = Tiles(samples, recipe)
    chosen = np.unique(np.linspace(0, len(tiles) - 1, min(most, len(tiles))).round().astype(int))
    items = [tiles[Key(0, int(position))] for position in chosen]
    return _joined(items, [dataset.bands.index(band) for band in metadata.bands], metadata.length)


def _joined(items: Sequence[Item], picks: Sequence[int], length: int | None) -> Given:
    """Tiles as one batch, padded to the longest or to `length`."""
    longest = length or max(len(item.sample.dates) for item in items)
    height, width = items[0].sample.series.shape[-2:]
    series = np.zeros((len(items), longest, len(picks), height, width), np.float32)
    dates, valid = np.zeros(series.shape[:2], np.int64), np.zeros(series.shape[:2], np.bool_)
    for row, item in enumerate(items):
        count = len(item.sample.dates)
        series[row, :count] = item.sample.series[:, picks]
        dates[row, :count], valid[row, :count] = item.sample.dates, True
    return Given(series, dates, valid)
