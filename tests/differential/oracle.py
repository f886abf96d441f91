"""What statements should compute: MLX, and NumPy in double precision, on the values that Arrax computed before.

Each statement is compared alone, so that differences do not add up along a program.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
from tests.differential.programs import Program, Statement, elements_of, make
from tests.differential.ways import difference, epsilon, is_float, parts

# Units in the last place of a result, and of the largest element of operands and result, that results may be off by.
NEARNESS = {
    "exact": (0, 0),
    "near": (8, 0),
    "absolute": (8, 2),
    "random": (64, 4),
    "sum": (40, 10),
    "derivative": (400, 200),
    "loose": (200, 100),
}
ORDINARY = 1000.0  # sums of larger numbers may overflow in one order and not in another

# Statements for which MLX is no oracle, by two patterns that are found in their text.
KNOWN: dict[tuple[str, str], str] = {
    (r"mx\.jvp", r"mx\.(max|min)\("): "MLX's jvp takes one of several largest elements, Arrax's shares as all vjps do",
    (r"mx\.(grad|vjp|jvp)", r"\]\.(maximum|minimum)\("): "MLX gives both of equal numbers the whole derivative",
}


class _NumPy:
    """NumPy under the names of MLX, as far as programs need it."""

    float16, float32, float64, bool_ = np.float64, np.float64, np.float64, np.bool_
    stop_gradient = staticmethod(np.asarray)

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


def _limit(expected: np.ndarray, values: Sequence[np.ndarray], nearness: str) -> np.ndarray | float | None:
    """How far a result may be from the expected one; None where nobody can say."""
    own, largest = NEARNESS[nearness]
    if not own or not is_float(parts(expected)):
        return 0.0
    if not all(np.isfinite(parts(a).astype(np.float64)).all() for a in (expected, *values)) and largest:
        return None
    eps = max(epsilon(a) for a in (expected, *values) if is_float(parts(a)))
    size = np.abs(parts(expected).astype(np.float64))
    limits = ml_dtypes.finfo(parts(expected).dtype)
    smallest = float(limits.smallest_normal)
    if largest:
        numbers = [np.abs(parts(a).astype(np.float64)) for a in (expected, *values) if a.size]
        scale = max([1.0, *(float(n.max()) for n in numbers)])
        if not scale <= ORDINARY:
            return None
        terms = max((a.size for a in values), default=0) / max(1, expected.size)  # MLX adds them up one by one
        return eps * (own * size + largest * scale * max(1.0, terms / 32))
    with np.errstate(invalid="ignore"):
        return eps * own * np.where(np.isfinite(size), size, 0) + smallest


def is_known(s: Statement) -> bool:
    """Whether MLX is no oracle for a statement."""
    text = "\n".join(s.lines())
    return any(all(re.search(p, text) for p in patterns) for patterns in KNOWN)


def by_mlx(s: Statement, values: dict[str, np.ndarray], dtypes: dict[str, str]) -> np.ndarray | None:
    """The statement's result by MLX; None where it has none."""
    import mlx.core as mlx

    try:
        result = s.run(mlx, {n: make(mlx, values[n], dtypes[n]) for n in s.uses}, s.alike or s.template)
        return elements_of(mlx, result)
    except (ValueError, TypeError, IndexError, RuntimeError):
        return None


def by_numpy(s: Statement, values: dict[str, np.ndarray], found: np.ndarray) -> np.ndarray:
    """The statement's result by NumPy in double precision, rounded to the type of what was found."""
    wide = {n: values[n].astype(np.float64) if is_float(values[n]) else values[n] for n in s.uses}
    with np.errstate(all="ignore"):
        return np.asarray(s.run(_NumPy(), wide)).astype(found.dtype)


def wrong(program: Program, values: dict[str, np.ndarray], dtypes: dict[str, str], *, mlx: bool = True) -> str:
    """The first statement whose value is not what an oracle says; empty where there is none."""
    for s in program.statements:
        if s.oracle is None:
            continue
        found, operands = values[s.name], [values[n] for n in s.uses]
        empty = found.size and any(not a.size for a in operands)  # which MLX does not reduce
        if mlx and not empty and not is_known(s) and not _double(found, operands, s):
            expected = by_mlx(s, values, dtypes)
            problem = _compared(found, expected, operands, s.oracle) if expected is not None else ""
            if problem:
                return f"mlx: {s.name}: {problem}"
        if s.numpy:
            problem = _compared(found, by_numpy(s, values, found), operands, s.oracle)
            if problem:
                return f"numpy: {s.name}: {problem}"
    return ""


def _double(found: np.ndarray, operands: Sequence[np.ndarray], s: Statement) -> bool:
    """Whether MLX computes double precision in single."""
    return s.oracle != "exact" and any(a.dtype == np.float64 for a in (found, *operands))


def _compared(found: np.ndarray, expected: np.ndarray, operands: Sequence[np.ndarray], nearness: str) -> str:
    limit = _limit(expected, operands, nearness)
    if limit is None:
        return ""
    return difference(found, expected, limit, signs=False)
