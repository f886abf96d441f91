"""Pointwise functions beyond MLX's: special functions, roots, divisors, and extrema that look past NaN."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from arrax.core.convert import as_node, pair
from arrax.core.device import check_stream
from arrax.core.ops.math import FLOAT, Unary, record_isnan, record_maximum, record_minimum
from arrax.graph.dtypes import float32, to_inexact
from arrax.graph.handle import wrap
from arrax.graph.node import Node
from arrax.graph.primitive import Primitive, broadcast_shapes
from arrax.prims import pointwise as p
from arrax.prims import special
from arrax.prims.leaf import constant
from arrax.prims.pointwise import cast
from arrax.prims.view import broadcast

if TYPE_CHECKING:
    from arrax.core.array import array


def real_node(op: str, a: Any) -> Node:
    """The node of real numbers in a floating point type, float32 for integers; raises ValueError for complex ones."""
    node = as_node(op, a)
    if node.dtype.is_complex:
        raise ValueError(f"[{op}] expected real numbers, got {node.dtype.name}: take the real or imaginary part first")
    return cast(node, to_inexact(node.dtype))


def _real(name: str, prim: Primitive, doc: str) -> Unary:
    """A function of real numbers; integers and booleans are taken as float32."""

    def function(a: Any, /, *, stream: Any = None) -> Any:
        check_stream(name, stream)
        node = real_node(name, a)
        return wrap(Node(prim, (node,), (), node.shape, node.dtype))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


exp2 = _real(
    "exp2",
    p.exp2_p,
    """2 to the power of each real number.

    >>> import arrax.core as mx
    >>> mx.exp2(mx.array([3, -1]))
    array([8, 0.5], dtype=float32)
    """,
)
cbrt = _real(
    "cbrt",
    special.cbrt_p,
    """The real cube root, negative for negative numbers.

    >>> import arrax.core as mx
    >>> mx.cbrt(mx.array([-8.0, 27.0]))
    array([-2, 3], dtype=float32)
    """,
)
erfc = _real(
    "erfc",
    special.erfc_p,
    """``1 - erf(a)``, accurate to a few units in the last place also where that is close to 0.

    >>> import arrax.core as mx
    >>> print(f"{mx.erfc(mx.array(5.0)).item():.3g}")
    1.54e-12
    """,
)
lgamma = _real(
    "lgamma",
    special.lgamma_p,
    """The logarithm of the absolute value of the gamma function; infinite at 0, -1, -2 and so on.

    Accurate to a few units in the last place for positive numbers, its zeros 1 and 2 included; for negative ones in
    float64 the error is of this size relative to the largest term of the sum that it is.

    >>> import arrax.core as mx
    >>> mx.exp(mx.lgamma(mx.array([4.0, 5.0]))).round(4)
    array([6, 24], dtype=float32)
    """,
)
digamma = _real(
    "digamma",
    special.digamma_p,
    """The derivative of ``lgamma``; minus infinity at 0 and NaN at -1, -2 and so on. Accurate as ``lgamma`` is.

    >>> import arrax.core as mx
    >>> mx.digamma(mx.array(1.0))
    array(-0.577216, dtype=float32)
    """,
)


def sinc(a: array | float, /, *, stream: Any = None) -> array:
    """``sin(pi * a) / (pi * a)``, 1 at 0; real numbers.

    >>> import arrax.core as mx
    >>> mx.sinc(mx.array([0.0, 0.5]))
    array([1, 0.63662], dtype=float32)
    """
    check_stream("sinc", stream)
    node = real_node("sinc", a)
    x = cast(node, node.dtype.compute)
    zero, half, one, two, pi = (constant(value, x.dtype) for value in (0, 0.5, 1, 2, math.pi))
    small = p.less(p.abs_(x), constant(1e-2, x.dtype))
    square = p.square(p.mul(pi, p.where(small, x, zero)))
    # Taylor's series, so that all derivatives exist at 0
    series = one
    for k in (72, 42, 20, 6):
        series = p.sub(one, p.div(p.mul(square, series), constant(k, x.dtype)))
    # the sine of the nearest angle with the same one, at most a quarter turn: 0 for integers
    large = p.where(small, one, x)
    turn = p.sub(large, p.mul(two, p.rint(p.mul(half, large))))
    turn = p.where(p.greater(p.abs_(turn), half), p.sub(p.sign(turn), turn), turn)
    return wrap(cast(p.where(small, series, p.div(p.sin(p.mul(pi, turn)), p.mul(pi, large))), node.dtype))


def heaviside(a: array | float, b: array | float, /, *, stream: Any = None) -> array:
    """The step function of real numbers: 0 where ``a`` is negative, 1 where positive, ``b`` at 0; NaN stays.

    >>> import arrax.core as mx
    >>> mx.heaviside(mx.array([-2.0, 0.0, 3.0]), 0.5)
    array([0, 0.5, 1], dtype=float32)
    """
    check_stream("heaviside", stream)
    x, y = _real_pair("heaviside", a, b)
    zero, one = constant(0, x.dtype), constant(1, x.dtype)
    step = p.where(p.less(x, zero), zero, p.where(p.greater(x, zero), one, y))
    return wrap(p.where(record_isnan(x), x, step))


def _real_pair(op: str, a: Any, b: Any) -> tuple[Node, Node]:
    x, y = pair(op, a, b)
    if x.dtype.is_complex:
        raise ValueError(f"[{op}] expected real numbers, got {x.dtype.name}: take the real or imaginary part first")
    return (x, y) if x.dtype.category >= FLOAT else (cast(x, float32), cast(y, float32))


def fmax(a: array | float, b: array | float, /, *, stream: Any = None) -> array:
    """The larger one of ``a`` and ``b``; where one of them is NaN, the other.

    >>> import arrax.core as mx
    >>> mx.fmax(mx.array([1.0, mx.nan]), 2.0)
    array([2, 2], dtype=float32)
    """
    check_stream("fmax", stream)
    x, y = pair("fmax", a, b)
    return wrap(_past_nan(x, y, record_maximum(x, y)))


def fmin(a: array | float, b: array | float, /, *, stream: Any = None) -> array:
    """The smaller one of ``a`` and ``b``; where one of them is NaN, the other."""
    check_stream("fmin", stream)
    x, y = pair("fmin", a, b)
    return wrap(_past_nan(x, y, record_minimum(x, y)))


def _past_nan(x: Node, y: Node, both: Node) -> Node:
    if not x.dtype.is_inexact:
        return both
    return p.where(record_isnan(x), y, p.where(record_isnan(y), x, both))


def fmod(a: array | float, b: array | float, /, *, stream: Any = None) -> array:
    """What is left of ``a`` after a division by ``b`` rounded towards 0: has the sign of ``a``, as in C.

    Integers stay integers; of their division by 0 all is left.

    >>> import arrax.core as mx
    >>> mx.fmod(mx.array([-7, 7]), 3)
    array([-1, 1], dtype=int32)
    """
    check_stream("fmod", stream)
    x, y = pair("fmod", a, b)
    if x.dtype.category < 1 or x.dtype.is_complex:
        raise ValueError(f"[fmod] expected real numbers, got {x.dtype.name}: cast them with astype")
    zero = constant(0, x.dtype)
    if x.dtype.is_integer:
        rest = p.remainder(x, y)
        if not x.dtype.is_signed:
            return wrap(rest)
        other = p.bitwise_and(p.not_equal(rest, zero), p.less(p.bitwise_xor(rest, x), zero))
        return wrap(p.where(other, p.sub(rest, y), rest))
    rest = p.remainder(p.abs_(x), p.abs_(y))
    same = p.bitwise_and(p.equal(x, zero), p.equal(rest, zero))  # a zero keeps its sign
    return wrap(p.where(same, x, p.where(p.less(x, zero), p.neg(rest), rest)))


# --- integers ---------------------------------------------------------------------------------------------------------
def _integers(op: str, a: Any, b: Any) -> tuple[Node, Node]:
    x, y = pair(op, a, b)
    if not x.dtype.is_integer:
        raise ValueError(f"[{op}] expected integers, got {x.dtype.name}: cast them with astype")
    shape = broadcast_shapes(op, x.shape, y.shape)
    return broadcast(x, shape), broadcast(y, shape)


def gcd(a: array | int, b: array | int, /, *, stream: Any = None) -> array:
    """The greatest common divisor of integers; that of 0 and 0 is 0.

    Raises:
        ValueError: for other types.

    >>> import arrax.core as mx
    >>> mx.gcd(mx.array([12, 7]), 18)
    array([6, 1], dtype=int32)
    """
    check_stream("gcd", stream)
    return wrap(special.gcd(*_integers("gcd", a, b)))


def lcm(a: array | int, b: array | int, /, *, stream: Any = None) -> array:
    """The least common multiple of integers, 0 where one of them is 0.

    >>> import arrax.core as mx
    >>> mx.lcm(mx.array([4, 0]), 6)
    array([12, 0], dtype=int32)
    """
    check_stream("lcm", stream)
    x, y = _integers("lcm", a, b)
    multiple = p.mul(p.floor_divide(x, special.gcd(x, y)), y)
    return wrap(p.abs_(multiple) if x.dtype.is_signed else multiple)
