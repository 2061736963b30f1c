"""Weights of other libraries, from a file, from their caches, or over the network; never code."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from pickle import UnpicklingError
from urllib.parse import urlparse

import torch
from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cropzoo import CropzooError

TIMEOUT = 30.0
"""Seconds without an answer after which a download is given up."""


def read_safetensors(path: Path, what: str) -> dict[str, Tensor]:
    """The tensors of a .safetensors file.

    Raises:
        CropzooError: when there is no such file, or it holds something else.
    """
    if not path.is_file():
        raise CropzooError(f"{what}; there is no file {str(path)!r}; check the path")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CropzooError(f"{what}; {str(path)!r} is no whole .safetensors file ({error}); get it again") from error


def from_hub(repository: str, what: str) -> dict[str, Tensor]:
    """The tensors of a repository of the Hugging Face hub, from its cache if they are there.

    Raises:
        CropzooError: naming what to put where, when they cannot be had.
    """
    name, (repository, _, revision) = "model.safetensors", repository.partition("@")
    cached = try_to_load_from_cache(repository, name, revision=revision or None)
    if isinstance(cached, str):
        return read_safetensors(Path(cached), what)
    folder = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    by_hand = (
        f"run `hf download {repository} {name}` where there is a network, and copy the folder that it makes "
        f"to {str(folder)!r}"
    )
    if _offline():
        raise CropzooError(f"{what}; {name} of {repository} is not in the cache and CROPZOO_OFFLINE is set; {by_hand}")
    try:
        path = hf_hub_download(repository, name, revision=revision or None)
    except Exception as error:  # the hub's errors have had three bases so far, those of its HTTP libraries among them
        reason = str(error).strip().partition("\n")[0]
        raise CropzooError(
            f"{what}; {name} of {repository} cannot be had ({reason}); try again, or {by_hand}"
        ) from error
    return read_safetensors(Path(path), what)


def from_url(url: str, what: str) -> dict[str, Tensor]:
    """The tensors of a .pth file at a url, from torch.hub's cache if they are there; read with `weights_only`.

    Raises:
        CropzooError: naming what to put where, when they cannot be had.
    """
    file = Path(urlparse(url).path).name
    target = Path(torch.hub.get_dir()) / "checkpoints" / file
    if not target.is_file():
        by_hand = f"put the file {file!r} from {url} at {str(target)!r}"
        if _offline():
            raise CropzooError(f"{what}; {file!r} is not in the cache and CROPZOO_OFFLINE is set; {by_hand}")
        hashed = re.search(r"-([0-9a-f]{8,64})\.", file)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with _timeout():
                torch.hub.download_url_to_file(url, str(target), hashed[1] if hashed else None, progress=False)
        except (OSError, HTTPException, RuntimeError) as error:  # RuntimeError: another hash than its name says
            reason = getattr(error, "reason", error)
            raise CropzooError(f"{what}; {url} cannot be had ({reason}); try again, or {by_hand}") from error
    try:
        state: dict[str, Tensor] = torch.load(target, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, UnpicklingError, ValueError) as error:
        raise CropzooError(
            f"{what}; {str(target)!r} is no whole file of weights; delete it, so that it is fetched again"
        ) from error
    return state


def _offline() -> bool:
    return os.environ.get("CROPZOO_OFFLINE", "") not in ("", "0", "false")


@contextmanager
def _timeout() -> Iterator[None]:
    """Give up connections without an answer inside this block: torch.hub sets no limit of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
