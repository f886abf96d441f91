"""Elements that several neighbours of the vector loop read: read once, and spread over the lanes."""

from __future__ import annotations

import numpy as np
import pytest

import arrax.core as mx
from arrax import explain
from arrax.runtime import executor


@pytest.fixture(autouse=True)
def compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "SMALL", 0)


def pair(*shape: int, seed: int = 0) -> tuple[np.ndarray, mx.array]:
    a = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return a, mx.array(a)


@pytest.mark.parametrize("times", [2, 3, 4, 8])
@pytest.mark.parametrize("rows", [1, 5, 37, 2500])
def test_one_value_for_each_few(rows: int, times: int) -> None:
    (a, x), (b, y) = pair(rows, times), pair(rows, 1, seed=1)
    np.testing.assert_array_equal(np.array(x * y + y), a * b + b)
    np.testing.assert_array_equal(np.array(mx.repeat(y, times, axis=1)), np.repeat(b, times, 1))
    np.testing.assert_allclose(mx.sum(x * y).item(), (a.astype(float) * b).sum(), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("columns", [1, 3, 40])
def test_groups_of_groups(columns: int) -> None:
    (a, x), (b, y), (c, z) = pair(columns, 2, 8), pair(columns, 1, 1, seed=1), pair(columns, 2, 1, seed=2)
    np.testing.assert_array_equal(np.array(x * y + z), a * b + c)
    flat = mx.reshape(x * y, (columns * 16,))
    np.testing.assert_array_equal(np.array(flat), (a * b).reshape(-1))
    # along rows, and reduced
    (d, w) = pair(5, columns * 16, seed=3)
    wide = mx.reshape(mx.broadcast_to(y, (columns, 2, 8)), (columns * 16,))
    np.testing.assert_allclose(
        np.array(mx.sum(w * wide, axis=1)),
        (d.astype(float) * np.repeat(b.reshape(-1), 16)).sum(1),
        rtol=1e-4,
        atol=1e-4,
    )


def test_other_types_and_results_below_and_above() -> None:
    codes = mx.array(np.arange(64, dtype=np.uint8).reshape(8, 8))
    flags = mx.array(np.arange(8).reshape(8, 1) % 2 == 0)
    found = mx.where(flags, codes, codes + 1)
    expected = np.where(
        np.arange(8).reshape(8, 1) % 2 == 0, np.arange(64).reshape(8, 8), np.arange(64).reshape(8, 8) + 1
    )
    np.testing.assert_array_equal(np.array(found), expected)
    half = mx.array(np.arange(8, dtype=np.float16).reshape(8, 1)) * codes.astype(mx.float16)
    np.testing.assert_array_equal(np.array(half), np.arange(8).reshape(8, 1) * np.arange(64).reshape(8, 8))


def test_no_element_is_gathered() -> None:
    (_, x), (_, y) = pair(100, 8), pair(100, 1, seed=1)
    mx.eval(x, y)
    assert "gather" not in str(explain(x * y, stage="llvm"))
    words, scales, biases = mx.quantize(mx.ones((64, 256)), group_size=64, bits=4)
    row = mx.ones((1, 256))
    mx.eval(words, scales, biases, row)
    product = str(explain(mx.quantized_matmul(row, words, scales, biases), stage="llvm")).split("define ")[-1]
    assert "gather" not in product[: product.index("\n}")]


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "mean"])
@pytest.mark.parametrize("axes", [(2,), (1, 2), (0,), (1,)])
def test_reductions_of_a_handful_are_written_out(name: str, axes: tuple[int, ...]) -> None:
    shape = tuple(2 if i in axes else 37 for i in range(3)) if len(axes) > 1 else (5 if 0 in axes else 40, 3, 7)
    a, x = pair(*shape)
    found = mx.exp(getattr(mx, name)(mx.sin(x), axis=axes)) * 2
    expected = np.exp(getattr(np, name)(np.sin(a.astype(np.float64)), axis=axes)) * 2
    np.testing.assert_allclose(np.array(found), expected, rtol=1e-5)
    y = mx.array(a)
    mx.eval(y)
    text = str(explain(mx.exp(getattr(mx, name)(mx.sin(y), axis=axes)) * 2, stage="kernels"))
    assert ":= " not in text  # no accumulator


def test_windows_are_reduced_where_they_are_made() -> None:
    a, x = pair(4, 16, 16, 20)
    pooled = mx.max(mx.reshape(mx.maximum(x - 0.1, 0), (4, 8, 2, 8, 2, 20)), axis=(2, 4)) + 1
    expected = np.maximum(a - np.float32(0.1), 0).reshape(4, 8, 2, 8, 2, 20).max((2, 4)) + 1
    np.testing.assert_array_equal(np.array(pooled), expected)
    mx.eval(x)
    again = mx.max(mx.reshape(mx.maximum(x - 0.1, 0), (4, 8, 2, 8, 2, 20)), axis=(2, 4)) + 1
    assert str(explain(again, stage="kernels")).count("kernel ") == 1
