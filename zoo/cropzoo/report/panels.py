"""The panels of a patch: image, labels, prediction, errors, boundary band and confidence, as pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from cropzoo.boundary import CLASS_BOUNDARY, PARCEL_BOUNDARY
from cropzoo.samples import IGNORE, LabelClass

Picture = NDArray[np.uint8]
"""(H, W, 3), uint8."""

IGNORED = "#e4e4e0"
WRONG = "#d62f5f"
AT_CLASS = "#f2a51a"
AT_PARCEL = "#2f7fd6"
CONFIDENCE = "cividis"

_HEX = re.compile(r"#[0-9a-fA-F]{6}")
_SPARE = "#8a8a8a"


@dataclass(frozen=True)
class Patch:
    """One place and what a model made of it.

    Args:
        name: shown above it.
        image: (H, W, 3), float, 0..1, red green blue; or s times coarser than the labels.
        labels: (H, W), uint8, 255 = ignore.
        prediction: (H, W), uint8.
        boundary: (H, W), uint8, as `cropzoo.boundary.boundary_bits` returns it.
        confidence: (H, W), float, 0..1, probability of the predicted class; None leaves that panel out.
    """

    name: str
    image: NDArray[Any]
    labels: NDArray[np.uint8]
    prediction: NDArray[np.uint8]
    boundary: NDArray[np.uint8]
    confidence: NDArray[Any] | None = None

    @property
    def accuracy(self) -> float | None:
        """Share of labelled pixels whose class is right; None where nothing is labelled."""
        known = self.labels != IGNORE
        return float((self.prediction == self.labels)[known].mean()) if known.any() else None


def safe_colour(colour: str) -> str:
    """The colour if it is "#rrggbb", else grey: nothing else from a file may reach a style attribute."""
    return colour if _HEX.fullmatch(colour) else _SPARE


def panels(patch: Patch, classes: Sequence[LabelClass]) -> list[tuple[str, Picture]]:
    """Title and picture of each panel, from the image to the confidence."""
    colours = class_colours(classes)
    height, width = patch.labels.shape
    scale = max(height // patch.image.shape[0], 1)
    image = np.repeat(np.repeat(patch.image, scale, axis=0), scale, axis=1)[:height, :width]
    pale = _pale(image)
    shown = [
        ("Image", _bytes(image)),
        ("Labels", colours[patch.labels]),
        ("Prediction", colours[patch.prediction]),
        ("Errors", _errors(patch, pale)),
        ("Boundary", _band(patch, pale)),
    ]
    if patch.confidence is not None:
        shown.append(("Confidence", _bytes(mpl.colormaps[CONFIDENCE](np.clip(patch.confidence, 0, 1))[..., :3])))
    return shown


def class_colours(classes: Sequence[LabelClass]) -> Picture:
    """Colour by label, (256, 3), uint8; ignored and unknown ones included."""
    table = np.tile(_rgb(_SPARE), (256, 1))
    for index, item in enumerate(classes):
        table[index] = _rgb(safe_colour(item.colour))
    table[IGNORE] = _rgb(IGNORED)
    return table


def classes_in(patches: Sequence[Patch], classes: Sequence[LabelClass]) -> list[LabelClass]:
    """The classes that occur in the labels or predictions."""
    values = {int(v) for patch in patches for field in (patch.labels, patch.prediction) for v in np.unique(field)}
    return [item for index, item in enumerate(classes) if index in values]


def marks(patches: Sequence[Patch]) -> list[tuple[str, str]]:
    """Name and colour of every mark in the panels that is no class."""
    found = [("wrong", WRONG), ("class boundary", AT_CLASS)]
    if any((patch.boundary & PARCEL_BOUNDARY).any() for patch in patches):
        found.append(("parcel boundary alone", AT_PARCEL))
    if any((patch.labels == IGNORE).any() for patch in patches):
        found.append(("not scored", IGNORED))
    return found


def _errors(patch: Patch, pale: Picture) -> Picture:
    out = pale.copy()
    out[patch.prediction != patch.labels] = _rgb(WRONG)
    out[patch.labels == IGNORE] = _rgb(IGNORED)
    return out


def _band(patch: Patch, pale: Picture) -> Picture:
    out = pale.copy()
    out[(patch.boundary & PARCEL_BOUNDARY) != 0] = _rgb(AT_PARCEL)
    out[(patch.boundary & CLASS_BOUNDARY) != 0] = _rgb(AT_CLASS)
    out[patch.labels == IGNORE] = _rgb(IGNORED)
    return out


def _pale(image: NDArray[Any]) -> Picture:
    """A light grey version, on which marks stand out."""
    grey = 0.45 + 0.5 * image.mean(axis=-1, keepdims=True)
    return _bytes(np.repeat(grey, 3, axis=-1))


def _bytes(values: NDArray[Any]) -> Picture:
    scaled: Picture = np.round(255 * np.clip(np.nan_to_num(values), 0, 1)).astype(np.uint8)
    return scaled


def _rgb(colour: str) -> Picture:
    return np.frombuffer(bytes.fromhex(colour[1:]), np.uint8)
