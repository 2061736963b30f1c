"""Built-in datasets. Their specs hold strings only, so listing them does not import torch.

Each dataset is one file. Specs of benchmark datasets are in `published_specs`, all others in `general_specs`.
"""

from __future__ import annotations

from collections.abc import Sequence

from cropzoo import DatasetSpec, hookimpl
from cropzoo_plugins.datasets.general_specs import GENERAL
from cropzoo_plugins.datasets.published_specs import PUBLISHED


@hookimpl
def cropzoo_datasets() -> Sequence[DatasetSpec]:
    return [*GENERAL, *PUBLISHED]
