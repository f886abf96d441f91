"""Norms of vectors and of matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from arrax.core.arguments import as_ints, as_number
from arrax.core.axes import normalize_axes, normalize_axis
from arrax.core.convert import array_node
from arrax.core.device import check_stream
from arrax.graph.dtypes import float32, float64, real_of, to_inexact
from arrax.graph.handle import shown, wrap
from arrax.graph.node import Node
from arrax.graph.primitive import Primitive, bind
from arrax.prims import linalg as factor
from arrax.prims import pointwise as p
from arrax.prims.leaf import constant
from arrax.prims.reduce import max_p, min_p, reduce, sum_p
from arrax.prims.view import move_axis, reshape

if TYPE_CHECKING:
    from arrax.core.array import array

_wrap: Callable[[Node], Any] = wrap


def _without(a: Node, axes: Sequence[int], keepdims: bool) -> Node:
    """The node without the given axes (of size 1), unless they are kept."""
    return a if keepdims else reshape(a, tuple(n for i, n in enumerate(a.shape) if i not in axes))


def _extremum(prim: Primitive, a: Node, axes: tuple[int, ...]) -> Node:
    if any(not a.shape[i] for i in axes):
        raise ValueError(
            f"[norm] expected elements along the axes {axes}, got shape {list(a.shape)}: leave out empty arrays"
        )
    return reduce(prim, a, axes) if axes else a


def _sum(a: Node, axes: tuple[int, ...]) -> Node:
    return reduce(sum_p, a, axes) if axes else a


def _wide(a: Node) -> Node:
    """Half precision in float32, in which powers and sums neither overflow nor lose digits."""
    return p.cast(a, a.dtype.compute)


def _squares(a: Node) -> Node:
    if not a.dtype.is_complex:
        return p.square(a)
    return p.add(p.square(bind(p.real_p, (a,))), p.square(bind(p.imag_p, (a,))))


def _magnitude(a: Node) -> Node:
    return bind(p.modulus_p, (a,)) if a.dtype.is_complex else p.abs_(a)


def _two_norm(a: Node, axes: tuple[int, ...]) -> Node:
    a = _wide(a)
    return p.sqrt(_sum(_squares(a), axes))


def _vector_norm(a: Node, order: float, axes: tuple[int, ...]) -> Node:
    """Real, but for the number of elements that are not zero, which has the type of ``a``."""
    if order == 2:
        return _two_norm(a, axes)
    if order == 0:
        return _sum(p.cast(p.not_equal(a, constant(0, a.dtype)), a.dtype.compute), axes)
    size = _magnitude(_wide(a))
    if order == float("inf"):
        return _extremum(max_p, size, axes)
    if order == float("-inf"):
        return _extremum(min_p, size, axes)
    if order == 1:
        return _sum(size, axes)
    powers = _sum(p.power(size, constant(order, size.dtype)), axes)
    return p.power(powers, constant(1 / order, size.dtype))


def _matrix_norm(a: Node, order: float | str, rows: int, columns: int) -> Node:
    if order in ("f", "fro"):
        return _two_norm(a, (min(rows, columns), max(rows, columns)))
    if order in (2, -2, "nuc"):
        if real_of(a.dtype) not in (float32, float64):
            raise ValueError(f"[norm] expected single or double precision for ord {order}, got {a.dtype.name}: cast it")
        last = move_axis(move_axis(a, max(rows, columns), a.ndim - 1), min(rows, columns), a.ndim - 2)
        values = bind(factor.singular_values_p, (last,))
        axis = values.ndim - 1
        if order == "nuc":
            result = reduce(sum_p, values, (axis,))
        else:
            result = p.cast(_extremum(max_p if order == 2 else min_p, values, (axis,)), a.dtype)
        return reshape(result, tuple(1 if i in (rows, columns) else n for i, n in enumerate(a.shape)))
    if isinstance(order, str) or abs(order) not in (1, float("inf")):
        raise ValueError(f"[norm] expected an ord out of 1, -1, 2, -2, inf, -inf for matrices, got {order}")
    along, other = (rows, columns) if abs(order) == 1 else (columns, rows)
    sums = reduce(sum_p, _magnitude(_wide(a)), (along,))
    return p.cast(_extremum(max_p if order > 0 else min_p, sums, (other,)), a.dtype)


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

    | ord       | of vectors                    | of matrices                   |
    | --------- | ----------------------------- | ----------------------------- |
    | None      | 2                             | "fro"                         |
    | inf, -inf | largest, smallest abs(x)      | ... sum of a row of abs(x)    |
    | 1, -1     | sum(abs(x)), as any number    | ... sum of a column of abs(x) |
    | 2, -2     | root of the sum of squares    | ... singular value            |
    | 0         | how many are not zero         |                               |
    | p         | ``sum(abs(x)**p) ** (1 / p)`` |                               |
    | "fro"     | (or "f")                      | root of the sum of squares    |
    | "nuc"     |                               | sum of the singular values    |

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
    check_stream("norm", stream)
    node = array_node("norm", a)
    node = p.cast(node, to_inexact(node.dtype))
    given = range(node.ndim) if axis is None else as_ints("norm", axis, "axes")
    axes = tuple(normalize_axis("norm", i, node.ndim) for i in given)
    if len(set(axes)) != len(axes):
        raise ValueError(f"[norm] expected every axis once, got {shown(axis)}: leave out duplicates")
    if ord is None and (axis is None or len(axes) <= 2):
        result = _two_norm(node, tuple(sorted(axes)))
        return _wrap(_without(p.cast(result, real_of(node.dtype)), axes, keepdims))
    if ord is not None and not isinstance(ord, str):
        ord = as_number("norm", ord, "ord")
    if isinstance(ord, str):
        if len(axes) != 2:
            raise ValueError(
                f"[norm] expected two axes for ord {shown(ord)}, got {len(axes)}: pass axis=(rows, columns)"
            )
        if ord not in ("f", "fro", "nuc"):
            raise ValueError(f"[norm] expected 'fro', 'nuc' or a number as ord, got {shown(ord)}")
    if len(axes) == 1 and not isinstance(ord, str) and ord is not None:
        result = _vector_norm(node, float(ord), axes)
        result = p.cast(result, real_of(node.dtype) if float(ord) == 2 else node.dtype)
    elif len(axes) == 2 and ord is not None:
        result = _matrix_norm(node, ord, *axes)
        result = result if node.dtype.is_complex else p.cast(result, node.dtype)
    else:
        raise ValueError(f"[norm] expected one axis or two, got {len(axes)}: pass axis, or flatten the array")
    return _wrap(_without(result, axes, keepdims))


def _real(a: Node) -> Node:
    return bind(p.real_p, (a,)) if a.dtype.is_complex else a


def vector_norm(
    a: array,
    /,
    *,
    axis: int | Sequence[int] | None = None,
    keepdims: bool = False,
    ord: int | float = 2,
    stream: Any = None,
) -> array:
    """The norm of vectors, which may lie along several axes (None for all): a real number; see ``norm``.

    >>> import arrax.core as mx
    >>> mx.linalg.vector_norm(mx.array([[3.0, -4.0], [0.0, 12.0]])).item()
    13.0
    """
    check_stream("vector_norm", stream)
    node = array_node("vector_norm", a)
    node = p.cast(node, to_inexact(node.dtype))
    axes = normalize_axes("vector_norm", axis, node.ndim)
    result = _real(_vector_norm(node, float(ord), axes))
    return _wrap(_without(p.cast(result, real_of(node.dtype)), axes, keepdims))


def matrix_norm(
    a: array, /, *, keepdims: bool = False, ord: int | float | str | None = "fro", stream: Any = None
) -> array:
    """The norm of the matrices in the last two axes: a real number; see ``norm``.

    Raises:
        ValueError: below two dimensions, and where there is no such norm of matrices.
    """
    check_stream("matrix_norm", stream)
    node = array_node("matrix_norm", a)
    if node.ndim < 2:
        raise ValueError(f"[matrix_norm] expected at least 2 dimensions, got {node.ndim}: use vector_norm")
    node = p.cast(node, to_inexact(node.dtype))
    axes = (node.ndim - 2, node.ndim - 1)
    result = _real(_matrix_norm(node, "fro" if ord is None else ord, *axes))
    return _wrap(_without(p.cast(result, real_of(node.dtype)), axes, keepdims))
