"""Labels from rasters, such as CDL: read with torchgeo for each window."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo import CropzooError
from cropzoo.geo.raster.grid import open_raster
from cropzoo_plugins.datasets.geo.imagery import query_window
from cropzoo_plugins.datasets.geo.labels import NO_LABEL
from cropzoo_plugins.datasets.geo.windows import Bounds, Frame


class RasterLabels:
    """Labels of a raster dataset of torchgeo; implements `labels.LabelSource`.

    torchgeo resamples it to the grid of the images by nearest neighbor. The nodata of the files is `NO_LABEL`, except
    0, which is a valid code.

    Args:
        labels: Raster dataset of torchgeo.
        index: Its index from `labels.find_coverage`.
        frame: Grid of the images.

    Raises:
        CropzooError: The files have several bands.
    """

    def __init__(self, labels: Any, index: Any, frame: Frame) -> None:
        self._labels, self._index, self._frame = labels, index, frame
        self.names: dict[int, str] = {}
        path = Path(index["filepath"].iloc[0])
        with open_raster(path) as source:
            nodata, count = source.nodata, source.count
        if count != 1:
            raise CropzooError(
                f"label file {str(path)!r}; it has {count} bands; labels must be one band of codes; use another file"
            )
        override = getattr(labels, "nodata", None)  # since torchgeo 0.10
        nodata = nodata if override is None else override
        places = getattr(labels, "ordinal_map", None)
        places = None if places is None else places.numpy()
        self._nodata: int | None = None
        if nodata and float(nodata).is_integer():
            inside = places is not None and 0 <= nodata < len(places)
            self._nodata = int(places[int(nodata)]) if inside else int(nodata)  # type: ignore[index]
        self.codes: dict[int, int] = {}
        if places is not None:  # the class renumbers its codes
            values, first = np.unique(places, return_index=True)
            self.codes = dict(zip(values.tolist(), first.tolist(), strict=True))

    def read_values(self, bounds: Bounds, size: tuple[int, int], rows: Sequence[int]) -> tuple[NDArray[np.int64], None]:
        """Return values (H, W), and None as there are no parcel ids."""
        index = self._index.iloc[list(rows)]
        try:
            mask = query_window(self._labels, index, bounds, self._frame)["mask"].numpy()
        except (OSError, RuntimeError, ValueError, LookupError) as error:
            raise CropzooError(
                f"label file {str(index['filepath'].iloc[0])!r}; it, or another file of the window, cannot be read "
                f"({error.__cause__ or error}); replace it"
            ) from error
        if mask.shape != size:
            raise CropzooError(
                f"labels of torchgeo's {type(self._labels).__name__}; a window of {size} pixels has a mask of shape "
                f"{mask.shape}; this class does not return one label per pixel; use another class"
            )
        found = mask.astype(np.int64)
        if self._nodata is not None:
            found[found == self._nodata] = NO_LABEL
        return found, None
