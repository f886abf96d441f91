"""Pointwise functions: arithmetic, comparison, logic, elementary functions."""

from __future__ import annotations

import math as _math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from arrax.core.arguments import as_int, as_number
from arrax.core.convert import array_node, as_node, pair
from arrax.core.device import check_stream
from arrax.graph.dtypes import (
    Dtype,
    bool_,
    float32,
    promote,
    promote_scalar,
    to_inexact,
    uint8,
)
from arrax.graph.handle import Handle, wrap
from arrax.graph.node import Node
from arrax.graph.primitive import Primitive, bind, broadcast_shapes
from arrax.graph.symbol import active
from arrax.prims import pointwise as p
from arrax.prims.leaf import const, constant
from arrax.prims.pointwise import cast
from arrax.prims.view import broadcast_p

if TYPE_CHECKING:
    from arrax.core.array import array

FLOAT = float32.category


class Unary(Protocol):
    """A function of one array."""

    def __call__(self, a: array | float, /, *, stream: Any = None) -> array: ...


class Binary(Protocol):
    """A function of two arrays or scalars, which broadcast against each other."""

    def __call__(self, a: array | float, b: array | float, stream: Any = None) -> array: ...


class PositionalBinary(Protocol):
    """Likewise, of arguments without names."""

    def __call__(self, a: array | float, b: array | float, /, *, stream: Any = None) -> array: ...


def _named(function: Callable[..., Any], name: str, doc: str) -> Callable[..., Any]:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


def _check_real(name: str, node: Node) -> None:
    if node.dtype.is_complex:
        raise ValueError(
            f"[{name}] expected real numbers, got {node.dtype.name}: take the real or imaginary part first"
        )


def _inexact(name: str, prim: Primitive, doc: str, real: bool = False) -> Unary:
    """A function on real or (unless ``real``) complex numbers; integers and booleans are taken as float32."""

    def function(a: Any, /, *, stream: Any = None) -> Any:
        if stream is not None:
            check_stream(name, stream)
        node = a._node if isinstance(a, Handle) else as_node(name, a)
        if node.dtype.category < FLOAT:
            node = cast(node, float32)
        if real:
            _check_real(name, node)
        return wrap(Node(prim, (node,), (), node.shape, node.dtype))

    return _named(function, name, doc)


def _rounding(name: str, prim: Primitive, doc: str, to_node: Callable[[str, Any], Node] = as_node) -> Unary:
    """A function that changes neither integers nor booleans and refuses complex numbers."""

    def function(a: Any, /, *, stream: Any = None) -> Any:
        if stream is not None:
            check_stream(name, stream)
        node = to_node(name, a)
        _check_real(name, node)
        if node.dtype.category < FLOAT:
            return wrap(node)
        return wrap(Node(prim, (node,), (), node.shape, node.dtype))

    return _named(function, name, doc)


Recorder = Callable[[Node, Node], Node]


def _binary(name: str, record: Recorder, doc: str) -> Binary:
    def function(a: Any, b: Any, stream: Any = None) -> Any:
        if stream is not None:
            check_stream(name, stream)
        return wrap(record(*pair(name, a, b)))

    return _named(function, name, doc)


def _positional(name: str, record: Recorder, doc: str) -> PositionalBinary:
    def function(a: Any, b: Any, /, *, stream: Any = None) -> Any:
        if stream is not None:
            check_stream(name, stream)
        return wrap(record(*pair(name, a, b)))

    return _named(function, name, doc)


def binary(prim: Primitive, name: str, result: Dtype | None = None) -> Recorder:
    """Records a primitive with two inputs of one type."""

    def record(a: Node, b: Node) -> Node:
        equal = not active.traces and a.shape == b.shape
        shape = a.shape if equal else broadcast_shapes(name, a.shape, b.shape)
        return Node(prim, (a, b), (), shape, result or a.dtype)

    return record


def _logic(on_bool: Primitive | None, prim: Primitive, name: str) -> Recorder:
    """Records a primitive that has no boolean form: booleans take another one, or go through uint8."""
    plain = binary(prim, name)
    boolean = binary(on_bool, name) if on_bool else None

    def record(a: Node, b: Node) -> Node:
        if a.dtype is not bool_:
            return plain(a, b)
        return boolean(a, b) if boolean else cast(plain(cast(a, uint8), cast(b, uint8)), bool_)

    return record


def _on_floats(prim: Primitive, name: str, real: bool = False) -> Recorder:
    plain = binary(prim, name)

    def record(a: Node, b: Node) -> Node:
        if a.dtype.category < FLOAT:
            a, b = cast(a, float32), cast(b, float32)
        if real:
            _check_real(name, a)
        return plain(a, b)

    return record


# --- arithmetic -------------------------------------------------------------------------------------------------------
record_add = binary(p.add_p, "add")
record_subtract = _logic(p.bitwise_xor_p, p.sub_p, "subtract")
record_multiply = binary(p.mul_p, "multiply")
record_divide = _on_floats(p.div_p, "divide")
record_maximum = _logic(p.bitwise_or_p, p.maximum_p, "maximum")
record_minimum = _logic(p.bitwise_and_p, p.minimum_p, "minimum")
_floor_divide = _logic(None, p.floor_divide_p, "floor_divide")
_remainder = _logic(None, p.remainder_p, "remainder")
_power = _logic(None, p.power_p, "power")
_SHORTCUTS = {2: p.square_p, 0.5: p.sqrt_p}  # exponents with a primitive of their own


def record_floor_divide(a: Node, b: Node) -> Node:
    # complex numbers have no order to round in: their quotient stays as it is
    if a.dtype.is_complex:
        return record_divide(a, b)
    # half precision rounds the quotient before, as any other
    return p.floor(record_divide(a, b)) if a.dtype.compute is not a.dtype else _floor_divide(a, b)


def record_remainder(a: Node, b: Node) -> Node:
    if a.dtype.is_complex:
        raise ValueError(
            f"[remainder] expected real numbers, got {a.dtype.name}: there is no remainder of complex numbers"
        )
    return _remainder(a, b)


def record_power(a: Node, b: Node) -> Node:
    if b.prim is const and a.dtype is not bool_:
        prim = _SHORTCUTS.get(b.params[0])
        if prim is not None:
            return Node(prim, (a,), (), a.shape, a.dtype)
    return _power(a, b)


add = _binary("add", record_add, "The sum of ``a`` and ``b``.")
subtract = _binary("subtract", record_subtract, "The difference of ``a`` and ``b``.")
multiply = _binary("multiply", record_multiply, "The product of ``a`` and ``b``, element by element.")
divide = _binary("divide", record_divide, "The quotient of ``a`` and ``b``; integers are taken as float32.")
floor_divide = _binary("floor_divide", record_floor_divide, "The quotient of ``a`` and ``b``, rounded down.")
remainder = _binary(
    "remainder", record_remainder, "What is left of ``a`` after ``floor_divide``; has the sign of ``b``."
)
maximum = _positional("maximum", record_maximum, "The larger one of ``a`` and ``b``; NaN where either is NaN.")
minimum = _positional("minimum", record_minimum, "The smaller one of ``a`` and ``b``; NaN where either is NaN.")
power = _positional("power", record_power, "``a`` to the power of ``b``; among integers a negative power gives 0.")
record_logaddexp = _on_floats(p.logaddexp_p, "logaddexp")
logaddexp = _positional("logaddexp", record_logaddexp, "``log(exp(a) + exp(b))`` without overflow.")
arctan2 = _positional(
    "arctan2", _on_floats(p.arctan2_p, "arctan2", real=True), "The angle of the point (``b``, ``a``), in (-pi, pi]."
)


def divmod(a: array | float, b: array | float, stream: Any = None) -> list[array]:
    """``[floor_divide(a, b), remainder(a, b)]``.

    >>> import arrax.core as mx
    >>> mx.divmod(mx.array([7, -7]), 2)
    [array([3, -4], dtype=int32), array([1, 1], dtype=int32)]
    """
    check_stream("divmod", stream)
    x, y = pair("divmod", a, b)
    return [wrap(record_floor_divide(x, y)), wrap(record_remainder(x, y))]


def record_negative(node: Node) -> Node:
    if node.dtype is bool_:
        raise ValueError("[negative] expected numbers, got bool: use logical_not")
    return p.neg(node)


def record_abs(node: Node) -> Node:
    if node.dtype.category < 2:  # booleans and unsigned integers
        return node
    if node.dtype.is_complex:
        return bind(p.modulus_p, (node,))
    return p.abs_(node)


def negative(a: array | float, /, *, stream: Any = None) -> array:
    """``-a``. Raises ValueError for booleans."""
    check_stream("negative", stream)
    return wrap(record_negative(as_node("negative", a)))


def positive(a: array | float, /, *, stream: Any = None) -> array:
    """``a`` as it is."""
    check_stream("positive", stream)
    return wrap(array_node("positive", a))


def abs(a: array | float, /, *, stream: Any = None) -> array:
    """The absolute value of each element; of complex numbers the modulus, a real number."""
    check_stream("abs", stream)
    return wrap(record_abs(as_node("abs", a)))


def sign(a: array | float, /, *, stream: Any = None) -> array:
    """-1, 0 or 1 by the sign of each element; for complex numbers ``a / abs(a)``."""
    check_stream("sign", stream)
    node = as_node("sign", a)
    if node.dtype is bool_:
        return wrap(node)
    if node.dtype.is_complex:
        size, zero = cast(record_abs(node), node.dtype), constant(0j, node.dtype)
        return wrap(p.where(p.equal(size, zero), node, p.div(node, size)))
    return wrap(p.sign(node))


def square(a: array | float, /, *, stream: Any = None) -> array:
    """``a * a``."""
    check_stream("square", stream)
    node = as_node("square", a)
    return wrap(node if node.dtype is bool_ else p.square(node))


def reciprocal(a: array | float, /, *, stream: Any = None) -> array:
    """``1 / a``; integers are taken as float32."""
    check_stream("reciprocal", stream)
    node = as_node("reciprocal", a)
    node = cast(node, to_inexact(node.dtype))
    return wrap(p.div(constant(1, node.dtype), node))


# --- elementary functions ---------------------------------------------------------------------------------------------
sqrt = _inexact("sqrt", p.sqrt_p, "The square root of each element.")
rsqrt = _inexact("rsqrt", p.rsqrt_p, "One over the square root of each element.")
exp = _inexact("exp", p.exp_p, "``e`` to the power of each element.")
expm1 = _inexact("expm1", p.expm1_p, "``exp(a) - 1``, exact near 0.")
log = _inexact("log", p.log_p, "The natural logarithm of each element.")
log2 = _inexact("log2", p.log2_p, "The binary logarithm of each element.")
log10 = _inexact("log10", p.log10_p, "The decimal logarithm of each element.")
log1p = _inexact("log1p", p.log1p_p, "``log(1 + a)``, exact near 0.")
sigmoid = _inexact("sigmoid", p.sigmoid_p, "``1 / (1 + exp(-a))`` without overflow.")
erf = _inexact("erf", p.erf_p, "The error function of each element.", real=True)
erfinv = _inexact("erfinv", p.erfinv_p, "The inverse of the error function, for elements in [-1, 1].", real=True)
sin = _inexact("sin", p.sin_p, "The sine of each element, in radians.")
cos = _inexact("cos", p.cos_p, "The cosine of each element, in radians.")
tan = _inexact("tan", p.tan_p, "The tangent of each element, in radians.")
sinh = _inexact("sinh", p.sinh_p, "The hyperbolic sine of each element.")
cosh = _inexact("cosh", p.cosh_p, "The hyperbolic cosine of each element.")
tanh = _inexact("tanh", p.tanh_p, "The hyperbolic tangent of each element.")
arcsin = _inexact("arcsin", p.arcsin_p, "The angle in [-pi/2, pi/2] whose sine is the element.")
arccos = _inexact("arccos", p.arccos_p, "The angle in [0, pi] whose cosine is the element.")
arctan = _inexact("arctan", p.arctan_p, "The angle in (-pi/2, pi/2) whose tangent is the element.")
arcsinh = _inexact("arcsinh", p.arcsinh_p, "The inverse of the hyperbolic sine.")
arccosh = _inexact("arccosh", p.arccosh_p, "The inverse of the hyperbolic cosine, for elements of at least 1.")
arctanh = _inexact("arctanh", p.arctanh_p, "The inverse of the hyperbolic tangent, for elements in [-1, 1].")
floor = _rounding("floor", p.floor_p, "The largest integer that is not larger than the element.")
ceil = _rounding("ceil", p.ceil_p, "The smallest integer that is not smaller than the element.")
trunc = _rounding("trunc", p.trunc_p, "The element without its fraction.", array_node)


def _scaled(name: str, factor: float, doc: str) -> Unary:
    def function(a: Any, /, *, stream: Any = None) -> Any:
        if stream is not None:
            check_stream(name, stream)
        node = as_node(name, a)
        node = cast(node, to_inexact(node.dtype))
        return wrap(p.mul(node, constant(factor, node.dtype)))

    return _named(function, name, doc)


degrees = _scaled("degrees", 180 / _math.pi, "Radians to degrees.")
radians = _scaled("radians", _math.pi / 180, "Degrees to radians.")


def round(a: array | float, /, decimals: int = 0, stream: Any = None) -> array:
    """Rounds to the given number of decimals, halves to the even neighbour; negative decimals round to tens and so on.

    >>> import arrax.core as mx
    >>> mx.round(mx.array([0.5, 1.5, -2.7]))
    array([0, 2, -3], dtype=float32)
    """
    check_stream("round", stream)
    decimals = as_int("round", decimals, "decimals")
    node = as_node("round", a)
    if node.dtype.category < FLOAT and decimals >= 0:
        return wrap(node)
    dtype = to_inexact(node.dtype)
    x = cast(node, dtype)
    if decimals == 0:
        return wrap(p.rint(x))
    far = decimals if decimals > 0 else -decimals
    scale = constant(float(10**far) if far <= 308 else _math.inf, dtype)
    zero = constant(0, dtype)
    if decimals > 0:
        moved = p.mul(x, scale)
        result = p.div(p.rint(moved), scale)
    else:
        moved = p.rint(p.div(x, scale))
        result = p.where(p.equal(moved, zero), moved, p.mul(moved, scale))
    # a number that has no decimals that far stays as it is, and so do infinities
    return wrap(cast(p.where(p.equal(p.sub(moved, moved), zero), result, x), node.dtype))


# --- comparison -------------------------------------------------------------------------------------------------------
record_equal = binary(p.equal_p, "equal", bool_)
record_not_equal = binary(p.not_equal_p, "not_equal", bool_)
record_less = binary(p.less_p, "less", bool_)
record_less_equal = binary(p.less_equal_p, "less_equal", bool_)
record_greater = binary(p.greater_p, "greater", bool_)
record_greater_equal = binary(p.greater_equal_p, "greater_equal", bool_)

equal = _binary("equal", record_equal, "Whether ``a == b``, element by element.")
not_equal = _binary("not_equal", record_not_equal, "Whether ``a != b``, element by element.")
less = _binary("less", record_less, "Whether ``a < b``, element by element.")
less_equal = _binary("less_equal", record_less_equal, "Whether ``a <= b``, element by element.")
greater = _binary("greater", record_greater, "Whether ``a > b``, element by element.")
greater_equal = _binary("greater_equal", record_greater_equal, "Whether ``a >= b``, element by element.")


def true() -> Node:
    return constant(True, bool_)


def _real_test(name: str, test: Callable[[Node], Node], doc: str, parts: bool = True) -> Unary:
    """A test that only floating point numbers can pass; of complex numbers it does if one of the parts does."""

    def function(a: Any, stream: Any = None) -> Any:
        if stream is not None:
            check_stream(name, stream)
        node = as_node(name, a)
        if node.dtype.category < FLOAT:
            return wrap(_everywhere(False, node))
        if parts and node.dtype.is_complex:
            real, imag = (test(bind(part, (node,))) for part in (p.real_p, p.imag_p))
            return wrap(p.bitwise_or(real, imag))
        return wrap(test(node))

    return _named(function, name, doc)


def _everywhere(value: bool, like: Node) -> Node:
    return Node(broadcast_p, (constant(value, bool_),), (like.shape,), like.shape, bool_)


def record_isnan(x: Node) -> Node:
    return p.not_equal(x, x)


def record_isinf(x: Node) -> Node:
    return p.equal(p.abs_(x), constant(_math.inf, x.dtype))


def record_isfinite(x: Node) -> Node:
    return p.less(p.abs_(x), constant(_math.inf, x.dtype))


isnan = _real_test("isnan", record_isnan, "Whether the element is NaN.")
isinf = _real_test("isinf", record_isinf, "Whether the element is plus or minus infinity.")
isposinf = _real_test(
    "isposinf", lambda x: p.equal(x, constant(_math.inf, x.dtype)), "Whether the element is infinity.", parts=False
)
isneginf = _real_test(
    "isneginf",
    lambda x: p.equal(x, constant(-_math.inf, x.dtype)),
    "Whether the element is minus infinity.",
    parts=False,
)


def isfinite(a: array | float, stream: Any = None) -> array:
    """Whether the element is neither infinite nor NaN."""
    check_stream("isfinite", stream)
    node = as_node("isfinite", a)
    if node.dtype.category < FLOAT:
        return wrap(_everywhere(True, node))
    if node.dtype.is_complex:
        real, imag = (record_isfinite(bind(part, (node,))) for part in (p.real_p, p.imag_p))
        return wrap(p.bitwise_and(real, imag))
    return wrap(record_isfinite(node))


def isclose(
    a: array,
    b: array,
    /,
    rtol: float = 1e-5,
    atol: float = 1e-8,
    *,
    equal_nan: bool = False,
    stream: Any = None,
) -> array:
    """Whether ``abs(a - b) <= atol + rtol * abs(b)``; infinities equal themselves, NaN only with ``equal_nan``."""
    check_stream("isclose", stream)
    rtol, atol = as_number("isclose", rtol, "rtol"), as_number("isclose", atol, "atol")
    for x in (a, b):
        array_node("isclose", x)
    return wrap(record_isclose(*pair("isclose", a, b), rtol, atol, equal_nan))


def record_isclose(x: Node, y: Node, rtol: float, atol: float, equal_nan: bool) -> Node:
    dtype = to_inexact(x.dtype)
    x, y = cast(x, dtype), cast(y, dtype)
    broadcast_shapes("isclose", x.shape, y.shape)
    distance, size = record_abs(p.sub(x, y)), record_abs(y)
    real = distance.dtype
    bound = p.add(constant(atol, real), p.mul(constant(rtol, real), size))
    # a finite bound keeps infinities from being close to everything
    near = p.bitwise_and(p.less_equal(distance, bound), p.less(bound, constant(_math.inf, real)))
    near = p.bitwise_or(near, p.equal(x, y))
    if equal_nan:
        near = p.bitwise_or(near, p.bitwise_and(record_isnan(x), record_isnan(y)))
    return near


# --- logic and bits ---------------------------------------------------------------------------------------------------
def as_bool(node: Node) -> Node:
    """False where the element is 0, True elsewhere."""
    return node if node.dtype is bool_ else p.not_equal(node, constant(0, node.dtype))


def _logical(name: str, prim: Primitive, doc: str) -> Binary:
    record = binary(prim, name)

    def function(a: Any, b: Any, /, *, stream: Any = None) -> Any:
        if stream is not None:
            check_stream(name, stream)
        return wrap(record(as_bool(as_node(name, a)), as_bool(as_node(name, b))))

    return _named(function, name, doc)


logical_and = _logical("logical_and", p.bitwise_and_p, "Whether both elements are not 0.")
logical_or = _logical("logical_or", p.bitwise_or_p, "Whether at least one element is not 0.")
logical_xor = _logical("logical_xor", p.bitwise_xor_p, "Whether exactly one element is not 0.")


def logical_not(a: array | float, /, *, stream: Any = None) -> array:
    """Whether the element is 0."""
    check_stream("logical_not", stream)
    return wrap(record_not(as_node("logical_not", a)))


def record_not(node: Node) -> Node:
    return p.equal(node, constant(0, node.dtype))


class BitsError(RuntimeError, ValueError):
    """Bits of what has none: MLX's functions raise RuntimeError, its operators ValueError."""


def bits(prim: Primitive, name: str, shift: bool = False) -> Recorder:
    """Records an operation on the bits of integers or, but for shifts, booleans."""
    plain = binary(prim, name)

    def record(a: Node, b: Node) -> Node:
        if a.dtype.category >= FLOAT:
            raise BitsError(f"[{name}] expected integers or booleans, got {a.dtype.name}: cast them with astype")
        if shift and a.dtype is bool_:
            a, b = cast(a, uint8), cast(b, uint8)
        return plain(a, b)

    return record


record_and = bits(p.bitwise_and_p, "bitwise_and")
record_or = bits(p.bitwise_or_p, "bitwise_or")
record_xor = bits(p.bitwise_xor_p, "bitwise_xor")
record_left_shift = bits(p.left_shift_p, "left_shift", True)
record_right_shift = bits(p.right_shift_p, "right_shift", True)

bitwise_and = _binary("bitwise_and", record_and, "The bits that both integers have.")
bitwise_or = _binary("bitwise_or", record_or, "The bits that at least one integer has.")
bitwise_xor = _binary("bitwise_xor", record_xor, "The bits that exactly one integer has.")
left_shift = _binary("left_shift", record_left_shift, "``a * 2**b`` by moving bits; those that leave are lost.")
right_shift = _binary("right_shift", record_right_shift, "``a // 2**b`` by moving bits.")


def record_invert(node: Node) -> Node:
    if node.dtype.category >= FLOAT:
        raise ValueError(
            f"[bitwise_invert] expected integers or booleans, got {node.dtype.name}: cast them with astype"
        )
    return record_not(node) if node.dtype is bool_ else p.bitwise_not(node)


def bitwise_invert(a: array | int, stream: Any = None) -> array:
    """All bits of each integer inverted; of a boolean, its negation."""
    check_stream("bitwise_invert", stream)
    return wrap(record_invert(as_node("bitwise_invert", a)))


# --- complex numbers --------------------------------------------------------------------------------------------------
def conj(a: array, *, stream: Any = None) -> array:
    """The complex conjugate; real numbers as they are."""
    check_stream("conj", stream)
    node = as_node("conj", a)
    return wrap(bind(p.conj_p, (node,)) if node.dtype.is_complex else node)


def real(a: array, /, *, stream: Any = None) -> array:
    """The real part: float32 of complex64, float64 of complex128; real numbers as they are."""
    check_stream("real", stream)
    node = as_node("real", a)
    return wrap(bind(p.real_p, (node,)) if node.dtype.is_complex else node)


def imag(a: array, /, *, stream: Any = None) -> array:
    """The imaginary part: float32 of complex64, float64 of complex128; zeros for real numbers."""
    check_stream("imag", stream)
    node = as_node("imag", a)
    if node.dtype.is_complex:
        return wrap(bind(p.imag_p, (node,)))
    return wrap(Node(broadcast_p, (constant(0, node.dtype),), (node.shape,), node.shape, node.dtype))


def stop_gradient(a: array, /, *, stream: Any = None) -> array:
    """``a``, taken as constant by derivatives."""
    check_stream("stop_gradient", stream)
    return wrap(p.stop_gradient(array_node("stop_gradient", a)))


def meet(op: str, *operands: Any) -> list[Node]:
    """Any number of arrays and scalars in the type in which they meet."""
    if len(operands) == 2:
        return list(pair(op, *operands))
    dtype: Dtype | None = None
    for x in operands:
        if isinstance(x, Handle):
            dtype = x._node.dtype if dtype is None else promote(dtype, x._node.dtype)
    nodes = [as_node(op, x) for x in operands]
    if dtype is None:
        dtype = nodes[0].dtype
    for x, node in zip(operands, nodes, strict=True):
        kind = type(x)
        dtype = promote_scalar(dtype, kind) if kind in (bool, int, float, complex) else promote(dtype, node.dtype)
    return [cast(node, dtype) for node in nodes]
