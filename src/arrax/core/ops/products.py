"""Matrix products and what reduces to them."""

from __future__ import annotations

import math as _math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from arrax.core.axes import normalize_axis
from arrax.core.convert import array_node, pair
from arrax.core.ops.math import conj, record_add, record_multiply
from arrax.core.ops.reductions import sum as _sum
from arrax.core.ops.shape import record_broadcast
from arrax.graph.dtypes import complex64
from arrax.graph.handle import wrap
from arrax.graph.node import Node
from arrax.prims import contract
from arrax.prims import pointwise as p
from arrax.prims import view as v
from arrax.prims.leaf import constant

if TYPE_CHECKING:
    from arrax.core.array import array


def _operands(op: str, a: Any, b: Any) -> tuple[Node, Node]:
    x, y = array_node(op, a), array_node(op, b)
    if x.dtype is not y.dtype:
        x, y = pair(op, a, b)
    if not x.dtype.is_inexact:
        raise ValueError(
            f"[{op}] expected floating point or complex numbers, got {x.dtype.name}: cast them with astype"
        )
    return x, y


def record_matmul(op: str, x: Node, y: Node) -> Node:
    """The product of two arrays of one inexact type, with at least one axis each."""
    if not x.shape or not y.shape:
        raise ValueError(f"[{op}] expected at least one dimension, got a scalar: use multiply")
    row, column = x.ndim == 1, y.ndim == 1
    if row:
        x = v.reshape(x, (1, *x.shape))
    if column:
        y = v.reshape(y, (*y.shape, 1))
    if x.shape[-1] != y.shape[-2]:
        raise ValueError(
            f"[{op}] expected shapes (..., M, K) and (..., K, N), got {list(x.shape)} and {list(y.shape)}: "
            "transpose or reshape one of them"
        )
    result = contract.matmul(x, y)
    if row or column:
        shape = result.shape
        lead = shape[:-2]
        result = v.reshape(result, (*lead, *(() if row else (shape[-2],)), *(() if column else (shape[-1],))))
    return result


def matmul(a: array, b: array, /, *, stream: Any = None) -> array:
    """The matrix product over the last axis of ``a`` and the last but one of ``b``; the axes before broadcast.

    An array with one axis is a row on the left and a column on the right, and the added axis is dropped.

    Raises:
        ValueError: where the contracted axes differ, for scalars, and for integers.

    >>> import arrax.core as mx
    >>> mx.matmul(mx.ones((2, 3)), mx.ones((3, 2)))
    array([[3, 3],
           [3, 3]], dtype=float32)
    """
    return wrap(record_matmul("matmul", *_operands("matmul", a, b)))


def addmm(c: array, a: array, b: array, /, alpha: float = 1.0, beta: float = 1.0, *, stream: Any = None) -> array:
    """``alpha * (a @ b) + beta * c``; ``c`` broadcasts to the product."""
    x, y = _operands("addmm", a, b)
    product = record_matmul("addmm", x, y)
    if alpha != 1:
        product = p.mul(product, constant(alpha, product.dtype))
    z, product = pair("addmm", wrap(array_node("addmm", c)), wrap(product))
    if beta != 1:
        z = p.mul(z, constant(beta, z.dtype))
    return wrap(record_add(product, record_broadcast("addmm", z, product.shape)))


def inner(a: array, b: array, /, *, stream: Any = None) -> array:
    """Sums of products over the last axes, for all pairs of the others; with a scalar the plain product."""
    x, y = array_node("inner", a), array_node("inner", b)
    if not x.shape or not y.shape:
        return wrap(record_multiply(*pair("inner", a, b)))
    if x.shape[-1] != y.shape[-1]:
        raise ValueError(
            f"[inner] expected last axes of one size, got {list(x.shape)} and {list(y.shape)}: reshape one of them"
        )
    return tensordot(a, b, [[-1], [-1]])


def vecdot(a: array, b: array, /, *, axis: int = -1, stream: Any = None) -> array:
    """The sum of ``conj(a) * b`` along one axis, which both arrays have with one size; the others broadcast."""
    x, y = array_node("vecdot", a), array_node("vecdot", b)
    low = -(x.ndim if x.ndim < y.ndim else y.ndim)
    if (axis >= 0 and x.ndim != y.ndim) or not low <= axis < (x.ndim if axis >= 0 else 0):
        raise ValueError(f"[vecdot] expected an axis of both arrays, got {axis}: count it from the end")
    if x.shape[axis] != y.shape[axis]:
        raise ValueError(
            f"[vecdot] expected axes of one size, got {x.shape[axis]} and {y.shape[axis]}: slice one of them"
        )
    product = wrap(record_multiply(*pair("vecdot", conj(a) if x.dtype is complex64 else a, b)))
    return _sum(product, axis)


def outer(a: array, b: array, /, *, stream: Any = None) -> array:
    """The product of every element of ``a`` with every element of ``b``, both flattened."""
    x, y = pair("outer", wrap(array_node("outer", a)), wrap(array_node("outer", b)))
    return wrap(record_multiply(v.reshape(x, (x.size, 1)), v.reshape(y, (y.size,))))


def kron(a: array, b: array, *, stream: Any = None) -> array:
    """The Kronecker product: every element of ``a`` replaced by its product with the whole of ``b``."""
    x, y = pair("kron", wrap(array_node("kron", a)), wrap(array_node("kron", b)))
    n = x.ndim if x.ndim > y.ndim else y.ndim
    left, right = (1,) * (n - x.ndim) + x.shape, (1,) * (n - y.ndim) + y.shape
    x = v.reshape(x, tuple(m for s in left for m in (s, 1)))
    y = v.reshape(y, tuple(m for s in right for m in (1, s)))
    return wrap(v.reshape(record_multiply(x, y), tuple(i * j for i, j in zip(left, right, strict=True))))


def tensordot(a: array, b: array, /, axes: int | Sequence[Sequence[int]] = 2, *, stream: Any = None) -> array:
    """Sums of products over some axes of both arrays.

    Args:
        axes: how many of ``a``'s last and ``b``'s first axes, or one list of axes for each of them.

    Raises:
        ValueError: where the sizes of the axes differ.
    """
    x, y = array_node("tensordot", a), array_node("tensordot", b)
    if isinstance(axes, int):
        if axes < 0:
            raise ValueError(f"[tensordot] expected a number of axes of at least 0, got {axes}: pass another one")
        if axes > x.ndim or axes > y.ndim:
            raise ValueError(
                f"[tensordot] expected at most {min(x.ndim, y.ndim)} axes, got {axes}: pass a smaller number"
            )
        left, right = tuple(range(x.ndim - axes, x.ndim)), tuple(range(axes))
    else:
        if len(axes) != 2 or not all(isinstance(side, list | tuple) for side in axes):
            raise TypeError(f"[tensordot] expected a number or two lists of axes, got {axes}: write [[i, j], [k, l]]")
        left = tuple(normalize_axis("tensordot", i, x.ndim) for i in axes[0])
        right = tuple(normalize_axis("tensordot", i, y.ndim) for i in axes[1])
    if len(left) != len(right) or any(x.shape[i] != y.shape[j] for i, j in zip(left, right, strict=False)):
        raise ValueError(
            f"[tensordot] expected contracted axes of one size, got {[x.shape[i] for i in left]} and "
            f"{[y.shape[j] for j in right]}: choose other axes"
        )
    x, y = _operands("tensordot", a, b)
    rest_x = tuple(i for i in range(x.ndim) if i not in left)
    rest_y = tuple(i for i in range(y.ndim) if i not in right)
    k = _math.prod(x.shape[i] for i in left)
    m, n = _math.prod(x.shape[i] for i in rest_x), _math.prod(y.shape[i] for i in rest_y)
    rows = v.reshape(v.transpose(x, (*rest_x, *left)), (m, k))
    columns = v.reshape(v.transpose(y, (*right, *rest_y)), (k, n))
    shape = (*(x.shape[i] for i in rest_x), *(y.shape[i] for i in rest_y))
    return wrap(v.reshape(contract.matmul(rows, columns), shape))
