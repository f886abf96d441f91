"""Views: maps of coordinates. ``lower`` turns a result's coordinates into the input's.

The rules receive coordinates and a context whose ``size(n)`` is a symbolic size, ``arg(i)`` the i-th dynamic parameter,
``flatten``/``unflatten`` the row-major correspondence of coordinates and one linear index.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from arrax.graph.dtypes import Dtype
from arrax.graph.node import Node, Shape
from arrax.graph.primitive import Primitive, register
from arrax.graph.symbol import same
from arrax.prims.leaf import constant


def _keep_dtype(inputs: tuple[Node, ...], params: tuple) -> tuple[Shape, Dtype]:
    return params[0], inputs[0].dtype


# --- reshape ----------------------------------------------------------------------------------------------------------
@functools.lru_cache(1024)
def reshape_groups(a: Shape, b: Shape) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    """The finest pairing of runs of axes of ``a`` with runs of axes of ``b`` that hold the same elements.

    Axes of size 1 are left out.

    >>> reshape_groups((2, 6, 5), (2, 3, 2, 5))
    (((0,), (0,)), ((1,), (1, 2)), ((2,), (3,)))
    """
    left = [i for i, n in enumerate(a) if n != 1]
    right = [j for j, n in enumerate(b) if n != 1]
    groups, i, j = [], 0, 0
    while i < len(left) and j < len(right):
        i0, j0 = i, j
        p, q = a[left[i]], b[right[j]]
        i, j = i + 1, j + 1
        while p != q:
            if p < q:
                p *= a[left[i]]
                i += 1
            else:
                q *= b[right[j]]
                j += 1
        groups.append((tuple(left[i0:i]), tuple(right[j0:j])))
    return tuple(groups)


def _reshape_lower(node: Node, coords: tuple, ctx: Any) -> list:
    source = node.inputs[0].shape
    result = [ctx.zero] * len(source)
    for left, right in reshape_groups(source, node.shape):
        linear = ctx.flatten([coords[j] for j in right], [node.shape[j] for j in right])
        for i, c in zip(left, ctx.unflatten(linear, [source[i] for i in left]), strict=True):
            result[i] = c
    return result


# params: (shape,)
reshape_p = register(
    Primitive(
        "reshape",
        "view",
        _keep_dtype,
        lambda params, shape, dtype, a: a.reshape(shape),
        lambda n, g: (reshape(g, n.inputs[0].shape),),
        lambda n, inputs, batched: reshape(inputs[0], (inputs[0].shape[0], *n.shape)),
        lower=_reshape_lower,
        static=lambda n: reshape_groups(n.inputs[0].shape, n.shape) if 0 not in n.shape else None,
        samples=[
            (("f4:2,6",), ((3, 4),)),
            (("f4:2,6",), ((2, 3, 2),)),
            (("f4:2,3,4",), ((6, 4),)),
            (("f4:1,3",), ((3, 1),)),
        ],
    )
)


def reshape(a: Node, shape: Shape) -> Node:
    return a if same(a.shape, shape) else Node(reshape_p, (a,), (shape,), shape, a.dtype)


# --- transpose --------------------------------------------------------------------------------------------------------
def _transpose_lower(node: Node, coords: tuple, ctx: Any) -> list:
    result = [ctx.zero] * len(coords)
    for c, axis in zip(coords, node.params[0], strict=True):
        result[axis] = c
    return result


def _inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    result = [0] * len(axes)
    for i, axis in enumerate(axes):
        result[axis] = i
    return tuple(result)


# params: (axes,)
transpose_p = register(
    Primitive(
        "transpose",
        "view",
        lambda inputs, params: (tuple(inputs[0].shape[i] for i in params[0]), inputs[0].dtype),
        lambda params, shape, dtype, a: np.transpose(a, params[0]),
        lambda n, g: (transpose(g, _inverse(n.params[0])),),
        lambda n, inputs, batched: transpose(inputs[0], (0, *(i + 1 for i in n.params[0]))),
        lower=_transpose_lower,
        samples=[(("f4:2,3",), ((1, 0),)), (("f4:2,3,4",), ((1, 2, 0),))],
    )
)


def transpose(a: Node, axes: tuple[int, ...]) -> Node:
    if axes == tuple(range(len(axes))):
        return a
    return Node(transpose_p, (a,), (axes,), tuple(a.shape[i] for i in axes), a.dtype)


def move_axis(a: Node, source: int, destination: int) -> Node:
    axes = [i for i in range(a.ndim) if i != source]
    axes.insert(destination, source)
    return transpose(a, tuple(axes))


# --- broadcast --------------------------------------------------------------------------------------------------------
def _broadcast_lower(node: Node, coords: tuple, ctx: Any) -> list:
    source = node.inputs[0].shape
    skip = len(coords) - len(source)
    return [ctx.zero if n == 1 else c for n, c in zip(source, coords[skip:], strict=True)]


def _broadcast_batch(n: Node, inputs: list[Node], batched: list[bool]) -> Node:
    a = inputs[0]
    ones = (1,) * (n.ndim - (a.ndim - 1))
    return broadcast(reshape(a, (a.shape[0], *ones, *a.shape[1:])), (a.shape[0], *n.shape))


# params: (shape,)
broadcast_p = register(
    Primitive(
        "broadcast",
        "view",
        _keep_dtype,
        lambda params, shape, dtype, a: np.broadcast_to(a, shape),
        lambda n, g: (g,),  # summed to the input's shape by whoever adds up cotangents
        _broadcast_batch,
        lower=_broadcast_lower,
        static=lambda n: None,
        samples=[(("f4:3",), ((2, 3),)), (("f4:2,1",), ((2, 3),)), (("f4:",), ((2, 3),))],
    )
)


def broadcast(a: Node, shape: Shape) -> Node:
    return a if same(a.shape, shape) else Node(broadcast_p, (a,), (shape,), shape, a.dtype)


# --- slices -----------------------------------------------------------------------------------------------------------
def slices(starts: Shape, steps: Shape, shape: Shape) -> tuple[slice, ...]:
    """NumPy's slices for a region given by its first coordinates, steps (not zero, maybe negative) and shape."""
    result = []
    for start, step, n in zip(starts, steps, shape, strict=True):
        stop = start + step * n
        result.append(slice(start, None if stop < 0 else stop, step))
    return tuple(result)


def _slice_lower(node: Node, coords: tuple, ctx: Any) -> list:
    _, starts, steps = node.params
    result, k = [], 0
    for c, start, step, n in zip(coords, starts, steps, node.shape, strict=True):
        c = c if n != 1 else ctx.zero
        if step != 1:
            c = c * step
        if start:
            c = c + ctx.arg(k)
            k += 1
        result.append(c)
    return result


# params: (shape, starts, steps)
slice_p = register(
    Primitive(
        "slice",
        "view",
        _keep_dtype,
        lambda params, shape, dtype, a: a[slices(params[1], params[2], shape)],
        lambda n, g: (slice_update(broadcast(constant(0, g.dtype), n.inputs[0].shape), g, n.params[1], n.params[2]),),
        lambda n, inputs, batched: slice_(
            inputs[0], (inputs[0].shape[0], *n.params[0]), (0, *n.params[1]), (1, *n.params[2])
        ),
        lower=_slice_lower,
        static=lambda n: (n.params[2], tuple(s != 0 for s in n.params[1])),
        dynamic=lambda n: tuple(s for s in n.params[1] if s),
        samples=[
            (("f4:6",), ((3,), (1,), (1,))),
            (("f4:6",), ((3,), (5,), (-2,))),
            (("f4:4,5",), ((2, 5), (1, 0), (2, 1))),
        ],
    )
)


def slice_(a: Node, shape: Shape, starts: Shape, steps: Shape | None = None) -> Node:
    """The region of ``a`` of the given shape that begins at ``starts`` and proceeds by ``steps``."""
    return Node(slice_p, (a,), (shape, starts, steps or (1,) * len(shape)), shape, a.dtype)


def flip(a: Node, axes: tuple[int, ...]) -> Node:
    starts = tuple(max(n - 1, 0) if i in axes else 0 for i, n in enumerate(a.shape))
    return slice_(a, a.shape, starts, tuple(-1 if i in axes else 1 for i in range(a.ndim)))


def _update_batch(n: Node, inputs: list[Node], batched: list[bool]) -> Node:
    base, update = to_front(inputs, batched)
    return slice_update(base, update, (0, *n.params[0]), (1, *n.params[1]))


def _update_reference(params: tuple, shape: Shape, dtype: Dtype, base: np.ndarray, update: np.ndarray) -> np.ndarray:
    result = np.array(base)
    result[slices(params[0], params[1], update.shape)] = update
    return result


# The first input with a region replaced by the second. params: (starts, steps)
slice_update_p = register(
    Primitive(
        "slice_update",
        "update",
        lambda inputs, params: (inputs[0].shape, inputs[0].dtype),
        _update_reference,
        lambda n, g: (
            slice_update(g, broadcast(constant(0, g.dtype), n.inputs[1].shape), *n.params),
            slice_(g, n.inputs[1].shape, *n.params),
        ),
        _update_batch,
        lower=lambda n, coords, ctx: [
            c * s + ctx.arg(i) for i, (c, s) in enumerate(zip(coords, n.params[1], strict=True))
        ],
        static=lambda n: n.params[1],
        dynamic=lambda n: n.params[0],
        samples=[
            (("f4:6", "f4:3"), ((1,), (2,))),
            (("f4:4,5", "f4:2,5"), ((1, 0), (1, 1))),
            (("f4:4", "f4:4"), ((3,), (-1,))),
        ],
    )
)


def slice_update(base: Node, update: Node, starts: Shape, steps: Shape | None = None) -> Node:
    return Node(slice_update_p, (base, update), (starts, steps or (1,) * base.ndim), base.shape, base.dtype)


# --- concatenation ----------------------------------------------------------------------------------------------------
def _concatenate_infer(inputs: tuple[Node, ...], params: tuple) -> tuple[Shape, Dtype]:
    axis, first = params[0], inputs[0]
    for x in inputs[1:]:
        if x.dtype is not first.dtype:
            raise TypeError(f"[concatenate] expected arrays of one type, got {first.dtype.name} and {x.dtype.name}")
        if x.shape[:axis] + x.shape[axis + 1 :] != first.shape[:axis] + first.shape[axis + 1 :]:
            raise ValueError(
                f"[concatenate] expected shapes that agree but for axis {axis}, "
                f"got {list(first.shape)} and {list(x.shape)}"
            )
    return (*first.shape[:axis], sum(x.shape[axis] for x in inputs), *first.shape[axis + 1 :]), first.dtype


def _concatenate_vjp(n: Node, g: Node) -> list[Node]:
    axis, at, result = n.params[0], 0, []
    for x in n.inputs:
        result.append(slice_(g, x.shape, tuple(at if i == axis else 0 for i in range(g.ndim))))
        at += x.shape[axis]
    return result


# params: (axis,)
concatenate_p = register(
    Primitive(
        "concatenate",
        "update",
        _concatenate_infer,
        lambda params, shape, dtype, *arrays: np.concatenate(arrays, params[0]),
        _concatenate_vjp,
        lambda n, inputs, batched: concatenate(to_front(inputs, batched), n.params[0] + 1),
        samples=[(("f4:2", "f4:3"), (0,)), (("f4:2,3", "f4:2,1", "f4:2,2"), (1,))],
    )
)


def concatenate(arrays: list[Node] | tuple[Node, ...], axis: int) -> Node:
    inputs = tuple(arrays)
    return Node(concatenate_p, inputs, (axis,), *_concatenate_infer(inputs, (axis,)))


def to_front(inputs: list[Node], batched: list[bool]) -> list[Node]:
    """All inputs with a leading batch axis; those without one are broadcast."""
    size = next(x.shape[0] for x, b in zip(inputs, batched, strict=True) if b)
    return [x if b else broadcast(x, (size, *x.shape)) for x, b in zip(inputs, batched, strict=True)]
