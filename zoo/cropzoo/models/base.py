"""What models and objectives are: the classes that plugins derive from."""

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
    """What an objective returns.

    Args:
        total: scalar; minimized.
        parts: scalars by name; logged.
        logits: (B, K, H, W) or finer, of an objective with a head, so that validation need not compute them again.
    """

    total: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)
    logits: Tensor | None = None


class Backbone(nn.Module, ABC):
    """A network from series to dense features; a plugin's factory is a subclass or returns one.

    The factory is called with keywords `in_channels, classes, image_size, length` and the user's options. Options are
    explicit keyword parameters with defaults, so that an unknown one can be named; no `**kwargs`.

    Attributes:
        out_channels: D, the width of the features.
        size_multiple: divides the height and width that `forward` takes.
    """

    out_channels: int
    size_multiple: int = 1

    @abstractmethod
    def forward(self, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
        """Dense features.

        Args:
            series: (B, T, C, H, W), float32, normalized.
            dates: (B, T), int64, as the spec declares.
            valid: (B, T), bool; what stands at invalid dates never changes the features. Every sample has a valid date.

        Returns:
            (B, D, H, W), D = `out_channels`.
        """

    def adapt_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weights of another network of this kind, made to fit where that can be done; as they are by default.

        Args:
            state: keys and values as in `state_dict`, of a network that may have been built for another size.
        """
        return state

    def make_head(self, classes: int) -> nn.Module:
        """A new module from features (B, D, H, W) to logits (B, classes, H, W); a 1x1 convolution unless overridden."""
        return nn.Conv2d(self.out_channels, classes, kernel_size=1)


class Objective(nn.Module, ABC):
    """A loss that trains a backbone; a plugin's factory is a subclass, called with `(backbone, classes, **options)`.

    `classes` is 0 where the data have no labels.

    Attributes:
        backbone: the network under training, a submodule.
        head: what makes logits of features, where the objective trains one: then it returns its logits and the run
            can be scored. Else None.
    """

    head: nn.Module | None

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = None  # not in the class: torch looks submodules up only where the class has no such attribute

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Refuse a method by its old name, which nothing would call."""
        super().__init_subclass__(**keywords)
        check_renamed(vars(cls), METHODS, f"objective {cls.__name__}")

    def set_class_counts(self, counts: Tensor) -> None:
        """Told once, before training: pixels of each class in the training split, (classes,), int64."""

    @abstractmethod
    def forward(self, batch: Batch) -> Losses:
        """The losses of one batch; zero with a gradient path where nothing in the batch can be learnt from."""


class Model(nn.Module):
    """Backbone and head.

    Attributes:
        metadata: what the checkpoint says of the model, where it was loaded from one.
    """

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.metadata: dict[str, Any] = {}

    def features(self, series: Tensor, dates: Tensor, valid: Tensor | None = None) -> Tensor:
        """Dense features, (B, D, H, W), or finer if made so; `valid` None takes every date as real."""
        if valid is None:
            valid = torch.ones(dates.shape, dtype=torch.bool, device=dates.device)
        features: Tensor = self.backbone(series, dates, valid)
        return features

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor | None = None) -> Tensor:
        """Logits, (B, K, H, W), or finer if the model was made so; arguments as in `Backbone.forward`."""
        logits: Tensor = self.head(self.features(series, dates, valid))
        return logits
