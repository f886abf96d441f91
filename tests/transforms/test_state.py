"""What a traced function changes is as before when it raises, or is interrupted."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

import arrax.core as mx
import arrax.nn as nn
import arrax.optimizers as optim
from arrax.runtime.executor import tracing
from arrax.transforms import snapshot
from arrax.utils import tree_flatten


class Interrupt(BaseException):
    pass


ERRORS = [ValueError, KeyboardInterrupt, Interrupt]


def frozen(tree: Any) -> Any:
    return [(name, id(leaf), leaf.tolist()) for name, leaf in tree_flatten(tree) if isinstance(leaf, mx.array)]


def fails(function: Callable[..., Any], error: type[BaseException], *args: Any) -> None:
    with pytest.raises(error, match="stop"):
        function(*args)
    assert not tracing.depth


class Training:
    """A step that changes whatever it can before it raises."""

    def __init__(self, error: type[BaseException]) -> None:
        self.model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm(2))
        self.optimizer = optim.Adam(learning_rate=0.1)
        self.optimizer.init(self.model.trainable_parameters())
        self.other: dict[str, Any] = {"list": [mx.array(1.0)], "dict": {}, "count": 0}
        self.error = error
        mx.eval(self.model.state, self.optimizer.state)

    @property
    def state(self) -> list:
        return [self.model.state, self.optimizer.state, mx.random.state, self.other]

    def step(self, x: mx.array) -> None:
        loss = nn.value_and_grad(self.model, lambda x: (self.model(x) * mx.random.normal((2,))).sum())
        value, gradients = loss(x)
        self.optimizer.update(self.model, gradients)
        self.other["list"].append(x)
        self.other["list"][0] = x
        self.other["dict"]["new"] = self.other["value"] = value
        self.other["count"] += 1
        raise self.error("stop")


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("captured", ["inputs", "outputs", "both"])
def test_captured_state(captured: str, error: type[BaseException]) -> None:
    t = Training(error)
    before = frozen(t.state)
    names = {"both": ["inputs", "outputs"]}.get(captured, [captured])
    compiled = mx.compile(t.step, **dict.fromkeys(names, t.state))
    for _ in range(2):
        fails(compiled, error, mx.ones((3, 2)))
        assert frozen(t.state) == before and t.other["count"] == 0 and list(t.other) == ["list", "dict", "count"]


TRACES: dict[str, Callable[..., Any]] = {
    "compile": mx.compile,
    "compile of a part": lambda f: mx.compile(functools.partial(f)),
    "compile of a gradient": lambda f: mx.compile(mx.grad(f)),
    "vmap": mx.vmap,
    "vmap of a gradient": lambda f: mx.vmap(mx.grad(f)),
    "checkpoint": lambda f: mx.compile(mx.checkpoint(f)),
    "export": lambda f: lambda x: mx.export_function(lambda _: None, f, x),
}


@pytest.mark.parametrize("name", TRACES)
@pytest.mark.parametrize("error", ERRORS)
def test_state_that_is_not_captured(name: str, error: type[BaseException]) -> None:
    t = Training(error)
    before = frozen(t.state[:2]), frozen(t.other)
    fails(TRACES[name](t.step), error, mx.ones((3, 3, 2)))
    fails(TRACES[name](lambda x: t.step(x)), error, mx.ones((3, 3, 2)))
    assert (frozen(t.state[:2]), frozen(t.other)) == before


@pytest.mark.parametrize("name", TRACES)
def test_arrays_that_are_changed_in_place(name: str) -> None:
    w = mx.array([1.0, 2.0, 3.0])

    def f(x):
        w[0] = x.sum()
        raise ValueError("stop")

    fails(TRACES[name](f), ValueError, mx.ones(3))
    assert w.tolist() == [1, 2, 3]


def test_data_are_not_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """A captured list is state whatever its length; a long one that a function merely knows is not."""
    monkeypatch.setattr(snapshot, "_LARGEST", 10)
    known, state = [mx.array(float(k)) for k in range(11)], [mx.array(float(k)) for k in range(11)]

    def f(x):
        known[0] = state[0] = x
        raise ValueError("stop")

    fails(mx.compile(f, inputs=state), ValueError, mx.array(7.0))
    assert state[0].item() == 0
    with pytest.raises(RuntimeError, match="without a primitive"):
        known[0].item()


def test_what_does_not_depend_on_an_argument_stays() -> None:
    calls: list[int] = []
    table: dict[str, mx.array] = {}

    def f(x):
        calls.append(1)
        table["ones"] = mx.ones(2)
        raise ValueError("stop")

    fails(mx.compile(f), ValueError, mx.array(1.0))
    assert calls == [1] and table["ones"].tolist() == [1, 1]


@pytest.mark.parametrize("error", ERRORS)
def test_arguments_of_a_gradient(error: type[BaseException]) -> None:
    first, second = {"w": mx.array(1.0)}, [mx.array(2.0)]
    before = frozen([first, second])

    def f(d, e):
        d["w"] = d["new"] = d["w"] * e[0]
        e[0] = d["w"]
        e.append(d["w"])
        raise error("stop")

    for transform in (mx.grad, mx.value_and_grad):
        fails(transform(f), error, first, second)
        assert frozen([first, second]) == before and list(first) == ["w"] and len(second) == 1


@pytest.mark.parametrize("wrapper", [nn.value_and_grad, nn.utils.checkpoint])
def test_parameters_of_a_model(wrapper: Callable[..., Any]) -> None:
    model = nn.Linear(2, 2)
    before = frozen(model.parameters())

    def f(x):
        model.update({"weight": model.weight * x.sum(), "bias": model.bias * 2})
        raise ValueError("stop")

    fails(mx.grad(wrapper(model, f)) if wrapper is nn.utils.checkpoint else wrapper(model, f), ValueError, mx.ones(2))
    assert frozen(model.parameters()) == before


def test_a_step_that_is_refused_leaves_the_state() -> None:
    state = {"w": mx.array([1.0, 2.0])}
    x = mx.array([3.0, 4.0]) + 0

    def f(a):
        state["w"] = state["w"] * a
        return state["w"] + x  # an argument that is captured as well

    compiled = mx.compile(f, inputs=state, outputs=state)
    with pytest.raises(ValueError, match="uncaptured inputs"):
        compiled(x)
    assert state["w"].tolist() == [1, 2]
    assert compiled(mx.array([1.0, 1.0])).tolist() == [4, 6] and state["w"].tolist() == [1, 2]


class Pair(NamedTuple):
    first: Any
    second: Any


def test_named_tuples_in_the_state() -> None:
    state = {"pair": Pair(mx.array(1.0), [mx.array(2.0)])}

    def f(x):
        state["pair"] = Pair(x, state["pair"].second)
        state["pair"].second[0] = x
        raise ValueError("stop")

    fails(mx.compile(f, inputs=state, outputs=state), ValueError, mx.array(5.0))
    assert type(state["pair"]) is Pair and state["pair"].first.item() == 1 and state["pair"].second[0].item() == 2
