"""Imports go from plugins and the command line to the library, and nowhere else; read from the source."""

from __future__ import annotations

import ast
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
HEAVY = {"torch", "lightning", "torchmetrics", "torchgeo", "timm", "rasterio", "geopandas", "matplotlib", "sklearn"}
LIGHT = {  # what --help, list and plugins may load; numpy is left out too, it costs more than all of these
    "cropzoo",
    "cropzoo.zoo",
    "cropzoo.catalogue",
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


@pytest.mark.parametrize("package", ROOTS)
def test_arrows(package):
    assert len(FILES[package]) > 3
    wrong = [
        f"{path.relative_to(REPOSITORY)} imports {module}"
        for path, module, _ in all_imports(package)
        if module.partition(".")[0] in ROOTS.keys() - ALLOWED[package]
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
    assert {"cropzoo.plugins", "cropzoo_cli.settings", "click"} <= reached
    assert {name.partition(".")[0] for name in reached} & (HEAVY | {"numpy"}) == set()


def test_built_in_hooks_hold_strings_only():
    for kind in ("backbones", "datasets", "objectives"):
        path = REPOSITORY / "plugins" / "cropzoo_plugins" / kind / "__init__.py"
        found = {module for module, _ in imports(ast.parse(path.read_text(encoding="utf-8")))}
        specs = {f"cropzoo_plugins.{kind}.{part}_specs" for part in ("published", "general")}
        assert found <= {"__future__", "collections.abc", "cropzoo"} | specs


def test_the_reader_sees_every_form_of_import():
    source = (
        "import a.b\nfrom c import d\nfrom . import e\nfrom ..f import g\n"
        "def late():\n    import h\nif TYPE_CHECKING:\n    import i\nclass K:\n    import l\n"
    )
    seen = [("a.b", ""), ("c", "d"), ("p.q", "e"), ("p.f", "g"), ("h", ""), ("i", ""), ("l", "")]
    assert list(imports(ast.parse(source), "p.q")) == seen
    assert list(imports(ast.parse(source), "p.q", top_only=True)) == [s for s in seen if s[0] not in ("h", "i")]
