"""Matrix products and what reduces to them."""

from __future__ import annotations

import math as _math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from arrax.core.arguments import as_int, as_ints, as_number, elements, fits, is_sequence
from arrax.core.axes import normalize_axis
from arrax.core.convert import array_node, pair
from arrax.core.device import check_stream
from arrax.core.ops.math import conj, record_add, record_multiply
from arrax.core.ops.reductions import sum as _sum
from arrax.core.ops.shape import record_broadcast
from arrax.graph.dtypes import bool_, int64, promote, uint32
from arrax.graph.errors import AxisError
from arrax.graph.handle import shown, wrap
from arrax.graph.node import Node, Shape
from arrax.graph.primitive import broadcast_shapes
from arrax.prims import contract
from arrax.prims import pointwise as p
from arrax.prims import reduce as r
from arrax.prims import view as v
from arrax.prims.gather import take
from arrax.prims.leaf import constant, iota

if TYPE_CHECKING:
    from arrax.core.array import array


def _operands(op: str, a: Any, b: Any) -> tuple[Node, Node]:
    x, y = array_node(op, a), array_node(op, b)
    if x.dtype is not y.dtype:
        x, y = pair(op, a, b)
    if x.dtype is bool_:
        raise ValueError(f"[{op}] expected numbers, got bool: cast one of them with astype")
    return x, y


def record_product(x: Node, y: Node) -> Node:
    """The product of matrices of one type, which is the product's too; integers wrap around."""
    if x.dtype.is_inexact:
        return contract.matmul(x, y)
    if _is_transposed(x) and _is_transposed(y):  # read along the rows in memory, and so is the product written
        return contract.swap_last(_sums_of_products(contract.swap_last(y), contract.swap_last(x)))
    return _sums_of_products(x, y)


def _is_transposed(a: Node) -> bool:
    return a.prim is v.transpose_p and a.buffer is None and a.params[0][-2:] == (a.ndim - 1, a.ndim - 2)


def _sums_of_products(x: Node, y: Node) -> Node:
    """One kernel, which is written without a place in memory for the single products."""
    products = p.mul(v.reshape(x, (*x.shape, 1)), v.reshape(y, (*y.shape[:-2], 1, *y.shape[-2:])))
    total = r.reduce(r.sum_p, products, (products.ndim - 2,))
    return v.reshape(total, (*products.shape[:-2], products.shape[-1]))


def record_matmul(op: str, x: Node, y: Node) -> Node:
    """The product of two arrays of one type, with at least one axis each."""
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
    result = record_product(x, y)
    if row or column:
        shape = result.shape
        lead = shape[:-2]
        result = v.reshape(result, (*lead, *(() if row else (shape[-2],)), *(() if column else (shape[-1],))))
    return result


def matmul(a: array, b: array, /, *, stream: Any = None) -> array:
    """The matrix product over the last axis of ``a`` and the last but one of ``b``; the axes before broadcast.

    An array with one axis is a row on the left and a column on the right, and the added axis is dropped. The product of
    integers has the type in which both meet, and wraps around: int8 for int8.

    Raises:
        ValueError: where the contracted axes differ, for scalars, and for booleans.

    >>> import arrax.core as mx
    >>> mx.matmul(mx.ones((2, 3)), mx.ones((3, 2)))
    array([[3, 3],
           [3, 3]], dtype=float32)
    """
    check_stream("matmul", stream)
    return wrap(record_matmul("matmul", *_operands("matmul", a, b)))


def addmm(c: array, a: array, b: array, /, alpha: float = 1.0, beta: float = 1.0, *, stream: Any = None) -> array:
    """``alpha * (a @ b) + beta * c``; ``c`` broadcasts to the product. Half precision is rounded once, at the end.

    Raises:
        ValueError: as ``matmul``, and for an ``alpha`` or ``beta`` that the type of what it multiplies does not have.
    """
    check_stream("addmm", stream)
    alpha, beta = as_number("addmm", alpha, "alpha"), as_number("addmm", beta, "beta")
    x, y = _operands("addmm", a, b)
    z = array_node("addmm", c)
    dtype = promote(x.dtype, z.dtype)
    x, y = (p.cast(n, n.dtype.compute) for n in (x, y))
    product = record_matmul("addmm", x, y)
    _fits("addmm", product, "alpha", alpha)
    if alpha != 1:
        product = p.mul(product, constant(alpha, product.dtype))
    z, product = (p.cast(n, dtype.compute) for n in (z, product))
    _fits("addmm", z, "beta", beta)
    if beta != 1:
        z = p.mul(z, constant(beta, z.dtype))
    return wrap(p.cast(record_add(product, record_broadcast("addmm", z, product.shape)), dtype))


def _fits(op: str, node: Node, name: str, factor: float) -> None:
    if not (node.dtype.is_inexact or float(factor).is_integer()):
        raise ValueError(f"[{op}] expected a whole number as {name} for {node.dtype.name}, got {factor}: cast first")


def inner(a: array, b: array, /, *, stream: Any = None) -> array:
    """Sums of products over the last axes, for all pairs of the others; with a scalar the plain product."""
    check_stream("inner", stream)
    x, y = array_node("inner", a), array_node("inner", b)
    if not x.shape or not y.shape:
        return wrap(record_multiply(*pair("inner", a, b)))
    if x.shape[-1] != y.shape[-1]:
        raise ValueError(
            f"[inner] expected last axes of one size, got {list(x.shape)} and {list(y.shape)}: reshape one of them"
        )
    return tensordot(a, b, [[-1], [-1]])


def dot(a: array, b: array, /, *, stream: Any = None) -> array:
    """NumPy's product: over the last axis of ``a`` and the last but one of ``b``, or the only one.

    For at most two dimensions this is ``matmul``, and with a scalar the plain product.

    >>> import arrax.core as mx
    >>> mx.dot(mx.array([1.0, 2.0]), mx.array([3.0, 4.0]))
    array(11, dtype=float32)
    """
    check_stream("dot", stream)
    x, y = array_node("dot", a), array_node("dot", b)
    if x.ndim and y.ndim > 2:
        if x.shape[-1] != y.shape[-2]:
            raise ValueError(
                f"[dot] expected axes of one size, got {list(x.shape)} and {list(y.shape)}: reshape one of them"
            )
        return tensordot(a, b, [[-1], [-2]])
    return inner(a, b) if not x.ndim or y.ndim < 2 else matmul(a, b)


def vdot(a: array, b: array, /, *, stream: Any = None) -> array:
    """The sum of ``conj(a) * b`` over all elements of both arrays, flattened."""
    check_stream("vdot", stream)
    x, y = array_node("vdot", a), array_node("vdot", b)
    return inner(conj(wrap(v.reshape(x, (x.size,)))), wrap(v.reshape(y, (y.size,))))


def vecdot(a: array, b: array, /, *, axis: int = -1, stream: Any = None) -> array:
    """The sum of ``conj(a) * b`` along one axis, which both arrays have with one size; the others broadcast."""
    check_stream("vecdot", stream)
    axis = as_int("vecdot", axis, "axis")
    x, y = array_node("vecdot", a), array_node("vecdot", b)
    low = -(x.ndim if x.ndim < y.ndim else y.ndim)
    if (axis >= 0 and x.ndim != y.ndim) or not low <= axis < (x.ndim if axis >= 0 else 0):
        raise AxisError(f"[vecdot] expected an axis of both arrays, got {axis}: count it from the end")
    if x.shape[axis] != y.shape[axis]:
        raise ValueError(
            f"[vecdot] expected axes of one size, got {x.shape[axis]} and {y.shape[axis]}: slice one of them"
        )
    product = wrap(record_multiply(*pair("vecdot", conj(a) if x.dtype.is_complex else a, b)))
    return _sum(product, axis)


def outer(a: array, b: array, /, *, stream: Any = None) -> array:
    """The product of every element of ``a`` with every element of ``b``, both flattened."""
    check_stream("outer", stream)
    x, y = pair("outer", wrap(array_node("outer", a)), wrap(array_node("outer", b)))
    return wrap(record_multiply(v.reshape(x, (x.size, 1)), v.reshape(y, (y.size,))))


def kron(a: array, b: array, *, stream: Any = None) -> array:
    """The Kronecker product: every element of ``a`` replaced by its product with the whole of ``b``.

    Raises:
        ValueError: for an array without elements.
    """
    check_stream("kron", stream)
    x, y = pair("kron", wrap(array_node("kron", a)), wrap(array_node("kron", b)))
    if not x.size or not y.size:
        raise ValueError(
            f"[kron] expected arrays with elements, got shapes {list(x.shape)} and {list(y.shape)}: test the size first"
        )
    n = x.ndim if x.ndim > y.ndim else y.ndim
    left, right = (1,) * (n - x.ndim) + x.shape, (1,) * (n - y.ndim) + y.shape
    x = v.reshape(x, tuple(m for s in left for m in (s, 1)))
    y = v.reshape(y, tuple(m for s in right for m in (1, s)))
    shape = fits("kron", tuple(i * j for i, j in zip(left, right, strict=True)))
    return wrap(v.reshape(record_multiply(x, y), shape))


def tensordot(a: array, b: array, /, axes: int | Sequence[Sequence[int]] = 2, *, stream: Any = None) -> array:
    """Sums of products over some axes of both arrays.

    Args:
        axes: how many of ``a``'s last and ``b``'s first axes, or one list of axes for each of them.

    Raises:
        ValueError: where the sizes of the axes differ.
    """
    check_stream("tensordot", stream)
    x, y = array_node("tensordot", a), array_node("tensordot", b)
    sides = elements(axes)
    if isinstance(sides, list | tuple):
        if len(sides) != 2 or not all(map(is_sequence, sides)):
            raise TypeError(
                f"[tensordot] expected a number or two lists of axes, got {shown(axes)}: write [[i, j], [k, l]]"
            )
        left, right = (
            tuple([normalize_axis("tensordot", i, node.ndim) for i in as_ints("tensordot", side, "axes")])
            for node, side in zip((x, y), sides, strict=True)
        )
    else:
        n = as_int("tensordot", sides, "axes")
        if n < 0:
            raise ValueError(f"[tensordot] expected a number of axes of at least 0, got {n}: pass another one")
        if n > x.ndim or n > y.ndim:
            raise ValueError(f"[tensordot] expected at most {min(x.ndim, y.ndim)} axes, got {n}: pass a smaller number")
        left, right = tuple(range(x.ndim - n, x.ndim)), tuple(range(n))
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
    return wrap(v.reshape(record_product(rows, columns), shape))


# --- blocks, gathered matrices, segments ------------------------------------------------------------------------------
def _real_operands(op: str, a: Any, b: Any) -> tuple[Node, Node]:
    x, y = _operands(op, a, b)
    if not x.dtype.is_float:
        raise ValueError(f"[{op}] expected floating point numbers, got {x.dtype.name}: cast them with astype")
    return x, y


def _masked(op: str, node: Node, mask: Any, size: int) -> Node:
    """Blocks of the matrices times one number each, or those where the mask is true and zeros elsewhere."""
    if mask is None:
        return node
    blocks = array_node(op, mask)
    tiles = tuple(-(-n // size) for n in node.shape[-2:])
    blocks = record_broadcast(op, blocks, (*node.shape[:-2], *tiles))
    spread = v.broadcast(
        v.reshape(blocks, (*blocks.shape[:-1], 1, tiles[1], 1)), (*blocks.shape[:-1], size, tiles[1], size)
    )
    whole = v.reshape(spread, (*blocks.shape[:-2], tiles[0] * size, tiles[1] * size))
    whole = v.slice_(whole, node.shape, (0,) * node.ndim)
    if blocks.dtype is bool_:
        return p.where(whole, node, constant(0, node.dtype))
    return p.mul(node, p.cast(whole, node.dtype))


def block_masked_mm(
    a: array,
    b: array,
    /,
    block_size: int = 64,
    mask_out: array | None = None,
    mask_lhs: array | None = None,
    mask_rhs: array | None = None,
    *,
    stream: Any = None,
) -> array:
    """The matrix product of ``a`` and ``b`` with masks that have one element for each square block of a matrix.

    Where a mask of booleans is false the block is taken as zeros; a mask of numbers multiplies it.

    Args:
        a, b: shapes (..., m, k) and (..., k, n), floating point.
        block_size: 32 or 64; blocks at the end of an axis may be smaller.
        mask_out, mask_lhs, mask_rhs: for the result, ``a`` and ``b``; they broadcast to shape (..., rows of blocks,
            columns of blocks), where the axes before are those of the result. Without any this is ``matmul``.

    Raises:
        ValueError: if shapes or types do not fit.

    >>> import arrax.core as mx
    >>> x = mx.ones((64, 64))
    >>> mx.block_masked_mm(x, x, 32, mx.array([[True, False], [False, True]]))[0, 31:33].tolist()
    [64.0, 0.0]
    """
    check_stream("block_masked_mm", stream)
    op = "block_masked_mm"
    block_size = as_int(op, block_size, "block_size")
    if mask_out is None and mask_lhs is None and mask_rhs is None:
        return matmul(a, b)
    x, y = _real_operands(op, a, b)
    if block_size not in (32, 64):
        raise ValueError(f"[{op}] expected a block_size of 32 or 64, got {block_size}: choose one of them")
    if not x.shape or not y.shape:
        raise ValueError(f"[{op}] expected at least one dimension, got a scalar: use multiply")
    row, column = x.ndim == 1, y.ndim == 1
    x = v.reshape(x, (1, *x.shape)) if row else x
    y = v.reshape(y, (*y.shape, 1)) if column else y
    batch = broadcast_shapes(op, x.shape[:-2], y.shape[:-2])
    if mask_lhs is not None:
        x = _masked(op, v.broadcast(x, (*batch, *x.shape[-2:])), mask_lhs, block_size)
    if mask_rhs is not None:
        y = _masked(op, v.broadcast(y, (*batch, *y.shape[-2:])), mask_rhs, block_size)
    result = _masked(op, record_matmul(op, x, y), mask_out, block_size)
    return wrap(v.reshape(result, (*batch, *result.shape[-2:][int(row) : 2 - int(column)])))


def matrix_indices(op: str, indices: Any, batch: Shape) -> Node:
    """Positions among the matrices of an array with these leading axes: the given ones, or all in order."""
    if indices is None:
        return v.reshape(iota((_math.prod(batch),), 0, uint32), batch)
    node = array_node(op, indices)
    if not node.dtype.is_integer:
        raise ValueError(f"[{op}] expected integers as indices, got {node.dtype.name}: cast them")
    return node


def gather_matrices(a: Node, index: Node) -> Node:
    """The matrices of ``a`` at positions counted over all axes but the last two."""
    matrices = v.reshape(a, (_math.prod(a.shape[:-2]), *a.shape[-2:]))
    return take(matrices, index, 0)


def gather_mm(
    a: array,
    b: array,
    /,
    lhs_indices: array | None = None,
    rhs_indices: array | None = None,
    *,
    sorted_indices: bool = False,
    stream: Any = None,
) -> array:
    """Products of matrices out of ``a`` and out of ``b``, both chosen by indices.

    Args:
        a, b: shapes (..., m, k) and (..., k, n), floating point.
        lhs_indices, rhs_indices: integers, which broadcast: positions among the matrices of ``a`` and of ``b``, counted
            over all axes but the last two. None takes all of them in order; without any this is ``matmul``.
        sorted_indices: not used.

    Returns:
        Shape (indices' shape, m, n).

    Raises:
        ValueError: if shapes or types do not fit.

    >>> import arrax.core as mx
    >>> experts = mx.array([[[1.0]], [[10.0]]])
    >>> mx.gather_mm(mx.array([[[2.0]], [[3.0]]]), experts, rhs_indices=mx.array([1, 0])).flatten().tolist()
    [20.0, 3.0]
    """
    check_stream("gather_mm", stream)
    op = "gather_mm"
    if lhs_indices is None and rhs_indices is None:
        return matmul(a, b)
    x, y = _real_operands(op, a, b)
    if not x.shape or not y.shape:
        raise ValueError(f"[{op}] expected at least one dimension, got a scalar: use multiply")
    row, column = x.ndim == 1, y.ndim == 1
    x = v.reshape(x, (1, *x.shape)) if row else x
    y = v.reshape(y, (*y.shape, 1)) if column else y
    left, right = matrix_indices(op, lhs_indices, x.shape[:-2]), matrix_indices(op, rhs_indices, y.shape[:-2])
    batch = broadcast_shapes(op, left.shape, right.shape)
    result = record_matmul(op, gather_matrices(x, left), gather_matrices(y, right))
    return wrap(v.reshape(result, (*batch, *result.shape[-2:][int(row) : 2 - int(column)])))


def segmented_mm(a: array, b: array, /, segments: array, *, stream: Any = None) -> array:
    """The matrix products of ``a[:, start:stop]`` and ``b[start:stop]``, for many segments of the inner axis.

    Args:
        a, b: shapes (m, k) and (k, n), floating point.
        segments: integers of shape (..., 2): where each segment starts and stops.

    Returns:
        Shape (..., m, n).

    Raises:
        ValueError: if shapes or types do not fit.

    >>> import arrax.core as mx
    >>> mx.segmented_mm(mx.ones((1, 4)), mx.ones((4, 1)), mx.array([[0, 1], [1, 4]])).flatten().tolist()
    [1.0, 3.0]
    """
    check_stream("segmented_mm", stream)
    op = "segmented_mm"
    x, y = _real_operands(op, a, b)
    limits = array_node(op, segments)
    if x.ndim != 2 or y.ndim != 2:
        raise ValueError(f"[{op}] expected two matrices, got {list(x.shape)} and {list(y.shape)}: reshape them")
    if not limits.dtype.is_integer:
        raise ValueError(f"[{op}] expected integers as segments, got {limits.dtype.name}: cast them")
    if not limits.ndim or limits.shape[-1] != 2:
        raise ValueError(f"[{op}] expected segments of shape (..., 2), got {list(limits.shape)}: give start and stop")
    if x.shape[1] != y.shape[0]:
        raise ValueError(f"[{op}] expected shapes (m, k) and (k, n), got {list(x.shape)} and {list(y.shape)}")
    lead, k = limits.shape[:-1], x.shape[1]
    limits = p.cast(limits, int64)
    start, stop = (v.slice_(limits, (*lead, 1), (*(0,) * len(lead), i)) for i in (0, 1))
    at = iota((k,), 0, int64)
    inside = p.bitwise_and(p.greater_equal(at, start), p.less(at, stop))
    # both sides, for what lies outside may be infinite
    zero = constant(0, x.dtype)
    left = p.where(v.reshape(inside, (*lead, 1, k)), x, zero)
    right = p.where(v.reshape(inside, (*lead, k, 1)), y, zero)
    return wrap(record_matmul(op, left, right))
