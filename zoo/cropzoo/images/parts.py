"""Reading what one file holds of a window: raw pixels, brought to the tile's grid, without nodata and offset."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.errors import CropzooError
from cropzoo.images.handles import OpenFiles
from cropzoo.images.layers import Layer
from cropzoo.images.rasters import Grid
from cropzoo.images.resampling import Axis, interpolate, make_axis, pick_nearest
from cropzoo.regions import Window

Lost = NDArray[np.bool_] | None
"""Where there is no data; None if nowhere."""


@dataclass(frozen=True)
class Part:
    """Bands of one file.

    Args:
        layers: of the bands.
        channels: where each goes in the result.
        fine: the tile's grid.
        offsets: to take off the stored numbers, for each.
        nodata: of each, as a number of its type; None if it has none.
    """

    layers: tuple[Layer, ...]
    channels: tuple[int, ...]
    fine: Grid
    offsets: tuple[int, ...]
    nodata: tuple[Any, ...]

    def read(self, files: OpenFiles, window: Window, out: NDArray[Any]) -> Lost:
        """Writes the bands to `out` (C, H, W) and says where any has no data, (H, W); there it is 0.

        Raises:
            CropzooError: a file that cannot be read or holds NaN that it does not declare.
        """
        if _same_pixels(self.layers[0].grid, self.fine):
            return self._read_plain(files, window, out)
        return self._read_coarse(files, window, out)

    def _read_plain(self, files: OpenFiles, window: Window, out: NDArray[Any]) -> Lost:
        stored = np.dtype(self.layers[0].dtype)
        first, count = self.channels[0], len(self.channels)
        in_place = self.channels == tuple(range(first, first + count)) and out.itemsize == stored.itemsize
        if in_place:
            # Same size, perhaps another sign: GDAL writes right into the result, and the offset is taken off there.
            values = out[first : first + count]
            raw = self._read_raw(files, window, values.view(stored))
        else:
            raw = self._read_raw(files, window)
            values = np.empty(raw.shape, out.dtype)
        lost = self._lost(files, window, raw)
        _take_off(raw, self.offsets, values)
        if lost is not None:
            values[lost] = 0
        if not in_place:
            out[list(self.channels)] = values
        return _in_any_band(lost)

    def _read_coarse(self, files: OpenFiles, window: Window, out: NDArray[Any]) -> Lost:
        rows, columns = axes(self.layers[0].grid, self.fine, window)
        coarse = span(rows, columns)
        raw = self._read_raw(files, coarse)
        lost = self._lost(files, coarse, raw)
        values = interpolate(raw, lost, rows, columns)
        values -= np.asarray(self.offsets, values.dtype)[:, None, None]
        if out.dtype.kind in "iu":
            limits = np.iinfo(out.dtype)
            np.clip(np.rint(values, out=values), limits.min, limits.max, out=values)
        gone = None if lost is None else pick_nearest(lost, rows, columns)
        if gone is not None:
            values[gone] = 0
        out[list(self.channels)] = values
        return _in_any_band(gone)

    def _read_raw(self, files: OpenFiles, window: Window, out: NDArray[Any] | None = None) -> NDArray[Any]:
        return files.read(self.layers[0].path, [layer.number for layer in self.layers], window, out)

    def _lost(self, files: OpenFiles, window: Window, raw: NDArray[Any]) -> Lost:
        """Where the bands have no data, (N, h, w).

        Raises:
            CropzooError: NaN or infinity elsewhere.
        """
        lost: Lost = None
        if any(value is not None for value in self.nodata):
            lost = np.zeros(raw.shape, np.bool_)
            for band, value, where in zip(raw, self.nodata, lost, strict=True):
                if value is not None:
                    _ = np.isnan(band, out=where) if value != value else np.equal(band, value, out=where)
        if any(layer.masked for layer in self.layers):
            masks = files.read_masks(self.layers[0].path, [layer.number for layer in self.layers], window) == 0
            lost = masks if lost is None else lost | masks
        if lost is not None and not lost.any():
            lost = None
        if raw.dtype.kind == "f":
            finite = np.isfinite(raw)
            if not (finite if lost is None else finite | lost).all():
                raise CropzooError(
                    f"image {str(self.layers[0].path)!r}; it holds NaN or infinity that is not declared; "
                    "set the file's nodata to NaN, so that those pixels are masked, or fill them"
                )
        return lost


def make_parts(
    product: Mapping[str, Layer], bands: Sequence[str], fine: Grid, offset: int | None = None
) -> tuple[Part, ...]:
    """The parts that a product's bands are read in, a file each.

    Args:
        product: its layers by name.
        bands: in the order of the result.
        fine: the tile's grid.
        offset: to take off the numbers of all bands; None for what each layer says.
    """
    by_file: dict[Path, list[int]] = {}
    for channel, name in enumerate(bands):
        by_file.setdefault(product[name].path, []).append(channel)
    parts = []
    for channels in by_file.values():
        layers = tuple(product[bands[channel]] for channel in channels)
        offsets = tuple(layer.offset if offset is None else offset for layer in layers)
        nodata = tuple(_stored_nodata(layer, each) for layer, each in zip(layers, offsets, strict=True))
        parts.append(Part(layers, tuple(channels), fine, offsets, nodata))
    return tuple(parts)


def read_classes(files: OpenFiles, layer: Layer, fine: Grid, window: Window) -> NDArray[Any]:
    """A layer of classes, such as SCL, on the tile's grid by the nearest pixel, (H, W), as stored."""
    if _same_pixels(layer.grid, fine):
        classes: NDArray[Any] = files.read(layer.path, [layer.number], window)[0]
        return classes
    rows, columns = axes(layer.grid, fine, window)
    return pick_nearest(files.read(layer.path, [layer.number], span(rows, columns))[0], rows, columns)


def axes(coarse: Grid, fine: Grid, window: Window) -> tuple[Axis, Axis]:
    """The rows and columns of a coarse grid that a window of the fine one is made of."""
    return (
        make_axis(window.row, window.height, fine.height, coarse.height),
        make_axis(window.column, window.width, fine.width, coarse.width),
    )


def span(rows: Axis, columns: Axis) -> Window:
    """The window of coarse pixels that two axes need."""
    return Window(rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start)


def _same_pixels(one: Grid, other: Grid) -> bool:
    """Whether two grids of one footprint have the same pixels."""
    return (one.height, one.width) == (other.height, other.width)


def _in_any_band(lost: Lost) -> Lost:
    """(H, W) of (N, H, W)."""
    if lost is None:
        return None
    anywhere: NDArray[np.bool_] = np.any(lost, axis=0)
    return anywhere


def _stored_nodata(layer: Layer, offset: int) -> Any:
    """A layer's nodata as a number of its type; None where the type cannot hold it.

    Where an offset was added, 0 is no data though the file does not say so: that is what the offset is for.
    """
    dtype = np.dtype(layer.dtype)
    if layer.nodata is None:
        return dtype.type(0) if offset > 0 and dtype.kind in "iu" else None
    if dtype.kind == "f":
        return dtype.type(layer.nodata)
    limits = np.iinfo(dtype)
    whole = layer.nodata == layer.nodata and math.isfinite(layer.nodata) and layer.nodata == int(layer.nodata)
    return dtype.type(int(layer.nodata)) if whole and limits.min <= layer.nodata <= limits.max else None


def _take_off(raw: NDArray[Any], offsets: Sequence[int], values: NDArray[Any]) -> None:
    """Stored numbers (N, h, w) less each band's offset, clipped to the type of `values`, which may be `raw` itself."""
    if not any(offsets) and raw.dtype == values.dtype:
        if not np.shares_memory(raw, values):
            values[...] = raw
        return
    if raw.dtype.kind == "f":
        np.subtract(raw, np.asarray(offsets, raw.dtype)[:, None, None], out=values)
        return
    stored, wanted = np.iinfo(raw.dtype), np.iinfo(values.dtype)
    if stored.bits != wanted.bits:
        wide = raw.astype(np.int64) - np.asarray(offsets, np.int64)[:, None, None]
        np.clip(wide, wanted.min, wanted.max, out=wide)
        values[...] = wide
        return
    for band, offset in zip(raw, offsets, strict=True):
        lowest, highest = max(stored.min, wanted.min + offset), min(stored.max, wanted.max + offset)
        np.clip(band, lowest, highest, out=band)
        # Modulo 2**bits, so that 500 - 1000 in an unsigned type has the bits of -500 in the signed one.
        band -= np.array(offset).astype(raw.dtype)
    if not np.shares_memory(raw, values):
        values[...] = raw.view(values.dtype)
