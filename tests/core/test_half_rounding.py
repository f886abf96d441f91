"""Half precision: an operation's result is rounded, whether it is stored, stays in a register, or is compiled."""

import mlx.core as apple
import mlx.nn as apple_nn
import numpy as np
import pytest

import arrax.core as mx
import arrax.nn as nn

HALVES = ("float16", "bfloat16")
SIZES = (2, 8, 64, 513)  # by the references, and by kernels


def numbers(size: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(size) * 2).astype(np.float32)


def as_float(x) -> np.ndarray:
    return np.array(x.astype(apple.float32 if isinstance(x, apple.array) else mx.float32))


def same(ours, theirs) -> None:
    np.testing.assert_array_equal(as_float(ours), as_float(theirs))


@pytest.mark.parametrize("size", SIZES)
def test_overflow_inside_of_a_kernel_is_seen(size):
    u = mx.full((size,), 60000, mx.float16)
    assert not mx.any(mx.isfinite(u * 2)).item()
    assert mx.all(mx.isinf((u * 2) / 4)).item()
    assert mx.all(mx.isinf(mx.full((size,), 0.5, mx.float16) * 70000)).item()


@pytest.mark.parametrize("size", SIZES)
def test_what_is_lost_is_lost(size):
    a = mx.full((size,), 2048, mx.float16)
    assert mx.all((a + 1) - a == 0).item()
    y = mx.zeros((size,), mx.float16)
    for _ in range(2100):
        y = y + 1
    assert mx.all(y == 2048).item()


# Each takes the module and two arrays; MLX rounds after every operation, so the results are the same numbers.
PROGRAMS = {
    "chain": lambda mx, nn, x, y: ((x * 3 + y) / 7 - x) * y,
    "updates": lambda mx, nn, x, y: sum([y * 0.1] * 20, x),
    "scalars": lambda mx, nn, x, y: 1.1 - (x * 0.1 + 0.3) / 0.7,
    "reused": lambda mx, nn, x, y: (x + y) * (x + y) - (x + y),
    "exp": lambda mx, nn, x, y: mx.exp(x) - 1,
    "trigonometry": lambda mx, nn, x, y: mx.sin(x) ** 2 + mx.cos(x) ** 2,
    "where": lambda mx, nn, x, y: mx.where(x * 1.5 > y, x * 1.5, y / 3),
    "compared": lambda mx, nn, x, y: (x * 3 == x + x + x).astype(mx.int32),
    "clip": lambda mx, nn, x, y: mx.clip(x * y, -0.3, 0.7),
    "gelu": lambda mx, nn, x, y: nn.gelu(x),
    "gelu_approx": lambda mx, nn, x, y: nn.gelu_approx(x),
    "leaky_relu": lambda mx, nn, x, y: nn.leaky_relu(x),
    "gradient": lambda mx, nn, x, y: mx.grad(lambda a: (nn.gelu(a) * y).sum())(x),
    "quotient": lambda mx, nn, x, y: mx.grad(lambda a: (a / (mx.abs(y) + 1)).sum())(x),
    "mean square": lambda mx, nn, x, y: nn.losses.mse_loss(x, y, reduction="none"),
    "product": lambda mx, nn, x, y: mx.outer(x[:30], y[:40]) @ mx.ones((min(x.size, y.size, 40), 3), x.dtype) + x[:1],
    "sum": lambda mx, nn, x, y: mx.sum(x) * 0.1,
}


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", PROGRAMS)
def test_values_are_those_of_mlx(name, dtype):
    program = PROGRAMS[name]
    x, y = numbers(64), numbers(64, 1)
    theirs = program(apple, apple_nn, *(apple.array(v).astype(getattr(apple, dtype)) for v in (x, y)))
    a, b = (mx.array(v).astype(getattr(mx, dtype)) for v in (x, y))
    same(program(mx, nn, a, b), theirs)
    same(mx.compile(lambda a, b: program(mx, nn, a, b))(a, b), theirs)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("size", SIZES)
def test_step_by_step_is_the_same(size, dtype):
    """A hundred updates at once, one by one, and compiled."""
    kind = getattr(mx, dtype)
    g = mx.array(numbers(size, 1)).astype(kind)
    start = mx.array(numbers(size)).astype(kind)
    mx.eval(g, start)
    lazily = one_by_one = start
    for _ in range(100):
        lazily = lazily - g * 0.1
    for _ in range(100):
        one_by_one = one_by_one - g * 0.1
        mx.eval(one_by_one)
    step = mx.compile(lambda a: a - g * 0.1)
    compiled = start
    for _ in range(100):
        compiled = step(compiled)
    same(lazily, one_by_one)
    same(lazily, compiled)


@pytest.mark.parametrize("dtype", HALVES)
def test_held_and_recomputed_are_equal(dtype):
    x = mx.array(numbers(100)).astype(getattr(mx, dtype))
    y = x * 3
    mx.eval(y)
    assert mx.all(x * 3 == y).item()


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("size", SIZES)
def test_scalars_are_rounded_to_the_type_that_they_meet(size, dtype):
    kind = getattr(mx, dtype)
    a = mx.full((size,), 0.1, kind)
    assert mx.all(a == 0.1).item()
    assert mx.all(mx.array([0.1] * size, kind) == a).item()
    assert mx.all(mx.isclose(a, mx.array(0.1, kind), rtol=0, atol=0)).item()
    theirs = apple.full((size,), 3.3, getattr(apple, dtype)) * 0.1
    same(mx.full((size,), 3.3, kind) * 0.1, theirs)


@pytest.mark.parametrize("dtype", HALVES)
def test_composites_round_once(dtype):
    """They compute in float32: the result is within half a unit of the exact one, and nothing overflows inside."""
    kind = getattr(mx, dtype)
    x, y, z = (mx.array(numbers(4096, i).reshape(64, 64)).astype(kind) for i in range(3))
    a, b, c = (as_float(v).astype(np.float64) for v in (x, y, z))
    e = np.exp(a - a.max(1, keepdims=True))
    rms = a / np.sqrt((a * a).mean(1, keepdims=True) + 1e-5)
    exact = {
        "addmm": (mx.addmm(z, x, y, alpha=0.3, beta=0.7), 0.3 * (a @ b) + 0.7 * c),
        "softmax": (mx.softmax(x, axis=1), e / e.sum(1, keepdims=True)),
        "logsumexp": (mx.logsumexp(x, axis=1), np.log(e.sum(1)) + a.max(1)),
        "norm": (mx.linalg.norm(x * 100, axis=1), np.sqrt((as_float(x * 100).astype(np.float64) ** 2).sum(1))),
        "norm of order 3": (mx.linalg.norm(x, 3, axis=1), (np.abs(a) ** 3).sum(1) ** (1 / 3)),
        "var": (mx.var(x, axis=0), a.var(0)),
        "rms_norm": (mx.fast.rms_norm(x, y[0], 1e-5), rms * b[0]),
        "sum": (mx.sum(x, axis=0), a.sum(0)),
        "prod": (mx.prod(1 + x / 64, axis=1), as_float(1 + x / 64).astype(np.float64).prod(1)),
        "cumsum": (mx.cumsum(x, axis=0), a.cumsum(0)),
        "matmul": (x @ y, a @ b),
        "cross_entropy": (nn.losses.cross_entropy(x, mx.arange(64)), np.log(e.sum(1)) + a.max(1) - np.diag(a)),
    }
    bits = {"float16": 11, "bfloat16": 8}[dtype]
    for name, (ours, truth) in exact.items():
        unit = 2.0 ** (np.floor(np.log2(np.abs(truth) + 1e-30)) + 1 - bits)
        error = np.abs(as_float(ours) - truth)
        # half a unit, and the float32 rounding of terms as large as the largest
        assert np.all(error <= 0.505 * unit + 4e-6 * np.abs(truth).max()), name


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("size", SIZES)
def test_bits_that_are_only_moved_stay(size, dtype):
    """Signalling NaNs too, through copies, views, selections and concatenations."""
    patterns = [0x7D01, 0xFD01, 0x7C00, 0x3C00, 0x0001, 0x7E00, 0x7F81, 0xFF81, 0x8000]
    bits = np.resize(np.array(patterns, np.uint16), size)
    a = mx.array(bits).view(getattr(mx, dtype))
    even = mx.array(np.arange(size) % 2 == 0)
    moved = {
        "where": (mx.where(even, a, mx.zeros_like(a)), np.where(np.arange(size) % 2 == 0, bits, 0)),
        "concatenate": (mx.concatenate([a, a[:1]]), np.concatenate([bits, bits[:1]])),
        "reverse": (a[::-1], bits[::-1]),
        "take": (a[mx.arange(size - 1, -1, -1)], bits[::-1]),
        "pad": (mx.pad(a, 2), np.pad(bits, 2)),
        "broadcast": (mx.contiguous(mx.broadcast_to(a, (3, size))), np.tile(bits, (3, 1))),
    }
    for name, (ours, expected) in moved.items():
        np.testing.assert_array_equal(np.array(ours.view(mx.uint16)), expected, err_msg=name)


@pytest.mark.parametrize("size", SIZES)
def test_bytes_of_booleans_stay(size):
    """A view is bit exact: 2 and 3 are bytes of a boolean as well, and count as true."""
    raw = (np.arange(size) % 4).astype(np.uint8)
    b = mx.array(raw).view(mx.bool_)
    even = mx.array(np.arange(size) % 2 == 0)
    for ours, expected in (
        (b, raw),
        (b[::-1], raw[::-1]),
        (mx.concatenate([b, b]), np.concatenate([raw, raw])),
        (mx.where(even, b, b[::-1]), np.where(np.arange(size) % 2 == 0, raw, raw[::-1])),
    ):
        np.testing.assert_array_equal(np.array(ours.view(mx.uint8)), expected)
    np.testing.assert_array_equal(np.array(mx.logical_not(b)), raw == 0)
    assert mx.sum(b).item() == np.count_nonzero(raw)


@pytest.mark.parametrize("size", SIZES)
def test_doubles_become_half_precision_by_way_of_float32(size):
    """As in MLX: a number a little above the middle of two halves is that middle in float32, and then even."""
    x = mx.full((size,), 1 + 2.0**-11 + 2.0**-40, mx.float64)
    same(x.astype(mx.float16), apple.array([1.0] * size))
    y = mx.array([1.0, 2.0**-11, 2.0**-40] + [0.0] * size, mx.float16)
    assert mx.sum(y).item() == 1
