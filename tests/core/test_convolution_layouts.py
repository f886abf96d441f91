"""Convolutions in all the ways in which their windows can lie in memory, with derivatives to second order."""

from __future__ import annotations

import random
from collections.abc import Iterator

import mlx.core as oracle
import numpy as np
import pytest

import arrax.core as mx
from arrax.runtime import executor


@pytest.fixture(autouse=True)
def compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(executor, "SMALL", 0)
    yield


def case(seed: int) -> tuple[tuple[int, ...], tuple[int, ...], dict]:
    """Shapes of an input and a weight, and how to convolve them."""
    pick = random.Random(seed)
    axes, groups = pick.choice((1, 2, 2, 3)), pick.choice((1, 1, 1, 2, 4))
    depth, each = pick.choice((1, 3, 8, 16, 40)), pick.choice((1, 2, 5, 16))
    kernel, dilation, stride, padding, room = (
        [pick.choice(numbers) for _ in range(axes)]
        for numbers in ((1, 2, 3, 5), (1, 1, 2), (1, 1, 2, 3), (0, 1, 2), (0, 1, 4, 9))
    )
    sizes = [max(d * (k - 1) + 1 - 2 * p, 1) + r for d, k, p, r in zip(dilation, kernel, padding, room, strict=True)]
    how = {"stride": stride, "padding": padding, "kernel_dilation": dilation, "groups": groups}
    return (pick.choice((1, 2, 3)), *sizes, depth * groups), (each * groups, *kernel, depth), how


def agree(ours: mx.array, theirs: object) -> None:
    expected = np.array(theirs)
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(np.array(ours) / scale, expected / scale, rtol=0, atol=1e-5)


@pytest.mark.parametrize("seed", range(24))
def test_values_and_gradients(seed: int) -> None:
    shape, kernel, how = case(seed)
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=shape).astype(np.float32), rng.normal(size=kernel).astype(np.float32)
    result = mx.conv_general(mx.array(x), mx.array(w), **how)
    try:
        agree(result, oracle.conv_general(oracle.array(x), oracle.array(w), **how))
    except ValueError:  # MLX has no groups in three dimensions
        assert len(shape) == 5
        assert how["groups"] > 1
    c = rng.normal(size=result.shape).astype(np.float32)

    def loss(x: mx.array, w: mx.array) -> mx.array:
        return mx.sum(mx.conv_general(x, w, **how) * mx.array(c))

    # linear in each argument: <gradient, argument> is the loss itself
    total = loss(mx.array(x), mx.array(w)).item()
    for gradient, argument in zip(mx.grad(loss, (0, 1))(mx.array(x), mx.array(w)), (x, w), strict=True):
        assert gradient.shape == argument.shape
        product = float((np.array(gradient, np.float64) * argument).sum())
        assert product == pytest.approx(total, rel=1e-4, abs=1e-3 * np.sqrt(c.size))


@pytest.mark.parametrize("seed", (1, 3, 4, 8, 13))
def test_second_order(seed: int) -> None:
    shape, kernel, how = case(seed)
    rng = np.random.default_rng(seed)
    x, w, u, t = (mx.array(rng.normal(size=s), dtype=mx.float64) for s in (shape, kernel, shape, kernel))

    def loss(x: mx.array, w: mx.array) -> mx.array:
        return mx.sum(mx.sin(mx.conv_general(x, w, **how)))

    def along(x: mx.array, w: mx.array) -> mx.array:
        """The gradient along a direction, a number."""
        gx, gw = mx.grad(loss, (0, 1))(x, w)
        return mx.sum(gx * u) + mx.sum(gw * t)

    hx, hw = mx.grad(along, (0, 1))(x, w)
    curvature = mx.sum(hx * u) + mx.sum(hw * t)
    step = 1e-5
    numeric = (along(x + step * u, w + step * t) - along(x - step * u, w - step * t)) / (2 * step)
    assert curvature.item() == pytest.approx(numeric.item(), rel=1e-5, abs=1e-4)
    _, (forward,) = mx.jvp(along, (x, w), (u, t))
    assert forward.item() == pytest.approx(curvature.item(), rel=1e-9)


@pytest.mark.parametrize("axes", ((0, None), (None, 0), (0, 0)))
def test_vectorised(axes: tuple) -> None:
    rng = np.random.default_rng(0)
    shapes = [(3, *s) if a == 0 else s for s, a in zip(((2, 9, 8, 16), (4, 3, 3, 8)), axes, strict=True)]
    x, w = (mx.array(rng.normal(size=s).astype(np.float32)) for s in shapes)

    def gradients(x: mx.array, w: mx.array) -> list:
        def loss(x: mx.array, w: mx.array) -> mx.array:
            return mx.sum(mx.square(mx.conv2d(x, w, stride=2, padding=1, groups=2)))

        return [mx.conv2d(x, w, stride=2, padding=1, groups=2), *mx.grad(loss, (0, 1))(x, w)]

    together = mx.vmap(gradients, axes)(x, w)
    for i in range(3):
        single = gradients(*(a[i] if k == 0 else a for a, k in zip((x, w), axes, strict=True)))
        for many, one in zip(together, single, strict=True):
            np.testing.assert_allclose(np.array(many[i]), np.array(one), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ("float16", "bfloat16"))
def test_half_precision_is_rounded_once(dtype: str) -> None:
    rng = np.random.default_rng(0)
    x, w = (
        mx.array(rng.normal(size=s).astype(np.float32)).astype(getattr(mx, dtype))
        for s in ((2, 9, 9, 16), (4, 3, 3, 16))
    )
    exact = mx.conv2d(x.astype(mx.float32), w.astype(mx.float32))
    half = mx.conv2d(x, w)
    assert half.dtype == x.dtype
    assert mx.array_equal(half, exact.astype(x.dtype))


def test_products_are_added_up_where_they_are_made() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 2, 40, 30)), rng.normal(size=(3, 1, 30, 20))
    x, y = mx.array(a, dtype=mx.float64), mx.array(b, dtype=mx.float64)
    for axis in (0, 1, (0, 1)):
        np.testing.assert_allclose(mx.sum(mx.matmul(x, y), axis=axis), (a @ b).sum(axis), rtol=1e-12, atol=1e-12)
    both = mx.matmul(x, y)
    total = mx.sum(both, axis=0)
    mx.eval(both, total)  # wanted twice
    np.testing.assert_allclose(total, (a @ b).sum(0), rtol=1e-12, atol=1e-12)
