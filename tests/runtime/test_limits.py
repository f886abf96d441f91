"""Memory: what is not there, what is given back, and what never grows."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import arrax.core as mx
from arrax.graph.dtypes import float32
from arrax.runtime import buffer, cpu, executor, plans
from arrax.runtime.buffer import ALIGNMENT, Pool

HUGE = [1 << 40, 1 << 50, 1 << 58, 1 << 60, 1 << 61]


# --- not enough memory ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("n", HUGE)
def test_absurd_sizes(n: int, memory: Pool) -> None:
    x = mx.arange(1000).astype(mx.float32)
    y = mx.sqrt(x)
    before = memory.active
    shape = (n >> 40, 1 << 20, 1 << 20)
    for make in (
        lambda: mx.zeros(shape),
        lambda: mx.broadcast_to(y[1], shape) + 1,
        lambda: mx.sort(mx.broadcast_to(y[:4], (*shape, 4))),
        lambda: mx.broadcast_to(y[:4, None], (4, 1 << 30)) @ mx.ones((1 << 30, 1)) + mx.zeros((*shape, 4, 1)),
    ):
        with pytest.raises(MemoryError, match=r"^\[\w+\] expected"):
            mx.eval(make())
    with pytest.raises(ValueError, match="one key"):
        mx.random.uniform(shape=shape)
    assert memory.active == before
    np.testing.assert_allclose(np.array(y), np.sqrt(np.arange(1000)), rtol=1e-6)


def test_nothing_is_lost_where_memory_runs_out(memory: Pool) -> None:
    """Of several outputs one cannot be had: all can still be evaluated."""
    x = mx.random.normal((300,))
    y = mx.sin(x)
    z = mx.broadcast_to(y, (1 << 20, 1 << 20, 300)) * 2
    w = y.sum()
    with pytest.raises(MemoryError):
        mx.eval(y, z, w)
    with pytest.raises(MemoryError):
        mx.eval(w, z)
    assert w.item() == pytest.approx(float(np.sin(np.array(x)).sum()), rel=1e-4)
    assert z[5, 5].shape == (300,)


def test_sizes_that_no_computer_has() -> None:
    for n in (1 << 62, (1 << 63) - 1, 1 << 63, 1 << 64, 1 << 100):
        with pytest.raises((MemoryError, OverflowError, ValueError)):
            mx.eval(mx.zeros((n,)))


# --- the pool ---------------------------------------------------------------------------------------------------------
def test_blocks_are_aligned_and_large_enough() -> None:
    pool = Pool(1 << 20)
    for nbytes in (0, 1, 63, 64, 65, 1000, 4097, 100_000):
        block = pool.allocate(nbytes)
        assert block.ptr % ALIGNMENT == 0
        assert nbytes <= block.capacity <= max(64, nbytes * 1.125 + 64)
        block.capacity = 0  # it is not the process's pool that it would go back to


def test_the_pool_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool(100_000)
    monkeypatch.setattr(buffer, "pool", pool)
    for nbytes in (1000, 5000, 40_000, 90_000, 200_000):
        blocks = [pool.allocate(nbytes) for _ in range(30)]
        assert pool.active == sum(b.capacity for b in blocks)
        del blocks
        assert pool.active == 0
        assert pool.cached <= pool.limit
        assert pool.cached == sum(size * len(free) for size, free in pool._free.items())
    pool.clear()
    assert pool.cached == 0


def test_freed_blocks_are_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool(1 << 20)
    monkeypatch.setattr(buffer, "pool", pool)
    first = pool.allocate(1000).ptr
    second = pool.allocate(990)
    assert second.ptr == first
    assert pool.allocate(990).ptr != first


def test_numpy_views_keep_the_memory(memory: Pool) -> None:
    x = mx.arange(1000).astype(mx.float32)
    view = np.asarray(x)
    ptr = x._node.buffer.ptr
    del x
    gc.collect()
    assert view.__array_interface__["data"][0] == ptr
    others = [mx.full((1000,), 7.0) for _ in range(20)]
    mx.eval(others)
    assert view[999] == 999


def test_from_array_copies() -> None:
    data = np.arange(10, dtype=np.float32)
    block = buffer.from_array(data[::2])
    data[:] = 0
    np.testing.assert_array_equal(buffer.as_numpy(block, (5,), float32), [0, 2, 4, 6, 8])


# --- what an evaluation needs -----------------------------------------------------------------------------------------
def peak_of(make: Callable[[], mx.array], memory: Pool) -> int:
    gc.collect()
    before = memory.active
    memory.peak = before
    result = make()
    mx.eval(result)
    return memory.peak - before


def test_fifty_pointwise_operations_peak_at_two_arrays(memory: Pool) -> None:
    size = 32 << 20
    start = memory.active
    x = mx.zeros((size // 4,)) + 0.5
    mx.eval(x)

    def chain(x: mx.array) -> mx.array:
        for i in range(25):
            x = mx.tanh(x) * float(i)
        return x

    assert peak_of(lambda: chain(x), memory) <= 1.1 * size
    assert peak_of(lambda: mx.compile(chain)(x), memory) <= 1.1 * size
    assert memory.peak - start <= 2.1 * size


def test_dead_intermediates_share_memory(memory: Pool) -> None:
    """Twenty reductions over the whole array, each followed by a use of the array: two intermediates at any time."""
    x = mx.random.uniform(shape=(1 << 18,))
    mx.eval(x)

    def steps() -> mx.array:
        y = x
        for _ in range(20):
            y = mx.cumsum(y) * 0.5
        return y

    assert peak_of(steps, memory) <= 4 * x.nbytes


def test_evaluated_arrays_drop_their_history(memory: Pool) -> None:
    x = mx.random.normal((1 << 16,))
    mx.eval(x)
    before = memory.active
    y = x
    for _ in range(30):
        y = mx.sin(y) + 1.0
        mx.eval(y)
    assert memory.active - before <= 1.2 * y.nbytes


# --- nothing grows ----------------------------------------------------------------------------------------------------
def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def by_reference(n: int) -> None:
    x = mx.array([1.0, 2.0, 3.0])
    for i in range(n):
        (x * float(i) + 1.0).sum().item()


def by_kernel(n: int) -> None:
    x = mx.ones((300,))
    for i in range(n):
        mx.eval(mx.sin(x * float(i) + 1.0))


def compiled(n: int) -> None:
    f = mx.compile(lambda x, c: (x * c + 1.0).sum())
    x = mx.ones((300,))
    for _ in range(n):
        mx.eval(f(x, x))


def assigned(n: int) -> None:
    x = mx.zeros((200,))
    for i in range(n):
        x[i % 200] = float(i)
        mx.eval(x)


def gradients(n: int) -> None:
    f = mx.grad(lambda x: mx.exp(x * 0.1).sum())
    x = mx.ones((100,))
    for _ in range(n):
        mx.eval(f(x))


def grow(work: Callable[[int], None], n: int, memory: Pool) -> None:
    """Runs ``work`` until its caches are full, then measures."""
    work(min(n, 5000))
    gc.collect()
    rss, active, cached, tables = resident(), memory.active, memory.cached, len(executor._bound) + len(plans._plans)
    work(n)
    gc.collect()
    assert memory.active == active
    assert memory.cached <= cached + 4096
    assert len(executor._bound) + len(plans._plans) == tables
    assert resident() - rss <= 2 << 20


@pytest.mark.parametrize("work", [by_reference, by_kernel, compiled, assigned, gradients])
def test_repeated_evaluation_grows_nothing(work: Callable[[int], None], memory: Pool) -> None:
    grow(work, 10_000, memory)


@pytest.mark.slow
@pytest.mark.parametrize("work", [by_reference, by_kernel, compiled])
def test_a_million_evaluations_grow_nothing(work: Callable[[int], None], memory: Pool) -> None:
    grow(work, 1_000_000, memory)


def test_caches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "BOUND", 20)
    monkeypatch.setattr(plans, "PLANS", 8)
    monkeypatch.setattr(cpu, "KERNELS", 6)
    for cache in (executor._bound, plans._plans, cpu._functions):
        cache.clear()
    x = mx.ones((1000,))
    mx.eval(x)
    for i in range(30):
        mx.eval(x[: 100 + i] * 2.0)
    assert len(executor._bound) == 20
    for i in range(1, 12):
        y = x
        for step in range(4):
            y = mx.sqrt(y) if (i >> step) & 1 else mx.abs(y)
        assert np.array(y).tolist() == [1.0] * 1000
    assert len(plans._plans) == 8
    assert len(cpu._functions) == 6
    mx.eval(x[:101] * 2.0)  # evicted: made again
    assert len(executor._bound) == 20


def test_recently_used_plans_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "BOUND", 3)
    executor._bound.clear()
    x = mx.ones((1000,))
    mx.eval(x)
    executor._bound.clear()

    def use(n: int) -> tuple:
        mx.eval(x[:n] * 2.0)
        return next(reversed(executor._bound))

    first = use(100)
    for n in range(101, 110):
        use(n)
        use(100)
        assert first in executor._bound
    assert len(executor._bound) == 3


def test_compiled_functions_keep_few_traces() -> None:
    traced = 0

    def f(x: mx.array, k: int) -> mx.array:
        nonlocal traced
        traced += 1
        return x + k

    g = mx.compile(f)
    x = mx.ones((3,))
    for k in range(500):
        g(x, k)
    assert traced == 500
    g(x, 499)
    assert traced == 500
    g(x, 0)
    assert traced == 501
