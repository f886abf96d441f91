"""Sums are accurate, and what is added up decides on their bits alone: not its layout, nor what is computed beside."""

import numpy as np
import pytest

import arrax.core as mx
import arrax.nn as nn

ACCURATE = 1e-6


def equal(a: mx.array, b: mx.array) -> bool:
    return bool(mx.array_equal(a, b).item())


@pytest.mark.parametrize("rows", [1, 3, 100])
@pytest.mark.parametrize("length", [7, 33, 100, 5000])
def test_work_in_the_same_kernel_changes_nothing(rows, length):
    w = mx.random.normal((rows, length))
    mx.eval(w)
    zeros = mx.zeros((rows, 1)) @ mx.zeros((1, length))
    for reduction in (
        mx.sum,
        mx.mean,
        mx.var,
        mx.linalg.norm,
        lambda a, axis: mx.softmax(a, axis=axis).sum(axis),
        lambda a, axis: mx.prod(1 + a / 64, axis),
    ):
        for axis in (0, 1):
            alone = reduction(w, axis=axis)
            assert equal(alone, reduction(w + zeros, axis=axis))
            assert equal(alone, reduction(w + mx.sin(mx.exp(w - w)) * 0, axis=axis))  # so heavy that lanes are fewer
    assert equal(w.sum(), (w + zeros).sum())


@pytest.mark.parametrize("shape", [(3, 5), (64, 65), (700, 300)])
def test_layout_changes_nothing(shape):
    """A transposed view, and the same array evaluated: reductions along lanes, and across them."""
    w = mx.random.normal(shape)
    t = mx.contiguous(w.T)
    mx.eval(w, t)
    for axis in (0, 1):
        assert equal(w.sum(axis), t.sum(1 - axis))
        assert equal(w.T.sum(axis), t.sum(axis))
    assert equal(w.sum(), t.sum())
    assert equal(w.sum((0, 1)), mx.sum(w.reshape(-1)))
    assert equal(mx.vmap(mx.sum)(w), w.sum(1))


@pytest.mark.parametrize("rows", [1, 2, 3, 8])
def test_a_product_does_not_depend_on_what_was_evaluated(rows):
    x = mx.random.normal((rows, 700))
    mx.eval(x)
    for made in (lambda: nn.Linear(700, 300), lambda: nn.Linear(700, 300, bias=False)):
        layer = made()
        fresh = layer(x)
        mx.eval(fresh)
        mx.eval(layer.parameters())
        assert equal(fresh, layer(x))


def test_long_sums_are_accurate():
    tenth = mx.full((200_000, 64), 0.1)
    exact = 200_000 * float(np.float32(0.1))
    for total in (tenth.sum(0), tenth.T.sum(1), mx.einsum("ij->j", tenth), mx.vmap(mx.sum, in_axes=1)(tenth)):
        assert np.abs(np.array(total) / exact - 1).max() < ACCURATE
    assert abs(mx.full((2, 1_000_000), 0.1).sum(1)[0].item() / (5 * exact) - 1) < ACCURATE
    assert mx.all(mx.ones((2**21, 2)).mean(0) == 1).item()


def test_long_products_are_accurate():
    """Of a vector and a matrix, either way round, and of two vectors."""
    tenth, ones = mx.full((200_000, 16), 0.1), mx.ones((200_000,))
    mx.eval(tenth, ones)
    exact = 200_000 * float(np.float32(0.1))
    for total in (ones @ tenth, tenth.T @ ones, mx.einsum("ij,i->j", tenth, ones), (ones @ tenth[:, 0])[None]):
        assert np.abs(np.array(total) / exact - 1).max() < ACCURATE


def test_gradients_of_broadcasts_are_accurate():
    tenth = mx.full((200_000, 8), 0.1)
    gradient = mx.grad(lambda b: (tenth * b).sum())(mx.ones((8,)))
    assert np.abs(np.array(gradient) / (200_000 * float(np.float32(0.1))) - 1).max() < ACCURATE


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_statistics_of_half_precision(dtype):
    kind = getattr(mx, dtype)
    a = mx.full((300_000, 4), 0.1, kind)
    assert mx.all(a.mean(0) == a[0]).item()
    b = mx.random.normal((100_000, 3)).astype(kind)
    exact = np.array(b.astype(mx.float32)).astype(np.float64)
    rounded = mx.array(exact.var(0).astype(np.float32)).astype(kind)
    assert equal(b.var(0), rounded)


def test_intermediate_products_do_not_overflow():
    a = mx.array([1e30, 1e30, 1e-30, 1e-30] * 10)
    assert abs(mx.prod(a).item() - 1) < 1e-5
