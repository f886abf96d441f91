"""Data, scalars, and the values that depend on coordinates alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from arrax.graph.dtypes import Dtype, bool_, converted, int32, uint32
from arrax.graph.node import Node, Shape
from arrax.graph.primitive import NONDIFF, Primitive, register


def _no_infer(inputs: tuple[Node, ...], params: tuple) -> tuple[Shape, Dtype]:
    raise TypeError("[leaf] leaves are made with their shape")


leaf = register(Primitive("leaf", "leaf", _no_infer, lambda *a: None, NONDIFF, static=lambda n: None))


def _const_reference(params: tuple, shape: Shape, dtype: Dtype) -> np.ndarray:
    with np.errstate(over="ignore"):
        return converted(np.full((), params[0]), dtype)


# A Python scalar, already of the type that it takes part with. Its value is an argument of the generated code.
const = register(
    Primitive(
        "const",
        "leaf",
        _no_infer,
        _const_reference,
        NONDIFF,
        static=lambda n: None,
    )
)

# A stand-in for an argument while a function is traced; it has no data and never will.
placeholder = register(Primitive("placeholder", "leaf", _no_infer, lambda *a: None, NONDIFF, static=lambda n: None))


def constant(value: Any, dtype: Dtype) -> Node:
    """A scalar of the given type, as a node of shape ()."""
    return Node(const, (), (value,), (), dtype)


def as_scalar(value: Any, dtype: Dtype) -> Any:
    """A scalar of whatever kind as Python's own."""
    if dtype.is_complex:
        return complex(value)
    if dtype.is_float:
        return float(value)
    return bool(value) if dtype is bool_ else int(value)


def _iota_reference(params: tuple, shape: Shape, dtype: Dtype) -> np.ndarray:
    axis = params[0]
    line = np.arange(shape[axis]).astype(dtype.np)
    return np.broadcast_to(line.reshape([-1 if i == axis else 1 for i in range(len(shape))]), shape)


# The coordinate along one axis. params: (axis, shape, dtype)
iota_p = register(
    Primitive(
        "iota",
        "source",
        lambda inputs, params: (params[1], params[2]),
        _iota_reference,
        NONDIFF,
        static=lambda n: n.params[0],
        samples=[((), (0, (5,), int32)), ((), (1, (2, 3), int32))],
    )
)


def iota(shape: Shape, axis: int, dtype: Dtype) -> Node:
    return Node(iota_p, (), (axis, shape, dtype), shape, dtype)


_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def threefry2x32(k0: Any, k1: Any, c0: Any, c1: Any) -> tuple[Any, Any]:
    """The Threefry-2x32 hash with 20 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).

    Works on anything that wraps at 32 bits and has ``+ ^ << >> |``: NumPy arrays and kernel IR values alike.
    """
    keys = (k0, k1, k0 ^ k1 ^ 0x1BD11BDA)
    x0, x1 = c0 + k0, c1 + k1
    for group in range(5):
        for r in _ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = ((x1 << r) | (x1 >> (32 - r))) ^ x0
        x0 = x0 + keys[(group + 1) % 3]
        x1 = x1 + keys[(group + 2) % 3] + (group + 1)
    return x0, x1


def _bits_infer(inputs: tuple[Node, ...], params: tuple) -> tuple[Shape, Dtype]:
    key = inputs[0]
    if key.dtype is not uint32 or key.shape[-1:] != (2,):
        raise ValueError(
            f"[bits] expected a key of type uint32 and shape (..., 2), got {key.dtype.name}{list(key.shape)}"
        )
    if params[0] > 2**32:
        raise ValueError(f"[random] expected at most 2**32 numbers of one key, got {params[0]}: split the key")
    return (*key.shape[:-1], params[0]), uint32


def _bits_reference(params: tuple, shape: Shape, dtype: Dtype, key: np.ndarray) -> np.ndarray:
    n = params[0]
    half = (n + 1) // 2
    i = np.arange(n, dtype=np.uint32)
    low = i < half
    c0 = np.where(low, i, i - np.uint32(half)).astype(np.uint32)
    c1 = (c0 + np.uint32(half)).astype(np.uint32)
    if n % 2:
        c1 = np.where(c0 == half - 1, np.uint32(0), c1)
    k0, k1 = key[..., :1].astype(np.uint32), key[..., 1:].astype(np.uint32)
    with np.errstate(over="ignore"):
        x0, x1 = threefry2x32(k0, k1, c0, c1)
    return np.where(low, x0, x1).astype(np.uint32)


# n random 32-bit words from each key of shape (..., 2). params: (n,)
random_bits_p = register(
    Primitive(
        "random_bits",
        "source",
        _bits_infer,
        _bits_reference,
        NONDIFF,
        static=lambda n: None,
        samples=[(("u4:2",), (7,)), (("u4:2",), (8,)), (("u4:3,2",), (5,))],
        cost=80,
    )
)


def random_bits(key: Node, n: int) -> Node:
    return Node(random_bits_p, (key,), (n,), *_bits_infer((key,), (n,)))
