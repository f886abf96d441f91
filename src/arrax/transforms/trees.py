"""Trees: arrays in nested lists, tuples and dicts."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from arrax.graph.handle import Handle, shown

_HOLDERS = (Handle, list, tuple, dict)


def arrays(tree: Any) -> list[Handle]:
    """The arrays of a tree, in order; other leaves are left out."""
    found: list[Handle] = []
    _collect(tree, found)
    return found


def _collect(tree: Any, found: list[Handle]) -> None:
    if isinstance(tree, Handle):
        found.append(tree)
    elif isinstance(tree, list | tuple):
        for item in tree:
            _collect(item, found)
    elif isinstance(tree, dict):
        for item in tree.values():
            _collect(item, found)


def only_arrays(tree: Any, op: str) -> list[Handle]:
    """The arrays of a tree that may hold nothing else. Raises ValueError where it does."""
    if isinstance(tree, Handle):
        return [tree]
    if not isinstance(tree, list | tuple | dict):
        raise ValueError(f"[{op}] expected a tree of nothing but arrays, got {type(tree).__name__} in it: take it out")
    items = tree.values() if isinstance(tree, dict) else tree
    return [leaf for item in items for leaf in only_arrays(item, op)]


def rebuild(f: Callable[[Handle], Any], tree: Any, *, keep_classes: bool = False) -> Any:
    """A tree like the given one, with each array replaced by ``f`` of it; other leaves stay.

    Subclasses of dict become plain dicts, or shallow copies with ``keep_classes``; named tuples stay what they are.
    """
    if isinstance(tree, Handle):
        return f(tree)
    if isinstance(tree, dict):
        items = {k: rebuild(f, v, keep_classes=keep_classes) for k, v in tree.items()}
        if type(tree) is dict or not keep_classes:
            return items
        clone = copy.copy(tree)
        clone.update(items)
        return clone
    if isinstance(tree, list):
        return [rebuild(f, v, keep_classes=keep_classes) for v in tree]
    if isinstance(tree, tuple):
        return like_tuple(tree, [rebuild(f, v, keep_classes=keep_classes) for v in tree])
    return tree


def like_tuple(example: tuple, items: list) -> tuple:
    """The items as a tuple of the example's class."""
    kind: Any = type(example)
    if kind is tuple:
        return tuple(items)
    return kind(*items) if hasattr(kind, "_fields") else kind(items)


def refill(tree: Any, values: Iterator[Any]) -> Any:
    """A tree like the given one with its arrays replaced, in order, by the values."""
    return rebuild(lambda _: next(values), tree)


class Substitution:
    """Arrays of a tree, replaced in the very lists and dicts that hold them, until ``undo``.

    Objects that keep their state in such containers (modules, optimizers) see the replacements too. A container that
    occurs several times is visited once.

    Attributes:
        originals: the arrays that were replaced.
        replacements: what replaced them, in the same order.
    """

    def __init__(self, make: Callable[[Handle], Handle]) -> None:
        self._make = make
        self.originals: list[Handle] = []
        self.replacements: list[Handle] = []
        self._containers: dict[int, list | dict] = {}

    def replace(self, tree: Any) -> Any:
        """The tree with its arrays replaced: the same object but for arrays and tuples."""
        if isinstance(tree, Handle):
            new = self._make(tree)
            self.originals.append(tree)
            self.replacements.append(new)
            return new
        if isinstance(tree, tuple):
            return like_tuple(tree, [self.replace(v) for v in tree])
        if isinstance(tree, list | dict) and id(tree) not in self._containers:
            self._containers[id(tree)] = tree
            for key, value in list(tree.items() if isinstance(tree, dict) else enumerate(tree)):
                if isinstance(value, _HOLDERS):
                    _put(tree, key, self.replace(value))
        return tree

    def undo(self) -> None:
        """Puts the originals back wherever the replacements still are."""
        original = {id(new): old for new, old in zip(self.replacements, self.originals, strict=True)}
        for container in self._containers.values():
            for key, value in list(container.items() if isinstance(container, dict) else enumerate(container)):
                if isinstance(value, (Handle, tuple)):
                    _put(container, key, _restored(value, original))


def _restored(value: Any, original: dict[int, Handle]) -> Any:
    # a function of its own: one that calls itself from inside another is a cycle, and keeps the arrays with it
    if isinstance(value, tuple):
        return like_tuple(value, [_restored(v, original) for v in value])
    return original.get(id(value), value)


def _put(container: Any, key: Any, value: Any) -> None:
    # the plain item assignment, also where a subclass has its own
    (dict if isinstance(container, dict) else list).__setitem__(container, key, value)


# --- structures -------------------------------------------------------------------------------------------------------
class _Leaf:
    def __repr__(self) -> str:
        return "*"


LEAF = _Leaf()


class _Other:
    """A leaf that is no array."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def structure(tree: Any, found: list[Handle]) -> Any:
    """A tree's shape without its arrays, which are appended to ``found``. ``build`` and ``write`` invert it."""
    if isinstance(tree, Handle):
        found.append(tree)
        return LEAF
    if isinstance(tree, dict):
        return {k: structure(v, found) for k, v in tree.items()}
    if isinstance(tree, list):
        return [structure(v, found) for v in tree]
    if isinstance(tree, tuple):
        return like_tuple(tree, [structure(v, found) for v in tree])
    return _Other(tree)


def build(shape: Any, leaves: Iterator[Any], *, others: bool = True) -> Any:
    """A new tree of the given structure; without ``others``, None is in the place of leaves that are no arrays."""
    if shape is LEAF:
        return next(leaves)
    if isinstance(shape, dict):
        return {k: build(v, leaves, others=others) for k, v in shape.items()}
    if isinstance(shape, list):
        return [build(v, leaves, others=others) for v in shape]
    if isinstance(shape, tuple):
        return like_tuple(shape, [build(v, leaves, others=others) for v in shape])
    return shape.value if others else None


def write(target: Any, shape: Any, leaves: Iterator[Any]) -> Any:
    """Writes leaves into the containers of an existing tree, which gets what it lacks of the structure.

    Returns the tree; a new one where ``target`` is none of that kind. Leaves that are no arrays are left alone.
    """
    if isinstance(shape, dict) and isinstance(target, dict):
        put = dict.__setitem__
        for key, sub in shape.items():
            if sub is LEAF:
                put(target, key, next(leaves))
            elif type(sub) is not _Other:
                put(target, key, write(target.get(key), sub, leaves))
        return target
    if isinstance(shape, list) and isinstance(target, list):
        for i, sub in enumerate(shape):
            if i == len(target):
                target.append(build(sub, leaves))
            elif type(sub) is not _Other:
                target[i] = write(target[i], sub, leaves)
        return target
    if isinstance(shape, tuple) and isinstance(target, tuple) and len(shape) == len(target):
        pairs = zip(target, shape, strict=True)
        return like_tuple(shape, [t if type(s) is _Other else write(t, s, leaves) for t, s in pairs])
    return build(shape, leaves)


def prefix(axes: Any, tree: Any, op: str) -> list[Any]:
    """For each array of the tree the axis that a prefix of the tree names for it.

    Raises:
        ValueError: for what is no prefix of the tree, and leaves that are neither an int nor None.
    """
    if axes is None or isinstance(axes, int):
        return [axes] * len(arrays(tree))
    if isinstance(axes, list | tuple) and isinstance(tree, list | tuple) and len(axes) == len(tree):
        return [x for a, t in zip(axes, tree, strict=True) for x in prefix(a, t, op)]
    if isinstance(axes, dict) and isinstance(tree, dict) and axes.keys() == tree.keys():
        return [x for key, t in tree.items() for x in prefix(axes[key], t, op)]
    if not isinstance(axes, list | tuple | dict) or isinstance(tree, Handle):
        raise ValueError(f"[{op}] expected int or None as an axis, got {shown(axes)}")
    raise ValueError(
        f"[{op}] expected axes that are a prefix of the tree of arrays, got {shown(axes)} for {type(tree).__name__} "
        f"of {len(tree) if hasattr(tree, '__len__') else 0}: give one axis, or one for each element"
    )
