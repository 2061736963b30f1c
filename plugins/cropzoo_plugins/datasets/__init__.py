"""The datasets that come with cropzoo; their specs hold strings only, so that listing them imports no torch.

A dataset is one file here; its spec stands in `published_specs` if the field compares on it, in `general_specs`
otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

from cropzoo import DatasetSpec, hookimpl
from cropzoo_plugins.datasets.general_specs import GENERAL
from cropzoo_plugins.datasets.published_specs import PUBLISHED


@hookimpl
def cropzoo_datasets() -> Sequence[DatasetSpec]:
    return [*GENERAL, *PUBLISHED]
