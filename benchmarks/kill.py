"""Kills `train`, `prepare` and `predict` at random moments, resumes them, and compares the results byte by byte.

Each command runs once without interruption. Then it is started again and again in new folders, killed by SIGKILL with
its worker processes at a random moment after it has started to write, and resumed until it finishes. Half of the
resumed runs are killed once more. All files must equal those of the first run, except for times, and no other file may
be left.

    python benchmarks/kill.py --kills 20 --seed 1
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

DATA = ("--set", "dataset.size=320", "--set", "dataset.block=64", "--set", "dataset.dates=8")
TRAIN = ("train", "--backbone", "pixel-transformer", "--dataset", "synthetic", *DATA)
CLOCKS = ("environment.json", "report.html", "README.md", "quicklook.html", "order.json")
"""Files with times, paths or figures of a clock; only their presence is compared."""


@dataclass(frozen=True)
class Case:
    """A command to kill.

    Args:
        name: Name of the command.
        start: Words that start it; OUT is the place of its result.
        resume: Words that resume it, or start it again if nothing was written.
    """

    name: str
    start: Sequence[str]
    resume: Sequence[str]


def make_cases(area: Path, run: Path) -> list[Case]:
    """The three commands, on an area that `prepare --from synthetic` wrote and a run that was trained."""
    train = (*TRAIN, "--pretrain", "cscl", "--epochs", "3")
    small = ("--pretrain-epochs", "3", "--set", "image_size=32", "-b", "8", "--baseline", "none")
    images = ("--images", f"{area}/S2_*.tif")
    prepare = ("prepare", "--parcels", f"{area}/parcels.gpkg", *images, "--window", "32", "--block", "32", "-j", "2")
    predict = ("predict", str(run), *images, "--outputs", "class,confidence")
    device, out = ("--device", "cpu"), ("--device", "cpu", "--out", "OUT/map.tif")
    return [
        Case("train", (*train, *small, *device, "--out", "OUT"), ("train", "--resume", *device, "--out", "OUT")),
        Case("prepare", (*prepare, "--out", "OUT"), (*prepare, "--out", "OUT")),
        Case("predict", (*predict, *out), (*predict, "--resume", *out)),
    ]


def start_command(words: Sequence[str], out: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start a command in a process group of its own."""
    command = [sys.executable, "-m", "cropzoo_cli.main", *(word.replace("OUT", str(out)) for word in words)]
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "CROPZOO_CACHE": str(log.parent / "cache")}
    with log.open("ab") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True, env=settings)


def run_command(words: Sequence[str], out: Path, log: Path, kill_after: float | None = None) -> int:
    """Run a command to its end or until it is killed, so many seconds after it has started to write.

    Returns:
        Its exit code, negative for a signal.
    """
    process = start_command(words, out, log)
    if kill_after is None:
        return process.wait()
    wait_for_output(process, out, log)
    try:
        return process.wait(kill_after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


def wait_for_output(process: subprocess.Popen[bytes], out: Path, log: Path) -> float:
    """Wait until a command changes a file of its result or ends; returns the moment, in seconds of the clock."""
    before = _newest(out)
    while process.poll() is None and _newest(out) == before:
        time.sleep(0.01)
    return time.monotonic()


def _newest(folder: Path) -> int:
    times = [folder.stat().st_mtime_ns] if folder.exists() else [0]
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            times.append(path.stat().st_mtime_ns)
    return max(times)


def read_files(folder: Path) -> dict[str, bytes]:
    """Content of all files of a result by their path in it, without that of files with times."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = str(path.relative_to(folder))
            found[name] = b"" if path.name in CLOCKS else _without_seconds(path)
    return found


def _without_seconds(path: Path) -> bytes:
    if path.name == "last.ckpt":  # its archive stores the name of the temporary file
        return b""
    if path.name != "metrics.jsonl":
        return path.read_bytes()
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return json.dumps([{key: value for key, value in line.items() if key != "seconds"} for line in lines]).encode()


def kill_and_resume(case: Case, out: Path, log: Path, seconds: float, rng: random.Random) -> str:
    """Kill a command at random moments and resume it until it finishes; returns what went wrong, empty if nothing."""
    code = run_command(case.start, out, log, rng.uniform(0, seconds))
    if code == -signal.SIGKILL and rng.random() < 0.5:
        code = _resume(case, out, log, rng.uniform(0, seconds))
    if code == -signal.SIGKILL:
        code = _resume(case, out, log)
    return "" if code == 0 else f"exit code {code}; see {log}"


def _resume(case: Case, out: Path, log: Path, kill_after: float | None = None) -> int:
    started = case.name != "train" or (out / "recipe.yaml").is_file()
    return run_command(case.resume if started else case.start, out, log, kill_after)


def compare_files(found: dict[str, bytes], expected: dict[str, bytes]) -> str:
    """The differences of two results, empty if there are none."""
    lines = [f"{name} is missing" for name in expected.keys() - found.keys()]
    lines += [f"{name} was left" for name in found.keys() - expected.keys()]
    lines += [f"{name} differs" for name in expected.keys() & found.keys() if expected[name] != found[name]]
    return "; ".join(sorted(lines))


def run_case(case: Case, folder: Path, kills: int, rng: random.Random) -> list[str]:
    """Kill a command several times; returns a line for each failure."""
    log = folder / f"{case.name}.log"
    process = start_command(case.start, folder / case.name, log)
    begin = wait_for_output(process, folder / case.name, log)
    if code := process.wait():
        return [f"{case.name} without a kill: exit code {code}; see {log}"]
    seconds, expected, failures = time.monotonic() - begin, read_files(folder / case.name), []
    print(f"{case.name} writes for {seconds:.1f} s", flush=True)
    for number in range(kills):
        out = folder / f"{case.name}-{number}"
        log = folder / f"{case.name}-{number}.log"
        problem = kill_and_resume(case, out, log, seconds, rng) or compare_files(read_files(out), expected)
        print(f"{case.name} {number + 1}/{kills}: {problem or 'equal'}", flush=True)
        failures += [f"{case.name}, kill {number + 1}: {problem}"] if problem else []
    return failures


def main() -> int:
    """Run all cases; returns the exit code, 1 if a result differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="number of kills of each command")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    parser.add_argument("--only", choices=("train", "prepare", "predict"), help="kill this command only")
    parser.add_argument("--folder", type=Path, help="folder of the results, which are kept; default: a temporary one")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        area, run = folder / "area", folder / "run"
        log = folder / "setup.log"
        make_area = ("prepare", "--from", "synthetic", *DATA, "--out", str(area))
        train = (*TRAIN, "--epochs", "1", "--device", "cpu", "--out", str(run))
        for words in (make_area, train):
            if code := run_command(words, folder, log):
                print(f"set-up failed with exit code {code}; see {log}\n{log.read_text()}")
                return 1
        rng = random.Random(args.seed)
        cases = [case for case in make_cases(area, run) if args.only in (None, case.name)]
        failures = [line for case in cases for line in run_case(case, folder, args.kills, rng)]
    print("\n".join(failures) or f"all {args.kills * len(cases)} results equal those without a kill (seed {args.seed})")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
