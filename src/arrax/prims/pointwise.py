"""Pointwise primitives: one element of the result from one element of each input.

Inputs broadcast against each other and have one type (``where``'s condition is boolean). The functions below record
operations on nodes; derivative rules are written with them. ``lower`` names the scalar operation of the kernel IR, and
arithmetic on half precision happens in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from arrax.graph.dtypes import (
    Dtype,
    bool_,
    converted,
    float16,
    float32,
    float64,
    int32,
    integers_of,
    real_of,
    to_complex,
    uint32,
)
from arrax.graph.node import Node, Shape
from arrax.graph.primitive import NONDIFF, Primitive, bind, broadcast_shapes, register
from arrax.graph.symbol import active
from arrax.prims import complex as complex_
from arrax.prims.complex import by_kind
from arrax.prims.leaf import constant

FLOATS = "f"  # samples over real numbers
POSITIVE = "p"  # ... over (0, inf)
UNIT = "u"  # ... over (-1, 1)
ABOVE_ONE = "g"  # ... over (1, inf)
NUMBERS = "n"  # all numeric types
INTEGERS = "i"
ANY = "a"


def _compute(f: Callable[..., Any], arrays: tuple[np.ndarray, ...], out: np.dtype) -> np.ndarray:
    """Applies ``f`` as the machine code does: half precision is widened first, the result rounded at the end."""
    wide = [a.astype(np.float32) if a.dtype.itemsize == 2 and a.dtype.kind not in "iu" else a for a in arrays]
    with np.errstate(all="ignore"):
        return np.asarray(f(*wide)).astype(out)


def declare(
    name: str,
    arity: int,
    reference: Callable[..., Any],
    vjp: Any,
    domain: str,
    *,
    result: Dtype | None = None,
    lower: str | None = None,
    cost: int = 1,
) -> Primitive:
    """Registers a pointwise primitive without parameters; ``domain`` is where its samples lie."""

    def infer(inputs: tuple[Node, ...], params: tuple) -> tuple[Shape, Dtype]:
        first = inputs[0].dtype
        for other in inputs[1:]:
            if other.dtype is not first:
                raise TypeError(f"[{name}] expected operands of one type, got {first.name} and {other.dtype.name}")
        shape = inputs[0].shape if arity == 1 else broadcast_shapes(name, *(x.shape for x in inputs))
        return shape, result or first

    def evaluate(params: tuple, shape: Shape, dtype: Dtype, *arrays: np.ndarray) -> np.ndarray:
        return _compute(reference, arrays, dtype.np)

    return register(
        Primitive(
            name,
            "pointwise",
            infer,
            evaluate,
            vjp,
            lower=lower or name,
            samples=(domain, arity),
            cost=cost,
        )
    )


def unary(prim: Primitive) -> Callable[[Node], Node]:
    """Records a primitive with one input."""

    def record(a: Node) -> Node:
        return Node(prim, (a,), (), a.shape, a.dtype)

    record.__name__ = prim.name
    return record


def binary(prim: Primitive, result: Dtype | None = None) -> Callable[[Node, Node], Node]:
    """Records a primitive with two inputs that broadcast."""
    name = prim.name

    def record(a: Node, b: Node) -> Node:
        equal = not active.traces and a.shape == b.shape
        shape = a.shape if equal else broadcast_shapes(name, a.shape, b.shape)
        return Node(prim, (a, b), (), shape, result or a.dtype)

    record.__name__ = prim.name
    return record


def scalar(value: complex, like: Node) -> Node:
    """A constant of the type of ``like``."""
    return constant(value, like.dtype)


def _times(value: float, a: Node) -> Node:
    return mul(a, scalar(value, a))


def _plus(value: float, a: Node) -> Node:
    return add(a, scalar(value, a))


# --- arithmetic -------------------------------------------------------------------------------------------------------
add_p = declare("add", 2, np.add, lambda n, g: (g, g), ANY)
sub_p = declare("sub", 2, np.subtract, lambda n, g: (g, neg(g)), NUMBERS)
mul_p = declare(
    "mul",
    2,
    by_kind(np.multiply, complex_.product),
    lambda n, g: (mul(g, n.inputs[1]), mul(g, n.inputs[0])),
    ANY,
)
div_p = declare(
    "div",
    2,
    by_kind(np.divide, complex_.quotient),
    lambda n, g: (div(g, n.inputs[1]), neg(div(mul(g, n), n.inputs[1]))),
    FLOATS,
    cost=4,
)
neg_p = declare("neg", 1, np.negative, lambda n, g: (neg(g),), NUMBERS)
abs_p = declare("abs", 1, np.abs, lambda n, g: (mul(g, sign(n.inputs[0])),), NUMBERS)
sign_p = declare("sign", 1, np.sign, lambda n, g: (None,), NUMBERS)
square_p = declare(
    "square", 1, by_kind(np.square, complex_.square), lambda n, g: (mul(g, _times(2, n.inputs[0])),), NUMBERS
)
sqrt_p = declare("sqrt", 1, np.sqrt, lambda n, g: (div(_times(0.5, g), n),), POSITIVE, cost=4)
rsqrt_p = declare(
    "rsqrt",
    1,
    by_kind(lambda x: 1 / np.sqrt(x), complex_.rsqrt),
    lambda n, g: (mul(mul(_times(-0.5, g), n), square(n)),),
    POSITIVE,
    cost=6,
)


def _power_vjp(n: Node, g: Node) -> tuple[Node, Node]:
    x, y = n.inputs
    zero = scalar(0, y)
    below = power(x, sub(y, scalar(1, y)))
    dx = mul(g, mul(y, below))
    # x^0 is constant in x, also where x^(y-1) overflows
    constant_in_x = bitwise_and(equal(y, zero), not_equal(mul(below, zero), zero))
    dx = where(constant_in_x, scalar(0, dx), dx)
    still = equal(n, scalar(0, n))  # where the power has vanished, nothing changes with y
    dy = mul(g, where(still, scalar(0, n), mul(n, log(where(still, scalar(1, x), x)))))
    return dx, dy


def _power_reference(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if x.dtype.kind in "iu":
        result, base, rest = np.ones_like(x * y), x + 0 * y, np.maximum(y, 0) + 0 * x
        for _ in range(64):
            result = np.where(rest & 1, result * base, result)
            base, rest = base * base, rest >> 1
        return np.where(y < 0, 0, result)
    return np.power(x, y)


power_p = declare("power", 2, by_kind(_power_reference, complex_.power), _power_vjp, POSITIVE, cost=30)
maximum_p = declare(
    "maximum",
    2,
    np.maximum,
    lambda n, g: _choose(greater(*n.inputs), g),
    NUMBERS,
    cost=2,
)
minimum_p = declare(
    "minimum",
    2,
    np.minimum,
    lambda n, g: _choose(less(*n.inputs), g),
    NUMBERS,
    cost=2,
)


def _choose(first: Node, g: Node) -> tuple[Node, Node]:
    """The cotangents of a choice between two operands; the second one takes it where they are equal."""
    zero = scalar(0, g)
    return where(first, g, zero), where(first, zero, g)


def _both(first: Node, second: Node, g: Node) -> tuple[Node, Node]:
    zero = scalar(0, g)
    return where(first, g, zero), where(second, g, zero)


# Where the two are equal, both get the whole cotangent: so MLX differentiates updates of slices.
update_max_p = declare(
    "update_max",
    2,
    np.maximum,
    lambda n, g: _both(greater_equal(*n.inputs), less_equal(*n.inputs), g),
    NUMBERS,
    lower="maximum",
    cost=2,
)
update_min_p = declare(
    "update_min",
    2,
    np.minimum,
    lambda n, g: _both(less_equal(*n.inputs), greater_equal(*n.inputs), g),
    NUMBERS,
    lower="minimum",
    cost=2,
)
floor_p = declare("floor", 1, np.floor, lambda n, g: (None,), FLOATS)
ceil_p = declare("ceil", 1, np.ceil, lambda n, g: (None,), FLOATS)
round_p = declare("round", 1, np.rint, lambda n, g: (None,), FLOATS, lower="rint")
trunc_p = declare("trunc", 1, np.trunc, lambda n, g: (None,), FLOATS)


def _floor_divide_reference(a: np.ndarray, b: np.ndarray) -> Any:
    return np.floor_divide(a, b) if a.dtype.kind in "iu" else np.floor(a / b)


def _remainder_reference(a: np.ndarray, b: np.ndarray) -> Any:
    return np.where(b == 0, a, np.remainder(a, b)) if a.dtype.kind in "iu" else np.remainder(a, b)


# Both round towards minus infinity, for integers too; an integer divided by zero gives 0, and all of it remains.
floor_divide_p = declare(
    "floor_divide",
    2,
    _floor_divide_reference,
    lambda n, g: (None, None),
    NUMBERS,
    cost=6,
)
remainder_p = declare(
    "remainder",
    2,
    _remainder_reference,
    lambda n, g: (g, neg(mul(g, floor(div(n.inputs[0], n.inputs[1]))))),
    NUMBERS,
    cost=6,
)

# --- exponentials and logarithms --------------------------------------------------------------------------------------
exp_p = declare("exp", 1, np.exp, lambda n, g: (mul(g, n),), FLOATS, cost=12)
expm1_p = declare("expm1", 1, by_kind(np.expm1, complex_.expm1), lambda n, g: (mul(g, _plus(1, n)),), FLOATS, cost=16)
exp2_p = declare("exp2", 1, np.exp2, lambda n, g: (mul(_times(math.log(2), g), n),), FLOATS, cost=12)
log_p = declare("log", 1, np.log, lambda n, g: (div(g, n.inputs[0]),), POSITIVE, cost=16)
log1p_p = declare(
    "log1p", 1, by_kind(np.log1p, complex_.log1p), lambda n, g: (div(g, _plus(1, n.inputs[0])),), POSITIVE, cost=20
)
log2_p = declare("log2", 1, np.log2, lambda n, g: (div(_times(1 / math.log(2), g), n.inputs[0]),), POSITIVE, cost=18)
log10_p = declare(
    "log10", 1, np.log10, lambda n, g: (div(_times(1 / math.log(10), g), n.inputs[0]),), POSITIVE, cost=18
)
logaddexp_p = declare(
    "logaddexp",
    2,
    by_kind(np.logaddexp, complex_.logaddexp),
    lambda n, g: (
        mul(g, sigmoid(sub(n.inputs[0], n.inputs[1]))),
        mul(g, sigmoid(sub(n.inputs[1], n.inputs[0]))),
    ),
    FLOATS,
    cost=40,
)


def _sigmoid_reference(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), np.where(np.isnan(x), x, e / (1 + e)))


sigmoid_p = declare(
    "sigmoid",
    1,
    by_kind(_sigmoid_reference, complex_.sigmoid),
    lambda n, g: (mul(g, mul(n, sub(scalar(1, n), n))),),
    FLOATS,
    cost=16,
)

# --- trigonometric and hyperbolic -------------------------------------------------------------------------------------
sin_p = declare("sin", 1, np.sin, lambda n, g: (mul(g, cos(n.inputs[0])),), FLOATS, cost=20)
cos_p = declare("cos", 1, np.cos, lambda n, g: (neg(mul(g, sin(n.inputs[0]))),), FLOATS, cost=20)
tan_p = declare("tan", 1, np.tan, lambda n, g: (mul(g, _plus(1, square(n))),), UNIT, cost=30)
sinh_p = declare("sinh", 1, np.sinh, lambda n, g: (mul(g, cosh(n.inputs[0])),), FLOATS, cost=24)
cosh_p = declare("cosh", 1, np.cosh, lambda n, g: (mul(g, sinh(n.inputs[0])),), FLOATS, cost=24)


def _tanh_vjp(n: Node, g: Node) -> tuple[Node]:
    """1 - tanh(x)²; of half precision in float32, as 1 - n² has no digits left where n is near 1."""
    wide = n.dtype.compute
    value = n if wide is n.dtype else tanh(cast(n.inputs[0], wide))
    return (mul(g, cast(sub(scalar(1, value), square(value)), g.dtype)),)


tanh_p = declare("tanh", 1, np.tanh, _tanh_vjp, FLOATS, cost=20)
arcsin_p = declare(
    "arcsin", 1, np.arcsin, lambda n, g: (mul(g, rsqrt(sub(scalar(1, g), square(n.inputs[0])))),), UNIT, cost=20
)
arccos_p = declare(
    "arccos", 1, np.arccos, lambda n, g: (neg(mul(g, rsqrt(sub(scalar(1, g), square(n.inputs[0]))))),), UNIT, cost=20
)
arctan_p = declare("arctan", 1, np.arctan, lambda n, g: (div(g, _plus(1, square(n.inputs[0]))),), FLOATS, cost=20)
arcsinh_p = declare(
    "arcsinh", 1, np.arcsinh, lambda n, g: (mul(g, rsqrt(_plus(1, square(n.inputs[0])))),), FLOATS, cost=30
)
arccosh_p = declare(
    "arccosh", 1, np.arccosh, lambda n, g: (mul(g, rsqrt(_plus(-1, square(n.inputs[0])))),), ABOVE_ONE, cost=30
)
arctanh_p = declare(
    "arctanh", 1, np.arctanh, lambda n, g: (div(g, sub(scalar(1, g), square(n.inputs[0]))),), UNIT, cost=30
)


def _arctan2_vjp(n: Node, g: Node) -> tuple[Node, Node]:
    y, x = n.inputs
    scaled = div(g, add(square(y), square(x)))
    return mul(scaled, x), neg(mul(scaled, y))


arctan2_p = declare("arctan2", 2, np.arctan2, _arctan2_vjp, FLOATS, cost=30)

_erf_scalar = np.frompyfunc(math.erf, 1, 1)


def _erf_reference(x: np.ndarray) -> np.ndarray:
    return np.asarray(_erf_scalar(x), np.float64)


_erfc_scalar = np.frompyfunc(math.erfc, 1, 1)


def _erfinv_reference(x: np.ndarray) -> np.ndarray:
    """Newton's iteration, started from Winitzki's approximation; on erfc, which keeps its digits where erf nears 1."""
    w = np.abs(x.astype(np.float64))
    t = np.log1p(-w * w)
    c = 2 / (math.pi * 0.147) + t / 2
    y = np.sqrt(np.sqrt(c * c - t / 0.147) - c)
    for _ in range(6):
        above = np.where(w < 0.5, w - _erf_reference(y), np.asarray(_erfc_scalar(y), np.float64) - (1 - w))
        # the second derivative of erf is -2y times the first (Halley)
        step = above * (math.sqrt(math.pi) / 2) * np.exp(y * y)
        step = step / (1 - step * y)
        y = np.where(np.isfinite(y) & np.isfinite(step), y + step, y)
    return np.copysign(np.where(w == 1, np.inf, np.where(w == 0, w, y)), x)


erf_p = declare(
    "erf",
    1,
    _erf_reference,
    lambda n, g: (mul(_times(2 / math.sqrt(math.pi), g), exp(neg(square(n.inputs[0])))),),
    FLOATS,
    cost=24,
)
erfinv_p = declare(
    "erfinv",
    1,
    _erfinv_reference,
    lambda n, g: (mul(_times(math.sqrt(math.pi) / 2, g), exp(square(n))),),
    UNIT,
    cost=30,
)


# --- comparison and logic ---------------------------------------------------------------------------------------------
def _order(name: str, strict: np.ufunc, compare: np.ufunc, lower: str) -> Primitive:
    reference = by_kind(compare, complex_.lexicographic(strict, compare))
    return declare(name, 2, reference, NONDIFF, ANY, result=bool_, lower=lower)


equal_p = declare("equal", 2, np.equal, NONDIFF, ANY, result=bool_, lower="eq")
not_equal_p = declare("not_equal", 2, np.not_equal, NONDIFF, ANY, result=bool_, lower="ne")
less_p = _order("less", np.less, np.less, "lt")
less_equal_p = _order("less_equal", np.less, np.less_equal, "le")
greater_p = _order("greater", np.greater, np.greater, "gt")
greater_equal_p = _order("greater_equal", np.greater, np.greater_equal, "ge")
bitwise_and_p = declare("bitwise_and", 2, np.bitwise_and, NONDIFF, INTEGERS, lower="and")
bitwise_or_p = declare("bitwise_or", 2, np.bitwise_or, NONDIFF, INTEGERS, lower="or")
bitwise_xor_p = declare("bitwise_xor", 2, np.bitwise_xor, NONDIFF, INTEGERS, lower="xor")
bitwise_not_p = declare("bitwise_not", 1, np.invert, NONDIFF, INTEGERS, lower="not")


def _shift(f: Callable[..., Any]) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A shift by the width or more leaves nothing but the sign."""

    def evaluate(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        width = a.dtype.itemsize * 8
        far = (b >= width) | (b < 0)
        near = f(a, np.where(far, 0, b).astype(a.dtype))
        signs = np.where(a < 0, -1, 0).astype(a.dtype)
        return np.where(far, a.dtype.type(0) if f is np.left_shift else signs, near)

    return evaluate


left_shift_p = declare("left_shift", 2, _shift(np.left_shift), NONDIFF, INTEGERS, lower="shl")
right_shift_p = declare("right_shift", 2, _shift(np.right_shift), NONDIFF, INTEGERS, lower="shr")


# --- selection and change of type -------------------------------------------------------------------------------------
def _where_infer(inputs: tuple[Node, ...], params: tuple) -> tuple[Shape, Dtype]:
    condition, a, b = inputs
    if condition.dtype is not bool_ or a.dtype is not b.dtype:
        raise TypeError(
            f"[where] expected a boolean condition and branches of one type, "
            f"got {condition.dtype.name}, {a.dtype.name} and {b.dtype.name}"
        )
    return broadcast_shapes("where", condition.shape, a.shape, b.shape), a.dtype


where_p = register(
    Primitive(
        "where",
        "pointwise",
        _where_infer,
        lambda params, shape, dtype, *arrays: np.where(*arrays).astype(dtype.np),
        lambda n, g: (None, where(n.inputs[0], g, scalar(0, g)), where(n.inputs[0], scalar(0, g), g)),
        lower="select",
        samples=("where", 3),
    )
)


def where(condition: Node, a: Node, b: Node) -> Node:
    return bind(where_p, (condition, a, b))


def _cast_reference(params: tuple, shape: Shape, dtype: Dtype, a: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        if a.dtype.kind == "c" and dtype.category < 4:
            a = a.real
        if dtype.is_integer and a.dtype.kind not in "biu":
            return integers_of(a, dtype)
        return converted(a, dtype)


# params: (dtype,)
cast_p = register(
    Primitive(
        "cast",
        "pointwise",
        lambda inputs, params: (inputs[0].shape, params[0]),
        _cast_reference,
        lambda n, g: (cast(g, n.inputs[0].dtype),),  # straight through, also where the cast rounds
        lower="cast",
        samples=[(("f4:2,3",), (float16,)), (("i4:2,3",), (float32,)), (("f4:5",), (int32,)), (("f4:5",), (float64,))],
    )
)


def cast(a: Node, dtype: Dtype) -> Node:
    """``a`` in another type; floats become integers by ``integers_of``, complex to real drops the imaginary part."""
    if dtype is bool_ and a.dtype.is_complex:
        return not_equal(a, scalar(0, a))
    return a if a.dtype is dtype else Node(cast_p, (a,), (dtype,), a.shape, dtype)


def _bitcast_infer(inputs: tuple[Node, ...], params: tuple) -> tuple[Shape, Dtype]:
    a = inputs[0]
    if a.dtype.size != params[0].size:
        raise ValueError(f"[view] expected types of one width, got {a.dtype.name} and {params[0].name}")
    return a.shape, params[0]


# The same bits as another type of the same width. params: (dtype,)
bitcast_p = register(
    Primitive(
        "bitcast",
        "pointwise",
        _bitcast_infer,
        lambda params, shape, dtype, a: np.ascontiguousarray(a).view(dtype.np),
        NONDIFF,
        lower="bitcast",
        samples=[(("f4:4",), (uint32,))],
    )
)


def bitcast(a: Node, dtype: Dtype) -> Node:
    return bind(bitcast_p, (a,), (dtype,))


stop_gradient_p = register(
    Primitive(
        "stop_gradient",
        "pointwise",
        lambda inputs, params: (inputs[0].shape, inputs[0].dtype),
        lambda params, shape, dtype, a: a,
        lambda n, g: (None,),
        lower="copy",
        samples=[(("f4:4",), ())],
    )
)


# --- complex numbers --------------------------------------------------------------------------------------------------
def _part(name: str, f: Callable[..., Any], vjp: Any) -> Primitive:
    """A real number of each complex one."""
    return register(
        Primitive(
            name,
            "opaque",
            lambda inputs, params: (inputs[0].shape, real_of(inputs[0].dtype)),
            lambda params, shape, dtype, a: np.ascontiguousarray(f(a)).astype(dtype.np),
            vjp,
            lambda n, inputs, batched: bind(n.prim, (inputs[0],)),
            samples=[(("c8:4",), ())],
        )
    )


def _complex_from(g: Node, factor: complex) -> Node:
    c = cast(g, to_complex(g.dtype))
    return mul(c, scalar(factor, c))


def _modulus_vjp(n: Node, g: Node) -> tuple[Node]:
    """The direction of the number, and none at zero."""
    a = n.inputs[0]
    at_zero = equal(n, scalar(0, n))
    size = where(at_zero, scalar(1, n), n)
    return (where(at_zero, scalar(0, a), mul(cast(g, a.dtype), div(a, cast(size, a.dtype)))),)


real_p = _part("real", np.real, lambda n, g: (_complex_from(g, 1),))
imag_p = _part("imag", np.imag, lambda n, g: (_complex_from(g, 1j),))
modulus_p = _part("modulus", np.abs, _modulus_vjp)
conj_p = register(
    Primitive(
        "conj",
        "opaque",
        lambda inputs, params: (inputs[0].shape, inputs[0].dtype),
        lambda params, shape, dtype, a: np.conj(a),
        lambda n, g: (bind(conj_p, (g,)),),
        lambda n, inputs, batched: bind(n.prim, (inputs[0],)),
        samples=[(("c8:4",), ())],
    )
)

add, sub, mul, div = binary(add_p), binary(sub_p), binary(mul_p), binary(div_p)
power, maximum, minimum = binary(power_p), binary(maximum_p), binary(minimum_p)
update_max, update_min = binary(update_max_p), binary(update_min_p)
floor_divide, remainder = binary(floor_divide_p), binary(remainder_p)
logaddexp, arctan2 = binary(logaddexp_p), binary(arctan2_p)
neg, abs_, sign, square = unary(neg_p), unary(abs_p), unary(sign_p), unary(square_p)
sqrt, rsqrt, floor, ceil = unary(sqrt_p), unary(rsqrt_p), unary(floor_p), unary(ceil_p)
rint, trunc = unary(round_p), unary(trunc_p)
exp, expm1, exp2, log, log1p = unary(exp_p), unary(expm1_p), unary(exp2_p), unary(log_p), unary(log1p_p)
log2, log10, sigmoid = unary(log2_p), unary(log10_p), unary(sigmoid_p)
sin, cos, tan = unary(sin_p), unary(cos_p), unary(tan_p)
sinh, cosh, tanh = unary(sinh_p), unary(cosh_p), unary(tanh_p)
arcsin, arccos, arctan = unary(arcsin_p), unary(arccos_p), unary(arctan_p)
arcsinh, arccosh, arctanh = unary(arcsinh_p), unary(arccosh_p), unary(arctanh_p)
erf, erfinv = unary(erf_p), unary(erfinv_p)
equal, not_equal = binary(equal_p, bool_), binary(not_equal_p, bool_)
less, less_equal = binary(less_p, bool_), binary(less_equal_p, bool_)
greater, greater_equal = binary(greater_p, bool_), binary(greater_equal_p, bool_)
bitwise_and, bitwise_or, bitwise_xor = binary(bitwise_and_p), binary(bitwise_or_p), binary(bitwise_xor_p)
left_shift, right_shift = binary(left_shift_p), binary(right_shift_p)
bitwise_not, stop_gradient = unary(bitwise_not_p), unary(stop_gradient_p)
