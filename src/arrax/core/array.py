"""The array: operators, properties, conversions to and from Python."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np

from arrax.core import indexing, printing
from arrax.core.arguments import is_sequence
from arrax.core.convert import INT_MAX, INT_MIN, against, array_node, as_dtype, dlpack, new_node, scalar_kind, values
from arrax.core.device import Device, check_device, check_stream, cpu
from arrax.core.namespace import check_version
from arrax.core.ops import indexed, math, products, reductions, scans
from arrax.core.ops import shape as shapes
from arrax.graph.dtypes import Dtype, bfloat16, bool_, dtype_named, float32, int32, promote
from arrax.graph.handle import Handle, apart, register_class, wrap
from arrax.graph.node import Node
from arrax.graph.primitive import Primitive
from arrax.graph.symbol import active, concrete, shown
from arrax.prims import pointwise as p
from arrax.prims.leaf import const
from arrax.prims.pointwise import cast
from arrax.runtime import executor, exposure

_new = object.__new__
_WRITABLE, _FORMAT, _STRIDES = (
    0x1,
    0x4,
    0x10,
)  # what a buffer is asked for: see "Buffer request types" in Python's C API
_FLOAT, _NUMBER = float32.category, bool_.category + 1
_LARGE = 1 << 1000  # that every integer below is a float of


def _weak(dtype: Dtype, other: Any) -> Node | None:
    """A scalar that takes the array's type, for the common cases; None for all others."""
    kind = type(other)
    if kind is float:
        return Node(const, (), (other,), (), dtype) if dtype.category == _FLOAT else None
    if kind is int and INT_MIN <= other <= INT_MAX:
        if dtype.category == _FLOAT:
            return Node(const, (), (float(other),), (), dtype)
        if dtype is int32:
            return Node(const, (), (other,), (), dtype)
    return None


def _operand(verb: str, node: Node, other: Any) -> tuple[Node, Node]:
    """The operands of an operator whose right side is no array, in their common type."""
    if isinstance(other, list | tuple | str | dict | set):
        raise ValueError(
            f"[{verb}] expected an array or a scalar, got {type(other).__name__}: convert it with mx.array"
        )
    return against(verb, node, other)


def _no_array(verb: str, value: Any) -> TypeError:
    return TypeError(f"[{verb}] expected an array, got {type(value).__name__}: convert it with mx.array")


def _operators(
    verb: str, record: math.Recorder, prim: Primitive | None = None, lowest: int = 0, result: Dtype | None = None
) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """The forward, the reflected and the in-place form of a binary operator.

    Where both sides have one type of at least category ``lowest``, ``prim`` is recorded without further ado.
    """

    def forward(self: array, other: Any) -> array:
        try:
            a = self._node
        except AttributeError:  # the method of the class, called on something else
            raise _no_array(verb, self) from None
        out = _new(array)
        if type(other) is array:
            b = other._node
            dtype = a.dtype
            if dtype is not b.dtype:
                dtype = promote(dtype, b.dtype)
                a, b = cast(a, dtype), cast(b, dtype)
            elif prim is not None and dtype.category >= lowest and not active.traces and a.shape == b.shape:
                out._node = Node(prim, (a, b), (), a.shape, result or dtype)
                return out
            out._node = record(a, b)
            return out
        right = _weak(a.dtype, other)
        if right is None:
            out._node = record(*_operand(verb, a, other))
        elif prim is not None and a.dtype.category >= lowest:
            out._node = Node(prim, (a, right), (), a.shape, result or a.dtype)
        else:
            out._node = record(a, right)
        return out

    def reflected(self: array, other: Any) -> array:
        try:
            b = self._node
        except AttributeError:
            raise _no_array(verb, self) from None
        out = _new(array)
        left = _weak(b.dtype, other)
        if left is None:
            b, left = _operand(verb, b, other)
        out._node = record(left, b)
        return out

    def in_place(self: array, other: Any) -> array:
        if verb == "divide" and self._node.dtype.category < _FLOAT:
            raise ValueError(
                f"[divide] expected floating point numbers in place, got {self._node.dtype.name}: write x = x / y"
            )
        self._node = forward(self, other)._node
        return self

    return forward, reflected, in_place


def _comparison(verb: str, record: math.Recorder, prim: Primitive) -> Callable[..., Any]:
    return _operators(verb, record, prim, 0, bool_)[0]


class array(Handle):
    """An array of any number of dimensions, with elements of one type.

    Arrays are lazy: an operation is recorded and computed when its value is needed or ``eval`` asks for it.

    Args:
        val: a scalar, nested lists of scalars or arrays, a NumPy array, or anything with ``__array__``, DLPack or the
            buffer protocol. Integers become int32 (int64 where needed), floats float32, NumPy's float64 float32.
        dtype: the type of the elements; None to take it from ``val``.

    Raises:
        ValueError: for lists of different lengths, or elements that are no numbers.
        TypeError: for None.

    >>> import arrax.core as mx
    >>> mx.array([[1, 2], [3, 4]]) * 0.5
    array([[0.5, 1],
           [1.5, 2]], dtype=float32)
    """

    __slots__ = ()
    __module__ = "arrax.core"

    def __init__(self, val: Any, dtype: Dtype | None = None) -> None:
        if dtype is not None:
            as_dtype("array", dtype)
        self._node = apart(new_node(val, dtype))

    # --- properties ---------------------------------------------------------------------------------------------------
    @property
    def shape(self) -> tuple[int, ...]:
        """The size of each axis."""
        return shown(self._node.shape) if active.traces else self._node.shape

    @property
    def dtype(self) -> Dtype:
        """The type of the elements."""
        return self._node.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self._node.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return shown(self._node.size) if active.traces else self._node.size

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return self._node.dtype.size

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        size = self._node.size * self._node.dtype.size
        return shown(size) if active.traces else size

    @property
    def T(self) -> array:
        """The array with its axes in reverse order."""
        return shapes.transpose(self)

    @property
    def mT(self) -> array:
        """The array with its last two axes exchanged. Raises ValueError below two dimensions."""
        return shapes.matrix_transpose(self)

    @property
    def device(self) -> Device:
        """Where the elements are: on the CPU."""
        return Device(cpu)

    @property
    def real(self) -> array:
        """The real part."""
        return math.real(self)

    @property
    def imag(self) -> array:
        """The imaginary part."""
        return math.imag(self)

    @property
    def at(self) -> indexing.ArrayAt:
        """Updates at indices, where an index that occurs twice counts twice: ``x.at[i].add(y)``."""
        return indexing.ArrayAt(self)

    # --- operators ----------------------------------------------------------------------------------------------------
    __add__, __radd__, __iadd__ = _operators("add", math.record_add, p.add_p)
    __sub__, __rsub__, __isub__ = _operators("subtract", math.record_subtract, p.sub_p, _NUMBER)
    __mul__, __rmul__, __imul__ = _operators("multiply", math.record_multiply, p.mul_p)
    __truediv__, __rtruediv__, __itruediv__ = _operators("divide", math.record_divide, p.div_p, _FLOAT)
    __floordiv__, __rfloordiv__, __ifloordiv__ = _operators("floor_divide", math.record_floor_divide)
    __mod__, __rmod__, __imod__ = _operators("remainder", math.record_remainder)
    __pow__, __rpow__, __ipow__ = _operators("power", math.record_power)
    __and__, __rand__, __iand__ = _operators("bitwise_and", math.record_and)
    __or__, __ror__, __ior__ = _operators("bitwise_or", math.record_or)
    __xor__, __rxor__, __ixor__ = _operators("bitwise_xor", math.record_xor)
    __lshift__, __rlshift__, __ilshift__ = _operators("left_shift", math.record_left_shift)
    __rshift__, __rrshift__, __irshift__ = _operators("right_shift", math.record_right_shift)
    __lt__ = _comparison("less", math.record_less, p.less_p)
    __le__ = _comparison("less_equal", math.record_less_equal, p.less_equal_p)
    __gt__ = _comparison("greater", math.record_greater, p.greater_p)
    __ge__ = _comparison("greater_equal", math.record_greater_equal, p.greater_equal_p)
    _equal = _comparison("equal", math.record_equal, p.equal_p)
    _not_equal = _comparison("not_equal", math.record_not_equal, p.not_equal_p)
    __hash__ = object.__hash__

    def __eq__(self, other: Any) -> Any:
        """An array of booleans; plain False for what can be no array."""
        comparable = _comparable(array_node("equal", self), other)
        return False if comparable is None else self._equal(comparable)

    def __ne__(self, other: Any) -> Any:
        """An array of booleans; plain True for what can be no array."""
        comparable = _comparable(array_node("not_equal", self), other)
        return True if comparable is None else self._not_equal(comparable)

    def __matmul__(self, other: array) -> array:
        return products.matmul(self, other)

    def __rmatmul__(self, other: Any) -> array:
        return products.matmul(wrap(against("matmul", self._node, other)[1]), self)

    def __imatmul__(self, other: array) -> array:
        self._node = products.matmul(self, other)._node
        return self

    def __neg__(self) -> array:
        return wrap(math.record_negative(self._node))

    def __pos__(self) -> array:
        return wrap(self._node)

    def __invert__(self) -> array:
        return wrap(math.record_invert(self._node))

    def __abs__(self) -> array:
        return wrap(math.record_abs(self._node))

    # --- elements -----------------------------------------------------------------------------------------------------
    def __getitem__(self, index: Any) -> array:
        return wrap(indexing.get(array_node("getitem", self), index))

    def __setitem__(self, index: Any, value: Any) -> None:
        self._node = apart(indexing.put(array_node("setitem", self), index, value))

    def __len__(self) -> int:
        if not self._node.shape:
            raise TypeError("[len] expected at least one dimension, got a scalar array: reshape it to (1,)")
        return int(concrete(self._node.shape[0]))

    def __iter__(self) -> Iterator[array]:
        if not self._node.shape:
            raise TypeError("[iter] expected at least one dimension, got a scalar array: reshape it to (1,)")
        return indexing.ArrayIterator(self)

    def item(self) -> Any:
        """The only element as a Python scalar; evaluates. Raises ValueError where there is not exactly one."""
        node = array_node("item", self)
        if node.size != 1:
            raise ValueError(
                f"[item] expected an array with one element, got shape {list(node.shape)}: index it or use tolist"
            )
        value = values(node).item()
        return float(value) if node.dtype is bfloat16 else value

    def tolist(self) -> Any:
        """All elements as nested lists of Python scalars; evaluates."""
        node = array_node("tolist", self)
        found = values(node)
        return (found.astype(np.float32) if node.dtype is bfloat16 else found).tolist()

    def __bool__(self) -> bool:
        return bool(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        if self._node.shape or not self._node.dtype.is_integer:
            raise TypeError(
                f"[index] expected a scalar array of integers, got {self._node.dtype.name}{list(self._node.shape)}: "
                "use item and int"
            )
        return operator.index(self.item())

    # --- text, copies, other libraries --------------------------------------------------------------------------------
    def __repr__(self) -> str:
        return printing.to_text(values(self._node), self._node.dtype)

    def __format__(self, spec: str) -> str:
        if not isinstance(spec, str):
            raise TypeError(f"[format] expected a str, got {type(spec).__name__}: pass a format")
        if array_node("format", self).shape:
            if not spec:
                return repr(self)
            raise TypeError(
                f"[format] expected a scalar array for the format {spec!r}, got {list(self.shape)}: use item"
            )
        return format(self.item(), spec)

    def __copy__(self) -> array:
        return wrap(self._node)

    def __deepcopy__(self, memo: dict) -> array:
        return wrap(self._node)

    def __reduce__(self) -> tuple:
        return _restore, (values(self._node).tobytes(), self._node.shape, self._node.dtype.name)

    def __bytes__(self) -> bytes:
        return values(self._node).tobytes()

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + self.nbytes

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """A NumPy array on the same memory, unless a copy is asked for or another type needs one; evaluates.

        Writing to it changes this array, and none that has been computed from it. Inside of a function that a transform
        is tracing it cannot be written to.
        """
        own = self._node.dtype.np
        if dtype is not None and np.dtype(dtype) != own:
            if copy is False:
                raise ValueError(f"[array] expected {own} for an array without a copy, got {np.dtype(dtype)}")
            return values(self._node).astype(dtype)
        return np.array(values(self._node)) if copy else exposure.view(self)

    def __buffer__(self, flags: int, /) -> memoryview:
        """The memory, for what takes a buffer (from Python 3.12 on): ``memoryview``, ``hashlib``, ``file.write``.

        Who wants the elements one behind the other, and not to write to them, gets a copy where they are not.

        Raises:
            BufferError: for bfloat16, where a format is asked for: there is none.
        """
        found = exposure.view(self)
        if self._node.dtype is bfloat16:
            if flags & _FORMAT:
                raise BufferError("[buffer] expected a type that has a format, got bfloat16: view it as uint16")
            found = found.view(np.uint16)
        if not found.flags.c_contiguous and not flags & (_STRIDES | _WRITABLE):
            found = np.ascontiguousarray(found)
        return memoryview(found)  # type: ignore[arg-type]

    def __array_namespace__(self, api_version: str | None = None) -> ModuleType:
        """The module ``arrax.core``, for programs that follow the array API standard.

        Raises:
            ValueError: for a version of the standard that it does not follow.
        """
        check_version(api_version)
        return sys.modules["arrax.core"]

    def to_device(self, device: Any, /, *, stream: Any = None) -> array:
        """The array on a device. Raises ValueError where that does not exist."""
        check_device("to_device", device)
        check_stream("to_device", stream)
        return wrap(self._node)

    def __dlpack__(
        self, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: bool | None = None
    ) -> Any:
        """The array for other libraries, on the same memory; evaluates.

        Raises:
            BufferError: for a device other than the CPU.
        """
        if dl_device is not None and tuple(dl_device) != self.__dlpack_device__():
            raise BufferError(
                f"[dlpack] expected the CPU as device, (1, 0), got {tuple(dl_device)}: copy it over there"
            )
        found = np.array(values(self._node)) if copy else exposure.view(self)
        if not found.flags.writeable:  # the protocol has no word for that
            found = np.array(found)
        return dlpack(found)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Where the memory is: (1, 0) for the CPU."""
        return 1, 0

    # --- functions as methods -----------------------------------------------------------------------------------------
    def astype(self, dtype: Dtype, stream: Any = None) -> array:
        """The array in another type; floats become integers by cutting off the fraction."""
        return shapes.astype(self, dtype, stream=stream)

    def reshape(self, *shape: Any, stream: Any = None) -> array:
        """The elements in another shape, given as one sequence or as several integers; -1 stands for what is left."""
        sequence = len(shape) == 1 and is_sequence(shape[0])
        return shapes.reshape(self, shape[0] if sequence else shape, stream=stream)

    def transpose(self, *axes: Any, stream: Any = None) -> array:
        """The axes in another order, given as one sequence or as several integers; none to reverse them."""
        alone = len(axes) == 1 and (axes[0] is None or is_sequence(axes[0]))
        return shapes.transpose(self, (axes[0] if alone else axes) if axes else None, stream=stream)

    def view(self, dtype: Dtype, *, stream: Any = None) -> array:
        """The bytes as elements of another type."""
        return shapes.view(self, dtype, stream)

    def round(self, decimals: int = 0, *, stream: Any = None) -> array:
        """The elements rounded to a number of decimals, halves to even."""
        return math.round(self, decimals, stream)

    def var(
        self, axis: Any = None, keepdims: bool = False, ddof: int = 0, *, correction: Any = None, stream: Any = None
    ) -> array:
        """The variance; ``correction`` is another name of ``ddof``."""
        return reductions.var(self, axis, keepdims, ddof if correction is None else correction, stream=stream)

    def std(
        self, axis: Any = None, keepdims: bool = False, ddof: int = 0, *, correction: Any = None, stream: Any = None
    ) -> array:
        """The standard deviation; ``correction`` is another name of ``ddof``."""
        return reductions.std(self, axis, keepdims, ddof if correction is None else correction, stream=stream)

    flatten = shapes.flatten
    squeeze = shapes.squeeze
    moveaxis = shapes.moveaxis
    swapaxes = shapes.swapaxes
    split = shapes.split
    diag = indexed.diag
    diagonal = indexed.diagonal
    all = reductions.all
    any = reductions.any
    sum = reductions.sum
    prod = reductions.prod
    min = reductions.min
    max = reductions.max
    mean = reductions.mean
    logsumexp = reductions.logsumexp
    argmin = reductions.argmin
    argmax = reductions.argmax
    cumsum = scans.cumsum
    cumprod = scans.cumprod
    cummax = scans.cummax
    cummin = scans.cummin
    logcumsumexp = scans.logcumsumexp
    abs = math.abs
    square = math.square
    sqrt = math.sqrt
    rsqrt = math.rsqrt
    reciprocal = math.reciprocal
    exp = math.exp
    log = math.log
    log2 = math.log2
    log10 = math.log10
    log1p = math.log1p
    sin = math.sin
    cos = math.cos
    conj = math.conj


register_class(array)


def _comparable(node: Node, other: Any) -> Any:
    """What to compare a node with: the other side if it is an array or a scalar, as an array else; None if it can be
    none."""
    if isinstance(other, Handle) or scalar_kind(other) is not None:
        return other
    if other is None:
        raise TypeError("[equal] expected an array or a scalar, got None: test with `is None`")
    try:
        return wrap(against("equal", node, other)[1])
    except ValueError:
        return None


def _restore(data: bytes, shape: tuple[int, ...], name: str) -> array:
    dtype = dtype_named(name)
    return wrap(executor.from_numpy_array(np.frombuffer(data, dtype.np).reshape(shape)))
