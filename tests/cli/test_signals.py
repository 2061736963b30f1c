"""Signals that end commands other than train."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(("signal", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
@pytest.mark.parametrize("words", [("evaluate",), ("calibrate", "--split", "test")], ids=["evaluate", "calibrate"])
def test_signal_ends_a_scoring(command, run_folder, tmp_path, words, signal, code):
    name, *more = words
    env = {"PLOTS_END_READING": "7", "PLOTS_SIGNAL": signal}
    out = ("--out", tmp_path / "calibrated.safetensors") if name == "calibrate" else ()
    ended = command(name, run_folder, *more, *out, "--device", "cpu", folder=tmp_path, env=env)
    assert ended.code == code, ended.err
    assert ended.err.splitlines()[-1].endswith("; run the same command again")
    assert "Traceback" not in ended.err
    assert not list(tmp_path.iterdir())
