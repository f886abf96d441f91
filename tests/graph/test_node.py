"""Nodes, their order, and what records them."""

from __future__ import annotations

import gc
import weakref

import pytest

from arrax.graph.dtypes import float32, int32
from arrax.graph.node import Node, topological
from arrax.graph.primitive import (
    KINDS,
    NO_VMAP,
    NONDIFF,
    REGISTRY,
    Primitive,
    bind,
    broadcast_shapes,
    register,
)
from arrax.graph.template import inlined, needed, resolve
from arrax.prims import call
from arrax.prims.leaf import constant
from arrax.prims.pointwise import add, mul, mul_p, neg, sin


def leaf() -> Node:
    return constant(1.0, float32)


def test_inputs_come_before_users() -> None:
    x, y = leaf(), leaf()
    a = add(x, y)
    b = mul(a, x)
    c = sin(a)
    order = topological([b, c])
    assert len(order) == 5 and order.index(b) > order.index(a) < order.index(c)
    for node in order:
        assert all(order.index(i) < order.index(node) for i in node.inputs)


def test_a_walk_stops_where_it_is_told() -> None:
    x, y = leaf(), leaf()
    a = add(x, y)
    b = mul(a, x)
    assert topological([b], {id(a)}) == [x, b]
    assert topological([a], {id(a)}) == []


def test_shared_nodes_are_visited_once() -> None:
    x = leaf()
    for _ in range(200):  # 2**200 paths
        x = add(x, x)
    assert len(topological([x])) == 201


def test_deep_graphs() -> None:
    x = leaf()
    for _ in range(100_000):
        x = neg(x)
    assert len(topological([x])) == len(needed([x])) == 100_001
    assert inlined([x])[0] == [x]


def test_aliases_stand_for_values() -> None:
    x = leaf()
    v = call.variable(call.variable(x))
    y = sin(v)
    assert resolve(v) is x
    assert needed([y]) == [x, y]
    (flat,), _ = inlined([y])
    assert flat.inputs == (x,) and flat.prim is y.prim and y.inputs == (v,)


def test_nothing_keeps_a_node_alive() -> None:
    class Marked(Node):
        __slots__ = ("__weakref__",)

    x = leaf()
    a = Marked(mul_p, (x, x), (), (), float32)
    reference = weakref.ref(a)
    b = sin(a)
    del a
    gc.collect()
    assert reference() is not None
    del b
    assert reference() is None  # no cycle: it goes at once


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ([(2, 3), (3,)], (2, 3)),
        ([(2, 1), (1, 3)], (2, 3)),
        ([(), (4,), (1, 1)], (1, 4)),
        ([(0,), (1,)], (0,)),
        ([(5, 0), (1, 1), (0,)], (5, 0)),
    ],
)
def test_broadcasting(shapes: list[tuple[int, ...]], expected: tuple[int, ...]) -> None:
    assert broadcast_shapes("op", *shapes) == expected
    assert broadcast_shapes("op", *reversed(shapes)) == expected


@pytest.mark.parametrize("shapes", [[(2,), (3,)], [(2, 3), (2,)], [(0,), (2,)], [(2, 1), (1, 3), (4, 1)]])
def test_shapes_that_do_not_broadcast(shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match=r"^\[op\] expected shapes that broadcast"):
        broadcast_shapes("op", *shapes)


def test_bind_checks() -> None:
    with pytest.raises(TypeError, match="operands of one type"):
        bind(mul_p, (constant(1.0, float32), constant(1, int32)))


def test_an_incomplete_declaration_is_an_import_error() -> None:
    def declare(**changes: object) -> None:
        given = {"name": "unheard_of", "kind": "pointwise", "infer": None, "reference": None, "vjp": NONDIFF}
        given |= {"batch": NO_VMAP, "lower": "add", "samples": (), **changes}
        register(Primitive(**given))  # type: ignore[arg-type]

    before = dict(REGISTRY)
    for change in ({"kind": "other"}, {"vjp": None}, {"lower": None}, {"samples": None}, {"name": "add"}):
        with pytest.raises(ImportError):
            declare(**change)
    for change in ({"kind": "opaque", "batch": None}, {"kind": "scan", "batch": None}):
        with pytest.raises(ImportError, match="batch"):
            declare(**change)
    assert before == REGISTRY


def test_the_registry() -> None:
    for name, prim in REGISTRY.items():
        assert prim.name == name and prim.kind in KINDS
    assert [p.index for p in REGISTRY.values()] == list(range(len(REGISTRY)))
