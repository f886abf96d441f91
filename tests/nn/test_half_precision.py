"""Layers and losses compute the statistics of half precision in float32: compared with double precision."""

import numpy as np
import pytest

import arrax.core as mx
import arrax.nn as nn

HALVES = {"float16": 2.0**-10, "bfloat16": 2.0**-7}


def half(values: np.ndarray, dtype: str) -> mx.array:
    return mx.array(values.astype(np.float32)).astype(getattr(mx, dtype))


def numpy(x: mx.array) -> np.ndarray:
    return np.array(x.astype(mx.float32)).astype(np.float64)


def checkerboard(size: float) -> np.ndarray:
    return size * (np.indices((2, 8, 8, 4)).sum(0) % 2 * 2.0 - 1)


LAYERS = {
    "InstanceNorm(4)": (1, 2),
    "InstanceNorm(4, affine=True)": (1, 2),
    "GroupNorm(2, 4)": None,
    "GroupNorm(2, 4, affine=False)": None,
    "GroupNorm(2, 4, pytorch_compatible=True)": None,
    "BatchNorm(4)": (0, 1, 2),
    "BatchNorm(4, affine=False)": (0, 1, 2),
    "LayerNorm(4)": (3,),
    "RMSNorm(4)": None,
}


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("size", [1e-2, 1, 512, 6e4])
def test_norm_layers(name, dtype, size):
    """The squares of 512 are beyond float16; the derivative of the square of what is normalised nearly vanishes."""
    layer = eval(f"nn.{name}")
    layer.set_dtype(getattr(mx, dtype))
    x = half(checkerboard(size), dtype)
    value = numpy(x)
    want = value / np.sqrt(np.square(value).mean() + layer.eps)
    y = layer(x)
    assert y.dtype == x.dtype
    np.testing.assert_allclose(numpy(y), want, rtol=2 * HALVES[dtype])
    noise = half(np.random.default_rng(0).normal(size=x.shape), dtype)
    gradient = numpy(mx.grad(lambda v: (layer(v) * noise).sum())(x))
    wide = eval(f"nn.{name}")
    exact = numpy(mx.grad(lambda v: (wide(v) * noise.astype(mx.float32)).sum())(x.astype(mx.float32)))
    np.testing.assert_allclose(gradient, exact, rtol=4 * HALVES[dtype], atol=8 * HALVES[dtype] * np.abs(exact).max())


@pytest.mark.parametrize("dtype", HALVES)
def test_running_statistics(dtype):
    layer, wide = nn.BatchNorm(4), nn.BatchNorm(4)
    layer.set_dtype(getattr(mx, dtype))
    for step in range(3):
        x = half(checkerboard(200.0 + step) + 50, dtype)
        layer(x)
        wide(x.astype(mx.float32))
    for name in ("running_mean", "running_var"):
        assert layer[name].dtype == x.dtype
        np.testing.assert_allclose(numpy(layer[name]), numpy(wide[name]), rtol=4 * HALVES[dtype], err_msg=name)
    layer.eval()
    wide.eval()
    np.testing.assert_allclose(numpy(layer(x)), numpy(wide(x.astype(mx.float32))), rtol=8 * HALVES[dtype])


@pytest.mark.parametrize("dtype", HALVES)
def test_many_classes(dtype):
    """The number of classes is beyond float16, or beyond the integers of bfloat16."""
    classes = 70_000
    x = np.random.default_rng(1).normal(size=(2, classes))
    x[0] = 0
    logits = half(x, dtype)
    x = numpy(logits)
    most = x.max(-1, keepdims=True)
    sums = np.log(np.exp(x - most).sum(-1, keepdims=True)) + most
    targets = mx.array([5, 69_999])
    spread = half(np.full((2, classes), 2.0**-16), dtype)
    tolerance = HALVES[dtype]
    at_target = np.take_along_axis(x - sums, np.array(targets)[:, None], 1)[:, 0]
    for name, got, want in (
        ("log_softmax", nn.log_softmax(logits), x - sums),
        ("layer", nn.LogSoftmax()(logits), x - sums),
        ("logsumexp", mx.logsumexp(logits, -1, True), sums),
        ("softmax", mx.softmax(logits, -1), np.exp(x - sums)),
        ("cross_entropy", nn.losses.cross_entropy(logits, targets), -at_target),
        (
            "of probabilities",
            nn.losses.cross_entropy(logits, spread),
            np.log(np.exp(x - most).sum(-1)) - (numpy(spread) * (x - most)).sum(-1),
        ),
        (
            "smoothed",
            nn.losses.cross_entropy(logits, targets, label_smoothing=0.1),
            -0.9 * at_target - 0.1 * (x - sums).mean(-1),
        ),
        ("nll_loss", nn.losses.nll_loss(nn.log_softmax(logits), targets), -at_target),
        ("fast", mx.fast.cross_entropy(logits, targets), -at_target),
        ("kl_div_loss", nn.losses.kl_div_loss(logits, mx.zeros_like(logits)), (0 - x).sum(-1)),
        ("mean", mx.mean(logits + 1, -1), numpy(logits + 1).mean(-1)),
        ("var", mx.var(logits * 300, -1), numpy(logits * 300).var(-1)),
        ("std", mx.std(logits * 1000, -1), numpy(logits * 1000).std(-1)),
        ("norm", mx.linalg.norm(logits * 30, axis=-1), np.linalg.norm(numpy(logits * 30), axis=-1)),
    ):
        with np.errstate(over="ignore"):
            want = numpy(half(want, dtype))
        np.testing.assert_allclose(numpy(got), want, rtol=2 * tolerance, atol=2.0**-24, err_msg=name)
    probabilities = np.exp(x - sums)
    chosen = np.zeros_like(x)
    chosen[np.arange(2), np.array(targets)] = 1
    for name, loss, want in (
        ("cross_entropy", lambda v: nn.losses.cross_entropy(v, targets).sum(), probabilities - chosen),
        ("log_softmax", lambda v: -nn.log_softmax(v)[mx.arange(2), targets].sum(), probabilities - chosen),
        ("logsumexp", lambda v: mx.logsumexp(v, -1).sum(), probabilities),
    ):
        gradient = numpy(mx.grad(loss)(logits))
        np.testing.assert_allclose(gradient, numpy(half(want, dtype)), rtol=2 * tolerance, atol=2.0**-24, err_msg=name)
