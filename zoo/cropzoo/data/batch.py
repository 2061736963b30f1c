"""The batch that models and objectives receive."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Batch of series with their labels.

    Args:
        series: (B, T, C, H, W), float32, normalized as the backbone's spec declares; zero at invalid dates.
        dates: (B, T), int64, in the encoding that the backbone's spec declares; zero at invalid dates.
        valid: (B, T), bool, False = padding.
        labels: (B, H, W) (or s times finer), int64, 255 = ignore.
        parcels: (B, H, W) like labels, int64 parcel ids, 0 = none.
        clear: (B, T, H, W), bool, False = cloud, shadow, no data or padding.
        boundary: (B, H, W) like labels, uint8 bits: 1 = the 3 x 3 window contains another class, 2 = it contains
            another parcel, the others the distance to a boundary, see `cropzoo.data.boundary.boundary_bits`; only in
            evaluation.
        sample: (B,), int64, index of each item's sample in its split; only in evaluation.
        location: (B, 2), float32, latitude and longitude of the center of each item in degrees, NaN if unknown; only
            for backbones that declare it.
        padded: Whether any date is invalid, known without reading `valid` from the device.
    """

    series: Tensor
    dates: Tensor
    valid: Tensor
    labels: Tensor | None = None
    parcels: Tensor | None = None
    clear: Tensor | None = None
    boundary: Tensor | None = None
    sample: Tensor | None = None
    location: Tensor | None = None
    padded: bool = True

    def select_inputs(self, names: Iterable[str]) -> dict[str, Any]:
        """The further inputs of a backbone by name, as keywords of its `forward`."""
        return {name: getattr(self, name) for name in names}

    def to(self, device: torch.device | str, non_blocking: bool = True) -> Batch:
        """Copy the batch to a device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """Copy the batch to page-locked memory, for fast copies to a GPU."""
        return self._map(Tensor.pin_memory)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """A batch of the results of a function of each tensor."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        mapped: dict[str, Any] = {name: function(each) for name, each in values.items() if isinstance(each, Tensor)}
        return replace(self, **mapped)
