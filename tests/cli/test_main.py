"""The frame of the command line: global options, lazy commands, exit codes, and no traceback for a user's mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from cropzoo import CropzooError, UsageError, __version__
from cropzoo_cli.lazy import LazyCommand
from cropzoo_cli.main import COMMANDS, cli, main
from cropzoo_cli.output import forward_messages
from cropzoo_cli.settings import Settings

HEAVY = {"torch", "lightning", "numpy", "matplotlib", "rasterio", "geopandas"}
HOOK = "@hookimpl\ndef cropzoo_backbones():\n    return [backbone({!r})]\n"


@pytest.fixture
def run_body(monkeypatch):
    """`run_body(function)` runs a command with that body through `main`; returns the exit code."""

    def run(body, *args):
        @click.command()
        @click.pass_obj
        def probe(settings):
            body(settings)

        monkeypatch.setattr(sys.modules[__name__], "probe", probe, raising=False)
        monkeypatch.setattr(cli, "lazy", {"probe": LazyCommand(f"{__name__}:probe", "A probe.")})
        monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
        return main([*args, "probe"])

    return run


def modules_after(*args: str) -> set[str]:
    """The top-level modules that `cropzoo ARGS` has imported as it ends."""
    code = (
        "import sys\nfrom cropzoo_cli.main import main\ncode = main(sys.argv[1:])\n"
        "print('modules:', *{name.partition('.')[0] for name in sys.modules})\n"
        "print('commands:', *[name for name in sys.modules if name.startswith('cropzoo_cli.')])\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=True)
    return set(done.stdout.partition("modules: ")[2].split())


@pytest.mark.parametrize("args", [["--help"], ["list"], ["list", "--json"], ["plugins"]], ids=" ".join)
def test_quick_commands_import_nothing_heavy(args):
    loaded = modules_after(*args)
    assert "cropzoo_cli" in loaded
    assert loaded & HEAVY == set()


def test_help_shows_every_command_and_imports_none():
    loaded = modules_after("--help")
    assert "cropzoo_cli.lazy" in loaded
    assert not loaded & {command.target.partition(":")[0] for command in COMMANDS.values()}


def test_help_has_a_line_for_every_command(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert f"  {name} " in shown
        assert command.help in " ".join(shown.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_under_its_name(name, capsys):
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage: cropzoo {name} ")
    assert "\\b" not in shown  # click's mark for lines to keep, in a raw docstring


def test_without_a_command_help_comes_on_stderr(capsys):
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Usage: cropzoo ")


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"cropzoo {__version__}\n"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["trian"], "error: unknown command 'trian'; did you mean 'train'?"),
        (["xyz"], "error: unknown command 'xyz'; known: assess, calibrate, compare,"),
        (["--ofline", "list"], "'--offline'"),
        (["list", "--jsn"], "'--json'"),
        (["list", "a", "b"], "\nsee `cropzoo list --help` for all options\n"),
        (["--catalog", "nowhere.yaml", "list"], "'nowhere.yaml' does not exist"),
    ],
)
def test_wrong_use_is_a_line_and_exit_code_2(args, says, capsys):
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert says in err


@pytest.mark.parametrize(("error", "code"), [(CropzooError, 1), (UsageError, 2)])
def test_our_errors_are_a_line(error, code, run_body, capsys):
    def body(settings):
        raise error("asked; wrong; do this")

    assert run_body(body) == code
    assert capsys.readouterr() == ("", "error: asked; wrong; do this\n")


def test_any_other_error_keeps_its_traceback(run_body):
    def body(settings):
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        run_body(body)


def test_lack_of_memory_at_an_import_is_a_line(run_body, capsys):
    def body(settings):
        raise ImportError("libtorch_cuda.so: failed to map segment from shared object")

    assert run_body(body) == 1
    assert capsys.readouterr().err.startswith("error: memory ran out (libtorch_cuda.so: failed to map segment")


def test_interrupt_is_a_line_and_exit_code_130(run_body, capsys):
    def body(settings):
        raise KeyboardInterrupt

    assert run_body(body) == 130
    assert capsys.readouterr().err.strip() == "error: interrupted; run the same command again"


def test_reader_that_leaves_early_is_no_error():
    command = [sys.executable, "-c", "from cropzoo_cli.main import main; raise SystemExit(main(['list']))"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    process.wait()
    assert error == b""


def test_global_options_reach_the_command(run_body, tmp_path):
    seen = []
    catalog = tmp_path / "mine.yaml"
    catalog.write_text("version: 1\nentries: {}\n")
    assert run_body(seen.append, "-p", "a.py", "--plugin", "b", "--catalog", str(catalog), "--offline") == 0
    assert seen == [Settings(("a.py", "b"), (catalog,), True)]


def test_environment_comes_before_the_options(run_body, monkeypatch):
    seen = []
    monkeypatch.setenv("CROPZOO_PLUGINS", "one, two.py,,three")
    monkeypatch.setenv("CROPZOO_OFFLINE", "1")
    assert run_body(seen.append, "-p", "three", "-p", "four") == 0
    assert seen == [Settings(("one", "two.py", "three", "four"), (), True)]


def test_zoo_is_loaded_once_and_each_broken_plugin_warned_about_once(run_body, capsys, install):
    def body(settings):
        assert settings.zoo is settings.zoo
        assert "tsvit" in settings.zoo.backbones

    install("broken-plugin", entry_points="[cropzoo]\nmine = no_such_module\n")
    assert run_body(body) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("warning: skipped plugin 'mine': ModuleNotFoundError")


@pytest.mark.parametrize("variable", [False, True])
@pytest.mark.parametrize("name", ["nofile.py", "folder/nofile.py", "no_such_module", "."])
@pytest.mark.parametrize("command", [["list"], ["list", "--json"], ["show", "tsvit"], ["plugins"]])
def test_requested_plugin_that_cannot_be_loaded_is_an_error(variable, name, command, capsys, monkeypatch):
    if variable:
        monkeypatch.setenv("CROPZOO_PLUGINS", name)
    assert main([*([] if variable else ["-p", name]), *command]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: plugin {name!r} cannot be loaded; ")
    assert len(err.splitlines()) == 1


def test_broken_plugin_does_not_touch_help(tmp_path, capsys):
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0")
    assert main(["-p", str(broken), "--help"]) == 0
    assert main(["-p", str(broken), "list", "--help"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("variable", [False, True])
def test_plugin_file_works_through_the_installed_command(variable, tmp_path, write_plugin):
    path = write_plugin(tmp_path / "my_tried_model.py", HOOK.format("tried"))
    command = [str(Path(sys.executable).with_name("cropzoo"))]
    environment = {**os.environ, "CROPZOO_PLUGINS": str(path)} if variable else dict(os.environ)
    options = [] if variable else ["-p", str(path)]
    done = subprocess.run(
        [*command, *options, "list", "tried", "--json"], env=environment, capture_output=True, text=True, check=True
    )
    [record] = json.loads(done.stdout)["backbones"]
    assert (record["name"], record["owner"]) == ("tried", str(path))


def test_plugin_that_prints_does_not_spoil_json(tmp_path, module_folder, write_plugin, capsys):
    path = write_plugin(tmp_path / "my_chatty_model.py", "print('hello')\n" + HOOK.format("chatty"))
    assert main(["-p", str(path), "list", "--json"]) == 0
    out, err = capsys.readouterr()
    assert "chatty" in str(json.loads(out)["backbones"])
    assert err == "hello\n"


def test_completion_offers_commands_and_options():
    context = cli.make_context("cropzoo", [], resilient_parsing=True)
    assert [item.value for item in cli.shell_complete(context, "imp")] == ["import-weights"]
    assert "--offline" in [item.value for item in cli.shell_complete(context, "--")]


def test_offline_reaches_the_libraries_that_plugins_use_and_is_taken_back(monkeypatch, write_plugin, tmp_path, capsys):
    monkeypatch.delenv("CROPZOO_OFFLINE", raising=False)
    plugin = write_plugin(
        tmp_path / "loaded.py",
        'import os, sys\nprint(os.environ["CROPZOO_OFFLINE"], file=sys.stderr)\n' + HOOK.format("loaded"),
    )
    assert main(["-p", str(plugin), "--offline", "plugins"]) == 0
    assert capsys.readouterr().err.startswith("1\n")
    assert "CROPZOO_OFFLINE" not in os.environ


def test_a_process_of_several_leaves_their_group_when_it_is_done(run_body, monkeypatch):
    """Threads of the group that outlive Python's end abort the process, now and then."""
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")

    def body(settings):
        from torch import distributed

        distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
        assert distributed.is_initialized()

    assert run_body(body) == 0
    from torch import distributed

    assert not distributed.is_initialized()
    assert run_body(lambda settings: None) == 0  # a process that never met the others


@pytest.mark.parametrize("form", ["{flag} {path}", "{flag}={path}"])
def test_a_renamed_flag_works_with_a_warning(form, tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    path.write_text("version: 1\nentries: {tsvit.mine: {summary: Mine., source: Me.}}\n")
    assert main([*form.format(flag="--catalogue", path=path).split(" "), "list", "tsvit.mine"]) == 0
    printed = capsys.readouterr()
    assert "warning: --catalogue is deprecated; use --catalog" in printed.err
    assert "tsvit.mine" in printed.out
    assert main(["--catalog", str(path), "list", "tsvit.mine"]) == 0
    assert "warning" not in capsys.readouterr().err


@pytest.mark.parametrize("args", [("train", "--out", "a\udcff"), ("show", "\udce9.safetensors")])
def test_paths_that_are_not_utf8_are_refused_at_once(args, capsys):
    assert main(args) == 2
    assert "it is not valid UTF-8" in capsys.readouterr().err


def test_a_path_that_is_too_long(capsys):
    assert main(["show", "a" * 5000 + ".safetensors"]) in (1, 2)
    assert capsys.readouterr().err.startswith("error: ")


def test_only_failed_log_calls_of_rasterio_are_ignored(monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "__unraisablehook__", seen.append)
    before = sys.unraisablehook
    with forward_messages():
        for source in ("rasterio._env.log_error", "another.module"):
            sys.unraisablehook(SimpleNamespace(object=source))
    assert [each.object for each in seen] == ["another.module"]
    assert sys.unraisablehook is before


def test_a_message_of_gdal_that_is_no_text_is_no_traceback(run_body, tmp_path, monkeypatch):
    """Rasterio prints a traceback for a message that is not UTF-8, here about the metadata of a JPEG 2000 file."""
    import numpy as np
    import rasterio

    path = tmp_path / "image.jp2"
    profile = {"driver": "JP2OpenJPEG", "width": 64, "height": 64, "count": 1, "dtype": "uint16", "GeoJP2": "NO"}
    transform = rasterio.Affine(10, 0, 500_000, 0, -10, 5_600_000)
    with rasterio.open(path, "w", **profile, crs="EPSG:32631", transform=transform) as target:
        target.write(np.ones((1, 64, 64), np.uint16))
    content = path.read_bytes()
    assert b"</gml:boundedBy>" in content
    path.write_bytes(content.replace(b"</gml:boundedBy>", b"</gml:boundedBy\xbe", 1))

    def read(settings):
        with rasterio.open(path) as source:
            assert source.width == 64

    reported = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: reported.append(unraisable.exc_type))
    read(None)
    assert UnicodeDecodeError in reported
    reported.clear()
    assert run_body(read) == 0
    assert reported == []
