"""Indexing: ``a[...]``, ``a[...] = b`` and ``a.at[...]``.

An index is split into its *basic* part (integers, slices, None, Ellipsis), which is a slice and a reshape, and its
*advanced* part (arrays of positions), which is a take or a scatter along one axis: several arrays are combined into
positions along their axes merged into one, as in NumPy.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from arrax.core.convert import as_node, list_node, numpy_node, values
from arrax.core.ops.indexed import position
from arrax.core.ops.shape import record_broadcast
from arrax.graph.dtypes import bool_, float32, int32
from arrax.graph.handle import Handle, wrap
from arrax.graph.node import Node, Shape
from arrax.graph.primitive import broadcast_shapes
from arrax.prims import gather
from arrax.prims import pointwise as p
from arrax.prims import scan as s
from arrax.prims import view as v
from arrax.prims.leaf import constant
from arrax.prims.pointwise import cast
from arrax.runtime.executor import from_numpy_array

if TYPE_CHECKING:
    from arrax.core.array import array


@dataclass(slots=True)
class _Plan:
    """What an index means for one shape.

    Attributes:
        starts, steps, region: the slice that holds all selected elements (an integer selects a region of size 1).
        arrays: the arrays of positions, by the axis of the region that they select along.
        result: one entry per axis of the result, and of the region: its axis in the region, None for a new axis of
            size 1, or a negative number -1 - axis for an axis of the region that an integer removes.
    """

    starts: list[int] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    region: list[int] = field(default_factory=list)
    arrays: dict[int, Node] = field(default_factory=dict)
    result: list[int | None] = field(default_factory=list)


def _refuse(index: Any) -> Exception:
    return ValueError(
        f"[index] expected integers, slices, None, ... or arrays of integers, got {type(index).__name__}: convert it"
    )


def _as_array(index: Any) -> Node | None:
    """The node of an index that is an array or a list, None for any other."""
    if isinstance(index, Handle):
        return index._node
    if isinstance(index, list):
        return list_node(index, None) if index else from_numpy_array(np.zeros(0, np.int32))
    if isinstance(index, np.ndarray):
        return numpy_node(index)
    return None


def _expand(index: Any, shape: Shape) -> list[Any]:
    """The entries of an index, one for every axis and every new axis; masks became arrays of positions."""
    entries = list(index) if isinstance(index, tuple) else [index]
    found: list[Any] = []
    for entry in entries:
        node = _as_array(entry)
        if node is None:
            found.append(entry)
        elif node.dtype is bool_:
            found += _positions(node, shape, _axes_taken(found, entries[len(found) :], len(shape)))
        elif not node.dtype.is_integer:
            raise ValueError(f"[index] expected an array of integers, got {node.dtype.name}: cast it with astype")
        else:
            found.append(node)
    used = sum(1 for e in found if e is not None and e is not Ellipsis)
    if used > len(shape):
        raise ValueError(f"[index] expected at most {len(shape)} indices, got {used}: the array has {len(shape)} axes")
    gaps = [i for i, e in enumerate(found) if e is Ellipsis]
    if len(gaps) > 1:
        raise ValueError(f"[index] expected one ellipsis at most, got {len(gaps)}: write out the axes")
    at = gaps[0] if gaps else len(found)
    return [*found[:at], *[slice(None)] * (len(shape) - used), *found[at + 1 :]]


def _axes_taken(before: list[Any], rest: list[Any], ndim: int) -> int:
    """The axis at which an entry stands that follows the given ones."""
    taken = sum(1 for e in before if e is not None and e is not Ellipsis)
    if Ellipsis not in [e for e in before if not isinstance(e, Node)]:
        return taken
    behind = 0
    for entry in rest:
        node = _as_array(entry)
        behind += node.ndim if node is not None and node.dtype is bool_ else entry is not None
    return ndim - behind


def _positions(mask: Node, shape: Shape, axis: int) -> list[Node]:
    """The positions of the True elements; evaluates the mask, as they decide the shape of the result."""
    if mask.shape != shape[axis : axis + mask.ndim]:
        raise ValueError(
            f"[index] expected a mask of shape {list(shape[axis : axis + mask.ndim])}, got {list(mask.shape)}: "
            "index the axes that it fits"
        )
    return [from_numpy_array(i.astype(np.int32)) for i in np.nonzero(values(mask))]


def _slice_bounds(entry: slice, n: int) -> tuple[int, int, int]:
    """First position, step and length."""
    try:
        start, stop, step = entry.indices(n)
    except TypeError:
        raise ValueError(f"[index] expected integers or None in a slice, got {entry}: convert them with int") from None
    except ValueError:
        raise ValueError("[index] expected a step other than 0, got 0: leave it out") from None
    length = len(range(start, stop, step))
    return (start if length else 0), step, length


def _plan(index: Any, shape: Shape) -> _Plan:
    plan = _Plan()
    axis = 0
    entries = _expand(index, shape)
    advanced = any(isinstance(e, Node) for e in entries)
    for entry in entries:
        if entry is None:
            plan.result.append(None)
            continue
        n = shape[axis]
        start, step, length = 0, 1, n
        if isinstance(entry, Node):
            plan.arrays[axis] = entry
            plan.result.append(axis)
        elif isinstance(entry, slice):
            start, step, length = _slice_bounds(entry, n)
            plan.result.append(axis)
        elif isinstance(entry, bool | np.bool_ | float | str | bytes | tuple):
            raise _refuse(entry)
        else:
            try:
                i = position("index", operator.index(entry), n)
            except TypeError:
                raise _refuse(entry) from None
            if advanced:
                # beside arrays an integer is an array too: it takes part in where the result's axes stand
                plan.arrays[axis] = constant(i, int32)
                plan.result.append(axis)
            else:
                start, length = i, 1
                plan.result.append(-1 - axis)
        plan.starts.append(start)
        plan.steps.append(step)
        plan.region.append(length)
        axis += 1
    return plan


def _is_whole(plan: _Plan, shape: Shape) -> bool:
    return tuple(plan.region) == shape and all(step == 1 for step in plan.steps)


def _final_shape(plan: _Plan) -> Shape:
    """The shape of a basic index' result."""
    return tuple(1 if i is None else plan.region[i] for i in plan.result if i is None or i >= 0)


# --- reading ----------------------------------------------------------------------------------------------------------
def get(node: Node, index: Any) -> Node:
    """The elements that an index selects.

    Raises:
        IndexError: for a Python integer out of range.
        ValueError: for too many indices, or one of a type that cannot index.
    """
    if type(index) is int and node.shape:
        n = node.shape[0]
        i = position("index", index, n)
        rest = node.shape[1:]
        return v.reshape(v.slice_(node, (1, *rest), (i, *(0 for _ in rest))), rest)
    if isinstance(index, Handle) and node.shape and index._node.dtype.is_integer:
        return gather.take(node, index._node, 0)
    plan = _plan(index, node.shape)
    if not _is_whole(plan, node.shape):
        node = v.slice_(node, tuple(plan.region), tuple(plan.starts), tuple(plan.steps))
    if not plan.arrays:
        return v.reshape(node, _final_shape(plan))
    return _Advanced(plan, node.shape).read(node)


class _Advanced:
    """Arrays of positions, combined into positions along one merged axis of a region.

    Attributes:
        order: the region's axes with those that arrays select moved together.
        at: where the merged axis stands in this order.
        merged: the shape of the region so transposed and merged.
        index: the positions along the merged axis.
    """

    def __init__(self, plan: _Plan, shape: Shape) -> None:
        axes = sorted(plan.arrays)
        arrays = [plan.arrays[i] for i in axes]
        self.common = broadcast_shapes("index", *(a.shape for a in arrays))
        places = [k for k, i in enumerate(plan.result) if i in plan.arrays]
        together = places[-1] - places[0] == len(places) - 1
        others = [i for i in range(len(shape)) if i not in plan.arrays]
        self.at = sum(1 for i in others if i < axes[0]) if together else 0
        self.order = tuple([*others[: self.at], *axes, *others[self.at :]])
        size = 1
        for i in axes:
            size *= shape[i]
        rest = [shape[i] for i in others]
        self.transposed = tuple(shape[i] for i in self.order)
        self.merged = tuple([*rest[: self.at], size, *rest[self.at :]])
        self.index = self._combine(arrays, [shape[i] for i in axes])
        # the result: axes of the region in their order, the arrays' axes where the merged one is, new axes in between
        found: list[int] = []
        front = [] if together else list(self.common)
        done = not together
        for axis in plan.result:
            if axis is None:
                found.append(1)
            elif axis in plan.arrays:
                if not done:
                    found += self.common
                    done = True
            else:
                found.append(shape[axis])
        self.result = tuple([*front, *found])

    def _combine(self, arrays: list[Node], sizes: list[int]) -> Node:
        if len(arrays) == 1:
            return arrays[0]
        total: Node | None = None
        for a, n in zip(arrays, sizes, strict=True):
            i = cast(a, int32)
            if a.dtype.is_signed:
                i = p.where(p.less(i, constant(0, int32)), p.add(i, constant(n, int32)), i)
            total = i if total is None else p.add(p.mul(total, constant(n, int32)), i)
        assert total is not None
        return record_broadcast("index", total, self.common)

    def merge(self, node: Node) -> Node:
        return v.reshape(v.transpose(node, self.order), self.merged)

    def unmerge(self, node: Node) -> Node:
        back = [0] * len(self.order)
        for i, axis in enumerate(self.order):
            back[axis] = i
        return v.transpose(v.reshape(node, self.transposed), tuple(back))

    def read(self, node: Node) -> Node:
        return v.reshape(gather.take(self.merge(node), self.index, self.at), self.result)

    def write(self, node: Node, update: Node, how: str) -> Node:
        """The region with the elements combined; the update broadcasts to ``result``."""
        spread = record_broadcast("index", update, self.result)
        shape = (*self.merged[: self.at], *self.common, *self.merged[self.at + 1 :])
        return self.unmerge(gather.scatter(self.merge(node), self.index, v.reshape(spread, shape), self.at, how))


# --- writing ----------------------------------------------------------------------------------------------------------
def _value(value: Any, like: Node) -> Node:
    if value is None or isinstance(value, list | tuple | str | dict):
        error = TypeError if value is None else ValueError
        raise error(
            f"[index] expected an array or a scalar to assign, got {type(value).__name__}: convert it with mx.array"
        )
    return cast(as_node("index", value), like.dtype)


def _fit(update: Node, ndim: int) -> Node:
    """Without leading axes of size 1 that the target does not have."""
    while update.ndim > ndim and update.shape[0] == 1:
        update = v.reshape(update, update.shape[1:])
    return update


def put(node: Node, index: Any, value: Any) -> Node:
    """The array with the elements that an index selects replaced; the value broadcasts and is cast."""
    update = _value(value, node)
    if not isinstance(index, tuple):
        mask = _as_array(index)
        if mask is None and isinstance(index, bool):
            raise _refuse(index)
        if mask is not None and mask.dtype is bool_:
            return _put_mask(node, mask, update)
    return _write(node, index, update, "set", lambda old, new: new)


def _put_mask(node: Node, mask: Node, update: Node) -> Node:
    """Assignment by a mask; an update with one element per True takes them in order."""
    if mask.shape != node.shape[: mask.ndim]:
        raise ValueError(
            f"[index] expected a mask of shape {list(node.shape[: mask.ndim])}, got {list(mask.shape)}: change it"
        )
    rest = node.shape[mask.ndim :]
    wide = v.reshape(mask, (*mask.shape, *(1,) * len(rest)))
    update = _fit(update, len(rest) + 1)
    if update.ndim == len(rest) + 1 and update.shape[0] == 1:
        update = v.reshape(update, update.shape[1:])
    if update.ndim > len(rest):
        # the k-th True takes the k-th row
        flat = v.reshape(mask, (mask.size,))
        k = p.sub(s.cumsum(cast(flat, int32), 0, False, True), constant(1, int32))
        rows = record_broadcast("index", update, (*update.shape[: -len(rest)], *rest)) if rest else update
        rows = v.reshape(rows, (rows.size // (math.prod(rest) or 1), *rest))
        update = v.reshape(gather.take(rows, p.maximum(k, constant(0, int32)), 0), node.shape)
    return p.where(wide, record_broadcast("index", update, node.shape), node)


def _write(node: Node, index: Any, update: Node, how: str, combine: Callable[[Node, Node], Node]) -> Node:
    plan = _plan(index, node.shape)
    region = tuple(plan.region)
    if 0 in region:
        return node
    starts, steps = tuple(plan.starts), tuple(plan.steps)
    whole = _is_whole(plan, node.shape)
    old = node if whole else v.slice_(node, region, starts, steps)
    if plan.arrays:
        target = _Advanced(plan, region)
        new = target.write(old, _fit(update, len(target.result)), how)
    else:
        shape = _final_shape(plan)
        spread = v.reshape(record_broadcast("index", _fit(update, len(shape)), shape), region)
        new = combine(old, spread)
    return new if whole else v.slice_update(node, new, starts, steps)


class ArrayIterator:
    """Goes over the first axis of an array."""

    def __init__(self, a: array) -> None:
        self._array, self._next = a, 0

    def __iter__(self) -> ArrayIterator:
        return self

    def __next__(self) -> array:
        if self._next >= self._array._node.shape[0]:
            raise StopIteration
        self._next += 1
        return wrap(get(self._array._node, self._next - 1))


class ArrayAt:
    """Updates at indices: unlike ``a[i] += b``, an index that occurs twice counts twice, and the array stays.

    >>> import arrax.core as mx
    >>> mx.array([0, 0]).at[mx.array([1, 1])].add(1)
    array([0, 2], dtype=int32)
    """

    def __init__(self, a: array, index: Any = None, chosen: bool = False) -> None:
        self._array, self._index, self._chosen = a, index, chosen

    def __getitem__(self, indices: Any) -> ArrayAt:
        return ArrayAt(self._array, indices, True)

    def _apply(self, value: Any, how: str, combine: Callable[[Node, Node], Node]) -> array:
        if not self._chosen:
            raise ValueError("[at] expected indices, got none: write a.at[i].add(b)")
        node = self._array._node
        return wrap(_write(node, self._index, _value(value, node), how, combine))

    def add(self, value: Any) -> array:
        """With ``value`` added to the selected elements."""
        return self._apply(value, "add", p.add)

    def subtract(self, value: Any) -> array:
        """With ``value`` subtracted from the selected elements."""
        node = self._array._node
        return self._apply(wrap(p.neg(_value(value, node))), "add", p.add)

    def multiply(self, value: Any) -> array:
        """With the selected elements multiplied by ``value``."""
        return self._apply(value, "mul", p.mul)

    def divide(self, value: Any) -> array:
        """With the selected elements divided by ``value``; integers by way of float32."""
        node = self._array._node
        one = constant(1, node.dtype)
        ones = wrap(v.broadcast(one, node.shape))
        divisor = ArrayAt(ones, self._index, self._chosen).multiply(value)._node
        if node.dtype.is_inexact:
            return wrap(p.div(node, divisor))
        quotient = cast(p.div(cast(node, float32), cast(divisor, float32)), node.dtype)
        return wrap(p.where(p.equal(divisor, one), node, quotient))

    def maximum(self, value: Any) -> array:
        """With the selected elements at least ``value``."""
        return self._apply(value, "max", p.maximum)

    def minimum(self, value: Any) -> array:
        """With the selected elements at most ``value``."""
        return self._apply(value, "min", p.minimum)
