"""Base classes of classifiers that are fitted once on frozen features, and of their heads, which are plain tensors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cropzoo.data.batch import Batch
from cropzoo.errors import CropzooError, UsageError
from cropzoo.models.base import Backbone, Objective

LOWEST = 1e-12
"""Probability below which logits do not fall, so that they are finite and calibration works."""

MAX_DEPTH = 64
"""Largest depth of a tree, which bounds the time of a damaged file."""

_CHUNK = 1 << 22
"""Intermediate values that a head computes at a time."""


class InvalidHead(CropzooError):
    """The tensors of a head are not those of a fitted classifier."""


class FittedHead(nn.Module, ABC):
    """Head whose tensors come from a fitted classifier: from features (B, D, H, W) to logits (B, K, H, W).

    The logits are the logarithms of the probabilities.

    Args:
        channels: number of features, D.
        classes: number of classes, K.
        tensors: the tensors of `types`, by name.

    Raises:
        InvalidHead: a tensor is missing, or its values are not those of such a classifier.
    """

    types: ClassVar[Mapping[str, tuple[torch.dtype, int]]]
    """Type and number of axes of each tensor. `columns`, which every head has, lists the features that it uses."""

    columns: Tensor

    def __init__(self, channels: int, classes: int, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.channels, self.classes = channels, classes
        for name, (dtype, _) in self.types.items():
            self.register_buffer(name, torch.zeros(tensors[name].shape, dtype=dtype))
        self.register_load_state_dict_post_hook(_check_loaded)  # type: ignore[no-untyped-call]
        if not any(tensor.is_meta for tensor in tensors.values()):
            self.load_state_dict(dict(tensors))

    @classmethod
    def empty(cls, channels: int, classes: int, shapes: Mapping[str, tuple[int, ...]]) -> FittedHead:
        """A head for tensors of these shapes, into which they are loaded.

        Raises:
            InvalidHead: the shapes are not those of such a head.
        """
        expected = {name: axes for name, (_, axes) in cls.types.items()}
        found = {name: len(shape) for name, shape in shapes.items()}
        if found != expected or any(size < 1 for shape in shapes.values() for size in shape):
            own = ", ".join(expected)
            raise InvalidHead(f"a head of tensors {dict(shapes)!r}; one of {cls.__name__.lower()} has {own}")
        return cls(channels, classes, {name: torch.empty(shape, device="meta") for name, shape in shapes.items()})

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor, by name."""
        return {name: tuple(getattr(self, name).shape) for name in self.types}

    def check_all(self) -> None:
        """Raise `InvalidHead` unless the tensors are those of a fitted classifier."""
        for name in self.types:
            tensor = getattr(self, name)
            self.expect(bool(torch.isfinite(tensor).all()), f"{name} is not finite")
        self.expect(in_range(self.columns, 0, self.channels), "columns are not features of the backbone")
        self.check()

    def expect(self, holds: bool, problem: str) -> None:
        """Raise `InvalidHead` unless `holds`."""
        if not holds:
            raise InvalidHead(f"a head of {type(self).__name__.lower()}: {problem}")

    @abstractmethod
    def check(self) -> None:
        """Check the finite tensors of this kind of head by `expect`, whenever they are loaded.

        What `probabilities` needs to know of their values is found here.
        """

    @abstractmethod
    def probabilities(self, rows: Tensor) -> Tensor:
        """Probability of each class, (N, K), of the features of N pixels, (N, number of `columns`), float32.

        It can be exported: shapes of intermediate values depend on the shapes of `rows` and the tensors only.
        """

    @property
    @abstractmethod
    def values_per_pixel(self) -> int:
        """Number of the largest intermediate values of a pixel, by which pixels are divided into chunks."""

    def forward(self, features: Tensor) -> Tensor:
        """Logits, (B, K, H, W), float32."""
        batch, channels, height, width = features.shape
        rows = features.float().permute(0, 2, 3, 1).reshape(-1, channels).index_select(1, self.columns)
        if torch.compiler.is_compiling():
            found = self.probabilities(rows)
        else:
            size = max(_CHUNK // self.values_per_pixel, 1)
            with torch.autocast(rows.device.type, enabled=False):
                found = torch.cat([self.probabilities(chunk) for chunk in torch.split(rows, size)])
        logits = found.float().clamp(min=LOWEST).log()
        return logits.view(batch, height, width, self.classes).permute(0, 3, 1, 2)


def _check_loaded(head: nn.Module, keys: object) -> None:
    assert isinstance(head, FittedHead)
    head.check_all()


class FittedObjective(Objective):
    """Base class of objectives that fit a classifier to the frozen features of labeled pixels, without gradients.

    They are the last stage of a recipe. A plugin's factory is called with `(backbone, classes, **options)`.

    Attributes:
        max_pixels: largest number of pixels that `fit` receives, drawn evenly from the classes.
        head_type: class of the heads that `fit` returns.
    """

    max_pixels: int = 100_000
    head_type: type[FittedHead]

    @abstractmethod
    def fit(self, features: NDArray[np.float32], labels: NDArray[np.int64], seed: int) -> FittedHead:
        """Fit the classifier.

        Args:
            features: (N, D), finite; N is at least 1.
            labels: (N,), class indices; some classes may be missing, and are then never predicted.
            seed: random seed, at least 0 and below 2**32.

        Returns:
            The head, on the CPU.

        Raises:
            CropzooError: the classifier cannot be fitted to these pixels.
        """

    def empty_head(self, shapes: Mapping[str, tuple[int, ...]]) -> FittedHead:
        """A head into which the tensors of a checkpoint are loaded; errors as in `FittedHead.empty`."""
        return self.head_type.empty(self.backbone.out_channels, self.classes, shapes)

    def __init__(self, backbone: Backbone, classes: int) -> None:
        super().__init__(backbone)
        self.classes = classes

    def forward(self, batch: Batch) -> NoReturn:
        """Raise `UsageError`: a fitted classifier has no loss."""
        raise UsageError(
            f"a loss of {type(self).__name__.lower()}; it is fitted once and has no gradient; use it as the last stage"
        )


def make_forest(
    seed: int,
    *,
    trees: int = 300,
    min_leaf: int = 5,
    class_weight: str | None = "balanced",
    max_leaves: int | None = None,
) -> Any:
    """An unfitted random forest of scikit-learn, for the baseline and the objective "forest" alike.

    On the 8 classes of 2,852 pixels of two real patches, leaves of 5 pixels reach a mean IoU of 71 %, and leaves of one
    pixel, on which class weights have no effect, 63 %.

    Args:
        seed: random seed.
        trees: number of trees.
        min_leaf: smallest number of training pixels in a leaf.
        class_weight: "balanced", or None.
        max_leaves: largest number of leaves of a tree; None for any.
    """
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(
        trees,
        max_depth=MAX_DEPTH,
        min_samples_leaf=min_leaf,
        max_leaf_nodes=max_leaves,
        class_weight=class_weight,
        random_state=seed,
        n_jobs=-1,
    )


def distinct_columns(features: NDArray[np.float32]) -> NDArray[np.int64]:
    """Indices of the features that are neither constant nor equal to an earlier one; the first one if there is none.

    Months without images repeat the months next to them, and would count twice in a distance or a random choice.

    Args:
        features: (N, D).
    """
    seen: dict[bytes, int] = {}
    for index, column in enumerate(features.T):
        if column.max() > column.min():
            seen.setdefault(column.tobytes(), index)
    return np.array(list(seen.values()) or [0], np.int64)


def in_range(tensor: Tensor, low: int, high: int) -> bool:
    """Whether a tensor has values, all of which are at least `low` and below `high`."""
    return tensor.numel() > 0 and bool(((tensor >= low) & (tensor < high)).all())


def precise(tensor: Tensor) -> Tensor:
    """The tensor in double precision, in which scikit-learn computes, where the device has it."""
    return tensor if tensor.device.type == "mps" else tensor.double()
