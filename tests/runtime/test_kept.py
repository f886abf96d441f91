"""What an evaluation computes on the way is kept where somebody holds it."""

from __future__ import annotations

import pytest

import arrax.core as mx
from arrax.runtime import executor


def test_held_results_on_the_way_are_evaluated() -> None:
    x = mx.random.normal((40, 40))
    held = mx.tanh(x) * 2
    view = mx.exp(x).reshape(1600)
    mx.eval((held + view.reshape(40, 40)).sum())
    assert held._node.buffer is not None
    # a view needs no memory of its own once it shows data
    assert view._node.inputs[0].buffer is not None


def test_a_carried_array_is_not_computed_from_the_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    start = executor._start
    monkeypatch.setattr(executor, "_start", lambda order, *rest: sizes.append(len(order)) or start(order, *rest))
    x = mx.random.normal((30, 30))
    state = x
    for _ in range(20):
        state = mx.concatenate([state[1:], (state[:1] @ x) * 0.1])
        state.sum().item()
    assert len(set(sizes[5:])) == 1


def test_nothing_is_kept_that_nobody_holds() -> None:
    x = mx.random.normal((40, 40))
    mx.eval(x)
    y = mx.tanh(x) * 2 + 1
    order, _, uses = executor._linearise([y._node])
    assert executor._kept(order, [y._node], uses) == []


def test_of_a_wanted_view_only_what_it_shows_is_computed() -> None:
    x = mx.random.normal((40, 40))
    mx.eval(x)
    y = mx.flatten(mx.tanh(x))[100:200]
    order, _, uses = executor._linearise([y._node])
    assert executor._kept(order, [y._node], uses) == []
