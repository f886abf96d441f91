"""Norms and the cross product, against MLX's."""

import mlx.core as oracle
import numpy as np
import pytest

import arrax.core as mx

INF = float("inf")
RNG = np.random.default_rng(0)
MATRIX, CUBE = RNG.normal(size=(3, 4)).astype(np.float32), RNG.normal(size=(2, 3, 4)).astype(np.float32)


def check(call, *arrays, tolerance=1e-5):
    with oracle.stream(oracle.cpu):
        ours, theirs = (call(m, *(m.array(a) for a in arrays)) for m in (mx, oracle))
        oracle.eval(theirs)
    assert str(ours.dtype).split(".")[-1] == str(theirs.dtype).split(".")[-1]
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(np.array(ours), np.array(theirs), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("ord", (None, 0, 1, -1, 2, -2, 3, 0.5, -3, INF, -INF, True))
@pytest.mark.parametrize("keepdims", (False, True))
def test_vectors(ord, keepdims):
    for a in (CUBE[0, 0], np.array([3, -4, 0]), np.array([True, False, True]), CUBE[0, 0].astype(np.float16)):
        check(
            lambda m, a: m.linalg.norm(a, ord, keepdims=keepdims), a, tolerance=1e-3 if a.dtype == np.float16 else 1e-5
        )
    check(lambda m, a: m.linalg.norm(a, ord, keepdims=keepdims), np.array([3 + 4j, 1j], np.complex64))
    for axis in (0, 1, -1, (2,), [1]):
        check(lambda m, a, axis=axis: m.linalg.norm(a, ord, axis, keepdims), CUBE)


@pytest.mark.parametrize("ord", (None, 1, -1, 2, -2, INF, -INF, "fro", "f", "nuc"))
@pytest.mark.parametrize("keepdims", (False, True))
def test_matrices(ord, keepdims):
    check(lambda m, a: m.linalg.norm(a, ord, keepdims=keepdims), MATRIX)
    check(lambda m, a: m.linalg.norm(a, ord, keepdims=keepdims), (MATRIX + 1j * MATRIX[::-1]).astype(np.complex64))
    for axes in ((0, 1), (1, 0), (1, 2), (2, 0), [-1, -3]):
        check(lambda m, a, axes=axes: m.linalg.norm(a, ord, axes, keepdims), CUBE, tolerance=1e-4)


def test_all_elements():
    check(lambda m, a: m.linalg.norm(a), CUBE)
    check(lambda m, a: m.linalg.norm(a, keepdims=True), CUBE)
    check(lambda m, a: m.linalg.norm(a), np.float32(-2))
    check(lambda m, a: m.linalg.norm(a, axis=()), CUBE)


def test_nothing():
    for ord in (None, 0, 1, -1, 2, -2, 3):
        check(lambda m, ord=ord: m.linalg.norm(m.zeros((0,)), ord))
    for ord in (None, "fro", "nuc", INF):
        check(lambda m, ord=ord: m.linalg.norm(m.zeros((2, 0)), ord))


@pytest.mark.parametrize(
    ("shapes", "axis"),
    [
        (((3,), (3,)), -1),
        (((2,), (2,)), -1),
        (((2,), (3,)), 0),
        (((3,), (2,)), 0),
        (((2, 3), (3,)), -1),
        (((4, 1, 3), (5, 3)), -1),
        (((3, 4), (3, 4)), 0),
        (((2, 4), (3, 4)), 0),
        (((3, 2), (3, 2)), 1),
        (((0, 3), (0, 3)), 1),
    ],
)
def test_cross(shapes, axis):
    a, b = (RNG.normal(size=s).astype(np.float32) for s in shapes)
    check(lambda m, a, b: m.linalg.cross(a, b, axis), a, b)
    check(lambda m, a, b: m.linalg.cross(a, b, axis), (a * 9).astype(np.int32), (b * 9).astype(np.int32))


def test_cross_types():
    for x, y in (
        ("float32", "float16"),
        ("uint8", "uint8"),
        ("bool_", "bool_"),
        ("int8", "float16"),
        ("bool_", "int32"),
    ):
        check(lambda m, x=x, y=y: m.linalg.cross(m.array([1, 1, 0], getattr(m, x)), m.array([1, 0, 1], getattr(m, y))))


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (ValueError, lambda m: m.linalg.norm(m.zeros(3), "fro")),
        (ValueError, lambda m: m.linalg.norm(m.zeros((2, 2)), "row")),
        (ValueError, lambda m: m.linalg.norm(m.zeros((2, 2)), 0)),
        (ValueError, lambda m: m.linalg.norm(m.zeros((2, 2)), 3)),
        (ValueError, lambda m: m.linalg.norm(m.zeros((2, 2, 2)), 1)),
        (ValueError, lambda m: m.linalg.norm(m.zeros((2, 2, 2)), axis=(0, 1, 2))),
        (ValueError, lambda m: m.linalg.norm(m.zeros((2, 2)), None, (0, 0))),
        (IndexError, lambda m: m.linalg.norm(m.zeros((2, 2)), None, 2)),
        (ValueError, lambda m: m.linalg.norm(m.zeros(0), INF)),
        (ValueError, lambda m: m.linalg.norm(m.zeros((2, 2), m.float16), 2)),
        (TypeError, lambda m: m.linalg.norm([1.0, 2.0])),
        (ValueError, lambda m: m.linalg.cross(m.zeros(4), m.zeros(4))),
        (ValueError, lambda m: m.linalg.cross(m.zeros((2, 3)), m.zeros((3, 3)))),
        (IndexError, lambda m: m.linalg.cross(m.zeros(3), m.zeros(3), 1)),
        (IndexError, lambda m: m.linalg.cross(m.array(1), m.array(2))),
    ],
)
def test_errors_are_the_oracles(error, call):
    with pytest.raises(error) as caught:
        call(mx)
    assert "\n" not in str(caught.value)
    with pytest.raises(error), oracle.stream(oracle.cpu):
        oracle.eval(call(oracle))
