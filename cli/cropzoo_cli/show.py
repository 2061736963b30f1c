"""`cropzoo show`: details of a backbone, dataset, objective, catalog entry, checkpoint or map."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from cropzoo.config.catalog import Catalog, CatalogEntry, Size
from cropzoo.config.recipe import PluginChoice
from cropzoo.config.short_forms import expand_short_forms
from cropzoo.errors import UnknownName, UsageError
from cropzoo.models.download import find_checkpoint
from cropzoo.models.hub import is_hub_address
from cropzoo.plugins.registry import Entry, Zoo
from cropzoo_cli.costs import DEFAULT_SIZE, costs_of, format_parameters, format_size
from cropzoo_cli.options import pass_catalog
from cropzoo_cli.output import echo, escape, print_json
from cropzoo_cli.scores import score_lines
from cropzoo_cli.settings import Settings
from cropzoo_cli.show_dataset import collect_dataset_facts, description_lines, find_dataset
from cropzoo_cli.show_map import collect_map_facts, map_lines
from cropzoo_cli.weights_table import weights_facts

if TYPE_CHECKING:
    from cropzoo.models.checkpoint import Metadata


@click.command()
@click.argument("name", metavar="NAME|CHECKPOINT|FOLDER|MAP")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Option of the dataset, such as dataset.fold=2. Repeatable.",
)
@click.option("--quick", is_flag=True, help="Count the samples of a dataset without reading them.")
@click.option("--check", is_flag=True, help="Check all files of a prepared dataset; fail if one is invalid.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE.png",
    help="Write a picture of the dataset: samples, and class curves over time.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@pass_catalog
def show(
    settings: Settings,
    catalog: Catalog,
    name: str,
    assignments: tuple[str, ...],
    quick: bool,
    check: bool,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Show an entry of the zoo or the catalog, a checkpoint, a run folder, a map, or the contents of a dataset.

    \b
    cropzoo show tsvit
    cropzoo show map.tif
    cropzoo show ds/ --set dataset.fold=2 --plot ds.png
    """  # noqa: D301 click reads the backspace character itself
    choice = None if name in catalog.entries else find_dataset(settings.zoo, name, assignments)
    if choice is not None:
        spec = _spec_facts(settings.zoo, settings.zoo.datasets[choice.name])
        facts, description = collect_dataset_facts(settings.zoo, choice, spec, quick, check, plot)
    elif assignments or quick or check or plot:
        raise UsageError(
            f"show {name!r}; it is not a dataset; --set, --quick, --check and --plot apply only to datasets"
        )
    else:
        facts, description = _collect_facts(settings, catalog, name), None
    if as_json:
        print_json({**facts, "contents": description.as_dict()} if description else facts)
        return
    if facts["kind"] == "class map":
        echo("\n".join(map_lines(facts)))
        return
    scores = facts.pop("scores", None)
    for key in ("bands", "classes", "splits") if description else ():
        facts.pop(key, None)  # shown in the tables below
    width = max(len(key) for key in facts)
    for key, value in facts.items():
        for line, text in enumerate(_value_lines(value)):
            echo(f"{key if line == 0 else '':<{width}}  {text}".rstrip())
    if description:
        echo("\n".join(["", *description_lines(description)]))
    if scores:
        echo("\n".join(["", *score_lines("test", scores)]))


def _collect_facts(settings: Settings, catalog: Catalog, name: str) -> dict[str, Any]:
    zoo = settings.zoo
    if name in catalog.entries:
        return _entry_facts(zoo, name, catalog)
    for registry in zoo.registries:
        if name in registry:
            return _spec_facts(zoo, registry[name])
    if Path(name).suffix == ".onnx" and Path(name).is_file():
        return _graph_facts(Path(name))
    if Path(name).suffix.lower() in (".tif", ".tiff") and Path(name).exists():
        return collect_map_facts(Path(name))
    if Path(name).exists():
        return _checkpoint_facts(Path(name), zoo)
    if name.partition("/")[0] in zoo.backbones:
        family, member = zoo.resolve_backbone(name)
        return _spec_facts(zoo, zoo.backbones[family], member)
    if is_hub_address(name):
        return _checkpoint_facts(find_checkpoint(name, catalog, zoo, settings.offline), zoo)
    if "/" in name:
        raise UsageError(
            f"path {name!r} does not exist; give the path of a dataset, a run folder, a checkpoint or a map"
        )
    known = [*catalog.entries, *(each for registry in zoo.registries for each in registry)]
    raise UnknownName("name", name, known, "it is not a file, entry, backbone, dataset or objective")


def _spec_facts(zoo: Zoo, entry: Entry[Any], member: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    from cropzoo.models.factory import SHAPE_ARGUMENTS
    from cropzoo.plugins.options import known_options
    from cropzoo.plugins.registry import load_target

    spec, owner = entry.spec, entry.owner
    facts = {"kind": spec.kind, **spec.as_dict(), "plugin": f"{owner.name} {owner.version}".strip()}
    factory = load_target(spec.build, f"{spec.kind} {spec.name!r}")
    given = {"backbone", *SHAPE_ARGUMENTS} if spec.kind != "dataset" else set()
    facts["options"] = {
        option: "required" if parameter.default is parameter.empty else member.get(option, parameter.default)
        for option, parameter in known_options(factory).items()
        if option not in given
    }
    if spec.kind == "backbone":
        facts |= _cost_facts(zoo, PluginChoice(name=spec.name, options=dict(member)), DEFAULT_SIZE, spec.parameters)
    return {key: value for key, value in facts.items() if value not in ("", (), {}, None)}


def _entry_facts(zoo: Zoo, name: str, catalog: Catalog) -> dict[str, Any]:
    entry: CatalogEntry = catalog[name]
    facts: dict[str, Any] = {"kind": "catalog entry", "name": name, "owner": catalog.owners[name]}
    facts |= {"summary": entry.summary, "source": entry.source, "license": entry.license}
    section = entry.recipe.get("backbone", {})
    options = {"name": section} if isinstance(section, str) else dict(section)
    if entry.size is not None and "name" in options:
        backbone = PluginChoice(name=options.pop("name"), options=options)
        facts |= _cost_facts(zoo, backbone, entry.size, entry.parameters)
    facts["recipe"] = entry.recipe
    facts["published scores"] = [
        f"{score.data}: OA {_number(score.oa)}, mIoU {_number(score.miou)} ({score.source})" for score in entry.scores
    ]
    if entry.weights is None:
        facts["weights"] = _explain_missing_weights(zoo, name, entry)
    else:
        weights = weights_facts(entry.weights)
        facts["trained_on"] = {key: value for key, value in (weights.pop("trained_on") or {}).items() if value}
        facts["weights"] = {key: value for key, value in weights.items() if value != ""}
    return {key: value for key, value in facts.items() if value not in ("", [], {})}


def _explain_missing_weights(zoo: Zoo, name: str, entry: CatalogEntry) -> str:
    data = expand_short_forms(entry.recipe, name).get("dataset", {}).get("name", "synthetic")
    if data in zoo.datasets:
        return f"none; train them with -c {name}"
    return f"none; train them with -c {name} --dataset NAME (no installed plugin has {data!r})"


def _checkpoint_facts(path: Path, zoo: Zoo) -> dict[str, Any]:
    from cropzoo.io import sha256_of
    from cropzoo.models.checkpoint import HeadData, read_metadata

    path = path / "model.safetensors" if path.is_dir() else path
    metadata = read_metadata(path)
    length = metadata.length or DEFAULT_SIZE.dates
    classes = max(len(metadata.classes), 1)
    size = Size(bands=metadata.in_channels, classes=classes, dates=length, pixels=metadata.image_size)
    facts = {"kind": "checkpoint", "file": str(path), "bytes": path.stat().st_size, "sha256": sha256_of(path)}
    facts |= (
        _cost_facts(
            zoo,
            metadata.backbone,
            size,
            upsample=metadata.upsample,
            bands=metadata.bands or None,
            fitted=isinstance(metadata.head, HeadData),
        )
        if metadata.backbone.name in zoo.backbones
        else {}
    )
    return {**facts, **_metadata_facts(metadata)}


def _graph_facts(path: Path) -> dict[str, Any]:
    from cropzoo.inference.export.formats import read_notes
    from cropzoo.inference.export.onnx import OnnxSession
    from cropzoo.io import sha256_of

    notes = read_notes(OnnxSession(path).notes, repr(str(path)))
    return {
        "kind": "exported graph",
        "file": str(path),
        "bytes": path.stat().st_size,
        "sha256": sha256_of(path),
        "checkpoint": notes.checkpoint_sha256,
        "any length": ", ".join(notes.dynamic) or "nothing",
        "size_multiple": notes.size_multiple,
        "inputs": notes.inputs,
        "outputs": notes.outputs,
        **_metadata_facts(notes.metadata),
    }


def _metadata_facts(metadata: Metadata) -> dict[str, Any]:
    from cropzoo.data.sample import format_code

    content = metadata.model_dump(mode="json")
    content["plugins"] = [
        f"{f'{each.distribution} {each.version}'.strip() or each.module}: {', '.join(each.provides)}"
        for each in metadata.plugins
    ]
    content["classes"] = [f"{format_code(label, '-')} {label.name} {label.color}" for label in metadata.classes]
    return {key: value for key, value in content.items() if value not in ("", None, [], {})}


def _cost_facts(
    zoo: Zoo, backbone: PluginChoice, size: Size, published: float | None = None, **how: Any
) -> dict[str, Any]:
    """Parameters and FLOPs; `how` are the further arguments of `costs_of`."""
    costs = costs_of(zoo, backbone, size, **how)
    return {
        "parameters": format_parameters(costs.parameters, published),
        "GFLOPs": f"{costs.gflops:.2f} (one series: {format_size(size)})",
    }


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def _value_lines(value: Any) -> Iterable[str]:
    if isinstance(value, dict):
        return [f"{_inline(key)}: {_inline(item)}" for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        items = [_inline(item) for item in value]
        return items if any(len(item) > 12 for item in items) else [", ".join(items)]
    return [_inline(value)]


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{_inline(key)}={_inline(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_inline(item) for item in value)
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value), kept="")
