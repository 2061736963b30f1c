"""The pages that MkDocs generates: every command with its options, every public name, and the navigation."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from types import ModuleType

import click
import pytest

import cropzoo
import cropzoo.testing
from cropzoo_cli.main import COMMANDS, cli

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    pytest.importorskip("mkdocs")
    monkeypatch.syspath_prepend(REPOSITORY / "docs")
    return import_module("mkdocs_hooks")


def test_every_command_has_a_page_with_every_option_that_is_not_hidden(hooks: ModuleType) -> None:
    pages = hooks.cli_pages()
    assert list(pages) == ["reference/cli/index.md", *(f"reference/cli/{name}.md" for name in COMMANDS)]
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        options = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
        terms = re.findall(r"^`(-.*)`$", pages[f"reference/cli/{name}.md"], re.M)
        assert len(terms) == len(options) + 1  # and --help
        for option, term in zip(options, terms, strict=False):
            assert all(re.search(rf"(^|[ /]){flag}($|[ ,])", term) for flag in option.opts), term


def test_every_public_name_has_a_page(hooks: ModuleType) -> None:
    pages = hooks.api_pages()
    assert {f"reference/api/{name}.md" for name in (*cropzoo.__all__, "index", "testing")} == set(pages)
    assert all(f"[`{name}`]({name}.md)" in pages["reference/api/index.md"] for name in cropzoo.__all__)
    assert all(f"::: cropzoo.testing.{name}\n" in pages["reference/api/testing.md"] for name in cropzoo.testing.__all__)


def test_help_texts_are_plain_text_outside_of_code(hooks: ModuleType) -> None:
    assert hooks._prose("A [b] of `x_*` <c>,\n*_d_|#") == r"A \[b\] of `x_*` &lt;c&gt;, \*\_d\_\|\#"


def test_a_folder_in_the_navigation_stands_for_its_generated_pages(hooks: ModuleType) -> None:
    sections = {"cli/": {"cli/index.md": "", "cli/train.md": ""}}
    nav = [{"Home": "index.md"}, {"Reference": [{"Command line": "cli/"}, "glossary.md"]}]
    assert [hooks._expand(item, sections) for item in nav] == [
        {"Home": "index.md"},
        {"Reference": [{"Command line": ["cli/index.md", {"train": "cli/train.md"}]}, "glossary.md"]},
    ]


def test_links_of_root_pages_hold_on_the_site(hooks: ModuleType) -> None:
    for text in hooks.root_pages().values():
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (REPOSITORY / "docs" / target).is_file() or target in hooks.ROOT_PAGES.values(), target


def test_a_notebook_becomes_a_page(hooks: ModuleType) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "Text."]},
        {"cell_type": "code", "source": ["print(1)"], "outputs": [{"output_type": "stream", "text": ["1\n"]}]},
        {"cell_type": "code", "source": ["2"], "outputs": [{"data": {"text/plain": ["2"], "text/html": ["<b>2</b>"]}}]},
        {"cell_type": "code", "source": ["x = 3"], "outputs": []},
    ]
    assert hooks.notebook_text({"cells": cells}) == (
        "# Title\nText.\n\n```python\nprint(1)\n```\n\n```text\n1\n```\n\n"
        "```python\n2\n```\n\n```text\n2\n```\n\n```python\nx = 3\n```\n"
    )


@pytest.mark.parametrize("name", ["index.md", "installation.md"])
def test_commands_and_their_options_exist(name: str) -> None:
    lines = re.findall(r"^    cropzoo (.*)$", (REPOSITORY / "docs" / name).read_text(encoding="utf-8"), re.M)
    assert lines
    for line in lines:
        words = line.split()
        command = cli if words[0].startswith("-") else cli.get_command(click.Context(cli), words[0])
        assert command is not None, line
        assert {word for word in words if word.startswith("--")} <= {
            name for each in command.params for name in each.opts
        }
