"""Files of the Hugging Face Hub: addresses, downloads and uploads."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote

from cropzoo.errors import CropzooError, UsageError
from cropzoo.io import is_offline

_log = logging.getLogger("cropzoo")

PREFIX = "hf-hub:"
"""Beginning of an address of the Hub."""

CHECKPOINT = "model.safetensors"
"""Name of the checkpoint in a repository."""

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_ADDRESS = re.compile(rf"{PREFIX}({_NAME}/{_NAME})(?:@([^/@\s]+))?(?:/(\S+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubFile:
    """A file of a repository of the Hub.

    Args:
        repository: ORG/NAME.
        revision: commit, branch or tag; None for the default branch.
        name: path of the file in the repository.
    """

    repository: str
    revision: str | None
    name: str

    def __str__(self) -> str:
        revision = "" if self.revision is None else f"@{quote(self.revision, safe='')}"
        return f"{PREFIX}{self.repository}{revision}/{self.name}"


def is_hub_address(text: str) -> bool:
    """Whether a text is meant as an address of the Hub."""
    return text.startswith(PREFIX)


def parse_hub_address(text: str) -> HubFile:
    """The file of an address hf-hub:ORG/NAME[@REVISION][/FILE]; without FILE, the checkpoint of the repository.

    A "/" in a revision is written as %2F.

    Raises:
        UsageError: the text has another form.
    """
    found = _ADDRESS.fullmatch(text)
    parts = () if found is None or found[3] is None else PurePosixPath(found[3]).parts
    if found is None or ".." in parts:
        raise UsageError(f"address {text!r}; it must be hf-hub:ORG/NAME, hf-hub:ORG/NAME@REVISION, or one with /FILE")
    return HubFile(found[1], None if found[2] is None else unquote(found[2]), found[3] or CHECKPOINT)


def download_from_hub(file: HubFile, offline: bool = False) -> Path:
    """Return the path of a file of the Hub in the cache of huggingface_hub; downloads it if needed.

    Access tokens are read from their usual places: HF_TOKEN, or the login of `hf auth login`.

    Args:
        file: the file.
        offline: whether to use the cache alone; the environment variable CROPZOO_OFFLINE has the same effect.

    Raises:
        CropzooError: the repository, revision or file does not exist or may not be read, or is not in the cache and
            cannot be downloaded.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache  # half a second
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    by_hand = "run `hf download` on a machine with network access and copy the cache folder"
    if is_offline(offline):  # hf_hub_download makes a request even with local_files_only
        cached = try_to_load_from_cache(file.repository, file.name, revision=file.revision)
        if isinstance(cached, str):
            return Path(cached)
        raise CropzooError(f"{file}; it is not in the cache and --offline is set; run without --offline, or {by_hand}")
    try:
        with _plain_lines():
            path = Path(hf_hub_download(file.repository, file.name, revision=file.revision))
    except LocalEntryNotFoundError as error:
        raise CropzooError(
            f"{file}; it is not in the cache and the Hub cannot be reached; try again, or {by_hand}"
        ) from error
    except GatedRepoError as error:
        raise CropzooError(
            f"{file}; its owner grants access on request; request it on the page of the repository, and log in with "
            "`hf auth login` or HF_TOKEN"
        ) from error
    except RepositoryNotFoundError as error:
        raise CropzooError(
            f"{file}; the repository does not exist, or is private; check the name, or log in with `hf auth login` or "
            "HF_TOKEN"
        ) from error
    except RevisionNotFoundError as error:
        raise CropzooError(f"{file}; the repository has no revision {file.revision!r}; check it") from error
    except EntryNotFoundError as error:
        raise CropzooError(
            f"{file}; the repository has no file {file.name!r}; "
            + (
                "it holds no model of cropzoo; convert published weights with `cropzoo import-weights BACKBONE "
                f"hf-hub:{file.repository}/FILE`"
                if file.name == CHECKPOINT
                else "check the name"
            )
        ) from error
    except Exception as error:  # the errors of the Hub and its HTTP libraries have no common base class
        raise CropzooError(f"{file}; it cannot be downloaded ({_first_line(error)}); try again") from error
    commit = path.parents[len(PurePosixPath(file.name).parts) - 1].name
    if file.revision is None or not _COMMIT.fullmatch(file.revision):
        _log.info(
            "%s%s is at commit %s; %s%s@%s always gives this file",
            *(PREFIX, file.repository, commit, PREFIX, file.repository, commit),
        )
    return path


def upload_to_hub(repository: str, files: Mapping[str, Path], message: str) -> str:
    """Upload files to a repository of the Hub in one commit; a repository that does not exist is created.

    Args:
        repository: ORG/NAME.
        files: paths of the files, by their names in the repository.
        message: message of the commit.

    Returns:
        The hash of the commit.

    Raises:
        CropzooError: CROPZOO_OFFLINE is set, there is no access token, or the upload fails.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    what = f"publishing {PREFIX}{repository}"
    if is_offline():
        raise CropzooError(f"{what}; --offline is set; run without --offline")
    if not get_token():
        raise CropzooError(f"{what}; there is no access token; log in with `hf auth login`, or set HF_TOKEN")
    api = HfApi(library_name="cropzoo")
    try:
        with _plain_lines():
            api.create_repo(repository, exist_ok=True)
            operations = [CommitOperationAdd(name, str(path)) for name, path in files.items()]
            commit = api.create_commit(repository, operations, commit_message=message)
    except Exception as error:  # see download_from_hub
        raise CropzooError(
            f"{what}; the upload failed ({_first_line(error)}); check the name and that the token may write there"
        ) from error
    return str(commit.oid)


@contextmanager
def _plain_lines() -> Iterator[None]:
    """Show no progress bars where there is no terminal."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if are_progress_bars_disabled() or (sys.stderr is not None and sys.stderr.isatty()):
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__
