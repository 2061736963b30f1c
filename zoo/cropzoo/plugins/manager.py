"""Finding plugins and taking from each what it offers, whole or not at all."""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module, invalidate_caches
from importlib.metadata import EntryPoint, entry_points
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from cropzoo.errors import CropzooError, suggest
from cropzoo.plugins import hookspecs
from cropzoo.plugins.renamed import HOOKS as OLD_HOOKS
from cropzoo.plugins.specs import BackboneSpec, DatasetSpec, ObjectiveSpec, Spec


def import_plugin(name: str) -> ModuleType:
    """The module of that import name, or of that .py file.

    Raises:
        CropzooError: for a file that does not exist, or whose stem is taken by another module.
    """
    if not name.endswith(".py"):
        return import_module(name)
    path = Path(name).expanduser().resolve()
    if not path.is_file():
        raise CropzooError(f"plugin file {name!r} does not exist; give the path of a .py file or an import name")
    stem, folder = path.stem, str(path.parent)
    if not stem.isidentifier():
        raise CropzooError(f"plugin file {name!r} cannot be imported as {stem!r}, which is no Python name; rename it")
    if folder not in sys.path:
        # worker processes that are spawned get sys.path but not sys.modules; at its end the folder shadows nothing
        sys.path.append(folder)
        invalidate_caches()
    found = _file_of(stem)
    if found != path:
        raise CropzooError(
            f"plugin file {name!r} cannot be imported as {stem!r}, the name of {str(found)!r}; rename it"
        )
    return import_module(stem)


def _file_of(stem: str) -> Path | str:
    """The file that `import stem` gives, or what stands in its place."""
    present = sys.modules.get(stem)
    spec = None if present is not None else find_spec(stem)
    origin = spec.origin if spec is not None else getattr(present, "__file__", None)
    return Path(origin).resolve() if origin and origin not in ("built-in", "frozen") else "a module of Python"


HOOKS: dict[str, type[Any]] = {
    "cropzoo_backbones": BackboneSpec,
    "cropzoo_datasets": DatasetSpec,
    "cropzoo_objectives": ObjectiveSpec,
    "cropzoo_catalogs": Traversable,
}
"""What each hook's sequence holds."""


class PluginError(CropzooError):
    """A plugin that cannot be used, with the reason."""


@dataclass(frozen=True)
class Plugin:
    """One plugin: its name (of the entry point, module or file), where it came from, what it offers or why not.

    Args:
        error: one line; empty for a plugin that was accepted.
        details: the full error with its traceback; empty likewise.
    """

    name: str
    origin: str
    distribution: str = ""
    version: str = ""
    offers: tuple[str, ...] = ()
    error: str = ""
    details: str = ""


@dataclass(frozen=True)
class Offer:
    """What one plugin's hooks returned; empty for a broken one."""

    plugin: Plugin
    specs: tuple[Spec, ...] = ()
    catalogs: tuple[Traversable, ...] = field(default=())


def collect(points: Iterable[EntryPoint] | None, modules: Iterable[str]) -> list[Offer]:
    """The offers of all plugins: cropzoo's own first, so that nobody takes their names, then in order of name."""
    found = entry_points(group=hookspecs.PROJECT) if points is None else points
    candidates: list[tuple[Plugin, EntryPoint | str]] = []
    for point in sorted(found, key=_order):
        dist = point.dist
        name, version = (dist.name, dist.version) if dist else ("", "")
        candidates.append((Plugin(point.name, point.value, name, version), point))
    candidates += [(Plugin(module, module), module) for module in modules]

    offers: list[Offer] = []
    for plugin, source in candidates:
        try:
            offer = _take(plugin, source)
            _reject_duplicates(offer, offers)
        except (Exception, SystemExit) as error:  # a plugin may raise anything, or call sys.exit, at import
            offer = Offer(_broken(plugin, error))
        offers.append(offer)
    return offers


def _order(point: EntryPoint) -> tuple[bool, str, str]:
    name = point.dist.name if point.dist else ""
    return name != hookspecs.PROJECT, name, point.name


def _take(plugin: Plugin, source: EntryPoint | str) -> Offer:
    """Import one plugin and call its hooks, each plugin alone so that its errors are its own."""
    target = import_plugin(source) if isinstance(source, str) else source.load()
    _check_names(target)
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(target, plugin.name)

    if not manager.get_hookcallers(target):
        raise PluginError(f"no hook in {plugin.origin!r}; a plugin has a function decorated with @cropzoo.hookimpl")
    results = {hook: _call(manager, hook, kind) for hook, kind in HOOKS.items()}
    catalogs = tuple(results.pop("cropzoo_catalogs"))
    specs = tuple(spec for result in results.values() for spec in result)
    offers = [f"{spec.kind} {spec.name}" for spec in specs] + [f"catalog {file.name}" for file in catalogs]
    return Offer(replace(plugin, offers=tuple(offers)), specs, catalogs)


def _check_names(target: object) -> None:
    """A hook that is misspelt, or lacks its decorator, would otherwise offer nothing and say nothing."""
    for name, value in inspect.getmembers(target, inspect.isroutine):
        marked = hasattr(value, f"{hookspecs.PROJECT}_impl")
        if name in OLD_HOOKS:
            raise PluginError(f"hook {name!r} of cropzoo 0.1 is called {OLD_HOOKS[name]!r} today; rename it")
        if marked and name not in HOOKS:
            raise PluginError(f"unknown hook {name!r}; {suggest(name, HOOKS)}")
        if name.startswith("cropzoo_") and not marked:
            known = "" if name in HOOKS else f"; {suggest(name, HOOKS)}"
            raise PluginError(f"{name!r} looks like a hook but is not decorated with @cropzoo.hookimpl{known}")


def _call(manager: pluggy.PluginManager, hook: str, kind: type[Any]) -> Sequence[Any]:
    results = getattr(manager.hook, hook)()
    if not results:
        return ()
    [offered] = results
    if not isinstance(offered, (list, tuple)):
        raise PluginError(f"hook {hook!r} returned {type(offered).__name__}; it must return a list of {kind.__name__}")
    for item in offered:
        if not isinstance(item, kind):
            raise PluginError(f"hook {hook!r} returned a list with {item!r}; every item must be a {kind.__name__}")
    return offered


def _reject_duplicates(offer: Offer, accepted: Sequence[Offer]) -> None:
    owners = {(spec.kind, spec.name): other.plugin for other in accepted for spec in other.specs}
    for spec in offer.specs:
        owner = owners.setdefault((spec.kind, spec.name), offer.plugin)
        if owner is not offer.plugin:
            raise PluginError(f"{spec.kind} {spec.name!r} is already offered by plugin {owner.name!r}; rename it")
    names = [(spec.kind, spec.name) for spec in offer.specs]
    for kind, name in names:
        if names.count((kind, name)) > 1:
            raise PluginError(f"{kind} {name!r} is offered twice by this plugin; rename one")


def _broken(plugin: Plugin, error: BaseException) -> Plugin:
    text = str(error).strip().splitlines()
    line = f"{type(error).__name__}: {text[0] if text else 'no message'}"
    if isinstance(error, PluginError):
        line = text[0]
    return replace(plugin, error=line, details="".join(traceback.format_exception(error)).rstrip())
