"""What is said when GDAL fails to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from cropzoo.errors import CropzooError
from cropzoo.inference.mapping.cog import write_errors


def test_what_to_do_on_a_full_disk_names_the_map_whichever_of_its_files_failed(tmp_path: Path) -> None:
    out = tmp_path / "a map.tif"
    with (
        pytest.raises(CropzooError, match=rf"a map_margin.tif'; .*`cropzoo mosaic '{out}'`"),
        write_errors(tmp_path / "a map_margin.tif", out),
    ):
        raise OSError("full")
