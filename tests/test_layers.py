"""Imports point down the table of layers in docs/architecture.md; read from the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
ROOTS = {"cropzoo": "zoo", "cropzoo_plugins": "plugins", "cropzoo_cli": "cli"}
ALLOWED = {
    "cropzoo": {"cropzoo"},
    "cropzoo_plugins": {"cropzoo_plugins", "cropzoo"},
    "cropzoo_cli": {"cropzoo_cli", "cropzoo"},
}
FOR_PLUGINS = {"data", "geo", "models", "plugins", "errors", "io", "parallel", "runtime"}
"""Packages of the library that plugins may import; the names that `cropzoo` itself exports come on top."""

HEAVY = {"torch", "lightning", "torchmetrics", "torchgeo", "timm", "rasterio", "geopandas", "matplotlib", "sklearn"}
LIGHT = {  # what --help, list and plugins may load; numpy is left out too, it costs more than all of these
    "cropzoo",
    "cropzoo.plugins.registry",
    "cropzoo.config.catalog",
    "cropzoo_cli.main",
    "cropzoo_cli.listing",
    "cropzoo_cli.dataset_table",
    "cropzoo_cli.plugins",
    "cropzoo_plugins.backbones",
    "cropzoo_plugins.datasets",
    "cropzoo_plugins.objectives",
}
FILES = {package: sorted((REPOSITORY / root / package).rglob("*.py")) for package, root in ROOTS.items()}


def imports(tree: ast.AST, package: str = "", top_only: bool = False) -> Iterator[tuple[str, str]]:
    """Each (module, name) that a module imports; name is empty for `import module`.

    Args:
        package: that the module is in, for relative imports.
        top_only: leave out what is imported inside functions, or for type checkers alone.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((module, alias.name) for alias in node.names)
        elif not top_only or not (_is_function(node) or _is_for_type_checkers(node)):
            yield from imports(node, package, top_only)


def _is_function(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def _is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def module_of(path: Path, package: str) -> str:
    """The dotted name of a file."""
    parts = path.relative_to(REPOSITORY / ROOTS[package]).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package_of(path: Path, package: str) -> str:
    """The dotted name of the package that relative imports in a file start from."""
    return ".".join(path.relative_to(REPOSITORY / ROOTS[package]).parent.parts)


def all_imports(package: str, top_only: bool = False) -> Iterator[tuple[Path, str, str]]:
    """Each (file, module, name) that a package imports."""
    for path in FILES[package]:
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        for module, name in imports(tree, package_of(path, package), top_only):
            yield path, module, name


def read_rows() -> list[list[str]]:
    """The packages of each row of the table in docs/architecture.md, from the top row down."""
    page = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.partition("## Layers of the library")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d\w?) \| ([^|]+) \|", table, re.MULTILINE)
    return [re.findall(r"`(\w+)`", packages) for _, packages in rows]


ROWS = read_rows()
BELOW = {package: {each for row in ROWS[n + 1 :] for each in row} for n, row in enumerate(ROWS) for package in row}
BELOW |= {module: set(ROWS[-1][:place]) for place, module in enumerate(ROWS[-1])}


def wrong_imports(found: Iterator[tuple[str, str, str]]) -> list[str]:
    """The (importing module, imported module, name) of the library that the table forbids, as messages."""
    wrong = []
    for importer, module, name in found:
        source, *target = importer.split(".")[1:2], *module.split(".")[1:2]
        if module.partition(".")[0] != "cropzoo" or not source:
            continue
        package = target[0] if target else name  # `from cropzoo import data` imports the package
        if package not in {*source, "__version__"} and package not in BELOW[source[0]]:
            wrong.append(f"{importer} imports {module} {name}".rstrip())
    return wrong


def test_the_table_names_every_package_of_the_library():
    names = {path.stem for path in (REPOSITORY / "zoo" / "cropzoo").iterdir() if path.suffix in ("", ".py")}
    assert names - {"__init__", "__pycache__"} == set(BELOW)


def test_imports_of_the_library_point_down_the_table():
    assert wrong_imports((module_of(path, "cropzoo"), *rest) for path, *rest in all_imports("cropzoo")) == []


@pytest.mark.parametrize(
    ("importer", "module", "name", "allowed"),
    [
        ("cropzoo.data.patches", "cropzoo.geo.raster.grid", "Window", True),
        ("cropzoo.data.patches", "cropzoo.data.dates", "encode_dates", True),
        ("cropzoo.runtime", "cropzoo.errors", "UsageError", True),
        ("cropzoo.reports.run_page", "cropzoo", "__version__", True),
        ("cropzoo.data.patches", "cropzoo.models.base", "Backbone", False),
        ("cropzoo.evaluation.evaluate", "cropzoo.inference.predictor", "Predictor", False),
        ("cropzoo.config.recipe", "cropzoo.geo.raster.grid", "Window", False),
        ("cropzoo.errors", "cropzoo.io", "write_text", False),
        ("cropzoo.data.patches", "cropzoo", "Model", False),
        ("cropzoo.data.patches", "cropzoo", "training", False),
    ],
)
def test_what_the_table_allows(importer, module, name, allowed):
    assert (wrong_imports(iter([(importer, module, name)])) == []) is allowed


@pytest.mark.parametrize("package", ROOTS)
def test_packages_import_no_other_than_those_below_them(package):
    assert len(FILES[package]) > 3
    wrong = [
        f"{path.relative_to(REPOSITORY)} imports {module}"
        for path, module, _ in all_imports(package)
        if module.partition(".")[0] in ROOTS.keys() - ALLOWED[package]
    ]
    assert wrong == []


def test_plugins_import_no_upper_layer():
    wrong = [
        f"{path.relative_to(REPOSITORY)} imports {module}"
        for path, module, _ in all_imports("cropzoo_plugins")
        if module.startswith("cropzoo.") and module.split(".")[1] not in FOR_PLUGINS
    ]
    assert wrong == []


@pytest.mark.parametrize("package", ["cropzoo_plugins", "cropzoo_cli"])
def test_only_public_names_of_the_library_are_used(package):
    private = [
        f"{path.relative_to(REPOSITORY)} imports {module} {name}"
        for path, module, name in all_imports(package)
        if module.partition(".")[0] == "cropzoo"
        if any(part.startswith("_") and part != "__version__" for part in (*module.split("."), name))
    ]
    assert private == []


def test_quick_commands_reach_nothing_heavy():
    """Following imports at the top of modules from the quick entrances leads to no heavy package."""
    graph: dict[str, set[str]] = {}
    for package in ROOTS:
        for path, module, name in all_imports(package, top_only=True):
            graph.setdefault(module_of(path, package), set()).update({module, f"{module}.{name}"})
    reached: set[str] = set()
    waiting = set(LIGHT)
    while waiting:
        name = waiting.pop()
        reached.add(name)
        parents = {name.rpartition(".")[0]} - {""}
        waiting |= (graph.get(name, set()) | parents) - reached
    assert {"cropzoo.plugins.registry", "cropzoo_cli.settings", "click"} <= reached
    assert {name.partition(".")[0] for name in reached} & (HEAVY | {"numpy"}) == set()


def test_built_in_hooks_hold_strings_only():
    for kind in ("backbones", "datasets", "objectives"):
        path = REPOSITORY / "plugins" / "cropzoo_plugins" / kind / "__init__.py"
        found = {module for module, _ in imports(ast.parse(path.read_text(encoding="utf-8")))}
        specs = {f"cropzoo_plugins.{kind}.{part}_specs" for part in ("published", "pretrained", "general")}
        assert found <= {"__future__", "collections.abc", "cropzoo"} | specs


def test_the_reader_sees_every_form_of_import():
    source = (
        "import a.b\nfrom c import d\nfrom . import e\nfrom ..f import g\n"
        "def late():\n    import h\nif TYPE_CHECKING:\n    import i\nclass K:\n    import l\n"
    )
    seen = [("a.b", ""), ("c", "d"), ("p.q", "e"), ("p.f", "g"), ("h", ""), ("i", ""), ("l", "")]
    assert list(imports(ast.parse(source), "p.q")) == seen
    assert list(imports(ast.parse(source), "p.q", top_only=True)) == [s for s in seen if s[0] not in ("h", "i")]
