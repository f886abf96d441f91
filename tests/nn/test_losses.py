"""Every loss against the same one of MLX."""

import mlx.nn as apple_nn
import numpy as np
import pytest

import arrax.core as mx
import arrax.nn as nn
from arrax.runtime import executor

# Calls in the syntax that both frameworks share; x, y and z are arrays of the shape (4, 3), p of probabilities.
CASES = [
    "L.cross_entropy(x, classes)",
    "L.cross_entropy(x, p)",
    "L.cross_entropy(x.T, classes, axis=0)",
    "L.cross_entropy(x, classes, weights=w, reduction='mean')",
    "L.cross_entropy(x, p, weights=w, label_smoothing=0.1, reduction='sum')",
    "L.cross_entropy(x, classes, label_smoothing=0.3)",
    "L.cross_entropy(x.T, classes, axis=0, label_smoothing=0.3)",
    "L.cross_entropy(x[None] * 50, classes[None])",
    "L.binary_cross_entropy(x, p)",
    "L.binary_cross_entropy(x * 50, p, weights=z, reduction='none')",
    "L.binary_cross_entropy(p, q, with_logits=False, reduction='sum')",
    "L.binary_cross_entropy(mx.array([0.0, 1.0, 0.5]), mx.array([1.0, 0.0, 1.0]), with_logits=False)",
    "L.l1_loss(x, y)",
    "L.l1_loss(x, y, reduction='none')",
    "L.mse_loss(x, y)",
    "L.mse_loss(x, y, 'sum')",
    "L.nll_loss(x, classes)",
    "L.nll_loss(x.T, classes, axis=0, reduction='mean')",
    "L.gaussian_nll_loss(x, y, p)",
    "L.gaussian_nll_loss(x, y, p - 0.3, full=True, eps=0.01, reduction='none')",
    "L.kl_div_loss(mx.log(p), mx.log(q))",
    "L.kl_div_loss(mx.log(p), mx.log(q), axis=0, reduction='mean')",
    "L.smooth_l1_loss(x, y)",
    "L.smooth_l1_loss(x, y, beta=0.3, reduction='none')",
    "L.triplet_loss(x, y, z)",
    "L.triplet_loss(x, y, z, axis=0, p=3, margin=2.0, eps=0.1, reduction='mean')",
    "L.hinge_loss(x, mx.sign(y))",
    "L.hinge_loss(x, mx.sign(y[0]), reduction='mean')",
    "L.huber_loss(x, y)",
    "L.huber_loss(x, y, delta=0.4, reduction='sum')",
    "L.log_cosh_loss(x, y)",
    "L.log_cosh_loss(x * 1000, y, reduction='mean')",
    "L.cosine_similarity_loss(x, y)",
    "L.cosine_similarity_loss(x, y, axis=0, reduction='mean')",
    "L.margin_ranking_loss(x, y, mx.sign(z))",
    "L.margin_ranking_loss(x, y, mx.sign(z), margin=0.5, reduction='mean')",
]


def names(mx, losses):
    random = np.random.default_rng(0)
    x, y, z = (mx.array(random.standard_normal((4, 3)).astype(np.float32)) for _ in range(3))
    return {
        "L": losses,
        "mx": mx,
        "x": x,
        "y": y,
        "z": z,
        "p": mx.softmax(y, axis=-1),
        "q": mx.softmax(z, axis=-1),
        "w": mx.array([1.0, 0.5, 2.0, 0.0]),
        "classes": mx.array([0, 2, 1, 2]),
    }


@pytest.mark.parametrize("source", CASES)
def test_loss(oracle, source):
    def run(mx, losses):
        variables = names(mx, losses)

        def total(x):
            return eval(source, {**variables, "x": x}).sum()

        return eval(source, variables), mx.grad(total)(variables["x"])

    oracle.same(run(mx, nn.losses), run(oracle.core, apple_nn.losses), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("source", CASES)
def test_compiled_and_half_precision(oracle, monkeypatch, source):
    monkeypatch.setattr(executor, "SMALL", 0)

    def run(mx, losses, dtype, transform):
        variables = {
            name: v.astype(dtype) if isinstance(v, mx.array) and name != "classes" else v
            for name, v in names(mx, losses).items()
        }
        return transform(lambda x: eval(source, {**variables, "x": x}))(variables["x"])

    expected = run(oracle.core, apple_nn.losses, oracle.core.float32, lambda f: f)
    oracle.same(run(mx, nn.losses, mx.float32, mx.compile), expected, rtol=2e-5, atol=2e-6)
    expected = run(oracle.core, apple_nn.losses, oracle.core.bfloat16, lambda f: f)
    # The largest inputs are about 50, where neighbours in bfloat16 differ by 1/4.
    oracle.same(run(mx, nn.losses, mx.bfloat16, lambda f: f), expected, rtol=5e-2, atol=0.125)


@pytest.mark.parametrize(
    "source",
    [
        "L.cross_entropy(x, mx.array([0, 1, 2]))",
        "L.cross_entropy(x, mx.array([[0], [1], [0], [1]]))",
        "L.cross_entropy(x[None], classes)",
        "L.cross_entropy(x, classes, label_smoothing=1.0)",
        "L.cross_entropy(x, classes, label_smoothing=-0.1)",
        "L.cross_entropy(x, classes, weights=mx.ones((3,)))",
        "L.cross_entropy(x, classes, reduction='other')",
        "L.binary_cross_entropy(x, mx.ones((3,)))",
        "L.binary_cross_entropy(x, p, weights=mx.ones((3,)))",
        "L.l1_loss(x, mx.ones((3,)))",
        "L.mse_loss(x, mx.ones((3,)))",
        "L.mse_loss(x, y, 'other')",
        "L.nll_loss(x, mx.array([0, 1, 2]))",
        "L.gaussian_nll_loss(x, mx.ones((3,)), p)",
        "L.gaussian_nll_loss(x, y, mx.ones((3,)))",
        "L.smooth_l1_loss(x, mx.ones((3,)))",
        "L.hinge_loss(x, mx.ones((2,)))",
        "L.huber_loss(x, mx.ones((2,)))",
        "L.log_cosh_loss(x, mx.ones((2,)))",
        "L.kl_div_loss(x, mx.ones((2,)))",
        "L.triplet_loss(x, y, mx.ones((2,)))",
        "L.cosine_similarity_loss(x, mx.ones((3,)))",
        "L.margin_ranking_loss(x, mx.ones((3,)), z)",
        "L.margin_ranking_loss(x, y, mx.ones((3,)))",
    ],
)
def test_errors(oracle, source):
    ours = oracle.error_of(lambda: eval(source, names(mx, nn.losses)))
    theirs = oracle.error_of(lambda: eval(source, names(oracle.core, apple_nn.losses)))
    assert issubclass(ours, theirs)


def test_smooth_l1_loss_without_a_parabola():
    x, y = mx.array([1.0, -2.0]), mx.zeros((2,))
    assert nn.losses.smooth_l1_loss(x, y, beta=0.0, reduction="none").tolist() == [1.0, 2.0]
    assert mx.grad(lambda x: nn.losses.smooth_l1_loss(x, y, beta=0.0, reduction="sum"))(x).tolist() == [1.0, -1.0]


def test_cross_entropy_keeps_half_precision(oracle):
    x, classes = mx.array([[1.0, 2.0, 3.0]], mx.bfloat16), mx.array([0])
    theirs = apple_nn.losses.cross_entropy(
        oracle.core.array([[1.0, 2.0, 3.0]], oracle.core.bfloat16), oracle.give(classes)
    )
    oracle.same(nn.losses.cross_entropy(x, classes), theirs, rtol=2e-2)
