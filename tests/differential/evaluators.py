"""Three ways to evaluate nodes: by the primitives' references, by the kernel IR's interpreter, by machine code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from arrax.compiler import interp
from arrax.compiler.pipeline import build
from arrax.graph.node import Node
from arrax.runtime import buffer as memory
from arrax.runtime import executor
from arrax.runtime.cpu import Bound


def _graph(nodes: Sequence[Node]) -> list[Node]:
    found = executor._linearise(list(nodes))
    assert found is not None
    return found[0]


def _elements(node: Node) -> np.ndarray:
    return memory.as_numpy(node.buffer, node.shape, node.dtype)


def bound(nodes: Sequence[Node]) -> tuple[Bound, list[Node]]:
    """The plan of a graph with its sizes, and the graph in order."""
    order = _graph(nodes)
    return Bound(build(order, list(nodes)), order), order


def by_reference(nodes: Sequence[Node]) -> list[np.ndarray]:
    buffers = executor.by_reference(_graph(nodes), list(nodes))
    return [memory.as_numpy(b, n.shape, n.dtype) for b, n in zip(buffers, nodes, strict=True)]


def by_interpreter(nodes: Sequence[Node]) -> list[np.ndarray]:
    plan, order = bound(nodes)
    return [a.reshape(n.shape) for a, n in zip(interp.evaluate_plan(plan, order, _elements), nodes, strict=True)]


def by_machine(nodes: Sequence[Node]) -> list[np.ndarray]:
    plan, order = bound(nodes)
    return [memory.as_numpy(b, n.shape, n.dtype) for b, n in zip(plan.start(order, None)(), nodes, strict=True)]
