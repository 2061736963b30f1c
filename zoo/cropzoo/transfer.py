"""Starting a backbone from a checkpoint that may have been trained on something else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cropzoo.checkpoint import read_metadata, read_state
from cropzoo.contracts import Backbone
from cropzoo.errors import CropzooError, UsageError


@dataclass(frozen=True)
class Transfer:
    """What became of a checkpoint's weights.

    Args:
        loaded: parameters that took their values from the checkpoint.
        fresh: "name: reason" of those that start new.
    """

    loaded: tuple[str, ...]
    fresh: tuple[str, ...]


def start_from(backbone: Backbone, name: str, path: Path, bands: Sequence[str], adapt_bands: bool) -> Transfer:
    """Load what fits of a checkpoint's backbone, by name and shape.

    Args:
        backbone: changed in place.
        name: of the backbone, which the checkpoint must share.
        path: of the checkpoint.
        bands: of the data that the backbone will see.
        adapt_bands: take weights that were trained on other bands.

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
    own = backbone.state_dict()  # detached from autograd, so that the values can be replaced in place
    loaded, fresh = [], []
    for key, value in own.items():
        if key not in state:
            fresh.append(f"{key}: not in the weights")
        elif state[key].shape != value.shape:
            fresh.append(f"{key}: {tuple(state[key].shape)} in the weights, {tuple(value.shape)} here")
        else:
            value.copy_(state[key])
            loaded.append(key)
    if not loaded:
        raise CropzooError(f"weights {str(path)!r} hold nothing that fits backbone {name!r}; check its options")
    return Transfer(tuple(loaded), tuple(fresh))


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
