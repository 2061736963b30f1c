"""Base classes of backbones, objectives and models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, get_args

import torch
from torch import Tensor, nn

from cropzoo.data.batch import Batch
from cropzoo.errors import UsageError, warn_once
from cropzoo.plugins.renamed import METHODS, check_renamed
from cropzoo.plugins.specs import BackboneInput, DateEncoding

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_DATE_RANGES = {
    "doy": (0, 366, "days of the year, 1 to 366"),
    "days": (0, 3660, "days since 1 September, 0 to 3660"),
    "epoch": (0, 47481, "days since 1970-01-01, up to the year 2099"),
}
"""Smallest and largest encoded date, and their description. Padding may be 0; no series is longer than ten years."""

_MAX_NORMALIZED = 100
"""Standard deviations that no normalized series differs by from the mean in most of its values."""


@dataclass(frozen=True)
class Losses:
    """Losses of one batch, as returned by an objective.

    Args:
        total: Loss to minimize, a scalar.
        parts: Further scalars to log, by name.
        logits: Logits of an objective with a head, (B, K, H, W) or finer, which validation reuses.
    """

    total: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)
    logits: Tensor | None = None


class Backbone(nn.Module, ABC):
    """Base class of networks that map a series to dense features. A plugin's factory is a subclass or returns one.

    The factory is called with the keywords `in_channels`, `classes`, `image_size` and `length`, and the user's
    options. Options are explicit keyword parameters with defaults, not `**kwargs`, so that unknown options are
    detected. A factory with a parameter `bands` receives the names of the bands of the series, in order, or None.

    Attributes:
        out_channels: Number of feature channels, D.
        size_multiple: Divisor of the image height and width that `forward` accepts.
        inputs: Further inputs that its spec declares; set by cropzoo.
    """

    out_channels: int
    size_multiple: int = 1
    inputs: tuple[BackboneInput, ...] = ()

    @abstractmethod
    def forward(self, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
        """Compute dense features.

        A network whose spec declares further inputs takes these as keywords, each of which may be missing:
        `forward(series, dates, valid, *, clear=None, padded=True, location=None)`. They are `clear` (B, T, H, W) bool,
        False for clouds, shadows and no data, of any value at invalid dates, None if all pixels are clear; `padded`
        bool, whether any date is invalid; and `location` (B, 2) float32, latitude and longitude in degrees, NaN or
        None if unknown.

        Args:
            series: Series, (B, T, C, H, W), float32: standardized, or reflectance if the spec's `normalization` says
                so.
            dates: Dates in the encoding of the spec, (B, T), int64.
            valid: Mask of valid dates, (B, T), bool; False marks padding, whose values must not affect the features.
                Each sample has at least one valid date.

        Returns:
            Features, (B, D, H, W), with D = `out_channels`.
        """

    def adapt_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Adapt the weights of a network of this class that was built for another size. Unchanged by default.

        Args:
            state: State dict of the other network.

        Returns:
            State dict, resized where the network supports it.
        """
        return state

    def make_head(self, classes: int) -> nn.Module:
        """Build a head from features (B, D, H, W) to logits (B, classes, H, W); a 1x1 convolution by default."""
        return nn.Conv2d(self.out_channels, classes, kernel_size=1)


class Objective(nn.Module, ABC):
    """Base class of losses that train a backbone. A plugin's factory is called with `(backbone, classes, **options)`.

    `classes` is 0 if the data have no labels.

    Attributes:
        backbone: Backbone to train, a submodule.
        head: Head from features to logits, or None. An objective with a head returns its logits with the losses, and a
            run that ends with it can be scored.
    """

    head: nn.Module | None

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = (
            None  # not a class attribute: torch finds submodules only where the class has no attribute of that name
        )

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Reject methods with names of version 0.1, which would never be called."""
        super().__init_subclass__(**keywords)
        check_renamed(vars(cls), METHODS, f"objective {cls.__name__}")

    def set_class_counts(self, counts: Tensor) -> None:
        """Receive the number of training pixels of each class, (classes,), int64. Called once before training."""

    def features(self, batch: Batch) -> Tensor:
        """Dense features of the backbone for a batch, (B, D, H, W), with all inputs that it declares."""
        inputs = batch.select_inputs(self.backbone.inputs)
        features: Tensor = self.backbone(batch.series, batch.dates, batch.valid, **inputs)
        return features

    @abstractmethod
    def forward(self, batch: Batch) -> Losses:
        """Compute the losses of one batch. The total is zero with a gradient path if the batch has no usable labels."""


class Model(nn.Module):
    """Backbone and head.

    `predict` takes stored values and calendar dates. Calling the model takes normalized series and encoded dates, as
    training does.

    Args:
        backbone: Backbone.
        head: Head from features to logits.
        dates: Date encoding of the backbone; None if unknown, so that dates are not checked.

    Attributes:
        temperature: Divisor of the logits: 1, or what `cropzoo calibrate` stored in the checkpoint.
        metadata: Metadata of the checkpoint that the model was loaded from; empty for a new model.
    """

    def __init__(self, backbone: Backbone, head: nn.Module, dates: DateEncoding | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.dates = dates
        self.temperature = 1.0
        self.metadata: dict[str, Any] = {}

    @property
    def device(self) -> torch.device:
        """Device of the model, also of one without parameters."""
        tensors = chain(self.parameters(), self.buffers())
        return next((tensor.device for tensor in tensors), torch.device("cpu"))

    def predict(
        self,
        values: ArrayLike | Tensor,
        dates: ArrayLike,
        clear: ArrayLike | None = None,
        location: ArrayLike | None = None,
    ) -> Tensor:
        """Predict the probability of each class at each pixel, as `cropzoo predict` does within one window.

        Values are normalized by the statistics of the checkpoint. Dates that the training would leave out (too few
        clear pixels, or more dates than its maximum) are left out.

        Args:
            values: (B, T, C, H, W), or (T, C, H, W) for one series: pixel values in the unit of the training data, with
                the bands of `metadata["bands"]` in this order. Integers or floats, without NaN.
            dates: (T,) for all series or (B, T), increasing: datetime64, `datetime.date`, or integers that count days
                since 1970-01-01. NaT after the last date of a series marks padding.
            clear: (B, T, H, W), or (T, H, W) for one series: bool, False = cloud, shadow or no data. None if unknown,
                which keeps all dates.
            location: (2,) for all series or (B, 2): latitude and longitude of the center in degrees, NaN or None if
                unknown; only read by networks that use it.

        Returns:
            (B, K, H, W), or finer for an upsampled model: float32, with a sum of 1 at each pixel, on the device of the
            model. The temperature of a calibrated checkpoint is applied.

        Raises:
            UsageError: The model was not loaded from a checkpoint with statistics or is in training mode, or shapes,
                number of bands, dates or the unit of the values do not fit.
        """
        from cropzoo.models.predict import predict  # reads checkpoints, which need this module

        return predict(self, values, dates, clear, location)

    def features(self, series: Tensor, dates: Tensor, valid: Tensor | None = None, **inputs: Any) -> Tensor:
        """Dense features, (B, D, H, W), or finer for an upsampled model; arguments as in `forward`."""
        if valid is None:
            valid = torch.ones(dates.shape, dtype=torch.bool, device=dates.device)
            inputs = {**inputs, "padded": False}
        declared = {name: inputs[name] for name in self.backbone.inputs if name in inputs}
        features: Tensor = self.backbone(series, dates, valid, **declared)
        return features

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor | None = None, **inputs: Any) -> Tensor:
        """Logits divided by the temperature, (B, K, H, W), or finer for an upsampled model.

        Args:
            series: As in `Backbone.forward`.
            dates: As in `Backbone.forward`.
            valid: As in `Backbone.forward`; None if all dates are valid.
            inputs: `clear`, `padded` and `location` as in `Backbone.forward`; the backbone receives those that it
                declares.

        Raises:
            UsageError: `series` or `dates` have the wrong type, or, on the CPU, a date is outside the encoding.
                Compiled and exported models do not check.
        """
        if not torch.compiler.is_compiling():
            self._check_inputs(series, dates, inputs)
        logits: Tensor = self.head(self.features(series, dates, valid, **inputs))
        return logits if self.temperature == 1 else logits.float() / self.temperature

    def predict_batch(self, batch: Batch) -> Tensor:
        """Logits of a batch, as `forward` returns them."""
        logits: Tensor = self(batch.series, batch.dates, batch.valid, **batch.select_inputs(self.backbone.inputs))
        return logits

    def _check_inputs(self, series: Tensor, dates: Tensor, inputs: Mapping[str, Any]) -> None:
        """Raise `UsageError` for input that is not normalized or not encoded, without waiting for a device."""
        if unknown := [name for name in inputs if name not in get_args(BackboneInput)]:
            raise UsageError(
                f"model(series, dates, valid) with {unknown[0]!r}; further inputs are "
                f"{', '.join(get_args(BackboneInput))}"
            )
        if not series.is_floating_point():
            raise UsageError(
                f"model(series, dates) with a series of {_dtype(series)}; it takes normalized floats; "
                "pass stored values and calendar dates to model.predict(values, dates)"
            )
        if dates.is_floating_point() or dates.is_complex() or dates.dtype == torch.bool:
            raise UsageError(
                f"model(series, dates) with dates of {_dtype(dates)}; encoded dates are integers (int64); "
                "pass calendar dates to model.predict(values, dates)"
            )
        if series.device.type == "cpu" and series[:1, ..., ::4, ::4].detach().abs().median() > _MAX_NORMALIZED:
            warn_once(
                f"model(series, dates) with most values beyond {_MAX_NORMALIZED}, which are not normalized; the output "
                "is meaningless; pass stored values and calendar dates to model.predict(values, dates)"
            )
        if self.dates not in _DATE_RANGES or dates.device.type != "cpu" or not dates.numel():
            return
        low, high, expected = _DATE_RANGES[self.dates]
        first, last = (int(value) for value in dates.aminmax())
        if first < low or last > high:
            raise UsageError(
                f"model(series, dates) with dates from {first} to {last}; this network takes {expected}; "
                "pass calendar dates to model.predict(values, dates)"
            )


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
