"""Special functions: erfc, the logarithm of the gamma function and its derivative, cube root, greatest common divisor.

The references of the gamma function's relatives are sums of textbook series, in float64: around 2 (DLMF 5.7.3), for
large arguments (DLMF 5.11.1 and 5.11.2), and reflected for negative ones (DLMF 5.5.3 and 5.5.4).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from arrax.graph.node import Node
from arrax.graph.primitive import NONDIFF, Primitive, register
from arrax.prims import pointwise as p
from arrax.prims.pointwise import FLOATS, POSITIVE, declare, scalar, unary
from arrax.prims.view import to_front

# (-1)^k (zeta(k) - 1)/k for k from 2
_ZETA = (
    0.3224670334241132, -0.0673523010531981, 0.020580808427784546, -0.007385551028673986, 0.0028905103307415234,
    -0.001192753911703261, 0.0005096695247430425, -0.00022315475845357939, 9.945751278180853e-05,
    -4.492623673813314e-05, 2.050721277567069e-05, -9.439488275268397e-06, 4.374866789907488e-06,
    -2.039215753801366e-06, 9.55141213040742e-07, -4.492469198764566e-07, 2.1207184805554665e-07,
    -1.0043224823968099e-07, 4.7698101693639804e-08, -2.2711094608943164e-08, 1.0838659214896955e-08,
    -5.183475041970047e-09, 2.4836745438024785e-09, -1.1921401405860912e-09, 5.731367241678862e-10,
    -2.7595228851242334e-10, 1.330476437424449e-10, -6.4229645638381e-11, 3.1044247747322276e-11,
)  # fmt: skip
# B_2k/(2k (2k - 1)) for k from 1
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156, -3617 / 122400)
# B_2k/2k for k from 1, and B_2k
_HARMONIC = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12, -3617 / 8160)
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)
_FAR = 12.0


def _series(coefficients: tuple[float, ...], x: Any) -> Any:
    """The polynomial, lowest order first."""
    result = 0.0
    for c in reversed(coefficients):
        result = result * x + c
    return result


def _split(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The argument in float64, reflected where it is negative, and t and n: 2 + t + n with |t| <= 1/2 where near 0."""
    x = x.astype(np.float64)
    y = np.where(x < 0, 1 - x, x)
    n = np.rint(np.minimum(y, _FAR) - 2)
    return y, y - (n + 2), n


def _lgamma_reference(x: np.ndarray) -> np.ndarray:
    y, t, n = _split(x)
    factor = np.ones_like(y)
    for k in range(1, int(_FAR) - 1):
        factor = np.where(n >= k, factor * (y - k), factor)
    factor = np.where(n < 0, y * np.where(n < -1, y + 1, 1), factor)
    near = t * (1 - np.euler_gamma + t * _series(_ZETA, t)) + np.where(n < 0, -1, 1) * np.log(factor)
    far = (y - 0.5) * (np.log(y) - 1) + (math.log(2 * math.pi) - 1) / 2 + _series(_STIRLING, 1 / (y * y)) / y
    result = np.where(y < _FAR, near, far)
    r = np.abs(x - np.rint(x)).astype(np.float64)
    reflected = np.where(r == 0, np.inf, -np.log(np.sin(np.pi * r) / np.pi) - result)
    return np.where(np.isinf(x), np.inf, np.where(x < 0, reflected, result))


def _digamma_reference(x: np.ndarray) -> np.ndarray:
    y, t, n = _split(x)
    near = 1 - np.euler_gamma + t * _series(tuple(c * k for k, c in enumerate(_ZETA, 2)), t)
    for k in range(1, int(_FAR) - 1):
        near = near + np.where(n >= k, 1 / (y - k), 0)
    near = near - np.where(n < 0, 1 / y + np.where(n < -1, 1 / (y + 1), 0), 0)
    square = 1 / (y * y)
    far = np.log(y) - 0.5 / y - square * _series(_HARMONIC, square)
    result = np.where(y < _FAR, near, far)
    r = (x - np.rint(x)).astype(np.float64)
    return np.where(x < 0, np.where(r == 0, np.nan, result - np.pi / np.tan(np.pi * r)), result)


def trigamma(x: Node) -> Node:
    """The derivative of digamma: a sum of recorded operations, so that further derivatives exist."""
    one, negative = scalar(1, x), p.less(x, scalar(0, x))
    y = p.where(negative, p.sub(one, x), x)
    total: Node = scalar(0, x)
    for k in range(8):
        total = p.add(total, p.div(one, p.square(p.add(y, scalar(k, x)))))
    z = p.div(one, p.add(y, scalar(8, x)))
    square = p.square(z)
    tail: Node = scalar(0, x)
    for c in reversed(_BERNOULLI):
        tail = p.add(p.mul(tail, square), scalar(c, x))
    total = p.add(total, p.add(z, p.mul(square, p.add(scalar(0.5, x), p.mul(z, tail)))))
    sine = p.sin(p.mul(scalar(math.pi, x), p.where(negative, x, scalar(0.5, x))))
    reflected = p.sub(p.div(scalar(math.pi**2, x), p.square(sine)), total)
    return p.where(negative, reflected, total)


def _erfc_vjp(n: Node, g: Node) -> tuple[Node]:
    slope = p.mul(scalar(-2 / math.sqrt(math.pi), g), p.exp(p.neg(p.square(n.inputs[0]))))
    return (p.mul(g, slope),)


_erfc: Callable[..., Any] = np.frompyfunc(math.erfc, 1, 1)

erfc_p = declare("erfc", 1, lambda x: np.asarray(_erfc(x), np.float64), _erfc_vjp, FLOATS, cost=30)
digamma_p = declare(
    "digamma", 1, _digamma_reference, lambda n, g: (p.mul(g, trigamma(n.inputs[0])),), POSITIVE, cost=80
)
digamma = unary(digamma_p)
lgamma_p = declare("lgamma", 1, _lgamma_reference, lambda n, g: (p.mul(g, digamma(n.inputs[0])),), POSITIVE, cost=100)
cbrt_p = declare(
    "cbrt",
    1,
    lambda x: np.cbrt(x.astype(np.float64)),
    lambda n, g: (p.div(g, p.mul(scalar(3, g), p.square(n))),),
    FLOATS,
    cost=30,
)
erfc, lgamma, cbrt = unary(erfc_p), unary(lgamma_p), unary(cbrt_p)

# Of integers of one type and shape.
gcd_p = register(
    Primitive(
        "gcd",
        "opaque",
        lambda inputs, params: (inputs[0].shape, inputs[0].dtype),
        lambda params, shape, dtype, a, b: np.gcd(a, b),
        NONDIFF,
        lambda n, inputs, batched: gcd(*to_front(inputs, batched)),
        samples=[(("i4:4", "i4<50:4"), ())],
    )
)


def gcd(a: Node, b: Node) -> Node:
    """The greatest common divisor, never negative."""
    return Node(gcd_p, (a, b), (), a.shape, a.dtype)
