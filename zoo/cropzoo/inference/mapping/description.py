"""Description of a map: its classes with their mapped areas, its grid, its images and the outputs next to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyproj

from cropzoo.data.classified_map import NODATA, OUTPUTS, MapFile, open_map, target_paths
from cropzoo.data.mapped_areas import NOT_ESTIMATED, MappedAreas, measure_areas
from cropzoo.geo.raster.grid import format_crs
from cropzoo.geo.vector.fields import read_number


@dataclass(frozen=True)
class MapDescription:
    """A map and what was counted in it.

    Args:
        source: The class map.
        areas: Mapped areas of its classes.
        outputs: Path of each output that exists, by its name.
        extent: Smallest and largest x and y of the outer corners, (left, bottom, right, top), in units of the CRS.
        bounds: The same in degrees, (west, south, east, north); west is larger than east across 180 degrees.
    """

    source: MapFile
    areas: MappedAreas
    outputs: dict[str, Path]
    extent: tuple[float, float, float, float]
    bounds: tuple[float, float, float, float]

    def as_dict(self) -> dict[str, Any]:
        """The description as plain data for JSON; without a key where the map has no such tag."""
        grid, tags, scores = self.source.grid, self.source.tags, self.source.scores
        a, b, _, d, e, _ = tuple(grid.transform)[:6]
        total = float(self.areas.hectares.sum())
        dates = {
            "dates": read_number(tags.get("DATES", "")),
            "first_date": tags.get("FIRST_DATE"),
            "last_date": tags.get("LAST_DATE"),
            "bands": tags.get("BANDS", "").split() or None,
        }
        facts = {
            "kind": "class map",
            "file": str(self.source.path),
            "bytes": self.source.path.stat().st_size,
            "cropzoo_version": tags.get("CROPZOO_VERSION"),
            "checkpoint": tags.get("CHECKPOINT"),
            "checkpoint_sha256": tags.get("CHECKPOINT_SHA256"),
            "model": scores.model or None,
            "dataset": scores.dataset or None,
            "scores": scores.summary,
            "below_baseline": scores.warning or None,
            **dates,
            "crs": format_crs(grid.crs),
            "height": grid.height,
            "width": grid.width,
            "pixel_size": [(a * a + d * d) ** 0.5, (b * b + e * e) ** 0.5],
            "unit": pyproj.CRS.from_user_input(grid.crs).axis_info[0].unit_name,
            "extent": list(self.extent),
            "longitude_latitude": list(self.bounds),
            "outputs": {name: str(path) for name, path in self.outputs.items()},
            "nodata_value": NODATA,
            "nodata_share": self.areas.nodata / (grid.height * grid.width),
            "mapped_hectares": total,
            "areas": NOT_ESTIMATED,
            "classes": [
                {
                    "value": value,
                    "name": each.name,
                    "code": each.code,
                    "color": each.color,
                    "test_precision": scores.precision.get(each.name),
                    "pixels": pixels,
                    "hectares": hectares,
                    "share": hectares / total if total else 0.0,
                }
                for value, (each, pixels, hectares) in enumerate(
                    zip(self.source.classes, self.areas.pixels.tolist(), self.areas.hectares.tolist(), strict=True)
                )
            ],
        }
        return {key: value for key, value in facts.items() if value is not None}


def describe_map(path: Path) -> MapDescription:
    """Describe a class map that `cropzoo predict` or `cropzoo mosaic` wrote; every pixel of it is counted.

    Raises:
        CropzooError: The file is missing, unreadable or not such a map.
    """
    source = open_map(path)
    x, y = zip(*source.grid.corners(), strict=True)
    extent = min(x), min(y), max(x), max(y)
    to_degrees = pyproj.Transformer.from_crs(source.grid.crs, "EPSG:4326", always_xy=True)
    outputs = {name: file for name, file in target_paths(path, OUTPUTS).items() if file.is_file()}
    return MapDescription(source, measure_areas(source), outputs, extent, to_degrees.transform_bounds(*extent))
