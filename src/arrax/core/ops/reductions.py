"""Sums and other values over whole axes, and what is composed of them."""

from __future__ import annotations

import math as _math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from arrax.core.arguments import as_int, as_number, expect
from arrax.core.axes import normalize_axes, normalize_axis
from arrax.core.convert import array_node, pair
from arrax.core.device import check_stream
from arrax.core.ops.math import as_bool, record_abs, record_isclose, record_isfinite
from arrax.core.ops.shape import drop_axes
from arrax.graph.dtypes import Dtype, bool_, int32, real_of, to_inexact, uint32
from arrax.graph.handle import wrap
from arrax.graph.node import Node
from arrax.graph.primitive import Primitive
from arrax.prims import gather, opaque
from arrax.prims import pointwise as p
from arrax.prims import reduce as r
from arrax.prims import view as v
from arrax.prims.leaf import constant
from arrax.prims.pointwise import cast

if TYPE_CHECKING:
    from arrax.core.array import array

Axes = int | Sequence[int] | None
_SMALL = {"bool": int32, "int8": int32, "int16": int32, "uint8": uint32, "uint16": uint32}


def _finish(node: Node, axes: tuple[int, ...], keepdims: bool) -> Any:
    return wrap(node if keepdims or not axes else drop_axes(node, axes))


def _reduce(prim: Primitive, node: Node, axes: tuple[int, ...]) -> Node:
    return r.reduce(prim, node, axes) if axes else node


def _fold(prim: Primitive, node: Node, axes: tuple[int, ...], keepdims: bool, empty: bool) -> Any:
    """A reduction of booleans; ``empty`` is its value over no elements."""
    shape = r.reduced_shape(node.shape, axes)
    found = v.broadcast(constant(empty, bool_), shape) if node.size == 0 else _reduce(prim, node, axes)
    return _finish(found, axes, keepdims)


def _accumulate(prim: Primitive, node: Node, axes: tuple[int, ...], dtype: Dtype | None) -> Node:
    """Small integers are summed and multiplied in 32 bits."""
    if dtype is not None:
        return cast(_accumulate(prim, cast(node, dtype), axes, None), dtype)
    return r.reduce(prim, cast(node, _SMALL.get(node.dtype.name, node.dtype)), axes) if axes else node


def sum(
    a: array, /, axis: Axes = None, keepdims: bool = False, *, dtype: Dtype | None = None, stream: Any = None
) -> array:
    """The sum over the given axes (None for all); booleans and small integers are added in 32 bits.

    ``dtype`` is the type of the sum, to which the elements are cast first.

    Raises:
        AxisError: for an axis out of range.

    >>> import arrax.core as mx
    >>> mx.sum(mx.array([[1, 2], [3, 4]]), axis=0)
    array([4, 6], dtype=int32)
    """
    check_stream("sum", stream)
    expect("sum", Dtype | None, dtype=dtype)
    node = array_node("sum", a)
    axes = normalize_axes("sum", axis, node.ndim)
    return _finish(_accumulate(r.sum_p, node, axes, dtype), axes, keepdims)


def prod(
    a: array, /, axis: Axes = None, keepdims: bool = False, *, dtype: Dtype | None = None, stream: Any = None
) -> array:
    """The product over the given axes (None for all), with the types of ``sum``."""
    check_stream("prod", stream)
    expect("prod", Dtype | None, dtype=dtype)
    node = array_node("prod", a)
    axes = normalize_axes("prod", axis, node.ndim)
    return _finish(_accumulate(r.prod_p, node, axes, dtype), axes, keepdims)


def _nonempty(op: str, node: Node, axes: tuple[int, ...]) -> None:
    for i in axes:
        if node.shape[i] == 0:
            raise ValueError(f"[{op}] expected at least one element, got axis {i} of size 0: test the size first")


def max(a: array, /, axis: Axes = None, keepdims: bool = False, *, stream: Any = None) -> array:
    """The largest element over the given axes (None for all); NaN where one is. Raises ValueError for no elements."""
    check_stream("max", stream)
    node = array_node("max", a)
    axes = normalize_axes("max", axis, node.ndim)
    _nonempty("max", node, axes)
    return _finish(_reduce(r.max_p, node, axes), axes, keepdims)


def min(a: array, /, axis: Axes = None, keepdims: bool = False, *, stream: Any = None) -> array:
    """The smallest element over the given axes (None for all); NaN where one is. Raises ValueError for no elements."""
    check_stream("min", stream)
    node = array_node("min", a)
    axes = normalize_axes("min", axis, node.ndim)
    _nonempty("min", node, axes)
    return _finish(_reduce(r.min_p, node, axes), axes, keepdims)


def minmax(a: array, /, axis: Axes = None, keepdims: bool = False, *, stream: Any = None) -> tuple[array, array]:
    """The smallest and the largest element over the given axes (None for all)."""
    check_stream("minmax", stream)
    return min(a, axis, keepdims), max(a, axis, keepdims)


def all(a: array, /, axis: Axes = None, keepdims: bool = False, *, stream: Any = None) -> array:
    """Whether no element over the given axes (None for all) is 0."""
    check_stream("all", stream)
    node = as_bool(array_node("all", a))
    axes = normalize_axes("all", axis, node.ndim)
    return _fold(r.min_p, node, axes, keepdims, True)


def any(a: array, /, axis: Axes = None, keepdims: bool = False, *, stream: Any = None) -> array:
    """Whether some element over the given axes (None for all) is not 0."""
    check_stream("any", stream)
    node = as_bool(array_node("any", a))
    axes = normalize_axes("any", axis, node.ndim)
    return _fold(r.max_p, node, axes, keepdims, False)


def count_nonzero(a: array, /, *, axis: Axes = None, keepdims: bool = False, stream: Any = None) -> array:
    """How many elements over the given axes (None for all) are not 0, as int32 (int64 of more than that counts)."""
    check_stream("count_nonzero", stream)
    node = as_bool(array_node("count_nonzero", a))
    axes = normalize_axes("count_nonzero", axis, node.ndim)
    dtype = gather.position_type(_math.prod(node.shape[i] for i in axes))
    return _finish(_reduce(r.sum_p, cast(node, dtype), axes), axes, keepdims)


def _position(op: str, prim: Primitive, a: Any, axis: int | None, keepdims: bool) -> Any:
    node = array_node(op, a)
    if node.size == 0:
        raise ValueError(f"[{op}] expected at least one element, got shape {list(node.shape)}: test the size first")
    if axis is None:
        flat = r.reduce(prim, v.reshape(node, (node.size,)), (0,))
        return wrap(v.reshape(flat, (1,) * node.ndim if keepdims else ()))
    index = normalize_axis(op, axis, node.ndim)
    return _finish(r.reduce(prim, node, (index,)), (index,), keepdims)


def argmax(a: array, /, axis: int | None = None, keepdims: bool = False, *, stream: Any = None) -> array:
    """The first position of the largest element along an axis, as uint32; None for the flattened array."""
    check_stream("argmax", stream)
    return _position("argmax", r.argmax_p, a, axis, keepdims)


def argmin(a: array, /, axis: int | None = None, keepdims: bool = False, *, stream: Any = None) -> array:
    """The first position of the smallest element along an axis, as uint32; None for the flattened array."""
    check_stream("argmin", stream)
    return _position("argmin", r.argmin_p, a, axis, keepdims)


# --- moments ----------------------------------------------------------------------------------------------------------
def _count(node: Node, axes: tuple[int, ...]) -> int:
    return _math.prod(node.shape[i] for i in axes)


def _reciprocal(n: float) -> float:
    return 1 / n if n > 0 else _math.inf


def _mean(node: Node, axes: tuple[int, ...]) -> Node:
    n = _count(node, axes)
    factor = constant(1 / n if n else _math.nan, node.dtype)
    return p.mul(_reduce(r.sum_p, node, axes), factor)


def _wide(node: Node) -> Node:
    """Where sums are taken: half precision in float32, as a sum of halves overflows at 65504."""
    return cast(node, to_inexact(node.dtype).compute)


def mean(a: array, /, axis: Axes = None, keepdims: bool = False, *, stream: Any = None) -> array:
    """The mean over the given axes (None for all); integers are taken as float32.

    >>> import arrax.core as mx
    >>> mx.mean(mx.array([[1, 2], [3, 4]]), axis=1)
    array([1.5, 3.5], dtype=float32)
    """
    check_stream("mean", stream)
    node = array_node("mean", a)
    axes = normalize_axes("mean", axis, node.ndim)
    return _finish(cast(_mean(_wide(node), axes), to_inexact(node.dtype)), axes, keepdims)


def _variance(op: str, a: Any, axis: Axes, ddof: Any) -> tuple[Node, tuple[int, ...], Dtype]:
    node, ddof = array_node(op, a), as_number(op, ddof, "ddof")
    axes = normalize_axes(op, axis, node.ndim)
    wide = _wide(node)
    apart = p.sub(wide, _mean(wide, axes))
    if node.dtype.is_complex:
        apart = record_abs(apart)
    total = _reduce(r.sum_p, p.square(apart), axes)
    result = p.mul(total, constant(_reciprocal(_count(node, axes) - ddof), total.dtype))
    return result, axes, real_of(to_inexact(node.dtype))


def var(
    a: array,
    /,
    axis: Axes = None,
    keepdims: bool = False,
    ddof: float = 0,
    *,
    correction: float | None = None,
    stream: Any = None,
) -> array:
    """The variance over the given axes (None for all): squared distances from the mean over the count less ``ddof``.

    ``correction`` is another name of ``ddof``.
    """
    check_stream("var", stream)
    node, axes, dtype = _variance("var", a, axis, ddof if correction is None else correction)
    return _finish(cast(node, dtype), axes, keepdims)


def std(
    a: array,
    /,
    axis: Axes = None,
    keepdims: bool = False,
    ddof: float = 0,
    *,
    correction: float | None = None,
    stream: Any = None,
) -> array:
    """The square root of the variance; see ``var``."""
    check_stream("std", stream)
    node, axes, dtype = _variance("std", a, axis, ddof if correction is None else correction)
    return _finish(cast(p.sqrt(node), dtype), axes, keepdims)


def _mean_of_two(a: Node, b: Node) -> Node:
    a, b = _wide(a), _wide(b)
    return p.mul(p.add(a, b), constant(0.5, a.dtype))


def median(a: array, /, axis: Axes = None, keepdims: bool = False, *, stream: Any = None) -> array:
    """The middle element over the given axes (None for all), or the mean of the middle two."""
    check_stream("median", stream)
    node = array_node("median", a)
    axes = normalize_axes("median", axis, node.ndim)
    if not axes and node.ndim:
        raise ValueError("[median] expected at least one axis, got none: leave axis out for all of them")
    _nonempty("median", node, axes)
    node = cast(node, to_inexact(node.dtype))
    kept = tuple(i for i in range(node.ndim) if i not in axes)
    n = _count(node, axes)
    rows = v.reshape(v.transpose(node, (*kept, *axes)), (*(node.shape[i] for i in kept), n))
    last = rows.ndim - 1
    ordered = opaque.sort(rows, last)

    def pick(i: int) -> Node:
        return v.slice_(ordered, (*rows.shape[:-1], 1), (*(0 for _ in range(last)), i))

    middle = pick(n // 2)
    if n % 2 == 0:
        middle = cast(_mean_of_two(pick(n // 2 - 1), middle), node.dtype)
    largest = pick(n - 1)  # where NaN comes last
    middle = p.where(p.not_equal(largest, largest), largest, middle)
    if not keepdims:
        return wrap(drop_axes(middle, (last,)))
    return wrap(v.reshape(middle, r.reduced_shape(node.shape, axes)))


# --- exponentials -----------------------------------------------------------------------------------------------------
def _shifted(node: Node, axes: tuple[int, ...], finite: bool) -> tuple[Node, Node]:
    """exp of the distances from the largest element, and that element; a constant, as it cancels in the result."""
    top = p.stop_gradient(_reduce(r.max_p, node, axes))
    if finite:
        top = p.where(record_isfinite(top), top, constant(0, top.dtype))
    return p.exp(p.sub(node, top)), top


def softmax(a: array, /, axis: Axes = None, *, precise: bool = False, stream: Any = None) -> array:
    """``exp(a) / sum(exp(a))`` over the given axes (None for all) without overflow; integers are taken as float32.

    Half precision is computed in float32 and rounded once, whether ``precise`` or not.

    >>> import arrax.core as mx
    >>> mx.softmax(mx.array([0.0, 0.0]))
    array([0.5, 0.5], dtype=float32)
    """
    check_stream("softmax", stream)
    node = array_node("softmax", a)
    axes = normalize_axes("softmax", axis, node.ndim)
    if not axes:
        return wrap(v.broadcast(constant(1, to_inexact(node.dtype)), node.shape))
    if node.size == 0:
        return wrap(cast(node, to_inexact(node.dtype)))
    weight, _ = _shifted(_wide(node), axes, False)
    return wrap(cast(p.div(weight, _reduce(r.sum_p, weight, axes)), to_inexact(node.dtype)))


def logsumexp(a: array, /, axis: Axes = None, keepdims: bool = False, *, stream: Any = None) -> array:
    """``log(sum(exp(a)))`` over the given axes (None for all) without overflow, infinities included.

    >>> import arrax.core as mx
    >>> mx.logsumexp(mx.array([1000.0, 1000.0]))
    array(1000.69, dtype=float32)
    """
    check_stream("logsumexp", stream)
    node = array_node("logsumexp", a)
    axes = normalize_axes("logsumexp", axis, node.ndim)
    if node.size == 0:
        raise ValueError(
            f"[logsumexp] expected at least one element, got shape {list(node.shape)}: test the size first"
        )
    weight, top = _shifted(_wide(node), axes, True)
    total = p.add(p.log(_reduce(r.sum_p, weight, axes)), top)
    return _finish(cast(total, to_inexact(node.dtype)), axes, keepdims)


# --- comparison of whole arrays ---------------------------------------------------------------------------------------
def array_equal(a: array | float, b: array | float, equal_nan: bool = False, stream: Any = None) -> array:
    """Whether two arrays have one shape and equal elements; NaN equals NaN only with ``equal_nan``."""
    check_stream("array_equal", stream)
    x, y = pair("array_equal", a, b)
    if x.shape != y.shape:
        return wrap(constant(False, bool_))
    same = p.equal(x, y)
    if equal_nan and x.dtype.is_inexact:
        same = p.bitwise_or(same, p.bitwise_and(p.not_equal(x, x), p.not_equal(y, y)))
    return all(wrap(same))


def allclose(
    a: array,
    b: array,
    /,
    rtol: float = 1e-5,
    atol: float = 1e-8,
    *,
    equal_nan: bool = False,
    stream: Any = None,
) -> array:
    """Whether all elements are close in the sense of ``isclose``."""
    check_stream("allclose", stream)
    rtol, atol = as_number("allclose", rtol, "rtol"), as_number("allclose", atol, "atol")
    for x in (a, b):
        array_node("allclose", x)
    return all(wrap(record_isclose(*pair("allclose", a, b), rtol, atol, equal_nan)))


def trace(
    a: array,
    /,
    offset: int = 0,
    axis1: int = 0,
    axis2: int = 1,
    dtype: Dtype | None = None,
    *,
    stream: Any = None,
) -> array:
    """The sum along a diagonal; ``dtype`` is the type of the sum."""
    check_stream("trace", stream)
    expect("trace", Dtype | None, dtype=dtype)
    node = record_diagonal("trace", array_node("trace", a), offset, axis1, axis2)
    if dtype is not None:
        node = cast(node, dtype)
    return sum(wrap(node), node.ndim - 1)


def record_diagonal(op: str, node: Node, offset: int, axis1: int, axis2: int) -> Node:
    """The diagonal of two axes as the last one."""
    if node.ndim < 2:
        raise ValueError(f"[{op}] expected at least 2 dimensions, got {node.ndim}: use diag to build a matrix")
    i, j = normalize_axis(op, axis1, node.ndim), normalize_axis(op, axis2, node.ndim)
    if i == j:
        raise ValueError(f"[{op}] expected two different axes, got {axis1} and {axis2}: choose another one")
    rest = tuple(k for k in range(node.ndim) if k not in (i, j))
    node = v.transpose(node, (*rest, i, j))
    rows, columns = node.shape[-2:]
    offset = as_int(op, offset, "offset")
    row, column = -offset if offset < 0 else 0, offset if offset > 0 else 0
    n = rows - row if rows - row < columns - column else columns - column
    n = n if n > 0 else 0
    lead = node.shape[:-2]
    if n == 0:
        return v.broadcast(constant(0, node.dtype), (*lead, 0))
    # row-major, the elements of the diagonal of an n by n block are n + 1 apart
    block = v.slice_(node, (*lead, n, n), (*(0 for _ in lead), row, column))
    flat = v.reshape(block, (*lead, n * n))
    return v.slice_(flat, (*lead, n), (0,) * (len(lead) + 1), (*(1 for _ in lead), n + 1))
