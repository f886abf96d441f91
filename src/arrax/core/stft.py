"""The short-time Fourier transform and its inverse."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from arrax.core.arguments import as_int, expect
from arrax.core.convert import array_node
from arrax.core.device import check_stream
from arrax.core.ops.indexed import pad
from arrax.graph.dtypes import Dtype, float32, promote, real_of, to_complex
from arrax.graph.handle import shown, wrap
from arrax.graph.node import Node
from arrax.graph.primitive import bind
from arrax.prims import fourier
from arrax.prims import pointwise as p
from arrax.prims.gather import as_strided
from arrax.prims.leaf import constant
from arrax.prims.reduce import reduce, sum_p
from arrax.prims.view import broadcast, move_axis, reshape, slice_, slice_update

if TYPE_CHECKING:
    from arrax.core.array import array

_wrap: Callable[[Node], Any] = wrap
_NORMS = ("backward", "ortho", "forward")
# The sum of squared windows is taken as at least this, so that samples that no window has seen come out as zeros.
_LEAST_WEIGHT = 1e-8


def _at_least_single(dtype: Dtype) -> Dtype:
    """The type in which transforms of a type are computed."""
    return to_complex(dtype) if dtype.is_complex else real_of(to_complex(dtype))


# --- arguments --------------------------------------------------------------------------------------------------------
def _positive(op: str, name: str, value: Any) -> int:
    value = as_int(op, value, name)
    if value <= 0:
        raise ValueError(f"[{op}] expected a positive {name}, got {value}: pass a larger one")
    return value


def check_norm(op: str, norm: Any) -> None:
    """Raises TypeError for what is no str, ValueError for one that is no norm of a transform."""
    expect(op, str, norm=norm)
    if norm not in _NORMS:
        raise ValueError(f"[{op}] expected a norm out of {list(_NORMS)}, got {shown(norm)}: choose one of them")


def _window(op: str, window: Any, win_length: int | None, n_fft: int) -> Node:
    """The window, one by default, in the middle of ``n_fft`` elements, in single or double precision."""
    if window is None:
        n = n_fft if win_length is None else as_int(op, win_length, "win_length")
        if n < 0:
            raise ValueError(f"[{op}] expected a win_length of at least 0, got {n}: pass a larger one")
        node = broadcast(constant(1, float32), (n,))
    else:
        node = array_node(op, window)
        if node.ndim != 1:
            raise ValueError(f"[{op}] expected a window with one axis, got {list(node.shape)}: flatten it")
        node = p.cast(node, _at_least_single(node.dtype))
    n = node.shape[0]
    if n > n_fft:
        raise ValueError(f"[{op}] expected a window of at most {n_fft} elements, got {n}: pass a larger n_fft")
    if n == n_fft:
        return node
    return slice_update(broadcast(constant(0, node.dtype), (n_fft,)), node, ((n_fft - n) // 2,))


def _times(a: Node, b: Node) -> Node:
    dtype = promote(a.dtype, b.dtype)
    return p.mul(p.cast(a, dtype), p.cast(b, dtype))


# --- forward ----------------------------------------------------------------------------------------------------------
def stft(
    x: array,
    n_fft: int = 2048,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: array | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    norm: str = "backward",
    onesided: bool | None = None,
    stream: Any = None,
) -> array:
    """The Fourier transforms of overlapping frames of a signal: how its spectrum changes in time.

    Args:
        x: shape (..., t), the signal along the last axis.
        n_fft: how many samples a frame has.
        hop_length: the distance of two frames; a quarter of ``n_fft`` unless told otherwise.
        win_length: the length of the window where none is given.
        window: shape (n,), by which each frame is multiplied, centred in it; ones by default.
        center: whether to pad the signal so that frame i has sample ``i * hop_length`` in its middle.
        pad_mode: how; see ``pad``.
        norm: the factor of the transform, as for ``fft``.
        onesided: whether to leave the negative frequencies out; by default they are for a real signal.
        stream: not used.

    Returns:
        shape (..., frequencies, frames); complex128 if the signal or the window is of double precision, else complex64.

    Raises:
        ValueError: if the signal is shorter than a frame, the window longer, or an argument out of range.

    >>> import arrax.core as mx
    >>> mx.fft.stft(mx.ones((8,)), 4, 2).shape
    (3, 5)
    """
    check_stream("stft", stream)
    op = "stft"
    node = array_node(op, x)
    n_fft = _positive(op, "n_fft", n_fft)
    hop = _positive(op, "hop_length", n_fft // 4 if hop_length is None else hop_length)
    check_norm(op, norm)
    if not node.ndim:
        raise ValueError("[stft] expected at least one axis, got a scalar: reshape it")
    taper = _window(op, window, win_length, n_fft)
    half = not node.dtype.is_complex if onesided is None else onesided
    node = p.cast(node, _at_least_single(node.dtype))
    *lead, length = node.shape
    if not length:
        raise ValueError(f"[stft] expected samples along the last axis, got shape {list(node.shape)}: leave it out")
    if center:
        widths = [(0, 0)] * len(lead) + [(n_fft // 2, n_fft // 2)]
        node = array_node(op, pad(_wrap(node), widths, mode=pad_mode))
        length = node.shape[-1]
    if length < n_fft:
        raise ValueError(f"[stft] expected at least n_fft = {n_fft} samples, got {length}: pad the signal")
    count, rows = (length - n_fft) // hop + 1, math.prod(lead)
    frames = as_strided(reshape(node, (rows * length,)), (rows, count, n_fft), (length, hop, 1), 0)
    frames = _times(frames, taper)
    scale = fourier.factor(norm, False, (n_fft,))
    if half:
        spectra = fourier.rfft(bind(p.real_p, (frames,)) if frames.dtype.is_complex else frames, 2, scale)
    else:
        spectra = fourier.fft(p.cast(frames, to_complex(frames.dtype)), (2,), False, scale)
    return _wrap(reshape(move_axis(spectra, 2, 1), (*lead, spectra.shape[2], count)))


# --- inverse ----------------------------------------------------------------------------------------------------------
def _overlap_add(frames: Node, hop: int) -> Node:
    """The sums of frames (rows, f, n) laid down at distance ``hop``: shape (rows, (f - 1) * hop + n).

    A frame is cut into k pieces of ``hop`` samples; piece j of frame f is added to piece f + j of the signal. Rows of
    f + k pieces read as rows that are shorter by one are shifted by one piece each, which puts those into one column.
    """
    rows, f, n = frames.shape
    k = -(-n // hop)
    pieces = slice_update(broadcast(constant(0, frames.dtype), (rows, f + k, k * hop)), frames, (0, 0, 0))
    pieces = move_axis(reshape(pieces, (rows, f + k, k, hop)), 2, 1)
    shifted = slice_(reshape(pieces, (rows, k * (f + k), hop)), (rows, k * (f + k - 1), hop), (0, 0, 0))
    total = reduce(sum_p, reshape(shifted, (rows, k, f + k - 1, hop)), (1,))
    return slice_(reshape(total, (rows, (f + k - 1) * hop)), (rows, (f - 1) * hop + n), (0, 0))


def istft(
    stft_matrix: array,
    n_fft: int | None = None,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: array | None = None,
    center: bool = True,
    norm: str = "backward",
    onesided: bool | None = None,
    length: int | None = None,
    stream: Any = None,
) -> array:
    """The real signal of which :func:`stft` gives a matrix; of the signals that do nearly, the one closest to it.

    Args:
        stft_matrix: shape (..., frequencies, frames).
        n_fft: how many samples a frame has; by default what ``frequencies`` says, with ``onesided`` an even number.
        hop_length, win_length, window, center, norm: as for :func:`stft`.
        onesided: whether the negative frequencies were left out; they were by default.
        length: of the result: it is cut, or filled up with zeros.
        stream: not used.

    Returns:
        shape (..., t); float64 if the spectra or the window are of double precision, else float32.

    Raises:
        ValueError: if the window is longer than a frame, or an argument out of range.

    >>> import arrax.core as mx
    >>> mx.fft.istft(mx.fft.stft(mx.arange(8.0), 4, 2), 4, 2).tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    """
    check_stream("istft", stream)
    op = "istft"
    node = array_node(op, stft_matrix)
    if node.ndim < 2:
        raise ValueError(f"[istft] expected shape (..., frequencies, frames), got {list(node.shape)}: add axes")
    *lead, terms, count = node.shape
    half = onesided is not False
    n = _positive(op, "n_fft", (2 * (terms - 1) if half else terms) if n_fft is None else n_fft)
    hop = _positive(op, "hop_length", n // 4 if hop_length is None else hop_length)
    check_norm(op, norm)
    taper = _window(op, window, win_length, n)
    if not terms or not count:
        raise ValueError(f"[istft] expected frequencies and frames, got shape {list(node.shape)}: leave it out")
    rows = math.prod(lead)
    spectra = move_axis(reshape(p.cast(node, to_complex(node.dtype)), (rows, terms, count)), 1, 2)
    used = n // 2 + 1 if half else n
    if terms != used:
        spectra = slice_(spectra, (rows, count, min(terms, used)), (0, 0, 0))
        spectra = slice_update(broadcast(constant(0, spectra.dtype), (rows, count, used)), spectra, (0, 0, 0))
    scale = fourier.factor(norm, True, (n,))
    if half:
        frames = fourier.irfft(spectra, n, 2, scale)
    else:
        frames = bind(p.real_p, (fourier.fft(spectra, (2,), True, scale),))
    weights = _overlap_add(broadcast(_times(taper, taper), (1, count, n)), hop)
    signal = _overlap_add(_times(frames, taper), hop)
    signal = p.div(signal, p.cast(_at_least(weights), signal.dtype))
    total, first = signal.shape[1], n // 2 if center else 0
    size = max(total - 2 * first if length is None else as_int(op, length, "length"), 0)
    known = max(min(size, total - first), 0)  # with a length, the end that was added for centering counts
    signal = slice_(signal, (rows, known), (0, first))
    if known != size:
        signal = slice_update(broadcast(constant(0, signal.dtype), (rows, size)), signal, (0, 0))
    return _wrap(reshape(signal, (*lead, signal.shape[1])))


def _at_least(weights: Node) -> Node:
    if weights.dtype.is_complex:
        small = p.less(bind(p.real_p, (weights,)), constant(_LEAST_WEIGHT, real_of(weights.dtype)))
        return p.where(small, constant(_LEAST_WEIGHT, weights.dtype), weights)
    return p.maximum(weights, constant(_LEAST_WEIGHT, weights.dtype))
