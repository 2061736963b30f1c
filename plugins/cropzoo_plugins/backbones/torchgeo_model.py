"""Networks for series that torchgeo brings: its convolutional LSTM."""

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
    """The networks of the installed torchgeo that this adapter knows."""
    return list(find_torchgeo_networks())


class TorchGeoModel(Backbone):
    """Dense features: the hidden state of torchgeo's ConvLSTM after each sample's last valid date, (B, D, H, W).

    D is the hidden width of the last layer. All weights are torchgeo's own modules', under "network".

    Args:
        in_channels: bands of the series.
        classes: unused, the head alone knows them.
        image_size: side in pixels; any will do.
        length: unused, any number of dates will do.
        model: name of the network in torchgeo, "convlstm".
        hidden_dim: width of the hidden state, one number or a list with one for each layer.
        kernel_size: side of the convolutions' kernel in pixels, an odd number.
        num_layers: layers, each reading the hidden states of the one before.

    Raises:
        UnknownName: for a network that this adapter, or the installed torchgeo, does not have.
        UsageError: for an option out of its range.

    Source: torchgeo.models.ConvLSTM, after Shi et al. 2015, arXiv:1506.04214, whose default sizes are those of its
        radar experiment. Differs: padded dates are left out, and a batch is read date by date, which changes no number.
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
                f"kernel_size={kernel_size!r} for {NAME!r}; an even kernel would change the image's size; "
                f"use {kernel_size - 1} or {kernel_size + 1}"
            )
        widths = [hidden_dim] * num_layers if isinstance(hidden_dim, int) else hidden_dim
        self.widths = check_widths(NAME, "hidden_dim", widths, num_layers, multiple=1)
        self.out_channels = self.widths[-1]
        # here, for torchgeo takes seconds to import
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
        """The last layer's hidden state after each sample's last valid date.

        Args:
            series: (B, T, C, H, W), float32, normalized.
            dates: (B, T), int64; not read, their order counts alone.
            valid: (B, T), bool, False = padding.

        Returns:
            (B, D, H, W).
        """
        check_image(NAME, *series.shape[-2:])
        steps = Steps.of(valid)
        start = tuple(steps.create_state(series, width) for width in self.widths for _ in ("hidden", "cell"))
        hidden, _ = steps.recur(self._step, steps.gather(series), start)[-2:]
        return hidden

    def _step(self, images: Tensor, state: State, step: int | Tensor) -> State:
        """The hidden and cell state of every layer, in turns, after one more date, (n, C, H, W)."""
        before = list(zip(state[::2], state[1::2], strict=True))
        # since torchgeo 0.10 forward returns the logits of the head, and forward_features returns the states
        features = getattr(self.network, "forward_features", self.network)
        _, after = features(images[:, None], before)
        return tuple(each for layer in after for each in layer)
