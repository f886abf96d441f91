"""Checks of recorded graphs."""

from __future__ import annotations

from collections.abc import Iterable

from arrax.graph.node import Node
from arrax.graph.primitive import REGISTRY

_WITHOUT_RULE = ("leaf", "call")


def verify(order: Iterable[Node]) -> None:
    """Checks the nodes of a graph, which are given inputs first.

    Raises AssertionError where a node's shape or type is not what its primitive infers, where its parameters cannot be
    hashed, or where it comes before one of its inputs (so that there are no cycles either).
    """
    seen: set[int] = set()
    for node in order:
        shown = f"[verify] {node!r}"
        assert id(node) not in seen, f"{shown} stands in the order twice"
        assert all(isinstance(n, int) and n >= 0 for n in node.shape), f"{shown} has no shape"
        if node.buffer is None:
            _verify_recorded(node, seen, shown)
        seen.add(id(node))


def _verify_recorded(node: Node, seen: set[int], shown: str) -> None:
    prim = node.prim
    assert REGISTRY.get(prim.name) is prim, f"{shown}: its primitive is not the registered one"
    for x in node.inputs:
        assert id(x) in seen, f"{shown} comes before its input {x!r}"
    try:
        hash(node.params)
    except TypeError as error:
        raise AssertionError(f"{shown}: parameters {node.params} cannot be hashed") from error
    if prim.kind in _WITHOUT_RULE:
        return
    shape, dtype = prim.infer(node.inputs, node.params)
    assert shape == node.shape, f"{shown}: {prim.name} of {list(node.inputs)} {node.params} has shape {list(shape)}"
    assert dtype is node.dtype, f"{shown}: {prim.name} of {list(node.inputs)} {node.params} has type {dtype.name}"
