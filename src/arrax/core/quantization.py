"""Quantized matrices: a few bits per element, and a scale for every group of consecutive elements of a row.

Elements are packed from the low to the high bits of 32-bit words, one after another; those of 3, 5 and 6 bits may lie
across two words. All is recorded in shifts, masks and products, so that unpacking fuses into whatever reads the matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from arrax.core.arguments import expect
from arrax.core.convert import array_node
from arrax.core.device import check_stream
from arrax.core.ops.products import gather_matrices, matrix_indices, record_matmul
from arrax.graph.dtypes import Dtype, bfloat16, float32, float64, promote, to_inexact, uint8, uint32
from arrax.graph.handle import wrap
from arrax.graph.node import Node
from arrax.graph.primitive import broadcast_shapes
from arrax.prims import pointwise as p
from arrax.prims.contract import matmul, swap_last
from arrax.prims.gather import take
from arrax.prims.leaf import constant, iota
from arrax.prims.opaque import barrier
from arrax.prims.reduce import max_p, min_p, reduce, sum_p
from arrax.prims.view import broadcast, reshape

if TYPE_CHECKING:
    from arrax.core.array import array

_wrap: Callable[[Node], Any] = wrap
# (group size, bits) when they are not given; the modes of small floats have no others.
_DEFAULTS = {"affine": (64, 4), "mxfp4": (32, 4), "mxfp8": (32, 8), "nvfp4": (16, 4)}
_GROUP_SIZES, _BITS = (32, 64, 128), (1, 2, 3, 4, 5, 6, 8)
_FP4_MAX, _FP8_MAX = 6.0, 448.0


# --- arguments --------------------------------------------------------------------------------------------------------
def _scheme(op: str, group_size: int | None, bits: int | None, mode: str) -> tuple[int, int]:
    if mode not in _DEFAULTS:
        raise ValueError(f"[{op}] expected a mode out of {list(_DEFAULTS)}, got {mode!r}")
    size, width = _DEFAULTS[mode]
    chosen = (size if group_size is None else group_size, width if bits is None else bits)
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


# --- bits -------------------------------------------------------------------------------------------------------------
def _u(value: int) -> Node:
    return constant(value, uint32)


def _block(bits: int) -> tuple[int, int]:
    """The least number of elements that fill whole words, and that number of words."""
    common = math.lcm(bits, 32)
    return common // bits, common // 32


def _pack(codes: Node, bits: int) -> Node:
    """uint32 codes (..., n) as words (..., n * bits / 32)."""
    *lead, n = codes.shape
    count, words = _block(bits)
    offsets = p.mul(iota((count,), 0, uint32), _u(bits))
    if words == 1:
        placed = p.left_shift(reshape(codes, (*lead, n // count, count)), offsets)
        return reshape(reduce(sum_p, placed, (len(lead) + 1,)), (*lead, n // count))
    # every word sums up the elements that begin in it, and the high part of one that began in the word before
    offsets, word = reshape(offsets, (count, 1)), iota((1, words), 1, uint32)
    first = p.right_shift(offsets, _u(5))
    shift = p.bitwise_and(offsets, _u(31))
    spread = broadcast(reshape(codes, (*lead, n // count, count, 1)), (*lead, n // count, count, words))
    low = p.where(p.equal(word, first), p.left_shift(spread, shift), _u(0))
    carried = p.right_shift(p.right_shift(spread, p.sub(_u(31), shift)), _u(1))
    high = p.where(p.equal(word, p.add(first, _u(1))), carried, _u(0))
    return reshape(reduce(sum_p, p.add(low, high), (len(lead) + 1,)), (*lead, n // count * words))


def _unpack(packed: Node, bits: int) -> Node:
    """Words (..., n) as uint32 codes (..., n * 32 / bits)."""
    *lead, n = packed.shape
    count, words = _block(bits)
    offsets = p.mul(iota((count,), 0, uint32), _u(bits))
    if words == 1:
        codes = p.right_shift(reshape(packed, (*lead, n, 1)), offsets)
    else:
        grouped = reshape(packed, (*lead, n // words, words))
        first = p.right_shift(offsets, _u(5))
        shift = p.bitwise_and(offsets, _u(31))
        low = p.right_shift(take(grouped, first, len(lead) + 1), shift)
        after = take(grouped, p.minimum(p.add(first, _u(1)), _u(words - 1)), len(lead) + 1)
        # two shifts, for one by 32 is none
        high = p.left_shift(p.left_shift(after, _u(1)), p.sub(_u(31), shift))
        codes = p.bitwise_or(low, high)
    return reshape(p.bitwise_and(codes, _u((1 << bits) - 1)), (*lead, n // words * count))


# --- small floats -----------------------------------------------------------------------------------------------------
def _f(value: float) -> Node:
    return constant(value, float32)


def _encode_fp8(x: Node) -> Node:
    """The uint32 codes of float32 numbers in e4m3, rounded to even; what is too large, and NaN, becomes the largest."""
    bits = p.bitcast(x, uint32)
    sign = p.bitwise_and(p.right_shift(bits, _u(24)), _u(128))
    size = p.bitwise_and(bits, _u(0x7FFFFFFF))
    size = p.minimum(size, _u(0x43E00000))  # 448, as bits: they are ordered like the numbers
    odd = p.bitwise_and(p.right_shift(size, _u(20)), _u(1))
    rounded = p.right_shift(p.add(size, p.add(_u(0x7FFFF), odd)), _u(20))
    normal = p.sub(rounded, _u(120 << 3))
    # below 2 ** -6 numbers are multiples of 2 ** -9
    subnormal = p.cast(p.rint(p.mul(p.bitcast(size, float32), _f(512.0))), uint32)
    return p.bitwise_or(p.where(p.less(size, _u(0x3C800000)), subnormal, normal), sign)


def _decode(codes: Node, sign: int, mantissa: int, bias: int) -> Node:
    """Small floats as float32: their bits, put into the right places, are the number but for the exponent's bias."""
    size = p.left_shift(p.bitwise_and(codes, _u((1 << sign) - 1)), _u(23 - mantissa))
    value = p.mul(p.bitcast(size, float32), _f(2.0 ** (127 - bias)))
    return p.where(p.equal(p.right_shift(codes, _u(sign)), _u(0)), value, p.neg(value))


def _decode_fp8(codes: Node) -> Node:
    nan = p.equal(p.bitwise_and(codes, _u(127)), _u(127))
    return p.where(nan, _f(float("nan")), _decode(codes, 7, 3, 7))


# Halfway between neighbours in e2m1; what lies there becomes the smaller one.
_FP4_EDGES = (0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0)


def _encode_fp4(x: Node) -> Node:
    size, code = p.abs_(x), _u(0)
    for edge in _FP4_EDGES:
        code = p.add(code, p.cast(p.greater(size, _f(edge)), uint32))
    # there is no negative zero
    sign = p.where(p.less(x, _f(0.0)), p.where(p.equal(code, _u(0)), _u(0), _u(8)), _u(0))
    return p.bitwise_or(code, sign)


def _encode_e8m0(x: Node) -> Node:
    """The exponents of the least powers of two that are not below positive float32 numbers, plus 127; of zero 127."""
    exponent = p.right_shift(p.add(p.bitcast(x, uint32), _u(0x7FFFFF)), _u(23))
    return p.where(p.equal(x, _f(0.0)), _u(127), p.minimum(exponent, _u(255)))


def _decode_e8m0(codes: Node) -> Node:
    power = p.bitcast(p.left_shift(codes, _u(23)), float32)
    return p.where(p.equal(codes, _u(0)), _f(2.0**-127), power)


def _decode_scales(scales: Node, mode: str, unit: Node | None) -> Node:
    codes = p.cast(scales, uint32)
    values = _decode_fp8(codes) if mode == "nvfp4" else _decode_e8m0(codes)
    return values if unit is None else p.mul(values, unit)


# --- quantize ---------------------------------------------------------------------------------------------------------
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
        scales = _encode_fp8(scale if unit is None else p.div(scale, unit))
    else:
        scales = _encode_e8m0(scale)
    value = _decode_scales(scales, mode, unit)
    zero = p.equal(value, _f(0.0))
    scaled = p.where(zero, _f(0.0), p.div(groups, p.where(zero, _f(1.0), value)))
    return (_encode_fp8 if mode == "mxfp8" else _encode_fp4)(scaled), p.cast(scales, uint8)


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
    expect("quantize", int | None, group_size=group_size, bits=bits)
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
    return tuple(_wrap(x) for x in (_pack(reshape(codes, node.shape), bits), *rest))


# --- dequantize -------------------------------------------------------------------------------------------------------
def _dequantized(
    packed: Node, scales: Node, biases: Node | None, group_size: int, bits: int, mode: str, dtype: Dtype, unit: Any
) -> Node:
    """The matrix, computed in float32 and rounded once."""
    codes = _unpack(packed, bits)
    groups = reshape(codes, (*scales.shape, group_size))
    each = (*scales.shape, 1)
    values = _elements(groups, reshape(scales, each), None if biases is None else reshape(biases, each), mode, unit)
    return p.cast(reshape(values, codes.shape), dtype)


def _elements(codes: Node, scales: Node, biases: Node | None, mode: str, unit: Any) -> Node:
    """The numbers that codes stand for; scales and biases broadcast to them."""
    if mode == "affine":
        assert biases is not None
        work = float64 if float64 in (scales.dtype, biases.dtype) else float32
        return p.add(p.mul(p.cast(codes, work), p.cast(scales, work)), p.cast(biases, work))
    elements = _decode_fp8(codes) if mode == "mxfp8" else _decode(codes, 3, 1, 1)
    return p.mul(elements, _decode_scales(scales, mode, unit))


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
    expect("dequantize", int | None, group_size=group_size, bits=bits)
    expect("dequantize", str, mode=mode)
    expect("dequantize", Dtype | None, dtype=dtype)
    op = "dequantize"
    group_size, bits = _scheme(op, group_size, bits, mode)
    packed, scale, bias = _check_quantized(op, w, scales, biases, group_size, bits, mode)
    unit = _global_scale(op, global_scale, mode)
    if dtype is None:
        dtype = bfloat16 if bias is None else to_inexact(promote(scale.dtype, bias.dtype))
        dtype = float32 if unit is not None else dtype
    if not dtype.is_float:
        raise ValueError(f"[{op}] expected a floating-point dtype, got {dtype.name}")
    return _wrap(_dequantized(packed, scale, bias, group_size, bits, mode, dtype, unit))


# --- products ---------------------------------------------------------------------------------------------------------
def _product_operands(
    op: str, x: Any, w: Any, scales: Any, biases: Any, scheme: tuple[int, int], mode: str
) -> tuple[Node, tuple[Node, Node, Node | None]]:
    """``x`` in the type of the result, and the quantized matrix."""
    left = array_node(op, x)
    packed, scale, bias = _check_quantized(op, w, scales, biases, *scheme, mode)
    dtype = left.dtype if bias is None else promote(promote(left.dtype, scale.dtype), bias.dtype)
    if not dtype.is_float:
        raise ValueError(f"[{op}] expected floating point, got {dtype.name}: cast x")
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


def _row_product(x: Node, packed: Node, scales: Node, biases: Node | None, bits: int, mode: str) -> Node:
    """A single row times a quantized matrix, transposed: its words are unpacked in registers.

    All words' first codes come first, then their second ones, and so on: so words lie side by side, as do what they are
    multiplied with and the scales, which are the same for all codes of a word and for several words.
    """
    rows, words = packed.shape
    count = 32 // bits
    line = barrier(swap_last(reshape(p.cast(x, float32), (words, count))))
    offsets = p.mul(iota((count, 1), 0, uint32), _u(bits))
    codes = p.bitwise_and(p.right_shift(reshape(packed, (rows, 1, words)), offsets), _u((1 << bits) - 1))

    def for_words(a: Node) -> Node:
        groups = a.shape[1]
        times = words // groups
        inner = (times,) if times <= 8 else (times // 8, 8)  # which the compiler knows as numbers
        wide = broadcast(reshape(a, (rows, groups, *(1 for _ in inner))), (rows, groups, *inner))
        return reshape(wide, (rows, 1, words))

    values = _elements(codes, for_words(scales), None if biases is None else for_words(biases), mode, None)
    return reshape(reduce(sum_p, p.mul(values, line), (1, 2)), (*x.shape[:-1], rows))


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
    expect("quantized_matmul", int | None, group_size=group_size, bits=bits)
    expect("quantized_matmul", str, mode=mode)
    op = "quantized_matmul"
    scheme = _scheme(op, group_size, bits, mode)
    left, quantized = _product_operands(op, x, w, scales, biases, scheme, mode)
    bits, packed = scheme[1], quantized[0]
    unpackable = transpose and 32 % bits == 0 and packed.ndim == 2 and left.dtype is not float64
    if unpackable and left.size == left.shape[-1] == packed.shape[1] * 32 // bits:
        return _wrap(p.cast(_row_product(left, *quantized, bits, mode), left.dtype))
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
    expect("gather_qmm", int | None, group_size=group_size, bits=bits)
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
    return _wrap(p.cast(_encode_fp8(p.cast(node, float32)), uint8))


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
    return _wrap(p.cast(_decode_fp8(p.cast(node, uint32)), dtype))
