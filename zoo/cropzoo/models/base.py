"""Base classes of backbones, objectives and models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from cropzoo.data.batch import Batch
from cropzoo.plugins.renamed import METHODS, check_renamed


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
    detected.

    Attributes:
        out_channels: Number of feature channels, D.
        size_multiple: Divisor of the image height and width that `forward` accepts.
    """

    out_channels: int
    size_multiple: int = 1

    @abstractmethod
    def forward(self, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
        """Compute dense features.

        Args:
            series: Normalized series, (B, T, C, H, W), float32.
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

    @abstractmethod
    def forward(self, batch: Batch) -> Losses:
        """Compute the losses of one batch. The total is zero with a gradient path if the batch has no usable labels."""


class Model(nn.Module):
    """Backbone and head.

    Attributes:
        metadata: Metadata of the checkpoint that the model was loaded from; empty for a new model.
    """

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.metadata: dict[str, Any] = {}

    def features(self, series: Tensor, dates: Tensor, valid: Tensor | None = None) -> Tensor:
        """Dense features, (B, D, H, W), or finer for an upsampled model. If `valid` is None, all dates are valid."""
        if valid is None:
            valid = torch.ones(dates.shape, dtype=torch.bool, device=dates.device)
        features: Tensor = self.backbone(series, dates, valid)
        return features

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor | None = None) -> Tensor:
        """Logits, (B, K, H, W), or finer for an upsampled model; arguments as in `Backbone.forward`."""
        logits: Tensor = self.head(self.features(series, dates, valid))
        return logits
