"""Work on whole arrays that a library does, and the barrier."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable

import numpy as np

from arrax.graph.dtypes import Dtype, bfloat16, complex128, int32, uint16, uint32
from arrax.graph.node import Node, Shape
from arrax.graph.primitive import NONDIFF, Primitive, bind, register
from arrax.prims.gather import scatter_along, take_along
from arrax.prims.leaf import iota
from arrax.prims.pointwise import stop_gradient
from arrax.prims.reduce import countable


def _ordered(a: np.ndarray) -> np.ndarray:
    """bfloat16 as float32, for NumPy does not sort it where there are NaNs."""
    return a.astype(np.float32) if a.dtype == bfloat16.np else a


def _sort_reference(params: tuple, shape: Shape, dtype: Dtype, a: np.ndarray) -> np.ndarray:
    return np.sort(_ordered(a), axis=params[0]).astype(a.dtype)


def _argsort_reference(params: tuple, shape: Shape, dtype: Dtype, a: np.ndarray) -> np.ndarray:
    return np.argsort(_ordered(a), axis=params[0], kind="stable").astype(np.uint32)


def _sort_rows(a: np.ndarray, out: np.ndarray) -> None:
    if a.dtype == bfloat16.np:
        out[...] = np.sort(_ordered(a), axis=-1)
        return
    out[...] = a
    out.sort(axis=-1)


def _argsort_rows(a: np.ndarray, out: np.ndarray) -> None:
    """Sorts (value, position) pairs as 64-bit integers: stable, and many times as fast as a stable sort of indices."""
    if a.dtype.itemsize > 4 or a.dtype.kind == "c":
        out[...] = np.argsort(a, axis=-1, kind="stable")
        return
    if a.dtype.kind in "iub":
        order = a.astype(np.int64)
        if a.dtype == np.uint32:
            order -= 1 << 31  # what is shifted up by 32 bits below has a sign
    else:
        wide = a.astype(np.float32) + np.float32(0)  # the two zeros are equal
        wide[np.isnan(wide)] = np.nan
        bits = wide.view(np.int32)
        order = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64)
    order <<= 32
    order |= np.arange(a.shape[-1], dtype=np.int64)
    order.sort(axis=-1)
    out[...] = order & 0xFFFFFFFF


def _in_parallel(
    work: Callable[[np.ndarray, np.ndarray], None], rows: np.ndarray, out: np.ndarray, workers: int
) -> None:
    """Does the work on all rows in several threads: NumPy sorts without Python's lock.

    After Ctrl-C threads may still be at work: the arrays keep the memory until these have ended.
    """
    failures: list[BaseException] = []

    def part(some: np.ndarray, place: np.ndarray) -> None:
        try:
            work(some, place)
        except BaseException as error:
            failures.append(error)

    first, *others = zip(np.array_split(rows, workers), np.array_split(out, workers), strict=True)
    helpers = [threading.Thread(target=part, args=other) for other in others]
    for thread in helpers:
        thread.start()
    work(*first)
    for thread in helpers:
        thread.join()
    if failures:
        raise failures[0]


_SORT, _ARGSORT = functools.partial(_in_parallel, _sort_rows), functools.partial(_in_parallel, _argsort_rows)


def _sort_vjp(n: Node, g: Node) -> tuple[Node]:
    axis = n.params[0]
    order = stop_gradient(argsort(n.inputs[0], axis))
    # the inverse permutation: where each element went
    back = scatter_along(iota(order.shape, axis, int32), order, iota(order.shape, axis, int32), axis, "set")
    return (take_along(g, back, axis),)


# Ascending; NaN comes last. params: (axis,)
sort_p = register(
    Primitive(
        "sort",
        "opaque",
        lambda inputs, params: (inputs[0].shape, inputs[0].dtype),
        _sort_reference,
        _sort_vjp,
        lambda n, inputs, batched: sort(inputs[0], n.params[0] + 1),
        lower=lambda params, ndim: _SORT if params[0] == ndim - 1 else None,
        samples=[(("f4:5",), (0,)), (("f4:2,5",), (1,)), (("f4:5,2",), (0,))],
    )
)


def _argsort_infer(inputs: tuple[Node, ...], params: tuple) -> tuple[Shape, Dtype]:
    countable("argsort", inputs[0].shape[params[0]])
    return inputs[0].shape, uint32


# The stable order. params: (axis,)
argsort_p = register(
    Primitive(
        "argsort",
        "opaque",
        _argsort_infer,
        _argsort_reference,
        NONDIFF,
        lambda n, inputs, batched: argsort(inputs[0], n.params[0] + 1),
        lower=lambda params, ndim: _ARGSORT if params[0] == ndim - 1 else None,
        samples=[(("f4:5",), (0,)), (("f4:2,5",), (1,)), (("f4:5,2",), (0,))],
    )
)

# The bytes of each row as elements of another type. params: (dtype,)
reinterpret_p = register(
    Primitive(
        "reinterpret",
        "opaque",
        lambda inputs, params: (
            (*inputs[0].shape[:-1], inputs[0].shape[-1] * inputs[0].dtype.size // params[0].size),
            params[0],
        ),
        lambda params, shape, dtype, a: np.ascontiguousarray(a).view(dtype.np),
        NONDIFF,
        lambda n, inputs, batched: bind(n.prim, (inputs[0],), n.params),
        samples=[(("f4:2,4",), (uint16,)), (("u4:3,4",), (complex128,))],
    )
)

# The first input's value, once all inputs exist; nothing is simplified across it.
barrier_p = register(
    Primitive(
        "barrier",
        "barrier",
        lambda inputs, params: (inputs[0].shape, inputs[0].dtype),
        lambda params, shape, dtype, a, *others: a,
        lambda n, g: (g, *(None for _ in n.inputs[1:])),
        samples=[(("f4:5", "f4:2"), ())],
    )
)


def sort(a: Node, axis: int) -> Node:
    return Node(sort_p, (a,), (axis,), a.shape, a.dtype)


def argsort(a: Node, axis: int) -> Node:
    return bind(argsort_p, (a,), (axis,))


def barrier(a: Node, *others: Node) -> Node:
    return Node(barrier_p, (a, *others), (), a.shape, a.dtype)
