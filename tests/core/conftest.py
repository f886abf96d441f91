"""Expressions evaluated by Arrax and by MLX, and compared."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator
from typing import Any

import mlx.core
import numpy as np
import pytest

import arrax.core
from arrax.runtime import executor

TOLERANCE = {"float16": 4e-3, "bfloat16": 2e-2, "float32": 2e-5, "float64": 1e-6, "complex64": 1e-4}


def namespace(mx: Any) -> dict[str, Any]:
    """What expressions can name: arrays of several types and shapes, and how to make more."""

    def put(x: Any, index: Any, value: Any) -> Any:
        x = mx.array(x)
        x[index] = value
        return x

    def normal(*shape: int, seed: int = 0, dtype: str = "float32") -> Any:
        values = np.asarray(np.random.RandomState(seed).randn(*shape), np.float32)
        return mx.array(values).astype(getattr(mx, dtype))

    m = mx.arange(6).reshape(2, 3)
    return {
        "mx": mx,
        "np": np,
        "put": put,
        "normal": normal,
        "cut": builtins.slice,
        "inf": float("inf"),
        "nan": float("nan"),
        "a": mx.array([1, 2, 3]),
        "b": mx.array([True, False]),
        "c": mx.array([1 + 2j, 3 - 1j]),
        "f": mx.array([1.0, 2.0]),
        "h": mx.array([1.0, 2.0]).astype(mx.float16),
        "u": mx.array([1, 2]).astype(mx.uint8),
        "m": m,
        "fm": m.astype(mx.float32),
        "x3": mx.arange(24).reshape(2, 3, 4),
        "x4": mx.arange(120).reshape(2, 3, 4, 5),
        "i1": mx.array([0, 1]),
        "i2": mx.array([[0, 1], [1, 0]]),
    }


OURS, ORACLE = namespace(arrax.core), namespace(mlx.core)


def to_numpy(mx: Any, x: Any) -> np.ndarray:
    if 0 in x.shape:
        return np.zeros(x.shape)
    return np.array(x.astype(mx.float32) if x.dtype == mx.bfloat16 else x)


def same(ours: Any, theirs: Any, tolerance: float | None = None) -> None:
    """Asserts that two results have the same structure, shapes, types and, nearly, values."""
    if isinstance(theirs, mlx.core.array):
        assert isinstance(ours, arrax.core.array)
        assert ours.shape == theirs.shape
        name = repr(theirs.dtype).rpartition(".")[2]
        assert ours.dtype.name == name
        x, y = to_numpy(arrax.core, ours), to_numpy(mlx.core, theirs)
        if name in TOLERANCE:
            t = TOLERANCE[name] if tolerance is None else tolerance
            np.testing.assert_allclose(x, y, rtol=t, atol=t, equal_nan=True)
        else:
            np.testing.assert_array_equal(x, y)
    elif isinstance(theirs, tuple | list):
        assert isinstance(ours, tuple | list) and len(ours) == len(theirs)
        for x, y in zip(ours, theirs, strict=True):
            same(x, y, tolerance)
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, nan_ok=True)
    elif isinstance(theirs, bool | int | complex | str | bytes | type(None)):
        assert type(ours) is type(theirs)
        assert ours == theirs
    else:
        assert repr(ours).replace("arrax", "mlx") == repr(theirs)


@pytest.fixture(scope="session")
def agree() -> Callable[..., None]:
    """``agree(expression)``: both libraries give the same result, or an exception of the same type."""

    def check(expression: str) -> None:
        try:
            theirs = eval(expression, ORACLE)
            mlx.core.eval(theirs)
        except Exception as error:
            theirs = error
        try:
            if isinstance(theirs, Exception):
                with pytest.raises(type(theirs)) as raised:
                    arrax.core.eval(eval(expression, OURS))
                message = str(raised.value)
                assert message == str(theirs) or (message.startswith("[") and "\n" not in message), message
            else:
                same(eval(expression, OURS), theirs)
        except BaseException as error:
            error.add_note(f"in: {expression}")
            raise

    return check


@pytest.fixture(params=["references", "compiled"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Both ways to evaluate small graphs."""
    executor._bound.clear()  # it remembers which way a graph went
    monkeypatch.setattr(executor, "SMALL", 10**9 if request.param == "references" else 0)
    yield request.param
    executor._bound.clear()
