"""Values of all types, and the comparison of a function with NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np

import arrax.core as mx

TYPES = ("float32", "float64", "float16", "int32", "uint8", "bool", "complex64", "int64")
TOLERANCE = {"float16": 4e-3, "bfloat16": 3e-2, "float32": 4e-6, "float64": 1e-12, "complex64": 1e-5}


def values(shape: tuple[int, ...], dtype: str, special: bool = False, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed + len(shape))
    found = np.array(rng.integers(0, 2 if dtype == "bool" else 9, shape)).astype(dtype)
    if dtype.startswith(("float", "complex")):
        found = np.array(found + rng.normal(size=shape)).astype(dtype)
        if dtype == "complex64":
            found = found + 1j * rng.normal(size=shape).astype("float32")
        found = np.asarray(found)
        if special and found.size:
            flat = found.reshape(-1)
            flat[rng.integers(0, found.size, 1 + found.size // 4)] = np.nan
            flat[rng.integers(0, found.size, 1)] = np.inf
    return found


def to_mx(value: Any) -> Any:
    """NumPy arrays in the same type, also inside tuples, lists and slices."""
    if isinstance(value, np.ndarray):
        return mx.array(value, dtype=getattr(mx, "bool_" if value.dtype == bool else value.dtype.name))
    if isinstance(value, tuple | list):
        return type(value)(map(to_mx, value))
    return value


def same(found: Any, expected: Any, what: str, tolerance: float | None = None) -> None:
    if isinstance(expected, tuple | list):
        assert len(found) == len(expected), what
        for x, y in zip(found, expected, strict=True):
            same(x, y, what, tolerance)
        return
    want = np.asarray(expected)
    assert isinstance(found, mx.array), what
    assert found.shape == want.shape, f"{what}: shape {found.shape}, expected {want.shape}"
    got = np.array(found)
    if want.dtype.kind in "fc":
        t = TOLERANCE.get(found.dtype.name, 4e-6) if tolerance is None else tolerance
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(got, want.astype(got.dtype), rtol=t, atol=t, err_msg=what)
    else:
        np.testing.assert_array_equal(got, want, err_msg=what)


def compare(name: str, *args: Any, tolerance: float | None = None, **kw: Any) -> None:
    what = f"{name} {[(a.dtype.name, a.shape) if isinstance(a, np.ndarray) else a for a in args]} {kw}"
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(*args, **kw)
    ours = {key: to_mx(value) for key, value in kw.items()}
    same(getattr(mx, name)(*map(to_mx, args), **ours), expected, what, tolerance)


def views(a: np.ndarray) -> list[np.ndarray]:
    """The array, and other arrays with its elements that are not contiguous."""
    return [a, a.T, a[::-1]] if a.ndim > 1 and a.shape[0] > 1 else [a]
