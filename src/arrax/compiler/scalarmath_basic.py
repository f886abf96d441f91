"""exp, log, the trigonometric functions and their kin in basic operations; see `scalarmath` for the rules."""

from __future__ import annotations

import math

from arrax.compiler.kernel import Value, bitcast, cast, const, eq, fma, gt, le, lt, op, select
from arrax.compiler.scalarmath_tables import FLOAT32, FLOAT64, LN_2, LOG2_E, Coefficients, Format
from arrax.graph.dtypes import float64, int32, int64


def format_of(x: Value) -> Format:
    return FLOAT64 if x.dtype is float64 else FLOAT32


def horner(coefficients: Coefficients, x: Value) -> Value:
    """The polynomial with these coefficients, highest order first."""
    first, second, *rest = coefficients
    result = fma(x, first, second)
    for c in rest:
        result = fma(result, x, c)
    return result


def at_most(x: Value, limit: float) -> Value:
    """min(x, limit), NaN kept: ``min`` returns its second operand then."""
    return op("min", const(limit, x.dtype), x)


def at_least(x: Value, limit: float) -> Value:
    """max(x, limit), NaN kept."""
    return op("max", const(limit, x.dtype), x)


def magnitude(x: Value) -> Value:
    """|x|."""
    return op("abs", x)


def nan(x: Value) -> Value:
    """NaN of x's type."""
    return const(math.nan, x.dtype)


# --- exponentials -------------------------------------------------------------------------------------------


def _reduce_exp(x: Value, offset: int) -> tuple[Value, Value]:
    """r and bits with x = n·ln 2 + r, |r| ≤ ln(2)/2; n + offset stands in the low bits of ``bits``."""
    f = format_of(x)
    t = fma(x, LOG2_E, f.round + offset)
    n = t - (f.round + offset)
    return fma(n, -f.ln2[1], fma(n, -f.ln2[0], x)), bitcast(t, f.integer)


def scaled(p: Value, bits: Value) -> Value:
    """p·2ⁿ, right also where that is subnormal or overflows; the low bits of ``bits`` hold n + 2·bias."""
    f = format_of(p)
    half = bits >> 1
    p = p * bitcast(half << f.mantissa, f.dtype)
    return p * bitcast((bits - half) << f.mantissa, f.dtype)


def exp_in_range(x: Value, shift: int = 0) -> Value:
    """exp(x)·2^shift for x in ``Format.exp_range``."""
    f = format_of(x)
    r, bits = _reduce_exp(x, 2 * f.bias)
    p = fma(fma(horner(f.exp, r), r, 1.0), r, 1.0)
    return scaled(p, bits + shift if shift else bits)


def exp(x: Value) -> Value:
    """e to the power x."""
    low, high = format_of(x).exp_range
    return exp_in_range(at_least(at_most(x, high), low))


def exp2(x: Value) -> Value:
    """2 to the power x."""
    f = format_of(x)
    low, high = f.exp2_range
    x = at_least(at_most(x, high), low)
    t = x + (f.round + 2 * f.bias)
    r = x - (t - (f.round + 2 * f.bias))
    return scaled(fma(horner(f.exp2, r), r, 1.0), bitcast(t, f.integer))


def expm1(x: Value) -> Value:
    """exp(x) - 1, accurate near 0."""
    f = format_of(x)
    # The scale is 2ⁿ⁻¹, because n can be one more than the largest exponent.
    r, bits = _reduce_exp(at_least(at_most(x, f.exp_range[1]), -40.0), f.bias - 1)
    p = fma(horner(f.expm1, r), r * r, r)
    scale = bitcast(bits << f.mantissa, f.dtype)
    half = fma(p, scale, scale - 0.5)
    return select(lt(magnitude(x), 2.0 ** -(f.mantissa + 2)), x, half + half)  # keeps -0 and subnormals


def tanh(x: Value) -> Value:
    """E/(E + 2) with E = expm1(2|x|): never above 1, and accurate near 0."""
    f = format_of(x)
    a = at_most(magnitude(x), f.tanh_limit)
    r, bits = _reduce_exp(a + a, f.bias)
    p = fma(horner(f.expm1, r), r * r, r)
    scale = bitcast(bits << f.mantissa, f.dtype)
    e = fma(p, scale, scale - 1.0)
    return op("copysign", e / (e + 2.0), x)


def sigmoid(x: Value) -> Value:
    """1/(1 + exp(-x)); relatively accurate for negative x too."""
    z = exp_in_range(-at_most(magnitude(x), -format_of(x).exp_range[0]))
    return select(lt(x, 0.0), z, 1.0) / (z + 1.0)


def sinh(x: Value) -> Value:
    """The hyperbolic sine."""
    f = format_of(x)
    a = magnitude(x)
    s = a * a
    small = fma(a * s, horner(f.sinh, s), a)
    half = exp_in_range(at_most(a, f.exp_range[1] + 1.0), -1)
    return op("copysign", select(lt(a, 1.0), small, half - 0.25 / half), x)


def cosh(x: Value) -> Value:
    """The hyperbolic cosine."""
    half = exp_in_range(at_most(magnitude(x), format_of(x).exp_range[1] + 1.0), -1)
    return half + 0.25 / half


# --- logarithms ---------------------------------------------------------------------------------------------


def log_tail(f: Value) -> Value:
    """log(1 + f) - f for 1 + f in the range of a reduced significand."""
    if f.dtype is not float64:
        return f * f * horner(FLOAT32.log, f)
    s = f / (f + 2.0)
    z = s * s
    h = 0.5 * f * f
    return s * fma(z, horner(FLOAT64.log, z), h) - h


def split_exponent(x: Value, normal: bool = False) -> tuple[Value, Value]:
    """n and f with x = 2ⁿ·(1 + f) for 0 < x < inf, 1 + f in [2/3, 4/3) or [sqrt(1/2), sqrt(2)).

    ``normal`` promises that x is not subnormal.
    """
    fmt = format_of(x)
    offset: Value | float = 0.0
    if not normal:
        tiny = lt(x, fmt.smallest)
        x = select(tiny, x * 2.0**fmt.mantissa, x)
        offset = select(tiny, const(-float(fmt.mantissa), fmt.dtype), 0.0)
    bits = bitcast(x, fmt.integer)
    exponent = (bits - fmt.log_bits) & -(1 << fmt.mantissa)
    n = fma(cast(exponent, fmt.dtype), 2.0**-fmt.mantissa, offset)
    return n, bitcast(bits - exponent, fmt.dtype) - 1.0


def _add_exponent(n: Value, f: Value, tail: Value) -> Value:
    """n·ln 2 + f + tail."""
    ln2 = format_of(n).ln2
    if n.dtype is float64:
        tail = fma(n, ln2[1], tail)
    return fma(n, ln2[0], f + tail)


def _log_domain(x: Value, result: Value, zero: float = 0.0) -> Value:
    """The result for finite x above ``zero``, -inf there, NaN below; inf and NaN give themselves."""
    return select(le(x, zero), select(eq(x, zero), -math.inf, nan(x)), select(lt(x, math.inf), result, x))


def log(x: Value) -> Value:
    """The natural logarithm."""
    n, f = split_exponent(x)
    return _log_domain(x, _add_exponent(n, f, log_tail(f)))


def log2(x: Value) -> Value:
    """The logarithm to base 2; exact for powers of 2."""
    n, f = split_exponent(x)
    high, low = format_of(x).log2_e
    return _log_domain(x, n + fma(f, high, fma(log_tail(f), high, f * low)))


def log10(x: Value) -> Value:
    """The logarithm to base 10."""
    n, f = split_exponent(x)
    fmt = format_of(x)
    high, low = fmt.log10_e
    fraction = fma(f, high, fma(log_tail(f), high, f * low))
    return _log_domain(x, fma(n, fmt.log10_2[0], fma(n, fmt.log10_2[1], fraction)))


def log1p(x: Value) -> Value:
    """log(1 + x), accurate near 0."""
    fmt = format_of(x)
    # With n the exponent of 1 + x, rounded: 1 + f = 2⁻ⁿ·(1 + x) = 2⁻ⁿ·x + 2⁻ⁿ loses nothing.
    exponent = (bitcast(x + 1.0, fmt.integer) - fmt.log_bits) & -(1 << fmt.mantissa)
    four = (fmt.bias + 2) << fmt.mantissa  # the bits of 4.0: 2⁻ⁿ itself could be subnormal
    scale = bitcast(four - exponent, fmt.dtype)
    f = bitcast(bitcast(x, fmt.integer) - exponent, fmt.dtype) + fma(scale, 0.25, -1.0)
    result = _add_exponent(cast(exponent, fmt.dtype) * 2.0**-fmt.mantissa, f, log_tail(f))
    result = select(lt(magnitude(x), 2.0 ** -(fmt.mantissa + 2)), x, result)  # keeps -0 and subnormals
    return _log_domain(x, result, -1.0)


# --- trigonometric functions --------------------------------------------------------------------------------


def _sin_cos(x: Value) -> tuple[Value, Value, Value]:
    """sin r, cos r and n with |x| = n·pi/2 + r, |r| ≤ pi/4.

    The reduction is in float64, so that it is exact enough for every float32 that one can expect (see `sin`).
    """
    f = format_of(x)
    a = cast(magnitude(x), float64)
    t = fma(a, 2.0 / math.pi, FLOAT64.round)
    n = t - FLOAT64.round
    r = a
    for part in FLOAT64.half_pi[: 4 if x.dtype is float64 else 2]:
        r = fma(n, -part, r)
    r = at_least(at_most(cast(r, x.dtype), 0.8), -0.8)  # for arguments beyond the reduction
    s = r * r
    sine = fma(r * s, horner(f.sin, s), r)
    cosine = fma(fma(horner(f.cos, s), s, -0.5), s, 1.0)
    quadrant = bitcast(t, int64)
    return sine, cosine, cast(quadrant, int32) if f.integer is int32 else quadrant


def _with_sign(value: Value, *bits: Value) -> Value:
    """The value, negated where an odd number of the integers is negative."""
    f = format_of(value)
    sign = bits[0]
    for b in bits[1:]:
        sign = sign ^ b
    return bitcast(bitcast(value, f.integer) ^ (sign & (-1 << (8 * f.dtype.size - 1))), f.dtype)


def sin(x: Value) -> Value:
    """sin(x); accurate for |x| up to 1e13, a number in [-1, 1] beyond."""
    s, c, n = _sin_cos(x)
    top = 8 * x.dtype.size - 2
    return _with_sign(select(eq(n & 1, 0), s, c), n << top, bitcast(x, n.dtype))


def cos(x: Value) -> Value:
    """cos(x); the range is that of `sin`."""
    s, c, n = _sin_cos(x)
    top = 8 * x.dtype.size - 2
    return _with_sign(select(eq(n & 1, 0), c, s), (n + 1) << top)


def tan(x: Value) -> Value:
    """tan(x); the range is that of `sin`."""
    s, c, n = _sin_cos(x)
    even = eq(n & 1, 0)
    top = 8 * x.dtype.size - 1
    return _with_sign(select(even, s, c) / select(even, c, s), n << top, bitcast(x, n.dtype))


# --- inverse functions --------------------------------------------------------------------------------------


def _arcsin_half(a: Value, square: Value) -> Value:
    """arcsin(a) for 0 ≤ a ≤ 1/2."""
    return fma(a * square, horner(format_of(a).arcsin, square), a)


def _arcsin_parts(x: Value) -> tuple[Value, Value]:
    """Whether |x| > 1/2, and arcsin|x|; where |x| > 1/2, half of arccos|x| instead."""
    a = magnitude(x)
    large = gt(a, 0.5)
    square = select(large, fma(a, -0.5, 0.5), a * a)
    return large, _arcsin_half(select(large, op("sqrt", square), a), square)


def arcsin(x: Value) -> Value:
    """The inverse sine in [-pi/2, pi/2]."""
    large, y = _arcsin_parts(x)
    high, low, *_ = format_of(x).half_pi
    return op("copysign", select(large, fma(y, -2.0, low) + high, y), x)


def arccos(x: Value) -> Value:
    """The inverse cosine in [0, pi]."""
    large, y = _arcsin_parts(x)
    high, low, *_ = format_of(x).half_pi
    twice = y + y
    large_result = select(lt(x, 0.0), (2.0 * low - twice) + 2.0 * high, twice)
    return select(large, large_result, (low - op("copysign", y, x)) + high)


def _arctan_quotient(numerator: Value, denominator: Value) -> tuple[Value, Value]:
    """Whether the quotient is above 1, and the arctangent of it, or of its inverse then; both arguments are ≥ 0."""
    inverse = gt(numerator, denominator)
    low = select(inverse, denominator, numerator)
    high = select(inverse, numerator, denominator)
    z = select(eq(low, high), select(eq(high, 0.0), const(0.0, low.dtype), 1.0), low / high)
    square = z * z
    return inverse, fma(z * square, horner(format_of(low).arctan, square), z)


def arctan(x: Value) -> Value:
    """The inverse tangent in [-pi/2, pi/2]."""
    inverse, y = _arctan_quotient(magnitude(x), const(1.0, x.dtype))
    high, low, *_ = format_of(x).half_pi
    return op("copysign", select(inverse, (low - y) + high, y), x)


def arctan2(y: Value, x: Value) -> Value:
    """The angle of the point (x, y), with C's conventions for zeros and infinities."""
    f = format_of(x)
    inverse, angle = _arctan_quotient(magnitude(y), magnitude(x))
    high, low, *_ = f.half_pi
    angle = select(inverse, (low - angle) + high, angle)
    left = lt(bitcast(x, f.integer), 0)
    return op("copysign", select(left, (2.0 * low - angle) + 2.0 * high, angle), y)


HUGE = 1e18  # where the functions below are logarithms; the square does not overflow before


def arcsinh(x: Value) -> Value:
    """The inverse hyperbolic sine."""
    a = magnitude(x)
    huge = gt(a, HUGE)
    square = a * a
    u = a + square / (op("sqrt", square + 1.0) + 1.0)
    result = log1p(select(huge, a - 1.0, u)) + select(huge, const(LN_2, x.dtype), 0.0)
    return op("copysign", result, x)


def arccosh(x: Value) -> Value:
    """The inverse hyperbolic cosine; NaN below 1."""
    huge = gt(x, HUGE)
    t = x - 1.0
    u = t + op("sqrt", fma(t, t, t + t))
    result = log1p(select(huge, t, u)) + select(huge, const(LN_2, x.dtype), 0.0)
    return select(lt(x, 1.0), nan(x), result)


def arctanh(x: Value) -> Value:
    """The inverse hyperbolic tangent; ±inf at ±1, NaN beyond."""
    a = magnitude(x)
    return op("copysign", 0.5 * log1p((a + a) / (1.0 - a)), x)
