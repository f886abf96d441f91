"""Scalar functions as expressions in the basic operations of the kernel IR.

No target has a vector libm, so the code generators expand every function that they have no instruction for by this
table. The expansions are free of branches and loads: lanes of a vector that need different treatment compute all cases
and select. The first goal in float32 is few operations; in float64 it is accuracy. Infinities, NaN, signed zeros and
subnormal numbers give what C's functions give. Arithmetic must not be reassociated, since several steps depend on how
a sum rounds; contraction of products and sums does no harm.

Largest errors in units in the last place, float32 over its whole domain / float64:

    exp 0.9/0.9    exp2 0.9/0.9    expm1 1.5/1.8    log 1.3/0.8    log1p 2/1.3    log2 2/0.8    log10 1.8/1.2
    sin, cos 1.6/1.4    tan 3/2.5    arcsin 2.4/1.8    arccos 1.2/1.2    arctan 1.5/1.4    arctan2 2/2
    sinh 1.7/1.5    cosh 1.5/1.2    tanh 2.5/2    arcsinh, arccosh, arctanh 3/2    sigmoid 2.4/2.3
    erf 2.1/1.2    erfc 4/3    erfinv 3.1/3.2    power 0.6/2    rsqrt 1.5/1.5    cbrt 1/1
    lgamma 0.6/5, digamma 0.6/4 for positive numbers; for negative ones, relative to 1 where the result is smaller

sin, cos and tan hold to |x| = 1e13; the remainder of floats is exact; logaddexp is accurate to 3 units of the result,
or of the larger operand where that is larger.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from arrax.compiler.kernel import Value, bitcast, cast, const, eq, fma, gt, lt, ne, op, select
from arrax.compiler.scalarmath_basic import (
    arccos,
    arccosh,
    arcsin,
    arcsinh,
    arctan,
    arctan2,
    arctanh,
    at_least,
    at_most,
    cos,
    cosh,
    exp,
    exp2,
    expm1,
    format_of,
    horner,
    log,
    log1p,
    log2,
    log10,
    log_tail,
    magnitude,
    nan,
    scaled,
    sigmoid,
    sin,
    sinh,
    split_exponent,
    tan,
    tanh,
)
from arrax.compiler.scalarmath_special import cbrt, digamma, erfc, lgamma
from arrax.compiler.scalarmath_tables import (
    ERFINV32,
    ERFINV64,
    EXP2_SHORT,
    FLOAT32,
    FLOAT64,
    LOG_LONG,
    LOG_SHORT,
)
from arrax.graph.dtypes import float64, int64


def rsqrt(x: Value) -> Value:
    """1/sqrt(x)."""
    return 1.0 / op("sqrt", x)


def logaddexp(x: Value, y: Value) -> Value:
    """log(exp(x) + exp(y)) without overflow."""
    distance = select(eq(x, y), 0.0, -magnitude(x - y))  # equal infinities have distance 0
    return select(gt(x, y), x, y) + log1p(exp(distance))


def erf(x: Value) -> Value:
    """The error function."""
    f = format_of(x)
    a = at_most(magnitude(x), f.erf_limit)
    small = fma(horner(f.erf, a * a), a, a)
    p = horner(f.erfc, a)
    if x.dtype is float64:
        large = 1.0 - exp2(p)
    else:
        p = p * p
        p = p * p
        large = fma(-p, p, 1.0)
    return op("copysign", select(lt(a, 1.0), small, large), x)


def erfinv(x: Value) -> Value:
    """The inverse of `erf`: ±inf at ±1, NaN beyond."""
    a = magnitude(x)
    if x.dtype is float64:
        w = -log1p(-a * a)
        w = select(lt(a, 0.5), w, -log((1.0 - a) * (1.0 + a)))
        root = op("sqrt", w)
        near, middle, far = ERFINV64
        p = select(lt(w, 16.0), horner(middle, root - 3.25), horner(far, root - 5.0))
        p = select(lt(w, 6.25), horner(near, w - 3.125), p)
    else:
        n, f = split_exponent(fma(-x, x, 1.0), normal=True)
        t = fma(n, FLOAT32.ln2[0], f + log_tail(f))
        near, far = ERFINV32
        p = select(gt(t, -6.125), horner(near, t), horner(far, t + 11.0))
    edge = select(eq(a, 1.0), x * math.inf, nan(x))
    return select(lt(a, 1.0), x * p, edge)


# --- powers -------------------------------------------------------------------------------------------------


def _exp2_product(a: Value, y: Value) -> Value:
    """a^y for float64 values that were float32: 2^(y·log2(a)), as accurate as float32 needs."""
    n, f = split_exponent(a, normal=True)
    n = select(eq(a, 0.0), -math.inf, select(lt(a, math.inf), n, a))
    s = f / (f + 2.0)
    z = s * s
    natural = s * fma(z, horner(LOG_SHORT, z), 2.0)
    e = at_least(at_most(y * fma(natural, FLOAT64.log2_e[0], n), 1000.0), -1000.0)
    t = e + (FLOAT64.round + FLOAT64.bias)
    r = e - (t - (FLOAT64.round + FLOAT64.bias))
    return fma(horner(EXP2_SHORT, r), r, 1.0) * bitcast(bitcast(t, int64) << FLOAT64.mantissa, float64)


def _two_sum(a: Value, b: Value) -> tuple[Value, Value]:
    """The rounded sum and its error, for |a| ≥ |b|."""
    total = a + b
    return total, (a - total) + b


def _two_product(a: Value, b: Value) -> tuple[Value, Value]:
    """The rounded product and its error."""
    product = a * b
    return product, fma(a, b, -product)


def _log2_double(a: Value) -> tuple[Value, Value]:
    """log2(a) as a sum of two numbers, to about 2^-65, for positive finite a."""
    n, f = split_exponent(a)
    # s = f/(2 + f); its powers carry their errors along.
    d, d_low = _two_sum(const(2.0, float64), f)
    s = f / d
    s_low = (fma(-s, d, f) - s * d_low) / d
    z, z_low = _two_product(s, s)
    z_low = fma(s + s, s_low, z_low)
    cube, cube_low = _two_product(z, s)
    cube_low = fma(z, s_low, fma(z_low, s, cube_low))
    # log = 2s + s³·(2/3 + s²·P)
    third = 0.6666666666666666
    c, c_low = _two_sum(const(third, float64), z * horner(LOG_LONG, z))
    c_low = c_low + 3.700743415417188e-17  # 2/3 - third
    p, p_low = _two_product(cube, c)
    p_low = fma(cube, c_low, fma(cube_low, c, p_low))
    h, h_low = _two_sum(s + s, p)
    h_low = h_low + (s_low + s_low + p_low)
    high, low = FLOAT64.log2_e
    m, m_low = _two_product(h, const(high, float64))
    m_low = fma(h, low, fma(h_low, high, m_low))
    result, rest = _two_sum(n, m)
    return result, rest + m_low


def _exp2_double(a: Value, y: Value) -> Value:
    """a^y in float64: 2^(y·log2(a)) with the logarithm in twice the precision."""
    high, low = _log2_double(a)
    high = select(eq(a, 0.0), -math.inf, select(lt(a, math.inf), high, a))
    e, e_low = _two_product(y, high)
    e_low = select(lt(magnitude(e), 1100.0), fma(y, low, e_low), 0.0)
    e = at_least(at_most(e, 1100.0), -1100.0)
    offset = FLOAT64.round + 2 * FLOAT64.bias
    t = e + offset
    r = (e - (t - offset)) + e_low
    return scaled(fma(horner(FLOAT64.exp2, r), r, 1.0), bitcast(t, int64))


def power(x: Value, y: Value) -> Value:
    """x^y with IEEE's special cases for floats; `ipow` for integers."""
    if not x.dtype.is_float:
        return ipow(x, y)
    a = magnitude(x)
    if x.dtype is float64:
        result = _exp2_double(a, y)
    else:
        result = cast(_exp2_product(cast(a, float64), cast(y, float64)), x.dtype)
    half = y * 0.5
    integral = eq(op("floor", y), y)
    odd = integral & ne(op("floor", half), half)
    f = format_of(x)
    result = select(odd & lt(bitcast(x, f.integer), 0), -result, result)
    result = select(lt(x, 0.0) & gt(x, -math.inf) & ~integral, nan(x), result)
    # 1 for y = 0 and x = 1 whatever the other is, NaN included, and for (-1)^±inf.
    one = eq(y, 0.0) | eq(x, 1.0) | (eq(x, -1.0) & eq(magnitude(y), math.inf))
    return select(one, 1.0, result)


def ipow(x: Value, y: Value) -> Value:
    """x^y for integers modulo 2^width, 0 where y is negative."""
    dtype = x.dtype
    result = const(1, dtype)
    for bit in range(8 * dtype.size - dtype.is_signed):
        result = select(eq((y >> bit) & 1, 0), result, result * x)
        x = x * x
    return select(lt(y, 0), 0, result) if dtype.is_signed else result


# --- division with remainder --------------------------------------------------------------------------------


def _reduced(r: Value, y: Value, steps: int) -> Value:
    """r modulo y, nearest to 0: each step is exact and takes a factor 2^52 off the quotient."""
    for _ in range(steps):
        r = fma(-op("rint", r / y), y, r)
    return r


def _double_remainder(x: Value, y: Value) -> Value:
    """The largest quotient is 2^2098: x is reduced modulo 2^1400·y, then 2^700·y and y, where these are finite."""
    r, least = x, magnitude(y)
    for exponent in (1400, 700):
        exists = lt(least, 2.0 ** (1023 - exponent))
        multiple = select(exists, least, 1.0) * 2.0 ** (exponent // 2) * 2.0 ** (exponent // 2)
        r = select(exists, _reduced(r, multiple, 14), r)
    return _reduced(r, least, 14)


def _float_remainder(x: Value, y: Value) -> Value:
    if x.dtype is float64:
        r = _double_remainder(x, y)
    else:  # the largest quotient is 2^277; y has half the digits, so that a product with its inverse will do
        r, wide = cast(x, float64), cast(y, float64)
        inverse = 1.0 / wide
        for _ in range(6):
            r = fma(-op("rint", r * inverse), wide, r)
        r = cast(r, x.dtype)
    r = select(eq(magnitude(y), math.inf) & lt(magnitude(x), math.inf), x, r)
    opposite = ne(lt(r, 0.0), lt(y, 0.0))
    return select(eq(r, 0.0), op("copysign", r, y), select(opposite, r + y, r))


def remainder(x: Value, y: Value) -> Value:
    """x mod y with the sign of y; an integer modulo 0 is itself."""
    if x.dtype.is_float:
        return _float_remainder(x, y)
    rest = select(eq(y, 0), x, op("rem", x, y))
    if not x.dtype.is_signed:
        return rest
    return select(ne(rest, 0) & lt(rest ^ y, 0), rest + y, rest)


def floor_divide(x: Value, y: Value) -> Value:
    """The quotient rounded down; 0 where an integer is divided by 0."""
    if x.dtype.is_float:
        return op("floor", x / y)
    quotient = x / y
    if not x.dtype.is_signed:
        return quotient
    rest = op("rem", x, y)
    return select(ne(rest, 0) & lt(rest ^ y, 0), quotient - 1, quotient)


EXPANSIONS: dict[str, Callable[..., Value]] = {
    "exp": exp,
    "exp2": exp2,
    "expm1": expm1,
    "log": log,
    "log1p": log1p,
    "log2": log2,
    "log10": log10,
    "sin": sin,
    "cos": cos,
    "tan": tan,
    "sinh": sinh,
    "cosh": cosh,
    "tanh": tanh,
    "arcsin": arcsin,
    "arccos": arccos,
    "arctan": arctan,
    "arctan2": arctan2,
    "arcsinh": arcsinh,
    "arccosh": arccosh,
    "arctanh": arctanh,
    "erf": erf,
    "erfinv": erfinv,
    "erfc": erfc,
    "lgamma": lgamma,
    "digamma": digamma,
    "cbrt": cbrt,
    "sigmoid": sigmoid,
    "rsqrt": rsqrt,
    "power": power,
    "remainder": remainder,
    "floor_divide": floor_divide,
    "logaddexp": logaddexp,
}

# Those that round as NumPy's own functions do, to the bit.
AS_IN_NUMPY = frozenset(("rsqrt", "remainder", "floor_divide"))
