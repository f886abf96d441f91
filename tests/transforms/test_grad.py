from __future__ import annotations

from collections import namedtuple
from types import ModuleType

import numpy as np
import pytest
from tests.transforms.oracle import Program, agree

import arrax.core as mx
from arrax.runtime.executor import tracing

Pair = namedtuple("Pair", "a b")


def x(m: ModuleType):
    return m.array(2.0)


def y(m: ModuleType):
    return m.array([1.0, 2.0])


SAME: dict[str, Program] = {
    # gradients
    "square": lambda m: m.grad(lambda a: (a * a).sum())(y(m)),
    "value": lambda m: m.value_and_grad(lambda a: (a * a).sum())(y(m)),
    "identity": lambda m: m.value_and_grad(lambda a: a)(x(m)),
    "unused": lambda m: m.grad(lambda a, b: a.sum(), argnums=1)(y(m), y(m)),
    "constant": lambda m: m.grad(lambda a: m.array(3.0))(y(m)),
    "captured": lambda m: (lambda w: m.grad(lambda a: (a * w).sum())(y(m)))(m.array([3.0, 4.0])),
    "same twice": lambda m: m.grad(lambda a, b: (a * a * b).sum(), argnums=(0, 1))(*[y(m)] * 2),
    "same array twice": lambda m: (lambda v: m.grad(lambda a, b: (a * a * b).sum(), argnums=(0, 1))(v, v))(y(m)),
    "stop": lambda m: m.grad(lambda a: (m.stop_gradient(a) * a).sum())(y(m)),
    "second": lambda m: m.grad(lambda b: m.grad(lambda a: (a**3).sum())(b).sum())(y(m)),
    "third": lambda m: m.grad(m.grad(m.grad(lambda a: m.sin(a) * a)))(x(m)),
    "outer variable": lambda m: m.grad(lambda b: m.grad(lambda a: (a * b * b).sum())(b).sum())(y(m)),
    "confusion": lambda m: m.grad(lambda a: a * m.grad(lambda b: a + b)(x(m)))(m.array(3.0)),
    "broadcast": lambda m: m.grad(lambda a, b: (a * b).sum(), argnums=(0, 1))(m.ones((2, 1)), m.ones((3,))),
    "half": lambda m: m.grad(lambda a: (a * a).sum())(y(m).astype(m.bfloat16)),
    "through a cast": lambda m: m.grad(lambda a: (a.astype(m.float16) * 2).sum())(y(m)),
    "integers": lambda m: m.grad(lambda a: a * a)(m.array(3)),
    "from integers": lambda m: m.grad(lambda a: (a.astype(m.float32) * 2).sum())(m.array([3, 4])),
    "straight through": lambda m: m.grad(lambda a: (a.astype(m.int32).astype(m.float32) * 3).sum())(y(m)),
    "mask": lambda m: m.grad(lambda a: (a * (a > 1)).sum())(y(m)),
    "argmax": lambda m: m.grad(lambda a: m.argmax(a).astype(m.float32))(y(m)),
    "complex": lambda m: m.grad(lambda a: m.real(a * a * (2 + 3j)).sum())(m.array([1 + 2j])),
    "matrix": lambda m: m.grad(lambda a, b: m.tanh(a @ b).sum(), argnums=[0, 1])(m.ones((2, 3)), m.ones((3, 2))),
    "softmax": lambda m: m.grad(lambda a: (m.softmax(a) * y(m)).sum())(y(m)),
    "in place": lambda m: m.grad(lambda a: (a.at[0].add(a[1]) * a).sum())(y(m)),
    # arguments
    "positions": lambda m: m.grad(lambda a, b: a * a * b, argnums=(1, 0))(x(m), m.array(5.0)),
    "one in a list": lambda m: m.grad(lambda a, b: a * a * b, argnums=[1])(x(m), m.array(5.0)),
    "range": lambda m: m.grad(lambda a, b: a * b, argnums=range(2))(x(m), x(m)),
    "names": lambda m: m.grad(lambda a, b: a * b, argnames=["b", "a"])(a=x(m), b=m.array(5.0)),
    "name": lambda m: m.value_and_grad(lambda a, b: a * b, argnames="b")(x(m), b=x(m)),
    "number and name": lambda m: m.grad(lambda a, b: a * b, argnums=0, argnames=["b"])(x(m), b=x(m)),
    "name twice": lambda m: m.grad(lambda a, b: a * b, argnames=["b", "b"])(x(m), b=x(m)),
    "keyword aside": lambda m: m.grad(lambda a, b: a * b)(x(m), b=m.array(5.0)),
    "other kinds aside": lambda m: m.grad(lambda a, b, c: a * b[0] * c["k"])(x(m), [3, None], {"k": 4, "s": "s"}),
    "tree": lambda m: m.grad(lambda p: (p["w"] * p["b"][0] * p["b"][1][0]).sum())({"w": y(m), "b": [x(m), (x(m),)]}),
    "named tuple": lambda m: [type(g).__name__ for g in [m.grad(lambda p: (p[0] * p[1]).sum())(Pair(y(m), y(m)))]],
    "auxiliary": lambda m: m.value_and_grad(lambda a: (a.sum(), [a, {"k": 3}], "s", None))(y(m)),
    # errors
    "not scalar": lambda m: m.grad(lambda a: a * 2)(y(m)),
    "not scalar, one element": lambda m: m.grad(lambda a: a * 2)(m.array([1.0])),
    "no array": lambda m: m.grad(lambda a: a * 2)(3.0),
    "leaf is no array": lambda m: m.grad(lambda a: a["w"])({"w": x(m), "n": 3}),
    "None in a tree": lambda m: m.grad(lambda a: a["w"])({"w": x(m), "n": None}),
    "empty tree": lambda m: m.grad(lambda a: x(m))({}),
    "returns a number": lambda m: m.grad(lambda a: 3.0)(x(m)),
    "returns None": lambda m: m.grad(lambda a: None)(x(m)),
    "grad of a tuple": lambda m: m.grad(lambda a: (a, a))(x(m)),
    "value of a list": lambda m: m.value_and_grad(lambda a: [a, a])(x(m)),
    "value of an empty tuple": lambda m: m.value_and_grad(lambda a: ())(x(m)),
    "position too large": lambda m: m.grad(lambda a: a, argnums=1)(x(m)),
    "no argument": lambda m: m.grad(lambda: x(m))(),
    "negative position": lambda m: m.grad(lambda a: a, argnums=-1),
    "position twice": lambda m: m.grad(lambda a: a, argnums=[0, 0]),
    "no position": lambda m: m.grad(lambda a: a, argnums=[]),
    "positions of no type": lambda m: m.grad(lambda a: a, argnums=1.0),
    "names of no type": lambda m: m.grad(lambda a: a, argnames=1),
    "unknown name": lambda m: m.grad(lambda a: a, argnames="b")(x(m)),
    "no function": lambda m: m.grad(3),
    "no function for the value": lambda m: m.value_and_grad(3),
    # vjp
    "vjp": lambda m: m.vjp(lambda a: a * a, [y(m)], [y(m)]),
    "vjp of tuples": lambda m: m.vjp(lambda a, b: (a * b, a * 3), (y(m), y(m)), (y(m), y(m))),
    "vjp of another type": lambda m: m.vjp(lambda a: a * a, [y(m)], [y(m).astype(m.float16)]),
    "vjp with a constant": lambda m: m.vjp(lambda a: (m.zeros(3), a * 2), [y(m)], [m.zeros(3), y(m)]),
    "vjp with a stop": lambda m: m.vjp(lambda a: (m.stop_gradient(a), a * 2), [y(m)], [y(m)]),
    "vjp of a comparison": lambda m: m.vjp(lambda a: (a > 1, a * 2), [y(m)], [y(m), y(m)]),
    "vjp wrong shape": lambda m: m.vjp(lambda a: a * 2, [y(m)], [x(m)]),
    "vjp too few": lambda m: m.vjp(lambda a: (a, a * 2), [y(m)], [y(m)]),
    "vjp no list": lambda m: m.vjp(lambda a: a, [3.0], [y(m)]),
    "vjp cotangents": lambda m: m.vjp(lambda a: a, [y(m)], [3.0]),
    "vjp argument count": lambda m: m.vjp(lambda a: a * 2, [y(m), y(m)], [y(m)]),
}


@pytest.mark.parametrize("name", SAME)
def test_agrees_with_the_oracle(name: str) -> None:
    agree(SAME[name])


def test_evaluation_inside_keeps_the_history() -> None:
    def f(a):
        b = mx.sin(a)
        assert b.item() == pytest.approx(np.sin(2), rel=1e-6)
        mx.eval(b)
        return b * b * (1.0 if a > 1 else 5.0)

    assert mx.grad(f)(mx.array(2.0)).item() == pytest.approx(np.sin(4), rel=1e-5)
    assert mx.grad(mx.grad(f))(mx.array(2.0)).item() == pytest.approx(2 * np.cos(4), rel=1e-5)


def test_after_the_trace_nothing_is_kept() -> None:
    leaked = []

    def f(a):
        b = a * 2
        mx.eval(b)
        leaked.extend([a, b])
        return b.sum()

    mx.grad(f)(mx.array([1.0, 2.0]))
    assert [a._node.inputs for a in leaked] == [(), ()]
    assert not tracing.depth and not tracing.kept


def test_variables_of_unevaluated_arrays_do_not_pile_up() -> None:
    held = {"w": mx.array([1.0]) * 2}

    def f(p):
        held["w"] = p
        return p.sum()

    for _ in range(5):
        mx.eval(mx.grad(f)(held["w"]), held["w"])
    length, node = 0, held["w"]._node
    while node.inputs:
        node, length = node.inputs[0], length + 1
    assert length <= 1


def test_arguments_are_what_they_were() -> None:
    w, plain = mx.array([1.0, 2.0]), mx.array([5.0, 6.0])
    params = {"w": w, "l": [w, (plain,)]}
    inner = params["l"]

    def f(p, q):
        assert p is params and p["w"] is not w and p["l"] is inner
        p["w"][0] = 7.0
        q[0] = 9.0
        q += 1
        return (p["w"] * p["w"] * q).sum()

    value, gradient = mx.value_and_grad(f)(params, plain)
    assert value.item() == 49 * 10 + 4 * 7
    assert gradient["w"].tolist() == [0, 28] and gradient["l"][1][0].tolist() == [0, 0]
    assert params["w"] is w and params["l"] is inner and inner[0] is w and inner[1][0] is plain
    assert w.tolist() == [1, 2] and plain.tolist() == [5, 6]


def test_arguments_come_back_after_an_error() -> None:
    params = {"w": mx.array([1.0, 2.0])}
    w = params["w"]

    def f(p):
        p["w"][0] = 3.0
        raise KeyError("stop")

    with pytest.raises(KeyError):
        mx.grad(f)(params)
    assert params["w"] is w and w.tolist() == [1, 2] and not tracing.depth


def test_changes_of_the_containers_stay() -> None:
    held = [mx.array([1.0, 2.0])]

    def f(p):
        p[0] = p[0] * 3
        return p[0].sum()

    assert mx.grad(f)(held)[0].tolist() == [3, 3]
    assert held[0].tolist() == [3, 6]


def test_one_container_in_two_arguments() -> None:
    p = {"w": mx.array(3.0)}
    assert mx.grad(lambda a, b: a["w"] * b["w"])(p, p)["w"].item() == 6
    assert p["w"].item() == 3


def test_subclasses_of_dict_are_seen_and_gradients_are_plain() -> None:
    class Module(dict):
        pass

    module = Module(w=mx.array(3.0))
    module.scale = 2.0

    def f(m):
        assert m is module
        return m["w"] * m.scale

    gradient = mx.grad(f)(module)
    assert type(gradient) is dict and gradient["w"].item() == 2


def test_captured_arrays_keep_their_updates() -> None:
    state = mx.array([1.0, 2.0])

    def f(a):
        state[0] = a
        return (state * a).sum()

    assert mx.grad(f)(mx.array(3.0)).item() == 8
    assert state.tolist() == [3, 2]


def test_names_and_documentation_are_those_of_the_function() -> None:
    def loss(a):
        """The loss."""
        return a

    for new in (mx.grad(loss), mx.value_and_grad(loss), mx.vmap(loss), mx.compile(loss), mx.checkpoint(loss)):
        assert new.__name__ == "loss" and new.__doc__ == "The loss."


@pytest.mark.usefixtures("references")
def test_deep_graphs() -> None:
    def deep(a):
        for _ in range(100_000):
            a = a + 1e-5
        return a * a

    one = mx.array(1.0)
    (value,), (slope,) = mx.vjp(deep, [one], [one])
    assert slope.item() == pytest.approx(2 * value.item() ** 0.5, rel=1e-3)
    assert mx.jvp(deep, [one], [one])[1][0].item() == pytest.approx(slope.item(), rel=1e-4)
    assert mx.vmap(deep)(mx.ones((2,))).shape == (2,)
    assert mx.grad(mx.compile(deep))(one).shape == ()
