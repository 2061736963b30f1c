"""`cropzoo import-weights`: a published weights file to a checkpoint of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cropzoo.config.catalog import Catalog
from cropzoo.config.merge import parse_assignments
from cropzoo.config.short_forms import expand_short_forms
from cropzoo.errors import CropzooError, UsageError
from cropzoo_cli.options import check_suffix, pass_catalog
from cropzoo_cli.output import note
from cropzoo_cli.settings import Settings


@click.command("import-weights")
@click.argument("backbone", metavar="BACKBONE")
@click.argument("file", metavar="FILE.pth", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE.safetensors", help="Where to.")
@click.option("--like", metavar="ENTRY", help="Catalog entry whose settings and size the weights were trained with.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Such as backbone.dim=64, classes=19.")
@click.option("--statistics-of", metavar="DATASET", help="Take bands, classes and statistics from this dataset.")
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
@pass_catalog
def import_weights(
    settings: Settings,
    catalog: Catalog,
    backbone: str,
    file: Path,
    out: Path,
    like: str | None,
    assignments: tuple[str, ...],
    statistics_of: str | None,
    overwrite: bool,
) -> None:
    """Turn a published weights file of BACKBONE into a checkpoint.

    Sizes come from a catalog entry (--like) and --set: bands, classes, image_size, length, backbone.OPTION,
    dataset.OPTION. The file is read as tensors alone; nothing in it is run.

    \b
    cropzoo import-weights tsvit tsvit.pth --like tsvit.pastis --out tsvit.safetensors
    """  # noqa: D301 click reads the backspace character itself
    check_suffix(out)
    if out.exists() and not overwrite:
        raise UsageError(f"{str(out)!r} exists already; replace it with --overwrite or choose another --out")
    plan = _plan(settings, catalog, backbone, like, assignments)
    note(f"{file}: importing torch")
    from cropzoo.models.convert import import_published

    metadata = import_published(backbone, file, out, settings.zoo, plan, statistics_of)
    click.echo(f"checkpoint  {out}  {len(metadata.classes)} classes, {metadata.in_channels} bands")
    if not metadata.mean:
        note("it holds no band statistics: use it with --weights, or import it with --statistics-of DATASET")


def _plan(
    settings: Settings, catalog: Catalog, backbone: str, like: str | None, assignments: tuple[str, ...]
) -> dict[str, Any]:
    """Sizes and options: the spec's own for published weights, the entry's, the user's."""
    backbone, _ = settings.zoo.backbone_choice(backbone)
    spec = settings.zoo.backbones[backbone].spec
    if not spec.convert:
        raise UsageError(f"backbone {backbone!r} knows no published weights; its plugin names no conversion for them")
    plan: dict[str, Any] = {"backbone": dict(spec.published), "dataset": {}}
    if like is not None:
        entry = catalog[like]
        recipe = expand_short_forms(entry.recipe, like)
        section = recipe.get("backbone", {})
        if section.get("name", backbone) != backbone:
            raise UsageError(f"catalog entry {like!r} is of backbone {section['name']!r}, not {backbone!r}")
        if entry.size is None:
            raise CropzooError(f"catalog entry {like!r} gives no size; give --set bands=, classes=, image_size=")
        options = {key: value for key, value in section.items() if key != "name"}
        plan |= {"bands": entry.size.bands, "classes": entry.size.classes, "image_size": entry.size.pixels}
        plan |= {"length": recipe.get("length", entry.size.dates if spec.fixed_length else None)}
        plan["backbone"] = {**options, **plan["backbone"]}
    for key, value in parse_assignments(assignments).items():
        plan[key] = {**plan[key], **value} if isinstance(value, dict) and key in plan else value
    missing = [key for key in ("bands", "classes", "image_size") if key not in plan]
    if missing:
        raise UsageError(
            f"the file does not tell {', '.join(missing)} of its network; give them with --set "
            f"({' '.join(f'--set {key}=NUMBER' for key in missing)}), or all at once with --like ENTRY"
        )
    return plan
