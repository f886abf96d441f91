"""The short-time Fourier transform: compared with MLX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core
import numpy as np
import pytest

import arrax.core as mx
from arrax.runtime import executor

EXPRESSIONS = """
mx.fft.stft(normal(2, 100),16)
mx.fft.stft(normal(2, 100),16,4)
mx.fft.stft(normal(2, 100),15)
mx.fft.stft(normal(2, 100),15,3)
mx.fft.stft(normal(2, 100),16,4,8)
mx.fft.stft(normal(2, 100),16,4,7)
mx.fft.stft(normal(2, 100),16,4,32)
mx.fft.stft(normal(2, 100),16,4,8,mx.ones(8))
mx.fft.stft(normal(2, 100),16,4,8,mx.ones(16))
mx.fft.stft(normal(2, 100),16,4,None,mx.ones(16))
mx.fft.stft(normal(2, 100),16,4,None,mx.ones(8))
mx.fft.stft(normal(2, 100),16,4,None,mx.ones(7))
mx.fft.stft(normal(2, 100),16,4,None,mx.ones((2,8)))
mx.fft.stft(normal(2, 100),16,4,None,mx.ones(32))
mx.fft.stft(normal(2, 100),16,4,None,mx.ones(16).astype(mx.int32))
mx.fft.stft(normal(2, 100),16,4,None,mx.ones(16).astype(mx.complex64))
mx.fft.stft(normal(2, 100),16,4,None,mx.ones(16).astype(mx.float16))
mx.fft.stft(normal(2, 100),16,center=False)
mx.fft.stft(normal(2, 100),16,pad_mode="constant")
mx.fft.stft(normal(2, 100),16,pad_mode="edge")
mx.fft.stft(normal(2, 100),16,pad_mode="symmetric")
mx.fft.stft(normal(2, 100),16,norm="ortho")
mx.fft.stft(normal(2, 100),16,norm="forward")
mx.fft.stft(normal(2, 100),16,norm="foo")
mx.fft.stft(normal(2, 100),16,onesided=False)
mx.fft.stft(normal(2, 100),15,onesided=False)
mx.fft.stft(normal(2, 100).astype(mx.complex64),16)
mx.fft.stft(normal(2, 100).astype(mx.complex64),16,onesided=True)
mx.fft.stft(normal(2, 100).astype(mx.float16),16)
mx.fft.stft(normal(2, 100).astype(mx.int32),16)
mx.fft.stft(normal(2, 100)>0,16)
mx.fft.stft(normal(2, 100)[0],16)
mx.fft.stft(normal(2, 100)[0,0],16)
mx.fft.stft(normal(2, 100)[None],16)
mx.fft.stft(normal(2, 100))
mx.fft.stft(normal(2, 100),256)
mx.fft.stft(normal(2, 100),201)
mx.fft.stft(normal(2, 100),199)
mx.fft.stft(normal(2, 100),200)
mx.fft.stft(normal(2, 100),256,pad_mode="constant")
mx.fft.stft(normal(2, 100),256,pad_mode="edge")
mx.fft.stft(normal(2, 100),101,center=False)
mx.fft.stft(normal(2, 100),100,center=False)
mx.fft.stft(normal(2, 100),0)
mx.fft.stft(normal(2, 100),1)
mx.fft.stft(normal(2, 100),2)
mx.fft.stft(normal(2, 100),3)
mx.fft.stft(normal(2, 100),-3)
mx.fft.stft(normal(2, 100),16,0)
mx.fft.stft(normal(2, 100),16,-1)
mx.fft.stft(normal(2, 100),16,40)
mx.fft.stft(normal(2, 100),16,4,0)
mx.fft.stft(normal(2, 100),16,4,-1)
mx.fft.stft(normal(2, 100)[:0],16)
mx.fft.stft(normal(2, 100)[:,:0],16)
mx.fft.stft(3.0,16)
mx.fft.stft(normal(2, 100),"a")
mx.fft.stft(normal(2, 100),16.0)
mx.fft.stft(normal(2, 100),16,window="hann")
mx.fft.istft(mx.fft.stft(normal(2, 100), 16))
mx.fft.istft(mx.fft.stft(normal(2, 100), 16),16)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16),15)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16),17)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16),18)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16),16,4)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16),16,2)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16),16,0)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16),16,4,8)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16),16,4,32)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16),16,4,None,mx.ones(16))
mx.fft.istft(mx.fft.stft(normal(2, 100), 16),16,4,None,mx.ones(8))
mx.fft.istft(mx.fft.stft(normal(2, 100), 16),16,4,None,mx.ones(32))
mx.fft.istft(mx.fft.stft(normal(2, 100), 16),16,4,None,mx.zeros(16))
mx.fft.istft(mx.fft.stft(normal(2, 100), 16),16,4,None,mx.ones(16).astype(mx.complex64))
mx.fft.istft(mx.fft.stft(normal(2, 100), 16),16,center=False)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16),16,norm="ortho")
mx.fft.istft(mx.fft.stft(normal(2, 100), 16),16,norm="forward")
mx.fft.istft(mx.fft.stft(normal(2, 100), 16),16,norm="foo")
mx.fft.istft(mx.fft.stft(normal(2, 100), 16),onesided=False)
mx.fft.istft(mx.fft.stft(normal(2, 100),16,onesided=False),onesided=False)
mx.fft.istft(mx.fft.stft(normal(2, 100),15,onesided=False),onesided=False)
mx.fft.istft(mx.fft.stft(normal(2, 100).astype(mx.complex64),16),onesided=False)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16),16,length=100)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16),16,length=10)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16),16,length=200)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16),16,length=0)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16),16,length=-1)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16),16,center=False,length=50)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16).real,16)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16).astype(mx.float32),16)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16)[0,0],16)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16)[0],16)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16)[None],16)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16)[:,:0],16)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16)[:,:,:0],16)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16)[:,:,:1],16)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16)[:,:,:1],16,center=False)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16)[:0],16)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16)[:,:1])
mx.fft.istft(mx.fft.stft(normal(2, 100), 16)[:,:1],1)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16)[:,:1],0)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16)[:,:1],onesided=False)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16),16,20)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16),16,20,center=False)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16),16,12)
mx.fft.istft(3.0)
mx.fft.stft(normal(2, 100), 16, 3, window=normal(9, seed=1))
mx.fft.stft(normal(2, 100) + 1j * normal(2, 100, seed=1), 16, onesided=True)
mx.fft.stft(normal(2, 100) + 1j * normal(2, 100, seed=1), 16, window=normal(12, seed=1))
mx.fft.stft(normal(2, 100), 16, 3, window=normal(9, seed=1) * 1j)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16), 16, 4, window=mx.hanning(16))
mx.fft.istft(mx.fft.stft(normal(2, 100), 16), 16, 4, window=mx.hanning(16), center=False)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16), 16, 5, window=mx.hanning(12))
mx.fft.istft(mx.fft.stft(normal(2, 100), 16), 16, 4, window=normal(16) + 1j * normal(16, seed=1))
mx.fft.istft(mx.fft.stft(normal(2, 100), 16), 16, 4, window=mx.ones(16) * 1e-5)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16), 16, length=104)
mx.fft.istft(mx.fft.stft(normal(2, 100), 16), 16, length=99)
mx.fft.istft(mx.fft.stft(normal(100), 16, 1), 16, 1)
mx.fft.istft(mx.fft.stft(normal(100) * 1j, 16), 16, onesided=False)
"""


@pytest.mark.parametrize("expression", EXPRESSIONS.strip().splitlines())
def test_like_mlx(agree: Callable[..., None], expression: str) -> None:
    agree(expression)


def test_there_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "SMALL", 0)
    x = mx.random.normal((3, 1000))
    window = mx.hanning(256)
    for n, hop in ((256, 64), (257, 50), (300, 17)):
        spectrum = mx.fft.stft(x, n, hop, window=window)
        back = mx.fft.istft(spectrum, n, hop, window=window, length=1000)
        sure = (1000 - n // 2) // hop * hop  # behind that no frame may have been left over
        assert mx.allclose(back[:, :sure], x[:, :sure], atol=1e-4)


def test_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "SMALL", 0)
    x = np.random.RandomState(0).randn(2, 50).astype(np.float32)
    weights = np.random.RandomState(1).rand(9, 13).astype(np.float32)

    def gradients(m: Any) -> list[np.ndarray]:
        w, c = m.hanning(14), m.array(weights)

        def spectrum(x: Any) -> Any:
            return m.sum(m.abs(m.fft.stft(x, 16, 4, window=w) + 0.1) * c)

        def signal(r: Any) -> Any:
            return m.sum(m.sin(m.fft.istft(r + 1j * (r * r), 16, 4, window=w)))

        return [np.array(m.grad(f)(m.array(v))) for f, v in ((spectrum, x), (signal, weights))]

    for ours, theirs in zip(gradients(mx), gradients(mlx.core), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def test_vmap() -> None:
    x = mx.random.normal((3, 2, 64))
    assert mx.allclose(mx.vmap(lambda a: mx.fft.stft(a, 16))(x), mx.fft.stft(x, 16), atol=1e-5)
    z = mx.fft.stft(x, 16)
    assert mx.allclose(mx.vmap(lambda a: mx.fft.istft(a, 16))(z), mx.fft.istft(z, 16), atol=1e-5)


@pytest.mark.parametrize("window", ["none", "float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("signal", ["float16", "bfloat16", "float32", "float64"])
def test_signals_and_windows_of_any_precision(signal: str, window: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "SMALL", 0)
    x = mx.array(np.random.RandomState(0).randint(-8, 9, (2, 64)), dtype=getattr(mx, signal))
    taper = None if window == "none" else (mx.arange(16) % 5 + 1).astype(getattr(mx, window))
    back = mx.fft.istft(mx.fft.stft(x, 16, 4, window=taper), 16, 4, window=taper)
    double = "float64" in (signal, window)
    assert back.dtype == (mx.float64 if double else mx.float32)
    accuracy = 1e-12 if double and window in ("none", "float64") else 1e-5
    np.testing.assert_allclose(np.array(back), np.array(x.astype(mx.float64)), rtol=0, atol=8 * accuracy)
