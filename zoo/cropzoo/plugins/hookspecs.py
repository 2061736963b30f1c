"""Hook specifications. Hooks return data, so that a plugin is accepted or rejected as a unit."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources.abc import Traversable

import pluggy

from cropzoo.plugins.specs import BackboneSpec, DatasetSpec, ObjectiveSpec

PROJECT = "cropzoo"
"""Name of the pluggy project and of the entry-point group."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def cropzoo_backbones() -> Sequence[BackboneSpec]:  # type: ignore[empty-body]
    """Specs of the backbones that the plugin provides."""


@hookspec
def cropzoo_datasets() -> Sequence[DatasetSpec]:  # type: ignore[empty-body]
    """Specs of the datasets that the plugin provides."""


@hookspec
def cropzoo_objectives() -> Sequence[ObjectiveSpec]:  # type: ignore[empty-body]
    """Specs of the objectives that the plugin provides."""


@hookspec
def cropzoo_catalogs() -> Sequence[Traversable]:  # type: ignore[empty-body]
    """Catalog files in the schema of `registry.yaml`; their entries are added to the catalog."""
