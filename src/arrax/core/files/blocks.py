"""Quantized tensors of GGUF files: blocks of 32 or 256 elements with their scales.

Those of 4 and 8 bits become packed words, scales and biases as `quantized_matmul` takes them; the others become
float16. All work is on bytes (n, size of a block), a chunk of the file at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from arrax.core.files.content import Content, Fill, deferred
from arrax.graph.dtypes import Dtype, float16, uint32
from arrax.graph.node import Node, Shape

_CHUNK = 1 << 12  # blocks at a time
Decoder = Callable[[np.ndarray], np.ndarray]


def _half(blocks: np.ndarray, at: int) -> np.ndarray:
    """The float16 at a byte of each block: (n, 1)."""
    return np.ascontiguousarray(blocks[:, at : at + 2]).view(np.float16)


def _float(blocks: np.ndarray, at: int) -> np.ndarray:
    return _half(blocks, at).astype(np.float32)


def _nibbles(x: np.ndarray) -> np.ndarray:
    """The low halves of all bytes of a row, then the high ones."""
    return np.concatenate([x & 15, x >> 4], -1)


# --- packed -----------------------------------------------------------------------------------------------------------
def _pack4(nibbles: np.ndarray) -> np.ndarray:
    return nibbles[:, 0::2] | nibbles[:, 1::2] << 4


@dataclass(frozen=True)
class Packed:
    """A quantization in groups of 32 elements that is kept as it is: how to get each part out of the blocks."""

    size: int
    bits: int
    weight: Decoder
    biases: Decoder


PACKED = {
    2: Packed(18, 4, lambda b: _pack4(_nibbles(b[:, 2:])), lambda b: _half(b, 0) * np.float16(-8)),  # Q4_0
    3: Packed(20, 4, lambda b: _pack4(_nibbles(b[:, 4:])), lambda b: _half(b, 2)),  # Q4_1
    8: Packed(34, 8, lambda b: b[:, 2:] ^ 128, lambda b: _half(b, 0) * np.float16(-128)),  # Q8_0
}


# --- as float16 -------------------------------------------------------------------------------------------------------
def _bits32(blocks: np.ndarray, at: int) -> np.ndarray:
    """The 32 bits of four bytes, one an element."""
    return np.unpackbits(np.ascontiguousarray(blocks[:, at : at + 4]), axis=1, bitorder="little")


def _q5_0(b: np.ndarray) -> np.ndarray:
    q = (_nibbles(b[:, 6:]) | _bits32(b, 2) << 4).astype(np.int8) - 16
    return _float(b, 0) * q


def _q5_1(b: np.ndarray) -> np.ndarray:
    return _float(b, 0) * (_nibbles(b[:, 8:]) | _bits32(b, 4) << 4) + _float(b, 2)


_PAIRS = np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 4, 1)  # where the bit pairs of a byte begin


def _pairs(x: np.ndarray) -> np.ndarray:
    """(n, 64) bytes of two-bit numbers as (n, 16, 16): each run of 32 bytes holds four runs of 32 elements."""
    return (x.reshape(-1, 2, 1, 32) >> _PAIRS & 3).reshape(-1, 16, 16)


def _q2_k(b: np.ndarray) -> np.ndarray:
    scales = b[:, :16]
    q = _pairs(b[:, 16:80])
    return (_float(b, 80) * (scales & 15))[..., None] * q - (_float(b, 82) * (scales >> 4))[..., None]


def _q3_k(b: np.ndarray) -> np.ndarray:
    high = np.unpackbits(b[:, :32, None], axis=2, bitorder="little").transpose(0, 2, 1).reshape(-1, 16, 16)
    q = (_pairs(b[:, 32:96]) | high << 2).astype(np.int8) - 4
    low, top = b[:, 96:104], b[:, 104:108]
    scales = (_nibbles(low) | (top[:, None] >> _PAIRS[0] & 3).reshape(-1, 16) << 4).astype(np.int8) - 32
    return (_float(b, 108) * scales)[..., None] * q


def _scales6(b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eight scales and eight minima of six bits each, out of twelve bytes, times their factors: (n, 8, 1)."""
    x, y, z = b[:, 4:8], b[:, 8:12], b[:, 12:16]
    scales = np.concatenate([x & 63, z & 15 | x >> 6 << 4], -1)
    minima = np.concatenate([y & 63, z >> 4 | y >> 6 << 4], -1)
    return (_float(b, 0) * scales)[..., None], (_float(b, 2) * minima)[..., None]


def _quarters(x: np.ndarray) -> np.ndarray:
    """(n, 128) bytes as (n, 8, 32): each run of 32 bytes holds two runs of elements, in its low and its high halves."""
    return _nibbles(x.reshape(-1, 4, 32)).reshape(-1, 8, 32)


def _q4_k(b: np.ndarray) -> np.ndarray:
    scales, minima = _scales6(b)
    return scales * _quarters(b[:, 16:]) - minima


def _q5_k(b: np.ndarray) -> np.ndarray:
    scales, minima = _scales6(b)
    high = np.unpackbits(b[:, 16:48, None], axis=2, bitorder="little").transpose(0, 2, 1)
    return scales * (_quarters(b[:, 48:]) | high << 4) - minima


def _q6_k(b: np.ndarray) -> np.ndarray:
    low = _nibbles(b[:, :128].reshape(-1, 2, 64)).reshape(-1, 16, 16)
    high = _pairs(b[:, 128:192])
    q = (low | high << 4).astype(np.int8) - 32
    return (_float(b, 208) * b[:, 192:208].view(np.int8))[..., None] * q


def _bfloat(b: np.ndarray) -> np.ndarray:
    return (b.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


# type: (elements of a block, bytes of a block, decoder)
FLOAT: dict[int, tuple[int, int, Decoder]] = {
    6: (32, 22, _q5_0), 7: (32, 24, _q5_1), 10: (256, 84, _q2_k), 11: (256, 110, _q3_k), 12: (256, 144, _q4_k),
    13: (256, 176, _q5_k), 14: (256, 210, _q6_k), 30: (1, 2, _bfloat),
}  # fmt: skip


# --- tensors ----------------------------------------------------------------------------------------------------------
def _decoded(file: Content, start: int, blocks: int, size: int, decode: Decoder, type_: type) -> Fill:
    """Fills an array with what becomes of so many blocks of the file."""

    def fill(target: np.ndarray) -> None:
        rows: np.ndarray = target.view(type_).reshape(blocks, -1)
        for at in range(0, blocks, _CHUNK):
            chunk = np.empty((min(_CHUNK, blocks - at), size), np.uint8)
            file.read(start + at * size, chunk.reshape(-1))
            with np.errstate(all="ignore"):
                rows[at : at + _CHUNK] = decode(chunk).reshape(len(chunk), -1)

    return fill


def packed_tensor(file: Content, start: int, shape: Shape, kind: int) -> tuple[Node, Node, Node]:
    """Weight, scales and biases of a tensor of one of the types ``PACKED``."""
    form = PACKED[kind]
    *lead, n = shape
    blocks = int(np.prod(lead, dtype=np.int64)) * (n // 32)

    def part(sizes: Shape, dtype: Dtype, decode: Decoder) -> Node:
        kind = np.uint8 if dtype is uint32 else np.float16
        return deferred(sizes, dtype, _decoded(file, start, blocks, form.size, decode, kind))

    groups = (*lead, n // 32)
    return (
        part((*lead, n * form.bits // 32), uint32, form.weight),
        part(groups, float16, lambda b: _half(b, 0)),
        part(groups, float16, form.biases),
    )


def float_tensor(file: Content, start: int, shape: Shape, kind: int) -> Node:
    """A tensor of one of the types ``FLOAT``, as float16."""
    elements, size, decode = FLOAT[kind]
    blocks = int(np.prod(shape, dtype=np.int64)) // elements
    return deferred(shape, float16, _decoded(file, start, blocks, size, decode, np.float16))
