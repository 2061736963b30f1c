"""Files are whole or not there, whatever happens while they are written."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from cropzoo.errors import CropzooError
from cropzoo.io import atomic_write, read_json, sha256_of, write_json, write_text


def contents(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_new_file_takes_the_old_one_s_place_with_usual_rights(tmp_path):
    path = tmp_path / "deep" / "note.txt"
    write_text(path, "one")
    write_text(path, "two ☼")
    assert path.read_text(encoding="utf-8") == "two ☼"
    assert contents(path.parent) == ["note.txt"]
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()])
def test_a_failure_half_way_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "note.txt"
    write_text(path, "old")

    def fail():
        with atomic_write(path) as scratch:
            scratch.write_text("half")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert path.read_text() == "old"
    assert contents(tmp_path) == ["note.txt"]


def test_the_target_is_untouched_until_the_end(tmp_path):
    path = tmp_path / "note.txt"
    with atomic_write(path) as scratch:
        scratch.write_text("new")
        assert not path.exists()
        assert scratch.parent == path.parent  # a rename across file systems is a copy
    assert path.read_text() == "new"


def test_a_file_where_the_folder_should_be_is_reported(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(CropzooError, match=r"cannot write '.*taken/note\.txt'"):
        write_text(tmp_path / "taken" / "note.txt", "text")
    (tmp_path / "folder").mkdir()
    with pytest.raises(CropzooError, match="cannot write"):
        write_text(tmp_path / "folder", "text")
    assert contents(tmp_path) == ["folder", "taken"]


def test_a_full_disk_leaves_the_old_file_and_no_scratch(tmp_path):
    path = tmp_path / "note.txt"
    write_text(path, "old")
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom cropzoo.errors import CropzooError\n"
        "from cropzoo.io import write_text\nresource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n    write_text(Path(sys.argv[1]), 'x' * 10000)\nexcept CropzooError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert "cannot write" in done.stdout
    assert "too large" in done.stdout
    assert path.read_text() == "old"
    assert contents(tmp_path) == ["note.txt"]


def test_json_comes_back_and_nan_is_refused(tmp_path):
    path = tmp_path / "values.json"
    write_json(path, {"a": [1, 2.5, None]})
    assert read_json(path) == {"a": [1, 2.5, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert read_json(path) == {"a": [1, 2.5, None]}


@pytest.mark.parametrize("content", [b"{", b"\xff", b"9" * 5000, None])
def test_a_file_that_is_no_json_is_refused_by_name(tmp_path, content):
    path = tmp_path / "values.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CropzooError, match=r"values\.json' cannot be read"):
        read_json(path)


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
