"""Reductions of a handful of elements are written out instead of looped over, one inside of another too."""

from __future__ import annotations

import numpy as np
import pytest

import arrax.core as mx
from arrax import explain


def loops(y: mx.array) -> str:
    """The kernels of what computes an array, as text."""
    return str(explain(y)["kernels"])


@pytest.mark.parametrize("count", [2, 3, 8])
def test_a_stored_sum(count: int) -> None:
    a = np.random.default_rng(0).standard_normal((50, count, 70)).astype(np.float32)
    x = mx.array(a)
    for ours, exact in ((mx.sum(x, axis=1), a.astype(float).sum(1)), (mx.max(x, axis=1), a.max(1))):
        assert "serial" not in loops(ours) and "$r" not in loops(ours)
        np.testing.assert_array_equal(np.array(ours), exact.astype(np.float32))


def test_windows_of_single_channels() -> None:
    """A depthwise convolution is one kernel that reads each element of a window: no copy of windows, no product."""
    rng = np.random.default_rng(0)
    a, b = (
        rng.standard_normal((2, 12, 11, 40)).astype(np.float32),
        rng.standard_normal((40, 3, 3, 1)).astype(np.float32),
    )
    y = mx.conv2d(mx.array(a), mx.array(b), groups=40)
    text = loops(y)
    assert "serial" not in text and "$r" not in text
    exact = sum(a[:, i : i + 10, j : j + 9].astype(float) * b[:, i, j, 0] for i in range(3) for j in range(3))
    np.testing.assert_allclose(np.array(y), exact, rtol=1e-5, atol=1e-5)


def test_what_costs_much_stays_a_loop() -> None:
    x = mx.random.normal((50, 8, 70))
    mx.eval(x)
    assert "serial" in loops(mx.sum(mx.erfinv(mx.tanh(x)), axis=1))
