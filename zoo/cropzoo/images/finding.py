"""From patterns to tiles: which images there are, of which place and day, and whether they fit together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cropzoo.errors import CropzooError, UsageError, suggest
from cropzoo.images.headers import HeaderReader
from cropzoo.images.layers import Layer, Tile, signed
from cropzoo.images.names import SCL, SPECTRAL, spectral
from cropzoo.images.places import Place, group_by_place, name_places
from cropzoo.images.products import finest, make_acquisitions
from cropzoo.images.scanning import Found, scan
from cropzoo.images.searching import find_files
from cropzoo.images.stac import read_items

_LARGEST_OFFSET = 2**15 - 1
"""What fits into 16 bits; Sentinel-2 has 1000, Landsat 7273."""


def find_images(patterns: Sequence[str | Path] | str | Path, bands: Sequence[str] = ()) -> list[Tile]:
    """The images that patterns mean, by tile and day; headers are read, pixels are not.

    A pattern is a glob (`**` and `~` work), a folder (all rasters in and below it, also a .SAFE folder), a raster
    (.tif, .jp2, .vrt) or a file of STAC items (.json, .geojson). A file holds all bands of a day, named by its
    descriptions or by `bands`, or one band that its name, its folder or its description tells. What belongs together is
    told by names and footprints, see docs of `cropzoo.images`: the date stands in the name, the folder, the tags or the
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
    found = scan(candidates, asked, headers)
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
    places = group_by_place(used)
    named = sorted(zip(name_places(places), places, strict=True), key=lambda pair: pair[0])
    shifted = any(each.layer.offset for each in used)
    return [_make_tile(name, place, chosen, shifted) for name, place in named]


def _make_tile(name: str, place: Place, bands: tuple[str, ...], shifted: bool) -> Tile:
    acquisitions = make_acquisitions(place.found, bands, name)
    best = finest(acquisitions, bands)
    for acquisition in acquisitions:
        for layers in acquisition.layers.values():
            for layer in layers:
                _check_pixels(layer, best)
    read_dtype = signed(best.dtype) if shifted else best.dtype
    return Tile(name, best.grid, acquisitions, bands, best.dtype, read_dtype)


def _check_bands(bands: Sequence[str]) -> tuple[str, ...]:
    asked = (bands,) if isinstance(bands, str) else tuple(bands)
    if len(set(asked)) != len(asked):
        raise UsageError(f"option 'bands' is {asked!r}; a band is named twice; name each once")
    if asked and not {*asked} - {SCL}:
        raise UsageError("option 'bands' names nothing but the SCL mask; name a band")
    return asked


def _all_bands(found: Sequence[Found]) -> tuple[str, ...]:
    """All bands but SCL: in the order of the first file if it has several, else in that of Sentinel-2, then by name."""
    first = found[0].layer.path
    in_file = [each.layer.name for each in found if each.layer.path == first]
    order = {name: place for place, name in enumerate(in_file)} if len(in_file) > 1 else {}

    def place_of(name: str) -> tuple[int, int, str]:
        known = spectral(name)
        return order.get(name, len(order)), SPECTRAL.index(known) if known else len(SPECTRAL), name

    bands = tuple(sorted({each.layer.name for each in found} - {SCL}, key=place_of))
    if not bands:
        raise CropzooError(f"images such as {str(first)!r}; they hold nothing but the SCL mask; give the bands too")
    return bands


def _check_known(bands: Sequence[str], found: Sequence[Found]) -> None:
    known = {each.layer.name for each in found}
    for name in bands:
        if name not in known:
            raise UsageError(
                f"option 'bands' names {name!r}; no image such as {str(found[0].layer.path)!r} has it; "
                f"{suggest(name, known)}"
            )


def _check_days(bands: Sequence[str], found: Sequence[Found], used: Sequence[Found]) -> None:
    """A date none of whose bands are used would otherwise be lost without a word."""

    def key(each: Found) -> tuple[str, str, int]:
        return each.tile, str(Path(each.product).parent), each.day

    have = {key(each) for each in used}
    for each in found:
        if key(each) not in have:
            raise CropzooError(
                f"image {str(each.layer.path)!r}; it has none of the bands {', '.join(bands)}, but "
                f"{each.layer.name!r}; rename its bands, choose others by option 'bands', or move it elsewhere"
            )


def _check_levels(found: Sequence[Found]) -> None:
    """Reflectance at the ground and at the top of the atmosphere don't make one series."""
    first: dict[str, Found] = {}
    for each in found:
        if each.level:
            first.setdefault(each.level, each)
    if len(first) > 1:
        one, other = (str(first[level].layer.path) for level in sorted(first))
        raise CropzooError(
            f"images {one!r} and {other!r}; they are of Level-1C and Level-2A; give the images of one level"
        )


def _check_types(layers: Sequence[Layer]) -> None:
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


def _check_pixels(layer: Layer, best: Layer) -> None:
    """A mask may also be finer than the bands: the pixel in the middle counts."""
    if layer.name == SCL and layer.grid.height > best.grid.height:
        best, layer = layer, best
    if best.grid.height % layer.grid.height or best.grid.width % layer.grid.width:
        raise CropzooError(
            f"image {str(layer.path)!r}; its {layer.grid.height} x {layer.grid.width} pixels are no whole multiple in "
            f"size of the {best.grid.height} x {best.grid.width} of {str(best.path)!r} on the same ground; "
            "warp it to that grid"
        )
