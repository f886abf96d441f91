"""Running reductions along one axis, from either end, with or without the element itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from arrax.graph.dtypes import Dtype, accumulated, complex128, converted, float64, int32
from arrax.graph.node import Node, Shape
from arrax.graph.primitive import Primitive, register
from arrax.prims.complex import logcumsumexp
from arrax.prims.gather import scatter_along
from arrax.prims.leaf import constant, iota
from arrax.prims.pointwise import (
    bitwise_and,
    cast,
    div,
    equal,
    exp,
    maximum,
    minimum,
    mul,
    stop_gradient,
    sub,
    where,
)
from arrax.prims.view import broadcast, slice_


def _declare(name: str, accumulate: Callable[..., Any], neutral: float, vjp: Any, combine: str) -> Primitive:
    def evaluate(params: tuple, shape: Shape, dtype: Dtype, a: np.ndarray) -> np.ndarray:
        axis, reverse, inclusive = params
        if a.shape[axis] == 0:
            return a
        line = np.moveaxis(accumulated(combine, a), axis, 0)
        line = line[::-1] if reverse else line
        if not inclusive:
            first = np.full_like(line[:1], _limit(neutral, a.dtype))
            line = np.concatenate([first, line[:-1]])
        with np.errstate(all="ignore"):
            run = accumulate(line)
        run = run[::-1] if reverse else run
        return converted(np.moveaxis(run, 0, axis), dtype)

    return register(
        Primitive(
            name,
            "scan",
            lambda inputs, params: (inputs[0].shape, inputs[0].dtype),
            evaluate,
            vjp,
            lambda n, inputs, batched: scan(n.prim, inputs[0], n.params[0] + 1, *n.params[1:]),
            lower=combine,
            samples=[
                (("f4:5",), (0, False, True)),
                (("f4:2,5",), (1, True, True)),
                (("f4:5,2",), (0, False, False)),
                (("f4:2,5",), (1, True, False)),
            ],
        )
    )


def _limit(neutral: float, dtype: np.dtype) -> Any:
    if np.isfinite(neutral) or dtype.kind not in "iub":
        return neutral
    if dtype.kind == "b":
        return neutral > 0
    return np.iinfo(dtype).max if neutral > 0 else np.iinfo(dtype).min


def scan(prim: Primitive, a: Node, axis: int, reverse: bool, inclusive: bool) -> Node:
    return Node(prim, (a,), (axis, reverse, inclusive), a.shape, a.dtype)


def _sum_vjp(n: Node, g: Node) -> tuple[Node]:
    axis, reverse, inclusive = n.params
    return (scan(cumsum_p, g, axis, not reverse, inclusive),)


def _prod_vjp(n: Node, g: Node) -> tuple[Node]:
    """Sums of the products behind each element, divided by it; at the first zero the products are taken without it.

    Behind the first zero all products are zero, and so are their derivatives.
    """
    a, (axis, reverse, inclusive) = n.inputs[0], n.params
    one, none = constant(1, a.dtype), constant(0, a.dtype)

    def behind(products: Node) -> Node:
        return scan(cumsum_p, mul(g, products), axis, not reverse, inclusive)

    is_zero = equal(a, none)
    zeros = scan(cumsum_p, cast(is_zero, int32), axis, reverse, True)
    first = bitwise_and(is_zero, equal(zeros, constant(1, int32)))
    without = scan(cumprod_p, where(first, one, a), axis, reverse, inclusive)
    before = where(equal(zeros, constant(0, int32)), div(behind(n), where(is_zero, one, a)), none)
    return (where(first, behind(without), before),)


def _extremum_vjp(n: Node, g: Node) -> tuple[Node]:
    """The cotangent goes to the position where the running extremum was last attained."""
    a, (axis, reverse, inclusive) = n.inputs[0], n.params
    run = n if inclusive else scan(n.prim, a, axis, reverse, True)
    here = iota(a.shape, axis, int32)
    reached = where(equal(a, run), here, constant(a.shape[axis] if reverse else -1, int32))
    at = scan(cummin_p if reverse else cummax_p, reached, axis, reverse, inclusive)
    # Before the first element an exclusive scan holds the neutral element: no position, so nothing is added. The
    # cotangent is masked, for writing at positions outside and its transpose, reading there, do not match.
    at = stop_gradient(at)
    inside = maximum(minimum(at, constant(a.shape[axis] - 1, int32)), constant(0, int32))
    g = where(equal(at, inside), g, constant(0, g.dtype))
    return (scatter_along(broadcast(constant(0, g.dtype), a.shape), inside, g, axis, "add"),)


def _logsumexp_vjp(n: Node, g: Node) -> tuple[Node]:
    """In double precision, relative to the last sum, which is the largest: single precision would overflow."""
    axis, reverse, inclusive = n.params
    double = complex128 if n.dtype.is_complex else float64
    x, sums, wide = (cast(a, double) for a in (n.inputs[0], n, g))
    zero, nothing = constant(0, double), constant(float("-inf"), double)
    length = n.shape[axis]
    if not length:
        return (g,)
    end = [0] * n.ndim
    end[axis] = 0 if reverse else length - 1
    top = stop_gradient(slice_(sums, (*n.shape[:axis], 1, *n.shape[axis + 1 :]), tuple(end)))
    # between the largest and the least, so that neither of the exponentials overflows
    middle = where(equal(top, nothing), zero, sub(top, constant(650, double)))
    weight = where(equal(sums, nothing), zero, exp(sub(middle, sums)))
    result = mul(exp(sub(x, middle)), scan(cumsum_p, mul(wide, weight), axis, not reverse, inclusive))
    return (cast(result, n.dtype),)


def _logaddexp(a: np.ndarray) -> np.ndarray:
    return logcumsumexp(a) if a.dtype.kind == "c" else np.logaddexp.accumulate(a, axis=0)


INF = float("inf")
cumsum_p = _declare("cumsum", lambda a: np.cumsum(a, 0, dtype=a.dtype), 0, _sum_vjp, "add")
# Sums that are rounded at each step, where cumsum's are accumulated in double precision: tokens are drawn by them.
rounded_cumsum_p = _declare("rounded_cumsum", lambda a: np.cumsum(a, 0, dtype=a.dtype), 0, _sum_vjp, "rounded_add")
cumprod_p = _declare("cumprod", lambda a: np.cumprod(a, 0, dtype=a.dtype), 1, _prod_vjp, "mul")
cummax_p = _declare("cummax", lambda a: np.maximum.accumulate(a, axis=0), -INF, _extremum_vjp, "max")
cummin_p = _declare("cummin", lambda a: np.minimum.accumulate(a, axis=0), INF, _extremum_vjp, "min")
logcumsumexp_p = _declare("logcumsumexp", _logaddexp, -INF, _logsumexp_vjp, "logaddexp")


def cumsum(a: Node, axis: int, reverse: bool, inclusive: bool) -> Node:
    return scan(cumsum_p, a, axis, reverse, inclusive)


def cumprod(a: Node, axis: int, reverse: bool, inclusive: bool) -> Node:
    return scan(cumprod_p, a, axis, reverse, inclusive)
