"""Quantized matrices, against MLX's: the packed words to the bit."""

import ml_dtypes
import mlx.core as oracle
import numpy as np
import pytest

import arrax.core as mx
from arrax.runtime import executor

oracle.set_default_device(oracle.cpu)
RNG = np.random.default_rng(0)
WEIGHTS = (RNG.normal(size=(6, 256)) * np.array([1e-9, 1e-3, 1, 100, 1, 1])[:, None]).astype(np.float32)
WEIGHTS[3, :128] = 0
WEIGHTS[4] = np.abs(WEIGHTS[4])
WEIGHTS[5, :64] = -1
FLOATS = ("mxfp4", "mxfp8", "nvfp4")
AFFINE = [(size, bits) for bits in (1, 2, 3, 4, 5, 6, 8) for size in (32, 64, 128)]


def numpy(module, x):
    return np.array(x.astype(module.float32) if x.dtype == module.bfloat16 else x)


def same(ours, theirs, tolerance=0):
    assert str(ours.dtype).split(".")[-1] == str(theirs.dtype).split(".")[-1]
    assert ours.shape == theirs.shape
    x, y = numpy(mx, ours), numpy(oracle, theirs)
    np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance * np.max(np.abs(y), initial=0))


def both(call, *arrays, tolerance=0):
    results = [call(m, *(m.array(a) for a in arrays)) for m in (mx, oracle)]
    pairs = zip(*results, strict=True) if isinstance(results[0], tuple | list) else [results]
    for ours, theirs in pairs:
        same(ours, theirs, tolerance)


@pytest.mark.parametrize("dtype", ("float32", "float16", "bfloat16"))
def test_affine(dtype):
    w = np.where(np.abs(WEIGHTS) < 1e-6, 0, WEIGHTS) if dtype == "float16" else WEIGHTS
    for size, bits in AFFINE:
        both(lambda m, w, s=size, b=bits: m.quantize(w.astype(getattr(m, dtype)), s, b), w)


@pytest.mark.parametrize("mode", FLOATS)
def test_small_floats(mode):
    both(lambda m, w: m.quantize(w, mode=mode), WEIGHTS)
    both(lambda m, w: m.quantize(w.astype(m.bfloat16), mode=mode), WEIGHTS)
    both(lambda m, w: m.quantize(w.reshape(2, 3, 256), mode=mode), WEIGHTS)
    for dtype in (None, "float32", "float16"):
        both(
            lambda m, w, t=dtype: m.dequantize(*m.quantize(w, mode=mode), mode=mode, dtype=t and getattr(m, t)), WEIGHTS
        )


def test_global_scale():
    for scale in (3.0, 100.0):
        both(lambda m, w, s=scale: m.quantize(w, mode="nvfp4", global_scale=m.array(s)), WEIGHTS)
        both(
            lambda m, w, s=scale: m.dequantize(
                *m.quantize(w, mode="nvfp4", global_scale=m.array(s)), mode="nvfp4", global_scale=m.array(s)
            ),
            WEIGHTS,
            tolerance=1e-6,
        )


@pytest.mark.parametrize("dtype", ("float32", "float16", "bfloat16"))
def test_dequantize(dtype):
    # MLX rounds products in half precision, we do not
    tolerance = {"float32": 1e-6, "float16": 2e-3, "bfloat16": 2e-2}[dtype]
    for size, bits in AFFINE:
        both(
            lambda m, w, s=size, b=bits: m.dequantize(*m.quantize(w.astype(getattr(m, dtype)), s, b), s, b),
            WEIGHTS[1:],
            tolerance=tolerance,
        )


def test_unpacking_is_exact():
    for bits in (1, 2, 3, 4, 5, 6, 8):
        codes = RNG.integers(0, 1 << bits, (3, 128))
        flat = ((codes[..., None] >> np.arange(bits)) & 1).reshape(3, -1)
        words = np.packbits(flat.astype(np.uint8), axis=-1, bitorder="little").view(np.uint32)
        one, zero = mx.ones((3, 2)), mx.zeros((3, 2))
        assert mx.dequantize(mx.array(words), one, zero, 64, bits).tolist() == codes.tolist()


@pytest.mark.parametrize("bits", (3, 4, 6, 8))
@pytest.mark.parametrize("transpose", (True, False))
def test_quantized_matmul(bits, transpose):
    k = 256 if transpose else 6
    for shape in ((k,), (3, k), (1, k), (2, 3, k)):
        x = RNG.normal(size=shape).astype(np.float32)
        both(
            lambda m, x, w: m.quantized_matmul(x, *m.quantize(w, 32, bits), transpose, 32, bits),
            x,
            WEIGHTS,
            tolerance=1e-5,
        )


@pytest.mark.parametrize("mode", FLOATS)
def test_quantized_matmul_of_small_floats(mode):
    x = RNG.normal(size=(4, 256)).astype(np.float32)
    both(lambda m, x, w: m.quantized_matmul(x, *m.quantize(w, mode=mode), mode=mode), x, WEIGHTS, tolerance=1e-5)
    both(
        lambda m, x, w: m.quantized_matmul(x.astype(m.bfloat16), *m.quantize(w, mode=mode), mode=mode),
        x,
        WEIGHTS,
        tolerance=2e-2,
    )


def test_types_of_products():
    x = RNG.normal(size=(2, 256)).astype(np.float32)
    for left, right in (("float16", "float32"), ("float32", "float16"), ("float16", "float16"), ("int32", "float32")):
        both(
            lambda m, x, w, s=left, t=right: m.quantized_matmul(
                x.astype(getattr(m, s)), *m.quantize(w.astype(getattr(m, t)))
            ),
            x,
            WEIGHTS[1:],
            tolerance=1e-2,
        )


def test_batches_of_matrices():
    w = RNG.normal(size=(2, 4, 64)).astype(np.float32)
    for shape in ((2, 3, 64), (5, 1, 3, 64)):
        x = RNG.normal(size=shape).astype(np.float32)
        both(lambda m, x, w: m.quantized_matmul(x, *m.quantize(w)), x, w, tolerance=1e-5)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (None, [1, 4]),
        ([0, 1, 1], [0, 4, 1]),
        (None, [[0], [4], [2]]),
        ([[1], [0]], [3, 2, 0]),
        ([1], None),
    ],
)
def test_gather_qmm(left, right):
    x, w = (RNG.normal(size=s).astype(np.float32) for s in ((2, 3, 64), (5, 4, 64)))

    def call(m, x, w):
        chosen = [None if i is None else m.array(i) for i in (left, right)]
        return m.gather_qmm(x, *m.quantize(w), lhs_indices=chosen[0], rhs_indices=chosen[1])

    both(call, x, w, tolerance=1e-5)


def test_derivatives():
    x = RNG.normal(size=(3, 64)).astype(np.float32)
    w = RNG.normal(size=(4, 64)).astype(np.float32)

    def call(m, x, w):
        q, s, b = m.quantize(w, 32, 4)
        return m.grad(lambda x, s, b: (m.quantized_matmul(x, q, s, b, group_size=32) ** 2).sum(), (0, 1, 2))(x, s, b)

    both(call, x, w, tolerance=1e-5)

    def dequantized(m, w):
        q, s, b = m.quantize(w, 32, 3)
        return m.grad(lambda s, b: (m.dequantize(q, s, b, 32, 3) ** 2).sum(), (0, 1))(s, b)

    both(dequantized, w, tolerance=1e-5)


def test_vmap():
    x = mx.array(RNG.normal(size=(5, 3, 64)).astype(np.float32))
    q = mx.quantize(mx.array(RNG.normal(size=(5, 4, 64)).astype(np.float32)), 32, 3)
    batched = mx.vmap(lambda x, w, s, b: mx.quantized_matmul(x, w, s, b, group_size=32, bits=3))(x, *q)
    each = [mx.quantized_matmul(x[i], *(a[i] for a in q), group_size=32, bits=3) for i in range(5)]
    np.testing.assert_allclose(np.array(batched), np.array(mx.stack(each)), rtol=1e-5, atol=1e-5)


def test_fp8():
    every = np.arange(65536, dtype=np.uint16).view(np.float16)
    both(lambda m, x: m.to_fp8(x.astype(m.float32)), every)
    both(lambda m, x: m.to_fp8(x), np.array([1e9, -1e9, 448, 2**-10, 1.001 * 2**-10, np.inf], np.float32))
    codes = np.arange(256, dtype=np.uint8)
    for dtype in ("float32", "bfloat16", "float16"):
        both(lambda m, x, t=dtype: m.from_fp8(x, getattr(m, t)), codes)
    found = np.array(mx.from_fp8(mx.array(codes), mx.float32))
    np.testing.assert_array_equal(found, codes.view(ml_dtypes.float8_e4m3fn).astype(np.float32))


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (ValueError, lambda m, w: m.quantize(w, 128)),
        (ValueError, lambda m, w: m.quantize(w, 16)),
        (ValueError, lambda m, w: m.quantize(w, 64, 7)),
        (ValueError, lambda m, w: m.quantize(w[0])),
        (ValueError, lambda m, w: m.quantize(w.astype(m.int32))),
        (ValueError, lambda m, w: m.quantize(w, mode="other")),
        (ValueError, lambda m, w: m.quantize(w, 64, mode="mxfp4")),
        (ValueError, lambda m, w: m.quantize(w, global_scale=m.array(3.0))),
        (TypeError, lambda m, w: m.quantize(1.0)),
        (ValueError, lambda m, w: m.dequantize(*m.quantize(w)[:2])),
        (ValueError, lambda m, w: m.dequantize(m.quantize(w)[0], *[x.astype(m.int32) for x in m.quantize(w)[1:]])),
        (ValueError, lambda m, w: m.dequantize(*m.quantize(w), group_size=32)),
        (ValueError, lambda m, w: m.dequantize(*m.quantize(w), bits=8)),
        (ValueError, lambda m, w: m.dequantize(*m.quantize(w), dtype=m.int32)),
        (ValueError, lambda m, w: m.dequantize(w, w, w)),
        (ValueError, lambda m, w: m.quantized_matmul(w[:, :60], *m.quantize(w))),
        (ValueError, lambda m, w: m.quantized_matmul(w, *m.quantize(w), transpose=False)),
        (ValueError, lambda m, w: m.quantized_matmul(w, *m.quantize(w)[:2])),
        (TypeError, lambda m, w: m.quantized_matmul(1.0, w, w)),
        (ValueError, lambda m, w: m.to_fp8(m.array([1]))),
        (ValueError, lambda m, w: m.from_fp8(w)),
        (ValueError, lambda m, w: m.from_fp8(m.to_fp8(w), m.int32)),
    ],
)
def test_errors_are_the_oracles(error, call):
    w = np.ones((4, 64), np.float32)
    with pytest.raises(error) as caught:
        call(mx, mx.array(w))
    assert str(caught.value).startswith("[") and "\n" not in str(caught.value)
    with pytest.raises(error):
        oracle.eval(call(oracle, oracle.array(w)))


@pytest.mark.parametrize("dtype", ("float32", "bfloat16"))
@pytest.mark.parametrize(
    ("mode", "bits", "group"),
    [
        *(("affine", b, g) for b in (2, 4, 8) for g in (32, 64, 128)),
        ("mxfp4", 4, 32),
        ("mxfp8", 8, 32),
        ("nvfp4", 4, 16),
    ],
)
def test_a_single_row(monkeypatch, mode, bits, group, dtype):
    monkeypatch.setattr(executor, "SMALL", 0)
    rng = np.random.default_rng(0)
    w = mx.array(rng.normal(size=(40, 256)).astype(np.float32)).astype(getattr(mx, dtype))
    x = mx.array(rng.normal(size=(1, 1, 256)).astype(np.float32)).astype(getattr(mx, dtype))
    q = mx.quantize(w, group, bits, mode)
    y = mx.quantized_matmul(x, *q, group_size=group, bits=bits, mode=mode)
    assert y.shape == (1, 1, 40)
    assert y.dtype == x.dtype
    exact = np.array(mx.dequantize(*q, group_size=group, bits=bits, mode=mode, dtype=mx.float32), np.float64)
    expected = np.array(x.astype(mx.float32), np.float64) @ exact.T
    tolerance = 1e-5 if dtype == "float32" else 1e-2
    np.testing.assert_allclose(np.array(y.astype(mx.float32)), expected, rtol=tolerance, atol=20 * tolerance)
