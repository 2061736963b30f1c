"""Acquisitions: the band files of one footprint grouped by day and product."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from cropzoo.errors import CropzooError, suggest
from cropzoo.geo.raster.dates import EPOCH
from cropzoo.geo.raster.naming import SCL
from cropzoo.geo.raster.scan import FoundBand
from cropzoo.geo.raster.scene import Acquisition, BandFile


@dataclass
class Product:
    """Files of one product and day.

    Args:
        name: Key that the files share.
        baseline: Processing baseline, 400 for 04.00; -1 if unknown.
        files: Files by band name.
    """

    name: str
    baseline: int
    files: dict[str, BandFile] = field(default_factory=dict)

    def add_file(self, file: BandFile) -> None:
        """Add a band; if it exists at several resolutions, the finest is kept."""
        known = self.files.get(file.name)
        if known is None or _pixel_count(file) > _pixel_count(known):
            self.files[file.name] = file

    def describe_files(self) -> str:
        """First file of the product and the number of others, for messages."""
        paths = sorted({str(file.path) for file in self.files.values()})
        return repr(paths[0]) + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")


def make_acquisitions(found: Sequence[FoundBand], bands: Sequence[str], name: str) -> tuple[Acquisition, ...]:
    """Acquisitions of one footprint, ordered by day.

    Of several products of a day, the one with the newer processing baseline comes first, then the first by name.

    Args:
        found: Band files of the footprint.
        bands: Bands that every acquisition must have, without SCL.
        name: Name of the footprint, for messages.

    Raises:
        CropzooError: An acquisition that lacks a band, or lacks SCL while another one has it.
    """
    masked = any(each.band.name == SCL for each in found)
    by_day: defaultdict[int, list[FoundBand]] = defaultdict(list)
    for each in found:
        by_day[each.day].append(each)
    wanted = (*bands, SCL) if masked else tuple(bands)
    acquisitions = []
    for day in sorted(by_day):
        products = _group_by_product(by_day[day], wanted)
        for product in products:
            _check_complete(product, wanted, day, name)
        if products:
            files = {band: tuple(product.files[band] for product in products) for band in wanted}
            acquisitions.append(Acquisition(day, files))
    return tuple(acquisitions)


def find_finest(acquisitions: Sequence[Acquisition], bands: Sequence[str]) -> BandFile:
    """First file with the most pixels among some bands."""
    return max((file for each in acquisitions for name in bands for file in each.files[name]), key=_pixel_count)


def _pixel_count(file: BandFile) -> int:
    return file.grid.height * file.grid.width


def _group_by_product(found: Sequence[FoundBand], wanted: Sequence[str]) -> list[Product]:
    """Products of a day, the preferred one first.

    Files whose names do not match are joined if one has the bands that the other lacks, such as a mask and an image.
    """
    products: dict[str, Product] = {}
    for each in found:
        product = products.setdefault(each.product, Product(each.product, each.baseline))
        product.baseline = max(product.baseline, each.baseline)
        product.add_file(each.band)
    kept: list[Product] = []
    for product in sorted(products.values(), key=lambda each: (-len(each.files.keys() & {*wanted}), each.name)):
        host = next((each for each in kept if not each.files.keys() & product.files.keys()), None)
        if host is None or product.files.keys() >= {*wanted}:
            kept.append(product)
        else:
            host.files.update(product.files)
            host.baseline = max(host.baseline, product.baseline)
    return sorted(kept, key=lambda each: (-each.baseline, Path(each.name).name, each.name))


def _check_complete(product: Product, wanted: Sequence[str], day: int, name: str) -> None:
    for band in wanted:
        if band not in product.files:
            remedy = (
                "provide an SCL band for every date or for none"
                if band == SCL
                else "add it, remove this date, or choose bands that every image has by option 'bands'"
            )
            raise CropzooError(
                f"images of {EPOCH + timedelta(days=day)} in {name!r}, {product.describe_files()}; band {band!r} is "
                f"missing; {suggest(band, product.files)}; {remedy}"
            )
