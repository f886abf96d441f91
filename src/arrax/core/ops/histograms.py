"""How often values occur: counts of integers, bins, histograms. Counts are int32, or int64 where more is counted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from arrax.core.arguments import as_int, is_sequence
from arrax.core.convert import array_node, new_node_beside, pair, values
from arrax.core.device import check_stream
from arrax.core.ops.shape import record_slice_axis
from arrax.core.ops.sorting import searchsorted
from arrax.core.ops.special import real_node
from arrax.graph.dtypes import bool_, int32, promote, to_inexact
from arrax.graph.handle import Handle, shown, wrap
from arrax.graph.node import Node
from arrax.prims import gather
from arrax.prims import pointwise as p
from arrax.prims import reduce as r
from arrax.prims import view as v
from arrax.prims.leaf import constant, iota
from arrax.prims.pointwise import cast

if TYPE_CHECKING:
    from arrax.core.array import array


def _added(places: Node, weights: Node | None, n: int) -> Node:
    """How often each place from 0 below ``n`` occurs, or the sum of its weights; places outside are left out."""
    if places.dtype.size >= 4 and places.dtype is not int32:
        places = p.minimum(places, constant(n, places.dtype))
        if places.dtype.is_signed:
            places = p.maximum(places, constant(-1, places.dtype))
    places = p.stop_gradient(cast(places, int32))
    # negative ones do not count from the end
    places = p.where(p.less(places, constant(0, int32)), constant(n, int32), places)
    if weights is None:
        weights = v.broadcast(constant(1, gather.position_type(places.size)), places.shape)
    start = v.broadcast(constant(0, weights.dtype), (n,))
    return gather.scatter(start, places, weights, 0, "add")


def bincount(
    x: array,
    /,
    weights: array | None = None,
    minlength: int = 0,
    *,
    length: int | None = None,
    stream: Any = None,
) -> array:
    """How often each of the integers from 0 occurs, or the sum of its weights.

    Args:
        x: integers in one axis, none of them negative.
        weights: one for each; integers are taken as float32.
        minlength: the smallest size of the result.
        length: the size of the result, where it is known; then nothing is evaluated, and integers outside are left
            out. None for one more than the largest integer: evaluates ``x``.

    Raises:
        ValueError: for another shape or type, or negative integers where ``x`` is evaluated.

    >>> import arrax.core as mx
    >>> mx.bincount(mx.array([1, 3, 1]))
    array([0, 2, 0, 1], dtype=int32)
    """
    check_stream("bincount", stream)
    node = array_node("bincount", x)
    if node.ndim != 1 or not (node.dtype.is_integer or node.dtype is bool_):
        raise ValueError(f"[bincount] expected integers in one axis, got {node.dtype.name}{list(node.shape)}: flatten")
    minlength = as_int("bincount", minlength, "minlength")
    if minlength < 0:
        raise ValueError(f"[bincount] expected a minlength of at least 0, got {minlength}: leave it out")
    if length is None:
        found = values(node)
        if found.size and found.min() < 0:
            raise ValueError(f"[bincount] expected no negative integers, got {found.min()}: shift them first")
        length = max(int(found.max()) + 1 if found.size else 0, minlength)
    length = as_int("bincount", length, "length")
    if length < 0:
        raise ValueError(f"[bincount] expected a length of at least 0, got {length}: leave it out")
    weight = None
    if weights is not None:
        weight = array_node("bincount", weights)
        if weight.shape != node.shape:
            raise ValueError(f"[bincount] expected weights of shape {list(node.shape)}, got {list(weight.shape)}")
        weight = cast(weight, to_inexact(weight.dtype))
    return wrap(_added(node, weight, length))


def digitize(x: array | float, bins: array, right: bool = False, *, stream: Any = None) -> array:
    """The number of the bin in which each value is, as uint32: 0 before the first edge, ``len(bins)`` behind the last.

    Args:
        bins: edges in ascending or descending order; which of them it is, the first and the last edge tell.
        right: whether a bin has the edge at its end rather than the one at its beginning.

    Raises:
        ValueError: for edges with more than one axis.

    >>> import arrax.core as mx
    >>> mx.digitize(mx.array([0.5, 1.0, 9.0]), mx.array([0.0, 1.0, 2.0]))
    array([1, 2, 3], dtype=uint32)
    """
    check_stream("digitize", stream)
    edges = wrap(new_node_beside(bins, x))
    points = wrap(pair("digitize", edges, x)[1])
    if edges.ndim != 1:
        raise ValueError(f"[digitize] expected edges with one axis, got {edges.ndim}: flatten them")
    n = edges.shape[0]
    side = "left" if right else "right"
    up = searchsorted(edges, points, side)
    if n < 2:
        return up
    down = searchsorted(edges[::-1], points, side)
    down = wrap(p.sub(constant(n, down._node.dtype), down._node))
    rising = (edges[0] <= edges[n - 1])._node
    return wrap(p.where(rising, up._node, down._node))


def _bounds(op: str, node: Node, range: Any) -> tuple[Node, Node]:
    """The first and the last edge; a range without extent is widened."""
    if range is None:
        if not node.size:
            return constant(0, node.dtype), constant(1, node.dtype)
        low, high = (v.reshape(r.reduce(prim, node, (0,)), ()) for prim in (r.min_p, r.max_p))
    else:
        try:
            first, last = map(float, range)
        except (TypeError, ValueError):
            raise TypeError(f"[{op}] expected a range of two numbers, got {shown(range)}: pass (low, high)") from None
        if not (math.isfinite(first) and math.isfinite(last) and first <= last):
            raise ValueError(
                f"[{op}] expected a finite range in ascending order, got {shown(range)}: exchange the ends"
            )
        low, high = constant(first, node.dtype), constant(last, node.dtype)
    same, half = p.equal(low, high), constant(0.5, node.dtype)
    return p.where(same, p.sub(low, half), low), p.where(same, p.add(high, half), high)


def _edges(op: str, node: Node, bins: Any, range: Any) -> Node:
    if not is_sequence(bins) and not getattr(bins, "ndim", 0):
        bins = as_int(op, bins, "bins")
        if bins < 1:
            raise ValueError(f"[{op}] expected at least one bin, got {bins}: pass a larger number")
        low, high = _bounds(op, node, range)
        at = iota((bins + 1,), 0, node.dtype)
        width = p.div(p.sub(high, low), constant(bins, node.dtype))
        return p.where(p.equal(at, constant(bins, node.dtype)), high, p.add(low, p.mul(at, width)))
    edges = new_node_beside(bins, wrap(node))
    if edges.ndim != 1 or edges.size < 2:
        raise ValueError(f"[{op}] expected at least two edges with one axis, got shape {list(edges.shape)}")
    if not isinstance(bins, Handle) and np.any(np.diff(values(edges)) < 0):
        raise ValueError(f"[{op}] expected edges in ascending order, got {shown(bins)}: sort them")
    return edges


def histogram_bin_edges(
    a: array, /, bins: int | array = 10, range: tuple[float, float] | None = None, *, stream: Any = None
) -> array:
    """The edges that ``histogram`` would use.

    >>> import arrax.core as mx
    >>> mx.histogram_bin_edges(mx.array([1.0, 3.0]), bins=4)
    array([1, 1.5, 2, 2.5, 3], dtype=float32)
    """
    check_stream("histogram_bin_edges", stream)
    node = real_node("histogram_bin_edges", a)
    return wrap(_edges("histogram_bin_edges", v.reshape(node, (node.size,)), bins, range))


def histogram(
    a: array,
    /,
    bins: int | array = 10,
    range: tuple[float, float] | None = None,
    density: bool | None = None,
    weights: array | None = None,
    *,
    stream: Any = None,
) -> tuple[array, array]:
    """How many elements each bin has, and the edges of the bins.

    A bin has its lower edge, the last one its upper edge too; NaN and what is outside of all bins is left out. Nothing
    is evaluated: the number of bins is known.

    Args:
        bins: how many bins of one width, or all edges in ascending order.
        range: the first and the last edge, where a number is given; None for the smallest and the largest element.
        density: divide by the total and the widths, so that the integral is 1.
        weights: what each element counts, in the shape of ``a``.

    Raises:
        ValueError: for less than one bin, edges or a range out of order, or weights of another shape.

    >>> import arrax.core as mx
    >>> mx.histogram(mx.array([1.0, 2.0, 2.5, 9.0]), bins=mx.array([0, 2, 4]))
    (array([1, 2], dtype=int32), array([0, 2, 4], dtype=int32))
    """
    check_stream("histogram", stream)
    node = real_node("histogram", a)
    flat = v.reshape(node, (node.size,))
    weight = None
    if weights is not None:
        weight = array_node("histogram", weights)
        if weight.shape != node.shape:
            raise ValueError(f"[histogram] expected weights of shape {list(node.shape)}, got {list(weight.shape)}")
        weight = v.reshape(weight, (weight.size,))
    edges = _edges("histogram", flat, bins, range)
    n = edges.shape[0] - 1
    dtype = promote(flat.dtype, edges.dtype)
    line, points = cast(edges, dtype), cast(flat, dtype)
    places = cast(searchsorted(wrap(line), wrap(points), "right")._node, int32)
    last = record_slice_axis(line, 0, n, n + 1)
    places = p.where(p.equal(points, last), constant(n, int32), places)
    # NaN is sorted behind the last edge, but where an edge is NaN nothing is known
    inside = p.less_equal(points, last)
    places = p.where(inside, p.sub(places, constant(1, int32)), constant(n, int32))
    counts = _added(places, weight, n)
    if density:
        widths = p.sub(record_slice_axis(edges, 0, 1, n + 1), record_slice_axis(edges, 0, 0, n))
        kind = promote(to_inexact(counts.dtype), to_inexact(widths.dtype))
        counts = cast(counts, kind)
        total = v.reshape(r.reduce(r.sum_p, counts, (0,)), ())
        counts = p.div(p.div(counts, total), cast(widths, kind))
    return wrap(counts), wrap(edges)
