"""Parcels put together from their pieces in tiles, and written while more of them come."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shapely import MultiPolygon, union_all

from cropzoo_plugins.datasets.landscape.curves import curve_table
from cropzoo_plugins.datasets.landscape.tiles import SIDE, Area, Tile

LAYER = "parcels"


@dataclass
class _Parcel:
    label: int
    pieces: list[Any]
    last: int


@dataclass
class ParcelFile:
    """A GeoPackage of parcels: parcel_id, crop_code, crop_name and a multi-polygon each.

    A parcel is far smaller than a tile, so it is whole once a row of tiles has come without a piece of it: what is kept
    in memory is some rows of tiles.

    Args:
        path: of the file, which must not exist.
        area: that the tiles are of.
    """

    path: Path
    area: Area
    _waiting: dict[int, _Parcel] = field(default_factory=dict)
    _seen: Counter[int] = field(default_factory=Counter)
    _rows: int = 0

    def add(self, tile: Tile) -> None:
        """Take in the pieces of a tile; tiles may come in any order.

        Raises:
            OSError: the file can't be written.
        """
        row = tile.corner.row // SIDE
        for piece in tile.pieces:
            parcel = self._waiting.setdefault(piece.parcel, _Parcel(piece.label, [], row))
            parcel.pieces.append(piece.polygon)
            parcel.last = max(parcel.last, row)
        self._seen[row] += 1
        while self._seen[self._rows] == self.area.across:
            self._rows += 1
            self._write(self._rows if self._rows == self.area.across else self._rows - 1)

    def _write(self, before: int) -> None:
        """Append the parcels whose last piece lies in a row of tiles before this one."""
        from geopandas import GeoDataFrame

        whole = sorted(number for number, parcel in self._waiting.items() if parcel.last < before)
        parcels = [self._waiting.pop(number) for number in whole]
        classes = curve_table().classes
        columns = {
            "parcel_id": whole,
            "crop_code": [classes[parcel.label].code for parcel in parcels],
            "crop_name": [classes[parcel.label].name for parcel in parcels],
        }
        shapes = [_joined(parcel.pieces) for parcel in parcels]
        frame = GeoDataFrame(columns, geometry=shapes, crs=self.area.crs)
        frame = frame.astype({"parcel_id": "int32", "crop_code": "int32", "crop_name": "str"})
        mode = "a" if self.path.exists() else "w"
        how = {"layer": LAYER, "driver": "GPKG", "engine": "pyogrio", "geometry_type": "MultiPolygon"}
        try:
            frame.to_file(self.path, mode=mode, **how)
        except RuntimeError as error:  # all that pyogrio raises
            raise OSError(f"{self.path.name}: {error}") from error


def _joined(pieces: list[Any]) -> MultiPolygon:
    """The pieces of one parcel as one shape, without an edge where tiles meet."""
    joined = union_all(pieces)
    return joined if isinstance(joined, MultiPolygon) else MultiPolygon([joined])
