"""Element types: their categories, limits and promotion."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

import numpy as np

from arrax.core.arguments import expect
from arrax.graph.dtypes import (
    Dtype,
    bfloat16,
    bool_,
    complex64,
    complex128,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    promote,
    promote_scalar,
    real_of,
    uint8,
    uint16,
    uint32,
    uint64,
)
from arrax.graph.handle import Handle, shown

if TYPE_CHECKING:
    from arrax.core.array import array

__all__ = [
    "Dtype",
    "DtypeCategory",
    "bfloat16",
    "bool_",
    "can_cast",
    "complex64",
    "complex128",
    "complexfloating",
    "finfo",
    "float16",
    "float32",
    "float64",
    "floating",
    "generic",
    "iinfo",
    "inexact",
    "int8",
    "int16",
    "int32",
    "int64",
    "integer",
    "isdtype",
    "issubdtype",
    "number",
    "result_type",
    "signedinteger",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "unsignedinteger",
]


class DtypeCategory(enum.Enum):
    """A set of types, for ``issubdtype``."""

    complexfloating = 0
    floating = 1
    inexact = 2
    signedinteger = 3
    unsignedinteger = 4
    integer = 5
    number = 6
    generic = 7

    def __repr__(self) -> str:
        return f"DtypeCategory.{self.name}"


complexfloating, floating, inexact = DtypeCategory.complexfloating, DtypeCategory.floating, DtypeCategory.inexact
signedinteger, unsignedinteger = DtypeCategory.signedinteger, DtypeCategory.unsignedinteger
integer, number, generic = DtypeCategory.integer, DtypeCategory.number, DtypeCategory.generic

_PARENT = {
    complexfloating: inexact,
    floating: inexact,
    inexact: number,
    signedinteger: integer,
    unsignedinteger: integer,
    integer: number,
    number: generic,
}
_CATEGORY = (generic, unsignedinteger, signedinteger, floating, complexfloating)


def issubdtype(arg1: Dtype | DtypeCategory, arg2: Dtype | DtypeCategory) -> bool:
    """Whether a type or category lies in another one.

    >>> import arrax.core as mx
    >>> mx.issubdtype(mx.float16, mx.floating)
    True
    """
    for which, x in (("first", arg1), ("second", arg2)):
        if not isinstance(x, Dtype | DtypeCategory):
            raise (TypeError if x is None else ValueError)(
                f"[issubdtype] expected a dtype or a category as {which} argument, got {shown(x)}: pass mx.float32"
            )
    if isinstance(arg2, Dtype):
        return arg1 is arg2
    category: DtypeCategory | None = _CATEGORY[arg1.category] if isinstance(arg1, Dtype) else arg1
    while category is not None and category is not arg2:
        category = _PARENT.get(category)
    return category is arg2


_SCALARS = (bool, int, float, complex)
_KINDS = {
    "bool": lambda d: d is bool_,
    "signed integer": lambda d: d.is_integer and d.is_signed,
    "unsigned integer": lambda d: d.is_integer and not d.is_signed,
    "integral": lambda d: d.is_integer,
    "real floating": lambda d: d.is_float,
    "complex floating": lambda d: d.is_complex,
    "numeric": lambda d: d is not bool_,
}


def isdtype(dtype: Dtype, kind: Dtype | str | tuple[Dtype | str, ...]) -> bool:
    """Whether a type is of a kind of the array API standard (such as 'real floating'), or of one of several."""
    expect("isdtype", Dtype, dtype=dtype)
    if isinstance(kind, tuple):
        return any([isdtype(dtype, k) for k in kind])
    if isinstance(kind, Dtype):
        return dtype is kind
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError(f"[isdtype] expected a kind out of {sorted(_KINDS)}, got {shown(kind)}: choose one of them")
    return _KINDS[kind](dtype)


def result_type(*arrays_and_dtypes: array | Dtype | complex) -> Dtype:
    """The type in which arrays, types and, weakly, Python scalars meet.

    >>> import arrax.core as mx
    >>> mx.result_type(mx.float16, 2.0), mx.result_type(mx.int8, 2.0)
    (arrax.core.float16, arrax.core.float32)
    """
    result: Dtype | None = None
    scalars: list[type] = []
    for x in arrays_and_dtypes:
        dtype = _dtype_of(x)
        if type(dtype) in _SCALARS:
            scalars.append(type(dtype))
        elif not isinstance(dtype, Dtype):
            raise ValueError(f"[result_type] expected arrays and dtypes, got {shown(x)}: convert it with mx.array")
        else:
            result = dtype if result is None else promote(result, dtype)
    if result is None:
        raise ValueError("[result_type] expected at least one array or dtype, got none: pass one")
    for kind in scalars:
        result = promote_scalar(result, kind)
    return result


def can_cast(from_: array | Dtype, to: Dtype) -> bool:
    """Whether values of a type meet those of another in that other one."""
    dtype = _dtype_of(from_)
    if not isinstance(dtype, Dtype):
        error = TypeError if from_ is None else ValueError
        raise error(f"[can_cast] expected an array or a dtype, got {type(from_).__name__}: pass mx.float32")
    if not isinstance(to, Dtype):
        raise TypeError(f"[can_cast] expected a dtype to cast to, got {type(to).__name__}: pass mx.float32")
    return promote(dtype, to) is to


def _dtype_of(x: Any) -> Any:
    return x._node.dtype if isinstance(x, Handle) else x


class finfo:
    """Limits of a floating point type, or that of an array; of a complex type those of its parts.

    Attributes:
        min, max: the smallest and the largest finite number.
        eps: the distance from 1 to the next number.
        smallest_normal: the smallest positive number with full precision.
        bits: the size.

    >>> import arrax.core as mx
    >>> mx.finfo(mx.float16).max
    65504.0
    """

    def __init__(self, arg: Dtype | array, /) -> None:
        arg = _dtype_of(arg)
        if not isinstance(arg, Dtype):
            raise TypeError(f"[finfo] expected a dtype, got {shown(arg)}: pass one such as mx.float32")
        if not arg.is_inexact:
            raise ValueError(f"[finfo] expected a floating point type, got {arg.name}: use iinfo")
        self.dtype = real_of(arg)
        self.bits = self.dtype.size * 8
        if self.dtype is bfloat16:
            self.eps, self.max, self.smallest_normal = 2.0**-7, (2 - 2.0**-7) * 2.0**127, 2.0**-126
        else:
            found: Any = np.finfo(self.dtype.np)
            self.eps, self.max = float(found.eps), float(found.max)
            self.smallest_normal = float(found.smallest_normal)
        self.min = -self.max

    def __repr__(self) -> str:
        return f"finfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype.name})"


class iinfo:
    """The smallest (``min``) and the largest (``max``) number of an integer type, or that of an array."""

    def __init__(self, arg: Dtype | array, /) -> None:
        arg = _dtype_of(arg)
        if not isinstance(arg, Dtype):
            raise TypeError(f"[iinfo] expected a dtype, got {shown(arg)}: pass one such as mx.int32")
        if not arg.is_integer:
            raise ValueError(f"[iinfo] expected an integer type, got {arg.name}: use finfo")
        self.dtype = arg
        self.bits = arg.size * 8
        self.max = 2 ** (self.bits - (1 if arg.is_signed else 0)) - 1
        self.min = -self.max - 1 if arg.is_signed else 0

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype.name})"
