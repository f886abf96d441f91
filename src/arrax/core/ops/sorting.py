"""Order: sorting, partitions, searching, unique elements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arrax.core.arguments import as_int, expect
from arrax.core.axes import normalize_axis
from arrax.core.convert import array_node, pair, scalar_kind, typed_node
from arrax.core.device import check_stream
from arrax.core.ops.shape import record_slice_axis
from arrax.graph.dtypes import int32, uint32
from arrax.graph.handle import shown, wrap
from arrax.graph.node import Node
from arrax.prims import gather, opaque
from arrax.prims import pointwise as p
from arrax.prims import reduce as r
from arrax.prims import scan as s
from arrax.prims import view as v
from arrax.prims.leaf import constant, iota
from arrax.prims.pointwise import cast
from arrax.runtime.executor import to_numpy

if TYPE_CHECKING:
    from arrax.core.array import array


def _line(op: str, a: Any, axis: int | None) -> tuple[Node, int]:
    """The array and its axis from the front; flattened for None."""
    node = array_node(op, a)
    if axis is None:
        return v.reshape(node, (node.size,)), 0
    return node, normalize_axis(op, axis, node.ndim)


def sort(
    a: array, /, axis: int | None = -1, *, descending: bool = False, stable: bool = True, stream: Any = None
) -> array:
    """The elements in ascending order along an axis, NaN last; None for the flattened array.

    With ``descending`` all is the other way round. Sorting is always ``stable``.
    """
    check_stream("sort", stream)
    node, axis = _line("sort", a, axis)
    ordered = opaque.sort(node, axis)
    return wrap(v.flip(ordered, (axis,)) if descending else ordered)


def argsort(
    a: array, /, axis: int | None = -1, *, descending: bool = False, stable: bool = True, stream: Any = None
) -> array:
    """The positions that sort the array along an axis, as uint32; equal elements keep their order, always."""
    check_stream("argsort", stream)
    node, axis = _line("argsort", a, axis)
    if not descending:
        return wrap(opaque.argsort(node, axis))
    # equal elements come out in reverse, unless they go in so
    order = v.flip(opaque.argsort(v.flip(node, (axis,)), axis), (axis,))
    return wrap(p.sub(constant(max(node.shape[axis] - 1, 0), order.dtype), order))


def _check_kth(op: str, node: Node, axis: int, kth: Any) -> None:
    n, kth = node.shape[axis], as_int(op, kth, "kth")
    if not -n <= kth < n:
        raise ValueError(f"[{op}] expected kth from {-n} to {n - 1}, got {kth}: the axis has {n} elements")


def partition(a: array, /, kth: int, axis: int | None = -1, *, stream: Any = None) -> array:
    """The elements rearranged so that the ``kth`` is in its place, none before it is larger and none behind smaller."""
    check_stream("partition", stream)
    node, axis = _line("partition", a, axis)
    _check_kth("partition", node, axis, kth)
    return wrap(opaque.sort(node, axis))


def argpartition(a: array, /, kth: int, axis: int | None = -1, *, stream: Any = None) -> array:
    """The positions that make a ``partition``, as uint32."""
    check_stream("argpartition", stream)
    node, axis = _line("argpartition", a, axis)
    _check_kth("argpartition", node, axis, kth)
    return wrap(opaque.argsort(node, axis))


def topk(a: array, /, k: int, axis: int | None = -1, *, stream: Any = None) -> array:
    """The ``k`` largest elements along an axis, in ascending order; None for the flattened array.

    >>> import arrax.core as mx
    >>> mx.topk(mx.array([3, 1, 2]), 2)
    array([2, 3], dtype=int32)
    """
    check_stream("topk", stream)
    k = as_int("topk", k, "k")
    node, axis = _line("topk", a, axis)
    n = node.shape[axis]
    if not 0 <= k <= n:
        raise ValueError(f"[topk] expected k from 0 to {n}, got {k}: the axis has {n} elements")
    return wrap(record_slice_axis(opaque.sort(node, axis), axis, n - k, n))


def searchsorted(
    sorted_sequence: array,
    values: array | float,
    /,
    side: str = "left",
    *,
    sorter: array | None = None,
    stream: Any = None,
) -> array:
    """The positions, as uint32, at which to insert values into an ascending sequence; 'right' is behind equal elements.

    The positions in ``sorter``, where they are given, put the sequence into ascending order.

    >>> import arrax.core as mx
    >>> mx.searchsorted(mx.array([1, 3, 5]), mx.array([3, 4]))
    array([1, 2], dtype=uint32)
    """
    check_stream("searchsorted", stream)
    expect("searchsorted", str, side=side)
    array_node("searchsorted", sorted_sequence)
    if side not in ("left", "right"):
        raise ValueError(f"[searchsorted] expected side 'left' or 'right', got {shown(side)}: choose one of them")
    if scalar_kind(values) is None:
        array_node("searchsorted", values)
    line, x = pair("searchsorted", sorted_sequence, values)
    if line.ndim != 1:
        raise ValueError(f"[searchsorted] expected a sequence with one axis, got {line.ndim}: flatten it")
    if sorter is not None:
        line = gather.take(line, array_node("searchsorted", sorter), 0)
    n = line.shape[0]
    if n == 0:
        return wrap(v.broadcast(constant(0, uint32), x.shape))
    before = p.less if side == "left" else p.less_equal
    missing = p.not_equal(x, x) if x.dtype.is_inexact else None  # NaN stands behind all numbers
    low, high = (v.broadcast(constant(i, int32), x.shape) for i in (0, n))
    for _ in range(n.bit_length()):
        middle = p.add(low, p.right_shift(p.sub(high, low), constant(1, int32)))
        there = gather.take(line, middle, 0)
        below = before(there, x)
        if missing is not None:
            below = p.bitwise_or(below, missing if side == "right" else p.bitwise_and(missing, p.equal(there, there)))
        open_ = p.less(low, high)
        low = p.where(p.bitwise_and(open_, below), p.add(middle, constant(1, int32)), low)
        high = p.where(p.bitwise_and(open_, p.equal(below, constant(False, below.dtype))), middle, high)
    return wrap(cast(low, uint32))


def unique(
    a: array,
    /,
    size: int | None = None,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    fill_value: Any = None,
    *,
    stream: Any = None,
) -> Any:
    """The distinct elements of the flattened array in ascending order; each NaN is one of its own.

    Args:
        size: how many elements the result has. Where there are fewer, the rest is ``fill_value``, by default the
            smallest element; where there are more, the largest ones are left out. None for as many as there are: this
            evaluates ``a``, unlike MLX, which has to be told.
        return_index: also the position of each element's first occurrence.
        return_inverse: also, in the shape of ``a``, the position of each of its elements among the distinct ones.
        return_counts: also how often each element occurs.

    >>> import arrax.core as mx
    >>> mx.unique(mx.array([3, 1, 1]), 2)
    array([1, 3], dtype=int32)
    >>> mx.unique(mx.array([3, 1, 1, 7]), return_counts=True)
    (array([1, 3, 7], dtype=int32), array([2, 1, 1], dtype=int32))
    """
    check_stream("unique", stream)
    size = size if size is None else as_int("unique", size, "size")
    if size is not None and size < 0:
        raise ValueError(f"[unique] expected a size of at least 0, got {size}: pass another one")
    node = array_node("unique", a)
    n = node.size
    if n == 0 and size is None:
        wanted = zip((return_index, return_inverse, return_counts), (uint32, uint32, int32), strict=True)
        shapes = ((0,), node.shape, (0,))
        others = [wrap(v.broadcast(constant(0, d), s)) for (chosen, d), s in zip(wanted, shapes, strict=True) if chosen]
        nothing = wrap(v.reshape(node, (0,)))
        return (nothing, *others) if others else nothing
    if n == 0:
        raise ValueError(f"[unique] expected at least one element, got shape {list(node.shape)}: test the size first")
    flat = v.reshape(node, (n,))
    order = p.stop_gradient(opaque.argsort(flat, 0))
    ordered = gather.take(flat, order, 0)
    fresh = p.not_equal(record_slice_axis(ordered, 0, 1, n), record_slice_axis(ordered, 0, 0, n - 1))
    dtype = gather.position_type(n)
    rank = s.cumsum(v.concatenate([constant_row(0, dtype), cast(fresh, dtype)], 0), 0, False, True)
    count = p.add(r.reduce(r.max_p, rank, (0,)), constant(1, dtype))
    if size is None:
        size = int(to_numpy(count)[0])
    filled = p.less(iota((size,), 0, dtype), count)

    def of_rank(values: Node, default: Node, how: str) -> Node:
        start = v.broadcast(default, (size,))
        return gather.scatter(start, rank, values, 0, how)

    first = of_rank(cast(order, dtype), constant(n, dtype), "min")
    first = p.stop_gradient(p.where(filled, first, record_slice_axis(cast(order, dtype), 0, 0, 1)))
    found = gather.take(flat, first, 0)
    if fill_value is not None:
        found = p.where(filled, found, typed_node("unique", fill_value, found.dtype))
    results = [found]
    if return_index:
        results.append(cast(first, uint32))
    if return_inverse:
        back = gather.scatter(v.broadcast(constant(0, dtype), (n,)), order, rank, 0, "set")
        results.append(cast(v.reshape(back, node.shape), uint32))
    if return_counts:
        results.append(of_rank(v.broadcast(constant(1, dtype), (n,)), constant(0, dtype), "add"))
    arrays = tuple(map(wrap, results))
    return arrays[0] if len(arrays) == 1 else arrays


def constant_row(value: Any, dtype: Any) -> Node:
    """One element as an array with one axis."""
    return v.reshape(constant(value, dtype), (1,))
