"""Makes the calls of the table in both libraries and compares their results."""

from __future__ import annotations

import copy
import functools
import operator
import re
import zlib
from builtins import slice as cut
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import mlx.core
import numpy as np
from tests.differential.table import FLOATS, Entry, entries

import arrax.core

# Relative to the result, and to 1. Transcendental functions of float64 are single precision in MLX.
NEAR = {"float16": 2e-3, "bfloat16": 1.6e-2, "float32": 4e-6, "float64": 4e-6, "complex64": 1e-5}
FACTORS = {"exact": 0, "shape": 0, "ordered": 0, "near": 1, "sums": 6, "loose": 50, "signs": 50}

SPECIAL = {
    "bool_": [True, False],
    "complex64": [0, 1j, -1, 2 - 3j, complex("inf"), complex("nan"), 0.5 + 0.5j],
    **{f: [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3e-3, 1e3, 6e4, np.inf, -np.inf, np.nan] for f in FLOATS},
}
OPERATORS = {"__matmul__": operator.matmul, "__getitem__": operator.getitem, "__pow__": operator.pow}
CONVERSIONS = {
    **{"__len__": len, "__iter__": list, "__bool__": bool, "__int__": int, "__float__": float, "__complex__": complex},
    **{"__index__": operator.index, "__repr__": repr, "__str__": str, "__format__": format},
    **{"__copy__": copy.copy, "__deepcopy__": copy.deepcopy, "__abs__": abs},
}


class Case(NamedTuple):
    """One call with one element type."""

    entry: Entry
    call: str
    dtype: str

    @property
    def text(self) -> str:
        return f"{self.entry.name} {self.dtype}: {self.call}"


def function(mx: Any, name: str) -> Callable[..., Any]:
    """The function of a name; methods and attributes take the array first."""
    owner, _, last = name.rpartition(".")
    if owner != "array":
        return getattr(getattr(mx, owner) if owner else mx, last)
    if last == "__reduce__":
        return lambda x: x.__reduce__()[0](*x.__reduce__()[1])
    if last == "__setitem__" or last == "at":
        return functools.partial(_set if last == "__setitem__" else _add_at, mx)
    if last in CONVERSIONS:
        return CONVERSIONS[last]
    plain = re.sub("__[ri](?!nvert)", "__", last) if last not in ("__rshift__", "__invert__") else last
    if last.startswith("__") and hasattr(operator, plain):
        action = getattr(operator, plain)
        if last.startswith("__r") and last != "__rshift__":
            return lambda x, y: action(y, x)
        if last.startswith("__i") and last != "__invert__":
            return lambda x, y: getattr(operator, last)(mx.array(x), y)
        return action
    return lambda x, *args, **kw: _attribute(getattr(x, last), args, kw)


def _attribute(value: Any, args: tuple, kw: dict[str, Any]) -> Any:
    return value(*args, **kw) if callable(value) and not isinstance(value, ARRAYS) else value


def _set(mx: Any, x: Any, index: Any, value: Any) -> Any:
    result = mx.array(x)
    result[index] = value
    return result


def _add_at(mx: Any, x: Any, index: Any, value: Any) -> Any:
    return x.at[index].add(value)


ARRAYS = (mlx.core.array, arrax.core.array)


def numbers(dtype: str, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(zlib.crc32(f"{kind}{shape}".encode()))
    if dtype == "bool_":
        return np.asarray(rng.integers(0, 2, shape) if kind in "XU" else np.ones(shape)).astype(bool)
    if "int" in dtype:
        low, high = {"X": (-4, 9), "Y": (1, 6), "P": (1, 9), "U": (0, 2)}[kind]
        values = np.asarray(rng.integers(max(low, 0) if dtype.startswith("u") else low, high, shape))
        if kind == "Y" and dtype.startswith("int"):
            values = values * rng.choice((-1, 1), shape)
        return np.asarray(values).astype(dtype)
    if kind == "U":
        return np.asarray(rng.uniform(-0.95, 0.95, shape))
    values = np.asarray(rng.normal(size=shape) * 2)
    if dtype == "complex64":
        values = values + 1j * rng.normal(size=shape)
    if kind == "P":
        values = np.abs(values) + 1.1
    return values


def special(dtype: str) -> np.ndarray:
    if dtype in SPECIAL:
        return np.array(SPECIAL[dtype])
    info = np.iinfo(dtype)
    return np.array([info.min, info.max, 0, 1, 2, info.max - 1, info.min + 1], dtype)


@functools.cache
def namespace(mx: Any, dtype: str) -> dict[str, Any]:
    def make(values: np.ndarray, name: str) -> Any:
        kind = getattr(mx, name)
        if "int" in name or "bool" in name:
            result = mx.array(values, dtype=kind)
        elif name == "float64":
            result = mx.array(np.asarray(values, np.float64), dtype=kind)
        else:
            result = mx.array(np.asarray(values, np.complex64 if "complex" in name else np.float32)).astype(kind)
        mx.eval(result)
        return result

    def maker(kind: str) -> Callable[..., Any]:
        return functools.cache(lambda *shape: make(numbers(dtype, kind, shape), dtype))

    def matrix(n: int) -> Any:
        a = np.random.default_rng(n).normal(size=(n, n))
        whole = dtype == "bool_" or "int" in dtype
        return make((np.eye(n) * 2 if whole else a @ a.T / n + np.diag(1.0 + np.arange(n))), dtype)

    return {
        **{"mx": mx, "np": np, "cut": cut, "D": getattr(mx, dtype)},
        **{kind: maker(kind) for kind in "XYPU"},
        "S": functools.cache(lambda: make(special(dtype), dtype)),
        "T": lambda name, *shape: make(numbers(name, "Y", shape), name),
        "I": lambda n, *shape: make(np.arange(np.prod(shape, dtype=int)).reshape(shape) * 7 % n, "int32"),
        "B": lambda *shape: make(numbers("bool_", "X", shape), "bool_"),
        "E": functools.cache(matrix),
        "K": lambda: mx.random.key(7),
    }


def record(mx: Any, case: Case) -> Any:
    """The result of a call, unevaluated, or the error that it raised."""
    try:
        names = {**namespace(mx, case.dtype), "F": function(mx, case.entry.name)}
        return eval(case.call, names)
    except Exception as error:
        return error


def arrays(tree: Any) -> Iterator[Any]:
    if isinstance(tree, ARRAYS):
        yield tree
    elif isinstance(tree, list | tuple):
        for item in tree:
            yield from arrays(item)


def evaluate(mx: Any, result: Any) -> Any:
    """An unevaluated result as plain values, or the error that the evaluation raised."""
    if isinstance(result, Exception):
        return result
    try:
        mx.eval(list(arrays(result)))
        return plain(mx, result)
    except Exception as error:
        return error


def plain(mx: Any, result: Any) -> Any:
    if isinstance(result, ARRAYS):
        name = str(result.dtype).rpartition(".")[2]
        value = result.astype(mx.float32) if name == "bfloat16" else result
        return name, np.zeros(result.shape) if 0 in result.shape else np.array(value)
    if isinstance(result, list | tuple):
        return [plain(mx, item) for item in result]
    if isinstance(result, bool | int | float | complex | str | type(None)):
        return result
    return str(result).replace("arrax", "mlx")


def differs(case: Case, ours: Any, theirs: Any) -> str | None:
    """What is not the same, or None."""
    if isinstance(theirs, Exception) or isinstance(ours, Exception):
        if isinstance(theirs, Exception) and isinstance(ours, type(theirs)):
            return None
        return f"we {_short(ours)}, MLX {_short(theirs)}"
    if isinstance(theirs, list):
        if not isinstance(ours, list) or len(ours) != len(theirs):
            return f"{_short(ours)}, MLX {_short(theirs)}"
        return next((d for o, t in zip(ours, theirs, strict=True) if (d := differs(case, o, t))), None)
    if not isinstance(theirs, tuple):
        if type(ours) is not type(theirs):
            return f"{_short(ours)}, MLX {_short(theirs)}"
        if isinstance(theirs, float | complex):
            return differs(case, ("float64", np.array(ours)), ("float64", np.array(theirs)))
        return None if ours == theirs else f"{_short(ours)}, MLX {_short(theirs)}"
    if not isinstance(ours, tuple) or ours[0] != theirs[0] or ours[1].shape != theirs[1].shape:
        return f"{_short(ours)}, MLX {_short(theirs)}"
    name, ours, theirs = theirs[0], ours[1], theirs[1]
    if case.entry.tolerance == "shape":
        return None
    wrong = np.argwhere(~near(ours, theirs, name, case))
    if not len(wrong):
        return None
    where = tuple(wrong[0])
    return f"{len(wrong)} of {ours.size} elements, such as {ours[where]!r}, MLX {theirs[where]!r}, of type {name}"


def near(ours: np.ndarray, theirs: np.ndarray, name: str, case: Case) -> np.ndarray:
    """Where elements agree."""
    way = case.entry.tolerance
    if way == "signs":
        ours, theirs = np.abs(ours), np.abs(theirs)
    if way == "ordered":
        ours, theirs = np.sort(ours, None), np.sort(theirs, None)
    # There is no exact way to compute a product or a modulus of complex numbers.
    factor = max(FACTORS[way], "complex64" in (name, case.dtype))
    if name not in NEAR or not factor:
        return (ours == theirs) | ((ours != ours) & (theirs != theirs))
    # What is computed in another type on the way is as inexact as that.
    t = factor * max(NEAR[name], NEAR.get(case.dtype, 0))
    with np.errstate(all="ignore"):
        margin = t + t * np.where(np.isfinite(theirs), np.abs(theirs), 1)
        if np.iscomplexobj(theirs):
            return _close(ours.real, theirs.real, margin) & _close(ours.imag, theirs.imag, margin)
        return _close(ours, theirs, margin)


def _close(ours: np.ndarray, theirs: np.ndarray, margin: np.ndarray) -> np.ndarray:
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    return same | (np.isfinite(theirs) & (np.abs(ours - theirs) <= margin))


def _short(value: Any) -> str:
    text = f"{type(value).__name__} {value}" if isinstance(value, Exception) else repr(value)
    return text[:200].replace("\n", " ")


def all_cases() -> dict[str, list[Case]]:
    """All calls of each function, those that a small sample takes first at the beginning."""
    result: dict[str, list[Case]] = {}
    for entry in entries():
        result.setdefault(entry.name, []).extend(Case(entry, c, d) for c in entry.calls for d in entry.dtypes)
    for name in result:
        result[name].sort(key=lambda case: zlib.crc32(case.text.encode()))
    return result
