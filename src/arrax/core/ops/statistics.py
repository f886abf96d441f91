"""Statistics beyond MLX's: quantiles, values over what is not NaN, weighted means, covariances.

Integers are taken as float32, and complex numbers are refused where there is an order.
"""

from __future__ import annotations

import math as _math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from arrax.core.arguments import as_number
from arrax.core.axes import normalize_axes
from arrax.core.convert import array_node
from arrax.core.device import check_stream
from arrax.core.ops import reductions
from arrax.core.ops.math import conj, imag, isnan, real, record_isnan, sqrt
from arrax.core.ops.products import matmul
from arrax.core.ops.reductions import Axes
from arrax.core.ops.scans import cumprod, cumsum
from arrax.core.ops.selection import clip
from arrax.core.ops.shape import drop_axes, record_concatenate, record_slice_axis, squeeze, transpose
from arrax.core.ops.special import real_node
from arrax.graph.dtypes import float64, promote, real_of, to_inexact
from arrax.graph.handle import Handle, shown, wrap
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

_wrap: Callable[[Node], Any] = wrap


# --- past NaN ---------------------------------------------------------------------------------------------------------
def _without_nan(op: str, a: Any, value: float) -> Any:
    """The array with another value in place of NaN."""
    node = array_node(op, a)
    if not node.dtype.is_inexact:
        return a
    return wrap(p.where(isnan(a)._node, constant(value, node.dtype), node))


def _only_nan(a: Any, axis: Axes, keepdims: bool) -> Node:
    return reductions.all(isnan(a), axis, keepdims)._node


def nansum(a: array, /, axis: Axes = None, keepdims: bool = False, *, stream: Any = None) -> array:
    """The sum over the given axes (None for all) of the elements that are not NaN.

    >>> import arrax.core as mx
    >>> mx.nansum(mx.array([1.0, mx.nan, 2.0]))
    array(3, dtype=float32)
    """
    check_stream("nansum", stream)
    return reductions.sum(_without_nan("nansum", a, 0), axis, keepdims)


def nanprod(a: array, /, axis: Axes = None, keepdims: bool = False, *, stream: Any = None) -> array:
    """The product over the given axes (None for all) of the elements that are not NaN."""
    check_stream("nanprod", stream)
    return reductions.prod(_without_nan("nanprod", a, 1), axis, keepdims)


def _extremum(op: str, reduction: Callable[..., Any], a: Any, axis: Axes, keepdims: bool, last: float) -> Any:
    node = array_node(op, a)
    if not node.dtype.is_float:
        return reduction(a, axis, keepdims)
    found = reduction(_without_nan(op, a, last), axis, keepdims)._node
    return wrap(p.where(_only_nan(a, axis, keepdims), constant(_math.nan, found.dtype), found))


def nanmax(a: array, /, axis: Axes = None, keepdims: bool = False, *, stream: Any = None) -> array:
    """The largest element over the given axes (None for all) that is not NaN; NaN where all are.

    >>> import arrax.core as mx
    >>> mx.nanmax(mx.array([1.0, mx.nan, 2.0]))
    array(2, dtype=float32)
    """
    check_stream("nanmax", stream)
    return _extremum("nanmax", reductions.max, a, axis, keepdims, -_math.inf)


def nanmin(a: array, /, axis: Axes = None, keepdims: bool = False, *, stream: Any = None) -> array:
    """The smallest element over the given axes (None for all) that is not NaN; NaN where all are."""
    check_stream("nanmin", stream)
    return _extremum("nanmin", reductions.min, a, axis, keepdims, _math.inf)


def nanargmax(a: array, /, axis: int | None = None, keepdims: bool = False, *, stream: Any = None) -> array:
    """The first position of the largest element along an axis that is not NaN, as uint32; 0 where all are NaN."""
    check_stream("nanargmax", stream)
    return reductions.argmax(_without_nan("nanargmax", a, -_math.inf), axis, keepdims)


def nanargmin(a: array, /, axis: int | None = None, keepdims: bool = False, *, stream: Any = None) -> array:
    """The first position of the smallest element along an axis that is not NaN, as uint32; 0 where all are NaN."""
    check_stream("nanargmin", stream)
    return reductions.argmin(_without_nan("nanargmin", a, _math.inf), axis, keepdims)


def nancumsum(a: array, /, axis: int | None = None, *, stream: Any = None) -> array:
    """The running sum along an axis (None for the flattened array) with NaN counted as 0."""
    check_stream("nancumsum", stream)
    return cumsum(_without_nan("nancumsum", a, 0), axis)


def nancumprod(a: array, /, axis: int | None = None, *, stream: Any = None) -> array:
    """The running product along an axis (None for the flattened array) with NaN counted as 1."""
    check_stream("nancumprod", stream)
    return cumprod(_without_nan("nancumprod", a, 1), axis)


def _sum(node: Node, axes: tuple[int, ...]) -> Node:
    return r.reduce(r.sum_p, node, axes) if axes else node


def _nan_mean(node: Node, axes: tuple[int, ...]) -> tuple[Node, Node, Node]:
    """The mean of what is not NaN, where there is NaN, and how many other elements there are; in float32 at least."""
    missing = isnan(wrap(node))._node
    wide = cast(node, to_inexact(node.dtype).compute)
    present = p.where(missing, constant(0, wide.dtype), constant(1, wide.dtype))
    count = _sum(present, axes)
    total = _sum(p.where(missing, constant(0, wide.dtype), wide), axes)
    return p.div(total, count), missing, count


def _finish(node: Node, like: Node, axes: tuple[int, ...], keepdims: bool) -> Any:
    dtype = real_of(like.dtype) if node.dtype.is_float and like.dtype.is_complex else to_inexact(like.dtype)
    node = cast(node, dtype)
    return wrap(node if keepdims or not axes else drop_axes(node, axes))


def nanmean(a: array, /, axis: Axes = None, keepdims: bool = False, *, stream: Any = None) -> array:
    """The mean over the given axes (None for all) of the elements that are not NaN; NaN where all are.

    >>> import arrax.core as mx
    >>> mx.nanmean(mx.array([1.0, mx.nan, 2.0]))
    array(1.5, dtype=float32)
    """
    check_stream("nanmean", stream)
    node = array_node("nanmean", a)
    axes = normalize_axes("nanmean", axis, node.ndim)
    return _finish(_nan_mean(node, axes)[0], node, axes, keepdims)


def _nan_variance(op: str, a: Any, axis: Axes, ddof: float) -> tuple[Node, Node, tuple[int, ...]]:
    node = array_node(op, a)
    axes, ddof = normalize_axes(op, axis, node.ndim), as_number(op, ddof, "ddof")
    mean, missing, count = _nan_mean(node, axes)
    apart = p.sub(cast(node, mean.dtype), mean)
    # no NaN may enter a product, whose derivative it would spoil
    apart = p.where(missing, constant(0, apart.dtype), apart)
    if node.dtype.is_complex:
        count = real(wrap(count))._node
        square = p.add(*(p.square(part(wrap(apart))._node) for part in (real, imag)))
    else:
        square = p.square(apart)
    freedom = p.sub(count, constant(ddof, count.dtype))
    enough = p.greater(freedom, constant(0, count.dtype))
    found = p.div(_sum(square, axes), p.where(enough, freedom, constant(1, count.dtype)))
    return p.where(enough, found, constant(_math.nan, found.dtype)), node, axes


def nanvar(a: array, /, axis: Axes = None, keepdims: bool = False, ddof: float = 0, *, stream: Any = None) -> array:
    """The variance over the given axes (None for all) of the elements that are not NaN.

    NaN where there are not more than ``ddof`` of them, which is what their count is diminished by.
    """
    check_stream("nanvar", stream)
    return _finish(*_nan_variance("nanvar", a, axis, ddof), keepdims)


def nanstd(a: array, /, axis: Axes = None, keepdims: bool = False, ddof: float = 0, *, stream: Any = None) -> array:
    """The square root of ``nanvar``."""
    check_stream("nanstd", stream)
    found, node, axes = _nan_variance("nanstd", a, axis, ddof)
    return _finish(p.sqrt(found), node, axes, keepdims)


# --- quantiles --------------------------------------------------------------------------------------------------------
_METHODS = ("linear", "lower", "higher", "nearest", "midpoint")


def _fractions(op: str, q: Any, whole: float) -> Node:
    """The fractions below which the elements are to be, in float64; those that are known now are checked."""
    if isinstance(q, Handle):
        return p.div(cast(q._node, float64), constant(whole, float64))
    try:
        found = np.asarray(q, np.float64) / whole
    except (TypeError, ValueError):
        raise TypeError(f"[{op}] expected numbers as q, got {type(q).__name__}: pass floats or an array") from None
    if not np.all((found >= 0) & (found <= 1)):
        raise ValueError(f"[{op}] expected q from 0 to {whole:g}, got {q}: choose another one")
    return from_numpy_array(found)


def _quantile(
    op: str, a: Any, q: Any, axis: Axes, method: str, keepdims: bool, whole: float = 1, skip_nan: bool = False
) -> Any:
    if method not in _METHODS:
        raise ValueError(
            f"[{op}] expected a method out of {', '.join(_METHODS)}, got {shown(method)}: choose one of them"
        )
    array_node(op, a)
    node = real_node(op, a)
    axes = normalize_axes(op, axis, node.ndim)
    kept = tuple(i for i in range(node.ndim) if i not in axes)
    outer = tuple(node.shape[i] for i in kept)
    n = _math.prod(node.shape[i] for i in axes)
    if n == 0:
        raise ValueError(f"[{op}] expected at least one element, got shape {list(node.shape)}: test the size first")
    at = _fractions(op, q, whole)
    last = len(kept)
    rows = opaque.sort(v.reshape(v.transpose(node, (*kept, *axes)), (*outer, n)), last)  # NaN stands behind all numbers
    count: Node = constant(n, float64)
    if skip_nan:
        count = r.reduce(r.sum_p, cast(p.equal(rows, rows), float64), (last,))
    end = p.sub(count, constant(1, float64))
    place = p.mul(v.reshape(at, (*(1,) * last, at.size)), end)
    place = p.maximum(p.minimum(place, end), constant(0, float64))
    place = v.broadcast(place, (*outer, at.size))
    result = _between(rows, place, method, last)
    if not skip_nan:
        largest = record_slice_axis(rows, last, n - 1, n)
        result = p.where(record_isnan(largest), largest, result)
    result = v.move_axis(result, last, 0)
    shape = r.reduced_shape(node.shape, axes) if keepdims else outer
    return wrap(v.reshape(result, (*at.shape, *shape)))


def _between(rows: Node, place: Node, method: str, last: int) -> Node:
    """The values at places between the sorted elements of each row."""
    dtype = gather.position_type(rows.shape[last])
    if method == "nearest":
        return gather.take_along(rows, p.stop_gradient(cast(p.rint(place), dtype)), last)
    below = p.floor(place)
    low = gather.take_along(rows, p.stop_gradient(cast(below, dtype)), last)
    if method == "lower":
        return low
    high = gather.take_along(rows, p.stop_gradient(cast(p.ceil(place), dtype)), last)
    if method == "higher":
        return high
    fraction = cast(p.sub(place, below), low.dtype.compute)
    if method == "midpoint":
        zero = constant(0, fraction.dtype)
        fraction = p.where(p.equal(fraction, zero), zero, constant(0.5, fraction.dtype))
    fraction = cast(fraction, low.dtype)
    # two equal infinities have no difference
    step = p.where(p.equal(low, high), constant(0, low.dtype), p.sub(high, low))
    return p.add(low, p.mul(step, fraction))


def quantile(
    a: array,
    /,
    q: float | array,
    axis: Axes = None,
    keepdims: bool = False,
    *,
    method: str = "linear",
    stream: Any = None,
) -> array:
    """The values below which the fractions ``q`` of the elements over the given axes (None for all) are.

    Args:
        q: one number or several from 0 to 1. Their axes come first in the result.
        method: what to take between two elements: 'linear' interpolation, the 'lower', the 'higher', the 'nearest' one
            (halfway, the one at an even place) or their 'midpoint'.

    Raises:
        ValueError: for numbers outside (in an ``array``, they are moved to the nearest inside), no elements, another
            method, or complex numbers.

    >>> import arrax.core as mx
    >>> mx.quantile(mx.array([1, 2, 3, 4]), [0.5, 1])
    array([2.5, 4], dtype=float32)
    """
    check_stream("quantile", stream)
    return _quantile("quantile", a, q, axis, method, keepdims)


def percentile(
    a: array,
    /,
    q: float | array,
    axis: Axes = None,
    keepdims: bool = False,
    *,
    method: str = "linear",
    stream: Any = None,
) -> array:
    """``quantile`` with ``q`` from 0 to 100."""
    check_stream("percentile", stream)
    return _quantile("percentile", a, q, axis, method, keepdims, 100)


def nanquantile(
    a: array,
    /,
    q: float | array,
    axis: Axes = None,
    keepdims: bool = False,
    *,
    method: str = "linear",
    stream: Any = None,
) -> array:
    """``quantile`` of the elements that are not NaN; NaN where all are."""
    check_stream("nanquantile", stream)
    return _quantile("nanquantile", a, q, axis, method, keepdims, skip_nan=True)


def nanpercentile(
    a: array,
    /,
    q: float | array,
    axis: Axes = None,
    keepdims: bool = False,
    *,
    method: str = "linear",
    stream: Any = None,
) -> array:
    """``percentile`` of the elements that are not NaN; NaN where all are."""
    check_stream("nanpercentile", stream)
    return _quantile("nanpercentile", a, q, axis, method, keepdims, 100, skip_nan=True)


def nanmedian(a: array, /, axis: Axes = None, keepdims: bool = False, *, stream: Any = None) -> array:
    """The ``median`` of the elements that are not NaN; NaN where all are."""
    check_stream("nanmedian", stream)
    return _quantile("nanmedian", a, 0.5, axis, "linear", keepdims, skip_nan=True)


# --- means and covariances --------------------------------------------------------------------------------------------
def ptp(a: array, /, axis: Axes = None, keepdims: bool = False, *, stream: Any = None) -> array:
    """The difference of the largest and the smallest element over the given axes (None for all)."""
    check_stream("ptp", stream)
    return reductions.max(a, axis, keepdims) - reductions.min(a, axis, keepdims)


def average(
    a: array,
    /,
    axis: Axes = None,
    weights: array | None = None,
    keepdims: bool = False,
    *,
    returned: bool = False,
    stream: Any = None,
) -> Any:
    """The weighted mean over the given axes (None for all).

    Args:
        weights: in the shape of ``a``, or one for each position along a single axis; None for equal ones.
        returned: also the sum of the weights.

    Raises:
        ValueError: for weights of another shape.

    >>> import arrax.core as mx
    >>> mx.average(mx.array([1.0, 2.0]), weights=mx.array([3.0, 1.0]))
    array(1.25, dtype=float32)
    """
    check_stream("average", stream)
    node = array_node("average", a)
    axes = normalize_axes("average", axis, node.ndim)
    if weights is None:
        found = reductions.mean(a, axis, keepdims)
        count = _math.prod(node.shape[i] for i in axes)
        total = wrap(v.broadcast(constant(count, found._node.dtype), found._node.shape))
        return (found, total) if returned else found
    w = array_node("average", weights)
    if w.shape != node.shape:
        if w.ndim != 1 or len(axes) != 1 or w.shape[0] != node.shape[axes[0]]:
            raise ValueError(
                f"[average] expected weights of shape {list(node.shape)} or one for each element of one axis, "
                f"got {list(w.shape)}: reshape them"
            )
        w = v.reshape(w, tuple(n if i in axes else 1 for i, n in enumerate(node.shape)))
    dtype = to_inexact(promote(node.dtype, w.dtype))
    w = v.broadcast(cast(w, dtype.compute), node.shape)
    whole = _sum(w, axes)
    weighted = _sum(p.mul(cast(node, dtype.compute), w), axes)
    results = [cast(x, dtype) for x in (p.div(weighted, whole), whole)]
    arrays = tuple(wrap(x if keepdims or not axes else drop_axes(x, axes)) for x in results)
    return arrays if returned else arrays[0]


def _observations(op: str, m: Any, rowvar: bool) -> Node:
    """Variables by observations."""
    node = array_node(op, m)
    if node.ndim > 2:
        raise ValueError(f"[{op}] expected at most 2 dimensions, got {node.ndim}: reshape the array")
    if node.ndim < 2:
        return v.reshape(node, (1, node.size))
    return node if rowvar or node.shape[0] == 1 else v.transpose(node, (1, 0))


def _observation_weights(op: str, weights: Any, x: Node) -> Node | None:
    if weights is None:
        return None
    node = array_node(op, weights)
    if node.shape != (x.shape[1],):
        raise ValueError(f"[{op}] expected {x.shape[1]} weights, one for each observation, got {list(node.shape)}")
    return cast(node, real_of(x.dtype))


def cov(
    m: array,
    y: array | None = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: float | None = None,
    fweights: array | None = None,
    aweights: array | None = None,
    *,
    stream: Any = None,
) -> array:
    """The covariances of variables: a matrix, or a single variance for one variable.

    Args:
        m, y: observations; each row is a variable, or with ``rowvar=False`` each column. Those of ``y`` follow.
        bias: divide by the number of observations rather than by one less.
        ddof: what the number of observations is diminished by, instead.
        fweights, aweights: how often each observation counts, and how reliable it is.

    Raises:
        ValueError: for more than two dimensions, or weights of another number.

    >>> import arrax.core as mx
    >>> mx.cov(mx.array([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    array([[1, -1],
           [-1, 1]], dtype=float32)
    """
    check_stream("cov", stream)
    x = _observations("cov", m, rowvar)
    if y is not None:
        other = _observations("cov", y, rowvar)
        dtype = promote(x.dtype, other.dtype)
        x = record_concatenate([cast(x, dtype), cast(other, dtype)], 0)
    result_type = to_inexact(x.dtype)
    x = cast(x, result_type.compute)
    less = (0 if bias else 1) if ddof is None else as_number("cov", ddof, "ddof")
    frequency, reliability = (_observation_weights("cov", w, x) for w in (fweights, aweights))
    n = x.shape[1]
    real_type = real_of(x.dtype)
    weights: Node = v.broadcast(constant(1, real_type), (n,))
    if frequency is not None:
        weights = p.mul(weights, frequency)
    if reliability is not None:
        weights = p.mul(weights, reliability)
    total = v.reshape(_sum(weights, (0,)), ())
    taken: Node = constant(less, real_type)
    if reliability is not None:
        taken = p.mul(taken, p.div(v.reshape(_sum(p.mul(weights, reliability), (0,)), ()), total))
    freedom = p.maximum(p.sub(total, taken), constant(0, real_type))
    weights, total, freedom = (cast(w, x.dtype) for w in (weights, total, freedom))
    apart = p.sub(x, p.div(_sum(p.mul(x, weights), (1,)), total))
    products = matmul(_wrap(p.mul(apart, weights)), transpose(conj(_wrap(apart))))
    found = cast(p.div(products._node, freedom), result_type)
    return squeeze(_wrap(found))


def corrcoef(x: array, y: array | None = None, rowvar: bool = True, *, stream: Any = None) -> array:
    """The correlation coefficients of variables, from -1 to 1: ``cov`` over the products of the deviations.

    >>> import arrax.core as mx
    >>> mx.corrcoef(mx.array([[0.0, 1.0, 2.0], [4.0, 2.0, 0.0]]))
    array([[1, -1],
           [-1, 1]], dtype=float32)
    """
    check_stream("corrcoef", stream)
    found = cov(x, y, rowvar)
    if not found.ndim:
        return found / found
    deviations = sqrt(real(found.diagonal()))
    found = found / deviations[:, None] / deviations[None, :]
    if not found.dtype.is_complex:
        return clip(found, -1, 1)
    parts = [clip(part(found), -1, 1) for part in (real, imag)]
    return parts[0] + 1j * parts[1]
