"""`cropzoo list`: entries of the zoo and the catalog, by kind."""

from __future__ import annotations

from typing import Any

import click

from cropzoo.config.catalog import Catalog
from cropzoo.errors import CropzooError, UsageError, suggest
from cropzoo.models.names import list_members, matches
from cropzoo.plugins.registry import Zoo
from cropzoo_cli.costs import DEFAULT_SIZE, format_size
from cropzoo_cli.options import pass_catalog
from cropzoo_cli.output import note, print_json, print_overview, print_table
from cropzoo_cli.settings import Settings

COLUMNS = ("kind", "name", "owner", "license", "summary")
BRIEF = ("kind", "name", "summary")


@click.command("list")
@click.argument("pattern", required=False)
@click.option("--all", "everything", is_flag=True, help="Also list the catalog entries, with owners and licenses.")
@click.option("--json", "as_json", is_flag=True, help="Print all fields as JSON, by kind.")
@click.option("--table", is_flag=True, help="Print backbones with parameters, GFLOPs and published scores.")
@click.option("--datasets", is_flag=True, help="Print datasets with bands, classes and how to obtain them.")
@click.option(
    "--weights", is_flag=True, help="Print entries with weights: size, license and what they were trained on."
)
@pass_catalog
def list_zoo(
    settings: Settings,
    catalog: Catalog,
    pattern: str | None,
    everything: bool,
    as_json: bool,
    table: bool,
    datasets: bool,
    weights: bool,
) -> None:
    """List backbones, datasets and objectives; with a pattern or --all also catalog entries.

    PATTERN is a part of the name or a shell pattern of the full name, such as 'tsvit*'. To search the members of a
    family of backbones, use its name and a pattern, such as 'timm/*resnet*'.
    """
    if table + datasets + weights > 1:
        raise UsageError("--table, --datasets and --weights are mutually exclusive; give one of them")
    brief = pattern is None and not everything
    pattern = pattern or "*"
    if table:
        _print_backbones(settings.zoo, catalog, pattern, as_json)
        return
    if datasets:
        _print_datasets(settings.zoo, pattern, as_json)
        return
    if weights:
        _print_weights(catalog, pattern, as_json)
        return
    found = {**zoo_records(settings.zoo), "catalog": catalog_records(catalog)}
    found["backbones"] += family_records(settings.zoo, pattern)
    chosen = {
        kind: [record for record in records if matches(record["name"], pattern)] for kind, records in found.items()
    }
    if not any(chosen.values()):
        names = [record["name"] for records in found.values() for record in records]
        raise CropzooError(f"nothing in the zoo matches {pattern!r}; {suggest(pattern.strip('*'), names)}")
    if as_json:
        print_json(chosen)
        return
    entries = len(chosen.pop("catalog")) if brief else 0
    columns = BRIEF if brief else COLUMNS
    rows = [[record[column] for column in columns] for records in chosen.values() for record in records]
    if not brief:
        print_table(columns, rows)
        return
    left_out = "summaries and " if print_overview(columns, rows) else ""
    note(f"{left_out}{entries} catalog entries are not listed; use --all, or a pattern such as 'tsvit*'")


def _print_backbones(zoo: Zoo, catalog: Catalog, pattern: str, as_json: bool) -> None:
    from cropzoo_cli.paper_table import as_rows, paper_table

    records = paper_table(zoo, catalog, lambda name: matches(name, pattern))
    if not records:
        hint = "; use `cropzoo show` for members of a family" if "/" in pattern else ""
        raise CropzooError(f"no backbone matches {pattern!r}; {suggest(pattern.strip('*'), zoo.backbones)}{hint}")
    note(f"parameters and GFLOPs at {format_size(DEFAULT_SIZE)}; published scores are OA / mIoU in percent")
    if as_json:
        print_json(records)
    else:
        print_table(*as_rows(records), sections=False)


def _print_datasets(zoo: Zoo, pattern: str, as_json: bool) -> None:
    from cropzoo_cli.dataset_table import COLUMNS, dataset_row

    chosen = [record for record in zoo_records(zoo)["datasets"] if matches(record["name"], pattern)]
    if not chosen:
        raise CropzooError(f"no dataset matches {pattern!r}; {suggest(pattern.strip('*'), zoo.datasets)}")
    if as_json:
        print_json(chosen)
    else:
        print_table(COLUMNS, [dataset_row(record) for record in chosen], sections=False)


def _print_weights(catalog: Catalog, pattern: str, as_json: bool) -> None:
    from cropzoo_cli.weights_table import COLUMNS, weights_records, weights_row

    records = weights_records(catalog, lambda name: matches(name, pattern))
    if not records:
        names = [name for name, entry in catalog.entries.items() if entry.weights is not None]
        raise CropzooError(f"no entry with weights matches {pattern!r}; {suggest(pattern.strip('*'), names)}")
    if as_json:
        print_json(records)
    else:
        print_table(COLUMNS, [weights_row(record) for record in records], sections=False)


def family_records(zoo: Zoo, pattern: str) -> list[dict[str, Any]]:
    """Records of the members of a family, for a pattern such as "timm/*"; no member is built."""
    family = pattern.partition("/")[0]
    return [
        {
            "kind": "backbone",
            "name": name,
            "license": zoo.backbones[family].spec.license,
            "owner": zoo.backbones[family].owner.name,
            "summary": zoo.backbones[family].spec.summary,
        }
        for name in list_members(zoo, pattern)
    ]


def zoo_records(zoo: Zoo) -> dict[str, list[dict[str, Any]]]:
    """Records of all entries under "backbones", "datasets" and "objectives"."""
    return {
        f"{registry.kind}s": [
            {
                "kind": registry.kind,
                **entry.spec.as_dict(),
                "owner": entry.owner.name,
                "distribution": entry.owner.distribution,
                "version": entry.owner.version,
            }
            for entry in registry.values()
        ]
        for registry in zoo.registries
    }


def catalog_records(catalog: Catalog) -> list[dict[str, Any]]:
    """Records of the catalog's entries."""
    return [
        {"kind": "entry", "name": name, **entry.model_dump(mode="json"), "owner": catalog.owners[name]}
        for name, entry in catalog.entries.items()
    ]
