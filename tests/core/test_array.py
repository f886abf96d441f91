"""The array itself: operators, conversions, printing, copies, memory, evaluation."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import ml_dtypes
import mlx.core
import numpy as np
import pytest

import arrax.core as mx

EXPRESSIONS = """
a + 1.5
a + True
a / 2
a // 2
a % 2
a ** 2
a ** 0.5
2 ** a
a ** -1
h + 1.5
a + None
a + 'a'
a == None
a != None
a < None
a == [1, 2, 3]
a == 'a'
a != 'a'
a == np.array([1, 2, 3])
a + [1, 2, 3]
a + (1, 2, 3)
-mx.array([True])
-u
fm @ fm.T
a @ 1
u + 300
u + -1
a + 2**40
f + 1j
1 - a
1.5 // a
7 % a
a + mx.array(1, dtype=mx.uint32)
a + mx.array(1, dtype=mx.uint64)
abs(-a)
+a
bool(a)
int(a)
float(mx.array(2))
int(mx.array(2.7))
complex(mx.array(1))
len(a)
len(mx.array(1))
list(a)
list(mx.array(1))
a.item()
mx.array(1.5).item()
mx.array([[1.5]]).item()
mx.array(True).item()
mx.array(1, dtype=mx.bfloat16).item()
mx.array([1, 2], dtype=mx.bfloat16).tolist()
mx.array([]).tolist()
mx.array(3).tolist()
x3.tolist()
f'{mx.array(1.5):.2f}'
f'{a}'
f'{f:.2f}'
[1, 2, 3][mx.array(1)]
[1, 2, 3][mx.array(1.0)]
a.__index__()
x3.T
x3.mT
a.T
a.mT
x3.nbytes, x3.itemsize, x3.ndim, x3.size, x3.shape
a.real
a.imag
mx.array(1 + 2j).imag
a.__dlpack_device__()
bytes(a)
x3.reshape(-1, 4)
x3.reshape((4, 6))
x3.transpose(2, 0, 1)
x3.transpose((2, 0, 1))
x3.transpose()
fm.var(0, ddof=1)
fm.std(0, correction=1)
fm.sum(axis=1, keepdims=True)
fm.mean()
fm.split(3, axis=1)
fm.round(1)
fm.view(mx.int32)
fm.cumsum(axis=0)
fm.logsumexp(axis=1)
fm.max(axis=-1)
fm.astype(mx.bool_)
str(mx.array([nan, inf, -inf, 1e-10, 1e10, 123456789.0, 0.1]))
str(mx.array(1e20))
str(mx.array([1.1, 1234567.0, 1e-5, 0.0001, 123456.7, -0.0]))
str(mx.array([complex(0, -0.0), complex(inf, -inf), 1.123456789 - 3.123456789j]))
str(mx.array([1, -2], dtype=mx.int8))
str(mx.arange(1000))
str(mx.arange(24).reshape(2, 3, 4))
str(mx.zeros((8, 2, 2)))
str(mx.zeros((7, 0)))
str(mx.array([1.1], dtype=mx.bfloat16))
str(mx.array(True))
np.array(a)
np.array(fm.T).tolist()
np.asarray(h).dtype
np.array(a, dtype=np.float64).tolist()
np.from_dlpack(a)
mx.from_dlpack(np.arange(3))
mx.from_dlpack(np.arange(6).reshape(2, 3).T)
mx.from_dlpack(np.arange(6)[::-2])
mx.from_dlpack(np.arange(6).reshape(2, 3)[:, ::-1])
hash(a) == hash(a)
""".strip().splitlines()


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_agrees_with_mlx(agree: Callable[..., None], expression: str) -> None:
    agree(expression)


OPERATORS = ["+=", "-=", "*=", "/=", "//=", "%=", "**=", "@=", "&=", "|=", "^=", "<<=", ">>="]


@pytest.mark.parametrize("operator", OPERATORS)
def test_in_place_operators_rebind_every_name(operator: str) -> None:
    values = [[5, 3], [2, 1]]
    integers = operator in ("&=", "|=", "^=", "<<=", ">>=")
    results = []
    for lib in (mx, mlx.core):
        x = lib.array(values) if integers else lib.array(values).astype(lib.float32)
        names = {"x": x, "y": x, "before": x + 0, "other": lib.array([[2, 1], [1, 3]]).astype(x.dtype)}
        exec(f"x {operator} other", names)
        assert names["x"] is names["y"]
        assert names["before"].tolist() == values
        results.append(x.tolist())
    assert results[0] == results[1]


def test_in_place_operators_change_type_and_shape() -> None:
    x = mx.array([1, 2])
    x += mx.array([[0.5], [1.5]])
    assert x.dtype is mx.float32 and x.shape == (2, 2)


def test_methods_and_functions_of_mlx_exist() -> None:
    hidden = {"__div__", "__rdiv__", "__getstate__", "__setstate__"}  # Python 2, and what __reduce__ replaces
    assert not {n for n in dir(mlx.core.array) if n not in hidden} - set(dir(mx.array))


def test_copies_share_nothing_that_changes() -> None:
    x = mx.array([1, 2])
    for y in (copy.copy(x), copy.deepcopy(x), mx.array(x), pickle.loads(pickle.dumps(x))):
        y[0] = 7
        assert x.tolist() == [1, 2] and y.tolist() == [7, 2] and y.dtype is x.dtype


@pytest.mark.parametrize("dtype", [mx.bfloat16, mx.complex64, mx.bool_, mx.float64])
def test_pickle_keeps_types(dtype: mx.Dtype) -> None:
    x = mx.array([[0, 1]], dtype=dtype)
    y = pickle.loads(pickle.dumps(x))
    assert y.dtype is dtype and y.shape == (1, 2) and mx.array_equal(x, y).item()
    assert pickle.loads(pickle.dumps(dtype)) is dtype


def test_numpy_views_write_to_the_array_and_outlive_it() -> None:
    x = mx.arange(4) * 2
    view, own = np.asarray(x), np.array(x)
    own[0] = 9
    view[1] = 7
    assert x.tolist() == [0, 7, 4, 6] and (x + 1).tolist() == [1, 8, 5, 7]
    del x
    assert view.tolist() == [0, 7, 4, 6]


def test_numpy_knows_bfloat16() -> None:
    x = mx.array([1.5], dtype=mx.bfloat16)
    assert np.array(x).dtype == ml_dtypes.bfloat16
    assert mx.array(np.array(x)).dtype is mx.bfloat16


def test_other_arrays_are_taken() -> None:
    class Wrapped:
        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
            return np.arange(3.0)

    assert mx.array(Wrapped()).dtype is mx.float32
    assert (mx.ones(3) + Wrapped()).tolist() == [1, 2, 3]
    assert mx.array(np.array([1, 2], dtype=">i4")).tolist() == [1, 2]


def test_evaluation_walks_trees() -> None:
    x, y, z = (mx.ones(2) + i for i in range(3))
    mx.eval(x, [y, (3, None)], {"z": {"z": z}})
    assert all(a._node.buffer is not None for a in (x, y, z))
    mx.async_eval(x + y)


def test_print_options() -> None:
    x = mx.array([1.23456789, 100000.0])
    with mx.printoptions(precision=3):
        assert mx.get_printoptions().precision == 3
        assert repr(x) == "array([1.235, 100000.000], dtype=float32)"
    assert repr(x) == "array([1.23457, 100000], dtype=float32)"


def test_streams_and_devices() -> None:
    with mx.stream(mx.cpu):
        assert mx.add(1, 2, stream=mx.cpu).item() == 3
    own = mx.new_stream(mx.cpu)
    with mx.stream(own):
        assert mx.default_stream(mx.cpu) == own
    assert mx.default_stream(mx.cpu) != own
    for ask in (mx.set_default_device, mx.default_stream, mx.new_stream):
        with pytest.raises(ValueError, match="no GPU"):
            ask(mx.gpu)


def test_memory_is_counted_and_bounded() -> None:
    mx.clear_cache()
    before = mx.get_active_memory()
    x = mx.zeros((1 << 20,)) + 1
    mx.eval(x)
    assert mx.get_active_memory() >= before + x.nbytes
    assert mx.get_peak_memory() >= mx.get_active_memory()
    del x
    assert mx.get_active_memory() < before + (1 << 20)
    former = mx.set_cache_limit(0)
    assert mx.get_cache_memory() == 0
    assert mx.set_cache_limit(former) == 0


def test_every_exported_name_exists() -> None:
    assert len(set(mx.__all__)) == len(mx.__all__)
    assert all(hasattr(mx, name) for name in mx.__all__)
    assert all(getattr(mx, name).__doc__ for name in mx.__all__ if callable(getattr(mx, name)))
