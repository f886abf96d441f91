"""erfc, lgamma, digamma against mpmath, and derivatives of the functions that MLX lacks against differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from tests.core.comparison import to_mx

import arrax.core as mx


# --- special functions ------------------------------------------------------------------------------------------------
def _lgamma(x: Any) -> Any:
    if x > 0:
        return mpmath.re(mpmath.loggamma(x))
    return mpmath.log(abs(mpmath.pi / mpmath.sinpi(x))) - mpmath.re(mpmath.loggamma(1 - x))


def _samples(dtype: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    smallest = -6 if dtype == "float32" else -15
    near = rng.normal(size=100) * 10.0 ** rng.uniform(smallest, -0.7, 100)
    positive = [rng.uniform(1e-3, 12, 300), 10.0 ** rng.uniform(-30, 30, 100), 1 + near, 2 + near]
    return {
        "erfc": np.concatenate([rng.uniform(-6, 9, 300), 10.0 ** rng.uniform(-30, 0, 50), -near]).astype(dtype),
        "lgamma": np.concatenate(positive).astype(dtype),
        "digamma": np.concatenate([*positive, [1.4616321, 1.4616322]]).astype(dtype),
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "exact"), [("erfc", mpmath.erfc), ("lgamma", _lgamma), ("digamma", mpmath.digamma)])
def test_special_functions_are_accurate(name: str, exact: Callable[..., Any], dtype: str, path: str) -> None:
    """To 4 units in the last place in float32, and to 1.2e-15 of the result in float64."""
    x = _samples(dtype)[name]
    got = np.array(getattr(mx, name)(to_mx(x)))
    bound = 4 * 2.0**-24 if dtype == "float32" else 1.2e-15
    smallest = float(np.finfo(dtype).tiny)
    with mpmath.workprec(120):
        for point, y in zip(x.tolist(), got.tolist(), strict=True):
            want = exact(mpmath.mpf(point))
            if abs(want) < smallest:
                assert abs(y - want) <= smallest
                continue
            error = float(abs(y - want) / abs(want))
            if name == "digamma" and path == "references" and abs(want) < 0.25:
                error = float(abs(y - want))  # only the machine code looks after the digits near the root
            assert error <= bound, f"{name}({point!r}) = {y!r}, {error}"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gamma_of_negative_numbers(dtype: str, path: str) -> None:
    x = np.random.default_rng(3).uniform(-12, 0, 300).astype(dtype)
    bound = 4e-6 if dtype == "float32" else 1e-13
    with mpmath.workprec(120):
        for name, exact in (("lgamma", _lgamma), ("digamma", mpmath.digamma)):
            for point, y in zip(x.tolist(), np.array(getattr(mx, name)(to_mx(x))).tolist(), strict=True):
                want = float(exact(mpmath.mpf(point)))
                assert abs(y - want) <= bound * max(1, abs(want), abs(1 / (point - round(point)))), (name, point)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_special_values(dtype: str, path: str) -> None:
    def at(name: str, *points: float) -> list[Any]:
        return np.array(getattr(mx, name)(to_mx(np.array(points, dtype)))).astype(float).tolist()

    inf, nan = math.inf, math.nan
    assert at("lgamma", 1, 2, 0, -0.0, -1, -7, inf, -inf) == [0, 0, inf, inf, inf, inf, inf, inf]
    assert at("digamma", 0, -0.0, inf) == [-inf, inf, inf]
    assert np.isnan(at("digamma", -1, -2, -inf, nan)).all() and np.isnan(at("lgamma", nan)).all()
    assert at("erfc", 0, -0.0, inf, -inf, 40, -40) == [1, 1, 0, 2, 0, 2]
    assert np.isnan(at("erfc", nan)).all()
    assert at("cbrt", 8, -27, 0, inf, -inf) == [2, -3, 0, inf, -inf]
    assert math.copysign(1, at("cbrt", -0.0)[0]) == -1


# --- derivatives ------------------------------------------------------------------------------------------------------
VECTOR = np.array([0.3, 1.7, 2.9, 0.9, 4.2, 1.1])
DIFFERENTIABLE: dict[str, Callable[[Any], Any]] = {
    "exp2": mx.exp2,
    "cbrt": mx.cbrt,
    "erfc": mx.erfc,
    "lgamma": mx.lgamma,
    "lgamma of negative numbers": lambda x: mx.lgamma(-x),
    "digamma": mx.digamma,
    "digamma of negative numbers": lambda x: mx.digamma(-x),
    "sinc": mx.sinc,
    "sinc at 0": lambda x: mx.sinc(x - x[0]),
    "fmax": lambda x: mx.fmax(x, 1.3),
    "heaviside": lambda x: mx.heaviside(x, 1.0) * x,
    "fmod": lambda x: mx.fmod(x, 0.8),
    "nansum": lambda x: mx.nansum(mx.where(x > 4, mx.nan, x * x)),
    "nanmean": lambda x: mx.nanmean(mx.where(x > 4, mx.nan, x * x)),
    "nanvar": lambda x: mx.nanvar(mx.where(x > 4, mx.nan, x * x)),
    "nanstd": lambda x: mx.nanstd(mx.where(x > 4, mx.nan, x)),
    "nanmax": lambda x: mx.nanmax(mx.where(x > 4, mx.nan, x * x)),
    "nanprod": lambda x: mx.nanprod(x),
    "nanmedian": lambda x: mx.nanmedian(mx.where(x > 4, mx.nan, x)),
    "quantile": lambda x: mx.quantile(x * x, [0.3, 0.77]),
    "ptp": mx.ptp,
    "average": lambda x: mx.average(x, weights=x * x),
    "cov": lambda x: mx.cov(x.reshape(2, 3)),
    "corrcoef": lambda x: mx.corrcoef(x.reshape(2, 3))[0, 1],
    "gradient": lambda x: mx.gradient(x, mx.cumsum(x)),
    "trapezoid": lambda x: mx.trapezoid(x, x * x),
    "interp": lambda x: mx.interp(x, mx.array([0.0, 1.0, 3.0, 5.0], dtype=x.dtype), mx.cumsum(x)[:4]),
    "interp by points": lambda x: mx.interp(mx.array([1.0, 2.1], dtype=x.dtype), mx.cumsum(x), x * x),
    "polyval": lambda x: mx.polyval(x, x),
    "bincount": lambda x: mx.bincount(mx.array([0, 2, 0, 1, 1, 2]), x * x),
    "select": lambda x: mx.select([x < 1, x < 2], [x * x, 3 * x], 1.0),
    "piecewise": lambda x: mx.piecewise(x, [x < 1], [mx.square, lambda v: 2 * v]),
    "mask": lambda x: x[x > 1] * mx.array([1.0, 2.0, 3.0, 4.0], dtype=x.dtype),
    "extract": lambda x: mx.extract(x > 1, x * x),
    "rot90": lambda x: mx.rot90(x.reshape(2, 3)) * x.reshape(3, 2),
}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_derivatives(name: str) -> None:
    """Against central differences in float64."""

    def total(x: mx.array) -> mx.array:
        y = DIFFERENTIABLE[name](x)
        return mx.sum(y * mx.cos(mx.arange(y.size, dtype=mx.float64)).reshape(y.shape))

    x = mx.array(VECTOR, dtype=mx.float64)
    found = mx.grad(total)(x)
    assert found.dtype == mx.float64
    h = 1e-6
    for i in range(x.size):
        ends = []
        for sign in (1, -1):
            moved = VECTOR.copy()
            moved[i] += sign * h
            ends.append(total(mx.array(moved, dtype=mx.float64)).item())
        assert found[i].item() == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-5, abs=1e-7), (name, i)


def test_second_derivative_of_lgamma() -> None:
    second = mx.grad(mx.grad(mx.lgamma))
    for point in (0.4, 3.0, 20.0, -1.3):
        want = float(mpmath.psi(1, point))
        assert second(mx.array(point, dtype=mx.float64)).item() == pytest.approx(want, rel=1e-12)
    third = mx.grad(second)
    assert third(mx.array(2.5, dtype=mx.float64)).item() == pytest.approx(float(mpmath.psi(2, 2.5)), rel=1e-10)


def test_transforms() -> None:
    rows = mx.array(np.random.default_rng(0).uniform(0.5, 4, (3, 6)).astype("float32"))
    for name, f in DIFFERENTIABLE.items():
        if name in ("mask", "extract"):
            continue
        one_by_one = [f(row) for row in rows]
        batched = mx.vmap(f)(rows)
        compiled = [mx.compile(f)(row) for row in rows]
        for one, other, third in zip(one_by_one, batched, compiled, strict=True):
            np.testing.assert_allclose(np.array(other), np.array(one), rtol=2e-5, atol=1e-6, err_msg=name)
            np.testing.assert_allclose(np.array(third), np.array(one), rtol=2e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_sinc_vanishes_at_integers_and_keeps_its_digits_beside_them(dtype):
    x = mx.array(np.linspace(-9, 9, 4321), dtype=mx.float64).astype(getattr(mx, dtype))
    value = np.array(x.astype(mx.float64))
    with mpmath.workdps(30):
        want = np.array([float(mpmath.sincpi(v)) for v in value])
    want = mx.array(want, dtype=mx.float64).astype(getattr(mx, dtype))
    unit = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-22, "float64": 2.0**-51}[dtype]
    got, want = (np.array(y.astype(mx.float64)) for y in (mx.sinc(x), want))
    np.testing.assert_allclose(got, want, rtol=unit)
    assert (got[(value == np.round(value)) & (value != 0)] == 0).all()
