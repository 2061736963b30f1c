"""Prediction with a checkpoint in PyTorch; torch is imported when a checkpoint is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from cropzoo.data.dates import encode_dates
from cropzoo.errors import CropzooError, UsageError
from cropzoo.inference.model_info import ModelInfo, Predictor, make_model_info
from cropzoo.plugins.registry import Zoo

__all__ = ["ModelInfo", "Predictor", "TorchPredictor", "open_predictor"]


def open_predictor(path: Path, zoo: Zoo, device: str = "auto", precision: str | None = None) -> Predictor:
    """Open the network in a checkpoint, or in an ONNX file that `cropzoo export` wrote.

    Args:
        path: Path of the file.
        zoo: Plugins to look up the backbone of a checkpoint.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        precision: Precision as in a recipe; None for that of the training, where the device supports it.

    Raises:
        CropzooError: The file cannot be read or holds no band statistics.
        UsageError: The device or the precision is not available.
    """
    if path.suffix == ".onnx":
        from cropzoo.inference.onnx_predictor import OnnxPredictor

        if precision not in (None, "32", "fp32", "32-true"):
            raise UsageError(f"precision {precision!r} for an ONNX file, which computes in 32 bits; leave it out")
        return OnnxPredictor(path, device)
    return TorchPredictor(path, zoo, device, precision)


class TorchPredictor:
    """A checkpoint's network on a device; takes the arguments of `open_predictor`."""

    def __init__(self, path: Path, zoo: Zoo, device: str = "auto", precision: str | None = None) -> None:
        from cropzoo.data.normalize import Normalizer
        from cropzoo.models.checkpoint import read_metadata
        from cropzoo.models.factory import load_weights
        from cropzoo.models.stored_recipe import mapping_recipe
        from cropzoo.runtime import choose_device, choose_precision

        metadata = read_metadata(path)
        recipe = mapping_recipe(metadata, f"the recipe of {str(path)!r}")
        self.device = choose_device(device)
        if precision is not None:
            precision = recipe.parse({**recipe.model_dump(), "precision": precision}, "--precision").precision
        self.precision = choose_precision(recipe.precision, precision, self.device)
        model = load_weights(path, metadata, zoo)
        self.facts = make_model_info(metadata, recipe, path, model.backbone.size_multiple)
        self._model = model.to(self.device)
        facts = self.facts
        statistics = facts.scale, facts.mean, facts.std, facts.normalization
        self._normalizer = Normalizer(facts.bands, facts.bands, *statistics).to(self.device)

    def probabilities(
        self,
        series: NDArray[Any],
        dates: NDArray[np.int64],
        valid: NDArray[np.bool_],
        first: int,
        clear: NDArray[np.bool_] | None = None,
        location: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """See `Predictor.probabilities`."""
        import torch

        from cropzoo.data.batch import Batch

        encoded = np.zeros(dates.shape, np.int64)
        for row, days, real in zip(encoded, dates, valid, strict=True):
            row[real] = encode_dates(days[real].astype(np.int32), self.facts.dates, first)
        batch = Batch(
            torch.from_numpy(series),
            torch.from_numpy(encoded),
            torch.from_numpy(valid),
            clear=None if clear is None else torch.from_numpy(clear),
            location=None if location is None else torch.from_numpy(location),
            padded=not valid.all(),
        ).to(self.device)
        half = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(self.precision)
        try:
            with torch.inference_mode():
                batch = self._normalizer(batch)
                with torch.autocast(self.device.type, half, enabled=half is not None):
                    logits = self._model.predict_batch(batch)
                probabilities = logits.float().softmax(dim=1)
                return cast(NDArray[np.float32], probabilities.cpu().numpy())
        except torch.OutOfMemoryError as error:
            raise CropzooError(
                f"predicting {len(series)} windows of {series.shape[-1]} pixels and {series.shape[1]} dates at a time; "
                f"{str(self.device)!r} is out of memory; use a smaller --batch-size or --tile-size"
            ) from error
