"""Acquisitions: the band files of one footprint grouped by day and product."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from cropzoo.errors import CropzooError, suggest
from cropzoo.geo.raster.dates import EPOCH, ImageDate
from cropzoo.geo.raster.notes import ImageNotes
from cropzoo.geo.raster.quality import is_mask, shows_clouds
from cropzoo.geo.raster.scan import FoundBand
from cropzoo.geo.raster.scene import Acquisition, BandFile


@dataclass
class Product:
    """Files of one product and day.

    Args:
        name: Key that the files share.
        baseline: Processing baseline, 400 for 04.00; -1 if unknown.
        date: Date, and where it was found.
        files: Files by band name.
    """

    name: str
    baseline: int
    date: ImageDate
    files: dict[str, BandFile] = field(default_factory=dict)

    def add_file(self, file: BandFile) -> None:
        """Add a band; if it exists at several resolutions, the finest is kept.

        Raises:
            CropzooError: A band that exists twice at one resolution.
        """
        known = self.files.get(file.name)
        if known is None or _pixel_count(file) > _pixel_count(known):
            self.files[file.name] = file
        elif _pixel_count(file) == _pixel_count(known):
            raise CropzooError(
                f"images {str(known.path)!r} and {str(file.path)!r}; both are band {file.name!r} of one image; remove "
                "one of them, or choose one by the pattern"
            )

    def describe_files(self) -> str:
        """First file of the product and the number of others, for messages."""
        paths = sorted({str(file.path) for file in self.files.values()})
        return repr(paths[0]) + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")


def make_acquisitions(
    found: Sequence[FoundBand], bands: Sequence[str], name: str, notes: ImageNotes
) -> tuple[Acquisition, ...]:
    """Acquisitions of one footprint, ordered by day.

    Of several products of a day, the one with the newer processing baseline comes first, then the first by name.

    Args:
        found: Band files of the footprint.
        bands: Bands that every acquisition must have, without masks.
        name: Name of the footprint, for messages.
        notes: Where days with several products are added.

    Raises:
        CropzooError: An acquisition that lacks a band or has it twice, or lacks a cloud mask while another one has it;
            or two products of a day that may be of different days.
    """
    cloud_mask = next((each.band.name for each in found if shows_clouds(each.band.name)), None)
    by_day: defaultdict[int, list[FoundBand]] = defaultdict(list)
    for each in found:
        by_day[each.day].append(each)
    acquisitions = []
    for day in sorted(by_day):
        products = _group_by_product(by_day[day], bands)
        for product in products:
            _check_complete(product, bands, cloud_mask, name)
        if len(products) > 1:
            _check_same_day(products)
            notes.add_merged(day, *(product.describe_files() for product in products[:2]))
        if products:
            acquisitions.append(Acquisition(day, tuple(_order_files(product, bands) for product in products)))
    return tuple(acquisitions)


def find_finest(acquisitions: Sequence[Acquisition], bands: Sequence[str]) -> BandFile:
    """First file with the most pixels among some bands."""
    products = (product for each in acquisitions for product in each.products)
    return max((product[name] for product in products for name in bands), key=_pixel_count)


def _pixel_count(file: BandFile) -> int:
    return file.grid.height * file.grid.width


def _order_files(product: Product, bands: Sequence[str]) -> dict[str, BandFile]:
    """Files of a product: the bands in order, then the masks by name."""
    return {name: product.files[name] for name in (*bands, *sorted(filter(is_mask, product.files)))}


def _group_by_product(found: Sequence[FoundBand], bands: Sequence[str]) -> list[Product]:
    """Products of a day, the preferred one first.

    Files whose names do not match are joined if one has the bands that the other lacks, such as a mask and an image.
    """
    products: dict[str, Product] = {}
    for each in found:
        product = products.setdefault(each.product, Product(each.product, each.baseline, each.date))
        product.baseline = max(product.baseline, each.baseline)
        product.add_file(each.band)
    kept: list[Product] = []
    for product in sorted(products.values(), key=lambda each: (-len(each.files.keys() & {*bands}), each.name)):
        host = next((each for each in kept if not each.files.keys() & product.files.keys()), None)
        if host is None or product.files.keys() >= {*bands}:
            kept.append(product)
        else:
            host.files.update(product.files)
            host.baseline = max(host.baseline, product.baseline)
    return sorted(kept, key=lambda each: (-each.baseline, Path(each.name).name, each.name))


def _check_same_day(products: Sequence[Product]) -> None:
    """Refuse complete images of one place and day whose date may be that of a download or of the processing.

    The names of products state the day of acquisition, and equal times are those of one acquisition.
    """
    first, *others = products
    for other in others:
        if first.date.is_product and other.date.is_product:
            continue
        if first.date.time and first.date.time == other.date.time:
            continue
        raise CropzooError(
            f"images {first.describe_files()} and {other.describe_files()}; both have all bands of the same ground "
            f"and the date {EPOCH + timedelta(days=first.date.day)}, from {_join_sources(first, other)}; if they are "
            "of different days, start their names with the day of acquisition, like 'S2_2019-05-16.tif'; if they are "
            "of one day, keep one or merge them into one file"
        )


def _join_sources(one: Product, other: Product) -> str:
    return " and ".join(dict.fromkeys((one.date.source, other.date.source)))


def _check_complete(product: Product, bands: Sequence[str], cloud_mask: str | None, name: str) -> None:
    missing = next((band for band in bands if band not in product.files), None)
    remedy = "add it, remove this date, or choose bands that every image has by option 'bands'"
    if missing is None and cloud_mask is not None and not any(map(shows_clouds, product.files)):
        missing, remedy = cloud_mask, f"provide an {cloud_mask} band for every date or for none"
    if missing is not None:
        raise CropzooError(
            f"images of {EPOCH + timedelta(days=product.date.day)} in {name!r}, {product.describe_files()}; band "
            f"{missing!r} is missing; {suggest(missing, product.files)}; {remedy}"
        )
