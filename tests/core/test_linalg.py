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


# --- factorisations, inverses, equations ------------------------------------------------------------------------------
SQUARE = (RNG.normal(size=(2, 4, 4)) + 2 * np.eye(4)).astype(np.float32)
POSITIVE = (SQUARE @ SQUARE.swapaxes(-1, -2) + np.eye(4)).astype(np.float32)
HERMITIAN = (POSITIVE + 1j * (SQUARE - SQUARE.swapaxes(-1, -2))).astype(np.complex64)


@pytest.mark.parametrize("dtype", (np.float32, np.float64))
@pytest.mark.parametrize("name", ("inv", "pinv", "tri_inv", "cholesky", "cholesky_inv", "det", "eigvalsh"))
def test_one_result(name, dtype):
    kind = "float64" if dtype is np.float64 else "float32"
    for a in (POSITIVE, POSITIVE[0], np.zeros((0, 3, 3))):
        with oracle.stream(oracle.cpu):
            check(lambda m, a: getattr(m.linalg, name)(m.array(a, getattr(m, kind))), a, tolerance=2e-4)


def test_triangles_and_types():
    for name in ("tri_inv", "cholesky", "cholesky_inv"):
        check(lambda m, a, name=name: getattr(m.linalg, name)(a, upper=True), POSITIVE, tolerance=2e-4)
    for name in ("pinv",):
        check(lambda m, a, name=name: getattr(m.linalg, name)(a), CUBE, tolerance=2e-4)
        check(lambda m, a, name=name: getattr(m.linalg, name)(a), np.zeros((3, 2), np.float32))
    for a in (SQUARE, np.array([[1, 2], [3, 4]]), np.zeros((2, 2), np.float32)):
        check(lambda m, a: m.linalg.det(a), a, tolerance=1e-4)
        for k in (0, 1):
            check(lambda m, a, k=k: m.linalg.slogdet(a)[k], a, tolerance=1e-4)


@pytest.mark.parametrize("letter", ("L", "U"))
def test_eigenvalues(letter):
    for a in (POSITIVE, POSITIVE[0], HERMITIAN):
        check(lambda m, a: m.linalg.eigvalsh(a, letter), a, tolerance=1e-4)
        check(lambda m, a: m.linalg.eigh(a, letter)[0], a, tolerance=1e-4)
        w, v = (np.array(x) for x in mx.linalg.eigh(mx.array(a), letter))
        np.testing.assert_allclose(v * w[..., None, :] @ v.conj().swapaxes(-1, -2), a, rtol=1e-4, atol=2e-4)
    for a in (SQUARE, HERMITIAN):
        w, v = (np.array(x) for x in mx.linalg.eig(mx.array(a)))
        np.testing.assert_allclose(a @ v, v * w[..., None, :], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(np.array(mx.linalg.eigvals(mx.array(a))), w, rtol=1e-5)


@pytest.mark.parametrize("shape", ((3, 3), (4, 3), (3, 4), (2, 4, 3), (2, 3, 4), (3, 0), (0, 3, 3)))
def test_factors_multiply_to_the_matrix(shape):
    a = RNG.normal(size=shape).astype(np.float32)
    k = min(shape[-2:])
    with oracle.stream(oracle.cpu):
        theirs = {n: getattr(oracle.linalg, n)(oracle.array(a)) for n in ("qr", "svd")}
    ours = {n: getattr(mx.linalg, n)(mx.array(a)) for n in theirs}
    for name, found in ours.items():
        assert [x.shape for x in found] == [x.shape for x in theirs[name]]
    (q, r), (u, s, vt) = ([np.array(x) for x in found] for found in ours.values())
    np.testing.assert_allclose(q @ r, a, atol=1e-5)
    np.testing.assert_allclose(u[..., :k] * s[..., None, :] @ vt[..., :k, :], a, atol=1e-5)
    check(lambda m, a: m.linalg.svd(a, compute_uv=False), a)
    if 0 not in shape[-2:]:
        for i in range(3):
            check(lambda m, a, i=i: m.linalg.lu(a)[i], a)
        for i in range(2):
            check(lambda m, a, i=i: m.linalg.lu_factor(a)[i], a)


def test_complex_singular_values():
    u, s, vt = (np.array(x) for x in mx.linalg.svd(mx.array(HERMITIAN)))
    np.testing.assert_allclose(u * s[..., None, :] @ vt, HERMITIAN, rtol=1e-4, atol=1e-4)
    assert s.dtype == np.float32


@pytest.mark.parametrize("name", ("solve", "solve_triangular"))
@pytest.mark.parametrize("shape", ((4,), (4, 2), (2, 4, 3)))
def test_equations(name, shape):
    b = RNG.normal(size=shape).astype(np.float32)
    a = SQUARE if len(shape) == 3 else SQUARE[0]
    check(lambda m, a, b: getattr(m.linalg, name)(a, b), a, b, tolerance=1e-3)
    if name == "solve_triangular":
        check(lambda m, a, b: m.linalg.solve_triangular(a, b, upper=True), a, b, tolerance=1e-3)
        check(lambda m, a, b: m.linalg.solve_triangular(a, b), SQUARE, b, tolerance=1e-3)


def weighted(*shapes):
    """A scalar function of arrays, with weights that break all symmetries."""
    weights = [np.random.default_rng(i).normal(size=s) for i, s in enumerate(shapes)]
    return lambda *xs: sum((x * mx.array(w, mx.float64)).sum() for x, w in zip(xs, weights, strict=True))


def symmetric(a):
    return (a + mx.swapaxes(a, -1, -2)) / 2


DERIVATIVES = {
    "inv": (lambda a: weighted((4, 4))(mx.linalg.inv(a)), (4, 4)),
    "tri_inv": (lambda a: weighted((4, 4))(mx.linalg.tri_inv(a)), (4, 4)),
    "pinv": (lambda a: weighted((3, 4))(mx.linalg.pinv(a)), (4, 3)),
    "pinv wide": (lambda a: weighted((4, 3))(mx.linalg.pinv(a)), (3, 4)),
    "solve": (lambda a: weighted((4,))(mx.linalg.solve(a, a[0] + 1)), (4, 4)),
    "solve_triangular": (lambda a: weighted((4, 4))(mx.linalg.solve_triangular(a, a, upper=True)), (4, 4)),
    "det": (mx.linalg.det, (4, 4)),
    "slogdet": (lambda a: mx.linalg.slogdet(a)[1], (4, 4)),
    "cholesky": (lambda a: weighted((4, 4))(mx.linalg.cholesky(a @ a.T)), (4, 4)),
    "qr": (lambda a: weighted((4, 4), (4, 4))(*mx.linalg.qr(a)), (4, 4)),
    "qr tall": (lambda a: weighted((4, 3), (3, 3))(*mx.linalg.qr(a)), (4, 3)),
    "qr wide": (lambda a: weighted((3, 3), (3, 5))(*mx.linalg.qr(a)), (3, 5)),
    "svd": (lambda a: weighted((4, 4), (4,), (4, 4))(*mx.linalg.svd(a)), (4, 4)),
    "svd tall": (lambda a: (lambda u, s, v: weighted((4, 3), (3,), (3, 3))(u[:, :3], s, v))(*mx.linalg.svd(a)), (4, 3)),
    "svd wide": (lambda a: (lambda u, s, v: weighted((3, 3), (3,), (3, 4))(u, s, v[:3]))(*mx.linalg.svd(a)), (3, 4)),
    "singular values": (lambda a: weighted((3,))(mx.linalg.svd(a, False)), (3, 4)),
    "eigh": (lambda a: weighted((4,), (4, 4))(*mx.linalg.eigh(symmetric(a))), (4, 4)),
    "eigvalsh": (lambda a: weighted((4,))(mx.linalg.eigvalsh(symmetric(a))), (4, 4)),
    "nuc": (lambda a: mx.linalg.norm(a, "nuc"), (3, 4)),
}


@pytest.mark.parametrize("name", DERIVATIVES)
def test_derivatives_against_differences(name):
    """First and second derivatives along a direction, in double precision."""
    f, shape = DERIVATIVES[name]
    rng = np.random.default_rng(7)
    a, v = rng.normal(size=shape) + 2 * np.eye(*shape), mx.array(rng.normal(size=shape), mx.float64)
    step = 1e-5

    def at(g, t):
        return np.array(g(mx.array(a, mx.float64) + t * step * v))

    def slope(x):
        return (mx.grad(f)(x) * v).sum()

    for g, dg in ((f, slope), (slope, lambda x: (mx.grad(slope)(x) * v).sum())):
        expected = (at(g, 1) - at(g, -1)) / (2 * step)
        np.testing.assert_allclose(at(dg, 0), expected, rtol=1e-4, atol=1e-6)


def test_tangents_and_batches_of_factors():
    a, v = mx.array(POSITIVE, mx.float64), mx.array(SQUARE, mx.float64)
    for f in (mx.linalg.inv, mx.linalg.cholesky, lambda x: mx.linalg.eigh(x)[0], lambda x: mx.linalg.qr(x)[1]):
        _, (tangent,) = mx.jvp(f, [a], [v + mx.swapaxes(v, 1, 2)])
        step = 1e-6 * (v + mx.swapaxes(v, 1, 2))
        expected = (np.array(f(a + step)) - np.array(f(a - step))) / 2e-6
        np.testing.assert_allclose(np.array(tangent), expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(np.array(mx.vmap(f)(a)), np.array(f(a)), rtol=1e-6)
    b = mx.array(RNG.normal(size=(4, 2)), mx.float64)
    batched = mx.vmap(mx.linalg.solve, (0, None))(a, b)
    np.testing.assert_allclose(np.array(batched), np.linalg.solve(np.array(a), np.array(b)), rtol=1e-6)


def test_matrices_without_a_result():
    with pytest.raises(RuntimeError, match="inv"):
        mx.eval(mx.linalg.inv(mx.zeros((2, 2))))
    with pytest.raises(RuntimeError, match="svd"):
        mx.eval(mx.linalg.svd(mx.full((2, 2), mx.nan)))
    for indefinite in ([[1.0, 2.0], [2.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]], [[-1.0, 0.0], [0.0, 1.0]]):
        assert np.isnan(np.array(mx.linalg.cholesky(mx.array(indefinite)))).any()
    assert np.isnan(np.array(mx.linalg.eigh(mx.full((2, 2), mx.nan))[0])).all()


FACTORED = (
    "inv",
    "tri_inv",
    "cholesky",
    "cholesky_inv",
    "pinv",
    "qr",
    "svd",
    "eigh",
    "eigvalsh",
    "eig",
    "eigvals",
    "lu",
)


@pytest.mark.parametrize("name", (*FACTORED, "lu_factor"))
def test_arguments_are_the_oracles(name):
    calls = [
        (ValueError, lambda m: getattr(m.linalg, name)(m.zeros((2, 2), m.int32))),
        (ValueError, lambda m: getattr(m.linalg, name)(m.zeros((2, 2), m.float16))),
        (ValueError, lambda m: getattr(m.linalg, name)(m.zeros(2))),
        (TypeError, lambda m: getattr(m.linalg, name)(1.0)),
    ]
    if name not in ("pinv", "qr", "svd", "lu", "lu_factor"):
        calls.append((ValueError, lambda m: getattr(m.linalg, name)(m.zeros((2, 3)))))
    for error, call in calls:
        test_errors_are_the_oracles(error, call)


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (ValueError, lambda m: m.linalg.solve(m.zeros((2, 3)), m.zeros(3))),
        (ValueError, lambda m: m.linalg.solve(m.zeros(2), m.zeros(2))),
        (ValueError, lambda m: m.linalg.solve(m.zeros((2, 2)), m.zeros(3))),
        (ValueError, lambda m: m.linalg.solve(m.zeros((2, 2), m.int32), m.zeros(2, m.int32))),
        (ValueError, lambda m: m.linalg.solve_triangular(m.zeros((2, 2)), m.zeros((2, 3, 4)))),
        (ValueError, lambda m: m.linalg.det(m.zeros((2, 3)))),
        (ValueError, lambda m: m.linalg.slogdet(m.zeros(2))),
        (ValueError, lambda m: m.grad(lambda a: m.linalg.lu(a)[1].sum())(m.zeros((2, 2)))),
    ],
)
def test_equations_and_determinants_refuse_what_the_oracle_does(error, call):
    test_errors_are_the_oracles(error, call)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_cholesky_of_semi_definite_matrices(dtype):
    """A column of zeros stands for a pivot that vanishes."""
    for matrix, lower in (
        ([[1, 1], [1, 1]], [[1, 0], [1, 0]]),
        ([[0, 0], [0, 0]], [[0, 0], [0, 0]]),
        ([[1, 0], [0, 0]], [[1, 0], [0, 0]]),
        ([[0, 0], [0, 4]], [[0, 0], [0, 2]]),
        ([[4, 2, 2], [2, 1, 1], [2, 1, 1]], [[2, 0, 0], [1, 0, 0], [1, 0, 0]]),
        ([[1, 1, 1], [1, 1, 1], [1, 1, 5]], [[1, 0, 0], [1, 0, 0], [1, 0, 2]]),
    ):
        a = mx.array(np.array(matrix), dtype=getattr(mx, dtype))
        np.testing.assert_array_equal(np.array(mx.linalg.cholesky(a)), lower)
        np.testing.assert_array_equal(np.array(mx.linalg.cholesky(a, upper=True)), np.transpose(lower))
    v = np.random.default_rng(0).normal(size=(3, 1, 6)) * (1 if dtype.startswith("f") else 1j)
    matrices = v.conj().transpose(0, 2, 1) @ v
    found = np.array(mx.linalg.cholesky(mx.array(matrices, dtype=getattr(mx, dtype))))
    np.testing.assert_allclose(found @ found.conj().transpose(0, 2, 1), matrices, atol=1e-6)
