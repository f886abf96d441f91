"""The windows of a correlation as rows of matrices, without a copy of them.

What a window covers along the last spatial axis of an input (batch, spatial..., channels) lies side by side: that is a
row. BLAS takes rows of one matrix that do not overlap; with rows of L elements that begin P elements apart
these are every ceil(L / P)-th one. That makes a few interleaved matrices, which are a batch of products; the other axes
of the window (the *taps*) are a sum of products. All of it is addresses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from arrax.graph.node import Node, Shape
from arrax.prims.gather import as_strided
from arrax.prims.leaf import constant
from arrax.prims.view import broadcast, reshape, slice_, slice_update, transpose


@dataclass(frozen=True, slots=True)
class Windows:
    """Where the windows are: for each spatial axis ``out`` of them, ``stride`` apart, elements ``dilation`` apart.

    They begin ``low`` before the input, where it counts as 0, as it does for ``high`` elements behind it.
    """

    out: Shape
    stride: Shape
    dilation: Shape
    low: Shape
    high: Shape
    groups: int


def spread(x: Node, low: Sequence[int], high: Sequence[int], dilation: Shape) -> Node:
    """The input with ``dilation - 1`` zeros between its elements and zeros around; negative widths cut off."""
    if not any(low) and not any(high) and all(d == 1 for d in dilation):
        return x
    n, *spatial, channels = x.shape
    wide = [(s - 1) * d + 1 if s else 0 for s, d in zip(spatial, dilation, strict=True)]
    before, behind = [max(i, 0) for i in low], [max(i, 0) for i in high]
    shape = (n, *(b + w + e for b, w, e in zip(before, wide, behind, strict=True)), channels)
    if shape != x.shape:
        zeros = broadcast(constant(0, x.dtype), shape)
        x = slice_update(zeros, x, (0, *before, 0), (1, *dilation, 1))
    cut = [max(-i, 0) for i in low]
    kept = [max(s - c - max(-i, 0), 0) for s, c, i in zip(shape[1:-1], cut, high, strict=True)]
    if any(cut) or tuple(kept) != shape[1:-1]:
        x = slice_(x, (n, *kept, channels), (0, *cut, 0))
    return x


def patches(x: Node, kernel: Shape, at: Windows) -> Node:
    """All windows whole: (groups, batch, out..., kernel..., channels / groups)."""
    x = spread(x, at.low, at.high, (1,) * len(kernel))
    n, *spatial, channels = x.shape
    steps = [math.prod(spatial[i + 1 :]) * channels for i in range(len(spatial))]
    depth = channels // at.groups
    shape = (at.groups, n, *at.out, *kernel, depth)
    moves = [a * b for a, b in zip(steps, at.stride, strict=True)]
    inside = [a * b for a, b in zip(steps, at.dilation, strict=True)]
    strides = (depth, math.prod(spatial) * channels, *moves, *inside, 1)
    return as_strided(reshape(x, (x.size,)), shape, strides, 0)


class Rows:
    """The matrices for an input and a kernel.

    Attributes:
        taps: sizes of the window's axes that are summed over.
        batch: sizes of the axes that rows do not run through: none if all strides but the last are 1, else batch and
            spatial axes but the last.
        parts: how many matrices are interleaved.
        count, length: their rows, and the elements of those.
    """

    def __init__(self, x: Node, kernel: Shape, at: Windows) -> None:
        channels = x.shape[-1]
        self.at = at
        whole = row_length(channels, kernel, at) > channels // at.groups
        self.length = row_length(channels, kernel, at)
        self.parts = min(-(-self.length // (at.stride[-1] * channels)), at.out[-1])
        self.columns = -(-at.out[-1] // self.parts)
        turn = self.parts * at.stride[-1]
        reach = (self.parts * self.columns - 1) * at.stride[-1] + at.dilation[-1] * (kernel[-1] - 1) + 1
        width = -(-max(x.shape[-2] + at.low[-1] + at.high[-1], reach) // turn) * turn
        high = (*at.high[:-1], width - x.shape[-2] - at.low[-1])
        self.x = x = spread(x, at.low, high, (1,) * len(kernel))
        self.outer = x.shape[:-2]  # batch and spatial axes but the last
        self.per = width // turn  # rows along the last axis
        steps = [math.prod(x.shape[i + 1 :]) for i in range(len(self.outer) + 1)]
        axes = list(zip(kernel, (d * s for d, s in zip(at.dilation, steps[1:], strict=True)), strict=True))
        if whole:
            axes.pop()
        self.taps = tuple(k for k, _ in axes)
        self.merged = all(s == 1 for s in at.stride[:-1])
        leading = (x.shape[0], *at.out[:-1])
        between: list[tuple[int, int]] = []
        if self.merged:
            self.batch: Shape = ()
            ends = [(n - 1) * math.prod(self.outer[i + 1 :]) * self.per for i, n in enumerate(leading)]
            self.count = sum(ends) + self.columns
        else:
            self.batch = leading
            between = [(n, a * b) for n, a, b in zip(leading, steps, (1, *at.stride[:-1]), strict=False)]
            self.count = self.columns
        depth = channels // at.groups
        rows = [(self.parts, at.stride[-1] * channels), (self.count, turn * channels), (self.length, 1)]
        self._axes = [*axes, (at.groups, depth), *between, *rows]

    def matrices(self) -> Node:
        """(taps..., groups, batch..., parts, count, length)"""
        shape, strides = zip(*self._axes, strict=True)
        return as_strided(reshape(self.x, (self.x.size,)), shape, strides, 0)

    def of_weight(self, w: Node) -> Node:
        """(filters, kernel..., depth) as (taps..., groups, 1..., 1, length, filters / groups)."""
        filters, *kernel, depth = w.shape
        groups, taps = self.at.groups, len(self.taps)
        w = reshape(w, (groups, filters // groups, *kernel, depth))
        last = range(2 + taps, w.ndim)
        w = transpose(w, (*range(2, 2 + taps), 0, *last, 1))
        return reshape(w, (*self.taps, groups, *(1 for _ in self.batch), 1, self.length, filters // groups))

    def to_weight(self, product: Node, shape: Shape) -> Node:
        """The other way round."""
        filters, *kernel, depth = shape
        groups, taps = self.at.groups, len(self.taps)
        w = reshape(product, (*self.taps, groups, *kernel[taps:], depth, filters // groups))
        return reshape(transpose(w, (taps, w.ndim - 1, *range(taps), *range(taps + 1, w.ndim - 1))), shape)

    def to_result(self, product: Node, filters: int) -> Node:
        """(groups, batch..., parts, count, filters / groups) as (batch, out..., filters)."""
        groups, each = self.at.groups, filters // self.at.groups
        leading = (self.x.shape[0], *self.at.out[:-1])
        if self.merged:
            jumps = [math.prod(self.outer[i + 1 :]) * self.per * each for i in range(len(self.outer))]
            part = self.count * each
            y = as_strided(
                reshape(product, (product.size,)),
                (*leading, self.columns, self.parts, groups, each),
                (*jumps, each, part, self.parts * part, 1),
                0,
            )
        else:
            n = product.ndim
            y = transpose(product, (*range(1, n - 3), n - 2, n - 3, 0, n - 1))
        y = reshape(y, (*leading, self.columns * self.parts, filters))
        return slice_(y, (*leading, self.at.out[-1], filters), (0,) * y.ndim)

    def of_result(self, g: Node) -> Node:
        """(batch, out..., filters) as (groups, batch..., parts, count, filters / groups), 0 where rows hold nothing."""
        filters = g.shape[-1]
        each, step = filters // self.at.groups, self.parts * filters
        none = (0,) * len(self.at.out)
        if self.merged:
            whole = (*self.outer[1:], self.per * self.parts)
        else:
            whole = (*self.at.out[:-1], self.columns * self.parts)
        g = spread(g, none, tuple(a - b for a, b in zip(whole, self.at.out, strict=True)), (1,) * len(none))
        jumps = [math.prod(g.shape[i + 1 :]) for i in range(len(self.batch))]
        return as_strided(
            reshape(g, (g.size,)),
            (self.at.groups, *self.batch, self.parts, self.count, each),
            (each, *jumps, filters, step, 1),
            0,
        )


def row_length(channels: int, kernel: Shape, at: Windows) -> int:
    """Elements of a window that lie side by side."""
    side_by_side = at.groups == 1 and (at.dilation[-1] == 1 or kernel[-1] == 1)
    return kernel[-1] * channels if side_by_side else channels // at.groups
