"""Arrays whose memory other libraries read and write: views for NumPy, DLPack and the buffer protocol.

Writing to such a view changes the array it is of, and what shows the same memory: arrays that are views of that one and
not computed yet, as in MLX. No other array changes. Exposed memory therefore belongs to one node of a class of its own
(``Exposed``): whoever else has the data at that time keeps or gets a copy, and while a view lives, nothing shares the
memory anew (``executor.finish``), it is no result's memory (``cpu.Bound.start`` counts references), and other arrays on
the node are copies (``handle.wrap``).
"""

from __future__ import annotations

import sys

import numpy as np

from arrax.graph.handle import Handle, register_copy
from arrax.graph.node import Exposed, Node
from arrax.prims import leaf
from arrax.runtime import buffer as memory
from arrax.runtime import executor
from arrax.runtime.run import ALONE

WHOLE = 4  # times as large the data may be that is computed for the sake of a view of it


def view(owner: Handle) -> np.ndarray:
    """An array's memory as a NumPy array that may be written to; inside of a transform, whose record it would belie,
    one that may not."""
    node = owner._node
    if executor.tracing.depth or not node.size:
        return executor.to_numpy(node)
    if not (memory.is_exposed(node)):
        found = _window(node) if node.buffer is None else None
        if found is None:
            executor.to_numpy(node)  # evaluates
        with executor._lock:
            owner._node = node = found or _data(node, ALONE + 2)
    assert isinstance(node, Exposed)
    return memory.view(owner, node)


def _data(node: Node, references: int) -> Exposed:
    """A node for the same data; on the same memory if there are only so many references to the node, else on a copy."""
    buffer = node.buffer
    if isinstance(node, Exposed) and memory.is_exposed(node):
        return node
    if sys.getrefcount(node) > references or sys.getrefcount(buffer) > ALONE + 1:
        buffer = memory.from_array(memory.as_numpy(buffer, node.shape, node.dtype))
    return _exposed(Node(leaf.leaf, (), (), node.shape, node.dtype, buffer), None, 0, None)


def _exposed(node: Node, source: memory.Buffer | None, offset: int, strides: tuple[int, ...] | None) -> Exposed:
    new = Exposed(node.prim, node.inputs, node.params, node.shape, node.dtype, node.buffer)
    new.source, new.offset, new.strides = source, offset, strides
    return new


def _window(node: Node) -> Exposed | None:
    """For a view of data, which keeps its strides: a node on the same memory. None where it had better be computed."""
    chain = []
    base = node
    while base.buffer is None and type(base) is not Exposed and base.prim.kind == "view" and len(base.inputs) == 1:
        chain.append(base)
        base = base.inputs[0]
    if not chain or not base.shape or (base.buffer is None and base.size > WHOLE * node.size):
        return None
    whole = shown = executor.to_numpy(base)
    for step in reversed(chain):
        shown = step.prim.reference(step.params, step.shape, step.dtype, shown)
    if not np.shares_memory(whole, shown) or any(
        s == 0 for n, s in zip(shown.shape, shown.strides, strict=True) if n > 1
    ):
        return None  # what shows one element several times would write it several times
    offset = shown.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    strides = shown.strides
    del whole, shown  # they refer to the memory too
    with executor._lock:
        data = base if isinstance(base, Exposed) and memory.is_exposed(base) else _data(base, ALONE + 3)
    new: Node = data
    for step in reversed(chain):
        new = Node(step.prim, (new,), step.params, step.shape, step.dtype)
    return _exposed(new, data.memory, data.offset + offset, strides)


@register_copy
def _copied(node: Exposed) -> Node:
    if not memory.is_exposed(node):
        return node
    return executor.from_numpy_array(executor.to_numpy(node))
