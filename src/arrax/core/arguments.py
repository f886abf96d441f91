"""Plain arguments (numbers, words, types, sequences), checked: of the wrong kind they raise TypeError."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from arrax.graph.dtypes import Dtype
from arrax.graph.handle import Handle


def _is_int(value: Any) -> bool:
    return type(value) is int or (hasattr(value, "__index__") and not isinstance(value, Handle))


def _is_number(value: Any) -> bool:
    """What Python makes a float of: an array with one element is, a word is not."""
    if isinstance(value, Handle):
        return value._node.size == 1
    return hasattr(value, "__float__") or hasattr(value, "__index__")


def _is_sequence(value: Any) -> bool:
    return isinstance(value, list | tuple)


_KINDS: dict[Any, tuple[Callable[[Any], bool], str]] = {
    int: (_is_int, "an int"),
    int | None: (lambda x: x is None or _is_int(x), "an int or None"),
    float: (_is_number, "a number"),
    float | None: (lambda x: x is None or _is_number(x), "a number or None"),
    str: (lambda x: isinstance(x, str), "a str"),
    str | None: (lambda x: x is None or isinstance(x, str), "a str or None"),
    tuple: (_is_sequence, "a tuple"),
    tuple | None: (lambda x: x is None or _is_sequence(x), "a tuple or None"),
    Dtype: (lambda x: isinstance(x, Dtype), "a dtype such as mx.float32"),
    Dtype | None: (lambda x: x is None or isinstance(x, Dtype), "a dtype such as mx.float32 or None"),
}


def expect(op: str, kind: Any, **values: Any) -> None:
    """Raises TypeError where one of the named arguments of a function is of another kind than the given one.

    >>> expect("eye", int, n="three")
    Traceback (most recent call last):
    TypeError: [eye] expected an int as n, got str: pass another value
    """
    test, words = _KINDS[kind]
    for name, value in values.items():
        if not test(value):
            raise TypeError(f"[{op}] expected {words} as {name}, got {type(value).__name__}: pass another value")
