"""GeoParquet files, the format of fiboa and EuroCrops; they need pyarrow, an optional dependency."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyproj
import shapely
from numpy.typing import NDArray
from pyogrio.errors import FieldError
from pyproj.exceptions import CRSError

from cropzoo.errors import CropzooError
from cropzoo.geo.vector.source import Bounds, first_line, read_wkb, tidy

COVERING = "bbox"
"""Column of the bounds of each geometry, by which readers find features without reading all of them."""


def require_pyarrow(path: Path) -> None:
    """Check that GeoParquet files can be read and written.

    Raises:
        CropzooError: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise CropzooError(
            f"GeoParquet file {str(path)!r}; pyarrow is not installed; run `pip install 'cropzoo[parquet]'`, or use a "
            "GeoPackage (.gpkg) instead"
        ) from None


def open_parquet(path: Path, what: str) -> ParquetSource:
    """A GeoParquet file.

    Args:
        path: Path of the file.
        what: Content of the file, for messages.

    Raises:
        CropzooError: pyarrow is not installed, or the file is unreadable, is no GeoParquet file or has no CRS.
    """
    require_pyarrow(path)
    import pyarrow.parquet as pq

    with _reading(path, what):
        schema = pq.read_schema(path)
        text = (schema.metadata or {}).get(b"geo")
        if text is None:
            raise CropzooError(f"{what} {str(path)!r}; it is a Parquet file without geometries; write it as GeoParquet")
        geo = json.loads(text)
        primary = geo["primary_column"]
        described = geo["columns"][primary]
        # A file without the key is in longitude and latitude; null means that the CRS is unknown.
        declared = described.get("crs", "OGC:CRS84")
        crs = declared and pyproj.CRS.from_user_input(declared)
        if described["encoding"] != "WKB":
            raise CropzooError(
                f"{what} {str(path)!r}; its geometries are encoded as {described['encoding']!r}; write them as WKB"
            )
        covering = described.get("covering", {}).get("bbox", {})
        own = {*geo["columns"], *(names[0] for names in covering.values())}
        columns = tuple(name for name in schema.names if name not in own and not name.startswith("__index_level_"))
    if not crs:
        raise CropzooError(f"{what} {str(path)!r}; it has no CRS; add it to the file")
    kind = _geometry_type(described.get("geometry_types", []))
    return ParquetSource(path, crs, columns, kind, primary, covering, described.get("bbox"), what)


@dataclass(frozen=True)
class ParquetSource:
    """GeoParquet file; implements `VectorSource`.

    Args:
        path: Path of the file.
        crs: CRS of the geometries (pyproj).
        columns: Names of the columns without geometries and bounds.
        geometry_type: GDAL name of the geometry type.
        primary: Name of the column of geometries.
        covering: Path of the fields xmin, ymin, xmax and ymax of the column of bounds; empty without one.
        bbox: Bounds of the file in its metadata; None if unknown.
        what: Content of the file, for messages.
        problems: What is lost of columns read so far, by name, such as lists that became texts.
    """

    path: Path
    crs: Any
    columns: tuple[str, ...]
    geometry_type: str
    primary: str
    covering: dict[str, list[str]]
    bbox: Sequence[float] | None
    what: str
    problems: dict[str, str] = field(default_factory=dict)
    _cache: dict[Any, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def _row_groups(self) -> NDArray[np.int64]:
        """Number of the first row of each row group, and of all rows."""
        import pyarrow.parquet as pq

        with _reading(self.path, self.what):
            found = pq.read_metadata(self.path)
        rows = [found.row_group(number).num_rows for number in range(found.num_row_groups)]
        return np.cumsum([0, *rows])

    @property
    def count(self) -> int:
        """Number of features."""
        return int(self._row_groups[-1])

    @cached_property
    def total_bounds(self) -> Bounds | None:
        """Bounds of all features; None without any."""
        if self.bbox is not None and len(self.bbox) in (4, 6):
            half = len(self.bbox) // 2
            return (self.bbox[0], self.bbox[1], self.bbox[half], self.bbox[half + 1])
        bounds = [frame.total_bounds for frame in self._frames((), None)]
        if not bounds or not np.isfinite(bounds).all(axis=1).any():
            return None
        return (*np.nanmin(bounds, axis=0)[:2].tolist(), *np.nanmax(bounds, axis=0)[2:].tolist())

    def read_range(self, start: int, count: int, columns: Collection[str] | None = None) -> geopandas.GeoDataFrame:
        """Features from number `start` on; see `VectorSource`."""
        import pyarrow.parquet as pq

        names = self.columns if columns is None else tuple(columns)
        first = int(np.searchsorted(self._row_groups, start, "right")) - 1
        last = int(np.searchsorted(self._row_groups, start + count, "left"))
        groups = range(max(0, first), min(last, len(self._row_groups) - 1))
        with _reading(self.path, self.what):
            if (names, groups) not in self._cache:
                self._cache.clear()  # one group at a time: pieces of a large group do not decode it again
                file = pq.ParquetFile(self.path)
                wanted = [*names, self.primary]
                read = file.read_row_groups(list(groups), columns=wanted) if groups else file.schema_arrow.empty_table()
                self._cache[names, groups] = read.select(wanted)
            table = self._cache[names, groups]
            offset = int(self._row_groups[groups[0]]) if groups else 0
            return self._to_frame(table.slice(start - offset, count), names)

    def read_near(self, boxes: Sequence[Bounds | None], columns: Collection[str]) -> geopandas.GeoDataFrame:
        """Features near boxes; see `VectorSource`."""
        frames = list(self._frames(tuple(columns), boxes))
        return pd.concat(frames, ignore_index=True) if frames else self.read_range(0, 0, columns)

    def _frames(self, columns: tuple[str, ...], boxes: Sequence[Bounds | None] | None) -> Iterator[Any]:
        """Features near boxes, batch by batch, so that memory does not grow with the file."""
        import pyarrow as pa
        import pyarrow.dataset as ds

        wanted = [*columns, self.primary]
        known = [box for box in boxes or () if box is not None]
        everything = boxes is None or len(known) < len(boxes)
        with _reading(self.path, self.what):
            data = ds.dataset(self.path, format="parquet")
            selected = None if everything or not self.covering else self._covering_filter(known)
            for batch in data.to_batches(columns=wanted, filter=selected):
                frame = self._to_frame(pa.Table.from_batches([batch]), columns)
                yield frame if everything else frame[_intersects(frame, known)]

    def _covering_filter(self, boxes: Sequence[Bounds]) -> Any:
        import pyarrow.compute as pc

        value = {side: pc.field(tuple(names)) for side, names in self.covering.items()}
        found = None
        for west, south, east, north in boxes:
            near = (
                (value["xmin"] <= east) & (value["xmax"] >= west) & (value["ymin"] <= north) & (value["ymax"] >= south)
            )
            found = near if found is None else found | near
        return found

    def _to_frame(self, table: Any, columns: tuple[str, ...]) -> geopandas.GeoDataFrame:
        import pyarrow as pa

        mapped = {pa.bool_(): pd.BooleanDtype(), pa.uint64(): pd.UInt64Dtype()}
        mapped |= dict.fromkeys((pa.int8(), pa.int16(), pa.int32(), pa.int64()), pd.Int64Dtype())
        mapped |= dict.fromkeys((pa.uint8(), pa.uint16(), pa.uint32()), pd.Int64Dtype())
        wkb = table.column(self.primary).to_numpy(zero_copy_only=False)
        geometry = read_wkb(wkb, f"{self.what} {str(self.path)!r}")
        plain = {name: _decode(table.column(name)) for name in columns}
        frame = pa.table(plain).to_pandas(types_mapper=mapped.get) if plain else pd.DataFrame(index=range(len(table)))
        return tidy(geopandas.GeoDataFrame(frame, geometry=geometry, crs=self.crs), {}, self.problems)


def _decode(column: Any) -> Any:
    """A column without a dictionary, which pandas would turn into categories."""
    import pyarrow as pa

    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _intersects(frame: geopandas.GeoDataFrame, boxes: Sequence[Bounds]) -> NDArray[np.bool_]:
    west, south, east, north = shapely.bounds(np.array(frame.geometry, object)).T
    found = np.zeros(len(frame), np.bool_)
    for box in boxes:
        found |= (west <= box[2]) & (east >= box[0]) & (south <= box[3]) & (north >= box[1])
    return found


def _geometry_type(types: Sequence[str]) -> str:
    kinds = set(types)
    for suffix in ("", " Z"):
        if kinds and kinds <= {f"Polygon{suffix}", f"MultiPolygon{suffix}"}:
            return f"Polygon{suffix}" if len(kinds) == 1 and kinds == {f"Polygon{suffix}"} else f"MultiPolygon{suffix}"
    return "Unknown"


def write_parquet(path: Path, frame: geopandas.GeoDataFrame) -> int:
    """Write features with their bounds, so that readers find those of an area; returns the number of features.

    Raises:
        FieldError: A column has values of several types.
    """
    from pyarrow import ArrowException

    try:
        frame.to_parquet(path, index=False, write_covering_bbox=COVERING not in frame.columns)
    except ArrowException as error:
        raise FieldError(first_line(error)) from error
    return len(frame)


@contextmanager
def _reading(path: Path, what: str) -> Iterator[None]:
    from pyarrow import ArrowException

    try:
        yield
    except CRSError as error:
        raise CropzooError(f"{what} {str(path)!r}; its CRS cannot be read ({error}); correct it in the file") from error
    except (ArrowException, OSError, KeyError, TypeError, ValueError, shapely.errors.ShapelyError) as error:
        raise CropzooError(
            f"{what} {str(path)!r}; the file cannot be read as GeoParquet ({first_line(error)}); write it again, or "
            "as a GeoPackage"
        ) from error
