"""What stored numbers carry too much: the offset that Sentinel-2 has since processing baseline 04.00.

ESA adds 1000 to all digital numbers since January 2022, so that dark ground can be below zero; 0 still means no data.
A series across that day jumps by 0.1 of reflectance unless the offset is taken off.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cropzoo.images.headers import Header, ProductNotes, parse_baseline
from cropzoo.images.names import SCL, spectral

ADDED = 1000
"""What ESA adds since baseline 04.00."""

_SINCE = 400
_TAGS = ("BOA_ADD_OFFSET", "RADIO_ADD_OFFSET")


def declared_offset(scale: object, offset: object) -> int | None:
    """The offset in stored numbers, of a scale and an offset that give reflectance = scale * number + offset.

    None where they declare nothing, that is a scale of 1 and no offset.
    """
    scale, offset = _number(scale, 1.0), _number(offset, 0.0)
    if scale == 0 or (scale == 1 and offset == 0):
        return None
    found = -offset / scale
    return round(found) if np.isfinite(found) else None


def header_offset(header: Header, index: int, name: str, notes: ProductNotes, baseline: int) -> int:
    """The offset of one band of a file.

    The nearest source counts: tags BOA_ADD_OFFSET or RADIO_ADD_OFFSET (negative numbers, as ESA writes them); scale and
    offset of the band; for Sentinel-2's bands of integers also a tag PROCESSING_BASELINE, the metadata file of the
    product, and the baseline in a name. Numbers with a fraction are no digital numbers any more, so a baseline alone
    says nothing about them.

    Args:
        header: of the file.
        index: of the band, from 0.
        name: of the band.
        notes: what the product's metadata file says.
        baseline: that names tell, -1 unknown.
    """
    if name == SCL:
        return 0
    for tags in (header.band_tags[index], header.tags):
        for tag in _TAGS:
            if tag in tags:
                return round(-_number(tags[tag], 0.0))
    declared = declared_offset(header.scales[index], header.offsets[index])
    if declared is not None:
        return declared
    known = spectral(name)
    if known is None or not is_digital(header.dtypes[index]):
        return 0
    tagged = tagged_baseline(header.tags)
    if tagged < 0 and notes.offsets:
        return notes.offsets.get(known, 0)
    return baseline_offset(next((each for each in (tagged, notes.baseline) if each >= 0), baseline))


def baseline_offset(baseline: int) -> int:
    """The offset of all bands of a processing baseline."""
    return ADDED if baseline >= _SINCE else 0


def tagged_baseline(tags: Mapping[str, str]) -> int:
    """The processing baseline that a file's tags tell, -1 unknown."""
    return parse_baseline(tags.get("PROCESSING_BASELINE", ""))


def is_digital(dtype: str) -> bool:
    """Whether stored numbers can be Sentinel-2's digital numbers: integers of 16 bits or more."""
    kind = np.dtype(dtype)
    return kind.kind in "iu" and kind.itemsize >= 2


def _number(value: Any, otherwise: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return otherwise
    return number if np.isfinite(number) else otherwise
