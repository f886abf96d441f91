"""Running sums, products, extrema, and differences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arrax.core.arguments import as_int, expect
from arrax.core.axes import normalize_axis
from arrax.core.convert import array_node
from arrax.core.device import check_stream
from arrax.core.ops.math import record_not_equal, record_subtract
from arrax.core.ops.shape import concatenate, record_slice_axis
from arrax.graph.dtypes import Dtype, bool_, int32, to_inexact
from arrax.graph.handle import wrap
from arrax.graph.node import Node
from arrax.graph.primitive import Primitive
from arrax.prims import scan as s
from arrax.prims import view as v
from arrax.prims.leaf import constant
from arrax.prims.pointwise import cast

if TYPE_CHECKING:
    from arrax.core.array import array


def _scan(op: str, prim: Primitive, node: Node, axis: int | None, reverse: bool, inclusive: bool) -> Any:
    if axis is None:
        node, axis = v.reshape(node, (node.size,)), 0
    return wrap(s.scan(prim, node, normalize_axis(op, axis, node.ndim), reverse, inclusive))


def _with_initial(scanned: array, initial: int, axis: int | None) -> array:
    node = scanned._node
    at = 0 if axis is None else normalize_axis("cumulative", axis, node.ndim)
    first = v.broadcast(constant(initial, node.dtype), (*node.shape[:at], 1, *node.shape[at + 1 :]))
    return wrap(v.concatenate([first, node], at))


def cumsum(
    a: array,
    /,
    axis: int | None = None,
    *,
    reverse: bool = False,
    inclusive: bool = True,
    dtype: Dtype | None = None,
    include_initial: bool = False,
    stream: Any = None,
) -> array:
    """The running sum along an axis; None for the flattened array. Booleans are counted in int32.

    Args:
        reverse: run from the end.
        inclusive: whether each sum has the element at its own position.
        dtype: the type in which to add.
        include_initial: put the sum of no elements in front, so that the axis grows by one.

    >>> import arrax.core as mx
    >>> mx.cumsum(mx.array([1, 2, 3]), reverse=True)
    array([6, 5, 3], dtype=int32)
    """
    check_stream("cumsum", stream)
    expect("cumsum", Dtype | None, dtype=dtype)
    node = array_node("cumsum", a)
    node = cast(node, dtype or (int32 if node.dtype is bool_ else node.dtype))
    result = _scan("cumsum", s.cumsum_p, node, axis, reverse, inclusive)
    return _with_initial(result, 0, axis) if include_initial else result


def cumprod(
    a: array,
    /,
    axis: int | None = None,
    *,
    reverse: bool = False,
    inclusive: bool = True,
    dtype: Dtype | None = None,
    include_initial: bool = False,
    stream: Any = None,
) -> array:
    """The running product along an axis, like ``cumsum``."""
    check_stream("cumprod", stream)
    expect("cumprod", Dtype | None, dtype=dtype)
    node = array_node("cumprod", a)
    if node.dtype is bool_ and dtype is None:
        # a product of booleans is their minimum
        result = _scan("cumprod", s.cummin_p, node, axis, reverse, inclusive)
    else:
        result = _scan("cumprod", s.cumprod_p, cast(node, dtype or node.dtype), axis, reverse, inclusive)
    return _with_initial(result, 1, axis) if include_initial else result


def cummax(
    a: array,
    /,
    axis: int | None = None,
    *,
    reverse: bool = False,
    inclusive: bool = True,
    stream: Any = None,
) -> array:
    """The largest element so far along an axis, like ``cumsum``."""
    check_stream("cummax", stream)
    return _scan("cummax", s.cummax_p, array_node("cummax", a), axis, reverse, inclusive)


def cummin(
    a: array,
    /,
    axis: int | None = None,
    *,
    reverse: bool = False,
    inclusive: bool = True,
    stream: Any = None,
) -> array:
    """The smallest element so far along an axis, like ``cumsum``."""
    check_stream("cummin", stream)
    return _scan("cummin", s.cummin_p, array_node("cummin", a), axis, reverse, inclusive)


def logcumsumexp(
    a: array,
    /,
    axis: int | None = None,
    *,
    reverse: bool = False,
    inclusive: bool = True,
    stream: Any = None,
) -> array:
    """``log(cumsum(exp(a)))`` along an axis without overflow; integers are taken as float32."""
    check_stream("logcumsumexp", stream)
    node = array_node("logcumsumexp", a)
    return _scan("logcumsumexp", s.logcumsumexp_p, cast(node, to_inexact(node.dtype)), axis, reverse, inclusive)


def diff(
    a: array,
    /,
    n: int = 1,
    axis: int = -1,
    *,
    prepend: array | None = None,
    append: array | None = None,
    stream: Any = None,
) -> array:
    """Differences of neighbours along an axis, taken ``n`` times; of booleans, whether they differ.

    Before that ``prepend`` is put in front of ``a``, and ``append`` behind it.

    >>> import arrax.core as mx
    >>> mx.diff(mx.array([1, 4, 9]))
    array([3, 5], dtype=int32)
    """
    check_stream("diff", stream)
    n = as_int("diff", n, "n")
    node = array_node("diff", a)
    if n < 0:
        raise ValueError(f"[diff] expected an order of at least 0, got {n}: pass another one")
    axis = normalize_axis("diff", axis, node.ndim)
    if prepend is not None or append is not None:
        parts = [x for x in (prepend, a, append) if x is not None]
        node = array_node("diff", concatenate(parts, axis))
    record = record_not_equal if node.dtype is bool_ else record_subtract
    if n >= node.shape[axis]:
        return wrap(record_slice_axis(node, axis, 0, 0))
    for _ in range(n):
        size = node.shape[axis]
        node = record(record_slice_axis(node, axis, 1, size), record_slice_axis(node, axis, 0, size - 1))
    return wrap(node)
