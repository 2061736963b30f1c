"""What a loader reads: random crops for training, covering tiles for evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset as TorchDataset

from cropzoo.boundary import boundary_bits
from cropzoo.data.dates import at_most, drop_dates, keep_clear
from cropzoo.data.windows import Tile, cover, cut, ignore_seen, turn
from cropzoo.errors import CropzooError
from cropzoo.recipe import Recipe
from cropzoo.samples import IGNORE, Sample


class Key(NamedTuple):
    """Which item of which epoch; a repeated one only fills up a process's share and is not counted in evaluation."""

    epoch: int
    position: int
    repeated: bool = False


@dataclass(frozen=True)
class Item:
    """A cut-out with, in evaluation, the boundary bits of its labels and the number of its sample."""

    sample: Sample
    boundary: NDArray[np.uint8] | None = None
    number: int = -1


class Crops(TorchDataset[Item]):
    """Random crops over every offset, turned and thinned at random; an epoch cuts as many as tiles would cover.

    Args:
        samples: the training split.
        recipe: sizes, dates and turns.
        stream: numbers that set this stage's random choices apart from another's.
    """

    def __init__(self, samples: Sequence[Sample], recipe: Recipe, stream: Sequence[int]) -> None:
        self.samples, self.recipe, self.stream = samples, recipe, tuple(stream)
        self.owners = [number for number in range(len(samples)) for _ in cover(samples[number], recipe.image_size)]

    def __len__(self) -> int:
        return len(self.owners)

    def __getitem__(self, key: Key) -> Item:
        recipe = self.recipe
        rng = np.random.default_rng((*self.stream, key.epoch, key.position))
        sample = self.samples[self.owners[key.position]]
        height, width = sample.series.shape[-2:]
        row = rng.integers(max(height - recipe.image_size, 0) + 1)
        column = rng.integers(max(width - recipe.image_size, 0) + 1)
        crop = cut(sample, int(row), int(column), recipe.image_size)
        crop = drop_dates(keep_clear(crop, recipe.min_clear), recipe.date_drop, rng)
        crop = at_most(crop, _most(recipe), recipe.date_sampling, rng)
        if recipe.turns:
            crop = turn(crop, int(rng.integers(8)))
        return Item(_checked(crop))


class Tiles(TorchDataset[Item]):
    """Tiles that cover every sample, each labelled pixel once; the same dates at every call.

    Args:
        samples: the split.
        recipe: sizes and dates; "random" sampling of dates is replaced by "uniform".
    """

    def __init__(self, samples: Sequence[Sample], recipe: Recipe) -> None:
        self.samples, self.recipe = samples, recipe
        self.places: list[tuple[int, Tile]] = [
            (number, tile) for number in range(len(samples)) for tile in cover(samples[number], recipe.image_size)
        ]
        self._bits: tuple[int, NDArray[np.uint8]] | None = None

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, key: Key) -> Item:
        recipe = self.recipe
        number, tile = self.places[key.position]
        sample = self.samples[number]
        crop = keep_clear(cut(sample, tile.row, tile.column, recipe.image_size), recipe.min_clear)
        sampling = "uniform" if recipe.date_sampling == "random" else recipe.date_sampling
        crop = at_most(crop, _most(recipe), sampling, np.random.default_rng(0))
        if sample.labels is None or crop.labels is None:
            return Item(_checked(crop), number=number)
        scale = sample.label_scale
        labels = ignore_seen(crop.labels, tile, scale)
        if key.repeated:
            labels = np.full_like(labels, IGNORE)
        bits = cut(
            replace(sample, labels=self._boundary(number, sample)), tile.row, tile.column, recipe.image_size
        ).labels
        return Item(_checked(replace(crop, labels=labels)), bits, number)

    def _boundary(self, number: int, sample: Sample) -> NDArray[np.uint8]:
        """Bits of the whole sample, so that a tile's edge sees its neighbours; kept for the tiles that follow."""
        if self._bits is None or self._bits[0] != number:
            assert sample.labels is not None
            parcels = None if sample.parcels is None else np.asarray(sample.parcels)
            self._bits = (number, boundary_bits(np.asarray(sample.labels), parcels))
        return self._bits[1]


def _most(recipe: Recipe) -> int | None:
    """The most dates of an item: asked for by the user, or all that a fixed-length network takes."""
    limits = [limit for limit in (recipe.max_dates, recipe.length) if limit is not None]
    return min(limits) if limits else None


def _checked(sample: Sample) -> Sample:
    """Refuse what would turn a whole run into NaN."""
    series: NDArray[Any] = sample.series
    if np.issubdtype(series.dtype, np.floating) and not np.isfinite(series).all():
        raise CropzooError(
            f"sample {sample.name!r} holds NaN or infinity in its series; replace it by a number and mark it in `clear`"
        )
    return sample
