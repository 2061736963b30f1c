"""Models, datasets and objectives for crop mapping from satellite image time series.

Public names are imported on first use, so that `import cropzoo` does not import torch.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from cropzoo.plugins.renamed import RenamedModuleFinder

if TYPE_CHECKING:
    from cropzoo.data.batch import Batch
    from cropzoo.data.open import load_dataset
    from cropzoo.data.sample import IGNORE, Dataset, LabelClass, Sample
    from cropzoo.errors import CropzooError, UnknownName, UsageError
    from cropzoo.models.base import Backbone, Losses, Model, Objective
    from cropzoo.models.factory import convert_published, create_model, load_model
    from cropzoo.models.fitted import FittedHead, FittedObjective
    from cropzoo.models.names import list_models
    from cropzoo.models.objectives import create_objective
    from cropzoo.plugins.hookspecs import hookimpl
    from cropzoo.plugins.registry import Zoo, load_zoo
    from cropzoo.plugins.specs import BackboneSpec, DatasetSpec, ObjectiveSpec

_NAMES = {
    "models.base": ("Backbone", "Losses", "Model", "Objective"),
    "models.fitted": ("FittedHead", "FittedObjective"),
    "data.batch": ("Batch",),
    "data.open": ("load_dataset",),
    "errors": ("CropzooError", "UnknownName", "UsageError"),
    "plugins.hookspecs": ("hookimpl",),
    "models.factory": ("convert_published", "create_model", "load_model"),
    "models.names": ("list_models",),
    "models.objectives": ("create_objective",),
    "data.sample": ("IGNORE", "Dataset", "LabelClass", "Sample"),
    "plugins.specs": ("BackboneSpec", "DatasetSpec", "ObjectiveSpec"),
    "plugins.registry": ("Zoo", "load_zoo"),
}
_MODULE = {name: module for module, names in _NAMES.items() for name in names}

__version__ = "0.2.0.dev0"
__all__ = [
    "IGNORE",
    "Backbone",
    "BackboneSpec",
    "Batch",
    "CropzooError",
    "Dataset",
    "DatasetSpec",
    "FittedHead",
    "FittedObjective",
    "LabelClass",
    "Losses",
    "Model",
    "Objective",
    "ObjectiveSpec",
    "Sample",
    "UnknownName",
    "UsageError",
    "Zoo",
    "convert_published",
    "create_model",
    "create_objective",
    "hookimpl",
    "list_models",
    "load_dataset",
    "load_model",
    "load_zoo",
]


sys.meta_path.append(RenamedModuleFinder)


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'cropzoo' has no attribute {name!r}")
    return getattr(import_module(f"cropzoo.{_MODULE[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
