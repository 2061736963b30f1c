"""Discovery of plugins and validation of what they provide. A plugin is accepted or rejected as a unit."""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module, invalidate_caches
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, distribution, distributions
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from cropzoo.errors import CropzooError, describe_error, suggest
from cropzoo.parallel import Terminated, raise_on_interrupt
from cropzoo.plugins import hookspecs
from cropzoo.plugins.renamed import HOOKS as OLD_HOOKS
from cropzoo.plugins.specs import BackboneSpec, DatasetSpec, ObjectiveSpec, Spec


def import_plugin(name: str) -> ModuleType:
    """Import a plugin by its import name or from the path of a `.py` file.

    Raises:
        CropzooError: If the file does not exist, or another module already has its name.
    """
    if not name.endswith(".py"):
        return import_module(name)
    path = Path(name).expanduser().resolve()
    if not path.is_file():
        raise CropzooError(f"plugin file {name!r} does not exist; give the path of a .py file or an import name")
    stem, folder = path.stem, str(path.parent)
    if not stem.isidentifier():
        raise CropzooError(
            f"plugin file {name!r} cannot be imported as {stem!r}, which is not a valid Python identifier; "
            "rename the file"
        )
    if folder not in sys.path:
        # spawned workers inherit sys.path but not sys.modules; the folder goes last so that it shadows no other module
        sys.path.append(folder)
        invalidate_caches()
    origin = _find_origin(stem)
    if origin != path:
        owner = repr(str(origin)) if origin else "a built-in module"
        raise CropzooError(
            f"plugin file {name!r} cannot be imported as {stem!r}; {owner} already has that module name; "
            "rename the file"
        )
    return import_module(stem)


def _find_origin(stem: str) -> Path | None:
    """Path of the file that `import stem` loads; None for a module without a file."""
    loaded = sys.modules.get(stem)
    spec = None if loaded is not None else find_spec(stem)
    origin = spec.origin if spec is not None else getattr(loaded, "__file__", None)
    return Path(origin).resolve() if origin and origin not in ("built-in", "frozen") else None


BUILTIN = "cropzoo_plugins"
"""Package of the built-in plugins, by which their entry points are recognized."""

HOOKS: dict[str, type[Any]] = {
    "cropzoo_backbones": BackboneSpec,
    "cropzoo_datasets": DatasetSpec,
    "cropzoo_objectives": ObjectiveSpec,
    "cropzoo_catalogs": Traversable,
}
"""Item type of the sequence that each hook returns."""


class PluginError(CropzooError):
    """A plugin cannot be used; the message states the reason."""


@dataclass(frozen=True)
class Plugin:
    """An installed plugin and what it provides, or the error for which it was rejected.

    Args:
        name: Name of the entry point, module or file.
        origin: Import path or file of the plugin.
        distribution: Name of the installed distribution; empty for a module or file.
        version: Version of the distribution; empty for a module or file.
        offers: Kind and name of each spec and catalog file.
        error: One-line error; empty for an accepted plugin.
        requested: Whether the plugin was named by the user, as a module or file.
        details: Full error with traceback; empty for an accepted plugin.
    """

    name: str
    origin: str
    distribution: str = ""
    version: str = ""
    offers: tuple[str, ...] = ()
    error: str = ""
    details: str = ""
    requested: bool = False

    @property
    def builtin(self) -> bool:
        """Whether the plugin is part of cropzoo."""
        return not self.requested and self.origin.partition(".")[0] == BUILTIN


@dataclass(frozen=True)
class Offer:
    """Specs and catalog files returned by the hooks of one plugin; empty for a rejected plugin."""

    plugin: Plugin
    specs: tuple[Spec, ...] = ()
    catalogs: tuple[Traversable, ...] = field(default=())


def collect(points: Iterable[EntryPoint] | None, modules: Iterable[str]) -> list[Offer]:
    """Load all plugins: the built-in ones first, which reserves their names, then the others by name."""
    found = _find_installed() if points is None else [(_describe_point(point), point) for point in points]
    candidates: list[tuple[Plugin, EntryPoint | BaseException | str]] = [
        *sorted(found, key=lambda each: _sort_key(each[0]))
    ]
    candidates += [(Plugin(module, module, requested=True), module) for module in modules]

    offers: list[Offer] = []
    for plugin, source in candidates:
        try:
            with raise_on_interrupt():
                offer = _load_plugin(plugin, source)
                _reject_duplicates(offer, offers)
        except Terminated:
            raise
        except BaseException as error:  # a plugin may raise anything or call sys.exit when it is imported
            offer = Offer(_with_error(plugin, error))
        offers.append(offer)
    return offers


def _find_installed() -> list[tuple[Plugin, EntryPoint | BaseException]]:
    """Entry points of installed plugins, or the errors with which their distributions cannot be read.

    Equal to `importlib.metadata.entry_points(group="cropzoo")`, which parses the entry points of all distributions and
    fails for a damaged one. Of a distribution that is installed twice, the first on sys.path counts; the built-in
    plugins are kept even if another distribution is called cropzoo.
    """
    section = f"[{hookspecs.PROJECT}]"
    found: dict[tuple[str, str], tuple[Plugin, EntryPoint | BaseException]] = {}
    for each in distributions():
        try:
            text = each.read_text("entry_points.txt") or ""
        except UnicodeDecodeError as error:
            if section.encode() in error.object:
                plugin = Plugin(_folder_name(each), "entry_points.txt", *_package_of(each))
                found[plugin.name, ""] = plugin, PluginError(f"entry_points.txt is not UTF-8; {error}; reinstall it")
            continue
        except Exception:  # a distribution of an unusual installer, which cannot be read at all
            continue
        if section not in text:
            continue
        try:
            points = list(each.entry_points.select(group=hookspecs.PROJECT))
        except Exception as error:  # a line that is none of "name = value"
            plugin = Plugin(_folder_name(each), "entry_points.txt", *_package_of(each))
            problem = PluginError(f"entry_points.txt cannot be parsed; {describe_error(error)}; reinstall it")
            found[plugin.name, ""] = plugin, problem
            continue
        shadowed = _is_shadowed(each, text)
        for point in points:
            plugin = Plugin(point.name, point.value, *_package_of(each))
            if plugin.builtin or not shadowed:
                found.setdefault((point.name, point.value), (plugin, point))
    return list(found.values())


def _is_shadowed(each: Distribution, text: str) -> bool:
    """Whether a distribution of the same name, with other entry points, comes first on sys.path."""
    name = _package_of(each)[0]
    try:
        return bool(name) and distribution(name).read_text("entry_points.txt") != text
    except (PackageNotFoundError, UnicodeDecodeError, ValueError):
        return False


def _package_of(each: Distribution) -> tuple[str, str]:
    """Name and version of a distribution; empty where it has no METADATA."""
    try:
        metadata = each.metadata
        return str(metadata["Name"] or ""), str(metadata["Version"] or "")
    except Exception:  # TypeError, KeyError or UnicodeDecodeError, by version of Python
        return "", ""


def _folder_name(each: Distribution) -> str:
    return Path(str(getattr(each, "_path", "a distribution"))).name


def _describe_point(point: EntryPoint) -> Plugin:
    return Plugin(point.name, point.value, *(("", "") if point.dist is None else _package_of(point.dist)))


def _sort_key(plugin: Plugin) -> tuple[bool, str, str]:
    return not plugin.builtin, plugin.distribution, plugin.name


def _load_plugin(plugin: Plugin, source: EntryPoint | BaseException | str) -> Offer:
    """Import one plugin and call its hooks with a separate plugin manager, which isolates its errors."""
    if isinstance(source, BaseException):
        raise source
    target = import_plugin(source) if isinstance(source, str) else source.load()
    _check_hook_names(target)
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(target, plugin.name)

    if not manager.get_hookcallers(target):
        raise PluginError(f"no hook in {plugin.origin!r}; decorate a hook function with @cropzoo.hookimpl")
    results = {hook: _call_hook(manager, hook, kind) for hook, kind in HOOKS.items()}
    catalogs = tuple(results.pop("cropzoo_catalogs"))
    specs = tuple(spec for result in results.values() for spec in result)
    offers = [f"{spec.kind} {spec.name}" for spec in specs] + [f"catalog {file.name}" for file in catalogs]
    return Offer(replace(plugin, offers=tuple(offers)), specs, catalogs)


def _check_hook_names(target: object) -> None:
    """Reject misspelled and undecorated hooks, which pluggy would ignore silently."""
    for name, value in inspect.getmembers(target, inspect.isroutine):
        marked = hasattr(value, f"{hookspecs.PROJECT}_impl")
        if name in OLD_HOOKS:
            raise PluginError(f"hook {name!r} of cropzoo 0.1 is called {OLD_HOOKS[name]!r} today; rename it")
        if marked and name not in HOOKS:
            raise PluginError(f"unknown hook {name!r}; {suggest(name, HOOKS)}")
        if name.startswith("cropzoo_") and not marked:
            known = "" if name in HOOKS else f"; {suggest(name, HOOKS)}"
            raise PluginError(f"{name!r} looks like a hook but is not decorated with @cropzoo.hookimpl{known}")


def _call_hook(manager: pluggy.PluginManager, hook: str, kind: type[Any]) -> Sequence[Any]:
    results = getattr(manager.hook, hook)()
    if not results:
        return ()
    [offered] = results
    if not isinstance(offered, (list, tuple)):
        raise PluginError(f"hook {hook!r} returned {type(offered).__name__}; it must return a list of {kind.__name__}")
    for item in offered:
        if not (type(item) is kind if issubclass(kind, Spec) else isinstance(item, kind)):
            raise PluginError(f"hook {hook!r} returned a list with {item!r}; every item must be a {kind.__name__}")
    return [replace(item) if isinstance(item, Spec) else item for item in offered]  # validates once more


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


def _with_error(plugin: Plugin, error: BaseException) -> Plugin:
    details = "".join(traceback.format_exception(error)).rstrip()
    return replace(plugin, error=describe_error(error), details=details)
