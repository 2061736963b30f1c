"""Parameters and operations of networks, for `show` and `list --table`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cropzoo.config.catalog import Size
from cropzoo.config.recipe import PluginChoice
from cropzoo.plugins.registry import Zoo

if TYPE_CHECKING:
    from cropzoo.models.flops import Costs

DEFAULT_SIZE = Size(bands=10, classes=19, dates=60, pixels=24)
"""Size at which costs are counted by default: that of PASTIS."""


def costs_of(
    zoo: Zoo,
    backbone: PluginChoice,
    size: Size,
    upsample: int = 1,
    bands: Sequence[str] | None = None,
    fitted: bool = False,
) -> Costs:
    """Costs of a new model of a size, without initial weights, and without its head if that is fitted."""
    from torch import nn

    from cropzoo.models.factory import create_model
    from cropzoo.models.flops import count_costs

    name, member = zoo.resolve_backbone(backbone.name)
    model = create_model(
        name,
        in_channels=size.bands,
        classes=size.classes,
        image_size=size.pixels,
        length=size.dates,
        upsample=upsample,
        bands=bands,
        zoo=zoo,
        **{**member, **zoo.backbones[name].spec.architecture(backbone.options)},
    )
    if fitted:
        model.head = nn.Identity()
    return count_costs(model, size)


def format_parameters(count: int, published: float | None) -> str:
    """The count, with the published figure (millions) if it differs."""
    if published is None:
        return f"{count:,}"
    decimals = len(f"{published:g}".partition(".")[2])
    differs = abs(count / 1e6 - published) > 0.5 * 10**-decimals
    return f"{count:,}" + (f" (published as {published:g} M)" if differs else "")


def format_size(size: Size) -> str:
    """The size as text."""
    return f"{size.bands} bands, {size.classes} classes, {size.dates} dates, {size.pixels} x {size.pixels} px"
