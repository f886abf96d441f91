"""Programs that run on both implementations, and comparison of what they return."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import mlx.core as mlx
import numpy as np

import arrax.core as arrax

Program = Callable[[ModuleType], Any]


def outcome(program: Program, mx: ModuleType) -> Any:
    """What a program returns, as NumPy arrays in plain containers; the type of the exception where it raises one."""
    try:
        return plain(program(mx), mx)
    except (ValueError, TypeError, IndexError, KeyError) as error:
        return type(error)


def plain(tree: Any, mx: ModuleType) -> Any:
    if isinstance(tree, mx.array):
        return (
            str(tree.dtype).split(".")[-1],
            np.array(tree.astype(mx.float32) if tree.dtype == mx.bfloat16 else tree),
        )
    if isinstance(tree, dict):
        return {k: plain(v, mx) for k, v in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [type(tree).__name__, *(plain(v, mx) for v in tree)]
    return tree


def same(a: Any, b: Any) -> None:
    if isinstance(a, np.ndarray):
        assert isinstance(b, np.ndarray) and a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    elif isinstance(a, (list, tuple)):
        assert type(a) is type(b) and len(a) == len(b), (a, b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    elif isinstance(a, dict):
        assert isinstance(b, dict) and list(a) == list(b)
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, type) and isinstance(b, type):
        assert issubclass(a, b)  # some exceptions are of another type as well
    else:
        assert a == b


def agree(program: Program) -> None:
    """The program returns the same on both, or raises an exception of MLX's type."""
    same(outcome(program, arrax), outcome(program, mlx))
