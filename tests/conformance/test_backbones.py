"""Every registered backbone obeys the contract; a new one is a row here."""

from __future__ import annotations

import pytest

from cropzoo import load_zoo
from cropzoo.testing import check_backbone

OPTIONS = {
    "tsvit": [
        {"dim": 16, "temporal_depth": 2, "spatial_depth": 2, "heads": 2, "head_dim": 8},
        {
            "patch_size": 3,
            "image_size": 9,
            "dim": 16,
            "temporal_depth": 1,
            "spatial_depth": 1,
            "heads": 2,
            "head_dim": 8,
        },
        {"output_order": "published", "dim": 16, "temporal_depth": 1, "spatial_depth": 1, "heads": 2, "head_dim": 8},
    ],
}
"""Options that make the checks fast, and those that change what is checked; none runs the defaults."""

CASES = [(name, options) for name in load_zoo().backbones for options in OPTIONS.get(name, [{}])]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_backbone(name, options):
    check_backbone(name, **options)


def test_every_row_is_of_a_backbone():
    assert OPTIONS.keys() <= set(load_zoo().backbones)
