"""From arguments to nodes: Python scalars, nested lists, NumPy arrays and foreign arrays.

A Python scalar is weak: it takes the type of the array that it meets unless its category is higher. NumPy's scalars and
arrays take the other operand's type altogether.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import numpy as np

from arrax.graph.dtypes import (
    ALL,
    Dtype,
    bfloat16,
    bool_,
    complex64,
    complex128,
    float32,
    float64,
    from_numpy,
    int64,
    promote,
    promote_scalar,
    scalar_dtype,
    uint64,
)
from arrax.graph.errors import SizeError
from arrax.graph.handle import Handle, apart, shown
from arrax.graph.node import Node
from arrax.graph.symbol import Symbol
from arrax.prims.leaf import constant
from arrax.prims.pointwise import cast
from arrax.prims.view import concatenate, reshape
from arrax.runtime.executor import data, from_numpy_array, to_numpy, tracing

_SCALARS = (bool, int, float, complex)
_LIMITS: dict[Dtype, Any] = {d: np.iinfo(d.np) for d in ALL if d.is_integer}
INT_MIN, INT_MAX = -(2**31), 2**31 - 1
AXES = 64  # that an array has at most, as in NumPy


class ArrayLike:
    """An object that stands for an array: its ``__mlx_array__`` method returns one. Functions take it as it is."""

    def __init__(self, arg: object, /) -> None:
        self._object = arg

    def __mlx_array__(self) -> Any:
        return self._object.__mlx_array__()  # type: ignore[attr-defined]


def scalar_kind(value: Any) -> type | None:
    """``bool``, ``int``, ``float`` or ``complex`` for a Python scalar (NumPy's float64 is a float), else None."""
    kind = type(value)
    if kind in _SCALARS:
        return kind
    if kind is Symbol:
        return type(value.value)
    return next((k for k in _SCALARS if isinstance(value, k)), None)


def scalar_node(value: Any, kind: type, dtype: Dtype) -> Node:
    """A scalar that must fit the type; raises ValueError where an integer does not. Negative ones wrap in uint64."""
    if type(value) is Symbol:
        return constant(value, dtype)
    if kind is int:
        limits = _LIMITS.get(dtype)
        if limits is None:
            try:
                return constant(complex(value) if dtype.is_complex else float(value), dtype)
            except OverflowError:
                raise ValueError(
                    f"[convert] expected an integer that fits {dtype.name}, got one of {value.bit_length()} bits"
                ) from None
        if dtype is uint64 and -(2**63) <= value < 0:
            value += 2**64
        if not limits.min <= value <= limits.max:
            raise ValueError(
                f"[convert] expected an integer that fits {dtype.name}, got {shown(value)}: use a wider array"
            )
        return constant(int(value), dtype)
    return constant(kind(value), dtype)


def as_dtype(op: str, dtype: Any) -> Dtype:
    """A type that the caller has given, checked."""
    if not isinstance(dtype, Dtype):
        raise TypeError(f"[{op}] expected a dtype such as mx.float32, got {shown(dtype)}: pass one of mx's types")
    return dtype


def default_dtype(value: Any, kind: type) -> Dtype:
    """The type of a Python scalar on its own; integers that int32 cannot hold are int64, or uint64 above that."""
    if kind is int and not INT_MIN <= value <= INT_MAX:
        if -(2**63) <= value < 2**64:
            return int64 if value < 2**63 else uint64
        raise ValueError(f"[array] expected an integer of at most 64 bits, got {shown(value)}: use a float")
    return scalar_dtype(kind)


def numpy_node(array: np.ndarray, dtype: Dtype | None = None) -> Node:
    """A leaf with a copy of a NumPy array; without a dtype double precision becomes single, of complex numbers too."""
    for n in array.shape:
        if n > INT_MAX:  # in MLX's words
            raise SizeError(
                f"Shape dimension {n} is outside the supported range [{INT_MIN}, {INT_MAX}]. "
                "MLX currently uses 32-bit integers for shape dimensions."
            )
    if array.dtype.kind == "V" and array.dtype.itemsize == 2:  # bfloat16 as some libraries store it
        array = array.view(np.dtype("bfloat16"))
    if array.dtype.byteorder not in "=|" and not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    kind, size = array.dtype.kind, array.dtype.itemsize
    with np.errstate(all="ignore"):
        if dtype is not None and dtype.category >= float32.category and kind in "fciub":
            array = (array.real if kind == "c" and not dtype.is_complex else array).astype(dtype.np)
        elif kind == "c":
            array = array.astype(np.complex64 if dtype is None else np.complex128)
        elif kind == "f" and size >= 8:
            array = array.astype(np.float32 if dtype is None else np.float64)
    own = from_numpy(array.dtype)
    if own is None:
        raise ValueError(f"[array] expected elements of a numeric type, got NumPy's {array.dtype}: convert them first")
    node = from_numpy_array(array)
    return node if dtype is None or own is dtype else cast(node, dtype)


def foreign(value: Any) -> np.ndarray | Handle | None:
    """The contents of an object of another library, None if it is no array."""
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value)
    if isinstance(value, type):
        return None
    if hasattr(value, "__mlx_array__"):
        array = value.__mlx_array__()
        if not isinstance(array, Handle):
            raise RuntimeError(
                f"[array] expected an array from __mlx_array__ of {type(value).__name__}, got "
                f"{type(array).__name__}: return an mx.array"
            )
        return array
    if hasattr(value, "__dlpack__"):
        return from_dlpack_numpy(value)
    if hasattr(value, "__array__") or hasattr(value, "__array_interface__"):
        return np.asarray(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return np.frombuffer(value, np.uint8) if not isinstance(value, memoryview) else np.asarray(value)
    try:
        return np.asarray(memoryview(value))
    except TypeError:
        return None


def from_dlpack_numpy(value: Any) -> np.ndarray:
    """A NumPy array on memory offered through DLPack; bfloat16, which NumPy cannot name, goes through its bits."""
    try:
        return np.from_dlpack(value)
    except (TypeError, RuntimeError, BufferError):
        if "torch" in sys.modules and hasattr(value, "detach"):
            torch = sys.modules["torch"]
            tensor = value.detach().cpu()
            if tensor.dtype is torch.bfloat16:
                return tensor.view(torch.int16).numpy().view(np.dtype("bfloat16"))
            return tensor.numpy()
        if hasattr(value, "__array__"):
            return np.asarray(value)
        raise


_DTYPE, _BFLOAT = 20, 4  # where in its description of an array DLPack names the kind of type, and its number for it
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)


def dlpack(array: np.ndarray) -> Any:
    """A NumPy array as DLPack hands it over; for bfloat16 the words' kind is corrected, which NumPy cannot name."""
    if array.dtype != bfloat16.np:
        return array.__dlpack__()
    capsule = array.view(np.uint16).__dlpack__()
    ctypes.c_uint8.from_address(_pointer(capsule, b"dltensor") + _DTYPE).value = _BFLOAT
    return capsule


def as_node(op: str, value: Any) -> Node:
    """The node of an array, or a new one for a scalar or a foreign array; raises ValueError for anything else."""
    if isinstance(value, Handle):
        return value._node
    kind = scalar_kind(value)
    if kind is not None:
        return scalar_node(value, kind, default_dtype(value, kind))
    return _foreign_node(op, value, None)


def typed_node(op: str, value: Any, dtype: Dtype) -> Node:
    """An array or a scalar in a given type; double precision and integers take all digits that a number has.

    Raises ValueError where an integer does not fit an integer type.
    """
    if isinstance(value, Handle):
        return cast(value._node, dtype)
    kind, double = scalar_kind(value), dtype in (float64, complex128)
    if kind is None:
        return cast(_foreign_node(op, value, dtype if double else None), dtype)
    if kind is int and dtype.is_integer:
        return scalar_node(value, kind, dtype)
    own = default_dtype(value, kind)
    if double and own.category <= dtype.category:
        return scalar_node(value, kind, dtype)
    return cast(scalar_node(value, kind, own), dtype)


def _foreign_node(op: str, value: Any, dtype: Dtype | None) -> Node:
    if value is None:
        raise TypeError(f"[{op}] expected an array or a scalar, got None: leave the argument out")
    if not isinstance(value, list | tuple | str | dict):
        array = foreign(value)
        if isinstance(array, Handle):
            return array._node
        if array is not None:
            return numpy_node(array, dtype)
        number = _other_number(value)
        if number is not None:
            return constant(number, complex64)
    raise ValueError(f"[{op}] expected an array or a scalar, got {type(value).__name__}: convert it with mx.array")


def _other_number(value: Any) -> complex | None:
    """What can be read as a number but is none of Python's, such as a Fraction: MLX takes all of them as complex."""
    try:
        return complex(value)
    except TypeError:
        return None


def array_node(op: str, value: Any) -> Node:
    """The node of an array; raises TypeError for anything else."""
    if isinstance(value, Handle):
        return value._node
    raise TypeError(f"[{op}] expected an array, got {type(value).__name__}: convert it with mx.array")


def against(op: str, node: Node, other: Any) -> tuple[Node, Node]:
    """The node and something that is no array, in the type in which they meet."""
    kind = type(other)
    if kind is float and node.dtype.category == float32.category:
        return node, constant(other, node.dtype)
    if kind not in _SCALARS:
        found = scalar_kind(other)
        if found is None:
            right = _foreign_node(op, other, None if hasattr(other, "__mlx_array__") else node.dtype)
            return _meet(node, right)
        kind = found
    dtype = promote_scalar(node.dtype, kind)
    if dtype is not node.dtype:
        node = cast(node, dtype)
    return node, scalar_node(other, kind, dtype)


def _meet(a: Node, b: Node) -> tuple[Node, Node]:
    if a.dtype is b.dtype:
        return a, b
    dtype = promote(a.dtype, b.dtype)
    return cast(a, dtype), cast(b, dtype)


def pair(op: str, a: Any, b: Any) -> tuple[Node, Node]:
    """Two operands (arrays or scalars) in the type in which they meet."""
    if isinstance(a, Handle):
        if isinstance(b, Handle):
            return _meet(a._node, b._node)
        return against(op, a._node, b)
    if isinstance(b, Handle):
        right, left = against(op, b._node, a)
        return left, right
    return _meet(as_node(op, a), as_node(op, b))


# --- nested lists -----------------------------------------------------------------------------------------------------
def _shape_of(values: Any, depth: int = 0) -> tuple[tuple[int, ...], list[Any]]:
    """The common shape of nested lists and all their elements (scalars and arrays), depth first."""
    if not isinstance(values, list | tuple):
        return (), [values]
    if depth == AXES:
        raise ValueError(f"[array] expected lists of at most {AXES} levels, got more, or a list in itself: flatten it")
    shape: tuple[int, ...] | None = None
    flat: list[Any] = []
    for value in values:
        inner, elements = _shape_of(value, depth + 1)
        if len(elements) == 1 and isinstance(elements[0], Handle) and inner == ():
            inner = elements[0]._node.shape
        if shape is None:
            shape = inner
        elif shape != inner:
            raise ValueError("Initialization encountered non-uniform length.")  # in MLX's words
        flat += elements
    return (len(values), *(shape or ())), flat


def list_node(values: list | tuple, dtype: Dtype | None) -> Node:
    """A leaf from nested lists; arrays inside are stacked."""
    shape, flat = _shape_of(values)
    if not flat:
        return from_numpy_array(np.empty(shape, (dtype or float32).np))
    own, arrays = bool_, False
    integers: list[int] = []
    for value in flat:
        if isinstance(value, Handle):
            arrays = True
            own = promote(own, value._node.dtype)
            continue
        kind = scalar_kind(value)
        if kind is None:
            raise ValueError(
                f"[array] expected numbers, arrays or lists of them, got {type(value).__name__}: convert it first"
            )
        if kind is int:
            integers.append(value)
        else:
            own = promote(own, default_dtype(value, kind))
    if integers:
        least, most = default_dtype(min(integers), int), default_dtype(max(integers), int)
        own = promote(own, most if min(integers) >= 0 else promote(least, most))
    if arrays:
        return _stack(flat, shape, dtype or own)
    target = dtype or own
    # values of another category are converted as C does: 300 wraps in uint8, 2.7 is cut off
    if target.is_integer and own.is_integer:
        wide = np.array(flat, uint64.np if own is uint64 else np.int64)
        return from_numpy_array(wide.astype(target.np).reshape(shape))
    exact = promote(own, target) if own.category > target.category else target
    with np.errstate(all="ignore"):
        result = from_numpy_array(np.array(flat).astype(exact.np).reshape(shape))
    return cast(result, target)


def _stack(flat: list[Any], shape: tuple[int, ...], dtype: Dtype) -> Node:
    nodes = []
    for value in flat:
        node = typed_node("array", value, dtype)
        nodes.append(reshape(node, (node.size,)))
    return reshape(concatenate(nodes, 0), shape)


def new_node(value: Any, dtype: Dtype | None) -> Node:
    """What the constructor of an array makes of its argument."""
    if isinstance(value, Handle):
        # a node of its own where data are there: compile refuses an argument that the function captures as well
        node = apart(value._node)
        if node.buffer is not None and not tracing.depth:
            node = data(node.buffer, node.shape, node.dtype)
    elif isinstance(value, list | tuple):
        return list_node(value, dtype)
    else:
        kind = scalar_kind(value)
        if kind is not None and not isinstance(value, np.generic):
            own = default_dtype(value, kind)
            if dtype is None or (dtype.category >= own.category and not dtype.is_integer):
                return scalar_node(value, kind, dtype or own)
            node = constant(kind(value), own)
        elif value is None:
            raise TypeError("[array] expected a scalar, a list or an array, got None: leave the argument out")
        else:
            array = None if isinstance(value, str | dict | set | range) else foreign(value)
            if array is None:
                raise ValueError(
                    f"[array] expected a scalar, a list or an array, got {type(value).__name__}: convert it first"
                )
            if not isinstance(array, Handle):
                return numpy_node(array, dtype)
            node = array._node
    return node if dtype is None else cast(node, dtype)


def new_node_beside(value: Any, other: Any) -> Node:
    """What the constructor makes of an array or a list; beside double precision numbers keep their digits."""
    node = new_node(value, None)
    if isinstance(value, Handle) or not isinstance(other, Handle) or not node.dtype.is_inexact:
        return node
    dtype = promote(node.dtype, other._node.dtype)
    return new_node(value, dtype) if dtype in (float64, complex128) else node


def values(node: Node) -> np.ndarray:
    """The node's elements as a read-only NumPy array, evaluated if need be."""
    return to_numpy(node)
