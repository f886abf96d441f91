"""Arrax: an array framework for machine learning in pure Python, with the API of MLX.

The public API lives in the modules `arrax.core` (usually imported as `mx`), `arrax.nn`, `arrax.optimizers` and
`arrax.utils`. Importing the package loads none of them; each is loaded when it is first used. `arrax.explain` tells
how an array would be computed.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_MODULES = ("alias", "core", "llm", "nn", "optimizers", "utils")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"arrax.{name}")
    if name == "explain":
        return importlib.import_module("arrax.explanation").explain
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES, "explain"])
