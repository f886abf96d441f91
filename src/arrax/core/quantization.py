"""Quantized matrices: a few bits per element, and a scale for every group of consecutive elements of a row.

Elements are packed from the low to the high bits of 32-bit words, one after another; those of 3, 5 and 6 bits may lie
across two words. All is recorded in shifts, masks and products, so that unpacking fuses into whatever reads the matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from arrax.core.arguments import as_int, expect
from arrax.core.convert import array_node
from arrax.core.device import check_stream
from arrax.core.ops.products import gather_matrices, matrix_indices, record_matmul
from arrax.graph.dtypes import Dtype, bfloat16, float32, float64, promote, uint8, uint32
from arrax.graph.errors import NoDerivativeError
from arrax.graph.handle import shown, wrap
from arrax.graph.node import Node
from arrax.graph.primitive import broadcast_shapes
from arrax.prims import pointwise as p
from arrax.prims.call import variable_p
from arrax.prims.codes import (
    decode_fp8,
    decode_scales,
    elements,
    encode_e8m0,
    encode_fp4,
    encode_fp8,
    few_rows_p,
    pack,
    unpack,
)
from arrax.prims.contract import matmul, swap_last
from arrax.prims.leaf import constant
from arrax.prims.reduce import max_p, min_p, reduce
from arrax.prims.view import reshape
from arrax.runtime.executor import tracing
from arrax.transforms.tracing import record

if TYPE_CHECKING:
    from arrax.core.array import array

FEW = 16  # rows up to which unpacking the matrix anew for each is faster than storing it unpacked
_wrap: Callable[[Node], Any] = wrap
# (group size, bits) when they are not given; the modes of small floats have no others.
_DEFAULTS = {"affine": (64, 4), "mxfp4": (32, 4), "mxfp8": (32, 8), "nvfp4": (16, 4)}
_GROUP_SIZES, _BITS = (32, 64, 128), (1, 2, 3, 4, 5, 6, 8)
_FP4_MAX, _FP8_MAX = 6.0, 448.0


# --- arguments --------------------------------------------------------------------------------------------------------
def _scheme(op: str, group_size: Any, bits: Any, mode: str) -> tuple[int, int]:
    if mode not in _DEFAULTS:
        raise ValueError(f"[{op}] expected a mode out of {list(_DEFAULTS)}, got {shown(mode)}")
    size, width = _DEFAULTS[mode]
    chosen = (
        size if group_size is None else as_int(op, group_size, "group_size"),
        width if bits is None else as_int(op, bits, "bits"),
    )
    if mode == "affine":
        if chosen[0] not in _GROUP_SIZES:
            raise ValueError(f"[{op}] expected a group size out of {list(_GROUP_SIZES)}, got {chosen[0]}")
        if chosen[1] not in _BITS:
            raise ValueError(f"[{op}] expected a number of bits out of {list(_BITS)}, got {chosen[1]}")
    elif chosen != (size, width):
        raise ValueError(
            f"[{op}] expected group size {size} and {width} bits for {mode}, got {chosen[0]} and {chosen[1]}"
        )
    return chosen


def _global_scale(op: str, scale: Any, mode: str) -> Node | None:
    """What the scales of nvfp4 are multiples of: they fill the range of fp8 if the scale is the largest element."""
    if scale is None:
        return None
    if mode != "nvfp4":
        raise ValueError(f"[{op}] expected no global scale for {mode}, got one: it is for nvfp4")
    node = p.cast(array_node(op, scale), float32)
    if node.size != 1:
        raise ValueError(f"[{op}] expected one number as global scale, got shape {list(node.shape)}")
    return p.div(reshape(node, ()), constant(_FP4_MAX * _FP8_MAX, float32))


def _check_quantized(
    op: str, w: Any, scales: Any, biases: Any, group_size: int, bits: int, mode: str
) -> tuple[Node, Node, Node | None]:
    packed, scale = array_node(op, w), array_node(op, scales)
    if mode == "affine" and biases is None:
        raise ValueError(f"[{op}] expected biases for affine quantization, got None: pass those of quantize")
    if mode != "affine" and biases is not None:
        raise ValueError(f"[{op}] expected no biases for {mode}, got some: leave them out")
    bias = None if biases is None else array_node(op, biases)
    if packed.dtype is not uint32:
        raise ValueError(f"[{op}] expected a packed matrix of uint32, got {packed.dtype.name}: pass that of quantize")
    if packed.ndim < 2:
        raise ValueError(f"[{op}] expected a matrix with two axes at least, got shape {list(packed.shape)}")
    shape = (*packed.shape[:-1], packed.shape[-1] * 32 // bits // group_size)
    fits = packed.shape[-1] * 32 == shape[-1] * group_size * bits
    if not fits or scale.shape != shape or (bias is not None and bias.shape != shape):
        raise ValueError(
            f"[{op}] expected scales and biases that fit a packed matrix of shape {list(packed.shape)} with group size "
            f"{group_size} and {bits} bits, got {list(scale.shape)}: pass the group_size and bits of quantize"
        )
    if mode != "affine" and scale.dtype is not uint8:
        raise ValueError(f"[{op}] expected scales of uint8 for {mode}, got {scale.dtype.name}: pass those of quantize")
    return packed, scale, bias


# --- quantize ---------------------------------------------------------------------------------------------------------
def _f(value: float) -> Node:
    return constant(value, float32)


def _affine(groups: Node, bits: int) -> tuple[Node, Node, Node]:
    """Codes, scales and biases of float32 groups along the last axis.

    The bias is the extreme of larger magnitude and the scale is fitted so that zero is represented exactly.
    """
    axes = (groups.ndim - 1,)
    most, least = reduce(max_p, groups, axes), reduce(min_p, groups, axes)
    levels = (1 << bits) - 1
    scale = p.maximum(p.div(p.sub(most, least), _f(levels)), _f(1e-7))
    if bits == 1:  # two levels: the extremes
        bias = least
    else:
        low = p.greater(p.abs_(least), p.abs_(most))
        scale = p.where(low, scale, p.neg(scale))
        edge = p.where(low, least, most)
        steps = p.rint(p.div(edge, scale))
        zero = p.equal(steps, _f(0.0))
        scale = p.where(zero, scale, p.div(edge, p.where(zero, _f(1.0), steps)))
        bias = p.where(zero, _f(0.0), edge)
    codes = p.rint(p.div(p.sub(groups, bias), scale))
    return p.cast(p.minimum(p.maximum(codes, _f(0.0)), _f(levels)), uint32), scale, bias


def _floats(groups: Node, mode: str, unit: Node | None) -> tuple[Node, Node]:
    """Codes and scales of float32 groups along the last axis."""
    largest = reduce(max_p, p.abs_(groups), (groups.ndim - 1,))
    scale = p.div(largest, _f(_FP8_MAX if mode == "mxfp8" else _FP4_MAX))
    if mode == "nvfp4":
        scales = encode_fp8(scale if unit is None else p.div(scale, unit))
    else:
        scales = encode_e8m0(scale)
    value = decode_scales(scales, mode, unit)
    zero = p.equal(value, _f(0.0))
    scaled = p.where(zero, _f(0.0), p.div(groups, p.where(zero, _f(1.0), value)))
    return (encode_fp8 if mode == "mxfp8" else encode_fp4)(scaled), p.cast(scales, uint8)


def quantize(
    w: array,
    /,
    group_size: int | None = None,
    bits: int | None = None,
    mode: str = "affine",
    *,
    global_scale: array | None = None,
    stream: Any = None,
) -> tuple[array, ...]:
    """Quantizes a matrix, every group of consecutive elements of a row with a scale of its own.

    | mode     | group_size   | bits                 | scales                | biases |
    | -------- | ------------ | -------------------- | --------------------- | ------ |
    | "affine" | 32, 64†, 128 | 1, 2, 3, 4†, 5, 6, 8 | as ``w``              | yes    |
    | "mxfp4"  | 32           | 4: floats, e2m1      | powers of two, uint8  | no     |
    | "mxfp8"  | 32           | 8: floats, e4m3      | powers of two, uint8  | no     |
    | "nvfp4"  | 16           | 4: floats, e2m1      | floats, e4m3, uint8   | no     |

    The defaults are marked with a †. In mode "affine" a code q stands for ``scale * q + bias``.

    Args:
        w: shape (..., n), at least two axes, where n is a multiple of the group size; float32, float16 or bfloat16.
        group_size, bits, mode: see above.
        global_scale: for "nvfp4" alone: one number, usually the largest magnitude in ``w``, which the scales relate to.
        stream: not used.

    Returns:
        The words, uint32 of shape (..., n * bits / 32); the scales, of shape (..., n / group_size); in mode "affine"
        the biases, of the same shape.

    Raises:
        ValueError: if the mode does not exist or does not fit the arguments.

    >>> import arrax.core as mx
    >>> words, scales, biases = mx.quantize(mx.ones((2, 64)), bits=8)
    >>> words.shape, scales.shape
    ((2, 16), (2, 1))
    """
    check_stream("quantize", stream)
    expect("quantize", str, mode=mode)
    op = "quantize"
    group_size, bits = _scheme(op, group_size, bits, mode)
    node = array_node(op, w)
    unit = _global_scale(op, global_scale, mode)
    if not node.dtype.is_float:
        raise ValueError(f"[{op}] expected floating point, got {node.dtype.name}: cast it")
    if node.dtype is float64:
        raise ValueError(f"[{op}] expected float32, float16 or bfloat16, got float64: cast it")
    if node.ndim < 2:
        raise ValueError(f"[{op}] expected a matrix with two axes at least, got shape {list(node.shape)}: reshape it")
    *lead, n = node.shape
    if n % group_size:
        raise ValueError(f"[{op}] expected a last axis divisible by the group size {group_size}, got {n}: pad it")
    groups = p.cast(reshape(node, (*lead, n // group_size, group_size)), float32)
    per_group = (*lead, n // group_size)
    if mode == "affine":
        codes, scale, bias = _affine(groups, bits)
        rest = [p.cast(reshape(x, per_group), node.dtype) for x in (scale, bias)]
    else:
        codes, scale = _floats(groups, mode, unit)
        rest = [reshape(scale, per_group)]
    return tuple(_wrap(x) for x in (pack(reshape(codes, node.shape), bits), *rest))


# --- dequantize -------------------------------------------------------------------------------------------------------
def _dequantized(
    packed: Node, scales: Node, biases: Node | None, group_size: int, bits: int, mode: str, dtype: Dtype, unit: Any
) -> Node:
    """The matrix, computed in float32 and rounded once."""
    codes = unpack(packed, bits)
    groups = reshape(codes, (*scales.shape, group_size))
    each = (*scales.shape, 1)
    values = elements(groups, reshape(scales, each), None if biases is None else reshape(biases, each), mode, unit)
    return p.cast(reshape(values, codes.shape), dtype)


def dequantize(
    w: array,
    /,
    scales: array,
    biases: array | None = None,
    group_size: int | None = None,
    bits: int | None = None,
    mode: str = "affine",
    global_scale: array | None = None,
    dtype: Dtype | None = None,
    *,
    stream: Any = None,
) -> array:
    """The matrix that quantized words stand for.

    Args:
        w, scales, biases: the results of :func:`quantize`.
        group_size, bits, mode, global_scale: as they were quantized.
        dtype: of the result; by default that of the scales and biases, or bfloat16 where they have none.
        stream: not used.

    Raises:
        ValueError: if the arguments do not fit together.

    >>> import arrax.core as mx
    >>> mx.dequantize(*mx.quantize(mx.full((2, 64), 3.0)))[0, :2].tolist()
    [3.0, 3.0]
    """
    check_stream("dequantize", stream)
    expect("dequantize", str, mode=mode)
    expect("dequantize", Dtype | None, dtype=dtype)
    op = "dequantize"
    group_size, bits = _scheme(op, group_size, bits, mode)
    packed, scale, bias = _check_quantized(op, w, scales, biases, group_size, bits, mode)
    unit = _global_scale(op, global_scale, mode)
    if bias is not None and not promote(scale.dtype, bias.dtype).is_float:
        names = [scale.dtype.name, bias.dtype.name]
        raise ValueError(f"[{op}] expected real floating types for scales and biases, got {names}: cast them")
    if dtype is None:
        dtype = bfloat16 if bias is None else promote(scale.dtype, bias.dtype)
        dtype = float32 if unit is not None else dtype
    if not dtype.is_float:
        raise ValueError(f"[{op}] expected a floating-point dtype, got {dtype.name}")
    return _wrap(_dequantized(packed, scale, bias, group_size, bits, mode, dtype, unit))


# --- products ---------------------------------------------------------------------------------------------------------
def _is_varied(node: Node) -> bool:
    """Whether there is something behind a node that a transform differentiates by."""
    stack, seen = [node], set()
    while stack:
        node = stack.pop()
        if node.prim is variable_p:
            return True
        if id(node) not in seen and node.prim is not p.stop_gradient_p:
            seen.add(id(node))
            stack += node.inputs
    return False


def _product_operands(
    op: str, x: Any, w: Any, scales: Any, biases: Any, scheme: tuple[int, int], mode: str
) -> tuple[Node, tuple[Node, Node, Node | None]]:
    """``x`` in the type of the result, and the quantized matrix."""
    left = array_node(op, x)
    packed, scale, bias = _check_quantized(op, w, scales, biases, *scheme, mode)
    dtype = left.dtype if bias is None else promote(promote(left.dtype, scale.dtype), bias.dtype)
    if not dtype.is_float or not (bias is None or promote(scale.dtype, bias.dtype).is_float):
        names = [n.dtype.name for n in (left, scale, bias) if n is not None]
        raise ValueError(f"[{op}] expected real floating types for x, scales and biases, got {names}: cast them")
    if tracing.depth and _is_varied(packed):
        raise NoDerivativeError(
            f"[{op}] expected no derivative with respect to the quantized weights, which has none: "
            "use stop_gradient on them, or differentiate by the scales and biases"
        )
    if left.ndim < 1:
        raise ValueError(f"[{op}] expected at least one axis, got a scalar: use multiply")
    return p.cast(left, dtype), (packed, scale, bias)


def _right_operand(
    op: str,
    left: Node,
    quantized: tuple[Node, Node, Node | None],
    transpose: bool,
    scheme: tuple[int, int],
    mode: str,
    unit: Node | None = None,
) -> Node:
    """The dequantized matrix, in the type of ``left``, which it must fit."""
    right = _dequantized(*quantized, *scheme, mode, left.dtype, unit)
    right = swap_last(right) if transpose else right
    if left.shape[-1] != right.shape[-2]:
        raise ValueError(
            f"[{op}] expected x of shape (..., {right.shape[-2]}) for a matrix of {list(right.shape)}, "
            f"got {list(left.shape)}: see transpose"
        )
    return right


def quantized_matmul(
    x: array,
    w: array,
    /,
    scales: array,
    biases: array | None = None,
    transpose: bool = True,
    group_size: int | None = None,
    bits: int | None = None,
    mode: str = "affine",
    *,
    stream: Any = None,
) -> array:
    """The product of an array and a quantized matrix.

    Args:
        x: shape (..., k), floating point.
        w, scales, biases: the results of :func:`quantize` for a matrix of shape (..., n, k), or (..., k, n).
        transpose: whether to compute ``x @ w.T``, which takes the first of these shapes, or ``x @ w``.
        group_size, bits, mode: as they were quantized.
        stream: not used.

    Returns:
        Shape (..., n).

    Raises:
        ValueError: if the arguments do not fit together.

    >>> import arrax.core as mx
    >>> mx.quantized_matmul(mx.ones((1, 64)), *mx.quantize(mx.ones((3, 64)))).tolist()
    [[64.0, 64.0, 64.0]]
    """
    check_stream("quantized_matmul", stream)
    expect("quantized_matmul", str, mode=mode)
    op = "quantized_matmul"
    scheme = _scheme(op, group_size, bits, mode)
    left, quantized = _product_operands(op, x, w, scales, biases, scheme, mode)
    (size, bits), packed = scheme, quantized[0]
    words = size * bits // 32  # of a group
    unpackable = transpose and packed.ndim == 2 and 32 % bits == 0 and words in (1, 2, 4, 8, 16)
    if unpackable and left.shape[-1] == packed.shape[1] * 32 // bits and 0 < left.size <= FEW * left.shape[-1]:
        inputs = (left, *(n for n in quantized if n is not None))
        result = (*left.shape[:-1], packed.shape[0])
        return _wrap(record(few_rows_p, inputs, (bits, words, mode), result, left.dtype))
    return _wrap(record_matmul(op, left, _right_operand(op, left, quantized, transpose, scheme, mode)))


def gather_qmm(
    x: array,
    w: array,
    /,
    scales: array,
    biases: array | None = None,
    lhs_indices: array | None = None,
    rhs_indices: array | None = None,
    transpose: bool = True,
    group_size: int | None = None,
    bits: int | None = None,
    mode: str = "affine",
    global_scale: array | None = None,
    *,
    sorted_indices: bool = False,
    stream: Any = None,
) -> array:
    """Products of matrices out of ``x`` and quantized matrices out of ``w``, both chosen by indices.

    Args:
        x: shape (..., m, k), floating point.
        w, scales, biases, transpose, group_size, bits, mode: as for :func:`quantized_matmul`.
        lhs_indices, rhs_indices: integers, which broadcast: positions among the matrices of ``x`` and of ``w``, counted
            over all axes but the last two. None takes all of them in order.
        global_scale: as for :func:`dequantize`.
        sorted_indices: not used.
        stream: not used.

    Returns:
        Shape (indices' shape, m, n).

    Raises:
        ValueError: if the arguments do not fit together.
    """
    check_stream("gather_qmm", stream)
    expect("gather_qmm", str, mode=mode)
    op = "gather_qmm"
    scheme = _scheme(op, group_size, bits, mode)
    nodes = [array_node(op, a) for a in (x, w, scales)]
    if nodes[0].ndim < 2 or nodes[1].ndim < 2:
        raise ValueError(f"[{op}] expected matrices, got {list(nodes[0].shape)} and {list(nodes[1].shape)}: add axes")
    left = matrix_indices(op, lhs_indices, nodes[0].shape[:-2])
    right = matrix_indices(op, rhs_indices, nodes[1].shape[:-2])
    batch = broadcast_shapes(op, left.shape, right.shape)
    unit = _global_scale(op, global_scale, mode)
    # what is checked is the whole; what is dequantized are the chosen matrices
    _check_quantized(op, w, scales, biases, *scheme, mode)
    words, scale = (_wrap(gather_matrices(n, right)) for n in nodes[1:])
    bias = _wrap(gather_matrices(array_node(op, biases), right)) if biases is not None else None
    chosen = _wrap(gather_matrices(nodes[0], left))
    a, quantized = _product_operands(op, chosen, words, scale, bias, scheme, mode)
    result = matmul(a, _right_operand(op, a, quantized, transpose, scheme, mode, unit))
    assert result.shape[:-2] == batch
    return _wrap(result)


# --- fp8 --------------------------------------------------------------------------------------------------------------
def to_fp8(x: array, *, stream: Any = None) -> array:
    """Floating-point numbers as 8-bit floats (e4m3), in an array of uint8; beyond the range they become the largest.

    Raises:
        ValueError: if ``x`` is not floating point.

    >>> import arrax.core as mx
    >>> mx.to_fp8(mx.array([1.0, -2.0])).tolist()
    [56, 192]
    """
    check_stream("to_fp8", stream)
    node = array_node("to_fp8", x)
    if not node.dtype.is_float:
        raise ValueError(f"[to_fp8] expected floating point, got {node.dtype.name}: cast it")
    return _wrap(p.cast(encode_fp8(p.cast(node, float32)), uint8))


def from_fp8(x: array, dtype: Dtype = bfloat16, *, stream: Any = None) -> array:
    """The numbers that 8-bit floats (e4m3) in an array of uint8 stand for.

    Raises:
        ValueError: if ``x`` is not of uint8, or ``dtype`` not floating point.

    >>> import arrax.core as mx
    >>> mx.from_fp8(mx.array([56, 192], mx.uint8)).tolist()
    [1.0, -2.0]
    """
    check_stream("from_fp8", stream)
    expect("from_fp8", Dtype, dtype=dtype)
    node = array_node("from_fp8", x)
    if node.dtype is not uint8:
        raise ValueError(f"[from_fp8] expected uint8, got {node.dtype.name}: pass the result of to_fp8")
    if not dtype.is_float:
        raise ValueError(f"[from_fp8] expected a floating-point dtype, got {dtype.name}")
    return _wrap(p.cast(decode_fp8(p.cast(node, uint32)), dtype))
