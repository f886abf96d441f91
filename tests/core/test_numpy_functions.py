"""Functions that NumPy has and MLX lacks: compared with NumPy over types, shapes, axes and keywords."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from tests.core.comparison import TOLERANCE, TYPES, compare, same, to_mx, values, views

import arrax.core as mx

# --- reductions -------------------------------------------------------------------------------------------------------
SHAPES = [(), (1,), (5,), (3, 4), (2, 3, 5), (4, 1, 2)]


def axes_of(shape: tuple[int, ...]) -> list[Any]:
    return [None, *range(len(shape)), *([(0, -1), (-1, 0)] if len(shape) > 1 else [])]


@pytest.mark.filterwarnings("ignore:.*NaN.*:RuntimeWarning", "ignore:.*empty slice:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:Degrees of freedom:RuntimeWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32", "complex64"])
@pytest.mark.parametrize(
    "name", ["nansum", "nanprod", "nanmax", "nanmin", "nanmean", "nanvar", "nanstd", "nanmedian", "ptp"]
)
def test_reductions_past_nan(name: str, dtype: str) -> None:
    if dtype == "complex64" and name in ("nanmax", "nanmin", "nanmedian", "ptp"):
        return
    loose = {"float16": 2e-2, "float32": 2e-5, "complex64": 1e-4}.get(dtype)
    for shape in SHAPES:
        a = values(shape, dtype, special=name != "ptp")
        a[~np.isfinite(a) & ~np.isnan(a)] = 3  # sums with infinities are compared below
        wide = a.astype(np.float64) if dtype in ("float16", "int32", "float32") else a
        for axis, keepdims in itertools.product(axes_of(shape), (False, True)):
            with np.errstate(all="ignore"):
                expected = getattr(np, name)(wide, axis=axis, keepdims=keepdims)
            found = getattr(mx, name)(to_mx(a), axis=axis, keepdims=keepdims)
            same(found, expected, f"{name} {dtype} {shape} {axis}", loose)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_rows_of_nan_and_infinities(path: str) -> None:
    a = np.array(
        [[np.nan] * 3, [np.inf, np.nan, 1], [-np.inf, np.inf, np.nan], [-np.inf, np.nan, np.nan], [1, 2, 3]], "float32"
    )
    for name in ("nansum", "nanprod", "nanmax", "nanmin", "nanmean", "nanvar", "nanmedian"):
        compare(name, a, axis=1)
        compare(name, a[4:], axis=0)
    compare("nanvar", a[4], ddof=1)
    compare("nanvar", a[4], ddof=3)
    compare("nanstd", a[4], ddof=5)
    for name in ("nanargmax", "nanargmin"):
        compare(name, a[1:], axis=1)
        assert getattr(mx, name)(to_mx(a))._node.dtype.name == "uint32"
    assert mx.nanargmax(to_mx(a), axis=1)[0].item() == 0
    for name in ("nancumsum", "nancumprod"):
        compare(name, a[4:])
        compare(name, a, axis=0)


def test_reductions_of_nothing() -> None:
    empty = mx.zeros((0, 3))
    assert mx.nansum(empty, 0).tolist() == [0, 0, 0] and mx.nanprod(empty).item() == 1
    assert all(math.isnan(x) for x in mx.nanmean(empty, 0).tolist())
    for name in ("nanmax", "nanmedian", "ptp"):
        with pytest.raises(ValueError, match="at least one element"):
            getattr(mx, name)(empty)


METHODS = ("linear", "lower", "higher", "nearest", "midpoint")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("method", METHODS)
def test_quantiles(method: str) -> None:
    for number, shape in enumerate(SHAPES):
        dtype = ("float32", "float64", "int32")[number % 3]
        a = values(shape, dtype)
        for axis in axes_of(shape):
            for q in (0.3, 0, 1.0, [0.5, 0.25], [[0.1], [0.9]], np.array([0.7, 0.2])):
                wide = a.astype(np.float64)
                for keepdims in (False, True):
                    expected = np.quantile(wide, q, axis=axis, method=method, keepdims=keepdims)
                    found = mx.quantile(to_mx(a), q, axis=axis, method=method, keepdims=keepdims)
                    same(found, expected, f"{method} {shape} {dtype} {axis} {q}", 1e-5)
        compare("percentile", a, 37.5, method=method)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_quantiles_with_nan_and_infinities(path: str) -> None:
    rows = np.array([[1, 2, np.nan, 4], [np.nan] * 4, [3, 1, 2, 7], [np.inf, np.inf, 1, -np.inf]], "float32")
    for method in METHODS:
        compare("quantile", rows[:3], 0.4, axis=1, method=method)
        compare("nanquantile", rows[:3], [0.4, 0.9], axis=1, method=method)
        compare("nanpercentile", rows[:3], 25, axis=0, method=method)
    assert mx.quantile(to_mx(rows[3]), 0.9).item() == math.inf
    assert mx.quantile(mx.array([1.0, 2.0]), mx.array([-1.0, 2.0])).tolist() == [1, 2]
    assert mx.quantile(mx.array([1.0, 2.0], dtype=mx.bfloat16), 0.5).dtype == mx.bfloat16
    assert mx.percentile(mx.array([1, 2, 3]), mx.array(50)).item() == 2
    large = np.arange(2**17, dtype="float32")
    compare("quantile", large, [0.123456789, 0.99999])


def test_quantiles_refuse() -> None:
    a = mx.array([1.0, 2.0])
    for call, error, text in (
        (lambda: mx.quantile(a, 1.5), ValueError, "q from 0 to 1"),
        (lambda: mx.percentile(a, [50, -1]), ValueError, "q from 0 to 100"),
        (lambda: mx.quantile(a, 0.5, method="weibull"), ValueError, "method out of"),
        (lambda: mx.quantile(a, "a"), TypeError, "numbers as q"),
        (lambda: mx.quantile(a * 1j, 0.5), ValueError, "real numbers"),
        (lambda: mx.quantile([1.0], 0.5), TypeError, "expected an array"),
        (lambda: mx.quantile(a, 0.5, axis=3), IndexError, "an axis from"),
    ):
        with pytest.raises(error, match=text):
            call()


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "complex64"])
def test_average(dtype: str) -> None:
    for shape in SHAPES[1:]:
        a, w = values(shape, dtype), values(shape, "float32", seed=3) ** 2 + 1
        for axis in axes_of(shape):
            tolerance = 1e-4
            compare("average", a, axis=axis, weights=w, tolerance=tolerance)
            compare("average", a, axis=axis, tolerance=tolerance)
            if isinstance(axis, int):
                line = np.arange(1, shape[axis] + 1, dtype="float32")
                compare("average", a, axis=axis, weights=line, tolerance=tolerance, returned=True)
                compare("average", a, axis=axis, weights=line, tolerance=tolerance, keepdims=True)
    with pytest.raises(ValueError, match="weights of shape"):
        mx.average(mx.ones((2, 3)), weights=mx.ones((3,)))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_covariances(path: str) -> None:
    for dtype in ("float32", "float64", "int32", "complex64"):
        m, y = values((3, 7), dtype), values((2, 7), dtype, seed=9)
        t = 1e-5
        compare("cov", m, tolerance=t)
        compare("cov", m.T, tolerance=t)
        compare("cov", m, y, tolerance=t)
        compare("cov", m.T, y.T, rowvar=False, tolerance=t)
        compare("cov", m, bias=True, tolerance=t)
        compare("cov", m, ddof=2, tolerance=t)
        compare("cov", m[0], tolerance=t)
        compare("corrcoef", m, tolerance=t)
        compare("corrcoef", m, y, tolerance=t)
        compare("corrcoef", m.T, rowvar=False, tolerance=t)
        compare("corrcoef", m[0], tolerance=t)
        if dtype != "complex64":
            frequency, reliability = np.array([1, 2, 1, 0, 3, 1, 1]), np.linspace(0.1, 1, 7)
            compare("cov", m, fweights=frequency, tolerance=t)
            compare("cov", m, aweights=reliability, tolerance=t)
            compare("cov", m, fweights=frequency, aweights=reliability, tolerance=t)
    with pytest.raises(ValueError, match="at most 2"):
        mx.cov(mx.ones((2, 2, 2)))
    with pytest.raises(ValueError, match="weights"):
        mx.cov(mx.ones((2, 3)), aweights=mx.ones((2,)))


# --- counts -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["int32", "uint8", "int64", "uint32", "bool"])
def test_bincount(dtype: str, path: str) -> None:
    x = values((50,), dtype)
    weights = np.linspace(0, 1, 50).astype("float32")
    for kw in ({}, {"minlength": 300}, {"weights": weights}, {"weights": weights.astype("float64"), "minlength": 2}):
        compare("bincount", x, **kw, tolerance=1e-5)
    assert mx.bincount(to_mx(x[:0])).tolist() == []
    assert mx.bincount(mx.array([1, -1, 9, 1]), length=3).tolist() == [0, 2, 0]
    assert mx.bincount(mx.array([1, 2**40 + 1, -(2**40)]), length=3).tolist() == [0, 1, 0]
    assert mx.compile(lambda x: mx.bincount(x, length=4))(mx.array([3, 3])).tolist() == [0, 0, 0, 2]
    wide = mx.array([1, 2], dtype=mx.uint8)
    assert mx.bincount(wide, length=1000).sum().item() == 2


def test_bincount_refuses() -> None:
    for call, text in (
        (lambda: mx.bincount(mx.array([-1])), "no negative"),
        (lambda: mx.bincount(mx.array([1.0])), "integers in one axis"),
        (lambda: mx.bincount(mx.array([[1]])), "integers in one axis"),
        (lambda: mx.bincount(mx.array([1]), minlength=-1), "minlength"),
        (lambda: mx.bincount(mx.array([1]), mx.array([1.0, 2.0])), "weights of shape"),
        (lambda: mx.compile(mx.bincount)(mx.array([1])), "a transform is tracing"),
    ):
        with pytest.raises(ValueError, match=text):
            call()


def test_digitize_and_searchsorted(path: str) -> None:
    for dtype in ("float32", "int32") if path == "compiled" else ("float32", "float64", "int32", "float16", "uint8"):
        x = np.concatenate([values((40,), dtype), np.arange(9).astype(dtype)])
        bins = np.array([0, 2, 2, 3, 5, 8]).astype(dtype)
        for right in (False, True):
            compare("digitize", x, bins, right)
            compare("digitize", x.reshape(7, 7), bins[::-1].copy(), right=right)
            compare("digitize", x, bins[:1], right)
        for side in ("left", "right"):
            compare("searchsorted", bins, x, side)
            compare("searchsorted", bins, x.reshape(7, 7).T, side=side)
    gaps = np.array([1, 2, np.nan, np.nan], "float32")
    points = np.array([np.nan, 0, 2, np.inf, -np.inf], "float32")
    for side in ("left", "right"):
        compare("searchsorted", gaps, points, side)
        compare("searchsorted", gaps[:2], points, side)
    with pytest.raises(ValueError, match="one axis"):
        mx.digitize(mx.array([1.0]), mx.ones((2, 2)))


def test_histograms(path: str) -> None:
    rng = np.random.default_rng(0)
    for dtype in ("float32", "float64", "int32", "uint8"):
        a = (rng.normal(size=(20, 20)) * 9 + 50).astype(dtype)
        weights = rng.random((20, 20)).astype("float32")
        wide = a.astype("float64")
        edges = np.array([20, 40, 45.5, 60, 61], "float64")
        for kw in (
            {}, {"bins": 7}, {"bins": 5, "range": (30, 60)}, {"bins": edges}, {"bins": 4, "density": True},
            {"bins": edges, "density": True}, {"bins": edges, "weights": weights}, {"range": (200, 300)},
        ):  # fmt: skip
            if "bins" in kw and kw["bins"] is not edges and dtype == "float32":
                kw = dict(kw, bins=np.linspace(20.5, 80.25, kw["bins"] + 1), range=None)  # an edge's last place counts
            expected = np.histogram(wide, **kw)
            ours = {k: to_mx(v) for k, v in kw.items()}
            found = mx.histogram(to_mx(a), **ours)
            if "bins" in kw and isinstance(kw["bins"], np.ndarray):
                found = (found[0], mx.array(kw["bins"], dtype=mx.float64))
            same(found, expected, f"histogram {dtype} {kw}", 1e-4)
    same(mx.histogram(mx.array([2.0, 2.0]), bins=2), np.histogram([2.0, 2.0], bins=2), "one value")
    same(mx.histogram(mx.zeros((0,)), bins=2), np.histogram([], bins=2), "nothing")
    same(mx.histogram(mx.array([1.0, 2.0, mx.nan]), bins=2, range=(0, 2))[0], [0, 2], "NaN")
    same(mx.histogram_bin_edges(mx.array([1.0, 3.0]), 4), np.histogram_bin_edges([1.0, 3.0], 4), "edges")
    counts = mx.compile(lambda a: mx.histogram(a, bins=3)[0])(mx.array([0.0, 1.0, 3.0]))
    assert counts.tolist() == [1, 1, 1]


def test_histograms_refuse() -> None:
    a = mx.array([1.0])
    for call, error, text in (
        (lambda: mx.histogram(a, bins=0), ValueError, "at least one bin"),
        (lambda: mx.histogram(a, bins="auto"), TypeError, "expected an int as bins"),
        (lambda: mx.histogram(a, bins=[3, 1]), ValueError, "ascending"),
        (lambda: mx.histogram(a, bins=[3]), ValueError, "two edges"),
        (lambda: mx.histogram(a, range=(2, 1)), ValueError, "ascending"),
        (lambda: mx.histogram(a, range=3), TypeError, "two numbers"),
        (lambda: mx.histogram(a, weights=mx.ones((2,))), ValueError, "weights of shape"),
    ):
        with pytest.raises(error, match=text):
            call()


# --- sets -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", TYPES)
def test_sets(dtype: str, path: str) -> None:
    for shape in ((), (1,), (30,), (3, 4), (0,)):
        a, b = values(shape, dtype), values((6,), dtype, seed=1)
        if dtype in ("float32", "float64", "float16"):
            a, b = (np.asarray(np.rint(v)) for v in (a, b))
        for tests in (b, np.tile(b, 3), b[:0]):
            compare("isin", a, tests)
            compare("isin", a, tests, invert=True)
        if dtype == "complex64":
            continue
        for name in ("union1d", "intersect1d", "setdiff1d", "setxor1d"):
            compare(name, a, b)
        if a.ndim:
            compare("nonzero", a)
            compare("where", a)
        compare("argwhere", a)
        compare("flatnonzero", a)
    assert mx.isin(mx.array([1.0, mx.nan]), mx.array([mx.nan, 1.0])).tolist() == [True, False]
    assert mx.isin(3, mx.array([3])).item() is True


def test_distinct_elements(path: str) -> None:
    for dtype in ("float32", "int32", "uint8", "bool", "float16", "int64"):
        for shape in ((1,), (30,), (3, 4), (), (0,), (2, 0)):
            a = np.asarray(np.rint(values(shape, dtype))) if dtype.startswith("float") else values(shape, dtype)
            compare("unique", a)
            expected = np.unique(a, True, True, True)
            found = mx.unique(to_mx(a), return_index=True, return_inverse=True, return_counts=True)
            same(found, expected, f"unique {dtype} {shape}")
            assert [x.dtype.name for x in found[1:]] == ["uint32", "uint32", "int32"]
    assert mx.unique(mx.array([mx.nan, 1.0, mx.nan])).shape == (3,)
    by_value = mx.grad(lambda x: mx.sum(mx.unique(x) * mx.array([1.0, 2.0])))(mx.array([5.0, 3.0, 5.0]))
    assert by_value.tolist() == [2, 1, 0]
    with pytest.raises(ValueError, match="a transform is tracing"):
        mx.compile(mx.unique)(mx.array([1, 2]))


def test_conditions(path: str) -> None:
    a = values((3, 4), "float32")
    compare("extract", a > 4, a)
    same(mx.compress(mx.array([True, False, True]), to_mx(a), axis=0), a[[0, 2]], "compress")
    same(mx.compress(mx.array([0, 2]), to_mx(a), axis=-1), a[:, [1]], "compress a short condition")
    same(mx.compress(mx.array([0, 0, 1]), to_mx(a)), a.ravel()[[2]], "compress flat")
    with pytest.raises(ValueError, match="condition with one axis"):
        mx.compress(mx.ones((5,)), to_mx(a), axis=1)
    with pytest.raises(IndexError):
        mx.compress(mx.ones((2,)), to_mx(a), axis=2)
    for text in ("argwhere", "flatnonzero", "where"):
        with pytest.raises(ValueError, match="a transform is tracing"):
            mx.vmap(getattr(mx, text))(mx.ones((2, 2)))


# --- samples ----------------------------------------------------------------------------------------------------------
def test_grids() -> None:
    same(mx.logspace(0, 3, 7), np.logspace(0, 3, 7).astype("float32"), "logspace", 1e-5)
    same(
        mx.logspace(0, 3, 7, base=2.0, endpoint=False), np.logspace(0, 3, 7, base=2.0, endpoint=False), "logspace", 1e-5
    )
    same(mx.logspace(-3, 3, 7, dtype=mx.float64), np.logspace(-3, 3, 7), "logspace", 1e-13)
    for start, stop, num in ((1, 1000, 4), (-2, -64, 6), (1e-3, 10, 9), (5, 5, 3), (3, 9, 1), (256, 1, 9)):
        same(mx.geomspace(start, stop, num), np.geomspace(start, stop, num), "geomspace", 1e-5)
        same(mx.geomspace(start, stop, num, endpoint=False), np.geomspace(start, stop, num, False), "geomspace", 1e-5)
        same(mx.geomspace(start, stop, num, dtype=mx.float64), np.geomspace(start, stop, num), "geomspace", 1e-13)
    for bounds in ((0, 1), (-1, 1)):
        with pytest.raises(ValueError, match="one sign"):
            mx.geomspace(*bounds)


def test_interp(path: str) -> None:
    xp, fp = np.array([0, 1, 1.5, 4], "float32"), np.array([3, -1, 2, 8], "float32")
    x = np.array([[-1, 0, 0.25, 1], [1.2, 4, 5, np.nan]], "float32")
    compare("interp", x, xp, fp)
    compare("interp", x, xp, fp, left=-7, right=9.5)
    compare("interp", x, xp, fp, period=5)
    compare("interp", x, xp[::-1].copy(), fp, period=3)
    compare("interp", x.astype("float64"), xp.astype("float64"), fp.astype("float64"))
    compare("interp", x, xp, fp + 1j * fp[::-1])
    compare("interp", x[:1], xp[:1], fp[:1])
    compare("interp", np.array([1, 2, 3]), np.array([0, 2, 4]), np.array([0, 10, 40]))
    assert mx.interp(2.0, mx.array([1, 3]), mx.array([1, 3])).item() == 2
    for call, text in (
        (lambda: mx.interp(1.0, mx.array([1.0]), mx.array([1.0, 2.0])), "as many samples"),
        (lambda: mx.interp(1.0, mx.zeros((0,)), mx.zeros((0,))), "as many samples"),
        (lambda: mx.interp(1.0, mx.array([1.0]), mx.array([1.0]), period=0), "positive period"),
        (lambda: mx.interp(1j, mx.array([1.0]), mx.array([1.0])), "real points"),
    ):
        with pytest.raises(ValueError, match=text):
            call()


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "complex64", "float16"])
def test_gradient_and_trapezoid(dtype: str) -> None:
    loose = 2e-2 if dtype == "float16" else 2e-5
    for shape in ((5,), (3, 4)) if dtype != "float32" else ((5,), (3, 4), (4, 3, 5)):
        for f in views(values(shape, dtype)):
            f = f.astype("float64" if dtype == "int32" else dtype)
            for edge_order in (1, 2):
                compare("gradient", f, edge_order=edge_order, tolerance=loose)
                compare("gradient", f, 0.5, edge_order=edge_order, tolerance=loose)
                for axis in (*range(f.ndim), -1):
                    at = np.cumsum(1 + np.arange(f.shape[axis]) % 3).astype("float32")
                    compare("gradient", f, at, axis=axis, edge_order=edge_order, tolerance=loose)
            if f.ndim > 1:
                compare("gradient", f, 2.0, 3.0, axis=(1, 0), tolerance=loose)
            for axis in range(f.ndim):
                at = np.cumsum(1 + np.arange(f.shape[axis])).astype("float32")
                compare("trapezoid", f, axis=axis, tolerance=4 * loose)
                compare("trapezoid", f, at, axis=axis, tolerance=8 * loose)
                compare("trapezoid", f, dx=0.25, axis=axis, tolerance=4 * loose)
    assert mx.trapezoid(mx.zeros((3, 1))).tolist() == [0, 0, 0]
    same(mx.gradient(mx.array([1, 4, 9])), [3.0, 4.0, 5.0], "gradient of integers")


def test_gradient_and_trapezoid_refuse() -> None:
    f = mx.ones((3, 2))
    for call, error, text in (
        (lambda: mx.gradient(f, edge_order=2), ValueError, "at least 3 samples"),
        (lambda: mx.gradient(f, edge_order=3), ValueError, "edge_order"),
        (lambda: mx.gradient(f, 1.0, 2.0, 3.0), TypeError, "one spacing"),
        (lambda: mx.gradient(f, mx.ones((4,)), axis=0), ValueError, "coordinates"),
        (lambda: mx.trapezoid(f, mx.ones((3,))), ValueError, "coordinates"),
    ):
        with pytest.raises(error, match=text):
            call()


def test_polynomials_and_products(path: str) -> None:
    line, x = np.array([1.0, -2.0, 0.5], "float32"), values((3, 4), "float32")
    compare("polyval", line, x)
    compare("polyval", line.astype("complex64"), x)
    compare("polyval", line[:0], x)
    compare("cross", values((4, 3), "float32"), values((4, 3), "float32", seed=5))
    for left, right in (
        ((), (3,)),
        ((4,), (4,)),
        ((3, 4), (4,)),
        ((3, 4), (4, 2)),
        ((2, 3, 4), (5, 4, 2)),
        ((4,), (5, 4, 2)),
    ):
        for dtype in ("float32", "float64", "complex64"):
            compare("dot", values(left, dtype), values(right, dtype, seed=1), tolerance=1e-4)
    compare("vdot", values((3, 4), "complex64"), values((4, 3), "complex64", seed=1), tolerance=1e-4)
    with pytest.raises(ValueError, match="axes of one size"):
        mx.dot(mx.ones((2, 3)), mx.ones((5, 4, 2)))
    same(mx.vecdot(to_mx(x), to_mx(x)), np.sum(x * x, -1), "vecdot", 1e-5)


# --- arrangement ------------------------------------------------------------------------------------------------------
def test_turning(path: str) -> None:
    for shape in ((3, 4), (2, 3, 5), (0, 3), (1, 1)):
        for a in views(values(shape, "int32")):
            compare("flipud", a)
            compare("fliplr", a)
            compare("ravel", a)
            for k in range(-2, 5):
                compare("rot90", a, k)
                compare("rot90", a, k, axes=(1, 0))
    for call in (lambda: mx.fliplr(mx.ones((2,))), lambda: mx.rot90(mx.ones((2, 2)), axes=(0, -2))):
        with pytest.raises(ValueError, match="expected"):
            call()


def test_joining() -> None:
    for shapes in (((2,), (3,)), ((2, 3), (2, 3)), ((2, 3, 4), (2, 3, 4)), ((), ())):
        parts = [values(s, d) for s, d in zip(shapes, ("int32", "float32"), strict=True)]
        compare("hstack", parts)
        if len({p.shape for p in parts}) == 1:
            compare("vstack", parts)
            compare("dstack", parts)
            compare("column_stack", parts) if parts[0].ndim else None
        compare("append", *parts)
    compare("append", values((2, 3), "int32"), values((1, 3), "int32"), axis=0)
    for n, cut in itertools.product((7, 2, 0), (1, 3, [2, 5], [0, 9], [-2])):
        compare("array_split", np.arange(n), cut)
        compare("array_split", np.ones((2, n)), cut, axis=1)
    for name in ("hstack", "vstack"):
        with pytest.raises(ValueError, match="list of arrays"):
            getattr(mx, name)([])
    with pytest.raises(ValueError, match="at least one part"):
        mx.array_split(mx.ones((2,)), 0)
    with pytest.raises(TypeError, match="number of parts"):
        mx.array_split(mx.ones((2,)), 2**33)


def test_choosing(path: str) -> None:
    x = values((3, 4), "float32")
    compare("select", [x < 2, x > 5], [x, 10 * x])
    compare("select", [x < 2, x > 5], [x, 10 * x], default=-1.0)
    compare("piecewise", x, [x < 2, x > 5], [0.5, lambda v: v * v])
    compare("piecewise", x, [x < 2, x > 5], [0.5, lambda v: v * v, lambda v: -v])
    for n, k, m in ((3, 0, None), (3, 1, 5), (4, -2, 2)):
        compare("tril_indices", n, k, m)
        compare("triu_indices", n, k, m)
    with pytest.raises(ValueError, match="as many choices"):
        mx.select([], [])
    with pytest.raises(ValueError, match="functions"):
        mx.piecewise(mx.ones((2,)), [mx.ones((2,)) > 0], [])


# --- pointwise --------------------------------------------------------------------------------------------------------
POINTS = [0.0, -0.0, 0.5, -0.75, 1.0, 1.5, 2.0, -2.5, 3.0, 1e-3, 10.0, 300.0, -300.0, np.inf, -np.inf, np.nan, 7.25]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32", "uint8", "bool"])
def test_pointwise(dtype: str, path: str) -> None:
    with np.errstate(all="ignore"):
        line = np.array(POINTS).astype(dtype) if dtype.startswith("float") else np.arange(17).astype(dtype)
        wide = line.astype("float64" if dtype == "float64" else "float32")
    for x, y in (
        (line, wide),
        (line.reshape(1, 17, 1)[:, ::-2], wide.reshape(1, 17, 1)[:, ::-2]),
        (line[:0], wide[:0]),
    ):
        for name in ("exp2", "cbrt", "sinc"):
            with np.errstate(all="ignore"):
                expected = getattr(np, name)(y)
            same(
                getattr(mx, name)(to_mx(x)),
                expected,
                f"{name} {dtype}",
                max(TOLERANCE.get(dtype, 0), 1e-6) if dtype != "float64" else 1e-14,
            )
    for name in ("heaviside", "fmax", "fmin", "fmod"):
        a, b = np.meshgrid(line, line[::3])
        if dtype == "bool" and name == "fmod":
            continue
        if name == "fmod":  # quotients of any size are not for one reduction
            keep = b != 0
            a, b = a[keep], b[keep]
        if name == "heaviside" and not dtype.startswith("float"):
            a, b = a.astype("float32"), b.astype("float32")
        compare(name, a, b)
    assert mx.fmax(mx.array([1.0, mx.nan]), 2.0).tolist() == [2, 2]


def test_pointwise_refuse() -> None:
    for name in ("exp2", "cbrt", "erfc", "lgamma", "digamma", "sinc"):
        with pytest.raises(ValueError, match="real numbers"):
            getattr(mx, name)(mx.array(1j))
    for name in ("gcd", "lcm"):
        with pytest.raises(ValueError, match="integers"):
            getattr(mx, name)(mx.array([1.5]), 2)
    with pytest.raises(ValueError, match="real numbers"):
        mx.fmod(mx.array(1j), 2)
    with pytest.raises(TypeError, match="stream"):
        mx.lgamma(mx.array(1.0), stream="a")


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "int16", "uint64"])
def test_divisors(dtype: str, path: str) -> None:
    low = 0 if dtype.startswith("u") else -12
    a, b = (np.random.default_rng(i).integers(low, 13, 40).astype(dtype) for i in (0, 1))
    for name in ("gcd", "lcm"):
        compare(name, a, b)
        compare(name, a.reshape(4, 10), b[:10])
        compare(name, a.reshape(40, 1), b)
    assert mx.vmap(mx.gcd, in_axes=(0, None))(mx.array([4, 6]), mx.array(10)).tolist() == [2, 2]
