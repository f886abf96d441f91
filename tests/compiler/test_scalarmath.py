"""The scalar functions, evaluated with NumPy operation by operation, against float64, mpmath and Python integers."""

from __future__ import annotations

import math
from collections.abc import Callable

import mpmath
import numpy as np
import pytest
import scipy.special

from arrax.compiler.kernel import ARITY, Value, expressions
from arrax.compiler.scalarmath import EXPANSIONS
from arrax.graph import dtypes
from arrax.graph.dtypes import Dtype

# --- an evaluator of kernel-IR values ---------------------------------------------------------------------------------


def _fma(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    if a.dtype == np.float32:  # the product is exact in float64
        return (a.astype(np.float64) * b + c).astype(np.float32)
    # Dekker's exact product, then the exact sum; outside its range extended precision has to do.
    split = 134217729.0

    def halves(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        high = split * x
        high = high - (high - x)
        return high, x - high

    (a1, a2), (b1, b2) = halves(a), halves(b)
    p = a * b
    p_low = a2 * b2 - (((p - a1 * b1) - a2 * b1) - a1 * b2)
    s = p + c
    v = s - p
    exact = s + (((p - (s - v)) + (c - v)) + p_low)
    wide = (a.astype(np.longdouble) * b + c).astype(np.float64)
    size = np.maximum(np.maximum(abs(p), abs(c)), np.maximum(abs(a), abs(b)))
    return np.where((size < 1e290) & (abs(p) > 1e-270), exact, wide)


def _cast(a: np.ndarray, dtype: Dtype) -> np.ndarray:
    assert not (a.dtype.kind == "f" and dtype.is_integer), "no expansion needs it"
    return a.astype(dtype.np)


def _shift(name: str) -> Callable:
    def shift(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        width = 8 * a.dtype.itemsize
        assert np.all((b >= 0) & (b < width))
        return np.left_shift(a, b) if name == "shl" else np.right_shift(a, b)

    return shift


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype.kind == "f":
        return a / b
    safe = np.where(b == 0, 1, b).astype(b.dtype)
    return np.where(b == 0, 0, (a - np.fmod(a, safe)) // safe).astype(a.dtype)


def _rem(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    assert a.dtype.kind in "iu", "fmod needs a libm"
    return np.where(b == 0, 0, np.fmod(a, np.where(b == 0, 1, b))).astype(a.dtype)


OPERATIONS: dict[str, Callable] = {
    "neg": np.negative, "abs": np.abs, "floor": np.floor, "ceil": np.ceil, "rint": np.rint, "trunc": np.trunc,
    "sqrt": np.sqrt, "not": np.invert, "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": _divide,
    "rem": _rem, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "shl": _shift("shl"),
    "shr": _shift("shr"), "copysign": np.copysign, "eq": np.equal, "ne": np.not_equal, "lt": np.less,
    "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "fma": _fma, "select": np.where,
    "min": lambda a, b: np.where(a < b, a, b), "max": lambda a, b: np.where(a > b, a, b),
}  # fmt: skip


def evaluate(name: str, *arrays: np.ndarray) -> np.ndarray:
    """The expansion of the function, applied to arrays of one dtype."""
    values = [Value("arg", (), dtypes.from_numpy(a.dtype), i) for i, a in enumerate(arrays)]
    root = EXPANSIONS[name](*values)
    results: dict[int, np.ndarray] = {}
    with np.errstate(all="ignore"):
        for value in expressions([root], set()):
            args = [results[id(a)] for a in value.args]
            if value.op == "arg":
                result = arrays[value.attr]
            elif value.op == "const":
                result = np.asarray(value.attr, value.dtype.np)
            elif value.op == "cast":
                result = _cast(args[0], value.dtype)
            elif value.op == "bitcast":
                result = args[0].view(value.dtype.np)
            else:
                assert len(args) == ARITY[value.op]
                operands = args[1:] if value.op == "select" else args
                assert len({a.dtype for a in operands}) == 1, (value.op, [a.dtype for a in operands])
                result = OPERATIONS[value.op](*args)
            assert result.dtype == value.dtype.np, (value.op, result.dtype, value.dtype)
            results[id(value)] = result
    return np.broadcast_to(results[id(root)], arrays[0].shape)


# --- functions of one float -------------------------------------------------------------------------------------------


def _sigmoid(x: np.ndarray) -> np.ndarray:
    z = np.exp(-np.abs(x))
    return np.where(x < 0, z, 1) / (1 + z)


def _erf(x: np.ndarray) -> np.ndarray:
    return np.vectorize(math.erf, otypes=[np.float64])(x)


def _erfc(x: np.ndarray) -> np.ndarray:
    return np.vectorize(math.erfc, otypes=[np.float64])(x)


def _erfinv(x: np.ndarray) -> np.ndarray:
    return np.where(x == 0, x, scipy.special.erfinv(x))  # which loses the sign of zero


# name: reference in NumPy, in mpmath, error bounds in units in the last place for float32 and float64, float64's range
UNARY: dict[str, tuple[Callable, Callable, float, float, float]] = {
    "exp": (np.exp, mpmath.exp, 0.9, 0.9, 720),
    "exp2": (np.exp2, lambda x: mpmath.mpf(2) ** x, 0.9, 0.9, 1030),
    "expm1": (np.expm1, mpmath.expm1, 1.5, 1.8, 720),
    "log": (np.log, mpmath.log, 1.3, 0.8, 10),
    "log1p": (np.log1p, mpmath.log1p, 2.0, 1.3, 10),
    "log2": (np.log2, lambda x: mpmath.log(x, 2), 2.0, 0.8, 10),
    "log10": (np.log10, mpmath.log10, 1.8, 1.2, 10),
    "sin": (np.sin, mpmath.sin, 1.6, 1.4, 1e13),
    "cos": (np.cos, mpmath.cos, 1.6, 1.4, 1e13),
    "tan": (np.tan, mpmath.tan, 3.0, 2.5, 1e13),
    "sinh": (np.sinh, mpmath.sinh, 1.7, 1.5, 720),
    "cosh": (np.cosh, mpmath.cosh, 1.5, 1.2, 720),
    "tanh": (np.tanh, mpmath.tanh, 2.5, 2.0, 30),
    "arcsin": (np.arcsin, mpmath.asin, 2.4, 1.8, 1),
    "arccos": (np.arccos, mpmath.acos, 1.2, 1.2, 1),
    "arctan": (np.arctan, mpmath.atan, 1.5, 1.4, 10),
    "arcsinh": (np.arcsinh, mpmath.asinh, 3.0, 2.0, 10),
    "arccosh": (np.arccosh, mpmath.acosh, 3.0, 2.0, 10),
    "arctanh": (np.arctanh, mpmath.atanh, 3.0, 2.0, 1),
    "erf": (_erf, mpmath.erf, 2.1, 1.2, 7),
    "erfc": (_erfc, mpmath.erfc, 4.0, 3.0, 26.4),
    "cbrt": (np.cbrt, lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)), 1.0, 1.0, 10),
    "erfinv": (_erfinv, mpmath.erfinv, 3.1, 3.2, 1),
    "sigmoid": (_sigmoid, lambda x: 1 / (1 + mpmath.exp(-x)), 2.4, 2.3, 740),
    "rsqrt": (lambda x: 1 / np.sqrt(x), lambda x: 1 / mpmath.sqrt(x), 1.5, 1.5, 10),
}
REDUCED = 1e13  # the reach of the trigonometric functions


def _ulps32(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """|got - want| in units in the last place; inf where one of them is NaN or has another sign of zero or infinity."""
    with np.errstate(all="ignore"):
        rounded = want.astype(np.float32)
        _, exponent = np.frexp(want)
        unit = np.ldexp(1.0, np.clip(exponent - 24, -149, 104))
        error = np.abs(got.astype(np.float64) - want) / unit
        same = (got == rounded) & (np.signbit(got) == np.signbit(rounded)) | np.isnan(got) & np.isnan(want)
        overflow = np.isinf(got) & (np.abs(want) > np.finfo(np.float32).max) & (np.signbit(got) == np.signbit(want))
        special = ~np.isfinite(want) | ~np.isfinite(got) | (want == 0)
    return np.where(special, np.where(same | overflow, 0.0, np.inf), error)


@pytest.fixture(scope="module")
def float32_samples() -> np.ndarray:
    """Every 4099th bit pattern, all around the edges, and the values people use."""
    patterns = np.arange(0, 2**32, 4099, dtype=np.uint32)
    edges = np.array([0, 1, 0.5, 2, 89, 88.72, 104, 3.93, 1e18, math.pi / 2, np.inf, 1.17549435e-38, 0.70710678], "f")
    near = edges.view(np.uint32)[:, None] + np.arange(-40, 41).astype(np.uint32)
    near = np.concatenate([near.ravel(), near.ravel() ^ np.uint32(1 << 31)])
    dense = np.random.default_rng(0).uniform(-4, 4, 100_000).astype(np.float32)
    return np.concatenate([patterns.view(np.float32), near.view(np.float32), dense])


@pytest.mark.parametrize("name", UNARY)
def test_float32(name: str, float32_samples: np.ndarray) -> None:
    reference, _, bound, _, _ = UNARY[name]
    x = float32_samples
    if name in ("sin", "cos", "tan"):
        x = x[~(np.abs(x) > REDUCED) | np.isinf(x)]
    with np.errstate(all="ignore"):
        want = reference(x.astype(np.float64))
    errors = _ulps32(evaluate(name, x), want)
    worst = np.argmax(errors)
    assert errors[worst] <= bound, f"{name}({x[worst]!r}): {errors[worst]} units"


@pytest.mark.parametrize("name", ["sin", "cos"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_trigonometric_functions_stay_in_range_beyond_their_reach(name: str, dtype: type) -> None:
    x = 10.0 ** np.linspace(13, 38, 1000).astype(dtype)
    assert np.all(np.abs(evaluate(name, x)) <= 1)


def _float64_samples(limit: float) -> np.ndarray:
    rng = np.random.default_rng(1)
    count = 400
    anywhere = rng.integers(0, 2**63, count, dtype=np.uint64).view(np.float64)
    small = np.exp(rng.uniform(-40, math.log(limit), count))
    plain = rng.uniform(0, limit, count)
    near_one = 1 + rng.normal(0, 1, count) * 10.0 ** rng.uniform(-16, -0.5, count)
    inside = 1 - 10.0 ** rng.uniform(-16, -0.5, count)
    x = np.concatenate([anywhere, small, plain, near_one, inside])
    x = x[np.isfinite(x)]
    return np.concatenate([x, -x])


@pytest.mark.parametrize("name", UNARY)
def test_float64(name: str) -> None:
    _, exact, _, bound, limit = UNARY[name]
    x = _float64_samples(limit)
    if name in ("sin", "cos", "tan"):
        x = x[np.abs(x) <= REDUCED]
    if name in ("arcsin", "arccos", "arctanh", "erfinv"):
        x = x[np.abs(x) < 1]
    if name in ("log", "log2", "log10", "rsqrt"):
        x = x[x > 0]
    if name in ("log1p", "arccosh"):
        x = x[x > (-1 if name == "log1p" else 1)]
    if name in ("exp", "exp2", "expm1", "sinh", "cosh", "sigmoid"):
        x = x[np.abs(x) < 1100]
    if name == "erfinv":
        x = x[::4]
    if name == "erfc":
        x = x[x < 26.4]  # the results beyond are subnormal
    with mpmath.workprec(200):
        for point, got in zip(x.tolist(), evaluate(name, x).tolist(), strict=True):
            want = exact(mpmath.mpf(point))
            if abs(want) > np.finfo(np.float64).max:
                assert got == math.copysign(math.inf, want), (name, point)
                continue
            unit = mpmath.mpf(math.ulp(float(want)))
            error = float(abs(got - want) / unit)
            assert error <= bound, f"{name}({point!r}) = {got!r}: {error} units"


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_special_values(name: str, dtype: type) -> None:
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 2.0, -2.0, tiny, -tiny, 3 * tiny], dtype)
    if name == "erfinv":
        want = np.array([0, -0.0, np.inf, -np.inf] + [np.nan] * 5 + [tiny, -tiny, 3 * tiny], dtype)
    else:
        with np.errstate(all="ignore"):
            want = UNARY[name][0](x).astype(dtype)
    got = evaluate(name, x)
    np.testing.assert_allclose(
        got, want, rtol=1e-6 if dtype is np.float32 else 1e-15, atol=0 if name != "erf" else tiny
    )
    keep = (want == 0) | np.isinf(want)
    np.testing.assert_array_equal(np.signbit(got[keep]), np.signbit(want[keep]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exact_values(dtype: type) -> None:
    def at(name: str, *values: float) -> list[float]:
        return evaluate(name, np.array(values, dtype)).tolist()

    assert at("exp", 0) == at("cos", 0) == at("cosh", 0) == at("exp2", 0) == [1]
    assert at("exp2", 5, -3, 10) == [32, 0.125, 1024]
    assert at("log2", 1, 8, 0.25, 2.0**100) == [0, 3, -2, 100]
    assert at("tanh", 40, -40, 20, -20) == at("erf", 40, -40, 20, -20) == [1, -1, 1, -1]
    assert at("sigmoid", 0, 100, -1e4) == [0.5, 1, 0]
    x = np.linspace(0, 20, 20_001, dtype=dtype)
    for name in ("tanh", "erf", "sin", "arcsinh"):
        np.testing.assert_array_equal(evaluate(name, -x), -evaluate(name, x))
        assert name == "arcsinh" or evaluate(name, x).max() <= 1


# --- functions of two floats ------------------------------------------------------------------------------------------

SPECIAL = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 0.5, -0.5, 1e30, -1e30, 1e-30, np.inf, -np.inf, np.nan]
PAIRS = np.array([(a, b) for a in SPECIAL for b in SPECIAL])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["power", "arctan2", "logaddexp", "remainder"])
def test_special_pairs(name: str, dtype: type) -> None:
    x, y = PAIRS.T.astype(dtype)
    with np.errstate(all="ignore"):
        want = getattr(np, name)(x, y)
    got = evaluate(name, x, y)
    np.testing.assert_allclose(got, want, rtol=3e-7 if dtype is np.float32 else 1e-15)
    zero = want == 0
    if name != "logaddexp":
        np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(want[zero]))


def _random_pairs(dtype: type, count: int = 200_000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    scale = 10.0 ** rng.uniform(-3, 3, (2, count))
    x, y = (rng.normal(0, 1, (2, count)) * scale).astype(dtype)
    return x, y


def test_power_float32() -> None:
    x, y = _random_pairs(np.float32)
    x = np.abs(x)
    with np.errstate(all="ignore"):
        want = np.power(x.astype(np.float64), y.astype(np.float64))
    assert _ulps32(evaluate("power", x, y), want).max() <= 0.6
    integers = np.rint(y / 100)
    with np.errstate(all="ignore"):
        want = np.power(-x.astype(np.float64), integers.astype(np.float64))
    assert _ulps32(evaluate("power", -x, integers), want).max() <= 0.6


def test_power_float64() -> None:
    x, y = _random_pairs(np.float64, 3000)
    x = np.abs(x)
    got = evaluate("power", x, y)
    worst = 0.0
    with mpmath.workprec(200):
        for a, b, c in zip(x.tolist(), y.tolist(), got.tolist(), strict=True):
            want = mpmath.mpf(a) ** mpmath.mpf(b)
            if want > np.finfo(np.float64).max:
                assert c == math.inf
            else:
                worst = max(worst, float(abs(c - want) / math.ulp(float(want))))
    assert worst <= 2


@pytest.mark.parametrize(("dtype", "bound"), [(np.float32, 2.0), (np.float64, 2.0)])
def test_arctan2(dtype: type, bound: float) -> None:
    y, x = _random_pairs(dtype, 3000)
    got = evaluate("arctan2", y, x)
    unit = np.finfo(dtype).eps
    with mpmath.workprec(200):
        for a, b, c in zip(y.tolist(), x.tolist(), got.tolist(), strict=True):
            want = mpmath.atan2(a, b)
            assert abs(c - want) <= bound * unit * 2.0 ** math.floor(math.log2(abs(want)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logaddexp(dtype: type) -> None:
    x, y = _random_pairs(dtype, 20_000)
    want = np.logaddexp(x.astype(np.longdouble), y.astype(np.longdouble))
    largest = np.maximum(np.maximum(np.abs(x), np.abs(y)), np.abs(want))
    small = np.maximum(x, y) < 0
    allowed = 3 * np.finfo(dtype).eps * np.where(small, largest, np.abs(want))
    assert np.all(np.abs(evaluate("logaddexp", x, y) - want) <= allowed)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_remainder_and_floor_divide_of_floats(dtype: type) -> None:
    x, y = _random_pairs(dtype, 20_000)
    np.testing.assert_array_equal(evaluate("remainder", x, y), np.remainder(x, y))
    np.testing.assert_array_equal(evaluate("floor_divide", x, y), np.floor(x / y))


# --- integers ---------------------------------------------------------------------------------------------------------

INTEGERS = [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64]


def _integer_pairs(dtype: type) -> tuple[np.ndarray, np.ndarray]:
    info = np.iinfo(dtype)
    rng = np.random.default_rng(3)
    values = np.concatenate(
        [
            np.array([0, 1, 2, 3, 5, 7, info.max, info.max - 1, info.min, info.min + 1], dtype),
            rng.integers(info.min, info.max, 20, dtype=dtype, endpoint=True),
            np.array([-1, -2, -3, -7] if info.min else [], dtype),
        ]
    )
    x, y = np.meshgrid(values, values)
    return x.ravel(), y.ravel()


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_division_rounds_down(dtype: type) -> None:
    x, y = _integer_pairs(dtype)
    modulus = 256 ** np.dtype(dtype).itemsize
    for name, function in (
        ("remainder", lambda a, b: a % b if b else a),
        ("floor_divide", lambda a, b: a // b if b else 0),
    ):
        want = [function(a, b) % modulus for a, b in zip(x.tolist(), y.tolist(), strict=True)]
        assert [v % modulus for v in evaluate(name, x, y).tolist()] == want


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_power_wraps(dtype: type) -> None:
    x, y = _integer_pairs(dtype)
    modulus = 256 ** np.dtype(dtype).itemsize
    want = [pow(a, b, modulus) if b >= 0 else 0 for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    assert [v % modulus for v in evaluate("power", x, y).tolist()] == want
