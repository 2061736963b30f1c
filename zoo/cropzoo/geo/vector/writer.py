"""Vector files in pieces: read with all their columns, written as a whole or not at all."""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError

from cropzoo.errors import CropzooError, UsageError
from cropzoo.io import atomic_write


def write_geojson(path: Path, pieces: Iterable[geopandas.GeoDataFrame]) -> int:
    """Write features in longitude and latitude, as readers of GeoJSON expect, and return how many they are.

    A file of GeoJSON has no schema: what GDAL appends to it takes the types that the features before seem to have, so
    that a column which begins with small numbers or without any would cut off large ones or make texts of them. So
    each piece becomes lines of features of its own, which are strung together.

    Args:
        path: of the file; beside it stands one piece while it is written.
        pieces: of the features.
    """
    lines, count = path.with_name(f"{path.name}l"), 0
    head = {"type": "FeatureCollection", "name": path.stem}
    with path.open("wb") as file:
        file.write(json.dumps(head, ensure_ascii=False)[:-1].encode() + b', "features": [')
        for piece in pieces:
            placed = piece.to_crs("EPSG:4326")
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
}
"""By the suffix of the file that is written."""

_FAILURES = (DataSourceError, DataLayerError, FeatureError, FieldError, GeometryError, UnicodeDecodeError, RuntimeError)
_LAST = (".shp",)
"""Of a file in several parts the one that gets its name last: without it there is no layer."""

_INDICES = (".qix", ".sbn", ".sbx")
"""Where the features of a shapefile lie; those of the file that is replaced would be wrong."""

_LONGEST = 200
"""Letters of a message."""

_UNLIKE = (FeatureError, FieldError, GeometryError)
"""What a format raises that cannot hold a column or a geometry."""


@dataclass(frozen=True)
class VectorFile:
    """A layer of polygons.

    Args:
        path: of the file.
        layer: its name in it.
        count: features.
        columns: names.
        kinds: of those that would change where some fields are empty, as pandas names it: whole numbers and yes or no.
        kind: of geometry, as GDAL names it.
        crs: of the geometries.
    """

    path: Path
    layer: str
    count: int
    columns: tuple[str, ...]
    kinds: Mapping[str, str]
    kind: str
    crs: Any

    def read(self, start: int, count: int, columns: Iterable[str] | None = None) -> geopandas.GeoDataFrame:
        """Features from number `start` on, with some columns or all; empty fields leave the others as they are.

        Raises:
            CropzooError: naming the file.
        """
        names = list(self.columns if columns is None else columns)
        with _reading(self.path):
            frame = pyogrio.read_dataframe(
                self.path, layer=self.layer, columns=names, skip_features=start, max_features=count
            )
        changed = {name: self.kinds[name] for name in names if name in self.kinds and frame[name].dtype.kind in "fO"}
        return frame.astype(changed)


def open_vector_file(path: Path) -> VectorFile:
    """The one layer of a file that has geometries.

    Raises:
        CropzooError: naming the file: missing, unreadable, several layers, none with geometries, no CRS.
    """
    if not path.exists():
        raise CropzooError(f"parcels {str(path)!r}; there is no such file; check its name")
    with _reading(path):
        layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
        if len(layers) != 1:
            found = f"{len(layers)} layers with geometries ({', '.join(layers)})" if layers else "no geometries"
            raise CropzooError(f"parcels {str(path)!r}; it has {found}; give a file of one layer of polygons")
        info = pyogrio.read_info(path, layer=layers[0], force_feature_count=True)
    if not info["crs"]:
        raise CropzooError(f"parcels {str(path)!r}; they have no CRS; write it into the file")
    names = tuple(map(str, info["fields"]))
    known = {"i": "Int64", "u": "Int64", "b": "boolean"}
    stored = zip(names, (np.dtype(kind).kind for kind in info["dtypes"]), strict=True)
    kinds = {name: known[kind] for name, kind in stored if kind in known}
    return VectorFile(path, layers[0], info["features"], names, kinds, info["geometry_type"], info["crs"])


def check_output_path(out: Path, source: Path, overwrite: bool) -> None:
    """Nothing, if a file can be written there.

    Raises:
        UsageError: a suffix that tells no format, the file that is read, a folder, or a file that is there.
    """
    if out.suffix.lower() not in DRIVERS:
        raise UsageError(f"--out {str(out)!r}; its name must end in {', '.join(DRIVERS)}")
    if out.is_dir():
        raise UsageError(f"--out {str(out)!r}; it is a folder; name a file, such as {str(out / 'parcels.gpkg')!r}")
    if out.exists() and source.exists() and out.samefile(source):
        raise UsageError(f"--out {str(out)!r}; it is the file of the parcels themselves; name another")
    if out.exists() and not overwrite:
        raise UsageError(f"--out {str(out)!r}; it exists already; --overwrite replaces it, or name another file")


def supports_append(out: Path) -> bool:
    """Whether a file of this format can be added to; else all parcels are held in memory at once."""
    return out.suffix.lower() != ".fgb"


def write_vector_file(out: Path, source: VectorFile, pieces: Iterable[geopandas.GeoDataFrame]) -> tuple[str, ...]:
    """Write features piece by piece; the file gets its name when all are there, and what stood there stays otherwise.

    GeoJSON is written in longitude and latitude, as its readers expect; all else in the CRS that comes.

    Args:
        out: the file, its format told by the suffix.
        source: where the features came from; their number must be the same.
        pieces: with equal columns.

    Returns:
        What the format could not hold as it is, such as long names of columns in a shapefile, a line each.

    Raises:
        CropzooError: naming the file.
    """
    driver = DRIVERS[out.suffix.lower()]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise CropzooError(f"cannot write {str(out)!r}; {error.strerror}") from error
    try:
        # Of a shapefile GDAL itself writes the suffix in small letters.
        scratch = folder / f"{out.stem}{out.suffix.lower()}"
        told: list[str] = []
        with _writing(out):
            if driver == "GeoJSON":
                written = write_geojson(scratch, pieces)
            else:
                written = _write_layer(scratch, driver, source.kind, pieces, told)
            if written != source.count:
                raise DataSourceError(f"{written} of {source.count} parcels arrived")
        for file in sorted(folder.iterdir(), key=lambda file: file.suffix.lower() in _LAST):
            with atomic_write(out if file == scratch else out.with_name(file.name)) as target:
                file.replace(target)
        for suffix in _INDICES if driver == "ESRI Shapefile" else ():
            out.with_suffix(suffix).unlink(missing_ok=True)
        return tuple(dict.fromkeys(told))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_layer(path: Path, driver: str, kind: str, pieces: Iterable[geopandas.GeoDataFrame], told: list[str]) -> int:
    """Write a new file piece by piece, add what GDAL warns of to `told`, and return how many features there are."""
    options: dict[str, Any] = {}
    for piece in pieces:
        append = bool(options)
        options = options or _options(driver, kind, piece)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            pyogrio.write_dataframe(piece, path, append=append, layer=path.stem, **options)
        told += [_first_line(str(each.message)) for each in caught]
    count: int = pyogrio.read_info(path, force_feature_count=True)["features"]
    return count


def _options(driver: str, kind: str, first: geopandas.GeoDataFrame) -> dict[str, Any]:
    """What a driver needs to be told to take every geometry and column; of all pieces the first one tells it.

    Args:
        driver: of GDAL.
        kind: of geometry of the layer that the features come from.
        first: piece.
    """
    options: dict[str, Any] = {"driver": driver}
    one_kind = kind.removeprefix("Multi") in ("Polygon", "Polygon Z")
    if driver == "ESRI Shapefile":
        options["geometry_type"] = kind.removeprefix("Multi") if one_kind else "Polygon"
    else:
        # A layer of polygons may hold no multi-polygon, and of what a shapefile calls polygons some are.
        options |= {"geometry_type": f"Multi{kind.removeprefix('Multi')}" if one_kind else "Unknown"}
        options |= {"promote_to_multi": one_kind}
    if driver == "GPKG":
        # It keeps the number and the geometry of a feature in columns, whose names may be those of the user's.
        options |= {"FID": _free("fid", first.columns), "GEOMETRY_NAME": _free("geom", first.columns)}
    if driver == "FlatGeobuf" and (first.geometry.isna() | first.geometry.is_empty).any():
        options["SPATIAL_INDEX"] = "NO"  # which holds no feature without a geometry
    return options


def _free(name: str, taken: Collection[str]) -> str:
    """The name with as many underscores as make it none of those taken; databases do not tell capitals apart."""
    known = {str(each).casefold() for each in taken}
    while name in known:
        name += "_"
    return name


def split_range(count: int, size: int) -> Iterator[tuple[int, int]]:
    """Start and length of pieces; one empty piece of nothing, so that its columns are written."""
    yield from ((start, min(size, count - start)) for start in range(0, max(count, 1), size))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            # numbers of GDAL's own, which nobody reads; a column `id` is kept as it is
            warnings.filterwarnings("ignore", "Several features with id", RuntimeWarning)
            yield
    except _FAILURES as error:
        raise CropzooError(
            f"parcels {str(path)!r}; the file cannot be read as vector data ({_first_line(error)}); "
            "write it as a GeoPackage, GeoJSON or shapefile"
        ) from error


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (*_FAILURES, OSError) as error:
        other = isinstance(error, _UNLIKE) and path.suffix.lower() != ".gpkg"
        advice = "name a .gpkg, which holds every kind; " if other else ""
        raise CropzooError(
            f"cannot write {str(path)!r}; {_first_line(error)}; {advice}nothing that stood there was changed"
        ) from error


def _first_line(error: Exception | str) -> str:
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line if len(line) < _LONGEST else f"{line[:_LONGEST]} ..."  # a warning may hold a whole field
