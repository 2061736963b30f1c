"""The properties of a network that mapping needs, and the interface of predictors."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cropzoo.config.recipe import DateSampling, Recipe
from cropzoo.data.model_scores import ModelScores, scores_of
from cropzoo.data.sample import LabelClass
from cropzoo.io import sha256_of
from cropzoo.models.checkpoint import Metadata, check_statistics
from cropzoo.plugins.specs import BackboneInput, DateEncoding, Normalization


def make_model_info(metadata: Metadata, recipe: Recipe, path: Path, multiple: int) -> ModelInfo:
    """The properties of a network.

    Args:
        metadata: Metadata of its checkpoint.
        recipe: Recipe from `cropzoo.models.stored_recipe.mapping_recipe`.
        path: Path of its file.
        multiple: Number that must divide height and width.

    Raises:
        UsageError: The checkpoint has no band statistics.
    """
    scale = check_statistics(metadata, f"predicting with {str(path)!r}")
    return ModelInfo(
        classes=metadata.classes,
        bands=metadata.bands,
        scale=scale,
        mean=metadata.mean,
        std=metadata.std,
        image_size=metadata.image_size,
        dates=metadata.dates,
        inputs=metadata.inputs,
        normalization=metadata.normalization,
        length=metadata.length,
        upsample=metadata.upsample,
        size_multiple=multiple,
        min_clear=recipe.min_clear,
        max_dates=recipe.max_dates,
        date_sampling=recipe.date_sampling,
        batch_size=recipe.batch_size,
        sha256=sha256_of(path),
        source=f"{path.name} ({metadata.backbone.name})",
        pixel_size=metadata.pixel_size,
        clear_scl=metadata.clear_scl,
        offset=metadata.offset,
        scores=scores_of(metadata.model_dump(include={"scores", "backbone", "dataset"})),
    )


@dataclass(frozen=True)
class ModelInfo:
    """Properties of a network.

    Args:
        classes: Classes by label index.
        bands: Names of the bands that it reads, in order.
        scale: Reflectance of one stored unit.
        mean: Mean of each band in training, reflectance.
        std: Standard deviation of each band in training, reflectance.
        image_size: Side of the training images, px.
        dates: Date encoding.
        inputs: Further inputs.
        normalization: Values of the series that it receives.
        length: Number of dates that it takes; None for any number.
        upsample: Factor by which its output is finer than the images.
        size_multiple: Number that must divide height and width.
        fixed_size: Whether it takes images of `image_size` only.
        min_clear: Minimum share of clear pixels of a date in training.
        max_dates: Maximum number of dates in training; None for all.
        date_sampling: Selection of dates where there are more.
        batch_size: Crops per step in training.
        sha256: SHA-256 of the file with the weights.
        source: Name of the file and of the backbone, for messages.
        pixel_size: Side of the training images' pixels, m; None if unknown.
        clear_scl: Classes of the SCL band that were clear in training; None if unknown.
        offset: Offset that was given for the training images; None if each file's own was subtracted.
        scores: Test scores of the network and of its baseline.
    """

    classes: tuple[LabelClass, ...]
    bands: tuple[str, ...]
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: int
    dates: DateEncoding
    inputs: tuple[BackboneInput, ...] = ()
    normalization: Normalization = "dataset"
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
    pixel_size: float | None = None
    clear_scl: tuple[int, ...] | None = None
    offset: int | None = None
    scores: ModelScores = field(default_factory=ModelScores)


class Predictor(Protocol):
    """A network that predicts probabilities.

    Attributes:
        facts: Properties of the network.
        precision: Numerical precision, as in a recipe: "32-true", "bf16-mixed" or "16-mixed".
    """

    @property
    def facts(self) -> ModelInfo: ...

    @property
    def precision(self) -> str: ...

    def probabilities(
        self,
        series: NDArray[Any],
        dates: NDArray[np.int64],
        valid: NDArray[np.bool_],
        first: int,
        clear: NDArray[np.bool_] | None = None,
        location: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Predict the probability of each class at each pixel.

        Args:
            series: (B, T, C, S, S), pixel values in the unit of the training data, bands as in `facts.bands`; zero
                where not valid.
            dates: (B, T), int64, days since 1970-01-01; zero where not valid.
            valid: (B, T), bool, False for padding; every item has a valid date.
            first: First date of the complete series, used or not, days since 1970-01-01; the origin of the encoding
                "days" is the last 1 September on or before it.
            clear: (B, T, S, S), bool, False for clouds, shadows and no data; None if all pixels are clear. Only read by
                a network with this input.
            location: (B, 2), latitude and longitude of the center in degrees, NaN if unknown. Only read by a network
                with this input.

        Returns:
            (B, K, s * S, s * S), float32, with a sum of 1 at each pixel, s = `facts.upsample`.

        Raises:
            CropzooError: The device is out of memory, or the network does not accept the size of the images.
        """
        ...
