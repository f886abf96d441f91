"""Numbers that are stored into arrays of 64 bits keep all their digits."""

import numpy as np
import pytest

import arrax.core as mx

NUMBERS = (0.1, 1e300, -1 / 3)


def put(index, value):
    def store(a):
        a[index] = value
        return a

    return store


def stored(value):
    """Functions that store the number into the first element of an array of ones."""
    first, mask = mx.array([0]), mx.array([True, False, False])
    zero = mx.array([0.0, 1.0, 1.0], dtype=mx.float64)
    return {
        "index": put(0, value),
        "slice": put(slice(0, 1), value),
        "all": lambda a: put(Ellipsis, value)(a),
        "positions": put(first, value),
        "mask": put(mask, value),
        "numpy's scalar": put(0, np.float64(value)),
        "numpy's array": put(slice(0, 1), np.array([value])),
        "at an index": lambda a: (a - a).at[0].add(value),
        "at positions": lambda a: (a - a).at[first].add(value),
        "at a mask": lambda a: a.at[mask].multiply(value),
        "of a slice": lambda a: (a - a).at[0:1].subtract(-value),
        "divided": lambda a: a.at[first].divide(1 / value),
        "pad": lambda a: mx.pad(a, 1, constant_values=value),
        "where": lambda a: mx.where(mask, value, a),
        "where not": lambda a: mx.where(mx.logical_not(mask), a, value),
        "clip": lambda a: mx.clip(a, value, value),
        "full": lambda a: mx.full((2,), value, dtype=a.dtype),
        "full_like": lambda a: mx.full_like(a, value),
        "array": lambda a: mx.array(value, dtype=a.dtype),
        "list": lambda a: mx.array([value, 1], dtype=a.dtype),
        "list with arrays": lambda a: mx.array([value, a[1]], dtype=a.dtype),
        "sum": lambda a: (a - a) + value,
        "product": lambda a: value * a,
        "maximum": lambda a: mx.maximum(a - mx.inf, value),
        "append": lambda a: mx.append(a, value)[::-1],
        "piecewise": lambda a: mx.piecewise(a, [mask], [value, 1.0]),
        "select": lambda a: mx.select([mx.logical_not(mask)], [a], value),
        "interp": lambda a: mx.interp(zero, mx.array([0.5, 1.0]).astype(mx.float64), a[:2], left=value),
        "nan_to_num": lambda a: mx.nan_to_num(a * mx.nan, nan=value),
        "normal": lambda a: mx.random.normal((2,), mx.float64, loc=value, scale=0.0),
        "linspace": lambda a: mx.linspace(value, value, 3, dtype=mx.float64),
        "compiled": lambda a: mx.compile(lambda x: x * value)(a),
    }


REAL_ONLY = ("clip", "maximum", "interp", "nan_to_num", "normal", "linspace")


@pytest.mark.parametrize("name", stored(1.0))
def test_double_precision(name, path):
    for dtype in (mx.float64, mx.complex128):
        if dtype is mx.complex128 and name in REAL_ONLY:
            continue
        for value in NUMBERS:
            result = stored(value)[name](mx.ones(3, dtype=dtype))
            assert result.dtype in (mx.float64, dtype)
            np.testing.assert_allclose(np.array(result).ravel()[0], value, rtol=4e-16 if name == "divided" else 1e-16)


@pytest.mark.parametrize("value", [2**53 + 1, 2**62 + 1, -(2**62) - 1, 2**63 - 1, 2**63 + 5, 2**64 - 1])
def test_integers_of_64_bits(value, path):
    dtype = mx.uint64 if value >= 2**63 else mx.int64
    places = stored(value)
    for name in (
        *("index", "slice", "all", "positions", "mask", "at an index", "at positions", "at a mask", "pad", "where"),
        *("where not", "clip", "full", "full_like", "array", "list", "list with arrays", "sum", "product", "compiled"),
        *("append", "piecewise", "select"),
    ):
        result = places[name](mx.ones(3, dtype=dtype))
        assert (result.dtype, result.flatten()[0].item()) == (dtype, value), name
    assert mx.array(value).dtype == mx.array([value]).dtype == dtype
    assert mx.array([value]).tolist() == [value]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint32", "int64"])
def test_integers_that_do_not_fit_are_refused(dtype):
    limits = np.iinfo(dtype)
    for value in (limits.max + 1, limits.min - 1, 2**70):
        for name in (
            "index",
            "slice",
            "mask",
            "at positions",
            "pad",
            "where",
            "clip",
            "full",
            "full_like",
            "sum",
            "append",
        ):
            with pytest.raises(ValueError, match="expected an integer"):
                stored(value)[name](mx.ones(3, dtype=getattr(mx, dtype)))
    with pytest.raises(ValueError, match="of 1329 bits"):
        mx.ones(3) + 10**400


def test_negative_integers_wrap_in_uint64(path):
    """As in MLX, which refuses them in smaller types."""
    for name in ("index", "mask", "at positions", "pad", "where", "full", "full_like", "array", "list", "product"):
        assert stored(-3)[name](mx.ones(3, dtype=mx.uint64)).flatten()[0].item() == 2**64 - 3, name
    assert (mx.array([2**64 - 1], dtype=mx.uint64) == -1).item()


def test_numbers_and_lists_keep_their_digits_beside_double_precision(path):
    v = np.sort(np.random.default_rng(0).normal(size=30))
    a, x = mx.array(v, dtype=mx.float64), float(v[7])
    for found, want in (
        (mx.searchsorted(a, x), 7),
        (mx.digitize(x, a), 8),
        (mx.digitize(a, [x]), np.digitize(v, [x])),
        (mx.histogram(a, [-9.0, x, 9.0])[0], [7, 23]),
        (mx.gradient(a, 0.1), np.gradient(v, 0.1)),
        (mx.gradient(a, (v * 3).tolist()), np.gradient(v, v * 3)),
        (mx.polyval([0.1, 0.2, 0.3], a), np.polyval([0.1, 0.2, 0.3], v)),
        (mx.polyval(a[:3], 0.1), np.polyval(v[:3], 0.1)),
        (mx.interp(a, [-9.1, 9.3], [0.1, 0.7]), np.interp(v, [-9.1, 9.3], [0.1, 0.7])),
        (mx.trapezoid(a, (v * 3).tolist()), np.trapezoid(v, v * 3)),
        (mx.trapezoid(a, dx=0.1), np.trapezoid(v, dx=0.1)),
        (mx.quantile(a, [0.1, 0.7]), np.quantile(v, [0.1, 0.7])),
    ):
        np.testing.assert_allclose(np.array(found), want, rtol=1e-12)
