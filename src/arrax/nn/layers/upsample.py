"""Resampling of images and other signals of the shape ``(N, ..., C)``."""

import math
from collections.abc import Callable
from typing import Literal

import arrax.core as mx
from arrax.nn.arguments import number, shown
from arrax.nn.layers.base import Module

_MODES = ("nearest", "linear", "cubic")


def _size(size: int, scale: float) -> int:
    return int(scale * size)


def _nearest_indices(size: int, scale: float) -> mx.array:
    new_size = _size(size, scale)
    index = mx.arange(new_size, dtype=mx.float32)
    if new_size > size:
        index = mx.round((index + 0.5) * (size / new_size) - 0.5)
    else:
        index = mx.floor(index * (size / new_size))
    return mx.clip(index.astype(mx.int32), 0, size - 1)


def _positions(size: int, scale: float, align_corners: bool) -> mx.array:
    """Where the new elements lie between the old ones; the middles coincide, or the corners do."""
    new_size = _size(size, scale)
    if align_corners:
        # A single element lies on the first corner.
        return mx.arange(new_size, dtype=mx.float32) * ((size - 1) / max(new_size - 1, 1))
    step = 1 / scale
    first = ((new_size - 1) * step - size + 1) / 2
    return mx.arange(new_size, dtype=mx.float32) * step - first


def _triangle(x: mx.array) -> mx.array:
    return mx.maximum(1 - mx.abs(x), 0)


def _cubic(x: mx.array, a: float) -> mx.array:
    """The kernel of cubic convolution, whose parameter is its slope at 1."""
    x = mx.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return mx.where(x <= 1, near, mx.where(x < 2, far, 0.0))


def _resample(
    x: mx.array, axis: int, positions: mx.array, radius: int, shrink: float, kernel: Callable, renormalize: bool
) -> mx.array:
    """Weigh the elements around each position with a kernel.

    Args:
        x: the array.
        axis: the axis to resample.
        positions: where to take samples, in elements.
        radius: where the kernel ends; with ``shrink`` below 1 it is wider.
        shrink: the factor from distances in elements to arguments of the kernel.
        kernel: the weight as a function of the distance.
        renormalize: whether nothing is beyond the edges, and the weights are made to sum to one; otherwise the
            elements at the edges continue.
    """
    size = x.shape[axis]
    reach = math.ceil(radius / shrink)
    neighbours = mx.floor(positions)[:, None] + mx.arange(1 - reach, reach + 1, dtype=mx.float32)
    weights = kernel((positions[:, None] - neighbours) * shrink)
    if renormalize:
        weights = mx.where((neighbours >= 0) & (neighbours < size), weights, 0.0)
        weights = weights / weights.sum(axis=1, keepdims=True)
    samples = mx.take(x, mx.clip(neighbours.astype(mx.int32), 0, size - 1), axis=axis)
    return (samples * weights.reshape(*weights.shape, *[1] * (x.ndim - axis - 1))).sum(axis=axis + 1)


def _interpolate(
    x: mx.array, scale_factor: tuple, align_corners: bool, antialias: bool, radius: int, kernel: Callable, bounded: bool
) -> mx.array:
    if antialias and align_corners:
        raise ValueError("[Upsample] antialias=True needs align_corners=False.")
    for axis, scale in enumerate(scale_factor, start=1):
        positions = _positions(x.shape[axis], scale, align_corners)
        shrink = min(scale, 1.0) if antialias else 1.0
        x = _resample(x, axis, positions, radius, shrink, kernel, bounded)
    return x


def upsample_nearest(x: mx.array, scale_factor: tuple) -> mx.array:
    """Each element of the result is the element of ``x`` whose place is nearest.

    Args:
        x: shape ``(N, ..., C)``.
        scale_factor: for each axis but the first and the last, how many times as long it becomes.

    >>> import arrax.core as mx
    >>> upsample_nearest(mx.array([[[1], [2]]]), (2,)).flatten().tolist()
    [1, 1, 2, 2]
    """
    if all(scale == int(scale) for scale in scale_factor):
        # All axes at once: the derivative is one sum.
        n, *sizes, channels = x.shape
        times = [int(scale) for scale in scale_factor]
        pairs = list(zip(sizes, times, strict=True))
        x = x.reshape(n, *[k for size in sizes for k in (size, 1)], channels)
        x = mx.broadcast_to(x, (n, *[k for pair in pairs for k in pair], channels))
        return x.reshape(n, *[size * scale for size, scale in pairs], channels)
    for axis, scale in enumerate(scale_factor, start=1):
        x = mx.take(x, _nearest_indices(x.shape[axis], scale), axis=axis)
    return x


def upsample_linear(x: mx.array, scale_factor: tuple, align_corners: bool = False, antialias: bool = False) -> mx.array:
    """Linear interpolation along each axis but the first and the last. The result is at least float32.

    Args:
        x: shape ``(N, ..., C)``.
        scale_factor: for each axis but the first and the last, how many times as long it becomes.
        align_corners: whether the first elements coincide, and the last ones, instead of the middles.
        antialias: whether to average over what one element of a smaller result stands for.

    Raises:
        ValueError: both ``align_corners`` and ``antialias`` are set.
    """
    return _interpolate(x, scale_factor, align_corners, antialias, 1, _triangle, antialias)


def upsample_cubic(x: mx.array, scale_factor: tuple, align_corners: bool = False, antialias: bool = False) -> mx.array:
    """Interpolation by cubic convolution; see :func:`upsample_linear` for the arguments.

    The kernel's parameter is -0.75, and -0.5 with ``antialias``.
    """
    slope = -0.5 if antialias else -0.75
    return _interpolate(x, scale_factor, align_corners, antialias, 2, lambda d: _cubic(d, slope), antialias)


class Upsample(Module):
    """Resamples its input, of the shape ``(N, ..., C)``, along all axes but the first and the last.

    Args:
        scale_factor: how many times as long the axes become: a number for all, or one for each of them.
        mode: ``"nearest"``, ``"linear"`` (bilinear for two axes, and so on) or ``"cubic"``.
        align_corners: whether the corners of input and output coincide; otherwise the middles do. Not for "nearest".
        antialias: whether to average over what an element of a smaller result stands for. Not for "nearest".

    Raises:
        ValueError: the mode does not exist or does not go with the other arguments.

    >>> import arrax.core as mx
    >>> import arrax.nn as nn
    >>> x = mx.array([[1.0, 2.0], [3.0, 4.0]])[None, :, :, None]
    >>> nn.Upsample(scale_factor=2, mode="linear")(x)[0, 0, :, 0].tolist()
    [1.0, 1.25, 1.75, 2.0]
    """

    def __init__(
        self,
        scale_factor: float | tuple,
        mode: Literal["nearest", "linear", "cubic"] = "nearest",
        align_corners: bool = False,
        antialias: bool = False,
    ) -> None:
        super().__init__()
        if mode not in _MODES:
            raise ValueError(f"[Upsample] mode must be one of {list(_MODES)} but is {shown(mode)}.")
        if antialias and (mode == "nearest" or align_corners):
            raise ValueError("[Upsample] antialias=True needs the mode 'linear' or 'cubic' and align_corners=False.")
        if isinstance(scale_factor, (list, tuple)):
            self.scale_factor: float | tuple = tuple(number("Upsample", "scale_factor", s) for s in scale_factor)
        else:
            self.scale_factor = number("Upsample", "scale_factor", scale_factor)
        self.mode = mode
        self.align_corners = align_corners
        self.antialias = antialias

    def _extra_repr(self) -> str:
        text = f"scale_factor={self.scale_factor}, mode={self.mode!r}, align_corners={self.align_corners}"
        return text + (", antialias=True" if self.antialias else "")

    def __call__(self, x: mx.array) -> mx.array:
        n_axes = x.ndim - 2
        if n_axes < 1:
            raise ValueError(f"[Upsample] expected an input of at least 3 dimensions, got the shape {x.shape}.")
        scales = self.scale_factor
        if not isinstance(scales, tuple):
            scales = (scales,) * n_axes
        if len(scales) != n_axes:
            raise ValueError(f"[Upsample] expected one scale for each of {n_axes} axes, got {len(scales)}.")
        if self.mode == "nearest":
            return upsample_nearest(x, scales)
        interpolate = upsample_linear if self.mode == "linear" else upsample_cubic
        return interpolate(x, scales, self.align_corners, self.antialias)
