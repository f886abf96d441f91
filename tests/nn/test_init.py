"""The initializers draw exactly the numbers that MLX's draw from the same seed."""

import mlx.nn as apple_nn
import numpy as np
import pytest

import arrax.core as mx
import arrax.nn as nn

CASES = [
    ("init.constant(0.5)(a)", 0),
    ("init.constant(0.5, mx.float16)(a)", 0),
    ("init.normal()(a)", 0),
    ("init.normal(0.5, 2.0)(a)", 0),
    ("init.uniform()(a)", 0),
    ("init.uniform(-0.5, 2.0)(a)", 0),
    ("init.identity()(a[:, :3])", 0),
    ("init.glorot_normal()(a)", 0),
    ("init.glorot_normal()(a, gain=4.0)", 0),
    ("init.glorot_normal()(filters)", 0),
    ("init.glorot_uniform()(a)", 0),
    ("init.glorot_uniform()(filters, 2.0)", 0),
    ("init.he_normal()(a)", 0),
    ("init.he_normal()(filters, 'fan_out', 2.0)", 0),
    ("init.he_uniform()(a, mode='fan_out')", 0),
    ("init.he_uniform()(filters)", 0),
    ("init.sparse(0.5)(a)", 0),
    ("init.sparse(0.3, 1.0, 2.0)(a)", 0),
    ("init.sparse(1.5)(a)", 0),
    ("init.sparse(-1.0)(a)", 0),
    ("init.orthogonal()(a)", 1e-5),
    ("init.orthogonal(2.0)(a.T)", 1e-5),
    ("init.normal(dtype=mx.float16)(a)", 0),
    ("init.uniform(dtype=mx.bfloat16)(a)", 0),
    ("init.he_uniform(mx.float16)(a)", 0),
    ("init.orthogonal(dtype=mx.float16)(a)", 1e-3),
]


def run(source, mx, init):
    mx.random.seed(5)
    return eval(source, {"init": init, "mx": mx, "a": mx.zeros((3, 4)), "filters": mx.zeros((3, 2, 2, 5))})


@pytest.mark.parametrize(("source", "tolerance"), CASES)
def test_init(oracle, source, tolerance):
    ours, theirs = run(source, mx, nn.init), run(source, oracle.core, apple_nn.init)
    oracle.same(ours, theirs, rtol=tolerance or 1e-6, atol=tolerance or 1e-7)


@pytest.mark.parametrize(
    "source",
    [
        "init.identity()(a)",
        "init.identity()(a[0])",
        "init.glorot_normal()(a[0])",
        "init.glorot_uniform()(a[0, 0])",
        "init.he_normal()(a, 'other')",
        "init.he_uniform()(a, mode='other')",
        "init.he_uniform()(a[0])",
        "init.sparse(0.5)(a[0])",
        "init.sparse(0.5)(filters)",
        "init.orthogonal()(a[0])",
        "init.orthogonal()(filters)",
    ],
)
def test_errors(oracle, source):
    ours = oracle.error_of(lambda: run(source, mx, nn.init))
    assert ours is oracle.error_of(lambda: run(source, oracle.core, apple_nn.init))


def test_sparse_rows_have_the_same_number_of_zeros():
    zeros = np.sum(np.array(nn.init.sparse(0.39)(mx.zeros((7, 5)))) == 0, axis=1)
    assert zeros.tolist() == [2] * 7
