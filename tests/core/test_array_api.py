"""The array API standard (2025.12): names, signatures, results and types, with array-api-strict as the oracle.

What the standard asks for and MLX does otherwise is in ``DEVIATIONS``, each with its reason; MLX comes first. Every
entry is expected to fail, and one that passes is an error: the list cannot grow old.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator
from typing import Any

import array_api_compat
import array_api_strict as strict
import numpy as np
import pytest
from tests.core.standard_calls import (
    ALL,
    BINARY,
    BOOL,
    CALLS,
    COMPLEX,
    FLOAT,
    INTEGER,
    NUMERIC,
    REAL_FLOAT,
    SIGNED,
    UNARY,
    UNSIGNED,
)

import arrax.core as mx
from arrax.runtime import executor

UINT32 = "positions are uint32 in MLX"
NARROW = "running sums and products keep narrow integers in MLX"
NARROW_PRODUCTS = "sums of products of narrow integers have 32 bits in MLX"
FLOORED = "MLX floors the quotient, as the standard says: inf // x is inf and -1 // inf is -0; NumPy has NaN and -1"

RTOL = {"float32": 2e-5, "complex64": 1e-4, "float64": 1e-12, "complex128": 1e-12}
# The test, and what it tests: why it fails.
DEVIATIONS: dict[str, str] = {
    **{f"dlpack numpy[{d}]": "MLX takes arrays of doubles from other libraries in single precision"
       for d in ("float64", "complex128")},
    "special floor_divide-compiled": FLOORED,
    "special floor_divide-reference": FLOORED,
    **{f"type {call}": UINT32 for call in (
        "xp.argmax(x, axis=1, keepdims=True)", "xp.argmin(x)", "xp.argsort(x, axis=0)",
        "xp.argsort(x, descending=True)", "xp.searchsorted(xp.sort(x[0, :]), x[1, :])",
        "xp.searchsorted(x[0, :], x[1, :], side='right', sorter=xp.argsort(x[0, :]))",
        "xp.searchsorted(xp.sort(x[0, :]), 1)",
    )},
    **{f"type {call}[{d}]": NARROW for d in ("int8", "int16", "uint8", "uint16")
       for call in ("xp.cumulative_sum(x, axis=0)", "xp.cumulative_prod(x, axis=-1)")},
    **{f"type {call}[{d}]": NARROW_PRODUCTS for d in ("int8", "int16", "uint8", "uint16")
       for call in ("xp.vecdot(x, y, axis=-1)",)},
}  # fmt: skip

USED: set[str] = set()


@pytest.fixture(autouse=True, scope="module")
def standard() -> Iterator[None]:
    with strict.ArrayAPIStrictFlags(api_version="2025.12"):
        yield


def param(test: str, what: str, *values: Any, dtype: str = "") -> Any:
    """A parameter of a test, expected to fail where it, or it for this type, is among the deviations."""
    keys = [f"{test} {what}", f"{test} {what}[{dtype}]"]
    USED.update(keys)
    reason = next((DEVIATIONS[k] for k in keys if k in DEVIATIONS), None)
    marks = [] if reason is None else [pytest.mark.xfail(strict=True, reason=reason)]
    if what in CALLS and dtype in ("int16", "uint16", "uint32", "uint64"):
        marks.append(pytest.mark.slow)
    return pytest.param(*values, *([dtype] if dtype else []), id=f"{what}-{dtype}" if dtype else what, marks=marks)


# --- names and signatures ---------------------------------------------------------------------------------------------
OWN = ("ArrayAPIStrictFlags set_array_api_strict_flags get_array_api_strict_flags reset_array_api_strict_flags Device "
       "__version__")  # fmt: skip  # the oracle's own
NAMES = sorted(
    [n for n in strict.__all__ if n not in OWN.split()]
    + [f"linalg.{n}" for n in strict.linalg.__all__]
    + [f"fft.{n}" for n in strict.fft.__all__]
)
OPERATORS = (
    "abs add and array_namespace bool complex dlpack dlpack_device eq float floordiv ge getitem gt index int invert le "
    "lshift lt matmul mod mul ne neg or pos pow rshift setitem sub truediv xor radd rsub rmul rtruediv rfloordiv rpow "
    "rmod rmatmul rand ror rxor rlshift rrshift iadd isub imul itruediv ifloordiv ipow imod imatmul iand ior ixor "
    "ilshift irshift"
)
ATTRIBUTES = [
    *["T", "mT", "device", "dtype", "ndim", "shape", "size", "to_device"],
    *(f"__{name}__" for name in OPERATORS.split()),
]


def lookup(xp: Any, name: str) -> Any:
    for part in name.split("."):
        xp = getattr(xp, part)
    return xp


FUNCTIONS = [n for n in NAMES if inspect.isroutine(lookup(strict, n))]


@pytest.mark.parametrize("name", [param("name", n, n) for n in NAMES])
def test_name(name: str) -> None:
    assert lookup(mx, name) is not None or name == "newaxis"


@pytest.mark.parametrize("name", [param("attribute", n, n) for n in ATTRIBUTES])
def test_attribute(name: str) -> None:
    assert hasattr(strict.asarray([[1]]), name)
    assert name in dir(mx.array)


@pytest.mark.parametrize("name", [param("signature", n, n) for n in FUNCTIONS])
def test_signature(name: str) -> None:
    """Every call that the standard's signature allows can be made, with the same defaults."""
    ours = inspect.signature(lookup(mx, name))
    parameters = inspect.signature(lookup(strict, name)).parameters.values()
    positional = [p for p in parameters if p.kind is p.POSITIONAL_ONLY]
    either = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    named = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    variable = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    for front in range(len(either) + 1):
        keywords = {p.name: p.default for p in either[front:] + named}
        ours.bind(*[0] * (len(positional) + front + 2 * variable), **keywords)
    required = [p for p in positional + either if p.default is p.empty]
    ours.bind(*[0] * len(required), **{p.name: 0 for p in named if p.default is p.empty})
    for p in either + named:
        mine = ours.parameters.get(p.name)
        if mine is not None and p.default is not p.empty and "UNDEF" not in str(p.default):
            # None for the correction stands for MLX's name of it, which has the standard's default
            same = mine.default == p.default or {"dtype": mx.float32, "correction": None}.get(p.name, 0) is mine.default
            assert same, f"{p.name}={mine.default!r}, not {p.default!r}"


# --- results ----------------------------------------------------------------------------------------------------------
RESULTS = [
    *((name, f"xp.{name}(x)", types) for names, types in UNARY.items() for name in names.split()),
    *((name, f"xp.{name}(x, y)", types) for names, types in BINARY.items() for name in names.split()),
    *((call, call, types) for call, types in CALLS.items()),
]


def numbers(dtype: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Numbers with some repetitions; integers from -3 to 3 or 1 to 3 and so not zero in the second operand."""
    random = np.random.RandomState(seed)
    if dtype in FLOAT:
        values = random.randint(-12, 13, shape) / 8
        return np.asarray(values + 1j * random.randint(-12, 13, shape) / 8 if dtype in COMPLEX else values, dtype)
    return np.asarray(random.randint(-3 if dtype in SIGNED else 0, 2 if dtype == "bool" else 4, shape), dtype)


def put(x: Any, index: Any, value: Any) -> Any:
    x = type(x).__add__(x, 0) if "bool" not in str(x.dtype) else x | False
    x[index] = value
    return x


def call(xp: Any, text: str, dtype: str, shape: tuple[int, ...] = (3, 4)) -> Any:
    """The result of a call with the arrays and functions that calls can name, computed by one of the libraries."""
    make = getattr(xp, dtype)
    y = numbers(dtype, (*shape[1:-1], shape[-1] if shape else 1)[-len(shape) :] if shape else (), 1)
    if dtype in INTEGER and not text.startswith("xp.where"):
        y = np.maximum(np.abs(y), 1).astype(dtype)
    x = numbers(dtype, shape, 0)
    half = numbers(dtype, (2, 3, 3), 2) if dtype in FLOAT else np.zeros((2, 3, 3), dtype)
    s = half @ np.conj(half.swapaxes(-1, -2)) + np.eye(3, dtype=half.dtype)
    arrays = {k: xp.asarray(v, dtype=make) for k, v in {"x": x, "y": y, "s": s}.items()}
    return eval(text, {"xp": xp, "dtype": make, "put": put, **arrays})


def leaves(result: Any) -> list[Any]:
    return [a for r in result for a in leaves(r)] if isinstance(result, list | tuple) else [result]


def name_of(dtype: Any) -> str:
    return str(dtype).split(".")[-1]


def assert_same(ours: Any, theirs: Any, rtol: float | None = None) -> None:
    """Equal shapes and values; the floats' types may differ, and decide how close they have to be."""
    assert isinstance(ours, list | tuple) == isinstance(theirs, list | tuple)
    if isinstance(theirs, tuple) and hasattr(theirs, "_fields"):
        assert ours._fields == theirs._fields
    ours, theirs = leaves(ours), leaves(theirs)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        found, wanted = np.asarray(a), np.asarray(b)
        assert found.shape == wanted.shape
        if found.dtype.kind in "fc":
            tolerance = rtol or max(RTOL[name_of(found.dtype)], RTOL.get(name_of(wanted.dtype), 0))
            np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)
        else:
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "text, dtype", [param("result", name, text, dtype=d) for name, text, types in RESULTS for d in types]
)
def test_result(text: str, dtype: str) -> None:
    calls = [(3, 4)]
    if text.removeprefix("xp.").split("(")[0] in " ".join([*UNARY, *BINARY]).split():
        calls += [(), (5,), (0,), (2, 3, 2)]
    for shape in calls:
        assert_same(call(mx, text, dtype, shape), call(strict, text, dtype, shape))


# --- types of results -------------------------------------------------------------------------------------------------
INDICES = ("arg", "count_nonzero", "nonzero", "searchsorted", "unique", "linalg.matrix_rank")  # results in "indexing"
TOTALS = ("sum", "prod", "cumulative", "linalg.trace")  # in the default integer, where the elements are narrower


def expected_type(text: str, found: str, dtype: str, place: int) -> str:
    """The oracle's type, but for its default integer and index type, which are int64 there and int32 here."""
    call_name = text.removeprefix("xp.")
    if call_name.startswith(INDICES) and not (call_name.startswith("unique") and place == 0):
        return name_of(mx.__array_namespace_info__().default_dtypes()["indexing"])
    if call_name.startswith(TOTALS) and "dtype" not in text and dtype in INTEGER:
        default = "int32" if dtype in SIGNED else "uint32"
        return dtype if dtype.endswith("64") else default
    return found


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "text, dtype", [param("type", name, text, dtype=d) for name, text, types in RESULTS for d in types]
)
def test_type(text: str, dtype: str) -> None:
    ours, theirs = leaves(call(mx, text, dtype)), leaves(call(strict, text, dtype))
    wanted = [expected_type(text, name_of(a.dtype), dtype, i) for i, a in enumerate(theirs)]
    assert [name_of(a.dtype) for a in ours] == wanted


# --- special values ---------------------------------------------------------------------------------------------------
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3.0, -3.0, 4.0, 1e10, -1e10, 1e-30]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "name, path, dtype",
    [
        param("special", f"{name}-{path}", name, path, dtype=d)
        for path in ("compiled", "reference")
        for names, types in {**UNARY, **BINARY}.items()
        for name in names.split()
        for d in REAL_FLOAT
        if d in types
    ],
)
def test_special_values(name: str, dtype: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """NaN, infinities and signed zeros, in all combinations, as the standard says for each function."""
    monkeypatch.setattr(executor, "SMALL", 0 if path == "compiled" else 1 << 20)
    shape = (-1,) if path == "compiled" else (1, -1)  # so that neither finds the other's plan
    grid = [np.asarray(v, dtype).reshape(shape) for v in np.meshgrid(SPECIAL, SPECIAL)]
    operands = grid if any(name in names.split() for names in BINARY) else [np.asarray(SPECIAL, dtype).reshape(shape)]
    ours, theirs = (
        np.asarray(getattr(xp, name)(*(xp.asarray(v, dtype=getattr(xp, dtype)) for v in operands)))
        for xp in (mx, strict)
    )
    assert_same(ours, theirs)
    zero = (theirs == 0) if theirs.dtype.kind == "f" else np.zeros(theirs.shape, bool)
    assert (np.signbit(ours[zero]) == np.signbit(theirs[zero])).all()


# --- promotion --------------------------------------------------------------------------------------------------------
PAIRS = [
    (a, b)
    for kind in (BOOL, INTEGER, (*REAL_FLOAT, *COMPLEX))
    for a, b in itertools.product(kind, kind)
    if {a, b} & {"uint64"} == set() or not {a, b} & set(SIGNED)
]


@pytest.mark.parametrize("a, b", [param("promotion", f"{a}+{b}", a, b) for a, b in PAIRS])
def test_promotion(a: str, b: str) -> None:
    wanted = name_of(strict.result_type(getattr(strict, a), getattr(strict, b)))
    x, y = mx.zeros(2, dtype=getattr(mx, a)), mx.zeros(2, dtype=getattr(mx, b))
    assert name_of(mx.result_type(x.dtype, y)) == wanted
    assert name_of(mx.maximum(x, y).dtype) == wanted
    assert name_of(mx.concat([x, y]).dtype) == wanted


@pytest.mark.parametrize("dtype", ALL)
def test_scalars_are_weak(dtype: str) -> None:
    own = getattr(mx, dtype)
    kinds = [bool] * (dtype in BOOL) + [int] * (dtype in NUMERIC) + [float] * (dtype in FLOAT)
    for kind in kinds + [complex] * (dtype in COMPLEX):
        assert mx.result_type(own, kind(1)) is own
        assert mx.result_type(kind(1), mx.zeros(2, dtype=own), own) is own
    with pytest.raises(ValueError, match="result_type"):
        mx.result_type(1, 2.0)


@pytest.mark.parametrize("a, b", [param("can_cast", f"{a}+{b}", a, b) for a, b in PAIRS])
def test_can_cast(a: str, b: str) -> None:
    assert mx.can_cast(getattr(mx, a), getattr(mx, b)) == strict.can_cast(getattr(strict, a), getattr(strict, b))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("a, b", [(a, b) for a, b in itertools.product(ALL, ALL) if a not in COMPLEX or b in COMPLEX])
def test_astype(a: str, b: str) -> None:
    values = np.abs(numbers(a, (3, 4), 0)) if b in UNSIGNED else numbers(a, (3, 4), 0)
    ours, theirs = (
        xp.astype(xp.asarray(values, dtype=getattr(xp, a)), getattr(xp, b), device=None) for xp in (mx, strict)
    )
    assert name_of(ours.dtype) == name_of(theirs.dtype) == b
    assert_same(ours, theirs)


# --- types, devices, the namespace ------------------------------------------------------------------------------------
KINDS = ["bool", "signed integer", "unsigned integer", "integral", "real floating", "complex floating", "numeric"]


@pytest.mark.parametrize("kind", [*KINDS, ("bool", "integral"), ("numeric", "bool")])
def test_kinds(kind: Any) -> None:
    for dtype in ALL:
        assert mx.isdtype(getattr(mx, dtype), kind) == strict.isdtype(getattr(strict, dtype), kind)
    ours, theirs = (xp.__array_namespace_info__().dtypes(kind=kind) for xp in (mx, strict))
    assert sorted(ours) == sorted(theirs)


@pytest.mark.parametrize("dtype", [*INTEGER, *FLOAT])
def test_limits(dtype: str) -> None:
    which = "iinfo" if dtype in INTEGER else "finfo"
    theirs = getattr(strict, which)(getattr(strict, dtype))
    for of in (getattr(mx, dtype), mx.zeros(2, dtype=getattr(mx, dtype))):
        ours = getattr(mx, which)(of)
        assert name_of(ours.dtype) == name_of(theirs.dtype)
        for field in ("bits", "min", "max", *(("eps", "smallest_normal") if which == "finfo" else ())):
            assert getattr(ours, field) == getattr(theirs, field)


def test_namespace() -> None:
    x = mx.array([1.0])
    for version in (None, "2021.12", "2022.12", "2023.12", "2024.12", "2025.12"):
        assert x.__array_namespace__(api_version=version) is mx
    with pytest.raises(ValueError, match="version"):
        x.__array_namespace__(api_version="1999.01")
    info = mx.__array_namespace_info__()
    assert set(info.capabilities()) == {"boolean indexing", "data-dependent shapes", "max dimensions"}
    assert info.default_device() in info.devices() and x.device in info.devices()
    assert set(info.default_dtypes(device=x.device)) == {"real floating", "complex floating", "integral", "indexing"}
    assert mx.asarray([1]).dtype is info.default_dtypes()["integral"]
    assert mx.asarray([1.5]).dtype is mx.zeros(2).dtype is info.default_dtypes()["real floating"]
    assert mx.asarray([1j]).dtype is info.default_dtypes()["complex floating"]
    with pytest.raises(ValueError, match="kind"):
        info.dtypes(kind="imaginary")


def test_boolean_indexing_is_what_is_said() -> None:
    x = mx.array([1.0, 2.0])
    if mx.__array_namespace_info__().capabilities()["boolean indexing"]:
        assert x[x > 1].tolist() == [2.0]
    else:
        with pytest.raises((ValueError, TypeError, IndexError)):
            x[x > 1]


def test_devices() -> None:
    x = mx.array([1.0])
    assert x.to_device(x.device).device == x.to_device(mx.cpu, stream=None).device == mx.default_device()
    assert mx.ones(2, device=x.device).device == x.device
    with pytest.raises(ValueError, match="no GPU"):
        x.to_device(mx.gpu)
    with pytest.raises(ValueError, match="no GPU"):
        mx.zeros_like(x, device=mx.gpu)
    with pytest.raises(TypeError, match="device"):
        mx.asarray(x, device="somewhere")


@pytest.mark.parametrize("dtype", [param("dlpack", "numpy", dtype=d) for d in ALL])
def test_dlpack(dtype: str) -> None:
    values = numbers(dtype, (3, 4), 0)
    ours = mx.from_dlpack(values)
    assert name_of(ours.dtype) == dtype and ours.__dlpack_device__() == (1, 0)
    for x in (ours, ours.T, ours[1:, ::2], ours[:0], ours[0, 0]):
        back = np.from_dlpack(x)
        assert back.dtype == values.dtype and (back == np.asarray(x)).all()
        theirs = strict.from_dlpack(x)
        assert name_of(theirs.dtype) == dtype and mx.all(mx.from_dlpack(theirs, copy=None) == x)
    assert mx.from_dlpack(values, device=mx.cpu, copy=True).shape == (3, 4)
    copied = np.from_dlpack(ours, copy=True)
    assert not np.shares_memory(copied, np.from_dlpack(ours))


@pytest.mark.parametrize("name", [param("copy", n, n) for n in ("asarray", "from_dlpack")])
def test_a_copy_that_may_not_be_made(name: str) -> None:
    error = {"asarray": ValueError, "from_dlpack": BufferError}[name]
    with pytest.raises(error):
        getattr(mx, name)(np.ones(3), copy=False)


def test_dlpack_to_other_devices() -> None:
    x = mx.array([1.0])
    assert x.__dlpack__(dl_device=(1, 0), max_version=(1, 0), stream=None, copy=None) is not None
    with pytest.raises(BufferError, match="CPU"):
        x.__dlpack__(dl_device=(2, 0))


def test_conversions() -> None:
    assert [bool(mx.array(3)), int(mx.array(3)), float(mx.array(3))] == [True, 3, 3.0]
    assert complex(mx.array(3)) == 3 and complex(mx.array(1j)) == 1j and [7, 8][mx.array(1)] == 8
    for convert in (int, float):
        with pytest.raises(TypeError):
            convert(mx.array(1j))
    for value in (1.0, 1j, True):
        with pytest.raises(TypeError):
            range(3)[mx.array(value)]
    for convert in (bool, int, float, complex):
        with pytest.raises((TypeError, ValueError)):
            convert(mx.array([1, 2]))


# --- programs that follow the standard --------------------------------------------------------------------------------
def test_array_api_compat() -> None:
    x = mx.array([[1.0, 2.0], [3.0, 5.0]])
    assert array_api_compat.is_array_api_obj(x)
    assert array_api_compat.array_namespace(x, 1.0) is mx
    assert array_api_compat.device(x) == x.device
    assert array_api_compat.size(x) == 4
    assert array_api_compat.to_device(x, mx.cpu) is not None


def whiten(x: Any) -> Any:
    """Data with the identity as covariance, written for any array library."""
    xp = x.__array_namespace__()
    x = x - xp.mean(x, axis=0, keepdims=True)
    covariance = xp.linalg.matmul(x.mT, x) / xp.astype(xp.asarray(x.shape[0] - 1), x.dtype)
    values, vectors = xp.linalg.eigh(covariance)
    safe = xp.clip(values, min=xp.finfo(x.dtype).smallest_normal)
    return x @ vectors @ (xp.eye(x.shape[1], dtype=x.dtype, device=x.device) / xp.sqrt(safe)) @ vectors.mT


def test_a_portable_program() -> None:
    values = numbers("float32", (20, 3), 5)
    assert_same(whiten(mx.asarray(values)), whiten(strict.asarray(values)), rtol=1e-3)


def test_every_deviation_exists() -> None:
    assert set(DEVIATIONS) <= USED
