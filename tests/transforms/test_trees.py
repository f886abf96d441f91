from __future__ import annotations

from collections import namedtuple

import pytest

import arrax.core as mx
from arrax.transforms import trees

Pair = namedtuple("Pair", "a b")


def test_structures_are_inverted() -> None:
    a, b, c = (mx.array(float(i)) for i in range(3))
    tree = {"x": [a, "s"], "p": Pair(b, (None, c))}
    found: list = []
    shape = trees.structure(tree, found)
    assert found == [a, b, c] or all(p is q for p, q in zip(found, [a, b, c], strict=True))
    built = trees.build(shape, iter("ABC"))
    assert built == {"x": ["A", "s"], "p": Pair("B", (None, "C"))} and type(built["p"]) is Pair
    assert trees.build(shape, iter("ABC"), others=False) == {"x": ["A", None], "p": Pair("B", (None, "C"))}
    assert trees.arrays(tree) is not found and len(trees.arrays(tree)) == 3


def test_writing_fills_up_what_is_missing() -> None:
    shape = trees.structure({"a": mx.array(1.0), "l": [mx.array(1.0), 3, [mx.array(1.0)]], "n": 4}, [])
    target = {"l": [0], "n": 5}
    inner = target["l"]
    assert trees.write(target, shape, iter("ABC")) is target
    assert target["a"] == "A" and target["l"] is inner and inner == ["B", 3, ["C"]] and target["n"] == 5


def test_replacement_is_undone_where_it_still_is() -> None:
    a, b = mx.array(1.0), mx.array(2.0)
    tree = [{"a": a}, (b, [b])]
    swap = trees.Substitution(lambda old: mx.array(9.0))
    new = swap.replace(tree)
    assert new is tree and tree[0]["a"] is not a and len(swap.originals) == 3
    tree[1][1][0] = "changed"
    swap.undo()
    assert tree[0]["a"] is a and tree[1][0] is b and tree[1][1] == ["changed"]


def test_only_arrays() -> None:
    with pytest.raises(ValueError, match=r"^\[grad\] expected a tree of nothing but arrays, got int"):
        trees.only_arrays([mx.array(1.0), 3], "grad")
