"""Computing what has been recorded."""

from __future__ import annotations

from typing import Any

from arrax.core.device import current_stream
from arrax.graph.errors import bounded
from arrax.graph.handle import Handle
from arrax.graph.node import Node
from arrax.runtime.executor import evaluate, evaluate_later


def _collect(tree: Any, nodes: list[Node]) -> None:
    if isinstance(tree, Handle):
        nodes.append(tree._node)
    elif isinstance(tree, dict):
        for value in tree.values():
            _collect(value, nodes)
    elif isinstance(tree, list | tuple):
        for value in tree:
            _collect(value, nodes)


def _read(nodes: list[Node]) -> None:
    """Reads what was loaded: content that comes from a file is made when the address is asked for."""
    for node in nodes:
        if node.buffer is not None:  # else it shows data that others may write to, and stays a view
            node.buffer.ptr  # noqa: B018


def eval(*args: Any) -> None:
    """Computes all arrays in the arguments: arrays, and lists, tuples and dictionaries of them, however nested.

    Raises RuntimeError where the default stream belongs to another thread.

    >>> import arrax.core as mx
    >>> x = mx.ones(2) + 1
    >>> mx.eval(x, {"also": [x * 2]})
    """
    current_stream()
    nodes: list[Node] = []
    bounded("eval", _collect, args, nodes)
    evaluate(nodes)
    _read(nodes)


def async_eval(*args: Any) -> None:
    """Starts to compute all arrays in the arguments and returns; whoever looks at data waits for them.

    What different streams have started runs at the same time. Inside a transform it is ``eval``.

    >>> import arrax.core as mx
    >>> x = mx.ones(2) + 1
    >>> mx.async_eval(x)
    >>> x
    array([2, 2], dtype=float32)
    """
    nodes: list[Node] = []
    bounded("async_eval", _collect, args, nodes)
    evaluate_later(nodes, current_stream())
    _read([node for node in nodes if node.buffer is not None])
