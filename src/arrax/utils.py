"""Functions on trees: arbitrarily nested dicts, lists and tuples whose leaves are arrays or any other objects.

Parameters, gradients and optimizer states are such trees. A leaf is named by its path, the keys and indices from the
root to it joined with dots: ``layers.0.weight``.
"""

from collections.abc import Callable
from functools import partial, wraps
from itertools import zip_longest
from typing import Any

__all__ = [
    "tree_flatten",
    "tree_map",
    "tree_map_with_path",
    "tree_merge",
    "tree_reduce",
    "tree_unflatten",
]

_LARGEST_GAP = 1 << 20  # items that a list may lack
IsLeaf = Callable[[Any], bool] | None


def _rebuild(tree: list | tuple, items: Any) -> Any:
    """A sequence of the type of ``tree`` with other items (a named tuple takes them one by one)."""
    kind: Any = type(tree)
    return kind(*items) if hasattr(kind, "_fields") else kind(items)


class TreeError(ValueError, KeyError, IndexError):
    """Trees that do not fit each other: MLX raises a KeyError or an IndexError."""

    __str__ = Exception.__str__


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _bounded(function: Callable) -> Callable:
    """Raises ValueError where a tree has no end: one that contains itself, or that is too deep for recursion."""

    @wraps(function)
    def bounded(*args: Any, **named: Any) -> Any:
        try:
            return function(*args, **named)
        except RecursionError as error:
            raise ValueError(
                f"[{function.__name__}] the tree must have a few hundred levels at most, and must not contain itself."
            ) from error

    return bounded


def _children(function: str, trees: tuple, key: Any) -> tuple:
    """What other trees have at a place that the first one has.

    Raises:
        TreeError: one of them has nothing there.
    """
    found = []
    for tree in trees:
        try:
            found.append(tree[key])
        except (LookupError, TypeError, ValueError):
            raise TreeError(
                f"[{function}] the trees must have what the first one has, but there is nothing at {_shown(key)} in a "
                f"{type(tree).__name__}."
            ) from None
    return tuple(found)


@_bounded
def tree_map(fn: Callable, tree: Any, *rest: Any, is_leaf: IsLeaf = None) -> Any:
    """Apply ``fn`` to every leaf and return a tree of the same structure with the results.

    Args:
        fn: called with a leaf of ``tree`` and the values at the same place of every tree in ``rest``.
        tree: the tree that decides the structure.
        rest: further trees; each must contain at least what ``tree`` contains.
        is_leaf: tells whether an object is a leaf although it is a container.

    Raises:
        TreeError: a tree of ``rest`` lacks a key or an item.

    >>> tree_map(lambda x, y: x + y, {"a": 1, "b": [2, 3]}, {"a": 10, "b": [20, 30]})
    {'a': 11, 'b': [22, 33]}
    """
    return _map(fn, tree, rest, is_leaf)


def _map(fn: Callable, tree: Any, rest: tuple, is_leaf: IsLeaf) -> Any:
    if is_leaf is not None and is_leaf(tree):
        return fn(tree, *rest)
    if isinstance(tree, dict):
        return {k: _map(fn, v, _children("tree_map", rest, k), is_leaf) for k, v in tree.items()}
    if isinstance(tree, (list, tuple)):
        return _rebuild(tree, (_map(fn, v, _children("tree_map", rest, i), is_leaf) for i, v in enumerate(tree)))
    return fn(tree, *rest)


@_bounded
def tree_map_with_path(fn: Callable, tree: Any, *rest: Any, is_leaf: IsLeaf = None, path: Any = None) -> Any:
    """Like :func:`tree_map`, with the path of the leaf as the first argument of ``fn``.

    Args:
        fn: called with a path, a leaf and the values at the same place in ``rest``.
        tree: the tree that decides the structure.
        rest: further trees; each must contain at least what ``tree`` contains.
        is_leaf: tells whether an object is a leaf although it is a container.
        path: the path of ``tree`` itself, a prefix of all others. A lone leaf without it has the path ``None``.

    >>> tree_map_with_path(lambda path, x: f"{path}={x}", {"a": [1, 2]})
    {'a': ['a.0=1', 'a.1=2']}
    """
    return _map_with_path(fn, tree, rest, is_leaf, path)


def _map_with_path(fn: Callable, tree: Any, rest: tuple, is_leaf: IsLeaf, path: Any) -> Any:
    if (is_leaf is not None and is_leaf(tree)) or not isinstance(tree, (dict, list, tuple)):
        return fn(path, tree, *rest)
    prefix = f"{path}." if path else ""

    def below(key: Any, value: Any) -> Any:
        others = _children("tree_map_with_path", rest, key)
        return _map_with_path(fn, value, others, is_leaf, f"{prefix}{key}")

    if isinstance(tree, dict):
        return {k: below(k, v) for k, v in tree.items()}
    return _rebuild(tree, (below(i, v) for i, v in enumerate(tree)))


@_bounded
def tree_flatten(
    tree: Any,
    prefix: str = "",
    is_leaf: IsLeaf = None,
    destination: list[tuple[str, Any]] | dict[str, Any] | None = None,
) -> Any:
    """List the leaves of a tree with their paths.

    Args:
        tree: the tree; empty containers leave no trace in the result.
        prefix: put before every path. Its first character is dropped (it is meant to be a dot).
        is_leaf: tells whether an object is a leaf although it is a container.
        destination: the list or dict to add to and to return; a new list by default.

    Raises:
        ValueError: ``destination`` is neither a list nor a dict.

    >>> tree_flatten({"a": [1, {"b": 2}]})
    [('a.0', 1), ('a.1.b', 2)]
    >>> tree_flatten({"a": [1, {"b": 2}]}, destination={})
    {'a.0': 1, 'a.1.b': 2}
    """
    if destination is None:
        destination = []
    if isinstance(destination, list):
        add = destination.append
    elif isinstance(destination, dict):
        add = partial(_store, destination)
    else:
        raise ValueError(f"[tree_flatten] destination must be a list, a dict or None but is a {type(destination)}.")
    _flatten(tree, prefix, is_leaf, add)
    return destination


def _store(destination: dict[str, Any], item: tuple[str, Any]) -> None:
    destination[item[0]] = item[1]


def _flatten(tree: Any, path: str, is_leaf: IsLeaf, add: Callable[[tuple[str, Any]], None]) -> None:
    if is_leaf is None or not is_leaf(tree):
        if isinstance(tree, dict):
            for key, value in tree.items():
                _flatten(value, f"{path}.{key}", is_leaf, add)
            return
        if isinstance(tree, (list, tuple)):
            for i, value in enumerate(tree):
                _flatten(value, f"{path}.{i}", is_leaf, add)
            return
    add((path[1:], tree))


@_bounded
def tree_unflatten(tree: list[tuple[str, Any]] | dict[str, Any]) -> Any:
    """Build a tree from paths and leaves: the inverse of :func:`tree_flatten`.

    A level whose keys are all integers becomes a list, with ``{}`` at the indices that are missing; other levels
    become dicts.

    Args:
        tree: pairs of a path and a leaf, or a dict from paths to leaves.

    >>> tree_unflatten([("a.0", 1), ("a.1.b", 2)])
    {'a': [1, {'b': 2}]}
    """
    items = list(tree.items() if isinstance(tree, dict) else tree)
    if items and all(path == "" for path, _ in items):
        return items[-1][1]
    children: dict[str, list[tuple[str, Any]]] = {}
    if not all(isinstance(path, str) for path, _ in items):
        raise TypeError("[tree_unflatten] the tree must be a list of paths and leaves, or a dict from paths to leaves.")
    for path, leaf in items:
        key, _, below = path.partition(".")
        children.setdefault(key, []).append((below, leaf))
    try:
        indices = sorted((int(key), key) for key in children)
    except ValueError:
        indices = []
    if len({index for index, _ in indices}) < len(children):  # names, or two of one index
        return {key: tree_unflatten(child) for key, child in children.items()}
    if indices and indices[-1][0] > _LARGEST_GAP + len(indices):
        raise ValueError(
            f"[tree_unflatten] the indices must have few gaps, but the largest is {_shown(indices[-1][0])}."
        )
    result: list[Any] = []
    for index, key in indices:
        result.extend({} for _ in range(index - len(result)))
        result.append(tree_unflatten(children[key]))
    return result


@_bounded
def tree_reduce(fn: Callable, tree: Any, initializer: Any = None, is_leaf: IsLeaf = None) -> Any:
    """Combine the leaves of a tree from left to right into one value.

    Args:
        fn: maps the value so far and a leaf to the next value.
        tree: the tree.
        initializer: the first value; the first leaf if it is ``None``.
        is_leaf: tells whether an object is a leaf although it is a container.

    Returns:
        The last value; ``initializer`` if there are no leaves.

    >>> tree_reduce(lambda total, x: total + x, {"a": [1, 2], "b": 3}, 0)
    6
    """
    value = initializer
    for _, leaf in tree_flatten(tree, is_leaf=is_leaf):
        value = leaf if value is None else fn(value, leaf)
    return value


@_bounded
def tree_merge(tree_a: Any, tree_b: Any, merge_fn: Callable | None = None) -> Any:
    """Merge two trees into one that has the leaves of both. ``None`` and an empty container give way to what is there.

    Args:
        tree_a: the first tree.
        tree_b: the second tree.
        merge_fn: combines what both trees have at the same place.

    Raises:
        ValueError: both trees have a leaf at the same place, or ``None``, and there is no ``merge_fn``; or empty
            containers of two kinds.

    >>> tree_merge({"a": [1, {}]}, {"a": [{}, 2], "b": 3})
    {'a': [1, 2], 'b': 3}
    """
    absent = _is_absent(tree_a), _is_absent(tree_b)
    if absent == (True, False):
        return tree_b
    if absent == (False, True):
        return tree_a
    if absent == (True, True) and tree_a is not None and tree_b is not None and type(tree_a) is not type(tree_b):
        kinds = type(tree_a).__name__, type(tree_b).__name__
        raise ValueError(f"[tree_merge] cannot merge {kinds[0]} with {kinds[1]}, both empty; drop one of them.")
    if isinstance(tree_a, dict) and isinstance(tree_b, dict):
        merged = dict(tree_a)
        for key, value in tree_b.items():
            merged[key] = tree_merge(merged[key], value, merge_fn) if key in merged else value
        return merged
    if isinstance(tree_a, (list, tuple)) and isinstance(tree_b, (list, tuple)):
        return _rebuild(tree_a, [tree_merge(a, b, merge_fn) for a, b in zip_longest(tree_a, tree_b)])
    if merge_fn is None:
        raise ValueError(
            "[tree_merge] the trees have different things at the same place; pass merge_fn to combine them."
        )
    return merge_fn(tree_a, tree_b)


def _is_absent(tree: Any) -> bool:
    return tree is None or (isinstance(tree, (dict, list, tuple)) and not tree)


def __dir__() -> list[str]:
    return __all__
