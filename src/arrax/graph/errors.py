"""Exceptions that are of two kinds, that of Python or of older programs and that of MLX; trees without an end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def bounded(op: str, walk: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """What a recursive walk over a tree of containers returns. Raises ValueError where that has no end in sight."""
    try:
        return walk(*args, **named)
    except RecursionError as error:
        raise ValueError(
            f"[{op}] expected lists, tuples and dicts of a few hundred levels at most, got more, or one that contains "
            "itself: flatten it"
        ) from error


class AxisError(ValueError, IndexError):
    """An axis that the array does not have: an IndexError, as in MLX, and a ValueError, as older programs expect."""


class PositionError(ValueError, IndexError):
    """A position that an axis does not have: an IndexError, as in Python, and a ValueError, as in MLX."""


class SizeError(OverflowError, ValueError):
    """An axis that is too long: MLX raises one or the other."""


class NoDerivativeError(ValueError, RuntimeError):
    """A derivative that does not exist: MLX raises a ValueError for indices, a RuntimeError for quantized data."""
