"""complex128, which MLX does not have: compared with NumPy, in double precision throughout."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import arrax.core as mx
from arrax.runtime import executor

TOLERANCE = 2e-14
SHAPES = [(), (5,), (0,), (3, 4), (2, 1, 3)]
INFINITY, NAN = float("inf"), float("nan")
SPECIAL = [
    *(complex(a, b) for a in (0.0, -0.0, 1.5, INFINITY, -INFINITY, NAN) for b in (0.0, -0.0, -2.5, INFINITY, NAN)),
    *(complex(1e200, 1e200), complex(1e-200, -1e-200), complex(-1e308, 1e308)),
]


def parts(real: np.ndarray, imag: np.ndarray) -> np.ndarray:
    result = np.empty(real.shape, np.complex128)
    result.real, result.imag = real, imag
    return result


@pytest.fixture(params=["references", "machine code"], autouse=True)
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    executor._bound.clear()
    monkeypatch.setattr(executor, "SMALL", 1 << 20 if request.param == "references" else 0)
    yield
    executor._bound.clear()


def values(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.asarray(random.normal(size=shape) + 1j * random.normal(size=shape))


def own(value: Any) -> Any:
    """An array of the same type."""
    return mx.array(value, dtype=getattr(mx, "bool_" if value.dtype == bool else value.dtype.name))


def views(a: np.ndarray) -> list[tuple[Any, np.ndarray]]:
    """The array and parts of it that are not contiguous, for both libraries."""
    x = own(a)
    found = [(x, a)]
    if a.ndim:
        found.append((x[::-2], a[::-2]))
    if a.ndim > 1:
        found += [(x.T, a.T), (x[..., 1:], a[..., 1:])]
    return found


def same(found: Any, expected: Any, tolerance: float = TOLERANCE) -> None:
    if isinstance(expected, tuple | list):
        assert len(found) == len(expected)
        for x, y in zip(found, expected, strict=True):
            same(x, y, tolerance)
        return
    want = np.asarray(expected)
    assert found.shape == want.shape
    got = np.array(found)
    assert got.dtype == want.dtype
    if want.dtype.kind in "fc":
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)
    else:
        np.testing.assert_array_equal(got, want)


# --- pointwise --------------------------------------------------------------------------------------------------------
UNARY = (
    "abs negative positive sign square reciprocal sqrt exp expm1 log log1p log2 log10 sin cos tan sinh cosh tanh "
    "arcsin arccos arctan arcsinh arccosh arctanh conj real imag isnan isinf isfinite round logical_not"
)
BINARY = "add subtract multiply divide power equal not_equal logical_and logical_or"


@pytest.mark.parametrize("name", UNARY.split())
def test_functions_of_one_array(name: str) -> None:
    for shape in SHAPES:
        for ours, theirs in views(values(shape)):
            same(getattr(mx, name)(ours), getattr(np, name)(theirs))


@pytest.mark.parametrize("name", BINARY.split())
def test_functions_of_two_arrays(name: str) -> None:
    for left, right in [((), ()), ((5,), ()), ((3, 4), (4,)), ((2, 1, 3), (4, 1)), ((0, 3), (3,)), ((3, 4), (3, 4))]:
        a, b = values(left), values(right, 1)
        same(getattr(mx, name)(own(a), own(b)), getattr(np, name)(a, b))
        if a.ndim > 1:
            same(getattr(mx, name)(own(a).T, own(a)[::-1].T), getattr(np, name)(a.T, a[::-1].T))


@pytest.mark.parametrize("name", ["float64", "complex64", "float32", "int64", "uint8", "float16", "bool"])
def test_other_types_meet_it(name: str) -> None:
    a, b = values((3, 4)), (np.arange(4) % 2).astype(name)
    for x, y in ((own(a), own(b)), (own(b), own(a))):
        same(x + y, a + b)
    x = mx.zeros(3, dtype=getattr(mx, "bool_" if name == "bool" else name))
    wide = name in ("float64", "complex128")
    assert (x + 1j).dtype is mx.result_type(x, 1j) is (mx.complex128 if wide else mx.complex64)


@pytest.mark.parametrize("scalar", [True, 2, 1.1, 1 / 3 - 1e-17j, 1e300, -2.5e-300j, complex(NAN, 1)])
def test_scalars_keep_all_digits(scalar: complex) -> None:
    a = values((3, 7))
    with np.errstate(all="ignore"):
        same(own(a) * scalar, a * scalar)
        same(scalar - own(a), scalar - a)
    same(mx.compile(lambda x: x + scalar)(own(a)), a + scalar)
    same(own(a.real.copy()) + complex(scalar), a.real + complex(scalar))


@pytest.mark.parametrize(
    "name",
    [
        "abs",
        "conj",
        "real",
        "imag",
        "negative",
        "isnan",
        "isinf",
        "isfinite",
        "sqrt",
        "exp",
        "log",
        "sin",
        "tanh",
        "square",
    ],
)
def test_special_values(name: str) -> None:
    a = np.array(SPECIAL)
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(a)
        if name == "square":
            expected = parts(a.real * a.real - a.imag * a.imag, a.real * a.imag + a.imag * a.real)
    found = np.array(getattr(mx, name)(own(a)))
    np.testing.assert_array_equal(found, expected)
    if found.dtype.kind == "c":
        expected, found = expected.view(np.float64), found.view(np.float64)
    if found.dtype.kind == "f":
        zeros = expected == 0
        np.testing.assert_array_equal(np.signbit(found[zeros]), np.signbit(expected[zeros]))


def test_special_values_in_arithmetic() -> None:
    a, b = (g.reshape(-1) for g in np.meshgrid(SPECIAL, SPECIAL))
    for name in ("add", "subtract", "equal", "not_equal"):
        with np.errstate(all="ignore"):
            expected = getattr(np, name)(a, b)
        np.testing.assert_array_equal(np.array(getattr(mx, name)(own(a), own(b))), expected)


def test_infinities_in_products_and_quotients() -> None:
    """Where both parts would be NaN, those of C: infinity times what is not 0 is infinite, and so on."""
    a, b = (g.reshape(-1) for g in np.meshgrid(SPECIAL[:-3], SPECIAL[:-3]))
    product, quotient = np.array(own(a) * own(b)), np.array(own(a) / own(b))
    with np.errstate(all="ignore"):
        plain = parts(a.real * b.real - a.imag * b.imag, a.real * b.imag + a.imag * b.real)
        ratio = a / b
    some_a, some_b = (np.nan_to_num(x) != 0 for x in (a, b))
    for found, expected, infinite, zero in (
        (product, plain, (np.isinf(a) & some_b) | (np.isinf(b) & some_a), np.zeros(a.shape, bool)),
        (quotient, ratio, (np.isinf(a) & np.isfinite(b)) | ((b == 0) & some_a), np.isfinite(a) & np.isinf(b)),
    ):
        lost = np.isnan(expected.real) & np.isnan(expected.imag)
        np.testing.assert_array_equal(found[~lost], expected[~lost])
        np.testing.assert_array_equal(np.isinf(found[lost]), infinite[lost])
        np.testing.assert_array_equal(found[lost] == 0, zero[lost])


def test_the_modulus_neither_overflows_nor_vanishes() -> None:
    for dtype, size in ((mx.complex128, 1e300), (mx.complex64, 1e30)):
        x = mx.array([complex(3 * size, 4 * size), complex(3 / size, 4 / size), 0, complex(NAN, INFINITY)], dtype=dtype)
        np.testing.assert_allclose(np.array(mx.abs(x)), [5 * size, 5 / size, 0, INFINITY], rtol=1e-6)
        assert mx.grad(lambda z: mx.sum(mx.abs(z)))(x[1:3]).tolist()[1] == 0


def test_selection() -> None:
    a, b = values((3, 4)), values((3, 4), 1)
    same(mx.where(own(a.real > 0), own(a), own(b)), np.where(a.real > 0, a, b))
    same(mx.isclose(own(a), own(a) * (1 + 1e-6)), np.isclose(a, a * (1 + 1e-6)))
    assert mx.allclose(own(a), own(a)) and mx.array_equal(own(a), own(a)) and not mx.array_equal(own(a), own(b))
    same(mx.nan_to_num(mx.array([NAN, 1j], dtype=mx.complex128)), np.array([0, 1j]))


@pytest.mark.parametrize("name", ["floor", "ceil", "erf", "arctan2", "remainder", "hypot", "fmod"])
def test_what_has_no_meaning_is_an_error(name: str) -> None:
    x = own(values((3,)))
    with pytest.raises(ValueError, match="complex128"):
        getattr(mx, name)(*[x] * (1 if name in ("floor", "ceil", "erf") else 2))


# --- reductions, scans, order -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["sum", "prod", "mean", "var", "std", "all", "any"])
def test_reductions(name: str) -> None:
    for shape in [(5,), (3, 4), (2, 1, 3)]:
        for ours, theirs in views(values(shape)):
            for axis in (None, 0, -1):
                same(getattr(mx, name)(ours, axis=axis), getattr(np, name)(theirs, axis=axis), 1e-13)
                kept = getattr(mx, name)(ours, axis=axis, keepdims=True)
                same(kept, getattr(np, name)(theirs, axis=axis, keepdims=True), 1e-13)
    a = values((300, 1000))
    if name not in ("prod", "all", "any"):
        same(getattr(mx, name)(own(a), axis=1), getattr(np, name)(a, axis=1), 1e-12)
    if name in ("sum", "prod"):
        same(
            getattr(mx, name)(mx.zeros((0, 2), dtype=mx.complex128), axis=0),
            getattr(np, name)(np.zeros((0, 2), complex), 0),
        )


@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
def test_scans(name: str) -> None:
    for ours, theirs in views(values((4, 5))):
        for axis in (0, 1):
            same(getattr(mx, name)(ours, axis=axis), getattr(np, name)(theirs, axis=axis), 1e-13)
    same(mx.cumsum(own(values((6,))), reverse=True), np.cumsum(values((6,))[::-1])[::-1], 1e-13)


def test_order() -> None:
    a = np.round(values((5, 6)), 0)
    for axis in (0, 1):
        same(mx.sort(own(a), axis=axis), np.sort(a, axis=axis))
        same(mx.argsort(own(a), axis=axis).astype(mx.int64), np.argsort(a, axis=axis, kind="stable"))
    same(mx.unique_values(own(a)), np.unique(a))


# --- products ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("left, right", [((3, 4), (4, 5)), ((4,), (4,)), ((2, 3, 4), (4, 2)), ((2, 1, 3, 4), (5, 4, 1)),
                                         ((0, 4), (4, 2)), ((3, 0), (0, 2)), ((70, 80), (80, 90))])  # fmt: skip
def test_matmul(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    a, b = values(left), values(right, 1)
    same(own(a) @ own(b), a @ b, 1e-12)
    if a.ndim == b.ndim == 2:
        same(own(b).T @ own(a).T, b.T @ a.T, 1e-12)
        same(own(a) @ own(b.real.copy()), a @ b.real, 1e-12)


def test_other_products() -> None:
    a, b = values((3, 4)), values((3, 4), 1)
    same(mx.inner(own(a), own(b)), np.inner(a, b))
    same(mx.outer(own(a), own(b)), np.outer(a, b))
    same(mx.tensordot(own(a), own(b), axes=2), np.tensordot(a, b, axes=2))
    same(mx.einsum("ij,kj->ik", own(a), own(b)), np.einsum("ij,kj->ik", a, b))
    same(mx.addmm(own(values((3, 3))), own(a), own(b).T), values((3, 3)) + a @ b.T)
    same(mx.linalg.norm(own(a)), np.linalg.norm(a))
    same(mx.linalg.vector_norm(own(a), axis=1, ord=3), np.linalg.norm(a, axis=1, ord=3))


# --- shapes and indices -----------------------------------------------------------------------------------------------
INDICES = ["0", "-1, 2", "..., 1:", "::-1, ::2", "None, :, 1", "[2, 0, 2]", "[[0], [1]], [1, 3]", ":, [0, 0]", "5:"]


@pytest.mark.parametrize("index", INDICES)
def test_indices(index: str) -> None:
    a = values((3, 4))
    ours, theirs = (eval(f"np.s_[{index}]") for _ in range(2))
    if isinstance(ours, list):
        ours = mx.array(ours)
    elif isinstance(ours, tuple):
        ours = tuple(mx.array(i) if isinstance(i, list) else i for i in ours)
    same(own(a)[ours], a[theirs])
    x, changed = own(a), a.copy()
    x[ours] = 2 - 1e-12j
    changed[theirs] = 2 - 1e-12j
    same(x, changed)
    x[ours], changed[theirs] = own(np.array(1 / 3)), 1 / 3
    same(x, changed)


def test_masks_and_updates() -> None:
    a = values((3, 4))
    mask = a.real > 0
    x, changed = own(a), a.copy()
    same(x[own(mask)], a[mask])
    x[own(mask)], changed[mask] = 1e-9j, 1e-9j
    same(x, changed)
    x = own(a).at[mx.array([0, 2, 0])].add(own(values((3, 4), 2)))
    np.add.at(changed := a.copy(), [0, 2, 0], values((3, 4), 2))
    same(x, changed)
    same(mx.take_along_axis(own(a), mx.array([[1], [0], [3]]), 1), np.take_along_axis(a, np.array([[1], [0], [3]]), 1))


def test_shapes() -> None:
    a = values((3, 4))
    for ours, theirs in views(a):
        same(mx.reshape(ours, (-1,)), theirs.reshape(-1))
        same(mx.concatenate([ours, ours], axis=-1), np.concatenate([theirs, theirs], axis=-1))
        same(mx.stack([ours, ours]), np.stack([theirs, theirs]))
        same(mx.roll(ours, 1), np.roll(theirs, 1))
        same(mx.tile(ours, 2), np.tile(theirs, 2))
        same(mx.pad(ours, 1), np.pad(theirs, 1))
        same(mx.broadcast_to(ours, (2, *ours.shape)), np.broadcast_to(theirs, (2, *theirs.shape)))
    same(mx.tril(own(a)), np.tril(a))
    same(mx.diagonal(own(a)), np.diagonal(a))


# --- making and converting --------------------------------------------------------------------------------------------
def test_creation() -> None:
    d = mx.complex128
    same(mx.array([[1, 2j], [0.5, -1]], dtype=d), np.array([[1, 2j], [0.5, -1]]))
    same(mx.array(0.1, dtype=d), np.array(0.1 + 0j))
    same(mx.array(7, d), np.array(7 + 0j))
    same(mx.array([], dtype=d), np.array([], complex))
    same(mx.array([mx.array(1j), 0.1], dtype=d), np.array([1j, 0.1]))
    same(mx.zeros((2, 3), d), np.zeros((2, 3), complex))
    same(mx.ones(3, dtype=d), np.ones(3, complex))
    same(mx.full((2,), 0.1 - 0.3j, dtype=d), np.full((2,), 0.1 - 0.3j))
    same(mx.full((2,), 0.1, dtype=mx.float64), np.full((2,), 0.1))
    same(mx.eye(3, dtype=d), np.eye(3, dtype=complex))
    same(mx.linspace(0, 1, 7, dtype=d), np.linspace(0, 1, 7, dtype=complex))
    same(mx.arange(0, 5, dtype=d), np.arange(0, 5, dtype=complex))
    same(mx.zeros_like(mx.ones(3, dtype=d)), np.zeros(3, complex))
    x = mx.random.normal((2000,), dtype=d, key=mx.random.key(3))
    assert x.dtype is d and abs(np.mean(np.abs(np.array(x)) ** 2) - 1) < 0.1


def test_arrays_of_numpy_become_single_unless_told_otherwise() -> None:
    a = values((3, 4))
    assert mx.array(a).dtype is mx.asarray(a).dtype is mx.from_dlpack(a).dtype is mx.complex64
    assert mx.array(np.complex128(1j)).dtype is mx.complex64
    same(mx.array(a, dtype=mx.complex128), a)
    same(mx.asarray(a, dtype=mx.complex128), a)
    same(mx.array(a.T, mx.complex128), a.T)
    same(mx.array(a, dtype=mx.float64), a.real)
    same(own(a) + a, a + a)


def test_astype() -> None:
    a = values((3, 4)) * 3
    for name in ("float64", "float32", "complex64", "int32", "uint8", "float16"):
        positive = np.abs(a.real) + 1j * a.imag
        expected = (positive if name.startswith("complex") else positive.real).astype(name)
        same(own(positive).astype(getattr(mx, name)), expected)
        same(own(expected).astype(mx.complex128), expected.astype(complex))
    same(own(a).astype(mx.bool_), a.astype(bool))
    same(mx.array([0j, 1e-300j], dtype=mx.complex128).astype(mx.bool_), np.array([False, True]))


def test_views_of_bytes() -> None:
    a = values((2, 4))
    a[0, 0] = complex(NAN, -0.0)
    for name in ("uint8", "int16", "uint32", "float64", "complex64", "int64"):
        found = own(a).view(getattr(mx, name))
        assert found.shape == a.view(name).shape
        assert np.array(found).tobytes() == a.tobytes()
        assert np.array(found.view(mx.complex128)).tobytes() == a.tobytes()
    same(own(a[1:]).T.view(mx.float64), np.ascontiguousarray(a[1:].T).view(np.float64))
    same(mx.vmap(lambda row: row.view(mx.float64))(own(a[1:])), a[1:].view(np.float64))
    with pytest.raises(ValueError, match="16 bytes"):
        mx.zeros(3).view(mx.complex128)
    with pytest.raises(ValueError, match="scalar"):
        mx.array(1, dtype=mx.complex128).view(mx.float64)


def test_out_of_the_library() -> None:
    a = values((2, 3))
    x = own(a)
    assert x.tolist() == a.tolist() and x[1, 2].item() == a[1, 2] == complex(x[1, 2])
    assert x.itemsize == 16 and x.nbytes == 96
    assert str(mx.array([1 + 2j, -0.5], dtype=mx.complex128)) == "array([1+2j, -0.5+0j], dtype=complex128)"
    for found in (np.array(x), np.asarray(x), np.from_dlpack(x), np.from_dlpack(x.T).T):
        assert found.dtype == complex and (found == a).all()
    for twin in (pickle.loads(pickle.dumps(x)), copy.copy(x), copy.deepcopy(x)):
        same(twin, a)


def test_types() -> None:
    d = mx.complex128
    assert repr(d) == "arrax.core.complex128" and d.size == 16
    assert mx.issubdtype(d, mx.complexfloating) and mx.issubdtype(d, mx.inexact) and not mx.issubdtype(d, mx.floating)
    assert mx.isdtype(d, "complex floating") and mx.isdtype(d, "numeric") and mx.isdtype(d, d)
    assert mx.result_type(mx.complex64, mx.float64) is mx.result_type(d, mx.float16) is mx.result_type(d, 1j) is d
    assert mx.can_cast(mx.complex64, d) and mx.can_cast(mx.float64, d) and not mx.can_cast(d, mx.complex64)
    assert not mx.can_cast(mx.float64, mx.complex64)
    assert mx.finfo(d).dtype is mx.float64 and mx.finfo(d).eps == 2**-52
    info = mx.__array_namespace_info__()
    assert info.dtypes(kind="complex floating") == {"complex64": mx.complex64, "complex128": d}
    assert info.default_dtypes()["complex floating"] is mx.complex64


# --- Fourier transforms -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"])
def test_transforms_along_one_axis(name: str) -> None:
    for shape in [(8,), (3, 5), (2, 3, 4), (3, 64)]:
        a = values(shape).real.copy() if name in ("rfft", "ihfft") else values(shape)
        for ours, theirs in ((own(a), a), (own(a).T, a.T), (own(a)[::-1], a[::-1])):
            for axis, n, norm in [(-1, None, "backward"), (0, None, "ortho"), (-1, 6, "forward")]:
                found = getattr(mx.fft, name)(ours, n=n, axis=axis, norm=norm)
                same(found, getattr(np.fft, name)(theirs, n=n, axis=axis, norm=norm), 1e-13)


@pytest.mark.parametrize("name", ["fftn", "ifftn", "rfftn", "irfftn", "fft2", "ifft2", "rfft2", "irfft2"])
def test_transforms_along_several_axes(name: str) -> None:
    a = values((3, 4, 6)).real.copy() if "rfft" in name and "irfft" not in name else values((3, 4, 6))
    for axes, s in [((0, 1), None), ((1, 2), (5, 4)), ((-1, 0), None)]:
        same(getattr(mx.fft, name)(own(a), s=s, axes=axes), getattr(np.fft, name)(a, s=s, axes=axes), 1e-13)


def test_transforms_keep_the_precision_of_what_comes_in() -> None:
    for dtype, found in ((mx.float64, mx.complex128), (mx.float32, mx.complex64), (mx.int32, mx.complex64)):
        x = mx.ones(6, dtype=dtype)
        assert mx.fft.fft(x).dtype is mx.fft.rfft(x).dtype is mx.fft.stft(x, 4).dtype is found
        assert mx.fft.irfft(x).dtype is (mx.float64 if dtype is mx.float64 else mx.float32)
    assert mx.fft.rfft(mx.zeros((0, 4), dtype=mx.float64)).dtype is mx.complex128


def test_short_time_transforms() -> None:
    a = values((2, 100))
    window = np.hanning(16)
    for signal in (a.real.copy(), a):
        one = not np.iscomplexobj(signal)
        spectra = mx.fft.stft(own(signal), 16, 4, window=own(window), center=False)
        frames = np.lib.stride_tricks.sliding_window_view(signal, 16, axis=-1)[:, ::4] * window
        same(spectra, (np.fft.rfft if one else np.fft.fft)(frames).swapaxes(1, 2), 1e-13)
    spectra = mx.fft.stft(own(a.real.copy()), 16, 4, window=own(window))
    found = mx.fft.istft(spectra, 16, 4, window=own(window))
    same(found[:, 16:84], a.real[:, 16:84], 1e-12)


# --- derivatives ------------------------------------------------------------------------------------------------------
C = values((3, 4), 9)
PLAIN = ["exp", "sin", "tanh", "log", "sqrt", "abs", "square", "reciprocal", "conj", "real", "imag"]
DIFFERENTIABLE: dict[str, Callable[[Any], Any]] = {
    **{name: getattr(mx, name) for name in PLAIN},
    "product": lambda z: z * own(C),
    "quotient": lambda z: own(C) / z,
    "power": lambda z: z**3,
    "matmul": lambda z: z @ own(C).T,
    "sum": lambda z: mx.sum(z, 0),
    "prod": lambda z: mx.prod(z, 1),
    "cumsum": lambda z: mx.cumsum(z, 1),
    "to real": lambda z: z.astype(mx.float64),
    "to single and back": lambda z: mx.sum(z.astype(mx.complex64).astype(mx.complex128) * 0) + z,
    "from real": lambda z: mx.real(z) * (1 - 2j),
    "fft": mx.fft.fft,
    "rfft": lambda z: mx.fft.rfft(mx.imag(z)),
    "irfft": mx.fft.irfft,
    "slice": lambda z: z[1:, ::-2],
    "var": lambda z: mx.var(z, 0),
    "norm": mx.linalg.norm,
}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_derivatives(name: str) -> None:
    """Along random directions: the pairing of gradient and direction is the change of the real part."""
    f, x, h = DIFFERENTIABLE[name], values((3, 4), 3), 1e-6
    weights = values(f(own(x)).shape, 4)
    gradient = np.array(mx.grad(lambda z: mx.sum(mx.real(f(z) * own(weights))))(own(x)))
    assert gradient.dtype == complex
    for seed in range(3):
        direction = values((3, 4), 5 + seed)
        change = (np.array(f(own(x + h * direction))) - np.array(f(own(x - h * direction)))) / (2 * h)
        (value,), (tangent,) = mx.jvp(f, [own(x)], [own(direction)])
        assert tangent.dtype is value.dtype
        np.testing.assert_allclose(np.array(tangent), change, rtol=1e-7, atol=1e-7)
        paired = np.sum(gradient.real * direction.real + gradient.imag * direction.imag)
        np.testing.assert_allclose(paired, np.sum((change * weights).real), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", ["exp", "abs", "real", "conj", "fft", "irfft", "square", "log"])
def test_vmap(name: str) -> None:
    f, x = DIFFERENTIABLE[name], own(values((3, 4)))
    same(mx.vmap(f)(x), np.stack([np.array(f(row)) for row in x]))


# --- files ------------------------------------------------------------------------------------------------------------
def test_files(tmp_path: Path) -> None:
    a = values((3, 4))
    x = own(a)
    mx.save(str(tmp_path / "a.npy"), x)
    same(mx.load(str(tmp_path / "a.npy")), a)
    assert (np.load(tmp_path / "a.npy") == a).all()
    mx.savez(str(tmp_path / "a.npz"), x=x, y=x.T)
    same(mx.load(str(tmp_path / "a.npz"))["y"], a.T)
    for i, other in enumerate((np.asfortranarray(a), a.astype(">c16"), a[:0], a[0, 0])):
        np.save(tmp_path / f"{i}.npy", other)
        same(mx.load(str(tmp_path / f"{i}.npy")), other.astype(complex))
    with pytest.raises(ValueError, match="complex128"):
        mx.save_safetensors(str(tmp_path / "a.safetensors"), {"x": x})
    with pytest.raises(RuntimeError, match="complex128"):
        mx.save_gguf(str(tmp_path / "a.gguf"), {"x": x})


@pytest.mark.parametrize("shapeless", [False, True])
def test_exported_functions(tmp_path: Path, shapeless: bool) -> None:
    a, w = values((3, 4)), own(values((4, 4), 1))
    scalar = own(np.array(1 / 3 + 1e-17j))

    def f(x: Any) -> Any:
        y = mx.fft.fft((x @ w) * (0.1 - 1e-12j) + scalar)
        return y, mx.abs(y), mx.real(y).astype(mx.complex128), x.view(mx.float64)

    file = str(tmp_path / "f.mlxfn")
    mx.export_function(file, f, own(a), shapeless=shapeless)
    found = mx.import_function(file)
    for x in (a, a[:2]) if shapeless else (a,):
        same(found(own(x)), [np.array(y) for y in f(own(x))])


@pytest.mark.parametrize("constant", ['{"pairs":"1"}', '{"pairs":0}', '{"pair":"0"}', '"0"', '{"pairs":"0","b":1}'])
def test_damaged_pairs_in_exported_functions(tmp_path: Path, constant: str) -> None:
    file, w = str(tmp_path / "f.mlxfn"), own(values((4, 2)))
    mx.export_function(file, lambda x: x * w, w)
    arrays, metadata = mx.load(file, format="safetensors", return_metadata=True)
    assert arrays["0"].dtype is mx.float64 and arrays["0"].shape == (4, 2, 2)
    metadata["graph"] = metadata["graph"].replace('{"pairs":"0"}', constant)
    mx.save_safetensors(file, {**arrays, "1": mx.zeros((4, 2, 3), dtype=mx.float64)}, metadata)
    (tmp_path / "f.mlxfn.safetensors").rename(file)
    with pytest.raises(RuntimeError, match="import_function"):
        mx.import_function(file)


def test_compiled_functions() -> None:
    a = values((3, 40))

    def f(x: Any, y: Any) -> Any:
        return mx.sum(mx.exp(x * (0.1 + 0.2j)) * y, axis=1), mx.real(x) * 2.5 + mx.imag(y)

    same(mx.compile(f)(own(a), own(a)), [np.sum(np.exp(a * (0.1 + 0.2j)) * a, axis=1), a.real * 2.5 + a.imag], 1e-13)
