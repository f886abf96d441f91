"""Arrays turned, joined, cut and chosen from, under NumPy's names."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from arrax.core.arguments import as_int, as_ints, is_sequence
from arrax.core.axes import normalize_axis
from arrax.core.convert import INT_MAX, array_node, as_node, pair, typed_node
from arrax.core.device import check_stream
from arrax.core.ops.math import as_bool, meet
from arrax.core.ops.shape import (
    atleast_1d,
    atleast_2d,
    atleast_3d,
    concatenate,
    flip,
    number_of_parts,
    record_slice_axis,
    swapaxes,
)
from arrax.graph.handle import wrap
from arrax.graph.node import Node
from arrax.prims import pointwise as p
from arrax.prims import view as v
from arrax.prims.leaf import constant
from arrax.runtime.executor import from_numpy_array

if TYPE_CHECKING:
    from arrax.core.array import array


# --- turning ----------------------------------------------------------------------------------------------------------
def _at_least(op: str, a: Any, ndim: int) -> Node:
    node = array_node(op, a)
    if node.ndim < ndim:
        raise ValueError(f"[{op}] expected at least {ndim} dimensions, got {node.ndim}: reshape the array")
    return node


def flipud(a: array, /, *, stream: Any = None) -> array:
    """The array with its first axis reversed.

    >>> import arrax.core as mx
    >>> mx.flipud(mx.array([[1, 2], [3, 4]]))
    array([[3, 4],
           [1, 2]], dtype=int32)
    """
    check_stream("flipud", stream)
    _at_least("flipud", a, 1)
    return flip(a, 0)


def fliplr(a: array, /, *, stream: Any = None) -> array:
    """The array with its second axis reversed. Raises ValueError below two dimensions."""
    check_stream("fliplr", stream)
    _at_least("fliplr", a, 2)
    return flip(a, 1)


def rot90(a: array, /, k: int = 1, axes: tuple[int, int] = (0, 1), *, stream: Any = None) -> array:
    """The array turned ``k`` times by a right angle, from the first of two axes towards the second.

    Raises:
        ValueError: for axes that are one and the same.

    >>> import arrax.core as mx
    >>> mx.rot90(mx.array([[1, 2], [3, 4]]))
    array([[2, 4],
           [1, 3]], dtype=int32)
    """
    check_stream("rot90", stream)
    node = array_node("rot90", a)
    plane = as_ints("rot90", axes, "axes")
    if len(plane) != 2:
        raise ValueError(f"[rot90] expected two axes, got {len(plane)}: pass a pair")
    i, j = (normalize_axis("rot90", axis, node.ndim) for axis in plane)
    if i == j:
        raise ValueError(f"[rot90] expected two different axes, got {plane}: choose others")
    k = as_int("rot90", k, "k") % 4
    if k == 2:
        return flip(flip(a, i), j)
    if k == 1:
        return swapaxes(flip(a, j), i, j)
    return flip(swapaxes(a, i, j), j) if k == 3 else a


# --- joining ----------------------------------------------------------------------------------------------------------
def _joined(op: str, arrays: Sequence[array], prepare: Callable[..., Any], axis: int) -> array:
    if not isinstance(arrays, list | tuple) or not arrays:
        raise ValueError(f"[{op}] expected a list of arrays, got {type(arrays).__name__}: pass at least one")
    return concatenate([prepare(wrap(as_node(op, a))) for a in arrays], axis)


def hstack(arrays: Sequence[array], /, *, stream: Any = None) -> array:
    """Arrays joined along their second axis, those with one axis along that.

    >>> import arrax.core as mx
    >>> mx.hstack([mx.array([1, 2]), mx.array([3])])
    array([1, 2, 3], dtype=int32)
    """
    check_stream("hstack", stream)
    lines = isinstance(arrays, list | tuple) and all(as_node("hstack", a).ndim < 2 for a in arrays)
    return _joined("hstack", arrays, atleast_1d, 0 if lines else 1)


def vstack(arrays: Sequence[array], /, *, stream: Any = None) -> array:
    """Arrays joined along their first axis; those with one axis are rows.

    >>> import arrax.core as mx
    >>> mx.vstack([mx.array([1, 2]), mx.array([3, 4])])
    array([[1, 2],
           [3, 4]], dtype=int32)
    """
    check_stream("vstack", stream)
    return _joined("vstack", arrays, atleast_2d, 0)


def dstack(arrays: Sequence[array], /, *, stream: Any = None) -> array:
    """Arrays joined along their third axis, which those with fewer get."""
    check_stream("dstack", stream)
    return _joined("dstack", arrays, atleast_3d, 2)


def column_stack(arrays: Sequence[array], /, *, stream: Any = None) -> array:
    """Arrays joined along their second axis; those with one axis are columns.

    >>> import arrax.core as mx
    >>> mx.column_stack([mx.array([1, 2]), mx.array([3, 4])])
    array([[1, 3],
           [2, 4]], dtype=int32)
    """
    check_stream("column_stack", stream)
    return _joined("column_stack", arrays, lambda a: a if a.ndim > 1 else a.reshape(-1, 1), 1)


def append(a: array, values: array | float, /, axis: int | None = None, *, stream: Any = None) -> array:
    """``a`` with ``values`` behind it along an axis; None to flatten both.

    >>> import arrax.core as mx
    >>> mx.append(mx.array([1, 2]), 3)
    array([1, 2, 3], dtype=int32)
    """
    check_stream("append", stream)
    array_node("append", a)
    other = wrap(pair("append", a, values)[1])
    if axis is None:
        return concatenate([a.reshape(-1), other.reshape(-1)], 0)
    return concatenate([a, other], axis)


def array_split(
    a: array, /, indices_or_sections: int | Sequence[int], axis: int = 0, *, stream: Any = None
) -> list[array]:
    """Parts along an axis: so many of almost one size, the larger ones first, or those between the given positions.

    Raises:
        ValueError: for less than one part.

    >>> import arrax.core as mx
    >>> mx.array_split(mx.array([1, 2, 3]), 2)
    [array([1, 2], dtype=int32), array([3], dtype=int32)]
    """
    check_stream("array_split", stream)
    node = array_node("array_split", a)
    axis = normalize_axis("array_split", axis, node.ndim)
    n = node.shape[axis]
    if not is_sequence(indices_or_sections):
        parts = number_of_parts("array_split", indices_or_sections, n)
        ends = [k * (n // parts) + min(k, n % parts) for k in range(parts + 1)]
        cuts = list(itertools.pairwise(ends))
    else:
        places = [0, *as_ints("array_split", indices_or_sections, "positions"), n]
        cuts = [slice(*pair).indices(n)[:2] for pair in itertools.pairwise(places)]
    return [wrap(record_slice_axis(node, axis, start, max(start, stop))) for start, stop in cuts]


# --- choosing ---------------------------------------------------------------------------------------------------------
def select(
    condlist: Sequence[array], choicelist: Sequence[array | float], default: array | float = 0, *, stream: Any = None
) -> array:
    """From several choices the one whose condition is the first to be not 0; ``default`` where all are.

    Raises:
        ValueError: for no conditions, or another number of choices.

    >>> import arrax.core as mx
    >>> x = mx.array([1, 2, 3])
    >>> mx.select([x < 2, x > 2], [x, 10 * x])
    array([1, 0, 30], dtype=int32)
    """
    check_stream("select", stream)
    if len(condlist) != len(choicelist) or not len(condlist):
        raise ValueError(
            f"[select] expected as many choices as conditions, got {len(choicelist)} and {len(condlist)}: pass pairs"
        )
    *choices, result = meet("select", *choicelist, default)
    for condition, choice in zip(reversed(condlist), reversed(choices), strict=True):
        result = p.where(as_bool(as_node("select", condition)), choice, result)
    return wrap(result)


def piecewise(
    x: array,
    condlist: Sequence[array],
    funclist: Sequence[Callable[..., Any] | float],
    *args: Any,
    stream: Any = None,
    **kw: Any,
) -> array:
    """A function that is another one under each condition; where several hold, the last of them decides.

    Each function is applied to all of ``x``.

    Args:
        condlist: arrays of booleans that broadcast to ``x``.
        funclist: functions or numbers, one for each condition; one more is for the rest, which is else 0.
        args, kw: what the functions take besides ``x``.

    Raises:
        ValueError: for another number of functions.

    >>> import arrax.core as mx
    >>> x = mx.array([-2.0, 3.0])
    >>> mx.piecewise(x, [x < 0], [lambda x: -x, mx.square])
    array([2, 9], dtype=float32)
    """
    check_stream("piecewise", stream)
    node = array_node("piecewise", x)
    if len(funclist) not in (len(condlist), len(condlist) + 1):
        raise ValueError(
            f"[piecewise] expected {len(condlist)} or {len(condlist) + 1} functions, got {len(funclist)}: pass as many"
        )

    def value(choice: Any) -> Node:
        found = choice(x, *args, **kw) if callable(choice) else choice
        return typed_node("piecewise", found, node.dtype)

    result = v.broadcast(constant(0, node.dtype), node.shape)
    if len(funclist) > len(condlist):
        result = v.broadcast(value(funclist[-1]), node.shape)
    for condition, choice in zip(condlist, funclist, strict=False):
        result = p.where(as_bool(as_node("piecewise", condition)), value(choice), result)
    return wrap(result)


def _below(n: int, k: int, m: int) -> int:
    """How many positions are on and below the k-th diagonal of an n by m matrix."""
    rows, first = max(n - max(-k, 0), 0), max(k, 0) + 1  # each of these rows has one more than the one before
    growing = min(rows, max(m - first, 0))
    return growing * first + growing * (growing - 1) // 2 + (rows - growing) * m


def _triangle(op: str, n: Any, k: Any, m: Any, lower: bool) -> tuple[array, array]:
    n, k = as_int(op, n, "n"), as_int(op, k, "k")
    m = n if m is None else as_int(op, m, "m")
    if n < 0 or m < 0:
        raise ValueError(f"[{op}] expected sizes of at least 0, got {n} and {m}: pass others")
    total = _below(n, k, m) if lower else n * m - _below(n, k - 1, m)
    if total > INT_MAX:
        raise ValueError(f"[{op}] expected less than 2**31 positions, got {total}: pass smaller sizes")
    # the rows that have some, and of each where they begin and how many they are
    rows = np.arange(max(-k, 0), n) if lower else np.arange(min(n, max(m - k, 0)))
    rows = rows if m else rows[:0]
    begins = np.zeros_like(rows) if lower else np.maximum(rows + k, 0)
    counts = (np.minimum(rows + k + 1, m) if lower else m) - begins
    columns = np.repeat(begins - np.cumsum(counts) + counts, counts) + np.arange(total)
    found = np.repeat(rows, counts), columns
    return wrap(from_numpy_array(found[0].astype(np.int32))), wrap(from_numpy_array(found[1].astype(np.int32)))


def tril_indices(n: int, k: int = 0, m: int | None = None, *, stream: Any = None) -> tuple[array, array]:
    """The positions, as int32, on and below the ``k``-th diagonal of an ``n`` by ``m`` matrix, row by row.

    >>> import arrax.core as mx
    >>> mx.tril_indices(2)
    (array([0, 1, 1], dtype=int32), array([0, 0, 1], dtype=int32))
    """
    check_stream("tril_indices", stream)
    return _triangle("tril_indices", n, k, m, True)


def triu_indices(n: int, k: int = 0, m: int | None = None, *, stream: Any = None) -> tuple[array, array]:
    """The positions, as int32, on and above the ``k``-th diagonal of an ``n`` by ``m`` matrix, row by row."""
    check_stream("triu_indices", stream)
    return _triangle("triu_indices", n, k, m, False)
