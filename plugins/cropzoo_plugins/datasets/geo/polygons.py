"""Labels from polygons, such as EuroCrops: read once for the region, burnt window by window."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize

from cropzoo import CropzooError
from cropzoo.errors import suggest
from cropzoo_plugins.datasets.geo.labels import transform_of
from cropzoo_plugins.datasets.geo.windows import Bounds

_NAME_COLUMNS = {"EC_hcat_c": "EC_hcat_n"}
"""By the column of the label: the one with its name."""


class PolygonLabels:
    """A vector dataset of torchgeo; obeys `labels.Labels`.

    The values are those that torchgeo would rasterize: its `get_label` for every polygon, pixels by their center, the
    later polygon where two overlap. torchgeo reads the whole file for every window, minutes each for a country; here
    the polygons of the region are read once and kept. Their numbers, from 1, are the parcel ids.

    Args:
        labels: torchgeo's dataset.
        index: its `labels.coverage`.

    Raises:
        CropzooError: a file without the label's column, or a label that torchgeo cannot use.
    """

    def __init__(self, labels: Any, index: Any) -> None:
        self._labels = labels
        tables = [
            self._read(str(path), place, index.crs)
            for path, place in zip(index["filepath"], index.geometry, strict=True)
        ]
        self._rows = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
        geometry = [table.geometry.to_numpy() for table in tables]
        self._shapes = geopandas.GeoSeries(np.concatenate(geometry), crs=index.crs)
        found = [self._values(table, str(path)) for table, path in zip(tables, index["filepath"], strict=True)]
        self._table = np.concatenate([np.zeros(1, np.int64), *found])
        self.codes = self._read_codes()
        self.names = self._read_names(tables)

    def values(
        self, bounds: Bounds, size: tuple[int, int], rows: Sequence[int]
    ) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Values and parcel ids, (H, W); 0 where there is no polygon, or none of a class."""
        near = np.sort(self._shapes.sindex.query(shapely.box(*bounds), predicate="intersects"))
        near = near[np.isin(self._rows[near], rows)]
        ids = np.zeros(size, np.int32)
        if near.size:
            shapes = zip(self._shapes.to_numpy()[near], (near + 1).tolist(), strict=True)
            rasterize(shapes, out=ids, transform=transform_of(bounds, size))
        return self._table[ids], ids

    def _read(self, path: str, place: Any, crs: Any) -> Any:
        """The polygons of one file near a place, in the place's CRS."""
        if Path(path).suffix.lower() == ".parquet":
            table = geopandas.read_parquet(path)
        else:
            there = geopandas.GeoSeries([place], crs=crs)
            table = geopandas.read_file(path, layer=getattr(self._labels, "layer", None), bbox=there)
        if table.crs is None:
            table = table.set_crs(self._labels.crs)
        table = table.to_crs(crs)
        shapes = table.geometry
        return table[shapes.notna() & ~shapes.is_empty & shapes.intersects(place)]

    def _values(self, table: Any, path: str) -> NDArray[np.int64]:
        """The label of each polygon, (n,), as torchgeo gives it."""
        column = self._labels.label_name
        if not column:
            rows: list[Any] = [row for _, row in table.iterrows()]
            return np.array([self._ask(row, path) for row in rows], np.int64)
        if column not in table.columns:
            raise CropzooError(
                f"label file {path!r}; it has no column {column!r}; {suggest(column, map(str, table.columns))}; "
                "name the column with the crop by option 'label_options' (label_name)"
            )
        # torchgeo's classes look at this column alone, and asking for each of a million polygons takes a minute
        different = table[table[column].notna()].drop_duplicates(column)
        known = {row[column]: self._ask(row, path) for _, row in different.iterrows()}
        values: NDArray[np.int64] = np.array([known.get(entry, 0) for entry in table[column]], np.int64)
        return values

    def _ask(self, row: Any, path: str) -> int:
        try:
            return int(self._labels.get_label(row))
        except (TypeError, ValueError, LookupError) as error:
            entry = row.get(self._labels.label_name, None)
            raise CropzooError(
                f"label file {path!r}; torchgeo cannot use the label {entry!r} ({error}); labels are whole numbers, "
                "and texts of digits for EuroCrops; correct the file, or name another column by option 'label_options'"
            ) from error

    def _read_codes(self) -> dict[int, int]:
        classes = getattr(self._labels, "class_map", None)
        if classes is None:
            return {value: value for value in np.unique(self._table).tolist()}
        return {0: 0} | {value: int(code) for code, value in classes.items()}

    def _read_names(self, tables: Sequence[Any]) -> dict[int, str]:
        """By code, from a column of names beside the codes."""
        codes, names = self._labels.label_name, _NAME_COLUMNS.get(self._labels.label_name or "", "")
        found: dict[int, str] = {}
        for table in tables:
            if codes in table.columns and names in table.columns:
                pairs = table[[codes, names]].dropna().drop_duplicates()
                for code, name in pairs.itertuples(index=False):
                    if str(code).isdigit():
                        found.setdefault(int(code), str(name).replace("_", " "))
        return found
