"""Evaluation from several threads at once."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from tests.runtime.conftest import Run

import arrax.core as mx

THREADS = 4


def at_once(work: Callable[[int], None], count: int = THREADS) -> None:
    """Calls ``work(0..count-1)`` in threads that start together; raises the first exception."""
    start = threading.Barrier(count)
    errors: list[BaseException] = []

    def body(i: int) -> None:
        try:
            start.wait()
            work(i)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=body, args=(i,)) for i in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]


@pytest.fixture
def impatient() -> Iterator[None]:
    """Threads give way to each other all the time."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


SHARED = """
    import random, sys, threading
    import numpy as np
    import arrax.core as mx

    sys.setswitchinterval(1e-5)
    errors = []

    def trial(k):
        n = 300 + k  # a size that was never bound before
        scale, x = mx.array(float(k + 2)), mx.arange(n).astype(mx.float32)
        a = mx.sin(x * scale)
        b = a + scale
        c = mx.exp(b * 0.01).sum()
        d = mx.sort(b) + c
        arrays = [scale, a, b, c, d]
        s = np.float32(k + 2)
        va = np.sin(np.arange(n, dtype=np.float32) * s)
        vc = np.exp((va + s) * np.float32(0.01)).sum()
        wanted = [s, va, va + s, vc, np.sort(va + s) + vc]
        start = threading.Barrier(4)

        def work(i):
            try:
                start.wait()
                for j in random.Random(4 * k + i).sample(range(5), 5):
                    np.testing.assert_allclose(np.array(arrays[j]), wanted[j], rtol=1e-4, atol=1e-3)
            except BaseException as error:
                errors.append(f"trial {k}, thread {i}: {error!r}")

        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for t in threads: t.start()
        for t in threads: t.join()

    for k in range(60):
        trial(k)
    assert not errors, errors[:3]
    print("right")
"""


def test_the_same_arrays_in_several_threads(run: Run) -> None:
    """Each thread evaluates parts of one graph, while the others turn other parts of it into data."""
    assert run(SHARED) == "right\n"


def test_one_plan_in_several_threads(impatient: None) -> None:
    """The same structure and sizes on different data: the threads share the bound plan, not its memory."""
    x = mx.random.normal((64, 300))
    mx.eval(x)
    data = np.array(x)

    def work(i: int) -> None:
        for k in range(100):
            c = float(100 * i + k)
            y = mx.softmax(x + c * mx.sin(x), axis=-1)
            z = data + np.float32(c) * np.sin(data)
            e = np.exp(z - z.max(1, keepdims=True))
            np.testing.assert_allclose(np.array(y), e / e.sum(1, keepdims=True), rtol=2e-3, atol=1e-5)

    at_once(work)


def test_plans_are_built_in_several_threads(impatient: None) -> None:
    """Structures that are new to the process, each to all threads at once."""

    def work(i: int) -> None:
        for k in range(15):
            x = mx.ones((70 + k,))
            for step in range(k):
                x = mx.sqrt(x) if (k >> (step % 4)) & 1 else x * 2.0 + float(i) * 0.0
            assert np.isfinite(np.array(x)).all()

    at_once(work)


def test_compiled_functions_in_several_threads(impatient: None) -> None:
    f = mx.compile(lambda x, y: (x * y + 1.0, (x - y).sum()))

    def work(i: int) -> None:
        for k in range(50):
            x, y = mx.full((100 + k,), float(i)), mx.full((100 + k,), float(k))
            product, difference = f(x, y)
            assert product[7].item() == i * k + 1
            assert difference.item() == (i - k) * (100 + k)

    at_once(work)


def test_gradients_in_several_threads(impatient: None) -> None:
    """A trace keeps the history of what its own thread evaluates, and of nothing else."""
    x = mx.linspace(0, 1, 200)

    def work(i: int) -> None:
        for k in range(30):
            c = float(i + k)
            g = mx.grad(lambda v: (mx.exp(v * 0.1) * c).sum())(x)  # noqa: B023
            np.testing.assert_allclose(np.array(g), 0.1 * c * np.exp(np.linspace(0, 1, 200) * 0.1), rtol=1e-4)

    at_once(work)


def test_large_work_in_several_threads() -> None:
    """Threads that find the pool taken do their work alone."""
    x = mx.random.uniform(shape=(1 << 18,))
    mx.eval(x)
    total = float(np.array(x).sum(dtype=np.float64))

    def work(i: int) -> None:
        for _ in range(20):
            assert (x * float(i + 1)).sum().item() == pytest.approx(total * (i + 1), rel=1e-4)
            assert mx.max(x @ x).item() > 0

    at_once(work)


def test_arrays_die_in_other_threads(impatient: None) -> None:
    """Buffers come back to the pool from whatever thread drops the last reference."""
    shared: list[mx.array] = [mx.zeros((1000,))] * 8

    def work(i: int) -> None:
        chance = random.Random(i)
        for k in range(300):
            y = mx.full((1000,), float(k))
            mx.eval(y)
            shared[chance.randrange(8)] = y
            z = shared[chance.randrange(8)]
            assert len(set(np.array(z)[::100].tolist())) == 1

    at_once(work)
