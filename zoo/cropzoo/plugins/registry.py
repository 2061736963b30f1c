"""Registry of the backbones, datasets and objectives that the installed plugins provide."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint
from importlib.resources.abc import Traversable
from typing import Any, Generic, TypeVar

from cropzoo.errors import CropzooError, UnknownName, UsageError, describe_error
from cropzoo.parallel import Terminated, raise_on_interrupt
from cropzoo.plugins.manager import Plugin, collect
from cropzoo.plugins.options import check_options, complete_options
from cropzoo.plugins.specs import BackboneSpec, DatasetSpec, ObjectiveSpec, Spec


class MissingDependency(CropzooError):
    """A factory needs a package that is not installed."""


def load_target(target: str, what: str) -> Any:
    """Import the object named by `"package.module:name"`.

    Args:
        target: Import path of the module and name of the object.
        what: Subject of error messages, such as "backbone 'tsvit'".

    Raises:
        MissingDependency: If the import fails because another package is not installed.
        CropzooError: If the module or the name does not exist. Other errors of the import propagate unchanged.
    """
    module_name, _, attribute = target.partition(":")
    try:
        with raise_on_interrupt():
            module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise CropzooError(
                f"{what} refers to {target!r}; module {error.name!r} does not exist; fix the spec"
            ) from error
        _explain_missing(error, module_name, what)
        raise
    except BaseException as error:
        _explain_exit(error, what)
        raise
    if not hasattr(module, attribute):
        raise CropzooError(f"{what} refers to {target!r}; module {module_name!r} has no {attribute!r}; fix the spec")
    return getattr(module, attribute)


def build(spec: Spec, owner: str, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """Call the factory of a spec. Errors of the factory propagate unchanged.

    Args:
        spec: Spec of the component.
        owner: Name of the plugin, for error messages.
        args: Positional arguments of the factory.
        options: Keyword arguments of the factory.

    Raises:
        UnknownName: If the factory has no such option; the message lists similar names.
        UsageError: If a required option is missing, or an option has the wrong type.
        MissingDependency: If a package that the factory imports is not installed.
        CropzooError: If the factory cannot be imported; see `load_target`.
    """
    what = f"{spec.kind} {spec.name!r} of plugin {owner!r}"
    factory = load_target(spec.build, what)
    checked = check_options(spec, factory, options, len(args))
    try:
        with raise_on_interrupt():
            return factory(*args, **checked)
    except ModuleNotFoundError as error:
        _explain_missing(error, spec.build.partition(":")[0], what)
        raise
    except BaseException as error:
        _explain_exit(error, what)
        raise


def _explain_missing(error: ModuleNotFoundError, module_name: str, what: str) -> None:
    """Raise `MissingDependency` if the missing module belongs to another package than the plugin."""
    package = (error.name or "").partition(".")[0]
    if package and package != module_name.partition(".")[0]:
        raise MissingDependency(
            f"{what} needs {error.name!r}, which is not installed; run `pip install {package}`"
        ) from error


def _explain_exit(error: BaseException, what: str) -> None:
    """Raise `CropzooError` for an exception that would end the program without a message, such as `SystemExit`."""
    if not isinstance(error, Exception | Terminated):
        raise CropzooError(f"{what} raised {describe_error(error)}; report it to the plugin's author") from error


S = TypeVar("S", bound=Spec)


@dataclass(frozen=True)
class Entry(Generic[S]):
    """A spec and the plugin that provides it."""

    spec: S
    owner: Plugin

    def build(self, *args: Any, **options: Any) -> Any:
        """Import the factory and call it; raises the errors of `cropzoo.plugins.registry.build`."""
        return build(self.spec, self.owner.name, args, options)

    def complete(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """All options with their values, defaults included, as a recipe stores them; the factory is imported.

        Raises:
            CropzooError: If the factory cannot be imported; see `load_target`.
        """
        what = f"{self.spec.kind} {self.spec.name!r} of plugin {self.owner.name!r}"
        factory = load_target(self.spec.build, what)
        return complete_options(self.spec, factory, self.spec.upgrade_options(options))


class Registry(Mapping[str, Entry[S]], Generic[S]):
    """Entries of one kind by name. An unknown name raises `UnknownName`, which lists similar names."""

    def __init__(self, kind: str, entries: Mapping[str, Entry[S]]) -> None:
        self.kind = kind
        self._entries = dict(sorted(entries.items()))

    def __getitem__(self, name: str) -> Entry[S]:
        if name not in self._entries:
            raise UnknownName(self.kind, name, self._entries, f"`cropzoo list` shows every {self.kind}")
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Any:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


@dataclass(frozen=True)
class Zoo:
    """Components of the installed plugins.

    Attributes:
        plugins: All plugins, including rejected ones with their errors.
        backbones: Backbones by name.
        datasets: Datasets by name.
        objectives: Objectives by name.
        catalogs: Catalog files, each with the plugin that provides it.
    """

    plugins: tuple[Plugin, ...]
    backbones: Registry[BackboneSpec]
    datasets: Registry[DatasetSpec]
    objectives: Registry[ObjectiveSpec]
    catalogs: tuple[tuple[Plugin, Traversable], ...]

    def resolve_backbone(self, name: str) -> tuple[str, dict[str, Any]]:
        """Resolve FAMILY/MEMBER to the name of a backbone and its options.

        "timm/resnet18" is backbone "timm" with option encoder="resnet18". Any other name is returned unchanged.

        Raises:
            UnknownName: If the family does not exist.
            UsageError: If the backbone is not a family, or the member is missing.
        """
        family, slash, member = name.partition("/")
        if not slash:
            return name, {}
        if not member:
            raise UsageError(
                f"backbone {name!r}; no network is named after '/'; run `cropzoo list '{name}*'` to list the networks"
            )
        spec = self.backbones[family].spec
        if not spec.member:
            families = [f"{entry.spec.name}/..." for entry in self.backbones.values() if entry.spec.member]
            raise UsageError(
                f"backbone {name!r}; {family!r} is one network, not a family; use {family}"
                + (f", or one of a family: {', '.join(families)}" if families else "")
            )
        return family, {spec.member: member}

    @property
    def broken(self) -> tuple[Plugin, ...]:
        """Rejected plugins."""
        return tuple(plugin for plugin in self.plugins if plugin.error)

    @property
    def registries(self) -> tuple[Registry[BackboneSpec], Registry[DatasetSpec], Registry[ObjectiveSpec]]:
        """Backbones, datasets and objectives, in the order of lists."""
        return self.backbones, self.datasets, self.objectives


def load_zoo(
    entry_points: Iterable[EntryPoint] | None = None, modules: Iterable[str] = (), *, strict: bool = True
) -> Zoo:
    """Load the installed plugins, and those that CROPZOO_PLUGINS names. Nothing is cached between calls.

    Args:
        entry_points: Entry points to load instead of the installed ones of group "cropzoo" and CROPZOO_PLUGINS.
        modules: Further plugins, by import name or path of a `.py` file. A file is imported under its stem.
        strict: Whether a plugin that was requested by name, in `modules` or CROPZOO_PLUGINS, must load.

    Returns:
        The zoo. A plugin that fails to load is listed in `Zoo.broken`, provides nothing, and affects no other plugin.

    Raises:
        UsageError: If a requested plugin cannot be loaded and `strict` is set.
    """
    named = [*(plugins_in_environment() if entry_points is None else ()), *modules]
    collected = collect(entry_points, dict.fromkeys(named))
    if strict:
        check_requested([offer.plugin for offer in collected])

    def registry(kind: type[S]) -> Registry[S]:
        entries = {
            spec.name: Entry(spec, offer.plugin)
            for offer in collected
            for spec in offer.specs
            if isinstance(spec, kind)
        }
        return Registry(kind.kind, entries)

    return Zoo(
        plugins=tuple(offer.plugin for offer in collected),
        backbones=registry(BackboneSpec),
        datasets=registry(DatasetSpec),
        objectives=registry(ObjectiveSpec),
        catalogs=tuple((offer.plugin, file) for offer in collected for file in offer.catalogs),
    )


def plugins_in_environment() -> list[str]:
    """Plugins that CROPZOO_PLUGINS names, as import names or `.py` files separated by commas."""
    return [name.strip() for name in os.environ.get("CROPZOO_PLUGINS", "").split(",") if name.strip()]


def check_requested(plugins: Iterable[Plugin]) -> None:
    """Raise `UsageError` if a plugin that the user named cannot be loaded."""
    for plugin in plugins:
        if plugin.requested and plugin.error:
            raise UsageError(
                f"plugin {plugin.name!r} cannot be loaded; {plugin.error}; "
                f"`cropzoo -p {plugin.name} plugins` shows the full error"
            )
