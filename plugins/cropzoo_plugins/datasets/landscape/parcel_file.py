"""Writer of parcels that are assembled from their pieces in tiles."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shapely import MultiPolygon, union_all

from cropzoo_plugins.datasets.landscape.curves import read_curves
from cropzoo_plugins.datasets.landscape.tiles import SIDE, LandscapeArea, LandscapeTile

LAYER = "parcels"


@dataclass
class _Parcel:
    label: int
    pieces: list[Any]
    last: int


@dataclass
class ParcelFile:
    """GeoPackage of parcels with parcel_id, crop_code, crop_name and a multi-polygon each.

    A parcel is much smaller than a tile, so it is complete once a row of tiles has no piece of it. Only some rows of
    tiles are kept in memory.

    Args:
        path: Path of the file, which must not exist.
        area: Area of the tiles.
    """

    path: Path
    area: LandscapeArea
    _waiting: dict[int, _Parcel] = field(default_factory=dict)
    _seen: Counter[int] = field(default_factory=Counter)
    _rows: int = 0

    def add_tile(self, tile: LandscapeTile) -> None:
        """Add the pieces of a tile; tiles may be added in any order.

        Raises:
            OSError: The file cannot be written.
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
        """Append the parcels whose last piece is in a row of tiles before the given one."""
        from geopandas import GeoDataFrame

        complete = sorted(number for number, parcel in self._waiting.items() if parcel.last < before)
        parcels = [self._waiting.pop(number) for number in complete]
        classes = read_curves().classes
        columns = {
            "parcel_id": complete,
            "crop_code": [classes[parcel.label].code for parcel in parcels],
            "crop_name": [classes[parcel.label].name for parcel in parcels],
        }
        shapes = [_merge_pieces(parcel.pieces) for parcel in parcels]
        frame = GeoDataFrame(columns, geometry=shapes, crs=self.area.crs)
        frame = frame.astype({"parcel_id": "int32", "crop_code": "int32", "crop_name": "str"})
        mode = "a" if self.path.exists() else "w"
        options = {"layer": LAYER, "driver": "GPKG", "engine": "pyogrio", "geometry_type": "MultiPolygon"}
        try:
            frame.to_file(self.path, mode=mode, **options)
        except RuntimeError as error:  # pyogrio raises only this type
            raise OSError(f"{self.path.name}: {error}") from error


def _merge_pieces(pieces: list[Any]) -> MultiPolygon:
    """Merge the pieces of one parcel, without edges between tiles."""
    joined = union_all(pieces)
    return joined if isinstance(joined, MultiPolygon) else MultiPolygon([joined])
