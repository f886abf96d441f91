"""Evaluation in the background: the same results, whoever looks at them, and whenever."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import arrax.core as mx
from arrax.runtime import executor
from arrax.runtime.run import Run


def large(seed: int = 0) -> tuple[mx.array, np.ndarray]:
    values = np.random.default_rng(seed).normal(size=(300, 300)).astype(np.float32)
    return mx.array(values), values


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """What runs in the background begins when this is set."""
    go, run = threading.Event(), Run.__call__

    def held(self: Run) -> list:
        if threading.current_thread().name.startswith("arrax-background"):
            assert go.wait(20)
        return run(self)

    monkeypatch.setattr(Run, "__call__", held)
    yield go
    go.set()
    mx.synchronize()


def open_later(gate: threading.Event) -> threading.Timer:
    timer = threading.Timer(0.2, gate.set)
    timer.start()
    return timer


def test_it_returns_before_the_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    go, run = threading.Event(), Run.__call__

    def held(self: Run) -> list:
        assert go.wait(20)
        return run(self)

    x, values = large()
    with monkeypatch.context() as patch:
        patch.setattr(Run, "__call__", held)
        y = mx.tanh(x) + 1
        mx.async_eval(y)
        assert len(executor._jobs) == 1
        z = y * 2  # recorded meanwhile
        go.set()
        np.testing.assert_allclose(z, (np.tanh(values) + 1) * 2, rtol=1e-5, atol=1e-6)
    mx.synchronize()
    assert not executor._jobs


@pytest.mark.parametrize("look", (np.array, lambda y: y.tolist(), lambda y: mx.eval(y), lambda y: mx.synchronize()))
def test_whoever_looks_waits(look) -> None:
    x, values = large()
    y = mx.exp(x)
    mx.async_eval(y)
    look(y)
    assert not executor._jobs
    assert y._node.buffer is not None
    np.testing.assert_allclose(y, np.exp(values), rtol=1e-5)


@pytest.mark.parametrize(
    "look", (np.array, lambda y: y.tolist(), mx.eval, lambda y: mx.synchronize(), lambda y: y[0, 0].item())
)
def test_who_looks_at_what_has_not_begun_waits(gate: threading.Event, look) -> None:
    x, values = large()
    y = mx.exp(x)
    mx.async_eval(y)
    timer = open_later(gate)
    look(y)
    assert gate.is_set()
    timer.join()
    np.testing.assert_allclose(y, np.exp(values), rtol=1e-5)


def test_what_needs_results_is_made_ready_meanwhile(gate: threading.Event) -> None:
    x, values = large()
    y = mx.tanh(x) * 0.5
    mx.async_eval(y)
    z = y + x
    mx.async_eval(z)
    total = mx.sum(z)
    mx.async_eval(total)
    assert len(executor._jobs) == 3
    open_later(gate).join()
    expected = np.tanh(values) * 0.5 + values
    np.testing.assert_allclose(z, expected, rtol=1e-5, atol=1e-6)
    assert total.item() == pytest.approx(float(expected.sum()), rel=1e-3, abs=1e-2)


def test_a_library_has_its_results_later(gate: threading.Event) -> None:
    x, values = large()
    y = mx.sort(x)
    mx.async_eval(y)
    assert y._node.buffer is None
    timer = open_later(gate)
    np.testing.assert_array_equal(y * 2, np.sort(values) * 2)
    timer.join()


def test_no_more_than_a_few_wait(gate: threading.Event) -> None:
    x, values = large()
    results = []
    for k in range(executor.AHEAD):
        results.append(x * float(k))
        mx.async_eval(results[-1])
    assert len(executor._jobs) == executor.AHEAD
    timer = open_later(gate)
    results.append(x * 50.0)
    mx.async_eval(results[-1])
    assert gate.is_set()
    assert len(executor._jobs) <= executor.AHEAD
    timer.join()
    np.testing.assert_allclose(results[-1], values * 50, rtol=1e-6)


def test_memory_stays_taken_until_it_is_written(gate: threading.Event) -> None:
    x, values = large()
    y = mx.exp(x)
    mx.async_eval(y)
    del y
    others = [x + float(k) for k in range(8)]
    mx.eval(others)
    open_later(gate).join()
    mx.synchronize()
    for k, other in enumerate(others):
        np.testing.assert_array_equal(other, values + np.float32(k))


def test_memory_is_given_back_when_it_has_been(gate: threading.Event) -> None:
    x, values = large()
    y = mx.exp(x)
    mx.async_eval(y)
    del y
    taken = mx.get_active_memory()
    gate.set()
    for _ in range(200):
        if not executor._jobs:
            break
        time.sleep(0.05)
    assert mx.get_active_memory() <= taken - values.nbytes
    np.testing.assert_array_equal(x, values)


def test_data_that_the_background_reads_are_not_overwritten_yet(gate: threading.Event) -> None:
    x, values = large()
    x = x + 0
    mx.eval(x)
    y = mx.exp(x)
    mx.async_eval(y)
    before = x._node.buffer.ptr
    x = x + 1  # nobody holds the former x but the background
    timer = open_later(gate)
    mx.eval(x)
    timer.join()
    assert x._node.buffer.ptr == before
    np.testing.assert_array_equal(x, values + 1)
    np.testing.assert_allclose(y, np.exp(values), rtol=1e-5)


def test_in_place_many_steps_ahead(gate: threading.Event) -> None:
    x, values = large()
    cache = mx.zeros((4, 300)) + 1
    mx.eval(cache)
    place = cache._node.buffer.ptr
    for t in range(4):
        cache[t] = x[t] + float(t)
        mx.async_eval(cache)
    open_later(gate).join()
    assert [row[0].item() for row in cache] == [float(values[t, 0] + np.float32(t)) for t in range(4)]
    assert cache._node.buffer.ptr == place


def test_a_loop_one_step_ahead() -> None:
    state, expected = large()
    w = mx.array(np.random.default_rng(1).normal(size=(300, 300)).astype(np.float32) / 20)
    cache, seen, places = mx.zeros((20, 300)), [], []
    for t in range(20):
        state = mx.tanh(state @ w)
        cache[t] = state[0]
        total = mx.sum(state)
        mx.async_eval(total, state, cache)
        seen.append(total)
        if t > 2:
            mx.synchronize()
            places.append(cache._node.buffer.ptr)
    rows = []
    for t in range(20):
        expected = np.tanh(expected @ np.array(w))
        rows.append(expected[0])
        assert seen[t].item() == pytest.approx(float(expected.sum()), rel=1e-3, abs=1e-2)
    np.testing.assert_allclose(cache, np.stack(rows), rtol=1e-3, atol=1e-4)
    assert len(set(places)) == 1  # written over in place


def test_failures_are_those_of_who_wants_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(self: Run) -> list:
        raise MemoryError("none left")

    x, values = large()
    y = mx.sort(x)  # by a library
    with monkeypatch.context() as patch:
        patch.setattr(Run, "__call__", failing)
        mx.async_eval(y)
        other = mx.array([1.0, 2.0])
        assert (other + 1).tolist() == [2.0, 3.0]  # small: no run
        with pytest.raises(MemoryError, match="none left"):
            mx.eval(y)
    np.testing.assert_array_equal(y, np.sort(values))


def singular() -> mx.array:
    return mx.linalg.inv(mx.zeros((30, 30)))


def test_failures_surface_at_synchronize() -> None:
    mx.async_eval(y := singular())
    assert (mx.ones(3) + 1).tolist() == [2, 2, 2]  # nobody else's business
    with pytest.raises(RuntimeError, match="Singular"):
        mx.synchronize()
    mx.synchronize()  # that has been told
    with pytest.raises(RuntimeError, match="Singular"):
        mx.eval(y + 1)
    mx.synchronize()


def test_failures_are_those_of_a_stream() -> None:
    failing, other = mx.new_stream(mx.cpu), mx.new_stream(mx.cpu)
    x, values = large()
    with mx.stream(failing):
        mx.async_eval(singular())
    executor._jobs[-1].future.exception()
    mx.eval(mx.sin(x))  # whoever evaluates next ends it
    assert not executor._jobs
    with mx.stream(other):
        mx.async_eval(y := mx.sort(x))
    mx.synchronize(other)
    np.testing.assert_array_equal(y, np.sort(values))
    with pytest.raises(RuntimeError, match="Singular"):
        mx.synchronize(failing)
    mx.synchronize()


def test_a_failure_is_told_once() -> None:
    """Whoever wants the data does the work again, and is told what then fails."""
    for between in (lambda: None, lambda: mx.eval(mx.ones(30) + 1)):
        mx.async_eval(y := singular())
        between()
        with pytest.raises(RuntimeError, match="Singular"):
            mx.eval(y.T * 2)
        mx.synchronize()


def test_a_failure_keeps_no_data() -> None:
    mx.synchronize()
    before = mx.get_active_memory()
    x = mx.zeros((700, 700)) + 0.0
    mx.eval(x)
    mx.async_eval(mx.linalg.inv(x))
    del x
    executor._jobs[-1].future.exception()
    assert (mx.ones(30) + 1)[0].item() == 2
    assert mx.get_active_memory() < before + 700 * 700 * 4
    with pytest.raises(RuntimeError, match="Singular"):
        mx.synchronize()


@pytest.mark.parametrize("look", (mx.eval, np.array, lambda y: y.tolist(), lambda y: mx.eval(y + 1)))
def test_a_failure_of_what_has_been_handed_out(monkeypatch: pytest.MonkeyPatch, look) -> None:
    """It never fails; were it to, nobody would take what is in the memory for data."""

    def failing(self: Run) -> list:
        raise MemoryError("none left")

    x, _ = large()
    with monkeypatch.context() as patch:
        patch.setattr(Run, "__call__", failing)
        mx.async_eval(y := mx.exp(x))
        assert y._node.buffer is not None
        with pytest.raises(MemoryError, match="none left"):
            look(y)
    with pytest.raises(MemoryError, match="none left"):
        mx.synchronize()


@pytest.mark.parametrize("transform", [mx.grad, mx.compile, mx.checkpoint])
def test_inside_of_a_transform_it_is_refused(transform: Callable) -> None:
    def f(x: mx.array) -> mx.array:
        y = mx.square(x)
        mx.async_eval(y)
        return mx.sum(y * y)

    with pytest.raises(ValueError, match=r"\[async_eval\] Not allowed inside a graph transformation\."):
        mx.grad(transform(f))(large()[0])


def test_inside_of_a_transform_what_it_captures_is_computed_at_once() -> None:
    x, values = large()
    y = mx.square(x)

    def f(a: mx.array) -> mx.array:
        mx.async_eval(y)
        return mx.sum(a * y)

    np.testing.assert_allclose(mx.grad(f)(x), values**2, rtol=1e-4, atol=1e-5)


def test_from_several_threads() -> None:
    x, values = large()
    failures: list[BaseException] = []

    def work(k: int) -> None:
        try:
            for i in range(30):
                y = x * float(k) + float(i)
                mx.async_eval(y)
                z = mx.sum(y)
                mx.async_eval(z)
                assert z.item() == pytest.approx(float((values * k + i).sum()), rel=1e-3, abs=0.5)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures


def test_graphs_of_one_stream_run_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where they have nothing to do with each other."""
    run, running, together = Run.__call__, [], []

    def watched(self: Run) -> list:
        running.append(self)
        time.sleep(0.01)
        together.append(len(running))
        running.remove(self)
        return run(self)

    monkeypatch.setattr(Run, "__call__", watched)
    x, values = large()
    results = [x * float(k) for k in range(12)]
    for y in results:
        mx.async_eval(y)
    mx.synchronize()
    assert together == [1] * 12
    for k, y in enumerate(results):
        np.testing.assert_array_equal(y, values * np.float32(k))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_fork_with_work_in_the_background(run) -> None:
    assert (
        run("""
        import os
        import numpy as np
        import arrax.core as mx
        x = mx.array(np.ones((500, 500), np.float32))
        for _ in range(5):
            y = mx.exp(x) @ x
            mx.async_eval(y)
            pid = os.fork()
            if pid == 0:
                z = y + 1
                mx.async_eval(z)
                os._exit(0 if abs(z[0, 0].item() - 1360.1409) < 1 else 1)
            assert os.waitpid(pid, 0)[1] == 0
            assert abs(y[0, 0].item() - 1359.1409) < 1
        print("well")
    """).strip()
        == "well"
    )


def test_a_program_may_end_meanwhile(run) -> None:
    run("""
        import arrax.core as mx
        x = mx.random.normal((1500, 1500))
        for _ in range(3):
            x = mx.tanh(x @ x)
        mx.async_eval(x)
    """)


def test_more_than_there_are_threads_for(run) -> None:
    run(
        """
        import arrax.core as mx
        streams = [mx.new_stream(mx.cpu) for _ in range(14)]
        x = mx.ones((200, 300))
        for _ in range(20):
            results = []
            for stream in streams:
                with mx.stream(stream):
                    for k in range(4):
                        results.append(mx.exp(x * float(k)) + 1.0)
                        mx.async_eval(results[-1])
            mx.synchronize()
            for stream in streams:
                mx.synchronize(stream)
            for i, y in enumerate(results):
                assert abs(y[3, 4].item() - 2.718281828 ** (i % 4) - 1) < 1e-4
        """,
        timeout=60,
    )


@pytest.mark.parametrize("threads", ["1", "2", "3", "6"])
def test_a_core_is_spared_and_taken_again(run, threads: str) -> None:
    """What runs in the background leaves a thread asleep that what follows wakes."""
    run(
        """
        import os, sys
        os.environ["ARRAX_THREADS"] = sys.argv[1]
        import numpy as np
        import arrax.core as mx
        values = np.random.default_rng(0).normal(size=(400, 300)).astype(np.float32)
        x = mx.array(values)
        for k in range(150):
            y = mx.tanh(x * float(k)) + 1.0
            mx.async_eval(y)
            if k % 3:
                z = mx.exp(x) * float(k)
                mx.eval(z)
                assert abs(z[5, 7].item() - np.exp(values[5, 7]) * k) < 1e-3 * (k + 1)
            else:
                mx.synchronize()
            total = mx.sum(y)
            mx.async_eval(total)
            assert abs(total.item() - (np.tanh(values.astype(float) * k) + 1).sum()) < 1.0, k
        """,
        threads,
    )
