"""Building blocks of transformers, against MLX's and against float64."""

import math

import mlx.core as oracle
import numpy as np
import pytest

import arrax.core as mx
from arrax.graph.node import topological

RNG = np.random.default_rng(0)


def of(x):
    library = mx if isinstance(x, mx.array) else oracle
    return np.array(x.astype(library.float32) if x.dtype == library.bfloat16 else x)


def check(call, *arrays, dtype="float32", tolerance=None):
    """The same call in both libraries gives the same."""
    ours, theirs = (call(m, *(m.array(a).astype(getattr(m, dtype)) for a in arrays)) for m in (mx, oracle))
    assert str(ours.dtype).split(".")[-1] == str(theirs.dtype).split(".")[-1]
    assert ours.shape == theirs.shape
    tolerance = tolerance or {"float32": 1e-5, "float16": 4e-3, "bfloat16": 4e-2}[dtype]
    np.testing.assert_allclose(of(ours), of(theirs), rtol=tolerance, atol=tolerance)


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


# --- normalisation ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ("float32", "float16", "bfloat16"))
@pytest.mark.parametrize("shape", ((4,), (2, 5), (3, 4, 33)))
def test_norms(shape, dtype):
    x, w, b = normal(*shape) * 3 + 1, normal(shape[-1]), normal(shape[-1])
    check(lambda m, x: m.fast.rms_norm(x, None, 1e-5), x, dtype=dtype)
    check(lambda m, x, w: m.fast.rms_norm(x, w, 1e-5), x, w, dtype=dtype)
    check(lambda m, x: m.fast.layer_norm(x, None, None, 1e-5), x, dtype=dtype)
    check(lambda m, x, w: m.fast.layer_norm(x, w, None, 1e-5), x, w, dtype=dtype)
    check(lambda m, x, b: m.fast.layer_norm(x, None, b, 1e-5), x, b, dtype=dtype)
    check(lambda m, x, w, b: m.fast.layer_norm(x, w, b, 1e-5), x, w, b, dtype=dtype)


@pytest.mark.parametrize("shape", ((0, 4), (2, 0)))
def test_norms_of_nothing(shape):  # MLX's reductions may never end here
    x, w = mx.zeros(shape), mx.ones(shape[-1])
    for y in (mx.fast.rms_norm(x, w, 1e-5), mx.fast.layer_norm(x, w, w, 1e-5), mx.fast.layer_norm(x, None, None, 1e-5)):
        assert y.shape == shape
        assert y.tolist() == [[]] * shape[0]


def test_norm_types():
    for xd in ("float16", "bfloat16", "float32"):
        for wd in ("float16", "bfloat16", "float32"):
            types = []
            for m in (mx, oracle):
                x, w = m.ones((2, 4), getattr(m, xd)), m.ones(4, getattr(m, wd))
                results = (
                    m.fast.rms_norm(x, w, 1e-5),
                    m.fast.layer_norm(x, w, None, 1e-5),
                    m.fast.layer_norm(x, None, w, 1e-5),
                    m.fast.layer_norm(x, w, m.ones(4), 1e-5),
                )
                types.append([str(r.dtype).split(".")[-1] for r in results])
            assert types[0] == types[1]


def test_half_precision_is_computed_in_float32():
    """Squares of 300 overflow float16; their mean must not."""
    x = mx.full((1, 8), 300.0, mx.float16)
    np.testing.assert_array_equal(of(mx.fast.rms_norm(x, None, 0.0)), 1)


def test_layer_norm_far_from_zero():
    x = normal(4, 64) + 10_000
    exact = x.astype(np.float64)
    exact = (exact - exact.mean(-1, keepdims=True)) / exact.std(-1, keepdims=True)
    np.testing.assert_allclose(of(mx.fast.layer_norm(mx.array(x), None, None, 0.0)), exact, atol=2e-3)


def test_cross_entropy():
    logits, targets = normal(3, 4, 11) * 5, RNG.integers(0, 11, (3, 4))
    ours, theirs = (m.fast.cross_entropy(m.array(logits), m.array(targets)) for m in (mx, oracle))
    assert ours.dtype == mx.float32
    np.testing.assert_allclose(of(ours), of(theirs), rtol=1e-5, atol=1e-5)
    half = mx.array(logits).astype(mx.float16)
    exact = of(half).astype(np.float64)
    exact = np.log(np.exp(exact).sum(-1)) - np.take_along_axis(exact, targets[..., None], -1)[..., 0]
    np.testing.assert_allclose(of(mx.fast.cross_entropy(half, mx.array(targets))), exact, rtol=1e-5, atol=1e-5)
    huge = mx.fast.cross_entropy(mx.array([[1e4, 0.0]]), mx.array([1]))
    assert huge.item() == 1e4


# --- rotary positions -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("traditional", (True, False))
@pytest.mark.parametrize("dtype", ("float32", "float16", "bfloat16"))
def test_rope(traditional, dtype):
    for shape in ((1, 3, 8), (2, 4, 5, 8), (2, 1, 1, 8), (2, 2, 3, 4, 8)):
        x = normal(*shape)
        for dims in (2, 6, 8):
            for scale, offset in ((1.0, 0), (0.5, 7)):
                check(
                    lambda m, x, d=dims, s=scale, o=offset: m.fast.rope(
                        x, d, traditional=traditional, base=10000.0, scale=s, offset=o
                    ),
                    x,
                    dtype=dtype,
                )


def test_rope_with_frequencies():
    x, freqs = normal(2, 3, 4, 8), np.array([1, 3.5, 20, 1000], np.float32)
    for traditional in (True, False):
        check(
            lambda m, x, f, t=traditional: m.fast.rope(x, 8, traditional=t, base=None, scale=1.0, offset=2, freqs=f),
            x,
            freqs,
        )


@pytest.mark.parametrize("offset", (3, [3], [0, 5]))
def test_rope_with_offsets_that_are_arrays(offset):
    for shape in ((2, 4, 8), (2, 3, 4, 8)):
        check(
            lambda m, x: m.fast.rope(x, 8, traditional=False, base=100.0, scale=1.0, offset=m.array(offset)),
            normal(*shape),
        )


def test_rope_keeps_lengths_and_relative_angles():
    x = normal(1, 1, 1, 8)
    row = mx.broadcast_to(mx.array(x), (1, 1, 6, 8))
    for traditional in (True, False):
        y = of(mx.fast.rope(row, 8, traditional=traditional, base=50.0, scale=1.0, offset=0))[0, 0]
        np.testing.assert_allclose((y**2).sum(-1), (x**2).sum(), rtol=1e-5)
        gram = y @ y.T
        np.testing.assert_allclose(np.diag(gram, 2), gram[0, 2], rtol=1e-4)


# --- attention --------------------------------------------------------------------------------------------------------
def attention(m, q, k, v, **kwargs):
    return m.fast.scaled_dot_product_attention(q, k, v, scale=0.35, **kwargs)


@pytest.mark.parametrize("dtype", ("float32", "float16", "bfloat16"))
@pytest.mark.parametrize("kv_heads", (1, 2, 4))
def test_attention(kv_heads, dtype):
    for length, keys in ((5, 5), (3, 7), (1, 6), (6, 3)):
        q, k, v = normal(2, 4, length, 8), normal(2, kv_heads, keys, 8), normal(2, kv_heads, keys, 6)
        check(attention, q, k, v, dtype=dtype)
        check(lambda m, *a: attention(m, *a, mask="causal"), q, k, v, dtype=dtype)
        bias = normal(2, 4, length, keys)
        check(lambda m, q, k, v, b: attention(m, q, k, v, mask=b), q, k, v, bias, dtype=dtype)
        for shape in (
            (length, keys),
            (4, length, keys),
            (1, length, keys),
            (2, 1, length, keys),
            (2, 4, length, keys),
            (keys,),
        ):
            seen = RNG.random(shape) < 0.7
            check(lambda m, q, k, v, s=seen: attention(m, q, k, v, mask=m.array(s)), q, k, v, dtype=dtype)


@pytest.mark.parametrize("kv_heads", (1, 2, 4))
def test_attention_sinks(kv_heads):
    q, k, v, sinks = normal(2, 4, 3, 8), normal(2, kv_heads, 5, 8), normal(2, kv_heads, 5, 8), normal(4)
    for mask in (None, "causal"):
        check(lambda m, q, k, v, s, mask=mask: attention(m, q, k, v, mask=mask, sinks=s), q, k, v, sinks)
    nothing = np.zeros((3, 5), bool)
    check(lambda m, q, k, v, s: attention(m, q, k, v, mask=m.array(nothing), sinks=s), q, k, v, sinks)


def test_attention_where_everything_is_masked():
    q, k, v = normal(1, 1, 2, 4), normal(1, 1, 3, 4), normal(1, 1, 3, 4)
    check(lambda m, q, k, v: attention(m, q, k, v, mask=m.zeros((2, 3), m.bool_)), q, k, v)


def test_attention_with_large_scores():
    q = mx.full((1, 1, 1, 1), 1e4)
    k = mx.array([1.0, -1.0]).reshape(1, 1, 2, 1)
    assert mx.fast.scaled_dot_product_attention(q, k, k, scale=1.0).item() == 1


def test_causal_attention_does_not_look_ahead():
    q, k, v = (normal(1, 2, 6, 4) for _ in range(3))
    full = of(attention(mx, mx.array(q), mx.array(k), mx.array(v), mask="causal"))
    for t in (1, 3):
        part = attention(mx, *(mx.array(a[:, :, :t]) for a in (q, k, v)), mask="causal")
        np.testing.assert_allclose(of(part), full[:, :, :t], rtol=1e-5, atol=1e-6)


def test_mixed_types():
    q, k = normal(1, 2, 3, 4), normal(1, 2, 3, 4)
    ours, theirs = (attention(m, m.array(q).astype(m.float16), m.array(k), m.array(k)) for m in (mx, oracle))
    assert ours.dtype == mx.float32
    np.testing.assert_allclose(of(ours), of(theirs), rtol=1e-3, atol=1e-3)


# --- errors -----------------------------------------------------------------------------------------------------------
def _rope(m, shape=(1, 2, 3, 8), dims=8, **changed):
    arguments = {"traditional": True, "base": 10.0, "scale": 1.0, "offset": 0} | changed
    return m.fast.rope(m.zeros(shape), dims, **arguments)


def _attention(m, q=(1, 4, 3, 8), k=(1, 2, 5, 8), v=(1, 2, 5, 6), dtype="float32", **kwargs):
    return m.fast.scaled_dot_product_attention(*(m.zeros(s, getattr(m, dtype)) for s in (q, k, v)), scale=1.0, **kwargs)


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (ValueError, lambda m: m.fast.rms_norm(m.zeros((2, 4), m.int32), None, 1e-5)),
        (ValueError, lambda m: m.fast.rms_norm(m.zeros((2, 4)), m.ones(3), 1e-5)),
        (ValueError, lambda m: m.fast.rms_norm(m.zeros((2, 4)), m.ones((1, 4)), 1e-5)),
        (ValueError, lambda m: m.fast.rms_norm(m.array(1.0), None, 1e-5)),
        (ValueError, lambda m: m.fast.rms_norm(m.zeros(2, m.complex64), None, 1e-5)),
        (TypeError, lambda m: m.fast.rms_norm([1.0, 2.0], None, 1e-5)),
        (TypeError, lambda m: m.fast.rms_norm(m.zeros(2), None, None)),
        (TypeError, lambda m: m.fast.rms_norm(m.zeros(2), None)),
        (ValueError, lambda m: m.fast.layer_norm(m.zeros((2, 4)), None, m.ones(3), 1e-5)),
        (ValueError, lambda m: m.fast.layer_norm(m.zeros((2, 4)), m.ones(3), None, 1e-5)),
        (ValueError, lambda m: m.fast.layer_norm(m.array(1.0), None, None, 1e-5)),
        (ValueError, lambda m: _rope(m, dims=7)),
        (ValueError, lambda m: _rope(m, dims=0)),
        (ValueError, lambda m: _rope(m, dims=-2)),
        (ValueError, lambda m: _rope(m, dims=10)),
        (ValueError, lambda m: _rope(m, (3, 8))),
        (ValueError, lambda m: _rope(m, base=None)),
        (ValueError, lambda m: _rope(m, freqs=m.ones(4))),
        (ValueError, lambda m: _rope(m, base=None, freqs=m.ones(8))),
        (ValueError, lambda m: _rope(m, offset=1.5)),
        (ValueError, lambda m: _rope(m, offset=m.array(1.5))),
        (ValueError, lambda m: _rope(m, offset=m.array([1, 2]))),
        (ValueError, lambda m: _rope(m, offset=m.array([[1]]))),
        (
            ValueError,
            lambda m: m.fast.rope(m.zeros((1, 2, 4), m.int32), 4, traditional=True, base=1.0, scale=1.0, offset=0),
        ),
        (ValueError, lambda m: _attention(m, q=(4, 3, 8))),
        (ValueError, lambda m: _attention(m, q=(2, 4, 3, 8))),
        (ValueError, lambda m: _attention(m, q=(1, 3, 3, 8))),
        (ValueError, lambda m: _attention(m, k=(1, 2, 5, 4))),
        (ValueError, lambda m: _attention(m, v=(1, 1, 5, 6))),
        (ValueError, lambda m: _attention(m, v=(1, 2, 4, 6))),
        (ValueError, lambda m: _attention(m, dtype="int32")),
        (ValueError, lambda m: _attention(m, mask="diagonal")),
        (TypeError, lambda m: _attention(m, mask=5)),
        (ValueError, lambda m: _attention(m, mask=m.zeros((3, 4)))),
        (ValueError, lambda m: _attention(m, mask=m.zeros((1, 2, 3, 5)))),
        (ValueError, lambda m: _attention(m, mask=m.zeros((1, 1, 1, 3, 5)))),
        (ValueError, lambda m: _attention(m, dtype="float16", mask=m.zeros((3, 5)))),
        (ValueError, lambda m: _attention(m, sinks=m.zeros(3))),
        (ValueError, lambda m: _attention(m, dtype="float16", sinks=m.zeros(4))),
        (ValueError, lambda m: m.fast.cross_entropy(m.zeros((2, 3)), m.zeros((3,), m.int32))),
    ],
)
def test_errors_are_the_oracles(error, call):
    with pytest.raises(error) as caught:
        call(mx)
    assert "\n" not in str(caught.value)
    with pytest.raises(error):
        oracle.eval(call(oracle))


def test_the_causal_mask_is_no_array():
    """It is compared out of coordinates inside the kernel: no leaf but the arguments'."""
    q = mx.array(normal(1, 1, 4, 4))
    result = mx.fast.scaled_dot_product_attention(q, q, q, scale=1 / math.sqrt(4), mask="causal")
    assert [n for n in topological([result._node]) if n.buffer is not None] == [q._node]


_W = normal(8)


@pytest.mark.parametrize(
    "f",
    [
        lambda m, x: m.fast.rms_norm(x, m.array(_W), 1e-5),
        lambda m, x: m.fast.layer_norm(x, m.array(_W), m.array(_W), 1e-5),
        lambda m, x: m.fast.rope(x, 6, traditional=False, base=10.0, scale=1.0, offset=1),
        lambda m, x: m.fast.rope(x, 8, traditional=True, base=10.0, scale=1.0, offset=1),
        lambda m, x: m.fast.scaled_dot_product_attention(x, x[:, :2], m.sin(x[:, :2]), scale=0.5, mask="causal"),
        lambda m, x: m.fast.cross_entropy(x, m.zeros(x.shape[:-1], m.int32)),
    ],
)
def test_gradients(f):
    x = normal(2, 4, 3, 8)

    def loss(m):
        return lambda x: (f(m, x) * m.sin(m.arange(f(m, x).size).reshape(f(m, x).shape))).sum()

    ours, theirs = (of(m.grad(loss(m))(m.array(x))) for m in (mx, oracle))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
