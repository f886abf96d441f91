"""Evaluation from several threads at once."""

from __future__ import annotations

import functools
import random
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from tests.runtime.conftest import Run as Program

import arrax.core as mx
from arrax.codegen import cpu
from arrax.runtime import buffer as memory
from arrax.runtime import executor
from arrax.runtime.run import Run

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


def test_the_same_arrays_in_several_threads(run: Program) -> None:
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
            start = np.linspace(1, 2, 70 + k, dtype=np.float32) + np.float32(i)
            x, expected = mx.array(start), start.astype(np.float64)
            for step in range(k):
                root = (k >> (step % 4)) & 1
                x = mx.sqrt(x) if root else x * 1.5 + float(i)
                expected = np.sqrt(expected) if root else expected * 1.5 + i
            np.testing.assert_allclose(np.array(x), expected, rtol=1e-5)

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
    wide = np.array(x).astype(np.float64)

    def work(i: int) -> None:
        for _ in range(20):
            assert (x * float(i + 1)).sum().item() == pytest.approx(wide.sum() * (i + 1), rel=1e-5)
            assert mx.max(x @ x).item() == pytest.approx(wide @ wide, rel=1e-5)

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
            z = np.array(shared[chance.randrange(8)])
            assert 0 <= z[0] < 300 and (z == z[0]).all()
            assert (np.array(y) == k).all()

    at_once(work)


# --- locks ------------------------------------------------------------------------------------------------------------
def held_in(monkeypatch: pytest.MonkeyPatch, owner: Any, names: tuple[str, ...], lock: Any) -> set[str]:
    """The functions that have been called; from now on they fail where the caller does not hold the lock."""
    called: set[str] = set()

    def checked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def check(*args: Any, **kwargs: Any) -> Any:
            assert lock._is_owned(), f"{name} is called without the lock"
            called.add(name)
            return function(*args, **kwargs)

        return check

    for name in names:
        monkeypatch.setattr(owner, name, checked(name, getattr(owner, name)))
    return called


GRAPHS = ("_pending", "_prepare", "_linearise", "_start", "_bind", "_bind_call", "_call", "_hand_out", "_end", "finish")


def test_graphs_are_read_and_finished_under_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    called = held_in(monkeypatch, executor, GRAPHS, executor._lock)
    f = mx.compile(lambda x: (mx.sin(x) * 2, mx.cos(x)))
    values = np.linspace(0, 1, 77, dtype=np.float32)
    x = mx.array(values)
    np.testing.assert_allclose(f(x)[0] + 0.5, np.sin(values) * 2 + 0.5, rtol=1e-5)
    np.testing.assert_allclose(f(x)[1], np.cos(values), rtol=1e-5)
    x = x + 1  # written over its input
    mx.eval(x)
    for later in (mx.exp(x), mx.sort(-x), mx.linalg.inv(mx.zeros((20, 20)))):
        mx.async_eval(later)
        mx.eval(x * 3)
    with pytest.raises(RuntimeError, match="Singular"):
        mx.synchronize()
    np.testing.assert_allclose(x, values + 1)
    assert called == set(GRAPHS)


def test_waiting_holds_no_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Native code runs without it: other threads read their graphs meanwhile."""
    run, seen = Run.__call__, []

    def free(self: Run) -> list:
        seen.append(executor._lock._is_owned())  # type: ignore[attr-defined]
        return run(self)

    monkeypatch.setattr(Run, "__call__", free)
    x = mx.arange(77.0)
    mx.eval(mx.exp(x), mx.sort(x))
    assert seen == [False]


def test_memory_is_taken_and_given_back_under_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    class Guarded(dict):
        """Which blocks are free, for those who hold the lock."""

        def get(self, key: int, default: Any = None) -> Any:
            used.append(memory.pool.lock._is_owned())  # type: ignore[attr-defined]
            return super().get(key, default)

    class Counted(memory.Pool):
        """The bytes in use, likewise."""

        @property
        def active(self) -> int:  # type: ignore[override]
            return self.__dict__["active"]

        @active.setter
        def active(self, value: int) -> None:
            used.append(self.lock._is_owned())  # type: ignore[attr-defined]
            self.__dict__["active"] = value

    used: list[bool] = []
    mx.clear_cache()
    monkeypatch.setattr(memory.pool, "_free", Guarded(memory.pool._free))
    monkeypatch.setattr(memory.pool, "__class__", Counted)
    for _ in range(3):
        x = mx.zeros((5, 777)) + 1
        mx.eval(x)
        del x
    assert len(used) >= 12 and all(used)


def test_code_is_made_and_loaded_under_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """LLVM's engine is one for the process."""
    machine, engine = cpu._target()
    used: list[bool] = []

    class Guarded:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            used.append(cpu.lock._is_owned())  # type: ignore[attr-defined]
            return getattr(self._inner, name)

    def made() -> tuple[Any, Any]:
        used.append(cpu.lock._is_owned())  # type: ignore[attr-defined]
        return Guarded(machine), Guarded(engine)

    monkeypatch.setattr(cpu, "_make_target", made)
    monkeypatch.setattr(cpu, "_optimise", lambda module, machine: used.append(cpu.lock._is_owned()))  # type: ignore
    cpu._target()
    code = cpu.build("define i64 @guarded() {\n ret i64 7\n}")
    assert cpu.load(code, "guarded")
    assert ".globl" in cpu.assembly("define i64 @shown() {\n ret i64 7\n}")
    assert len(used) > 6 and all(used)
