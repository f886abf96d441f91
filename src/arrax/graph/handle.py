"""Handles: the mutable objects that users hold, each on one immutable node.

The class that users see, with its operators and methods, lives far above the graph; it registers itself here, so that
the layers between can make arrays without knowing it.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from typing import Any, TypeVar

from arrax.graph.node import Exposed, Node


class Handle:
    """What an array is made of: one node, replaced when the array is assigned to in place."""

    __slots__ = ("__weakref__", "_node")
    _node: Node


_T = TypeVar("_T", bound=type[Handle])
_class: type[Handle] = Handle
_new = object.__new__
_copy: Callable[[Exposed], Node]


def register_class(cls: _T) -> _T:
    """Makes ``wrap`` create instances of ``cls``. Usable as a decorator."""
    global _class
    _class = cls
    return cls


def wrap(node: Node) -> Any:
    """A new array on a node; the constructor of the class is not run."""
    handle = _new(_class)
    handle._node = node if type(node) is not Exposed else apart(node)
    return handle


def register_copy(function: Callable[[Exposed], Node]) -> Callable[[Exposed], Node]:
    """Makes ``apart`` copy by ``function``. Usable as a decorator."""
    global _copy
    _copy = function
    return function


def apart(node: Node) -> Node:
    """The node, or one of its present value that nobody can write to: two arrays never share what is exposed."""
    return _copy(node) if isinstance(node, Exposed) else node


_LONGEST = 120  # letters of a value in an error message


class _Short(reprlib.Repr):
    """Values as error messages show them: on one line, cut off, arrays by type and shape, however deep they are."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxstring = self.maxother = 60

    def repr1(self, x: Any, level: int) -> str:
        if isinstance(x, Handle):
            return f"array({x._node.dtype.name}, shape={list(x._node.shape)})"
        if hasattr(x, "dtype") and hasattr(x, "shape") and not isinstance(x, type):
            return f"{type(x).__name__}({x.dtype}, shape={self.repr1(x.shape, 1)})" if x.shape else str(x)[:60]
        if isinstance(x, int) and x.bit_length() > 128:
            return f"an int of {x.bit_length()} bits"
        return " ".join(super().repr1(x, level).split())

    def repr(self, x: Any) -> str:
        text = super().repr(x)
        return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


shown = _Short().repr
