"""Pages: what their content security policy allows."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import pytest

import cropzoo
from cropzoo.reports.render import make_environment, security_policy

PAGES = sorted(Path(cropzoo.__file__).parent.rglob("*.html.j2"))
SCRIPTS = {"quicklook.html.j2": "quicklook.js", "map.html.j2": "map.js"}


def package_of(page: Path) -> str:
    return ".".join(page.parent.parent.relative_to(Path(cropzoo.__file__).parents[1]).parts)


def test_every_page_has_a_policy_and_no_script_that_it_would_block() -> None:
    pages = [page for page in PAGES if "<!doctype" in page.read_text()]
    assert {page.name for page in pages} == {
        "assessment.html.j2",
        "interpretation.html.j2",
        "interpretation_index.html.j2",
        "report.html.j2",
        "study.html.j2",
        *SCRIPTS,
    }
    for page in pages:
        source = page.read_text()
        name = SCRIPTS.get(page.name)
        call = f'("{name}")' if name else "()"
        assert source.count(f"security_policy{call}") == 1
        assert source.count(f"script{call}") == (1 if name else 0)
        assert "<script>" not in source
        assert not re.search(r"\son\w+=|javascript:", source)


@pytest.mark.parametrize("page", [page for page in PAGES if page.name in SCRIPTS], ids=lambda page: page.name)
def test_the_policy_allows_the_script_of_the_page_alone(page: Path) -> None:
    made = make_environment(package_of(page))
    name = SCRIPTS[page.name]
    policy, script = (
        made.from_string(f'{{{{ {call}("{name}") }}}}').render() for call in ("security_policy", "script")
    )
    content = re.fullmatch(r"<script>(.*)</script>", script, re.DOTALL)
    assert content is not None
    digest = base64.b64encode(hashlib.sha256(content[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'\"" in policy
    assert "</script" not in content[1]
    assert "default-src 'none'" in policy
    assert policy.count("unsafe-inline") == 1, "for styles, not for scripts"


def test_a_page_without_a_script_runs_none() -> None:
    assert "script-src" not in security_policy()
    assert "default-src 'none'" in security_policy()
