"""Super-resolution: backbones followed by transposed convolutions, and logits resized to finer labels."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from cropzoo.config.recipe import SCALES
from cropzoo.errors import UsageError
from cropzoo.models.base import Backbone, Model

_log = logging.getLogger("cropzoo")


UPSAMPLE_MODES = ("nearest", "bilinear")
"""Interpolation modes for logits that are coarser than the labels."""

_BASE = "base."

_GAIN = 0.1
"""Initial weight of the batch norm of a stage."""


class Upsampled(Backbone):
    """Backbone whose features are upsampled 2 or 4 times, for labels that are finer than the images.

    Each stage doubles the resolution: the output of a transposed convolution (kernel 3, stride 2), batch norm and leaky
    ReLU is added to the bilinearly interpolated features. The number of channels is unchanged. Objectives and the
    head receive the upsampled features.

    Args:
        backbone: Backbone with features (B, D, H, W).
        scale: Upsampling factor: 2 for one stage, 4 for two.

    Source: Super-resolution of Tarasiou et al. 2022, arXiv:2104.04310. Differs: the interpolated features are added,
        and the weight of the batch norm starts at 0.1, so that an untrained stage is close to plain interpolation.
        Without this, a few features, such as the class evidence of TSViT, are mixed at random and rectified before the
        head.
    """

    def __init__(self, backbone: Backbone, scale: int) -> None:
        super().__init__()
        self.base = backbone
        self.scale = scale
        self.out_channels, self.size_multiple = backbone.out_channels, backbone.size_multiple
        self.inputs = backbone.inputs
        self.stages = nn.Sequential(*(_UpsampleStage(self.out_channels) for _ in range(SCALES.index(scale))))

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor, **inputs: Any) -> Tensor:
        """Dense features, (B, D, scale * H, scale * W); arguments as in `Backbone.forward`."""
        features: Tensor = self.stages(self.base(series, dates, valid, **inputs))
        return features

    def adapt_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Adapt the weights of the wrapped backbone."""
        base = {key.removeprefix(_BASE): value for key, value in state.items() if key.startswith(_BASE)}
        stages = {key: value for key, value in state.items() if not key.startswith(_BASE)}
        return {**_add_prefix(self.base.adapt_weights(base)), **stages}

    def make_head(self, classes: int) -> nn.Module:
        """Head of the wrapped backbone."""
        return self.base.make_head(classes)


def match_weights(backbone: Backbone, state: Mapping[str, Tensor], upsample: int) -> dict[str, Tensor]:
    """Rename the weights of a backbone that was trained with or without upsampling to the keys of another.

    Args:
        backbone: Backbone that the weights are for.
        state: State dict; weights of stages that `backbone` lacks are dropped.
        upsample: Upsampling factor of the network that the weights were trained in.

    Returns:
        State dict with the keys of `backbone`.
    """
    trained_finer, wanted_finer = upsample > 1, isinstance(backbone, Upsampled)
    if trained_finer == wanted_finer:
        return dict(state)
    if wanted_finer:
        return _add_prefix(state)
    return {key.removeprefix(_BASE): value for key, value in state.items() if key.startswith(_BASE)}


def match_labels(model: Model, logits: int, labels: int, mode: str | None) -> Model:
    """Return a model whose logits have the resolution of the labels.

    Args:
        model: Model of a checkpoint.
        logits: Resolution of the logits as a multiple of that of the images.
        labels: Resolution of the labels as a multiple of that of the images.
        mode: One of `UPSAMPLE_MODES`, applied to each tile separately; values beyond the centers of the outermost
            pixels are constant. None returns the model unchanged, which scores like "nearest".

    Raises:
        UsageError: If the resolution of the labels is not a multiple of that of the logits, or if a mode is given and
            both are equal.
    """
    grids = f"the logits have {logits} x the resolution of the images, the labels {labels} x"
    if labels % logits:
        raise UsageError(f"scoring: {grids}; use labels with the resolution of the logits")
    if labels == logits and mode is not None:
        raise UsageError(
            f"scoring with upsample {mode!r}: {grids}; there is nothing to upsample; omit the option, or choose finer "
            "labels, such as dataset.label_scale=4 for logits with the resolution of the images"
        )
    if mode is None:
        if labels > logits:
            _log.warning(
                "%s: the class of each logit pixel is used for %d x %d labels", grids, *2 * (labels // logits,)
            )
        return model
    found = Model(
        model.backbone, nn.Sequential(model.head, nn.Upsample(scale_factor=labels // logits, mode=mode)), model.dates
    )
    found.temperature, found.metadata = model.temperature, model.metadata
    return found.train(model.training)


def _add_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{_BASE}{key}": value for key, value in state.items()}


class _UpsampleStage(nn.Sequential):
    def __init__(self, channels: int) -> None:
        convolution = nn.ConvTranspose2d(channels, channels, kernel_size=3, stride=2, padding=1, output_padding=1)
        norm = nn.BatchNorm2d(channels)
        nn.init.constant_(norm.weight, _GAIN)
        super().__init__(convolution, norm, nn.LeakyReLU(0.01))

    def forward(self, features: Tensor) -> Tensor:
        residual = features
        for layer in self:
            residual = layer(residual)
        return nn.functional.interpolate(features, scale_factor=2, mode="bilinear") + residual
