"""Derivatives where elements tie, are zero or no numbers: those of MLX."""

from __future__ import annotations

from typing import Any

import mlx.core as oracle
import numpy as np
import pytest

import arrax.core as mx

TIED = [1.0, 3.0, 3.0, -2.0, 3.0]
OTHER = [1.0, 2.0, 3.0, -2.0, 4.0]
ZEROS = [0.0, -0.0, 0.0, 1.0, 0.0]
EQUAL = [2.0, 2.0, 2.0, 2.0, 2.0]
MISSING = [float("nan"), 1.0, 2.0, 2.0, -1.0]
ENDLESS = [float("inf"), float("-inf"), 1.0, float("inf"), 0.5]
LINES = {"ties": TIED, "zeros": ZEROS, "equal": EQUAL, "no numbers": MISSING, "infinities": ENDLESS}
WEIGHTS = [1.0, 2.0, -3.0, 4.0, 5.0]

ONE = (
    "max", "min", "sum", "prod", "mean", "var", "logsumexp", "abs", "sign", "square", "sqrt", "exp", "log1p", "sigmoid",
    "erf", "tanh", "floor", "reciprocal", "cumsum", "cumprod", "cummax", "cummin", "logcumsumexp", "sort", "softmax",
)  # fmt: skip
TWO = ("maximum", "minimum", "logaddexp", "divide", "multiply", "arctan2", "where")


def gradients(m: Any, name: str, lines: list[list[float]]) -> list[list[float]]:
    weights = m.array(WEIGHTS)

    def call(*arrays: Any) -> Any:
        if name == "where":
            return m.sum(m.where(arrays[0] >= arrays[1], arrays[0], arrays[1]) * weights)
        return m.sum(getattr(m, name)(*arrays) * weights)

    found = m.grad(call, list(range(len(lines))))(*map(m.array, lines))
    return [np.array(g).tolist() for g in found]


# What MLX does here is no example: it reads at positions that are none, takes the sign of no number for 0, gives a
# cotangent to neither of two operands, or to none but the infinite elements.
ELSE = {
    ("cummax", "no numbers"), ("cummin", "no numbers"), ("abs", "no numbers"), ("maximum", "no numbers"),
    ("minimum", "no numbers"), ("logsumexp", "infinities"), ("logcumsumexp", "infinities"),
}  # fmt: skip


def cases(names: tuple[str, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("name", "what"), [(n, w) for n in names for w in LINES if (n, w) not in ELSE])


@cases(ONE)
def test_of_one_array(name: str, what: str) -> None:
    lines = [LINES[what]]
    np.testing.assert_allclose(gradients(mx, name, lines), gradients(oracle, name, lines), rtol=1e-5, atol=1e-6)


@cases(TWO)
def test_of_two_arrays(name: str, what: str) -> None:
    for lines in ([LINES[what], OTHER], [OTHER, LINES[what]], [LINES[what], LINES[what]]):
        np.testing.assert_allclose(gradients(mx, name, lines), gradients(oracle, name, lines), rtol=1e-5, atol=1e-6)
