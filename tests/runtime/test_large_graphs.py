"""Graphs of thousands of nodes, up to 100,000."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from tests.runtime.conftest import Run

import arrax.core as mx

MANY = 100_000


def chain(n: int, size: int) -> mx.array:
    x = mx.zeros((size,))
    for _ in range(n // 2):
        x = x * 0.5 + 1.0
    return x


def wide(n: int, size: int) -> mx.array:
    x = mx.ones((size,))
    terms = [x * float(i % 7) for i in range(n // 2)]
    while len(terms) > 1:
        terms = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)] + terms[len(terms) & ~1 :]
    return terms[0]


def diamonds(n: int, size: int) -> mx.array:
    x = mx.ones((size,))
    for _ in range(n // 2):
        x = (x + x) * 0.5
    return x


def views(n: int, size: int) -> mx.array:
    x = mx.arange(6 * size).reshape(2, 3, size)
    for i in range(n):
        x = x.transpose(1, 2, 0) if i % 3 else x.reshape(x.shape[1], x.shape[0], x.shape[2])
    return x


CASES: list[tuple[Callable[[int, int], mx.array], Callable[[int], float]]] = [
    (chain, lambda n: 2.0),
    (wide, lambda n: float(sum(i % 7 for i in range(n // 2)))),
    (diamonds, lambda n: 1.0),
]


@pytest.mark.parametrize(("make", "value"), CASES)
@pytest.mark.parametrize("size", [1, 500])
def test_three_thousand_nodes(make: Callable[[int, int], mx.array], value: Callable[[int], float], size: int) -> None:
    x = make(3000, size)
    assert repr(x).startswith("array(")
    np.testing.assert_allclose(np.array(x), value(3000), rtol=1e-6)


@pytest.mark.parametrize("size", [1, 100])
def test_deep_views(size: int) -> None:
    x = views(999, size)
    assert sorted(np.array(x).ravel().tolist()) == list(range(6 * size))


@pytest.mark.slow
@pytest.mark.parametrize(("make", "value"), CASES)
def test_a_hundred_thousand_nodes(make: Callable[[int, int], mx.array], value: Callable[[int], float]) -> None:
    np.testing.assert_allclose(np.array(make(MANY, 500)), value(MANY), rtol=1e-5)


def test_many_outputs_at_once() -> None:
    x = mx.ones((100,))
    ys = [x * float(i) for i in range(2000)]
    mx.eval(ys)
    assert [y[0].item() for y in ys[::100]] == [float(i) for i in range(0, 2000, 100)]


def test_many_parts() -> None:
    parts = [mx.full((3,), float(i)) for i in range(500)]
    together = np.array(mx.concatenate(parts))
    np.testing.assert_array_equal(together, np.repeat(np.arange(500, dtype=np.float32), 3))


def test_slices_of_slices() -> None:
    x = mx.arange(3000)
    for _ in range(1000):
        x = x[1:-1]
    assert np.array(x).tolist() == list(range(1000, 2000))


def test_assignments_in_a_row() -> None:
    x = mx.zeros((2000,))
    for i in range(0, 2000, 4):
        x[i] = float(i)
    wanted = np.zeros(2000, np.float32)
    wanted[::4] = np.arange(0, 2000, 4)
    np.testing.assert_array_equal(np.array(x), wanted)


def test_a_gradient_through_a_deep_graph() -> None:
    def f(x: mx.array) -> mx.array:
        for _ in range(2000):
            x = x * 0.999 + 0.001
        return x.sum()

    g = mx.grad(f)(mx.ones((100,)))
    np.testing.assert_allclose(np.array(g), math.pow(0.999, 2000), rtol=1e-3)


def test_deep_graphs_are_dropped_unevaluated(run: Run) -> None:
    """Recording, printing the type of and forgetting half a million nodes never overflows the stack."""
    source = """
        import threading
        import arrax.core as mx

        def work():
            x = mx.zeros((3,))
            for _ in range(500_000):
                x = x + 1.0
            y = [x * 2.0, x.shape, x.dtype]
            del x, y

        threading.stack_size(256 * 1024)
        for _ in range(2):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        print("done")
    """
    assert run(source) == "done\n"
