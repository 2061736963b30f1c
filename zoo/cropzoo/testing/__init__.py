"""Checks for plugin authors: functions that raise AssertionError if a component violates its contract.

The built-in components pass the same checks.

    from cropzoo.testing import check_backbone

    def test_my_net():
        check_backbone("my-net", depth=2)
"""

from __future__ import annotations

from cropzoo.testing.backbones import check_backbone
from cropzoo.testing.datasets import check_dataset, check_sample
from cropzoo.testing.objectives import check_objective

__all__ = ["check_backbone", "check_dataset", "check_objective", "check_sample"]
