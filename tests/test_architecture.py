"""The shape of the code base: what may import what, and how large a file may be."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import arrax

ROOT = Path(arrax.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
MODULES = {path: ".".join(path.relative_to(ROOT.parent).with_suffix("").parts) for path in FILES}
LAYERS = ("graph", "prims", "compiler", "codegen", "runtime", "transforms", "core")  # each may use those before it
ON_TOP = ("llm", "nn", "optimizers", "utils")  # written in the public API alone
PUBLIC = ("arrax.core", "arrax.nn", "arrax.optimizers", "arrax.utils")
LONGEST = 650


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """The modules of ours that a file imports, and the lines where it does; not those for type checkers alone."""
    module = tree(path)
    typing = {
        id(inner)
        for node in ast.walk(module)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(module):
        if id(node) in typing:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((name, node.lineno) for name in names if name.split(".")[0] == "arrax")


def layer(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def test_imports_go_down() -> None:
    wrong = []
    for path in FILES:
        mine = layer(MODULES[path])
        if mine not in LAYERS:
            continue
        allowed = LAYERS[: LAYERS.index(mine) + 1]
        wrong += [
            f"{path.relative_to(ROOT)}:{line} imports {name}"
            for name, line in imports(path)
            if layer(name) not in allowed and name != "arrax.__version__"
        ]
    assert not wrong, "\n".join(wrong)


def test_networks_use_the_public_api() -> None:
    wrong = []
    for path in FILES:
        mine = layer(MODULES[path])
        if mine not in ON_TOP:
            continue
        for name, line in imports(path):
            own = name.startswith(f"arrax.{mine}.") or name == f"arrax.{mine}"
            parts = name.split(".")
            public = ".".join(parts[:2]) in PUBLIC and not any(part.startswith("_") for part in parts)
            # nothing inside another package but what it exports: arrax.core.fast is, arrax.core.indexing is not
            shallow = len(parts) == 2 or hasattr(importlib.import_module(".".join(parts[:2])), parts[2])
            if not own and not (public and shallow and (mine != "utils" or parts[1] in ("core", "utils"))):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_an_import_upwards_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text("def f():\n    from arrax.core import array\n    import numpy, arrax.nn.layers\n")
    assert list(imports(path)) == [("arrax.core.array", 2), ("arrax.nn.layers", 3)]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= LONGEST, f"{len(lines)} lines"
    module = tree(path)
    done = False
    for node in module.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            assert not done, f"line {node.lineno}: an import in the middle of the file"
            assert not any(alias.name == "*" for alias in node.names), f"line {node.lineno}: import *"
        elif not isinstance(node, ast.If) and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            done = True
    if any(not isinstance(n, ast.Expr) for n in module.body):
        assert ast.get_docstring(module), "no docstring"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_exports_exist(path: Path) -> None:
    name = MODULES[path].removesuffix(".__init__")
    exported = [
        ast.literal_eval(node.value)
        for node in tree(path).body
        if isinstance(node, ast.Assign) and any(ast.unparse(t) == "__all__" for t in node.targets)
    ]
    for names in exported:
        assert len(set(names)) == len(names), "a name twice"
        module = importlib.import_module(name)
        assert [n for n in names if not hasattr(module, n)] == []


def test_importing_the_package_loads_nothing() -> None:
    """`import arrax` alone costs nothing: its modules are loaded when they are first used."""
    assert list(imports(ROOT / "__init__.py")) == []
