"""How often observations are selected."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cropzoo_plugins.layers.observations import LARGEST, count_uses

TABLE = Path(__file__).parents[2] / "data" / "parity" / "tessera_selection.json"


def select(count: int) -> list[int]:
    """Indices of the selected of `count` observations, by loops, as published."""
    size = min(-(-count // 8) * 8, LARGEST)
    if count >= size:
        return np.linspace(0, count - 1, size).astype(int).tolist()
    more = size - count
    if more > count:
        return [*range(count), *(k % count for k in range(more))]
    parts = np.array_split(np.arange(count), more)
    return [*range(count), *(int(part[len(part) // 2]) for part in parts)]


def uses(count: int, length: int, seed: int = 0) -> tuple[list[int], list[int]]:
    """Numbers for `count` observations at random places of `length` dates, and for the other dates."""
    observed = torch.zeros(1, length, dtype=torch.bool)
    observed[0, torch.randperm(length, generator=torch.Generator().manual_seed(seed))[:count]] = True
    found = count_uses(observed)[0]
    return found[observed[0]].tolist(), found[~observed[0]].tolist()


@pytest.mark.parametrize("row", json.loads(TABLE.read_text())["rows"], ids=lambda row: str(row["n"]))
def test_the_selection_is_the_published_one(row):
    found, others = uses(row["n"], row["n"] + 5)
    assert found == np.bincount(np.array(row["indices"], int), minlength=row["n"]).tolist()
    assert others == [0] * 5
    assert sum(found) == row["size"]


def test_the_equation_equals_the_loops():
    counts = [*range(1, 300), *range(300, 1100, 7)]
    wrong = [n for n in counts if uses(n, n, n)[0] != np.bincount(select(n), minlength=n).tolist()]
    assert wrong == []


def test_pixels_with_different_numbers_are_independent():
    observed = torch.rand(40, 300, generator=torch.Generator().manual_seed(1)) < torch.linspace(0, 1, 40)[:, None]
    together = count_uses(observed)
    assert all(torch.equal(together[i], count_uses(observed[i : i + 1])[0]) for i in range(40))
    assert together.dtype == torch.int64


def test_a_compiled_graph_has_no_shape_that_depends_on_values():
    program = torch.export.export(
        Selection(),
        (torch.ones(3, 20, dtype=torch.bool),),
        dynamic_shapes=({0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO},),
    ).module()
    for count in (0, 5, 20, 200, 300):
        observed = torch.rand(4, 320, generator=torch.Generator().manual_seed(count)).argsort(1) < count
        assert torch.equal(program(observed), count_uses(observed))


class Selection(torch.nn.Module):
    def forward(self, observed):
        return count_uses(observed)
