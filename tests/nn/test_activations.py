"""Every activation against the same one of MLX: value, derivative and dtype."""

import mlx.nn as apple_nn
import numpy as np
import pytest
from tests.nn.layer_cases import ACTIVATIONS

import arrax.core as mx
import arrax.nn as nn
from arrax.runtime import executor

NAMES = [
    "celu",
    "elu",
    "gelu",
    "gelu_approx",
    "gelu_fast_approx",
    "hard_shrink",
    "hard_tanh",
    "hardswish",
    "leaky_relu",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "relu2",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "step",
    "tanh",
]


@pytest.mark.parametrize("name", NAMES)
def test_value_and_derivative(oracle, name):
    x = mx.array([-90.0, -9.0, -4.0, -1.0, -0.7, -0.1, 0.2, 0.7, 1.3, 4.0, 9.0, 20.0])

    def run(nn, mx, x):
        f = getattr(nn, name)
        weights = mx.cos(mx.arange(x.size))
        return f(x), mx.grad(lambda x: (f(x) * weights).sum())(x), f(mx.array([0.0, 0.5, -0.5, 6.0, -3.0]))

    oracle.same(run(nn, mx, x), run(apple_nn, oracle.core, oracle.give(x)), atol=4e-6)


@pytest.mark.parametrize("name", NAMES)
def test_dtype(oracle, name):
    def run(nn, mx):
        f = getattr(nn, name)
        half = mx.array([-1.0, 0.0, 2.0], mx.float16)
        return f(half), f(half.astype(mx.bfloat16)), f(mx.array([-2, 0, 3]))

    oracle.same(run(nn, mx), run(apple_nn, oracle.core), rtol=2e-2, atol=2e-2)


def test_arguments(oracle):
    x = mx.array(np.linspace(-2, 2, 12, dtype=np.float32).reshape(2, 6))

    def run(nn, mx, x):
        return [
            nn.glu(x),
            nn.glu(x, axis=0),
            nn.prelu(x, mx.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])),
            nn.elu(x, 2.0),
            nn.celu(x, alpha=0.5),
            nn.leaky_relu(x, 0.3),
            nn.softmax(x, axis=0),
            nn.softmin(x, axis=0),
            nn.log_softmax(x, axis=0),
            nn.hard_tanh(x, -0.5, 0.25),
            nn.hard_shrink(x, 1.0),
            nn.softshrink(x, 1.0),
            nn.step(x, 0.5),
        ]

    oracle.same(run(nn, mx, x), run(apple_nn, oracle.core, oracle.give(x)))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_module(oracle, name):
    x = mx.array(np.linspace(-2, 2, 12, dtype=np.float32).reshape(2, 6))
    ours, theirs = getattr(nn, name)(), getattr(apple_nn, name)()
    oracle.same(ours(x), theirs(oracle.give(x)))
    assert repr(ours) == repr(theirs)


EDGES = [0.0, 1.0, 0.5, 3.0, 6.0, 20.0, 88.8, 103.9, 1 - 1e-7, 1e-7, 1e-40, 1.2e-38, 1e30, 3e38, np.inf]
CALLS = [
    *(f"nn.{name}(x)" for name in NAMES if "softm" not in name),
    "nn.celu(x, 0.5)",
    "nn.elu(x, 2.0)",
    "nn.leaky_relu(x, 0.3)",
    "nn.leaky_relu(x, 2.0)",
    "nn.hard_tanh(x, -0.5, 0.25)",
    "nn.hard_shrink(x, 1.0)",
    "nn.softshrink(x, 1.0)",
    "nn.step(x, 0.5)",
    "nn.prelu(x, mx.array([0.25]))",
    "nn.glu(mx.stack([x, x], -1))",
    "nn.softmax(mx.stack([x, mx.zeros_like(x)], -1))",
    "nn.softmin(mx.stack([x, mx.zeros_like(x)], -1))",
    "nn.log_softmax(mx.stack([x, mx.zeros_like(x)], -1))",
]


def test_all_activations_are_here():
    module = apple_nn.layers.activations
    public = {name for name in vars(module) if not name.startswith("_") and getattr(apple_nn, name, None)}
    public -= {"Module"}
    functions = {name for name in public if name[0].islower()}
    assert functions == {*NAMES, "glu", "prelu"}
    assert public - functions == set(ACTIVATIONS)


@pytest.mark.parametrize("small", [16, 0], ids=["references", "compiled"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("source", CALLS)
def test_edge_values(oracle, monkeypatch, source, dtype, small):
    """Extreme values and their derivatives; ours may have a derivative where MLX has none."""
    monkeypatch.setattr(executor, "SMALL", small)

    def run(nn, mx, x, at=slice(None)):
        def f(x):
            return eval(source, {"nn": nn, "mx": mx, "x": x})

        values = f(x)
        return values, mx.grad(lambda x: f(x).astype(mx.float32).sum())(x)

    x = np.array([*EDGES, *(-v for v in EDGES), np.nan], np.float32)
    ours, slopes = run(nn, mx, mx.array(x).astype(getattr(mx, dtype)))
    given = oracle.core.array(x).astype(getattr(oracle.core, dtype))
    theirs, their_slopes = run(apple_nn, oracle.core, given)
    exact, exact_slopes = run(apple_nn, oracle.core, given.astype(oracle.core.float32))
    assert ours.shape == theirs.shape and str(ours.dtype).split(".")[-1] == str(theirs.dtype).split(".")[-1]
    tolerance = {"float32": 1e-5, "bfloat16": 1e-2, "float16": 2e-3}[dtype]
    for a, b, c in ((ours, theirs, exact), (slopes, their_slopes, exact_slopes)):
        a, b, c = (np.array(v.astype(m.float32)) for v, m in ((a, mx), (b, oracle.core), (c, oracle.core)))
        # In float32, as exact as it can be; else as near to that as MLX.
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        with np.errstate(all="ignore"):
            near = np.abs(a - c) <= tolerance * np.abs(c) + 1.5 * np.abs(b - c) + tolerance / 50
        wrong = ~(same | near)
        if a is not ours and b.shape == x.shape:
            wrong &= ~np.isnan(x)
        if c.shape == slopes.shape and np.isnan(b).any():
            wrong &= ~np.isnan(b)
        assert not wrong.any(), [(x[i[0]], a[tuple(i)], b[tuple(i)]) for i in np.argwhere(wrong)]
    if dtype == "float32" and "step" not in source:
        signs = np.signbit(np.array(ours)) == np.signbit(np.array(theirs))
        assert (signs | np.isnan(np.array(ours))).all()


def test_log_softmax_of_a_sure_prediction_is_exact():
    # The true value is -exp(-12); the difference from a rounded logarithm of a sum would be zero or 1e-4.
    value = nn.log_softmax(mx.array([1000.0, 988.0]))[0].item()
    assert value == pytest.approx(-np.log1p(np.exp(-12.0)), rel=2e-2)
