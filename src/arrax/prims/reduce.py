"""Reductions. The reduced axes stay with size 1; removing them is a reshape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from arrax.graph.dtypes import Dtype, accumulated, bool_, converted, uint32
from arrax.graph.node import Node, Shape
from arrax.graph.primitive import NONDIFF, Primitive, register
from arrax.prims.leaf import constant
from arrax.prims.pointwise import cast, div, equal, mul
from arrax.prims.scan import cumprod
from arrax.prims.view import broadcast, reshape, transpose

Axes = tuple[int, ...]


def reduced_shape(shape: Shape, axes: Axes) -> Shape:
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def countable(op: str, n: int) -> None:
    """Raises an error for an axis with more elements than uint32 counts."""
    if n > 2**32:
        raise ValueError(f"[{op}] expected at most 2**32 elements along the axis, got {n}: choose an axis or split it")


def _declare(
    name: str,
    reference: Callable[..., Any],
    vjp: Any,
    combine: str,
    *,
    result: Dtype | None = None,
    in_runs: bool = False,
) -> Primitive:
    indexed = result is uint32

    def infer(inputs: tuple[Node, ...], params: tuple) -> tuple[Shape, Dtype]:
        if indexed:
            countable(name, inputs[0].shape[params[0][0]])
        return reduced_shape(inputs[0].shape, params[0]), result or inputs[0].dtype

    def evaluate(params: tuple, shape: Shape, dtype: Dtype, a: np.ndarray) -> np.ndarray:
        if not indexed and all(a.shape[i] == 1 for i in params[0]):
            return a
        a = accumulated(combine, a)
        with np.errstate(all="ignore"):
            return converted(np.asarray(reference(a, params[0])), dtype).reshape(shape)

    return register(
        Primitive(
            name,
            "reduce",
            infer,
            evaluate,
            vjp,
            lambda n, inputs, batched: reduce(n.prim, inputs[0], tuple(i + 1 for i in n.params[0])),
            lower=combine,
            samples=[(("f4:3,5",), ((1,),)), (("f4:3,5",), ((0,),)), (("f4:2,3,4",), ((1,),)), (("f4:7",), ((0,),))]
            + ([] if indexed else [(("f4:2,3,4",), ((0, 2),)), (("f4:2,3",), ((0, 1),))]),
            in_runs=in_runs,
        )
    )


def _sum(a: np.ndarray, axes: Axes) -> np.ndarray:
    return np.asarray(np.sum(a, axes, dtype=a.dtype))


def _prod(a: np.ndarray, axes: Axes) -> np.ndarray:
    return np.asarray(np.prod(a, axes, dtype=a.dtype))


def _sum_vjp(n: Node, g: Node) -> tuple[Node]:
    return (broadcast(g, n.inputs[0].shape),)


def _prod_vjp(n: Node, g: Node) -> tuple[Node]:
    """The product of all the others, from exclusive running products from both ends: exact where elements are 0."""
    a, axes = n.inputs[0], n.params[0]
    kept = tuple(i for i in range(a.ndim) if i not in axes)
    order = (*kept, *axes)
    line = transpose(a, order)
    inner = 1
    for i in axes:
        inner *= a.shape[i]
    flat = reshape(line, (*(a.shape[i] for i in kept), inner))
    last = flat.ndim - 1
    others = mul(cumprod(flat, last, False, False), cumprod(flat, last, True, False))
    back = [0] * a.ndim
    for i, axis in enumerate(order):
        back[axis] = i
    return (mul(g, transpose(reshape(others, line.shape), tuple(back))),)


def _extremum_vjp(n: Node, g: Node) -> tuple[Node]:
    """Shared evenly by all elements that attain the extremum."""
    mask = cast(equal(n.inputs[0], n), g.dtype)
    return (mul(mask, div(g, reduce(sum_p, mask, n.params[0]))),)


sum_p = _declare("sum", _sum, _sum_vjp, "add")
# The sum in a matrix product, which has to keep up with memory: double precision for every element would not.
contraction_p = _declare("contraction", _sum, _sum_vjp, "add", in_runs=True)
prod_p = _declare("prod", _prod, _prod_vjp, "mul")
max_p = _declare("max", np.max, _extremum_vjp, "max")
min_p = _declare("min", np.min, _extremum_vjp, "min")
argmax_p = _declare("argmax", lambda a, axes: np.argmax(a, axes[0]), NONDIFF, "argmax", result=uint32)
argmin_p = _declare("argmin", lambda a, axes: np.argmin(a, axes[0]), NONDIFF, "argmin", result=uint32)


def initial(combine: str, dtype: Dtype) -> Any:
    """The neutral element of a reduction."""
    if combine in ("add", "rounded_add"):
        return 0
    if combine == "mul":
        return 1
    low = combine in ("max", "argmax")
    if dtype is bool_:
        return not low
    if dtype.is_inexact:
        return float("-inf") if low else float("inf")
    limits = np.iinfo(dtype.name)
    return int(limits.min if low else limits.max)


def reduce(prim: Primitive, a: Node, axes: Axes) -> Node:
    """Records a reduction over the given axes (sorted, not negative), which stay with size 1."""
    return Node(prim, (a,), (axes,), *prim.infer((a,), (axes,)))


def sum_to(a: Node, shape: Shape) -> Node:
    """``a`` summed over the axes along which an array of the given shape was broadcast to it."""
    if a.shape == shape:
        return a
    skip = a.ndim - len(shape)
    axes = tuple(i for i, n in enumerate(a.shape) if i < skip or (shape[i - skip] == 1 and n != 1))
    return reshape(reduce(sum_p, a, axes) if axes else a, shape)


def zeros_like(a: Node) -> Node:
    return broadcast(constant(0, a.dtype), a.shape)
