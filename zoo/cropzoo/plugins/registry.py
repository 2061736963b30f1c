"""The zoo: what the installed plugins offer, by kind and name, each with its owner."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint
from importlib.resources.abc import Traversable
from typing import Any, Generic, TypeVar

from cropzoo.errors import CropzooError, UnknownName, UsageError
from cropzoo.plugins.manager import Plugin, collect
from cropzoo.plugins.specs import BackboneSpec, DatasetSpec, ObjectiveSpec, Spec


class MissingDependency(CropzooError):
    """A factory needs a package that is not installed."""


def load_target(target: str, what: str) -> Any:
    """The object that `"package.module:name"` names.

    Raises:
        MissingDependency: when the import fails for want of another package.
        CropzooError: when there is no such module or name. Any other error of the import is raised as it is.
    """
    module_name, _, attribute = target.partition(":")
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise CropzooError(f"{what} says it is built by {target!r}; there is no module {error.name!r}") from error
        _explain_missing(error, module_name, what)
        raise
    if not hasattr(module, attribute):
        raise CropzooError(f"{what} says it is built by {target!r}; module {module_name!r} has no {attribute!r}")
    return getattr(module, attribute)


def build(spec: Spec, owner: str, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """Call a spec's factory. What the factory itself raises is raised as it is, never as "not found".

    Raises:
        UnknownName: for an option that the factory does not take, with the close ones.
        UsageError: for an option that it needs and was not given.
        MissingDependency, CropzooError: as in `load_target`; a factory may import a package late.
    """
    what = f"{spec.kind} {spec.name!r} of plugin {owner!r}"
    factory = load_target(spec.build, what)
    known = dict(list(known_options(factory).items())[len(args) :])
    for name in options:
        if name in spec.renamed_options:
            new = spec.renamed_options[name]
            raise UsageError(f"option {name!r} of {spec.kind} {spec.name!r} has a new name; use {new!r}")
        if name not in known:
            raise UnknownName(f"option of {spec.kind} {spec.name!r}:", name, known)
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in options:
            raise UsageError(f"{spec.kind} {spec.name!r} needs option {name!r}; it has no default, so give a value")
    try:
        return factory(*args, **options)
    except ModuleNotFoundError as error:
        _explain_missing(error, spec.build.partition(":")[0], what)
        raise


def _explain_missing(error: ModuleNotFoundError, module_name: str, what: str) -> None:
    """Raise what to install where another package is missing; a missing module of the plugin's own is its bug."""
    package = (error.name or "").partition(".")[0]
    if package and package != module_name.partition(".")[0]:
        raise MissingDependency(
            f"{what} needs {error.name!r}, which is not installed; run `pip install {package}`"
        ) from error


def known_options(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The keyword parameters of a factory, by name."""
    keyword = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(factory).parameters
    return {name: parameter for name, parameter in parameters.items() if parameter.kind in keyword}


S = TypeVar("S", bound=Spec)


@dataclass(frozen=True)
class Entry(Generic[S]):
    """A spec and the plugin that offers it."""

    spec: S
    owner: Plugin

    def build(self, *args: Any, **options: Any) -> Any:
        """Import the factory and call it; errors as in `cropzoo.plugins.registry.build`."""
        return build(self.spec, self.owner.name, args, options)


class Registry(Mapping[str, Entry[S]], Generic[S]):
    """The entries of one kind by name; an unknown name raises `UnknownName` with the close ones."""

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
    """Everything that was found; `plugins` holds the broken ones too, with their errors."""

    plugins: tuple[Plugin, ...]
    backbones: Registry[BackboneSpec]
    datasets: Registry[DatasetSpec]
    objectives: Registry[ObjectiveSpec]
    catalogs: tuple[tuple[Plugin, Traversable], ...]

    def backbone_choice(self, name: str) -> tuple[str, dict[str, Any]]:
        """A backbone's own name, and the options that a member of a family stands for.

        "timm/resnet18" is backbone "timm" with option encoder="resnet18"; any other name stands for itself.

        Raises:
            UnknownName: for a family that does not exist.
            UsageError: for a backbone that is no family.
        """
        family, slash, member = name.partition("/")
        if not slash:
            return name, {}
        if not member:
            raise UsageError(
                f"backbone {name!r}; nothing follows the '/'; name a network, as `cropzoo list '{name}*'` does"
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
        """The plugins that were rejected."""
        return tuple(plugin for plugin in self.plugins if plugin.error)

    @property
    def shelves(self) -> tuple[Registry[BackboneSpec], Registry[DatasetSpec], Registry[ObjectiveSpec]]:
        """The three kinds, in the order that lists show them."""
        return self.backbones, self.datasets, self.objectives


def load_zoo(entry_points: Iterable[EntryPoint] | None = None, modules: Iterable[str] = ()) -> Zoo:
    """The zoo of these plugins; nothing is kept between calls.

    Args:
        entry_points: in place of the installed ones of group "cropzoo".
        modules: further plugins by import name or path of a .py file, which is importable under its stem.

    Returns:
        The zoo. A plugin that fails is in `Zoo.broken` and offers nothing; no plugin stops another.
    """
    collected = collect(entry_points, modules)

    def shelf(kind: type[S]) -> Registry[S]:
        found = {
            spec.name: Entry(spec, offer.plugin)
            for offer in collected
            for spec in offer.specs
            if isinstance(spec, kind)
        }
        return Registry(kind.kind, found)

    return Zoo(
        plugins=tuple(offer.plugin for offer in collected),
        backbones=shelf(BackboneSpec),
        datasets=shelf(DatasetSpec),
        objectives=shelf(ObjectiveSpec),
        catalogs=tuple((offer.plugin, file) for offer in collected for file in offer.catalogs),
    )
