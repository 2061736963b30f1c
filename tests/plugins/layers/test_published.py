"""Conversion of published names: dropped, renamed and unknown keys."""

from __future__ import annotations

import pytest
import torch

from cropzoo import CropzooError
from cropzoo_plugins.layers.published import rename_keys

ONE = torch.zeros(1)


def test_the_first_rule_that_fits_names_a_key() -> None:
    rules = [(r"a\.(\d)", r"backbone.\1"), (r"(.*)", r"rest.\1")]
    found = rename_keys(
        {"module.a.3": ONE, "b": ONE, "attn_sim.rel_h": ONE, "fixed": ONE}, rules, "net", dropped="fixed"
    )
    assert list(found) == ["backbone.3", "rest.b"]


def test_at_most_ten_unknown_keys_are_listed_with_their_number() -> None:
    state = {f"extra.{number}": ONE for number in range(25)}
    with pytest.raises(CropzooError) as caught:
        rename_keys(state, [], "net")
    messages = str(caught.value)
    assert messages.startswith(
        "published weights of 'net'; 25 keys are not parameters of the published network: 'extra.0', "
    )
    assert messages.count("'extra.") == 10
    assert "and 15 more; check" in messages
