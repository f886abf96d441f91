"""What all transforms share: the time in which a function is traced, and the variables of a trace."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import TracebackType
from typing import Any

from arrax.graph.dtypes import Dtype
from arrax.graph.node import Node, Shape
from arrax.graph.primitive import Primitive
from arrax.graph.template import resolve
from arrax.prims import call
from arrax.prims.leaf import leaf, placeholder
from arrax.runtime import buffer as memory
from arrax.runtime.executor import tracing


class Trace:
    """A context in which nodes keep their history although they are evaluated."""

    def __enter__(self) -> None:
        tracing.depth += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        tracing.depth -= 1
        if not tracing.depth and tracing.kept:
            kept, tracing.kept = tracing.kept, []
            for node in kept:
                _share(node)
                if node.buffer is not None:
                    node.prim, node.inputs, node.params = leaf, (), ()
                    if memory.views:
                        node.buffer = memory.apart(node.buffer, node.size * node.dtype.size)


def _share(node: Node) -> None:
    """Gives an alias the data of what it stands for."""
    if node.buffer is None and node.prim.kind == "alias":
        node.buffer = resolve(node).buffer


def variable(node: Node) -> Node:
    """A node of this trace's own with the same value, to differentiate by."""
    _share(node)
    new = call.variable(node)
    # Whoever keeps the variable after the trace must not keep a chain of all earlier ones.
    tracing.kept += (node, new) if node.prim.kind == "alias" else (new,)
    return new


def named_like(fun: Callable[..., Any], new: Callable[..., Any]) -> Callable[..., Any]:
    """``new``, with the name and the documentation of ``fun``."""
    return functools.wraps(fun, assigned=("__module__", "__name__", "__qualname__", "__doc__"), updated=())(new)


def record(prim: Primitive, inputs: tuple[Node, ...], params: tuple, shape: Shape, dtype: Dtype) -> Node:
    """Records a composite: as one node, or, where a transform looks, what it is made of."""
    return prim.lower(inputs, params) if tracing.depth else Node(prim, inputs, params, shape, dtype)


def unknown(like: Node) -> Node:
    """A stand-in of the same shape and type."""
    return Node(placeholder, (), (), like.shape, like.dtype)
