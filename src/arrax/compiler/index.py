"""Symbolic integers: sizes, strides and coordinates.

Every coordinate and every address is a polynomial with integer coefficients over *letters*: sizes of axes, run-time
arguments (where a slice begins), loop variables, and atoms (a quotient, a remainder, a position read from data). Two
axes have the same letter exactly if they have the same size, and a size that a reshape splits is written as the product
of its parts, so that most maps of coordinates stay polynomials and equal ones are equal as they stand. Sizes up to
``TINY`` are numbers: code is made for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from arrax.graph.node import Node, Shape
from arrax.prims.view import reshape_groups

Place = int | tuple[int, int]  # of a node in the recorded graph; of a part of one: that one's, and the part's number
TINY = 8
SHORT = 32  # up to which a loop is too short for wide vectors


def size_form(n: int) -> int:
    """What of a size decides a plan: a tiny one itself, whether another one is short."""
    return n if n <= TINY else TINY + 1 + (n <= SHORT)


class Poly:
    """A polynomial: products of letters (sorted tuples) and their coefficients."""

    __slots__ = ("_hash", "terms")

    def __init__(self, terms: dict[tuple[int, ...], int]) -> None:
        self.terms = terms
        self._hash: int | None = None

    def __add__(self, other: Poly | int) -> Poly:
        if isinstance(other, int):
            other = constant(other)
        if not other.terms:
            return self
        if not self.terms:
            return other
        terms = dict(self.terms)
        for letters, k in other.terms.items():
            k += terms.get(letters, 0)
            if k:
                terms[letters] = k
            else:
                del terms[letters]
        return Poly(terms)

    def __sub__(self, other: Poly | int) -> Poly:
        return self + (other * -1)

    def __mul__(self, other: Poly | int) -> Poly:
        if isinstance(other, int):
            if other == 1:
                return self
            return Poly({t: k * other for t, k in self.terms.items()}) if other else ZERO
        if other.terms == {(): 1}:
            return self
        if self.terms == {(): 1}:
            return other
        terms: dict[tuple[int, ...], int] = {}
        for a, j in self.terms.items():
            for b, k in other.terms.items():
                key = tuple(sorted(a + b)) if a and b else a or b
                terms[key] = terms.get(key, 0) + j * k
        return Poly({t: k for t, k in terms.items() if k})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Poly) and self.terms == other.terms

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(frozenset(self.terms.items()))
        return self._hash

    @property
    def value(self) -> int | None:
        """The number that this is, if it is one."""
        if not self.terms:
            return 0
        return self.terms.get(()) if len(self.terms) == 1 else None

    def letters(self) -> set[int]:
        return {x for t in self.terms for x in t}

    def coefficient(self, letter: int) -> Poly:
        """What the letter is multiplied with (it occurs at most once in a term of an address)."""
        terms = {}
        for t, k in self.terms.items():
            if letter in t:
                i = t.index(letter)
                terms[t[:i] + t[i + 1 :]] = k
        return Poly(terms)

    def without(self, letter: int) -> Poly:
        return Poly({t: k for t, k in self.terms.items() if letter not in t})

    def substitute(self, letter: int, value: Poly) -> Poly:
        c = self.coefficient(letter)
        return self if not c.terms else self.without(letter) + c * value

    def divide(self, other: Poly) -> tuple[Poly, Poly]:
        """Quotient and remainder, term by term, by a single product of letters."""
        if len(other.terms) != 1:
            return ZERO, self
        ((divisor, d),) = other.terms.items()
        quotient, rest = {}, {}
        for t, k in self.terms.items():
            left = list(t)
            for x in divisor:
                if x not in left:
                    break
                left.remove(x)
            else:
                if k % d == 0:
                    quotient[tuple(left)] = k // d
                    continue
            rest[t] = k
        return Poly(quotient), Poly(rest)


def constant(n: int) -> Poly:
    return Poly({(): n}) if n else ZERO


ZERO = Poly({})
ONE = Poly({(): 1})


class Symbols:
    """The letters of one plan: what each stands for, and the sizes' and arguments' values in the current evaluation."""

    def __init__(self) -> None:
        self.kinds: list[tuple] = []
        self.numbers: list[int] = []  # the letters whose value an evaluation supplies, in order of `values`
        self._interned: dict[tuple, int] = {}
        self._nested: list[int] = []
        self._factors: dict[int, tuple[int, ...]] = {}
        self._sizes: dict[int, Poly] = {}
        self._polys: dict[int, Poly] = {}
        self.pitches: set[int] = set()  # arguments that are distances of rows, at least as long as the rows
        self.bounds: dict[int, Poly] = {}  # loop variable -> number of iterations, for the group at hand

    def letter(self, *kind: Any) -> int:
        found = self._interned.get(kind)
        if found is None:
            found = self._interned[kind] = len(self.kinds)
            self.kinds.append(kind)
            inside = [
                q for part in kind[1:] for q in (part if isinstance(part, tuple) else (part,)) if isinstance(q, Poly)
            ]
            self._nested.append(1 + max(map(self.nesting, inside)) if inside else 0)
        return found

    def poly(self, letter: int) -> Poly:
        found = self._polys.get(letter)
        if found is None:
            found = self._polys[letter] = Poly({(letter,): 1})
        return found

    def learn(self, order: list[Node]) -> None:
        """Finds out which sizes are products of others, from the reshapes of the graph."""
        for node in order:
            if node.prim.name == "reshape":
                for left, right in reshape_groups(node.inputs[0].shape, node.shape):
                    a = [node.inputs[0].shape[i] for i in left]
                    b = [node.shape[j] for j in right]
                    whole, parts = (a, b) if len(a) == 1 else (b, a)
                    if len(whole) == 1 and len(parts) > 1 and whole[0] not in self._factors:
                        self._factors[whole[0]] = tuple(parts)

    def size(self, n: int) -> Poly:
        """The size of an axis."""
        found = self._sizes.get(n)
        if found is None:
            if n <= TINY:
                found = constant(n)
            elif n in self._factors:
                found = ONE
                for part in self._factors[n]:
                    found = found * self.size(part)
            else:
                found = self.poly(self.letter("size", n))
            self._sizes[n] = found
        return found

    def elements(self, shape: Shape) -> Poly:
        """How many elements an array has."""
        total = ONE
        for n in shape:
            total = total * self.size(n)
        return total

    def parts(self, n: int) -> list[int]:
        """The sizes that an axis is the product of, from the outermost to the innermost."""
        if n <= TINY or n not in self._factors:
            return [n]
        return [q for part in self._factors[n] for q in self.parts(part)]

    def nesting(self, p: Poly) -> int:
        """How many quotients, remainders and positions read from data stand inside each other."""
        return max((self._nested[x] for x in p.letters()), default=0)

    def is_short(self, size: Poly) -> bool:
        """Whether a loop of this size is known to be too short for wide vectors."""
        if size.value is not None:
            return size.value <= SHORT
        if len(size.terms) > 1:
            return False
        ((letters, k),) = size.terms.items()
        return (
            k == 1 and len(letters) == 1 and self.kinds[letters[0]][0] == "size" and self.kinds[letters[0]][1] <= SHORT
        )

    def var(self, i: int) -> Poly:
        return self.poly(self.letter("var", i))

    def argument(self, node: Place, i: int) -> Poly:
        """The i-th dynamic parameter of a node, given by its place."""
        return self.poly(self.letter("arg", node, i))

    def strides(self, shape: Shape) -> list[Poly]:
        """Element strides of a row-contiguous array."""
        result, step = [], ONE
        for n in reversed(shape):
            result.append(step)
            step = step * self.size(n)
        return result[::-1]

    def address(self, coords: Sequence[Poly], shape: Shape) -> Poly:
        """The linear position in a row-contiguous array."""
        total = ZERO
        for c, s in zip(coords, self.strides(shape), strict=True):
            if c.terms:
                total = total + c * s
        return self._rejoined(total)

    def _rejoined(self, p: Poly) -> Poly:
        """With quotients and remainders that belong together put together: (x / n) · n + x % n is x."""
        pending = [x for x in p.letters() if self.kinds[x][0] == "mod"]
        while pending:
            x = pending.pop()
            _, whole, n = self.kinds[x]
            quotient, factor = self._interned.get(("div", whole, n)), p.coefficient(x)
            if quotient is not None and factor.terms and p.coefficient(quotient) == factor * n:
                p = p.without(x).without(quotient) + factor * whole
                pending = [x for x in p.letters() if self.kinds[x][0] == "mod"]
        return p

    def divmod(self, p: Poly, n: Poly) -> tuple[Poly, Poly]:
        """Quotient and remainder of a non-negative number; polynomials where that can be proved."""
        p = self._rejoined(p)
        quotient, rest = p.divide(n)
        if not rest.terms:
            return quotient, ZERO
        most = rest
        for x in rest.letters():
            if x in self.bounds:
                most = most.substitute(x, self.bounds[x] - 1)
        slack = n - 1 - most
        positive = all(k > 0 for k in rest.terms.values())
        if positive and slack.value is not None and slack.value >= 0 and not (most.letters() & self.bounds.keys()):
            return quotient, rest
        return self.poly(self.letter("div", p, n)), self.poly(self.letter("mod", p, n))


class ViewContext:
    """What a view's ``lower`` rule may use; see `arrax.prims.view`."""

    zero = ZERO

    def __init__(self, symbols: Symbols, node: Place, data: Callable[[int, Sequence[Poly], int], Poly]) -> None:
        self.symbols = symbols
        self.node = node
        self._data = data

    def size(self, n: int) -> Poly:
        return self.symbols.size(n)

    def arg(self, i: int) -> Poly:
        return self.symbols.argument(self.node, i)

    def pitch(self, i: int) -> Poly:
        """Likewise for the distance of rows that do not overlap."""
        found = self.symbols.argument(self.node, i)
        self.symbols.pitches.update(found.letters())
        return found

    def data(self, input_number: int, coords: Sequence[Poly], length: int) -> Poly:
        """The position (in 0..length-1) that an input holds at the given coordinates."""
        return self._data(input_number, coords, length)

    def flatten(self, coords: Sequence[Poly], sizes: Sequence[int]) -> Poly:
        total = ZERO
        for c, n in zip(coords, sizes, strict=True):
            total = total * self.size(n) + c
        return total

    def unflatten(self, linear: Poly, sizes: Sequence[int]) -> list[Poly]:
        result = []
        for n in reversed(sizes[1:]):
            linear, rest = self.symbols.divmod(linear, self.size(n))
            result.append(rest)
        result.append(linear)
        return result[::-1]
