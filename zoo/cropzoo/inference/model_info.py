"""What a map needs to know of a network, wherever its weights lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cropzoo.config.recipe import DateSampling, PluginChoice, Recipe
from cropzoo.config.short_forms import expand_short_forms
from cropzoo.data.sample import LabelClass
from cropzoo.io import sha256_of
from cropzoo.models.checkpoint import Metadata, check_statistics
from cropzoo.plugins.specs import DateEncoding


def recipe_of(metadata: Metadata, path: Path) -> Recipe:
    """What of the training decides how a map is made; plugins that only training needs are not looked for."""
    trained = expand_short_forms(metadata.recipe, "the checkpoint's recipe")
    read = "max_dates", "date_sampling", "batch_size", "precision"
    kept: dict[str, Any] = {str(key): trained[key] for key in read if key in trained}
    dataset = trained.get("dataset", {})
    if "min_clear" in dataset:
        kept["min_clear"] = dataset["min_clear"]
    parts = {"backbone": metadata.backbone, "dataset": PluginChoice(name="none"), "stages": [{"objective": "none"}]}
    shape = {"length": metadata.length, "image_size": metadata.image_size}
    return Recipe.parse({**parts, **shape, **kept}, f"the recipe of {str(path)!r}")


def facts_of(metadata: Metadata, recipe: Recipe, path: Path, multiple: int) -> Facts:
    """What a map needs to know of a network.

    Args:
        metadata: of its checkpoint.
        recipe: from `recipe_of`.
        path: of its file.
        multiple: that divides the side of a tile.

    Raises:
        UsageError: a checkpoint without band statistics.
    """
    scale = check_statistics(metadata, f"predicting with {str(path)!r}")
    return Facts(
        classes=metadata.classes,
        bands=metadata.bands,
        scale=scale,
        mean=metadata.mean,
        std=metadata.std,
        image_size=metadata.image_size,
        dates=metadata.dates,
        length=metadata.length,
        upsample=metadata.upsample,
        size_multiple=multiple,
        min_clear=recipe.min_clear,
        max_dates=recipe.max_dates,
        date_sampling=recipe.date_sampling,
        batch_size=recipe.batch_size,
        sha256=sha256_of(path),
        source=f"{path.name} ({metadata.backbone.name})",
    )


@dataclass(frozen=True)
class Facts:
    """What a network takes and gives.

    Args:
        classes: by label index.
        bands: that it reads, in order.
        scale: reflectance of one stored unit.
        mean, std: of each band in training, of scaled values.
        image_size: side of the images that it was trained on, px.
        dates: how it reads dates.
        length: dates that it takes; None for any number.
        upsample: how many times finer than the images its answer is.
        size_multiple: divides the sides of the images that it takes.
        fixed_size: it takes images of `image_size` alone.
        min_clear: share of clear pixels that a date of a crop needed in training.
        max_dates: at most so many dates of a crop were used; None for all.
        date_sampling: which ones.
        batch_size: crops a step in training.
        sha256: of the file with the weights.
        source: where they are, and of which network, for people.
    """

    classes: tuple[LabelClass, ...]
    bands: tuple[str, ...]
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: int
    dates: DateEncoding
    length: int | None = None
    upsample: int = 1
    size_multiple: int = 1
    fixed_size: bool = False
    min_clear: float = 0.0
    max_dates: int | None = None
    date_sampling: DateSampling = "uniform"
    batch_size: int = 16
    sha256: str = ""
    source: str = ""


class Predictor(Protocol):
    """A network that maps ask for probabilities.

    Attributes:
        facts: what it takes and gives.
        precision: of its arithmetic, as in a recipe: "32-true", "bf16-mixed" or "16-mixed".
    """

    @property
    def facts(self) -> Facts: ...

    @property
    def precision(self) -> str: ...

    def probabilities(
        self, series: NDArray[Any], dates: NDArray[np.int64], valid: NDArray[np.bool_], first: int
    ) -> NDArray[np.float32]:
        """The probability of each class at each pixel.

        Args:
            series: (B, T, C, S, S), bands as in `facts.bands`, as stored; zero where not valid.
            dates: (B, T), days since 1970-01-01; zero where not valid.
            valid: (B, T), False = padding; every item has a valid date.
            first: the first date of the whole series, used or not, days since 1970-01-01; the encoding "days" counts
                from the September before it.

        Returns:
            (B, K, s * S, s * S), float32, each pixel's with a sum of 1, s = `facts.upsample`.

        Raises:
            CropzooError: memory is short, or the network cannot take images of this size.
        """
        ...
