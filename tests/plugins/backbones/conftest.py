"""Parity data of published networks: settings, weights, inputs and outputs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor

PARITY = Path(__file__).parents[2] / "data" / "parity"
BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@dataclass(frozen=True)
class ParityCase:
    """Parity data of a published network.

    Args:
        settings: of the published constructor.
        state: its parameters and buffers by their published names.
        tensors: `image` (B, T, C, H, W), dates where it reads them, `logits`, and gradients as `grad.NAME`.
    """

    settings: dict[str, Any]
    state: dict[str, Tensor]
    tensors: dict[str, Tensor]


@lru_cache
def _module(path: Path) -> Any:
    """Import a file as a module outside a package."""
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def straightforward() -> Any:
    """`straightforward(name)` returns the reference implementation of a network from the benchmarks."""
    return lambda name: _module(BENCHMARKS / f"straightforward_{name}.py").straightforward_logits


@pytest.fixture(scope="session")
def parity() -> Any:
    """`parity(name)` reads the parity data of a network."""

    @lru_cache
    def read(name: str) -> ParityCase:
        described = json.loads((PARITY / f"{name}.json").read_text())
        return ParityCase(
            described["case"],
            _module(PARITY / "fill.py").filled_state(described["parameters"]),
            load_file(PARITY / f"{name}.safetensors"),
        )

    return read
