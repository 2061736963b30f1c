"""What a run stores about its plugins: every option with its value, and which plugin provided what."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from cropzoo.config.recipe import Auxiliary, PluginChoice, Recipe
from cropzoo.config.schema import Schema, format_yaml
from cropzoo.errors import UsageError, warn_once
from cropzoo.plugins.hookspecs import PROJECT
from cropzoo.plugins.registry import Zoo


class PluginRecord(Schema):
    """A plugin that a run used. Unknown keys, which later versions may add, are ignored.

    Args:
        provides: kind and name of each component that the run used, such as "backbone tsvit".
        distribution, version: installed distribution of the plugin; empty for a module or file.
        module: import name or file name of a plugin that was loaded by -p or CROPZOO_PLUGINS; empty otherwise.
    """

    model_config = ConfigDict(extra="ignore")

    provides: tuple[str, ...]
    distribution: str = ""
    version: str = ""
    module: str = ""

    def to_mapping(self) -> dict[str, Any]:
        """The mapping form, without empty values."""
        return self.model_dump(mode="json", exclude_defaults=True)


def complete_recipe(zoo: Zoo, recipe: Recipe) -> Recipe:
    """The recipe with every option of its plugins, defaults included; the factories are imported.

    Raises:
        UnknownName: a plugin is not installed.
        CropzooError: a factory cannot be imported.
    """
    name, member = zoo.resolve_backbone(recipe.backbone.name)
    backbone = zoo.backbones[name].complete({**recipe.backbone.options, **member})
    dataset = zoo.datasets[recipe.dataset.name].complete(recipe.dataset.options)

    def complete_auxiliary(each: Auxiliary) -> Auxiliary:
        return each.model_copy(update={"options": zoo.objectives[each.objective].complete(each.options)})

    stages = tuple(
        stage.model_copy(
            update={
                "options": zoo.objectives[stage.objective].complete(stage.options),
                "auxiliary": tuple(map(complete_auxiliary, stage.auxiliary)),
            }
        )
        for stage in recipe.stages
    )
    choices = {
        "backbone": PluginChoice(name=name, options=backbone),
        "dataset": PluginChoice(name=recipe.dataset.name, options=dataset),
    }
    return recipe.model_copy(update={**choices, "stages": stages})


def components_of(recipe: Recipe) -> list[str]:
    """Kind and name of each plugin's component in a recipe, such as "backbone tsvit"."""
    names = [f"backbone {recipe.backbone.name}", f"dataset {recipe.dataset.name}"]
    return list(dict.fromkeys([*names, *(f"objective {name}" for name in recipe.objectives)]))


def record_plugins(zoo: Zoo, components: Iterable[str]) -> tuple[PluginRecord, ...]:
    """Which plugins provide the components, which `components_of` lists."""
    registries = {registry.kind: registry for registry in zoo.registries}
    found: dict[tuple[str, str, str], list[str]] = {}
    for component in components:
        kind, _, name = component.partition(" ")
        owner = registries[kind][name].owner
        origin = Path(owner.origin).name if owner.origin.endswith(".py") else owner.origin
        key = (owner.distribution, owner.version, "" if owner.distribution else origin)
        found.setdefault(key, []).append(component)
    return tuple(
        PluginRecord(provides=tuple(provided), distribution=distribution, version=version, module=module)
        for (distribution, version, module), provided in found.items()
    )


def format_recipe(recipe: Recipe, plugins: Sequence[PluginRecord]) -> str:
    """The recipe and its plugins as YAML text, which is a valid --config."""
    records = [each.to_mapping() for each in plugins]
    return format_yaml({**recipe.to_mapping(), **({"plugins": records} if records else {})})


def read_records(values: Mapping[str, Any], where: str) -> list[PluginRecord]:
    """The plugins in a recipe's mapping form; none in one that no run wrote.

    Raises:
        UsageError: the records are damaged.
    """
    records = values.get("plugins", [])
    if not isinstance(records, list | tuple) or not all(isinstance(each, Mapping) for each in records):
        raise UsageError(f"{where}: plugins is {records!r}; it must be the list that a run wrote; remove it")
    return [PluginRecord.parse(each, f"{where}: plugins") for each in records]


def check_plugins(zoo: Zoo, records: Iterable[PluginRecord], where: str, needed: Collection[str] | None = None) -> None:
    """Compare the plugins that a file was written with to those of the zoo.

    Another version, and another plugin that provides the component, is warned about once. The built-in plugins are left
    out: their versions read the files of earlier ones.

    Args:
        zoo: the plugins.
        records: from the file.
        where: the file, for messages.
        needed: components that are used, such as "backbone mine"; all if None.

    Raises:
        UsageError: a component is missing; the message names the plugin that provided it.
    """
    registries = {registry.kind: registry for registry in zoo.registries}
    for record in records:
        for component in record.provides:
            kind, _, name = component.partition(" ")
            if (
                record.distribution == PROJECT
                or kind not in registries
                or (needed is not None and component not in needed)
            ):
                continue
            if name not in registries[kind]:
                raise UsageError(f"{where} needs {kind} {name!r}; {_describe_missing(zoo, record)}")
            was, now = _name_package(record), _name_package(record_plugins(zoo, [component])[0])
            if was and was != now:
                warn_once(f"{where} was written with {was}, and {now} is used; results may differ; use {was}")


def _name_package(record: PluginRecord) -> str:
    """What provides a component: a package with its version, a module or a file."""
    return f"{record.distribution} {record.version}".strip() or record.module


def _describe_missing(zoo: Zoo, record: PluginRecord) -> str:
    """What is missing, and what to do."""
    if record.module.endswith(".py"):
        return f"it was written with the plugin file {record.module!r}; add that file with -p or CROPZOO_PLUGINS"
    if record.module:
        return f"it was written with the plugin module {record.module!r}; add that module with -p or CROPZOO_PLUGINS"
    package = f"{record.distribution} {record.version}".strip()
    if any(plugin.distribution == record.distribution for plugin in zoo.broken):
        return f"its plugin {package!r} is installed but broken; `cropzoo plugins` shows the error"
    if any(plugin.distribution == record.distribution for plugin in zoo.plugins):
        return f"it was written with {package!r}, and the installed version has no such entry; install that version"
    return f"it was written with the plugin package {package!r}, which is not installed; install it if you trust it"
