"""From the layers of one place to acquisitions: a day's files, sorted into products that have every band."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from cropzoo.errors import CropzooError, suggest
from cropzoo.images.layers import Acquisition, Layer
from cropzoo.images.names import SCL
from cropzoo.images.scanning import Found


@dataclass
class Product:
    """Files of one day that belong together, by the name of the band."""

    name: str
    baseline: int
    layers: dict[str, Layer] = field(default_factory=dict)

    def add(self, layer: Layer) -> None:
        """Takes a band; where it is there at several resolutions the finest stays."""
        have = self.layers.get(layer.name)
        if have is None or layer.grid.height * layer.grid.width > have.grid.height * have.grid.width:
            self.layers[layer.name] = layer

    @property
    def files(self) -> str:
        """The file, or the first of them, for messages."""
        paths = sorted({str(layer.path) for layer in self.layers.values()})
        return repr(paths[0]) + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")


def make_acquisitions(found: Sequence[Found], bands: Sequence[str], place: str) -> tuple[Acquisition, ...]:
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
    by_day: defaultdict[int, list[Found]] = defaultdict(list)
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


def _products(found: Sequence[Found], wanted: Sequence[str]) -> list[Product]:
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
            when = date(1970, 1, 1) + timedelta(days=day)
            raise CropzooError(
                f"images of {when} in {place!r}, {product.files}; band {name!r} is missing; "
                f"{suggest(name, product.layers)}; {remedy}"
            )


def finest(acquisitions: Sequence[Acquisition], bands: Sequence[str]) -> Layer:
    """The first layer of the most pixels among some bands."""
    layers = [layer for each in acquisitions for name in bands for layer in each.layers[name]]
    return max(layers, key=lambda layer: layer.grid.height * layer.grid.width)
