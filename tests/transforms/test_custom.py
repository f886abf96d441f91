from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from tests.transforms.oracle import Program, agree

import arrax.core as mx
from arrax.graph.node import topological


def x(m: ModuleType):
    return m.array(2.0)


def y(m: ModuleType):
    return m.array([1.0, 2.0])


def product(m: ModuleType, *rules: str) -> Any:
    """a * b, with rules that are told from the derived ones by their factors."""

    @m.custom_function
    def f(a, b):
        return a * b

    if "vjp" in rules:
        f.vjp(lambda primals, cotangent, output: (cotangent * 10 * primals[1], cotangent * 20 * primals[0]))
    if "jvp" in rules:
        f.jvp(
            lambda primals, tangents: sum(
                (t * (7 + i) * primals[1 - i] for i, t in enumerate(tangents) if t is not None)
            )
        )
    if "vmap" in rules:
        f.vmap(lambda inputs, axes: (inputs[0] * inputs[1] * 1000, 0))
    return f


def with_tree(m: ModuleType) -> Any:
    @m.custom_function
    def f(d):
        return {"o": d["x"] * 2, "l": [d["y"]]}

    f.vjp(lambda d, g, out: {"x": g["o"] * 3, "y": g["l"][0] * 5 + out["o"]})
    return f


def single(m: ModuleType, rule: Any) -> Any:
    return m.custom_function(lambda a: a * 2).vjp(rule)


SAME: dict[str, Program] = {
    "call": lambda m: product(m, "vjp", "jvp", "vmap")(y(m), y(m)),
    "gradient": lambda m: m.grad(product(m, "vjp", "jvp"))(x(m), x(m)),
    "second argument": lambda m: m.grad(product(m, "vjp"), argnums=1)(x(m), x(m)),
    "both arguments": lambda m: m.grad(product(m, "vjp"), argnums=(0, 1))(x(m), m.array(3.0)),
    "number as argument": lambda m: m.grad(lambda a: product(m, "vjp")(a, m.array(3.0)) * a)(x(m)),
    "jvp": lambda m: m.jvp(product(m, "vjp", "jvp"), [x(m), x(m)], [x(m), x(m)]),
    "jvp in one argument": lambda m: m.jvp(lambda a: product(m, "jvp")(a, x(m)), [x(m)], [x(m)]),
    "vmap": lambda m: m.vmap(product(m, "vmap"))(y(m), y(m)),
    "vmap in one argument": lambda m: m.vmap(product(m, "vmap"), in_axes=(0, None))(y(m), x(m)),
    "vmap without a rule": lambda m: m.vmap(product(m, "vjp"))(y(m), y(m)),
    "vmap of a gradient": lambda m: m.vmap(m.grad(product(m, "vjp", "vmap")))(y(m), y(m)),
    "gradient of a vmap": lambda m: m.grad(lambda a: m.vmap(product(m, "vmap"))(a, y(m)).sum())(y(m)),
    "second": lambda m: m.grad(m.grad(product(m, "vjp")), argnums=1)(x(m), x(m)),
    "jvp of a gradient": lambda m: m.jvp(m.grad(product(m, "vjp")), [x(m), x(m)], [x(m), m.array(3.0)]),
    "compiled": lambda m: m.compile(product(m, "vjp"))(y(m), y(m)),
    "compiled gradient": lambda m: m.compile(m.grad(product(m, "vjp")))(x(m), x(m)),
    "gradient of compiled": lambda m: m.grad(m.compile(product(m, "vjp")))(x(m), x(m)),
    "checkpoint": lambda m: m.grad(m.checkpoint(product(m, "vjp")))(x(m), x(m)),
    "only jvp, gradient": lambda m: m.grad(product(m, "jvp"))(x(m), x(m)),
    "only vjp, jvp": lambda m: m.jvp(product(m, "vjp"), [x(m), x(m)], [x(m), x(m)]),
    "no rules": lambda m: m.grad(product(m))(x(m), x(m)),
    "tree": lambda m: m.grad(lambda a: (lambda r: (r["o"] + r["l"][0]).sum())(with_tree(m)({"x": a, "y": a * a})))(
        y(m)
    ),
    "part of the outputs": lambda m: m.grad(lambda a: with_tree(m)({"x": a, "y": a})["o"].sum())(y(m)),
    "tuple of one": lambda m: m.grad(lambda a: single(m, lambda p, g, o: (g * p * o,))(a).sum())(y(m)),
    "an array": lambda m: m.grad(lambda a: single(m, lambda p, g, o: g * p * o)(a).sum())(y(m)),
    "two outputs": lambda m: m.grad(
        lambda a: m.custom_function(lambda v: (v * 2, v * 3)).vjp(lambda p, g, o: g[0] * 5 + g[1])(a)[0].sum()
    )(y(m)),
    "captured, no rule": lambda m: m.grad(lambda a, b: m.custom_function(lambda v: v * b)(a), argnums=1)(x(m), x(m)),
    "captured": lambda m: m.grad(
        lambda a, b: m.custom_function(lambda v: v * b).vjp(lambda p, g, o: g * 3)(a), argnums=(0, 1)
    )(x(m), x(m)),
    "no function": lambda m: m.custom_function(3),
    "no function as rule": lambda m: m.custom_function(lambda a: a).vjp(3),
    # checkpoints
    "recomputed": lambda m: m.grad(lambda a: m.checkpoint(lambda v: m.sin(v) * m.cos(v))(a).sum())(y(m)),
    "recomputed in a tree": lambda m: m.grad(
        lambda a: m.checkpoint(lambda d, k=2: {"o": d["x"] * k})({"x": a}, k=3)["o"].sum()
    )(y(m)),
    "recomputed, captured": lambda m: m.grad(lambda a: m.checkpoint(lambda v: v * a)(a).sum())(y(m)),
    "recomputed by keyword": lambda m: m.grad(lambda a: m.checkpoint(lambda v, k: v * k)(x(m), k=a).sum())(y(m)),
    "recomputed twice": lambda m: m.grad(
        lambda b: m.grad(lambda a: m.checkpoint(lambda v: v * v * v)(a).sum())(b).sum()
    )(y(m)),
    "recomputed, jvp": lambda m: m.jvp(m.checkpoint(lambda v: v * v * v), [y(m)], [y(m)]),
    "recomputed, vmap": lambda m: m.vmap(m.checkpoint(lambda v: v * v * v))(y(m)),
    "recomputed, gradient of a vmap": lambda m: m.grad(lambda a: m.vmap(m.checkpoint(lambda v: v * v * v))(a).sum())(
        y(m)
    ),
    "recomputed, compiled": lambda m: m.compile(m.grad(lambda a: m.checkpoint(m.sin)(a).sum()))(y(m)),
    "recomputed inside": lambda m: m.grad(m.checkpoint(m.checkpoint(m.sin)))(x(m)),
    "recomputed, other results": lambda m: m.checkpoint(lambda v: (v, 3))(y(m)),
    "checkpoint of no function": lambda m: m.checkpoint(3),
}


@pytest.mark.parametrize("name", SAME)
def test_agrees_with_the_oracle(name: str) -> None:
    agree(SAME[name])


def test_a_vectorised_function_keeps_its_rules() -> None:
    f = product(mx, "vjp", "jvp")
    a, b = mx.array([1.0, 2.0]), mx.array([3.0, 4.0])
    assert mx.grad(lambda v: mx.vmap(f)(v, b).sum())(a).tolist() == [30, 40]
    assert mx.grad(lambda v: mx.vmap(f, in_axes=(None, 0))(v, b).sum())(mx.array(2.0)).item() == 70
    assert mx.grad(lambda v: mx.vmap(f, in_axes=(None, 0))(mx.array(2.0), v).sum())(b).tolist() == [40, 40]
    assert mx.jvp(lambda v: mx.vmap(f)(v, b), [a], [mx.ones(2)])[1][0].tolist() == [21, 28]
    table = mx.array([[1.0, 2.0], [3.0, 4.0]])
    assert mx.grad(lambda v: mx.vmap(mx.vmap(f))(v, table).sum())(table).tolist() == [[10, 20], [30, 40]]


def test_rules_are_differentiated_again() -> None:
    f = mx.custom_function(lambda a: a).vjp(lambda a, g, out: g * a * a * out)
    assert mx.grad(f)(mx.array(2.0)).item() == 8
    # out's derivative is the rule's again: d(a² out) = 2 a out + a² (a² out)
    assert mx.grad(mx.grad(f))(mx.array(2.0)).item() == 8 + 32


def test_compiled_with_rules_inside_other_transforms() -> None:
    f = mx.compile(lambda a, b: product(mx, "vjp", "jvp")(a, b) + a)
    assert f(mx.array(2.0), mx.array(3.0)).item() == 8
    assert mx.grad(f)(mx.array(2.0), mx.array(3.0)).item() == 31
    assert mx.jvp(f, [mx.array(2.0), mx.array(3.0)], [mx.array(1.0), mx.array(0.0)])[1][0].item() == 22


def test_outside_transforms_nothing_is_recorded_for_the_rules() -> None:
    a = mx.array([1.0, 2.0])
    for f in (product(mx, "vjp"), mx.checkpoint(lambda p, q: p * q)):
        assert [n.prim.name for n in topological([f(a, a)._node])] == ["leaf", "mul"]


def test_keyword_arguments_reach_the_rules() -> None:
    seen = []

    @mx.custom_function
    def f(a, k=1.0):
        return a * k

    @f.vjp
    def rule(a, g, out, k=1.0):
        seen.append(k)
        return g * 5

    assert mx.grad(lambda a: f(a, k=3.0))(mx.array(2.0)).item() == 5 and seen == [3.0]


def test_arguments_that_are_no_arrays() -> None:
    f = product(mx, "vjp")
    f.vjp(lambda primals, g, out: (g * primals[1], None))
    assert mx.grad(lambda a: f(a, 3.0))(mx.array(2.0)).item() == 3


@pytest.mark.parametrize(
    "rule",
    [
        lambda p, g, o: 3.0,
        lambda p, g, o: (g, g),
        lambda p, g, o: g.sum(),
        lambda p, g, o: {"a": g},
    ],
)
def test_what_a_vjp_rule_may_not_return(rule: Any) -> None:
    with pytest.raises(ValueError, match="vjp rule"):
        mx.grad(lambda a: single(mx, rule)(a).sum())(y(mx))


def test_what_other_rules_may_not_return() -> None:
    f = mx.custom_function(lambda a: a * 2)
    f.jvp(lambda a, t: (t, t))
    f.vmap(lambda a, axis: a)
    with pytest.raises(ValueError, match="jvp rule"):
        mx.jvp(f, [y(mx)], [y(mx)])
    with pytest.raises(ValueError, match="vmap rule"):
        mx.vmap(f)(y(mx))


def test_a_checkpoint_does_not_keep_its_intermediate_results() -> None:
    kept = []

    def f(a):
        b = mx.exp(a)
        kept.append(b._node)
        return mx.sin(b)

    gradient = mx.grad(mx.checkpoint(f))(mx.array(0.5))
    nodes = topological([gradient._node])
    order = {id(n): i for i, n in enumerate(nodes)}
    barriers = [n for n in nodes if n.prim.name == "barrier"]
    assert len(barriers) == 1 and len(barriers[0].inputs) == 2
    # what the gradient uses was recorded after the barrier
    used = [n for n in nodes if n.prim.name == "exp" and order[id(n)] > order[id(barriers[0])]]
    assert used and kept[0] not in used


def test_a_checkpoint_recomputes_the_same_random_numbers() -> None:
    def f(a):
        return (a * mx.random.uniform(shape=(4,))).sum()

    mx.random.seed(1)
    value, gradient = mx.value_and_grad(mx.checkpoint(f))(mx.array(3.0))
    assert value.item() == pytest.approx(3 * gradient.item(), rel=1e-5)


def test_a_vectorised_checkpoint_with_captured_arrays() -> None:
    def f(a, b):
        return mx.checkpoint(lambda v: v * v * b)(a)

    a, b = mx.array([1.0, 2.0]), mx.array([3.0, 4.0])
    assert mx.grad(lambda v: mx.vmap(f)(v, b).sum())(a).tolist() == [6, 16]
    assert mx.vmap(mx.grad(f))(a, b).tolist() == [6, 16]
