"""Trees: every function of arrax.utils against the same one of MLX."""

import inspect
from collections import OrderedDict, namedtuple
from pathlib import Path

import mlx.utils as apple
import pytest

import arrax.utils as utils

Point = namedtuple("Point", "x y")


def test_all_functions_are_here():
    public = {n for n, f in vars(apple).items() if inspect.isfunction(f) and not n.startswith("_")}
    text = Path(__file__).read_text()
    assert public == {name for name in public if f"utils.{name}(" in text or f"u.{name}(" in text}


class MyList(list):
    pass


TREES = [
    5,
    None,
    [],
    {},
    {"a": 1},
    {"a": None, "b": [], "c": {}, "d": ()},
    {"a": [1, (2, 3)], 3: 4},
    [[[0]], {"x": {"y": [1, 2]}}],
    Point(1, [2, 3]),
    MyList([1, 2]),
    OrderedDict(b=1, a=2),
]


def is_pair(x):
    return isinstance(x, list) and len(x) == 2


@pytest.mark.parametrize("tree", TREES, ids=repr)
@pytest.mark.parametrize("is_leaf", [None, is_pair])
def test_map_and_flatten(tree, is_leaf):
    ours, theirs = utils.tree_map(repr, tree, is_leaf=is_leaf), apple.tree_map(repr, tree, is_leaf=is_leaf)
    assert ours == theirs
    assert type(ours) is type(theirs)
    assert utils.tree_flatten(tree, is_leaf=is_leaf) == apple.tree_flatten(tree, is_leaf=is_leaf)
    assert utils.tree_flatten(tree, ".p", is_leaf, {}) == apple.tree_flatten(tree, ".p", is_leaf, {})
    for path in (None, "", "root"):
        pairs = [u.tree_map_with_path(lambda p, x: (p, x), tree, is_leaf=is_leaf, path=path) for u in (utils, apple)]
        assert pairs[0] == pairs[1]


def test_map_takes_more_trees():
    small, large = {"a": [1, 2]}, {"a": [3, 4, 5], "b": 6}
    assert utils.tree_map(lambda x, y: x + y, small, large) == {"a": [4, 6]}
    assert utils.tree_map(lambda x, y: y, {"a": 1}, large) == {"a": [3, 4, 5]}
    assert utils.tree_map_with_path(lambda p, x, y: (p, x, y), small, large) == {"a": [("a.0", 1, 3), ("a.1", 2, 4)]}
    with pytest.raises(KeyError):
        utils.tree_map(lambda x, y: x, {"c": 1}, large)
    with pytest.raises(IndexError):
        utils.tree_map(lambda x, y: x, [1, 2], [1])


def test_flatten_adds_to_a_destination():
    items, table = [("q", 1)], {"z": 2}
    assert utils.tree_flatten({"a": 1}, destination=items) is items
    assert items == [("q", 1), ("a", 1)]
    assert utils.tree_flatten({"a": 1}, destination=table) is table
    assert table == {"z": 2, "a": 1}
    with pytest.raises(ValueError, match="tree_flatten"):
        utils.tree_flatten({"a": 1}, destination=3)


FLAT = [
    [],
    {},
    [("", 5)],
    {"": 5},
    [("0", 1), ("1.a", 2), ("3", 7)],
    [("0", 1), ("a", 2)],
    [("b.1", 1), ("b.0", 2), ("a.10", 3), ("a.2", 4)],
    [("a", 1), ("a.b", 2)],
    [("01", 3)],
    {"layers.0.weight": 1, "layers.1.weight": 2, "norm.weight": 3},
]


@pytest.mark.parametrize("flat", FLAT, ids=repr)
def test_unflatten(flat):
    assert utils.tree_unflatten(flat) == apple.tree_unflatten(flat)


def test_flatten_and_back():
    tree = {"a": [1, {"b": 2}, [3, 4]], "c": {"d": 5}}
    assert utils.tree_unflatten(utils.tree_flatten(tree)) == tree
    assert utils.tree_unflatten([("a", 1), ("a", 2)]) == {"a": 2}


@pytest.mark.parametrize("tree", [{}, {"a": [1, 2], "b": 3}, [None, 1, 2]], ids=repr)
@pytest.mark.parametrize("initializer", [None, 10])
def test_reduce(tree, initializer):
    def join(total, x):
        return f"{total},{x}"

    assert utils.tree_reduce(join, tree, initializer) == apple.tree_reduce(join, tree, initializer)


def test_reduce_with_a_leaf_test():
    assert utils.tree_reduce(lambda total, x: total + len(x), {"a": [1, 2]}, 0, lambda x: isinstance(x, list)) == 2


PAIRS = [
    ({"a": 1}, {"b": 2}),
    ({"a": 1}, {"a": 2}),
    ({"a": [1, {}]}, {"a": [{}, 2]}),
    ([1], [{}, 2, 3]),
    ([{"a": 1}], [{"b": 2}, 3]),
    (None, 2),
    ({"a": None}, {"a": 2}),
    ([1], {"a": 2}),
    ((1, {}), ({}, 2)),
    ({"a": 1}, {"a": {}}),
    ({"a": []}, {"a": 3}),
    ({"a": {"b": 1}}, {"a": 3}),
    ((1,), [{}, 2]),
    ("", "a"),
    (0, 1),
]


@pytest.mark.parametrize("pair", PAIRS, ids=repr)
@pytest.mark.parametrize("merge_fn", [None, lambda x, y: (x, y)], ids=["", "merge_fn"])
def test_merge(pair, merge_fn):
    try:
        expected = apple.tree_merge(*pair, merge_fn)
    except ValueError:
        with pytest.raises(ValueError, match="tree_merge"):
            utils.tree_merge(*pair, merge_fn)
    else:
        assert utils.tree_merge(*pair, merge_fn) == expected
