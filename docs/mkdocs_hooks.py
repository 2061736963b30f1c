"""Pages that MkDocs makes during the build: the command line from click, the Python API from docstrings, notebooks.

mkdocs.yml names a generated section in its navigation by a folder, such as `reference/cli/`.
"""

from __future__ import annotations

import html
import inspect
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import cropzoo
import cropzoo.testing
from cropzoo_cli.main import COMMANDS, cli

log = logging.getLogger("mkdocs.hooks")
DOCS = Path(__file__).parent
REPOSITORY = DOCS.parent
ROOT_PAGES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md"}
"""Files of the repository's root that are pages of the site, too."""

API = "reference/api/"
CLI = "reference/cli/"
TESTING = "testing"
OTHER_LIBRARIES = """
## Coming from timm or torchgeo

| there | here |
|---|---|
| `timm.list_models("*resnet*", pretrained=True)` | `cropzoo.list_models("*resnet*", pretrained=True)` |
| `timm.create_model(name, in_chans=10, num_classes=19)` | `cropzoo.create_model(name, in_channels=10, classes=19)` |
| `features_only=True`: a list of maps | `features_only=True`: one map of features (B, D, H, W) at full resolution |
| `timm.create_model(name, checkpoint_path=path)` | `cropzoo.load_model(path)` |
| `torchgeo.datasets.PASTIS(root)` | `cropzoo.load_dataset("pastis", root=root).split("train")` |
| a loss of segmentation_models_pytorch | `cropzoo.create_objective("segmentation", model.backbone, classes=19)` |
"""
"""What users of other libraries look for, in the index of the API reference."""

KINDS = ("Functions", "Classes", "Exceptions", "Constants")
"""Sections of the API reference."""

FENCE = re.compile(r'```(\w+( title="[^"]*")?)?')
"""The first or last line of a block of code."""

Pages = dict[str, str]
"""Text by path below docs/."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, and list them where the navigation names their folder."""
    sections = {CLI: cli_pages(), API: api_pages()}
    for path, text in (sections[CLI] | sections[API] | root_pages() | notebook_pages()).items():
        files.append(File.generated(config, path, content=text))
    config.nav = [_expand(item, sections) for item in config.nav or []]
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Report a code fence with options that Markdown does not know; it would silently show the block as text."""
    for line in markdown.splitlines():
        if line.lstrip().startswith("```") and not FENCE.fullmatch(line.strip()):
            log.warning("Doc file '%s' has a code fence with unknown options: %s", page.file.src_uri, line)
    return markdown


def _expand(item: Any, sections: dict[str, Pages]) -> Any:
    """An entry of the navigation, with the pages of a section in place of its folder."""
    if isinstance(item, dict):
        return {title: _expand(value, sections) for title, value in item.items()}
    if isinstance(item, list):
        return [_expand(each, sections) for each in item]
    return [_titled(path) for path in sections.get(item, ())] or item


def _titled(path: str) -> str | dict[str, str]:
    """A generated page under its file's name; the first page of a folder takes the folder's title."""
    name = Path(path).stem
    return path if name == "index" else {name: path}


def root_pages() -> Pages:
    """Files of the repository's root, with links that hold in docs/."""
    pages = {}
    for name, path in ROOT_PAGES.items():
        text = (REPOSITORY / name).read_text(encoding="utf-8").replace("](docs/", "](")
        for other, target in ROOT_PAGES.items():
            text = text.replace(f"]({other})", f"]({target})")
        pages[path] = text.replace("](LICENSE)", "](https://www.apache.org/licenses/LICENSE-2.0)")
    return pages


def notebook_pages() -> Pages:
    """A page next to each notebook below docs/."""
    return {
        path.relative_to(DOCS).with_suffix(".md").as_posix(): notebook_text(
            json.loads(path.read_text(encoding="utf-8"))
        )
        for path in sorted(DOCS.rglob("*.ipynb"))
    }


def notebook_text(notebook: dict[str, Any]) -> str:
    """The cells of a notebook as Markdown, with the text that they print."""
    parts = []
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
        for output in cell.get("outputs", ()):
            printed = "".join(output.get("text", output.get("data", {}).get("text/plain", ())))
            parts += [f"```text\n{printed.rstrip()}\n```"] if printed else []
    return "\n\n".join(parts) + "\n"


def cli_pages() -> Pages:
    """A page for `cropzoo` itself and one for each command."""
    parent = click.Context(cli, info_name="cropzoo", **cli.context_settings)
    rows = [f"| [`{name}`]({name}.md) | {_prose(command.help)} |" for name, command in COMMANDS.items()]
    table = _table("command", rows)
    pages = {f"{CLI}index.md": "\n".join([*_command_page(cli, parent, "Command line"), "## Commands", "", *table])}
    for name in COMMANDS:
        command = cli.get_command(parent, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=parent)
        pages[f"{CLI}{name}.md"] = "\n".join(_command_page(command, context, f"cropzoo {name}"))
    return pages


def _command_page(command: click.Command, context: click.Context, title: str) -> Iterator[str]:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield from (f"# {title}", "", "```text", usage, "```", "")
    yield from _description(command.help or "")
    yield from ("## Options", "")
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record:  # None for arguments, which the description explains, and for hidden options
            yield from (f"`{record[0]}`", f":   {_prose(record[1])}", "")


def _table(first: str, rows: list[str]) -> list[str]:
    return [f"| {first} | description |", "|---|---|", *rows, ""]


def _description(text: str) -> Iterator[str]:
    """A command's help; paragraphs that click keeps as they are, marked by a backspace, are commands."""
    for paragraph in inspect.cleandoc(text).split("\f")[0].split("\n\n"):
        if paragraph.startswith("\b"):
            yield from ("```text", *paragraph.splitlines()[1:], "```", "")
        else:
            yield from (_prose(paragraph), "")


def _prose(text: str) -> str:
    """Text of a help message as Markdown; only code in backticks keeps its meaning."""
    parts = re.split(r"(`[^`]+`)", " ".join(text.split()))
    return "".join(part if part.startswith("`") else _escape(part) for part in parts)


def _escape(text: str) -> str:
    return re.sub(r"([\\*_\[\]|#])", r"\\\1", html.escape(text, quote=False))


def api_pages() -> Pages:
    """A page for each public name of cropzoo, one for cropzoo.testing, and an index of them."""
    values = {name: getattr(cropzoo, name) for name in cropzoo.__all__}
    kinds = {kind: [name for name in sorted(values) if _kind(values[name]) == kind] for kind in KINDS}
    lines = [
        "# Python API",
        "",
        "The public names of `cropzoo`; [Stability](../../stability.md) says how they may change.",
        "",
    ]
    for kind, names in kinds.items():
        rows = [f"| [`{name}`]({name}.md) | {_summary(values[name])} |" for name in names]
        lines += [f"## {kind}", "", *_table("name", rows)]
    rows = [f"| [`cropzoo.testing`]({TESTING}.md) | {_summary(cropzoo.testing)} |"]
    pages = {f"{API}index.md": "\n".join([*lines, "## Modules", "", *_table("name", rows), OTHER_LIBRARIES])}
    for name in (name for names in kinds.values() for name in names):
        pages[f"{API}{name}.md"] = _reference(f"cropzoo.{name}", 1)
    members = [_reference(f"cropzoo.testing.{name}", 2) for name in cropzoo.testing.__all__]
    pages[f"{API}{TESTING}.md"] = "\n".join(["# cropzoo.testing", "", _summary(cropzoo.testing), "", *members])
    return pages


def _kind(value: Any) -> str:
    if not inspect.isclass(value):
        return "Functions" if inspect.isfunction(value) else "Constants"
    return "Exceptions" if issubclass(value, BaseException) else "Classes"


def _reference(name: str, level: int) -> str:
    """The directive of mkdocstrings for a name, whose heading has this level."""
    return f"::: {name}\n    options:\n      heading_level: {level}\n"


def _summary(value: Any) -> str:
    """The first line of a docstring; for a constant its type, since its docstring would be that of the type."""
    if not (inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value)):
        return f"`{type(value).__name__}`"
    return _prose((inspect.getdoc(value) or "").partition("\n")[0])
