from __future__ import annotations

import gc

import numpy as np
import pytest
from tests.specs import node, numpy

import arrax.core as mx
from arrax.graph.node import Node, topological
from arrax.graph.template import Template, expand, inlined
from arrax.prims.call import Rules, call, custom, variable
from arrax.prims.leaf import placeholder
from arrax.prims.pointwise import add, mul, neg
from arrax.runtime import executor


def stand_in(like: Node) -> Node:
    return Node(placeholder, (), (), like.shape, like.dtype)


def test_expansion_substitutes_and_shares_constants() -> None:
    w = node(np.array([10.0, 20.0], np.float32))
    outside = neg(w)
    p, q = stand_in(w), stand_in(w)
    template = Template([p, q], [mul(add(p, q), outside), p, outside])
    a, b = node(np.array([1.0, 2.0], np.float32)), node(np.array([3.0, 4.0], np.float32))
    results = call(template, (a, b))
    first, second, third = expand(results[0].inputs[0])
    assert expand(results[1].inputs[0])[0] is first
    assert second is a and third is outside
    assert [n.prim.name for n in topological([first])] == ["leaf", "leaf", "add", "leaf", "neg", "mul"]
    assert [numpy(r).tolist() for r in results] == [[-40, -120], [1, 2], [-10, -20]]


def test_aliases_disappear_in_templates() -> None:
    p = stand_in(node(np.float32(0)))
    v = variable(p)
    out = custom(Rules(), [v], [neg(v)])[0]
    template = Template([p], [add(out, v)])
    assert [prim.name for prim, *_ in template.program] == ["neg", "add"]


def test_inlining_leaves_other_graphs_alone() -> None:
    a = node(np.float32(2))
    plain = mul(a, a)
    assert inlined([plain, a])[0] == [plain, a]


def test_inlining_calls_of_calls() -> None:
    p = stand_in(node(np.float32(0)))
    square = Template([p], [mul(p, p)])
    a = node(np.float32(3))
    (once,) = call(square, (a,))
    q = stand_in(a)
    outer = Template([q], [add(q, once)])  # a call that was recorded outside and is captured
    (result,) = call(outer, (variable(neg(once)),))
    (plain,), _ = inlined([neg(result)])
    assert not {n.prim.kind for n in topological([plain])} & {"call", "alias"}
    assert numpy(result) == 0


def test_an_evaluated_alias_shares_the_data() -> None:
    source = neg(node(np.arange(3, dtype=np.float32)))
    v = variable(source)
    executor.evaluate([v])
    assert v.buffer is source.buffer and source.buffer is not None
    assert variable(source).buffer is source.buffer


def test_views_of_constants_are_not_copied() -> None:
    weight, x = mx.random.normal((300, 200)), mx.random.normal((2, 200))
    mx.eval(weight, x)
    expected = np.array(x).astype(np.float64) @ np.array(weight).T.astype(np.float64)
    before = mx.get_active_memory()
    f = mx.compile(lambda x: x @ weight.T + mx.zeros((300,)))
    for _ in range(3):
        np.testing.assert_allclose(np.array(f(x)), expected, rtol=1e-4, atol=1e-4)
    assert mx.get_active_memory() - before < 10_000  # the weight alone has 240,000 bytes


def test_what_an_optimizer_begins_with_is_not_kept() -> None:
    state = {"weight": mx.ones((200, 200))}

    def step(gradient: mx.array) -> None:
        moment = state.get("moment", mx.zeros((200, 200)))
        state["moment"] = 0.9 * moment + gradient
        state["weight"] = state["weight"] - state["moment"]

    f = mx.compile(step, inputs=state, outputs=state)
    gradient = mx.full((200, 200), 2.0)
    mx.eval(state, gradient)
    gc.collect()
    before = mx.get_active_memory()
    for _ in range(2):  # both traced; what traces leave does not wait for the garbage collector
        f(gradient * 1.0)  # nothing is known of the argument but how it is computed
        mx.eval(state)
    assert mx.get_active_memory() - before < 1.5 * 200 * 200 * 4  # the moments, and not what they began with
    assert state["weight"][0, 0].item() == pytest.approx(1 - 2 - 3.8)
