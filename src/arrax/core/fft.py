"""Discrete Fourier transforms.

Numbers of double precision are transformed in it, all others in single precision.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from arrax.core.arguments import as_int, as_ints, as_number, expect
from arrax.core.axes import normalize_axis
from arrax.core.convert import array_node
from arrax.core.device import check_device, check_stream
from arrax.core.ops.math import conj
from arrax.core.ops.shape import roll
from arrax.core.stft import check_norm, istft, stft
from arrax.graph.dtypes import Dtype, float32, int32, real_of, to_complex
from arrax.graph.handle import shown, wrap
from arrax.graph.node import Node, Shape
from arrax.graph.primitive import bind
from arrax.prims import fourier
from arrax.prims import pointwise as p
from arrax.prims.leaf import constant, iota
from arrax.prims.view import broadcast, slice_, slice_update

if TYPE_CHECKING:
    from arrax.core.array import array

__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft", "irfft",
    "irfft2", "irfftn", "istft", "rfft", "rfft2", "rfftfreq", "rfftn", "stft",
]  # fmt: skip

_wrap: Callable[[Node], Any] = wrap


def _arguments(
    op: str, a: Any, s: Any, axes: Any, norm: Any, halved: bool = False
) -> tuple[Node, tuple[int, ...], tuple[int, ...]]:
    """The array, the axes to transform, and the sizes of the transforms; ``halved`` where half a spectrum comes in."""
    node = array_node(op, a)
    check_norm(op, norm)
    expect(op, tuple | None, s=s, axes=axes)
    if axes is None and s is not None:
        raise ValueError(f"[{op}] expected axes for the sizes {shown(s)}, got None: pass both")
    if axes is None and not node.ndim:
        raise ValueError(f"[{op}] expected at least one axis, got a scalar: reshape it")
    along = range(node.ndim) if axes is None else as_ints(op, axes, "axes")
    positions = tuple(normalize_axis(op, i, node.ndim) for i in along)
    if len(set(positions)) != len(positions):
        raise ValueError(f"[{op}] expected every axis once, got {shown(axes)}: leave out duplicates")
    if s is None:
        sizes = [node.shape[i] for i in positions]
        if halved and sizes:
            sizes[-1] = 2 * (sizes[-1] - 1)
    else:
        sizes = list(as_ints(op, s, "sizes"))
        if len(sizes) != len(positions):
            raise ValueError(f"[{op}] expected a size for every axis, got {shown(sizes)} for {len(positions)} axes")
    if any(n <= 0 for n in sizes):
        raise ValueError(f"[{op}] expected sizes of at least 1, got {shown(sizes)}")
    return node, positions, tuple(sizes)


def _resized(a: Node, axes: tuple[int, ...], sizes: Sequence[int]) -> Node:
    """Cut, or filled up with zeros at the end."""
    shape: Shape = a.shape
    for axis, n in zip(axes, sizes, strict=True):
        shape = (*shape[:axis], n, *shape[axis + 1 :])
    if shape == a.shape:
        return a
    a = slice_(a, tuple(map(min, a.shape, shape)), (0,) * a.ndim)
    if shape == a.shape:
        return a
    return slice_update(broadcast(constant(0, a.dtype), shape), a, (0,) * a.ndim)


def _complex(op: str, a: Any, s: Any, axes: Any, norm: str, inverse: bool) -> Any:
    node, positions, sizes = _arguments(op, a, s, axes, norm)
    if not positions:
        return _wrap(node)
    node = _resized(p.cast(node, to_complex(node.dtype)), positions, sizes)
    return _wrap(fourier.fft(node, positions, inverse, fourier.factor(norm, inverse, sizes)))


def _from_real(op: str, a: Any, s: Any, axes: Any, norm: str) -> Any:
    node, positions, sizes = _arguments(op, a, s, axes, norm)
    if not positions:
        return _wrap(node)
    node = _resized(p.cast(node, real_of(to_complex(node.dtype))), positions, sizes)
    result = fourier.rfft(node, positions[-1], fourier.factor(norm, False, sizes))
    return _wrap(fourier.fft(result, positions[:-1], False, 1.0) if positions[1:] else result)


def _to_real(op: str, a: Any, s: Any, axes: Any, norm: str) -> Any:
    node, positions, sizes = _arguments(op, a, s, axes, norm, halved=True)
    if not positions:
        return _wrap(node)
    node = _resized(p.cast(node, to_complex(node.dtype)), positions, (*sizes[:-1], sizes[-1] // 2 + 1))
    if positions[1:]:
        node = fourier.fft(node, positions[:-1], True, 1.0)
    return _wrap(fourier.irfft(node, sizes[-1], positions[-1], fourier.factor(norm, True, sizes)))


def _one(n: int | None) -> Sequence[int] | None:
    return None if n is None else [n]


# --- one axis ---------------------------------------------------------------------------------------------------------
def fft(a: array, n: int | None = None, axis: int = -1, norm: str = "backward", stream: Any = None) -> array:
    """The discrete Fourier transform along one axis.

    Args:
        a: any array; complex128 comes out for float64 and complex128, else complex64.
        n: the size of the transform: the axis is cut, or filled up with zeros.
        axis: which axis.
        norm: "backward" has the factor 1 / n in the inverse, "forward" in this transform, "ortho" its root in both.
        stream: not used.

    Raises:
        ValueError: if ``n`` is not positive or there is no such norm.
        IndexError: if there is no such axis.

    >>> import arrax.core as mx
    >>> mx.fft.fft(mx.array([1.0, 1.0])).tolist()
    [(2+0j), 0j]
    """
    check_stream("fft", stream)
    return _complex("fft", a, _one(n), [axis], norm, False)


def ifft(a: array, n: int | None = None, axis: int = -1, norm: str = "backward", stream: Any = None) -> array:
    """The inverse of :func:`fft`, with its arguments."""
    check_stream("ifft", stream)
    return _complex("ifft", a, _one(n), [axis], norm, True)


def rfft(a: array, n: int | None = None, axis: int = -1, norm: str = "backward", stream: Any = None) -> array:
    """The first ``n // 2 + 1`` terms of :func:`fft` of real numbers, which decide the others."""
    check_stream("rfft", stream)
    return _from_real("rfft", a, _one(n), [axis], norm)


def irfft(a: array, n: int | None = None, axis: int = -1, norm: str = "backward", stream: Any = None) -> array:
    """The inverse of :func:`rfft`: ``n`` real numbers, by default twice as many as there are terms, less two."""
    check_stream("irfft", stream)
    return _to_real("irfft", a, _one(n), [axis], norm)


def _swapped(norm: Any) -> Any:
    """The norm of the transform the other way round; whatever is none is left for the check."""
    return {"backward": "forward", "forward": "backward"}.get(norm, norm) if isinstance(norm, str) else norm


def hfft(a: array, n: int | None = None, axis: int = -1, norm: str = "backward", stream: Any = None) -> array:
    """The transform, ``n`` real numbers, of a signal with Hermitian symmetry of which the first half is given."""
    check_stream("hfft", stream)
    node = array_node("hfft", a)
    turned = bind(p.conj_p, (node,)) if node.dtype.is_complex else node
    return _to_real("hfft", _wrap(turned), _one(n), [axis], _swapped(norm))


def ihfft(a: array, n: int | None = None, axis: int = -1, norm: str = "backward", stream: Any = None) -> array:
    """The inverse of :func:`hfft`: the first ``n // 2 + 1`` terms of the inverse transform of real numbers."""
    check_stream("ihfft", stream)
    return conj(_from_real("ihfft", a, _one(n), [axis], _swapped(norm)))


# --- several axes -----------------------------------------------------------------------------------------------------
_Sizes = Sequence[int] | None
_LAST = (-2, -1)


def fft2(a: array, s: _Sizes = None, axes: _Sizes = _LAST, norm: str = "backward", stream: Any = None) -> array:
    """The discrete Fourier transform along two axes; see :func:`fftn`."""
    check_stream("fft2", stream)
    return _complex("fft2", a, s, axes, norm, False)


def ifft2(a: array, s: _Sizes = None, axes: _Sizes = _LAST, norm: str = "backward", stream: Any = None) -> array:
    """The inverse of :func:`fft2`."""
    check_stream("ifft2", stream)
    return _complex("ifft2", a, s, axes, norm, True)


def rfft2(a: array, s: _Sizes = None, axes: _Sizes = _LAST, norm: str = "backward", stream: Any = None) -> array:
    """The transform of real numbers along two axes; see :func:`rfftn`."""
    check_stream("rfft2", stream)
    return _from_real("rfft2", a, s, axes, norm)


def irfft2(a: array, s: _Sizes = None, axes: _Sizes = _LAST, norm: str = "backward", stream: Any = None) -> array:
    """The inverse of :func:`rfft2`."""
    check_stream("irfft2", stream)
    return _to_real("irfft2", a, s, axes, norm)


def fftn(a: array, s: _Sizes = None, axes: _Sizes = None, norm: str = "backward", stream: Any = None) -> array:
    """The discrete Fourier transform along several axes.

    Args:
        a: any array; complex128 comes out for float64 and complex128, else complex64.
        s: the sizes of the transforms, one for each of the axes, which are cut or filled up with zeros.
        axes: which axes; all by default, where no sizes are given.
        norm: as for :func:`fft`.
        stream: not used.

    Raises:
        ValueError: if the sizes do not fit the axes, an axis is given twice, or there is no such norm.
        IndexError: if there is no such axis.
    """
    check_stream("fftn", stream)
    return _complex("fftn", a, s, axes, norm, False)


def ifftn(a: array, s: _Sizes = None, axes: _Sizes = None, norm: str = "backward", stream: Any = None) -> array:
    """The inverse of :func:`fftn`."""
    check_stream("ifftn", stream)
    return _complex("ifftn", a, s, axes, norm, True)


def rfftn(a: array, s: _Sizes = None, axes: _Sizes = None, norm: str = "backward", stream: Any = None) -> array:
    """The transform of real numbers along several axes: the last of them has size ``n // 2 + 1``; see :func:`fftn`."""
    check_stream("rfftn", stream)
    return _from_real("rfftn", a, s, axes, norm)


def irfftn(a: array, s: _Sizes = None, axes: _Sizes = None, norm: str = "backward", stream: Any = None) -> array:
    """The inverse of :func:`rfftn`; the sizes are those of the result."""
    check_stream("irfftn", stream)
    return _to_real("irfftn", a, s, axes, norm)


# --- frequencies ------------------------------------------------------------------------------------------------------
def _frequencies(op: str, n: Any, d: Any) -> tuple[int, float]:
    """The number of samples and their distance, checked."""
    n, d = as_int(op, n, "n"), as_number(op, d, "d")
    if n <= 0:
        raise ValueError(f"[{op}] expected n of at least 1, got {n}")
    if d == 0:
        raise ValueError(f"[{op}] expected a spacing d other than zero, got {d}")
    return n, d


def _over(op: str, k: Node, divisor: float, dtype: Dtype | None, device: Any) -> Any:
    check_device(op, device)
    dtype = dtype or float32
    if not dtype.is_float:
        raise ValueError(f"[{op}] expected a floating point type, got {dtype.name}: cast the result")
    return _wrap(p.div(p.cast(k, dtype), constant(divisor, dtype)))


def fftfreq(n: int, d: float = 1.0, stream: Any = None, *, dtype: Dtype | None = None, device: Any = None) -> array:
    """The frequencies of the terms of :func:`fft` of n samples at distance d: zero, positive, then negative ones.

    >>> import arrax.core as mx
    >>> mx.fft.fftfreq(4).tolist()
    [0.0, 0.25, -0.5, -0.25]
    """
    check_stream("fftfreq", stream)
    expect("fftfreq", Dtype | None, dtype=dtype)
    n, d = _frequencies("fftfreq", n, d)
    k = iota((n,), 0, int32)
    positive = p.less(k, constant((n + 1) // 2, int32))
    return _over("fftfreq", p.where(positive, k, p.sub(k, constant(n, int32))), n * d, dtype, device)


def rfftfreq(n: int, d: float = 1.0, stream: Any = None, *, dtype: Dtype | None = None, device: Any = None) -> array:
    """The frequencies of the terms of :func:`rfft` of n samples at distance d."""
    check_stream("rfftfreq", stream)
    expect("rfftfreq", Dtype | None, dtype=dtype)
    n, d = _frequencies("rfftfreq", n, d)
    return _over("rfftfreq", iota((n // 2 + 1,), 0, int32), n * d, dtype, device)


def _shifted(op: str, a: Any, axes: Any, by: Callable[[int], int]) -> Any:
    node = array_node(op, a)
    along = range(node.ndim) if axes is None else as_ints(op, axes, "axes")
    result = _wrap(node)
    for i in along:
        axis = normalize_axis(op, i, node.ndim)
        result = roll(result, by(node.shape[axis]), axis)
    return result


def fftshift(a: array, axes: int | Sequence[int] | None = None, stream: Any = None) -> array:
    """Moves the zero frequency to the middle of the given axes (all by default).

    >>> import arrax.core as mx
    >>> mx.fft.fftshift(mx.array([0, 1, -1])).tolist()
    [-1, 0, 1]
    """
    check_stream("fftshift", stream)
    return _shifted("fftshift", a, axes, lambda n: n // 2)


def ifftshift(a: array, axes: int | Sequence[int] | None = None, stream: Any = None) -> array:
    """The inverse of :func:`fftshift`."""
    check_stream("ifftshift", stream)
    return _shifted("ifftshift", a, axes, lambda n: -(n // 2))
