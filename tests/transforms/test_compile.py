from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tests.transforms.oracle import Program, agree

import arrax.core as mx
from arrax.graph.node import topological
from arrax.prims.leaf import const
from arrax.runtime import executor, plans
from arrax.runtime.executor import tracing
from arrax.transforms.compile import ENTRIES


def y(m: ModuleType):
    return m.array([1.0, 2.0])


def table(m: ModuleType):
    return m.arange(6).reshape(2, 3) * 1.0


class Count:
    """A function that counts how often it is traced."""

    def __init__(self, f: Callable[..., Any]) -> None:
        self.f = f
        self.calls = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return self.f(*args, **kwargs)


def traces(m: ModuleType, f: Callable[..., Any], *calls: tuple) -> list:
    counted = Count(f)
    compiled = m.compile(counted)
    return [[compiled(*args) for args in calls], counted.calls]


def captured(m: ModuleType, state: Any, update: Callable[[Any, Any], Any], *arguments: Any) -> list:
    """What a function that updates its state returns, and leaves, over several calls."""
    counted = Count(lambda a: update(state, a))
    compiled = m.compile(counted, inputs=state, outputs=state)
    results = []
    for a in arguments:
        results += [compiled(a), m.array(state["w"]) if isinstance(state, dict) else m.array(state[0])]
    return [results, state, counted.calls]


def assign(state: Any, key: Any, value: Any) -> None:
    state[key] = value


SAME: dict[str, Program] = {
    "one trace per shape": lambda m: traces(m, lambda a: a * 2, (y(m),), (y(m) + 1,), (m.array(2.0),), (y(m),)),
    "one trace per type": lambda m: traces(m, lambda a: a * 2, (y(m),), (y(m).astype(m.int32),), (y(m),)),
    "one trace per constant": lambda m: traces(m, lambda a, k: a * k, (y(m), 2), (y(m), 3), (y(m), 2)),
    "one trace per string": lambda m: traces(m, lambda a, k: a, (y(m), "s"), (y(m), "t"), (y(m), "s"), (y(m), None)),
    "one trace for NaN": lambda m: traces(m, lambda a, k: a * k, (y(m), float("nan")), (y(m), float("nan"))),
    "one trace per key": lambda m: traces(m, lambda d: sum(d.values()), ({"a": y(m)},), ({"b": y(m)},), ({"a": y(m)},)),
    "keyword": lambda m: m.compile(lambda a, k=1: a * k)(y(m), k=3),
    "keywords": lambda m: m.compile(lambda **k: k["a"] - k["b"])(b=y(m), a=y(m) * 2),
    "flag": lambda m: m.compile(lambda a, flag: a if flag else -a)(y(m), flag=False),
    "tree": lambda m: m.compile(lambda d: d["k"] * d["l"][0] * d["l"][1])({"k": y(m), "l": [y(m), 3]}),
    "results": lambda m: m.compile(lambda a: {"k": a, "l": [a * 2, (a,)], "n": (1, "s", None)})(y(m)),
    "result is a constant": lambda m: m.compile(lambda a: 3)(y(m)),
    "no arguments": lambda m: m.compile(lambda: m.ones(2))(),
    "captured constant": lambda m: (lambda w: traces(m, lambda a: a + w, (y(m),), (y(m),)))(m.array([5.0, 6.0])),
    "argument returned": lambda m: m.compile(lambda a, b: (b, a))(y(m), m.array(1.0)),
    "evaluating something else": lambda m: (lambda w: m.compile(lambda a: a * w.item())(y(m)))(m.array(3.0)),
    "gradient of it": lambda m: m.grad(m.compile(lambda a: (a * a).sum()))(y(m)),
    "it of a gradient": lambda m: m.compile(m.grad(lambda a: (a * a).sum()))(y(m)),
    "second": lambda m: m.compile(m.grad(m.compile(m.grad(m.sin))))(m.array(1.0)),
    "vmap of it": lambda m: m.vmap(m.compile(lambda a: (a * a).sum()))(table(m)),
    "it of a vmap": lambda m: m.compile(m.vmap(lambda a: (a * a).sum()))(table(m)),
    "vjp of it": lambda m: m.vjp(m.compile(lambda a, b: [a * b, a]), [y(m), y(m)], [y(m), y(m)]),
    "jvp of it": lambda m: m.jvp(m.compile(lambda a: a * a), [y(m)], [y(m)]),
    "nested": lambda m: m.compile(lambda a: m.compile(lambda b: b * 2)(a) + 1)(y(m)),
    "of its result": lambda m: (lambda f: f(f(f(y(m)))))(m.compile(lambda a: a * a + 1)),
    "state in a list": lambda m: captured(
        m, [m.array(1.0)], lambda s, a: assign(s, 0, s[0] + a.sum()), y(m), y(m), y(m)
    ),
    "state in a dict": lambda m: captured(
        m, {"w": m.array(1.0), "n": 3}, lambda s, a: assign(s, "w", s["w"] * a) or s["n"], m.array(2.0), m.array(3.0)
    ),
    "new key": lambda m: captured(
        m, {"w": m.array(1.0)}, lambda s, a: assign(s, "v", s["w"] * a) or assign(s, "w", a), y(m), y(m) * 2, y(m) * 3
    ),
    "in place": lambda m: captured(m, {"w": y(m)}, lambda s, a: assign(s["w"], 0, a.sum()), y(m), y(m) * 2),
    "number in the state": lambda m: captured(m, [m.array(1.0), 5], lambda s, a: assign(s, 0, s[0] * s[1]), y(m), y(m)),
    "only read": lambda m: (lambda s: [m.compile(lambda a: a * s[0], inputs=s)(y(m)), s])([m.array(3.0)]),
    "captures of other kinds": lambda m: [
        m.compile(lambda a: a, inputs=i)(y(m)) for i in (3, y(m), (y(m),), ["s", y(m)])
    ],
    "exception": lambda m: m.compile(lambda a: {}["k"])(y(m)),
    "object as argument": lambda m: m.compile(lambda a, o: a)(y(m), object()),
    "set as argument": lambda m: m.compile(lambda a, o: a)(y(m), {1}),
    "type as argument": lambda m: m.compile(lambda a, o: a)(y(m), m.float32),
    "no function": lambda m: m.compile(3),
    "item": lambda m: m.compile(lambda a: a * a.sum().item())(y(m)),
    "branch": lambda m: m.compile(lambda a: a if a.sum() > 0 else -a)(y(m)),
    "printing": lambda m: m.compile(lambda a: str(a))(y(m)),
    "list": lambda m: m.compile(lambda a: a.tolist())(y(m)),
    "eval": lambda m: m.compile(lambda a: m.eval(a * 2))(y(m)),
}


@pytest.mark.parametrize("name", SAME)
def test_agrees_with_the_oracle(name: str) -> None:
    agree(SAME[name])


def test_a_call_is_one_node_and_one_per_result() -> None:
    f = mx.compile(lambda a, b: tuple(mx.exp(a * b + i) for i in range(5)))
    a, b = y(mx), y(mx)
    f(a, b)
    results = f(a, b)
    nodes = [n for n in topological([r._node for r in results]) if n.prim is not const]  # constants are the function's
    assert len(nodes) == 2 + 1 + 5


def test_results_of_a_call_are_evaluated_together() -> None:
    first, second, _ = mx.compile(lambda a: (a + 1, a + 2, a + 3))(y(mx))
    unused = mx.compile(lambda a: (a + 1, a + 2))(y(mx))[0]
    mx.eval(first, unused)
    assert second._node.buffer is not None and not second._node.inputs


def test_calls_before_and_after_evaluation() -> None:
    f = mx.compile(lambda a, b: (a * b, a - b))
    p, q = f(y(mx), y(mx) * 3)
    r, s = f(p + 1, q)
    assert (r + s).tolist() == [-2, -35]
    assert p.tolist() == [3, 12] and q.tolist() == [-2, -4]
    assert r.tolist() == [-8, -52] and s.tolist() == [6, 17]


def test_long_chains_of_calls() -> None:
    f = mx.compile(lambda a: a + 1)
    a = mx.array(0.0)
    for _ in range(20_000):
        a = f(a)
    assert a.item() == 20_000
    for _ in range(20_000):
        a = f(a)
    del a
    gc.collect()


def test_old_traces_are_forgotten() -> None:
    counted = Count(lambda a, k: a * k)
    f = mx.compile(counted)
    for k in range(ENTRIES + 1):
        f(y(mx), k)
    f(y(mx), ENTRIES)
    assert counted.calls == ENTRIES + 1
    f(y(mx), 0)
    assert counted.calls == ENTRIES + 2


def test_true_one_and_one_point_zero_are_different_constants() -> None:
    f = mx.compile(lambda a, k: a * k)
    a = mx.array([1, 2])
    assert [f(a, k).dtype for k in (1, 1.0, True)] == [mx.int32, mx.float32, mx.int32]


def test_zeros_of_both_signs_are_different_constants() -> None:
    f = mx.compile(lambda a, k: a / k)
    assert [f(mx.array(1.0), k).item() for k in (0.0, -0.0, 0.0)] == [float("inf"), float("-inf"), float("inf")]


def test_containers_stay_the_same_objects() -> None:
    state = [{"a": mx.array(1.0)}, [mx.array(2.0)], (mx.array(3.0), "s")]
    first, second = state[0], state[1]

    def update(a):
        state[0]["a"] = state[0]["a"] + a
        state[1][0] = state[1][0] * a
        state[2] = (state[2][0] - a, "s")

    f = mx.compile(update, inputs=state, outputs=state)
    for _ in range(2):
        f(mx.array(2.0))
    assert state[0] is first and state[1] is second
    assert first["a"].item() == 5 and second[0].item() == 8 and state[2][0].item() == -1


def test_old_references_to_the_state_keep_their_values() -> None:
    state = {"w": mx.array([1.0, 2.0])}
    old = state["w"]

    def update(a):
        state["w"][0] = a

    f = mx.compile(update, inputs=state, outputs=state)
    f(mx.array(5.0))
    f(mx.array(6.0))
    assert old.tolist() == [1, 2] and state["w"].tolist() == [6, 2]


def test_one_container_reached_twice() -> None:
    inner = {"w": mx.array(1.0)}
    state = [inner, {"alias": inner}]

    def update(a):
        inner["w"] = inner["w"] + a
        return inner["w"]

    f = mx.compile(update, inputs=state, outputs=state)
    assert [f(mx.array(2.0)).item() for _ in range(3)] == [3, 5, 7]
    assert inner["w"].item() == 7


def test_state_is_put_back_after_an_error() -> None:
    state = [mx.array([1.0, 2.0])]
    w = state[0]

    def update(a):
        state[0][0] = 5.0
        raise KeyError("stop")

    with pytest.raises(KeyError):
        mx.compile(update, inputs=state, outputs=state)(mx.array(1.0))
    assert state[0] is w and w.tolist() == [1, 2] and not tracing.depth


def test_objects_with_state() -> None:
    class Module(dict):
        def __getattr__(self, name):
            return self[name]

    model, momentum = Module(w=mx.array([1.0, 2.0]), sub=Module(b=mx.array(0.5))), {"v": mx.zeros(2)}

    def loss(w, b, a):
        return ((w * a + b) ** 2).sum()

    def step(a):
        value, (gw, gb) = mx.value_and_grad(loss, argnums=(0, 1))(model.w, model.sub.b, a)
        momentum["v"] = 0.9 * momentum["v"] + gw
        model["w"] = model.w - 0.1 * momentum["v"]
        model.sub["b"] = model.sub.b - 0.1 * gb
        return value

    arguments = [mx.array([1.0, -1.0]), mx.array([0.5, 2.0]), mx.array([1.0, 1.0])]
    state = [model, momentum]
    compiled = mx.compile(step, inputs=state, outputs=state)
    values = [compiled(a).item() for a in arguments]
    results = [model.w.tolist(), model.sub.b.item(), momentum["v"].tolist()]
    model["w"], model.sub["b"], momentum["v"] = mx.array([1.0, 2.0]), mx.array(0.5), mx.zeros(2)
    assert [step(a).item() for a in arguments] == pytest.approx(values, rel=1e-5)
    assert model.w.tolist() == pytest.approx(results[0], rel=1e-5)
    assert model.sub.b.item() == pytest.approx(results[1], rel=1e-5)
    assert momentum["v"].tolist() == pytest.approx(results[2], rel=1e-5)


def test_random_numbers() -> None:
    def noise(a):
        return a + mx.random.uniform(shape=(4,))

    constant = mx.compile(noise)
    assert constant(mx.array(0.0)).tolist() == constant(mx.array(0.0)).tolist()
    fresh = mx.compile(noise, inputs=mx.random.state, outputs=mx.random.state)
    mx.random.seed(3)
    drawn = [fresh(mx.array(0.0)).tolist() for _ in range(3)]
    mx.random.seed(3)
    assert [noise(mx.array(0.0)).tolist() for _ in range(3)] == drawn
    assert drawn[0] != drawn[1] != drawn[2]


def test_arguments_are_not_touched() -> None:
    w = y(mx)

    def f(a):
        a[0] = 9.0
        return a * 2

    compiled = mx.compile(f)
    for _ in range(2):
        assert compiled(w).tolist() == [18, 4] and w.tolist() == [1, 2]


def test_modules_keep_their_class() -> None:
    class Module(dict):
        def __call__(self, x):
            return x * self["w"]

    compiled = mx.compile(lambda m, x: m(x))
    for k in (2.0, 3.0):
        assert compiled(Module(w=mx.array(k)), y(mx)).tolist() == [k, 2 * k]


def test_captured_by_an_outer_trace() -> None:
    weight = {"w": mx.array(3.0)}
    inner = mx.compile(lambda a: a * weight["w"])

    def outer(w):
        weight["w"] = w
        return inner(mx.array(2.0)) * w

    assert inner(mx.array(2.0)).item() == 6
    assert mx.grad(outer)(mx.array(5.0)).item() == 20
    assert mx.grad(outer)(mx.array(7.0)).item() == 28


def test_switching_it_off() -> None:
    counted = Count(lambda a: a * 2)
    f = mx.compile(counted)
    mx.disable_compile()
    try:
        f(y(mx)), f(y(mx))
        assert counted.calls == 2
    finally:
        mx.enable_compile()
    f(y(mx)), f(y(mx))
    assert counted.calls == 3


@pytest.mark.parametrize(("value", "calls"), [("1", 2), ("0", 1), ("", 1)])
def test_switching_it_off_by_the_environment(value: str, calls: int) -> None:
    program = (
        "import arrax.core as mx; n = []; f = mx.compile(lambda a: n.append(1) or a * 2); "
        "f(mx.array(1.0)); f(mx.array(1.0)); print(len(n))"
    )
    environment = {**os.environ, "ARRAX_DISABLE_COMPILE": value}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) == calls


def test_calls_that_differ_in_numbers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two calls on one input, alike in the first graph of a structure and not in the second."""
    monkeypatch.setattr(executor, "SMALL", 0)
    values = np.arange(400, dtype=np.float32).reshape(20, 20)
    x = mx.array(values)

    def part(start: int, factor: float):
        return mx.compile(lambda a: mx.tanh(a[start : start + 10] * factor))

    for first, second in (((3, 0.5), (3, 0.5)), ((3, 0.5), (7, 0.5)), ((2, 0.25), (4, 0.75)), ((5, 0.5), (5, 1.5))):
        total = part(*first)(x * 0.01) + part(*second)(x * 0.01) * 2
        rows = [np.tanh(values[i : i + 10] * np.float32(0.01) * f) for i, f in (first, second)]
        np.testing.assert_allclose(np.array(total), rows[0] + 2 * rows[1], rtol=1e-5)


def test_norms_of_other_sizes_and_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs of one structure share a plan, whatever the sizes and scalars inside of composites are."""
    monkeypatch.setattr(executor, "SMALL", 0)
    monkeypatch.setattr(plans, "_plans", OrderedDict())
    for n, eps in ((40, 1e-5), (50, 1e-5), (50, 0.5), (61, 0.25)):
        values = np.random.default_rng(n).normal(size=(33, n)).astype(np.float32)
        found = mx.fast.rms_norm(mx.array(values), None, eps) + 1
        expected = values / np.sqrt((values.astype(np.float64) ** 2).mean(-1, keepdims=True) + eps) + 1
        np.testing.assert_allclose(np.array(found), expected, rtol=1e-5, atol=1e-6)
    assert len(plans._plans) == 1
