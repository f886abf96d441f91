"""Functions of complex numbers: their digits, and what they give at infinities and zeros."""

import itertools
from typing import Any

import mlx.core as oracle
import mpmath
import numpy as np
import pytest

import arrax.core as mx

INF, NAN = float("inf"), float("nan")
PARTS = (0.0, -0.0, 1.0, -2.0, 0.5, 1e-8, -1e-8, 1e30, -1e30, 1e-30, INF, -INF, NAN)
GRID = np.array([complex(a, b) for a, b in itertools.product(PARTS, PARTS)], np.complex64)
LEFT, RIGHT = (a.ravel() for a in np.meshgrid(GRID, GRID))
NEAR = np.array(
    [
        complex(a, b)
        for a, b in itertools.product((0.0, 1.0, -2.0, 0.5, -0.75, 1e-8, -1e-8, 1e-20, 30.0, -30.0), repeat=2)
    ]
)
TOLERANCE = {"complex64": 3e-7, "complex128": 2e-15}


def bits(x: np.ndarray) -> np.ndarray:
    """For comparisons with signs of zeros, where one NaN is as good as another."""
    parts = np.stack([x.real, x.imag])
    return np.where(np.isnan(parts), np.float32(NAN), parts).view(np.uint32)


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide"])
def test_arithmetic_is_that_of_mlx_to_the_bit(name):
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=2000) * 10.0 ** rng.integers(-30, 30, 2000) + 1j * rng.normal(size=2000) for _ in "ab")
    for a, b in ((x.astype(np.complex64), y.astype(np.complex64)), (LEFT, RIGHT)):
        ours, theirs = (np.array(getattr(m, name)(m.array(a), m.array(b))) for m in (mx, oracle))
        np.testing.assert_array_equal(bits(ours), bits(theirs))


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_products_and_sums_commute_to_the_bit(dtype):
    rng = np.random.default_rng(1)
    x, y = (
        mx.array(rng.normal(size=(3, 777)) + 1j * rng.normal(size=(3, 777)), dtype=getattr(mx, dtype)) for _ in "ab"
    )
    for a, b in ((x, y), (x[1, 5], y), (x[:, :1], y[:1])):
        assert np.array(a * b).tobytes() == np.array(b * a).tobytes()
        assert np.array(a + b).tobytes() == np.array(b + a).tobytes()
    assert np.array(mx.square(x)).tobytes() == np.array(x * x).tobytes()


@pytest.mark.parametrize("name", ["less", "less_equal", "greater", "greater_equal", "equal", "not_equal"])
def test_comparisons(name):
    ours, theirs = (np.array(getattr(m, name)(m.array(LEFT), m.array(RIGHT))) for m in (mx, oracle))
    np.testing.assert_array_equal(ours, theirs)


FUNCTIONS: dict[str, Any] = {
    "exp": mpmath.exp, "expm1": mpmath.expm1, "log": mpmath.log, "log1p": lambda z: mpmath.log(1 + z),
    "log2": lambda z: mpmath.log(z) / mpmath.log(2), "log10": lambda z: mpmath.log(z) / mpmath.log(10),
    "sin": mpmath.sin, "cos": mpmath.cos, "tan": mpmath.tan, "sinh": mpmath.sinh, "cosh": mpmath.cosh,
    "tanh": mpmath.tanh, "arcsin": mpmath.asin, "arccos": mpmath.acos, "arctan": mpmath.atan,
    "arcsinh": mpmath.asinh, "arccosh": mpmath.acosh, "arctanh": mpmath.atanh, "sqrt": mpmath.sqrt,
    "rsqrt": lambda z: 1 / mpmath.sqrt(z), "square": lambda z: z * z, "reciprocal": lambda z: 1 / z,
    "sigmoid": lambda z: 1 / (1 + mpmath.exp(-z)),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_digits(name, dtype, path):
    """On the branch cuts, where mpmath has no zeros with signs, a result may be the conjugate or the negative."""
    x = NEAR.astype(dtype)
    if name == "sigmoid":
        x = x[np.abs(x.real) < 20]
    found = np.array(getattr(mx, name)(mx.array(x, dtype=getattr(mx, dtype))))
    for z, y in zip(x.tolist(), found.tolist(), strict=True):
        with mpmath.workdps(50):
            try:
                want = complex(FUNCTIONS[name](mpmath.mpc(z)))
            except (ZeroDivisionError, ValueError):
                continue
        if np.isfinite(want):
            wanted = (want, want.conjugate(), -want, -want.conjugate()) if not z.real or not z.imag else (want,)
            error = min(abs(y - w) for w in wanted)
            assert error <= TOLERANCE[dtype] * abs(want) + 2.0**-148, (z, y, want)


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"expm1", "sigmoid"} | {"round", "sign", "conj", "abs"}))
def test_infinities_and_zeros_are_those_of_mlx(name):
    """Where one part is lost, MLX loses some that C defines."""
    special = GRID[~np.isfinite(GRID) | (GRID.real == 0) | (GRID.imag == 0)]
    ours, theirs = (np.array(getattr(m, name)(m.array(special))) for m in (mx, oracle))
    for z, x, y in zip(special.tolist(), ours.tolist(), theirs.tolist(), strict=True):
        a, b = complex(x), complex(y)
        for p, q in ((a.real, b.real), (a.imag, b.imag)):
            same = p == q or np.isclose(p, q, rtol=1e-5, atol=1e-30)
            assert same or np.isnan(q) or (np.isnan(p) and np.isnan(b)), (z, x, y)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_functions_that_mlx_lacks_at_infinities(dtype):
    for name, z, want in (
        ("expm1", complex(INF, 0), complex(INF, 0)),
        ("expm1", complex(-INF, 0), -1),
        ("expm1", complex(-INF, 3), -1),
        ("expm1", complex(-INF, INF), -1),
        ("expm1", complex(INF, 2), complex(-INF, INF)),
        ("expm1", complex(800, 0), complex(INF, 0)),
        ("expm1", complex(-0.0, 0), 0),
        ("sigmoid", complex(INF, 0), 1),
        ("sigmoid", complex(INF, 5), 1),
        ("sigmoid", complex(-INF, 5), 0),
        ("sigmoid", complex(-INF, INF), 0),
        ("sigmoid", complex(900, 1), 1),
        ("sigmoid", complex(-900, 1), 0),
        ("sigmoid", 0, 0.5),
    ):
        found = np.array(getattr(mx, name)(mx.array(np.array(z), dtype=getattr(mx, dtype)))).item()
        assert found == want, (name, z)
    z = 1e-8 + 1e-8j
    assert abs(mx.expm1(mx.array(z, dtype=getattr(mx, dtype))).item() - complex(mpmath.expm1(z))) < 1e-15
    assert (mx.array(0j) ** mx.array(-1 + 0j)).item().real == INF


def test_logcumsumexp_and_logaddexp():
    rng = np.random.default_rng(2)
    x = ((rng.normal(size=(4, 30)) + 1j * rng.normal(size=(4, 30))) * 20).astype(np.complex64)
    x[0, 3] = x[1, 0] = -INF
    for axis in (0, 1, None):
        for reverse, inclusive in itertools.product((False, True), repeat=2):
            ours, theirs = (
                np.array(m.logcumsumexp(m.array(x), axis=axis, reverse=reverse, inclusive=inclusive))
                for m in (mx, oracle)
            )
            np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=2e-6)
    ours, theirs = (np.array(m.logaddexp(m.array(x), m.array(x[::-1].copy()))) for m in (mx, oracle))
    np.testing.assert_allclose(ours, theirs, rtol=2e-6)
    near = np.array([500 + 1j, 500.25 - 1j, 499 + 3j], np.complex64)
    exact = np.log(np.cumsum(np.exp(near.astype(complex) - 500))) + 500
    np.testing.assert_allclose(np.array(mx.logcumsumexp(mx.array(near))), exact, rtol=2e-7)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
@pytest.mark.parametrize("values", [(500, 500.25, 499), (-500, 500, 0), (-INF, 1, 2), (100, -100, 90), (-INF, -INF)])
def test_derivative_of_logcumsumexp(values, dtype):
    """It does not overflow where the exponentials of the values do."""
    x = np.array(values, np.complex128 if dtype == "complex64" else np.float64)
    with np.errstate(all="ignore"):
        sums = np.logaddexp.accumulate(x.real)
        jacobian = np.where(np.isinf(sums)[:, None], 0, np.tril(np.exp(x.real - sums[:, None])))
    weights = np.arange(1.0, len(values) + 1)

    def f(z):
        return (mx.real(mx.logcumsumexp(z)) * mx.array(weights).astype(mx.float32)).sum()

    z = mx.array(x, dtype=getattr(mx, dtype))
    np.testing.assert_allclose(np.array(mx.grad(f)(z)), weights @ jacobian, rtol=1e-5, atol=1e-30)
    if dtype != "complex64":
        tangent = mx.jvp(f, [z], [mx.ones_like(z)])[1][0].item()
        np.testing.assert_allclose(tangent, (weights @ jacobian).sum(), rtol=1e-5)
