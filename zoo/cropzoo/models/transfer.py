"""Starting a backbone from a checkpoint that may have been trained on something else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from cropzoo.errors import CropzooError, UsageError
from cropzoo.models.base import Backbone
from cropzoo.models.checkpoint import read_metadata, read_state
from cropzoo.models.upsample import weights_for


@dataclass(frozen=True)
class Transfer:
    """What became of a checkpoint's weights.

    Args:
        loaded: parameters that took their values from the checkpoint.
        fresh: "name: reason" of those that start new.
    """

    loaded: tuple[str, ...]
    fresh: tuple[str, ...]


def start_from(
    backbone: Backbone,
    name: str,
    path: Path,
    bands: Sequence[str],
    adapt_bands: bool,
    classes: Sequence[str],
    rebuild: Callable[[int, int], Backbone],
) -> Transfer:
    """Load what fits of a checkpoint's backbone, by name and shape, and by what bands and classes stand for.

    Args:
        backbone: changed in place.
        name: of the backbone, which the checkpoint must share.
        path: of the checkpoint.
        bands: of the data that the backbone will see.
        adapt_bands: take weights that were trained on other bands; what depends on their number starts new.
        classes: names of the data's classes; where they are others, what depends on their number starts new.
        rebuild: makes the same backbone for (bands, classes); it tells what depends on each.

    Raises:
        CropzooError: for a file that is no checkpoint, one of another backbone, or one without a single fitting weight.
        UsageError: for other bands, unless `adapt_bands`.
    """
    metadata = read_metadata(path)
    if metadata.backbone.name != name:
        raise UsageError(
            f"weights {str(path)!r} are of backbone {metadata.backbone.name!r}, not {name!r}; "
            f"use --backbone {metadata.backbone.name} or other weights"
        )
    if list(metadata.bands) != list(bands) and not adapt_bands:
        raise UsageError(_tell_bands(str(path), metadata.bands, bands))
    stored = read_state(path)
    state = {key.removeprefix("backbone."): value for key, value in stored.items() if key.startswith("backbone.")}
    state = backbone.adapt_weights(weights_for(backbone, state, metadata.upsample))
    strange: dict[str, str] = {}
    told = bool(metadata.bands)  # imported weights may not tell; the user who takes them knows what they are
    if told and list(metadata.bands) != list(bands):
        strange = dict.fromkeys(_sized(rebuild, backbone, 1, 0, len(bands), len(classes)), "made for other bands")
    if told and [label.name for label in metadata.classes] != list(classes):
        strange |= dict.fromkeys(_sized(rebuild, backbone, 0, 1, len(bands), len(classes)), "made for other classes")
    own = backbone.state_dict()  # detached from autograd, so that the values can be replaced in place
    loaded, fresh = [], []
    for key, value in own.items():
        if key not in state:
            fresh.append(f"{key}: not in the weights")
        elif state[key].shape != value.shape:
            fresh.append(f"{key}: {tuple(state[key].shape)} in the weights, {tuple(value.shape)} here")
        elif key in strange:
            fresh.append(f"{key}: {strange[key]}")
        else:
            value.copy_(state[key])
            loaded.append(key)
    if not loaded:
        raise CropzooError(f"weights {str(path)!r} hold nothing that fits backbone {name!r}; check its options")
    return Transfer(tuple(loaded), tuple(fresh))


def _sized(
    rebuild: Callable[[int, int], Backbone], backbone: Backbone, more_bands: int, more_classes: int, *sizes: int
) -> list[str]:
    """The names of what has another shape in the same backbone for more bands or classes."""
    bands, classes = sizes
    with torch.random.fork_rng(devices=[]):
        other = rebuild(bands + more_bands, classes + more_classes).state_dict()
    return [key for key, value in backbone.state_dict().items() if key in other and other[key].shape != value.shape]


def _tell_bands(path: str, trained: Sequence[str], given: Sequence[str]) -> str:
    if not trained:
        return (
            f"weights {path!r} do not say which bands they were trained on; pass --adapt-bands to use them all the same"
        )
    missing = [band for band in trained if band not in given]
    extra = [band for band in given if band not in trained]
    difference = [f"the data lack {', '.join(missing)}"] if missing else []
    difference += [f"the weights never saw {', '.join(extra)}"] if extra else []
    return (
        f"weights {path!r} were trained on bands {', '.join(trained)}, the data have {', '.join(given)}: "
        f"{' and '.join(difference) or 'another order'}; choose the bands with --set dataset.bands=[...], "
        "or pass --adapt-bands to start new what depends on their number"
    )
