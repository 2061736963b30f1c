"""Features finer than the images: any backbone with stages of transposed convolution behind it."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from torch import Tensor, nn

from cropzoo.config.recipe import SCALES
from cropzoo.errors import UsageError
from cropzoo.models.base import Backbone, Model

_log = logging.getLogger("cropzoo")


WAYS = ("nearest", "bilinear")
"""How logits are brought to labels that are finer."""

_BASE = "base."

_GAIN = 0.1
"""How much of what a stage finds counts at first."""


class Upsampled(Backbone):
    """Features of another backbone on a grid that is 2 or 4 times finer, for labels that are.

    Each stage doubles the grid: transposed convolution (kernel 3, stride 2), batch norm, leaky ReLU, and what comes of
    it is added to the features interpolated bilinearly; the width of the features stays. What stands behind, an
    objective or the backbone's own head, sees the finer features.

    Args:
        backbone: gives features (B, D, H, W).
        scale: 2 for one stage, 4 for two.

    Source: the super-resolution of Tarasiou et al. 2022, arXiv:2104.04310. The interpolated features are ours, and so
    is the gain of the batch norm, which starts at 0.1: a network begins as one whose features are interpolated. Without
    them a few features, such as the class evidence of TSViT, are mixed at random and rectified before the head.
    """

    def __init__(self, backbone: Backbone, scale: int) -> None:
        super().__init__()
        self.base = backbone
        self.scale = scale
        self.out_channels, self.size_multiple = backbone.out_channels, backbone.size_multiple
        self.stages = nn.Sequential(*(_Doubling(self.out_channels) for _ in range(SCALES.index(scale))))

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
        """Dense features, (B, D, scale * H, scale * W); arguments as in `Backbone.forward`."""
        features: Tensor = self.stages(self.base(series, dates, valid))
        return features

    def adapt_weights(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weights with those of the backbone made to fit as it does itself."""
        base = {key.removeprefix(_BASE): value for key, value in state.items() if key.startswith(_BASE)}
        stages = {key: value for key, value in state.items() if not key.startswith(_BASE)}
        return {**_within(self.base.adapt_weights(base)), **stages}

    def make_head(self, classes: int) -> nn.Module:
        """The backbone's own head."""
        return self.base.make_head(classes)


def weights_for(backbone: Backbone, state: Mapping[str, Tensor], upsample: int) -> dict[str, Tensor]:
    """The weights of a backbone, trained at any resolution, by the names that they have at the resolution of another.

    Args:
        backbone: that the weights are for.
        state: the weights; those of stages that `backbone` lacks are left out.
        upsample: of the network that they were trained in.
    """
    trained_finer, wanted_finer = upsample > 1, isinstance(backbone, Upsampled)
    if trained_finer == wanted_finer:
        return dict(state)
    if wanted_finer:
        return _within(state)
    return {key.removeprefix(_BASE): value for key, value in state.items() if key.startswith(_BASE)}


def match_labels(model: Model, logits: int, labels: int, way: str | None) -> Model:
    """The model with its logits brought to the grid of labels that are finer, if asked for.

    Args:
        model: of a checkpoint.
        logits: how many times finer than the images its logits are.
        labels: how many times finer than the images the labels are.
        way: one of `WAYS`: each tile's logits are interpolated by themselves; both grids cover the same ground, and
            beyond the centers of the outermost pixels their values stay. None leaves logits as they are, which scores
            as "nearest" does.

    Raises:
        UsageError: for labels whose grid the logits' does not divide, or logits as fine as the labels with a way given.
    """
    grids = f"logits are {logits} x as fine as the images, the labels {labels} x"
    if labels % logits:
        raise UsageError(f"scoring: {grids}; score it on labels of the resolution of its logits")
    if labels == logits and way is not None:
        raise UsageError(
            f"scoring with upsample {way!r}: {grids}, so there is nothing to enlarge; leave it out, or name finer "
            "labels, such as dataset.label_scale=4 for logits of the resolution of the images"
        )
    if way is None:
        if labels > logits:
            _log.warning("%s: the class of a logit pixel stands for %d x %d labels", grids, *2 * (labels // logits,))
        return model
    found = Model(model.backbone, nn.Sequential(model.head, nn.Upsample(scale_factor=labels // logits, mode=way)))
    found.metadata = model.metadata
    return found.train(model.training)


def _within(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{_BASE}{key}": value for key, value in state.items()}


class _Doubling(nn.Sequential):
    def __init__(self, channels: int) -> None:
        convolution = nn.ConvTranspose2d(channels, channels, kernel_size=3, stride=2, padding=1, output_padding=1)
        norm = nn.BatchNorm2d(channels)
        nn.init.constant_(norm.weight, _GAIN)
        super().__init__(convolution, norm, nn.LeakyReLU(0.01))

    def forward(self, features: Tensor) -> Tensor:
        learnt = features
        for layer in self:
            learnt = layer(learnt)
        return nn.functional.interpolate(features, scale_factor=2, mode="bilinear") + learnt
