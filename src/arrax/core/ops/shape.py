"""Functions that change the shape, the order of axes or the type, and join and split arrays."""

from __future__ import annotations

import math as _math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from arrax.core.arguments import as_int, as_ints, as_shape, elements, expect, fits, is_sequence
from arrax.core.axes import normalize_axes, normalize_axis
from arrax.core.convert import array_node, as_node, values
from arrax.core.device import check_device, check_stream
from arrax.graph.dtypes import Dtype, complex128, promote, uint8, uint16, uint32, uint64
from arrax.graph.handle import Handle, shown, wrap
from arrax.graph.node import Node, Shape
from arrax.graph.primitive import bind
from arrax.graph.primitive import broadcast_shapes as _common_shape
from arrax.graph.symbol import same
from arrax.prims import gather, opaque
from arrax.prims import pointwise as p
from arrax.prims import view as v
from arrax.prims.leaf import constant, iota
from arrax.prims.pointwise import cast
from arrax.runtime.executor import from_numpy_array

if TYPE_CHECKING:
    from arrax.core.array import array

Ints = int | Sequence[int]
_EMPTY_PARTS = 1 << 16  # parts into which an array may be cut that has fewer elements


def astype(a: array, dtype: Dtype, /, *, copy: bool = True, device: Any = None, stream: Any = None) -> array:
    """``a`` in another type; floats become integers by cutting off the fraction.

    Arrays share their memory until one is written to, so that ``copy`` makes no difference.
    """
    check_stream("astype", stream)
    check_device("astype", device)
    if not isinstance(dtype, Dtype):
        raise TypeError(f"[astype] expected a dtype such as mx.float32, got {shown(dtype)}: pass one of mx's types")
    return wrap(cast(array_node("astype", a), dtype))


def view(a: array, dtype: Dtype, stream: Any = None) -> array:
    """The bytes of ``a`` as elements of another type; the last axis grows or shrinks with the size of the type.

    >>> import arrax.core as mx
    >>> mx.array([1.0]).view(mx.uint32)
    array([1065353216], dtype=uint32)
    """
    check_stream("view", stream)
    expect("view", Dtype, dtype=dtype)
    node = as_node("view", a)
    if dtype is node.dtype:
        return wrap(node)
    if dtype.size == node.dtype.size:
        return wrap(p.bitcast(node, dtype))
    if not node.shape:
        raise ValueError(
            f"[view] expected a type of {node.dtype.size} bytes for a scalar, got {dtype.name}: reshape it"
        )
    words = {1: uint8, 2: uint16, 4: uint32, 8: uint64}
    last = node.shape[-1] * node.dtype.size
    if last % dtype.size:
        raise ValueError(
            f"[view] expected a last axis of a multiple of {dtype.size} bytes, got {last} bytes: pad the array first"
        )
    if complex128 in (dtype, node.dtype):  # no integer is as wide
        return wrap(bind(opaque.reinterpret_p, (node,), (dtype,)))
    shape = fits("view", (*node.shape[:-1], last // dtype.size))
    small, large = sorted((node.dtype.size, dtype.size))
    ratio, wide = large // small, words[large]
    shifts = p.mul(iota((ratio,), 0, wide), constant(8 * small, wide))
    bits = p.bitcast(node, words[node.dtype.size])
    if dtype.size == small:
        parts = p.right_shift(v.reshape(bits, (*bits.shape, 1)), shifts)
        bits = v.reshape(cast(parts, words[small]), shape)
    else:
        parts = p.left_shift(cast(v.reshape(bits, (*shape, ratio)), wide), shifts)
        bits = _element(parts, 0)
        for i in range(1, ratio):
            bits = p.bitwise_or(bits, _element(parts, i))
    return wrap(p.bitcast(bits, dtype))


def _element(node: Node, i: int) -> Node:
    """The i-th element along the last axis."""
    shape = node.shape[:-1]
    return v.reshape(v.slice_(node, (*shape, 1), (*(0 for _ in shape), i)), shape)


# --- shape ------------------------------------------------------------------------------------------------------------
def record_reshape(node: Node, shape: Any) -> Node:
    sizes = as_shape("reshape", shape, -1)
    if -1 in sizes:
        if sizes.count(-1) > 1:
            raise ValueError(f"[reshape] expected one size of -1 at most, got {list(sizes)}: give the others")
        known = 1
        for n in sizes:
            known *= n if n != -1 else 1
        size = node.size
        if known == 0:
            raise ValueError(f"[reshape] expected a shape that fixes the size of -1, got {list(sizes)}: give all sizes")
        if size % known:
            raise ValueError(
                f"[reshape] expected a shape of {size} elements, got {list(sizes)} for {list(node.shape)}: change it"
            )
        sizes = tuple(size // known if n == -1 else n for n in sizes)
    if same(sizes, node.shape):
        return node
    if _math.prod(sizes) != node.size or any(n < 0 for n in sizes):
        raise ValueError(
            f"[reshape] expected a shape of {node.size} elements, got {list(sizes)} for {list(node.shape)}: "
            "check the sizes"
        )
    return v.reshape(node, fits("reshape", sizes))


def reshape(a: array, /, shape: Sequence[int], *, copy: bool | None = None, stream: Any = None) -> array:
    """The elements of ``a`` in row-major order in another shape; one size may be -1 and is what is left.

    Arrays share their memory until one is written to, so that ``copy`` makes no difference.

    Raises:
        ValueError: where the number of elements differs.
    """
    check_stream("reshape", stream)
    node = array_node("reshape", a)
    expect("reshape", tuple, shape=shape)
    return wrap(record_reshape(node, shape))


def flatten(a: array, /, start_axis: int = 0, end_axis: int = -1, *, stream: Any = None) -> array:
    """The axes from ``start_axis`` to ``end_axis`` (inclusive) as one; what lies outside is clamped."""
    check_stream("flatten", stream)
    start_axis, end_axis = as_int("flatten", start_axis, "start_axis"), as_int("flatten", end_axis, "end_axis")
    node = array_node("flatten", a)
    n = node.ndim
    if n == 0:
        return wrap(v.reshape(node, (1,)))
    start = max(start_axis + n if start_axis < 0 else start_axis, 0)
    end = min(end_axis + n if end_axis < 0 else end_axis, n - 1)
    if start > end:
        raise ValueError(
            f"[flatten] expected start_axis before end_axis, got {start_axis} and {end_axis}: exchange them"
        )
    shape = node.shape
    sizes = (*shape[:start], _math.prod(shape[start : end + 1]), *shape[end + 1 :])
    return wrap(v.reshape(node, fits("flatten", sizes)))


def unflatten(a: array, /, axis: int, shape: Sequence[int], *, stream: Any = None) -> array:
    """One axis as several of the given sizes, of which one may be -1."""
    check_stream("unflatten", stream)
    expect("unflatten", tuple, shape=shape)
    node = array_node("unflatten", a)
    sizes = as_shape("unflatten", shape, -1)
    if not sizes:
        raise ValueError("[unflatten] expected at least one size, got an empty shape: use squeeze")
    axis = normalize_axis("unflatten", axis, node.ndim)
    n, known = node.shape[axis], _math.prod(s for s in sizes if s != -1)
    if sizes.count(-1) == 1 and known and n % known == 0:
        sizes = tuple(n // known if s == -1 else s for s in sizes)
    if -1 in sizes or _math.prod(sizes) != n:
        raise ValueError(f"[unflatten] expected sizes whose product is {n}, got {list(sizes)}: check the shape")
    return wrap(v.reshape(node, (*node.shape[:axis], *sizes, *node.shape[axis + 1 :])))


def squeeze(a: array, /, axis: Ints | None = None, *, stream: Any = None) -> array:
    """Without the given axes, which must have size 1; None for all of size 1."""
    check_stream("squeeze", stream)
    node = array_node("squeeze", a)
    if axis is None:
        return wrap(v.reshape(node, tuple(n for n in node.shape if n != 1)))
    axes = normalize_axes("squeeze", axis, node.ndim)
    for i in axes:
        if node.shape[i] != 1:
            raise ValueError(
                f"[squeeze] expected axes of size 1, got axis {i} of size {node.shape[i]}: choose another one"
            )
    return wrap(drop_axes(node, axes))


def drop_axes(node: Node, axes: tuple[int, ...]) -> Node:
    """Without the given axes, which have size 1."""
    return v.reshape(node, tuple(n for i, n in enumerate(node.shape) if i not in axes))


def insert_axes(node: Node, axes: tuple[int, ...]) -> Node:
    """With axes of size 1 at the given positions of the result."""
    rest = iter(node.shape)
    return v.reshape(node, tuple(1 if i in axes else next(rest) for i in range(node.ndim + len(axes))))


def expand_dims(a: array, /, axis: Ints, *, stream: Any = None) -> array:
    """With axes of size 1 at the given positions of the result."""
    check_stream("expand_dims", stream)
    node = array_node("expand_dims", a)
    axes = as_ints("expand_dims", axis, "axes")
    return wrap(insert_axes(node, normalize_axes("expand_dims", axes, node.ndim + len(axes))))


def _at_least(op: str, arrays: tuple[array, ...], shape_of: Any) -> Any:
    for a in arrays:
        array_node(op, a)
    results = [wrap(v.reshape(a._node, shape_of(a._node.shape))) for a in arrays]
    return results[0] if len(results) == 1 else results


def atleast_1d(*arys: array, stream: Any = None) -> array | list[array]:
    """Scalars as arrays with one axis; a list for several arguments."""
    check_stream("atleast_1d", stream)
    return _at_least("atleast_1d", arys, lambda s: s or (1,))


def atleast_2d(*arys: array, stream: Any = None) -> array | list[array]:
    """Arrays with fewer than two axes as rows; a list for several arguments."""
    check_stream("atleast_2d", stream)
    return _at_least("atleast_2d", arys, lambda s: s if len(s) >= 2 else (1, *s) if s else (1, 1))


def atleast_3d(*arys: array, stream: Any = None) -> array | list[array]:
    """Arrays with fewer than three axes with axes added: (n,) as (1, n, 1), (m, n) as (m, n, 1)."""
    check_stream("atleast_3d", stream)
    shapes = {0: lambda s: (1, 1, 1), 1: lambda s: (1, *s, 1), 2: lambda s: (*s, 1)}
    return _at_least("atleast_3d", arys, lambda s: shapes.get(len(s), lambda s: s)(s))


# --- order of axes ----------------------------------------------------------------------------------------------------
def transpose(a: array, /, axes: Sequence[int] | None = None, *, stream: Any = None) -> array:
    """The axes in the given order; None to reverse them."""
    check_stream("transpose", stream)
    node = array_node("transpose", a)
    if axes is None:
        return wrap(v.transpose(node, tuple(range(node.ndim))[::-1]))
    expect("transpose", tuple, axes=axes)
    axes = as_ints("transpose", axes, "axes")
    if len(axes) != node.ndim:
        raise ValueError(f"[transpose] expected {node.ndim} axes, got {len(axes)}: name every axis once")
    order = tuple(normalize_axis("transpose", i, node.ndim) for i in axes)
    if len(set(order)) != len(order):
        raise ValueError(f"[transpose] expected every axis once, got {list(axes)}: leave out duplicates")
    return wrap(v.transpose(node, order))


def permute_dims(a: array, /, axes: Sequence[int] | None = None, *, stream: Any = None) -> array:
    """Another name of ``transpose``."""
    check_stream("permute_dims", stream)
    return transpose(a, axes)


def matrix_transpose(a: array, /, *, stream: Any = None) -> array:
    """The last two axes exchanged. Raises ValueError below two dimensions."""
    check_stream("matrix_transpose", stream)
    node = array_node("matrix_transpose", a)
    if node.ndim < 2:
        raise ValueError(f"[matrix_transpose] expected at least 2 dimensions, got {node.ndim}: reshape the array")
    return wrap(v.transpose(node, (*range(node.ndim - 2), node.ndim - 1, node.ndim - 2)))


def swapaxes(a: array, /, axis1: int, axis2: int, *, stream: Any = None) -> array:
    """Two axes exchanged."""
    check_stream("swapaxes", stream)
    node = array_node("swapaxes", a)
    i, j = normalize_axis("swapaxes", axis1, node.ndim), normalize_axis("swapaxes", axis2, node.ndim)
    order = list(range(node.ndim))
    order[i], order[j] = j, i
    return wrap(v.transpose(node, tuple(order)))


def moveaxis(a: array, /, source: Ints, destination: Ints, *, stream: Any = None) -> array:
    """One axis, or each of several, moved to another position."""
    check_stream("moveaxis", stream)
    node = array_node("moveaxis", a)
    places = [
        tuple(normalize_axis("moveaxis", i, node.ndim) for i in as_ints("moveaxis", axes, "axes"))
        for axes in (source, destination)
    ]
    if len(places[0]) != len(places[1]) or any(len(set(axes)) != len(axes) for axes in places):
        raise ValueError(
            f"[moveaxis] expected a destination for every axis, each once, got {shown(source)} and "
            f"{shown(destination)}: pass as many, all different"
        )
    order = [i for i in range(node.ndim) if i not in places[0]]
    for j, i in sorted(zip(places[1], places[0], strict=True)):
        order.insert(j, i)
    return wrap(v.transpose(node, tuple(order)))


def flip(a: array, /, axis: Ints | None = None, *, stream: Any = None) -> array:
    """The elements along the given axes (None for all) in reverse order."""
    check_stream("flip", stream)
    node = array_node("flip", a)
    if is_sequence(axis):
        axis = tuple({normalize_axis("flip", i, node.ndim) for i in as_ints("flip", axis, "axes")})
    return wrap(v.flip(node, normalize_axes("flip", axis, node.ndim)))


# --- broadcasting -----------------------------------------------------------------------------------------------------
def record_broadcast(op: str, node: Node, shape: Shape) -> Node:
    if same(node.shape, shape):
        return node
    if _common_shape(op, node.shape, shape) != shape:
        raise ValueError(
            f"[{op}] expected a shape that broadcasts to {list(shape)}, got {list(node.shape)}: reshape it"
        )
    return v.broadcast(node, shape)


def broadcast_to(a: array | float, /, shape: Sequence[int], *, stream: Any = None) -> array:
    """``a`` repeated along axes of size 1, and along new ones in front."""
    check_stream("broadcast_to", stream)
    expect("broadcast_to", tuple, shape=shape)
    return wrap(record_broadcast("broadcast_to", as_node("broadcast_to", a), as_shape("broadcast_to", shape)))


def broadcast_arrays(*arrays: array, stream: Any = None) -> list[array]:
    """All arrays broadcast to their common shape."""
    check_stream("broadcast_arrays", stream)
    nodes = [array_node("broadcast_arrays", a) for a in arrays]
    shape = _common_shape("broadcast_arrays", *(n.shape for n in nodes)) if nodes else ()
    return [wrap(v.broadcast(n, shape)) for n in nodes]


def broadcast_shapes(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape to which arrays of the given shapes broadcast; that of a scalar array for none.

    >>> import arrax.core as mx
    >>> mx.broadcast_shapes((2, 1), (3,))
    (2, 3)
    """
    return _common_shape("broadcast_shapes", (), *(as_shape("broadcast_shapes", s) for s in shapes))


# --- joining ----------------------------------------------------------------------------------------------------------
def _common_type(op: str, arrays: Sequence[array]) -> list[Node]:
    if isinstance(arrays, Handle):  # the parts along its first axis
        arrays = list(arrays)
    expect(op, tuple, arrays=arrays)
    nodes = [array_node(op, a) for a in arrays]
    if not nodes:
        raise ValueError(f"[{op}] expected at least one array, got none: pass a list of arrays")
    dtype = nodes[0].dtype
    for n in nodes[1:]:
        if n.dtype is not dtype:
            dtype = promote(dtype, n.dtype)
    return [cast(n, dtype) for n in nodes]


def record_concatenate(nodes: list[Node], axis: int) -> Node:
    if len(nodes) == 1:
        return nodes[0]
    fits("concatenate", (sum(n.shape[axis] for n in nodes),))
    return v.concatenate(nodes, axis)


def concatenate(arrays: list[array], axis: int | None = 0, *, stream: Any = None) -> array:
    """The arrays joined along an axis; None to flatten them first.

    Raises:
        ValueError: where shapes differ elsewhere.
    """
    check_stream("concatenate", stream)
    nodes = _common_type("concatenate", arrays)
    if axis is None:
        return wrap(record_concatenate([v.reshape(n, (n.size,)) for n in nodes], 0))
    axis = normalize_axis("concatenate", axis, nodes[0].ndim)
    if any(n.ndim != nodes[0].ndim for n in nodes):
        raise ValueError(
            f"[concatenate] expected arrays with equally many axes, got shapes {[list(n.shape) for n in nodes]}: "
            "reshape them first"
        )
    return wrap(record_concatenate(nodes, axis))


def stack(arrays: list[array], axis: int | None = 0, *, stream: Any = None) -> array:
    """Arrays of one shape joined along a new axis."""
    check_stream("stack", stream)
    nodes = _common_type("stack", arrays)
    shape = nodes[0].shape
    for n in nodes:
        if n.shape != shape:
            raise ValueError(
                f"[stack] expected arrays of one shape, got {list(shape)} and {list(n.shape)}: use concatenate"
            )
    axis = normalize_axis("stack", 0 if axis is None else axis, len(shape) + 1)
    return wrap(record_concatenate([insert_axes(n, (axis,)) for n in nodes], axis))


def meshgrid(
    *arrays: array, sparse: bool | None = False, indexing: str | None = "xy", stream: Any = None
) -> tuple[array, ...]:
    """Coordinate arrays of a grid from the coordinates along each axis; 'xy' exchanges the first two axes."""
    check_stream("meshgrid", stream)
    expect("meshgrid", str | None, indexing=indexing)
    if indexing not in ("xy", "ij"):
        raise ValueError(f"[meshgrid] expected indexing 'xy' or 'ij', got {shown(indexing)}: choose one of them")
    nodes = [array_node("meshgrid", a) for a in arrays]
    n = len(nodes)
    place = list(range(n))
    if indexing == "xy" and n >= 2:
        place[0], place[1] = 1, 0
    results = [
        v.reshape(x, tuple(x.size if i == k else 1 for i in range(n))) for k, x in zip(place, nodes, strict=True)
    ]
    if not sparse and n:
        shape = _common_shape("meshgrid", *(x.shape for x in results))
        results = [v.broadcast(x, shape) for x in results]
    return tuple(map(wrap, results))


# --- splitting --------------------------------------------------------------------------------------------------------
def record_slice_axis(node: Node, axis: int, start: int, stop: int) -> Node:
    """The part of ``node`` from ``start`` to ``stop`` along one axis; both inside."""
    if start == 0 and stop == node.shape[axis]:
        return node
    shape = (*node.shape[:axis], max(stop - start, 0), *node.shape[axis + 1 :])
    return v.slice_(node, shape, tuple(start if i == axis else 0 for i in range(node.ndim)))


def number_of_parts(op: str, parts: Any, n: int) -> int:
    """Into how many parts an axis of n elements is cut; empty parts are no reason to make millions of arrays."""
    count = as_int(op, parts, "the number of parts")
    if count < 1:
        raise ValueError(f"[{op}] expected at least one part, got {count}: pass a larger number")
    if count > max(n, _EMPTY_PARTS):
        raise ValueError(f"[{op}] expected at most {max(n, _EMPTY_PARTS)} parts, got {count}: pass a smaller number")
    return count


def split(a: array, /, indices_or_sections: Ints, axis: int = 0, *, stream: Any = None) -> list[array]:
    """The array cut along an axis: into equal sections, or at the given positions.

    >>> import arrax.core as mx
    >>> mx.split(mx.array([1, 2, 3]), [1])
    [array([1], dtype=int32), array([2, 3], dtype=int32)]
    """
    check_stream("split", stream)
    node = array_node("split", a)
    axis = normalize_axis("split", axis, node.ndim)
    n = node.shape[axis]
    if is_sequence(indices_or_sections):
        cuts = [min(max(i + n if i < 0 else i, 0), n) for i in as_ints("split", indices_or_sections, "positions")]
        return [wrap(record_slice_axis(node, axis, i, j)) for i, j in zip([0, *cuts], [*cuts, n], strict=True)]
    sections = number_of_parts("split", indices_or_sections, n)
    if n % sections:
        raise ValueError(
            f"[split] expected a number of sections that divides {n}, got {sections}: pass positions instead"
        )
    step = n // sections
    return [wrap(record_slice_axis(node, axis, i * step, (i + 1) * step)) for i in range(sections)]


def unstack(x: array, /, *, axis: int = 0, stream: Any = None) -> tuple[array, ...]:
    """The parts of the array along an axis, without it."""
    check_stream("unstack", stream)
    node = array_node("unstack", x)
    axis = normalize_axis("unstack", axis, node.ndim)
    return tuple(wrap(drop_axes(record_slice_axis(node, axis, i, i + 1), (axis,))) for i in range(node.shape[axis]))


# --- repetition -------------------------------------------------------------------------------------------------------
def tile(a: array, reps: Ints, /, *, stream: Any = None) -> array:
    """The array repeated as a whole, ``reps`` times along each axis; both are filled up with ones in front."""
    check_stream("tile", stream)
    node = array_node("tile", a)
    counts = as_ints("tile", reps, "repetitions")
    n = max(node.ndim, len(counts))
    if any(r < 0 for r in counts):
        raise ValueError(f"[tile] expected repetitions of at least 0, got {list(counts)}: pass other numbers")
    counts = (*(1,) * (n - len(counts)), *counts)
    shape = (*(1,) * (n - node.ndim), *node.shape)
    spread = v.reshape(node, tuple(m for s in shape for m in (1, s)))
    spread = v.broadcast(spread, tuple(m for r, s in zip(counts, shape, strict=True) for m in (r, s)))
    return wrap(v.reshape(spread, fits("tile", tuple(r * s for r, s in zip(counts, shape, strict=True)))))


def repeat(array: array, repeats: int | array, axis: int | None = None, *, stream: Any = None) -> array:
    """Each element repeated ``repeats`` times along an axis; None to flatten first.

    An array has a number for each element; it is evaluated, as the size of the result depends on it.
    """
    check_stream("repeat", stream)
    node = array_node("repeat", array)
    if axis is None:
        node, axis = v.reshape(node, (node.size,)), 0
    axis = normalize_axis("repeat", axis, node.ndim)
    if isinstance(repeats, Handle) and repeats._node.shape:
        counts = values(repeats._node)
        if counts.dtype.kind not in "iu" or counts.shape not in ((1,), (node.shape[axis],)) or (counts < 0).any():
            raise ValueError(
                f"[repeat] expected {node.shape[axis]} integers of at least 0, got {repeats._node.dtype.name} of shape "
                f"{list(counts.shape)}: pass one for every element"
            )
        positions = np.repeat(np.arange(node.shape[axis], dtype=gather.position_type(node.shape[axis]).np), counts)
        return wrap(gather.take(node, from_numpy_array(positions), axis))
    repeats = as_int("repeat", repeats, "repeats")
    if repeats < 0:
        raise ValueError(f"[repeat] expected repeats of at least 0, got {repeats}: pass another number")
    shape = node.shape
    spread = v.reshape(node, (*shape[: axis + 1], 1, *shape[axis + 1 :]))
    spread = v.broadcast(spread, (*shape[: axis + 1], repeats, *shape[axis + 1 :]))
    return wrap(v.reshape(spread, fits("repeat", (*shape[:axis], shape[axis] * repeats, *shape[axis + 1 :]))))


def roll(a: array, /, shift: Ints, axis: Ints | None = None, *, stream: Any = None) -> array:
    """Elements moved along the axes, those that leave at one end entering at the other; None to move them flat."""
    check_stream("roll", stream)
    node = array_node("roll", a)
    shifts = as_ints("roll", shift, "shifts")
    if axis is None:
        flat = _roll(v.reshape(node, (node.size,)), sum(shifts), 0)
        return wrap(v.reshape(flat, node.shape))
    axes = tuple(normalize_axis("roll", i, node.ndim) for i in as_ints("roll", axis, "axes"))
    if len(shifts) < len(axes):
        shifts = shifts * len(axes) if len(shifts) == 1 else shifts
    if len(axes) == 1 and len(shifts) > 1:
        shifts = (sum(shifts),)
    if len(shifts) != len(axes):
        raise ValueError(f"[roll] expected one shift for every axis, got {len(shifts)} for {len(axes)}: pass as many")
    for s, i in zip(shifts, axes, strict=True):
        node = _roll(node, s, i)
    return wrap(node)


def _roll(node: Node, shift: int, axis: int) -> Node:
    n = node.shape[axis]
    shift = shift % n if n else 0
    if shift == 0:
        return node
    return v.concatenate(
        [record_slice_axis(node, axis, n - shift, n), record_slice_axis(node, axis, 0, n - shift)], axis
    )


# --- strides, order of evaluation -------------------------------------------------------------------------------------
def as_strided(
    a: array,
    /,
    shape: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    offset: int = 0,
    *,
    stream: Any = None,
) -> array:
    """A window on the elements in row-major order: element ``i`` of the result is at ``offset + sum(i * strides)``.

    Raises:
        ValueError: where shape and strides differ in length, or reach outside the array.
    """
    check_stream("as_strided", stream)
    offset = as_int("as_strided", offset, "offset", 64)
    expect("as_strided", tuple | None, shape=shape, strides=strides)
    node = array_node("as_strided", a)
    sizes = node.shape if shape is None else as_shape("as_strided", shape)
    if strides is None:
        steps = tuple(_math.prod(sizes[i + 1 :]) for i in range(len(sizes)))
    else:
        steps = tuple([as_int("as_strided", i, "strides", 64) for i in elements(strides)])
    if len(sizes) != len(steps):
        raise ValueError(
            f"[as_strided] expected as many strides as axes, got {len(steps)} for {len(sizes)}: pass as many"
        )
    pairs = list(zip(sizes, steps, strict=True))
    low, high = (offset + sum((n - 1) * s for n, s in pairs if (s > 0) is up) for up in (False, True))
    if 0 not in sizes and not (low >= 0 and high < node.size):
        raise ValueError(
            f"[as_strided] expected positions inside {node.size} elements, got {low} to {high}: check shape and strides"
        )
    return wrap(gather.as_strided(v.reshape(node, (node.size,)), sizes, steps, offset))


def contiguous(a: array, /, allow_col_major: bool = False, *, stream: Any = None) -> array:
    """``a`` in row-major order, in which every evaluated array is."""
    check_stream("contiguous", stream)
    return wrap(array_node("contiguous", a))


def depends(inputs: array | Sequence[array], dependencies: array | Sequence[array]) -> Any:
    """The inputs, computed only after the dependencies have been."""
    for name, value in (("inputs", inputs), ("dependencies", dependencies)):
        if not isinstance(value, Handle):
            expect("depends", tuple, **{name: value})
    waits = [dependencies] if isinstance(dependencies, Handle) else list(dependencies)
    nodes = [array_node("depends", d) for d in waits]
    if isinstance(inputs, Handle):
        return wrap(opaque.barrier(inputs._node, *nodes))
    return [wrap(opaque.barrier(array_node("depends", a), *nodes)) for a in inputs]
