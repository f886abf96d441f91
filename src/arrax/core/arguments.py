"""Plain arguments (numbers, words, types, sequences), checked and converted: of the wrong kind they raise TypeError.

An integer is whatever has ``__index__``: an int, a NumPy integer, an array of either library without axes. Where
several are wanted, a list, a tuple, a range or an array with one axis has them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from arrax.core.convert import INT_MAX, values
from arrax.graph.dtypes import Dtype
from arrax.graph.errors import SizeError
from arrax.graph.handle import Handle, shown
from arrax.graph.node import Shape
from arrax.graph.symbol import Symbol, index


def as_int(op: str, value: Any, what: str, bits: int | None = 32) -> int:
    """An integer that fits so many bits, which is what MLX takes; any for None, which the array API standard allows."""
    number = value
    if type(value) is not int:
        try:
            number = index(value)
            number = number if type(number) is Symbol else int(number)
        except TypeError:
            raise TypeError(f"[{op}] expected an int as {what}, got {shown(value)}: pass another value") from None
    if bits is not None and not -(1 << bits - 1) <= number < 1 << bits - 1:
        raise TypeError(f"[{op}] expected an int of {bits} bits as {what}, got {shown(number)}: pass a smaller number")
    return number


def fits(op: str, shape: Shape) -> Shape:
    """The shape. Raises SizeError where an axis is longer than positions reach."""
    for n in shape:
        if n > INT_MAX:
            raise SizeError(
                f"[{op}] expected axes of fewer than 2**31 elements, got {shown(shape)}: spread them over several axes"
            )
    return shape


def is_sequence(value: Any) -> bool:
    """Whether it is a sequence of numbers: a list, a tuple, a range, or an array with one axis."""
    if isinstance(value, Handle):
        return value._node.ndim == 1
    return isinstance(value, list | tuple | range) or (isinstance(value, np.ndarray) and value.ndim == 1)


def elements(value: Any) -> Any:
    """An array as lists of numbers, evaluated if need be; anything else as it is."""
    if isinstance(value, Handle):
        value = values(value._node)
    return value.tolist() if isinstance(value, np.ndarray) else value


def as_ints(op: str, value: Any, what: str) -> tuple[int, ...]:
    """Integers from one integer or a sequence of them."""
    items = elements(value) if is_sequence(value) else (value,)
    return tuple([as_int(op, i, what) for i in items])


def as_shape(op: str, shape: Any, least: int = 0) -> Shape:
    """A shape from an integer or a sequence of integers; ``least`` is -1 where that stands for what is left.

    Raises:
        TypeError: for what is none.
        SizeError: for an axis of 2**31 elements or more; several axes may have as many together.
        ValueError: for a negative size.
    """
    try:
        sizes = tuple(map(index, elements(shape))) if is_sequence(shape) else (index(shape),)
    except TypeError:
        raise TypeError(f"[{op}] expected a shape of integers, got {shown(shape)}: pass a tuple of ints") from None
    for n in sizes:
        if n < least:
            raise ValueError(
                f"[{op}] expected sizes of at least {least}, got {shown(sizes)}: negative sizes do not exist"
            )
    return fits(op, tuple([n if type(n) in (int, Symbol) else int(n) for n in sizes]))


def as_number(op: str, value: Any, what: str) -> float:
    """A real number: an int or a float, NumPy's, or an array with one element."""
    try:
        if isinstance(value, str | bytes) or (value._node.size != 1 if isinstance(value, Handle) else np.ndim(value)):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"[{op}] expected a number as {what}, got {shown(value)}: pass another value") from None
    return value if type(value) is int else number


_KINDS: dict[Any, tuple[Callable[[Any], bool], str]] = {
    str: (lambda x: isinstance(x, str), "a str"),
    str | None: (lambda x: x is None or isinstance(x, str), "a str or None"),
    tuple: (is_sequence, "a tuple"),
    tuple | None: (lambda x: x is None or is_sequence(x), "a tuple or None"),
    Dtype: (lambda x: isinstance(x, Dtype), "a dtype such as mx.float32"),
    Dtype | None: (lambda x: x is None or isinstance(x, Dtype), "a dtype such as mx.float32 or None"),
}


def expect(op: str, kind: Any, **values: Any) -> None:
    """Raises TypeError where one of the named arguments of a function is of another kind than the given one.

    >>> expect("eye", str, n=3)
    Traceback (most recent call last):
    TypeError: [eye] expected a str as n, got int: pass another value
    """
    test, words = _KINDS[kind]
    for name, value in values.items():
        if not test(value):
            raise TypeError(f"[{op}] expected {words} as {name}, got {type(value).__name__}: pass another value")
