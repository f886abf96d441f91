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
from arrax.prims.gather import as_strided, strided_update
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

    All rows of the input lie on one line, each followed by as many zeros as windows need, which so many serve: as the
    padding behind a row and before the next one. A window is a place on the line, ``parts * row + part``, where
    ``part`` is the matrix that has it.

    Attributes:
        taps: sizes of the window's axes that are summed over.
        batch: sizes of the axes that rows do not run through: none if all strides but the last are 1.
        parts: how many matrices are interleaved.
        count, length: their rows, and the elements of those.
        places: how far apart the windows' places are along the axes of the result.
    """

    def __init__(self, x: Node, kernel: Shape, at: Windows) -> None:
        n, *spatial, channels = x.shape
        self.at, self.length = at, row_length(channels, kernel, at)
        last = [(o - 1) * s for o, s in zip(at.out, at.stride, strict=True)]
        reach = [a + d * (k - 1) + 1 for a, d, k in zip(last, at.dilation, kernel, strict=True)]
        sides = [max(i + m, r - i, a + 1) for i, m, r, a in zip(at.low, spatial, reach, last, strict=True)]
        side_by_side = -(-self.length // channels)
        self.parts = -(-side_by_side // at.stride[-1])
        columns = at.out[-1] <= self.parts  # a matrix for each of them
        if columns:
            self.parts = at.out[-1]
            sides[-1] = max(sides[-1], side_by_side)
        else:
            sides[-1] += -sides[-1] % at.stride[-1]
        steps = [math.prod(sides[i:]) * channels for i in range(len(sides) + 1)]  # along batch and spatial axes
        moves = [a * b for a, b in zip(steps, (1, *at.stride), strict=True)]
        leading = (n, *at.out[:-1])
        merged = all(s == 1 for s in at.stride[:-1])
        row = moves[-2] if columns else self.parts * moves[-1]
        run = len(leading) if merged else int(columns)  # leading axes that rows run through
        self.batch: Shape = leading[: len(leading) - run]
        within = [move * self.parts // row for move in moves[len(self.batch) : -1]] + [1]
        ends = sum((m - 1) * p for m, p in zip((*leading[len(self.batch) :], at.out[-1]), within, strict=True))
        self.count = ends // self.parts + 1
        whole = self.count * self.parts
        self.places = (*(math.prod(self.batch[i + 1 :]) * whole for i in range(len(self.batch))), *within)

        depth = channels // at.groups
        taps = [(k, d * s) for k, d, s in zip(kernel, at.dilation, steps[1:], strict=True)]
        if self.length > depth:
            taps.pop()
        self.taps = tuple(k for k, _ in taps)
        axes = [*taps, (at.groups, depth), *zip(self.batch, moves, strict=False)]
        axes += [(self.parts, moves[-1]), (self.count, row), (self.length, 1)]
        self._shape, self._strides = zip(*axes, strict=True)
        end = 1 + sum((m - 1) * s for m, s in axes)
        start = sum(i * s for i, s in zip(at.low, steps[1:], strict=True))
        self._line = on_line(x, (*steps, 1), start, max(end, n * steps[0]))

    def matrices(self) -> Node:
        """(taps..., groups, batch..., parts, count, length)"""
        return as_strided(self._line, self._shape, self._strides, 0)

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

    def to_result(self, product: Node, shape: Shape) -> Node:
        """(groups, batch..., parts, count, filters / groups) as (batch, out..., filters)."""
        filters, n = shape[-1], product.ndim
        line = transpose(product, (*range(1, n - 3), n - 2, n - 3, 0, n - 1))
        return as_strided(reshape(line, (product.size // filters, filters)), shape[:-1], self.places, 0)

    def of_result(self, g: Node) -> Node:
        """(batch, out..., filters) as (groups, batch..., parts, count, filters / groups), 0 where rows hold nothing."""
        filters = g.shape[-1]
        each, whole = filters // self.at.groups, self.count * self.parts * filters
        line = on_line(g, (*(p * filters for p in self.places), 1), 0, math.prod(self.batch) * whole)
        return as_strided(
            line,
            (self.at.groups, *self.batch, self.parts, self.count, each),
            (each, *(math.prod(self.batch[i + 1 :]) * whole for i in range(len(self.batch))),
             filters, self.parts * filters, 1),
            0,
        )  # fmt: skip


def on_line(x: Node, strides: Sequence[int], start: int, size: int) -> Node:
    """An array's elements at the given distances on a line of zeros."""
    if size == x.size:
        return reshape(x, (size,))
    return strided_update(broadcast(constant(0, x.dtype), (size,)), x, tuple(strides), start)


def row_length(channels: int, kernel: Shape, at: Windows) -> int:
    """Elements of a window that lie side by side."""
    side_by_side = at.groups == 1 and (at.dilation[-1] == 1 or kernel[-1] == 1)
    return kernel[-1] * channels if side_by_side else channels // at.groups
