"""Initializers: functions that return a function from an array to a new array of the same shape.

>>> import arrax.core as mx
>>> import arrax.nn as nn
>>> nn.init.constant(0.5)(mx.zeros((2, 2)))
array([[0.5, 0.5],
       [0.5, 0.5]], dtype=float32)
"""

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, Literal

import arrax.core as mx
from arrax.nn.arguments import arrays, shown

__all__ = [
    "constant",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "normal",
    "orthogonal",
    "sparse",
    "uniform",
]

Initializer = Callable[[mx.array], mx.array]
FanMode = Literal["fan_in", "fan_out"]


def _of_array(function: Callable[..., mx.array]) -> Callable[..., mx.array]:
    """An initializer that raises TypeError for what is no array."""

    @wraps(function)
    def checked(a: mx.array, *args: Any, **kwargs: Any) -> mx.array:
        arrays("init", a=a)
        return function(a, *args, **kwargs)

    return checked


def constant(value: float, dtype: mx.Dtype = mx.float32) -> Initializer:
    """Fill an array with ``value``."""

    @_of_array
    def initializer(a: mx.array) -> mx.array:
        return mx.full(a.shape, value, dtype=dtype)

    return initializer


def normal(mean: float = 0.0, std: float = 1.0, dtype: mx.Dtype = mx.float32) -> Initializer:
    """Draw from the normal distribution of the given mean and standard deviation."""

    @_of_array
    def initializer(a: mx.array) -> mx.array:
        return mx.random.normal(shape=a.shape, scale=std, loc=mean, dtype=dtype)

    return initializer


def uniform(low: float = 0.0, high: float = 1.0, dtype: mx.Dtype = mx.float32) -> Initializer:
    """Draw from the uniform distribution on ``[low, high)``."""

    @_of_array
    def initializer(a: mx.array) -> mx.array:
        return mx.random.uniform(low, high, a.shape, dtype=dtype)

    return initializer


def identity(dtype: mx.Dtype = mx.float32) -> Initializer:
    """The identity matrix. The initializer raises ValueError if the array is no square matrix."""

    @_of_array
    def initializer(a: mx.array) -> mx.array:
        if a.ndim != 2 or a.shape[0] != a.shape[1]:
            raise ValueError(f"[init.identity] the array must be a square matrix but has the shape {a.shape}.")
        return mx.eye(a.shape[0], dtype=dtype)

    return initializer


def _fan_in_and_out(a: mx.array) -> tuple[int, int]:
    """How many inputs and outputs a weight of the shape ``(outputs, ..., inputs)`` connects."""
    if a.ndim < 2:
        raise ValueError(f"[init] the array must have at least 2 dimensions but has {a.ndim}.")
    positions = math.prod(a.shape[1:-1])
    return a.shape[-1] * positions, a.shape[0] * positions


def _fan(a: mx.array, mode: str) -> int:
    fan_in, fan_out = _fan_in_and_out(a)
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"[init] mode must be 'fan_in' or 'fan_out' but is {shown(mode)}.")
    return _divisor(fan_in if mode == "fan_in" else fan_out, a)


def _divisor(n: int, a: mx.array) -> int:
    """A number of connections to divide by."""
    if not n:
        raise ValueError(f"[init] the array must have connections but has the shape {a.shape}.")
    return n


def glorot_normal(dtype: mx.Dtype = mx.float32) -> Callable[..., mx.array]:
    """Draw from a normal distribution of the standard deviation ``gain * sqrt(2 / (fan_in + fan_out))``.

    The initializer takes ``gain`` (1.0) as a second argument and raises ValueError for less than two dimensions.
    """

    @_of_array
    def initializer(a: mx.array, gain: float = 1.0) -> mx.array:
        std = gain * math.sqrt(2 / _divisor(sum(_fan_in_and_out(a)), a))
        return mx.random.normal(shape=a.shape, scale=std, dtype=dtype)

    return initializer


def glorot_uniform(dtype: mx.Dtype = mx.float32) -> Callable[..., mx.array]:
    """Draw uniformly up to the limit ``gain * sqrt(6 / (fan_in + fan_out))`` on both sides of zero.

    The initializer takes ``gain`` (1.0) as a second argument and raises ValueError for less than two dimensions.
    """

    @_of_array
    def initializer(a: mx.array, gain: float = 1.0) -> mx.array:
        limit = gain * math.sqrt(6 / _divisor(sum(_fan_in_and_out(a)), a))
        return mx.random.uniform(-limit, limit, a.shape, dtype=dtype)

    return initializer


def he_normal(dtype: mx.Dtype = mx.float32) -> Callable[..., mx.array]:
    """Draw from a normal distribution of the standard deviation ``gain / sqrt(fan)``.

    The initializer takes ``mode``, ``"fan_in"`` (the default) or ``"fan_out"``, and ``gain`` (1.0) as further
    arguments, and raises ValueError for another mode and for less than two dimensions.
    """

    @_of_array
    def initializer(a: mx.array, mode: FanMode = "fan_in", gain: float = 1.0) -> mx.array:
        std = gain / math.sqrt(_fan(a, mode))
        return mx.random.normal(shape=a.shape, scale=std, dtype=dtype)

    return initializer


def he_uniform(dtype: mx.Dtype = mx.float32) -> Callable[..., mx.array]:
    """Draw uniformly up to the limit ``gain * sqrt(3 / fan)`` on both sides of zero.

    The initializer takes ``mode``, ``"fan_in"`` (the default) or ``"fan_out"``, and ``gain`` (1.0) as further
    arguments, and raises ValueError for another mode and for less than two dimensions.
    """

    @_of_array
    def initializer(a: mx.array, mode: FanMode = "fan_in", gain: float = 1.0) -> mx.array:
        limit = gain * math.sqrt(3 / _fan(a, mode))
        return mx.random.uniform(-limit, limit, a.shape, dtype=dtype)

    return initializer


def sparse(sparsity: float, mean: float = 0.0, std: float = 1.0, dtype: mx.Dtype = mx.float32) -> Initializer:
    """Draw a matrix from a normal distribution and set the same part of every row, at random places, to zero.

    The initializer raises ValueError if the array is no matrix.

    Args:
        sparsity: the part of a row that is zero.
        mean: the mean of the distribution.
        std: its standard deviation.
        dtype: the dtype of the result.
    """

    @_of_array
    def initializer(a: mx.array) -> mx.array:
        if a.ndim != 2:
            raise ValueError(f"[init.sparse] the array must have 2 dimensions but has {a.ndim}.")
        columns = a.shape[1]
        order = mx.argsort(mx.random.uniform(shape=a.shape), axis=1)
        values = mx.random.normal(shape=a.shape, scale=std, loc=mean, dtype=dtype)
        zeros = order[:, : max(0, min(columns, math.ceil(sparsity * columns)))]
        return mx.put_along_axis(values, zeros, mx.array(0, dtype=dtype), axis=1)

    return initializer


def orthogonal(gain: float = 1.0, dtype: mx.Dtype = mx.float32) -> Initializer:
    """A random matrix whose rows or columns, whichever are fewer, are orthogonal and of the length ``gain``.

    The initializer raises ValueError if the array is no matrix.

    Args:
        gain: multiplies the matrix.
        dtype: the dtype of the result.
    """

    @_of_array
    def initializer(a: mx.array) -> mx.array:
        if a.ndim != 2:
            raise ValueError(f"[init.orthogonal] the array must be a matrix but is a {a.ndim}D array.")
        rows, columns = a.shape
        n = max(rows, columns)
        q, r = mx.linalg.qr(mx.random.normal(shape=(n, n)), stream=mx.cpu)
        # The signs make the distribution uniform over the orthogonal matrices.
        q = q * mx.sign(mx.diag(r))
        return (gain * q[:rows, :columns]).astype(dtype)

    return initializer


def __dir__() -> list[str]:
    return __all__
