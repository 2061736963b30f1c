"""Quality layers of satellite products: the names by which they are recognized, and which of their pixels are clear.

A quality layer is never a band of the series. A new product needs one entry in `_LAYERS`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cropzoo.errors import UsageError

SCL = "SCL"
"""Sentinel-2 scene classification."""

DATA_MASK = "dataMask"
"""Mask of the pixels with data, 0 = no data: Sentinel Hub's `dataMask`, or a band that is named "alpha"."""

CLEAR_SCL = (4, 5, 6)
"""Classes of SCL that are clear: vegetation, bare soil and water."""

_SCL_NO_DATA = 0
_RESOLUTION = re.compile(r"R?\d+m", re.IGNORECASE)
_SEPARATORS = re.compile(r"[_.\-\s]+")


@dataclass(frozen=True)
class QualityLayer:
    """Kind of quality layer.

    Args:
        name: Name in `Acquisition.files` and in messages.
        spellings: Names of bands and files that mean it, in lower case without separators.
        flags: Bits of which none is set where a pixel is clear; None if the layer cannot be decoded, -1 for SCL, whose
            clear classes the user chooses.
        no_data: Bits of which any is set where there is no data.
        fill: Stored number where there is no data; None if there is none.
        clouds: Whether it shows clouds, so that an image with it needs no other mask.
        own_file: Whether a file is left out because of this name, whatever bands it has.
        on_request: Whether it is a band of the series if the user names it.
    """

    name: str
    spellings: tuple[str, ...]
    flags: int | None = None
    no_data: int = 0
    fill: int | None = None
    clouds: bool = True
    own_file: bool = False
    on_request: bool = False

    @property
    def is_mask(self) -> bool:
        """Whether it can be decoded."""
        return self.flags is not None

    def decode(
        self, values: NDArray[Any], clear_classes: NDArray[np.bool_]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Where pixels are clear, and where they have no data, both in the shape of `values`.

        Args:
            values: Stored numbers of the layer; NaN means no data.
            clear_classes: Whether each class of SCL is clear, (256,), from `make_clear_classes`.
        """
        if self.name == SCL:
            if values.dtype.kind == "f":
                values = np.nan_to_num(values, nan=_SCL_NO_DATA)
            # The last entry of the table is used for all higher classes: none of them is clear.
            clear = clear_classes[np.clip(values, 0, len(clear_classes) - 1).astype(np.uint8, copy=False)]
            unknown = values == _SCL_NO_DATA
            return clear & ~unknown, unknown
        nan = np.isnan(values) if values.dtype.kind == "f" else None
        if nan is not None:
            values = np.nan_to_num(values).astype(np.int64)
        clear = (values & _as_type(self.flags or 0, values)) == 0
        unknown = (values & _as_type(self.no_data, values)) != 0
        if self.fill is not None:
            unknown |= values == self.fill
        if nan is not None:
            unknown |= nan
        return clear & ~unknown, unknown


_LAYERS = (
    QualityLayer(
        SCL,
        ("scl", "sceneclassification", "sceneclassificationmap", "sceneclassificationlayer"),
        flags=-1,
    ),
    # FORCE: bit 0 no data, 1-2 cloud state, 3 cloud shadow, 4 snow.
    QualityLayer("QAI", ("qai", "qualityassuranceinformation"), flags=0b1_1110, no_data=0b1),
    # HLS: bit 1 cloud, 2 next to a cloud or shadow, 3 cloud shadow, 4 snow; 255 no data. The classes of the program
    # Fmask (0 land, 1 water, 2 shadow, 3 snow, 4 cloud, 255 no data) give the same clear pixels.
    QualityLayer("Fmask", ("fmask",), flags=0b1_1110, fill=255),
    # Landsat Collection 2: bit 0 no data, 1 dilated cloud, 2 cirrus, 3 cloud, 4 cloud shadow, 5 snow.
    QualityLayer("QA_PIXEL", ("qapixel",), flags=0b11_1110, no_data=0b1),
    # MAJA: any bit is a cloud or a shadow. Sentinel Hub: 0 clear, 1 cloud, 255 no data.
    QualityLayer("CLM", ("clm", "clmr1", "clmr2"), flags=0xFF, fill=255),
    # MAJA: bit 0 water, 1 cloud, 2 snow, 3 cloud shadow, 4 topographic shadow, 5 hidden by terrain, 6-7 low sun.
    QualityLayer("MG2", ("mg2", "mg2r1", "mg2r2"), flags=0b11_1110),
    # MAJA: bit 0 outside the image.
    QualityLayer("EDG", ("edg", "edgr1", "edgr2"), flags=0b1, no_data=0b1, clouds=False),
    QualityLayer(DATA_MASK, ("datamask", "alpha"), flags=0, fill=0, clouds=False),
    QualityLayer(
        "AOT", ("aot", "aerosolopticalthickness", "aerosolopticaldepth", "aod"), own_file=True, on_request=True
    ),
    QualityLayer("WVP", ("wvp", "watervapor", "watervapour"), own_file=True, on_request=True),
    QualityLayer("TCI", ("tci", "truecolor", "truecolorimage", "visual"), own_file=True, on_request=True),
    QualityLayer("PVI", ("pvi",), own_file=True, on_request=True),
    QualityLayer("QA60", ("qa60", "qa10", "qa20")),
    QualityLayer(
        "cloud probability",
        ("cldprb", "mskcldprb", "cloudprobability", "cloudprob", "clp", "cld", "s2cloudless", "oas2cloudlessprob"),
    ),
    QualityLayer("snow probability", ("snwprb", "msksnwprb", "snowprobability", "snw", "snow")),
    QualityLayer(
        "cloud mask",
        ("cloud", "clouds", "cloudmask", "oafmask", "oas2cloudlessmask", "mskclassiopaque", "mskclassicirrus"),
    ),
    QualityLayer(
        "mask",
        ("mask", "validmask", "validpixels", "qualitymask", "cloudshadow", "shadowmask", "snowmask"),
        on_request=True,
    ),
    QualityLayer("Cloud Score+", ("cscdf", "cloudscore", "cloudscoreplus"), on_request=True),
    QualityLayer("Planet usable data mask", ("udm", "udm1", "udm2"), own_file=True),
    QualityLayer(
        "Landsat quality flags",
        (
            *("qaradsat", "radsatqa", "pixelqa", "bqa", "srqa", "qaaerosol", "srqaaerosol", "sraerosol", "srcloudqa"),
            *("sratmosopacity", "stqa", "stemis", "stemsd", "stdrad", "sttrad", "sturad", "statran", "stcdist"),
        ),
    ),
    QualityLayer("MAJA atmosphere", ("atbr1", "atbr2"), own_file=True),
    QualityLayer("MAJA quality flags", ("satr1", "satr2", "iabr1", "iabr2", "dfpr1", "dfpr2", "dtfr1", "dtfr2")),
    QualityLayer("FORCE distance to clouds", ("dst",)),
    QualityLayer("FORCE haze", ("hot",)),
    QualityLayer(
        "angles",
        ("saa", "sza", "vaa", "vza", "vzn", "sunazimuthangles", "sunzenithangles", "viewazimuthmean", "viewzenithmean"),
    ),
)

_BY_SPELLING = {spelling: layer for layer in _LAYERS for spelling in layer.spellings}
_BY_NAME = {layer.name: layer for layer in _LAYERS}


@lru_cache(maxsize=4096)
def find_layer(text: str) -> QualityLayer | None:
    """Quality layer that a complete name means, such as "SCL_20m" or "Scene classification"; None for a band."""
    return _BY_NAME.get(text) or _BY_SPELLING.get("".join(split_name(text)).lower())


def split_name(text: str) -> list[str]:
    """Parts of a name between separators, without resolutions such as "20m"."""
    return [part for part in _SEPARATORS.split(text) if part and not _RESOLUTION.fullmatch(part)]


def is_mask(name: str) -> bool:
    """Whether a band of an acquisition is a quality layer that is decoded, not a band of the series."""
    layer = _BY_NAME.get(name)
    return layer is not None and layer.is_mask


def shows_clouds(name: str) -> bool:
    """Whether a band of an acquisition is a mask that shows clouds."""
    return is_mask(name) and _BY_NAME[name].clouds


def make_clear_classes(classes: Sequence[int]) -> NDArray[np.bool_]:
    """Whether each class of SCL is clear, (256,).

    Raises:
        UsageError: A number that is not a class.
    """
    if not all(0 <= number < 255 for number in classes):
        raise UsageError(f"clear_scl is {tuple(classes)!r}; classes are integers from 0 to 254; SCL has 0 to 11")
    table = np.zeros(256, np.bool_)
    table[list(classes)] = True
    return table


def _as_type(bits: int, values: NDArray[Any]) -> Any:
    """Bits as a number of the type of `values`; higher bits than it has are dropped."""
    unsigned = np.dtype(f"u{values.dtype.itemsize}")
    return np.array(bits & int(np.iinfo(unsigned).max), unsigned).view(values.dtype)[()]
