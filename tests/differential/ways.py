"""The ways to evaluate one program, and what must be the same whichever is taken."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from types import ModuleType
from typing import Any

import ml_dtypes
import numpy as np
from tests.differential.evaluators import by_interpreter
from tests.differential.programs import elements_of, make
from tests.prims.agreement import ulps

import arrax.core as arrax
from arrax.graph.node import Node
from arrax.graph.template import Call
from arrax.prims import leaf
from arrax.runtime import buffer as memory
from arrax.runtime import cpu, executor

Function = Callable[..., Any]  # of the implementation and arrays; returns a tuple of arrays


@contextmanager
def everything_compiled() -> Iterator[None]:
    """Small graphs are compiled like others."""
    before = executor.SMALL, executor._bound
    executor.SMALL, executor._bound = 0, OrderedDict()
    try:
        yield
    finally:
        executor.SMALL, executor._bound = before


# --- ways ------------------------------------------------------------------------------------------------------------
def fused(f: Function, arrays: Sequence[Any], rng: random.Random) -> Any:
    """All that is wanted in one graph."""
    results = f(arrax, *arrays)
    arrax.eval(results)
    return results


def nodes_of(results: Sequence[Any]) -> list[Node]:
    """The nodes that results need and that can be evaluated, inputs first."""
    order, _, _ = executor._linearise([r._node for r in results if r._node.buffer is None])
    return [n for n in order if n.buffer is None and n.prim is not leaf.const and type(n) is not Call]


def unfused(f: Function, arrays: Sequence[Any], rng: random.Random) -> Any:
    """Every operation alone: what another one computes is data."""
    results = f(arrax, *arrays)
    for node in nodes_of(results):
        executor.evaluate([node])
    return results


def interpreted(f: Function, arrays: Sequence[Any], rng: random.Random) -> Any:
    """Every operation alone, by the interpreter of the kernel IR, which does to the bit what machine code does."""
    results = f(arrax, *arrays)
    for node in nodes_of(results):
        if node.prim.kind in ("call", "alias") or 0 in node.shape:
            executor.evaluate([node])
        else:
            with _nothing_compiled():
                (value,) = by_interpreter([node])
            executor.finish(node, memory.from_array(value))
    return results


@contextmanager
def _nothing_compiled() -> Iterator[None]:
    """Plans are bound to no machine code."""
    before, cpu.compiled = cpu.compiled, lambda kernel: (0, kernel)
    try:
        yield
    finally:
        cpu.compiled = before


def partly(f: Function, arrays: Sequence[Any], rng: random.Random) -> Any:
    """Some of the operations first, in any order, some of them in the background."""
    results = f(arrax, *arrays)
    nodes = nodes_of(results)
    for node in rng.sample(nodes, rng.randint(0, min(4, len(nodes)))):
        if rng.random() < 0.3:
            executor.evaluate_later([node])
        else:
            executor.evaluate([node])
    return results


class _Stepping:
    """An implementation some of whose functions evaluate what they return."""

    def __init__(self, module: ModuleType, rng: random.Random) -> None:
        self._module, self._rng = module, rng

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._module, name)
        if isinstance(found, ModuleType):
            return _Stepping(found, self._rng)
        if isinstance(found, type) or not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            result = found(*args, **kwargs)
            if isinstance(result, arrax.array) and not executor.tracing.depth and self._rng.random() < 0.5:
                arrax.eval(result)
            return result

        return call


def stepwise(f: Function, arrays: Sequence[Any], rng: random.Random) -> Any:
    """Some of the operations as soon as they are recorded."""
    return f(_Stepping(arrax, rng), *arrays)


def compiled(f: Function, arrays: Sequence[Any], rng: random.Random) -> Any:
    return arrax.compile(lambda *a: f(arrax, *a))(*arrays)


def recompiled(f: Function, arrays: Sequence[Any], rng: random.Random) -> Any:
    """A compiled function that has been called with other data, and with these once."""
    g = arrax.compile(lambda *a: f(arrax, *a), shapeless=rng.random() < 0.5)
    arrax.eval(g(*[arrax.zeros_like(a) for a in arrays]))
    arrax.eval(g(*arrays))
    return g(*arrays)


WAYS: dict[str, Callable[[Function, Sequence[Any], random.Random], Any]] = {
    w.__name__: w for w in (fused, unfused, interpreted, partly, stepwise, compiled, recompiled)
}


def evaluated(way: str, f: Function, elements: Sequence[np.ndarray], dtypes: Sequence[str]) -> list[np.ndarray]:
    """The results of a program, computed one way."""
    arrays = [make(arrax, e, d) for e, d in zip(elements, dtypes, strict=True)]
    results = WAYS[way](f, arrays, random.Random(len(arrays)))
    return [elements_of(arrax, r) for r in results]


# --- comparison ------------------------------------------------------------------------------------------------------
def parts(a: np.ndarray) -> np.ndarray:
    """Complex numbers as pairs."""
    return np.stack([a.real, a.imag], -1) if a.dtype.kind == "c" else a


def epsilon(a: np.ndarray) -> float:
    """The distance of 1 to the next number of a floating point type."""
    return float(ml_dtypes.finfo(parts(a).dtype).eps)


def is_float(a: np.ndarray) -> bool:
    return a.dtype.kind == "f" or a.dtype.name == "bfloat16"


def difference(found: np.ndarray, expected: np.ndarray, limit: np.ndarray | float = 0, *, signs: bool = True) -> str:
    """What differs by more than ``limit``; empty where nothing does. All that is not a number is one.

    ``signs``: zeros of different signs differ.
    """
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return f"{found.dtype}{list(found.shape)}, expected {expected.dtype}{list(expected.shape)}"
    a, b = parts(found), parts(expected)
    if not is_float(a):
        wrong = a != b
    else:
        with np.errstate(all="ignore"):
            wide = a.astype(np.float64), b.astype(np.float64)
            same = (wide[0] == wide[1]) | (np.isnan(wide[0]) & np.isnan(wide[1]))
            wrong = ~same & ~(np.abs(wide[0] - wide[1]) <= limit) & (np.asarray(limit) < np.inf)
            if signs:
                wrong |= (np.signbit(wide[0]) != np.signbit(wide[1])) & (wide[0] == wide[1])
    if not wrong.any():
        return ""
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    off = f" ({ulps(a[at], b[at]).item():.0f} ulps)" if is_float(a) else ""
    count = f"{found.dtype}{list(found.shape)}: {wrong.sum()} of {wrong.size} differ"
    return f"{count}, at {at}: {a[at]!s}, expected {b[at]!s}{off}"


def disagreement(f: Function, elements: Sequence[np.ndarray], dtypes: Sequence[str], ways: Sequence[str]) -> str:
    """The first way that gives other bits than the first of them; empty where all agree."""
    expected = evaluated(ways[0], f, elements, dtypes)
    for way in ways[1:]:
        found = evaluated(way, f, elements, dtypes)
        for k, (a, b) in enumerate(zip(found, expected, strict=True)):
            text = difference(a, b)
            if text:
                return f"{way}: result {k}: {text} {ways[0]}"
    return ""


def agree(f: Function, *elements: np.ndarray, ways: Sequence[str] = tuple(WAYS)) -> None:
    """Asserts that a program gives the same bits whichever way it is evaluated, small graphs compiled or not."""
    for setting in (everything_compiled, nullcontext):
        with setting():
            text = disagreement(f, elements, [e.dtype.name for e in elements], ways)
        assert not text, text
