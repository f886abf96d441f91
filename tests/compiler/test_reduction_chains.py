"""Long chains of reductions that nobody evaluates: kernels of a few loops, planned in time linear in their number."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import arrax.core as mx
import arrax.nn as nn
from arrax.compiler import schedule
from arrax.compiler.group import Group
from arrax.compiler.index import Symbols
from arrax.compiler.kernel import Loop, format_kernel, walk
from arrax.compiler.lower import Task
from arrax.compiler.pipeline import Plan, build
from arrax.compiler.schedule import Scheduler
from arrax.graph.primitive import EXPENSIVE
from arrax.graph.template import inlined
from arrax.runtime import executor

Step = Callable[[mx.array], mx.array]

STEPS: dict[str, Step] = {
    "softmax": lambda x: mx.softmax(x, -1),
    "softmax of columns": lambda x: mx.softmax(x, 0),
    "softmax of either": lambda x: mx.softmax(mx.softmax(x, 0), 1),
    "softmax of the transposed": lambda x: mx.softmax(x.T, -1).T,
    "mean": lambda x: x - x.mean(-1, keepdims=True) * 0.5,
    "mean of all": lambda x: x - x.mean() * 0.5,
    "layer norm": lambda x: mx.fast.layer_norm(x, None, None, 1e-5) + x,
    "norm": lambda x: x / mx.linalg.norm(x, axis=-1, keepdims=True) + x,
    "tanh": lambda x: mx.tanh(x) - mx.tanh(x).sum(-1, keepdims=True),
    "argmax": lambda x: x + x.argmax(-1, keepdims=True),
    "scan": lambda x: mx.softmax(mx.cumsum(x, -1), -1),
    "scatter": lambda x: x.at[3].add(x.mean(0)),
}


def chain(step: Step, times: int, *, evaluated: bool = False) -> mx.array:
    x = mx.array(np.random.default_rng(0).standard_normal((20, 30)).astype(np.float32))
    for _ in range(times):
        x = step(x)
        if evaluated:
            mx.eval(x)
    return x


def plan(*outputs: mx.array) -> Plan:
    nodes, _ = inlined([x._node for x in outputs])
    order, _, _ = executor._linearise(nodes)
    return build(order, nodes)


def kernels(p: Plan) -> list[Any]:
    return [s.kernel for s in p.steps if isinstance(s, Task)]


def loops(kernel: Any) -> int:
    """How many loops over columns a kernel runs, one after the other."""
    return sum(isinstance(s, Loop) and s.kind != "parallel" for s, _ in walk(kernel.body))


def calls(f: Callable[[], object]) -> int:
    """How many functions are called: what a walk over a graph costs, in steps."""
    count = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        f()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("name", STEPS)
def test_kernels_are_few_and_have_few_loops(name: str) -> None:
    once, many = (kernels(plan(chain(STEPS[name], n))) for n in (10, 40))
    assert max(map(loops, many)) <= 8 + 1  # one more where the loop over columns is a tile's
    assert len(many) <= 4 * len(once)
    assert len({format_kernel(k) for k in many}) <= len({format_kernel(k) for k in once}) + 2


@pytest.mark.parametrize("name", STEPS)
def test_planning_is_linear(name: str) -> None:
    short, long = (calls(lambda n=n: plan(chain(STEPS[name], n))) for n in (10, 40))
    assert long < 4.2 * short


def residual(n: int) -> list[mx.array]:
    """A gradient step through blocks whose inputs later groups want as well."""

    def loss(weights: list[mx.array]) -> mx.array:
        x = mx.ones((20, 9))
        for w in weights:
            x = x + mx.tanh(mx.fast.rms_norm(x, None, 1e-5) @ w)
        return x.sum()

    weights = [mx.full((9, 9), 0.1) for _ in range(n)]
    gradients = mx.grad(loss)(weights)
    norm = mx.sqrt(sum((g * g).sum() for g in gradients))
    return [w - 0.1 * g / norm for w, g in zip(weights, gradients, strict=True)]


def test_planning_a_deep_model_and_its_derivative_is_linear() -> None:
    short, long = (calls(lambda n=n: plan(*residual(n))) for n in (15, 60))
    assert long < 4.4 * short


def test_who_waits_for_whom_is_found_out_in_a_bounded_number_of_steps() -> None:
    order = Scheduler([], {}, set(), set(), Symbols(), {})
    order.groups = [Group(i, "loop", [], after={i + 1}) for i in range(50_000)]
    order.groups[-1].after.clear()
    assert not order._may_wait(49_900, {3})
    assert order._may_wait(0, {100})
    assert not order._may_wait(49_900, set())
    assert calls(lambda: order._may_wait(0, {49_000})) < 2000
    assert order._may_wait(0, {49_000})  # true as well where it was not looked for long enough


def test_numbers_do_not_depend_on_how_long_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    known = residual(6)
    mx.eval(known)
    monkeypatch.setattr(schedule, "MAX_WALK", 0)
    for a, b in zip(known, residual(6), strict=True):
        np.testing.assert_allclose(np.array(a), np.array(b), rtol=1e-6)


@pytest.mark.parametrize("name", STEPS)
def test_expensive_values_are_computed_in_two_loops_at_most(name: str) -> None:
    """More costs more than memory does: longer chains would be slower than their steps one by one."""
    p = plan(chain(STEPS[name], 12))
    for group in p.groups:
        for position, used in group.loops.items():
            columns = group.kind == "loop" and p.order[position].size > 30  # not what is computed once a row
            if p.order[position].prim.cost >= EXPENSIVE and p.order[position].prim.kind == "pointwise" and columns:
                assert used.bit_count() <= 2 or position in p.stored


def test_what_is_one_kernel_stays_one() -> None:
    x = chain(STEPS["mean"], 1, evaluated=True)
    w = x * 0.5
    mx.eval(w)

    def by_hand(x: mx.array) -> mx.array:
        e = mx.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    assert len(kernels(plan(by_hand(x)))) == 1
    assert len(kernels(plan(mx.softmax(mx.fast.layer_norm(x, None, None, 1e-5), -1)))) == 1
    assert len(kernels(plan(mx.grad(lambda x: nn.losses.cross_entropy(x, mx.arange(20), reduction="sum"))(x)))) == 1
    assert len(kernels(plan(mx.grad(lambda x: (mx.fast.layer_norm(x, None, None, 1e-5) * w).sum())(x)))) == 1


@pytest.mark.parametrize("name", STEPS)
def test_chains_and_their_steps_are_equal(name: str) -> None:
    np.testing.assert_array_equal(np.array(chain(STEPS[name], 12)), np.array(chain(STEPS[name], 12, evaluated=True)))
