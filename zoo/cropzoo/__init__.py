"""cropzoo: models, datasets and objectives for mapping crops from satellite image time series.

Names are imported when they are first used, so that `import cropzoo` imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cropzoo.contracts import Backbone, Batch, Losses, Model, Objective
    from cropzoo.errors import CropzooError, UnknownName, UsageError
    from cropzoo.hookspecs import hookimpl
    from cropzoo.models import convert_published, create_model, load_model
    from cropzoo.samples import IGNORE, Dataset, LabelClass, Sample
    from cropzoo.specs import BackboneSpec, DatasetSpec, ObjectiveSpec
    from cropzoo.zoo import Zoo, load_zoo

_HOME = {
    "contracts": ("Backbone", "Batch", "Losses", "Model", "Objective"),
    "errors": ("CropzooError", "UnknownName", "UsageError"),
    "hookspecs": ("hookimpl",),
    "models": ("convert_published", "create_model", "load_model"),
    "samples": ("IGNORE", "Dataset", "LabelClass", "Sample"),
    "specs": ("BackboneSpec", "DatasetSpec", "ObjectiveSpec"),
    "zoo": ("Zoo", "load_zoo"),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}

__version__ = "0.1.0"
__all__ = [
    "IGNORE",
    "Backbone",
    "BackboneSpec",
    "Batch",
    "CropzooError",
    "Dataset",
    "DatasetSpec",
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
    "hookimpl",
    "load_model",
    "load_zoo",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'cropzoo' has no attribute {name!r}")
    return getattr(import_module(f"cropzoo.{_MODULE[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
