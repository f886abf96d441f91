"""Random numbers: MLX's own numbers for the same key."""

import mlx.core as oracle
import numpy as np
import pytest

import arrax.core as mx
from arrax.core import random
from arrax.runtime.executor import tracing

SEEDS = (0, 1, 77, 2**40 + 3)
SHAPES = ((), (1,), (2,), (7,), (3, 5), (16, 64), (0,), (2, 0, 3))
FLOATS = ("float32", "float16", "bfloat16")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


def of(x):
    """An array of either library as NumPy's; bfloat16 becomes float32."""
    library = mx if isinstance(x, mx.array) else oracle
    return np.array(x.astype(library.float32) if x.dtype == library.bfloat16 else x)


def same(ours, theirs):
    assert str(ours.dtype).split(".")[-1] == str(theirs.dtype).split(".")[-1]
    np.testing.assert_array_equal(of(ours), of(theirs))


def close(ours, theirs, units=8):
    """Equal but for some units in the last place, of the result or of 1; in half precision nearly all are equal."""
    assert str(ours.dtype).split(".")[-1] == str(theirs.dtype).split(".")[-1]
    eps = {"float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7, "complex64": 2.0**-23, "float64": 2.0**-23}
    unit = eps[str(ours.dtype).split(".")[-1]]
    if unit > 2.0**-23:
        assert np.count_nonzero(of(ours) != of(theirs)) <= 0.01 * ours.size
    np.testing.assert_allclose(of(ours), of(theirs), rtol=units * unit, atol=units * unit)


def both(call):
    """What the same expression gives in both libraries."""
    return call(mx), call(oracle)


@pytest.mark.parametrize("seed", SEEDS)
def test_keys(seed):
    same(*both(lambda m: m.random.key(seed)))
    for n in (0, 1, 2, 3, 8):
        same(*both(lambda m, n=n: m.random.split(m.random.key(seed), n)))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("seed", SEEDS)
def test_uniform_is_exact(seed, dtype):
    for shape in SHAPES:
        for low, high in ((0, 1), (0.0, 1.0), (-1, 1), (2.5, 7.25)):
            same(
                *both(
                    lambda m, s=shape, a=low, b=high: m.random.uniform(a, b, s, getattr(m, dtype), m.random.key(seed))
                )
            )


def test_uniform_is_below_one():
    for dtype in (mx.float32, mx.float16, mx.bfloat16):
        x = mx.random.uniform(shape=(200_000,), dtype=dtype, key=mx.random.key(3)).astype(mx.float32)
        assert of(x).max() < 1
        assert of(x).min() >= 0


@pytest.mark.parametrize("dtype", FLOATS)
def test_uniform_numbers_are_below_their_bound(dtype):
    """Where MLX rounds up to it, in percents of the numbers of half precision, they are the next below."""
    for low, high in ((1, 2), (5, 5.5), (-3, -2), (-1.0, 0.0), (0.0, float("inf")), (0.1, 0.7), (2, 1), (1, 1)):
        bounds = [(low, high)]
        if dtype != "float32":
            bounds.append((mx.array(float(low)), mx.array([high] * 2, dtype=mx.float32)))
        for a, b in bounds:
            x = of(mx.random.uniform(a, b, (50_000, 2), getattr(mx, dtype), mx.random.key(1)))
            theirs = of(oracle.random.uniform(low, high, (50_000, 2), getattr(oracle, dtype), oracle.random.key(1)))
            end = of(mx.array(high, dtype=getattr(mx, dtype)))
            if high > low:
                assert x.min() >= of(mx.array(low, dtype=getattr(mx, dtype)))
                assert x.max() < end
                at_end = theirs == end
                np.testing.assert_array_equal(x[~at_end], theirs[~at_end])
                assert (x[at_end] == of(mx.nextafter(mx.array(high, dtype=getattr(mx, dtype)), low))).all()
            else:
                np.testing.assert_array_equal(x, theirs)


@pytest.mark.parametrize("dtype", FLOATS)
def test_truncated_normal_numbers_are_finite_and_within_their_bounds(dtype):
    inf = float("inf")
    for low, high in ((-inf, inf), (0, inf), (-1, inf), (3, inf), (6, inf), (-inf, -1), (-inf, -6), (-2, 2), (-8, 8)):
        x = of(mx.random.truncated_normal(low, high, (50_000,), getattr(mx, dtype), mx.random.key(1)))
        assert np.isfinite(x).all()
        assert low <= x.min() <= x.max() <= high


def test_bounds_that_are_arrays():
    low, high = np.array([[0.0], [10.0]], np.float32), np.array([1, 2, 30], np.int32)
    same(*both(lambda m: m.random.uniform(m.array(low), m.array(high), (2, 3), key=m.random.key(4))))
    same(*both(lambda m: m.random.randint(m.array(low), m.array(high), (4, 2, 3), key=m.random.key(4))))


def test_the_global_sequence_is_the_oracles():
    mx.random.seed(0)
    oracle.random.seed(0)
    for _ in range(3):
        same(*both(lambda m: m.random.uniform(shape=(3,))))
        same(*both(lambda m: m.random.randint(0, 100, (3,))))
        same(*both(lambda m: m.random.permutation(5)))
        same(*both(lambda m: m.random.bernoulli(shape=(4,))))
        same(*both(lambda m: m.random.state[0]))


SHAPED = (
    "uniform(-0.3, 0.7, {shape}, mx.{dtype})",
    "uniform(mx.array(0.1), mx.array(2.0), {shape}, mx.{dtype})",
    "normal({shape}, mx.{dtype})",
    "normal({shape}, mx.{dtype}, 0.3, 1.7)",
    "normal({shape}, mx.{dtype}, scale=mx.array(0.1))",
    "laplace({shape}, mx.{dtype})",
    "laplace({shape}, mx.{dtype}, 0.3, 1.7)",
    "gumbel({shape}, mx.{dtype})",
    "truncated_normal(-0.5, 2.0, {shape}, mx.{dtype})",
    "bernoulli(mx.array(0.37, mx.{dtype}), {shape})",
)
OTHERS = (
    "normal((4, 5), mx.complex64)",
    "normal((4, 5), mx.complex64, 0.5, 2.0)",
    *(f"randint({low}, {high}, (3, 40), mx.{dtype})" for dtype in INTEGERS for low, high in ((0, 100), (0, 2**31 - 1))),
    "bernoulli(mx.array([0.1, 0.5, 0.9]), (50, 3))",
    "bernoulli(shape=(40,))",
    "permutation(100)",
    "permutation(mx.arange(60).reshape(20, 3))",
    "permutation(mx.arange(60).reshape(3, 20), axis=1)",
    "categorical(mx.zeros((1, 100)))",
    "categorical(mx.zeros((100,)))",
    "categorical(mx.zeros((7, 100)))",
    "categorical(mx.zeros((7, 100)), axis=0)",
    "categorical(mx.zeros((1, 100)), num_samples=9)",
    "categorical(mx.zeros((7, 100)), num_samples=9)",
    "categorical(mx.zeros((3, 1, 100)), shape=(5, 3, 1))",
    "multivariate_normal(mx.zeros(2), mx.array([[2.0, 0.5], [0.5, 1.0]]), (6,))",
    "split(mx.random.key(3), 5)",
)
CALLS = [
    *(call.format(shape=shape, dtype=dtype) for call in SHAPED for dtype in FLOATS for shape in ((), (5,), (30, 41))),
    *OTHERS,
]


@pytest.mark.parametrize("call", CALLS)
def test_a_seed_gives_the_numbers_of_mlx(call):
    """Also what follows: as many keys were used."""
    results = []
    for m in (mx, oracle):
        m.random.seed(11)
        results.append([eval(f"mx.random.{call}", {"mx": m}), m.random.uniform(shape=(3,))])
    (ours, then), (theirs, later) = results
    if ours.dtype in (mx.float32, mx.float16, mx.bfloat16, mx.complex64):
        close(ours, theirs, 16)
    else:
        same(ours, theirs)
    same(then, later)


def test_state_holds_one_array_that_can_be_replaced():
    assert isinstance(mx.random.state, list)
    assert len(mx.random.state) == 1
    mx.random.state[0] = mx.random.key(5)
    first = mx.random.uniform(shape=(2,))
    mx.random.state[0] = mx.random.split(mx.random.key(5))[0]  # not evaluated yet
    mx.random.seed(5)
    same(first, oracle.random.uniform(shape=(2,), key=oracle.random.split(oracle.random.key(5))[1]))
    np.testing.assert_array_equal(of(mx.random.uniform(shape=(2,))), of(first))


def test_the_global_key_is_split_at_once():
    """A chain of recorded keys would grow for ever."""
    mx.random.seed(1)
    for _ in range(3):
        mx.random.uniform()
    assert mx.random.state[0]._node.buffer is not None


def test_a_traced_key_is_split_lazily():
    mx.random.seed(9)
    expected = [of(mx.random.uniform(shape=(2,))), of(mx.random.uniform(shape=(2,)))]
    after = of(mx.random.state[0])
    mx.random.state[0] = mx.random.key(9) + mx.array([0, 0], dtype=mx.uint32)  # like an argument of a traced function
    tracing.depth += 1
    try:
        got = [mx.random.uniform(shape=(2,)), mx.random.uniform(shape=(2,))]
        assert mx.random.state[0]._node.buffer is None
    finally:
        tracing.depth -= 1
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(of(a), b)
    np.testing.assert_array_equal(of(mx.random.state[0]), after)


@pytest.mark.parametrize("dtype", (*FLOATS, "float64", "complex64"))
def test_normal(dtype):
    cases = [{}, {"loc": 2}, {"scale": 0.3}, {"loc": 0.7, "scale": 1.5}]
    for seed in SEEDS:
        for shape in SHAPES:
            for case in cases:
                close(
                    *both(
                        lambda m, s=shape, c=case, k=seed: m.random.normal(
                            s, getattr(m, dtype), key=m.random.key(k), **c
                        )
                    )
                )


def test_normal_with_arrays():
    loc, scale = np.array([1.0, 2, 3], np.float32), np.array(0.5, np.float16)
    close(*both(lambda m: m.random.normal((2, 3), loc=m.array(loc), scale=m.array(scale), key=m.random.key(1))))
    close(*both(lambda m: m.random.normal(loc=m.array(loc), key=m.random.key(1))))


def test_normal_moments():
    x = of(mx.random.normal((200_000,), key=mx.random.key(0)))
    assert abs(x.mean()) < 0.01
    assert abs(x.std() - 1) < 0.01


@pytest.mark.parametrize("dtype", (*INTEGERS, "bool_"))
def test_randint_is_exact(dtype):
    bounds = [(0, 10), (0, 2), (0.5, 5.5), (5, 5), (7, 3), (1, 2), (0, 120)]
    if not dtype.startswith("u"):  # a negative float has no meaning as an unsigned integer
        bounds += [(-5, 7), (-3.7, 4.2)]
    for seed in SEEDS:
        for low, high in bounds:
            same(
                *both(
                    lambda m, a=low, b=high, k=seed: m.random.randint(a, b, (301,), getattr(m, dtype), m.random.key(k))
                )
            )


def test_bernoulli_is_exact():
    p = np.array([0.1, 0.9, 0.0, 1.0], np.float32)
    for seed in SEEDS:
        for q in (0.5, 0.1, 0.0, 1.0):
            same(*both(lambda m, q=q, k=seed: m.random.bernoulli(q, (501,), m.random.key(k))))
        same(*both(lambda m, k=seed: m.random.bernoulli(m.array(p), key=m.random.key(k))))
        same(*both(lambda m, k=seed: m.random.bernoulli(m.array(p).astype(m.float16), (3, 4), m.random.key(k))))


def test_truncated_normal():
    for dtype in FLOATS:
        for low, high in ((-1, 2), (0, 0.5), (1, -1), (-3.0, 3.0)):
            close(
                *both(
                    lambda m, a=low, b=high, d=dtype: m.random.truncated_normal(
                        a, b, (301,), getattr(m, d), m.random.key(2)
                    )
                ),
                units=16,
            )
    low = np.array([[0.0], [1.0]], np.float32)
    close(*both(lambda m: m.random.truncated_normal(m.array(low), m.array([2.0, 3.0]), key=m.random.key(2))))


@pytest.mark.parametrize("dtype", FLOATS)
def test_gumbel_and_laplace(dtype):
    for seed in SEEDS:
        close(*both(lambda m, k=seed: m.random.gumbel((301,), getattr(m, dtype), m.random.key(k))))
        close(*both(lambda m, k=seed: m.random.laplace((301,), getattr(m, dtype), 0.7, 1.5, m.random.key(k))))
        close(*both(lambda m, k=seed: m.random.laplace((301,), getattr(m, dtype), key=m.random.key(k))))


def test_categorical():
    logits = np.random.default_rng(0).normal(size=(6, 9)).astype(np.float32)
    for kwargs in (
        {},
        {"axis": 0},
        {"axis": -2},
        {"num_samples": 4},
        {"num_samples": 4, "axis": 0},
        {"shape": (3, 6)},
        {"shape": (3, 9), "axis": 0},
        {"shape": (2, 3, 9), "axis": -2},
    ):
        for dtype in ("float32", "float16", "int32"):
            for seed in SEEDS:
                same(
                    *both(
                        lambda m, a=kwargs, d=dtype, k=seed: m.random.categorical(
                            m.array(logits).astype(getattr(m, d)), key=m.random.key(k), **a
                        )
                    )
                )
    same(*both(lambda m: m.random.categorical(m.array(logits[0]), key=m.random.key(1))))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64", "int32"])
def test_categorical_from_one_distribution(dtype):
    """MLX draws these by the inverse of the cumulative distribution, but a single number from a vector."""
    values = np.random.default_rng(0).integers(-4, 5, 50)
    for shape, axis in (((50,), 0), ((1, 50), -1), ((50, 1), 0), ((1, 1, 50), 2), ((1, 50, 1), 1)):
        one = (1,) * (len(shape) - 1)
        for kwargs in (
            {},
            {"num_samples": 1},
            {"num_samples": 5},
            {"shape": one},
            {"shape": (4, *one)},
            {"shape": (2, 3, *one)},
        ):
            for seed in SEEDS[:2]:
                same(
                    *both(
                        lambda m, s=shape, a=axis, kw=kwargs, k=seed: m.random.categorical(
                            m.array(values).astype(getattr(m, dtype)).reshape(s), a, key=m.random.key(k), **kw
                        )
                    )
                )


def test_categorical_of_a_vocabulary():
    mx.random.seed(7)
    assert mx.random.categorical(mx.zeros((1, 8192))).tolist() == [588]
    inf = float("inf")
    for row in ([1.0, inf, 2.0], [inf, 1.0, inf, 2.0], [-inf] * 5, [1.0, 2.0, -inf, 3.0, -inf], [-inf, 0.0, -inf]):
        same(*both(lambda m, r=row: m.random.categorical(m.array([r]), num_samples=50, key=m.random.key(5))))


def test_categorical_of_no_samples():
    """As many as asked for are drawn from one distribution, also none; of several that hold nothing none, as in MLX."""
    for kwargs in ({"num_samples": 0}, {"shape": (0,)}):
        same(*both(lambda m, k=kwargs: m.random.categorical(m.zeros((20,)), key=m.random.key(1), **k)))
    for shape, kwargs in (((3, 20), {"num_samples": 0}), ((0, 20), {}), ((3, 0), {})):
        for m in (mx, oracle):
            with pytest.raises(ValueError):
                m.eval(m.random.categorical(m.zeros(shape), **kwargs))


def test_categorical_never_draws_what_has_no_weight():
    """Also where the number that is drawn rounds to the sum of all weights."""
    logits = mx.array([[0.0, -float("inf")] * 50 + [-float("inf")] * 50])
    drawn = of(mx.random.categorical(logits, num_samples=20_000, key=mx.random.key(0)))
    assert (drawn % 2 == 0).all()
    assert drawn.max() == 98


def test_permutation():
    x = np.arange(33).reshape(11, 3)
    for seed in SEEDS:
        for n in (0, 1, 2, 7, 1000):
            same(*both(lambda m, n=n, k=seed: m.random.permutation(n, key=m.random.key(k))))
        for axis in (0, 1, -1):
            same(*both(lambda m, a=axis, k=seed: m.random.permutation(m.array(x), a, m.random.key(k))))


def test_multivariate_normal():
    factor = np.random.default_rng(1).normal(size=(2, 3, 3)).astype(np.float32)
    cov, mean = factor @ factor.transpose(0, 2, 1), np.array([1, 2, 3], np.float32)
    for shape in ((), (2,), (5, 2)):
        ours, theirs = both(
            lambda m, s=shape: m.random.multivariate_normal(m.array(mean), m.array(cov), s, key=m.random.key(6))
        )
        np.testing.assert_allclose(of(ours), of(theirs), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (TypeError, lambda m: m.random.key(-1)),
        (TypeError, lambda m: m.random.key(2**64)),
        (TypeError, lambda m: m.random.seed(1.5)),
        (ValueError, lambda m: m.random.split(m.random.key(0), -1)),
        (ValueError, lambda m: m.random.split(m.array([1, 2]))),
        (ValueError, lambda m: m.random.split(m.zeros((3, 2), m.uint32))),
        (TypeError, lambda m: m.random.uniform(key=5)),
        (TypeError, lambda m: m.random.uniform(shape=3)),
        (ValueError, lambda m: m.random.uniform(shape=(-1,))),
        (ValueError, lambda m: m.random.uniform(dtype=m.int32)),
        (ValueError, lambda m: m.random.uniform("a")),
        (ValueError, lambda m: m.random.uniform(m.zeros(4), shape=(3,))),
        (ValueError, lambda m: m.random.uniform(m.zeros(4))),
        (ValueError, lambda m: m.random.normal((2,), m.int32)),
        (ValueError, lambda m: m.random.normal((3,), loc=m.zeros(4))),
        (ValueError, lambda m: m.random.randint(0, 5, (3,), m.float32)),
        (ValueError, lambda m: m.random.randint(m.array([0, 10]), 20)),
        (ValueError, lambda m: m.random.bernoulli(1)),
        (ValueError, lambda m: m.random.bernoulli(m.array([0.1, 0.9]), (3,))),
        (ValueError, lambda m: m.random.truncated_normal(0, 1, (2,), m.int32)),
        (ValueError, lambda m: m.random.truncated_normal(m.array([0.0, 1.0]), 2, (3,))),
        (ValueError, lambda m: m.random.gumbel((2,), m.int32)),
        (ValueError, lambda m: m.random.laplace((2,), m.complex64)),
        (ValueError, lambda m: m.random.categorical(m.zeros(3), num_samples=2, shape=(2,))),
        (IndexError, lambda m: m.random.categorical(m.zeros(3), axis=1)),
        (ValueError, lambda m: m.random.categorical(m.zeros((2, 3)), shape=(3,))),
        (ValueError, lambda m: m.random.categorical(m.zeros((2, 0)))),
        (TypeError, lambda m: m.random.categorical([1, 2])),
        (ValueError, lambda m: m.random.permutation(-1)),
        (TypeError, lambda m: m.random.permutation(2.5)),
        (IndexError, lambda m: m.random.permutation(m.zeros((2, 3)), 2)),
        (ValueError, lambda m: m.random.multivariate_normal(m.zeros(2), m.eye(3))),
        (ValueError, lambda m: m.random.multivariate_normal(m.array(2.0), m.eye(3))),
        (ValueError, lambda m: m.random.multivariate_normal(m.zeros(2), m.eye(2), dtype=m.float16)),
    ],
)
def test_errors_are_the_oracles(error, call):
    with pytest.raises(error) as caught:
        call(mx)
    assert str(caught.value).startswith("[")
    assert "\n" not in str(caught.value)
    with pytest.raises(error):
        oracle.eval(call(oracle))


def test_signatures():
    x = mx.random.uniform(0, 1, (2,), mx.float32, mx.random.key(0), None)
    assert x.shape == (2,)
    for name in (
        "split",
        "uniform",
        "normal",
        "randint",
        "bernoulli",
        "gumbel",
        "categorical",
        "laplace",
        "permutation",
    ):
        assert "stream" in getattr(random, name).__annotations__


@pytest.mark.parametrize(
    "draw",
    [
        lambda m, k: m.random.uniform(shape=(3, 40), key=k),
        lambda m, k: m.random.randint(0, 9, (70,), key=k),
        lambda m, k: m.random.permutation(9, key=k),
        lambda m, k: m.random.categorical(m.zeros((3, 4)), num_samples=7, key=k),
        lambda m, k: m.random.split(k, 3),
    ],
)
def test_keys_can_be_mapped_over(draw):
    mapped = mx.vmap(lambda k: draw(mx, k))(mx.random.split(mx.random.key(0), 5))
    same(mapped, oracle.stack([draw(oracle, k) for k in oracle.random.split(oracle.random.key(0), 5)]))


def test_compiled_functions_carry_the_state():
    def noisy(x):
        return x + mx.random.uniform(shape=(100,))

    compiled = mx.compile(noisy, inputs=mx.random.state, outputs=mx.random.state)
    results = []
    for f in (noisy, compiled):
        mx.random.seed(4)
        results.append([of(f(mx.zeros(100))) for _ in range(3)] + [of(mx.random.state[0])])
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(results[1][0], results[1][1])


def test_gradients_flow_through_the_parameters_of_a_sample():
    def sample(scale):
        return mx.random.normal((500,), loc=1.0, scale=scale, key=mx.random.key(0)).sum()

    z = mx.random.normal((500,), key=mx.random.key(0)).sum().item()
    assert mx.grad(sample)(mx.array(2.0)).item() == pytest.approx(z, rel=1e-4)
