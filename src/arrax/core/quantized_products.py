"""Products of two matrices that are both quantized, the left one on the fly."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from arrax.core.arguments import as_int, expect
from arrax.core.convert import array_node
from arrax.core.device import check_stream
from arrax.core.ops.products import gather_matrices, matrix_indices, record_matmul
from arrax.core.quantization import dequantize, quantize
from arrax.graph.dtypes import Dtype, bfloat16, float16, float32, uint32
from arrax.graph.handle import shown, wrap
from arrax.graph.node import Node
from arrax.graph.primitive import broadcast_shapes
from arrax.prims import pointwise as p
from arrax.prims.contract import swap_last
from arrax.prims.view import reshape

if TYPE_CHECKING:
    from arrax.core.array import array

_wrap: Callable[[Node], Any] = wrap
_MODES = {"nvfp4": (16, 4), "mxfp8": (32, 8)}
_TYPES = (float32, float16, bfloat16)


def _check(op: str, group_size: Any, bits: Any, mode: str, scale_x: Any, scale_w: Any) -> None:
    expect(op, str, mode=mode)
    if mode not in _MODES:
        raise ValueError(f"[{op}] expected a mode out of {list(_MODES)}, got {shown(mode)}: choose one of them")
    size, width = _MODES[mode]
    given = (
        size if group_size is None else as_int(op, group_size, "group_size"),
        width if bits is None else as_int(op, bits, "bits"),
    )
    if given != (size, width):
        raise ValueError(
            f"[{op}] expected group size {size} and {width} bits for {mode}, got {given[0]} and {given[1]}"
        )
    if (scale_x is None) != (scale_w is None):
        raise ValueError(f"[{op}] expected both global scales or none, got one: pass the other one")


def _through_codes(op: str, a: Node, mode: str, global_scale: Any) -> Node:
    """What is left of numbers that are quantized and dequantized; derivatives pass through unchanged."""
    if a.dtype not in _TYPES:
        raise ValueError(f"[{op}] expected float32, float16 or bfloat16, got {a.dtype.name}: cast it")
    whole = a if a.ndim > 1 else reshape(a, (1, *a.shape))
    words, scales = quantize(_wrap(p.stop_gradient(whole)), mode=mode, global_scale=global_scale)
    found = dequantize(words, scales, mode=mode, global_scale=global_scale, dtype=a.dtype)
    coarse = reshape(array_node(op, found), a.shape)
    return p.add(coarse, p.sub(a, p.stop_gradient(a)))


def _weight(op: str, w: Node, scales: Any, mode: str, global_scale: Any, dtype: Dtype) -> Node:
    """The matrices that ``w`` stands for: quantized already if there are scales, or else here."""
    if scales is None:
        if w.dtype is uint32:
            raise ValueError(f"[{op}] expected scales for a quantized matrix, got None: pass those of quantize")
        return _through_codes(op, w, mode, global_scale)
    return array_node(op, dequantize(_wrap(w), scales, mode=mode, global_scale=global_scale, dtype=dtype))


def _product(op: str, x: Node, w: Node) -> Node:
    if x.shape[-1] != w.shape[-1]:
        raise ValueError(
            f"[{op}] expected x and w with one last axis, got {list(x.shape)} and {list(w.shape)}: transpose one"
        )
    return record_matmul(op, x, swap_last(p.cast(w, x.dtype)))


def qqmm(
    x: array,
    w: array,
    scales: array | None = None,
    group_size: int | None = None,
    bits: int | None = None,
    mode: str = "nvfp4",
    global_scale_x: array | None = None,
    global_scale_w: array | None = None,
    *,
    stream: Any = None,
) -> array:
    """``x @ w.T`` as computed from quantized ``x`` and quantized ``w``.

    Both are quantized here, but for a ``w`` that comes with scales. Derivatives are those of the product of what the
    quantized matrices stand for; quantizing itself counts as the identity.

    Args:
        x: shape (..., k), float32, float16 or bfloat16.
        w: shape (n, k), likewise, or the words of :func:`quantize`.
        scales: those of :func:`quantize`, if ``w`` is quantized.
        mode: "nvfp4" or "mxfp8".
        group_size, bits: None, or what the mode has.
        global_scale_x, global_scale_w: the largest magnitudes in ``x`` and ``w``, for "nvfp4"; both or none.
        stream: not used.

    Returns:
        Shape (..., n), in the type of ``x``.

    Raises:
        ValueError: if the arguments do not fit together.

    >>> import arrax.core as mx
    >>> mx.qqmm(mx.full((1, 16), 6.0), mx.full((2, 16), 6.0)).tolist()
    [[576.0, 576.0]]
    """
    check_stream("qqmm", stream)
    op = "qqmm"
    left, right = array_node(op, x), array_node(op, w)
    _check(op, group_size, bits, mode, global_scale_x, global_scale_w)
    if left.ndim < 1 or right.ndim != 2:
        raise ValueError(
            f"[{op}] expected x of shape (..., k) and w of shape (n, k), "
            f"got {list(left.shape)} and {list(right.shape)}: reshape them"
        )
    left = _through_codes(op, left, mode, global_scale_x)
    return _wrap(_product(op, left, _weight(op, right, scales, mode, global_scale_w, left.dtype)))


def gather_qqmm(
    x: array,
    w: array,
    /,
    scales: array | None = None,
    lhs_indices: array | None = None,
    rhs_indices: array | None = None,
    group_size: int | None = None,
    bits: int | None = None,
    mode: str = "nvfp4",
    global_scale_x: array | None = None,
    global_scale_w: array | None = None,
    *,
    sorted_indices: bool = False,
    stream: Any = None,
) -> array:
    """:func:`qqmm` of matrices out of ``x`` and out of ``w``, both chosen by indices.

    Args:
        x: shape (..., m, k).
        w: shape (..., n, k), or the words of :func:`quantize`.
        scales, group_size, bits, mode, global_scale_x, global_scale_w: as for :func:`qqmm`.
        lhs_indices, rhs_indices: integers, which broadcast: positions among the matrices of ``x`` and of ``w``, counted
            over all axes but the last two. None takes all of them in order.
        sorted_indices: not used.
        stream: not used.

    Returns:
        Shape (indices' shape, m, n).

    Raises:
        ValueError: if the arguments do not fit together.
    """
    check_stream("gather_qqmm", stream)
    op = "gather_qqmm"
    left, right = array_node(op, x), array_node(op, w)
    _check(op, group_size, bits, mode, global_scale_x, global_scale_w)
    if left.ndim < 2 or right.ndim < 2:
        raise ValueError(f"[{op}] expected matrices, got {list(left.shape)} and {list(right.shape)}: add axes")
    of_x = matrix_indices(op, lhs_indices, left.shape[:-2])
    of_w = matrix_indices(op, rhs_indices, right.shape[:-2])
    broadcast_shapes(op, of_x.shape, of_w.shape)
    if scales is not None:  # of quantized matrices only the chosen ones are dequantized
        scales = _wrap(gather_matrices(array_node(op, scales), of_w))
    chosen = _through_codes(op, gather_matrices(left, of_x), mode, global_scale_x)
    weight = _weight(op, gather_matrices(right, of_w), scales, mode, global_scale_w, chosen.dtype)
    return _wrap(_product(op, chosen, weight))
