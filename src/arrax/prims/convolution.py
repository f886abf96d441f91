"""Correlations with windows as matrix products, and their derivatives.

Each derivative of a correlation is a correlation, or the contraction of input and cotangent that is the weight's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from arrax.graph.dtypes import float32, float64
from arrax.graph.node import Node, Shape
from arrax.prims.call import Rules, custom
from arrax.prims.contract import matmul, swap_last
from arrax.prims.opaque import barrier
from arrax.prims.pointwise import add, cast, mul
from arrax.prims.reduce import contraction_p, reduce
from arrax.prims.view import broadcast, flip, move_axis, reshape, transpose
from arrax.prims.windows import Rows, Windows, patches, row_length, spread

SHORT = 32  # elements of a row below which whole windows are copied: products of narrow matrices are slower than that


def correlate(x: Node, w: Node, at: Windows, *, differentiable: bool = True) -> Node:
    """(batch, spatial..., channels) with (filters, kernel..., channels / groups): (batch, out..., filters).

    ``differentiable``: whether a transform may come across the result.
    """
    value = _in_single(_correlate, x, w, at)
    if not differentiable:
        return value

    def pull(inputs: list[Node], cotangents: list[Node], outputs: list[Node]) -> list[Node | None]:
        (x, w), (g,) = inputs, cotangents
        return [_input_gradient(g, w, at, x.shape), _weight_gradient(x, g, at, w.shape)]

    def push(inputs: list[Node], tangents: list[Node | None]) -> list[Node | None]:
        (x, w), (dx, dw) = inputs, tangents
        return [_sum(dx and correlate(dx, w, at), dw and correlate(x, dw, at))]

    def batch(inputs: list[Node], flags: list[bool]) -> tuple[list[Node], list[bool]]:
        return [_batched(inputs, flags, at)], [True]

    (result,) = custom(Rules(pull, push, batch), (x, w), (value,))
    return result


def without_cuts(x: Node, low: Sequence[int], high: Sequence[int], dilation: Shape) -> tuple[Node, Shape, Shape]:
    """The input with ``dilation - 1`` zeros between its elements, cut where widths are negative; the other widths."""
    x = spread(x, [min(i, 0) for i in low], [min(i, 0) for i in high], dilation)
    return x, tuple(max(i, 0) for i in low), tuple(max(i, 0) for i in high)


def _weight_gradient(x: Node, g: Node, at: Windows, shape: Shape) -> Node:
    """What met the weight's elements: linear in the input and in the result's cotangent."""
    value = _in_single(_contract, x, g, at, shape)

    def pull(inputs: list[Node], cotangents: list[Node], outputs: list[Node]) -> list[Node | None]:
        (x, g), (h,) = inputs, cotangents
        return [_input_gradient(g, h, at, x.shape), correlate(x, h, at)]

    def push(inputs: list[Node], tangents: list[Node | None]) -> list[Node | None]:
        (x, g), (dx, dg) = inputs, tangents
        return [_sum(dx and _weight_gradient(dx, g, at, shape), dg and _weight_gradient(x, dg, at, shape))]

    def batch(inputs: list[Node], flags: list[bool]) -> tuple[list[Node], list[bool]]:
        n = next(a.shape[0] for a, f in zip(inputs, flags, strict=True) if f)
        x, g = (_as_channels(a, n, batched=f) for a, f in zip(inputs, flags, strict=True))
        found = _weight_gradient(x, g, _with_groups(at, n), (n * shape[0], *shape[1:]))
        return [reshape(found, (n, *shape))], [True]

    (result,) = custom(Rules(pull, push, batch), (x, g), (value,))
    return result


def _input_gradient(g: Node, w: Node, at: Windows, shape: Shape) -> Node:
    """The correlation of the result's cotangent, spread out, with the weight turned round."""
    filters, *kernel, depth = w.shape
    back = reshape(w, (at.groups, filters // at.groups, *kernel, depth))
    back = transpose(back, (0, back.ndim - 1, *range(2, back.ndim - 1), 1))
    back = reshape(back, (at.groups * depth, *kernel, filters // at.groups))
    back = flip(back, tuple(range(1, len(kernel) + 1)))
    before = [d * (k - 1) - i for d, k, i in zip(at.dilation, kernel, at.low, strict=True)]
    behind = [s + i - (n - 1) * m - 1 for s, i, n, m in zip(shape[1:-1], at.low, at.out, at.stride, strict=True)]
    g, low, high = without_cuts(g, before, behind, at.stride)
    return correlate(g, back, Windows(shape[1:-1], (1,) * len(kernel), at.dilation, low, high, at.groups))


def _batched(inputs: list[Node], flags: list[bool], at: Windows) -> Node:
    """A batch of inputs joins the batch; a batch of weights, with what belongs to each, is groups."""
    x, w = inputs
    if not flags[1]:
        n = x.shape[0]
        y = correlate(reshape(x, (n * x.shape[1], *x.shape[2:])), w, at)
        return reshape(y, (n, x.shape[1], *y.shape[1:]))
    n, filters = w.shape[:2]
    x = _as_channels(x, n, batched=flags[0])
    y = correlate(x, reshape(w, (n * filters, *w.shape[2:])), _with_groups(at, n))
    return move_axis(reshape(y, (*y.shape[:-1], n, filters)), y.ndim - 1, 0)


def _as_channels(a: Node, n: int, *, batched: bool) -> Node:
    """A batch of arrays side by side along the last axis, or one array n times."""
    if batched:
        a = move_axis(a, 0, a.ndim - 2)
    else:
        a = broadcast(reshape(a, (*a.shape[:-1], 1, a.shape[-1])), (*a.shape[:-1], n, a.shape[-1]))
    return reshape(a, (*a.shape[:-2], n * a.shape[-1]))


def _with_groups(at: Windows, n: int) -> Windows:
    return replace(at, groups=at.groups * n)


def _sum(a: Node | None, b: Node | None) -> Node | None:
    return add(a, b) if a is not None and b is not None else a or b


def _in_single(f: Callable[..., Node], a: Node, b: Node, *more: object) -> Node:
    """Half precision is computed in float32 and rounded once."""
    if a.dtype in (float32, float64):
        return f(a, b, *more)
    return cast(f(cast(a, float32), cast(b, float32), *more), a.dtype)


# --- products ---------------------------------------------------------------------------------------------------------
def _correlate(x: Node, w: Node, at: Windows) -> Node:
    filters, *kernel, depth = w.shape
    result = (x.shape[0], *at.out, filters)
    groups, window = at.groups, math.prod(kernel) * depth
    if _is_pointwise(w.shape, at):
        y = matmul(reshape(x, (x.size // depth, depth)), transpose(reshape(w, (filters, depth)), (1, 0)))
        return reshape(y, result)
    if _is_channelwise(w.shape, at):
        weight = barrier(move_axis(reshape(w, w.shape[:-1]), 0, len(kernel)))  # channels side by side, as in the input
        y = mul(_channelwise(x, w.shape, at), weight)
        for _ in kernel:  # each axis of the window by itself: short sums are written out, and nothing is divided
            y = reshape(reduce(contraction_p, y, (y.ndim - 2,)), (*y.shape[:-2], filters))
        return y
    if row_length(x.shape[-1], tuple(kernel), at) < SHORT:
        weight = swap_last(reshape(w, (groups, filters // groups, window)))
        y = matmul(_whole(x, w.shape, at), weight)
        return reshape(y if groups == 1 else transpose(y, (1, 0, 2)), result)
    rows = Rows(x, tuple(kernel), at)
    y = matmul(rows.matrices(), rows.of_weight(w))
    if rows.taps:
        y = reduce(contraction_p, y, tuple(range(len(rows.taps))))
    return rows.to_result(reshape(y, y.shape[len(rows.taps) :]), result)


def _contract(x: Node, g: Node, at: Windows, shape: Shape) -> Node:
    filters, *kernel, depth = shape
    count, groups = g.size // filters, at.groups
    if _is_pointwise(shape, at):
        w = matmul(swap_last(reshape(g, (count, filters))), reshape(x, (count, depth)))
        return reshape(w, shape)
    if _is_channelwise(shape, at):
        each = reshape(g, (*g.shape[:-1], *(1 for _ in kernel), filters))
        w = reduce(contraction_p, mul(_channelwise(x, shape, at), each), tuple(range(g.ndim - 1)))
        return reshape(move_axis(reshape(w, (*kernel, filters)), len(kernel), 0), shape)
    if row_length(x.shape[-1], tuple(kernel), at) < SHORT:
        each = reshape(g, (count, groups, filters // groups))
        w = matmul(swap_last(_whole(x, shape, at)), transpose(each, (1, 0, 2)))
        return reshape(swap_last(w), shape)
    rows = Rows(x, tuple(kernel), at)
    taps = len(rows.taps)
    w = matmul(swap_last(rows.matrices()), rows.of_result(g))
    return rows.to_weight(reduce(contraction_p, w, tuple(range(taps + 1, w.ndim - 2))), shape)


def _is_pointwise(shape: Shape, at: Windows) -> bool:
    return max(*shape[1:-1], *at.stride, at.groups) == 1 and not any((*at.low, *at.high))


def _is_channelwise(shape: Shape, at: Windows) -> bool:
    """One filter for each channel: no matrix product."""
    return shape[-1] == 1 and shape[0] == at.groups


def _whole(x: Node, shape: Shape, at: Windows) -> Node:
    """Whole windows: (groups, windows, elements of a window)."""
    return reshape(patches(x, shape[1:-1], at), (at.groups, x.shape[0] * math.prod(at.out), math.prod(shape[1:])))


def _channelwise(x: Node, shape: Shape, at: Windows) -> Node:
    """Whole windows of single channels: (batch, out..., kernel..., channels)."""
    whole = patches(x, shape[1:-1], at)
    return move_axis(reshape(whole, whole.shape[:-1]), 0, whole.ndim - 2)
