"""Initialization of a backbone from a checkpoint that may have been trained on other data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from cropzoo.errors import CropzooError, UsageError
from cropzoo.models.base import Backbone
from cropzoo.models.checkpoint import read_metadata, read_state
from cropzoo.models.upsample import match_weights

SHOWN = 6
"""Number of new parameters that are listed by name; the others are counted."""

_OTHER_BAND = "another band"


@dataclass(frozen=True)
class Transfer:
    """Result of initializing a backbone from a checkpoint.

    Args:
        loaded: Names of the parameters that were loaded.
        newly_initialized: "name: reason" of each parameter that was not loaded.
    """

    loaded: tuple[str, ...]
    newly_initialized: tuple[str, ...]

    def describe(self, weights: str) -> list[str]:
        """Lines that say how many parameters of `weights` were loaded, and which were not."""
        loaded, new = len(self.loaded), len(self.newly_initialized)
        lines = [f"weights {weights}: {loaded} parameters loaded, {new} newly initialized"]
        lines += [f"  new: {line}" for line in self.newly_initialized[:SHOWN]]
        return [*lines, f"  new: and {new - SHOWN} more"] if new > SHOWN else lines


def load_initial_weights(
    backbone: Backbone,
    name: str,
    path: Path,
    bands: Sequence[str],
    adapt_bands: bool,
    classes: Sequence[str],
    rebuild: Callable[[Sequence[str], int], Backbone],
    maps_bands: bool = False,
) -> Transfer:
    """Load the weights of a checkpoint that match a backbone in name, shape, bands and classes.

    Args:
        backbone: Backbone to initialize, changed in place.
        name: Name of the backbone, which must equal that of the checkpoint.
        path: Path of the checkpoint file.
        bands: Names of the bands of the data.
        adapt_bands: Whether to accept weights that were trained on other bands; parameters whose shape depends on the
            number of bands are then newly initialized.
        classes: Names of the classes of the data; if they differ from those of the checkpoint, parameters whose shape
            depends on the number of classes are newly initialized.
        rebuild: Builds the same backbone for bands and a number of classes.
        maps_bands: Whether the backbone finds its bands by name and has the same parameters for any bands; then the
            weights may have been trained on others.

    Raises:
        CropzooError: If the file is not a valid checkpoint, or none of its weights fits.
        UsageError: If the checkpoint is of another backbone, or of other bands and `adapt_bands` is False.
    """
    metadata = read_metadata(path)
    if metadata.backbone.name != name:
        raise UsageError(
            f"weights {str(path)!r} belong to backbone {metadata.backbone.name!r}, not {name!r}; "
            f"use --backbone {metadata.backbone.name} or other weights"
        )
    if list(metadata.bands) != list(bands) and not (adapt_bands or maps_bands):
        raise UsageError(_describe_band_mismatch(str(path), metadata.bands, bands))
    stored = read_state(path)
    state = {key.removeprefix("backbone."): value for key, value in stored.items() if key.startswith("backbone.")}
    state = backbone.adapt_weights(match_weights(backbone, state, metadata.upsample))
    mismatched: dict[str, str] = {}
    if metadata.bands and not maps_bands and list(metadata.bands) != list(bands):
        keys = _find_size_dependent(backbone, rebuild, [*bands, _OTHER_BAND], len(classes))
        mismatched |= dict.fromkeys(keys, "trained for other bands")
    # Imported weights may have no names of bands and made-up names of classes; then both are taken to match.
    if (metadata.bands or not metadata.classes) and [label.name for label in metadata.classes] != list(classes):
        keys = _find_size_dependent(backbone, rebuild, bands, len(classes) + 1)
        mismatched |= dict.fromkeys(keys, "trained for other classes")
    own = backbone.state_dict()  # detached from autograd, so that the values can be replaced in place
    loaded, newly_initialized = [], []
    for key, value in own.items():
        if key not in state:
            newly_initialized.append(f"{key}: not in the weights")
        elif state[key].shape != value.shape:
            newly_initialized.append(f"{key}: {tuple(state[key].shape)} in the weights, {tuple(value.shape)} here")
        elif key in mismatched:
            newly_initialized.append(f"{key}: {mismatched[key]}")
        else:
            value.copy_(state[key])
            loaded.append(key)
    if not loaded:
        raise CropzooError(f"weights {str(path)!r} contain no tensor that fits backbone {name!r}; check its options")
    return Transfer(tuple(loaded), tuple(newly_initialized))


def _find_size_dependent(
    backbone: Backbone, rebuild: Callable[[Sequence[str], int], Backbone], bands: Sequence[str], classes: int
) -> list[str]:
    """Names of the parameters that have another shape in the same backbone built for these numbers."""
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):  # without memory; a pretrained network gives no notes on its bands again
                other = rebuild(bands, classes).state_dict()
        except Exception:  # a backbone that computes with values while it is built
            other = rebuild(bands, classes).state_dict()
    return [key for key, value in backbone.state_dict().items() if key in other and other[key].shape != value.shape]


def _describe_band_mismatch(path: str, trained: Sequence[str], given: Sequence[str]) -> str:
    if not trained:
        return (
            f"weights {path!r} do not state the bands that they were trained on; pass --adapt-bands to use them anyway"
        )
    missing = [band for band in trained if band not in given]
    extra = [band for band in given if band not in trained]
    difference = [f"the data lack {', '.join(missing)}"] if missing else []
    difference += [f"the weights do not know {', '.join(extra)}"] if extra else []
    return (
        f"weights {path!r} were trained on bands {', '.join(trained)}, the data have {', '.join(given)}: "
        f"{' and '.join(difference) or 'the order differs'}; choose the bands with --set dataset.bands=[...], "
        "or pass --adapt-bands to initialize the layers that depend on their number"
    )
