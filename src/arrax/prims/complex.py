"""What pointwise functions of complex numbers are, where NumPy's are not what C defines, or have no digits.

Products are rounded part by part, so that they commute to the bit; single precision is computed in double precision
where parts cancel. Infinities and signed zeros give what C's functions give (ISO C, annex G).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def by_kind(on_reals: Callable[..., Any], on_complex: Callable[..., Any]) -> Callable[..., Any]:
    """A function of real or of complex numbers."""

    def evaluate(*arrays: np.ndarray) -> Any:
        return (on_complex if arrays[0].dtype.kind == "c" else on_reals)(*arrays)

    return evaluate


def _from_parts(real: Any, imag: Any, dtype: np.dtype) -> np.ndarray:
    result = np.empty(np.broadcast_shapes(np.shape(real), np.shape(imag)), dtype)
    result.real, result.imag = real, imag
    return result


def _wide(a: np.ndarray) -> np.ndarray:
    return a.astype(np.complex128)


def _unit(part: np.ndarray) -> np.ndarray:
    """1 where a part is infinite, 0 elsewhere, with its sign."""
    return np.copysign(np.isinf(part).astype(part.dtype), part)


def _number(part: np.ndarray) -> np.ndarray:
    """A zero for NaN, with its sign."""
    return np.where(np.isnan(part), np.copysign(part.dtype.type(0), part), part)


def _infinite_product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The product where both its parts come out as NaN: infinite if an operand is."""
    a, b, c, d = x.real, x.imag, y.real, y.imag
    first, second = np.isinf(a) | np.isinf(b), np.isinf(c) | np.isinf(d)
    overflow = np.isinf(a * c) | np.isinf(b * d) | np.isinf(a * d) | np.isinf(b * c)
    a, b = np.where(first, _unit(a), a), np.where(first, _unit(b), b)
    c, d = np.where(second, _unit(c), c), np.where(second, _unit(d), d)
    a, b = np.where(second | overflow, _number(a), a), np.where(second | overflow, _number(b), b)
    c, d = np.where(first | overflow, _number(c), c), np.where(first | overflow, _number(d), d)
    infinite = np.where(first | second | overflow, np.inf, np.nan)
    return _from_parts(infinite * (a * c - b * d), infinite * (a * d + b * c), x.dtype)


def product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x·y."""
    a, b, c, d = x.real, x.imag, y.real, y.imag
    result = _from_parts(a * c - b * d, a * d + b * c, x.dtype)
    lost = np.isnan(result.real) & np.isnan(result.imag)
    if lost.any():
        x, y = np.broadcast_arrays(x, y)
        result[lost] = _infinite_product(x[lost], y[lost])
    return result


def square(x: np.ndarray) -> np.ndarray:
    """x·x."""
    return product(x, x)


def _infinite_quotient(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The quotient where both its parts come out as NaN: infinite over zero and of infinity, 0 over infinity."""
    a, b, c, d = x.real, x.imag, y.real, y.imag
    infinite, finite = np.isinf(a) | np.isinf(b), np.isfinite(a) & np.isfinite(b)
    over_zero = (c == 0) & (d == 0) & ~(np.isnan(a) & np.isnan(b))
    of_infinity = infinite & np.isfinite(c) & np.isfinite(d)
    by_infinity = finite & (np.isinf(c) | np.isinf(d))
    pole = np.copysign(np.inf, c)
    u, v, s, t = _unit(a), _unit(b), _unit(c), _unit(d)
    real = np.where(of_infinity, np.inf * (u * c + v * d), np.where(by_infinity, 0 * (a * s + b * t), np.nan))
    imag = np.where(of_infinity, np.inf * (v * c - u * d), np.where(by_infinity, 0 * (b * s - a * t), np.nan))
    return _from_parts(np.where(over_zero, pole * a, real), np.where(over_zero, pole * b, imag), x.dtype)


def quotient(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x/y."""
    if x.dtype == np.complex64:  # no overflow, nor parts that cancel
        u, v = _wide(x), _wide(y)
        size = np.square(v.real) + np.square(v.imag)
        real, imag = u.real * v.real + u.imag * v.imag, u.imag * v.real - u.real * v.imag
        result = _from_parts(real / size, imag / size, x.dtype)
    else:
        result = np.asarray(np.divide(x, y))
    lost = np.isnan(result.real) & np.isnan(result.imag)
    if lost.any():
        x, y = np.broadcast_arrays(x, y)
        result[lost] = _infinite_quotient(x[lost], y[lost])
    return result


def rsqrt(x: np.ndarray) -> np.ndarray:
    """1/sqrt(x)."""
    return quotient(np.ones_like(x), np.sqrt(x))


def power(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x to the power y; a negative one of 0 is infinite, and of infinity 0."""
    wide = np.power(_wide(x), _wide(y))
    negative = (y.real < 0) & np.isfinite(y)
    wide = np.where((x == 0) & negative, complex(np.inf, np.nan), wide)
    return np.where(np.isinf(x) & negative, 0, wide).astype(x.dtype)


def lexicographic(strict: np.ufunc, last: np.ufunc) -> Callable[[np.ndarray, np.ndarray], Any]:
    """A comparison of the real parts, and of the imaginary ones where these are equal."""
    return lambda x, y: strict(x.real, y.real) | ((x.real == y.real) & last(x.imag, y.imag))


def expm1(x: np.ndarray) -> np.ndarray:
    """exp(x) - 1."""
    z = _wide(x)
    whole = np.exp(z)
    near = np.abs(z.real) < 50  # elsewhere the 1, or the exponential, has no digit in the result
    a, b = np.where(near, z.real, 0), np.where(near, z.imag, 0)
    real = np.expm1(a) * np.cos(b) - 2 * np.square(np.sin(b / 2))
    imag = np.exp(a) * np.sin(b)
    return _from_parts(np.where(near, real, whole.real - 1), np.where(near, imag, whole.imag), x.dtype)


def log1p(x: np.ndarray) -> np.ndarray:
    """log(1 + x)."""
    z = _wide(x)
    a, b = z.real, z.imag
    near = (np.abs(a) < 0.5) & (np.abs(b) < 0.5)
    u, v = np.where(near, a, 0), np.where(near, b, 0)
    real = np.where(near, 0.5 * np.log1p(u * (2 + u) + v * v), np.log(np.hypot(1 + a, b)))
    return _from_parts(real, np.arctan2(b, 1 + a), x.dtype)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1/(1 + exp(-x)), by the exponential that does not overflow."""
    z = _wide(x)
    negative = z.real < 0
    e = np.exp(np.where(negative, z, -z))
    return quotient(np.where(negative, e, 1), 1 + e).astype(x.dtype)


def logaddexp(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """log(exp(x) + exp(y)), from the larger one: by the real parts, then by the imaginary ones."""
    u, v = np.broadcast_arrays(_wide(x), _wide(y))
    first = (u.real > v.real) | ((u.real == v.real) & (u.imag > v.imag))
    most, least = np.where(first, u, v), np.where(first, v, u)
    ends = (most.real == np.inf) | (least.real == -np.inf)
    sums = most + log1p(np.exp(np.where(ends, 0, least - most)))
    missing = np.isnan(u) | np.isnan(v)
    return np.where(missing, complex(np.nan, np.nan), np.where(ends, most, sums)).astype(x.dtype)


def logcumsumexp(x: np.ndarray) -> np.ndarray:
    """The running logaddexp along the first axis, rounded at the end."""
    result = _wide(x)
    for i in range(1, len(result)):
        result[i] = logaddexp(result[i - 1], result[i])
    return result.astype(x.dtype)
