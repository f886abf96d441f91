"""Runs a program every way, and compares the ways with each other and with the oracles."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from tests.differential.oracle import wrong
from tests.differential.programs import Program, dtype_of, elements_of, make
from tests.differential.ways import WAYS, difference, epsilon, evaluated, is_float, parts

import arrax.core as arrax

SEEDS_OF_NOISE = (1, 2, 3)
SAFETY = 16  # times what disturbing the inexact values changes
UNBOUNDED = (math.nan, math.inf, -math.inf, 0.0)  # what overflows in one order need not do so in another
OTHERS = tuple(w for w in WAYS if w not in ("fused", "unfused", "interpreted"))


def some_ways(seed: int, *, thorough: bool) -> list[str]:
    """Ways to evaluate a program; two of them if not ``thorough``."""
    rng = random.Random(seed)
    if thorough:
        return ["unfused", "fused", *rng.sample(OTHERS, 2)]
    return ["unfused", "fused"] if rng.random() < 0.4 else ["fused", rng.choice(OTHERS)]


def failure(program: Program, ways: Sequence[str] = ("unfused", *OTHERS, "fused"), *, mlx: bool = True) -> str:
    """What is wrong with a program's results, beginning with who says so; empty where nothing is.

    The first of the ways says what the others must give; the oracles are asked if it is ``unfused``.
    """
    elements = [i.values() for i in program.inputs]
    dtypes = [i.dtype for i in program.inputs]
    names = tuple(s.name for s in program.statements) if ways[0] == "unfused" else program.outputs
    way = ways[0]
    try:
        first = evaluated(way, replace(program, outputs=names).function(), elements, dtypes)
        expected = dict(zip(names, first, strict=True))
        for way in ways[1:]:
            results = evaluated(way, program.function(), elements, dtypes)
            for name, found in zip(program.outputs, results, strict=True):
                text = difference(found, expected[name])
                if text and name not in program.exact():
                    text = difference(found, expected[name], _spread(program, name), signs=False)
                if text:
                    return f"{way}: {name}: {text} {ways[0]}"
        if ways[0] == "fused":
            return ""
        way = "alike"
        values = {i.name: e for i, e in zip(program.inputs, elements, strict=True)} | expected
        types = dict(zip(values, [*dtypes, *(e.dtype.name for e in first)], strict=True))
        text = _alike(program, values, types)
        if text:
            return f"alike: {text}"
    except Exception as error:
        return f"{way}: {type(error).__name__}: {str(error)[:300]}"
    return wrong(program, values, types, mlx=mlx)


def _alike(program: Program, values: dict[str, np.ndarray], types: dict[str, str]) -> str:
    """What the other definitions of statements give."""
    for s in program.statements:
        if s.alike is None or s.alike == s.template:
            continue
        found = elements_of(arrax, s.run(arrax, {n: make(arrax, values[n], types[n]) for n in s.uses}, s.alike))
        expected = values[s.name]
        limit = _tolerance(expected, s.ulps) if s.ulps else 0.0
        text = difference(found, expected, limit)
        if text:
            return f"{s.name}: {text} {s.kind}"
    return ""


def _tolerance(a: np.ndarray, count: float) -> float:
    """So many units in the last place of the largest element."""
    if not is_float(parts(a)):
        return 0.0
    size = np.abs(parts(a).astype(np.float64))
    largest = float(np.max(size, initial=0, where=np.isfinite(size)))
    return count * epsilon(a) * largest


def _disturbed(program: Program, seed: int | None) -> dict[str, np.ndarray]:
    """The values of a program, statement by statement, where those that are not exact are changed at random.

    Without a seed nothing is changed.
    """
    rng = np.random.default_rng(seed)
    arrays = {i.name: make(arrax, i.values(), i.dtype) for i in program.inputs}
    values = {}
    for s in program.statements:
        array = s.run(arrax, arrays)
        elements = elements_of(arrax, array)
        if s.ulps and seed is not None and is_float(parts(elements)):
            noise = rng.uniform(-1, 1, elements.shape)
            with np.errstate(all="ignore"):
                wide = elements.astype(np.complex128 if elements.dtype.kind == "c" else np.float64)
                wide = wide * (1 + np.sign(noise) * epsilon(elements))
                limit = _tolerance(elements, s.ulps)
                wide = np.where(np.isfinite(wide), wide + noise * limit, rng.choice(UNBOUNDED, wide.shape))
                elements = wide.astype(elements.dtype)
            array = make(arrax, elements, dtype_of(array))
        arrays[s.name], values[s.name] = array, elements
    return values


def _spread(program: Program, name: str) -> np.ndarray | float:
    """How far a value may be off because of what is not exact before it."""
    base = _disturbed(program, None)[name]
    if not is_float(parts(base)):
        return 0.0
    spread = np.zeros(parts(base).shape)
    for seed in SEEDS_OF_NOISE:
        other = _disturbed(program, seed)[name]
        with np.errstate(all="ignore"):
            off = np.abs(parts(other).astype(np.float64) - parts(base).astype(np.float64))
        same = parts(other) == parts(base)
        spread = np.maximum(spread, np.where(same, 0, np.where(np.isfinite(off), off, np.inf)))
    finite = spread[np.isfinite(spread)]
    return SAFETY * np.maximum(spread, 0.1 * float(finite.max(initial=0)))
