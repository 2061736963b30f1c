"""Discovery of the images to map, with bands matched to the network's by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cropzoo.errors import CropzooError, UsageError
from cropzoo.geo.raster import naming as names
from cropzoo.geo.raster.discover import find_images
from cropzoo.geo.raster.metadata import HeaderReader
from cropzoo.geo.raster.notes import ImageNotes
from cropzoo.geo.raster.scan import has_band_names
from cropzoo.geo.raster.scene import ImageStack


def find_map_images(
    bands: Sequence[str], patterns: Sequence[str], given: Sequence[str] = (), offset: int | None = None
) -> list[ImageStack]:
    """Find images by patterns; reads headers but no pixels.

    Args:
        bands: Bands that the network reads.
        patterns: Patterns of files, as for `find_images`.
        given: Names of the images' bands from the user; without them, the files must hold names.
        offset: Radiometric offset subtracted from pixel values; None to read it from metadata.

    Raises:
        CropzooError: `find_images` fails, the images lack bands of the network, or files of several bands have no band
            names.
    """
    notes = ImageNotes(offset)
    tiles = _find_tiles(bands, patterns, given, notes)
    notes.log()
    return tiles


def _find_tiles(
    bands: Sequence[str], patterns: Sequence[str], given: Sequence[str], notes: ImageNotes
) -> list[ImageStack]:
    if given:
        spelled = tuple(names.match_requested(name, bands) for name in given)
        return _require_bands(find_images(patterns, spelled, notes=notes), bands)
    try:
        tiles = find_images(patterns, bands, notes=notes)
    except UsageError:  # a band is missing; a search for all bands allows an error that lists them
        return _require_bands(find_images(patterns, notes=ImageNotes()), bands)
    _check_band_names(tiles, bands)
    return tiles


def _require_bands(tiles: list[ImageStack], bands: Sequence[str]) -> list[ImageStack]:
    have = tiles[0].bands
    missing = [name for name in bands if name not in have]
    if missing:
        path = next(iter(tiles[0].acquisitions[0].files.values()))[0].path
        raise CropzooError(
            f"images such as {str(path)!r}; the network reads {', '.join(bands)}, and the images lack "
            f"{', '.join(missing)} (they have {', '.join(have)}); give images with all of these bands, or a network "
            "trained on fewer"
        )
    return tiles


def _check_band_names(tiles: Sequence[ImageStack], bands: Sequence[str]) -> None:
    """Raise for files whose band names were taken from the network, because their order of bands may differ."""
    headers, known = HeaderReader(), set[Path]()
    for tile in tiles:
        for acquisition in tile.acquisitions:
            for files in acquisition.files.values():
                known |= {file.path for file in files if file.number > 1 or len(bands) == 1}
    for path in sorted(known):
        header = headers.read(path)
        if (
            not has_band_names(header)
            and names.find_band(path.stem, ()) is None
            and names.find_band(path.parent.name, ()) is None
        ):
            raise CropzooError(
                f"image {str(path)!r}; its bands have no descriptions, so their order is unknown; name its "
                f"{len(header.names)} band(s) in order with --bands; the network reads {', '.join(bands)}"
            )
