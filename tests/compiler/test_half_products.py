"""Products with matrices of half precision, which are widened tile by tile."""

from __future__ import annotations

import numpy as np
import pytest

import arrax.core as mx
from arrax.runtime import cpu
from arrax.runtime.buffer import Pool, pool

RNG = np.random.default_rng(0)
HALF = (mx.bfloat16, mx.float16)
SHAPES = [(16, 16, 16), (20, 70, 50), (33, 129, 1000), (100, 17, 19), (9, 2000, 300), (300, 40, 2)]


def data(dtype: mx.Dtype, *shape: int) -> tuple[mx.array, np.ndarray]:
    """Numbers of a type, and the same ones in float64."""
    x = mx.array(RNG.normal(size=shape).astype(np.float32)).astype(dtype)
    mx.eval(x)
    return x, np.array(x.astype(mx.float32)).astype(np.float64)


def close(found: mx.array, expected: np.ndarray, dtype: mx.Dtype) -> None:
    """Up to one rounding to the type of the result, of numbers as large as the largest."""
    assert found.dtype == dtype
    error = np.abs(np.array(found.astype(mx.float32)) - expected).max() / np.abs(expected).max()
    assert error < (2**-8 if dtype == mx.bfloat16 else 2**-11)


@pytest.fixture(params=[1 << 22, 1 << 10], ids=["tiles as they are", "tiny tiles"])
def tiles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "WIDENED", request.param)


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize(("m", "k", "n"), SHAPES)
def test_the_right_operand_is_data(dtype: mx.Dtype, m: int, k: int, n: int) -> None:
    x, x64 = data(dtype, m, k)
    w, w64 = data(dtype, n, k)
    u, u64 = data(dtype, k, n)
    close(mx.abs(x) @ w.T, np.abs(x64) @ w64.T, dtype)
    close(mx.abs(x) @ u, np.abs(x64) @ u64, dtype)
    close(x @ w.T, x64 @ w64.T, dtype)


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize(("m", "k", "n"), SHAPES)
def test_the_left_operand_is_data(dtype: mx.Dtype, m: int, k: int, n: int) -> None:
    x, x64 = data(dtype, k, m)
    w, w64 = data(dtype, n, k)
    u, u64 = data(dtype, k, n)
    close(w @ mx.abs(x), w64 @ np.abs(x64), dtype)
    close(u.T @ mx.abs(x), u64.T @ np.abs(x64), dtype)
    close((u.T @ mx.abs(x)).T + 0, (u64.T @ np.abs(x64)).T, dtype)


@pytest.mark.parametrize("dtype", HALF)
def test_parts_of_data_and_several_products(dtype: mx.Dtype) -> None:
    w, w64 = data(dtype, 120, 90)
    x, x64 = data(dtype, 40, 60)
    close(mx.abs(x) @ w[10:110:2, 20:80].T, np.abs(x64) @ w64[10:110:2, 20:80].T, dtype)
    close(mx.abs(x) @ w[:60, 3:53], np.abs(x64) @ w64[:60, 3:53], dtype)
    close(mx.abs(x) @ w[:, 10:70][::-1].T, np.abs(x64) @ w64[:, 10:70][::-1].T, dtype)
    hidden = mx.abs(x) @ w[:60, :50]
    both = (mx.tanh(hidden * 0.1) @ w[:50, :90]).astype(mx.float32) + w[:40].astype(mx.float32)
    rounded = np.array(hidden.astype(mx.float32)).astype(np.float64)
    np.testing.assert_allclose(both, np.tanh(rounded * 0.1) @ w64[:50, :90] + w64[:40], rtol=0.03, atol=0.3)


@pytest.mark.parametrize("dtype", HALF)
def test_products_with_double_precision(dtype: mx.Dtype) -> None:
    """Half precision is widened to float32 alone: these products are done in float64."""
    w, w64 = data(dtype, 40, 40)
    x64 = RNG.normal(size=(40, 40))
    x = mx.array(x64, mx.float64)
    products = {
        "promoted, left": (w @ x, w64 @ x64),
        "promoted, right": (x @ w, x64 @ w64),
        "cast": (w.astype(mx.float64) @ mx.abs(x), w64 @ np.abs(x64)),
        "transposed": (x @ w.T, x64 @ w64.T),
        "both": (w.astype(mx.float64) @ w[::-1].astype(mx.float64), w64 @ w64[::-1]),
        "summed": (mx.einsum("bij,bjk->ik", x.reshape(4, 10, 40)[:, :, :10], w.reshape(4, 10, 40)),
                   np.einsum("bij,bjk->ik", x64.reshape(4, 10, 40)[:, :, :10], w64.reshape(4, 10, 40))),
        "added": (mx.addmm(x, w, x), x64 + w64 @ x64),
        "tensordot": (mx.tensordot(x, w, 1), x64 @ w64),
        "inner": (mx.inner(w, x), w64 @ x64.T),
    }  # fmt: skip
    for name, (found, expected) in products.items():
        assert found.dtype == mx.float64
        np.testing.assert_allclose(np.array(found), expected, rtol=1e-11, atol=1e-11, err_msg=name)


def test_values_that_are_no_numbers_stay() -> None:
    w = mx.zeros((70, 30)).astype(mx.bfloat16)
    w[3, 4], w[5, 6], w[7, 8] = float("nan"), float("inf"), 1e-40
    mx.eval(w)
    found = np.array((mx.ones((20, 30)).astype(mx.bfloat16) @ w.T).astype(mx.float32))
    assert np.isnan(found[:, 3]).all()
    assert np.isposinf(found[:, 5]).all()
    assert (found[:, 7] > 0).all()
    assert not found[:, [0, 1, 2, 4, 6, 8, 69]].any()


def test_a_gradient_goes_through_both_ways() -> None:
    w, w64 = data(mx.bfloat16, 80, 60)
    x, x64 = data(mx.bfloat16, 32, 60)
    by_x, by_w = mx.grad(lambda x, w: (x @ w.T).astype(mx.float32).sum(), argnums=(0, 1))(x, w)
    close(by_x, np.broadcast_to(w64.sum(0), x64.shape), mx.bfloat16)
    close(by_w, np.broadcast_to(x64.sum(0), w64.shape), mx.bfloat16)


@pytest.fixture
def memory() -> Pool:
    pool.clear()
    return pool


def test_the_whole_of_it_is_never_widened(memory: Pool) -> None:
    w, _ = data(mx.bfloat16, 4000, 1000)
    x, _ = data(mx.bfloat16, 16, 1000)
    before = memory.peak = memory.active
    mx.eval(mx.abs(x) @ w.T)
    assert memory.peak - before < 4000 * 1000  # a quarter of it in float32
