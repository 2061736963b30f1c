"""Training what is missing, with commands that train nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from cropzoo.evaluation.compare.runner import TrainingJobs, train_runs
from cropzoo.io import exclusive_file, exclusive_folder

FAKE = """
import json, os, signal, sys, time
from pathlib import Path

out = Path(sys.argv[sys.argv.index("--out") + 1])
out.mkdir(parents=True, exist_ok=True)
with (out / "calls").open("a") as calls:
    calls.write(" ".join(sys.argv[1:]) + " OMP=" + os.environ.get("OMP_NUM_THREADS", "") + "\\n")
(out / "recipe.yaml").touch()
begun, test = time.time(), {{"miou": 0.5}}
{body}
(out / "times").write_text(f"{{begun}} {{time.time()}}")
(out / "metrics.json").write_text(json.dumps({{"test": test, "val": {{"miou": 0.25}}}}))
(out / "model.safetensors").touch()
(out / "report.html").touch()
print("on stdout")
print("a line of progress", file=sys.stderr)
"""


@pytest.fixture
def trainings(tmp_path):
    """`trainings(body, jobs=1)`: training by a Python script with that body; `.messages` is what was reported."""

    def make(body="", jobs=1, split="test", find_error=lambda run: ""):
        script = tmp_path / "fake.py"
        script.write_text(FAKE.format(body=body))
        messages = []
        found = TrainingJobs((sys.executable, "-S", str(script)), jobs, messages.append, find_error, split)
        object.__setattr__(found, "messages", messages)
        return found

    return make


def calls(folder, run):
    path = folder.run(run).path / "calls"
    return path.read_text().splitlines() if path.exists() else []


def test_each_run_is_trained_by_its_recipe_once(plan, folder, trainings):
    found, how = plan(seeds=2), trainings()
    assert train_runs(found.runs, folder, how) == {}
    assert train_runs(found.runs, folder, how) == {}
    for run in found.runs:
        (call,) = calls(folder, run)
        assert call.startswith(f"-c {folder.recipe(run)} --out {folder.run(run).path} OMP=")
        assert folder.recipe(run).is_file()
        assert folder.log(run).read_text() == "a line of progress\n"
    assert how.messages[0] == "[1/4] net-none-seed0: training"
    assert how.messages[1].startswith("net-none-seed0: finished in ")
    assert how.messages[1].endswith(" s, test mIoU 50.0")
    assert len(how.messages) == 8


def test_a_run_without_a_head_is_reported_and_stops_no_other(plan, folder, trainings):
    found, how = plan(), trainings("test = {} if 'none' in out.name else test")
    assert train_runs(found.runs, folder, how) == {}
    assert how.messages[1].endswith(", without scores")
    assert how.messages[-1].endswith("test mIoU 50.0")


def test_the_score_that_is_reported_is_of_the_split_of_the_study(plan, folder, trainings):
    how = trainings(split="val")
    train_runs(plan().runs[:1], folder, how)
    assert how.messages[-1].endswith("val mIoU 25.0")


def test_a_run_that_was_begun_goes_on(plan, folder, trainings):
    run = plan().runs[0]
    folder.run(run).path.mkdir(parents=True)
    folder.run(run).recipe.touch()
    how = trainings()
    train_runs([run], folder, how)
    assert calls(folder, run)[0].startswith(f"--resume --out {folder.run(run).path}")
    assert how.messages[0] == "[1/1] net-none-seed0: resuming"


FAILS = """
if "cscl" in out.name and not os.environ.get("MENDED"):
    print("first", file=sys.stderr)
    print("error: lr is too high; lower it\\nand more of it", file=sys.stderr)
    sys.exit(2)
"""


def test_a_run_that_fails_stops_no_other_and_is_tried_again(plan, folder, trainings, monkeypatch):
    found, how = plan(pretrain=["cscl", "none"], seeds=2), trainings(FAILS)
    failed = train_runs(found.runs, folder, how)
    assert failed == dict.fromkeys(["net-cscl-seed0", "net-cscl-seed1"], "lr is too high; lower it")
    assert [folder.state(run) for run in found.runs] == ["unfinished", "finished"] * 2
    messages = folder.failures(found.runs)["net-cscl-seed0"]
    assert messages == "lr is too high; lower it\n\nfirst\nerror: lr is too high; lower it\nand more of it\n"
    assert any(
        "net-cscl-seed0: failed after" in line and str(folder.failure(found.runs[0])) in line for line in how.messages
    )
    monkeypatch.setenv("MENDED", "1")
    assert train_runs(found.runs, folder, how) == {}
    assert [len(calls(folder, run)) for run in found.runs] == [2, 1, 2, 1]
    assert not list(folder.failure(found.runs[0]).parent.iterdir())


@pytest.mark.parametrize(
    ("body", "messages"),
    [
        ("raise ValueError('no such thing')", "ValueError: no such thing"),
        ("sys.exit(3)", "ended with code 3"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed, probably because memory ran out; use fewer --jobs or"),
        ("os.kill(os.getpid(), signal.SIGTERM)", "ended by signal 15"),
        ("sys.exit(0)", "ended with code 0"),
    ],
)
def test_how_a_run_failed_is_reported(plan, folder, trainings, body, messages):
    (error,) = train_runs(plan().runs[:1], folder, trainings(body)).values()
    assert error.startswith(messages)


def test_the_error_is_that_of_the_last_try(plan, folder, trainings):
    run = plan().runs[0]
    train_runs([run], folder, trainings("print('error: the first', file=sys.stderr); sys.exit(1)"))
    assert train_runs([run], folder, trainings("sys.exit(4)")) == {run.name: "ended with code 4"}
    assert "the first" not in folder.failures([run])[run.name]
    assert "the first" in folder.log(run).read_text()


def test_jobs_run_side_by_side_and_share_the_cores(plan, folder, trainings, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(7)))
    found = plan(seeds=3)
    train_runs(found.runs, folder, trainings("time.sleep(0.3)", jobs=3))
    times = [tuple(map(float, (folder.run(run).path / "times").read_text().split())) for run in found.runs]
    at_once = [sum(begin <= start < end for begin, end in times) for start, _ in times]
    assert max(at_once) == 3
    assert {calls(folder, run)[0].split("OMP=")[1] for run in found.runs} == {"2"}


def test_one_job_has_all_cores(plan, folder, trainings, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    run = plan().runs[0]
    train_runs([run], folder, trainings())
    assert calls(folder, run)[0].endswith("OMP=")


def test_two_studies_at_once_train_each_run_once(plan, folder, trainings):
    found, how = plan(seeds=4), trainings("time.sleep(0.1)", jobs=2)
    other = threading.Thread(target=train_runs, args=(found.runs, folder, how))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(signal, "signal", lambda *_: None)  # which only the main thread may call
        other.start()
        train_runs(found.runs, folder, how)
        other.join()
    assert [len(calls(folder, run)) for run in found.runs] == [1] * 8
    assert all(folder.state(run) == "finished" for run in found.runs)


@pytest.mark.parametrize("locked", ["log", "folder"])
def test_run_that_another_process_trains_is_waited_for(plan, folder, trainings, locked):
    """Another study has locked its log, or a training that outlived a killed study its folder."""
    found, how = plan(), trainings()
    run = found.runs[0]
    lock = exclusive_file(folder.log(run)) if locked == "log" else exclusive_folder(folder.run(run).path)

    def train_elsewhere():
        with lock:
            entered.set()
            while folder.state(found.runs[1]) != "finished":
                time.sleep(0.05)
            time.sleep(0.5)
            subprocess.run([*how.command, "--out", str(folder.run(run).path)], check=True, stderr=subprocess.DEVNULL)

    entered = threading.Event()
    other = threading.Thread(target=train_elsewhere)
    other.start()
    entered.wait()
    assert train_runs(found.runs, folder, how) == {}
    other.join()
    assert [folder.state(run) for run in found.runs] == ["finished", "finished"]
    assert len(calls(folder, run)) == 1
    assert how.messages[0].startswith("[1/2] net-none-seed0: waiting for another process that trains it: cannot write ")
    assert f"process {os.getpid()} on host " in how.messages[0]
    assert len(how.messages) == 3


WAITS = """
signal.signal(signal.SIGINT, lambda *_: (out / "interrupted").touch() or sys.exit(130))
(out / "waiting").write_text(str(os.getpid()))
time.sleep(30)
"""


def wait_for(path):
    end = time.monotonic() + 20
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return path.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_it_ends_its_trainings(plan, folder, trainings, number):
    run = plan().runs[0]
    target = folder.run(run).path / "waiting"

    def interrupt():
        wait_for(target)
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        train_runs([run], folder, trainings(WAITS))
    assert signal.getsignal(number) == before
    assert (folder.run(run).path / "interrupted").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int(target.read_text()), 0)
    assert folder.failures([run]) == {}


ENDS = """
try:
    (out / "waiting").write_text("yes")
    time.sleep(30)
except KeyboardInterrupt:
    (out / "interrupted").touch()
    sys.exit(130)
"""


def test_in_the_background_of_a_script_it_interrupts_its_trainings_too(plan, folder, trainings):
    run = plan().runs[0]

    def end():
        wait_for(folder.run(run).path / "waiting")
        os.kill(os.getpid(), signal.SIGINT)  # which nobody minds
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        threading.Thread(target=end).start()
        with pytest.raises(KeyboardInterrupt):
            train_runs([run], folder, trainings(ENDS))
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert (folder.run(run).path / "interrupted").exists()


STUDY = """
import sys
from pathlib import Path
from types import SimpleNamespace
from cropzoo.evaluation.compare.folder import StudyFolder
from cropzoo.evaluation.compare.runner import TrainingJobs, train_runs

run = SimpleNamespace(name="net-none-seed0", recipe=SimpleNamespace(to_mapping=dict))
train_runs([run], StudyFolder(Path(sys.argv[1])), TrainingJobs((sys.executable, "-S", sys.argv[2]), 1, print, str))
"""


LOCKS = """
import fcntl

lock = (out / ".lock").open("ab")
fcntl.flock(lock, fcntl.LOCK_EX)
"""


def test_training_of_a_killed_study_is_waited_for_and_resumed(plan, folder, trainings, tmp_path):
    found = plan().runs[:1]
    how = trainings(LOCKS + WAITS)
    study = subprocess.Popen([sys.executable, "-c", STUDY, str(folder.path), how.command[-1]])
    training = int(wait_for(folder.run(found[0]).path / "waiting"))
    study.kill()
    study.wait()

    def end():
        while not how.messages:
            time.sleep(0.02)
        os.kill(training, signal.SIGKILL)

    how = trainings()
    other = threading.Thread(target=end)
    other.start()
    assert train_runs(found, folder, how) == {}
    other.join()
    assert how.messages[0].startswith("[1/1] net-none-seed0: waiting for another process that trains it: cannot write ")
    assert how.messages[1] == "[1/1] net-none-seed0: resuming"
    assert len(calls(folder, found[0])) == 2
    assert folder.state(found[0]) == "finished"


def test_training_that_finds_its_folder_locked_is_waited_for(plan, folder, trainings):
    """The study before was killed while its training was starting, and had not locked the folder yet."""
    run = plan().runs[0]
    how = trainings(
        LOCKS.replace("LOCK_EX", "LOCK_EX | fcntl.LOCK_NB")
        + "time.sleep(1.5)\nfcntl.flock(lock, fcntl.LOCK_UN) or (out / '.lock').unlink()"
    )
    orphan = subprocess.Popen([*how.command, "--out", str(folder.run(run).path)], stderr=subprocess.DEVNULL)
    time.sleep(0.05)
    assert train_runs([run], folder, how) == {}
    orphan.wait()
    assert folder.state(run) == "finished"
    assert not folder.failures([run])


def test_starts_without_fcntl(plan, folder, trainings, tmp_path):
    """Windows has neither this module nor `resource`, SIGHUP and SIGKILL."""
    hide = (
        "import signal, sys\nsys.modules['fcntl'] = sys.modules['resource'] = None\ndel signal.SIGHUP, signal.SIGKILL\n"
    )
    body = "(out / 'waiting').write_text('yes')"
    code = hide + STUDY
    args = [sys.executable, "-c", code, str(folder.path), trainings(body).command[-1]]
    ended = subprocess.run(args, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert folder.state(plan().runs[0]) == "finished"


REFUSED = """
(out / "recipe.yaml").unlink()
print("error: no data", file=sys.stderr)
sys.exit(2)
"""


def test_a_study_that_refuses_every_run_stops_at_the_first(plan, folder, trainings):
    checked = []
    found = plan(seeds=3)
    how = trainings(REFUSED, find_error=lambda run: checked.append(run.name) or "no data")
    failed = train_runs(found.runs, folder, how)
    assert [len(calls(folder, run)) for run in found.runs] == [1, 0, 0, 0, 0, 0]
    assert checked == ["net-cscl-seed2"], "each configuration is checked once, and the refused one is not"
    assert [failed[run.name] for run in found.runs] == ["no data", *["not started; no data"] * 5]
    assert how.messages[-1] == "all configurations are refused before training; 5 runs are not started"


def test_a_study_that_refuses_some_runs_trains_the_others(plan, folder, trainings):
    found = plan(seeds=2)
    body = f'if "none" in out.name:\n    {"; ".join(REFUSED.strip().splitlines())}'
    checked = []
    failed = train_runs(found.runs, folder, trainings(body, find_error=lambda run: checked.append(run.name) or ""))
    assert [len(calls(folder, run)) for run in found.runs] == [1, 1, 1, 1]
    assert sorted(failed) == ["net-none-seed0", "net-none-seed1"]
    assert len(checked) == 1, "the check is not repeated at the next failure"


def test_runs_that_fail_in_training_or_are_killed_stop_no_other(plan, folder, trainings):
    found = plan(seeds=2)
    killed = REFUSED.replace("sys.exit(2)", "os.kill(os.getpid(), signal.SIGKILL)")
    for count, body in enumerate((killed, "sys.exit(1)"), start=1):
        train_runs(found.runs, folder, trainings(body, find_error=lambda run: "not asked"))
        assert [len(calls(folder, run)) for run in found.runs] == [count] * 4


def test_every_fold_is_checked(plan, folder, trainings):
    found = plan(dataset="folded", folds=[1, 2], pretrain=["none"])
    failed = train_runs(found.runs, folder, trainings(REFUSED, find_error=lambda run: "" if run.fold == 2 else "no"))
    assert [len(calls(folder, run)) for run in found.runs] == [1, 1]
    assert set(failed.values()) == {"no data"}
