"""Grows random programs, statement by statement; a seed decides everything.

Only shapes and types are known while a program grows: each statement is recorded, never evaluated, so that a program
does not depend on what the engine computes. What a value may be used for is known by two properties: it is *exact* if
the engine promises the same bits however it is computed, and *certain* if every implementation has them. What jumps
(comparisons, rounding, positions) is applied to exact values only, and to certain ones inside of functions that
transforms are applied to.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tests.differential.programs import (
    DATA,
    FLOATS,
    HALVES,
    INTEGERS,
    UNSIGNED,
    Function,
    Input,
    Program,
    Statement,
    dtype_of,
    make,
)

import arrax.core as arrax

SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 31, 32, 33, 64, 65)
LARGE = (2048, 4097)
LIMIT = 5000  # elements of a value
# Sums of doubles are as accurate as doubles are: their last bits depend on the order.
SUMS, LAST_BITS = ("sum", "loose", "derivative"), 4.0
KINDS = dict(zip(DATA, (60, 10, 6, 6, 8, 5, 5), strict=True))


class Rejected(Exception):
    """The operation that was tried does not fit here."""


@dataclass
class Value:
    """A variable of a program that grows: its recorded array, and what is known of it."""

    name: str
    array: Any
    exact: bool
    certain: bool

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def ndim(self) -> int:
        return self.array.ndim

    @property
    def size(self) -> int:
        return self.array.size

    @property
    def dtype(self) -> str:
        return dtype_of(self.array)

    @property
    def is_float(self) -> bool:
        return self.dtype in FLOATS

    @property
    def is_half(self) -> bool:
        return self.dtype in HALVES

    @property
    def is_integer(self) -> bool:
        return self.dtype in INTEGERS


@dataclass(frozen=True)
class Operation:
    """What appends a statement of one kind.

    Attributes:
        apply: does so, or raises ``Rejected``.
        weight: how often it is tried.
        smooth: whether its derivatives exist, and are the same in every implementation.
        inner: whether it may stand inside of a function.
        grows: whether its results may be much larger than its operands: they are clipped then.
    """

    apply: Callable[[Generator], None]
    weight: float
    smooth: bool
    inner: bool
    grows: bool

    @property
    def name(self) -> str:
        return self.apply.__name__


OPERATIONS: list[Operation] = []


def operation(
    weight: float, *, smooth: bool = False, inner: bool = True, grows: bool = False
) -> Callable[[Callable[[Generator], None]], Callable[[Generator], None]]:
    """Makes a function known as one of the ``OPERATIONS``."""

    def register(apply: Callable[[Generator], None]) -> Callable[[Generator], None]:
        OPERATIONS.append(Operation(apply, weight, smooth, inner, grows))
        return apply

    return register


def _any(_: Value) -> bool:
    return True


class Generator:
    """Grows one program or, with ``outer``, a function inside of one."""

    def __init__(self, rng: random.Random, outer: Generator | None = None, *, smooth: bool = False) -> None:
        self.rng = rng
        self.smooth = smooth
        self.depth = outer.depth + 1 if outer else 0
        self.prefix = f"{outer.prefix}{len(outer.values)}_" if outer else "v"
        self.inputs: list[Input] = []
        self.statements: list[Statement] = []
        self.values: list[Value] = []
        self.kind = ""
        if outer:
            self.sizes, self.dtypes, self.kinds, self.limit = outer.sizes, outer.dtypes, outer.kinds, outer.limit
        else:
            self.sizes = self._palette()
            floats = rng.choice((FLOATS[:1], FLOATS[:1], FLOATS[1:2], FLOATS[2:3], FLOATS[3:], HALVES, FLOATS))
            self.dtypes = (*floats, *floats, *floats, "float32", rng.choice(INTEGERS), "int32", "bool")
            if self.chance(0.12):
                self.dtypes += ("complex64",) * 6
            self.kinds = KINDS if self.chance(0.6) else {"plain": 1}
            self.limit = LIMIT

    def _palette(self) -> tuple[int, ...]:
        """The sizes that axes of this program have: few, so that they meet."""
        if self.chance(0.15):
            return (self.pick(SIZES),)
        sizes = [self.pick(SIZES) for _ in range(3)]
        if self.chance(0.12):
            sizes[0] = self.pick(LARGE)
        if self.chance(0.06):
            sizes[1] = 0
        return tuple(sizes)

    # --- choices -----------------------------------------------------------------------------------------------------
    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def pick(self, items: Sequence[Any]) -> Any:
        if not items:
            raise Rejected
        return items[self.rng.randrange(len(items))]

    def value(self, accept: Callable[[Value], bool] = _any) -> Value:
        """One of the values so far; recent ones are likelier."""
        fitting = [v for v in self.values if accept(v)]
        return self.pick(fitting[-4:] if self.chance(0.6) else fitting)

    def floating(self, accept: Callable[[Value], bool] = _any) -> Value:
        return self.value(lambda v: v.is_float and accept(v))

    def sure(self, accept: Callable[[Value], bool] = _any) -> Value:
        """A value that may be compared or rounded."""
        return self.value(lambda v: self.is_sure(v) and accept(v))

    def is_sure(self, v: Value) -> bool:
        return v.certain if self.depth else v.exact

    def partner(self, a: Value, accept: Callable[[Value], bool] = _any) -> Value:
        """A value whose shape broadcasts with that of ``a``."""

        def fits(v: Value) -> bool:
            try:
                return accept(v) and math.prod(np.broadcast_shapes(a.shape, v.shape)) <= self.limit
            except ValueError:
                return False

        if self.chance(0.25):
            shape = tuple(n if self.chance(0.7) else 1 for n in a.shape)[self.rng.randrange(a.ndim + 1) :]
            self.new_input(self.pick((a.dtype, *self.dtypes[:4])), shape)
        return self.value(fits)

    def axis(self, a: Value, least: int = 1) -> int:
        """An axis of at least so many elements, counted from either end."""
        return self.pick([i for i in range(-a.ndim, a.ndim) if a.shape[i] >= least])

    def axes(self, a: Value) -> tuple[int, ...]:
        count = self.rng.randint(1, a.ndim) if a.ndim else 0
        return tuple(self.rng.sample(range(a.ndim), count))

    def shape(self) -> tuple[int, ...]:
        while True:
            ndim = self.pick((0, 1, 1, 2, 2, 2, 3, 3, 4))
            shape = tuple(self.pick((*self.sizes, *self.sizes, 1, 3)) for _ in range(ndim))
            if math.prod(shape) <= self.limit:
                return shape

    # --- growth ------------------------------------------------------------------------------------------------------
    def name(self) -> str:
        return f"{self.prefix}{len(self.values)}"

    def new_input(self, dtype: str | None = None, shape: tuple[int, ...] | None = None, kind: str = "") -> Value:
        """Another input; inside of a function there is none."""
        if self.depth:
            raise Rejected
        shape = self.shape() if shape is None else shape
        if math.prod(shape) > self.limit:
            raise Rejected
        kind = kind or self.rng.choices(list(self.kinds), list(self.kinds.values()))[0]
        new = Input(self.name(), dtype or self.pick(self.dtypes), shape, self.rng.randrange(1 << 20), kind)
        self.inputs.append(new)
        self.values.append(Value(new.name, make(arrax, new.values(), new.dtype), True, True))
        return self.values[-1]

    def add(
        self,
        template: str,
        uses: Sequence[Value],
        *,
        certain: bool = False,
        ulps: float = 0.0,
        oracle: str | None = "near",
        numpy: bool = False,
        function: Function | None = None,
        alike: str | None = None,
    ) -> Value:
        """Appends a statement; see ``Statement``. ``certain`` says that exact operands give an exact result."""
        names = tuple(v.name for v in uses)
        if oracle in SUMS and any(v.dtype == "float64" for v in uses):
            ulps = max(ulps, LAST_BITS)
        s = Statement(self.name(), template, names, self.kind, ulps, oracle, numpy, function, alike)
        try:
            array = s.run(arrax, {v.name: v.array for v in uses})
        except (ValueError, TypeError, IndexError) as error:
            raise Rejected(str(error)) from error
        except Exception:  # which no operation may raise: the evaluation of the program will show it
            if not self.depth:
                self.statements.append(s)
            raise
        if array.size > 2 * self.limit or array.ndim > 6:
            raise Rejected
        exact = not ulps and all(v.exact for v in uses)
        self.statements.append(s)
        self.values.append(Value(s.name, array, exact, exact and certain and all(v.certain for v in uses)))
        return self.values[-1]

    def step(self, among: Sequence[Operation]) -> None:
        """Appends what one operation makes, or nothing."""
        chosen = self.rng.choices(among, [o.weight for o in among])[0]
        self.kind = chosen.name
        before = len(self.values), len(self.inputs), len(self.statements)
        try:
            chosen.apply(self)
        except Rejected:
            del self.values[before[0] :], self.inputs[before[1] :], self.statements[before[2] :]
            return
        last = self.values[-1]
        if chosen.grows and (last.is_float or last.dtype == "complex64") and self.chance(0.7):
            self.kind = "tame"
            if last.is_float:
                self.add("mx.clip({0}, -4, 4)", [last], certain=True, oracle="exact")
            else:
                self.add("{0} / (1 + mx.abs({0}))", [last])

    def grow(self, length: int) -> Program:
        """A program of about so many statements."""
        for _ in range(self.rng.randint(1, 3)):
            self.new_input()
        tries = 0
        while len(self.statements) < length and tries < 20 * length:
            tries += 1
            try:
                self.step(OPERATIONS)
            except Exception:
                if len(self.statements) + len(self.inputs) == len(self.values):
                    raise
                return Program(tuple(self.inputs), tuple(self.statements), (self.statements[-1].name,)).used()
        used = {u for s in self.statements for u in s.uses}
        outputs = [s.name for s in reversed(self.statements) if s.name not in used or self.chance(0.1)]
        return Program(tuple(self.inputs), tuple(self.statements), tuple(outputs[:4])).used()

    def inside(self, arguments: Sequence[Value], length: int, *, smooth: bool, limit: int) -> Generator:
        """Grows a function of values like the arguments; the generator that knows its statements and values."""
        inner = Generator(self.rng, self, smooth=smooth)
        inner.limit = limit
        for a in arguments:
            inner.values.append(Value(inner.name(), a.array, True, a.certain))
        among = [o for o in OPERATIONS if o.inner and (o.smooth or not smooth)]
        tries = 0
        while len(inner.statements) < length and tries < 10 * length:
            tries += 1
            inner.step(among)
        if not inner.statements:
            raise Rejected
        return inner


def grow(seed: int, length: int | None = None) -> Program:
    """The program of a number; the same at every call."""
    rng = random.Random(seed)
    while True:
        program = Generator(rng).grow(length or rng.choice((3, 4, 4, 5, 5, 6, 7, 8, 10, 15, 25)))
        if program.outputs:
            return program


def is_unsigned(v: Value) -> bool:
    return v.dtype in UNSIGNED
