"""Element types and their promotion lattice.

The lattice is MLX's, with complex128 added: a result has the smallest type of the widest category among the operands,
with four peculiarities: an unsigned and a signed integer meet in the next wider signed one, uint64 and a signed integer
meet in float32, float16 and bfloat16 meet in float32, and float64 and complex64 meet in complex128, because no type
holds less than its operands do. A Python scalar is weak: it takes the array's type unless its category is higher.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np

_BOOL, _UNSIGNED, _SIGNED, _FLOAT, _COMPLEX = range(5)


class Dtype:
    """An element type.

    Attributes:
        name: the type's name, such as ``"float32"``.
        size: bytes per element.
        np: the NumPy dtype with the same layout.
        compute: the type in which arithmetic on values of this one is done, before the result is rounded to it.
        accumulate: the type in which many values of this one are added or multiplied up.
    """

    __slots__ = ("accumulate", "category", "code", "compute", "index", "name", "np", "size")
    __module__ = "arrax.core"  # where programs find it

    def __init__(self, name: str, category: int, numpy_type: type) -> None:
        try:
            self.np = np.dtype(numpy_type)
        except (TypeError, ValueError):
            raise TypeError(
                "[Dtype] expected one of the types that there are: take mx.float32 or another one"
            ) from None
        self.name = name
        self.category = category
        self.size = self.np.itemsize
        self.compute = self
        self.accumulate = self
        self.index = -1
        self.code = "?"

    @property
    def is_float(self) -> bool:
        return self.category == _FLOAT

    @property
    def is_complex(self) -> bool:
        return self.category == _COMPLEX

    @property
    def is_inexact(self) -> bool:
        return self.category >= _FLOAT

    @property
    def is_signed(self) -> bool:
        return self.category >= _SIGNED

    @property
    def is_integer(self) -> bool:
        return self.category in (_UNSIGNED, _SIGNED)

    def __repr__(self) -> str:
        return f"{type(self).__module__}.{self.name}"

    def __reduce__(self) -> tuple:
        return (dtype_named, (self.name,))


bool_ = Dtype("bool", _BOOL, np.bool_)
uint8 = Dtype("uint8", _UNSIGNED, np.uint8)
uint16 = Dtype("uint16", _UNSIGNED, np.uint16)
uint32 = Dtype("uint32", _UNSIGNED, np.uint32)
uint64 = Dtype("uint64", _UNSIGNED, np.uint64)
int8 = Dtype("int8", _SIGNED, np.int8)
int16 = Dtype("int16", _SIGNED, np.int16)
int32 = Dtype("int32", _SIGNED, np.int32)
int64 = Dtype("int64", _SIGNED, np.int64)
float16 = Dtype("float16", _FLOAT, np.float16)
bfloat16 = Dtype("bfloat16", _FLOAT, ml_dtypes.bfloat16)
float32 = Dtype("float32", _FLOAT, np.float32)
float64 = Dtype("float64", _FLOAT, np.float64)
complex64 = Dtype("complex64", _COMPLEX, np.complex64)
complex128 = Dtype("complex128", _COMPLEX, np.complex128)

ALL = (
    bool_, uint8, uint16, uint32, uint64, int8, int16, int32, int64, float16, bfloat16, float32, float64, complex64,
    complex128,
)  # fmt: skip
for _i, _d in enumerate(ALL):
    _d.index = _i
    _d.code = "?BHIJbhijefFdcC"[_i]
# An operation on half precision is done in float32 and rounded.
float16.compute = bfloat16.compute = float32
# Sums in double precision have no error left that their order could show after they are rounded.
float16.accumulate = bfloat16.accumulate = float32.accumulate = float64
complex64.accumulate = complex128

_BY_NAME = {d.name: d for d in ALL}
_BY_NUMPY = {d.np: d for d in ALL}
_PARTS = {complex64: float32, complex128: float64}


def dtype_named(name: str) -> Dtype:
    return _BY_NAME[name]


def from_numpy(numpy_dtype: np.dtype) -> Dtype | None:
    """The element type of a NumPy dtype, or None where we have none (byte orders other than the machine's included)."""
    return _BY_NUMPY.get(np.dtype(numpy_dtype))


def through_integer(a: Dtype) -> Dtype:
    """The signed integer type whose low bits a float becomes when it is cast to the integer type ``a``."""
    return int64 if a.size == 8 or a is uint32 else int32


def integers_of(floats: np.ndarray, dtype: Dtype) -> np.ndarray:
    """Floats cast to an integer type, as the machine code does it.

    They are truncated to the low bits of a signed integer, which is its least number where it cannot hold the float;
    uint64 takes what 2**63 and more exceed that by first, and adds it again.
    """
    through = through_integer(dtype)
    limit = 2.0 ** (8 * through.size - 1)
    wide = np.asarray(floats).astype(np.float64)
    with np.errstate(all="ignore"):
        high = wide >= limit if dtype is uint64 else np.zeros(wide.shape, bool)
        wide = np.where(high, wide - limit, wide)
        whole = np.where(np.abs(wide) < limit, wide, -limit).astype(through.np)
        return (whole ^ np.where(high, through.np.type(-limit), through.np.type(0))).astype(dtype.np)


def converted(a: np.ndarray, dtype: Dtype) -> np.ndarray:
    """An array's elements in another type; half precision is reached from float32, as in machine code and in MLX."""
    return a.astype(dtype.compute.np, copy=False).astype(dtype.np, copy=False)


def accumulator(combine: str, a: Dtype) -> Dtype:
    """The type in which many values of type ``a`` are combined: sums and products in ``accumulate``."""
    return a.accumulate if combine in ("add", "mul") else a.compute


def accumulated(combine: str, a: np.ndarray) -> np.ndarray:
    """An array's elements in the type in which they are combined."""
    return a.astype(accumulator(combine, _BY_NUMPY[a.dtype]).np, copy=False)


def to_complex(a: Dtype) -> Dtype:
    """The complex type whose parts hold values of type ``a``: complex128 for double precision, complex64 otherwise."""
    return complex128 if a is float64 or a is complex128 else complex64


def real_of(a: Dtype) -> Dtype:
    """The type of the parts of a complex type; any other type is its own."""
    return _PARTS.get(a, a)


def _join(a: Dtype, b: Dtype) -> Dtype:
    if a.category == b.category:
        if {a, b} == {float16, bfloat16}:
            return float32
        return a if a.size >= b.size else b
    low, high = (a, b) if a.category < b.category else (b, a)
    if low.category == _UNSIGNED and high.category == _SIGNED:
        if high.size > low.size:
            return high
        return {1: int16, 2: int32, 4: int64, 8: float32}[low.size]
    return to_complex(low) if high.is_complex and low is float64 else high


_TABLE = tuple(tuple(_join(a, b) for b in ALL) for a in ALL)


def promote(a: Dtype, b: Dtype) -> Dtype:
    """The type in which values of both types can meet."""
    return _TABLE[a.index][b.index]


def _weak(category: int, default: Dtype) -> tuple[Dtype, ...]:
    return tuple(d if d.category >= category else default for d in ALL)


_WEAK = {
    bool: ALL,
    int: _weak(_UNSIGNED, int32),
    float: _weak(_FLOAT, float32),
    complex: tuple(to_complex(d) for d in ALL),
}
_SCALAR = {bool: bool_, int: int32, float: float32, complex: complex64}


def promote_scalar(a: Dtype, kind: type) -> Dtype:
    """The type in which an array of type ``a`` meets a Python scalar of the given class."""
    return _WEAK[kind][a.index]


def scalar_dtype(kind: type) -> Dtype:
    """The type that a Python scalar has on its own."""
    return _SCALAR[kind]


def to_inexact(a: Dtype) -> Dtype:
    """The type in which functions on real numbers (exp, divide, mean) compute for values of type ``a``."""
    return a if a.category >= _FLOAT else float32
