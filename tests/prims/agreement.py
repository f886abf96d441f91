"""Comparison of the three evaluations of a graph, in units in the last place."""

from __future__ import annotations

from collections.abc import Sequence

import ml_dtypes
import numpy as np
from tests.differential.evaluators import by_interpreter, by_machine, by_reference

from arrax.graph.node import Node

_BITS = {2: np.int16, 4: np.int32, 8: np.int64}


def is_float(dtype: np.dtype) -> bool:
    return dtype.kind == "f" or dtype == ml_dtypes.bfloat16


def ulps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How many floats lie between each two; all NaNs are one, and so are both zeros."""
    bits = _BITS[a.dtype.itemsize]
    both = np.isnan(a) & np.isnan(b)
    ordered = []
    for x in (a, b):
        n = np.ascontiguousarray(x).view(bits).astype(np.int64)
        ordered.append(np.where(n < 0, np.int64(np.iinfo(bits).min) - n, n))
    # in float64, for two numbers of 64 bits may be further apart than one can say
    distance = np.abs(ordered[0].astype(np.float64) - ordered[1].astype(np.float64))
    close = np.abs(ordered[0] - ordered[1])
    distance = np.where(distance < 2.0**52, close, distance)
    return np.where(both, 0, np.where(np.isnan(a) | np.isnan(b), np.inf, distance))


def assert_within(found: np.ndarray, expected: np.ndarray, limit: float, what: str) -> None:
    """Equal for integers and truth values, at most ``limit`` units in the last place apart for floats."""
    assert found.dtype == expected.dtype and found.shape == expected.shape, what
    if found.dtype.kind == "c":
        for part in (np.real, np.imag):
            assert_within(part(found).copy(), part(expected).copy(), limit, what)
        return
    wrong = ulps(found, expected) > limit if is_float(found.dtype) else found != expected
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        off = f"{ulps(found, expected)[at]} ulp" if is_float(found.dtype) else "wrong"
        raise AssertionError(
            f"{what}: {wrong.sum()} of {wrong.size} differ, at {at}: {found[at]}, expected {expected[at]} ({off})"
        )


def agree(nodes: Sequence[Node], what: str, *, limit: float = 0, absolute: float = 0) -> None:
    """Machine code does what the interpreter does, to the bit; both are within ``limit`` ulp of the references, or
    within ``absolute`` times the largest element where a long sum makes that the better measure."""
    machine, interpreted, reference = by_machine(nodes), by_interpreter(nodes), by_reference(nodes)
    for m, i, r in zip(machine, interpreted, reference, strict=True):
        if absolute and is_float(m.dtype):
            wide = [x.astype(np.float64) for x in (m, i, r)]
            bound = absolute * np.max(np.abs(wide[2]), initial=0, where=np.isfinite(wide[2]))
            np.testing.assert_allclose(
                wide[0], wide[2], rtol=absolute, atol=bound, err_msg=f"{what}: machine, reference"
            )
            np.testing.assert_allclose(
                wide[1], wide[2], rtol=absolute, atol=bound, err_msg=f"{what}: interpreter, reference"
            )
        else:
            assert_within(m, i, 0, f"{what}: machine, interpreter")
            assert_within(m, r, limit, f"{what}: machine, reference")
