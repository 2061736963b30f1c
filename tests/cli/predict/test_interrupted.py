"""A map made in shards, by threads, after a kill or on a full disk is the map made at one go; none is half-written."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cropzoo.io import exclusive_file

PLOTS = str(Path(__file__).parents[1] / "plots.py")


def test_threads_shards_and_interruptions_leave_the_same_bytes(
    whole: Any, predict: Any, command: Any, files: Any, everything: Any, tmp_path: Path
) -> None:
    expected = files(whole.folder)
    for workers in (0, 3):
        assert predict(*everything, "-j", workers, out=f"{workers}/map.tif").code == 0
        assert files(tmp_path / str(workers)) == expected
    for part in ("2/3", "1/3", "3/3"):
        ended = predict(*everything, "--shard", part, out="shards/map.tif")
        assert ended.code == 0, ended.err
        assert "cropzoo mosaic shards/map.tif" in ended.out
        assert files(tmp_path / "shards") == {}
    ended = command("mosaic", "shards/map.tif", folder=tmp_path)
    assert ended.code == 0, ended.err
    assert files(tmp_path / "shards") == expected
    for end, code in (("SIGKILL", -9), ("SIGINT", 130), ("SIGTERM", 143)):
        out, env = f"{end}/map.tif", {"MAP_END_AT": "4", "MAP_SIGNAL": end}
        ended = predict(*everything, out=out, env=env)
        assert ended.code == code, ended.err
        assert ("resume with: cropzoo" in ended.err) == (end != "SIGKILL")
        assert set(files(tmp_path / end)) <= {".map.tif.lock"}
        assert "pass --resume to continue or --overwrite to restart" in predict(*everything, out=out).error
        ended = predict(*everything, "--resume", out=out)
        assert ended.code == 0, ended.err
        assert files(tmp_path / end) == expected


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.05, 0.1, 0.2, 0.4])
def test_a_kill_at_any_time_breaks_nothing(
    whole: Any, map_order: Any, predict: Any, files: Any, everything: Any, tmp_path: Path, seconds: float
) -> None:
    """The command in a process of its own, killed so long after it has begun to keep parts."""
    program = (sys.executable, "-c", "from cropzoo_cli.main import main; raise SystemExit(main())")
    line = [str(word) for word in (*program, "-p", PLOTS, *map_order(*everything))]
    settings = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(line, cwd=tmp_path, env=settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not (tmp_path / "map.tif.parts" / "order.json").exists() and time.monotonic() < until:
        time.sleep(0.005)
    time.sleep(seconds)
    process.kill()
    process.wait()
    expected = files(whole.folder)
    made = files(tmp_path)
    assert all(name.startswith(".") or made[name] == expected[name] for name in made)
    ended = predict(*everything, "--resume")
    assert ended.code == 0, ended.err
    assert {name: text for name, text in files(tmp_path).items() if name[0] != "."} == expected


def test_a_map_that_is_made_is_not_made_again(predict: Any, tmp_path: Path) -> None:
    assert predict().code == 0
    assert "map.tif'; it exists already; pass --overwrite to replace it" in predict().error
    ended = predict("--resume")
    assert ended.code == 0
    assert "px/s" not in ended.err
    (tmp_path / "map.tif").write_text("a note")
    assert "it exists already" in predict("--resume").error
    assert (tmp_path / "map.tif").read_text() == "a note"
    assert predict("--overwrite").code == 0


def test_a_full_disk_leaves_no_map(predict: Any, files: Any, everything: Any, tmp_path: Path) -> None:
    ended = predict(*everything, file_size=2500)
    assert ended.code == 1
    assert "Traceback" not in ended.err
    assert "cannot write" in ended.err
    assert files(tmp_path) == {}
    assert predict(*everything, "--resume").code == 0


def test_second_prediction_of_a_map_is_refused(predict: Any, command: Any, files: Any, tmp_path: Path) -> None:
    refused = f"process {os.getpid()} on host "
    with exclusive_file(tmp_path / "map.tif"):
        for more in ((), ("--resume",), ("--overwrite",)):
            assert refused in predict(*more).error
    assert predict("--shard", "1/2").code == 0
    with exclusive_file(tmp_path / "map.tif.parts" / "shard-1-of-2"):
        for more in (("--resume",), ("--overwrite",), ("--shard", "1/2")):
            assert refused in predict(*more).error
        assert refused in command("mosaic", "map.tif", folder=tmp_path).error
        assert predict("--shard", "2/2").code == 0
    assert command("mosaic", "map.tif", folder=tmp_path).code == 0
    assert not list(tmp_path.glob(".*"))
