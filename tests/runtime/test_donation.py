"""Results that are written over inputs: only where nobody else can see those."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import arrax.core as mx
from arrax.compiler.pipeline import build
from arrax.graph.handle import wrap
from arrax.graph.node import Node
from arrax.prims.pointwise import add as add_nodes
from arrax.prims.pointwise import sin_p
from arrax.runtime import executor
from arrax.runtime.run import Run

RNG = np.random.default_rng(0)


def fresh(*shape: int) -> tuple[mx.array, np.ndarray]:
    """Data that only the returned array holds, and a copy of them."""
    values = RNG.normal(size=shape).astype(np.float32)
    x = mx.array(values) + 0
    mx.eval(x)
    return x, values


def address(x: mx.array) -> int:
    mx.eval(x)
    return x._node.buffer.ptr


def written_over(x: mx.array, before: int) -> bool:
    return address(x) == before


# --- where it happens -------------------------------------------------------------------------------------------------
def add(x: mx.array) -> mx.array:
    return x + 1


def set_slice(x: Any) -> Any:
    x[3:9, ::2] = 5.0
    return x


def scatter(x: mx.array) -> mx.array:
    return x.at[mx.array([1, 2, 2])].add(mx.ones((3, 128)))


def center(x: mx.array) -> mx.array:
    return x - mx.mean(x, 1, keepdims=True)


def soft(x: mx.array) -> mx.array:
    return mx.softmax(x, -1)


def several(x: mx.array) -> mx.array:
    return mx.exp(mx.sin(x) * 2) + 1


EXPECTED: dict[Callable, Callable[[np.ndarray], np.ndarray]] = {
    add: lambda x: x + 1,
    center: lambda x: x - x.mean(1, keepdims=True),
    soft: lambda x: np.exp(x - x.max(1, keepdims=True)) / np.exp(x - x.max(1, keepdims=True)).sum(1, keepdims=True),
    several: lambda x: np.exp(np.sin(x) * 2) + 1,
}


@pytest.mark.parametrize("call", EXPECTED)
def test_the_only_holder_gives_its_memory(call: Callable) -> None:
    x, values = fresh(64, 128)
    before = address(x)
    x = call(x)
    assert written_over(x, before)
    np.testing.assert_allclose(x, EXPECTED[call](values), rtol=1e-5, atol=1e-6)


def test_updates_write_only_what_changes() -> None:
    x, values = fresh(64, 128)
    before = address(x)
    x = set_slice(x)
    assert written_over(x, before)
    values[3:9, ::2] = 5
    np.testing.assert_array_equal(x, values)
    x = scatter(x)
    assert written_over(x, before)
    np.add.at(values, [1, 2, 2], 1)
    np.testing.assert_array_equal(x, values)


VIEWS: dict[str, tuple[Callable[[mx.array], mx.array], Callable[[np.ndarray], np.ndarray]]] = {
    "reshaped": (lambda x: mx.abs(x.reshape(128, 64)), lambda x: np.abs(x.reshape(128, 64))),
    "flat": (lambda x: mx.flatten(x) + 1, lambda x: x.reshape(-1) + 1),
    "split": (lambda x: x.reshape(8, 8, 2, 64) * 2, lambda x: x.reshape(8, 8, 2, 64) * 2),
    "longer": (lambda x: mx.abs(x[None, :, None]), lambda x: np.abs(x[None, :, None])),
    "twice transposed": (lambda x: mx.abs(x.T).T, lambda x: np.abs(x)),
    "in one place": (lambda x: x.reshape(-1) + x.reshape(8192), lambda x: (x + x).reshape(-1)),
    "copied": (lambda x: set_slice(x.reshape(128, 64)), lambda x: set_slice(x.reshape(128, 64))),
    "scattered": (lambda x: scatter(x.reshape(64, 128)[:, None][:, 0]), lambda x: np.array(scatter(mx.array(x)))),
}


@pytest.mark.parametrize("view", VIEWS)
def test_what_is_read_through_a_view_gives_its_memory(view: str) -> None:
    x, values = fresh(64, 128)
    before = address(x)
    x = VIEWS[view][0](x)
    assert written_over(x, before)
    np.testing.assert_allclose(np.array(x), VIEWS[view][1](values.copy()), rtol=1e-6)


PARTS: dict[str, tuple[Callable[[mx.array], mx.array], Callable[[np.ndarray], np.ndarray]]] = {
    "transposed": (lambda x: mx.abs(x.T), lambda x: np.abs(x.T)),
    "transposed and flat": (lambda x: mx.abs(x.T.reshape(-1)), lambda x: np.abs(x.T.reshape(-1))),
    "reversed": (lambda x: mx.abs(x[::-1]), lambda x: np.abs(x[::-1])),
    "a part": (lambda x: mx.abs(x[:32]), lambda x: np.abs(x[:32])),
    "joined": (lambda x: mx.concatenate([x, mx.ones((4, 128))]), lambda x: np.concatenate([x, np.ones((4, 128))])),
    "twice": (lambda x: mx.abs(mx.concatenate([x, x])), lambda x: np.abs(np.concatenate([x, x]))),
    "in two places": (lambda x: x.reshape(-1) + x.T.reshape(-1), lambda x: x.reshape(-1) + x.T.reshape(-1)),
    "read again": (lambda x: x.reshape(8192) - x[::-1].reshape(-1), lambda x: (x - x[::-1]).reshape(-1)),
}


@pytest.mark.parametrize("part", PARTS)
def test_what_is_read_elsewhere_keeps_its_memory(part: str) -> None:
    x, values = fresh(64, 128)
    before = address(x)
    x = PARTS[part][0](x)
    assert not written_over(x, before)
    np.testing.assert_allclose(np.array(x), PARTS[part][1](values), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["copied", "scattered"])
def test_a_copy_of_a_view_is_needless(name: str) -> None:
    x, _ = fresh(64, 128)
    node = VIEWS[name][0](x)._node
    order, _, _ = executor._linearise([node])
    assert any(build(order, [node]).copies)


def test_a_held_view_keeps_the_memory() -> None:
    x, values = fresh(64, 128)
    before, held = address(x), x.reshape(-1)
    y = mx.abs(x.reshape(128, 64))
    del x
    assert not written_over(y, before)
    np.testing.assert_array_equal(np.array(held), values.reshape(-1))


def test_a_cache_grows_in_place() -> None:
    cache, values = fresh(1, 4, 32, 8)
    before = address(cache)
    for t in range(32):
        new = mx.full((1, 4, 1, 8), float(t))
        cache[..., t : t + 1, :] = new
        total = mx.sum(cache[..., : t + 1, :], 2)
        mx.eval(total, cache)
        values[..., t, :] = t
        np.testing.assert_allclose(total, values[..., : t + 1, :].sum(2), rtol=1e-5)
        assert written_over(cache, before)


def test_tasks_without_copies_are_not_kept_for_ever() -> None:
    """Six arrays that are overwritten, and each of the 64 choices of who gives its memory, again and again."""
    step = mx.compile(lambda *arrays: [update(x, float(k)) for k, x in enumerate(arrays)])

    def update(x: mx.array, value: float) -> mx.array:
        x[3] = value
        return x

    def round_of_choices() -> None:
        for choice in range(64):
            arrays = [fresh(8, 32)[0] for _ in range(6)]
            held = [x for k, x in enumerate(arrays) if choice >> k & 1]
            places = [address(x) for x in arrays]
            results = step(*arrays)
            arrays.clear()
            for k, y in enumerate(results):
                assert written_over(y, places[k]) != bool(choice >> k & 1)
                assert (y[3, 5].item(), y.shape) == (k, (8, 32))
            del held

    round_of_choices()
    tracemalloc.start()
    round_of_choices()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(3):
        round_of_choices()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 10_000


def test_state_of_a_compiled_step() -> None:
    state = {"w": mx.ones((64, 64)) * 2, "m": mx.zeros((64, 64)) + 1}
    mx.eval(state)

    def step(g: mx.array) -> mx.array:
        state["m"] = state["m"] * 0.5 + g
        state["w"] = state["w"] - state["m"]
        return mx.sum(state["w"])

    compiled = mx.compile(step, inputs=state, outputs=state)
    g, (w, m) = mx.array(np.ones((64, 64), np.float32)), (2.0, 1.0)
    places: dict[str, int] = {}
    for _ in range(4):
        total = compiled(g)
        mx.eval(total, state)
        m = m * 0.5 + 1
        w = w - m
        assert total.item() == pytest.approx(w * 64 * 64)
        before, places = places, {k: address(v) for k, v in state.items()}
        assert before in ({}, places)  # what the first call traces may be held
    assert mx.all(g == 1)  # the caller has it still


# --- where it must not ------------------------------------------------------------------------------------------------
def other_array(x: mx.array) -> object:
    return mx.array(x)


def numpy_view(x: mx.array) -> object:
    return np.asarray(x)


def view(x: mx.array) -> object:
    return x.reshape(-1)[5:]


def evaluated_view(x: mx.array) -> object:
    y = x.reshape(-1)
    mx.eval(y)
    return y


def unevaluated_use(x: mx.array) -> object:
    return x * 1.0


def capsule(x: mx.array) -> object:
    return np.from_dlpack(x)


def captured(x: mx.array) -> object:
    f = mx.compile(lambda y: y + x)
    f(mx.zeros(x.shape)).tolist()
    return mx.zeros(x.shape) + f(mx.zeros(x.shape))


@pytest.mark.parametrize("hold", (other_array, numpy_view, view, evaluated_view, unevaluated_use, capsule, captured))
@pytest.mark.parametrize("call", (add, set_slice, scatter, center, mx.compile(add)))
def test_what_others_hold_stays(hold: Callable, call: Callable) -> None:
    x, values = fresh(64, 128)
    held = hold(x)
    x = call(x)
    mx.eval(x)
    np.testing.assert_array_equal(np.asarray(held).reshape(-1)[-100:], values.reshape(-1)[-100:])
    np.testing.assert_array_equal(np.asarray(held).reshape(-1)[:1], values.reshape(-1)[0 if hold is not view else 5])


def test_a_view_on_the_way_that_is_held() -> None:
    x, values = fresh(64, 128)
    v = x.reshape(128, 64)
    x = v + 1
    mx.eval(x)
    np.testing.assert_array_equal(v.reshape(64, 128), values)


def test_a_view_with_the_same_addresses_that_is_held() -> None:
    """The view is a part of the graph, but what it shows is not the graph's alone."""
    passes = mx.compile(lambda v: (v, v + 1))  # one of its results is its argument: such graphs are opened first
    for through in (lambda v: v, lambda v: passes(v)[0]):
        x, values = fresh(64, 128)
        v = x.reshape(128, 64)
        x = through(v).reshape(64, 128) + 1
        mx.eval(x)
        np.testing.assert_array_equal(x, values + 1)
        np.testing.assert_array_equal(v.reshape(64, 128), values)


def test_a_result_that_is_a_view_of_the_input() -> None:
    x, values = fresh(64, 128)
    y, z = x.reshape(128, 64), x + 1
    del x
    mx.eval(y, z)
    np.testing.assert_array_equal(y, values.reshape(128, 64))
    np.testing.assert_array_equal(z, values + 1)


def test_nodes_that_share_their_inputs() -> None:
    """They refer to an input once, though it is the input of both."""
    x, values = fresh(64, 128)
    first = mx.exp(x)._node
    second = Node(sin_p, first.inputs, (), first.shape, first.dtype)
    y = wrap(add_nodes(first, second))
    del first, second
    mx.eval(y)
    np.testing.assert_array_equal(x, values)
    np.testing.assert_allclose(y, np.exp(values) + np.sin(values), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("flags", [{}, {"inclusive": False}, {"reverse": True}, {"reverse": True, "inclusive": False}])
@pytest.mark.parametrize("axis", [0, 1])
def test_running_sums(flags: dict[str, bool], axis: int) -> None:
    x, values = fresh(64, 128)
    x = mx.cumsum(x, axis, **flags)
    mx.eval(x)
    line = np.flip(values, axis) if flags.get("reverse") else values
    total = np.cumsum(line.astype(np.float64), axis)
    total = total if flags.get("inclusive", True) else total - line
    expected = np.flip(total, axis) if flags.get("reverse") else total
    np.testing.assert_allclose(x, expected, rtol=1e-4, atol=1e-4)


def test_memory_that_is_a_files(tmp_path: Path) -> None:
    """It is no block of ours that could be given away."""
    values = np.arange(4096, dtype=np.float32)
    mx.save_safetensors(tmp_path / "x.safetensors", {"x": mx.array(values)})
    x = mx.load(tmp_path / "x.safetensors")["x"]
    assert not x._node.buffer.capacity
    before = address(x)
    x = x + 1
    assert not written_over(x, before)
    assert x._node.buffer.capacity
    np.testing.assert_array_equal(x, values + 1)


def test_an_input_of_what_a_library_may_refuse() -> None:
    """Were it overwritten it could not be computed again."""
    x, values = fresh(64, 128)
    y, z = x + 1, mx.linalg.inv(mx.zeros((30, 30)))
    del x
    for _ in range(2):
        with pytest.raises(RuntimeError, match="Singular"):
            mx.eval(y, z)
    np.testing.assert_array_equal(y, values + 1)


def test_overlapping_regions() -> None:
    x, values = fresh(64, 16)
    x[2:] = x[1:-1]
    mx.eval(x)
    values[2:] = values[1:-1].copy()
    np.testing.assert_array_equal(x, values)


def test_an_input_of_several_results() -> None:
    x, values = fresh(64, 128)
    a, b, c = x + 1, x * 2, mx.transpose(x) + 0
    del x
    mx.eval(a, b, c)
    for ours, expected in ((a, values + 1), (b, values * 2), (c, values.T)):
        np.testing.assert_array_equal(ours, expected)


def test_an_input_read_again_later() -> None:
    x, values = fresh(64, 128)
    y = x + 1
    z = mx.matmul(mx.matmul(y, y.T), x) + mx.flip(x, 0)
    del x
    mx.eval(y, z)
    expected = (values + 1).astype(np.float64) @ (values + 1).T @ values + values[::-1]
    np.testing.assert_array_equal(y, values + 1)
    np.testing.assert_allclose(z, expected, rtol=1e-4, atol=1e-2)


def test_an_input_that_a_later_loop_over_the_row_reads() -> None:
    """One kernel: a loop for the total, which stores what it is of too, and one that reads the input again."""
    x, values = fresh(64, 300)
    stored = mx.exp(x)
    total = mx.sum(stored * stored, 1, keepdims=True)
    distance = mx.sum(mx.abs(x - total), 1)
    del x, total
    mx.eval(stored, distance)
    wide = np.exp(values.astype(np.float64))
    np.testing.assert_allclose(stored, wide, rtol=1e-5)
    np.testing.assert_allclose(distance, np.abs(values - (wide**2).sum(1, keepdims=True)).sum(1), rtol=1e-5)


def test_one_argument_twice() -> None:
    f = mx.compile(lambda a, b: (a + 1, b * 2))
    x, values = fresh(64, 64)
    results = f(x, x)
    del x
    mx.eval(results)
    np.testing.assert_array_equal(results[0], values + 1)
    np.testing.assert_array_equal(results[1], values * 2)


def test_an_argument_passed_through() -> None:
    f = mx.compile(lambda a: (a + 1, a))
    x, values = fresh(64, 64)
    plus, same = f(x)
    del x
    mx.eval(plus, same)
    np.testing.assert_array_equal(plus, values + 1)
    np.testing.assert_array_equal(same, values)


def test_gradients_see_what_was_there() -> None:
    def f(x: mx.array) -> mx.array:
        y = mx.square(x) + 0
        mx.eval(y)
        y[2:5] = 0
        mx.eval(y)
        return mx.sum(y * y)

    x, values = fresh(64, 16)
    expected = 4 * values**3
    expected[2:5] = 0
    np.testing.assert_allclose(mx.grad(f)(x), expected, rtol=1e-5, atol=1e-6)


def test_what_a_kernel_reads_for_another_result_stays() -> None:
    """All elements of the base are equal: the result is written before the index is read."""
    values = np.arange(34, dtype=np.float32).reshape(2, 17) + 100

    def f(x: mx.array) -> mx.array:
        return x[mx.array([1, 0, 0]), mx.array([3, 6, 15])]

    g = mx.compile(f)
    x = mx.array(values)
    np.testing.assert_array_equal(g(mx.zeros_like(x)), [0, 0, 0])
    np.testing.assert_array_equal(g(x), values[[1, 0, 0], [3, 6, 15]])

    index, other = mx.array([1, 0, 1]) + 0, mx.array([3, 6, 15]) + 0
    mx.eval(index, other)
    place = index * 17 + other
    taken = mx.take(mx.broadcast_to(mx.array(2.5), (34,)), place)
    del index, other
    mx.eval(taken, place)
    assert taken.tolist() == [2.5, 2.5, 2.5]
    assert place.tolist() == [20, 6, 32]


# --- faults -----------------------------------------------------------------------------------------------------------
def test_interrupted_after_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.__call__

    def interrupted(self: Run) -> list:
        run(self)
        raise KeyboardInterrupt

    x, values = fresh(64, 128)
    y = x + 1
    del x
    with monkeypatch.context() as patch:
        patch.setattr(Run, "__call__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            mx.eval(y)
    np.testing.assert_array_equal(y, values + 1)


def test_interrupted_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Run) -> list:
        raise KeyboardInterrupt

    x, values = fresh(64, 128)
    y = x + 1
    del x
    with monkeypatch.context() as patch:
        patch.setattr(Run, "__call__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            mx.eval(y)
    np.testing.assert_array_equal(y, values + 1)


def test_threads_that_want_the_same() -> None:
    for _ in range(50):
        x, values = fresh(256, 256)
        x = x + 1
        barrier = threading.Barrier(4)
        found: list[np.ndarray] = []

        def look(x: mx.array = x, barrier: threading.Barrier = barrier, found: list = found) -> None:
            barrier.wait()
            mx.eval(x)
            found.append(np.array(x))

        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for array in found:
            np.testing.assert_array_equal(array, values + 1)


def test_what_a_template_holds() -> None:
    x = mx.array(np.arange(225, dtype=np.float32).reshape(15, 15))
    one = mx.compile(lambda v: v[mx.array([6]), mx.array([10])])  # the positions are computed from arrays of its own
    two = mx.compile(lambda v: one(v) * 2)
    assert two(mx.zeros_like(x)).item() == 0  # evaluated with what the argument is computed from
    assert (one(x).item(), two(x).item()) == (100, 200)


def test_results_of_a_call_that_a_template_holds() -> None:
    positions = mx.compile(lambda a: a * 2 + 1)

    def function() -> Callable:
        inner = positions(mx.arange(3) + 1)
        return mx.compile(lambda v: mx.take(v, inner).astype(mx.int32))

    f = function()
    assert f(mx.zeros(9)).tolist() == [0, 0, 0]
    assert f(mx.arange(9) * 1.0).tolist() == [3, 5, 7]


@pytest.mark.parametrize("hold_middle", [False, True])
def test_results_of_calls_that_are_not_asked_for(hold_middle: bool) -> None:
    step = mx.compile(lambda p, v, g: (p - v * 0.5, v * 0.5 + g))
    p, v, *gradients = (mx.array(np.full(100, float(i), np.float32)) for i in range(1, 6))
    mx.eval(p, v, gradients)
    expected_p, expected_v = np.full(100, 1.0), np.full(100, 2.0)
    middle = None
    for i, g in enumerate(gradients):
        p, v = step(p, v, g)
        expected_p, expected_v = expected_p - expected_v * 0.5, expected_v * 0.5 + (i + 3)
        if hold_middle and i == 1:
            middle, expected_middle = v, expected_v
    del g, gradients
    shown = p * 1.0
    mx.eval(shown)  # and nothing else: what v and middle are computed from may not be overwritten
    assert shown.tolist() == expected_p.tolist()
    assert v.tolist() == expected_v.tolist()
    if middle is not None:
        assert middle.tolist() == expected_middle.tolist()
