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


CALLS = {
    "constant": ["0.5", "2"],
    "normal": ["", "0.5, 2.0", "mean=-1.0"],
    "uniform": ["", "-0.5, 2.0", "2.0, 1.0"],
    "identity": [""],
    "glorot_normal": [""],
    "glorot_uniform": [""],
    "he_normal": [""],
    "he_uniform": [""],
    "sparse": ["0.5", "0.3, 1.0, 2.0", "0.0", "1.0"],
    "orthogonal": ["", "2.0"],
}
SHAPES = [(), (5,), (1, 1), (3, 3), (7, 3), (3, 7), (0, 4), (4, 0), (2, 3, 4), (3, 1, 2, 5), (0, 2, 4)]


def test_all_initializers_are_here():
    public = {n for n, f in vars(apple_nn.init).items() if getattr(f, "__module__", "") == "mlx.nn.init"}
    assert {name for name in public if not name.startswith("_")} == set(CALLS)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int32"])
@pytest.mark.parametrize(("name", "arguments"), [(n, a) for n, calls in CALLS.items() for a in calls])
def test_shapes_and_dtypes(oracle, name, arguments, dtype):
    """The same numbers, shapes, types and errors for all shapes."""

    def draw(mx, init, shape):
        mx.random.seed(3)
        keywords = ", ".join(part for part in (arguments, f"dtype=mx.{dtype}") if part)
        try:
            result = eval(f"init.{name}({keywords})", {"init": init, "mx": mx})(mx.ones(shape))
            mx.eval(result)
            return [result]
        except Exception as error:
            return type(error)

    if (name, arguments, dtype) == ("constant", "0.5", "int32"):
        # MLX ignores the type, since the value is none of it.
        assert draw(mx, nn.init, (2,))[0].dtype == mx.int32
        return
    for shape in SHAPES:
        ours, theirs = draw(mx, nn.init, shape), draw(oracle.core, apple_nn.init, shape)
        if isinstance(theirs, type):
            # Of arrays without elements MLX cannot sort any, which sparse() does; ours is empty.
            wanted = ValueError if theirs is ZeroDivisionError else theirs
            assert (name == "sparse" and 0 in shape) or issubclass(ours, wanted), shape
        else:
            assert not isinstance(ours, type), (shape, ours)
            oracle.close(ours, theirs, 1e-5 if dtype == "float32" else 1e-2)


def test_sparse_rows_have_the_same_number_of_zeros():
    zeros = np.sum(np.array(nn.init.sparse(0.39)(mx.zeros((7, 5)))) == 0, axis=1)
    assert zeros.tolist() == [2] * 7
