"""Probabilities of a loaded model for stored values and calendar dates: `Model.predict`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cropzoo.data.batch import Batch
from cropzoo.data.dates import DateOptions, limit_dates, select_clear_dates
from cropzoo.data.loader import Collate
from cropzoo.data.normalize import Normalizer
from cropzoo.data.patches import PatchItem
from cropzoo.data.sample import Sample
from cropzoo.data.units import MIN_PIXELS, clear_values, describe_unit, find_unit
from cropzoo.errors import UsageError
from cropzoo.models.base import Model
from cropzoo.models.checkpoint import Metadata, check_statistics
from cropzoo.models.stored_recipe import mapping_recipe

_WHAT = "model.predict(values, dates)"
_DAYS = tuple((np.datetime64(day) - np.datetime64("1970-01-01")).astype(int) for day in ("1972-07-23", "2099-12-31"))
"""First and last accepted date, days since 1970-01-01: from the launch of the first Landsat."""

_KINDS = "datetime64, datetime.date, or integers that count days since 1970-01-01"
_CHECKED = 16
"""Largest number of series whose unit is checked."""

_FEWEST_PIXELS = 10
"""Smallest number of pixels and dates whose unit is checked."""

_FEW_BANDS_RATIO = 1000
"""Ratio of one or two bands that is not water or shadow."""


def predict(
    model: Model,
    values: ArrayLike | Tensor,
    dates: ArrayLike,
    clear: ArrayLike | None,
    location: ArrayLike | None,
) -> Tensor:
    """See `Model.predict`."""
    metadata, scale = _metadata(model)
    series = _series(values, metadata, model.backbone.size_multiple)
    days, valid = _days(dates, series.shape[:2])
    masks = _clear(clear, series.shape)
    recipe = mapping_recipe(metadata, "the model's recipe")
    sampling = "uniform" if recipe.date_sampling == "random" else recipe.date_sampling
    options = DateOptions(metadata.length, recipe.max_dates, sampling, recipe.min_clear)
    samples = []
    for item, real in enumerate(valid):
        seen = None if masks is None else masks[item][real]
        samples.append(Sample(series[item][real], days[item][real].astype(np.int32), clear=seen))
    _check_unit(samples, metadata, scale)
    batch = replace(_make_batch(samples, options, metadata), location=_location(location, len(series)))
    device = model.device
    statistics = scale, metadata.mean, metadata.std, metadata.normalization
    normalizer = Normalizer(metadata.bands, metadata.bands, *statistics).to(device)
    with torch.inference_mode():
        batch = normalizer(batch.to(device))
        return model.predict_batch(batch).float().softmax(dim=1)


def _metadata(model: Model) -> tuple[Metadata, float]:
    """Metadata of the model's checkpoint, and the reflectance of one stored unit."""
    if not model.metadata:
        raise UsageError(
            f"{_WHAT} of a model without band statistics; load a trained model with cropzoo.load_model, or pass "
            "normalized series and encoded dates to model(series, dates)"
        )
    if model.training:
        raise UsageError(f"{_WHAT} of a model in training mode, whose output is random; call model.eval() first")
    metadata = Metadata.parse(model.metadata, "the model's metadata")
    return metadata, check_statistics(metadata, _WHAT)


def _series(values: ArrayLike | Tensor, metadata: Metadata, multiple: int) -> NDArray[Any]:
    """Stored values, (B, T, C, H, W), in the byte order of the machine."""
    if np.ma.is_masked(values):
        raise UsageError(
            f"{_WHAT} with values that are masked; replace them by a number (values.filled(0)), and mark them False in "
            "clear"
        )
    series = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if series.dtype.kind not in "iuf":
        raise UsageError(f"{_WHAT} with values of type {series.dtype}; give integers or floats as stored")
    if series.ndim == 4:
        series = series[None]
    if series.ndim != 5 or 0 in series.shape:
        raise UsageError(
            f"{_WHAT} with values of shape {series.shape}; give (series, dates, bands, height, width), or "
            "(dates, bands, height, width) for one series"
        )
    bands, height, width = series.shape[2:]
    if bands != len(metadata.bands):
        raise UsageError(
            f"{_WHAT} with values of {bands} bands, shape {series.shape}; this network takes {len(metadata.bands)}: "
            f"{', '.join(metadata.bands)}; give them in this order on the axis before height and width"
        )
    if height % multiple or width % multiple:
        raise UsageError(
            f"{_WHAT} with images of {height} x {width} pixels; this network takes multiples of {multiple} (it was "
            f"trained on {metadata.image_size} x {metadata.image_size}); crop or pad the images"
        )
    return series.astype(series.dtype.newbyteorder("="), copy=False)


def _days(dates: ArrayLike, shape: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Days since 1970-01-01, (B, T), and which of them are dates, (B, T)."""
    found = np.asarray(dates)
    if found.dtype.kind == "O":
        try:
            found = found.astype("datetime64[D]")
        except (TypeError, ValueError) as error:
            raise UsageError(f"{_WHAT} with dates of mixed types ({error}); give {_KINDS}") from None
    if found.dtype.kind not in "Miu":
        raise UsageError(f"{_WHAT} with dates of type {found.dtype}; give {_KINDS}")
    if found.ndim not in (1, 2) or found.shape[-1] != shape[1] or (found.ndim == 2 and len(found) != shape[0]):
        raise UsageError(
            f"{_WHAT} with dates of shape {found.shape} for values of {shape[0]} series with {shape[1]} dates; give "
            f"one date per image, shape {(shape[1],)} or {tuple(shape)}"
        )
    valid = ~np.isnat(found) if found.dtype.kind == "M" else np.ones(found.shape, np.bool_)
    found = found.astype("datetime64[D]") if found.dtype.kind == "M" else found
    days = np.where(valid, found.astype(np.int64), 0)
    days, valid = np.broadcast_to(days, shape), np.broadcast_to(valid, shape)
    if not valid.any(axis=1).all():
        raise UsageError(f"{_WHAT} with a series without a date; leave it out")
    low, high = int(days[valid].min()), int(days[valid].max())
    if low < _DAYS[0] or high > _DAYS[1]:
        raise UsageError(
            f"{_WHAT} with dates from {low} to {high} days since 1970-01-01, outside the years 1972 to 2099; give "
            f"{_KINDS}, not days of the year or numbers such as 20210401"
        )
    if any((np.diff(row[real]) <= 0).any() for row, real in zip(days, valid, strict=True)):
        raise UsageError(f"{_WHAT} with dates that do not increase; sort the images by date, with one image per day")
    return days, valid


def _clear(clear: ArrayLike | None, shape: Sequence[int]) -> NDArray[np.bool_] | None:
    """Mask of clear pixels, (B, T, H, W)."""
    if clear is None:
        return None
    found = np.asarray(clear)
    expected = (*shape[:2], *shape[3:])
    if found.ndim == 3:
        found = found[None]
    if found.dtype != np.bool_ or found.shape != expected:
        raise UsageError(
            f"{_WHAT} with clear of type {found.dtype} and shape {np.shape(clear)}; give booleans of shape {expected}, "
            "False for clouds, shadows and no data"
        )
    return found


def _location(location: ArrayLike | None, count: int) -> Tensor:
    """Latitude and longitude of each series in degrees, (B, 2), float32, NaN if unknown."""
    found = np.asarray((np.nan, np.nan) if location is None else location)
    if found.dtype.kind not in "iuf" or found.shape not in ((2,), (count, 2)):
        raise UsageError(
            f"{_WHAT} with location of type {found.dtype} and shape {found.shape}; give latitude and longitude in "
            f"degrees, shape (2,) or {(count, 2)}, NaN if unknown"
        )
    latitudes, longitudes = np.moveaxis(found, -1, 0)
    if (np.abs(latitudes) > 90).any() or (np.abs(longitudes) > 360).any():
        raise UsageError(
            f"{_WHAT} with location {found.tolist()}; give latitude (-90 to 90) and longitude in degrees, in this order"
        )
    return torch.from_numpy(np.broadcast_to(found, (count, 2)).astype(np.float32))


def _check_unit(samples: Sequence[Sample], metadata: Metadata, scale: float) -> None:
    """Raise `UsageError` if values of a series have another unit than those of the training data.

    Short and small series, such as single pixels, are examined together.
    """
    pixels = [clear_values(sample) for sample in samples[:: -(-len(samples) // _CHECKED)]]
    large = [each for each in pixels if len(each) >= MIN_PIXELS]
    for each in large or [np.concatenate(pixels)]:
        if len(each) >= _FEWEST_PIXELS:
            _check_values(each, metadata, scale)


def _check_values(pixels: NDArray[Any], metadata: Metadata, scale: float) -> None:
    """Raise `UsageError` if values of pixels, (N, C), have another unit than those of the training data."""
    medians, mean = np.median(pixels, axis=0).astype(np.float64), np.array(metadata.mean)
    positive = mean > np.array(metadata.std) / 4
    reflectance, expected = medians[positive] * scale, mean[positive]
    unit = find_unit(medians, metadata.mean, scale)
    tiny = bool((np.abs(reflectance) * 20 < expected).all()) and bool((pixels % 1 != 0).any())
    if (tiny and (unit is None or bool((reflectance < 0).any()))) or (reflectance < -expected / 4).sum() > len(
        expected
    ) / 4:
        raise UsageError(
            f"{_WHAT} with values that look normalized: bands whose training mean is positive are negative or near 0; "
            "give stored values, or pass normalized series and encoded dates to model(series, dates)"
        )
    factor = 1.0 if unit is None else unit / scale
    if max(factor, 1 / factor) < (_FEW_BANDS_RATIO if len(mean) < 3 else 1.1):
        return
    raise UsageError(
        f"{_WHAT} with values about {max(factor, 1 / factor):g} times {'smaller' if factor > 1 else 'larger'} than "
        f"those of the training data, as if they were {describe_unit(scale * factor)}; give them as in training, one "
        f"unit being {scale:g} reflectance: multiply the values by {factor:g}"
    )


def _make_batch(samples: Sequence[Sample], options: DateOptions, metadata: Metadata) -> Batch:
    """The dates of each series that the network uses, as one batch that is padded and not normalized."""
    items = []
    for sample in samples:
        clear = select_clear_dates(sample, options.min_clear)
        chosen = limit_dates(clear, options.limit, options.sampling, np.random.default_rng(0))
        if chosen.series.dtype.kind == "f" and not np.isfinite(chosen.series).all():
            raise UsageError(
                f"{_WHAT} with values that are NaN or infinite; replace them by 0, and mark them False in clear"
            )
        items.append(PatchItem(chosen, first=int(sample.dates[0])))
    return Collate(metadata.dates, options.length, metadata.inputs)(items)
