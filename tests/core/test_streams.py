"""Devices, streams, and evaluation in several threads at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import mlx.core as oracle
import numpy as np
import pytest

import arrax.core as mx
from arrax.graph.handle import wrap
from arrax.graph.primitive import REGISTRY
from arrax.prims.linalg import symmetric_root
from arrax.runtime import executor

PATIENCE = 120  # seconds that threads wait for each other


def in_thread(f: Callable[[], Any]) -> Any:
    """What ``f`` returns or raises in a thread of its own."""
    found: list[Any] = []

    def body() -> None:
        try:
            found.append(f())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join(PATIENCE)
    assert found, "the thread hangs"
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]


@pytest.fixture(autouse=True)
def defaults() -> Any:
    device, stream = mx.default_device(), mx.default_stream(mx.cpu)
    yield
    mx.set_default_device(device)
    mx.set_default_stream(stream)


# --- like MLX ---------------------------------------------------------------------------------------------------------
CALLS: dict[str, Callable[[Any], Any]] = {
    "repr of a device": lambda m: repr(m.Device(m.cpu)),
    "repr of the default device": lambda m: repr(m.default_device()),
    "a device is its type": lambda m: (m.Device(m.cpu) == m.cpu, m.cpu == m.Device(m.cpu), m.Device(m.cpu, 1) == m.cpu),
    "type of a device": lambda m: m.Device(m.gpu).type == m.gpu,
    "a device of a name": lambda m: m.Device("cpu"),
    "is_available": lambda m: (m.is_available(m.cpu), m.is_available(m.gpu), m.is_available(m.Device(m.cpu, 1))),
    "is_available of None": lambda m: m.is_available(None),
    "device_count": lambda m: (m.device_count(m.cpu), m.device_count(m.gpu)),
    "device_count of a device": lambda m: m.device_count(m.Device(m.cpu)),
    "device_info": lambda m: {"architecture", "device_name"} <= set(m.device_info()),
    "device_info of the gpu": lambda m: m.device_info(m.gpu),
    "device_info of a name": lambda m: m.device_info("cpu"),
    "default device gpu": lambda m: m.set_default_device(m.gpu),
    "default device 3": lambda m: m.set_default_device(3),
    "default stream of the gpu": lambda m: m.default_stream(m.gpu),
    "new stream on the gpu": lambda m: m.new_stream(m.gpu),
    "new stream on None": lambda m: m.new_stream(None),
    "new stream": lambda m: m.new_stream(),
    "streams differ": lambda m: m.new_stream(m.cpu) == m.new_stream(m.cpu),
    "device of a stream": lambda m: repr(m.new_stream(m.cpu).device),
    "no stream of one's own": lambda m: m.Stream(),
    "default stream cpu": lambda m: m.set_default_stream(m.cpu),
    "default stream None": lambda m: m.set_default_stream(None),
    "default stream that is thread-local": lambda m: m.set_default_stream(m.new_thread_local_stream(m.cpu)),
    "thread-local stream": lambda m: isinstance(m.new_thread_local_stream(m.cpu), m.Stream),
    "context with the gpu": lambda m: m.stream(m.gpu).__enter__(),
    "context with None": lambda m: m.stream(None),
    "context with a name": lambda m: m.stream("cpu"),
    "context without entering": lambda m: isinstance(m.StreamContext(m.gpu), m.StreamContext),
    "synchronize": lambda m: (m.synchronize(), m.synchronize(m.cpu), m.synchronize(m.new_stream(m.cpu))),
    "synchronize the gpu": lambda m: m.synchronize(m.gpu),
    "synchronize a name": lambda m: m.synchronize("cpu"),
    "synchronize thread-local": lambda m: m.synchronize(m.new_thread_local_stream(m.cpu)),
    "an operation on a stream": lambda m: m.add(1, 2, stream=m.new_stream(m.cpu)).item(),
    "an operation on a device": lambda m: m.add(1, 2, stream=m.cpu).item(),
    "an operation on a thread-local stream": lambda m: m.add(1, 2, stream=m.new_thread_local_stream(m.cpu)).item(),
    "an operation on the gpu": lambda m: m.add(1, 2, stream=m.gpu),
    "an operation on a name": lambda m: m.add(1, 2, stream="cpu"),
    "an array on the gpu": lambda m: m.zeros((2,), stream=m.gpu),
    "a method on the gpu": lambda m: m.array([1]).sum(stream=m.gpu),
    "clear_streams": lambda m: m.clear_streams(),
}


@pytest.mark.parametrize("name", CALLS)
def test_behaves_like_mlx(name: str) -> None:
    """In a thread of its own, so that the oracle's streams are not touched."""
    results = []
    for m in (mx, oracle):
        try:
            results.append(in_thread(lambda m=m: CALLS[name](m)))
        except Exception as error:
            results.append(type(error))
    assert results[0] == results[1]


def test_contexts_nest() -> None:
    s, t = mx.new_stream(mx.cpu), mx.new_thread_unsafe_stream(mx.cpu)
    outside = mx.default_stream(mx.cpu)
    with mx.stream(s):
        assert mx.default_stream(mx.cpu) == s
        with pytest.raises(KeyError), mx.stream(t):
            assert mx.default_stream(mx.cpu) == t
            raise KeyError
        with mx.stream(mx.cpu):
            assert mx.default_stream(mx.cpu) == s
    assert mx.default_stream(mx.cpu) == outside
    mx.set_default_stream(t)
    assert mx.default_stream(mx.cpu) == t


def test_each_thread_has_streams_of_its_own() -> None:
    mine = mx.default_stream(mx.cpu)
    theirs = in_thread(lambda: (mx.default_stream(mx.cpu), mx.default_stream(mx.cpu)))
    assert theirs[0] == theirs[1] != mine
    local = mx.new_thread_local_stream(mx.cpu)

    def inside() -> mx.Stream:
        with mx.stream(local):
            return mx.default_stream(mx.cpu)

    assert inside() == inside() != in_thread(inside)
    in_thread(lambda: mx.set_default_stream(mx.new_stream(mx.cpu)))
    assert mx.default_stream(mx.cpu) == mine


@pytest.mark.parametrize(
    "make", ["new_stream", "new_thread_unsafe_stream", "new_thread_local_stream", "default_stream"]
)
@pytest.mark.parametrize("how", ["eval", "async_eval"])
def test_who_may_evaluate_in_a_stream(make: str, how: str) -> None:
    """In a stream of another thread one may record, and no more; a thread that forgets its streams has them no more."""

    def use(m: Any, stream: Any) -> str:
        with m.stream(stream):
            x = m.ones((20,)) + 1
            try:
                getattr(m, how)(x)
            except RuntimeError as error:
                assert "in current thread" in str(error)
                return "refused"
            return "evaluated"

    def forgotten(m: Any) -> str:
        stream = getattr(m, make)(m.cpu)
        assert use(m, stream) == "evaluated"
        m.clear_streams()
        return use(m, stream)

    for m in (mx, oracle):
        theirs = in_thread(lambda m=m: getattr(m, make)(m.cpu))
        found = [in_thread(lambda m=m, s=theirs: use(m, s))]
        if m is mx or make != "new_thread_local_stream":  # MLX has that no more either, Arrax makes a new one
            found.append(in_thread(lambda m=m: forgotten(m)))
        assert set(found) == {"refused" if make in ("new_stream", "default_stream") else "evaluated"}, m
    in_thread(lambda: (use(mx, mx.default_stream(mx.cpu)), mx.clear_streams(), mx.eval(mx.ones((20,)) + 1)))


# --- at the same time -------------------------------------------------------------------------------------------------
@pytest.fixture
def meeting_root(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], mx.array]:
    """Records 1 + i + 2 on a diagonal, by a root that waits, in the middle of its evaluation, for another such one."""
    together = threading.Barrier(2)
    prim = REGISTRY["symmetric_root"]
    compute = prim.reference

    def met(*args: Any) -> Any:
        together.wait(PATIENCE)
        return compute(*args)

    monkeypatch.setattr(prim, "reference", met)

    def record(i: int) -> mx.array:
        x = mx.eye(17) * (i + 2.0) ** 2 + mx.zeros((17, 17))
        return wrap(symmetric_root(x._node)) + 1

    return record


def test_two_threads_compute_at_the_same_time(meeting_root: Callable[[int], mx.array]) -> None:
    """Each waits, in the middle of its evaluation, until the other one is in the middle of its own."""
    found: list[Any] = [None, None]

    def body(i: int) -> None:
        with mx.stream(mx.new_stream(mx.cpu)):
            found[i] = np.array(meeting_root(i))

    threads = [threading.Thread(target=body, args=(i,)) for i in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(PATIENCE)
    for i in range(2):
        np.testing.assert_allclose(found[i], np.eye(17) * (i + 2.0) + 1, rtol=1e-5, atol=1e-6)


def test_two_streams_compute_at_the_same_time(meeting_root: Callable[[int], mx.array]) -> None:
    """What one thread has started on two streams: each graph waits for the other one; one stream would never end."""
    found = []
    for i in range(2):
        with mx.stream(mx.new_stream(mx.cpu)):
            found.append(meeting_root(i))
            mx.async_eval(found[-1])
    for i, y in enumerate(found):
        np.testing.assert_allclose(np.array(y), np.eye(17) * (i + 2.0) + 1, rtol=1e-5, atol=1e-6)


def test_a_stream_keeps_its_order_and_waits_for_others() -> None:
    first, second = mx.new_stream(mx.cpu), mx.new_stream(mx.cpu)
    x = mx.random.normal((200, 200))
    mx.eval(x)
    expected = np.array(x)
    for k in range(20):
        with mx.stream((first, second)[k % 2]):  # each graph needs what the other stream has started
            x = mx.tanh(x + 1)
            mx.async_eval(x)
        expected = np.tanh(expected + 1)
    np.testing.assert_allclose(np.array(x), expected, rtol=1e-5)


def test_synchronizing_one_stream() -> None:
    streams = [mx.new_stream(mx.cpu) for _ in range(12)]  # more than there are threads for them
    results = []
    for i, s in enumerate(streams):
        with mx.stream(s):
            results.append(mx.full((300, 300), float(i)) * 2)
            mx.async_eval(results[-1])
    mx.synchronize(streams[3])
    assert results[3]._node.buffer is not None
    assert all(job.stream != streams[3].index for job in executor._jobs)
    for i, y in enumerate(results):
        assert y[0, 0].item() == 2 * i
    mx.synchronize()
    assert not executor._jobs


def test_streams_in_many_threads() -> None:
    """Long chains, products and reductions on arrays that all threads share; each on a stream of its own."""
    shared = mx.random.normal((64, 64))
    lazy = mx.tanh(shared @ shared)  # whoever comes first computes it
    errors: list[BaseException] = []
    start = threading.Barrier(4)

    def work(i: int) -> None:
        try:
            with mx.stream(mx.new_stream(mx.cpu)):
                start.wait(PATIENCE)
                for k in range(20):
                    x = lazy * float(i + 1)
                    for _ in range(k):
                        x = mx.sin(x) + shared
                    mx.async_eval(x)
                    y = mx.softmax(x @ shared, axis=-1).sum(axis=-1)
                    mx.synchronize()
                    np.testing.assert_allclose(np.array(y), np.ones(64), rtol=1e-5)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(PATIENCE)
    assert not errors, errors


def test_async_eval() -> None:
    x = mx.array([1.0, 2.0])
    y = mx.exp(x)
    mx.async_eval(y, {"a": [y + 1]}, (None, 3))
    z = y + 3
    mx.async_eval(z)
    np.testing.assert_allclose(np.array(z), np.exp([1.0, 2.0]) + 3, rtol=1e-6)
    with pytest.raises(ValueError, match="Not allowed inside a graph transformation"):
        mx.grad(lambda x: (mx.async_eval(mx.vmap(lambda r: (mx.async_eval(r), r)[1])(x)), x.sum())[1])(x)


def test_errors_of_async_eval_come_to_whoever_waits() -> None:
    y = mx.linalg.inv(mx.zeros((3, 3)), stream=mx.cpu)
    with pytest.raises(RuntimeError, match="matrices"):
        mx.async_eval(y)
        mx.synchronize()
        y.tolist()
