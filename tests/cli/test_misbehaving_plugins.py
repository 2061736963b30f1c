"""Plugins that raise, print or pretend: built-in commands work, and --json stays JSON."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import cropzoo_cli
from cropzoo_cli.main import main

HOOK = """
@hookimpl
def cropzoo_backbones():
    return [backbone("mine", build="my_odd_model:Net")]
"""
NOISE = """
import ctypes, os, sys
print("printed")
os.write(1, b"written\\n")
os.system("echo by a process")
libc = ctypes.CDLL(None)
libc.printf(b"buffered by C\\n")
sys.__stdout__.write("to the original\\n")
"""
RAISES = {
    "exit at import": "raise SystemExit(3)",
    "silent exit": "import sys; sys.exit()",
    "generator exit": "raise GeneratorExit",
    "interrupt at import": "raise KeyboardInterrupt",
    "interrupt in a hook": "@hookimpl\ndef cropzoo_backbones():\n    raise KeyboardInterrupt('no')",
    "own class": "class Stop(BaseException): pass\nraise Stop('now')",
    "no message": "class Odd(Exception):\n    def __str__(self): raise ValueError\nraise Odd",
    "message of surrogates": "raise ValueError('\\ud800 \\x1b[31m')",
    "hook": "@hookimpl\ndef cropzoo_backbones():\n    raise SystemExit",
    "catalog": "@hookimpl\ndef cropzoo_catalogs():\n    raise BaseException('no')",
    "item": "class Odd:\n    def __repr__(self): raise SystemExit\n"
    "@hookimpl\ndef cropzoo_datasets():\n    return [Odd()]",
    "surrogate": "@hookimpl\ndef cropzoo_backbones():\n    return [backbone('mine', summary='\\ud800')]",
    "escape": "@hookimpl\ndef cropzoo_backbones():\n    return [backbone('mine', summary='\\x1b[2Jgone')]",
    "direction": "@hookimpl\ndef cropzoo_backbones():\n    return [backbone('mine', license='MIT\\u202e')]",
    "infinite": "@hookimpl\ndef cropzoo_backbones():\n    return [backbone('mine', parameters=float('inf'))]",
    "odd options": "@hookimpl\ndef cropzoo_backbones():\n    return [backbone('mine', published={'a': object()})]",
    "odd keys": "@hookimpl\ndef cropzoo_backbones():\n    return [backbone('mine', published={1: 2})]",
    "subclass": "class Sub(BackboneSpec):\n    def as_dict(self): raise SystemExit\n"
    "@hookimpl\ndef cropzoo_backbones():\n"
    "    return [Sub(name='mine', build='a:b', summary='a', source='a', license='a', dates='doy')]",
    "changed later": "made = backbone('mine')\nobject.__setattr__(made, 'summary', object())\n@hookimpl\n"
    "def cropzoo_backbones():\n    return [made]",
}


@pytest.fixture
def plugin(module_folder, write_plugin, install):
    """`plugin(body)` installs a distribution with a plugin `mine`."""

    def put(body: str) -> Path:
        install("my-dist", "[cropzoo]\nmine = my_odd_model\n")
        return write_plugin(module_folder / "my_odd_model.py", body)

    return put


@pytest.mark.parametrize("case", RAISES)
def test_plugin_that_fails_in_any_way_is_left_out(case, plugin, capsys):
    plugin(RAISES[case])
    for command in (
        ["list", "--json"],
        ["list"],
        ["plugins"],
        ["plugins", "--json"],
        ["show", "segmentation", "--json"],
    ):
        assert main(command) == 0, command
        out, err = capsys.readouterr()
        if "--json" in command:
            json.loads(out)
        assert "\x1b" not in out + err
        if command[0] == "list":
            assert "tsvit" in out
            assert len([line for line in err.splitlines() if line.startswith("warning: skipped plugin 'mine': ")]) == 1


@pytest.mark.parametrize("place", ["import", "hook", "catalog", "factory", "members"])
def test_interrupt_is_no_broken_plugin(place, plugin, module_folder, capsys):
    interrupt = "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(5)"
    (module_folder / "my_odd_net.py").write_text(interrupt)
    command = {"factory": ["show", "mine"], "members": ["list", "mine/*"]}.get(place, ["list"])
    plugin(
        {
            "import": interrupt,
            "hook": f"@hookimpl\ndef cropzoo_backbones():\n    {interrupt}",
            "catalog": CATALOG.format(interrupt),
            "factory": HOOK.replace("my_odd_model:", "my_odd_net:"),
            "members": HOOK.replace(")]", ", member='size', members='my_odd_net:names')]"),
        }[place]
    )
    before = signal.getsignal(signal.SIGINT)
    assert main(command) == 130
    assert capsys.readouterr().err.endswith("error: interrupted; run the same command again\n")
    assert signal.getsignal(signal.SIGINT) is before


CATALOG = (
    "from pathlib import Path\nclass File(type(Path())):\n"
    "    def read_text(self, *a, **b):\n        {}\n"
    "@hookimpl\ndef cropzoo_catalogs():\n    return [File('mine.yaml')]\n"
)


@pytest.mark.parametrize(
    "body",
    ["raise SystemExit(3)", "raise BaseException('no')", "raise KeyboardInterrupt", "raise ValueError('\\ud800')"],
)
def test_catalog_that_fails_is_left_out(body, plugin, capsys):
    plugin(CATALOG.format(body))
    assert main(["list", "--json"]) == 0
    out, err = capsys.readouterr()
    assert "tsvit.pastis" in out
    assert "skipped the catalog of plugin 'mine'" in err


def test_texts_of_subclasses_are_plain_texts(plugin, capsys):
    plugin(
        "class Text(str):\n    def __str__(self): raise SystemExit\n    __repr__ = __format__ = __str__\n"
        "@hookimpl\ndef cropzoo_backbones():\n    return [backbone(Text('mine'), summary=Text('fine'))]\n"
    )
    assert main(["list", "mine"]) == 0
    assert "fine" in capsys.readouterr().out


@pytest.mark.parametrize("body", ["raise SystemExit(0)", "raise GeneratorExit", "raise KeyboardInterrupt"])
@pytest.mark.parametrize("place", ["import", "factory"])
def test_factory_that_ends_the_program_is_an_error(place, body, plugin, capsys, module_folder):
    plugin(HOOK.replace("my_odd_model:", "my_odd_net:"))
    inner = body if place == "import" else f"def Net(*, in_channels, classes, image_size, length):\n    {body}"
    (module_folder / "my_odd_net.py").write_text(inner)
    assert main(["show", "mine"]) == 1
    assert f"raised {body.split()[1].split('(')[0]}" in capsys.readouterr().err


NET = """
from cropzoo import Backbone


class Net(Backbone):
    def __init__(self, *, in_channels, classes, image_size, length):
        super().__init__()
        self.out_channels = 3

    def forward(self, series, dates, valid):
        {}
"""


@pytest.mark.parametrize(
    "body", ["raise SystemExit(0)", "raise KeyboardInterrupt", "raise type('Odd', (Exception,), {'__str__': None})"]
)
def test_network_that_cannot_be_counted_stays_in_the_table(body, plugin, capsys):
    plugin(HOOK + NET.replace("{}", body))
    assert main(["list", "--table", "mine", "--json"]) == 0
    assert "cannot be built; " in json.loads(capsys.readouterr().out)[0]["error"]


@pytest.mark.parametrize("command", [["list"], ["plugins"], ["show", "tsvit"]])
def test_whatever_prints_json_stays_json(command, tmp_path, write_plugin):
    file = write_plugin(tmp_path / "my_loud_model.py", NOISE + HOOK)
    program = [sys.executable, "-c", "import sys; from cropzoo_cli.main import main; sys.exit(main())"]
    done = subprocess.run(
        [*program, "-p", str(file), *command, "--json"], capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)
    for line in ("printed", "written", "by a process", "buffered by C", "to the original"):
        assert line in done.stderr.splitlines()


def test_closed_pipe_ends_quietly(tmp_path, write_plugin):
    file = write_plugin(tmp_path / "my_loud_model.py", HOOK)
    program = "import sys; from cropzoo_cli.main import main; sys.exit(main())"
    command = f'{sys.executable} -c "{program}" -p {file} list --json | head -c 1'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("{", "")


@pytest.mark.parametrize("command", ["list", "list --json"])
@pytest.mark.parametrize(
    ("redirection", "code", "says"),
    [
        ("> /dev/full", 1, "error: standard output cannot be written; No space left on device; redirect it to another"),
        (">&-", 0, ""),
        ("2>&- >/dev/null", 0, ""),
        ("2>&- >&-", 0, ""),
    ],
)
def test_streams_that_are_full_or_closed(redirection, code, says, command):
    program = "import sys; from cropzoo_cli.main import main; sys.exit(main())"
    line = f'{sys.executable} -c "{program}" {command} {redirection}'
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert done.stderr.startswith(says)


def test_control_characters_of_files_never_reach_the_terminal(tmp_path, capsys):
    name = tmp_path / "a\x1b[31m\r\u202e\x9bb\udcff.safetensors"
    for command in (["show", f"{name}/"], ["evaluate", str(name)], ["-p", "\x1b[2J.py", "list"], ["\x1b]0;title\x07"]):
        assert main(command) in (1, 2)
        out, err = capsys.readouterr()
        assert not {"\x1b", "\r", "\u202e", "\x9b", "\x07", "\udcff"} & set(out + err)
        assert "\\x1b" in err


def test_every_output_of_a_command_is_escaped():
    for file in Path(cropzoo_cli.__file__).parent.glob("*.py"):
        if file.name != "output.py":
            text = file.read_text(encoding="utf-8")
            assert "click.echo" not in text, f"{file.name}: use cropzoo_cli.output.echo"
            assert "click.secho" not in text, f"{file.name}: use cropzoo_cli.output.echo"
