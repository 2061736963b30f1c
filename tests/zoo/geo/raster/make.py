"""Generators of tiny images: one file per date, one file per band, ESA products, and STAC items."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.io import MemoryFile
from rasterio.shutil import copy

SIZE = 60
"""Pixels of 10 m along a side; 30 of 20 m, 10 of 60 m."""

ORIGIN = (500_000, 5_600_000)
CRS = "EPSG:32631"
DAYS = ("2019-03-01", "2019-05-16")
BANDS = ("B04", "B08", "SCL")
NATIVE = {"B02": 10, "B04": 10, "B08": 10, "B05": 20, "B8A": 20, "SCL": 20, "B01": 60}
"""Bands of a product with their pixel sizes in m."""


def write_raster(
    path: Path,
    values: NDArray[Any],
    names: Sequence[str] = (),
    *,
    pixel: float = 10,
    origin: tuple[float, float] = ORIGIN,
    tags: Mapping[str, Any] | None = None,
    **profile: Any,
) -> Path:
    """Write a raster of values (C, H, W) or (H, W), as lossless JPEG 2000 if the suffix is .jp2."""
    values = values[None] if values.ndim == 2 else values
    shape = {"count": values.shape[0], "height": values.shape[1], "width": values.shape[2], "dtype": values.dtype}
    place = {"crs": CRS, "transform": Affine(pixel, 0, origin[0], 0, -pixel, origin[1])}
    options = {"driver": "GTiff", "compress": "deflate", **shape, **place, **profile}
    path.parent.mkdir(parents=True, exist_ok=True)
    with MemoryFile() as memory:
        with memory.open(**options) as target:
            target.write(values)
            for number, name in enumerate(names, start=1):
                target.set_band_description(number, name)
            target.update_tags(**(tags or {}))
        if path.suffix == ".jp2":
            with memory.open() as source:
                copy(source, path, driver="JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES")
        else:
            path.write_bytes(memory.read())
    return path


def pixels(name: str, seed: int = 0, size: int = SIZE, pixel: int = 10) -> NDArray[Any]:
    """Random values of a band, (H, W): uint16 without 0, or SCL classes as uint8."""
    side = size * 10 // pixel
    generator = np.random.default_rng([seed, *name.encode()])
    if name == "SCL":
        return generator.choice([3, 4, 5, 6, 9], (side, side)).astype(np.uint8)
    return generator.integers(1001, 9000, (side, side)).astype(np.uint16)


def make_series(
    folder: Path, days: Sequence[str] = DAYS, bands: Sequence[str] = BANDS, named: bool = True, **options: Any
) -> dict[str, NDArray[Any]]:
    """Write one file per date with all bands; returns the values (C, H, W) by day. `named` adds band descriptions."""
    written = {}
    for seed, day in enumerate(days):
        written[day] = np.stack([pixels(name, seed).astype(np.uint16) for name in bands])
        write_raster(folder / f"S2_{day}.tif", written[day], bands if named else (), **options)
    return written


def make_product(
    root: Path,
    stamp: str = "20190516T104031",
    *,
    tile: str = "T31UFS",
    baseline: str = "0212",
    level: str = "2A",
    seed: int = 0,
    metadata: bool = True,
    suffix: str = ".jp2",
    **options: Any,
) -> dict[str, NDArray[Any]]:
    """Write an ESA product with its folders; returns the values of each band at its finest resolution, (H, W).

    As in real products, bands of 10 m also exist at 20 m, and those of 20 m at 60 m, with other numbers; there are
    previews, water vapor and quality masks too.
    """
    product = root / f"S2A_MSIL{level}_{stamp}_N{baseline}_R008_{tile}_20190517T000000.SAFE"
    images = product / "GRANULE" / f"L{level}_{tile}_A020_{stamp}" / "IMG_DATA"
    written = {}
    for name, native in NATIVE.items():
        written[name] = pixels(name, seed, pixel=native)
        for pixel in (10, 20, 60):
            if pixel >= native:
                values = written[name] if pixel == native else pixels(name, seed + 100, pixel=pixel)
                file = images / f"R{pixel}m" / f"{tile}_{stamp}_{name}_{pixel}m{suffix}"
                write_raster(file, values, pixel=pixel, **options)
    picture = np.zeros((3, SIZE, SIZE), np.uint8)
    write_raster(images / "R10m" / f"{tile}_{stamp}_TCI_10m{suffix}", picture, **options)
    write_raster(images / "R10m" / f"{tile}_{stamp}_WVP_10m{suffix}", picture[0].astype(np.uint16), **options)
    write_raster(images.parent / "QI_DATA" / f"MSK_QUALIT_B04{suffix}", picture[0], **options)
    write_raster(images.parent / "QI_DATA" / f"{tile}_{stamp}_PVI{suffix}", picture, **options)
    if metadata:
        kind = "BOA" if level == "2A" else "RADIO"
        value = -1000 if int(baseline) >= 400 else 0
        lines = [f'<{kind}_ADD_OFFSET band_id="{number}">{value}</{kind}_ADD_OFFSET>' for number in range(13)]
        head = f"<PROCESSING_BASELINE>{baseline[:2]}.{baseline[2:]}</PROCESSING_BASELINE>"
        text = "\n".join([head, *(lines if value else [])])
        (product / f"MTD_MSIL{level}.xml").write_text(f"<product>{text}</product>")
    return written


def make_item(day: str = "2019-05-16", name: str = "item", **properties: Any) -> dict[str, Any]:
    """STAC item without assets."""
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "geometry": None,
        "links": [],
        "properties": {"datetime": f"{day}T10:40:31Z", **properties},
        "assets": {},
    }


def write_items(path: Path, items: Sequence[dict[str, Any]]) -> Path:
    """Write an item collection."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(items)}))
    return path


def rewrite(path: Path, change: Any = np.copy, **profile: Any) -> None:
    """Rewrite a GeoTIFF with other pixels or another header."""
    with rasterio.open(path) as source:
        values, names = change(source.read()), [name for name in source.descriptions if name]
        kept = {"crs": source.crs, "transform": source.transform, "nodata": source.nodata}
    write_raster(path, values, names, **{**kept, **profile})
