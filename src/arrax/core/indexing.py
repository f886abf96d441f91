"""Indexing: ``a[...]``, ``a[...] = b`` and ``a.at[...]``.

An index is split into its *basic* part (integers, slices, None, Ellipsis), which is a slice and a reshape, and its
*advanced* part (arrays of positions), which is a take or a scatter along one axis: several arrays are combined into
positions along their axes merged into one, as in NumPy. A mask stands for the positions of its True elements, one array
for each of its axes. It is evaluated for them, since they decide the result's shape; only where a mask is the whole
index of an assignment or an update is nothing evaluated.

Integers, lists and NumPy arrays are checked: those out of range raise IndexError. The elements of an ``array`` of
positions are not known when the index is recorded. Each counts from the end of its axis where it is negative; outside
of the axis all the same, it reads the first or the last element, whichever is nearer, and writes nothing. Memory is
never touched outside of the array. (Derivatives follow the write: nothing flows back to the element read instead.)
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from arrax.core.convert import INT_MAX, INT_MIN, list_node, typed_node, values
from arrax.core.ops.indexed import check_axis, position
from arrax.core.ops.shape import record_broadcast
from arrax.graph.dtypes import bool_, float32, int32
from arrax.graph.errors import bounded
from arrax.graph.handle import Handle, wrap
from arrax.graph.node import Node, Shape
from arrax.graph.primitive import broadcast_shapes
from arrax.graph.symbol import Symbol
from arrax.graph.template import needed
from arrax.prims import gather
from arrax.prims import pointwise as p
from arrax.prims import scan as s
from arrax.prims import view as v
from arrax.prims.leaf import constant, placeholder
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
        checked: the axes of those that are known to lie inside.
        result: one entry per axis of the result, and of the region: its axis in the region, None for a new axis of
            size 1, or a negative number -1 - axis for an axis of the region that an integer removes.
    """

    starts: list[int] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    region: list[int] = field(default_factory=list)
    arrays: dict[int, Node] = field(default_factory=dict)
    checked: set[int] = field(default_factory=set)
    result: list[int | None] = field(default_factory=list)


def _refuse(index: Any) -> Exception:
    return ValueError(
        "[index] expected integers, slices, None, ... or arrays of integers or booleans, "
        f"got {type(index).__name__}: convert it"
    )


def _as_array(index: Any) -> Node | np.ndarray | None:
    """An index that is an array: a node, or a NumPy array if it comes from outside or from a list; None for others."""
    if isinstance(index, Handle):
        return index._node
    if isinstance(index, np.ndarray):
        return index
    if not isinstance(index, list):
        return None
    if not index:
        return np.zeros(0, np.int32)
    if bounded("index", _holds_arrays, index):
        return list_node(index, None)
    try:
        return np.array(index)
    except (ValueError, OverflowError):
        raise ValueError("[index] expected nested lists of one length, got different ones: pad them first") from None


def _holds_arrays(values: list) -> bool:
    return any(isinstance(x, Handle) or (isinstance(x, list) and _holds_arrays(x)) for x in values)


class MaskError(ValueError, IndexError):
    """A mask that does not fit the array: an IndexError, as in the array API standard, and a ValueError, as in MLX."""


def _is_mask(index: Node | np.ndarray) -> bool:
    return index.dtype == bool if isinstance(index, np.ndarray) else index.dtype is bool_


def _expand(index: Any, shape: Shape) -> list[Any]:
    """The entries of an index, one for every axis and every new axis; masks became arrays of positions."""
    entries = list(index) if isinstance(index, tuple) else [index]
    found: list[Any] = []
    for k, entry in enumerate(entries):
        positions = _as_array(entry)
        if positions is None:
            found.append(entry)
        elif _is_mask(positions):
            found += _positions(positions, shape, _axes_taken(found, entries[k:], len(shape)))
        elif positions.dtype.kind not in "iu" if isinstance(positions, np.ndarray) else not positions.dtype.is_integer:
            name = getattr(positions.dtype, "name", positions.dtype)
            raise ValueError(f"[index] expected an array of integers, got {name}: cast it with astype")
        else:
            found.append(positions)
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
    if not any(e is Ellipsis for e in before):
        return taken
    behind = 0
    for entry in rest:
        array = _as_array(entry)
        behind += array.ndim if array is not None and _is_mask(array) else entry is not None
    return ndim - behind


def _positions(mask: Node | np.ndarray, shape: Shape, axis: int) -> list[np.ndarray]:
    """The positions of the True elements; evaluates the mask, as they decide the shape of the result."""
    if not mask.ndim:
        raise ValueError("[index] expected a mask with at least one axis, got a single boolean: use it alone")
    wanted = shape[axis : axis + mask.ndim]
    # as in NumPy, an axis without elements selects nothing from any
    if len(wanted) < mask.ndim or any([m not in (n, 0) for m, n in zip(mask.shape, wanted, strict=True)]):
        raise MaskError(
            f"[index] expected a mask of shape {list(wanted)}, got {list(mask.shape)}: index the axes that it fits"
        )
    return list(np.nonzero(mask if isinstance(mask, np.ndarray) else values(mask)))


def _check(positions: np.ndarray, n: int) -> Node:
    """Positions that are known now; raises IndexError for one out of range."""
    wrong = positions[(positions < -n) | (positions >= n)]
    if wrong.size:
        position("index", int(wrong[0]), n)
    positions = positions.astype(np.int64)
    return from_numpy_array(np.where(positions < 0, positions + n, positions).astype(gather.position_type(n).np))


def _slice_bounds(entry: slice, n: int) -> tuple[int, int, int]:
    """First position, step and length."""
    try:
        if isinstance(n, Symbol):
            return _symbolic_bounds(entry, n)
        for bound in (entry.start, entry.stop, entry.step):
            if bound is not None and not INT_MIN <= operator.index(bound) <= INT_MAX:
                raise OverflowError
        start, stop, step = entry.indices(n)
    except OverflowError:
        raise ValueError(f"[index] expected 32-bit integers in a slice, got {entry}: leave out such bounds") from None
    except TypeError:
        raise ValueError(f"[index] expected integers or None in a slice, got {entry}: convert them with int") from None
    except ValueError:
        raise ValueError("[index] expected a step other than 0, got 0: leave it out") from None
    length = len(range(start, stop, step))
    return (start if length else 0), step, length


def _symbolic_bounds(entry: slice, n: Any) -> tuple[Any, int, Any]:
    """The same for a size that may differ; what is compared here stays true, or the function is traced again."""
    step = 1 if entry.step is None else operator.index(entry.step)
    if not step:
        raise ValueError

    def bound(value: Any, default: Any, low: Any, high: Any) -> Any:
        if value is None:
            return default
        value = operator.index(value)
        return max(value + n, low) if value < 0 else min(value, high)

    if step > 0:
        start, stop = bound(entry.start, 0, 0, n), bound(entry.stop, n, 0, n)
    else:
        start, stop = bound(entry.start, n - 1, -1, n - 1), bound(entry.stop, -1, -1, n - 1)
    return start, step, max((stop - start + step - (1 if step > 0 else -1)) // step, 0)


def _plan(index: Any, shape: Shape) -> _Plan:
    plan = _Plan()
    axis = 0
    entries = _expand(index, shape)
    advanced = any(isinstance(e, Node | np.ndarray) for e in entries)
    for entry in entries:
        if entry is None:
            plan.result.append(None)
            continue
        n = shape[axis]
        start, step, length = 0, 1, n
        if isinstance(entry, Node):
            plan.arrays[axis] = entry
            plan.result.append(axis)
        elif isinstance(entry, np.ndarray):
            plan.arrays[axis] = _check(entry, n)
            plan.checked.add(axis)
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
                plan.checked.add(axis)
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
    return tuple(plan.region) == shape and all(s == 1 or n == 1 for s, n in zip(plan.steps, shape, strict=True))


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
        check_axis("index", node, 0, index._node)
        return gather.take(node, index._node, 0)
    single = None if isinstance(index, tuple) else _as_array(index)
    if single is not None and not single.ndim and _is_mask(single):
        # one boolean for the whole array: all of it, or nothing, along a new axis
        chosen = int(single if isinstance(single, np.ndarray) else values(single))
        return v.slice_(v.reshape(node, (1, *node.shape)), (chosen, *node.shape), (0,) * (node.ndim + 1))
    plan = _plan(index, node.shape)
    if not _is_whole(plan, node.shape):
        node = v.slice_(node, tuple(plan.region), tuple(plan.starts), tuple(plan.steps))
    if not plan.arrays:
        return v.reshape(node, _final_shape(plan))
    return _Advanced(plan, node.shape, reading=True).read(node)


class _Advanced:
    """Arrays of positions, combined into positions along one merged axis of a region.

    Attributes:
        order: the region's axes with those that arrays select moved together.
        at: where the merged axis stands in this order.
        merged: the shape of the region so transposed and merged.
        index: the positions along the merged axis.
    """

    def __init__(self, plan: _Plan, shape: Shape, reading: bool) -> None:
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
        self.index = self._combine(arrays, [shape[i] for i in axes], [i in plan.checked for i in axes], reading)
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

    def _combine(self, arrays: list[Node], sizes: list[int], checked: list[bool], reading: bool) -> Node:
        if len(arrays) == 1:
            return arrays[0]
        # an array that leads outside of its own axis must not lead to another place of the merged one
        dtype = gather.position_type(math.prod(sizes))
        total, outside = constant(0, dtype), None
        for a, n, known in zip(arrays, sizes, checked, strict=True):
            if not known:
                a = gather.clamped(a, n) if reading else gather.wrapped(a, n)
                if not reading:
                    out = p.equal(gather.within(a, n), constant(False, bool_))
                    outside = out if outside is None else p.bitwise_or(outside, out)
            total = p.add(p.mul(total, constant(n, dtype)), cast(a, dtype))
        if outside is not None:
            total = p.where(outside, constant(math.prod(sizes), dtype), total)
        return record_broadcast("index", total, self.common)

    def merge(self, node: Node) -> Node:
        return v.reshape(v.transpose(node, self.order), self.merged)

    def unmerge(self, node: Node) -> Node:
        back = [0] * len(self.order)
        for i, axis in enumerate(self.order):
            back[axis] = i
        return v.transpose(v.reshape(node, self.transposed), tuple(back))

    def read(self, node: Node) -> Node:
        merged = self.merge(node)
        check_axis("index", merged, self.at, self.index)
        return v.reshape(gather.take(merged, self.index, self.at), self.result)

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
    return typed_node("index", value, like.dtype)


def _fit(update: Node, ndim: int) -> Node:
    """Without leading axes of size 1 that the target does not have."""
    while update.ndim > ndim and update.shape[0] == 1:
        update = v.reshape(update, update.shape[1:])
    return update


# how the selected elements of a slice meet their updates; on ties of extrema both take part, as when arrays select
_COMBINE: dict[str, Callable[[Node, Node], Node]] = {
    "set": lambda old, new: new,
    "add": p.add,
    "mul": p.mul,
    "max": p.update_max,
    "min": p.update_min,
}
_WHOLE = _COMBINE | {"max": p.maximum, "min": p.minimum}  # in MLX not if a slice is all of the array


def put(node: Node, index: Any, value: Any) -> Node:
    """The array with the elements that an index selects replaced; the value broadcasts and is cast.

    Raises:
        IndexError: for a Python integer out of range.
        RuntimeError: for fewer rows than a mask has True elements.
        ValueError: for too many indices, one of a type that cannot index, or a value that does not broadcast.
    """
    return _update(node, index, _value(value, node), "set")


def _update(node: Node, index: Any, update: Node, how: str) -> Node:
    if isinstance(index, bool | np.bool_):  # all of the array, or nothing
        index = np.array(index)
    mask = None if isinstance(index, tuple) else _as_array(index)
    if mask is not None and _is_mask(mask):
        return _put_mask(node, from_numpy_array(mask) if isinstance(mask, np.ndarray) else mask, update, how)
    return _write(node, index, update, how)


def _put_mask(node: Node, mask: Node, update: Node, how: str) -> Node:
    """An update of what a mask selects: one row for all, or the k-th for the k-th True; further ones are left over."""
    if mask.shape != node.shape[: mask.ndim]:
        raise MaskError(
            f"[index] expected a mask of shape {list(node.shape[: mask.ndim])}, got {list(mask.shape)}: change it"
        )
    rest = node.shape[mask.ndim :]
    wide = v.reshape(mask, (*mask.shape, *(1,) * len(rest)))
    update = _fit(update, len(rest) + 1)
    if update.ndim > len(rest) + 1:
        raise ValueError(
            f"[index] expected values with at most {len(rest) + 1} axes for a mask, got {update.ndim}: flatten them"
        )
    if update.ndim == len(rest) + 1:
        n = update.shape[0]
        rows = record_broadcast("index", update, (n, *rest))
        if n == 1:
            update = v.reshape(rows, rest)
        else:
            _check_rows(mask, n)
            flat = v.reshape(mask, (mask.size,))
            dtype = gather.position_type(mask.size)
            k = p.sub(s.cumsum(cast(flat, dtype), 0, False, True), constant(1, dtype))
            rows = (
                gather.take(rows, p.stop_gradient(p.maximum(k, constant(0, dtype))), 0)
                if n
                else v.broadcast(constant(0, node.dtype), (mask.size, *rest))
            )
            update = v.reshape(rows, node.shape)
    update = record_broadcast("index", update, node.shape)
    return p.where(wide, _COMBINE[how](node, update), node)


def _check_rows(mask: Node, n: int) -> None:
    """Raises RuntimeError for fewer rows than True elements; while a transform traces the mask nobody knows them."""
    if n >= mask.size or (mask.buffer is None and any(x.prim is placeholder for x in needed([mask]))):
        return
    count = int(np.count_nonzero(values(mask)))
    if n < count:
        raise RuntimeError(
            f"[index] expected {count} rows of values for a mask with {count} True elements, got {n}: pass as many"
        )


def _write(node: Node, index: Any, update: Node, how: str) -> Node:
    plan = _plan(index, node.shape)
    region = tuple(plan.region)
    for axis, positions in plan.arrays.items():
        check_axis("index", node, axis, positions)
    if 0 in region:
        return node
    starts, steps = tuple(plan.starts), tuple(plan.steps)
    whole = _is_whole(plan, node.shape)
    old = node if whole else v.slice_(node, region, starts, steps)
    if plan.arrays:
        target = _Advanced(plan, region, reading=False)
        new = target.write(old, _fit(update, len(target.result)), how)
    else:
        shape = _final_shape(plan)
        spread = v.reshape(record_broadcast("index", _fit(update, len(shape)), shape), region)
        new = (_WHOLE if whole else _COMBINE)[how](old, spread)
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

    Integers, lists and NumPy arrays out of range raise IndexError. The elements of an ``array`` are not checked: a
    position outside writes nothing, and where it is read it stands for the nearest one inside.

    >>> import arrax.core as mx
    >>> mx.array([0, 0]).at[mx.array([1, 1])].add(1)
    array([0, 2], dtype=int32)
    """

    def __init__(self, a: array, index: Any = None, chosen: bool = False) -> None:
        self._array, self._index, self._chosen = a, index, chosen

    def __getitem__(self, indices: Any) -> ArrayAt:
        return ArrayAt(self._array, indices, True)

    def _apply(self, value: Any, how: str) -> array:
        if not self._chosen:
            raise ValueError("[at] expected indices, got none: write a.at[i].add(b)")
        node = self._array._node
        return wrap(_update(node, self._index, _value(value, node), how))

    def add(self, value: Any) -> array:
        """With ``value`` added to the selected elements."""
        return self._apply(value, "add")

    def subtract(self, value: Any) -> array:
        """With ``value`` subtracted from the selected elements."""
        node = self._array._node
        return self._apply(wrap(p.neg(_value(value, node))), "add")

    def multiply(self, value: Any) -> array:
        """With the selected elements multiplied by ``value``."""
        return self._apply(value, "mul")

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
        """With the selected elements at least ``value``. Where both are equal, each gets the whole derivative.

        A NaN wins; but where arrays select, what comes later replaces a NaN.
        """
        return self._apply(value, "max")

    def minimum(self, value: Any) -> array:
        """With the selected elements at most ``value``; ties and NaN as for ``maximum``."""
        return self._apply(value, "min")
