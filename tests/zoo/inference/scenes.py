"""Tiny images on disk, networks of known reach, and checkpoints with random weights, for tests of maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio import Affine

from cropzoo.data.sample import LabelClass
from cropzoo.inference.model_info import ModelInfo

BANDS = ("B04", "B08")
CLASSES = (LabelClass("wheat", 1, "#ff0000"), LabelClass("maize", 2, "#00ff00"), LabelClass("grass", 3, "#0000ff"))
DAYS = ("2019-03-01", "2019-04-10", "2019-05-16", "2019-06-20", "2019-07-20")
WEST, NORTH, PIXEL = 500_000, 5_600_000, 10


def write_images(
    folder: Path,
    series: NDArray[Any],
    clear: NDArray[np.bool_] | None = None,
    *,
    days: Sequence[str] = DAYS,
    bands: Sequence[str] = BANDS,
    corner: tuple[float, float] = (0, 0),
    crs: str | None = "EPSG:32631",
    prefix: str = "S2",
    **profile: Any,
) -> str:
    """A GeoTIFF a day of a series (T, C, H, W) whose first pixel is at (row, column) `corner`; returns their pattern.

    With `clear` (T, H, W) there is an SCL band: 4 clear, 9 cloud.
    """
    folder.mkdir(parents=True, exist_ok=True)
    row, column = corner
    for index, day in enumerate(days):
        values, names = series[index], list(bands)
        if clear is not None:
            values = np.concatenate([values, np.where(clear[index], 4, 9)[None]])
            names.append("SCL")
        shape = {"count": len(values), "height": values.shape[1], "width": values.shape[2], "dtype": series.dtype}
        place = Affine(PIXEL, 0, WEST + PIXEL * column, 0, -PIXEL, NORTH - PIXEL * row)
        shape |= {"driver": "GTiff", "compress": "deflate", "crs": crs, "transform": place}
        with rasterio.open(folder / f"{prefix}_{day}.tif", "w", **{**shape, **profile}) as target:
            target.write(values.astype(series.dtype))
            for number, name in enumerate(names, start=1):
                target.set_band_description(number, name)
    return f"{folder}/{prefix}_*.tif"


def random_series(height: int, width: int, *, dates: int = len(DAYS), bands: int = 2, seed: int = 0) -> NDArray[Any]:
    """(T, C, H, W), uint16."""
    return np.random.default_rng(seed).integers(200, 6000, (dates, bands, height, width)).astype(np.uint16)


def make_facts(**changes: Any) -> ModelInfo:
    """Properties of a network trained on two bands and windows of 8 pixels."""
    common = ModelInfo(
        classes=CLASSES,
        bands=BANDS,
        scale=1e-4,
        mean=(0.3, 0.3),
        std=(0.2, 0.2),
        image_size=8,
        dates="doy",
        batch_size=4,
        sha256="0" * 64,
        source="model.safetensors (made)",
    )
    return replace(common, **changes)


@dataclass
class Network:
    """A network that sees `reach` pixels around each, nothing beyond its window; it notes what it was shown.

    A class's score at a pixel is a sum over bands and dates, each date with a weight of its own, averaged over the
    square around it.
    """

    facts: ModelInfo = field(default_factory=make_facts)
    reach: int = 0
    precision: str = "32-true"
    shown: list[tuple[Any, ...]] = field(default_factory=list)

    def probabilities(
        self, series: NDArray[Any], dates: NDArray[np.int64], valid: NDArray[np.bool_], first: int, **inputs: Any
    ) -> NDArray[np.float32]:
        self.shown.append((series.shape, dates.copy(), valid.copy(), first))
        return np.stack([self.look(*item) for item in zip(series, dates, valid, strict=True)])

    def look(self, series: NDArray[Any], dates: NDArray[np.int64], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """(K, s * H, s * W) of a series (T, C, H, W) of any size."""
        classes = np.arange(1, 1 + len(self.facts.classes))
        weights = np.cos(dates[:, None, None] * classes[:, None] + np.arange(series.shape[1])) * valid[:, None, None]
        scores = np.einsum("tkc,tchw->khw", weights, series / 3000.0) / valid.sum()
        wide = np.pad(scores, ((0, 0), (self.reach, self.reach), (self.reach, self.reach)))
        side = 2 * self.reach + 1
        near = np.lib.stride_tricks.sliding_window_view(wide, (side, side), axis=(1, 2)).mean(axis=(3, 4))
        fine = near.repeat(self.facts.upsample, axis=1).repeat(self.facts.upsample, axis=2)
        powers = np.exp(5 * fine)
        return (powers / powers.sum(axis=0)).astype(np.float32)


def days_of(days: Sequence[str] = DAYS) -> NDArray[np.int64]:
    """Days since 1970-01-01."""
    return np.array(days, "datetime64[D]").astype(np.int64)


def save_checkpoint(path: Path, backbone: str = "tsvit", seed: int = 0, **changes: Any) -> Path:
    """A checkpoint of a small network with random weights; `changes` replace what its metadata say."""
    import torch

    from cropzoo.models.checkpoint import Metadata
    from cropzoo.models.checkpoint import save_checkpoint as save
    from cropzoo.models.factory import create_model
    from cropzoo.plugins.registry import load_zoo

    options: dict[str, Any] = changes.pop("options", None) or (
        {"dim": 8, "temporal_depth": 1, "spatial_depth": 1, "heads": 2, "head_dim": 4} if backbone == "tsvit" else {}
    )
    size, length, upsample = (
        changes.pop(key, other) for key, other in (("image_size", 8), ("length", None), ("upsample", 1))
    )
    torch.manual_seed(seed)
    zoo = load_zoo()
    model = create_model(
        backbone, in_channels=2, classes=3, image_size=size, length=length, upsample=upsample, zoo=zoo, **options
    )
    about = {
        "backbone": {"name": backbone, "options": options},
        "in_channels": 2,
        "image_size": size,
        "length": length,
        "upsample": upsample,
        "classes": [{"name": each.name, "code": each.code, "color": each.color} for each in CLASSES],
        "bands": BANDS,
        "scale": 1e-4,
        "mean": (0.3, 0.3),
        "std": (0.2, 0.2),
        "dates": zoo.backbones[backbone].spec.dates,
    }
    save(path, model.state_dict(), Metadata.parse({**about, **changes}, "test"))
    return path
