"""What is launched together: only neighbours that have nothing to do with each other."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

import arrax.core as mx
import arrax.optimizers as optim
from arrax.compiler.donation import Access
from arrax.compiler.stages import LONGEST, stages
from arrax.runtime import cpu, executor


def cut(*accesses: tuple[set[int], set[int]], alone: tuple[int, ...] = (), donations: tuple = ()) -> list[list[int]]:
    steps = [Access(reads, writes) for reads, writes in accesses]
    return [list(s) for s in stages(steps, [t in alone for t in range(len(steps))], donations)]


def test_independent_steps_share_a_stage() -> None:
    assert cut(({1}, {2}), ({1}, {3}), ({4}, {5})) == [[0, 1, 2]]
    assert cut() == []


@pytest.mark.parametrize(
    "second", [({2}, {3}), ({4}, {1}), ({4}, {2})], ids=["reads it", "overwrites it", "writes too"]
)
def test_dependent_steps_do_not(second: tuple[set[int], set[int]]) -> None:
    assert cut(({1}, {2}), second) == [[0], [1]]


def test_a_step_waits_for_all_of_the_stage() -> None:
    assert cut(({1}, {2}), ({1}, {3}), ({2}, {4}), ({3}, {5})) == [[0, 1], [2, 3]]


def test_what_may_be_written_over_is_written() -> None:
    steps = (({1}, {2}), ({3}, {4}))
    assert cut(*steps) == [[0, 1]]
    assert cut(*steps, donations=((1, 4),)) == [[0], [1]]
    assert cut(*steps, donations=((1, 2), (3, 4))) == [[0, 1]]


def test_steps_that_stay_alone() -> None:
    assert cut(({1}, {2}), ({1}, {3}), ({1}, {4}), ({1}, {5}), alone=(1,)) == [[0], [1], [2, 3]]


def test_stages_end() -> None:
    assert [len(s) for s in cut(*[({0}, {k}) for k in range(1, LONGEST + 3)])] == [LONGEST, 2]


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], list[int]]:
    """For each segment of the plans that a function makes, the number of its tasks."""

    def count(function: Callable[[], object]) -> list[int]:
        found: list[int] = []
        close = cpu.Bound._close

        def counting(self: cpu.Bound, rows: list, *rest: list) -> None:
            found.append(len(rows))
            close(self, rows, *rest)

        monkeypatch.setattr(cpu.Bound, "_close", counting)
        function()
        monkeypatch.setattr(cpu.Bound, "_close", close)
        return found

    return count


@pytest.mark.parametrize(
    ("optimizer", "most"),
    [(optim.SGD(0.1, momentum=0.9), 1), (optim.Adam(0.1), 1), (optim.AdamW(0.1), 1), (optim.Lion(0.1), 2),
     (optim.RMSprop(0.1), 1), (optim.Adagrad(0.1), 1), (optim.AdaDelta(0.1), 1), (optim.Adamax(0.1), 1)],
    ids=["SGD", "Adam", "AdamW", "Lion", "RMSprop", "Adagrad", "AdaDelta", "Adamax"],
)  # fmt: skip
def test_an_update_of_all_parameters_is_one_launch(optimizer: optim.Optimizer, most: int, launches: Callable) -> None:
    rng = np.random.default_rng(0)
    shapes = [(9 + k, 31) if k % 2 else (40 + k,) for k in range(20)]
    parameters = {str(k): mx.array(rng.normal(size=s).astype(np.float32)) for k, s in enumerate(shapes)}
    gradients = {str(k): mx.array(rng.normal(size=s).astype(np.float32)) for k, s in enumerate(shapes)}
    optimizer.init(parameters)
    mx.eval(parameters, gradients, optimizer.state)

    @partial(mx.compile, inputs=optimizer.state, outputs=optimizer.state)
    def update(gradients: dict[str, mx.array], parameters: dict[str, mx.array]) -> dict[str, mx.array]:
        return optimizer.apply_gradients(gradients, parameters)

    def step() -> None:
        mx.eval(update(gradients, parameters), optimizer.state)

    step()  # the first one makes states
    assert sum(launches(step)) <= most


@pytest.mark.parametrize("size", [3, 700, 50_000])
def test_together_is_as_one_after_another(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small ones, ones of several pieces, and both: forty sums of products, maps and copies."""
    monkeypatch.setattr(executor, "SMALL", 0)
    rng, pick = np.random.default_rng(size), random.Random(size)
    values = [rng.normal(size=(pick.choice([1, 7]), size)).astype(np.float32) for _ in range(40)]
    arrays = [mx.array(v) for v in values]
    results = [mx.exp(-x) if k % 3 else x.sum(axis=1) if k % 2 else x[:, ::2] + 1 for k, x in enumerate(arrays)]
    mx.eval(results)
    for k, (v, got) in enumerate(zip(values, results, strict=True)):
        expected = np.exp(-v) if k % 3 else v.astype(np.float64).sum(axis=1) if k % 2 else v[:, ::2] + 1
        np.testing.assert_allclose(np.array(got), expected, rtol=2e-5, atol=1e-3 if k % 2 else 1e-6)


def test_an_input_is_not_overwritten_while_a_neighbour_reads_it() -> None:
    for _ in range(20):
        x = mx.arange(300_000, dtype=mx.float32) + 0
        mx.eval(x)
        total, larger, other = x.sum(), x + 1, mx.exp(-x)
        del x
        mx.eval(total, larger, other)
        assert larger[5].item() == 6
        assert np.isclose(total.item(), 300_000 * 299_999 / 2, rtol=1e-5)
        assert np.isclose(other[1].item(), np.exp(-1), rtol=1e-6)
