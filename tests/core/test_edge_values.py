"""Infinities, NaN, the ends of types, zeros: machine code and references give the same, which is MLX's answer."""

import mlx.core as oracle
import numpy as np
import pytest

import arrax.core as mx

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
FLOATS = ("float16", "bfloat16", "float32", "float64")
NUMBERS = np.array(
    [0, -0.0, 0.5, -0.99, 1.5, -1.5, np.inf, -np.inf, np.nan]
    + [
        sign * (2.0**bits + step)
        for bits in (7, 8, 15, 16, 31, 32, 63, 64, 100)
        for sign in (1, -1)
        for step in (-1, 0, 1)
    ]
)

pytestmark = pytest.mark.usefixtures("path")


def both(values: np.ndarray, dtype: str) -> tuple:
    """The values in a type of each library; those that do not fit overflow before."""
    with np.errstate(all="ignore"):
        if dtype == "bfloat16":
            values = values.astype(np.float32)
            return tuple(m.array(values).astype(m.bfloat16) for m in (mx, oracle))
        values = values.astype(dtype)
    return tuple(m.array(values, dtype=getattr(m, dtype)) for m in (mx, oracle))


def numpy(x) -> np.ndarray:
    library = mx if isinstance(x, mx.array) else oracle
    library.eval(x)
    return np.array(x.astype(library.float32) if x.dtype == library.bfloat16 else x)


@pytest.mark.parametrize("source", FLOATS)
@pytest.mark.parametrize("target", INTEGERS)
def test_floats_become_integers(source, target):
    ours, theirs = both(NUMBERS, source)
    value = numpy(ours).astype(np.float64)
    got, want = (numpy(x.astype(getattr(m, target))) for m, x in ((mx, ours), (oracle, theirs)))
    if target == "uint32":  # MLX's answers beyond are several
        defined = (value > -(2.0**31)) & (value < 2.0**32)
        assert got[~defined].tolist() == [int(v) % 2**32 if abs(v) < 2**63 else 0 for v in value[~defined]]
        got, want = got[defined], want[defined]
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("source", INTEGERS)
@pytest.mark.parametrize("target", (*INTEGERS, "bool_", *FLOATS))
def test_integers_become_other_numbers(source, target):
    limits = np.iinfo(source)
    values = np.array([0, 1, 2, 100, limits.min, limits.max, limits.max - 1, limits.max // 2], source)
    ours, theirs = both(values, source)
    np.testing.assert_array_equal(
        numpy(ours.astype(getattr(mx, target))), numpy(theirs.astype(getattr(oracle, target)))
    )


@pytest.mark.parametrize("dtype", INTEGERS)
def test_division_of_integers(dtype):
    """By zero the quotient is 0 and all remains. The least number by -1 kills MLX."""
    limits = np.iinfo(dtype)
    values = np.array([0, 1, 2, 3, 7, limits.max, limits.max - 1, limits.min, limits.min + 1], dtype)
    values = np.concatenate([values, np.array([-1, -2, -7] if limits.min else [], dtype)])
    x, y = (a.ravel() for a in np.meshgrid(values, values))
    (a, theirs), (b, divisors) = both(x, dtype), both(y, dtype)
    least = limits.min if limits.min else 1
    kills = (x == least) & (y == (-1 if limits.min else 0)) if limits.bits >= 32 else np.zeros(x.shape, bool)
    keep = oracle.array(np.nonzero(~kills)[0])
    for ours, name in ((a // b, "floor_divide"), (a % b, "remainder")):
        np.testing.assert_array_equal(
            numpy(ours)[~kills], numpy(getattr(oracle, name)(theirs[keep], divisors[keep])), err_msg=name
        )
    quotient, rest = mx.divmod(a, b)
    np.testing.assert_array_equal(numpy(quotient), numpy(a // b))
    np.testing.assert_array_equal(numpy(quotient * b + rest), x)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_shifts(dtype):
    """By the width or more they leave nothing but the sign; MLX does so in some of its loops."""
    limits = np.iinfo(dtype)
    values = np.array([1, 3, limits.max, limits.min, limits.max // 3], dtype)
    amounts = np.array([0, 1, limits.bits - 1, limits.bits, limits.bits + 1, limits.max, limits.min], dtype)
    x, n = (a.ravel() for a in np.meshgrid(values, amounts))
    (a, theirs), (b, by) = both(x, dtype), both(n, dtype)
    defined = (n >= 0) & (n < limits.bits)
    for ours, other, far in (
        (a << b, oracle.left_shift(theirs, by), np.zeros_like(x)),
        (a >> b, oracle.right_shift(theirs, by), np.where(x < 0, -1, 0).astype(dtype)),
    ):
        np.testing.assert_array_equal(numpy(ours)[defined], numpy(other)[defined])
        np.testing.assert_array_equal(numpy(ours)[~defined], far[~defined])


@pytest.mark.parametrize("dtype", FLOATS)
def test_remainder_is_exact(dtype):
    """Of any two numbers, with the sign of the divisor."""
    kind = np.float64 if dtype == "float64" else np.float16 if dtype == "float16" else np.float32
    size = 2 if dtype == "bfloat16" else np.dtype(kind).itemsize
    bits = np.random.default_rng(4).integers(0, 1 << 8 * size, (2, 4000), dtype=np.uint64).astype(f"u{size}")
    wide = (bits.astype(np.uint32) << 16).view(np.float32) if dtype == "bfloat16" else bits.view(kind)
    edges = np.array([1, 7, -7, 0.1, 1e4, -1e-4, np.inf, 0, *(() if dtype == "float16" else (1e30, 3e38, 1e-40))], kind)
    pairs = np.concatenate([wide, np.stack([np.repeat(edges, len(edges)), np.tile(edges, len(edges))])], 1)
    (a, _), (b, _) = (both(row, dtype) for row in pairs)
    x, y = numpy(a), numpy(b)
    with np.errstate(all="ignore"):
        want = np.remainder(x.astype(np.float64), y.astype(np.float64)).astype(kind)
    if dtype == "bfloat16":
        want = numpy(mx.array(want).astype(mx.bfloat16))
    np.testing.assert_array_equal(numpy(a % b), want)
    np.testing.assert_array_equal(numpy(mx.divmod(a, b)[1]), want)


@pytest.mark.parametrize("dtype", FLOATS)
def test_floor_divide_is_that_of_mlx(dtype):
    """In half precision the quotient is rounded before it is rounded down."""
    rng = np.random.default_rng(0)
    pairs = rng.normal(size=(2, 2000)) * [[100], [1]]
    (a, theirs), (b, divisors) = (both(row, dtype) for row in pairs)
    np.testing.assert_array_equal(numpy(a // b), numpy(theirs // divisors))
    np.testing.assert_array_equal(numpy(mx.divmod(a, b)[0]), numpy(theirs // divisors))
    np.testing.assert_array_equal(numpy(a % b), numpy(theirs % divisors))


ENDS = (0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, 3.0, 1e-20, 1e20, -1e20, np.inf, -np.inf)


@pytest.mark.parametrize("name", ["power", "multiply", "maximum", "minimum", "arctan2"])
def test_derivatives_of_two_numbers(name):
    """MLX's are NaN in the base of 0 to the power 0, which is constant in it."""
    x, y = (a.ravel() for a in np.meshgrid(np.array(ENDS, np.float32), np.array(ENDS, np.float32)))
    for argument in (0, 1):
        ours, theirs = (
            numpy(m.grad(lambda *v, m=m: getattr(m, name)(*v).sum(), argnums=argument)(m.array(x), m.array(y)))
            for m in (mx, oracle)
        )
        if name == "power" and not argument:
            assert (ours[(x == 0) & (y == 0)] == 0).all()
            theirs[(x == 0) & (y == 0)] = 0
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-37)


@pytest.mark.parametrize("dtype", ("int8", "int32", "int64", "uint8", "float32", "float64"))
def test_fmod_is_that_of_c(dtype):
    if dtype.startswith("float"):
        values = np.array([0, -0.0, 1, -1, 2.5, -7, 1e30, -1e-30, np.inf, -np.inf, np.nan], dtype)
    else:
        limits = np.iinfo(dtype)
        values = np.array([1, 2, 3, 7, 100, limits.max, limits.min or 5, limits.min + 1], dtype)
        values = np.concatenate([values, np.array([-1, -3] if limits.min else [], dtype)])
    x, y = (a.ravel() for a in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        want = np.fmod(x, y)
    found = numpy(mx.fmod(both(x, dtype)[0], both(y, dtype)[0]))
    np.testing.assert_array_equal(found, want)
    np.testing.assert_array_equal(np.signbit(found[want == 0]), np.signbit(want[want == 0]))
