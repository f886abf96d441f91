"""Reading and writing at positions that are data, and strided windows.

Positions count from the end where they are negative; what lies outside all the same is clamped when it is read and left
out when it is written: memory is never touched outside an array.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from arrax.graph.dtypes import Dtype, int32, int64
from arrax.graph.node import Node, Shape
from arrax.graph.primitive import Primitive, register
from arrax.prims.leaf import constant, iota
from arrax.prims.pointwise import (
    add,
    bitwise_and,
    cast,
    div,
    equal,
    greater_equal,
    less,
    maximum,
    minimum,
    mul,
    where,
)
from arrax.prims.view import broadcast, move_axis, reshape, to_front, transpose


def _wide(index: np.ndarray) -> np.ndarray:
    """Positions as int64; what that cannot hold lies outside all the same."""
    if index.dtype == np.uint64:
        index = np.minimum(index, np.uint64(2**63 - 1))
    return index.astype(np.int64)


def _inside(index: np.ndarray, n: int) -> np.ndarray:
    wide = _wide(index)
    return np.clip(np.where(wide < 0, wide + n, wide), 0, max(n - 1, 0))


def _zeros(like: Node, shape: Shape) -> Node:
    return broadcast(constant(0, like.dtype), shape)


# --- take: whole slices -----------------------------------------------------------------------------------------------
def _take_infer(inputs: tuple[Node, ...], params: tuple) -> tuple[Shape, Dtype]:
    a, index = inputs
    axis = params[0]
    return (*a.shape[:axis], *index.shape, *a.shape[axis + 1 :]), a.dtype


def _take_lower(node: Node, coords: tuple, ctx: Any) -> list:
    a, index = node.inputs
    axis = node.params[0]
    at = ctx.data(1, coords[axis : axis + index.ndim], a.shape[axis])
    return [*coords[:axis], at, *coords[axis + index.ndim :]]


def position_type(n: int) -> Dtype:
    """The type of positions on an axis of size ``n``: int32 where it holds them, those just outside included."""
    return int32 if n < 2**31 else int64


def wrapped(index: Node, n: int) -> Node:
    """Positions on an axis of size ``n`` that count from its start; what lies outside still does."""
    dtype = position_type(n)
    if index.dtype.size > dtype.size or (index.dtype.size == dtype.size and not index.dtype.is_signed):
        index = minimum(index, constant(n, index.dtype))
        if index.dtype.is_signed:
            index = maximum(index, constant(-n - 1, index.dtype))
    index = cast(index, dtype)
    return where(less(index, constant(0, dtype)), add(index, constant(n, dtype)), index)


def clamped(index: Node, n: int) -> Node:
    """Positions that lie inside."""
    index = wrapped(index, n)
    return minimum(maximum(index, constant(0, index.dtype)), constant(max(n - 1, 0), index.dtype))


def within(index: Node, n: int) -> Node:
    """Whether positions that ``wrapped`` has made lie on an axis of size ``n``."""
    return bitwise_and(greater_equal(index, constant(0, index.dtype)), less(index, constant(n, index.dtype)))


def _of_rows(index: Node, length: int) -> Node:
    """Positions in rows of some length, those of one row for each element of the first axis, counted through all."""
    size = index.shape[0]
    dtype = position_type(size * length)
    offsets = mul(iota((size,), 0, dtype), constant(length, dtype))
    return add(cast(index, dtype), reshape(offsets, (size, *(1,) * (index.ndim - 1))))


def _take_batch(n: Node, inputs: list[Node], batched: list[bool]) -> Node:
    (a, index), axis = inputs, n.params[0]
    if not batched[1]:
        return take(a, index, axis + 1)
    if not batched[0]:
        return move_axis(take(a, index, axis), axis, 0)
    size, length = a.shape[0], a.shape[axis + 1]
    rows = move_axis(a, axis + 1, 1)
    rest = rows.shape[2:]
    flat = reshape(rows, (size * length, *rest))
    result = take(flat, _of_rows(clamped(index, length), length), 0)
    # (size, index..., rest...) -> (size, rest before the axis, index..., rest after it)
    k = index.ndim - 1
    order = (0, *range(1 + k, 1 + k + axis), *range(1, 1 + k), *range(1 + k + axis, result.ndim))
    return transpose(result, order)


# params: (axis,)
take_p = register(
    Primitive(
        "take",
        "gather",
        _take_infer,
        lambda params, shape, dtype, a, index: np.take(a, _inside(index, a.shape[params[0]]), params[0]),
        lambda n, g: (scatter(_zeros(g, n.inputs[0].shape), n.inputs[1], g, n.params[0], "add"), None),
        _take_batch,
        lower=_take_lower,
        samples=[(("f4:5,3", "i4<5:4"), (0,)), (("f4:2,5,3", "i4<5:2,2"), (1,)), (("f4:5", "i4<5:"), (0,))],
    )
)


def take(a: Node, index: Node, axis: int) -> Node:
    """Slices of ``a`` along ``axis`` at the given positions; their axes replace the axis."""
    return Node(take_p, (a, index), (axis,), *_take_infer((a, index), (axis,)))


# --- take_along: single elements --------------------------------------------------------------------------------------
def _along_lower(node: Node, coords: tuple, ctx: Any) -> list:
    axis = node.params[0]
    at = ctx.data(1, coords, node.inputs[0].shape[axis])
    return [at if i == axis else c for i, c in enumerate(coords)]


def _along_reference(params: tuple, shape: Shape, dtype: Dtype, a: np.ndarray, index: np.ndarray) -> np.ndarray:
    return np.take_along_axis(a, _inside(index, a.shape[params[0]]), params[0])


def _along_vjp(n: Node, g: Node) -> tuple[Node, None]:
    (a, index), axis = n.inputs, n.params[0]
    if index.shape[axis] == 1:  # one position each: a comparison fuses with its users, a scatter does not
        at = wrapped(index, a.shape[axis])
        here = equal(iota(a.shape, axis, at.dtype), at)
        return where(here, g, constant(0, g.dtype)), None
    return scatter_along(_zeros(g, a.shape), index, g, axis, "add"), None


def _along_batch(n: Node, inputs: list[Node], batched: list[bool]) -> Node:
    a, index = to_front(inputs, batched)
    return take_along(a, index, n.params[0] + 1)


# Both inputs have one shape but for the axis. params: (axis,)
take_along_p = register(
    Primitive(
        "take_along",
        "gather",
        lambda inputs, params: (inputs[1].shape, inputs[0].dtype),
        _along_reference,
        _along_vjp,
        _along_batch,
        lower=_along_lower,
        samples=[(("f4:2,5", "i4<5:2,3"), (1,)), (("f4:5,2", "i4<5:3,2"), (0,))],
    )
)


def take_along(a: Node, index: Node, axis: int) -> Node:
    return Node(take_along_p, (a, index), (axis,), index.shape, a.dtype)


# --- scatter ----------------------------------------------------------------------------------------------------------
_COMBINE: dict[str, np.ufunc] = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
# Of a NaN and a number the later one stays, as in MLX: what is there gives way to all that it is not larger than.
_WITH_NAN: dict[str, np.ufunc] = {
    "max": np.frompyfunc(lambda old, new: old if old > new else new, 2, 1),
    "min": np.frompyfunc(lambda old, new: old if old < new else new, 2, 1),
}


def _combine_at(result: np.ndarray, at: Any, update: np.ndarray, how: str) -> None:
    if how == "set":
        result[at] = update
    elif how in _WITH_NAN and (np.isnan(update).any() or np.isnan(result).any()):
        wide = result.astype(object)
        with np.errstate(invalid="ignore"):
            _WITH_NAN[how].at(wide, at, update.astype(object))
        result[...] = wide.astype(result.dtype)
    elif result.dtype.itemsize == 2 and result.dtype.kind not in "iu":
        wide = result.astype(np.float32)
        _COMBINE[how].at(wide, at, update.astype(np.float32))
        result[...] = wide.astype(result.dtype)
    else:
        _COMBINE[how].at(result, at, update)


def _scatter_reference(
    params: tuple, shape: Shape, dtype: Dtype, base: np.ndarray, index: np.ndarray, update: np.ndarray
) -> np.ndarray:
    axis, how = params
    n = shape[axis]
    result = np.moveaxis(np.array(base), axis, 0).copy()
    at = _wide(index).reshape(-1)
    at = np.where(at < 0, at + n, at)
    rows = np.moveaxis(update.reshape(*base.shape[:axis], at.size, *base.shape[axis + 1 :]), axis, 0)
    keep = (at >= 0) & (at < n)
    _combine_at(result, at[keep], rows[keep], how)
    return np.moveaxis(result, 0, axis)


def _combined_vjp(n: Node, g: Node, take_from: Any, write: Any) -> tuple[Node, None, Node]:
    """The cotangents of base and update; ``take_from`` picks the positions of an array, ``write`` replaces them."""
    base, index, update = n.inputs
    axis, how = n.params
    zero = constant(0, g.dtype)
    written = within(wrapped(index, base.shape[axis]), base.shape[axis])
    written = reshape(written, (*index.shape, *(1,) * (update.ndim - axis - index.ndim)))

    def read(a: Node) -> Node:
        return where(written, take_from(a), zero)

    if how == "add":
        return g, None, read(g)
    if how == "set":
        return write(g, broadcast(zero, update.shape), "set"), None, read(g)
    if how == "mul":
        return write(g, update, "mul"), None, div(read(mul(g, n)), update)
    return where(equal(n, base), g, zero), None, where(equal(read(n), update), read(g), zero)


def _scatter_batch(n: Node, inputs: list[Node], batched: list[bool]) -> Node:
    axis, how = n.params
    if not batched[1]:
        base, update = to_front([inputs[0], inputs[2]], [batched[0], batched[2]])
        return scatter(base, inputs[1], update, axis + 1, how)
    base, index, update = to_front(inputs, batched)
    size, length, k = base.shape[0], base.shape[axis + 1], index.ndim - 1
    rows = move_axis(base, axis + 1, 1)
    flat = reshape(rows, (size * length, *rows.shape[2:]))
    # positions outside stay outside: they are moved past the end of everything
    index = wrapped(index, length)
    end = constant(size * length, position_type(size * length))
    index = where(within(index, length), _of_rows(index, length), end)
    order = (0, *range(1 + axis, 1 + axis + k), *range(1, 1 + axis), *range(1 + axis + k, update.ndim))
    done = scatter(flat, index, transpose(update, order), 0, how)
    return move_axis(reshape(done, rows.shape), 1, axis + 1)


# params: (axis, how)
scatter_p = register(
    Primitive(
        "scatter",
        "scatter",
        lambda inputs, params: (inputs[0].shape, inputs[0].dtype),
        _scatter_reference,
        lambda n, g: _combined_vjp(
            n,
            g,
            lambda a: take(a, n.inputs[1], n.params[0]),
            lambda a, u, how: scatter(a, n.inputs[1], u, n.params[0], how),
        ),
        _scatter_batch,
        samples=[
            (("f4:5,3", "i4<5:4", "f4:4,3"), (0, "add")),
            (("f4:2,5", "i4<5:3", "f4:2,3"), (1, "max")),
            (("f4:5,3", "i4!5:3", "f4:3,3"), (0, "set")),
            (("f4:5,3", "i4!5:3", "f4:3,3"), (0, "mul")),
        ],
    )
)


def scatter(base: Node, index: Node, update: Node, axis: int, how: str) -> Node:
    """``base`` with slices along ``axis`` combined with those of ``update``. how: set, add, mul, max or min.

    A combination goes through the updates in their order; max and min replace what is not larger or smaller.
    """
    return Node(scatter_p, (base, index, update), (axis, how), base.shape, base.dtype)


def _scatter_along_reference(
    params: tuple, shape: Shape, dtype: Dtype, base: np.ndarray, index: np.ndarray, update: np.ndarray
) -> np.ndarray:
    axis, how = params
    result = np.array(base)
    at = _wide(index)
    at = np.where(at < 0, at + shape[axis], at)
    keep = (at >= 0) & (at < shape[axis])
    grid: tuple[np.ndarray, ...] = np.indices(at.shape, sparse=True)
    where_ = [np.broadcast_to(x, at.shape)[keep] for x in grid]
    where_[axis] = at[keep]
    _combine_at(result, tuple(where_), update[keep], how)
    return result


def _scatter_along_batch(n: Node, inputs: list[Node], batched: list[bool]) -> Node:
    base, index, update = to_front(inputs, batched)
    return scatter_along(base, index, update, n.params[0] + 1, n.params[1])


# params: (axis, how)
scatter_along_p = register(
    Primitive(
        "scatter_along",
        "scatter",
        lambda inputs, params: (inputs[0].shape, inputs[0].dtype),
        _scatter_along_reference,
        lambda n, g: _combined_vjp(
            n,
            g,
            lambda a: take_along(a, n.inputs[1], n.params[0]),
            lambda a, u, how: scatter_along(a, n.inputs[1], u, n.params[0], how),
        ),
        _scatter_along_batch,
        samples=[
            (("f4:2,5", "i4<5:2,3", "f4:2,3"), (1, "add")),
            (("f4:5,1", "i4!5:5,1", "f4:5,1"), (0, "set")),
        ],
    )
)


def scatter_along(base: Node, index: Node, update: Node, axis: int, how: str) -> Node:
    """``base`` with single elements along ``axis`` combined with those of ``update``, which has the index' shape."""
    return Node(scatter_along_p, (base, index, update), (axis, how), base.shape, base.dtype)


# --- strided windows --------------------------------------------------------------------------------------------------
def _strided_reference(params: tuple, shape: Shape, dtype: Dtype, a: np.ndarray) -> np.ndarray:
    return a[_strided_positions(params)]


def _strided_positions(params: tuple) -> np.ndarray:
    shape, strides, offset = params
    at = np.full(shape, offset)
    for axis, (n, s) in enumerate(zip(shape, strides, strict=True)):
        at += (np.arange(n) * s).reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return at


def _strided_address(kinds: tuple[int, ...], coords: tuple, ctx: Any) -> list:
    result, k = ctx.arg(0), 1
    for c, kind in zip(coords, kinds, strict=True):
        if kind == 1:
            result = result + c
        elif kind:
            result = result + c * (ctx.pitch(k) if kind == 3 else ctx.arg(k))
            k += 1
    return [result]


def _strided_kinds(shape: Shape, strides: Shape) -> tuple[int, ...]:
    """For each axis: 0 it stays in place, 1 it moves by one, 3 by whole rows of those that move by one, 2 otherwise."""
    row = max([m for m, s in zip(shape, strides, strict=True) if s == 1 and m != 1], default=0)
    return tuple(
        0 if m == 1 else s if s in (0, 1) else 3 if 0 < row <= s else 2 for m, s in zip(shape, strides, strict=True)
    )


def _strided_numbers(shape: Shape, strides: Shape, offset: int) -> tuple[int, ...]:
    return offset, *(s for m, s in zip(shape, strides, strict=True) if m != 1 and s not in (0, 1))


def strided_index(params: tuple) -> Node:
    """The linear position of every element of a strided window."""
    shape, strides, offset = params
    dtype = position_type(offset + 1 + sum((n - 1) * abs(s) for n, s in zip(shape, strides, strict=True)))
    index = broadcast(constant(offset, dtype), shape)
    for axis, s in enumerate(strides):
        index = add(index, mul(iota(shape, axis, dtype), constant(s, dtype)))
    return index


def _strided_batch(n: Node, inputs: list[Node], batched: list[bool]) -> Node:
    shape, strides, offset = n.params
    (a,) = inputs
    count, size, *rest = a.shape
    return as_strided(reshape(a, (count * size, *rest)), (count, *shape), (size, *strides), offset)


# A window along the first axis, which is split into several. The caller checks the bounds. params: (shape, strides,
# offset), counted in steps along that axis
as_strided_p = register(
    Primitive(
        "as_strided",
        "view",
        lambda inputs, params: ((*params[0], *inputs[0].shape[1:]), inputs[0].dtype),
        _strided_reference,
        lambda n, g: (scatter(_zeros(g, n.inputs[0].shape), strided_index(n.params), g, 0, "add"),),
        _strided_batch,
        lower=lambda n, coords, ctx: [
            *_strided_address(_strided_kinds(*n.params[:2]), coords[: len(n.params[0])], ctx),
            *coords[len(n.params[0]) :],
        ],
        static=lambda n: _strided_kinds(*n.params[:2]),
        dynamic=lambda n: _strided_numbers(*n.params),
        samples=[
            (("f4:6",), ((3, 2), (1, 2), 1)),
            (("f4:9",), ((3,), (4,), 0)),
            (("f4:4",), ((2, 4), (0, 1), 0)),
            (("f4:7,2",), ((2, 3), (3, 1), 1)),
        ],
    )
)


def as_strided(a: Node, shape: Shape, strides: Shape, offset: int) -> Node:
    return Node(as_strided_p, (a,), (shape, strides, offset), (*shape, *a.shape[1:]), a.dtype)


def _strided_update_reference(
    params: tuple, shape: Shape, dtype: Dtype, base: np.ndarray, update: np.ndarray
) -> np.ndarray:
    result = np.array(base)
    result[_strided_positions((update.shape, *params))] = update
    return result


def _strided_update_batch(n: Node, inputs: list[Node], batched: list[bool]) -> Node:
    base, update = to_front(inputs, batched)
    strides, offset = n.params
    flat = reshape(base, (base.size,))
    return reshape(strided_update(flat, update, (base.shape[1], *strides), offset), base.shape)


# The first input, which is flat, with a window on it replaced by the second. params: (strides, offset)
strided_update_p = register(
    Primitive(
        "strided_update",
        "update",
        lambda inputs, params: (inputs[0].shape, inputs[0].dtype),
        _strided_update_reference,
        lambda n, g: (
            strided_update(g, _zeros(g, n.inputs[1].shape), *n.params),
            as_strided(g, n.inputs[1].shape, *n.params),
        ),
        _strided_update_batch,
        lower=lambda n, coords, ctx: _strided_address(_strided_kinds(n.inputs[1].shape, n.params[0]), coords, ctx),
        static=lambda n: _strided_kinds(n.inputs[1].shape, n.params[0]),
        dynamic=lambda n: _strided_numbers(n.inputs[1].shape, *n.params),
        samples=[(("f4:9", "f4:2,3"), ((4, 1), 1)), (("f4:4", "f4:4"), ((1,), 0))],
    )
)


def strided_update(flat: Node, update: Node, strides: Shape, offset: int) -> Node:
    """The caller checks the bounds, and that no place is written twice."""
    return Node(strided_update_p, (flat, update), (strides, offset), flat.shape, flat.dtype)
