"""Networks for series of torchgeo: convolutional LSTM."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from cropzoo import Backbone, UnknownName, UsageError
from cropzoo_plugins.backbones.general_specs import find_torchgeo_networks
from cropzoo_plugins.layers.checks import check_image, check_sizes, check_widths
from cropzoo_plugins.layers.recurrent import Steps
from cropzoo_plugins.layers.traced_steps import State

NAME = "torchgeo"


def list_models() -> list[str]:
    """Names of the networks of the installed torchgeo that this adapter supports."""
    return list(find_torchgeo_networks())


class TorchGeoModel(Backbone):
    """ConvLSTM of torchgeo. The features are the hidden state after the last valid date of each sample, (B, D, H, W).

    D is the number of state channels of the last layer. All weights belong to the torchgeo module `network`.

    Args:
        in_channels: Number of bands.
        classes: Unused; only the head depends on it.
        image_size: Side of the images in pixels; any size is supported.
        length: Unused; any number of dates is supported.
        model: Name of the network in torchgeo, "convlstm".
        hidden_dim: Number of state channels, one number or a list with one for each layer.
        kernel_size: Kernel size of the convolutions in pixels, an odd number.
        num_layers: Number of layers.

    Raises:
        UnknownName: If this adapter or the installed torchgeo does not have the network.
        UsageError: If an option is out of range.

    Source: torchgeo.models.ConvLSTM, after Shi et al. 2015, arXiv:1506.04214, with the default sizes of its radar
        experiment. Differs: padded dates are excluded, and batches are processed date by date, with the same result.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        image_size: int = 24,
        length: int | None = None,
        model: str = "convlstm",
        hidden_dim: int | Sequence[int] = 64,
        kernel_size: int = 3,
        num_layers: int = 2,
    ) -> None:
        super().__init__()
        if not isinstance(model, str) or model not in list_models():
            raise UnknownName(f"model of {NAME!r}:", model, list_models(), "it must be in the installed torchgeo")
        check_sizes(
            NAME, in_channels=in_channels, classes=classes, image_size=image_size, kernel_size=kernel_size,
            num_layers=num_layers,
        )  # fmt: skip
        if kernel_size % 2 == 0:
            raise UsageError(
                f"kernel_size={kernel_size!r} for {NAME!r}; an even kernel would change the image size; "
                f"use {kernel_size - 1} or {kernel_size + 1}"
            )
        widths = [hidden_dim] * num_layers if isinstance(hidden_dim, int) else hidden_dim
        self.widths = check_widths(NAME, "hidden_dim", widths, num_layers, multiple=1)
        self.out_channels = self.widths[-1]
        # imported here, because torchgeo takes seconds to import
        from torchgeo.models import ConvLSTM

        self.network = ConvLSTM(
            input_dim=in_channels,
            hidden_dim=list(self.widths),
            kernel_size=(kernel_size, kernel_size),
            num_layers=num_layers,
            return_all_layers=True,
        )
        # torchgeo 0.10 added a segmentation head; without it a checkpoint has the same weights in every version
        if hasattr(self.network, "head"):
            del self.network.head

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
        """Compute the hidden state of the last layer after the last valid date of each sample.

        Args:
            series: Normalized series, (B, T, C, H, W), float32.
            dates: Unused, (B, T), int64; only the order of the dates matters.
            valid: Mask of valid dates, (B, T), bool; False marks padding.

        Returns:
            Features, (B, D, H, W).
        """
        check_image(NAME, *series.shape[-2:])
        steps = Steps.of(valid)
        start = tuple(steps.create_state(series, width) for width in self.widths for _ in ("hidden", "cell"))
        hidden, _ = steps.recur(self._step, steps.gather(series), start)[-2:]
        return hidden

    def _step(self, images: Tensor, state: State, step: int | Tensor) -> State:
        """Hidden and cell states of all layers, alternating, after one more date, (n, C, H, W)."""
        before = list(zip(state[::2], state[1::2], strict=True))
        # since torchgeo 0.10 forward returns the logits of the head, and forward_features returns the states
        features = getattr(self.network, "forward_features", self.network)
        _, after = features(images[:, None], before)
        return tuple(each for layer in after for each in layer)
