"""Weights of other libraries from files, their caches or the network, read without executing code."""

from __future__ import annotations

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
from cropzoo.io import is_offline

TIMEOUT = 30.0
"""Timeout of a download in seconds without a response."""


def read_safetensors(path: Path, what: str) -> dict[str, Tensor]:
    """Read the tensors of a .safetensors file.

    Raises:
        CropzooError: If the file does not exist or is not valid.
    """
    if not path.is_file():
        raise CropzooError(f"{what}; file {str(path)!r} does not exist; check the path")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CropzooError(
            f"{what}; {str(path)!r} is not a valid .safetensors file ({error}); download it again"
        ) from error


def from_hub(repository: str, what: str) -> dict[str, Tensor]:
    """Read the tensors of a repository of the Hugging Face Hub; downloads them if they are not in its cache.

    Raises:
        CropzooError: If they cannot be downloaded; the message describes how to place the file by hand.
    """
    name, (repository, _, revision) = "model.safetensors", repository.partition("@")
    cached = try_to_load_from_cache(repository, name, revision=revision or None)
    if isinstance(cached, str):
        return read_safetensors(Path(cached), what)
    folder = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    by_hand = (
        f"run `hf download {repository} {name}` on a machine with network access, and copy the folder that it creates "
        f"to {str(folder)!r}"
    )
    if is_offline():
        raise CropzooError(
            f"{what}; {name} of {repository} is not in the cache and CROPZOO_OFFLINE is set; unset it, or {by_hand}"
        )
    try:
        path = hf_hub_download(repository, name, revision=revision or None)
    except Exception as error:  # the errors of the hub and its HTTP libraries have no common base class
        reason = str(error).strip().partition("\n")[0]
        raise CropzooError(
            f"{what}; {name} of {repository} cannot be downloaded ({reason}); try again, or {by_hand}"
        ) from error
    return read_safetensors(Path(path), what)


def from_url(url: str, what: str) -> dict[str, Tensor]:
    """Read the tensors of a .pth file at a URL with `weights_only`; downloads it if it is not in torch.hub's cache.

    Raises:
        CropzooError: If it cannot be downloaded; the message describes how to place the file by hand.
    """
    file = Path(urlparse(url).path).name
    target = Path(torch.hub.get_dir()) / "checkpoints" / file
    if not target.is_file():
        by_hand = f"put the file {file!r} from {url} at {str(target)!r}"
        if is_offline():
            raise CropzooError(
                f"{what}; {file!r} is not in the cache and CROPZOO_OFFLINE is set; unset it, or {by_hand}"
            )
        hashed = re.search(r"-([0-9a-f]{8,64})\.", file)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with _timeout():
                torch.hub.download_url_to_file(url, str(target), hashed[1] if hashed else None, progress=False)
        except (OSError, HTTPException, RuntimeError) as error:  # RuntimeError: the hash does not match the file name
            reason = getattr(error, "reason", error)
            raise CropzooError(f"{what}; {url} cannot be downloaded ({reason}); try again, or {by_hand}") from error
    try:
        state: dict[str, Tensor] = torch.load(target, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, UnpicklingError, ValueError) as error:
        raise CropzooError(
            f"{what}; {str(target)!r} is not a valid weights file (truncated?); delete it to download it again"
        ) from error
    return state


@contextmanager
def _timeout() -> Iterator[None]:
    """Set a timeout for connections inside the block, because torch.hub does not set one."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
