"""Functions that are given by samples: grids, interpolation, derivatives, integrals, polynomials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from arrax.core.arguments import as_int, as_ints, as_number, is_sequence
from arrax.core.axes import normalize_axes, normalize_axis
from arrax.core.convert import array_node, as_dtype, new_node, new_node_beside, pair, typed_node
from arrax.core.device import check_stream
from arrax.core.ops.create import linspace
from arrax.core.ops.shape import record_concatenate, record_slice_axis
from arrax.core.ops.sorting import argsort, searchsorted
from arrax.graph.dtypes import Dtype, float32, int32, promote, to_inexact
from arrax.graph.handle import wrap
from arrax.graph.node import Node
from arrax.prims import gather
from arrax.prims import pointwise as p
from arrax.prims import reduce as r
from arrax.prims import view as v
from arrax.prims.leaf import constant
from arrax.prims.pointwise import cast

if TYPE_CHECKING:
    from arrax.core.array import array


# --- grids ------------------------------------------------------------------------------------------------------------
def logspace(
    start: float,
    stop: float,
    num: int = 50,
    endpoint: bool = True,
    base: float = 10.0,
    dtype: Dtype | None = None,
    *,
    stream: Any = None,
) -> array:
    """Powers of ``base`` whose exponents are at even distances, as in ``linspace``; float32 unless told otherwise.

    >>> import arrax.core as mx
    >>> mx.logspace(0, 2, 3)
    array([1, 10, 100], dtype=float32)
    """
    check_stream("logspace", stream)
    base = as_number("logspace", base, "base")
    kind = float32 if dtype is None else as_dtype("logspace", dtype)
    wide = to_inexact(kind).compute
    exponents = linspace(start, stop, num, endpoint, wide)._node
    return wrap(cast(p.power(constant(base, wide), exponents), kind))


def geomspace(
    start: float, stop: float, num: int = 50, endpoint: bool = True, dtype: Dtype | None = None, *, stream: Any = None
) -> array:
    """Numbers from ``start`` to ``stop`` with one quotient from each to the next; float32 unless told otherwise.

    Raises:
        ValueError: for a bound that is 0, or bounds of different signs.

    >>> import arrax.core as mx
    >>> mx.geomspace(1, 8, 4)
    array([1, 2, 4, 8], dtype=float32)
    """
    check_stream("geomspace", stream)
    start, stop = as_number("geomspace", start, "start"), as_number("geomspace", stop, "stop")
    num = as_int("geomspace", num, "num")
    kind = float32 if dtype is None else as_dtype("geomspace", dtype)
    if start * stop <= 0:
        raise ValueError(f"[geomspace] expected bounds of one sign that are not 0, got {start} and {stop}")
    wide = to_inexact(kind).compute
    sign = 1.0 if start > 0 else -1.0
    first, last = abs(start), abs(stop)
    exponents = linspace(0.0, math.log2(last / first), num, endpoint, wide)._node
    line = p.mul(constant(sign * first, wide), p.exp2(exponents))
    if num > 1 and endpoint:
        line = v.slice_update(line, v.reshape(constant(stop, wide), (1,)), (num - 1,))
    return wrap(cast(line, kind))


# --- interpolation ----------------------------------------------------------------------------------------------------
def interp(
    x: array | float,
    xp: array,
    fp: array,
    left: float | None = None,
    right: float | None = None,
    period: float | None = None,
    *,
    stream: Any = None,
) -> array:
    """Values between samples ``fp`` at ascending points ``xp``, along straight lines.

    Derivatives with respect to ``x``, ``xp`` and ``fp`` exist.

    Args:
        left, right: the values before the first and behind the last point; None for those at these points.
        period: of the points, which then may be in any order.

    Raises:
        ValueError: for samples of another number than points, or no points.

    >>> import arrax.core as mx
    >>> mx.interp(mx.array([0.5, 9.0]), mx.array([0.0, 1.0, 2.0]), mx.array([10.0, 20.0, 40.0]))
    array([15, 40], dtype=float32)
    """
    check_stream("interp", stream)
    samples = new_node_beside(fp, x)
    at, points = pair("interp", x, wrap(new_node_beside(xp, x)))
    if points.ndim != 1 or samples.shape != points.shape or not points.shape[0]:
        raise ValueError(
            "[interp] expected as many samples as points, at least one of each and with one axis, "
            f"got {list(samples.shape)} and {list(points.shape)}"
        )
    if at.dtype.is_complex:
        raise ValueError(f"[interp] expected real points, got {at.dtype.name}: take the real or imaginary part first")
    dtype = to_inexact(at.dtype)
    at, points = cast(at, dtype), cast(points, dtype)
    result_type = to_inexact(promote(samples.dtype, dtype))
    samples = cast(samples, result_type)
    if period is not None:
        if not period > 0:
            raise ValueError(f"[interp] expected a positive period, got {period}: leave it out for none")
        at, points, samples = _unrolled(at, points, samples, period)
        left = right = None
    n = points.shape[0]
    i = cast(searchsorted(wrap(points), wrap(at), "right")._node, int32)
    i = p.stop_gradient(i)
    low = p.maximum(p.sub(i, constant(1, int32)), constant(0, int32))
    high = p.minimum(i, constant(n - 1, int32))
    x0, x1 = gather.take(points, low, 0), gather.take(points, high, 0)
    y0, y1 = gather.take(samples, low, 0), gather.take(samples, high, 0)
    width = p.sub(x1, x0)
    flat = p.equal(width, constant(0, dtype))  # beside all points, or two at one place
    fraction = p.div(p.sub(at, x0), p.where(flat, constant(1, dtype), width))
    fraction = p.where(flat, constant(0, dtype), fraction)
    result = p.add(y0, p.mul(cast(fraction, result_type), p.sub(y1, y0)))
    if left is not None:
        first = record_slice_axis(points, 0, 0, 1)
        result = p.where(p.less(at, first), typed_node("interp", left, result_type), result)
    if right is not None:
        last = record_slice_axis(points, 0, n - 1, n)
        result = p.where(p.greater(at, last), typed_node("interp", right, result_type), result)
    missing = cast(p.where(p.equal(at, at), constant(0, dtype), at), result_type)
    return wrap(v.reshape(p.add(result, missing), at.shape))


def _unrolled(at: Node, points: Node, samples: Node, period: float) -> tuple[Node, Node, Node]:
    """Points of one period in ascending order, with a neighbour of the periods before and after."""
    length = constant(period, points.dtype)
    at, points = p.remainder(at, length), p.remainder(points, length)
    order = p.stop_gradient(argsort(wrap(points))._node)
    points, samples = gather.take(points, order, 0), gather.take(samples, order, 0)
    n = points.shape[0]

    def ends(node: Node) -> tuple[Node, Node]:
        return record_slice_axis(node, 0, n - 1, n), record_slice_axis(node, 0, 0, 1)

    before, behind = ends(points)
    points = record_concatenate([p.sub(before, length), points, p.add(behind, length)], 0)
    last, first = ends(samples)
    return at, points, record_concatenate([last, samples, first], 0)


# --- derivatives and integrals ----------------------------------------------------------------------------------------
def _spacings(op: str, varargs: Sequence[Any], axes: tuple[int, ...], node: Node) -> list[Node]:
    """The distance of samples along each axis: a scalar, or one for each pair of neighbours."""
    given = list(varargs) or [1.0]
    if len(given) == 1:
        given *= len(axes)
    if len(given) != len(axes):
        raise TypeError(f"[{op}] expected one spacing or one for each of {len(axes)} axes, got {len(varargs)}")
    found = []
    for spacing, axis in zip(given, axes, strict=True):
        distance = new_node(spacing, node.dtype)
        if distance.ndim:
            if distance.shape != (node.shape[axis],):
                raise ValueError(
                    f"[{op}] expected {node.shape[axis]} coordinates for axis {axis}, got {list(distance.shape)}"
                )
            distance = _differences(distance, 0)
            sizes = tuple(distance.size if i == axis else 1 for i in range(node.ndim))
            distance = v.reshape(distance, sizes)
        found.append(distance)
    return found


def _differences(node: Node, axis: int) -> Node:
    n = node.shape[axis]
    return p.sub(record_slice_axis(node, axis, 1, n), record_slice_axis(node, axis, 0, n - 1))


def gradient(
    f: array,
    /,
    *varargs: float | array,
    axis: int | Sequence[int] | None = None,
    edge_order: int = 1,
    stream: Any = None,
) -> Any:
    """The derivatives of a sampled function along axes, by central differences; at the ends one-sided.

    Args:
        varargs: the distance of the samples or their coordinates: one for all axes, or one for each; 1 if left out.
        axis: one axis or several; None for all.
        edge_order: 1 or 2, the order of accuracy at the ends.

    Returns:
        An array in the shape of ``f``, or a tuple of them for several axes.

    Raises:
        ValueError: where an axis has not more than ``edge_order`` samples, or coordinates are of another number.
        TypeError: for another number of spacings.

    >>> import arrax.core as mx
    >>> mx.gradient(mx.array([1.0, 4.0, 9.0]))
    array([3, 4, 5], dtype=float32)
    """
    check_stream("gradient", stream)
    node = array_node("gradient", f)
    node = cast(node, to_inexact(node.dtype))
    axes = normalize_axes("gradient", axis, node.ndim)
    if is_sequence(axis):
        axes = tuple(normalize_axis("gradient", i, node.ndim) for i in as_ints("gradient", axis, "axes"))
    edge_order = as_int("gradient", edge_order, "edge_order")
    if edge_order not in (1, 2):
        raise ValueError(f"[gradient] expected an edge_order of 1 or 2, got {edge_order}: choose one of them")
    results = []
    for i, h in zip(axes, _spacings("gradient", varargs, axes, node), strict=True):
        if node.shape[i] < edge_order + 1:
            raise ValueError(
                f"[gradient] expected at least {edge_order + 1} samples, got {node.shape[i]} along axis {i}"
            )
        results.append(wrap(_derivative(node, h, i, edge_order)))
    return results[0] if len(results) == 1 else tuple(results)


def _derivative(node: Node, h: Node, axis: int, edge_order: int) -> Node:
    n = node.shape[axis]

    def part(a: Node, start: int, stop: int) -> Node:
        return record_slice_axis(a, axis, start, stop) if a.ndim else a

    slopes = p.div(_differences(node, axis), h)
    before, behind = part(slopes, 0, n - 2), part(slopes, 1, n - 1)
    first, last = part(slopes, 0, 1), part(slopes, n - 2, n - 1)
    if n == 2:
        return record_concatenate([first, last], axis)
    # the slope of the parabola through three neighbours, in the middle of them and at the ends
    h0, h1 = (part(h, 0, n - 2), part(h, 1, n - 1)) if h.ndim else (h, h)
    whole = p.add(h0, h1)
    inner = p.div(p.add(p.mul(h1, before), p.mul(h0, behind)), whole)
    if edge_order == 2:
        bend = p.div(p.sub(behind, before), whole)
        first = p.sub(first, p.mul(part(bend, 0, 1), part(h0, 0, 1)))
        last = p.add(last, p.mul(part(bend, n - 3, n - 2), part(h1, n - 3, n - 2)))
    return record_concatenate([first, inner, last], axis)


def trapezoid(y: array, /, x: array | None = None, *, dx: float = 1.0, axis: int = -1, stream: Any = None) -> array:
    """The integral of a sampled function along an axis, by the trapezoidal rule.

    Args:
        x: the coordinates of the samples: along the axis, or in a shape that broadcasts to that of ``y``.
        dx: their distance, where ``x`` is left out.

    Raises:
        ValueError: for coordinates of another number.

    >>> import arrax.core as mx
    >>> mx.trapezoid(mx.array([1.0, 2.0, 3.0]))
    array(4, dtype=float32)
    """
    check_stream("trapezoid", stream)
    node = array_node("trapezoid", y)
    axis = normalize_axis("trapezoid", axis, node.ndim)
    node = cast(node, to_inexact(node.dtype))
    if x is None:
        distance: Node = constant(as_number("trapezoid", dx, "dx"), node.dtype)
    else:
        at = new_node_beside(x, y)
        dtype = promote(node.dtype, to_inexact(at.dtype))
        node, at = cast(node, dtype), cast(at, dtype)
        if at.ndim == 1:
            at = v.reshape(at, tuple(at.shape[0] if i == axis else 1 for i in range(node.ndim)))
        if at.ndim != node.ndim or at.shape[axis] != node.shape[axis]:
            raise ValueError(
                f"[trapezoid] expected {node.shape[axis]} coordinates for axis {axis}, got shape {list(at.shape)}"
            )
        distance = _differences(at, axis)
    n = node.shape[axis]
    if n < 2:
        empty = tuple(m for i, m in enumerate(node.shape) if i != axis)
        return wrap(v.broadcast(constant(0, node.dtype), empty))
    both = p.add(record_slice_axis(node, axis, 1, n), record_slice_axis(node, axis, 0, n - 1))
    areas = p.mul(p.mul(both, distance), constant(0.5, node.dtype))
    total = r.reduce(r.sum_p, areas, (axis,))
    return wrap(v.reshape(total, tuple(m for i, m in enumerate(total.shape) if i != axis)))


def polyval(coefficients: array, x: array | float, /, *, stream: Any = None) -> array:
    """The polynomial with the given coefficients, highest order first, at ``x``.

    >>> import arrax.core as mx
    >>> mx.polyval(mx.array([1.0, 0.0, -2.0]), mx.array([3.0, 4.0]))
    array([7, 14], dtype=float32)
    """
    check_stream("polyval", stream)
    line, at = pair("polyval", wrap(new_node_beside(coefficients, x)), x)
    if line.ndim != 1:
        raise ValueError(f"[polyval] expected coefficients with one axis, got {line.ndim}: flatten them")
    result: Node = v.broadcast(constant(0, at.dtype), at.shape)
    for k in range(line.shape[0]):
        c = v.reshape(record_slice_axis(line, 0, k, k + 1), ())
        result = p.add(p.mul(result, at), c)
    return wrap(result)
