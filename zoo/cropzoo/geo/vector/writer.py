"""Vector files, written chunk by chunk and atomically."""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import geopandas
import pandas as pd
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError

from cropzoo.errors import CropzooError, UsageError
from cropzoo.geo.vector.parquet import require_pyarrow, write_parquet
from cropzoo.geo.vector.source import PARQUET, VectorSource, first_line
from cropzoo.io import SCRATCH, atomic_write, exclusive_file


def write_geojson(path: Path, chunks: Iterable[geopandas.GeoDataFrame]) -> int:
    """Write features in longitude and latitude, as readers of GeoJSON expect; returns the number of features.

    A GeoJSON file has no schema: GDAL appends with the types inferred from the features before, so that a column which
    starts with small numbers or empty fields would truncate large numbers or turn them into texts. Therefore each chunk
    is written as separate lines of features, which are concatenated.

    Args:
        path: Path of the file; one chunk is written next to it temporarily.
        chunks: Features.
    """
    lines, count = path.with_name(f"{path.name}l"), 0
    head = {"type": "FeatureCollection", "name": path.stem}
    with path.open("wb") as file:
        file.write(json.dumps(head, ensure_ascii=False)[:-1].encode() + b', "features": [')
        for chunk in chunks:
            placed = chunk.to_crs("EPSG:4326")
            pyogrio.write_dataframe(placed, lines, driver="GeoJSONSeq", COORDINATE_PRECISION="15")
            with lines.open("rb") as features:
                for feature in features:
                    file.write((b",\n" if count else b"\n") + feature.rstrip(b"\n"))
                    count += 1
            lines.unlink()
        file.write(b"\n]}\n")
    return count


DRIVERS = {
    ".gpkg": "GPKG",
    ".geojson": "GeoJSON",
    ".json": "GeoJSON",
    ".fgb": "FlatGeobuf",
    ".shp": "ESRI Shapefile",
    **dict.fromkeys(PARQUET, "Parquet"),
    ".csv": "CSV",
}
"""Driver by suffix of the file: GDAL's, except for Parquet and for CSV, a table without geometries."""

_FAILURES = (DataSourceError, DataLayerError, FeatureError, FieldError, GeometryError, RuntimeError, UnicodeError)
_LAST = (".shp",)
"""Of a dataset with several files, the one that is renamed last: without it there is no layer."""

_CLOCK = "OGR_CURRENT_DATE"
"""GDAL's option for the time in new files."""

_INDICES = (".qix", ".sbn", ".sbx")
"""Spatial indexes of a shapefile; those of a replaced file would be wrong."""

_WAIT = 60.0
"""Seconds to wait for another process that writes files of the same name."""

_UNSUPPORTED = (FeatureError, FieldError, GeometryError)
"""Errors of a format that cannot store a column or a geometry."""


def check_output_path(out: Path, source: Path, overwrite: bool) -> None:
    """Check that an output file can be written.

    Args:
        out: Path of the output file.
        source: Path of the input file.
        overwrite: Whether an existing file may be replaced.

    Raises:
        UsageError: The suffix is unknown, or the path is the input file, a folder, or an existing file.
        CropzooError: The file is a GeoParquet file, and pyarrow is not installed.
    """
    if out.suffix.lower() not in DRIVERS:
        raise UsageError(f"--out {str(out)!r}; its name must end in {', '.join(DRIVERS)}")
    if out.is_dir():
        raise UsageError(f"--out {str(out)!r}; it is a folder; name a file, such as {str(out / 'parcels.gpkg')!r}")
    if out.exists() and source.exists() and out.samefile(source):
        raise UsageError(f"--out {str(out)!r}; it is the input file of the parcels; choose another name")
    if out.exists() and not overwrite:
        raise UsageError(f"--out {str(out)!r}; it exists already; pass --overwrite or choose another name")
    if out.suffix.lower() in PARQUET:
        require_pyarrow(out)


def supports_append(out: Path) -> bool:
    """Whether features can be appended to a file of this format; otherwise all parcels are held in memory."""
    return out.suffix.lower() not in (".fgb", *PARQUET)


def write_vector_file(out: Path, source: VectorSource, chunks: Iterable[geopandas.GeoDataFrame]) -> tuple[str, ...]:
    """Write features chunk by chunk; the file replaces an existing one only when it is complete.

    GeoJSON is written in longitude and latitude, as its readers expect; other formats in the CRS of the chunks.

    Args:
        out: Path of the file; the suffix determines the format.
        source: File from which the features were read; the number of features must be the same.
        chunks: Features, all with the same columns.

    Returns:
        What the format had to change, such as long column names in a shapefile, one line each.

    Raises:
        CropzooError: The file cannot be written, or another process is writing it.
    """
    with exclusive_file(out, wait=_WAIT):
        return _write_files(out, source, chunks)


def _write_files(out: Path, source: VectorSource, chunks: Iterable[geopandas.GeoDataFrame]) -> tuple[str, ...]:
    driver = DRIVERS[out.suffix.lower()]
    with _scratch_folder(out) as folder:
        # GDAL writes the suffix of a shapefile in lower case.
        scratch = folder / f"{out.stem}{out.suffix.lower()}"
        changes: list[str] = []
        with _writing(out):
            if driver == "GeoJSON":
                written = write_geojson(scratch, chunks)
            elif driver == "CSV":
                written = _write_csv(scratch, chunks)
            elif driver == "Parquet":
                written = write_parquet(scratch, pd.concat(list(chunks)))
            else:
                written = _write_layer(scratch, driver, source.geometry_type, chunks, changes)
            if written != source.count:
                raise DataSourceError(f"{written} of {source.count} parcels arrived")
        for file in sorted(folder.iterdir(), key=lambda file: file.suffix.lower() in _LAST):
            with atomic_write(out if file == scratch else out.with_name(file.name)) as target:
                file.replace(target)
        for suffix in _INDICES if driver == "ESRI Shapefile" else ():
            out.with_suffix(suffix).unlink(missing_ok=True)
        return tuple(dict.fromkeys(changes))


@contextmanager
def _scratch_folder(out: Path) -> Iterator[Path]:
    """Temporary folder next to a file that is written."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}{SCRATCH}", dir=out.parent))
    except OSError as error:
        raise CropzooError(f"cannot write {str(out)!r}; {error.strerror}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_geopackage(out: Path, layers: Mapping[str, pd.DataFrame]) -> None:
    """Write a GeoPackage of several layers and tables; it replaces an existing file only when it is complete.

    Args:
        out: Path of the file.
        layers: Features, or tables without geometries, by name.

    Raises:
        CropzooError: The file cannot be written, or another process is writing it.
    """
    with exclusive_file(out, wait=_WAIT), _scratch_folder(out) as folder:
        scratch = folder / f"{out.stem}.gpkg"
        with _writing(out), _without_clock():
            for name, frame in layers.items():
                pyogrio.write_dataframe(frame, scratch, layer=name, driver="GPKG", append=scratch.exists())
        with atomic_write(out) as target:
            scratch.replace(target)


def _write_csv(path: Path, chunks: Iterable[geopandas.GeoDataFrame]) -> int:
    """Write the columns without the geometries; returns the number of features."""
    count = 0
    for chunk in chunks:
        table = pd.DataFrame(chunk.drop(columns=chunk.geometry.name))
        table.to_csv(path, mode="a", header=not count and not path.exists(), index=False, encoding="utf-8")
        count += len(chunk)
    return count


def _write_layer(
    path: Path, driver: str, geometry_type: str, chunks: Iterable[geopandas.GeoDataFrame], changes: list[str]
) -> int:
    """Write a new file chunk by chunk and add GDAL's warnings to `changes`; returns the number of features."""
    options: dict[str, Any] = {}
    for chunk in chunks:
        append = bool(options)
        options = options or _driver_options(driver, geometry_type, chunk)
        with warnings.catch_warnings(record=True) as caught, _without_clock():
            warnings.simplefilter("always")
            pyogrio.write_dataframe(chunk, path, append=append, layer=path.stem, **options)
        changes += [first_line(str(each.message)) for each in caught]
    count: int = pyogrio.read_info(path, force_feature_count=True)["features"]
    return count


@contextmanager
def _without_clock() -> Iterator[None]:
    """Let a GeoPackage have a constant time of its last change, so that equal parcels make equal files."""
    before = pyogrio.get_gdal_config_option(_CLOCK)
    pyogrio.set_gdal_config_options({_CLOCK: before or "2000-01-01T00:00:00.000Z"})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({_CLOCK: before})


def _driver_options(driver: str, geometry_type: str, first: geopandas.GeoDataFrame) -> dict[str, Any]:
    """Options with which a driver accepts every geometry and column.

    Args:
        driver: Name of the GDAL driver.
        geometry_type: Geometry type of the layer from which the features were read.
        first: First chunk.
    """
    options: dict[str, Any] = {"driver": driver}
    only_polygons = geometry_type.removeprefix("Multi") in ("Polygon", "Polygon Z")
    if driver == "ESRI Shapefile":
        options["geometry_type"] = geometry_type.removeprefix("Multi") if only_polygons else "Polygon"
    else:
        # A layer of polygons cannot hold multi-polygons, and some "polygons" of a shapefile are multi-polygons.
        options["geometry_type"] = f"Multi{geometry_type.removeprefix('Multi')}" if only_polygons else "Unknown"
        options["promote_to_multi"] = only_polygons
    if driver == "GPKG":
        # It stores number and geometry of a feature in columns, whose names may collide with the user's.
        options |= {"FID": _unused_name("fid", first.columns), "GEOMETRY_NAME": _unused_name("geom", first.columns)}
    if driver == "FlatGeobuf" and (first.geometry.isna() | first.geometry.is_empty).any():
        options["SPATIAL_INDEX"] = "NO"  # the index cannot hold features without a geometry
    return options


def _unused_name(name: str, taken: Collection[str]) -> str:
    """The name, with underscores appended until it is not taken; databases ignore case."""
    known = {str(each).casefold() for each in taken}
    while name in known:
        name += "_"
    return name


def split_range(count: int, size: int) -> Iterator[tuple[int, int]]:
    """Start and length of chunks; one empty chunk if there is nothing, so that the columns are written."""
    yield from ((start, min(size, count - start)) for start in range(0, max(count, 1), size))


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (*_FAILURES, OSError) as error:
        other = isinstance(error, _UNSUPPORTED) and path.suffix.lower() != ".gpkg"
        advice = "choose a .gpkg file, which supports all types; " if other else ""
        raise CropzooError(
            f"cannot write {str(path)!r}; {first_line(error)}; {advice}an existing file is unchanged"
        ) from error
