"""Functions that the array API standard has and MLX lacks: neighbours and signs of floats, distinct elements."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from arrax.core.convert import array_node, as_node, pair
from arrax.core.device import check_stream
from arrax.core.ops.math import record_isnan
from arrax.core.ops.shape import record_slice_axis
from arrax.core.ops.sorting import unique
from arrax.graph.dtypes import Dtype, int16, int32, int64, to_inexact
from arrax.graph.handle import wrap
from arrax.graph.node import Node
from arrax.graph.primitive import broadcast_shapes
from arrax.prims import gather, opaque
from arrax.prims import pointwise as p
from arrax.prims import reduce as r
from arrax.prims import view as v
from arrax.prims.leaf import constant
from arrax.prims.pointwise import cast
from arrax.runtime.executor import from_numpy_array, to_numpy

if TYPE_CHECKING:
    from arrax.core.array import array

_WORDS = {2: int16, 4: int32, 8: int64}


def _bits(op: str, node: Node) -> Node:
    """The bits of real floating point numbers as signed integers."""
    if not node.dtype.is_float:
        raise ValueError(f"[{op}] expected real floating point numbers, got {node.dtype.name}: cast them with astype")
    return p.bitcast(node, _WORDS[node.dtype.size])


def _negative(op: str, node: Node) -> Node:
    bits = _bits(op, node)
    return p.less(bits, constant(0, bits.dtype))


def _real_pair(op: str, a: Any, b: Any) -> tuple[Node, Node]:
    """Two operands in a floating point type, float32 for integers, and their common shape."""
    x, y = pair(op, a, b)
    if x.dtype.is_complex:
        raise ValueError(f"[{op}] expected real numbers, got {x.dtype.name}: take the real or imaginary part first")
    x, y = cast(x, to_inexact(x.dtype)), cast(y, to_inexact(y.dtype))
    shape = broadcast_shapes(op, x.shape, y.shape)
    return v.broadcast(x, shape), v.broadcast(y, shape)


def signbit(a: array | float, /, *, stream: Any = None) -> array:
    """Whether the sign of a real floating point number is negative; that of -0.0 is, and NaN has one too.

    Raises:
        ValueError: for other types.

    >>> import arrax.core as mx
    >>> mx.signbit(mx.array([-0.0, 0.0]))
    array([True, False], dtype=bool)
    """
    check_stream("signbit", stream)
    return wrap(_negative("signbit", as_node("signbit", a)))


def copysign(a: array | float, b: array | float, /, *, stream: Any = None) -> array:
    """Real numbers with the absolute value of ``a`` and the sign of ``b``; integers are taken as float32.

    >>> import arrax.core as mx
    >>> mx.copysign(mx.array([1.0, 2.0]), -0.0)
    array([-1, -2], dtype=float32)
    """
    check_stream("copysign", stream)
    x, y = _real_pair("copysign", a, b)
    turned = p.not_equal(_negative("copysign", x), _negative("copysign", y))
    return wrap(p.where(turned, p.neg(x), x))


def hypot(a: array | float, b: array | float, /, *, stream: Any = None) -> array:
    """``sqrt(a**2 + b**2)`` of real numbers without overflow; integers are taken as float32.

    >>> import arrax.core as mx
    >>> mx.hypot(mx.array(3e30), 4e30)
    array(5e+30, dtype=float32)
    """
    check_stream("hypot", stream)
    x, y = (p.abs_(node) for node in _real_pair("hypot", a, b))
    infinity, one = constant(math.inf, x.dtype), constant(1, x.dtype)
    large, small = p.maximum(x, y), p.minimum(x, y)
    ratio = p.div(small, p.where(p.equal(large, constant(0, x.dtype)), one, large))
    length = p.mul(large, p.sqrt(p.add(one, p.square(ratio))))
    # an infinity decides, whatever the other side is
    infinite = p.bitwise_or(p.equal(x, infinity), p.equal(y, infinity))
    return wrap(p.where(infinite, infinity, length))


def nextafter(a: array | float, b: array | float, /, *, stream: Any = None) -> array:
    """The number next to ``a`` that its type has, in the direction of ``b``; integers are taken as float32.

    Raises:
        ValueError: for complex numbers.

    >>> import arrax.core as mx
    >>> mx.nextafter(mx.array(1.0), 2.0).item() - 1
    1.1920928955078125e-07
    """
    check_stream("nextafter", stream)
    x, y = _real_pair("nextafter", a, b)
    bits = _bits("nextafter", x)
    word: Dtype = bits.dtype
    zero, one = constant(0, word), constant(1, word)
    # the patterns of positive numbers count up from zero, those of negative ones too, behind the sign
    outward = p.equal(p.greater(y, x), p.greater_equal(bits, zero))
    step = p.where(outward, one, constant(-1, word))
    lowest = constant(-(2 ** (8 * word.size - 1)), word)
    from_zero = p.bitwise_or(p.where(_negative("nextafter", y), lowest, zero), one)
    is_zero = p.equal(x, constant(0, x.dtype))
    moved = p.bitcast(p.where(is_zero, from_zero, p.add(bits, step)), x.dtype)
    unordered = p.bitwise_or(record_isnan(x), record_isnan(y))
    result = p.where(p.equal(x, y), y, moved)
    return wrap(p.where(unordered, p.add(x, y), result))


# --- positions --------------------------------------------------------------------------------------------------------
def nonzero(a: array, /, *, stream: Any = None) -> tuple[array, ...]:
    """The positions of the elements that are not 0, in row-major order: an array for each axis. Evaluates ``a``.

    They are int32; int64 along an axis with more elements than that counts.

    Raises:
        ValueError: for a scalar array.

    >>> import arrax.core as mx
    >>> mx.nonzero(mx.array([0, 3, 4]))
    (array([1, 2], dtype=int32),)
    """
    check_stream("nonzero", stream)
    node = array_node("nonzero", a)
    if not node.shape:
        raise ValueError("[nonzero] expected at least one dimension, got a scalar array: reshape it to (1,)")
    found = zip(np.nonzero(to_numpy(node)), node.shape, strict=True)
    return tuple(wrap(from_numpy_array(i.astype(gather.position_type(n).np))) for i, n in found)


# --- distinct elements ------------------------------------------------------------------------------------------------
class UniqueAllResult(NamedTuple):
    """What ``unique_all`` returns."""

    values: array
    indices: array
    inverse_indices: array
    counts: array


class UniqueCountsResult(NamedTuple):
    """What ``unique_counts`` returns."""

    values: array
    counts: array


class UniqueInverseResult(NamedTuple):
    """What ``unique_inverse`` returns."""

    values: array
    inverse_indices: array


def _distinct(op: str, a: Any) -> int:
    """How many distinct elements an array has; evaluates."""
    node = array_node(op, a)
    n = node.size
    if n < 2:
        return n
    flat = opaque.sort(v.reshape(node, (n,)), 0)
    fresh = p.not_equal(record_slice_axis(flat, 0, 1, n), record_slice_axis(flat, 0, 0, n - 1))
    return 1 + wrap(r.reduce(r.sum_p, cast(fresh, int32), (0,))).item()


def unique_all(a: array, /, *, stream: Any = None) -> UniqueAllResult:
    """The distinct elements in ascending order, where each occurs first, which one each element is, and how often.

    Every NaN is an element of its own. The positions are int32, those among the distinct elements in the shape of
    ``a``. Evaluates ``a``, as the results' size depends on it.

    >>> import arrax.core as mx
    >>> mx.unique_all(mx.array([3, 1, 3])).counts
    array([1, 2], dtype=int32)
    """
    check_stream("unique_all", stream)
    n = _distinct("unique_all", a)
    if n == 0:
        none = wrap(v.broadcast(constant(0, int32), (0,)))
        flat = wrap(v.reshape(a._node, (0,)))
        return UniqueAllResult(flat, none, wrap(v.broadcast(constant(0, int32), a.shape)), none)
    values, indices, inverse, counts = unique(a, n, True, True, True)
    return UniqueAllResult(values, indices.astype(int32), inverse.astype(int32), counts)


def unique_counts(a: array, /, *, stream: Any = None) -> UniqueCountsResult:
    """The distinct elements in ascending order and how often each occurs; see ``unique_all``."""
    check_stream("unique_counts", stream)
    found = unique_all(a)
    return UniqueCountsResult(found.values, found.counts)


def unique_inverse(a: array, /, *, stream: Any = None) -> UniqueInverseResult:
    """The distinct elements in ascending order and which of them each element is; see ``unique_all``."""
    check_stream("unique_inverse", stream)
    found = unique_all(a)
    return UniqueInverseResult(found.values, found.inverse_indices)


def unique_values(a: array, /, *, stream: Any = None) -> array:
    """The distinct elements in ascending order; see ``unique_all``."""
    check_stream("unique_values", stream)
    return unique_all(a).values
