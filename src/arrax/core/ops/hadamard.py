"""The Walsh-Hadamard transform, as products with small matrices of ones and minus ones."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from arrax.core.arguments import as_number
from arrax.core.convert import array_node
from arrax.core.device import check_stream
from arrax.graph.dtypes import Dtype, to_inexact
from arrax.graph.handle import wrap
from arrax.graph.node import Node
from arrax.graph.primitive import bind
from arrax.prims import pointwise as p
from arrax.prims.contract import matmul, swap_last
from arrax.prims.leaf import constant
from arrax.prims.view import reshape
from arrax.runtime.executor import from_numpy_array

if TYPE_CHECKING:
    from arrax.core.array import array

_wrap: Callable[[Node], Any] = wrap
# The sizes that are no powers of two, and the first rows of the four circulant blocks of which Williamson's
# construction makes their matrices.
_BLOCKS = {20: ("+----", "+----", "++--+", "+-++-"), 28: ("+------", "++----+", "+-+--+-", "+--++--")}
_SIZES = (1, 12, *_BLOCKS)
_LARGEST = 128  # factor of two powers, as one matrix


def _circulant(row: str) -> np.ndarray:
    signs = np.array([1 if sign == "+" else -1 for sign in row])
    return np.stack([np.roll(signs, i) for i in range(len(signs))])


def _matrix(m: int) -> np.ndarray:
    """The Hadamard matrix of a size out of ``_SIZES``, or of a power of two."""
    if m in _BLOCKS:
        a, b, c, d = map(_circulant, _BLOCKS[m])
        return np.block([[a, b, c, d], [-b, a, -d, c], [-c, d, a, -b], [-d, -c, b, a]])
    if m == 12:
        # Paley's second construction, of the squares modulo 5
        conference = np.ones((6, 6), int)
        conference[1:, 1:] = _circulant("++--+")
        np.fill_diagonal(conference, 0)
        pair, diagonal = np.array([[1, 1], [1, -1]]), np.array([[1, -1], [-1, -1]])
        return np.kron(conference, pair) + np.kron(np.eye(6, dtype=int), diagonal)
    result = np.ones((1, 1), int)
    while len(result) < m:
        result = np.kron(result, np.array([[1, 1], [1, -1]]))
    return result


@functools.cache
def _factor(m: int, dtype: Dtype) -> Node:
    return from_numpy_array(_matrix(m).astype(dtype.np))


def _factors(n: int) -> list[int]:
    """Sizes of matrices whose Kronecker product is that of size n; raises ValueError where there are none."""
    odd = n // (n & -n)
    m = 4 * odd if odd > 1 else 1
    if m not in _SIZES or n % m:
        raise ValueError(
            f"[hadamard_transform] expected a last axis of m * 2^k with m out of {list(_SIZES)}, got {n}: pad it"
        )
    sizes, rest = [m] if m > 1 else [], n // m
    while rest > 1:
        sizes.append(min(rest, _LARGEST))
        rest //= sizes[-1]
    return sizes


def hadamard_transform(a: array, scale: float | None = None, stream: Any = None) -> array:
    """The product of a Hadamard matrix and each vector along the last axis, times ``scale``.

    Args:
        a: shape (..., n), where n is 1, 12, 20 or 28 times a power of two; integers are taken as float32, of complex
            numbers the real part.
        scale: ``1 / sqrt(n)`` by default, which makes the transform orthogonal.
        stream: not used.

    Raises:
        ValueError: for another size, or an empty array.

    >>> import arrax.core as mx
    >>> mx.hadamard_transform(mx.array([1.0, 2.0]), scale=1.0).tolist()
    [3.0, -1.0]
    """
    check_stream("hadamard_transform", stream)
    op = "hadamard_transform"
    node = array_node(op, a)
    if not node.size:
        raise ValueError(f"[{op}] expected at least one element, got shape {list(node.shape)}: test the size first")
    n = node.shape[-1] if node.ndim else 1
    factor = n**-0.5 if scale is None else as_number(op, scale, "scale")
    if n == 1 and factor == 1:
        return _wrap(node)
    if node.dtype.is_complex:
        node = bind(p.real_p, (node,))
    dtype = to_inexact(node.dtype)
    sizes = _factors(n)
    rows, wide = node.size // n, dtype.compute
    x = reshape(p.cast(node, wide), (rows * n, 1))
    after = n
    for m in sizes:
        after //= m
        if after > 1:
            x = matmul(_factor(m, wide), reshape(x, (rows * n // (m * after), m, after)))
        else:
            x = matmul(reshape(x, (rows * n // m, m)), swap_last(_factor(m, wide)))
    x = p.mul(x, constant(factor, wide))
    return _wrap(reshape(p.cast(x, dtype), node.shape))
