"""Options under which every built-in dataset opens on tiny files; a new one is a function and a row here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

Generator = Callable[[str], ModuleType]
"""Gives the module tests/data/NAME/make.py."""


def synthetic(folder: Path, generator: Generator) -> dict[str, Any]:
    """A small landscape with labels finer than the images."""
    return {"size": 160, "block": 16, "dates": 6, "years": 1, "label_scale": 2, "cache": folder}


def geotiff(folder: Path, generator: Generator) -> dict[str, Any]:
    """One made site."""
    generator("geotiff").make_site(folder / "site")
    return {"root": folder}


def pastis(folder: Path, generator: Generator) -> dict[str, Any]:
    """PASTIS-R of ten patches."""
    generator("pastis").make_pastis(folder / "PASTIS-R")
    return {"root": folder}


def pastis24(folder: Path, generator: Generator) -> dict[str, Any]:
    """Twenty windows of ten patches."""
    generator("pastis24").make_pastis24(folder / "PASTIS24")
    return {"root": folder / "PASTIS24"}


def mtlcc(folder: Path, generator: Generator) -> dict[str, Any]:
    """Ten tiles of each year."""
    generator("mtlcc").make_mtlcc(folder / "MTLCC")
    return {"root": folder / "MTLCC"}


def t31tfm(folder: Path, generator: Generator) -> dict[str, Any]:
    """Windows of three years with labels finer than the images."""
    generator("t31tfm").make_t31tfm(folder / "T31TFM_1618")
    return {"root": folder / "T31TFM_1618", "label_scale": 4}


def torchgeo(folder: Path, generator: Generator) -> dict[str, Any]:
    """Sentinel-2 of three days, with a scene classification, over EuroCrops."""
    files = generator("torchgeo")
    files.make_images(folder / "images", bands=(*files.BANDS, "SCL"))
    files.make_parcels(folder / "crops")
    return {
        "image_root": folder / "images",
        "label_root": folder / "crops",
        "bands": files.BANDS,
        "window": 24,
        "split_seed": 1,
    }


OPTIONS = {
    "synthetic": synthetic,
    "geotiff": geotiff,
    "pastis": pastis,
    "prepared": pastis,
    "pastis24": pastis24,
    "mtlcc": mtlcc,
    "t31tfm": t31tfm,
    "torchgeo": torchgeo,
}
"""By name: a function that puts files into a folder by the generators next to this file, and returns the options."""
