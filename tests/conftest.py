"""Fixtures for the whole suite: plugins made on the spot with fake entry points, and a server that records requests."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import EntryPoint
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HEADER = """
from cropzoo import BackboneSpec, DatasetSpec, ObjectiveSpec, hookimpl


def backbone(name, build="nowhere:nothing", **fields):
    common = {"summary": "a test", "source": "a test", "license": "MIT", "dates": "doy"}
    return BackboneSpec(name=name, build=build, **{**common, **fields})


def dataset(name, build="nowhere:nothing", **fields):
    return DatasetSpec(name=name, build=build, **{"summary": "a test", "source": "a test", "license": "MIT", **fields})

"""
"""What every made plugin starts with, so that tests show only what they are about."""


DATA = Path(__file__).parent / "data"


def pytest_configure() -> None:
    """Handle signals as in a terminal: nohup and background jobs ignore some, which their processes inherit."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def load(name: str) -> ModuleType:
    """The module tests/data/NAME.py, imported once."""
    key = "data_" + name.replace("/", "_")
    if key not in sys.modules:
        spec = spec_from_file_location(key, DATA / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[key] = module_from_spec(spec)  # a dataclass looks its module up while it is made
        spec.loader.exec_module(sys.modules[key])
    return sys.modules[key]


@pytest.fixture(scope="session")
def generator() -> Callable[[str], ModuleType]:
    """`generator(name)` is the module tests/data/NAME/make.py, which writes tiny files in a real layout."""
    return lambda name: load(f"{name}/make")


@pytest.fixture(scope="session")
def dataset_options(generator: Callable[[str], ModuleType]) -> Callable[[str, Path], dict[str, Any]]:
    """`dataset_options(name, folder)` puts tiny files of a dataset there; returns the options that open them."""
    options = load("options").OPTIONS
    return lambda name, folder: options[name](folder, generator) if name in options else {}


@pytest.fixture
def module_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder on the path; what was imported from it is forgotten afterwards."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def write_plugin() -> Callable[[Path, str], Path]:
    """`write_plugin(path, body)` writes a plugin's file, helpers first; returns the path."""

    def write(path: Path, body: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEADER + body)
        return path

    return write


@pytest.fixture
def make_plugin(module_folder: Path, write_plugin: Callable[[Path, str], Path]) -> Callable[[str, str], EntryPoint]:
    """`make_plugin(name, body)` writes a module; returns the entry point that offers it."""

    def make(name: str, body: str) -> EntryPoint:
        module = f"made_{name.replace('-', '_')}"
        write_plugin(module_folder / f"{module}.py", body)
        return EntryPoint(name=name, value=module, group="cropzoo")

    return make


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """`install(name, entry_points=, metadata=)` puts a distribution first on the path; returns its folder."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def put(name: str, entry_points: str | bytes, metadata: str | bytes | None = "") -> Path:
        folder = site / f"{name.replace('-', '_')}-9.0.dist-info"
        folder.mkdir()
        given = f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.0\n" if metadata == "" else metadata
        for file, content in (("entry_points.txt", entry_points), ("METADATA", given)):
            if content is not None:
                (folder / file).write_bytes(content.encode() if isinstance(content, str) else content)
        return folder

    return put


@pytest.fixture
def good_plugin(make_plugin: Callable[[str, str], EntryPoint]) -> EntryPoint:
    """A plugin that offers backbone `good`."""
    return make_plugin("good-plugin", '@hookimpl\ndef cropzoo_backbones():\n    return [backbone("good")]\n')


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A local server with the routes of the Hugging Face Hub; `hub.settings` is the environment that uses it."""
    with load("hub_server").serve() as served:
        served.settings = {
            "HF_ENDPOINT": served.url,
            "HF_HOME": str(tmp_path_factory.mktemp("huggingface")),
            "HF_HUB_DISABLE_XET": "1",
            "HF_TOKEN": "hf_test",
        }
        yield served


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, list[str]]]:
    """Address of a server on this machine, and the paths that were requested."""
    requested: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            requested.append(self.path)
            self.send_error(404)

        do_GET = do_HEAD = do_POST = answer  # noqa: N815 - names of the protocol

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_proxy", "127.0.0.1")  # GDAL_HTTP_PROXY does not apply to it
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}", requested
        running.shutdown()
