"""One plan for graphs of one structure: what is bound for other sizes is made from what was bound last."""

from __future__ import annotations

import gc
import random
from collections import OrderedDict

import numpy as np
import pytest

import arrax.core as mx
from arrax.runtime import cpu, executor, plans

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def no_plans_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "_plans", OrderedDict())
    monkeypatch.setattr(executor, "_bound", OrderedDict())


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def step(x: mx.array, w: mx.array, keys: mx.array, offset: int) -> list[mx.array]:
    """Some work on ``x`` that does not depend on the number of keys, and some that does."""
    hidden = mx.tanh(x @ w)
    hidden = hidden / (1 + mx.abs(hidden).sum(axis=-1, keepdims=True))
    scores = mx.softmax((hidden[:, None, :] * keys).sum(axis=-1) * 0.3, axis=-1)
    return [hidden, scores, scores @ keys, mx.sort(scores, axis=-1), keys[offset:].max(axis=0)]


def expected(x: np.ndarray, w: np.ndarray, keys: np.ndarray, offset: int) -> list[np.ndarray]:
    x, w, keys = (a.astype(np.float64) for a in (x, w, keys))
    hidden = np.tanh(x @ w)
    hidden = hidden / (1 + np.abs(hidden).sum(axis=-1, keepdims=True))
    scores = np.exp(hidden @ keys.T * 0.3)
    scores /= scores.sum(axis=-1, keepdims=True)
    return [hidden, scores, scores @ keys, np.sort(scores, axis=-1), keys[offset:].max(axis=0)]


def check(rows: int, width: int, keys: int, offset: int) -> None:
    x, w, k = normal(rows, width), normal(width, width), normal(keys, width)
    found = step(mx.array(x), mx.array(w), mx.array(k), offset)
    mx.eval(found)
    for got, value in zip(found, expected(x, w, k, offset), strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-4, atol=1e-5)


def test_sizes_that_grow() -> None:
    for keys in range(70, 110):
        check(12, 40, keys, keys - 60)
    assert len(plans._plans) == 1
    assert len(executor._bound) == 40


def test_sizes_in_any_order() -> None:
    pick = random.Random(0)
    for _ in range(60):
        check(
            pick.choice([11, 12, 60, 200]),
            pick.choice([40, 48, 130]),
            pick.choice([70, 90, 900, 3001]),
            pick.choice([10, 20]),
        )
    assert len(plans._plans) < 12


def variants() -> int:
    return sum(map(len, plans._plans.values()))


def test_sizes_that_meet_by_accident_need_no_other_plan() -> None:
    for keys in range(45, 60):  # the width is 40, the rows are 50
        check(50, 40, keys, 10)
    assert variants() == 1


def test_sizes_that_are_equal_at_first() -> None:
    check(40, 40, 40, 4)
    assert variants() == 1
    check(40, 40, 41, 4)
    assert variants() == 2
    for rows, width, keys in ((42, 42, 42), (40, 40, 99), (64, 64, 64)):
        check(rows, width, keys, 4)
    assert variants() == 2
    check(42, 40, 99, 4)
    assert variants() == 3


def test_a_few_plans_for_each_structure() -> None:
    for rows, width, keys in ((40, 40, 40), (40, 40, 41), (40, 41, 40), (41, 40, 40), (40, 41, 42), (40, 40, 40)):
        check(rows, width, keys, 4)
    assert len(plans._plans) == 1
    assert variants() <= plans.VARIANTS


def test_what_does_not_depend_on_them_is_taken_over() -> None:
    for keys in (70, 71):
        check(12, 40, keys, 10)
    first, second = executor._bound.values()
    assert isinstance(first, cpu.Bound)
    assert isinstance(second, cpu.Bound)
    shared = [a is b for a, b in zip(first._launches, second._launches, strict=True) if a is not None]
    assert any(shared)
    assert not all(shared)
    assert first._place is second._place  # the arrays are a little longer, and so is their memory


def test_places_that_move() -> None:
    """The arrays before the others grow: those do not stay where they were."""
    for keys in (70, 2000, 70, 40_000, 300):
        check(12, 40, keys, 10)
    assert len(plans._plans) == 1


def test_what_does_not_depend_on_them_but_moves() -> None:
    """One array grows, and the other one, of which nothing else changes, lies behind it in the memory between."""
    for n in (100, 5000, 90_000, 300):
        one, two = normal(n), normal(400)
        first = mx.sort(mx.array(one))
        second = mx.sort(mx.array(two) + mx.min(first) * 0)
        found = [mx.exp(second) + mx.flip(second, 0), first + mx.sum(second)]
        del first, second
        mx.eval(found)
        one, two = np.sort(one), np.sort(two)
        np.testing.assert_allclose(found[0], np.exp(two) + two[::-1], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found[1], one + two.sum(dtype=np.float64), rtol=1e-5, atol=1e-4)
    assert len(plans._plans) == 1


def test_other_numbers_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    for keys, threads in ((3000, "1"), (3001, "2"), (3002, "1")):
        monkeypatch.setenv("ARRAX_THREADS", threads)
        check(64, 40, keys, 10)
    workers = [bound.workers for bound in executor._bound.values() if bound is not None]
    assert workers == [1, 2, 1]


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_of_cycles_is_as_it_was(enabled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def seen(*args: object) -> None:
        states.append(gc.isenabled())
        raise KeyboardInterrupt

    states: list[bool] = []
    was = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        check(12, 40, 70, 10)
        assert gc.isenabled() == enabled
        monkeypatch.setattr(plans, "build", seen)
        with pytest.raises(KeyboardInterrupt):
            mx.eval(mx.exp(mx.ones((33, 34))) * 2.0)
        assert gc.isenabled() == enabled
        assert states == [False]
    finally:
        (gc.enable if was else gc.disable)()
