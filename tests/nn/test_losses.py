"""Every loss against the same one of MLX."""

import inspect

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


# The arguments of each loss, but for the reduction; c are classes, u weights of the shape of x.
CALLS = {
    "cross_entropy": [
        "x, c",
        "x, p",
        "x, c, w",
        "x, p, w",
        "x.T, c, axis=0",
        "x.T, p.T, axis=0",
        "x, p, label_smoothing=0.2",
        "x.T, c, w, axis=0, label_smoothing=0.2",
    ],
    "binary_cross_entropy": ["x, p", "x, p, u", "p, q, with_logits=False", "p, q, u, False", "x, p > 0.3"],
    "l1_loss": ["x, y"],
    "mse_loss": ["x, y"],
    "nll_loss": ["x, c", "x.T, c, axis=0"],
    "gaussian_nll_loss": ["x, y, p", "x, y, p, True", "x, y, p, eps=0.3"],
    "kl_div_loss": ["mx.log(p), mx.log(q)", "mx.log(p), mx.log(q), axis=0"],
    "smooth_l1_loss": ["x, y", "x, y, 0.3"],
    "triplet_loss": ["x, y, z", "x, y, z, axis=0", "x, y, z, p=1", "x, y, z, p=3, margin=2.0, eps=0.1"],
    "hinge_loss": ["x, mx.sign(y)"],
    "huber_loss": ["x, y", "x, y, 0.3"],
    "log_cosh_loss": ["x, y"],
    "cosine_similarity_loss": ["x, y", "x, y, 0", "x, y, eps=10.0"],
    "margin_ranking_loss": ["x, y, mx.sign(z)", "x, y, mx.sign(z), 0.5"],
}
EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, 1 - 1e-7, 1e-7, 1e-40, -1e-40, 100.0, -103.9, 88.8, 1e30, -1e30, np.inf, -np.inf]
TOLERANCES = {"float32": 1e-5, "bfloat16": 1e-2, "float16": 2e-3}


def test_all_losses_are_here():
    public = {n for n, f in vars(apple_nn.losses).items() if inspect.isfunction(f) and f.__module__.endswith("losses")}
    assert {name for name in public if not name.startswith("_")} == set(CALLS)


def examples(mx, kind):
    """The variables of the calls: random ones, none at all, or all pairs of edge values."""
    random = np.random.default_rng(0)
    size = {"random": 4, "empty": 0, "edges": len(EDGES) ** 2}[kind]
    x, y, z = (random.standard_normal((size, 3)).astype(np.float32) for _ in range(3))
    if kind == "edges":
        first, second = (m.ravel() for m in np.meshgrid(np.array(EDGES, np.float32), np.array(EDGES, np.float32)))
        x[:, 0], x[:, 1], y[:, 0], y[:, 1], z[:, 1], z[:, 2] = first, second, second, 1, first, second
    variables = {"x": mx.array(x), "y": mx.array(y), "z": mx.array(z)}
    p, q = (variables[n] if kind == "edges" else mx.softmax(variables[n], axis=-1) for n in "yz")
    weights = mx.array(np.linspace(0, 2, size).astype(np.float32))
    classes = mx.array((np.arange(size) % 3).astype(np.int32))
    return {**variables, "p": p, "q": q, "u": mx.abs(variables["z"]), "w": weights, "c": classes, "mx": mx}


def derived(mx, losses, source, variables, transform, second):
    """The value of a call and its derivatives by x, or the type of the error that it raises."""

    def loss(x):
        return eval(source, {**variables, "L": losses, "x": x})

    def gradient(x):
        return mx.grad(lambda x: loss(x).sum())(x)

    def curvature(x):
        return mx.grad(lambda x: (gradient(x) * mx.cos(mx.arange(x.size).reshape(x.shape))).sum())(x)

    try:
        found = [transform(loss)(variables["x"]), transform(gradient)(variables["x"])]
        return [*found, transform(curvature)(variables["x"])] if second else found
    except ValueError:
        return ValueError


SOURCES = [(name, arguments) for name, calls in CALLS.items() for arguments in calls]


@pytest.mark.parametrize("reduction", ["none", "mean", "sum", "other"])
@pytest.mark.parametrize(("name", "arguments"), SOURCES)
def test_reductions(oracle, name, arguments, reduction):
    """With and without examples, twice derived, compiled and not."""
    source = f"L.{name}({arguments}, reduction='{reduction}')"
    for kind in ("random", "empty"):
        expected = derived(oracle.core, apple_nn.losses, source, examples(oracle.core, kind), lambda f: f, True)
        for transform in (lambda f: f, mx.compile):
            result = derived(mx, nn.losses, source, examples(mx, kind), transform, True)
            if expected is ValueError:
                assert result is ValueError
            else:
                oracle.close(result, expected, 2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize(("name", "arguments"), SOURCES)
def test_half_precision(oracle, name, arguments, reduction, dtype):
    source = f"L.{name}({arguments}, reduction='{reduction}')"

    def variables(core):
        found = examples(core, "random")
        return {n: v.astype(getattr(core, dtype)) if n in tuple("xyzpquw") else v for n, v in found.items()}

    wide = {n: v.astype(oracle.core.float32) if n in tuple("xyzpquw") else v for n, v in variables(oracle.core).items()}
    expected, exact = (
        derived(oracle.core, apple_nn.losses, source, v, lambda f: f, False) for v in (variables(oracle.core), wide)
    )
    result = derived(mx, nn.losses, source, variables(mx), lambda f: f, False)
    oracle.close(result, expected, TOLERANCES[dtype], exact)


@pytest.mark.parametrize(("name", "arguments"), SOURCES)
def test_edge_values(oracle, name, arguments):
    """All pairs of extreme values. Derivatives count where MLX has one, of losses that are numbers.

    A small loss that is a difference of large numbers may be off by the rounding of those.
    """
    source = f"L.{name}({arguments}, reduction='none')"
    variables = examples(oracle.core, "edges")
    expected = derived(oracle.core, apple_nn.losses, source, variables, lambda f: f, False)
    double = {n: v.astype(oracle.core.float64) if n in tuple("xyzpquw") else v for n, v in variables.items()}
    exact = np.array(eval(source, {**double, "L": apple_nn.losses}))
    size = np.nanmax([np.abs(np.nan_to_num(np.array(variables[n]), posinf=0, neginf=0)) for n in "xyz"], axis=0)
    rounding = 2 * np.spacing(size if exact.ndim == 2 else size.max(1 if len(exact) == len(size) else 0))
    for transform in (lambda f: f, mx.compile):
        values, gradients = derived(mx, nn.losses, source, examples(mx, "edges"), transform, False)
        ours, theirs = np.array(values), np.array(expected[0])
        with np.errstate(invalid="ignore"):
            right = np.abs(ours - exact) <= rounding
        assert np.all(np.isclose(ours, theirs, rtol=1e-5, atol=1e-6, equal_nan=True) | right)
        lost = np.isnan(np.array(expected[0]))
        lost = lost if lost.ndim == 2 else lost[:, None] if len(lost) == len(EDGES) ** 2 else lost[None]
        known = ~np.isnan(np.array(expected[1])) & ~lost
        np.testing.assert_allclose(np.array(gradients)[known], np.array(expected[1])[known], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "arguments"), SOURCES)
def test_vectorised(oracle, name, arguments):
    variables = examples(mx, "random")
    xs = mx.stack([variables["x"], variables["x"] * 2 - 0.3])

    def loss(mx, losses, variables, x):
        return eval(f"L.{name}({arguments}, reduction='mean')", {**variables, "L": losses, "x": x})

    results = mx.vmap(lambda x: loss(mx, nn.losses, variables, x))(xs)
    theirs = examples(oracle.core, "random")
    expected = [loss(oracle.core, apple_nn.losses, theirs, oracle.give(x)) for x in xs]
    oracle.close([results], [oracle.core.stack(expected)], 1e-5)


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
