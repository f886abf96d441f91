"""Convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from arrax.core.arguments import as_int, as_ints, expect, fits, is_sequence
from arrax.core.convert import array_node, pair
from arrax.core.device import check_stream
from arrax.graph.handle import shown, wrap
from arrax.prims import view as v
from arrax.prims.convolution import correlate, without_cuts
from arrax.prims.leaf import constant
from arrax.prims.windows import Windows
from arrax.runtime.executor import tracing

if TYPE_CHECKING:
    from arrax.core.array import array

Ints = int | Sequence[int]


def _per_axis(op: str, what: str, value: Any, n: int) -> tuple[int, ...]:
    """One number for every spatial axis."""
    values = as_ints(op, value, what)
    if len(values) == 1:
        values *= n
    if len(values) != n:
        # the functions for a fixed number of axes have tuples of that size in their signatures
        error = ValueError if op == "conv_general" else TypeError
        raise error(f"[{op}] expected {what} for {n} axes, got {list(values)}: pass one or as many")
    return values


def conv_general(
    input: array,
    weight: array,
    /,
    stride: Ints = 1,
    padding: Any = 0,
    kernel_dilation: Ints = 1,
    input_dilation: Ints = 1,
    groups: int = 1,
    flip: bool = False,
    *,
    stream: Any = None,
) -> array:
    """A cross-correlation over any number of spatial axes.

    Args:
        input: of shape (batch, spatial..., channels).
        weight: of shape (filters, kernel..., channels / groups).
        stride: the distance of windows.
        padding: zeros on both sides, or a pair of those before and those behind.
        kernel_dilation: the distance of the elements of a window.
        input_dilation: the distance to which the input's elements are spread, with zeros in between.
        groups: into how many independent parts channels and filters are divided.
        flip: whether the kernel is reversed, which makes it a convolution proper.

    Raises:
        ValueError: for shapes that do not fit, a window larger than the input, or integers.
    """
    check_stream("conv_general", stream)
    return _conv("conv_general", input, weight, stride, padding, kernel_dilation, input_dilation, groups, flip)


def _conv(
    op: str,
    input: Any,
    weight: Any,
    stride: Any,
    padding: Any,
    kernel_dilation: Any,
    input_dilation: Any,
    groups: int,
    flip: bool,
    axes: int | None = None,
) -> Any:
    groups = as_int(op, groups, "groups")
    x, w = array_node(op, input), array_node(op, weight)
    for node in (x, w):
        if not node.dtype.is_inexact or node.dtype.is_complex:
            raise ValueError(f"[{op}] expected floating point numbers, got {node.dtype.name}: cast them with astype")
    x, w = pair(op, input, weight)
    n = x.ndim - 2 if axes is None else axes
    if x.ndim != n + 2 or w.ndim != n + 2 or n < 1:
        raise ValueError(
            f"[{op}] expected an input (batch, spatial..., channels) and a weight (filters, kernel..., channels) "
            f"with {max(n, 1)} spatial axes, got {list(x.shape)} and {list(w.shape)}: reshape them"
        )
    if groups < 1 or x.shape[-1] != w.shape[-1] * groups or w.shape[0] % groups:
        raise ValueError(
            f"[{op}] expected channels and filters that fit {groups} groups, got {list(x.shape)} and {list(w.shape)}: "
            "the weight has channels / groups as last axis"
        )
    pairs = isinstance(padding, tuple | list) and len(padding) == 2 and all(map(is_sequence, padding))
    low, high = (_per_axis(op, "padding", side, n) for side in (padding if pairs else (padding, padding)))
    step = _per_axis(op, "stride", stride, n)
    apart = _per_axis(op, "kernel_dilation", kernel_dilation, n)
    wide = _per_axis(op, "input_dilation", input_dilation, n)
    if min(*step, *apart, *wide) < 1:
        raise ValueError(f"[{op}] expected strides and dilations of at least 1, got {step}, {apart} and {wide}")
    if flip:
        w = v.flip(w, tuple(range(1, n + 1)))
    x, low, high = without_cuts(x, low, high, wide)
    out = []
    sizes = fits(op, tuple(s + a + b for s, a, b in zip(x.shape[1:-1], low, high, strict=True)))
    for size, k, s, d in zip(sizes, w.shape[1:-1], step, apart, strict=True):
        room = size - (d * (k - 1) + 1)
        if room < 0:
            raise ValueError(
                f"[{op}] expected a window of at most {size} elements, got {d * (k - 1) + 1}: pad the input"
            )
        out.append(room // s + 1)
    result = (x.shape[0], *out, w.shape[0])
    if 0 in result or 0 in w.shape:
        return wrap(v.broadcast(constant(0, x.dtype), result))
    return wrap(correlate(x, w, Windows(tuple(out), step, apart, low, high, groups), differentiable=tracing.depth > 0))


def conv1d(
    input: array,
    weight: array,
    /,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
    *,
    stream: Any = None,
) -> array:
    """A cross-correlation of (batch, length, channels) with (filters, kernel, channels / groups).

    There may be more spatial axes: the stride, the padding and the dilation are those of each.
    """
    check_stream("conv1d", stream)
    return _conv("conv1d", input, weight, stride, padding, dilation, 1, groups, False)


def conv2d(
    input: array,
    weight: array,
    /,
    stride: Ints = 1,
    padding: Ints = 0,
    dilation: Ints = 1,
    groups: int = 1,
    *,
    stream: Any = None,
) -> array:
    """A cross-correlation of (batch, height, width, channels) with (filters, kernel..., channels / groups).

    >>> import arrax.core as mx
    >>> mx.conv2d(mx.ones((1, 3, 3, 1)), mx.ones((1, 3, 3, 1)))
    array([[[[9]]]], dtype=float32)
    """
    check_stream("conv2d", stream)
    return _conv("conv2d", input, weight, stride, padding, dilation, 1, groups, False, 2)


def conv3d(
    input: array,
    weight: array,
    /,
    stride: Ints = 1,
    padding: Ints = 0,
    dilation: Ints = 1,
    groups: int = 1,
    *,
    stream: Any = None,
) -> array:
    """A cross-correlation of (batch, depth, height, width, channels) with (filters, kernel..., channels / groups)."""
    check_stream("conv3d", stream)
    return _conv("conv3d", input, weight, stride, padding, dilation, 1, groups, False, 3)


def _transposed(
    op: str,
    input: Any,
    weight: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    output_padding: Any,
    groups: int,
    axes: int,
) -> Any:
    """The cross-correlation's transpose: the input is spread by the stride, the kernel reversed.

    What is known of one axis, also the kernel's size, holds for all that there are.
    """
    w = array_node(op, weight)
    if w.ndim != axes + 2 and (axes > 1 or w.ndim < 3):
        raise ValueError(f"[{op}] expected a weight with {axes + 2} axes, got {list(w.shape)}: reshape it")
    around = _per_axis(op, "padding", padding, axes)
    apart = _per_axis(op, "dilation", dilation, axes)
    extra = _per_axis(op, "output_padding", output_padding, axes)
    low = tuple(d * (k - 1) - i for d, k, i in zip(apart, w.shape[1 : axes + 1], around, strict=True))
    high = tuple(i + e for i, e in zip(low, extra, strict=True))
    return _conv(op, input, weight, 1, (low, high), apart, stride, groups, True, axes if axes > 1 else None)


def conv_transpose1d(
    input: array,
    weight: array,
    /,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    output_padding: int = 0,
    groups: int = 1,
    *,
    stream: Any = None,
) -> array:
    """The transpose of ``conv1d``: (batch, length, channels) with (filters, kernel, channels / groups)."""
    check_stream("conv_transpose1d", stream)
    return _transposed("conv_transpose1d", input, weight, stride, padding, dilation, output_padding, groups, 1)


def conv_transpose2d(
    input: array,
    weight: array,
    /,
    stride: Ints = 1,
    padding: Ints = 0,
    dilation: Ints = 1,
    output_padding: Ints = 0,
    groups: int = 1,
    *,
    stream: Any = None,
) -> array:
    """The transpose of ``conv2d``."""
    check_stream("conv_transpose2d", stream)
    return _transposed("conv_transpose2d", input, weight, stride, padding, dilation, output_padding, groups, 2)


def conv_transpose3d(
    input: array,
    weight: array,
    /,
    stride: Ints = 1,
    padding: Ints = 0,
    dilation: Ints = 1,
    output_padding: Ints = 0,
    groups: int = 1,
    *,
    stream: Any = None,
) -> array:
    """The transpose of ``conv3d``."""
    check_stream("conv_transpose3d", stream)
    return _transposed("conv_transpose3d", input, weight, stride, padding, dilation, output_padding, groups, 3)


def convolve(a: array, v: array, /, mode: str = "full", *, stream: Any = None) -> array:
    """The convolution of two sequences: 'full', 'same' (as long as the longer one) or 'valid' (no edges).

    >>> import arrax.core as mx
    >>> mx.convolve(mx.array([1.0, 2.0]), mx.array([1.0, 1.0]))
    array([1, 3, 2], dtype=float32)
    """
    check_stream("convolve", stream)
    expect("convolve", str, mode=mode)
    x, w = array_node("convolve", a), array_node("convolve", v)
    if x.ndim != 1 or w.ndim != 1:
        raise ValueError(f"[convolve] expected sequences, got shapes {list(x.shape)} and {list(w.shape)}: flatten them")
    if mode not in ("full", "same", "valid"):
        raise ValueError(f"[convolve] expected mode full, same or valid, got {shown(mode)}: choose one of them")
    if not x.size or not w.size:
        raise ValueError(
            "[convolve] expected sequences that are not empty, got one of no elements: test the size first"
        )
    if x.size < w.size:
        x, w, a, v = w, x, v, a
    n = w.size
    padding = {"full": (n - 1, n - 1), "same": (n // 2, n - 1 - n // 2), "valid": (0, 0)}[mode]
    row = a.reshape(1, -1, 1)
    return _conv("convolve", row, v.reshape(1, -1, 1), 1, ([padding[0]], [padding[1]]), 1, 1, 1, True, 1).reshape(-1)
