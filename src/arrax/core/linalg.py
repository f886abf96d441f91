"""Linear algebra: norms, products, inverses, equations and factorisations of the matrices in the last two axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from arrax.core.axes import normalize_axis
from arrax.core.convert import array_node
from arrax.graph.dtypes import Dtype, bool_, complex64, float32, float64, promote, to_inexact, uint8, uint32
from arrax.graph.handle import wrap
from arrax.graph.node import Node
from arrax.graph.primitive import Primitive, bind, broadcast_shapes
from arrax.prims import linalg as factor
from arrax.prims import pointwise as p
from arrax.prims.contract import matmul, swap_last
from arrax.prims.leaf import constant
from arrax.prims.reduce import max_p, min_p, reduce, sum_p
from arrax.prims.view import broadcast, concatenate, move_axis, reshape, slice_

if TYPE_CHECKING:
    from arrax.core.array import array

_wrap: Callable[[Node], Any] = wrap


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
        values = bind(factor.singular_values_p, (last,))
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


# --- arguments of factorisations --------------------------------------------------------------------------------------
_REAL = (float32, float64)


def _matrices(op: str, a: Any, types: tuple[Dtype, ...] = _REAL, square: bool = True) -> Node:
    node = array_node(op, a)
    if node.dtype not in types:
        names = ", ".join(t.name for t in types)
        raise ValueError(f"[{op}] expected a type out of {names}, got {node.dtype.name}: cast it")
    if node.ndim < 2:
        raise ValueError(f"[{op}] expected matrices in the last two axes, got shape {list(node.shape)}: reshape it")
    if square and node.shape[-1] != node.shape[-2]:
        raise ValueError(f"[{op}] expected square matrices, got shape {list(node.shape)}")
    return node


def _lower(op: str, letter: Any) -> bool:
    if not isinstance(letter, str):
        raise TypeError(f"[{op}] expected 'L' or 'U' as UPLO, got {letter!r}")
    return letter.upper() != "U"


# --- inverses ---------------------------------------------------------------------------------------------------------
def inv(a: array, *, stream: Any = None) -> array:
    """The inverses of square matrices, float32 or float64.

    Raises:
        ValueError: if shape or type do not fit.
        RuntimeError: on evaluation, if a matrix is singular.

    >>> import arrax.core as mx
    >>> mx.linalg.inv(mx.array([[2.0, 0.0], [0.0, 4.0]])).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    return _wrap(factor.inv(_matrices("inv", a)))


def tri_inv(a: array, upper: bool = False, *, stream: Any = None) -> array:
    """The inverses of triangular matrices; the other triangle is taken as zero.

    Raises:
        ValueError: if shape or type do not fit.
        RuntimeError: on evaluation, if there is a zero on a diagonal.
    """
    return _wrap(factor.triangle(factor.inv(factor.triangle(_matrices("tri_inv", a), upper)), upper))


def pinv(a: array, *, stream: Any = None) -> array:
    """The Moore-Penrose pseudo-inverses of matrices (..., m, n): shape (..., n, m).

    Raises:
        ValueError: if shape or type do not fit.

    >>> import arrax.core as mx
    >>> mx.linalg.pinv(mx.array([[2.0], [0.0]])).tolist()
    [[0.5, 0.0]]
    """
    return _wrap(bind(factor.pinv_p, (_matrices("pinv", a, square=False),)))


def cholesky_inv(a: array, upper: bool = False, *, stream: Any = None) -> array:
    """The inverses of the matrices of which ``a`` holds the Cholesky factors.

    Args:
        a: triangular factors, float32 or float64.
        upper: whether they are upper triangular.
        stream: not used.

    Raises:
        ValueError: if shape or type do not fit.
    """
    inverse = factor.inv(factor.triangle(_matrices("cholesky_inv", a), upper))
    return _wrap(matmul(inverse, swap_last(inverse)) if upper else matmul(swap_last(inverse), inverse))


# --- equations --------------------------------------------------------------------------------------------------------
def _equations(op: str, a: Any, b: Any) -> tuple[Node, Node]:
    left, right = array_node(op, a), array_node(op, b)
    if left.ndim < 2 or left.shape[-1] != left.shape[-2]:
        raise ValueError(f"[{op}] expected square matrices as the first argument, got shape {list(left.shape)}")
    if right.ndim < 1 or left.shape[-1] != right.shape[0 if right.ndim == 1 else -2]:
        raise ValueError(f"[{op}] expected shapes (..., n, n) and (n) or (..., n, k), got {list(right.shape)} for b")
    dtype = promote(left.dtype, right.dtype)
    if dtype not in _REAL:
        raise ValueError(f"[{op}] expected arguments that promote to float32 or float64, got {dtype.name}: cast them")
    return p.cast(left, dtype), p.cast(right, dtype)


def _solved(op: str, left: Node, right: Node) -> Node:
    broadcast_shapes(op, left.shape[:-2], right.shape[:-2])
    if right.ndim > 1:
        return factor.solve(left, right)
    result = factor.solve(left, reshape(right, (*right.shape, 1)))
    return reshape(result, result.shape[:-1])


def solve(a: array, b: array, *, stream: Any = None) -> array:
    """The solution x of ``a @ x = b``.

    Args:
        a: shape (..., n, n).
        b: shape (n), or (..., n, k); its leading axes broadcast with those of ``a``.
        stream: not used.

    Raises:
        ValueError: if shapes or types do not fit.
        RuntimeError: on evaluation, if a matrix is singular.

    >>> import arrax.core as mx
    >>> mx.linalg.solve(mx.array([[2.0, 0.0], [0.0, 4.0]]), mx.array([2.0, 2.0])).tolist()
    [1.0, 0.5]
    """
    return _wrap(_solved("solve", *_equations("solve", a, b)))


def solve_triangular(a: array, b: array, *, upper: bool = False, stream: Any = None) -> array:
    """The solution x of ``a @ x = b`` for triangular matrices; see :func:`solve`.

    Args:
        a: shape (..., n, n); the other triangle is taken as zero.
        b: shape (n), or (..., n, k).
        upper: whether ``a`` is upper triangular.
        stream: not used.

    Raises:
        ValueError: if shapes or types do not fit.
        RuntimeError: on evaluation, if there is a zero on a diagonal.
    """
    left, right = _equations("solve_triangular", a, b)
    return _wrap(_solved("solve_triangular", factor.triangle(left, upper), right))


# --- determinants -----------------------------------------------------------------------------------------------------
def _determinable(op: str, a: Any) -> tuple[Node, Dtype]:
    node = array_node(op, a)
    if node.dtype.is_complex:
        raise ValueError(f"[{op}] expected real numbers, got {node.dtype.name}: take the real part")
    dtype = to_inexact(node.dtype)
    return _matrices(op, _wrap(p.cast(node, dtype.compute))), dtype


def det(a: array, *, stream: Any = None) -> array:
    """The determinants of square matrices of real numbers; integers are taken as float32.

    Raises:
        ValueError: if shape or type do not fit.

    >>> import arrax.core as mx
    >>> mx.linalg.det(mx.array([[2.0, 0.0], [0.0, 4.0]])).item()
    8.0
    """
    node, dtype = _determinable("det", a)
    return _wrap(p.cast(factor.det(node), dtype))


def slogdet(a: array, *, stream: Any = None) -> tuple[array, array]:
    """The signs of the determinants of square matrices, and the logarithms of their absolute values.

    Raises:
        ValueError: if shape or type do not fit.
    """
    node, dtype = _determinable("slogdet", a)
    sign, logarithm = factor.slogdet(node)
    return _wrap(p.cast(sign, dtype)), _wrap(p.cast(logarithm, dtype))


# --- factorisations ---------------------------------------------------------------------------------------------------
def cholesky(a: array, upper: bool = False, *, stream: Any = None) -> array:
    """The triangular factors L, with ``a = L @ L.T``, of symmetric positive definite matrices.

    Args:
        a: float32 or float64; only the lower triangle (the upper one with ``upper``) is read.
        upper: whether to return U, with ``a = U.T @ U``.
        stream: not used.

    Returns:
        The factors; NaN where a matrix is not positive definite.

    Raises:
        ValueError: if shape or type do not fit.

    >>> import arrax.core as mx
    >>> mx.linalg.cholesky(mx.array([[4.0, 2.0], [2.0, 2.0]])).tolist()
    [[2.0, 0.0], [1.0, 1.0]]
    """
    node = _matrices("cholesky", a)
    if upper:
        return _wrap(swap_last(bind(factor.cholesky_p, (swap_last(node),))))
    return _wrap(bind(factor.cholesky_p, (node,)))


def qr(a: array, *, stream: Any = None) -> tuple[array, array]:
    """Q with orthonormal columns and upper triangular R, with ``Q @ R = a``.

    Returns:
        For matrices (..., m, n) and k the smaller of m, n: shapes (..., m, k) and (..., k, n).

    Raises:
        ValueError: if shape or type do not fit.
    """
    q, r = factor.qr(_matrices("qr", a, square=False))
    return _wrap(q), _wrap(r)


def svd(a: array, compute_uv: bool = True, *, stream: Any = None) -> Any:
    """The singular value decomposition: U, S, Vt with ``U[:, :k] @ diag(S) @ Vt[:k] = a``.

    Args:
        a: matrices (..., m, n), float32, float64 or complex64; k is the smaller of m and n.
        compute_uv: whether U and Vt are wanted.
        stream: not used.

    Returns:
        Shapes (..., m, m), (..., k) and (..., n, n); S alone without ``compute_uv``. S is real and descends.

    Raises:
        ValueError: if shape or type do not fit.
    """
    node = _matrices("svd", a, (*_REAL, complex64), square=False)
    if compute_uv:
        return tuple(_wrap(x) for x in factor.svd(node))
    return _wrap(bind(factor.singular_values_p, (node,)))


def eigh(a: array, UPLO: str = "L", *, stream: Any = None) -> tuple[array, array]:
    """The eigenvalues, ascending, and the eigenvectors, in columns, of symmetric or Hermitian matrices.

    Args:
        a: float32, float64 or complex64.
        UPLO: "L" or "U": the triangle that is read.
        stream: not used.

    Raises:
        ValueError: if shape or type do not fit.
    """
    w, v = factor.eigh(_matrices("eigh", a, (*_REAL, complex64)), _lower("eigh", UPLO))
    return _wrap(w), _wrap(v)


def eigvalsh(a: array, UPLO: str = "L", *, stream: Any = None) -> array:
    """The eigenvalues, ascending, of symmetric or Hermitian matrices; see :func:`eigh`."""
    node = _matrices("eigvalsh", a, (*_REAL, complex64))
    return _wrap(bind(factor.eigvalsh_p, (node,), (_lower("eigvalsh", UPLO),)))


def eig(a: array, *, stream: Any = None) -> tuple[array, array]:
    """The eigenvalues and the right eigenvectors, in columns, of square matrices; complex64.

    Raises:
        ValueError: if shape or type do not fit, or a derivative is asked for.
    """
    w, v = factor.eig(_matrices("eig", a, (*_REAL, complex64)))
    return _wrap(w), _wrap(v)


def eigvals(a: array, *, stream: Any = None) -> array:
    """The eigenvalues of square matrices, in no particular order; complex64."""
    return _wrap(factor.eig(_matrices("eigvals", a, (*_REAL, complex64)))[0])


def lu(a: array, *, stream: Any = None) -> tuple[array, array, array]:
    """Row indices P, unit lower triangular L and upper triangular U, with ``a = L[P] @ U``.

    Returns:
        For matrices (..., m, n) and k the smaller of m, n: shapes (..., m), (..., m, k) and (..., k, n).

    Raises:
        ValueError: if shape or type do not fit, or a derivative is asked for.
    """
    node = _matrices("lu", a, square=False)
    both, _, order = factor.lu(node)
    m, n = node.shape[-2:]
    k, lead = min(m, n), node.shape[:-2]
    start = (0,) * node.ndim
    left = factor.triangle(slice_(both, (*lead, m, k), start), strict=True)
    ones = factor.identity(max(m, k), node.dtype)
    left = p.add(left, slice_(ones, (m, k), (0, 0)))
    right = factor.triangle(slice_(both, (*lead, k, n), start), upper=True)
    return _wrap(p.cast(order, uint32)), _wrap(left), _wrap(right)


def lu_factor(a: array, *, stream: Any = None) -> tuple[array, array]:
    """Both factors of :func:`lu` in one matrix, and for every row the row that it was swapped with, in turn.

    Raises:
        ValueError: if shape or type do not fit, or a derivative is asked for.
    """
    both, pivots, _ = factor.lu(_matrices("lu_factor", a, square=False))
    return _wrap(both), _wrap(p.cast(pivots, uint32))
