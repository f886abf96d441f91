"""erfc, the logarithm of the gamma function, its derivative, the cube root; see `scalarmath` for the rules.

The gamma function's relatives are computed in float64 throughout, with shorter polynomials for float32: these are then
right to the last place or two, also near the zeros on the negative axis.
"""

from __future__ import annotations

import math

from arrax.compiler.kernel import Value, cast, const, eq, fma, ge, lt, op, select
from arrax.compiler.scalarmath_basic import (
    at_most,
    exp2,
    exp_in_range,
    format_of,
    horner,
    log,
    log2,
    magnitude,
    nan,
    sin,
    tan,
)
from arrax.compiler.scalarmath_tables import (
    DIGAMMA_FAR,
    DIGAMMA_NEAR,
    DIGAMMA_ROOT,
    ERFCX32,
    ERFCX64,
    LGAMMA_FAR,
    LGAMMA_NEAR,
    LOG_ROOT_TAU,
)
from arrax.graph.dtypes import float64

FAR = 7  # from where on the gamma function's relatives are their asymptotic series


def erfc(x: Value) -> Value:
    """1 - erf(x), accurate where that is close to 0."""
    f = format_of(x)
    limit, centre, coefficients = ERFCX64 if x.dtype is float64 else ERFCX32
    a = at_most(magnitude(x), limit)
    small = 1.0 - fma(horner(f.erf, x * x), x, x)
    # exp(-a²)·g(a); the rounding error of the square is made up for
    square = a * a
    rest = fma(a, a, -square)
    scale = exp_in_range(-square)
    scale = fma(-rest, scale, scale)
    g = horner(coefficients, (a - centre) / (a + centre)) / fma(a, 2.0, 1.0)
    large = scale * g
    return select(lt(a, 0.5), small, select(lt(x, 0.0), 2.0 - large, large))


def _in_double(x: Value) -> tuple[Value, int]:
    """x in float64, and which one of a table's polynomials is long enough for x's own type."""
    return (x, 1) if x.dtype is float64 else (cast(x, float64), 0)


def lgamma(x: Value) -> Value:
    """log|gamma(x)|: inf at 0, -1, -2, ..."""
    wide, which = _in_double(x)
    negative = lt(wide, 0.0)
    y = select(negative, 1.0 - wide, wide)
    # gamma(y) = gamma(2 + t)·(y - 1)···(y - n) with |t| <= 1/2; for n < 0 divided by y and y + 1
    n = op("rint", at_most(y, FAR + 1.0) - 2.0)
    t = y - (n + 2.0)
    factor = const(1.0, float64)
    for k in range(1, FAR - 1):
        factor = select(ge(n, k), factor * (y - float(k)), factor)
    below = lt(n, 0.0)
    factor = select(below, y * select(lt(n, -1.0), y + 1.0, 1.0), factor)
    far = ge(y, FAR)
    logarithm = log(select(far, y, factor))
    near = fma(horner(LGAMMA_NEAR[which], t), t, select(below, -logarithm, logarithm))
    inverse = 1.0 / y
    tail = fma(horner(LGAMMA_FAR[which], inverse * inverse), inverse, LOG_ROOT_TAU - 0.5)
    result = select(far, fma(y - 0.5, logarithm - 1.0, tail), near)
    # gamma(x)·gamma(1 - x) = pi/sin(pi·x)
    r = magnitude(wide - op("rint", wide))
    reflected = -log(sin(r * math.pi) * (1.0 / math.pi)) - result
    reflected = select(eq(r, 0.0), math.inf, reflected)
    result = select(negative, reflected, result)
    return cast(select(eq(magnitude(wide), math.inf), math.inf, result), x.dtype)


def digamma(x: Value) -> Value:
    """The derivative of `lgamma`: -inf at 0, NaN at -1, -2, ..."""
    wide, which = _in_double(x)
    negative = lt(wide, 0.0)
    y = select(negative, 1.0 - wide, wide)
    # psi(y) = psi(z) + 1/(y - 1) + ... + 1/(y - n) with 1 <= z < 2, and psi(y + 1) - 1/y below 1
    n = op("floor", at_most(y, FAR + 1.0)) - 1.0
    z = y - n
    numerator, denominator = const(0.0, float64), const(1.0, float64)
    for k in range(1, FAR - 1):
        more, d = ge(n, k), y - float(k)
        numerator = select(more, fma(numerator, d, denominator), numerator)
        denominator = select(more, denominator * d, denominator)
    below = lt(n, 0.0)
    numerator, denominator = select(below, -1.0, numerator), select(below, y, denominator)
    high, low = DIGAMMA_ROOT
    near = fma((z - high) - low, horner(DIGAMMA_NEAR[which], z - 1.5), numerator / denominator)
    inverse = 1.0 / y
    square = inverse * inverse
    far = log(y) - fma(square, horner(DIGAMMA_FAR[which], square), 0.5 * inverse)
    result = select(lt(y, FAR), near, far)
    # psi(1 - x) - psi(x) = pi/tan(pi·x)
    r = wide - op("rint", wide)
    reflected = select(eq(r, 0.0), nan(wide), result - math.pi / tan(r * math.pi))
    return cast(select(negative, reflected, result), x.dtype)


def cbrt(x: Value) -> Value:
    """The real cube root."""
    a = magnitude(x)
    y = exp2(log2(a) * (1.0 / 3.0))
    square = y * y
    y = fma(y, fma(square, y / a, -1.0) * (-1.0 / 3.0), y)  # a step of Newton's, relative to a, which may be tiny
    keep = eq(a, 0.0) | eq(a, math.inf)
    return select(keep, x, op("copysign", y, x))
