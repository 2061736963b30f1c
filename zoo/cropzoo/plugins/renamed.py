"""Names of version 0.1 and what they are called today, for errors that say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

from cropzoo.errors import CropzooError

MODULES = {
    "boundary": "data.boundary",
    "building": "plugins.registry",
    "calibrating": "evaluation.temperature",
    "catalogue": "config.catalog",
    "checkpoint": "models.checkpoint",
    "contracts": "models.base",
    "costs": "models.flops",
    "data.failures": "data.loader",
    "data.items": "data.patches",
    "data.loading": "data.loader",
    "data.normalising": "data.normalize",
    "data.windows": "data.patches",
    "days": "data.dates",
    "describing": "data.summary",
    "descriptions": "data.summary",
    "exporting": "inference.export",
    "files": "io",
    "fit": "training",
    "floor": "evaluation.baselines",
    "hookspecs": "plugins.hookspecs",
    "images": "geo.raster",
    "importing": "models.convert",
    "label_budget": "data.subsets",
    "layout": "data.pastis",
    "mapping": "inference.mapping",
    "modules": "plugins.manager",
    "moments": "data.running_stats",
    "narrowing": "data.subsets",
    "opening": "data.open",
    "parcels": "geo.vector",
    "prepare.converting": "prepare.convert",
    "prepare.folding": "prepare.folds",
    "prepare.ground": "prepare.inputs",
    "prepare.making": "prepare.sample_writer",
    "prepare.planning": "prepare.plan",
    "prepare.presenting": "reports.dataset_page",
    "prepare.previewing": "prepare.plan",
    "prepare.running": "prepare.build",
    "prepare.sources": "prepare.options",
    "prepare.splitting": "prepare.folds",
    "processes": "parallel",
    "recipe": "config.recipe",
    "regions": "data.splits",
    "relabelling": "data.subsets",
    "remembered": "data.statistics",
    "report": "reports",
    "resolution": "models.upsample",
    "runs": "config.run_dir",
    "samples": "data.sample",
    "schema": "config.schema",
    "scores": "evaluation.metrics",
    "scoring": "evaluation.evaluate",
    "season": "evaluation.early_season",
    "selection": "data.subsets",
    "settings": "config.merge",
    "specs": "plugins.specs",
    "stage": "config.recipe",
    "statistics": "data.statistics",
    "study": "evaluation.compare",
    "testing.batches": "testing.subjects",
    "transfer": "models.transfer",
    "weights": "models.download",
    "workers": "parallel",
    "zonal": "inference.parcels",
    "zoo": "plugins.registry",
}
"""Modules and packages of 0.1 below cropzoo, and where their content is today."""

FUNCTIONS = {
    "models": ("models.factory", ("convert_published", "create_model", "load_model")),
    "plugins": ("plugins.manager", ("HOOKS", "Offer", "Plugin", "PluginError", "collect")),
}
"""Modules of 0.1 that are packages today, with the module that holds their names."""

HOOKS = {"cropzoo_catalogues": "cropzoo_catalogs"}
SPEC_FIELDS = {"licence": "license"}
CLASS_FIELDS = {"colour": "color"}
METHODS = {"see_class_counts": "set_class_counts"}
"""Methods that plugins override."""


class RenamedModuleFinder:
    """Raises an `ImportError` with the new path for a module of 0.1; stands last in `sys.meta_path`."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """None for every name that is not a module of 0.1."""
        package, _, module = name.partition(".")
        if package == "cropzoo" and module in MODULES:  # no ModuleNotFoundError: `from cropzoo import NAME` swallows it
            raise ImportError(f"{name!r} of cropzoo 0.1 is 'cropzoo.{MODULES[module]}' today; import that", name=name)
        return None


def check_renamed(names: Mapping[str, object], renamed: Mapping[str, str], what: str) -> None:
    """Raise `CropzooError` where one of the names is an old one, with the new name."""
    for name in names:
        if name in renamed:
            raise CropzooError(f"{what}: {name!r} of cropzoo 0.1 is called {renamed[name]!r} today; rename it")


def moved_name(package: str, name: str) -> AttributeError | ImportError:
    """The error for a name that a package does not have: where it is today, if 0.1 had it there."""
    module, names = FUNCTIONS[package]
    if name in names:
        return ImportError(f"{name!r} of cropzoo.{package} (0.1) is in 'cropzoo.{module}' today; import it from there")
    return AttributeError(f"module 'cropzoo.{package}' has no attribute {name!r}")
