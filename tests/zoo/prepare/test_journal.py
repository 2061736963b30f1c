"""What an interrupted preparation finds again, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from cropzoo.errors import CropzooError
from cropzoo.prepare.journal import Journal

ORDER = {"options": {"window": 64}, "images": ["a.tif"]}


def test_what_was_added_is_found_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "ds")
    journal.start(ORDER, overwrite=False)
    journal.add_sample({"id": "00001", "empty": True})
    again = Journal(tmp_path / "ds")
    again.start(ORDER, overwrite=False)
    assert again.read_samples() == {"00001": {"id": "00001", "empty": True}}


def test_another_order_names_what_differs(tmp_path: Path) -> None:
    Journal(tmp_path).start(ORDER, overwrite=False)
    with pytest.raises(CropzooError, match="started with other images"):
        Journal(tmp_path).start({**ORDER, "images": ["b.tif"]}, overwrite=False)


def test_other_options_are_named(tmp_path: Path) -> None:
    Journal(tmp_path).start({**ORDER, "options": {"window": 64, "seed": 0}}, overwrite=False)
    with pytest.raises(CropzooError, match=r"started with other options \(window\); pass"):
        Journal(tmp_path).start({**ORDER, "options": {"window": 32, "seed": 0}}, overwrite=False)


def test_overwrite_forgets_what_was_done(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.start(ORDER, overwrite=False)
    journal.add_sample({"id": "00001"})
    (tmp_path / "metadata.geojson").write_text("{}")
    (tmp_path / "DATA_S2").mkdir()
    (tmp_path / "mine.txt").write_text("keep")
    journal.start({**ORDER, "images": ["b.tif"]}, overwrite=True)
    assert journal.read_samples() == {}
    assert not journal.finished
    assert not (tmp_path / "DATA_S2").exists()
    assert (tmp_path / "mine.txt").read_text() == "keep"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "README.md").write_text("my thesis")
    with pytest.raises(CropzooError, match="no preparation wrote"):
        Journal(tmp_path).start(ORDER, overwrite)
    assert (tmp_path / "README.md").read_text() == "my thesis"


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "ds").write_text("")
    with pytest.raises(CropzooError, match="it is a file"):
        Journal(tmp_path / "ds").check_folder()


def test_a_folder_that_cannot_be_made_is_an_error_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CropzooError, match="cannot be created or written"):
        Journal(tmp_path / "file/ds").start(ORDER, overwrite=False)


def test_folder_of_a_preparation_that_was_killed_at_its_start_is_accepted(tmp_path: Path) -> None:
    (tmp_path / ".prepare").mkdir()
    (tmp_path / ".prepare/.order.json.tmp-12345678").write_text("{")
    (tmp_path / ".lock").touch()
    journal = Journal(tmp_path)
    journal.start(ORDER, overwrite=False)
    assert journal.read_samples() == {}
    with pytest.raises(CropzooError, match="started with other images"):
        Journal(tmp_path).start({**ORDER, "images": ["b.tif"]}, overwrite=False)
