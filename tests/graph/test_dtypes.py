"""The promotion lattice, against MLX's."""

from __future__ import annotations

import itertools
import pickle

import mlx.core as mlx
import numpy as np
import pytest

from arrax.graph import dtypes
from arrax.graph.dtypes import Dtype, dtype_named, from_numpy, promote, promote_scalar

NAMES = "bool_ uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64"
ALL: list[Dtype] = [getattr(dtypes, name) for name in NAMES.split()]


def theirs(dtype: Dtype) -> mlx.Dtype:
    return getattr(mlx, "bool_" if dtype is dtypes.bool_ else dtype.name)


@pytest.mark.parametrize(("a", "b"), list(itertools.product(ALL, ALL)), ids=lambda d: d.name)
def test_promotion(a: Dtype, b: Dtype) -> None:
    assert theirs(promote(a, b)) == mlx.result_type(theirs(a), theirs(b))
    assert promote(a, b) is promote(b, a)
    assert promote(a, promote(a, b)) is promote(a, b)


@pytest.mark.parametrize("dtype", ALL, ids=lambda d: d.name)
def test_python_scalars_are_weak(dtype: Dtype) -> None:
    for value in (True, 1, 1.5, 1j):
        with mlx.stream(mlx.cpu):
            expected = (mlx.zeros((2,), dtype=theirs(dtype)) + value).dtype
        assert theirs(promote_scalar(dtype, type(value))) == expected


@pytest.mark.parametrize("dtype", ALL, ids=lambda d: d.name)
def test_names_sizes_and_numpy(dtype: Dtype) -> None:
    assert dtype_named(dtype.name) is dtype
    assert from_numpy(dtype.np) is dtype
    assert dtype.size == dtype.np.itemsize == theirs(dtype).size
    assert pickle.loads(pickle.dumps(dtype)) is dtype
    assert dtype.compute is (dtypes.float32 if dtype.name in ("float16", "bfloat16") else dtype)


def test_codes_are_distinct() -> None:
    """The text of a kernel tells types apart: it is the key of the cache of code."""
    assert len({d.code for d in ALL}) == len(ALL)


def test_numpy_types_that_are_not_ours() -> None:
    for name in ("complex128", "datetime64[s]", "S3", "U3", "object"):
        assert from_numpy(np.dtype(name)) is None
