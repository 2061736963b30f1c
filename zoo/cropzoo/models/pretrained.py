"""Pretrained weights for new models: found by tag, entry, file or address, and loaded into a backbone."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cropzoo.config.catalog import Catalog, load_catalog
from cropzoo.config.merge import pretrained_backbone, split_tag
from cropzoo.errors import UsageError
from cropzoo.models.base import Backbone
from cropzoo.models.checkpoint import read_metadata
from cropzoo.models.download import find_checkpoint
from cropzoo.models.transfer import load_initial_weights
from cropzoo.plugins.registry import Zoo

_log = logging.getLogger("cropzoo")


@dataclass(frozen=True)
class Pretrained:
    """A backbone by name, with the weights that it starts from.

    Args:
        name: name of the backbone.
        options: options of the network that the weights belong to.
        source: what the weights were found by.
        path: path of the checkpoint; None for random weights.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    path: Path | None = None

    def load(
        self,
        backbone: Backbone,
        bands: Sequence[str] | None,
        classes: int,
        rebuild: Callable[[Sequence[str], int], Backbone],
        maps_bands: bool,
    ) -> None:
        """Load the weights into a backbone, and log which of its parameters are new; nothing without weights.

        Args:
            backbone: the backbone, changed in place.
            bands: names of the bands; None if unknown.
            classes: number of classes; parameters that depend on it start new, because the classes have no names.
            rebuild: as in `load_initial_weights`.
            maps_bands: as in `load_initial_weights`.

        Raises:
            UsageError: the weights belong to another backbone, or were trained on other bands.
            CropzooError: none of the weights fits.
        """
        if self.path is None:
            return
        trained = read_metadata(self.path).bands
        if bands is None and trained and not maps_bands:
            raise UsageError(
                f"weights {self.source!r} were trained on bands {', '.join(trained)}; give the names of the bands of "
                "the series, such as bands=('B02', 'B03')"
            )
        names = tuple(f"new class {number}" for number in range(classes))
        adapt = bands is None  # neither the weights nor the caller name bands
        transfer = load_initial_weights(backbone, self.name, self.path, bands or (), adapt, names, rebuild, maps_bands)
        for line in transfer.describe(self.source):
            _log.info("%s", line)


def find_pretrained(
    name: str, pretrained: bool | str | Path, zoo: Zoo, catalog: Catalog | None = None, offline: bool = False
) -> Pretrained:
    """Find the weights of a backbone; downloads and converts them if needed.

    Args:
        name: name of a backbone, FAMILY/MEMBER, or BACKBONE.TAG.
        pretrained: whether to load weights: those of TAG, else of the backbone's default tag; or a tag, a catalog
            entry, a checkpoint file, a run folder, or an address hf-hub:ORG/NAME.
        zoo: plugins.
        catalog: catalog of named entries; the default one if None. Read only if it is needed.
        offline: whether to never access the network.

    Raises:
        UnknownName: there are no weights of that name; the message lists those of the backbone.
        UsageError: the backbone has no default weights, or two weights are named.
    """
    tagged = split_tag(zoo, name)
    if tagged is None and pretrained is False:
        return Pretrained(name)
    catalog = catalog or load_catalog(zoo)
    backbone, member = zoo.resolve_backbone(name) if tagged is None else (tagged[0], {})
    spec = zoo.backbones[backbone].spec
    if tagged is not None:
        if not isinstance(pretrained, bool):
            raise UsageError(
                f"create_model({name!r}, pretrained={str(pretrained)!r}); both name weights; give one of them"
            )
        source = catalog.find_tag(*tagged)
        if not pretrained:
            section = pretrained_backbone(zoo, catalog, source)
            return Pretrained(section.pop("name", backbone), section)
    elif pretrained is True:
        if not spec.pretrained:
            tags = ", ".join(repr(tag) for tag in catalog.tags(backbone)) or "none; see `cropzoo list --weights`"
            raise UsageError(
                f"create_model({name!r}, pretrained=True); the backbone has no default weights; name them by "
                f"pretrained=TAG, one of: {tags}"
            )
        source = catalog.find_tag(backbone, spec.pretrained)
    else:
        source = str(pretrained)
        if f"{backbone}.{source}" in catalog.entries or _is_tag(source, catalog):
            source = catalog.find_tag(backbone, source)
    path = find_checkpoint(source, catalog, zoo, offline)
    options = spec.architecture(read_metadata(path).backbone.options)
    return Pretrained(backbone, {**options, **member}, source, path)


def _is_tag(source: str, catalog: Catalog) -> bool:
    """Whether a text can only be a tag, so that an unknown one is reported with the backbone's tags."""
    return source not in catalog.entries and not os.path.exists(source) and not any(each in source for each in "./:")
