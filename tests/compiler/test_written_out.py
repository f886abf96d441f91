"""Reductions of a handful of elements are written out instead of looped over, one inside of another too."""

from __future__ import annotations

import numpy as np

import arrax.core as mx
from arrax import explain


def loops(y: mx.array) -> str:
    """The kernels of what computes an array, as text."""
    return str(explain(y)["kernels"])


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
