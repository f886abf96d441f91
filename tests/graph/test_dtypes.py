"""The promotion lattice, against MLX's, which has no complex128."""

from __future__ import annotations

import itertools
import pickle

import mlx.core as mlx
import numpy as np
import pytest

from arrax.graph import dtypes
from arrax.graph.dtypes import Dtype, dtype_named, from_numpy, promote, promote_scalar, real_of, to_complex

NAMES = "bool_ uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64 complex128"
ALL: list[Dtype] = [getattr(dtypes, name) for name in NAMES.split()]


THEIRS = [d for d in ALL if d is not dtypes.complex128]
DOUBLE = (dtypes.float64, dtypes.complex128)


def theirs(dtype: Dtype) -> mlx.Dtype:
    return getattr(mlx, "bool_" if dtype is dtypes.bool_ else dtype.name)


@pytest.mark.parametrize(("a", "b"), list(itertools.product(ALL, ALL)), ids=lambda d: d.name)
def test_promotion(a: Dtype, b: Dtype) -> None:
    if (a.is_complex or b.is_complex) and (a in DOUBLE or b in DOUBLE):
        assert promote(a, b) is dtypes.complex128
    else:
        assert theirs(promote(a, b)) == mlx.result_type(theirs(a), theirs(b))
    assert promote(a, b) is promote(b, a)
    assert promote(a, promote(a, b)) is promote(a, b)


@pytest.mark.parametrize("dtype", THEIRS, ids=lambda d: d.name)
def test_python_scalars_are_weak(dtype: Dtype) -> None:
    for value in (True, 1, 1.5, 1j):
        if dtype is dtypes.float64 and isinstance(value, complex):
            continue
        with mlx.stream(mlx.cpu):
            expected = (mlx.zeros((2,), dtype=theirs(dtype)) + value).dtype
        assert theirs(promote_scalar(dtype, type(value))) == expected


@pytest.mark.parametrize("dtype", ALL, ids=lambda d: d.name)
def test_scalars_keep_the_precision(dtype: Dtype) -> None:
    double = dtypes.complex128 if dtype in DOUBLE else dtypes.complex64
    assert promote_scalar(dtype, complex) is to_complex(dtype) is double
    for kind in (bool, int, float):
        assert promote_scalar(dtypes.complex128, kind) is dtypes.complex128
    assert promote(real_of(to_complex(dtype)), to_complex(dtype)) is to_complex(dtype)
    assert real_of(dtype) is (dtype if not dtype.is_complex else DOUBLE[0] if dtype in DOUBLE else dtypes.float32)


@pytest.mark.parametrize("dtype", ALL, ids=lambda d: d.name)
def test_names_sizes_and_numpy(dtype: Dtype) -> None:
    assert dtype_named(dtype.name) is dtype
    assert from_numpy(dtype.np) is dtype
    assert dtype.size == dtype.np.itemsize and (dtype is dtypes.complex128 or dtype.size == theirs(dtype).size)
    assert pickle.loads(pickle.dumps(dtype)) is dtype
    assert dtype.compute is (dtypes.float32 if dtype.name in ("float16", "bfloat16") else dtype)


def test_codes_are_distinct() -> None:
    """The text of a kernel tells types apart: it is the key of the cache of code."""
    assert len({d.code for d in ALL}) == len(ALL)


def test_numpy_types_that_are_not_ours() -> None:
    for name in ("clongdouble", "datetime64[s]", "S3", "U3", "object"):
        assert from_numpy(np.dtype(name)) is None
