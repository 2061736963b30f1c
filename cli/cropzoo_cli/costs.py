"""Parameters and operations of networks, as `show` and `list --table` print them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cropzoo.config.catalog import Size
from cropzoo.config.recipe import PluginChoice
from cropzoo.plugins.registry import Zoo

if TYPE_CHECKING:
    from cropzoo.models.flops import Costs

DEFAULT_SIZE = Size(bands=10, classes=19, dates=60, pixels=24)
"""What costs are counted at where nothing else is said: the setting of PASTIS."""


def costs_of(zoo: Zoo, backbone: PluginChoice, size: Size, upsample: int = 1) -> Costs:
    """The costs of a new model of that size; initial weights are not looked for."""
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
        zoo=zoo,
        **{**member, **zoo.backbones[name].spec.architecture(backbone.options)},
    )
    return count_costs(model, size)


def format_parameters(count: int, published: float | None) -> str:
    """The count, and the published figure, in millions, beside it where that says something else."""
    if published is None:
        return f"{count:,}"
    decimals = len(f"{published:g}".partition(".")[2])
    differs = abs(count / 1e6 - published) > 0.5 * 10**-decimals
    return f"{count:,}" + (f" (published as {published:g} M)" if differs else "")


def format_size(size: Size) -> str:
    """The size in words."""
    return f"{size.bands} bands, {size.classes} classes, {size.dates} dates, {size.pixels} x {size.pixels} px"
