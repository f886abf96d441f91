"""Pooling: the largest value or the mean of every window of an array of the shape ``(N, ..., C)``."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import arrax.core as mx
from arrax.nn.arguments import integers
from arrax.nn.layers.base import Module


def _windows(x: mx.array, sizes: tuple[int, ...], strides: tuple[int, ...]) -> mx.array:
    """Overlapping windows as a view of the shape ``(N, *counts, *sizes, C)``."""
    batch, *spatial, channels = x.shape
    counts = [(n - size) // stride + 1 for n, size, stride in zip(spatial, sizes, strides, strict=True)]
    # The steps in memory of a contiguous array: a window moves by `stride` positions, its inside by one.
    steps = [math.prod(x.shape[axis + 1 :]) for axis in range(x.ndim)]
    moves = [step * stride for step, stride in zip(steps[1:-1], strides, strict=True)]
    shape = (batch, *counts, *sizes, channels)
    return mx.as_strided(mx.contiguous(x), shape, (steps[0], *moves, *steps[1:-1], steps[-1]))


def _tiles(x: mx.array, sizes: tuple[int, ...]) -> mx.array:
    """Windows that touch but do not overlap, by a reshape, of the shape ``(N, *counts, *sizes, C)``."""
    batch, *spatial, channels = x.shape
    counts = [n // size for n, size in zip(spatial, sizes, strict=True)]
    for axis, (count, size) in enumerate(zip(counts, sizes, strict=True), start=1):
        if count * size != x.shape[axis]:
            x = x[(slice(None),) * axis + (slice(0, count * size),)]
    split = [n for pair in zip(counts, sizes, strict=True) for n in pair]
    order = [0, *range(1, x.ndim * 2 - 4, 2), *range(2, x.ndim * 2 - 3, 2), 2 * x.ndim - 3]
    return x.reshape(batch, *split, channels).transpose(order)


class _Pool(Module):
    """Reduces the windows of the spatial axes, whose number is the length of ``kernel_size``."""

    def __init__(
        self,
        reduce: Callable[..., mx.array],
        padding_value: float,
        spatial_dims: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
    ) -> None:
        super().__init__()
        self._pooling_function = reduce
        self._padding_value = padding_value
        sizes = partial(integers, type(self).__name__, n=spatial_dims, wrong=ValueError)
        self._kernel_size = sizes("kernel_size", kernel_size, least=1)
        self._stride = self._kernel_size if stride is None else sizes("stride", stride, least=1)
        self._padding = sizes("padding", padding)
        for found in (self._kernel_size, self._stride, self._padding):
            if len(found) != spatial_dims:
                raise ValueError(
                    f"[{type(self).__name__}] sizes must be an integer or a tuple of {spatial_dims} but are {found}."
                )

    def _extra_repr(self) -> str:
        return f"kernel_size={self._kernel_size}, stride={self._stride}, padding={self._padding}"

    def __call__(self, x: mx.array) -> mx.array:
        n = len(self._kernel_size)
        if x.ndim != n + 2:
            raise ValueError(f"[{type(self).__name__}] the input must have {n + 2} dimensions but has {x.ndim}.")
        if any(self._padding):
            widths = [(0, 0), *((p, p) for p in self._padding), (0, 0)]
            x = mx.pad(x, widths, constant_values=self._padding_value)
        if self._stride == self._kernel_size:
            windows = _tiles(x, self._kernel_size)
        else:
            windows = _windows(x, self._kernel_size, self._stride)
        return self._pooling_function(windows, tuple(range(n + 1, 2 * n + 1)))


class MaxPool1d(_Pool):
    """The largest value of every window of sequences of the shape ``(N, L, C)``.

    Args:
        kernel_size: the size of a window.
        stride: the step from one window to the next; by default they touch.
        padding: by how much to enlarge the input on both sides; never the largest value.

    Raises:
        ValueError: an argument is no integer or tuple of one, or the input has not 3 dimensions.
    """

    def __init__(
        self, kernel_size: int | tuple[int], stride: int | tuple[int] | None = None, padding: int | tuple[int] = 0
    ) -> None:
        super().__init__(mx.max, -math.inf, 1, kernel_size, stride, padding)


class AvgPool1d(_Pool):
    """The mean of every window of sequences of the shape ``(N, L, C)``.

    Args:
        kernel_size: the size of a window.
        stride: the step from one window to the next; by default they touch.
        padding: how many zeros to add on both sides; they count in the mean.

    Raises:
        ValueError: an argument is no integer or tuple of one, or the input has not 3 dimensions.
    """

    def __init__(
        self, kernel_size: int | tuple[int], stride: int | tuple[int] | None = None, padding: int | tuple[int] = 0
    ) -> None:
        super().__init__(mx.mean, 0, 1, kernel_size, stride, padding)


class MaxPool2d(_Pool):
    """The largest value of every window of images of the shape ``(N, H, W, C)``.

    Args:
        kernel_size: the size of a window, one integer or two for height and width.
        stride: the step from one window to the next; by default they touch.
        padding: by how much to enlarge the input on all sides; never the largest value.

    Raises:
        ValueError: an argument is no integer or tuple of two, or the input has not 4 dimensions.
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__(mx.max, -math.inf, 2, kernel_size, stride, padding)


class AvgPool2d(_Pool):
    """The mean of every window of images of the shape ``(N, H, W, C)``.

    Args:
        kernel_size: the size of a window, one integer or two for height and width.
        stride: the step from one window to the next; by default they touch.
        padding: how many zeros to add on all sides; they count in the mean.

    Raises:
        ValueError: an argument is no integer or tuple of two, or the input has not 4 dimensions.
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__(mx.mean, 0, 2, kernel_size, stride, padding)


class MaxPool3d(_Pool):
    """The largest value of every window of volumes of the shape ``(N, D, H, W, C)``.

    Args:
        kernel_size: the size of a window, one integer or three for depth, height and width.
        stride: the step from one window to the next; by default they touch.
        padding: by how much to enlarge the input on all sides; never the largest value.

    Raises:
        ValueError: an argument is no integer or tuple of three, or the input has not 5 dimensions.
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int, int],
        stride: int | tuple[int, int, int] | None = None,
        padding: int | tuple[int, int, int] = 0,
    ) -> None:
        super().__init__(mx.max, -math.inf, 3, kernel_size, stride, padding)


class AvgPool3d(_Pool):
    """The mean of every window of volumes of the shape ``(N, D, H, W, C)``.

    Args:
        kernel_size: the size of a window, one integer or three for depth, height and width.
        stride: the step from one window to the next; by default they touch.
        padding: how many zeros to add on all sides; they count in the mean.

    Raises:
        ValueError: an argument is no integer or tuple of three, or the input has not 5 dimensions.
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int, int],
        stride: int | tuple[int, int, int] | None = None,
        padding: int | tuple[int, int, int] = 0,
    ) -> None:
        super().__init__(mx.mean, 0, 3, kernel_size, stride, padding)
