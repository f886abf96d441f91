"""Numbers that depend on the sizes of a function's arguments, and the formulas that are found for them.

A recorded function knows numbers, not where they come from: 0.25 in a mean over four elements is a scalar like any
other. Recorded again for other sizes it holds other numbers, and a formula is looked for that gives all of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from arrax.graph.node import Shape

FORMS = ("floor", "ratio", "inverse", "root", "inverse root")
_TOLERANCE = 1e-14
_DIVISORS = 8  # of quotients that are rounded down
_LARGEST = 1 << 62

Monomial = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Size:
    """One size that may differ from call to call.

    Attributes:
        at: the argument and the axis of each place where it stands; it is the same in all of them.
        least: the smallest size for which the function is what was recorded.
    """

    at: tuple[tuple[int, int], ...]
    least: int


def sizes_of(sizes: Sequence[Size], shapes: Sequence[Shape]) -> list[int]:
    """The values of the sizes in arguments of the given shapes."""
    return [shapes[s.at[0][0]][s.at[0][1]] for s in sizes]


def matches(sizes: Sequence[Size], recorded: Sequence[Shape], shapes: Sequence[Shape]) -> bool:
    """Whether arguments of the given shapes differ from the recorded ones in these sizes alone."""
    expected = [list(shape) for shape in recorded]
    for size, n in zip(sizes, sizes_of(sizes, shapes), strict=True):
        if n < size.least:
            return False
        for i, axis in size.at:
            expected[i][axis] = n
    return [tuple(shape) for shape in expected] == list(shapes)


@dataclass(frozen=True, slots=True)
class Formula:
    """A number out of sizes: a polynomial over a divisor, in one of several forms.

    Attributes:
        terms: coefficients, each with the sizes that it is multiplied by.
        over: the divisor, at least 1.
        form: ``floor`` is the quotient as an integer, rounded down; ``ratio`` the quotient; ``inverse``, ``root`` and
            ``inverse root`` what their names say of it.
    """

    terms: tuple[tuple[int, Monomial], ...]
    over: int
    form: str

    def value(self, sizes: Sequence[int]) -> Any:
        """The number for the given sizes. Raises ValueError where there is none."""
        total = sum(c * math.prod(sizes[i] for i in monomial) for c, monomial in self.terms)
        try:
            if self.form == "floor":
                number = total // self.over
                if abs(number) > _LARGEST:
                    raise OverflowError
                return number
            if self.form == "ratio":
                return total / self.over
            if self.form == "inverse":
                return self.over / total
            return math.sqrt(total / self.over if self.form == "root" else self.over / total)
        except (ZeroDivisionError, OverflowError, ValueError):
            raise ValueError(
                f"[import_function] expected sizes for which the function is defined, got {list(sizes)}"
            ) from None


def fit(values: Sequence[Any], sizes: Sequence[Sequence[int]]) -> Formula | None:
    """A formula that gives each of the values for the sizes of the same position; None if none was found."""
    if all(isinstance(v, int) for v in values):
        found = _fit_polynomial([Fraction(v) for v in values], sizes, "floor")
        return found or _fit_floor(values, sizes)
    if not all(isinstance(v, float) and math.isfinite(v) for v in values):
        return None
    for form in FORMS[1:]:
        if "inverse" in form and 0.0 in values:
            continue
        base = [1 / v if "inverse" in form else v for v in values]
        if "root" in form:
            if min(values) < 0:
                continue
            base = [v * v for v in base]
        # close to integers over small divisors, or nothing of the kind
        targets = [Fraction(v).limit_denominator(1 << 16) for v in base]
        found = _fit_polynomial(targets, sizes, form)
        if found is not None and _agrees(found, values, sizes):
            return found
    return None


def _agrees(formula: Formula, values: Sequence[Any], sizes: Sequence[Sequence[int]]) -> bool:
    return all(
        math.isclose(formula.value(s), v, rel_tol=_TOLERANCE, abs_tol=0) for s, v in zip(sizes, values, strict=True)
    )


def _bases(count: int) -> Iterator[list[Monomial]]:
    """Sets of monomials to try, simple ones first."""
    every = range(count)
    yield from ([(), (i,)] for i in every)
    for i, j in itertools.combinations_with_replacement(every, 2):
        yield [(), (i, j)]
        yield [(), (i,), (j,), (i, j)] if i != j else [(), (i,), (i, i)]
    yield from ([(), m] for m in itertools.combinations_with_replacement(every, 3))
    if count > 2:
        yield [(), *((i,) for i in every)]
        for i, j, k in itertools.combinations(every, 3):
            yield [(), (i,), (j,), (k,), (i, j), (i, k), (j, k), (i, j, k)]
    yield from ([(), m] for m in itertools.combinations(every, 4))


def _fit_polynomial(values: Sequence[Fraction], sizes: Sequence[Sequence[int]], form: str) -> Formula | None:
    for basis in _bases(len(sizes[0])):
        if len(basis) >= len(values):
            continue
        rows = [[Fraction(math.prod(s[i] for i in m)) for m in basis] for s in sizes]
        solution = _solve(rows, list(values), len(basis))
        if solution is not None:
            over = math.lcm(*(c.denominator for c in solution))
            terms = [(int(c * over), m) for c, m in zip(solution, basis, strict=True) if c]
            return Formula(tuple(terms), over, form)
    return None


def _solve(rows: list[list[Fraction]], values: list[Fraction], n: int) -> list[Fraction] | None:
    """The coefficients that satisfy all equations, if they are determined and there are some."""
    system = [[*row, v] for row, v in zip(rows, values, strict=True)]
    for k in range(n):
        pivot = next((i for i in range(k, len(system)) if system[i][k]), None)
        if pivot is None:
            return None
        system[k], system[pivot] = system[pivot], system[k]
        top = system[k]
        for i in range(len(system)):
            if i != k and system[i][k]:
                factor = system[i][k] / top[k]
                system[i] = [a - factor * b for a, b in zip(system[i], top, strict=True)]
    if any(row[n] for row in system[n:]):
        return None
    return [system[k][n] / system[k][k] for k in range(n)]


def _fit_floor(values: Sequence[int], sizes: Sequence[Sequence[int]]) -> Formula | None:
    """A quotient of one size that is rounded down."""
    for axis in range(len(sizes[0])):
        line = [s[axis] for s in sizes]
        low, high = line.index(min(line)), line.index(max(line))
        if line[low] == line[high]:
            continue
        slope = Fraction(values[high] - values[low], line[high] - line[low])
        for q in range(2, _DIVISORS + 1):
            p = round(slope * q)
            rest = [q * v - p * d for v, d in zip(values, line, strict=True)]
            first, last = max(rest), min(rest) + q - 1
            if p and first == last:  # exactly one constant will do
                return Formula(((first, ()), (p, (axis,))), q, "floor")
    return None
