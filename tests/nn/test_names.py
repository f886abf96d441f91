"""Every public name of mlx.nn, mlx.optimizers and mlx.utils is here, in the same module, with the same parameters.

A name counts as public where it is defined, and in the packages that collect names; what a module only imports for
itself does not. What differs on purpose is listed in ``DIFFERENT``, with the reason.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import types
from collections.abc import Iterator
from typing import Any

import pytest

# The name, without the package -> why ours differs, or is missing.
DIFFERENT: dict[str, str] = {}

ROOTS = ("nn", "optimizers", "utils")


def modules(name: str) -> Iterator[str]:
    """A module of MLX and all below it."""
    yield name
    for child in pkgutil.iter_modules(getattr(importlib.import_module(f"mlx.{name}"), "__path__", [])):
        yield from modules(f"{name}.{child.name}")


MODULES = [name for root in ROOTS for name in modules(root)]


def is_public(module: types.ModuleType, name: str, value: Any) -> bool:
    if name.startswith("_") or name == "mx":
        return False
    home = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None) or ""
    collects = hasattr(module, "__path__")
    return home.startswith(module.__name__ + ".") if collects else home == module.__name__


def parameters(function: Any, is_method: bool) -> list[tuple[str, Any, str]]:
    found = list(inspect.signature(function).parameters.values())[int(is_method) :]
    return [(p.name, p.kind, spelled(p.default)) for p in found]


def spelled(default: Any) -> str:
    """A default value, in a way that is the same in both packages."""
    if callable(default) and default is not inspect.Parameter.empty:
        # Compiled functions of MLX have no name of their own.
        return "a function"
    return repr(default).replace("mlx.", "arrax.")


def differences(path: str, ours: Any, theirs: Any) -> list[str]:
    """The paths of what is missing or has other parameters, in a function or class."""
    if inspect.isclass(theirs):
        if not inspect.isclass(ours):
            return [path]
        found = [] if parameters(ours, False) == parameters(theirs, False) else [path]
        for name, member in vars(theirs).items():
            if name.startswith("_") and name != "__call__":
                continue
            if not hasattr(ours, name) or type(inspect.getattr_static(ours, name)) is not type(member):
                found.append(f"{path}.{name}")
            elif callable(getattr(theirs, name)):
                is_method = inspect.isfunction(member)
                if parameters(getattr(ours, name), is_method) != parameters(getattr(theirs, name), is_method):
                    found.append(f"{path}.{name}")
        return found
    if isinstance(theirs, types.ModuleType):
        return [] if isinstance(ours, types.ModuleType) else [path]
    return [] if parameters(ours, False) == parameters(theirs, False) else [path]


def all_differences(name: str) -> list[str]:
    theirs = importlib.import_module(f"mlx.{name}")
    ours = importlib.import_module(f"arrax.{name}")
    found = []
    for attribute in dir(theirs):
        value = getattr(theirs, attribute)
        if is_public(theirs, attribute, value):
            path = f"{name}.{attribute}"
            found += differences(path, getattr(ours, attribute), value) if hasattr(ours, attribute) else [path]
    return found


@pytest.mark.parametrize("name", MODULES)
def test_names_and_parameters(name: str) -> None:
    assert set(all_differences(name)) <= set(DIFFERENT)


def test_the_listed_differences_exist() -> None:
    assert set(DIFFERENT) <= {path for name in MODULES for path in all_differences(name)}


def test_nothing_else_is_exported() -> None:
    for name in ("nn", "nn.layers", "optimizers"):
        ours, theirs = importlib.import_module(f"arrax.{name}"), importlib.import_module(f"mlx.{name}")
        assert set(ours.__all__) <= set(dir(theirs))
        public = {n for n in dir(theirs) if is_public(theirs, n, getattr(theirs, n))}
        assert public <= set(ours.__all__)
