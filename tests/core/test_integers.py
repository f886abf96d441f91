"""Whoever wants integers takes those of NumPy and arrays as well: the result is that of plain ints."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import arrax.core as mx
import arrax.nn as nn

# One integer, ``n``: what is made with it.
ONE = """
mx.split(x, n) mx.split(y, n, n) mx.array_split(x, n) mx.reshape(x, [n, -1]) x.reshape(n, -1) mx.zeros(n)
mx.zeros((n, 3)) mx.full([n], 1) mx.eye(n, n + 1, n) mx.identity(n) mx.tri(n, n, n) mx.tril(z, n) mx.triu(z, n)
mx.diag(x, n) mx.diagonal(y, n, n, 0) mx.trace(y, n, 0, n) mx.linspace(0, 1, n) mx.topk(x, n) mx.partition(x, n)
mx.argpartition(x, n) mx.repeat(x, n) mx.tile(x, n) mx.roll(x, n) mx.roll(y, n, n) mx.pad(x, n) mx.pad(y, [(n, 0)])
mx.expand_dims(x, n - 1) mx.squeeze(y[:, :, :1], n) mx.swapaxes(y, 0, n) mx.moveaxis(y, n, 0) mx.transpose(y, [n, 0, 1])
y.transpose(n, 0, 1) mx.flatten(y, 0, n) mx.unflatten(x, n - 2, (n, 4)) mx.unstack(y, axis=n) mx.concatenate([y, y], n)
mx.stack([y, y], n) mx.take(y, mx.array([0]), n) mx.sum(y, n) mx.softmax(y, n) mx.argmax(y, n) mx.cumsum(y, n)
mx.sort(y, n) mx.flip(y, n) mx.var(y, n, ddof=n) mx.diff(x, n) mx.round(x / 3, n) mx.as_strided(x, (n,), (n,), n)
mx.broadcast_to(x, (n, 8)) mx.tensordot(y, mx.transpose(y, (1, 2, 0)), n) mx.vecdot(y, y, axis=n) mx.hanning(n)
mx.unique(x, n) mx.rot90(z, n) mx.tril_indices(n, n, n) mx.bincount(mx.array([1]), minlength=n)
mx.conv1d(s, w, n, n, n, n - 1) mx.conv2d(s[None], w[None], n, n) mx.conv_transpose1d(s, w, n, n, n, n)
mx.fft.fft(x, n) mx.fft.fft(y, axis=n) mx.fft.fftfreq(n) mx.fft.stft(x, n, n) mx.linalg.norm(y, axis=n)
mx.random.split(mx.random.key(1), n) mx.random.uniform(shape=(n,), key=k) mx.random.key(n)
mx.random.categorical(y, n, num_samples=n, key=k) mx.random.permutation(y, n, key=k)
mx.fast.rope(y[None], n, traditional=False, base=9.0, scale=1.0, offset=n) mx.quantize(mx.ones((2, 64)), 32 * n, n)
mx.grad(lambda a, b, c: (a * b * c).sum(), n)(x, x, x) mx.histogram(x, n) mx.hadamard_transform(x, n)
nn.Linear(n, 3).weight.shape nn.Embedding(n, n).weight.shape nn.Conv1d(n, n, n).weight.shape nn.LayerNorm(n).weight
nn.Conv2d(n, n, n, n, n, n, n)(mx.ones((1, 8, 8, 2))).shape nn.ConvTranspose2d(n, n, n, n)(mx.ones((1, 4, 4, 2))).shape
nn.MaxPool2d(n)(mx.ones((1, 4, 4, 1))) nn.AvgPool1d(n, n, n - 1)(s) nn.Upsample(n)(s) nn.GRU(n, n).Wx.shape
nn.MultiHeadAttention(2 * n, n).query_proj.weight.shape nn.GroupNorm(n, 2 * n)(mx.ones((1, 3, 4)))
nn.Bilinear(n, n, n).weight.shape
"""

# Several integers: ``h`` is (0, 1), ``i`` is (1, 2), ``j`` is (2, 3).
SEVERAL = """
mx.split(x, j) mx.array_split(x, j) mx.reshape(v, i) v.reshape(i) mx.unflatten(v, 0, i) mx.zeros(i) mx.ones(i)
mx.full(i, 1) mx.broadcast_to(x[0], i) mx.sum(y, h) mx.softmax(y, h) mx.var(y, axis=h) mx.flip(y, h) mx.tile(x, i)
mx.pad(x, i) mx.pad(y, [i, h, j]) mx.transpose(z, h) z.transpose(h) mx.expand_dims(y, i)
mx.squeeze(y[:, :1, :1], i) mx.roll(x, i) mx.roll(y, i, h) mx.moveaxis(y, h, i) mx.as_strided(x, i, h)
mx.random.normal(i, key=k) mx.random.randint(0, 9, i, key=k) mx.fft.fft2(y, j) mx.fft.fftn(y, axes=i)
mx.linalg.norm(y, axis=i) mx.tensordot(y, y, [i, i]) mx.tensordot(z, z, [h, h]) mx.logsumexp(y, h) mx.fft.fftshift(y, i)
mx.conv2d(s[None], w[None], i, i, i) mx.rot90(y, 1, i) mx.slice(z, mx.array([0]), (0,), i) mx.broadcast_shapes(i, i)
mx.grad(lambda *a: (a[0] * a[1] * a[2]).sum(), i)(x, x, x) nn.MaxPool2d(i, i)(mx.ones((1, 4, 4, 1)))
nn.Conv2d(1, 1, i, i).weight.shape
"""


def expressions(text: str) -> list[str]:
    """One for each ``mx.``, ``nn.``, or method at depth 0."""
    found, depth, start = [], 0, 0
    for at, letter in enumerate(text):
        depth += (letter in "([") - (letter in ")]")
        if letter in " \n" and not depth:
            found.append(text[start:at].strip())
            start = at
    return [f for f in found if f]


def evaluated(expression: str, **names: Any) -> Any:
    y = mx.arange(2 * 3 * 4).reshape(2, 3, 4) / 4
    arrays = {"x": mx.arange(8), "y": y, "z": y[0], "v": mx.arange(2), "k": mx.random.key(3)}
    arrays |= {"s": mx.arange(16).reshape(1, 8, 2) / 4, "w": mx.ones((2, 2, 2))}
    return eval(expression, {"mx": mx, "nn": nn, **arrays, **names})


def plain(result: Any) -> Any:
    """Shapes and elements; that sizes are ints is part of it."""
    if isinstance(result, mx.array):
        assert all(type(n) is int for n in result.shape), result.shape
        return str(result.dtype), result.shape, np.asarray(result).tolist()
    return [plain(r) for r in result] if isinstance(result, list | tuple) else result


INTEGERS: dict[str, Callable[[int], Any]] = {
    "np.int64": np.int64,
    "np.uint8": np.uint8,
    "np.array": np.array,
    "mx.array": mx.array,
    "mx.array, int16": lambda n: mx.array(n, mx.int16),
    "subclass of int": type("Int", (int,), {}),
}
SEQUENCES: dict[str, Callable[[Any], Any]] = {
    "list of NumPy's": lambda i: [np.int64(n) for n in i],
    "tuple of arrays": lambda i: tuple([mx.array(n) for n in i]),
    "np.array": np.array,
    "np.array, uint8": lambda i: np.array(i, np.uint8),
    "mx.array": mx.array,
    "lazy": lambda i: mx.array(i) + 0,
    "range": lambda i: range(i[0], i[1] + 1),
}


@pytest.mark.parametrize("expression", expressions(ONE))
def test_integers(expression: str) -> None:
    wanted = plain(evaluated(expression, n=2))
    wrong = []
    for name, make in INTEGERS.items():
        try:
            found: Any = plain(evaluated(expression, n=make(2)))
        except Exception as error:
            found = repr(error)
        if found != wanted:
            wrong.append(f"{name}: {found}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("expression", expressions(SEVERAL))
def test_sequences(expression: str) -> None:
    wanted = plain(evaluated(expression, h=(0, 1), i=(1, 2), j=(2, 3)))
    wrong = []
    for name, make in SEQUENCES.items():
        try:
            found: Any = plain(evaluated(expression, h=make([0, 1]), i=make([1, 2]), j=make([2, 3])))
        except Exception as error:
            found = repr(error)
        if found != wanted:
            wrong.append(f"{name}: {found}")
    assert not wrong, "\n".join(wrong)


# Numbers that nobody means, ``n``: refused, or recorded as anything else, in no time and no memory.
HUGE = """
mx.array_split(x, n) mx.split(x[:0], n) mx.split(x, [n, -n]) mx.round(x / 3, n) mx.round(x / 3, -n) mx.tile(x, n)
mx.repeat(x, n) mx.pad(x, n) mx.pad(x, n, "edge") mx.pad(x, n, "reflect") mx.pad(x, n, "symmetric") mx.roll(x, n)
mx.hanning(n) mx.hamming(n) mx.blackman(n) mx.bartlett(n) mx.diff(x, n) mx.rot90(z, n) mx.eye(n) mx.tri(n, n, -n)
mx.identity(n) mx.linspace(0, 1, n) mx.arange(n) mx.logspace(0, 1, n) mx.geomspace(1, 2, n) mx.zeros((n, n))
mx.full(n, 1) mx.diag(x, n) mx.diag(x, -n) mx.diagonal(z, n) mx.trace(z, -n) mx.expand_dims(x, n) mx.topk(x, n)
mx.as_strided(x, (n,), (0,)) mx.as_strided(x, (n, n), (n, n), n) mx.broadcast_to(x, (n, 8)) mx.tensordot(y, y, n)
mx.var(x, ddof=n) mx.unique(x, n) mx.bincount(x, length=n) mx.bincount(x, minlength=n) mx.histogram(x, n)
mx.conv1d(s, w, n, n, n, n) mx.conv1d(s, w, padding=n) mx.conv1d(s, w, dilation=n) mx.conv_transpose1d(s, w, n, 0, n)
mx.fft.fft(x, n) mx.fft.fftfreq(n) mx.fft.stft(x, n) mx.fft.stft(x, 4, n) mx.random.split(k, n) mx.random.key(n)
mx.random.uniform(shape=(n,)) mx.random.categorical(x, num_samples=n) mx.random.permutation(n)
mx.fast.rope(y[None], n, traditional=False, base=9.0, scale=1.0, offset=n) mx.quantize(mx.ones((2, 64)), n, n)
mx.linalg.matrix_power(mx.eye(2), n) mx.linalg.norm(y, n) mx.hadamard_transform(x, n) mx.left_shift(x, n)
mx.tril_indices(n) nn.Linear(n, n) nn.Embedding(n, n) nn.Conv2d(n, n, n) nn.MaxPool2d(n)(s[None]) nn.GRU(n, n)
nn.ALiBi.create_alibi_slope(n) nn.SinusoidalPositionalEncoding(2 * (n // 2)) nn.GroupNorm(n, n) nn.Upsample(n)(s)
mx.unflatten(x, 0, (n,)) mx.polyval(x, n) mx.gradient(x, edge_order=n) mx.fast.rms_norm(x / 2, None, n)
"""


@pytest.mark.parametrize("expression", expressions(HUGE))
def test_huge(expression: str) -> None:
    def stop(*_: Any) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    try:
        for n in (2**31 - 1, 2**33, 10**30, 10**5000):
            try:
                evaluated(expression, n=n)
            except (TypeError, ValueError, OverflowError, MemoryError) as error:
                assert len(str(error)) < 300 and "\n" not in str(error) and "] " in str(error), str(error)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
