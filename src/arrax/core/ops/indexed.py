"""Functions that read or write at positions: take, put, slices, diagonals, triangles, padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from arrax.core.arguments import as_int, as_ints, as_shape, elements, expect, fits, is_sequence
from arrax.core.axes import normalize_axis
from arrax.core.convert import array_node, as_dtype, typed_node
from arrax.core.device import check_stream
from arrax.core.ops.reductions import record_diagonal
from arrax.core.ops.shape import drop_axes, record_broadcast, record_slice_axis
from arrax.graph.dtypes import Dtype, float32, int32, int64, uint64
from arrax.graph.errors import PositionError
from arrax.graph.handle import Handle, shown, wrap
from arrax.graph.node import Node, Shape
from arrax.prims import gather
from arrax.prims import pointwise as p
from arrax.prims import view as v
from arrax.prims.leaf import constant, iota
from arrax.prims.pointwise import cast

if TYPE_CHECKING:
    from arrax.core.array import array


def index_node(op: str, index: Any) -> Node:
    """The node of an array of positions; raises an error for one that is not of integers."""
    node = array_node(op, index)
    if not node.dtype.is_integer:
        error = ValueError if op == "take" else RuntimeError
        raise error(f"[{op}] expected integer indices, got {node.dtype.name}: cast them with astype")
    return node


# --- take and put -----------------------------------------------------------------------------------------------------
def take(a: array, /, indices: int | array, axis: int | None = None, *, stream: Any = None) -> array:
    """The parts of ``a`` at the given positions along an axis, whose place the indices' axes take; None flattens first.

    Negative positions count from the end. The elements of an array are not checked, as they need not be known yet: a
    position outside all the same reads the first or the last part, whichever is nearer, and has no derivative.

    Raises:
        ValueError: for indices that are not integers.
        IndexError: for a Python integer out of range.
    """
    check_stream("take", stream)
    node = array_node("take", a)
    if not isinstance(indices, int | Handle):
        raise TypeError(
            f"[take] expected an integer or an array, got {type(indices).__name__}: convert it with mx.array"
        )
    if axis is None:
        node, axis = v.reshape(node, (node.size,)), 0
    axis = normalize_axis("take", axis, node.ndim)
    if isinstance(indices, int):
        i = position("take", indices, node.shape[axis])
        return wrap(drop_axes(record_slice_axis(node, axis, i, i + 1), (axis,)))
    index = index_node("take", indices)
    check_axis("take", node, axis, index)
    return wrap(gather.take(node, index, axis))


def position(op: str, i: int, n: int) -> int:
    """A Python index counted from the front; raises PositionError out of range."""
    if not -n <= i < n:
        raise PositionError(f"[{op}] expected an index from {-n} to {n - 1}, got {i}: the axis has {n} elements")
    return i + n if i < 0 else i


def check_axis(op: str, node: Node, axis: int, index: Node) -> None:
    """Raises PositionError for positions on an axis without elements: there is nothing that they could be."""
    if not node.shape[axis] and index.size:
        raise PositionError(
            f"[{op}] expected no positions on an axis without elements, got {index.size}: test the size"
        )


def _aligned(op: str, node: Node, indices: Any, axis: int) -> Node:
    """Indices broadcast to the array's shape but for the axis."""
    index = array_node(op, indices)
    if index.ndim != node.ndim:
        raise ValueError(f"[{op}] expected indices with {node.ndim} axes, got {index.ndim}: reshape them")
    shape = list(node.shape)
    shape[axis] = index.shape[axis]
    return index_node(op, wrap(record_broadcast(op, index, tuple(shape))))


def take_along_axis(a: array, /, indices: array, axis: int | None = -1, *, stream: Any = None) -> array:
    """Single elements of ``a``: at each position of the indices the one that they name along the axis.

    The indices broadcast to ``a`` elsewhere. None flattens ``a`` first. Positions are read as by ``take``.
    """
    check_stream("take_along_axis", stream)
    node = array_node("take_along_axis", a)
    if axis is None:
        node, axis = v.reshape(node, (node.size,)), 0
    axis = normalize_axis("take_along_axis", axis, node.ndim)
    index = array_node("take_along_axis", indices)
    if index.ndim != node.ndim:
        raise ValueError(f"[take_along_axis] expected indices with {node.ndim} axes, got {index.ndim}: reshape them")
    # whichever is smaller elsewhere is broadcast
    base, at = list(node.shape), list(index.shape)
    for i, (n, m) in enumerate(zip(node.shape, index.shape, strict=True)):
        if i != axis and n != m:
            base[i] = at[i] = m if n == 1 else n
    check_axis("take_along_axis", node, axis, index)
    node = record_broadcast("take_along_axis", node, tuple(base))
    index = record_broadcast("take_along_axis", index, tuple(at))
    return wrap(gather.take_along(node, index_node("take_along_axis", wrap(index)), axis))


def put_along_axis(a: array, /, indices: array, values: array, axis: int | None = None, *, stream: Any = None) -> array:
    """``a`` with single elements replaced, at the positions that ``take_along_axis`` reads; None flattens first.

    Negative positions count from the end; where one is outside all the same, nothing is written.
    """
    check_stream("put_along_axis", stream)
    node = array_node("put_along_axis", a)
    shape = node.shape
    if axis is None:
        node, axis = v.reshape(node, (node.size,)), 0
    axis = normalize_axis("put_along_axis", axis, node.ndim)
    if not array_node("put_along_axis", indices).size:  # of whichever type
        return wrap(v.reshape(node, shape))
    index = _aligned("put_along_axis", node, indices, axis)
    value = cast(array_node("put_along_axis", values), node.dtype)
    value = record_broadcast("put_along_axis", value, index.shape)
    return wrap(v.reshape(gather.scatter_along(node, index, value, axis, "set"), shape))


# --- slices whose start is data ---------------------------------------------------------------------------------------
def _starts(op: str, node: Node, start: Any, axes: Sequence[int]) -> list[tuple[int, Node]]:
    index = array_node(op, start)
    if not index.dtype.is_integer:
        raise ValueError(f"[{op}] expected integer starts, got {index.dtype.name}: cast them with astype")
    if index.dtype is uint64:
        index = p.minimum(index, constant(2**62, uint64))
    index = cast(v.reshape(index, (index.size,)), int64)  # what begins far outside stays there
    chosen = [normalize_axis(op, i, node.ndim) for i in as_ints(op, axes, "axes")]
    if index.shape[0] != len(chosen):
        raise ValueError(
            f"[{op}] expected one start for every axis, got {index.shape[0]} for {len(chosen)}: pass as many"
        )
    if len(set(chosen)) != len(chosen):
        raise ValueError(f"[{op}] expected every axis once, got {shown(axes)}: leave out duplicates")
    return [(i, record_slice_axis(index, 0, k, k + 1)) for k, i in enumerate(chosen)]


def slice(
    a: array, start_indices: array, axes: Sequence[int], slice_size: Sequence[int], *, stream: Any = None
) -> array:
    """A region of ``a`` that begins at positions given by an array.

    Args:
        start_indices: the first position along each of the axes.
        axes: the axes that have a start; the others begin at 0.
        slice_size: the size of the region along every axis of ``a``.

    Raises:
        ValueError: where the region is larger than the array.
    """
    check_stream("slice", stream)
    expect("slice", tuple, axes=axes, slice_size=slice_size)
    node = array_node("slice", a)
    size = as_shape("slice", slice_size)
    starts = _starts("slice", node, start_indices, axes)
    if len(size) != node.ndim or any(not 0 <= n <= m for n, m in zip(size, node.shape, strict=True)):
        raise ValueError(
            f"[slice] expected sizes of at most {list(node.shape)}, got {list(size)}: pass one for every axis"
        )
    moving = dict(starts)
    node = v.slice_(node, tuple(node.shape[i] if i in moving else n for i, n in enumerate(size)), (0,) * node.ndim)
    for axis, start in starts:
        node = gather.take(node, p.add(iota((size[axis],), 0, int64), start), axis)
    return wrap(node)


def slice_update(a: array, update: array, start_indices: array, axes: Sequence[int], *, stream: Any = None) -> array:
    """``a`` with a region replaced that begins at positions given by an array; see ``slice``.

    The update has the region's shape and is cast to ``a``'s type; axes that it lacks in front are filled up.
    """
    check_stream("slice_update", stream)
    node = array_node("slice_update", a)
    starts = _starts("slice_update", node, start_indices, axes)
    value = cast(array_node("slice_update", update), node.dtype)
    moving = dict(starts)
    missing = node.ndim - value.ndim
    shape = (*(1 if i in moving else node.shape[i] for i in range(missing)), *value.shape)
    if missing < 0 or any(m > n for m, n in zip(shape, node.shape, strict=True)):
        raise ValueError(
            f"[slice_update] expected an update of at most {list(node.shape)}, got {list(value.shape)}: make it smaller"
        )
    return wrap(_update(node, v.broadcast(value, shape), starts))


def _update(node: Node, value: Node, starts: list[tuple[int, Node]]) -> Node:
    """Writes the region axis by axis: the rows that it touches are read, changed and written back."""
    if not starts:
        return v.slice_update(node, value, (0,) * node.ndim)
    axis, start = starts[0]
    rows = p.add(iota((value.shape[axis],), 0, int64), start)
    if len(starts) > 1 or value.shape != _with(node.shape, axis, value.shape[axis]):
        value = _update(gather.take(node, rows, axis), value, starts[1:])
    return gather.scatter(node, rows, value, axis, "set")


def _with(shape: Shape, axis: int, n: int) -> Shape:
    return (*shape[:axis], n, *shape[axis + 1 :])


# --- diagonals and triangles ------------------------------------------------------------------------------------------
def diagonal(a: array, offset: int = 0, axis1: int = 0, axis2: int = 1, stream: Any = None) -> array:
    """The diagonal of two axes, as the last axis; an offset moves it to the right."""
    check_stream("diagonal", stream)
    return wrap(record_diagonal("diagonal", array_node("diagonal", a), offset, axis1, axis2))


def diag(a: array, /, k: int = 0, *, stream: Any = None) -> array:
    """The ``k``-th diagonal of a matrix, or the matrix that has a vector on it.

    >>> import arrax.core as mx
    >>> mx.diag(mx.array([1, 2]))
    array([[1, 0],
           [0, 2]], dtype=int32)
    """
    check_stream("diag", stream)
    k = as_int("diag", k, "k")
    node = array_node("diag", a)
    if node.ndim == 2:
        return wrap(record_diagonal("diag", node, k, 0, 1))
    if node.ndim != 1:
        raise ValueError(f"[diag] expected 1 or 2 dimensions, got {node.ndim}: use diagonal for more")
    size = node.shape[0] + abs(k)
    fits("diag", (size, size))
    row, column = max(-k, 0), max(k, 0)
    n = node.shape[0]
    if n == 0:
        return wrap(v.broadcast(constant(0, node.dtype), (size, size)))
    # the vector along both axes, zeroed off the diagonal, put into place
    here = p.equal(iota((n, n), 0, int32), iota((n, n), 1, int32))
    block = p.where(here, node, constant(0, node.dtype))
    if k == 0:
        return wrap(block)
    return wrap(v.slice_update(v.broadcast(constant(0, node.dtype), (size, size)), block, (row, column)))


def _triangle(n: int, m: int, k: int) -> Node:
    """Where column - row <= k."""
    k = max(-n, min(k, m))
    return p.less_equal(iota((n, m), 1, int32), p.add(iota((n, m), 0, int32), constant(k, int32)))


def tri(n: int, m: int | None = None, k: int = 0, dtype: Dtype | None = None, *, stream: Any = None) -> array:
    """Ones on and below the ``k``-th diagonal, zeros above; float32 unless told otherwise."""
    check_stream("tri", stream)
    expect("tri", Dtype | None, dtype=dtype)
    n, m = as_shape("tri", (n, n if m is None else m))
    k = as_int("tri", k, "k", bits=None)
    return wrap(cast(_triangle(n, m, k), as_dtype("tri", dtype or float32)))


def tril(x: array, k: int = 0, *, stream: Any = None) -> array:
    """``x`` with zeros above the ``k``-th diagonal of its last two axes."""
    check_stream("tril", stream)
    return _keep("tril", x, as_int("tril", k, "k", bits=None), True)


def triu(x: array, k: int = 0, *, stream: Any = None) -> array:
    """``x`` with zeros below the ``k``-th diagonal of its last two axes."""
    check_stream("triu", stream)
    return _keep("triu", x, as_int("triu", k, "k", bits=None) - 1, False)


def _keep(op: str, x: Any, k: int, below: bool) -> Any:
    node = array_node(op, x)
    if node.ndim < 2:
        raise ValueError(f"[{op}] expected at least 2 dimensions, got {node.ndim}: reshape the array")
    mask, zero = _triangle(node.shape[-2], node.shape[-1], k), constant(0, node.dtype)
    return wrap(p.where(mask, node, zero) if below else p.where(mask, zero, node))


# --- padding ----------------------------------------------------------------------------------------------------------
def _pad_widths(pad_width: Any, n: int) -> list[tuple[int, int]]:
    pad_width = elements(pad_width)
    if not isinstance(pad_width, list | tuple) or not any(map(is_sequence, pad_width)):
        widths = as_ints("pad", pad_width, "widths")
        if not 0 < len(widths) <= 2:
            raise ValueError(
                f"[pad] expected one or two widths or a pair for every axis, got {shown(pad_width)}: use pairs"
            )
        return [(widths[0], widths[-1])] * n
    sides = [as_ints("pad", w, "widths") for w in pad_width]
    for side in sides:
        if len(side) not in (1, 2):
            raise TypeError(f"[pad] expected a pair of widths for an axis, got {list(side)}: pass (before, behind)")
    pairs = [(side[0], side[-1]) for side in sides]
    if len(pairs) == 1:
        pairs *= n
    if len(pairs) != n:
        raise ValueError(f"[pad] expected a pair of widths for each of {n} axes, got {len(pairs)}: pass as many")
    return pairs


def pad(
    a: array,
    pad_width: Any,
    mode: str = "constant",
    constant_values: Any = 0,
    *,
    stream: Any = None,
) -> array:
    """``a`` with elements added before and behind, along every axis.

    Args:
        pad_width: a number for all sides, ``(before, behind)`` for all axes, or a pair for every axis.
        mode: 'constant', 'edge' (the outermost element), 'reflect' (mirrored at it) or 'symmetric' (and it too).
        constant_values: what is added in the mode 'constant'.

    >>> import arrax.core as mx
    >>> mx.pad(mx.array([1, 2]), (1, 2))
    array([0, 1, 2, 0, 0], dtype=int32)
    """
    check_stream("pad", stream)
    expect("pad", str, mode=mode)
    node = array_node("pad", a)
    widths = _pad_widths(pad_width, node.ndim)
    for i, (before, behind) in enumerate(widths):
        if before < 0 or behind < 0:
            raise ValueError(f"[pad] expected widths of at least 0, got {(before, behind)} for axis {i}: use a slice")
    if mode == "constant":
        value = typed_node("pad", constant_values, node.dtype)
        return wrap(record_pad(node, widths, value))
    if mode not in ("edge", "reflect", "symmetric"):
        raise ValueError(
            f"[pad] expected mode constant, edge, reflect or symmetric, got {shown(mode)}: choose one of them"
        )
    for axis, (before, behind) in enumerate(widths):
        if before or behind:
            node = _pad_axis(node, axis, before, behind, mode)
    return wrap(node)


def record_pad(node: Node, widths: Sequence[tuple[int, int]], value: Node) -> Node:
    if not any(before or behind for before, behind in widths):
        return node
    shape = fits("pad", tuple(n + sum(w) for n, w in zip(node.shape, widths, strict=True)))
    return v.slice_update(record_broadcast("pad", value, shape), node, tuple(before for before, _ in widths))


def _pad_axis(node: Node, axis: int, before: int, behind: int, mode: str) -> Node:
    n = node.shape[axis]
    fits("pad", (before + n + behind,))
    if n == 0 and mode != "edge":
        raise ValueError(f"[pad] expected elements to mirror in mode {mode!r}, got none along axis {axis}: use 'edge'")
    if n == 0:
        return record_pad(node, [(before, behind) if i == axis else (0, 0) for i in range(node.ndim)],
                          constant(0, node.dtype))  # fmt: skip
    if mode == "edge" or n == 1:

        def edge(i: int, width: int) -> Node:
            return v.broadcast(record_slice_axis(node, axis, i, i + 1), _with(node.shape, axis, width))

        return v.concatenate([edge(0, before), node, edge(n - 1, behind)], axis)
    # the element at -1 is the first one mirrored: of a period of 2 n - 2 (reflect) or 2 n (symmetric)
    skip = 1 if mode == "reflect" else 0
    back = record_slice_axis(v.flip(node, (axis,)), axis, skip, n - skip)
    period = n + back.shape[axis]
    offset = -before % period
    count = -(-(offset + before + n + behind) // period)
    lead, tail = node.shape[:axis], node.shape[axis + 1 :]
    line = v.reshape(v.concatenate([node, back], axis), (*lead, 1, period, *tail))
    line = v.reshape(v.broadcast(line, (*lead, count, period, *tail)), (*lead, count * period, *tail))
    return record_slice_axis(line, axis, offset, offset + before + n + behind)
