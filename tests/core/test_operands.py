"""What an operand may be, besides arrays: each kind of object, in each place, as MLX takes it.

What differs on purpose is listed in ``KNOWN``, by object, with the reason.
"""

from __future__ import annotations

import array as buffers
import ctypes
import enum
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import mlx.core as apple
import numpy as np
import pytest

import arrax.core as mx

F32 = np.array([1.5, 2.5, 3.5], np.float32)


def having(**methods: Callable[..., Any]) -> Any:
    """An object whose class has these methods."""
    return type("Object", (), methods)()


def offering(array: np.ndarray) -> Any:
    """An object that offers its memory through DLPack, and nothing else."""
    return having(
        __dlpack__=lambda self, **options: array.__dlpack__(**options),
        __dlpack_device__=lambda self: array.__dlpack_device__(),
    )


def broken(self: Any) -> Any:
    raise KeyError("broken")


Whole = enum.IntEnum("Whole", "A B")

# Made anew for each use, of the module that is given.
OBJECTS: dict[str, Callable[[Any], Any]] = {
    "bool": lambda m: True,
    "int": lambda m: 2,
    "int, 2**40": lambda m: 2**40,
    "int, 2**64": lambda m: 2**64,
    "float": lambda m: 2.5,
    "complex": lambda m: 2j,
    "subclass of int": lambda m: type("Int", (int,), {})(2),
    "subclass of float": lambda m: type("Float", (float,), {})(2.5),
    "subclass of complex": lambda m: type("Complex", (complex,), {})(2j),
    "IntEnum": lambda m: Whole.B,
    "Flag": lambda m: enum.Flag("Flag", "A").A,
    "Decimal": lambda m: Decimal("2.5"),
    "Fraction": lambda m: Fraction(5, 2),
    "__float__": lambda m: having(__float__=lambda self: 2.5),
    "__index__": lambda m: having(__index__=lambda self: 2),
    "__complex__": lambda m: having(__complex__=lambda self: 2j),
    "__int__": lambda m: having(__int__=lambda self: 2),
    "__bool__": lambda m: having(__bool__=lambda self: True),
    "__array__": lambda m: having(__array__=lambda self, dtype=None, copy=None: F32),
    "__array_interface__": lambda m: SimpleNamespace(__array_interface__=F32.__array_interface__),
    "DLPack": lambda m: offering(F32),
    "DLPack, float64": lambda m: offering(F32.astype(np.float64)),
    "DLPack, int64": lambda m: offering(np.arange(3)),
    "__mlx_array__": lambda m: having(__mlx_array__=lambda self: m.array([1.5, 2.5, 3.5])),
    "__mlx_array__, int": lambda m: having(__mlx_array__=lambda self: m.array([1, 2, 3])),
    "__mlx_array__, wrong": lambda m: having(__mlx_array__=lambda self: 3.0),
    "__mlx_array__, raises": lambda m: having(__mlx_array__=broken),
    "list": lambda m: [1, 2, 3],
    "tuple": lambda m: (1.5, 2, 3),
    "empty list": lambda m: [],
    "ragged list": lambda m: [[1], [2, 3]],
    "list of arrays": lambda m: [m.array(1), m.array(2.5), m.array(3)],
    "list of NumPy scalars": lambda m: [np.int64(1)] * 3,
    "list of NumPy arrays": lambda m: [np.ones(3, np.float32)] * 3,
    "list of Decimal": lambda m: [Decimal(1)] * 3,
    "list of strings": lambda m: ["a"] * 3,
    "list of None": lambda m: [None] * 3,
    "str": lambda m: "abc",
    "bytes": lambda m: b"abc",
    "bytearray": lambda m: bytearray(b"abc"),
    "memoryview": lambda m: memoryview(F32),
    "array('d')": lambda m: buffers.array("d", [1, 2, 3]),
    "array('q')": lambda m: buffers.array("q", [1, 2, 3]),
    "c_int": lambda m: ctypes.c_int(3),
    "dict": lambda m: {},
    "set": lambda m: {1, 2},
    "range": lambda m: range(3),
    "object": lambda m: object(),
    "function": lambda m: len,
    "type": lambda m: np.float32,
    "dtype": lambda m: m.float32,
    "None": lambda m: None,
    "...": lambda m: ...,
    "NumPy's bfloat16": lambda m: np.ones(3, ml_dtypes.bfloat16),
    "NumPy's bfloat16 scalar": lambda m: ml_dtypes.bfloat16(2),
    "NumPy's float8": lambda m: np.ones(3, ml_dtypes.float8_e4m3fn),
    "NumPy, big endian": lambda m: np.ones(3, ">f4"),
    "NumPy, strided": lambda m: np.ones((3, 2), np.float32)[:, 0],
    "NumPy, no axes": lambda m: np.array(2.5),
    "NumPy, objects": lambda m: np.array([1, 2, 3], object),
    "NumPy, strings": lambda m: np.array(["a"] * 3),
    "NumPy, dates": lambda m: np.array(["2020-01-01"] * 3, "datetime64[D]"),
    "NumPy, records": lambda m: np.zeros(3, [("a", "f4")]),
}
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
for name in ("bool_", *INTEGERS, "float16", "float32", "float64", "longdouble", "complex64", "complex128"):
    OBJECTS[f"np.{name}"] = lambda m, name=name: getattr(np, name)(2)
    OBJECTS[f"NumPy, {name}"] = lambda m, name=name: np.ones(3, getattr(np, name))

PLACES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "a + x": lambda m, a, x: a + x,
    "a += x": lambda m, a, x: a.__iadd__(x),
    "a == x": lambda m, a, x: a == x,
    "a != x": lambda m, a, x: a != x,
    "a < x": lambda m, a, x: a < x,
    "subtract(x, a)": lambda m, a, x: m.subtract(x, a),
    "a[:] = x": lambda m, a, x: a.__setitem__(slice(None), x) or a,
    "a.at[:].add(x)": lambda m, a, x: a.at[:].add(x),
    "add(a, x)": lambda m, a, x: m.add(a, x),
    "add(x, a)": lambda m, a, x: m.add(x, a),
    "maximum(x, x)": lambda m, a, x: m.maximum(x, x),
    "negative(x)": lambda m, a, x: m.negative(x),
    "where(a, a, x)": lambda m, a, x: m.where(a, a, x),
    "sum(x)": lambda m, a, x: m.sum(x),
    "full(3, x)": lambda m, a, x: m.full((3,), x),
    "array(x)": lambda m, a, x: m.array(x),
    "array(x, float16)": lambda m, a, x: m.array(x, m.float16),
    "array(x, int8)": lambda m, a, x: m.array(x, m.int8),
    "array(x, complex64)": lambda m, a, x: m.array(x, m.complex64),
    "asarray(x)": lambda m, a, x: m.asarray(x),
}
DTYPES = ["float32", "int32", "bfloat16", "bool_", "complex64", "uint8"]

NO_TYPE = "MLX cannot name this type and gives up, or reads a complex number; we convert it"
BAD_CAST = "MLX reports a failed conversion in C++, as RuntimeError; the value is wrong, so we raise ValueError"
ALSO = "more than MLX takes"
KNOWN = {
    "__array__": ALSO,
    "__array_interface__": ALSO,
    "NumPy, big endian": NO_TYPE,
    "NumPy, longdouble": NO_TYPE,
    "np.longdouble": NO_TYPE,
    "NumPy's bfloat16": NO_TYPE,
    "NumPy's bfloat16 scalar": NO_TYPE,
    "np.complex128": "MLX drops the imaginary part of this scalar, although it is a Python complex",
    "int, 2**64": BAD_CAST,
    "int, 2**40": "as an operand of booleans MLX lets it overflow",
    "NumPy's float8": BAD_CAST,
    "NumPy, objects": BAD_CAST,
    "NumPy, strings": BAD_CAST,
    "NumPy, dates": BAD_CAST,
    "NumPy, records": BAD_CAST,
    "__mlx_array__": "MLX's functions of two arguments take it as the second of an operator only",
    "__mlx_array__, int": "MLX's functions of two arguments take it as the second of an operator only",
    "__mlx_array__, raises": "MLX hides the error in functions of two arguments",
}


def outcome(m: Any, place: str, name: str, dtype: str) -> Any:
    """The result of using an object in some place, or the type of the error."""
    try:
        result = PLACES[place](m, m.array([1, 1, 0]).astype(getattr(m, dtype)), OBJECTS[name](m))
        if not isinstance(result, m.array):
            return result
        return str(result.dtype).split(".")[-1], tuple(result.shape), repr(result.tolist())
    except Exception as error:
        return type(error)


def agree(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, type) and isinstance(theirs, type):
        return issubclass(ours, theirs)
    return bool(ours == theirs)


@pytest.mark.parametrize("name", OBJECTS)
def test_operands(name: str) -> None:
    differing = []
    for place in PLACES:
        for dtype in DTYPES if "a" in place.replace("array", "") else DTYPES[:1]:
            ours, theirs = outcome(mx, place, name, dtype), outcome(apple, place, name, dtype)
            if not agree(ours, theirs):
                differing.append((place, dtype, ours, theirs))
    if name in KNOWN:
        assert differing, "is not different any more"
    else:
        assert not differing


@pytest.mark.parametrize("name", ["__array__", "__array_interface__", "__mlx_array__", "NumPy, big endian"])
def test_what_is_taken_in_addition(name: str) -> None:
    expected = [2.0, 2.0, 2.0] if "endian" in name else [2.5, 3.5, 4.5]
    assert (mx.ones((3,)) + OBJECTS[name](mx)).tolist() == expected
    assert mx.add(OBJECTS[name](mx), mx.ones((3,))).tolist() == expected
    assert (1j * mx.ones((1,)) + np.complex128(2j)).tolist() == [3j]
