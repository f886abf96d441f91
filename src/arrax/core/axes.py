"""Axes as users write them: negative, single or in sequences, checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from arrax.core.arguments import as_int, as_ints, is_sequence
from arrax.graph.errors import AxisError
from arrax.graph.handle import shown


def normalize_axis(op: str, axis: Any, ndim: int) -> int:
    """The axis counted from the front. Raises AxisError out of range, TypeError for what is no integer."""
    index = as_int(op, axis, "an axis")
    if not -ndim <= index < ndim:
        raise AxisError(
            f"[{op}] expected an axis from {-ndim} to {ndim - 1}, got {index}: the array has {ndim} dimensions"
        )
    return index + ndim if index < 0 else index


def normalize_axes(op: str, axis: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """All axes for None, else the given ones, sorted. Raises ValueError where one is given twice."""
    if axis is None:
        return tuple(range(ndim))
    if not is_sequence(axis):
        return (normalize_axis(op, axis, ndim),)
    axes = tuple(sorted(normalize_axis(op, i, ndim) for i in as_ints(op, axis, "axes")))
    if len(set(axes)) != len(axes):
        raise ValueError(f"[{op}] expected every axis once, got {shown(axis)}: leave out duplicates")
    return axes
