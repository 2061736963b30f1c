"""A plugin for tests: a dataset of four small fields, a backbone of one convolution, and ways to go wrong.

The backbone ends its own process in training step $PLOTS_END_AT (counted over all stages) by signal $PLOTS_SIGNAL,
the dataset ends the process that reads sample $PLOTS_END_READING or the loading process that reads sample
$PLOTS_END_LOADING, and process $PLOTS_SLOW of a distributed run is slow to start.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from cropzoo import Backbone, BackboneSpec, DatasetSpec, LabelClass, Sample, UnknownName, hookimpl, runtime

BANDS = ("B02", "B04", "B08")
CLASSES = ("wheat", "maize", "grass")
SHARES = {"train": (0, 4), "val": (4, 6), "test": (6, 8)}
FLAWS = ("", "nan", "late nan", "one date", "ignored", "no labels", "single pixels", "unsorted", "same date", "memory")

if "PLOTS_START_SECONDS" in os.environ:
    runtime._START_SECONDS, runtime._NOTICE_SECONDS = int(os.environ["PLOTS_START_SECONDS"]), 1


def end_process() -> None:
    """End this process by $PLOTS_SIGNAL."""
    os.kill(os.getpid(), getattr(signal, os.environ.get("PLOTS_SIGNAL", "SIGKILL")))


class Pixelwise(Backbone):
    """The mean of a series over time, through a convolution and dropout."""

    def __init__(
        self,
        in_channels: int,
        classes: int,
        image_size: int,
        length: int | None,
        *,
        width: int = 8,
        dropout: float = 0.2,
        patch_size: int = 3,
    ) -> None:
        super().__init__()
        self.out_channels, self.size_multiple = width, patch_size
        self.net = nn.Sequential(nn.Conv2d(in_channels, width, 3, padding=1), nn.GELU(), nn.Dropout(dropout))
        self.steps = 0

    def forward(self, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
        if self.training:
            self.steps += 1
            if self.steps == int(os.environ.get("PLOTS_END_AT", "0")):
                end_process()
        weight = valid[:, :, None, None, None] / valid.sum(dim=1).clamp(min=1)[:, None, None, None, None]
        features: Tensor = self.net((series * weight).sum(dim=1))
        return features

    def make_head(self, classes: int) -> nn.Module:
        if os.environ.get("PLOTS_SLOW", "none") == os.environ.get("RANK"):
            time.sleep(1)
        return super().make_head(classes)


class Plots:
    """Fields of 24 x 24 px whose crops differ in their mean reflectance.

    Args:
        bands: names, in the order that they are stored.
        classes: names, by index.
        flaw: one of `FLAWS`.
        seed: of the fields.
        root: looked at by nobody.
    """

    scale = 1e-4
    citation = "nobody"

    def __init__(
        self,
        *,
        bands: Sequence[str] = BANDS,
        classes: Sequence[str] = CLASSES,
        flaw: str = "",
        seed: int = 0,
        root: str = "",
    ) -> None:
        if flaw not in FLAWS:
            raise UnknownName("flaw", flaw, FLAWS)
        self.bands, self.flaw, self.seed = tuple(bands), flaw, seed
        self.classes = tuple(LabelClass(name, number + 10, f"#0000{number:02x}") for number, name in enumerate(classes))
        if flaw == "no labels":
            self.classes = ()
        self.mean, self.std = (0.2,) * len(self.bands), (0.1,) * len(self.bands)

    def split(self, name: str) -> Sequence[Sample]:
        if name not in SHARES:
            raise UnknownName("split", name, SHARES)
        return Fields(self, range(*SHARES[name]))


class Fields(Sequence[Sample]):
    """The samples of a split; a "late nan" is in one that no statistics have seen."""

    def __init__(self, plots: Plots, numbers: range) -> None:
        self.plots, self.numbers = plots, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, position):
        number = self.numbers[position]
        if os.environ.get("PLOTS_END_READING") == str(number):
            end_process()
        if os.environ.get("PLOTS_END_LOADING") == str(number) and multiprocessing.parent_process():
            end_process()
        rng = np.random.default_rng((self.plots.seed, number))
        parcels = np.kron(np.arange(1, 17).reshape(4, 4), np.ones((6, 6))).astype(np.int32)
        crop = rng.integers(3, size=17)
        labels = crop[parcels].astype(np.uint8)
        dates = np.arange(17000, 17060, 10 if self.plots.flaw != "one date" else 60, dtype=np.int32)
        order = [sorted({*BANDS, *self.plots.bands}).index(band) for band in self.plots.bands]
        height = 1500 + 700 * np.stack([labels.astype(float) * (band + 1) % 3 for band in order])
        series = height + rng.normal(0, 500, (len(dates), len(order), 24, 24))
        series = series.astype(np.float32)
        if self.plots.flaw in ("nan", "late nan") and number == (5 if self.plots.flaw == "late nan" else 1):
            series[:, :, 3, 3] = np.nan
        if self.plots.flaw == "ignored":  # half of the crops of 12 px have no label
            labels[:12] = 255
        labels[0, :2] = 255
        if self.plots.flaw in ("unsorted", "same date") and number == 1:
            dates[1] = dates[2] + (self.plots.flaw == "unsorted")
        if self.plots.flaw == "memory" and number == 5:
            np.empty(1 << 60, np.uint8)
        if self.plots.flaw == "single pixels":
            series, labels, parcels = series[..., 3:4, 3:4], labels[3:4, 3:4], parcels[3:4, 3:4]
        return Sample(series, dates, labels, parcels, None, f"field-{number}")


@hookimpl
def cropzoo_datasets():
    about = {"summary": "fields for tests", "source": "made up", "license": "MIT"}
    return [DatasetSpec(name="plots", build="plots:Plots", **about)]


@hookimpl
def cropzoo_backbones():
    about = {"summary": "a network for tests", "source": "made up", "license": "MIT"}
    return [BackboneSpec(name="pixelwise", build="plots:Pixelwise", dates="doy", size_multiple=3, **about)]
