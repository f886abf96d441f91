"""Linear algebra that LAPACK does, through NumPy, on the matrices in the last two axes.

A factorisation has several results: they lie one after another, flattened, along the last axis of one packed array, and
views cut them out. So all are computed at once and one rule gives the derivative with respect to all of them.

The derivatives are those of M. Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation" (2008); of the QR decomposition, S. Walter and L. Lehmann, "Algorithmic differentiation of linear
algebra functions with application in optimum experimental design" (2010), and M. Seeger et al., "Auto-differentiating
linear algebra" (2017); of the singular vectors, J. Townsend, "Differentiating the singular value decomposition" (2016).
They are for complex matrices too: a cotangent g stands for the function of dx that is the real part of the sum of
conj(g) * dx, so that every transpose of the real rules is an adjoint. What is determined but for a phase (singular
vectors, eigenvectors) has a derivative in functions that do not depend on the phase; Q and R are determined, for R's
diagonal is real.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from arrax.graph.dtypes import Dtype, int32, real_of, to_complex
from arrax.graph.node import Node, Shape
from arrax.graph.primitive import Primitive, bind, register
from arrax.prims import pointwise as p
from arrax.prims.contract import matmul, swap_last
from arrax.prims.leaf import constant, iota
from arrax.prims.view import broadcast, concatenate, reshape, slice_, to_front

Outputs = Callable[[int, int], list[Shape]]


# --- packing ----------------------------------------------------------------------------------------------------------
def unpacked(a: Node, lead: Shape, shapes: Sequence[Shape]) -> list[Node]:
    """The arrays of shapes (lead, shape) that lie along the last axis."""
    result, start = [], 0
    for shape in shapes:
        n = math.prod(shape)
        part = slice_(a, (*lead, n), (*(0,) * len(lead), start))
        result.append(reshape(part, (*lead, *shape)))
        start += n
    return result


def _declare(
    name: str, factor: Callable[..., Any], vjp: Callable[..., Node], *, outputs: Outputs | None = None, samples: Any
) -> Primitive:
    """A primitive of one matrix argument; ``outputs`` gives the shapes of packed results."""

    def infer(inputs: tuple[Node, ...], params: tuple) -> tuple[Shape, Dtype]:
        *lead, m, n = inputs[0].shape
        dtype = inputs[0].dtype
        if outputs is None:
            return inputs[0].shape, dtype
        return (*lead, sum(math.prod(s) for s in outputs(m, n))), to_complex(dtype) if name == "eig" else dtype

    def reference(params: tuple, shape: Shape, dtype: Dtype, a: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            found = _checked(name, factor, a, *params)
        if outputs is None:
            return np.asarray(found).astype(dtype.np)
        lead = a.shape[:-2]
        sizes = [math.prod(s) for s in outputs(*a.shape[-2:])]
        flat = [np.reshape(x, (*lead, n)).astype(dtype.np) for x, n in zip(found, sizes, strict=True)]
        return np.concatenate(flat, axis=-1)

    def rule(n: Node, g: Node) -> tuple[Node]:
        a = n.inputs[0]
        if outputs is None:
            return (vjp(n, [n], [g]),)
        lead, shapes = a.shape[:-2], outputs(*a.shape[-2:])
        return (vjp(n, unpacked(n, lead, shapes), unpacked(g, lead, shapes)),)

    return register(
        Primitive(
            name,
            "opaque",
            infer,
            reference,
            rule,
            lambda n, inputs, batched: bind(n.prim, (inputs[0],), n.params),
            samples=samples,
            cost=100,
        )
    )


def _single(x: Any) -> Any:
    """Half precision, which LAPACK does not have, as float32."""
    return x.astype(np.float32) if isinstance(x, np.ndarray) and x.dtype.itemsize == 2 else x


def _checked(name: str, f: Callable[..., Any], *args: Any) -> Any:
    """NumPy's result; its error, which is raised while a graph is evaluated, as a RuntimeError."""
    try:
        return f(*(_single(x) for x in args))
    except np.linalg.LinAlgError as error:
        raise RuntimeError(f"[{name}] expected matrices for which this exists, got others: {error}") from None


def _no_derivative(n: Node, outputs: list[Node], cotangents: list[Node]) -> Node:
    raise ValueError(f"[{n.prim.name}] expected a function with a derivative, it has none: use another factorisation")


# --- recorded pieces --------------------------------------------------------------------------------------------------
def adjoint(a: Node) -> Node:
    """The conjugate transpose."""
    return swap_last(bind(p.conj_p, (a,)) if a.dtype.is_complex else a)


def identity(n: int, dtype: Dtype) -> Node:
    square = (n, n)
    return p.cast(p.equal(iota(square, 0, int32), iota(square, 1, int32)), dtype)


def triangle(a: Node, upper: bool = False, strict: bool = False) -> Node:
    """The elements on one side of the diagonal, and on it unless ``strict``; zeros elsewhere."""
    rows, columns = (iota(a.shape[-2:], axis, int32) for axis in (0, 1))
    low, high = (rows, columns) if upper else (columns, rows)
    return p.where((p.less if strict else p.less_equal)(low, high), a, constant(0, a.dtype))


def _times_row(a: Node, v: Node) -> Node:
    """Every column by one number."""
    return p.mul(a, p.cast(reshape(v, (*v.shape[:-1], 1, v.shape[-1])), a.dtype))


def _diagonal(v: Node, dtype: Dtype) -> Node:
    n = v.shape[-1]
    return _times_row(identity(n, dtype), v)


def _symmetric(a: Node) -> Node:
    return p.mul(p.add(a, adjoint(a)), constant(0.5, a.dtype))


def _half_diagonal(a: Node) -> Node:
    return p.mul(a, p.sub(constant(1, a.dtype), p.mul(identity(a.shape[-1], a.dtype), constant(0.5, a.dtype))))


def _gaps(v: Node) -> Node:
    """1 / (v_j - v_i) in row i and column j; zero on the diagonal, and where the two are equal."""
    n = v.shape[-1]
    gap = p.sub(reshape(v, (*v.shape[:-1], 1, n)), reshape(v, (*v.shape, 1)))
    same = p.equal(gap, constant(0, gap.dtype))
    return p.where(
        same, constant(0, gap.dtype), p.div(constant(1, gap.dtype), p.where(same, constant(1, gap.dtype), gap))
    )


def _columns(a: Node, start: int, n: int) -> Node:
    return slice_(a, (*a.shape[:-1], n), (*(0,) * (a.ndim - 1), start))


def _real(a: Node) -> Node:
    return bind(p.real_p, (a,)) if a.dtype.is_complex else a


def _conj(a: Node) -> Node:
    return bind(p.conj_p, (a,)) if a.dtype.is_complex else a


def _imaginary(a: Node) -> Node:
    """The imaginary part of complex numbers, as such."""
    return p.mul(p.sub(a, _conj(a)), constant(0.5, a.dtype))


# --- inverses and equations -------------------------------------------------------------------------------------------
def _inv_vjp(n: Node, outputs: list[Node], cotangents: list[Node]) -> Node:
    c = adjoint(n)
    return p.neg(matmul(matmul(c, cotangents[0]), c))


inv_p = _declare("inv", np.linalg.inv, _inv_vjp, samples=[(("f4:3,3",), ()), (("f4:2,2,2",), ())])


def _solve_reference(params: tuple, shape: Shape, dtype: Dtype, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return _checked("solve", np.linalg.solve, a, b).astype(dtype.np)


def _solve_vjp(n: Node, g: Node) -> tuple[Node, Node]:
    db = solve(adjoint(n.inputs[0]), g)
    return p.neg(matmul(db, adjoint(n))), db


# a x = b for matrices a, b with equal leading axes.
solve_p = register(
    Primitive(
        "solve",
        "opaque",
        lambda inputs, params: (inputs[1].shape, inputs[1].dtype),
        _solve_reference,
        _solve_vjp,
        lambda n, inputs, batched: solve(*to_front(inputs, batched)),
        samples=[(("f4:3,3", "f4:3,2"), ()), (("f4:2,2,2", "f4:2,2,1"), ())],
        cost=100,
    )
)


def _pinv_reference(a: np.ndarray) -> np.ndarray:
    if not a.size:
        return np.swapaxes(a, -1, -2)
    return np.linalg.pinv(a, rcond=max(a.shape[-2:]) * np.finfo(a.dtype).eps)


def _pinv_vjp(n: Node, g: Node) -> tuple[Node]:
    """G. Golub and V. Pereyra, "The differentiation of pseudo-inverses and nonlinear least squares problems" (1973)."""
    a, gt, nt = n.inputs[0], adjoint(g), adjoint(n)
    rows = p.sub(identity(a.shape[-2], a.dtype), matmul(a, n))
    columns = p.sub(identity(a.shape[-1], a.dtype), matmul(n, a))
    first = p.neg(matmul(matmul(nt, g), nt))
    second = matmul(matmul(rows, gt), matmul(n, nt))
    third = matmul(matmul(nt, n), matmul(gt, columns))
    return (p.add(first, p.add(second, third)),)


pinv_p = register(
    Primitive(
        "pinv",
        "opaque",
        lambda inputs, params: ((*inputs[0].shape[:-2], *inputs[0].shape[:-3:-1]), inputs[0].dtype),
        lambda params, shape, dtype, a: _checked("pinv", _pinv_reference, a).astype(dtype.np),
        _pinv_vjp,
        lambda n, inputs, batched: bind(n.prim, (inputs[0],)),
        samples=[(("f4:3,2",), ()), (("f4:2,2,2",), ())],
        cost=100,
    )
)


# --- determinants -----------------------------------------------------------------------------------------------------
def _each(n: Node, g: Node) -> Node:
    """One number per matrix, as a matrix."""
    return reshape(g, (*n.inputs[0].shape[:-2], 1, 1))


def _det_vjp(n: Node, outputs: list[Node], cotangents: list[Node]) -> Node:
    return p.mul(_each(n, p.mul(_conj(outputs[0]), cotangents[0])), adjoint(bind(inv_p, n.inputs)))


def _slogdet_vjp(n: Node, outputs: list[Node], cotangents: list[Node]) -> Node:
    """The logarithm of the determinant has the absolute value's as its real part, and the angle as the imaginary."""
    (sign, _), (gsign, g) = outputs, cotangents
    if n.dtype.is_complex:
        g = p.add(p.cast(_real(g), n.dtype), _imaginary(p.mul(gsign, _conj(sign))))
    return p.mul(_each(n, g), adjoint(bind(inv_p, n.inputs)))


det_p = _declare(
    "det",
    lambda a: (np.linalg.det(a),),
    _det_vjp,
    outputs=lambda m, n: [()],
    samples=[(("f4:3,3",), ()), (("f4:2,2,2",), ())],
)

# The sign, and the logarithm of the absolute value.
slogdet_p = _declare(
    "slogdet",
    np.linalg.slogdet,
    _slogdet_vjp,
    outputs=lambda m, n: [(), ()],
    samples=[(("f4:3,3",), ()), (("f4:2,2,2",), ())],
)


# --- factorisations ---------------------------------------------------------------------------------------------------
def _semidefinite_factor(a: np.ndarray) -> np.ndarray:
    """The lower factor of a matrix whose pivots may vanish, along with what is below them; NaN where there is none."""
    largest = np.abs(np.diagonal(a)).max()
    least = 16 * len(a) * np.finfo(a.dtype).eps * largest
    rest = a.astype(np.result_type(a, np.float64))
    factor = np.zeros_like(rest)
    for j in range(len(a)):
        below, pivot = rest[j:, j], rest[j, j].real
        if pivot > least:
            factor[j:, j] = below / np.sqrt(pivot)
            rest[j:, j:] -= np.outer(factor[j:, j], factor[j:, j].conj())
        elif not (pivot >= -least and np.abs(below).max() <= np.sqrt(least * largest)):
            return np.full_like(a, np.nan)
    return factor.astype(a.dtype)


def _cholesky_reference(a: np.ndarray) -> np.ndarray:
    """Lower factors, NaN where there is none."""
    try:
        return np.linalg.cholesky(a)
    except np.linalg.LinAlgError:
        if a.ndim == 2:
            return _semidefinite_factor(a)
        return np.stack([_cholesky_reference(x) for x in a])


def _cholesky_vjp(n: Node, outputs: list[Node], cotangents: list[Node]) -> Node:
    inner = _half_diagonal(triangle(matmul(adjoint(n), cotangents[0])))
    inverse = bind(inv_p, (n,))
    return _symmetric(matmul(matmul(adjoint(inverse), inner), inverse))


# The lower factor of Hermitian positive semi-definite matrices, of which the lower triangle is read.
cholesky_p = _declare("cholesky", _cholesky_reference, _cholesky_vjp, samples=[(("f4:1,1",), ())])


def qr_outputs(m: int, n: int) -> list[Shape]:
    k = min(m, n)
    return [(m, k), (k, n)]


def _tall_qr_vjp(q: Node, r: Node, gq: Node, gr: Node) -> Node:
    low = _half_diagonal(triangle(p.sub(matmul(r, adjoint(gr)), matmul(adjoint(gq), q))))
    return adjoint(solve(r, adjoint(p.add(gq, matmul(q, p.add(low, adjoint(low)))))))


def _qr_vjp(n: Node, outputs: list[Node], cotangents: list[Node]) -> Node:
    a, (q, r), (gq, gr) = n.inputs[0], outputs, cotangents
    rows, columns = a.shape[-2:]
    if rows >= columns:
        return _tall_qr_vjp(q, r, gq, gr)
    # the first columns decide Q; the others are Q times their part of R
    rest = columns - rows
    right, gright = _columns(a, rows, rest), _columns(gr, rows, rest)
    gq = p.add(gq, matmul(right, adjoint(gright)))
    left = _tall_qr_vjp(q, _columns(r, 0, rows), gq, _columns(gr, 0, rows))
    return concatenate([left, matmul(q, gright)], a.ndim - 1)


qr_p = _declare(
    "qr", np.linalg.qr, _qr_vjp, outputs=qr_outputs, samples=[(("f4:3,2",), ()), (("f4:2,3",), ()), (("f4:2,2,2",), ())]
)


def svd_outputs(m: int, n: int) -> list[Shape]:
    return [(m, m), (min(m, n),), (n, n)]


def _svd_vjp(node: Node, outputs: list[Node], cotangents: list[Node]) -> Node:
    """Of the first min(m, n) singular vectors; the others are any basis of the rest."""
    (u, s, vt), (gu, gs, gvt) = outputs, cotangents
    k, dtype = s.shape[-1], node.dtype
    s, gs = _real(s), p.cast(_real(gs), dtype)
    v, gv = adjoint(vt), adjoint(gvt)
    u, gu, v, gv = (_columns(x, 0, k) for x in (u, gu, v, gv))
    zero = p.equal(s, constant(0, s.dtype))
    inverse = p.where(zero, constant(0, s.dtype), p.div(constant(1, s.dtype), p.where(zero, constant(1, s.dtype), s)))
    gaps = p.cast(_gaps(p.square(s)), dtype)

    def turned(x: Node, gx: Node) -> Node:
        """How the cotangent turns the vectors among themselves, each pair by its gap."""
        inner = matmul(adjoint(x), gx)
        return p.mul(gaps, p.sub(inner, adjoint(inner)))

    def outside(x: Node, gx: Node) -> Node:
        """The part of the cotangent outside of the span of the vectors."""
        return _times_row(p.sub(gx, matmul(x, matmul(adjoint(x), gx))), inverse)

    core = p.add(_times_row(turned(u, gu), s), adjoint(_times_row(adjoint(turned(v, gv)), s)))
    core = p.add(core, _diagonal(gs, dtype))
    if dtype.is_complex:
        # how the phases of a pair of vectors turn; only their difference is determined
        phases = p.mul(_imaginary(p.sub(matmul(adjoint(u), gu), matmul(adjoint(v), gv))), constant(0.5, dtype))
        core = p.add(core, p.mul(phases, _diagonal(inverse, dtype)))
    result = matmul(matmul(u, core), adjoint(v))
    result = p.add(result, matmul(outside(u, gu), adjoint(v)))
    return p.add(result, matmul(u, adjoint(outside(v, gv))))


# Full U, the singular values and full V^H.
svd_p = _declare("svd", np.linalg.svd, _svd_vjp, outputs=svd_outputs, samples=[(("f4:3,3",), ()), (("f4:2,2,2",), ())])


def _singular_values_vjp(n: Node, g: Node) -> tuple[Node]:
    a = n.inputs[0]
    u, _, vt = svd(a)
    k = n.shape[-1]
    return (matmul(_times_row(_columns(u, 0, k), g), slice_(vt, (*vt.shape[:-2], k, vt.shape[-1]), (0,) * vt.ndim)),)


# All singular values, the largest first.
singular_values_p = register(
    Primitive(
        "singular_values",
        "opaque",
        lambda inputs, params: (
            (*inputs[0].shape[:-2], min(inputs[0].shape[-2:])),
            real_of(inputs[0].dtype),
        ),
        lambda params, shape, dtype, a: _checked("svd", _singular_values, a, shape).astype(dtype.np),
        _singular_values_vjp,
        lambda n, inputs, batched: bind(n.prim, (inputs[0],)),
        samples=[(("f4:3,2",), ()), (("f4:2,3,3",), ())],
        cost=100,
    )
)


def _singular_values(a: np.ndarray, shape: Shape) -> np.ndarray:
    return np.linalg.svd(a, compute_uv=False) if a.size else np.empty(shape, a.dtype)


def eigh_outputs(m: int, n: int) -> list[Shape]:
    return [(n,), (n, n)]


def _eigh_reference(a: np.ndarray, lower: bool) -> Any:
    if np.isfinite(a).all():
        return np.linalg.eigh(a, "L" if lower else "U")
    return np.full(a.shape[:-1], np.nan), np.full(a.shape, np.nan)


def _eigh_vjp(n: Node, outputs: list[Node], cotangents: list[Node]) -> Node:
    (w, v), (gw, gv) = outputs, cotangents
    w, gw = _real(w), _real(gw)
    inner = p.mul(p.cast(_gaps(w), v.dtype), matmul(adjoint(v), gv))
    return _symmetric(matmul(matmul(v, p.add(inner, _diagonal(gw, v.dtype))), adjoint(v)))


# Ascending eigenvalues and the eigenvectors of Hermitian matrices. params: (whether the lower triangle is read,)
eigh_p = _declare(
    "eigh",
    _eigh_reference,
    _eigh_vjp,
    outputs=eigh_outputs,
    samples=[(("f4:1,1",), (True,)), (("f4:2,1,1",), (False,))],
)


def _eigvalsh_reference(params: tuple, shape: Shape, dtype: Dtype, a: np.ndarray) -> np.ndarray:
    if not np.isfinite(a).all():
        return np.full(shape, np.nan, dtype.np)
    return _checked("eigvalsh", np.linalg.eigvalsh, a, "L" if params[0] else "U").astype(dtype.np)


def _eigvalsh_vjp(n: Node, g: Node) -> tuple[Node]:
    _, v = eigh(n.inputs[0], n.params[0])
    return (matmul(_times_row(v, g), adjoint(v)),)


eigvalsh_p = register(
    Primitive(
        "eigvalsh",
        "opaque",
        lambda inputs, params: (inputs[0].shape[:-1], real_of(inputs[0].dtype)),
        _eigvalsh_reference,
        _eigvalsh_vjp,
        lambda n, inputs, batched: bind(n.prim, (inputs[0],), n.params),
        samples=[(("f4:1,1",), (True,)), (("f4:2,1,1",), (False,))],
        cost=100,
    )
)

# Eigenvalues and right eigenvectors, complex.
eig_p = _declare("eig", np.linalg.eig, _no_derivative, outputs=eigh_outputs, samples=[(("f4:2,2",), ())])


def lu_outputs(m: int, n: int) -> list[Shape]:
    return [(m, n), (min(m, n),), (m,)]


def _lu_reference(a: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both factors in one matrix; the row that each row was swapped with; where each row of the input is now."""
    lead, (m, n) = a.shape[:-2], a.shape[-2:]
    both = a.reshape(math.prod(lead), m, n).copy()
    every = np.arange(len(both))
    order = np.tile(np.arange(m), (len(both), 1))
    pivots = np.zeros((len(both), min(m, n)), np.int64)
    for k in range(min(m, n)):
        size = np.abs(both[:, k:, k])
        pivot = k + np.argmax(np.where(np.isnan(size), -1, size), axis=1)
        pivots[:, k] = pivot
        for x in (both, order):
            held = x[every, pivot].copy()
            x[every, pivot] = x[:, k]
            x[:, k] = held
        top = both[:, k, k, None]
        both[:, k + 1 :, k] = np.where(top == 0, both[:, k + 1 :, k], both[:, k + 1 :, k] / np.where(top == 0, 1, top))
        both[:, k + 1 :, k + 1 :] -= both[:, k + 1 :, k, None] * both[:, k, None, k + 1 :]
    back = np.argsort(order, axis=1)
    return both.reshape(a.shape), pivots.reshape(*lead, min(m, n)), back.reshape(*lead, m)


# Gaussian elimination with row pivoting.
lu_p = _declare(
    "lu", _lu_reference, _no_derivative, outputs=lu_outputs, samples=[(("f4:3,3",), ()), (("f4:2,2,3",), ())]
)


def _root_reference(a: np.ndarray) -> np.ndarray:
    u, s, vt = np.linalg.svd(a)
    return np.matmul(u * np.sqrt(s)[..., None, :], vt)


# The symmetric square root of positive semi-definite matrices.
symmetric_root_p = _declare("symmetric_root", _root_reference, _no_derivative, samples=[(("f4:2,2",), ())])


# --- recording --------------------------------------------------------------------------------------------------------
def _results(prim: Primitive, a: Node, outputs: Outputs, params: tuple = ()) -> list[Node]:
    return unpacked(bind(prim, (a,), params), a.shape[:-2], outputs(*a.shape[-2:]))


def inv(a: Node) -> Node:
    return bind(inv_p, (a,))


def solve(a: Node, b: Node) -> Node:
    """The x for which a x = b; matrices, whose leading axes broadcast."""
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return bind(solve_p, (broadcast(a, (*lead, *a.shape[-2:])), broadcast(b, (*lead, *b.shape[-2:]))))


def det(a: Node) -> Node:
    return _results(det_p, a, lambda m, n: [()])[0]


def slogdet(a: Node) -> list[Node]:
    sign, logarithm = _results(slogdet_p, a, lambda m, n: [(), ()])
    return [sign, _real(logarithm)]


def qr(a: Node) -> list[Node]:
    return _results(qr_p, a, qr_outputs)


def svd(a: Node) -> list[Node]:
    u, s, vt = _results(svd_p, a, svd_outputs)
    return [u, _real(s), vt]


def eigh(a: Node, lower: bool) -> list[Node]:
    w, v = _results(eigh_p, a, eigh_outputs, (lower,))
    return [_real(w), v]


def eig(a: Node) -> list[Node]:
    return _results(eig_p, a, eigh_outputs)


def lu(a: Node) -> list[Node]:
    return _results(lu_p, a, lu_outputs)


def symmetric_root(a: Node) -> Node:
    return bind(symmetric_root_p, (a,))
