"""Features finer than the images: any backbone with stages of transposed convolution behind it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from cropzoo.contracts import Backbone

SCALES = (1, 2, 4)
"""How many times finer than the images features can be."""

_BASE = "base."


class Upsampled(Backbone):
    """Features of another backbone on a grid that is 2 or 4 times finer, for labels that are.

    Each stage doubles the grid: transposed convolution (kernel 3, stride 2), batch norm, leaky ReLU; the width of the
    features stays. What stands behind, an objective or the backbone's own head, sees the finer features.

    Args:
        backbone: gives features (B, D, H, W).
        scale: 2 for one stage, 4 for two.

    Source: the super-resolution of Tarasiou et al. 2022, arXiv:2104.04310.
    """

    def __init__(self, backbone: Backbone, scale: int) -> None:
        super().__init__()
        self.base = backbone
        self.scale = scale
        self.out_channels, self.size_multiple = backbone.out_channels, backbone.size_multiple
        self.stages = nn.Sequential(*(_doubling(self.out_channels) for _ in range(SCALES.index(scale))))

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
        """The backbone's own head; a 1x1 convolution where that only passes its features on as logits.

        Features behind a leaky ReLU are no logits.
        """
        head = self.base.make_head(classes)
        return nn.Conv2d(self.out_channels, classes, kernel_size=1) if isinstance(head, nn.Identity) else head


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


def _within(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{_BASE}{key}": value for key, value in state.items()}


def _doubling(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(channels, channels, kernel_size=3, stride=2, padding=1, output_padding=1),
        nn.BatchNorm2d(channels),
        nn.LeakyReLU(0.01),
    )
