"""Image discovery: from patterns to image stacks with consistent bands, data types and grids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cropzoo.errors import CropzooError, UsageError, suggest
from cropzoo.geo.raster.acquisitions import find_finest, make_acquisitions
from cropzoo.geo.raster.file_search import find_files
from cropzoo.geo.raster.footprints import Footprint, group_by_footprint, name_footprints
from cropzoo.geo.raster.metadata import HeaderReader, Offset
from cropzoo.geo.raster.naming import LEFT_OUT, SENTINEL2_BANDS, sentinel2_band, series_bands, standard_name
from cropzoo.geo.raster.notes import ImageNotes
from cropzoo.geo.raster.quality import is_mask
from cropzoo.geo.raster.scan import FoundBand, scan_files
from cropzoo.geo.raster.scene import BandFile, ImageStack, signed_dtype

_MAX_OFFSET = 2**15 - 1
"""Largest offset that fits into 16 bits; Sentinel-2 has 1000, Landsat 7273."""


def find_images(
    patterns: Sequence[str | Path] | str | Path, bands: Sequence[str] = (), *, notes: ImageNotes | None = None
) -> list[ImageStack]:
    """Stacks of the images that match patterns; headers are read, pixels are not.

    A pattern is a glob (`**` and `~` work), a folder (searched recursively, also a .SAFE folder), a raster (.tif, .jp2,
    .vrt) or a file of STAC items (.json, .geojson). A file holds all bands of a day, named by its descriptions or by
    `bands`, or one band named by the file, its folder or its description. Files are grouped by names and footprints,
    see `cropzoo.geo.raster`: the date is in the name, the folder, the tags or the item; the tile is an MGRS name in the
    path, else the footprint. Alpha bands and the masks in `cropzoo.geo.raster.quality` are no bands of a stack.

    Args:
        patterns: One pattern or several.
        bands: Names of the bands to use; all bands if empty. They also name, in order, the bands of files without
            descriptions, with "-" for one to leave out. Masks are used if they exist and need not be named.
        notes: Where decisions that the user should know are added, if the caller logs them together with those of
            other calls; None to log them here.

    Returns:
        Stacks sorted by name, all with the same bands and data type.

    Raises:
        CropzooError: No images, or an image that is unreadable, lacks a date or band names, lacks a band that other
            dates have, overlaps another without an equal footprint, has another data type, or may be of another day
            than its date; the message names the files.
        UsageError: A band named twice, or no band but masks.
    """
    several = [patterns] if isinstance(patterns, (str, Path)) else list(patterns)
    given = _check_given_bands(bands)
    requested = series_bands(given)
    headers, collected = HeaderReader(), ImageNotes() if notes is None else notes
    files, stac_files = find_files(several, requested, collected)
    found = scan_files(files, given, headers, collected)
    if stac_files:
        from cropzoo.geo.raster.stac import read_items  # pystac takes longer to import than to list most folders

        for path in stac_files:
            found += read_items(path, requested, headers, collected)
    if not found:
        raise CropzooError(f"images {[str(each) for each in several]}; no image was found; check the paths")
    _check_levels(found)
    chosen = requested or _all_bands(found)
    used = [each for each in found if each.band.name in chosen or is_mask(each.band.name)]
    _check_known(chosen, found)
    _check_dates(chosen, found, used)
    _check_types([each.band for each in used if not is_mask(each.band.name)])
    footprints = group_by_footprint(used)
    named = sorted(zip(name_footprints(footprints), footprints, strict=True), key=lambda pair: pair[0])
    has_offset = any(each.band.offset for each in used)
    stacks = [_make_stack(name, footprint, chosen, has_offset, collected) for name, footprint in named]
    for each in used:
        if not is_mask(each.band.name):
            collected.add_band(each.band.path, Offset(each.band.offset, each.offset_reason))
    if notes is None:
        collected.log()
    return stacks


def _make_stack(
    name: str, footprint: Footprint, bands: tuple[str, ...], has_offset: bool, notes: ImageNotes
) -> ImageStack:
    acquisitions = make_acquisitions(footprint.bands, bands, name, notes)
    finest = find_finest(acquisitions, bands)
    for acquisition in acquisitions:
        for product in acquisition.products:
            for file in product.values():
                _check_pixel_size(file, finest)
    read_dtype = signed_dtype(finest.dtype) if has_offset else finest.dtype
    return ImageStack(name, finest.grid, acquisitions, bands, finest.dtype, read_dtype)


def _check_given_bands(bands: Sequence[str]) -> tuple[str, ...]:
    given = (bands,) if isinstance(bands, str) else tuple(bands)
    named, series = [name for name in given if name != LEFT_OUT], series_bands(given)
    if len(set(named)) != len(named) or len(set(map(standard_name, series))) != len(series):
        raise UsageError(f"option 'bands' is {given!r}; a band is named twice; name each once")
    if given and not series:
        raise UsageError(
            f"option 'bands' names only the {', '.join(named) or 'left out'} mask; name a spectral band as well"
        )
    return given


def _all_bands(found: Sequence[FoundBand]) -> tuple[str, ...]:
    """All bands but masks: in the order of the first file if it has several, else of Sentinel-2, then by name."""
    series = [each for each in found if not is_mask(each.band.name)]
    if not series:
        raise CropzooError(
            f"images such as {str(found[0].band.path)!r}; they contain only the {found[0].band.name} mask; add the "
            "spectral bands"
        )
    first = series[0].band.path
    in_file = [each.band.name for each in series if each.band.path == first]
    order = {name: position for position, name in enumerate(in_file)} if len(in_file) > 1 else {}

    def sort_key(name: str) -> tuple[int, int, str]:
        known = sentinel2_band(standard_name(name))
        return order.get(name, len(order)), SENTINEL2_BANDS.index(known) if known else len(SENTINEL2_BANDS), name

    return tuple(sorted({each.band.name for each in series}, key=sort_key))


def _check_known(bands: Sequence[str], found: Sequence[FoundBand]) -> None:
    known = {each.band.name for each in found}
    for name in bands:
        if name not in known:
            raise UsageError(
                f"option 'bands' names {name!r}; no image such as {str(found[0].band.path)!r} has it; "
                f"{suggest(name, known)}"
            )


def _check_dates(bands: Sequence[str], found: Sequence[FoundBand], used: Sequence[FoundBand]) -> None:
    """Refuse a date none of whose bands are used; it would be dropped silently."""

    def key(each: FoundBand) -> tuple[str, str, int]:
        return each.tile, str(Path(each.product).parent), each.day

    known = {key(each) for each in used}
    for each in found:
        if key(each) not in known:
            raise CropzooError(
                f"image {str(each.band.path)!r}; it has none of the bands {', '.join(bands)}, but "
                f"{each.band.name!r}; rename its bands, choose others by option 'bands', or move it to another folder"
            )


def _check_levels(found: Sequence[FoundBand]) -> None:
    """Surface and top-of-atmosphere reflectance do not form one series."""
    first: dict[str, FoundBand] = {}
    for each in found:
        if each.level:
            first.setdefault(each.level, each)
    if len(first) > 1:
        one, other = (str(first[level].band.path) for level in sorted(first))
        raise CropzooError(
            f"images {one!r} and {other!r}; their processing levels are Level-1C and Level-2A; use images of one level"
        )


def _check_types(files: Sequence[BandFile]) -> None:
    first = files[0]
    for file in files:
        if file.dtype != first.dtype:
            raise CropzooError(
                f"image {str(file.path)!r}; it stores {file.dtype} and {str(first.path)!r} stores {first.dtype}; "
                "store all images in one data type and one unit"
            )
        if abs(file.offset) > _MAX_OFFSET:
            raise CropzooError(
                f"image {str(file.path)!r}; its metadata declare an offset of {file.offset} for band {file.name!r}; "
                "correct its tags or its scale and offset"
            )


def _check_pixel_size(file: BandFile, finest: BandFile) -> None:
    """Pixel sizes must divide evenly. A mask may also be finer than the bands: its pixel at the center is used."""
    if is_mask(file.name) and file.grid.height > finest.grid.height:
        finest, file = file, finest
    if finest.grid.height % file.grid.height or finest.grid.width % file.grid.width:
        raise CropzooError(
            f"image {str(file.path)!r}; its {file.grid.height} x {file.grid.width} pixels do not evenly divide the "
            f"{finest.grid.height} x {finest.grid.width} pixels of {str(finest.path)!r} on the same area; warp it to "
            "that grid"
        )
