"""Nodes: the recorded operations.

A node is immutable but for one step: once evaluated it holds its buffer and lets go of its inputs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from arrax.graph.dtypes import Dtype

if TYPE_CHECKING:
    from arrax.graph.primitive import Primitive

Shape = tuple[int, ...]

_next_number = itertools.count().__next__


class Node:
    """One value of the graph.

    Attributes:
        prim: what computes it; for data the primitive ``leaf``, for a Python scalar ``const``.
        inputs: the nodes that it is computed from.
        params: the primitive's other arguments, hashable.
        shape, dtype: of the result.
        buffer: the data (row-contiguous), None before evaluation.
        number: counts all nodes; a node's inputs have lower numbers than the node itself.
    """

    __slots__ = ("buffer", "dtype", "inputs", "number", "params", "prim", "shape")

    def __init__(
        self,
        prim: Primitive,
        inputs: tuple[Node, ...],
        params: tuple,
        shape: Shape,
        dtype: Dtype,
        buffer: Any = None,
    ) -> None:
        self.prim = prim
        self.inputs = inputs
        self.params = params
        self.shape = shape
        self.dtype = dtype
        self.buffer = buffer
        self.number = _next_number()

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        n = 1
        for s in self.shape:
            n *= s
        return n

    def __repr__(self) -> str:
        return f"<{self.prim.name} {self.dtype.name}{list(self.shape)}>"


class Exposed(Node):
    """A value in memory that other libraries may write to: data, or a view of data, which then is not computed.

    Attributes:
        source: of a view, the buffer in which its elements are; data have it as their buffer.
        offset, strides: where, in bytes; strides are None for row-contiguous data.
    """

    __slots__ = ("offset", "source", "strides")
    source: Any
    offset: int
    strides: tuple[int, ...] | None

    @property
    def memory(self) -> Any:
        """The buffer in which the elements are."""
        return self.source if self.buffer is None else self.buffer


def topological(outputs: Iterable[Node], stop: Iterable[int] = ()) -> list[Node]:
    """All nodes that the outputs depend on, inputs before their users. Iterative: graphs can be deep.

    Nodes whose ids are in ``stop`` are left out, with what is only reached through them.
    """
    order: list[Node] = []
    seen: set[int] = set(stop)
    for output in outputs:
        if id(output) in seen:
            continue
        stack = [(output, iter(output.inputs))]
        seen.add(id(output))
        while stack:
            node, rest = stack[-1]
            for child in rest:
                if id(child) not in seen:
                    seen.add(id(child))
                    stack.append((child, iter(child.inputs)))
                    break
            else:
                order.append(node)
                stack.pop()
    return order
