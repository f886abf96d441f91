"""Functions that the array API standard has and MLX lacks: half precision, derivatives, transforms, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import arrax.core as mx

HALVES = [(mx.float16, np.float16), (mx.bfloat16, ml_dtypes.bfloat16)]
VALUES = [0.0, -0.0, 1.0, -1.5, 3e4, -3e4, np.inf, -np.inf, np.nan, 6e-5]


def halves(dtype: mx.Dtype, numpy_type: type) -> tuple[list[mx.array], list[np.ndarray]]:
    grids = [np.asarray(g.ravel(), numpy_type) for g in np.meshgrid(VALUES, VALUES)]
    return [mx.array(g.astype(np.float32)).astype(dtype) for g in grids], grids


def wide(x: mx.array) -> np.ndarray:
    return np.asarray(x.astype(mx.float32))


@pytest.mark.parametrize("dtype, numpy_type", HALVES)
def test_half_precision(dtype: mx.Dtype, numpy_type: type) -> None:
    (x, y), (a, b) = halves(dtype, numpy_type)
    for name in ("copysign", "hypot", "nextafter"):
        found = getattr(mx, name)(x, y)
        assert found.dtype is dtype
        with np.errstate(all="ignore"):
            wanted = getattr(np, name)(a, b).astype(np.float32)
        np.testing.assert_allclose(wide(found), wanted, rtol=1e-2)
        # of equal zeros NumPy's half nextafter returns the first, its others and C's the second
        same = np.signbit(wide(found)) == np.signbit(wanted)
        assert (same | np.isnan(wanted) | ((a == b) if name == "nextafter" else False)).all()
    assert np.asarray(mx.signbit(x)).tolist() == np.signbit(a).tolist()


@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16, mx.float32, mx.float64])
def test_neighbours_have_nothing_between_them(dtype: mx.Dtype) -> None:
    x = mx.array([0.1, 1.0, -1.0, 0.0, 1e-7, -2.0]).astype(dtype)
    up = mx.nextafter(x, mx.array(mx.inf, dtype))
    assert mx.all(up > x) and mx.all(mx.nextafter(up, x) == x)
    assert mx.nextafter(mx.array(1.0, dtype), 2.0).item() == 1 + mx.finfo(dtype).eps


def test_integers_are_taken_as_floats() -> None:
    a, b = mx.array([3, -3]), mx.array([-4, 4])
    for name, wanted in (("hypot", [5.0, 5.0]), ("copysign", [-3.0, 3.0])):
        found = getattr(mx, name)(a, b)
        assert found.dtype is mx.float32 and found.tolist() == wanted
    for function in (mx.hypot, mx.copysign, mx.nextafter):
        with pytest.raises(ValueError, match="expected real numbers"):
            function(mx.array([1j]), 1.0)
    with pytest.raises(ValueError, match="floating point"):
        mx.signbit(a)


def test_derivatives() -> None:
    x, y = mx.array([3.0, -5.0]), mx.array([4.0, 12.0])
    dx, dy = mx.grad(lambda x, y: mx.hypot(x, y).sum(), argnums=(0, 1))(x, y)
    np.testing.assert_allclose(np.asarray(dx), [3 / 5, -5 / 13], rtol=1e-6)
    np.testing.assert_allclose(np.asarray(dy), [4 / 5, 12 / 13], rtol=1e-6)
    assert mx.grad(lambda x: mx.copysign(x, -1.0).sum())(x).tolist() == [-1.0, 1.0]
    assert mx.grad(lambda x: mx.linalg.vector_norm(x, axis=(0, 1)))(mx.array([[3.0, 4.0]])).tolist() == [
        [pytest.approx(0.6), pytest.approx(0.8)]
    ]


# --- distinct elements, positions -------------------------------------------------------------------------------------
def test_every_nan_is_distinct() -> None:
    found = mx.unique_all(mx.array([mx.nan, 1.0, mx.nan, 1.0, -0.0, 0.0]))
    assert found.counts.tolist() == [2, 2, 1, 1]
    assert found.values.tolist()[:2] == [0.0, 1.0] and mx.all(mx.isnan(found.values[2:]))
    assert found.indices.tolist()[:2] == [4, 1]


def test_no_elements() -> None:
    found = mx.unique_all(mx.zeros((2, 0)))
    assert [x.shape for x in found] == [(0,), (0,), (2, 0), (0,)]
    assert [x.shape for x in mx.nonzero(mx.zeros((2, 0)))] == [(0,), (0,)]
    assert mx.unique_values(mx.array(7)).tolist() == [7]
    with pytest.raises(ValueError, match="scalar array"):
        mx.nonzero(mx.array(1))


@pytest.mark.parametrize("function", [mx.unique_values, lambda x: mx.nonzero(x)[0]])
def test_sizes_that_depend_on_data_cannot_be_traced(function: Callable[[mx.array], mx.array]) -> None:
    for transform in (mx.compile, mx.vmap):
        with pytest.raises(ValueError, match="eval"):
            transform(function)(mx.ones((2, 3)))


def test_repetitions_by_an_array() -> None:
    x = mx.array([[1, 2], [3, 4]])
    assert mx.repeat(x, mx.array([2, 0]), axis=0).tolist() == [[1, 2], [1, 2]]
    assert mx.repeat(x, mx.array([1, 0, 2, 1])).tolist() == [1, 3, 3, 4]
    assert mx.repeat(x, mx.array(2), axis=1).tolist() == [[1, 1, 2, 2], [3, 3, 4, 4]]
    for counts in ([1, 2, 3], [1, -1], [1.0, 2.0]):
        with pytest.raises(ValueError, match="integers of at least 0"):
            mx.repeat(x, mx.array(counts), axis=0)


def test_axes_to_move() -> None:
    x = mx.zeros((2, 3, 4, 5))
    for source, destination in (((0, 1), (2, 3)), ((3, 0), (0, -1)), ((1,), (-1,)), ((), ())):
        assert mx.moveaxis(x, source, destination).shape == np.moveaxis(np.zeros(x.shape), source, destination).shape
    for source, destination in (((0, 1), (2,)), ((0, 0), (1, 2)), ((0, 1), (1, 1))):
        with pytest.raises(ValueError, match="moveaxis"):
            mx.moveaxis(x, source, destination)


# --- matrices ---------------------------------------------------------------------------------------------------------
def normal(*shape: int) -> mx.array:
    return mx.array(np.random.RandomState(0).randn(*shape).astype(np.float32))


def near(a: mx.array, b: Any) -> None:
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-4, atol=1e-4)


def test_results_have_names_under_every_transform() -> None:
    x = normal(2, 3, 3)
    s = x @ x.mT
    for function, argument in ((mx.linalg.eigh, s), (mx.linalg.svd, x), (mx.linalg.qr, x), (mx.linalg.slogdet, s)):
        plain = function(argument)
        for result in (mx.compile(function)(argument), mx.vmap(function)(argument)):
            assert result._fields == plain._fields
            for a, b in zip(result, plain, strict=True):
                near(mx.abs(a), mx.abs(b))


def test_complete_qr() -> None:
    for x in (normal(2, 5, 3), normal(3, 5), mx.ones((4, 2)), mx.zeros((3, 1))):
        q, r = mx.linalg.qr(x, mode="complete")
        near(q @ r, x)
        near(q @ q.mT, np.broadcast_to(np.eye(q.shape[-1]), q.shape))
        near(r, mx.triu(r))
    with pytest.raises(ValueError, match="mode"):
        mx.linalg.qr(normal(2, 2), mode="full")


def test_rank_and_pseudo_inverse_with_a_tolerance() -> None:
    x = mx.array([[[1.0, 0.0, 0.0], [0.0, 0.1, 0.0]], [[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    assert mx.linalg.matrix_rank(x).tolist() == [2, 2]
    assert mx.linalg.matrix_rank(x, rtol=0.3).tolist() == [1, 2]
    assert mx.linalg.matrix_rank(x, rtol=mx.array([0.01, 0.6])).tolist() == [2, 1]
    near(mx.linalg.pinv(x, rtol=mx.array([0.2, 0.2])), np.linalg.pinv(np.asarray(x), rcond=np.array([0.2, 0.2])))
    assert mx.linalg.matrix_rank(mx.zeros((2, 0, 3))).tolist() == [0, 0]
    gradient = mx.grad(lambda x: mx.linalg.pinv(x, rtol=0.3).sum())(x[0])
    assert mx.all(mx.isfinite(gradient))


def test_powers_of_matrices() -> None:
    x = normal(2, 3, 3)
    for n in (-3, -1, 0, 1, 2, 7):
        np.testing.assert_allclose(
            np.asarray(mx.linalg.matrix_power(x, n)), np.linalg.matrix_power(np.asarray(x), n), rtol=2e-3, atol=1e-3
        )
    with pytest.raises(ValueError, match="square"):
        mx.linalg.matrix_power(normal(2, 3), 2)


@pytest.mark.parametrize("order", ["fro", "nuc", 1, -1, 2, -2, mx.inf, -mx.inf, None])
@pytest.mark.parametrize("keepdims", [False, True])
def test_norms_of_complex_matrices_are_real(order: Any, keepdims: bool) -> None:
    x = np.random.RandomState(0).randn(2, 3, 4) + 1j * np.random.RandomState(1).randn(2, 3, 4)
    found = mx.linalg.matrix_norm(mx.array(x), ord=order, keepdims=keepdims)
    assert found.dtype is mx.float32
    near(found, np.linalg.matrix_norm(x, ord="fro" if order is None else order, keepdims=keepdims))


@pytest.mark.parametrize("order", [2, 1, 0, 3, -1, 0.5, mx.inf, -mx.inf])
@pytest.mark.parametrize("axis", [None, 1, (0, 2), -1])
def test_norms_of_vectors(order: float, axis: Any) -> None:
    x = np.random.RandomState(0).randn(2, 3, 4) + 1j * np.random.RandomState(1).randn(2, 3, 4)
    found = mx.linalg.vector_norm(mx.array(x), ord=order, axis=axis, keepdims=True)
    assert found.dtype is mx.float32
    np.testing.assert_allclose(
        np.asarray(found), np.linalg.vector_norm(x, ord=order, axis=axis, keepdims=True), rtol=1e-4
    )


def test_symmetric_transforms() -> None:
    x = np.random.RandomState(0).randn(2, 9).astype(np.float32)
    for norm in ("backward", "ortho", "forward"):
        near(mx.fft.ihfft(mx.array(x), norm=norm), np.fft.ihfft(x, norm=norm))
        near(mx.fft.hfft(mx.fft.ihfft(mx.array(x), norm=norm), n=9, norm=norm), x)
    with pytest.raises(ValueError, match="norm"):
        mx.fft.hfft(mx.array(x), norm="none")
    with pytest.raises(ValueError, match="floating point"):
        mx.fft.fftfreq(4, dtype=mx.int32)


@pytest.mark.parametrize("k", [2**31 - 1, 2**31, -(2**31), 2**40, -(2**62), 2**70])
def test_a_diagonal_that_is_far_away(k: int) -> None:
    x = mx.ones((2, 3))
    assert not mx.eye(2, 3, k=k).any()
    below, above = (x, mx.zeros((2, 3))) if k > 0 else (mx.zeros((2, 3)), x)
    assert mx.array_equal(mx.tril(x, k=k), below) and mx.array_equal(mx.triu(x, k=k), above)
    assert mx.array_equal(mx.tri(2, 3, k), below)


def test_both_names_of_an_argument() -> None:
    x = mx.array([-1.0, 0.5, 2.0])
    assert mx.clip(x, 0, 1).tolist() == mx.clip(x, min=0, max=1).tolist() == mx.clip(x, a_min=0, a_max=1).tolist()
    assert mx.full((2,), vals=3).tolist() == mx.full((2,), fill_value=3).tolist() == mx.full((2,), 3).tolist()
    assert mx.full_like(x, vals=3).tolist() == mx.full_like(x, fill_value=3).tolist() == [3.0] * 3
    assert mx.arange(stop=3).tolist() == mx.arange(0, 3, 1, mx.int32).tolist() == mx.arange(3, None).tolist()
    assert mx.arange(1, 3, mx.float16).dtype is mx.float16


def test_from_dlpack_of_an_array_of_ours_makes_no_copy() -> None:
    for dtype in (mx.float64, mx.complex128, mx.bfloat16):
        x = mx.ones((2,), dtype=dtype)
        assert mx.from_dlpack(x, copy=False).dtype is dtype and mx.all(mx.from_dlpack(x, copy=True) == x)


def test_masks_that_do_not_fit() -> None:
    x = mx.zeros((2, 3))
    for mask in (mx.array([True]), mx.ones((2, 3, 1), dtype=mx.bool_), mx.ones((3,), dtype=mx.bool_)):
        for error in (ValueError, IndexError):
            with pytest.raises(error, match="expected a mask of shape"):
                x[mask]
            with pytest.raises(error, match="expected a mask of shape"):
                x[mask] = 1.0
    assert x[mx.zeros((2, 0), dtype=mx.bool_)].shape == (0,)


@pytest.mark.parametrize("dtype", [mx.complex64, mx.complex128])
@pytest.mark.parametrize("start, stop", [(1 - 2j, -3 + 0.5j), (2, 5.5), (0.1, 7j), (-1e30, 1e30 - 1e30j)])
def test_complex_numbers_at_even_distances(start: complex, stop: complex, dtype: mx.Dtype) -> None:
    numpy_type = {mx.complex64: np.complex64, mx.complex128: np.complex128}[dtype]
    for endpoint in (True, False):
        found = np.asarray(mx.linspace(start, stop, 5, endpoint=endpoint, dtype=dtype))
        wanted = np.linspace(start, stop, 5, endpoint=endpoint).astype(numpy_type)
        assert found.dtype == numpy_type
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6 * abs(stop))
        assert found[0] == numpy_type(start) and (not endpoint or found[-1] == numpy_type(stop))
    assert (
        mx.linspace(1j, 2, 3).dtype is mx.complex64 and mx.linspace(1j, 2, 3, dtype=mx.float64).dtype is mx.complex128
    )


def test_what_is_not_copied_changes_along() -> None:
    x = mx.array([1.0, 2.0])
    shared, own = mx.asarray(x, copy=False), mx.asarray(x, copy=True)
    x[0] = 5.0
    assert shared.tolist() == [5.0, 2.0] and own.tolist() == [1.0, 2.0]
