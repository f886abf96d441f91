"""A compiled call computes nothing that its wanted results do not use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tests.transforms.oracle import Program, agree

import arrax.core as mx
import arrax.optimizers as optim
from arrax.runtime import executor


def failing(m: ModuleType) -> Any:
    """What cannot be computed."""
    return m.linalg.inv(m.zeros((3, 3)), stream=m.cpu)


def second(m: ModuleType, f: Callable[..., Any], *args: Callable[[], Any]) -> list:
    """The first result of two calls; whether the second can be had."""
    compiled = m.compile(f)
    found: list[Any] = []
    for _ in range(2):
        first, other = compiled(*[a() for a in args])
        found.append(first.tolist())
        try:
            m.eval(other)
            found.append(other)
        except RuntimeError:
            found.append("fails")
    return found


def reading(m: ModuleType, state: dict) -> list:
    compiled = m.compile(lambda a: a + state["used"], inputs=state)
    return [compiled(m.array(float(k))).item() for k in range(3)]


def updating(m: ModuleType, state: dict) -> list:
    def f(a):
        state["used"] = state["used"] + a
        return state["used"] * 2

    compiled = m.compile(f, inputs=state, outputs=state)
    return [*(compiled(m.array(float(k))).item() for k in range(3)), state["used"].item()]


def captured(m: ModuleType, w: Any) -> list:
    return second(m, lambda a: (a + 1, a * w), lambda: m.array(1.0))


def one(m: ModuleType) -> Callable[[], Any]:
    return lambda: m.array(1.0)


SAME: dict[str, Program] = {
    "argument": lambda m: m.compile(lambda a, b: a + 1)(m.array(1.0), failing(m)),
    "argument in a tree": lambda m: m.compile(lambda d: d["a"] + 1)({"a": m.array(1.0), "b": [failing(m)]}),
    "argument by keyword": lambda m: m.compile(lambda a, b: a + 1)(m.array(1.0), b=failing(m)),
    "argument, not the first": lambda m: m.compile(lambda a, b, c: c - b)(failing(m), m.array(1.0), m.array(3.0)),
    "only its shape": lambda m: m.compile(lambda a, b: a + b.shape[0])(m.array(1.0), failing(m)),
    "one of two": lambda m: second(m, lambda a, b: (a + 1, b * 2), one(m), lambda: failing(m)),
    "one of two, passed on": lambda m: second(m, lambda a, b: (a, b), one(m), lambda: failing(m)),
    "one of two, of data": lambda m: second(
        m, lambda a, b: (a + 1, m.linalg.inv(b, stream=m.cpu)), one(m), lambda: m.zeros((2, 2))
    ),
    "one of two, both of one argument": lambda m: second(
        m, lambda b: (b.sum(), m.linalg.inv(b * 2, stream=m.cpu) + b), lambda: m.zeros((2, 2))
    ),
    "both can be had": lambda m: second(m, lambda a, b: (a + b, b * 2), one(m), one(m)),
    "captured input": lambda m: reading(m, {"used": m.array(2.0), "other": failing(m)}),
    "captured state": lambda m: updating(m, {"other": failing(m), "used": m.array(2.0)}),
    "captured constant": lambda m: captured(m, failing(m)),
    "of a call": lambda m: (lambda f: f(*f(m.array(1.0), failing(m)))[0])(m.compile(lambda a, b: (a + 1, b * 2))),
    "a chain of calls": lambda m: (lambda f: f(*f(*f(m.array(1.0), failing(m)))))(
        m.compile(lambda a, b: (a + 1, b * 2))
    )[0],
    "of several": lambda m: (lambda f: f(m.array(1.0), failing(m))[0] + f(m.array(2.0), m.array(3.0))[1])(
        m.compile(lambda a, b: (a + 1, b * 2))
    ),
}


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("name", SAME)
def test_agrees_with_the_oracle(name: str, small: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not small:
        monkeypatch.setattr(executor, "SMALL", 0)
    agree(SAME[name])


def test_imported_functions(tmp_path: Path) -> None:
    path = tmp_path / "f"
    mx.export_function(path, lambda a, b: (a + 1, b * 2), mx.array(1.0), mx.zeros((3, 3)))
    first, other = mx.import_function(path)(mx.array(1.0), failing(mx))
    assert first.item() == 2
    with pytest.raises(RuntimeError):
        mx.eval(other)


def test_learning_rates_of_a_state_that_is_only_read() -> None:
    optimizer = optim.SGD(learning_rate=0.1)
    step = mx.compile(lambda p, g: optimizer.apply_gradients(g, p), inputs=optimizer.state)
    found = []
    for rate in (0.1, 0.5, 0.25):
        optimizer.learning_rate = rate
        found.append(step({"w": mx.array([1.0, 2.0])}, {"w": mx.array([1.0, 2.0])})["w"].tolist())
    assert np.allclose(found, [[0.9, 1.8], [0.5, 1.0], [0.75, 1.5]])


@pytest.mark.parametrize("then", [lambda a: a, lambda a: a - 1, lambda a: a[1:] * 3])
def test_nothing_is_overwritten_that_another_result_needs(
    then: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call alone refers to its argument, and a result that is left needs it."""
    monkeypatch.setattr(executor, "SMALL", 0)
    f = mx.compile(lambda a, b: (a * 2, a + mx.linalg.inv(b)))
    values = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    for _ in range(3):
        first, other = f(mx.array(values), mx.array(np.eye(64, dtype=np.float32)))
        first = then(first)
        np.testing.assert_allclose(np.array(first), then(values * 2), rtol=1e-6)
        np.testing.assert_allclose(np.array(other), values + np.eye(64, dtype=np.float32), rtol=1e-6)


def test_a_state_of_which_a_part_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of one call is needed by the next one, together with what both were computed from."""
    monkeypatch.setattr(executor, "SMALL", 0)

    def losses(wrap: Callable[..., Any]) -> list[float]:
        state = {"w": mx.array([1.0, 2.0]), "v": mx.zeros(2)}

        def step(a):
            gradient = state["w"] * a
            state["v"] = 0.9 * state["v"] + gradient
            state["w"] = state["w"] - 0.1 * state["v"]
            return gradient.sum()

        f = wrap(step, state)
        return [f(mx.array(a)).item() for a in ([1.0, -1.0], [0.5, 2.0], [1.0, 1.0], [2.0, 0.5])]

    compiled = losses(lambda f, state: mx.compile(f, inputs=state, outputs=state))
    np.testing.assert_allclose(compiled, losses(lambda f, _: f), rtol=1e-6)


def test_what_shares_its_inputs_is_computed_along() -> None:
    f = mx.compile(lambda a, b: (a + b, a * b, mx.linalg.inv(b)))
    first, along, later = f(mx.ones((2, 2)), mx.eye(2))
    mx.eval(first)
    assert along._node.buffer is not None and later._node.buffer is None
    assert later.tolist() == [[1, 0], [0, 1]]
