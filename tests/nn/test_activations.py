"""Every activation against the same one of MLX: value, derivative and dtype."""

import mlx.nn as apple_nn
import numpy as np
import pytest

import arrax.core as mx
import arrax.nn as nn

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
MODULES = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "HardShrink",
    "HardTanh",
    "Hardswish",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "ReLU",
    "ReLU2",
    "ReLU6",
    "SELU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Step",
    "Tanh",
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


@pytest.mark.parametrize("name", MODULES)
def test_module(oracle, name):
    x = mx.array(np.linspace(-2, 2, 12, dtype=np.float32).reshape(2, 6))
    ours, theirs = getattr(nn, name)(), getattr(apple_nn, name)()
    oracle.same(ours(x), theirs(oracle.give(x)))
    assert repr(ours) == repr(theirs)


def test_log_softmax_of_a_sure_prediction_is_exact():
    # The true value is -exp(-12); the difference from a rounded logarithm of a sum would be zero or 1e-4.
    value = nn.log_softmax(mx.array([1000.0, 988.0]))[0].item()
    assert value == pytest.approx(-np.log1p(np.exp(-12.0)), rel=2e-2)
