"""New arrays: constant, counted, evenly spaced, windows."""

from __future__ import annotations

import math as _math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from arrax.core.arguments import as_int, as_number, as_shape, expect, fits
from arrax.core.convert import (
    array_node,
    as_dtype,
    as_node,
    default_dtype,
    from_dlpack_numpy,
    new_node,
    numpy_node,
    scalar_kind,
    typed_node,
)
from arrax.core.device import check_device, check_stream
from arrax.core.ops.shape import record_broadcast
from arrax.graph.dtypes import Dtype, bool_, float32, float64, int32, promote, real_of, to_complex
from arrax.graph.handle import Handle, shown, wrap
from arrax.graph.node import Node
from arrax.prims import pointwise as p
from arrax.prims import view as v
from arrax.prims.leaf import constant, iota
from arrax.prims.pointwise import cast

if TYPE_CHECKING:
    from arrax.core.array import array

Shape = int | Sequence[int]


def _constant(op: str, shape: Any, value: Any, dtype: Dtype, device: Any) -> Any:
    check_device(op, device)
    return wrap(v.broadcast(constant(value, as_dtype(op, dtype)), as_shape(op, shape)))


def zeros(shape: Shape, dtype: Dtype | None = float32, *, device: Any = None, stream: Any = None) -> array:
    """An array of zeros.

    >>> import arrax.core as mx
    >>> mx.zeros((1, 2))
    array([[0, 0]], dtype=float32)
    """
    check_stream("zeros", stream)
    expect("zeros", Dtype | None, dtype=dtype)
    return _constant("zeros", shape, 0, dtype or float32, device)


def ones(shape: Shape, dtype: Dtype | None = float32, *, device: Any = None, stream: Any = None) -> array:
    """An array of ones."""
    check_stream("ones", stream)
    expect("ones", Dtype | None, dtype=dtype)
    return _constant("ones", shape, 1, dtype or float32, device)


def full(
    shape: Shape,
    fill_value: Any = None,
    dtype: Dtype | None = None,
    *,
    vals: Any = None,
    device: Any = None,
    stream: Any = None,
) -> array:
    """An array with one value everywhere, or with the values of an array that broadcasts to the shape.

    ``vals`` is MLX's name of ``fill_value``, which is the array API standard's.
    """
    check_stream("full", stream)
    expect("full", Dtype | None, dtype=dtype)
    check_device("full", device)
    sizes = as_shape("full", shape)
    value = vals if fill_value is None else fill_value
    node = as_node("full", value) if dtype is None else typed_node("full", value, dtype)
    return wrap(record_broadcast("full", node, sizes))


def empty(shape: Shape, dtype: Dtype | None = float32, *, device: Any = None, stream: Any = None) -> array:
    """An array whose values are of no interest; they are zeros."""
    check_stream("empty", stream)
    return zeros(shape, dtype, device=device)


def zeros_like(a: array, /, dtype: Dtype | None = None, *, device: Any = None, stream: Any = None) -> array:
    """Zeros in the shape and, unless told otherwise, the type of ``a``."""
    check_stream("zeros_like", stream)
    expect("zeros_like", Dtype | None, dtype=dtype)
    node = array_node("zeros_like", a)
    return _constant("zeros_like", node.shape, 0, dtype or node.dtype, device)


def ones_like(a: array, /, dtype: Dtype | None = None, *, device: Any = None, stream: Any = None) -> array:
    """Ones in the shape and, unless told otherwise, the type of ``a``."""
    check_stream("ones_like", stream)
    expect("ones_like", Dtype | None, dtype=dtype)
    node = array_node("ones_like", a)
    return _constant("ones_like", node.shape, 1, dtype or node.dtype, device)


def full_like(
    a: array,
    fill_value: Any = None,
    dtype: Dtype | None = None,
    *,
    vals: Any = None,
    device: Any = None,
    stream: Any = None,
) -> array:
    """One value, or an array's, in the shape and, unless told otherwise, the type of ``a``; see ``full``."""
    check_stream("full_like", stream)
    expect("full_like", Dtype | None, dtype=dtype)
    node = array_node("full_like", a)
    return full(node.shape, fill_value, dtype or node.dtype, vals=vals, device=device)


def empty_like(a: array, /, dtype: Dtype | None = None, *, device: Any = None, stream: Any = None) -> array:
    """An array like ``a`` whose values are of no interest; they are zeros."""
    check_stream("empty_like", stream)
    return zeros_like(a, dtype, device=device)


def asarray(a: Any, dtype: Dtype | None = None, *, copy: bool | None = None, device: Any = None) -> array:
    """``a`` as an array; a new one for everything that is none.

    Raises:
        ValueError: where ``copy`` is False and a copy is needed.
    """
    expect("asarray", Dtype | None, dtype=dtype)
    check_device("asarray", device)
    if copy is False:
        if isinstance(a, Handle) and dtype in (None, a._node.dtype):
            return a  # type: ignore[return-value]  # what is written to one is then seen by the other
        raise ValueError("[asarray] expected an array of the same type for copy=False, got another one: leave copy out")
    return wrap(new_node(a, dtype))


class NeedsCopy(ValueError, BufferError):
    """Elements that were to be shared have to be copied."""


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> array:
    """An array with the elements of another library's one, handed over through DLPack; they are copied.

    Raises:
        NeedsCopy: for ``copy=False`` and an array of another library; a BufferError, as in the array API standard, and
            a ValueError, as in MLX.
        ValueError: for an array that runs backwards.
    """
    check_device("from_dlpack", device)
    if not hasattr(x, "__dlpack__"):
        raise TypeError(f"[from_dlpack] expected an array with __dlpack__, got {type(x).__name__}: use asarray")
    if copy is False and not isinstance(x, Handle):
        raise NeedsCopy("[from_dlpack] expected that a copy may be made, got copy=False: leave it out")
    if isinstance(x, Handle):
        return wrap(x._node)
    data = from_dlpack_numpy(x)
    if any(n < 0 for n in data.strides):
        raise ValueError(f"[from_dlpack] expected strides of at least 0, got {data.strides}: pass a copy")
    return wrap(numpy_node(data))


def arange(
    start: Any = None,
    stop: Any = None,
    step: Any = 1,
    dtype: Dtype | None = None,
    *,
    device: Any = None,
    stream: Any = None,
) -> array:
    """``arange(stop)``, ``arange(start, stop)`` or ``arange(start, stop, step, dtype)``: numbers at even distances.

    The type is int32 (int64 where the bounds need it), or float32 where an argument is a float.

    Raises:
        ValueError: for a step of 0, or bounds between which no number of elements fits.
        TypeError: for arguments that are no numbers.

    >>> import arrax.core as mx
    >>> mx.arange(1, 7, 2)
    array([1, 3, 5], dtype=int32)
    """
    check_stream("arange", stream)
    check_device("arange", device)
    if isinstance(step, Dtype) and dtype is None:
        step, dtype = 1, step
    if stop is None:  # one bound is the end
        start, stop = 0, start
    if stop is None:
        raise TypeError("[arange] expected a stop, got none: pass a number")
    start, step = 0 if start is None else start, 1 if step is None else step
    dtype = None if dtype is None else as_dtype("arange", dtype)
    kinds = [scalar_kind(x) for x in (start, stop, step)]
    if any(kind not in (bool, int, float) for kind in kinds):
        raise TypeError(
            f"[arange] expected Python numbers, got {shown(start)}, {shown(stop)} and {shown(step)}: use item"
        )
    if (bool in kinds and dtype is None) or dtype is bool_:
        raise ValueError("[arange] expected integers or floats, got bool: pass numbers")
    if dtype is None:
        dtype = int32
        for x, kind in zip((start, stop, step), kinds, strict=True):
            assert kind is not None
            dtype = promote(dtype, default_dtype(x, kind))
    if step == 0:
        raise ValueError("[arange] expected a step other than 0, got 0: pass another one")
    start, stop, step = (as_number("arange", x, "a bound") for x in (start, stop, step))
    if _math.isinf(step) and _math.isfinite(start) and _math.isfinite(stop):
        length = 1.0 if (stop - start) * step > 0 else 0.0
    else:
        length = (stop - start) / step
    if not _math.isfinite(length):
        raise ValueError(f"[arange] expected finite bounds, got {start}, {stop} and {step}: pass finite ones")
    (n,) = fits("arange", (max(_math.ceil(length), 0),))
    if n <= 1:
        step = 1  # it is not taken
    if dtype.is_integer:
        # as in the other libraries, start and step are cut off where the type cannot hold them
        start, step = int(start), int(start + step) - int(start)
    return wrap(_progression(n, start, step, dtype))


def _progression(n: int, start: float, step: float, dtype: Dtype) -> Node:
    """``start + i * step`` for i < n; half precision is computed in float32 and rounded once."""
    wide = dtype.compute
    node = iota((n,), 0, wide)
    if step != 1:
        node = p.mul(node, constant(step, wide))
    if start != 0:
        node = p.add(node, constant(start, wide))
    return cast(node, dtype)


def linspace(
    start: complex,
    stop: complex,
    num: int | None = 50,
    endpoint: bool = True,
    dtype: Dtype | None = float32,
    stream: Any = None,
    *,
    device: Any = None,
) -> array:
    """``num`` numbers at even distances from ``start`` to ``stop``, which is the last one only with ``endpoint``.

    Complex ends, or a complex type, make complex numbers.

    >>> import arrax.core as mx
    >>> mx.linspace(0, 1, 3)
    array([0, 0.5, 1], dtype=float32)
    """
    check_stream("linspace", stream)
    expect("linspace", Dtype | None, dtype=dtype)
    check_device("linspace", device)
    n = 50 if num is None else as_int("linspace", num, "num")
    if not isinstance(endpoint, bool):
        raise TypeError(f"[linspace] expected True or False as endpoint, got {shown(endpoint)}: pass one of them")
    if n < 0:
        raise ValueError(f"[linspace] expected at least 0 samples, got {n}: pass another number")
    fits("linspace", (n,))
    target = as_dtype("linspace", dtype or float32)
    ends: list[Any] = [
        x if isinstance(x, complex) else as_number("linspace", x, name)
        for x, name in ((start, "start"), (stop, "stop"))
    ]
    if any([isinstance(x, complex) for x in ends]) and not target.is_complex:
        target = to_complex(target)
    steps = max(n - 1 if endpoint else n, 1)
    if not target.is_complex:
        return wrap(cast(_between(ends, n, steps, target.compute if target.is_inexact else float32), target))
    pairs = [complex(x) for x in ends]
    real = cast(_between([x.real for x in pairs], n, steps, real_of(target)), target)
    imaginary = cast(_between([x.imag for x in pairs], n, steps, real_of(target)), target)
    return wrap(p.add(real, p.mul(imaginary, constant(1j, target))))


def _between(ends: Sequence[float], n: int, steps: int, dtype: Dtype) -> Node:
    """``n`` numbers a ``steps``-th of the way apart: weights of both ends, so that the last can be exactly the end."""
    start, stop = ends
    t = p.div(iota((n,), 0, dtype), constant(steps, dtype))
    a = p.mul(p.sub(constant(1, dtype), t), constant(start, dtype))
    return p.add(a, p.mul(t, constant(stop, dtype)))


def eye(
    n: int,
    m: int | None = None,
    k: int = 0,
    dtype: Dtype | None = float32,
    *,
    device: Any = None,
    stream: Any = None,
) -> array:
    """Ones on the ``k``-th diagonal of an ``n`` by ``m`` matrix, zeros elsewhere."""
    check_stream("eye", stream)
    expect("eye", Dtype | None, dtype=dtype)
    check_device("eye", device)
    n, k = as_int("eye", n, "n"), as_int("eye", k, "k", bits=None)
    m = n if m is None else as_int("eye", m, "m")
    if n < 0 or m < 0:
        raise ValueError(f"[eye] expected sizes of at least 0, got {n} and {m}: pass others")
    fits("eye", (n, m))
    k = max(-n, min(k, m))
    row = iota((n, m), 0, int32)
    on = p.equal(p.add(row, constant(k, int32)) if k else row, iota((n, m), 1, int32))
    return wrap(cast(on, as_dtype("eye", dtype or float32)))


def identity(n: int, dtype: Dtype | None = float32, *, stream: Any = None) -> array:
    """The ``n`` by ``n`` identity matrix."""
    check_stream("identity", stream)
    expect("identity", Dtype | None, dtype=dtype)
    return eye(as_int("identity", n, "n"), dtype=dtype)


# --- windows ----------------------------------------------------------------------------------------------------------
def _window(op: str, size: Any, shape: Callable[[array], array]) -> Any:
    """``shape`` of the places from 0 to 1 in double precision; a window of one element is 1, as every middle is."""
    n = max(as_int(op, size, "M"), 0)
    if n < 2:
        return ones((n,))
    place = wrap(p.div(iota((n,), 0, float64), constant(n - 1, float64)))
    return wrap(cast(shape(place)._node, float32))


def _turns(place: array, n: int) -> array:
    return wrap(p.cos(p.mul(place._node, constant(2 * _math.pi * n, float64))))


def hanning(M: int, *, stream: Any = None) -> array:
    """The Hann window: ``0.5 - 0.5 cos(2 pi i / (M - 1))``."""
    check_stream("hanning", stream)
    return _window("hanning", M, lambda t: 0.5 - 0.5 * _turns(t, 1))


def hamming(M: int, *, stream: Any = None) -> array:
    """The Hamming window: ``0.54 - 0.46 cos(2 pi i / (M - 1))``."""
    check_stream("hamming", stream)
    return _window("hamming", M, lambda t: 0.54 - 0.46 * _turns(t, 1))


def blackman(M: int, *, stream: Any = None) -> array:
    """The Blackman window: ``0.42 - 0.5 cos(2 pi i / (M - 1)) + 0.08 cos(4 pi i / (M - 1))``."""
    check_stream("blackman", stream)

    def positive(t: array) -> array:
        found = 0.42 - 0.5 * _turns(t, 1) + 0.08 * _turns(t, 2)
        return wrap(p.maximum(found._node, constant(0.0, float64)))

    return _window("blackman", M, positive)


def bartlett(M: int, *, stream: Any = None) -> array:
    """The triangular window that is 0 at both ends."""
    check_stream("bartlett", stream)
    return _window("bartlett", M, lambda t: 1 - abs(2 * t - 1))
