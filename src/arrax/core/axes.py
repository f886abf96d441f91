"""Axes and shapes as users write them: negative, single or in sequences, checked."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from arrax.graph.errors import AxisError, SizeError
from arrax.graph.node import Shape
from arrax.graph.symbol import index

LARGEST = 2**31 - 1  # elements along one axis: positions are int32


def fits(op: str, shape: Shape) -> Shape:
    """The shape. Raises SizeError where an axis is longer than positions reach."""
    for n in shape:
        if n > LARGEST:
            raise SizeError(
                f"[{op}] expected axes of fewer than 2**31 elements, got {list(shape)}: spread them over several axes"
            )
    return shape


def normalize_axis(op: str, axis: Any, ndim: int) -> int:
    """The axis counted from the front. Raises AxisError out of range, TypeError for what is no integer."""
    index = axis
    if type(axis) is not int:
        try:
            index = operator.index(axis)
        except TypeError:
            raise TypeError(f"[{op}] expected an integer axis, got {axis!r}: pass an int") from None
    if not -ndim <= index < ndim:
        raise AxisError(
            f"[{op}] expected an axis from {-ndim} to {ndim - 1}, got {index}: the array has {ndim} dimensions"
        )
    return index + ndim if index < 0 else index


def normalize_axes(op: str, axis: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """All axes for None, else the given ones, sorted. Raises ValueError where one is given twice."""
    if axis is None:
        return tuple(range(ndim))
    if isinstance(axis, list | tuple):
        axes = tuple(sorted(normalize_axis(op, i, ndim) for i in axis))
        if len(set(axes)) != len(axes):
            raise ValueError(f"[{op}] expected every axis once, got {axis}: leave out duplicates")
        return axes
    return (normalize_axis(op, axis, ndim),)


def as_shape(op: str, shape: Any) -> Shape:
    """A shape from an integer or a sequence of integers; raises ValueError for negative sizes."""
    try:
        result = tuple(map(index, shape)) if isinstance(shape, list | tuple) else (index(shape),)
    except TypeError:
        raise TypeError(f"[{op}] expected a shape of integers, got {shape!r}: pass a tuple of ints") from None
    for n in result:
        if n < 0:
            raise ValueError(f"[{op}] expected sizes of at least 0, got {list(result)}: negative sizes do not exist")
    return fits(op, result)


def as_ints(op: str, values: Any, what: str) -> tuple[int, ...]:
    """Integers from one integer or a sequence of them."""
    try:
        return tuple(map(index, values)) if isinstance(values, list | tuple) else (index(values),)
    except TypeError:
        raise TypeError(f"[{op}] expected integers as {what}, got {values!r}: pass ints") from None
