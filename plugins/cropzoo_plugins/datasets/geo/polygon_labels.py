"""Labels from polygons, such as EuroCrops: read once for the region, rasterized for each window."""

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
from cropzoo.geo.vector.fields import read_number
from cropzoo.geo.vector.source import reading
from cropzoo_plugins.datasets.geo.labels import make_transform
from cropzoo_plugins.datasets.geo.windows import Bounds

_NAME_COLUMNS = {"EC_hcat_c": "EC_hcat_n"}
"""Column with the name of each label column."""


class PolygonLabels:
    """Labels of a vector dataset of torchgeo; implements `labels.LabelSource`.

    The values are those that torchgeo would rasterize: `get_label` of each polygon, at pixel centers, and the later
    polygon where two overlap. torchgeo reads the complete file for each window, which takes minutes for a country; here
    the polygons of the region are read once and kept. Their numbers, from 1, are the parcel ids.

    Args:
        labels: Vector dataset of torchgeo.
        index: Its index from `labels.find_coverage`.

    Raises:
        CropzooError: A file lacks the label column, or torchgeo cannot use a label.
    """

    def __init__(self, labels: Any, index: Any) -> None:
        self._labels = labels
        tables = [
            self._read_polygons(str(path), place, index.crs)
            for path, place in zip(index["filepath"], index.geometry, strict=True)
        ]
        self._rows = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
        geometry = [table.geometry.to_numpy() for table in tables]
        self._shapes = geopandas.GeoSeries(np.concatenate(geometry), crs=index.crs)
        found = [self._find_values(table, str(path)) for table, path in zip(tables, index["filepath"], strict=True)]
        self._table = np.concatenate([np.zeros(1, np.int64), *found])
        self.codes = self._read_codes()
        self.names = self._read_names(tables)

    def read_values(
        self, bounds: Bounds, size: tuple[int, int], rows: Sequence[int]
    ) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return values and parcel ids, (H, W); 0 where there is no polygon, or its crop is not a class."""
        near = np.sort(self._shapes.sindex.query(shapely.box(*bounds), predicate="intersects"))
        near = near[np.isin(self._rows[near], rows)]
        ids = np.zeros(size, np.int32)
        if near.size:
            shapes = zip(self._shapes.to_numpy()[near], (near + 1).tolist(), strict=True)
            rasterize(shapes, out=ids, transform=make_transform(bounds, size))
        return self._table[ids], ids

    def _read_polygons(self, path: str, place: Any, crs: Any) -> Any:
        """Read the polygons of a file in an area, in the CRS of the area."""
        if Path(path).suffix.lower() == ".parquet":
            table = geopandas.read_parquet(path)
        else:
            there = geopandas.GeoSeries([place], crs=crs)
            with reading(Path(path), "label file"):
                table = geopandas.read_file(path, layer=getattr(self._labels, "layer", None), bbox=there)
        if table.crs is None:
            table = table.set_crs(self._labels.crs)
        table = table.to_crs(crs)
        shapes = table.geometry
        return table[shapes.notna() & ~shapes.is_empty & shapes.intersects(place)]

    def _find_values(self, table: Any, path: str) -> NDArray[np.int64]:
        """Return the label of each polygon from torchgeo, (n,)."""
        column = self._labels.label_name
        if not column:
            rows: list[Any] = [row for _, row in table.iterrows()]
            return np.array([self._get_label(row, path) for row in rows], np.int64)
        if column not in table.columns:
            raise CropzooError(
                f"label file {path!r}; it has no column {column!r}; {suggest(column, map(str, table.columns))}; "
                "name the column with the crop in option 'label_options' (label_name)"
            )
        # labels depend on this column only, and calling get_label for a million polygons takes a minute
        different = table[table[column].notna()].drop_duplicates(column)
        known = {row[column]: self._get_label(row, path) for _, row in different.iterrows()}
        values: NDArray[np.int64] = np.array([known.get(entry, 0) for entry in table[column]], np.int64)
        return values

    def _get_label(self, row: Any, path: str) -> int:
        try:
            return int(self._labels.get_label(row))
        except (TypeError, ValueError, LookupError) as error:
            entry = row.get(self._labels.label_name, None)
            raise CropzooError(
                f"label file {path!r}; torchgeo cannot use the label {entry!r} ({error}); labels are integers, or "
                "digits as text for EuroCrops; fix the file, or name another column in option 'label_options'"
            ) from error

    def _read_codes(self) -> dict[int, int]:
        classes = getattr(self._labels, "class_map", None)
        if classes is None:
            return {value: value for value in np.unique(self._table).tolist()}
        return {0: 0} | {value: int(code) for code, value in classes.items()}

    def _read_names(self, tables: Sequence[Any]) -> dict[int, str]:
        """Return the names by code from the column of names, if there is one."""
        codes, names = self._labels.label_name, _NAME_COLUMNS.get(self._labels.label_name or "", "")
        found: dict[int, str] = {}
        for table in tables:
            if codes in table.columns and names in table.columns:
                pairs = table[[codes, names]].dropna().drop_duplicates()
                for code, name in pairs.itertuples(index=False):
                    number = read_number(str(code))
                    if number is not None:
                        found.setdefault(number, str(name).replace("_", " "))
        return found
