from __future__ import annotations

from types import ModuleType

import pytest
from tests.transforms.oracle import Program, agree

import arrax.core as mx


def y(m: ModuleType):
    return m.array([1.0, 2.0])


def table(m: ModuleType):
    return m.arange(6).reshape(2, 3) * 1.0


def cube(m: ModuleType):
    return m.arange(24).reshape(2, 3, 4) * 0.25 - 2


SAME: dict[str, Program] = {
    "double": lambda m: m.vmap(lambda a: a * 2)(table(m)),
    "rows": lambda m: m.vmap(lambda a: a.sum())(table(m)),
    "columns": lambda m: m.vmap(lambda a: a.sum(), in_axes=1)(table(m)),
    "last axis": lambda m: m.vmap(lambda a: a.sum(), in_axes=-1)(table(m)),
    "None": lambda m: m.vmap(lambda a, b: a + b, in_axes=(0, None))(table(m), m.ones(3)),
    "two axes": lambda m: m.vmap(lambda a, b: a * b, in_axes=(0, 1))(table(m), table(m).T),
    "lower rank": lambda m: m.vmap(lambda a, b: a + b)(m.ones((4,)), m.ones((4, 3))),
    "in a dict": lambda m: m.vmap(lambda d: d["a"] + d["b"])({"a": table(m), "b": table(m)}),
    "axes in a dict": lambda m: m.vmap(lambda d: d["a"] + d["b"], in_axes={"a": 0, "b": None})(
        {"a": table(m), "b": m.ones(3)}
    ),
    "axes for a tuple": lambda m: m.vmap(lambda p, q: p[0] + p[1] + q, in_axes=((0, None), 0))((y(m), y(m)[0]), y(m)),
    "prefix": lambda m: m.vmap(lambda p, q: p[0] + p[1] + q, in_axes=(0, None))((table(m), table(m)), m.array(2.0)),
    "axes for one argument": lambda m: m.vmap(lambda p: p[0] + p[1], in_axes=(0, None))((y(m), y(m)[0])),
    "list of one": lambda m: m.vmap(lambda a: a * 2, in_axes=(0,))(table(m)),
    "out": lambda m: m.vmap(lambda a: a * 2, out_axes=1)(table(m)),
    "out last": lambda m: m.vmap(lambda a: a * 2, out_axes=-1)(table(m)),
    "out tuple": lambda m: m.vmap(lambda a: (a * 2, a.sum()), out_axes=(1, 0))(table(m)),
    "out dict": lambda m: m.vmap(lambda a: {"k": a * 2}, out_axes={"k": 1})(table(m)),
    "out list": lambda m: m.vmap(lambda a: [a * 2, a])(table(m)),
    "same for all": lambda m: m.vmap(lambda a, b: (a * 2, b), in_axes=(0, None))(table(m), m.ones(3)),
    "constant": lambda m: m.vmap(lambda a: m.arange(3), out_axes=1)(table(m)),
    "None out": lambda m: m.vmap(lambda a, b: (a, b.sum()), in_axes=(0, None), out_axes=(0, None))(table(m), table(m)),
    "nested": lambda m: m.vmap(m.vmap(lambda a, b: a * b, in_axes=(0, None)), in_axes=(None, 0))(y(m), m.ones(3)),
    "nested same axis": lambda m: m.vmap(m.vmap(lambda a: a @ a))(cube(m)),
    "matrix and vector": lambda m: m.vmap(lambda a, b: a @ b, in_axes=(0, None))(cube(m), m.arange(4) * 1.0),
    "vector and matrix": lambda m: m.vmap(lambda a, b: a @ b, in_axes=(None, 0))(m.arange(3) * 1.0, cube(m)),
    "matrix and matrix": lambda m: m.vmap(lambda a, b: a @ b.T, in_axes=(0, 0))(cube(m), cube(m)),
    "reductions": lambda m: m.vmap(lambda a: [a.max(0), m.argmin(a, 1), m.softmax(a, 0), a.var()])(cube(m)),
    "shapes": lambda m: m.vmap(lambda a: m.concatenate([a.T.reshape(-1), a[0, ::-1], m.zeros(2)]))(cube(m)),
    "sort": lambda m: m.vmap(lambda a: (m.sort(-a, 0), m.argsort(-a, axis=1)))(cube(m)),
    "scan": lambda m: m.vmap(lambda a: m.cumsum(a, axis=0))(cube(m)),
    "take": lambda m: m.vmap(lambda a, i: a[i])(table(m), m.array([[0, 2], [1, 1]])),
    "take from one": lambda m: m.vmap(lambda i: (m.arange(5) * 2)[i])(m.array([3, 1])),
    "take a constant": lambda m: m.vmap(lambda a: a[m.array([2, 0])])(table(m)),
    "pad": lambda m: m.vmap(lambda a: m.pad(a, 1))(table(m)),
    "where": lambda m: m.vmap(lambda a: m.where(a > 2, a, 0))(table(m)),
    "cast": lambda m: m.vmap(lambda a: a.astype(m.int32))(table(m)),
    "broadcast": lambda m: m.vmap(lambda a: m.broadcast_to(a, (2, 3)))(table(m)),
    "gradient": lambda m: m.vmap(m.grad(lambda a: (a * a).sum()))(table(m)),
    "of both": lambda m: m.vmap(m.value_and_grad(lambda a: m.logsumexp(a)))(table(m)),
    "gradient of it": lambda m: m.grad(lambda w: m.vmap(lambda a: (a * w).sum())(table(m)).sum())(m.ones(3)),
    "hessian": lambda m: m.vmap(m.vmap(m.grad(m.grad(m.sin))))(table(m)),
    "per example": lambda m: m.vmap(m.grad(lambda w, a: m.tanh(w * a).sum()), in_axes=(None, 0))(m.ones(3), table(m)),
    "no elements": lambda m: m.vmap(lambda a: a + 1)(m.ones((0, 3))),
    # errors
    "scalar": lambda m: m.vmap(lambda a: a)(m.array(1.0)),
    "no such axis": lambda m: m.vmap(lambda a: a, in_axes=2)(table(m)),
    "no such axis from the end": lambda m: m.vmap(lambda a: a, in_axes=-3)(table(m)),
    "no such axis out": lambda m: m.vmap(lambda a: a, out_axes=3)(table(m)),
    "different sizes": lambda m: m.vmap(lambda a, b: a.sum() + b.sum())(table(m), m.ones((3, 3))),
    "None everywhere": lambda m: m.vmap(lambda a, b: a, in_axes=(None, None))(table(m), table(m)),
    "only None": lambda m: m.vmap(lambda a: a, in_axes=None),
    "only None out": lambda m: m.vmap(lambda a: a, out_axes=None),
    "None for a result that differs": lambda m: m.vmap(lambda a: (a * 2, a), out_axes=(0, None))(table(m)),
    "too few axes": lambda m: m.vmap(lambda a, b: a + b, in_axes=(0,))(table(m), table(m)),
    "too many axes": lambda m: m.vmap(lambda a: a, in_axes=(0, 0))(table(m)),
    "axis of no type": lambda m: m.vmap(lambda a: a, in_axes="a")(table(m)),
    "axis is a float": lambda m: m.vmap(lambda a: a, in_axes=(0.5,))(table(m)),
    "too few out": lambda m: m.vmap(lambda a: (a, (a, a)), out_axes=(0,))(table(m)),
    "argument is a number": lambda m: m.vmap(lambda a, k: a * k, in_axes=(0, None))(table(m), 3),
    "returns a number": lambda m: m.vmap(lambda a: 3)(table(m)),
    "keyword": lambda m: m.vmap(lambda a, k: a * k)(table(m), k=table(m)),
    "no arguments": lambda m: m.vmap(lambda: m.ones(2))(),
    "no function": lambda m: m.vmap(3),
    "evaluation": lambda m: m.vmap(lambda a: a * a.sum().item())(table(m)),
    "branch": lambda m: m.vmap(lambda a: a if a.sum() > 0 else -a)(table(m)),
}


@pytest.mark.parametrize("name", SAME)
def test_agrees_with_the_oracle(name: str) -> None:
    agree(SAME[name])


def test_random_numbers_differ_by_key() -> None:
    keys = mx.random.split(mx.random.key(0), 3)
    many = mx.vmap(lambda k: mx.random.normal((4,), key=k))(keys)
    for i in range(3):
        assert mx.allclose(many[i], mx.random.normal((4,), key=keys[i])).item()


def test_arguments_are_not_touched() -> None:
    w = mx.array([[1.0, 2.0], [3.0, 4.0]])
    held = {"w": w}

    def f(d):
        d["w"][0] = 5.0
        d["new"] = d["w"]
        return d["w"].sum()

    assert mx.vmap(f)(held).tolist() == [7, 9]
    assert list(held) == ["w"] and held["w"] is w and w.tolist() == [[1, 2], [3, 4]]


def test_updates_inside() -> None:
    def f(a, i):
        b = a * 1
        b[i] = 9.0
        return b

    rows = mx.arange(6).reshape(2, 3) * 1.0
    assert mx.vmap(f)(rows, mx.array([0, 2])).tolist() == [[9, 1, 2], [3, 4, 9]]
    assert mx.vmap(f, in_axes=(0, None))(rows, mx.array(1)).tolist() == [[0, 9, 2], [3, 9, 5]]
    assert mx.vmap(f, in_axes=(None, 0))(rows[0], mx.array([0, 2])).tolist() == [[9, 1, 2], [0, 1, 9]]


def test_unbatched_arrays_can_be_evaluated_inside() -> None:
    w = mx.array([1.0, 2.0])
    assert mx.vmap(lambda a, b: a * b.sum().item(), in_axes=(0, None))(w, w).tolist() == [3, 6]


def test_modules_keep_their_class() -> None:
    class Module(dict):
        def __call__(self, x):
            return x * self["w"]

    module = Module(w=mx.array([2.0, 3.0]))
    assert mx.vmap(lambda m, x: m(x))(module, mx.array([1.0, 1.0])).tolist() == [2, 3]
