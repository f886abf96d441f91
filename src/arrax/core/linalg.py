"""Linear algebra: norms and the cross product."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from arrax.core.axes import normalize_axis
from arrax.core.convert import array_node
from arrax.graph.dtypes import Dtype, bool_, complex64, float32, float64, promote, to_inexact, uint8
from arrax.graph.handle import wrap
from arrax.graph.node import Node, Shape
from arrax.graph.primitive import Primitive, bind, broadcast_shapes, register
from arrax.prims import pointwise as p
from arrax.prims.leaf import constant
from arrax.prims.reduce import max_p, min_p, reduce, sum_p
from arrax.prims.view import broadcast, concatenate, move_axis, reshape, slice_

if TYPE_CHECKING:
    from arrax.core.array import array

_wrap: Callable[[Node], Any] = wrap


# --- singular values --------------------------------------------------------------------------------------------------
def _singular_infer(inputs: tuple[Node, ...], params: tuple) -> tuple[Shape, Dtype]:
    a = inputs[0]
    return (*a.shape[:-2], min(a.shape[-2:])), float32 if a.dtype is complex64 else a.dtype


def _singular_reference(params: tuple, shape: Shape, dtype: Dtype, a: np.ndarray) -> np.ndarray:
    return np.linalg.svd(a, compute_uv=False).astype(dtype.np) if a.size else np.empty(shape, dtype.np)


def _no_derivative(node: Node, cotangent: Node) -> Any:
    raise ValueError(f"[{node.prim.name}] expected no derivative, it has none here: use another norm or factorisation")


# All singular values of the matrices in the last two axes, the largest first.
singular_values_p = register(
    Primitive(
        "singular_values",
        "opaque",
        _singular_infer,
        _singular_reference,
        _no_derivative,
        lambda n, inputs, batched: bind(n.prim, (inputs[0],)),
        samples=[(("f4:3,2",), ()), (("f4:2,3,3",), ())],
        cost=100,
    )
)


def _root_reference(params: tuple, shape: Shape, dtype: Dtype, a: np.ndarray) -> np.ndarray:
    u, s, vt = np.linalg.svd(a)
    return np.matmul(u * np.sqrt(s)[..., None, :], vt).astype(dtype.np)


# The symmetric square root of positive semi-definite matrices in the last two axes.
symmetric_root_p = register(
    Primitive(
        "symmetric_root",
        "opaque",
        lambda inputs, params: (inputs[0].shape, inputs[0].dtype),
        _root_reference,
        _no_derivative,
        lambda n, inputs, batched: bind(n.prim, (inputs[0],)),
        samples=[(("f4:2,2",), ())],
        cost=100,
    )
)


def symmetric_root(a: Node) -> Node:
    return bind(symmetric_root_p, (a,))


# --- norms ------------------------------------------------------------------------------------------------------------
def _without(a: Node, axes: Sequence[int], keepdims: bool) -> Node:
    """The node without the given axes (of size 1), unless they are kept."""
    return a if keepdims else reshape(a, tuple(n for i, n in enumerate(a.shape) if i not in axes))


def _extremum(prim: Primitive, a: Node, axis: int) -> Node:
    if not a.shape[axis]:
        raise ValueError(
            f"[norm] expected elements along axis {axis}, got shape {list(a.shape)}: leave out empty arrays"
        )
    return reduce(prim, a, (axis,))


def _squares(a: Node) -> Node:
    if a.dtype is not complex64:
        return p.square(a)
    return p.add(p.square(bind(p.real_p, (a,))), p.square(bind(p.imag_p, (a,))))


def _magnitude(a: Node) -> Node:
    return p.sqrt(_squares(a)) if a.dtype is complex64 else p.abs_(a)


def _two_norm(a: Node, axes: tuple[int, ...]) -> Node:
    squares = _squares(a)
    return p.sqrt(reduce(sum_p, squares, axes) if axes else squares)


def _vector_norm(a: Node, order: float, axis: int) -> Node:
    if order == 2:
        return _two_norm(a, (axis,))
    if order == 0:
        return reduce(sum_p, p.cast(p.not_equal(a, constant(0, a.dtype)), a.dtype), (axis,))
    size = _magnitude(a)
    if order == float("inf"):
        result = _extremum(max_p, size, axis)
    elif order == float("-inf"):
        result = _extremum(min_p, size, axis)
    elif order == 1:
        result = reduce(sum_p, size, (axis,))
    else:
        powers = reduce(sum_p, p.power(size, constant(order, size.dtype)), (axis,))
        result = p.power(powers, constant(1 / order, size.dtype))
    return p.cast(result, a.dtype)


def _matrix_norm(a: Node, order: float | str, rows: int, columns: int) -> Node:
    if order in ("f", "fro"):
        return _two_norm(a, (min(rows, columns), max(rows, columns)))
    if order in (2, -2, "nuc"):
        if a.dtype not in (float32, float64, complex64):
            raise ValueError(
                f"[norm] expected float32, float64 or complex64 for ord {order}, got {a.dtype.name}: cast it"
            )
        last = move_axis(move_axis(a, max(rows, columns), a.ndim - 1), min(rows, columns), a.ndim - 2)
        values = bind(singular_values_p, (last,))
        axis = values.ndim - 1
        if order == "nuc":
            result = reduce(sum_p, values, (axis,))
        else:
            result = p.cast(_extremum(max_p if order == 2 else min_p, values, axis), a.dtype)
        return reshape(result, tuple(1 if i in (rows, columns) else n for i, n in enumerate(a.shape)))
    if isinstance(order, str) or abs(order) not in (1, float("inf")):
        raise ValueError(f"[norm] expected an ord out of 1, -1, 2, -2, inf, -inf for matrices, got {order}")
    along, other = (rows, columns) if abs(order) == 1 else (columns, rows)
    sums = reduce(sum_p, _magnitude(a), (along,))
    return p.cast(_extremum(max_p if order > 0 else min_p, sums, other), a.dtype)


def norm(
    a: array,
    /,
    ord: int | float | str | None = None,
    axis: int | Sequence[int] | None = None,
    keepdims: bool = False,
    *,
    stream: Any = None,
) -> array:
    """The norm of vectors or matrices.

    ========== ============================== =============================
    ``ord``    of vectors                     of matrices
    ========== ============================== =============================
    None       2                              "fro"
    inf, -inf  largest, smallest abs(x)       ... sum of a row of abs(x)
    1, -1      sum(abs(x)), as any number     ... sum of a column of abs(x)
    2, -2      root of the sum of squares     ... singular value
    0          how many are not zero
    p          sum(abs(x) ** p) ** (1 / p)
    "fro"      (or "f")                       root of the sum of squares
    "nuc"                                     sum of the singular values
    ========== ============================== =============================

    Args:
        a: the array; integers are taken as float32.
        ord: which norm.
        axis: one axis holds vectors, two hold matrices (rows, columns). None takes all axes.
        keepdims: whether the axes stay, with size 1.
        stream: not used.

    Raises:
        ValueError: if ``ord`` does not exist for that many axes.
        IndexError: if the array has no such axis.

    >>> import arrax.core as mx
    >>> mx.linalg.norm(mx.array([3.0, -4.0])).item()
    5.0
    """
    node = array_node("norm", a)
    node = p.cast(node, to_inexact(node.dtype))
    given = range(node.ndim) if axis is None else axis if isinstance(axis, list | tuple) else (axis,)
    axes = tuple(normalize_axis("norm", i, node.ndim) for i in given)
    if len(set(axes)) != len(axes):
        raise ValueError(f"[norm] expected every axis once, got {list(given)}: leave out duplicates")
    if ord is None and (axis is None or len(axes) <= 2):
        return _wrap(_without(_two_norm(node, tuple(sorted(axes))), axes, keepdims))
    if isinstance(ord, str):
        if len(axes) != 2:
            raise ValueError(f"[norm] expected two axes for ord {ord!r}, got {len(axes)}: pass axis=(rows, columns)")
        if ord not in ("f", "fro", "nuc"):
            raise ValueError(f"[norm] expected 'fro', 'nuc' or a number as ord, got {ord!r}")
    if len(axes) == 1 and not isinstance(ord, str) and ord is not None:
        result = _vector_norm(node, float(ord), axes[0])
    elif len(axes) == 2 and ord is not None:
        result = _matrix_norm(node, ord, *axes)
    else:
        raise ValueError(f"[norm] expected one axis or two, got {len(axes)}: pass axis, or flatten the array")
    return _wrap(_without(result, axes, keepdims))


# --- products ---------------------------------------------------------------------------------------------------------
def cross(a: array, b: array, axis: int = -1, *, stream: Any = None) -> array:
    """The cross product of vectors along an axis.

    Args:
        a, b: arrays that broadcast but for ``axis``, which has size 3, or 2 for a third coordinate of zero.
        axis: holds the vectors.
        stream: not used.

    Returns:
        The products, of size 3 along ``axis``.

    Raises:
        ValueError: if the axis has another size or the other axes do not broadcast.
        IndexError: if there is no such axis.

    >>> import arrax.core as mx
    >>> mx.linalg.cross(mx.array([1, 0, 0]), mx.array([0, 1, 0])).tolist()
    [0, 0, 1]
    """
    x, y = array_node("cross", a), array_node("cross", b)
    dtype = promote(x.dtype, y.dtype)
    work = uint8 if dtype is bool_ else dtype
    x, y = (_three("cross", p.cast(v, work), axis) for v in (x, y))
    shape = broadcast_shapes("cross", x.shape, y.shape)
    at = normalize_axis("cross", axis, len(shape))
    x0, x1, x2 = _coordinates(broadcast(x, shape), at)
    y0, y1, y2 = _coordinates(broadcast(y, shape), at)
    terms = ((x1, y2, x2, y1), (x2, y0, x0, y2), (x0, y1, x1, y0))
    result = concatenate([p.sub(p.mul(s, t), p.mul(u, v)) for s, t, u, v in terms], at)
    return _wrap(p.cast(result, dtype))


def _three(op: str, a: Node, axis: int) -> Node:
    """Vectors with a third coordinate."""
    at = normalize_axis(op, axis, a.ndim)
    if a.shape[at] == 3:
        return a
    if a.shape[at] != 2:
        raise ValueError(f"[{op}] expected size 2 or 3 along axis {axis}, got {a.shape[at]}: choose another axis")
    third = (*a.shape[:at], 1, *a.shape[at + 1 :])
    return concatenate([a, broadcast(constant(0, a.dtype), third)], at)


def _coordinates(a: Node, axis: int) -> list[Node]:
    shape = (*a.shape[:axis], 1, *a.shape[axis + 1 :])
    return [slice_(a, shape, tuple(k if i == axis else 0 for i in range(a.ndim))) for k in range(3)]
