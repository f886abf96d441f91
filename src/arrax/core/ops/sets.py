"""Arrays as sets, and the elements that satisfy a condition.

Where the size of a result depends on values, these are evaluated; inside ``compile`` and ``vmap`` that is a ValueError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from arrax.core.axes import normalize_axis
from arrax.core.convert import array_node, as_node, pair, values
from arrax.core.device import check_stream
from arrax.core.ops.math import as_bool, record_not
from arrax.core.ops.shape import concatenate
from arrax.core.ops.sorting import searchsorted, unique
from arrax.graph.dtypes import uint8
from arrax.graph.handle import wrap
from arrax.graph.node import Node
from arrax.prims import gather, opaque
from arrax.prims import pointwise as p
from arrax.prims import reduce as r
from arrax.prims import view as v
from arrax.prims.leaf import constant
from arrax.prims.pointwise import cast
from arrax.runtime.executor import from_numpy_array

if TYPE_CHECKING:
    from arrax.core.array import array

_FEW = 8  # elements that are compared one by one rather than searched for


# --- positions --------------------------------------------------------------------------------------------------------
def _true(op: str, condition: Any) -> np.ndarray:
    """The positions of the elements that are not 0 in the flattened array."""
    node = as_node(op, condition)
    return np.flatnonzero(values(node)).astype(gather.position_type(node.size).np)


def flatnonzero(a: array, /, *, stream: Any = None) -> array:
    """The positions of the elements of the flattened array that are not 0. Evaluates ``a``.

    They are int32; int64 in an array with more elements than that counts.

    >>> import arrax.core as mx
    >>> mx.flatnonzero(mx.array([[0, 3], [4, 0]]))
    array([1, 2], dtype=int32)
    """
    check_stream("flatnonzero", stream)
    array_node("flatnonzero", a)
    return wrap(from_numpy_array(_true("flatnonzero", a)))


def argwhere(a: array, /, *, stream: Any = None) -> array:
    """The positions of the elements that are not 0: a row for each, a column for each axis. Evaluates ``a``.

    They are int32; int64 where an axis has more elements than that counts.

    >>> import arrax.core as mx
    >>> mx.argwhere(mx.array([[0, 3], [4, 0]]))
    array([[0, 1],
           [1, 0]], dtype=int32)
    """
    check_stream("argwhere", stream)
    node = array_node("argwhere", a)
    found = np.argwhere(values(node))
    return wrap(from_numpy_array(found.astype(gather.position_type(max(node.shape, default=0)).np)))


def extract(condition: array, a: array, /, *, stream: Any = None) -> array:
    """The elements of the flattened array where the flattened condition is not 0. Evaluates the condition.

    >>> import arrax.core as mx
    >>> mx.extract(mx.array([True, False, True]), mx.array([1, 2, 3]))
    array([1, 3], dtype=int32)
    """
    check_stream("extract", stream)
    return compress(wrap(_flat(as_node("extract", condition))), a)


def compress(condition: array, a: array, /, axis: int | None = None, *, stream: Any = None) -> array:
    """The parts of ``a`` along an axis (None for the flattened array) where the condition is not 0. Evaluates it.

    Raises:
        ValueError: for a condition with more than one axis, or longer than the axis.

    >>> import arrax.core as mx
    >>> mx.compress(mx.array([False, True]), mx.array([[1, 2], [3, 4]]), axis=0)
    array([[3, 4]], dtype=int32)
    """
    check_stream("compress", stream)
    node, test = array_node("compress", a), as_node("compress", condition)
    if axis is None:
        node, axis = v.reshape(node, (node.size,)), 0
    axis = normalize_axis("compress", axis, node.ndim)
    if test.ndim != 1 or test.shape[0] > node.shape[axis]:
        raise ValueError(
            f"[compress] expected a condition with one axis of at most {node.shape[axis]} elements, "
            f"got shape {list(test.shape)}: flatten or shorten it"
        )
    return wrap(gather.take(node, from_numpy_array(_true("compress", condition)), axis))


# --- sets -------------------------------------------------------------------------------------------------------------
def _flat(node: Node) -> Node:
    return v.reshape(node, (node.size,))


def isin(
    element: array | float,
    test_elements: array | float,
    /,
    assume_unique: bool = False,
    invert: bool = False,
    *,
    stream: Any = None,
) -> array:
    """Whether each element is one of ``test_elements``, or with ``invert`` whether it is none of them.

    NaN is never one. ``assume_unique`` changes nothing.

    >>> import arrax.core as mx
    >>> mx.isin(mx.array([1, 2, 3]), mx.array([3, 1]))
    array([True, False, True], dtype=bool)
    """
    check_stream("isin", stream)
    x, tests = pair("isin", element, test_elements)
    tests = _flat(tests)
    found = _member(x, tests)
    return wrap(record_not(found) if invert else found)


def _member(x: Node, tests: Node) -> Node:
    n = tests.shape[0]
    if not n or not x.size:
        return v.broadcast(constant(False, as_bool(x).dtype), x.shape)
    if n <= _FEW or x.dtype.is_complex:
        same = p.equal(v.reshape(x, (*x.shape, 1)), tests)
        return v.reshape(r.reduce(r.max_p, same, (x.ndim,)), x.shape)
    if not x.dtype.category:
        x, tests = cast(x, uint8), cast(tests, uint8)
    line = opaque.sort(tests, 0)
    # a position behind the last element is read as the last one
    places = searchsorted(wrap(line), wrap(x))._node
    return p.equal(gather.take(line, places, 0), x)


def union1d(a: array, b: array, /, *, stream: Any = None) -> array:
    """The distinct elements of both arrays in ascending order. Evaluates them."""
    check_stream("union1d", stream)
    return unique(concatenate([wrap(_flat(array_node("union1d", x))) for x in (a, b)]))


def intersect1d(a: array, b: array, /, *, stream: Any = None) -> array:
    """The distinct elements that both arrays have, in ascending order. Evaluates them.

    >>> import arrax.core as mx
    >>> mx.intersect1d(mx.array([3, 1, 1]), mx.array([1, 3, 4]))
    array([1, 3], dtype=int32)
    """
    check_stream("intersect1d", stream)
    found = unique(wrap(pair("intersect1d", a, b)[0]))
    return found[isin(found, b)]


def setdiff1d(a: array, b: array, /, *, stream: Any = None) -> array:
    """The distinct elements of ``a`` that ``b`` has not, in ascending order. Evaluates both."""
    check_stream("setdiff1d", stream)
    array_node("setdiff1d", b)
    found = unique(a)
    return found[isin(found, b, invert=True)]


def setxor1d(a: array, b: array, /, *, stream: Any = None) -> array:
    """The distinct elements that one array has and the other has not, in ascending order. Evaluates both."""
    check_stream("setxor1d", stream)
    return unique(concatenate([setdiff1d(a, b), setdiff1d(b, a)]))
