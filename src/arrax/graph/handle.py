"""Handles: the mutable objects that users hold, each on one immutable node.

The class that users see, with its operators and methods, lives far above the graph; it registers itself here, so that
the layers between can make arrays without knowing it.
"""

from __future__ import annotations

from typing import Any, TypeVar

from arrax.graph.node import Node


class Handle:
    """What an array is made of: one node, replaced when the array is assigned to in place."""

    __slots__ = ("__weakref__", "_node")
    _node: Node


_T = TypeVar("_T", bound=type[Handle])
_class: type[Handle] = Handle
_new = object.__new__


def register_class(cls: _T) -> _T:
    """Makes ``wrap`` create instances of ``cls``. Usable as a decorator."""
    global _class
    _class = cls
    return cls


def wrap(node: Node) -> Any:
    """A new array on a node; the constructor of the class is not run."""
    handle = _new(_class)
    handle._node = node
    return handle
