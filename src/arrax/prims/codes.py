"""Quantized numbers: codes of a few bits in 32-bit words, small floats, and products that unpack them in registers."""

from __future__ import annotations

import math

from arrax.graph.dtypes import float32, float64, uint32
from arrax.graph.node import Node
from arrax.prims import pointwise as p
from arrax.prims.composite import composite
from arrax.prims.contract import swap_last
from arrax.prims.gather import take
from arrax.prims.leaf import constant, iota
from arrax.prims.opaque import barrier
from arrax.prims.reduce import contraction_p, reduce, sum_p
from arrax.prims.view import broadcast, reshape, transpose


# --- bits -------------------------------------------------------------------------------------------------------------
def _u(value: int) -> Node:
    return constant(value, uint32)


def _block(bits: int) -> tuple[int, int]:
    """The least number of elements that fill whole words, and that number of words."""
    common = math.lcm(bits, 32)
    return common // bits, common // 32


def pack(codes: Node, bits: int) -> Node:
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


def unpack(packed: Node, bits: int) -> Node:
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


def encode_fp8(x: Node) -> Node:
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


def decode_fp8(codes: Node) -> Node:
    nan = p.equal(p.bitwise_and(codes, _u(127)), _u(127))
    return p.where(nan, _f(float("nan")), _decode(codes, 7, 3, 7))


# Halfway between neighbours in e2m1; what lies there becomes the smaller one.
_FP4_EDGES = (0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0)


def encode_fp4(x: Node) -> Node:
    size, code = p.abs_(x), _u(0)
    for edge in _FP4_EDGES:
        code = p.add(code, p.cast(p.greater(size, _f(edge)), uint32))
    # there is no negative zero
    sign = p.where(p.less(x, _f(0.0)), p.where(p.equal(code, _u(0)), _u(0), _u(8)), _u(0))
    return p.bitwise_or(code, sign)


def encode_e8m0(x: Node) -> Node:
    """The exponents of the least powers of two that are not below positive float32 numbers, plus 127; of zero 127."""
    exponent = p.right_shift(p.add(p.bitcast(x, uint32), _u(0x7FFFFF)), _u(23))
    return p.where(p.equal(x, _f(0.0)), _u(127), p.minimum(exponent, _u(255)))


def _decode_e8m0(codes: Node) -> Node:
    power = p.bitcast(p.left_shift(codes, _u(23)), float32)
    return p.where(p.equal(codes, _u(0)), _f(2.0**-127), power)


def decode_scales(scales: Node, mode: str, unit: Node | None) -> Node:
    codes = p.cast(scales, uint32)
    values = decode_fp8(codes) if mode == "nvfp4" else _decode_e8m0(codes)
    return values if unit is None else p.mul(values, unit)


# --- elements ---------------------------------------------------------------------------------------------------------
def elements(codes: Node, scales: Node, biases: Node | None, mode: str, unit: Node | None) -> Node:
    """The numbers that codes stand for; scales and biases broadcast to them.

    ``mode``: see `arrax.core.quantize`; ``unit``: what scales relate to.
    """
    if mode == "affine":
        assert biases is not None
        work = float64 if float64 in (scales.dtype, biases.dtype) else float32
        return p.add(p.mul(p.cast(codes, work), p.cast(scales, work)), p.cast(biases, work))
    return p.mul(_small_floats(codes, mode), decode_scales(scales, mode, unit))


def _small_floats(codes: Node, mode: str) -> Node:
    return decode_fp8(codes) if mode == "mxfp8" else _decode(codes, 3, 1, 1)


def _few_rows(inputs: tuple[Node, ...], params: tuple) -> Node:
    """All words' first codes come first, then their second ones, and so on: words lie side by side, as do what they are
    multiplied with and the scales, which are the same for all codes of a word and for several words. So a word's codes
    are added up before they are scaled.
    """
    x, packed, scales, *biases = inputs
    bits, times, mode = params
    columns, words = packed.shape
    count, rows = 32 // bits, x.size // x.shape[-1]
    work = float64 if x.dtype is float64 else float32
    lines = barrier(swap_last(reshape(p.cast(x, work), (rows, words, count))))
    offsets = p.mul(iota((count, 1), 0, uint32), _u(bits))
    codes = p.bitwise_and(p.right_shift(reshape(packed, (columns, 1, 1, words)), offsets), _u((1 << bits) - 1))
    inner = (times,) if times <= 8 else (times // 8, 8)  # sizes that the compiler knows as numbers

    def for_words(a: Node) -> Node:
        shape = (columns, words // times, *inner)
        wide = broadcast(reshape(a, (columns, words // times, *(1 for _ in inner))), shape)
        return p.cast(reshape(wide, (columns, 1, 1, words)), work)

    numbers = p.cast(codes if mode == "affine" else _small_floats(codes, mode), work)
    scale = scales if mode == "affine" else decode_scales(scales, mode, None)
    sums = p.mul(reduce(contraction_p, p.mul(numbers, lines), (2,)), for_words(scale))
    if biases:
        sums = p.add(sums, p.mul(barrier(reduce(contraction_p, lines, (1,))), for_words(biases[0])))
    product = reshape(reduce(contraction_p, sums, (3,)), (columns, rows))
    return p.cast(reshape(transpose(product, (1, 0)), (*x.shape[:-1], columns)), x.dtype)


# A few rows times a quantized matrix, transposed, whose words are unpacked in registers. inputs: x, and the results of
# quantize. params: (bits, words of a group, mode)
few_rows_p = composite(
    "quantized_few_rows",
    _few_rows,
    samples=[
        (("f4:1,64", "u4:3,8", "f4:3,1", "f4:3,1"), (4, 8, "affine")),
        (("f4:3,64", "u4:3,8", "f4:3,1", "f4:3,1"), (4, 8, "affine")),
        (("f4:64", "u4:3,16", "f4:3,4", "f4:3,4"), (8, 4, "affine")),
        (("f4:1,1,256", "u4:5,64", "f4:5,4", "f4:5,4"), (8, 16, "affine")),
    ],
)
