"""Vector files in pieces: read with all their columns, written as a whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError

from cropzoo.errors import CropzooError, UsageError
from cropzoo.files import replacing

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


@dataclass(frozen=True)
class VectorFile:
    """A layer of polygons.

    Args:
        path: of the file.
        layer: its name in it.
        count: features.
        columns: names.
        whole: those of them that hold whole numbers.
        kind: of geometry, as GDAL names it.
        crs: of the geometries.
    """

    path: Path
    layer: str
    count: int
    columns: tuple[str, ...]
    whole: frozenset[str]
    kind: str
    crs: Any

    def read(self, start: int, count: int, columns: Iterable[str] | None = None) -> geopandas.GeoDataFrame:
        """Features from number `start` on, with some columns or all; whole numbers stay whole where some are empty.

        Raises:
            CropzooError: naming the file.
        """
        names = list(self.columns if columns is None else columns)
        with _reading(self.path):
            frame = pyogrio.read_dataframe(
                self.path, layer=self.layer, columns=names, skip_features=start, max_features=count
            )
        for name in self.whole.intersection(names):
            if frame[name].dtype.kind == "f":
                frame[name] = frame[name].astype("Int64")
        return frame


def open_vectors(path: Path) -> VectorFile:
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
    whole = {
        name for name, kind in zip(names, info["dtypes"], strict=True) if np.dtype(kind).kind in "iu" and kind != "bool"
    }
    return VectorFile(path, layers[0], info["features"], names, frozenset(whole), info["geometry_type"], info["crs"])


def check_target(out: Path, source: Path, overwrite: bool) -> None:
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


def is_read_in_pieces(out: Path) -> bool:
    """Whether a file of this format can be added to; else all parcels are held in memory at once."""
    return out.suffix.lower() != ".fgb"


def write_vectors(out: Path, source: VectorFile, pieces: Iterable[geopandas.GeoDataFrame]) -> None:
    """Write features piece by piece; the file gets its name when all are there, and what stood there stays otherwise.

    GeoJSON is written in longitude and latitude, as its readers expect; all else in the CRS that comes.

    Args:
        out: the file, its format told by the suffix.
        source: where the features came from; their number must be the same.
        pieces: with equal columns.

    Raises:
        CropzooError: naming the file.
    """
    driver = DRIVERS[out.suffix.lower()]
    options: dict[str, Any] = {"driver": driver, "layer": out.stem}
    if driver in ("GPKG", "FlatGeobuf") and "Polygon" in source.kind:
        # A layer of polygons may hold no multi-polygon, and of what a shapefile calls polygons some are.
        kind = source.kind if source.kind.startswith("Multi") else f"Multi{source.kind}"
        options |= {"geometry_type": kind, "promote_to_multi": True}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise CropzooError(f"cannot write {str(out)!r}; {error.strerror}") from error
    try:
        scratch = folder / out.name
        with _writing(out):
            for number, piece in enumerate(pieces):
                placed = piece.to_crs("EPSG:4326") if driver == "GeoJSON" else piece
                pyogrio.write_dataframe(placed, scratch, append=number > 0, **options)
            written = pyogrio.read_info(scratch, force_feature_count=True)["features"]
            if written != source.count:
                raise DataSourceError(f"{written} of {source.count} parcels arrived")
        for file in sorted(folder.iterdir(), key=lambda file: file.suffix.lower() in _LAST):
            with replacing(out.with_name(file.name)) as target:
                file.replace(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def chunks(count: int, size: int) -> Iterator[tuple[int, int]]:
    """Start and length of pieces; one empty piece of nothing, so that its columns are written."""
    yield from ((start, min(size, count - start)) for start in range(0, max(count, 1), size))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
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
        raise CropzooError(
            f"cannot write {str(path)!r}; {_first_line(error)}; nothing that stood there was changed"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
