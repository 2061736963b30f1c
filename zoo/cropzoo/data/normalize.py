"""Normalization of stored numbers by band statistics, on the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from cropzoo.data.batch import Batch
from cropzoo.errors import CropzooError
from cropzoo.plugins.specs import Normalization


class Normalizer(nn.Module):
    """Scales and standardizes a series, or only scales it, and selects bands by name.

    Args:
        given: names of the input bands.
        wanted: names of the output bands, in order.
        scale: reflectance of one stored unit.
        mean: mean of each output band, of scaled values.
        std: standard deviation of each output band, of scaled values.
        normalization: "dataset" to standardize by `mean` and `std`, "reflectance" to only scale.

    Raises:
        CropzooError: a wanted band is missing, or the statistics are not one finite number per band with standard
            deviations and scale above 0.
    """

    picks: Tensor
    factor: Tensor
    shift: Tensor

    def __init__(
        self,
        given: Sequence[str],
        wanted: Sequence[str],
        scale: float,
        mean: Sequence[float],
        std: Sequence[float],
        normalization: Normalization = "dataset",
    ) -> None:
        super().__init__()
        missing = [band for band in wanted if band not in given]
        if missing:
            raise CropzooError(
                f"the model needs bands {', '.join(wanted)}; the data lack {', '.join(missing)} "
                f"(available: {', '.join(given)}); use data with all of them"
            )
        usable = bool(wanted) and len(mean) == len(std) == len(wanted) and np.isfinite([scale, *mean, *std]).all()
        if not usable or min(scale, *std) <= 0:
            raise CropzooError(
                f"statistics of bands {', '.join(wanted)}; scale {scale!r}, mean {tuple(mean)!r}, std {tuple(std)!r}; "
                "each band needs a finite number, and scale and std must be above 0; fix the dataset's statistics"
            )
        if normalization == "reflectance":
            mean, std = [0.0] * len(mean), [1.0] * len(std)
        self.same = list(given) == list(wanted)
        self.shifted = any(mean)
        deviation = torch.tensor(std, dtype=torch.float64)
        self.register_buffer("picks", torch.tensor([list(given).index(band) for band in wanted]), persistent=False)
        self.register_buffer("factor", _per_band(scale / deviation), persistent=False)
        self.register_buffer("shift", _per_band(torch.tensor(mean, dtype=torch.float64) / deviation), persistent=False)

    def forward(self, batch: Batch) -> Batch:
        """Return a new batch with `series` float32 and normalized, zero at invalid dates."""
        series = batch.series.to(torch.float32)  # first: unsigned 16-bit integers know few operations
        if not self.same:
            series = series.index_select(2, self.picks)
        # One new tensor, then in place: a batch of 60 dates is large, and memory is what limits these operations.
        series = series * self.factor if series is batch.series else series.mul_(self.factor)
        if self.shifted:
            series.sub_(self.shift)
        # On a device, filling costs less than waiting for the answer whether any date is invalid.
        # An exported graph cannot branch on it: it must hold for every batch.
        if series.device.type != "cpu" or torch.compiler.is_compiling() or not bool(batch.valid.all()):
            series.masked_fill_(~batch.valid[:, :, None, None, None], 0.0)
        return replace(batch, series=series)


def _per_band(values: Tensor) -> Tensor:
    return values.to(torch.float32)[None, None, :, None, None]
