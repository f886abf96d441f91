"""Containers come back as what MLX gives: tuples of every class keep it, lists and dicts become plain ones."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import mlx.core as mlx
import mlx.utils as mlx_utils
import pytest

import arrax.core as mx
import arrax.utils as utils

Point = namedtuple("Point", ["x", "y"])


class Pair(NamedTuple):
    first: Any
    second: Any = None


class Row(tuple):
    pass


class Stack(list):
    pass


class Table(dict):
    pass


MAKERS: dict[str, Callable[..., Any]] = {
    "Point": Point,
    "Pair": Pair,
    "Row": lambda a, b: Row((a, b)),
    "Stack": lambda a, b: Stack([a, b]),
    "Table": lambda a, b: Table(a=a, b=b),
    "OrderedDict": lambda a, b: OrderedDict(a=a, b=b),
    "defaultdict": lambda a, b: defaultdict(list, a=a, b=b),
    "nested": lambda a, b: Pair([Row((a,)), {"k": Point(a, b)}], (Pair(b, b),)),
}


def total(tree: Any) -> Any:
    if isinstance(tree, dict):
        tree = list(tree.values())
    return sum(map(total, tree)) if isinstance(tree, list | tuple) else tree.sum()


def skeleton(tree: Any, m: ModuleType) -> Any:
    """The classes of the containers, and the arrays' values."""
    if isinstance(tree, m.array):
        return tree.tolist()
    if isinstance(tree, dict):
        return [type(tree).__name__, *((k, skeleton(v, m)) for k, v in tree.items())]
    if isinstance(tree, list | tuple):
        return [type(tree).__name__, *(skeleton(v, m) for v in tree)]
    return tree


PROGRAMS: dict[str, Callable[[ModuleType, Callable[..., Any], Any], Any]] = {
    "compile": lambda m, make, tree: m.compile(lambda t: t)(tree),
    "compile, later": lambda m, make, tree: (lambda f: [f(tree), f(tree)])(m.compile(lambda t: {"r": [t]})),
    "compile, result": lambda m, make, tree: m.compile(lambda a: make(a, a * 2))(m.ones(2)),
    "compile, shapeless": lambda m, make, tree: m.compile(lambda a: make(a, a * 2), shapeless=True)(m.ones(2)),
    "vmap": lambda m, make, tree: m.vmap(lambda t: t)(tree),
    "vmap, result": lambda m, make, tree: m.vmap(lambda a: [make(a, a * 2)])(m.ones(2)),
    "grad": lambda m, make, tree: m.grad(total)(tree),
    "grad, nested": lambda m, make, tree: m.grad(lambda d: total(d["k"][0]))({"k": [tree]}),
    "value_and_grad": lambda m, make, tree: m.value_and_grad(total)(tree),
    "value_and_grad, several": lambda m, make, tree: m.value_and_grad(
        lambda a, t: total(t) * a, argnums=(0, 1)
    )(m.array(2.0), tree),
    "value_and_grad, names": lambda m, make, tree: m.value_and_grad(lambda t: total(t), argnames="t")(t=tree),
    "checkpoint": lambda m, make, tree: m.grad(lambda t: total(m.checkpoint(lambda u: u)(t)))(tree),
    "custom function": lambda m, make, tree: m.grad(lambda t: total(m.custom_function(lambda u: u)(t)))(tree),
    "tree_map": lambda m, make, tree: tools(m).tree_map(lambda a: a * 2, [tree]),
    "tree_map_with_path": lambda m, make, tree: tools(m).tree_map_with_path(lambda path, a: a * 2, {"k": tree}),
    "tree_merge": lambda m, make, tree: tools(m).tree_merge(tree, tree, lambda a, b: a + b),
}  # fmt: skip


def tools(m: ModuleType) -> ModuleType:
    return mlx_utils if m is mlx else utils


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_containers(name: str, kind: str) -> None:
    make = MAKERS[kind]
    found = []
    for m in (mx, mlx):
        tree = make(m.array([1.0, 2.0]), m.array([3.0, 4.0]))
        result = skeleton(PROGRAMS[name](m, make, tree), m)
        if name == "tree_merge":  # MLX has dicts in an order of its own
            result = sorted(map(str, result))
        found.append(result)
    assert found[0] == found[1]


@pytest.mark.parametrize("kind", MAKERS)
def test_captured_containers_keep_their_class(kind: str) -> None:
    state = {"tree": MAKERS[kind](mx.array(1.0), mx.array(2.0))}
    seen: list[str] = []

    def f(x):
        seen.append(type(state["tree"]).__name__)
        return total(state["tree"]) + x

    compiled = mx.compile(f, inputs=state)
    expected = type(state["tree"]).__name__
    assert compiled(mx.array(1.0)).item() == compiled(mx.array(1.0)).item()
    assert seen == [expected] and type(state["tree"]).__name__ == expected
