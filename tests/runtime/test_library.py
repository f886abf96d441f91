"""Libraries' work: the threads that help with it, and those that a library starts itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import ml_dtypes
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import arrax.core as mx
from arrax.prims import linalg, opaque
from arrax.runtime import blas
from arrax.runtime.cpu import ROWS


@pytest.fixture(autouse=True)
def several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARRAX_THREADS", "4")


def rows(count: int = 8) -> np.ndarray:
    """Enough of them for several threads. (What is of this type is sorted through ``_ordered``.)"""
    values = np.random.default_rng(0).normal(size=(count, ROWS)).astype(np.float32)
    return values.astype(ml_dtypes.bfloat16)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9])
def test_every_row_is_sorted(count: int) -> None:
    values = rows(count)
    x = mx.array(values)
    wide = values.astype(np.float32)
    np.testing.assert_array_equal(mx.sort(x, -1).astype(mx.float32), np.sort(wide))
    np.testing.assert_array_equal(mx.argsort(x, -1), np.argsort(wide, kind="stable"))


@pytest.mark.parametrize("background", [False, True])
def test_failures_of_helpers_are_raised(monkeypatch: pytest.MonkeyPatch, background: bool) -> None:
    here = threading.current_thread()
    failed = []

    def failing(a: np.ndarray) -> np.ndarray:
        if threading.current_thread().name.startswith("Thread-"):
            failed.append(len(a))
            raise MemoryError("none left")
        assert background or threading.current_thread() is here
        return a.astype(np.float32)

    values = rows()
    x = mx.array(values)
    y = mx.sort(x, -1)
    with monkeypatch.context() as patch:
        patch.setattr(opaque, "_ordered", failing)
        with pytest.raises(MemoryError, match="none left"):
            if background:
                mx.async_eval(y)
                mx.synchronize()
            else:
                mx.eval(y)
        assert failed == [2, 2, 2]
    np.testing.assert_array_equal(y.astype(mx.float32), np.sort(values.astype(np.float32)))


def test_nobody_gets_memory_that_a_helper_still_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends the caller's part, not that of the others."""
    go = threading.Event()
    ordered = opaque._ordered

    def held(a: np.ndarray) -> np.ndarray:
        if not threading.current_thread().name.startswith("Thread-"):
            raise KeyboardInterrupt
        assert go.wait(30)
        return ordered(a)

    values = rows()
    x = mx.array(values)
    y = mx.sort(x, -1)
    with monkeypatch.context() as patch:
        patch.setattr(opaque, "_ordered", held)
        before = {t.ident for t in threading.enumerate()}
        with pytest.raises(KeyboardInterrupt):
            mx.eval(y)
        helpers = [t for t in threading.enumerate() if t.ident not in before]
        assert len(helpers) == 3
        others = [mx.full(values.shape, float(k), mx.bfloat16) for k in range(1, 7)]
        mx.eval(others)
        go.set()
        for helper in helpers:
            helper.join(30)
    for k, other in enumerate(others, 1):
        assert mx.all(other == k).item()
    np.testing.assert_array_equal(y.astype(mx.float32), np.sort(values.astype(np.float32)))


# --- threads of LAPACK ------------------------------------------------------------------------------------------------
def numpys() -> int:
    """How many threads NumPy's OpenBLAS would start."""
    (library,) = [x for x in threadpool_info() if "numpy" in x["filepath"]]
    return library["num_threads"]


@pytest.fixture
def many() -> Iterator[None]:
    """NumPy may use three threads."""
    with threadpool_limits({x["prefix"]: 3 for x in threadpool_info() if "numpy" in x["filepath"]}):
        assert numpys() == 3
        yield
        assert numpys() == 3


@pytest.fixture
def spied(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The threads that NumPy may use, at each call of it."""
    found: list[int] = []
    checked = linalg._checked

    def spy(*args: object) -> object:
        found.append(numpys())
        return checked(*args)

    monkeypatch.setattr(linalg, "_checked", spy)
    return found


@pytest.mark.parametrize(("threads", "size", "expected"), [("1", 30, 1), ("1", 800, 1), ("2", 800, 2), ("4", 200, 1)])
def test_lapack_obeys(
    many: None, spied: list[int], monkeypatch: pytest.MonkeyPatch, threads: str, size: int, expected: int
) -> None:
    """The number of threads that is asked for, and one where a matrix is too small for more."""
    monkeypatch.setenv("ARRAX_THREADS", threads)
    x = mx.random.normal((size, size)) + 100 * mx.eye(size)
    y = mx.linalg.inv(x)
    mx.eval(y)
    assert spied == [expected]
    np.testing.assert_allclose(y @ x, np.eye(size), atol=1e-3)


def test_lapack_gives_threads_back_after_an_error(many: None) -> None:
    with pytest.raises(RuntimeError, match="Singular"):
        mx.eval(mx.linalg.inv(mx.zeros((30, 30))))


def test_the_last_to_leave_gives_threads_back(many: None) -> None:
    """Two overlap: the second one enters while there are few already, the first one leaves before it."""
    with ExitStack() as first, ExitStack() as second:
        first.enter_context(blas.restrained(1))
        second.enter_context(blas.restrained(2))
        first.close()
        assert numpys() == 1
