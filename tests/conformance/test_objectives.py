"""Every registered objective obeys the contract; a new one is a row here."""

from __future__ import annotations

import pytest

from cropzoo import load_zoo
from cropzoo.testing import check_objective

OPTIONS = {
    "boundary": [{}, {"positive_weight": 4.0}, {"of": "parcels"}],
    "cscl": [{}, {"pairs": "published"}, {"window": 5, "dilation": 2, "normalize": False}],
    "mtm": [{}, {"date_ratio": 0.0, "patch_size": 3}, {"patch_ratio": 0.0, "targets": 1}],
    "segmentation": [{}],
    "supcon": [{}, {"pixels": 16, "temperature": 0.5}],
}
"""Options that change what is checked."""

CASES = [(name, options) for name in load_zoo().objectives for options in OPTIONS.get(name, [{}])]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_objective(name, options):
    check_objective(name, **options)


def test_every_row_is_of_an_objective():
    assert OPTIONS.keys() <= set(load_zoo().objectives)
