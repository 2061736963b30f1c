"""The images that a network is to map, their bands matched by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cropzoo.errors import CropzooError, UsageError
from cropzoo.geo.raster import naming as names
from cropzoo.geo.raster.discover import find_images
from cropzoo.geo.raster.metadata import HeaderReader
from cropzoo.geo.raster.scene import ImageStack


def images_for(bands: Sequence[str], patterns: Sequence[str], given: Sequence[str] = ()) -> list[ImageStack]:
    """The tiles of these images; headers are read, pixels are not.

    Args:
        bands: that the network reads.
        patterns: of files, as `find_images` takes them.
        given: names of the images' bands from the user; without them files must tell their own.

    Raises:
        CropzooError: as of `find_images`; bands that the network reads and the images lack; files of several bands
            that have no names.
    """
    if given:
        return _checked(find_images(patterns, given), bands)
    try:
        tiles = find_images(patterns, bands)
    except UsageError:  # they lack a band; without asking for any, the error can say which they have
        return _checked(find_images(patterns), bands)
    _check_named(tiles, bands)
    return tiles


def _checked(tiles: list[ImageStack], bands: Sequence[str]) -> list[ImageStack]:
    have = tiles[0].bands
    missing = [name for name in bands if name not in have]
    if missing:
        path = next(iter(tiles[0].acquisitions[0].files.values()))[0].path
        raise CropzooError(
            f"images such as {str(path)!r}; the network reads {', '.join(bands)} and they lack {', '.join(missing)} "
            f"(they have {', '.join(have)}); give images with all of these bands, or a network trained on fewer"
        )
    return tiles


def _check_named(tiles: Sequence[ImageStack], bands: Sequence[str]) -> None:
    """Refuse files that got their bands' names from the network: the order of theirs may be another."""
    headers, known = HeaderReader(), set[Path]()
    for tile in tiles:
        for acquisition in tile.acquisitions:
            for layers in acquisition.files.values():
                known |= {layer.path for layer in layers if layer.number > 1 or len(bands) == 1}
    for path in sorted(known):
        found = headers.read(path).names
        if not all(found) and names.find_band(path.stem, ()) is None and names.find_band(path.parent.name, ()) is None:
            raise CropzooError(
                f"image {str(path)!r}; its bands have no descriptions, and nothing tells their order; name its "
                f"{len(found)} band(s) in order by --bands; the network reads {', '.join(bands)}"
            )
