"""Vector files as sources: one layer of features, read without changing a value."""

from __future__ import annotations

import json
import os
import struct
import warnings
import zipfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import geopandas
import numpy as np
import pandas as pd
import pyogrio
import pyproj
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError
from pyproj.exceptions import CRSError

from cropzoo.errors import CropzooError, find_open_limit_error, warn_once
from cropzoo.geo.vector.content import check_vector, reading_parts, without_network
from cropzoo.geo.vector.encoding import check_encoding, choose_encoding
from cropzoo.geo.vector.fields import is_plain_integer

Bounds = tuple[float, float, float, float]

READ_FAILURES = (
    DataSourceError,
    DataLayerError,
    FeatureError,
    FieldError,
    GeometryError,
    RuntimeError,
    shapely.errors.ShapelyError,
)

PARQUET = (".parquet", ".geoparquet")
"""Suffixes of GeoParquet files."""

_ZIPPED = (".shp", ".gpkg", ".geojson", ".json", ".fgb", ".gml", ".kml", ".tab", ".mif")
"""Suffixes of vector files in archives."""

_SHOWN_IDS = 10
"""Number of feature ids in a warning."""

_EXACT = 2**53
"""Numbers up to this one are exact in double precision, in which pyogrio returns integers next to empty fields."""


class VectorSource(Protocol):
    """One layer of features in a file.

    Attributes:
        path: Path of the file as the user named it.
        crs: CRS of the geometries (pyproj).
        columns: Names of the columns.
        geometry_type: GDAL name of the geometry type, "Unknown" for several.
        problems: What is lost of columns read so far, by name, such as lists that became texts.
    """

    @property
    def path(self) -> Path: ...
    @property
    def crs(self) -> Any: ...
    @property
    def columns(self) -> tuple[str, ...]: ...
    @property
    def geometry_type(self) -> str: ...
    @property
    def problems(self) -> dict[str, str]: ...

    @property
    def count(self) -> int:
        """Number of features."""
        ...

    @property
    def total_bounds(self) -> Bounds | None:
        """Bounds of all features in their CRS; None without any."""
        ...

    def read_range(self, start: int, count: int, columns: Collection[str] | None = None) -> geopandas.GeoDataFrame:
        """Features from number `start` on, counted from 0.

        Integers are exact, also next to empty fields; lists and objects are JSON texts.

        Args:
            start: First feature.
            count: Number of features.
            columns: Columns to read; None for all.

        Raises:
            CropzooError: The file cannot be read.
        """
        ...

    def read_near(self, boxes: Sequence[Bounds | None], columns: Collection[str]) -> geopandas.GeoDataFrame:
        """Features whose bounds intersect one of the boxes, each once, in the order of the file; see `read_range`.

        Args:
            boxes: Bounds in the CRS of the file; None for everything.
            columns: Columns to read.

        Raises:
            CropzooError: The file cannot be read.
        """
        ...


def open_source(path: Path, *, what: str = "parcels", encoding: str | None = None) -> VectorSource:
    """The only layer of a file that has geometries.

    Args:
        path: Path of a file or folder that GDAL reads, of an archive (.zip) with one such file, or of a GeoParquet
            file.
        what: Content of the file, for messages.
        encoding: Encoding of its texts; None to find it out.

    Raises:
        UsageError: The encoding is unknown.
        CropzooError: The file is missing, unreadable, or has several layers, no layer with geometries or no CRS; or it
            is a GeoParquet file, and pyarrow is not installed.
    """
    known = check_encoding(encoding)
    if not os.path.exists(path):  # unlike Path.exists, false for a name that is too long
        raise CropzooError(f"{what} {str(path)!r}; there is no such file; check its name")
    if path.suffix.lower() in PARQUET:
        from cropzoo.geo.vector.parquet import open_parquet

        return open_parquet(path, what)
    inner = check_file(path, what)
    address = f"/vsizip/{{{path.absolute()}}}/{inner}" if inner else str(path.absolute())
    if known is None and PurePosixPath(inner or path.name).suffix.lower() == ".shp":
        with reading_parts(f"{what} {str(path)!r}"):
            known = choose_encoding(path, inner, what)
    with reading(path, what):
        layers = [str(name) for name, kind in pyogrio.list_layers(address) if kind is not None]
        if not layers:
            raise CropzooError(f"{what} {str(path)!r}; it is a table without geometries; use the file of the polygons")
        if len(layers) > 1:
            raise CropzooError(
                f"{what} {str(path)!r}; it has {len(layers)} layers with geometries ({', '.join(layers)}); write the "
                "polygons to a file of one layer"
            )
        info = pyogrio.read_info(address, layer=layers[0], encoding=known)
        crs = pyproj.CRS.from_user_input(info["crs"]) if info["crs"] else None
    if crs is None:
        raise CropzooError(f"{what} {str(path)!r}; it has no CRS; add it to the file")
    kinds = dict(zip(map(str, info["fields"]), map(_find_kind, info["dtypes"]), strict=True))
    return _GDALSource(
        path, crs, tuple(kinds), info["geometry_type"] or "Unknown", address, layers[0], known, kinds, what
    )


def check_file(path: Path, what: str) -> str:
    """Check the content of a file that GDAL shall open, and return the name of the file in an archive, or "".

    Raises:
        CropzooError: As `cropzoo.geo.vector.content.check_vector`, or the archive has not one vector file.
    """
    inner = _find_in_archive(path, what) if path.suffix.lower() == ".zip" else ""
    check_vector(path, inner, what)
    return inner


def _find_kind(dtype: Any) -> str:
    """NumPy kind of a data type of pyogrio, which has names of its own for lists."""
    try:
        return str(np.dtype(dtype).kind)
    except TypeError:
        return "O"


@dataclass(frozen=True)
class _GDALSource:
    """Layer that GDAL reads; implements `VectorSource`."""

    path: Path
    crs: Any
    columns: tuple[str, ...]
    geometry_type: str
    address: str
    layer: str
    encoding: str | None
    kinds: dict[str, str]
    what: str
    problems: dict[str, str] = field(default_factory=dict)

    @cached_property
    def count(self) -> int:
        with reading(self.path, self.what):
            return int(pyogrio.read_info(self.address, layer=self.layer, force_feature_count=True)["features"])

    @cached_property
    def total_bounds(self) -> Bounds | None:
        with reading(self.path, self.what):
            bounds = pyogrio.read_info(self.address, layer=self.layer, force_total_bounds=True)["total_bounds"]
        return None if bounds is None or not np.isfinite(bounds).all() else tuple(map(float, bounds))  # type: ignore[return-value]

    def read_range(self, start: int, count: int, columns: Collection[str] | None = None) -> geopandas.GeoDataFrame:
        names = self.columns if columns is None else tuple(columns)
        return self._read(names, skip_features=start, max_features=count)

    def read_near(self, boxes: Sequence[Bounds | None], columns: Collection[str]) -> geopandas.GeoDataFrame:
        parts = [self._read(tuple(columns), bbox=box, fid_as_index=True) for box in boxes]
        if len(parts) == 1:
            return parts[0].sort_index()
        # Feature ids keep a feature in two boxes from being read twice, and restore the order of the file.
        integers = [name for name in columns if any(part[name].dtype == "Int64" for part in parts)]
        joined = pd.concat([part.astype(dict.fromkeys(integers, "Int64")) for part in parts])
        return joined[~joined.index.duplicated()].sort_index()

    def _read(self, columns: tuple[str, ...], **selection: Any) -> geopandas.GeoDataFrame:
        with reading(self.path, self.what):
            options = {"encoding": self.encoding, "use_arrow": False, **selection}
            frame = self._read_frame(list(columns), options)
            inexact = [name for name in columns if self.kinds.get(name) in ("i", "u") and _is_inexact(frame[name])]
            exact = self._read_integers(inexact, selection) if inexact else {}
            if self.address.lower().endswith(".shp"):  # GDAL reads its integers of 19 digits as floating-point numbers
                wide = [name for name in columns if self.kinds.get(name) == "f" and _has_inexact_integers(frame[name])]
                exact |= self._read_integers(wide, {**selection, "ADJUST_TYPE": "YES"}) if wide else {}
        return tidy(frame.assign(**exact), self.kinds, self.problems)

    def _read_frame(self, columns: list[str], options: dict[str, Any]) -> geopandas.GeoDataFrame:
        try:
            return pyogrio.read_dataframe(self.address, layer=self.layer, columns=columns, **options)
        except shapely.errors.GEOSException:
            given = {name: value for name, value in options.items() if name not in ("fid_as_index", "use_arrow")}
            _, ids, wkb, _ = pyogrio.raw.read(self.address, layer=self.layer, columns=[], return_fids=True, **given)
            geometry = read_wkb(wkb, f"{self.what} {str(self.path)!r}", ids)
            frame = pyogrio.read_dataframe(
                self.address, layer=self.layer, columns=columns, on_invalid="ignore", **options
            )
            return frame.set_geometry(geopandas.GeoSeries(geometry, frame.index, crs=frame.crs))

    def _read_integers(self, names: Sequence[str], selection: dict[str, Any]) -> dict[str, Any]:
        """Columns of integers that are not exact in double precision, read as texts."""
        casts = ", ".join(f"CAST({_quote(name)} AS character(32)) AS {_quote(name)}" for name in names)
        frame = pyogrio.read_dataframe(
            self.address,
            sql=f"SELECT {casts} FROM {_quote(self.layer)}",
            sql_dialect="OGRSQL",
            read_geometry=False,
            use_arrow=False,
            **selection,
        )
        texts = {name: [None if pd.isna(text) else str(text) for text in frame[name]] for name in names}
        return {
            name: pd.array([text if text is None else int(text) for text in column], "Int64")
            for name, column in texts.items()
            if all(text is None or is_plain_integer(text) for text in column)
        }


def _is_inexact(column: Any) -> bool:
    return column.dtype.kind == "f" and bool((column.abs() >= _EXACT).any())


def _has_inexact_integers(column: Any) -> bool:
    return _is_inexact(column) and bool((column.dropna() % 1 == 0).all())


def _quote(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def read_wkb(wkb: NDArray[Any], subject: str, ids: NDArray[Any] | None = None) -> NDArray[Any]:
    """Geometries of well-known binary, (n,); rings that are not closed are closed, and broken geometries are None.

    Both are reported by a warning.

    Args:
        wkb: Geometries, or None for features without one, (n,).
        subject: The file, for the warning.
        ids: Feature ids, (n,); None if there are none.
    """
    try:
        return np.asarray(shapely.from_wkb(wkb), object)
    except shapely.errors.GEOSException:
        intact = shapely.from_wkb(wkb, on_invalid="ignore")
    found = np.asarray(shapely.from_wkb(wkb, on_invalid="fix"), object)
    broken = shapely.is_missing(intact) & np.array([each is not None for each in wkb])
    for those, text in (
        (broken & ~shapely.is_missing(found), "geometries have rings that are not closed; the rings are closed"),
        (broken & shapely.is_missing(found), "geometries are broken and are left out; repair them in the file"),
    ):
        if those.any():
            shown = [] if ids is None else ids[those][:_SHOWN_IDS].tolist()
            more = ", ..." if shown and those.sum() > len(shown) else ""
            where = f" (feature ids {', '.join(map(str, shown))}{more})" if shown else ""
            warn_once(f"{subject}: {int(those.sum())} {text}{where}")
    return found


def tidy(frame: geopandas.GeoDataFrame, kinds: dict[str, str], problems: dict[str, str]) -> geopandas.GeoDataFrame:
    """A frame whose empty fields do not change the type of a column, with lists, objects and bytes as texts.

    Args:
        frame: Features as they were read.
        kinds: NumPy kind of each column in the file; those of integers and booleans become nullable.
        problems: Columns of lists or objects, and numbers that are not exact, are added to it.
    """
    nullable = {"i": "Int64", "u": "Int64", "b": "boolean"}
    changed: dict[str, Any] = {}
    for name in frame.columns.difference([frame.geometry.name]):
        column = frame[name]
        if kinds.get(name) in nullable and column.dtype.kind in "fO":
            changed[name] = column.astype(nullable[kinds[name]])
        elif _has_inexact_integers(column):
            problems[name] = "has integers stored as floating-point numbers, whose last digits are lost above 2^53"
        elif column.dtype == object:
            is_structured = column.map(lambda value: isinstance(value, list | dict | tuple | np.ndarray))
            if is_structured.any():
                problems[name] = "has lists or objects, which become JSON texts"
            changed[name] = column.map(_to_text)
    return frame.assign(**changed)


def _to_text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict | tuple) else value


def _find_in_archive(path: Path, what: str) -> str:
    """Name of the only vector file in an archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [PurePosixPath(name) for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile, RuntimeError, ValueError, struct.error) as error:
        raise CropzooError(
            f"{what} {str(path)!r}; it is not a valid archive ({error}); copy or download it again"
        ) from error
    names = [name for name in names if "__MACOSX" not in name.parts and not name.name.startswith("._")]
    geodatabases = {str(parent) for name in names for parent in name.parents if parent.suffix.lower() == ".gdb"}
    parquet = [str(name) for name in names if name.suffix.lower() in PARQUET]
    found = [str(name) for name in names if name.suffix.lower() in _ZIPPED] + sorted(geodatabases)
    if len(found) + len(parquet) > 1:
        raise CropzooError(
            f"{what} {str(path)!r}; it contains {len(found) + len(parquet)} vector files "
            f"({', '.join((found + parquet)[:10])}); extract the one of the {what} and name it"
        )
    if parquet:
        raise CropzooError(f"{what} {str(path)!r}; it contains {parquet[0]!r}; extract it and name it")
    if not found:
        raise CropzooError(
            f"{what} {str(path)!r}; it contains no vector file ({', '.join(_ZIPPED)}); extract it and pass the file of "
            f"the {what}"
        )
    return found[0]


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn failures of reading a file into errors that name it.

    Raises:
        CropzooError: The file cannot be read as vector data.
    """
    try:
        with warnings.catch_warnings(record=True) as caught, without_network():
            warnings.simplefilter("always")
            yield
    except UnicodeDecodeError as error:
        raise CropzooError(
            f"{what} {str(path)!r}; a text in it is not valid {error.encoding.upper()}; give the encoding of the texts "
            "by --encoding, such as --encoding cp1250"
        ) from error
    except CRSError as error:
        raise CropzooError(f"{what} {str(path)!r}; its CRS cannot be read ({error}); correct it in the file") from error
    except READ_FAILURES as error:
        if too_many := find_open_limit_error(error):
            raise too_many from error
        raise CropzooError(
            f"{what} {str(path)!r}; the file cannot be read as vector data ({first_line(error)}); write it as a "
            "GeoPackage, GeoJSON or shapefile, or move it to another folder"
        ) from error
    for warning in caught:
        message = first_line(str(warning.message))
        # Feature ids are not used: a column `id` is kept unchanged. Of rings that are not closed, `read_wkb` warns.
        if "Several features with id" not in message and "Non closed ring detected" not in message:
            warn_once(f"{what} {str(path)!r}: {message}")


_MAX_MESSAGE = 200
"""Characters of a message."""


def first_line(error: Exception | str) -> str:
    """First line of a message of GDAL, shortened: a warning may contain a complete field."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line if len(line) < _MAX_MESSAGE else f"{line[:_MAX_MESSAGE]} ..."
