"""Random numbers from explicit or implicit keys.

A key is a uint32 array of shape (2,); the same key always gives the same numbers, which are those of MLX: words come
from the Threefry hash of a counter, and every distribution is a recorded function of them, so that the compiler fuses
the way from the words to the sample. Without a key, functions take one from ``state``, a list with one key that is
split at every call and that ``compile`` can capture.

Samples agree with MLX to the bit but for the last few units in the last place that erf, erfinv and the logarithms
contribute to ``normal``, ``truncated_normal``, ``gumbel`` and ``laplace``.
"""

from __future__ import annotations

import math
import operator
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from arrax.core.arguments import as_int, as_number, as_shape, expect
from arrax.core.array import array
from arrax.core.axes import normalize_axis
from arrax.core.convert import array_node, as_node, scalar_kind, typed_node
from arrax.core.device import check_stream
from arrax.core.draws import between, by_cumulative_distribution, under
from arrax.graph.dtypes import Dtype, bfloat16, bool_, float16, float32, int32, promote, uint8, uint32
from arrax.graph.handle import Handle, shown, wrap
from arrax.graph.node import Node, Shape
from arrax.graph.primitive import broadcast_shapes
from arrax.prims import pointwise as p
from arrax.prims.contract import matmul
from arrax.prims.gather import take
from arrax.prims.leaf import constant, random_bits
from arrax.prims.linalg import symmetric_root
from arrax.prims.opaque import argsort
from arrax.prims.reduce import argmax_p, reduce
from arrax.prims.view import reshape, slice_
from arrax.runtime.executor import from_numpy_array, to_numpy, tracing

__all__ = [
    "bernoulli", "categorical", "gumbel", "key", "laplace", "multivariate_normal", "normal", "permutation", "randint",
    "seed", "split", "state", "truncated_normal", "uniform",
]  # fmt: skip

# The largest number below 1 of every type in which uniform numbers are drawn.
_BELOW_ONE = {float16: 1 - 2.0**-11, bfloat16: 1 - 2.0**-8, float32: 1 - 2.0**-24}
_lock = threading.Lock()
_wrap: Callable[[Node], Any] = wrap


# --- keys -------------------------------------------------------------------------------------------------------------
def _key_node(high: int, low: int) -> Node:
    return from_numpy_array(np.array([high, low], np.uint32))


def key(seed: int) -> array:
    """A key, of type uint32 and shape (2,), from an integer.

    Raises:
        TypeError: if the seed is no integer from 0 to 2**64 - 1.

    >>> import arrax.core as mx
    >>> mx.random.key(7)
    array([0, 7], dtype=uint32)
    """
    try:
        value = operator.index(seed)
    except TypeError:
        raise TypeError(f"[key] expected an integer seed, got {shown(seed)}: pass an int") from None
    if not 0 <= value < 1 << 64:
        raise TypeError(f"[key] expected a seed from 0 to 2**64 - 1, got {shown(value)}: reduce it modulo 2**64")
    return _wrap(_key_node(value >> 32, value & 0xFFFFFFFF))


# The key that functions use when they are given none: a list with one array, replaced at every use.
state: list[array] = [key(time.time_ns() & 0xFFFFFFFFFFFF)]


def seed(seed: int) -> None:
    """Restarts the global sequence of random numbers.

    Raises:
        TypeError: if the seed is no integer from 0 to 2**64 - 1.

    >>> import arrax.core as mx
    >>> mx.random.seed(0)
    >>> first = mx.random.uniform()
    >>> mx.random.seed(0)
    >>> mx.random.uniform().item() == first.item()
    True
    """
    new = key(seed)
    with _lock:
        state[0] = new


def split(key: array, num: int = 2, stream: Any = None) -> array:
    """Independent keys from one key.

    Args:
        key: a key, of type uint32 and shape (2,).
        num: how many keys.
        stream: not used.

    Returns:
        The keys, with shape (num, 2).

    Raises:
        ValueError: if ``key`` is no key or ``num`` is negative.

    >>> import arrax.core as mx
    >>> mx.random.split(mx.random.key(0), 3).shape
    (3, 2)
    """
    check_stream("split", stream)
    array_node("split", key)
    num = as_int("split", num, "num")
    if num < 0:
        raise ValueError(f"[split] expected a number of keys of at least 0, got {num}: pass another one")
    return _wrap(reshape(_bits("split", key, (num, 2)), (num, 2)))


_LANES = 0xFFFFFFFF_00000000_FFFFFFFF
_BOTH = 1 | 1 << 64
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def _split_words(k0: int, k1: int) -> tuple[int, int, int, int]:
    """The four words of two keys split off one: Threefry on two counters, side by side in one Python integer."""
    ks = (k0 * _BOTH, k1 * _BOTH, (k0 ^ k1 ^ 0x1BD11BDA) * _BOTH)
    x0 = (ks[0] + (1 << 64)) & _LANES  # counters 0 and 1 ...
    x1 = (ks[1] + (2 | 3 << 64)) & _LANES  # ... with 2 and 3
    for group in range(5):
        for r in _ROTATIONS[group & 1]:
            x0 = (x0 + x1) & _LANES
            x1 = ((x1 << r | x1 >> (32 - r)) & _LANES) ^ x0
        x0 = (x0 + ks[(group + 1) % 3]) & _LANES
        x1 = (x1 + ks[(group + 2) % 3] + (group + 1) * _BOTH) & _LANES
    return x0 & 0xFFFFFFFF, x0 >> 64, x1 & 0xFFFFFFFF, x1 >> 64


def _next_key(op: str) -> Node:
    """Splits the global key: one half replaces it, the other one is the result.

    The global key is split at once unless it is an argument of a function that is traced: were it recorded, every use
    would lengthen a chain that nobody evaluates.
    """
    with _lock:
        current = _key(op, state[0])
        if current.buffer is None and tracing.depth:
            keys = reshape(random_bits(current, 4), (2, 2))
            state[0] = _wrap(reshape(slice_(keys, (1, 2), (0, 0)), (2,)))
            return reshape(slice_(keys, (1, 2), (1, 0)), (2,))
        a, b, c, d = _split_words(*to_numpy(current).tolist())
        state[0] = _wrap(_key_node(a, b))
        return _key_node(c, d)


def _key(op: str, key: Any) -> Node:
    if not isinstance(key, Handle):
        raise TypeError(f"[{op}] expected a key, got {type(key).__name__}: make one with random.key")
    node = key._node
    if node.dtype is not uint32 or node.shape != (2,):
        raise ValueError(
            f"[{op}] expected a key of type uint32 and shape [2], got {node.dtype.name} and {list(node.shape)}: "
            "make one with random.key"
        )
    return node


# --- the steps from words to samples ----------------------------------------------------------------------------------
def _bits(op: str, key: Any, shape: Shape) -> Node:
    source = _next_key(op) if key is None else _key(op, key)
    return reshape(random_bits(source, math.prod(shape)), shape)


def _unit(op: str, key: Any, shape: Shape, dtype: Dtype) -> Node:
    """Uniform in [0, 1): words over 2**32; what rounds to 1 is the largest number below it."""
    u = p.mul(p.cast(_bits(op, key, shape), float32), constant(2.0**-32, float32))
    return p.minimum(p.cast(u, dtype), constant(_BELOW_ONE[dtype], dtype))


def _symmetric(op: str, key: Any, shape: Shape) -> Node:
    """float32, uniform in (-1, 1)."""
    u = _unit(op, key, shape, float32)
    return p.add(p.mul(u, constant(2.0, float32)), constant(-_BELOW_ONE[float32], float32))


def _dtype(op: str, dtype: Dtype | None) -> Dtype:
    expect(op, Dtype | None, dtype=dtype)
    return dtype or float32


def _real(op: str, dtype: Dtype | None) -> Dtype:
    dtype = _dtype(op, dtype)
    if not dtype.is_float:
        raise ValueError(f"[{op}] expected a real floating-point dtype, got {dtype.name}: pass one such as float32")
    return dtype


def _drawn(op: str, dtype: Dtype | None) -> Dtype:
    """A type in which uniform numbers are drawn."""
    dtype = _real(op, dtype)
    if dtype not in _BELOW_ONE:
        raise RuntimeError(f"[{op}] expected float16, bfloat16 or float32, got {dtype.name}: cast the samples instead")
    return dtype


def _shape(op: str, shape: Any) -> Shape:
    expect(op, tuple, shape=shape)
    return as_shape(op, shape)


# --- distributions ----------------------------------------------------------------------------------------------------
def uniform(
    low: float | array = 0,
    high: float | array = 1,
    shape: Sequence[int] = (),
    dtype: Dtype | None = float32,
    key: array | None = None,
    stream: Any = None,
) -> array:
    """Numbers that are uniform in [low, high).

    Args:
        low, high: the bounds, scalars or arrays that broadcast to ``shape``.
        shape: of the result.
        dtype: float16, bfloat16 or float32.
        key: where the numbers come from; None takes the global key.
        stream: not used.

    Raises:
        ValueError: if ``dtype`` is not floating point or a bound does not broadcast to ``shape``.

    >>> import arrax.core as mx
    >>> x = mx.random.uniform(-1, 1, (3, 4), key=mx.random.key(1))
    >>> x.shape, (mx.abs(x) <= 1).all().item()
    ((3, 4), True)
    """
    check_stream("uniform", stream)
    dtype = _drawn("uniform", dtype)
    standard = type(low) is type(high) is int and low == 0 and high == 1
    bounds = () if standard else (p.cast(as_node("uniform", low), dtype), p.cast(as_node("uniform", high), dtype))
    u = _unit("uniform", key, _shape("uniform", shape), dtype)
    if not bounds:
        return _wrap(u)
    x = between("uniform", u, *bounds)
    if {scalar_kind(low), scalar_kind(high)} <= {bool, int, float}:
        least, most = (np.float32(value).astype(dtype.np) for value in (low, high))
        return _wrap(p.minimum(x, constant(float(np.nextafter(most, least)), dtype)) if least < most else x)
    return _wrap(under(x, *bounds))


def normal(
    shape: Sequence[int] = (),
    dtype: Dtype | None = float32,
    loc: float | array | None = None,
    scale: float | array | None = None,
    key: array | None = None,
    stream: Any = None,
) -> array:
    """Normally distributed numbers. Real and imaginary part of complex ones have a variance of one half each.

    Args:
        shape: of the result.
        dtype: a floating-point or complex type.
        loc: the mean, 0 if None; broadcasts with ``shape``.
        scale: the standard deviation, 1 if None; broadcasts with ``shape``.
        key: where the numbers come from; None takes the global key.
        stream: not used.

    Raises:
        ValueError: if ``dtype`` is not inexact or the shapes do not broadcast.

    >>> import arrax.core as mx
    >>> mx.random.normal((2, 3), mx.bfloat16).dtype
    arrax.core.bfloat16
    """
    check_stream("normal", stream)
    dtype, shape = _dtype("normal", dtype), _shape("normal", shape)
    if not dtype.is_inexact:
        raise ValueError(f"[normal] expected a floating-point or complex dtype, got {dtype.name}: pass such as float32")
    if dtype.is_complex:
        parts = p.cast(p.erfinv(_symmetric("normal", key, (*shape, 2))), dtype)
        z = reshape(
            p.add(
                slice_(parts, (*shape, 1), (0,) * (len(shape) + 1)),
                p.mul(slice_(parts, (*shape, 1), (*(0,) * len(shape), 1)), constant(1j, dtype)),
            ),
            shape,
        )
        factor = None
    else:
        z = p.cast(p.erfinv(_symmetric("normal", key, shape)), dtype)
        factor = constant(math.sqrt(2), dtype)
    if scale is not None:
        given = typed_node("normal", scale, dtype)
        factor = given if factor is None else p.mul(factor, given)
    if factor is not None:
        z = p.mul(factor, z)
    if loc is not None:
        z = p.add(typed_node("normal", loc, dtype), z)
    return _wrap(z)


def multivariate_normal(
    mean: array,
    cov: array,
    shape: Sequence[int] = (),
    dtype: Dtype | None = float32,
    key: array | None = None,
    stream: Any = None,
) -> array:
    """Vectors from a normal distribution with the given mean and covariance.

    Args:
        mean: shape (..., n).
        cov: shape (..., n, n), positive semi-definite.
        shape: of the result without its last axis; the batch axes of ``mean`` and ``cov`` broadcast to it. Empty stands
            for those axes' common shape.
        dtype: float32.
        key: where the numbers come from; None takes the global key.
        stream: not used.

    Raises:
        ValueError: if the shapes do not fit or ``dtype`` is not float32.

    >>> import arrax.core as mx
    >>> mx.random.multivariate_normal(mx.zeros(2), mx.eye(2), (5,)).shape
    (5, 2)
    """
    check_stream("multivariate_normal", stream)
    op = "multivariate_normal"
    m, c, shape = array_node(op, mean), array_node(op, cov), _shape(op, shape)
    if _dtype(op, dtype) is not float32:
        raise ValueError(f"[{op}] expected the dtype float32, got {_dtype(op, dtype).name}: cast the samples instead")
    if m.ndim < 1 or c.ndim < 2 or not m.shape[-1] == c.shape[-1] == c.shape[-2]:
        raise ValueError(
            f"[{op}] expected a mean of shape (..., n) and a covariance (..., n, n), "
            f"got {list(m.shape)} and {list(c.shape)}: give both the same n"
        )
    batch = broadcast_shapes(op, m.shape[:-1], c.shape[:-2])
    shape = broadcast_shapes(op, shape, batch) if shape else batch
    n = m.shape[-1]
    z = p.mul(constant(math.sqrt(2), float32), p.erfinv(_symmetric(op, key, (*shape, n))))
    root = symmetric_root(p.cast(c, float32))
    correlated = reshape(matmul(reshape(z, (*shape, 1, n)), root), (*shape, n))
    return _wrap(p.add(correlated, p.cast(m, float32)))


def randint(
    low: float | array,
    high: float | array,
    shape: Sequence[int] = (),
    dtype: Dtype | None = int32,
    key: array | None = None,
    stream: Any = None,
) -> array:
    """Integers from low to high - 1 with equal probability.

    They come from uniform numbers in float32, so that of more than 2**24 integers not all can occur.

    Args:
        low, high: the bounds, scalars or arrays that broadcast to ``shape``.
        shape: of the result.
        dtype: an integer type or bool.
        key: where the numbers come from; None takes the global key.
        stream: not used.

    Raises:
        ValueError: if ``dtype`` is inexact or a bound does not broadcast to ``shape``.

    >>> import arrax.core as mx
    >>> set(mx.random.randint(0, 3, (100,)).tolist()) <= {0, 1, 2}
    True
    """
    check_stream("randint", stream)
    dtype = int32 if dtype is None else _dtype("randint", dtype)
    if dtype.is_inexact:
        raise ValueError(f"[randint] expected an integer dtype or bool, got {dtype.name}: cast the samples instead")
    first, end = as_node("randint", low), as_node("randint", high)
    u = _unit("randint", key, _shape("randint", shape), float32)
    u = between("randint", u, p.cast(first, float32), p.cast(end, float32))
    end = p.cast(end, int32) if end.dtype is bool_ else end
    work = uint8 if dtype is bool_ else dtype
    sample, least, most = (
        p.cast(p.cast(x, dtype), work) for x in (p.floor(u), first, p.sub(end, constant(1, end.dtype)))
    )
    return _wrap(p.cast(p.maximum(p.minimum(sample, most), least), dtype))


def bernoulli(
    p: float | array = 0.5, shape: Sequence[int] | None = None, key: array | None = None, stream: Any = None
) -> array:
    """Booleans that are true with probability ``p``.

    Args:
        p: the probability, a float or an array of floats that broadcasts to ``shape``.
        shape: of the result; None stands for the shape of ``p``.
        key: where the numbers come from; None takes the global key.
        stream: not used.

    Raises:
        ValueError: if ``p`` is not floating point or does not broadcast to ``shape``.

    >>> import arrax.core as mx
    >>> mx.random.bernoulli(mx.array([0.0, 1.0])).tolist()
    [False, True]
    """
    check_stream("bernoulli", stream)
    probability = as_node("bernoulli", p)
    if not probability.dtype.is_float:
        raise ValueError(f"[bernoulli] expected a floating-point p, got {probability.dtype.name}: pass 1.0 for 1")
    target = probability.shape if shape is None else _shape("bernoulli", shape)
    if broadcast_shapes("bernoulli", target, probability.shape) != target:
        raise ValueError(
            f"[bernoulli] expected p to broadcast to shape {list(target)}, got {list(probability.shape)}: "
            "pass the full shape"
        )
    return _wrap(_less(_unit("bernoulli", key, target, float32), probability))


def _less(u: Node, probability: Node) -> Node:
    dtype = promote(float32, probability.dtype)
    return p.less(p.cast(u, dtype), p.cast(probability, dtype))


def truncated_normal(
    lower: float | array,
    upper: float | array,
    shape: Sequence[int] | None = None,
    dtype: Dtype | None = float32,
    key: array | None = None,
    stream: Any = None,
) -> array:
    """Standard normal numbers given that they lie between ``lower`` and ``upper``.

    Args:
        lower, upper: the bounds, scalars or arrays that broadcast to ``shape``.
        shape: of the result; None stands for the bounds' common shape.
        dtype: float16, bfloat16 or float32.
        key: where the numbers come from; None takes the global key.
        stream: not used.

    Raises:
        ValueError: if ``dtype`` is not floating point or a bound does not broadcast to ``shape``.

    >>> import arrax.core as mx
    >>> x = mx.random.truncated_normal(0, 2, (50,))
    >>> (x >= 0).all().item(), (x <= 2).all().item()
    (True, True)
    """
    check_stream("truncated_normal", stream)
    op = "truncated_normal"
    dtype = _drawn(op, dtype)
    low, high = p.cast(as_node(op, lower), dtype), p.cast(as_node(op, upper), dtype)
    target = broadcast_shapes(op, low.shape, high.shape) if shape is None else _shape(op, shape)
    root2 = constant(math.sqrt(2), dtype)
    u = between(op, _unit(op, key, target, dtype), p.erf(p.div(low, root2)), p.erf(p.div(high, root2)))
    x = p.mul(root2, p.erfinv(u))
    # where u is rounded to 1, x is infinite: a bound that is, too, is as far as other samples go
    far = p.mul(root2, p.erfinv(constant(_BELOW_ONE[dtype], dtype)))
    most = p.where(p.equal(high, constant(math.inf, dtype)), p.maximum(far, low), high)
    least = p.where(p.equal(low, constant(-math.inf, dtype)), p.minimum(p.neg(far), high), low)
    return _wrap(p.maximum(p.minimum(x, most), least))


def _gumbel(op: str, key: Any, shape: Shape, dtype: Dtype) -> Node:
    return p.neg(p.log(p.neg(p.log(_unit(op, key, shape, dtype)))))


def gumbel(
    shape: Sequence[int] = (), dtype: Dtype | None = float32, key: array | None = None, stream: Any = None
) -> array:
    """Numbers from the standard Gumbel distribution, whose distribution function is exp(-exp(-x)).

    Args:
        shape: of the result.
        dtype: float16, bfloat16 or float32.
        key: where the numbers come from; None takes the global key.
        stream: not used.

    Raises:
        ValueError: if ``dtype`` is not floating point.

    >>> import arrax.core as mx
    >>> mx.random.gumbel((2, 2)).shape
    (2, 2)
    """
    check_stream("gumbel", stream)
    return _wrap(_gumbel("gumbel", key, _shape("gumbel", shape), _drawn("gumbel", dtype)))


def categorical(
    logits: array,
    axis: int = -1,
    shape: Sequence[int] | None = None,
    num_samples: int | None = None,
    key: array | None = None,
    stream: Any = None,
) -> array:
    """Positions along ``axis``, each with a probability proportional to the exponential of its logit.

    Args:
        logits: unnormalised logarithms of the probabilities.
        axis: the axis that holds one distribution.
        shape: of the result; the shape of ``logits`` without ``axis`` must broadcast to it.
        num_samples: how many positions to draw from each distribution; they become the last axis.
        key: where the numbers come from; None takes the global key.
        stream: not used.

    Returns:
        Positions of type uint32; with neither ``shape`` nor ``num_samples``, one from each distribution.

    Raises:
        ValueError: if both ``shape`` and ``num_samples`` are given, ``shape`` does not fit or there is nothing to draw.

    >>> import arrax.core as mx
    >>> mx.random.categorical(mx.array([0.0, -float("inf"), -float("inf")]), num_samples=3).tolist()
    [0, 0, 0]
    """
    check_stream("categorical", stream)
    op = "categorical"
    node = array_node(op, logits)
    axis = normalize_axis(op, axis, node.ndim)
    if shape is not None and num_samples is not None:
        raise ValueError(f"[{op}] expected shape or num_samples, got both: leave one of them out")
    rest = (*node.shape[:axis], *node.shape[axis + 1 :])
    drawn, from_end = node.shape, axis - node.ndim
    if num_samples is not None:
        drawn = (*node.shape, *as_shape(op, as_int(op, num_samples, "num_samples")))
        node = reshape(node, (*node.shape, 1))
        from_end -= 1
    elif shape is not None:
        target = _shape(op, shape)
        if broadcast_shapes(op, target, rest) != target:
            raise ValueError(
                f"[{op}] expected a shape that {list(rest)} broadcasts to, got {list(target)}: add the missing axes"
            )
        at = len(target) + 1 + from_end
        drawn = (*target[:at], node.shape[axis], *target[at:])
    single = math.prod(rest) == 1  # MLX draws from one distribution in another way, which may be no numbers
    if not node.shape[axis] or (0 in drawn and not single):
        raise ValueError(f"[{op}] expected something to draw from, got shape {list(drawn)}: leave out empty axes")
    dtype = promote(float32, node.dtype)
    node = p.cast(node, dtype)
    at = len(drawn) + from_end
    target = (*drawn[:at], *drawn[at + 1 :])
    if target and single:
        u = p.cast(_unit(op, key, target, float32), dtype)
        return _wrap(by_cumulative_distribution(reshape(node, (node.size,)), u))
    noisy = p.add(node, p.cast(_gumbel(op, key, drawn, float32), dtype))
    return _wrap(reshape(reduce(argmax_p, noisy, (at,)), target))


def laplace(
    shape: Sequence[int] = (),
    dtype: Dtype | None = float32,
    loc: float = 0.0,
    scale: float = 1.0,
    key: array | None = None,
    stream: Any = None,
) -> array:
    """Numbers from the Laplace distribution.

    Args:
        shape: of the result.
        dtype: a floating-point type.
        loc: the mean.
        scale: the mean distance from it.
        key: where the numbers come from; None takes the global key.
        stream: not used.

    Raises:
        ValueError: if ``dtype`` is not floating point.

    >>> import arrax.core as mx
    >>> mx.random.laplace((3,), loc=2.0, scale=0.0).tolist()
    [2.0, 2.0, 2.0]
    """
    check_stream("laplace", stream)
    loc, scale = as_number("laplace", loc, "loc"), as_number("laplace", scale, "scale")
    dtype = _real("laplace", dtype)
    u = _symmetric("laplace", key, _shape("laplace", shape))
    x = p.cast(p.mul(p.sign(u), p.log1p(p.neg(p.abs_(u)))), dtype)
    x = x if scale == 1 else p.mul(x, constant(float(scale), dtype))
    return _wrap(x if loc == 0 else p.add(x, constant(float(loc), dtype)))


def permutation(x: int | array, axis: int = 0, key: array | None = None, stream: Any = None) -> array:
    """The numbers below ``x`` in random order, or an array's slices along ``axis`` in random order.

    Args:
        x: how many numbers, or the array.
        axis: along which an array is shuffled.
        key: where the numbers come from; None takes the global key.
        stream: not used.

    Raises:
        TypeError: if ``x`` is neither an integer nor an array.
        IndexError: if the array has no such axis.

    >>> import arrax.core as mx
    >>> sorted(mx.random.permutation(4).tolist())
    [0, 1, 2, 3]
    """
    check_stream("permutation", stream)
    op = "permutation"
    if isinstance(x, Handle):
        axis = normalize_axis(op, axis, x._node.ndim)
        return _wrap(take(x._node, argsort(_bits(op, key, (x._node.shape[axis],)), 0), axis))
    return _wrap(argsort(_bits(op, key, as_shape(op, as_int(op, x, "x"))), 0))
