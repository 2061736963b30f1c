"""The pages for users name options, datasets and settings that exist."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from cropzoo import load_zoo
from cropzoo.plugins.options import known_options
from cropzoo.plugins.registry import load_target
from cropzoo_cli.main import COMMANDS, cli

REPOSITORY = Path(__file__).parents[2]
PAGES = ("README.md", "docs/data.md", "docs/map.md", "docs/experiments.md")


def commands(page: str) -> list[str]:
    """Every command line of a page that starts with cropzoo."""
    text = (REPOSITORY / page).read_text()
    return [line.split("#")[0].strip() for line in re.findall(r"^    (cropzoo .*)$", text, re.M)]


def options_of(command: str) -> set[str]:
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    return {name for parameter in found.params for name in parameter.opts}


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_their_options_exist(page):
    lines = commands(page)
    assert lines
    for line in lines:
        words = line.split()
        assert words[1] in COMMANDS, line
        unknown = {word for word in words if word.startswith("--")} - options_of(words[1])
        assert not unknown, line


@pytest.mark.parametrize("page", PAGES)
def test_options_in_the_text_exist(page):
    text = (REPOSITORY / page).read_text()
    known = {name for command in COMMANDS for name in options_of(command)} | {
        name for parameter in cli.params for name in parameter.opts
    }
    named = set(re.findall(r"`[^`]*?(--[a-z][a-z-]+)", text))
    assert named - known - {"--nproc-per-node", "--help", "--index-url"} == set()


def test_settings_of_datasets_exist():
    zoo, text = load_zoo(), (REPOSITORY / "docs/data.md").read_text()
    rows = re.findall(r"^\| `([a-z0-9]+)` \| .*? \| (.*) \|$", text, re.M)
    assert {name for name, _ in rows} == set(zoo.datasets)
    for name, command in rows:
        known = known_options(load_target(zoo.datasets[name].spec.build, name))
        asked = set(re.findall(r"dataset\.([a-z_]+)=", command))
        assert asked <= set(known), name
