"""`cropzoo import-weights`: convert a published weights file to a checkpoint."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from cropzoo.config.catalog import Catalog
from cropzoo.config.merge import parse_assignments
from cropzoo.config.short_forms import expand_short_forms
from cropzoo.errors import CropzooError, UsageError
from cropzoo.models.hub import CHECKPOINT, HubFile, download_from_hub, is_hub_address, parse_hub_address
from cropzoo_cli.costs import DEFAULT_SIZE
from cropzoo_cli.options import check_suffix, pass_catalog
from cropzoo_cli.output import echo, note
from cropzoo_cli.settings import Settings


@click.command("import-weights")
@click.argument("backbone", metavar="BACKBONE")
@click.argument("source", metavar="FILE")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE.safetensors",
    help="Path of the checkpoint to write.",
)
@click.option("--like", metavar="ENTRY", help="Catalog entry whose sizes and backbone options the weights have.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Size or option, such as classes=19 or backbone.dim=64. Repeatable.",
)
@click.option(
    "--statistics-of", metavar="DATASET", help="Dataset that provides the bands, classes and band statistics."
)
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@pass_catalog
def import_weights(
    settings: Settings,
    catalog: Catalog,
    backbone: str,
    source: str,
    out: Path,
    like: str | None,
    assignments: tuple[str, ...],
    statistics_of: str | None,
    overwrite: bool,
) -> None:
    """Convert a published weights file of BACKBONE to a checkpoint.

    FILE is a path, or an address hf-hub:ORG/NAME[@REVISION]/FILE of the Hugging Face Hub. The sizes are taken from a
    catalog entry (--like) and from --set: bands, classes, image_size, length, backbone.OPTION, dataset.OPTION. Only
    tensors are read from the file; no code in it is executed. A file of a backbone without a head becomes a checkpoint
    that starts a training (--weights). Pretrained networks that find bands by name need no sizes,
    and files of tessera say the options of their network.

    \b
    cropzoo import-weights tsvit tsvit.pth --like tsvit.pastis --out tsvit.safetensors
    cropzoo import-weights galileo/base hf-hub:nasaharvest/galileo/models/base/encoder.pt --out base.safetensors
    """  # noqa: D301 click interprets the backspace character
    check_suffix(out)
    if out.exists() and not overwrite:
        raise UsageError(f"{str(out)!r} exists already; replace it with --overwrite or choose another --out")
    on_hub = _check_source(source)
    plan = _plan(settings, catalog, backbone, like, assignments)
    file = Path(source) if on_hub is None else download_from_hub(on_hub, settings.offline)
    note(f"{file}: importing torch")
    from cropzoo.models.convert import import_published

    name, _ = settings.zoo.resolve_backbone(backbone)
    metadata = import_published(name, file, out, settings.zoo, plan, statistics_of)
    if not metadata.head:
        echo(f"checkpoint  {out}  no head")
        note("the file has the weights of a backbone alone: use the checkpoint with --weights")
        return
    echo(f"checkpoint  {out}  {len(metadata.classes)} classes, {metadata.in_channels} bands")
    if not metadata.mean:
        note("the checkpoint has no band statistics: use it with --weights, or import it with --statistics-of DATASET")


def _check_source(source: str) -> HubFile | None:
    """The file that an address of the Hub names; None for a path.

    Raises:
        UsageError: the file does not exist, or the address names none.
    """
    if is_hub_address(source):
        file = parse_hub_address(source)
        if file.name == CHECKPOINT:
            raise UsageError(f"{source!r} names no published file; give hf-hub:ORG/NAME/FILE")
        return file
    if not os.path.isfile(source):
        raise UsageError(f"file {source!r} does not exist; give a path, or hf-hub:ORG/NAME/FILE")
    return None


def _plan(
    settings: Settings, catalog: Catalog, backbone: str, like: str | None, assignments: tuple[str, ...]
) -> dict[str, Any]:
    """Merge sizes and options of the user, the spec's options for published weights, and the catalog entry.

    Weights of a network that finds its bands by name suit any sizes; for those that are missing, common ones are used.
    """
    backbone, member = settings.zoo.resolve_backbone(backbone)
    spec = settings.zoo.backbones[backbone].spec
    if not spec.convert:
        raise UsageError(f"backbone {backbone!r} has no conversion for published weights; choose another backbone")
    plan: dict[str, Any] = {"backbone": {**spec.published, **member}, "dataset": {}}
    if like is not None:
        entry = catalog[like]
        recipe = expand_short_forms(entry.recipe, like)
        section = recipe.get("backbone", {})
        if section.get("name", backbone) != backbone:
            raise UsageError(
                f"catalog entry {like!r} is of backbone {section['name']!r}, not {backbone!r}; choose another entry"
            )
        if entry.size is None:
            raise CropzooError(f"catalog entry {like!r} has no size; set bands, classes and image_size with --set")
        options = {key: value for key, value in section.items() if key != "name"}
        plan |= {"bands": entry.size.bands, "classes": entry.size.classes, "image_size": entry.size.pixels}
        plan |= {"length": recipe.get("length", entry.size.dates if spec.fixed_length else None)}
        plan["backbone"] = {**options, **plan["backbone"]}
    for key, value in parse_assignments(assignments).items():
        plan[key] = {**plan[key], **value} if isinstance(value, dict) and key in plan else value
    if spec.normalization == "reflectance":
        plan = {"bands": DEFAULT_SIZE.bands, "classes": DEFAULT_SIZE.classes, "image_size": DEFAULT_SIZE.pixels, **plan}
    missing = [key for key in ("bands", "classes", "image_size") if key not in plan]
    if missing:
        raise UsageError(
            f"the file does not contain {', '.join(missing)} of its network; give them with --set "
            f"({' '.join(f'--set {key}=NUMBER' for key in missing)}), or all of them with --like ENTRY"
        )
    return plan
