from __future__ import annotations

from types import ModuleType

import pytest
from tests.transforms.oracle import Program, agree

import arrax.core as mx


def y(m: ModuleType):
    return m.array([1.0, 2.0])


SAME: dict[str, Program] = {
    "product": lambda m: m.jvp(lambda a, b: a * b, [y(m), y(m)], [y(m), m.ones(2)]),
    "several": lambda m: m.jvp(lambda a, b: (a * 2, b, m.zeros(2)), [y(m), y(m)], [y(m), y(m)]),
    "broadcast": lambda m: m.jvp(lambda a: a + m.zeros((3, 2)), [y(m)], [y(m)]),
    "shapes": lambda m: m.jvp(lambda a: m.concatenate([a, a[::-1]]).reshape(2, 2).T[:, :1], [y(m)], [y(m)]),
    "reductions": lambda m: m.jvp(lambda a: [m.max(a), m.sum(a), m.prod(a), m.logsumexp(a)], [y(m)], [m.ones(2)]),
    "matrix": lambda m: m.jvp(lambda a: a @ m.exp(a).T, [m.ones((2, 3))], [m.ones((2, 3))]),
    "gather": lambda m: m.jvp(lambda a: a[m.array([1, 1, 0])] * 2, [y(m)], [y(m)]),
    "scans": lambda m: m.jvp(lambda a: m.cumsum(a, reverse=True), [y(m)], [m.ones(2)]),
    "sort": lambda m: m.jvp(m.sort, [m.array([3.0, 1.0, 2.0])], [m.array([1.0, 2.0, 3.0])]),
    "cast": lambda m: m.jvp(lambda a: a.astype(m.float16), [y(m)], [y(m)]),
    "integers": lambda m: m.jvp(lambda a: a * 2, [m.array([1, 2])], [m.array([1, 2])]),
    "rounding": lambda m: m.jvp(m.round, [y(m)], [y(m)]),
    "comparison": lambda m: m.jvp(lambda a: a > 1, [y(m)], [y(m)]),
    "argmax": lambda m: m.jvp(m.argmax, [y(m)], [y(m)]),
    "constant": lambda m: m.jvp(lambda a: m.zeros(3), [y(m)], [y(m)]),
    "stop": lambda m: m.jvp(lambda a: a * m.stop_gradient(a), [y(m)], [y(m)]),
    "where": lambda m: m.jvp(lambda a: m.where(a > 1, a * a, -a), [y(m)], [y(m)]),
    "complex": lambda m: m.jvp(lambda a: (m.abs(a), m.imag(a * a), m.exp(a)), [m.array([1 + 2j])], [m.array([3 + 5j])]),
    "another type": lambda m: m.jvp(lambda a: a * a, [y(m)], [y(m).astype(m.float16)]),
    "twice": lambda m: m.jvp(lambda b: m.jvp(lambda a: a * a * a, [b], [m.ones(2)])[1][0], [y(m)], [m.ones(2)]),
    "of a gradient": lambda m: m.jvp(m.grad(lambda a: (a * a * a).sum()), [y(m)], [m.ones(2)]),
    "gradient of it": lambda m: m.grad(lambda b: m.jvp(lambda a: a * a * a, [b], [m.ones(2)])[1][0].sum())(y(m)),
    "vectorised": lambda m: m.vmap(lambda v: m.jvp(m.sin, [y(m)], [v])[1][0])(m.array([[1.0, 0.0], [0.0, 1.0]])),
    "too many": lambda m: m.jvp(lambda a: a * 2, [y(m)], [y(m), y(m)]),
    "wrong shape": lambda m: m.jvp(lambda a: a * 2, [y(m)], [m.array(1.0)]),
    "no arrays": lambda m: m.jvp(lambda a: a, [y(m)], [3.0]),
}


@pytest.mark.parametrize("name", SAME)
def test_agrees_with_the_oracle(name: str) -> None:
    agree(SAME[name])


def test_inside_a_compiled_function() -> None:
    f = mx.compile(lambda a, v: mx.jvp(lambda b: mx.sin(b) * b, [a], [v])[1][0])
    a, v = mx.array([0.5, 1.5]), mx.array([1.0, 2.0])
    expected = mx.jvp(lambda b: mx.sin(b) * b, [a], [v])[1][0]
    assert mx.allclose(f(a, v), expected).item()
