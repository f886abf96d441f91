"""Every public name of MLX is here, with the same parameters.

MLX's signatures are read from the stubs in its package; where a function has several, ours must be one of them. Ours
may have more parameters that can only be given by name and have a default: those of the array API standard. What
differs on purpose is listed in ``DIFFERENT``, with the reason.
"""

from __future__ import annotations

import ast
import enum
import importlib
import inspect
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core
import pytest

import arrax.core as mx

STUBS = Path(mlx.core.__file__).parent / "core"
MODULES = ("", "fast", "random", "linalg", "fft", "distributed", "metal", "cuda")

# MLX's name -> why ours differs, or is missing.
DIFFERENT: dict[str, str] = {
    "arange": "one function for both of MLX's signatures, which differ in what the first argument is",
    "array.__div__": "Python 3 never calls it",
    "array.__rdiv__": "Python 3 never calls it",
    "array.__setstate__": "pickling makes the array anew instead of filling in an empty one",
    "clip": "the bounds may be given as min and max too, the array API standard's names, so none is required",
    "full": "the value may be given as fill_value too, the array API standard's name",
    "full_like": "the value may be given as fill_value too, the array API standard's name",
    "roll": "the stub says that there are no names, but MLX takes them",
    "unique": "the size may be left out, then as many elements come as there are",
    "where": "the condition alone gives the positions where it holds, as in NumPy",
    "save_gguf": "the stub leaves out that there is a default, but MLX has it",
}

# Objects of classes whose attributes are not in the class.
EXAMPLES: dict[str, Any] = {
    "Device": mx.Device(mx.cpu),
    "PrintOptions": mx.PrintOptions(),
    "Stream": mx.default_stream(mx.cpu),
    "ThreadLocalStream": mx.new_thread_local_stream(mx.cpu),
    "finfo": mx.finfo(mx.float32),
    "iinfo": mx.iinfo(mx.int32),
}

Parameters = tuple[tuple[str, str, Any], ...]  # name, kind, default


def stub(module: str) -> ast.Module:
    return ast.parse((STUBS / f"{module or '__init__'}.pyi").read_text())


def public(names: Iterator[str]) -> list[str]:
    return [n for n in names if not n.startswith("_")]


def module_pair(module: str) -> tuple[Any, Any]:
    suffix = f".{module}" if module else ""
    return importlib.import_module(f"arrax.core{suffix}"), getattr(mlx.core, module) if module else mlx.core


# --- signatures of MLX ------------------------------------------------------------------------------------------------
def of_stub(function: ast.FunctionDef) -> Parameters:
    a = function.args
    result: list[tuple[str, str, Any]] = []
    ordinary = [(x.arg, "positional only") for x in a.posonlyargs] + [(x.arg, "either") for x in a.args]
    defaults: list[Any] = [None] * (len(ordinary) - len(a.defaults)) + list(a.defaults)
    for (name, kind), default in zip(ordinary, defaults, strict=True):
        result.append((name, kind, "required" if default is None else value(default)))
    if a.vararg:
        result.append((a.vararg.arg, "all positional", "required"))
    for x, keyword_default in zip(a.kwonlyargs, a.kw_defaults, strict=True):
        default = "required" if keyword_default is None else value(keyword_default)
        result.append((x.arg, "keyword only", default))
    if a.kwarg:
        result.append((a.kwarg.arg, "all keywords", "required"))
    return tuple(result)


def value(node: ast.expr) -> Any:
    """A default as a Python value, or the last part of a dotted name."""
    try:
        found = ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node).rpartition(".")[2]
    return list(found) if isinstance(found, tuple | list) else found


def functions(body: list[ast.stmt]) -> dict[str, list[ast.FunctionDef]]:
    """The overloads of each function."""
    result: dict[str, list[ast.FunctionDef]] = {}
    for node in body:
        if isinstance(node, ast.FunctionDef):
            result.setdefault(node.name, []).append(node)
    return result


# --- ours -------------------------------------------------------------------------------------------------------------
KINDS = {
    inspect.Parameter.POSITIONAL_ONLY: "positional only",
    inspect.Parameter.POSITIONAL_OR_KEYWORD: "either",
    inspect.Parameter.VAR_POSITIONAL: "all positional",
    inspect.Parameter.KEYWORD_ONLY: "keyword only",
    inspect.Parameter.VAR_KEYWORD: "all keywords",
}


def of_ours(function: Any, method: bool) -> Parameters:
    result = []
    for p in list(inspect.signature(function).parameters.values())[int(method) :]:
        default = p.default
        if default is inspect.Parameter.empty:
            default = "required"
        elif isinstance(default, mx.Dtype | enum.Enum):
            default = default.name
        elif isinstance(default, tuple | list):
            default = list(default)
        result.append((p.name, KINDS[p.kind], default))
    return tuple(result)


def differs(ours: Any, overloads: list[ast.FunctionDef], method: bool = False) -> str | None:
    mine = of_ours(ours, method)
    theirs = [of_stub(f)[int(method) :] for f in overloads]
    if any(without_extensions(mine, t) == t for t in theirs):
        return None
    return f"{mine} is none of {theirs}"


def without_extensions(mine: Parameters, theirs: Parameters) -> Parameters:
    known = {name for name, _, _ in theirs}
    return tuple(p for p in mine if p[0] in known or p[1] != "keyword only" or p[2] == "required")


# --- the walk ---------------------------------------------------------------------------------------------------------
def differences() -> dict[str, str]:
    found: dict[str, str] = {}
    for module in MODULES:
        ours, theirs = module_pair(module)
        prefix = f"{module}." if module else ""
        tree = stub(module)
        signatures = functions(tree.body)
        classes = {n.name: n for n in tree.body if isinstance(n, ast.ClassDef)}
        for name in public(dir(theirs)):
            full = prefix + name
            if not hasattr(ours, name):
                found[full] = "missing"
            elif name in classes:
                found.update(of_class(full, getattr(ours, name), getattr(theirs, name), classes[name]))
            elif name in signatures:
                why = differs(getattr(ours, name), signatures[name])
                if why:
                    found[full] = why
    return found


def of_class(full: str, ours: Any, theirs: Any, node: ast.ClassDef) -> dict[str, str]:
    found: dict[str, str] = {}
    signatures = functions(node.body)
    example = EXAMPLES.get(full, ours)
    for name in dir(theirs):
        if not hasattr(example, name):
            found[f"{full}.{name}"] = "missing"
        elif name in signatures and not name.startswith("_"):
            mine = getattr(ours, name, None)
            if isinstance(mine, types.FunctionType):
                why = differs(mine, signatures[name], method=True)
                if why:
                    found[f"{full}.{name}"] = why
            elif not any(isinstance(d, ast.Name) and d.id == "property" for d in signatures[name][0].decorator_list):
                found[f"{full}.{name}"] = "no method"
    return found


def test_names_and_signatures() -> None:
    found = differences()
    new = {name: why for name, why in found.items() if name not in DIFFERENT}
    assert not new, "\n".join(f"{name}: {why}" for name, why in new.items())
    settled = sorted(DIFFERENT.keys() - found.keys())
    assert not settled, f"no longer different: {settled}"


@pytest.mark.parametrize("module", MODULES[1:])
def test_submodules_can_be_imported(module: str) -> None:
    ours, _ = module_pair(module)
    assert ours is getattr(mx, module)
