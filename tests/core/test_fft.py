"""Fourier transforms, against MLX's."""

import mlx.core as oracle
import numpy as np
import pytest

import arrax.core as mx
from arrax.prims import fourier

oracle.set_default_device(oracle.cpu)
RNG = np.random.default_rng(0)
REAL = RNG.normal(size=(3, 4, 5)).astype(np.float32)
COMPLEX = (REAL + 1j * RNG.normal(size=REAL.shape)).astype(np.complex64)
ONE, SEVERAL = (
    ("fft", "ifft", "rfft", "irfft"),
    ("fft2", "ifft2", "rfft2", "irfft2", "fftn", "ifftn", "rfftn", "irfftn"),
)


def check(call, *arrays, tolerance=2e-5):
    ours, theirs = (call(m, *(m.array(a) for a in arrays)) for m in (mx, oracle))
    assert str(ours.dtype).split(".")[-1] == str(theirs.dtype).split(".")[-1]
    assert ours.shape == theirs.shape
    if ours.size:
        np.testing.assert_allclose(np.array(ours), np.array(theirs), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ONE)
def test_one_axis(name):
    for a in (REAL, COMPLEX, np.arange(5), np.array([True, False]), REAL.astype(np.float16)):
        check(lambda m, a: getattr(m.fft, name)(a), a)
    for n in (None, 2, 3, 8):
        for axis in (0, 1, -1):
            for norm in ("backward", "ortho", "forward"):
                check(lambda m, a, n=n, i=axis, norm=norm: getattr(m.fft, name)(a, n, i, norm), COMPLEX)
    check(lambda m, a: getattr(m.fft, name)(a), np.zeros((0, 4), np.float32))


@pytest.mark.parametrize("name", SEVERAL)
def test_several_axes(name):
    for a in (REAL, COMPLEX):
        check(lambda m, a: getattr(m.fft, name)(a), a)
        for s, axes in ((None, (0, 1)), ((2, 7), (2, 0)), ((4,), (1,)), ((2, 6, 3), (0, 1, 2)), (None, ())):
            for norm in ("backward", "ortho", "forward"):
                check(lambda m, a, s=s, i=axes, norm=norm: getattr(m.fft, name)(a, s, i, norm), a)


@pytest.mark.parametrize("name", (*ONE, "fft2", "rfft2", "irfft2", "irfftn"))
@pytest.mark.parametrize("norm", ("backward", "ortho"))
def test_derivatives(name, norm):
    """The gradient of a weighted sum, and of its square, by a real and a complex argument."""
    weight = RNG.normal(size=(3, 4, 8)).astype(np.float32)

    def loss(m, a, power):
        b = getattr(m.fft, name)(a, norm=norm)
        w = m.array(weight)[:, :, : b.shape[-1]]
        return (m.real(b) ** power * w).sum() + (m.imag(b) * w).sum() * 0.5

    for power in (1, 2):
        gradient = mx.grad(lambda a, k=power: loss(mx, a, k))(mx.array(REAL))
        direction = RNG.normal(size=REAL.shape).astype(np.float32)
        step = 1e-2
        ends = [loss(mx, mx.array(REAL + s * step * direction), power).item() for s in (1, -1)]
        slope = (ends[0] - ends[1]) / (2 * step)
        assert np.sum(np.array(gradient) * direction) == pytest.approx(slope, rel=2e-2, abs=2e-2)


def test_tangents_and_batches():
    v = RNG.normal(size=REAL.shape).astype(np.float32)
    for name in ONE:
        call = getattr(mx.fft, name)
        _, (tangent,) = mx.jvp(call, [mx.array(REAL)], [mx.array(v)])
        np.testing.assert_allclose(np.array(tangent), np.array(call(mx.array(v))), rtol=1e-4, atol=1e-5)
        batched = mx.vmap(lambda a, call=call: call(a, axis=0))(mx.array(REAL))
        np.testing.assert_allclose(np.array(batched), np.array(call(mx.array(REAL), axis=1)), rtol=1e-5, atol=1e-5)


def test_frequencies_and_shifts():
    for n in (1, 4, 5):
        for d in (1.0, 0.5):
            check(lambda m, n=n, d=d: m.fft.fftfreq(n, d), tolerance=1e-6)
            check(lambda m, n=n, d=d: m.fft.rfftfreq(n, d), tolerance=1e-6)
    for axes in (None, 0, [1], [0, 2], [-1]):
        check(lambda m, a, axes=axes: m.fft.fftshift(a, axes), REAL, tolerance=0)
        check(lambda m, a, axes=axes: m.fft.ifftshift(a, axes), REAL, tolerance=0)


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (IndexError, lambda m, a: m.fft.fft(m.array(1.0))),
        (IndexError, lambda m, a: m.fft.fft(a, axis=5)),
        (ValueError, lambda m, a: m.fft.fft(a, 0)),
        (ValueError, lambda m, a: m.fft.fft(a, norm="other")),
        (TypeError, lambda m, a: m.fft.fft(a, norm=None)),
        (TypeError, lambda m, a: m.fft.rfft(1.0)),
        (ValueError, lambda m, a: m.fft.irfft(a[:, :, :1])),
        (ValueError, lambda m, a: m.fft.fftn(m.array(1.0))),
        (ValueError, lambda m, a: m.fft.fftn(a, [3])),
        (ValueError, lambda m, a: m.fft.fft2(a, [3])),
        (ValueError, lambda m, a: m.fft.fft2(a, axes=[0, 0])),
        (IndexError, lambda m, a: m.fft.rfft2(a, axes=[0, 5])),
        (IndexError, lambda m, a: m.fft.fftshift(a, [5])),
        (ValueError, lambda m, a: m.fft.fftfreq(0)),
        (ValueError, lambda m, a: m.fft.fftfreq(3, 0.0)),
        (TypeError, lambda m, a: m.fft.rfftfreq(5.0)),
    ],
)
def test_errors_are_the_oracles(error, call):
    with pytest.raises(error) as caught:
        call(mx, mx.array(REAL))
    assert "\n" not in str(caught.value)
    with pytest.raises(error):
        oracle.eval(call(oracle, oracle.array(REAL)))


@pytest.mark.parametrize("found", (True, False))
def test_rows_with_and_without_the_compiled_transforms(monkeypatch: pytest.MonkeyPatch, found: bool) -> None:
    if not found:
        monkeypatch.setattr(fourier, "_in_place", lambda: None)
    rng = np.random.default_rng(0)
    for n in (64, 45, 2):
        x = rng.normal(size=(3, 50, n)).astype(np.float32)
        z = (x + 1j * rng.normal(size=x.shape)).astype(np.complex64)
        for norm in ("backward", "ortho", "forward"):
            pairs = (
                (mx.fft.rfft(mx.array(x), norm=norm), np.fft.rfft(x.astype(np.float64), norm=norm)),
                (mx.fft.fft(mx.array(z), norm=norm), np.fft.fft(z.astype(np.complex128), norm=norm)),
                (mx.fft.ifft(mx.array(z), norm=norm), np.fft.ifft(z.astype(np.complex128), norm=norm)),
                (mx.fft.irfft(mx.array(z), norm=norm), np.fft.irfft(z.astype(np.complex128), norm=norm)),
            )
            for ours, exact in pairs:
                np.testing.assert_allclose(ours, exact, rtol=1e-5, atol=1e-5 * max(1, np.abs(exact).max()))
