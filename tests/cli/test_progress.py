"""Progress of commands: the text, when lines are printed, and the bar in a terminal."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest

from cropzoo_cli.output import note, report_silence
from cropzoo_cli.progress import describe_items, describe_pixels, pixel_progress, progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """`clock(seconds)` sets the time since the beginning."""
    now = [1000.0]
    monkeypatch.setattr("cropzoo_cli.progress.monotonic", lambda: now[0])

    def set_to(seconds: float) -> None:
        now[0] = 1000.0 + seconds

    return set_to


@pytest.mark.parametrize(
    ("done", "total", "seconds", "text"),
    [
        (50, 200, 2.0, "25 % of 200 px, 25 px/s, 6 s left"),
        (3333, 9999, 3333.0, "33 % of 9999 px, 1 px/s, 1 h 51 min left"),
        (5000, 10_000, 1.0, "50 % of 0.01 Mpx, 5,000 px/s, 1 s left"),
        (504_000, 1_200_000, 96.367, "42 % of 1.20 Mpx, 5,230 px/s, 2 min 13 s left"),
        (1_000_000, 123_456_789, 0.5, "1 % of 123.46 Mpx, 2,000,000 px/s, 1 min 1 s left"),
    ],
)
def test_share_size_speed_and_time_left(done: int, total: int, seconds: float, text: str) -> None:
    assert describe_pixels(done, total, seconds) == text


@pytest.mark.parametrize(
    ("left", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (125, "2 min 5 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 0 min"),
        (7 * 3600 + 59 * 60 + 59, "7 h 59 min"),
        (100 * 3600, "100 h 0 min"),
    ],
)
def test_time_left_is_in_units_that_suit_it(left: float, text: str) -> None:
    assert describe_pixels(100, 200, left).endswith(f" px/s, {text} left")


@pytest.mark.parametrize(
    ("done", "total", "seconds", "text"),
    [
        (200, 200, 4.0, "100 % of 200 px, 50 px/s"),
        (0, 200, 4.0, "0 % of 200 px, 0 px/s"),
        (0, 200, 0.0, "0 % of 200 px, 0 px/s"),
        (0, 0, 0.0, "0 % of 0 px, 0 px/s"),
    ],
)
def test_no_time_is_left_at_the_end_nor_known_at_the_beginning(
    done: int, total: int, seconds: float, text: str
) -> None:
    assert describe_pixels(done, total, seconds) == text


@pytest.mark.parametrize(
    ("done", "total", "seconds", "text"),
    [
        (0, 40, 0.0, "0 of 40 samples"),
        (10, 40, 4.0, "10 of 40 samples, 2.5 per second, 12 s left"),
        (3, 1000, 30.0, "3 of 1000 samples, 0.1 per second, 2 h 46 min left"),
        (40, 40, 0.0, "40 of 40 samples"),
        (40, 40, 0.01, "40 of 40 samples, 4,000.0 per second"),
    ],
)
def test_items_have_a_rate_and_the_time_left(done: int, total: int, seconds: float, text: str) -> None:
    assert describe_items("samples", done, total, seconds) == text


def test_a_clock_that_has_not_moved_is_no_mistake() -> None:
    assert describe_pixels(1, 200, 0.0).endswith("px/s, 0 s left")


def test_lines_come_at_the_end_and_seldom_before(
    capsys: pytest.CaptureFixture[str], clock: Callable[[float], None]
) -> None:
    messages = {}
    with pixel_progress() as advance:
        for done, seconds in ((1, 1.0), (10, 10.0), (11, 10.1), (20, 20.0), (22, 22.0), (30, 31.0), (100, 31.5)):
            clock(seconds)
            advance(done, 100)
            messages[seconds] = capsys.readouterr().err
    assert {seconds: line for seconds, line in messages.items() if line} == {
        10.1: "11 % of 100 px, 1 px/s, 1 min 22 s left\n",
        22.0: "22 % of 100 px, 1 px/s, 1 min 18 s left\n",
        31.5: "100 % of 100 px, 3 px/s\n",
    }


def test_items_have_lines_too(capsys: pytest.CaptureFixture[str], clock: Callable[[float], None]) -> None:
    with progress("parcels") as advance:
        for done, seconds in ((1, 1.0), (2, 11.0), (3, 12.0), (4, 16.0)):
            clock(seconds)
            advance(done, 4)
    assert capsys.readouterr().err.splitlines() == [
        "2 of 4 parcels, 0.2 per second, 11 s left",
        "4 of 4 parcels, 0.2 per second",
    ]


def test_a_terminal_has_a_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, clock: Callable[[float], None]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    for name, value in (("TERM", "xterm"), ("COLUMNS", "100")):
        monkeypatch.setenv(name, value)
    with pixel_progress() as advance:
        clock(2.0)
        advance(50, 200)
    messages = capsys.readouterr()
    assert messages.out == ""
    *_, bar = (line for line in messages.err.splitlines() if "pixels" in line)
    assert "\x1b[" in messages.err
    runs = [len(run) for run in re.findall("[━╺]+", bar)]
    assert runs[0] == sum(runs) / 4
    assert "25 % of 200 px, 25 px/s, 6 s left" in bar


def test_a_silent_command_reports_that_it_is_running(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cropzoo_cli.output.QUIET_SECONDS", 0.2)
    with report_silence():
        time.sleep(0.3)
        first = capsys.readouterr().err
        note("importing torch\nand more")
        capsys.readouterr()
        time.sleep(0.7)
        later = capsys.readouterr().err
        for _ in range(6):
            note("step")
            time.sleep(0.1)
        busy = capsys.readouterr().err
    time.sleep(0.3)
    assert re.fullmatch(r"still running after 0 s\n", first)
    lines = later.splitlines()
    assert 2 <= len(lines) <= 3
    assert re.fullmatch(r"still running after [01] s \(last: importing torch\)", lines[-1])
    assert busy == "step\n" * 6
    assert capsys.readouterr().err == "", "nothing is printed after the command"


def test_a_terminal_gets_no_such_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("cropzoo_cli.output.QUIET_SECONDS", 0.05)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with report_silence():
        time.sleep(0.3)
    assert capsys.readouterr().err == ""
