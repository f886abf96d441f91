"""Evaluation of recorded graphs."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import numpy as np

from arrax.compiler.pipeline import Plan, build
from arrax.graph.dtypes import Dtype, from_numpy
from arrax.graph.node import Node, Shape
from arrax.graph.template import inlined, wanted_with
from arrax.prims import leaf
from arrax.runtime import buffer as memory
from arrax.runtime.cpu import Bound

SMALL = 64  # elements, all results of a graph together, up to which NumPy is as fast as a kernel
PLANS = 1024
BOUND = 4096
_UNKNOWN: Any = object()

_lock = threading.RLock()
_plans: OrderedDict[tuple, Plan] = OrderedDict()
_bound: OrderedDict[tuple, Bound | None] = OrderedDict()


class _Tracing(threading.local):
    """How many transforms are tracing in this thread: while one does, evaluated nodes keep their inputs.

    The last one to end makes leaves of the nodes in ``kept``.
    """

    depth = 0

    def __init__(self) -> None:
        self.kept: list[Node] = []


tracing = _Tracing()


def evaluate(outputs: list[Node]) -> None:
    """Computes the given nodes, so that each has a buffer.

    Raises ValueError where one depends on a placeholder of a transform, MemoryError where there is not enough memory;
    then nothing has changed.
    """
    pending = [n for n in outputs if n.buffer is None]
    if not pending:
        return
    with _lock:
        graph = _linearise(pending)
        if graph is None:
            pending = wanted_with(pending)
            targets = inlined(pending)
            graph = _linearise([n for n in targets if n.buffer is None])
        else:
            targets = pending
    order, key = graph
    wanted = [n for n in targets if n.buffer is None]
    bound = _bound.get(key, _UNKNOWN)
    if bound is _UNKNOWN:
        bound = _bind(order, wanted, key)
    else:
        _bound.move_to_end(key)
    buffers = by_reference(order, wanted) if bound is None else bound.run(order)
    with _lock:
        for node, buffer in zip(wanted, buffers, strict=True):
            if node.buffer is None:
                finish(node, buffer)
        if targets is not pending:
            for node, target in zip(pending, targets, strict=True):
                if node.buffer is None:
                    finish(node, target.buffer)


def _linearise(outputs: list[Node]) -> tuple[list[Node], tuple] | None:
    """The graph, inputs first, and a key that is equal for equal graphs of equal sizes; None if there are calls in it."""
    order: list[Node] = []
    position: dict[int, int] = {}
    key: list[Any] = []
    stack = outputs[::-1]
    while stack:
        node = stack[-1]
        if id(node) in position:
            stack.pop()
            continue
        if node.buffer is not None:
            key.append((node.shape, node.dtype))
        elif node.inputs:
            missing = [x for x in node.inputs if id(x) not in position]
            if missing:
                stack += missing
                continue
            kind = node.prim.kind
            if kind == "alias" or kind == "call":
                return None
            key.append((node.prim, node.params, node.shape, node.dtype, *[position[id(x)] for x in node.inputs]))
        elif node.prim is leaf.const:
            key.append(node.dtype)
        elif node.prim is leaf.placeholder:
            raise ValueError(
                "[eval] expected data, got an array that a transform is tracing; "
                "move the evaluation (eval, item, tolist, print, if) out of the transformed function"
            )
        else:
            key.append((node.prim, node.params))
        stack.pop()
        position[id(node)] = len(order)
        order.append(node)
    key.append(tuple([position[id(n)] for n in outputs]))
    return order, tuple(key)


def _structure(order: list[Node], outputs: list[Node]) -> tuple:
    """What decides a plan: the graph without its sizes, but for which of them are equal and which are 1."""
    position = {id(n): i for i, n in enumerate(order)}
    classes: dict[int, int] = {1: 0}
    key: list[Any] = []
    for node in order:
        sizes = tuple([classes.setdefault(n, len(classes)) for n in node.shape])
        if node.buffer is not None:
            key.append((node.dtype, sizes))
        else:
            inputs = tuple([position[id(x)] for x in node.inputs])
            key.append((node.prim, node.prim.static(node), node.dtype, sizes, inputs))
    key.append(tuple([position[id(n)] for n in outputs]))
    return tuple(key)


def _bind(order: list[Node], outputs: list[Node], key: tuple) -> Bound | None:
    """A bound plan for the graph, out of the cache of plans where its structure has been seen."""
    work = 0
    for node in order:
        if 0 in node.shape:
            work = 0
            break
        if node.inputs:
            work += node.size
    bound: Bound | None = None  # small graphs and empty arrays: the references
    if work > SMALL:
        structure = _structure(order, outputs)
        plan = _plans.get(structure)
        if plan is None:
            plan = _plans[structure] = build(order, outputs)
            if len(_plans) > PLANS:
                _plans.popitem(last=False)
        else:
            _plans.move_to_end(structure)
        bound = Bound(plan, order)
    _bound[key] = bound
    if len(_bound) > BOUND:
        _bound.popitem(last=False)
    return bound


def by_reference(order: list[Node], outputs: list[Node]) -> list[memory.Buffer]:
    """Evaluates a graph with the primitives' NumPy references: the results' buffers."""
    values: dict[int, np.ndarray] = {}
    for node in order:
        if node.buffer is not None:
            values[id(node)] = memory.as_numpy(node.buffer, node.shape, node.dtype)
        else:
            values[id(node)] = node.prim.reference(
                node.params, node.shape, node.dtype, *[values[id(i)] for i in node.inputs]
            )
    return [memory.from_array(np.asarray(values[id(n)], n.dtype.np).reshape(n.shape)) for n in outputs]


def finish(node: Node, buffer: memory.Buffer) -> None:
    """Gives a node its data; from now on it is a leaf, unless a transform still needs its history."""
    node.buffer = buffer
    if tracing.depth:
        tracing.kept.append(node)
    else:
        node.prim, node.inputs, node.params = leaf.leaf, (), ()


def to_numpy(node: Node) -> np.ndarray:
    """The node's data as a read-only NumPy array on the same memory; evaluates it first where needed."""
    if node.buffer is None:
        evaluate([node])
    return memory.as_numpy(node.buffer, node.shape, node.dtype)


def from_numpy_array(array: np.ndarray) -> Node:
    """A leaf with a copy of the array. The array's type must be one of ours."""
    dtype = from_numpy(array.dtype)
    assert dtype is not None
    return data(memory.from_array(array), array.shape, dtype)


def data(buffer: Any, shape: Shape, dtype: Dtype) -> Node:
    """A leaf on an existing buffer (row-contiguous)."""
    return Node(leaf.leaf, (), (), shape, dtype, buffer)
