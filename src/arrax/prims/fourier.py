"""Discrete Fourier transforms, which SciPy computes.

The transforms are sums without a factor, times ``scale``; so each is the other's adjoint where the scales are equal.
"""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from arrax.graph.dtypes import Dtype, bool_, from_numpy, int32, real_of, to_complex
from arrax.graph.node import Node, Shape
from arrax.graph.primitive import Primitive, bind, register
from arrax.prims import pointwise as p
from arrax.prims.leaf import constant, iota
from arrax.prims.view import broadcast, slice_update


@functools.cache
def _library() -> Any:
    """Loaded when it is first used: programs start sooner."""
    return importlib.import_module("scipy.fft")


def _scaled(f: Callable[..., np.ndarray], a: np.ndarray, scale: float, dtype: Dtype, **kwargs: object) -> np.ndarray:
    found = f(a, **kwargs)
    if scale != 1:
        found *= scale
    return found.astype(dtype.np, copy=False)


# "forward" moves the library's own factor to the other transform
def _fft_reference(params: tuple, shape: Shape, dtype: Dtype, a: np.ndarray) -> np.ndarray:
    axes, inverse, scale = params
    f, norm = (_library().ifftn, "forward") if inverse else (_library().fftn, "backward")
    return _scaled(f, a, scale, dtype, axes=axes, norm=norm)


def _rfft_reference(params: tuple, shape: Shape, dtype: Dtype, a: np.ndarray) -> np.ndarray:
    axis, scale = params
    return _scaled(_library().rfft, a, scale, dtype, axis=axis)


def _irfft_reference(params: tuple, shape: Shape, dtype: Dtype, a: np.ndarray) -> np.ndarray:
    length, axis, scale = params
    return _scaled(_library().irfft, a, scale, dtype, n=length, axis=axis, norm="forward")


@functools.cache
def _in_place() -> Any:
    """SciPy's compiled transforms, which write where they are told to; None where SciPy has them elsewhere."""
    try:
        return importlib.import_module("scipy.fft._pocketfft").pypocketfft
    except (ImportError, AttributeError):
        return None


def _fft_into(out: np.ndarray, rows: np.ndarray, params: tuple, workers: int) -> None:
    _in_place().c2c(rows, (1,), not params[1], 0, out, workers)


def _rfft_into(out: np.ndarray, rows: np.ndarray, params: tuple, workers: int) -> None:
    _in_place().r2c(rows, (1,), True, 0, out, workers)


def _irfft_into(out: np.ndarray, rows: np.ndarray, params: tuple, workers: int) -> None:
    _in_place().c2r(rows, (1,), params[0], False, 0, out, workers)


def _by_rows(reference: Callable[..., np.ndarray], into: Callable[..., None], axes: int) -> Any:
    """The work on rows of a transform along the last axis; ``axes`` is where the parameters have it, before the scale.

    ``into`` writes the sums without a factor to their place.
    """

    def lower(params: tuple, ndim: int) -> Callable[[np.ndarray, np.ndarray, int], None] | None:
        axis = params[axes] if isinstance(params[axes], tuple) else (params[axes],)
        if axis != (ndim - 1,):
            return None
        last = tuple(((1,) if isinstance(p, tuple) else 1) if i == axes else p for i, p in enumerate(params))

        def work(rows: np.ndarray, out: np.ndarray, workers: int) -> None:
            if _in_place() is None or rows.dtype.char not in "fdFD":
                out[...] = reference(last, out.shape, from_numpy(out.dtype), rows)
                return
            into(out, rows, params, workers)
            if params[-1] != 1:
                out *= params[-1]

        return work

    return lower


# Complex to complex. params: (axes, inverse, scale)
fft_p = register(
    Primitive(
        "fft",
        "opaque",
        lambda inputs, params: (inputs[0].shape, inputs[0].dtype),
        _fft_reference,
        lower=_by_rows(_fft_reference, _fft_into, 0),
        vjp=lambda n, g: (fft(g, n.params[0], not n.params[1], n.params[2]),),
        batch=lambda n, inputs, batched: fft(inputs[0], tuple(i + 1 for i in n.params[0]), *n.params[1:]),
        samples=[(("c8:3,4",), ((0, 1), False, 1.0)), (("c8:3,4",), ((1,), True, 0.25))],
        cost=100,
    )
)


def _with_size(shape: Shape, axis: int, n: int) -> Shape:
    return (*shape[:axis], n, *shape[axis + 1 :])


def _rfft_vjp(n: Node, g: Node) -> tuple[Node]:
    """The other half of the spectrum does not contribute: zeros in its place."""
    axis, scale = n.params
    whole = broadcast(constant(0, g.dtype), n.inputs[0].shape)
    whole = slice_update(whole, g, (0,) * g.ndim)
    real = bind(p.real_p, (fft(whole, (axis,), True, scale),))
    return (p.cast(real, n.inputs[0].dtype),)


# Real to the first half of the complex spectrum. params: (axis, scale)
rfft_p = register(
    Primitive(
        "rfft",
        "opaque",
        lambda inputs, params: (
            _with_size(inputs[0].shape, params[0], inputs[0].shape[params[0]] // 2 + 1),
            to_complex(inputs[0].dtype),
        ),
        _rfft_reference,
        _rfft_vjp,
        lower=_by_rows(_rfft_reference, _rfft_into, 0),
        batch=lambda n, inputs, batched: rfft(inputs[0], n.params[0] + 1, n.params[1]),
        samples=[(("f4:3,4",), (1, 1.0)), (("f4:5,2",), (0, 0.2))],
        cost=100,
    )
)


def _irfft_vjp(n: Node, g: Node) -> tuple[Node]:
    """All but the first and, for an even length, the last term of the spectrum stand for two."""
    length, axis, scale = n.params
    a = n.inputs[0]
    k = iota(a.shape, axis, int32)
    single = p.equal(k, constant(0, int32))
    if length % 2 == 0:
        single = p.where(p.equal(k, constant(length // 2, int32)), constant(True, bool_), single)
    weight = p.where(single, constant(1.0, g.dtype), constant(2.0, g.dtype))
    return (p.mul(rfft(g, axis, scale), p.cast(weight, a.dtype)),)


# The first half of a complex spectrum to real. params: (length of the result, axis, scale)
irfft_p = register(
    Primitive(
        "irfft",
        "opaque",
        lambda inputs, params: (_with_size(inputs[0].shape, params[1], params[0]), real_of(inputs[0].dtype)),
        _irfft_reference,
        _irfft_vjp,
        lower=_by_rows(_irfft_reference, _irfft_into, 1),
        batch=lambda n, inputs, batched: irfft(inputs[0], n.params[0], n.params[1] + 1, n.params[2]),
        samples=[(("c8:3,4",), (6, 1, 1.0)), (("c8:3,2",), (5, 0, 0.2))],
        cost=100,
    )
)


def fft(a: Node, axes: tuple[int, ...], inverse: bool, scale: float) -> Node:
    """The transform of complex numbers along the axes; its size stays."""
    if not a.size:
        return a
    return bind(fft_p, (a,), (axes, inverse, scale))


def rfft(a: Node, axis: int, scale: float) -> Node:
    """The transform of real numbers along an axis of size n, which becomes n // 2 + 1."""
    if not a.size:
        return broadcast(constant(0, to_complex(a.dtype)), _with_size(a.shape, axis, a.shape[axis] // 2 + 1))
    return bind(rfft_p, (a,), (axis, scale))


def irfft(a: Node, n: int, axis: int, scale: float) -> Node:
    """Real numbers, n along the axis, from n // 2 + 1 terms of their spectrum."""
    if not a.size:
        return broadcast(constant(0, real_of(a.dtype)), _with_size(a.shape, axis, n))
    return bind(irfft_p, (a,), (n, axis, scale))


def factor(norm: str, inverse: bool, sizes: Shape) -> float:
    """The scale of a transform of the given sizes, by the name of its normalisation."""
    n = math.prod(sizes)
    if norm == "ortho":
        return n**-0.5
    return 1 / n if (norm == "forward") is not inverse else 1.0
