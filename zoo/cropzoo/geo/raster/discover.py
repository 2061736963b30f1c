"""From patterns to tiles: which images there are, of which place and day, and whether they fit together."""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.warp import transform
from shapely import Polygon

from cropzoo.errors import CropzooError, UsageError, suggest
from cropzoo.geo.raster.dates import EPOCH
from cropzoo.geo.raster.grid import Grid
from cropzoo.geo.raster.metadata import HeaderReader
from cropzoo.geo.raster.naming import SCL, SENTINEL2_BANDS, sentinel2_band
from cropzoo.geo.raster.scan import FoundBand, find_files, scan_files
from cropzoo.geo.raster.scene import Acquisition, BandFile, ImageStack, signed_dtype
from cropzoo.geo.raster.stac import read_items

_TOLERANCE = 0.01
"""Share of a pixel by which corners may differ and still be the same."""

_EDGE_POINTS = 21
"""Points along an edge that bend with it in another CRS."""


@dataclass
class Footprint:
    """The layers of one footprint; `grid` is that of the first."""

    tile: str
    grid: Grid
    found: list[FoundBand] = field(default_factory=list)

    @cached_property
    def pixel(self) -> float:
        """The shorter side of a pixel, in the CRS's units."""
        a, b, _, d, e, _ = tuple(self.grid.transform)[:6]
        return min(math.hypot(a, d), math.hypot(b, e))

    @cached_property
    def outline(self) -> Polygon:
        """The footprint in its CRS, its edges in small steps."""
        corners = np.array(self.grid.corners())
        steps = np.linspace(0, 1, _EDGE_POINTS, endpoint=False)[:, None]
        edges = [
            here + steps * (there - here) for here, there in zip(corners, np.roll(corners, -1, axis=0), strict=True)
        ]
        return Polygon(np.concatenate(edges))

    def same(self, grid: Grid) -> bool:
        """Whether a grid, of whatever resolution, covers the same ground to a hundredth of a pixel."""
        if grid is self.grid:
            return True
        tolerance = _TOLERANCE * min(self.pixel, Footprint("", grid).pixel)
        corners = zip(self.grid.corners(), grid.corners(), strict=True)
        return all(math.dist(*pair) <= tolerance for pair in corners) and bool(self.grid.crs == grid.crs)

    def overlaps(self, other: Footprint) -> bool:
        """Whether two footprints share ground; those of which one has no CRS cannot be told apart."""
        if self.grid.crs == other.grid.crs:
            theirs = other.outline
            west, south, east, north = self.outline.bounds
            left, bottom, right, top = theirs.bounds
            if left >= east or right <= west or bottom >= north or top <= south:
                return False
        elif not self.grid.crs or not other.grid.crs:
            return True
        else:
            theirs = Polygon(_project(other.outline, other.grid.crs, self.grid.crs))
        shared = self.outline.intersection(theirs) if theirs.is_valid else theirs
        return not shared.buffer(-_TOLERANCE * self.pixel).is_empty


def group_by_footprint(found: Sequence[FoundBand]) -> list[Footprint]:
    """The layers by the ground that they cover, in order of the first file.

    Layers with different MGRS tiles in their names are of different places, though tiles of Sentinel-2 overlap.

    Raises:
        CropzooError: footprints that overlap without being the same, and no tile names that tell them apart.
    """
    by_grid: dict[tuple[str, int], Footprint] = {}
    places: list[Footprint] = []
    for each in found:
        key = each.tile, id(each.layer.grid)
        if key not in by_grid:
            same = (place for place in places if place.tile == each.tile and place.same(each.layer.grid))
            place = next(same, None) or Footprint(each.tile, each.layer.grid)
            if not place.found:
                places.append(place)
            by_grid[key] = place
        by_grid[key].found.append(each)
    for one, other in combinations(places, 2):
        if (one.tile == other.tile or not one.tile or not other.tile) and one.overlaps(other):
            raise CropzooError(
                f"images {str(one.found[0].layer.path)!r} and {str(other.found[0].layer.path)!r}; their footprints "
                f"overlap without being the same ({other.grid.difference(one.grid) or 'their tile names differ'}); "
                "warp or clip all images of a place, every band of them, to one footprint, or name files of different "
                "tiles after these, like 'T31UFS_2019-05-16.tif'"
            )
    return places


def name_footprints(places: Sequence[Footprint]) -> list[str]:
    """A name for each: its MGRS tile, else the folder that all its files lie in, else its number; all different."""
    wanted = [place.tile or _common_folder(place) for place in places]
    count = Counter(wanted)
    names = []
    for number, (place, name) in enumerate(zip(places, wanted, strict=True), start=1):
        if name and count[name] == 1:
            names.append(name)
        else:
            names.append(f"{place.tile or 'tile'}-{number}")
    return names


def _common_folder(place: Footprint) -> str:
    folders = {str(found.layer.path.absolute().parent) for found in place.found}
    return Path(os.path.commonpath(folders)).resolve().name


def _project(outline: Polygon, source: Any, target: Any) -> NDArray[np.float64]:
    """The points of an outline in another CRS, (points, 2)."""
    x, y = np.asarray(outline.exterior.coords).T
    return np.array(transform(source, target, x, y)).T


@dataclass
class Product:
    """Files of one day that belong together, by the name of the band."""

    name: str
    baseline: int
    layers: dict[str, BandFile] = field(default_factory=dict)

    def add(self, layer: BandFile) -> None:
        """Takes a band; where it is there at several resolutions the finest stays."""
        have = self.layers.get(layer.name)
        if have is None or layer.grid.height * layer.grid.width > have.grid.height * have.grid.width:
            self.layers[layer.name] = layer

    @property
    def files(self) -> str:
        """The file, or the first of them, for messages."""
        paths = sorted({str(layer.path) for layer in self.layers.values()})
        return repr(paths[0]) + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")


def make_acquisitions(found: Sequence[FoundBand], bands: Sequence[str], place: str) -> tuple[Acquisition, ...]:
    """The acquisitions of a place in order of their days.

    Of several products of a day the one of the newer processing baseline comes first, then the one whose name does.

    Args:
        found: its layers.
        bands: that every date must have, without SCL.
        place: name of the tile, for messages.

    Raises:
        CropzooError: a date that lacks a band, or has no SCL band while another has one.
    """
    mask = any(each.layer.name == SCL for each in found)
    by_day: defaultdict[int, list[FoundBand]] = defaultdict(list)
    for each in found:
        by_day[each.day].append(each)
    wanted = (*bands, SCL) if mask else tuple(bands)
    acquisitions = []
    for day in sorted(by_day):
        products = _products(by_day[day], wanted)
        for product in products:
            _check_complete(product, wanted, day, place)
        if products:
            layers = {name: tuple(product.layers[name] for product in products) for name in wanted}
            acquisitions.append(Acquisition(day, layers))
    return tuple(acquisitions)


def _products(found: Sequence[FoundBand], wanted: Sequence[str]) -> list[Product]:
    """The products of a day by preference.

    What does not belong together by its name does where one fills the other's gaps: a mask beside an image.
    """
    products: dict[str, Product] = {}
    for each in found:
        product = products.setdefault(each.product, Product(each.product, each.baseline))
        product.baseline = max(product.baseline, each.baseline)
        product.add(each.layer)
    kept: list[Product] = []
    for product in sorted(products.values(), key=lambda each: (-len(each.layers.keys() & {*wanted}), each.name)):
        host = next((each for each in kept if not each.layers.keys() & product.layers.keys()), None)
        if host is None or product.layers.keys() >= {*wanted}:
            kept.append(product)
        else:
            host.layers.update(product.layers)
            host.baseline = max(host.baseline, product.baseline)
    return sorted(kept, key=lambda each: (-each.baseline, Path(each.name).name, each.name))


def _check_complete(product: Product, wanted: Sequence[str], day: int, place: str) -> None:
    for name in wanted:
        if name not in product.layers:
            remedy = (
                "give every date an SCL band or none"
                if name == SCL
                else "add it, remove this date, or choose bands that every image has by option 'bands'"
            )
            when = EPOCH + timedelta(days=day)
            raise CropzooError(
                f"images of {when} in {place!r}, {product.files}; band {name!r} is missing; "
                f"{suggest(name, product.layers)}; {remedy}"
            )


def find_finest(acquisitions: Sequence[Acquisition], bands: Sequence[str]) -> BandFile:
    """The first layer of the most pixels among some bands."""
    layers = [layer for each in acquisitions for name in bands for layer in each.files[name]]
    return max(layers, key=lambda layer: layer.grid.height * layer.grid.width)


_LARGEST_OFFSET = 2**15 - 1
"""What fits into 16 bits; Sentinel-2 has 1000, Landsat 7273."""


def find_images(patterns: Sequence[str | Path] | str | Path, bands: Sequence[str] = ()) -> list[ImageStack]:
    """The images that patterns mean, by tile and day; headers are read, pixels are not.

    A pattern is a glob (`**` and `~` work), a folder (all rasters in and below it, also a .SAFE folder), a raster
    (.tif, .jp2, .vrt) or a file of STAC items (.json, .geojson). A file holds all bands of a day, named by its
    descriptions or by `bands`, or one band that its name, its folder or its description tells. What belongs together is
    told by names and footprints, see `cropzoo.geo.raster`: the date stands in the name, the folder, the tags or the
    item; the tile is an MGRS name in the path, else the footprint.

    Args:
        patterns: one or several.
        bands: names of the bands to use; without them all that are there. They also name, in order, the bands of files
            that don't. SCL is always used where it is there and need not be named.

    Returns:
        Tiles by name, all with the same bands and data type.

    Raises:
        CropzooError: naming the files: none found, unreadable, without a date or band names, a band that a date lacks,
            footprints that overlap, pixel sizes that don't fit, mixed data types.
        UsageError: a band named twice, or none but SCL.
    """
    several = [patterns] if isinstance(patterns, (str, Path)) else list(patterns)
    asked = _check_bands(bands)
    headers = HeaderReader()
    candidates, collections = find_files(several, asked)
    found = scan_files(candidates, asked, headers)
    for file in collections:
        found += read_items(file, asked, headers)
    if not found:
        raise CropzooError(f"images {[str(each) for each in several]}; there is no image; check the paths")
    _check_levels(found)
    chosen = tuple(name for name in asked if name != SCL) or _all_bands(found)
    used = [each for each in found if each.layer.name in (*chosen, SCL)]
    _check_known(chosen, found)
    _check_days(chosen, found, used)
    _check_types([each.layer for each in used if each.layer.name != SCL])
    places = group_by_footprint(used)
    named = sorted(zip(name_footprints(places), places, strict=True), key=lambda pair: pair[0])
    shifted = any(each.layer.offset for each in used)
    return [_make_tile(name, place, chosen, shifted) for name, place in named]


def _make_tile(name: str, place: Footprint, bands: tuple[str, ...], shifted: bool) -> ImageStack:
    acquisitions = make_acquisitions(place.found, bands, name)
    best = find_finest(acquisitions, bands)
    for acquisition in acquisitions:
        for layers in acquisition.files.values():
            for layer in layers:
                _check_pixels(layer, best)
    read_dtype = signed_dtype(best.dtype) if shifted else best.dtype
    return ImageStack(name, best.grid, acquisitions, bands, best.dtype, read_dtype)


def _check_bands(bands: Sequence[str]) -> tuple[str, ...]:
    asked = (bands,) if isinstance(bands, str) else tuple(bands)
    if len(set(asked)) != len(asked):
        raise UsageError(f"option 'bands' is {asked!r}; a band is named twice; name each once")
    if asked and not {*asked} - {SCL}:
        raise UsageError("option 'bands' names nothing but the SCL mask; name a band")
    return asked


def _all_bands(found: Sequence[FoundBand]) -> tuple[str, ...]:
    """All bands but SCL: in the order of the first file if it has several, else in that of Sentinel-2, then by name."""
    first = found[0].layer.path
    in_file = [each.layer.name for each in found if each.layer.path == first]
    order = {name: place for place, name in enumerate(in_file)} if len(in_file) > 1 else {}

    def place_of(name: str) -> tuple[int, int, str]:
        known = sentinel2_band(name)
        return order.get(name, len(order)), SENTINEL2_BANDS.index(known) if known else len(SENTINEL2_BANDS), name

    bands = tuple(sorted({each.layer.name for each in found} - {SCL}, key=place_of))
    if not bands:
        raise CropzooError(f"images such as {str(first)!r}; they hold nothing but the SCL mask; give the bands too")
    return bands


def _check_known(bands: Sequence[str], found: Sequence[FoundBand]) -> None:
    known = {each.layer.name for each in found}
    for name in bands:
        if name not in known:
            raise UsageError(
                f"option 'bands' names {name!r}; no image such as {str(found[0].layer.path)!r} has it; "
                f"{suggest(name, known)}"
            )


def _check_days(bands: Sequence[str], found: Sequence[FoundBand], used: Sequence[FoundBand]) -> None:
    """A date none of whose bands are used would otherwise be lost without a word."""

    def key(each: FoundBand) -> tuple[str, str, int]:
        return each.tile, str(Path(each.product).parent), each.day

    have = {key(each) for each in used}
    for each in found:
        if key(each) not in have:
            raise CropzooError(
                f"image {str(each.layer.path)!r}; it has none of the bands {', '.join(bands)}, but "
                f"{each.layer.name!r}; rename its bands, choose others by option 'bands', or move it elsewhere"
            )


def _check_levels(found: Sequence[FoundBand]) -> None:
    """Reflectance at the ground and at the top of the atmosphere don't make one series."""
    first: dict[str, FoundBand] = {}
    for each in found:
        if each.level:
            first.setdefault(each.level, each)
    if len(first) > 1:
        one, other = (str(first[level].layer.path) for level in sorted(first))
        raise CropzooError(
            f"images {one!r} and {other!r}; they are of Level-1C and Level-2A; give the images of one level"
        )


def _check_types(layers: Sequence[BandFile]) -> None:
    first = layers[0]
    for layer in layers:
        if layer.dtype != first.dtype:
            raise CropzooError(
                f"image {str(layer.path)!r}; it holds {layer.dtype} and {str(first.path)!r} holds {first.dtype}; "
                "store all images in one data type and one unit"
            )
        if abs(layer.offset) > _LARGEST_OFFSET:
            raise CropzooError(
                f"image {str(layer.path)!r}; its metadata give an offset of {layer.offset} for band {layer.name!r}; "
                "correct its tags or its scale and offset"
            )


def _check_pixels(layer: BandFile, best: BandFile) -> None:
    """A mask may also be finer than the bands: the pixel in the middle counts."""
    if layer.name == SCL and layer.grid.height > best.grid.height:
        best, layer = layer, best
    if best.grid.height % layer.grid.height or best.grid.width % layer.grid.width:
        raise CropzooError(
            f"image {str(layer.path)!r}; its {layer.grid.height} x {layer.grid.width} pixels are no whole multiple in "
            f"size of the {best.grid.height} x {best.grid.width} of {str(best.path)!r} on the same ground; "
            "warp it to that grid"
        )
