"""Parity data of published networks: settings, weights, inputs and outputs."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import torch
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
        tensors: `image` (B, T, C, H, W), dates where it reads them, `logits`, and gradients as `grad.NAME`; of
            pretrained networks the inputs and outputs that the note of the case describes.
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


@lru_cache
def read_weights(file: str, sha256: str) -> dict[str, Tensor]:
    """State dict of a published weights file in the folder CROPZOO_TEST_WEIGHTS; without the folder, skip the test."""
    folder = os.environ.get("CROPZOO_TEST_WEIGHTS")
    if not folder:
        pytest.skip(f"CROPZOO_TEST_WEIGHTS is not set; it names the folder with the published file {file}")
    path = Path(folder) / file
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


@pytest.fixture(scope="session")
def parity() -> Any:
    """`parity(name)` reads the parity data of a network; a case with published weights is skipped without them."""

    @lru_cache
    def read(name: str) -> ParityCase:
        described = json.loads((PARITY / f"{name}.json").read_text())
        tensors = load_file(PARITY / f"{name}.safetensors")
        if "weights" in described:
            state = read_weights(described["weights"]["file"], described["weights"]["sha256"])
        else:
            state = _module(PARITY / "fill.py").filled_state(described["parameters"])
            fixed = {key.removeprefix("fixed."): tensors[key] for key in tensors if key.startswith("fixed.")}
            state = {**state, **fixed}  # tables that follow from a formula
        return ParityCase(described["case"], state, tensors)

    return read
