"""Samples of some seasons and sites, for transfer from one year or place to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from cropzoo.errors import UsageError
from cropzoo.recipe import Recipe
from cropzoo.samples import Sample


@dataclass(frozen=True)
class Chosen(Sequence[Sample]):
    """Some samples of a split, read when asked for."""

    samples: Sequence[Sample]
    numbers: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, item: Any) -> Any:
        """A sample, or a list of them for a slice."""
        if isinstance(item, slice):
            return [self.samples[number] for number in self.numbers[item]]
        return self.samples[self.numbers[item]]


def season_of(sample: Sample) -> int:
    """The year of its last date: a series from one autumn to the next belongs to the harvest at its end."""
    return int(np.datetime64(int(sample.dates[-1]), "D").astype("datetime64[Y]").astype(int)) + 1970


def site_of(sample: Sample) -> str:
    """Where it is from: the tile that its place names, else its name up to the first "/"."""
    return str(sample.place.get("tile") or sample.name.partition("/")[0])


def choose_for(recipe: Recipe, samples: Sequence[Sample], split: str) -> Sequence[Sample]:
    """The samples of a split in the recipe's seasons and sites: its `test_*` for test, its `train_*` for others."""
    if split == "test":
        return choose(samples, split, recipe.test_years, recipe.test_sites)
    return choose(samples, split, recipe.train_years, recipe.train_sites)


def choose(samples: Sequence[Sample], split: str, years: Sequence[int], sites: Sequence[str]) -> Sequence[Sample]:
    """The samples of these seasons and sites; all where none are named.

    Args:
        samples: of a split; each is opened once if there is something to choose.
        split: its name, for messages.
        years: see `season_of`.
        sites: names or patterns with `*` and `?`; see `site_of`.

    Raises:
        UsageError: when nothing is left, with what there is.
    """
    if not years and not sites:
        return samples
    kept, seen = [], set()
    for number in range(len(samples)):
        sample = samples[number]
        year, site = season_of(sample), site_of(sample)
        seen.add((year, site))
        if (not years or year in years) and (not sites or any(fnmatchcase(site, each) for each in sites)):
            kept.append(number)
    if not kept:
        asked = [f"years {', '.join(map(str, years))}"] * bool(years) + [f"sites {', '.join(sites)}"] * bool(sites)
        found = "; ".join(f"{site} in {year}" for year, site in sorted(seen)[:20])
        raise UsageError(f"split {split!r} of {' and '.join(asked)}; it has no such sample; it has: {found}")
    return Chosen(samples, tuple(kept))
