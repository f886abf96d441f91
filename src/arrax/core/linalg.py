"""Linear algebra: norms, products, inverses, equations and factorisations of the matrices in the last two axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from arrax.core.axes import normalize_axis
from arrax.core.convert import array_node, typed_node
from arrax.core.device import check_stream
from arrax.core.dtypes import finfo, result_type
from arrax.core.norms import matrix_norm, norm, vector_norm
from arrax.core.ops import products
from arrax.core.ops.products import matmul, outer, tensordot
from arrax.core.ops.reductions import record_diagonal
from arrax.core.ops.reductions import sum as _sum
from arrax.core.ops.shape import matrix_transpose
from arrax.graph.dtypes import (
    Dtype,
    bfloat16,
    bool_,
    complex64,
    complex128,
    float16,
    float32,
    float64,
    int32,
    promote,
    real_of,
    to_inexact,
    uint8,
    uint32,
)
from arrax.graph.handle import shown, wrap
from arrax.graph.node import Node
from arrax.graph.primitive import bind, broadcast_shapes
from arrax.prims import contract
from arrax.prims import linalg as factor
from arrax.prims import pointwise as p
from arrax.prims.leaf import constant
from arrax.prims.reduce import max_p, reduce, sum_p
from arrax.prims.view import broadcast, concatenate, reshape, slice_

if TYPE_CHECKING:
    from arrax.core.array import array

__all__ = [
    "cholesky", "cholesky_inv", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh", "inv", "lu",
    "lu_factor", "matmul", "matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose", "norm", "outer", "pinv",
    "qr", "slogdet", "solve", "solve_triangular", "svd", "svdvals", "tensordot", "trace", "tri_inv", "vecdot",
    "vector_norm",
]  # fmt: skip

_wrap: Callable[[Node], Any] = wrap


class EigResult(NamedTuple):
    """What ``eig`` returns."""

    eigenvalues: array
    eigenvectors: array


class EighResult(NamedTuple):
    """What ``eigh`` returns."""

    eigenvalues: array
    eigenvectors: array


class QRResult(NamedTuple):
    """What ``qr`` returns."""

    Q: array
    R: array


class SlogdetResult(NamedTuple):
    """What ``slogdet`` returns."""

    sign: array
    logabsdet: array


class SVDResult(NamedTuple):
    """What ``svd`` returns."""

    U: array
    S: array
    Vh: array


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
    check_stream("cross", stream)
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


def matrix_power(a: array, n: int, /, *, stream: Any = None) -> array:
    """The ``n``-th power of square matrices; a negative power is one of the inverse.

    Raises:
        ValueError: if shape or type do not fit.

    >>> import arrax.core as mx
    >>> mx.linalg.matrix_power(mx.array([[1.0, 1.0], [0.0, 1.0]]), 5).tolist()
    [[1.0, 5.0], [0.0, 1.0]]
    """
    check_stream("matrix_power", stream)
    node = _matrices("matrix_power", a, (*_HALVES, *_TYPES))
    base, n = (factor.inv(_matrices("matrix_power", a)), -n) if n < 0 else (node, n)
    result = broadcast(factor.identity(node.shape[-1], node.dtype), node.shape)
    first = True
    while n:
        if n & 1:
            result, first = base if first else contract.matmul(result, base), False
        n >>= 1
        base = contract.matmul(base, base) if n else base
    return _wrap(result)


def diagonal(a: array, /, *, offset: int = 0, stream: Any = None) -> array:
    """The diagonals of the matrices in the last two axes; an offset moves them to the right."""
    check_stream("diagonal", stream)
    return _wrap(record_diagonal("diagonal", array_node("diagonal", a), offset, -2, -1))


def trace(a: array, /, *, offset: int = 0, dtype: Dtype | None = None, stream: Any = None) -> array:
    """The sums along the diagonals of the matrices in the last two axes, with the types of ``sum``."""
    check_stream("trace", stream)
    return _sum(diagonal(a, offset=offset), axis=-1, dtype=dtype)


def vecdot(a: array, b: array, /, *, axis: int = -1, stream: Any = None) -> array:
    """``mx.vecdot`` in the type in which both arrays meet, as the array API standard wants it of narrow integers."""
    check_stream("vecdot", stream)
    return products.vecdot(a, b, axis=axis).astype(result_type(a, b))


# --- arguments of factorisations --------------------------------------------------------------------------------------
_TYPES = (float32, float64, complex64, complex128)
_HALVES = (float16, bfloat16)


def _matrices(op: str, a: Any, types: tuple[Dtype, ...] = _TYPES, square: bool = True) -> Node:
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
        raise TypeError(f"[{op}] expected 'L' or 'U' as UPLO, got {shown(letter)}")
    return letter.upper() != "U"


# --- inverses ---------------------------------------------------------------------------------------------------------
def inv(a: array, *, stream: Any = None) -> array:
    """The inverses of square matrices, of real or complex numbers.

    Raises:
        ValueError: if shape or type do not fit.
        RuntimeError: on evaluation, if a matrix is singular.

    >>> import arrax.core as mx
    >>> mx.linalg.inv(mx.array([[2.0, 0.0], [0.0, 4.0]])).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    check_stream("inv", stream)
    return _wrap(factor.inv(_matrices("inv", a)))


def tri_inv(a: array, upper: bool = False, *, stream: Any = None) -> array:
    """The inverses of triangular matrices; the other triangle is taken as zero.

    Raises:
        ValueError: if shape or type do not fit.
        RuntimeError: on evaluation, if there is a zero on a diagonal.
    """
    check_stream("tri_inv", stream)
    return _wrap(factor.triangle(factor.inv(factor.triangle(_matrices("tri_inv", a), upper)), upper))


def pinv(a: array, *, rtol: float | array | None = None, stream: Any = None) -> array:
    """The Moore-Penrose pseudo-inverses of matrices (..., m, n): shape (..., n, m).

    Args:
        a: float32, float64 or complex numbers.
        rtol: singular values of at most ``rtol`` times the largest one are taken as zero; a number, or one for each
            matrix. None for a small one.
        stream: not used.

    Raises:
        ValueError: if shape or type do not fit.

    >>> import arrax.core as mx
    >>> mx.linalg.pinv(mx.array([[2.0], [0.0]])).tolist()
    [[0.5, 0.0]]
    """
    check_stream("pinv", stream)
    node = _matrices("pinv", a, square=False)
    if rtol is None or 0 in node.shape:
        return _wrap(bind(factor.pinv_p, (node,)))
    u, s, vh = (x._node for x in svd(_wrap(node), full_matrices=False))
    zero = constant(0, s.dtype)
    # where the quotient is not wanted it is one of 1, so that no infinity reaches a derivative
    kept = _above("pinv", s, rtol)
    inverse = p.where(kept, p.div(constant(1, s.dtype), p.where(kept, s, constant(1, s.dtype))), zero)
    rows = p.mul(p.cast(reshape(inverse, (*inverse.shape, 1)), u.dtype), factor.adjoint(u))
    return _wrap(contract.matmul(factor.adjoint(vh), rows))


def _above(op: str, values: Node, rtol: Any) -> Node:
    """Which singular values are more than ``rtol`` (a number, or one for each matrix) times the largest one."""
    bound = typed_node(op, rtol, values.dtype)
    bound = reshape(bound, (*bound.shape, 1))
    return p.greater(values, p.mul(bound, reduce(max_p, values, (values.ndim - 1,))))


def matrix_rank(a: array, /, *, rtol: float | array | None = None, stream: Any = None) -> array:
    """How many singular values of matrices (..., m, n) are more than ``rtol`` times the largest one, as int32.

    Args:
        a: float32, float64 or complex numbers.
        rtol: a number, or one for each matrix; by default the larger one of m and n times the type's ``eps``.
        stream: not used.

    Raises:
        ValueError: if shape or type do not fit.
    """
    check_stream("matrix_rank", stream)
    node = _matrices("matrix_rank", a, square=False)
    if 0 in node.shape[-2:]:
        return _wrap(broadcast(constant(0, int32), node.shape[:-2]))
    values = bind(factor.singular_values_p, (node,))
    kept = _above("matrix_rank", values, max(node.shape[-2:]) * finfo(node.dtype).eps if rtol is None else rtol)
    count = reduce(sum_p, p.cast(kept, int32), (kept.ndim - 1,))
    return _wrap(reshape(count, count.shape[:-1]))


def cholesky_inv(a: array, upper: bool = False, *, stream: Any = None) -> array:
    """The inverses of the matrices of which ``a`` holds the Cholesky factors.

    Args:
        a: triangular factors, float32, float64 or complex numbers.
        upper: whether they are upper triangular.
        stream: not used.

    Raises:
        ValueError: if shape or type do not fit.
    """
    check_stream("cholesky_inv", stream)
    inverse = factor.inv(factor.triangle(_matrices("cholesky_inv", a), upper))
    other = factor.adjoint(inverse)
    return _wrap(contract.matmul(inverse, other) if upper else contract.matmul(other, inverse))


# --- equations --------------------------------------------------------------------------------------------------------
def _equations(op: str, a: Any, b: Any) -> tuple[Node, Node]:
    left, right = array_node(op, a), array_node(op, b)
    if left.ndim < 2 or left.shape[-1] != left.shape[-2]:
        raise ValueError(f"[{op}] expected square matrices as the first argument, got shape {list(left.shape)}")
    if right.ndim < 1 or left.shape[-1] != right.shape[0 if right.ndim == 1 else -2]:
        raise ValueError(f"[{op}] expected shapes (..., n, n) and (n) or (..., n, k), got {list(right.shape)} for b")
    dtype = promote(left.dtype, right.dtype)
    if dtype not in _TYPES:
        names = ", ".join(t.name for t in _TYPES)
        raise ValueError(
            f"[{op}] expected arguments that promote to a type out of {names}, got {dtype.name}: cast them"
        )
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
    check_stream("solve", stream)
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
    check_stream("solve_triangular", stream)
    left, right = _equations("solve_triangular", a, b)
    return _wrap(_solved("solve_triangular", factor.triangle(left, upper), right))


# --- determinants -----------------------------------------------------------------------------------------------------
def _determinable(op: str, a: Any) -> tuple[Node, Dtype]:
    node = array_node(op, a)
    dtype = to_inexact(node.dtype)
    return _matrices(op, _wrap(p.cast(node, dtype.compute))), dtype


def det(a: array, *, stream: Any = None) -> array:
    """The determinants of square matrices; integers are taken as float32.

    Raises:
        ValueError: if shape or type do not fit.

    >>> import arrax.core as mx
    >>> mx.linalg.det(mx.array([[2.0, 0.0], [0.0, 4.0]])).item()
    8.0
    """
    check_stream("det", stream)
    node, dtype = _determinable("det", a)
    return _wrap(p.cast(factor.det(node), dtype))


def slogdet(a: array, *, stream: Any = None) -> SlogdetResult:
    """The signs of the determinants of square matrices, and the logarithms of their absolute values.

    The sign of a complex number is the number divided by its absolute value.

    Raises:
        ValueError: if shape or type do not fit.
    """
    check_stream("slogdet", stream)
    node, dtype = _determinable("slogdet", a)
    sign, logarithm = factor.slogdet(node)
    return SlogdetResult(_wrap(p.cast(sign, dtype)), _wrap(p.cast(logarithm, real_of(dtype))))


# --- factorisations ---------------------------------------------------------------------------------------------------
def cholesky(a: array, upper: bool = False, *, stream: Any = None) -> array:
    """The triangular factors L, with ``a = L @ conj(L.T)``, of symmetric or Hermitian matrices that are positive
    definite, or semi-definite: then they have columns of zeros.

    Args:
        a: float32, float64 or complex numbers; only the lower triangle (the upper one with ``upper``) is read.
        upper: whether to return U, with ``a = conj(U.T) @ U``.
        stream: not used.

    Returns:
        The factors; NaN where a matrix has a negative eigenvalue.

    Raises:
        ValueError: if shape or type do not fit.

    >>> import arrax.core as mx
    >>> mx.linalg.cholesky(mx.array([[4.0, 2.0], [2.0, 2.0]])).tolist()
    [[2.0, 0.0], [1.0, 1.0]]
    """
    check_stream("cholesky", stream)
    node = _matrices("cholesky", a)
    if upper:
        return _wrap(factor.adjoint(bind(factor.cholesky_p, (factor.adjoint(node),))))
    return _wrap(bind(factor.cholesky_p, (node,)))


def qr(a: array, *, mode: str = "reduced", stream: Any = None) -> QRResult:
    """Q with orthonormal columns and upper triangular R, with ``Q @ R = a``; R has a real diagonal.

    Returns:
        For matrices (..., m, n) and k the smaller of m, n: shapes (..., m, k) and (..., k, n); with the mode
        "complete" (..., m, m) and (..., m, n).

    Raises:
        ValueError: if shape or type do not fit, or there is no such mode.
    """
    check_stream("qr", stream)
    if mode not in ("reduced", "complete"):
        raise ValueError(f"[qr] expected mode 'reduced' or 'complete', got {shown(mode)}: choose one of them")
    node = _matrices("qr", a, square=False)
    m, n = node.shape[-2:]
    if mode == "complete" and m > n:
        # the identity behind it fills up the columns to a basis
        ones = broadcast(factor.identity(m, node.dtype), (*node.shape[:-1], m))
        q, r = factor.qr(concatenate([node, ones], node.ndim - 1))
        r = factor.triangle(slice_(r, node.shape, (0,) * node.ndim), upper=True)
    else:
        q, r = factor.qr(node)
    return QRResult(_wrap(q), _wrap(r))


def svd(a: array, compute_uv: bool = True, *, full_matrices: bool = True, stream: Any = None) -> Any:
    """The singular value decomposition: U, S, Vh with ``U[:, :k] @ diag(S) @ Vh[:k] = a``.

    Args:
        a: matrices (..., m, n), float32, float64 or complex numbers; k is the smaller of m and n.
        compute_uv: whether U and Vh are wanted.
        full_matrices: whether U and Vh are square, or only k columns and rows.
        stream: not used.

    Returns:
        Shapes (..., m, m), (..., k) and (..., n, n); S alone without ``compute_uv``. S is real and descends.

    Raises:
        ValueError: if shape or type do not fit.
    """
    check_stream("svd", stream)
    node = _matrices("svd", a, square=False)
    if not compute_uv:
        return _wrap(bind(factor.singular_values_p, (node,)))
    u, s, vh = factor.svd(node)
    if not full_matrices:
        k, start = s.shape[-1], (0,) * node.ndim
        u, vh = slice_(u, (*u.shape[:-1], k), start), slice_(vh, (*vh.shape[:-2], k, vh.shape[-1]), start)
    return SVDResult(_wrap(u), _wrap(s), _wrap(vh))


def svdvals(a: array, /, *, stream: Any = None) -> array:
    """The singular values, descending, of matrices; see :func:`svd`."""
    check_stream("svdvals", stream)
    return svd(a, False)


def eigh(a: array, UPLO: str = "L", *, stream: Any = None) -> EighResult:
    """The eigenvalues, ascending, and the eigenvectors, in columns, of symmetric or Hermitian matrices.

    Args:
        a: float32, float64 or complex numbers.
        UPLO: "L" or "U": the triangle that is read.
        stream: not used.

    Raises:
        ValueError: if shape or type do not fit.
    """
    check_stream("eigh", stream)
    w, v = factor.eigh(_matrices("eigh", a), _lower("eigh", UPLO))
    return EighResult(_wrap(w), _wrap(v))


def eigvalsh(a: array, UPLO: str = "L", *, stream: Any = None) -> array:
    """The eigenvalues, ascending, of symmetric or Hermitian matrices; see :func:`eigh`."""
    check_stream("eigvalsh", stream)
    node = _matrices("eigvalsh", a)
    return _wrap(bind(factor.eigvalsh_p, (node,), (_lower("eigvalsh", UPLO),)))


def eig(a: array, *, stream: Any = None) -> EigResult:
    """The eigenvalues and the right eigenvectors, in columns, of square matrices.

    Both are complex64, or complex128 for float64 and complex128.

    Raises:
        ValueError: if shape or type do not fit, or a derivative is asked for.
    """
    check_stream("eig", stream)
    w, v = factor.eig(_matrices("eig", a))
    return EigResult(_wrap(w), _wrap(v))


def eigvals(a: array, *, stream: Any = None) -> array:
    """The eigenvalues of square matrices, in no particular order; see :func:`eig`."""
    check_stream("eigvals", stream)
    return _wrap(factor.eig(_matrices("eigvals", a))[0])


def lu(a: array, *, stream: Any = None) -> tuple[array, array, array]:
    """Row indices P, unit lower triangular L and upper triangular U, with ``a = L[P] @ U``.

    Returns:
        For matrices (..., m, n) and k the smaller of m, n: shapes (..., m), (..., m, k) and (..., k, n).

    Raises:
        ValueError: if shape or type do not fit, or a derivative is asked for.
    """
    check_stream("lu", stream)
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
    check_stream("lu_factor", stream)
    both, pivots, _ = factor.lu(_matrices("lu_factor", a, square=False))
    return _wrap(both), _wrap(p.cast(pivots, uint32))
