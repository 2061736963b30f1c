"""GeoJSON in pieces."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import geopandas
import pyogrio


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
