"""Factorisations, inverses and equations of complex matrices, which MLX does not have: with NumPy as the oracle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import arrax.core as mx

RNG = np.random.default_rng(0)
TOLERANCE = {"complex64": 2e-4, "complex128": 1e-10}


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape) + 1j * RNG.normal(size=shape)


def adjoint(a: Any) -> Any:
    return a.conj().swapaxes(-1, -2) if isinstance(a, np.ndarray) else mx.conj(mx.swapaxes(a, -1, -2))


SQUARE = normal(2, 4, 4) + 2 * np.eye(4)
POSITIVE = SQUARE @ adjoint(SQUARE) + np.eye(4)
LOWER, UPPER = np.tril(SQUARE), np.triu(SQUARE)
TALL, WIDE, VECTOR = normal(2, 5, 3), normal(2, 3, 5), normal(4)
SINGULAR = normal(5, 2) @ normal(2, 4)

VALUES: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[np.ndarray, ...]]] = {
    "inv": (mx.linalg.inv, np.linalg.inv, (SQUARE,)),
    "tri_inv": (mx.linalg.tri_inv, np.linalg.inv, (LOWER,)),
    "tri_inv upper": (lambda a: mx.linalg.tri_inv(a, upper=True), np.linalg.inv, (UPPER,)),
    "pinv": (mx.linalg.pinv, np.linalg.pinv, (TALL,)),
    "pinv wide": (mx.linalg.pinv, np.linalg.pinv, (WIDE,)),
    "pinv rtol": (lambda a: mx.linalg.pinv(a, rtol=0.5), lambda a: np.linalg.pinv(a, 0.5), (SQUARE,)),
    "solve": (mx.linalg.solve, np.linalg.solve, (SQUARE, TALL[:, :4])),
    "solve a vector": (mx.linalg.solve, np.linalg.solve, (SQUARE[0], VECTOR)),
    "solve real equations": (
        lambda a, b: mx.linalg.solve(mx.real(a), b), lambda a, b: np.linalg.solve(a.real, b), (SQUARE[0], VECTOR),
    ),
    "solve_triangular": (mx.linalg.solve_triangular, np.linalg.solve, (LOWER[0], VECTOR)),
    "solve_triangular upper": (
        lambda a, b: mx.linalg.solve_triangular(a, b, upper=True), np.linalg.solve, (UPPER, TALL[:, :4]),
    ),
    "det": (mx.linalg.det, np.linalg.det, (SQUARE,)),
    "slogdet": (mx.linalg.slogdet, np.linalg.slogdet, (SQUARE,)),
    "cholesky": (mx.linalg.cholesky, np.linalg.cholesky, (POSITIVE,)),
    "cholesky upper": (lambda a: mx.linalg.cholesky(a, True), lambda a: adjoint(np.linalg.cholesky(a)), (POSITIVE,)),
    "cholesky reads one triangle": (lambda a: mx.linalg.cholesky(mx.tril(a)), np.linalg.cholesky, (POSITIVE,)),
    "cholesky reads the upper triangle": (
        lambda a: mx.linalg.cholesky(mx.triu(a), True), lambda a: adjoint(np.linalg.cholesky(a)), (POSITIVE,),
    ),
    "cholesky_inv": (mx.linalg.cholesky_inv, lambda a: np.linalg.inv(a @ adjoint(a)), (LOWER,)),
    "cholesky_inv upper": (
        lambda a: mx.linalg.cholesky_inv(a, True), lambda a: np.linalg.inv(adjoint(a) @ a), (UPPER,),
    ),
    "qr": (mx.linalg.qr, np.linalg.qr, (TALL,)),
    "qr wide": (mx.linalg.qr, np.linalg.qr, (WIDE,)),
    "svd": (lambda a: mx.linalg.svd(a).S, lambda a: np.linalg.svd(a, compute_uv=False), (TALL,)),
    "svdvals": (mx.linalg.svdvals, lambda a: np.linalg.svd(a, compute_uv=False), (WIDE,)),
    "eigvalsh": (mx.linalg.eigvalsh, np.linalg.eigvalsh, (POSITIVE,)),
    "eigh": (lambda a: mx.linalg.eigh(a, "U")[0], lambda a: np.linalg.eigh(a, "U")[0], (POSITIVE,)),
    "eigvals": (mx.linalg.eigvals, np.linalg.eigvals, (SQUARE,)),
    "matrix_power": (lambda a: mx.linalg.matrix_power(a, 5), lambda a: np.linalg.matrix_power(a, 5), (SQUARE,)),
    "matrix_power of the inverse": (
        lambda a: mx.linalg.matrix_power(a, -3), lambda a: np.linalg.matrix_power(a, -3), (SQUARE,),
    ),
    "matrix_rank": (mx.linalg.matrix_rank, np.linalg.matrix_rank, (SINGULAR,)),
    "nuclear norm": (lambda a: mx.real(mx.linalg.norm(a, "nuc")), lambda a: np.linalg.norm(a, "nuc"), (TALL[0],)),
    "2-norm": (lambda a: mx.real(mx.linalg.norm(a, 2)), lambda a: np.linalg.norm(a, 2), (TALL[0],)),
}  # fmt: skip


def arrays(found: Any) -> list[np.ndarray]:
    return [np.array(x) for x in (found if isinstance(found, tuple) else (found,))]


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_values(name: str, dtype: str) -> None:
    ours, theirs, values = VALUES[name]
    values = tuple(v.astype(dtype) for v in values)
    found, wanted = arrays(ours(*(mx.array(v, getattr(mx, dtype)) for v in values))), arrays(theirs(*values))
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        if b.dtype.kind in "fc":
            assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", [(3, 3), (2, 5, 3), (2, 3, 5), (0, 3, 3)])
def test_factors_multiply_to_the_matrix(dtype: str, shape: tuple[int, ...]) -> None:
    a = normal(*shape).astype(dtype)
    close: Any = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    m, n = shape[-2:]
    for mode in ("reduced", "complete"):
        q, r = arrays(mx.linalg.qr(mx.array(a, getattr(mx, dtype)), mode=mode))
        k = m if mode == "complete" else min(m, n)
        assert q.shape == (*shape[:-1], k) and r.shape == (*shape[:-2], k, n)
        np.testing.assert_allclose(q @ r, a, **close)
        np.testing.assert_allclose(adjoint(q) @ q, np.broadcast_to(np.eye(k), (*shape[:-2], k, k)), **close)
        np.testing.assert_array_equal(r, np.triu(r))
        np.testing.assert_array_equal(np.diagonal(r, axis1=-2, axis2=-1).imag, 0)
    for full in (True, False):
        u, s, vh = arrays(mx.linalg.svd(mx.array(a, getattr(mx, dtype)), full_matrices=full))
        k = s.shape[-1]
        np.testing.assert_allclose(u[..., :k] * s[..., None, :] @ vh[..., :k, :], a, **close)
        np.testing.assert_allclose(
            adjoint(u) @ u, np.broadcast_to(np.eye(u.shape[-1]), (*shape[:-2], *u.shape[-1:] * 2)), **close
        )
    order, low, high = arrays(mx.linalg.lu(mx.array(a, getattr(mx, dtype))))
    np.testing.assert_allclose(np.take_along_axis(low, order[..., None].astype(int), -2) @ high, a, **close)
    both, pivots = arrays(mx.linalg.lu_factor(mx.array(a, getattr(mx, dtype))))
    np.testing.assert_array_equal(np.triu(both)[..., : min(m, n), :], high)
    assert both.dtype == dtype and pivots.shape == (*shape[:-2], min(m, n))


@pytest.mark.parametrize("dtype", ["float64", *TOLERANCE])
def test_eigenvectors(dtype: str) -> None:
    kind = "complex64" if dtype == "complex64" else "complex128"
    a = (SQUARE.real if dtype == "float64" else SQUARE).astype(dtype)
    w, v = arrays(mx.linalg.eig(mx.array(a, getattr(mx, dtype))))
    assert w.dtype == v.dtype == kind
    np.testing.assert_allclose(a @ v, v * w[..., None, :], rtol=TOLERANCE[kind], atol=TOLERANCE[kind])
    a = a + adjoint(a)
    w, v = arrays(mx.linalg.eigh(mx.array(a, getattr(mx, dtype))))
    assert w.dtype == (np.float32 if dtype == "complex64" else np.float64) and v.dtype == dtype
    np.testing.assert_allclose(v * w[..., None, :] @ adjoint(v), a, rtol=TOLERANCE[kind], atol=TOLERANCE[kind])


def test_there_may_be_none() -> None:
    with pytest.raises(RuntimeError, match=r"^\[inv\]"):
        mx.eval(mx.linalg.inv(mx.zeros((2, 2), mx.complex64)))
    found = np.array(mx.linalg.cholesky(mx.array(np.stack([POSITIVE[0], -POSITIVE[0]]).astype(np.complex64))))
    assert np.isfinite(found[0]).all() and np.isnan(found[1]).all()


# --- derivatives ------------------------------------------------------------------------------------------------------
def weighted(*found: Any) -> Any:
    """The real part of the sum of all elements, with weights that break all symmetries."""
    total = mx.array(0.0, mx.float64)
    for i, x in enumerate(found):
        rng = np.random.default_rng(i)
        weights = rng.normal(size=x.shape) + 1j * rng.normal(size=x.shape)
        total = total + mx.real(x * mx.array(weights, mx.complex128)).sum()
    return total


def hermitian(a: Any) -> Any:
    return (a + adjoint(a)) / 2


def projections(x: Any) -> Any:
    """On each of the columns, so that phases do not count."""
    return mx.swapaxes(x, -1, -2)[..., :, None] * mx.conj(mx.swapaxes(x, -1, -2))[..., None, :]


def singular_vectors(a: Any) -> Any:
    """What does not depend on the phases: the values, and each pair of vectors together and alone."""
    u, s, vh = mx.linalg.svd(a, full_matrices=False)
    pairs = mx.swapaxes(u, -1, -2)[..., :, None] * vh[..., :, None, :]
    return weighted(s, pairs, projections(u), projections(adjoint(vh)))


def eigenvectors(a: Any) -> Any:
    w, v = mx.linalg.eigh(hermitian(a))
    return weighted(w, projections(v))


DERIVATIVES: dict[str, tuple[Callable[[Any], Any], tuple[int, ...]]] = {
    "inv": (lambda a: weighted(mx.linalg.inv(a)), (4, 4)),
    "tri_inv": (lambda a: weighted(mx.linalg.tri_inv(a)), (4, 4)),
    "pinv": (lambda a: weighted(mx.linalg.pinv(a)), (4, 3)),
    "pinv wide": (lambda a: weighted(mx.linalg.pinv(a)), (3, 4)),
    "pinv rtol": (lambda a: weighted(mx.linalg.pinv(a, rtol=1e-3)), (4, 3)),
    "solve": (lambda a: weighted(mx.linalg.solve(a, a[0] + 1)), (4, 4)),
    "solve_triangular": (lambda a: weighted(mx.linalg.solve_triangular(a, a, upper=True)), (4, 4)),
    "det": (lambda a: weighted(mx.linalg.det(a)), (2, 3, 3)),
    "slogdet": (lambda a: weighted(*mx.linalg.slogdet(a)), (3, 3)),
    "cholesky": (lambda a: weighted(mx.linalg.cholesky(a @ adjoint(a))), (4, 4)),
    "cholesky upper": (lambda a: weighted(mx.linalg.cholesky(hermitian(a) + 4 * mx.eye(4), True)), (4, 4)),
    "cholesky_inv": (lambda a: weighted(mx.linalg.cholesky_inv(a)), (4, 4)),
    "qr": (lambda a: weighted(*mx.linalg.qr(a)), (4, 4)),
    "qr tall": (lambda a: weighted(*mx.linalg.qr(a)), (4, 3)),
    "qr wide": (lambda a: weighted(*mx.linalg.qr(a)), (3, 5)),
    "svd": (singular_vectors, (3, 3)),
    "svd tall": (singular_vectors, (4, 3)),
    "svd wide": (singular_vectors, (3, 4)),
    "svdvals": (lambda a: weighted(mx.linalg.svdvals(a)), (2, 3, 4)),
    "eigh": (eigenvectors, (4, 4)),
    "eigvalsh": (lambda a: weighted(mx.linalg.eigvalsh(hermitian(a))), (4, 4)),
    "matrix_power": (lambda a: weighted(mx.linalg.matrix_power(a, -2)), (3, 3)),
    "nuc": (lambda a: mx.real(mx.linalg.norm(a, "nuc")), (3, 4)),
}


@pytest.mark.parametrize("name", DERIVATIVES)
def test_derivatives_against_differences(name: str) -> None:
    """Along a direction: forward, reverse, and the second derivative; what g stands for is Re(sum(conj(g) * da))."""
    f, shape = DERIVATIVES[name]
    rng = np.random.default_rng(7)
    a = mx.array(rng.normal(size=shape) + 1j * rng.normal(size=shape) + 2 * np.eye(*shape[-2:]), mx.complex128)
    v = mx.array(rng.normal(size=shape) + 1j * rng.normal(size=shape), mx.complex128)
    step = 1e-5

    def slope(x: Any) -> Any:
        return mx.real(mx.conj(mx.grad(f)(x)) * v).sum()

    def curvature(x: Any) -> Any:
        return mx.real(mx.conj(mx.grad(slope)(x)) * v).sum()

    def difference(g: Callable[[Any], Any]) -> float:
        return (g(a + step * v).item() - g(a - step * v).item()) / (2 * step)

    expected = difference(f)
    np.testing.assert_allclose(slope(a).item(), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(mx.jvp(f, [a], [v])[1][0].item(), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(curvature(a).item(), difference(slope), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["eig", "lu"])
def test_none_has_no_derivative(name: str) -> None:
    with pytest.raises(ValueError, match=f"^.{name}. expected a function with a derivative"):
        mx.grad(lambda a: weighted(*getattr(mx.linalg, name)(a)))(mx.array(SQUARE[0], mx.complex128))


def test_batches_and_compiled() -> None:
    a = mx.array(SQUARE.astype(np.complex64))
    for f in (mx.linalg.inv, mx.linalg.det, lambda x: mx.linalg.qr(x)[1], lambda x: mx.linalg.solve(x, x[0])):
        each = np.stack([np.array(f(x)) for x in a])
        np.testing.assert_allclose(np.array(mx.vmap(f)(a)), each, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(np.array(mx.compile(f)(a[0])), each[0], rtol=1e-3, atol=1e-4)
