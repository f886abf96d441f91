"""Derivatives at points where the obvious formula divides by zero."""

from __future__ import annotations

import numpy as np
import pytest

import arrax.core as mx


@pytest.mark.parametrize("zeros", [(), (0,), (2,), (4,), (1, 3), (0, 4), (0, 1, 2, 3, 4)])
@pytest.mark.parametrize(
    "flags", [{}, {"reverse": True}, {"inclusive": False}, {"reverse": True, "inclusive": False}], ids=str
)
def test_running_products_with_zeros(zeros: tuple[int, ...], flags: dict[str, bool]) -> None:
    values = np.array([2.0, -1.5, 3.0, 0.5, -2.0], np.float32)
    values[list(zeros)] = 0
    weights = np.array([1.0, 2.0, -1.0, 0.5, 3.0], np.float32)
    found = mx.grad(lambda x: mx.sum(mx.array(weights) * mx.cumprod(x, **flags)))(mx.array(values))
    expected = []
    for i in range(5):
        total = 0.0
        for j in range(5):
            used = list(range(j, 5)) if flags.get("reverse") else list(range(j + 1))
            if not flags.get("inclusive", True):
                used.remove(j)
            if i in used:
                total += weights[j] * np.prod([values[k] for k in used if k != i])
        expected.append(total)
    np.testing.assert_allclose(np.array(found), expected, rtol=1e-6)


def test_second_derivative_of_a_product_with_a_zero() -> None:
    def squares(x: mx.array) -> mx.array:
        return mx.sum(mx.square(mx.grad(mx.prod)(x)))

    assert mx.grad(squares)(mx.array([2.0, 3.0, 0.0, 1.0])).tolist() == [36, 24, 0, 72]


def test_power_at_exponent_zero() -> None:
    """x^y is constant in x at y = 0, but its derivative by x is not constant in y."""
    by_x = mx.grad(lambda x, y: mx.power(x, y))
    assert by_x(mx.array(2.0), mx.array(0.0)).item() == 0
    assert by_x(mx.array(0.0), mx.array(0.0)).item() == 0
    assert mx.grad(by_x, 1)(mx.array(2.0), mx.array(0.0)).item() == 0.5
