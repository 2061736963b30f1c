"""From stored numbers to what a network reads, on the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from cropzoo.data.batch import Batch
from cropzoo.errors import CropzooError


class Normalizer(nn.Module):
    """Scale, shift and divide by a dataset's statistics; pick and order bands by name.

    Args:
        given: names of the bands that come in.
        wanted: names of those that go out, in order.
        scale: reflectance of one stored unit.
        mean, std: of the wanted bands, of scaled values.

    Raises:
        CropzooError: when a wanted band is not given, naming the difference; statistics that are not one finite number
            a band, with deviations and scale above 0.
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
    ) -> None:
        super().__init__()
        missing = [band for band in wanted if band not in given]
        if missing:
            raise CropzooError(
                f"the model needs bands {', '.join(wanted)}; the data lack {', '.join(missing)} "
                f"(they have {', '.join(given)}); use data with all of them"
            )
        usable = bool(wanted) and len(mean) == len(std) == len(wanted) and np.isfinite([scale, *mean, *std]).all()
        if not usable or min(scale, *std) <= 0:
            raise CropzooError(
                f"statistics of bands {', '.join(wanted)}; scale {scale!r}, mean {tuple(mean)!r}, std {tuple(std)!r}; "
                "they must be a finite number for each band, scale and std above 0; mend the dataset's statistics"
            )
        self.same = list(given) == list(wanted)
        deviation = torch.tensor(std, dtype=torch.float64)
        self.register_buffer("picks", torch.tensor([list(given).index(band) for band in wanted]), persistent=False)
        self.register_buffer("factor", _per_band(scale / deviation), persistent=False)
        self.register_buffer("shift", _per_band(torch.tensor(mean, dtype=torch.float64) / deviation), persistent=False)

    def forward(self, batch: Batch) -> Batch:
        """The batch with `series` float32 and normalized, zero at invalid dates; the batch given stays as it is."""
        series = batch.series.to(torch.float32)  # first: unsigned 16-bit integers know few operations
        if not self.same:
            series = series.index_select(2, self.picks)
        # One new tensor, then in place: a batch of 60 dates is large, and memory is what limits these operations.
        series = series * self.factor if series is batch.series else series.mul_(self.factor)
        series.sub_(self.shift)
        # Asking whether any date is invalid would make the processor wait for the device; filling costs less there.
        # A graph that is recorded can't ask: it must hold for every batch.
        if series.device.type != "cpu" or torch.compiler.is_compiling() or not bool(batch.valid.all()):
            series.masked_fill_(~batch.valid[:, :, None, None, None], 0.0)
        return replace(batch, series=series)


def _per_band(values: Tensor) -> Tensor:
    return values.to(torch.float32)[None, None, :, None, None]
