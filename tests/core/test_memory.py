"""Memory: what is counted, and what the limits do."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import mlx.core as oracle
import numpy as np
import pytest

import arrax.core as mx

MB = 1 << 20
SHAPE = (1024, 1024)  # 4 MB of float32, which is a size of blocks


@pytest.fixture(autouse=True)
def limits() -> Iterator[None]:
    """Nothing is free at first, and the limits are as they were afterwards."""
    cache, total = mx.set_cache_limit(1 << 31), mx.get_memory_limit()
    gc.collect()
    mx.clear_cache()
    yield
    mx.set_memory_limit(total)
    mx.set_cache_limit(cache)


def evaluated(shape: tuple[int, ...] = SHAPE, value: float = 1.0) -> mx.array:
    x = mx.full(shape, value)
    mx.eval(x)
    return x


def test_arrays_count_while_they_live() -> None:
    before = mx.get_active_memory()
    x = mx.full(SHAPE, 2.0)
    assert mx.get_active_memory() == before  # nothing is computed yet
    mx.eval(x)
    assert mx.get_active_memory() - before == 4 * MB
    y = evaluated()
    assert mx.get_active_memory() - before == 8 * MB
    view = np.array(x, copy=False)
    del x
    assert mx.get_active_memory() - before == 8 * MB  # NumPy still looks at it
    del view, y
    assert mx.get_active_memory() == before
    assert mx.get_cache_memory() == 8 * MB
    mx.clear_cache()
    assert mx.get_cache_memory() == 0


def test_copies_of_numpys_arrays_count() -> None:
    before = mx.get_active_memory()
    source = np.ones(SHAPE, np.float32)
    x = mx.array(source)
    assert mx.get_active_memory() - before == 4 * MB
    del source
    assert mx.get_active_memory() - before == 4 * MB
    del x
    assert mx.get_active_memory() == before


def test_results_on_the_way_count() -> None:
    """The product needs both operands in memory at once, and these are no arrays of anybody's."""
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    assert mx.get_peak_memory() == 0
    a, b = evaluated(), evaluated()
    y = (mx.sin(a) @ mx.cos(b)).sum()
    mx.eval(y)
    assert mx.get_peak_memory() - before >= 5 * 4 * MB  # a, b, two operands, the product
    del a, b, y
    mx.reset_peak_memory()
    x = evaluated((16,))
    assert 0 < mx.get_peak_memory() < mx.get_active_memory() + MB
    del x


def test_free_blocks_are_used_again() -> None:
    x = evaluated()
    del x
    assert mx.get_cache_memory() == 4 * MB
    x = evaluated()
    assert mx.get_cache_memory() == 0
    del x


def test_the_cache_limit() -> None:
    arrays = [evaluated(value=float(i)) for i in range(4)]
    assert mx.set_cache_limit(9 * MB) == 1 << 31
    arrays.clear()
    assert mx.get_cache_memory() == 8 * MB
    assert mx.set_cache_limit(5 * MB) == 9 * MB
    assert mx.get_cache_memory() == 4 * MB  # what is above the limit went back at once
    assert mx.set_cache_limit(0) == 5 * MB
    assert mx.get_cache_memory() == 0
    x = evaluated()
    del x
    assert mx.get_cache_memory() == 0


def test_the_memory_limit() -> None:
    x, y, z = evaluated(), evaluated(), evaluated()
    former = mx.get_memory_limit()
    base = mx.get_active_memory() - 12 * MB
    del y, z
    assert mx.get_cache_memory() == 8 * MB
    assert mx.set_memory_limit(base + 13 * MB) == former
    assert mx.get_memory_limit() == base + 13 * MB
    assert mx.get_cache_memory() == 8 * MB
    w = evaluated((1024, 1280))  # 5 MB in use more: free blocks make room
    assert mx.get_active_memory() + mx.get_cache_memory() <= base + 13 * MB
    assert mx.get_cache_memory() == 4 * MB
    v = evaluated((2048, 2048))  # more than the limit, and still evaluated
    assert mx.get_cache_memory() == 0
    assert v.sum().item() == 4 * MB
    del v, w, x
    evaluated()
    assert mx.set_memory_limit(0) == base + 13 * MB
    assert mx.get_cache_memory() == 0


@pytest.mark.parametrize("name", ["set_memory_limit", "set_cache_limit", "set_wired_limit"])
@pytest.mark.parametrize("value", [1 << 30, 0, True, np.int64(5), -1, 1.5, "a", None, 1 << 63, 1 << 64])
def test_limits_are_checked_like_mlx(name: str, value: Any) -> None:
    results: list[Any] = []
    for m in (mx, oracle):
        f: Callable[..., int] = getattr(m, name)
        former = f(1 << 31)
        try:
            results.append((f(value), f(limit=former)))
        except TypeError:
            results.append(TypeError)
            f(former)
    assert results[0] == results[1]


def test_the_limit_of_the_machine() -> None:
    assert mx.get_memory_limit() == oracle.get_memory_limit()


def test_counts_hold_in_several_threads() -> None:
    before = mx.get_active_memory()

    def work(i: int) -> None:
        for k in range(200):
            evaluated((1000 + 64 * (k % 7), i + 1))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    gc.collect()
    assert mx.get_active_memory() == before
    mx.clear_cache()
    assert mx.get_cache_memory() == 0


def test_memory_comes_back_after_errors() -> None:
    before = mx.get_active_memory()
    for _ in range(5):
        y = mx.linalg.inv(mx.zeros((300, 300)), stream=mx.cpu) @ mx.ones((300, 300))
        with pytest.raises(RuntimeError):
            mx.eval(y)
        del y
    with pytest.raises(MemoryError):
        mx.eval(mx.zeros((1 << 25, 1 << 20)) + 1)
    gc.collect()
    assert mx.get_active_memory() <= before + MB
