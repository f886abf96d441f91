"""Cotangents of slices that do not overlap are written into one array."""

from __future__ import annotations

import numpy as np
import pytest

import arrax.core as mx
from arrax.graph.node import topological
from arrax.runtime import executor

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "SMALL", 0)


def count(x: mx.array, name: str) -> int:
    return sum(n.prim.name == name and n.shape == x.shape for n in topological([x._node]))


def test_parts_of_a_split() -> None:
    values = RNG.normal(size=(64, 96)).astype(np.float32)

    def f(x: mx.array) -> mx.array:
        a, b, c = mx.split(x, 3, axis=1)
        return mx.sum(mx.sin(a) * b + c * c)

    g = mx.grad(f)(mx.array(values))
    assert count(g, "slice_update") == 3
    assert count(g, "add") == 0
    a, b, c = np.split(values, 3, 1)
    np.testing.assert_allclose(g, np.concatenate([np.cos(a) * b, np.sin(a), 2 * c], 1), rtol=1e-5, atol=1e-6)


def test_regions_that_overlap_are_added() -> None:
    values = RNG.normal(size=(40, 8)).astype(np.float32)

    def f(x: mx.array) -> mx.array:
        return (
            mx.sum(x[1:5] ** 2) + mx.sum(x[3:9] ** 3) + mx.sum(x[20::2] * 2) + mx.sum(x[21::2] ** 2) + mx.sum(x[9::-1])
        )

    expected = np.zeros_like(values)
    expected[1:5] += 2 * values[1:5]
    expected[3:9] += 3 * values[3:9] ** 2
    expected[20::2] += 2
    expected[21::2] += 2 * values[21::2]
    expected[9::-1] += 1
    np.testing.assert_allclose(mx.grad(f)(mx.array(values)), expected, rtol=1e-5, atol=1e-6)


def test_steps_of_a_sequence_to_second_order() -> None:
    values = RNG.normal(size=(30, 4))
    x = mx.array(values, dtype=mx.float64)

    def f(x: mx.array) -> mx.array:
        state = mx.zeros(4, dtype=mx.float64)
        for t in range(30):
            state = mx.tanh(state + x[t])
        return mx.sum(state * state)

    u = mx.array(RNG.normal(size=values.shape), dtype=mx.float64)

    def along(x: mx.array) -> mx.array:
        return mx.sum(mx.grad(f)(x) * u)

    step = 1e-6
    first = (f(x + step * u) - f(x - step * u)) / (2 * step)
    assert along(x).item() == pytest.approx(first.item(), rel=1e-6, abs=1e-9)
    second = (along(x + step * u) - along(x - step * u)) / (2 * step)
    assert mx.sum(mx.grad(along)(x) * u).item() == pytest.approx(second.item(), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("held", (False, True))
def test_updates_of_updates(held: bool) -> None:
    ours, expected = mx.zeros((16, 8)), np.zeros((16, 8), np.float32)
    between = []
    for i in range(6):
        ours[i * 2 : i * 2 + 3, i % 3 : 5] = float(i + 1)
        expected[i * 2 : i * 2 + 3, i % 3 : 5] = i + 1
        if held:
            between.append((mx.array(ours), expected.copy()))
    ours[1] = ours[3] + ours[0]
    expected[1] = expected[3] + expected[0]
    np.testing.assert_array_equal(ours, expected)
    for a, b in between:
        np.testing.assert_array_equal(a, b)
