"""Functions that take the sign from what was a double and is half precision: no conversion is left to a library."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import arrax.core as mx

ODD = ["tanh", "sinh", "arctan", "arcsinh", "arctanh", "arcsin", "erf", "expm1", "sign", "round"]
HALVES: dict[str, Callable[[mx.array], mx.array]] = {
    "sum of a row": lambda x: mx.sum(x, 1),
    "sum of all": lambda x: mx.sum(x),
    "product": lambda x: mx.prod(x, 0),
    "mean": lambda x: mx.mean(x, 1),
    "inner product": lambda x: x[0] @ x[1],
    "double": lambda x: x.astype(mx.float64).astype(mx.float16),
}


@pytest.mark.parametrize("source", HALVES)
def test_signs_of_half_precision(source: str) -> None:
    values = np.random.default_rng(1).uniform(-0.2, 0.2, (3, 25)).astype(np.float16)
    computed = HALVES[source](mx.array(values))
    mx.eval(computed)
    for name in ODD:
        function = getattr(mx, name)
        np.testing.assert_array_equal(function(HALVES[source](mx.array(values))), function(computed), name)
    for function in (lambda a: mx.remainder(0.3, a), lambda a: mx.arctan2(a, 0.5), lambda a: mx.copysign(2.0, a)):
        np.testing.assert_array_equal(function(HALVES[source](mx.array(values))), function(computed))
